//! `dns`: what DNS says, and what becomes of mail by it.

use crate::args::{Dns, How};
use crate::ending::{DONE, NO, TRY_LATER, Trouble};
use crate::glue;
use crate::screen::{Line, Screen};
use ipnet::IpNet;
use postroad_dns::answer::{Answer, Provenance, Question, Verdict};
use postroad_metabase::settings::Settings;
use std::net::IpAddr;
use std::path::Path;

/// Runs the verb.
pub fn run(verb: Dns, data: &Path, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let (question, How { policy, servers }) = match verb {
        Dns::Mx { domain, how } => (Question::NextHop(domain), how),
        Dns::Resolve { name, .. } if !is_name(&name) => {
            let what = format!(
                "{name} is no name: labels of 1 to 63 ASCII characters are, with dots between. Write other letters as xn--."
            );
            return Err(Trouble::usage(what));
        }
        Dns::Resolve { name, rtype, how } => (Question::Records(name, rtype), how),
    };
    // What is not said is as the running service has it; without one, as a fresh service would.
    let is_open = policy.is_none() || servers.is_empty();
    let told = if is_open { glue::dns_of_service(data, &question) } else { None };
    let (their_policy, their_servers) = told.unwrap_or_default();
    let servers = if servers.is_empty() { their_servers } else { servers };
    let answer = glue::lookup(question, policy.unwrap_or(their_policy), servers)?;
    if screen.json {
        screen.object(&*answer)?;
    } else {
        screen.lines(&lines(&answer))?;
    }
    Ok(match answer.verdict {
        Verdict::Hosts(_) | Verdict::Records => DONE,
        Verdict::NoSuchDomain
        | Verdict::NoMailService
        | Verdict::NoHost
        | Verdict::LoopsBack
        | Verdict::NoRecords => NO,
        Verdict::Unresolved(_) => TRY_LATER,
    })
}

/// Whether DNS can be asked for it. Anything else would be answered with "no such name", which nobody has said.
fn is_name(text: &str) -> bool {
    let bare = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
    };
    text == "." || (bare.len() <= 253 && bare.split('.').all(is_label))
}

fn lines(answer: &Answer) -> Vec<Line> {
    let mut lines = vec![verdict(answer)];
    lines.extend(provenance(answer).map(Line::bad));
    if let Verdict::Hosts(hosts) = &answer.verdict {
        // Which networks the service refuses is its configuration's to say; these are what it refuses unless told otherwise.
        let refused = Settings::fresh(Path::new(""), "").next_hop_refused;
        for host in hosts {
            let addresses: Vec<String> = host.addresses.iter().map(|ip| address(*ip, &refused)).collect();
            lines.push(Line::plain(format!(
                "  {:>5} {}  {}",
                host.preference,
                host.name,
                addresses.join(", ")
            )));
        }
    }
    lines.extend(answer.records.iter().map(|record| Line::plain(format!("  {record}"))));
    lines.push(Line::strong(match (answer.trail.is_empty(), answer.from_cache) {
        (true, _) => "Nothing was asked.",
        (false, true) => "What was asked, earlier:",
        (false, false) => "What was asked:",
    }));
    let width = answer.trail.len().to_string().len();
    for (index, exchange) in answer.trail.iter().enumerate() {
        lines.push(Line::plain(format!("  {:>width$}. {}", index + 1, exchange.tell())));
    }
    lines
}

fn verdict(answer: &Answer) -> Line {
    let subject = match &answer.question {
        Question::NextHop(domain) | Question::Host(domain) => domain.to_string(),
        Question::Records(name, rtype) => format!("{name} {}", postroad_dns::exchange::rtype_name(*rtype)),
    };
    let good = |text: String| Line::strong(format!("{subject}: {text}"));
    let bad = |text: String| Line::bad(format!("{subject}: {text}"));
    match &answer.verdict {
        Verdict::Hosts(hosts) => {
            let implicit = if answer.implicit { ", the domain itself: it has no MX record" } else { "" };
            good(format!(
                "{}{implicit}. Mail goes there in this order.",
                crate::queue::counted(hosts.len() as u64, "host")
            ))
        }
        Verdict::NoSuchDomain if matches!(answer.question, Question::Records(..)) => {
            bad("no such name.".into())
        }
        Verdict::NoSuchDomain => bad("no such domain. Mail is returned, 5.1.2.".into()),
        Verdict::NoMailService => {
            bad("takes no mail, as its null MX says (RFC 7505). Mail is returned, 5.1.10.".into())
        }
        Verdict::NoHost => bad("no host: no MX record leads to an address. Mail is returned, 5.4.4.".into()),
        Verdict::LoopsBack => bad("leads back to ourselves. Mail is returned, 5.4.6.".into()),
        Verdict::Records => good(crate::queue::counted(answer.records.len() as u64, "record")),
        Verdict::NoRecords => bad("there are no such records.".into()),
        Verdict::Unresolved(cause) => {
            let fate = match (&answer.question, cause.dns_fault) {
                (Question::Records(..), _) => "",
                (_, true) => {
                    " Mail waits, and is tried again soon; the wait does not count towards its expiry."
                }
                (_, false) => " Mail waits, and is tried again.",
            };
            let stop = if cause.text.ends_with('.') { "" } else { "." };
            bad(format!("unresolved: {}{stop}{fate}", cause.text))
        }
    }
}

