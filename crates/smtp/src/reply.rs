//! Replies: read from a host, and written to a client.

use postroad_mail::reply::{Reply, Status};
use std::fmt::Write as _;

/// Lines of one reply. Only EHLO needs more than a few, and no known server has 50.
const LINES_MAX: usize = 100;
/// Octets of one line with its end. RFC 5321 §4.5.3.1.5 says 512; hosts put URLs and whole log lines there.
const LINE_MAX: usize = 4096;
/// Octets of one reply: far above any real one, and small enough to hold for every connection.
const REPLY_MAX: usize = 64 * 1024;
/// Octets of text that are kept of a line. What was cut was never meant for a reader.
pub const TEXT_KEPT_MAX: usize = 512;

/// Octets of text that are kept of a reply: each recipient of a message may have one of his own, and some EHLOs take a kilobyte.
const REPLY_KEPT_MAX: usize = 4096;

/// Writes a reply as it goes on the wire, its lines bounded and in printable ASCII.
#[must_use]
pub fn encode(reply: &Reply) -> Vec<u8> {
    let mut wire = Vec::with_capacity(64);
    encode_into(reply, &mut wire);
    wire
}

/// Like `encode`, appended to `wire`.
pub(crate) fn encode_into(reply: &Reply, wire: &mut Vec<u8>) {
    let mut head = String::with_capacity(16);
    let last = reply.lines.len().saturating_sub(1);
    let none = [String::new()];
    let lines = if reply.lines.is_empty() { &none[..] } else { &reply.lines[..] };
    for (at, line) in lines.iter().enumerate() {
        head.clear();
        // Writing to a String cannot fail.
        let _ = write!(head, "{}{}", reply.code, if at < last { '-' } else { ' ' });
        if let Some(status) = reply.status {
            let _ = write!(head, "{status} ");
        }
        wire.extend_from_slice(head.as_bytes());
        wire.extend(line.bytes().take(TEXT_KEPT_MAX).map(printable));
        wire.extend_from_slice(b"\r\n");
    }
}

fn printable(byte: u8) -> u8 {
    if matches!(byte, b' '..=b'~') { byte } else { b'?' }
}

/// What came is not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a line does not begin with a reply code between 200 and 599")]
    Code,
    #[error("the lines of a reply bear different codes")]
    Disagree,
    #[error("a reply has a line over 4096 octets")]
    LongLine,
    #[error("a reply has over 100 lines or 64 KiB")]
    TooLong,
}

/// A whole reply at the head of the reader, not taken yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole {
    pub code: u16,
    len: usize,
}

/// Gathers octets and cuts them into replies. A reply whose text nobody needs is skipped without being copied.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    buffer: Vec<u8>,
    /// Where the next reply begins.
    start: usize,
}

impl ReplyReader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Drops everything, and the memory.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets what was taken; an empty reader keeps only a small buffer.
    pub fn tidy(&mut self) {
        if !self.is_empty() {
            self.buffer.drain(..self.start);
        } else if self.buffer.capacity() > 1024 {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        self.start = 0;
    }

    /// The next whole reply, if it has come.
    pub fn next(&self) -> Result<Option<Whole>, Malformed> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let mut at = 0;
        let mut code = None;
        for _ in 0..LINES_MAX {
            let from = rest.get(at..).unwrap_or_default();
            let window = from.get(..LINE_MAX).unwrap_or(from);
            let Some(end) = memchr::memchr(b'\n', window) else {
                return if window.len() == LINE_MAX { Err(Malformed::LongLine) } else { Ok(None) };
            };
            let line = trimmed(&from[..end]);
            let (line_code, more) = head(line).ok_or(Malformed::Code)?;
            if *code.get_or_insert(line_code) != line_code {
                return Err(Malformed::Disagree);
            }
            at += end + 1;
            if at > REPLY_MAX {
                return Err(Malformed::TooLong);
            }
            if !more {
                return Ok(Some(Whole { code: line_code, len: at }));
            }
        }
        Err(Malformed::TooLong)
    }

    /// Passes over a reply.
    pub fn skip(&mut self, whole: Whole) {
        self.start += whole.len;
    }

    /// Takes a reply with its text.
    pub fn take(&mut self, whole: Whole) -> Reply {
        let from = self.start;
        self.skip(whole);
        let octets = self.buffer.get(from..self.start).unwrap_or_default();
        let mut status = None;
        let mut lines = Vec::with_capacity(1);
        let mut room = REPLY_KEPT_MAX;
        for line in octets.split_inclusive(|byte| *byte == b'\n') {
            if room == 0 {
                break;
            }
            let text = trimmed(line).get(4..).unwrap_or_default();
            let kept = &text[..text.len().min(TEXT_KEPT_MAX).min(room)];
            room -= kept.len();
            let mut text: String = kept.iter().map(|byte| char::from(printable(*byte))).collect();
            if let Some((found, len)) = leading_status(&text, whole.code)
                && *status.get_or_insert(found) == found
            {
                text.drain(..len);
            }
            lines.push(text);
        }
        Reply { code: whole.code, status, lines }
    }
}

