//! A store that is opened again, and whose history cannot be read then.

use crate::common::{path, text};
use crate::waiting;
use postroad_mail::time::Wall;
use postroad_metabase::path::KeyPath;
use postroad_metabase::store::memory::{Crash, MemoryStore};
use postroad_metabase::store::{Act, Change, Commit, Loaded, Metabase, Past, Pinned, Store, StoreError};
use postroad_metabase::tree::Op;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The disk gives what is loaded and, while `is_unread`, not the history: a change that was in flight is seen, and what it
/// did is not. The write fails and is kept, as a disk may do that tells of a failure too late.
struct Unread {
    inner: MemoryStore,
    is_unread: Arc<AtomicBool>,
}

impl Store for Unread {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        self.inner.load()
    }

    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StoreError> {
        if self.is_unread.load(Ordering::Relaxed) {
            self.inner.crash_next(Crash::Keeps);
        }
        self.inner.commit(commit)
    }

    fn confirm(&mut self, confirmed: Option<(Wall, &str)>) -> Result<(), StoreError> {
        self.inner.confirm(confirmed)
    }

    fn pin(&mut self, pinned: &Pinned) -> Result<(), StoreError> {
        self.inner.pin(pinned)
    }

    fn reopen(&mut self) -> Result<Loaded, StoreError> {
        self.inner.reopen()
    }

    fn past(&mut self, generation: u64) -> Result<Option<Past>, StoreError> {
        if self.is_unread.load(Ordering::Relaxed) {
            return Err(StoreError::Failed("the history cannot be read".into()));
        }
        self.inner.past(generation)
    }

    fn history(&mut self, limit: usize, before: Option<u64>) -> Result<Vec<Past>, StoreError> {
        self.inner.history(limit, before)
    }

    fn history_of(&mut self, path: &KeyPath, id: u32, limit: usize) -> Result<Vec<Past>, StoreError> {
        self.inner.history_of(path, id, limit)
    }
}

#[test]
fn what_waits_is_kept_where_it_cannot_be_opened_again() {
    let is_unread = Arc::new(AtomicBool::new(false));
    let store = Unread { inner: MemoryStore::new(), is_unread: Arc::clone(&is_unread) };
    let mut metabase = Metabase::open(store).unwrap();
    let commit = |metabase: &mut Metabase<Unread>, value: &str, change: &Change, act| {
        let after = metabase.tree().apply(&[Op::Set(path("/LM"), text(1, value))]).unwrap();
        metabase.commit(&after, change, act)
    };
    commit(&mut metabase, "first", &waiting("first"), Act::Change).unwrap();
    let first = metabase.pending();
    // Another one takes its place on the disk, and nobody is told.
    is_unread.store(true, Ordering::Relaxed);
    commit(&mut metabase, "second", &waiting("second"), Act::Undo).unwrap_err();
    metabase.reopen().unwrap_err();
    assert_eq!((metabase.pending(), metabase.generation()), (first, 1), "all is as it was");
    is_unread.store(false, Ordering::Relaxed);
    metabase.reopen().unwrap();
    assert_eq!(metabase.pending().map(|pending| pending.generation), Some(2));
    assert!(metabase.undone().unwrap().record(&path("/LM"), 1).is_some());
}
