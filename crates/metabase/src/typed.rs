//! From a value of a TOML text to a record.

use crate::catalogue;
use crate::check;
use crate::forms::{self, Bad};
use crate::hex;
use crate::ipsec;
use crate::record::{
    ATTRIBUTE_NAMES, DATA_MAX, Data, IS_INHERITED, Record, SECURE, StoredType, USER_TYPE_NAMES,
};
use crate::schema::{DataType, Property, Value};
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

/// What an attribute list without any is called.
pub(crate) const NO_ATTRIBUTES: &str = "NO_ATTRIBUTES";

/// A record with what the schema says of its property.
pub(crate) fn record_of(property: &Property, data: Data) -> Record {
    Record { id: property.id, attributes: property.attributes, user_type: property.user_type.number(), data }
}

/// Whether a record is never shown: it is marked so, or it should be.
pub(crate) fn is_secret(record: &Record) -> bool {
    record.has(SECURE)
        || catalogue::by_id(record.id).is_some_and(|property| property.attributes & SECURE != 0)
}

/// The record that a value of the text stands for: a plain value is one as the schema has it, a table says all itself.
pub(crate) fn record(id: u32, property: Option<&Property>, value: &DeValue<'_>) -> Result<Record, Bad> {
    let record = match (value, property) {
        (DeValue::Table(fields), _) => inline(id, property, fields)?,
        (_, Some(property)) => record_of(property, plain(property, value)?),
        (_, None) => Record { id, attributes: 0, user_type: 1, data: of_type(guess(value)?, value)? },
    };
    if record.data.size() > DATA_MAX {
        return Err(Bad::new("is too long", format!("Keep it to {DATA_MAX} octets.")));
    }
    Ok(record)
}

/// A value of the catalogue as it is stored.
pub(crate) fn stored(property: &Property, value: Value) -> Result<Data, Bad> {
    Ok(match (property.stored_type(), value) {
        (StoredType::ExpandSz, Value::Text(text)) => Data::ExpandSz(text),
        (StoredType::Binary, Value::List(list)) => Data::Binary(networks(&list)?),
        (_, Value::Number(number)) => Data::Dword(number),
        (_, Value::Text(text)) => Data::String(text),
        (_, Value::List(list)) => Data::MultiSz(list),
    })
}

fn networks(list: &[String]) -> Result<Vec<u8>, Bad> {
    Ok(ipsec::encode(&forms::each(list, forms::network)?))
}

fn plain(property: &Property, value: &DeValue<'_>) -> Result<Data, Bad> {
    let given = if property.attributes & SECURE != 0 { "the value".into() } else { shown(value) };
    let give = || format!("Give {}.", property.expectation());
    let wrong = |what: &str| Bad::new(format!("{given} is not {what}"), give());
    match (property.stored_type(), value) {
        (StoredType::Dword, _) if property.data_type == DataType::Bool => match value {
            DeValue::Boolean(yes) => Ok(Data::Dword(u32::from(*yes))),
            DeValue::Integer(n) if matches!(n.as_str(), "0" | "1") => {
                Ok(Data::Dword(u32::from(n.as_str() == "1")))
            }
            _ => Err(wrong("true or false")),
        },
        (StoredType::Dword, DeValue::Integer(integer)) => {
            let number = number(integer).ok_or_else(|| wrong("a number of 32 bits"))?;
            check::number(property, number).map(|_| Data::Dword(number))
        }
        (StoredType::Dword, DeValue::String(name)) if !property.names.is_empty() => {
            check::named(property.names, name).map(Data::Dword).ok_or_else(|| wrong("known"))
        }
        (StoredType::Dword, _) => Err(wrong("a number")),
        (StoredType::String, DeValue::String(text)) => Ok(Data::String(text.clone().into_owned())),
        (StoredType::ExpandSz, DeValue::String(text)) => Ok(Data::ExpandSz(text.clone().into_owned())),
        (StoredType::String | StoredType::ExpandSz, _) => Err(wrong("a text")),
        (StoredType::Binary, DeValue::String(digits)) if !property.is_list() => {
            octets(digits).map(Data::Binary).ok_or_else(|| wrong("octets as hexadecimal digits"))
        }
        (StoredType::Binary, _) if !property.is_list() => Err(wrong("octets as hexadecimal digits")),
        (StoredType::Binary, DeValue::Array(array)) => Ok(Data::Binary(networks(&texts(array, &give())?)?)),
        (StoredType::MultiSz, DeValue::Array(array)) => texts(array, &give()).map(Data::MultiSz),
        (StoredType::MultiSz | StoredType::Binary, _) => Err(wrong("a list")),
    }
}

fn texts(array: &DeArray<'_>, remedy: &str) -> Result<Vec<String>, Bad> {
    let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| match item.get_ref() {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(Bad {
            item: Some(index),
            what: format!("{} is not a text", shown(other)),
            remedy: remedy.into(),
        }),
    };
    array.iter().enumerate().map(item).collect()
}

const FORM: &str = "{ type = \"DWORD\", value = 0, user_type = 1, attributes = \"NO_ATTRIBUTES\" }";

