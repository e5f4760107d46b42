//! The spool: where accepted mail is kept until it is settled.
//!
//! `Store` is the whole surface. The queue decides what is written; the store writes it, whole or not at all, and says so
//! only when it is on disk. Two engines: `sqlite` for real, `memory` for the simulator.

pub mod memory;
pub mod record;
mod rules;
pub mod sqlite;

use postroad_mail::time::Wall;
use record::{Committed, Load, Loaded, Record};

/// An engine. One owner calls it, from one thread.
pub trait Store: Send {
    /// Applies a batch, whole or not at all, and returns once it is durable.
    ///
    /// # Errors
    /// Nothing of the batch may be taken as written, and nothing as not written: a disk that failed may have kept it, so it
    /// may be there, whole, when the store is opened again. The owner closes the store and opens it anew before the next commit: a
    /// failed sync must never be tried again as if it had succeeded.
    fn commit(&mut self, batch: &[Record]) -> Result<Committed, StoreError>;

    /// Answers a question from what is committed.
    ///
    /// # Errors
    /// As for `commit`, after which nothing is answered either. Where one message's content is damaged, only
    /// `Load::Content` of it fails, and nothing else does.
    fn load(&mut self, load: &Load) -> Result<Loaded, StoreError>;

    /// Housekeeping between batches: checkpoint, dead content, old history. At most about 50 ms a call.
    ///
    /// # Errors
    /// As for `commit`.
    fn tend(&mut self, now: Wall) -> Result<(), StoreError>;
}

/// What an owner does differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room: clients hear 452 4.3.1.
    #[error("the spool's disk is full: {0}")]
    Full(String),
    /// Anything else: clients hear 451 4.3.0.
    #[error("the spool failed: {0}")]
    Failed(String),
}
