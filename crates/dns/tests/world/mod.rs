//! A network of name servers on a virtual clock, for the tests: it does what the machine says, and answers as a `Behaviour` wants.
//!
//! What may break here, and why we must survive it: datagrams are lost, late, forged or cut; ports are closed; connections are refused,
//! swallowed by a firewall, accepted and left silent, reset, closed in the middle of a message. All of that was seen on real networks.

#![allow(dead_code)]

use postroad_dns::answer::{Answer, Question};
use postroad_dns::exchange::Transport;
use postroad_dns::fact::Fact;
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ConnId, Input, IoFault, LookupId, Output, Resolver, SLOTS};
use postroad_dns::settings::Settings;
use postroad_mail::time::{Mono, Now, Wall};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One way through the network.
pub const HALF_TRIP: Duration = Duration::from_micros(500);

/// A query as a server sees it.
#[derive(Clone, Debug)]
pub struct Query {
    pub server: SocketAddr,
    pub transport: Transport,
    pub id: u16,
    /// Lower case, with a final dot.
    pub name: String,
    /// The question in wire form, in the letter case in which it came.
    pub question: Vec<u8>,
    pub qtype: u16,
    pub edns: Option<u16>,
}

/// What a server sends for a query.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub bytes: Vec<u8>,
    pub late: Duration,
    /// From another of our sockets than the one asked from.
    pub other_slot: bool,
}

/// How a server treats connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tcp {
    Open,
    Refused,
    /// A firewall drops the SYN.
    Dropped,
    /// Accepted, and never a word.
    Mute,
    /// Reset when the query comes.
    Reset,
    /// Half of the reply, then closed.
    Half,
    /// Half of the reply, then silence.
    Stuck,
    /// Closed after one reply.
    Closes,
}

/// How servers behave.
pub trait Behaviour {
    /// What is sent for a query, in order.
    fn reply(&mut self, query: &Query) -> Vec<Sent>;
    fn tcp(&mut self, server: SocketAddr) -> Tcp;
    /// The datagram's port is closed: an ICMP error comes back.
    fn udp_closed(&mut self, _server: SocketAddr) -> bool {
        false
    }
}

pub struct World<B> {
    pub resolver: Resolver,
    pub behaviour: B,
    pub now: Now,
    pub facts: Vec<Fact>,
    pub released: usize,
    pub found: BTreeMap<u64, (Arc<Answer>, Mono)>,
    /// Datagrams and queries over connections, and connections.
    pub packets: usize,
    pub queries: Vec<Query>,
    coming: BTreeMap<(Mono, u64), Input>,
    sequence: u64,
    conns: BTreeMap<ConnId, SocketAddr>,
    closed: BTreeSet<ConnId>,
    last_id: u64,
}

impl<B: Behaviour> World<B> {
    pub fn new(settings: Settings, seed: u8, behaviour: B) -> Self {
        Self {
            resolver: Resolver::new(settings, [seed; 32]),
            behaviour,
            now: Now { mono: Mono(1_000_000), wall: Wall(1_795_590_028_000) },
            facts: Vec::new(),
            released: 0,
            found: BTreeMap::new(),
            packets: 0,
            queries: Vec::new(),
            coming: BTreeMap::new(),
            sequence: 0,
            conns: BTreeMap::new(),
            closed: BTreeSet::new(),
            last_id: 0,
        }
    }

    /// Asks, without waiting.
    pub fn ask(&mut self, question: Question, policy: Policy) -> u64 {
        self.last_id += 1;
        let id = LookupId(self.last_id);
        self.handle(Input::Find { id, question, policy });
        id.0
    }

    /// Asks and waits for the answer, for a minute at most.
    pub fn find(&mut self, question: Question, policy: Policy) -> (Arc<Answer>, Duration) {
        let asked = self.now.mono;
        let id = self.ask(question, policy);
        let end = asked + Duration::from_secs(60);
        while !self.found.contains_key(&id) {
            assert!(self.step(end), "no answer within a minute");
        }
        let (answer, at) = self.found[&id].clone();
        (answer, at - asked)
    }

