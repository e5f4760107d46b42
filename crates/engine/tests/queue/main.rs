//! The queue at its boundary: stories, and what comes of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod admin;
mod commits;
mod connections;
mod gates;
mod model;
mod outcomes;
mod reroute;
mod restart;
mod world;

use postroad_engine::queue::{
    AdminRequest, CONTENT_TOTAL_MAX, QueueInput, QueueOutput, READY_MAX, Selection, Ticket,
};
use postroad_spool::record::{Content, Load};
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

fn ids(world: &World, numbers: &[usize]) -> Selection {
    Selection::Ids(numbers.iter().map(|number| world.id(*number)).collect())
}
