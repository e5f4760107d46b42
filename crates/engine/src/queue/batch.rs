//! What is to be written, and when: the commit policy.
//!
//! A commit costs about the same whatever it holds, so one is worth waiting for, but never longer than it takes the others:
//! it goes as soon as every session inside DATA has handed in its draft, else at 64 drafts or after 2 ms. What was settled
//! rides along, and makes a commit of its own only after 10 ms.

use super::hops::Hop;
use super::live::Live;
use super::loads::Pursuit;
use super::{AdminToken, Queue, QueueOutput, StoreState, Ticket};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now};
use postroad_spool::record::{Committed, Content, Load, Message, Record, Stored};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Drafts that make a commit whoever else is about to hand one in.
const DRAFTS_FULL: usize = 64;
/// The longest that a draft waits for others.
const DRAFT_WAIT: Duration = Duration::from_millis(2);
/// The longest that a settle waits for a draft to ride with.
const SETTLE_WAIT: Duration = Duration::from_millis(10);
/// Records of one commit at most: bounds the time that one takes.
const RECORDS_MAX: usize = 2048;

/// Records that belong together, and what follows once they are on disk.
pub(super) struct Unit {
    records: Vec<Record>,
    waiting: Vec<(NextHop, i64)>,
    after: After,
    kind: Kind,
}

/// What follows a commit.
pub(super) enum After {
    /// A client's message is ours.
    Accepted { ticket: Ticket, client: String, generation: u64 },
    /// A live message has one write less to wait for; `settled`: it is gone from the store.
    Written { id: MessageId, settled: bool },
    /// A page of an administrator's request is done.
    Admin(AdminToken),
    /// A page of the walk of this number is done.
    Rerouted(u64),
    /// A client's message that was refused, though the store may have kept it: it goes again.
    Disowned,
    /// Nothing.
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A client waits for it; refused when the store fails.
    Client,
    /// Ours; written again when the store is back.
    Own,
}

impl Unit {
    /// A client's draft.
    pub(super) fn accepting(message: Arc<Message>, content: Content, after: After) -> Self {
        let waiting = message.recipients.iter().map(|recipient| (recipient.hop.clone(), 1)).collect();
        Self { records: vec![Record::Accept { message, content }], waiting, after, kind: Kind::Client }
    }

    /// Changes of our own.
    pub(super) fn own(records: Vec<Record>, waiting: Vec<(NextHop, i64)>, after: After) -> Self {
        Self { records, waiting, after, kind: Kind::Own }
    }
}

/// A unit whose records are with the store.
struct Sent {
    records: usize,
    waiting: Vec<(NextHop, i64)>,
    after: After,
    kind: Kind,
    accepted: Vec<(Arc<Message>, Content)>,
}

#[derive(Default)]
pub(super) struct Batch {
    units: VecDeque<Unit>,
    clients: usize,
    records: usize,
    oldest_client: Option<Mono>,
    oldest_own: Option<Mono>,
    /// Hops whose state is to be written with the next commit.
    dirty: BTreeSet<NextHop>,
    sent: Option<Vec<Sent>>,
    sent_dirty: BTreeSet<NextHop>,
    /// The records of `sent`, when the store failed and nobody knows whether it has kept them.
    doubt: Option<Vec<Record>>,
}

impl Batch {
    pub(super) fn push(&mut self, now: Now, unit: Unit) {
        self.records += unit.records.len();
        match unit.kind {
            Kind::Client => {
                self.clients += 1;
                self.oldest_client.get_or_insert(now.mono);
            }
            Kind::Own => {
                self.oldest_own.get_or_insert(now.mono);
            }
        }
        self.units.push_back(unit);
    }

    pub(super) fn mark_dirty(&mut self, now: Now, hop: NextHop) {
        self.oldest_own.get_or_insert(now.mono);
        self.dirty.insert(hop);
    }

    pub(super) fn is_dirty(&self, hop: &NextHop) -> bool {
        self.dirty.contains(hop) || self.sent_dirty.contains(hop)
    }

