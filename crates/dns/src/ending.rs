//! How a lookup ends: with a record set, an absence, parts, stale records, or a failure.

use crate::answer::{Cause, CauseKind, Provenance};
use crate::cache::{Absent, FAILURE_MAX, Failure, Kept};
use crate::exchange::{Exchange, Transport};
use crate::fact::Fact;
use crate::lookup::{First, LookupKey};
use crate::name::Name;
use crate::policy::Policy;
use crate::resolved::{Resolved, Said, failed, said};
use crate::resolver::{Output, Resolver, SIGHTS_MAX};
use crate::timers::Timer;
use crate::wire::Reply;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// RFC 8767 §4: a stale record is used for 30 s before the servers are asked again. The same serves for parts.
pub(crate) const STALE_TTL: Duration = Duration::from_secs(30);
/// A negative without proof is believed when it is seen again after this time ...
const SIGHT_MIN: Duration = Duration::from_secs(60);
/// ... and before this, or it counts as the first sight.
const SIGHT_MAX: Duration = Duration::from_secs(3600);

/// RFC 1035 §4.1.1.
const SERVFAIL: u16 = 2;

impl Resolver {
    pub(crate) fn answered(&mut self, number: u64, reply: Reply) {
        let Some(lookup) = self.lookups.get(&number) else {
            return;
        };
        let key = (lookup.key.name.clone(), lookup.key.rtype);
        let (ttl, trail) = (lookup.ttl.min(reply.ttl), lookup.trail.as_slice().into());
        let entry = self.cache.keep(self.now.mono, key, Kept::Set(reply.records.into()), ttl, trail);
        self.finish(number, entry.into());
    }

    pub(crate) fn absent(
        &mut self,
        number: u64,
        witness: (SocketAddr, Transport),
        no_name: bool,
        ttl: Option<u32>,
    ) {
        let Some(lookup) = self.lookups.get(&number) else {
            return;
        };
        let key = (lookup.key.name.clone(), lookup.key.rtype);
        let trail: Arc<[Exchange]> = lookup.trail.as_slice().into();
        let chain_ttl = lookup.ttl;
        if let Some(first) = lookup.key.confirm {
            let no_name = first.no_name && no_name;
            return self.confirmed(number, first, no_name);
        }
        let absent = Absent { no_name, proof: ttl.is_some(), witness, confirmed: false };
        let resolved = match ttl {
            Some(ttl) => {
                self.cache.keep(self.now.mono, key, Kept::Absent(absent), ttl.min(chain_ttl), trail).into()
            }
            None => Resolved { trail, ..said(self.now.mono, Said::Absent(absent)) },
        };
        self.finish(number, resolved);
    }

    /// A second witness was heard, or there is none to be had and none is needed.
    fn confirmed(&mut self, number: u64, first: First, no_name: bool) {
        let Some(lookup) = self.lookups.get(&number) else {
            return;
        };
        self.cache.confirm(&(lookup.key.name.clone(), lookup.key.rtype), no_name);
        let absent = Absent { no_name, proof: first.proof, witness: first.witness, confirmed: true };
        let trail = lookup.trail.as_slice().into();
        self.finish(number, Resolved { trail, ..said(self.now.mono, Said::Absent(absent)) });
    }

