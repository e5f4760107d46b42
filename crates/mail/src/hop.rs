//! Next hops: where a recipient goes.

use crate::domain::{Domain, Host, serde_as_text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Where a recipient goes. Its text (`mx:example.org`) is the key under which the store and the queue keep it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// `mx:example.org`: the MX set of a domain.
    Mx(Domain),
    /// `ip:192.0.2.1`: the server of an address literal.
    Literal(IpAddr),
    /// `smart:relay.example:25` or `smart:[192.0.2.1]:25`: the smart host and its port.
    SmartHost(Host, u16),
    /// `drop:`: the Drop folder, for mail of our own domains.
    Drop,
    /// `badmail:`: the Badmail folder, for what can neither be delivered nor returned.
    Badmail,
}

/// The text names no next hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a next hop")]
pub struct NotAHop(pub String);

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mx(domain) => write!(f, "mx:{domain}"),
            Self::Literal(ip) => write!(f, "ip:{ip}"),
            Self::SmartHost(host, port) => write!(f, "smart:{host}:{port}"),
            Self::Drop => f.write_str("drop:"),
            Self::Badmail => f.write_str("badmail:"),
        }
    }
}

impl FromStr for NextHop {
    type Err = NotAHop;
    fn from_str(text: &str) -> Result<Self, NotAHop> {
        let refused = || NotAHop(text.chars().take(80).collect());
        let (kind, rest) = text.split_once(':').ok_or_else(refused)?;
        match kind {
            "mx" => rest.parse().map(Self::Mx).map_err(|_| refused()),
            "ip" => rest.parse().map(Self::Literal).map_err(|_| refused()),
            "smart" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(refused)?;
                let host = host.parse().map_err(|_| refused())?;
                Ok(Self::SmartHost(host, port.parse().map_err(|_| refused())?))
            }
            "drop" if rest.is_empty() => Ok(Self::Drop),
            "badmail" if rest.is_empty() => Ok(Self::Badmail),
            _ => Err(refused()),
        }
    }
}

serde_as_text!(NextHop);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        for key in [
            "mx:example.org",
            "ip:2001:db8::1",
            "smart:relay.example:25",
            "smart:[192.0.2.1]:2525",
            "drop:",
            "badmail:",
        ] {
            assert_eq!(key.parse::<NextHop>().unwrap().to_string(), key);
        }
        for key in ["", "mx:", "mx", "drop:x", "smart:a", "smart:a:99999", "zip:x"] {
            assert!(key.parse::<NextHop>().is_err(), "{key:?}");
        }
    }
}
