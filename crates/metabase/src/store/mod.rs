//! Where the tree is kept: every change is one durable transaction with its author, reason and differences.
//!
//! `Metabase` holds the tree in memory and decides what is written; `Store` is the surface of an engine, which writes it
//! whole or not at all, and returns once it is on disk. Two engines: `sqlite` for real, `memory` for tests.
//!
//! A VOLATILE record is in the tree alone: an engine never sees it, and it is gone when the store is opened again.

mod fault;
pub mod memory;
mod metabase;
mod open;
mod rows;
mod seal;
pub mod sqlite;

use crate::path::KeyPath;

use crate::text::Pin;
use crate::tree::{Delta, Tree};
use postroad_mail::time::Wall;

pub use metabase::Metabase;
pub use seal::Seal;

/// Characters of an author: a user's name, or a program's with what it acts for.
pub const AUTHOR_MAX: usize = 256;
/// Characters of a reason: a page of text.
pub const REASON_MAX: usize = 4096;
/// Changes whose differences are kept: a change every five minutes for a year.
pub const HISTORY_MAX: u64 = 100_000;
/// Changes told at once: a page that a person may want to scroll through.
pub const PAGE_MAX: usize = 1000;
/// Differences told of each change on a page: an import has hundreds of thousands, which `past` tells.
pub const PAGE_DELTAS_MAX: usize = 20;

/// Who changes the tree, when and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: Wall,
    /// Who; cut to `AUTHOR_MAX` characters.
    pub author: String,
    /// Why; cut to `REASON_MAX` characters.
    pub reason: String,
    /// It waits to be confirmed until then; undoing it is the caller's work.
    pub confirm_until: Option<Wall>,
}

/// What a commit is to the change that waits to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing: that one goes on waiting.
    Change,
    /// Its end: the tree is what `Metabase::undone` gave, or replaces all there was.
    Undo,
}

/// The change that waits to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The change.
    pub generation: u64,
    /// When it is to be undone.
    pub until: Wall,
}

/// A change of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub generation: u64,
    /// When.
    pub at: Wall,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Until when it waited to be confirmed.
    pub confirm_until: Option<Wall>,
    /// When and by whom it was confirmed.
    pub confirmed: Option<(Wall, String)>,
    /// What differed, without VOLATILE records; on a page the first `PAGE_DELTAS_MAX`.
    pub deltas: Vec<Delta>,
    /// How many there are.
    pub deltas_count: u64,
}

/// What the configuration file of the last start pins. It is no part of the tree: it is remembered so that a store at rest
/// shows what the service will run by, and refuses what the file would hide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// The file; empty without one.
    pub file: String,
    /// What it pins.
    pub pins: Vec<Pin>,
}

/// What an engine is to write, whole or not at all.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'c> {
    /// One more than the change before.
    pub generation: u64,
    /// Who, when and why.
    pub change: &'c Change,
    /// What differs, without VOLATILE records.
    pub deltas: &'c [Delta],
    /// Which change waits to be confirmed after it.
    pub pending: Option<Pending>,
    /// History up to this change is dropped.
    pub forget: u64,
    /// What is pinned from then on, if that is what changes.
    pub pinned: Option<&'c Pinned>,
}

/// What an engine has when it is opened.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The tree.
    pub tree: Tree,
    /// The newest change; 0 before the first.
    pub generation: u64,
    /// The oldest change whose differences are kept.
    pub oldest: u64,
    /// The change that waits to be confirmed.
    pub pending: Option<Pending>,
    /// What the last start has pinned.
    pub pinned: Pinned,
}

/// An engine. One owner calls it, from one thread.
pub trait Store: Send {
    /// All that is kept but history.
    ///
    /// # Errors
    /// What is there cannot be read.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Writes a change, whole or not at all, and returns once it is durable.
    ///
    /// # Errors
    /// Nothing may be taken as written, and nothing as not written: a disk that failed may have kept it, so it may be there,
    /// whole, when the store is opened again. The engine refuses all that comes after, until then.
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError>;

    /// No change waits to be confirmed any more; with who confirmed it, and when. Durable when it returns.
    ///
    /// # Errors
    /// As for `commit`.
    fn confirm(&mut self, confirmed: Option<(Wall, &str)>) -> Result<(), StoreError>;

    /// Remembers in which lines of which file it stands what is pinned; durable when it returns.
    ///
    /// # Errors
    /// As for `commit`.
    fn pin(&mut self, pinned: &Pinned) -> Result<(), StoreError>;

    /// Closes what has failed, opens it again and loads what the disk has kept.
    ///
    /// # Errors
    /// It cannot be opened, and goes on refusing all that comes.
    fn reopen(&mut self) -> Result<Loaded, StoreError>;

    /// A change with all its differences.
    ///
    /// # Errors
    /// The history cannot be read.
    fn past(&mut self, generation: u64) -> Result<Option<Past>, StoreError>;

    /// The newest changes before one, newest first.
    ///
    /// # Errors
    /// As for `past`.
    fn history(&mut self, limit: usize, before: Option<u64>) -> Result<Vec<Past>, StoreError>;

    /// The newest changes of a record, newest first, each with that difference alone.
    ///
    /// # Errors
    /// As for `past`.
    fn history_of(&mut self, path: &KeyPath, id: u32, limit: usize) -> Result<Vec<Past>, StoreError>;
}

/// What an owner does differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room. The store is closed and opened again before the next change.
    #[error("the metabase's disk is full: {0}. Make room on it, and try again")]
    Full(String),
    /// The disk, or what is on it. The store is closed and opened again before the next change.
    #[error("the metabase failed: {0}")]
    Failed(String),
    /// The secrets were sealed with another key.
    #[error("{0}")]
    WrongKey(String),
    /// A change waits already, and another one that is to be confirmed was asked for.
    #[error(
        "generation {0} waits to be confirmed: confirm it, or wait until it is undone, then make this one"
    )]
    Pending(u64),
    /// History does not reach there.
    #[error("generation {generation} is not known: history reaches from {oldest} to {newest}")]
    Unknown {
        /// What was asked for.
        generation: u64,
        /// The oldest that is known; 0 is the empty tree.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
}

impl Change {
    fn cut(&self) -> Self {
        Self {
            at: self.at,
            author: cut(&self.author, AUTHOR_MAX),
            reason: cut(&self.reason, REASON_MAX),
            confirm_until: self.confirm_until,
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

impl Pinned {
    /// Whether another file, or other lines of it, pin the same.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |pin: &Pin| (pin.path.clone(), pin.record.clone());
        self.pins.iter().map(said).eq(other.pins.iter().map(said))
    }
}
