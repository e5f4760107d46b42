//! The disk under the store.
//!
//! What may break: a commit takes long; it fails for want of room, or for another reason, and the batch is not there, or *is*
//! there all the same (a sync that failed may have written); the machine dies before a batch is applied, or after it was and
//! before anyone heard; a draft's file cannot be written. After a failure everything asked of the store fails until it was
//! opened anew. What was acknowledged is never lost: a disk that forgets what it synced is beyond any program.

use super::dice::Dice;
use postroad_engine::delivery::AttemptId;
use postroad_engine::queue::LoadToken;
use postroad_mail::id::MessageId;
use postroad_spool::memory::MemoryStore;
use postroad_spool::record::{Committed, Content, DraftId, Load, Loaded, Record};
use postroad_spool::{Store, StoreError};
use std::collections::{BTreeMap, VecDeque};

/// What is asked of the store's thread, done in this order.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Commit(Vec<Record>),
    Load(LoadToken, Load),
    /// Content for an attempt.
    Read(AttemptId, MessageId, u64, usize),
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    Committed(Committed),
    Loaded(LoadToken, Option<Loaded>),
    Read(AttemptId, Result<Vec<u8>, String>),
    /// The batch comes back. The store is down.
    Failed {
        batch: Vec<Record>,
        full: bool,
    },
}

/// How a commit goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Full,
    FailedUnwritten,
    FailedWritten,
    DiesBefore,
    DiesAfter,
}

pub(super) struct Disk {
    pub(super) store: MemoryStore,
    pub(super) ops: VecDeque<Op>,
    pub(super) up: bool,
    /// A failed commit was there all the same.
    pub(super) kept_a_failed_batch: bool,
    /// And the service died later, maybe before it had seen to it: clients that were refused may find their mail delivered.
    pub(super) kept_and_died: bool,
    drafts: BTreeMap<DraftId, Vec<u8>>,
    /// Of its commits, in a thousand, go wrong.
    pub(super) faults_per_mille: u64,
    /// Every commit fails for want of room.
    pub(super) full: bool,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            ops: VecDeque::new(),
            up: true,
            kept_a_failed_batch: false,
            kept_and_died: false,
            drafts: BTreeMap::new(),
            faults_per_mille: 0,
            full: false,
        }
    }

    pub(super) fn heal(&mut self) {
        self.faults_per_mille = 0;
        self.full = false;
    }

    /// The service is gone: what was on its way to the disk is lost.
    pub(super) fn crash(&mut self) {
        self.kept_and_died |= self.kept_a_failed_batch;
        self.ops.clear();
    }

    /// The service opens the store as it starts: drafts that it left are swept.
    pub(super) fn open(&mut self) {
        self.up = true;
        self.drafts.clear();
        self.store.drop_drafts();
    }

    pub(super) fn spill(&mut self, draft: DraftId, octets: &[u8]) {
        self.drafts.entry(draft).or_default().extend_from_slice(octets);
    }

    pub(super) fn drop_draft(&mut self, draft: DraftId) {
        self.drafts.remove(&draft);
    }

    /// How the commit at hand goes.
    pub(super) fn fate(&self, dice: &mut Dice) -> Fate {
        if self.full {
            return Fate::Full;
        }
        if !dice.chance(self.faults_per_mille) {
            return Fate::Done;
        }
        *dice.pick(&[
            Fate::Full,
            Fate::FailedUnwritten,
            Fate::FailedWritten,
            Fate::DiesBefore,
            Fate::DiesAfter,
        ])
    }

    /// Applies a batch.
    pub(super) fn apply(&mut self, batch: &[Record]) -> Result<Committed, StoreError> {
        for record in batch {
            if let Record::Accept { content: Content::Draft(draft), .. } = record
                && let Some(octets) = self.drafts.remove(draft)
            {
                self.store.put_draft(*draft, octets);
            }
        }
        self.store.commit(batch)
    }

    /// Answers a question.
    pub(super) fn answer(&mut self, load: &Load) -> Option<Loaded> {
        self.store.load(load).ok()
    }

    pub(super) fn content(&mut self, id: MessageId, offset: u64, len: usize) -> Result<Vec<u8>, String> {
        match self.store.load(&Load::Content { id, offset, len }) {
            Ok(Loaded::Content(Some(octets))) => Ok(octets),
            Ok(_) => Err(String::from("the message is not in the spool")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Everything that waits fails, and the store is down.
    pub(super) fn fail(&mut self, full: bool) -> Vec<Done> {
        self.up = false;
        let mut batch = Vec::new();
        let mut done = Vec::new();
        for op in std::mem::take(&mut self.ops) {
            match op {
                Op::Commit(records) => batch = records,
                Op::Load(token, _) => done.push(Done::Loaded(token, None)),
                Op::Read(attempt, ..) => {
                    done.push(Done::Read(attempt, Err(String::from("the spool is down"))))
                }
            }
        }
        done.push(Done::Failed { batch, full });
        done
    }
}
