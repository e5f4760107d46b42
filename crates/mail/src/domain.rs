//! Domain names as mail uses them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A fully qualified domain name in A-labels: lower case, no trailing dot, 1 to 253 octets, labels of 1 to 63 octets of
/// letters, digits, hyphens and underscores, no hyphen at a label's ends (RFC 5321 §4.1.2; underscores exist in practice).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

/// The text is not a domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a domain name")]
pub struct NotADomain(pub String);

impl Domain {
    /// The name of the machine itself, where it has no other.
    #[must_use]
    pub fn localhost() -> Self {
        Self(Arc::from("localhost"))
    }

    /// The name, lower case, without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = NotADomain;
    fn from_str(text: &str) -> Result<Self, NotADomain> {
        let refused = || NotADomain(text.chars().take(80).collect());
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || name.len() > 253 {
            return Err(refused());
        }
        let label_is_good = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !name.split('.').all(label_is_good) {
            return Err(refused());
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands after the `@`, or names a server: a domain or an address literal (RFC 5321 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name to be resolved.
    Domain(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    Literal(IpAddr),
}

impl Host {
    /// The domain, if it is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Domain(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }
}

impl FromStr for Host {
    type Err = NotADomain;
    fn from_str(text: &str) -> Result<Self, NotADomain> {
        let Some(inner) = text.strip_prefix('[') else {
            return text.parse().map(Self::Domain);
        };
        let refused = || NotADomain(text.chars().take(80).collect());
        let inner = inner.strip_suffix(']').ok_or_else(refused)?;
        let tagged = inner.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        if tagged {
            let v6: Ipv6Addr = inner[5..].parse().map_err(|_| refused())?;
            return Ok(Self::Literal(v6.into()));
        }
        let v4: Ipv4Addr = inner.parse().map_err(|_| refused())?;
        Ok(Self::Literal(v4.into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(v4)) => write!(f, "[{v4}]"),
            Self::Literal(IpAddr::V6(v6)) => write!(f, "[IPv6:{v6}]"),
        }
    }
}

/// In one piece: a text is escaped in one pass then. (Names are written to disk with each message.)
impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Serialises as its text, and parses it again with every check.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.to_string())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;
serde_as_text!(Host);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        let good =
            |text: &str, expected: &str| assert_eq!(text.parse::<Domain>().unwrap().as_str(), expected);
        let bad = |text: &str| assert!(text.parse::<Domain>().is_err(), "{text:?} must be refused");
        good("Example.ORG.", "example.org");
        good("_dmarc.x--y.de", "_dmarc.x--y.de");
        for text in ["", ".", "a..b", "-a.b", "a-.b", "a b", "a\r\nb", "b\u{fc}cher.de", "a_.b\0"] {
            bad(text);
        }
        bad(&"a.".repeat(127).repeat(2));
        bad(&"x".repeat(64));
    }

    #[test]
    fn literals() {
        let good = |text: &str| assert_eq!(text.parse::<Host>().unwrap().to_string(), text);
        let bad = |text: &str| assert!(text.parse::<Host>().is_err(), "{text:?} must be refused");
        good("[192.0.2.1]");
        good("[IPv6:2001:db8::1]");
        good("a.example");
        for text in [
            "[]",
            "[1.2.3]",
            "[2001:db8::1]",
            "[IPv6:1.2.3.4]",
            "[1.2.3.4",
            "[IPv6:::1]x",
            "[\u{e9}\u{e9}\u{e9}]",
        ] {
            bad(text);
        }
    }
}
