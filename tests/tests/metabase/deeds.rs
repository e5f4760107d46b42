//! Random deeds: what is asked of the program, and the tree that it makes if it is done.

use crate::{Numbers, file, hex};
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, Record, SECURE};
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Metabase, Seal};
use postroad_metabase::tree::{Op, Tree};
use postroad_metabase::xml;
use postroad_tests::postroad::Postroad;
use serde_json::{Value, json};
use std::path::Path;

/// Keys that random steps touch: some that the service reads, and some that it only keeps.
const PATHS: [&str; 8] = [
    "/LM/Kept",
    "/LM/Kept/a",
    "/LM/Kept/a/deep",
    "/LM/Kept/a/deep/below",
    "/LM/Kept/b",
    "/LM/SmtpSvc/2",
    "/LM/SmtpSvc/1/Domain/a.example",
    "/LM/SmtpSvc/1/Domain/b.example",
];
/// Ids that nothing knows.
const IDS: std::ops::Range<u32> = 60_001..60_007;

/// What is asked, and what comes of it.
#[derive(Clone, Debug)]
pub struct Deed {
    pub kind: Kind,
    /// The tree if it is done whole.
    pub after: Tree,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Change(Vec<Op>),
    Import(String),
    Restore(String),
    Backup(String),
}

impl Kind {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Change(_) => "change",
            Self::Import(_) => "import",
            Self::Restore(_) => "restore",
            Self::Backup(_) => "backup",
        }
    }
}

/// The metabase of a data folder of which no process has the lock.
pub fn open(data: &Path) -> Metabase<SqliteStore> {
    let key = std::fs::read(data.join("metabase.key")).unwrap().try_into().unwrap();
    Metabase::open(SqliteStore::open(&data.join("metabase.db"), Seal::new(key)).unwrap()).unwrap()
}

fn path(numbers: &mut Numbers) -> KeyPath {
    PATHS[usize::try_from(numbers.below(PATHS.len() as u64)).unwrap()].parse().unwrap()
}

fn record(numbers: &mut Numbers) -> Record {
    let id = IDS.start + u32::try_from(numbers.below(u64::from(IDS.end - IDS.start))).unwrap();
    let text = |numbers: &mut Numbers| format!("value {}", numbers.below(1_000_000));
    let data = match numbers.below(4) {
        0 => Data::Dword(u32::try_from(numbers.below(1 << 32)).unwrap()),
        1 => Data::String(text(numbers)),
        2 => Data::Binary(text(numbers).into_bytes()),
        _ => Data::MultiSz((0..1 + numbers.below(4)).map(|_| text(numbers)).collect()),
    };
    // A secret stays one, so which are is a matter of the id.
    let attributes = [0, INHERIT, SECURE][id as usize % 3];
    Record { id, attributes, user_type: 1, data }
}

/// A step that can be done.
fn step(numbers: &mut Numbers, tree: &Tree) -> Op {
    loop {
        let op = match numbers.below(10) {
            0 => Op::Create(path(numbers)),
            1 => Op::Delete(path(numbers)),
            2 | 3 => Op::Unset(path(numbers), record(numbers).id),
            _ => Op::Set(path(numbers), record(numbers)),
        };
        let has_effect =
            tree.apply(std::slice::from_ref(&op)).is_ok_and(|after| !tree.diff(&after).is_empty());
        if has_effect {
            return op;
        }
    }
}

/// Steps that can be done one after another, and the tree that they make.
pub fn change(numbers: &mut Numbers, tree: &Tree, steps: u64) -> (Vec<Op>, Tree) {
    let mut after = tree.clone();
    let mut ops = Vec::new();
    for _ in 0..steps {
        let op = step(numbers, &after);
        after = after.apply(std::slice::from_ref(&op)).unwrap();
        ops.push(op);
    }
    (ops, after)
}

