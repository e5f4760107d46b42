//! How name servers are asked.

use crate::service::{about, fresh, object, send, set, waits};
use postroad_tests::nameserver::{Kind, NameServer};
use postroad_tests::ports::Port;
use postroad_tests::postroad::Postroad;
use postroad_tests::udp_relay::UdpRelay;
use postroad_tests::wait;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// A fresh service that asks a server over a path on which there is no TCP.
fn without_tcp() -> (Postroad, UdpRelay, NameServer) {
    let dns = NameServer::start(Kind::Unbound);
    let relay = UdpRelay::start(dns.address());
    let postroad = fresh();
    set(&postroad, "DnsServers", &[&relay.address().to_string()]);
    (postroad, relay, dns)
}

/// A fresh service whose name server is not there.
fn without_dns() -> (Postroad, Port) {
    let (postroad, nobody) = (fresh(), Port::free());
    set(&postroad, "DnsServers", &[&nobody.local().to_string()]);
    (postroad, nobody)
}

/// The cause for which mail to a domain waits, and queries over UDP that were made for it.
fn asked(postroad: &Postroad, relay: &UdpRelay, recipient: &str) -> (String, usize) {
    let before = relay.queries();
    send(postroad, recipient);
    let cause = postroad.wait_deferred(recipient)["cause"].as_str().unwrap().to_owned();
    (cause, relay.queries() - before)
}

/// Where there is no TCP, an answer that is large has to be asked for by the right policy. Hosts on loopback are not dialled, so that
/// mail whose host DNS has told waits for another cause.
pub(crate) fn smtp_use_tcp_dns() {
    let (postroad, relay, _dns) = without_tcp();
    let answered = |(cause, queries): &(String, usize)| cause.contains("NextHopRefused") && *queries > 0;
    let by_default = asked(&postroad, &relay, "r@big.example");
    assert!(answered(&by_default), "{by_default:?}");
    set(&postroad, "SmtpUseTcpDns", &["1"]);
    let over_tcp = asked(&postroad, &relay, "r@sender.example");
    assert!(over_tcp.0.contains("TCP") && over_tcp.1 == 0, "{over_tcp:?}");
    // A domain may differ.
    let domain = postroad.verb(&["meta", "set", "smtpsvc/1/Domain/nomx.example", "SmtpUseTcpDns", "2"]);
    assert_eq!(domain.status, 0, "{domain:?}");
    let domain = asked(&postroad, &relay, "r@nomx.example");
    assert!(answered(&domain), "{domain:?}");

    let (postroad, relay, _dns) = without_tcp();
    set(&postroad, "SmtpUseTcpDns", &["0"]);
    let original = asked(&postroad, &relay, "r@big.example");
    assert!(original.0.contains("truncated") && original.1 > 0, "{original:?}");
    // What waits hears of the change.
    set(&postroad, "SmtpUseTcpDns", &["2"]);
    wait::until("the large answer", || {
        let row = postroad.wait_deferred("r@big.example");
        row["cause"].as_str().unwrap().contains("NextHopRefused")
    });
}

pub(crate) fn dns_servers() {
    let postroad = fresh();
    let dns = NameServer::start(Kind::Nsd);
    let relay = UdpRelay::start(dns.address());
    let servers = || object(&postroad, &["status"])["dns_servers"].clone();
    let system = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let first = system.lines().find_map(|line| line.strip_prefix("nameserver "));
    let shown = servers();
    // A machine without a list asks itself, as the system's own resolver does.
    let first = first.map_or("127.0.0.1", |address| address.trim());
    assert!(shown[0]["server"].as_str().unwrap().contains(first), "{first}: {shown}");
    // The system's servers answer as they will, and this one is not asked.
    let verdict = postroad.verb(&["dns", "mx", "small.example"]);
    assert!(!verdict.stdout.is_empty() && relay.queries() == 0, "{verdict:?}");
    set(&postroad, "DnsServers", &[&relay.address().to_string()]);
    assert_eq!(servers()[0]["server"], relay.address().to_string());
    assert!(asked(&postroad, &relay, "r@small.example").1 > 0);
}

pub(crate) fn dns_retry() {
    let (postroad, _nobody) = without_dns();
    let wait = waits(&postroad, "r@small.example");
    assert!(about(30).contains(&wait), "{wait}");
    set(&postroad, "DnsRetry", &["2h"]);
    let wait = waits(&postroad, "r@nomx.example");
    assert!(about(2 * 3600).contains(&wait), "{wait}");
}

/// A server that never answers is asked for every lookup, and between lookups as often as its probes are due.
pub(crate) fn dns_probe() {
    const LOOKUP: Duration = Duration::from_secs(4);
    const QUIET: Duration = Duration::from_secs(5);
    let (postroad, port) = (fresh(), Port::free());
    let silent = UdpSocket::bind(port.local()).unwrap();
    silent.set_nonblocking(true).unwrap();
    let queries = |span: Duration| {
        std::thread::sleep(span);
        std::iter::from_fn(|| silent.recv(&mut [0; 512]).ok()).count()
    };
    for (name, value) in [
        ("SmtpUseTcpDns", "2"),
        ("DnsRetry", "1h"),
        ("DnsTimeouts", "udp=100ms,lookup=1s"),
        ("DnsServers", &port.local().to_string()),
    ] {
        set(&postroad, name, &[value]);
    }
    send(&postroad, "r@small.example");
    postroad.wait_deferred("r@small.example");
    assert!(queries(LOOKUP) > 0);
    assert_eq!(queries(QUIET), 0, "the first probe is due after 30 seconds");
    // What waits for one hears of it. Mail is tried again at once, too, so that its lookup is let pass first.
    set(&postroad, "DnsProbe", &["1s..1s"]);
    queries(LOOKUP);
    let probes = queries(QUIET);
    assert!((2..=8).contains(&probes), "{probes}");
}

/// A server that never answers is asked again over UDP after the first of the waits.
pub(crate) fn dns_timeouts() {
    // A wait that is twice as long as it should be, on a slow machine, is still none of the other.
    let check = |timeouts: Option<&str>, least: u64, most: u64| {
        let (postroad, port) = (fresh(), Port::free());
        let silent = UdpSocket::bind(port.local()).unwrap();
        silent.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        set(&postroad, "SmtpUseTcpDns", &["2"]);
        set(&postroad, "DnsServers", &[&port.local().to_string()]);
        if let Some(timeouts) = timeouts {
            set(&postroad, "DnsTimeouts", &[timeouts]);
        }
        // Queries are waited for while the message is on its way, not after it.
        let gap = std::thread::spawn(move || {
            let mut query = [0; 512];
            silent.recv(&mut query).unwrap();
            let first = Instant::now();
            silent.recv(&mut query).unwrap();
            first.elapsed()
        });
        send(&postroad, "r@small.example");
        let gap = gap.join().unwrap();
        assert!(
            gap > Duration::from_millis(least) && gap < Duration::from_millis(most),
            "{timeouts:?}: {gap:?}"
        );
    };
    check(None, 350, 2000);
    check(Some("udp=3s"), 2900, 8000);
}
