//! Answers in words.

use crate::backups::DELETED;
use crate::pending::{Shown, Waits};
use crate::record_pane;
use crate::state::State;
use postroad_control::meta::{MetaRequest, MetaStep};
use postroad_control::meta_answer::{
    BackupRow, ChangeReport, Difference, DifferenceKind, Finding, HistoryRow, PropertyRow, RestoreReport,
};
use postroad_mail::time::Wall;

/// What is waited for, where a question may take longer than a blink.
pub(crate) fn waiting(request: &MetaRequest) -> Option<&'static str> {
    Some(match request {
        MetaRequest::Find { .. } => "Looking for it...",
        MetaRequest::Change { how, .. } | MetaRequest::Rollback { how, .. } if how.dry_run => {
            "Asking what it would do..."
        }
        MetaRequest::Change { .. } | MetaRequest::Rollback { .. } => "Committing...",
        MetaRequest::Check { online: true, .. } => {
            "Checking, and looking up the hosts; that may take a minute..."
        }
        MetaRequest::Check { .. } => "Checking...",
        MetaRequest::Log { limit, .. } if *limit > 1 => "Reading the log...",
        MetaRequest::Backup { .. } => "Making the backup and reading it back...",
        MetaRequest::Backups => "Reading the backups...",
        MetaRequest::Verify { .. } => "Reading the backup...",
        MetaRequest::Restore { how, .. } if how.dry_run => "Verifying the backup and comparing...",
        MetaRequest::Restore { .. } => {
            "Restoring, and waiting for each binding to greet; up to 20 seconds..."
        }
        MetaRequest::DeleteBackup { .. } => "Deleting the backup...",
        MetaRequest::Undo { .. } => "Undoing it...",
        // Answered at once, or not asked here.
        _ => return None,
    })
}

/// A time to the minute.
pub(crate) fn minute(at: Wall) -> String {
    let civil = at.civil();
    format!("{:04}-{:02}-{:02} {:02}:{:02}Z", civil.year, civil.month, civil.day, civil.hour, civil.minute)
}

/// What the schema says of a property, in some sentences.
pub(crate) fn property(property: &PropertyRow) -> String {
    let mut text = property.doc.clone();
    // What may be given mostly says what it is.
    if !property.unit.is_empty() && !property.expectation.contains(&property.unit) {
        text.push_str(&format!(" Unit: {}.", property.unit));
    }
    if !property.expectation.is_empty() {
        text.push_str(&format!(" Give {}.", property.expectation.trim_end_matches('.')));
    }
    if !property.absent.is_empty() {
        text.push_str(&format!(" Without a record: {}.", property.absent));
    }
    text.push(' ');
    text.push_str(record_pane::mark_words(property.mark));
    text
}

/// The chosen record in words.
pub(crate) fn record(shown: &Shown, state: &State) -> Vec<String> {
    let row = &shown.row;
    let mut first = format!("{} {} = {}", row.id, row.name, record_pane::value(shown));
    if shown.waits == Waits::Set {
        first.push_str("  * not committed");
    }
    let mut from = match (&row.pinned, row.inherited) {
        (Some(place), _) => format!("Pinned by {place}: change it there. "),
        (None, true) => format!("Inherited from {}. ", row.from),
        (None, false) => String::new(),
    };
    from.push_str(&format!("{}. ", row.attribute_names));
    let known = state.property(row.id);
    let words = known.map_or_else(|| record_pane::mark_words(row.mark).into(), property);
    vec![first, format!("{from}{words}")]
}

/// A step in words.
pub(crate) fn step(step: &MetaStep) -> String {
    match step {
        MetaStep::Create { path } => format!("make {path}"),
        MetaStep::Delete { path } => format!("delete {path}"),
        MetaStep::Set { path, property, .. } => format!("set {property} at {path}"),
        MetaStep::Unset { path, property } => format!("delete {property} at {path}"),
    }
}

/// A difference in a line.
pub(crate) fn difference(difference: &Difference) -> String {
    let Difference { path, kind, id, name, before, after } = difference;
    let record = id.map_or_else(|| name.clone(), |id| format!("{id} {name}"));
    match kind {
        DifferenceKind::KeyCreated => format!("+ {path} (key)"),
        DifferenceKind::KeyDeleted => format!("- {path} (key)"),
        DifferenceKind::Added => format!("+ {path} {record} = {after}"),
        DifferenceKind::Changed => format!("~ {path} {record}: {before} -> {after}"),
        DifferenceKind::Removed => format!("- {path} {record} = {before}"),
    }
}

