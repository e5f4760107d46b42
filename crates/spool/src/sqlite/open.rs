//! Opening, which is recovery.

use super::contents::Contents;
use super::fault::{Fault, Result, at};
use super::history::History;
use super::intake::{self, Intake};
use super::rows::{Counters, envelope_of_row, hop_of_row};
use super::{Options, SqliteStore, Synchronous};
use crate::StoreError;
use crate::record::Record;
use postroad_mail::hop::NextHop;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;

/// The version of the tables, in `user_version`.
const VERSION: i64 = 2;

/// One row a message. `segment` says where its content is: 0 in the row, -1 in a file of its own, else in that segment
/// at `offset`. The envelope stands before the content, so reading it does not read the content's pages.
///
/// `fresh` has a row for each hop of a message that has none in `pending`: a message is in one of both, never in both.
const TABLES: &str = "
CREATE TABLE message(
    id INTEGER PRIMARY KEY, size INTEGER NOT NULL, segment INTEGER NOT NULL, offset INTEGER NOT NULL,
    hops TEXT NOT NULL, envelope BLOB NOT NULL, content BLOB);
CREATE TABLE fresh(hop TEXT, id INTEGER, PRIMARY KEY(hop, id)) WITHOUT ROWID;
CREATE TABLE pending(
    message INTEGER, recipient INTEGER, hop TEXT NOT NULL, due INTEGER NOT NULL, attempts INTEGER NOT NULL,
    cause TEXT NOT NULL, PRIMARY KEY(message, recipient)) WITHOUT ROWID;
CREATE INDEX pending_due ON pending(hop, due, message);
CREATE INDEX pending_hop ON pending(hop, message);
CREATE TABLE hop(
    key TEXT PRIMARY KEY, waiting INTEGER NOT NULL, due INTEGER NOT NULL, dns INTEGER NOT NULL, state TEXT)
    WITHOUT ROWID;
CREATE INDEX hop_due ON hop(due, key);
CREATE INDEX hop_dns ON hop(key) WHERE dns;
CREATE TABLE segment(id INTEGER PRIMARY KEY, live INTEGER NOT NULL);
CREATE INDEX segment_dead ON segment(id) WHERE live <= 0;
CREATE TABLE counter(
    messages INTEGER NOT NULL, last_id INTEGER NOT NULL, next_entry INTEGER NOT NULL, taken INTEGER NOT NULL,
    salt INTEGER NOT NULL);
INSERT INTO counter VALUES(0, 0, 0, 0, random());
CREATE TABLE history(part INTEGER PRIMARY KEY, day INTEGER NOT NULL, first_entry INTEGER NOT NULL);
PRAGMA user_version = 2;
";

/// Brings version 1, which had no intake, to this one.
const FROM_1: &str = "
ALTER TABLE counter ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;
ALTER TABLE counter ADD COLUMN salt INTEGER NOT NULL DEFAULT 0;
UPDATE counter SET salt = random();
PRAGMA user_version = 2;
";

/// Compiled statements kept: all of ours, with some for the tables of history.
const STATEMENTS_MAX: usize = 96;

/// SQLite's own cache of pages, in KiB. What it does not hold is in the kernel's. (Measured with `commit_cost`, three runs
/// in turn with 8 MiB: the same or up to a tenth less CPU a commit, and 6 MiB less memory.)
const CACHE_KIB: i64 = 2 * 1024;

/// The log keeps at most this many octets on disk once it was larger, for a batch of unusual size.
const LOG_OCTETS_KEPT: i64 = 32 << 20;

