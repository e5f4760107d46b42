//! The fault matrix: what a server may do to a datagram, to a connection, alone or with others, under each policy. Whatever it is, mail for
//! a domain that exists is never returned, never waits beyond the budget, and costs a bounded number of packets.

// A test may panic: that is how it fails. The lint knows test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use postroad_dns::answer::{Answer, Provenance, Question, Verdict};
use postroad_dns::exchange::{Transport, rtype_from_str};
use postroad_dns::fact::Fact;
use postroad_dns::policy::Policy;
use postroad_dns::resolver::Input;
use postroad_dns::settings::Settings;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use world::{Behaviour, Message, Query, Rr, Sent, Tcp, World, rr};

/// What happens to datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Udp {
    Full,
    /// Today's servers.
    TcEmpty,
    /// BIND without EDNS: a part, another each time.
    TcPartial,
    /// Whole at 4096 only.
    WholeAt4096,
    FormerrToEdns,
    EdnsDropped,
    /// What is asked with 4096 is lost as fragments, what is asked with less is truncated.
    LargeDropped,
    /// The resolver behind says nothing for this name.
    Silent,
    Closed,
    WrongIdFirst,
    CaseChanged,
    OtherSocket,
    Servfail,
    Refused,
    Notimp,
    Referral,
    /// A name error by someone who has no say (RA=0, AA=0).
    NxdomainOfAStranger,
    Garbage,
    /// Cut: the counts promise more.
    Cut,
}

const UDP: [Udp; 19] = [
    Udp::Full,
    Udp::TcEmpty,
    Udp::TcPartial,
    Udp::WholeAt4096,
    Udp::FormerrToEdns,
    Udp::EdnsDropped,
    Udp::LargeDropped,
    Udp::Silent,
    Udp::Closed,
    Udp::WrongIdFirst,
    Udp::CaseChanged,
    Udp::OtherSocket,
    Udp::Servfail,
    Udp::Refused,
    Udp::Notimp,
    Udp::Referral,
    Udp::NxdomainOfAStranger,
    Udp::Garbage,
    Udp::Cut,
];

/// What happens to connections; `TcOverTcp` is an open one that brings truncated answers.
const TCP: [(Tcp, bool); 9] = [
    (Tcp::Open, false),
    (Tcp::Refused, false),
    (Tcp::Dropped, false),
    (Tcp::Mute, false),
    (Tcp::Reset, false),
    (Tcp::Half, false),
    (Tcp::Stuck, false),
    (Tcp::Closes, false),
    (Tcp::Open, true),
];

#[derive(Clone, Copy, Debug)]
struct Fault {
    udp: Udp,
    tcp: (Tcp, bool),
    /// Only the MX set is large enough to be hit.
    mx_only: bool,
}

const HEALTHY: Fault = Fault { udp: Udp::Full, tcp: (Tcp::Open, false), mx_only: false };

/// Servers that know the truth about one domain, and tell it as their faults allow.
struct Faulty {
    faults: BTreeMap<SocketAddr, Fault>,
    zone: Vec<Rr>,
    turn: usize,
}

const HOSTS: usize = 3;

impl Faulty {
    fn new(faults: &[(SocketAddr, Fault)]) -> Self {
        let mut zone = Vec::new();
        for host in 1..=HOSTS {
            zone.push(rr(&format!("big.example. 3600 IN MX {host} mx{host}.big.example.")));
            zone.push(rr(&format!("mx{host}.big.example. 3600 IN A 198.51.100.{host}")));
        }
        Self { faults: faults.iter().copied().collect(), zone, turn: 0 }
    }

    fn truth(&self, query: &Query) -> Message {
        let right =
            |record: &&Rr| record.name == query.name && rtype_from_str(&record.rtype) == Some(query.qtype);
        let answer: Vec<Rr> = self.zone.iter().filter(right).cloned().collect();
        let soa = || vec![rr("big.example. 3600 IN SOA ns.big.example. root.big.example. 300")];
        let authority = if answer.is_empty() { soa() } else { Vec::new() };
        Message { ra: true, answer, authority, ..Message::default() }
    }

