//! What passes between `Queue` and `Outbound`, and what both tell the administrator.

use crate::journal::Tried;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::{Reply, Status};
use postroad_mail::time::Wall;
use postroad_spool::record::{Content, GateKind, Message};
use std::sync::Arc;

/// One attempt: a connection to a next hop, from its opening to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// A message to deliver over an attempt's connection, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The message.
    pub message: Arc<Message>,
    /// `Memory` or `Stored`.
    pub content: Content,
    /// Which of the message's recipients, by index.
    pub recipients: Vec<u32>,
    /// How often they were deferred by a reply before, at most.
    pub attempts: u32,
    /// Why the recipients go to the Badmail folder; empty for other hops.
    pub cause: String,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its next hop took it over.
    Delivered {
        /// What it said, or what was done instead (a file's name).
        reply: String,
    },
    /// A reply about it deferred it, or an answer to the final dot was lost.
    Deferred {
        /// 4.x.y.
        status: Status,
        /// In words.
        cause: String,
    },
    /// A permanent verdict.
    Failed(Failure),
}

/// The status of content that no host of the domain can take as it is (RFC 6152 §3).
pub(crate) const NO_8BITMIME: Status = Status::new(5, 6, 3);

/// A permanent verdict about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 5.x.y.
    pub status: Status,
    /// In words.
    pub cause: String,
    /// The server that said so, if one did.
    pub remote: Option<String>,
    /// What it said.
    pub reply: Option<Reply>,
}

/// What became of a job: one outcome for each of its recipients, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The message.
    pub id: MessageId,
    /// In the order of `Job::recipients`.
    pub outcomes: Vec<Outcome>,
    /// How it was done.
    pub tried: Tried,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In order; a job that was not reported was not tried.
    Finished,
    /// The hop could not be used: everything that waits there waits on.
    HopFailed {
        /// Its schedule.
        kind: GateKind,
        /// In words.
        cause: String,
        /// What was tried.
        tried: Tried,
        /// A host that was ready for mail was lost over the job in hand, or it could not be written: it may be why.
        lost_over_job: bool,
    },
}

/// A fact of the mail's flow, for the log and for events. Each recipient that is accepted, delivered, deferred or returned
/// has one, with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The message is ours: its 250 goes out.
    Accepted {
        /// The message.
        message: Arc<Message>,
        /// Who handed it in.
        client: String,
        /// The metabase's generation that its session was under.
        generation: u64,
    },
    /// A recipient was delivered.
    Delivered {
        /// The message.
        message: Arc<Message>,
        /// Recipient's index.
        recipient: u32,
        /// To which host.
        host: String,
        /// What it said.
        reply: String,
        /// The metabase's generation that the attempt was under.
        generation: u64,
    },
    /// A recipient waits.
    Deferred {
        /// The message.
        message: Arc<Message>,
        /// Recipient's index.
        recipient: u32,
        /// In words.
        cause: String,
        /// Next try.
        until: Wall,
        /// The metabase's generation that the attempt was under; without an attempt, the one in force.
        generation: u64,
    },
    /// A recipient failed for good.
    Failed {
        /// The message.
        message: Arc<Message>,
        /// Recipient's index.
        recipient: u32,
        /// In words.
        cause: String,
        /// 5.x.y.
        status: Status,
        /// What is done about it.
        fate: Fate,
        /// As of `Deferred`.
        generation: u64,
    },
    /// Nothing at a hop is tried before `until`.
    HopWaits {
        /// The hop.
        hop: NextHop,
        /// Which schedule.
        kind: GateKind,
        /// In words.
        cause: String,
        /// Next try.
        until: Wall,
        /// Recipients that wait there.
        waiting: u64,
    },
    /// A hop that waited can be used again, or nothing waits there any more.
    HopRecovered {
        /// The hop.
        hop: NextHop,
    },
}

/// What is done about a failed recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A notification goes to the sender.
    Returned,
    /// The sender is null: to the Badmail folder.
    Badmail,
    /// The sender asked for no notification (`NOTIFY` without `FAILURE`).
    Silent,
    /// An administrator deleted it.
    Deleted,
}

/// Characters that are told and kept of what a host says: it may say 50,000, to each of a thousand messages.
const SAID_MAX: usize = 1000;

/// As much of a text as is told and kept.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SAID_MAX).collect()
}
