//! Messages that are held in memory: ready, in flight, or being written.

use super::hops::Ready;
use super::{Job, Queue};
use crate::delivery::Flow;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Now, Wall};
use postroad_spool::record::{Content, Message, Pending, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A message in memory. While it is here, this and not the store says which of its recipients are unsettled.
pub(super) struct Live {
    pub(super) message: Arc<Message>,
    pub(super) content: Content,
    pub(super) unsettled: BTreeMap<u32, Pending>,
    /// Hops at which it is ready or in flight.
    pub(super) at: BTreeSet<NextHop>,
    /// Writes about it that are not on disk, and looks at its content that are not answered.
    pub(super) writes: u32,
}

impl Live {
    /// From a message as the store has it.
    pub(super) fn of(stored: &Stored) -> Self {
        let unsettled = match &stored.pending {
            Some(pending) => pending.iter().map(|one| (one.recipient, one.clone())).collect(),
            None => fresh(&stored.message),
        };
        Self {
            message: Arc::clone(&stored.message),
            content: stored.content.clone(),
            unsettled,
            at: BTreeSet::new(),
            writes: 0,
        }
    }
}

impl Live {
    /// A message that is about to be gone from the store.
    pub(super) fn written_off(message: Arc<Message>) -> Self {
        Self { message, content: Content::Stored, unsettled: BTreeMap::new(), at: BTreeSet::new(), writes: 1 }
    }
}

/// The recipients of a message none of which has been tried.
fn fresh(message: &Message) -> BTreeMap<u32, Pending> {
    let pending = |(index, hop): (usize, NextHop)| {
        let recipient = u32::try_from(index).unwrap_or(u32::MAX);
        (recipient, Pending { recipient, hop, due: Wall(0), attempts: 0, cause: String::new() })
    };
    message.recipients.iter().map(|recipient| recipient.hop.clone()).enumerate().map(pending).collect()
}

impl Queue {
    /// A message has just become ours: it is ready at each of its hops that are open and have room.
    pub(super) fn make_ready(&mut self, now: Now, message: Arc<Message>, content: Content) {
        let generation = self.settings.generation;
        let content = match content {
            Content::Draft(_) => Content::Stored,
            content => content,
        };
        let id = message.id;
        let mut live = Live { unsettled: fresh(&message), message, content, at: BTreeSet::new(), writes: 0 };
        // It was handed in under a route that has been changed since.
        if self.is_led_elsewhere(&live) {
            self.content_total += live.content.octets_in_memory();
            self.live.insert(id, live);
            self.reroute(now, id);
            return;
        }
        let mut at: BTreeMap<NextHop, Vec<u32>> = BTreeMap::new();
        for one in live.unsettled.values() {
            at.entry(one.hop.clone()).or_default().push(one.recipient);
        }
        for (key, recipients) in at {
            let room =
                self.hops.get(&key).is_some_and(|hop| self.has_room(hop, live.content.octets_in_memory()));
            let Some(hop) = self.hops.get_mut(&key) else { continue };
            if hop.gate_closed(now) {
                hop.fresh = Some(None);
                let (cause, until) = hop
                    .state
                    .gate
                    .as_ref()
                    .map_or((String::new(), now.wall), |gate| (gate.cause.clone(), gate.until));
                for recipient in recipients {
                    let (message, cause) = (Arc::clone(&live.message), cause.clone());
                    self.flow(Flow::Deferred { message, recipient, cause, until, generation });
                }
            } else if !room {
                hop.overflow.get_or_insert(id);
                if hop.fresh.is_none() {
                    hop.fresh = Some(hop.overflow.take().map(|first| MessageId(first.0.saturating_sub(1))));
                }
            } else {
                hop.ready.push_back(Ready { id, recipients, since: now.mono });
                hop.taken += 1;
                live.at.insert(key);
            }
        }
        if !live.at.is_empty() {
            self.content_total += live.content.octets_in_memory();
            self.live.insert(id, live);
        }
    }

    /// A message as it is here, or else as the store has it.
    pub(super) fn hold(&mut self, stored: &Stored) -> &mut Live {
        let content_total = &mut self.content_total;
        self.live.entry(stored.message.id).or_insert_with(|| {
            *content_total += stored.content.octets_in_memory();
            Live::of(stored)
        })
    }

    /// A message of a page: ready at `key`, unless it is here already. True if it was taken.
    pub(super) fn take_loaded(&mut self, now: Now, key: &NextHop, stored: &Stored) -> bool {
        let id = stored.message.id;
        self.hold(stored);
        self.reroute(now, id);
        let Some(live) = self.live.get_mut(&id) else { return false };
        let due = |pending: &Pending| pending.hop == *key && pending.due <= now.wall;
        let recipients: Vec<u32> =
            live.unsettled.values().filter(|one| due(one)).map(|one| one.recipient).collect();
        let taken = !recipients.is_empty() && !live.at.contains(key);
        if taken {
            live.at.insert(key.clone());
            if let Some(hop) = self.hops.get_mut(key) {
                hop.ready.push_back(Ready { id, recipients, since: now.mono });
                hop.taken += 1;
            }
        }
        self.drop_if_done(id);
        taken
    }

    /// The next job of a hop.
    pub(super) fn next_job(&mut self, key: &NextHop) -> Option<Arc<Job>> {
        loop {
            let ready = self.hops.get_mut(key)?.ready.pop_front()?;
            let Some(live) = self.live.get(&ready.id) else {
                if let Some(hop) = self.hops.get_mut(key) {
                    hop.taken = hop.taken.saturating_sub(1);
                }
                continue;
            };
            let of = |recipient: &u32| live.unsettled.get(recipient);
            let attempts = ready.recipients.iter().filter_map(of).map(|one| one.attempts).max().unwrap_or(0);
            let cause = match key {
                NextHop::Badmail => ready.recipients.first().and_then(of).map(|one| one.cause.clone()),
                _ => None,
            };
            return Some(Arc::new(Job {
                message: Arc::clone(&live.message),
                content: live.content.clone(),
                recipients: ready.recipients,
                attempts,
                cause: cause.unwrap_or_default(),
            }));
        }
    }

    /// A job that was not tried is the next one again.
    pub(super) fn put_back(&mut self, now: Now, key: &NextHop, job: &Job) {
        if let Some(hop) = self.hops.get_mut(key) {
            let ready = Ready { id: job.message.id, recipients: job.recipients.clone(), since: now.mono };
            hop.ready.push_front(ready);
        }
        self.reroute(now, job.message.id);
    }

    /// A hop's gate has closed: what was ready is in the store alone.
    pub(super) fn park(&mut self, now: Now, key: &NextHop) {
        let generation = self.settings.generation;
        let Some(hop) = self.hops.get_mut(key) else { return };
        let (until, cause) = hop
            .state
            .gate
            .as_ref()
            .map_or((now.wall, String::new()), |gate| (gate.until, gate.cause.clone()));
        hop.fresh = Some(None);
        hop.pending = Some(None);
        hop.overflow = None;
        hop.stale = hop.loading;
        let parked = std::mem::take(&mut hop.ready);
        hop.taken -= parked.len().min(hop.taken);
        for ready in parked {
            if let Some(live) = self.live.get_mut(&ready.id) {
                live.at.remove(key);
                let message = Arc::clone(&live.message);
                for recipient in ready.recipients {
                    let (message, cause) = (Arc::clone(&message), cause.clone());
                    self.flow(Flow::Deferred { message, recipient, cause, until, generation });
                }
            }
            self.drop_if_done(ready.id);
        }
    }

    /// A write about a message is on disk.
    pub(super) fn written(&mut self, id: MessageId) {
        if let Some(live) = self.live.get_mut(&id) {
            live.writes = live.writes.saturating_sub(1);
        }
        self.drop_if_done(id);
    }

    pub(super) fn drop_if_done(&mut self, id: MessageId) {
        let done = self.live.get(&id).is_some_and(|live| live.at.is_empty() && live.writes == 0);
        if done && let Some(live) = self.live.remove(&id) {
            self.content_total = self.content_total.saturating_sub(live.content.octets_in_memory());
        }
    }
}
