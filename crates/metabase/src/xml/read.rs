//! The XML itself: elements one after the other, each with its attributes as they stand in the text. What is not well-formed,
//! or is larger than any such file, is an error with its line; nothing is expanded and nothing outside of the text is read.

use super::XmlError;
use crate::record::DATA_MAX;
use quick_xml::events::Event;
use quick_xml::events::attributes::{AttrError, Attributes};
use quick_xml::reader::Reader;
use std::borrow::Cow;

/// Octets of a file, which is held in memory as a whole: 100,000 domains with three properties each take half of it.
pub const OCTETS_MAX: usize = 32 * 1024 * 1024;
/// Elements within one another; the original's file has 4.
pub const DEPTH_MAX: usize = 8;
/// Elements: as many as a tree has keys.
pub const ELEMENTS_MAX: usize = 1_000_000;
/// Attributes of one element: twice what a key has records.
pub const ATTRIBUTES_MAX: usize = 2000;
/// Octets of one attribute as it stands: a value of `DATA_MAX` octets, all of them escaped.
pub const ATTRIBUTE_OCTETS_MAX: usize = 6 * DATA_MAX;
/// Characters of the name of an element or attribute; the longest known has 32.
pub const XML_NAME_MAX: usize = 256;

const MEND: &str = "Mend the file, or take an earlier copy from the History folder beside it";

/// The file's text. Windows writes UTF-8, with or without a mark before it, and at times UTF-16.
pub(super) fn text<'o>(octets: &'o [u8], file: &str) -> Result<Cow<'o, str>, XmlError> {
    if octets.len() > OCTETS_MAX {
        let what = format!("the file has {} octets, {OCTETS_MAX} at most", octets.len());
        return Err(error("", file, 0, what, "Take out of it what does not concern SMTP"));
    }
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| wide(rest, unit, file).map(Cow::Owned);
    match octets {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => utf16(octets, u16::from_le_bytes),
        [0, b'<', ..] => utf16(octets, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => narrow(rest, file).map(Cow::Borrowed),
        octets => narrow(octets, file).map(Cow::Borrowed),
    }
}

fn narrow<'o>(octets: &'o [u8], file: &str) -> Result<&'o str, XmlError> {
    std::str::from_utf8(octets).map_err(|invalid| {
        let valid = octets.get(..invalid.valid_up_to()).unwrap_or_default();
        let valid = std::str::from_utf8(valid).unwrap_or_default();
        error(valid, file, valid.len(), "is not UTF-8".into(), "Save the file as UTF-8")
    })
}

fn wide(octets: &[u8], unit: fn([u8; 2]) -> u16, file: &str) -> Result<String, XmlError> {
    let (pairs, odd) = octets.as_chunks::<2>();
    // Three octets of UTF-8 stand for two of UTF-16 at most.
    let mut text = String::with_capacity(octets.len());
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let Ok(character) = character else {
            return Err(error(&text, file, text.len(), "is not UTF-16".into(), "Save the file as UTF-8"));
        };
        text.push(character);
    }
    if odd.is_empty() {
        return Ok(text);
    }
    Err(error(&text, file, text.len(), "ends within a character of UTF-16".into(), "Save the file as UTF-8"))
}

fn error(text: &str, file: &str, at: usize, what: String, remedy: &str) -> XmlError {
    let before = text.get(..text.floor_char_boundary(at)).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    XmlError {
        file: file.into(),
        line: before.bytes().filter(|octet| *octet == b'\n').count() + 1,
        column: line.chars().count() + 1,
        what,
        remedy: format!("{remedy}."),
    }
}

/// An element's beginning.
pub(super) struct Element<'t> {
    pub(super) name: &'t str,
    /// Names and values, as they stand.
    pub(super) attributes: Vec<(&'t str, &'t str)>,
    /// Where it begins.
    pub(super) at: usize,
}

