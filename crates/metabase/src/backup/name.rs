//! What backups are called, and their files: `nightly.pb3`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Characters of a name, as in the original.
pub const NAME_MAX: usize = 100;
/// The highest version, as in the original.
pub const VERSION_MAX: u32 = 9999;

const EXTENSION: &str = ".pb";

/// A name: 1 to 100 ASCII letters and digits. Case matters, as it does in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a backup's name has 1 to {NAME_MAX} letters (a to z) and digits, and nothing else. Give such a name"
)]
pub struct NameError;

impl BackupName {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackupName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_name =
            (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
        is_name.then(|| Self(text.into())).ok_or(NameError)
    }
}

impl TryFrom<String> for BackupName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a backup's file.
#[must_use]
pub fn file_name(name: &BackupName, version: u32) -> String {
    format!("{name}{EXTENSION}{version}")
}

/// Whose file a name is; none for one that `file_name` does not give.
#[must_use]
pub fn parse_file_name(file: &str) -> Option<(BackupName, u32)> {
    let (name, version) = file.rsplit_once(EXTENSION)?;
    let (name, version) = (name.parse().ok()?, version.parse().ok()?);
    (version <= VERSION_MAX && file_name(&name, version) == file).then_some((name, version))
}
