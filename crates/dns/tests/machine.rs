//! The machine's own promises: one lookup for equal questions, bounds, no answer after a cancel, nothing that bytes can break.

// A test may panic: that is how it fails. The lint knows test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use postroad_dns::answer::{Answer, CauseKind, Provenance, Question, Verdict};
use postroad_dns::fact::Fact;
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ConnId, Input, LookupId, Output, Resolver, SLOTS};
use postroad_dns::settings::Settings;
use postroad_mail::time::{Mono, Now, Wall};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use world::{Behaviour, Message, Query, Sent, Tcp, World, rr};

const SERVER: &str = "192.0.2.53:53";

fn settings() -> Settings {
    Settings { servers: vec![SERVER.parse().unwrap()], ..Settings::default() }
}

fn next_hop(domain: &str) -> Question {
    Question::NextHop(domain.parse().unwrap())
}

/// A server that knows every domain: one MX host with one address.
struct Obliging;

impl Behaviour for Obliging {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        let name = &query.name;
        let answer = match query.qtype {
            15 => vec![rr(&format!("{name} 300 IN MX 10 mx.{name}"))],
            1 => vec![rr(&format!("{name} 300 IN A 198.51.100.1"))],
            _ => Vec::new(),
        };
        let authority =
            if answer.is_empty() { vec![rr(&format!("{name} 300 IN SOA a. b. 300"))] } else { Vec::new() };
        let message = Message { ra: true, answer, authority, ..Message::default() };
        vec![Sent { bytes: message.encode(query), ..Sent::default() }]
    }

    fn tcp(&mut self, _server: SocketAddr) -> Tcp {
        Tcp::Open
    }
}

#[test]
fn equal_questions_are_one_lookup() {
    let mut world = World::new(settings(), 1, Obliging);
    for _ in 0..100 {
        world.ask(next_hop("a.example"), Policy::Adaptive);
    }
    world.pass(Duration::from_secs(1));
    assert_eq!((world.found.len(), world.packets), (100, 3));
    let serials: BTreeSet<u64> = world.found.values().map(|(answer, _)| answer.serial).collect();
    assert_eq!(serials.len(), 1);
    // Another policy may conclude otherwise, so it is another question; the record sets are the same.
    world.find(next_hop("a.example"), Policy::TcpOnly);
    assert_eq!(world.packets, 3);
}

#[test]
fn nothing_is_answered_after_a_cancel() {
    let mut world = World::new(settings(), 1, Obliging);
    let first = world.ask(next_hop("a.example"), Policy::Adaptive);
    let second = world.ask(next_hop("a.example"), Policy::Adaptive);
    world.handle(Input::Cancel { id: LookupId(first) });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.found.keys().copied().collect::<Vec<_>>(), [second]);
    let third = world.ask(next_hop("b.example"), Policy::Adaptive);
    world.handle(Input::Cancel { id: LookupId(third) });
    world.pass(Duration::from_secs(60));
    assert_eq!(world.found.len(), 1);
    assert_eq!(world.resolver.deadline(), None, "no timer may outlive what it is for");
}

#[test]
fn flushing_forgets_a_name_and_what_is_below() {
    let mut world = World::new(settings(), 1, Obliging);
    let packets = |world: &mut World<Obliging>, domain: &str| {
        let before = world.packets;
        world.find(next_hop(domain), Policy::Adaptive);
        world.packets - before
    };
    assert_eq!((packets(&mut world, "a.example"), packets(&mut world, "b.example")), (3, 3));
    assert_eq!((packets(&mut world, "a.example"), packets(&mut world, "b.example")), (0, 0));
    world.handle(Input::Flush(Some("a.example".parse().unwrap())));
    assert_eq!((packets(&mut world, "a.example"), packets(&mut world, "b.example")), (3, 0));
    world.handle(Input::Flush(Some("mx.b.example".parse().unwrap())));
    assert_eq!((packets(&mut world, "a.example"), packets(&mut world, "b.example")), (0, 2));
}

/// A server that takes no connection until it is opened.
struct Opened(bool);

impl Behaviour for Opened {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        Obliging.reply(query)
    }

    fn tcp(&mut self, _server: SocketAddr) -> Tcp {
        if self.0 { Tcp::Open } else { Tcp::Refused }
    }
}

/// A server that is silent by any transport until it is switched on.
struct Switched(bool);

impl Behaviour for Switched {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        if self.0 { Obliging.reply(query) } else { Vec::new() }
    }

    fn tcp(&mut self, _server: SocketAddr) -> Tcp {
        if self.0 { Tcp::Open } else { Tcp::Mute }
    }
}

