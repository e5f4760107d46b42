//! A fresh install, whose settings are changed while it runs.

use postroad_tests::client::Smtplib;
use postroad_tests::nameserver::{Kind, NameServer};
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::world::{ADDRESSES, FROM, World};
use serde_json::Value;
use std::fmt::Write as _;

/// The key that the tests set properties of.
pub(crate) const KEY: &str = "smtpsvc/1";

/// A service of which nothing is set but where it listens.
pub(crate) fn fresh() -> Postroad {
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    configure(&postroad, &[("ServerBindings", &format!("[\"{}:\"]", postroad.address()))]);
    postroad.restart();
    postroad
}

/// Writes a configuration file with nothing else in it.
pub(crate) fn configure(postroad: &Postroad, lines: &[(&str, &str)]) {
    let mut text = "[\"/LM/SmtpSvc/1\"]\n".to_owned();
    for (name, value) in lines {
        writeln!(text, "{name} = {value}").unwrap();
    }
    std::fs::write(postroad.dir().join("postroad.toml"), text).unwrap();
}

/// Sets a property of the running service.
pub(crate) fn set(postroad: &Postroad, name: &str, value: &[&str]) {
    let verb = postroad.verb(&[&["meta", "set", KEY, name], value].concat());
    assert_eq!(verb.status, 0, "{name}: {verb:?}");
}

/// A fresh service whose mail reaches a sink.
pub(crate) fn world(sink_options: &[&str]) -> World {
    around(Sink::start(&ADDRESSES, sink_options))
}

/// As `world`, around a sink.
pub(crate) fn around(sink: Sink) -> World {
    let dns = NameServer::start(Kind::Unbound);
    let postroad = fresh();
    reach(&postroad, &dns, sink.port());
    World { postroad, sink, dns, config: Config::default() }
}

/// Lets mail go to a port on loopback.
pub(crate) fn reach(postroad: &Postroad, dns: &NameServer, port: u16) {
    set(postroad, "DnsServers", &[&dns.address().to_string()]);
    set(postroad, "NextHopRefused", &[""]);
    set(postroad, "RemoteSmtpPort", &[&port.to_string()]);
}

/// A message, taken by the service.
pub(crate) fn send(postroad: &Postroad, to: &str) {
    let _ = Smtplib::new(postroad.address(), FROM).accepted(&[to], b"Subject: x\r\n\r\n");
}

/// Seconds from when a message to `recipient` was accepted until it is tried again.
pub(crate) fn waits(postroad: &Postroad, recipient: &str) -> u64 {
    send(postroad, recipient);
    let row = postroad.wait_deferred(recipient);
    let millis = |field: &str| row[field].as_u64().unwrap();
    (millis("next_try") - millis("accepted")) / 1000
}

/// Seconds that a wait of so many may take: waits are spread by a tenth, and a test's machine may be slow.
pub(crate) fn about(seconds: u64) -> std::ops::RangeInclusive<u64> {
    seconds * 9 / 10..=seconds * 11 / 10 + 20
}

/// The one object that a verb prints.
pub(crate) fn object(postroad: &Postroad, args: &[&str]) -> Value {
    postroad.json(args).remove(0)
}
