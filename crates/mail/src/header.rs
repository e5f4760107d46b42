//! The header section of a message (RFC 5322 §2.2, §3.6), read without changing an octet.
//!
//! Lines may end in CRLF or, in a message that comes from a program on this machine, in LF alone. The section ends at the
//! first empty line, at the first line that is no field, or at `HEADER_MAX`.

use crate::address::Address;
use crate::mailbox_list::{self, NotAList};
use std::ops::Range;

/// Octets of a header section that are looked at; what is behind them counts as body. Mail in practice has a few
/// kilobytes, rarely 64; a hostile one should not cost more than this.
pub const HEADER_MAX: usize = 256 * 1024;

/// Addresses taken from one header section.
pub const RECIPIENTS_MAX: usize = 10_000;

/// One field. Ranges are of the octets that were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without the colon.
    pub name: &'a [u8],
    /// What is behind the colon, folded lines and their ends included, the last line's end not.
    pub value: Range<usize>,
    /// The whole field with its last line's end.
    pub whole: Range<usize>,
}

impl Field<'_> {
    /// Whether it is the field of that name, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// What a server asks about a header section, in one pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Octets of the header section, without the empty line behind it.
    pub end: usize,
    /// Where the body starts.
    pub body: usize,
    /// `Received` fields.
    pub received: usize,
    /// Whether there is a `Date`.
    pub date: bool,
    /// Whether there is a `Message-ID`.
    pub message_id: bool,
    /// Whether there is a `From`.
    pub from: bool,
}

/// Why no recipients could be taken from a header section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRecipients {
    /// Part of a field is not an address.
    #[error("{field}: {text:?} is not an address: {why}")]
    BadAddress {
        /// The field's name.
        field: &'static str,
        /// The part.
        text: String,
        /// Why.
        why: String,
    },
    /// More than `RECIPIENTS_MAX`.
    #[error("the header names more than {RECIPIENTS_MAX} recipients")]
    TooMany,
}

/// Counts the `Received` fields of a message whose octets come piece by piece and are not kept: what stops a mail loop
/// (RFC 5321 §6.3) must not hang on how they are cut.
#[derive(Clone, Debug, Default)]
pub struct ReceivedCount {
    found: usize,
    /// The first octets of the line that is coming.
    line: Vec<u8>,
    ended: bool,
}

impl ReceivedCount {
    const NAME: &'static [u8] = b"received:";

    /// Takes the next piece.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            let room = Self::NAME.len().saturating_sub(self.line.len());
            self.line.extend(line.iter().take(room));
            bytes = rest;
            if end.is_some() {
                self.found += usize::from(self.line.eq_ignore_ascii_case(Self::NAME));
                self.ended = matches!(self.line.as_slice(), b"\n" | b"\r\n");
                self.line.clear();
            }
        }
    }

    /// How many there were so far.
    #[must_use]
    pub fn found(&self) -> usize {
        self.found
    }
}

/// The summary of a message's header section.
#[must_use]
pub fn summary(message: &[u8]) -> Summary {
    let mut summary = Summary::default();
    let mut fields = Fields::new(message);
    for field in fields.by_ref() {
        summary.received += usize::from(field.is("Received"));
        summary.date |= field.is("Date");
        summary.message_id |= field.is("Message-ID");
        summary.from |= field.is("From");
    }
    summary.end = fields.at;
    let rest = message.get(summary.end..).unwrap_or_default();
    let empty_line = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
    summary.body = summary.end + empty_line;
    summary
}

/// Whether the header section goes on beyond `HEADER_MAX`.
#[must_use]
pub fn is_cut(message: &[u8]) -> bool {
    let mut fields = Fields::new(message);
    fields.by_ref().for_each(drop);
    let rest = message.get(fields.at..).unwrap_or_default();
    fields.line_end(fields.at).is_none() && (name(rest).is_some() || matches!(rest, [b' ' | b'\t', ..]))
}

/// The fields of a message's header section, in order.
#[must_use]
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields::new(message)
}

