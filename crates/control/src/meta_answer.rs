//! Answers to questions about the metabase.

use crate::meta::MetaStep;
use postroad_mail::time::Wall;
use serde::{Deserialize, Serialize};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaItem {
    /// A key.
    Key(KeyRow),
    /// A record as a key sees it.
    Record(Box<RecordRow>),
    /// To `Get`.
    Value(Box<ValueRow>),
    /// A known property.
    Property(Box<PropertyRow>),
    /// To `Change`, `Apply`, `Rollback`, `Undo`.
    Change(Box<ChangeReport>),
    /// A piece of a text.
    Text(String),
    /// To `Import`.
    Import(Box<ImportReport>),
    /// Something that is wrong.
    Finding(Box<Finding>),
    /// To `Log`, first: the change that waits to be confirmed.
    Pending(PendingRow),
    /// A change of the past.
    History(Box<HistoryRow>),
    /// To `Confirm`: the change that stays.
    Confirmed(u64),
    /// A backup.
    Backup(Box<BackupRow>),
    /// To `Restore`.
    Restore(Box<RestoreReport>),
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Its whole path.
    pub path: String,
    /// Levels below the key that was asked for.
    pub depth: usize,
    /// Records it has itself.
    pub records: usize,
    /// Keys right below it.
    pub children: usize,
}

/// A record as a key sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRow {
    /// The key that was asked.
    pub path: String,
    /// The key that has it: another one where it is inherited; `(FILE:LINE)` where it is pinned by a file.
    pub from: String,
    /// Whether it comes from a key above.
    pub inherited: bool,
    /// The property's id.
    pub id: u32,
    /// Its name; `UnknownName_61537` where it has none.
    pub name: String,
    /// Attribute bits; ISINHERITED (0x20) where inherited.
    pub attributes: u32,
    /// Their names, joined by ` | `; `NO_ATTRIBUTES`.
    pub attribute_names: String,
    /// User type.
    pub user_type: u32,
    /// `DWORD`, `STRING`, `BINARY`, `EXPANDSZ`, `MULTISZ`.
    pub data_type: String,
    /// The value as it can be set again: one text, or the items of a list; nothing for a secret.
    pub value: Vec<String>,
    /// Whether the value is a list (MULTISZ, or a BINARY that is shown as networks).
    pub is_list: bool,
    /// What the value means, as `udp-only`; empty where the value says it all.
    pub meaning: String,
    /// Whether it is a secret, which is not shown.
    pub secret: bool,
    /// What it does here.
    pub mark: Mark,
    /// The place in the configuration file that pins it, `FILE:LINE`.
    pub pinned: Option<String>,
}

/// What a property does in this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It takes effect.
    InForce,
    /// It takes effect at other keys, not at the one that has it.
    Elsewhere,
    /// It is kept, and nothing reads it.
    Kept,
    /// It is not taken: it would promise what the service does not do.
    Refused,
    /// The schema does not know it; it is kept as it is.
    Unknown,
}

/// One value, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueRow {
    /// The record that holds; none where the default does.
    pub record: Option<RecordRow>,
    /// The property, where the schema knows it.
    pub property: Option<PropertyRow>,
    /// What holds without a record.
    pub default: String,
    /// Its changes, newest first, where they were asked for.
    pub history: Vec<HistoryRow>,
}

/// A known property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyRow {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// `DWORD`, `BOOL`, `STRING`, `BINARY`, `EXPANDSZ`, `MULTISZ`.
    pub data_type: String,
    /// User type.
    pub user_type: u32,
    /// Attribute bits that a new record gets.
    pub attributes: u32,
    /// What its value counts or is made of.
    pub unit: String,
    /// What it is for.
    pub doc: String,
    /// What may be given, as the end of a sentence.
    pub expectation: String,
    /// What a fresh install has.
    pub fresh: String,
    /// What holds without a record.
    pub absent: String,
    /// Least and largest number.
    pub bounds: Option<(u32, u32)>,
    /// The numbers of an enumeration, with their names.
    pub names: Vec<(u32, String)>,
    /// The bits of a mask, with their names.
    pub bits: Vec<(u32, String)>,
    /// Whether it is edited as a list.
    pub is_list: bool,
    /// Where it may stand.
    pub keys: Vec<String>,
    /// What it does here.
    pub mark: Mark,
}

