//! What servers said, for as long as it may be used: record sets, believed absences, failures.
//!
//! Only whole answers come in here. A record set stays a day beyond its time, for when nobody answers (RFC 8767).

use crate::answer::Cause;
use crate::exchange::{Exchange, Transport};
use crate::name::Name;
use crate::policy::Policy;
use crate::wire::{A_TYPE, AAAA_TYPE, Data, MX_TYPE};
use postroad_mail::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Sets and absences kept: about 60 MB at 600 octets each. Beyond, the one that ends first makes room.
const ENTRIES_MAX: usize = 100_000;
/// Records and exchanges of all entries, of which an honest one has two to four. Sets of a thousand long names, as a hostile zone may
/// have them, would fill gigabytes before there are too many entries.
const WEIGHT_MAX: usize = 500_000;
/// Failures kept. Beyond, no more are until some end: they only save queries.
const FAILURES_MAX: usize = 10_000;
/// RFC 8767 §4: TTLs are capped, at a day here.
const POSITIVE_MAX: Duration = Duration::from_secs(86_400);
/// RFC 2308 §5 allows three hours; a domain repaired after a mistake should not wait that long.
const NEGATIVE_MAX: Duration = Duration::from_secs(15 * 60);
/// RFC 8767 §5: one to three days.
const STALE_FOR: Duration = Duration::from_secs(86_400);
/// RFC 9520 §3.2: failures are cached for at least a second, at most five minutes.
pub(crate) const FAILURE_MAX: Duration = Duration::from_secs(10);

/// A name and a record type.
pub(crate) type Key = (Name, u16);

/// What is kept.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Set(Arc<[Data]>),
    Absent(Absent),
}

/// A negative answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Absent {
    /// The name does not exist; else it has no such records.
    pub(crate) no_name: bool,
    /// It came with an SOA record.
    pub(crate) proof: bool,
    /// Who said so first.
    pub(crate) witness: (SocketAddr, Transport),
    /// Mail may be returned on account of it: a second server was asked where there is one.
    pub(crate) confirmed: bool,
}

/// An entry as it is handed out.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kept: Kept,
    pub(crate) expires: Mono,
    pub(crate) trail: Arc<[Exchange]>,
}

/// A failure that is remembered, per policy: another may have better luck.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) expires: Mono,
    pub(crate) trail: Arc<[Exchange]>,
}

#[derive(Debug, Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Key, Entry>,
    /// When each entry leaves.
    leaving: BTreeSet<(Mono, Key)>,
    /// Of all entries.
    weight: usize,
    failures: BTreeMap<(Key, Policy), Failure>,
}

impl Cache {
    /// Keeps what was said, and returns it with its end. `ttl` in seconds, as the message had it.
    pub(crate) fn keep(
        &mut self,
        now: Mono,
        key: Key,
        kept: Kept,
        ttl: u32,
        trail: Arc<[Exchange]>,
    ) -> Entry {
        let longest = if matches!(kept, Kept::Set(_)) { POSITIVE_MAX } else { NEGATIVE_MAX };
        let expires = now + Duration::from_secs(ttl.into()).min(longest);
        let entry = Entry { kept, expires, trail };
        self.remove(&key);
        for policy in Policy::ALL {
            self.failures.remove(&(key.clone(), policy));
        }
        let full =
            |cache: &Self| cache.entries.len() >= ENTRIES_MAX || cache.weight + entry.weight() > WEIGHT_MAX;
        while let Some((_, gone)) = self.leaving.first().filter(|(at, _)| *at <= now || full(self)).cloned() {
            self.remove(&gone);
        }
        self.weight += entry.weight();
        self.leaving.insert((leaves(&key, &entry), key.clone()));
        self.entries.insert(key, entry.clone());
        entry
    }

