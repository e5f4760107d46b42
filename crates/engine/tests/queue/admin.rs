//! What an administrator asks.

use super::*;

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
fn what_is_in_flight_at_one_hop_is_retried_at_the_others() {
    check(
        |w| {
            w.mood("b", Mood::Slow);
            w.submit("s@x", "later1@a ok@b");
            w.run(secs(1));
            w.trace.clear();
            let one = ids(w, &[1]);
            w.admin(AdminRequest::Retry(one));
            w.run(secs(1));
        },
        "done 1
         give a 1/0
         taken 1/0
         rest a",
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
         recovered b
         done 1 missing 3 busy 1
         taken 1/0
         rest a",
    );
    // More than a page.
    let mut world = World::new();
    world.mood("a", Mood::Down);
    (0..500).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(1));
    world.trace.clear();
    world.admin(AdminRequest::Delete(Selection::All));
    world.run(secs(1));
    assert!(world.stored().is_empty() && world.rows().is_empty());
    assert_eq!(world.trace.last().unwrap(), "done 500");
}

#[test]
fn a_message_that_comes_as_another_goes_is_tried_at_once() {
    // The hop's count is as before, and what waited there was due much later.
    let mut world = World::new();
    world.submit("s@x", "later@a");
    world.minutes(5);
    let first = ids(&world, &[1]);
    world.admin(AdminRequest::Delete(first));
    world.submit("s@x", "ok@a");
    world.run(secs(1));
    assert_eq!(world.taken.keys().copied().collect::<Vec<_>>(), [(2, 0)]);
    assert!(world.rows().is_empty());
}

#[test]
fn what_is_being_deleted_is_not_delivered() {
    // Its deletion waits for a commit when the hop is read again.
    let mut world = World::new();
    world.mood("a", Mood::Down);
    (0..3).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(1));
    world.mood("a", Mood::Up);
    let first = ids(&world, &[1]);
    world.admin(AdminRequest::Delete(first));
    world.admin(AdminRequest::Retry(Selection::All));
    world.run(secs(10));
    assert_eq!(world.taken.keys().copied().collect::<Vec<_>>(), [(2, 0), (3, 0)]);
    assert!(world.stored().is_empty() && world.rows().is_empty());
}
