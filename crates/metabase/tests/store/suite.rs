//! What both engines do.

use crate::common::{kept, path, record, text};
use crate::{Disk, Engine, Memory, change, folder, waiting};
use postroad_mail::time::Wall;
use postroad_metabase::record::{Data, SECURE, VOLATILE};
use postroad_metabase::store::{
    Act, Change, Metabase, PAGE_DELTAS_MAX, Past, Pending, Pinned, Store, StoreError,
};
use postroad_metabase::text::pins;
use postroad_metabase::tree::{Delta, Op};

macro_rules! on_both {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn in_memory() {
                super::$name(super::Memory);
            }

            #[test]
            fn on_disk() {
                super::$name(super::Disk(super::folder()));
            }
        }
    )*};
}

on_both!(
    a_change_is_kept,
    without_a_difference_nothing_is_written,
    one_change_waits,
    an_undo_puts_back_what_the_change_touched,
    volatile_records_go_with_the_process,
    history_is_bounded,
    pages_are_bounded,
    a_record_has_its_history,
    a_key_keeps_its_name,
    what_a_start_pins_is_remembered
);

fn make<S: Store>(metabase: &mut Metabase<S>, ops: &[Op], change: &Change) -> u64 {
    let after = metabase.tree().apply(ops).unwrap();
    metabase.commit(&after, change, Act::Change).unwrap()
}

fn set(at: &str, id: u32, value: &str) -> Op {
    Op::Set(path(at), text(id, value))
}

fn a_change_is_kept(mut engine: impl Engine) {
    let mut metabase = engine.start();
    assert_eq!((metabase.generation(), metabase.tree().keys()), (0, 1));
    let all = [
        Op::Set(path("/"), record(1, 0, Data::Dword(u32::MAX))),
        Op::Set(path("/LM/SmtpSvc"), record(2, 0x41, Data::String("\u{e9} ".into()))),
        Op::Set(path("/LM/SmtpSvc"), record(3, SECURE, Data::MultiSz(vec!["".into(), "x\u{e9}".into()]))),
        Op::Set(path("/LM/SmtpSvc"), record(4, SECURE, Data::Binary(Vec::new()))),
        Op::Set(path("/LM/SmtpSvc"), record(5, 0, Data::Binary(vec![0, 255]))),
        Op::Set(path("/LM/SmtpSvc"), record(u32::MAX, SECURE, Data::ExpandSz("%X%".into()))),
        Op::Set(path("/LM/SmtpSvc"), record(6, 0, Data::MultiSz(Vec::new()))),
    ];
    let long = Change { author: "\u{e9}".repeat(300), ..change(&"r".repeat(5000)) };
    assert_eq!(make(&mut metabase, &all, &long), 1);
    assert_eq!(make(&mut metabase, &[Op::Delete(path("/LM")), set("/X", 1, "x")], &change("second")), 2);
    let (after, first) = (kept(metabase.tree()), kept(&metabase.tree_at(1).unwrap()));
    let mut metabase = engine.again(metabase);
    assert_eq!((metabase.generation(), kept(metabase.tree())), (2, after));
    assert_eq!(kept(&metabase.tree_at(1).unwrap()), first);
    assert_eq!(first["/LM/SmtpSvc"].len(), 6);
    assert_eq!(metabase.tree_at(0).unwrap().keys(), 1);
    let past = metabase.past(1).unwrap().unwrap();
    assert_eq!((past.author.chars().count(), past.reason.len()), (256, 4096));
    assert_eq!((past.at, past.confirm_until, past.deltas_count), (long.at, None, 9));
    let past = metabase.past(2).unwrap().unwrap();
    assert_eq!((past.reason.as_str(), past.deltas.len()), ("second", 10));
    assert_eq!(metabase.past(3), Ok(None));
    assert!(matches!(metabase.tree_at(3), Err(StoreError::Unknown { generation: 3, oldest: 0, newest: 2 })));
}

