//! `postroad dns`: the service's own lookup engine against real name servers, with each policy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::nameserver::{Kind, NameServer, SMALL, big_hosts};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad, Verb, run};
use postroad_tests::udp_relay::UdpRelay;
use std::net::SocketAddr;

/// Runs it where no service is; both forms give the same exit status.
fn dns(args: &[&str], server: SocketAddr, policy: &str) -> Verb {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().display().to_string();
    let server = server.to_string();
    let args = [&["--data", &data, "dns"], args, &["--server", &server, "--policy", policy]].concat();
    let (people, programs) = (run(&args, b""), run(&[&args[..], &["--json"]].concat(), b""));
    assert_eq!(people.status, programs.status, "{people:?}, {programs:?}");
    let json = programs.json();
    assert_eq!(json.len(), 1, "{programs:?}");
    let trail = json[0]["trail"].as_array().unwrap();
    assert!(trail.iter().all(|exchange| exchange["server"] == server.as_str()), "{}", json[0]);
    assert!(people.stdout.contains("What was asked:") && people.stdout.contains(&server), "{people:?}");
    people
}

const POLICIES: [(&str, &str); 4] =
    [("0", "udp-then-tcp"), ("1", "tcp-only"), ("2", "udp-only"), ("adaptive", "Adaptive")];

/// Each policy by its number and by its name.
fn check(server: SocketAddr, statuses: [i32; 4], about: &str) {
    for ((number, name), status) in POLICIES.into_iter().zip(statuses) {
        for policy in [number, name] {
            let verb = dns(&["mx", "big.example"], server, policy);
            assert_eq!(verb.status, status, "{about}, policy {policy}: {verb:?}");
            if status == 0 {
                let best = &big_hosts()[0];
                let listed = verb.stdout.lines().filter(|line| line.contains("-inbound-gateway")).count();
                assert!(listed > 0, "{verb:?}");
                assert!(listed < 36 || verb.stdout.contains(&format!("10 {}", best.name)), "{verb:?}");
            } else {
                assert!(verb.stdout.contains("unresolved") && verb.stdout.contains("Mail waits"), "{verb:?}");
            }
        }
    }
}

#[test]
fn a_large_mx_set() {
    for kind in [Kind::Unbound, Kind::Nsd] {
        let server = NameServer::start(kind);
        let relay = UdpRelay::start(server.address());
        let udp_only = if kind == Kind::Unbound { 0 } else { 75 };
        check(server.address(), [0, 0, udp_only, 0], &format!("{kind:?}, TCP open"));
        check(relay.address(), [75, 75, udp_only, udp_only], &format!("{kind:?}, TCP refused"));
    }
}

#[test]
fn verdicts() {
    let server = NameServer::start(Kind::Nsd);
    for (_, policy) in POLICIES {
        let check = |args: &[&str], status: i32, words: &str| {
            let verb = dns(args, server.address(), policy);
            assert_eq!(verb.status, status, "{args:?}, {policy}: {verb:?}");
            assert!(verb.stdout.contains(words), "{args:?}, {policy}: {verb:?}");
        };
        check(&["mx", "small.example"], 0, "10 mail.small.example  127.0.0.11");
        check(&["mx", "nomx.example"], 0, "it has no MX record");
        check(&["mx", "missing.example"], 1, "no such domain");
        check(&["mx", "nullmx.example"], 1, "null MX");
        check(&["resolve", "mail.small.example", "A"], 0, &SMALL.to_string());
        check(&["resolve", "small.example", "mx"], 0, "mail.small.example");
        check(&["resolve", "small.example", "TYPE15"], 0, "mail.small.example");
        check(&["resolve", "missing.example", "A"], 1, "no such name");
        check(&["resolve", "small.example", "TXT"], 1, "no such records");
    }
    let nobody = Port::free();
    for (_, policy) in POLICIES {
        let verb = dns(&["mx", "small.example"], nobody.local(), policy);
        assert_eq!(verb.status, 75, "{policy}: {verb:?}");
        let closed = if policy == "tcp-only" { "connection refused" } else { "port closed" };
        assert!(verb.stdout.contains(closed) && !verb.stdout.contains("no reply"), "{policy}: {verb:?}");
    }
}