/// The fields that name recipients: of a message, and of one that is sent again by somebody else (RFC 5322 §3.6.6), which goes to
/// his recipients alone.
const TO: [&str; 3] = ["To", "Cc", "Bcc"];
const RESENT_TO: [&str; 3] = ["Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Where the `Bcc` and `Resent-Bcc` fields are, in order.
#[must_use]
pub fn bcc(message: &[u8]) -> Vec<Range<usize>> {
    fields(message)
        .filter(|field| field.is("Bcc") || field.is("Resent-Bcc"))
        .map(|field| field.whole)
        .collect()
}

/// The message without its `Bcc` and `Resent-Bcc` fields.
#[must_use]
pub fn without_bcc(message: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(message.len());
    let mut at = 0;
    for field in bcc(message) {
        kept.extend_from_slice(message.get(at..field.start).unwrap_or_default());
        at = field.end;
    }
    kept.extend_from_slice(message.get(at..).unwrap_or_default());
    kept
}

/// The addresses of `To`, `Cc` and `Bcc`, or of the `Resent-` fields where there are any, each once, in order.
///
/// # Errors
/// The first part that is not an address, or too many of them.
pub fn recipients(message: &[u8]) -> Result<Vec<Address>, NoRecipients> {
    let mut addresses = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let is_resent = fields(message).any(|field| RESENT_TO.iter().any(|name| field.is(name)));
    let names = if is_resent { RESENT_TO } else { TO };
    for field in fields(message) {
        let Some(name) = names.into_iter().find(|name| field.is(name)) else {
            continue;
        };
        let value = message.get(field.value).unwrap_or_default();
        let listed = mailbox_list::parse(value)
            .map_err(|NotAList { text, why }| NoRecipients::BadAddress { field: name, text, why })?;
        for address in listed {
            if seen.insert(address.clone()) {
                addresses.push(address);
            }
        }
        if addresses.len() > RECIPIENTS_MAX {
            return Err(NoRecipients::TooMany);
        }
    }
    Ok(addresses)
}

/// Walks the fields of a header section.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    ended: bool,
}

impl<'a> Fields<'a> {
    fn new(message: &'a [u8]) -> Self {
        let mut fields = Self { message, at: 0, ended: false };
        // The line with which a mailbox file begins a message is not part of it.
        if message.starts_with(b"From ") {
            fields.at = fields.line_end(0).unwrap_or(0);
        }
        fields
    }

    /// The end of the line that begins at `from`, its line end included. A last line may lack one; one that goes beyond
    /// `HEADER_MAX` is none.
    fn line_end(&self, from: usize) -> Option<usize> {
        let limit = self.message.len().min(HEADER_MAX);
        let rest = self.message.get(from..limit).filter(|rest| !rest.is_empty())?;
        match memchr::memchr(b'\n', rest) {
            Some(found) => Some(from + found + 1),
            None => Some(limit).filter(|_| self.message.len() <= HEADER_MAX),
        }
    }

    fn field(&self) -> Option<Field<'a>> {
        let start = self.at;
        let mut end = self.line_end(start)?;
        let (name, colon) = name(self.message.get(start..end)?)?;
        while matches!(self.message.get(end), Some(b' ' | b'\t')) {
            let Some(next) = self.line_end(end) else {
                break;
            };
            end = next;
        }
        let whole = self.message.get(start..end)?;
        let line_end = if whole.ends_with(b"\r\n") { 2 } else { usize::from(whole.ends_with(b"\n")) };
        Some(Field { name, value: start + colon + 1..end - line_end, whole: start..end })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.ended {
            return None;
        }
        match self.field() {
            Some(field) => {
                self.at = field.whole.end;
                Some(field)
            }
            None => {
                self.ended = true;
                None
            }
        }
    }
}

