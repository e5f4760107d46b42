//! What an administrator asks of the queue. One request at a time is worked on, a page or an id after the other; it is
//! answered when everything of it is on disk.

use super::batch::{After, Unit};
use super::{AdminRequest, AdminResult, AdminToken, Queue, QueueOutput, Selection};
use crate::delivery::{Fate, Flow};
use crate::journal::Entry;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Status;
use postroad_mail::time::Now;
use postroad_spool::record::{JournalEntry, Pending, Record, Stored};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Messages of a page.
pub(super) const PAGE: usize = 200;
/// Requests that wait for their turn; beyond it they are answered `store_failed`.
const WAITING_MAX: usize = 100;
/// Ids told as missing or busy.
const IDS_TOLD_MAX: usize = 1000;

/// The request that is worked on.
pub(super) struct Work {
    token: AdminToken,
    request: AdminRequest,
    result: AdminResult,
    next: usize,
    after: Option<MessageId>,
    /// Writes that are not on disk.
    writes: usize,
    read_all: bool,
    /// Whether gates are being opened.
    releasing: bool,
    /// Hops whose gates are to open.
    hops: BTreeSet<NextHop>,
}

impl Queue {
    pub(super) fn admin(&mut self, now: Now, token: AdminToken, request: AdminRequest) {
        if self.admin_waiting.len() >= WAITING_MAX {
            let result = AdminResult { store_failed: true, ..AdminResult::default() };
            self.outputs.push_back(QueueOutput::AdminDone(token, result));
            return;
        }
        if request == AdminRequest::Retry(Selection::All) {
            self.release_held(now, None);
        }
        self.admin_waiting.push_back((token, request));
        self.admin_step();
    }

    /// Begins the next request, or ends the one that is done.
    pub(super) fn admin_step(&mut self) {
        if let Some(work) = &self.admin {
            if !work.read_all || work.writes > 0 || work.releasing {
                return;
            }
            if let Some(work) = self.admin.take() {
                self.outputs.push_back(QueueOutput::AdminDone(work.token, work.result));
            }
        }
        let Some((token, request)) = self.admin_waiting.pop_front() else { return };
        let work = Work {
            token,
            result: AdminResult::default(),
            next: 0,
            after: None,
            writes: 0,
            read_all: false,
            releasing: request == AdminRequest::Retry(Selection::All),
            hops: BTreeSet::new(),
            request,
        };
        let releasing = work.releasing;
        self.admin = Some(work);
        if releasing {
            self.release_page(None, false, Some(token));
        }
        self.admin_read();
    }

    fn admin_read(&mut self) {
        let Some(work) = &mut self.admin else { return };
        let selection = match &work.request {
            AdminRequest::Retry(selection) | AdminRequest::Delete(selection) => selection.clone(),
        };
        if matches!(&selection, Selection::Ids(ids) if work.next >= ids.len()) {
            work.read_all = true;
            return self.admin_step();
        }
        let (token, after, next) = (work.token, work.after, work.next);
        self.ask_admin(token, &selection, after, next);
    }

    /// `limit`: of a page of all messages; none: the answer about one id.
    pub(super) fn admin_page(&mut self, now: Now, token: AdminToken, page: &[Stored], limit: Option<usize>) {
        // An answer to a request that has failed says nothing to the next one.
        let Some(work) = self.admin.as_mut().filter(|work| work.token == token) else { return };
        let deleting = matches!(work.request, AdminRequest::Delete(_));
        let asked = match &work.request {
            AdminRequest::Retry(Selection::Ids(ids)) | AdminRequest::Delete(Selection::Ids(ids)) => {
                ids.get(work.next).copied()
            }
            _ => None,
        };
        work.next += 1;
        work.after = page.last().map(|stored| stored.message.id);
        work.read_all = limit.is_some_and(|limit| page.len() < limit);
        if page.is_empty()
            && let Some(id) = asked
        {
            tell(&mut work.result.missing, id);
        }
        for stored in page {
            if deleting { self.delete_one(now, stored) } else { self.retry_one(now, stored) }
        }
        let read_all = self.admin.as_ref().is_none_or(|work| work.read_all);
        if read_all { self.admin_step() } else { self.admin_read() }
    }