/// Without `--server` and `--policy` it asks as the running service does.
#[test]
fn as_the_service_asks() {
    let server = NameServer::start(Kind::Unbound);
    let relay = UdpRelay::start(server.address());
    let postroad =
        Postroad::start(&Config { policy: Some(0), dns: vec![relay.address()], ..Config::default() });
    let verb = postroad.verb(&["dns", "mx", "big.example", "--json"]);
    let [told] = &verb.json()[..] else { panic!("{verb:?}") };
    assert_eq!((verb.status, &told["policy"]), (75, &"udp-then-tcp".into()), "{told}");
    assert_eq!(told["trail"][0]["server"], relay.address().to_string().as_str(), "{told}");
    // Each may be said otherwise.
    let verb = postroad.verb(&["dns", "mx", "big.example", "--policy", "2", "--json"]);
    assert_eq!((verb.status, &verb.json()[0]["policy"]), (0, &"udp-only".into()), "{verb:?}");
    let other = server.address().to_string();
    let verb = postroad.verb(&["dns", "mx", "big.example", "--server", &other, "--json"]);
    assert_eq!((verb.status, &verb.json()[0]["policy"]), (0, &"udp-then-tcp".into()), "{verb:?}");
    let verb = postroad.verb(&["dns", "mx", "small.example"]);
    assert_eq!(verb.status, 0, "{verb:?}");
}

/// A domain that has a policy of its own is asked for under that, as the service does for its mail.
#[test]
fn as_the_service_asks_for_a_domain() {
    let server = NameServer::start(Kind::Unbound);
    let relay = UdpRelay::start(server.address());
    let own = "[\"/LM/SmtpSvc/1/Domain/big.example\"]\nSmtpUseTcpDns = 2".to_owned();
    let config = Config { policy: Some(0), dns: vec![relay.address()], server: own, ..Config::default() };
    let postroad = Postroad::start(&config);
    let check = |args: &[&str], policy: &str| {
        let verb = postroad.verb(&[&["dns"], args, &["--json"]].concat());
        assert_eq!((verb.status, &verb.json()[0]["policy"]), (0, &policy.into()), "{verb:?}");
    };
    check(&["mx", "big.example"], "udp-only");
    check(&["mx", "small.example"], "udp-then-tcp");
    // Records are nobody's mail.
    check(&["resolve", "small.example", "MX"], "udp-then-tcp");
}

/// Names and texts with control characters are shown escaped.
#[test]
fn hostile_records() {
    // As a zone file writes octets (RFC 1035 §5.1).
    let zone = "evil.example TXT \"\\027[2J\\007\\155\"\nevil.example MX 10 \\027[31m.evil.example\nevil.example CAA 0 issue \"\\027\"";
    let server = NameServer::start_with(Kind::Nsd, zone);
    let address = server.address().to_string();
    for (args, status) in [
        (&["resolve", "evil.example", "TXT"][..], 0),
        (&["resolve", "evil.example", "MX"], 0),
        (&["resolve", "evil.example", "CAA"], 0),
        (&["mx", "evil.example"], 1),
        (&["resolve", "\x1b[2J.example", "A"], 2),
    ] {
        let people = [args, &["--server", &address]].concat();
        for args in [people.clone(), [&people[..], &["--json"]].concat()] {
            let verb = run(&[&["dns"], &args[..]].concat(), b"");
            assert_eq!(verb.status, status, "{args:?}: {verb:?}");
            let text = verb.stdout.clone() + &verb.stderr;
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{args:?}: {verb:?}");
        }
    }
}
