//! The store on disk: SQLite for envelopes, small contents and state, plain files for larger contents, and before SQLite a file
//! of batches that take what comes and soon goes (`intake`).
//!
//! What is in the directory, who owns each byte and what a crash leaves is the table of `docs/data.md`. The order of a
//! commit is always: contents into files, those synced, then the one SQLite commit that makes the batch ours, then the
//! removal of what it made superfluous. So a crash leaves files without rows, which opening and tending remove, and
//! never rows without files.

mod apply;
mod contents;
mod fault;
mod frame;
mod history;
mod intake;
mod load;
mod open;
mod rows;

use crate::record::{Committed, DraftId, Load, Loaded, Record};
use crate::{Store, StoreError};
use contents::Contents;
use fault::Result;
use history::History;
use intake::Intake;
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
    intake: Intake,
    contents: Contents,
    history: History,
    counters: Counters,
    log_pages_due: i32,
    direct_after_load: u32,
    /// Batches that still go into the tables at once, because questions are asked.
    direct_left: u32,
    /// Whether a batch came since the store was last tended.
    busy: bool,
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
    /// Messages, settles and entries of history in the intake at which `tend` moves what it holds into the tables.
    pub intake_entries_due: usize,
    /// Batches that go into the tables at once after a question, for which the intake has to be emptied: where questions and
    /// batches take turns, what goes through the intake is written twice.
    pub direct_after_load: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            keep_drafts: false,
            segment_octets_max: 64 << 20,
            history_rows_max: HISTORY_ROWS_MAX,
            log_pages_due: LOG_PAGES_DUE,
            intake_entries_due: INTAKE_ENTRIES_DUE,
            direct_after_load: DIRECT_AFTER_LOAD,
        }
    }
}

/// 100,000 entries of 300 octets are dropped in about 20 ms.
const HISTORY_ROWS_MAX: i64 = 100_000;

/// 4 MiB, tens of milliseconds (measured: left to a second thread, the log grew to 200 MiB).
const LOG_PAGES_DUE: i32 = 1_000;

/// Moved in about two milliseconds. With a fourth of them, more of what is in flight comes to the tables: at 100 connections, kept
/// alive, 6 us of the writer a message.
const INTAKE_ENTRIES_DUE: usize = 1024;

/// Some milliseconds of batches: a queue that loads what it has not in memory asks again within that.
const DIRECT_AFTER_LOAD: u32 = 16;

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

    /// The copies that opening has made of an intake in which what was synced was missing, until somebody removes them.
    #[must_use]
    pub fn damaged_copies(dir: &Path) -> Vec<PathBuf> {
        intake::damaged_copies(dir)
    }

    /// Whether nothing more is done until the store is opened anew.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
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

    /// Takes a batch that is in the intake's file, or about to be, into account.
    fn hold(&mut self, batch: &[Record]) -> Result<Committed> {
        for record in batch {
            if let Record::Accept { message, .. } = record {
                self.counters.last_id = self.counters.last_id.max(rows::id_to_row(message.id));
            }
        }
        let db = &self.db;
        self.intake.hold(batch, |hop| rows::hop_row(db, hop))
    }

    /// Moves what the intake holds into the tables.
    fn drain(&mut self) -> Result<()> {
        if !self.intake.is_empty() {
            let records = self.intake.take();
            self.write(&records)?;
            self.intake.taken();
        }
        Ok(())
    }

    /// Writes a batch into the tables.
    fn write(&mut self, batch: &[Record]) -> Result<Committed> {
        self.checkpoint_at(self.log_pages_due.saturating_mul(LOG_OVERDUE))?;
        self.apply(batch)
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
            store.busy = true;
            let direct = store.direct_left > 0;
            store.direct_left = store.direct_left.saturating_sub(1);
            if direct || !Intake::takes(batch, rows::id_of_row(store.counters.last_id)) {
                store.drain()?;
                return store.write(batch);
            }
            store.intake.write(batch)?;
            let committed = store.hold(batch)?;
            if store.intake.is_overdue() {
                store.drain()?;
            }
            Ok(committed)
        })
    }

    fn load(&mut self, load: &Load) -> std::result::Result<Loaded, StoreError> {
        self.guarded(|store| match load {
            Load::Content { id, .. } if !store.intake.has(*id) => Ok(()),
            _ => {
                store.direct_left = store.direct_after_load;
                store.drain()
            }
        })?;
        // A failed read leaves what is on disk as it was.
        Ok(self.answer(load)?)
    }

    fn tend(&mut self, now: Wall) -> std::result::Result<(), StoreError> {
        self.guarded(|store| {
            if store.intake.is_due() || !std::mem::take(&mut store.busy) {
                store.drain()?;
            }
            store.checkpoint_at(store.log_pages_due)?;
            store.contents.tend(&store.db)?;
            store.history.tend(&store.db, now)
        })
    }
}
