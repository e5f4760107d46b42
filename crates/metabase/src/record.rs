//! What a key stores: records.

use crate::ids;
use serde::{Deserialize, Serialize};

/// The value is seen by the keys below.
pub const INHERIT: u32 = 0x1;
/// A lookup may end above the key asked for.
pub const PARTIAL_PATH: u32 = 0x2;
/// A secret: encrypted on disk, never printed, never made public again.
pub const SECURE: u32 = 0x4;
/// The value is handed out by reference.
pub const REFERENCE: u32 = 0x8;
/// The value is not stored: it is gone when the service ends.
pub const VOLATILE: u32 = 0x10;
/// Shown for a value that comes from a key above; never stored.
pub const IS_INHERITED: u32 = 0x20;
/// `<%INSERT_PATH%>` in a text stands for the path of the key that is asked.
pub const INSERT_PATH: u32 = 0x40;

/// The attributes that can be stored, each with the name the original gives it.
pub const ATTRIBUTE_NAMES: &[(u32, &str)] = &[
    (INHERIT, "INHERIT"),
    (PARTIAL_PATH, "PARTIAL_PATH"),
    (SECURE, "SECURE"),
    (REFERENCE, "REFERENCE"),
    (VOLATILE, "VOLATILE"),
    (INSERT_PATH, "INSERT_PATH"),
];

/// Users that a record may be filed under, with the name MetaBase.xml gives each.
pub const USER_TYPE_NAMES: &[(u32, &str)] =
    &[(1, "IIS_MD_UT_SERVER"), (2, "IIS_MD_UT_FILE"), (100, "IIS_MD_UT_WAM"), (101, "ASP_MD_UT_APP")];

/// What `<%INSERT_PATH%>` is called in a text.
pub const INSERT_PATH_TOKEN: &str = "<%INSERT_PATH%>";

/// Octets of one record's data: a list of 4,096 networks takes a tenth of it.
pub const DATA_MAX: usize = 1024 * 1024;

/// A stored value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which property it is of.
    pub id: u32,
    /// Attribute bits, without `IS_INHERITED`.
    pub attributes: u32,
    /// Whom it is filed under: 1 server, 2 file, 100 WAM, 101 ASP application, or any other number.
    pub user_type: u32,
    /// The value, with its type.
    pub data: Data,
}

/// A value of one of the five data types.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// 1: a number of 32 bits. A BOOL is one that is 0 or 1.
    Dword(u32),
    /// 2: a text.
    String(String),
    /// 3: octets.
    Binary(Vec<u8>),
    /// 4: a text with names of environment variables between percent signs, which are kept as they are.
    ExpandSz(String),
    /// 5: a list of texts.
    MultiSz(Vec<String>),
}

/// The data types, without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredType {
    /// 1.
    Dword,
    /// 2.
    String,
    /// 3.
    Binary,
    /// 4.
    ExpandSz,
    /// 5.
    MultiSz,
}

impl StoredType {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Dword, Self::String, Self::Binary, Self::ExpandSz, Self::MultiSz];

    /// The original's number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Dword => 1,
            Self::String => 2,
            Self::Binary => 3,
            Self::ExpandSz => 4,
            Self::MultiSz => 5,
        }
    }

    /// The original's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dword => "DWORD",
            Self::String => "STRING",
            Self::Binary => "BINARY",
            Self::ExpandSz => "EXPANDSZ",
            Self::MultiSz => "MULTISZ",
        }
    }

    /// The type of a name in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

impl Data {
    /// Its type.
    #[must_use]
    pub fn stored_type(&self) -> StoredType {
        match self {
            Self::Dword(_) => StoredType::Dword,
            Self::String(_) => StoredType::String,
            Self::Binary(_) => StoredType::Binary,
            Self::ExpandSz(_) => StoredType::ExpandSz,
            Self::MultiSz(_) => StoredType::MultiSz,
        }
    }

    /// Octets it takes, for limits.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Dword(_) => 4,
            Self::String(text) | Self::ExpandSz(text) => text.len(),
            Self::Binary(octets) => octets.len(),
            Self::MultiSz(list) => list.iter().map(|item| item.len() + 1).sum(),
        }
    }
}

impl Record {
    /// What a key is, as the original stores it.
    pub(crate) fn key_type(class: &str) -> Self {
        Self { id: ids::KEY_TYPE, attributes: 0, user_type: 1, data: Data::String(class.into()) }
    }

    /// Whether it has an attribute.
    #[must_use]
    pub fn has(&self, attribute: u32) -> bool {
        self.attributes & attribute != 0
    }
}

/// A secret is not shown, not even to a developer.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Record");
        shown.field("id", &self.id).field("attributes", &self.attributes).field("user_type", &self.user_type);
        if self.has(SECURE) {
            shown.field("data", &"(secret)").finish()
        } else {
            shown.field("data", &self.data).finish()
        }
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dword(number) => write!(f, "Dword({number})"),
            Self::String(text) => write!(f, "String({text:?})"),
            Self::Binary(octets) => write!(f, "Binary({octets:02x?})"),
            Self::ExpandSz(text) => write!(f, "ExpandSz({text:?})"),
            Self::MultiSz(list) => write!(f, "MultiSz({list:?})"),
        }
    }
}
