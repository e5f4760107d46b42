//! The keys, as far as they were opened.

use crate::field::Field;
use crate::pending::{self, Waits};
use postroad_control::meta::MetaStep;
use postroad_control::meta_answer::KeyRow;

/// The root of the tree.
pub(crate) const ROOT: &str = "/";

/// A key that was told.
#[derive(Clone, Debug)]
struct Node {
    path: String,
    depth: usize,
    children: usize,
    is_open: bool,
}

/// The keys, from above to below.
pub(crate) struct TreePane {
    nodes: Vec<Node>,
    /// The path of the chosen key.
    pub(crate) chosen: String,
    /// Only keys that have this in their names are shown.
    pub(crate) filter: Field,
}

/// A line of the tree.
#[derive(Clone, Debug)]
pub(crate) struct TreeLine {
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) depth: usize,
    /// `+` can be opened, `-` is open, blank has nothing below it.
    pub(crate) sign: char,
    pub(crate) waits: Waits,
    /// Whether only a change that waits makes this key.
    pub(crate) is_new: bool,
}

impl TreePane {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), chosen: ROOT.into(), filter: Field::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The paths of open keys, those above first.
    pub(crate) fn open_paths(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.is_open).map(|node| node.path.clone()).collect()
    }

    /// Whether the key itself was told by the service.
    pub(crate) fn is_known(&self, path: &str) -> bool {
        self.index(path).is_some()
    }

    fn index(&self, path: &str) -> Option<usize> {
        self.nodes.iter().position(|node| pending::is_same(&node.path, path))
    }

    /// The index behind the last key below the one at `index`.
    fn end(&self, index: usize) -> usize {
        let depth = self.nodes.get(index).map_or(0, |node| node.depth);
        let below = self.nodes.iter().skip(index + 1).take_while(|node| node.depth > depth);
        index + 1 + below.count()
    }

    pub(crate) fn close(&mut self, path: &str) {
        let Some(index) = self.index(path) else { return };
        let end = self.end(index);
        self.nodes.drain(index + 1..end);
        if let Some(node) = self.nodes.get_mut(index) {
            node.is_open = false;
        }
    }

    /// A key that is not there any more. The one above it is chosen, where it or one below it was.
    pub(crate) fn forget(&mut self, path: &str) {
        if pending::is_within(&self.chosen, path) {
            self.chosen = pending::parent(path).unwrap_or(ROOT).into();
        }
        let Some(index) = self.index(path) else { return };
        let end = self.end(index);
        self.nodes.drain(index..end);
    }

    /// Takes the keys right below a key; those that were open stay so.
    pub(crate) fn take(&mut self, path: &str, told: &[KeyRow]) {
        let Some(own) = told.iter().find(|row| row.depth == 0) else { return };
        if self.nodes.is_empty() {
            self.nodes.push(Node { path: own.path.clone(), depth: 0, children: 0, is_open: true });
        }
        let Some(index) = self.index(path) else { return };
        let end = self.end(index);
        let mut old: Vec<Node> = self.nodes.drain(index + 1..end).collect();
        let Some(node) = self.nodes.get_mut(index) else { return };
        node.children = own.children;
        node.is_open = true;
        let depth = node.depth + 1;
        let mut fresh = Vec::new();
        for row in told.iter().filter(|row| row.depth == 1) {
            let kept: Vec<Node> =
                old.extract_if(.., |node| pending::is_within(&node.path, &row.path)).collect();
            let is_open = row.children > 0 && kept.first().is_some_and(|node| node.is_open);
            fresh.push(Node { path: row.path.clone(), depth, children: row.children, is_open });
            if is_open {
                fresh.extend(kept.into_iter().skip(1));
            }
        }
        self.nodes.splice(index + 1..index + 1, fresh);
    }

    /// The lines in view of the filter, with the keys that wait to be made.
    pub(crate) fn lines(&self, steps: &[MetaStep]) -> Vec<TreeLine> {
        let mut lines: Vec<TreeLine> = self.nodes.iter().map(|node| line(node, steps)).collect();
        for step in steps {
            if let MetaStep::Create { path } = step {
                insert(&mut lines, path, steps);
            }
        }
        let wanted = self.filter.text().to_lowercase();
        if !wanted.is_empty() {
            lines.retain(|line| line.name.to_lowercase().contains(&wanted));
        }
        lines
    }
}

fn line(node: &Node, steps: &[MetaStep]) -> TreeLine {
    let name = match node.path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => ROOT,
    };
    let sign = match (node.children, node.is_open) {
        (0, _) => ' ',
        (_, true) => '-',
        (_, false) => '+',
    };
    let waits = match pending::of_key(steps, &node.path) {
        Waits::Not if pending::has_records(steps, &node.path) => Waits::Set,
        waits => waits,
    };
    TreeLine { path: node.path.clone(), name: name.into(), depth: node.depth, sign, waits, is_new: false }
}

/// Puts a key that waits to be made below the nearest one that is there.
fn insert(lines: &mut Vec<TreeLine>, path: &str, steps: &[MetaStep]) {
    if lines.iter().any(|line| pending::is_same(&line.path, path)) {
        return;
    }
    let above = lines.iter().enumerate().filter(|(_, line)| pending::is_within(path, &line.path));
    let Some((index, above)) = above.max_by_key(|(_, line)| line.path.len()) else { return };
    let name = path.get(above.path.trim_end_matches('/').len() + 1..).unwrap_or(path).to_owned();
    let depth = above.depth;
    let below = lines.iter().skip(index + 1).take_while(|line| line.depth > depth).count();
    let waits = pending::of_key(steps, path);
    let fresh = TreeLine { path: path.into(), name, depth: depth + 1, sign: ' ', waits, is_new: true };
    lines.insert(index + 1 + below, fresh);
}