/// What a change would do.
pub(crate) fn change(report: &ChangeReport) -> Vec<String> {
    let mut lines: Vec<String> = report.differences.iter().map(difference).collect();
    if lines.is_empty() {
        lines.push("Nothing differs.".into());
    }
    lines.extend(report.notes.iter().map(|note| format!("Note: {note}")));
    let reach = report.reach;
    let counts = [
        (reach.keys, "key(s)"),
        (reach.sessions, "open session(s)"),
        (reach.messages, "message(s) in the queue"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
    if !counts.is_empty() {
        lines.push(format!("Reach: {}.", counts.join(", ")));
    }
    lines
}

/// What a change did.
pub(crate) fn committed(report: &ChangeReport, restore: Option<&RestoreReport>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(restore) = restore {
        lines.extend(restore.steps.clone());
        if let Some(safety) = &restore.safety {
            lines.push(format!("What was there before is in the backup {} {}.", safety.name, safety.version));
        }
        if !restore.rolled_back.is_empty() {
            lines.push(format!("It was rolled back: {}", restore.rolled_back));
        }
    }
    if report.applied {
        lines.push(format!("The metabase is at generation {}.", report.generation));
    }
    if let Some(until) = report.confirm_until {
        lines.push(format!("It undoes itself at {} unless K confirms it.", minute(until)));
    }
    lines.extend(change(report));
    lines
}

/// A past change with its differences.
pub(crate) fn history(row: &HistoryRow) -> Vec<String> {
    let mut lines = vec![format!("{} by {}", minute(row.at), row.author)];
    if !row.reason.is_empty() {
        lines.push(format!("Reason: {}", row.reason));
    }
    if let Some(until) = row.confirm_until {
        lines.push(format!("It undoes itself at {} unless it is confirmed.", minute(until)));
    }
    if let (Some(at), Some(by)) = (row.confirmed_at, &row.confirmed_by) {
        lines.push(format!("Confirmed at {} by {by}.", minute(at)));
    }
    lines.extend(row.differences.iter().map(difference));
    let more = row.differences_count.saturating_sub(row.differences.len() as u64);
    if more > 0 {
        lines.push(format!("... and {more} more."));
    }
    lines
}

/// How a backup is. `is_verified`: it was read back in this session.
pub(crate) fn backup_state(row: &BackupRow, is_verified: bool) -> String {
    let password = if row.password && row.fault.is_empty() { "password, " } else { "" };
    let state = match (row.fault.is_empty(), is_verified || row.verified) {
        // The list names the file already.
        (false, _) => format!("FAULT: {}", without_path(&row.fault)),
        (true, true) => "verified".into(),
        (true, false) => "checksum right".into(),
    };
    format!("{password}{state}")
}

/// A text without the path that it begins with.
fn without_path(text: &str) -> &str {
    match text.split_once(' ') {
        Some((path, rest)) if path.starts_with('/') => rest,
        _ => text,
    }
}

/// A backup, and what was done with it, if anything was.
pub(crate) fn backup(row: &BackupRow, done: &str, is_verified: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !done.is_empty() {
        lines.push(format!("The backup {} {} is {done}.", row.name, row.version));
    }
    if done == DELETED {
        return lines;
    }
    if !row.fault.is_empty() {
        lines.push(format!("It is not whole: {}.", row.fault.trim_end_matches('.')));
        return lines;
    }
    lines.push(format!(
        "{} key(s), {} record(s), generation {}, {} octets, made {}; {}.",
        row.keys,
        row.records,
        row.generation,
        row.size,
        minute(row.at),
        backup_state(row, is_verified)
    ));
    lines
}

/// Something that is wrong, in full.
pub(crate) fn finding(finding: &Finding) -> Vec<String> {
    let kind = if finding.error { "Error" } else { "Warning" };
    let id = finding.id.map(|id| format!(" {id} {}", finding.name)).unwrap_or_default();
    let mut lines = vec![format!("{kind} at {}{id}:", finding.path), finding.description.clone()];
    if finding.repair.is_empty() {
        lines.push("There is no repair that fits all: it is for you to decide.".into());
    } else {
        lines.push(format!("Repair: {}", finding.repair_text));
        lines.extend(finding.repair.iter().map(|repair| format!("  {}", step(repair))));
    }
    lines
}
