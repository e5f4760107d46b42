//! The store on disk: one SQLite file, with its write-ahead log beside it.
//!
//! A change is one transaction: it is ours when the log is synced, before `commit` returns. What a crash leaves in the log
//! behind the last whole transaction, opening takes no notice of. Tables: `open::TABLES`.
//!
//! Growth (measured with `metabase_cost`): 460 octets for a key that comes with one short record, its place in history
//! among them, and 160 for each further change of a short record. So 100,000 keys take 46 MB, and a full history of single
//! changes 16 MB. Rows that are dropped leave room for others; the file itself does not shrink.

use super::fault::{Fault, Result, damaged};
use super::rows::{folded, number_of_row, number_to_row, path_of_row, record_of_row, record_to_row};
use super::seal::{Nonces, Seal};
use super::{Commit, Loaded, PAGE_DELTAS_MAX, Past, Pending, Pinned, Store, StoreError, open};
use crate::path::KeyPath;
use crate::record::Record;
use crate::text::Pin;
use crate::tree::{Delta, Op, Tree};
use postroad_mail::time::Wall;
use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, Row, params};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The store in a file.
pub struct SqliteStore {
    pub(super) db: Connection,
    pub(super) file: PathBuf,
    pub(super) seal: Seal,
    /// Why nothing more is written: after a failure nobody knows what is on disk until the store is opened again.
    pub(super) failed: Option<StoreError>,
    /// Held while the store is open, and closed after the database: one process, one instance.
    pub(super) _lock: File,
}

/// Pages in the log at which a commit first moves them into the database: 4 MiB, tens of milliseconds.
const LOG_PAGES_DUE: i32 = 1000;

/// What a row of `delta` tells.
const KEY_CREATED: i64 = 0;
const KEY_DELETED: i64 = 1;
const RECORD: i64 = 2;

impl SqliteStore {
    /// Opens the store in a file, which is made if it is not there. What was committed is there.
    ///
    /// # Errors
    /// `WrongKey` where `seal` is not what the file was made with; `Failed` where another process has it open, it is damaged
    /// or of a newer version (the text says what to do), or the disk fails; `Full` where there is no room even to begin.
    /// Nothing is overwritten.
    pub fn open(file: &Path, seal: Seal) -> std::result::Result<Self, StoreError> {
        open::open(file, seal).map_err(Into::into)
    }

    /// Runs a step that writes; after a failure no other will on this instance.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> std::result::Result<(), StoreError> {
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

