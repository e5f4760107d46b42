//! `queue`: what waits, and what an administrator does about it.

use crate::args::{Queue, Which};
use crate::ending::{DONE, NO, TRY_LATER, Trouble};
use crate::glue;
use crate::screen::{Line, Screen, fitted, shown};
use crate::when::{age, ahead, to_second};
use postroad_control::answer::{Done, QueueRow, RecipientState};
use postroad_control::{Item, Request};
use postroad_mail::id::MessageId;
use postroad_mail::time::{Wall, brief};
use std::path::Path;
use std::time::Duration;

/// Messages that are asked for at once. A page is held in memory: a message has a hundred recipients at most, unless
/// MaxRecipients was raised.
const PAGE: usize = 200;

/// Runs the verb.
pub fn run(data: &Path, verb: Queue, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    match verb {
        Queue::List { limit } => list(data, limit.unwrap_or(u64::MAX), now, screen),
        Queue::Show { id } => show(data, id, now, screen),
        Queue::Retry(which) => change(data, Change::Retry, which, screen),
        Queue::Delete(which) => change(data, Change::Delete, which, screen),
    }
}

fn list(data: &Path, limit: u64, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let mut after = None;
    let mut table = Table::new(screen.columns);
    let (mut messages, mut recipients) = (0u64, 0u64);
    while messages < limit {
        let page = usize::try_from(limit - messages).unwrap_or(PAGE).min(PAGE);
        let mut rows = Vec::new();
        let request = Request::QueueList { after, limit: page };
        glue::ask(data, &request, &mut |item| {
            rows.push(row(item)?);
            Ok(())
        })?;
        // The end is a page with nothing in it: how many messages make a page is the service's to say.
        let Some(last) = rows.last() else {
            break;
        };
        after = Some(last.id);
        messages += rows.chunk_by(|one, next| one.id == next.id).count() as u64;
        recipients += rows.len() as u64;
        if screen.json {
            rows.iter().try_for_each(|row| screen.object(row))?;
        } else {
            screen.lines(&table.page(&rows, now))?;
        }
    }
    if !screen.json {
        screen.line(&total(messages, recipients))?;
    }
    Ok(DONE)
}

fn row(item: Item) -> Result<QueueRow, Trouble> {
    match item {
        Item::Recipient(row) => Ok(*row),
        Item::Status(_) | Item::Done(_) | Item::Explanation(_) | Item::Event(_) | Item::Meta(_) => {
            Err(glue::stranger())
        }
    }
}

fn total(messages: u64, recipients: u64) -> Line {
    Line::plain(match messages {
        0 => "The queue is empty.".to_owned(),
        _ => format!("{} for {}.", counted(messages, "message"), counted(recipients, "recipient")),
    })
}

/// `1 message`, `2 messages`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The table of a listing. Columns only grow from page to page, so that a long listing stays in line.
struct Table {
    columns: Option<usize>,
    widths: [usize; 5],
    headed: bool,
}

const HEADS: [&str; 5] = ["ID", "AGE", "SENDER", "RECIPIENT", "NEXT TRY"];
/// The widest an address becomes on a terminal: two of them leave half of a common width for the rest.
const ADDRESS_WIDTH: usize = 32;
/// Between columns.
const GAP: &str = "  ";
/// The narrowest the last column becomes; lines that are too long for it are the terminal's to break.
const CAUSE_WIDTH_MIN: usize = 16;

impl Table {
    fn new(columns: Option<usize>) -> Self {
        Self { columns, widths: HEADS.map(str::len), headed: false }
    }

