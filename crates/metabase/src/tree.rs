//! The tree of keys and records: a value. A changed tree is another one that shares what did not change, so that a snapshot
//! costs nothing and a change among 100,000 keys touches those above it alone.

use crate::check;
use crate::path::{KeyPath, fold};
use crate::record::{Data, INHERIT, INSERT_PATH, INSERT_PATH_TOKEN, Record};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use std::borrow::Cow;
use std::sync::Arc;

/// Keys of a tree: ten times what the largest installation known would have.
pub const KEYS_MAX: usize = 1_000_000;
/// Records of one key: four times the properties known.
pub const RECORDS_MAX: usize = 1000;
/// Keys below one key among which a mistyped name is looked for: a person waits for it.
const NEAR_MAX: usize = 10_000;

/// A tree; it always has a root.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Arc<Node>,
    keys: usize,
}

/// A key: its name as it was first written, its records by id, the keys below it by folded name.
#[derive(Clone, Debug, Default)]
pub struct Node {
    name: Arc<str>,
    records: Arc<Vec<Record>>,
    children: OrdMap<Arc<str>, Arc<Node>>,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes a key, and those above it that are missing. One that exists is left alone.
    Create(KeyPath),
    /// Deletes a key and all below it.
    Delete(KeyPath),
    /// Stores a record; the key is made if it is missing.
    Set(KeyPath, Record),
    /// Removes a record.
    Unset(KeyPath, u32),
}

/// Why a step does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The key does not exist.
    #[error("{0} does not exist")]
    NoKey(KeyPath),
    /// The key has no record of the id.
    #[error("{0} has no record {1}")]
    NoRecord(KeyPath, u32),
    /// The root is not deleted.
    #[error("the root cannot be deleted")]
    Root,
    /// `KEYS_MAX`, `RECORDS_MAX`.
    #[error("{0}")]
    Full(String),
}

/// A difference between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// A key that was not there.
    KeyCreated(KeyPath),
    /// A key that is no more there.
    KeyDeleted(KeyPath),
    /// A record that was added, changed or removed.
    Record {
        /// Its key.
        path: KeyPath,
        /// Its id.
        id: u32,
        /// What it was.
        before: Option<Record>,
        /// What it is.
        after: Option<Record>,
    },
}

/// A value as a key sees it.
#[derive(Clone, Debug)]
pub struct Resolved<'t> {
    /// The record.
    pub record: &'t Record,
    /// Names of the path of the key that has it; fewer than were asked for where it is inherited.
    pub depth: usize,
}

impl Delta {
    /// Its key.
    pub(crate) fn path(&self) -> &KeyPath {
        match self {
            Self::KeyCreated(path) | Self::KeyDeleted(path) | Self::Record { path, .. } => path,
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree that has a root alone.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Arc::default(), keys: 1 }
    }

    /// Keys, the root among them.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The key of a path.
    #[must_use]
    pub fn node(&self, path: &KeyPath) -> Option<&Node> {
        path.folded().try_fold(&*self.root, |node, name| node.children.get(name).map(|child| &**child))
    }

    /// A path with the names as the tree has them, as far down as its keys exist.
    #[must_use]
    pub fn spelled(&self, path: &KeyPath) -> KeyPath {
        let mut node = Some(&*self.root);
        let mut spelled = KeyPath::root();
        for (given, folded) in path.names().zip(path.folded()) {
            node = node.and_then(|node| node.children.get(folded)).map(|child| &**child);
            let Ok(next) = spelled.child(node.map_or(given, Node::name)) else { return path.clone() };
            spelled = next;
        }
        spelled
    }

    /// The record that a key itself has.
    #[must_use]
    pub fn record(&self, path: &KeyPath, id: u32) -> Option<&Record> {
        self.node(path)?.record(id)
    }

