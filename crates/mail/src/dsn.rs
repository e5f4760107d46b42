//! Notifications of failure (RFC 3461, 3464, 6522).

use crate::domain::{Domain, Host};
use crate::envelope::{Recipient, Ret, Sender};
use crate::header;
use crate::id::MessageId;
use crate::reply::{Reply, Status};
use crate::time::Wall;
use std::fmt::Write;

/// What a notification reports.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Our name.
    pub reporting: &'a Domain,
    /// When the message was accepted.
    pub arrived: Wall,
    /// When the notification is made.
    pub now: Wall,
    /// The queue id of the message that failed.
    pub id: MessageId,
    /// Its sender, who is told; the path is not null, for a notification is never answered by one (RFC 5321 §6.1).
    pub sender: &'a Sender,
    /// The recipients that failed; not empty.
    pub failed: &'a [Failed<'a>],
    /// The message: its trace fields and its content, or the first part of them, the header section whole.
    pub original: &'a [u8],
    /// Whether `original` is all of it.
    pub original_complete: bool,
}

/// One recipient that failed.
#[derive(Clone, Debug)]
pub struct Failed<'a> {
    /// The recipient.
    pub recipient: &'a Recipient,
    /// The enhanced status, of class 5, or 4 where it expired.
    pub status: Status,
    /// Why, in words.
    pub cause: String,
    /// The host that said so, as `mx.example.org [192.0.2.1]:25` or `[192.0.2.1]:25`, if one did.
    pub remote: Option<String>,
    /// What it said.
    pub reply: Option<Reply>,
}

/// Octets of a message that is returned whole; of a larger one, the header section is.
pub const RETURN_MAX: usize = 100 * 1024;

/// Octets of a line without its CRLF (RFC 5322 §2.1.1).
const LINE_MAX: usize = 998;

/// Columns to which text is folded (RFC 5322 §2.1.1).
const COLUMNS: usize = 78;

/// Characters of foreign text that are repeated, in a field or line: more than any server has to say.
const FOREIGN_MAX: usize = 2000;

/// The notification: a whole message in lines ended by CRLF, none over 998 octets, in 7 bits unless what it returns is not.
#[must_use]
pub fn failure(report: &Report<'_>) -> Vec<u8> {
    let returned = Returned::new(report);
    let encoding = if returned.octets.is_ascii() { "" } else { "Content-Transfer-Encoding: 8bit\r\n" };
    let words = words(report, returned.whole);
    let status = status(report);
    let kind = if returned.whole { "message/rfc822" } else { "text/rfc822-headers" };
    let boundary = boundary(report.id, &[words.as_bytes(), status.as_bytes(), &returned.octets]);

    let mut message = head(report);
    message.push_str("MIME-Version: 1.0\r\n");
    let _ = write!(
        message,
        "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n{encoding}\r\n\
         This is a notification in parts as RFC 3464 has them.\r\n\
         \r\n--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{words}\
         \r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n{status}\
         \r\n--{boundary}\r\nContent-Type: {kind}\r\n{encoding}\r\n"
    );
    let mut message = message.into_bytes();
    message.extend_from_slice(&returned.octets);
    message.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    message
}

/// The notification's own fields.
fn head(report: &Report<'_>) -> String {
    let mut head = String::new();
    let own = report.reporting;
    let first = report.failed.first().map(|failed| failed.recipient.address.to_string()).unwrap_or_default();
    let others = match report.failed.len() {
        0 | 1 => String::new(),
        more => format!(" and {} more", more - 1),
    };
    field(&mut head, "Date", &report.now.rfc5322());
    field(&mut head, "From", &format!("Mail Delivery System <postmaster@{own}>"));
    match report.sender.path.address() {
        Some(sender) => field(&mut head, "To", &format!("<{sender}>")),
        None => field(&mut head, "To", &format!("<postmaster@{own}>")),
    }
    field(&mut head, "Subject", &format!("Undelivered mail: {first}{others}"));
    field(&mut head, "Message-ID", &format!("<{}.{}.failure@{own}>", report.id, report.now.0));
    field(&mut head, "Auto-Submitted", "auto-replied");
    head
}

