//! Inbound sessions: who may send where, what a draft holds, and where its content is kept.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_engine::inbound::{
    DRAFT_MEMORY_MAX, DRAFTS_MEMORY_MAX, DraftMemory, Inbound, InboundInput, InboundOutput,
};
use postroad_engine::queue::Draft;
use postroad_mail::envelope::BodyKind;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Content, DraftId};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A session, what it said last, and what it did.
struct Session {
    inbound: Inbound,
    now: Now,
    said: String,
    deeds: Vec<String>,
    draft: Option<Draft>,
    /// Pieces that were spilled, the octets of them.
    spilled: Vec<usize>,
    /// Fail the spill of this piece, for want of room or not.
    spill_fails: Option<(usize, bool)>,
}

fn settings() -> Settings {
    let mut settings = Settings::fresh(Path::new("/data"), "mail.example");
    settings.bindings = vec!["192.0.2.25:25".parse().unwrap()];
    settings
}

impl Session {
    fn new(client: &str, settings: Settings, memory: &DraftMemory) -> Self {
        let now = Now { mono: Mono(0), wall: Wall(1_795_590_028_000) };
        let client = format!("{client}:40000").parse().unwrap();
        let inbound = Inbound::new(Arc::new(settings), client, true, memory.clone(), DraftId(7), now);
        let mut session = Self {
            inbound,
            now,
            said: String::new(),
            deeds: Vec::new(),
            draft: None,
            spilled: Vec::new(),
            spill_fails: None,
        };
        session.drain();
        session
    }

    fn relaying() -> Self {
        Self::new("127.0.0.1", settings(), &DraftMemory::default())
    }

    fn tell(&mut self, input: InboundInput<'_>) {
        self.said.clear();
        self.inbound.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.inbound.poll() {
            let deed = match output {
                InboundOutput::Send(bytes) => {
                    self.said.push_str(std::str::from_utf8(&bytes).unwrap());
                    continue;
                }
                InboundOutput::StartTls => String::from("starttls"),
                InboundOutput::DataOpened => String::from("opened"),
                InboundOutput::DataDropped => String::from("dropped"),
                InboundOutput::Spill(DraftId(file), bytes) => {
                    self.spilled.push(bytes.len());
                    if let Some((_, full)) = self.spill_fails.filter(|(at, _)| *at + 1 == self.spilled.len())
                    {
                        self.inbound.handle(self.now, InboundInput::SpillFailed { full });
                    }
                    format!("spill {file}")
                }
                InboundOutput::DropDraft(DraftId(file)) => format!("remove {file}"),
                InboundOutput::Submit(draft) => {
                    self.draft = Some(draft);
                    String::from("submit")
                }
                InboundOutput::Close => String::from("close"),
            };
            if self.deeds.last() != Some(&deed) {
                self.deeds.push(deed);
            }
        }
    }

    fn write(&mut self, text: &str) -> &str {
        self.tell(InboundInput::Bytes(text.as_bytes()));
        &self.said
    }

    fn begin(&mut self, to: &str) {
        self.write("EHLO client.example\r\n");
        self.write(&format!("MAIL FROM:<s@x.example>\r\nRCPT TO:<{to}>\r\nDATA\r\n"));
        assert!(self.said.contains("354"), "{}", self.said);
    }

    /// Writes octets of content in pieces of lines.
    fn pour(&mut self, octets: usize) {
        let piece = format!("{}\r\n", "x".repeat(998)).repeat(32);
        for _ in 0..octets / piece.len() {
            self.write(&piece);
        }
        let rest = octets % piece.len();
        if rest >= 2 {
            self.write(&format!("{}\r\n", "y".repeat(rest - 2)));
        }
    }
}

/// What RCPT gets from a client at `client`.
fn check_recipient(settings: Settings, client: &str, to: &str, expected: &str) {
    let mut session = Session::new(client, settings, &DraftMemory::default());
    session.write("EHLO client.example\r\nMAIL FROM:<s@x.example>\r\n");
    let said = session.write(&format!("RCPT TO:<{to}>\r\n"));
    assert!(said.starts_with(expected), "{to} from {client}: {said}");
}

