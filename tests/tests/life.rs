//! A service's life: it is stopped, started, told to read its configuration again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails; the figures are worth reading"
)]

use postroad_tests::client::Smtplib;
use postroad_tests::load::{Load, Session};
use postroad_tests::nameserver::{Kind, NameServer, SENDER, SMALL, big_hosts};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, PATIENT, Postroad, STOP_WITHIN};
use postroad_tests::sink::Sink;
use postroad_tests::udp_relay::UdpRelay;
use postroad_tests::wait;
use postroad_tests::world::{FROM, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// SIGTERM again and again while mail comes and goes: each message that was sent whole gets a reply, each that was acknowledged is
/// delivered, and, as nothing died, none twice.
#[test]
fn stopped_under_load() {
    const ROUNDS: usize = 5;
    let mut world = World::start();
    let load = Load::start(world.postroad.address(), FROM, "r@small.example", 4);
    for round in 0..ROUNDS {
        let enough = load.acknowledged() + 20 + round * 17;
        wait::until("more acknowledgements", || load.acknowledged() >= enough);
        let began = Instant::now();
        world.postroad.stop();
        println!("stopped in {:?}", began.elapsed());
        // After an orderly stop the tables have everything.
        std::fs::remove_file(world.postroad.data().join("spool/spool.intake")).unwrap();
        world.postroad.restart();
    }
    assert_eq!(load.unanswered(), 0);
    let (acknowledged, refusals) = load.finish();
    assert!(refusals.iter().all(|reply| reply.starts_with("421 4.3.2 ")), "{refusals:?}");
    world.postroad.wait_drained(wait::PATIENCE * 2);
    let mut arrivals: BTreeMap<String, usize> = BTreeMap::new();
    for message in world.sink.received() {
        *arrivals.entry(message.header("Message-ID").unwrap()).or_default() += 1;
    }
    let missing: Vec<&String> =
        acknowledged.iter().filter(|id| !arrivals.contains_key(&format!("<{id}@load.example>"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let twice: Vec<_> = arrivals.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// A client in the midst of its content may finish it; one that waits for nothing is told to go; nobody new is let in.
#[test]
fn stopped_before_the_dot() {
    let mut world = World::start();
    let mut idle = Session::open(world.postroad.address()).unwrap();
    let mut sending = Session::open(world.postroad.address()).unwrap();
    sending.command(&format!("MAIL FROM:<{FROM}>"), "250").unwrap();
    sending.command("RCPT TO:<r@small.example>", "250").unwrap();
    sending.command("DATA", "354").unwrap();
    sending.write(b"Subject: late\r\n\r\nfirst half\r\n").unwrap();
    world.postroad.process().signal("TERM");
    let began = Instant::now();
    idle.reply("421 4.3.2 ").unwrap();
    wait::until("it listens no longer", || TcpStream::connect(world.postroad.address()).is_err());
    sending.content(b"second half\r\n").unwrap();
    let reply = sending.reply("250 2.0.0 ").unwrap();
    let status = world.postroad.process().wait_end(STOP_WITHIN);
    assert!(status.success() && began.elapsed() < STOP_WITHIN, "{status} after {:?}", began.elapsed());
    assert!(reply.contains("1M"), "{reply}");
    world.postroad.restart();
    let arrived = world.sink.wait_for(1);
    assert_eq!(arrived[0].body(), b"first half\r\nsecond half\r\n");
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
}

/// A client that never gets to its dot does not keep it alive.
#[test]
fn a_client_that_does_not_end() {
    let mut postroad = Postroad::start(&Config::default());
    let mut sending = Session::open(postroad.address()).unwrap();
    sending.command(&format!("MAIL FROM:<{FROM}>"), "250").unwrap();
    sending.command(&format!("RCPT TO:<postmaster@{NAME}>"), "250").unwrap();
    sending.command("DATA", "354").unwrap();
    sending.write(b"Subject: never\r\n").unwrap();
    postroad.stop();
    postroad.restart();
    assert_eq!(postroad.queue(), Vec::<Value>::new());
}

/// The founding case, ended by its administrator: SmtpUseTcpDns from 0 to 2, in the running service.
#[test]
fn the_policy_is_changed_while_mail_waits() {
    const WITHIN: Duration = Duration::from_secs(3);
    for kind in [Kind::Unbound, Kind::Bind9] {
        let server = NameServer::start(kind);
        let relay = UdpRelay::start(server.address());
        let addresses: Vec<IpAddr> = big_hosts().iter().map(|host| host.address).collect();
        let sink = Sink::start(&addresses, &[]);
        let mut config = Config {
            policy: Some(0),
            dns: vec![relay.address()],
            remote_port: sink.port(),
            service: PATIENT.to_owned(),
            ..Config::default()
        };
        let mut postroad = Postroad::start(&config);
        let pid = postroad.json(&["status"])[0]["pid"].clone();
        let _ =
            Smtplib::new(postroad.address(), FROM).accepted(&["r@big.example"], b"Subject: large\r\n\r\n");
        postroad.wait_deferred("r@big.example");
        assert_eq!(postroad.wait_event(2012)["fields"]["transport"], "TCP");

        config.policy = Some(2);
        postroad.configure(&config);
        let began = Instant::now();
        postroad.reload();
        wait::within(WITHIN, "the message at a host", || (sink.count() == 1).then_some(()));
        println!("{kind:?}: delivered {:?} after SIGHUP", began.elapsed());
        postroad.wait_drained(wait::PATIENCE);
        let status = &postroad.json(&["status"])[0];
        assert_eq!((&status["pid"], &status["dns_policy"]), (&pid, &"udp-only".into()), "{status}");
        let read = postroad.wait_event(20012);
        assert!(read["fields"]["changes"].as_str().unwrap().contains("DNS"), "{read}");
        assert_eq!(postroad.json(&["events", "list", "--number", "20010"]).len(), 1, "it was started once");
    }
}

/// A configuration that is wrong changes nothing, and the event says where it is wrong; a right one ends that.
#[test]
fn a_broken_configuration_is_not_taken() {
    let mut config = Config { server: "MaxRecipients = 2".to_owned(), ..Config::default() };
    let mut postroad = Postroad::start(&config);
    let taken = |postroad: &Postroad| -> usize {
        let mut session = Session::open(postroad.address()).unwrap();
        session.command(&format!("MAIL FROM:<{FROM}>"), "250").unwrap();
        let rcpt = |number: usize| format!("RCPT TO:<r{number}@{NAME}>");
        (0..5).take_while(|&number| session.command(&rcpt(number), "250").is_ok()).count()
    };
    assert_eq!(taken(&postroad), 2);
    config.server = "MaxRecipients = \"many\"".to_owned();
    postroad.configure(&config);
    postroad.reload();
    let event = postroad.wait_event(20013);
    assert_eq!(event["severity"], "Error");
    let cause = event["fields"]["cause"].as_str().unwrap();
    assert!(cause.contains("MaxRecipients") && cause.contains("postroad.toml:"), "{event}");
    assert_eq!(taken(&postroad), 2);
    config.server = "MaxRecipients = 3".to_owned();
    postroad.configure(&config);
    postroad.reload();
    postroad.wait_event(30013);
    assert_eq!(taken(&postroad), 3);
}

#[test]
fn bindings_move() {
    let other = Port::free();
    let mut postroad = Postroad::start(&Config::default());
    let mut open = Session::open(postroad.address()).unwrap();
    let bind = |address| Config { server: format!("ServerBindings = [\"{address}:\"]"), ..Config::default() };
    postroad.configure(&bind(other.local()));
    postroad.reload();
    wait::until("it listens there", || Session::open(other.local()).is_ok());
    wait::until("it listens here no longer", || TcpStream::connect(postroad.address()).is_err());
    // Who was there may stay.
    open.command("NOOP", "250").unwrap();
    assert_eq!(postroad.json(&["status"])[0]["bindings"], serde_json::json!([other.local().to_string()]));
    // One that cannot be bound changes nothing.
    let taken = Port::free();
    let holder = TcpListener::bind(taken.local()).unwrap();
    postroad.configure(&bind(taken.local()));
    postroad.reload();
    let event = postroad.wait_event(115);
    assert!(event["text"].as_str().unwrap().contains(&taken.local().to_string()), "{event}");
    postroad.wait_event(20013);
    Session::open(other.local()).unwrap();
    drop(holder);
    postroad.reload();
    wait::until("it listens at the third", || Session::open(taken.local()).is_ok());
}

/// A port that someone else has: it does not start, says so, and leaves nothing behind that is in the way.
#[test]
fn an_occupied_port() {
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    let free = Port::free();
    let config = Config {
        server: format!("ServerBindings = [\"{}:\", \"{}:\"]", free.local(), postroad.address()),
        ..Config::default()
    };
    postroad.configure(&config);
    let holder = TcpListener::bind(postroad.address()).unwrap();
    let (status, said) = postroad.fail_to_start();
    assert_eq!(status, Some(69), "{said}");
    let address = postroad.address().to_string();
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    assert!(TcpStream::connect(free.local()).is_err());
    let events = postroad.events();
    let failed = events.iter().find(|event| event["number"] == 115).unwrap();
    assert_eq!(failed["fields"]["address"], address.as_str(), "{failed}");
    assert!(events.iter().all(|event| event["number"] != 20010), "it did not start: {events:?}");
    assert_eq!(postroad.verb(&["status"]).status, 69);
    assert_eq!(postroad.queue(), Vec::<Value>::new());
    drop(holder);
    postroad.restart();
    Session::open(free.local()).unwrap();
}

/// What waits, waits on after a restart, however it came about: with the same cause, after as many tries, and for the same time;
/// but for what waits for DNS, which is tried anew, since the configuration may have changed in between.
#[test]
fn a_restart_forgets_nothing() {
    let zone = "refused.example MX 10 refused.example\nrefused.example A 127.0.0.14";
    let dns = NameServer::start_with(Kind::Unbound, zone);
    let later = ["--rcpt-reply", "later@small.example=451 4.2.1 Later"];
    let sink = Sink::start(&[SMALL.into(), SENDER.into()], &later);
    let relay = UdpRelay::start(dns.address());
    let config = Config {
        policy: Some(0),
        dns: vec![relay.address()],
        remote_port: sink.port(),
        service: PATIENT.to_owned(),
        ..Config::default()
    };
    let mut postroad = Postroad::start(&config);
    let id = Smtplib::new(postroad.address(), FROM).accepted(&WAITING, b"Subject: x\r\n\r\n");
    let before = all_wait(&postroad);
    for ((cause, _), words) in before.iter().zip(["451 4.2.1 Later", "refused", "truncated"]) {
        assert!(cause["cause"].as_str().unwrap().contains(words), "{before:?}");
    }
    for end in [Postroad::stop, Postroad::kill] {
        end(&mut postroad);
        postroad.restart();
        let after = all_wait(&postroad);
        assert_eq!(after[..2], before[..2]);
        assert_eq!(after[2].0, before[2].0);
    }
    // And an administrator's word moves each of them, though the service has just come up.
    for which in ["--all", &id] {
        let before = all_wait(&postroad);
        assert_eq!(postroad.json(&["queue", "retry", which])[0]["done"], 1);
        wait::until(&format!("each was tried again by {which}"), || {
            all_wait(&postroad).iter().zip(&before).all(|(after, before)| after.1 != before.1)
        });
        postroad.stop();
        postroad.restart();
    }
}

const WAITING: [&str; 3] = ["later@small.example", "r@refused.example", "r@big.example"];

/// For each of `WAITING`, once it waits: what is known of it but its age and its next try; and that.
fn all_wait(postroad: &Postroad) -> Vec<(Value, Value)> {
    let told = WAITING.map(|recipient| {
        let mut row = postroad.wait_deferred(recipient);
        row["age_secs"].take();
        let next = row["next_try"].take();
        (row, next)
    });
    told.to_vec()
}
