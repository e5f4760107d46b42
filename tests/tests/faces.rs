//! What an administrator asks a running service, as people and as programs do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::client::Smtplib;
use postroad_tests::load::Session;
use postroad_tests::nameserver::{NOMX, SMALL};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, PATIENT, Postroad, Verb, program, run};
use postroad_tests::proc::Process;
use postroad_tests::wait;
use postroad_tests::world::{FROM, World};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const LATER: &str = "later@small.example=451 4.2.1 Later";
/// The queue id of no message.
const NO_ID: &str = "1M88R2YTV0000";

fn patient() -> Config {
    Config { service: PATIENT.to_owned(), ..Config::default() }
}

/// A service with one message that waits for an hour.
fn waiting() -> (World, String) {
    let world = World::with(&["--rcpt-reply", LATER], &patient());
    let id = world.accepted(&["later@small.example"], b"Subject: x\r\n\r\n");
    world.postroad.wait_deferred("later@small.example");
    (world, id)
}

fn told(verb: &Verb, status: i32, words: &[&str]) {
    assert_eq!(verb.status, status, "{verb:?}");
    for word in words {
        assert!(verb.stdout.contains(word), "{word:?} is not in {}", verb.stdout);
    }
}

#[test]
fn status() {
    let (mut world, _) = waiting();
    let pid = world.postroad.process().id();
    let [status] = &world.postroad.json(&["status"])[..] else { panic!("one object") };
    let binding = world.postroad.address().to_string();
    assert_eq!((&status["pid"], &status["name"]), (&pid.into(), &NAME.into()), "{status}");
    assert_eq!(
        (&status["bindings"][0], &status["messages"]),
        (&binding.as_str().into(), &1.into()),
        "{status}"
    );
    assert_eq!((&status["dns_policy"], &status["store_up"]), (&"adaptive".into(), &true.into()), "{status}");
    let server = world.dns.address().to_string();
    assert_eq!(status["dns_servers"][0]["server"], server.as_str(), "{status}");
    assert_eq!(
        status["data"].as_str().map(std::path::Path::new),
        Some(&*world.postroad.data().canonicalize().unwrap())
    );
    told(
        &world.postroad.verb(&["status"]),
        0,
        &[&format!("process {pid}"), NAME, &binding, &server, "1 message"],
    );
}

/// `--data` and `--json` stand where they like.
#[test]
fn options_before_and_after_the_verb() {
    let (world, id) = waiting();
    let data = world.postroad.data().display().to_string();
    for args in [
        ["--data", &data, "--json", "queue", "list"],
        ["queue", "--json", "--data", &data, "list"],
        ["queue", "list", "--json", "--data", &data],
        ["--json", "queue", "list", "--data", &data],
    ] {
        let verb = run(&args, b"");
        let [row] = &verb.json()[..] else { panic!("{verb:?}") };
        assert_eq!((verb.status, &row["id"]), (0, &id.as_str().into()), "{args:?}");
    }
}

#[test]
fn the_queue() {
    let (world, id) = waiting();
    let postroad = &world.postroad;
    let rows = postroad.queue();
    assert_eq!(rows, postroad.json(&["queue", "show", &id]));
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let expected: [(&str, Value); 6] = [
        ("sender", FROM.into()),
        ("recipient", "later@small.example".into()),
        ("hop", "mx:small.example".into()),
        ("state", "deferred".into()),
        ("attempts", 1.into()),
        ("id", id.as_str().into()),
    ];
    for (field, value) in expected {
        assert_eq!(row[field], value, "{field}: {row}");
    }
    assert!(row["cause"].as_str().unwrap().contains("451 4.2.1 Later"), "{row}");
    told(
        &postroad.verb(&["queue", "list"]),
        0,
        &[&id, FROM, "later@small.example", "451 4.2.1 Later", "1 message for 1 recipient."],
    );
    told(&postroad.verb(&["queue", "show", &id]), 0, &[&id, FROM, "mx:small.example", "451 4.2.1 Later"]);

    // A retry is a try: the host says the same again.
    told(&postroad.verb(&["queue", "retry", &id]), 0, &["Due at once: 1 message."]);
    wait::until("a second try", || postroad.wait_deferred("later@small.example")["attempts"] == 2);
    assert_eq!(postroad.json(&["queue", "retry", "--all"])[0]["done"], 1);
    wait::until("a third try", || postroad.wait_deferred("later@small.example")["attempts"] == 3);

    for verb in ["show", "retry", "delete"] {
        let missing = postroad.verb(&["queue", verb, NO_ID]);
        assert_eq!(missing.status, 1, "{missing:?}");
        assert!(format!("{}{}", missing.stdout, missing.stderr).contains(NO_ID), "{missing:?}");
        assert_eq!(postroad.verb(&["queue", verb, "nonsense"]).status, 2);
    }
    let mixed = postroad.verb(&["queue", "delete", &id, NO_ID, "--json"]);
    let [done] = &mixed.json()[..] else { panic!("{mixed:?}") };
    assert_eq!((mixed.status, &done["done"], &done["missing"][0]), (1, &1.into(), &NO_ID.into()), "{done}");
    assert_eq!(postroad.queue(), Vec::<Value>::new());
    told(&postroad.verb(&["queue", "list"]), 0, &["The queue is empty."]);
    assert_eq!(postroad.json(&["queue", "delete", "--all"])[0]["done"], 0);
    assert_eq!(world.sink.count(), 0, "what is deleted is not returned");
}

