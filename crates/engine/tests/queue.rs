//! The queue at its boundary: stories, and what comes of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod world;

use postroad_engine::queue::{AdminRequest, QueueInput, READY_MAX, Selection, Ticket};
use postroad_spool::record::Content;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::{Disk, Fate, Mood, World, hop};

/// Plays a story and compares what happened, line by line.
fn check(story: impl FnOnce(&mut World), expected: &str) {
    check_in(World::new(), story, expected);
}

fn check_in(mut world: World, story: impl FnOnce(&mut World), expected: &str) {
    world.trace.clear();
    story(&mut world);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert!(
        world.trace == expected,
        "\n{}\n\nwas expected to be\n\n{}\n",
        world.trace.join("\n"),
        expected.join("\n")
    );
}

/// Plays a story and compares what was written, and when, in microseconds.
fn check_commits(story: impl FnOnce(&mut World), expected: &[(u64, &str)]) {
    let mut world = World::new();
    story(&mut world);
    let commits: Vec<(u64, &str)> =
        world.commits.iter().map(|(at, words)| (at.as_micros() as u64, words.as_str())).collect();
    assert_eq!(commits, expected);
}

/// The trace without what is said of each job whenever a gate closes.
fn gates(w: &mut World) {
    w.trace.retain(|line| !line.starts_with("deferred"));
}

/// Lets time pass until a gate closes.
fn next_gate(w: &mut World) {
    let closed = |w: &World| w.trace.iter().filter(|line| line.starts_with("gate")).count();
    let before = closed(w);
    while closed(w) == before {
        w.run(secs(5));
    }
}

