//! TOML texts: what a configuration file pins, what a change applies, what an export says.

use crate::compile::Place;
use crate::error::ConfigError;
use crate::path::KeyPath;
use crate::read::{Reader, Scope};
use crate::record::Record;
use crate::tree::{Op, Tree};
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

/// The steps after which a tree has what a text says: none where it has it. With `prune`, the keys that the text names keep
/// nothing else but secrets, which no export has.
///
/// # Errors
/// Everything that is wrong with the text, in its order, at most `ERRORS_MAX` entries.
pub fn steps(text: &str, file: &str, tree: &Tree, prune: bool) -> Result<Vec<Op>, Vec<ConfigError>> {
    let mut reader = Reader::new(text, file, Scope::Change(tree));
    let given = reader.read();
    if let Some(errors) = reader.finish() {
        return Err(errors);
    }
    let named: BTreeSet<(&KeyPath, u32)> = given.pins.iter().map(|pin| (&pin.path, pin.record.id)).collect();
    let mut ops = Vec::new();
    for path in given.keys.iter().collect::<BTreeSet<_>>() {
        let Some(node) = tree.node(path) else {
            ops.push(Op::Create(path.clone()));
            continue;
        };
        let gone = node.records().filter(|record| !is_secret(record) && !named.contains(&(path, record.id)));
        ops.extend(gone.filter(|_| prune).map(|record| Op::Unset(path.clone(), record.id)));
    }
    let differs = |pin: &&Pin| tree.record(&pin.path, pin.record.id) != Some(&pin.record);
    ops.extend(given.pins.iter().filter(differs).map(|pin| Op::Set(pin.path.clone(), pin.record.clone())));
    Ok(ops)
}
