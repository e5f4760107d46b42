//! The machine: what goes in, what comes out, and how one is led to the other.

use crate::answer::{Answer, Question};
use crate::cache::Cache;
use crate::exchange::{ExchangeOutcome, Transport};
use crate::fact::Fact;
use crate::flight::Flight;
use crate::health::Servers;
use crate::lookup::{Lookup, LookupKey};
use crate::name::Name;
use crate::nexthop::Need;
use crate::policy::Policy;
use crate::resolved::Resolved;
use crate::settings::Settings;
use crate::stream::{Conn, Pool};
use crate::task::Task;
use crate::timers::{Timer, Timers};
use postroad_mail::domain::Domain;
use postroad_mail::time::{Mono, Now};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The caller's number for a question. The caller never uses one twice at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// The resolver's number for a TCP connection, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Datagram sockets that the shell keeps for each server, each connected to it from a random port. Which one carries a query is
/// drawn by the machine, so an attacker must hit one port of sixteen that he cannot see, beside id and letter case (RFC 5452 §9.2).
pub const SLOTS: u16 = 16;

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Answer this question.
    Find {
        /// The caller's number for it.
        id: LookupId,
        /// The question.
        question: Question,
        /// The policy under which it is asked.
        policy: Policy,
    },
    /// No one waits for this any more. Nothing is answered.
    Cancel {
        /// The caller's number.
        id: LookupId,
    },
    /// A datagram came in.
    Datagram {
        /// From this server.
        server: SocketAddr,
        /// On this socket of its pool.
        slot: u16,
        /// What it holds, whole: the shell's buffer holds 65,535 octets.
        bytes: Vec<u8>,
    },
    /// A datagram could not be sent, or the network reported an error on a socket.
    DatagramFailed {
        /// The server of the socket's pool.
        server: SocketAddr,
        /// The socket.
        slot: u16,
        /// The error.
        fault: IoFault,
    },
    /// A connection is made.
    Connected {
        /// Which.
        conn: ConnId,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// Which.
        conn: ConnId,
        /// Why.
        fault: IoFault,
    },
    /// Octets came over a connection.
    Received {
        /// Which.
        conn: ConnId,
        /// The octets, in any pieces.
        bytes: Vec<u8>,
    },
    /// A connection is no more. Not told for those that the machine closed.
    Closed {
        /// Which.
        conn: ConnId,
        /// The error, if it was not an orderly end.
        fault: Option<IoFault>,
    },
    /// Servers or times changed. The cache is kept, and what is known of the servers that are still listed; cached failures are not.
    Settings(Settings),
    /// Forget what is cached of a name and all below it, or everything.
    Flush(Option<Domain>),
    /// The deadline has come.
    Tick,
}

/// What the machine wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a datagram.
    SendDatagram {
        /// To this server.
        server: SocketAddr,
        /// From this socket of its pool, 0 to `SLOTS` - 1.
        slot: u16,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Make a connection.
    Connect {
        /// Its number from here on.
        conn: ConnId,
        /// To this server.
        server: SocketAddr,
    },
    /// Send over a connection.
    Send {
        /// Which.
        conn: ConnId,
        /// The octets, with the length that TCP puts before a message.
        bytes: Vec<u8>,
    },
    /// Close a connection, or stop making it.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// A question is answered.
    Found {
        /// The caller's number.
        id: LookupId,
        /// The answer.
        answer: Arc<Answer>,
    },
    /// Something for the administrator.
    Fact(Fact),
    /// A transport of a server recovered or the settings changed: everything deferred for DNS is due.
    Released,
}

/// What the network says went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IoFault {
    /// Connection refused; for a datagram, its port is closed.
    Refused,
    /// The system gave up waiting.
    TimedOut,
    /// The connection was reset.
    Reset,
    /// No route, or the network or host is unreachable.
    Unreachable,
    /// Anything else.
    Other,
}

/// What is known of a server, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReport {
    /// The server.
    pub server: SocketAddr,
    /// UDP, then TCP.
    pub transports: Vec<TransportReport>,
    /// It does not know EDNS, or drops what has it.
    pub without_edns: bool,
    /// It does not keep the letter case of a question.
    pub folds_case: bool,
    /// Messages ignored because of a wrong id, socket or question.
    pub ignored: u64,
}

/// What is known of a transport of a server, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportReport {
    /// The transport.
    pub transport: Transport,
    /// Why it is down; `None` while it is not known to be.
    pub down: Option<String>,
    /// The time until the next probe, if it is down.
    pub next_probe: Option<Duration>,
    /// The smoothed round-trip time, once known.
    pub round_trip: Option<Duration>,
}

/// Questions waited for at the same time. Beyond, the answer is "resolver busy" at once: the mail is deferred.
pub(crate) const QUESTIONS_MAX: usize = 10_000;
/// Record sets looked up at the same time: a question needs one, then two for each of a few hosts.
pub(crate) const LOOKUPS_MAX: usize = 40_000;
/// Absences without proof of which the first sight is remembered. Beyond, a negative is believed later.
pub(crate) const SIGHTS_MAX: usize = 10_000;

