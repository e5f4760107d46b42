//! What becomes of recipients.

use super::*;

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
         recovered a
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
         recovered a
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
fn why_it_is_badmail_is_told_though_it_could_not_be_written_at_first() {
    let mut world = World::with(|settings| settings.expire = secs(3600));
    world.submit("", "kills@a");
    world.minutes(24 * 60);
    let stored = world.stored().remove(0);
    let one = &stored.pending.as_ref().unwrap()[0];
    assert_eq!(one.hop, hop("badmail"));
    assert!(one.attempts > 1 && one.cause.starts_with("5.4.7 not delivered within 1h"), "{one:?}");
}
