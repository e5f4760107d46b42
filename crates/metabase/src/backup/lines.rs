//! The payload: a tree as JSON lines.

use super::key::FileKey;
use super::{BackupError, FILE_MAX};
use crate::path::KeyPath;
use crate::record::{DATA_MAX, Data, Record, SECURE, VOLATILE};
use crate::tree::{Op, Tree};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Octets of a line: `DATA_MAX` octets of control characters are six times as many in JSON, and sealed, in hexadecimal
/// digits, twice that.
const LINE_MAX: usize = 13 * DATA_MAX;
/// Steps that are applied to the tree together: one at a time, each would copy the keys above it.
const STEPS: usize = 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<'r> {
    Key(KeyPath),
    Record(Row<'r>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'r> {
    id: u32,
    attributes: u32,
    user_type: u32,
    value: Value<'r>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value<'r> {
    Plain(Cow<'r, Data>),
    Sealed(String),
}

/// A payload, and how many records it has.
pub(super) struct Written {
    pub(super) payload: Vec<u8>,
    pub(super) records: u64,
}

/// Writes a tree. Without a key it has no secrets.
pub(super) fn write(tree: &Tree, key: Option<&FileKey>) -> Result<Written, BackupError> {
    let mut written = Written { payload: Vec::new(), records: 0 };
    let mut sealed = 0;
    for (path, node) in tree.walk() {
        push(&mut written.payload, &Line::Key(path.clone()))?;
        for record in node.records().filter(|record| !record.has(VOLATILE)) {
            if record.data.size() > DATA_MAX {
                return Err(BackupError::TooLarge(format!(
                    "record {} of {path} has more than {DATA_MAX} octets. Shorten it",
                    record.id
                )));
            }
            let value = if record.has(SECURE) {
                let key = key.ok_or(BackupError::Crypto("there is no key for a secret"))?;
                let value = key.seal((&path, record.id), sealed, json(&record.data)?)?;
                sealed += 1;
                Value::Sealed(value)
            } else {
                Value::Plain(Cow::Borrowed(&record.data))
            };
            let (id, attributes, user_type) = (record.id, record.attributes, record.user_type);
            push(&mut written.payload, &Line::Record(Row { id, attributes, user_type, value }))?;
            written.records += 1;
        }
    }
    Ok(written)
}

fn push(payload: &mut Vec<u8>, line: &Line<'_>) -> Result<(), BackupError> {
    payload.extend(json(line)?);
    payload.push(b'\n');
    if payload.len() > FILE_MAX {
        return Err(BackupError::TooLarge(format!("it would have more than {FILE_MAX} octets")));
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, BackupError> {
    serde_json::to_vec(value).map_err(|_| BackupError::Crypto("a record cannot be written as JSON"))
}

/// What becomes of secrets that are read.
pub(super) enum Secrets<'k> {
    /// They are opened; without a key there are none.
    Open(Option<&'k FileKey>),
    /// They are left out, and noted here.
    LeaveOut(&'k mut Vec<(KeyPath, u32)>),
}

/// Reads a tree.
pub(super) fn read(payload: &[u8], secrets: Secrets<'_>) -> Result<Tree, BackupError> {
    let mut reader = Reader { secrets, at: None, sealed: 0 };
    let (mut tree, mut ops) = (Tree::new(), Vec::with_capacity(STEPS));
    for (number, line) in payload.split_inclusive(|octet| *octet == b'\n').enumerate() {
        // Numbered as in the file, where two lines stand before the payload.
        let wrong = |what: String| BackupError::Malformed(format!("line {}: {what}", number + 3));
        ops.extend(reader.line(line).map_err(|what| wrong(what.into()))?);
        if ops.len() == STEPS {
            tree = tree.apply(&ops).map_err(|error| wrong(error.to_string()))?;
            ops.clear();
        }
    }
    tree.apply(&ops).map_err(|error| BackupError::Malformed(format!("its last lines: {error}")))
}

struct Reader<'k> {
    secrets: Secrets<'k>,
    /// The key whose records follow.
    at: Option<KeyPath>,
    /// Sealed records read.
    sealed: u64,
}

impl Reader<'_> {
    /// The step that a line makes; none for a secret that is left out.
    fn line(&mut self, line: &[u8]) -> Result<Option<Op>, &'static str> {
        if line.len() > LINE_MAX {
            return Err("it is too long");
        }
        let row = match serde_json::from_slice(line).map_err(|_| "it is neither a key nor a record")? {
            Line::Key(path) => {
                self.at = Some(path.clone());
                return Ok(Some(Op::Create(path)));
            }
            Line::Record(row) => row,
        };
        let path = self.at.clone().ok_or("it is a record, and no key stands before it")?;
        // A secret whose SECURE attribute was taken off would be shown after it is restored.
        let data = match (row.value, row.attributes & SECURE != 0) {
            (Value::Plain(data), false) => data.into_owned(),
            (Value::Sealed(sealed), true) => match self.open(&path, row.id, &sealed)? {
                Some(data) => data,
                None => return Ok(None),
            },
            (Value::Plain(_), true) => return Err("it is a secret that is not sealed"),
            (Value::Sealed(_), false) => return Err("it is sealed and not marked as a secret"),
        };
        if data.size() > DATA_MAX {
            return Err("its value is too long");
        }
        if row.attributes & VOLATILE != 0 {
            return Err("it is of a kind that is not stored (VOLATILE)");
        }
        let (id, attributes, user_type) = (row.id, row.attributes, row.user_type);
        Ok(Some(Op::Set(path, Record { id, attributes, user_type, data })))
    }

    fn open(&mut self, path: &KeyPath, id: u32, sealed: &str) -> Result<Option<Data>, &'static str> {
        let key = match &mut self.secrets {
            Secrets::Open(key) => key.ok_or("it is a secret, and the manifest knows of none")?,
            Secrets::LeaveOut(left_out) => {
                left_out.push((path.clone(), id));
                return Ok(None);
            }
        };
        let octets =
            key.open((path, id), self.sealed, sealed).ok_or("its secret was not sealed for this place")?;
        self.sealed += 1;
        serde_json::from_slice(&octets).map(Some).map_err(|_| "its secret is not a value")
    }
}
