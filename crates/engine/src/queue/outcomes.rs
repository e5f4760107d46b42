//! What becomes of recipients: delivered, due again, returned, or put in the Badmail folder. What is decided here is one
//! unit of a commit: a notification is accepted in the same commit that settles the recipient it is about.

use super::batch::{After, Unit};
use super::loads::Pursuit;
use super::{AttemptId, Queue};
use crate::delivery::{Failure, Fate, Flow, Job, Outcome, Report, cut};
use crate::journal::{Entry, Tried};
use crate::{returns, schedule};
use postroad_mail::envelope::Sender;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Status;
use postroad_mail::time::Now;
use postroad_spool::record::{Content, JournalEntry, Load, Message, Pending, Record, Stored};
use std::sync::Arc;
use std::time::Duration;

/// Which message, at which hop, and when.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) now: Now,
    pub(super) id: MessageId,
    pub(super) key: &'a NextHop,
}

/// How long after its hop's gate a message over which a host was lost is due.
const BEHIND_GATE: Duration = Duration::from_secs(10);

impl Queue {
    pub(super) fn report(&mut self, now: Now, id: AttemptId, report: Report) {
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        let Some(job) = attempt.job.take_if(|job| job.message.id == report.id) else { return };
        let key = attempt.hop.clone();
        if let Some(hop) = self.hops.get_mut(&key) {
            hop.taken = hop.taken.saturating_sub(1);
        }
        if let Some(live) = self.live.get_mut(&report.id) {
            live.at.remove(&key);
        }
        let case = Case { now, id: report.id, key: &key };
        self.recovered(now, &key);
        let mut sorted = Sorted::default();
        for (recipient, outcome) in job.recipients.iter().zip(report.outcomes) {
            self.sort(case, &job.message, (*recipient, outcome), &report.tried, &mut sorted);
        }
        self.write_sorted(case, &job.message, sorted, &report.tried);
    }

    fn write_sorted(&mut self, case: Case<'_>, message: &Message, sorted: Sorted, tried: &Tried) {
        let entries = sorted.entries(message, tried);
        if sorted.failed.is_empty() {
            self.write(case, entries, sorted.gone, Vec::new());
        } else {
            self.fail(case, sorted.failed, tried, (entries, sorted.gone));
        }
    }

    /// Takes a job that is ready again out of what is. False when it is led elsewhere.
    pub(super) fn set_aside(&mut self, key: &NextHop, job: &Job) -> bool {
        let id = job.message.id;
        let here = self.live.get(&id).is_some_and(|live| live.at.contains(key));
        if !here || !self.take_back(id, key, &job.recipients) {
            return false;
        }
        // It is held until `stand_back` writes about it.
        if let Some(live) = self.live.get_mut(&id) {
            live.writes += 1;
        }
        true
    }

    /// A message over which a host was lost waits on its own account and longer than its hop: another one looks next, lest one to
    /// which the host hangs up holds up all mail.
    pub(super) fn stand_back(&mut self, now: Now, key: &NextHop, job: &Job, tried: &Tried, cause: &str) {
        let id = job.message.id;
        let case = Case { now, id, key };
        let mut sorted = Sorted::default();
        for recipient in &job.recipients {
            let one = self.live.get(&id).and_then(|live| live.unsettled.get(recipient));
            if one.is_some_and(|one| one.hop == *key) {
                let outcome = Outcome::Deferred { status: Status::new(4, 4, 2), cause: cause.to_owned() };
                self.sort(case, &job.message, (*recipient, outcome), tried, &mut sorted);
            }
        }
        self.write_sorted(case, &job.message, sorted, tried);
        self.written(id);
    }

    /// Applies one outcome to the message in memory.
    fn sort(
        &mut self,
        Case { now, key, .. }: Case<'_>,
        message: &Arc<Message>,
        (recipient, outcome): (u32, Outcome),
        tried: &Tried,
        sorted: &mut Sorted,
    ) {
        let message = Arc::clone(message);
        let (host, generation) = (&tried.host, tried.generation);
        match outcome {
            Outcome::Delivered { reply } => {
                if let Some(live) = self.live.get_mut(&message.id) {
                    live.unsettled.remove(&recipient);
                }
                sorted.gone += 1;
                sorted.delivered.push(recipient);
                sorted.reply.clone_from(&reply);
                self.flow(Flow::Delivered { message, recipient, host: host.clone(), reply, generation });
            }
            Outcome::Failed(failure) => sorted.failed.push((recipient, failure)),
            Outcome::Deferred { status, cause } => {
                if self.has_expired(now, key, message.id) {
                    let failure = expired(&self.settings.expire, &cause, Some(host));
                    sorted.failed.push((recipient, failure));
                    return;
                }
                let roll = self.roll();
                let gate = self.hops.get(key).and_then(|hop| hop.state.gate.as_ref());
                let behind_gate = gate.map_or(now.wall, |gate| gate.until + BEHIND_GATE);
                let Some(one) =
                    self.live.get_mut(&message.id).and_then(|live| live.unsettled.get_mut(&recipient))
                else {
                    return;
                };
                let span = schedule::jittered(schedule::wait(&self.settings.retry, one.attempts), roll);
                one.attempts = one.attempts.saturating_add(1);
                one.due = behind_gate.max(now.wall + span);
                // What is to be written into the Badmail folder says why it failed.
                if *key != NextHop::Badmail {
                    one.cause = cut(&cause);
                }
                let until = one.due;
                if let Some(hop) = self.hops.get_mut(key) {
                    let due = [hop.pending_due, Some(until)].into_iter().flatten().min();
                    hop.pending_due = due;
                    self.batch.mark_dirty(now, key.clone());
                }
                sorted.deferred.push(recipient);
                sorted.cause = format!("{status} {cause}");
                self.flow(Flow::Deferred { message, recipient, cause, until, generation });
            }
        }
    }

