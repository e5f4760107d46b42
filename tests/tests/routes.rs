//! Where mail goes, and what becomes of it where it cannot: smart hosts, fall-back, retries, notifications, Drop and Badmail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::client::{Smtplib, read_report};
use postroad_tests::folder::files;
use postroad_tests::load::Session;
use postroad_tests::nameserver::{Kind, NOMX, NameServer, SENDER, SMALL};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, Postroad};
use postroad_tests::sink::Sink;
use postroad_tests::wait;
use postroad_tests::world::{ADDRESSES, FROM, World};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

fn server(lines: &str) -> Config {
    Config { server: lines.to_owned(), ..Config::default() }
}

/// All mail for others goes there, whatever DNS says of its domains.
#[test]
fn smart_hosts() {
    let sink = Sink::start(&[NOMX.into()], &[]);
    let port = sink.port();
    let with = |smart: String, remote_port: u16, dns: bool| {
        let config = Config { remote_port, ..server(&format!("SmartHostType = 2\nSmartHost = \"{smart}\"")) };
        let before = sink.count();
        let nameserver = NameServer::start(Kind::Nsd);
        let nobody = Port::free();
        let config = Config { dns: vec![if dns { nameserver.address() } else { nobody.local() }], ..config };
        let postroad = Postroad::start(&config);
        let to = ["a@small.example", "b@missing.example"];
        let sent = Smtplib::new(postroad.address(), FROM).send(&to, b"Subject: x\r\n\r\n");
        assert_eq!(sent["data"]["code"], 250, "{smart}: {sent}");
        postroad.wait_drained(wait::PATIENCE);
        let arrived = sink.received().split_off(before);
        assert_eq!(arrived.len(), 1, "{smart}: {arrived:?}");
        let mut reached = arrived[0].to.clone();
        reached.sort();
        assert_eq!(
            (arrived[0].local, reached),
            (IpAddr::from(NOMX), to.map(str::to_owned).to_vec()),
            "{smart}"
        );
    };
    with("nomx.example".to_owned(), port, true);
    with(format!("nomx.example:{port}"), 0, true);
    with(format!("[{NOMX}]"), port, false);
    with(format!("[{NOMX}]:{port}"), 0, false);
}

/// With SmartHostType 0 it is not used.
#[test]
fn a_smart_host_that_is_not_asked_for() {
    let world = World::with(&[], &server("SmartHostType = 0\nSmartHost = \"[127.0.0.99]\""));
    let _ = world.accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    assert_eq!(world.sink.wait_for(1)[0].local, IpAddr::from(SMALL));
}

const TWO: &str = "two.example MX 10 first.two.example\ntwo.example MX 20 second.two.example\n\
                   first.two.example A 127.0.0.15\nsecond.two.example A 127.0.0.16";

/// The second host of an MX set takes what the first does not: nothing listens there, or it greets with a refusal.
#[test]
fn the_next_host_is_tried() {
    let second: IpAddr = "127.0.0.16".parse().unwrap();
    let first: IpAddr = "127.0.0.15".parse().unwrap();
    for greeting in [None, Some("554 5.3.2 No service here"), Some("421 4.3.2 Not now")] {
        let options = greeting.map(|reply| format!("{first}={reply}"));
        let sink = match &options {
            Some(option) => Sink::start(&[first, second], &["--greeting", option]),
            None => Sink::start(&[second], &[]),
        };
        let world = World::around(sink, TWO, &Config::default());
        let id = world.accepted(&["r@two.example"], b"Subject: x\r\n\r\n");
        let arrived = world.sink.wait_for(1);
        assert_eq!(arrived[0].local, second, "{greeting:?}");
        world.postroad.wait_drained(wait::PATIENCE);
        assert_eq!(world.sink.count(), 1, "{greeting:?}");
        let story = world.postroad.verb(&["explain", &id]).stdout;
        let why = greeting.unwrap_or("refused");
        assert!(story.contains("127.0.0.15") && story.contains(why), "{greeting:?}: {story}");
    }
}

