//! The store of the simulator: ordered maps, durable by definition.
//!
//! A clone is a snapshot. What `commit` returned `Ok` for is in it; the simulator decides whether a batch in flight at a
//! crash is applied to the snapshot or not.

use crate::record::{
    Committed, Content, DraftId, HopRow, JournalEntry, Load, Loaded, Message, Pending, Record, Stored, Totals,
};
use crate::rules::{self, Allowance};
use crate::{Store, StoreError};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Journal entries kept; the oldest go beyond it. It bounds a simulation's memory, not what `explain` can tell in one.
const JOURNAL_ENTRIES_MAX: usize = 100_000;

/// The store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    messages: BTreeMap<MessageId, Entry>,
    /// Messages at a hop, fresh or pending.
    at: BTreeSet<(NextHop, MessageId)>,
    /// Pending ones by the earliest due time of their recipients at the hop.
    due: BTreeSet<(NextHop, Wall, MessageId)>,
    /// By the hop's text, whose order is that of the listings.
    hops: BTreeMap<String, HopRow>,
    /// By day, then in the order of writing.
    journal: BTreeMap<(i64, u64), JournalEntry>,
    journal_count: u64,
    last_id: MessageId,
    drafts: BTreeMap<DraftId, Arc<Vec<u8>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    message: Arc<Message>,
    content: Arc<Vec<u8>>,
    pending: Option<Vec<Pending>>,
}

impl Entry {
    fn stored(&self, in_memory: bool) -> Stored {
        let content = if in_memory { Content::Memory(Arc::clone(&self.content)) } else { Content::Stored };
        Stored { message: Arc::clone(&self.message), content, pending: self.pending.clone() }
    }

