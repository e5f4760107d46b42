//! What was promised, and whether it was kept.

use super::client::{Submission, Told};
use super::zones::Zones;
use super::{Broken, Promise};
use postroad_engine::delivery::{AttemptId, Fate, Job};
use postroad_engine::route;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Status;
use postroad_mail::time::{Now, Wall};
use postroad_metabase::settings::Settings;
use postroad_spool::Store;
use postroad_spool::memory::MemoryStore;
use postroad_spool::record::{Load, Loaded, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A recipient of a message in the queue.
type Key = (MessageId, u32);

/// A message taken over by a host or put in a folder.
struct Arrival {
    /// What the service calls its recipients.
    keys: Vec<Key>,
    /// The service was told so.
    told: bool,
    /// How often the service had died before.
    life: u64,
}

/// The ledger.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) submissions: Vec<Submission>,
    arrivals: Vec<Arrival>,
    by_key: BTreeMap<Key, Vec<usize>>,
    /// Recipients that an attempt has in hand.
    active: BTreeMap<Key, AttemptId>,
    /// Recipients of which a host said 5yz.
    refused: BTreeSet<Key>,
    /// Hops at which a host greeted with our name, or had no 8BITMIME.
    looped: BTreeSet<NextHop>,
    seven_bit: BTreeSet<NextHop>,
    /// Addresses of recipients by what became of them.
    delivered: BTreeSet<String>,
    returned: BTreeSet<String>,
    in_badmail: BTreeSet<String>,
    silenced: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// When hops waited for DNS; the last span may be open.
    dns_waits: BTreeMap<NextHop, Vec<(Wall, Option<Wall>)>>,
    pub(super) copies: u64,
    pub(super) copies_excused: u64,
}

/// Where something arrived.
pub(super) enum Place {
    /// A host, on account of a hop.
    Host(IpAddr, NextHop),
    Drop,
    Badmail,
}

impl Ledger {
    pub(super) fn new(submissions: Vec<Submission>) -> Self {
        Self { submissions, ..Self::default() }
    }

    /// An attempt is given a job.
    pub(super) fn begins(&mut self, life: u64, attempt: AttemptId, job: &Job) -> Result<(), Broken> {
        for key in keys(job) {
            if let Some(other) = self.active.insert(key, attempt) {
                let what =
                    format!("{} recipient {} is in attempts {} and {}", key.0, key.1, other.0, attempt.0);
                return Err(Broken(Promise::OneAttempt, what));
            }
            let before = self.by_key.get(&key).into_iter().flatten().filter_map(|at| self.arrivals.get(*at));
            if before.clone().any(|arrival| arrival.told && arrival.life == life) {
                let what = format!(
                    "{} recipient {} is tried again, though it is known to be delivered",
                    key.0, key.1
                );
                return Err(Broken(Promise::Once, what));
            }
        }
        Ok(())
    }

    /// An attempt has it in hand no more.
    pub(super) fn ends(&mut self, attempt: AttemptId) {
        self.active.retain(|_, holder| *holder != attempt);
    }

    /// The service died or was stopped.
    pub(super) fn nothing_is_tried(&mut self) {
        self.active.clear();
    }

    /// The service died. It remembers of a wait for DNS what it had written.
    pub(super) fn crash(&mut self, store: &mut MemoryStore) {
        for (hop, spans) in &mut self.dns_waits {
            let row = store.load(&Load::Hop(hop.clone()));
            let Ok(Loaded::Hops(rows)) = row else { continue };
            let state = rows.into_iter().next().map(|row| row.state).unwrap_or_default();
            let gate = state.gate.as_ref().map(|gate| gate.since);
            let written =
                |start: &Wall| state.dns_waits.iter().any(|span| span.0 <= *start && *start < span.1);
            spans.retain(|(start, _)| gate == Some(*start) || written(start));
        }
    }