    /// Whether more is to be written than one commit takes.
    pub(super) fn is_full(&self) -> bool {
        self.records >= RECORDS_MAX
    }

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.dirty.is_empty() && self.sent.is_none()
    }

    /// The units that were with the store, and what they add to the counts of hops.
    fn take_sent(&mut self) -> (Vec<Sent>, BTreeMap<NextHop, i64>) {
        self.sent_dirty.clear();
        let sent = self.sent.take().unwrap_or_default();
        let mut touched: BTreeMap<NextHop, i64> = BTreeMap::new();
        for (hop, delta) in sent.iter().flat_map(|unit| &unit.waiting) {
            *touched.entry(hop.clone()).or_default() += delta;
        }
        (sent, touched)
    }

    fn refill(&mut self, units: VecDeque<Unit>) {
        self.records = units.iter().map(|unit| unit.records.len()).sum();
        self.units = units;
    }

    /// When the next commit is due at the latest; nothing while one is under way.
    pub(super) fn due(&self) -> Option<Mono> {
        if self.sent.is_some() {
            return None;
        }
        let client = self.oldest_client.map(|at| at + DRAFT_WAIT);
        let own = self.oldest_own.map(|at| at + SETTLE_WAIT);
        [client, own].into_iter().flatten().min()
    }

    fn is_due(&self, now: Now, receiving: usize, stopping: bool) -> bool {
        if self.sent.is_some() || (self.units.is_empty() && self.dirty.is_empty()) {
            return false;
        }
        let all_in = self.clients > 0 && receiving == 0;
        let full = self.clients >= DRAFTS_FULL || self.is_full();
        all_in || full || stopping || self.due().is_some_and(|due| due <= now.mono)
    }

    /// Takes up to `RECORDS_MAX` records for a commit.
    fn take(&mut self, now: Now) -> (Vec<Record>, BTreeMap<NextHop, i64>, BTreeSet<NextHop>) {
        let mut records = Vec::with_capacity(self.records.min(RECORDS_MAX) + 8);
        let mut waiting: BTreeMap<NextHop, i64> = BTreeMap::new();
        let mut sent = Vec::new();
        while records.len() < RECORDS_MAX {
            let Some(unit) = self.units.pop_front() else { break };
            self.records -= unit.records.len();
            self.clients -= usize::from(unit.kind == Kind::Client);
            for (hop, delta) in &unit.waiting {
                *waiting.entry(hop.clone()).or_default() += delta;
            }
            let accepted = unit.records.iter().filter_map(|record| match record {
                Record::Accept { message, content } => Some((Arc::clone(message), content.clone())),
                _ => None,
            });
            sent.push(Sent {
                records: unit.records.len(),
                accepted: accepted.collect(),
                waiting: unit.waiting,
                after: unit.after,
                kind: unit.kind,
            });
            records.extend(unit.records);
        }
        self.sent = Some(sent);
        self.oldest_client = (self.clients > 0).then_some(now.mono);
        self.oldest_own = (!self.units.is_empty()).then_some(now.mono);
        self.sent_dirty = std::mem::take(&mut self.dirty);
        (records, waiting, self.sent_dirty.clone())
    }
}

impl Queue {
    pub(super) fn commit_if_due(&mut self, now: Now) {
        if self.store != StoreState::Up || !self.batch.is_due(now, self.receiving, self.stopping) {
            return;
        }
        let (mut records, mut waiting, dirty) = self.batch.take(now);
        // A change of nothing still brings the row of a hop that is not held here.
        waiting.retain(|hop, delta| *delta != 0 || !self.hops.contains_key(hop));
        records.extend(waiting.into_iter().map(|(hop, delta)| Record::Waiting { hop, delta }));
        for hop in dirty {
            if let Some(held) = self.hops.get(&hop) {
                records.push(Record::Hop { due: held.due(now), state: held.state.clone(), hop });
            }
        }
        self.outputs.push_back(QueueOutput::Commit(records));
    }

    pub(super) fn committed(&mut self, now: Now, committed: Committed) {
        let (sent, touched) = self.batch.take_sent();
        self.count(now, &touched, committed.hops);
        self.follow(now, sent, &touched);
    }

    /// What follows from units that are on disk.
    fn follow(&mut self, now: Now, sent: Vec<Sent>, touched: &BTreeMap<NextHop, i64>) {
        for unit in sent {
            for (message, content) in unit.accepted {
                self.messages += 1;
                if matches!(unit.after, After::Disowned) {
                    self.disown(now, message);
                    continue;
                }
                if let After::Accepted { ticket, client, generation } = &unit.after {
                    self.outputs.push_back(QueueOutput::Accepted(*ticket, message.id));
                    self.flow(crate::delivery::Flow::Accepted {
                        message: Arc::clone(&message),
                        client: client.clone(),
                        generation: *generation,
                    });
                }
                self.make_ready(now, message, content);
            }
            match unit.after {
                After::Written { id, settled } => {
                    self.messages -= u64::from(settled && self.messages > 0);
                    self.reroute(now, id);
                    self.pending_from_here(now, id);
                    self.written(id);
                }
                After::Admin(token) => self.admin_page_written(token),
                After::Rerouted(walk) => self.reroute_written(now, walk),
                After::Accepted { .. } | After::Disowned | After::Nothing => {}
            }
        }
        for (key, delta) in touched {
            // Its row says when the next pending recipient is due; what has just come is due at once.
            let late = |hop: &Hop| hop.state.gate.is_none() && hop.pending_due.is_some();
            if *delta > 0 && self.hops.get(key).is_some_and(late) {
                self.batch.mark_dirty(now, key.clone());
            }
            self.pump(now, key);
        }
        self.admin_step();
    }