#[test]
fn delete_all() {
    let world = World::with(&["--rcpt-reply", LATER], &patient());
    for _ in 0..3 {
        let _ = world.accepted(&["later@small.example"], b"Subject: x\r\n\r\n");
    }
    wait::until("three wait", || {
        world.postroad.queue().iter().filter(|row| row["state"] == "deferred").count() == 3
    });
    told(&world.postroad.verb(&["queue", "list", "--limit", "2"]), 0, &["2 messages for 2 recipients."]);
    told(&world.postroad.verb(&["queue", "delete", "--all"]), 0, &["Deleted: 3 messages."]);
    assert_eq!(world.postroad.queue(), Vec::<Value>::new());
}

/// `postroad queue list | head -1`: whoever reads has read enough, and that is no fault.
#[test]
fn a_reader_that_goes_away() {
    let dead = Port::free();
    let config = Config { dns: vec![dead.local()], remote_port: dead.number(), ..patient() };
    let postroad = Postroad::start(&config);
    let to: Vec<String> = (0..100).map(|number| format!("recipient-{number:03}@small.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    for _ in 0..15 {
        let _ = Smtplib::new(postroad.address(), FROM).accepted(&to, b"Subject: x\r\n\r\n");
    }
    let data = postroad.data().display().to_string();
    for args in [&["queue", "list"][..], &["queue", "list", "--json"]] {
        let mut list = Command::new(program())
            .args(["--data", &data])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::with_capacity(16, list.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        let mut stderr = String::new();
        list.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert_eq!((list.wait().unwrap().code(), stderr.as_str()), (Some(0), ""), "{args:?}");
        // There was more to read than a pipe holds.
        assert_eq!(postroad.verb(args).stdout.lines().count() / 100, 15);
    }
}

/// Both forms of the story of a subject contain the words.
fn check_story(world: &World, subject: &str, words: &[&str]) {
    let [told] = &world.postroad.json(&["explain", subject])[..] else { panic!("one object") };
    let people = world.postroad.verb(&["explain", subject]);
    assert_eq!(people.status, 0);
    for text in [told.to_string(), people.stdout] {
        for word in words {
            assert!(text.contains(word), "{subject}: {word:?} is not in {text}");
        }
    }
}

#[test]
fn explain_a_delivery_a_deferral_and_a_return() {
    let world = World::with(
        &["--rcpt-reply", LATER, "--rcpt-reply", "no@small.example=550 5.1.1 No such user"],
        &patient(),
    );
    let delivered = world.accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    let _ = world.sink.wait_for(1);
    let deferred = world.accepted(&["later@small.example"], b"Subject: x\r\n\r\n");
    world.postroad.wait_deferred("later@small.example");
    let returned = world.accepted(&["no@small.example"], b"Subject: x\r\n\r\n");
    let _ = world.sink.wait_for(2);
    wait::until("the others are settled", || world.postroad.queue().len() == 1);
    for (id, address, words) in [
        (
            delivered,
            "r@small.example",
            &["Delivered", "mail.small.example", "127.0.0.11", "250 2.0.0 Kept"][..],
        ),
        (deferred, "later@small.example", &["Deferred", "451 4.2.1 Later", "waits until"]),
        (returned, "no@small.example", &["Failed for good", "550 5.1.1 No such user", "returned"]),
    ] {
        for subject in [id.as_str(), address, "small.example"] {
            check_story(&world, subject, words);
        }
    }
    for (subject, status) in [(NO_ID, 1), ("x@other.example", 1), ("other.example", 1), ("a..b", 2)] {
        assert_eq!(world.postroad.verb(&["explain", subject]).status, status, "{subject}");
    }
}

#[test]
fn explain_a_refused_connection() {
    let nobody = Port::free();
    let world = World::with(&[], &Config { remote_port: nobody.number(), ..patient() });
    let id = world.accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    world.postroad.wait_deferred("r@small.example");
    for subject in [id.as_str(), "r@small.example", "small.example"] {
        check_story(&world, subject, &["127.0.0.11", "refused", "waits"]);
    }
}

#[test]
fn explain_dns_that_does_not_answer() {
    let nobody = Port::free();
    let postroad = Postroad::start(&Config { dns: vec![nobody.local()], ..patient() });
    let id = Smtplib::new(postroad.address(), FROM).accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    postroad.wait_deferred("r@small.example");
    for subject in [id.as_str(), "r@small.example", "small.example"] {
        for args in [&["explain", subject][..], &["explain", subject, "--json"]] {
            told(
                &postroad.verb(args),
                0,
                &[&nobody.local().to_string(), "MX small.example", "waits for DNS"],
            );
        }
    }
}

#[test]
fn events() {
    let (world, _) = waiting();
    world.postroad.wait_event(20010);
    let all = world.postroad.events();
    assert!(all.len() > 1, "{all:?}");
    let whole =
        |event: &Value| event["text"].is_string() && event["at"].is_u64() && event["remedy"].is_string();
    assert!(all.iter().all(whole), "{all:?}");
    let one = world.postroad.json(&["events", "list", "--number", "20010"]);
    assert_eq!((one.len(), &one[0]["severity"]), (1, &"Information".into()), "{one:?}");
    assert_eq!(world.postroad.json(&["events", "list", "--limit", "1"]), all[all.len() - 1..]);
    assert_eq!(world.postroad.json(&["events", "list", "--number", "99999"]), Vec::<Value>::new());
    told(
        &world.postroad.verb(&["events", "list", "--number", "20010"]),
        0,
        &["Information", "20010", "started"],
    );
    told(&world.postroad.verb(&["events", "list", "--number", "99999"]), 0, &["There are no events."]);
}

/// Every verb that `--help` names, and theirs, in turn.
#[test]
fn help_everywhere() {
    fn follow(verbs: &[String], seen: &mut Vec<String>) {
        let args: Vec<&str> = verbs.iter().map(String::as_str).collect();
        let verb = run(&[&args[..], &["--help"]].concat(), b"");
        assert_eq!((verb.status, verb.stderr.as_str()), (0, ""), "{verbs:?}");
        assert!(verb.stdout.contains("Usage: postroad"), "{verbs:?}: {}", verb.stdout);
        seen.push(verbs.join(" "));
        let list = verb.stdout.split_once("Commands:\n").map_or("", |(_, rest)| rest);
        // A description that is too long for a line goes on deeper.
        let names = list.lines().take_while(|line| line.starts_with("  "));
        for line in names.filter(|line| !line.starts_with("   ")) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" {
                follow(&[verbs, &[name.to_owned()]].concat(), seen);
            }
        }
    }
    let mut seen = Vec::new();
    follow(&[], &mut seen);
    for verb in [
        "serve",
        "send",
        "status",
        "queue list",
        "queue show",
        "queue retry",
        "queue delete",
        "explain",
        "dns mx",
        "dns resolve",
        "events list",
        "lab",
    ] {
        assert!(seen.iter().any(|one| one == verb), "{verb} is not in {seen:?}");
    }
    assert!(run(&["--version"], b"").stdout.starts_with("postroad "));
    assert_eq!(run(&["fly"], b"").status, 2);
}

