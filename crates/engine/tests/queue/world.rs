//! A queue over a store in memory, with a clock that is set by hand and hosts that do as they are told.
//!
//! What happens is kept as lines of text. Hops are named by their first word (`a` is the MX set of a.example), messages by
//! the order in which they were accepted, recipients as `message/index`. A recipient's local part says what its host does:
//! `no` is refused, over `kills` the connection is lost, `later` is deferred for ever, `later2` twice, anything else is taken.
//!
//! Three things are checked throughout: no recipient is in two attempts at once; after every commit the rows of hops count
//! exactly the recipients that wait there; and the queue never spins, asking for work or for ticks without end.

use postroad_engine::delivery::{AttemptId, End, Failure, Flow, Job, Outcome, Report};
use postroad_engine::journal::Tried;
use postroad_engine::queue::{AdminRequest, AdminToken, Draft, Queue, QueueInput, QueueOutput, Ticket};
use postroad_engine::route::next_hop;
use postroad_mail::address::{Address, ReversePath};
use postroad_mail::domain::Host;
use postroad_mail::envelope::{Notify, Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::{Reply, Status};
use postroad_mail::time::{Mono, Now, Wall, brief};
use postroad_metabase::settings::Settings;
use postroad_spool::Store;
use postroad_spool::memory::MemoryStore;
use postroad_spool::record::{
    Content, DraftId, Gate, GateKind, HopRow, HopState, Load, Loaded, Message, Record, Stored,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The start of all time here.
const START: Wall = Wall(1_795_590_028_000);
/// How long an attempt keeps a connection without a job.
const REST: Duration = Duration::from_secs(5);
/// Steps at one instant after which the queue is taken to spin.
const STEPS_MAX: usize = 100_000;
/// Ticks at one instant after which its deadlines are.
const TICKS_MAX: usize = 50;

/// What a hop's hosts do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Answer at once.
    #[default]
    Up,
    /// Cannot be talked to.
    Down,
    /// DNS does not say which they are.
    NoDns,
    /// Take no connection, and do not refuse one.
    Hang,
    /// Greet, and answer nothing for now.
    Slow,
    /// Greet, and are gone when they are asked to take a message.
    Greets,
    /// Greet, end in order without having tried the job, and are up from then on.
    Drop,
}

/// What the store does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// Answers at once.
    #[default]
    Works,
    /// Answers nothing for now.
    Held,
    /// Everything fails.
    Fails { full: bool },
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Taken,
    Returned,
    /// Refused, and put into the Badmail folder.
    Badmail,
}

struct Attempt {
    hop: NextHop,
    job: Option<Arc<Job>>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Open,
    /// Has said `Want`.
    Wants,
    Rests(Mono),
    Closing,
}

pub struct World {
    pub now: Now,
    pub settings: Settings,
    pub store: MemoryStore,
    pub queue: Queue,
    pub disk: Disk,
    /// Whether a commit that fails is on the disk all the same.
    pub keeps: bool,
    /// What happened, and with the time since the start what was written.
    pub trace: Vec<String>,
    pub commits: Vec<(Duration, String)>,
    /// How often each recipient was taken, and failed for good.
    pub taken: BTreeMap<(usize, u32), u32>,
    pub failed: BTreeMap<(usize, u32), u32>,
    /// What an administrator deleted.
    pub deleted: BTreeSet<(usize, u32)>,
    /// What must become of each recipient of a message that was accepted, and how often it had become of it when we died before
    /// that was on disk.
    pub accepted: BTreeMap<(usize, u32), Fate>,
    pub died_over: BTreeMap<(usize, u32), u32>,
    /// Most connections at once, to a hop and in all.
    pub most: BTreeMap<NextHop, usize>,
    pub most_in_all: usize,
    /// Questions to the store.
    pub loads: usize,
    /// Whether hop rows are checked after each commit: it costs as much as there are messages.
    pub counts: bool,
    moods: BTreeMap<NextHop, Mood>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// What the store has not answered.
    pub asked: VecDeque<QueueOutput>,
    numbers: BTreeMap<MessageId, usize>,
    tries: BTreeMap<(usize, u32), u32>,
    contents: Vec<Weak<Vec<u8>>>,
    tickets: u64,
    boots: u8,
}

