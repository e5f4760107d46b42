//! A batch as octets, and back. Numbers stand least octet first.
//!
//! | octets | what |
//! |---|---|
//! | 8 | the salt |
//! | 8 | the number |
//! | 4 | how many octets of records |
//! | 4 | CRC-32 of the number and the records |
//! | | the records: a kind of 1 octet, then its fields; a text or content after its length (4) |
//!
//! | kind | fields |
//! |---|---|
//! | 1 accept | the message as JSON, content |
//! | 2 settle | id (8) |
//! | 3 waiting | hop, delta (8) |
//! | 4 journal of a message | hop, time (8), body, id (8) |
//! | 5 journal of a hop | hop, time (8), body |

use crate::record::{Content, JournalEntry, Record};
use memchr::memmem;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use std::io::{self, Write};
use std::sync::Arc;

const HEAD: usize = 24;
const ACCEPT: u8 = 1;
const SETTLE: u8 = 2;
const WAITING: u8 = 3;
const OF_MESSAGE: u8 = 4;
const OF_HOP: u8 = 5;

/// Appends a batch's frame to `out`.
///
/// # Errors
/// A record that has no place in a frame, or is too large for one.
pub(super) fn write(out: &mut Vec<u8>, salt: i64, number: i64, batch: &[Record]) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&salt.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    for record in batch {
        write_record(out, record)?;
    }
    let records = out.get(start + HEAD..).unwrap_or_default();
    let len = u32::try_from(records.len()).map_err(|_| too_large())?;
    let sum = checksum(number, records);
    set(out, start + 16, len);
    set(out, start + 20, sum);
    Ok(())
}

fn write_record(out: &mut Vec<u8>, record: &Record) -> io::Result<()> {
    match record {
        Record::Accept { message, content: Content::Memory(content) } => {
            out.push(ACCEPT);
            sized(out, |out| Ok(serde_json::to_writer(out, message.as_ref())?))?;
            sized(out, |out| out.write_all(content))
        }
        Record::Settle { id } => {
            out.push(SETTLE);
            out.write_all(&id.0.to_le_bytes())
        }
        Record::Waiting { hop, delta } => {
            out.push(WAITING);
            sized(out, |out| write!(out, "{hop}"))?;
            out.write_all(&delta.to_le_bytes())
        }
        Record::Journal(JournalEntry { message, hop, at, body }) => {
            out.push(if message.is_some() { OF_MESSAGE } else { OF_HOP });
            sized(out, |out| write!(out, "{hop}"))?;
            out.write_all(&at.0.to_le_bytes())?;
            sized(out, |out| out.write_all(body.as_bytes()))?;
            message.map_or(Ok(()), |id| out.write_all(&id.0.to_le_bytes()))
        }
        Record::Accept { .. } | Record::Divide { .. } | Record::Hop { .. } => {
            Err(io::Error::other("a record that has no place in it"))
        }
    }
}

/// What `write` appends, after its length.
fn sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out)?;
    let len = u32::try_from(out.len() - start - 4).map_err(|_| too_large())?;
    set(out, start, len);
    Ok(())
}

