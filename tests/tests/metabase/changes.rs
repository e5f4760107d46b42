//! Changes that a running service takes: listeners that move, and changes that undo themselves.

use crate::{changed, done, generation, raw, refused, state};
use postroad_tests::load::Session;
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, NAME, Postroad};
use postroad_tests::wait;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_listener_moves_alone() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let pid = postroad.process().id();
    let (old, new) = (postroad.address(), Port::free());
    let mut open = Session::open(old).unwrap();
    open.command("MAIL FROM:<s@sender.example>", "250").unwrap();
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &format!("{}:", new.local())]);
    // The verb has ended: it listens there.
    let mut moved = Session::open(new.local()).unwrap();
    wait::within(Duration::from_secs(2), "the old port refuses", || TcpStream::connect(old).err());
    open.command(&format!("RCPT TO:<r@{NAME}>"), "250").unwrap();
    open.data(b"Subject: begun before\r\n\r\n", "250").unwrap();
    open.message("s@sender.example", &format!("r@{NAME}"), b"Subject: another\r\n\r\n").unwrap();
    moved.message("s@sender.example", &format!("r@{NAME}"), b"Subject: at the new\r\n\r\n").unwrap();
    let status = postroad.json(&["status"]).remove(0);
    assert_eq!(status["bindings"], serde_json::json!([new.local().to_string()]));
    assert_eq!(status["pid"], pid);
}

/// An address and the wildcards that hold it have one port between them: the first move after a fresh install.
#[test]
fn a_listener_widens_and_narrows_on_its_port() {
    let postroad = Postroad::start_stored(&Config::default());
    let own = postroad.address();
    let beside = SocketAddr::from(([127, 0, 0, 2], own.port()));
    let mut open = Session::open(own).unwrap();
    let (narrow, wide, both) =
        (format!("{own}:"), format!(":{}:", own.port()), format!("[::]:{}:", own.port()));
    // Each to each.
    for binding in [&wide, &both, &narrow, &both, &wide, &narrow] {
        done(&postroad, &["set", "smtpsvc/1", "ServerBindings", binding, "--dry-run"]);
        changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", binding]);
        Session::open(own).unwrap();
        if binding == &narrow {
            wait::within(SLACK, "the wildcard is closed", || TcpStream::connect(beside).err());
        } else {
            Session::open(beside).unwrap();
        }
    }
    open.message("s@sender.example", &format!("r@{NAME}"), b"Subject: all the while\r\n\r\n").unwrap();
    // One that undoes itself comes back as well.
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &wide, "--confirm", "1s"]);
    Session::open(beside).unwrap();
    wait::within(SLACK, "the undo", || TcpStream::connect(beside).err());
    Session::open(own).unwrap();
    // Another's listener is in the way as ever, and ours stays.
    let holder = TcpListener::bind(beside).unwrap();
    for binding in [&wide, &both] {
        refused(&postroad, &["set", "smtpsvc/1", "ServerBindings", binding], &[1]);
        Session::open(own).unwrap();
    }
    drop(holder);
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &wide]);
    TcpListener::bind(own).unwrap_err();
}

#[test]
fn a_silent_session_hears_of_a_change() {
    let postroad = Postroad::start_stored(&Config::default());
    let mut session = Session::open(postroad.address()).unwrap();
    session.message("s@sender.example", &format!("r@{NAME}"), b"Subject: before\r\n\r\n").unwrap();
    changed(&postroad, &["set", "smtpsvc/1", "RelayIpList", "192.0.2.0/24"]);
    // In one write, so that nothing was read since.
    session.write(b"MAIL FROM:<s@sender.example>\r\nRCPT TO:<r@elsewhere.example>\r\n").unwrap();
    session.reply("250 2.1.0 ").unwrap();
    session.reply("550 5.7.1 ").unwrap();
}

#[test]
fn a_port_in_use_is_refused() {
    let postroad = Postroad::start_stored(&Config::default());
    let (taken, free) = (Port::free(), Port::free());
    let holder = TcpListener::bind(taken.local()).unwrap();
    let binding = format!("{}:", taken.local());
    // With a free one before it, that must not stay bound.
    let first = format!("{}:", free.local());
    for bindings in [vec![binding.as_str()], vec![first.as_str(), binding.as_str()]] {
        let args = [vec!["set", "smtpsvc/1", "ServerBindings"], bindings].concat();
        let verb = refused(&postroad, &args, &[1]);
        assert!(verb.stderr.contains(&taken.local().to_string()), "{verb:?}");
        Session::open(postroad.address()).unwrap();
        wait::until("the free port is given back", || TcpStream::connect(free.local()).is_err());
    }
    let event = postroad.wait_event(115);
    assert_eq!(event["fields"]["address"], taken.local().to_string(), "{event}");
    drop(holder);
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &binding]);
    Session::open(taken.local()).unwrap();
}