/// The trace without tries that fail.
fn quiet(w: &mut World) {
    gates(w);
    w.trace.retain(|line| !line.starts_with("open a") && !line.starts_with("gate a"));
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn plain() -> Content {
    Content::Memory(Arc::new(b"Subject: x\r\n\r\nhello\r\n".to_vec()))
}

/// Hands in a draft of a session that said `DataOpened` before.
fn hand_in(w: &mut World, number: u64) {
    let draft = w.draft("s@x", "ok@a", plain());
    w.tell(QueueInput::Submit { ticket: Ticket(number), draft });
}

#[test]
fn a_message_is_ours_when_it_is_on_disk() {
    check(
        |w| {
            w.disk = Disk::Held;
            w.submit("s@x", "ok@a");
            w.trace.push(String::from("disk"));
            w.disk = Disk::Works;
            w.run(secs(6));
            assert!(w.stored().is_empty() && w.rows().is_empty(), "a settled message leaves nothing");
        },
        "disk
         ticket 1 is 1
         open a with 1/0
         taken 1/0
         rest a",
    );
}

#[test]
fn commits_wait_for_others_only_while_there_are_others() {
    check_commits(|w| hand_in(w, 1), &[(0, "accept 1")]);
    // Another session is inside DATA: 2 ms.
    check_commits(
        |w| {
            w.mood("a", Mood::Hang);
            w.tell(QueueInput::DataOpened);
            w.tell(QueueInput::DataOpened);
            hand_in(w, 1);
            w.run(micros(1999));
            assert!(w.commits.is_empty());
            w.run(micros(10_000));
        },
        &[(2000, "accept 1")],
    );
    // The others hand in, or give up.
    check_commits(
        |w| {
            w.mood("a", Mood::Hang);
            (0..3).for_each(|_| w.tell(QueueInput::DataOpened));
            hand_in(w, 1);
            w.run(micros(500));
            hand_in(w, 2);
            w.run(micros(500));
            w.tell(QueueInput::DataDropped);
        },
        &[(1000, "accept 1; accept 2")],
    );
    // 64 drafts are enough whoever is inside DATA.
    let mut world = World::new();
    world.mood("a", Mood::Hang);
    (0..65).for_each(|_| world.tell(QueueInput::DataOpened));
    (0..63).for_each(|number| hand_in(&mut world, number));
    assert!(world.commits.is_empty());
    hand_in(&mut world, 63);
    assert_eq!(world.commits.len(), 1);
}

#[test]
fn what_was_settled_rides_along() {
    check_commits(
        |w| {
            w.submit("s@x", "ok@a");
            w.run(micros(20_000));
        },
        &[(0, "accept 1"), (10_000, "settle 1")],
    );
    check_commits(
        |w| {
            w.submit("s@x", "ok@a");
            w.run(micros(4000));
            w.mood("b", Mood::Hang);
            w.submit("s@x", "ok@b");
            w.run(micros(20_000));
        },
        &[(0, "accept 1"), (4000, "settle 1; accept 2")],
    );
    // A commit is under way: the next one waits for it.
    check_commits(
        |w| {
            w.mood("a", Mood::Hang);
            w.disk = Disk::Held;
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
            w.run(micros(50_000));
            w.disk = Disk::Works;
            w.settle();
        },
        &[(50_000, "accept 1"), (50_000, "accept 2; accept 3")],
    );
}

#[test]
fn a_store_that_fails_refuses_clients_and_loses_nothing_of_ours() {
    let story = |full| {
        move |w: &mut World| {
            w.submit("s@x", "ok@a");
            w.disk = Disk::Fails { full };
            w.run(secs(1));
            w.submit("s@x", "ok@a");
            w.run(secs(60));
            assert_eq!(w.waiting().len(), 1, "the settle is not on disk");
            w.store_up();
            w.submit("s@x", "ok@b");
            w.run(secs(1));
            assert!(w.waiting().is_empty(), "the settle was written again");
        }
    };
    check(
        story(true),
        "ticket 1 is 1
         open a with 1/0
         taken 1/0
         rest a
         ticket 2 refused, full
         ticket 3 is 2
         open b with 2/0
         taken 2/0
         rest b",
    );
    check(
        |w| {
            w.disk = Disk::Fails { full: false };
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
        },
        "ticket 1 refused, failed
         ticket 2 refused, failed",
    );
    // A question failed, while a commit was under way that fails after it: the commit's own failure brings it back.
    check(
        |w| {
            w.submit("s@x", "ok@a");
            w.disk = Disk::Held;
            w.run(micros(10_000));
            w.tell(QueueInput::StoreFailed { batch: Vec::new(), full: false });
            w.disk = Disk::Fails { full: false };
            w.settle();
            w.store_up();
            w.run(secs(1));
            assert!(w.waiting().is_empty());
        },
        "ticket 1 is 1
         open a with 1/0
         taken 1/0
         rest a",
    );
    // Nothing is asked of a store that is down, and no tick either, however long.
    let mut world = World::new();
    world.mood("a", Mood::Down);
    world.submit("s@x", "ok@a later@b");
    world.disk = Disk::Fails { full: false };
    world.run(secs(1));
    let loads = world.loads;
    world.minutes(24 * 60);
    assert_eq!(world.loads, loads);
}

#[test]
fn a_batch_that_failed_and_was_kept_is_not_written_twice() {
    // Settles, and a notification: they are found, and what follows from them follows.
    check(
        |w| {
            w.submit("s@x", "ok@b");
            w.submit("s@x", "no@a later1@a");
            w.disk = Disk::Fails { full: false };
            w.keeps = true;
            w.run(secs(1));
            w.store_up();
            w.minutes(17);
            assert!(w.rows().is_empty());
            w.trace.drain(..9);
        },
        "open x with 3/0
         taken 3/0
         rest x
         open a with 2/1
         taken 2/1
         rest a",
    );
    // A client that was refused comes back: what was kept of the first time is not delivered.
    check(
        |w| {
            w.disk = Disk::Fails { full: false };
            w.keeps = true;
            w.submit("s@x", "ok@a");
            w.store_up();
            w.submit("s@x", "ok@a");
            w.run(secs(1));
            assert!(w.rows().is_empty());
        },
        "ticket 1 refused, failed
         ticket 2 is 2
         open a with 2/0
         taken 2/0
         rest a",
    );
}

#[test]
fn a_failed_batch_beyond_the_largest_commit_leaves_no_timer() {
    let mut world = World::new();
    world.counts = false;
    world.mood("a", Mood::Hang);
    world.disk = Disk::Held;
    (0..3000).for_each(|_| drop(world.submit("s@x", "ok@a")));
    // The first commit had one message; the next one has as many as fit, and leaves some.
    world.disk = Disk::Works;
    world.answer_once();
    world.disk = Disk::Fails { full: true };
    world.settle();
    assert!(world.trace.iter().any(|line| line == "ticket 3000 refused, full"));
    world.store_up();
    world.minutes(1);
}

#[test]
fn recipients_over_several_hops() {
    check(
        |w| {
            w.mood("c", Mood::Hang);
            w.submit("s@x", "ok@a ok@b ok@a ok@c ok@drop");
            w.run(secs(1));
            w.mood("c", Mood::Up);
            w.run(secs(1));
            assert!(w.rows().is_empty());
            let commits: Vec<&str> = w.commits.iter().map(|(_, words)| words.as_str()).collect();
            assert_eq!(commits[0], "accept 1");
            assert!(commits[1].ends_with("divide 1 3@c now"), "{commits:?}");
            assert_eq!(commits[2], "settle 1");
        },
        "ticket 1 is 1
         open a with 1/0,2
         open b with 1/1
         open c with 1/3
         open drop with 1/4
         taken 1/0
         taken 1/2
         rest a
         taken 1/1
         rest b
         taken 1/4
         rest drop
         taken 1/3
         rest c",
    );
}

#[test]
fn a_recipient_that_a_reply_deferred_has_a_due_time_of_its_own() {
    check(
        |w| {
            w.submit("s@x", "ok@a later5@a later1@a");
            w.run(secs(1));
            assert_eq!(w.commits.last().unwrap().1, "divide 1 1@a ~15m, 2@a ~15m");
            w.minutes(60 * 11);
            assert!(w.rows().is_empty());
        },
        "ticket 1 is 1
         open a with 1/0,1,2
         taken 1/0
         deferred 1/1 for ~15m
         deferred 1/2 for ~15m
         rest a
         open a with 1/2
         taken 1/2
         rest a
         open a with 1/1
         deferred 1/1 for ~30m
         rest a
         open a with 1/1
         deferred 1/1 for ~1h
         rest a
         open a with 1/1
         deferred 1/1 for ~4h
         rest a
         open a with 1/1
         deferred 1/1 for ~4h
         rest a
         open a with 1/1
         taken 1/1
         rest a",
    );
}

#[test]
fn retries_are_spread() {
    let mut world = World::new();
    for _ in 0..200 {
        world.submit("s@x", "later@a");
    }
    world.run(secs(1));
    let mut dues: Vec<i64> = world
        .stored()
        .iter()
        .map(|one| one.pending.as_ref().unwrap()[0].due.0 - one.message.id.given_at().0)
        .collect();
    dues.sort_unstable();
    let (first, last) = (dues[0], dues[199]);
    assert!(first >= 810_000 && last <= 990_000, "{first} to {last}: within a tenth of 15 minutes");
    assert!(first < 820_000 && last > 980_000, "{first} to {last}: spread over all of it");
}

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
fn expiry_returns_what_waits() {
    let days = |days: u64| 60 * 24 * days;
    // Five days of a host that is down.
    check(
        |w| {
            w.mood("a", Mood::Down);
            w.submit("s@x", "ok@a");
            w.minutes(days(5) - 60);
            assert_eq!(w.waiting().len(), 1);
            quiet(w);
            w.minutes(60 * 6);
            quiet(w);
            assert!(w.rows().is_empty());
        },
        "ticket 1 is 1
         failed 1/0 5.4.7 Returned
         open x with 2/0
         taken 2/0
         rest x",
    );
    // Time spent waiting for DNS does not count.
    check(
        |w| {
            w.mood("a", Mood::NoDns);
            w.submit("s@x", "ok@a");
            w.minutes(days(4));
            w.mood("a", Mood::Down);
            w.minutes(days(5) - 60);
            assert_eq!(w.waiting().len(), 1);
            w.trace.clear();
            w.minutes(60 * 6);
            quiet(w);
        },
        "failed 1/0 5.4.7 Returned
         open x with 2/0
         taken 2/0
         rest x",
    );
    // Deferred by replies for five days.
    check(
        |w| {
            w.submit("s@x", "later@a");
            w.minutes(days(5) - 60);
            assert_eq!(w.waiting().len(), 1);
            w.trace.clear();
            w.minutes(60 * 6);
        },
        "open a with 1/0
         failed 1/0 5.4.7 Returned
         rest a
         open x with 2/0
         taken 2/0
         rest x",
    );
}

#[test]
fn failure_is_told_in_the_commit_that_settles() {
    check(
        |w| {
            w.submit("s@x", "no@a ok@a");
            w.run(secs(1));
            assert_eq!(w.commits[1].1, "accept 2 <> to s@x.example; settle 1");
        },
        "ticket 1 is 1
         open a with 1/0,1
         taken 1/1
         failed 1/0 5.1.1 Returned
         rest a
         open x with 2/0
         taken 2/0
         rest x",
    );
    // Partly: the rest stays.
    check(
        |w| {
            w.submit("s@x", "no@a later@a");
            w.run(secs(1));
            assert_eq!(w.commits[1].1, "accept 2 <> to s@x.example; divide 1 1@a ~15m");
            w.trace.clear();
        },
        "",
    );
    check(
        |w| {
            w.submit("s@x", "no@a/never");
            w.run(secs(1));
            assert_eq!(w.commits[1].1, "settle 1");
        },
        "ticket 1 is 1
         open a with 1/0
         failed 1/0 5.1.1 Silent
         rest a",
    );
    // Nobody to tell: the Badmail folder.
    check(
        |w| {
            w.submit("", "no@a");
            w.run(secs(1));
            assert_eq!(w.commits[1].1, "divide 1 0@badmail now");
            assert!(w.rows().is_empty());
        },
        "ticket 1 is 1
         open a with 1/0
         failed 1/0 5.1.1 Badmail
         rest a
         open badmail with 1/0
         taken 1/0
         rest badmail",
    );
    // A notification that fails itself.
    check(
        |w| {
            w.mood("x", Mood::Hang);
            w.submit("no@x", "no@a");
            w.run(secs(1));
            w.trace.clear();
            w.mood("x", Mood::Up);
            w.run(secs(1));
        },
        "failed 2/0 5.1.1 Badmail
         rest x
         open badmail with 2/0
         taken 2/0
         rest badmail",
    );
}

#[test]
fn a_notification_of_large_content_reads_its_head_first() {
    check(
        |w| {
            let content = w.large();
            w.submit_content("s@x", "no@a later@a ok@a", content);
            w.run(secs(1));
            let commits: Vec<&str> = w.commits.iter().map(|(_, words)| words.as_str()).collect();
            assert_eq!(
                commits[1],
                "divide 1 0@a now, 1@a ~15m; accept 2 <> to s@x.example; divide 1 1@a ~15m"
            );
            let notice = w.stored().into_iter().find(|one| one.message.recipients[0].address.local() == "s");
            assert!(notice.is_none(), "it is delivered");
        },
        "ticket 1 is 1
         open a with 1/0,1,2
         deferred 1/1 for ~15m
         taken 1/2
         failed 1/0 5.1.1 Returned
         rest a
         open x with 2/0
         taken 2/0
         rest x",
    );
}

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
fn a_hop_with_more_than_memory_holds_delivers_all_once() {
    let mut world = World::with(|settings| settings.out_connections_per_domain_max = 3);
    world.counts = false;
    world.mood("a", Mood::Slow);
    let messages = READY_MAX * 2 + 500;
    for _ in 0..messages {
        world.submit("s@x", "ok@a");
    }
    world.run(secs(1));
    assert!(world.held() <= READY_MAX + 3, "{} in memory", world.held());
    // While it is worked off more comes in.
    for _ in 0..300 {
        world.mood("a", Mood::Up);
        world.mood("a", Mood::Slow);
        world.submit("s@x", "ok@a");
        world.run(Duration::from_millis(1));
        assert!(world.held() <= READY_MAX + 100 + 3, "{} in memory", world.held());
    }
    world.mood("a", Mood::Up);
    world.minutes(1);
    assert_eq!(world.taken.len(), messages + 300);
    assert!(world.taken.values().all(|times| *times == 1));
    assert!(world.rows().is_empty() && world.most[&hop("a")] <= 3);
}

#[test]
fn a_connection_has_a_number_of_messages() {
    check_in(
        World::with(|settings| settings.batch_max = 2),
        |w| {
            w.mood("a", Mood::Hang);
            (0..3).for_each(|_| drop(w.submit("s@x", "ok@a")));
            w.trace.clear();
            w.mood("a", Mood::Up);
        },
        "taken 1/0
         give a 2/0
         taken 2/0
         close a
         open a with 3/0
         taken 3/0
         rest a",
    );
}

#[test]
fn connections_are_bounded() {
    let mut world = World::with(|settings| {
        settings.out_connections_max = 5;
        settings.out_connections_per_domain_max = 2;
    });
    let hops = ["a", "b", "c", "d", "e", "f", "g", "h"];
    hops.iter().for_each(|word| world.mood(word, Mood::Slow));
    for _ in 0..40 {
        hops.iter().for_each(|word| drop(world.submit("s@x", &format!("ok@{word}"))));
        world.run(Duration::from_millis(50));
    }
    assert_eq!(world.most_in_all, 5);
    assert!(world.most.values().all(|most| *most <= 2), "{:?}", world.most);
    hops.iter().for_each(|word| world.mood(word, Mood::Up));
    world.minutes(2);
    assert_eq!(world.taken.len(), 320);
    assert_eq!(world.most_in_all, 5);
}

#[test]
fn no_hop_starves_others() {
    // Two busy hops, one connection in all: the third has its turn.
    let mut world = World::with(|settings| {
        settings.out_connections_max = 1;
        settings.batch_max = 3;
    });
    let hops = ["a", "b", "z"];
    hops.iter().for_each(|word| world.mood(word, Mood::Slow));
    (0..100).for_each(|_| drop(world.submit("s@x", "ok@a")));
    (0..100).for_each(|_| drop(world.submit("s@x", "ok@b")));
    world.submit("s@x", "ok@z");
    world.run(secs(1));
    world.trace.clear();
    world.mood("z", Mood::Up);
    world.mood("b", Mood::Up);
    world.mood("a", Mood::Up);
    world.minutes(1);
    let at = world.trace.iter().position(|line| line == "taken 201/0").unwrap();
    assert!(at < 25, "after {at} lines");
    assert_eq!(world.taken.len(), 201);
}

#[test]
fn a_job_that_was_not_tried_is_tried_again() {
    check(
        |w| {
            w.mood("a", Mood::Drop);
            w.submit("s@x", "ok@a");
        },
        "ticket 1 is 1
         open a with 1/0
         open a with 1/0
         taken 1/0
         rest a",
    );
    // The connection was lost under it while others work: no gate.
    check(
        |w| {
            w.mood("a", Mood::Down);
            w.submit("s@x", "ok@a");
            w.run(secs(1));
            w.trace.clear();
            w.tell(QueueInput::Settings(Arc::new(w.settings.clone())));
        },
        "",
    );
}

#[test]
fn a_resting_connection_takes_what_comes() {
    check(
        |w| {
            w.submit("s@x", "ok@a");
            w.run(secs(4));
            w.submit("s@x", "ok@a");
            w.run(secs(6));
            w.submit("s@x", "ok@a");
        },
        "ticket 1 is 1
         open a with 1/0
         taken 1/0
         rest a
         ticket 2 is 2
         give a 2/0
         taken 2/0
         rest a
         ticket 3 is 3
         open a with 3/0
         taken 3/0
         rest a",
    );
}

#[test]
fn a_connection_more_that_is_refused_is_no_gate() {
    let mut world = World::new();
    world.mood("a", Mood::Slow);
    (0..2).for_each(|_| drop(world.submit("s@x", "ok@a")));
    world.mood("a", Mood::Hang);
    world.run(secs(1));
    assert_eq!(world.connections(), 2, "the first one was too slow");
    world.down_opening("a");
    world.mood("a", Mood::Slow);
    world.run(secs(1));
    assert!(!world.trace.iter().any(|line| line.starts_with("gate")), "{:?}", world.trace);
    assert_eq!(world.connections(), 1, "no further one for a while");
    world.mood("a", Mood::Up);
    world.run(secs(1));
    assert_eq!(world.taken.len(), 2);
}

fn ids(world: &World, numbers: &[usize]) -> Selection {
    Selection::Ids(numbers.iter().map(|number| world.id(*number)).collect())
}

#[test]
fn an_administrator_retries() {
    check(
        |w| {
            w.submit("s@x", "later1@a");
            w.mood("b", Mood::Down);
            w.submit("s@x", "ok@b");
            w.minutes(5);
            w.trace.clear();
            let both = ids(w, &[1, 99, 2]);
            w.mood("b", Mood::Up);
            w.admin(AdminRequest::Retry(both));
            w.run(secs(1));
        },
        "open b with 2/0
         recovered b
         taken 2/0
         rest b
         done 2 missing 3
         open a with 1/0
         taken 1/0
         rest a",
    );
    check(
        |w| {
            w.submit("s@x", "later1@a");
            w.mood("b", Mood::Down);
            w.submit("s@x", "ok@b");
            w.minutes(5);
            w.trace.clear();
            w.mood("b", Mood::Up);
            w.admin(AdminRequest::Retry(Selection::All));
            w.run(secs(1));
            w.trace.sort();
            assert!(w.waiting().is_empty());
        },
        "done 2
         open a with 1/0
         open b with 2/0
         recovered b
         rest a
         rest b
         taken 1/0
         taken 2/0",
    );
}

#[test]
fn an_administrator_deletes() {
    check(
        |w| {
            w.mood("a", Mood::Slow);
            w.submit("s@x", "ok@a");
            w.mood("b", Mood::Down);
            w.submit("s@x", "ok@b later@c");
            w.run(secs(1));
            w.trace.clear();
            let all = ids(w, &[1, 2, 99]);
            w.admin(AdminRequest::Delete(all));
            w.run(secs(1));
            w.mood("a", Mood::Up);
            w.run(secs(1));
            assert!(w.rows().is_empty() && w.stored().is_empty());
        },
        "failed 2/0 5.0.0 Deleted
         failed 2/1 5.0.0 Deleted
         done 1 missing 3 busy 1
         taken 1/0
         rest a",
    );
    // More than a page.
    let mut world = World::new();
    world.mood("a", Mood::Down);
    (0..500).for_each(|_| drop(world.submit("s@x", "ok@a")));
    world.run(secs(1));
    world.trace.clear();
    world.admin(AdminRequest::Delete(Selection::All));
    world.run(secs(1));
    assert!(world.stored().is_empty() && world.rows().is_empty());
    assert_eq!(world.trace.last().unwrap(), "done 500");
}

#[test]
fn what_is_being_deleted_is_not_delivered() {
    // Its deletion waits for a commit when the hop is read again.
    let mut world = World::new();
    world.mood("a", Mood::Down);
    (0..3).for_each(|_| drop(world.submit("s@x", "ok@a")));
    world.run(secs(1));
    world.mood("a", Mood::Up);
    let first = ids(&world, &[1]);
    world.admin(AdminRequest::Delete(first));
    world.admin(AdminRequest::Retry(Selection::All));
    world.run(secs(10));
    assert_eq!(world.taken.keys().copied().collect::<Vec<_>>(), [(2, 0), (3, 0)]);
    assert!(world.stored().is_empty() && world.rows().is_empty());
}

#[test]
fn stopping_ends_what_is_in_flight() {
    check(
        |w| {
            w.mood("a", Mood::Slow);
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@b");
            w.tell(QueueInput::Stop);
            w.run(secs(1));
            w.submit("s@x", "ok@b");
            w.trace.push(String::from("up"));
            w.mood("a", Mood::Up);
            w.run(secs(1));
            assert_eq!(w.waiting().into_iter().collect::<Vec<_>>(), [(2, 0)]);
        },
        "ticket 1 is 1
         open a with 1/0
         ticket 2 is 2
         ticket 3 is 3
         open b with 3/0
         taken 3/0
         rest b
         close b
         ticket 4 refused, failed
         up
         taken 1/0
         close a
         stopped",
    );
    // Also what must be read before it can be written.
    check(
        |w| {
            w.mood("a", Mood::Slow);
            let content = w.large();
            w.submit_content("s@x", "no@a", content);
            w.tell(QueueInput::Stop);
            w.disk = Disk::Held;
            w.mood("a", Mood::Up);
            w.run(secs(1));
            w.trace.push(String::from("disk"));
            w.disk = Disk::Works;
            w.run(secs(1));
            assert_eq!(w.commits.last().unwrap().1, "accept 2 <> to s@x.example; settle 1");
        },
        "ticket 1 is 1
         open a with 1/0
         failed 1/0 5.1.1 Returned
         close a
         disk
         stopped",
    );
}

#[test]
fn a_page_that_was_asked_before_a_gate_closed_says_nothing_about_after() {
    // A page is on its way from a store that is down for longer than the gate.
    let mut world = World::with(|settings| settings.out_connections_per_domain_max = 1);
    world.mood("a", Mood::Down);
    (0..400).for_each(|_| drop(world.submit("s@x", "ok@a")));
    world.minutes(1);
    // It opens, and a part is read.
    world.mood("a", Mood::Slow);
    world.minutes(16);
    world.disk = Disk::Held;
    for _ in 0..60 {
        world.mood("a", Mood::Up);
        world.mood("a", Mood::Slow);
    }
    world.mood("a", Mood::Down);
    world.mood("a", Mood::Hang);
    world.disk = Disk::Fails { full: false };
    world.minutes(20);
    world.mood("a", Mood::Up);
    world.store_up();
    world.minutes(120);
    assert!(world.waiting().is_empty(), "{} wait", world.waiting().len());
    assert!(world.taken.values().all(|times| *times == 1));
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

/// What may happen, by a byte each: the argument of a step is the rest of it.
fn step(world: &mut World, what: u8, which: u8) {
    let hops = ["a", "b", "c", "drop"];
    let word = |n: u8| hops[usize::from(n) % hops.len()];
    let moods = [Mood::Up, Mood::Up, Mood::Down, Mood::NoDns, Mood::Slow, Mood::Hang, Mood::Drop];
    let local = |n: u8| ["ok", "later2", "no", "later1"][usize::from(n) % 4];
    match what % 16 {
        0..=4 => {
            let from = if which & 1 == 0 { "s@x" } else { "" };
            let one = |n: u8| format!("{}@{}", local(n / 3), word(n));
            let to: Vec<String> = (0..=which % 4).map(|n| one(which.wrapping_add(n * 37))).collect();
            if which % 7 == 0 {
                let content = world.large();
                world.submit_content(from, &to.join(" "), content);
            } else {
                world.submit(from, &to.join(" "));
            }
        }
        5..=7 => world.mood(word(which), moods[usize::from(which / 4) % moods.len()]),
        8 => world.run(Duration::from_millis(u64::from(which))),
        9 => world.run(secs(u64::from(which))),
        10 => world.minutes(u64::from(which)),
        11 => world.tell(QueueInput::DnsReleased),
        12 => {
            world.disk = if which & 1 == 0 { Disk::Held } else { Disk::Fails { full: which & 2 == 0 } };
            world.keeps = which & 8 == 0;
            world.run(secs(u64::from(which / 4)));
            let failed = matches!(world.disk, Disk::Fails { .. });
            if failed { world.store_up() } else { world.disk = Disk::Works }
        }
        13 => world.restart(which & 1 == 0),
        14 => world.admin(AdminRequest::Retry(if which & 1 == 0 {
            Selection::All
        } else {
            ids(world, &[1, 3, 5])
        })),
        _ => {
            world.disk = Disk::Held;
            world.mood(word(which), Mood::Up);
            world.run(Duration::from_millis(u64::from(which / 4)));
            world.restart(which & 4 == 0);
        }
    }
}

/// However things go, every recipient that was accepted is settled in the end, and once, unless we died over it.
fn check_steps(steps: &[(u8, u8)]) {
    let mut world = World::with(|settings| {
        settings.batch_max = 3;
        settings.out_connections_max = 4;
        settings.out_connections_per_domain_max = 2;
    });
    for (what, which) in steps {
        step(&mut world, *what, *which);
    }
    ["a", "b", "c", "drop", "x"].iter().for_each(|word| world.mood(word, Mood::Up));
    world.minutes(9 * 60);
    assert!(world.stored().is_empty() && world.rows().is_empty(), "{:?} {:?}", world.waiting(), world.rows());
    assert_eq!(world.queue.messages(), 0);
    assert_eq!((world.held(), world.queue.connections()), (0, 0), "nothing is kept of what is gone");
    for (place, fate) in &world.accepted {
        let times = |counts: &BTreeMap<(usize, u32), u32>| counts.get(place).copied().unwrap_or(0);
        let most = 1 + times(&world.died_over);
        let once = |times: u32| (1..=most).contains(&times);
        let (taken, failed) = (times(&world.taken), times(&world.failed));
        let good = match fate {
            Fate::Taken => once(taken) && failed == 0,
            Fate::Returned => once(failed) && taken == 0,
            Fate::Badmail => once(failed) && once(taken),
        };
        assert!(good, "{place:?} {fate:?}: taken {taken} times, failed {failed} times, at most {most}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 50, failure_persistence: None, ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn every_recipient_is_settled_once(
        steps in proptest::collection::vec((proptest::num::u8::ANY, proptest::num::u8::ANY), 1..60)
    ) {
        check_steps(&steps);
    }
}
