//! Keys, records, values and backups as people read them.

use super::reports;
use crate::queue::counted;
use crate::screen::{Line, fitted, shown};
use crate::when::to_second;
use postroad_control::attributes;
use postroad_control::meta_answer::{BackupRow, KeyRow, Mark, PropertyRow, RecordRow, ValueRow};
use postroad_mail::time::Wall;

/// Between columns.
const GAP: &str = "  ";
/// The narrowest a column with values becomes on a terminal.
const DATA_WIDTH_MIN: usize = 16;
/// What stands for a value that is not shown.
const SECRET: &str = "(secret)";

/// A key in a tree.
pub fn key(row: &KeyRow) -> Line {
    // The first is shown by its whole path, so that what is below it reads as `PATH/NAME`.
    let name = match row.depth {
        0 => row.path.as_str(),
        _ => row.path.rsplit('/').next().unwrap_or(&row.path),
    };
    let records = match row.records {
        0 => String::new(),
        1 => "  (1 property)".to_owned(),
        some => format!("  ({some} properties)"),
    };
    Line::plain(format!("{:indent$}{name}{records}", "", indent = row.depth * 2))
}

/// The records of one key as a table, below the key's path.
pub fn records(path: &str, rows: &[RecordRow], columns: Option<usize>) -> Vec<Line> {
    let mut lines = vec![Line::strong(format!("[{path}]"))];
    let cells: Vec<Vec<String>> = rows.iter().map(record).collect();
    let table =
        Table { heads: &["ID", "NAME", "ATTR", "UT", "TYPE", "DATA", "FROM", "MARK"], flexible: Some(5) };
    lines.extend(table.lines(&cells, columns));
    lines
}

fn record(row: &RecordRow) -> Vec<String> {
    let mut data = value_in_line(row);
    if !row.meaning.is_empty() && !row.secret {
        data.push_str(&format!(" ({})", row.meaning));
    }
    let elsewhere = row.inherited || row.pinned.is_some();
    vec![
        row.id.to_string(),
        row.name.clone(),
        attributes::letters(row.attributes),
        row.user_type.to_string(),
        row.data_type.clone(),
        data,
        if elsewhere { row.from.clone() } else { String::new() },
        mark_word(row.mark).to_owned(),
    ]
}

/// A value on one line.
fn value_in_line(row: &RecordRow) -> String {
    if row.secret { SECRET.to_owned() } else { row.value.join(", ") }
}

/// A mark in a table, where there is something to remark.
fn mark_word(mark: Mark) -> &'static str {
    match mark {
        Mark::InForce => "",
        Mark::Elsewhere => "elsewhere",
        Mark::Kept => "kept",
        Mark::Refused => "refused",
        Mark::Unknown => "unknown",
    }
}

fn mark_sentence(mark: Mark) -> &'static str {
    match mark {
        Mark::InForce => "in force",
        Mark::Elsewhere => "none: it takes effect at other keys, not at the one that has it",
        Mark::Kept => "none: it is kept, and no mail is taken or sent by it",
        Mark::Refused => "none: it would promise what this service does not do",
        Mark::Unknown => "none: the property is not known, and is kept as it is",
    }
}

/// One value at a key, and with `why` what is known of the property.
pub fn value(row: &ValueRow, asked: &str, why: bool) -> Vec<Line> {
    let mut lines = match &row.record {
        Some(record) => held(record),
        None => {
            let name = row
                .property
                .as_ref()
                .map_or(asked.to_owned(), |known| format!("{} ({})", known.name, known.id));
            let default = if row.default.is_empty() { "nothing" } else { &row.default };
            vec![Line::strong(format!("{name} : is not set; the default holds: {default}"))]
        }
    };
    if !why {
        return lines;
    }
    if let Some(known) = &row.property {
        lines.extend(property(known));
    }
    if row.record.is_some() && !row.default.is_empty() {
        lines.push(fact("default", &row.default));
    }
    if !row.history.is_empty() {
        lines.push(Line::strong("Changes of it"));
        lines.extend(row.history.iter().flat_map(reports::history));
    }
    lines
}