    fn by_udp(&mut self, udp: Udp, query: &Query) -> Vec<Sent> {
        let truth = self.truth(query);
        let empty = Message { ra: true, ..Message::default() };
        let tc = Message { tc: true, ..empty.clone() };
        let only = |message: Message| vec![sent(message.encode(query))];
        let rcode = |rcode| only(Message { rcode, ..empty.clone() });
        match udp {
            Udp::Full => only(truth),
            Udp::TcEmpty => only(tc),
            Udp::TcPartial if query.edns.is_some() => only(tc),
            Udp::TcPartial => {
                self.turn += 1;
                let part = truth.answer.get(self.turn % HOSTS).or(truth.answer.first()).cloned();
                only(Message { answer: part.into_iter().collect(), ..tc })
            }
            Udp::WholeAt4096 if query.edns == Some(4096) => only(truth),
            Udp::WholeAt4096 => only(tc),
            Udp::FormerrToEdns if query.edns.is_some() => rcode(1),
            Udp::FormerrToEdns => only(truth),
            Udp::EdnsDropped if query.edns.is_some() => Vec::new(),
            Udp::EdnsDropped => only(truth),
            Udp::LargeDropped if query.edns == Some(4096) => Vec::new(),
            Udp::LargeDropped => only(tc),
            Udp::Silent | Udp::Closed => Vec::new(),
            Udp::WrongIdFirst => {
                let forged = Message { rcode: 3, wrong_id: true, ..empty };
                vec![sent(forged.encode(query)), sent(truth.encode(query))]
            }
            Udp::CaseChanged => only(Message { fold_case: true, ..truth }),
            Udp::OtherSocket => {
                let forged = Message { rcode: 3, ..empty };
                vec![Sent { other_slot: true, ..sent(forged.encode(query)) }, sent(truth.encode(query))]
            }
            Udp::Servfail => rcode(2),
            Udp::Refused => rcode(5),
            Udp::Notimp => rcode(4),
            Udp::Referral => {
                let authority = vec![rr("example. 3600 IN NS ns.example.")];
                only(Message { ra: false, authority, ..empty })
            }
            Udp::NxdomainOfAStranger => {
                only(Message { ra: false, rcode: 3, authority: truth.authority, ..empty })
            }
            Udp::Garbage => {
                let mut bytes = truth.encode(query);
                bytes.truncate(bytes.len() * 2 / 3);
                bytes.extend([0xc0, 0xff, 0x40]);
                vec![sent(bytes)]
            }
            Udp::Cut => only(Message { lies: 7, ..truth }),
        }
    }
}

fn sent(bytes: Vec<u8>) -> Sent {
    Sent { bytes, ..Sent::default() }
}

impl Behaviour for Faulty {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        let fault = self.faults[&query.server];
        let hit = !fault.mx_only || query.qtype == 15;
        match query.transport {
            Transport::Udp if hit => self.by_udp(fault.udp, query),
            Transport::Tcp if hit && fault.tcp.1 => {
                vec![sent(Message { tc: true, ra: true, ..Message::default() }.encode(query))]
            }
            _ => vec![sent(self.truth(query).encode(query))],
        }
    }

    fn tcp(&mut self, server: SocketAddr) -> Tcp {
        self.faults[&server].tcp.0
    }

    fn udp_closed(&mut self, server: SocketAddr) -> bool {
        self.faults[&server].udp == Udp::Closed
    }
}

/// Packets of one question: the MX set and three hosts with two sets each, on the longest ladder of two servers.
const PACKETS_MAX: usize = 120;

