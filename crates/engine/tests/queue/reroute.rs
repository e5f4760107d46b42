//! Mail that waits when the route changes.

use super::*;
use postroad_metabase::settings::Settings;
use postroad_spool::record::Loaded;
use postroad_spool::{Store, record::JournalEntry};

fn to_relay(settings: &mut Settings) {
    settings.smart_host = Some(("relay.example".parse().unwrap(), 25));
}

fn no_relay(settings: &mut Settings) {
    settings.smart_host = None;
}

/// Hops at which something waits.
fn hops(w: &mut World) -> Vec<String> {
    w.rows().iter().map(|row| row.hop.to_string()).collect()
}

fn journal(w: &mut World, number: usize) -> Vec<JournalEntry> {
    let load = Load::JournalOfMessage { id: w.id(number), limit: 100 };
    let Ok(Loaded::Journal(entries)) = w.store.load(&load) else { panic!("no journal") };
    entries
}

#[test]
fn what_waits_follows_the_route_and_back() {
    check(
        |w| {
            w.mood("a", Mood::Down);
            w.mood("relay", Mood::Down);
            w.submit("s@x", "ok@a ok@drop");
            gates(w);
            w.new_settings(to_relay);
            w.run(secs(1));
            gates(w);
            assert_eq!(hops(w), ["smart:relay.example:25"]);
            assert!(w.queue.hop(&hop("a")).is_none(), "the gate is gone with what waited there");
            w.new_settings(no_relay);
            w.run(secs(1));
            gates(w);
            assert_eq!(hops(w), ["mx:a.example"]);
            w.mood("relay", Mood::Up);
            w.new_settings(to_relay);
            w.run(secs(1));
            assert!(w.rows().is_empty());
            let told: Vec<_> =
                journal(w, 1).into_iter().filter(|entry| entry.body.contains("rerouted")).collect();
            assert_eq!(told.len(), 3);
            assert_eq!(told[0].hop, hop("relay"));
            assert_eq!(told[0].body, r#"{"what":"rerouted","to":["ok@a.example"],"from":"mx:a.example"}"#);
        },
        "ticket 1 is 1
         open a with 1/0
         open drop with 1/1
         gate a Host ~15m before 1
         taken 1/1
         rest drop
         close drop
         recovered a
         open relay with 1/0
         gate relay Host ~15m before 1
         recovered relay
         open a with 1/0
         gate a Host ~15m before 1
         recovered a
         open relay with 1/0
         taken 1/0
         rest relay",
    );
}

#[test]
fn a_route_that_was_changed_at_rest_is_followed() {
    for commit_arrives in [false, true] {
        let mut world = World::new();
        world.mood("a", Mood::Down);
        world.submit("s@x", "ok@a");
        world.submit("s@x", "later1@b ok@a");
        world.run(secs(1));
        to_relay(&mut world.settings);
        world.restart(commit_arrives);
        world.run(secs(1));
        assert!(world.rows().is_empty(), "what b has greylisted is not kept waiting for b");
        assert_eq!(world.taken.len(), 3);
    }
}

#[test]
fn what_is_in_flight_is_left_to_its_attempt() {
    // It is taken.
    let mut world = World::new();
    world.mood("a", Mood::Slow);
    world.submit("s@x", "ok@a");
    world.new_settings(to_relay);
    world.run(secs(5));
    assert_eq!(hops(&mut world), ["mx:a.example"]);
    world.mood("a", Mood::Up);
    world.run(secs(5));
    assert!(world.rows().is_empty());
    assert!(!world.trace.iter().any(|line| line.contains("relay")), "{:?}", world.trace);
    // Its host defers it, or cannot be talked to after all: it goes by the other way at once.
    for (to, mood) in
        [("later1@a", Mood::Up), ("ok@a", Mood::Down), ("ok@a", Mood::Drop), ("ok@a", Mood::NoDns)]
    {
        let mut world = World::new();
        world.mood("a", Mood::Hang);
        world.submit("s@x", to);
        world.new_settings(to_relay);
        world.mood("a", mood);
        world.run(secs(1));
        assert!(world.rows().is_empty(), "{mood:?} {:?}", world.trace);
        assert!(world.trace.iter().any(|line| line.starts_with("open relay")), "{mood:?} {:?}", world.trace);
    }
}

#[test]
fn what_is_ready_behind_it_is_not() {
    let mut world = World::new();
    world.mood("a", Mood::Hang);
    world.submit("s@x", "ok@a");
    world.submit("s@x", "ok@a");
    world.trace.clear();
    world.new_settings(to_relay);
    world.run(secs(1));
    assert_eq!(world.trace, ["open relay with 2/0", "taken 2/0", "rest relay"]);
}

#[test]
fn a_draft_under_the_route_of_before_follows_that_of_now() {
    let mut world = World::new();
    let content = Content::Memory(Arc::new(b"Subject: x\r\n\r\n".to_vec()));
    let draft = world.draft("s@x", "ok@a ok@drop", content);
    world.new_settings(to_relay);
    world.trace.clear();
    world.queue.handle(world.now, QueueInput::DataOpened);
    world.tell(QueueInput::Submit { ticket: Ticket(1), draft });
    world.run(secs(1));
    world.trace.sort();
    let expected = [
        "open drop with 1/1",
        "open relay with 1/0",
        "rest drop",
        "rest relay",
        "taken 1/0",
        "taken 1/1",
        "ticket 1 is 1",
    ];
    assert_eq!(world.trace, expected);
}

#[test]
fn a_domain_becomes_ours_and_is_ours_no_more() {
    let c_is_ours = |settings: &mut Settings| settings.default_domain = "c.example".parse().unwrap();
    for smart in [false, true] {
        let mut world = World::with(|settings| {
            if smart {
                to_relay(settings)
            }
        });
        for word in ["c", "relay", "a", "drop", "badmail", "x"] {
            world.mood(word, Mood::Down);
        }
        world.submit("s@x", "ok@c ok@a ok@drop");
        let remote =
            if smart { vec!["smart:relay.example:25"] } else { vec!["mx:a.example", "mx:c.example"] };
        let all = [vec!["drop:"], remote].concat();
        assert_eq!(hops(&mut world), all);
        world.new_settings(c_is_ours);
        world.run(secs(1));
        assert_eq!(world.rows()[0].waiting, 2);
        assert_eq!(hops(&mut world), &all[..2]);
        // At rest.
        world.settings.default_domain = "mail.example".parse().unwrap();
        world.restart(false);
        world.run(secs(1));
        assert_eq!(world.rows()[0].waiting, 1, "{:?}", world.rows());
        assert_eq!(hops(&mut world), all);
    }
    // What is Badmail stays.
    let mut world = World::new();
    world.mood("badmail", Mood::Down);
    world.submit("", "no@a");
    world.new_settings(to_relay);
    world.run(secs(1));
    assert_eq!(hops(&mut world), ["badmail:"]);
}

#[test]
fn a_backlog_follows_page_by_page_and_mail_comes_in_meanwhile() {
    const MESSAGES: usize = 1000;
    let mut world = World::new();
    world.counts = false;
    world.mood("a", Mood::Down);
    world.mood("relay", Mood::Down);
    (0..MESSAGES).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(1));
    world.commits.clear();
    world.disk = Disk::Held;
    world.new_settings(to_relay);
    let mut steps = 0;
    let mut came = None;
    while hops(&mut world) != ["smart:relay.example:25"] {
        if steps == 10 {
            world.submit("s@x", "ok@drop");
        }
        let looks = world.asked.iter().filter(
            |one| matches!(one, QueueOutput::Load(_, Load::Old { hop, .. }) if *hop == super::hop("a")),
        );
        assert!(looks.count() <= 1, "a page at a time");
        world.disk = Disk::Works;
        if !world.asked.is_empty() {
            world.answer_once();
        }
        world.disk = Disk::Held;
        world.run(Duration::from_millis(10));
        came = came.or_else(|| world.trace.iter().any(|line| line == "ticket 1001 is 1001").then_some(steps));
        steps += 1;
        assert!(steps < 500, "{:?}", world.rows());
    }
    assert!(came.is_some_and(|at| at < 20), "{came:?}: it waits for a page, not for the backlog");
    let largest = world.commits.iter().map(|(_, words)| words.matches("divide").count()).max();
    assert_eq!(largest, Some(100));
    world.disk = Disk::Works;
    world.mood("relay", Mood::Up);
    world.admin(AdminRequest::Retry(Selection::All));
    world.minutes(20);
    assert!(world.rows().is_empty() && world.stored().is_empty());
    assert_eq!(world.taken.len(), MESSAGES + 1);
    assert!(world.taken.values().all(|times| *times == 1));
}

