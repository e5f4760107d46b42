//! A backup: the whole tree in one file, whole or refused.
//!
//! | part | what |
//! |---|---|
//! | first line | `postroad-backup 1`: what it is, and the version of the format |
//! | second line | the manifest, JSON: see `Manifest` |
//! | payload | JSON lines: `{"key":"/LM"}`, then a `{"record":{...}}` for each record of that key; a key before those below it |
//! | last line | `sha256 ` and the SHA-256 of everything before this line, 64 hexadecimal digits |
//!
//! Every line ends in one LF, the last as well. A flipped bit or a missing octet anywhere shows in the last line or in the
//! first two. The checksum finds damage, not forgery: whoever may write the file may write another one.
//!
//! A record has `id`, `attributes`, `user_type` and `value`: `{"plain":DATA}`, or for one with the SECURE attribute
//! `{"sealed":HEX}`, the JSON of DATA under AES-256-GCM-SIV. The nonce counts the sealed records of the file from 0; the
//! associated data is the key's path, a LF and the id, so that a secret opens only where it belongs. Everything else is
//! plain. VOLATILE records are not in a backup.
//!
//! The key is of this file alone. With a password it is Argon2id of password and salt: such a backup can be restored
//! anywhere. Without, it is HMAC-SHA-256 of the salt under the installation's own key: such a backup can be restored by
//! this installation only. A tree without secrets needs no key, unless a password is given all the same. The manifest has
//! the seal of nothing under that key, by which a wrong password is told from damage.

mod frame;
mod key;
mod lines;
mod name;

use crate::path::KeyPath;
use crate::record::{SECURE, VOLATILE};
use crate::tree::{Delta, KEYS_MAX, Tree};
use lines::Secrets;
use postroad_mail::time::Wall;
use serde::{Deserialize, Serialize};

pub use name::{BackupName, NAME_MAX, NameError, VERSION_MAX, file_name, parse_file_name};

/// The version of the format.
pub const FORMAT: u32 = 1;
/// Octets of a file: a tree of `tree::KEYS_MAX` keys with a kilobyte each.
pub const FILE_MAX: usize = 1024 * 1024 * 1024;

/// A backup, open.
#[derive(Clone, Debug)]
pub struct Backup {
    /// What it is called.
    pub name: BackupName,
    /// Which of that name, 0 to 9999.
    pub version: u32,
    /// When it was made.
    pub at: Wall,
    /// The change after which the tree was like this.
    pub generation: u64,
    /// The tree.
    pub tree: Tree,
}

/// What secrets are sealed and opened with.
#[derive(Clone, Copy)]
pub struct Keys<'k> {
    /// The administrator's password; none for a backup that stays here.
    pub password: Option<&'k str>,
    /// The installation's own key.
    pub machine: &'k [u8; 32],
}

impl std::fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

/// What a backup says of itself, readable by anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format, as in the first line.
    pub format: u32,
    /// The version of the program that made it.
    pub program: String,
    /// What it is called.
    pub name: BackupName,
    /// Which of that name.
    pub version: u32,
    /// When it was made, milliseconds since 1970.
    pub at: Wall,
    /// The generation of the tree.
    pub generation: u64,
    /// Keys in it, the root among them.
    pub keys: u64,
    /// Records in it.
    pub records: u64,
    /// Octets of the payload.
    pub length: u64,
    /// SHA-256 of the payload.
    pub sha256: String,
    /// How its secrets are protected.
    pub protection: Protection,
}

/// How the secrets of a backup are protected. Salt and check are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Protection {
    /// There are none.
    None {},
    /// By the installation's own key.
    Machine {
        /// 16 octets.
        salt: String,
        /// The seal of nothing, 16 octets.
        check: String,
    },
    /// By a password, through Argon2id (version 0x13).
    Password {
        /// 16 octets.
        salt: String,
        /// The seal of nothing, 16 octets.
        check: String,
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

impl Manifest {
    /// Whether it can be restored only with its password.
    #[must_use]
    pub fn is_password(&self) -> bool {
        matches!(self.protection, Protection::Password { .. })
    }
}

/// Why a backup is not made or not read, as the end of a sentence that begins with its name, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("is not a backup of this program: {0}")]
    Foreign(&'static str),
    /// The format is of a later program.
    #[error(
        "has format {0}, and this program reads up to format {FORMAT}. Restore it with the program that made it, or a later one"
    )]
    Newer(u32),
    /// The end is missing.
    #[error("is cut off: its end is missing. Take another version, or copy it again from where it came")]
    Cut,
    /// It is not what was written.
    #[error("is damaged: {0}. Take another version, or copy it again from where it came")]
    Damaged(&'static str),
    /// It is as it was written, and makes no sense.
    #[error("was not written by this program as it is: {0}. Take another version")]
    Malformed(String),
    /// A password is needed.
    #[error(
        "is protected by a password. Give the password it was made with, or restore it with --without-secrets"
    )]
    PasswordNeeded,
    /// The password is another one.
    #[error(
        "is whole, and the password is not the one it was made with. Give that one, or restore it with --without-secrets"
    )]
    WrongPassword,
    /// A password of no characters protects nothing.
    #[error(
        "cannot have an empty password. Give a password, or none for a backup that can be restored only here"
    )]
    EmptyPassword,
    /// It was sealed by another installation.
    #[error(
        "is whole, and its secrets are sealed by the key of another installation. Restore it there; or make a backup with a password there and restore that; or restore it here with --without-secrets, and enter the secrets again"
    )]
    OtherMachine,
    /// A limit.
    #[error("is too large: {0}")]
    TooLarge(String),
    /// It does not hold what it should.
    #[error("does not hold what it should: {0}. Make it again")]
    Differs(String),
    /// The cryptographic library failed.
    #[error("cannot be sealed or opened: {0}. Free some memory, and try again")]
    Crypto(&'static str),
}

