//! Mail that waits when the route is changed.

use crate::changed;
use postroad_tests::client::Smtplib;
use postroad_tests::nameserver::{Kind, NOMX, NameServer, SMALL};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::wait;
use postroad_tests::world::{ADDRESSES, FROM};
use std::net::IpAddr;
use std::time::Duration;

/// Far below the wait of the hop that it leaves.
const SOON: Duration = Duration::from_secs(10);

fn set(postroad: &Postroad, property: &str, value: &str) {
    changed(postroad, &["set", "smtpsvc/1", property, value]);
}

/// A message that waits for hosts which refuse connections.
fn waiting(postroad: &Postroad) {
    let _ = Smtplib::new(postroad.address(), FROM).accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    postroad.wait_deferred("r@small.example");
}

#[test]
fn mail_that_waits_follows_the_route() {
    let (dns, sink, nobody) = (NameServer::start(Kind::Unbound), Sink::start(&ADDRESSES, &[]), Port::free());
    let service = String::from("SmtpRemoteProgressiveRetry = \"1h\"");
    let config =
        Config { dns: vec![dns.address()], remote_port: nobody.number(), service, ..Config::default() };
    let mut postroad = Postroad::start_stored(&config);
    let pid = postroad.process().id();
    let arrives = |postroad: &Postroad, count: usize, at: IpAddr| {
        wait::within(SOON, "it arrives", || (sink.count() == count).then_some(()));
        assert_eq!(sink.received()[count - 1].local, at);
        postroad.wait_drained(SOON);
    };

    // To a smart host, from hosts that are down.
    waiting(&postroad);
    set(&postroad, "SmartHost", &format!("[{NOMX}]:{}", sink.port()));
    assert_eq!(postroad.queue()[0]["hop"], "mx:small.example", "SmartHostType is not set");
    set(&postroad, "SmartHostType", "2");
    arrives(&postroad, 1, NOMX.into());
    let told = postroad.verb(&["explain", "small.example"]).stdout;
    let words = format!("Routed anew to smart:[{NOMX}]:{}", sink.port());
    assert!(told.contains(&words), "{told}");
    assert_eq!(postroad.wait_event(14_000)["fields"]["domain"], "small.example");

    // And back, from a smart host that is down.
    set(&postroad, "SmartHost", &format!("[{NOMX}]:{}", nobody.number()));
    waiting(&postroad);
    set(&postroad, "RemoteSmtpPort", &sink.port().to_string());
    set(&postroad, "SmartHostType", "0");
    arrives(&postroad, 2, SMALL.into());
    assert_eq!(postroad.process().id(), pid);

    // While the service is at rest.
    set(&postroad, "SmartHostType", "2");
    waiting(&postroad);
    postroad.stop();
    set(&postroad, "SmartHostType", "0");
    postroad.restart();
    arrives(&postroad, 3, SMALL.into());

    // The domain becomes ours.
    set(&postroad, "SmartHostType", "2");
    waiting(&postroad);
    set(&postroad, "DefaultDomain", "small.example");
    postroad.wait_drained(SOON);
    let drop = postroad.data().join("Drop");
    assert_eq!(std::fs::read_dir(&drop).unwrap().count(), 1, "{}", drop.display());
    assert_eq!(sink.count(), 3);
}
