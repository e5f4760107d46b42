//! Values as MetaBase.xml writes them.

use super::read::{is_character, short, unescaped};
use crate::record::{ATTRIBUTE_NAMES, DATA_MAX, Data, IS_INHERITED, StoredType, USER_TYPE_NAMES};
use crate::schema::{DataType, Property};
use crate::{catalogue, check, hex, ids};

/// EnableHistory and EnableEditWhileRunning: truths that the documented files write as 0 and 1.
const NUMERIC_TRUTHS: [u32; 2] = [9996, 9998];
/// What comes before a list's second item and those after it.
const NEXT_ITEM: &str = "\n\t\t\t";

/// Reads the text of an attribute as it stands; what is wrong is the end of a sentence.
pub(super) fn read(property: Option<&Property>, kind: StoredType, raw: &str) -> Result<Data, String> {
    let data = match kind {
        StoredType::Dword => Data::Dword(dword(property, &unescaped(raw))?),
        StoredType::String => Data::String(unescaped(raw).into_owned()),
        StoredType::ExpandSz => Data::ExpandSz(unescaped(raw).into_owned()),
        StoredType::Binary => Data::Binary(octets(unescaped(raw).trim_ascii())?),
        StoredType::MultiSz => {
            // Blanks that belong to an item are escaped, those of the layout are not.
            let items = raw.split(['\n', '\r']).map(str::trim_ascii).filter(|item| !item.is_empty());
            Data::MultiSz(items.map(|item| unescaped(item).into_owned()).collect())
        }
    };
    if data.size() > DATA_MAX {
        return Err(format!("has {} octets, {DATA_MAX} at most", data.size()));
    }
    Ok(data)
}

fn dword(property: Option<&Property>, text: &str) -> Result<u32, String> {
    let text = text.trim_ascii();
    if let Some(number) = catalogue::number(text) {
        return Ok(number);
    }
    if text == "-1" {
        return Ok(u32::MAX);
    }
    let is_truth = property.is_some_and(|property| property.data_type == DataType::Bool);
    if is_truth && (text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")) {
        return Ok(u32::from(text.eq_ignore_ascii_case("true")));
    }
    let bits = property.map_or(&[][..], |property| property.bits);
    if bits.is_empty() {
        return Err(format!("{:?} is not a number", short(text)));
    }
    text.split('|').map(str::trim_ascii).try_fold(0, |mask, word| {
        let bit = check::named(bits, word);
        bit.map(|bit| mask | bit).ok_or_else(|| format!("{:?} is not a known flag", short(word)))
    })
}

fn octets(text: &str) -> Result<Vec<u8>, String> {
    let octets = hex::read(text.chars());
    octets.ok_or_else(|| format!("{:?} is not pairs of hexadecimal digits", short(text)))
}

/// Reads attribute bits: names, a number, or NO_ATTRIBUTES.
pub(super) fn attributes(text: &str) -> Result<u32, String> {
    let text = text.trim_ascii();
    let bits = match catalogue::number(text) {
        Some(bits) => bits,
        None if text.is_empty() || text.eq_ignore_ascii_case("NO_ATTRIBUTES") => 0,
        None => text.split('|').map(str::trim_ascii).try_fold(0, |bits, word| {
            let bit = check::named(ATTRIBUTE_NAMES, word);
            bit.map(|bit| bits | bit).ok_or_else(|| format!("{:?} is not a known attribute", short(word)))
        })?,
    };
    Ok(bits & !IS_INHERITED)
}

/// Reads a user type: a name or a number.
pub(super) fn user_type(text: &str) -> Result<u32, String> {
    let text = text.trim_ascii();
    let known = check::named(USER_TYPE_NAMES, text).or_else(|| catalogue::number(text));
    known.ok_or_else(|| format!("{:?} is not a known user type", short(text)))
}

/// The words of attribute bits.
pub(super) fn attributes_text(bits: u32) -> String {
    if bits == 0 { "NO_ATTRIBUTES".into() } else { flags(bits, ATTRIBUTE_NAMES) }
}

/// The word of a user type.
pub(super) fn user_type_text(number: u32) -> String {
    let named = USER_TYPE_NAMES.iter().find(|(known, _)| *known == number);
    named.map_or_else(|| number.to_string(), |(_, name)| (*name).into())
}

/// The names of bits; the number where one of them has no name, or there are none.
fn flags(mask: u32, bits: &[(u32, &str)]) -> String {
    let set: Vec<_> = bits.iter().filter(|(bit, _)| mask & bit == *bit).collect();
    if set.is_empty() || set.iter().fold(0, |named, (bit, _)| named | bit) != mask {
        return mask.to_string();
    }
    set.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" | ")
}

/// A value as it stands between quotation marks; none where it has a character that XML cannot hold. An empty item of a list
/// is left out: the original's lists have none.
pub(super) fn text(property: Option<&Property>, data: &Data) -> Option<String> {
    let truth =
        |property: &&Property| property.data_type == DataType::Bool && !NUMERIC_TRUTHS.contains(&property.id);
    match data {
        Data::Dword(number @ (0 | 1)) if property.filter(truth).is_some() => {
            Some(if *number == 1 { "TRUE" } else { "FALSE" }.into())
        }
        Data::Dword(number) => {
            // The bits of the original's own properties for mail have no names that it writes.
            let named = property.filter(|property| !ids::SMTP.contains(&property.id));
            Some(flags(*number, named.map_or(&[], |property| property.bits)))
        }
        Data::String(text) | Data::ExpandSz(text) => escaped(text),
        Data::Binary(octets) => Some(hex::write(octets)),
        Data::MultiSz(list) => {
            let items = list.iter().filter(|item| !item.is_empty()).map(|item| item_text(item));
            Some(items.collect::<Option<Vec<_>>>()?.join(NEXT_ITEM))
        }
    }
}

/// An item of a list: the blanks at its ends are told from those of the layout.
fn item_text(item: &str) -> Option<String> {
    let inner = item.trim_matches(' ');
    let blanks = |count| "&#x20;".repeat(count);
    let before = item.len() - item.trim_start_matches(' ').len();
    let after = item.len() - before - inner.len();
    Some(blanks(before) + &escaped(inner)? + &blanks(after))
}

/// A text as it stands between quotation marks. Line breaks and tabs are escaped: another parser would make blanks of them.
pub(super) fn escaped(text: &str) -> Option<String> {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' => escaped.push_str("&#x9;"),
            '\n' => escaped.push_str("&#xA;"),
            '\r' => escaped.push_str("&#xD;"),
            character if is_character(character) => escaped.push(character),
            _ => return None,
        }
    }
    Some(escaped)
}
