//! Opening the file, which is recovery, and making it.

use super::StoreError;
use super::fault::{Fault, Result, at, damaged, failed};
use super::seal::{Nonces, Seal};
use super::sqlite::SqliteStore;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the tables, in `user_version`.
const VERSION: i64 = 2;

/// `path` is the folded path, empty for the root, which has a row as every key; `shown` is as it was first written. `value`,
/// `before` and `after` are records as `rows` has them. `proof` is `PROOF`, sealed.
///
/// `change` and `delta` are history: who and what. `delta` of a key has no id. All rows of a change are written, and later
/// dropped, in one transaction. `pin` is what the configuration file of the last start pins, in its order.
const TABLES: &str = "
CREATE TABLE state(generation INTEGER NOT NULL, pending INTEGER, until INTEGER, proof BLOB NOT NULL);
CREATE TABLE key(path TEXT PRIMARY KEY, shown TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO key VALUES('', '/');
CREATE TABLE record(path TEXT, id INTEGER, value BLOB NOT NULL, PRIMARY KEY(path, id)) WITHOUT ROWID;
CREATE TABLE change(
    generation INTEGER PRIMARY KEY, at INTEGER NOT NULL, author TEXT NOT NULL, reason TEXT NOT NULL, until INTEGER,
    confirmed_at INTEGER, confirmed_by TEXT, deltas INTEGER NOT NULL);
CREATE TABLE delta(
    generation INTEGER, place INTEGER, path TEXT NOT NULL, shown TEXT NOT NULL, kind INTEGER NOT NULL, id INTEGER,
    before BLOB, after BLOB, PRIMARY KEY(generation, place)) WITHOUT ROWID;
CREATE INDEX delta_record ON delta(path, id, generation) WHERE id IS NOT NULL;
CREATE TABLE pin(
    place INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, path TEXT NOT NULL, shown TEXT NOT NULL,
    id INTEGER NOT NULL, value BLOB NOT NULL);
PRAGMA user_version = 2;
";

/// From version 1, which knew neither who confirmed a change nor what a start had pinned.
const FROM_1: &str = "
ALTER TABLE change ADD COLUMN confirmed_at INTEGER;
ALTER TABLE change ADD COLUMN confirmed_by TEXT;
CREATE TABLE pin(
    place INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL, path TEXT NOT NULL, shown TEXT NOT NULL,
    id INTEGER NOT NULL, value BLOB NOT NULL);
PRAGMA user_version = 2;
";

/// A text that only the right key opens.
const PROOF: &[u8] = b"postroad metabase";

/// Compiled statements kept: all of ours.
const STATEMENTS_MAX: usize = 32;

/// SQLite's own cache of pages, in KiB. What it does not hold is in the kernel's.
const CACHE_KIB: i64 = 2 * 1024;

/// The log keeps at most this many octets on disk once it was larger, for a change of unusual size.
const LOG_OCTETS_KEPT: i64 = 32 << 20;

pub(super) fn open(file: &Path, seal: Seal) -> Result<SqliteStore> {
    if !file.try_exists().map_err(at(file))? {
        make(file, &seal)?;
    }
    let lock = File::options().read(true).write(true).open(file).map_err(at(file))?;
    hold(&lock, file)?;
    let db = recover(file, &seal)?;
    Ok(SqliteStore { db, file: file.to_owned(), seal, failed: None, _lock: lock })
}

/// Opens a file that is held.
pub(super) fn recover(file: &Path, seal: &Seal) -> Result<Connection> {
    write_log_again(&beside(file, "-wal"))?;
    let mut db = connect(file)?;
    prove(&db, seal, file)?;
    if version(&db)? < VERSION {
        let transaction = db.transaction()?;
        transaction.execute_batch(FROM_1)?;
        transaction.commit()?;
    }
    Ok(db)
}

/// Makes the file under another name, then gives it its own: a file of that name is whole, and an empty one is damage.
fn make(file: &Path, seal: &Seal) -> Result<()> {
    let log = beside(file, "-wal");
    if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(failed(format!(
            "{} is there without {}, whose newest changes it may have: put that one back, or move both away",
            log.display(),
            file.display()
        )));
    }
    let path = beside(file, ".new");
    // Nobody else may read it. What a crash left of it is written over, once it is certain that nobody is making it.
    let new = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let new = new.map_err(at(&path))?;
    hold(&new, file)?;
    // Another process may have made it until now.
    if file.try_exists().map_err(at(file))? {
        return Ok(());
    }
    new.set_len(0).map_err(at(&path))?;
    let mut db = Connection::open_with_flags(&path, flags())?;
    db.pragma_update(None, "page_size", 4096)?;
    db.pragma_update(None, "journal_mode", "OFF")?;
    let transaction = db.transaction()?;
    transaction.execute_batch(TABLES)?;
    let proof = seal.seal(&mut Nonces::new(0), PROOF, PROOF);
    let proof = proof.map_err(|_| failed("the metabase's key cannot be used".into()))?;
    transaction.execute("INSERT INTO state(generation, proof) VALUES(0, ?)", [proof])?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)?;
    new.sync_all().map_err(at(&path))?;
    fs::rename(&path, file).map_err(at(file))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// The path with something after its name.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(end);
    path.into()
}

/// Locks are those of flock(2), which have nothing to do with SQLite's own, those of fcntl(2), but on NFS.
fn hold(lock: &File, file: &Path) -> Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(failed(format!(
            "{} is open already, in another process or in this one: ask the service that runs, or stop it first",
            file.display()
        ))),
        Err(TryLockError::Error(error)) => Err(at(file)(error)),
    }
}

/// Writes the write-ahead log over itself and syncs it. When a sync has failed, the kernel shows pages that are not on
/// disk and calls them clean; a commit that is synced after such pages would be lost with them. Read and written again,
/// what recovery sees is what the disk has.
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

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn connect(file: &Path) -> Result<Connection> {
    let db = Connection::open_with_flags(file, flags())?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    db.busy_timeout(Duration::ZERO)?;
    // Until all has been read, closing leaves everything as it was.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Exclusive, so that the index of the log is in memory and no lock is taken or asked for at each commit.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let version = version(&db)?;
    if version > VERSION {
        return Err(failed(format!(
            "{} is of version {version}, this program knows {VERSION}: start the program that wrote it, or move the file \
             away and restore a backup that this program made",
            file.display()
        )));
    }
    if version < 1 {
        return Err(damaged(&format!("{} is empty, or not a metabase", file.display())));
    }
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.pragma_update(None, "journal_size_limit", LOG_OCTETS_KEPT)?;
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

fn version(db: &Connection) -> Result<i64> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn prove(db: &Connection, seal: &Seal, file: &Path) -> Result<()> {
    let proof: Option<Vec<u8>> = db.query_row("SELECT proof FROM state", [], |row| row.get(0)).optional()?;
    let proof = proof.ok_or_else(|| damaged("the state in metabase.db is missing"))?;
    match seal.open(PROOF, &proof) {
        Ok(plain) if plain == PROOF => Ok(()),
        _ => Err(Fault::Other(StoreError::WrongKey(format!(
            "the secrets in {} are sealed with another key: the key file belongs to the metabase, so put it back from a \
             backup; if it is lost, move the metabase away, start again, restore a backup of the metabase, one that has \
             no password with --without-secrets, and enter the secrets again",
            file.display()
        )))),
    }
}