#[test]
fn recipients_are_admitted_by_the_settings() {
    let check = |client, to, expected| check_recipient(settings(), client, to, expected);
    check("127.0.0.1", "u@elsewhere.example", "250 2.1.5 ");
    check("[::ffff:127.0.0.1]", "u@elsewhere.example", "250 2.1.5 ");
    check("203.0.113.9", "u@elsewhere.example", "550 5.7.1 Unable to relay for u@elsewhere.example");
    check("203.0.113.9", "u@mail.example", "250 ");
    check("203.0.113.9", "u@MAIL.example", "250 ");
    check("203.0.113.9", "u@[192.0.2.25]", "250 ");
    check("203.0.113.9", "postmaster", "250 ");
    check("203.0.113.9", "u@[192.0.2.26]", "550 5.7.1 ");
    check("127.0.0.1", "u@[192.0.2.26]", "250 ");
    check("127.0.0.1", "u@[127.0.0.1]", "550 5.7.1 No mail goes to [127.0.0.1]");
    check("127.0.0.1", "u@[IPv6:::ffff:169.254.1.1]", "550 5.7.1 ");
    // A smart host takes literals too: it is dialled, not they.
    let smart = Settings { smart_host: Some(("relay.example".parse().unwrap(), 25)), ..settings() };
    check_recipient(smart, "127.0.0.1", "u@[127.0.0.1]", "250 ");
}

/// The hops of a draft to these recipients.
fn check_hops(settings: Settings, to: &[&str], expected: &[&str]) {
    let mut session = Session::new("127.0.0.1", settings, &DraftMemory::default());
    session.write("EHLO client.example\r\nMAIL FROM:<s@x.example>\r\n");
    to.iter().for_each(|to| drop(session.write(&format!("RCPT TO:<{to}>\r\n")).to_owned()));
    session.write("DATA\r\n");
    session.write("\r\n.\r\n");
    let draft = session.draft.unwrap();
    let hops: Vec<String> = draft.recipients.iter().map(|one| one.hop.to_string()).collect();
    assert_eq!(hops, expected);
}

#[test]
fn recipients_have_next_hops() {
    let to = ["u@a.example", "u@mail.example", "postmaster", "u@[192.0.2.26]", "u@[192.0.2.25]"];
    check_hops(settings(), &to, &["mx:a.example", "drop:", "drop:", "ip:192.0.2.26", "drop:"]);
    let smart = Settings { smart_host: Some(("relay.example".parse().unwrap(), 587)), ..settings() };
    let relay = "smart:relay.example:587";
    check_hops(smart, &to, &[relay, "drop:", "drop:", relay, "drop:"]);
}

/// The trace field of a message after these commands.
fn check_trace(hello: &str, tls: bool, expected: &str) {
    let mut session = Session::relaying();
    if tls {
        session.write("EHLO client.example\r\nSTARTTLS\r\n");
        let (protocol, cipher) = (String::from("TLSv1.3"), String::from("TLS13_AES_256_GCM_SHA384"));
        session.tell(InboundInput::TlsUp { protocol, cipher });
    }
    session.write(hello);
    session.write("MAIL FROM:<s@x.example>\r\nRCPT TO:<u@a.example>\r\nDATA\r\n");
    session.write("Subject: x\r\n\r\n..x\r\n.\r\n");
    let draft = session.draft.unwrap();
    assert_eq!(draft.trace_head, expected);
    assert_eq!((draft.client.as_str(), draft.size), ("127.0.0.1 (client.example)", 18));
    assert_eq!(draft.content, Content::Memory(Arc::new(b"Subject: x\r\n\r\n.x\r\n".to_vec())));
}

