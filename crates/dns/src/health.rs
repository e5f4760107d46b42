//! What is known of the servers: which of their transports work, how fast, and their manners.

use crate::exchange::{ExchangeOutcome, Transport};
use crate::policy::Policy;
use crate::resolver::{ServerReport, TransportReport};
use crate::settings::SERVERS_MAX;
use postroad_mail::time::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// Strikes in a row after which a transport is down or, where only replies are missing, in doubt. One lost datagram is weather, three
/// are climate (TCP counts as blocked after three truncated answers and silence).
const STRIKES_MAX: u32 = 3;
/// A closed UDP port is stronger evidence than silence, but may be a server that restarts.
const CLOSED_PORT_STRIKES: u32 = 2;
/// Strikes of UDP within this time are one gust: many lookups may lose their datagrams at once.
const GUST: Duration = Duration::from_millis(800);
/// A server that was silent is asked after the others for this long.
const SUSPECT_FOR: Duration = Duration::from_secs(30);
/// How long a server's manners (no EDNS, folded case, lost fragments) are remembered: it may be repaired.
const MANNERS_FOR: Duration = Duration::from_secs(3600);
/// A round trip above this puts a server after faster ones.
const SLOW: Duration = Duration::from_millis(300);
/// Silences to EDNS in a row after which a server that once knew EDNS has lost it, or a middlebox took it away.
const EDNS_SILENCES_MAX: u8 = 3;
/// Failures in a row after which a server's failure says nothing about a name.
const FAILING_ALWAYS: u32 = 10;

/// All servers, in the administrator's order.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    list: Vec<Server>,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    udp: Health,
    tcp: Health,
    manners: Manners,
    /// Messages that were no answer to anything.
    pub(crate) ignored: u64,
    /// Replies in a row that said the server failed.
    failing: u32,
}

/// Until when which oddity of a server is remembered.
#[derive(Debug, Default)]
struct Manners {
    without_edns: Option<Mono>,
    knows_edns: bool,
    /// Times that it answered without EDNS after silence to EDNS, since it last answered EDNS.
    edns_silences: u8,
    folds_case: Option<Mono>,
    loses_large: Option<Mono>,
}

/// One transport of one server.
#[derive(Debug, Default)]
pub(crate) struct Health {
    strikes: u32,
    first_strike: Mono,
    suspect_until: Mono,
    round_trip: Option<Duration>,
    /// While a probe is on its way that decides.
    pub(crate) doubt: Option<Doubt>,
    pub(crate) down: Option<Down>,
}

/// A transport that may not work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) seen: ExchangeOutcome,
    /// Mail waits for it meanwhile.
    pub(crate) mail_waits: bool,
}

/// A transport that does not work.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) cause: String,
    /// The wait before the next probe but one.
    pub(crate) wait: Duration,
    /// It was told that mail waits for it.
    pub(crate) mail_told: bool,
}

/// Something that speaks against a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Nothing came in time.
    Silence,
    /// The datagram's port is closed or cannot be reached.
    ClosedPort,
    /// A connection was lost before its reply.
    Lost,
    /// A connection could not be made: that is certain at once.
    NoConnection,
}

/// What strikes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Nothing, or what is known.
    Weak,
    /// Questions were not answered. They may all be about one domain whose own servers are silent, which the server waits for.
    Doubtful,
    /// The transport does not work.
    Certain,
}

impl Servers {
    /// Takes a new list; what is known of servers that stay is kept.
    pub(crate) fn replace(&mut self, addrs: &[SocketAddr]) {
        let mut old = std::mem::take(&mut self.list);
        for addr in addrs.iter().take(SERVERS_MAX) {
            if self.get(*addr).is_some() {
                continue;
            }
            let known = old.iter().position(|server| server.addr == *addr);
            self.list.push(known.map_or_else(|| Server::new(*addr), |at| old.swap_remove(at)));
        }
    }

