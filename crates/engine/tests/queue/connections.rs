//! Connections and memory have bounds, and what waits for them has its turn.

use super::*;
use postroad_spool::record::{Gate, GateKind};

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
fn pages_on_their_way_are_within_the_memory_of_contents() {
    let mut world = World::new();
    world.counts = false;
    let hops: Vec<String> = (0..1000).map(|n| format!("h{n}")).collect();
    hops.iter().for_each(|word| world.mood(word, Mood::NoDns));
    hops.iter().for_each(|word| world.submit("s@x", &format!("ok@{word}")));
    world.run(secs(20));
    world.disk = Disk::Held;
    world.run(secs(20));
    assert!(world.asked.len() > 900, "{} hops look again", world.asked.len());
    let content = world.asked_content();
    assert!(content <= CONTENT_TOTAL_MAX, "{content} octets");
}

#[test]
fn a_connection_has_a_number_of_messages() {
    check_in(
        World::with(|settings| settings.batch_max = 2),
        |w| {
            w.mood("a", Mood::Hang);
            (0..3).for_each(|_| w.submit("s@x", "ok@a"));
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
        hops.iter().for_each(|word| world.submit("s@x", &format!("ok@{word}")));
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
    (0..100).for_each(|_| world.submit("s@x", "ok@a"));
    (0..100).for_each(|_| world.submit("s@x", "ok@b"));
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
fn more_connections_are_opened_when_more_are_allowed() {
    let mut world = World::with(|settings| settings.out_connections_max = 1);
    world.mood("a", Mood::Hang);
    for word in ["a", "b", "c"] {
        world.submit("s@x", &format!("ok@{word}"));
    }
    world.minutes(1);
    world.trace.clear();
    world.new_settings(|settings| settings.out_connections_max = 2);
    assert_eq!(world.trace[..2], ["open b with 2/0", "taken 2/0"]);
    world.run(secs(1));
    assert_eq!(world.taken.len(), 2);
}

#[test]
fn a_connection_does_not_rest_while_another_hop_waits() {
    let mut world = World::with(|settings| settings.out_connections_max = 1);
    world.mood("a", Mood::Slow);
    world.submit("s@x", "ok@a");
    world.submit("s@x", "ok@b");
    world.mood("a", Mood::Up);
    assert_eq!(world.taken.len(), 2);
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
fn a_connection_ends_with_its_settings() {
    check(
        |w| {
            w.submit("s@x", "ok@a");
            // At rest it is closed at once, at work after its job.
            w.new_settings(|settings| settings.tls_required = true);
            w.mood("a", Mood::Slow);
            w.submit("s@x", "ok@a");
            w.submit("s@x", "ok@a");
            w.new_settings(|settings| settings.tls_required = false);
            w.mood("a", Mood::Up);
            w.run(secs(1));
        },
        "ticket 1 is 1
         open a with 1/0
         taken 1/0
         rest a
         close a
         ticket 2 is 2
         open a with 2/0
         ticket 3 is 3
         taken 2/0
         close a
         open a with 3/0
         taken 3/0
         rest a",
    );
}

#[test]
fn a_connection_more_that_is_refused_is_no_gate() {
    let mut world = World::new();
    world.mood("a", Mood::Slow);
    (0..2).for_each(|_| world.submit("s@x", "ok@a"));
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

#[test]
fn what_finds_no_room_while_the_store_is_asked_is_read_later() {
    let mut world = World::with(|settings| settings.retry = vec![secs(10)]);
    world.counts = false;
    world.submit("s@x", "later1@a");
    world.run(secs(8));
    // More than fits comes in one commit, while the store is asked for what is pending.
    world.disk = Disk::Held;
    (0..READY_MAX + 500).for_each(|_| world.submit("s@x", "ok@a"));
    world.run(secs(4));
    world.disk = Disk::Works;
    world.minutes(5);
    assert!(world.waiting().is_empty(), "{} wait", world.waiting().len());
    assert!(world.taken.values().all(|times| *times == 1));
}

#[test]
fn no_hop_starves_others_whatever_a_connection_may_carry() {
    let mut world = World::with(|settings| {
        settings.out_connections_max = 1;
        settings.batch_max = u32::MAX;
    });
    world.counts = false;
    world.mood("a", Mood::Slow);
    (0..500).for_each(|_| world.submit("s@x", "ok@a"));
    world.submit("s@x", "ok@z");
    world.run(secs(1));
    world.trace.clear();
    world.mood("a", Mood::Up);
    world.minutes(1);
    let at = world.trace.iter().position(|line| line == "taken 501/0").unwrap();
    assert!(at < 250, "after {at} lines");
    assert_eq!(world.taken.len(), 501);
}

/// Hops of which there are more than are held in memory.
const MANY: usize = 20_500;
/// `queue::hops::HOPS_MAX`.
const HELD_MAX: usize = 20_000;

fn many() -> Vec<String> {
    (0..MANY).map(|n| format!("h{n}")).collect()
}

fn held_hops(world: &World) -> usize {
    many().iter().filter(|word| world.queue.hop(&hop(word)).is_some()).count()
}

#[test]
fn hops_in_memory_are_bounded() {
    let mut world = World::with(|settings| settings.out_connections_max = 1);
    world.counts = false;
    world.mood("h0", Mood::Hang);
    many().iter().for_each(|word| world.submit("s@x", &format!("ok@{word}")));
    world.minutes(2);
    assert!(held_hops(&world) <= HELD_MAX, "{} in memory", held_hops(&world));
    world.mood("h0", Mood::Up);
    world.minutes(2);
    assert_eq!(world.taken.len(), MANY);
    assert!(world.rows().is_empty());
}

#[test]
fn a_release_of_many_hops_holds_as_many_as_fit() {
    let mut world = World::with(|settings| settings.out_connections_max = 1);
    world.counts = false;
    let now = world.now.wall;
    world.fill(
        &many(),
        Gate { kind: GateKind::Dns, until: now + secs(900), step: 4, cause: String::new(), since: now },
    );
    world.restart(false);
    world.mood("h0", Mood::Hang);
    world.minutes(1);
    world.tell(QueueInput::DnsReleased);
    world.run(secs(1));
    assert!(held_hops(&world) <= HELD_MAX, "{} in memory", held_hops(&world));
    let now = world.now.wall;
    assert!(world.rows().iter().all(|row| row.due <= now), "all are due");
    world.steps("h0", Mood::Up, MANY * 2);
    world.minutes(2);
    assert_eq!(world.taken.len(), MANY);
    assert!(world.rows().is_empty());
}