#[test]
fn the_lab() {
    let list = run(&["lab", "--list"], b"");
    told(&list, 0, &["kb330070"]);
    let listed = run(&["lab", "--list", "--json"], b"");
    assert_eq!(listed.json()[0]["name"], "kb330070");
    let began = Instant::now();
    let story = run(&["lab", "kb330070"], b"");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    told(&story, 0, &["\n1. ", "\n2. ", "\n3. ", "\n4. ", "\n5. ", "2012", "12012", "deferred", "delivered"]);
    let none = run(&["lab", "nosuch"], b"");
    assert_eq!((none.status, none.stdout.as_str()), (2, ""), "{none:?}");
}

/// A data folder has one service; the second one leaves the first alone.
#[test]
fn serve_twice() {
    let postroad = Postroad::start(&Config::default());
    let data = postroad.data().display().to_string();
    let config = postroad.dir().join("other.toml");
    let other = Port::free();
    std::fs::write(&config, format!("[\"/LM/SmtpSvc/1\"]\nServerBindings = [\"{}:\"]\n", other.local()))
        .unwrap();
    let args = ["--data", &data, "serve", "--config", &config.display().to_string()];
    let mut second = Process::start("second", postroad.dir(), &program(), &args);
    let status = second.wait_end(wait::PATIENCE);
    assert_eq!(status.code(), Some(75), "{}", second.said());
    assert!(second.said().contains("in use"), "{}", second.said());
    assert_eq!(postroad.verb(&["status"]).status, 0);
    Session::open(postroad.address()).unwrap();
}

