//! What the store is told and asked, as plain data: nothing here knows an engine.

use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An accepted message without its content. It never changes after it was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its queue id; `id.given_at()` is when it was accepted.
    pub id: MessageId,
    /// Who sent it, and how failures are reported.
    pub sender: Sender,
    /// Its recipients; a recipient is named by its index here.
    pub recipients: Vec<Recipient>,
    /// The trace field we add (`Received: ...`, ended by CRLF), which goes out before the content.
    pub trace: String,
    /// Octets of the content, without `trace`.
    pub size: u64,
}

/// Where a message's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In memory.
    Memory(Arc<Vec<u8>>),
    /// In the draft file of this number, not accepted yet; the store takes the file over when it accepts the message.
    Draft(DraftId),
    /// In the store, too large to be handed out whole: read it by `Load::Content`.
    Stored,
}

impl Content {
    /// Octets of memory that it takes.
    #[must_use]
    pub fn octets_in_memory(&self) -> u64 {
        match self {
            Self::Memory(octets) => octets.len() as u64,
            Self::Draft(_) | Self::Stored => 0,
        }
    }
}

/// The number of a draft file, unique while the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftId(pub u64);

/// One recipient that waits on its own account: it was deferred by a reply about it, or its message was partly settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Index in `Message::recipients`.
    pub recipient: u32,
    /// Where it goes (it may differ from where it was first sent: Badmail).
    pub hop: NextHop,
    /// Not to be tried before.
    pub due: Wall,
    /// How many replies have deferred it.
    pub attempts: u32,
    /// Why it waits, in words; empty when it was not tried.
    pub cause: String,
}

/// A message as the store hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The message.
    pub message: Arc<Message>,
    /// Its content: in memory when it was asked for and has at most `CONTENT_IN_MEMORY_MAX` octets, else `Stored`.
    pub content: Content,
    /// `None`: fresh, all recipients wait at their hop. Else exactly those that are not settled, by recipient.
    pub pending: Option<Vec<Pending>>,
}

/// Content of at most this many octets is handed out in memory. A delivery reads larger content piece by piece.
pub const CONTENT_IN_MEMORY_MAX: u64 = 256 * 1024;

/// Why a next hop is not tried before a time. It holds for everything that waits at the hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Which schedule it is on.
    pub kind: GateKind,
    /// When the hop is tried again.
    pub until: Wall,
    /// How many times in a row it has failed, per kind: the index into the schedule.
    pub step: u32,
    /// The cause in words.
    pub cause: String,
    /// When the wait began.
    pub since: Wall,
}

/// The schedule a gate is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GateKind {
    /// A DNS fault: the DNS schedule; the time does not count towards expiry; released when DNS recovers.
    Dns,
    /// No host could be talked to: the progressive schedule.
    Host,
}

/// What the store keeps of a next hop at which something waits. It is gone when nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopRow {
    /// The hop.
    pub hop: NextHop,
    /// Recipients that wait at it.
    pub waiting: u64,
    /// When it is to be looked at next: the gate's end or the earliest pending recipient's due time.
    pub due: Wall,
    /// Its state.
    pub state: HopState,
}

/// The part of a hop's row that the queue writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HopState {
    /// Why it waits, if it does.
    pub gate: Option<Gate>,
    /// Spans during which it waited for DNS, oldest first, at most `DNS_WAITS_MAX`: they do not count towards expiry.
    pub dns_waits: Vec<(Wall, Wall)>,
    /// Attempts at the hop that failed since one last succeeded, whatever their kind: the progressive step.
    pub host_failures: u32,
    /// A mark of the domains that were ours when everything that waits here was last found to be led here; 0: not known. Only
    /// of hops that take the mail of many domains.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub locals: u64,
}

fn is_zero(mark: &u64) -> bool {
    *mark == 0
}

impl HopState {
    /// Whether the hop waits for DNS, which is what `Load::Hops` can ask for.
    #[must_use]
    pub fn waits_for_dns(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.kind == GateKind::Dns)
    }
}

/// Spans remembered of one hop; the oldest are merged beyond it.
pub const DNS_WAITS_MAX: usize = 32;

/// One change. A batch of them is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The message is ours from the commit of this on. It is *fresh*: all recipients wait at their hop, none has a row.
    Accept {
        /// The message.
        message: Arc<Message>,
        /// `Memory` or `Draft`.
        content: Content,
    },
    /// Exactly these recipients of the message are unsettled, each with its own due time; replaces what was kept. A fresh
    /// message with all recipients at one hop may be divided later; one with several hops stays fresh at each of them. No hop
    /// of them is due later than they are; a `Hop` of the same batch has the last word.
    Divide {
        /// The message; unknown ids are passed over (it was deleted by an administrator).
        id: MessageId,
        /// Not empty, and each recipient once.
        pending: Vec<Pending>,
    },
    /// Every recipient is delivered, returned or deleted: the message goes. Unknown ids are passed over.
    Settle {
        /// The message.
        id: MessageId,
    },
    /// `delta` more recipients wait at the hop. The row is made, due at `Wall(0)` (at once) and in the default state, or goes
    /// when none is left. One for each hop in a batch.
    Waiting {
        /// The hop.
        hop: NextHop,
        /// Added to the row's count.
        delta: i64,
    },
    /// Replaces the hop's state and due time, where it still has a row once the batch's `Waiting` are applied.
    Hop {
        /// The hop.
        hop: NextHop,
        /// New due time.
        due: Wall,
        /// New state.
        state: HopState,
    },
    /// Appends to the history of the day of `at`.
    Journal(JournalEntry),
}