    /// A hop waits from here on, for DNS or not.
    pub(super) fn waits(&mut self, now: Now, hop: &NextHop, for_dns: bool) {
        self.waits_no_more(now, hop);
        if for_dns {
            self.dns_waits.entry(hop.clone()).or_default().push((now.wall, None));
        }
    }

    /// A hop does not wait, at least not for DNS.
    pub(super) fn waits_no_more(&mut self, now: Now, hop: &NextHop) {
        if let Some((_, end)) = self.dns_waits.get_mut(hop).and_then(|spans| spans.last_mut()) {
            end.get_or_insert(now.wall);
        }
    }

    /// Hops that wait for DNS, as far as was heard.
    pub(super) fn waiting_for_dns(&self) -> Vec<NextHop> {
        let open = |spans: &Vec<(Wall, Option<Wall>)>| spans.last().is_some_and(|(_, end)| end.is_none());
        self.dns_waits.iter().filter(|(_, spans)| open(spans)).map(|(hop, _)| hop.clone()).collect()
    }

    /// How long of a message's age it waited for DNS.
    fn dns_wait(&self, now: Now, hop: &NextHop, since: Wall) -> Duration {
        let spans = self.dns_waits.get(hop).into_iter().flatten();
        spans.map(|(start, end)| end.unwrap_or(now.wall).min(now.wall) - (*start).max(since)).sum()
    }

    /// A host refused for good: this address, or all recipients of a job.
    pub(super) fn refuses(&mut self, job: &Job, address: Option<&str>) {
        for key in keys(job) {
            let of = job.message.recipients.get(key.1 as usize).map(|one| one.address.to_string());
            if address.is_none() || of.as_deref() == address {
                self.refused.insert(key);
            }
        }
    }

    pub(super) fn greets_as_us(&mut self, hop: &NextHop) {
        self.looped.insert(hop.clone());
    }

    pub(super) fn has_no_8bitmime(&mut self, hop: &NextHop) {
        self.seven_bit.insert(hop.clone());
    }

    /// The answer about an arrival has come to the service. In one life it hears of one copy of a recipient at most.
    pub(super) fn told(&mut self, number: usize) -> Result<(), Broken> {
        let Some(arrival) = self.arrivals.get_mut(number) else { return Ok(()) };
        arrival.told = true;
        let Some(arrival) = self.arrivals.get(number) else { return Ok(()) };
        for key in &arrival.keys {
            let copies = self.by_key.get(key).into_iter().flatten().filter(|at| **at != number);
            let mut copies = copies.filter_map(|at| self.arrivals.get(*at));
            if copies.any(|copy| copy.told && copy.life == arrival.life) {
                return Err(Broken(
                    Promise::Once,
                    format!("{} recipient {} is delivered twice", key.0, key.1),
                ));
            }
        }
        Ok(())
    }

    /// A message was taken over for these addresses. The number names it to `told`.
    pub(super) fn arrives(
        &mut self,
        scene: &Scene<'_>,
        job: &Job,
        place: &Place,
        addresses: &[String],
        content: &[u8],
    ) -> Result<usize, Broken> {
        let mut arrived = Vec::new();
        for address in addresses {
            let named = |key: &Key| {
                job.message
                    .recipients
                    .get(key.1 as usize)
                    .is_some_and(|one| one.address.to_string() == *address)
            };
            let Some(key) = keys(job).find(named) else {
                let what = format!("{address} is no recipient of the job of {}", job.message.id);
                return Err(Broken(Promise::RightPlace, what));
            };
            arrived.push(key);
            self.one_arrives(scene, place, address, content)?;
        }
        let number = self.arrivals.len();
        for key in &arrived {
            let before = self.by_key.entry(*key).or_default();
            self.copies += 1;
            self.copies_excused += u64::from(!before.is_empty());
            before.push(number);
        }
        self.arrivals.push(Arrival { keys: arrived, told: false, life: scene.life });
        Ok(number)
    }

