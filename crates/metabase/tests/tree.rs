//! Paths, and the tree as a value.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

mod common;

use common::{after, any_op, kept, path, record, text};
use postroad_metabase::path::{DEPTH_MAX, KeyPath, NAME_MAX, PathError};
use postroad_metabase::record::{Data, INHERIT, INSERT_PATH, SECURE};
use postroad_metabase::tree::{Delta, Op, OpError, Tree, expanded, steps};
use proptest::prelude::*;

#[test]
fn paths_are_read_in_the_forms_administrators_use() {
    let check =
        |text: &str, expected: &str| assert_eq!(KeyPath::read(text).unwrap().to_string(), expected, "{text}");
    check("/LM/SmtpSvc/1", "/LM/SmtpSvc/1");
    check("LM/SmtpSvc/1/", "/LM/SmtpSvc/1");
    check("smtpsvc/1/domain/A.example", "/LM/SmtpSvc/1/Domain/A.example");
    check("/smtpsvc/1", "/LM/SmtpSvc/1");
    check("lm", "/LM");
    check("/", "/");
    check("", "/");
    check("/Schema/x", "/Schema/x");
    check("Schema", "/LM/Schema");
}

#[test]
fn what_is_no_path_is_refused() {
    let refused = |text: &str| text.parse::<KeyPath>().unwrap_err();
    assert_eq!(refused("/LM//1"), PathError::Empty("/LM//1".into()));
    assert_eq!(refused("///"), PathError::Empty("///".into()));
    assert_eq!(refused("/LM/a\nb"), PathError::Control);
    let long = "\u{e9}".repeat(NAME_MAX);
    assert_eq!(path(&long).name(), Some(long.as_str()));
    assert_eq!(refused(&format!("/{long}x")), PathError::TooLong(NAME_MAX + 1));
    let deep = "/a".repeat(DEPTH_MAX);
    assert_eq!(path(&deep).depth(), DEPTH_MAX);
    assert_eq!(path(&deep).child("a"), Err(PathError::TooDeep(DEPTH_MAX + 1)));
    assert_eq!(refused(&"/a".repeat(DEPTH_MAX + 1)), PathError::TooDeep(DEPTH_MAX + 1));
    assert_eq!(KeyPath::read(&"a/".repeat(DEPTH_MAX)), Err(PathError::TooDeep(DEPTH_MAX + 1)));
    assert_eq!(path("/LM").child("a/b"), Err(PathError::Slash));
    assert!(path("/LM").child("").is_err());
}

#[test]
fn case_is_kept_and_does_not_matter() {
    let (one, other) = (path("/LM/SmtpSvc/\u{c9}"), path("/lm/SMTPSVC/\u{e9}"));
    assert_eq!(one, other);
    assert!(one.is_within(&path("/Lm/smtpsvc")) && one.is_within(&other) && one.is_within(&KeyPath::root()));
    assert!(!path("/LM/SmtpSvc10").is_within(&path("/LM/SmtpSvc1")));
    assert!(path("/LM") < path("/lm/a") && path("/lm/a/z") < path("/LM/B"));
    let tree = Tree::new().apply(&[Op::Set(one.clone(), text(1, "x"))]).unwrap();
    let tree = tree.apply(&[Op::Set(other.clone(), text(2, "y")), Op::Create(other.clone())]).unwrap();
    assert_eq!(tree.keys(), 4);
    assert_eq!(tree.node(&other).unwrap().name(), "\u{c9}");
    assert_eq!(tree.walk().map(|(path, _)| path.to_string()).last().unwrap(), "/LM/SmtpSvc/\u{c9}");
    assert_eq!(tree.node(&one).unwrap().records().len(), 2);
}

#[test]
fn a_key_sees_its_own_records_and_those_above_that_are_inherited() {
    let own = |id, value: &str| record(id, 0, Data::String(value.into()));
    let tree = Tree::new()
        .apply(&[
            Op::Set(path("/LM"), text(1, "machine")),
            Op::Set(path("/LM"), own(2, "not inherited")),
            Op::Set(path("/LM/SmtpSvc"), text(1, "service")),
            Op::Set(path("/LM/SmtpSvc"), text(3, "service")),
            Op::Set(path("/LM/SmtpSvc/1"), own(3, "server")),
            Op::Create(path("/LM/SmtpSvc/1/Domain")),
        ])
        .unwrap();
    let check = |at: &str, id: u32, expected: Option<(&str, usize)>| {
        let found = tree.resolve(&path(at), id);
        let found = found.map(|found| (found.record.data.clone(), found.depth));
        assert_eq!(found, expected.map(|(value, depth)| (Data::String(value.into()), depth)), "{at} {id}");
        let path = path(at);
        let all: Vec<_> = tree.resolve_all(&path).into_iter().filter(|one| one.record.id == id).collect();
        assert_eq!(
            all.first().map(|one| (one.record.data.clone(), one.depth)),
            found_of(&tree, at, id),
            "{at} {id}"
        );
    };
    check("/LM", 1, Some(("machine", 1)));
    check("/LM", 2, Some(("not inherited", 1)));
    check("/LM/SmtpSvc", 2, None);
    check("/LM/SmtpSvc/1", 1, Some(("service", 2)));
    check("/LM/SmtpSvc/1", 3, Some(("server", 3)));
    check("/LM/SmtpSvc/1/Domain", 3, Some(("service", 2)));
    check("/LM/SmtpSvc/7/does/not/exist", 3, Some(("service", 2)));
    check("/LM/Other", 1, Some(("machine", 1)));
    check("/", 1, None);
}

