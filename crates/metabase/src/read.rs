//! From a TOML text to records: which key, which property, which value, and where it stands.

use crate::catalogue::CATALOGUE;
use crate::error::ConfigError;
use crate::forms::Bad;
use crate::key::{Key, KeyKind, NotAKey};
use crate::schema::{DataType, Property, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Errors reported of one text; more would not be read.
pub const ERRORS_MAX: usize = 20;
/// Octets of a text: some thousand domains with a policy each.
const TEXT_MAX: usize = 1024 * 1024;

/// One property of one key, as a text sets it.
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) property: &'static Property,
    pub(crate) value: Value,
    /// Of the value.
    place: Range<usize>,
    /// Of each item of a list.
    items: Vec<Range<usize>>,
}

/// Collects records and errors of one text.
pub(crate) struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Offsets, and what is wrong there.
    errors: Vec<(usize, Bad)>,
    /// Lines with a syntax error.
    broken: BTreeSet<usize>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, file: &'t str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, file, lines, errors: Vec::new(), broken: BTreeSet::new() }
    }

    /// The records, those that are inherited first. What is wrong is kept for `finish`.
    pub(crate) fn records(&mut self) -> Vec<Record> {
        if self.text.len() > TEXT_MAX {
            let what = format!("the text has {} octets", self.text.len());
            self.refuse(0, Bad::new(what, format!("Keep it to {TEXT_MAX}.")));
            return Vec::new();
        }
        let (root, syntax) = DeTable::parse_recoverable(self.text);
        for error in &syntax {
            let at = error.span().map_or(0, |span| span.start);
            // One mistake may upset the parser several times over the rest of its line.
            if self.broken.insert(self.line(at)) {
                let message = error.message().lines().next().unwrap_or_default();
                let remedy = "Tables are [\"/LM/SmtpSvc/1\"], values Name = value.";
                self.refuse(at, Bad::new(format!("syntax: {message}"), remedy));
            }
        }
        let mut records = Vec::new();
        for (name, value) in root.get_ref() {
            match value.get_ref() {
                _ if self.is_broken(&name.span(), &name.span()) => {}
                DeValue::Table(properties) => self.table(name, properties, &mut records),
                _ => self.refuse(
                    name.span().start,
                    Bad::new(
                        format!("{} stands outside of a key", quoted(name.get_ref())),
                        "Put it under [\"/LM/SmtpSvc/1\"].",
                    ),
                ),
            }
        }
        records.sort_by_key(|record| record.place.start);
        let mut records = self.refuse_twice(records);
        records.sort_by(|a, b| a.key.cmp(&b.key));
        records
    }

    /// Everything that was found wrong, in the text's order; `None` where nothing was.
    pub(crate) fn finish(mut self) -> Option<Vec<ConfigError>> {
        let mut errors = std::mem::take(&mut self.errors);
        errors.sort_by_key(|(at, _)| *at);
        errors.truncate(ERRORS_MAX);
        let located = errors.into_iter().map(|(at, bad)| {
            let (line, column) = self.position(at);
            ConfigError { file: self.file.into(), line, column, what: bad.what, remedy: bad.remedy }
        });
        Some(located.collect()).filter(|errors: &Vec<_>| !errors.is_empty())
    }

    /// Keeps what is wrong with a record's value.
    pub(crate) fn refuse_value(&mut self, record: &Record, bad: Bad) {
        let place = bad.item.and_then(|index| record.items.get(index)).unwrap_or(&record.place);
        let what = format!("{}: {}", record.property.name, bad.what);
        self.refuse(place.start, Bad { what, ..bad });
    }

    /// Whether a syntax error in these lines may have left half a name or value behind.
    fn is_broken(&self, name: &Range<usize>, value: &Range<usize>) -> bool {
        let lines = self.line(name.start)..=self.line(value.end.max(name.end));
        self.broken.range(lines).next().is_some()
    }

    /// Whether a value of the property was refused.
    pub(crate) fn refused(&self, name: &str) -> bool {
        self.errors
            .iter()
            .any(|(_, error)| error.what.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
    }

    fn refuse(&mut self, at: usize, bad: Bad) {
        self.errors.push((at, bad));
    }

    /// The line of an offset, from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Line and character of an offset, both from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }

    fn table(
        &mut self,
        name: &Spanned<toml::de::DeString<'_>>,
        table: &DeTable<'_>,
        records: &mut Vec<Record>,
    ) {
        let at = name.span().start;
        let key = match Key::parse(name.get_ref()) {
            Ok(key) => key,
            Err(why) => return self.refuse(at, bad_key(name.get_ref(), &why)),
        };
        for (name, value) in table {
            if self.is_broken(&name.span(), &value.span()) {
                continue;
            }
            let Some(property) = find(name.get_ref()) else {
                self.refuse(name.span().start, unknown_property(name.get_ref()));
                continue;
            };
            if !property.keys.contains(&key.kind()) {
                self.refuse(name.span().start, misplaced(property, &key));
                continue;
            }
            let items = match value.get_ref() {
                DeValue::Array(array) => array.iter().map(Spanned::span).collect(),
                _ => Vec::new(),
            };
            let mut record =
                Record { key: key.clone(), property, value: Value::Number(0), place: value.span(), items };
            match typed(property, value.get_ref()) {
                Ok(value) => {
                    record.value = value;
                    records.push(record);
                }
                Err(bad) => self.refuse_value(&record, bad),
            }
        }
    }

    /// Names may differ in case, so the TOML reader cannot see all that is set twice. Takes records in the text's order
    /// and leaves the first of each.
    fn refuse_twice(&mut self, records: Vec<Record>) -> Vec<Record> {
        let mut first_lines: BTreeMap<(Key, u32), usize> = BTreeMap::new();
        let mut kept = Vec::with_capacity(records.len());
        for record in records {
            let place = (record.key.clone(), record.property.id);
            if let Some(line) = first_lines.get(&place) {
                let what = format!("is set twice at {}, first in line {line}", record.key);
                self.refuse_value(&record, Bad::new(what, "Keep one of the two."));
            } else {
                first_lines.insert(place, self.line(record.place.start));
                kept.push(record);
            }
        }
        kept
    }
}