    pub(crate) fn get(&self, addr: SocketAddr) -> Option<&Server> {
        self.list.iter().find(|server| server.addr == addr)
    }

    pub(crate) fn get_mut(&mut self, addr: SocketAddr) -> Option<&mut Server> {
        self.list.iter_mut().find(|server| server.addr == addr)
    }

    pub(crate) fn health(&self, addr: SocketAddr, transport: Transport) -> Option<&Health> {
        self.get(addr).map(|server| server.health(transport))
    }

    pub(crate) fn health_mut(&mut self, addr: SocketAddr, transport: Transport) -> Option<&mut Health> {
        self.get_mut(addr).map(|server| server.health_mut(transport))
    }

    /// The transports that are down.
    pub(crate) fn down(&mut self) -> impl Iterator<Item = (SocketAddr, Transport, &mut Down)> {
        self.list.iter_mut().flat_map(|server| {
            let addr = server.addr;
            let both = [(Transport::Udp, &mut server.udp.down), (Transport::Tcp, &mut server.tcp.down)];
            both.into_iter().filter_map(move |(transport, down)| Some((addr, transport, down.as_mut()?)))
        })
    }

    /// Whether a transport is not known to be down.
    pub(crate) fn is_up(&self, addr: SocketAddr, transport: Transport) -> bool {
        self.health(addr, transport).is_some_and(|health| health.down.is_none())
    }

    /// The servers in the order to ask them: as listed, but those that were silent or are slow after the others.
    pub(crate) fn order(&self, now: Mono, policy: Policy) -> Vec<SocketAddr> {
        let first = if policy.udp() { Transport::Udp } else { Transport::Tcp };
        let mut order: Vec<&Server> = self.list.iter().collect();
        order.sort_by_key(|server| {
            let health = server.health(first);
            let slow = health.round_trip.is_some_and(|rtt| rtt > SLOW);
            (health.down.is_some(), health.suspect_until > now, slow)
        });
        order.into_iter().map(|server| server.addr).collect()
    }

    /// Whether a policy has a server that can be reached. Under udp-then-tcp, TCP is no way of its own.
    pub(crate) fn reachable(&self, policy: Policy) -> bool {
        self.list.iter().any(|server| {
            let up = |transport| server.health(transport).down.is_none();
            match policy {
                Policy::UdpThenTcp | Policy::UdpOnly => up(Transport::Udp),
                Policy::TcpOnly => up(Transport::Tcp),
                Policy::Adaptive => up(Transport::Udp) || up(Transport::Tcp),
            }
        })
    }

    /// Why servers are down, for people.
    pub(crate) fn causes(&self, policy: Policy) -> String {
        let mut causes = Vec::new();
        for server in &self.list {
            for transport in [Transport::Udp, Transport::Tcp] {
                let allowed = if transport == Transport::Udp { policy.udp() } else { policy.tcp() };
                if let Some(down) = server.health(transport).down.as_ref().filter(|_| allowed) {
                    causes.push(format!("{transport} {}: {}", server.addr, down.cause));
                }
            }
        }
        if self.list.is_empty() { "no DNS server is configured".to_owned() } else { causes.join("; ") }
    }

    /// For people; `probe_in` tells when a transport is probed next.
    pub(crate) fn report(
        &self,
        now: Mono,
        probe_in: impl Fn(SocketAddr, Transport) -> Option<Duration>,
    ) -> Vec<ServerReport> {
        let transport_report = |server: &Server, transport| TransportReport {
            transport,
            down: server.health(transport).down.as_ref().map(|down| down.cause.clone()),
            next_probe: probe_in(server.addr, transport),
            round_trip: server.health(transport).round_trip,
        };
        let report = |server: &Server| ServerReport {
            server: server.addr,
            transports: [Transport::Udp, Transport::Tcp].map(|t| transport_report(server, t)).into(),
            without_edns: server.without_edns(now),
            folds_case: server.folds_case(now),
            ignored: server.ignored,
        };
        self.list.iter().map(report).collect()
    }
}