#[test]
fn each_session_and_attempt_tells_its_generation() {
    let postroad = Postroad::start_stored(&Config::default());
    let mut session = Session::open(postroad.address()).unwrap();
    // One session, and a change between its messages.
    for _ in 0..2 {
        changed(&postroad, &["set", "smtpsvc/1", "HopCount", "50"]);
        let generation = generation(&postroad);
        let to = format!("r@{NAME}");
        let said = session.message("s@sender.example", &to, b"Subject: hello\r\n\r\n").unwrap();
        let id = said.split_whitespace().last().unwrap();
        for word in ["accepted", "delivered"] {
            let line = wait::within(SLACK, &format!("{word} {id}"), || {
                let log = postroad.log();
                let lines = log.lines().filter_map(|line| serde_json::from_str(line).ok());
                let mut lines =
                    lines.filter(|line: &serde_json::Value| line["id"] == id && line["log"] == word);
                lines.next()
            });
            assert_eq!(line["generation"], generation.to_string(), "{line}");
        }
        let story = postroad.verb(&["explain", id]).stdout;
        assert!(story.contains(&format!("settings of generation {generation}")), "{story}");
        changed(&postroad, &["set", "smtpsvc/1", "HopCount", "60"]);
    }
}

/// How long after its time an undo may come.
const SLACK: Duration = Duration::from_secs(5);

#[test]
fn a_change_undoes_itself() {
    let postroad = Postroad::start_stored(&Config::default());
    let new = Port::free();
    let (hops, old) =
        (raw(&postroad, "smtpsvc/1", "HopCount"), raw(&postroad, "smtpsvc/1", "ServerBindings"));
    let toml = format!(
        "[\"/LM/SmtpSvc/1\"]\nHopCount = 33\nSmartHost = \"[192.0.2.1]\"\nServerBindings = [\"{}:\"]\n",
        new.local()
    );
    let file = crate::file(&postroad, "a.toml", toml);
    let asked = Instant::now();
    let report = changed(&postroad, &["apply", &file, "--confirm", "2s"]);
    assert!(report["confirm_until"].is_u64(), "{report}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "33");
    Session::open(new.local()).unwrap();
    // Meanwhile another that waits is refused; it undoes nothing.
    let verb = refused(&postroad, &["set", "smtpsvc/1", "MaxRecipients", "7", "--confirm", "2s"], &[1]);
    assert!(verb.stderr.contains("confirm"), "{verb:?}");
    wait::within(SLACK, "the undo", || (raw(&postroad, "smtpsvc/1", "HopCount") == hops).then_some(()));
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(raw(&postroad, "smtpsvc/1", "ServerBindings"), old);
    assert_eq!(postroad.verb(&["meta", "get", "smtpsvc/1", "SmartHost", "--raw"]).status, 1);
    Session::open(postroad.address()).unwrap();
    wait::within(SLACK, "the other port refuses", || TcpStream::connect(new.local()).err());
    let undo = postroad.json(&["meta", "log", "--limit", "1"]).remove(0);
    assert!(undo["reason"].as_str().unwrap().contains("not confirmed in time"), "{undo}");
    // There is nothing left to confirm, and the next one may wait.
    assert_eq!(postroad.verb(&["meta", "confirm"]).status, 1);
    changed(&postroad, &["set", "smtpsvc/1", "MaxRecipients", "7", "--confirm", "1h"]);
}

#[test]
fn it_undoes_itself_though_the_service_was_killed() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let hops = raw(&postroad, "smtpsvc/1", "HopCount");
    // Restarted after the time, and before it.
    for pause in [Duration::from_millis(2500), Duration::ZERO] {
        let report = changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33", "--confirm", "2s"]);
        postroad.kill();
        std::thread::sleep(pause);
        postroad.restart();
        if pause > Duration::from_secs(2) {
            assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), hops, "no moment of the undone change");
        }
        wait::within(SLACK, "the undo", || (raw(&postroad, "smtpsvc/1", "HopCount") == hops).then_some(()));
        assert_eq!(generation(&postroad), report["generation"].as_u64().unwrap() + 1, "undone once");
    }
}

/// The one that locks people out: nobody reaches the new binding. After its time the old one is there, without anybody.
#[test]
fn a_binding_comes_back_though_the_service_was_killed() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let new = format!("{}:", Port::free().local());
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &new, "--confirm", "2s"]);
    postroad.kill();
    std::thread::sleep(Duration::from_millis(2500));
    // Which waits for the greeting at the old one.
    postroad.restart();
    assert_eq!(
        postroad.json(&["status"])[0]["bindings"],
        serde_json::json!([postroad.address().to_string()])
    );
}