fn without_a_difference_nothing_is_written(mut engine: impl Engine) {
    let mut metabase = engine.start();
    make(&mut metabase, &[set("/LM", 1, "x")], &change("first"));
    assert_eq!(make(&mut metabase, &[set("/lm", 1, "x"), Op::Create(path("/LM"))], &waiting("same")), 1);
    assert_eq!(metabase.pending(), None);
    let mut metabase = engine.again(metabase);
    assert_eq!(metabase.history(10, None).unwrap().len(), 1);
}

fn one_change_waits(mut engine: impl Engine) {
    let mut metabase = engine.start();
    make(&mut metabase, &[set("/LM", 1, "a")], &change(""));
    make(&mut metabase, &[set("/LM", 1, "b")], &waiting(""));
    let pending = Pending { generation: 2, until: Wall(1_795_590_328_000) };
    assert_eq!(metabase.pending(), Some(pending));
    let after = metabase.tree().apply(&[set("/LM", 1, "c")]).unwrap();
    assert_eq!(metabase.commit(&after, &waiting(""), Act::Change), Err(StoreError::Pending(2)));
    make(&mut metabase, &[set("/LM", 2, "meanwhile")], &change(""));
    let mut metabase = engine.again(metabase);
    assert_eq!((metabase.generation(), metabase.pending()), (3, Some(pending)));
    assert_eq!(metabase.past(2).unwrap().unwrap().confirm_until, Some(pending.until));
    assert_eq!(metabase.confirm("amy", Wall(1)), Ok(Some(2)));
    assert_eq!(metabase.past(2).unwrap().unwrap().confirmed, Some((Wall(1), "amy".into())));
    assert_eq!((metabase.confirm("amy", Wall(1)), metabase.undone().is_none()), (Ok(None), true));
    let mut metabase = engine.again(metabase);
    assert_eq!(metabase.pending(), None);
    make(&mut metabase, &[set("/LM", 1, "d")], &waiting(""));
    let after = metabase.tree().apply(&[Op::Delete(path("/LM"))]).unwrap();
    assert_eq!(metabase.commit(&after, &waiting("replaces all"), Act::Undo), Ok(5));
    assert_eq!(metabase.pending().unwrap().generation, 5);
    // What waits has been undone by hand: its mark goes all the same.
    let undone = metabase.undone().unwrap();
    metabase.commit(&undone, &change("by hand"), Act::Change).unwrap();
    let undone = metabase.undone().unwrap();
    assert_eq!(metabase.commit(&undone, &change(""), Act::Undo), Ok(6));
    assert_eq!(engine.again(metabase).pending(), None);
}

fn an_undo_puts_back_what_the_change_touched(mut engine: impl Engine) {
    let mut metabase = engine.start();
    let first =
        [set("/LM/a", 1, "a"), set("/LM/b", 1, "b"), set("/LM/gone", 1, "gone"), set("/LM", 9, "kept")];
    make(&mut metabase, &first, &change(""));
    let before = kept(metabase.tree());
    let touched = [
        set("/LM/a", 1, "waits"),
        set("/LM/a", 2, "waits"),
        Op::Unset(path("/LM/b"), 1),
        Op::Delete(path("/LM/gone")),
        set("/LM/made", 1, "waits"),
    ];
    make(&mut metabase, &touched, &waiting(""));
    let later = [
        set("/LM", 8, "later"),
        Op::Unset(path("/LM/a"), 2),
        set("/LM/a", 1, "later"),
        set("/LM/made/below", 1, "later"),
        Op::Delete(path("/LM/b")),
    ];
    make(&mut metabase, &later, &change(""));
    let mut metabase = engine.again(metabase);
    let undone = metabase.undone().unwrap();
    assert_eq!(metabase.commit(&undone, &change("undo"), Act::Undo), Ok(4));
    assert_eq!((metabase.pending(), metabase.undone().is_none()), (None, true));
    let metabase = engine.again(metabase);
    let mut expected = before;
    expected.get_mut("/LM").unwrap().insert(0, text(8, "later"));
    assert_eq!((metabase.pending(), kept(metabase.tree())), (None, expected));
}