    fn one_arrives(
        &mut self,
        scene: &Scene<'_>,
        place: &Place,
        address: &str,
        content: &[u8],
    ) -> Result<(), Broken> {
        scene.is_right_place(place, address)?;
        let (local, _) = address.split_once('@').unwrap_or_default();
        let notified: Option<usize> = local.strip_prefix('s').and_then(|number| number.parse().ok());
        if let Some(number) = notified {
            return self.notice_arrives(number, content);
        }
        let digits = local.trim_start_matches(|c: char| !c.is_ascii_digit());
        let number: Option<usize> = digits.split('.').next().and_then(|number| number.parse().ok());
        let Some(submission) = number.and_then(|number| self.submissions.get(number)) else {
            return Err(Broken(Promise::RightPlace, format!("nobody sent to {address}")));
        };
        if !is_with_one_trace_field(content, &submission.content) {
            let what = format!(
                "content for {address} was changed: {} octets of {}; {:?}",
                content.len(),
                submission.content.len(),
                String::from_utf8_lossy(&content[..content.len().min(400)])
            );
            return Err(Broken(Promise::SameContent, what));
        }
        if submission.told == Told::Refused && !scene.kept_and_died {
            return Err(Broken(
                Promise::Refused,
                format!("{address} got what its client was told is refused"),
            ));
        }
        match place {
            Place::Badmail => self.in_badmail.insert(address.to_owned()),
            Place::Host(..) | Place::Drop => self.delivered.insert(address.to_owned()),
        };
        Ok(())
    }

    /// A notification for the sender of a submission: what it is about is settled.
    fn notice_arrives(&mut self, number: usize, content: &[u8]) -> Result<(), Broken> {
        let text = String::from_utf8_lossy(content);
        let Some(submission) = self.submissions.get(number) else {
            return Err(Broken(
                Promise::RightPlace,
                format!("a notification for s{number}, who sent nothing"),
            ));
        };
        let named = submission.recipients.iter().map(|one| &one.address);
        let about: Vec<String> = named.filter(|address| text.contains(address.as_str())).cloned().collect();
        if about.is_empty() || !text.contains("message/delivery-status") {
            let what = format!("a notification for s{number} tells of none of its recipients");
            return Err(Broken(Promise::NothingLost, what));
        }
        self.returned.extend(about);
        Ok(())
    }

    /// An administrator deletes a message: if it is a notification, he is who knows.
    pub(super) fn notice_is_deleted(&mut self, message: &Message, content: &[u8]) {
        for one in &message.recipients {
            let number = one.address.local().strip_prefix('s').and_then(|number| number.parse().ok());
            if let Some(number) = number {
                // Whatever it tells of counts as returned; that it tells of something is checked where it arrives.
                let _ = self.notice_arrives(number, content);
            }
        }
    }

    /// A recipient failed for good: there must be a reason.
    pub(super) fn fails(
        &mut self,
        scene: &Scene<'_>,
        message: &Message,
        recipient: u32,
        status: Status,
        fate: Fate,
    ) -> Result<(), Broken> {
        let key = (message.id, recipient);
        let Some(one) = message.recipients.get(recipient as usize) else { return Ok(()) };
        let age = scene.now.wall - message.id.given_at();
        // It may have waited at each of these, and which one it was at is the queue's to know.
        let hops: BTreeSet<NextHop> =
            scene.routes.iter().map(|settings| route::next_hop(settings, &one.address)).collect();
        let lasting = hops.iter().any(|hop| match hop {
            NextHop::Mx(domain) => scene.zones.domain(domain).is_none_or(|domain| domain.permanent),
            _ => false,
        });
        let good = match (status.subject, status.detail) {
            (4, 7) => {
                let waited = |hop| self.dns_wait(scene.now, hop, message.id.given_at());
                hops.iter().any(|hop| age.saturating_sub(waited(hop)) >= scene.settings.expire)
            }
            _ if fate == Fate::Deleted => true,
            (1, 2 | 10) | (4, 4) if lasting => true,
            (4, 6) if lasting || hops.iter().any(|hop| self.looped.contains(hop)) => true,
            (6, 3) if hops.iter().any(|hop| self.seven_bit.contains(hop)) => true,
            _ => self.refused.contains(&key),
        };
        if !good {
            let what =
                format!("{} <{}> is given up with {status}, and nobody said so", message.id, one.address);
            return Err(Broken(Promise::PermanentOnly, what));
        }
        let before = self.by_key.get(&key).into_iter().flatten().filter_map(|at| self.arrivals.get(*at));
        if before
            .clone()
            .any(|arrival| arrival.told && arrival.life == scene.life && arrival.keys.contains(&key))
        {
            let what =
                format!("{} <{}> is given up, though it is known to be delivered", message.id, one.address);
            return Err(Broken(Promise::Once, what));
        }
        match fate {
            Fate::Silent => self.silenced.insert(one.address.to_string()),
            Fate::Deleted => self.deleted.insert(one.address.to_string()),
            Fate::Returned | Fate::Badmail => false,
        };
        Ok(())
    }

