//! Names as the wire has them: any octets, compared without regard to letter case.

use domain::base::name::ToLabelIter;
use postroad_mail::domain::Domain;
use std::fmt;
use std::sync::Arc;

/// An absolute name in wire form, ASCII letters in lower case: length octet, label, ..., zero octet. At most 255 octets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<[u8]>);

/// RFC 1035 §2.3.4.
const NAME_OCTETS_MAX: usize = 255;

impl Name {
    /// The root, to which nothing is below.
    pub(crate) fn root() -> Self {
        Self(Arc::from([0u8].as_slice()))
    }

    /// The name of a text without escapes, with or without the final dot; `None` if it is none. Printable ASCII only, so that a name
    /// asked for by a person or a setting reads as it is written; names from the wire need not be so.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let good =
                (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
            if !good {
                return None;
            }
            wire.push(label.len() as u8);
            wire.extend(label.bytes().map(|b| b.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= NAME_OCTETS_MAX).then(|| Self(wire.into()))
    }

    /// The name of a domain, which is always one.
    pub(crate) fn from_domain(domain: &Domain) -> Self {
        Self::from_text(domain.as_str()).unwrap_or_else(Self::root)
    }

    /// A name read from a message.
    pub(crate) fn from_labels(labels: &impl ToLabelIter) -> Self {
        let mut wire = Vec::with_capacity(NAME_OCTETS_MAX);
        for label in labels.iter_labels() {
            wire.push(label.len() as u8);
            wire.extend(label.as_slice().iter().map(u8::to_ascii_lowercase));
        }
        Self(wire.into())
    }

    /// The wire form.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root, which as an MX host means "no mail service" (RFC 7505).
    pub(crate) fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether it is `above` or below it.
    pub(crate) fn is_within(&self, above: &Self) -> bool {
        let mut rest = self.wire();
        loop {
            if rest == above.wire() {
                return true;
            }
            let Some((&len, tail)) = rest.split_first().filter(|(len, _)| **len > 0) else {
                return false;
            };
            rest = tail.get(usize::from(len)..).unwrap_or_default();
        }
    }

    /// The domain of this name, if it can be one: what is not a host name never reaches SMTP.
    pub(crate) fn domain(&self) -> Option<Domain> {
        self.to_string().parse().ok()
    }
}

/// Presentation form without the final dot; what is not printable is escaped (RFC 1035 §5.1), so that it can be logged and shown.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        let mut rest = self.wire();
        let mut first = true;
        while let Some((&len, tail)) = rest.split_first().filter(|(len, _)| **len > 0) {
            if !std::mem::take(&mut first) {
                f.write_str(".")?;
            }
            let (label, tail) = tail.split_at_checked(usize::from(len)).unwrap_or_default();
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' => write!(f, "\\{}", char::from(octet))?,
                    0x21..=0x7e => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
            rest = tail;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_text() {
        let good = |text: &str, shown: &str| assert_eq!(Name::from_text(text).unwrap().to_string(), shown);
        let bad = |text: &str| assert_eq!(Name::from_text(text), None, "{text:?}");
        good("Example.ORG.", "example.org");
        good("1.0/25.2.0.192.in-addr.arpa", "1.0/25.2.0.192.in-addr.arpa");
        for text in ["", ".", "a..b", "a b", "a\0", "\u{e9}.fr", "a\\.b"] {
            bad(text);
        }
        bad(&"x".repeat(64));
        bad(&["abcdefgh"; 30].join("."));
    }

    #[test]
    fn below() {
        let check = |name: &str, above: &str, expected: bool| {
            let within = Name::from_text(name).unwrap().is_within(&Name::from_text(above).unwrap());
            assert_eq!(within, expected, "{name} within {above}");
        };
        check("example.org", "example.org", true);
        check("mx.example.org", "example.org", true);
        check("badexample.org", "example.org", false);
        check("org", "example.org", false);
        assert!(Name::from_text("org").unwrap().is_within(&Name::root()));
    }

    #[test]
    fn odd_octets_are_escaped() {
        let name = Name(Arc::from(b"\x05a\r\n.<\x01b\0".as_slice()));
        assert_eq!(name.to_string(), "a\\013\\010\\.<.b");
        assert_eq!(name.domain(), None);
    }
}