#[test]
fn a_start_under_the_same_route_looks_at_no_message() {
    let mut world = World::with(to_relay);
    world.mood("relay", Mood::Down);
    world.mood("drop", Mood::Down);
    (0..300).for_each(|_| world.submit("s@x", "ok@a ok@drop"));
    world.run(secs(1));
    for _ in 0..2 {
        let loads = world.loads;
        world.restart(false);
        world.run(secs(1));
        assert!(world.loads - loads <= 3, "the totals, hops that are due, and hops");
    }
}

#[test]
fn a_store_that_fails_amid_a_walk_stops_none_of_it() {
    for keeps in [false, true] {
        let mut world = World::new();
        world.mood("a", Mood::Down);
        (0..250).for_each(|_| world.submit("s@x", "ok@a"));
        world.run(secs(1));
        world.disk = Disk::Held;
        world.new_settings(to_relay);
        world.disk = Disk::Works;
        world.answer_once();
        world.answer_once();
        world.keeps = keeps;
        world.disk = Disk::Fails { full: false };
        world.run(secs(1));
        world.store_up();
        world.run(secs(5));
        assert!(world.rows().is_empty(), "{:?}", world.rows());
        assert!(world.taken.values().all(|times| *times == 1));
        assert_eq!(world.taken.len(), 250);
    }
}