fn held(record: &RecordRow) -> Vec<Line> {
    let head = format!("{} ({}) : ({})", record.name, record.id, record.data_type);
    // Of a secret it says no more than what stands for its value.
    let is_bare = record.meaning.is_empty() || record.secret;
    let meaning = if is_bare { String::new() } else { format!("  {}", record.meaning) };
    let mut lines = Vec::new();
    if record.is_list && !record.secret {
        lines.push(Line::strong(format!("{head} {}{meaning}", counted(record.value.len() as u64, "item"))));
        lines.extend(record.value.iter().map(|item| Line::plain(format!("    {item}"))));
    } else {
        lines.push(Line::strong(format!("{head} {}{meaning}", value_in_line(record))));
    }
    let from = match (&record.pinned, record.inherited) {
        (Some(pin), _) => format!("{pin}, which pins it"),
        (None, true) => format!("{}, inherited", record.from),
        (None, false) => record.from.clone(),
    };
    lines.push(fact("from", &from));
    lines.push(fact("attributes", &record.attribute_names));
    lines.push(fact("user type", &record.user_type.to_string()));
    lines.push(fact("effect", mark_sentence(record.mark)));
    lines
}

fn fact(name: &str, what: &str) -> Line {
    Line::plain(format!("  {name:<10}  {what}"))
}

fn property(known: &PropertyRow) -> Vec<Line> {
    let numbered = |rows: &[(u32, String)]| {
        rows.iter().map(|(number, name)| format!("{number} {name}")).collect::<Vec<_>>().join(", ")
    };
    let mut facts = vec![("purpose", known.doc.clone()), ("takes", known.expectation.clone())];
    facts.push(("unit", known.unit.clone()));
    facts.push(("values", numbered(&known.names)));
    facts.push(("bits", numbered(&known.bits)));
    if let Some((least, most)) = known.bounds {
        facts.push(("bounds", format!("{least} to {most}")));
    }
    facts.push(("fresh", known.fresh.clone()));
    facts.push(("stands at", known.keys.join(", ")));
    facts.iter().filter(|(_, what)| !what.is_empty()).map(|(name, what)| fact(name, what)).collect()
}

/// Backups as a table.
pub fn backups(rows: &[BackupRow], columns: Option<usize>) -> Vec<Line> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            // One that cannot be read does not say when it was made.
            let said = |text: String| if row.at == Wall(0) { String::new() } else { text };
            let remark: Vec<&str> = row.notes.iter().chain([&row.fault]).map(String::as_str).collect();
            vec![
                row.name.clone(),
                row.version.to_string(),
                said(to_second(row.at)),
                row.size.to_string(),
                said(row.keys.to_string()),
                said(row.records.to_string()),
                said(row.generation.to_string()),
                String::from(if row.password { "yes" } else { "" }),
                remark.join(" ").trim_end().to_owned(),
            ]
        })
        .collect();
    let heads = ["NAME", "VERSION", "MADE", "OCTETS", "KEYS", "RECORDS", "GENERATION", "PASSWORD", "REMARK"];
    Table { heads: &heads, flexible: None }.lines(&cells, columns)
}

/// A table. Columns in which every cell is empty are left out.
struct Table<'t> {
    heads: &'t [&'static str],
    /// The column that is cut to fit a terminal.
    flexible: Option<usize>,
}

impl Table<'_> {
    fn lines(&self, rows: &[Vec<String>], columns: Option<usize>) -> Vec<Line> {
        let longest =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
        // None: nobody has anything to say in that column.
        let mut widths: Vec<Option<usize>> = self
            .heads
            .iter()
            .enumerate()
            .map(|(column, head)| {
                longest(column).filter(|longest| *longest > 0).map(|longest| longest.max(head.len()))
            })
            .collect();
        if let (Some(columns), Some(flexible)) = (columns, self.flexible) {
            let others: usize = widths
                .iter()
                .enumerate()
                .filter(|(column, _)| *column != flexible)
                .filter_map(|(_, width)| width.map(|width| width + GAP.len()))
                .sum();
            if let Some(Some(width)) = widths.get_mut(flexible) {
                *width = (*width).min(columns.saturating_sub(others).max(DATA_WIDTH_MIN));
            }
        }
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let head = std::iter::once(Line::strong(joined(&heads, &widths)));
        head.filter(|_| !rows.is_empty())
            .chain(rows.iter().map(|row| Line::plain(joined(row, &widths))))
            .collect()
    }
}

