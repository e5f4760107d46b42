//! MetaBase.xml, as Internet Information Services 6 keeps it: in and out.
//!
//! The file is a flat list of elements, one a key; which keys stand below which is in their `Location` alone. An element's
//! name is the key's KeyType. Properties that the schema knows for the class are attributes, any other record is a `Custom`
//! element with all that is to be known of it. Lists have their items on lines of their own inside an attribute, which a
//! conforming parser would join by blanks; so attributes are read as they stand.

mod class;
mod judge;
mod read;
mod take;
mod value;
mod write;

pub use read::{ATTRIBUTE_OCTETS_MAX, ATTRIBUTES_MAX, DEPTH_MAX, ELEMENTS_MAX, OCTETS_MAX, XML_NAME_MAX};
pub use take::{LINES_MAX, Line, LineKind, STEPS_MAX, Taken, take};
pub use write::{Facts, remarked, schema, write};

use crate::error::ConfigError;

/// Why a text cannot be taken at all: where it is no XML, or another file altogether.
pub type XmlError = ConfigError;