    fn page(&mut self, rows: &[QueueRow], now: Wall) -> Vec<Line> {
        let cells: Vec<[String; 5]> = rows.iter().map(|row| self.cells(row, now)).collect();
        for row in &cells {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut lines = Vec::new();
        if !std::mem::replace(&mut self.headed, true) {
            lines.push(Line::strong(self.joined(&HEADS.map(str::to_owned), "CAUSE")));
        }
        lines.extend(cells.iter().zip(rows).map(|(cells, row)| Line::plain(self.joined(cells, &row.cause))));
        lines
    }

    fn cells(&self, row: &QueueRow, now: Wall) -> [String; 5] {
        let address = |text: String| match self.columns {
            Some(_) => fitted(&text, ADDRESS_WIDTH),
            None => shown(&text).into_owned(),
        };
        let next = match (row.state, row.next_try) {
            (RecipientState::Active, _) => "under way".to_owned(),
            (RecipientState::Deferred, Some(next)) => ahead(next, now),
            (RecipientState::Deferred | RecipientState::Ready, _) => "now".to_owned(),
        };
        let age = match row.age_secs {
            0 => "0s".to_owned(),
            secs => brief(Duration::from_secs(secs)),
        };
        [row.id.to_string(), age, address(row.sender.to_string()), address(row.recipient.to_string()), next]
    }

    fn joined(&self, cells: &[String; 5], cause: &str) -> String {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
            text.push_str(&format!("{cell:<width$}{GAP}"));
        }
        let taken = text.chars().count();
        match self.columns {
            Some(columns) => {
                text.push_str(&fitted(cause, columns.saturating_sub(taken).max(CAUSE_WIDTH_MIN)))
            }
            None => text.push_str(cause),
        }
        text.trim_end().to_owned()
    }
}

fn show(data: &Path, id: MessageId, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let mut rows = Vec::new();
    glue::ask(data, &Request::QueueShow { id }, &mut |item| {
        rows.push(row(item)?);
        Ok(())
    })?;
    if screen.json {
        rows.iter().try_for_each(|row| screen.object(row))?;
    } else {
        screen.lines(&details(&rows, now))?;
    }
    Ok(if rows.is_empty() { NO } else { DONE })
}

fn details(rows: &[QueueRow], now: Wall) -> Vec<Line> {
    let Some(first) = rows.first() else {
        return Vec::new();
    };
    let mut lines = vec![
        Line::strong(format!("Message {}", first.id)),
        Line::plain(format!("  accepted  {}, {} ago", to_second(first.accepted), age(first.accepted, now))),
        Line::plain(format!("  sender    {}", first.sender)),
        Line::plain(format!("  size      {} octets", first.size)),
    ];
    for row in rows {
        let state = match (row.state, row.next_try) {
            (RecipientState::Active, _) => "is being tried".to_owned(),
            (RecipientState::Deferred, Some(next)) => {
                format!("waits; next try {} ({})", ahead(next, now), to_second(next))
            }
            (RecipientState::Ready | RecipientState::Deferred, _) => {
                "is tried as soon as a connection is free".to_owned()
            }
        };
        lines.push(Line::strong(format!("Recipient {}", row.recipient)));
        lines.push(Line::plain(format!("  state     {state}")));
        lines.push(Line::plain(format!("  next hop  {}", row.hop)));
        if row.attempts > 0 {
            lines.push(Line::plain(format!("  deferred  {}", counted(row.attempts.into(), "time"))));
        }
        if !row.cause.is_empty() {
            lines.push(Line::bad(format!("  cause     {}", row.cause)));
        }
    }
    lines
}

/// What is done to messages.
#[derive(Clone, Copy)]
enum Change {
    Retry,
    Delete,
}

fn change(data: &Path, change: Change, which: Which, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let which =
        if which.all { postroad_control::Which::All } else { postroad_control::Which::Ids(which.ids) };
    let request = match change {
        Change::Retry => Request::QueueRetry { which },
        Change::Delete => Request::QueueDelete { which },
    };
    let done = glue::ask_one(data, &request, glue::done)?;
    if screen.json {
        screen.object(&done)?;
    } else {
        screen.lines(&changed(change, &done))?;
    }
    Ok(match (done.missing.is_empty(), done.busy.is_empty()) {
        (false, _) => NO,
        (true, false) => TRY_LATER,
        (true, true) => DONE,
    })
}