fn set(out: &mut [u8], start: usize, number: u32) {
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

fn too_large() -> io::Error {
    io::Error::other("too large")
}

fn checksum(number: i64, records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(records);
    hasher.finalize()
}

/// The frame at the start of `octets`: its number, its records, and what is behind it. `None` where there is no whole frame of
/// this salt.
pub(super) fn read(octets: &[u8], salt: i64) -> Option<(i64, &[u8], &[u8])> {
    let mut cursor = Cursor(octets);
    let found = cursor.signed()?;
    let number = cursor.signed()?;
    let len = cursor.small()?;
    let sum = cursor.small()?;
    let records = cursor.take(len as usize)?;
    (found == salt && sum == checksum(number, records)).then_some((number, records, cursor.0))
}

/// As `read`, of the first whole frame anywhere in `octets`. Nobody outside knows the salt, so that what looks like one is one.
pub(super) fn find(octets: &[u8], salt: i64) -> Option<(i64, &[u8], &[u8])> {
    let at_start = read(octets, salt);
    at_start.or_else(|| {
        memmem::find_iter(octets, &salt.to_le_bytes()).find_map(|start| read(octets.get(start..)?, salt))
    })
}

/// The records of a frame; `None` where they are not as `write` writes them.
pub(super) fn records(payload: &[u8]) -> Option<Vec<Record>> {
    let mut cursor = Cursor(payload);
    let mut records = Vec::new();
    while !cursor.0.is_empty() {
        records.push(cursor.record()?);
    }
    Some(records)
}

/// What is left to be read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn small(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    fn signed(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.array()?))
    }

    fn id(&mut self) -> Option<MessageId> {
        Some(MessageId(u64::from_le_bytes(self.array()?)))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.small()?;
        self.take(len as usize)
    }

    fn hop(&mut self) -> Option<NextHop> {
        std::str::from_utf8(self.sized()?).ok()?.parse().ok()
    }

    fn record(&mut self) -> Option<Record> {
        let [kind] = self.array()?;
        Some(match kind {
            ACCEPT => {
                let message = Arc::new(serde_json::from_slice(self.sized()?).ok()?);
                Record::Accept { message, content: Content::Memory(Arc::new(self.sized()?.to_vec())) }
            }
            SETTLE => Record::Settle { id: self.id()? },
            WAITING => Record::Waiting { hop: self.hop()?, delta: self.signed()? },
            OF_MESSAGE | OF_HOP => {
                let hop = self.hop()?;
                let at = Wall(self.signed()?);
                let body = String::from_utf8(self.sized()?.to_vec()).ok()?;
                let message = if kind == OF_MESSAGE { Some(self.id()?) } else { None };
                Record::Journal(JournalEntry { message, hop, at, body })
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Message;
    use postroad_mail::address::ReversePath;
    use postroad_mail::envelope::{Recipient, Sender};

    fn batch() -> Vec<Record> {
        let hop: NextHop = "mx:b.example".parse().unwrap();
        let recipients = vec![Recipient::plain("b@b.example".parse().unwrap(), hop.clone())];
        let sender = Sender::plain(ReversePath::Null);
        let message =
            Message { id: MessageId(5), sender, recipients, trace: String::from("Received: x\r\n"), size: 3 };
        let entry =
            |message| JournalEntry { message, hop: hop.clone(), at: Wall(-7), body: String::from("{}") };
        vec![
            Record::Accept {
                message: Arc::new(message),
                content: Content::Memory(Arc::new(vec![0, 255, 10])),
            },
            Record::Settle { id: MessageId(4) },
            Record::Waiting { hop: hop.clone(), delta: -2 },
            Record::Journal(entry(Some(MessageId(5)))),
            Record::Journal(entry(None)),
        ]
    }

    #[test]
    fn read_as_written() {
        let mut out = Vec::new();
        write(&mut out, -9, 1, &batch()).unwrap();
        write(&mut out, -9, 2, &[]).unwrap();
        out.extend_from_slice(b"rest");
        let (number, payload, behind) = read(&out, -9).unwrap();
        assert_eq!((number, records(payload).unwrap()), (1, batch()));
        let (number, payload, behind) = read(behind, -9).unwrap();
        assert_eq!((number, records(payload).unwrap(), behind), (2, Vec::new(), b"rest".as_slice()));
    }

    #[test]
    fn no_frame_that_is_not_whole_ours_and_unspoiled() {
        let mut out = Vec::new();
        write(&mut out, 9, 1, &batch()).unwrap();
        assert!(read(&out, 8).is_none(), "of another salt");
        for len in 0..out.len() {
            assert!(read(&out[..len], 9).is_none(), "{len} octets of it");
        }
        let whole = out.len();
        write(&mut out, 9, 2, &[]).unwrap();
        for place in 0..whole {
            let mut spoiled = out.clone();
            spoiled[place] ^= 0x10;
            assert!(read(&spoiled, 9).is_none(), "octet {place} is another");
            let found = find(&spoiled, 9).map(|(number, ..)| number);
            assert_eq!(found, Some(2), "octet {place} of the frame before it is another");
        }
    }

    #[test]
    fn records_that_are_not_ours_are_refused() {
        let mut out = Vec::new();
        write(&mut out, 0, 1, &batch()).unwrap();
        let payload = &out[HEAD..];
        assert!(records(&payload[..payload.len() - 1]).is_none());
        assert!(records(&[9]).is_none());
        assert!(write(&mut out, 0, 2, &[Record::Divide { id: MessageId(1), pending: Vec::new() }]).is_err());
    }
}