    /// The record that holds at a key: its own, else the nearest of a key above that is inherited. The key need not exist:
    /// what does not exist inherits as well.
    #[must_use]
    pub fn resolve(&self, path: &KeyPath, id: u32) -> Option<Resolved<'_>> {
        let depth = path.depth();
        let mut node = &*self.root;
        let seen = |node: &'_ Node, at: usize| {
            let record = node.position(id).ok()?;
            let inherited = node.records.get(record).is_some_and(|record| record.has(INHERIT));
            (at == depth || inherited).then_some(record)
        };
        let mut found = seen(node, 0).map(|record| (node, record, 0));
        for (at, name) in path.folded().enumerate() {
            let Some(child) = node.children.get(name) else { break };
            node = child;
            if let Some(record) = seen(node, at + 1) {
                found = Some((node, record, at + 1));
            }
        }
        let (node, record, depth) = found?;
        node.records.get(record).map(|record| Resolved { record, depth })
    }

    /// The key that a mistyped path may have meant: where it leaves the tree, the name that is nearest goes on.
    #[must_use]
    pub fn nearest(&self, path: &KeyPath) -> Option<KeyPath> {
        let mut node = &*self.root;
        let mut found = KeyPath::root();
        for name in path.folded() {
            let next = node.children.get(name).map(|child| &**child).or_else(|| {
                let near = check::near(name, node.children().take(NEAR_MAX).map(Node::name))?;
                node.children.get(fold(near).as_str()).map(|child| &**child)
            })?;
            found = found.child(next.name()).ok()?;
            node = next;
        }
        Some(found)
    }

    /// How many keys see an inherited record of `path`: itself, and those below it that have none of their own on the way.
    #[must_use]
    pub fn seeing(&self, path: &KeyPath, id: u32) -> usize {
        fn below(node: &Node, id: u32) -> usize {
            let other = |child: &&Node| child.record(id).is_none();
            1 + node.children().filter(other).map(|child| below(child, id)).sum::<usize>()
        }
        self.node(path).map_or(0, |node| below(node, id))
    }

    /// Every record that holds at a key, by id.
    #[must_use]
    pub fn resolve_all(&self, path: &KeyPath) -> Vec<Resolved<'_>> {
        let depth = path.depth();
        let mut all: std::collections::BTreeMap<u32, Resolved<'_>> = std::collections::BTreeMap::new();
        let mut node = &*self.root;
        let mut names = path.folded();
        for at in 0.. {
            for record in node.records().filter(|record| at == depth || record.has(INHERIT)) {
                all.insert(record.id, Resolved { record, depth: at });
            }
            let Some(child) = names.next().and_then(|name| node.children.get(name)) else { break };
            node = child;
        }
        all.into_values().collect()
    }

    /// The tree after some steps. The tree itself stays as it is, and so does its copy if a step fails.
    ///
    /// # Errors
    /// The first step that does nothing.
    pub fn apply(&self, ops: &[Op]) -> Result<Self, OpError> {
        let mut tree = self.clone();
        for op in ops {
            tree.step(op)?;
        }
        Ok(tree)
    }

    /// One step. A step that fails may leave copies of keys behind, and no other key or record.
    pub(crate) fn step(&mut self, op: &Op) -> Result<(), OpError> {
        match op {
            Op::Create(path) => self.with(path, |_| Ok(())),
            Op::Set(path, record) => self.with(path, |node| {
                let records = Arc::make_mut(&mut node.records);
                match records.binary_search_by_key(&record.id, |known| known.id) {
                    Ok(at) => records[at] = record.clone(),
                    Err(_) if records.len() >= RECORDS_MAX => {
                        return Err(OpError::Full(format!("{path} has {RECORDS_MAX} records already")));
                    }
                    Err(at) => {
                        // Most keys have a record or two, and a tree has up to a million keys.
                        records.reserve_exact(1);
                        records.insert(at, record.clone());
                    }
                }
                Ok(())
            }),
            Op::Unset(path, id) => {
                if self.node(path).is_none() {
                    return Err(OpError::NoKey(path.clone()));
                }
                self.with(path, |node| match node.position(*id) {
                    Ok(at) => {
                        Arc::make_mut(&mut node.records).remove(at);
                        Ok(())
                    }
                    Err(_) => Err(OpError::NoRecord(path.clone(), *id)),
                })
            }
            Op::Delete(path) => {
                let parent = path.parent().ok_or(OpError::Root)?;
                let gone = self.node(path).ok_or_else(|| OpError::NoKey(path.clone()))?.count();
                let name = fold(path.name().unwrap_or_default());
                self.with(&parent, |node| {
                    node.children.remove(name.as_str());
                    Ok(())
                })?;
                self.keys -= gone;
                Ok(())
            }
        }
    }

    /// Changes the key of a path; it is made if it is missing.
    fn with(
        &mut self,
        path: &KeyPath,
        change: impl FnOnce(&mut Node) -> Result<(), OpError>,
    ) -> Result<(), OpError> {
        let (mut node, mut made) = (Arc::make_mut(&mut self.root), 0);
        for (shown, folded) in path.names().zip(path.folded()) {
            if !node.children.contains_key(folded) {
                made += 1;
                if self.keys + made > KEYS_MAX {
                    return Err(OpError::Full(format!("the metabase has {KEYS_MAX} keys already")));
                }
                let child = Node { name: shown.into(), ..Node::default() };
                node.children.insert(folded.into(), Arc::new(child));
            }
            let Some(child) = node.children.get_mut(folded) else { return Err(OpError::NoKey(path.clone())) };
            node = Arc::make_mut(child);
        }
        change(node)?;
        self.keys += made;
        Ok(())
    }

    /// Every key with its path, a key before those below it.
    pub fn walk(&self) -> impl Iterator<Item = (KeyPath, &Node)> {
        self.walk_from(&KeyPath::root())
    }

    /// A key and all below it; nothing where it does not exist.
    pub fn walk_from<'t>(&'t self, path: &KeyPath) -> impl Iterator<Item = (KeyPath, &'t Node)> + use<'t> {
        let mut waiting: Vec<(KeyPath, &Node)> =
            self.node(path).map(|node| (path.clone(), node)).into_iter().collect();
        std::iter::from_fn(move || {
            let (path, node) = waiting.pop()?;
            let below = node.children().filter_map(|child| Some((path.child(child.name()).ok()?, child)));
            let mut below: Vec<_> = below.collect();
            below.reverse();
            waiting.extend(below);
            Some((path, node))
        })
    }

    /// What differs in `after`: keys that go first, then keys that come, each followed by its records. What the two share is
    /// not looked at.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<Delta> {
        let mut deltas = Vec::new();
        differ(&KeyPath::root(), Some(&self.root), Some(&after.root), &mut deltas);
        deltas
    }

    /// The steps that make `after` of this tree.
    #[must_use]
    pub fn steps_to(&self, after: &Self) -> Vec<Op> {
        steps(self.diff(after))
    }
}

