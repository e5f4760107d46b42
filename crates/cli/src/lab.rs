//! `lab`: cases played in one process, told as a story while they happen.

use crate::args::Lab;
use crate::ending::{DONE, NO, TRY_LATER, Trouble, USAGE};
use crate::screen::{Line, Screen};
use postroad_lab::scenario::{self, ScenarioError};
use serde::Serialize;
use std::io::{self, Write};

/// Runs the verb.
pub fn run(lab: Lab, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let Some(name) = lab.name else {
        return list(screen);
    };
    let says = |status: u8, error: ScenarioError| Err(Trouble::Says(status, error.to_string()));
    match scenario::run(&name, &mut Teller { screen, line: Vec::new() }) {
        Ok(()) => Ok(DONE),
        Err(ScenarioError::Write(error)) => Err(Trouble::Output(error)),
        Err(error @ ScenarioError::Unknown(_)) => says(USAGE, error),
        Err(error @ ScenarioError::Broken(_)) => says(NO, error),
        Err(error @ ScenarioError::Stage(_)) => says(TRY_LATER, error),
    }
}

/// A scenario, for programs.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
}

fn list(screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let width = scenario::list().iter().map(|scenario| scenario.name.len()).max().unwrap_or(0);
    for scenario in scenario::list() {
        let (name, about) = (scenario.name, scenario.about);
        if screen.json {
            screen.object(&Listed { name, about })?;
        } else {
            screen.line(&Line::plain(format!("{name:<width$}  {about}")))?;
        }
    }
    Ok(DONE)
}

/// A line of a story, for programs.
#[derive(Serialize)]
struct Told<'a> {
    text: &'a str,
}

/// Shows each line of a story as soon as it is whole.
struct Teller<'a, 's> {
    screen: &'a mut Screen<'s>,
    line: Vec<u8>,
}

impl Write for Teller<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1);
        self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        if let Some(line) = self.line.strip_suffix(b"\n") {
            let text = String::from_utf8_lossy(line);
            if self.screen.json {
                self.screen.object(&Told { text: &text })?;
            } else {
                self.screen.line(&Line::plain(text.clone()))?;
            }
            self.line.clear();
            self.screen.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.screen.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stories_are_told_line_by_line() {
        let check = |json: bool, expected: &str| {
            let mut out = Vec::new();
            let mut screen = Screen::to(&mut out, json);
            let mut teller = Teller { screen: &mut screen, line: Vec::new() };
            write!(teller, "a {}\x1b", 1).unwrap();
            write!(teller, "b\nc\n").unwrap();
            drop(screen);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(false, "a 1\\u{1b}b\nc\n");
        check(true, "{\"text\":\"a 1\\u001bb\"}\n{\"text\":\"c\"}\n");
    }

    #[test]
    fn an_unknown_scenario() {
        let mut out = Vec::new();
        let lab = Lab { name: Some("no-such".into()), list: false };
        let Err(Trouble::Says(status, what)) = run(lab, &mut Screen::to(&mut out, false)) else {
            panic!("it must be refused")
        };
        assert_eq!(status, USAGE);
        assert!(what.contains("lab --list"), "{what}");
    }
}