#[test]
fn the_trace_field_tells_how_it_came() {
    let plain = "Received: from client.example ([127.0.0.1])\r\n\tby mail.example (Postroad) with ";
    check_trace("EHLO client.example\r\n", false, &format!("{plain}ESMTP"));
    check_trace("HELO client.example\r\n", false, &format!("{plain}SMTP"));
    check_trace(
        "EHLO client.example\r\n",
        true,
        "Received: from client.example ([127.0.0.1])\r\n\t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\
         \r\n\tby mail.example (Postroad) with ESMTPS",
    );
}

#[test]
fn a_message_waits_until_it_is_ours() {
    let check = |answer: InboundInput<'_>, expected: &str| {
        let mut session = Session::relaying();
        session.begin("u@a.example");
        assert_eq!(session.write("x\r\n.\r\n"), "", "nothing is said before it is on disk");
        assert!(!session.inbound.wants_input());
        session.tell(answer);
        assert_eq!(session.said, expected);
        assert_eq!(session.deeds, ["opened", "submit"]);
        session.tell(InboundInput::Accepted(MessageId(1)));
        assert_eq!(session.said, "", "a second answer is none");
        session.begin("u@a.example");
    };
    check(InboundInput::Accepted(MessageId(0)), "250 2.0.0 Ok queued as 0000000000000\r\n");
    check(InboundInput::Refused { full: true }, "452 4.3.1 Insufficient system storage\r\n");
    check(
        InboundInput::Refused { full: false },
        "451 4.3.0 The message could not be stored, try again later\r\n",
    );
}

#[test]
fn a_message_that_loops_is_refused() {
    let check = |fields: usize, expected: &str| {
        let mut session = Session::relaying();
        session.begin("u@a.example");
        session.write(&"Received: from a by b\r\n".repeat(fields));
        session.write("\r\nReceived: no field\r\n.\r\n");
        assert_eq!(
            (session.said.as_str(), session.deeds.join(" ").as_str()),
            (expected, { if expected.is_empty() { "opened submit" } else { "opened dropped" } })
        );
    };
    check(100, "");
    check(101, "554 5.4.6 101 Received fields: the message loops\r\n");
    // Also where it is in a file.
    let mut session = Session::relaying();
    session.begin("u@a.example");
    session.write(&"Received: from a by b\r\n".repeat(101));
    session.write("\r\n");
    session.pour(DRAFT_MEMORY_MAX);
    session.write(".\r\n");
    assert!(session.said.starts_with("554 5.4.6 "), "{}", session.said);
    assert_eq!(session.deeds, ["opened", "spill 7", "remove 7", "dropped"]);
}

#[test]
fn content_says_what_it_is() {
    let check = |declared: &str, content: &[u8], expected: BodyKind| {
        let mut session = Session::relaying();
        session.write("EHLO client.example\r\n");
        session.write(&format!("MAIL FROM:<s@x.example>{declared}\r\nRCPT TO:<u@a.example>\r\nDATA\r\n"));
        session.tell(InboundInput::Bytes(content));
        assert_eq!(session.draft.unwrap().sender.body, expected);
    };
    check("", b"x\r\n.\r\n", BodyKind::SevenBit);
    check(" BODY=8BITMIME", b"x\r\n.\r\n", BodyKind::SevenBit);
    check(" BODY=8BITMIME", b"\xe9\r\n.\r\n", BodyKind::EightBit);
    check("", b"\xe9\r\n.\r\n", BodyKind::EightBit);
    check("", b".\r\n", BodyKind::SevenBit);
}

