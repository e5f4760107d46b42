//! Some hundred seeds of the simulator, and the proof that it can find a fault. `make sim` runs thousands.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_lab::sim::{Options, Plant, Promise, Summary, run_seed};

/// Seeds of one test. Together they take some seconds in a debug build.
const SEEDS: u64 = 100;
/// Seeds within which a planted fault is to be found.
const PLANT_SEEDS: u64 = 200;

fn keeps_every_promise(seeds: std::ops::Range<u64>) {
    let run = |seed| run_seed(seed, &Options::default()).unwrap_or_else(|violation| panic!("{violation}"));
    let summaries: Vec<Summary> = seeds.map(run).collect();
    // A simulator in which nothing happens keeps every promise too.
    let sum = |of: fn(&Summary) -> u64| summaries.iter().map(of).sum::<u64>();
    assert!(sum(|one| one.delivered as u64) > SEEDS, "little was delivered");
    assert!(sum(|one| one.returned as u64) > SEEDS / 4, "little was returned");
    assert!(sum(|one| one.crashes) > SEEDS / 4 && sum(|one| one.store_failures) > SEEDS / 4, "little failed");
    assert!(sum(|one| one.copies_excused) > 0, "no reply was lost");
    assert!(sum(|one| one.rerouted) > SEEDS, "little mail followed a change of the route");
}

// Four tests, so that they run beside each other.
#[test]
fn first_hundred() {
    keeps_every_promise(0..SEEDS);
}

#[test]
fn second_hundred() {
    keeps_every_promise(SEEDS..2 * SEEDS);
}

#[test]
fn third_hundred() {
    keeps_every_promise(2 * SEEDS..3 * SEEDS);
}

#[test]
fn a_seed_runs_the_same_way_twice() {
    for seed in 0..10 {
        let run = || run_seed(seed, &Options::default()).map_err(|violation| violation.to_string());
        let (first, second) = (run().unwrap(), run().unwrap());
        assert_eq!(first, second, "seed {seed}");
    }
}

fn is_found(plant: Plant, promises: &[Promise]) {
    let options = Options { plant, whole_trace: false };
    let found = (0..PLANT_SEEDS).find_map(|seed| run_seed(seed, &options).err());
    let violation = found.unwrap_or_else(|| panic!("{plant:?} went unnoticed"));
    assert!(promises.contains(&violation.promise), "{plant:?} showed as {violation}");
}

#[test]
fn planted_faults_are_found() {
    is_found(Plant::AckBeforeCommit, &[Promise::NothingLost, Promise::Once]);
    is_found(Plant::SettleBeforeReply, &[Promise::NothingLost]);
    is_found(Plant::ReturnOnServfail, &[Promise::PermanentOnly]);
    is_found(Plant::SecondAttempt, &[Promise::Once]);
    is_found(Plant::TlsDropped, &[Promise::TlsDemand]);
    is_found(Plant::RouteKept, &[Promise::RightPlace]);
}