    /// When all is over: nothing that was promised is missing.
    pub(super) fn close(&self) -> Result<(), Broken> {
        for submission in self.submissions.iter().filter(|one| one.told == Told::Taken) {
            for wanted in submission.recipients.iter().filter(|one| one.taken) {
                let fates = [&self.delivered, &self.returned, &self.in_badmail, &self.deleted];
                let settled = fates.iter().any(|fate| fate.contains(&wanted.address))
                    || (wanted.silent && self.silenced.contains(&wanted.address));
                if !settled {
                    let what = format!("a client saw 250, and <{}> got nothing", wanted.address);
                    return Err(Broken(Promise::NothingLost, what));
                }
            }
        }
        Ok(())
    }

    /// Recipients that were delivered, returned, in Badmail.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.delivered.len(), self.returned.len(), self.in_badmail.len()]
    }
}

/// The world as the ledger sees it.
pub(super) struct Scene<'a> {
    pub(super) now: Now,
    pub(super) life: u64,
    pub(super) zones: &'a Zones,
    pub(super) settings: &'a Settings,
    pub(super) routes: &'a [Arc<Settings>],
    pub(super) kept_and_died: bool,
}

impl Scene<'_> {
    fn is_right_place(&self, place: &Place, address: &str) -> Result<(), Broken> {
        let (_, domain) = address.split_once('@').unwrap_or_default();
        let local = |settings: &Arc<Settings>| domain == settings.default_domain.as_str();
        let right = match place {
            Place::Badmail => true,
            Place::Drop => self.routes.iter().any(local),
            Place::Host(ip, NextHop::SmartHost(..)) => *ip == IpAddr::from(super::zones::SMART_HOST),
            Place::Host(ip, NextHop::Literal(of)) => {
                ip == of && domain.trim_matches(['[', ']']) == ip.to_string()
            }
            Place::Host(ip, NextHop::Mx(of)) => {
                domain == of.as_str() && self.zones.domain(of).is_some_and(|domain| domain.hosts.contains(ip))
            }
            Place::Host(_, NextHop::Drop | NextHop::Badmail) => false,
        };
        if right {
            Ok(())
        } else {
            Err(Broken(Promise::RightPlace, format!("<{address}> arrived at a wrong place")))
        }
    }
}

fn keys(job: &Job) -> impl Iterator<Item = Key> + '_ {
    job.recipients.iter().map(|recipient| (job.message.id, *recipient))
}

/// Whether `content` is `original` behind exactly one field `Received`.
fn is_with_one_trace_field(content: &[u8], original: &[u8]) -> bool {
    let Some(trace) = content.strip_suffix(original) else { return false };
    let Some(trace) = trace.strip_suffix(b"\r\n") else { return false };
    let lines = String::from_utf8_lossy(trace).into_owned();
    let mut lines = lines.split("\r\n");
    lines.next().is_some_and(|first| first.starts_with("Received: "))
        && lines.all(|line| line.starts_with('\t'))
}