/// A refusal of a recipient is that host's last word: the next one is not asked.
#[test]
fn a_permanent_reply_ends_the_walk() {
    let addresses: [IpAddr; 3] =
        ["127.0.0.15".parse().unwrap(), "127.0.0.16".parse().unwrap(), SENDER.into()];
    let sink = Sink::start(&addresses, &["--rcpt-once", "r@two.example=550 5.1.1 No such user"]);
    let world = World::around(sink, TWO, &Config::default());
    let _ = world.accepted(&["r@two.example"], b"Subject: x\r\n\r\n");
    assert_eq!(world.sink.wait_for(1)[0].from, "");
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
}

/// 451 to RCPT, then to the dot, then 250: two waits, of SmtpRemoteProgressiveRetry's first and second.
#[test]
fn retries_take_their_time() {
    let options = ["--rcpt-once", "r@small.example=451 4.2.1 Later", "--dot-once", "452 4.3.1 Full"];
    let config = Config { service: "SmtpRemoteProgressiveRetry = \"1s,2s\"".to_owned(), ..Config::default() };
    let world = World::with(&options, &config);
    let id = world.accepted(&["r@small.example"], b"Subject: x\r\n\r\n");
    let _ = world.sink.wait_for(1);
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
    let story = &world.postroad.json(&["explain", &id])[0];
    let steps = story["steps"].as_array().unwrap();
    let at = |words: &str| -> u64 {
        let is = |step: &&Value| step["text"][0].as_str().is_some_and(|text| text.contains(words));
        steps.iter().find(is).unwrap_or_else(|| panic!("{words}: {story}"))["at"].as_u64().unwrap()
    };
    let (first, second, third) = (at("451 4.2.1 Later"), at("452 4.3.1 Full"), at("250 2.0.0 Kept"));
    // A tenth less at most.
    assert!(second >= first + 900 && third >= second + 1800, "{first}, {second}, {third}");
}

