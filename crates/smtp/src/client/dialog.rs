//! The connection: from the greeting to `Ready`, and its end.

use super::{Client, ClientOutput, Extensions, HostFailure, HostFault, Session, Stage, State, Tls};
use crate::TlsFacts;
use crate::reply::Whole;
use postroad_mail::reply::{Reply, Severity};
use postroad_mail::time::Now;
use std::sync::Arc;
use std::time::Duration;

impl Client {
    /// Takes octets and acts on each reply that is whole.
    pub(super) fn receive(&mut self, now: Now, bytes: &[u8]) {
        self.reader.push(bytes);
        loop {
            match self.state {
                // What comes in clear behind the reply to STARTTLS would pass for the answer to what is asked under TLS.
                State::Handshake | State::Closed => return self.reader.clear(),
                State::Ready if self.reader.is_empty() => break,
                // Nothing was asked: a 421 most likely. There is nothing to lose but the connection.
                State::Ready => self.close(),
                _ => match self.reader.next() {
                    Ok(Some(whole)) => self.replied(now, whole),
                    Ok(None) => break,
                    Err(malformed) => self.fail(HostFault::Protocol, malformed.to_string(), None),
                },
            }
        }
        self.reader.tidy();
    }

    fn replied(&mut self, now: Now, whole: Whole) {
        match self.state {
            State::Envelope(_) => self.envelope_replied(now, whole),
            State::Dot(_) => self.dot_replied(now, whole),
            State::Content(_) => {
                let reply = self.reader.take(whole);
                let kind = if reply.code == 421 { HostFault::Unavailable } else { HostFault::Protocol };
                self.fail(
                    kind,
                    format!("the host replied before the message was sent: {reply}"),
                    Some(reply),
                );
            }
            State::Greeting => self.greeted(now, whole),
            State::Ehlo => self.ehlo_replied(now, whole),
            State::Helo => self.helo_replied(now, whole),
            State::StartTls => self.starttls_replied(now, whole),
            State::Reset if whole.code / 100 == 2 => {
                self.reader.skip(whole);
                self.ready_if_quiet();
            }
            State::Reset | State::Quit => self.close(),
            State::Handshake | State::Ready | State::Closed => {}
        }
    }

    fn greeted(&mut self, now: Now, whole: Whole) {
        let reply = self.reader.take(whole);
        match reply.severity() {
            Severity::Completed => {
                let greeting = reply.lines.join(" ");
                let name = greeting.split(' ').next().unwrap_or_default();
                if name.trim_end_matches('.').eq_ignore_ascii_case(self.settings.helo.as_str()) {
                    let text = format!("the host greets with our own name, {}", self.settings.helo);
                    return self.fail(HostFault::Loop, text, Some(reply));
                }
                self.session_mut().greeting = greeting;
                self.hello(now, "EHLO", State::Ehlo);
            }
            Severity::Transient => self.refused(HostFault::GreetingDeferred, "greeting", reply),
            Severity::Permanent => self.refused(HostFault::GreetingRefused, "greeting", reply),
            Severity::Intermediate => self.out_of_place(reply),
        }
    }

    fn hello(&mut self, now: Now, verb: &str, state: State) {
        let line = format!("{verb} {}\r\n", self.settings.helo);
        let timeout = self.settings.timeouts.hello;
        self.ask(now, line.into_bytes(), timeout, state);
    }

    fn ehlo_replied(&mut self, now: Now, whole: Whole) {
        let reply = self.reader.take(whole);
        match reply.severity() {
            Severity::Completed => {
                let extensions = extensions(&reply);
                let session = self.session_mut();
                session.name = first_word(&reply);
                session.extensions = extensions;
                self.secure(now);
            }
            Severity::Permanent => self.hello(now, "HELO", State::Helo),
            Severity::Transient => self.refused(HostFault::HelloRefused, "answer to EHLO", reply),
            Severity::Intermediate => self.out_of_place(reply),
        }
    }