fn provenance(answer: &Answer) -> Option<&'static str> {
    match answer.provenance {
        Provenance::Complete => None,
        Provenance::Partial => {
            Some("  Part of it only: answers were truncated, and what arrived of them is used.")
        }
        Provenance::Stale => Some("  Expired data: no server answered, and what was known before is used."),
    }
}

fn address(ip: IpAddr, refused: &[IpNet]) -> String {
    if refused.iter().any(|network| network.contains(&ip)) {
        format!("{ip} (refused by default: NextHopRefused)")
    } else {
        ip.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::texts;
    use postroad_dns::answer::{Cause, CauseKind, MailHost};
    use postroad_dns::exchange::{Exchange, ExchangeOutcome, Transport};
    use postroad_dns::policy::Policy;
    use postroad_mail::time::Mono;

    fn answer(verdict: Verdict) -> Answer {
        Answer {
            serial: 1,
            question: Question::NextHop("big.example".parse().unwrap()),
            policy: Policy::UdpThenTcp,
            verdict,
            provenance: Provenance::Complete,
            in_part: false,
            implicit: false,
            expires: Mono(0),
            from_cache: false,
            trail: Vec::new(),
            records: Vec::new(),
        }
    }

    fn host(preference: u16, name: &str, addresses: &[&str]) -> MailHost {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        MailHost { name: name.parse().unwrap(), preference, addresses }
    }

    fn check(answer: &Answer, expected: &[&str]) {
        assert_eq!(texts(&lines(answer)), expected);
    }

    #[test]
    fn hosts() {
        let hosts = vec![
            host(10, "mx1.big.example", &["192.0.2.1", "2001:db8::1"]),
            host(20, "mx2.big.example", &["127.0.0.1"]),
        ];
        let mut answer = answer(Verdict::Hosts(hosts));
        answer.provenance = Provenance::Partial;
        answer.trail.push(Exchange {
            server: "192.0.2.53:53".parse().unwrap(),
            transport: Transport::Udp,
            name: "big.example".into(),
            rtype: 15,
            edns: Some(1232),
            sent: 40,
            received: 54,
            truncated: true,
            answers: 0,
            rcode: Some(0),
            outcome: ExchangeOutcome::Truncated,
            micros: 400,
        });
        check(
            &answer,
            &[
                "big.example: 2 hosts. Mail goes there in this order.",
                "  Part of it only: answers were truncated, and what arrived of them is used.",
                "     10 mx1.big.example  192.0.2.1, 2001:db8::1",
                "     20 mx2.big.example  127.0.0.1 (refused by default: NextHopRefused)",
                "What was asked:",
                &format!("  1. {}", answer.trail[0].tell()),
            ],
        );
    }

    #[test]
    fn verdicts() {
        let check = |verdict: Verdict, first: &str| check(&answer(verdict), &[first, "Nothing was asked."]);
        check(Verdict::NoSuchDomain, "big.example: no such domain. Mail is returned, 5.1.2.");
        check(
            Verdict::NoMailService,
            "big.example: takes no mail, as its null MX says (RFC 7505). Mail is returned, 5.1.10.",
        );
        let cause = Cause {
            text: "192.0.2.53 over TCP: refused".into(),
            dns_fault: true,
            kind: CauseKind::Truncated,
        };
        check(
            Verdict::Unresolved(cause),
            "big.example: unresolved: 192.0.2.53 over TCP: refused. Mail waits, and is tried again soon; the wait does not count \
             towards its expiry.",
        );
    }

    #[test]
    fn names() {
        for name in [".", "a", "a.example.", "_25._tcp.a.example", "*.a.example", &["x"; 127].join(".")] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a..b", "b\u{fc}cher.example", "a b", "\x1b", &"x".repeat(64), &["x"; 128].join(".")]
        {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn records() {
        let mut answer = answer(Verdict::Records);
        answer.question = Question::Records("big.example".into(), 16);
        answer.records = vec!["big.example. 300 IN TXT \"v=spf1 -all\"".into()];
        let record = "  big.example. 300 IN TXT \"v=spf1 -all\"";
        check(&answer, &["big.example TXT: 1 record", record, "Nothing was asked."]);
        answer.records.clear();
        answer.verdict = Verdict::NoSuchDomain;
        check(&answer, &["big.example TXT: no such name.", "Nothing was asked."]);
    }
}