    fn delete_one(&mut self, now: Now, stored: &Stored) {
        let id = stored.message.id;
        let held = self.live.get(&id);
        // A message that is being written about may be settled by that, or its content looked at.
        if self.in_flight(id) || held.is_some_and(|live| live.writes > 0) {
            if let Some(work) = &mut self.admin {
                tell(&mut work.result.busy, id);
            }
            return;
        }
        let unsettled = held.map_or_else(|| super::Live::of(stored).unsettled, |live| live.unsettled.clone());
        // It is held until its deletion is on disk, so that no page brings it to an attempt.
        let live =
            self.live.entry(id).or_insert_with(|| super::Live::written_off(Arc::clone(&stored.message)));
        for key in std::mem::take(&mut live.at) {
            if let Some(hop) = self.hops.get_mut(&key) {
                hop.ready.retain(|ready| ready.id != id);
                hop.taken = hop.taken.saturating_sub(1);
            }
        }
        live.unsettled.clear();
        live.writes = 1;
        let mut waiting: BTreeMap<NextHop, i64> = BTreeMap::new();
        for one in unsettled.values() {
            *waiting.entry(one.hop.clone()).or_default() -= 1;
            self.flow(Flow::Failed {
                message: Arc::clone(&stored.message),
                recipient: one.recipient,
                cause: String::from("deleted by an administrator"),
                status: Status::new(5, 0, 0),
                fate: Fate::Deleted,
                generation: self.settings.generation,
            });
        }
        let hop = unsettled.values().next().map_or(NextHop::Drop, |one| one.hop.clone());
        let entry = JournalEntry { message: Some(id), hop, at: now.wall, body: Entry::Deleted.body() };
        let records = vec![Record::Settle { id }, Record::Journal(entry)];
        let after = After::Written { id, settled: true };
        self.batch.push(now, Unit::own(records, waiting.into_iter().collect(), after));
        self.admin_write(now);
    }

    fn retry_one(&mut self, now: Now, stored: &Stored) {
        let id = stored.message.id;
        let unsettled = match self.live.get(&id) {
            Some(live) => live.unsettled.clone(),
            None => super::Live::of(stored).unsettled,
        };
        let hops: BTreeSet<NextHop> = unsettled.values().map(|one| one.hop.clone()).collect();
        // What is being tried at one hop does not keep the recipients at another from being due.
        let held_at = self.live.get(&id).map(|live| live.at.clone()).unwrap_or_default();
        let waits = |one: &Pending| one.due > now.wall && !held_at.contains(&one.hop);
        if unsettled.values().any(waits) {
            let live = self.hold(stored);
            for one in live.unsettled.values_mut().filter(|one| waits(one)) {
                one.due = now.wall;
            }
            let pending: Vec<Pending> = live.unsettled.values().cloned().collect();
            live.writes += 1;
            let hop = hops.first().cloned().unwrap_or(NextHop::Drop);
            let entry = JournalEntry { message: Some(id), hop, at: now.wall, body: Entry::Retried.body() };
            let records = vec![Record::Divide { id, pending }, Record::Journal(entry)];
            let after = After::Written { id, settled: false };
            self.batch.push(now, Unit::own(records, Vec::new(), after));
        }
        for hop in &hops {
            self.release(now, hop, None);
        }
        if let Some(work) = &mut self.admin {
            // Hops that are in the store alone are learned by their row, one question for each.
            let unknown = hops.into_iter().filter(|hop| !self.hops.contains_key(hop));
            work.hops.extend(unknown);
        }
        self.admin_write(now);
        self.learn_hops();
    }

    /// Counts a message, and sees that the answer waits for what was written about it.
    fn admin_write(&mut self, now: Now) {
        let Some(work) = &mut self.admin else { return };
        work.result.done += 1;
        work.writes += 1;
        let token = work.token;
        self.batch.push(now, Unit::own(Vec::new(), Vec::new(), After::Admin(token)));
    }

    fn learn_hops(&mut self) {
        let Some(work) = &mut self.admin else { return };
        if work.request == AdminRequest::Retry(Selection::All) {
            return;
        }
        for hop in std::mem::take(&mut work.hops) {
            let load = postroad_spool::record::Load::Hop(hop);
            self.ask(load, super::Pursuit::Release { dns_only: false, admin: None, limit: usize::MAX });
        }
    }

    pub(super) fn admin_page_written(&mut self, token: AdminToken) {
        if let Some(work) = self.admin.as_mut().filter(|work| work.token == token) {
            work.writes = work.writes.saturating_sub(1);
        }
    }

    pub(super) fn admin_released(&mut self, token: AdminToken) {
        if let Some(work) = self.admin.as_mut().filter(|work| work.token == token) {
            work.releasing = false;
        }
        self.admin_step();
    }

    pub(super) fn admin_failed(&mut self, token: AdminToken) {
        if let Some(work) = self.admin.take_if(|work| work.token == token) {
            let result = AdminResult { store_failed: true, ..work.result };
            self.outputs.push_back(QueueOutput::AdminDone(work.token, result));
        }
        self.admin_step();
    }
}

fn tell(ids: &mut Vec<MessageId>, id: MessageId) {
    if ids.len() < IDS_TOLD_MAX {
        ids.push(id);
    }
}
