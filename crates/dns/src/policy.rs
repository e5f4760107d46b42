//! The transport policy: property SmtpUseTcpDns.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// How name servers may be spoken to, and what is done about a truncated answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// 0: UDP; a truncated answer is asked for again over TCP.
    UdpThenTcp,
    /// 1: TCP only.
    TcpOnly,
    /// 2: UDP only; larger datagrams, then partial answers, are used where an answer is truncated.
    UdpOnly,
    /// Not set: what works is found out, server by server.
    #[default]
    Adaptive,
}

/// The text names no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a transport policy: 0 or udp-then-tcp, 1 or tcp-only, 2 or udp-only, adaptive")]
pub struct NotAPolicy(pub String);

impl Policy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::UdpThenTcp, Self::TcpOnly, Self::UdpOnly, Self::Adaptive];

    /// The policy that a value of SmtpUseTcpDns stands for; `None` for a value that has no meaning.
    #[must_use]
    pub fn from_property(value: u32) -> Option<Self> {
        match value {
            0 => Some(Self::UdpThenTcp),
            1 => Some(Self::TcpOnly),
            2 => Some(Self::UdpOnly),
            u32::MAX => Some(Self::Adaptive),
            _ => None,
        }
    }

    /// The value of SmtpUseTcpDns that stands for this policy.
    #[must_use]
    pub fn property(self) -> u32 {
        match self {
            Self::UdpThenTcp => 0,
            Self::TcpOnly => 1,
            Self::UdpOnly => 2,
            Self::Adaptive => u32::MAX,
        }
    }

    /// Whether UDP may be used.
    pub(crate) fn udp(self) -> bool {
        self != Self::TcpOnly
    }

    /// Whether TCP may be used.
    pub(crate) fn tcp(self) -> bool {
        self != Self::UdpOnly
    }

    /// Whether parts of a truncated answer may be used, where the whole cannot be had.
    pub(crate) fn parts(self) -> bool {
        matches!(self, Self::UdpOnly | Self::Adaptive)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UdpThenTcp => "udp-then-tcp",
            Self::TcpOnly => "tcp-only",
            Self::UdpOnly => "udp-only",
            Self::Adaptive => "adaptive",
        })
    }
}

impl FromStr for Policy {
    type Err = NotAPolicy;
    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        match text.to_ascii_lowercase().as_str() {
            "0" | "udp-then-tcp" => Ok(Self::UdpThenTcp),
            "1" | "tcp-only" => Ok(Self::TcpOnly),
            "2" | "udp-only" => Ok(Self::UdpOnly),
            "adaptive" | "4294967295" => Ok(Self::Adaptive),
            _ => Err(NotAPolicy(text.chars().take(80).collect())),
        }
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_by_value_and_name() {
        let check = |value: u32, name: &str| {
            let policy = Policy::from_property(value).unwrap();
            assert_eq!((policy.property(), policy.to_string().as_str()), (value, name));
            assert_eq!(name.parse(), Ok(policy));
        };
        check(0, "udp-then-tcp");
        check(1, "tcp-only");
        check(2, "udp-only");
        check(u32::MAX, "adaptive");
        assert_eq!("2".parse(), Ok(Policy::UdpOnly));
        assert_eq!(Policy::from_property(3), None);
        assert!("3".parse::<Policy>().is_err());
    }
}
