//! Random changes, with crashes.

use crate::common::{after, any_op, kept};
use crate::{Disk, Engine, change, file_in, folder, open, waiting};
use postroad_metabase::record::Record;
use postroad_metabase::store::memory::{Crash, MemoryStore};
use postroad_metabase::store::{Act, Metabase, Pending, Store};
use postroad_metabase::tree::{Op, Tree};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[derive(Clone, Debug)]
enum Deed {
    Steps(Vec<Op>),
    Waiting(Vec<Op>),
    /// To the generation that is so many hundredths of the newest.
    Rollback(u64),
    Undo,
    Confirm,
    Reopen,
    Crash(bool, Vec<Op>),
}

fn deed() -> impl Strategy<Value = Deed> {
    let ops = || prop::collection::vec(any_op(), 1..6);
    prop_oneof![
        12 => ops().prop_map(Deed::Steps),
        2 => ops().prop_map(Deed::Waiting),
        2 => (0u64..=100).prop_map(Deed::Rollback),
        1 => Just(Deed::Undo),
        1 => Just(Deed::Confirm),
        1 => Just(Deed::Reopen),
        2 => (any::<bool>(), ops()).prop_map(|(keeps, ops)| Deed::Crash(keeps, ops)),
    ]
}

type Kept = BTreeMap<String, Vec<Record>>;

/// What is kept after each generation, from the empty tree on.
struct Told {
    states: Vec<Kept>,
    pending: Option<Pending>,
}

impl Told {
    fn new() -> Self {
        Self { states: vec![kept(&Tree::new())], pending: None }
    }

    /// A change was made, or none was to be.
    fn note<S: Store>(&mut self, metabase: &Metabase<S>) {
        let generation = usize::try_from(metabase.generation()).unwrap();
        self.states.truncate(generation);
        self.states.push(kept(metabase.tree()));
        self.pending = metabase.pending();
    }

    fn check<S: Store>(&self, metabase: &mut Metabase<S>) {
        let newest = self.states.len() as u64 - 1;
        assert_eq!((metabase.generation(), metabase.pending()), (newest, self.pending));
        assert_eq!(kept(metabase.tree()), self.states[newest as usize]);
        assert_eq!(metabase.tree().keys(), metabase.tree().walk().count());
    }

    fn check_history<S: Store>(&self, metabase: &mut Metabase<S>) {
        self.check(metabase);
        // Each is undone from the newest, so of a long history only some.
        let step = self.states.len().div_ceil(40);
        for (generation, state) in self.states.iter().enumerate().step_by(step) {
            assert_eq!(
                fold(&kept(&metabase.tree_at(generation as u64).unwrap())),
                fold(state),
                "{generation}"
            );
        }
    }
}

/// A key that is made again by going back has the name it had then, or later.
fn fold(state: &Kept) -> Kept {
    state.iter().map(|(path, records)| (path.to_lowercase(), records.clone())).collect()
}

/// The tree a deed makes, the change and the act; none where it is no change.
fn wanted<S: Store>(metabase: &mut Metabase<S>, deed: &Deed) -> Option<Tree> {
    match deed {
        Deed::Steps(ops) | Deed::Waiting(ops) | Deed::Crash(_, ops) => Some(after(metabase.tree(), ops)),
        Deed::Rollback(hundredths) => {
            let generation = metabase.generation() * hundredths / 100;
            Some(metabase.tree_at(generation).unwrap())
        }
        Deed::Undo => metabase.undone(),
        Deed::Confirm | Deed::Reopen => None,
    }
}

fn act<S: Store>(metabase: &mut Metabase<S>, deed: &Deed) {
    if let Deed::Confirm = deed {
        metabase.confirm().unwrap();
    }
    let Some(tree) = wanted(metabase, deed) else { return };
    let is_waiting = matches!(deed, Deed::Waiting(_)) && metabase.pending().is_none();
    let change = if is_waiting { waiting("random") } else { change("random") };
    let act = if matches!(deed, Deed::Undo) { Act::Undo } else { Act::Change };
    metabase.commit(&tree, &change, act).unwrap();
    assert_eq!(metabase.tree().diff(&tree), []);
}

