//! Next hops: which have work, which wait, and how many connections each has.
//!
//! Waiting belongs to the hop: when no host of it can be talked to, or DNS does not say which hosts it has, its *gate*
//! closes for everything that waits there. One record says so, whatever the backlog. When the time has come a single
//! attempt tries the hop; if it gets through the gate opens.

use super::loads::Pursuit;
use super::{AttemptId, CONTENT_TOTAL_MAX, Queue, READY_MAX, StoreState};
use crate::delivery::Flow;
use crate::journal::Entry;
use crate::schedule;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_spool::record::{
    CONTENT_IN_MEMORY_MAX, DNS_WAITS_MAX, Gate, GateKind, HopRow, HopState, JournalEntry, Load, Record,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Hops due within this are held in memory; the others are in the store alone.
const HORIZON: Duration = Duration::from_secs(60);
/// Hops held in memory at most; the others are brought as room is made.
const HOPS_MAX: usize = 20_000;
/// How long the first message of a hop waits for a busy connection before a further one is opened.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);
/// How long the store is not asked again when the next pending recipient of a hop is due.
const EARLIEST_WAIT: Duration = Duration::from_secs(1);
/// Messages of a page loaded for a hop that works, and for one that is being tried.
const PAGE: usize = 100;
const PAGE_PROBING: usize = 1;

/// What of a kind of work may be in the store and not here: where to go on reading.
pub(super) type Unread<C> = Option<Option<C>>;

#[derive(Default)]
pub(super) struct Hop {
    pub(super) state: HopState,
    pub(super) waiting: u64,
    pub(super) ready: VecDeque<Ready>,
    /// Fresh messages that are not in `ready`.
    pub(super) fresh: Unread<MessageId>,
    /// The first fresh message that found no room here while fresh ones were being read.
    pub(super) overflow: Option<MessageId>,
    /// Pending recipients that are due.
    pub(super) pending: Unread<(Wall, MessageId)>,
    /// The earliest pending recipient known that is not due yet.
    pub(super) pending_due: Option<Wall>,
    /// Whether `pending_due` is less than sure: the store is asked once all that is due is done.
    pub(super) ask_earliest: bool,
    /// Not asked before.
    earliest_at: Mono,
    pub(super) loading: bool,
    /// Nothing was read because the store is behind with what is to be written.
    held_off: bool,
    /// Its old messages are being looked through: how long they waited for DNS is known while it is held.
    pub(super) expiring: bool,
    /// The page on its way was asked for before a gate closed: where to read on from was forgotten since.
    pub(super) stale: bool,
    /// Messages ready or in flight here.
    pub(super) taken: usize,
    pub(super) connections: BTreeSet<AttemptId>,
    pub(super) opening: usize,
    pub(super) idle: Vec<AttemptId>,
    pub(super) crowded_until: Mono,
    wake: Option<Mono>,
    /// The plan whose exchanges are in the journal.
    pub(super) plan: Option<u64>,
}

/// A message that may be given to a connection.
pub(super) struct Ready {
    pub(super) id: MessageId,
    pub(super) recipients: Vec<u32>,
    pub(super) since: Mono,
}

impl Hop {
    /// When the store is to bring this hop back, were we to die now.
    pub(super) fn due(&self, now: Now) -> Wall {
        if let Some(gate) = &self.state.gate {
            return gate.until;
        }
        // While it is not sure what is due next, nothing may wait for what is known to be due later.
        let read = self.fresh.is_none() && self.pending.is_none() && !self.ask_earliest;
        let idle = self.taken == 0 && read;
        if idle { self.pending_due.unwrap_or(now.wall) } else { Wall(0) }
    }

    pub(super) fn gate_closed(&self, now: Now) -> bool {
        self.state.gate.as_ref().is_some_and(|gate| gate.until > now.wall)
    }

    pub(super) fn end_gate(&mut self, now: Now) {
        if let Some(gate) = self.state.gate.take()
            && gate.kind == GateKind::Dns
        {
            schedule::add_span(&mut self.state.dns_waits, gate.since, now.wall, DNS_WAITS_MAX);
        }
    }

    /// How long of a message's age it waited for DNS at this hop.
    pub(super) fn dns_wait(&self, now: Now, since: Wall) -> Duration {
        schedule::overlap(&self.dns_waits(now), since, now.wall)
    }

    /// When it waited for DNS, up to now.
    pub(super) fn dns_waits(&self, now: Now) -> Vec<(Wall, Wall)> {
        let mut spans = self.state.dns_waits.clone();
        if let Some(gate) = self.state.gate.as_ref().filter(|gate| gate.kind == GateKind::Dns) {
            schedule::add_span(&mut spans, gate.since, now.wall, DNS_WAITS_MAX);
        }
        spans
    }

    fn is_empty(&self) -> bool {
        self.waiting == 0 && self.taken == 0 && self.connections.is_empty() && !self.loading
    }

    pub(super) fn has_other_connection(&self) -> bool {
        self.connections.len() > self.opening
    }
}

/// What a face may know of a hop that is held in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopView {
    /// Recipients that wait there.
    pub waiting: u64,
    /// Why and until when, if it does.
    pub gate: Option<Gate>,
    /// Connections open or being opened.
    pub connections: usize,
}

