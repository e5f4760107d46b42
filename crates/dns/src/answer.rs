//! Questions, and the verdicts that answer them.

use crate::exchange::Exchange;
use crate::policy::Policy;
use postroad_mail::domain::Domain;
use postroad_mail::time::Mono;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// Where a domain's mail goes: its MX set with the hosts' addresses, or its own addresses where it has no MX (RFC 5321 §5.1).
    NextHop(Domain),
    /// The addresses of a host, such as a smart host; no MX is asked for.
    Host(Domain),
    /// The records of an absolute name and type, as they are. The name is in presentation form without escapes.
    Records(String, u16),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextHop(domain) => write!(f, "next hop of {domain}"),
            Self::Host(domain) => write!(f, "addresses of {domain}"),
            Self::Records(name, rtype) => write!(f, "{} {name}", crate::exchange::rtype_name(*rtype)),
        }
    }
}

/// What a question came to, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Its number, by which a journal can refer to it. Rising, and unique in one resolver.
    pub serial: u64,
    /// What was asked.
    pub question: Question,
    /// The policy under which it was.
    pub policy: Policy,
    /// What was concluded.
    pub verdict: Verdict,
    /// How good the data behind the verdict is.
    pub provenance: Provenance,
    /// There may be further hosts: one could not be resolved, has refused addresses alone, or was not looked at. Nothing is final
    /// for want of another host.
    #[serde(default)]
    pub in_part: bool,
    /// The host is the domain itself, which has no MX record (RFC 5321 §5.1).
    pub implicit: bool,
    /// Until when it may be used. Meaningful in this process only, so not stored.
    #[serde(skip)]
    pub expires: Mono,
    /// No query was needed.
    pub from_cache: bool,
    /// The exchanges that led to it, in order, at most `TRAIL_MAX`. Those of cached data are included.
    pub trail: Vec<Exchange>,
    /// The records of `Question::Records`, in presentation form.
    pub records: Vec<String>,
}

/// Exchanges that an answer keeps: twenty hosts with two each, and room for trouble.
pub const TRAIL_MAX: usize = 64;

/// What was concluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Hosts with at least one address each, in the order to try them: by preference, equal preferences shuffled.
    Hosts(Vec<MailHost>),
    /// Believed: the domain does not exist. Permanent, 5.1.2.
    NoSuchDomain,
    /// Believed: the domain has a null MX (RFC 7505). Permanent, 5.1.10.
    NoMailService,
    /// Believed: no MX, A or AAAA; or no MX host exists. Permanent, 5.4.4.
    NoHost,
    /// We are the best MX ourselves (RFC 5321 §5.1). Permanent, 5.4.6.
    LoopsBack,
    /// For `Question::Records` only: `Answer::records` has them.
    Records,
    /// For `Question::Records` only: believed, the name has none of that type.
    NoRecords,
    /// Anything else. Never permanent.
    Unresolved(Cause),
}

/// A host to deliver to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailHost {
    /// Its name as the MX record has it.
    pub name: Domain,
    /// Its preference; 0 where there is no MX record.
    pub preference: u16,
    /// Its addresses in the order to try them, at least one.
    pub addresses: Vec<IpAddr>,
}

/// Why a question is unresolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// For people: names the server, the transport and what happened.
    pub text: String,
    /// DNS is at fault: the DNS schedule applies. Else it is the domain's data: the normal schedule.
    pub dns_fault: bool,
    /// The kind of trouble.
    pub kind: CauseKind,
}

/// The kind of trouble that left a question unresolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CauseKind {
    /// No name server is configured.
    NoServer,
    /// No server could be reached: refused, unreachable, silent.
    Unreachable,
    /// The answer is truncated, and no transport brought the whole.
    Truncated,
    /// Servers answered that they failed or refuse, or sent nothing that can be used.
    ServerFailure,
    /// Aliases that do not end.
    AliasLoop,
    /// A negative answer, seen once by a server that gives no proof (no SOA). It is believed when it is seen again.
    Unconfirmed,
    /// The data was stale or partial, and what it says would be final.
    Doubtful,
    /// All addresses are in networks to which no mail goes (NextHopRefused).
    NextHopRefused,
    /// Better hosts than ourselves exist and have no address.
    BetterHostsUnreachable,
    /// There are more MX hosts than are looked at, and none of these has an address.
    TooManyHosts,
    /// Too many lookups at once.
    Busy,
}

/// How good data is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Provenance {
    /// Whole answers.
    Complete,
    /// Some record sets are parts of truncated answers. Never cached.
    Partial,
    /// Some record sets had expired and nobody answered (RFC 8767).
    Stale,
}
