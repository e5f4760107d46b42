//! Notifications of failure, read by a parser that is not ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_mail::dsn::{Failed, RETURN_MAX, Report, failure};
use postroad_mail::envelope::{Recipient, Ret, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::{Reply, Status};
use postroad_mail::time::Wall;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};

const ARRIVED: Wall = Wall(1_795_590_028_123);
const NOW: Wall = Wall(1_795_593_628_000);
const ORIGINAL: &[u8] = b"Received: from a by b; Wed, 25 Nov 2026 07:00:28 +0000\r\nFrom: ann@a.example\r\nSubject: hello\r\n\r\nHello.\r\n";

fn recipient(address: &str) -> Recipient {
    Recipient::plain(address.parse().unwrap(), NextHop::Drop)
}

fn sender() -> Sender {
    Sender::plain("ann@a.example".parse().unwrap())
}

fn refused(recipient: &Recipient) -> Failed<'_> {
    let reply = Reply {
        code: 550,
        status: Some(Status::new(5, 1, 1)),
        lines: vec!["No such user".into(), "Bye".into()],
    };
    Failed {
        recipient,
        status: Status::new(5, 1, 1),
        cause: "the recipient was refused".into(),
        remote: Some("mx.b.example".into()),
        reply: Some(reply),
    }
}

fn made(sender: &Sender, failed: &[Failed<'_>], original: &[u8], original_complete: bool) -> Vec<u8> {
    let reporting = "mail.example".parse().unwrap();
    let id = MessageId::first_at(ARRIVED);
    failure(&Report {
        reporting: &reporting,
        arrived: ARRIVED,
        now: NOW,
        id,
        sender,
        failed,
        original,
        original_complete,
    })
}

/// Every line ends in CRLF and is at most 998 octets, and no CR or LF stands alone.
fn assert_lines(message: &[u8]) {
    assert!(message.ends_with(b"\r\n"));
    for line in message[..message.len() - 2]
        .split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    {
        assert!(
            line.len() <= 998 && !line.contains(&b'\r') && !line.contains(&0),
            "{:?}",
            String::from_utf8_lossy(line)
        );
    }
    let line_feeds = message.iter().filter(|b| **b == b'\n').count();
    assert_eq!(line_feeds, message.windows(2).filter(|pair| pair == b"\r\n").count());
}

/// What Python's email package makes of a message: one line for each part and each delivery-status field.
fn parsed(message: &[u8]) -> String {
    const PROGRAM: &str = r#"
import email, email.policy, sys
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP)
def show(part, depth):
    assert not part.defects, part.defects
    print("  " * depth + part.get_content_type(), part.get("Content-Transfer-Encoding", "-"))
    if part.get_content_type() == "message/delivery-status":
        for block in part.get_payload():
            assert not block.defects, block.defects
            print("  " * depth + "; ".join(f"{n}={v}" for n, v in block.items()))
    elif part.is_multipart():
        for inner in part.get_payload():
            show(inner, depth + 1)
for name in ["From", "To", "Subject", "Auto-Submitted", "Message-ID", "Date"]:
    print(name, message[name])
print(message.get_param("report-type"))
show(message, 0)
"#;
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 reads what we write");
    python.stdin.take().unwrap().write_all(message).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(message));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_refused_recipient() {
    let to = recipient("bob@b.example");
    let message = made(&sender(), &[refused(&to)], ORIGINAL, true);
    assert_lines(&message);
    let expected = "\
Date: Wed, 25 Nov 2026 08:00:28 +0000
From: Mail Delivery System <postmaster@mail.example>
To: <ann@a.example>
Subject: Undelivered mail: bob@b.example
Message-ID: <ID.1795593628000.failure@mail.example>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
 boundary=\"=_ID.0=\"

This is a notification in parts as RFC 3464 has them.

--=_ID.0=
Content-Type: text/plain; charset=us-ascii

This is the mail system at mail.example.

Your message of Wed, 25 Nov 2026 07:00:28 +0000 could not be delivered to this
recipient. It is not tried again.

  bob@b.example
    Why: the recipient was refused
    mx.b.example said: 550 5.1.1 No such user Bye
    Status: 5.1.1
    What to do: check the spelling of the address, and ask the recipient for
      the right one.

Your message is attached. The mail system knows it as ID.

--=_ID.0=
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example
Arrival-Date: Wed, 25 Nov 2026 07:00:28 +0000

Final-Recipient: rfc822; bob@b.example
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.b.example
Diagnostic-Code: smtp; 550 5.1.1 No such user Bye
Last-Attempt-Date: Wed, 25 Nov 2026 08:00:28 +0000

--=_ID.0=
Content-Type: message/rfc822

Received: from a by b; Wed, 25 Nov 2026 07:00:28 +0000
From: ann@a.example
Subject: hello

Hello.

--=_ID.0=--
";
    let text = String::from_utf8(message).unwrap().replace("\r\n", "\n");
    assert_eq!(text.replace(&MessageId::first_at(ARRIVED).to_string(), "ID"), expected);
}

