//! Both engines are told the same and must answer the same, whatever is written, also after being opened again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod common;

use common::{Batch, NOW, Writer, batches, message, survey};
use postroad_mail::envelope::Recipient;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use postroad_spool::memory::MemoryStore;
use postroad_spool::record::{Committed, Content, DraftId, HopState, JournalEntry, Load, Loaded, Record};
use postroad_spool::sqlite::{Options, SqliteStore, Synchronous, draft_path};
use postroad_spool::{Store, StoreError};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Small bounds, so that segments are sealed and tables of history begun within a test. What syncing does is not seen
/// by a process that lives on; the crash tests are there for that.
fn options() -> Options {
    Options {
        synchronous: Synchronous::Off,
        segment_octets_max: 50_000,
        history_rows_max: 5,
        log_pages_due: 20,
        intake_entries_due: 4,
        direct_after_load: 0,
        ..Options::default()
    }
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir, options()).unwrap()
}

struct Pair {
    dir: TempDir,
    memory: MemoryStore,
    sqlite: Option<SqliteStore>,
}

impl Pair {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Some(open(dir.path()));
        Self { dir, memory: MemoryStore::new(), sqlite }
    }

    fn sqlite(&mut self) -> &mut SqliteStore {
        self.sqlite.as_mut().unwrap()
    }

    fn commit(&mut self, batch: Batch) {
        for (draft, octets) in batch.drafts {
            fs::write(draft_path(self.dir.path(), draft), &octets).unwrap();
            self.memory.put_draft(draft, octets);
        }
        let expected = self.memory.commit(&batch.records).unwrap();
        assert_eq!(self.sqlite().commit(&batch.records).unwrap(), expected);
    }

    /// Until there is nothing left to tend.
    fn tend(&mut self, now: Wall) {
        self.memory.tend(now).unwrap();
        for _ in 0..200 {
            self.sqlite().tend(now).unwrap();
        }
    }

    fn reopen(&mut self) {
        self.sqlite = None;
        self.sqlite = Some(open(self.dir.path()));
    }

    fn compare(&mut self, ids: &[MessageId], limit: usize, content_total_max: u64) {
        let expected = survey(&mut self.memory, ids, limit, content_total_max);
        let found = survey(self.sqlite(), ids, limit, content_total_max);
        assert!(found == expected, "{found:#?}\nis not\n{expected:#?}");
    }

    fn files(&self, folder: &str) -> usize {
        fs::read_dir(self.dir.path().join(folder)).unwrap().count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree(batches in batches(1..20), limit in 1usize..4, content_total_max in 0u64..100_000) {
        let mut pair = Pair::new();
        let mut writer = Writer::default();
        for (count, acts) in batches.iter().enumerate() {
            let batch = writer.batch(acts);
            pair.commit(batch);
            match count % 4 {
                1 => pair.compare(&writer.ids(), limit, content_total_max),
                2 => pair.tend(NOW),
                3 => pair.reopen(),
                _ => {}
            }
        }
        pair.reopen();
        pair.compare(&writer.ids(), 1_000, content_total_max);
        pair.tend(Wall(NOW.0 + 7 * 86_400_000));
        pair.compare(&writer.ids(), limit, content_total_max);
    }
}

/// A batch's record that accepts a message of this size, to one hop.
fn accept(id: u64, size: usize, content: Content) -> Record {
    let recipient = Recipient::plain("a@a.example".parse().unwrap(), "mx:a.example".parse().unwrap());
    Record::Accept { message: Arc::new(message(MessageId(id), vec![recipient], size)), content }
}

fn octets(size: usize) -> Content {
    Content::Memory(Arc::new(vec![b'x'; size]))
}

fn messages(store: &mut dyn Store) -> usize {
    let Loaded::Messages(found) = store.load(&Load::Messages { after: None, limit: 100 }).unwrap() else {
        panic!("messages")
    };
    found.len()
}

