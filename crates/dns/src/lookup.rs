//! Lookups: one record set each, from the first query to what came of it.

use crate::answer::CauseKind;
use crate::exchange::{Exchange, ExchangeOutcome, Transport, rtype_name};
use crate::fact::Fact;
use crate::flight::{Ask, Heard, Owner};
use crate::ladder::{Ladder, Mark, Next, Rung, Standing, Step};
use crate::name::Name;
use crate::nexthop::Need;
use crate::policy::Policy;
use crate::resolved::{Resolved, busy, failed};
use crate::resolver::{Output, Resolver};
use crate::timers::Timer;
use crate::wire::{A_TYPE, AAAA_TYPE, Data, MX_TYPE, Reply};
use crate::worth::Worth;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A reply over TCP that takes longer is hedged: the next way is tried beside it. A silent server would else cost its whole time-out.
const HEDGE_AFTER: Duration = Duration::from_millis(300);
/// Exchanges kept of one lookup: more than any ladder of two servers has.
const LOOKUP_TRAIL_MAX: usize = 32;
/// Parts of a truncated answer that are collected: BIND serves at most 100 records of a type.
const PARTS_MAX: usize = 200;
/// What a lookup is for. Equal ones are made once at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LookupKey {
    pub(crate) name: Name,
    pub(crate) rtype: u16,
    pub(crate) policy: Policy,
    /// For mail: parts of a truncated answer may be of use.
    pub(crate) mail: bool,
    /// Look for a second witness of this absence.
    pub(crate) confirm: Option<First>,
}

/// The first witness of an absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct First {
    pub(crate) witness: (SocketAddr, Transport),
    pub(crate) proof: bool,
    pub(crate) no_name: bool,
}

/// A lookup under way.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) key: LookupKey,
    /// The name asked for now: an alias may have led away from the key's.
    pub(crate) name: Name,
    pub(crate) aliases: u8,
    /// The least TTL of the aliases so far, in seconds.
    pub(crate) ttl: u32,
    pub(crate) ladder: Ladder,
    /// The flight that is waited for; what comes of older ones does not hurry the next step.
    pub(crate) current: Option<u64>,
    pub(crate) flights: BTreeSet<u64>,
    pub(crate) parts: Vec<Data>,
    pub(crate) parts_from: Option<SocketAddr>,
    pub(crate) parts_ttl: u32,
    pub(crate) trail: Vec<Exchange>,
    pub(crate) waiters: Vec<(u64, Need)>,
}

impl Resolver {
    /// Answers a need from the cache, or joins or starts a lookup for it.
    pub(crate) fn look_up(&mut self, key: LookupKey, task: u64, need: Need) {
        if key.confirm.is_none()
            && let Some(resolved) = self.cached(&key)
        {
            self.ready.push_back((task, need, resolved));
            return;
        }
        if let Some(lookup) = self.by_key.get(&key).and_then(|number| self.lookups.get_mut(number)) {
            lookup.waiters.push((task, need));
            return;
        }
        if self.lookups.len() >= crate::resolver::LOOKUPS_MAX {
            let resolved = failed(self.now.mono, busy());
            self.ready.push_back((task, need, resolved));
            return;
        }
        let number = self.number();
        self.by_key.insert(key.clone(), number);
        let lookup = Lookup {
            name: key.name.clone(),
            aliases: 0,
            ttl: u32::MAX,
            ladder: self.ladder(&key),
            current: None,
            flights: BTreeSet::new(),
            parts: Vec::new(),
            parts_from: None,
            parts_ttl: u32::MAX,
            trail: Vec::new(),
            waiters: vec![(task, need)],
            key,
        };
        self.lookups.insert(number, lookup);
        // A quarter of the time is left for what follows: the addresses after the MX set.
        self.timers.set(Timer::Lookup(number), self.now.mono + self.settings.timeouts.lookup * 3 / 4);
        self.advance(number);
    }

