//! What Debian's name servers really answer, over each transport: the facts that the founding case rests on.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a panic is how a test fails")]

use postroad_tests::dig::{Answer, ask};
use postroad_tests::nameserver::{KINDS, Kind, NameServer, SMALL, big_hosts};
use postroad_tests::udp_relay::UdpRelay;
use std::net::SocketAddr;

const BIG: usize = 36;

fn big(server: SocketAddr, options: &[&str]) -> Answer {
    ask(server, "big.example", "MX", options).unwrap()
}

/// The MX records of `big.example` that an answer holds; asserts that each is one of the set.
fn count(answer: &Answer) -> usize {
    let set: Vec<String> = big_hosts()
        .iter()
        .map(|host| format!("big.example. 300 IN MX {} {}.", host.preference, host.name))
        .collect();
    for record in &answer.records {
        assert!(set.contains(record), "{record}");
    }
    answer.records.len()
}

#[test]
fn the_set_is_large_but_fits_a_datagram_of_1400() {
    for kind in KINDS {
        let server = NameServer::start(kind);
        for (option, size) in [("+noedns", 1361), ("+edns", 1372)] {
            let answer = big(server.address(), &["+tcp", option]);
            assert_eq!(
                (answer.status.as_str(), count(&answer), answer.has("tc")),
                ("NOERROR", BIG, false),
                "{kind:?}"
            );
            assert_eq!(answer.size, size, "{kind:?} {option}");
        }
    }
}

#[test]
fn udp_truncates_as_each_server_does() {
    for kind in KINDS {
        let server = NameServer::start(kind);
        let check = |options: &[&str], truncated: bool, records: &[usize]| {
            let answer = big(server.address(), options);
            let (got, tc) = (count(&answer), answer.has("tc"));
            println!("{kind:?} {options:?}: {got} of {BIG}, TC {tc}, {} octets", answer.size);
            assert_eq!(tc, truncated, "{kind:?} {options:?}");
            assert!(records.contains(&got), "{kind:?} {options:?}: {got} records");
        };
        check(&["+bufsize=1232"], true, &[0]);
        match kind {
            Kind::Unbound => check(&["+bufsize=4096"], false, &[BIG]),
            Kind::Bind9 | Kind::Nsd => check(&["+bufsize=4096"], true, &[0]),
        }
        match kind {
            Kind::Bind9 => check(&["+noedns"], true, &[12, 13]),
            Kind::Unbound | Kind::Nsd => check(&["+noedns"], true, &[0]),
        }
    }
}

#[test]
fn bind_sends_another_part_each_time() {
    let server = NameServer::start(Kind::Bind9);
    let mut union: Vec<String> = Vec::new();
    for _ in 0..20 {
        union.extend(big(server.address(), &["+noedns"]).records);
    }
    union.sort();
    union.dedup();
    assert!(union.len() > 20, "{} of {BIG} in 20 queries", union.len());
}

#[test]
fn small_answers_and_negatives_are_whole_and_believable() {
    for kind in KINDS {
        let server = NameServer::start(kind);
        let check = |name: &str, kind_asked: &str, status: &str, records: &[String]| {
            for options in [&["+bufsize=1232"][..], &["+tcp"]] {
                let answer = ask(server.address(), name, kind_asked, options).unwrap();
                assert_eq!(answer.status, status, "{kind:?} {name} {kind_asked}");
                assert_eq!(answer.records, records, "{kind:?} {name} {kind_asked}");
                assert!(!answer.has("tc"), "{kind:?} {name}");
                assert!(answer.has("aa"), "{kind:?} {name}: {:?}", answer.flags);
                // Only a resolver offers recursion.
                assert_eq!(answer.has("ra"), kind == Kind::Unbound, "{kind:?} {name}: {:?}", answer.flags);
                assert_eq!(answer.soa, records.is_empty(), "{kind:?} {name}: SOA of a negative answer");
            }
        };
        check(
            "small.example",
            "MX",
            "NOERROR",
            &["small.example. 300 IN MX 10 mail.small.example.".to_owned()],
        );
        check("mail.small.example", "A", "NOERROR", &[format!("mail.small.example. 300 IN A {SMALL}")]);
        check("mail.small.example", "AAAA", "NOERROR", &[]);
        check("nomx.example", "MX", "NOERROR", &[]);
        check("nomx.example", "A", "NOERROR", &["nomx.example. 300 IN A 127.0.0.13".to_owned()]);
        check("nullmx.example", "MX", "NOERROR", &["nullmx.example. 300 IN MX 0 .".to_owned()]);
        check("missing.example", "MX", "NXDOMAIN", &[]);
        check("mail.missing.example", "A", "NXDOMAIN", &[]);
        for host in big_hosts().iter().step_by(7) {
            check(&host.name, "A", "NOERROR", &[format!("{}. 300 IN A {}", host.name, host.address)]);
        }
    }
}

#[test]
fn the_relay_refuses_tcp_until_it_is_opened() {
    for kind in KINDS {
        let server = NameServer::start(kind);
        let mut relay = UdpRelay::start(server.address());
        let same = |options: &[&str]| {
            let (here, there) = (big(relay.address(), options), big(server.address(), options));
            assert_eq!(
                (here.has("tc"), here.records.len()),
                (there.has("tc"), there.records.len()),
                "{kind:?} {options:?}"
            );
        };
        same(&["+bufsize=1232"]);
        same(&["+bufsize=4096"]);
        assert!(relay.queries() >= 2);
        let refused = ask(relay.address(), "big.example", "MX", &["+tcp"]).unwrap_err();
        assert!(refused.contains("connection refused"), "{refused}");
        relay.open_tcp();
        assert_eq!(count(&big(relay.address(), &["+tcp"])), BIG, "{kind:?}");
    }
}
