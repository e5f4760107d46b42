//! Hops that cannot be used wait as one.

use super::*;

#[test]
fn a_hop_that_cannot_be_used_waits_as_one() {
    // The progressive schedule. The gate holds for all; one attempt looks again; its success opens it for all.
    check(
        |w| {
            w.mood("a", Mood::Down);
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
            w.run(secs(1));
            assert_eq!(w.held(), 0, "what waits at a gate is in the store alone");
            w.minutes(16 + 33);
            assert_eq!(w.held(), 0);
            w.mood("a", Mood::Up);
            w.minutes(66);
            assert!(w.rows().is_empty());
        },
        "ticket 1 is 1
         open a with 1/0
         deferred 1/0 for ~15m
         gate a Host ~15m before 1
         ticket 2 is 2
         deferred 2/0 for ~15m
         open a with 1/0
         deferred 1/0 for ~30m
         gate a Host ~30m before 2
         open a with 1/0
         deferred 1/0 for ~1h
         gate a Host ~1h before 2
         open a with 1/0
         recovered a
         taken 1/0
         give a 2/0
         taken 2/0
         rest a",
    );
    // The DNS schedule, and it does not move the progressive one.
    check(
        |w| {
            w.mood("a", Mood::NoDns);
            w.submit("s@x", "ok@a");
            (0..5).for_each(|_| next_gate(w));
            w.mood("a", Mood::Down);
            next_gate(w);
            w.mood("a", Mood::NoDns);
            next_gate(w);
            next_gate(w);
            w.mood("a", Mood::Down);
            next_gate(w);
            gates(w);
        },
        "ticket 1 is 1
         open a with 1/0
         gate a Dns ~30s before 1
         open a with 1/0
         gate a Dns ~1m before 1
         open a with 1/0
         gate a Dns ~2m before 1
         open a with 1/0
         gate a Dns ~5m before 1
         open a with 1/0
         gate a Dns ~15m before 1
         open a with 1/0
         gate a Dns ~15m before 1
         open a with 1/0
         gate a Host ~15m before 1
         open a with 1/0
         gate a Dns ~30s before 1
         open a with 1/0
         gate a Dns ~1m before 1
         open a with 1/0
         gate a Host ~30m before 1",
    );
}

#[test]
fn dns_that_works_again_opens_its_gates_at_once() {
    check(
        |w| {
            w.mood("a", Mood::NoDns);
            w.mood("b", Mood::Down);
            w.submit("s@x", "ok@a ok@b");
            w.minutes(3);
            w.trace.clear();
            w.mood("a", Mood::Up);
            w.tell(QueueInput::DnsReleased);
            w.run(secs(1));
        },
        "open a with 1/0
         recovered a
         taken 1/0
         rest a",
    );
    // The gate's closing is not on disk yet.
    check(
        |w| {
            w.mood("a", Mood::NoDns);
            w.submit("s@x", "ok@a");
            w.mood("a", Mood::Up);
            w.tell(QueueInput::DnsReleased);
            gates(w);
        },
        "ticket 1 is 1
         open a with 1/0
         gate a Dns ~30s before 1
         open a with 1/0
         recovered a
         taken 1/0
         rest a",
    );
    // A question that was asked under other settings ends after they are gone.
    check(
        |w| {
            w.mood("a", Mood::Hang);
            w.submit("s@x", "ok@a");
            w.new_settings(|_| {});
            w.steps("a", Mood::NoDns, 1);
            w.mood("a", Mood::Up);
            w.run(secs(1));
        },
        "ticket 1 is 1
         open a with 1/0
         deferred 1/0 for ~30s
         gate a Dns ~30s before 1
         open a with 1/0
         recovered a
         taken 1/0
         rest a",
    );
    // A gate that was opened early keeps its place in the schedule.
    check(
        |w| {
            w.mood("a", Mood::NoDns);
            w.submit("s@x", "ok@a");
            w.run(secs(1));
            w.tell(QueueInput::DnsReleased);
            gates(w);
        },
        "ticket 1 is 1
         open a with 1/0
         gate a Dns ~30s before 1
         open a with 1/0
         gate a Dns ~1m before 1",
    );
}

