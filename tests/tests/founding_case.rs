//! The case that founded Postroad (Microsoft KB 330070): the MX answer does not fit a UDP datagram and the name server cannot be
//! reached over TCP. Every transport policy against every name server, TCP open and refused.
//!
//! | | TCP open | refused: unbound | bind9 | nsd |
//! |---|---|---|---|---|
//! | 0 udp-then-tcp | best host | deferred, 2012 | deferred, 2012 | deferred, 2012 |
//! | 1 tcp-only | best host | deferred, 2012, 2013 | deferred, 2012, 2013 | deferred, 2012, 2013 |
//! | 2 udp-only | as TCP refused | best host (EDNS 4096) | a listed host, 20001 | deferred, 20002 |
//! | adaptive | best host | best host, 2012 | a listed host, 2012, 20001 | deferred, 2012 |
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails; the table is printed as it is filled"
)]

use postroad_tests::client::Smtplib;
use postroad_tests::nameserver::{KINDS, Kind, NameServer, SENDER, big_hosts};
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::udp_relay::UdpRelay;
use postroad_tests::wait;
use postroad_tests::world::FROM;
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tcp {
    Open,
    Refused,
}

/// Where the mail is in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mail {
    /// At the host of the best preference, which only a complete answer is sure to name.
    BestHost,
    /// At any host of the set.
    ListedHost,
    /// In the queue.
    Deferred,
}

const UDP_THEN_TCP: Option<u32> = Some(0);
const TCP_ONLY: Option<u32> = Some(1);
const UDP_ONLY: Option<u32> = Some(2);
const ADAPTIVE: Option<u32> = None;

const RECIPIENT: &str = "r@big.example";

/// One cell: a name server, a path to it, a sink at every MX host and at the sender's, and Postroad between them.
struct Cell {
    // Before what it talks to: fields are dropped in order.
    postroad: Postroad,
    sink: Sink,
    /// The name server's address as Postroad has it.
    dns: SocketAddr,
    relay: Option<UdpRelay>,
    _server: NameServer,
    /// The queue id of the message that was sent.
    id: String,
}

impl Cell {
    fn start(policy: Option<u32>, kind: Kind, tcp: Tcp) -> Self {
        let server = NameServer::start(kind);
        let relay = (tcp == Tcp::Refused).then(|| UdpRelay::start(server.address()));
        let dns = relay.as_ref().map_or(server.address(), UdpRelay::address);
        let mut addresses: Vec<IpAddr> = big_hosts().iter().map(|host| host.address).collect();
        // Where a notification would go.
        addresses.push(SENDER.into());
        let sink = Sink::start(&addresses, &[]);
        let config = Config { policy, dns: vec![dns], remote_port: sink.port(), ..Config::default() };
        let postroad = Postroad::start(&config);
        let id =
            Smtplib::new(postroad.address(), FROM).accepted(&[RECIPIENT], b"Subject: large\r\n\r\nx\r\n");
        Self { postroad, sink, dns, relay, _server: server, id }
    }