fn volatile_records_go_with_the_process(mut engine: impl Engine) {
    let mut metabase = engine.start();
    let volatile = |value: &str| Op::Set(path("/LM"), record(1, VOLATILE, Data::String(value.into())));
    make(&mut metabase, &[set("/LM", 1, "stays")], &change(""));
    assert_eq!(make(&mut metabase, &[volatile("one")], &waiting("")), 2);
    assert_eq!(make(&mut metabase, &[volatile("two"), set("/LM", 2, "x")], &change("")), 3);
    assert_eq!(metabase.tree().record(&path("/LM"), 1).unwrap().data, Data::String("two".into()));
    assert_eq!(metabase.undone().unwrap().record(&path("/LM"), 1), Some(&text(1, "stays")));
    let removed = Delta::Record { path: path("/LM"), id: 1, before: Some(text(1, "stays")), after: None };
    assert_eq!(metabase.past(2).unwrap().unwrap().deltas, [removed]);
    assert_eq!(metabase.past(3).unwrap().unwrap().deltas_count, 1);
    assert_eq!(metabase.tree_at(1).unwrap().record(&path("/LM"), 1), Some(&text(1, "stays")));
    let mut metabase = engine.again(metabase);
    assert_eq!(metabase.tree().record(&path("/LM"), 1), None);
    assert_eq!(metabase.tree().record(&path("/LM"), 2), Some(&text(2, "x")));
    assert_eq!(metabase.tree_at(1).unwrap().record(&path("/LM"), 1), Some(&text(1, "stays")));
    assert_eq!(make(&mut metabase, &[volatile("three")], &change("")), 4);
    assert_eq!(metabase.past(4).unwrap().unwrap().deltas, []);
}

fn generations(pasts: &[Past]) -> Vec<u64> {
    pasts.iter().map(|past| past.generation).collect()
}

fn history_is_bounded(mut engine: impl Engine) {
    let mut metabase = engine.start().keeping(3);
    for at in 1..=5 {
        make(&mut metabase, &[set("/LM", 1, &at.to_string())], &change(""));
    }
    assert_eq!(generations(&metabase.history(10, None).unwrap()), [5, 4, 3]);
    assert_eq!(kept(&metabase.tree_at(2).unwrap())["/LM"], [text(1, "2")]);
    let mut metabase = engine.again(metabase).keeping(3);
    assert!(matches!(metabase.tree_at(1), Err(StoreError::Unknown { generation: 1, oldest: 2, newest: 5 })));
    assert_eq!(kept(&metabase.tree_at(2).unwrap())["/LM"], [text(1, "2")]);
    make(&mut metabase, &[set("/LM", 2, "waits")], &waiting(""));
    for at in 7..=11 {
        make(&mut metabase, &[set("/LM", 1, &at.to_string())], &change(""));
    }
    assert_eq!(generations(&metabase.history(10, None).unwrap()), [11, 10, 9, 8, 7, 6]);
    let mut metabase = engine.again(metabase).keeping(3);
    assert_eq!(kept(&metabase.undone().unwrap())["/LM"], [text(1, "11")]);
    metabase.confirm("amy", Wall(1)).unwrap();
    make(&mut metabase, &[set("/LM", 1, "12")], &change(""));
    assert_eq!(generations(&metabase.history(10, None).unwrap()), [12, 11, 10]);
    assert_eq!(generations(&metabase.history_of(&path("/LM"), 1, 10).unwrap()), [12, 11, 10]);
}