fn width(cell: &str) -> usize {
    shown(cell).chars().count()
}

fn joined(cells: &[String], widths: &[Option<usize>]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        if let Some(width) = *width {
            text.push_str(&format!("{:<width$}{GAP}", fitted(cell, width)));
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::screen::texts;
    use postroad_control::attributes::{ATTRIBUTES, INHERIT, IS_INHERITED, SECURE};
    use postroad_mail::time::Wall;
    use postroad_metabase::record::ATTRIBUTE_NAMES;

    pub fn a_record(id: u32, name: &str, data_type: &str, value: &[&str]) -> RecordRow {
        RecordRow {
            path: "/LM/SmtpSvc/1".into(),
            from: "/LM/SmtpSvc/1".into(),
            inherited: false,
            id,
            name: name.into(),
            attributes: INHERIT,
            attribute_names: "INHERIT".into(),
            user_type: 1,
            data_type: data_type.into(),
            value: value.iter().map(|item| (*item).to_owned()).collect(),
            is_list: value.len() != 1,
            meaning: String::new(),
            secret: false,
            mark: Mark::InForce,
            pinned: None,
        }
    }

    fn inherited() -> RecordRow {
        let mut row = a_record(36_997, "SmtpUseTcpDns", "DWORD", &["2"]);
        row.meaning = "udp-only".into();
        row.inherited = true;
        row.attributes |= IS_INHERITED;
        row.attribute_names = "INHERIT | ISINHERITED".into();
        row.from = "/LM/SmtpSvc".into();
        row
    }

    /// A record is named in the same way by whoever stores it and by whoever shows it.
    #[test]
    fn letters_stand_for_what_can_be_stored_and_for_what_is_inherited() {
        let shown = ATTRIBUTES.into_iter().filter(|(bit, _, _)| *bit != IS_INHERITED);
        let names: Vec<(u32, &str)> = shown.map(|(bit, name, _)| (bit, name)).collect();
        assert_eq!(names, ATTRIBUTE_NAMES);
    }

    #[test]
    fn a_tree() {
        let check = |path: &str, depth: usize, records: usize, expected: &str| {
            assert_eq!(key(&KeyRow { path: path.into(), depth, records, children: 0 }).text, expected);
        };
        check("/", 0, 0, "/");
        check("/LM/SmtpSvc", 0, 3, "/LM/SmtpSvc  (3 properties)");
        check("/LM/SmtpSvc/1/Domain", 2, 1, "    Domain  (1 property)");
    }

    #[test]
    fn a_table_of_records() {
        let host = a_record(36_906, "SmartHost", "STRING", &["relay.office.example"]);
        let plain = records(
            "/LM/SmtpSvc/1",
            &[host.clone(), a_record(36_907, "RelayIpList", "BINARY", &["127.0.0.0/8", "::1/128"])],
            None,
        );
        let expected = [
            "[/LM/SmtpSvc/1]",
            "ID     NAME         ATTR  UT  TYPE    DATA",
            "36906  SmartHost    I     1   STRING  relay.office.example",
            "36907  RelayIpList  I     1   BINARY  127.0.0.0/8, ::1/128",
        ];
        assert_eq!(texts(&plain), expected);
        let mut secret = a_record(36_911, "RoutePassword", "STRING", &[]);
        secret.secret = true;
        secret.attributes = SECURE;
        secret.meaning = "a secret, which is not shown".into();
        let mut kept = host;
        kept.mark = Mark::Kept;
        kept.value = vec!["a very long \x1b value that does not fit".into()];
        let mixed = records("/LM/SmtpSvc/1", &[inherited(), secret, kept], Some(80));
        let expected = [
            "[/LM/SmtpSvc/1]",
            "ID     NAME           ATTR  UT  TYPE    DATA                   FROM         MARK",
            "36997  SmtpUseTcpDns  Ii    1   DWORD   2 (udp-only)           /LM/SmtpSvc",
            "36911  RoutePassword  S     1   STRING  (secret)",
            "36906  SmartHost      I     1   STRING  a very long \\u{1b}...               kept",
        ];
        assert_eq!(texts(&mixed), expected);
    }

    #[test]
    fn a_value() {
        let row = |record: Option<RecordRow>| ValueRow {
            record,
            property: None,
            default: "4294967295 (adaptive)".into(),
            history: Vec::new(),
        };
        let expected = [
            "SmtpUseTcpDns (36997) : (DWORD) 2  udp-only",
            "  from        /LM/SmtpSvc, inherited",
            "  attributes  INHERIT | ISINHERITED",
            "  user type   1",
            "  effect      in force",
        ];
        assert_eq!(texts(&value(&row(Some(inherited())), "36997", false)), expected);
        assert_eq!(
            texts(&value(&row(None), "smtpusetcpdns", false)),
            ["smtpusetcpdns : is not set; the default holds: 4294967295 (adaptive)"]
        );
        let mut list = a_record(36_907, "RelayIpList", "BINARY", &["127.0.0.0/8", "::1/128"]);
        list.pinned = Some("/etc/postroad.toml:3".into());
        let shown = value(&row(Some(list)), "36907", false);
        assert_eq!(
            texts(&shown).get(..4).unwrap(),
            [
                "RelayIpList (36907) : (BINARY) 2 items",
                "    127.0.0.0/8",
                "    ::1/128",
                "  from        /etc/postroad.toml:3, which pins it",
            ]
        );
    }

    #[test]
    fn why_a_value() {
        let known = PropertyRow {
            name: "SmtpUseTcpDns".into(),
            id: 36_997,
            data_type: "DWORD".into(),
            user_type: 1,
            attributes: INHERIT,
            unit: String::new(),
            doc: "How DNS is asked.".into(),
            expectation: "one of 0, 1, 2".into(),
            fresh: String::new(),
            absent: "4294967295".into(),
            bounds: None,
            names: vec![(0, "udp-then-tcp".into()), (2, "udp-only".into())],
            bits: Vec::new(),
            is_list: false,
            keys: vec!["/LM/SmtpSvc".into()],
            mark: Mark::InForce,
        };
        let row =
            ValueRow { record: None, property: Some(known), default: "adaptive".into(), history: Vec::new() };
        let expected = [
            "SmtpUseTcpDns (36997) : is not set; the default holds: adaptive",
            "  purpose     How DNS is asked.",
            "  takes       one of 0, 1, 2",
            "  values      0 udp-then-tcp, 2 udp-only",
            "  stands at   /LM/SmtpSvc",
        ];
        assert_eq!(texts(&value(&row, "36997", true)), expected);
    }

    pub fn a_backup(fault: &str) -> BackupRow {
        BackupRow {
            name: "nightly".into(),
            version: 3,
            at: Wall(1_795_590_028_123),
            size: 20_480,
            keys: 9,
            records: 31,
            generation: 12,
            password: false,
            verified: fault.is_empty(),
            notes: Vec::new(),
            fault: fault.into(),
        }
    }

    #[test]
    fn a_table_of_backups() {
        assert_eq!(texts(&backups(&[], None)), Vec::<&str>::new());
        let expected = [
            "NAME     VERSION  MADE                  OCTETS  KEYS  RECORDS  GENERATION",
            "nightly  3        2026-11-25 07:00:28Z  20480   9     31       12",
        ];
        assert_eq!(texts(&backups(&[a_backup("")], Some(80))), expected);
        let mut cut = a_backup("nightly.pb3 is cut off.");
        cut.at = Wall(0);
        let expected =
            ["NAME     VERSION  OCTETS  REMARK", "nightly  3        20480   nightly.pb3 is cut off."];
        assert_eq!(texts(&backups(&[cut], Some(80))), expected);
    }
}
