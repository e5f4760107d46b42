//! Questions about the metabase; `meta_answer` has their answers. Values travel as texts: what is shown to a person can be
//! given back.

use serde::{Deserialize, Serialize};

/// A question about the metabase. Paths and properties are as an administrator writes them: `smtpsvc/1`, `/LM/SmtpSvc`;
/// `SmartHost`, `36906`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "meta", rename_all = "snake_case")]
pub enum MetaRequest {
    /// The keys below a key, itself first: `MetaItem::Key` each.
    Tree {
        /// The key.
        path: String,
        /// How many levels below it.
        depth: usize,
    },
    /// The records of one key, by id: `MetaItem::Record` each.
    Enum {
        /// The key.
        path: String,
        /// Also those that it inherits.
        inherited: bool,
    },
    /// One value as a key sees it: one `MetaItem::Value`.
    Get {
        /// The key.
        path: String,
        /// Name or id.
        property: String,
        /// With its history.
        why: bool,
    },
    /// Records at a key or below it whose id, name or shown value matches: `MetaItem::Record` each; keys by name:
    /// `MetaItem::Key`.
    Find {
        /// Where to begin.
        path: String,
        /// An id, or a part of a name or value in any case.
        text: String,
    },
    /// Every known property: `MetaItem::Property` each.
    Schema,
    /// Changes some things in one transaction: one `MetaItem::Change`.
    Change {
        /// What, in this order.
        steps: Vec<MetaStep>,
        /// How.
        how: How,
    },
    /// Makes what a TOML text names be as it says: one `MetaItem::Change`.
    Apply {
        /// The text.
        text: Given,
        /// What goes that the text does not name.
        prune: Prune,
        /// How.
        how: How,
    },
    /// What `Apply` would change, also where it would be refused: one `MetaItem::Change`.
    Diff {
        /// The text.
        text: Given,
        /// As for `Apply`.
        prune: Prune,
    },
    /// The tree as a text: `MetaItem::Text` pieces.
    Export {
        /// Which form.
        form: Form,
        /// The key to begin at.
        path: String,
    },
    /// What an import of a MetaBase.xml takes, and, with `apply`, takes it: one `MetaItem::Import`.
    Import {
        /// The file.
        text: Given,
        /// Whether to write.
        apply: bool,
        /// How.
        how: How,
    },
    /// What is wrong with the tree: `MetaItem::Finding` each.
    Check {
        /// Only this key and those below it.
        path: String,
        /// Also looks up the hosts that values name.
        online: bool,
    },
    /// One `MetaItem::Pending` if a change waits to be confirmed, whatever came after it; then the newest changes, newest
    /// first: `MetaItem::History` each.
    Log {
        /// At most so many.
        limit: usize,
        /// Only this one, with all its differences.
        generation: Option<u64>,
    },
    /// Makes the tree be as it was after a change: one `MetaItem::Change`. Before the change that waits to be confirmed, it
    /// ends the wait.
    Rollback {
        /// The change.
        generation: u64,
        /// How.
        how: How,
    },
    /// Keeps the change that waits to be confirmed: one `MetaItem::Confirmed`.
    Confirm {
        /// Who keeps it.
        author: String,
    },
    /// Undoes the change that waits to be confirmed, and it alone, before its time: one `MetaItem::Change`.
    Undo {
        /// How.
        how: How,
    },
    /// Makes a backup and verifies it: one `MetaItem::Backup`.
    Backup {
        /// Up to 100 letters and digits.
        name: String,
        /// Which version.
        version: VersionWanted,
        /// Whether one that exists may be replaced.
        overwrite: bool,
        /// Makes it portable.
        password: Option<Secret>,
    },
    /// All backups, by name and version: `MetaItem::Backup` each.
    Backups,
    /// Reads a backup back and compares: one `MetaItem::Backup`.
    Verify {
        /// Its name.
        name: String,
        /// Its version.
        version: VersionWanted,
        /// Its password, if it has one.
        password: Option<Secret>,
    },
    /// Puts a backup in the place of the tree: one `MetaItem::Restore`.
    Restore {
        /// Its name.
        name: String,
        /// Its version.
        version: VersionWanted,
        /// Its password, if it has one.
        password: Option<Secret>,
        /// Leaves its secrets out: nothing that opens them is needed.
        #[serde(default)]
        without_secrets: bool,
        /// How; `dry_run` verifies and shows the difference.
        how: How,
    },
    /// Deletes a backup: one `MetaItem::Backup`, the one that is gone.
    DeleteBackup {
        /// Its name.
        name: String,
        /// Its version.
        version: VersionWanted,
    },
}

impl MetaRequest {
    /// Whether it makes something that stays.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Change { how, .. }
            | Self::Apply { how, .. }
            | Self::Rollback { how, .. }
            | Self::Undo { how }
            | Self::Restore { how, .. } => !how.dry_run,
            Self::Import { apply, how, .. } => *apply && !how.dry_run,
            Self::Backup { .. } | Self::Confirm { .. } | Self::DeleteBackup { .. } => true,
            Self::Tree { .. }
            | Self::Enum { .. }
            | Self::Get { .. }
            | Self::Find { .. }
            | Self::Schema
            | Self::Diff { .. }
            | Self::Export { .. }
            | Self::Check { .. }
            | Self::Log { .. }
            | Self::Backups
            | Self::Verify { .. } => false,
        }
    }
}

/// A step of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum MetaStep {
    /// Makes a key and those above it.
    Create {
        /// The key.
        path: String,
    },
    /// Deletes a key and all below it.
    Delete {
        /// The key.
        path: String,
    },
    /// Stores a value.
    Set {
        /// The key; it is made if it is missing.
        path: String,
        /// Name or id.
        property: String,
        /// The value: one text, or for a list its items.
        value: Vec<String>,
        /// `DWORD`, `STRING`, `BINARY`, `EXPANDSZ`, `MULTISZ`, where it is not to be as the schema or the old record says.
        data_type: Option<String>,
        /// User type, in the same way.
        user_type: Option<u32>,
        /// Attributes, in the same way.
        attributes: Option<u32>,
    },
    /// Removes a value.
    Unset {
        /// The key.
        path: String,
        /// Name or id.
        property: String,
    },
}

/// How a change is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct How {
    /// Who.
    pub author: String,
    /// Why, in the author's words.
    pub reason: String,
    /// Only says what it would do.
    pub dry_run: bool,
    /// Even if it makes an open relay; of a restore, even if the check finds an error.
    pub mean_it: bool,
    /// It undoes itself after so many seconds unless it is confirmed.
    pub confirm_secs: Option<u64>,
    /// Only if no change has been made after this one.
    pub if_generation: Option<u64>,
}

/// A text that a request brings along, or the file that the answering side is to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// What messages call it; without `text`, the absolute path of the file.
    pub name: String,
    /// The text itself.
    pub text: Option<String>,
}

/// What goes where a text does not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prune {
    /// Nothing.
    Nothing,
    /// The properties of keys that it names.
    Properties,
    /// Those, and keys below the ones that it names.
    Keys,
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// For people and version control.
    Toml,
    /// As the original's MetaBase.xml.
    Xml,
}

/// The highest version of a backup.
pub const VERSION_MAX: u32 = 9999;

/// Which version of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionWanted {
    /// This one, 0 to `VERSION_MAX`.
    This(u32),
    /// One above the highest.
    Next,
    /// The highest there is.
    Highest,
}

/// A password. It is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
