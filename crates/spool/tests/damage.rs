//! A disk that has not kept what was synced: what is left counts, and what is missing is not passed over in silence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_mail::address::ReversePath;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_spool::record::{Content, Load, Loaded, Message, Record};
use postroad_spool::sqlite::{Options, SqliteStore};
use postroad_spool::{Store, StoreError};
use std::path::Path;
use std::sync::Arc;

fn hop() -> NextHop {
    "mx:b.example".parse().unwrap()
}

fn accept(id: u64) -> [Record; 2] {
    let recipients = vec![Recipient::plain("r@b.example".parse().unwrap(), hop())];
    let sender = Sender::plain(ReversePath::Null);
    let message = Arc::new(Message {
        id: MessageId(id),
        sender,
        recipients,
        trace: String::from("Received: x\r\n"),
        size: 3,
    });
    let content = Content::Memory(Arc::new(b"abc".to_vec()));
    [Record::Accept { message, content }, Record::Waiting { hop: hop(), delta: 1 }]
}

fn settle(id: u64) -> [Record; 2] {
    [Record::Settle { id: MessageId(id) }, Record::Waiting { hop: hop(), delta: -1 }]
}

fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(dir, Options::default())
}

/// Ids of the messages that are there, and how many recipients wait at the hop as its row has it.
fn there(store: &mut SqliteStore) -> (Vec<u64>, u64) {
    let Loaded::Messages(messages) = store.load(&Load::Messages { after: None, limit: 100 }).unwrap() else {
        panic!("no messages")
    };
    let Loaded::Hops(hops) = store.load(&Load::Hop(hop())).unwrap() else { panic!("no hops") };
    (messages.iter().map(|stored| stored.message.id.0).collect(), hops.first().map_or(0, |row| row.waiting))
}

/// Commits the batches, a frame each, ends as a crash does, and spoils the frame of that number.
fn spoiled(dir: &Path, batches: &[&[Record]], spoiled: usize) {
    let mut store = open(dir).unwrap();
    for batch in batches {
        store.commit(batch).unwrap();
    }
    drop(store);
    let intake = dir.join("spool.intake");
    let mut octets = std::fs::read(&intake).unwrap();
    let mut start = 0;
    for _ in 0..spoiled {
        let len: [u8; 4] = octets[start + 16..start + 20].try_into().unwrap();
        start += 24 + u32::from_le_bytes(len) as usize;
    }
    octets[start + 30] ^= 1;
    std::fs::write(&intake, octets).unwrap();
}

#[test]
fn what_is_behind_a_frame_that_is_lost_counts() {
    let spare = |lost: usize| {
        let dir = tempfile::tempdir().unwrap();
        let batches: [&[Record]; 5] = [&accept(1), &accept(2), &settle(1), &accept(3), &accept(4)];
        spoiled(dir.path(), &batches, lost);
        let found = there(&mut open(dir.path()).unwrap());
        assert_eq!(SqliteStore::damaged_copies(dir.path()).len(), 1, "{lost}");
        // It is told once: the next opening finds everything in the tables.
        let mut store = open(dir.path()).unwrap();
        assert_eq!(there(&mut store), found, "{lost}");
        store.commit(&accept(9)).unwrap();
        drop(store);
        assert_eq!(there(&mut open(dir.path()).unwrap()).1, found.1 + 1, "{lost}");
        assert_eq!(SqliteStore::damaged_copies(dir.path()).len(), 1, "{lost}");
        found
    };
    // The count would be 2, as that of message 1 is taken off twice.
    assert_eq!(spare(0), (vec![2, 3, 4], 3));
    assert_eq!(spare(1), (vec![3, 4], 2));
    // What was settled is there again, which is better than gone.
    assert_eq!(spare(2), (vec![1, 2, 3, 4], 4));
    assert_eq!(spare(3), (vec![2, 4], 2));
}

/// A crash leaves the last frame half written; nobody was told that it is ours.
#[test]
fn a_last_frame_that_is_not_whole_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    spoiled(dir.path(), &[&accept(1), &accept(2)], 1);
    assert_eq!(there(&mut open(dir.path()).unwrap()), (vec![1], 1));
    assert!(SqliteStore::damaged_copies(dir.path()).is_empty());
}
