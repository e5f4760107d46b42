//! One delivery: MAIL, RCPT, DATA, the content, and what becomes of each recipient.

use super::{
    Client, ClientOutput, Delivery, Extensions, HostFailure, HostFault, RecipientResult, Stage, State,
};
use crate::content::Stuffer;
use crate::reply::Whole;
use crate::xtext;
use postroad_mail::envelope::{Notify, Recipient, Ret};
use postroad_mail::reply::{Reply, Severity, Status};
use postroad_mail::time::Now;
use std::fmt::Write as _;
use std::sync::Arc;

/// Octets set aside for one command of a group. Most take less; the buffer grows where they do not.
const COMMAND_GUESS: usize = 64;
/// Commands of a pipelined group: some 5 KiB, and their replies as much. A host that writes replies before it reads on must not come
/// to wait for us while we wait for it (RFC 2920 §3.1); more recipients than most messages have need no second group.
const GROUP_MAX: usize = 128;
/// Octets set aside beyond a piece of content and a dot in every 32: the end of content, and a few stuffed dots.
const STUFFING_ROOM: usize = 32;

/// A delivery under way.
#[derive(Debug)]
pub(super) struct Attempt {
    delivery: Arc<Delivery>,
    /// One for each recipient; none while it is undecided.
    results: Vec<Option<RecipientResult>>,
    /// Replies that came: the first is MAIL's, the last DATA's.
    answered: usize,
    /// Commands that were sent; those beyond `answered` are pipelined.
    sent: usize,
    /// Commands that are sent at once.
    group: usize,
    stuffer: Stuffer,
}

impl Attempt {
    /// The command whose reply is waited for.
    pub fn stage(&self) -> Stage {
        match self.answered {
            0 => Stage::Mail,
            at if at <= self.results.len() => Stage::Recipient,
            _ => Stage::Data,
        }
    }

    /// The results when the connection is lost: what was decided stays so.
    pub fn lost(self, failure: &HostFailure) -> Vec<RecipientResult> {
        let lost = || RecipientResult::Lost(failure.clone());
        self.results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    fn is_undecided(&self) -> bool {
        self.results.iter().any(Option::is_none)
    }

    /// Decides all that are undecided.
    fn decide(&mut self, result: impl Fn() -> RecipientResult) {
        for slot in self.results.iter_mut().filter(|slot| slot.is_none()) {
            *slot = Some(result());
        }
    }

    /// The next group of commands.
    fn next_group(&mut self, offered: &Extensions) -> Vec<u8> {
        let commands = self.delivery.recipients.len() + 2;
        let end = commands.min(self.sent + self.group);
        let mut wire = String::with_capacity((end - self.sent) * COMMAND_GUESS);
        for number in self.sent..end {
            match number.checked_sub(1).map(|at| self.delivery.recipients.get(at)) {
                None => write_mail(&self.delivery, offered, &mut wire),
                Some(Some(recipient)) => write_rcpt(recipient, offered, &mut wire),
                Some(None) => wire.push_str("DATA\r\n"),
            }
        }
        self.sent = end;
        wire.into_bytes()
    }
}

impl Client {
    pub(super) fn deliver(&mut self, now: Now, delivery: Arc<Delivery>) {
        let undelivered =
            |result: RecipientResult| ClientOutput::Done(vec![result; delivery.recipients.len()]);
        let offered = self.session.extensions;
        if !matches!(self.state, State::Ready) {
            let text = "the connection was closed before the delivery began".to_owned();
            let failure = HostFailure { stage: Stage::Ready, kind: HostFault::Closed, text, reply: None };
            return self.outputs.push_back(undelivered(RecipientResult::Lost(failure)));
        }
        let limit = offered.size.unwrap_or(0);
        let unfit = if limit != 0 && delivery.size > limit {
            let text = format!("the message has {} octets and the host takes {limit}", delivery.size);
            let reply = Reply::new(552, Some(Status::new(5, 3, 4)), text);
            Some(RecipientResult::Refused { stage: Stage::Mail, reply })
        } else if delivery.eight_bit && !offered.eight_bit {
            Some(RecipientResult::EightBitNotOffered)
        } else {
            None
        };
        if let Some(result) = unfit {
            self.outputs.push_back(undelivered(result));
            return self.ready();
        }
        let pipelined = self.settings.pipelining && offered.pipelining;
        let mut attempt = Box::new(Attempt {
            results: vec![None; delivery.recipients.len()],
            answered: 0,
            sent: 0,
            group: if pipelined { GROUP_MAX } else { 1 },
            stuffer: Stuffer::new(),
            delivery,
        });
        let group = attempt.next_group(&offered);
        let timeout = self.settings.timeouts.mail;
        self.ask(now, group, timeout, State::Envelope(attempt));
    }

