//! What is in force: the tree and what was compiled of it, published as one value, so that nobody sees a half of a change.

use crate::settings::Settings;
use crate::tree::Tree;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// A tree and the settings compiled of it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The change that made the tree.
    pub generation: u64,
    /// The tree.
    pub tree: Tree,
    /// Its settings.
    pub settings: Arc<Settings>,
}

/// The place where the newest snapshot stands: one writes, any number read without waiting.
#[derive(Debug)]
pub struct Published {
    snapshot: ArcSwap<Snapshot>,
}

impl Published {
    /// A place with a first snapshot.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot) }
    }

    /// The newest. Whoever does one thing, a session's command, takes it once, so that it keeps to one generation.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a newer one in its place.
    pub fn store(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }
}
