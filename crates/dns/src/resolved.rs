//! What a lookup came to.

use crate::answer::{Cause, CauseKind, Provenance};
use crate::cache::{Absent, Entry, Kept};
use crate::exchange::Exchange;
use crate::wire::Data;
use postroad_mail::time::Mono;
use std::sync::Arc;
use std::time::Duration;

/// What a lookup came to.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) said: Said,
    pub(crate) provenance: Provenance,
    pub(crate) expires: Mono,
    /// Of a stale set: how long ago it had expired when it was taken.
    pub(crate) expired: Option<Duration>,
    pub(crate) trail: Arc<[Exchange]>,
    pub(crate) cached: bool,
}

/// What was said.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Set(Arc<[Data]>),
    Absent(Absent),
    Failed(Cause),
}

impl From<Entry> for Resolved {
    fn from(entry: Entry) -> Self {
        let said = match entry.kept {
            Kept::Set(set) => Said::Set(set),
            Kept::Absent(absent) => Said::Absent(absent),
        };
        Self {
            said,
            provenance: Provenance::Complete,
            expires: entry.expires,
            expired: None,
            trail: entry.trail,
            cached: false,
        }
    }
}

pub(crate) fn said(expires: Mono, said: Said) -> Resolved {
    let (provenance, trail) = (Provenance::Complete, Arc::new([]));
    Resolved { said, provenance, expires, expired: None, trail, cached: false }
}

/// A lookup that did not come to anything.
pub(crate) fn failed(now: Mono, cause: Cause) -> Resolved {
    said(now, Said::Failed(cause))
}

/// There is no room for another lookup.
pub(crate) fn busy() -> Cause {
    Cause {
        text: "resolver busy: too many lookups at once".to_owned(),
        dns_fault: true,
        kind: CauseKind::Busy,
    }
}
