//! How mail leaves: when it is tried again and given up, over how many connections, over TLS or not.

use crate::host::Host;
use crate::service::{about, around, fresh, object, reach, send, set, waits, world};
use postroad_tests::nameserver::{Kind, NameServer};
use postroad_tests::postroad::Postroad;
use postroad_tests::sink::Sink;
use postroad_tests::wait;
use postroad_tests::world::ADDRESSES;
use std::time::Duration;

const LATER: [&str; 4] = [
    "--rcpt-reply",
    "later@small.example=451 4.2.1 Later",
    "--rcpt-reply",
    "later@nomx.example=451 4.2.1 Later",
];

pub(crate) fn smtp_remote_progressive_retry() {
    let world = world(&LATER);
    let wait = waits(&world.postroad, "later@small.example");
    assert!(about(15 * 60).contains(&wait), "{wait}");
    set(&world.postroad, "SmtpRemoteProgressiveRetry", &["3h"]);
    let wait = waits(&world.postroad, "later@nomx.example");
    assert!(about(3 * 3600).contains(&wait), "{wait}");
}

/// It takes a minute, as this is the least that can be set.
pub(crate) fn smtp_remote_ndr_expire_minutes() {
    const OLD: u64 = 61;
    let world = world(&LATER);
    set(&world.postroad, "SmtpRemoteProgressiveRetry", &["1s"]);
    send(&world.postroad, "later@small.example");
    wait::within(Duration::from_secs(2 * OLD), "a message that is more than a minute old", || {
        let row = world.postroad.wait_deferred("later@small.example");
        (row["age_secs"].as_u64().unwrap() >= OLD).then_some(())
    });
    assert_eq!(world.sink.count(), 0);
    set(&world.postroad, "SmtpRemoteNDRExpireMinutes", &["1"]);
    assert_eq!(world.sink.wait_for(1)[0].from, "", "a notification");
    world.postroad.wait_drained(wait::PATIENCE);
}

/// A fresh service and a host that is in the place of all others.
fn with_host() -> (Postroad, NameServer, Host) {
    let (postroad, dns, host) = (fresh(), NameServer::start(Kind::Unbound), Host::start());
    reach(&postroad, &dns, host.port());
    (postroad, dns, host)
}

pub(crate) fn max_batched_messages() {
    let (postroad, _dns, host) = with_host();
    set(&postroad, "MaxOutConnectionsPerDomain", &["1"]);
    let batch = || {
        host.hold();
        (0..4).for_each(|_| send(&postroad, "r@small.example"));
        wait::until("the first message", || host.seen().messages == 1);
        host.release();
        postroad.wait_drained(wait::PATIENCE);
        assert_eq!(host.seen().messages, 4);
        host.seen().batch
    };
    assert_eq!(batch(), 4);
    set(&postroad, "MaxBatchedMessages", &["2"]);
    assert_eq!(batch(), 2);
}

/// Mail to these goes over as many connections at once; with 1 of the property, over one after the other.
fn one_at_a_time(name: &str, to: [&str; 3]) {
    let (postroad, _dns, host) = with_host();
    let at_once = |connections: usize| {
        host.hold();
        to.iter().for_each(|to| send(&postroad, to));
        wait::until(&format!("{connections} at once"), || host.seen().messages == connections);
        // Nothing has been answered, so that all three are still in the queue.
        let status = object(&postroad, &["status"]);
        assert_eq!((&status["outbound"], &status["messages"]), (&connections.into(), &3.into()), "{status}");
        host.release();
        postroad.wait_drained(wait::PATIENCE);
        assert_eq!((host.seen().messages, host.seen().peak), (3, connections));
    };
    at_once(3);
    set(&postroad, name, &["1"]);
    at_once(1);
}

pub(crate) fn max_out_connections() {
    one_at_a_time("MaxOutConnections", ["r@small.example", "r@sender.example", "r@nomx.example"]);
}

pub(crate) fn max_out_connections_per_domain() {
    one_at_a_time("MaxOutConnectionsPerDomain", ["a@small.example", "b@small.example", "c@small.example"]);
}

pub(crate) fn limit_remote_connections() {
    let (postroad, _dns, host) = with_host();
    set(&postroad, "MaxOutConnections", &["1"]);
    let at_once = |connections: usize| {
        host.hold();
        ["r@small.example", "r@sender.example"].iter().for_each(|to| send(&postroad, to));
        wait::until(&format!("{connections} at once"), || host.seen().messages == connections);
        host.release();
        postroad.wait_drained(wait::PATIENCE);
        assert_eq!((host.seen().messages, host.seen().peak), (2, connections));
    };
    at_once(1);
    set(&postroad, "LimitRemoteConnections", &["false"]);
    at_once(2);
}

pub(crate) fn always_use_ssl() {
    let world = world(&[]);
    send(&world.postroad, "r@small.example");
    assert!(!world.sink.wait_for(1)[0].tls);
    set(&world.postroad, "AlwaysUseSsl", &["true"]);
    send(&world.postroad, "r@nomx.example");
    let row = world.postroad.wait_deferred("r@nomx.example");
    assert!(row["cause"].as_str().unwrap().contains("TLS"), "{row}");
    assert_eq!(world.sink.count(), 1);
    // It goes where TLS is offered.
    let world = around(Sink::start_tls(&ADDRESSES));
    set(&world.postroad, "AlwaysUseSsl", &["true"]);
    send(&world.postroad, "r@small.example");
    assert!(world.sink.wait_for(1)[0].tls);
}
