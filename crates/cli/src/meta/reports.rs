//! What changes did, and what was found, as people read it.

use crate::queue::counted;
use crate::screen::Line;
use crate::when::{ahead, to_second};
use postroad_control::meta_answer::{
    BackupRow, ChangeReport, Difference, DifferenceKind, Finding, HistoryRow, ImportKind, ImportReport,
    PendingRow, Reach, RestoreReport,
};
use postroad_mail::time::Wall;

/// What a change did, or would do.
pub fn change(report: &ChangeReport, now: Wall) -> Vec<Line> {
    let mut lines: Vec<Line> = report.differences.iter().flat_map(difference).collect();
    lines.extend(report.notes.iter().map(|note| Line::plain(format!("Note: {note}"))));
    let differ = report.differences_count;
    let generation = report.generation;
    lines.push(Line::strong(match (report.applied, differ) {
        (_, 0) => format!("Nothing differs; generation {generation} holds."),
        (true, _) => {
            format!("The change is made, generation {generation}: {}.", counted(differ, "difference"))
        }
        (false, _) => format!(
            "It would make {}; nothing is changed, generation {generation} holds.",
            counted(differ, "difference")
        ),
    }));
    lines.extend(reach(report.reach, report.applied).map(Line::plain));
    if let Some(until) = report.confirm_until {
        let (at, span) = (to_second(until), ahead(until, now));
        lines.push(Line::bad(format!(
            "It undoes itself at {at} ({span}), unless `postroad meta confirm` keeps it."
        )));
    }
    lines
}

