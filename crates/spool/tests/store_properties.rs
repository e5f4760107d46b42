//! Both engines are told the same and must answer the same, whatever is written, also after being opened again.

mod common;

use common::{Act, Batch, NOW, Writer, batches, survey};
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use postroad_spool::memory::MemoryStore;
use postroad_spool::record::{Content, Load, Loaded, Record};
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
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree(batches in batches(1..12), limit in 1usize..4, content_total_max in 0u64..100_000) {
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
