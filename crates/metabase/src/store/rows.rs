//! How values stand in rows.
//!
//! A record is one blob: attributes and user type (4 octets each, least first), the data type's number (1), then the data; a
//! secret's data is sealed. A list has each item after its length (4 octets). An integer of SQLite is signed, so beyond its
//! range, as questions may ask, the last stands.

use super::fault::{Result, damaged, failed};
use super::seal::{Nonces, Seal};
use crate::path::KeyPath;
use crate::record::{Data, Record, SECURE, StoredType};

/// A path as it is compared; empty for the root.
pub(super) fn folded(path: &KeyPath) -> String {
    let mut text = String::new();
    for name in path.folded() {
        text.push('/');
        text.push_str(name);
    }
    text
}

pub(super) fn path_of_row(shown: &str) -> Result<KeyPath> {
    shown.parse().map_err(|error| damaged(&format!("a row of metabase.db names the key {shown:?}: {error}")))
}

pub(super) fn number_to_row(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number_of_row(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The blob of a record at the key that `folded` names.
pub(super) fn record_to_row(
    seal: &Seal,
    nonces: &mut Nonces,
    folded: &str,
    record: &Record,
) -> Result<Vec<u8>> {
    let kind = record.data.stored_type();
    let mut row = Vec::with_capacity(HEAD + record.data.size());
    row.extend(record.attributes.to_le_bytes());
    row.extend(record.user_type.to_le_bytes());
    row.push(u8::try_from(kind.number()).unwrap_or_default());
    let plain = data_to_octets(&record.data)?;
    if record.has(SECURE) {
        let sealed = seal.seal(nonces, &about(folded, record.id, kind), &plain);
        row.extend(sealed.map_err(|_| failed(format!("record {} of {folded} cannot be sealed", record.id)))?);
    } else {
        row.extend(plain);
    }
    Ok(row)
}

/// As `record_to_row` made it.
pub(super) fn record_of_row(seal: &Seal, folded: &str, id: u32, row: &[u8]) -> Result<Record> {
    let unreadable = || damaged(&format!("record {id} of {folded} in metabase.db cannot be read"));
    let (attributes, rest) = number(row).ok_or_else(unreadable)?;
    let (user_type, rest) = number(rest).ok_or_else(unreadable)?;
    let (kind, octets) = rest.split_first().ok_or_else(unreadable)?;
    let kind = StoredType::ALL.into_iter().find(|one| one.number() == u32::from(*kind));
    let kind = kind.ok_or_else(unreadable)?;
    let data = if attributes & SECURE != 0 {
        let plain = seal.open(&about(folded, id, kind), octets).map_err(|_| unreadable())?;
        data_of_octets(kind, &plain)
    } else {
        data_of_octets(kind, octets)
    };
    Ok(Record { id, attributes, user_type, data: data.ok_or_else(unreadable)? })
}

/// Octets before the data.
const HEAD: usize = 9;

/// What a secret is sealed to, so that it cannot be moved to another key or property.
fn about(folded: &str, id: u32, kind: StoredType) -> Vec<u8> {
    [folded.as_bytes(), &[0], &id.to_le_bytes(), &kind.number().to_le_bytes()].concat()
}

fn data_to_octets(data: &Data) -> Result<Vec<u8>> {
    Ok(match data {
        Data::Dword(number) => number.to_le_bytes().to_vec(),
        Data::String(text) | Data::ExpandSz(text) => text.as_bytes().to_vec(),
        Data::Binary(octets) => octets.clone(),
        Data::MultiSz(list) => {
            let mut octets = Vec::new();
            for item in list {
                let length = u32::try_from(item.len());
                octets.extend(
                    length.map_err(|_| failed("an item of a list is too long".into()))?.to_le_bytes(),
                );
                octets.extend(item.as_bytes());
            }
            octets
        }
    })
}

fn data_of_octets(kind: StoredType, octets: &[u8]) -> Option<Data> {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).ok();
    Some(match kind {
        StoredType::Dword => Data::Dword(number(octets).filter(|(_, rest)| rest.is_empty())?.0),
        StoredType::String => Data::String(text(octets)?),
        StoredType::Binary => Data::Binary(octets.to_vec()),
        StoredType::ExpandSz => Data::ExpandSz(text(octets)?),
        StoredType::MultiSz => {
            let (mut list, mut rest) = (Vec::new(), octets);
            while !rest.is_empty() {
                let (length, after) = number(rest)?;
                let (item, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
                list.push(text(item)?);
                rest = after;
            }
            Data::MultiSz(list)
        }
    })
}

fn number(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = octets.split_first_chunk()?;
    Some((u32::from_le_bytes(*number), rest))
}