#[test]
fn another_parser_agrees() {
    let mut bob = recipient("bob@b.example");
    bob.orcpt = Some("rfc822;Bob+x@b.example".into());
    let carl = recipient("\"c d\"@[192.0.2.1]");
    let expired = Failed {
        status: Status::new(4, 4, 7),
        cause: "expired".into(),
        remote: None,
        reply: None,
        ..refused(&carl)
    };
    let mut from = sender();
    from.envid = Some("QQ+314".into());
    let message =
        made(&from, &[refused(&bob), expired], &[ORIGINAL, "Gr\u{fc}\u{df}e\r\n".as_bytes()].concat(), true);
    assert_lines(&message);
    let expected = "\
From Mail Delivery System <postmaster@mail.example>
To ann@a.example
Subject Undelivered mail: bob@b.example and 1 more
Auto-Submitted auto-replied
Message-ID <ID.1795593628000.failure@mail.example>
Date Wed, 25 Nov 2026 08:00:28 +0000
delivery-status
multipart/report 8bit
  text/plain -
  message/delivery-status -
  Reporting-MTA=dns; mail.example; Original-Envelope-Id=QQ+314; Arrival-Date=Wed, 25 Nov 2026 07:00:28 +0000
  Original-Recipient=rfc822; Bob+x@b.example; Final-Recipient=rfc822; bob@b.example; Action=failed; Status=5.1.1; \
Remote-MTA=dns; mx.b.example; Diagnostic-Code=smtp; 550 5.1.1 No such user Bye; Last-Attempt-Date=Wed, 25 Nov 2026 08:00:28 +0000
  Final-Recipient=rfc822; \"c d\"@[192.0.2.1]; Action=failed; Status=4.4.7; Last-Attempt-Date=Wed, 25 Nov 2026 08:00:28 +0000
  message/rfc822 8bit
    text/plain -
";
    assert_eq!(parsed(&message).replace(&MessageId::first_at(ARRIVED).to_string(), "ID"), expected);
}

/// A name or a literal, as RFC 3464 §2.1.2 wants it; the port is for people alone.
#[test]
fn the_host_is_named_for_programs() {
    let to = recipient("bob@b.example");
    let check = |remote: &str, expected: &str| {
        let failed = Failed { remote: Some(remote.into()), ..refused(&to) };
        let message = String::from_utf8(made(&sender(), &[failed], ORIGINAL, true)).unwrap();
        assert!(message.contains(&format!("\r\nRemote-MTA: dns; {expected}\r\n")), "{message}");
        assert!(message.contains(&format!("\r\n    {remote} said:")), "{message}");
    };
    check("mx.b.example [192.0.2.1]:25", "mx.b.example");
    check("[192.0.2.1]:25", "[192.0.2.1]");
    check("[2001:db8::1]:25", "[IPv6:2001:db8::1]");
}

#[test]
fn what_is_returned() {
    let to = recipient("bob@b.example");
    let check = |ret: Option<Ret>, original: &[u8], complete: bool, whole: bool| {
        let message = made(&Sender { ret, ..sender() }, &[refused(&to)], original, complete);
        assert_lines(&message);
        let text = String::from_utf8_lossy(&message).into_owned();
        assert_eq!(text.contains("Content-Type: message/rfc822\r\n"), whole);
        assert_eq!(text.contains("Content-Type: text/rfc822-headers\r\n"), !whole);
        assert_eq!(text.contains("Your message is attached."), whole);
        assert!(text.contains("\r\nSubject: hello\r\n"));
        assert_eq!(text.contains("\r\nHello.\r\n"), whole);
        text
    };
    check(None, ORIGINAL, true, true);
    check(Some(Ret::Full), ORIGINAL, true, true);
    check(Some(Ret::Headers), ORIGINAL, true, false);
    check(Some(Ret::Full), ORIGINAL, false, false);
    let fill = |octets: usize| [ORIGINAL, "x\r\n".repeat(octets / 3).as_bytes()].concat();
    check(None, &fill(RETURN_MAX - ORIGINAL.len()), true, true);
    check(None, &fill(RETURN_MAX), true, false);
    check(None, &[ORIGINAL, &[b'x'; 999]].concat(), true, false);
    check(None, &[ORIGINAL, b"a\0b\r\n"].concat(), true, false);
    check(None, &[ORIGINAL, b"bare\rcr and\nlf\n"].concat(), true, true);
    check(None, &[b"X: ".as_slice(), &[b'x'; 3000], b"\r\n", ORIGINAL].concat(), true, false);
}

#[test]
fn foreign_words_are_harmless() {
    let to = recipient("bob@b.example");
    let reply = Reply::new(550, None, format!("a\r\nBcc: x@y.example\0\u{e9} {}", "word ".repeat(300)));
    let failed = Failed {
        cause: "x".repeat(5000),
        reply: Some(reply),
        remote: Some("h\r\n\r\ni".into()),
        ..refused(&to)
    };
    let original =
        [ORIGINAL, b"--=_", MessageId::first_at(ARRIVED).to_string().as_bytes(), b".0=\r\n\r\nno part\r\n"]
            .concat();
    let message = made(&sender(), &[failed], &original, true);
    assert_lines(&message);
    assert!(message.is_ascii());
    let shown = parsed(&message);
    assert!(!shown.contains("Bcc="), "{shown}");
    assert!(shown.contains("Remote-MTA=dns; h\\r\\n\\r\\ni;"), "{shown}");
    assert!(shown.contains("550 a\\r\\nBcc: x@y.example\\u{0}\\u{e9} word word"), "{shown}");
    assert_eq!(shown.lines().filter(|line| line.starts_with("  ")).count(), 6, "{shown}");
}

proptest! {
    #[test]
    fn any_words_and_content(cause in "\\PC{0,40}|[ \\t\\r\\n]{0,9}", said in prop::collection::vec(any::<String>(), 0..3),
            content in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b' '), any::<u8>()], 0..300),
            long in 0usize..1200, complete in any::<bool>()) {
        let to = recipient("bob@b.example");
        let reply = Reply { code: 550, status: None, lines: said };
        let failed = Failed { cause, reply: Some(reply), ..refused(&to) };
        let original = [b"A: ".as_slice(), &vec![b'x'; long], b"\r\n", &content].concat();
        assert_lines(&made(&sender(), &[failed], &original, complete));
    }
}
