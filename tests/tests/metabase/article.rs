//! Microsoft KB 330070, step by step: the metabase is backed up, the DWORD 36997 is set, mail flows, the backup is restored.

use crate::{changed, raw};
use postroad_tests::client::Smtplib;
use postroad_tests::nameserver::{Kind, NameServer, SENDER, big_hosts};
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::udp_relay::UdpRelay;
use postroad_tests::wait;
use postroad_tests::world::FROM;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const RECIPIENT: &str = "r@big.example";
/// The mail that waits is due at once after the change, whatever it waited for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A name server whose answer for big.example does not fit a datagram, no way to it over TCP, and a sink at every mail host.
struct Stage {
    config: Config,
    sink: Sink,
    _relay: UdpRelay,
    _dns: NameServer,
}

impl Stage {
    fn set() -> Self {
        let dns = NameServer::start(Kind::Unbound);
        let relay = UdpRelay::start(dns.address());
        let hosts = big_hosts();
        let addresses: Vec<IpAddr> =
            hosts.iter().map(|host| host.address).chain([IpAddr::from(SENDER)]).collect();
        let sink = Sink::start(&addresses, &[]);
        // Nothing is tried again by itself while the test lasts: only the change can move the mail.
        let service = "DnsRetry = \"1h\"\nDnsProbe = \"1h..1h\"".to_owned();
        let config =
            Config { dns: vec![relay.address()], remote_port: sink.port(), service, ..Config::default() };
        Self { config, sink, _relay: relay, _dns: dns }
    }
}

fn send(postroad: &Postroad) {
    let _ = Smtplib::new(postroad.address(), FROM).accepted(&[RECIPIENT], b"Subject: x\r\n\r\n");
}

#[test]
fn the_article_step_by_step() {
    let stage = Stage::set();
    let mut postroad = Postroad::start_stored(&stage.config);
    let pid = postroad.json(&["status"])[0]["pid"].clone();
    assert_eq!(pid, postroad.process().id());

    let report = changed(&postroad, &["set", "LM/SmtpSvc", "36997", "0"]);
    assert_eq!(report["differences"][0]["kind"], "added", "{report}");
    send(&postroad);
    let row = postroad.wait_deferred(RECIPIENT);
    assert!(row["cause"].as_str().unwrap().contains("truncated"), "{row}");
    assert_eq!(postroad.wait_event(2012)["fields"]["transport"], "TCP");

    let backup = postroad.json(&["meta", "backup", "before"]).remove(0);
    assert_eq!((&backup["verified"], &backup["fault"]), (&true.into(), &"".into()), "{backup}");
    let verified = postroad.json(&["meta", "backups", "verify", "before"]).remove(0);
    assert_eq!((&verified["verified"], &verified["version"]), (&true.into(), &backup["version"]));
    let dry = postroad.json(&["meta", "restore", "before", "--dry-run"]).remove(0);
    assert_eq!(dry["change"]["differences"], serde_json::json!([]), "{dry}");
    assert_eq!(stage.sink.count(), 0);

    let report = changed(&postroad, &["set", "LM/SmtpSvc", "36997", "2"]);
    let set = Instant::now();
    let difference = &report["differences"][0];
    assert_eq!(
        (&difference["path"], &difference["id"], &difference["before"], &difference["after"]),
        (&"/LM/SmtpSvc".into(), &36997.into(), &"0 (udp-then-tcp)".into(), &"2 (udp-only)".into())
    );
    assert_eq!(report["reach"]["messages"], 1, "{report}");
    let record = &postroad.json(&["meta", "get", "smtpsvc", "SmtpUseTcpDns"])[0]["record"];
    assert_eq!((&record["data_type"], &record["value"][0]), (&"DWORD".into(), &"2".into()), "{record}");
    wait::within(AT_ONCE.saturating_sub(set.elapsed()), "the mail that waited", || {
        (stage.sink.count() == 1).then_some(())
    });
    let arrived = stage.sink.wait_for(1).remove(0);
    assert_eq!(arrived.to, [RECIPIENT]);
    assert_eq!(arrived.local, big_hosts()[0].address);
    postroad.wait_drained(wait::PATIENCE);
    assert_eq!(postroad.json(&["status"])[0]["pid"], pid, "nothing was restarted");

    let restored = postroad.json(&["meta", "restore", "before", "--yes"]);
    let report = restored.last().unwrap();
    assert_eq!((&report["change"]["applied"], &report["rolled_back"]), (&true.into(), &"".into()));
    assert_eq!(raw(&postroad, "smtpsvc", "36997"), "0");
    assert_eq!(postroad.json(&["status"])[0]["pid"], pid);
    assert_eq!(postroad.json(&["status"])[0]["dns_policy"], "udp-then-tcp", "it is in force again");
}

#[test]
fn it_is_set_while_nothing_runs() {
    let stage = Stage::set();
    let mut postroad = Postroad::prepare_stored(&stage.config);
    changed(&postroad, &["set", "LM/SmtpSvc", "36997", "0"]);
    assert_eq!(raw(&postroad, "smtpsvc", "36997"), "0");
    changed(&postroad, &["set", "LM/SmtpSvc", "36997", "2"]);
    assert_eq!(raw(&postroad, "smtpsvc/1", "36997"), "2");
    let generation = crate::generation(&postroad);
    postroad.restart();
    assert_eq!(raw(&postroad, "smtpsvc", "36997"), "2");
    assert_eq!(crate::generation(&postroad), generation, "a start changes nothing");
    assert_eq!(postroad.json(&["status"])[0]["dns_policy"], "udp-only");
    send(&postroad);
    assert_eq!(stage.sink.wait_for(1)[0].to, [RECIPIENT]);
    // The other way round: what a service took holds when nothing runs.
    changed(&postroad, &["set", "LM/SmtpSvc", "36997", "1"]);
    postroad.stop();
    assert_eq!(raw(&postroad, "smtpsvc", "36997"), "1");
}
