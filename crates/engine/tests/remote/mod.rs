//! One attempt against a host that is written down.
//!
//! A script has lines of two kinds. `- ...` is what happens to the attempt; the lines behind it are all that it does then.
//!
//! | happens | |
//! |---|---|
//! | `hosts mx1 10 192.0.2.1, mx2 20 192.0.2.2` | DNS says so, by data that is `partial` or `stale` if that is before it; `nodns`, `baddata`, `nxdomain`, `nullmx`, `nohost`, `loops` are other answers |
//! | `connected`, `refused`, `closed`, `tls`, `tls failed` | to the connection |
//! | `talks 8BITMIME PIPELINING` | connected, greeted, EHLO answered with these |
//! | `S: 250 Ok` | the host writes; several replies are divided by a bar |
//! | `takes` | the host says yes to all that it was asked, and to what follows from that |
//! | `job 2 8bit`, `rest`, `close`, `content 100`, `no content`, `written f`, `not written` | the queue and the shell |
//! | `wait 30s` | time passes |
//!
//! Of commands the verbs are shown, of a message that there was one; `wire` has it all.

use postroad_dns::answer::{Answer, Cause, CauseKind, MailHost, Provenance, Question, Verdict};
use postroad_dns::policy::Policy;
use postroad_engine::delivery::{End, Job, Outcome};
use postroad_engine::outbound::{Outbound, OutboundInput, OutboundOutput};
use postroad_mail::address::ReversePath;
use postroad_mail::envelope::{BodyKind, Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Content, Message};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const TRACE: &str = "Received: from x by mail.example\r\n";

pub struct Line {
    outbound: Outbound,
    now: Now,
    question: Option<Question>,
    /// Commands that were not answered.
    owed: usize,
    in_message: bool,
    deeds: Vec<String>,
    pub wire: String,
    /// It ended over the job in hand.
    pub lost_over_job: bool,
    /// Characters of the longest text that was told.
    pub longest: usize,
}

/// Plays a script against an attempt at `hop` whose first job is `job`, and says what went otherwise than written.
pub fn play(settings: Settings, hop: &str, job: &str, script: &str) -> (Line, Vec<String>, Vec<String>) {
    let now = Now { mono: Mono(1), wall: Wall(1_795_590_028_000) };
    let hop: NextHop = hop.parse().unwrap();
    let outbound = Outbound::new(Arc::new(settings), hop, job_of(job), now);
    let mut line = Line {
        outbound,
        now,
        question: None,
        owed: 0,
        in_message: false,
        deeds: Vec::new(),
        wire: String::new(),
        lost_over_job: false,
        longest: 0,
    };
    line.drain();
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut told = Vec::new();
    for input in lines.iter().filter_map(|line| line.strip_prefix("- ")) {
        told.append(&mut line.deeds);
        told.push(format!("- {input}"));
        line.happen(input);
    }
    told.append(&mut line.deeds);
    (line, told, lines.into_iter().map(String::from).collect())
}

pub fn settings() -> Settings {
    let mut settings = Settings::fresh(Path::new("/data"), "mail.example");
    settings.next_hop_refused.clear();
    settings
}

fn job_of(text: &str) -> Arc<Job> {
    let mut words = text.split(' ');
    let number: u64 = words.next().unwrap().parse().unwrap();
    let mut content = Content::Memory(Arc::new(b"Subject: x\r\n\r\n.hello\r\n".to_vec()));
    let mut size = 22;
    let mut recipients = 1;
    let mut body = BodyKind::SevenBit;
    for word in words {
        match word {
            "8bit" => body = BodyKind::EightBit,
            "empty" => (content, size) = (Content::Memory(Arc::default()), 0),
            "stored" => content = Content::Stored,
            _ if word.starts_with('x') => recipients = word[1..].parse().unwrap(),
            octets => size = octets.parse().unwrap(),
        }
    }
    let address = |n: u32| format!("u{n}@example.org").parse().unwrap();
    let recipient = |n| Recipient::plain(address(n), NextHop::Mx("example.org".parse().unwrap()));
    let path = ReversePath::Address("s@x.example".parse().unwrap());
    Arc::new(Job {
        message: Arc::new(Message {
            id: MessageId(number),
            sender: Sender { body, ..Sender::plain(path) },
            recipients: (0..recipients).map(recipient).collect(),
            trace: TRACE.to_owned(),
            size,
        }),
        content,
        recipients: (0..recipients).collect(),
        attempts: 0,
        cause: String::new(),
    })
}

