//! Gates: why a hop is not tried before a time, and what ends that.

use super::loads::Pursuit;
use super::{LoadToken, Queue};
use crate::delivery::Flow;
use crate::journal::{Entry, Tried};
use crate::schedule;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Now, Wall};
use postroad_spool::record::{Gate, GateKind, HopRow, Load};

impl Queue {
    /// A hop's host has answered for a message: its gate opens. A host that greets and answers no more opens none.
    pub(super) fn recovered(&mut self, now: Now, key: &NextHop) {
        let Some(hop) = self.hops.get_mut(key) else { return };
        if hop.state.gate.is_none() && hop.state.host_failures == 0 {
            return;
        }
        hop.end_gate(now);
        hop.state.host_failures = 0;
        self.flow(Flow::HopRecovered { hop: key.clone() });
        self.journal(now, None, key, Entry::HopRecovered);
        self.batch.mark_dirty(now, key.clone());
        self.pump(now, key);
    }

    /// The hop cannot be used: everything there waits, in the store alone.
    pub(super) fn close_gate(
        &mut self,
        now: Now,
        key: &NextHop,
        kind: GateKind,
        cause: String,
        tried: Tried,
    ) {
        let roll = self.roll();
        let settings = std::sync::Arc::clone(&self.settings);
        let Some(hop) = self.hops.get_mut(key) else { return };
        let before = hop.state.gate.as_ref().filter(|gate| gate.kind == kind).map(|gate| gate.step);
        let step = match kind {
            GateKind::Dns => before.map_or(0, |step| step.saturating_add(1)),
            GateKind::Host => hop.state.host_failures,
        };
        hop.end_gate(now);
        let span = match kind {
            GateKind::Dns => schedule::wait(&settings.dns.retry, step),
            GateKind::Host => {
                hop.state.host_failures = hop.state.host_failures.saturating_add(1);
                schedule::wait(&settings.retry, step)
            }
        };
        let until = now.wall + schedule::jittered(span, roll);
        hop.state.gate = Some(Gate { kind, until, step, cause: cause.clone(), since: now.wall });
        let waiting = hop.waiting;
        self.park(now, key);
        self.batch.mark_dirty(now, key.clone());
        self.journal(now, None, key, Entry::HopFailed { cause: cause.clone(), tried, until: until.0 });
        self.flow(Flow::HopWaits { hop: key.clone(), kind, cause, until, waiting });
        self.wake_at(key, now.mono_at(until));
        self.expire(now, key, None);
    }

    /// Looks for messages of a hop that have expired, a page at a time.
    pub(super) fn expire(&mut self, now: Now, key: &NextHop, after: Option<MessageId>) {
        const LIMIT: usize = 50;
        let Some(oldest) = now.wall.0.checked_sub(self.settings.expire.as_millis() as i64) else { return };
        let before = MessageId::first_at(Wall(oldest));
        if let Some(hop) = self.hops.get_mut(key) {
            hop.expiring = true;
        }
        self.ask(
            Load::Old { hop: key.clone(), before, after, limit: LIMIT },
            Pursuit::Old { hop: key.clone(), limit: LIMIT },
        );
    }

    /// Opens the gates of hops that wait for DNS: of those held here, whose gates the store may not have yet, and of the
    /// others a page at a time.
    pub(super) fn dns_released(&mut self, now: Now) {
        self.release_held(now, Some(GateKind::Dns));
        self.release_page(None, true, None);
    }

    /// Opens the gates of hops that are held here.
    pub(super) fn release_held(&mut self, now: Now, kind: Option<GateKind>) {
        let gated: Vec<NextHop> = self
            .hops
            .iter()
            .filter(|(_, hop)| hop.state.gate.is_some())
            .map(|(key, _)| key.clone())
            .collect();
        for key in gated {
            self.release(now, &key, kind);
        }
    }

    /// `admin`: the request that waits for the last page.
    pub(super) fn release_page(
        &mut self,
        after: Option<NextHop>,
        dns_only: bool,
        admin: Option<super::AdminToken>,
    ) -> LoadToken {
        const LIMIT: usize = 200;
        self.ask(
            Load::Hops { dns_only, after, limit: LIMIT },
            Pursuit::Release { dns_only, admin, limit: LIMIT },
        );
        LoadToken(self.next_token)
    }

    /// As `release`, of a hop that may be in the store alone.
    pub(super) fn release_row(&mut self, now: Now, row: HopRow, kind: Option<GateKind>) {
        if self.may_hold(&row.hop) {
            let key = row.hop.clone();
            self.learn(now, row);
            self.release(now, &key, kind);
        } else if row.state.gate.as_ref().is_some_and(|gate| kind.is_none_or(|kind| kind == gate.kind)) {
            self.due_at_once(now, row);
        }
    }

    /// Makes what waits at a hop's gate due at once. The step of its schedule stays.
    pub(super) fn release(&mut self, now: Now, key: &NextHop, kind: Option<GateKind>) {
        let Some(hop) = self.hops.get_mut(key) else { return };
        let Some(gate) = &mut hop.state.gate else { return };
        if kind.is_some_and(|kind| kind != gate.kind) || gate.until <= now.wall {
            return;
        }
        gate.until = now.wall;
        self.batch.mark_dirty(now, key.clone());
        self.pump(now, key);
    }
}