/// The property of a name in any case, or of an id.
pub(crate) fn find(name: &str) -> Option<&'static Property> {
    let id: Option<u32> = name.parse().ok();
    CATALOGUE.iter().find(|p| p.name.eq_ignore_ascii_case(name) || Some(p.id) == id)
}

fn typed(property: &Property, value: &DeValue<'_>) -> Result<Value, Bad> {
    let wrong = |what: &str| {
        Bad::new(format!("{} is not {what}", shown(value)), format!("Give {}.", property.expectation()))
    };
    match (property.data_type, value) {
        (DataType::Dword, DeValue::Integer(integer)) => {
            let digits: String = integer.as_str().chars().filter(|c| *c != '_').collect();
            let number = u32::from_str_radix(&digits, integer.radix());
            crate::check::number(property, number.map_err(|_| wrong("a number of 32 bits"))?)
        }
        (DataType::Dword, DeValue::String(name)) if !property.names.is_empty() => {
            let known = property.names.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
            known.map(|(number, _)| Value::Number(*number)).ok_or_else(|| wrong("known"))
        }
        (DataType::Dword, _) => Err(wrong("a number")),
        (DataType::Bool, DeValue::Boolean(yes)) => Ok(Value::Number(u32::from(*yes))),
        (DataType::Bool, DeValue::Integer(n)) if matches!(n.as_str(), "0" | "1") => {
            Ok(Value::Number(u32::from(n.as_str() == "1")))
        }
        (DataType::Bool, _) => Err(wrong("true or false")),
        (DataType::String, DeValue::String(text)) => Ok(Value::Text(text.clone().into_owned())),
        (DataType::String, _) => Err(wrong("a text")),
        (DataType::MultiSz | DataType::Binary, DeValue::Array(array)) => {
            let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| match item.get_ref() {
                DeValue::String(text) => Ok(text.clone().into_owned()),
                other => Err(Bad {
                    item: Some(index),
                    what: format!("{} is not a text", shown(other)),
                    remedy: format!("Give {}.", property.expectation()),
                }),
            };
            array.iter().enumerate().map(item).collect::<Result<_, _>>().map(Value::List)
        }
        (DataType::MultiSz | DataType::Binary, _) => Err(wrong("a list")),
    }
}

fn bad_key(path: &str, why: &NotAKey) -> Bad {
    let path = quoted(path);
    match why {
        NotAKey::OtherServer => Bad::new(
            format!("{path}: there is one virtual server, 1"),
            "Use /LM/SmtpSvc/1; for a second server start a second postroad with another --data folder.",
        ),
        NotAKey::NotADomain => Bad::new(
            format!("{path} does not end in a domain name"),
            "Give a name such as /LM/SmtpSvc/1/Domain/example.org.",
        ),
        NotAKey::Unknown => Bad::new(
            format!("{path} is not a key"),
            "Keys are /LM/SmtpSvc, /LM/SmtpSvc/1 and /LM/SmtpSvc/1/Domain/example.org.",
        ),
    }
}

fn unknown_property(name: &str) -> Bad {
    let remedy = crate::check::nearest(name).map_or_else(
        || "docs/settings.md lists all properties.".to_owned(),
        |known| format!("Did you mean {known}?"),
    );
    Bad::new(format!("{} is not a property", quoted(name)), remedy)
}

fn misplaced(property: &Property, key: &Key) -> Bad {
    let places: Vec<_> = property.keys.iter().copied().map(KeyKind::pattern).collect();
    Bad::new(
        format!("{}: has no effect at {key}", property.name),
        format!("Put it under {}.", places.join(" or ").replace("/n", "/1")),
    )
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(integer) => integer.to_string().chars().take(SHOWN_MAX).collect(),
        DeValue::Float(float) => float.to_string().chars().take(SHOWN_MAX).collect(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(_) => "a date".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// Characters of a value that an error repeats.
const SHOWN_MAX: usize = 80;

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_MAX).collect();
    format!("{short:?}")
}