fn found_of(tree: &Tree, at: &str, id: u32) -> Option<(Data, usize)> {
    tree.resolve(&path(at), id).map(|found| (found.record.data.clone(), found.depth))
}

#[test]
fn insert_path_stands_for_the_key_that_is_asked() {
    let at = path("/LM/SmtpSvc/1");
    let check = |attributes, data: Data, expected: Data| {
        assert_eq!(*expanded(&record(1, attributes, data), &at), expected);
    };
    let string = |text: &str| Data::String(text.into());
    check(INSERT_PATH, string("x<%INSERT_PATH%>/y"), string("x/LM/SmtpSvc/1/y"));
    check(INHERIT, string("<%INSERT_PATH%>"), string("<%INSERT_PATH%>"));
    check(INSERT_PATH, Data::ExpandSz("<%INSERT_PATH%>".into()), Data::ExpandSz("/LM/SmtpSvc/1".into()));
    let list = |items: [&str; 2]| Data::MultiSz(items.map(String::from).to_vec());
    check(INSERT_PATH, list(["<%INSERT_PATH%>", "b"]), list(["/LM/SmtpSvc/1", "b"]));
    check(INSERT_PATH, Data::Dword(3), Data::Dword(3));
}

#[test]
fn a_step_that_does_nothing_is_refused() {
    let tree = Tree::new().apply(&[Op::Set(path("/LM/a/b"), text(1, "x"))]).unwrap();
    let check = |op: Op, expected: OpError| assert_eq!(tree.apply(&[op]).unwrap_err(), expected);
    check(Op::Delete(path("/")), OpError::Root);
    check(Op::Delete(path("/LM/c")), OpError::NoKey(path("/LM/c")));
    check(Op::Unset(path("/LM/c"), 1), OpError::NoKey(path("/LM/c")));
    check(Op::Unset(path("/LM/a/b"), 2), OpError::NoRecord(path("/LM/a/b"), 2));
    assert_eq!(tree.keys(), 4);
    assert_eq!(tree.apply(&[Op::Delete(path("/lm/A"))]).unwrap().keys(), 2);
    assert_eq!(Tree::default().keys(), 1);
}

#[test]
fn a_key_that_goes_takes_one_step_and_tells_all() {
    let ops = [Op::Set(path("/LM/a/b"), text(1, "x")), Op::Set(path("/LM/ab"), text(1, "y"))];
    let tree = Tree::new().apply(&ops).unwrap();
    let gone = tree.apply(&[Op::Delete(path("/LM/a")), Op::Unset(path("/LM/ab"), 1)]).unwrap();
    let deltas = tree.diff(&gone);
    assert_eq!(deltas.len(), 4, "{deltas:?}");
    assert!(deltas.contains(&Delta::KeyDeleted(path("/LM/a/b"))));
    assert_eq!(steps(deltas), [Op::Delete(path("/LM/a")), Op::Unset(path("/LM/ab"), 1)]);
}

#[test]
fn a_secret_is_not_shown() {
    let tree =
        Tree::new().apply(&[Op::Set(path("/LM"), record(1, SECURE, Data::String("hush".into())))]).unwrap();
    assert!(!format!("{tree:?}{:?}", Tree::new().diff(&tree)).contains("hush"));
}

proptest! {
    #[test]
    fn the_steps_of_a_difference_bring_it_about(
        first in prop::collection::vec(any_op(), 0..30),
        second in prop::collection::vec(any_op(), 0..30),
        unrelated in any::<bool>(),
    ) {
        let before = after(&Tree::new(), &first);
        let empty = Tree::new();
        let wanted = after(if unrelated { &empty } else { &before }, &second);
        let reached = before.apply(&before.steps_to(&wanted)).unwrap();
        prop_assert_eq!(reached.diff(&wanted), Vec::new());
        prop_assert_eq!(reached.keys(), wanted.keys());
        prop_assert_eq!(reached.walk().count(), reached.keys());
        prop_assert_eq!(before.diff(&before.clone()), Vec::new());
        let back = wanted.apply(&wanted.steps_to(&before)).unwrap();
        let lower = |tree: &Tree| -> Vec<_> {
            kept(tree).into_iter().map(|(path, records)| (path.to_lowercase(), records)).collect()
        };
        let (mut back, mut before) = (lower(&back), lower(&before));
        back.sort_by(|a, b| a.0.cmp(&b.0));
        before.sort_by(|a, b| a.0.cmp(&b.0));
        prop_assert_eq!(back, before);
    }
}
