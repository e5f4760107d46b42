//! Questions, answered from rows.

use super::SqliteStore;
use super::contents::IN_ROW;
use super::fault::{Fault, Result};
use super::rows::{
    Counters, envelope_of_row, hop_of_row, hop_row_of_row, id_of_row, id_to_row, limit_to_row, pending_of_row,
};
use crate::record::{Content, HopRow, Load, Loaded, Message, Pending, Stored, Totals};
use crate::rules::{self, Allowance};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use rusqlite::{OptionalExtension, Params, Row, params};
use std::collections::BTreeSet;
use std::sync::Arc;

impl SqliteStore {
    pub(super) fn answer(&self, load: &Load) -> Result<Loaded> {
        Ok(match load {
            Load::DueHops { until, after, limit } => {
                let (due, key) =
                    after.as_ref().map_or((i64::MIN, String::new()), |(due, hop)| (due.0, hop.to_string()));
                Loaded::Hops(self.hops(
                    "SELECT waiting, due, state, key FROM hop
                     WHERE due <= ? AND (due, key) > (?, ?) ORDER BY due, key LIMIT ?",
                    params![until.0, due, key, limit_to_row(*limit)],
                )?)
            }
            Load::Hops { dns_only, after, limit } => {
                let after = after.as_ref().map(NextHop::to_string).unwrap_or_default();
                let sql = if *dns_only {
                    "SELECT waiting, due, state, key FROM hop WHERE dns AND key > ? ORDER BY key LIMIT ?"
                } else {
                    "SELECT waiting, due, state, key FROM hop WHERE key > ? ORDER BY key LIMIT ?"
                };
                Loaded::Hops(self.hops(sql, params![after, limit_to_row(*limit)])?)
            }
            Load::Hop(hop) => {
                Loaded::Hops(self.hops(
                    "SELECT waiting, due, state, key FROM hop WHERE key = ?",
                    params![hop.to_string()],
                )?)
            }
            Load::Fresh { hop, after, limit, content_total_max } => {
                Loaded::Messages(self.fresh(hop, *after, *limit, Allowance(*content_total_max))?)
            }
            Load::Pending { hop, until, after, limit, content_total_max } => Loaded::Messages(self.pending(
                hop,
                (*until, *after),
                *limit,
                Allowance(*content_total_max),
            )?),
            Load::EarliestPending(hop) => {
                let mut select = self.db.prepare_cached("SELECT min(due) FROM pending WHERE hop = ?")?;
                Loaded::Due(
                    select.query_row([hop.to_string()], |row| row.get::<_, Option<i64>>(0))?.map(Wall),
                )
            }
            Load::Old { hop, before, after, limit } => {
                Loaded::Messages(self.old(hop, id_to_row(*before), *after, *limit)?)
            }
            Load::Messages { after, limit } => {
                let mut select = self
                    .db
                    .prepare_cached("SELECT id, envelope FROM message WHERE id > ? ORDER BY id LIMIT ?")?;
                let mut rows = select.query([after_to_row(*after), limit_to_row(*limit)])?;
                let mut messages = Vec::new();
                while let Some(row) = rows.next()? {
                    let found = Found::of_row(row)?;
                    messages.push(self.stored(found, &mut Allowance(0))?);
                }
                Loaded::Messages(messages)
            }
            Load::Message(id) => {
                let found = self.message(id_to_row(*id))?;
                let stored = found.map(|found| self.stored(found, &mut Allowance(u64::MAX))).transpose()?;
                Loaded::Messages(stored.into_iter().collect())
            }
            Load::Content { id, offset, len } => {
                Loaded::Content(self.content(id_to_row(*id), *offset, *len)?)
            }
            Load::JournalOfMessage { id, limit } => {
                let waits_at = self.waits_at(id_to_row(*id))?;
                Loaded::Journal(self.history.of_message(&self.db, *id, waits_at, *limit)?)
            }
            Load::JournalOfHop { hop, limit } => Loaded::Journal(self.history.of_hop(&self.db, hop, *limit)?),
            Load::Totals => {
                let Counters { messages, last_id, .. } = self.counters;
                Loaded::Totals(Totals {
                    messages: u64::try_from(messages).unwrap_or(0),
                    last_id: id_of_row(last_id),
                })
            }
        })
    }

