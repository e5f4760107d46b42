//! What a property is: the shape of the catalogue's entries.

use crate::forms::Bad;
use crate::key::{Key, KeyKind};
use crate::record::{Data, Record, StoredType};
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
    /// Attribute bits, as in `record`.
    pub attributes: u32,
    /// What its value counts or is made of.
    pub unit: &'static str,
    /// Least and largest number, where it is a number.
    pub bounds: Option<(u32, u32)>,
    /// The numbers it may have and what each is called, where it is an enumeration.
    pub names: &'static [(u32, &'static str)],
    /// The bits that are known and what each is called, where it is a mask.
    pub bits: &'static [(u32, &'static str)],
    /// What a fresh install has.
    pub fresh: Default,
    /// What holds where an imported configuration has no value, if that differs.
    pub absent: Option<Default>,
    /// Where it may stand.
    pub keys: &'static [KeyKind],
    /// What it is for, in a sentence.
    pub doc: &'static str,
    /// What it does in this service.
    pub mark: Mark,
    /// Where it is refused, the number that is taken all the same, as it asks for what the service does; without one, what is
    /// blank is taken.
    pub granted: Option<u32>,
}

/// What a property does in this service.
#[derive(Clone, Copy, Debug)]
pub enum Mark {
    /// It takes effect.
    InForce {
        /// The name of the test that shows the effect.
        effect_test: &'static str,
        /// Puts a value of the right type and within bounds into the settings.
        apply: Effect,
    },
    /// It is kept, and nothing reads it.
    Kept,
    /// It is not taken from an administrator, as it would promise what the service does not do; an imported one is kept.
    /// The reason is a sentence that ends in what to do instead, if anything.
    Refused(&'static str),
}

/// How a value gets into the settings.
#[derive(Clone, Copy, Debug)]
pub struct Effect(pub(crate) Apply);

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
    /// A text with names of environment variables.
    ExpandSz,
    /// A list of texts.
    MultiSz,
    /// Octets; where the unit is `NETWORKS`, a list of networks.
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
            Self::ExpandSz => "EXPANDSZ",
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
    /// `IIS_MD_UT_WAM`, 100.
    Wam,
}

impl UserType {
    /// The original's number.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Server => 1,
            Self::File => 2,
            Self::Wam => 100,
        }
    }
}

/// The unit of a BINARY that is a list of networks.
pub const NETWORKS: &str = "networks";
/// The unit of a text that names a folder.
const FOLDER: &str = "a folder";

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

impl std::fmt::Display for Default {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(list) => write!(f, "{list:?}"),
            Self::Unset(words) => f.write_str(words),
        }
    }
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

    /// The type its records have in the tree.
    #[must_use]
    pub fn stored_type(&self) -> StoredType {
        match self.data_type {
            DataType::Dword | DataType::Bool => StoredType::Dword,
            DataType::String => StoredType::String,
            DataType::ExpandSz => StoredType::ExpandSz,
            DataType::MultiSz => StoredType::MultiSz,
            DataType::Binary => StoredType::Binary,
        }
    }

    /// Whether its octets are a list of networks.
    #[must_use]
    pub fn is_networks(&self) -> bool {
        self.data_type == DataType::Binary && self.unit == NETWORKS
    }

    /// Whether it is edited as a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.data_type == DataType::MultiSz || self.is_networks()
    }

    /// Whether it names a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.unit == FOLDER
    }

    /// Whether a record is stored as the schema says, so that its value tells the rest.
    pub(crate) fn is_regular(&self, record: &Record) -> bool {
        record.attributes == self.attributes
            && record.user_type == self.user_type.number()
            && record.data.stored_type() == self.stored_type()
    }

    /// Whether it may stand at a key of a kind.
    #[must_use]
    pub fn stands_at(&self, kind: KeyKind) -> bool {
        self.keys.iter().any(|known| *known == kind || *known == KeyKind::Any)
    }

    /// What holds without a record.
    #[must_use]
    pub fn absent(&self) -> Default {
        self.absent.unwrap_or(self.fresh)
    }

    /// Whether a value asks for nothing that the service does not do.
    #[must_use]
    pub fn asks_nothing(&self, data: &Data) -> bool {
        match (data, self.granted) {
            (Data::Dword(number), granted) => *number == granted.unwrap_or(0),
            (Data::String(text) | Data::ExpandSz(text), _) => text.is_empty(),
            (Data::Binary(octets), _) => octets.is_empty(),
            (Data::MultiSz(list), _) => list.is_empty(),
        }
    }

    /// How it takes effect, if it does.
    pub(crate) fn apply(&self) -> Option<Apply> {
        match self.mark {
            Mark::InForce { apply, .. } => Some(apply.0),
            Mark::Kept | Mark::Refused(_) => None,
        }
    }

    /// The same as `expectation` for those who give texts as they are, and not in TOML's quotes and brackets.
    #[must_use]
    pub fn takes(&self) -> String {
        match self.data_type {
            DataType::String | DataType::ExpandSz => format!("a text: {}", self.unit),
            DataType::MultiSz | DataType::Binary if self.is_list() => format!("a list: {}", self.unit),
            _ => self.expectation(),
        }
    }

    /// What may be given, as the end of a sentence: `a number from 1 to 10000`.
    #[must_use]
    pub fn expectation(&self) -> String {
        if !self.names.is_empty() {
            let choices: Vec<_> =
                self.names.iter().map(|(number, name)| format!("{number} (\"{name}\")")).collect();
            return format!("one of {}", choices.join(", "));
        }
        if let Some((_, bit)) = self.bits.first() {
            return format!("a number, or names of bits joined by |, as {bit}");
        }
        match (self.data_type, self.bounds) {
            (DataType::Dword, Some((least, most))) => format!("a number from {least} to {most}"),
            (DataType::Dword, None) => format!("a number from 0 to {}", u32::MAX),
            (DataType::Bool, _) => "true or false".into(),
            (DataType::String | DataType::ExpandSz, _) => format!("a text in quotes, {}", self.unit),
            (DataType::Binary, _) if !self.is_networks() => "octets in hex".into(),
            (DataType::MultiSz | DataType::Binary, _) => {
                format!("a list of texts, [\"...\", \"...\"], {}", self.unit)
            }
        }
    }
}
