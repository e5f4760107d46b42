//! Where the tree is kept: every change is one durable transaction with its author, reason and differences.
//!
//! `Metabase` holds the tree in memory and decides what is written; `Store` is the surface of an engine, which writes it
//! whole or not at all, and returns once it is on disk. Two engines: `sqlite` for real, `memory` for tests.
//!
//! A VOLATILE record is in the tree alone: an engine never sees it, and it is gone when the store is opened again.

mod fault;
pub mod memory;
mod open;
mod rows;
mod seal;
pub mod sqlite;

use crate::path::KeyPath;
use crate::record::{Record, VOLATILE};
use crate::text::Pin;
use crate::tree::{Delta, Tree, steps};
use postroad_mail::time::Wall;
use std::borrow::Cow;

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

    /// No change waits to be confirmed any more; durable when it returns.
    ///
    /// # Errors
    /// As for `commit`.
    fn confirm(&mut self) -> Result<(), StoreError>;

    /// Remembers what a start pins, in the place of what the last one did; durable when it returns.
    ///
    /// # Errors
    /// As for `commit`.
    fn pin(&mut self, pinned: &Pinned) -> Result<(), StoreError>;

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
    #[error("the metabase's disk is full: {0}")]
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

/// The tree, and the store that keeps it.
#[derive(Debug)]
pub struct Metabase<S> {
    store: S,
    tree: Tree,
    generation: u64,
    oldest: u64,
    history_max: u64,
    /// With all its differences, those of VOLATILE records too while this process lives.
    pending: Option<(Pending, Vec<Delta>)>,
    pinned: Pinned,
}

impl<S: Store> Metabase<S> {
    /// Reads all that a store keeps.
    ///
    /// # Errors
    /// What is there cannot be read; nothing is changed.
    pub fn open(mut store: S) -> Result<Self, StoreError> {
        let Loaded { tree, generation, oldest, pending, pinned } = store.load()?;
        let pending = match pending {
            None => None,
            Some(pending) => {
                let past = store.past(pending.generation)?;
                Some((pending, past.map_or_else(Vec::new, |past| past.deltas)))
            }
        };
        Ok(Self { store, tree, generation, oldest, history_max: HISTORY_MAX, pending, pinned })
    }

    /// Keeps less history than `HISTORY_MAX`, from the next change on.
    #[must_use]
    pub fn keeping(mut self, history_max: u64) -> Self {
        self.history_max = history_max.clamp(1, HISTORY_MAX);
        self
    }

    /// The store alone.
    pub fn into_store(self) -> S {
        self.store
    }

    /// The tree as it is.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The newest change; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes the tree be as `after`, and returns the change's number once it is durable. Where nothing differs nothing is
    /// written, and the number is that of the change before. A key keeps the name it was first written with.
    ///
    /// # Errors
    /// `Pending`; else the store's, and the tree is as it was: close the store and open it again, which shows whether the
    /// disk has kept the change.
    pub fn commit(&mut self, after: &Tree, change: &Change, act: Act) -> Result<u64, StoreError> {
        let waiting = self.pending().filter(|_| act == Act::Change);
        if let (Some(waiting), Some(_)) = (waiting, change.confirm_until) {
            return Err(StoreError::Pending(waiting.generation));
        }
        let deltas = self.tree.diff(after);
        if deltas.is_empty() {
            if waiting.is_none() {
                self.confirm()?;
            }
            return Ok(self.generation);
        }
        let generation = self.generation + 1;
        let change = &change.cut();
        let made = change.confirm_until.map(|until| Pending { generation, until });
        let pending = made.or(waiting);
        // The differences of the one that waits are needed to undo it.
        let kept = pending.map_or(generation, |pending| pending.generation);
        let forget = generation.saturating_sub(self.history_max).min(kept - 1);
        let stable = stable(&deltas);
        self.store.commit(&Commit { generation, change, deltas: &stable, pending, forget })?;
        drop(stable);
        self.generation = generation;
        self.oldest = self.oldest.max(forget + 1);
        self.pending = match made {
            Some(made) => Some((made, deltas.clone())),
            None => self.pending.take().filter(|_| waiting.is_some()),
        };
        // Not `after` itself, whose keys may differ in case from those that are kept. It is taken where the way there has
        // more keys than may be.
        self.tree = self.tree.apply(&steps(deltas)).unwrap_or_else(|_| after.clone());
        Ok(generation)
    }

    /// The change that waits to be confirmed.
    #[must_use]
    pub fn pending(&self) -> Option<Pending> {
        self.pending.as_ref().map(|(pending, _)| *pending)
    }

    /// Keeps the change that waits; its number, if there is one.
    ///
    /// # Errors
    /// As for `commit`.
    pub fn confirm(&mut self) -> Result<Option<u64>, StoreError> {
        let Some(pending) = self.pending() else { return Ok(None) };
        self.store.confirm()?;
        self.pending = None;
        Ok(Some(pending.generation))
    }

