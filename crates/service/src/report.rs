//! What the administrator hears: a line for each recipient accepted, delivered, deferred or returned, and the events. On
//! stderr; events also in their log.

use crate::clock::Clock;
use crate::stderr::Stderr;
use postroad_engine::delivery::{Fate, Flow};
use postroad_events::event::Event;
use postroad_events::fact::Fact;
use postroad_events::repeats::{Input, Repeats};
use postroad_mail::envelope::Recipient;
use postroad_mail::hop::NextHop;
use postroad_mail::time::Wall;
use postroad_spool::record::Message;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
    /// Nothing: events are in their log alone.
    Silent,
}

/// Octets of lines held back at most before they are written.
const HELD_MAX: usize = 64 * 1024;

/// The way to the administrator.
pub(crate) struct Report {
    clock: Clock,
    form: LogForm,
    stderr: Stderr,
    held: RefCell<Vec<u8>>,
    /// Lines that stderr did not take, and nobody was told of.
    missing: Cell<usize>,
    flushing: Cell<bool>,
    /// A second and its text: most lines are of the second of the line before.
    second_now: RefCell<(i64, String)>,
    repeats: RefCell<Repeats>,
    /// Events for the event log.
    pub(crate) events: RefCell<Vec<Event>>,
}

impl Report {
    /// # Errors
    /// A thread that does not start.
    pub(crate) fn new(clock: Clock, form: LogForm) -> std::io::Result<Self> {
        Ok(Self {
            clock,
            form,
            stderr: Stderr::start()?,
            missing: Cell::new(0),
            held: RefCell::default(),
            flushing: Cell::new(false),
            second_now: RefCell::default(),
            repeats: RefCell::new(Repeats::new()),
            events: RefCell::default(),
        })
    }

    /// States a fact: an event follows unless it is known already.
    pub(crate) fn state(self: &Rc<Self>, fact: Fact) {
        self.repeats.borrow_mut().handle(self.clock.now(), Input::Stated(fact));
        self.drain();
    }

    /// When repeats are to be told.
    pub(crate) fn deadline(&self) -> Option<postroad_mail::time::Mono> {
        self.repeats.borrow().deadline()
    }

    pub(crate) fn tick(self: &Rc<Self>) {
        self.repeats.borrow_mut().handle(self.clock.now(), Input::Time);
        self.drain();
    }

    fn drain(self: &Rc<Self>) {
        loop {
            let event = self.repeats.borrow_mut().poll();
            let Some(event) = event else { return };
            let line = match self.form {
                LogForm::Silent => String::new(),
                LogForm::Human => event.human(),
                LogForm::Json => {
                    let mut value = event.json(None);
                    if let Some(object) = value.as_object_mut() {
                        object.insert(String::from("log"), "event".into());
                    }
                    value.to_string()
                }
            };
            if self.form != LogForm::Silent {
                self.line(&line);
            }
            self.events.borrow_mut().push(event);
        }
    }

    /// Says what became of mail.
    pub(crate) fn flow(self: &Rc<Self>, flow: &Flow) {
        match flow {
            Flow::Accepted { message, client, generation } => {
                let size = message.size + message.trace.len() as u64;
                for recipient in &message.recipients {
                    let fields: [(&str, &dyn Display); 3] =
                        [("size", &size), ("generation", generation), ("client", client)];
                    self.recipient("accepted", message, recipient, &fields);
                }
            }
            Flow::Delivered { message, recipient, host, reply, generation } => {
                let fields: [(&str, &dyn Display); 3] =
                    [("host", host), ("generation", generation), ("reply", reply)];
                self.named("delivered", message, *recipient, &fields);
            }
            Flow::Deferred { message, recipient, cause, until, generation } => {
                let until = second(*until);
                let fields: [(&str, &dyn Display); 3] =
                    [("until", &until), ("generation", generation), ("cause", cause)];
                self.named("deferred", message, *recipient, &fields);
            }
            Flow::Failed { message, recipient, cause, status, fate, generation } => {
                let word = match fate {
                    Fate::Returned => "returned",
                    Fate::Badmail => "badmail",
                    Fate::Silent => "failed",
                    Fate::Deleted => "deleted",
                };
                let fields: [(&str, &dyn Display); 3] =
                    [("status", status), ("generation", generation), ("cause", cause)];
                self.named(word, message, *recipient, &fields);
            }
            Flow::HopWaits { hop, kind: _, cause, until, waiting } => {
                let who = if *waiting == 1 {
                    String::from("1 recipient waits")
                } else {
                    format!("{waiting} recipients wait")
                };
                let cause = format!("{cause}. {who}; next try at {}", second(*until));
                self.state(match hop {
                    NextHop::Mx(domain) => Fact::DomainFailed { domain: domain.clone(), cause },
                    hop => Fact::HostFailed { host: hop.to_string(), cause },
                });
            }
            Flow::HopRecovered { hop: NextHop::Mx(domain) } => {
                self.state(Fact::DomainReached { domain: domain.clone() });
            }
            Flow::HopRecovered { hop } => self.state(Fact::HostReached { host: hop.to_string() }),
        }
    }

    fn named(
        self: &Rc<Self>,
        word: &str,
        message: &Message,
        recipient: u32,
        fields: &[(&str, &dyn Display)],
    ) {
        if let Some(recipient) = message.recipients.get(recipient as usize) {
            self.recipient(word, message, recipient, fields);
        }
    }

