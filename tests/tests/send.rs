//! `postroad send`: what a program that calls sendmail gets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, Verb, queue_id, run};
use postroad_tests::sink::Received;
use postroad_tests::wait;
use postroad_tests::world::{FROM, World};

const REFUSED: &str = "no@small.example=550 5.1.1 No such user";

/// Sends from standard input.
fn send(world: &World, args: &[&str], message: &str) -> Verb {
    world.postroad.verb_reading(&[&["send"], args].concat(), message.as_bytes())
}

/// It is accepted as one message, and nothing is said but its queue id; gives what arrives.
fn arrived(world: &World, verb: &Verb) -> Received {
    assert_eq!((verb.status, verb.stderr.as_str()), (0, ""), "{verb:?}");
    assert_eq!(verb.stdout, format!("{}\n", queue_id(&verb.stdout)));
    let arrived = world.sink.wait_for(1);
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
    arrived.into_iter().next().unwrap()
}

/// Its lines without our trace field.
fn content(arrived: &Received) -> String {
    let text = String::from_utf8(arrived.content.clone()).unwrap();
    let trace = text.split_inclusive("\r\n").skip(1).take_while(|line| line.starts_with([' ', '\t']));
    let trace: usize = text.split_inclusive("\r\n").take(1).chain(trace).map(str::len).sum();
    text[trace..].to_owned()
}

#[test]
fn from_standard_input_with_bare_line_feeds() {
    let world = World::start();
    let message = "Date: Wed, 25 Nov 2026 07:00:28 +0000\nMessage-ID: <m@n.example>\nFrom: a@b.example\nSubject: s\n\n.\n..\nend";
    let arrived = arrived(&world, &send(&world, &["-f", FROM, "r@small.example"], message));
    assert_eq!((arrived.from.as_str(), arrived.to.as_slice()), (FROM, &["r@small.example".to_owned()][..]));
    assert_eq!(content(&arrived), message.replace('\n', "\r\n") + "\r\n");
}

#[test]
fn what_a_message_lacks_is_added() {
    let world = World::start();
    let arrived = arrived(&world, &send(&world, &["-f", FROM, "r@small.example"], "Subject: s\n\nx\n"));
    assert_eq!(arrived.header("From").as_deref(), Some(FROM));
    let date = arrived.header("Date").unwrap();
    assert!(date.ends_with(" +0000") && date.contains(", "), "{date}");
    let id = arrived.header("Message-ID").unwrap();
    assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{id}");
    assert_eq!((arrived.header("Subject").as_deref(), arrived.body()), (Some("s"), &b"x\r\n"[..]));
}

#[test]
fn from_a_file_to_several_recipients() {
    let world = World::start();
    let file = world.postroad.dir().join("message.eml");
    std::fs::write(&file, b"Subject: s\r\n\r\n\xff raw\r\n").unwrap();
    let path = file.display().to_string();
    let args = ["-f", "<>", "--file", &path, "-oi", "a@small.example", "b@small.example", "a@small.example"];
    let arrived = arrived(&world, &send(&world, &args, ""));
    assert_eq!((arrived.from.as_str(), arrived.to.len()), ("", 2), "{arrived:?}");
    assert_eq!(arrived.body(), b"\xff raw\r\n");
}

#[test]
fn recipients_of_the_header() {
    let world = World::start();
    let message = "To: A <a@small.example>\nCc: b@small.example,\n c@small.example\nBcc: hidden@small.example\nSubject: s\n\nx\n";
    let arrived = arrived(&world, &send(&world, &["-t", "-i", "-f", FROM, "d@small.example"], message));
    let mut to = arrived.to.clone();
    to.sort();
    let expected = ["a", "b", "c", "d", "hidden"].map(|name| format!("{name}@small.example"));
    assert_eq!(to, expected);
    assert!(!String::from_utf8_lossy(&arrived.content).contains("hidden"), "{arrived:?}");
    assert_eq!(arrived.header("To").as_deref(), Some("A <a@small.example>"));
}

