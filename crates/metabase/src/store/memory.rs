//! The store of tests: values in memory, and a crash where one is wanted.
//!
//! What `commit` returned `Ok` for is kept. A crash takes the change in flight, or keeps it, whole either way, as a disk
//! does.

use super::{Commit, Loaded, PAGE_DELTAS_MAX, Past, Pinned, Store, StoreError};
use crate::path::KeyPath;
use crate::tree::{Delta, steps};
use postroad_mail::time::Wall;
use std::collections::BTreeMap;

/// The store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    kept: Loaded,
    changes: BTreeMap<u64, Past>,
    crash: Option<Crash>,
    crashed: bool,
}

/// What becomes of the change in flight at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// It is lost.
    Loses,
    /// It was kept, and nobody was told.
    Keeps,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next write crashes.
    pub fn crash_next(&mut self, crash: Crash) {
        self.crash = Some(crash);
    }

    /// As it is found after a crash, or after it was closed.
    #[must_use]
    pub fn reopened(self) -> Self {
        Self { crash: None, crashed: false, ..self }
    }

    /// Writes, unless there is a crash.
    fn write(&mut self, write: impl FnOnce(&mut Self) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let crashed = || StoreError::Failed("the store in memory crashed, as it was told to".into());
        if self.crashed {
            return Err(crashed());
        }
        let crash = self.crash.take();
        if crash != Some(Crash::Loses) {
            write(self)?;
        }
        self.crashed = crash.is_some();
        if self.crashed { Err(crashed()) } else { Ok(()) }
    }
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(self.kept.clone())
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        self.write(|store| {
            let Commit { generation, change, deltas, pending, forget, pinned } = *commit;
            let tree = store.kept.tree.apply(&steps(deltas.to_vec()));
            let tree = tree.map_err(|error| StoreError::Failed(error.to_string()))?;
            let oldest = store.kept.oldest.max(forget + 1);
            let pinned = pinned.unwrap_or(&store.kept.pinned).clone();
            store.kept = Loaded { tree, generation, oldest, pending, pinned };
            let past = Past {
                generation,
                at: change.at,
                author: change.author.clone(),
                reason: change.reason.clone(),
                confirm_until: change.confirm_until,
                confirmed: None,
                deltas: deltas.to_vec(),
                deltas_count: deltas.len() as u64,
            };
            store.changes.insert(generation, past);
            store.changes.retain(|generation, _| *generation > forget);
            Ok(())
        })
    }

    fn confirm(&mut self, confirmed: Option<(Wall, &str)>) -> Result<(), StoreError> {
        self.write(|store| {
            let waited = store.kept.pending.take();
            if let Some(past) = waited.and_then(|waited| store.changes.get_mut(&waited.generation)) {
                past.confirmed = confirmed.map(|(at, by)| (at, by.to_owned()));
            }
            Ok(())
        })
    }

    fn pin(&mut self, pinned: &Pinned) -> Result<(), StoreError> {
        self.write(|store| {
            store.kept.pinned = pinned.clone();
            Ok(())
        })
    }

    fn reopen(&mut self) -> Result<Loaded, StoreError> {
        (self.crash, self.crashed) = (None, false);
        self.load()
    }

    fn past(&mut self, generation: u64) -> Result<Option<Past>, StoreError> {
        Ok(self.changes.get(&generation).cloned())
    }

    fn history(&mut self, limit: usize, before: Option<u64>) -> Result<Vec<Past>, StoreError> {
        let newest = self.changes.range(..before.unwrap_or(u64::MAX)).rev().take(limit);
        let short = |past: &Past| {
            let deltas = past.deltas.iter().take(PAGE_DELTAS_MAX).cloned().collect();
            Past { deltas, ..past.clone() }
        };
        Ok(newest.map(|(_, past)| short(past)).collect())
    }

    fn history_of(&mut self, path: &KeyPath, id: u32, limit: usize) -> Result<Vec<Past>, StoreError> {
        let is_wanted = |delta: &&Delta| matches!(delta, Delta::Record { path: at, id: of, .. } if at == path && *of == id);
        let found = self.changes.values().rev().filter_map(|past| {
            let delta = past.deltas.iter().find(is_wanted)?;
            Some(Past { deltas: vec![delta.clone()], ..past.clone() })
        });
        Ok(found.take(limit).collect())
    }
}
