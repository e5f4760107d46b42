//! Watching the transports: what goes down is told and probed, what comes up is told and releases what waits.

use crate::exchange::{Exchange, ExchangeOutcome, Transport};
use crate::fact::Fact;
use crate::flight::{Ask, Owner};
use crate::health::{Doubt, Down, Evidence, Strike};
use crate::ladder::{EDNS_SAFE, Rung, Step};
use crate::name::Name;
use crate::policy::Policy;
use crate::resolver::{Output, Resolver};
use crate::timers::Timer;
use crate::wire::SOA_TYPE;
use std::net::SocketAddr;
use std::time::Duration;

/// Probes are never nearer than this, whatever the settings say: a machine must not spin.
const PROBE_MIN: Duration = Duration::from_millis(10);
/// Releases are no nearer than this, or the first wait for a probe. A server that comes and goes would else drive what is deferred, and be
/// driven by it, a thousand times a second.
const RELEASE_GAP: Duration = Duration::from_secs(5);

impl Resolver {
    /// Something speaks against a transport.
    pub(crate) fn strike(
        &mut self,
        server: SocketAddr,
        transport: Transport,
        strike: Strike,
        seen: ExchangeOutcome,
    ) {
        let now = self.now.mono;
        let Some(health) = self.servers.health_mut(server, transport) else {
            return;
        };
        match health.strike(now, strike) {
            Evidence::Certain => self.down(server, transport, Doubt { seen, mail_waits: false }),
            Evidence::Doubtful if health.doubt.is_none() => {
                health.doubt = Some(Doubt { seen, mail_waits: false });
                self.probe(server, transport);
            }
            Evidence::Doubtful | Evidence::Weak => {}
        }
    }

    fn down(&mut self, server: SocketAddr, transport: Transport, Doubt { seen, mail_waits }: Doubt) {
        let cause = seen.words(transport).to_owned();
        let wait = self.settings.probe_min.max(PROBE_MIN);
        if let Some(health) = self.servers.health_mut(server, transport) {
            health.doubt = None;
            health.down = Some(Down { cause: cause.clone(), wait, mail_told: mail_waits });
        }
        self.timers.set(Timer::Probe(server, transport), self.now.mono + wait);
        self.cache.forget_failures();
        self.emit(Output::Fact(Fact::TransportDown { server, transport, cause, mail_waits }));
    }

    /// A transport that was down has answered.
    pub(crate) fn transport_up(&mut self, server: SocketAddr, transport: Transport) {
        self.timers.clear(Timer::Probe(server, transport));
        self.cache.forget_failures();
        self.emit(Output::Fact(Fact::TransportUp { server, transport }));
        self.review_unreachable();
        self.release();
    }

    /// Everything deferred for DNS is due: at once, or a while after the last time.
    pub(crate) fn release(&mut self) {
        let now = self.now.mono;
        let gap = RELEASE_GAP.min(self.settings.probe_min.max(PROBE_MIN));
        match self.released.map(|last| last + gap).filter(|next| *next > now) {
            Some(next) => self.timers.set(Timer::Release, next),
            None => {
                self.released = Some(now);
                self.emit(Output::Released);
            }
        }
    }

    /// Takes back `NoServer` once no policy is without a server.
    pub(crate) fn review_unreachable(&mut self) {
        let told = !self.unreachable.is_empty();
        self.unreachable.retain(|policy| !self.servers.reachable(*policy));
        if told && self.unreachable.is_empty() {
            self.emit(Output::Fact(Fact::SomeServer));
        }
    }

    /// A lookup found nothing; tells if that is because there is no server to be reached.
    pub(crate) fn tell_unreachable(&mut self, policy: Policy) {
        if !self.servers.reachable(policy) && self.unreachable.insert(policy) {
            let cause = self.servers.causes(policy);
            self.emit(Output::Fact(Fact::NoServer { policy, cause }));
        }
    }

    /// Mail waits because of these exchanges: tells it of the transports that are down, once each.
    pub(crate) fn tell_mail_waits(&mut self, trail: &[Exchange]) {
        for exchange in trail.iter().filter(|exchange| exchange.outcome.is_transport_fault()) {
            let (server, transport) = (exchange.server, exchange.transport);
            let Some(health) = self.servers.health_mut(server, transport) else { continue };
            if let Some(doubt) = &mut health.doubt {
                doubt.mail_waits = true;
            }
            if let Some(down) = health.down.as_mut().filter(|down| !down.mail_told) {
                down.mail_told = true;
                let cause = down.cause.clone();
                self.emit(Output::Fact(Fact::TransportDown { server, transport, cause, mail_waits: true }));
            }
        }
    }

    /// Asks a transport that is down, or in doubt, for the root's SOA record. Any reply will do, a refusal too.
    pub(crate) fn probe(&mut self, server: SocketAddr, transport: Transport) {
        let health = self.servers.health(server, transport);
        if health.is_none_or(|health| health.down.is_none() && health.doubt.is_none()) {
            return;
        }
        let (rung, edns) = match transport {
            Transport::Udp => (Rung::Udp, Some(EDNS_SAFE)),
            Transport::Tcp => (Rung::Tcp, None),
        };
        let step = Step { server, rung, edns, cased: false };
        let root = Name::root();
        let wait = self.settings.timeouts.tcp_connect;
        let ask = Ask { owner: Owner::Probe, step, name: &root, rtype: SOA_TYPE, aliases: 0, wait };
        if self.launch(ask).is_none() {
            self.probe_failed(server, transport);
        }
    }

    /// The waits for probes were changed: those that are under way begin anew.
    pub(crate) fn probe_anew(&mut self) {
        let wait = self.settings.probe_min.max(PROBE_MIN);
        let at = self.now.mono + wait;
        for (server, transport, down) in self.servers.down() {
            down.wait = wait;
            let timer = Timer::Probe(server, transport);
            // Without one a probe is on its way.
            if self.timers.at(timer).is_some() {
                self.timers.set(timer, at);
            }
        }
    }

    /// A probe brought nothing: what was in doubt is down, and what was down is probed again after twice the wait.
    pub(crate) fn probe_failed(&mut self, server: SocketAddr, transport: Transport) {
        let longest = self.settings.probe_max.max(PROBE_MIN);
        let Some(health) = self.servers.health_mut(server, transport) else { return };
        if let Some(doubt) = health.doubt {
            self.down(server, transport, doubt);
        } else if let Some(down) = &mut health.down {
            down.wait = down.wait.saturating_mul(2).min(longest);
            let at = self.now.mono + down.wait;
            self.timers.set(Timer::Probe(server, transport), at);
        }
    }
}