impl<'t> Element<'t> {
    /// The value of an attribute, without escapes.
    pub(super) fn value(&self, name: &str) -> Option<Cow<'t, str>> {
        self.raw(name).map(unescaped)
    }

    /// The value of an attribute, as it stands.
    pub(super) fn raw(&self, name: &str) -> Option<&'t str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, raw)| *raw)
    }
}

/// A value without its escapes; those of an element that was read are known to be whole.
pub(super) fn unescaped(raw: &str) -> Cow<'_, str> {
    if raw.contains('&') { quick_xml::escape::unescape(raw).unwrap_or_default() } else { Cow::Borrowed(raw) }
}

/// What comes next.
pub(super) enum Piece<'t> {
    Open(Element<'t>),
    Close,
    /// Text between elements, which such a file has none of.
    Text,
}

/// The elements of a text.
pub(super) struct Source<'t> {
    text: &'t str,
    file: &'t str,
    reader: Reader<&'t [u8]>,
    depth: usize,
    elements: usize,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str, file: &'t str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        reader.config_mut().check_comments = true;
        let source = Self { text, file, reader, depth: 0, elements: 0 };
        // By octets, as most are read for this alone; `is_character` says the same of one character.
        let control = text.bytes().position(|octet| octet < b' ' && !b"\t\n\r".contains(&octet));
        match control.or_else(|| text.find("\u{fffe}")).or_else(|| text.find("\u{ffff}")) {
            Some(at) => Err(source.error(at, "has a control character, which XML does not allow")),
            None => Ok(source),
        }
    }

    /// An error at a place of the text.
    pub(super) fn error(&self, at: usize, what: impl Into<String>) -> XmlError {
        error(self.text, self.file, at, what.into(), MEND)
    }

    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'t>>, XmlError> {
        loop {
            let at = position(self.reader.buffer_position());
            let event = self.reader.read_event();
            let event = event.map_err(|fault| {
                self.error(position(self.reader.error_position()), format!("is not well-formed XML: {fault}"))
            })?;
            match event {
                Event::Start(tag) | Event::Empty(tag) => {
                    let (octets, name) = (tag.len(), tag.name().0.len());
                    return self.open(at, octets, name).map(|element| Some(Piece::Open(element)));
                }
                Event::End(_) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Some(Piece::Close));
                }
                Event::Text(text) if text.trim_ascii().is_empty() => {}
                Event::GeneralRef(name) if !is_known(&name) => return Err(self.unknown_entity(at)),
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                    return Err(self.error(at, "has text outside of all elements"));
                }
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => return Ok(Some(Piece::Text)),
                Event::DocType(_) => {
                    let what =
                        "has a DOCTYPE, which such a file has not and which could make it grow without bound";
                    return Err(error(self.text, self.file, at, what.into(), "Remove it"));
                }
                Event::Decl(declaration) => {
                    let encoding = declaration.encoding().and_then(Result::ok).unwrap_or("UTF-8".into());
                    if !["utf-8", "utf-16", "us-ascii"].contains(&encoding.to_ascii_lowercase().as_str()) {
                        let what = format!("says that it is in {:?}", short(&encoding));
                        return Err(error(self.text, self.file, at, what, "Save the file as UTF-8"));
                    }
                }
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof if self.depth > 0 => return Err(self.error(at, "ends within an element")),
                Event::Eof if self.elements == 0 => return Err(self.error(at, "has no element at all")),
                Event::Eof => return Ok(None),
            }
        }
    }

    fn open(&mut self, at: usize, octets: usize, name: usize) -> Result<Element<'t>, XmlError> {
        if self.depth == 0 && self.elements > 0 {
            return Err(self.error(at, "has a second outermost element"));
        }
        self.depth += 1;
        self.elements += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.error(at, format!("has more than {DEPTH_MAX} elements within one another")));
        }
        if self.elements > ELEMENTS_MAX {
            return Err(self.error(at, format!("has more than {ELEMENTS_MAX} elements")));
        }
        let tag = self.text.get(at + 1..at + 1 + octets).unwrap_or_default();
        let name_text = tag.get(..name).unwrap_or_default();
        self.name(at + 1, name_text)?;
        let mut attributes = Vec::new();
        // The reader would compare each name with all before it.
        for attribute in Attributes::new(tag, name).with_checks(false) {
            let attribute = attribute.map_err(|fault| self.bad_attribute(at + 1, &fault))?;
            if attributes.len() == ATTRIBUTES_MAX {
                return Err(
                    self.error(at, format!("has an element with more than {ATTRIBUTES_MAX} attributes"))
                );
            }
            let Cow::Borrowed(raw) = attribute.value else { continue };
            self.name(at + 1, attribute.key.0)?;
            self.raw(at, attribute.key.0, raw)?;
            attributes.push((attribute.key.0, raw));
        }
        let mut names: Vec<_> = attributes.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let twice = names.iter().zip(names.iter().skip(1)).find(|(one, next)| one == next);
        if let Some((name, _)) = twice {
            return Err(self.error(at, format!("has an element with {name:?} twice")));
        }
        Ok(Element { name: name_text, attributes, at })
    }

    fn name(&self, at: usize, name: &str) -> Result<(), XmlError> {
        let characters = name.chars().count();
        if characters > XML_NAME_MAX {
            let what = format!("has a name of {characters} characters, {XML_NAME_MAX} at most");
            return Err(self.error(at, what));
        }
        if is_name(name) {
            Ok(())
        } else {
            Err(self.error(at, format!("has {name:?} where a name should be")))
        }
    }

    fn raw(&self, at: usize, name: &str, raw: &str) -> Result<(), XmlError> {
        if raw.len() > ATTRIBUTE_OCTETS_MAX {
            let what = format!("has {} octets in {name}, {ATTRIBUTE_OCTETS_MAX} at most", raw.len());
            return Err(self.error(at, what));
        }
        if raw.contains('<') {
            return Err(self.error(at, format!("has a < in {name}; a quotation mark is missing there")));
        }
        if !raw.contains('&') {
            return Ok(());
        }
        match quick_xml::escape::unescape(raw) {
            Ok(text) if text.chars().all(is_character) => Ok(()),
            Ok(_) => {
                Err(self.error(at, format!("has a control character in {name}, which XML does not allow")))
            }
            Err(_) => Err(self.unknown_entity(at)),
        }
    }

    fn unknown_entity(&self, at: usize) -> XmlError {
        let what = "has an & that begins none of &amp; &lt; &gt; &quot; &apos; and no number of a character";
        error(self.text, self.file, at, what.into(), "Write &amp; for a plain &")
    }

    fn bad_attribute(&self, at: usize, fault: &AttrError) -> XmlError {
        let (within, what) = match *fault {
            AttrError::ExpectedEq(within) => (within, "has an attribute without ="),
            AttrError::ExpectedValue(within) => (within, "has an attribute without a value"),
            AttrError::UnquotedValue(within) => (within, "has a value that is not in quotation marks"),
            AttrError::ExpectedQuote(within, _) => (within, "has a value whose quotation mark is not closed"),
            AttrError::Duplicated(within, _) => (within, "has an attribute twice"),
        };
        self.error(at + within, what)
    }
}

/// Whether XML allows the character, be it as a reference.
pub(super) fn is_character(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{1_0000}'..)
}

/// Whether a text can be the name of an element; names with a colon are for namespaces.
pub(super) fn is_name(text: &str) -> bool {
    let first = |character: char| character.is_alphabetic() || character == '_';
    let further = |character: char| first(character) || character.is_numeric() || "-.:".contains(character);
    text.starts_with(first) && text.chars().all(further) && text.chars().count() <= XML_NAME_MAX
}

fn is_known(entity: &str) -> bool {
    quick_xml::escape::unescape(&format!("&{entity};")).is_ok()
}

fn position(octets: u64) -> usize {
    usize::try_from(octets).unwrap_or(usize::MAX)
}

/// The beginning of a text, for a line.
pub(super) fn short(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}
