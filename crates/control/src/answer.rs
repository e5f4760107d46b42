//! The parts of answers.

use postroad_mail::address::{Address, ReversePath};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use serde::{Deserialize, Serialize};

/// How the service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs, milliseconds since the epoch.
    pub started: Wall,
    /// Its name in SMTP.
    pub name: String,
    /// Where it listens.
    pub bindings: Vec<String>,
    /// The data folder.
    pub data: String,
    /// The configuration file, if it has one: its properties are pinned.
    pub config: Option<String>,
    /// The metabase's generation: the number of its last change.
    pub generation: u64,
    /// The properties that the configuration file pins, each with its place in the file.
    pub pins: Vec<String>,
    /// When the last change undoes itself unless it is confirmed.
    pub confirm_until: Option<Wall>,
    /// The DNS transport policy.
    pub dns_policy: String,
    /// The name servers and what is known of them.
    pub dns_servers: Vec<DnsServer>,
    /// Messages in the queue.
    pub messages: u64,
    /// Inbound connections.
    pub inbound: u64,
    /// Outbound connections.
    pub outbound: u64,
    /// Whether the store takes writes.
    pub store_up: bool,
    /// Next hops that wait, those that most wait for first, at most 20.
    pub waiting: Vec<WaitingHop>,
}

/// A name server and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsServer {
    /// Its address and port.
    pub server: String,
    /// Each transport: `udp: works, 0.4 ms`, `tcp: down since ..., next probe in 30s: connection refused`.
    pub transports: Vec<String>,
    /// Whether all transports work as far as is known.
    pub healthy: bool,
}

/// A next hop that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingHop {
    /// The hop.
    pub hop: NextHop,
    /// Recipients that wait there.
    pub recipients: u64,
    /// Why.
    pub cause: String,
    /// Next try.
    pub until: Wall,
}

/// A recipient in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRow {
    /// The message.
    pub id: MessageId,
    /// When it was accepted.
    pub accepted: Wall,
    /// Its age in seconds.
    pub age_secs: u64,
    /// The sender; `<>` for a notification.
    pub sender: ReversePath,
    /// The recipient.
    pub recipient: Address,
    /// Octets.
    pub size: u64,
    /// Where it goes.
    pub hop: NextHop,
    /// What is with it.
    pub state: RecipientState,
    /// Why it waits; empty when it was not tried.
    pub cause: String,
    /// Replies that deferred it.
    pub attempts: u32,
    /// When it is tried next; none: now, or it is being tried.
    pub next_try: Option<Wall>,
}

/// What is with a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientState {
    /// It is to be tried as soon as a connection is free.
    Ready,
    /// It is in an attempt.
    Active,
    /// It waits until `next_try`.
    Deferred,
}

/// What was done to the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Messages it was done to.
    pub done: u64,
    /// Ids that are not in the queue.
    pub missing: Vec<MessageId>,
    /// Messages in delivery at that moment, left alone.
    pub busy: Vec<MessageId>,
}

/// The story of a message, an address or a domain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked about.
    pub subject: String,
    /// What happened, oldest first.
    pub steps: Vec<Step>,
    /// How things stand, a sentence each: why it waits and until when, or how it ended.
    pub standing: Vec<String>,
}

/// A step of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Wall,
    /// The message, unless it is about all that waited at the hop.
    pub id: Option<MessageId>,
    /// The hop.
    pub hop: NextHop,
    /// In words; the first line says it, the others show how.
    pub text: Vec<String>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its number, as 2012.
    pub number: u32,
    /// `Information`, `Warning` or `Error`.
    pub severity: String,
    /// Where it comes from, as `DNS`.
    pub category: String,
    /// When.
    pub at: Wall,
    /// The sentence.
    pub text: String,
    /// What to do.
    pub remedy: String,
    /// Its fields.
    pub fields: std::collections::BTreeMap<String, String>,
    /// How often it happened since it was last told.
    pub count: u64,
}
