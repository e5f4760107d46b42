//! The fixed script, and what a store has to look like after each of its batches.

use crate::common::{Act, Batch, Survey, Writer, batches, survey};
use postroad_mail::id::MessageId;
use postroad_spool::memory::MemoryStore;
use postroad_spool::sqlite::{SqliteStore, draft_path};
use postroad_spool::{Store, StoreError};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

pub struct Script {
    batches: Vec<Batch>,
    /// After no batch, after one, and so on; most children do not need it.
    states: OnceLock<Vec<Survey>>,
    ids: Vec<MessageId>,
}

impl Script {
    pub fn new() -> Self {
        let mut writer = Writer::default();
        let batches = acts().iter().map(|acts| writer.batch(acts)).collect();
        Self { batches, states: OnceLock::new(), ids: writer.ids() }
    }

    fn states(&self) -> &[Survey] {
        self.states.get_or_init(|| {
            let mut model = MemoryStore::new();
            let mut states = vec![look(&mut model, &self.ids)];
            for Batch { records, drafts } in &self.batches {
                for (draft, octets) in drafts {
                    model.put_draft(*draft, octets.clone());
                }
                model.commit(records).unwrap();
                states.push(look(&mut model, &self.ids));
            }
            states
        })
    }

    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Commits a batch of the script, after writing its drafts as the shell does.
    pub fn commit(&self, at: usize, dir: &Path, store: &mut SqliteStore) -> Result<(), StoreError> {
        let Batch { records, drafts } = &self.batches[at];
        for (draft, octets) in drafts {
            fs::write(draft_path(dir, *draft), octets).unwrap();
        }
        store.commit(records).map(|_| ())
    }

    pub fn is_at(&self, store: &mut SqliteStore, done: usize) -> bool {
        self.states().get(done).is_some_and(|state| *state == look(store, &self.ids))
    }

    /// How many batches the store has, of which `told` are known to be there.
    pub fn done(&self, store: &mut SqliteStore, told: usize, what: &str) -> usize {
        let found = look(store, &self.ids);
        let done =
            (told..=told + 1).find(|done| self.states().get(*done).is_some_and(|state| *state == found));
        done.unwrap_or_else(|| {
            let nearest = self.states().iter().position(|state| *state == found);
            panic!("{what}: {told} batches were told, and the store is as after {nearest:?}")
        })
    }
}

fn look(store: &mut dyn Store, ids: &[MessageId]) -> Survey {
    survey(store, ids, 1_000, u64::MAX)
}

/// Some that anything may be in, and for each way of keeping content a message that comes and goes.
fn acts() -> Vec<Vec<Act>> {
    let any = |count| batches(count..count + 1).new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let accept = |size, draft| Act::Accept { hops: vec![0, 1], size, draft };
    let mut acts = vec![
        vec![accept(100, false), accept(5 << 20, true)],
        vec![accept(40_000, false), accept(70_000, true)],
        vec![accept(5 << 20, false), Act::Divide { pick: 1, pending: vec![(2, 1), (3, 2)] }],
        vec![accept(5_000, true), Act::Settle { pick: 1 }, accept((4 << 20) + 1, true)],
        vec![Act::Settle { pick: 1 }, Act::Settle { pick: 1 }, accept(90_000, false)],
    ];
    // What comes and goes as it should: these never ask what is in the tables.
    for pick in [0, 1, 2, 0, 3, 1] {
        let entry = Act::Journal { pick: Some(pick), hop: 0, day: 0, len: 100 };
        acts.push(vec![
            accept(3_000, false),
            Act::Waiting { hop: 0, delta: 2 },
            Act::Settle { pick },
            Act::Waiting { hop: 1, delta: -1 },
            entry,
        ]);
    }
    acts.extend(any(7));
    acts
}