/// The steps that bring differences about. A key that is deleted takes all below it along, so nothing is said of that.
#[must_use]
pub fn steps(deltas: Vec<Delta>) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::with_capacity(deltas.len());
    let mut deleted: Option<KeyPath> = None;
    for delta in deltas {
        let is_gone = deleted.as_ref().is_some_and(|above| delta.path().is_within(above));
        match delta {
            _ if is_gone => {}
            Delta::KeyDeleted(path) => {
                ops.push(Op::Delete(path.clone()));
                deleted = Some(path);
            }
            Delta::KeyCreated(path) => ops.push(Op::Create(path)),
            Delta::Record { path, after: Some(record), .. } => ops.push(Op::Set(path, record)),
            Delta::Record { path, id, after: None, .. } => ops.push(Op::Unset(path, id)),
        }
    }
    ops
}

fn differ(path: &KeyPath, before: Option<&Arc<Node>>, after: Option<&Arc<Node>>, deltas: &mut Vec<Delta>) {
    if let (Some(before), Some(after)) = (before, after)
        && Arc::ptr_eq(before, after)
    {
        return;
    }
    match (before, after) {
        (Some(_), None) => deltas.push(Delta::KeyDeleted(path.clone())),
        (None, Some(_)) => deltas.push(Delta::KeyCreated(path.clone())),
        _ => {}
    }
    let none = Node::default();
    let (old, new) = (before.map_or(&none, |node| node), after.map_or(&none, |node| node));
    let mut ids: Vec<u32> = old.records().chain(new.records()).map(|record| record.id).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let (was, is) = (old.record(id), new.record(id));
        if was != is {
            let (before, after) = (was.cloned(), is.cloned());
            deltas.push(Delta::Record { path: path.clone(), id, before, after });
        }
    }
    // Parts of the two maps that are shared are not walked: a key has 100,000 below it.
    for item in old.children.diff(&new.children) {
        let (old, new) = match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
            DiffItem::Remove(_, old) => (Some(old), None),
        };
        let Some(name) = new.or(old).map(|node| node.name()) else { continue };
        let Ok(path) = path.child(name) else { continue };
        differ(&path, old, new, deltas);
    }
}

/// Whether it is the same one: what two trees share need not be looked at.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Node {
    /// Its name, as it was first written; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own records, by id.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &Record> {
        self.records.iter()
    }

    /// Its own record of an id.
    #[must_use]
    pub fn record(&self, id: u32) -> Option<&Record> {
        self.records.get(self.position(id).ok()?)
    }

    /// The keys below it, by name.
    pub fn children(&self) -> impl Iterator<Item = &Node> {
        self.children.values().map(|child| &**child)
    }

    /// How many keys stand right below it.
    #[must_use]
    pub fn children_count(&self) -> usize {
        self.children.len()
    }

    fn position(&self, id: u32) -> Result<usize, usize> {
        self.records.binary_search_by_key(&id, |record| record.id)
    }

    fn count(&self) -> usize {
        1 + self.children().map(Node::count).sum::<usize>()
    }
}

/// A text as the key `path` sees it: with INSERT_PATH, `<%INSERT_PATH%>` stands for that path.
#[must_use]
pub fn expanded<'r>(record: &'r Record, path: &KeyPath) -> Cow<'r, Data> {
    if !record.has(INSERT_PATH) {
        return Cow::Borrowed(&record.data);
    }
    let insert = |text: &str| text.replace(INSERT_PATH_TOKEN, &path.to_string());
    match &record.data {
        Data::String(text) => Cow::Owned(Data::String(insert(text))),
        Data::ExpandSz(text) => Cow::Owned(Data::ExpandSz(insert(text))),
        Data::MultiSz(list) => Cow::Owned(Data::MultiSz(list.iter().map(|item| insert(item)).collect())),
        data @ (Data::Dword(_) | Data::Binary(_)) => Cow::Borrowed(data),
    }
}