fn inline(id: u32, property: Option<&Property>, fields: &DeTable<'_>) -> Result<Record, Bad> {
    let refused = |what: &str| Bad::new(what, format!("Give {FORM}."));
    let field =
        |name: &str| fields.iter().find(|(known, _)| known.get_ref() == name).map(|(_, v)| v.get_ref());
    let known = ["type", "value", "user_type", "attributes"];
    if let Some((name, _)) = fields.iter().find(|(name, _)| !known.contains(&&**name.get_ref())) {
        return Err(refused(&format!("{} is not a part of a value", quoted(name.get_ref()))));
    }
    let value = field("value").ok_or_else(|| refused("has no value"))?;
    let kind = match (field("type"), property) {
        (Some(DeValue::String(name)), _) => {
            StoredType::named(name).ok_or_else(|| refused(&format!("{} is not a type", quoted(name))))?
        }
        (Some(_), _) => return Err(refused("its type is not a text")),
        (None, Some(property)) => property.stored_type(),
        (None, None) => guess(value)?,
    };
    let user_type = match field("user_type") {
        None => property.map_or(1, |property| property.user_type.number()),
        Some(DeValue::Integer(integer)) => {
            number(integer).ok_or_else(|| refused("its user_type is no number"))?
        }
        Some(DeValue::String(name)) => {
            check::named(USER_TYPE_NAMES, name.trim()).ok_or_else(|| refused("its user_type is unknown"))?
        }
        Some(_) => return Err(refused("its user_type is neither a number nor a name")),
    };
    let attributes = match field("attributes") {
        None => property.map_or(0, |property| property.attributes),
        Some(DeValue::Integer(integer)) => {
            number(integer).ok_or_else(|| refused("its attributes are no number"))?
        }
        Some(DeValue::String(text)) => {
            attributes(text).ok_or_else(|| refused("its attributes are unknown"))?
        }
        Some(_) => return Err(refused("its attributes are neither a number nor names")),
    };
    if attributes & IS_INHERITED != 0 {
        return Err(refused("ISINHERITED is shown and never stored"));
    }
    // A secret does not become public by an attribute that was left out.
    let attributes = attributes | property.map_or(0, |property| property.attributes & SECURE);
    Ok(Record { id, attributes, user_type, data: of_type(kind, value)? })
}

fn attributes(text: &str) -> Option<u32> {
    if text.trim().eq_ignore_ascii_case(NO_ATTRIBUTES) {
        return Some(0);
    }
    text.split('|').try_fold(0, |bits, name| Some(bits | check::named(ATTRIBUTE_NAMES, name.trim())?))
}

/// The type that a value has where nothing says it.
fn guess(value: &DeValue<'_>) -> Result<StoredType, Bad> {
    match value {
        DeValue::Integer(_) | DeValue::Boolean(_) => Ok(StoredType::Dword),
        DeValue::String(_) => Ok(StoredType::String),
        DeValue::Array(_) => Ok(StoredType::MultiSz),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err(Bad::new("is neither a number, a text nor a list", format!("Give one, or {FORM}.")))
        }
    }
}

/// A value as a type has it, by no schema. It may be a secret, so nothing of it is said.
fn of_type(kind: StoredType, value: &DeValue<'_>) -> Result<Data, Bad> {
    let remedy = match kind {
        StoredType::Dword => format!("Give a number from 0 to {}.", u32::MAX),
        StoredType::String | StoredType::ExpandSz => "Give a text in quotes.".into(),
        StoredType::Binary => "Give hexadecimal digits in quotes, or a list of networks.".into(),
        StoredType::MultiSz => "Give a list of texts.".into(),
    };
    let wrong = || Bad::new(format!("the value is no {}", kind.name()), remedy.clone());
    match (kind, value) {
        (StoredType::Dword, DeValue::Integer(integer)) => number(integer).map(Data::Dword),
        (StoredType::Dword, DeValue::Boolean(yes)) => Some(Data::Dword(u32::from(*yes))),
        (StoredType::String, DeValue::String(text)) => Some(Data::String(text.clone().into_owned())),
        (StoredType::ExpandSz, DeValue::String(text)) => Some(Data::ExpandSz(text.clone().into_owned())),
        (StoredType::Binary, DeValue::String(digits)) => octets(digits).map(Data::Binary),
        (StoredType::Binary, DeValue::Array(array)) => {
            return texts(array, &remedy)
                .and_then(|list| networks(&list))
                .map(Data::Binary)
                .map_err(|_| wrong());
        }
        (StoredType::MultiSz, DeValue::Array(array)) => texts(array, &remedy).ok().map(Data::MultiSz),
        _ => None,
    }
    .ok_or_else(wrong)
}

fn number(integer: &DeInteger<'_>) -> Option<u32> {
    let digits: String = integer.as_str().chars().filter(|c| *c != '_').collect();
    u32::from_str_radix(&digits, integer.radix()).ok()
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    hex::read(digits.chars().filter(|c| !c.is_ascii_whitespace()))
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => integer.to_string().chars().take(SHOWN_MAX).collect(),
        DeValue::Float(float) => float.to_string().chars().take(SHOWN_MAX).collect(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Characters of a value that an error repeats.
const SHOWN_MAX: usize = 80;

/// A text as an error repeats it.
pub(crate) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_MAX).collect();
    format!("{short:?}")
}
