//! The ladder: which server is asked next, and how, given what came of the steps before.
//!
//! One ladder serves one name of one lookup. It holds where the lookup stands with each server and decides; it sends nothing.

use crate::exchange::Transport;
use crate::health::Servers;
use crate::policy::Policy;
use postroad_mail::time::Mono;
use std::net::SocketAddr;

/// The datagram size that arrives nearly everywhere (RFC 9715 §3.2).
pub(crate) const EDNS_SAFE: u16 = 1232;
/// The size to heal a truncated answer with; larger datagrams than a path's MTU come in fragments, which may be lost.
pub(crate) const EDNS_LARGE: u16 = 4096;
/// Datagrams of one question to one silent server: waits of 0.4, 0.8, 1.6 and 3.2 s.
const SENDS_MAX: u8 = 4;
/// The same where another server has already answered and this one is to confirm.
const CONFIRMING_SENDS_MAX: u8 = 2;
/// Queries without EDNS for the parts of a truncated answer (RFC 9520 §3.1: three tries).
const PLAINS_MAX: u8 = 3;
/// Silences of one server after which adaptive tries its TCP.
const SILENCES_BEFORE_TCP: u8 = 2;

/// A kind of query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// A datagram with EDNS 1232, or without EDNS towards a server that does not know it.
    Udp,
    /// A connection.
    Tcp,
    /// A datagram with EDNS 4096, after truncation.
    Large,
    /// A datagram without EDNS, after truncation, for the parts that it brings.
    Plain,
}

/// What came of a rung.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not tried.
    #[default]
    Fresh,
    /// On its way.
    Open,
    /// No reply in time.
    Silent,
    /// The answer did not fit.
    Truncated,
    /// A reply that must be asked for again over TCP: in another letter case, or unreadable.
    Doubtful,
    /// The server failed; asking in the same way is of no use.
    Failed,
}

/// Where a lookup stands with one server.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) server: SocketAddr,
    pub(crate) udp: Mark,
    pub(crate) tcp: Mark,
    pub(crate) large: Mark,
    pub(crate) plain: Mark,
    /// Datagrams sent on rung `Udp`.
    pub(crate) sends: u8,
    pub(crate) plains: u8,
    /// EDNS was refused: ask without.
    pub(crate) edns_refused: bool,
    /// A reply without EDNS was asked for because all else failed.
    pub(crate) bare: bool,
    /// Ask without 0x20.
    pub(crate) uncased: bool,
    /// A reply came back in another letter case.
    pub(crate) case_changed: bool,
    /// It was told that nothing of the truncated answer can be used.
    pub(crate) unusable_told: bool,
}

/// The next thing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) server: SocketAddr,
    pub(crate) rung: Rung,
    pub(crate) edns: Option<u16>,
    /// With 0x20.
    pub(crate) cased: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Send(Step),
    /// Something is on its way that may still help.
    Wait,
    /// Nothing is left to try.
    Done,
}

/// Where a lookup stands.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    pub(crate) policy: Policy,
    /// In the order to ask them.
    pub(crate) standings: Vec<Standing>,
    /// Parts of a truncated answer are of use.
    pub(crate) parts_allowed: bool,
    /// It looks for a second witness only: transports that are down are left alone.
    pub(crate) confirming: bool,
}

impl Standing {
    pub(crate) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            udp: Mark::Fresh,
            tcp: Mark::Fresh,
            large: Mark::Fresh,
            plain: Mark::Fresh,
            sends: 0,
            plains: 0,
            edns_refused: false,
            bare: false,
            uncased: false,
            case_changed: false,
            unusable_told: false,
        }
    }

    fn mark_mut(&mut self, rung: Rung) -> &mut Mark {
        match rung {
            Rung::Udp => &mut self.udp,
            Rung::Tcp => &mut self.tcp,
            Rung::Large => &mut self.large,
            Rung::Plain => &mut self.plain,
        }
    }

    /// The answer is truncated, or not to be trusted, and TCP is the next thing to try.
    fn wants_tcp(&self) -> bool {
        matches!(self.udp, Mark::Truncated | Mark::Doubtful) && self.tcp == Mark::Fresh
    }

    /// Under udp-only: nothing more can be had from it.
    pub(crate) fn truncated_to_the_end(&self, parts_allowed: bool) -> bool {
        self.udp == Mark::Truncated
            && !matches!(self.large, Mark::Fresh | Mark::Open)
            && (!parts_allowed
                || self.plain == Mark::Failed
                || (self.plains >= PLAINS_MAX && self.plain != Mark::Open))
    }
}

impl Ladder {
    pub(crate) fn standing_mut(&mut self, server: SocketAddr) -> Option<&mut Standing> {
        self.standings.iter_mut().find(|standing| standing.server == server)
    }

