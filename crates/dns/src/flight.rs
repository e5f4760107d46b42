//! Flights: one query each, from its sending to its reply, its failure, or the end of interest in it.

use crate::exchange::{Exchange, ExchangeOutcome, Transport};
use crate::health::Strike;
use crate::ladder::{Rung, Step};
use crate::name::Name;
use crate::resolver::{ConnId, IoFault, Output, Resolver, SLOTS};
use crate::timers::Timer;
use crate::wire::{self, Form, Match, Reply};
use crate::worth::{Asked, Worth, weigh};
use postroad_mail::time::Mono;
use rand_chacha::rand_core::Rng;
use std::net::SocketAddr;

/// Tries to find an id that no open flight on the same socket has. With so many flights open that all fail, the datagram is not sent.
const ID_TRIES: u32 = 8;

/// One query on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) owner: Owner,
    pub(crate) step: Step,
    pub(crate) name: Name,
    pub(crate) rtype: u16,
    /// Aliases followed before.
    pub(crate) aliases: u8,
    pub(crate) id: u16,
    /// The socket of a datagram.
    slot: u16,
    /// The message, for a connection that is not made yet.
    pub(crate) bytes: Vec<u8>,
    /// The question as sent, in its letter case.
    question: Vec<u8>,
    sent_at: Mono,
    /// It was counted as silent; a late reply is still welcome.
    expired: bool,
    /// Over TCP: the connection that carries it.
    pub(crate) conn: Option<ConnId>,
    /// Over TCP: it was sent once more because an old connection was closed under it.
    pub(crate) repeated: bool,
}

/// Who wants the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Lookup(u64),
    Probe,
    /// The lookup has ended; what comes still says something about the server.
    Nobody,
}

/// A reply, weighed.
pub(crate) struct Heard {
    pub(crate) step: Step,
    pub(crate) worth: Worth,
    pub(crate) reply: Reply,
    pub(crate) exchange: Exchange,
}

/// The question of a flight.
pub(crate) struct Ask<'a> {
    pub(crate) owner: Owner,
    pub(crate) step: Step,
    pub(crate) name: &'a Name,
    pub(crate) rtype: u16,
    pub(crate) aliases: u8,
    /// The wait for a datagram's reply.
    pub(crate) wait: std::time::Duration,
}

impl Step {
    pub(crate) fn transport(self) -> Transport {
        if self.rung == Rung::Tcp { Transport::Tcp } else { Transport::Udp }
    }
}

