//! What waits, and when it is tried.
//!
//! `Queue` owns the order of things: a message is stored before it is ours, an outcome is stored before it is forgotten, and
//! no recipient is in two attempts at once. It never calls the store: it emits `Commit` and `Load` and is told what came of
//! them. Its memory does not grow with the backlog: what waits at a closed gate is in the store alone, and comes back page
//! by page when the gate opens.
//!
//! | state of a message | in the store | here |
//! |---|---|---|
//! | handed in | nothing | a unit of the batch, with the client's ticket |
//! | fresh | its row, fresh at each hop | maybe in `live`, ready or in flight |
//! | divided | its row and a pending row a recipient | maybe in `live` |
//! | settled | nothing | in `live` until the commit of that is acknowledged |

mod admin;
mod batch;
mod connections;
mod gates;
mod hops;
mod live;
mod loads;
mod outcomes;
mod reroute;

use crate::delivery::{AttemptId, End, Flow, Job, Report};
use crate::route;
use batch::{After, Batch, Unit};
use hops::Hop;
use live::Live;
use loads::Pursuit;
use postroad_dns::answer::Answer;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Committed, Content, Load, Loaded, Message, Record};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The shell's name for a client that waits for its 250.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The queue's name for a question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadToken(pub u64);

/// The shell's name for an administrator's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminToken(pub u64);

/// A sealed draft: a message that is whole, and not ours yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who sent it.
    pub sender: Sender,
    /// At least one.
    pub recipients: Vec<Recipient>,
    /// The trace field up to where the id follows, without a line end at its end.
    pub trace_head: String,
    /// `Memory` or `Draft`.
    pub content: Content,
    /// Octets of `content`.
    pub size: u64,
    /// Who handed it in, for the log.
    pub client: String,
    /// The metabase's generation under which it was taken.
    pub generation: u64,
}

/// What the shell tells the queue.
#[derive(Debug)]
pub enum QueueInput {
    /// Settings as of now.
    Settings(Arc<Settings>),
    /// A session began to receive content: its draft may be worth waiting for.
    DataOpened,
    /// That session will not hand in a draft after all.
    DataDropped,
    /// A draft of a session that had `DataOpened`. Answered by `Accepted` or `Refused`.
    Submit {
        /// Names the client in the answer.
        ticket: Ticket,
        /// The draft.
        draft: Draft,
    },
    /// The batch is on disk.
    Committed(Committed),
    /// The batch is not on disk; it comes back. No further commit before `StoreUp`.
    StoreFailed {
        /// The batch as it was emitted.
        batch: Vec<Record>,
        /// For want of room.
        full: bool,
    },
    /// The store was opened anew.
    StoreUp,
    /// The answer to a `Load`; `None` when the store failed.
    Loaded(LoadToken, Option<Loaded>),
    /// An attempt talked to a host and may be given messages: its hop works. With the plan it followed, if it had one.
    Reached(AttemptId, Option<Arc<Answer>>),
    /// An attempt has no job.
    Want(AttemptId),
    /// What became of an attempt's job.
    Report(AttemptId, Report),
    /// The attempt is over.
    Ended(AttemptId, End),
    /// DNS works again, or was configured anew: what waits for it is due.
    DnsReleased,
    /// An administrator's request; answered by `AdminDone`.
    Admin(AdminToken, AdminRequest),
    /// No new attempts; what is in flight ends, and everything is written.
    Stop,
    /// The deadline has come.
    Tick,
}

/// What an administrator may ask of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// Make due at once.
    Retry(Selection),
    /// Delete without notice to the sender.
    Delete(Selection),
}

/// Which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All.
    All,
    /// These.
    Ids(Vec<MessageId>),
}

/// What came of an administrator's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminResult {
    /// Messages it was done to.
    pub done: u64,
    /// Ids that are not in the queue.
    pub missing: Vec<MessageId>,
    /// Messages that are being delivered at this moment, and were left alone.
    pub busy: Vec<MessageId>,
    /// The store failed: nothing is known of the rest.
    pub store_failed: bool,
}

/// What the queue asks of the shell.
#[derive(Debug, PartialEq)]
pub enum QueueOutput {
    /// The totals are known: clients may come in.
    Started,
    /// Write this, then say `Committed` or `StoreFailed`. At most one is under way.
    Commit(Vec<Record>),
    /// Ask the store this, then say `Loaded`.
    Load(LoadToken, Load),
    /// The message is ours.
    Accepted(Ticket, MessageId),
    /// It is not: for want of room, or because the store failed.
    Refused {
        /// The client.
        ticket: Ticket,
        /// For want of room: 452 4.3.1, else 451 4.3.0.
        full: bool,
    },
    /// Open an attempt at a hop, its first job in hand.
    Open(AttemptId, NextHop, Arc<Job>),
    /// Give the attempt this job.
    Deliver(AttemptId, Arc<Job>),
    /// No job for the attempt now: it may keep its connection for a while.
    Rest(AttemptId),
    /// The attempt is to end its connection.
    Close(AttemptId),
    /// For the log and for events.
    Flow(Flow),
    /// What came of a request.
    AdminDone(AdminToken, AdminResult),
    /// After `Stop`: nothing is in flight and everything is written.
    Stopped,
}

