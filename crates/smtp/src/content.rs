//! Content on the wire: dots unstuffed on the way in, stuffed on the way out.
//!
//! The end is CR LF `.` CR LF and nothing else (RFC 5321 §4.1.1.4), the CR LF of the DATA line counted in. Content with a
//! lone CR, a lone LF or a NUL is read to that end and refused: no hop may come to see another end in it than we did.

use crate::server::Abandoned;
use memchr::{memchr2, memchr3};

/// Octets of a line of content. RFC 5321 §4.5.3.1.6 says 998; longer lines exist and are carried unchanged. What is beyond
/// this is no text, and would be buffered by every hop that reads line by line.
const LINE_MAX: usize = 64 * 1024;

/// Where the reader is within a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    /// Behind a dot at the start, which is not handed out yet.
    Dot,
    /// Behind dot and CR at the start, neither handed out.
    DotCr,
    /// Behind a CR.
    Cr,
    Middle,
}

/// Reads content, piece by piece, up to its end.
#[derive(Debug)]
pub struct Unstuffer {
    at: At,
    line_len: usize,
    /// Octets handed out, or that would have been were there no fault.
    pub size: u64,
    pub eight_bit: bool,
    /// The first thing that was wrong; nothing is handed out behind it.
    pub fault: Option<Abandoned>,
}

impl Unstuffer {
    pub fn new() -> Self {
        Self { at: At::Start, line_len: 0, size: 0, eight_bit: false, fault: None }
    }

    /// Reads from `bytes`, appends the plain content to `plain`, and says how many octets follow the end, once it came.
    pub fn read(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Option<usize> {
        let before = plain.len();
        let left = self.scan(bytes, plain);
        self.size += (plain.len() - before) as u64;
        self.eight_bit = self.eight_bit || !plain.get(before..).unwrap_or_default().is_ascii();
        if self.fault.is_some() {
            plain.truncate(before);
        }
        left
    }

    fn scan(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Option<usize> {
        let mut next = 0;
        // Each turn takes an octet, or turns into a state whose turn does.
        while let Some(byte) = bytes.get(next).copied() {
            match self.at {
                At::Start if byte == b'.' => {
                    self.at = At::Dot;
                    next += 1;
                }
                At::Dot if byte == b'\r' => {
                    self.at = At::DotCr;
                    next += 1;
                }
                At::DotCr if byte == b'\n' => return Some(bytes.len() - next - 1),
                At::Start | At::Dot => {
                    self.at = At::Middle;
                    self.line_len = 0;
                }
                At::DotCr => {
                    // Neither an end nor a line end: a stuffed dot, then a lone CR.
                    plain.push(b'\r');
                    self.at = At::Cr;
                }
                At::Cr => {
                    if byte == b'\n' {
                        plain.push(byte);
                        self.at = At::Start;
                        next += 1;
                    } else {
                        self.fail(Abandoned::BadOctets);
                        self.at = At::Middle;
                    }
                }
                At::Middle => next += self.scan_lines(bytes.get(next..).unwrap_or_default(), plain),
            }
        }
        None
    }

    /// Takes whole lines in one piece, up to one that begins with a dot or to the end of `bytes`; at least one octet.
    fn scan_lines(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> usize {
        let mut line_from = 0;
        let mut from = 0;
        let taken = loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let Some(found) = memchr3(b'\r', b'\n', 0, rest).map(|offset| from + offset) else {
                self.count_line(bytes.len() - line_from);
                break bytes.len();
            };
            match (bytes.get(found), bytes.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.count_line(found - line_from);
                    self.line_len = 0;
                    line_from = found + 2;
                    from = line_from;
                    if matches!(bytes.get(from), None | Some(b'.')) {
                        self.at = At::Start;
                        break from;
                    }
                }
                (Some(b'\r'), None) => {
                    self.count_line(found - line_from);
                    self.at = At::Cr;
                    break bytes.len();
                }
                _ => {
                    self.fail(Abandoned::BadOctets);
                    from = found + 1;
                }
            }
        };
        plain.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        taken
    }

    fn count_line(&mut self, octets: usize) {
        self.line_len += octets;
        if self.line_len > LINE_MAX {
            self.fail(Abandoned::LineTooLong);
        }
    }

    fn fail(&mut self, fault: Abandoned) {
        self.fault.get_or_insert(fault);
    }
}

/// Writes content, piece by piece, and its end. Whatever it is given, the wire carries CR LF line ends only: a lone CR or LF
/// becomes CR LF, so that nothing we send has two readings.
#[derive(Debug)]
pub struct Stuffer {
    line_start: bool,
    /// The last octet was a CR, which is on the wire; its LF is owed.
    owes_lf: bool,
}

impl Stuffer {
    pub fn new() -> Self {
        Self { line_start: true, owes_lf: false }
    }