    fn ladder(&self, key: &LookupKey) -> Ladder {
        let mut order = self.servers.order(self.now.mono, key.policy);
        let mut echo = None;
        if let Some(first) = key.confirm {
            let useful = |server: &SocketAddr| {
                *server != first.witness.0 && self.servers.get(*server).is_some_and(|s| !s.fails_always())
            };
            order.retain(useful);
            // Without proof the same server will do, if it says the same over TCP.
            let other_way = first.witness.1 == Transport::Udp && key.policy.tcp();
            echo = (other_way && !first.proof).then_some(first.witness.0);
        }
        let mut standings: Vec<Standing> = order.into_iter().map(Standing::new).collect();
        standings.extend(echo.map(|server| Standing {
            udp: Mark::Doubtful,
            uncased: true,
            ..Standing::new(server)
        }));
        Ladder {
            policy: key.policy,
            standings,
            parts_allowed: key.mail
                && key.policy.parts()
                && key.confirm.is_none()
                && [MX_TYPE, A_TYPE, AAAA_TYPE].contains(&key.rtype),
            confirming: key.confirm.is_some(),
        }
    }

    fn cached(&self, key: &LookupKey) -> Option<Resolved> {
        let at = (key.name.clone(), key.rtype);
        if let Some(entry) = self.cache.fresh(self.now.mono, &at) {
            return Some(Resolved { cached: true, ..Resolved::from(entry.clone()) });
        }
        let failure = self.cache.failure(self.now.mono, &at, key.policy)?;
        let resolved = self.instead(key, failure.cause.kind).unwrap_or_else(|| Resolved {
            expires: failure.expires,
            trail: failure.trail.clone(),
            ..failed(self.now.mono, failure.cause.clone())
        });
        Some(Resolved { cached: true, ..resolved })
    }

    /// Takes the next step, if none is being waited for.
    pub(crate) fn advance(&mut self, number: u64) {
        loop {
            self.tell_unusable(number);
            let Some(lookup) = self.lookups.get_mut(&number) else {
                return;
            };
            if lookup.current.is_some() {
                return;
            }
            match lookup.ladder.next(self.now.mono, &self.servers, lookup.parts_usable()) {
                Next::Send(step) => {
                    if self.send_step(number, step) {
                        return;
                    }
                }
                Next::Wait => return,
                Next::Done => return self.unanswered(number),
            }
        }
    }

