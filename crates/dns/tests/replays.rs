//! DNS replays in the form of Unbound's testbound (`*.rpl`), with a few words of our own. `tests/replays/README.md` explains the form.

// A test may panic: that is how it fails. The lint knows test functions only, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use postroad_dns::answer::{Answer, CauseKind, Provenance, Question, Verdict};
use postroad_dns::exchange::{Transport, rtype_from_str};
use postroad_dns::fact::Fact;
use postroad_dns::policy::Policy;
use postroad_dns::resolver::Input;
use postroad_dns::settings::Settings;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use world::{Behaviour, Message, Query, Rr, Sent, Tcp, World, rr};

#[test]
fn replays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/replays");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rpl"));
    files.sort();
    assert!(files.len() >= 25, "the replays are gone");
    let mut failures = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // Ids, sockets, letter case and the order of equals must not decide the outcome.
        for seed in 0..5 {
            let outcome = std::panic::catch_unwind(|| Replay::parse(&text).run(seed));
            if let Err(panic) = outcome {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                failures.push(format!("{name} (seed {seed}): {}", text.unwrap_or_default()));
                break;
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n\n"));
}

#[derive(Default)]
struct Replay {
    settings: Settings,
    policy: Policy,
    ranges: Vec<Range>,
    steps: Vec<Step>,
}

#[derive(Clone)]
struct Range {
    from: u32,
    to: u32,
    server: SocketAddr,
    tcp: Option<Tcp>,
    udp_closed: bool,
    entries: Vec<Entry>,
    /// Records that are served whole, by any transport, where no entry matches.
    zone: Vec<Rr>,
    /// Names that do not exist.
    missing: Vec<String>,
}

#[derive(Clone, Default)]
struct Entry {
    matching: Vec<String>,
    adjust: Vec<String>,
    reply: Vec<String>,
    question: Vec<String>,
    answer: Vec<String>,
    authority: Vec<String>,
    additional: Vec<String>,
    /// Lines of our own in CHECK_ANSWER.
    expect: Vec<String>,
    used: bool,
}

struct Step {
    number: u32,
    act: Vec<String>,
    entry: Entry,
}

impl Replay {
    fn parse(text: &str) -> Self {
        let mut replay = Self::default();
        let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default().trim());
        let mut lines = lines.filter(|line| !line.is_empty()).peekable();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "policy:" => replay.policy = words[1].parse().unwrap(),
                "server:" => replay.settings.servers.push(server(words[1])),
                "own:" => replay.settings.own.push(SocketAddr::new(words[1].parse().unwrap(), 25)),
                "own-name:" => replay.settings.own_name = Some(words[1].parse().unwrap()),
                "refused:" => replay.settings.refused.push(words[1].parse().unwrap()),
                "CONFIG_END" | "SCENARIO_BEGIN" | "SCENARIO_END" => {}
                "RANGE_BEGIN" => {
                    let mut range = Range {
                        from: words[1].parse().unwrap(),
                        to: words[2].parse().unwrap(),
                        server: server("0.0.0.0"),
                        tcp: None,
                        udp_closed: false,
                        entries: Vec::new(),
                        zone: Vec::new(),
                        missing: Vec::new(),
                    };
                    loop {
                        let line = lines.next().unwrap();
                        let words: Vec<&str> = line.split_whitespace().collect();
                        match words[0] {
                            "ADDRESS" => range.server = server(words[1]),
                            "TCP" => range.tcp = Some(tcp(words[1])),
                            "UDP" => range.udp_closed = words[1] == "closed",
                            "ZONE" if words[2] == "NXDOMAIN" => range.missing.push(words[1].to_owned()),
                            "ZONE" => range.zone.push(rr(&words[1..].join(" "))),
                            "ENTRY_BEGIN" => range.entries.push(entry(&mut lines)),
                            "RANGE_END" => break,
                            other => panic!("{other} in a range"),
                        }
                    }
                    replay.ranges.push(range);
                }
                "STEP" => {
                    let number = words[1].parse().unwrap();
                    let act = words[2..].iter().map(|word| (*word).to_owned()).collect();
                    let has_entry = lines.peek() == Some(&"ENTRY_BEGIN");
                    let entry = if has_entry {
                        lines.next().map(|_| entry(&mut lines)).unwrap()
                    } else {
                        Entry::default()
                    };
                    replay.steps.push(Step { number, act, entry });
                }
                other => panic!("{other} is no word of a replay"),
            }
        }
        replay
    }

    fn run(self, seed: u8) {
        let servers = Servers { ranges: self.ranges, step: 0 };
        let mut world = World::new(self.settings.clone(), seed, servers);
        let mut last: Option<(std::sync::Arc<Answer>, Duration)> = None;
        for step in self.steps {
            world.behaviour.step = step.number;
            let act: Vec<&str> = step.act.iter().map(String::as_str).collect();
            match act.as_slice() {
                ["QUERY", rest @ ..] => {
                    world.facts.clear();
                    world.released = 0;
                    world.packets = 0;
                    world.queries.clear();
                    let policy = rest.first().map_or(self.policy, |policy| policy.parse().unwrap());
                    last = Some(world.find(question(&step.entry.question[0]), policy));
                }
                ["TIME_PASSES", "ELAPSE", secs] => {
                    world.facts.clear();
                    world.released = 0;
                    world.pass(Duration::from_secs(secs.parse().unwrap()));
                }
                ["SERVERS", addresses @ ..] => {
                    world.facts.clear();
                    let servers = addresses.iter().map(|address| server(address)).collect();
                    world.handle(Input::Settings(Settings { servers, ..self.settings.clone() }));
                }
                ["FLUSH"] => world.handle(Input::Flush(None)),
                ["CHECK_ANSWER"] => {
                    let (answer, took) = last.as_ref().expect("a QUERY before");
                    check(&world, Some(answer), *took, &step.entry, step.number);
                }
                ["CHECK_FACTS"] => check(&world, None, Duration::ZERO, &step.entry, step.number),
                other => panic!("{other:?} is no step"),
            }
        }
    }
}

