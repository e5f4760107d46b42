//! The hosts of an attempt: which is next, what was seen of those before, and what it means when none is left.

use crate::delivery::{Failure, Outcome, cut};
use postroad_dns::answer::{Answer, Provenance, Verdict};
use postroad_mail::reply::Status;
use postroad_smtp::client::Tls;
use postroad_spool::record::GateKind;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses tried in one attempt at most (RFC 5321 §5.1 asks for two or more; an MX set may name thousands).
const TARGETS_MAX: usize = 32;
/// Steps kept in memory.
const STEPS_MAX: usize = 64;

/// An address of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    name: Option<String>,
    pub(super) address: SocketAddr,
    preference: u16,
}

impl Target {
    /// What a certificate would name.
    pub(super) fn server_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.ip().to_string())
    }
}

/// `mx1.example.org [192.0.2.1]:25`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name} ")?;
        }
        write!(f, "[{}]:{}", self.address.ip(), self.address.port())
    }
}

/// How an answer is taken.
pub(super) enum Reading {
    Hosts,
    Permanent(Failure),
    Unresolved { kind: GateKind, cause: String },
}

pub(super) fn read(answer: &Answer) -> Reading {
    let permanent = |status: Status, cause: &str| {
        Reading::Permanent(Failure { status, cause: cause.to_owned(), remote: None, reply: None })
    };
    match &answer.verdict {
        Verdict::Hosts(_) => Reading::Hosts,
        Verdict::NoSuchDomain => permanent(Status::new(5, 1, 2), "the domain does not exist"),
        Verdict::NoMailService => permanent(Status::new(5, 1, 10), "the domain accepts no mail (null MX)"),
        Verdict::NoHost => {
            permanent(Status::new(5, 4, 4), "the domain has no mail host: no MX, no A, no AAAA record")
        }
        Verdict::LoopsBack => permanent(
            Status::new(5, 4, 6),
            "the best mail host of the domain is this server, which does not take the domain for its own",
        ),
        Verdict::Records | Verdict::NoRecords => Reading::Unresolved {
            kind: GateKind::Dns,
            cause: String::from("the resolver answered another question"),
        },
        Verdict::Unresolved(cause) => Reading::Unresolved {
            kind: if cause.dns_fault { GateKind::Dns } else { GateKind::Host },
            cause: cause.text.clone(),
        },
    }
}

/// What it means that no host is left.
pub(super) enum Conclusion {
    /// It is about the message in hand alone; the hop may be as good as ever for others.
    Message(Outcome),
    /// The hop cannot be used.
    Hop(String),
}

pub(super) struct Walk {
    pub(super) port: u16,
    demand: Tls,
    clear: bool,
    targets: VecDeque<Target>,
    /// There may be hosts beside these: the answer was partial or stale, or says so, or has more than are tried.
    in_part: bool,
    steps: Vec<String>,
    /// The target that steps are about.
    current: String,
    failures: usize,
    /// Hosts that could be talked to and have no 8BITMIME.
    seven_bit: usize,
    /// A host that was ready for mail was lost while it took the content: a path that swallows large packets, or a filter that
    /// hangs up. That must not hold up other mail.
    pub(super) broke_over_content: bool,
    /// One was lost before: the host may be going down, or hang up because of the message.
    pub(super) lost_over_job: bool,
    /// What a host that was lost had decided of the message in hand; it holds if no other takes it.
    pub(super) decided: Option<Vec<Outcome>>,
    /// A host turned out to be ourselves.
    ourselves: Option<String>,
}

impl Walk {
    pub(super) fn new(demand: Tls) -> Self {
        Self {
            port: 25,
            demand,
            clear: false,
            targets: VecDeque::new(),
            in_part: false,
            steps: Vec::new(),
            current: String::new(),
            failures: 0,
            seven_bit: 0,
            broke_over_content: false,
            lost_over_job: false,
            decided: None,
            ourselves: None,
        }
    }

    pub(super) fn literal(&mut self, ip: IpAddr) {
        let address = SocketAddr::new(ip, self.port);
        self.targets.push_back(Target { name: None, address, preference: 0 });
    }