    /// Notes that a step was taken.
    pub(crate) fn sent(&mut self, step: Step) {
        if let Some(standing) = self.standing_mut(step.server) {
            *standing.mark_mut(step.rung) = Mark::Open;
            standing.uncased |= !step.cased;
            match step.rung {
                Rung::Udp => {
                    standing.sends += 1;
                    standing.bare |= step.edns.is_none();
                }
                Rung::Plain => standing.plains += 1,
                Rung::Tcp | Rung::Large => {}
            }
        }
    }

    /// Notes what came of a step.
    pub(crate) fn mark(&mut self, server: SocketAddr, rung: Rung, mark: Mark) {
        if let Some(standing) = self.standing_mut(server) {
            *standing.mark_mut(rung) = mark;
        }
    }

    /// Notes that nothing came of a step, unless an earlier one of its kind was answered meanwhile.
    pub(crate) fn silent(&mut self, server: SocketAddr, rung: Rung) {
        if let Some(mark) = self.standing_mut(server).map(|standing| standing.mark_mut(rung))
            && *mark == Mark::Open
        {
            *mark = Mark::Silent;
        }
    }

    fn truncated(&self) -> bool {
        self.standings.iter().any(|standing| standing.udp == Mark::Truncated)
    }

    fn tcp_open(&self) -> bool {
        self.standings.iter().any(|standing| standing.tcp == Mark::Open)
    }

    fn open(&self) -> bool {
        let open = |s: &Standing| [s.udp, s.tcp, s.large, s.plain].contains(&Mark::Open);
        self.standings.iter().any(open)
    }

    /// What to do next. `usable`: the parts that have arrived could be used.
    pub(crate) fn next(&self, now: Mono, servers: &Servers, usable: bool) -> Next {
        let known_good = Pick { ladder: self, now, servers, desperate: false, usable };
        if let Some(step) = known_good.step() {
            return Next::Send(step);
        }
        if self.tcp_open() {
            return Next::Wait;
        }
        if usable && !self.open() {
            return Next::Done;
        }
        let anything = Pick { desperate: true, ..known_good };
        match anything.step().filter(|_| !self.confirming) {
            Some(step) => Next::Send(step),
            None if self.open() => Next::Wait,
            None => Next::Done,
        }
    }
}

/// A choice among what is left.
struct Pick<'a> {
    ladder: &'a Ladder,
    now: Mono,
    servers: &'a Servers,
    /// Also over transports that are known to be down.
    desperate: bool,
    usable: bool,
}