impl Queue {
    /// A hop as it is in memory; `None`: the store has all that is known.
    #[must_use]
    pub fn hop(&self, hop: &NextHop) -> Option<HopView> {
        self.hops.get(hop).map(|held| HopView {
            waiting: held.waiting,
            gate: held.state.gate.clone(),
            connections: held.connections.len(),
        })
    }

    /// Takes over what a commit did to the counts of hops, and the rows of those that were in the store alone.
    pub(super) fn count(&mut self, now: Now, deltas: &BTreeMap<NextHop, i64>, rows: Vec<HopRow>) {
        for (key, delta) in deltas {
            if let Some(hop) = self.hops.get_mut(key) {
                hop.waiting = hop.waiting.saturating_add_signed(*delta);
            }
        }
        for row in rows {
            if self.may_hold(&row.hop) {
                self.learn(now, row);
            } else if row.state.gate.is_none() && row.due > now.wall {
                // What has just come is due at once.
                self.due_at_once(now, row);
            }
        }
        for (key, delta) in deltas {
            if *delta > 0 && !self.hops.contains_key(key) && self.may_hold(key) {
                let waiting = delta.unsigned_abs();
                let state = HopState { locals: self.locals_of(key), ..HopState::default() };
                self.hops.insert(key.clone(), Hop { waiting, state, ..Hop::default() });
            }
        }
        for (key, _) in deltas.iter().filter(|(_, delta)| **delta > 0) {
            self.note_arrivals(now, key);
        }
        self.carry_over(now, deltas.keys());
    }

    /// Whether a hop is here, or has room.
    pub(super) fn may_hold(&mut self, key: &NextHop) -> bool {
        let may = self.hops.len() < HOPS_MAX || self.hops.contains_key(key);
        self.hops_beyond |= !may;
        may
    }

    /// A hop for which there is no room here is due at once, whatever it waits for.
    pub(super) fn due_at_once(&mut self, now: Now, row: HopRow) {
        let HopRow { hop, mut state, .. } = row;
        if let Some(gate) = &mut state.gate {
            gate.until = gate.until.min(now.wall);
        }
        let record = Record::Hop { hop, due: now.wall, state };
        self.batch.push(now, super::Unit::own(vec![record], Vec::new(), super::After::Nothing));
    }