    pub(super) fn hosts_of(&mut self, answer: &Answer) {
        let Verdict::Hosts(hosts) = &answer.verdict else { return };
        let mut targets = hosts.iter().flat_map(|host| {
            host.addresses.iter().map(|ip| Target {
                name: Some(host.name.to_string()),
                address: SocketAddr::new(*ip, self.port),
                preference: host.preference,
            })
        });
        self.targets = targets.by_ref().take(TARGETS_MAX).collect();
        let all_known = answer.provenance == Provenance::Complete && !answer.in_part;
        self.in_part = !all_known || targets.next().is_some();
    }

    pub(super) fn next(&mut self) -> Option<Target> {
        let target = self.targets.pop_front()?;
        self.current = target.to_string();
        Some(target)
    }

    /// What is demanded of TLS at the target in hand. A demand is never lowered: only an opportunistic handshake that
    /// failed is followed by one connection in clear.
    pub(super) fn tls(&mut self) -> Tls {
        match self.demand {
            Tls::Opportunistic if std::mem::take(&mut self.clear) => Tls::Off,
            demand => demand,
        }
    }

    pub(super) fn again_in_clear(&mut self, target: Option<Target>) {
        if self.demand == Tls::Opportunistic {
            self.clear = true;
            if let Some(target) = target {
                self.targets.push_front(target);
            }
        }
    }

    pub(super) fn again(&mut self, target: Option<Target>) {
        if let Some(target) = target {
            self.targets.push_front(target);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        if self.steps.len() < STEPS_MAX {
            self.steps.push(format!("{}: {}", self.current, cut(text)));
        }
    }

    pub(super) fn failed(&mut self, text: &str) {
        self.failures += 1;
        self.clear = false;
        self.note(text);
    }

    pub(super) fn has_no_8bitmime(&mut self) {
        self.seven_bit += 1;
        self.note("the content has 8-bit octets and the host has no 8BITMIME");
    }

    /// The host is ourselves: it and all of equal or worse preference are no way (RFC 5321 §5.1).
    pub(super) fn is_ourselves(&mut self, target: Option<&Target>, text: &str) {
        self.note(text);
        self.ourselves = Some(cut(text));
        if let Some(target) = target {
            self.targets.retain(|other| other.preference < target.preference);
        }
    }

    pub(super) fn conclusion(&self) -> Conclusion {
        let all_seen = self.failures == 0 && !self.in_part;
        if all_seen && self.seven_bit > 0 {
            return Conclusion::Message(Outcome::Failed(no_8bitmime()));
        }
        if all_seen && let Some(text) = &self.ourselves {
            return Conclusion::Message(Outcome::Failed(Failure {
                status: Status::new(5, 4, 6),
                cause: format!("mail loops back to this server: {text}"),
                remote: None,
                reply: None,
            }));
        }
        let cause = self.steps.last().cloned().unwrap_or_else(|| String::from("there is no host to try"));
        if self.broke_over_content {
            Conclusion::Message(Outcome::Deferred { status: Status::new(4, 4, 2), cause })
        } else if self.seven_bit > 0 {
            // A host that was not reached may take 8-bit octets; one that was takes other mail.
            Conclusion::Message(Outcome::Deferred { status: Status::new(4, 4, 1), cause })
        } else {
            Conclusion::Hop(cause)
        }
    }

    /// The target in hand, in words.
    pub(super) fn current(&self) -> &str {
        &self.current
    }

    pub(super) fn steps(&self) -> &[String] {
        &self.steps
    }

    /// The message in hand is done: what was seen of hosts on account of it says nothing about the next one.
    pub(super) fn forget_message(&mut self) {
        self.steps.clear();
        self.seven_bit = 0;
        self.broke_over_content = false;
        self.lost_over_job = false;
        self.decided = None;
    }
}

pub(super) fn no_8bitmime() -> Failure {
    Failure {
        status: crate::delivery::NO_8BITMIME,
        cause: String::from("the content has 8-bit octets, and no host of the domain takes these (8BITMIME)"),
        remote: None,
        reply: None,
    }
}