    /// The hops at which it is, each with the earliest due time of what is pending there.
    fn places(&self) -> BTreeMap<NextHop, Option<Wall>> {
        let mut places = BTreeMap::new();
        match &self.pending {
            None => places.extend(rules::hops(&self.message).into_iter().map(|hop| (hop.clone(), None))),
            Some(pending) => {
                for one in pending {
                    let due = places.entry(one.hop.clone()).or_insert(Some(one.due));
                    *due = (*due).min(Some(one.due));
                }
            }
        }
        places
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a draft where `Content::Draft` finds it, as the shell writes a draft file.
    pub fn put_draft(&mut self, draft: DraftId, octets: Vec<u8>) {
        self.drafts.insert(draft, Arc::new(octets));
    }

    /// Drops all drafts, as opening a store does.
    pub fn drop_drafts(&mut self) {
        self.drafts.clear();
    }

    /// The contents of the batch's accepted messages, in order; an error if the batch cannot be applied whole.
    fn contents(&self, batch: &[Record]) -> Result<Vec<Arc<Vec<u8>>>, StoreError> {
        let mut accepted = BTreeSet::new();
        let mut contents = Vec::new();
        for record in batch {
            let Record::Accept { message, content } = record else { continue };
            let failed = |why: &str| StoreError::Failed(format!("message {} {why}", message.id));
            let octets = match content {
                Content::Memory(octets) => octets,
                Content::Draft(draft) => {
                    self.drafts.get(draft).ok_or_else(|| failed("has lost its draft"))?
                }
                Content::Stored => return Err(failed("was to be accepted without its content")),
            };
            if octets.len() as u64 != message.size {
                return Err(failed("is not of the size that it tells"));
            }
            if self.messages.contains_key(&message.id) || !accepted.insert(message.id) {
                return Err(failed("was accepted twice"));
            }
            contents.push(Arc::clone(octets));
        }
        Ok(contents)
    }

    fn accept(&mut self, message: &Arc<Message>, octets: Arc<Vec<u8>>, content: &Content) {
        if let Content::Draft(draft) = content {
            self.drafts.remove(draft);
        }
        self.last_id = self.last_id.max(message.id);
        self.insert(message.id, Entry { message: Arc::clone(message), content: octets, pending: None });
    }

    fn insert(&mut self, id: MessageId, entry: Entry) {
        for (hop, due) in entry.places() {
            if let Some(due) = due {
                self.due.insert((hop.clone(), due, id));
            }
            self.at.insert((hop, id));
        }
        self.messages.insert(id, entry);
    }

    fn remove(&mut self, id: MessageId) -> Option<Entry> {
        let entry = self.messages.remove(&id)?;
        for (hop, due) in entry.places() {
            if let Some(due) = due {
                self.due.remove(&(hop.clone(), due, id));
            }
            self.at.remove(&(hop, id));
        }
        Some(entry)
    }

    /// Adds to the hop's count; whether it had a row before.
    fn wait(&mut self, hop: &NextHop, delta: i64) -> bool {
        let key = hop.to_string();
        let row = self.hops.remove(&key);
        let known = row.is_some();
        if let Some(row) = rules::wait(row, hop, delta) {
            self.hops.insert(key, row);
        }
        known
    }

    fn note(&mut self, entry: &JournalEntry) {
        self.journal.insert((entry.at.day(), self.journal_count), entry.clone());
        self.journal_count += 1;
        if self.journal.len() > JOURNAL_ENTRIES_MAX {
            self.journal.pop_first();
        }
    }

    fn hop_rows(&self, dns_only: bool, after: Option<&NextHop>, limit: usize) -> Vec<HopRow> {
        let after = after.map(NextHop::to_string);
        let from = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let waits_for_dns = |row: &&HopRow| row.state.waits_for_dns();
        let rows = self.hops.range::<str, _>((from, Bound::Unbounded)).map(|(_, row)| row);
        rows.filter(|row| !dns_only || waits_for_dns(row)).take(limit).cloned().collect()
    }

    fn due_hops(&self, until: Wall, after: Option<&(Wall, NextHop)>, limit: usize) -> Vec<HopRow> {
        let after = after.map(|(due, hop)| (*due, hop.to_string()));
        let mut rows: Vec<_> = self.hops.iter().map(|(key, row)| ((row.due, key), row)).collect();
        rows.retain(|((due, key), _)| {
            *due <= until && after.as_ref().is_none_or(|(last, name)| (*due, *key) > (*last, name))
        });
        rows.sort_by_key(|(place, _)| *place);
        rows.into_iter().take(limit).map(|(_, row)| row.clone()).collect()
    }

    fn at_hop<'a>(
        &'a self,
        hop: &NextHop,
        after: Option<MessageId>,
        before: MessageId,
    ) -> impl Iterator<Item = &'a Entry> {
        let first = after.map_or(MessageId(0), |id| MessageId(id.0.saturating_add(1)));
        let range = (hop.clone(), first)..(hop.clone(), before.max(first));
        self.at.range(range).filter_map(|(_, id)| self.messages.get(id))
    }

    fn pending(
        &self,
        hop: &NextHop,
        until: Wall,
        after: Option<(Wall, MessageId)>,
    ) -> impl Iterator<Item = &Entry> {
        let (due, id) = after.unwrap_or((Wall(i64::MIN), MessageId(0)));
        let from = (hop.clone(), due, id);
        let to = (hop.clone(), until, MessageId(u64::MAX));
        let rows = (from <= to).then(|| self.due.range(from..=to)).into_iter().flatten();
        rows.filter(move |(_, due, id)| after.is_none_or(|last| (*due, *id) > last))
            .filter_map(|(_, _, id)| self.messages.get(id))
    }

    fn journal_of_message(&self, id: MessageId, limit: usize) -> Vec<JournalEntry> {
        let own: Vec<_> =
            self.journal.iter().rev().filter(|(_, entry)| entry.message == Some(id)).take(limit).collect();
        let mut hops: BTreeSet<NextHop> = own.iter().map(|(_, entry)| entry.hop.clone()).collect();
        let mut last = own.first().map(|(place, _)| **place);
        if let Some(entry) = self.messages.get(&id) {
            hops.extend(rules::hops(&entry.message).into_iter().cloned());
            hops.extend(entry.places().into_keys());
            last = Some((i64::MAX, u64::MAX));
        }
        let told = |place: &(i64, u64), entry: &JournalEntry| match entry.message {
            Some(message) => message == id,
            None => hops.contains(&entry.hop) && last.is_some_and(|last| *place <= last),
        };
        newest(self.journal.iter().rev().filter(|(place, entry)| told(place, entry)), limit)
    }
}

/// The first `limit` of entries that come newest first, oldest first.
fn newest<'a>(
    entries: impl Iterator<Item = (&'a (i64, u64), &'a JournalEntry)>,
    limit: usize,
) -> Vec<JournalEntry> {
    let mut kept: Vec<_> = entries.take(limit).map(|(_, entry)| entry.clone()).collect();
    kept.reverse();
    kept
}