fn pages_are_bounded(mut engine: impl Engine) {
    let mut metabase = engine.start();
    let many: Vec<Op> = (0..50).map(|id| set("/LM", id, "x")).collect();
    make(&mut metabase, &many, &change(""));
    make(&mut metabase, &[set("/LM", 1, "y")], &change(""));
    make(&mut metabase, &[set("/LM", 1, "z")], &change(""));
    assert_eq!(generations(&metabase.history(2, None).unwrap()), [3, 2]);
    let page = metabase.history(2, Some(2)).unwrap();
    assert_eq!(generations(&page), [1]);
    assert_eq!((page[0].deltas.len(), page[0].deltas_count), (PAGE_DELTAS_MAX, 51));
    let all = metabase.past(1).unwrap().unwrap().deltas;
    assert_eq!((all.len(), &all[..PAGE_DELTAS_MAX]), (51, page[0].deltas.as_slice()));
    assert_eq!(metabase.history(9, Some(1)), Ok(Vec::new()));
    assert_eq!(generations(&metabase.history(9, Some(u64::MAX)).unwrap()), [3, 2, 1]);
    assert_eq!(metabase.past(u64::MAX), Ok(None));
}

fn a_record_has_its_history(mut engine: impl Engine) {
    let mut metabase = engine.start();
    make(&mut metabase, &[set("/LM/\u{c9}", 1, "a"), set("/LM/\u{c9}", 2, "a")], &change("made"));
    make(&mut metabase, &[set("/LM/\u{c9}", 2, "b"), set("/LM", 1, "b")], &change("another"));
    make(&mut metabase, &[Op::Delete(path("/LM/\u{c9}"))], &change("gone"));
    let mut metabase = engine.again(metabase);
    let found = metabase.history_of(&path("/lm/\u{e9}"), 1, 10).unwrap();
    assert_eq!(generations(&found), [3, 1]);
    let delta = |before: Option<&str>, after: Option<&str>| Delta::Record {
        path: path("/LM/\u{c9}"),
        id: 1,
        before: before.map(|value| text(1, value)),
        after: after.map(|value| text(1, value)),
    };
    assert_eq!(found[0].deltas, [delta(Some("a"), None)]);
    assert_eq!(found[1].deltas, [delta(None, Some("a"))]);
    assert_eq!((found[0].reason.as_str(), found[1].deltas_count), ("gone", 4));
    assert_eq!(generations(&metabase.history_of(&path("/lm/\u{e9}"), 1, 1).unwrap()), [3]);
}

fn a_key_keeps_its_name(mut engine: impl Engine) {
    let mut metabase = engine.start();
    make(&mut metabase, &[set("/LM/Foo", 1, "a")], &change(""));
    make(&mut metabase, &[Op::Delete(path("/LM/Foo")), set("/LM/FOO", 1, "b")], &change(""));
    let before = kept(metabase.tree());
    assert!(before.contains_key("/LM/Foo"));
    let metabase = engine.again(metabase);
    assert_eq!(kept(metabase.tree()), before);
}

fn what_a_start_pins_is_remembered(mut engine: impl Engine) {
    let mut metabase = engine.start();
    let toml = "[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = 2\n[\"/LM/SmtpSvc/1\"]\nServerBindings = [\"127.0.0.1:2525:\", \":25:\"]\n";
    let pinned = Pinned { file: "c.toml".into(), pins: pins(toml, "c.toml").unwrap() };
    assert_eq!(metabase.pin(pinned.clone(), &change("read")), Ok(1), "other settings hold");
    let past = metabase.past(1).unwrap().unwrap();
    assert_eq!((past.reason.as_str(), past.deltas_count), ("read", 0));
    assert_eq!(metabase.pin(pinned.clone(), &change("again")), Ok(1));
    let mut pinned = pinned;
    pinned.pins[0].line += 1;
    assert_eq!(metabase.pin(pinned.clone(), &change("another line")), Ok(1), "the same is pinned");
    let mut metabase = engine.again(metabase);
    let shown = |pinned: &Pinned| {
        let pins = pinned.pins.iter().map(|pin| (pin.path.clone(), pin.record.clone(), pin.line));
        (pinned.file.clone(), pins.collect::<Vec<_>>())
    };
    assert_eq!(shown(metabase.pinned()), shown(&pinned));
    assert_eq!(metabase.pin(Pinned::default(), &change("no file")), Ok(2));
    assert_eq!(engine.again(metabase).pinned(), &Pinned::default());
}