    fn send_step(&mut self, number: u64, step: Step) -> bool {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return true;
        };
        let sends = lookup.ladder.standing_mut(step.server).map_or(0, |standing| standing.sends);
        lookup.ladder.sent(step);
        let first = self.settings.timeouts.udp_first;
        let sends = if step.rung == Rung::Udp { sends } else { 0 };
        let wait = self.servers.get(step.server).map_or(first, |server| server.wait(first, sends));
        let (name, rtype, aliases) = (lookup.name.clone(), lookup.key.rtype, lookup.aliases);
        let flight =
            self.launch(Ask { owner: Owner::Lookup(number), step, name: &name, rtype, aliases, wait });
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return true;
        };
        let Some(flight) = flight else {
            lookup.ladder.mark(step.server, step.rung, Mark::Failed);
            return false;
        };
        lookup.flights.insert(flight);
        lookup.current = Some(flight);
        if step.rung == Rung::Tcp {
            self.timers.set(Timer::Hedge(number), self.now.mono + HEDGE_AFTER);
        }
        true
    }

    /// A reply came to one of the lookup's flights.
    pub(crate) fn lookup_reply(&mut self, number: u64, flight: u64, heard: Heard) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        let Heard { step, worth, reply, exchange } = heard;
        let by = (step.server, step.transport());
        lookup.landed(flight, Some(exchange));
        self.remember_manners(number, step, worth);
        match worth {
            Worth::Set => return self.answered(number, reply),
            Worth::Absent { no_name, ttl } => {
                return self.absent(number, by, no_name, ttl.map(|ttl| ttl.min(reply.ttl)));
            }
            Worth::Alias => return self.follow(number, reply),
            Worth::AliasLoop => return self.fail(number, CauseKind::AliasLoop),
            Worth::Truncated => self.truncated(number, step, reply),
            Worth::WrongCase => self.case_changed(number, step),
            Worth::Failed(ExchangeOutcome::Malformed) if step.rung == Rung::Udp => {
                self.mark(number, step, Mark::Doubtful)
            }
            Worth::NoEdns => self.edns_refused(number, step),
            Worth::Failed(_) | Worth::Ignored => self.mark(number, step, Mark::Failed),
        }
        self.advance(number);
    }

    fn mark(&mut self, number: u64, step: Step, mark: Mark) {
        if let Some(lookup) = self.lookups.get_mut(&number) {
            lookup.ladder.mark(step.server, step.rung, mark);
        }
    }

    /// What this lookup shows about its server beyond the one reply.
    fn remember_manners(&mut self, number: u64, step: Step, worth: Worth) {
        let Some(standing) =
            self.lookups.get_mut(&number).and_then(|lookup| lookup.ladder.standing_mut(step.server))
        else {
            return;
        };
        let good = matches!(worth, Worth::Set | Worth::Absent { .. } | Worth::Alias | Worth::Truncated);
        let Some(server) = self.servers.get_mut(step.server).filter(|_| good && step.rung == Rung::Udp)
        else {
            return;
        };
        if step.edns.is_none() && !server.without_edns(self.now.mono) {
            server.note_without_edns(self.now.mono, standing.edns_refused);
        }
        if !step.cased && standing.case_changed {
            server.note_folds_case(self.now.mono);
        }
    }

    fn case_changed(&mut self, number: u64, step: Step) {
        self.mark(number, step, Mark::Doubtful);
        let lookup = self.lookups.get_mut(&number);
        if let Some(standing) = lookup.and_then(|lookup| lookup.ladder.standing_mut(step.server)) {
            standing.case_changed = true;
        }
    }

    fn edns_refused(&mut self, number: u64, step: Step) {
        let standing =
            self.lookups.get_mut(&number).and_then(|lookup| lookup.ladder.standing_mut(step.server));
        if let Some(standing) = standing {
            match step.rung {
                Rung::Udp if !standing.edns_refused => {
                    standing.edns_refused = true;
                    standing.udp = Mark::Fresh;
                }
                Rung::Udp => standing.udp = Mark::Failed,
                Rung::Large => standing.large = Mark::Failed,
                Rung::Plain => standing.plain = Mark::Failed,
                Rung::Tcp => standing.tcp = Mark::Failed,
            }
        }
    }

    fn truncated(&mut self, number: u64, step: Step, reply: Reply) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        if step.rung == Rung::Tcp {
            lookup.ladder.mark(step.server, step.rung, Mark::Failed);
            return;
        }
        lookup.ladder.mark(step.server, step.rung, Mark::Truncated);
        // Where aliases lead is known for sure by whole answers only.
        if lookup.ladder.parts_allowed && reply.aliases + lookup.aliases == 0 && !reply.records.is_empty() {
            lookup.parts_from = Some(step.server);
            lookup.parts_ttl = lookup.parts_ttl.min(reply.ttl);
            for data in reply.records {
                if lookup.parts.len() < PARTS_MAX && !lookup.parts.contains(&data) {
                    lookup.parts.push(data);
                }
            }
        }
    }

    /// A datagram was waited for long enough.
    pub(crate) fn lookup_silent(&mut self, number: u64, flight: u64, exchange: Exchange) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        if let Some(open) = self.flights.get(&flight) {
            lookup.ladder.silent(open.step.server, open.step.rung);
        }
        lookup.note(exchange);
        if lookup.current == Some(flight) {
            lookup.current = None;
        }
        self.advance(number);
    }

    /// A flight was lost.
    pub(crate) fn lookup_failed_flight(
        &mut self,
        number: u64,
        flight: u64,
        step: Step,
        exchange: Option<Exchange>,
    ) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        lookup.landed(flight, exchange);
        match step.rung {
            // A closed port may open: it counts as silence.
            Rung::Udp | Rung::Large | Rung::Plain => lookup.ladder.silent(step.server, step.rung),
            Rung::Tcp => lookup.ladder.mark(step.server, step.rung, Mark::Failed),
        }
        self.advance(number);
    }

    /// The reply over TCP is slow: what comes next is tried beside it.
    pub(crate) fn hedge(&mut self, number: u64) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        let waited_for = lookup.current.and_then(|flight| self.flights.get(&flight));
        // The connection may have failed since, and a datagram be waited for, which has its own time.
        if let Some(slow) = waited_for.filter(|flight| flight.step.rung == Rung::Tcp) {
            lookup.current = None;
            lookup.note(slow.exchange(self.now.mono, ExchangeOutcome::TimedOut, None));
            self.advance(number);
        }
    }

    /// The lookup's time is over.
    pub(crate) fn lookup_expired(&mut self, number: u64) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        for flight in lookup.flights.iter().filter_map(|flight| self.flights.get(flight)) {
            let exchange = flight.unanswered(self.now.mono);
            lookup.trail.extend(exchange.filter(|_| lookup.trail.len() < LOOKUP_TRAIL_MAX));
        }
        self.unanswered(number);
    }

    fn follow(&mut self, number: u64, reply: Reply) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        lookup.name = reply.target.clone();
        lookup.aliases += reply.aliases;
        lookup.ttl = lookup.ttl.min(reply.ttl);
        lookup.parts.clear();
        lookup.current = None;
        let (flights, key) = (std::mem::take(&mut lookup.flights), lookup.key.clone());
        for flight in flights {
            self.abandon(flight);
        }
        let ladder = self.ladder(&key);
        if let Some(lookup) = self.lookups.get_mut(&number) {
            lookup.ladder = ladder;
        }
        self.advance(number);
    }

    /// Under udp-only: tells of servers whose truncated answer is of no use.
    fn tell_unusable(&mut self, number: u64) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        if lookup.key.policy != Policy::UdpOnly || lookup.parts_usable() {
            return;
        }
        let parts_allowed = lookup.ladder.parts_allowed;
        let mut told = Vec::new();
        for standing in &mut lookup.ladder.standings {
            if standing.truncated_to_the_end(parts_allowed)
                && !std::mem::replace(&mut standing.unusable_told, true)
            {
                told.push(standing.server);
            }
        }
        if let Some(domain) = lookup.name.domain() {
            for server in told {
                self.emit(Output::Fact(Fact::TruncatedUnusable { domain: domain.clone(), server }));
            }
        }
    }

    /// The servers changed: every lookup may use the new ones.
    pub(crate) fn reseat_lookups(&mut self) {
        let numbers: Vec<u64> = self.lookups.keys().copied().collect();
        for number in numbers {
            let Some(lookup) = self.lookups.get_mut(&number) else {
                continue;
            };
            if lookup.key.confirm.is_none() {
                for server in self.servers.order(self.now.mono, lookup.key.policy) {
                    if lookup.ladder.standing_mut(server).is_none() {
                        lookup.ladder.standings.push(Standing::new(server));
                    }
                }
            }
            self.advance(number);
        }
    }
}

