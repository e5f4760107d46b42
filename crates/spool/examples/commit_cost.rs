//! What a commit costs, in CPU and in time: `cargo run --release --example commit_cost -p postroad-spool [DIR]`.
//!
//! Each round accepts a batch and settles the one before, with its journal entries, as a queue that keeps up does.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used)]

use postroad_mail::address::ReversePath;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use postroad_spool::Store;
use postroad_spool::record::{Content, JournalEntry, Message, Record};
use postroad_spool::sqlite::{Options, SqliteStore};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const START: Wall = Wall(1_795_590_028_000);

struct Load {
    name: &'static str,
    batch: u64,
    size: usize,
    settles: bool,
    hops: u64,
    rounds: u64,
}

fn main() {
    let dir = std::env::args().nth(1).unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let only = std::env::args().nth(2).unwrap_or_default();
    let load = |name, batch, size, settles, hops, rounds| Load { name, batch, size, settles, hops, rounds };
    println!("{:<36} {:>13} {:>14} {:>10}", "", "CPU us/commit", "CPU us/message", "ms/commit");
    for load in [
        load("1 x 4 KiB, settled", 1, 4096, true, 1, 10_000),
        load("8 x 4 KiB, settled", 8, 4096, true, 1, 3_000),
        load("64 x 4 KiB, settled", 64, 4096, true, 1, 600),
        load("64 x 4 KiB, settled, 1,000 hops", 64, 4096, true, 1000, 600),
        load("64 x 4 KiB, piling up", 64, 4096, false, 1, 600),
        load("64 x 1 KiB, settled", 64, 1024, true, 1, 600),
        load("16 x 100 KiB, settled", 16, 100 * 1024, true, 1, 200),
    ] {
        if !load.name.starts_with(&only) {
            continue;
        }
        let folder = tempfile::tempdir_in(&dir).unwrap();
        let mut store = SqliteStore::open(folder.path(), Options::default()).unwrap();
        let (idle, _) = run(None, &load);
        let (cpu, elapsed) = run(Some(&mut store), &load);
        let cpu = (cpu - idle).as_secs_f64() * 1e6 / load.rounds as f64;
        let elapsed = elapsed.as_secs_f64() * 1e3 / load.rounds as f64;
        println!("{:<36} {cpu:>13.1} {:>14.1} {elapsed:>10.2}", load.name, cpu / load.batch as f64);
    }
    intake(&dir);
    history(&dir);
}

/// How long the writer is held up when it moves what the intake holds into the tables.
fn intake(dir: &str) {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let mut store = SqliteStore::open(dir.path(), Options::default()).unwrap();
    let mut last = MessageId::default();
    let load = Load { name: "", batch: 0, size: 0, settles: true, hops: 1, rounds: 0 };
    let entries = Options::default().intake_entries_due;
    let mut moved = Vec::new();
    for _ in 0..20 {
        for _ in 0..entries / 16 {
            let batch = (0..16).map(|_| {
                last = last.next(START);
                journal(&message(last, &load), START)
            });
            store.commit(&batch.collect::<Vec<_>>()).unwrap();
        }
        let start = Instant::now();
        store.tend(START).unwrap();
        moved.push(start.elapsed().as_secs_f64() * 1e3);
    }
    moved.sort_by(f64::total_cmp);
    println!(
        "intake: moving {entries} entries took {:.1} ms (median of {})",
        moved[moved.len() / 2],
        moved.len()
    );
}

/// What an entry of history takes on disk, and how long dropping a full table of them holds up the writer.
fn history(dir: &str) {
    const ENTRIES: u64 = 100_000;
    let dir = tempfile::tempdir_in(dir).unwrap();
    let mut store = SqliteStore::open(dir.path(), Options::default()).unwrap();
    let octets = || std::fs::metadata(dir.path().join("spool.db")).unwrap().len();
    let mut last = MessageId::default();
    let load = Load { name: "", batch: 0, size: 0, settles: true, hops: 1000, rounds: 0 };
    let empty = octets();
    for _ in 0..ENTRIES / 100 {
        let entries = (0..100).map(|_| {
            last = last.next(START);
            journal(&message(last, &load), START)
        });
        store.commit(&entries.collect::<Vec<_>>()).unwrap();
        store.tend(START).unwrap();
    }
    drop(store);
    let octets = (octets() - empty) / ENTRIES;
    let mut store = SqliteStore::open(dir.path(), Options::default()).unwrap();
    let start = Instant::now();
    store.tend(Wall(START.0 + 8 * 86_400_000)).unwrap();
    println!(
        "history: {octets} octets an entry; dropping {ENTRIES} took {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
}

fn journal(message: &Message, at: Wall) -> Record {
    let body = format!("{{\"first_try\":true,\"said\":\"{}\"}}", "250 2.0.0 queued ".repeat(9));
    Record::Journal(JournalEntry {
        message: Some(message.id),
        hop: message.recipients[0].hop.clone(),
        at,
        body,
    })
}

/// The CPU time and the time of all rounds; without a store, of making the batches.
fn run(mut store: Option<&mut SqliteStore>, load: &Load) -> (Duration, Duration) {
    let mut last = MessageId::default();
    let mut earlier: Vec<Arc<Message>> = Vec::new();
    let content = Arc::new(vec![b'x'; load.size]);
    let (before, start) = (cpu(), Instant::now());
    for round in 0..load.rounds {
        let now = Wall(START.0 + round as i64);
        let mut batch = Vec::new();
        let mut accepted = Vec::new();
        let mut waiting = BTreeMap::new();
        for _ in 0..load.batch {
            last = last.next(now);
            let message = Arc::new(message(last, load));
            *waiting.entry(message.recipients[0].hop.clone()).or_insert(0) += 1;
            accepted.push(Arc::clone(&message));
            batch.push(Record::Accept { message, content: Content::Memory(Arc::clone(&content)) });
        }
        if load.settles {
            for message in earlier.drain(..) {
                let hop = message.recipients[0].hop.clone();
                *waiting.entry(hop).or_insert(0) -= 1;
                batch.push(Record::Settle { id: message.id });
                batch.push(journal(&message, now));
            }
            earlier = accepted;
        }
        let waiting = waiting.into_iter().filter(|(_, delta)| *delta != 0);
        batch.extend(waiting.map(|(hop, delta)| Record::Waiting { hop, delta }));
        if let Some(store) = &mut store {
            store.commit(&batch).unwrap();
            store.tend(now).unwrap();
        }
    }
    (cpu() - before, start.elapsed())
}

fn message(id: MessageId, load: &Load) -> Message {
    let hop: NextHop = format!("mx:d{}.example.org", (id.0 * 7919) % load.hops).parse().unwrap();
    let path: ReversePath = "sender@client.example.net".parse().unwrap();
    Message {
        id,
        sender: Sender::plain(path),
        recipients: vec![Recipient::plain("recipient@d.example.org".parse().unwrap(), hop)],
        trace: "Received: from client.example.net ([192.0.2.9]) by mail.example.org with ESMTP id 0CZ8N2V4F0G00;\r\n\
                \tWed, 25 Nov 2026 07:00:28 +0000\r\n"
            .to_owned(),
        size: load.size as u64,
    }
}

/// What this thread has had of the processor.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