    /// The numbers of DNS events, each once, in order.
    fn dns_events(&self) -> Vec<u64> {
        let events = self.postroad.events();
        let of_dns = events
            .iter()
            .filter(|event| event["category"] == "DNS")
            .filter_map(|event| event["number"].as_u64());
        let mut numbers: Vec<u64> = of_dns.collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn check_mail(&self, mail: Mail) {
        match mail {
            Mail::BestHost | Mail::ListedHost => {
                let arrived = &self.sink.wait_for(1)[0];
                assert_eq!(
                    (arrived.from.as_str(), arrived.to.as_slice()),
                    (FROM, &[RECIPIENT.to_owned()][..])
                );
                let hosts = big_hosts();
                let host = hosts.iter().find(|host| host.address == arrived.local);
                let host = host.unwrap_or_else(|| panic!("{} is no MX host of the set", arrived.local));
                if mail == Mail::BestHost {
                    assert_eq!(host.preference, 10);
                }
                self.postroad.wait_drained(wait::PATIENCE);
            }
            Mail::Deferred => {
                let row = self.postroad.wait_deferred(RECIPIENT);
                assert!(!row["cause"].as_str().unwrap_or_default().is_empty(), "{row}");
                assert_eq!(row["id"], self.id.as_str());
                // It was tried again, and came to the same.
                wait::until("three tries", || {
                    self.postroad.log().matches(r#""log":"deferred""#).count() >= 3
                });
                assert_eq!(self.postroad.queue().len(), 1);
            }
        }
        let more: Vec<_> =
            self.sink.received().into_iter().skip(usize::from(mail != Mail::Deferred)).collect();
        assert!(more.is_empty(), "nothing is returned, nothing comes twice: {more:?}");
    }

    fn check_events(&self, expected: &[u64], mail: Mail) {
        for &number in expected {
            let event = self.postroad.wait_event(number);
            if number == 2012 {
                assert_eq!(event["fields"]["transport"], "TCP", "{event}");
                assert!(
                    event["fields"]["server"].as_str().unwrap().contains(&self.dns.to_string()),
                    "{event}"
                );
                assert!(event["text"].as_str().unwrap().contains("refused"), "{event}");
                // "Once mail waits for it, an error": said in a second event of the same state.
                let severity = if mail == Mail::Deferred { "Error" } else { "Warning" };
                wait::until(&format!("2012 as {severity}"), || {
                    self.postroad.wait_event(2012)["severity"] == severity
                });
            }
        }
        assert_eq!(self.dns_events(), expected);
        for number in expected {
            assert!(
                self.postroad.log().contains(&number.to_string()),
                "{number} is in the log: {}",
                self.postroad.log()
            );
        }
    }

    /// All that `explain ID --json` says, in lower case.
    fn story(&self) -> String {
        let told = self.postroad.json(&["explain", &self.id]);
        told.iter().map(|part| part.to_string().to_lowercase()).collect()
    }

    /// Both forms of `explain` name the server and say what happened.
    fn check_story(&self, words: &[&str]) {
        let people = self.postroad.verb(&["explain", &self.id]);
        for told in [self.story(), people.stdout.to_lowercase()] {
            for word in words.iter().chain([&self.dns.to_string().as_str()]) {
                assert!(told.contains(word), "{word:?} is not in {told}");
            }
        }
    }
}

fn check(policy: Option<u32>, (kind, tcp): (Kind, Tcp), mail: Mail, events: &[u64], words: &[&str]) {
    println!("policy {policy:?}, {kind:?}, TCP {tcp:?}: {mail:?}, {events:?}");
    let cell = Cell::start(policy, kind, tcp);
    cell.check_mail(mail);
    cell.check_events(events, mail);
    cell.check_story(words);
}

#[test]
fn udp_then_tcp() {
    for kind in KINDS {
        check(UDP_THEN_TCP, (kind, Tcp::Open), Mail::BestHost, &[], &["udp", "truncated", "tcp"]);
        check(
            UDP_THEN_TCP,
            (kind, Tcp::Refused),
            Mail::Deferred,
            &[2012],
            &["udp", "truncated", "tcp", "refused"],
        );
    }
}

#[test]
fn tcp_only() {
    for kind in KINDS {
        check(TCP_ONLY, (kind, Tcp::Open), Mail::BestHost, &[], &["tcp"]);
        check(TCP_ONLY, (kind, Tcp::Refused), Mail::Deferred, &[2012, 2013], &["tcp", "refused"]);
    }
}

#[test]
fn udp_only() {
    for tcp in [Tcp::Open, Tcp::Refused] {
        check(UDP_ONLY, (Kind::Unbound, tcp), Mail::BestHost, &[], &["udp", "truncated", "4096"]);
        check(UDP_ONLY, (Kind::Bind9, tcp), Mail::ListedHost, &[20001], &["udp", "truncated", "partial"]);
        check(UDP_ONLY, (Kind::Nsd, tcp), Mail::Deferred, &[20002], &["udp", "truncated"]);
    }
}

#[test]
fn adaptive() {
    for kind in KINDS {
        check(ADAPTIVE, (kind, Tcp::Open), Mail::BestHost, &[], &["udp", "truncated", "tcp"]);
    }
    let refused = ["udp", "truncated", "tcp", "refused"];
    check(ADAPTIVE, (Kind::Unbound, Tcp::Refused), Mail::BestHost, &[2012], &refused);
    check(ADAPTIVE, (Kind::Bind9, Tcp::Refused), Mail::ListedHost, &[2012, 20001], &refused);
    check(ADAPTIVE, (Kind::Nsd, Tcp::Refused), Mail::Deferred, &[2012], &refused);
}

/// What waited goes out as soon as TCP works, without an administrator, and the events are ended.
#[test]
fn recovery() {
    for (policy, ended) in [(UDP_THEN_TCP, &[12012][..]), (TCP_ONLY, &[12012, 12013]), (ADAPTIVE, &[12012])] {
        let mut cell = Cell::start(policy, Kind::Nsd, Tcp::Refused);
        cell.postroad.wait_deferred(RECIPIENT);
        cell.postroad.wait_event(2012);
        assert_eq!(cell.sink.count(), 0);
        cell.relay.as_mut().unwrap().open_tcp();
        cell.check_mail(Mail::BestHost);
        for &number in ended {
            cell.postroad.wait_event(number);
        }
    }
}