    /// What could not be opened again has no history to read.
    fn readable(&self) -> std::result::Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn checkpoint(&self) -> Result<()> {
        let (logged, moved) = self.db.wal_checkpoint_v2(Some(c"main"), CheckpointMode::NOOP)?;
        if logged - moved >= LOG_PAGES_DUE {
            self.db.wal_checkpoint_v2(Some(c"main"), CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }

    fn write(&mut self, commit: &Commit<'_>) -> Result<()> {
        let transaction = self.db.transaction()?;
        let Commit { generation, change, deltas, pending, forget, pinned } = *commit;
        let generation = number_to_row(generation);
        transaction
            .prepare_cached(
                "INSERT INTO change(generation, at, author, reason, until, deltas) VALUES(?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                generation,
                change.at.0,
                change.author,
                change.reason,
                change.confirm_until.map(|until| until.0),
                number_to_row(deltas.len() as u64),
            ])?;
        write_deltas(&transaction, &self.seal, commit.generation, deltas)?;
        transaction.prepare_cached("UPDATE state SET generation = ?, pending = ?, until = ?")?.execute(
            params![
                generation,
                pending.map(|pending| number_to_row(pending.generation)),
                pending.map(|pending| pending.until.0),
            ],
        )?;
        for table in ["change", "delta"] {
            transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE generation <= ?"))?
                .execute([number_to_row(forget)])?;
        }
        if let Some(pinned) = pinned {
            write_pins(&transaction, &self.seal, pinned)?;
        }
        Ok(transaction.commit()?)
    }

    fn read(&self) -> Result<Loaded> {
        let mut tree = Tree::new();
        let mut keys = self.db.prepare("SELECT shown FROM key ORDER BY path")?;
        let mut rows = keys.query([])?;
        while let Some(row) = rows.next()? {
            take(&mut tree, &Op::Create(path_of_row(text(row, 0)?)?))?;
        }
        let mut records = self.db.prepare(
            "SELECT record.path, record.id, record.value, key.shown FROM record LEFT JOIN key USING(path)
             ORDER BY record.path, record.id",
        )?;
        let mut rows = records.query([])?;
        while let Some(row) = rows.next()? {
            let (folded, id) = (text(row, 0)?, row.get(1)?);
            let Some(shown) = row.get_ref(3)?.as_str_or_null().map_err(rusqlite::Error::from)? else {
                return Err(damaged(&format!("record {id} of {folded} in metabase.db has no key")));
            };
            let value = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            take(&mut tree, &Op::Set(path_of_row(shown)?, record_of_row(&self.seal, folded, id, value)?))?;
        }
        let (generation, pending) =
            self.db.query_row("SELECT generation, pending, until FROM state", [], |row| {
                let pending = (row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(2)?);
                Ok((number_of_row(row.get(0)?), pending))
            })?;
        let pending = match pending {
            (Some(waits), Some(until)) => {
                Some(Pending { generation: number_of_row(waits), until: Wall(until) })
            }
            _ => None,
        };
        Ok(Loaded { tree, generation, oldest: self.oldest()?, pending, pinned: self.pinned()? })
    }

    fn pinned(&self) -> Result<Pinned> {
        let mut pinned = Pinned::default();
        let mut pins =
            self.db.prepare("SELECT file, line, shown, path, id, value FROM pin ORDER BY place")?;
        let mut rows = pins.query([])?;
        while let Some(row) = rows.next()? {
            let value = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
            let record = record_of_row(&self.seal, text(row, 3)?, row.get(4)?, value)?;
            let line = usize::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
            pinned.file = row.get(0)?;
            pinned.pins.push(Pin::known(path_of_row(text(row, 2)?)?, record, line));
        }
        Ok(pinned)
    }

    fn oldest(&self) -> Result<u64> {
        let oldest =
            self.db.query_row("SELECT coalesce(min(generation), 0) FROM change", [], |row| row.get(0))?;
        Ok(number_of_row(oldest))
    }

    fn page(&self, before: i64, limit: usize, deltas_max: usize) -> Result<Vec<Past>> {
        let mut changes = self.db.prepare_cached(
            "SELECT generation, at, author, reason, until, deltas, confirmed_at, confirmed_by FROM change
             WHERE generation < ? ORDER BY generation DESC LIMIT ?",
        )?;
        let rows = changes.query_map(params![before, number_to_row(limit as u64)], past_of_row)?;
        let mut pasts = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        for past in &mut pasts {
            past.deltas = self.deltas(past.generation, deltas_max)?;
        }
        Ok(pasts)
    }

    fn deltas(&self, generation: u64, limit: usize) -> Result<Vec<Delta>> {
        let mut deltas = self.db.prepare_cached(
            "SELECT shown, path, kind, id, before, after FROM delta WHERE generation = ? ORDER BY place LIMIT ?",
        )?;
        let mut rows = deltas.query(params![number_to_row(generation), number_to_row(limit as u64)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(delta_of_row(&self.seal, row)?);
        }
        Ok(found)
    }

    fn page_of(&self, path: &KeyPath, id: u32, limit: usize) -> Result<Vec<Past>> {
        let mut changes = self.db.prepare_cached(
            "SELECT delta.shown, delta.path, delta.kind, delta.id, delta.before, delta.after, delta.generation
             FROM delta WHERE path = ? AND id = ? ORDER BY generation DESC LIMIT ?",
        )?;
        let mut rows = changes.query(params![folded(path), id, number_to_row(limit as u64)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let generation: i64 = row.get(6)?;
            if let Some(mut past) = self.page(generation.saturating_add(1), 1, 0)?.pop() {
                past.deltas = vec![delta_of_row(&self.seal, row)?];
                found.push(past);
            }
        }
        Ok(found)
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> std::result::Result<Loaded, StoreError> {
        let loaded = self.read()?;
        // Whole: from here on closing may move the log into the database.
        self.db
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, self.failed.is_some())
            .map_err(Fault::from)?;
        Ok(loaded)
    }

    fn commit(&mut self, commit: &Commit<'_>) -> std::result::Result<(), StoreError> {
        self.guarded(|store| {
            store.checkpoint()?;
            store.write(commit)
        })
    }

    fn confirm(&mut self, confirmed: Option<(Wall, &str)>) -> std::result::Result<(), StoreError> {
        self.guarded(|store| {
            let transaction = store.db.transaction()?;
            if let Some((at, by)) = confirmed {
                transaction.execute(
                    "UPDATE change SET confirmed_at = ?, confirmed_by = ? WHERE generation = (SELECT pending FROM state)",
                    params![at.0, by],
                )?;
            }
            transaction.execute("UPDATE state SET pending = NULL, until = NULL", [])?;
            Ok(transaction.commit()?)
        })
    }

    fn pin(&mut self, pinned: &Pinned) -> std::result::Result<(), StoreError> {
        self.guarded(|store| {
            let transaction = store.db.transaction()?;
            write_pins(&transaction, &store.seal, pinned)?;
            Ok(transaction.commit()?)
        })
    }

    fn reopen(&mut self) -> std::result::Result<Loaded, StoreError> {
        // One that is there keeps others out, so it goes first.
        self.db = Connection::open_in_memory().map_err(Fault::from)?;
        let failed = |store: &mut Self, fault: Fault| {
            let error = StoreError::from(fault);
            store.failed = Some(error.clone());
            error
        };
        match open::recover(&self.file, &self.seal) {
            Ok(db) => self.db = db,
            Err(fault) => return Err(failed(self, fault)),
        }
        let loaded = self.read().map_err(|fault| failed(self, fault))?;
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(Fault::from)?;
        self.failed = None;
        Ok(loaded)
    }

    fn past(&mut self, generation: u64) -> std::result::Result<Option<Past>, StoreError> {
        self.readable()?;
        let before = number_to_row(generation).saturating_add(1);
        let found = self.page(before, 1, usize::MAX)?.pop();
        Ok(found.filter(|past| past.generation == generation))
    }

    fn history(&mut self, limit: usize, before: Option<u64>) -> std::result::Result<Vec<Past>, StoreError> {
        self.readable()?;
        Ok(self.page(before.map_or(i64::MAX, number_to_row), limit, PAGE_DELTAS_MAX)?)
    }

    fn history_of(
        &mut self,
        path: &KeyPath,
        id: u32,
        limit: usize,
    ) -> std::result::Result<Vec<Past>, StoreError> {
        self.readable()?;
        Ok(self.page_of(path, id, limit)?)
    }
}

fn write_pins(db: &Connection, seal: &Seal, pinned: &Pinned) -> Result<()> {
    db.execute("DELETE FROM pin", [])?;
    // No change has this number.
    let mut nonces = Nonces::new(u64::MAX);
    let mut insert = db.prepare_cached(
        "INSERT INTO pin(place, file, line, path, shown, id, value) VALUES(?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (place, pin) in pinned.pins.iter().enumerate() {
        let folded = folded(&pin.path);
        let value = record_to_row(seal, &mut nonces, &folded, &pin.record)?;
        insert.execute(params![
            number_to_row(place as u64),
            pinned.file,
            number_to_row(pin.line as u64),
            folded,
            pin.path.to_string(),
            pin.record.id,
            value
        ])?;
    }
    Ok(())
}

/// Into the tables of what is, and into history.
fn write_deltas(db: &Connection, seal: &Seal, generation: u64, deltas: &[Delta]) -> Result<()> {
    let mut nonces = Nonces::new(generation);
    let mut create = db.prepare_cached("INSERT INTO key(path, shown) VALUES(?, ?)")?;
    let mut delete = db.prepare_cached("DELETE FROM key WHERE path = ?")?;
    let mut set = db.prepare_cached("INSERT OR REPLACE INTO record(path, id, value) VALUES(?, ?, ?)")?;
    let mut unset = db.prepare_cached("DELETE FROM record WHERE path = ? AND id = ?")?;
    let mut tell = db.prepare_cached(
        "INSERT INTO delta(generation, place, path, shown, kind, id, before, after) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let generation = number_to_row(generation);
    for (place, delta) in deltas.iter().enumerate() {
        let (folded, shown) = (folded(delta.path()), delta.path().to_string());
        let (kind, id, before, after) = match delta {
            Delta::KeyCreated(_) => {
                create.execute([&folded, &shown])?;
                (KEY_CREATED, None, None, None)
            }
            Delta::KeyDeleted(_) => {
                delete.execute([&folded])?;
                (KEY_DELETED, None, None, None)
            }
            Delta::Record { id, before, after, .. } => {
                let mut blob = |record: &Option<Record>| {
                    record.as_ref().map(|one| record_to_row(seal, &mut nonces, &folded, one)).transpose()
                };
                let (before, after) = (blob(before)?, blob(after)?);
                // Both tables have the same octets: no nonce seals two things.
                match &after {
                    Some(value) => set.execute(params![folded, id, value])?,
                    None => unset.execute(params![folded, id])?,
                };
                (RECORD, Some(id), before, after)
            }
        };
        let place = number_to_row(place as u64);
        tell.execute(params![generation, place, folded, shown, kind, id, before, after])?;
    }
    Ok(())
}

fn take(tree: &mut Tree, op: &Op) -> Result<()> {
    tree.step(op).map_err(|error| damaged(&format!("metabase.db holds what no tree can hold: {error}")))
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str> {
    Ok(row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?)
}

/// Of the columns generation, at, author, reason, until, deltas, confirmed_at, confirmed_by.
fn past_of_row(row: &Row<'_>) -> rusqlite::Result<Past> {
    Ok(Past {
        generation: number_of_row(row.get(0)?),
        at: Wall(row.get(1)?),
        author: row.get(2)?,
        reason: row.get(3)?,
        confirm_until: row.get::<_, Option<i64>>(4)?.map(Wall),
        confirmed: row.get::<_, Option<i64>>(6)?.map(Wall).zip(row.get(7)?),
        deltas: Vec::new(),
        deltas_count: number_of_row(row.get(5)?),
    })
}

/// Of the columns shown, path, kind, id, before, after.
fn delta_of_row(seal: &Seal, row: &Row<'_>) -> Result<Delta> {
    let (path, folded) = (path_of_row(text(row, 0)?)?, text(row, 1)?);
    let kind: i64 = row.get(2)?;
    if kind == KEY_CREATED {
        return Ok(Delta::KeyCreated(path));
    }
    if kind == KEY_DELETED {
        return Ok(Delta::KeyDeleted(path));
    }
    let id = row.get(3)?;
    let record = |column| -> Result<Option<Record>> {
        let blob = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
        blob.map(|blob| record_of_row(seal, folded, id, blob)).transpose()
    };
    Ok(Delta::Record { path, id, before: record(4)?, after: record(5)? })
}