fn crash(
    mut metabase: Metabase<MemoryStore>,
    keeps: bool,
    deed: &Deed,
    told: &mut Told,
) -> Metabase<MemoryStore> {
    let tree = wanted(&mut metabase, deed).unwrap();
    let (before, generation) = (metabase.tree().clone(), metabase.generation());
    let mut store = metabase.into_store();
    store.crash_next(if keeps { Crash::Keeps } else { Crash::Loses });
    let mut metabase = Metabase::open(store).unwrap();
    let crashed = metabase.commit(&tree, &change("crashes"), Act::Change).is_err();
    assert_eq!((metabase.generation(), kept(metabase.tree())), (generation, kept(&before)));
    if crashed {
        assert!(
            metabase
                .commit(&after(&tree, &[Op::Create(crate::common::path("/never"))]), &change(""), Act::Change)
                .is_err()
        );
    }
    let metabase = Metabase::open(metabase.into_store().reopened()).unwrap();
    if crashed && keeps {
        assert_eq!(
            (metabase.generation(), fold(&kept(metabase.tree()))),
            (generation + 1, fold(&kept(&tree)))
        );
        told.note(&metabase);
    }
    metabase
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_before_or_after(deeds in prop::collection::vec(deed(), 1..40)) {
        let mut metabase = Metabase::open(MemoryStore::new()).unwrap();
        let mut told = Told::new();
        for deed in &deeds {
            match deed {
                Deed::Crash(keeps, _) => metabase = crash(metabase, *keeps, deed, &mut told),
                Deed::Reopen => metabase = Metabase::open(metabase.into_store().reopened()).unwrap(),
                deed => {
                    act(&mut metabase, deed);
                    told.note(&metabase);
                }
            }
            told.check(&mut metabase);
        }
        told.check_history(&mut metabase);
    }
}

/// A thousand random changes on disk. Now and then the files are copied as a crash leaves them, the log cut somewhere in
/// the change that is in flight.
#[test]
fn a_thousand_changes_and_a_log_cut_anywhere() {
    let mut runner = TestRunner::deterministic();
    let mut disk = Disk(folder());
    let log = disk.0.path().join("metabase.db-wal");
    let mut metabase = disk.start();
    let mut told = Told::new();
    let (mut cuts, mut lost) = (0, 0);
    while told.states.len() <= 1000 {
        let deed = deed().new_tree(&mut runner).unwrap().current();
        if let Deed::Reopen = deed {
            metabase = disk.again(metabase);
            told.check(&mut metabase);
            continue;
        }
        let octets = || fs::metadata(&log).map_or(0, |log| log.len());
        let (from, before) = (octets(), (metabase.generation(), kept(metabase.tree())));
        act(&mut metabase, &deed);
        told.note(&metabase);
        let to = octets();
        if told.states.len().is_multiple_of(4) && to > from {
            let cut = from + (1..=to - from).new_tree(&mut runner).unwrap().current();
            let found = recovered(disk.0.path(), cut);
            let now = (metabase.generation(), kept(metabase.tree()));
            assert!(found == before || found == now, "cut at {cut} of {from} to {to}");
            cuts += 1;
            lost += u64::from(found == before && before != now);
        }
    }
    assert!(cuts > 100 && lost > 50, "{cuts} {lost}");
    told.check_history(&mut disk.again(metabase));
}

/// What opening makes of a copy of the files, the log cut.
fn recovered(dir: &Path, cut: u64) -> (u64, Kept) {
    let copy = folder();
    for name in ["metabase.db", "metabase.db-wal"] {
        fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    fs::File::options().write(true).open(copy.path().join("metabase.db-wal")).unwrap().set_len(cut).unwrap();
    let mut metabase = Metabase::open(open(&file_in(&copy))).unwrap();
    let newest = metabase.generation();
    if newest > 0 {
        assert!(metabase.past(newest).unwrap().is_some() && metabase.past(newest + 1).unwrap().is_none());
    }
    (newest, kept(metabase.tree()))
}