/// Content held in memory for messages that are ready or in flight, octets. Beyond it only the store has it. (64 MiB: a
/// backlog that is worked off keeps some thousand messages at hand, and no backlog can take more.)
pub const CONTENT_TOTAL_MAX: u64 = 64 * 1024 * 1024;
/// Messages ready at one hop in memory; what is beyond stays in the store.
pub const READY_MAX: usize = 1000;
/// Drafts that wait for a commit; beyond it clients hear 451, since the store cannot keep up.
pub const SUBMITTED_MAX: usize = 10_000;

/// The machine.
pub struct Queue {
    settings: Arc<Settings>,
    random: ChaCha12Rng,
    last_id: MessageId,
    /// A second and its date: most messages are of the second of the one before.
    date: (i64, String),
    messages: u64,
    started: bool,
    stopping: bool,
    stopped: bool,
    store: StoreState,
    /// Sessions inside DATA whose draft has not come.
    receiving: usize,
    batch: Batch,
    hops: BTreeMap<NextHop, Hop>,
    wakes: BTreeSet<(Mono, NextHop)>,
    /// Hops that are due may be in the store alone, for want of room here.
    hops_beyond: bool,
    /// Hops that have work and found no free connection.
    starved: BTreeSet<NextHop>,
    /// The starved hop that had the last turn.
    fed: Option<NextHop>,
    live: BTreeMap<MessageId, Live>,
    /// Of `live`, and of pages on their way, which are counted as full.
    content_total: u64,
    attempts: BTreeMap<AttemptId, Attempt>,
    loads: BTreeMap<LoadToken, (Load, Pursuit)>,
    /// Asked again when the store is back.
    failed_loads: Vec<(Load, Pursuit)>,
    admin: Option<admin::Work>,
    admin_waiting: VecDeque<(AdminToken, AdminRequest)>,
    walk: Option<reroute::Walk>,
    next_walk: u64,
    /// Waits for DNS of hops from which mail is on its way to others, by those.
    carried: BTreeMap<NextHop, Vec<(Wall, Wall)>>,
    next_token: u64,
    next_attempt: u64,
    horizon_at: Mono,
    outputs: VecDeque<QueueOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreState {
    Up,
    Down { full: bool },
}

struct Attempt {
    hop: NextHop,
    job: Option<Arc<Job>>,
    reached: bool,
    given: u32,
    /// The generation of the settings it was opened under, and keeps.
    generation: u64,
}

impl Queue {
    /// A queue over a store that is open. `seed` spreads retry times.
    #[must_use]
    pub fn new(settings: Arc<Settings>, seed: [u8; 32]) -> Self {
        let mut queue = Self {
            settings,
            random: ChaCha12Rng::from_seed(seed),
            last_id: MessageId::default(),
            date: (i64::MIN, String::new()),
            messages: 0,
            started: false,
            stopping: false,
            stopped: false,
            store: StoreState::Up,
            receiving: 0,
            batch: Batch::default(),
            hops: BTreeMap::new(),
            wakes: BTreeSet::new(),
            hops_beyond: false,
            starved: BTreeSet::new(),
            fed: None,
            live: BTreeMap::new(),
            content_total: 0,
            attempts: BTreeMap::new(),
            loads: BTreeMap::new(),
            failed_loads: Vec::new(),
            admin: None,
            admin_waiting: VecDeque::new(),
            walk: None,
            next_walk: 0,
            carried: BTreeMap::new(),
            next_token: 0,
            next_attempt: 0,
            horizon_at: Mono(u64::MAX),
            outputs: VecDeque::new(),
        };
        queue.ask(Load::Totals, Pursuit::Start);
        queue
    }

