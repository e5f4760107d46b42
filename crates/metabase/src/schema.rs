//! What a property is: the shape of the catalogue's entries.

use crate::forms::Bad;
use crate::key::{Key, KeyKind};
use crate::settings::Draft;

/// One property: an entry of the catalogue.
#[derive(Debug)]
pub struct Property {
    /// Its name, the original's where there is one; case does not matter when read.
    pub name: &'static str,
    /// Its number.
    pub id: u32,
    /// How it is stored.
    pub data_type: DataType,
    /// Whom the original's store filed it under.
    pub user_type: UserType,
    /// Attribute bits: `INHERIT`, `REFERENCE`.
    pub attributes: u32,
    /// What its value counts or is made of.
    pub unit: &'static str,
    /// Least and largest number, where it is a number.
    pub bounds: Option<(u32, u32)>,
    /// The numbers it may have and what each is called, where it is an enumeration.
    pub names: &'static [(u32, &'static str)],
    /// What a fresh install has.
    pub fresh: Default,
    /// What holds where an imported configuration has no value, if that differs.
    pub absent: Option<Default>,
    /// Where it may stand.
    pub keys: &'static [KeyKind],
    /// What it is for, in a sentence.
    pub doc: &'static str,
    /// Puts a value of the right type and within bounds into the settings.
    pub(crate) apply: Apply,
}

pub(crate) type Apply = fn(&mut Draft, &Key, &Value) -> Result<(), Bad>;

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// A number of 32 bits.
    Dword,
    /// A DWORD that is 0 or 1.
    Bool,
    /// A text.
    String,
    /// A list of texts.
    MultiSz,
    /// Octets; of the properties here, a list of networks, shown as one.
    Binary,
}

impl DataType {
    /// The type's name as the original writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dword => "DWORD",
            Self::Bool => "BOOL",
            Self::String => "STRING",
            Self::MultiSz => "MULTISZ",
            Self::Binary => "BINARY",
        }
    }
}

/// Whom a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserType {
    /// `IIS_MD_UT_SERVER`, 1.
    Server,
    /// `IIS_MD_UT_FILE`, 2.
    File,
}

/// The value is seen by the keys below.
pub const INHERIT: u32 = 1;
/// The value is handed out by reference.
pub const REFERENCE: u32 = 8;

/// Ids of properties that the original does not have, or has without an id known in public.
pub const OWN_IDS: std::ops::RangeInclusive<u32> = 100_000..=129_999;

/// A default of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// A number, or a BOOL.
    Number(u32),
    /// A text.
    Text(&'static str),
    /// A list.
    List(&'static [&'static str]),
    /// No value; the words say what holds then.
    Unset(&'static str),
}

/// A value as a record has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// DWORD and BOOL.
    Number(u32),
    /// STRING.
    Text(String),
    /// MULTISZ, and BINARY that is shown as a list.
    List(Vec<String>),
}

impl Default {
    /// As a value, unless unset.
    #[must_use]
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Number(number) => Some(Value::Number(number)),
            Self::Text(text) => Some(Value::Text(text.into())),
            Self::List(list) => Some(Value::List(list.iter().map(|item| (*item).into()).collect())),
            Self::Unset(_) => None,
        }
    }
}

impl Property {
    /// Whether the id is one of ours: the original has no such property, or its id is not known in public.
    #[must_use]
    pub fn is_own(&self) -> bool {
        OWN_IDS.contains(&self.id)
    }

    /// What may be given, as the end of a sentence: `a number from 1 to 10000`.
    #[must_use]
    pub fn expectation(&self) -> String {
        if !self.names.is_empty() {
            let choices: Vec<_> =
                self.names.iter().map(|(number, name)| format!("{number} (\"{name}\")")).collect();
            return format!("one of {}", choices.join(", "));
        }
        match (self.data_type, self.bounds) {
            (DataType::Dword, Some((least, most))) => format!("a number from {least} to {most}"),
            (DataType::Dword, None) => format!("a number from 0 to {}", u32::MAX),
            (DataType::Bool, _) => "true or false".into(),
            (DataType::String, _) => format!("a text in quotes, {}", self.unit),
            (DataType::MultiSz | DataType::Binary, _) => {
                format!("a list of texts, [\"...\", \"...\"], {}", self.unit)
            }
        }
    }
}
