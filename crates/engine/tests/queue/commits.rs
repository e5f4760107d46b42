//! What is written, and when; a store that fails; the end.

use super::*;

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
    // It fails once more before it has said whether it kept the batch.
    let mut world = World::new();
    world.submit("s@x", "ok@a");
    world.disk = Disk::Fails { full: false };
    world.run(secs(1));
    world.tell(QueueInput::StoreUp);
    world.tell(QueueInput::StoreFailed { batch: Vec::new(), full: false });
    world.store_up();
    world.run(secs(1));
    assert!(world.waiting().is_empty() && world.rows().is_empty());
    // Nothing more is handed out meanwhile: what cannot be written would be delivered again.
    let mut world = World::new();
    world.mood("a", Mood::Slow);
    (0..3).for_each(|_| world.submit("s@x", "ok@a"));
    world.disk = Disk::Fails { full: false };
    world.submit("s@x", "ok@a");
    world.mood("a", Mood::Up);
    assert_eq!(world.taken.len(), 1);
    world.store_up();
    world.run(secs(1));
    assert_eq!(world.taken.len(), 3);
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
    (0..3000).for_each(|_| world.submit("s@x", "ok@a"));
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