    /// What the last start has pinned.
    #[must_use]
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Remembers what a start pins. Nothing is written where it is what the last one did.
    ///
    /// # Errors
    /// As for `commit`.
    pub fn pin(&mut self, pinned: Pinned) -> Result<(), StoreError> {
        let known = |pin: Pin| Pin::known(pin.path, pin.record, pin.line);
        let pinned = Pinned { pins: pinned.pins.into_iter().map(known).collect(), ..pinned };
        if self.pinned != pinned {
            self.store.pin(&pinned)?;
            self.pinned = pinned;
        }
        Ok(())
    }

    /// The tree with what the waiting change touched put back as it was before it, whatever came after. To be committed with
    /// `Act::Undo`.
    #[must_use]
    pub fn undone(&self) -> Option<Tree> {
        self.undone_in(&self.tree)
    }

    /// The same of a tree that is not committed yet.
    #[must_use]
    pub fn undone_in(&self, tree: &Tree) -> Option<Tree> {
        let (_, deltas) = self.pending.as_ref()?;
        let mut tree = tree.clone();
        for op in steps(reversed(deltas.clone())) {
            // What a later change has taken away already need not go again.
            let _ = tree.step(&op);
        }
        Some(tree)
    }

    /// The tree as it was after a change; VOLATILE records are as they are, where no change has touched their keys.
    ///
    /// # Errors
    /// `Unknown`; the store's.
    pub fn tree_at(&mut self, generation: u64) -> Result<Tree, StoreError> {
        let (oldest, newest) = (self.oldest.saturating_sub(1), self.generation);
        let unknown = StoreError::Unknown { generation, oldest, newest };
        if !(oldest..=newest).contains(&generation) {
            return Err(unknown);
        }
        let mut tree = self.tree.clone();
        for undone in (generation + 1..=newest).rev() {
            let past = self.store.past(undone)?.ok_or_else(|| unknown.clone())?;
            for op in steps(reversed(past.deltas)) {
                tree.step(&op).map_err(|error| {
                    fault::damaged(&format!("generation {undone} cannot be undone: {error}"))
                })?;
            }
        }
        Ok(tree)
    }

    /// A change with all its differences.
    ///
    /// # Errors
    /// The store's.
    pub fn past(&mut self, generation: u64) -> Result<Option<Past>, StoreError> {
        self.store.past(generation)
    }

    /// The newest changes, newest first, at most `PAGE_MAX`; with `before`, those before that one.
    ///
    /// # Errors
    /// The store's.
    pub fn history(&mut self, limit: usize, before: Option<u64>) -> Result<Vec<Past>, StoreError> {
        self.store.history(limit.min(PAGE_MAX), before)
    }

    /// The newest changes of a record, newest first, at most `PAGE_MAX`, each with that difference alone.
    ///
    /// # Errors
    /// The store's.
    pub fn history_of(&mut self, path: &KeyPath, id: u32, limit: usize) -> Result<Vec<Past>, StoreError> {
        self.store.history_of(path, id, limit.min(PAGE_MAX))
    }
}

impl Change {
    fn cut(&self) -> Self {
        let cut = |text: &str, most: usize| text.chars().take(most).collect();
        Self {
            at: self.at,
            author: cut(&self.author, AUTHOR_MAX),
            reason: cut(&self.reason, REASON_MAX),
            confirm_until: self.confirm_until,
        }
    }
}

/// Differences without VOLATILE records: to an engine these do not exist.
fn stable(deltas: &[Delta]) -> Cow<'_, [Delta]> {
    let is_volatile = |record: &Option<Record>| record.as_ref().is_some_and(|record| record.has(VOLATILE));
    let touched = |delta: &Delta| match delta {
        Delta::Record { before, after, .. } => is_volatile(before) || is_volatile(after),
        Delta::KeyCreated(_) | Delta::KeyDeleted(_) => false,
    };
    if !deltas.iter().any(touched) {
        return Cow::Borrowed(deltas);
    }
    let kept = deltas.iter().filter_map(|delta| match delta {
        Delta::Record { path, id, before, after } => {
            let [before, after] =
                [before, after].map(|record| record.clone().filter(|one| !one.has(VOLATILE)));
            let (path, id) = (path.clone(), *id);
            (before.is_some() || after.is_some()).then_some(Delta::Record { path, id, before, after })
        }
        delta => Some(delta.clone()),
    });
    Cow::Owned(kept.collect())
}

/// The differences the other way round; in the same order, as keys come before those below them both ways.
fn reversed(deltas: Vec<Delta>) -> Vec<Delta> {
    let reverse = |delta| match delta {
        Delta::KeyCreated(path) => Delta::KeyDeleted(path),
        Delta::KeyDeleted(path) => Delta::KeyCreated(path),
        Delta::Record { path, id, before, after } => Delta::Record { path, id, before: after, after: before },
    };
    deltas.into_iter().map(reverse).collect()
}
