//! Connections of hops: when one is opened, what it is given, and when it ends.

use super::hops::{Hop, PATIENCE};
use super::{AttemptId, Queue, QueueOutput, StoreState};
use crate::delivery::End;
use crate::journal::Entry;
use postroad_dns::answer::Answer;
use postroad_mail::hop::NextHop;
use postroad_mail::time::Now;
use postroad_spool::record::GateKind;
use std::ops::Bound;
use std::time::Duration;

/// Messages ready for each connection of a hop before a further one is opened without waiting.
const READY_PER_CONNECTION: usize = 8;
/// Messages over a connection after which one that waits for a connection has its turn, however many it may carry.
const TURN: u32 = 100;
/// How long a hop opens no further connection after one was refused while others work.
const CROWDED: Duration = Duration::from_secs(30);

impl Queue {
    pub(super) fn hand_out(&mut self, key: &NextHop) {
        while let Some(hop) = self.hops.get_mut(key) {
            if hop.ready.is_empty() {
                return;
            }
            let Some(attempt) = hop.idle.pop() else { return };
            self.give(attempt);
        }
    }

    /// Gives an attempt the next job of its hop, if there is one.
    fn give(&mut self, id: AttemptId) -> bool {
        let Some(attempt) = self.attempts.get(&id) else { return false };
        // What is delivered while nothing can be written would be delivered again, were we to die.
        if self.store != StoreState::Up {
            return false;
        }
        let key = attempt.hop.clone();
        let Some(job) = self.next_job(&key) else { return false };
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.given += 1;
            attempt.job = Some(job.clone());
        }
        self.outputs.push_back(QueueOutput::Deliver(id, job));
        true
    }

    fn may_open(&self, now: Now, hop: &Hop) -> bool {
        let settings = &self.settings;
        let here = hop.connections.len();
        if hop.ready.is_empty()
            || here >= settings.out_connections_per_domain_max as usize
            || self.attempts.len() >= settings.out_connections_max as usize
        {
            return false;
        }
        let waited = hop.ready.front().is_some_and(|ready| ready.since + PATIENCE <= now.mono);
        let probing = hop.state.gate.is_some();
        here == 0
            || (!probing
                && hop.opening == 0
                && now.mono >= hop.crowded_until
                && (waited || hop.ready.len() > READY_PER_CONNECTION * here))
    }

    pub(super) fn open(&mut self, now: Now, key: &NextHop) {
        while self.hops.get(key).is_some_and(|hop| self.may_open(now, hop)) {
            let Some(job) = self.next_job(key) else { return };
            self.next_attempt += 1;
            let id = AttemptId(self.next_attempt);
            let attempt = super::Attempt {
                hop: key.clone(),
                job: Some(job.clone()),
                reached: false,
                given: 1,
                generation: self.settings.generation,
            };
            self.attempts.insert(id, attempt);
            if let Some(hop) = self.hops.get_mut(key) {
                hop.connections.insert(id);
                hop.opening += 1;
            }
            self.outputs.push_back(QueueOutput::Open(id, key.clone(), job));
        }
        let full = self.attempts.len() >= self.settings.out_connections_max as usize;
        if full && self.hops.get(key).is_some_and(|hop| !hop.ready.is_empty() && hop.connections.is_empty()) {
            self.starved.insert(key.clone());
        }
    }

    pub(super) fn reached(&mut self, now: Now, id: AttemptId, plan: Option<std::sync::Arc<Answer>>) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if std::mem::replace(&mut attempt.reached, true) {
            return;
        }
        let key = attempt.hop.clone();
        let Some(hop) = self.hops.get_mut(&key) else { return };
        hop.opening = hop.opening.saturating_sub(1);
        let plan = plan.filter(|plan| hop.plan.replace(plan.serial) != Some(plan.serial));
        if let Some(plan) = plan {
            self.journal(now, None, &key, Entry::plan(&plan));
        }
        self.pump(now, &key);
    }

    /// Closes connections that rest and were opened under other settings: what they are asked next is under those in force,
    /// and may need another host, port or TLS.
    pub(super) fn close_outdated(&mut self) {
        let (attempts, generation) = (&self.attempts, self.settings.generation);
        for hop in self.hops.values_mut() {
            let outdated =
                |id: &mut AttemptId| attempts.get(id).is_some_and(|attempt| attempt.generation != generation);
            self.outputs.extend(hop.idle.extract_if(.., outdated).map(QueueOutput::Close));
        }
    }

    pub(super) fn want(&mut self, now: Now, id: AttemptId) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let key = attempt.hop.clone();
        let batch_max = self.settings.batch_max;
        let ends = self.stopping
            || (batch_max > 0 && attempt.given >= batch_max)
            || (attempt.given >= TURN && !self.starved.is_empty())
            || attempt.generation != self.settings.generation;
        let given = !ends && self.give(id);
        // A connection does not rest while another hop waits for one.
        if ends || (!given && !self.starved.is_empty()) {
            self.outputs.push_back(QueueOutput::Close(id));
        } else if !given {
            self.outputs.push_back(QueueOutput::Rest(id));
            if let Some(hop) = self.hops.get_mut(&key) {
                hop.idle.push(id);
            }
        }
        self.pump(now, &key);
    }

    pub(super) fn ended(&mut self, now: Now, id: AttemptId, end: End) {
        let Some(attempt) = self.attempts.remove(&id) else { return };
        let key = attempt.hop;
        if let Some(hop) = self.hops.get_mut(&key) {
            hop.connections.remove(&id);
            hop.idle.retain(|idle| *idle != id);
            if !attempt.reached {
                hop.opening = hop.opening.saturating_sub(1);
            }
        }
        let untried = attempt.job.is_some();
        if let Some(job) = &attempt.job {
            self.put_back(now, &key, job);
        }
        let end = match end {
            // An attempt that ends as if in order without ever having tried must not be opened again at once, for ever.
            End::Finished if untried && !attempt.reached && !self.stopping => End::HopFailed {
                kind: GateKind::Host,
                cause: String::from("the attempt ended without having tried a host"),
                tried: self.untried(),
                lost_over_job: false,
            },
            end => end,
        };
        if let End::HopFailed { kind, cause, tried, lost_over_job } = end {
            let blamed = attempt.job.filter(|job| lost_over_job && self.set_aside(&key, job));
            let blamed = blamed.map(|job| (job, tried.clone(), cause.clone()));
            let works = self.hops.get(&key).is_some_and(Hop::has_other_connection);
            if works && kind == GateKind::Host {
                if let Some(hop) = self.hops.get_mut(&key) {
                    hop.crowded_until = now.mono + CROWDED;
                }
            } else {
                self.close_gate(now, &key, kind, cause, tried);
                // An answer to what was asked under other settings says nothing of these.
                if attempt.generation != self.settings.generation {
                    self.release(now, &key, Some(GateKind::Dns));
                }
            }
            if let Some((job, tried, cause)) = blamed {
                self.stand_back(now, &key, &job, &tried, &cause);
            }
        }
        // Before the hop that had the connection, or a busy one would never give it up.
        self.feed_starved(now);
        self.pump(now, &key);
    }

    pub(super) fn feed_starved(&mut self, now: Now) {
        while self.attempts.len() < self.settings.out_connections_max as usize
            && let Some(hungry) = self.next_starved()
        {
            self.pump(now, &hungry);
        }
    }

    /// The starved hops in turn.
    fn next_starved(&mut self) -> Option<NextHop> {
        let behind = self.fed.take().map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.starved.range((behind, Bound::Unbounded)).next().or(self.starved.first()).cloned()?;
        self.starved.remove(&next);
        self.fed = Some(next.clone());
        Some(next)
    }
}