#[test]
fn a_refused_batch_leaves_nothing() {
    let check = |refused: Record| {
        let batch = [accept(1, 20_000, octets(20_000)), refused];
        let mut memory = MemoryStore::new();
        assert!(matches!(memory.commit(&batch), Err(StoreError::Failed(_))));
        assert_eq!(messages(&mut memory), 0);
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        assert!(matches!(store.commit(&batch), Err(StoreError::Failed(_))));
        drop(store);
        let mut store = open(dir.path());
        assert_eq!(messages(&mut store), 0);
        assert_eq!(store.commit(&[accept(1, 5, octets(5))]), Ok(Committed::default()));
    };
    check(accept(2, 5, Content::Draft(DraftId(9))));
    check(accept(2, 5, Content::Stored));
    check(accept(2, 6, octets(5)));
    check(accept(1, 5, octets(5)));
    check(Record::Divide { id: MessageId(1), pending: Vec::new() });
}

#[test]
fn what_cannot_be_opened_says_why() {
    let check = |spoil: &dyn Fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        store.commit(&[accept(1, 5, octets(5))]).unwrap();
        drop(store);
        spoil(dir.path());
        let Err(StoreError::Failed(text)) = SqliteStore::open(dir.path(), options()) else {
            panic!("opened")
        };
        assert!(text.contains(expected), "{text:?} does not say {expected:?}");
    };
    check(&|dir| fs::write(dir.join("spool.db"), "x".repeat(9_000)).unwrap(), "restore it from a backup");
    let newer = |dir: &Path| {
        rusqlite::Connection::open(dir.join("spool.db"))
            .unwrap()
            .pragma_update(None, "user_version", 7)
            .unwrap();
    };
    check(&newer, "version 7");
    check(&|dir| std::mem::forget(open(dir)), "open already");
}

#[test]
fn a_lost_content_is_told_and_stops_no_other_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&[accept(1, 20_000, octets(20_000)), accept(2, 10, octets(10))]).unwrap();
    fs::write(dir.path().join("segments/1"), "").unwrap();
    let Err(StoreError::Failed(text)) = store.load(&Load::Content { id: MessageId(1), offset: 0, len: 9 })
    else {
        panic!("loaded")
    };
    assert!(text.contains("segments/1"), "{text}");
    let hop = "mx:a.example".parse().unwrap();
    let load = Load::Fresh { hop, after: None, limit: 9, content_total_max: u64::MAX };
    let Loaded::Messages(found) = store.load(&load).unwrap() else { panic!("messages") };
    assert_eq!(found.iter().map(|one| &one.content).collect::<Vec<_>>(), [&Content::Stored, &octets(10)]);
    store.commit(&[Record::Settle { id: MessageId(1) }]).unwrap();
}

/// A file that cannot be opened or read, as where a block of it is bad, or all descriptors are in use.
#[test]
fn a_content_that_cannot_be_read_stops_no_other_message() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&[accept(1, 20_000, octets(20_000)), accept(2, 10, octets(10))]).unwrap();
    let segment = dir.path().join("segments/1");
    fs::remove_file(&segment).unwrap();
    std::os::unix::fs::symlink(&segment, &segment).unwrap();
    assert!(store.load(&Load::Content { id: MessageId(1), offset: 0, len: 9 }).is_err());
    let hop = "mx:a.example".parse().unwrap();
    let load = Load::Fresh { hop, after: None, limit: 9, content_total_max: u64::MAX };
    let Loaded::Messages(found) = store.load(&load).unwrap() else { panic!("messages") };
    assert_eq!(found.iter().map(|one| &one.content).collect::<Vec<_>>(), [&Content::Stored, &octets(10)]);
}