fn server(text: &str) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), 53)
}

fn tcp(word: &str) -> Tcp {
    match word {
        "open" => Tcp::Open,
        "refused" => Tcp::Refused,
        "dropped" => Tcp::Dropped,
        "mute" => Tcp::Mute,
        "reset" => Tcp::Reset,
        "half" => Tcp::Half,
        "stuck" => Tcp::Stuck,
        "closes" => Tcp::Closes,
        other => panic!("TCP {other}"),
    }
}

fn entry<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Entry {
    let mut entry = Entry::default();
    let mut section = String::new();
    loop {
        let line = lines.next().expect("ENTRY_END");
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let words = || rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        match word {
            "ENTRY_END" => return entry,
            "MATCH" => entry.matching = words(),
            "ADJUST" => entry.adjust = words(),
            "REPLY" => entry.reply = words(),
            "SECTION" => section = rest.trim().to_owned(),
            "VERDICT" | "CAUSE" | "PROVENANCE" | "IMPLICIT" | "IN_PART" | "CACHED" | "FACT" | "NOFACT"
            | "RELEASED" | "PACKETS" | "WITHIN" | "ASKED" | "NOTASKED" | "TELLS" => {
                entry.expect.push(line.to_owned())
            }
            _ => match section.as_str() {
                "QUESTION" => entry.question.push(line.to_owned()),
                "ANSWER" => entry.answer.push(line.to_owned()),
                "AUTHORITY" => entry.authority.push(line.to_owned()),
                "ADDITIONAL" => entry.additional.push(line.to_owned()),
                _ => panic!("{line} is no line of an entry"),
            },
        }
    }
}

/// `name IN type`: MX asks for the next hop, A for a host, anything else for the records.
fn question(line: &str) -> Question {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[2] {
        "MX" => Question::NextHop(words[0].parse().unwrap()),
        "A" => Question::Host(words[0].parse().unwrap()),
        other => Question::Records(words[0].to_owned(), rtype_from_str(other).unwrap()),
    }
}

/// The servers of a replay.
struct Servers {
    ranges: Vec<Range>,
    step: u32,
}

impl Servers {
    fn now(&mut self, server: SocketAddr) -> impl Iterator<Item = &mut Range> {
        let step = self.step;
        self.ranges
            .iter_mut()
            .filter(move |range| range.server == server && (range.from..=range.to).contains(&step))
    }
}

impl Behaviour for Servers {
    fn reply(&mut self, query: &Query) -> Vec<Sent> {
        for range in self.now(query.server) {
            if let Some(entry) = range.entries.iter_mut().find(|entry| entry.fits(query)) {
                entry.used = true;
                return entry.sent(query);
            }
            if let Some(message) = range.zone_reply(query) {
                return vec![Sent { bytes: message.encode(query), ..Sent::default() }];
            }
        }
        Vec::new()
    }

    fn tcp(&mut self, server: SocketAddr) -> Tcp {
        self.now(server).find_map(|range| range.tcp).unwrap_or(Tcp::Open)
    }