#[test]
fn large_content_goes_to_a_file() {
    let check = |octets: usize, spills: bool| {
        let mut session = Session::relaying();
        session.begin("u@a.example");
        session.pour(octets);
        session.write(".\r\n");
        let draft = session.draft.take().unwrap();
        assert_eq!(draft.size, octets as u64);
        if spills {
            assert_eq!(draft.content, Content::Draft(DraftId(7)));
            assert_eq!(session.spilled.iter().sum::<usize>(), octets);
        } else {
            assert!(matches!(draft.content, Content::Memory(bytes) if bytes.len() == octets));
        }
        // The next draft has a file of its own, and this one is the store's.
        session.tell(InboundInput::Accepted(MessageId(1)));
        assert!(!session.deeds.contains(&String::from("remove 7")));
        session.deeds.clear();
        session.begin("u@a.example");
        session.pour(DRAFT_MEMORY_MAX * 2);
        session.write(".\r\n");
        session.tell(InboundInput::Refused { full: true });
        let file = if spills { 8 } else { 7 };
        assert_eq!(session.deeds, ["opened", &format!("spill {file}"), "submit", &format!("remove {file}")]);
    };
    check(DRAFT_MEMORY_MAX, false);
    check(DRAFT_MEMORY_MAX + 2, true);
}

#[test]
fn a_file_that_cannot_be_written_refuses_its_message_alone() {
    let check = |at: usize, full: bool, expected: &str| {
        let mut session = Session::relaying();
        session.spill_fails = Some((at, full));
        session.begin("u@a.example");
        session.pour(DRAFT_MEMORY_MAX * 2);
        // The last piece and the dot in one.
        session.write("last\r\n.\r\n");
        assert_eq!(session.said, expected);
        assert!(session.draft.is_none(), "a torn draft was handed in");
        let mut deeds = session.deeds.clone();
        deeds.sort();
        assert_eq!(deeds, ["dropped", "opened", "remove 7", "spill 7"]);
        session.spill_fails = None;
        session.begin("u@a.example");
        session.write("x\r\n.\r\n");
        assert!(session.draft.is_some());
    };
    let failed = "451 4.3.0 The message could not be stored, try again later\r\n";
    check(0, true, "452 4.3.1 Insufficient system storage\r\n");
    check(3, false, failed);
    let mut session = Session::relaying();
    session.begin("u@a.example");
    session.pour(DRAFT_MEMORY_MAX * 2);
    let pieces = session.spilled.len();
    check(pieces, true, "452 4.3.1 Insufficient system storage\r\n");
}

/// Fills the memory of all drafts with sessions that each hold the most that one may.
fn fill(memory: &DraftMemory) -> Vec<Session> {
    let hold = |_| {
        let mut session = Session::new("127.0.0.1", settings(), memory);
        session.begin("u@a.example");
        session.pour(DRAFT_MEMORY_MAX);
        assert!(session.spilled.is_empty());
        session
    };
    (0..DRAFTS_MEMORY_MAX / DRAFT_MEMORY_MAX).map(hold).collect()
}

/// Whether there is room in memory for a small draft.
fn has_room(memory: &DraftMemory) -> bool {
    let mut session = Session::new("127.0.0.1", settings(), memory);
    session.begin("u@a.example");
    session.write("x\r\n");
    session.spilled.is_empty()
}

#[test]
fn memory_of_all_drafts_is_bounded_and_given_back() {
    let memory = DraftMemory::default();
    let mut sessions = fill(&memory);
    // One session ends, another takes all that it held, and there is no more to take.
    let mut check = |end: &dyn Fn(Session) -> Option<Session>| {
        assert!(!has_room(&memory));
        let kept = end(sessions.pop().unwrap());
        let mut other = Session::new("127.0.0.1", settings(), &memory);
        other.begin("u@a.example");
        other.pour(DRAFT_MEMORY_MAX);
        assert!(other.spilled.is_empty(), "not all was given back");
        assert!(!has_room(&memory), "more was given back than was taken");
        drop(kept);
        assert!(!has_room(&memory), "it was given back twice");
        sessions.push(other);
    };
    let ended = |input: fn() -> InboundInput<'static>| {
        move |mut session: Session| {
            session.tell(input());
            Some(session)
        }
    };
    check(&|session| {
        drop(session);
        None
    });
    check(&ended(|| InboundInput::Eof));
    check(&ended(|| InboundInput::Bytes(b"a lone \n\r\n")));
    check(&|mut session| {
        session.now = session.now.later(Duration::from_secs(60 * 60));
        session.tell(InboundInput::Tick);
        assert_eq!(session.deeds.last().unwrap(), "close");
        Some(session)
    });
    check(&|mut session| {
        session.write("more than fits\r\n");
        assert_eq!(session.deeds.last().unwrap(), "spill 7");
        Some(session)
    });
    for answer in [InboundInput::Accepted(MessageId(1)), InboundInput::Refused { full: true }] {
        let answer = std::cell::RefCell::new(Some(answer));
        check(&|mut session| {
            session.write(".\r\n");
            assert!(session.draft.is_some());
            session.tell(answer.borrow_mut().take().unwrap());
            Some(session)
        });
    }
    // A draft that was handed in, and whose session is gone.
    check(&|mut session| {
        session.write(".\r\n");
        None
    });
    // One that loops.
    drop(sessions.pop());
    let mut session = Session::new("127.0.0.1", settings(), &memory);
    session.begin("u@a.example");
    session.write(&"Received: x\r\n".repeat(101));
    session.pour(DRAFT_MEMORY_MAX - 1313);
    assert!(!has_room(&memory));
    assert!(session.write(".\r\n").starts_with("554"));
    assert!(has_room(&memory));
}

