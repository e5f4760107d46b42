//! A job over a connection: its envelope, its content piece by piece, and what its recipients' answers come to.

use super::{Outbound, OutboundOutput, PIECE, State, walk};
use crate::delivery::{Failure, Job, Outcome, Report, cut};
use postroad_mail::envelope::BodyKind;
use postroad_mail::reply::Status;
use postroad_mail::time::Now;
use postroad_smtp::client::{ClientInput, Delivery, RecipientResult, Stage};
use postroad_spool::record::Content;
use std::sync::Arc;

impl Outbound {
    pub(super) fn deliver(&mut self, now: Now, job: &Job) {
        self.state = State::Talking;
        self.sent = 0;
        let message = &job.message;
        let recipients = job.recipients.iter().filter_map(|index| message.recipients.get(*index as usize));
        let delivery = Delivery {
            sender: message.sender.clone(),
            recipients: recipients.cloned().collect(),
            size: message.size + message.trace.len() as u64,
            eight_bit: message.sender.body == BodyKind::EightBit,
        };
        if let Some(client) = &mut self.client {
            client.handle(now, ClientInput::Deliver(Arc::new(delivery)));
        }
    }

    pub(super) fn need_content(&mut self, now: Now) {
        let Some(job) = self.job.clone() else { return };
        let trace = job.message.trace.as_bytes();
        if self.sent < trace.len() as u64 {
            self.sent = trace.len() as u64;
            let last = job.message.size == 0;
            if let Some(client) = &mut self.client {
                client.handle(now, ClientInput::Content { bytes: trace, last });
            }
            return;
        }
        match &job.content {
            Content::Memory(bytes) => {
                if let Some(client) = &mut self.client {
                    client.handle(now, ClientInput::Content { bytes, last: true });
                }
            }
            Content::Draft(_) | Content::Stored => {
                let offset = self.sent - trace.len() as u64;
                let id = job.message.id;
                self.reading = true;
                self.outputs.push_back(OutboundOutput::ReadContent { id, offset, len: PIECE });
            }
        }
    }

    pub(super) fn stored_content(&mut self, now: Now, bytes: &[u8]) {
        let Some(job) = &self.job else { return };
        self.sent += bytes.len() as u64;
        let whole = job.message.size + job.message.trace.len() as u64;
        let last = self.sent >= whole;
        if bytes.is_empty() && !last {
            let cause = String::from("the content in the spool is shorter than it was");
            return self.talk(now, ClientInput::ContentFailed(cause));
        }
        self.talk(now, ClientInput::Content { bytes, last });
    }

    pub(super) fn done(&mut self, now: Now, results: Vec<RecipientResult>) {
        let Some(job) = self.job.clone() else { return };
        let lost = results.iter().find_map(|result| match result {
            RecipientResult::Lost(failure) if failure.stage < Stage::Dot => Some(failure.clone()),
            _ => None,
        });
        let seven_bit = results.iter().any(|result| matches!(result, RecipientResult::EightBitNotOffered));
        if let Some(failure) = lost {
            self.hang_up();
            if results.iter().any(|result| !matches!(result, RecipientResult::Lost(_))) {
                let remote = self.walk.current();
                self.walk.decided = Some(results.into_iter().map(|result| outcome(result, remote)).collect());
            }
            if self.done_here > 0 {
                // A host may close a connection that it has used: that says nothing about the host.
                self.walk.note(&format!("{}; once more over a new connection", failure.text));
                self.walk.again(self.at.take());
            } else {
                self.walk.failed(&failure.text);
                self.walk.broke_over_content |= failure.stage == Stage::Content;
                self.walk.lost_over_job |= failure.stage > Stage::Ready;
            }
            return self.next_host(now);
        }
        if seven_bit {
            self.hang_up();
            self.walk.has_no_8bitmime();
            return self.next_host(now);
        }
        self.job = None;
        self.done_here += 1;
        let remote = self.walk.current();
        let outcomes = results.into_iter().map(|result| outcome(result, remote)).collect();
        let report = Report { id: job.message.id, outcomes, tried: self.tried() };
        self.outputs.push_back(OutboundOutput::Report(report));
        self.walk.forget_message();
    }
}

/// What a host's answer about a recipient comes to. `remote`: the host.
fn outcome(result: RecipientResult, remote: &str) -> Outcome {
    match result {
        RecipientResult::Delivered(reply) => Outcome::Delivered { reply: cut(&reply.to_string()) },
        RecipientResult::Refused { stage, reply } => {
            let status = reply.status.filter(|status| status.class == 5).unwrap_or(Status::new(5, 0, 0));
            let cause = cut(&format!("{remote} refused {}: {reply}", words(stage)));
            Outcome::Failed(Failure { status, cause, remote: Some(remote.to_owned()), reply: Some(reply) })
        }
        RecipientResult::Deferred { stage, reply } => {
            let status = reply.status.filter(|status| status.class == 4).unwrap_or(Status::new(4, 0, 0));
            let cause = cut(&format!("{remote} deferred {}: {reply}", words(stage)));
            Outcome::Deferred { status, cause }
        }
        RecipientResult::Lost(failure) => Outcome::Deferred {
            status: Status::new(4, 4, 2),
            cause: cut(&format!("{remote}: {}", failure.text)),
        },
        RecipientResult::EightBitNotOffered => Outcome::Failed(walk::no_8bitmime()),
    }
}

fn words(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect => "the connection",
        Stage::Greeting => "us in its greeting",
        Stage::Hello => "EHLO",
        Stage::StartTls => "STARTTLS",
        Stage::Ready => "the session",
        Stage::Mail => "the sender",
        Stage::Recipient => "the recipient",
        Stage::Data | Stage::Content => "DATA",
        Stage::Dot => "the message",
    }
}
