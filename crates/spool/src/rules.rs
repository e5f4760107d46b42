//! What both engines must agree on.

use crate::StoreError;
use crate::record::{CONTENT_IN_MEMORY_MAX, HopRow, HopState, Message, Pending, Record};
use postroad_mail::hop::NextHop;
use postroad_mail::time::Wall;
use std::collections::{BTreeMap, BTreeSet};

/// Whole days for which the history of a day is kept after it.
pub(crate) const HISTORY_DAYS: i64 = 7;

/// Whether the history of `day` is to be dropped. One from far ahead was written under a clock that was wrong.
pub(crate) fn history_is_old(day: i64, now: Wall) -> bool {
    (now.day() - day).abs() > HISTORY_DAYS
}

/// The distinct hops of a message.
pub(crate) fn hops(message: &Message) -> BTreeSet<&NextHop> {
    message.recipients.iter().map(|recipient| &recipient.hop).collect()
}

/// What becomes of a hop's row, if it has one, when `delta` more recipients wait there.
pub(crate) fn wait(row: Option<HopRow>, hop: &NextHop, delta: i64) -> Option<HopRow> {
    let new = || HopRow { hop: hop.clone(), waiting: 0, due: Wall(0), state: HopState::default() };
    let mut row = row.unwrap_or_else(new);
    row.waiting = row.waiting.saturating_add_signed(delta);
    (row.waiting > 0).then_some(row)
}

/// When the first of the recipients at each hop is due.
pub(crate) fn earliest<'a>(pending: impl IntoIterator<Item = &'a Pending>) -> BTreeMap<&'a NextHop, Wall> {
    let mut earliest = BTreeMap::new();
    for one in pending {
        let due = earliest.entry(&one.hop).or_insert(one.due);
        *due = one.due.min(*due);
    }
    earliest
}

/// Refuses what no queue should write, before anything of the batch is.
pub(crate) fn check(batch: &[Record]) -> Result<(), StoreError> {
    for record in batch {
        if let Record::Divide { id, pending } = record
            && pending.iter().map(|one| one.recipient).collect::<BTreeSet<_>>().len() != pending.len().max(1)
        {
            return Err(StoreError::Failed(format!(
                "message {id} was to be divided into no recipient or the same one twice"
            )));
        }
    }
    Ok(())
}

/// How much of a page's contents is still handed out in memory.
pub(crate) struct Allowance(pub u64);

impl Allowance {
    /// Whether content of `size` octets is handed out in memory; counts it if so.
    pub(crate) fn admits(&mut self, size: u64) -> bool {
        let admitted = self.0 > 0 && size <= CONTENT_IN_MEMORY_MAX;
        if admitted {
            self.0 = self.0.saturating_sub(size);
        }
        admitted
    }
}