#[test]
fn what_another_lookup_brought_meanwhile_is_not_stale() {
    let mut world = World::new(settings(), 1, Switched(false));
    let id = world.ask(next_hop("a.example"), Policy::Adaptive);
    world.pass(Duration::from_secs(6));
    world.behaviour = Switched(true);
    // All that the first can send is sent and lost. Its time ends half a second later.
    world.find(Question::Records("a.example".to_owned(), 15), Policy::Adaptive);
    assert!(!world.found.contains_key(&id));
    world.pass(Duration::from_secs(1));
    let (answer, _) = &world.found[&id];
    assert!(matches!(answer.verdict, Verdict::Hosts(_)), "{:?}", answer.verdict);
    assert_eq!(answer.provenance, Provenance::Complete);
    assert!(!stale_told(&world), "{:?}", world.facts);
}

#[test]
fn a_stale_answer_that_nobody_waits_for_is_not_used() {
    let mut world = World::new(settings(), 1, Switched(true));
    world.find(next_hop("a.example"), Policy::Adaptive);
    world.pass(Duration::from_secs(400));
    world.behaviour = Switched(false);
    let id = world.ask(next_hop("a.example"), Policy::Adaptive);
    world.pass(Duration::from_secs(1));
    world.handle(Input::Cancel { id: LookupId(id) });
    world.pass(Duration::from_secs(20));
    assert!(!stale_told(&world), "{:?}", world.facts);
    let (answer, _) = world.find(next_hop("a.example"), Policy::Adaptive);
    assert_eq!(answer.provenance, Provenance::Stale);
    assert!(stale_told(&world), "{:?}", world.facts);
}

fn stale_told<B>(world: &World<B>) -> bool {
    world.facts.iter().any(|fact| matches!(fact, Fact::StaleUsed { .. }))
}

#[test]
fn a_change_of_the_waits_for_probes_holds_for_the_one_under_way() {
    let mut world = World::new(settings(), 1, Opened(false));
    world.find(next_hop("a.example"), Policy::TcpOnly);
    world.behaviour = Opened(true);
    let next = |world: &World<Opened>| world.resolver.servers(world.now)[0].transports[1].next_probe;
    // The default is half a minute.
    assert!(next(&world).unwrap() > Duration::from_secs(20));
    let change = |world: &mut World<Opened>, min, max| {
        let (probe_min, probe_max) = (Duration::from_secs(min), Duration::from_secs(max));
        world.handle(Input::Settings(Settings { probe_min, probe_max, ..settings() }));
    };
    change(&mut world, 3600, 7200);
    assert_eq!(next(&world), Some(Duration::from_secs(3600)));
    world.pass(Duration::from_secs(100));
    // Another change leaves it.
    change(&mut world, 3600, 7200);
    assert_eq!(next(&world), Some(Duration::from_secs(3500)));
    change(&mut world, 1, 7200);
    world.pass(Duration::from_secs(2));
    assert_eq!((next(&world), world.released > 0), (None, true));
    assert!(world.resolver.servers(world.now)[0].transports[1].down.is_none());
}

/// A server that refuses half of the connections, as chance will have it, and fails over the others.
struct Flapping(u32);

impl Behaviour for Flapping {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        let message = Message { ra: true, rcode: 2, ..Message::default() };
        vec![Sent { bytes: message.encode(query), ..Sent::default() }]
    }

    fn tcp(&mut self, _server: SocketAddr) -> Tcp {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if self.0 >> 31 == 0 { Tcp::Refused } else { Tcp::Closes }
    }
}

#[test]
fn a_server_that_comes_and_goes_does_not_drive_the_mail() {
    let mut world = World::new(settings(), 1, Flapping(0));
    let mut released = 0;
    let start = world.now.mono;
    // A hundred hops wait for DNS, and are due again whenever that is released.
    let ask = |world: &mut World<Flapping>| {
        for n in 0..100 {
            world.ask(next_hop(&format!("d{n}.example")), Policy::TcpOnly);
        }
    };
    ask(&mut world);
    while world.now.mono - start < Duration::from_secs(60) {
        world.pass(Duration::from_millis(10));
        if world.released > released {
            released = world.released;
            ask(&mut world);
        }
    }
    assert!((2..=13).contains(&released), "{released} releases in a minute");
}

#[test]
fn too_many_questions_are_refused_at_once() {
    let mut world = World::new(settings(), 1, Obliging);
    let ids: Vec<u64> =
        (0..10_001).map(|n| world.ask(next_hop(&format!("d{n}.example")), Policy::Adaptive)).collect();
    assert_eq!(world.found.keys().copied().collect::<Vec<_>>(), ids[10_000..]);
    let answer = &world.found[&ids[10_000]].0;
    assert!(
        matches!(&answer.verdict, Verdict::Unresolved(cause) if cause.kind == CauseKind::Busy && cause.dns_fault),
        "{answer:?}"
    );
    world.pass(Duration::from_secs(5));
    let good = world.found.values().filter(|(answer, _)| matches!(answer.verdict, Verdict::Hosts(_))).count();
    assert_eq!(good, 10_000, "the others are answered");
}

