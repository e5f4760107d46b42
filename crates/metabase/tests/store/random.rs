//! Random changes, with crashes.

use crate::common::{after, any_op, kept};
use crate::{Disk, Engine, change, file_in, folder, open, waiting};
use postroad_mail::time::Wall;
use postroad_metabase::backup::{self, Backup, Keys};
use postroad_metabase::record::Record;
use postroad_metabase::store::memory::{Crash, MemoryStore};
use postroad_metabase::store::{Act, Change, Metabase, Pending, Store};
use postroad_metabase::tree::{Op, Tree};
use postroad_metabase::xml;
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
    /// A MetaBase.xml of the tree that these steps make.
    Import(Vec<Op>),
    /// A backup of the generation that is so many hundredths of the newest; it waits until it is confirmed.
    Restore(u64),
    Undo,
    Confirm,
    Reopen,
    Crash(Cut, Box<Deed>),
}

/// Which write of a deed a crash cuts, and whether it is kept.
#[derive(Clone, Copy, Debug)]
struct Cut {
    keeps: bool,
    /// The second, by which a restore is confirmed.
    is_second: bool,
}

fn deed() -> impl Strategy<Value = Deed> {
    let ops = || prop::collection::vec(any_op(), 1..6);
    prop_oneof![
        12 => ops().prop_map(Deed::Steps),
        2 => ops().prop_map(Deed::Waiting),
        2 => (0u64..=100).prop_map(Deed::Rollback),
        2 => ops().prop_map(Deed::Import),
        2 => (0u64..=100).prop_map(Deed::Restore),
        1 => Just(Deed::Undo),
        1 => Just(Deed::Confirm),
        1 => Just(Deed::Reopen),
        4 => crash_of_any(),
    ]
}

fn crash_of_any() -> impl Strategy<Value = Deed> {
    let ops = || prop::collection::vec(any_op(), 1..6);
    let deed = prop_oneof![
        ops().prop_map(Deed::Steps),
        ops().prop_map(Deed::Import),
        (0u64..=100).prop_map(Deed::Restore),
    ];
    let cut = any::<(bool, bool)>().prop_map(|(keeps, is_second)| Cut { keeps, is_second });
    (cut, deed).prop_map(|(cut, deed)| Deed::Crash(cut, Box::new(deed)))
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
    let past = |metabase: &mut Metabase<S>, hundredths: u64| {
        let generation = metabase.generation() * hundredths / 100;
        metabase.tree_at(generation).unwrap()
    };
    match deed {
        Deed::Steps(ops) | Deed::Waiting(ops) => Some(after(metabase.tree(), ops)),
        Deed::Rollback(hundredths) => Some(past(metabase, *hundredths)),
        Deed::Import(ops) => {
            let facts = xml::Facts { generation: 1, history: 1, schema_time: 0 };
            let text = xml::write(&after(&Tree::new(), ops), &facts);
            let taken = xml::take(text.as_bytes(), "MetaBase.xml", metabase.tree()).unwrap();
            Some(metabase.tree().apply(&taken.ops).unwrap())
        }
        Deed::Restore(hundredths) => {
            let (name, tree) = ("random".parse().unwrap(), past(metabase, *hundredths));
            let made = Backup { name, version: 0, at: Wall(0), generation: 1, tree };
            let keys = Keys { password: None, machine: &crate::KEY };
            let octets = backup::encode(&made, &keys, [1; 16]).unwrap();
            Some(backup::verify(&octets, &keys, Some(&made.tree)).unwrap().tree)
        }
        Deed::Undo => metabase.undone(),
        Deed::Confirm | Deed::Reopen | Deed::Crash(..) => None,
    }
}

/// How a deed is committed.
fn manner<S: Store>(metabase: &Metabase<S>, deed: &Deed) -> (Change, Act) {
    match deed {
        Deed::Restore(_) => (waiting("restore"), Act::Undo),
        Deed::Undo => (change("random"), Act::Undo),
        Deed::Waiting(_) if metabase.pending().is_none() => (waiting("random"), Act::Change),
        _ => (change("random"), Act::Change),
    }
}

fn act<S: Store>(metabase: &mut Metabase<S>, deed: &Deed) {
    if let Deed::Confirm = deed {
        metabase.confirm("amy", Wall(1)).unwrap();
    }
    let Some(tree) = wanted(metabase, deed) else { return };
    let (change, act) = manner(metabase, deed);
    metabase.commit(&tree, &change, act).unwrap();
    assert_eq!(metabase.tree().diff(&tree), []);
    if let Deed::Restore(_) = deed {
        metabase.confirm("amy", Wall(1)).unwrap();
    }
}