impl Line {
    fn tell(&mut self, input: OutboundInput<'_>) {
        self.outbound.handle(self.now, input);
        self.drain();
    }

    fn happen(&mut self, text: &str) {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "S:" => self.say(&rest.split('|').collect::<Vec<_>>()),
            "takes" => self.take(),
            "talks" => {
                self.tell(OutboundInput::Connected);
                self.say(&["220 host.example ready"]);
                self.deeds.retain(|deed| !deed.starts_with("C: EHLO"));
                let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
                let mut lines = vec![String::from("250-host.example")];
                lines.extend(words.iter().map(|word| format!("250-{word}")));
                lines.push(String::from("250 HELP"));
                self.say(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            }
            "connected" => self.tell(OutboundInput::Connected),
            "refused" => self.tell(OutboundInput::ConnectFailed(String::from("connection refused"))),
            "closed" => self.tell(OutboundInput::Closed(None)),
            "tls" if rest == "failed" => self.tell(OutboundInput::TlsFailed(String::from("old"))),
            "tls" => {
                let (protocol, cipher) = (String::from("TLSv1.3"), String::from("AES"));
                self.tell(OutboundInput::TlsUp { protocol, cipher });
            }
            "job" => self.tell(OutboundInput::Job(job_of(rest))),
            "rest" => self.tell(OutboundInput::Rest),
            "close" => self.tell(OutboundInput::Close),
            "content" => self.tell(OutboundInput::Content(Ok(vec![b'y'; rest.parse().unwrap()]))),
            "no" => self.tell(OutboundInput::Content(Err(String::from("damaged")))),
            "written" => self.tell(OutboundInput::Written(Ok(rest.to_owned()))),
            "not" => self.tell(OutboundInput::Written(Err(String::from("the disk is full")))),
            "wait" => self.wait(rest.trim_end_matches('s').parse().unwrap()),
            _ => {
                let question = self.question.clone().unwrap();
                self.tell(OutboundInput::Resolved(Arc::new(answer(question, text))));
            }
        }
    }

    /// Until the time has come, with a tick at each deadline on the way.
    fn wait(&mut self, secs: u64) {
        let end = self.now.later(Duration::from_secs(secs));
        while let Some(at) = self.outbound.deadline().filter(|at| *at <= end.mono) {
            assert!(at >= self.now.mono, "a deadline has passed");
            self.now = self.now.later(at - self.now.mono);
            self.tell(OutboundInput::Tick);
            assert!(self.outbound.deadline() != Some(at), "a deadline stands still");
        }
        self.now = self.now.later(end.mono - self.now.mono);
    }

    fn say(&mut self, lines: &[&str]) {
        let replies = lines.iter().filter(|line| line.as_bytes().get(3) != Some(&b'-')).count();
        self.owed = self.owed.saturating_sub(replies);
        let bytes = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        self.tell(OutboundInput::Bytes(bytes.as_bytes()));
    }

