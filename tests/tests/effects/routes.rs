//! Which host and port mail goes to.

use crate::host::Host;
use crate::service::{fresh, reach, send, set, world};
use postroad_tests::nameserver::{Kind, NOMX, NameServer, SMALL};
use postroad_tests::postroad::Postroad;
use postroad_tests::wait;
use postroad_tests::world::{ADDRESSES, World};
use std::net::{IpAddr, TcpListener};

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

/// A message waits at the default of a property that `reach` has set.
fn waits_without(name: &str, host: &Host) -> (Postroad, NameServer) {
    let (postroad, dns) = (fresh(), NameServer::start(Kind::Unbound));
    reach(&postroad, &dns, host.port());
    let unset = postroad.verb(&["meta", "unset", crate::service::KEY, name]);
    assert_eq!(unset.status, 0, "{unset:?}");
    send(&postroad, "r@small.example");
    (postroad, dns)
}

/// Once the property is set and it is tried again, it arrives.
fn arrives(postroad: &Postroad, host: &Host, name: &str, value: &str) {
    postroad.wait_deferred("r@small.example");
    assert_eq!(host.seen().connections, 0);
    set(postroad, name, &[value]);
    assert_eq!(postroad.verb(&["queue", "retry", "--all"]).status, 0);
    postroad.wait_drained(wait::PATIENCE);
    assert_eq!((host.seen().connections, host.seen().messages), (1, 1));
}

pub(crate) fn remote_smtp_port() {
    let host = Host::start();
    // Who may listen there sees the connection; without that right, or where another does, the refusal tells of it.
    let at_default = TcpListener::bind((SMALL, 25));
    let (postroad, _dns) = waits_without("RemoteSmtpPort", &host);
    if let Ok(listener) = at_default {
        listener.accept().unwrap();
        drop(listener);
    } else {
        postroad.wait_deferred("r@small.example");
        let told = postroad.verb(&["explain", "small.example"]).stdout;
        assert!(told.contains("[127.0.0.11]:25:"), "{told}");
    }
    arrives(&postroad, &host, "RemoteSmtpPort", &host.port().to_string());
}

pub(crate) fn next_hop_refused() {
    let host = Host::start();
    let (postroad, _dns) = waits_without("NextHopRefused", &host);
    let row = postroad.wait_deferred("r@small.example");
    assert!(row["cause"].as_str().unwrap().contains("NextHopRefused"), "{row}");
    arrives(&postroad, &host, "NextHopRefused", "192.0.2.0/24");
}