/// The hop of a word: `drop`, `badmail`, `relay` for the smart host, or an MX set.
pub fn hop(word: &str) -> NextHop {
    match word {
        "drop" => NextHop::Drop,
        "badmail" => NextHop::Badmail,
        "relay" => NextHop::SmartHost("relay.example".parse().unwrap(), 25),
        name => NextHop::Mx(format!("{name}.example").parse().unwrap()),
    }
}

fn word(hop: &NextHop) -> String {
    let text = hop.to_string();
    if *hop == self::hop("relay") {
        return String::from("relay");
    }
    text.trim_start_matches("mx:").trim_end_matches(".example").trim_end_matches(':').to_owned()
}

/// `~15m` for what is within a tenth of it.
pub fn about(span: Duration) -> String {
    let round = [1u64, 30, 60, 120, 300, 900, 1800, 3600, 14_400].map(Duration::from_secs);
    match round.iter().find(|near| span.abs_diff(**near) <= **near / 10) {
        Some(near) => format!("~{}", brief(*near)),
        None => brief(span),
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::fresh(Path::new("/data"), "mail.example");
        set(&mut settings);
        let mut world = Self {
            now: Now { mono: Mono(0), wall: START },
            queue: Queue::new(Arc::new(settings.clone()), [0; 32]),
            settings,
            store: MemoryStore::new(),
            disk: Disk::Works,
            keeps: false,
            trace: Vec::new(),
            commits: Vec::new(),
            taken: BTreeMap::new(),
            failed: BTreeMap::new(),
            deleted: BTreeSet::new(),
            accepted: BTreeMap::new(),
            died_over: BTreeMap::new(),
            most: BTreeMap::new(),
            most_in_all: 0,
            loads: 0,
            counts: true,
            moods: BTreeMap::new(),
            attempts: BTreeMap::new(),
            asked: VecDeque::new(),
            numbers: BTreeMap::new(),
            tries: BTreeMap::new(),
            contents: Vec::new(),
            tickets: 0,
            boots: 0,
        };
        world.settle();
        world
    }

    /// The process dies and comes back. A commit on its way to the disk is on it afterwards, or not.
    pub fn restart(&mut self, commit_arrives: bool) {
        if let Some(QueueOutput::Commit(batch)) =
            self.asked.iter().find(|one| matches!(one, QueueOutput::Commit(_)))
            && commit_arrives
        {
            let batch = batch.clone();
            self.commit(&batch);
        }
        let waiting = self.waiting();
        for (place, _) in self.taken.iter().chain(&self.failed).filter(|(place, _)| waiting.contains(place)) {
            let ends = self.taken.get(place).unwrap_or(&0) + self.failed.get(place).unwrap_or(&0);
            self.died_over.insert(*place, ends);
        }
        self.asked.clear();
        self.attempts.clear();
        self.store.drop_drafts();
        self.disk = Disk::Works;
        self.boots += 1;
        self.queue = Queue::new(Arc::new(self.settings.clone()), [self.boots; 32]);
        self.settle();
    }

    pub fn mood(&mut self, word: &str, mood: Mood) {
        self.moods.insert(hop(word), mood);
        self.settle();
    }

    pub fn tell(&mut self, input: QueueInput) {
        self.queue.handle(self.now, input);
        self.settle();
    }

    /// Says something without letting anything follow.
    pub fn tell_only(&mut self, input: QueueInput) {
        self.queue.handle(self.now, input);
        self.drain();
    }

    /// The settings change: the next generation.
    pub fn new_settings(&mut self, set: impl FnOnce(&mut Settings)) {
        self.settings.generation += 1;
        set(&mut self.settings);
        self.tell(QueueInput::Settings(Arc::new(self.settings.clone())));
    }

    /// `from` may be empty; `to` as `no@a ok@b never@c/never`.
    pub fn submit(&mut self, from: &str, to: &str) {
        self.submit_content(from, to, Content::Memory(Arc::new(b"Subject: x\r\n\r\nhello\r\n".to_vec())));
    }

    pub fn submit_content(&mut self, from: &str, to: &str, content: Content) {
        let draft = self.draft(from, to, content);
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.queue.handle(self.now, QueueInput::DataOpened);
        self.tell(QueueInput::Submit { ticket, draft });
    }

    pub fn draft(&mut self, from: &str, to: &str, content: Content) -> Draft {
        let path = if from.is_empty() { ReversePath::Null } else { ReversePath::Address(address(from)) };
        let size = match &content {
            Content::Memory(bytes) => {
                self.contents.push(Arc::downgrade(bytes));
                bytes.len() as u64
            }
            Content::Draft(_) | Content::Stored => DRAFT_SIZE as u64,
        };
        let recipients = to.split(' ').map(|one| {
            let (mailbox, notify) = match one.strip_suffix("/never") {
                Some(mailbox) => (mailbox, Notify::Never),
                None => (one, Notify::Unset),
            };
            let address = address(mailbox);
            let hop = next_hop(&self.settings, &address);
            Recipient { notify, ..Recipient::plain(address, hop) }
        });
        Draft {
            sender: Sender::plain(path),
            recipients: recipients.collect(),
            trace_head: String::from("Received: from x by y with ESMTP"),
            content,
            size,
            client: String::from("192.0.2.1 (x)"),
            generation: 7,
        }
    }

    /// Puts a message for each of these hops into the store, behind a gate.
    pub fn fill(&mut self, words: &[String], gate: Gate) {
        let mut records = Vec::new();
        for (number, word) in (0..).zip(words) {
            let content = Content::Memory(Arc::new(b"Subject: x\r\n\r\n".to_vec()));
            let draft = self.draft("s@x", &format!("ok@{word}"), content.clone());
            let message = Message {
                id: MessageId(MessageId::first_at(START).0 + number),
                sender: draft.sender,
                recipients: draft.recipients,
                trace: draft.trace_head,
                size: draft.size,
            };
            let state = HopState { gate: Some(gate.clone()), ..HopState::default() };
            records.extend([
                Record::Accept { message: Arc::new(message), content },
                Record::Waiting { hop: hop(word), delta: 1 },
                Record::Hop { hop: hop(word), due: gate.until, state },
            ]);
        }
        self.store.commit(&records).unwrap();
    }

    /// Content too large to be handed out whole.
    pub fn large(&mut self) -> Content {
        let draft = DraftId(1000 + self.tickets);
        let mut octets = b"Subject: large\r\n\r\n".to_vec();
        octets.resize(DRAFT_SIZE, b'x');
        self.store.put_draft(draft, octets);
        Content::Draft(draft)
    }

    pub fn admin(&mut self, request: AdminRequest) {
        self.tickets += 1;
        self.tell(QueueInput::Admin(AdminToken(self.tickets), request));
    }

    pub fn store_up(&mut self) {
        self.disk = Disk::Works;
        self.tell(QueueInput::StoreUp);
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now.later(span);
        let mut ticks = 0;
        loop {
            self.settle();
            let rest = self.attempts.values().filter_map(|attempt| match attempt.phase {
                Phase::Rests(until) => Some(until),
                _ => None,
            });
            let next = rest.chain(self.queue.deadline()).min().filter(|at| *at <= end.mono);
            let Some(at) = next else { break };
            ticks = if at <= self.now.mono { ticks + 1 } else { 0 };
            assert!(ticks < TICKS_MAX, "the queue wants a tick for ever; {}", self.tail());
            self.now = self.now.later(at - self.now.mono);
            let rested: Vec<AttemptId> = self
                .attempts
                .iter()
                .filter(|(_, one)| matches!(one.phase, Phase::Rests(until) if until <= self.now.mono))
                .map(|(id, _)| *id)
                .collect();
            for id in rested {
                self.attempts.remove(&id);
                self.queue.handle(self.now, QueueInput::Ended(id, End::Finished));
                self.drain();
            }
            self.queue.handle(self.now, QueueInput::Tick);
        }
        self.now = self.now.later(end.mono - self.now.mono);
    }

    pub fn minutes(&mut self, minutes: u64) {
        self.run(Duration::from_secs(60 * minutes));
    }

    /// Everything that needs no time to pass.
    pub fn settle(&mut self) {
        let mut steps = 0;
        self.drain();
        while self.answer_store() || self.step_attempt() {
            self.drain();
            steps += 1;
            assert!(steps < STEPS_MAX, "the queue spins; {}", self.tail());
        }
    }

    fn tail(&self) -> String {
        format!(
            "asked {:?}, last {:?}",
            self.asked.front(),
            &self.trace[self.trace.len().saturating_sub(5)..]
        )
    }

    fn drain(&mut self) {
        while let Some(output) = self.queue.poll() {
            self.act(output);
        }
    }

    fn act(&mut self, output: QueueOutput) {
        let line = match output {
            QueueOutput::Commit(_) | QueueOutput::Load(..) => return self.asked.push_back(output),
            QueueOutput::Started => String::from("started"),
            QueueOutput::Accepted(Ticket(ticket), id) => {
                let number = self.number(id);
                let Ok(Loaded::Messages(stored)) = self.store.load(&Load::Message(id)) else {
                    panic!("no message")
                };
                let message = Arc::clone(&stored[0].message);
                for (index, recipient) in (0..).zip(&message.recipients) {
                    let refused = recipient.address.local() == "no" && recipient.hop != NextHop::Drop;
                    let fate = match (refused, &message.sender.path) {
                        (false, _) => Fate::Taken,
                        (true, ReversePath::Address(_)) => Fate::Returned,
                        (true, ReversePath::Null) => Fate::Badmail,
                    };
                    self.accepted.insert((number, index), fate);
                }
                format!("ticket {ticket} is {number}")
            }
            QueueOutput::Refused { ticket: Ticket(ticket), full } => {
                format!("ticket {ticket} refused, {}", if full { "full" } else { "failed" })
            }
            QueueOutput::Open(id, hop, job) => {
                let line = format!("open {} with {}", word(&hop), self.job_words(&job));
                self.check_alone(&job);
                self.attempts.insert(id, Attempt { hop: hop.clone(), job: Some(job), phase: Phase::Opening });
                let here = self.attempts.values().filter(|attempt| attempt.hop == hop).count();
                let most = self.most.entry(hop).or_default();
                *most = (*most).max(here);
                self.most_in_all = self.most_in_all.max(self.attempts.len());
                line
            }
            QueueOutput::Deliver(id, job) => {
                self.check_alone(&job);
                let words = self.job_words(&job);
                let attempt = self.attempts.get_mut(&id).unwrap();
                assert!(attempt.job.is_none() && matches!(attempt.phase, Phase::Wants | Phase::Rests(_)));
                attempt.job = Some(job);
                attempt.phase = Phase::Open;
                format!("give {} {words}", word(&attempt.hop))
            }
            QueueOutput::Rest(id) => {
                let attempt = self.attempts.get_mut(&id).unwrap();
                attempt.phase = Phase::Rests(self.now.mono + REST);
                format!("rest {}", word(&attempt.hop))
            }
            QueueOutput::Close(id) => {
                let attempt = self.attempts.get_mut(&id).unwrap();
                if attempt.job.is_none() {
                    attempt.phase = Phase::Closing;
                }
                format!("close {}", word(&attempt.hop))
            }
            QueueOutput::Flow(flow) => match self.flow(flow) {
                Some(line) => line,
                None => return,
            },
            QueueOutput::AdminDone(_, result) => {
                let mut line = format!("done {}", result.done);
                for (name, ids) in [("missing", result.missing), ("busy", result.busy)] {
                    for id in ids {
                        line += &format!(" {name} {}", self.number(id));
                    }
                }
                line + if result.store_failed { " failed" } else { "" }
            }
            QueueOutput::Stopped => String::from("stopped"),
        };
        self.trace.push(line);
    }

    fn flow(&mut self, flow: Flow) -> Option<String> {
        Some(match flow {
            Flow::Accepted { .. } => return None,
            Flow::Delivered { message, recipient, .. } => {
                format!("taken {}/{recipient}", self.number(message.id))
            }
            Flow::Deferred { message, recipient, until, .. } => {
                format!(
                    "deferred {}/{recipient} for {}",
                    self.number(message.id),
                    about(until - self.now.wall)
                )
            }
            Flow::Failed { message, recipient, status, fate, .. } => {
                let number = self.number(message.id);
                if fate == postroad_engine::delivery::Fate::Deleted {
                    self.deleted.insert((number, recipient));
                } else {
                    *self.failed.entry((number, recipient)).or_default() += 1;
                }
                format!("failed {number}/{recipient} {status} {fate:?}")
            }
            Flow::HopWaits { hop, kind, until, waiting, .. } => {
                format!("gate {} {kind:?} {} before {waiting}", word(&hop), about(until - self.now.wall))
            }
            Flow::HopRecovered { hop } => format!("recovered {}", word(&hop)),
        })
    }

    fn number(&mut self, id: MessageId) -> usize {
        let next = self.numbers.len() + 1;
        *self.numbers.entry(id).or_insert(next)
    }

    pub fn id(&self, number: usize) -> MessageId {
        self.numbers.iter().find(|(_, one)| **one == number).map_or(MessageId(1), |(id, _)| *id)
    }

    fn job_words(&mut self, job: &Job) -> String {
        let number = self.number(job.message.id);
        let to: Vec<String> = job.recipients.iter().map(ToString::to_string).collect();
        format!("{number}/{}", to.join(","))
    }

    fn check_alone(&self, job: &Job) {
        for other in self.attempts.values().filter_map(|attempt| attempt.job.as_ref()) {
            let twice = other.message.id == job.message.id
                && other.recipients.iter().any(|one| job.recipients.contains(one));
            assert!(!twice, "{:?} of {} is in two attempts at once", job.recipients, job.message.id);
        }
    }

    /// Some steps of attempts only, while a hop's hosts are in a mood.
    pub fn steps(&mut self, word: &str, mood: Mood, steps: usize) {
        self.moods.insert(hop(word), mood);
        for _ in 0..steps {
            assert!(self.step_attempt(), "no attempt can take a step");
            self.drain();
        }
    }

    /// One answer of the store, and what it leads to at once.
    pub fn answer_once(&mut self) {
        assert!(self.answer_store(), "nothing was asked");
        self.drain();
    }

    /// Answers the oldest question to the store, if there is one.
    fn answer_store(&mut self) -> bool {
        if self.disk == Disk::Held {
            return false;
        }
        let Some(asked) = self.asked.pop_front() else { return false };
        let full = match self.disk {
            Disk::Fails { full } => Some(full),
            Disk::Works | Disk::Held => None,
        };
        let input = match asked {
            QueueOutput::Commit(batch) => match full {
                Some(full) => {
                    // Only the first one: the store is closed behind it.
                    if std::mem::take(&mut self.keeps) {
                        self.commit(&batch);
                    }
                    QueueInput::StoreFailed { batch, full }
                }
                None => QueueInput::Committed(self.commit(&batch)),
            },
            QueueOutput::Load(token, load) => {
                self.loads += 1;
                let loaded = full.is_none().then(|| self.store.load(&load).unwrap());
                QueueInput::Loaded(token, loaded)
            }
            other => panic!("{other:?} is not for the store"),
        };
        let written = matches!(input, QueueInput::Committed(_));
        self.queue.handle(self.now, input);
        if written && self.counts {
            self.check_held_counts();
        }
        true
    }

    /// The queue counts at a hop that it holds what the hop's row does.
    fn check_held_counts(&mut self) {
        for row in self.rows() {
            let held = self.queue.hop(&row.hop).map(|hop| hop.waiting);
            assert!(held.is_none_or(|held| held == row.waiting), "{held:?} are held of {row:?}");
        }
    }

    fn commit(&mut self, batch: &[Record]) -> postroad_spool::record::Committed {
        let mut words = Vec::new();
        for record in batch {
            match record {
                Record::Accept { message, .. } => {
                    let from = message.sender.path.to_string();
                    let to = &message.recipients[0].address;
                    let kind = if from == "<>" { format!(" <> to {to}") } else { String::new() };
                    words.push(format!("accept {}{kind}", self.number(message.id)));
                }
                Record::Divide { id, pending } => {
                    let parts: Vec<String> = pending
                        .iter()
                        .map(|one| {
                            let due = if one.due <= self.now.wall {
                                String::from("now")
                            } else {
                                about(one.due - self.now.wall)
                            };
                            format!("{}@{} {due}", one.recipient, word(&one.hop))
                        })
                        .collect();
                    words.push(format!("divide {} {}", self.number(*id), parts.join(", ")));
                }
                Record::Settle { id } => words.push(format!("settle {}", self.number(*id))),
                Record::Waiting { .. } | Record::Hop { .. } | Record::Journal(_) => {}
            }
        }
        if !words.is_empty() {
            self.commits.push((self.now.mono - Mono(0), words.join("; ")));
        }
        let committed = self.store.commit(batch).unwrap();
        if self.counts {
            self.check_counts();
        }
        committed
    }

    /// Every hop's row counts what waits there.
    pub fn check_counts(&mut self) {
        let mut waiting: BTreeMap<String, u64> = BTreeMap::new();
        for stored in self.stored() {
            for (_, hop) in unsettled(&stored) {
                *waiting.entry(hop.to_string()).or_default() += 1;
            }
        }
        let rows: BTreeMap<String, u64> =
            self.rows().into_iter().map(|row| (row.hop.to_string(), row.waiting)).collect();
        assert_eq!(rows, waiting, "what the hops' rows count is not what waits there");
    }

    pub fn stored(&mut self) -> Vec<Stored> {
        let load = Load::Messages { after: None, limit: usize::MAX };
        let Ok(Loaded::Messages(messages)) = self.store.load(&load) else { panic!("no messages") };
        messages
    }

    pub fn rows(&mut self) -> Vec<HopRow> {
        let load = Load::Hops { dns_only: false, after: None, limit: usize::MAX };
        let Ok(Loaded::Hops(rows)) = self.store.load(&load) else { panic!("no hops") };
        rows
    }

    /// Message and recipient of everything unsettled in the store.
    pub fn waiting(&mut self) -> BTreeSet<(usize, u32)> {
        let stored = self.stored();
        let mut waiting = BTreeSet::new();
        for one in &stored {
            let number = self.number(one.message.id);
            waiting.extend(unsettled(one).into_iter().map(|(recipient, _)| (number, recipient)));
        }
        waiting
    }

    /// Contents that someone beside the store holds.
    pub fn held(&self) -> usize {
        self.contents.iter().filter(|content| content.strong_count() > 1).count()
    }

    /// Octets of content that the store is asked for at most.
    pub fn asked_content(&self) -> u64 {
        let of = |asked: &QueueOutput| match asked {
            QueueOutput::Load(
                _,
                Load::Fresh { content_total_max, .. } | Load::Pending { content_total_max, .. },
            ) => *content_total_max,
            _ => 0,
        };
        self.asked.iter().map(of).sum()
    }

    pub fn connections(&self) -> usize {
        self.attempts.len()
    }

    /// One step of the first attempt that can take one.
    fn step_attempt(&mut self) -> bool {
        let moods = &self.moods;
        let ready = self.attempts.iter().find(|(_, attempt)| {
            let mood = moods.get(&attempt.hop).copied().unwrap_or_default();
            match attempt.phase {
                Phase::Opening => mood != Mood::Hang,
                Phase::Open => attempt.job.is_none() || !matches!(mood, Mood::Slow | Mood::Hang),
                Phase::Wants | Phase::Rests(_) => false,
                Phase::Closing => true,
            }
        });
        let Some(id) = ready.map(|(id, _)| *id) else { return false };
        let attempt = self.attempts.get_mut(&id).unwrap();
        let mood = self.moods.get(&attempt.hop).copied().unwrap_or_default();
        let input = match (attempt.phase, mood) {
            (Phase::Closing, _) => self.end(id, End::Finished),
            (Phase::Opening, Mood::NoDns) => self.end(id, failure(GateKind::Dns)),
            (Phase::Opening, Mood::Down) => self.end(id, failure(GateKind::Host)),
            (Phase::Opening, _) => {
                attempt.phase = Phase::Open;
                QueueInput::Reached(id, None)
            }
            (_, Mood::Down | Mood::Greets) if attempt.job.is_some() => self.end(id, failure(GateKind::Host)),
            (_, Mood::Drop) if attempt.job.is_some() => {
                let hop = attempt.hop.clone();
                self.moods.insert(hop, Mood::Up);
                self.end(id, End::Finished)
            }
            _ if attempt.job.as_ref().is_some_and(|job| kills(job)) => self.end(id, lost_over_job()),
            _ => match attempt.job.take() {
                Some(job) => {
                    let folder = matches!(attempt.hop, NextHop::Drop | NextHop::Badmail);
                    QueueInput::Report(id, self.report(&job, folder))
                }
                None => {
                    attempt.phase = Phase::Wants;
                    QueueInput::Want(id)
                }
            },
        };
        self.queue.handle(self.now, input);
        true
    }

    /// Connections that are being opened to a hop are refused.
    pub fn down_opening(&mut self, word: &str) {
        let key = hop(word);
        let opening = self.attempts.iter().filter(|(_, one)| one.hop == key && one.phase == Phase::Opening);
        for id in opening.map(|(id, _)| *id).collect::<Vec<_>>() {
            let input = self.end(id, failure(GateKind::Host));
            self.tell_only(input);
        }
    }

    fn end(&mut self, id: AttemptId, end: End) -> QueueInput {
        self.attempts.remove(&id);
        QueueInput::Ended(id, end)
    }

    /// A folder takes everything.
    fn report(&mut self, job: &Job, folder: bool) -> Report {
        let number = self.number(job.message.id);
        let outcomes = job.recipients.iter().map(|index| {
            let local = job.message.recipients[*index as usize].address.local();
            let place = (number, *index);
            let tries = self.tries.entry(place).or_default();
            *tries += 1;
            let patience = match local.strip_prefix("later") {
                Some("") => u32::MAX,
                Some(times) => times.parse().unwrap(),
                None => 0,
            };
            if *tries <= patience && !folder {
                return Outcome::Deferred { status: Status::new(4, 2, 0), cause: String::from("greylisted") };
            }
            if local == "no" && !folder {
                let reply = Reply::new(550, Some(Status::new(5, 1, 1)), "no such user");
                return Outcome::Failed(Failure {
                    status: Status::new(5, 1, 1),
                    cause: String::from("no such user"),
                    remote: Some(String::from("mx.example")),
                    reply: Some(reply),
                });
            }
            *self.taken.entry(place).or_default() += 1;
            Outcome::Delivered { reply: String::from("250 2.0.0 Ok") }
        });
        Report { id: job.message.id, outcomes: outcomes.collect(), tried: Tried::default() }
    }
}

/// Octets of a draft's file.
const DRAFT_SIZE: usize = 300 * 1024;

fn failure(kind: GateKind) -> End {
    End::HopFailed {
        kind,
        cause: String::from("as it was told"),
        tried: Tried::default(),
        lost_over_job: false,
    }
}

fn lost_over_job() -> End {
    End::HopFailed {
        kind: GateKind::Host,
        cause: String::from("it hung up"),
        tried: Tried::default(),
        lost_over_job: true,
    }
}

fn kills(job: &Job) -> bool {
    let local = |index: &u32| job.message.recipients[*index as usize].address.local();
    job.recipients.iter().any(|index| local(index) == "kills")
}

fn address(text: &str) -> Address {
    let (local, name) = text.split_once('@').unwrap();
    // The local domain.
    let name = if name == "drop" { "mail" } else { name };
    let host: Host = format!("{name}.example").parse().unwrap();
    Address::new(local, host).unwrap()
}

fn unsettled(stored: &Stored) -> Vec<(u32, NextHop)> {
    match &stored.pending {
        Some(pending) => pending.iter().map(|one| (one.recipient, one.hop.clone())).collect(),
        None => (0..).zip(stored.message.recipients.iter().map(|one| one.hop.clone())).collect(),
    }
}
