//! Paths of keys.

use crate::path::KeyPath;
use postroad_mail::domain::Domain;
use std::fmt;

/// A key that can hold settings. The order is that of inheritance: a key comes after those it inherits from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `/LM/SmtpSvc`.
    Service,
    /// `/LM/SmtpSvc/1`.
    Server,
    /// `/LM/SmtpSvc/1/Domain/example.org`.
    Domain(Domain),
}

/// The kinds of key, as the catalogue names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The service.
    Service,
    /// A virtual server.
    Server,
    /// A remote domain of a virtual server.
    Domain,
    /// The routing tables of a virtual server.
    RoutingSources,
    /// What the service says of itself.
    Info,
    /// The log modules of the machine, and the fields of their own.
    Logging,
    /// The machine.
    Computer,
    /// The tree's own head, which MetaBase.xml has at `.`.
    Global,
    /// The schema.
    Schema,
    /// Any key.
    Any,
}

/// Why a text is no key of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAKey {
    /// It has another shape.
    Unknown,
    /// It is a virtual server other than 1, of which there is one.
    OtherServer,
    /// What stands behind `Domain/` is not a domain name.
    NotADomain,
}

impl Key {
    /// The key of a path in any case; `/LM` may be left out, as in the original's `smtpsvc/1`.
    ///
    /// # Errors
    /// Which part of the path is not known.
    pub fn parse(path: &str) -> Result<Self, NotAKey> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut parts = path.split('/').peekable();
        let is = |part: Option<&str>, name: &str| part.is_some_and(|p| p.eq_ignore_ascii_case(name));
        if is(parts.peek().copied(), "LM") {
            parts.next();
        }
        if !is(parts.next(), "SmtpSvc") {
            return Err(NotAKey::Unknown);
        }
        let Some(server) = parts.next() else {
            return Ok(Self::Service);
        };
        if server != "1" {
            return Err(if is_number(server) { NotAKey::OtherServer } else { NotAKey::Unknown });
        }
        let Some(part) = parts.next() else {
            return Ok(Self::Server);
        };
        match (part.eq_ignore_ascii_case("Domain"), parts.next(), parts.next()) {
            (true, Some(name), None) => name.parse().map(Self::Domain).map_err(|_| NotAKey::NotADomain),
            _ => Err(NotAKey::Unknown),
        }
    }

    /// The key of ours that a path in the tree is. A domain must be written as the domain is compared: `a.b.` is none, else
    /// two keys could speak for one domain.
    #[must_use]
    pub fn at(path: &KeyPath) -> Option<Self> {
        let names: Vec<&str> = path.folded().collect();
        match names.as_slice() {
            ["lm", "smtpsvc"] => Some(Self::Service),
            ["lm", "smtpsvc", "1"] => Some(Self::Server),
            ["lm", "smtpsvc", "1", "domain", name] => domain_named(name).map(Self::Domain),
            _ => None,
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> KeyPath {
        // A domain name has neither slashes nor control characters, and is shorter than a key's name may be.
        self.to_string().parse().unwrap_or_default()
    }

    /// What kind of key it is.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match self {
            Self::Service => KeyKind::Service,
            Self::Server => KeyKind::Server,
            Self::Domain(_) => KeyKind::Domain,
        }
    }
}

/// Names of the path of a virtual server.
pub(crate) const SERVER_DEPTH: usize = 3;

/// Whether the virtual server that is served is a key, or below it and sees what of it is inherited. Asked of each record of a
/// tree, so no path is made to compare with.
pub(crate) fn server_is_within(path: &KeyPath) -> bool {
    path.depth() <= SERVER_DEPTH && path.folded().zip(["lm", "smtpsvc", "1"]).all(|(name, own)| name == own)
}

/// Whether a key is a virtual server other than the one that is served, or below it.
pub(crate) fn is_other_server(path: &KeyPath) -> bool {
    let mut names = path.folded();
    names.by_ref().take(2).eq(["lm", "smtpsvc"])
        && names.next().is_some_and(|name| is_number(name) && name != "1")
}

/// Whether a key's name is the number of a virtual server.
pub(crate) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_digit())
}

/// The domain that a key's folded name is.
pub(crate) fn domain_named(name: &str) -> Option<Domain> {
    name.parse().ok().filter(|domain: &Domain| domain.as_str() == name)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("/LM/SmtpSvc"),
            Self::Server => f.write_str("/LM/SmtpSvc/1"),
            Self::Domain(domain) => write!(f, "/LM/SmtpSvc/1/Domain/{domain}"),
        }
    }
}

impl KeyKind {
    /// The kind of key that a path is, by its names alone.
    #[must_use]
    pub fn of(path: &KeyPath) -> Option<Self> {
        let names: Vec<&str> = path.folded().collect();
        match names.as_slice() {
            ["lm"] => Some(Self::Computer),
            ["schema"] => Some(Self::Schema),
            ["lm", "logging", ..] => Some(Self::Logging),
            ["lm", "smtpsvc"] => Some(Self::Service),
            ["lm", "smtpsvc", "info"] => Some(Self::Info),
            ["lm", "smtpsvc", number] if is_number(number) => Some(Self::Server),
            ["lm", "smtpsvc", number, "domain", _] if is_number(number) => Some(Self::Domain),
            ["lm", "smtpsvc", number, "routingsources"] if is_number(number) => Some(Self::RoutingSources),
            _ => None,
        }
    }

    /// The path with `n` and `name` for what varies.
    #[must_use]
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Service => "/LM/SmtpSvc",
            Self::Server => "/LM/SmtpSvc/n",
            Self::Domain => "/LM/SmtpSvc/n/Domain/name",
            Self::RoutingSources => "/LM/SmtpSvc/n/RoutingSources",
            Self::Info => "/LM/SmtpSvc/Info",
            Self::Logging => "/LM/Logging",
            Self::Computer => "/LM",
            Self::Global => ".",
            Self::Schema => "/Schema",
            Self::Any => "any key",
        }
    }
}
