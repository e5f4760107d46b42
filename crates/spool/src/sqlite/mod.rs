//! The store on disk: SQLite for envelopes, small contents and state, plain files for larger contents.
//!
//! What is in the directory, who owns each byte and what a crash leaves is the table of `docs/data.md`. The order of a
//! commit is always: contents into files, those synced, then the one SQLite commit that makes the batch ours, then the
//! removal of what it made superfluous. So a crash leaves files without rows, which opening and tending remove, and
//! never rows without files.

mod apply;
mod contents;
mod fault;
mod history;
mod load;
mod open;
mod rows;

use crate::record::{Committed, DraftId, Load, Loaded, Record};
use crate::{Store, StoreError};
use contents::Contents;
use fault::Result;
use history::History;
use postroad_mail::time::Wall;
use rows::Counters;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The store in a directory.
pub struct SqliteStore {
    db: Connection,
    contents: Contents,
    history: History,
    counters: Counters,
    log_pages_due: i32,
    /// Why nothing more is done: after a failure nobody knows what is on disk until the store is opened again.
    failed: Option<StoreError>,
    /// Held while the store is open: one process, one instance.
    _lock: File,
}

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether commits reach the disk.
    pub synchronous: Synchronous,
    /// Whether drafts are left where they are: set when a store that failed is opened anew while sessions go on writing
    /// theirs. At the start of a process none is anybody's.
    pub keep_drafts: bool,
    /// A segment that has this many octets is sealed, and the next begun. A smaller one is dropped sooner, and there are
    /// more files.
    pub segment_octets_max: u64,
    /// Entries in one table of history before the next is begun: dropping a table takes time in proportion.
    pub history_rows_max: i64,
    /// Pages in the write-ahead log at which `tend` moves them into the database. More are moved more rarely, and take
    /// longer.
    pub log_pages_due: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            keep_drafts: false,
            segment_octets_max: 64 << 20,
            history_rows_max: HISTORY_ROWS_MAX,
            log_pages_due: LOG_PAGES_DUE,
        }
    }
}

/// 100,000 entries of 300 octets are dropped in about 20 ms.
const HISTORY_ROWS_MAX: i64 = 100_000;

/// 4 MiB, tens of milliseconds (measured: left to a second thread, the log grew to 200 MiB).
const LOG_PAGES_DUE: i32 = 1_000;

/// A log of this many times the pages that are due is moved by a commit itself, because nobody tended.
const LOG_OVERDUE: i32 = 4;

/// Whether commits reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit is on disk when it returns.
    Full,
    /// Nothing is ever synced. It exists so that the test of syncing can be seen to fail; mail would be lost.
    Off,
}

/// Where the shell writes the file of a draft.
#[must_use]
pub fn draft_path(dir: &Path, draft: DraftId) -> PathBuf {
    dir.join("drafts").join(draft.0.to_string())
}

impl SqliteStore {
    /// Opens the store of a directory, which is made if it is not there. Recovery is part of it: what was committed is
    /// there, drafts and unfinished files are removed.
    ///
    /// # Errors
    /// `Failed` where another process has it open, the database is damaged or of a newer version (the text says what to
    /// do), or the disk fails; `Full` where there is no room even to begin.
    pub fn open(dir: &Path, options: Options) -> std::result::Result<Self, StoreError> {
        open::open(dir, &options).map_err(Into::into)
    }

    /// Runs a step; after a failure no other will run on this instance.
    fn guarded<T>(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<T>,
    ) -> std::result::Result<T, StoreError> {
        if let Some(earlier) = &self.failed {
            return Err(earlier.clone());
        }
        step(self).map_err(|fault| {
            let error = StoreError::from(fault);
            self.failed = Some(error.clone());
            // Closing must not write either. Should this be refused, closing moves committed pages only.
            let _ = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            error
        })
    }

    fn checkpoint_at(&mut self, pages: i32) -> Result<()> {
        let (logged, moved) = self.db.wal_checkpoint_v2(Some(c"main"), CheckpointMode::NOOP)?;
        if logged - moved >= pages {
            // Passive, so that the log is written again from its start and keeps its blocks: a log that is truncated costs
            // each following sync a change of the file's size.
            self.db.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, batch: &[Record]) -> std::result::Result<Committed, StoreError> {
        if batch.is_empty() {
            return Ok(Committed::default());
        }
        self.guarded(|store| {
            store.checkpoint_at(store.log_pages_due.saturating_mul(LOG_OVERDUE))?;
            store.apply(batch)
        })
    }

    fn load(&mut self, load: &Load) -> std::result::Result<Loaded, StoreError> {
        // A failed read leaves what is on disk as it was.
        self.failed.clone().map_or(Ok(()), Err)?;
        Ok(self.answer(load)?)
    }

    fn tend(&mut self, now: Wall) -> std::result::Result<(), StoreError> {
        self.guarded(|store| {
            store.checkpoint_at(store.log_pages_due)?;
            store.contents.tend(&store.db)?;
            store.history.tend(&store.db, now)
        })
    }
}