    /// Takes a hop from its row, unless it is here already.
    pub(super) fn learn(&mut self, now: Now, row: HopRow) {
        if row.waiting == 0 || self.hops.contains_key(&row.hop) {
            return;
        }
        let later = row.state.gate.is_none() && row.due > now.wall;
        let hop = Hop {
            waiting: row.waiting,
            // Fresh ones are looked for even where the row is due later: they may have come when only pending ones were known, and
            // we died before the row said so.
            fresh: Some(None),
            pending: (!later).then_some(None),
            pending_due: later.then_some(row.due),
            ask_earliest: true,
            state: row.state,
            ..Hop::default()
        };
        let wake = now.mono_at(row.due);
        self.hops.insert(row.hop.clone(), hop);
        self.wake_at(&row.hop, wake);
    }

    /// Gives a hop what can be done now: reads ahead, hands out, opens, and says when to look again.
    pub(super) fn pump(&mut self, now: Now, key: &NextHop) {
        if !self.started || self.stopping || self.store != StoreState::Up {
            return;
        }
        let Some(hop) = self.hops.get_mut(key) else { return };
        // A gate goes with the last that waits behind it, as its row does.
        if hop.is_empty() {
            if hop.state.gate.is_some() {
                self.flow(Flow::HopRecovered { hop: key.clone() });
            }
            return self.forget(key);
        }
        if hop.gate_closed(now) {
            let until = hop.state.gate.as_ref().map_or(now.wall, |gate| gate.until);
            return self.wake_at(key, now.mono_at(until));
        }
        if hop.pending_due.is_some_and(|due| due <= now.wall) {
            hop.pending_due = None;
            hop.pending.get_or_insert(None);
            hop.ask_earliest = true;
        }
        self.read_ahead(now, key);
        self.hand_out(key);
        self.open(now, key);
        self.settle_down(now, key);
    }

    fn read_ahead(&mut self, now: Now, key: &NextHop) {
        let room = CONTENT_TOTAL_MAX.saturating_sub(self.content_total);
        let Some(hop) = self.hops.get_mut(key) else { return };
        let probing = hop.state.gate.is_some();
        if hop.loading || hop.ready.len() >= if probing { PAGE_PROBING } else { PAGE / 2 } {
            return;
        }
        // A page may be one of mail that goes elsewhere, which is no work for the hop and much to write.
        hop.held_off = self.batch.is_full();
        if hop.held_off {
            return;
        }
        // A page reads less content into memory when much is held; a single message is always let through.
        let limit = if probing { PAGE_PROBING } else { PAGE };
        let most = (CONTENT_TOTAL_MAX / 16).min(limit as u64 * CONTENT_IN_MEMORY_MAX);
        // Pages on their way are counted as full, so one leaves room for those of other hops.
        let content_total_max = most.min(room / 4);
        let hop_key = key.clone();
        let (load, pursuit) = if let Some(after) = hop.pending {
            (
                Load::Pending { hop: hop_key.clone(), until: now.wall, after, limit, content_total_max },
                Pursuit::Pending { hop: hop_key, limit },
            )
        } else if hop.ask_earliest && hop.waiting > 0 && now.mono >= hop.earliest_at {
            // What is in flight here is still pending in the store: the answer may be no news, so it is not asked for often.
            hop.earliest_at = now.mono + EARLIEST_WAIT;
            (Load::EarliestPending(hop_key.clone()), Pursuit::Earliest(hop_key))
        } else if let Some(after) = hop.fresh {
            (
                Load::Fresh { hop: hop_key.clone(), after, limit, content_total_max },
                Pursuit::Fresh { hop: hop_key, limit },
            )
        } else {
            return;
        };
        hop.loading = true;
        self.ask(load, pursuit);
    }

    /// Forgets a hop that has nothing, and says when to look at one that has.
    fn settle_down(&mut self, now: Now, key: &NextHop) {
        let Some(hop) = self.hops.get(key) else { return };
        if hop.is_empty() {
            return self.forget(key);
        }
        let patience = hop.ready.front().filter(|_| !hop.connections.is_empty()).map(|ready| {
            let patient = ready.since + PATIENCE;
            // Past patience and still no connection: some bound holds. An ending one or this wakes us.
            if patient > now.mono { patient } else { now.mono + PATIENCE * 10 }
        });
        let due = hop.pending_due.map(|due| now.mono_at(due));
        let ask = (hop.ask_earliest && hop.earliest_at > now.mono).then_some(hop.earliest_at);
        let behind = hop.held_off.then_some(now.mono + PATIENCE);
        if let Some(at) = [patience, due, ask, behind].into_iter().flatten().min() {
            self.wake_at(key, at);
        }
    }

