//! `events`: the numbered facts that the service has for its administrator.

use crate::args::Events;
use crate::ending::{DONE, Trouble};
use crate::glue;
use crate::queue::counted;
use crate::screen::{Line, Screen};
use crate::when::to_second;
use postroad_control::answer::EventRow;
use postroad_control::{Item, Request};
use std::path::Path;

/// Runs the verb.
pub fn run(data: &Path, verb: Events, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let Events::List { limit, number } = verb;
    let mut none = true;
    glue::ask(data, &Request::Events { limit, number }, &mut |item| {
        let Item::Event(event) = item else {
            return Err(glue::stranger());
        };
        none = false;
        if screen.json { Ok(screen.object(&event)?) } else { Ok(screen.lines(&lines(&event))?) }
    })?;
    if none && !screen.json {
        screen.line(&Line::plain("There are no events."))?;
    }
    Ok(DONE)
}

/// The severities, as the catalogue of events names them.
const INFORMATION: &str = "Information";
const ERROR: &str = "Error";

fn lines(event: &EventRow) -> Vec<Line> {
    let at = to_second(event.at);
    let mut text =
        format!("{at}  {:<11}  {:>5}  {:<13}  {}", event.severity, event.number, event.category, event.text);
    if event.count > 1 {
        text.push_str(&format!(" ({})", counted(event.count, "time")));
    }
    let mut lines = vec![if event.severity == ERROR { Line::bad(text) } else { Line::plain(text) }];
    if event.severity != INFORMATION {
        lines.push(Line::plain(format!("    {}", event.remedy)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::texts;
    use postroad_mail::time::Wall;

    #[test]
    fn events() {
        let check = |number: u32, severity: &str, count: u64, expected: &[&str]| {
            let event = EventRow {
                number,
                severity: severity.into(),
                category: "DNS".into(),
                at: Wall(1_795_590_028_123),
                text: "It happened.".into(),
                remedy: "Do this.".into(),
                fields: std::collections::BTreeMap::new(),
                count,
            };
            assert_eq!(texts(&lines(&event)), expected);
        };
        let cleared = "2026-11-25 07:00:28Z  Information  12012  DNS            It happened.";
        check(12_012, "Information", 1, &[cleared]);
        let repeated = "2026-11-25 07:00:28Z  Error         2012  DNS            It happened. (7 times)";
        check(2012, "Error", 7, &[repeated, "    Do this."]);
    }
}
