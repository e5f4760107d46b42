//! Where answers are written. Everything for people passes `Screen::line`, which lets no control character through.

use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

/// A line for people, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it looks.
    pub tone: Tone,
    /// What it says; other people's words may be in it as they came.
    pub text: String,
}

/// How a line looks, where colour is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Bold: headings and verdicts.
    Strong,
    /// Red: what someone must see to.
    Bad,
}

impl Line {
    /// A line of plain text.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { tone: Tone::Plain, text: text.into() }
    }

    /// A heading or a verdict.
    pub fn strong(text: impl Into<String>) -> Self {
        Self { tone: Tone::Strong, text: text.into() }
    }

    /// What someone must see to.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, text: text.into() }
    }
}

/// What lines say, without their tones.
#[cfg(test)]
pub fn texts(lines: &[Line]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

/// Standard output, or what a test reads.
pub struct Screen<'a> {
    out: Box<dyn Write + 'a>,
    /// Whether programs read it: JSON, an object a line.
    pub json: bool,
    /// Whether lines may have a colour.
    pub color: bool,
    /// Its columns; none where it is no terminal, so that programs and files get everything.
    pub columns: Option<usize>,
}

impl<'a> Screen<'a> {
    /// The process's standard output.
    pub fn standard(json: bool) -> Screen<'static> {
        let out = io::stdout();
        let terminal = out.is_terminal();
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen {
            out: Box::new(io::BufWriter::new(out.lock())),
            json,
            color: terminal && !refused,
            columns: terminal.then(columns),
        }
    }

    /// No terminal: `out` gets everything, without colour.
    #[cfg(test)]
    pub fn to(out: impl Write + 'a, json: bool) -> Self {
        Self { out: Box::new(out), json, color: false, columns: None }
    }

    /// Writes a line for people.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        let text = shown(&line.text);
        match (self.color, line.tone) {
            (true, Tone::Strong) => writeln!(self.out, "\x1b[1m{text}\x1b[0m"),
            (true, Tone::Bad) => writeln!(self.out, "\x1b[31m{text}\x1b[0m"),
            _ => writeln!(self.out, "{text}"),
        }
    }

    /// Writes lines for people.
    pub fn lines<'l>(&mut self, lines: impl IntoIterator<Item = &'l Line>) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// Writes a text as it is; on a terminal, what would do something there is escaped, all but tabs and the ends of lines.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        if self.columns.is_none() {
            return self.out.write_all(text.as_bytes());
        }
        for part in text.split_inclusive(['\n', '\t']) {
            let (part, end) = match part.strip_suffix(['\n', '\t']) {
                Some(rest) => (rest, part.get(rest.len()..).unwrap_or_default()),
                None => (part, ""),
            };
            // A line of a file that was made for Windows ends with both.
            let part = part.strip_suffix('\r').filter(|_| end == "\n").unwrap_or(part);
            write!(self.out, "{}{end}", shown(part))?;
        }
        Ok(())
    }

    /// Writes an object for programs, on a line of its own.
    pub fn object(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        // JSON lets most control characters stand. They can only be inside strings, where an escape means the same.
        for c in text.chars() {
            if is_hostile(c) {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    write!(self.out, "\\u{unit:04x}")?;
                }
            } else {
                write!(self.out, "{c}")?;
            }
        }
        writeln!(self.out)
    }

    /// Hands over what is still held.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The text with every character escaped that would move a cursor, change a colour, end a line or turn the direction of writing.
/// What was escaped already stays as it is.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hostile(c) { clean.extend(c.escape_default()) } else { clean.push(c) }
    }
    Cow::Owned(clean)
}

/// The text as it is shown, cut to `width` columns, the last three of them dots where something is missing. Addresses, names and
/// replies are ASCII, so a character is a column.
pub fn fitted(text: &str, width: usize) -> String {
    const DOTS: &str = "...";
    let text = shown(text);
    if text.chars().count() <= width {
        return text.into_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(DOTS.len())).collect();
    kept.trim_end().to_owned() + DOTS
}

fn is_hostile(c: char) -> bool {
    let breaks_line = matches!(c, '\u{2028}' | '\u{2029}');
    let turns_writing =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || breaks_line || turns_writing
}

/// The terminal's columns: as COLUMNS says, else as stty does. Asking the system directly takes an unsafe call.
fn columns() -> usize {
    const USUAL: usize = 80;
    let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let measured = || {
        let terminal = std::fs::File::open("/dev/tty").ok()?;
        let stty = Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(stty.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    };
    named.or_else(measured).filter(|columns| *columns >= 20).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_passes() {
        let check = |text: &str, expected: &str| {
            assert_eq!(shown(text), expected);
            assert_eq!(shown(expected), expected, "what is clean stays as it is");
            let mut out = Vec::new();
            Screen::to(&mut out, false).line(&Line::bad(text)).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
        };
        check("550 no", "550 no");
        check("\u{1b}[2J\x07", "\\u{1b}[2J\\u{7}");
        check("a\r\nb\tc", "a\\r\\nb\\tc");
        check("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}");
        check("a\u{202e}gpj.exe\u{2028}", "a\\u{202e}gpj.exe\\u{2028}");
        check("b\u{fc}cher", "b\u{fc}cher");
    }

    #[test]
    fn texts_are_clean_on_a_terminal_only() {
        let check = |columns: Option<usize>, text: &str, expected: &str| {
            let mut out = Vec::new();
            let mut screen = Screen::to(&mut out, false);
            screen.columns = columns;
            screen.text(text).unwrap();
            drop(screen);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        let text = "\ta\x1b[2J\r\n\rb\tc";
        check(None, text, text);
        check(Some(80), text, "\ta\\u{1b}[2J\n\\rb\tc");
    }

    #[test]
    fn json_stays_json_and_clean() {
        let text = "a\u{1b}\u{9b}\u{7f}\u{202e}\u{2028}\n\"\u{fc}";
        let mut out = Vec::new();
        Screen::to(&mut out, true).object(&text).unwrap();
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            "\"a\\u001b\\u009b\\u007f\\u202e\\u2028\\n\\\"\u{fc}\"\n"
        );
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn tones() {
        let check = |line: Line, expected: &str| {
            let mut out = Vec::new();
            let mut screen = Screen::to(&mut out, false);
            screen.color = true;
            screen.line(&line).unwrap();
            drop(screen);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        };
        check(Line::plain("a"), "a\n");
        check(Line::strong("a"), "\x1b[1ma\x1b[0m\n");
        check(Line::bad("a\x1b"), "\x1b[31ma\\u{1b}\x1b[0m\n");
    }

    #[test]
    fn texts_are_cut() {
        let check = |text: &str, width: usize, expected: &str| assert_eq!(fitted(text, width), expected);
        check("abcdef", 6, "abcdef");
        check("abcdefg", 6, "abc...");
        check("ab cdefg", 6, "ab...");
        check("\x1b", 5, "\\u...");
        check("abc", 0, "...");
    }
}
