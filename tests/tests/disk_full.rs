//! A disk without room: clients are told to come again, nothing that was acknowledged is lost, and when there is room it goes on.
//!
//! Mounts a file system of its own, for which it must be root.
#![allow(clippy::print_stdout, reason = "the counts are worth reading")]

use postroad_tests::disk::Disk;
use postroad_tests::load::{Load, Session, content};
use postroad_tests::nameserver::{Kind, NameServer, SMALL};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::wait;
use postroad_tests::world::FROM;
use std::collections::BTreeSet;

/// Left beside the filler: some messages find room, a few hundred do not.
const ROOM: u64 = 4 << 20;

#[test]
fn it_refuses_for_a_while_and_recovers_by_itself() {
    let dns = NameServer::start(Kind::Unbound);
    let sink = Sink::start(&[SMALL.into()], &[]);
    // Nothing goes out before all is over, or the store would never be full.
    let nobody = Port::free();
    let service = "DnsRetry = \"1h\"\nDnsProbe = \"1h..1h\"".to_owned();
    let mut config =
        Config { dns: vec![nobody.local()], remote_port: sink.port(), service, ..Config::default() };
    let mut postroad = Postroad::prepare(&config, &[]);
    let disk = Disk::mount(&postroad.data(), "64m");
    let spool = postroad.data().join("spool");
    std::fs::create_dir(&spool).expect("the spool's folder");
    std::fs::write(spool.join("spool.intake.damaged-1"), "").expect("a copy of an earlier time");
    postroad.restart();
    let pid = postroad.process().id();
    let filler = disk.fill(ROOM);

    let load = Load::start(postroad.address(), FROM, "r@small.example", 4);
    wait::until("refusals", || load.refusals().len() >= 20);
    let (mut acknowledged, refusals) = load.finish();
    println!("{} acknowledged, {} refused: {:?}", acknowledged.len(), refusals.len(), refusals.first());
    for reply in &refusals {
        assert!(reply.starts_with("452 4.3.1 ") || reply.starts_with("451 4.3.0 "), "{reply}");
    }
    assert!(refusals.iter().any(|reply| reply.starts_with("452 4.3.1 ")), "{:?}", refusals.first());
    wait::until("the failure is in the log", || postroad.log().contains("\"number\":20020"));

    // Each message that finds no room is a failure of its own, and between them the store is opened again.
    let load = Load::start(postroad.address(), FROM, "r@small.example", 2);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let (more, _) = load.finish();
    acknowledged.extend(more);
    let told = |number: u32| postroad.log().matches(&format!("\"number\":{number}")).count();
    assert_eq!(told(20020), 1, "one failure that goes on is told once");
    assert_eq!(told(20021), 1, "an old copy is told of at the start alone");

    std::fs::remove_file(filler).expect("the filler goes");
    let accepted = wait::within(wait::PATIENCE, "mail is taken again", || {
        let mut session = Session::open(postroad.address()).ok()?;
        session.message(FROM, "r@small.example", &content("again", 300_000)).ok()
    });
    assert!(accepted.starts_with("250"), "{accepted}");
    acknowledged.push("again".to_owned());
    postroad.wait_event(20020);
    postroad.wait_event(30020);
    assert_eq!(postroad.process().id(), pid);
    assert_eq!(postroad.json(&["status"])[0]["store_up"], true);

    // Everything that was acknowledged is there.
    config.dns = vec![dns.address()];
    postroad.configure(&config);
    postroad.reload();
    postroad.wait_drained(wait::PATIENCE * 2);
    let arrived: Vec<String> = sink.received().iter().filter_map(|one| one.header("Message-ID")).collect();
    let once: BTreeSet<&String> = arrived.iter().collect();
    assert_eq!(once.len(), arrived.len(), "nothing came twice");
    let missing: Vec<&String> =
        acknowledged.iter().filter(|id| !once.contains(&format!("<{id}@load.example>"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    postroad.stop();
}
