//! What a restart finds.

use super::*;

#[test]
fn a_restart_goes_on() {
    // Fresh.
    check(
        |w| {
            w.mood("a", Mood::Hang);
            w.submit("s@x", "ok@a");
            w.restart(false);
            w.mood("a", Mood::Up);
            w.run(secs(1));
        },
        "ticket 1 is 1
         open a with 1/0
         started
         open a with 1/0
         taken 1/0
         rest a",
    );
    // Pending, its attempts counted.
    check(
        |w| {
            w.submit("s@x", "later2@a");
            w.minutes(17);
            w.restart(false);
            w.minutes(34);
        },
        "ticket 1 is 1
         open a with 1/0
         deferred 1/0 for ~15m
         rest a
         open a with 1/0
         deferred 1/0 for ~30m
         rest a
         started
         open a with 1/0
         taken 1/0
         rest a",
    );
    // A gate and its steps.
    check(
        |w| {
            w.mood("a", Mood::Down);
            w.submit("s@x", "ok@a");
            w.minutes(17);
            w.restart(false);
            w.submit("s@x", "ok@a");
            w.minutes(34);
            gates(w);
        },
        "ticket 1 is 1
         open a with 1/0
         gate a Host ~15m before 1
         open a with 1/0
         gate a Host ~30m before 1
         started
         ticket 2 is 2
         open a with 1/0
         gate a Host ~1h before 2",
    );
    // The commit of a message was under way: its client heard nothing, and it is there or not.
    for arrives in [true, false] {
        let mut world = World::new();
        world.disk = Disk::Held;
        world.submit("s@x", "ok@a");
        world.restart(arrives);
        world.run(secs(1));
        assert_eq!(world.taken.len(), usize::from(arrives));
        world.submit("s@x", "ok@a");
        world.run(secs(1));
        assert_eq!(world.taken.len(), usize::from(arrives) + 1);
    }
}

#[test]
fn a_message_for_a_hop_that_waits_for_one_recipient_survives_a_crash() {
    // The hop's row is due only when the deferred recipient is; the fresh message must not wait for that, nor for ever.
    let mut world = World::new();
    world.submit("s@x", "later1@a");
    world.minutes(10);
    world.mood("a", Mood::Hang);
    world.submit("s@x", "ok@a");
    world.restart(false);
    world.mood("a", Mood::Up);
    world.minutes(20);
    assert!(world.waiting().is_empty(), "{:?}", world.waiting());
    // Close to that time.
    let mut world = World::new();
    world.submit("s@x", "later1@a");
    world.run(secs(12 * 60 + 50));
    world.mood("a", Mood::Hang);
    world.submit("s@x", "ok@a");
    world.restart(false);
    world.mood("a", Mood::Up);
    world.minutes(20);
    assert!(world.waiting().is_empty(), "{:?}", world.waiting());
}

#[test]
fn the_next_pending_recipient_is_found_behind_one_in_flight() {
    // When the store was asked, the first was in flight and not settled there; nothing happens at the hop after it.
    let mut world = World::with(|settings| {
        settings.batch_max = 1;
        settings.retry = vec![secs(10)];
    });
    world.submit("s@x", "later1@a");
    world.run(secs(5));
    world.submit("s@x", "later1@a");
    world.run(secs(1));
    world.restart(false);
    world.run(secs(12));
    assert!(world.waiting().is_empty(), "{:?}", world.waiting());
}

#[test]
fn pending_recipients_are_found_at_a_hop_that_is_always_busy() {
    // Only the store knows when the deferred recipient is due, and the hop always has a message in flight.
    let mut world = World::with(|settings| settings.batch_max = u32::MAX);
    world.submit("s@x", "later1@a");
    world.run(secs(1));
    world.restart(false);
    world.mood("a", Mood::Slow);
    for _ in 0..60 * 60 {
        world.submit("s@x", "ok@a");
        world.run(Duration::from_millis(500));
        world.mood("a", Mood::Up);
        world.submit("s@x", "ok@a");
        world.mood("a", Mood::Slow);
        world.run(Duration::from_millis(500));
    }
    assert!(world.taken.contains_key(&(1, 0)), "an hour later it was not tried");
}

#[test]
fn a_crash_keeps_nothing_waiting_for_what_is_due_later() {
    // Deferred anew, the first is due much later than the second, of which only the store knows.
    let mut world = World::with(|settings| settings.retry = vec![secs(600), secs(14_400)]);
    world.submit("s@x", "later@a");
    world.minutes(3);
    world.submit("s@x", "later1@a");
    while !world.trace.iter().any(|line| line == "deferred 1/0 for ~4h") {
        world.run(Duration::from_millis(100));
    }
    world.restart(false);
    world.minutes(10);
    assert_eq!(world.taken.keys().copied().collect::<Vec<_>>(), [(2, 0)]);
}