/// What a change did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// Whether it was made.
    pub applied: bool,
    /// The generation after it; the one that holds, where nothing was changed.
    pub generation: u64,
    /// What differs, up to `TOLD_MAX`; empty: nothing.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differences_count: u64,
    /// What should be known, a sentence each.
    pub notes: Vec<String>,
    /// How far it reaches.
    pub reach: Reach,
    /// When it undoes itself unless it is confirmed.
    pub confirm_until: Option<Wall>,
}

/// How far a change reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Keys that see another value.
    pub keys: u64,
    /// Sessions that are open: they take it at their next transaction. None without a service.
    pub sessions: u64,
    /// Messages in the queue.
    pub messages: u64,
}

/// What differs between two trees at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key.
    pub path: String,
    /// What happened to it.
    pub kind: DifferenceKind,
    /// The property's id; none where the key itself came or went.
    pub id: Option<u32>,
    /// Its name.
    pub name: String,
    /// What it was, as shown; empty where there was nothing.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// What happened at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// A key came.
    KeyCreated,
    /// A key went.
    KeyDeleted,
    /// A value came.
    Added,
    /// A value is another one.
    Changed,
    /// A value went.
    Removed,
}

/// What an import takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// The file.
    pub file: String,
    /// A line each thing worth saying, in the file's order.
    pub lines: Vec<ImportLine>,
    /// Records taken with effect, kept without, refused.
    pub taken: u64,
    /// Kept without effect.
    pub kept: u64,
    /// Parts of the file that are no concern of a mail server.
    pub left: u64,
    /// Refused.
    pub refused: u64,
    /// Secrets that must be entered again.
    pub not_decryptable: u64,
    /// What it changes.
    pub change: ChangeReport,
    /// Why all of it is refused, or would be with `apply`; empty where it is not.
    pub refusal: String,
}

/// One thing an import says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLine {
    /// What became of it.
    pub kind: ImportKind,
    /// The key.
    pub path: String,
    /// The property; empty for a key.
    pub name: String,
    /// In words.
    pub text: String,
}

/// What became of something imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportKind {
    /// It takes effect.
    Taken,
    /// It is kept, and nothing reads it.
    Kept,
    /// It is kept, and mail will go another way than it did.
    Lost,
    /// It was put into other words: a path, a folder, a meaning on which sources disagree.
    Translated,
    /// It is no concern of a mail server: it is left out.
    Left,
    /// It is encrypted by a key that the file does not have: it must be entered again.
    NotDecryptable,
    /// It is not taken.
    Refused,
}

/// Something that is wrong with the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it is an error; a warning otherwise.
    pub error: bool,
    /// Whether it could not be found out if something is wrong.
    #[serde(default)]
    pub untested: bool,
    /// The key.
    pub path: String,
    /// The property's id.
    pub id: Option<u32>,
    /// Its name.
    pub name: String,
    /// What is wrong, as a sentence.
    pub description: String,
    /// What would repair it; empty where that is for a person to decide.
    pub repair: Vec<MetaStep>,
    /// The repair in words.
    pub repair_text: String,
}

/// The change that waits to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRow {
    /// Its generation.
    pub generation: u64,
    /// When it undoes itself.
    pub until: Wall,
}

/// A change of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// Its number.
    pub generation: u64,
    /// When.
    pub at: Wall,
    /// Who.
    pub author: String,
    /// Why.
    pub reason: String,
    /// What differed; at most 20 where not one change was asked for.
    pub differences: Vec<Difference>,
    /// How many there are.
    pub differences_count: u64,
    /// When it undoes itself unless it is confirmed.
    pub confirm_until: Option<Wall>,
    /// When it was confirmed.
    pub confirmed_at: Option<Wall>,
    /// Who confirmed it.
    pub confirmed_by: Option<String>,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupRow {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// When it was made.
    pub at: Wall,
    /// Octets of its file.
    pub size: u64,
    /// Keys in it.
    pub keys: u64,
    /// Records in it.
    pub records: u64,
    /// The generation it holds.
    pub generation: u64,
    /// Whether its secrets are under a password.
    pub password: bool,
    /// Whether it was read back and found whole, if that was asked.
    pub verified: bool,
    /// What should be known of it, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What is wrong with it; empty: nothing that shows without its password.
    pub fault: String,
}

/// What a restore did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreReport {
    /// The backup.
    pub backup: BackupRow,
    /// The backup that was made of the tree before.
    pub safety: Option<BackupRow>,
    /// What it changes.
    pub change: ChangeReport,
    /// The steps that were taken, a sentence each.
    pub steps: Vec<String>,
    /// Why it was rolled back; empty where it was not.
    pub rolled_back: String,
}
