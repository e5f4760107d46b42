//! Messages of every size, in every place that the store has for them; and the limits that a client meets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::load::Session;
use postroad_tests::postroad::{Config, NAME, Postroad};
use postroad_tests::wait;
use postroad_tests::world::{FROM, World};
use std::io;

/// In a row, in a segment, in a segment after a draft file, in a file of its own, and again.
const SIZES: [(&str, usize); 5] =
    [("row", 2 << 10), ("segment", 20 << 10), ("spilled", 300 << 10), ("body", 5 << 20), ("large", 30 << 20)];

/// Octets that no two messages have in common, with what dot-stuffing and line ends could go wrong about.
fn content(name: &str, size: usize) -> Vec<u8> {
    let mut octets = format!("Subject: {name}\r\n\r\n").into_bytes();
    let mut state = size as u64 | 1;
    while octets.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend(format!(".{name} {state:016x}{state:032x}\r\n..\r\n.\r\n").bytes());
    }
    octets
}

/// In, deferred, over two restarts (an orderly one and a death), and out.
#[test]
fn in_and_out_over_restarts() {
    let replies: Vec<String> =
        SIZES.iter().map(|(name, _)| format!("{name}@small.example=451 4.2.1 Later")).collect();
    let options: Vec<&str> = replies.iter().flat_map(|reply| ["--rcpt-once", reply]).collect();
    let config = Config { service: "SmtpRemoteProgressiveRetry = \"1h\"".to_owned(), ..Config::default() };
    let mut world = World::with(&options, &config);
    let mut session = Session::open(world.postroad.address()).unwrap();
    for (name, size) in SIZES {
        session.message(FROM, &format!("{name}@small.example"), &content(name, size)).unwrap();
    }
    for (name, _) in SIZES {
        world.postroad.wait_deferred(&format!("{name}@small.example"));
    }
    world.postroad.stop();
    world.postroad.restart();
    world.postroad.kill();
    world.postroad.restart();
    assert_eq!(world.postroad.json(&["queue", "retry", "--all"])[0]["done"], SIZES.len());
    world.postroad.wait_drained(wait::PATIENCE * 2);
    check(&world);
    nothing_is_left(&world.postroad);
}

/// In and straight out.
#[test]
fn in_and_straight_out() {
    let world = World::start();
    let mut session = Session::open(world.postroad.address()).unwrap();
    for (name, size) in SIZES {
        session.message(FROM, &format!("{name}@small.example"), &content(name, size)).unwrap();
    }
    world.postroad.wait_drained(wait::PATIENCE * 2);
    check(&world);
    nothing_is_left(&world.postroad);
}

fn check(world: &World) {
    let received = world.sink.received();
    assert_eq!(received.len(), SIZES.len());
    for (name, size) in SIZES {
        let to = [format!("{name}@small.example")];
        let one = received.iter().find(|one| one.to == to).unwrap();
        // Not `assert_eq`: nobody reads 30 MiB.
        assert!(one.content.ends_with(&content(name, size)), "{name} arrived damaged");
    }
}

/// Files of drafts and bodies go when their messages do.
fn nothing_is_left(postroad: &Postroad) {
    for folder in ["drafts", "bodies"] {
        let folder = postroad.data().join("spool").join(folder);
        wait::until(&format!("{} is empty", folder.display()), || {
            std::fs::read_dir(&folder).is_ok_and(|files| files.count() == 0)
        });
    }
}

/// The reply that was not the expected one.
fn refused(result: io::Result<String>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_message_that_is_too_large() {
    let config = Config { server: "MaxMessageSize = 10000".to_owned(), ..Config::default() };
    let world = World::with(&[], &config);
    let mut session = Session::open(world.postroad.address()).unwrap();
    let said = refused(session.command(&format!("MAIL FROM:<{FROM}> SIZE=10001"), "250"));
    assert!(said.starts_with("552 5.3.4 "), "{said}");
    // Not announced: it is refused at the dot, and the session goes on.
    session.command(&format!("MAIL FROM:<{FROM}>"), "250").unwrap();
    session.command("RCPT TO:<r@small.example>", "250").unwrap();
    let mut content = b"Subject: x\r\n\r\n".to_vec();
    content.resize(9_998, b'x');
    content.extend(b"\r\n");
    session.data(&[&content[..], b"\r\n"].concat(), "552 5.3.4 ").unwrap();
    session.command(&format!("MAIL FROM:<{FROM}> SIZE=10000"), "250").unwrap();
    session.command("RCPT TO:<r@small.example>", "250").unwrap();
    session.data(&content, "250 2.0.0 ").unwrap();
    assert!(world.sink.wait_for(1)[0].content.ends_with(&content));
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
}

#[test]
fn too_many_recipients() {
    let world = World::with(&[], &Config { server: "MaxRecipients = 3".to_owned(), ..Config::default() });
    let to = ["a", "b", "c", "d", "e"].map(|name| format!("{name}@small.example"));
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let sent = world.client().send(&to, b"Subject: x\r\n\r\n");
    let codes: Vec<_> = sent["rcpt"].as_array().unwrap().iter().map(|one| one["code"].clone()).collect();
    assert_eq!(codes, [250, 250, 250, 452, 452]);
    assert!(sent["rcpt"][3]["text"].as_str().unwrap().starts_with("4.5.3 "), "{sent}");
    assert_eq!(world.sink.wait_for(1)[0].to.len(), 3);
    // `send` makes two messages of it.
    let args = [&["send", "-f", FROM][..], &to].concat();
    let verb = world.postroad.verb_reading(&args, b"Subject: x\n\n");
    assert_eq!((verb.status, verb.stdout.lines().count()), (0, 2), "{verb:?}");
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.received().iter().map(|one| one.to.len()).sum::<usize>(), 8);
}

#[test]
fn too_many_connections() {
    let postroad = Postroad::start(&Config { server: "MaxConnections = 2".to_owned(), ..Config::default() });
    let address = postroad.address();
    // The harness's own look at the greeting is over.
    let mut first = wait::within(wait::PATIENCE, "a connection", || Session::open(address).ok());
    let mut second = wait::within(wait::PATIENCE, "a connection", || Session::open(address).ok());
    let said = Session::open(address).unwrap_err().to_string();
    assert!(said.starts_with(&format!("421 4.3.2 {NAME} ")), "{said}");
    second.command("QUIT", "221").unwrap();
    drop(second);
    wait::within(wait::PATIENCE, "its place", || Session::open(address).ok());
    first.command("NOOP", "250").unwrap();
}
