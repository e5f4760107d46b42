//! What a metabase of 100,000 keys costs: `cargo run --release --example metabase_cost -p postroad-metabase [DIR]`.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use postroad_mail::time::Wall;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, Record};
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Act, Change, Metabase, Seal};
use postroad_metabase::tree::Op;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: usize = 100_000;
const CHANGES: u32 = 2_000;
const LOOKUPS: u32 = 1_000_000;

fn main() {
    let dir = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let folder = tempfile::tempdir_in(&dir).unwrap();
    let file = folder.path().join("metabase.db");
    let mut metabase = open(&file);
    let above = Op::Set("/LM/SmtpSvc".parse().unwrap(), record(36_906, "above"));
    let ops: Vec<Op> =
        (0..KEYS).map(|key| Op::Set(domain(key), record(36_996, "route"))).chain([above]).collect();
    let after = metabase.tree().apply(&ops).unwrap();
    let start = Instant::now();
    metabase.commit(&after, &change(), Act::Change).unwrap();
    println!("{KEYS} keys in one change: {:.0} ms", ms(start.elapsed()));
    drop(metabase);
    let made = octets(&file);
    println!("the file: {} octets a key, its history among them", made / KEYS as u64);

    let start = Instant::now();
    let mut metabase = open(&file);
    println!("open: {:.0} ms", ms(start.elapsed()));

    let tree = metabase.tree().clone();
    let paths: Vec<KeyPath> = (0..1000).map(|at| domain(at * 97)).collect();
    let start = Instant::now();
    for at in 0..LOOKUPS as usize {
        black_box(tree.resolve(&paths[at % paths.len()], black_box(36_906)).unwrap());
    }
    println!("an inherited value: {} ns", start.elapsed().as_nanos() / u128::from(LOOKUPS));

    let (start, busy) = (Instant::now(), cpu());
    for at in 0..CHANGES {
        let op = Op::Set(domain(at as usize * 31 % KEYS), record(36_996, &at.to_string()));
        let after = metabase.tree().apply(&[op]).unwrap();
        metabase.commit(&after, &change(), Act::Change).unwrap();
    }
    let (elapsed, busy) = (start.elapsed() / CHANGES, cpu() - busy);
    println!(
        "a set: {:.0} us of CPU, {:.2} ms with its sync",
        busy.as_secs_f64() * 1e6 / f64::from(CHANGES),
        ms(elapsed)
    );
    let start = Instant::now();
    metabase.tree_at(1).unwrap();
    println!("the tree {CHANGES} changes ago: {:.0} ms", ms(start.elapsed()));
    drop(metabase);
    println!("history: {} octets a change", (octets(&file) - made) / u64::from(CHANGES));
}

fn open(file: &Path) -> Metabase<SqliteStore> {
    Metabase::open(SqliteStore::open(file, Seal::new([7; 32])).unwrap()).unwrap()
}

fn domain(key: usize) -> KeyPath {
    format!("/LM/SmtpSvc/1/Domain/d{key}.example.org").parse().unwrap()
}

fn record(id: u32, text: &str) -> Record {
    Record { id, attributes: INHERIT, user_type: 1, data: Data::String(text.into()) }
}

fn change() -> Change {
    Change { at: Wall(0), author: "root".into(), reason: "measured".into(), confirm_until: None }
}

fn octets(file: &Path) -> u64 {
    std::fs::metadata(file).unwrap().len()
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// What this thread has had of the processor.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
