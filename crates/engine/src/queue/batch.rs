//! What is to be written, and when: the commit policy.
//!
//! A commit costs about the same whatever it holds, so one is worth waiting for, but never longer than it takes the others:
//! it goes as soon as every session inside DATA has handed in its draft, else at 64 drafts or after 2 ms. What was settled
//! rides along, and makes a commit of its own only after 10 ms.

use super::{AdminToken, Queue, QueueOutput, StoreState, Ticket};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now};
use postroad_spool::record::{Content, Message, Record};
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
    Accepted { ticket: Ticket, client: String },
    /// A live message has one write less to wait for; `settled`: it is gone from the store.
    /// `pending_at`: hops at which recipients of it are pending from here on.
    Written { id: MessageId, settled: bool, pending_at: Vec<NextHop> },
    /// A page of an administrator's request is done.
    Admin(AdminToken),
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

    pub(super) fn clients(&self) -> usize {
        self.clients
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty() && self.dirty.is_empty() && self.sent.is_none()
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
        let full = self.clients >= DRAFTS_FULL || self.records >= RECORDS_MAX;
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
        let (mut records, waiting, dirty) = self.batch.take(now);
        records.extend(
            waiting
                .into_iter()
                .filter(|(_, delta)| *delta != 0)
                .map(|(hop, delta)| Record::Waiting { hop, delta }),
        );
        for hop in dirty {
            if let Some(held) = self.hops.get(&hop) {
                records.push(Record::Hop { due: held.due(now), state: held.state.clone(), hop });
            }
        }
        self.outputs.push_back(QueueOutput::Commit(records));
    }

    pub(super) fn committed(&mut self, now: Now, committed: postroad_spool::record::Committed) {
        let sent = self.batch.sent.take().unwrap_or_default();
        self.batch.sent_dirty.clear();
        let mut touched: BTreeMap<NextHop, i64> = BTreeMap::new();
        for (hop, delta) in sent.iter().flat_map(|unit| &unit.waiting) {
            *touched.entry(hop.clone()).or_default() += delta;
        }
        self.count(now, &touched, committed.hops);
        for unit in sent {
            for (message, content) in unit.accepted {
                self.messages += 1;
                if let After::Accepted { ticket, client } = &unit.after {
                    self.outputs.push_back(QueueOutput::Accepted(*ticket, message.id));
                    self.flow(crate::delivery::Flow::Accepted {
                        message: Arc::clone(&message),
                        client: client.clone(),
                    });
                }
                self.make_ready(now, message, content);
            }
            match unit.after {
                After::Written { id, settled, pending_at } => {
                    self.messages -= u64::from(settled && self.messages > 0);
                    self.written(id);
                    for hop in pending_at {
                        self.has_pending(now, &hop);
                    }
                }
                After::Admin(token) => self.admin_page_written(token),
                After::Accepted { .. } | After::Nothing => {}
            }
        }
        for hop in touched.keys() {
            self.pump(now, hop);
        }
        self.admin_step();
    }

    /// Nothing of the batch is on disk: clients hear so, and what is ours is written again once the store is back.
    pub(super) fn store_failed(&mut self, batch: Vec<Record>, full: bool) {
        self.store = StoreState::Down { full };
        let mut records = batch.into_iter();
        let mut again = VecDeque::new();
        for unit in self.batch.sent.take().unwrap_or_default() {
            let own: Vec<Record> = records.by_ref().take(unit.records).collect();
            match (unit.kind, unit.after) {
                (Kind::Client, After::Accepted { ticket, .. }) => {
                    self.outputs.push_back(QueueOutput::Refused { ticket, full });
                }
                (kind, after) => again.push_back(Unit { records: own, waiting: unit.waiting, after, kind }),
            }
        }
        // Clients whose drafts were not sent yet are refused too: they come back, and hear the truth at once.
        for unit in std::mem::take(&mut self.batch.units) {
            match unit.after {
                After::Accepted { ticket, .. } => {
                    self.outputs.push_back(QueueOutput::Refused { ticket, full })
                }
                _ => again.push_back(unit),
            }
        }
        self.batch.records = again.iter().map(|unit| unit.records.len()).sum();
        self.batch.clients = 0;
        self.batch.units = again;
        self.batch.oldest_client = None;
        let dirty = std::mem::take(&mut self.batch.sent_dirty);
        self.batch.dirty.extend(dirty);
    }

    pub(super) fn store_up(&mut self, now: Now) {
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
}