/// The resolver: one machine for all lookups.
#[derive(Debug)]
pub struct Resolver {
    pub(crate) settings: Settings,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) now: Now,
    pub(crate) servers: Servers,
    pub(crate) cache: Cache,
    pub(crate) timers: Timers,
    out: VecDeque<Output>,
    /// The last number given to a task, lookup, flight, connection or answer.
    last_number: u64,

    /// Questions, by number; by what is asked; by who asks.
    pub(crate) tasks: BTreeMap<u64, Task>,
    pub(crate) by_question: BTreeMap<(Question, Policy), u64>,
    pub(crate) asked_by: BTreeMap<LookupId, u64>,
    /// What lookups came to, for the tasks that need it.
    pub(crate) ready: VecDeque<(u64, Need, Resolved)>,

    pub(crate) lookups: BTreeMap<u64, Lookup>,
    pub(crate) by_key: BTreeMap<LookupKey, u64>,
    /// When an absence without proof was first seen.
    pub(crate) sights: BTreeMap<(Name, u16), Mono>,

    pub(crate) flights: BTreeMap<u64, Flight>,
    /// The flight of a server, socket and message id.
    pub(crate) sockets: BTreeMap<(SocketAddr, u16, u16), u64>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) pools: BTreeMap<SocketAddr, Pool>,

    /// Policies for which it was told that no server can be reached.
    pub(crate) unreachable: BTreeSet<Policy>,
    /// When a transport that recovered last released what was deferred.
    pub(crate) released: Option<Mono>,
}

impl Resolver {
    /// A resolver with an empty cache. The seed must come from the system's randomness: ids, sockets and letter case hang on it.
    #[must_use]
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        let mut servers = Servers::default();
        servers.replace(&settings.servers);
        Self {
            settings,
            rng: ChaCha12Rng::from_seed(seed),
            now: Now::default(),
            servers,
            cache: Cache::default(),
            timers: Timers::default(),
            out: VecDeque::new(),
            last_number: 0,
            tasks: BTreeMap::new(),
            by_question: BTreeMap::new(),
            asked_by: BTreeMap::new(),
            ready: VecDeque::new(),
            lookups: BTreeMap::new(),
            by_key: BTreeMap::new(),
            sights: BTreeMap::new(),
            flights: BTreeMap::new(),
            sockets: BTreeMap::new(),
            conns: BTreeMap::new(),
            pools: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            released: None,
        }
    }

    /// Takes an input. Drain `poll` afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Find { id, question, policy } => self.find(id, question, policy),
            Input::Cancel { id } => self.cancel(id),
            Input::Datagram { server, slot, bytes } => self.datagram(server, slot, &bytes),
            Input::DatagramFailed { server, slot, fault } => self.datagram_failed(server, slot, fault),
            Input::Connected { conn } => self.connected(conn),
            Input::ConnectFailed { conn, fault } => self.connect_failed(conn, fault),
            Input::Received { conn, bytes } => self.received(conn, &bytes),
            Input::Closed { conn, fault } => self.closed(conn, fault),
            Input::Settings(settings) => self.replace_settings(settings),
            Input::Flush(name) => self.flush(name.as_ref()),
            Input::Tick => {}
        }
        self.settle();
        while let Some(timer) = self.timers.pop(now.mono) {
            self.fire(timer);
            self.settle();
        }
    }

    /// The next thing to do; `None` when there is no more.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When `Input::Tick` is wanted.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.timers.first()
    }

    /// What is known of the servers, in their order.
    #[must_use]
    pub fn servers(&self, now: Now) -> Vec<ServerReport> {
        let probe_in =
            |server, transport| self.timers.at(Timer::Probe(server, transport)).map(|at| at - now.mono);
        self.servers.report(now.mono, probe_in)
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Flight(flight) => self.flight_expired(flight),
            Timer::Conn(conn) => self.conn_expired(conn),
            Timer::Hedge(lookup) => self.hedge(lookup),
            Timer::Lookup(lookup) => self.lookup_expired(lookup),
            Timer::Task(task) => self.task_expired(task),
            Timer::Probe(server, transport) => self.probe(server, transport),
            Timer::Release => self.release(),
        }
    }

    fn replace_settings(&mut self, settings: Settings) {
        self.servers.replace(&settings.servers);
        let probe = |settings: &Settings| (settings.probe_min, settings.probe_max);
        let probes_differ = probe(&self.settings) != probe(&settings);
        self.settings = settings;
        if probes_differ {
            self.probe_anew();
        }
        self.cache.forget_failures();
        // Before flights to servers that are gone fail: their lookups go on with the new ones.
        self.reseat_lookups();
        let unlisted = |flight: &Flight| self.servers.get(flight.step.server).is_none();
        let lost: Vec<u64> =
            self.flights.iter().filter(|(_, f)| unlisted(f)).map(|(number, _)| *number).collect();
        for number in lost {
            if let Some(flight) = self.drop_flight(number) {
                self.flight_failed(number, flight, ExchangeOutcome::Unreachable);
            }
        }
        self.close_unlisted();
        self.review_unreachable();
        self.emit(Output::Released);
    }

    fn flush(&mut self, domain: Option<&Domain>) {
        let name = domain.map(Name::from_domain);
        self.cache.flush(name.as_ref());
        self.sights.retain(|(held, _), _| name.as_ref().is_some_and(|name| !held.is_within(name)));
    }

    /// A number that was never given before.
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }
}