    /// Appends the wire form of `bytes`.
    pub fn write(&mut self, bytes: &[u8], wire: &mut Vec<u8>) {
        let mut rest = bytes;
        if self.owes_lf && !rest.is_empty() {
            self.owes_lf = false;
            self.line_start = true;
            wire.push(b'\n');
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(first) = rest.first() {
            if self.line_start && *first == b'.' {
                wire.push(b'.');
            }
            let taken = self.write_lines(rest, wire);
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Appends the end of content.
    pub fn finish(&mut self, wire: &mut Vec<u8>) {
        let end: &[u8] = match (self.owes_lf, self.line_start) {
            (true, _) => b"\n.\r\n",
            (false, true) => b".\r\n",
            (false, false) => b"\r\n.\r\n",
        };
        wire.extend_from_slice(end);
    }

    /// Appends in one piece up to a line that begins with a dot, past a lone CR or LF, or all; at least one octet.
    fn write_lines(&mut self, bytes: &[u8], wire: &mut Vec<u8>) -> usize {
        self.line_start = false;
        let mut from = 0;
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let Some(found) = memchr2(b'\r', b'\n', rest).map(|offset| from + offset) else {
                wire.extend_from_slice(bytes);
                return bytes.len();
            };
            match (bytes.get(found), bytes.get(found + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    from = found + 2;
                    if matches!(bytes.get(from), None | Some(b'.')) {
                        self.line_start = true;
                        wire.extend_from_slice(bytes.get(..from).unwrap_or_default());
                        return from;
                    }
                }
                (Some(b'\r'), None) => {
                    self.owes_lf = true;
                    wire.extend_from_slice(bytes);
                    return bytes.len();
                }
                _ => {
                    self.line_start = true;
                    wire.extend_from_slice(bytes.get(..found).unwrap_or_default());
                    wire.extend_from_slice(b"\r\n");
                    return found + 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stuffs `content` in two pieces, cut at every place, and expects `wire`.
    fn check_stuffed(content: &str, wire: &str) {
        for cut in 0..=content.len() {
            let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
            stuffer.write(&content.as_bytes()[..cut], &mut out);
            stuffer.write(&content.as_bytes()[cut..], &mut out);
            stuffer.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wire, "{content:?} cut at {cut}");
        }
    }

    #[test]
    fn content_is_stuffed() {
        check_stuffed("", ".\r\n");
        check_stuffed("a\r\n", "a\r\n.\r\n");
        check_stuffed("a", "a\r\n.\r\n");
        check_stuffed(".\r\n..\r\n.a\r\n", "..\r\n...\r\n..a\r\n.\r\n");
        check_stuffed("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n");
    }

    #[test]
    fn no_lone_cr_or_lf_goes_out() {
        check_stuffed("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n");
        check_stuffed("a\r.\rb\r", "a\r\n..\r\nb\r\n.\r\n");
        check_stuffed("a\r\n.\r\r\nb", "a\r\n..\r\n\r\nb\r\n.\r\n");
        check_stuffed("\n\r", "\r\n\r\n.\r\n");
    }

    /// Unstuffs `wire` whole and in two pieces, cut at every place: the content, or the fault, and what is left behind the end.
    fn check_unstuffed(wire: &str, expected: Result<&str, Abandoned>, left: Option<&str>) {
        for cut in 0..=wire.len() {
            let (mut unstuffer, mut plain) = (Unstuffer::new(), Vec::new());
            let (head, tail) = wire.as_bytes().split_at(cut);
            let end = match unstuffer.read(head, &mut plain) {
                Some(left) => Some(left + tail.len()),
                None => unstuffer.read(tail, &mut plain),
            };
            let found = match unstuffer.fault {
                None => Ok(std::str::from_utf8(&plain).unwrap()),
                Some(fault) => Err(fault),
            };
            assert_eq!(found, expected, "{wire:?} cut at {cut}");
            assert_eq!(end.map(|left| &wire[wire.len() - left..]), left, "{wire:?} cut at {cut}");
        }
    }

    #[test]
    fn content_is_unstuffed() {
        check_unstuffed(".\r\nQUIT", Ok(""), Some("QUIT"));
        check_unstuffed("a\r\n.\r\n", Ok("a\r\n"), Some(""));
        check_unstuffed("..x\r\n..\r\n...\r\n. \r\n.\r\n.\r\n", Ok(".x\r\n.\r\n..\r\n \r\n"), Some(".\r\n"));
        check_unstuffed("\r\n\r\n.\r\n", Ok("\r\n\r\n"), Some(""));
        check_unstuffed("a\r\n.", Ok("a\r\n"), None);
    }

    #[test]
    fn only_the_true_end_ends() {
        // RFC 5321 §4.1.1.4, CVE-2023-51764 and its kin: what other servers took for an end.
        for false_end in [
            "\n.\n",
            "\n.\r\n",
            "\r\n.\n",
            "\r.\r",
            "\r.\r\n",
            "\r.\n",
            "\n.\r",
            "\r\n.\r",
            "\n\r.\n\r",
            "\r\n.\r\r\n",
            "\r\r\n.\r\r\n",
            "\n\n.\n",
            "\r\n\0.\r\n",
            "\r\n.\0\r\n",
            "\r\n.\r\0\n",
        ] {
            let wire = format!("a{false_end}MAIL FROM:<x@y.example>\r\n.\r\n");
            check_unstuffed(&wire, Err(Abandoned::BadOctets), Some(""));
        }
        for no_end in [". ", ".\t", " .", ".\u{b}", ".\u{c}", ".\u{85}", ".\u{2028}", ".\u{8}"] {
            let wire = format!("a\r\n{no_end}\r\nb\r\n.\r\n");
            check_unstuffed(
                &wire,
                Ok(&format!("a\r\n{}\r\nb\r\n", no_end.strip_prefix('.').unwrap_or(no_end))),
                Some(""),
            );
        }
    }

    #[test]
    fn lines_are_bounded() {
        let check = |octets: usize, fault: Option<Abandoned>| {
            let wire = format!("{}\r\n.\r\n", "x".repeat(octets));
            for piece in [usize::MAX, 1000] {
                let (mut unstuffer, mut plain) = (Unstuffer::new(), Vec::new());
                for bytes in wire.as_bytes().chunks(piece) {
                    unstuffer.read(bytes, &mut plain);
                }
                assert_eq!(unstuffer.fault, fault, "{octets} octets");
            }
        };
        check(LINE_MAX, None);
        check(LINE_MAX + 1, Some(Abandoned::LineTooLong));
    }
}
