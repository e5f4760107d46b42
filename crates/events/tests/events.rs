//! Facts in, events out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_events::catalogue::{ALL_CLEAR, CATALOGUE, Kind, Severity, entry};
use postroad_events::event::Event;
use postroad_events::fact::{Fact, Transport};
use postroad_events::log::{EventLog, Filter, LogError};
use postroad_events::repeats::{Input, KNOWN_MAX, REPORT_EVERY, Repeats};
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use std::time::{Duration, Instant};

const START: Now = Now { mono: Mono(0), wall: Wall(1_795_590_028_123) };

fn after(secs: u64) -> Now {
    START.later(Duration::from_secs(secs))
}

fn down(server: &str, mail_waits: bool) -> Fact {
    Fact::DnsServerDown {
        server: server.parse().unwrap(),
        transport: Transport::Tcp,
        cause: "connection refused".into(),
        mail_waits,
    }
}

fn up(server: &str) -> Fact {
    Fact::DnsServerUp { server: server.parse().unwrap(), transport: Transport::Tcp }
}

fn failed(domain: &str) -> Fact {
    Fact::DomainFailed { domain: domain.parse().unwrap(), cause: "no route".into() }
}

/// One of each.
fn all_facts() -> Vec<Fact> {
    let server = "192.0.2.1:53".parse().unwrap();
    let text = || "text".to_owned();
    vec![
        Fact::BindFailed { address: server, cause: text() },
        down("192.0.2.1:53", false),
        Fact::NoDnsServer { cause: text() },
        failed("example.org"),
        Fact::HostFailed { host: text(), cause: text() },
        Fact::Bound { address: server },
        up("192.0.2.1:53"),
        Fact::DnsServerReached { server },
        Fact::DomainReached { domain: "example.org".parse().unwrap() },
        Fact::HostReached { host: text() },
        Fact::PartialAnswerUsed { question: text(), server, records: 2 },
        Fact::TruncatedUseless { question: text(), server },
        Fact::StaleAnswerUsed { question: text(), expired: Duration::from_secs(90) },
        Fact::Started { version: text(), bindings: vec![server] },
        Fact::Stopped { cause: text() },
        Fact::ConfigurationRead { file: text(), changes: text() },
        Fact::ConfigurationRefused { file: text(), cause: text() },
        Fact::MetabaseTroubled { cause: text() },
        Fact::StoreFailed { cause: text() },
        Fact::SpoolDamaged { file: text() },
        Fact::BadmailWritten { message: MessageId(1), file: text(), cause: text() },
        Fact::CertificateMade { name: "example.org".parse().unwrap(), file: text() },
        Fact::DnsServersChanged { before: vec![], after: vec![server] },
        Fact::ConfigurationAccepted { file: text() },
        Fact::StoreRecovered,
    ]
}

#[test]
fn every_fact_has_its_entry_and_fills_it() {
    let facts = all_facts();
    let numbers: Vec<u32> = facts.iter().map(Fact::number).collect();
    assert_eq!(numbers, CATALOGUE.iter().map(|entry| entry.number).collect::<Vec<_>>());
    for fact in facts {
        let (event, entry) = (Event::new(&fact, START.wall), entry(fact.number()).unwrap());
        assert_eq!(event.fields.len(), entry.fields.len(), "{}", event.number);
        assert!(!event.text.contains(['{', '}', '?']), "{}", event.text);
        assert!(entry.key <= entry.fields.len() && !entry.remedy.is_empty());
        let partner = match entry.kind {
            Kind::State => Some(entry.number + ALL_CLEAR),
            Kind::AllClear => Some(entry.number - ALL_CLEAR),
            Kind::Notice | Kind::Repeating => None,
        };
        if let Some(partner) = partner {
            let partner =
                postroad_events::catalogue::entry(partner).expect("a state and its all-clear come in pairs");
            assert_eq!(partner.fields[..partner.key], entry.fields[..entry.key]);
        }
    }
}