    /// What stands for an attempt where none was made.
    pub(super) fn untried(&self) -> Tried {
        Tried { generation: self.settings.generation, ..Tried::default() }
    }

    /// Whether a message is older than it may get, the time it waited for DNS apart. Badmail does not expire.
    fn has_expired(&self, now: Now, key: &NextHop, id: MessageId) -> bool {
        let accepted = id.given_at();
        let waited = self.hops.get(key).map_or_else(Default::default, |hop| hop.dns_wait(now, accepted));
        let age = (now.wall - accepted).saturating_sub(waited);
        *key != NextHop::Badmail && age >= self.settings.expire
    }

    /// One message of a page of old ones: what of it waits at the hop is returned if it has expired.
    pub(super) fn expire_one(&mut self, now: Now, key: &NextHop, stored: &Stored) {
        let id = stored.message.id;
        if !self.has_expired(now, key, id) || self.in_flight(id) {
            return;
        }
        let live = self.hold(stored);
        // What is ready there is about to be tried: that decides.
        if live.at.contains(key) {
            return;
        }
        let waits: Vec<u32> =
            live.unsettled.values().filter(|one| one.hop == *key).map(|one| one.recipient).collect();
        let cause = live.unsettled.values().map(|one| one.cause.clone()).find(|cause| !cause.is_empty());
        let gate = self.hops.get(key).and_then(|hop| hop.state.gate.as_ref()).map(|gate| gate.cause.clone());
        let cause = cause.or(gate).unwrap_or_else(|| String::from("it was never tried"));
        let failed =
            waits.into_iter().map(|one| (one, expired(&self.settings.expire, &cause, None))).collect();
        let untried = self.untried();
        self.fail(Case { now, id, key }, failed, &untried, (Vec::new(), 0));
        self.drop_if_done(id);
    }

    /// Recipients failed for good: says so, and sees that the sender hears of it. `others`: what is to be written about
    /// recipients of the same report that did not, and how many of them wait no more.
    fn fail(
        &mut self,
        case: Case<'_>,
        failed: Vec<(u32, Failure)>,
        tried: &Tried,
        others: (Vec<Record>, i64),
    ) {
        let Case { now, id, key } = case;
        let Some(live) = self.live.get_mut(&id) else { return };
        if failed.is_empty() {
            return;
        }
        let message = Arc::clone(&live.message);
        let content = live.content.clone();
        for (recipient, failure) in &failed {
            let fate = fate(&message.sender, &message, *recipient);
            let to = addresses(&message, &[*recipient]);
            let cause = format!("{} {}", failure.status, failure.cause);
            let entry =
                Entry::Failed { to, tried: tried.clone(), cause, fate: format!("{fate:?}").to_lowercase() };
            self.journal(now, Some(id), key, entry);
            let (cause, status) = (failure.cause.clone(), failure.status);
            self.flow(Flow::Failed {
                message: Arc::clone(&message),
                recipient: *recipient,
                cause,
                status,
                fate,
                generation: tried.generation,
            });
        }
        match content {
            Content::Memory(bytes) => self.conclude(case, failed, &bytes, others),
            Content::Draft(_) | Content::Stored => {
                // Until the head is here the message must stay as it is.
                if let Some(live) = self.live.get_mut(&id) {
                    live.writes += 1;
                    live.at.insert(key.clone());
                }
                if !others.0.is_empty() {
                    self.write(case, others.0, others.1, Vec::new());
                }
                let len = returns::HEAD_MAX;
                self.ask(
                    Load::Content { id, offset: 0, len },
                    Pursuit::Head { id, hop: key.clone(), failed },
                );
            }
        }
    }

