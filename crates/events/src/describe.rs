//! docs/events.md, made from the catalogue.

use crate::catalogue::{ALL_CLEAR, CATALOGUE, Entry, Kind, Severity};
use std::fmt::Write;

/// The text of docs/events.md.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(HEAD);
    for entry in CATALOGUE {
        section(&mut text, entry);
    }
    text
}

fn section(text: &mut String, entry: &Entry) {
    let severity = if entry.number == 2012 {
        "Warning; Error once mail waits".into()
    } else {
        entry.severity.to_string()
    };
    let repeats = match entry.kind {
        Kind::Notice => "each time".into(),
        Kind::Repeating => "at once, then hourly with a count".into(),
        Kind::State => format!("at once, then hourly with a count, until {}", entry.number + ALL_CLEAR),
        Kind::AllClear => format!("once, when {} ends", entry.number - ALL_CLEAR),
    };
    let fields: Vec<_> = entry.fields.iter().map(|field| format!("`{field}`")).collect();
    let fields = if fields.is_empty() { "none".into() } else { fields.join(", ") };
    let _ = write!(
        text,
        "\n## {}\n\n> {}\n\n{severity}, {}, source {}. Fields: {fields}. Reported {repeats}.\n",
        entry.number, entry.sentence, entry.category, entry.source,
    );
    if entry.severity > Severity::Information {
        let _ = write!(text, "\n{}\n", entry.remedy);
    }
}

const HEAD: &str = "\
# Events

This page is generated from the catalogue in `crates/events`; a test keeps the two equal.

An event is a numbered fact for the administrator. `postroad events list` shows them, `postroad events tail` follows them, both
with `--json` for programs; they are kept in `events.db` in the data folder, the newest 100,000.

Numbers below 20000 are those of the original SMTP service, and the all-clears of those; ours start at 20000. The all-clear of an
event has its number plus 10000. An event that goes on is reported at once, then every hour with the number of times it occurred;
after its all-clear the next one counts as the first.
";
