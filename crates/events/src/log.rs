//! The log: a SQLite file of events, apart from the mail's so that neither waits for the other.
//!
//! | table | row | written | goes |
//! |---|---|---|---|
//! | `event` | one event: its place, number, time, and the event as JSON | by `append`, a batch a transaction | when it is not among the newest `ROWS_MAX` |
//!
//! `synchronous=NORMAL`: a power loss may take the last events, never the file.

use crate::event::Event;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::path::Path;
use std::time::Duration;

/// Events kept; the oldest go. At some 700 octets each, 70 MB.
pub const ROWS_MAX: u64 = 100_000;
/// Events handed out by one `list`.
pub const LIST_MAX: usize = 10_000;
/// How long another process's write is waited for when the log is opened or read.
const BUSY_WAIT: Duration = Duration::from_secs(2);
/// The layout of the file.
const VERSION: i64 = 1;

/// The log's file, opened.
#[derive(Debug)]
pub struct EventLog {
    db: Connection,
    rows_max: u64,
}

/// Why the log could not be used. Mail does not depend on it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no file: nothing was ever logged here.
    #[error("there is no event log")]
    Missing,
    /// It was written by a later version.
    #[error("the event log was written by a later version of Postroad")]
    Later,
    /// Anything else.
    #[error("the event log failed: {0}")]
    Failed(#[from] rusqlite::Error),
    /// A row is not an event.
    #[error("the event log holds a row that is not an event: {0}")]
    Damaged(#[from] serde_json::Error),
}

/// Which events are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those behind this place, oldest first; without it, the newest.
    pub after: Option<u64>,
    /// At most this many, and `LIST_MAX`.
    pub limit: usize,
    /// Those of one number.
    pub number: Option<u32>,
}

impl EventLog {
    /// Opens the file for writing, and makes it where there is none.
    ///
    /// # Errors
    /// It cannot be opened or is not a log.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        Self::open_bounded(path, ROWS_MAX)
    }

    /// As `open`, keeping `rows_max` events.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_bounded(path: &Path, rows_max: u64) -> Result<Self, LogError> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY_WAIT)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        let log = Self { db, rows_max };
        if log.version()? == 0 {
            log.db.execute_batch(
                "BEGIN IMMEDIATE;
                 CREATE TABLE IF NOT EXISTS event (
                     place INTEGER PRIMARY KEY AUTOINCREMENT,
                     number INTEGER NOT NULL,
                     at INTEGER NOT NULL,
                     body TEXT NOT NULL
                 );
                 CREATE INDEX IF NOT EXISTS event_by_number ON event (number, place);
                 PRAGMA user_version = 1;
                 COMMIT;",
            )?;
        }
        // Mail waits behind what is written: while another process holds the log, its owner keeps the events.
        log.db.busy_timeout(Duration::ZERO)?;
        Ok(log)
    }

    /// Opens the file for reading.
    ///
    /// # Errors
    /// `Missing` where there is none; or it cannot be opened or is not a log.
    pub fn open_to_read(path: &Path) -> Result<Self, LogError> {
        if !path.exists() {
            return Err(LogError::Missing);
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        db.busy_timeout(BUSY_WAIT)?;
        let log = Self { db, rows_max: ROWS_MAX };
        if log.version()? == 0 { Err(LogError::Missing) } else { Ok(log) }
    }

    fn version(&self) -> Result<i64, LogError> {
        let version = self.db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION { Err(LogError::Later) } else { Ok(version) }
    }

    /// Appends a batch, whole or not at all.
    ///
    /// # Errors
    /// Nothing of it was written.
    pub fn append(&mut self, batch: &[Event]) -> Result<(), LogError> {
        let transaction = self.db.transaction()?;
        {
            let mut insert =
                transaction.prepare("INSERT INTO event (number, at, body) VALUES (?1, ?2, ?3)")?;
            for event in batch {
                insert.execute(params![event.number, event.at.0, serde_json::to_string(event)?])?;
            }
        }
        // AUTOINCREMENT's places have no gaps but at the front, so the newest place counts the rows.
        let rows_max = i64::try_from(self.rows_max).unwrap_or(i64::MAX);
        transaction
            .execute("DELETE FROM event WHERE place <= (SELECT max(place) FROM event) - ?1", [rows_max])?;
        transaction.commit()?;
        Ok(())
    }

    /// Events and their places, oldest first.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn list(&self, filter: &Filter) -> Result<Vec<(u64, Event)>, LogError> {
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let by_number = if filter.number.is_some() { "number = ?3 AND" } else { "?3 IS NULL AND" };
        let sql = format!(
            "SELECT place, body FROM event WHERE {by_number} place > ?1 ORDER BY place {order} LIMIT ?2"
        );
        let after = i64::try_from(filter.after.unwrap_or(0)).unwrap_or(i64::MAX);
        let limit = i64::try_from(filter.limit.min(LIST_MAX)).unwrap_or(0);
        let mut query = self.db.prepare(&sql)?;
        let rows = query.query_map(params![after, limit, filter.number], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
        let mut events = Vec::new();
        for row in rows {
            let (place, body) = row?;
            events.push((u64::try_from(place).unwrap_or(0), serde_json::from_str(&body)?));
        }
        if filter.after.is_none() {
            events.reverse();
        }
        Ok(events)
    }

    /// The newest place, from which a reader that follows the log goes on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn newest(&self) -> Result<Option<u64>, LogError> {
        let sql = "SELECT place FROM event ORDER BY place DESC LIMIT 1";
        let place: Option<i64> = self.db.query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(place.and_then(|place| u64::try_from(place).ok()))
    }
}