/// The service refuses to relay, and `send` says so for each recipient; those that it takes get the message.
#[test]
fn a_refused_recipient() {
    let config = Config { server: "RelayIpList = [\"192.0.2.0/24\"]".to_owned(), ..Config::default() };
    let world = World::with(&[], &config);
    let local = format!("postmaster@{NAME}");
    let args = ["-f", FROM, "no@small.example", &local];
    let verb = send(&world, &args, "Subject: s\n\nx\n");
    assert_eq!((verb.status, queue_id(&verb.stdout).len()), (1, 13), "{verb:?}");
    assert!(verb.stderr.starts_with("postroad: no@small.example was refused: 550 5.7.1 "), "{verb:?}");
    let verb = send(&world, &[&["--json"], &args[..]].concat(), "Subject: s\n\nx\n");
    let [told] = &verb.json()[..] else { panic!("{verb:?}") };
    assert_eq!((verb.status, verb.stderr.as_str()), (1, ""));
    assert_eq!(told["accepted"][0]["recipients"][0], local.as_str(), "{told}");
    assert_eq!(told["accepted"][0]["id"].as_str().unwrap().len(), 13, "{told}");
    assert_eq!(told["refused"][0]["recipient"], "no@small.example", "{told}");
    assert_eq!(told["deferred"].as_array().unwrap().len(), 0, "{told}");
}

/// Another server than the service: what it answers is what is told.
#[test]
fn to_another_server() {
    let world = World::with(
        &["--rcpt-reply", REFUSED, "--rcpt-reply", "later@small.example=451 4.2.1 Later"],
        &Config::default(),
    );
    let server = format!("127.0.0.11:{}", world.sink.port());
    let check = |recipient: &str, status: i32, words: &str| {
        let verb = send(&world, &["--server", &server, "-f", FROM, recipient], "Subject: s\n\nx\n");
        assert_eq!(verb.status, status, "{verb:?}");
        assert!(format!("{}{}", verb.stdout, verb.stderr).contains(words), "{verb:?}");
    };
    check("r@small.example", 0, "250 2.0.0 Kept");
    check("no@small.example", 1, "550 5.1.1 No such user");
    check("later@small.example", 75, "451 4.2.1 Later");
    assert_eq!(world.sink.count(), 1);
}

/// 250 recipients: the service takes a hundred at once, so three messages come of it, with each recipient once.
#[test]
fn more_recipients_than_are_taken_at_once() {
    let world = World::start();
    let to: Vec<String> = (0..250).map(|number| format!("r{number:03}@small.example")).collect();
    let args: Vec<&str> = ["-f", FROM].into_iter().chain(to.iter().map(String::as_str)).collect();
    let verb = send(&world, &args, "Subject: s\n\nx\n");
    assert_eq!((verb.status, verb.stdout.lines().count()), (0, 3), "{verb:?}");
    world.postroad.wait_drained(wait::PATIENCE);
    let mut arrived: Vec<String> = world.sink.received().into_iter().flat_map(|one| one.to).collect();
    arrived.sort();
    assert_eq!(arrived, to);
}

#[test]
fn no_server_takes_it() {
    let nobody = Port::free();
    let check = |args: &[&str], status: i32, words: &str| {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("none").display().to_string();
        let args = [&["--data", &data, "send", "-f", FROM], args].concat();
        let verb = run(&args, b"Subject: s\n\nx\n");
        assert_eq!((verb.status, verb.stdout.as_str()), (status, ""), "{verb:?}");
        assert!(verb.stderr.starts_with("postroad: ") && verb.stderr.contains(words), "{verb:?}");
    };
    let server = nobody.local().to_string();
    check(&["--server", &server, "r@small.example"], 69, "Connection refused");
    check(&["--server", "no-such-host.invalid:25", "r@small.example"], 69, "no-such-host.invalid");
    check(&["--server", &server, "--file", "/nonexistent", "r@small.example"], 2, "/nonexistent");
    check(&["--server", &server, "-t"], 2, "no recipients");
}
