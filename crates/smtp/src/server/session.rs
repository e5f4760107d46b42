//! What the server does about each input.

use super::{
    Abandoned, AcceptedRecipient, COMMAND_LINE_MAX, ContentFacts, Envelope, Hello, IDLE_COMMANDS_MAX,
    OVERRUN_SLACK, PENDING_MAX, Receiving, RecipientAnswer, SURPLUS_RECIPIENTS_MAX, Server, ServerOutput,
    State, Transaction,
};
use crate::TlsFacts;
use crate::command::{self, Command, Mail, Rcpt, Refusal};
use crate::content::Unstuffer;
use crate::reply;
use memchr::memchr_iter;
use postroad_mail::domain::Host;
use postroad_mail::id::MessageId;
use postroad_mail::reply::{Reply, Severity};
use postroad_mail::time::Now;

const HELLO_FIRST: Refusal = "503 5.5.1 Say EHLO first";
const MAIL_FIRST: Refusal = "503 5.5.1 Say MAIL first";
const RCPT_FIRST: Refusal = "503 5.5.1 Say RCPT first";
const NO_RECIPIENT: Refusal = "554 5.5.1 No valid recipients";
const NESTED_MAIL: Refusal = "503 5.5.1 Sender already given";
const TOO_LARGE: Refusal = "552 5.3.4 Message too large";
const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients";
const LINE_TOO_LONG: Refusal = "500 5.5.2 Command line too long";
const TLS_ALREADY: Refusal = "503 5.5.1 TLS is already up";
const TLS_OFF: &str = "454 4.7.0 TLS not available";
const TOO_MANY_ERRORS: &str = "421 4.7.0 Too many errors, closing the connection";
/// Temporary: the message may be fine, and has its turn in a further session.
const SESSION_FULL: &str = "421 4.3.2 This session has carried all it may; send the rest in another";
const OUT_OF_STEP: &str = "421 4.5.1 Content was sent before it was asked for, closing the connection";
const NOT_SMTP: &str = "421 4.7.0 This is an SMTP service, closing the connection";
const FLOOD: &str = "421 4.7.0 Too much input, closing the connection";
const TIMEOUT: &str = "421 4.4.2 Timeout, closing the connection";
const SHUTTING_DOWN: &str = "421 4.3.2 Service is shutting down, closing the connection";
const BAD_OCTETS: &str = "554 5.6.0 Content has a lone CR, a lone LF or a NUL (RFC 5321 section 2.3.8)";
const CONTENT_LINE_TOO_LONG: &str = "554 5.6.0 Content has a line over 65536 octets";