impl Flight {
    /// The exchange that it came to.
    pub(crate) fn exchange(
        &self,
        now: Mono,
        outcome: ExchangeOutcome,
        reply: Option<(&Reply, usize)>,
    ) -> Exchange {
        Exchange {
            server: self.step.server,
            transport: self.step.transport(),
            name: self.name.to_string(),
            rtype: self.rtype,
            edns: self.step.edns,
            sent: self.bytes.len() as u32,
            received: reply.map_or(0, |(_, octets)| octets as u32),
            truncated: reply.is_some_and(|(reply, _)| reply.truncated),
            answers: reply.map_or(0, |(reply, _)| reply.answers),
            rcode: reply.map(|(reply, _)| reply.rcode),
            outcome,
            micros: u64::try_from((now - self.sent_at).as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Flight {
    /// The exchange of a flight whose reply no one waits for any longer, unless that was noted before.
    pub(crate) fn unanswered(&self, now: Mono) -> Option<Exchange> {
        (!self.expired).then(|| self.exchange(now, ExchangeOutcome::TimedOut, None))
    }
}

impl Resolver {
    /// Sends a query. `None` if that is impossible.
    pub(crate) fn launch(&mut self, ask: Ask<'_>) -> Option<u64> {
        let Ask { owner, step, name, rtype, aliases, wait } = ask;
        let (slot, id) = self.free_id(step)?;
        let case = if step.cased {
            u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64())
        } else {
            0
        };
        let bytes = wire::query(name, rtype, Form { id, edns: step.edns, case })?;
        let question = wire::cased(name, case);
        let number = self.number();
        let name = name.clone();
        let flight = Flight {
            owner,
            step,
            name,
            rtype,
            aliases,
            id,
            slot,
            bytes,
            question,
            sent_at: self.now.mono,
            expired: false,
            conn: None,
            repeated: false,
        };
        match step.transport() {
            Transport::Udp => {
                self.sockets.insert((step.server, slot, id), number);
                self.timers.set(Timer::Flight(number), self.now.mono + wait);
                self.emit(Output::SendDatagram { server: step.server, slot, bytes: flight.bytes.clone() });
                self.flights.insert(number, flight);
            }
            Transport::Tcp => {
                self.flights.insert(number, flight);
                self.connect_or_send(number);
            }
        }
        Some(number)
    }

    fn free_id(&mut self, step: Step) -> Option<(u16, u16)> {
        for _ in 0..ID_TRIES {
            let word = self.rng.next_u32();
            let (slot, id) = ((word >> 16) as u16 % SLOTS, word as u16);
            if step.rung == Rung::Tcp || !self.sockets.contains_key(&(step.server, slot, id)) {
                return Some((slot, id));
            }
        }
        None
    }

    /// A datagram came in.
    pub(crate) fn datagram(&mut self, server: SocketAddr, slot: u16, bytes: &[u8]) {
        let flight = wire::id(bytes).and_then(|id| self.sockets.get(&(server, slot, id)).copied());
        match flight.and_then(|flight| Some((flight, self.read_reply(flight, bytes)?))) {
            Some((flight, (reply, worth))) => self.act_on(flight, reply, worth, bytes.len()),
            None => self.ignored(server),
        }
    }

    /// A message came that was no answer to anything.
    pub(crate) fn ignored(&mut self, server: SocketAddr) {
        if let Some(server) = self.servers.get_mut(server) {
            server.ignored = server.ignored.saturating_add(1);
        }
    }

    /// Reads a message as a flight's reply; `None` if it is not.
    pub(crate) fn read_reply(&self, number: u64, bytes: &[u8]) -> Option<(Reply, Worth)> {
        let flight = self.flights.get(&number).filter(|flight| wire::id(bytes) == Some(flight.id))?;
        let reply = wire::read(bytes, &flight.name, flight.rtype, &flight.question)?;
        let asked = Asked {
            transport: flight.step.transport(),
            edns: flight.step.edns.is_some(),
            cased: flight.step.cased,
            aliases: flight.aliases,
        };
        let worth = weigh(&reply, asked);
        (worth != Worth::Ignored).then_some((reply, worth))
    }

    /// Acts on a flight's reply, of so many octets.
    pub(crate) fn act_on(&mut self, number: u64, reply: Reply, worth: Worth, octets: usize) {
        let Some(flight) = self.drop_flight(number) else {
            return;
        };
        self.learn(&flight, &reply, worth);
        let exchange = flight.exchange(self.now.mono, worth.outcome(), Some((&reply, octets)));
        if let Owner::Lookup(lookup) = flight.owner {
            self.lookup_reply(lookup, number, Heard { step: flight.step, worth, reply, exchange });
        }
    }

    /// What a reply tells of its server.
    fn learn(&mut self, flight: &Flight, reply: &Reply, worth: Worth) {
        let (server, transport) = (flight.step.server, flight.step.transport());
        let took = self.now.mono - flight.sent_at;
        if self.servers.health_mut(server, transport).is_some_and(|health| health.answered(took)) {
            self.transport_up(server, transport);
        }
        let now = self.now.mono;
        let Some(server) = self.servers.get_mut(server) else {
            return;
        };
        server.note_reply(worth == Worth::Failed(ExchangeOutcome::ServerFailure));
        if flight.step.edns.is_some() && worth != Worth::NoEdns {
            server.note_edns();
        }
        // It was asked with 0x20 and came back in another case over a connection, where nobody forges: it folds.
        if transport == Transport::Tcp && reply.question == Match::OtherCase {
            server.note_folds_case(now);
        }
    }

    /// The network reported an error on a socket: every query on it that waits is lost.
    pub(crate) fn datagram_failed(&mut self, server: SocketAddr, slot: u16, fault: IoFault) {
        let range = (server, slot, 0)..=(server, slot, u16::MAX);
        let lost: Vec<u64> = self.sockets.range(range).map(|(_, flight)| *flight).collect();
        if lost.is_empty() {
            return;
        }
        self.strike(server, Transport::Udp, Strike::ClosedPort, ExchangeOutcome::from(fault));
        for number in lost {
            if let Some(flight) = self.drop_flight(number) {
                self.flight_failed(number, flight, ExchangeOutcome::from(fault));
            }
        }
    }

    /// A datagram's reply has been waited for long enough.
    pub(crate) fn flight_expired(&mut self, number: u64) {
        let now = self.now.mono;
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        flight.expired = true;
        let (server, rung, owner) = (flight.step.server, flight.step.rung, flight.owner);
        let exchange = flight.exchange(now, ExchangeOutcome::TimedOut, None);
        match owner {
            Owner::Lookup(lookup) => {
                match rung {
                    Rung::Udp => {
                        self.strike(server, Transport::Udp, Strike::Silence, ExchangeOutcome::TimedOut)
                    }
                    // Only the large answer is missing: its fragments were lost.
                    Rung::Large => {
                        self.servers.get_mut(server).into_iter().for_each(|s| s.note_loses_large(now))
                    }
                    Rung::Plain | Rung::Tcp => {}
                }
                self.lookup_silent(lookup, number, exchange);
            }
            Owner::Probe => {
                self.drop_flight(number);
                self.probe_failed(server, Transport::Udp);
            }
            Owner::Nobody => {
                self.drop_flight(number);
            }
        }
    }

    /// Tells whoever waits that a flight, which is already dropped, came to nothing.
    pub(crate) fn flight_failed(&mut self, number: u64, flight: Flight, outcome: ExchangeOutcome) {
        match flight.owner {
            Owner::Lookup(lookup) => {
                let exchange = (!flight.expired).then(|| flight.exchange(self.now.mono, outcome, None));
                self.lookup_failed_flight(lookup, number, flight.step, exchange);
            }
            Owner::Probe => self.probe_failed(flight.step.server, flight.step.transport()),
            Owner::Nobody => {}
        }
    }

    /// Forgets a flight.
    pub(crate) fn drop_flight(&mut self, number: u64) -> Option<Flight> {
        let flight = self.flights.remove(&number)?;
        if flight.step.rung != Rung::Tcp {
            self.sockets.remove(&(flight.step.server, flight.slot, flight.id));
            self.timers.clear(Timer::Flight(number));
        }
        Some(flight)
    }

    /// Nobody wants the reply of a flight any more. What is on a connection stays until it ends, because its end says something of
    /// the server; the rest is forgotten.
    pub(crate) fn abandon(&mut self, number: u64) {
        match self.flights.get_mut(&number) {
            Some(flight) if flight.conn.is_some() => flight.owner = Owner::Nobody,
            Some(_) => {
                self.drop_flight(number);
            }
            None => {}
        }
    }
}

impl From<IoFault> for ExchangeOutcome {
    fn from(fault: IoFault) -> Self {
        match fault {
            IoFault::Refused => Self::Refused,
            IoFault::TimedOut => Self::TimedOut,
            IoFault::Reset => Self::Reset,
            IoFault::Unreachable | IoFault::Other => Self::Unreachable,
        }
    }
}
