//! A batch, from records to rows.

use super::SqliteStore;
use super::contents::{IN_ROW, Placed};
use super::fault::{Result, damaged};
use super::rows::{HOP_END, hop_row_of_row, hops_to_row, id_to_row, state_to_row};
use crate::record::{Committed, HopRow, HopState, Message, Pending, Record};
use crate::rules;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeMap;

impl SqliteStore {
    pub(super) fn apply(&mut self, batch: &[Record]) -> Result<Committed> {
        rules::check(batch)?;
        let mut placed = self.contents.place(batch)?.into_iter();
        let before = self.counters;
        self.execute("BEGIN")?;
        let mut hops = Vec::new();
        for record in batch {
            match record {
                Record::Accept { message, .. } => {
                    let placed = placed.next().ok_or_else(|| damaged("a content was not placed"))?;
                    self.accept(message, &placed)?;
                }
                Record::Divide { id, pending } => self.divide(id_to_row(*id), pending)?,
                Record::Settle { id } => self.settle(*id)?,
                Record::Waiting { hop, delta } => hops.extend(self.wait(hop, *delta)?),
                Record::Journal(entry) => {
                    self.history.append(&self.db, &mut self.counters.next_entry, entry)?
                }
                Record::Hop { .. } => {}
            }
        }
        self.set_states(batch, &mut hops)?;
        self.contents.count(&self.db)?;
        if self.counters != before {
            self.counters.write(&self.db)?;
        }
        self.execute("COMMIT")?;
        self.contents.committed();
        Ok(Committed { hops })
    }

    fn execute(&self, sql: &str) -> Result<usize> {
        Ok(self.db.prepare_cached(sql)?.execute([])?)
    }

    fn accept(&mut self, message: &Message, placed: &Placed) -> Result<()> {
        let id = id_to_row(message.id);
        let envelope =
            serde_json::to_vec(message).map_err(|error| damaged(&format!("an envelope: {error}")))?;
        let size = i64::try_from(message.size).unwrap_or(i64::MAX);
        let hops = hops_to_row(message);
        let content = placed.in_row.as_ref().map(|octets| octets.as_slice());
        self.db
            .prepare_cached(
                "INSERT INTO message(id, size, segment, offset, hops, envelope, content) VALUES(?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![id, size, placed.segment, placed.offset, hops, envelope, content])?;
        let mut fresh = self.db.prepare_cached("INSERT INTO fresh(hop, id) VALUES(?, ?)")?;
        for hop in hops.split(HOP_END) {
            fresh.execute(params![hop, id])?;
        }
        self.counters.messages += 1;
        self.counters.last_id = self.counters.last_id.max(id);
        Ok(())
    }

    /// Removes what says where the message waits.
    fn release(&self, id: i64, hops: &str) -> Result<()> {
        let mut fresh = self.db.prepare_cached("DELETE FROM fresh WHERE hop = ? AND id = ?")?;
        let mut was_fresh = 0;
        for hop in hops.split(HOP_END) {
            was_fresh += fresh.execute(params![hop, id])?;
        }
        if was_fresh == 0 {
            self.db.prepare_cached("DELETE FROM pending WHERE message = ?")?.execute([id])?;
        }
        Ok(())
    }

    fn divide(&self, id: i64, pending: &[Pending]) -> Result<()> {
        let mut message = self.db.prepare_cached("SELECT hops FROM message WHERE id = ?")?;
        let mut rows = message.query([id])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        self.release(id, row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO pending(message, recipient, hop, due, attempts, cause) VALUES(?, ?, ?, ?, ?, ?)",
        )?;
        for one in pending {
            let hop = one.hop.to_string();
            insert.execute(params![id, one.recipient, hop, one.due.0, one.attempts, one.cause])?;
        }
        let mut hasten = self.db.prepare_cached("UPDATE hop SET due = ?1 WHERE key = ?2 AND due > ?1")?;
        for (hop, due) in rules::earliest(pending) {
            hasten.execute(params![due.0, hop.to_string()])?;
        }
        Ok(())
    }

    fn settle(&mut self, message: MessageId) -> Result<()> {
        let id = id_to_row(message);
        let mut select = self.db.prepare_cached("SELECT segment, hops FROM message WHERE id = ?")?;
        let mut rows = select.query([id])?;
        let Some(row) = rows.next()? else { return Ok(()) };
        let segment: i64 = row.get(0)?;
        self.release(id, row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        drop(rows);
        self.db.prepare_cached("DELETE FROM message WHERE id = ?")?.execute([id])?;
        self.counters.messages -= 1;
        if segment != IN_ROW {
            self.contents.settle(message, segment);
        }
        Ok(())
    }

    /// Adds to the hop's count. The row, if there was one and still is.
    fn wait(&self, hop: &NextHop, delta: i64) -> Result<Option<HopRow>> {
        let key = hop.to_string();
        let mut select = self.db.prepare_cached("SELECT waiting, due, state FROM hop WHERE key = ?")?;
        let known =
            select.query_row([&key], |row| Ok(hop_row_of_row(hop.clone(), row))).optional()?.transpose()?;
        let Some(mut row) = known else {
            if delta > 0 {
                self.db
                    .prepare_cached(
                        "INSERT INTO hop(key, waiting, due, dns, state) VALUES(?, ?, 0, 0, NULL)",
                    )?
                    .execute(params![key, delta])?;
            }
            return Ok(None);
        };
        row.waiting = row.waiting.saturating_add_signed(delta);
        if row.waiting == 0 {
            self.db.prepare_cached("DELETE FROM hop WHERE key = ?")?.execute([key])?;
            return Ok(None);
        }
        let waiting = i64::try_from(row.waiting).unwrap_or(i64::MAX);
        self.db.prepare_cached("UPDATE hop SET waiting = ? WHERE key = ?")?.execute(params![waiting, key])?;
        Ok(Some(row))
    }

    /// The `Hop` records, which hold for the rows as the batch's `Waiting` left them.
    fn set_states(&self, batch: &[Record], hops: &mut [HopRow]) -> Result<()> {
        let mut told = BTreeMap::new();
        for record in batch {
            if let Record::Hop { hop, due, state } = record {
                self.set_state(hop, *due, state)?;
                told.insert(hop, (*due, state));
            }
        }
        for row in hops {
            if let Some((due, state)) = told.get(&row.hop) {
                row.due = *due;
                row.state = (*state).clone();
            }
        }
        Ok(())
    }

    fn set_state(&self, hop: &NextHop, due: Wall, state: &HopState) -> Result<()> {
        self.db
            .prepare_cached("UPDATE hop SET due = ?, dns = ?, state = ? WHERE key = ?")?
            .execute(params![due.0, state.waits_for_dns(), state_to_row(state)?, hop.to_string()])?;
        Ok(())
    }
}