    /// What is kept and still good.
    pub(crate) fn fresh(&self, now: Mono, key: &Key) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.expires > now)
    }

    /// A record set that may be used although its time is over, because nobody answers.
    pub(crate) fn stale(&self, now: Mono, key: &Key) -> Option<&Entry> {
        let stale = |entry: &&Entry| leaves(key, entry) > now && matches!(entry.kept, Kept::Set(_));
        self.entries.get(key).filter(stale)
    }

    /// A second witness was heard, or there is none. What he said is what both said at least.
    pub(crate) fn confirm(&mut self, key: &Key, no_name: bool) {
        if let Some(Entry { kept: Kept::Absent(absent), .. }) = self.entries.get_mut(key) {
            absent.confirmed = true;
            absent.no_name = no_name;
        }
    }

    /// Forgets one entry.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some(old) = self.entries.remove(key) {
            self.weight -= old.weight();
            self.leaving.remove(&(leaves(key, &old), key.clone()));
        }
    }

    /// Remembers a failure.
    pub(crate) fn keep_failure(&mut self, now: Mono, key: Key, policy: Policy, failure: Failure) {
        if self.failures.len() >= FAILURES_MAX {
            self.failures.retain(|_, failure| failure.expires > now);
        }
        if self.failures.len() < FAILURES_MAX {
            self.failures.insert((key, policy), failure);
        }
    }

    pub(crate) fn failure(&self, now: Mono, key: &Key, policy: Policy) -> Option<&Failure> {
        self.failures.get(&(key.clone(), policy)).filter(|failure| failure.expires > now)
    }

    /// What failed may succeed: something about the servers changed.
    pub(crate) fn forget_failures(&mut self) {
        self.failures.clear();
    }

    /// Forgets a name and all below it, or everything.
    pub(crate) fn flush(&mut self, name: Option<&Name>) {
        let Some(name) = name else {
            *self = Self::default();
            return;
        };
        self.entries.retain(|(held, _), _| !held.is_within(name));
        self.leaving.retain(|(_, (held, _))| !held.is_within(name));
        self.weight = self.entries.values().map(Entry::weight).sum();
        self.failures.retain(|((held, _), _), _| !held.is_within(name));
    }
}

impl Entry {
    /// Its records and exchanges.
    fn weight(&self) -> usize {
        let records = if let Kept::Set(set) = &self.kept { set.len() } else { 0 };
        records + self.trail.len()
    }
}

/// When an entry is of no more use.
fn leaves(key: &Key, entry: &Entry) -> Mono {
    match entry.kept {
        Kept::Set(_) if [MX_TYPE, A_TYPE, AAAA_TYPE].contains(&key.1) => entry.expires + STALE_FOR,
        Kept::Set(_) | Kept::Absent(_) => entry.expires,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_sets_do_not_fill_the_memory() {
        let mut cache = Cache::default();
        let host = |n: u32| Data::Address(std::net::Ipv4Addr::from(n).into());
        let set: Arc<[Data]> = (0..1000).map(host).collect();
        let key = |n: u32| (Name::from_text(&format!("d{n}.example")).unwrap(), MX_TYPE);
        let mut keep = |n: u32, set: &Arc<[Data]>| {
            cache.keep(Mono(1), key(n), Kept::Set(set.clone()), 60 + n, Arc::new([]));
            (cache.entries.len(), cache.leaving.len(), cache.weight)
        };
        for n in 0..500 {
            keep(n, &set);
        }
        assert_eq!(keep(500, &set), (500, 500, WEIGHT_MAX));
        // The same again takes no more room, and a small one makes less of it.
        assert_eq!(keep(500, &set), (500, 500, WEIGHT_MAX));
        assert_eq!(keep(499, &set[..1].into()), (500, 500, WEIGHT_MAX - 999));
        assert!(cache.fresh(Mono(1), &key(0)).is_none(), "what ends first makes room");
        cache.flush(Some(&key(499).0));
        assert_eq!(cache.weight, 499_000);
    }
}
