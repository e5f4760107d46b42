//! Mail that waits follows the route. The hop of a recipient is written when its message is accepted; when the settings lead
//! it elsewhere, it is written anew.
//!
//! After a change of the route, and at each start, a *walk* goes over the rows of hops, and where a hop is one from which
//! mail may be led elsewhere, over what waits there: a page at a time, the next one when what the page wrote is on disk, so
//! that mail which comes in waits for no more than a page. What a walk cannot see is looked at where it comes by: what is
//! accepted under the route of before, once it is ours; what is being written, once it is on disk; what is in flight, when
//! it comes back. A page that is loaded for a hop is looked at too.

use super::batch::{After, Unit};
use super::loads::Pursuit;
use super::outcomes::addresses;
use super::{Live, Queue};
use crate::journal::Entry;
use crate::{route, schedule};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Now, Wall};
use postroad_spool::record::{DNS_WAITS_MAX, HopRow, JournalEntry, Load, Pending, Record, Stored};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Hops of a page.
const HOPS: usize = 200;
/// Messages of a page: what they write takes the store some milliseconds, which is what mail that comes in may wait for it.
const PAGE: usize = 100;

/// The walk that is under way.
pub(super) struct Walk {
    /// Tells its answers from those of a walk that it has replaced.
    number: u64,
    /// Hops of the page that are to be looked through.
    hops: VecDeque<NextHop>,
    /// The last hop of the page, unless it was the last page.
    after_hop: Option<NextHop>,
    /// The last message of the page before, at the first of `hops`.
    after: Option<MessageId>,
    /// Whether that was the last page there.
    looked_through: bool,
}

impl Queue {
    /// Begins to look at everything that waits. A walk under way is of another route, and ends.
    pub(super) fn reroute_all(&mut self) {
        self.next_walk += 1;
        self.walk = Some(Walk {
            number: self.next_walk,
            hops: VecDeque::new(),
            after_hop: None,
            after: None,
            looked_through: false,
        });
        self.ask_hops(self.next_walk, None);
    }

    fn ask_hops(&mut self, walk: u64, after: Option<NextHop>) {
        self.ask(Load::Hops { dns_only: false, after, limit: HOPS }, Pursuit::Routes(walk));
    }

    pub(super) fn reroute_hops(&mut self, now: Now, number: u64, rows: Vec<HopRow>) {
        let Some(walk) = self.walk.as_mut().filter(|walk| walk.number == number) else { return };
        walk.after_hop = rows.last().filter(|_| rows.len() >= HOPS).map(|row| row.hop.clone());
        for row in rows {
            let held = self.hops.get(&row.hop).map(|hop| hop.state.locals);
            if !route::may_leave(&self.settings, &row.hop, held.unwrap_or(row.state.locals)) {
                continue;
            }
            if let Some(walk) = &mut self.walk {
                walk.hops.push_back(row.hop.clone());
            }
            self.learn(now, row);
        }
        self.walk_on();
    }

    /// Asks for the next page.
    fn walk_on(&mut self) {
        let Some(walk) = self.walk.as_mut().filter(|_| !self.stopping) else { return };
        let number = walk.number;
        if let Some(hop) = walk.hops.front().cloned() {
            let (before, after, limit) = (MessageId(u64::MAX), walk.after, PAGE);
            self.ask(Load::Old { hop, before, after, limit }, Pursuit::Rerouted(number));
        } else if let Some(after) = walk.after_hop.take() {
            self.ask_hops(number, Some(after));
        } else {
            self.walk = None;
        }
    }

    pub(super) fn reroute_page(&mut self, now: Now, number: u64, page: &[Stored]) {
        let Some(walk) = self.walk.as_mut().filter(|walk| walk.number == number) else { return };
        walk.after = page.last().map(|stored| stored.message.id);
        walk.looked_through = page.len() < PAGE;
        let mut written = false;
        for stored in page {
            let id = stored.message.id;
            if !self.live.contains_key(&id) && !self.is_led_elsewhere(&Live::of(stored)) {
                continue;
            }
            self.hold(stored);
            written |= self.reroute(now, id);
            self.drop_if_done(id);
        }
        if written {
            self.batch.push(now, Unit::own(Vec::new(), Vec::new(), After::Rerouted(number)));
        } else {
            self.reroute_written(now, number);
        }
    }

    /// What the last page wrote is on disk.
    pub(super) fn reroute_written(&mut self, now: Now, number: u64) {
        let Some(walk) = self.walk.as_mut().filter(|walk| walk.number == number) else { return };
        if std::mem::take(&mut walk.looked_through) {
            walk.after = None;
            if let Some(key) = walk.hops.pop_front() {
                self.looked_through(now, &key);
            }
        }
        self.walk_on();
    }

    /// Keeps with a hop of many domains that everything there is led there, so that no start looks again.
    fn looked_through(&mut self, now: Now, key: &NextHop) {
        let locals = self.locals_of(key);
        if let Some(hop) = self.hops.get_mut(key).filter(|hop| hop.state.locals != locals) {
            hop.state.locals = locals;
            self.batch.mark_dirty(now, key.clone());
        }
    }