    /// Lets time pass, with all that happens in it.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now.later(span);
        while self.step(end.mono) {}
        self.now = end;
    }

    pub fn handle(&mut self, input: Input) {
        self.resolver.handle(self.now, input);
        while let Some(output) = self.resolver.poll() {
            self.act(output);
        }
    }

    /// The next thing that happens before `end`.
    fn step(&mut self, end: Mono) -> bool {
        let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.resolver.deadline();
        let Some(at) = coming.into_iter().chain(deadline).min().filter(|at| *at <= end) else {
            return false;
        };
        if at > self.now.mono {
            self.now = self.now.later(at - self.now.mono);
        }
        if coming == Some(at) {
            let (_, input) = self.coming.pop_first().unwrap();
            let gone = match &input {
                Input::Connected { conn } | Input::ConnectFailed { conn, .. } => self.closed.contains(conn),
                Input::Received { conn, .. } | Input::Closed { conn, .. } => self.closed.contains(conn),
                _ => false,
            };
            if let Input::Closed { conn, .. } = &input {
                self.closed.insert(*conn);
            }
            if !gone {
                self.handle(input);
            }
        } else {
            let before = self.resolver.deadline();
            self.handle(Input::Tick);
            assert!(
                self.resolver.deadline() != before || before > Some(self.now.mono),
                "a deadline must not stand still"
            );
        }
        true
    }

    fn later(&mut self, span: Duration, input: Input) {
        self.sequence += 1;
        self.coming.insert((self.now.mono + span, self.sequence), input);
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::SendDatagram { server, slot, bytes } => {
                assert!(slot < SLOTS);
                self.packets += 1;
                if self.behaviour.udp_closed(server) {
                    return self.later(
                        HALF_TRIP * 2,
                        Input::DatagramFailed { server, slot, fault: IoFault::Refused },
                    );
                }
                let query = parse(server, Transport::Udp, &bytes);
                self.queries.push(query.clone());
                for sent in self.behaviour.reply(&query) {
                    let slot = if sent.other_slot { (slot + 1) % SLOTS } else { slot };
                    self.later(
                        HALF_TRIP * 2 + sent.late,
                        Input::Datagram { server, slot, bytes: sent.bytes },
                    );
                }
            }
            Output::Connect { conn, server } => {
                self.packets += 1;
                self.conns.insert(conn, server);
                match self.behaviour.tcp(server) {
                    Tcp::Refused => {
                        self.later(HALF_TRIP * 2, Input::ConnectFailed { conn, fault: IoFault::Refused });
                    }
                    Tcp::Dropped => {}
                    _ => self.later(HALF_TRIP * 2, Input::Connected { conn }),
                }
            }
            Output::Send { conn, bytes } => self.act_send(conn, &bytes),
            Output::Close { conn } => {
                self.closed.insert(conn);
            }
            Output::Found { id, answer } => {
                let again = self.found.insert(id.0, (answer, self.now.mono));
                assert!(again.is_none(), "answered twice");
            }
            Output::Fact(fact) => self.facts.push(fact),
            Output::Released => self.released += 1,
        }
    }

    fn act_send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.packets += 1;
        assert!(!self.closed.contains(&conn), "sent on a closed connection");
        let server = self.conns[&conn];
        assert_eq!(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), bytes.len() - 2, "framing");
        let query = parse(server, Transport::Tcp, &bytes[2..]);
        self.queries.push(query.clone());
        let mode = self.behaviour.tcp(server);
        if mode == Tcp::Reset {
            return self.later(HALF_TRIP * 2, Input::Closed { conn, fault: Some(IoFault::Reset) });
        }
        if mode == Tcp::Mute {
            return;
        }
        for sent in self.behaviour.reply(&query) {
            let mut framed = (sent.bytes.len() as u16).to_be_bytes().to_vec();
            framed.extend(sent.bytes);
            let half = framed.split_off(framed.len() / 2);
            let trip = HALF_TRIP * 2 + sent.late;
            self.later(trip, Input::Received { conn, bytes: framed });
            match mode {
                Tcp::Half => self.later(trip, Input::Closed { conn, fault: None }),
                Tcp::Stuck => {}
                _ => self.later(trip, Input::Received { conn, bytes: half }),
            }
            if mode == Tcp::Closes {
                self.later(trip, Input::Closed { conn, fault: None });
            }
        }
    }
}

