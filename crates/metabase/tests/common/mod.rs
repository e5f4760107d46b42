//! Random changes of a tree.
#![allow(dead_code, reason = "not every test needs all of it")]

use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, Record, SECURE, VOLATILE};
use postroad_metabase::tree::{Op, Tree};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

pub const PATHS: &[&str] = &[
    "/",
    "/LM",
    "/LM/SmtpSvc",
    "/LM/SmtpSvc/1",
    "/LM/SmtpSvc/1/Domain",
    "/LM/SmtpSvc/1/Domain/a.example",
    "/LM/SmtpSvc/1/Domain/B.example",
    "/LM/SmtpSvc/1/Domain/\u{130}\u{3a3}",
    "/LM/SmtpSvc/2",
    "/LM/SmtpSvc10",
];

pub fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

pub fn record(id: u32, attributes: u32, data: Data) -> Record {
    Record { id, attributes, user_type: 1, data }
}

pub fn text(id: u32, value: &str) -> Record {
    record(id, INHERIT, Data::String(value.into()))
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<u32>().prop_map(Data::Dword),
        "[a-z\u{e9}]{0,9}".prop_map(Data::String),
        "%[A-Z]{1,4}%".prop_map(Data::ExpandSz),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Data::Binary),
        prop::collection::vec("[a-z]{0,5}", 0..4).prop_map(Data::MultiSz),
    ]
}

/// A step, which may do nothing in the tree it is tried in.
pub fn op(attributes: Vec<u32>) -> impl Strategy<Value = Op> {
    let at = || select(PATHS).prop_map(path);
    let upper = select(PATHS).prop_map(|text| path(&text.to_uppercase()));
    let set = (at(), 1u32..5, select(attributes), data());
    prop_oneof![
        2 => prop_oneof![at(), upper].prop_map(Op::Create),
        2 => at().prop_map(Op::Delete),
        8 => set.prop_map(|(path, id, attributes, data)| Op::Set(path, record(id, attributes, data))),
        2 => (at(), 1u32..5).prop_map(|(path, id)| Op::Unset(path, id)),
    ]
}

pub fn any_op() -> impl Strategy<Value = Op> {
    op(vec![0, INHERIT, SECURE, VOLATILE, VOLATILE | SECURE])
}

/// The tree after those steps that can be done.
pub fn after(tree: &Tree, ops: &[Op]) -> Tree {
    ops.iter().fold(tree.clone(), |tree, op| tree.apply(std::slice::from_ref(op)).unwrap_or(tree))
}

/// All that is kept of a tree: keys with their names, and the records that are not VOLATILE.
pub fn kept(tree: &Tree) -> BTreeMap<String, Vec<Record>> {
    let stable = |record: &&Record| !record.has(VOLATILE);
    tree.walk()
        .map(|(path, node)| (path.to_string(), node.records().filter(stable).cloned().collect()))
        .collect()
}