#[test]
fn sentences() {
    let check = |fact: Fact, expected: &str| assert_eq!(Event::new(&fact, START.wall).human(), expected);
    check(
        down("192.0.2.1:53", false),
        "2026-11-25 07:00:28Z Warning      2012 DNS           DNS server 192.0.2.1 cannot be reached over TCP: connection \
         refused. No mail waits for it so far.\n    Let the server answer over that transport, and let firewalls pass \
         port 53 over both UDP and TCP; or name other servers in DnsServers. If TCP cannot be had, SmtpUseTcpDns = 2 asks \
         over UDP only. `postroad dns mx DOMAIN --policy NAME` shows what works.",
    );
    check(
        Fact::StoreRecovered,
        "2026-11-25 07:00:28Z Information 30020 Store         The mail store works again.",
    );
    let stopped = Fact::Stopped { cause: "ended.\x1b[2J\u{202e}".into() };
    check(
        stopped,
        "2026-11-25 07:00:28Z Information 20011 Service       Postroad stopped: ended.\\u{1b}[2J\\u{202e}.",
    );
    let long = Event::new(&Fact::Stopped { cause: "x".repeat(5000) }, START.wall);
    assert!(long.text.len() < 1100, "foreign words are bounded");
    let json = Event::new(&down("[2001:db8::1]:5353", true), START.wall).json(Some(7));
    assert_eq!(json["severity"], "Error");
    assert_eq!(json["fields"]["server"], "[2001:db8::1]:5353");
    assert_eq!((json["at"].as_str(), json["sequence"].as_u64()), (Some("2026-11-25T07:00:28.123Z"), Some(7)));
}

/// What a machine reports, as `number` or `number xcount`.
fn reported(machine: &mut Repeats, now: Now, fact: Fact) -> Vec<String> {
    machine.handle(now, Input::Stated(fact));
    drained(machine)
}

fn drained(machine: &mut Repeats) -> Vec<String> {
    let shown = |event: Event| match event.since {
        Some(_) if event.severity > Severity::Information => format!("{} x{}", event.number, event.count),
        _ => event.number.to_string(),
    };
    std::iter::from_fn(|| machine.poll()).map(shown).collect()
}

#[test]
fn a_state_is_counted_until_its_all_clear() {
    let mut machine = Repeats::new();
    assert_eq!(reported(&mut machine, START, up("192.0.2.1:53")), [""; 0], "nothing was wrong");
    assert_eq!(reported(&mut machine, START, down("192.0.2.1:53", false)), ["2012"]);
    assert_eq!(machine.deadline(), None, "a state without repeats waits for its all-clear");
    assert_eq!(reported(&mut machine, after(1), down("192.0.2.1:53", false)), [""; 0]);
    assert_eq!(
        reported(&mut machine, after(1), down("192.0.2.2:53", false)),
        ["2012"],
        "another server is another state"
    );
    assert_eq!(reported(&mut machine, after(2), down("192.0.2.1:53", false)), [""; 0]);
    assert_eq!(machine.deadline(), Some(START.mono + REPORT_EVERY));
    machine.handle(after(3600), Input::Time);
    assert_eq!(drained(&mut machine), ["2012 x2"]);
    assert_eq!(machine.deadline(), None);
    machine.handle(after(3700), Input::Stated(up("192.0.2.1:53")));
    let clear = machine.poll().unwrap();
    assert!(
        clear.human().ends_with("answers over TCP again. It had been so for 1h 1m."),
        "{}",
        clear.human()
    );
    assert_eq!(reported(&mut machine, after(3701), up("192.0.2.1:53")), [""; 0], "an all-clear comes once");
    assert_eq!(reported(&mut machine, after(3702), down("192.0.2.1:53", false)), ["2012"]);
}

#[test]
fn what_gets_worse_is_reported_at_once() {
    let mut machine = Repeats::new();
    assert_eq!(reported(&mut machine, START, down("192.0.2.1:53", false)), ["2012"]);
    assert_eq!(reported(&mut machine, after(5), down("192.0.2.1:53", true)), ["2012 x1"]);
    assert_eq!(reported(&mut machine, after(6), down("192.0.2.1:53", false)), [""; 0]);
    assert_eq!(reported(&mut machine, after(7), down("192.0.2.1:53", true)), [""; 0], "it was said already");
}