/// The part for people.
fn words(report: &Report<'_>, whole: bool) -> String {
    let mut text = String::new();
    let (recipients, it) =
        if report.failed.len() == 1 { ("this recipient", "It") } else { ("these recipients", "They") };
    let is = if report.failed.len() == 1 { "is" } else { "are" };
    lines(&mut text, "", "", &format!("This is the mail system at {}.", report.reporting));
    text.push_str("\r\n");
    let sentence = format!(
        "Your message of {} could not be delivered to {recipients}. {it} {is} not tried again.",
        report.arrived.rfc5322()
    );
    lines(&mut text, "", "", &sentence);
    for failed in report.failed {
        text.push_str("\r\n");
        lines(&mut text, "  ", "  ", &failed.recipient.address.to_string());
        lines(&mut text, "    Why: ", "      ", &failed.cause);
        if let Some(reply) = &failed.reply {
            let who = failed.remote.as_deref().unwrap_or("The other server");
            lines(&mut text, "    ", "      ", &format!("{who} said: {reply}"));
        }
        lines(&mut text, "    Status: ", "      ", &failed.status.to_string());
        lines(&mut text, "    What to do: ", "      ", advice(failed.status));
    }
    text.push_str("\r\n");
    let attached =
        if whole { "Your message is attached." } else { "The header of your message is attached." };
    lines(&mut text, "", "", &format!("{attached} The mail system knows it as {}.", report.id));
    text
}

/// What a sender can do about a status (RFC 3463).
fn advice(status: Status) -> &'static str {
    match (status.subject, status.detail) {
        (1, 10) => "the domain takes no mail at all. Look for another address of the recipient.",
        (1, 2) | (4, 4) => "check the part of the address behind the @. There is no such mail domain.",
        (1, _) => "check the spelling of the address, and ask the recipient for the right one.",
        (2, 2) => "the mailbox is full. Tell the recipient in another way, and send again later.",
        (2, _) => "the mailbox takes no mail. Ask the recipient in another way.",
        (2..=3, 4) | (5, 3) => "send a smaller message, or the file in another way.",
        (4, 6) => "tell the administrator of the recipient's domain: its mail goes round in a circle.",
        (4, _) => "the recipient's mail servers could not be reached in time. Send again later.",
        (6, _) => "the recipient's server cannot take this kind of content. Send it in another form.",
        (7, _) => {
            "the recipient's server refuses such mail as a matter of policy. Ask its administrator, and tell them \
                   what it said."
        }
        _ => "if the words above do not help, send them to the administrator of the recipient's domain.",
    }
}

/// The part for programs (RFC 3464 §2).
fn status(report: &Report<'_>) -> String {
    let mut text = String::new();
    field(&mut text, "Reporting-MTA", &format!("dns; {}", report.reporting));
    // The sender's own name for the message, as it was before SMTP encoded it (RFC 3461 §6.3 (a)).
    if let Some(envid) = &report.sender.envid {
        field(&mut text, "Original-Envelope-Id", envid);
    }
    field(&mut text, "Arrival-Date", &report.arrived.rfc5322());
    for failed in report.failed {
        text.push_str("\r\n");
        if let Some((kind, address)) =
            failed.recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';'))
        {
            field(&mut text, "Original-Recipient", &format!("{kind}; {address}"));
        }
        field(&mut text, "Final-Recipient", &format!("rfc822; {}", failed.recipient.address));
        field(&mut text, "Action", "failed");
        field(&mut text, "Status", &failed.status.to_string());
        if let Some(remote) = &failed.remote {
            field(&mut text, "Remote-MTA", &format!("dns; {}", mta_name(remote)));
        }
        if let Some(reply) = &failed.reply {
            field(&mut text, "Diagnostic-Code", &format!("smtp; {reply}"));
        }
        field(&mut text, "Last-Attempt-Date", &report.now.rfc5322());
    }
    text
}

/// A host as programs want it (RFC 3464 §2.1.2): its name, or the address literal of one that has none; without the port.
fn mta_name(remote: &str) -> String {
    let word = remote.split(' ').next().unwrap_or_default();
    let ip = word.strip_prefix('[').and_then(|rest| rest.split_once(']')).and_then(|(ip, _)| ip.parse().ok());
    ip.map_or_else(|| word.to_owned(), |ip| Host::Literal(ip).to_string())
}