    /// A line about a recipient. It is written for each message that passes: nothing is formatted twice.
    fn recipient(
        self: &Rc<Self>,
        word: &str,
        message: &Message,
        recipient: &Recipient,
        fields: &[(&str, &dyn Display)],
    ) {
        let at = self.clock.now().wall;
        let mut held = self.held.borrow_mut();
        // Writing to memory does not fail.
        let _ = match self.form {
            LogForm::Silent => return,
            LogForm::Human => {
                let mut second_now = self.second_now.borrow_mut();
                if second_now.0 != at.0.div_euclid(1000) {
                    *second_now = (at.0.div_euclid(1000), second(at));
                }
                let mut line = || {
                    let (path, to) = (&message.sender.path, &recipient.address);
                    write!(held, "{} {word} {} from {path} to {to}", second_now.1, message.id)?;
                    for (name, value) in fields {
                        write!(Printable(&mut held), "; {name} {value}")?;
                    }
                    writeln!(held)
                };
                line()
            }
            LogForm::Json => {
                let mut object = serde_json::Map::new();
                object.insert(String::from("at"), at.to_string().into());
                object.insert(String::from("log"), word.into());
                object.insert(String::from("id"), message.id.to_string().into());
                object.insert(String::from("sender"), message.sender.path.to_string().into());
                object.insert(String::from("recipient"), recipient.address.to_string().into());
                for (name, value) in fields {
                    object.insert((*name).to_owned(), value.to_string().into());
                }
                writeln!(held, "{}", serde_json::Value::Object(object))
            }
        };
        drop(held);
        self.flush_soon();
    }

    fn line(self: &Rc<Self>, line: &str) {
        let mut held = self.held.borrow_mut();
        held.extend_from_slice(line.as_bytes());
        held.push(b'\n');
        drop(held);
        self.flush_soon();
    }

    /// Lines of a few milliseconds go out in one write: under load a write a line would cost more than the line.
    fn flush_soon(self: &Rc<Self>) {
        const SOON: Duration = Duration::from_millis(5);
        if self.held.borrow().len() >= HELD_MAX {
            self.flush();
        } else if !self.flushing.replace(true) {
            let report = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::time::sleep(SOON).await;
                report.flush();
            });
        }
    }

    /// Hands over what is held back.
    fn flush(&self) {
        self.flushing.set(false);
        let mut held = self.held.borrow_mut();
        let missing = self.missing.get();
        if missing > 0 {
            // Before the lines that come after the gap.
            let mut note = self.missing_note().into_bytes();
            note.append(&mut held);
            *held = note;
        }
        if self.stderr.take(&mut held) {
            self.missing.set(0);
        } else {
            let lines = held.iter().filter(|octet| **octet == b'\n').count();
            self.missing.set(missing + lines - usize::from(missing > 0));
            held.clear();
        }
    }

    fn missing_note(&self) -> String {
        let (at, lines) = (self.clock.now().wall, self.missing.get());
        match self.form {
            LogForm::Json => {
                let note = serde_json::json!({ "at": at.to_string(), "log": "missing", "lines": lines });
                format!("{note}\n")
            }
            LogForm::Human | LogForm::Silent => {
                format!("{} {lines} lines are missing here: stderr was not read in time\n", second(at))
            }
        }
    }

    /// Writes what is left, as far as it is read.
    pub(crate) fn end(&self) {
        self.stderr.make_room();
        self.flush();
        self.stderr.end();
    }

    /// A sentence that is not an event.
    pub(crate) fn note(&self, text: &str) {
        if self.form == LogForm::Json {
            let at = self.clock.now().wall.to_string();
            self.write(&serde_json::json!({ "at": at, "log": "note", "text": text }).to_string());
        } else {
            self.say(text);
        }
    }

    /// A sentence for people only.
    pub(crate) fn say(&self, text: &str) {
        if self.form == LogForm::Human {
            self.write(text);
        }
    }

    fn write(&self, line: &str) {
        self.held.borrow_mut().extend_from_slice(format!("{line}\n").as_bytes());
        self.flush();
    }
}

/// `2026-11-25 07:00:28Z`, as events have it.
pub(crate) fn second(at: Wall) -> String {
    let text = at.to_string();
    format!("{}Z", text.get(..19).unwrap_or(&text).replace('T', " "))
}

/// Takes foreign text on one line, nothing in it that a terminal would obey.
struct Printable<'a>(&'a mut Vec<u8>);

impl Write for Printable<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let from = self.0.len();
        self.0.extend_from_slice(bytes);
        // All control characters of ASCII, and by their second octet in UTF-8 those of C1.
        let mut before = 0;
        for byte in self.0.iter_mut().skip(from) {
            let control = byte.is_ascii_control() || (before == 0xC2 && (0x80..0xA0).contains(byte));
            before = *byte;
            if control {
                *byte = if byte.is_ascii() { b' ' } else { 0xA0 };
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_would_obey() {
        let mut held = Vec::new();
        write!(Printable(&mut held), "a\r\nb\u{1b}[31mc\u{9b}d\u{e9}").unwrap();
        assert_eq!(String::from_utf8(held).unwrap(), "a  b [31mc\u{a0}d\u{e9}");
    }
}