/// The name of the field that begins `line`, and where its colon is.
fn name(line: &[u8]) -> Option<(&[u8], usize)> {
    let colon = memchr::memchr(b':', line)?;
    // RFC 5322 §4.5 lets spaces stand before the colon.
    let name = line.get(..colon)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some((name, colon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(message: &str) -> Vec<(String, String)> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        fields(message.as_bytes()).map(|f| (text(f.name), text(&message.as_bytes()[f.value]))).collect()
    }

    #[test]
    fn received_is_counted_however_the_message_is_cut() {
        let message =
            b"Received: a\r\n b\r\nreceived: c\r\nX-Received: d\r\nSubject: e\r\n\r\nReceived: body\r\n";
        for cut in 0..=message.len() {
            let mut count = ReceivedCount::default();
            count.feed(&message[..cut]);
            count.feed(&message[cut..]);
            assert_eq!(count.found(), 2, "cut at {cut}");
        }
    }

    #[test]
    fn sections() {
        let check = |message: &str, end: usize, body: usize| {
            let summary = summary(message.as_bytes());
            assert_eq!((summary.end, summary.body), (end, body), "{message:?}");
        };
        check("", 0, 0);
        check("\r\nbody", 0, 2);
        check("\nbody", 0, 1);
        check("body\r\n\r\n", 0, 0);
        check("A: b\r\n\r\nbody", 6, 8);
        check("A: b\n\nbody", 5, 6);
        check("A: b\r\n c\r\nbody", 10, 10);
        check("A: b", 4, 4);
        check("A: b\r\n\r\n", 6, 8);
        check("From a@b\nA: b\n\nc", 14, 15);
        check(" folded: first\r\n\r\n", 0, 0);
    }

    #[test]
    fn field_ranges() {
        let check = |message: &str, expected: &[(&str, &str)]| {
            let expected: Vec<_> = expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            assert_eq!(names(message), expected, "{message:?}");
        };
        check("A: b\r\nC:\r\n d\r\nE :f\r\n\r\nG: h", &[("A", " b"), ("C", "\r\n d"), ("E", "f")]);
        check("A:b\n \nC:d", &[("A", "b\n "), ("C", "d")]);
        check("A b: c\r\n", &[]);
        check(": c\r\n", &[]);
    }

    #[test]
    fn summaries() {
        let message = b"received: a\r\nRECEIVED: b\r\nX-Received: c\r\ndate: d\r\nmessage-id: e\r\nFrom: f\r\n\r\nReceived: g\r\n";
        let summary = summary(message);
        assert_eq!((summary.received, summary.date, summary.message_id, summary.from), (2, true, true, true));
        let long = [b"A: ".as_slice(), &vec![b'x'; HEADER_MAX], b"\r\nDate: d\r\n\r\n"].concat();
        assert_eq!(super::summary(&long), Summary::default(), "what goes beyond the bound is body");
        let many = "Received: a\r\n".repeat(HEADER_MAX / 13 + 10);
        assert_eq!(super::summary(many.as_bytes()).received, HEADER_MAX / 13);
    }

    #[test]
    fn recipients_and_bcc() {
        let message = b"To: A <a@x.example>, b@x.example\r\nbcc: c@x.example,\r\n a@x.example\r\nSubject: s\r\nBCC:\r\ncc: d@x.example\r\n\r\nBcc: e@x.example";
        let to: Vec<_> = recipients(message).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(to, ["a@x.example", "b@x.example", "c@x.example", "d@x.example"]);
        let kept = String::from_utf8(without_bcc(message)).unwrap();
        assert_eq!(
            kept,
            "To: A <a@x.example>, b@x.example\r\nSubject: s\r\ncc: d@x.example\r\n\r\nBcc: e@x.example"
        );
        let resent = b"To: a@x.example\r\nBcc: b@x.example\r\nResent-To: c@x.example\r\nresent-bcc: d@x.example\r\n\r\n";
        let to: Vec<_> = recipients(resent).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(to, ["c@x.example", "d@x.example"]);
        assert_eq!(without_bcc(resent), b"To: a@x.example\r\nResent-To: c@x.example\r\n\r\n");
        let bad = recipients(b"Cc: ok@x.example, nobody\r\n\r\n").unwrap_err();
        assert_eq!(bad.to_string(), "Cc: \"nobody\" is not an address: the address has no domain");
        let many: String = (0..=RECIPIENTS_MAX).map(|n| format!("{n}@x.y,")).collect();
        assert_eq!(recipients(format!("To: {many}\r\n\r\n").as_bytes()), Err(NoRecipients::TooMany));
    }

    #[test]
    fn a_section_beyond_the_bound_is_told() {
        let check = |message: &[&[u8]], expected: bool| assert_eq!(is_cut(&message.concat()), expected);
        let long = vec![b'x'; HEADER_MAX];
        let folded = "To: a@b.example,\r\n".to_owned() + &" c@d.example,\r\n".repeat(HEADER_MAX / 15 + 10);
        check(&[b"A: b\r\n\r\n", &long], false);
        check(&[b"A: b\r\n", &long, b"\r\n\r\nC: d"], false);
        check(&[&long[..HEADER_MAX - 6], b": b\r\n\r\nC: d\r\n"], false);
        check(&[b"A: b\r\n", b"C: ", &long, b"\r\n\r\n"], true);
        check(&["C: d\r\n".repeat(HEADER_MAX / 6 + 10).as_bytes()], true);
        check(&[folded.as_bytes(), b"Bcc: e@f.example\r\n\r\n"], true);
    }

    proptest! {
        #[test]
        fn any_octets(message in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), any::<u8>()], 0..200)) {
            let summary = summary(&message);
            prop_assert!(summary.end <= summary.body && summary.body <= message.len());
            let mut at = None;
            for field in fields(&message) {
                prop_assert!(at.is_none_or(|at| at == field.whole.start));
                prop_assert!(field.whole.start < field.value.start && field.value.end <= field.whole.end);
                at = Some(field.whole.end);
            }
            prop_assert!(at.is_none_or(|at| at == summary.end));
            prop_assert!(bcc(&without_bcc(&message)).is_empty());
            let _ = recipients(&message);
        }
    }
}