#[test]
fn a_series_ends_by_itself() {
    let stale = || Fact::StaleAnswerUsed { question: "a.example MX".into(), expired: Duration::from_secs(1) };
    let mut machine = Repeats::new();
    assert_eq!(reported(&mut machine, START, stale()), ["20003"]);
    assert_eq!(reported(&mut machine, after(1), stale()), [""; 0]);
    machine.handle(after(3600), Input::Time);
    assert_eq!(drained(&mut machine), ["20003 x1"]);
    machine.handle(after(7200), Input::Time);
    assert_eq!((drained(&mut machine).len(), machine.deadline()), (0, None), "a quiet hour ends it");
    assert_eq!(reported(&mut machine, after(7201), stale()), ["20003"]);
    assert_eq!(reported(&mut machine, after(7202), Fact::Stopped { cause: "x".into() }), ["20011"]);
    assert_eq!(reported(&mut machine, after(7203), Fact::Stopped { cause: "x".into() }), ["20011"]);
}

#[test]
fn what_is_known_is_bounded() {
    let mut machine = Repeats::new();
    for n in 0..=KNOWN_MAX {
        assert_eq!(reported(&mut machine, START, failed(&format!("d{n}.example"))), ["4000"]);
    }
    assert_eq!(reported(&mut machine, START, failed("d1.example")), [""; 0]);
    assert_eq!(reported(&mut machine, START, failed("d0.example")), ["4000"], "the oldest was forgotten");
}

#[test]
fn the_log_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    assert!(matches!(EventLog::open_to_read(&path), Err(LogError::Missing)));
    let events: Vec<Event> = all_facts().iter().map(|fact| Event::new(fact, START.wall)).collect();
    let mut log = EventLog::open_bounded(&path, 10).unwrap();
    log.append(&events[..3]).unwrap();
    let reader = EventLog::open_to_read(&path).unwrap();
    let check = |after: Option<u64>, limit: usize, number: Option<u32>, expected: &[u64]| {
        let listed = reader.list(&Filter { after, limit, number }).unwrap();
        assert_eq!(listed.iter().map(|(place, _)| *place).collect::<Vec<_>>(), expected);
    };
    check(None, 100, None, &[1, 2, 3]);
    assert_eq!(
        reader.list(&Filter { limit: 1, number: Some(2012), after: None }).unwrap(),
        [(2, events[1].clone())]
    );
    log.append(&events[3..13]).unwrap();
    check(None, 100, None, &(4..=13).collect::<Vec<_>>());
    check(None, 2, None, &[12, 13]);
    check(Some(0), 2, None, &[4, 5]);
    check(Some(11), 9, None, &[12, 13]);
    check(Some(11), 9, Some(events[12].number), &[13]);
    check(Some(u64::MAX), 9, None, &[]);
    assert_eq!(reader.newest().unwrap(), Some(13));
    drop((log, reader));
    let mut log = EventLog::open_bounded(&path, 10).unwrap();
    log.append(&events[..1]).unwrap();
    assert_eq!(log.newest().unwrap(), Some(14), "places are not used twice");
}

/// Mail waits behind the log, on the store's thread: a log that another process holds is written later.
#[test]
fn a_log_that_another_holds_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    let events = [Event::new(&Fact::StoreRecovered, START.wall)];
    let mut log = EventLog::open(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let began = Instant::now();
    assert!(matches!(log.append(&events), Err(LogError::Failed(_))));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    log.append(&events).unwrap();
    assert_eq!(log.newest().unwrap(), Some(1));
}

#[test]
fn what_is_no_log_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.db");
    std::fs::write(&path, "this is a text and not a database".repeat(100)).unwrap();
    assert!(matches!(EventLog::open(&path), Err(LogError::Failed(_))));
    assert!(matches!(EventLog::open_to_read(&path), Err(LogError::Failed(_))));
}

#[test]
fn the_documentation_is_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");
    if std::env::var_os("POSTROAD_WRITE_DOCS").is_some() {
        std::fs::write(path, postroad_events::markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == postroad_events::markdown(),
        "docs/events.md: run this test with POSTROAD_WRITE_DOCS=1"
    );
}