    /// Nothing is left to try, or the time is over.
    pub(crate) fn unanswered(&mut self, number: u64) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        if let Some(first) = lookup.key.confirm {
            return self.unconfirmed(number, first);
        }
        if lookup.parts_usable() {
            return self.partial(number);
        }
        let kind = lookup.kind();
        self.fail(number, kind);
    }

    fn partial(&mut self, number: u64) {
        let Some(lookup) = self.lookups.get_mut(&number) else {
            return;
        };
        let parts = std::mem::take(&mut lookup.parts);
        let trail = lookup.trail.as_slice().into();
        let ttl = Duration::from_secs(lookup.parts_ttl.min(lookup.ttl).into()).min(STALE_TTL);
        let fact = lookup.key.name.domain().zip(lookup.parts_from);
        if let Some((domain, server)) = fact {
            let records = parts.len() as u32;
            self.emit(Output::Fact(Fact::Partial { domain, server, records }));
        }
        let set = said(self.now.mono + ttl, Said::Set(parts.into()));
        self.finish(number, Resolved { provenance: Provenance::Partial, trail, ..set });
    }

    /// No second witness answered. One with proof is enough then, unless another server failed over the name; one without is enough
    /// when he says the same later. Neither is enough where another server has an answer that cannot be had whole.
    fn unconfirmed(&mut self, number: u64, first: First) {
        let Some(lookup) = self.lookups.get(&number) else {
            return;
        };
        let failed = lookup.trail.iter().any(|exchange| exchange.rcode == Some(SERVFAIL));
        let kind = lookup.kind();
        if kind == CauseKind::Truncated || (first.proof && failed) {
            return self.fail(number, kind);
        }
        let key = (lookup.key.name.clone(), lookup.key.rtype);
        if first.proof || self.seen_before(key) {
            return self.confirmed(number, first, first.no_name);
        }
        self.fail(number, CauseKind::Unconfirmed);
    }

    /// Whether an absence without proof was seen at least a minute ago; notes the first sight.
    fn seen_before(&mut self, key: (Name, u16)) -> bool {
        let now = self.now.mono;
        if let Some(first) = self.sights.get(&key)
            && now - *first <= SIGHT_MAX
        {
            return now - *first >= SIGHT_MIN;
        }
        if self.sights.len() >= SIGHTS_MAX {
            self.sights.retain(|_, first| now - *first <= SIGHT_MAX);
        }
        if self.sights.len() < SIGHTS_MAX {
            self.sights.insert(key, now);
        }
        false
    }

    /// The lookup failed: a stale set may help, else the failure is told and remembered for a while.
    pub(crate) fn fail(&mut self, number: u64, kind: CauseKind) {
        let Some(lookup) = self.lookups.get(&number) else {
            return;
        };
        let key = lookup.key.clone();
        let cause = Cause { text: lookup.tell(kind), dns_fault: true, kind };
        let trail: Arc<[Exchange]> = lookup.trail.as_slice().into();
        let mut resolved = failed(self.now.mono, cause.clone());
        if key.confirm.is_none() {
            self.tell_unreachable(key.policy);
            let expires = self.now.mono + FAILURE_MAX.min(self.settings.timeouts.lookup);
            // Mail may get along with the parts of what is too large for anything else.
            if key.mail || kind != CauseKind::Truncated {
                let failure = Failure { cause: cause.clone(), expires, trail: trail.clone() };
                self.cache.keep_failure(self.now.mono, (key.name.clone(), key.rtype), key.policy, failure);
            }
            resolved.expires = expires;
            resolved = self.instead(&key, kind).unwrap_or(resolved);
        }
        self.finish(number, Resolved { trail, ..resolved });
    }

    fn finish(&mut self, number: u64, resolved: Resolved) {
        let Some(lookup) = self.lookups.remove(&number) else {
            return;
        };
        self.by_key.remove(&lookup.key);
        self.timers.clear(Timer::Lookup(number));
        self.timers.clear(Timer::Hedge(number));
        for flight in lookup.flights {
            self.abandon(flight);
        }
        for (task, need) in lookup.waiters {
            self.ready.push_back((task, need, resolved.clone()));
        }
    }

    /// What serves in place of an answer: what another lookup brought meanwhile, or a record set whose time is over. That is used under
    /// adaptive after any failure, else only if nobody answered at all.
    pub(crate) fn instead(&self, key: &LookupKey, kind: CauseKind) -> Option<Resolved> {
        let (now, at) = (self.now.mono, (key.name.clone(), key.rtype));
        if let Some(entry) = self.cache.fresh(now, &at) {
            return Some(entry.clone().into());
        }
        let allowed =
            key.policy == Policy::Adaptive || matches!(kind, CauseKind::Unreachable | CauseKind::NoServer);
        let entry = self.cache.stale(now, &at).filter(|_| allowed)?.clone();
        let (expires, expired) = (now + STALE_TTL, Some(now - entry.expires));
        Some(Resolved { provenance: Provenance::Stale, expires, expired, ..entry.into() })
    }
}