#[test]
fn files_go_when_nothing_in_them_lives() {
    let mut pair = Pair::new();
    let commit = |pair: &mut Pair, records: Vec<Record>| pair.commit(Batch { records, drafts: Vec::new() });
    let large = (4 << 20) + 1;
    commit(&mut pair, vec![accept(1, 40_000, octets(40_000)), accept(2, 40_000, octets(40_000))]);
    commit(&mut pair, vec![accept(3, 40_000, octets(40_000)), accept(4, large, octets(large))]);
    assert_eq!((pair.files("segments"), pair.files("bodies")), (2, 1));
    commit(&mut pair, vec![Record::Settle { id: MessageId(1) }]);
    pair.tend(NOW);
    assert_eq!((pair.files("segments"), pair.files("bodies")), (2, 1), "something in each lives");
    commit(&mut pair, vec![Record::Settle { id: MessageId(2) }, Record::Settle { id: MessageId(4) }]);
    pair.tend(NOW);
    assert_eq!((pair.files("segments"), pair.files("bodies")), (1, 0));
    commit(&mut pair, vec![Record::Settle { id: MessageId(3) }]);
    pair.tend(NOW);
    assert_eq!(pair.files("segments"), 1, "the one that is appended to stays");
    for stray in ["drafts/7", "segments/99", "segments/x", "bodies/0000000000001", "bodies/x"] {
        fs::write(pair.dir.path().join(stray), "left by a crash").unwrap();
    }
    pair.reopen();
    pair.tend(NOW);
    assert_eq!((pair.files("drafts"), pair.files("segments"), pair.files("bodies")), (0, 0, 0));
}

#[test]
fn a_hop_that_went_and_came_again_has_forgotten() {
    let mut pair = Pair::new();
    let commit = |pair: &mut Pair, records: Vec<Record>| pair.commit(Batch { records, drafts: Vec::new() });
    let hop: NextHop = "mx:a.example".parse().unwrap();
    let waiting = |delta| Record::Waiting { hop: hop.clone(), delta };
    let state = HopState { host_failures: 3, ..HopState::default() };
    commit(&mut pair, vec![waiting(2)]);
    commit(&mut pair, vec![Record::Hop { hop: hop.clone(), due: NOW, state }]);
    for delta in [-1, 4, -5, 3] {
        commit(&mut pair, vec![waiting(delta)]);
    }
    pair.reopen();
    pair.compare(&[], 9, 0);
    commit(&mut pair, vec![waiting(1)]);
    pair.tend(NOW);
    pair.compare(&[], 9, 0);
}

#[test]
fn the_intake_is_written_again_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    for id in 1..200 {
        store.commit(&[accept(id, 3_000, octets(3_000)), Record::Settle { id: MessageId(id - 1) }]).unwrap();
        store.commit(&[Record::Settle { id: MessageId(id * 1_000) }]).unwrap();
        store.tend(NOW).unwrap();
    }
    let len = fs::metadata(dir.path().join("spool.intake")).unwrap().len();
    assert!((3_000..60_000).contains(&len), "{len} octets");
    drop(store);
    assert_eq!(messages(&mut open(dir.path())), 1);
}

#[test]
fn a_spool_of_version_1_is_brought_to_this_one() {
    let mut pair = Pair::new();
    let compare = |pair: &mut Pair| {
        let journal = Load::JournalOfMessage { id: MessageId(1), limit: 9 };
        for load in [journal, Load::Messages { after: None, limit: 9 }, Load::Totals] {
            assert_eq!(pair.sqlite().load(&load).unwrap(), pair.memory.load(&load).unwrap());
        }
    };
    let commit = |pair: &mut Pair, records: Vec<Record>| pair.commit(Batch { records, drafts: Vec::new() });
    let entry = |body: &str| {
        let (message, hop) = (Some(MessageId(1)), "mx:a.example".parse().unwrap());
        Record::Journal(JournalEntry { message, hop, at: NOW, body: body.to_owned() })
    };
    commit(&mut pair, vec![accept(1, 5, octets(5)), accept(2, 20_000, octets(20_000)), entry("{\"at\":1}")]);
    compare(&mut pair);
    pair.sqlite = None;
    fs::remove_file(pair.dir.path().join("spool.intake")).unwrap();
    // As version 1 had them: no intake, and a history that was clustered by hop.
    let before = "
        ALTER TABLE counter DROP COLUMN taken; ALTER TABLE counter DROP COLUMN salt;
        CREATE TABLE old(
            hop INTEGER, entry INTEGER, about INTEGER NOT NULL, at INTEGER NOT NULL, name TEXT NOT NULL,
            body TEXT NOT NULL, PRIMARY KEY(hop, entry)) WITHOUT ROWID;
        INSERT INTO old SELECT hop, entry, about, at, name, body FROM history_1;
        DROP TABLE history_1; ALTER TABLE old RENAME TO history_1;
        CREATE INDEX history_1_about ON history_1(about, entry);
        PRAGMA user_version = 1;";
    let db = rusqlite::Connection::open(pair.dir.path().join("spool.db")).unwrap();
    db.execute_batch(before).unwrap();
    drop(db);
    pair.reopen();
    compare(&mut pair);
    commit(
        &mut pair,
        vec![accept(3, 5, octets(5)), Record::Settle { id: MessageId(1) }, entry("{\"at\":2}")],
    );
    pair.reopen();
    compare(&mut pair);
}

