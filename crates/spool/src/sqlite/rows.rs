//! How values stand in rows.

use super::fault::{Result, damaged};
use crate::record::{HopRow, HopState, Message, Pending};
use crate::rules;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use rusqlite::{Connection, OptionalExtension, Row};

/// The one row of `counter`, which this instance alone writes.
#[derive(Clone, Copy)]
pub(super) struct Counters {
    pub(super) messages: i64,
    pub(super) last_id: i64,
    pub(super) next_entry: i64,
    /// The last frame of the intake that is in the tables.
    pub(super) taken: i64,
    /// Of the intake's frames; it never changes.
    pub(super) salt: i64,
}

impl Counters {
    pub(super) fn read(db: &Connection) -> Result<Self> {
        Ok(db.query_row("SELECT messages, last_id, next_entry, taken, salt FROM counter", [], |row| {
            Ok(Self {
                messages: row.get(0)?,
                last_id: row.get(1)?,
                next_entry: row.get(2)?,
                taken: row.get(3)?,
                salt: row.get(4)?,
            })
        })?)
    }

    pub(super) fn write(self, db: &Connection) -> Result<()> {
        let Self { messages, last_id, next_entry, taken, .. } = self;
        db.prepare_cached("UPDATE counter SET messages = ?, last_id = ?, next_entry = ?, taken = ?")?
            .execute([messages, last_id, next_entry, taken])?;
        Ok(())
    }
}

/// An id as SQLite's integers have it; beyond their range, as questions may ask, the last.
pub(super) fn id_to_row(id: MessageId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

pub(super) fn id_of_row(id: i64) -> MessageId {
    MessageId(u64::try_from(id).unwrap_or(0))
}

pub(super) fn limit_to_row(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn hop_of_row(key: &str) -> Result<NextHop> {
    key.parse().map_err(|_| damaged(&format!("a row of spool.db names the next hop {key:?}")))
}

pub(super) fn envelope_of_row(id: i64, envelope: &[u8]) -> Result<Message> {
    serde_json::from_slice(envelope).map_err(|error| unreadable(id, &error))
}

/// Stands between the keys of hops in a row; no key has one.
pub(super) const HOP_END: char = '\n';

/// The keys of a message's distinct hops. They stand in the row beside the envelope: a message that is settled is not to be
/// parsed for them (measured: a sixth of the store's work for a message).
pub(super) fn hops_to_row(message: &Message) -> String {
    let mut keys = String::new();
    for hop in rules::hops(message) {
        if !keys.is_empty() {
            keys.push(HOP_END);
        }
        keys.push_str(&hop.to_string());
    }
    keys
}

fn unreadable(id: i64, error: &serde_json::Error) -> super::fault::Fault {
    damaged(&format!("the envelope of message {} in spool.db cannot be read: {error}", id_of_row(id)))
}

/// Of the columns recipient, hop, due, attempts, cause.
pub(super) fn pending_of_row(row: &Row<'_>) -> Result<Pending> {
    Ok(Pending {
        recipient: row.get(0)?,
        hop: hop_of_row(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
        due: Wall(row.get(2)?),
        attempts: row.get(3)?,
        cause: row.get(4)?,
    })
}

/// The row of a hop, if it has one.
pub(super) fn hop_row(db: &Connection, hop: &NextHop) -> Result<Option<HopRow>> {
    db.prepare_cached("SELECT waiting, due, state FROM hop WHERE key = ?")?
        .query_row([hop.to_string()], |row| Ok(hop_row_of_row(hop.clone(), row)))
        .optional()?
        .transpose()
}

/// Of the columns waiting, due, state.
pub(super) fn hop_row_of_row(hop: NextHop, row: &Row<'_>) -> Result<HopRow> {
    let state = match row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)? {
        None => HopState::default(),
        Some(json) => serde_json::from_str(json).map_err(|error| {
            damaged(&format!("the state of next hop {hop} in spool.db cannot be read: {error}"))
        })?,
    };
    Ok(HopRow {
        hop,
        waiting: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        due: Wall(row.get(1)?),
        state,
    })
}

/// As `hop_row_of_row` reads it; nothing for the default, which most hops have.
pub(super) fn state_to_row(state: &HopState) -> Result<Option<String>> {
    if *state == HopState::default() {
        return Ok(None);
    }
    serde_json::to_string(state)
        .map(Some)
        .map_err(|error| damaged(&format!("a hop's state cannot be written: {error}")))
}