impl Server {
    /// Parses what is held and what has come, as far as it goes.
    pub(super) fn receive(&mut self, now: Now, bytes: &[u8]) {
        let asked = matches!(self.state, State::RecipientAsked(_) | State::BeginAsked | State::EndAsked);
        if asked && self.pending.len() + bytes.len() > PENDING_MAX {
            self.close(FLOOD);
        } else if asked {
            self.pending.extend_from_slice(bytes);
        } else if self.pending.is_empty() {
            let used = self.consume(now, bytes);
            self.pending.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.pending);
            held.extend_from_slice(bytes);
            let used = self.consume(now, &held);
            if used < held.len() {
                held.drain(..used);
                self.pending = held;
            }
        }
        match &self.state {
            State::Command if self.eof => self.hang_up(),
            State::Content(_) if self.eof => {
                self.abandon(Abandoned::PeerGone);
                self.hang_up();
            }
            State::TlsAwaited if self.eof => self.hang_up(),
            _ => {}
        }
    }

    /// How many octets were used.
    fn consume(&mut self, now: Now, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            match self.state {
                State::Command if self.shutdown => self.close(SHUTTING_DOWN),
                State::Command if self.passing_over => {
                    let Some(end) = line_end(rest) else {
                        // A CR at the end may be the half of a line end.
                        return bytes.len() - usize::from(rest.last() == Some(&b'\r'));
                    };
                    used += end;
                    self.passing_over = false;
                }
                State::Command => {
                    let window = rest.get(..COMMAND_LINE_MAX).unwrap_or(rest);
                    if let Some(end) = line_end(window) {
                        used += end;
                        self.since = now.mono;
                        let line = window.get(..end - 2).unwrap_or_default();
                        self.command(line, end < rest.len());
                    } else if window.len() < COMMAND_LINE_MAX {
                        return used;
                    } else if self.content_may_follow {
                        self.close(OUT_OF_STEP);
                    } else {
                        self.passing_over = true;
                        self.refuse(LINE_TOO_LONG);
                    }
                }
                State::Content(_) if rest.is_empty() => return used,
                State::Content(_) => used += self.content(now, rest),
                State::RecipientAsked(_) | State::BeginAsked | State::EndAsked => return used,
                State::TlsAwaited | State::Closed => return bytes.len(),
            }
        }
    }

    /// Deals with one command; `more` says that octets follow it already.
    fn command(&mut self, line: &[u8], more: bool) {
        let content_may_follow = std::mem::take(&mut self.content_may_follow);
        let command = match command::parse(line) {
            Ok(command) => command,
            // Behind a refused DATA, what is no command is content whose sender did not wait (RFC 2920 §3.1).
            Err(_) if content_may_follow => return self.close(OUT_OF_STEP),
            Err(refusal) => return self.refuse(refusal),
        };
        match command {
            Command::Rcpt(rcpt) => self.rcpt(*rcpt),
            Command::Mail(mail) => self.mail(*mail),
            Command::Data => self.data(more),
            Command::BadData(refusal) => self.refuse_data(refusal, more),
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => {
                self.greet(Hello { name, esmtp: false });
                let line = format!("250 {} Hello {}", self.settings.name, Host::Literal(self.client.ip()));
                self.idle(&line);
            }
            Command::Rset => {
                self.envelope = None;
                self.idle("250 2.0.0 Ok");
            }
            Command::Noop => self.idle("250 2.0.0 Ok"),
            Command::Vrfy => self.idle("252 2.0.0 Not verified; RCPT will tell"),
            Command::Help => {
                self.idle("214 2.0.0 EHLO HELO MAIL RCPT DATA RSET NOOP VRFY STARTTLS QUIT (RFC 5321)")
            }
            Command::Quit => self.close("221 2.0.0 Bye"),
            Command::StartTls => self.starttls(),
            Command::Foreign => self.close(NOT_SMTP),
        }
    }

    fn greet(&mut self, hello: Hello) {
        self.hello = Some(hello);
        self.envelope = None;
    }

    fn ehlo(&mut self, name: String) {
        self.greet(Hello { name, esmtp: true });
        let size = match self.settings.message_max() {
            0 => String::new(),
            octets => format!(" {octets}"),
        };
        let starttls = if self.settings.starttls && self.tls.is_none() { "250-STARTTLS\r\n" } else { "" };
        let lines = format!(
            "250-{} Hello {}\r\n250-PIPELINING\r\n250-SIZE{size}\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n\
             250-DSN\r\n{starttls}250 HELP",
            self.settings.name,
            Host::Literal(self.client.ip()),
        );
        self.idle(&lines);
    }

    fn mail(&mut self, mail: Mail) {
        if self.envelope.is_some() {
            return self.refuse(NESTED_MAIL);
        }
        if let Some(settings) = self.next_settings.take() {
            self.settings = settings;
        }
        let limit = self.settings.message_max();
        if self.hello.is_none() {
            return self.refuse(HELLO_FIRST);
        }
        if limit != 0 && mail.declared_size.is_some_and(|size| size > limit) {
            return self.refuse(TOO_LARGE);
        }
        if self.settings.is_too_much(self.taken.saturating_add(mail.declared_size.unwrap_or(1))) {
            return self.close(SESSION_FULL);
        }
        self.envelope = Some(Envelope {
            sender: mail.sender,
            declared_size: mail.declared_size,
            recipients: Vec::new(),
            refused: false,
            surplus: 0,
        });
        self.say("250 2.1.0 Ok");
    }

    fn rcpt(&mut self, rcpt: Rcpt) {
        let recipients_max = self.settings.recipients_max;
        let Some(envelope) = &mut self.envelope else {
            return self.refuse(MAIL_FIRST);
        };
        if envelope.recipients.len() >= recipients_max {
            envelope.surplus += 1;
            if envelope.surplus > SURPLUS_RECIPIENTS_MAX {
                return self.refuse(TOO_MANY_RECIPIENTS);
            }
            return self.say(TOO_MANY_RECIPIENTS);
        }
        self.outputs.push_back(ServerOutput::Recipient(rcpt.path.clone()));
        let recipient = AcceptedRecipient { path: rcpt.path, notify: rcpt.notify, orcpt: rcpt.orcpt };
        self.state = State::RecipientAsked(Box::new(recipient));
    }

    pub(super) fn recipient_answered(&mut self, now: Now, answer: RecipientAnswer) {
        let recipient = match std::mem::replace(&mut self.state, State::Command) {
            State::RecipientAsked(recipient) => *recipient,
            other => {
                self.state = other;
                return;
            }
        };
        match (answer, &mut self.envelope) {
            (RecipientAnswer::Accept, Some(envelope)) => {
                envelope.recipients.push(recipient);
                self.say("250 2.1.5 Ok");
            }
            (RecipientAnswer::Accept, None) => self.refuse(MAIL_FIRST),
            (RecipientAnswer::Refuse(reply), envelope) => {
                if let Some(envelope) = envelope {
                    envelope.refused = true;
                }
                self.relay(&reply);
                if reply.severity() == Severity::Permanent {
                    self.count_error();
                }
            }
        }
        self.resume(now);
    }

    fn data(&mut self, more: bool) {
        let has_recipient = match &self.envelope {
            None => {
                return self.refuse_data(if self.hello.is_some() { MAIL_FIRST } else { HELLO_FIRST }, more);
            }
            Some(envelope) if envelope.recipients.is_empty() && envelope.refused => Err(NO_RECIPIENT),
            Some(envelope) if envelope.recipients.is_empty() => Err(RCPT_FIRST),
            Some(_) => Ok(()),
        };
        if let Err(refusal) = has_recipient {
            return self.refuse_data(refusal, more);
        }
        let (Some(envelope), Some(hello)) = (self.envelope.take(), &self.hello) else {
            return self.refuse_data(HELLO_FIRST, more);
        };
        self.outputs.push_back(ServerOutput::Begin(Box::new(Transaction {
            sender: envelope.sender,
            recipients: envelope.recipients,
            helo: hello.name.clone(),
            esmtp: hello.esmtp,
            tls: self.tls.clone(),
            declared_size: envelope.declared_size,
        })));
        self.state = State::BeginAsked;
    }

    /// Refuses DATA. If octets follow it, they are content whose sender did not wait, and must never be run as commands.
    fn refuse_data(&mut self, refusal: Refusal, more: bool) {
        self.refuse(refusal);
        self.guard_refused_data(more);
    }

    fn guard_refused_data(&mut self, more: bool) {
        if more && !matches!(self.state, State::Closed) {
            self.close(OUT_OF_STEP);
        }
        self.content_may_follow = true;
    }

    pub(super) fn begin_answered(&mut self, now: Now, answer: Result<(), Reply>) {
        if !matches!(self.state, State::BeginAsked) {
            return;
        }
        match answer {
            Ok(()) => {
                self.say("354 End with <CR><LF>.<CR><LF>");
                self.state = State::Content(Box::new(Receiving {
                    unstuffer: Unstuffer::new(),
                    began: now.mono,
                    last_block: now.mono,
                    received: 0,
                    abandoned: false,
                }));
            }
            Err(reply) => {
                self.state = State::Command;
                self.relay(&reply);
                self.guard_refused_data(!self.pending.is_empty());
            }
        }
        self.resume(now);
    }

    /// Takes content from `bytes` and says how many octets were used.
    fn content(&mut self, now: Now, bytes: &[u8]) -> usize {
        let State::Content(receiving) = &mut self.state else {
            return 0;
        };
        let limit = self.settings.message_max();
        receiving.last_block = now.mono;
        let mut plain = Vec::with_capacity(bytes.len());
        let left = receiving.unstuffer.read(bytes, &mut plain);
        let used = bytes.len() - left.unwrap_or(0);
        receiving.received += used as u64;
        if limit != 0 && receiving.unstuffer.size > limit {
            receiving.unstuffer.fault.get_or_insert(Abandoned::TooLarge);
            if receiving.received > limit.saturating_mul(2).saturating_add(OVERRUN_SLACK) {
                self.abandon(Abandoned::TooLarge);
                self.close("421 4.3.4 Message too large, closing the connection");
                return bytes.len();
            }
        }
        if self.settings.is_too_much(self.taken.saturating_add(receiving.unstuffer.size)) {
            receiving.unstuffer.fault.get_or_insert(Abandoned::SessionFull);
        }
        let fault = receiving.unstuffer.fault;
        let facts = ContentFacts { size: receiving.unstuffer.size, eight_bit: receiving.unstuffer.eight_bit };
        match fault {
            Some(fault) => self.abandon(fault),
            None if plain.is_empty() => {}
            None => self.outputs.push_back(ServerOutput::Content(plain)),
        }
        if left.is_some() {
            self.content_ended(now, fault, facts);
        }
        used
    }

    fn content_ended(&mut self, now: Now, fault: Option<Abandoned>, facts: ContentFacts) {
        self.since = now.mono;
        self.state = State::Command;
        self.taken = self.taken.saturating_add(facts.size);
        match fault {
            None => {
                self.outputs.push_back(ServerOutput::End(facts));
                self.state = State::EndAsked;
            }
            Some(Abandoned::TooLarge) => self.refuse(TOO_LARGE),
            Some(Abandoned::SessionFull) => self.close(SESSION_FULL),
            Some(Abandoned::LineTooLong) => self.refuse(CONTENT_LINE_TOO_LONG),
            Some(Abandoned::BadOctets | Abandoned::PeerGone | Abandoned::Timeout) => self.refuse(BAD_OCTETS),
        }
    }

    pub(super) fn end_answered(&mut self, now: Now, answer: Result<MessageId, Reply>) {
        if !matches!(self.state, State::EndAsked) {
            return;
        }
        self.state = State::Command;
        match answer {
            Ok(id) => {
                self.errors = 0;
                self.idle_commands = 0;
                let line = format!("250 2.0.0 Ok queued as {id}");
                self.say(&line);
            }
            Err(reply) => self.relay(&reply),
        }
        self.resume(now);
    }

    fn starttls(&mut self) {
        if self.tls.is_some() {
            return self.refuse(TLS_ALREADY);
        }
        if !self.settings.starttls {
            return self.idle(TLS_OFF);
        }
        self.say("220 2.0.0 Ready to start TLS");
        self.flush();
        self.outputs.push_back(ServerOutput::StartTls);
        self.state = State::TlsAwaited;
    }

    /// RFC 3207 §4.2: what was learned in clear is forgotten. What came in clear behind STARTTLS is gone already: `consume`
    /// uses up everything that comes while TLS is awaited, or it would be run as if it had come encrypted (CVE-2011-0411).
    pub(super) fn tls_up(&mut self, now: Now, facts: TlsFacts) {
        if !matches!(self.state, State::TlsAwaited) {
            return;
        }
        self.tls = Some(facts);
        self.hello = None;
        self.envelope = None;
        self.state = State::Command;
        self.resume(now);
    }

    pub(super) fn tick(&mut self, now: Now) {
        if self.deadline().is_some_and(|deadline| now.mono >= deadline) {
            self.abandon(Abandoned::Timeout);
            if matches!(self.state, State::TlsAwaited) { self.hang_up() } else { self.close(TIMEOUT) }
        }
    }

    /// Goes on with what is held, after an answer.
    fn resume(&mut self, now: Now) {
        self.since = now.mono;
        self.receive(now, &[]);
    }

    fn abandon(&mut self, cause: Abandoned) {
        if let State::Content(receiving) = &mut self.state
            && !std::mem::replace(&mut receiving.abandoned, true)
        {
            self.outputs.push_back(ServerOutput::Abort(cause));
        }
    }

    /// A reply to a command that moves no mail. Too many of these are errors.
    fn idle(&mut self, line: &str) {
        self.say(line);
        self.idle_commands = self.idle_commands.saturating_add(1);
        if self.idle_commands > IDLE_COMMANDS_MAX {
            self.count_error();
        }
    }

    fn refuse(&mut self, line: Refusal) {
        self.say(line);
        self.count_error();
    }

    fn count_error(&mut self) {
        self.errors = self.errors.saturating_add(1);
        let limit = self.settings.errors_max;
        if limit != 0 && self.errors >= limit && !matches!(self.state, State::Closed) {
            self.close(TOO_MANY_ERRORS);
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        self.replies.extend_from_slice(line.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    /// Passes on a reply of the shell's; 421 closes, as it always does (RFC 5321 §3.8).
    fn relay(&mut self, reply: &Reply) {
        reply::encode_into(reply, &mut self.replies);
        if reply.code == 421 {
            self.hang_up();
        }
    }

    fn close(&mut self, line: &str) {
        self.say(line);
        self.hang_up();
    }

    fn hang_up(&mut self) {
        self.flush();
        self.pending = Vec::new();
        self.envelope = None;
        self.state = State::Closed;
        self.outputs.push_back(ServerOutput::Close);
    }

    pub(super) fn flush(&mut self) {
        if !self.replies.is_empty() {
            let replies = std::mem::take(&mut self.replies);
            self.outputs.push_back(ServerOutput::Send(replies));
        }
    }
}

/// The length of the line at the start of `bytes` with its CR LF, if it is whole. A lone LF does not end a line.
fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\n', bytes).find(|at| *at > 0 && bytes.get(at - 1) == Some(&b'\r')).map(|at| at + 1)
}