/// Writes a backup. `salt` is random and never used again. With a password it is portable.
///
/// # Errors
/// `EmptyPassword`, `TooLarge`, `Crypto`.
pub fn encode(backup: &Backup, keys: &Keys<'_>, salt: [u8; 16]) -> Result<Vec<u8>, BackupError> {
    let has_secrets = backup
        .tree
        .walk()
        .any(|(_, node)| node.records().any(|record| record.has(SECURE) && !record.has(VOLATILE)));
    let (sealer, protection) = match keys.password {
        None if !has_secrets => (None, Protection::None {}),
        password => {
            let (sealer, protection) = key::seal_new(password, keys.machine, salt)?;
            (Some(sealer), protection)
        }
    };
    let written = lines::write(&backup.tree, sealer.as_ref())?;
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").into(),
        name: backup.name.clone(),
        version: backup.version,
        at: backup.at,
        generation: backup.generation,
        keys: backup.tree.keys() as u64,
        records: written.records,
        length: written.payload.len() as u64,
        sha256: frame::sha256(&[&written.payload]),
        protection,
    };
    frame::write(&manifest, &written.payload)
}

/// What a file says of itself, after its checksum is found right. It needs no key.
///
/// # Errors
/// All that can be wrong without one.
pub fn manifest(octets: &[u8]) -> Result<Manifest, BackupError> {
    frame::read(octets).map(|(manifest, _)| manifest)
}

/// Reads a backup whole.
///
/// # Errors
/// `BackupError`.
pub fn decode(octets: &[u8], keys: &Keys<'_>) -> Result<Backup, BackupError> {
    let (manifest, payload) = read(octets)?;
    let opener = key::open(&manifest.protection, keys)?;
    let tree = lines::read(payload, Secrets::Open(opener.as_ref()))?;
    counted(manifest, tree, 0)
}

/// Reads a backup without its secrets, for whoever has the file and not what opens them: the places of those that are left
/// out are told, to be entered again.
///
/// # Errors
/// `BackupError`, none of those about keys.
pub fn decode_without_secrets(octets: &[u8]) -> Result<(Backup, Vec<(KeyPath, u32)>), BackupError> {
    let (manifest, payload) = read(octets)?;
    let mut left_out = Vec::new();
    let tree = lines::read(payload, Secrets::LeaveOut(&mut left_out))?;
    Ok((counted(manifest, tree, left_out.len())?, left_out))
}

fn read(octets: &[u8]) -> Result<(Manifest, &[u8]), BackupError> {
    let (manifest, payload) = frame::read(octets)?;
    if manifest.keys > KEYS_MAX as u64 {
        return Err(BackupError::TooLarge(format!("it has {} keys, {KEYS_MAX} at most", manifest.keys)));
    }
    Ok((manifest, payload))
}

/// The backup, if it has as many keys and records as it says, those that were left out among them.
fn counted(manifest: Manifest, tree: Tree, left_out: usize) -> Result<Backup, BackupError> {
    let records: usize = left_out + tree.walk().map(|(_, node)| node.records().len()).sum::<usize>();
    if (tree.keys() as u64, records as u64) != (manifest.keys, manifest.records) {
        return Err(BackupError::Malformed(format!(
            "it holds {} keys and {records} records, and says {} and {}",
            tree.keys(),
            manifest.keys,
            manifest.records
        )));
    }
    Ok(Backup {
        name: manifest.name,
        version: manifest.version,
        at: manifest.at,
        generation: manifest.generation,
        tree,
    })
}

/// Reads a backup whole into a tree of its own and, where it is known what it should hold, compares record by record.
///
/// # Errors
/// `BackupError`; `Differs` names the first place.
pub fn verify(octets: &[u8], keys: &Keys<'_>, expected: Option<&Tree>) -> Result<Backup, BackupError> {
    let backup = decode(octets, keys)?;
    let deltas = expected.map(|expected| expected.diff(&backup.tree)).unwrap_or_default();
    // What is VOLATILE is rightly not there.
    let is_left_out = |delta: &Delta| matches!(delta, Delta::Record { before: Some(record), after: None, .. } if record.has(VOLATILE));
    match deltas.iter().find(|delta| !is_left_out(delta)) {
        None => Ok(backup),
        Some(delta) => Err(BackupError::Differs(difference(delta))),
    }
}

fn difference(delta: &Delta) -> String {
    let place = |path: &KeyPath, id: u32| format!("record {id} of {path}");
    match delta {
        Delta::KeyCreated(path) => format!("the key {path} is in it and should not be"),
        Delta::KeyDeleted(path) => format!("the key {path} is missing"),
        Delta::Record { path, id, before: None, .. } => {
            format!("{} is in it and should not be", place(path, *id))
        }
        Delta::Record { path, id, after: None, .. } => format!("{} is missing", place(path, *id)),
        Delta::Record { path, id, .. } => format!("{} is another one", place(path, *id)),
    }
}