    fn hops(&self, sql: &str, params: impl Params) -> Result<Vec<HopRow>> {
        let mut select = self.db.prepare_cached(sql)?;
        let mut rows = select.query(params)?;
        let mut hops = Vec::new();
        while let Some(row) = rows.next()? {
            let hop = hop_of_row(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?;
            hops.push(hop_row_of_row(hop, row)?);
        }
        Ok(hops)
    }

    fn fresh(
        &self,
        hop: &NextHop,
        after: Option<MessageId>,
        limit: usize,
        mut memory: Allowance,
    ) -> Result<Vec<Stored>> {
        let mut select = self.db.prepare_cached(
            "SELECT m.id, m.envelope FROM fresh f CROSS JOIN message m ON m.id = f.id
             WHERE f.hop = ? AND f.id > ? ORDER BY f.id LIMIT ?",
        )?;
        let mut rows = select.query(params![hop.to_string(), after_to_row(after), limit_to_row(limit)])?;
        let mut messages = Vec::new();
        while let Some(row) = rows.next()? {
            let found = Found::of_row(row)?;
            let content = self.handed_out(&found, &mut memory)?;
            messages.push(Stored { message: found.message, content, pending: None });
        }
        Ok(messages)
    }

    /// A message with several recipients at the hop is found at the earliest of their due times only.
    fn pending(
        &self,
        hop: &NextHop,
        (until, after): (Wall, Option<(Wall, MessageId)>),
        limit: usize,
        mut memory: Allowance,
    ) -> Result<Vec<Stored>> {
        let (due, id) = after.map_or((i64::MIN, i64::MIN), |(due, id)| (due.0, id_to_row(id)));
        let mut select = self.db.prepare_cached(
            "SELECT DISTINCT due, message FROM pending
             WHERE hop = ? AND due <= ? AND (due, message) > (?, ?) ORDER BY due, message",
        )?;
        let mut rows = select.query(params![hop.to_string(), until.0, due, id])?;
        let mut messages = Vec::new();
        while messages.len() < limit {
            let Some(row) = rows.next()? else { break };
            let (due, id): (i64, i64) = (row.get(0)?, row.get(1)?);
            let recipients = self.recipients(id)?;
            let earliest = recipients.iter().filter(|one| one.hop == *hop).map(|one| one.due.0).min();
            if earliest == Some(due)
                && let Some(found) = self.message(id)?
            {
                let content = self.handed_out(&found, &mut memory)?;
                messages.push(Stored { message: found.message, content, pending: Some(recipients) });
            }
        }
        Ok(messages)
    }

    fn old(&self, hop: &NextHop, before: i64, after: Option<MessageId>, limit: usize) -> Result<Vec<Stored>> {
        let mut select = self.db.prepare_cached(
            "SELECT id FROM fresh WHERE hop = ?1 AND id > ?2 AND id < ?3
             UNION SELECT message FROM pending WHERE hop = ?1 AND message > ?2 AND message < ?3
             ORDER BY 1 LIMIT ?4",
        )?;
        let mut rows =
            select.query(params![hop.to_string(), after_to_row(after), before, limit_to_row(limit)])?;
        let mut messages = Vec::new();
        while let Some(row) = rows.next()? {
            if let Some(found) = self.message(row.get(0)?)? {
                messages.push(self.stored(found, &mut Allowance(0))?);
            }
        }
        Ok(messages)
    }

    fn message(&self, id: i64) -> Result<Option<Found>> {
        self.db
            .prepare_cached("SELECT id, envelope FROM message WHERE id = ?")?
            .query_row([id], |row| Ok(Found::of_row(row)))
            .optional()?
            .transpose()
    }

    /// What waits of a message that is not fresh.
    fn recipients(&self, id: i64) -> Result<Vec<Pending>> {
        let mut select = self.db.prepare_cached(
            "SELECT recipient, hop, due, attempts, cause FROM pending WHERE message = ? ORDER BY recipient",
        )?;
        let mut rows = select.query([id])?;
        let mut recipients = Vec::new();
        while let Some(row) = rows.next()? {
            recipients.push(pending_of_row(row)?);
        }
        Ok(recipients)
    }

    fn stored(&self, found: Found, memory: &mut Allowance) -> Result<Stored> {
        let recipients = self.recipients(found.id)?;
        let content = self.handed_out(&found, memory)?;
        Ok(Stored {
            message: found.message,
            content,
            pending: (!recipients.is_empty()).then_some(recipients),
        })
    }

    fn handed_out(&self, found: &Found, memory: &mut Allowance) -> Result<Content> {
        if !memory.admits(found.message.size) {
            return Ok(Content::Stored);
        }
        let len = usize::try_from(found.message.size).unwrap_or(usize::MAX);
        match self.content(found.id, 0, len) {
            Ok(octets) => Ok(octets.map_or(Content::Stored, |octets| Content::Memory(Arc::new(octets)))),
            // One that is damaged, or cannot be read now, must not keep its page from being delivered. Who reads it by pieces is
            // told.
            Err(Fault::Other(_) | Fault::Disk(..)) => Ok(Content::Stored),
            Err(fault) => Err(fault),
        }
    }

    fn content(&self, id: i64, offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
        let mut select =
            self.db.prepare_cached("SELECT size, segment, offset, content FROM message WHERE id = ?")?;
        let mut rows = select.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (size, segment, start): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if segment != IN_ROW {
            let size = u64::try_from(size).unwrap_or(0);
            return self.contents.read(id, (segment, start), size, offset, len).map(Some);
        }
        let octets = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
        let rest = usize::try_from(offset).ok().and_then(|at| octets.get(at..)).unwrap_or_default();
        Ok(Some(rest.get(..len).unwrap_or(rest).to_vec()))
    }

    /// The keys of the hops at which a stored message's recipients wait or were first sent to.
    fn waits_at(&self, id: i64) -> Result<Option<BTreeSet<String>>> {
        let Some(found) = self.message(id)? else { return Ok(None) };
        let recipients = self.recipients(id)?;
        let pending = recipients.iter().map(|one| &one.hop);
        Ok(Some(rules::hops(&found.message).into_iter().chain(pending).map(NextHop::to_string).collect()))
    }
}

/// A message's row without its content.
struct Found {
    id: i64,
    message: Arc<Message>,
}

impl Found {
    fn of_row(row: &Row<'_>) -> Result<Self> {
        let id = row.get(0)?;
        let envelope = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        Ok(Self { id, message: Arc::new(envelope_of_row(id, envelope)?) })
    }
}

fn after_to_row(after: Option<MessageId>) -> i64 {
    after.map_or(i64::MIN, id_to_row)
}