/// How far it reaches, where it reaches anything.
fn reach(reach: Reach, applied: bool) -> Option<String> {
    let verb = |does: &'static str, would: &'static str| if applied { does } else { would };
    let mut parts = Vec::new();
    if reach.keys > 0 {
        let see = verb(if reach.keys == 1 { "sees" } else { "see" }, "would see");
        parts.push(format!("{} {see} another value", counted(reach.keys, "key")));
    }
    if reach.sessions > 0 {
        let take = verb(if reach.sessions == 1 { "takes" } else { "take" }, "would take");
        parts.push(format!("{} {take} it at the next transaction", counted(reach.sessions, "open session")));
    }
    if reach.messages > 0 {
        let are = if reach.messages == 1 { "is" } else { "are" };
        parts.push(format!("{} {are} in the queue", counted(reach.messages, "message")));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

/// `- before` and `+ after`.
fn difference(difference: &Difference) -> Vec<Line> {
    let Difference { path, name, before, after, .. } = difference;
    let gone = || Line::plain(format!("- {path} {name}: {before}"));
    let come = || Line::plain(format!("+ {path} {name}: {after}"));
    match difference.kind {
        DifferenceKind::KeyCreated => vec![Line::plain(format!("+ {path}"))],
        DifferenceKind::KeyDeleted => vec![Line::plain(format!("- {path}"))],
        DifferenceKind::Added => vec![come()],
        DifferenceKind::Removed => vec![gone()],
        DifferenceKind::Changed => vec![gone(), come()],
    }
}

/// A change of the past.
pub fn history(row: &HistoryRow) -> Vec<Line> {
    let reason = if row.reason.is_empty() { String::new() } else { format!("  {}", row.reason) };
    let mut lines =
        vec![Line::strong(format!("{:>6}  {}  {}{reason}", row.generation, to_second(row.at), row.author))];
    let indented = |line: Line| Line { text: format!("        {}", line.text), ..line };
    lines.extend(row.differences.iter().flat_map(difference).map(indented));
    let more = row.differences_count.saturating_sub(row.differences.len() as u64);
    if more > 0 {
        let what = format!("and {more} more: `postroad meta log {}` shows them", row.generation);
        lines.push(indented(Line::plain(what)));
    }
    if let Some(until) = row.confirm_until {
        let what = format!("undoes itself at {} unless it is confirmed", to_second(until));
        lines.push(indented(Line::bad(what)));
    }
    if let (Some(at), Some(by)) = (row.confirmed_at, &row.confirmed_by) {
        lines.push(indented(Line::plain(format!("confirmed at {} by {by}", to_second(at)))));
    }
    lines
}

/// The change that waits to be confirmed, which newer ones may have pushed off the page.
pub fn pending(row: PendingRow) -> Line {
    let (generation, until) = (row.generation, to_second(row.until));
    Line::bad(format!(
        "Generation {generation} undoes itself at {until}, unless `postroad meta confirm` keeps it."
    ))
}

/// What an import takes.
pub fn import(report: &ImportReport, now: Wall) -> Vec<Line> {
    let mut lines = vec![Line::strong(report.file.clone())];
    for line in &report.lines {
        let (word, is_loss) = match line.kind {
            ImportKind::Taken => ("taken", false),
            ImportKind::Kept => ("kept", false),
            ImportKind::Lost => ("lost", true),
            ImportKind::Translated => ("translated", false),
            ImportKind::Left => ("left out", false),
            ImportKind::NotDecryptable => ("encrypted", true),
            ImportKind::Refused => ("refused", true),
        };
        let about = format!("{} {}", line.path, line.name);
        let text = format!("  {word:<10}  {}: {}", about.trim_end(), line.text);
        lines.push(if is_loss { Line::bad(text) } else { Line::plain(text) });
    }
    let ImportReport { taken, kept, left, refused, not_decryptable, change: made, .. } = report;
    lines.push(Line::plain(format!(
        "{taken} taken, {kept} kept without effect, {left} left out, {refused} refused, {not_decryptable} encrypted."
    )));
    if report.refusal.is_empty() || !made.differences.is_empty() {
        lines.extend(change(made, now));
    }
    if !report.refusal.is_empty() {
        lines.push(Line::bad(format!("--apply refuses this: {}", report.refusal)));
    } else if !made.applied && !made.differences.is_empty() {
        lines.push(Line::plain("With --apply it is taken."));
    }
    lines
}

/// Something that is wrong.
pub fn finding(finding: &Finding) -> Vec<Line> {
    let id = finding.id.map(|id| format!(" {} ({id})", finding.name)).unwrap_or_default();
    let text = format!("{}{id}: {}", finding.path, finding.description);
    let mut lines = vec![match (finding.error, finding.untested) {
        (true, _) => Line::bad(format!("error    {text}")),
        (false, true) => Line::plain(format!("unknown  {text}")),
        (false, false) => Line::plain(format!("warning  {text}")),
    }];
    if !finding.repair_text.is_empty() {
        // Without steps it is advice, which --repair does not follow.
        let word = if finding.repair.is_empty() { "to do" } else { "repair" };
        lines.push(Line::plain(format!("         {word}: {}", finding.repair_text)));
    }
    lines
}

/// How many findings there are.
pub fn findings(found: &[Finding]) -> Line {
    let count = |is: fn(&&Finding) -> bool| found.iter().filter(is).count() as u64;
    let (errors, untested) = (count(|one| one.error), count(|one| one.untested));
    let warnings = found.len() as u64 - errors - untested;
    let mut parts = Vec::new();
    if errors > 0 {
        parts.push(counted(errors, "error"));
    }
    if errors > 0 || warnings > 0 {
        parts.push(counted(warnings, "warning"));
    }
    if untested > 0 {
        parts.push(format!("{untested} could not be tested"));
    }
    match (errors, parts.is_empty()) {
        (0, true) => Line::plain("Nothing is wrong."),
        (0, false) => Line::plain(format!("{}.", parts.join(", "))),
        _ => Line::bad(format!("{}.", parts.join(", "))),
    }
}

/// What became of a backup, in a word such as `made`.
pub fn backup(row: &BackupRow, what: &str) -> Vec<Line> {
    let BackupRow { name, version, size, keys, records, generation, .. } = row;
    let password = if row.password { ", under a password" } else { "" };
    // One that cannot be read does not say what is in it.
    let holds = match row.at {
        Wall(0) => String::new(),
        _ => format!("{keys} keys, {records} records of generation {generation}, "),
    };
    let mut lines =
        vec![Line::strong(format!("Backup {name} version {version}{what}: {holds}{size} octets{password}."))];
    lines.extend(row.notes.iter().map(|note| Line::plain(format!("Note: {note}"))));
    if !row.fault.is_empty() {
        lines.push(Line::bad(row.fault.clone()));
    }
    lines
}

/// What a restore did, or would do.
pub fn restore(report: &RestoreReport, now: Wall) -> Vec<Line> {
    let mut lines = backup(&report.backup, "");
    lines.extend(report.steps.iter().map(|step| Line::plain(format!("  {step}"))));
    // Of one that was rolled back the steps tell all: nothing differs from before.
    if report.rolled_back.is_empty() {
        lines.extend(change(&report.change, now));
    }
    if let Some(safety) = &report.safety {
        let what =
            format!("What was there before is in the backup {} version {}.", safety.name, safety.version);
        lines.push(Line::plain(what));
    }
    if !report.rolled_back.is_empty() {
        lines.push(Line::bad(format!("It was rolled back: {}", report.rolled_back)));
    }
    lines
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::rows::tests::a_backup;
    use super::*;
    use crate::screen::texts;
    use postroad_control::meta::MetaStep;
    use postroad_control::meta_answer::ImportLine;

    const NOW: Wall = Wall(1_795_590_028_123);

    fn differs(kind: DifferenceKind, before: &str, after: &str) -> Difference {
        Difference {
            path: "/LM/SmtpSvc".into(),
            kind,
            id: Some(36_997),
            name: "SmtpUseTcpDns".into(),
            before: before.into(),
            after: after.into(),
        }
    }

    pub fn a_change(applied: bool, differences: usize) -> ChangeReport {
        ChangeReport {
            applied,
            generation: 12,
            differences: vec![differs(DifferenceKind::Changed, "0", "2"); differences],
            differences_count: differences as u64,
            notes: Vec::new(),
            reach: Reach::default(),
            confirm_until: None,
        }
    }

    #[test]
    fn changes() {
        let mut report = a_change(true, 1);
        report.differences.push(differs(DifferenceKind::KeyCreated, "", ""));
        report.differences_count += 1;
        report.notes.push("It is the original's value.".into());
        report.reach = Reach { keys: 14, sessions: 1, messages: 20 };
        report.confirm_until = Some(Wall(NOW.0 + 300_000));
        let expected = [
            "- /LM/SmtpSvc SmtpUseTcpDns: 0",
            "+ /LM/SmtpSvc SmtpUseTcpDns: 2",
            "+ /LM/SmtpSvc",
            "Note: It is the original's value.",
            "The change is made, generation 12: 2 differences.",
            "14 keys see another value; 1 open session takes it at the next transaction; 20 messages are in the queue.",
            "It undoes itself at 2026-11-25 07:05:28Z (in 5m), unless `postroad meta confirm` keeps it.",
        ];
        assert_eq!(texts(&change(&report, NOW)), expected);
        let expected = [
            "- /LM/SmtpSvc SmtpUseTcpDns: 0",
            "+ /LM/SmtpSvc SmtpUseTcpDns: 2",
            "It would make 1 difference; nothing is changed, generation 12 holds.",
        ];
        assert_eq!(texts(&change(&a_change(false, 1), NOW)), expected);
        assert_eq!(texts(&change(&a_change(false, 0), NOW)), ["Nothing differs; generation 12 holds."]);
    }

    #[test]
    fn the_past() {
        let row = HistoryRow {
            generation: 12,
            at: NOW,
            author: "amy (cli)".into(),
            reason: "KB 330070".into(),
            differences: vec![
                differs(DifferenceKind::Added, "", "2"),
                differs(DifferenceKind::Removed, "2", ""),
            ],
            differences_count: 5,
            confirm_until: Some(NOW),
            confirmed_at: None,
            confirmed_by: None,
        };
        let expected = [
            "    12  2026-11-25 07:00:28Z  amy (cli)  KB 330070",
            "        + /LM/SmtpSvc SmtpUseTcpDns: 2",
            "        - /LM/SmtpSvc SmtpUseTcpDns: 2",
            "        and 3 more: `postroad meta log 12` shows them",
            "        undoes itself at 2026-11-25 07:00:28Z unless it is confirmed",
        ];
        assert_eq!(texts(&history(&row)), expected);
        let kept = HistoryRow {
            differences_count: 0,
            differences: Vec::new(),
            confirm_until: None,
            confirmed_at: Some(NOW),
            confirmed_by: Some("bob (cli)".into()),
            ..row
        };
        let expected = [
            "    12  2026-11-25 07:00:28Z  amy (cli)  KB 330070",
            "        confirmed at 2026-11-25 07:00:28Z by bob (cli)",
        ];
        assert_eq!(texts(&history(&kept)), expected);
    }

    #[test]
    fn imports() {
        let line = |kind, name: &str, text: &str| ImportLine {
            kind,
            path: "/LM/SmtpSvc/1".into(),
            name: name.into(),
            text: text.into(),
        };
        let report = ImportReport {
            file: "MetaBase.xml".into(),
            lines: vec![
                line(ImportKind::Translated, "", "stood at /LM/SMTPSVC/1."),
                line(ImportKind::NotDecryptable, "RoutePassword", "enter it again."),
            ],
            taken: 9,
            kept: 2,
            left: 1,
            refused: 0,
            not_decryptable: 1,
            change: a_change(false, 1),
            refusal: String::new(),
        };
        let expected = [
            "MetaBase.xml",
            "  translated  /LM/SmtpSvc/1: stood at /LM/SMTPSVC/1.",
            "  encrypted   /LM/SmtpSvc/1 RoutePassword: enter it again.",
            "9 taken, 2 kept without effect, 1 left out, 0 refused, 1 encrypted.",
            "- /LM/SmtpSvc SmtpUseTcpDns: 0",
            "+ /LM/SmtpSvc SmtpUseTcpDns: 2",
            "It would make 1 difference; nothing is changed, generation 12 holds.",
            "With --apply it is taken.",
        ];
        assert_eq!(texts(&import(&report, NOW)), expected);
    }

    pub fn a_finding(error: bool, repairable: bool) -> Finding {
        Finding {
            error,
            untested: false,
            path: "/LM/SmtpSvc/1".into(),
            id: Some(36_906),
            name: "SmartHost".into(),
            description: "it names no host.".into(),
            repair: if repairable { vec![MetaStep::Create { path: "/LM".into() }] } else { Vec::new() },
            repair_text: "remove it.".into(),
        }
    }

    #[test]
    fn what_was_found() {
        let expected =
            ["error    /LM/SmtpSvc/1 SmartHost (36906): it names no host.", "         repair: remove it."];
        assert_eq!(texts(&finding(&a_finding(true, true))), expected);
        assert_eq!(texts(&finding(&a_finding(false, false))).last(), Some(&"         to do: remove it."));
        let warning = a_finding(false, false);
        let unknown = Finding { untested: true, ..warning.clone() };
        assert!(finding(&unknown)[0].text.starts_with("unknown  /LM/SmtpSvc/1"));
        assert_eq!(findings(&[]).text, "Nothing is wrong.");
        assert_eq!(findings(&[warning.clone(), warning]).text, "2 warnings.");
        assert_eq!(findings(&[a_finding(true, false)]).text, "1 error, 0 warnings.");
        assert_eq!(findings(&[unknown]).text, "1 could not be tested.");
    }

    #[test]
    fn a_restore() {
        let report = RestoreReport {
            backup: a_backup(""),
            safety: Some(a_backup("")),
            change: a_change(false, 0),
            steps: vec!["It was read back.".into()],
            rolled_back: "the service did not answer.".into(),
        };
        let expected = [
            "Backup nightly version 3: 9 keys, 31 records of generation 12, 20480 octets.",
            "  It was read back.",
            "What was there before is in the backup nightly version 3.",
            "It was rolled back: the service did not answer.",
        ];
        assert_eq!(texts(&restore(&report, NOW)), expected);
    }
}
