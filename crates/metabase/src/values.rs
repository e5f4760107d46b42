//! Values as texts: what an administrator gives becomes data, and data is shown so that it can be given again.
//!
//! | type | given | shown |
//! |---|---|---|
//! | DWORD | decimal, `0x` hex, `-1`, a name, names of bits joined by `\|` | decimal |
//! | BOOL | `TRUE`, `FALSE` in any case, `1`, `0` | `TRUE`, `FALSE` |
//! | STRING, EXPANDSZ | one text | the text |
//! | MULTISZ | the texts; one empty text is an empty list | the texts |
//! | BINARY, networks | the networks; one text with `0x` is hex, an empty one no octets | the networks, or `0x` hex |
//! | BINARY, other | hex | hex |

use crate::catalogue;
use crate::check;
use crate::forms::{self, Bad, ITEMS_MAX};
use crate::hex;
use crate::ipsec;
use crate::record::{DATA_MAX, Data, Record, SECURE, StoredType};
use crate::schema::{DataType, Property};
use crate::typed::quoted;
use ipnet::IpNet;
use std::fmt::Write;

/// A value as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// One text, or the items of a list; nothing for a secret.
    pub value: Vec<String>,
    /// Whether the value is a list.
    pub is_list: bool,
    /// What it means, where it does not say so itself.
    pub meaning: String,
}

/// The data that texts give. Without a property, or with one of another type, the type alone says what they are.
///
/// # Errors
/// What the property, or the type, does not take.
pub fn read(property: Option<&Property>, kind: StoredType, texts: &[String]) -> Result<Data, Bad> {
    let property = property.filter(|property| property.stored_type() == kind);
    let data = match kind {
        StoredType::Dword => Data::Dword(number(property, one(kind, texts)?)?),
        StoredType::String => Data::String(plain(one(kind, texts)?)?),
        StoredType::ExpandSz => Data::ExpandSz(plain(one(kind, texts)?)?),
        StoredType::MultiSz => Data::MultiSz(items(texts)?),
        StoredType::Binary if property.is_some_and(Property::is_networks) => networks(texts)?,
        StoredType::Binary => Data::Binary(octets(one(kind, texts)?)?),
    };
    if data.size() > DATA_MAX {
        let what = format!("has {} octets", data.size());
        return Err(Bad::new(what, format!("Give at most {DATA_MAX}.")));
    }
    Ok(data)
}

/// A record's value, and what it means. A secret shows neither.
#[must_use]
pub fn show(record: &Record) -> Shown {
    if record.has(SECURE) {
        return Shown { meaning: "a secret, which is not shown".into(), ..Shown::default() };
    }
    let property =
        catalogue::by_id(record.id).filter(|known| known.stored_type() == record.data.stored_type());
    let single = |value: String, meaning| Shown { value: vec![value], is_list: false, meaning };
    match &record.data {
        Data::Dword(number) => {
            let is_bool = property.is_some_and(|property| property.data_type == DataType::Bool);
            match (is_bool, *number) {
                (true, 0) => single("FALSE".into(), String::new()),
                (true, 1) => single("TRUE".into(), String::new()),
                (_, number) => single(
                    number.to_string(),
                    property.map(|property| meaning(property, number)).unwrap_or_default(),
                ),
            }
        }
        Data::String(text) | Data::ExpandSz(text) => single(text.clone(), String::new()),
        Data::MultiSz(list) => Shown { value: list.clone(), is_list: true, meaning: String::new() },
        Data::Binary(octets) if property.is_some_and(Property::is_networks) => show_networks(octets),
        Data::Binary(octets) => single(hex::write(octets), String::new()),
    }
}

/// A record's value in one line, at most `LINE_MAX` characters of it.
#[must_use]
pub fn line(record: &Record) -> String {
    if record.has(SECURE) {
        return "(secret)".into();
    }
    let Shown { value, is_list, meaning } = show(record);
    if matches!(record.data, Data::Binary(_)) && !meaning.is_empty() {
        // In words it says more than its octets would.
        return meaning;
    }
    let bare = matches!(record.data, Data::Dword(_) | Data::Binary(_));
    let mut line = String::new();
    let (mut used, mut separator) = (0, "");
    for text in &value {
        line.push_str(separator);
        separator = ", ";
        let short: String = text.chars().take(LINE_MAX - used).collect();
        used += short.chars().count() + separator.len();
        if bare {
            line.push_str(&short);
        } else {
            let _ = write!(line, "{short:?}");
        }
        if short.len() < text.len() || used >= LINE_MAX {
            line.push_str("...");
            break;
        }
    }
    if is_list {
        line = format!("[{line}]");
    }
    if meaning.is_empty() { line } else { format!("{line} ({meaning})") }
}

/// Networks that words name.
const NETWORKS_SHOWN: usize = 8;
/// Characters of a value in one line: a terminal's width or two; the whole value can be asked for.
const LINE_MAX: usize = 160;

fn one(kind: StoredType, texts: &[String]) -> Result<&str, Bad> {
    match texts {
        [text] => Ok(text),
        _ => Err(Bad::new(
            format!("has {} values", texts.len()),
            format!("A {} is one value; put it in quotes if it has blanks.", kind.name()),
        )),
    }
}

fn plain(text: &str) -> Result<String, Bad> {
    if text.contains('\0') {
        return Err(Bad::new("has a NUL, with which a text ends", "Give a text without one."));
    }
    Ok(text.into())
}