fn changed(change: Change, done: &Done) -> Vec<Line> {
    let did = match change {
        Change::Retry => "Due at once",
        Change::Delete => "Deleted",
    };
    let mut lines = vec![Line::plain(format!("{did}: {}.", counted(done.done, "message")))];
    lines.extend(done.missing.iter().map(|id| Line::bad(format!("{id} is not in the queue."))));
    lines.extend(
        done.busy
            .iter()
            .map(|id| Line::bad(format!("{id} is being delivered at this moment and was left alone."))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::texts;

    const NOW: Wall = Wall(1_795_590_300_000);

    fn row(recipient: &str, state: RecipientState, cause: &str) -> QueueRow {
        let accepted = Wall(1_795_590_028_123);
        QueueRow {
            id: MessageId::first_at(accepted),
            accepted,
            age_secs: 271,
            sender: "scanner@office.example".parse().unwrap(),
            recipient: recipient.parse().unwrap(),
            size: 2048,
            hop: "mx:big.example".parse().unwrap(),
            state,
            cause: cause.into(),
            attempts: 0,
            next_try: (state == RecipientState::Deferred).then_some(Wall(1_795_590_390_000)),
        }
    }

    #[test]
    fn the_table() {
        let rows = [
            row("a@big.example", RecipientState::Deferred, "DNS: 192.0.2.53 over TCP: connection refused"),
            row("\"b c\"@big.example", RecipientState::Active, ""),
        ];
        let check = |columns: Option<usize>, expected: [&str; 3]| {
            assert_eq!(texts(&Table::new(columns).page(&rows, NOW)), expected);
        };
        check(
            None,
            [
                "ID             AGE     SENDER                  RECIPIENT          NEXT TRY   CAUSE",
                "1M88R2YTV0000  4m 31s  scanner@office.example  a@big.example      in 1m 30s  DNS: 192.0.2.53 over TCP: connection refused",
                "1M88R2YTV0000  4m 31s  scanner@office.example  \"b c\"@big.example  under way",
            ],
        );
        check(
            Some(110),
            [
                "ID             AGE     SENDER                  RECIPIENT          NEXT TRY   CAUSE",
                "1M88R2YTV0000  4m 31s  scanner@office.example  a@big.example      in 1m 30s  DNS: 192.0.2.53 over TCP: conn...",
                "1M88R2YTV0000  4m 31s  scanner@office.example  \"b c\"@big.example  under way",
            ],
        );
    }

    #[test]
    fn a_table_goes_on_in_line() {
        let mut table = Table::new(None);
        table.page(&[row("long@recipient.example", RecipientState::Ready, "")], NOW);
        let next = table.page(&[row("a@b.example", RecipientState::Ready, "")], NOW);
        assert_eq!(
            texts(&next),
            ["1M88R2YTV0000  4m 31s  scanner@office.example  a@b.example             now"]
        );
    }

    #[test]
    fn the_details() {
        let mut deferred = row("a@big.example", RecipientState::Deferred, "450 4.2.0 \x1b[2J busy");
        deferred.attempts = 2;
        let expected = [
            "Message 1M88R2YTV0000",
            "  accepted  2026-11-25 07:00:28Z, 4m 31s ago",
            "  sender    scanner@office.example",
            "  size      2048 octets",
            "Recipient a@big.example",
            "  state     waits; next try in 1m 30s (2026-11-25 07:06:30Z)",
            "  next hop  mx:big.example",
            "  deferred  2 times",
            "  cause     450 4.2.0 \x1b[2J busy",
            "Recipient b@big.example",
            "  state     is tried as soon as a connection is free",
            "  next hop  mx:big.example",
        ];
        let rows = [deferred, row("b@big.example", RecipientState::Ready, "")];
        assert_eq!(texts(&details(&rows, NOW)), expected);
    }

    #[test]
    fn what_was_done() {
        let id = MessageId::first_at(Wall(1_795_590_028_123));
        let done = Done { done: 1, missing: vec![id], busy: vec![id] };
        let expected = [
            "Deleted: 1 message.",
            "1M88R2YTV0000 is not in the queue.",
            "1M88R2YTV0000 is being delivered at this moment and was left alone.",
        ];
        assert_eq!(texts(&changed(Change::Delete, &done)), expected);
        assert_eq!(texts(&changed(Change::Retry, &Done::default())), ["Due at once: 0 messages."]);
    }

    #[test]
    fn totals() {
        assert_eq!(total(0, 0).text, "The queue is empty.");
        assert_eq!(total(1, 2).text, "1 message for 2 recipients.");
    }
}
