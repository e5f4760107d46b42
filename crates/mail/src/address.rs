//! Mailboxes and paths (RFC 5321 §4.1.2).

use crate::domain::{Domain, Host, serde_as_text};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A mailbox `local@host`. The local part keeps its case and, where it needs them, its quotes (RFC 5321 §2.4): it is at
/// most 64 octets of printable ASCII, either a dot-string or a quoted string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Arc<str>,
    host: Host,
}

/// Why a text is not a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// There is no `@` behind the local part.
    #[error("the address has no domain")]
    NoDomain,
    /// The local part breaks the grammar or its 64 octets.
    #[error("the local part is malformed or longer than 64 octets")]
    BadLocal,
    /// The domain or address literal breaks the grammar.
    #[error("the domain is malformed")]
    BadDomain,
}

impl Address {
    /// A mailbox of a local part that is known to be a plain word, such as `postmaster`.
    ///
    /// # Errors
    /// `BadLocal` where `local` is not a dot-string or quoted string.
    pub fn new(local: &str, host: Host) -> Result<Self, NotAnAddress> {
        if local.len() > 64 || !(is_dot_string(local) || quoted_end(local) == Some(local.len())) {
            return Err(NotAnAddress::BadLocal);
        }
        Ok(Self { local: local.into(), host })
    }

    /// The local part as it is written on the wire, with its quotes if it has any.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain or address literal.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether the local part is `postmaster`, in any case (RFC 5321 §4.5.1).
    #[must_use]
    pub fn is_postmaster(&self) -> bool {
        self.local.eq_ignore_ascii_case("postmaster")
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let local_len = if text.starts_with('"') {
            quoted_end(text).ok_or(NotAnAddress::BadLocal)?
        } else {
            text.find('@').ok_or(NotAnAddress::NoDomain)?
        };
        let host = text[local_len..].strip_prefix('@').ok_or(NotAnAddress::NoDomain)?;
        Self::new(&text[..local_len], host.parse().map_err(|_| NotAnAddress::BadDomain)?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_dot_string(local: &str) -> bool {
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// The length of the quoted string at the start of `text`, its quotes included.
fn quoted_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                if !matches!(bytes.get(at + 1), Some(32..=126)) {
                    return None;
                }
                at += 2;
            }
            32..=126 => at += 1,
            _ => return None,
        }
    }
    None
}

/// Where failures go: an address, or nowhere (`<>`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReversePath {
    /// `<>`: of a notification, which is never returned (RFC 5321 §4.5.5).
    Null,
    /// The sender to whom a failure is reported.
    Address(Address),
}

impl ReversePath {
    /// The address, unless null.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

/// `a@b.example`, or `<>` for the null path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl FromStr for ReversePath {
    type Err = NotAnAddress;
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if text.is_empty() || text == "<>" { Ok(Self::Null) } else { text.parse().map(Self::Address) }
    }
}

/// A RCPT's path: a mailbox, or the reserved `<postmaster>` without a domain (RFC 5321 §4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>`, in any case.
    Postmaster,
    /// A mailbox.
    Mailbox(Address),
}

impl ForwardPath {
    /// The mailbox; `<postmaster>` is the one of `own_domain`.
    #[must_use]
    pub fn qualified(self, own_domain: &Domain) -> Address {
        match self {
            Self::Postmaster => {
                Address { local: "postmaster".into(), host: Host::Domain(own_domain.clone()) }
            }
            Self::Mailbox(address) => address,
        }
    }
}

serde_as_text!(Address, ReversePath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        let bad = |text: &str, why: NotAnAddress| assert_eq!(text.parse::<Address>(), Err(why), "{text:?}");
        good("a.b+c@example.org");
        good("\"a@c\"@example.org");
        good("\"a \\\" b\"@[192.0.2.1]");
        good(&format!("{}@example.org", "x".repeat(64)));
        bad("a", NotAnAddress::NoDomain);
        bad("a@", NotAnAddress::BadDomain);
        bad("@b", NotAnAddress::BadLocal);
        bad("a..b@c", NotAnAddress::BadLocal);
        bad(".a@c", NotAnAddress::BadLocal);
        bad("a@b@c", NotAnAddress::BadDomain);
        bad("\"a@c", NotAnAddress::BadLocal);
        bad("\"a\r\nb\"@c", NotAnAddress::BadLocal);
        bad(&format!("{}@example.org", "x".repeat(65)), NotAnAddress::BadLocal);
    }

    #[test]
    fn paths() {
        assert_eq!("<>".parse(), Ok(ReversePath::Null));
        assert_eq!(ReversePath::Null.to_string(), "<>");
        let own: Domain = "mail.example".parse().unwrap();
        assert_eq!(ForwardPath::Postmaster.qualified(&own).to_string(), "postmaster@mail.example");
    }
}