fn items(texts: &[String]) -> Result<Vec<String>, Bad> {
    if matches!(texts, [only] if only.is_empty()) {
        return Ok(Vec::new());
    }
    if texts.len() > ITEMS_MAX {
        return Err(Bad::new(format!("has {} items", texts.len()), format!("Give at most {ITEMS_MAX}.")));
    }
    let item = |(index, text): (usize, &String)| {
        // An empty text ends a stored list, and MetaBase.xml has an item a line.
        if text.is_empty() || text.contains(['\0', '\r', '\n']) {
            let bad = Bad::new("is empty, or has a line break or a NUL", "Give items of one line each.");
            return Err(Bad { item: Some(index), what: format!("{text:?} {}", bad.what), ..bad });
        }
        Ok(text.clone())
    };
    texts.iter().enumerate().map(item).collect()
}

fn number(property: Option<&Property>, text: &str) -> Result<u32, Bad> {
    let text = text.trim();
    let number = if text == "-1" { Some(u32::MAX) } else { catalogue::number(text) };
    let Some(property) = property else {
        return number.ok_or_else(|| {
            let remedy = format!("Give a number from 0 to {}, decimal or as 0x1f.", u32::MAX);
            Bad::new(format!("{} is not a number of 32 bits", quoted(text)), remedy)
        });
    };
    let what = match (property.data_type, property.names.is_empty() && property.bits.is_empty()) {
        (DataType::Dword, true) => "is not a number, and it is a DWORD",
        _ => "is not known",
    };
    let refused =
        || Bad::new(format!("{} {what}", quoted(text)), format!("Give {}.", property.expectation()));
    if property.data_type == DataType::Bool {
        return match (text.to_ascii_lowercase().as_str(), number) {
            ("true", _) | (_, Some(1)) => Ok(1),
            ("false", _) | (_, Some(0)) => Ok(0),
            _ => Err(refused()),
        };
    }
    let named = || check::named(property.names, text);
    let bits = || if property.bits.is_empty() { None } else { bits(property, text) };
    let number = number.or_else(named).or_else(bits).ok_or_else(refused)?;
    check::number(property, number)?;
    Ok(number)
}

/// Names of bits, or numbers, joined by `|`.
fn bits(property: &Property, text: &str) -> Option<u32> {
    text.split('|').map(str::trim).try_fold(0, |all, part| {
        Some(all | check::named(property.bits, part).or_else(|| catalogue::number(part))?)
    })
}

fn networks(texts: &[String]) -> Result<Data, Bad> {
    match texts {
        [text] if text.trim().is_empty() => Ok(Data::Binary(Vec::new())),
        [text] if text.starts_with("0x") || text.starts_with("0X") => Ok(Data::Binary(octets(text)?)),
        _ => Ok(Data::Binary(ipsec::encode(&forms::each(texts, forms::network)?))),
    }
}

fn octets(text: &str) -> Result<Vec<u8>, Bad> {
    let bare = text.trim();
    let bare = bare.strip_prefix("0x").or_else(|| bare.strip_prefix("0X")).unwrap_or(bare);
    let refused =
        || Bad::new(format!("{} is not hex", quoted(text)), "Give two hex digits an octet, as 7f000001.");
    hex::read(bare.chars().filter(|c| !c.is_ascii_whitespace())).ok_or_else(refused)
}

fn show_networks(octets: &[u8]) -> Shown {
    let lists = ipsec::decode(octets);
    match &lists {
        // More could not be given again.
        Ok(lists) if ipsec::is_plain(octets) && lists.granted.len() <= ITEMS_MAX => Shown {
            value: lists.granted.iter().map(network).collect(),
            is_list: true,
            meaning: String::new(),
        },
        _ => {
            let meaning = match &lists {
                Ok(lists) if !lists.refused.is_empty() => {
                    let shown: Vec<_> = lists.refused.iter().take(NETWORKS_SHOWN).map(network).collect();
                    let more = lists.refused.len() - shown.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    format!("all except {}{more}", shown.join(", "))
                }
                Ok(_) => "kept as it is: it is not written as usual, or too long".into(),
                Err(unknown) => format!("kept as it is: {unknown}"),
            };
            Shown { value: vec![format!("0x{}", hex::write(octets))], is_list: false, meaning }
        }
    }
}

/// A network; an address alone as one.
fn network(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

fn meaning(property: &Property, number: u32) -> String {
    if let Some((_, name)) = property.names.iter().find(|(known, _)| *known == number) {
        return (*name).into();
    }
    if !property.bits.is_empty() {
        return bit_names(property, number);
    }
    let larger: &[(u32, &str)] = match property.unit {
        "seconds" => &[(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")],
        "minutes" => &[(1440, "days"), (60, "hours"), (1, "minutes")],
        "bytes" => &[(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"), (1, "bytes")],
        _ => &[],
    };
    let has_no_limit = property.bounds.is_none_or(|(_, most)| most == u32::MAX);
    match number {
        u32::MAX if has_no_limit => "no limit, or not set".into(),
        0 => String::new(),
        _ => larger
            .iter()
            .find(|(size, _)| number.is_multiple_of(*size))
            .map(|(size, unit)| {
                let count = number / size;
                let unit = if count == 1 { unit.trim_end_matches('s') } else { unit };
                format!("{count} {unit}")
            })
            .unwrap_or_default(),
    }
}

/// The names of a mask's bits as MetaBase.xml joins them; bits without a name are a number.
fn bit_names(property: &Property, number: u32) -> String {
    let set = || property.bits.iter().filter(|(bit, _)| number & bit == *bit);
    let rest = set().fold(number, |rest, (bit, _)| rest & !bit);
    let mut names: Vec<String> = set().map(|(_, name)| (*name).to_owned()).collect();
    if rest != 0 {
        names.push(format!("0x{rest:x}"));
    }
    names.join(" | ")
}