#[test]
fn the_whole_matrix() {
    let mut cases = 0;
    for udp in UDP {
        for tcp in TCP {
            for mx_only in [false, true] {
                let fault = Fault { udp, tcp, mx_only };
                for policy in Policy::ALL {
                    for others in [&[][..], &[fault], &[HEALTHY]] {
                        check(fault, others, policy);
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, UDP.len() * TCP.len() * 2 * 4 * 3);
}

fn check(fault: Fault, others: &[Fault], policy: Policy) {
    let addr = |at: usize| SocketAddr::from(([192, 0, 2, 53 + at as u8], 53));
    let faults: Vec<(SocketAddr, Fault)> =
        std::iter::once(&fault).chain(others).enumerate().map(|(at, fault)| (addr(at), *fault)).collect();
    let servers = faults.iter().map(|(server, _)| *server).collect();
    let settings = Settings { servers, ..Settings::default() };
    let budget = settings.timeouts.lookup;
    let mut world = World::new(settings, 7, Faulty::new(&faults));
    let question = || Question::NextHop("big.example".parse().unwrap());
    let (answer, took) = world.find(question(), policy);
    let context = format!(
        "{fault:?} and {others:?} under {policy}, {took:?}, {} packets: {:?}",
        world.packets, answer.verdict
    );

    assert!(took <= budget, "over the budget: {context}");
    assert!(world.packets <= PACKETS_MAX, "too many packets: {context}");
    let resolved = good(&answer, &context);
    let healthy_second =
        others.first().is_some_and(|other| other.udp == Udp::Full && other.tcp == HEALTHY.tcp);
    assert!(resolved || !healthy_second, "the second server is healthy: {context}");
    assert!(
        resolved
            || policy != Policy::Adaptive
            || fault.tcp != (Tcp::Open, false)
            || !transport_fault(fault.udp),
        "{context}"
    );
    let quick = fault.tcp.0 == Tcp::Refused && !slow(fault.udp);
    assert!(!quick || took < Duration::from_secs(2), "slow: {context}");
    one_event_each(&world.facts, &context);
    let told_down = world.facts.iter().any(|fact| matches!(fact, Fact::TransportDown { .. }));

    // Nothing partial is cached.
    let (again, _) = world.find(question(), policy);
    assert!(good(&again, &context) == resolved, "another outcome at once: {context}");
    assert!(!again.from_cache || again.provenance == Provenance::Complete, "a part was cached: {context}");

    // The servers are repaired: what was down comes up by itself and releases the mail, and the next answer is whole.
    for fault in world.behaviour.faults.values_mut() {
        *fault = HEALTHY;
    }
    world.pass(Duration::from_secs(20 * 60));
    assert!(!told_down || world.released > 0, "nothing released: {context}");
    let (healed, _) = world.find(question(), policy);
    assert!(
        good(&healed, &context) && healed.provenance == Provenance::Complete,
        "not healed: {:?} {context}",
        healed.verdict
    );
    assert!(
        world.resolver.servers(world.now).iter().all(|s| s.transports.iter().all(|t| t.down.is_none())),
        "{context}"
    );
    world.handle(Input::Flush(None));
}

/// Whether there are hosts; anything but hosts or "unresolved" would lose mail.
fn good(answer: &Answer, context: &str) -> bool {
    match &answer.verdict {
        Verdict::Hosts(hosts) => {
            let whole = answer.provenance == Provenance::Complete;
            assert!(!hosts.is_empty() && (!whole || hosts.len() == HOSTS), "{hosts:?}: {context}");
            true
        }
        Verdict::Unresolved(cause) => {
            assert!(cause.dns_fault && !cause.text.is_empty(), "{context}");
            false
        }
        other => panic!("a fault is never {other:?}: {context}"),
    }
}

/// The datagrams are the trouble, not the server: TCP can heal it.
fn transport_fault(udp: Udp) -> bool {
    !matches!(udp, Udp::Servfail | Udp::Refused | Udp::Notimp | Udp::Referral | Udp::NxdomainOfAStranger)
}

/// Waits are part of it.
fn slow(udp: Udp) -> bool {
    matches!(udp, Udp::Silent | Udp::EdnsDropped | Udp::LargeDropped)
}

/// A transport that goes down is told once, and once more when mail waits for it.
fn one_event_each(facts: &[Fact], context: &str) {
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| matches!(fact, Fact::TransportDown { .. } | Fact::NoServer { .. }))
    {
        *told.entry(format!("{fact:?}")).or_default() += 1;
    }
    assert!(told.values().all(|times| *times == 1), "told twice: {told:?}: {context}");
}
