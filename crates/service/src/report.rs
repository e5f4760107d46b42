//! What the administrator hears: a line for each recipient accepted, delivered, deferred or returned, and the events. On
//! stderr; events also in their log.

use crate::clock::Clock;
use postroad_engine::delivery::{Fate, Flow};
use postroad_events::event::Event;
use postroad_events::fact::Fact;
use postroad_events::repeats::{Input, Repeats};
use postroad_mail::hop::NextHop;
use postroad_mail::time::Wall;
use postroad_spool::record::{GateKind, Message};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

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
    held: RefCell<Vec<u8>>,
    flushing: Cell<bool>,
    repeats: RefCell<Repeats>,
    /// Events for the event log.
    pub(crate) events: RefCell<Vec<Event>>,
}

impl Report {
    pub(crate) fn new(clock: Clock, form: LogForm) -> Self {
        Self {
            clock,
            form,
            held: RefCell::default(),
            flushing: Cell::new(false),
            repeats: RefCell::new(Repeats::new()),
            events: RefCell::default(),
        }
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
            Flow::Accepted { message, client } => {
                for recipient in 0..message.recipients.len() {
                    let recipient = u32::try_from(recipient).unwrap_or(u32::MAX);
                    let size = (message.size + message.trace.len() as u64).to_string();
                    self.recipient("accepted", message, recipient, &[("size", &size), ("client", client)]);
                }
            }
            Flow::Delivered { message, recipient, host, reply } => {
                self.recipient("delivered", message, *recipient, &[("host", host), ("reply", reply)]);
            }
            Flow::Deferred { message, recipient, cause, until } => {
                self.recipient(
                    "deferred",
                    message,
                    *recipient,
                    &[("until", &second(*until)), ("cause", cause)],
                );
            }
            Flow::Failed { message, recipient, cause, status, fate } => {
                let word = match fate {
                    Fate::Returned => "returned",
                    Fate::Badmail => "badmail",
                    Fate::Silent => "failed",
                    Fate::Deleted => "deleted",
                };
                self.recipient(
                    word,
                    message,
                    *recipient,
                    &[("status", &status.to_string()), ("cause", cause)],
                );
            }
            Flow::HopWaits { hop, kind, cause, until, waiting } => {
                let who = if *waiting == 1 {
                    String::from("1 recipient waits")
                } else {
                    format!("{waiting} recipients wait")
                };
                let until = format!("{cause}. {who}; next try at {}", second(*until));
                match (hop, kind) {
                    (NextHop::Mx(domain), _) => {
                        self.state(Fact::DomainFailed { domain: domain.clone(), cause: until });
                    }
                    (hop, GateKind::Dns | GateKind::Host) => {
                        self.state(Fact::HostFailed { host: hop.to_string(), cause: until });
                    }
                }
            }
            Flow::HopRecovered { hop: NextHop::Mx(domain) } => {
                self.state(Fact::DomainReached { domain: domain.clone() });
            }
            Flow::HopRecovered { hop } => self.state(Fact::HostReached { host: hop.to_string() }),
        }
    }

    fn recipient(self: &Rc<Self>, word: &str, message: &Message, recipient: u32, fields: &[(&str, &str)]) {
        if self.form == LogForm::Silent {
            return;
        }
        let to = message.recipients.get(recipient as usize);
        let to = to.map(|one| one.address.to_string()).unwrap_or_default();
        let at = self.clock.now().wall;
        let line = match self.form {
            LogForm::Human | LogForm::Silent => {
                let mut line =
                    format!("{} {word} {} from {} to {to}", second(at), message.id, sender(message));
                for (name, value) in fields {
                    line.push_str(&format!("; {name} {}", printable(value)));
                }
                line
            }
            LogForm::Json => {
                let mut object = serde_json::Map::new();
                object.insert(String::from("at"), at.to_string().into());
                object.insert(String::from("log"), word.into());
                object.insert(String::from("id"), message.id.to_string().into());
                object.insert(String::from("sender"), message.sender.path.to_string().into());
                object.insert(String::from("recipient"), to.into());
                for (name, value) in fields {
                    object.insert((*name).to_owned(), (*value).into());
                }
                serde_json::Value::Object(object).to_string()
            }
        };
        self.line(&line);
    }

    /// Writes a line soon: lines of one turn of the runtime go out in one write.
    fn line(self: &Rc<Self>, line: &str) {
        let mut held = self.held.borrow_mut();
        held.extend_from_slice(line.as_bytes());
        held.push(b'\n');
        let full = held.len() >= HELD_MAX;
        drop(held);
        if full {
            self.flush();
        } else if !self.flushing.replace(true) {
            let report = Rc::clone(self);
            tokio::task::spawn_local(async move {
                tokio::task::yield_now().await;
                report.flush();
            });
        }
    }

    /// Writes what is held back.
    pub(crate) fn flush(&self) {
        self.flushing.set(false);
        let held = std::mem::take(&mut *self.held.borrow_mut());
        // A stderr that is closed is no reason to stop carrying mail.
        let _ = std::io::stderr().write_all(&held);
    }

    /// A sentence that is not an event, for people only.
    pub(crate) fn say(&self, text: &str) {
        if self.form == LogForm::Human {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// The sender as a log line has it.
fn sender(message: &Message) -> String {
    message.sender.path.to_string()
}

/// `2026-11-25 07:00:28Z`, as events have it.
pub(crate) fn second(at: Wall) -> String {
    let text = at.to_string();
    format!("{}Z", text.get(..19).unwrap_or(&text).replace('T', " "))
}

/// Foreign text on one line, nothing in it a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
