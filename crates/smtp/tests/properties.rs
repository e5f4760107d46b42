//! What holds for any input: content comes through unchanged, its end is where the RFC puts it, nothing grows or panics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Reply;
use postroad_mail::time::Now;
use postroad_smtp::client::{
    Client, ClientInput, ClientOutput, ClientSettings, ClientTimeouts, Delivery, RecipientResult, Tls,
};
use postroad_smtp::server::{
    Abandoned, COMMAND_LINE_MAX, PENDING_MAX, RecipientAnswer, Server, ServerInput, ServerOutput,
    ServerSettings,
};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A server whose every question is answered with yes, and what it did.
struct Host {
    server: Server,
    wire: Vec<u8>,
    content: Vec<u8>,
    aborted: Option<Abandoned>,
    ended: usize,
    closed: bool,
}

impl Host {
    fn new(size_max: u64) -> Self {
        let settings = ServerSettings {
            name: "mx.example".parse().unwrap(),
            size_max,
            session_size_max: 0,
            recipients_max: 100,
            errors_max: 20,
            starttls: false,
            idle: Duration::from_secs(600),
        };
        let server = Server::new(Arc::new(settings), "192.0.2.7:4025".parse().unwrap(), Now::default());
        let mut host = Self { server, wire: vec![], content: vec![], aborted: None, ended: 0, closed: false };
        host.settle();
        host
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.server.handle(Now::default(), ServerInput::Bytes(bytes));
        self.settle();
        assert!(self.server.octets_held() <= COMMAND_LINE_MAX);
    }

    fn settle(&mut self) {
        while let Some(output) = self.server.poll() {
            assert!(!self.closed, "{output:?} after Close");
            let answer = match output {
                ServerOutput::Send(bytes) => {
                    self.wire.extend(bytes);
                    continue;
                }
                ServerOutput::Recipient(_) => ServerInput::Recipient(RecipientAnswer::Accept),
                ServerOutput::Begin(_) => ServerInput::Begun(Ok(())),
                ServerOutput::Content(bytes) => {
                    self.content.extend(bytes);
                    continue;
                }
                ServerOutput::End(facts) => {
                    self.ended += 1;
                    assert_eq!(facts.size, self.content.len() as u64);
                    assert_eq!(facts.eight_bit, !self.content.is_ascii());
                    ServerInput::Sealed(Ok(MessageId::default()))
                }
                ServerOutput::Abort(cause) => {
                    self.aborted = Some(cause);
                    continue;
                }
                ServerOutput::StartTls => panic!("STARTTLS was not offered"),
                ServerOutput::Close => {
                    self.closed = true;
                    continue;
                }
            };
            self.server.handle(Now::default(), answer);
        }
    }
}

/// Text in which ends of lines, of content, and what nearly is one, are frequent.
fn hostile_text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        &b"\r\n"[..],
        b"\r\n.",
        b".",
        b"\r",
        b"\n",
        b"\0",
        b"a",
        b"QUIT",
        b"\xfc",
        b".\r\n",
        b"\r\n.\r\n",
        b" ",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