#[test]
fn settings_hold_from_the_next_message_on() {
    let mut session = Session::relaying();
    session.begin("u@a.example");
    session.tell(InboundInput::Settings(Arc::new(Settings { size_max: 5, relay: Vec::new(), ..settings() })));
    session.write("longer than five\r\n.\r\n");
    session.tell(InboundInput::Accepted(MessageId(1)));
    assert!(session.said.starts_with("250 "), "{}", session.said);
    assert!(session.write("MAIL FROM:<s@x.example> SIZE=6\r\n").starts_with("552 "));
    session.write("MAIL FROM:<s@x.example>\r\n");
    assert!(session.write("RCPT TO:<u@a.example>\r\n").starts_with("550 5.7.1 "));
}

#[test]
fn a_transaction_is_under_one_generation() {
    let mut session = Session::relaying();
    session.write("EHLO c.example\r\nMAIL FROM:<s@x.example>\r\n");
    session.tell(InboundInput::Settings(Arc::new(Settings { relay: Vec::new(), ..settings() })));
    assert!(session.write("RCPT TO:<u@a.example>\r\n").starts_with("250 "), "as at its MAIL");
    session.write("RSET\r\nMAIL FROM:<s@x.example>\r\n");
    assert!(session.write("RCPT TO:<u@a.example>\r\n").starts_with("550 5.7.1 "));
    // Changed before its MAIL and again behind it: it is under the first change.
    let mut session = Session::relaying();
    session.write("EHLO c.example\r\n");
    session.tell(InboundInput::Settings(Arc::new(Settings { relay: Vec::new(), ..settings() })));
    session.write("MAIL FROM:<s@x.example>\r\n");
    session.tell(InboundInput::Settings(Arc::new(settings())));
    assert!(session.write("RCPT TO:<u@a.example>\r\n").starts_with("550 5.7.1 "));
    session.write("RSET\r\nMAIL FROM:<s@x.example>\r\n");
    assert!(session.write("RCPT TO:<u@a.example>\r\n").starts_with("250 "));
}

#[test]
fn a_session_that_ends_says_so() {
    let check = |input: InboundInput<'_>, expected: &[&str]| {
        let mut session = Session::relaying();
        session.begin("u@a.example");
        session.pour(DRAFT_MEMORY_MAX + 2);
        session.deeds.clear();
        session.tell(input);
        assert_eq!(session.deeds, expected);
    };
    check(InboundInput::Eof, &["remove 7", "dropped", "close"]);
    // Content that is coming is finished first.
    check(InboundInput::Shutdown, &[]);
    let mut session = Session::relaying();
    session.tell(InboundInput::Shutdown);
    assert!(session.said.starts_with("421 "), "{}", session.said);
    assert_eq!(session.deeds, ["close"]);
}
