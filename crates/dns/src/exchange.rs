//! One query and what came of it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;

/// How a name server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

/// One query and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The server asked.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The name asked for, absolute, without the trailing dot.
    pub name: String,
    /// The record type asked for.
    pub rtype: u16,
    /// The size of datagram that we offered to receive by EDNS; `None`: asked without EDNS.
    pub edns: Option<u16>,
    /// Octets sent, without the length that TCP puts before a message.
    pub sent: u32,
    /// Octets received, likewise; 0 if nothing came.
    pub received: u32,
    /// TC=1.
    pub truncated: bool,
    /// Records in the answer section, as its header counts them.
    pub answers: u16,
    /// The response code, the extended part included.
    pub rcode: Option<u16>,
    /// What it came to.
    pub outcome: ExchangeOutcome,
    /// Microseconds from sending to the outcome.
    pub micros: u64,
}

/// What an exchange came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ExchangeOutcome {
    /// Records of what was asked, or an alias towards them.
    Answered,
    /// The name has no such records.
    NoData,
    /// There is no such name.
    NoName,
    /// The answer did not fit. With or without records in it, it is no answer.
    Truncated,
    /// Nothing came in time.
    TimedOut,
    /// The connection was refused, or the datagram's port is closed.
    Refused,
    /// The network cannot reach the server.
    Unreachable,
    /// The connection was closed or reset before the answer.
    Reset,
    /// The server refers elsewhere, or offers neither recursion nor authority.
    Lame,
    /// The response code says that the server failed or refuses (SERVFAIL, REFUSED, NOTIMP, FORMERR and others).
    ServerFailure,
    /// The response code says that the server does not know EDNS.
    NoEdns,
    /// What came cannot be read, or contradicts itself.
    Malformed,
    /// Right in all but the letter case of the question (0x20).
    WrongCase,
}

impl ExchangeOutcome {
    /// The outcome in a few words.
    #[must_use]
    pub fn words(self, transport: Transport) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoData => "no such records",
            Self::NoName => "no such name",
            Self::Truncated => "truncated",
            Self::TimedOut => "no reply",
            Self::Refused if transport == Transport::Udp => "port closed",
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "connection closed before the reply",
            Self::Lame => "refers elsewhere",
            Self::ServerFailure => "server failure",
            Self::NoEdns => "does not know EDNS",
            Self::Malformed => "unreadable reply",
            Self::WrongCase => "reply in another letter case",
        }
    }

    /// Whether no reply came at all.
    #[must_use]
    pub fn is_transport_fault(self) -> bool {
        matches!(self, Self::TimedOut | Self::Refused | Self::Unreachable | Self::Reset)
    }
}

impl Exchange {
    /// Whether an address was asked for (A, AAAA).
    #[must_use]
    pub fn is_for_address(&self) -> bool {
        matches!(rtype_name(self.rtype).as_str(), "A" | "AAAA")
    }

    /// The exchange in one line for people, such as
    /// `UDP 127.0.0.1:5300 MX big.example EDNS 1232: truncated, 0 of ? records, 40 -> 54 octets, 0.4 ms`.
    #[must_use]
    pub fn tell(&self) -> String {
        let mut line = format!("{} {} {} {}", self.transport, self.server, rtype_name(self.rtype), self.name);
        match (self.transport, self.edns) {
            (Transport::Udp, Some(size)) => line.push_str(&format!(" EDNS {size}")),
            (Transport::Udp, None) => line.push_str(" no EDNS"),
            (Transport::Tcp, _) => {}
        }
        line.push_str(": ");
        line.push_str(self.outcome.words(self.transport));
        if let Some(code) = self.rcode.filter(|code| *code != 0) {
            line.push_str(&format!(" ({})", rcode_name(code)));
        }
        match self.outcome {
            ExchangeOutcome::Answered => line.push_str(&format!(
                ", {} record{}",
                self.answers,
                if self.answers == 1 { "" } else { "s" }
            )),
            ExchangeOutcome::Truncated => line.push_str(&format!(", {} of ? records", self.answers)),
            _ => {}
        }
        if self.received > 0 {
            line.push_str(&format!(", {} -> {} octets", self.sent, self.received));
        }
        line.push_str(&format!(", {}.{} ms", self.micros / 1000, self.micros / 100 % 10));
        line
    }

    /// Server, transport and what happened, such as `TCP 127.0.0.1:5300 connection refused`.
    pub(crate) fn tell_briefly(&self) -> String {
        let words = self.outcome.words(self.transport);
        match self.rcode.filter(|code| *code != 0) {
            Some(code) => format!("{} {} {words} ({})", self.transport, self.server, rcode_name(code)),
            None => format!("{} {} {words}", self.transport, self.server),
        }
    }
}

/// The record types that have names here: those that mail meets.
const RTYPES: [(u16, &str); 14] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (43, "DS"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (65, "HTTPS"),
    (257, "CAA"),
];

/// The name of a record type; `TYPE99` where it has none here (RFC 3597 §5).
#[must_use]
pub fn rtype_name(rtype: u16) -> String {
    match RTYPES.iter().find(|(number, _)| *number == rtype) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("TYPE{rtype}"),
    }
}

/// The record type of a name such as `mx`, `TYPE99` or `99`.
#[must_use]
pub fn rtype_from_str(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    match RTYPES.iter().find(|(_, name)| *name == upper) {
        Some((number, _)) => Some(*number),
        None => upper.strip_prefix("TYPE").unwrap_or(&upper).parse().ok(),
    }
}

/// The name of a response code.
#[must_use]
pub fn rcode_name(rcode: u16) -> String {
    let name = match rcode {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        9 => "NOTAUTH",
        16 => "BADVERS",
        _ => return format!("RCODE{rcode}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_read_well() {
        let truncated = Exchange {
            server: "127.0.0.1:5300".parse().unwrap(),
            transport: Transport::Udp,
            name: "big.example".to_owned(),
            rtype: 15,
            edns: Some(1232),
            sent: 40,
            received: 54,
            truncated: true,
            answers: 0,
            rcode: Some(0),
            outcome: ExchangeOutcome::Truncated,
            micros: 412,
        };
        let check = |exchange: Exchange, line: &str| assert_eq!(exchange.tell(), line);
        check(
            truncated.clone(),
            "UDP 127.0.0.1:5300 MX big.example EDNS 1232: truncated, 0 of ? records, 40 -> 54 octets, 0.4 ms",
        );
        let refused = Exchange {
            transport: Transport::Tcp,
            received: 0,
            rcode: None,
            outcome: ExchangeOutcome::Refused,
            ..truncated.clone()
        };
        check(refused, "TCP 127.0.0.1:5300 MX big.example: connection refused, 0.4 ms");
        let failed =
            Exchange { rcode: Some(2), outcome: ExchangeOutcome::ServerFailure, edns: None, ..truncated };
        check(
            failed,
            "UDP 127.0.0.1:5300 MX big.example no EDNS: server failure (SERVFAIL), 40 -> 54 octets, 0.4 ms",
        );
    }

    #[test]
    fn record_types() {
        let check = |text: &str, rtype: Option<u16>| assert_eq!(rtype_from_str(text), rtype);
        check("mx", Some(15));
        check("TYPE99", Some(99));
        check("65535", Some(65535));
        check("65536", None);
        check("no", None);
        assert_eq!((rtype_name(52), rtype_name(99)), ("TLSA".to_owned(), "TYPE99".to_owned()));
    }
}
