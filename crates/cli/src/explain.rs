//! `explain`: the story of a message, an address or a domain.

use crate::ending::{DONE, Trouble};
use crate::glue;
use crate::screen::{Line, Screen};
use postroad_control::Request;
use postroad_control::answer::{Explanation, Step};
use postroad_mail::time::Wall;
use std::path::Path;

/// Runs the verb.
pub fn run(data: &Path, subject: String, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let explanation = glue::ask_one(data, &Request::Explain { subject }, glue::explanation)?;
    if screen.json {
        screen.object(&explanation)?;
    } else {
        screen.lines(&lines(&explanation))?;
    }
    Ok(DONE)
}

fn lines(explanation: &Explanation) -> Vec<Line> {
    let steps = &explanation.steps;
    let mut lines = vec![Line::strong(explanation.subject.clone())];
    if steps.is_empty() {
        lines.push(Line::plain("Nothing was tried."));
    }
    let one_hop = steps.windows(2).all(|pair| matches!(pair, [one, next] if one.hop == next.hop));
    for step in steps {
        let mut text = step.text.iter();
        let first = text.next().map_or("", String::as_str);
        lines.push(Line::plain(format!(
            "{}  {first}{}",
            clock(step.at),
            about(step, &explanation.subject, one_hop)
        )));
        lines.extend(text.map(|detail| Line::plain(format!("{INDENT}{detail}"))));
    }
    if !explanation.standing.is_empty() {
        lines.push(Line::plain(""));
    }
    lines.extend(explanation.standing.iter().map(|sentence| Line::strong(sentence.clone())));
    lines
}

/// Details stand below what their step says.
const INDENT: &str = "                            ";

/// What a step is about, where the subject leaves that open.
fn about(step: &Step, subject: &str, one_hop: bool) -> String {
    let id = step.id.map(|id| id.to_string()).filter(|id| !id.eq_ignore_ascii_case(subject));
    let hop = (!one_hop).then(|| step.hop.to_string());
    let parts: Vec<String> = id.into_iter().chain(hop).collect();
    if parts.is_empty() { String::new() } else { format!("  [{}]", parts.join(", ")) }
}

/// `2026-11-25 07:00:28.123Z`: steps follow each other within milliseconds.
fn clock(at: Wall) -> String {
    at.to_string().replacen('T', " ", 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::texts;
    use postroad_mail::id::MessageId;

    const AT: Wall = Wall(1_795_590_028_123);

    fn step(id: bool, hop: &str, text: &[&str]) -> Step {
        let id = id.then(|| MessageId::first_at(AT));
        Step {
            at: AT,
            id,
            hop: hop.parse().unwrap(),
            text: text.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    fn check(subject: &str, steps: Vec<Step>, standing: &[&str], expected: &[&str]) {
        let standing = standing.iter().map(|text| (*text).to_owned()).collect();
        let explanation = Explanation { subject: subject.into(), steps, standing };
        assert_eq!(texts(&lines(&explanation)), expected);
    }

    #[test]
    fn of_a_message() {
        check(
            "1M88R2YTV0000",
            vec![
                step(
                    false,
                    "mx:big.example",
                    &["waits for DNS", "UDP 192.0.2.53:53 MX big.example: truncated"],
                ),
                step(true, "mx:big.example", &["delivered"]),
            ],
            &["It is delivered."],
            &[
                "1M88R2YTV0000",
                "2026-11-25 07:00:28.123Z  waits for DNS",
                "                            UDP 192.0.2.53:53 MX big.example: truncated",
                "2026-11-25 07:00:28.123Z  delivered",
                "",
                "It is delivered.",
            ],
        );
    }

    #[test]
    fn of_several_messages_and_hops() {
        check(
            "a@big.example",
            vec![step(true, "mx:big.example", &["deferred"]), step(true, "drop:", &["delivered"])],
            &[],
            &[
                "a@big.example",
                "2026-11-25 07:00:28.123Z  deferred  [1M88R2YTV0000, mx:big.example]",
                "2026-11-25 07:00:28.123Z  delivered  [1M88R2YTV0000, drop:]",
            ],
        );
    }

    #[test]
    fn of_nothing() {
        check(
            "big.example",
            Vec::new(),
            &["Nothing waits."],
            &["big.example", "Nothing was tried.", "", "Nothing waits."],
        );
    }
}