fn parse(server: SocketAddr, transport: Transport, bytes: &[u8]) -> Query {
    assert_eq!(u16::from_be_bytes([bytes[4], bytes[5]]), 1, "one question");
    let mut at = 12;
    let mut name = String::new();
    while bytes[at] != 0 {
        let len = usize::from(bytes[at]);
        name.push_str(&String::from_utf8_lossy(&bytes[at + 1..=at + len]));
        name.push('.');
        at += len + 1;
    }
    if name.is_empty() {
        name.push('.');
    }
    let question = bytes[12..=at].to_vec();
    let qtype = u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]);
    let rest = &bytes[at + 5..];
    // An OPT record: root, type 41, class = size.
    let edns = (rest.len() >= 11 && rest[..3] == [0, 0, 41]).then(|| u16::from_be_bytes([rest[3], rest[4]]));
    let id = u16::from_be_bytes([bytes[0], bytes[1]]);
    Query { server, transport, id, name: name.to_ascii_lowercase(), question, qtype, edns }
}

/// A reply under construction. Its encoder is its own, so that the machine's is checked against another.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub rcode: u8,
    pub tc: bool,
    pub aa: bool,
    pub ra: bool,
    pub answer: Vec<Rr>,
    pub authority: Vec<Rr>,
    pub additional: Vec<Rr>,
    pub fold_case: bool,
    pub wrong_id: bool,
    pub other_name: bool,
    pub no_question: bool,
    /// The header counts so many more answers than there are.
    pub lies: u16,
}

/// A record in presentation form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rr {
    pub name: String,
    pub ttl: u32,
    pub rtype: String,
    pub data: String,
}

/// `name ttl IN type data`.
pub fn rr(line: &str) -> Rr {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap().to_owned();
    let ttl = words.next().unwrap().parse().unwrap_or_else(|_| panic!("no TTL: {line}"));
    assert_eq!(words.next(), Some("IN"), "{line}");
    let rtype = words.next().unwrap().to_owned();
    Rr { name, ttl, rtype, data: words.collect::<Vec<_>>().join(" ") }
}

impl Message {
    pub fn encode(&self, query: &Query) -> Vec<u8> {
        let id = if self.wrong_id { query.id ^ 0x5555 } else { query.id };
        let flags = 0x8100
            | u16::from(self.aa) << 10
            | u16::from(self.tc) << 9
            | u16::from(self.ra) << 7
            | u16::from(self.rcode);
        let counts = [
            u16::from(!self.no_question),
            self.answer.len() as u16 + self.lies,
            self.authority.len() as u16,
            self.additional.len() as u16,
        ];
        let mut bytes = Vec::new();
        for word in [id, flags].into_iter().chain(counts) {
            bytes.extend(word.to_be_bytes());
        }
        if !self.no_question {
            match (self.other_name, self.fold_case) {
                (true, _) => bytes.extend(wire_name("other.invalid.")),
                (_, true) => bytes.extend(query.question.to_ascii_lowercase()),
                _ => bytes.extend(&query.question),
            }
            bytes.extend(query.qtype.to_be_bytes());
            bytes.extend([0, 1]);
        }
        for record in self.answer.iter().chain(&self.authority).chain(&self.additional) {
            record.encode(&mut bytes);
        }
        bytes
    }
}

impl Rr {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let words: Vec<&str> = self.data.split_whitespace().collect();
        let (rtype, data): (u16, Vec<u8>) = match self.rtype.as_str() {
            "A" => (1, words[0].parse::<std::net::Ipv4Addr>().unwrap().octets().into()),
            "AAAA" => (28, words[0].parse::<std::net::Ipv6Addr>().unwrap().octets().into()),
            "NS" => (2, wire_name(words[0])),
            "CNAME" => (5, wire_name(words[0])),
            "MX" => {
                let preference: u16 = words[0].parse().unwrap();
                (15, [preference.to_be_bytes().to_vec(), wire_name(words[1])].concat())
            }
            "TXT" => {
                let text = self.data.trim_matches('"').as_bytes();
                (16, [vec![text.len() as u8], text.to_vec()].concat())
            }
            "SOA" => {
                let minimum: u32 = words.last().unwrap().parse().unwrap();
                let numbers = [1u32, 7200, 3600, 86_400, minimum].map(u32::to_be_bytes).concat();
                (6, [wire_name(words[0]), wire_name(words[1]), numbers].concat())
            }
            other => panic!("record type {other}"),
        };
        bytes.extend(wire_name(&self.name));
        bytes.extend(rtype.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(self.ttl.to_be_bytes());
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }
}

/// A name in presentation form, with `\DDD` escapes.
fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let mut octets = Vec::new();
        let mut rest = label.chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' => octets.push(rest.by_ref().take(3).collect::<String>().parse::<u8>().unwrap()),
                c => octets.push(c as u8),
            }
        }
        wire.push(octets.len() as u8);
        wire.extend(octets);
    }
    wire.push(0);
    wire
}
