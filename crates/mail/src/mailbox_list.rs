//! Lists of mailboxes as header fields have them (RFC 5322 §3.4, §4.4), read tolerantly.
//!
//! Display names, comments, groups, source routes and empty places are passed over; what remains must be addresses.

use crate::address::{Address, NotAnAddress};
use std::borrow::Cow;

/// Part of a list is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotAList {
    pub(crate) text: String,
    pub(crate) why: String,
}

/// Characters of a part that an error repeats.
const SHOWN_MAX: usize = 80;

/// The addresses of a field's value, in order. The value's length bounds the work; nothing recurses.
pub(crate) fn parse(value: &[u8]) -> Result<Vec<Address>, NotAList> {
    let mut addresses = Vec::new();
    let mut part = Part::default();
    let mut rest = value;
    loop {
        let (token, behind) = token(rest)?;
        rest = behind;
        match token {
            Token::End | Token::Special(b',' | b';') if !matches!(part.angle, Angle::Open) => {
                addresses.extend(part.address()?);
                part = Part::default();
                if token == Token::End {
                    return Ok(addresses);
                }
            }
            Token::End => return Err(part.refused("a \">\" is missing")),
            token => part.take(token)?,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Spaces, line ends, comments.
    Space,
    /// An atom, a quoted string with its quotes, or a domain literal with its brackets.
    Word(Cow<'a, str>),
    /// One of `<>@.:;,`.
    Special(u8),
    End,
}

#[derive(Default)]
struct Part<'a> {
    /// What may be the address.
    tokens: Vec<Token<'a>>,
    angle: Angle,
}

#[derive(Default)]
enum Angle {
    /// No `<` so far.
    #[default]
    None,
    /// Behind `<`.
    Open,
    /// Behind `>`.
    Closed,
}

impl<'a> Part<'a> {
    fn take(&mut self, token: Token<'a>) -> Result<(), NotAList> {
        match (&self.angle, token) {
            // What stood before is a display name.
            (Angle::None, Token::Special(b'<')) => *self = Self { tokens: Vec::new(), angle: Angle::Open },
            // What stood before is a group's name, or in brackets a source route (RFC 5321 §4.1.2).
            (Angle::None | Angle::Open, Token::Special(b':')) => self.tokens.clear(),
            (Angle::Open, Token::Special(b'>')) => self.angle = Angle::Closed,
            // A source route separates its hosts by commas.
            (Angle::Open, token @ Token::Special(b',')) if self.is_route() => self.tokens.push(token),
            (Angle::None | Angle::Open, token) => self.tokens.push(token),
            (Angle::Closed, Token::Space) => {}
            (Angle::Closed, _) => return Err(self.refused("a comma is missing behind it")),
        }
        Ok(())
    }

    fn is_route(&self) -> bool {
        self.tokens.iter().find(|token| **token != Token::Space) == Some(&Token::Special(b'@'))
    }

    fn address(&self) -> Result<Option<Address>, NotAList> {
        let is_empty = self.tokens.iter().all(|token| *token == Token::Space);
        if is_empty && matches!(self.angle, Angle::None) {
            return Ok(None);
        }
        let mut text = String::new();
        // Spaces may stand around dots and the @, not between words: those would be two addresses, or a name.
        let (mut behind_word, mut spaced) = (false, false);
        for token in &self.tokens {
            match token {
                Token::Space => spaced = true,
                Token::Word(word) => {
                    if behind_word && spaced {
                        return Err(self.refused("a comma or angle brackets are missing"));
                    }
                    text.push_str(word);
                    (behind_word, spaced) = (true, false);
                }
                Token::Special(special) => {
                    text.push(char::from(*special));
                    (behind_word, spaced) = (false, false);
                }
                Token::End => {}
            }
        }
        text.parse().map(Some).map_err(|why: NotAnAddress| self.refused(&why.to_string()))
    }

    fn refused(&self, why: &str) -> NotAList {
        let mut text = String::new();
        for token in &self.tokens {
            match token {
                Token::Space => text.push(' '),
                Token::Word(word) => text.push_str(word),
                Token::Special(special) => text.push(char::from(*special)),
                Token::End => {}
            }
        }
        NotAList { text: text.trim().chars().take(SHOWN_MAX).collect(), why: why.into() }
    }
}

/// The first token and what is behind it.
fn token(rest: &[u8]) -> Result<(Token<'_>, &[u8]), NotAList> {
    let Some(first) = rest.first() else {
        return Ok((Token::End, rest));
    };
    let (length, is_space) = match first {
        b' ' | b'\t' | b'\r' | b'\n' => (1, true),
        b'(' => (comment(rest).ok_or_else(|| unclosed(rest, "a \")\" is missing"))?, true),
        b'"' => (delimited(rest, b'"').ok_or_else(|| unclosed(rest, "a closing quote is missing"))?, false),
        b'[' => (delimited(rest, b']').ok_or_else(|| unclosed(rest, "a \"]\" is missing"))?, false),
        special if is_special(*special) => {
            return Ok((Token::Special(*special), rest.get(1..).unwrap_or_default()));
        }
        _ => (
            rest.iter().position(|b| is_special(*b) || b" \t\r\n(\"[".contains(b)).unwrap_or(rest.len()),
            false,
        ),
    };
    let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
    let token = if is_space { Token::Space } else { Token::Word(unfolded(token)) };
    Ok((token, behind))
}

fn is_special(byte: u8) -> bool {
    b"<>@.:;,".contains(&byte)
}

/// The length of the comment at the start, which may hold comments (RFC 5322 §3.2.2).
fn comment(text: &[u8]) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of what starts with a delimiter and ends with `close`.
fn delimited(text: &[u8], close: u8) -> Option<usize> {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if *byte == close => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Without the line ends of folding (RFC 5322 §2.2.3).
fn unfolded(word: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(word);
    if text.contains(['\r', '\n']) { text.replace(['\r', '\n'], "").into() } else { text }
}

fn unclosed(rest: &[u8], why: &str) -> NotAList {
    NotAList { text: String::from_utf8_lossy(rest).chars().take(SHOWN_MAX).collect(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists() {
        let check = |value: &str, expected: &[&str]| {
            let addresses = parse(value.as_bytes()).unwrap_or_else(|bad| panic!("{value}: {bad:?}"));
            assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "{value}");
        };
        check("", &[]);
        check(" , ,\r\n ,", &[]);
        check("a@b.example", &["a@b.example"]);
        check("a@b.example,c@d.example , e@f.example", &["a@b.example", "c@d.example", "e@f.example"]);
        check("Joe Q. Public <joe@b.example>", &["joe@b.example"]);
        check("\"Public, Joe <x@y>\" <joe@b.example>", &["joe@b.example"]);
        check("J\u{f6}e <joe@b.example>", &["joe@b.example"]);
        check("=?utf-8?q?J=C3=B6e?= <joe@b.example>", &["joe@b.example"]);
        check("joe@b.example (Joe (the, man\\)) P)", &["joe@b.example"]);
        check("joe(a)@(b)b.example", &["joe@b.example"]);
        check("joe @ b . example", &["joe@b.example"]);
        check("<joe@b.example>\r\n\t(Joe)", &["joe@b.example"]);
        check("\"a b\"@b.example", &["\"a b\"@b.example"]);
        check("\"a\r\n b\"@b.example", &["\"a b\"@b.example"]);
        check("a@[192.0.2.1], b@[IPv6:2001:db8::1]", &["a@[192.0.2.1]", "b@[IPv6:2001:db8::1]"]);
        check("<@r.example,@s.example:a@b.example>", &["a@b.example"]);
        check("Friends: a@b.example, C <c@d.example>;", &["a@b.example", "c@d.example"]);
        check("undisclosed-recipients:;", &[]);
        check("A:a@b.example;, c@d.example", &["a@b.example", "c@d.example"]);
    }

    #[test]
    fn refused() {
        let check = |value: &str, text: &str, why: &str| {
            assert_eq!(
                parse(value.as_bytes()),
                Err(NotAList { text: text.into(), why: why.into() }),
                "{value}"
            );
        };
        check("joe", "joe", "the address has no domain");
        check("a@b.example c@d.example", "a@b.example c@d.example", "a comma or angle brackets are missing");
        check("Joe joe@b.example", "Joe joe@b.example", "a comma or angle brackets are missing");
        check("<a@b.example> c@d.example", "a@b.example", "a comma is missing behind it");
        check("Joe <>", "", "the address has no domain");
        check("<a@b.example", "a@b.example", "a \">\" is missing");
        check("<a@b.example, c@d.example>", "a@b.example, c@d.example", "the domain is malformed");
        check("\"a", "\"a", "a closing quote is missing");
        check("(a", "(a", "a \")\" is missing");
        check("a@[1", "[1", "a \"]\" is missing");
        check(
            "J\u{f6}e@b.example",
            "J\u{f6}e@b.example",
            "the local part is malformed or longer than 64 octets",
        );
    }

    proptest! {
        #[test]
        fn any_octets(value in prop::collection::vec(prop_oneof![
            prop::sample::select(b"<>@.:;,()[]\"\\ \r\n\tab".to_vec()), any::<u8>()
        ], 0..80)) {
            let _ = parse(&value);
        }

        #[test]
        fn addresses_are_found_among_names(name in "[A-Za-z ,.<>@:;]{0,20}", local in "[a-z0-9+]{1,10}") {
            let text = format!("\"{name}\" <{local}@b.example>, x@y.example");
            let found: Vec<_> = parse(text.as_bytes()).unwrap().iter().map(ToString::to_string).collect();
            prop_assert_eq!(found, [format!("{local}@b.example"), "x@y.example".to_owned()]);
        }
    }
}
