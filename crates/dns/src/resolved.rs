//! What a lookup came to.

use crate::answer::{Cause, CauseKind, Provenance};
use crate::cache::{Absent, Entry, Kept};
use crate::exchange::Exchange;
use crate::wire::Data;
use postroad_mail::time::Mono;
use std::sync::Arc;

/// What a lookup came to.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) said: Said,
    pub(crate) provenance: Provenance,
    pub(crate) expires: Mono,
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
            trail: entry.trail,
            cached: false,
        }
    }
}

pub(crate) fn said(expires: Mono, said: Said) -> Resolved {
    Resolved { said, provenance: Provenance::Complete, expires, trail: Arc::new([]), cached: false }
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