impl Lookup {
    /// The parts that arrived could be used: one record that is not a null MX (RFC 7505) is enough.
    pub(crate) fn parts_usable(&self) -> bool {
        self.parts.iter().any(|data| !matches!(data, Data::Mx { host, .. } if host.is_root()))
    }

    pub(crate) fn note(&mut self, exchange: Exchange) {
        if self.trail.len() < LOOKUP_TRAIL_MAX {
            self.trail.push(exchange);
        }
    }

    fn landed(&mut self, flight: u64, exchange: Option<Exchange>) {
        self.flights.remove(&flight);
        if self.current == Some(flight) {
            self.current = None;
        }
        if let Some(exchange) = exchange {
            self.note(exchange);
        }
    }

    /// The kind of trouble, by what was seen.
    pub(crate) fn kind(&self) -> CauseKind {
        let outcome = |wanted: ExchangeOutcome| self.trail.iter().any(|exchange| exchange.outcome == wanted);
        if self.trail.is_empty() {
            CauseKind::NoServer
        } else if outcome(ExchangeOutcome::Truncated) {
            CauseKind::Truncated
        } else if self.trail.iter().all(|exchange| exchange.outcome.is_transport_fault()) {
            CauseKind::Unreachable
        } else {
            CauseKind::ServerFailure
        }
    }

    /// The failure for people: the last that was seen of each server and transport.
    pub(crate) fn tell(&self, kind: CauseKind) -> String {
        let asked = format!("{} {}", rtype_name(self.key.rtype), self.key.name);
        let mut last: Vec<&Exchange> = Vec::new();
        for exchange in self.trail.iter().rev() {
            if !last.iter().any(|l| (l.server, l.transport) == (exchange.server, exchange.transport)) {
                last.push(exchange);
            }
        }
        let seen: Vec<String> = last.iter().rev().map(|exchange| exchange.tell_briefly()).collect();
        let seen = seen.join("; ");
        match kind {
            CauseKind::NoServer => format!("no DNS server to ask for {asked}"),
            CauseKind::AliasLoop => format!("the aliases of {asked} do not end"),
            CauseKind::Unconfirmed => {
                // The one who said so is no trouble; what kept a second from saying it is.
                let but = if seen.is_empty() { seen } else { format!(": {seen}") };
                format!(
                    "one answer alone, without proof, says that there is no {asked}, and is not believed yet{but}"
                )
            }
            _ => format!("no usable answer for {asked}: {seen}"),
        }
    }
}