    pub(super) fn envelope_replied(&mut self, now: Now, whole: Whole) {
        let State::Envelope(attempt) = &mut self.state else {
            return;
        };
        let stage = attempt.stage();
        let severity = severity(whole.code);
        let expected = if stage == Stage::Data { Severity::Intermediate } else { Severity::Completed };
        if severity == expected {
            self.reader.skip(whole);
        } else {
            let reply = self.reader.take(whole);
            if reply.code == 421 {
                return self.fail(
                    HostFault::Unavailable,
                    format!("the host closes the connection: {reply}"),
                    Some(reply),
                );
            }
            if !matches!(severity, Severity::Transient | Severity::Permanent) {
                return self.out_of_place(reply);
            }
            match stage {
                Stage::Recipient => {
                    if let Some(slot @ None) = attempt.results.get_mut(attempt.answered - 1) {
                        *slot = Some(refusal(stage, reply));
                    }
                }
                _ => attempt.decide(|| refusal(stage, reply.clone())),
            }
        }
        attempt.answered += 1;
        match stage {
            Stage::Data if severity == expected => self.begin_content(now),
            Stage::Data => self.finish(now, Ending::Broken),
            _ => self.envelope_goes_on(now),
        }
    }

    /// After a reply to MAIL or RCPT: waits for the next one, sends the next group, or gives the transaction up.
    fn envelope_goes_on(&mut self, now: Now) {
        let State::Envelope(attempt) = &mut self.state else {
            return;
        };
        let timeouts = &self.settings.timeouts;
        let timeout = if attempt.stage() == Stage::Data { timeouts.data } else { timeouts.recipient };
        if attempt.answered < attempt.sent {
            self.deadline = Some(now.mono + timeout);
        } else if attempt.is_undecided() {
            let group = attempt.next_group(&self.session.extensions);
            self.transmit(now, group, timeout);
        } else {
            self.finish(now, Ending::Broken);
        }
    }

    /// DATA got 354: content must come, even where no recipient was taken and pipelining had sent DATA already (RFC 2920 §3.1).
    fn begin_content(&mut self, now: Now) {
        let State::Envelope(attempt) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        if attempt.is_undecided() {
            self.state = State::Content(attempt);
            if !self.reader.is_empty() {
                return self.unasked();
            }
            self.deadline = Some(now.mono + self.settings.timeouts.block);
            self.outputs.push_back(ClientOutput::NeedContent);
        } else {
            let timeout = self.settings.timeouts.dot;
            self.ask(now, b".\r\n".to_vec(), timeout, State::Dot(attempt));
        }
    }

    pub(super) fn content(&mut self, now: Now, bytes: &[u8], last: bool) {
        let State::Content(attempt) = &mut self.state else {
            return;
        };
        if !self.reader.is_empty() {
            return self.unasked();
        }
        let mut wire = Vec::with_capacity(bytes.len() + bytes.len() / 32 + STUFFING_ROOM);
        attempt.stuffer.write(bytes, &mut wire);
        if !last {
            self.deadline = Some(now.mono + self.settings.timeouts.block);
            self.outputs.push_back(ClientOutput::Send(wire));
            self.outputs.push_back(ClientOutput::NeedContent);
            return;
        }
        attempt.stuffer.finish(&mut wire);
        let timeout = self.settings.timeouts.dot;
        if let State::Content(attempt) = std::mem::replace(&mut self.state, State::Closed) {
            self.ask(now, wire, timeout, State::Dot(attempt));
        }
    }