fn page<'a>(entries: impl Iterator<Item = &'a Entry>, limit: usize, mut memory: Allowance) -> Vec<Stored> {
    entries.take(limit).map(|entry| entry.stored(memory.admits(entry.message.size))).collect()
}

impl Store for MemoryStore {
    fn commit(&mut self, batch: &[Record]) -> Result<Committed, StoreError> {
        rules::check(batch)?;
        let mut contents = self.contents(batch)?.into_iter();
        let mut known = Vec::new();
        for record in batch {
            match record {
                Record::Accept { message, content } => {
                    let octets = contents.next().unwrap_or_default();
                    self.accept(message, octets, content);
                }
                Record::Divide { id, pending } => {
                    if let Some(entry) = self.remove(*id) {
                        let mut pending = pending.clone();
                        pending.sort_by_key(|one| one.recipient);
                        for (key, due) in rules::earliest(&pending) {
                            if let Some(row) = self.hops.get_mut(&key.to_string()) {
                                row.due = row.due.min(due);
                            }
                        }
                        self.insert(*id, Entry { pending: Some(pending), ..entry });
                    }
                }
                Record::Settle { id } => {
                    self.remove(*id);
                }
                Record::Waiting { hop, delta } => {
                    if self.wait(hop, *delta) {
                        known.push(hop.to_string());
                    }
                }
                Record::Journal(entry) => self.note(entry),
                Record::Hop { .. } => {}
            }
        }
        for record in batch {
            if let Record::Hop { hop, due, state } = record
                && let Some(row) = self.hops.get_mut(&hop.to_string())
            {
                row.due = *due;
                row.state = state.clone();
            }
        }
        Ok(Committed { hops: known.iter().filter_map(|key| self.hops.get(key).cloned()).collect() })
    }

    fn load(&mut self, load: &Load) -> Result<Loaded, StoreError> {
        let nothing = Allowance(0);
        Ok(match load {
            Load::DueHops { until, after, limit } => {
                Loaded::Hops(self.due_hops(*until, after.as_ref(), *limit))
            }
            Load::Hops { dns_only, after, limit } => {
                Loaded::Hops(self.hop_rows(*dns_only, after.as_ref(), *limit))
            }
            Load::Hop(hop) => Loaded::Hops(self.hops.get(&hop.to_string()).cloned().into_iter().collect()),
            Load::Fresh { hop, after, limit, content_total_max } => {
                let fresh =
                    self.at_hop(hop, *after, MessageId(u64::MAX)).filter(|entry| entry.pending.is_none());
                Loaded::Messages(page(fresh, *limit, Allowance(*content_total_max)))
            }
            Load::Pending { hop, until, after, limit, content_total_max } => Loaded::Messages(page(
                self.pending(hop, *until, *after),
                *limit,
                Allowance(*content_total_max),
            )),
            Load::EarliestPending(hop) => {
                let from = (hop.clone(), Wall(i64::MIN), MessageId(0));
                let first = self.due.range(from..).next();
                Loaded::Due(first.filter(|(at, _, _)| at == hop).map(|(_, due, _)| *due))
            }
            Load::Old { hop, before, after, limit } => {
                Loaded::Messages(page(self.at_hop(hop, *after, *before), *limit, nothing))
            }
            Load::Messages { after, limit } => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let all = self.messages.range((from, Bound::Unbounded)).map(|(_, entry)| entry);
                Loaded::Messages(page(all, *limit, nothing))
            }
            Load::Message(id) => {
                Loaded::Messages(page(self.messages.get(id).into_iter(), 1, Allowance(u64::MAX)))
            }
            Load::Content { id, offset, len } => Loaded::Content(self.messages.get(id).map(|entry| {
                let rest =
                    usize::try_from(*offset).ok().and_then(|at| entry.content.get(at..)).unwrap_or_default();
                rest.get(..*len).unwrap_or(rest).to_vec()
            })),
            Load::JournalOfMessage { id, limit } => Loaded::Journal(self.journal_of_message(*id, *limit)),
            Load::JournalOfHop { hop, limit } => {
                let of_hop = self.journal.iter().rev().filter(|(_, entry)| entry.hop == *hop);
                Loaded::Journal(newest(of_hop, *limit))
            }
            Load::Totals => {
                Loaded::Totals(Totals { messages: self.messages.len() as u64, last_id: self.last_id })
            }
        })
    }

    fn tend(&mut self, now: Wall) -> Result<(), StoreError> {
        self.journal.retain(|(day, _), _| !rules::history_is_old(*day, now));
        Ok(())
    }
}
