//! The message as it is submitted: line ends, and the fields that it lacks.

use postroad_mail::address::Address;
use postroad_mail::domain::Domain;
use postroad_mail::header;
use postroad_mail::time::Wall;

/// What fields are made of, where a message has none.
pub struct Fill<'a> {
    /// Whom it is from.
    pub from: &'a Address,
    /// Where it was made.
    pub host: &'a Domain,
    /// When, and with it a name for the message that no other has.
    pub now: Wall,
}

/// The message with every line ended by CR LF: a CR or LF alone ends one too. The line with which a mailbox file begins a
/// message is left out.
pub fn with_crlf(message: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(message.len() + message.len() / 32);
    let mut rest = message;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        lines.extend_from_slice(rest.get(..end).unwrap_or_default());
        lines.extend_from_slice(b"\r\n");
        let ended = rest.get(end..).unwrap_or_default();
        rest = ended.strip_prefix(b"\r\n").or_else(|| ended.get(1..)).unwrap_or_default();
    }
    if !rest.is_empty() {
        lines.extend_from_slice(rest);
        lines.extend_from_slice(b"\r\n");
    }
    let first = lines.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    // Text that happens to begin so is followed by no field.
    if lines.starts_with(b"From ") && header::summary(&lines).end > first {
        lines.drain(..first);
    }
    lines
}

/// The message with Date, From and Message-ID, and with an empty line between its header section and its body.
pub fn completed(message: &[u8], fill: &Fill<'_>) -> Vec<u8> {
    // What is only text, and happens to begin as a mailbox file does, has no header section.
    let only_text = message.starts_with(b"From ");
    let summary = if only_text { header::Summary::default() } else { header::summary(message) };
    let mut added = String::new();
    if !summary.date {
        added.push_str(&format!("Date: {}\r\n", fill.now.rfc5322()));
    }
    if !summary.from {
        added.push_str(&format!("From: {}\r\n", fill.from));
    }
    if !summary.message_id {
        // One process makes one message, so its number and the time name it.
        added.push_str(&format!("Message-ID: <{}.{}@{}>\r\n", fill.now.0, std::process::id(), fill.host));
    }
    let mut whole = Vec::with_capacity(added.len() + message.len() + 2);
    whole.extend_from_slice(added.as_bytes());
    whole.extend_from_slice(message.get(..summary.end).unwrap_or_default());
    whole.extend_from_slice(b"\r\n");
    whole.extend_from_slice(message.get(summary.body..).unwrap_or_default());
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends() {
        let check = |message: &str, expected: &str| {
            assert_eq!(String::from_utf8(with_crlf(message.as_bytes())).unwrap(), expected, "{message:?}");
        };
        check("", "");
        check("a", "a\r\n");
        check("a\nb\r\nc\rd\r\r\n\n", "a\r\nb\r\nc\r\nd\r\n\r\n\r\n");
        check("From a@b Wed\nTo: c@d.example\n\ne", "To: c@d.example\r\n\r\ne\r\n");
        check("From here on: text\nmore", "From here on: text\r\nmore\r\n");
    }

    #[test]
    fn what_is_lacking() {
        let from = "a@b.example".parse().unwrap();
        let host = "host.example".parse().unwrap();
        let check = |message: &str, expected: &str| {
            let fill = Fill { from: &from, host: &host, now: Wall(1_795_590_028_123) };
            let whole = String::from_utf8(completed(message.as_bytes(), &fill)).unwrap();
            assert_eq!(whole.replace(&std::process::id().to_string(), "PID"), expected, "{message:?}");
        };
        let date = "Date: Wed, 25 Nov 2026 07:00:28 +0000\r\n";
        let id = "Message-ID: <1795590028123.PID@host.example>\r\n";
        let all = format!("{date}From: a@b.example\r\n{id}");
        check("", &format!("{all}\r\n"));
        check("only text\r\n", &format!("{all}\r\nonly text\r\n"));
        check("\r\ntext\r\n", &format!("{all}\r\ntext\r\n"));
        check(
            "From here on\r\nTo be: or\r\nnot\r\n",
            &format!("{all}\r\nFrom here on\r\nTo be: or\r\nnot\r\n"),
        );
        check("Subject: s\r\ntext\r\n", &format!("{all}Subject: s\r\n\r\ntext\r\n"));
        check("from: c@d.example\r\n\r\ntext\r\n", &format!("{date}{id}from: c@d.example\r\n\r\ntext\r\n"));
        let whole = "Date: d\r\nFrom: f\r\nMessage-ID: <m@n>\r\n\r\ntext\r\n";
        check(whole, whole);
    }
}
