//! What will happen, in order of time, and of being put down where the time is the same.

use postroad_mail::time::Mono;
use std::collections::BTreeMap;

/// The agenda.
pub(super) struct Agenda<E> {
    entries: BTreeMap<(Mono, u64), E>,
    count: u64,
}

impl<E> Agenda<E> {
    pub(super) fn new() -> Self {
        Self { entries: BTreeMap::new(), count: 0 }
    }

    pub(super) fn put(&mut self, at: Mono, event: E) {
        self.count += 1;
        self.entries.insert((at, self.count), event);
    }

    pub(super) fn next(&mut self) -> Option<(Mono, E)> {
        self.entries.pop_first().map(|((at, _), event)| (at, event))
    }
}