    /// Mail has come to a hop: what is kept with it under another route does not hold for that. (After a walk nothing is.)
    pub(super) fn note_arrivals(&mut self, now: Now, key: &NextHop) {
        if self.walk.is_none() {
            return;
        }
        let locals = self.locals_of(key);
        if let Some(hop) = self.hops.get_mut(key).filter(|hop| ![0, locals].contains(&hop.state.locals)) {
            hop.state.locals = 0;
            self.batch.mark_dirty(now, key.clone());
        }
    }

    /// Whether a walk is at this hop.
    pub(super) fn is_walked(&self, key: &NextHop) -> bool {
        self.walk.as_ref().is_some_and(|walk| walk.hops.contains(key))
    }

    /// What is kept with a hop from which nothing is led elsewhere; 0 for hops that tell by themselves.
    pub(super) fn locals_of(&self, key: &NextHop) -> u64 {
        match key {
            NextHop::SmartHost(..) | NextHop::Drop => route::mark_of_locals(&self.settings),
            NextHop::Mx(_) | NextHop::Literal(_) | NextHop::Badmail => 0,
        }
    }

    pub(super) fn is_led_elsewhere(&self, live: &Live) -> bool {
        live.unsettled.values().any(|one| self.strays(live, one))
    }

    fn strays(&self, live: &Live, one: &Pending) -> bool {
        let recipient = live.message.recipients.get(one.recipient as usize);
        recipient.is_some_and(|recipient| !route::leads(&self.settings, &recipient.address, &one.hop))
    }

    /// Sends recipients of a message that is held to where they are led, except those that are in flight. True if there were
    /// some.
    pub(super) fn reroute(&mut self, now: Now, id: MessageId) -> bool {
        let Some(live) = self.live.get(&id) else { return false };
        let mut strays: BTreeMap<NextHop, Vec<u32>> = BTreeMap::new();
        for one in live.unsettled.values().filter(|one| self.strays(live, one)) {
            strays.entry(one.hop.clone()).or_default().push(one.recipient);
        }
        strays.retain(|key, recipients| self.take_back(id, key, recipients));
        if strays.is_empty() {
            return false;
        }
        let settings = Arc::clone(&self.settings);
        let Some(live) = self.live.get_mut(&id) else { return false };
        let mut waiting: BTreeMap<NextHop, i64> = BTreeMap::new();
        let mut moves: BTreeMap<(NextHop, NextHop), Vec<u32>> = BTreeMap::new();
        for (from, recipients) in strays {
            for recipient in recipients {
                let Some(one) = live.unsettled.get_mut(&recipient) else { continue };
                let Some(to) = live.message.recipients.get(recipient as usize) else { continue };
                one.hop = route::next_hop(&settings, &to.address);
                // What its hop's hosts said of it does not hold for others.
                one.due = Wall(0);
                *waiting.entry(from.clone()).or_default() -= 1;
                *waiting.entry(one.hop.clone()).or_default() += 1;
                moves.entry((from.clone(), one.hop.clone())).or_default().push(recipient);
            }
        }
        live.writes += 1;
        for (from, to) in moves.keys() {
            if let Some(hop) = self.hops.get(from) {
                let waits = hop.dns_waits(now);
                if !waits.is_empty() {
                    let carried = self.carried.entry(to.clone()).or_default();
                    schedule::join_spans(carried, &waits, DNS_WAITS_MAX);
                }
            }
        }
        let pending = live.unsettled.values().cloned().collect();
        let entry = |((from, hop), recipients): ((NextHop, NextHop), Vec<u32>)| {
            let to = addresses(&live.message, &recipients);
            let body = Entry::Rerouted { to, from: from.to_string() }.body();
            Record::Journal(JournalEntry { message: Some(id), hop, at: now.wall, body })
        };
        let mut records = vec![Record::Divide { id, pending }];
        records.extend(moves.into_iter().map(entry));
        let after = After::Written { id, settled: false };
        self.batch.push(now, Unit::own(records, waiting.into_iter().collect(), after));
        true
    }

    /// What was waited for DNS elsewhere does not count towards expiry here either. (Nor for mail that was here all along: it
    /// is kept somewhat longer, which is the lesser evil.)
    pub(super) fn carry_over<'a>(&mut self, now: Now, hops: impl Iterator<Item = &'a NextHop>) {
        if self.carried.is_empty() {
            return;
        }
        for key in hops {
            if let Some(hop) = self.hops.get_mut(key)
                && let Some(waits) = self.carried.remove(key)
            {
                schedule::join_spans(&mut hop.state.dns_waits, &waits, DNS_WAITS_MAX);
                self.batch.mark_dirty(now, key.clone());
            }
        }
    }

    /// Takes recipients of a message out of what is ready at a hop. False when they are not to be had: they are in flight, or
    /// about to fail.
    pub(super) fn take_back(&mut self, id: MessageId, key: &NextHop, recipients: &[u32]) -> bool {
        let Some(live) = self.live.get_mut(&id) else { return false };
        if !live.at.contains(key) {
            return true;
        }
        let Some(hop) = self.hops.get_mut(key) else { return false };
        let Some(place) = hop.ready.iter().position(|ready| ready.id == id) else { return false };
        let Some(ready) = hop.ready.get_mut(place) else { return false };
        ready.recipients.retain(|one| !recipients.contains(one));
        if ready.recipients.is_empty() {
            hop.ready.remove(place);
            hop.taken = hop.taken.saturating_sub(1);
            live.at.remove(key);
        }
        true
    }
}
