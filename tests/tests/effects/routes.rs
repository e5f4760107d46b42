//! Which host and port mail goes to.

use crate::service::{fresh, reach, send, set, world};
use postroad_tests::nameserver::{Kind, NOMX, NameServer, SMALL};
use postroad_tests::sink::Sink;
use postroad_tests::wait;
use postroad_tests::world::{ADDRESSES, World};
use std::net::IpAddr;

/// The host that mail for small.example comes to.
fn host(world: &World) -> IpAddr {
    let before = world.sink.count();
    send(&world.postroad, "r@small.example");
    world.sink.wait_for(before + 1)[before].local
}

pub(crate) fn smart_host() {
    let world = world(&[]);
    assert_eq!(host(&world), IpAddr::from(SMALL));
    set(&world.postroad, "SmartHost", &[&format!("[{NOMX}]:{}", world.sink.port())]);
    set(&world.postroad, "SmartHostType", &["2"]);
    assert_eq!(host(&world), IpAddr::from(NOMX));
    set(&world.postroad, "SmartHost", &["mail.sender.example"]);
    assert_eq!(host(&world), ADDRESSES[1]);
}

pub(crate) fn smart_host_type() {
    let world = world(&[]);
    set(&world.postroad, "SmartHost", &[&format!("[{NOMX}]")]);
    assert_eq!(host(&world), IpAddr::from(SMALL));
    set(&world.postroad, "SmartHostType", &["2"]);
    assert_eq!(host(&world), IpAddr::from(NOMX));
}

/// By default mail waits for a cause that contains the words; once the property is set and it is tried again, it arrives.
fn waits_until_set(but: &str, value: Option<&str>, words: &str) {
    let (postroad, dns, sink) = (fresh(), NameServer::start(Kind::Unbound), Sink::start(&ADDRESSES, &[]));
    reach(&postroad, &dns, sink.port());
    let port = sink.port().to_string();
    let unset = postroad.verb(&["meta", "unset", crate::service::KEY, but]);
    assert_eq!(unset.status, 0, "{unset:?}");
    send(&postroad, "r@small.example");
    postroad.wait_deferred("r@small.example");
    let told = postroad.verb(&["explain", "small.example"]).stdout;
    assert!(told.contains(words), "{told}");
    set(&postroad, but, &[value.unwrap_or(&port)]);
    assert_eq!(postroad.verb(&["queue", "retry", "--all"]).status, 0);
    assert_eq!(sink.wait_for(1)[0].local, IpAddr::from(SMALL));
    postroad.wait_drained(wait::PATIENCE);
}

pub(crate) fn remote_smtp_port() {
    waits_until_set("RemoteSmtpPort", None, "[127.0.0.11]:25:");
}

pub(crate) fn next_hop_refused() {
    waits_until_set("NextHopRefused", Some("192.0.2.0/24"), "NextHopRefused");
}