/// `bytes` in pieces of these lengths, over and over.
fn pieces<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    lengths.iter().cycle().map_while(move |length| {
        let (piece, behind) = rest.split_at((*length).min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..50, 1..8)
}

/// The definition, octet by octet: content up to the first CR LF . CR LF, the DATA line's CR LF counted in.
fn defined_content(stream: &[u8]) -> Option<Result<Vec<u8>, ()>> {
    let framed = [b"\r\n", stream].concat();
    let end = framed.windows(5).position(|window| window == b"\r\n.\r\n")?;
    let stuffed = framed.get(2..end + 2).unwrap_or_default();
    let at = |index: usize| stuffed.get(index).copied();
    let lone = (0..stuffed.len()).any(|index| match at(index) {
        Some(b'\r') => at(index + 1) != Some(b'\n'),
        Some(b'\n') => index == 0 || at(index - 1) != Some(b'\r'),
        other => other == Some(0),
    });
    if lone {
        return Some(Err(()));
    }
    let is_stuffing = |index: usize| at(index) == Some(b'.') && (index == 0 || at(index - 1) == Some(b'\n'));
    Some(Ok((0..stuffed.len()).filter(|index| !is_stuffing(*index)).map(|index| stuffed[index]).collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_ends_where_it_is_defined_to(stream in hostile_text(), lengths in lengths()) {
        let mut host = Host::new(0);
        host.feed(b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA\r\n");
        for piece in pieces(&stream, &lengths) {
            host.feed(piece);
        }
        match defined_content(&stream) {
            Some(Ok(content)) => prop_assert_eq!((host.ended, host.content), (1, content)),
            Some(Err(())) => prop_assert_eq!((host.ended, host.aborted), (0, Some(Abandoned::BadOctets))),
            None => prop_assert_eq!((host.ended, host.server.octets_held()), (0, 0)),
        }
    }

    #[test]
    fn content_comes_through_unchanged(text in hostile_text(), sent in lengths(), received in lengths()) {
        // What a server accepts: whole lines, ended by CR LF.
        let lines = String::from_utf8_lossy(&text).replace(['\r', '\n', '\0'], "\r\n") + "\r\n";
        let (host, results) = deliver(lines.as_bytes(), &sent, &received);
        prop_assert!(matches!(&results[..], [RecipientResult::Delivered(reply)] if reply.code == 250), "{:?}", results);
        prop_assert_eq!(String::from_utf8(host.content), Ok(lines));
    }

    #[test]
    fn whatever_content_we_are_given_goes_out_with_one_reading(text in hostile_text(), sent in lengths()) {
        let (host, _) = deliver(&text, &sent, &[4096]);
        prop_assert_eq!((host.ended, host.aborted), if text.contains(&0) { (0, Some(Abandoned::BadOctets)) } else { (1, None) });
        prop_assert!(!host.closed, "no part of it was run as a command");
    }

    #[test]
    fn a_server_stands_any_input(words in prop::collection::vec(word_for_server(), 0..60), lengths in lengths()) {
        let mut host = Host::new(100);
        for piece in pieces(&words.concat(), &lengths) {
            host.feed(piece);
        }
    }

    #[test]
    fn a_client_stands_any_input(words in prop::collection::vec(word_for_client(), 0..60), lengths in lengths()) {
        let mut client = client();
        let mut open = 0;
        let mut closed = false;
        let stream = words.concat();
        for piece in pieces(&stream, &lengths) {
            client.handle(Now::default(), ClientInput::Bytes(piece));
            while let Some(output) = client.poll() {
                prop_assert!(!closed, "{:?} after Close", output);
                match output {
                    ClientOutput::Ready(_) => {
                        open += 1;
                        client.handle(Now::default(), ClientInput::Deliver(Arc::new(delivery(1, false))));
                    }
                    ClientOutput::NeedContent => {
                        client.handle(Now::default(), ClientInput::Content { bytes: b"x", last: true });
                    }
                    ClientOutput::Done(results) => {
                        open -= 1;
                        prop_assert_eq!(results.len(), 1);
                    }
                    ClientOutput::Close => closed = true,
                    ClientOutput::Send(_) | ClientOutput::StartTls | ClientOutput::HostFailed(_) => {}
                }
            }
            prop_assert!(client.octets_held() <= 64 * 1024);
            prop_assert!(open == 0 || open == 1 && !closed, "each Deliver has one Done");
        }
    }
}

fn word_for_server() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "EHLO a.example\r\n",
        "MAIL FROM:<a@b.example>",
        " SIZE=50",
        " SIZE=500",
        "RCPT TO:<d@e.example>",
        "DATA\r\n",
        ".\r\n",
        "RSET\r\n",
        "QUIT\r\n",
        "\r",
        "\n",
        "<@a:b@c>",
        "\"",
        "\\",
        " ORCPT=rfc822;+4",
        "STARTTLS\r\n",
        "NOOP ",
    ];
    prop_oneof![
        8 => prop::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 0usize..3000).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn word_for_client() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "220 mx.example\r\n",
        "250 ok\r\n",
        "250-mx\r\n250 PIPELINING\r\n",
        "250-mx\r\n250 SIZE 5\r\n",
        "354 go\r\n",
        "550 5.1.1 no\r\n",
        "451 later\r\n",
        "421 bye\r\n",
        "250-",
        "250",
        " ",
        "-",
        "\r",
        "\n",
    ];
    prop_oneof![
        12 => prop::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 0usize..5000).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

fn client() -> Client {
    let helo = "mail.example".parse().unwrap();
    let settings = ClientSettings { helo, timeouts: ClientTimeouts::default(), pipelining: true };
    Client::new(Arc::new(settings), Tls::Off, Now::default())
}

fn delivery(size: usize, eight_bit: bool) -> Delivery {
    Delivery {
        sender: Sender::plain("a@b.example".parse().unwrap()),
        recipients: vec![Recipient::plain("d@e.example".parse().unwrap(), NextHop::Drop)],
        size: size as u64,
        eight_bit,
    }
}

/// A delivery of `content` from our client to our server, in pieces on both sides.
fn deliver(content: &[u8], sent: &[usize], received: &[usize]) -> (Host, Vec<RecipientResult>) {
    let (mut client, mut host) = (client(), Host::new(0));
    let mut parts = pieces(content, sent);
    loop {
        let replies = std::mem::take(&mut host.wire);
        assert!(!replies.is_empty(), "both wait for each other");
        client.handle(Now::default(), ClientInput::Bytes(&replies));
        let mut begun = 0;
        while let Some(output) = client.poll() {
            match output {
                ClientOutput::Send(bytes) => pieces(&bytes, received).for_each(|piece| host.feed(piece)),
                ClientOutput::Ready(_) if begun == 0 => {
                    begun += 1;
                    let delivery = Arc::new(delivery(content.len(), true));
                    client.handle(Now::default(), ClientInput::Deliver(delivery));
                }
                ClientOutput::NeedContent => {
                    let part = parts.next();
                    let (bytes, last) = (part.unwrap_or_default(), part.is_none());
                    client.handle(Now::default(), ClientInput::Content { bytes, last });
                }
                ClientOutput::Done(results) => return (host, results),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A host that writes its replies before it reads on would wait for us to read them, and we for it (RFC 2920 §3.1).
#[test]
fn a_pipelined_group_is_bounded() {
    let mut client = client();
    let recipient = |number: usize| format!("r{number}@e.example");
    let recipients =
        (0..1000).map(|number| Recipient::plain(recipient(number).parse().unwrap(), NextHop::Drop));
    let delivery = Arc::new(Delivery { recipients: recipients.collect(), ..delivery(1, false) });
    let mut replies = String::from("220 mx.example\r\n");
    let mut asked = Vec::new();
    let results = loop {
        client.handle(Now::default(), ClientInput::Bytes(std::mem::take(&mut replies).as_bytes()));
        match client.poll().unwrap() {
            ClientOutput::Ready(_) if asked.is_empty() => {
                client.handle(Now::default(), ClientInput::Deliver(Arc::clone(&delivery)));
            }
            ClientOutput::NeedContent => {
                client.handle(Now::default(), ClientInput::Content { bytes: b"x", last: true });
            }
            ClientOutput::Done(results) => break results,
            ClientOutput::Send(commands) => {
                let commands = String::from_utf8(commands).unwrap();
                assert!(commands.lines().count() <= 128, "{commands}");
                for command in commands.lines().filter(|line| *line != "x") {
                    asked.extend(command.strip_prefix("RCPT TO:").map(str::to_owned));
                    replies += match command.split(' ').next().unwrap() {
                        "EHLO" => "250-mx.example\r\n250 PIPELINING\r\n",
                        "RCPT" if command.contains("7@") => "550 no\r\n",
                        "DATA" => "354 go on\r\n",
                        _ => "250 ok\r\n",
                    };
                }
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(asked, (0..1000).map(|number| format!("<{}>", recipient(number))).collect::<Vec<_>>());
    for (number, result) in results.iter().enumerate() {
        assert_eq!(
            matches!(result, RecipientResult::Refused { .. }),
            number % 10 == 7,
            "{number}: {result:?}"
        );
    }
    assert_eq!(results.len(), 1000);
}

#[test]
fn nothing_is_parsed_while_a_question_is_open() {
    let mut host = Host::new(0);
    host.feed(b"HELO a\r\nMAIL FROM:<>\r\n");
    host.server.handle(Now::default(), ServerInput::Bytes(b"RCPT TO:<a@b.example>\r\nNOOP\r\n"));
    assert!(matches!(host.server.poll(), Some(ServerOutput::Recipient(_))));
    assert!(!host.server.wants_input() && host.server.deadline().is_none());
    host.server.handle(Now::default(), ServerInput::Bytes(b"QUIT\r\n"));
    assert_eq!(host.server.poll(), None);
    assert_eq!(host.server.octets_held(), "NOOP\r\nQUIT\r\n".len());
    // The answer sets all of it going, and the replies go out in one.
    host.wire.clear();
    let refusal = RecipientAnswer::Refuse(Reply::new(550, None, "no"));
    host.server.handle(Now::default(), ServerInput::Recipient(refusal));
    host.settle();
    assert_eq!(String::from_utf8_lossy(&host.wire), "550 no\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n");
    assert!(host.closed && !host.server.wants_input());
}

#[test]
fn a_shell_that_reads_on_regardless_is_bounded() {
    let mut host = Host::new(0);
    host.feed(b"HELO a\r\nMAIL FROM:<>\r\n");
    host.server.handle(Now::default(), ServerInput::Bytes(b"RCPT TO:<a@b.example>\r\n"));
    while host.server.octets_held() + 1000 <= PENDING_MAX {
        host.server.handle(Now::default(), ServerInput::Bytes(&[b'x'; 1000]));
    }
    assert!(matches!(host.server.poll(), Some(ServerOutput::Recipient(_))));
    assert_eq!(host.server.poll(), None);
    host.server.handle(Now::default(), ServerInput::Bytes(&[b'x'; 1000]));
    host.settle();
    assert!(host.closed && host.wire.ends_with(b"421 4.7.0 Too much input, closing the connection\r\n"));
    assert_eq!(host.server.octets_held(), 0);
}

#[test]
fn surplus_recipients_are_bounded() {
    let mut host = Host::new(0);
    host.feed(b"HELO a\r\nMAIL FROM:<>\r\n");
    host.feed(&b"RCPT TO:<a@b.example>\r\n".repeat(100 + 1000));
    assert!(!host.closed);
    host.feed(&b"RCPT TO:<a@b.example>\r\n".repeat(20));
    assert!(host.closed);
}

#[test]
fn settings_change_with_the_next_transaction() {
    let mut host = Host::new(0);
    let settings = ServerSettings {
        name: "mx.example".parse().unwrap(),
        size_max: 5,
        session_size_max: 0,
        recipients_max: 1,
        errors_max: 0,
        starttls: false,
        idle: Duration::from_secs(600),
    };
    host.feed(b"HELO a\r\nMAIL FROM:<>\r\n");
    host.server.handle(Now::default(), ServerInput::Settings(Arc::new(settings)));
    host.wire.clear();
    // A MAIL within a transaction begins none.
    host.feed(
        b"RCPT TO:<a@b.example>\r\nMAIL FROM:<>\r\nRCPT TO:<c@b.example>\r\nRSET\r\nMAIL FROM:<> SIZE=6\r\n",
    );
    assert_eq!(
        String::from_utf8_lossy(&host.wire),
        "250 2.1.5 Ok\r\n503 5.5.1 Sender already given\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n552 5.3.4 Message too large\r\n"
    );
}