    fn udp_closed(&mut self, server: SocketAddr) -> bool {
        self.now(server).any(|range| range.udp_closed)
    }
}

impl Range {
    fn zone_reply(&self, query: &Query) -> Option<Message> {
        let soa = || vec![rr(&format!("{} 3600 IN SOA ns.zone. root.zone. 300", query.name))];
        if self.missing.contains(&query.name) {
            return Some(Message { rcode: 3, ra: true, authority: soa(), ..Message::default() });
        }
        let of_name: Vec<&Rr> = self.zone.iter().filter(|record| record.name == query.name).collect();
        let of_type = |record: &&&Rr| rtype_from_str(&record.rtype) == Some(query.qtype);
        let answer: Vec<Rr> = of_name.iter().filter(of_type).map(|record| (*record).clone()).collect();
        let authority = if answer.is_empty() { soa() } else { Vec::new() };
        (!of_name.is_empty()).then(|| Message { ra: true, answer, authority, ..Message::default() })
    }
}

impl Entry {
    fn fits(&self, query: &Query) -> bool {
        let asked: Vec<&str> = self.question.first().map_or("", String::as_str).split_whitespace().collect();
        self.matching.iter().all(|word| match word.as_str() {
            "opcode" => true,
            "qname" => asked[0].eq_ignore_ascii_case(&query.name),
            "qtype" => rtype_from_str(asked[2]) == Some(query.qtype),
            "UDP" => query.transport == Transport::Udp,
            "TCP" => query.transport == Transport::Tcp,
            "EDNS" => query.edns.is_some(),
            "NOEDNS" => query.edns.is_none(),
            "ONCE" => !self.used,
            "CASED" => query.question.iter().any(u8::is_ascii_uppercase),
            size => {
                Some(size.strip_prefix("EDNS=").unwrap_or_else(|| panic!("MATCH {size}")).parse().unwrap())
                    == query.edns
            }
        })
    }

    fn sent(&self, query: &Query) -> Vec<Sent> {
        let has = |list: &[String], wanted: &str| list.iter().any(|word| word == wanted);
        let flag = |wanted| has(&self.reply, wanted);
        let rcodes = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
        let records = |lines: &[String]| lines.iter().map(|line| rr(line)).collect::<Vec<_>>();
        let message = Message {
            rcode: rcodes.iter().position(|rcode| flag(rcode)).unwrap_or(0) as u8,
            tc: flag("TC"),
            aa: flag("AA"),
            ra: flag("RA"),
            answer: records(&self.answer),
            authority: records(&self.authority),
            additional: records(&self.additional),
            fold_case: has(&self.adjust, "fold_case"),
            no_question: flag("NOQUESTION"),
            lies: u16::from(flag("LIES")) * 10,
            ..Message::default()
        };
        let mut sent = Vec::new();
        let forged = Message { rcode: 3, ra: true, ..Message::default() };
        let mut forge = |message: Message, other_slot| {
            sent.push(Sent { bytes: message.encode(query), late: Duration::ZERO, other_slot });
        };
        for word in &self.adjust {
            match word.as_str() {
                "forge_id" => forge(Message { wrong_id: true, ..forged.clone() }, false),
                "forge_name" => forge(Message { other_name: true, ..forged.clone() }, false),
                "forge_socket" => forge(forged.clone(), true),
                _ => {}
            }
        }
        let late = self
            .adjust
            .iter()
            .find_map(|word| word.strip_prefix("late="))
            .map_or(0, |ms| ms.parse().unwrap());
        if !flag("SILENCE") {
            sent.push(Sent {
                bytes: message.encode(query),
                late: Duration::from_millis(late),
                other_slot: false,
            });
        }
        sent
    }
}