/// What is returned of the message.
struct Returned {
    whole: bool,
    octets: Vec<u8>,
}

impl Returned {
    /// The whole message where that is wanted and small, and can be carried as it is: a `message/rfc822` part must not be
    /// encoded (RFC 2046 §5.2.1), so lines too long for SMTP, or a NUL, leave only the header section.
    fn new(report: &Report<'_>) -> Self {
        let original = report.original;
        let wanted = match report.sender.ret {
            Some(Ret::Headers) => false,
            Some(Ret::Full) | None => report.original_complete && original.len() <= RETURN_MAX,
        };
        let carried = || {
            memchr::memchr(0, original).is_none()
                && original.split(|b| *b == b'\n' || *b == b'\r').all(|line| line.len() <= LINE_MAX)
        };
        let whole = wanted && carried();
        let kept = if whole { original.len() } else { header_end(original) };
        let mut octets = Vec::with_capacity(kept);
        copy_lines(&mut octets, original.get(..kept).unwrap_or_default());
        Self { whole, octets }
    }
}

/// Where the header section ends, or the last of its fields within `RETURN_MAX`.
fn header_end(original: &[u8]) -> usize {
    let ends = header::fields(original).map(|field| field.whole.end);
    ends.take_while(|end| *end <= RETURN_MAX).last().unwrap_or(0)
}

/// Copies with every line ended by CRLF, lines over 998 octets folded, each NUL a space.
fn copy_lines(out: &mut Vec<u8>, text: &[u8]) {
    let text = text.strip_suffix(b"\n").map_or(text, |text| text.strip_suffix(b"\r").unwrap_or(text));
    if text.is_empty() {
        return;
    }
    for line in text.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A CR alone must not go over SMTP (RFC 5321 §2.3.8).
        for line in line.split(|b| *b == b'\r') {
            let mut pieces = line.chunks(LINE_MAX - 1);
            out.extend(pieces.next().unwrap_or_default().iter().map(|b| if *b == 0 { b' ' } else { *b }));
            for piece in pieces {
                out.extend_from_slice(b"\r\n ");
                out.extend(piece.iter().map(|b| if *b == 0 { b' ' } else { *b }));
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// A boundary that occurs in none of the parts: the first of a series, each of which a part would have to contain.
fn boundary(id: MessageId, parts: &[&[u8]]) -> String {
    let occurs =
        |boundary: &str| parts.iter().any(|part| memchr::memmem::find(part, boundary.as_bytes()).is_some());
    let mut number = 0u32;
    loop {
        // "=_" is in no text that is quoted-printable or base64 (RFC 2045 §6.7).
        let boundary = format!("=_{id}.{number}=");
        if !occurs(&boundary) {
            return boundary;
        }
        number += 1;
    }
}

/// A field, foreign text made safe, folded.
fn field(out: &mut String, name: &str, value: &str) {
    lines(out, &format!("{name}: "), " ", value);
}

/// Words folded into lines: the first begins with `first`, the others with `next`.
fn lines(out: &mut String, first: &str, next: &str, text: &str) {
    let safe = safe(text);
    out.push_str(first);
    let mut column = first.len();
    let mut fresh = true;
    for word in safe.split_ascii_whitespace() {
        // What no fold can shorten is cut, well below what a line may have.
        for piece in word.as_bytes().chunks(LINE_MAX / 2) {
            let piece = std::str::from_utf8(piece).unwrap_or_default();
            if !fresh && column + 1 + piece.len() > COLUMNS {
                out.push_str("\r\n");
                out.push_str(next);
                column = next.len();
            } else if !fresh {
                out.push(' ');
                column += 1;
            }
            out.push_str(piece);
            column += piece.len();
            fresh = false;
        }
    }
    out.push_str("\r\n");
}

/// Printable ASCII; all else escaped, as `\u{e9}`.
fn safe(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars().take(FOREIGN_MAX) {
        if matches!(c, ' '..='~') { safe.push(c) } else { safe.extend(c.escape_default()) }
    }
    safe
}