    /// Settles failed recipients: a notification to the sender, the Badmail folder, or nothing, as the envelope asks.
    pub(super) fn conclude(
        &mut self,
        case: Case<'_>,
        failed: Vec<(u32, Failure)>,
        head: &[u8],
        others: (Vec<Record>, i64),
    ) {
        let Case { now, id, key } = case;
        let Some(live) = self.live.get_mut(&id) else { return };
        live.at.remove(key);
        let message = Arc::clone(&live.message);
        let (mut records, mut gone) = others;
        let mut badmail = 0;
        let mut returned = Vec::new();
        for (recipient, failure) in failed {
            if !live.unsettled.contains_key(&recipient) {
                continue;
            }
            gone += 1;
            match fate(&message.sender, &message, recipient) {
                Fate::Badmail => {
                    let cause = cut(&format!("{} {}", failure.status, failure.cause));
                    let hop = NextHop::Badmail;
                    let due = postroad_mail::time::Wall(0);
                    live.unsettled.insert(recipient, Pending { recipient, hop, due, attempts: 0, cause });
                    badmail += 1;
                }
                Fate::Returned => {
                    live.unsettled.remove(&recipient);
                    returned.push((recipient, failure));
                }
                Fate::Silent | Fate::Deleted => {
                    live.unsettled.remove(&recipient);
                }
            }
        }
        let draft = returns::notification(&self.settings, now, &message, head, &returned);
        let mut waiting = vec![(NextHop::Badmail, badmail)];
        if let Some(draft) = draft {
            let (notice, content) = self.message_of(now, draft);
            waiting.extend(notice.recipients.iter().map(|recipient| (recipient.hop.clone(), 1)));
            records.push(Record::Accept { message: notice, content });
        }
        waiting.retain(|(_, delta)| *delta != 0);
        self.write(case, records, gone, waiting);
    }

    /// Writes what is unsettled of a message, `records` with it: `gone` recipients wait no more at `key`.
    pub(super) fn write(
        &mut self,
        Case { now, id, key }: Case<'_>,
        mut records: Vec<Record>,
        gone: i64,
        mut waiting: Vec<(NextHop, i64)>,
    ) {
        for record in &mut records {
            if let Record::Journal(entry) = record
                && entry.message.is_none()
            {
                entry.hop = key.clone();
                entry.message = Some(id);
                entry.at = now.wall;
            }
        }
        let Some(live) = self.live.get_mut(&id) else { return };
        if gone != 0 {
            waiting.push((key.clone(), -gone));
        }
        let settled = live.unsettled.is_empty();
        if settled {
            records.push(Record::Settle { id });
        } else {
            let pending: Vec<Pending> = live.unsettled.values().cloned().collect();
            records.push(Record::Divide { id, pending });
        }
        live.writes += 1;
        self.batch.push(now, Unit::own(records, waiting, After::Written { id, settled }));
    }
}

/// What a report comes to.
#[derive(Default)]
struct Sorted {
    gone: i64,
    delivered: Vec<u32>,
    reply: String,
    deferred: Vec<u32>,
    cause: String,
    failed: Vec<(u32, Failure)>,
}

impl Sorted {
    /// Journal records; `Queue::write` fills in what they are about.
    fn entries(&self, message: &Message, tried: &Tried) -> Vec<Record> {
        let mut entries = Vec::new();
        if !self.delivered.is_empty() {
            let to = addresses(message, &self.delivered);
            entries.push(Entry::Delivered { to, tried: tried.clone(), reply: cut(&self.reply) });
        }
        if !self.deferred.is_empty() {
            let to = addresses(message, &self.deferred);
            entries.push(Entry::Deferred { to, tried: tried.clone(), cause: cut(&self.cause) });
        }
        let record = |entry: Entry| {
            let (message, hop, at) = (None, NextHop::Drop, postroad_mail::time::Wall(0));
            Record::Journal(JournalEntry { message, hop, at, body: entry.body() })
        };
        entries.into_iter().map(record).collect()
    }
}

/// Recipients as the journal names them.
pub(super) fn addresses(message: &Message, recipients: &[u32]) -> Vec<String> {
    let of = |index: &u32| message.recipients.get(*index as usize).map(|one| one.address.to_string());
    recipients.iter().filter_map(of).collect()
}

/// What is done about a failed recipient, by the envelope (RFC 3461 §4.1, RFC 5321 §4.5.5).
fn fate(sender: &Sender, message: &Message, recipient: u32) -> Fate {
    let wanted = message.recipients.get(recipient as usize).is_none_or(|one| one.notify.on_failure());
    match (sender.path.address(), wanted) {
        (_, false) => Fate::Silent,
        (None, true) => Fate::Badmail,
        (Some(_), true) => Fate::Returned,
    }
}

fn expired(after: &Duration, cause: &str, host: Option<&str>) -> Failure {
    Failure {
        status: Status::new(5, 4, 7),
        cause: format!("not delivered within {}: {cause}", postroad_mail::time::brief(*after)),
        remote: host.filter(|host| !host.is_empty()).map(String::from),
        reply: None,
    }
}
