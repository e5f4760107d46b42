//! The tree in memory, and what of it is written.

use super::{
    AUTHOR_MAX, Act, Change, Commit, HISTORY_MAX, Loaded, PAGE_MAX, Past, Pending, Pinned, Store, StoreError,
    cut, fault,
};
use crate::path::KeyPath;
use crate::record::{Record, VOLATILE};
use crate::text::Pin;
use crate::tree::{Delta, Op, Tree, steps};
use postroad_mail::time::Wall;
use std::borrow::Cow;

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
    /// The store failed, and it is not known what it has kept.
    failed: bool,
}

impl<S: Store> Metabase<S> {
    /// Reads all that a store keeps.
    ///
    /// # Errors
    /// What is there cannot be read; nothing is changed.
    pub fn open(mut store: S) -> Result<Self, StoreError> {
        let Loaded { tree, generation, oldest, pending, pinned } = store.load()?;
        let pending = waiting(&mut store, pending)?;
        Ok(Self { store, tree, generation, oldest, history_max: HISTORY_MAX, pending, pinned, failed: false })
    }

    /// Whether the store failed and is to be opened again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Opens a store again that failed. Where the disk has kept the change that failed, it is made then, which the
    /// generation shows; VOLATILE records are as they were before it.
    ///
    /// # Errors
    /// It cannot be opened; all is as it was.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        let Loaded { tree, generation, oldest, pending, pinned } = self.store.reopen()?;
        self.pending = match pending {
            Some(known) if self.pending() == Some(known) => self.pending.take(),
            other => waiting(&mut self.store, other)?,
        };
        if generation != self.generation {
            let gone = std::mem::replace(&mut self.tree, tree);
            for delta in self.tree.diff(&gone) {
                if let Delta::Record { path, after: Some(record), .. } = delta
                    && record.has(VOLATILE)
                {
                    // Its key may be gone.
                    let _ = self.tree.step(&Op::Set(path, record));
                }
            }
        }
        (self.generation, self.oldest, self.pinned) = (generation, oldest, pinned);
        self.failed = false;
        Ok(())
    }

    /// Notes whether the store failed.
    fn noted(&mut self, written: Result<(), StoreError>) -> Result<(), StoreError> {
        self.failed |= written.is_err();
        written
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
                self.end_wait(None)?;
            }
            return Ok(self.generation);
        }
        let generation = self.generation + 1;
        let change = &change.cut();
        let made = change.confirm_until.map(|until| Pending { generation, until });
        let pending = made.or(waiting);
        let forget = self.forget(generation, pending);
        let stable = stable(&deltas);
        let commit = Commit { generation, change, deltas: &stable, pending, forget, pinned: None };
        let written = self.store.commit(&commit);
        self.noted(written)?;
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

    /// The records that the change which waits has set, VOLATILE ones too while this process lives.
    pub fn pending_records(&self) -> impl Iterator<Item = (&KeyPath, u32)> {
        let deltas = self.pending.iter().flat_map(|(_, deltas)| deltas);
        deltas.filter_map(|delta| match delta {
            Delta::Record { path, id, .. } => Some((path, *id)),
            Delta::KeyCreated(_) | Delta::KeyDeleted(_) => None,
        })
    }

    /// Keeps the change that waits, and who decided that, cut to `AUTHOR_MAX` characters; its number, if there is one.
    ///
    /// # Errors
    /// As for `commit`.
    pub fn confirm(&mut self, by: &str, at: Wall) -> Result<Option<u64>, StoreError> {
        self.end_wait(Some((at, &cut(by, AUTHOR_MAX))))
    }

    /// Nothing is left to wait for: what the change that waits did was put back by hand.
    ///
    /// # Errors
    /// As for `commit`.
    pub fn drop_wait(&mut self) -> Result<(), StoreError> {
        self.end_wait(None).map(|_| ())
    }

    fn end_wait(&mut self, confirmed: Option<(Wall, &str)>) -> Result<Option<u64>, StoreError> {
        let Some(pending) = self.pending() else { return Ok(None) };
        let written = self.store.confirm(confirmed);
        self.noted(written)?;
        self.pending = None;
        Ok(Some(pending.generation))
    }

    /// What the last start has pinned.
    #[must_use]
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    /// Remembers what a start pins. Other values than the last one pinned are a change, without differences of the tree, as
    /// other settings hold then. Returns the generation.
    ///
    /// # Errors
    /// As for `commit`.
    pub fn pin(&mut self, pinned: Pinned, change: &Change) -> Result<u64, StoreError> {
        let known = |pin: Pin| Pin::known(pin.path, pin.record, pin.line);
        let pinned = Pinned { pins: pinned.pins.into_iter().map(known).collect(), ..pinned };
        if self.pinned == pinned {
            return Ok(self.generation);
        }
        if self.pinned.says_the_same(&pinned) {
            let written = self.store.pin(&pinned);
            self.noted(written)?;
        } else {
            let (generation, pending) = (self.generation + 1, self.pending());
            let forget = self.forget(generation, pending);
            let change = &change.cut();
            let commit = Commit { generation, change, deltas: &[], pending, forget, pinned: Some(&pinned) };
            let written = self.store.commit(&commit);
            self.noted(written)?;
            self.generation = generation;
            self.oldest = self.oldest.max(forget + 1);
        }
        self.pinned = pinned;
        Ok(self.generation)
    }

    /// Up to where history goes with a change: the differences of the one that waits are needed to undo it.
    fn forget(&self, generation: u64, pending: Option<Pending>) -> u64 {
        let kept = pending.map_or(generation, |pending| pending.generation);
        generation.saturating_sub(self.history_max).min(kept - 1)
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

/// The change that waits, with its differences as the disk has them.
fn waiting(
    store: &mut impl Store,
    pending: Option<Pending>,
) -> Result<Option<(Pending, Vec<Delta>)>, StoreError> {
    let Some(pending) = pending else { return Ok(None) };
    let past = store.past(pending.generation)?;
    Ok(Some((pending, past.map_or_else(Vec::new, |past| past.deltas))))
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
