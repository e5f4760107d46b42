//! The instant a message becomes ours: its 250 is written only after a sync of the store has returned, as the kernel sees it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a panic is how a test fails")]

use postroad_tests::load::{Session, content};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::trace::{Acknowledged, OPTIONS, acknowledgements};
use postroad_tests::wait;

const MESSAGES: usize = 50;

/// Part of the paths of the store's files: not of the events', which are synced at their leisure.
const STORE: &str = "/data/spool";

fn trace(flags: &[&str]) -> Vec<Acknowledged> {
    // No name server: the first message closes the hop for long, and afterwards the store is written only to accept.
    let dead = Port::free();
    let config = Config {
        dns: vec![dead.local()],
        remote_port: dead.number(),
        service: "DnsRetry = \"1h\"\nDnsProbe = \"1h..1h\"\nDnsTimeouts = \"udp=50ms,connect=100ms,reply=100ms,lookup=200ms\"".to_owned(),
        ..Config::default()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let options: Vec<&str> = OPTIONS.into_iter().chain(["-o", &path]).collect();
    let mut postroad = Postroad::start_traced(&config, flags, &options);
    let mut session = Session::open(postroad.address()).unwrap();
    let mut send = |number: usize| {
        session.message("s@sender.example", "r@small.example", &content(&number.to_string(), 200))
    };
    send(0).unwrap();
    postroad.wait_deferred("r@small.example");
    for number in 1..=MESSAGES {
        send(number).unwrap();
    }
    // strace writes out what it has when it is told to end; what it traced is killed with it.
    postroad.process().signal("TERM");
    postroad.process().wait_end(wait::PATIENCE);
    let text = std::fs::read(path).unwrap();
    let mut all = acknowledgements(&String::from_utf8_lossy(&text), STORE);
    assert_eq!(all.len(), MESSAGES + 1, "each message is in the trace");
    all.remove(0);
    all
}

#[test]
fn every_acknowledgement_waits_for_the_disk() {
    assert_eq!(trace(&[]), [Acknowledged::AfterSync; MESSAGES]);
}

/// The check can fail: it does when the store is told not to sync.
#[test]
fn a_store_without_sync_is_found_out() {
    assert_eq!(trace(&["--unsafe-no-sync"]), [Acknowledged::WithoutSync; MESSAGES]);
}