#[test]
fn mail_that_must_go_over_tls_waits_for_it() {
    let world = World::with(&[], &server("AlwaysUseSsl = true"));
    let id = world.accepted(&["r@small.example"], b"Subject: secret\r\n\r\n");
    let row = world.postroad.wait_deferred("r@small.example");
    assert!(row["cause"].as_str().unwrap().contains("TLS"), "{row}");
    wait::until("three tries", || world.postroad.log().matches(r#""log":"deferred""#).count() >= 3);
    assert_eq!(world.sink.count(), 0);
    assert!(world.postroad.verb(&["explain", &id]).stdout.contains("TLS"));
    drop(world);
    // And goes where it is offered.
    let world = World::around(Sink::start_tls(&ADDRESSES), "", &server("AlwaysUseSsl = true"));
    let _ = world.accepted(&["r@small.example"], b"Subject: secret\r\n\r\n");
    assert!(world.sink.wait_for(1)[0].tls);
}

/// One file a message, which begins with its envelope: what is local, and only that.
#[test]
fn the_drop_folder() {
    let world = World::with(&[], &server("DefaultDomain = \"office.example\""));
    let content = b"Subject: x\r\n\r\n.\r\nbody\r\n";
    let fqdn = format!("b@{NAME}");
    let _ = world.accepted(&["a@office.example", &fqdn, "postmaster", "r@small.example"], content);
    assert_eq!(world.sink.wait_for(1)[0].to, ["r@small.example"]);
    world.postroad.wait_drained(wait::PATIENCE);
    let files = files(&world.postroad.data().join("Drop"), "eml");
    assert_eq!(files.len(), 1);
    let text = String::from_utf8(std::fs::read(&files[0]).unwrap()).unwrap();
    let mut lines = text.split("\r\n");
    let head: Vec<&str> = lines.by_ref().take(4).collect();
    let receiver = |address: &str| format!("x-receiver: {address}");
    let expected = [
        format!("x-sender: {FROM}"),
        receiver("a@office.example"),
        receiver(&fqdn),
        receiver("postmaster@office.example"),
    ];
    assert_eq!(head, expected);
    assert!(lines.next().unwrap().starts_with("Received: from client.example"), "{text}");
    assert!(text.as_bytes().ends_with(content), "{text}");
}

/// A notification that fails is neither returned nor lost.
#[test]
fn the_badmail_folder() {
    let world = World::start();
    let lost = Smtplib::new(world.postroad.address(), "nobody@missing.example");
    let _ = lost.accepted(&["r@nullmx.example"], b"Subject: lost\r\nX-Mark: 17\r\n\r\n");
    world.postroad.wait_drained(wait::PATIENCE);
    let folder = world.postroad.data().join("Badmail");
    let (bad, why) = (files(&folder, "bad"), files(&folder, "bdr"));
    assert_eq!((bad.len(), why.len()), (1, 1), "{bad:?} {why:?}");
    assert_eq!(bad[0].with_extension(""), why[0].with_extension(""));
    let bad = std::fs::read_to_string(&bad[0]).unwrap();
    assert!(bad.starts_with("x-sender: <>\r\nx-receiver: nobody@missing.example\r\nReceived: "), "{bad}");
    assert!(bad.contains("X-Mark: 17") && bad.contains("multipart/report"), "{bad}");
    let why = std::fs::read_to_string(&why[0]).unwrap();
    assert!(why.contains("Recipient: nobody@missing.example") && why.contains("Reason: "), "{why}");
    let event = world.postroad.wait_event(20030);
    assert!(event["fields"]["file"].as_str().unwrap().contains("Badmail"), "{event}");
    assert_eq!(world.sink.count(), 0);
}

const NO: [&str; 2] = ["--rcpt-reply", "no@small.example=550 5.1.1 No such user"];

/// Sends one message to no@small.example, with parameters.
fn send_with(world: &World, mail: &str, rcpt: &str, content: &[u8]) {
    let mut session = Session::open(world.postroad.address()).unwrap();
    session.command(&format!("MAIL FROM:<{FROM}>{mail}"), "250").unwrap();
    session.command(&format!("RCPT TO:<no@small.example>{rcpt}"), "250").unwrap();
    session.data(content, "250").unwrap();
}

#[test]
fn who_wants_no_notification_gets_none() {
    let world = World::with(&NO, &Config::default());
    for notify in ["NEVER", "DELAY", "SUCCESS"] {
        send_with(&world, "", &format!(" NOTIFY={notify}"), b"Subject: x\r\n\r\n");
    }
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 0);
    assert_eq!(files(&world.postroad.data().join("Badmail"), "bad").len(), 0);
}

/// RFC 3461: what the sender said of the envelope and the recipient comes back, and as much of the message as was asked for.
#[test]
fn notifications_echo_the_request() {
    let world = World::with(&NO, &Config::default());
    let rcpt = " NOTIFY=FAILURE,DELAY ORCPT=rfc822;Original+2Bname@old.example";
    for ret in ["HDRS", "FULL"] {
        let before = world.sink.count();
        send_with(
            &world,
            &format!(" RET={ret} ENVID=QQ+3D{ret}"),
            rcpt,
            b"Subject: x\r\nX-Mark: 17\r\n\r\nthe body\r\n",
        );
        let notice = world.sink.wait_for(before + 1).pop().unwrap();
        assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[FROM.to_owned()][..]));
        let report = read_report(&notice.content);
        assert_eq!(report["message"]["original-envelope-id"], format!("QQ={ret}"), "{report}");
        let about = &report["recipients"][0];
        assert_eq!(about["original-recipient"], "rfc822; Original+name@old.example", "{report}");
        assert_eq!((&about["action"], &about["status"]), (&"failed".into(), &"5.1.1".into()), "{report}");
        let returned = report["returned_text"].as_str().unwrap();
        assert!(returned.contains("X-Mark: 17"), "{report}");
        assert_eq!(returned.contains("the body"), ret == "FULL", "{report}");
        let kind = if ret == "FULL" { "message/rfc822" } else { "text/rfc822-headers" };
        assert_eq!(report["returned"], kind, "{report}");
    }
    world.postroad.wait_drained(Duration::from_secs(30));
}
