//! TOML texts: what a configuration file pins, what a change applies, what an export says.

use crate::compile::Place;
use crate::error::ConfigError;
use crate::ids;
use crate::path::KeyPath;
use crate::read::{Reader, Scope};
use crate::record::Record;
use crate::tree::{Node, Op, Tree};
use crate::typed::is_secret;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

pub use crate::export::export;

/// One property of one key, as a text sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub path: KeyPath,
    /// What is set.
    pub record: Record,
    /// The line of the text, from 1.
    pub line: usize,
    /// Where the value stands.
    pub(crate) place: Range<usize>,
    /// Where each item of a list stands.
    pub(crate) items: Vec<Range<usize>>,
}

impl Pin {
    /// A pin that was read before; nothing is known of its text but the line.
    pub(crate) fn known(path: KeyPath, record: Record, line: usize) -> Self {
        Self { path, record, line, place: 0..0, items: Vec::new() }
    }
}

/// What of a tree goes where a text does not name it. Secrets stay, which no export has, and what a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// Nothing.
    Nothing,
    /// The properties of keys that it names.
    Properties,
    /// Those, and keys below the ones that it names.
    Keys,
}

/// What a configuration file pins. It names keys that settings are made of, no others: a pin without effect is a mistake. Each
/// value is judged by itself; `Settings::compile` judges what the pins make with what is stored.
///
/// # Errors
/// Everything that is wrong with the text, in its order, at most `ERRORS_MAX` entries.
pub fn pins(text: &str, file: &str) -> Result<Vec<Pin>, Vec<ConfigError>> {
    let mut reader = Reader::new(text, file, Scope::Pins);
    let pins = reader.read().pins;
    reader.judge(&pins, &Place { data_dir: PathBuf::new(), host_name: String::new() });
    reader.finish().map_or(Ok(pins), Err)
}

/// The steps after which a tree has what a text says: none where it has it.
///
/// # Errors
/// Everything that is wrong with the text, in its order, at most `ERRORS_MAX` entries.
pub fn steps(text: &str, file: &str, tree: &Tree, prune: Prune) -> Result<Vec<Op>, Vec<ConfigError>> {
    let mut reader = Reader::new(text, file, Scope::Change(tree));
    let given = reader.read();
    if let Some(errors) = reader.finish() {
        return Err(errors);
    }
    let named: BTreeSet<(&KeyPath, u32)> = given.pins.iter().map(|pin| (&pin.path, pin.record.id)).collect();
    let keys: BTreeSet<&KeyPath> = given.keys.iter().collect();
    let mut ops = Vec::new();
    if prune == Prune::Keys {
        ops.extend(keys.iter().flat_map(|path| gone_below(tree, path, &keys)).map(Op::Delete));
    }
    for path in keys {
        let Some(node) = tree.node(path) else {
            ops.push(Op::Create(path.clone()));
            continue;
        };
        let stays = |record: &&Record| {
            is_secret(record) || record.id == ids::KEY_TYPE || named.contains(&(path, record.id))
        };
        let gone = node.records().filter(|record| prune != Prune::Nothing && !stays(record));
        ops.extend(gone.map(|record| Op::Unset(path.clone(), record.id)));
    }
    let differs = |pin: &&Pin| tree.record(&pin.path, pin.record.id) != Some(&pin.record);
    ops.extend(given.pins.iter().filter(differs).map(|pin| Op::Set(pin.path.clone(), pin.record.clone())));
    Ok(ops)
}

/// The keys right below a named one that are neither named themselves nor on the way to one that is.
fn gone_below(tree: &Tree, path: &KeyPath, named: &BTreeSet<&KeyPath>) -> Vec<KeyPath> {
    let below = tree.node(path).into_iter().flat_map(Node::children);
    let below = below.filter_map(|child| path.child(child.name()).ok());
    // A key comes before those below it, so that the first one from there on tells.
    let is_named =
        |child: &KeyPath| named.range::<KeyPath, _>(child..).next().is_some_and(|next| next.is_within(child));
    below.filter(|child| !is_named(child)).collect()
}
