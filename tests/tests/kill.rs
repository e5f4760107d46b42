//! Promise 1: what got its 250 survives `kill -9`.
#![allow(clippy::print_stdout, reason = "the counts are worth reading")]

use postroad_tests::load::{Load, content};
use postroad_tests::nameserver::{Kind, NameServer, SMALL};
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::{Received, Sink};
use postroad_tests::wait;
use std::collections::BTreeMap;
use std::time::Duration;

const ROUNDS: usize = 20;
const CONNECTIONS: usize = 4;

#[test]
fn nothing_acknowledged_is_lost() {
    let dns = NameServer::start(Kind::Unbound);
    let sink = Sink::start(&[SMALL.into()], &[]);
    let config = Config { dns: vec![dns.address()], remote_port: sink.port(), ..Config::default() };
    let mut postroad = Postroad::start(&config);
    let load = Load::start(postroad.address(), "s@sender.example", "r@small.example", CONNECTIONS);
    for round in 0..ROUNDS {
        // After another number of messages each time, so that it dies in every phase of its work, the first one included.
        let enough = load.acknowledged() + 1 + round * 37 % 90;
        wait::until("more acknowledgements", || load.acknowledged() >= enough);
        postroad.kill();
        postroad.restart();
    }
    let (acknowledged, refusals) = load.finish();
    assert!(refusals.is_empty(), "a healthy store refuses nothing: {:?}", refusals.first());
    // Once more, with a backlog and nobody sending.
    postroad.kill();
    postroad.restart();
    postroad.wait_drained(Duration::from_secs(300));

    let mut arrivals: BTreeMap<String, usize> = BTreeMap::new();
    for message in sink.received() {
        check_content(&message);
        *arrivals.entry(id(&message)).or_default() += 1;
    }
    let missing: Vec<&String> = acknowledged.iter().filter(|id| !arrivals.contains_key(*id)).collect();
    let twice = arrivals.values().filter(|&&times| times > 1).count();
    println!(
        "{} acknowledged, {} arrived, {twice} of them more than once, {} missing; killed {} times",
        acknowledged.len(),
        arrivals.len(),
        missing.len(),
        ROUNDS + 1
    );
    assert!(missing.is_empty(), "{missing:?}");
    assert!(acknowledged.len() > ROUNDS * 10);
    // A message arrives twice only if we died between the sink's 250 and our record: at most what was under way at each death.
    assert!(twice <= (ROUNDS + 1) * 200, "{twice}");
}

fn id(message: &Received) -> String {
    let field = message.header("Message-ID").unwrap_or_default();
    field.trim_start_matches('<').split('@').next().unwrap_or_default().to_owned()
}

/// What arrived is what was sent, whole.
fn check_content(message: &Received) {
    let size = message.header("Subject").and_then(|size| size.parse().ok()).unwrap_or_default();
    let sent = content(&id(message), size);
    assert!(message.content.ends_with(&sent), "{} arrived damaged", id(message));
}