impl Pick<'_> {
    fn step(&self) -> Option<Step> {
        match self.ladder.policy {
            Policy::UdpThenTcp => self.udp_then_tcp(),
            Policy::TcpOnly => self.fresh_tcp(),
            Policy::UdpOnly => self.udp_only(),
            Policy::Adaptive => self.adaptive(),
        }
    }

    fn udp_then_tcp(&self) -> Option<Step> {
        self.each(|s| self.tcp_after_udp(s).or_else(|| self.fresh_udp(s)).or_else(|| self.uncased(s)))
            .or_else(|| self.again(SENDS_MAX))
            .or_else(|| self.bare())
    }

    fn udp_only(&self) -> Option<Step> {
        let heal = |s: &Standing| {
            let step = self.fresh_udp(s).or_else(|| self.uncased(s));
            step.or_else(|| self.large(s)).or_else(|| self.plain(s))
        };
        for standing in &self.ladder.standings {
            if let Some(step) = heal(standing) {
                return Some(step);
            }
            // What this server gave will do: the others are not asked.
            if self.usable && standing.truncated_to_the_end(true) {
                return None;
            }
        }
        self.again(SENDS_MAX).or_else(|| self.bare())
    }

    /// Each line only if those before it gave no answer.
    fn adaptive(&self) -> Option<Step> {
        let truncated = self.ladder.truncated();
        let ask = |s: &Standing| self.tcp_after_udp(s).or_else(|| self.fresh_udp(s).filter(|_| !truncated));
        if let Some(step) = self.each(ask) {
            return Some(step);
        }
        if truncated {
            return self
                .fresh_tcp()
                .or_else(|| self.each(|s| self.large(s).filter(|_| !self.lost_before(s))))
                .or_else(|| self.each(|s| self.plain(s)));
        }
        self.each(|s| self.uncased(s))
            .or_else(|| self.again(SILENCES_BEFORE_TCP))
            .or_else(|| self.each(|s| self.tcp_instead(s)))
            .or_else(|| self.again(SENDS_MAX))
            .or_else(|| self.bare())
    }

    fn each(&self, pick: impl Fn(&Standing) -> Option<Step>) -> Option<Step> {
        self.ladder.standings.iter().find_map(pick)
    }

    fn may(&self, standing: &Standing, transport: Transport) -> bool {
        self.servers.get(standing.server).is_some()
            && (self.desperate || self.servers.is_up(standing.server, transport))
    }

    fn udp_step(&self, standing: &Standing, rung: Rung) -> Step {
        let server = self.servers.get(standing.server);
        let edns = match rung {
            Rung::Udp => {
                let without = standing.edns_refused || server.is_some_and(|s| s.without_edns(self.now));
                // Silence may be a dislike of EDNS: the third datagram goes without (RFC 6891 §6.2.2).
                (!without && standing.sends != SILENCES_BEFORE_TCP).then_some(EDNS_SAFE)
            }
            Rung::Large => Some(EDNS_LARGE),
            Rung::Plain | Rung::Tcp => None,
        };
        let cased = !standing.uncased && !server.is_some_and(|s| s.folds_case(self.now));
        Step { server: standing.server, rung, edns, cased }
    }

    fn fresh_udp(&self, standing: &Standing) -> Option<Step> {
        let fresh = standing.udp == Mark::Fresh && self.may(standing, Transport::Udp);
        fresh.then(|| self.udp_step(standing, Rung::Udp))
    }

    fn tcp_step(standing: &Standing) -> Step {
        // The size of a datagram means nothing here, and no server refuses a query because it is plain.
        Step { server: standing.server, rung: Rung::Tcp, edns: None, cased: true }
    }

    fn tcp_after_udp(&self, standing: &Standing) -> Option<Step> {
        (standing.wants_tcp() && self.may(standing, Transport::Tcp)).then(|| Self::tcp_step(standing))
    }

    fn fresh_tcp(&self) -> Option<Step> {
        self.each(|s| (s.tcp == Mark::Fresh && self.may(s, Transport::Tcp)).then(|| Self::tcp_step(s)))
    }

    /// TCP where UDP is silent or known to be down.
    fn tcp_instead(&self, standing: &Standing) -> Option<Step> {
        let down = standing.udp == Mark::Fresh && !self.servers.is_up(standing.server, Transport::Udp);
        let wanted = standing.tcp == Mark::Fresh && (standing.udp == Mark::Silent || down);
        (wanted && self.may(standing, Transport::Tcp)).then(|| Self::tcp_step(standing))
    }

    /// Once more without 0x20, where the case came back changed and TCP is no way.
    fn uncased(&self, standing: &Standing) -> Option<Step> {
        let tcp_left = self.ladder.policy.tcp()
            && matches!(standing.tcp, Mark::Fresh | Mark::Open)
            && self.may(standing, Transport::Tcp);
        let wanted = standing.udp == Mark::Doubtful && !standing.uncased && !tcp_left;
        let step = Step { cased: false, ..self.udp_step(standing, Rung::Udp) };
        (wanted && self.may(standing, Transport::Udp)).then_some(step)
    }

    /// Once more to the silent server that was asked least often, up to `sends` times.
    fn again(&self, sends: u8) -> Option<Step> {
        let sends = if self.ladder.confirming { sends.min(CONFIRMING_SENDS_MAX) } else { sends };
        let silent = |s: &&Standing| s.udp == Mark::Silent && s.sends < sends && self.may(s, Transport::Udp);
        let standing = self.ladder.standings.iter().filter(silent).min_by_key(|s| s.sends)?;
        Some(self.udp_step(standing, Rung::Udp))
    }

    /// Every server failed or was silent to EDNS: each is asked once without.
    fn bare(&self) -> Option<Step> {
        self.each(|s| {
            let wanted = s.udp == Mark::Failed && !s.bare && s.sends > 0 && self.may(s, Transport::Udp);
            wanted.then(|| Step { edns: None, ..self.udp_step(s, Rung::Udp) })
        })
    }

    fn large(&self, standing: &Standing) -> Option<Step> {
        let wanted = standing.large == Mark::Fresh
            && matches!(standing.udp, Mark::Truncated | Mark::Fresh)
            && self.may(standing, Transport::Udp);
        wanted.then(|| self.udp_step(standing, Rung::Large))
    }

    fn lost_before(&self, standing: &Standing) -> bool {
        self.servers.get(standing.server).is_some_and(|s| s.loses_large(self.now))
    }

    fn plain(&self, standing: &Standing) -> Option<Step> {
        let wanted = self.ladder.parts_allowed
            && standing.plains < PLAINS_MAX
            && !self.ladder.tcp_open()
            && !matches!(standing.plain, Mark::Open | Mark::Failed)
            && matches!(standing.udp, Mark::Truncated | Mark::Fresh)
            && self.may(standing, Transport::Udp);
        // In adaptive the parts of one server will do, once it was asked as often as is of use.
        let enough =
            self.usable && standing.plains == 0 && self.ladder.standings.iter().any(|s| s.plains > 0);
        (wanted && !enough).then(|| self.udp_step(standing, Rung::Plain))
    }
}