pub(super) fn open(dir: &Path, options: &Options) -> Result<SqliteStore> {
    for path in [dir.to_owned(), dir.join("drafts"), dir.join("segments"), dir.join("bodies")] {
        // Mail is nobody else's to read.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(at(&path))?;
    }
    let lock = lock(dir)?;
    intake::make(dir)?;
    let syncs = options.synchronous == Synchronous::Full;
    if syncs {
        write_log_again(&dir.join("spool.db-wal"))?;
        File::open(dir).and_then(|folder| folder.sync_all()).map_err(at(dir))?;
    }
    let db = connect(&dir.join("spool.db"), syncs)?;
    let counters = Counters::read(&db)?;
    let history = History::read(&db, options.history_rows_max)?;
    let contents = Contents::open(dir, &db, options)?;
    let (intake, found) = Intake::open(dir, options, &counters)?;
    let mut store = SqliteStore {
        db,
        intake,
        contents,
        history,
        counters,
        log_pages_due: options.log_pages_due,
        direct_after_load: options.direct_after_load,
        direct_left: 0,
        busy: false,
        failed: None,
        _lock: lock,
    };
    store.guarded(|store| {
        if found.misses_some {
            store.intake.copy()?;
        }
        for batch in &found.batches {
            store.hold(batch)?;
        }
        if !store.intake.is_empty() {
            // On a disk that is full the log's blocks are room that is there, once what it holds is in the database.
            store.checkpoint_at(1)?;
        }
        store.drain()?;
        if store.intake.is_copied() {
            let corrections = corrections(&store.db)?;
            store.write(&corrections)?;
            store.intake.put_aside()?;
        }
        Ok(())
    })?;
    Ok(store)
}

/// What makes the count of each hop that of the recipients that wait there.
fn corrections(db: &Connection) -> Result<Vec<Record>> {
    let mut deltas: BTreeMap<NextHop, i64> = BTreeMap::new();
    let mut rows =
        db.prepare("SELECT key, -waiting FROM hop UNION ALL SELECT hop, count(*) FROM pending GROUP BY hop")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let hop = hop_of_row(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
        *deltas.entry(hop).or_default() += row.get::<_, i64>(1)?;
    }
    let mut fresh = db.prepare("SELECT id, envelope FROM message WHERE id IN (SELECT id FROM fresh)")?;
    let mut fresh = fresh.query([])?;
    while let Some(row) = fresh.next()? {
        let envelope = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        for recipient in envelope_of_row(row.get(0)?, envelope)?.recipients {
            *deltas.entry(recipient.hop).or_default() += 1;
        }
    }
    let wrong = deltas.into_iter().filter(|(_, delta)| *delta != 0);
    Ok(wrong.map(|(hop, delta)| Record::Waiting { hop, delta }).collect())
}

/// Nothing is touched before this is held: a second process would remove the first one's drafts.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("spool.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("{} is open already, in another process or in this one", dir.display());
            Err(Fault::Other(StoreError::Failed(text)))
        }
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

/// Writes the write-ahead log over itself and syncs it. When a sync has failed, the kernel shows pages that are not on
/// disk and calls them clean; a commit that is synced after such pages would be lost with them. Read and written again,
/// what recovery sees is what the disk has. It needs no room, and the same octets are safe to write at any moment.
fn write_log_again(path: &Path) -> Result<()> {
    let mut log = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(at(path))?,
    };
    let mut piece = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let read = log.read(&mut piece).map_err(at(path))?;
        let Some(piece) = piece.get(..read).filter(|piece| !piece.is_empty()) else { break };
        log.write_all_at(piece, offset).map_err(at(path))?;
        offset += read as u64;
    }
    log.sync_data().map_err(at(path))
}

fn connect(path: &Path, syncs: bool) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Exclusive, so that the index of the log is in memory and no lock is taken or asked for at each commit.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        let text = format!(
            "{} is of version {version}, this program knows {VERSION}: start the program that wrote it, or let that one \
             deliver all mail first",
            path.display()
        );
        return Err(Fault::Other(StoreError::Failed(text)));
    }
    db.pragma_update(None, "page_size", 4096)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", if syncs { "FULL" } else { "OFF" })?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", LOG_OCTETS_KEPT)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    let changes = match version {
        0 => TABLES,
        1 => FROM_1,
        _ => return Ok(db),
    };
    let transaction = db.transaction()?;
    transaction.execute_batch(changes)?;
    transaction.commit()?;
    Ok(db)
}