/// One step of what was tried, kept for `explain` in a history that is dropped by the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The message it is about; none: all that waited at the hop.
    pub message: Option<MessageId>,
    /// The hop.
    pub hop: NextHop,
    /// When.
    pub at: Wall,
    /// What happened: a JSON object of the writer's (`postroad_engine::journal`), of at most `JOURNAL_BODY_MAX` octets.
    pub body: String,
}

/// Octets of one journal entry's body.
pub const JOURNAL_BODY_MAX: usize = 16 * 1024;

/// What a commit tells the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The rows of `Waiting` records' hops that existed before the batch, as they are after it, in the records' order; a
    /// row that went is not among them. It is how the queue learns of a gate at a hop it does not hold in memory.
    pub hops: Vec<HopRow>,
}

/// A question to the store. Each answer is bounded, in rows and so in time: listings go page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    /// Hops by `(due, hop)`, due at or before `until`.
    DueHops {
        /// Latest due time.
        until: Wall,
        /// The last row of the page before.
        after: Option<(Wall, NextHop)>,
        /// Rows at most.
        limit: usize,
    },
    /// Hops in order of their key, all or those whose gate is of kind `Dns`.
    Hops {
        /// Only hops that wait for DNS.
        dns_only: bool,
        /// The last key of the page before.
        after: Option<NextHop>,
        /// Rows at most.
        limit: usize,
    },
    /// One hop's row: `Loaded::Hops` with one row or none.
    Hop(NextHop),
    /// Fresh messages with a recipient at the hop, by id, contents included.
    Fresh {
        /// The hop.
        hop: NextHop,
        /// The last id of the page before.
        after: Option<MessageId>,
        /// Messages at most.
        limit: usize,
        /// Content is handed out in memory until the page's total reaches this; then as `Stored`.
        content_total_max: u64,
    },
    /// Messages with a pending recipient at the hop that is due at or before `until`, contents included, by the earliest
    /// due time of their recipients at this hop, then id.
    Pending {
        /// The hop.
        hop: NextHop,
        /// Latest due time.
        until: Wall,
        /// The last `(due, id)` of the page before.
        after: Option<(Wall, MessageId)>,
        /// Messages at most.
        limit: usize,
        /// As in `Fresh`.
        content_total_max: u64,
    },
    /// The earliest due time of a pending recipient at the hop: `Loaded::Due`.
    EarliestPending(NextHop),
    /// Messages at the hop, fresh or pending, with an id below `before`, by id, without content: those that may have expired.
    Old {
        /// The hop.
        hop: NextHop,
        /// Ids below this one.
        before: MessageId,
        /// The last id of the page before.
        after: Option<MessageId>,
        /// Messages at most.
        limit: usize,
    },
    /// All messages by id, without content.
    Messages {
        /// The last id of the page before.
        after: Option<MessageId>,
        /// Messages at most.
        limit: usize,
    },
    /// One message, content included when small: `Loaded::Messages` with one or none.
    Message(MessageId),
    /// A piece of a message's content: `Loaded::Content`, shorter than `len` only at the end.
    Content {
        /// The message.
        id: MessageId,
        /// First octet.
        offset: u64,
        /// Octets at most.
        len: usize,
    },
    /// Journal entries about a message, and those about its hops, oldest first: the newest `limit` of them. Of a message
    /// that is gone, only up to the last entry about itself.
    JournalOfMessage {
        /// The message.
        id: MessageId,
        /// Entries at most.
        limit: usize,
    },
    /// Journal entries of a hop, whatever the message, oldest first: the newest `limit` of them.
    JournalOfHop {
        /// The hop.
        hop: NextHop,
        /// Entries at most.
        limit: usize,
    },
    /// The highest id ever given and the totals: `Loaded::Totals`.
    Totals,
}

/// The store's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// To `DueHops`, `Hops`, `Hop`.
    Hops(Vec<HopRow>),
    /// To `Fresh`, `Pending`, `Old`, `Messages`, `Message`.
    Messages(Vec<Stored>),
    /// To `EarliestPending`.
    Due(Option<Wall>),
    /// To `Content`; `None` when the message is gone.
    Content(Option<Vec<u8>>),
    /// To `JournalOfMessage`, `JournalOfHop`.
    Journal(Vec<JournalEntry>),
    /// To `Totals`.
    Totals(Totals),
}

/// Totals that the store keeps as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages in the store.
    pub messages: u64,
    /// The highest id ever accepted.
    pub last_id: MessageId,
}