/// Does a deed on a store that crashes at one of its writes. What is found is all there was before that write or all that
/// is after it.
fn crash(
    mut metabase: Metabase<MemoryStore>,
    cut: Cut,
    deed: &Deed,
    told: &mut Told,
) -> Metabase<MemoryStore> {
    let tree = wanted(&mut metabase, deed).unwrap();
    let (change, act) = manner(&metabase, deed);
    let is_second = cut.is_second && matches!(deed, Deed::Restore(_));
    if is_second {
        metabase.commit(&tree, &change, act).unwrap();
        told.note(&metabase);
    }
    let (before, generation, pending) = (metabase.tree().clone(), metabase.generation(), metabase.pending());
    let mut store = metabase.into_store();
    store.crash_next(if cut.keeps { Crash::Keeps } else { Crash::Loses });
    let mut metabase = Metabase::open(store).unwrap();
    // Also where only VOLATILE records do, which are a change and are not kept.
    let differs = u64::from(!metabase.tree().diff(&tree).is_empty());
    let crashed = match is_second {
        true => metabase.confirm("amy", Wall(1)).is_err(),
        false => metabase.commit(&tree, &change, act).is_err(),
    };
    assert_eq!((metabase.generation(), kept(metabase.tree())), (generation, kept(&before)));
    if crashed {
        let never = after(&tree, &[Op::Create(crate::common::path("/never"))]);
        assert!(metabase.commit(&never, &crate::change(""), Act::Change).is_err());
    }
    let metabase = Metabase::open(metabase.into_store().reopened()).unwrap();
    if crashed && cut.keeps {
        assert_eq!(
            (metabase.generation(), fold(&kept(metabase.tree()))),
            (generation + differs, fold(&kept(&tree)))
        );
        let waits = matches!(deed, Deed::Restore(_)) && !is_second && differs == 1;
        let ended = act == Act::Undo;
        assert_eq!(metabase.pending().is_some(), waits || (!ended && pending.is_some()));
        told.note(&metabase);
    }
    metabase
}

/// Does one thing, with a crash or without.
fn live(mut metabase: Metabase<MemoryStore>, deed: &Deed, told: &mut Told) -> Metabase<MemoryStore> {
    match deed {
        Deed::Crash(cut, deed) => return crash(metabase, *cut, deed, told),
        Deed::Reopen => metabase = Metabase::open(metabase.into_store().reopened()).unwrap(),
        deed => {
            act(&mut metabase, deed);
            told.note(&metabase);
        }
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
            metabase = live(metabase, deed, &mut told);
            told.check(&mut metabase);
        }
        told.check_history(&mut metabase);
    }
}

/// A thousand crashes in one long life: of changes, imports and restores, lost and kept, with others between them.
#[test]
fn a_thousand_changes_imports_and_restores_crash() {
    let mut runner = TestRunner::deterministic();
    let mut metabase = Metabase::open(MemoryStore::new()).unwrap();
    let mut told = Told::new();
    let mut crashes = [0; 3];
    while crashes.iter().sum::<u32>() < 1000 {
        for deed in [
            crash_of_any().new_tree(&mut runner).unwrap().current(),
            deed().new_tree(&mut runner).unwrap().current(),
        ] {
            if let Deed::Crash(_, cut) = &deed {
                let kind = match **cut {
                    Deed::Import(_) => 1,
                    Deed::Restore(_) => 2,
                    _ => 0,
                };
                crashes[kind] += 1;
            }
            metabase = live(metabase, &deed, &mut told);
            told.check(&mut metabase);
        }
    }
    assert!(crashes.iter().all(|count| *count > 200), "changes, imports, restores: {crashes:?}");
    told.check_history(&mut metabase);
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
        if let Deed::Crash(..) = deed {
            continue;
        }
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

#[test]
fn a_store_that_failed_is_opened_again_and_shows_what_it_kept() {
    for crash in [Crash::Loses, Crash::Keeps] {
        let mut store = MemoryStore::new();
        store.crash_next(crash);
        let mut metabase = Metabase::open(store).unwrap();
        let path = crate::common::path("/LM");
        let wanted = metabase.tree().apply(&[Op::Create(path)]).unwrap();
        metabase.commit(&wanted, &change("fails"), Act::Change).unwrap_err();
        metabase.commit(&wanted, &change("refused"), Act::Change).unwrap_err();
        assert!(metabase.has_failed());
        metabase.reopen().unwrap();
        let is_kept = crash == Crash::Keeps;
        assert_eq!(
            (metabase.generation(), kept(metabase.tree()) == kept(&wanted)),
            (u64::from(is_kept), is_kept)
        );
        metabase.commit(&Tree::new(), &change("goes on"), Act::Change).unwrap();
        metabase.commit(&wanted, &change("goes on"), Act::Change).unwrap();
        assert_eq!(kept(metabase.tree()), kept(&wanted));
    }
}