    fn take(&mut self) {
        while self.owed > 0 {
            let data = self.deeds.iter().rev().find(|deed| deed.starts_with("C: "));
            let last_is_data = data.is_none_or(|deed| deed.ends_with("DATA"));
            let mut lines = vec!["250 2.0.0 Ok"; self.owed];
            if self.wire.ends_with("DATA\r\n") && last_is_data {
                *lines.last_mut().unwrap() = "354 go on";
            }
            self.say(&lines);
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.outbound.poll() {
            let deed = match output {
                OutboundOutput::Resolve(question, _) => {
                    let deed = format!("resolve {question}");
                    self.question = Some(question);
                    deed
                }
                OutboundOutput::Connect(address) => {
                    (self.owed, self.in_message) = (0, false);
                    format!("connect {address}")
                }
                OutboundOutput::Send(bytes) => self.sent(&bytes),
                OutboundOutput::StartTls(name) => format!("starttls {name}"),
                OutboundOutput::Disconnect => String::from("disconnect"),
                OutboundOutput::ReadContent { offset, len, .. } => format!("read {len} from {offset}"),
                OutboundOutput::WriteFile(job) => format!("write {}", job.message.id.0),
                OutboundOutput::Reached(_) => String::from("reached"),
                OutboundOutput::Want => String::from("want"),
                OutboundOutput::Report(report) => {
                    let told = report.outcomes.iter().map(|outcome| match outcome {
                        Outcome::Delivered { reply: text } | Outcome::Deferred { cause: text, .. } => text,
                        Outcome::Failed(failure) => &failure.cause,
                    });
                    let told = told.chain(&report.tried.steps).map(String::len).max();
                    self.longest = self.longest.max(told.unwrap_or(0));
                    let outcomes = report.outcomes.iter().map(|outcome| match outcome {
                        Outcome::Delivered { reply } => format!("taken {reply}"),
                        Outcome::Deferred { status, .. } => format!("deferred {status}"),
                        Outcome::Failed(failure) => format!("failed {}", failure.status),
                    });
                    let host = report.tried.host.split(' ').next().unwrap_or_default().to_owned();
                    format!("report {} at {host}: {}", report.id.0, outcomes.collect::<Vec<_>>().join(", "))
                }
                OutboundOutput::Ended(End::Finished) => String::from("ended"),
                OutboundOutput::Ended(End::HopFailed { kind, cause, tried, lost_over_job }) => {
                    self.lost_over_job = lost_over_job;
                    let told = tried.steps.iter().chain([&cause]).map(String::len).max();
                    self.longest = self.longest.max(told.unwrap_or(0));
                    format!("ended {kind:?}: {cause}")
                }
            };
            self.deeds.push(deed);
        }
    }

    fn sent(&mut self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        self.wire.push_str(&text);
        if self.in_message && text != "RSET\r\n" {
            let whole = text.ends_with("\r\n.\r\n") || text == ".\r\n";
            self.in_message = !whole;
            self.owed += usize::from(whole);
            self.deeds.pop_if(|deed| deed == "C: message");
            return String::from(if whole { "C: message." } else { "C: message" });
        }
        let verbs: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
        self.owed += verbs.len();
        self.in_message = verbs.last() == Some(&"DATA");
        format!("C: {}", verbs.join(" "))
    }
}

fn answer(question: Question, text: &str) -> Answer {
    let (provenance, in_part, text) = match text.split_once(' ') {
        Some(("partial", text)) => (Provenance::Partial, false, text),
        Some(("stale", text)) => (Provenance::Stale, false, text),
        Some(("some", text)) => (Provenance::Complete, true, text),
        _ => (Provenance::Complete, false, text),
    };
    let unresolved = |dns_fault, kind| {
        Verdict::Unresolved(Cause { text: String::from("as it was told"), dns_fault, kind })
    };
    let verdict = match text {
        "nodns" => unresolved(true, CauseKind::Unreachable),
        "baddata" => unresolved(false, CauseKind::NextHopRefused),
        "nxdomain" => Verdict::NoSuchDomain,
        "nullmx" => Verdict::NoMailService,
        "nohost" => Verdict::NoHost,
        "loops" => Verdict::LoopsBack,
        _ => Verdict::Hosts(text.strip_prefix("hosts ").unwrap().split(", ").map(host).collect()),
    };
    Answer {
        serial: 7,
        question,
        policy: Policy::default(),
        verdict,
        provenance,
        in_part,
        implicit: false,
        expires: Mono(60_000_000),
        from_cache: false,
        trail: Vec::new(),
        records: Vec::new(),
    }
}

fn host(text: &str) -> MailHost {
    let mut words = text.split(' ');
    let name = format!("{}.example", words.next().unwrap()).parse().unwrap();
    let preference = words.next().unwrap().parse().unwrap();
    MailHost { name, preference, addresses: words.map(|word| word.parse().unwrap()).collect() }
}
