//! The text form of a dialog.

use std::time::Duration;

/// A dialog: settings, then steps. Each step is one thing that happens to the machine and what it must do about it.
pub struct Script {
    pub role: Role,
    /// Cutting a write would change what comes of it, as the dialog is about what arrives together.
    pub whole: bool,
    /// `= name value`.
    pub settings: Vec<(String, String)>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Server,
    Client,
}

pub struct Step {
    /// Line of the file, for messages.
    pub line: usize,
    pub input: Input,
    /// What the machine writes.
    pub wire: String,
    /// What it asks and tells: the `?` and `!` lines.
    pub events: Vec<String>,
    /// For each event, the answer that is written below it.
    pub answers: Vec<Option<String>>,
}

pub enum Input {
    Start,
    /// The peer writes, in one go.
    Write(Vec<u8>),
    /// `> word rest`.
    Told(String),
}

impl Script {
    pub fn parse(name: &str, text: &str) -> Self {
        let role = if name.starts_with("client-") { Role::Client } else { Role::Server };
        let (ours, theirs) = if role == Role::Server { ('S', 'C') } else { ('C', 'S') };
        let start =
            Step { line: 1, input: Input::Start, wire: String::new(), events: vec![], answers: vec![] };
        let mut script = Self { role, whole: false, settings: vec![], steps: vec![start] };
        // A peer's lines that stand together are one write.
        let mut writing = false;
        for (at, line) in text.lines().enumerate() {
            let (mark, rest) = line.split_at(line.len().min(2));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let Some(first) = mark.chars().next().filter(|first| *first != '#') else {
                continue;
            };
            let is_peer = first.to_ascii_uppercase() == theirs;
            let step = script.steps.last_mut().unwrap();
            match first {
                '=' if line == "= whole" => script.whole = true,
                '=' => {
                    let (name, value) = line[1..].trim().split_once(' ').unwrap_or((line[1..].trim(), ""));
                    script.settings.push((name.to_owned(), value.to_owned()));
                }
                '?' | '!' => {
                    step.events.push(line.to_owned());
                    step.answers.push(None);
                }
                '<' => *step.answers.last_mut().unwrap() = Some(line[1..].trim().to_owned()),
                _ if first == ours => step.wire += &format!("{rest}\r\n"),
                _ if first.to_ascii_uppercase() == ours => step.wire += rest,
                _ if is_peer || first == '>' => {
                    let mut bytes = unescape(rest);
                    if first == theirs {
                        bytes.extend_from_slice(b"\r\n");
                    }
                    let input =
                        if is_peer { Input::Write(bytes) } else { Input::Told(line[1..].trim().to_owned()) };
                    match (&mut step.input, input) {
                        (Input::Write(before), Input::Write(bytes)) if writing => before.extend(bytes),
                        (_, input) => script.steps.push(Step {
                            line: at + 1,
                            input,
                            wire: String::new(),
                            events: vec![],
                            answers: vec![],
                        }),
                    }
                }
                _ => panic!("{name}:{}: not understood: {line}", at + 1),
            }
            writing = is_peer;
        }
        script
    }

    pub fn longest_write(&self) -> usize {
        let length = |step: &Step| if let Input::Write(bytes) = &step.input { bytes.len() } else { 0 };
        self.steps.iter().map(length).max().unwrap_or(0)
    }
}

/// What the machine did in one step.
#[derive(Default)]
pub struct Deeds {
    pub wire: Vec<u8>,
    pub events: Vec<String>,
}

impl Deeds {
    pub fn write(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
    }

    /// Adds an event. Pieces of content are one event.
    pub fn tell(&mut self, event: String) {
        match (self.events.last_mut(), event.strip_prefix(CONTENT)) {
            (Some(last), Some(more)) if last.starts_with(CONTENT) => last.push_str(more),
            _ => self.events.push(event),
        }
    }

    pub fn difference(&self, step: &Step) -> Option<String> {
        let wire = self.wire.escape_ascii().to_string().replace("\\r\\n", "\r\n").replace("\\'", "'");
        if wire == step.wire && self.events == step.events {
            return None;
        }
        let told = |events: &[String]| events.join("\n");
        Some(format!(
            "at line {}\n--- written\n{}{}\n--- happened\n{wire}{}\n",
            step.line,
            step.wire,
            told(&step.events),
            told(&self.events)
        ))
    }
}

pub const CONTENT: &str = "! content ";

/// `\r`, `\n`, `\t`, `\0`, `\\`, `\xFF`; and `{text*80}` for a repetition.
pub fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut taken = first.len_utf8();
        if first == '{' && rest.contains('*') && rest.contains('}') {
            taken = rest.find('}').unwrap() + 1;
            let (piece, count) = rest[1..taken - 1].rsplit_once('*').unwrap();
            bytes.extend(unescape(piece).repeat(count.parse().unwrap()));
        } else if first == '\\' {
            taken = 2;
            match rest.as_bytes()[1] {
                b'r' => bytes.push(b'\r'),
                b'n' => bytes.push(b'\n'),
                b't' => bytes.push(b'\t'),
                b'0' => bytes.push(0),
                b'x' => {
                    bytes.push(u8::from_str_radix(&rest[2..4], 16).unwrap());
                    taken = 4;
                }
                other => bytes.push(other),
            }
        } else {
            bytes.extend_from_slice(&rest.as_bytes()[..taken]);
        }
        rest = &rest[taken..];
    }
    bytes
}

/// `90s` or `5m`.
pub fn span(text: &str) -> Duration {
    let (count, unit) = text.split_at(text.len() - 1);
    let count: u64 = count.parse().unwrap();
    Duration::from_secs(if unit == "m" { 60 * count } else { count })
}

/// `550 5.7.1 Unable to relay`.
pub fn reply(text: &str) -> postroad_mail::reply::Reply {
    let (code, text) = text.split_once(' ').unwrap_or((text, ""));
    let (word, behind) = text.split_once(' ').unwrap_or((text, ""));
    let status = word.parse().ok();
    let text = if status.is_some() { behind } else { text };
    postroad_mail::reply::Reply::new(code.parse().unwrap(), status, text)
}