#[test]
fn a_change_of_a_store_at_rest_undoes_itself() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let hops = raw(&postroad, "smtpsvc/1", "HopCount");
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33", "--confirm", "2s"]);
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "33");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), hops);
    // And one that is confirmed stays.
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "34", "--confirm", "2s"]);
    assert_eq!(postroad.verb(&["meta", "confirm"]).status, 0);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "34");
}

/// Several administrators look at the same generation: one of them changes it, the others are told.
#[test]
fn of_many_that_saw_the_same_one_wins() {
    let postroad = Postroad::start_stored(&Config::default());
    for round in 0..5 {
        let seen = generation(&postroad);
        let statuses: Vec<i32> = std::thread::scope(|scope| {
            let verbs: Vec<_> = (0..6)
                .map(|number| {
                    let (postroad, hops, seen) =
                        (&postroad, (10 + round * 10 + number).to_string(), seen.to_string());
                    scope.spawn(move || {
                        let args = ["meta", "set", "smtpsvc/1", "HopCount", &hops, "--if-generation", &seen];
                        postroad.verb(&args).status
                    })
                })
                .collect();
            verbs.into_iter().map(|verb| verb.join().unwrap()).collect()
        });
        let won: Vec<usize> = (0..statuses.len()).filter(|&number| statuses[number] == 0).collect();
        assert_eq!(won.len(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [0, 1].contains(status)), "{statuses:?}");
        assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), (10 + round * 10 + won[0]).to_string());
        assert_eq!(generation(&postroad), seen + 1);
    }
}

#[test]
fn any_point_of_the_history_comes_back() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let mut states = vec![state(&postroad)];
    for (property, value) in [("HopCount", "33"), ("SmartHost", "[192.0.2.1]"), ("HopCount", "34")] {
        changed(&postroad, &["set", "smtpsvc/1", property, value, "--reason", "a step"]);
        states.push(state(&postroad));
    }
    changed(&postroad, &["unset", "smtpsvc/1", "SmartHost"]);
    postroad.kill();
    postroad.restart();
    for wanted in states.iter().rev() {
        changed(&postroad, &["rollback", &wanted.generation.to_string()]);
        assert_eq!(state(&postroad).export, wanted.export, "{}", wanted.generation);
    }
    let log = postroad.json(&["meta", "log", "--limit", "100"]);
    assert_eq!(log.iter().filter(|row| row["reason"] == "a step").count(), 3, "{log:?}");
    refused(&postroad, &["rollback", "4711"], &[1]);
}

#[test]
fn confirmed_it_stays() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let report = changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33", "--confirm", "1s"]);
    let confirmed = postroad.json(&["meta", "confirm"]).remove(0);
    assert_eq!(confirmed["confirmed"], report["generation"], "{confirmed}");
    postroad.kill();
    std::thread::sleep(Duration::from_millis(1500));
    postroad.restart();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "33");
    assert_eq!(generation(&postroad), report["generation"].as_u64().unwrap());
}

/// A binding that nobody reaches need not be waited for: who notices takes it back, and the old one is there.
#[test]
fn a_binding_that_waits_is_taken_back_at_once() {
    let postroad = Postroad::start_stored(&Config::default());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let used = format!("{}:", taken.local_addr().unwrap());
    for flags in [&["--dry-run"][..], &[]] {
        let args = [&["set", "smtpsvc/1", "ServerBindings", &used], flags].concat();
        assert!(refused(&postroad, &args, &[1]).stderr.contains("cannot be bound"));
    }
    let new = Port::free();
    changed(
        &postroad,
        &["set", "smtpsvc/1", "ServerBindings", &format!("{}:", new.local()), "--confirm", "1h"],
    );
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33"]);
    Session::open(new.local()).unwrap();
    changed(&postroad, &["rollback"]);
    Session::open(postroad.address()).unwrap();
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "33");
    assert_eq!(postroad.verb(&["meta", "confirm"]).status, 1);
}

#[test]
fn a_store_at_rest_tells_the_messages_that_are_reached() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let mut session = Session::open(postroad.address()).unwrap();
    session.message("s@sender.example", "r@far.example", b"Subject: waits\r\n\r\n").unwrap();
    postroad.stop();
    for (property, value, messages) in [("SmtpUseTcpDns", "2", 1), ("MaxRecipients", "7", 0)] {
        let report = postroad.json(&["meta", "set", "smtpsvc/1", property, value, "--dry-run"]).remove(0);
        assert_eq!(report["reach"]["messages"], messages, "{property}: {report}");
    }
}