#[test]
fn a_walk_ends_where_another_route_begins_and_all_follows_the_last() {
    let mut world = World::new();
    world.mood("a", Mood::Down);
    world.mood("relay", Mood::Down);
    (0..250).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(1));
    for steps in 0..12 {
        world.disk = Disk::Held;
        world.new_settings(to_relay);
        for _ in 0..steps {
            world.disk = Disk::Works;
            if !world.asked.is_empty() {
                world.answer_once();
            }
            world.disk = Disk::Held;
            world.run(Duration::from_millis(10));
        }
        world.new_settings(no_relay);
        world.disk = Disk::Works;
        world.run(secs(5));
        assert_eq!(hops(&mut world), ["mx:a.example"], "after {steps} steps");
    }
}

#[test]
fn a_wait_for_dns_counts_nowhere_towards_expiry() {
    let mut world = World::new();
    world.mood("a", Mood::NoDns);
    world.submit("s@x", "later1@a");
    world.minutes(6 * 24 * 60);
    world.new_settings(to_relay);
    world.minutes(20);
    assert!(world.failed.is_empty() && world.rows().is_empty());
    assert_eq!(world.taken.len(), 1);
}

#[test]
fn what_came_under_a_route_that_was_left_again_follows_too() {
    // Beside what was there before it, of which all is led there.
    let local = |domain: &str| {
        let domain = domain.parse().unwrap();
        move |settings: &mut Settings| {
            to_relay(settings);
            settings.default_domain = domain;
        }
    };
    let mut world = World::with(local("c.example"));
    world.mood("relay", Mood::Down);
    world.submit("s@x", "ok@a");
    world.run(secs(1));
    // The walk has not come to the smart host when mail is accepted for it.
    world.disk = Disk::Held;
    world.new_settings(local("mail.example"));
    world.submit("s@x", "ok@c");
    for _ in 0..2 {
        world.disk = Disk::Works;
        world.answer_once();
        world.disk = Disk::Held;
    }
    assert_eq!(world.waiting().len(), 2);
    world.new_settings(local("c.example"));
    world.disk = Disk::Works;
    world.run(secs(5));
    assert_eq!(world.taken.keys().copied().collect::<Vec<_>>(), [(2, 0)]);
}