#[test]
fn a_hop_that_opens_lets_all_through() {
    let mut world = World::new();
    world.mood("a", Mood::Down);
    for _ in 0..300 {
        world.submit("s@x", "ok@a");
    }
    world.minutes(1);
    assert_eq!((world.held(), world.connections()), (0, 0));
    world.mood("a", Mood::Hang);
    world.minutes(20);
    assert_eq!(world.connections(), 1, "a single attempt looks");
    assert!(world.held() <= 2, "the message it has, and the next one");
    world.mood("a", Mood::Up);
    world.minutes(1);
    assert_eq!(world.taken.len(), 300);
    assert!(world.taken.values().all(|times| *times == 1) && world.rows().is_empty());
}

#[test]
fn a_page_that_was_asked_before_a_gate_closed_says_nothing_about_after() {
    let mut world = World::with(|settings| {
        settings.out_connections_per_domain_max = 1;
        settings.batch_max = u32::MAX;
    });
    world.mood("a", Mood::Down);
    (0..400).for_each(|_| world.submit("s@x", "ok@a"));
    world.minutes(1);
    world.mood("a", Mood::Slow);
    world.minutes(16);
    // The message that is being tried gets through, and with the gate open the first page is read.
    world.steps("a", Mood::Up, 2);
    while !world.asked.is_empty() {
        world.answer_once();
    }
    // A part of it is delivered, and the second page asked for; then the hop fails, and the store with it, for longer than
    // the gate is closed.
    world.disk = Disk::Held;
    world.steps("a", Mood::Up, 2 * 60);
    world.steps("a", Mood::Down, 1);
    assert!(
        world.asked.iter().any(|one| matches!(one, QueueOutput::Load(_, Load::Fresh { after: Some(_), .. })))
    );
    world.disk = Disk::Fails { full: false };
    world.minutes(20);
    world.mood("a", Mood::Up);
    world.store_up();
    world.minutes(120);
    assert!(world.waiting().is_empty(), "{} wait", world.waiting().len());
    assert!(world.taken.values().all(|times| *times == 1));
}

#[test]
fn a_host_that_greets_and_answers_no_more_climbs_the_schedule() {
    let mut world = World::new();
    world.mood("a", Mood::Down);
    world.submit("s@x", "ok@a");
    world.minutes(1);
    let step = |world: &mut World| world.rows().first().map(|row| row.state.host_failures);
    assert_eq!(step(&mut world), Some(1));
    world.mood("a", Mood::Greets);
    world.minutes(20);
    assert_eq!(step(&mut world), Some(2), "a greeting alone opens no gate");
    world.mood("a", Mood::Up);
    world.minutes(40);
    assert!(world.waiting().is_empty());
}

#[test]
fn a_hop_is_looked_at_few_times() {
    // What waits costs nothing while it waits, and a retry costs a few questions.
    let mut world = World::new();
    world.submit("s@x", "later@a");
    world.mood("b", Mood::Down);
    world.submit("s@x", "ok@b");
    world.run(secs(1));
    let before = world.loads;
    world.minutes(24 * 60);
    let horizons = 24 * 60 * 2;
    let more = world.loads - before - horizons;
    assert!(more < 40 * 8, "{more} questions for some 20 retries");
}

#[test]
fn a_message_to_which_a_host_hangs_up_holds_up_no_other_mail_for_long() {
    // The gate closes, for it may be the host; but another message looks next.
    check(
        |w| {
            w.submit("s@x", "kills@a");
            (0..2).for_each(|_| w.submit("s@x", "ok@a"));
            w.minutes(18);
            gates(w);
            assert_eq!(w.waiting().len(), 1);
            let row = w.rows().remove(0);
            assert!(row.state.gate.is_some() && row.state.host_failures == 1, "{row:?}");
        },
        "ticket 1 is 1
         open a with 1/0
         gate a Host ~15m before 1
         ticket 2 is 2
         ticket 3 is 3
         open a with 2/0
         recovered a
         taken 2/0
         give a 3/0
         taken 3/0
         rest a
         open a with 1/0
         gate a Host ~15m before 1",
    );
    // While other connections work it waits alone.
    let mut world = World::new();
    world.mood("a", Mood::Slow);
    (0..2).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(1));
    assert_eq!(world.connections(), 2);
    world.submit("s@x", "kills@a");
    (0..2).for_each(|_| world.submit("s@x", "ok@a"));
    world.mood("a", Mood::Up);
    world.run(secs(10));
    assert_eq!(world.taken.len(), 4);
    assert!(!world.trace.iter().any(|line| line.starts_with("gate")), "{:?}", world.trace);
    world.minutes(13);
    world.trace.clear();
    world.minutes(5);
    assert!(world.trace.iter().any(|line| line == "open a with 3/0"), "{:?}", world.trace);
}
