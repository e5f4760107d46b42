//! What a reply is worth (design: a negative must be believed, a failure is never one).

use crate::exchange::{ExchangeOutcome, Transport};
use crate::wire::{ALIASES_MAX, Match, Reply};

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;

/// What a reply is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It answers nothing that was asked: wait on.
    Ignored,
    /// The reply has the records.
    Set,
    /// There are none; the TTL of that, in seconds, if the reply proves it by an SOA.
    Absent {
        no_name: bool,
        ttl: Option<u32>,
    },
    /// An alias that the server does not follow to its end.
    Alias,
    /// Aliases without end.
    AliasLoop,
    Truncated,
    WrongCase,
    NoEdns,
    /// It is that server's failure.
    Failed(ExchangeOutcome),
}

/// How the query was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) transport: Transport,
    pub(crate) edns: bool,
    /// With 0x20.
    pub(crate) cased: bool,
    /// Aliases followed before this query.
    pub(crate) aliases: u8,
}

/// Weighs a reply.
pub(crate) fn weigh(reply: &Reply, asked: Asked) -> Worth {
    match reply.question {
        Match::Not => return Worth::Ignored,
        Match::NoQuestion if reply.rcode == NOERROR || reply.rcode == NXDOMAIN => return Worth::Ignored,
        // Over a connection nobody can slip a reply in.
        Match::OtherCase if asked.cased && asked.transport == Transport::Udp => return Worth::WrongCase,
        Match::NoQuestion | Match::OtherCase | Match::Exact => {}
    }
    match reply.rcode {
        FORMERR | NOTIMP | BADVERS if asked.edns => Worth::NoEdns,
        NOERROR | NXDOMAIN if reply.truncated => Worth::Truncated,
        NOERROR | NXDOMAIN if reply.malformed || reply.stray => Worth::Failed(ExchangeOutcome::Malformed),
        NOERROR | NXDOMAIN if reply.aliases + asked.aliases > ALIASES_MAX => Worth::AliasLoop,
        NOERROR if !reply.records.is_empty() => Worth::Set,
        NXDOMAIN if !reply.records.is_empty() => Worth::Failed(ExchangeOutcome::Malformed),
        NOERROR | NXDOMAIN => absence(reply),
        _ => Worth::Failed(ExchangeOutcome::ServerFailure),
    }
}

/// Neither records nor failure: is it a believable absence?
fn absence(reply: &Reply) -> Worth {
    let no_name = reply.rcode == NXDOMAIN;
    let refers = reply.refers && reply.soa.is_none() && !reply.authoritative && !no_name;
    if !no_name && reply.aliases > 0 && reply.soa.is_none() {
        return Worth::Alias;
    }
    if refers || !(reply.recursive || reply.authoritative) {
        return Worth::Failed(ExchangeOutcome::Lame);
    }
    Worth::Absent { no_name, ttl: reply.soa }
}

impl Worth {
    /// As an exchange shows it.
    pub(crate) fn outcome(self) -> ExchangeOutcome {
        match self {
            Self::Set | Self::Alias => ExchangeOutcome::Answered,
            Self::Absent { no_name: true, .. } => ExchangeOutcome::NoName,
            Self::Absent { no_name: false, .. } => ExchangeOutcome::NoData,
            Self::Truncated => ExchangeOutcome::Truncated,
            Self::WrongCase => ExchangeOutcome::WrongCase,
            Self::NoEdns => ExchangeOutcome::NoEdns,
            Self::Failed(outcome) => outcome,
            Self::Ignored | Self::AliasLoop => ExchangeOutcome::Malformed,
        }
    }
}
