//! An event: a fact with its number, its words and its time.

use crate::catalogue::{CATALOGUE, Entry, Severity};
use crate::fact::Fact;
use postroad_mail::time::{Wall, brief};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One event, as it is kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub number: u32,
    /// Who says so.
    pub source: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub category: String,
    /// Its fields, control characters escaped.
    pub fields: BTreeMap<String, String>,
    /// What happened, in a sentence or two.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// When it was last so.
    pub at: Wall,
    /// How many times it was stated since it was last reported.
    pub count: u64,
    /// Of a repeat: when it was last reported. Of an all-clear: when the state began.
    pub since: Option<Wall>,
}

/// Characters of one field: causes quote what peers say, which may be long.
const FIELD_MAX: usize = 1000;

impl Event {
    /// The event of a fact stated at `at` for the first time.
    #[must_use]
    pub fn new(fact: &Fact, at: Wall) -> Self {
        let entry = entry_of(fact);
        let values = fact.values();
        let fields: BTreeMap<String, String> = entry
            .fields
            .iter()
            .zip(&values)
            .map(|(name, value)| ((*name).to_owned(), escaped(value)))
            .collect();
        Self {
            number: entry.number,
            source: entry.source.into(),
            severity: fact.severity().unwrap_or(entry.severity),
            category: entry.category.into(),
            text: filled(entry.sentence, &fields),
            remedy: entry.remedy.into(),
            fields,
            at,
            count: 1,
            since: None,
        }
    }

    /// For people: one line, and the remedy indented below where there is something to do.
    #[must_use]
    pub fn human(&self) -> String {
        let mut line = format!(
            "{} {:<11} {:>5} {:<13} {}",
            to_second(self.at),
            self.severity,
            self.number,
            self.category,
            self.text
        );
        if let Some(since) = self.since {
            let _ = match self.is_all_clear() {
                true => write!(line, " It had been so for {}.", brief(self.at - since)),
                false if self.count < 2 => write!(line, " (told first at {})", to_second(since)),
                false => write!(line, " ({} times since {})", self.count, to_second(since)),
            };
        }
        if self.severity > Severity::Information {
            let _ = write!(line, "\n    {}", self.remedy);
        }
        line
    }

    /// For programs: an object with times as RFC 3339 has them, and the event's place in the log where it has one.
    #[must_use]
    pub fn json(&self, sequence: Option<u64>) -> serde_json::Value {
        serde_json::json!({
            "sequence": sequence,
            "at": self.at.to_string(),
            "number": self.number,
            "source": self.source,
            "severity": self.severity,
            "category": self.category,
            "text": self.text,
            "remedy": self.remedy,
            "fields": self.fields,
            "count": self.count,
            "since": self.since.map(|since| since.to_string()),
        })
    }

    fn is_all_clear(&self) -> bool {
        crate::catalogue::entry(self.number).is_some_and(|e| e.kind == crate::catalogue::Kind::AllClear)
    }
}

/// A fact's entry: there is one for each, as a test shows.
pub(crate) fn entry_of(fact: &Fact) -> &'static Entry {
    let number = fact.number();
    let found = CATALOGUE.iter().find(|entry| entry.number == number);
    debug_assert!(found.is_some(), "event {number} is not in the catalogue");
    found.unwrap_or(&CATALOGUE[0])
}

fn filled(sentence: &str, fields: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut rest = sentence;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
        text.push_str(before);
        text.push_str(fields.get(name).map_or("?", String::as_str));
        // A cause may be a sentence already.
        rest = if text.ends_with('.') { after.strip_prefix('.').unwrap_or(after) } else { after };
    }
    text + rest
}

/// Peers' words go to terminals: no control character passes, nor one that turns the direction of writing.
fn escaped(text: &str) -> String {
    let mut clean = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == FIELD_MAX {
            clean.push_str("...");
            break;
        }
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// `2026-11-25 07:00:28Z`.
fn to_second(at: Wall) -> String {
    let c = at.civil();
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}
