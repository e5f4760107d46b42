//! The queue at its boundary: stories, and what comes of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod world;

use postroad_engine::queue::{AdminRequest, QueueInput, READY_MAX, Selection};
use postroad_spool::record::Content;
use std::sync::Arc;
use std::time::Duration;
use world::{Disk, Mood, World, about, hop};

/// Plays a story and compares what happened, line by line.
fn check(story: impl FnOnce(&mut World), expected: &str) {
    check_in(World::new(), story, expected);
}

fn check_in(mut world: World, story: impl FnOnce(&mut World), expected: &str) {
    world.trace.clear();
    story(&mut world);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(world.trace, expected, "\n{}\n", world.trace.join("\n"));
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_message_is_ours_when_it_is_on_disk() {
    check(
        |w| {
            w.disk = Disk::Held;
            w.submit("s@x", "ok@a");
            w.trace.push(String::from("disk"));
            w.disk = Disk::Works;
            w.settle();
        },
        "disk
         ticket 1 is 1
         open a with 1/0
         recovered? no",
    );
}