fn check(world: &World<Servers>, answer: Option<&Answer>, took: Duration, entry: &Entry, step: u32) {
    let context = || match answer {
        Some(answer) => {
            let trail: Vec<String> =
                answer.trail.iter().map(postroad_dns::exchange::Exchange::tell).collect();
            format!(
                "step {step}: {:?} in {took:?}\n  {}\n  {:?}",
                answer.verdict,
                trail.join("\n  "),
                world.facts
            )
        }
        None => format!("step {step}: {:?}", world.facts),
    };
    let facts: Vec<String> = world.facts.iter().map(fact).collect();
    let queries: Vec<String> = world.queries.iter().map(asked).collect();
    for line in &entry.expect {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let seen = || answer.expect("an answer");
        let good = match word {
            "VERDICT" => verdict(seen()) == rest,
            "CAUSE" => {
                matches!(&seen().verdict, Verdict::Unresolved(cause) if cause_name(cause.kind) == rest)
            }
            "TELLS" => matches!(&seen().verdict, Verdict::Unresolved(cause) if cause.text.contains(rest)),
            "PROVENANCE" => provenance(seen().provenance) == rest,
            "IMPLICIT" => seen().implicit == (rest == "yes"),
            "IN_PART" => seen().in_part == (rest == "yes"),
            "CACHED" => seen().from_cache == (rest == "yes"),
            "FACT" => facts.iter().any(|fact| fact.starts_with(rest)),
            "NOFACT" => !facts.iter().any(|fact| fact.starts_with(rest)),
            "RELEASED" => (world.released > 0) == (rest == "yes"),
            "PACKETS" => world.packets <= rest.parse().unwrap(),
            "WITHIN" => took <= Duration::from_millis(rest.parse().unwrap()),
            "ASKED" => queries.iter().any(|query| query.starts_with(rest)),
            "NOTASKED" => !queries.iter().any(|query| query.starts_with(rest)),
            other => panic!("{other}"),
        };
        assert!(good, "{line}\n {}\n  asked: {queries:?}, {} packets", context(), world.packets);
    }
    let mut found = answer.map(hosts).unwrap_or_default();
    if !entry.answer.is_empty() {
        let mut expected: Vec<String> =
            entry.answer.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        // Equal preferences come in any order.
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}", context());
    }
    if let Some(Verdict::Hosts(hosts)) = answer.map(|answer| &answer.verdict) {
        assert!(
            hosts.windows(2).all(|pair| pair[0].preference <= pair[1].preference),
            "order: {}",
            context()
        );
        assert!(hosts.iter().all(|host| !host.addresses.is_empty()), "{}", context());
    }
}

/// Hosts as `preference name address ...`, records as they are.
fn hosts(answer: &Answer) -> Vec<String> {
    let Verdict::Hosts(hosts) = &answer.verdict else {
        return answer.records.clone();
    };
    let line = |host: &postroad_dns::answer::MailHost| {
        let mut addresses: Vec<IpAddr> = host.addresses.clone();
        addresses.sort();
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("{} {} {}", host.preference, host.name, addresses.join(" "))
    };
    hosts.iter().map(line).collect()
}

fn asked(query: &Query) -> String {
    let size = query.edns.map_or("NOEDNS".to_owned(), |size| format!("EDNS={size}"));
    let rtype = postroad_dns::exchange::rtype_name(query.qtype);
    format!("{} {} {rtype} {} {size}", query.server.ip(), query.transport, query.name)
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::TransportDown { server, transport, mail_waits, .. } => {
            format!(
                "transport-down {transport} {} {}",
                server.ip(),
                if *mail_waits { "mail-waits" } else { "mail-flows" }
            )
        }
        Fact::TransportUp { server, transport } => format!("transport-up {transport} {}", server.ip()),
        Fact::NoServer { policy, .. } => format!("no-server {policy}"),
        Fact::SomeServer => "some-server".to_owned(),
        Fact::Partial { domain, server, records } => format!("partial {domain} {} {records}", server.ip()),
        Fact::TruncatedUnusable { domain, server } => format!("truncated-unusable {domain} {}", server.ip()),
        Fact::StaleUsed { domain, expired } => format!("stale {domain} {}s", expired.as_secs()),
    }
}

fn verdict(answer: &Answer) -> &'static str {
    match answer.verdict {
        Verdict::Hosts(_) => "hosts",
        Verdict::NoSuchDomain => "no-such-domain",
        Verdict::NoMailService => "no-mail-service",
        Verdict::NoHost => "no-host",
        Verdict::LoopsBack => "loops-back",
        Verdict::Records => "records",
        Verdict::NoRecords => "no-records",
        Verdict::Unresolved(_) => "unresolved",
    }
}

fn cause_name(kind: CauseKind) -> &'static str {
    match kind {
        CauseKind::NoServer => "no-server",
        CauseKind::Unreachable => "unreachable",
        CauseKind::Truncated => "truncated",
        CauseKind::ServerFailure => "server-failure",
        CauseKind::AliasLoop => "alias-loop",
        CauseKind::Unconfirmed => "unconfirmed",
        CauseKind::Doubtful => "doubtful",
        CauseKind::NextHopRefused => "next-hop-refused",
        CauseKind::BetterHostsUnreachable => "better-hosts-unreachable",
        CauseKind::TooManyHosts => "too-many-hosts",
        CauseKind::Busy => "busy",
    }
}

fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Complete => "complete",
        Provenance::Partial => "partial",
        Provenance::Stale => "stale",
    }
}