/// After opening, the folder of large contents is looked through some at a time, while some of them go.
#[test]
fn large_contents_go_while_the_folder_is_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let ids = 1..=100;
    let size = (4 << 20) + 1;
    let drafts: Vec<Record> = ids
        .clone()
        .map(|id| {
            let draft = fs::File::create(draft_path(dir.path(), DraftId(id))).unwrap();
            draft.set_len(size).unwrap();
            accept(id, size as usize, Content::Draft(DraftId(id)))
        })
        .collect();
    store.commit(&drafts).unwrap();
    drop(store);
    let mut store = open(dir.path());
    store.tend(NOW).unwrap();
    store.commit(&ids.map(|id| Record::Settle { id: MessageId(id) }).collect::<Vec<_>>()).unwrap();
    for _ in 0..20 {
        store.tend(NOW).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path().join("bodies")).unwrap().count(), 0);
}

#[test]
fn an_intake_that_does_not_belong_to_the_tables_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.commit(&[accept(1, 5, octets(5))]).unwrap();
    store.commit(&[accept(2, 5, octets(5))]).unwrap();
    drop(store);
    let path = dir.path().join("spool.intake");
    let whole = fs::read(&path).unwrap();
    // As when the database is put back from a copy, and the intake is not.
    fs::write(&path, &whole[whole.len() / 2..]).unwrap();
    let Err(StoreError::Failed(text)) = SqliteStore::open(dir.path(), options()) else { panic!("opened") };
    assert!(text.contains("spool.intake") && text.contains("copy the spool's directory away"), "{text}");
    fs::write(&path, &whole).unwrap();
    assert_eq!(messages(&mut open(dir.path())), 2);
}

#[test]
fn history_is_kept_for_a_week_and_in_tables_of_bounded_size() {
    let mut pair = Pair::new();
    let entry = |day: i64| {
        let at = Wall(NOW.0 + day * 86_400_000);
        let hop = "mx:a.example".parse().unwrap();
        Record::Journal(JournalEntry {
            message: Some(MessageId(1)),
            hop,
            at,
            body: format!("{{\"day\":{day}}}"),
        })
    };
    let days = [-8, -7, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0];
    pair.commit(Batch { records: days.into_iter().map(entry).collect(), drafts: Vec::new() });
    pair.tend(NOW);
    pair.reopen();
    let load = Load::JournalOfMessage { id: MessageId(1), limit: 100 };
    let Loaded::Journal(entries) = pair.sqlite().load(&load).unwrap() else { panic!("journal") };
    let kept: Vec<i64> = entries.iter().map(|entry| entry.at.day() - NOW.day()).collect();
    assert_eq!(kept, [-7, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(pair.memory.load(&load).unwrap(), Loaded::Journal(entries));
    pair.sqlite = None;
    let db = rusqlite::Connection::open(pair.dir.path().join("spool.db")).unwrap();
    let rows = |table: i64| {
        db.query_row(&format!("SELECT count(*) FROM history_{table}"), [], |row| row.get::<_, i64>(0))
    };
    let tables: Vec<i64> = (1..20).filter_map(|table| rows(table).ok()).collect();
    assert!(tables.len() > 3 && tables.iter().all(|rows| *rows <= 5), "{tables:?}");
}
