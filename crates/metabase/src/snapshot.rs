//! A snapshot of what is in force: the settings compiled of a tree, published as one value, so that nobody sees a half of a change.

use crate::settings::Settings;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The place where the newest settings stand: one writes, any number read without waiting.
#[derive(Debug)]
pub struct Published {
    settings: ArcSwap<Settings>,
}

impl Published {
    /// A place with the first settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: ArcSwap::from_pointee(settings) }
    }

    /// The newest. Whoever does one thing, a session's command, takes them once, so that it keeps to one generation.
    #[must_use]
    pub fn load(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Puts newer ones in their place.
    pub fn store(&self, settings: Arc<Settings>) {
        self.settings.store(settings);
    }
}