#[test]
fn many_questions_over_few_connections() {
    let mut world = World::new(settings(), 1, Obliging);
    for n in 0..1000 {
        world.ask(next_hop(&format!("d{n}.example")), Policy::TcpOnly);
    }
    world.pass(Duration::from_secs(5));
    assert!(world.found.values().all(|(answer, _)| matches!(answer.verdict, Verdict::Hosts(_))));
    assert_eq!(world.found.len(), 1000);
    assert_eq!(world.packets, 3000 + 16, "sixteen connections carry them all");
}

#[test]
fn queries_cannot_be_guessed() {
    let mut resolver = Resolver::new(settings(), [3; 32]);
    let (mut ids, mut slots, mut cases) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for n in 0..200 {
        let question = next_hop(&format!("longenough-{n:03}.example"));
        resolver.handle(now(), Input::Find { id: LookupId(n), question, policy: Policy::Adaptive });
        while let Some(output) = resolver.poll() {
            if let Output::SendDatagram { slot, bytes, .. } = output {
                ids.insert([bytes[0], bytes[1]]);
                slots.insert(slot);
                cases.insert(bytes[13..24].to_vec());
            }
        }
    }
    assert!(ids.len() > 190 && cases.len() > 150, "{} ids, {} cases", ids.len(), cases.len());
    assert_eq!(slots.len(), usize::from(SLOTS));
}

#[test]
fn answers_can_be_stored() {
    let mut world = World::new(settings(), 1, Obliging);
    let (answer, _) = world.find(next_hop("a.example"), Policy::Adaptive);
    let value = serde_json::to_string(&*answer).unwrap();
    let read: Answer = serde_json::from_str(&value).unwrap();
    assert_eq!(read, Answer { expires: Mono::default(), ..(*answer).clone() });
    assert_eq!(answer.trail.len(), 3);
}

fn now() -> Now {
    Now { mono: Mono(1_000_000), wall: Wall(1_795_590_028_000) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Octets in place of a reply never panic, and the question is answered once, in time, whatever comes.
    #[test]
    fn any_octets_will_do(
        pieces in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..80)), 1..8),
        policy in prop::sample::select(Policy::ALL.to_vec()),
    ) {
        let server: SocketAddr = SERVER.parse().unwrap();
        let mut resolver = Resolver::new(settings(), [5; 32]);
        let (mut slot, mut query, mut conn, mut answers) = (0, Vec::new(), ConnId(0), 0);
        let question = next_hop("a.example");
        let mut input = Input::Find { id: LookupId(1), question, policy };
        let mut time = now();
        for (how, octets) in pieces {
            resolver.handle(time, input);
            while let Some(output) = resolver.poll() {
                match output {
                    Output::SendDatagram { slot: on, bytes, .. } => (slot, query) = (on, bytes),
                    Output::Connect { conn: made, .. } => conn = made,
                    Output::Send { bytes, .. } => query = bytes[2..].to_vec(),
                    Output::Found { .. } => answers += 1,
                    Output::Close { .. } | Output::Fact(_) | Output::Released => {}
                }
            }
            // The right id, flags and question let the rest be read as records.
            let mut reply = query.clone();
            reply.truncate(12 + 11 + 4);
            if reply.len() > 12 {
                (reply[2], reply[3], reply[7], reply[11]) = (0x81 | how >> 4 & 2, 0x80 | how >> 6, how % 5, 0);
            }
            reply.extend(&octets);
            let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
            time = time.later(Duration::from_millis(u64::from(how)));
            input = match how % 6 {
                0 => Input::Datagram { server, slot, bytes: octets },
                1 | 2 => Input::Datagram { server, slot, bytes: reply },
                3 => Input::Connected { conn },
                4 => Input::Received { conn, bytes: framed },
                _ => Input::Received { conn, bytes: octets },
            };
        }
        resolver.handle(time, input);
        let end = time.later(Duration::from_secs(11)).mono;
        while let Some(at) = resolver.deadline().filter(|at| *at <= end) {
            time = time.later(at - time.mono);
            resolver.handle(time, Input::Tick);
        }
        answers += std::iter::from_fn(|| resolver.poll()).filter(|o| matches!(o, Output::Found { .. })).count();
        prop_assert_eq!(answers, 1);
    }
}