    /// Takes one input. Drain `poll` before the next.
    pub fn handle(&mut self, now: Now, input: QueueInput) {
        match input {
            QueueInput::Settings(settings) => self.take_settings(now, settings),
            // Nothing is due because of it: the others' drafts are waited for a little longer.
            QueueInput::DataOpened => {
                self.receiving += 1;
                return;
            }
            QueueInput::DataDropped => self.receiving = self.receiving.saturating_sub(1),
            QueueInput::Submit { ticket, draft } => self.submit(now, ticket, draft),
            QueueInput::Committed(committed) => self.committed(now, committed),
            QueueInput::StoreFailed { batch, full } => self.store_failed(batch, full),
            QueueInput::StoreUp => self.store_up(now),
            QueueInput::Loaded(token, loaded) => self.loaded(now, token, loaded),
            QueueInput::Reached(attempt, plan) => self.reached(now, attempt, plan),
            QueueInput::Want(attempt) => self.want(now, attempt),
            QueueInput::Report(attempt, report) => self.report(now, attempt, report),
            QueueInput::Ended(attempt, end) => self.ended(now, attempt, end),
            QueueInput::DnsReleased => self.dns_released(now),
            QueueInput::Admin(token, request) => self.admin(now, token, request),
            QueueInput::Stop => self.stop(),
            QueueInput::Tick => {}
        }
        self.run_timers(now);
        self.commit_if_due(now);
        self.stop_if_done();
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<QueueOutput> {
        self.outputs.pop_front()
    }

    /// When `Tick` is to be said at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        // While the store is down nothing is begun: `StoreUp` wakes us.
        if self.stopped || self.store != StoreState::Up {
            return None;
        }
        let wake = self.wakes.first().map(|(at, _)| *at);
        let horizon = (self.horizon_at.0 != u64::MAX).then_some(self.horizon_at);
        [wake, horizon, self.batch.due()].into_iter().flatten().min()
    }

    /// Messages in the store.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Octets of content that are held in memory, at most `CONTENT_TOTAL_MAX` and a message.
    #[must_use]
    pub fn content_held(&self) -> u64 {
        self.content_total
    }

    /// Connections that are open or being opened.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.attempts.len()
    }

    /// Whether the store takes writes.
    #[must_use]
    pub fn store_is_up(&self) -> bool {
        self.store == StoreState::Up
    }

    /// Whether a message has a recipient in an attempt at this moment.
    #[must_use]
    pub fn in_flight(&self, id: MessageId) -> bool {
        let of = |attempt: &Attempt| attempt.job.as_ref().is_some_and(|job| job.message.id == id);
        self.live.contains_key(&id) && self.attempts.values().any(of)
    }

    fn take_settings(&mut self, now: Now, settings: Arc<Settings>) {
        let rerouted = route::differs(&self.settings, &settings);
        self.settings = settings;
        self.close_outdated();
        if rerouted && self.started {
            self.reroute_all();
        }
        // There may be room for more connections.
        self.feed_starved(now);
    }

    fn submit(&mut self, now: Now, ticket: Ticket, draft: Draft) {
        self.receiving = self.receiving.saturating_sub(1);
        if let StoreState::Down { full } = self.store {
            self.outputs.push_back(QueueOutput::Refused { ticket, full });
            return;
        }
        if self.stopping || !self.started || self.batch.clients() >= SUBMITTED_MAX {
            self.outputs.push_back(QueueOutput::Refused { ticket, full: false });
            return;
        }
        let (client, generation) = (draft.client.clone(), draft.generation);
        let (message, content) = self.message_of(now, draft);
        let unit = Unit::accepting(message, content, After::Accepted { ticket, client, generation });
        self.batch.push(now, unit);
    }

    /// Gives a draft its id.
    fn message_of(&mut self, now: Now, draft: Draft) -> (Arc<Message>, Content) {
        self.last_id = self.last_id.next(now.wall);
        let id = self.last_id;
        let second = now.wall.0.div_euclid(1000);
        if self.date.0 != second {
            self.date = (second, now.wall.rfc5322());
        }
        let trace = format!("{} id {id};\r\n\t{}\r\n", draft.trace_head, self.date.1);
        let Draft { sender, recipients, content, size, .. } = draft;
        (Arc::new(Message { id, sender, recipients, trace, size }), content)
    }

    fn stop(&mut self) {
        self.stopping = true;
        let idle: Vec<AttemptId> =
            self.attempts.iter().filter(|(_, attempt)| attempt.job.is_none()).map(|(id, _)| *id).collect();
        self.outputs.extend(idle.into_iter().map(QueueOutput::Close));
    }

    fn stop_if_done(&mut self) {
        let done = self.stopping && self.attempts.is_empty() && self.batch.is_empty();
        if done && !self.stopped {
            self.stopped = true;
            self.outputs.push_back(QueueOutput::Stopped);
        }
    }

    fn ask(&mut self, load: Load, pursuit: Pursuit) {
        self.next_token += 1;
        let token = LoadToken(self.next_token);
        self.content_total += loads::content_of(&load);
        self.loads.insert(token, (load.clone(), pursuit));
        self.outputs.push_back(QueueOutput::Load(token, load));
    }

    fn flow(&mut self, flow: Flow) {
        self.outputs.push_back(QueueOutput::Flow(flow));
    }

    fn roll(&mut self) -> u32 {
        self.random.next_u32()
    }
}