/// A line without its end. A lone LF is taken for an end too: the client only reads here, so there is nothing to smuggle.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The code of a line, and whether another follows.
fn head(line: &[u8]) -> Option<(u16, bool)> {
    let [first @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9', rest @ ..] = line else {
        return None;
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let code = digit(*first) * 100 + digit(*second) * 10 + digit(*third);
    match rest.first() {
        None | Some(b' ') => Some((code, false)),
        Some(b'-') => Some((code, true)),
        Some(_) => None,
    }
}

/// An enhanced status at the head of a text, if its class is the code's (RFC 2034 §4), and the octets it takes with its blank.
fn leading_status(text: &str, code: u16) -> Option<(Status, usize)> {
    let word = text.split(' ').next().unwrap_or_default();
    let status: Status = word.parse().ok()?;
    (u16::from(status.class) == code / 100).then(|| (status, text.len().min(word.len() + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: &[u8]) -> Result<Option<String>, Malformed> {
        let mut reader = ReplyReader::default();
        reader.push(octets);
        Ok(reader.next()?.map(|whole| {
            let reply = reader.take(whole);
            format!("{} {:?} {:?}", reply.code, reply.status.map(|s| s.to_string()), reply.lines)
        }))
    }

    #[test]
    fn replies_are_read() {
        let check = |octets: &str, expected: &str| {
            assert_eq!(read(octets.as_bytes()), Ok(Some(expected.to_owned())), "{octets:?}");
        };
        check("250 2.1.0 Ok\r\n", r#"250 Some("2.1.0") ["Ok"]"#);
        check("250\r\n", r#"250 None [""]"#);
        check("250 2.1.0\r\n", r#"250 Some("2.1.0") [""]"#);
        check("250 5.1.0 Ok\r\n", r#"250 None ["5.1.0 Ok"]"#);
        check("550-5.7.1 no\r\n550 5.7.1 way\r\n", r#"550 Some("5.7.1") ["no", "way"]"#);
        check("250-a\r\n250-SIZE 5\n250 HELP\r\n250 next\r\n", r#"250 None ["a", "SIZE 5", "HELP"]"#);
        check("250 a\u{1}\u{fc}\rb\r\n", r#"250 None ["a????b"]"#);
        check(&format!("250 {}\r\n", "x".repeat(4000)), &format!("250 None [{:?}]", "x".repeat(512)));
    }

    #[test]
    fn a_long_reply_is_kept_in_part() {
        let mut reader = ReplyReader::default();
        reader.push(
            format!("{}550 end\r\n250 next\r\n", format!("550-{}\r\n", "x".repeat(600)).repeat(99))
                .as_bytes(),
        );
        let whole = reader.next().unwrap().unwrap();
        let reply = reader.take(whole);
        assert_eq!((reply.lines.len(), reply.lines.concat().len()), (8, 4096));
        assert_eq!(reader.next().unwrap().map(|whole| whole.code), Some(250));
    }

    #[test]
    fn unfinished_replies_wait() {
        for octets in ["", "2", "250", "250 ok", "250 ok\r", "250-a\r\n", "250-a\r\n250"] {
            assert_eq!(read(octets.as_bytes()), Ok(None), "{octets:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let check = |octets: &str, expected: Malformed| assert_eq!(read(octets.as_bytes()), Err(expected));
        for octets in [
            "\r\n",
            "hello\r\n",
            "25 a\r\n",
            "150 a\r\n",
            "999 a\r\n",
            "2500 a\r\n",
            "250_a\r\n",
            "2x0 a\r\n",
        ] {
            check(octets, Malformed::Code);
        }
        check("250-a\r\n550 b\r\n", Malformed::Disagree);
        check(&"x".repeat(4096), Malformed::LongLine);
        check(&"250-x\r\n".repeat(100), Malformed::TooLong);
        check(&format!("250-{}\r\n", "x".repeat(4000)).repeat(20), Malformed::TooLong);
    }

    #[test]
    fn replies_are_written() {
        let check =
            |reply: Reply, expected: &str| assert_eq!(String::from_utf8(encode(&reply)).unwrap(), expected);
        check(Reply::new(250, None, "hi"), "250 hi\r\n");
        check(Reply::new(550, Some(Status::new(5, 7, 1)), "a\r\nb\u{fc}"), "550 5.7.1 a??b??\r\n");
        let many = Reply { code: 214, status: None, lines: vec!["a".into(), "b".into()] };
        check(many, "214-a\r\n214 b\r\n");
        check(Reply { code: 250, status: None, lines: vec![] }, "250 \r\n");
    }
}
