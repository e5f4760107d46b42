//! Each question an administrator asks and its answer, as plain data.
//!
//! Over the socket a request is one JSON line, and its answer some `Line::Item` lines followed by one `Line::End` or
//! `Line::Failed`. Faces know nothing else of the service.

pub mod answer;
pub mod attributes;
pub mod meta;
pub mod meta_answer;

use answer::{Done, EventRow, Explanation, QueueRow, Status};
use postroad_mail::id::MessageId;
use serde::{Deserialize, Serialize};

/// The socket's name in the data folder.
pub const SOCKET: &str = "control.sock";
/// Octets of a question's line at most: it names at most some thousand ids.
pub const LINE_MAX: usize = 1024 * 1024;

/// Octets of a line of an answer at most: a record of 1 MiB in which each octet is escaped.
pub const ANSWER_LINE_MAX: usize = 16 * 1024 * 1024;
/// Differences told of one change, and lines of one import: what a person looks through. Beyond these their number is told.
pub const TOLD_MAX: usize = 2000;
/// Characters told of one value in a difference.
pub const VALUE_TOLD_MAX: usize = 1000;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// How the service is: one `Item::Status`.
    Status,
    /// What waits, a row a recipient, by id: `Item::Recipient` each.
    QueueList {
        /// Only after this id.
        after: Option<MessageId>,
        /// Messages at most.
        limit: usize,
    },
    /// One message's recipients: `Item::Recipient` each.
    QueueShow {
        /// The message.
        id: MessageId,
    },
    /// Make due at once: one `Item::Done`.
    QueueRetry {
        /// Which.
        which: Which,
    },
    /// Delete without notice: one `Item::Done`.
    QueueDelete {
        /// Which.
        which: Which,
    },
    /// What was tried and why something waits: one `Item::Explanation`.
    Explain {
        /// A queue id, an address, or a domain.
        subject: String,
    },
    /// Events, oldest first: `Item::Event` each.
    Events {
        /// The newest this many.
        limit: usize,
        /// Of this number only.
        number: Option<u32>,
    },
    /// About the metabase: `Item::Meta` each.
    Meta(meta::MetaRequest),
}

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All.
    All,
    /// These.
    Ids(Vec<MessageId>),
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A part of the answer.
    Item(Item),
    /// It is whole.
    End,
    /// There is none, or no more of it.
    Failed(Failed),
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// To `Status`.
    Status(Box<Status>),
    /// To `QueueList`, `QueueShow`.
    Recipient(Box<QueueRow>),
    /// To `QueueRetry`, `QueueDelete`.
    Done(Done),
    /// To `Explain`.
    Explanation(Explanation),
    /// To `Events`.
    Event(EventRow),
    /// To `Meta`.
    Meta(meta_answer::MetaItem),
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub struct Failed {
    /// What a caller does about it.
    pub kind: FailedKind,
    /// In words, with what to do.
    pub what: String,
}

/// What a caller does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedKind {
    /// Nothing matches what was named: exit status 1.
    NotFound,
    /// It was not done, and nothing has changed: exit status 1.
    Refused,
    /// The question is malformed: exit status 2.
    Usage,
    /// No service, no store: exit status 69.
    Unavailable,
    /// Try later: exit status 75.
    Temporary,
}

impl FailedKind {
    /// The exit status that says so.
    #[must_use]
    pub fn exit_status(self) -> u8 {
        match self {
            Self::NotFound | Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Temporary => 75,
        }
    }
}
