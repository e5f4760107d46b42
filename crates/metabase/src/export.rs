//! A tree as a TOML text that `text::steps` reads back.

use crate::catalogue;
use crate::check;
use crate::hex;
use crate::ipsec;
use crate::path::KeyPath;
use crate::record::{ATTRIBUTE_NAMES, Data, Record};
use crate::schema::{DataType, Property};
use crate::text::Pin;
use crate::tree::Tree;
use crate::typed::{self, NO_ATTRIBUTES};
use crate::values;
use std::collections::BTreeSet;
use std::fmt::Write;

const HEAD: &str = "\
# Settings of Postroad. A table is a key, a line a property; what is not as the schema has it says its type itself.
# Secrets are not exported.
";

/// A key and all below it. What a property is for stands above its first value, and what is pinned over a value, with its place,
/// above that.
#[must_use]
pub fn export(tree: &Tree, path: &KeyPath, pins: &[(&Pin, String)]) -> String {
    let mut text = String::from(HEAD);
    let mut told: BTreeSet<u32> = BTreeSet::new();
    let mut left: Vec<&(&Pin, String)> = pins.iter().filter(|(pin, _)| pin.path.is_within(path)).collect();
    for (path, node) in tree.walk_from(path) {
        let _ = writeln!(text, "\n[{}]", quoted(&path.to_string()));
        let (here, elsewhere): (Vec<_>, Vec<_>) = left.into_iter().partition(|(pin, _)| pin.path == path);
        left = elsewhere;
        for (pin, place) in here {
            let _ = writeln!(text, "# pinned by {place}: {}", pair(&pin.record));
        }
        for record in node.records() {
            if typed::is_secret(record) {
                let _ =
                    writeln!(text, "# {} is set; secrets are not exported", catalogue::name_of(record.id));
                continue;
            }
            let property = catalogue::by_id(record.id);
            if let Some(property) = property.filter(|p| !p.doc.is_empty() && told.insert(p.id)) {
                let _ = writeln!(text, "# {}", property.doc);
            }
            let _ = writeln!(text, "{}", pair(record));
        }
    }
    for (pin, place) in left {
        let pair = pair(&pin.record);
        let _ = writeln!(text, "\n# pinned by {place}, at a key that is not stored, {}: {pair}", pin.path);
    }
    text
}

/// Name and value, and what the value means where it does not say so itself.
fn pair(record: &Record) -> String {
    let name = catalogue::name_of(record.id);
    if typed::is_secret(record) {
        return format!("{name}, a secret");
    }
    let value = value(catalogue::by_id(record.id), record);
    match values::show(record).meaning {
        meaning if meaning.is_empty() => format!("{name} = {value}"),
        meaning => format!("{name} = {value} # {meaning}"),
    }
}

fn value(property: Option<&Property>, record: &Record) -> String {
    if let Some(plain) = property.and_then(|property| plain(property, record)) {
        return plain;
    }
    let given = match &record.data {
        Data::Dword(number) => number.to_string(),
        Data::String(text) | Data::ExpandSz(text) => quoted(text),
        Data::MultiSz(list) => listed(list),
        Data::Binary(octets) => quoted(&hex::write(octets)),
    };
    format!(
        "{{ type = \"{}\", value = {given}, user_type = {}, attributes = {} }}",
        record.data.stored_type().name(),
        record.user_type,
        attributes(record.attributes),
    )
}

/// The value alone, where the schema says all the rest.
fn plain(property: &Property, record: &Record) -> Option<String> {
    if !property.is_regular(record) {
        return None;
    }
    match &record.data {
        Data::Dword(number) if property.data_type == DataType::Bool => match number {
            0 => Some("false".into()),
            1 => Some("true".into()),
            _ => None,
        },
        Data::Dword(number) => {
            check::number(property, *number).ok()?;
            Some(number.to_string())
        }
        Data::String(text) | Data::ExpandSz(text) => Some(quoted(text)),
        Data::MultiSz(list) => Some(listed(list)),
        Data::Binary(octets) if !property.is_list() => Some(quoted(&hex::write(octets))),
        Data::Binary(octets) => {
            // Written anew it must be the same octets: an empty value is no list of none.
            let granted = ipsec::decode(octets).ok()?.granted;
            let is_same = granted.len() <= crate::forms::ITEMS_MAX && ipsec::encode(&granted) == *octets;
            is_same.then(|| listed(&granted.iter().map(ToString::to_string).collect::<Vec<_>>()))
        }
    }
}

fn attributes(bits: u32) -> String {
    let known = ATTRIBUTE_NAMES.iter().fold(0, |all, (bit, _)| all | bit);
    if bits & !known != 0 {
        return bits.to_string();
    }
    let names: Vec<_> =
        ATTRIBUTE_NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    let names = names.join(" | ");
    quoted(if names.is_empty() { NO_ATTRIBUTES } else { &names })
}

fn listed(list: &[String]) -> String {
    let items: Vec<_> = list.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