/// The next deed in a tree; `saved` are the backups there are. Steps of a change are at most `steps`.
pub fn random(numbers: &mut Numbers, tree: &Tree, saved: &[(String, Tree)], steps: u64) -> Deed {
    match numbers.below(10) {
        0..5 => {
            let count = 1 + numbers.below(steps);
            let (ops, after) = change(numbers, tree, count);
            Deed { kind: Kind::Change(ops), after }
        }
        5 | 6 => {
            let (_, other) = change(numbers, &Tree::new(), 8);
            let text = xml::write(&other, &xml::Facts { generation: 1, history: 1, schema_time: 0 });
            let taken = xml::take(text.as_bytes(), "random.xml", tree).unwrap();
            Deed { kind: Kind::Import(text), after: tree.apply(&taken.ops).unwrap() }
        }
        7 | 8 => {
            let (name, after) = &saved[usize::try_from(numbers.below(saved.len() as u64)).unwrap()];
            Deed { kind: Kind::Restore(name.clone()), after: after.clone() }
        }
        _ => {
            let name = format!("made{}", numbers.below(5));
            Deed { kind: Kind::Backup(name), after: tree.clone() }
        }
    }
}

fn texts(data: &Data) -> Vec<String> {
    match data {
        Data::Dword(number) => vec![number.to_string()],
        Data::String(text) | Data::ExpandSz(text) => vec![text.clone()],
        Data::MultiSz(texts) => texts.clone(),
        Data::Binary(octets) => vec![hex(octets)],
    }
}

/// As the control socket takes it.
pub fn question(kind: &Kind) -> Value {
    let how = json!({
        "author": "random", "reason": "", "dry_run": false, "mean_it": false, "confirm_secs": null, "if_generation": null
    });
    match kind {
        Kind::Change(ops) => {
            let steps: Vec<Value> = ops.iter().map(told).collect();
            json!({ "ask": "meta", "meta": "change", "steps": steps, "how": how })
        }
        Kind::Import(text) => json!({
            "ask": "meta", "meta": "import", "text": { "name": "random.xml", "text": text }, "apply": true, "how": how
        }),
        Kind::Restore(name) => json!({
            "ask": "meta", "meta": "restore", "name": name, "version": "highest", "password": null, "how": how
        }),
        Kind::Backup(name) => json!({
            "ask": "meta", "meta": "backup", "name": name, "version": "next", "overwrite": false, "password": null
        }),
    }
}

fn told(op: &Op) -> Value {
    match op {
        Op::Create(path) => json!({ "step": "create", "path": path.to_string() }),
        Op::Delete(path) => json!({ "step": "delete", "path": path.to_string() }),
        Op::Unset(path, id) => {
            json!({ "step": "unset", "path": path.to_string(), "property": id.to_string() })
        }
        Op::Set(path, record) => json!({
            "step": "set", "path": path.to_string(), "property": record.id.to_string(), "value": texts(&record.data),
            "data_type": record.data.stored_type().name(), "user_type": record.user_type, "attributes": record.attributes
        }),
    }
}

/// As the command line takes it, where a change has one step.
pub fn verb(postroad: &Postroad, kind: &Kind) -> Vec<String> {
    let args: Vec<String> = match kind {
        Kind::Change(ops) => match &ops[0] {
            Op::Create(path) => vec!["create".into(), path.to_string()],
            Op::Delete(path) => vec!["delete".into(), path.to_string()],
            Op::Unset(path, id) => vec!["unset".into(), path.to_string(), id.to_string()],
            Op::Set(path, record) => {
                let value = file(postroad, "value", texts(&record.data).join("\n") + "\n");
                let mut args = vec!["set".into(), path.to_string(), record.id.to_string()];
                args.extend(["--value-file".into(), value]);
                args.extend(["--type".into(), record.data.stored_type().name().into()]);
                args.extend(["--user-type".into(), record.user_type.to_string()]);
                args.extend(["--attributes".into(), record.attributes.to_string()]);
                args
            }
        },
        Kind::Import(text) => vec!["import".into(), file(postroad, "random.xml", text), "--apply".into()],
        Kind::Restore(name) => vec!["restore".into(), name.clone(), "--yes".into()],
        Kind::Backup(name) => vec!["backup".into(), name.clone()],
    };
    std::iter::once("meta".into()).chain(args).collect()
}