    fn helo_replied(&mut self, now: Now, whole: Whole) {
        let reply = self.reader.take(whole);
        match reply.severity() {
            Severity::Completed => {
                let session = self.session_mut();
                session.name = first_word(&reply);
                session.extensions = Extensions::default();
                self.secure(now);
            }
            Severity::Transient | Severity::Permanent => {
                self.refused(HostFault::HelloRefused, "answer to EHLO and HELO", reply);
            }
            Severity::Intermediate => self.out_of_place(reply),
        }
    }

    /// After EHLO: TLS, unless it is up, or not to be had and not demanded.
    fn secure(&mut self, now: Now) {
        let (up, offered) = (self.session.tls.is_some(), self.session.extensions.starttls);
        match self.tls {
            Tls::Opportunistic | Tls::Required if offered && !up => {
                let timeout = self.settings.timeouts.hello;
                self.ask(now, b"STARTTLS\r\n".to_vec(), timeout, State::StartTls);
            }
            Tls::Required if !up => {
                let text = "TLS is demanded and the host does not offer STARTTLS".to_owned();
                self.fail(HostFault::TlsUnavailable, text, None);
            }
            Tls::Opportunistic | Tls::Required | Tls::Off => self.ready_if_quiet(),
        }
    }

    fn starttls_replied(&mut self, now: Now, whole: Whole) {
        let reply = self.reader.take(whole);
        match (reply.severity(), self.tls) {
            (Severity::Completed, _) => {
                self.state = State::Handshake;
                self.deadline = Some(now.mono + self.settings.timeouts.handshake);
                self.outputs.push_back(ClientOutput::StartTls);
            }
            (Severity::Intermediate, _) => self.out_of_place(reply),
            _ if reply.code == 421 => self.refused(HostFault::Unavailable, "answer to STARTTLS", reply),
            (_, Tls::Required) => self.refused(HostFault::TlsUnavailable, "answer to STARTTLS", reply),
            (_, Tls::Opportunistic | Tls::Off) => self.ready_if_quiet(),
        }
    }

    pub(super) fn tls_up(&mut self, now: Now, facts: TlsFacts) {
        if matches!(self.state, State::Handshake) {
            self.session_mut().tls = Some(facts);
            self.hello(now, "EHLO", State::Ehlo);
        }
    }

    pub(super) fn tls_failed(&mut self, why: &str) {
        if matches!(self.state, State::Handshake) {
            let kind =
                if self.tls == Tls::Required { HostFault::TlsUnavailable } else { HostFault::TlsHandshake };
            self.fail(kind, format!("the TLS handshake failed: {why}"), None);
        }
    }

    pub(super) fn closed(&mut self, why: Option<String>) {
        let why = why.map_or_else(
            || "the host closed the connection".to_owned(),
            |why| format!("the connection broke: {why}"),
        );
        if matches!(self.state, State::Handshake) {
            return self.tls_failed(&why);
        }
        self.fail(HostFault::Closed, why, None);
    }

    pub(super) fn timed_out(&mut self) {
        let text = match self.stage() {
            Stage::Content => "the host did not take the message in time".to_owned(),
            stage => format!("no reply {} in time", stage.words()),
        };
        if matches!(self.state, State::Handshake) {
            return self.tls_failed("no end of the handshake in time");
        }
        self.fail(HostFault::Timeout, text, None);
    }

    pub(super) fn quit(&mut self, now: Now) {
        if matches!(self.state, State::Ready) {
            let timeout = self.settings.timeouts.quit;
            self.ask(now, b"QUIT\r\n".to_vec(), timeout, State::Quit);
        } else {
            self.fail(HostFault::GivenUp, "given up on our side".to_owned(), None);
        }
    }

    fn ready_if_quiet(&mut self) {
        if self.reader.is_empty() { self.ready() } else { self.unasked() }
    }

    pub(super) fn ready(&mut self) {
        self.state = State::Ready;
        self.deadline = None;
        self.outputs.push_back(ClientOutput::Ready(Arc::clone(&self.session)));
    }

    /// Sends what the host must answer in state `next`.
    pub(super) fn ask(&mut self, now: Now, wire: Vec<u8>, timeout: Duration, next: State) {
        self.state = next;
        self.transmit(now, wire, timeout);
    }