/// Control characters that a peer chose never reach a terminal: not in what verbs print, not in the log.
#[test]
fn hostile_octets() {
    let replies = [
        "--rcpt-reply",
        "later@small.example=451 4.2.1 \x1b[2J\x07evil",
        "--rcpt-reply",
        "no@small.example=550 5.1.1 \x1b]0;owned\x07",
    ];
    let greeting = format!("{}=554 \x1b[31m\x08greeting", NOMX);
    let options = [&replies[..], &["--greeting", &greeting]].concat();
    for form in ["human", "json"] {
        let world = hostile_world(&options, form);
        let log = world.postroad.log();
        assert!(log.contains("evil"), "the reply is in the log: {log}");
        assert_clean("the log", &log);
        for args in [
            &["queue", "list"][..],
            &["explain", "small.example"],
            &["explain", "nomx.example"],
            &["events", "list"],
            &["status"],
        ] {
            for args in [args.to_vec(), [args, &["--json"]].concat()] {
                let verb = world.postroad.verb(&args);
                assert_eq!(verb.status, 0, "{verb:?}");
                assert_clean(&format!("{args:?}"), &(verb.stdout + &verb.stderr));
            }
        }
        let server = SocketAddr::from((SMALL, world.sink.port())).to_string();
        let sent = world
            .postroad
            .verb_reading(&["send", "--server", &server, "-f", FROM, "no@small.example"], b"x\n");
        assert!(sent.stderr.contains("owned"), "{sent:?}");
        assert_clean("send", &(sent.stdout + &sent.stderr));
        let wrong = world.postroad.verb(&["explain", "\x1b[2Jx"]);
        assert_clean("explain", &(wrong.stdout + &wrong.stderr));
    }
}

fn hostile_world(options: &[&str], form: &str) -> World {
    let mut world = World::with(options, &patient());
    world.postroad = Postroad::start_with(&world.config, &["--log", form]);
    let mut session = Session::open(world.postroad.address()).unwrap();
    for hello in ["EHLO \x1b[2Jclient", "EHLO x\u{9b}31m.example", "EHLO client.example"] {
        let _ = session.command(hello, "250");
    }
    for to in ["later@small.example", "no@small.example", "r@nomx.example"] {
        session.message(FROM, to, b"Subject: \x1b[2J\r\n\r\n").unwrap();
    }
    let _ = session.command("MAIL FROM:<\"\x1b[2J\"@x.example>", "250");
    let _ = session.command("VRFY \x1b[2J", "250");
    world.postroad.wait_deferred("later@small.example");
    world.postroad.wait_deferred("r@nomx.example");
    world.postroad.wait_event(4000);
    world
}

fn assert_clean(what: &str, text: &str) {
    let raw = text.chars().find(|&c| c.is_control() && c != '\n');
    assert_eq!(raw, None, "{what}: {text:?}");
}
