//! The metabase on both engines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod random;
mod reopening;
mod suite;

use postroad_mail::time::Wall;
use postroad_metabase::store::memory::MemoryStore;
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Change, Metabase, Seal, Store};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn open(file: &Path) -> SqliteStore {
    SqliteStore::open(file, Seal::new(KEY)).unwrap()
}

/// A folder in memory, where there is such a place, since nothing here depends on the disk but the time.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("metabase.db")
}

/// Ways to have a store, and to have it again as a process does that starts.
pub(crate) trait Engine {
    type Store: Store;
    fn start(&mut self) -> Metabase<Self::Store>;
    fn again(&mut self, old: Metabase<Self::Store>) -> Metabase<Self::Store>;
}

pub(crate) struct Memory;

impl Engine for Memory {
    type Store = MemoryStore;

    fn start(&mut self) -> Metabase<MemoryStore> {
        Metabase::open(MemoryStore::new()).unwrap()
    }

    fn again(&mut self, old: Metabase<MemoryStore>) -> Metabase<MemoryStore> {
        Metabase::open(old.into_store().reopened()).unwrap()
    }
}

pub(crate) struct Disk(pub TempDir);

impl Engine for Disk {
    type Store = SqliteStore;

    fn start(&mut self) -> Metabase<SqliteStore> {
        Metabase::open(open(&file_in(&self.0))).unwrap()
    }

    fn again(&mut self, old: Metabase<SqliteStore>) -> Metabase<SqliteStore> {
        drop(old);
        self.start()
    }
}

pub(crate) fn change(reason: &str) -> Change {
    Change { at: Wall(1_795_590_028_000), author: "root".into(), reason: reason.into(), confirm_until: None }
}

pub(crate) fn waiting(reason: &str) -> Change {
    Change { confirm_until: Some(Wall(1_795_590_328_000)), ..change(reason) }
}