impl Server {
    fn new(addr: SocketAddr) -> Self {
        let (udp, tcp) = (Health::default(), Health::default());
        Self { addr, udp, tcp, manners: Manners::default(), ignored: 0, failing: 0 }
    }

    pub(crate) fn health(&self, transport: Transport) -> &Health {
        match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
        }
    }

    fn health_mut(&mut self, transport: Transport) -> &mut Health {
        match transport {
            Transport::Udp => &mut self.udp,
            Transport::Tcp => &mut self.tcp,
        }
    }

    /// The wait for a datagram's reply after `sends` datagrams of the same question, of which the first waits `first`.
    pub(crate) fn wait(&self, first: Duration, sends: u8) -> Duration {
        let usual = self.udp.round_trip.map_or(first, |rtt| first.max(rtt * 2).min(first * 4));
        usual.saturating_mul(1 << sends.min(6))
    }

    pub(crate) fn without_edns(&self, now: Mono) -> bool {
        self.manners.without_edns.is_some_and(|until| until > now)
    }

    pub(crate) fn folds_case(&self, now: Mono) -> bool {
        self.manners.folds_case.is_some_and(|until| until > now)
    }

    pub(crate) fn loses_large(&self, now: Mono) -> bool {
        self.manners.loses_large.is_some_and(|until| until > now)
    }

    /// It answered a query that carried EDNS.
    pub(crate) fn note_edns(&mut self) {
        self.manners.knows_edns = true;
        self.manners.edns_silences = 0;
    }

    /// It answers without EDNS and not with it. One silence is no proof for a server that has answered EDNS before: what is lost may
    /// be one large answer.
    pub(crate) fn note_without_edns(&mut self, now: Mono, refused: bool) {
        self.manners.edns_silences = self.manners.edns_silences.saturating_add(1);
        if refused || !self.manners.knows_edns || self.manners.edns_silences >= EDNS_SILENCES_MAX {
            self.manners.without_edns = Some(now + MANNERS_FOR);
        }
    }

    pub(crate) fn note_folds_case(&mut self, now: Mono) {
        self.manners.folds_case = Some(now + MANNERS_FOR);
    }

    pub(crate) fn note_loses_large(&mut self, now: Mono) {
        self.manners.loses_large = Some(now + MANNERS_FOR);
    }

    /// A reply came, of a server that failed or did not.
    pub(crate) fn note_reply(&mut self, failed: bool) {
        self.failing = if failed { self.failing.saturating_add(1) } else { 0 };
    }

    /// It fails whatever it is asked.
    pub(crate) fn fails_always(&self) -> bool {
        self.failing >= FAILING_ALWAYS
    }
}

impl Health {
    /// A reply came. Returns whether the transport was down until then.
    pub(crate) fn answered(&mut self, took: Duration) -> bool {
        self.strikes = 0;
        self.doubt = None;
        self.suspect_until = Mono::default();
        self.round_trip = Some(self.round_trip.map_or(took, |old| (old * 7 + took) / 8));
        self.down.take().is_some()
    }

    /// Something speaks against the transport.
    pub(crate) fn strike(&mut self, now: Mono, strike: Strike) -> Evidence {
        if self.strikes == 0 {
            self.first_strike = now;
        }
        self.suspect_until = now + SUSPECT_FOR;
        let weight = if strike == Strike::ClosedPort { CLOSED_PORT_STRIKES } else { 1 };
        self.strikes = self.strikes.saturating_add(weight);
        let many = self.strikes >= STRIKES_MAX;
        match strike {
            _ if self.down.is_some() => Evidence::Weak,
            Strike::NoConnection => Evidence::Certain,
            Strike::ClosedPort if many => Evidence::Certain,
            Strike::Silence if many && now - self.first_strike >= GUST => Evidence::Doubtful,
            Strike::Lost if many => Evidence::Doubtful,
            Strike::Silence | Strike::ClosedPort | Strike::Lost => Evidence::Weak,
        }
    }
}