    /// Sends what the host must answer. Octets that are here before it was asked are no answer to it.
    pub(super) fn transmit(&mut self, now: Now, wire: Vec<u8>, timeout: Duration) {
        if !self.reader.is_empty() {
            return self.unasked();
        }
        self.outputs.push_back(ClientOutput::Send(wire));
        self.deadline = Some(now.mono + timeout);
    }

    pub(super) fn unasked(&mut self) {
        self.fail(HostFault::Protocol, "the host sent a reply to nothing that was asked".to_owned(), None);
    }

    /// A reply whose first digit has no meaning where it came.
    pub(super) fn out_of_place(&mut self, reply: Reply) {
        let text = format!("the reply {} is not possible: {reply}", self.stage().words());
        self.fail(HostFault::Protocol, text, Some(reply));
    }

    /// The host's refusal of us, to which a last word is due.
    fn refused(&mut self, kind: HostFault, what: &str, reply: Reply) {
        self.outputs.push_back(ClientOutput::Send(b"QUIT\r\n".to_vec()));
        self.fail(kind, format!("the host's {what}: {reply}"), Some(reply));
    }

    /// Ends the connection because of a fault, and tells whoever waits for an outcome.
    pub(super) fn fail(&mut self, kind: HostFault, text: String, reply: Option<Reply>) {
        let failure = HostFailure { stage: self.stage(), kind, text, reply };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Greeting | State::Ehlo | State::Helo | State::StartTls | State::Handshake => {
                self.outputs.push_back(ClientOutput::HostFailed(failure));
            }
            State::Envelope(attempt) | State::Content(attempt) | State::Dot(attempt) => {
                self.outputs.push_back(ClientOutput::Done(attempt.lost(&failure)));
            }
            State::Closed => return,
            State::Ready | State::Reset | State::Quit => {}
        }
        self.close();
    }

    pub(super) fn close(&mut self) {
        self.state = State::Closed;
        self.deadline = None;
        self.reader.clear();
        self.outputs.push_back(ClientOutput::Close);
    }

    fn stage(&self) -> Stage {
        match &self.state {
            State::Greeting => Stage::Greeting,
            State::Ehlo | State::Helo => Stage::Hello,
            State::StartTls | State::Handshake => Stage::StartTls,
            State::Ready | State::Reset | State::Quit | State::Closed => Stage::Ready,
            State::Envelope(attempt) => attempt.stage(),
            State::Content(_) => Stage::Content,
            State::Dot(_) => Stage::Dot,
        }
    }

    /// What is known of the host, to be changed; it is copied only where the caller still holds an earlier state of it.
    fn session_mut(&mut self) -> &mut Session {
        Arc::make_mut(&mut self.session)
    }
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Self::Connect => "to the connection",
            Self::Greeting => "as a greeting",
            Self::Hello => "to EHLO or HELO",
            Self::StartTls => "to STARTTLS",
            Self::Ready => "to RSET or QUIT",
            Self::Mail => "to MAIL",
            Self::Recipient => "to RCPT",
            Self::Data => "to DATA",
            Self::Content => "to the message",
            Self::Dot => "to the final dot",
        }
    }
}

fn first_word(reply: &Reply) -> String {
    let line = reply.lines.first().map_or("", String::as_str);
    line.split(' ').next().unwrap_or_default().to_owned()
}

fn extensions(reply: &Reply) -> Extensions {
    let mut offered = Extensions { esmtp: true, ..Extensions::default() };
    for line in reply.lines.iter().skip(1) {
        let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
        let is = |name: &str| keyword.eq_ignore_ascii_case(name);
        if is("PIPELINING") {
            offered.pipelining = true;
        } else if is("SIZE") {
            // A limit that is no number is none.
            offered.size = Some(argument.trim().parse().unwrap_or(0));
        } else if is("8BITMIME") {
            offered.eight_bit = true;
        } else if is("DSN") {
            offered.dsn = true;
        } else if is("STARTTLS") {
            offered.starttls = true;
        } else if is("ENHANCEDSTATUSCODES") {
            offered.enhanced_status = true;
        } else if is("SMTPUTF8") {
            offered.smtputf8 = true;
        }
    }
    offered
}