    /// The store failed under a batch, or under nothing: clients hear so, and what is ours is kept until it is back.
    pub(super) fn store_failed(&mut self, batch: Vec<Record>, full: bool) {
        self.store = StoreState::Down { full };
        for unit in self.batch.sent.iter_mut().flatten() {
            if let After::Accepted { ticket, .. } = unit.after {
                self.outputs.push_back(QueueOutput::Refused { ticket, full });
                unit.after = After::Disowned;
            }
        }
        // A question may fail before the commit that is under way does; that one brings its batch back itself.
        let sent: usize = self.batch.sent.iter().flatten().map(|unit| unit.records).sum();
        if self.batch.sent.is_some() && batch.len() >= sent {
            self.batch.doubt = Some(batch);
        }
        // Clients whose drafts were not sent yet are refused too: they come back, and hear the truth at once.
        let mut again = VecDeque::new();
        for unit in std::mem::take(&mut self.batch.units) {
            match unit.after {
                After::Accepted { ticket, .. } => {
                    self.outputs.push_back(QueueOutput::Refused { ticket, full })
                }
                _ => again.push_back(unit),
            }
        }
        self.batch.clients = 0;
        self.batch.oldest_client = None;
        self.batch.oldest_own = None;
        self.batch.refill(again);
    }

    /// The store is open again. It may have kept the batch under which it failed: one of its messages tells, and until it has,
    /// nothing else is asked or written.
    pub(super) fn store_up(&mut self, now: Now) {
        match self.batch.doubt.as_deref().map(witness) {
            Some(Some(witness)) => {
                self.ask(Load::Message(witness), Pursuit::Doubt);
            }
            // What names no message is the same when it is written twice.
            Some(None) => self.doubt_resolved(now, false),
            None => self.resume(now),
        }
    }

    /// The store has answered whether it kept the batch.
    pub(super) fn witnessed(&mut self, now: Now, page: &[Stored]) {
        let doubt = self.batch.doubt.as_deref().unwrap_or_default();
        let kept = kept(doubt, page.first());
        self.doubt_resolved(now, kept);
    }

    fn doubt_resolved(&mut self, now: Now, kept: bool) {
        let mut records = self.batch.doubt.take().unwrap_or_default().into_iter();
        let dirty = self.batch.sent_dirty.clone();
        let (sent, touched) = self.batch.take_sent();
        self.store = StoreState::Up;
        if kept {
            for (hop, delta) in &touched {
                match self.hops.get_mut(hop) {
                    Some(held) => held.waiting = held.waiting.saturating_add_signed(*delta),
                    None => {
                        self.ask(Load::Hop(hop.clone()), Pursuit::DueHops { limit: usize::MAX });
                    }
                }
            }
            self.follow(now, sent, &touched);
        } else {
            let mut again = VecDeque::new();
            for unit in sent {
                let own: Vec<Record> = records.by_ref().take(unit.records).collect();
                if !matches!(unit.after, After::Disowned) {
                    again.push_back(Unit {
                        records: own,
                        waiting: unit.waiting,
                        after: unit.after,
                        kind: unit.kind,
                    });
                }
            }
            again.append(&mut self.batch.units);
            self.batch.refill(again);
            self.batch.dirty.extend(dirty);
        }
        self.resume(now);
    }

    fn resume(&mut self, now: Now) {
        self.store = StoreState::Up;
        if !self.batch.units.is_empty() || !self.batch.dirty.is_empty() {
            self.batch.oldest_own = Some(now.mono);
        }
        for (load, pursuit) in std::mem::take(&mut self.failed_loads) {
            self.ask(load, pursuit);
        }
        let hops: Vec<NextHop> = self.hops.keys().cloned().collect();
        for hop in hops {
            self.pump(now, &hop);
        }
    }

    /// The store has a message whose client was refused, and will hand it in again: it goes, and is held here until it is gone,
    /// so that no page brings it to an attempt.
    fn disown(&mut self, now: Now, message: Arc<Message>) {
        let id = message.id;
        let waiting = message.recipients.iter().map(|recipient| (recipient.hop.clone(), -1)).collect();
        self.live.insert(id, Live::written_off(message));
        let after = After::Written { id, settled: true };
        self.batch.push(now, Unit::own(vec![Record::Settle { id }], waiting, after));
    }
}

/// A message by which it can be told whether a batch was applied.
fn witness(batch: &[Record]) -> Option<MessageId> {
    telling(batch).and_then(|record| match record {
        Record::Accept { message, .. } => Some(message.id),
        Record::Settle { id } | Record::Divide { id, .. } => Some(*id),
        _ => None,
    })
}

/// The record that tells most: what was accepted is there, what was settled is not, what was divided is as it says.
fn telling(batch: &[Record]) -> Option<&Record> {
    let rank = |record: &&Record| match record {
        Record::Accept { .. } => 0,
        Record::Settle { .. } => 1,
        Record::Divide { .. } => 2,
        Record::Waiting { .. } | Record::Hop { .. } | Record::Journal(_) => 3,
    };
    // Of one message the last division holds.
    batch.iter().rev().min_by_key(rank)
}

/// Whether a batch was applied, by what the store has of its witness.
fn kept(batch: &[Record], stored: Option<&Stored>) -> bool {
    match telling(batch) {
        Some(Record::Accept { .. }) => stored.is_some(),
        Some(Record::Settle { .. }) => stored.is_none(),
        Some(Record::Divide { pending, .. }) => {
            stored.is_some_and(|stored| stored.pending.as_ref() == Some(pending))
        }
        _ => false,
    }
}