    pub(super) fn dot_replied(&mut self, now: Now, whole: Whole) {
        let State::Dot(attempt) = &mut self.state else {
            return;
        };
        let reply = self.reader.take(whole);
        match reply.severity() {
            Severity::Intermediate => return self.out_of_place(reply),
            Severity::Completed => attempt.decide(|| RecipientResult::Delivered(reply.clone())),
            Severity::Transient | Severity::Permanent => {
                attempt.decide(|| refusal(Stage::Dot, reply.clone()))
            }
        }
        self.finish(now, if reply.code == 421 { Ending::HostCloses } else { Ending::Whole });
    }

    /// Hands out the results and sees to the connection.
    fn finish(&mut self, now: Now, ending: Ending) {
        let (State::Envelope(attempt) | State::Dot(attempt)) =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            return;
        };
        self.outputs.push_back(ClientOutput::Done(attempt.results.into_iter().flatten().collect()));
        match ending {
            Ending::Whole if self.reader.is_empty() => self.ready(),
            Ending::Whole | Ending::HostCloses => self.close(),
            Ending::Broken => {
                let timeout = self.settings.timeouts.hello;
                self.ask(now, b"RSET\r\n".to_vec(), timeout, State::Reset);
            }
        }
    }
}

/// How a delivery leaves the connection.
enum Ending {
    /// The final dot was answered: the next MAIL may follow at once.
    Whole,
    /// A transaction may be open.
    Broken,
    /// 421 at the final dot.
    HostCloses,
}

fn severity(code: u16) -> Severity {
    Reply { code, status: None, lines: Vec::new() }.severity()
}

/// 552 to RCPT is a server's old way to say "too many recipients", and is taken for 452 (RFC 5321 §4.5.3.1.10).
fn refusal(stage: Stage, reply: Reply) -> RecipientResult {
    let too_many = stage == Stage::Recipient && reply.code == 552;
    if reply.severity() == Severity::Permanent && !too_many {
        RecipientResult::Refused { stage, reply }
    } else {
        RecipientResult::Deferred { stage, reply }
    }
}

// Writing to a String cannot fail: the results of `write!` are passed over.

fn write_mail(delivery: &Delivery, offered: &Extensions, wire: &mut String) {
    let sender = &delivery.sender;
    wire.push_str("MAIL FROM:");
    let _ = match sender.path.address() {
        Some(address) => write!(wire, "<{address}>"),
        None => write!(wire, "<>"),
    };
    if offered.size.is_some() {
        let _ = write!(wire, " SIZE={}", delivery.size);
    }
    if delivery.eight_bit {
        wire.push_str(" BODY=8BITMIME");
    }
    if offered.dsn {
        match sender.ret {
            Some(Ret::Full) => wire.push_str(" RET=FULL"),
            Some(Ret::Headers) => wire.push_str(" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = &sender.envid {
            wire.push_str(" ENVID=");
            xtext::encode_into(envid, wire);
        }
    }
    wire.push_str("\r\n");
}

fn write_rcpt(recipient: &Recipient, offered: &Extensions, wire: &mut String) {
    let _ = write!(wire, "RCPT TO:<{}>", recipient.address);
    if offered.dsn {
        write_notify(recipient.notify, wire);
        if let Some((kind, address)) = recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
            wire.push_str(" ORCPT=");
            xtext::encode_into(kind, wire);
            wire.push(';');
            xtext::encode_into(address, wire);
        }
    }
    wire.push_str("\r\n");
}

fn write_notify(notify: Notify, wire: &mut String) {
    match notify {
        Notify::Unset => {}
        Notify::Never => wire.push_str(" NOTIFY=NEVER"),
        Notify::On { success, failure, delay } => {
            let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let mut before = " NOTIFY=";
            for (_, word) in words.iter().filter(|(wanted, _)| *wanted) {
                wire.push_str(before);
                wire.push_str(word);
                before = ",";
            }
        }
    }
}
