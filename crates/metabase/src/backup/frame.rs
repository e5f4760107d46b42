//! What stands around the payload: first line, manifest, checksum; and what a file is that has none of it.

use super::{BackupError, FILE_MAX, FORMAT, Manifest};
use crate::hex;
use aws_lc_rs::digest::{Context, SHA256};

const MAGIC: &[u8] = b"postroad-backup ";
/// Octets of the first line: the magic, a number, LF.
const FIRST_MAX: usize = 32;
/// Octets of the manifest: some 700 are written.
const MANIFEST_MAX: usize = 16 * 1024;
const LAST: &[u8] = b"sha256 ";
/// Octets of the last line: `sha256 `, 64 digits, LF.
const LAST_LENGTH: usize = 7 + 64 + 1;
/// Octets at the beginning of a foreign file that are looked at.
const LOOK: usize = 4096;

/// SHA-256 of some pieces one after another, in hexadecimal digits.
pub(super) fn sha256(pieces: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    hex::write(context.finish().as_ref())
}

/// The file.
pub(super) fn write(manifest: &Manifest, payload: &[u8]) -> Result<Vec<u8>, BackupError> {
    let line = serde_json::to_vec(manifest);
    let line = line.map_err(|_| BackupError::Crypto("the manifest cannot be written as JSON"))?;
    let mut octets = [MAGIC, FORMAT.to_string().as_bytes(), b"\n", &line, b"\n", payload].concat();
    let last = last_line(&octets);
    octets.extend(last);
    if octets.len() > FILE_MAX {
        return Err(BackupError::TooLarge(format!("it would have more than {FILE_MAX} octets")));
    }
    Ok(octets)
}

fn last_line(before: &[u8]) -> Vec<u8> {
    [LAST, sha256(&[before]).as_bytes(), b"\n"].concat()
}

/// The manifest and the payload of a file that is whole.
pub(super) fn read(octets: &[u8]) -> Result<(Manifest, &[u8]), BackupError> {
    if octets.len() > FILE_MAX {
        return Err(BackupError::TooLarge(format!("it has more than {FILE_MAX} octets")));
    }
    let rest = first_line(octets)?;
    let (before, last) = octets.split_at(octets.len().saturating_sub(LAST_LENGTH));
    if last != last_line(before) {
        return Err(damage(octets, rest));
    }
    let malformed = |what: &str| BackupError::Malformed(what.into());
    let body = rest.get(..rest.len().saturating_sub(LAST_LENGTH)).unwrap_or_default();
    let (manifest, payload) = second_line(body).ok_or_else(|| malformed("its manifest cannot be read"))?;
    if manifest.format != FORMAT {
        return Err(malformed("its first line and its manifest have different formats"));
    }
    if manifest.length != payload.len() as u64 || manifest.sha256 != sha256(&[payload]) {
        return Err(malformed("its manifest is of another payload"));
    }
    Ok((manifest, payload))
}

/// What follows the first line.
fn first_line(octets: &[u8]) -> Result<&[u8], BackupError> {
    let Some(rest) = octets.strip_prefix(MAGIC) else {
        let is_begun = !octets.is_empty() && MAGIC.starts_with(octets);
        return Err(if is_begun { BackupError::Cut } else { BackupError::Foreign(foreign(octets)) });
    };
    let Some(end) = rest.iter().take(FIRST_MAX).position(|octet| *octet == b'\n') else {
        return Err(if rest.len() < FIRST_MAX { BackupError::Cut } else { FIRST_LINE_DAMAGED });
    };
    let (number, rest) = rest.split_at(end);
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(FORMAT) => Ok(rest.get(1..).unwrap_or_default()),
        Some(later) if later > FORMAT => Err(BackupError::Newer(later)),
        _ => Err(FIRST_LINE_DAMAGED),
    }
}

const FIRST_LINE_DAMAGED: BackupError = BackupError::Damaged("its first line has no format");

fn second_line(rest: &[u8]) -> Option<(Manifest, &[u8])> {
    let end = rest.iter().take(MANIFEST_MAX).position(|octet| *octet == b'\n')?;
    let (line, payload) = rest.split_at(end);
    Some((serde_json::from_slice(line).ok()?, payload.get(1..)?))
}

/// What is wrong with a file whose checksum is not right: it is cut off if it is shorter than its manifest says.
fn damage(octets: &[u8], rest: &[u8]) -> BackupError {
    let is_line_whole = rest.iter().take(MANIFEST_MAX).any(|octet| *octet == b'\n');
    let is_cut = match second_line(rest) {
        Some((manifest, payload)) => {
            (payload.len() as u64) < manifest.length.saturating_add(LAST_LENGTH as u64)
        }
        None => !is_line_whole && octets.len() < MANIFEST_MAX,
    };
    if is_cut { BackupError::Cut } else { BackupError::Damaged("its checksum is another one") }
}

/// What a file is that is no backup.
fn foreign(octets: &[u8]) -> &'static str {
    let head = octets.get(..LOOK).unwrap_or(octets);
    let has = |text: &str| head.windows(text.len()).any(|window| window == text.as_bytes());
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    if octets.is_empty() {
        "it is empty. Take another version"
    } else if text.starts_with(b"<") && (has("XML_Metabase") || has("<MBProperty") || has("<configuration")) {
        "it is a MetaBase.xml, or a backup (.md) of IIS 6, which is the same. Import it with `postroad meta import`"
    } else if head.starts_with(b"SQLite format 3\0") {
        "it is an SQLite database. Give a file that `postroad meta backup` made"
    } else if text.starts_with(b"<") {
        "it is XML of another kind. Give a file that `postroad meta backup` made"
    } else if head.contains(&0) {
        "it is binary, perhaps a backup (.md) or a MetaBase.bin of IIS 4 or 5, which cannot be read. Export it there as \
         text or XML, and import that"
    } else {
        "its first line is another one. Give a file that `postroad meta backup` made"
    }
}