    fn forget(&mut self, key: &NextHop) {
        if let Some(hop) = self.hops.remove(key)
            && let Some(at) = hop.wake
        {
            self.wakes.remove(&(at, key.clone()));
        }
        self.starved.remove(key);
    }

    pub(super) fn wake_at(&mut self, key: &NextHop, at: Mono) {
        let Some(hop) = self.hops.get_mut(key) else { return };
        if let Some(before) = hop.wake.replace(at) {
            self.wakes.remove(&(before, key.clone()));
        }
        self.wakes.insert((at, key.clone()));
    }

    pub(super) fn run_timers(&mut self, now: Now) {
        if self.store != StoreState::Up {
            return;
        }
        while let Some((at, key)) = self.wakes.first().cloned() {
            if at > now.mono {
                break;
            }
            self.wakes.pop_first();
            if let Some(hop) = self.hops.get_mut(&key) {
                hop.wake = None;
            }
            self.pump(now, &key);
        }
        let room = self.hops_beyond && self.hops.len() <= HOPS_MAX / 2;
        if self.started && (room || self.horizon_at <= now.mono) {
            self.look_ahead(now);
        }
    }

    /// Drops hops that are not due for long, and loads those that come due.
    pub(super) fn look_ahead(&mut self, now: Now) {
        self.horizon_at = now.mono + HORIZON / 2;
        self.hops_beyond = false;
        let far: Vec<NextHop> = self
            .hops
            .iter()
            .filter(|(key, hop)| {
                let idle = hop.taken == 0 && hop.connections.is_empty() && !hop.loading;
                idle && !hop.expiring
                    && hop.due(now) > now.wall + HORIZON * 2
                    && !self.batch.is_dirty(key)
                    && !self.is_walked(key)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in far {
            self.forget(&key);
        }
        self.load_due(now, None);
    }

    pub(super) fn load_due(&mut self, now: Now, after: Option<(Wall, NextHop)>) {
        const LIMIT: usize = 500;
        self.hops_beyond |= self.hops.len() >= HOPS_MAX;
        if self.hops.len() < HOPS_MAX {
            let until = now.wall + HORIZON;
            self.ask(Load::DueHops { until, after, limit: LIMIT }, Pursuit::DueHops { limit: LIMIT });
        }
    }

    /// The store has a message as pending from here on: its recipients are looked for when they are due. Where a hop was looked
    /// at before, they were not found.
    pub(super) fn pending_from_here(&mut self, now: Now, id: MessageId) {
        let Some(live) = self.live.get(&id) else { return };
        let unheld = live.unsettled.values().filter(|one| !live.at.contains(&one.hop));
        let waits: BTreeSet<(NextHop, Wall)> = unheld.map(|one| (one.hop.clone(), one.due)).collect();
        for (key, due) in waits {
            if let Some(hop) = self.hops.get_mut(&key) {
                hop.pending_due = Some(hop.pending_due.map_or(due, |at| at.min(due)));
                self.pump(now, &key);
            }
        }
    }

    pub(super) fn journal(&mut self, now: Now, message: Option<MessageId>, hop: &NextHop, entry: Entry) {
        let entry =
            Record::Journal(JournalEntry { message, hop: hop.clone(), at: now.wall, body: entry.body() });
        self.batch.push(now, super::Unit::own(vec![entry], Vec::new(), super::After::Nothing));
    }

    /// Whether there is room here for a further message of `octets`.
    pub(super) fn has_room(&self, hop: &Hop, octets: u64) -> bool {
        hop.ready.len() < READY_MAX && self.content_total + octets <= CONTENT_TOTAL_MAX
    }
}
