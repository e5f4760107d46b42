//! A batch, from records to rows.

use super::SqliteStore;
use super::contents::{IN_ROW, Placed};
use super::fault::{Result, damaged};
use super::rows::{HOP_END, hop_row, hops_to_row, id_to_row, state_to_row};
use crate::record::{Committed, HopRow, HopState, Message, Pending, Record};
use crate::rules;
use postroad_mail::hop::NextHop;
use postroad_mail::time::Wall;
use rusqlite::{CachedStatement, Connection, params};
use std::collections::BTreeMap;

impl SqliteStore {
    pub(super) fn apply(&mut self, batch: &[Record]) -> Result<Committed> {
        rules::check(batch)?;
        let mut placed = self.contents.place(batch)?.into_iter();
        self.execute("BEGIN")?;
        let mut hops = Vec::new();
        let mut hands = Hands::of(&self.db)?;
        let mut divided = Vec::new();
        for record in batch {
            match record {
                Record::Accept { message, .. } => {
                    let placed = placed.next().ok_or_else(|| damaged("a content was not placed"))?;
                    hands.accept(message, &placed)?;
                    self.counters.messages += 1;
                    self.counters.last_id = self.counters.last_id.max(id_to_row(message.id));
                }
                Record::Divide { id, pending } => {
                    if hands.divide(id_to_row(*id), pending)? {
                        divided.extend(pending);
                    }
                }
                Record::Settle { id } => {
                    if let Some(segment) = hands.settle(id_to_row(*id))? {
                        self.counters.messages -= 1;
                        if segment != IN_ROW {
                            self.contents.settle(*id, segment);
                        }
                    }
                }
                Record::Waiting { hop, delta } => hops.extend(self.wait(hop, *delta)?),
                Record::Hop { .. } | Record::Journal(_) => {}
            }
        }
        drop(hands);
        let entries = batch.iter().filter_map(|record| match record {
            Record::Journal(entry) => Some(entry),
            _ => None,
        });
        self.history.append(&self.db, &mut self.counters.next_entry, entries)?;
        self.hasten(divided, &mut hops)?;
        self.set_states(batch, &mut hops)?;
        self.contents.count(&self.db)?;
        self.counters.taken = self.intake.number();
        self.counters.write(&self.db)?;
        self.execute("COMMIT")?;
        self.contents.committed();
        Ok(Committed { hops })
    }

    fn execute(&self, sql: &str) -> Result<usize> {
        Ok(self.db.prepare_cached(sql)?.execute([])?)
    }

    /// Adds to the hop's count. The row, if there was one and still is.
    fn wait(&self, hop: &NextHop, delta: i64) -> Result<Option<HopRow>> {
        let key = hop.to_string();
        let before = hop_row(&self.db, hop)?;
        let known = before.is_some();
        let after = rules::wait(before, hop, delta);
        let waiting = after.as_ref().map_or(0, |row| i64::try_from(row.waiting).unwrap_or(i64::MAX));
        match (known, waiting) {
            (false, 0) => {}
            (false, _) => {
                let insert = "INSERT INTO hop(key, waiting, due, dns, state) VALUES(?, ?, 0, 0, NULL)";
                self.db.prepare_cached(insert)?.execute(params![key, waiting])?;
            }
            (true, 0) => {
                self.db.prepare_cached("DELETE FROM hop WHERE key = ?")?.execute([key])?;
            }
            (true, _) => {
                let update = "UPDATE hop SET waiting = ? WHERE key = ?";
                self.db.prepare_cached(update)?.execute(params![waiting, key])?;
            }
        }
        Ok(after.filter(|_| known))
    }

    /// No hop is due later than the recipients that wait there.
    fn hasten(&self, pending: Vec<&Pending>, hops: &mut [HopRow]) -> Result<()> {
        let earliest = rules::earliest(pending);
        if earliest.is_empty() {
            return Ok(());
        }
        let mut hasten = self.db.prepare_cached("UPDATE hop SET due = ?1 WHERE key = ?2 AND due > ?1")?;
        for (hop, due) in &earliest {
            hasten.execute(params![due.0, hop.to_string()])?;
        }
        for row in hops {
            row.due = earliest.get(&row.hop).map_or(row.due, |due| row.due.min(*due));
        }
        Ok(())
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

/// The statements that run for each message, taken once a batch: to look one up costs about as much as to run it.
struct Hands<'db> {
    db: &'db Connection,
    insert: CachedStatement<'db>,
    find: CachedStatement<'db>,
    delete: CachedStatement<'db>,
    fresh: CachedStatement<'db>,
    not_fresh: CachedStatement<'db>,
    not_pending: CachedStatement<'db>,
}

impl<'db> Hands<'db> {
    fn of(db: &'db Connection) -> Result<Self> {
        Ok(Self {
            db,
            insert: db.prepare_cached(
                "INSERT INTO message(id, size, segment, offset, hops, envelope, content) VALUES(?, ?, ?, ?, ?, ?, ?)",
            )?,
            find: db.prepare_cached("SELECT segment, hops FROM message WHERE id = ?")?,
            delete: db.prepare_cached("DELETE FROM message WHERE id = ?")?,
            fresh: db.prepare_cached("INSERT INTO fresh(hop, id) VALUES(?, ?)")?,
            not_fresh: db.prepare_cached("DELETE FROM fresh WHERE hop = ? AND id = ?")?,
            not_pending: db.prepare_cached("DELETE FROM pending WHERE message = ?")?,
        })
    }

    fn accept(&mut self, message: &Message, placed: &Placed) -> Result<()> {
        let id = id_to_row(message.id);
        let envelope =
            serde_json::to_vec(message).map_err(|error| damaged(&format!("an envelope: {error}")))?;
        let size = i64::try_from(message.size).unwrap_or(i64::MAX);
        let hops = hops_to_row(message);
        let content = placed.in_row.as_ref().map(|octets| octets.as_slice());
        self.insert.execute(params![id, size, placed.segment, placed.offset, hops, envelope, content])?;
        for hop in hops.split(HOP_END) {
            self.fresh.execute(params![hop, id])?;
        }
        Ok(())
    }

    /// Removes what says where a message waits. Where its content is; `None` when there is no such message.
    fn release(&mut self, id: i64) -> Result<Option<i64>> {
        let mut rows = self.find.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let segment = row.get(0)?;
        let mut was_fresh = 0;
        for hop in row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?.split(HOP_END) {
            was_fresh += self.not_fresh.execute(params![hop, id])?;
        }
        if was_fresh == 0 {
            self.not_pending.execute([id])?;
        }
        Ok(Some(segment))
    }

    /// Whether there is such a message.
    fn divide(&mut self, id: i64, pending: &[Pending]) -> Result<bool> {
        if self.release(id)?.is_none() {
            return Ok(false);
        }
        let mut insert = self.db.prepare_cached(
            "INSERT INTO pending(message, recipient, hop, due, attempts, cause) VALUES(?, ?, ?, ?, ?, ?)",
        )?;
        for one in pending {
            let hop = one.hop.to_string();
            insert.execute(params![id, one.recipient, hop, one.due.0, one.attempts, one.cause])?;
        }
        Ok(true)
    }

    /// As `release`, and the message with it.
    fn settle(&mut self, id: i64) -> Result<Option<i64>> {
        let segment = self.release(id)?;
        if segment.is_some() {
            self.delete.execute([id])?;
        }
        Ok(segment)
    }
}
