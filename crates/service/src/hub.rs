//! Where the tasks meet: the queue machine, the ways to the store, the resolver and the sessions. Every crossing is one
//! way, and a value with a name: a draft to the queue, a batch to the store, an acknowledgement a commit back, a job to an
//! attempt, a report back. All tasks run on one thread, so a crossing is a call; only the store has a thread of its own.

use crate::clock::Clock;
use crate::report::Report;
use crate::resolver::{DnsNews, DnsShell};
use crate::store::{StoreHandle, StoreJob, StoreReply};
use crate::stream::Buffer;
use crate::tls::Tls;
use postroad_dns::fact::Fact as DnsFact;
use postroad_engine::delivery::AttemptId;
use postroad_engine::inbound::DraftMemory;
use postroad_engine::queue::{
    AdminRequest, AdminResult, AdminToken, Draft, Queue, QueueInput, QueueOutput, Ticket,
};
use postroad_events::fact::{Fact, Transport};
use postroad_mail::id::MessageId;
use postroad_mail::time::Mono;
use postroad_metabase::settings::Settings;
use postroad_metabase::snapshot::Published;
use postroad_spool::StoreError;
use postroad_spool::sqlite::SqliteStore;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// How long the store works before it is said to: on a full disk it fails under each message that finds no room.
const STORE_STEADY: Duration = Duration::from_secs(10);

/// What became of a draft.
pub(crate) enum Fate {
    Accepted(MessageId),
    Refused { full: bool },
}

/// What the queue tells an attempt.
pub(crate) enum ToAttempt {
    Job(Arc<postroad_engine::delivery::Job>),
    Rest,
    Close,
}

/// One service.
pub(crate) struct Hub {
    pub(crate) clock: Clock,
    pub(crate) report: Rc<Report>,
    pub(crate) store: StoreHandle,
    pub(crate) dns: Rc<DnsShell>,
    pub(crate) tls: Tls,
    pub(crate) spool: PathBuf,
    pub(crate) drafts: DraftMemory,
    pub(crate) buffer: Buffer,
    started: tokio::sync::watch::Sender<bool>,
    /// Sessions and listeners end.
    pub(crate) stop: Notify,
    pub(crate) stopping: Cell<bool>,
    pub(crate) stopped: Notify,
    pub(crate) inbound: Cell<u64>,
    published: Arc<Published>,
    queue: RefCell<Queue>,
    timer: Notify,
    armed: Cell<Option<Mono>>,
    /// When the store, which has failed, is said to work again.
    recovers: Cell<Option<Mono>>,
    /// Copies of a damaged intake that were told of.
    damaged: RefCell<HashSet<PathBuf>>,
    tickets: RefCell<HashMap<Ticket, oneshot::Sender<Fate>>>,
    attempts: RefCell<HashMap<AttemptId, mpsc::UnboundedSender<ToAttempt>>>,
    admins: RefCell<HashMap<AdminToken, oneshot::Sender<AdminResult>>>,
    next: Cell<u64>,
}

/// What a hub is made of.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) published: Arc<Published>,
    pub(crate) report: Rc<Report>,
    pub(crate) store: StoreHandle,
    pub(crate) dns: Rc<DnsShell>,
    pub(crate) tls: Tls,
    pub(crate) spool: PathBuf,
    pub(crate) seed: [u8; 32],
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let queue = Queue::new(parts.published.load(), parts.seed);
        Rc::new(Self {
            clock: parts.clock,
            report: parts.report,
            store: parts.store,
            dns: parts.dns,
            tls: parts.tls,
            spool: parts.spool,
            drafts: DraftMemory::default(),
            buffer: Buffer::new(),
            started: tokio::sync::watch::Sender::new(false),
            stop: Notify::new(),
            stopping: Cell::new(false),
            stopped: Notify::new(),
            inbound: Cell::new(0),
            published: parts.published,
            queue: RefCell::new(queue),
            timer: Notify::new(),
            armed: Cell::new(None),
            recovers: Cell::new(None),
            damaged: RefCell::default(),
            tickets: RefCell::default(),
            attempts: RefCell::default(),
            admins: RefCell::default(),
            next: Cell::new(0),
        })
    }

    /// Starts the tasks that carry what comes back: from the store, from the resolver, and from the clock.
    pub(crate) fn start(
        self: &Rc<Self>,
        replies: mpsc::UnboundedReceiver<StoreReply>,
        news: mpsc::UnboundedReceiver<DnsNews>,
    ) {
        tokio::task::spawn_local(Rc::clone(self).hear_store(replies));
        tokio::task::spawn_local(Rc::clone(self).hear_dns(news));
        tokio::task::spawn_local(Rc::clone(self).keep_time());
        tokio::task::spawn_local(Rc::clone(self).keep_events());
        // The queue has its first question from the start.
        self.drain();
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.published.load()
    }

    /// Waits until the queue takes drafts.
    pub(crate) async fn until_started(&self) {
        // It fails only when the sender is gone, and that is ours.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
    }

    /// Looks at the queue.
    pub(crate) fn queue<T>(&self, look: impl FnOnce(&Queue) -> T) -> T {
        look(&self.queue.borrow())
    }

    /// Tells the queue something, and does what it says.
    pub(crate) fn tell(self: &Rc<Self>, input: QueueInput) {
        self.queue.borrow_mut().handle(self.clock.now(), input);
        self.drain();
    }

    /// Hands in a draft; the answer comes when it is on disk, or cannot be.
    pub(crate) fn submit(self: &Rc<Self>, draft: Draft) -> oneshot::Receiver<Fate> {
        let ticket = Ticket(self.number());
        let (fate, fate_in) = oneshot::channel();
        self.tickets.borrow_mut().insert(ticket, fate);
        self.tell(QueueInput::Submit { ticket, draft });
        fate_in
    }

    /// Asks the queue something as an administrator; `None` when the service ends first.
    pub(crate) async fn admin(self: &Rc<Self>, request: AdminRequest) -> Option<AdminResult> {
        let token = AdminToken(self.number());
        let (result, result_in) = oneshot::channel();
        self.admins.borrow_mut().insert(token, result);
        self.tell(QueueInput::Admin(token, request));
        result_in.await.ok()
    }

    pub(crate) fn number(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    fn drain(self: &Rc<Self>) {
        loop {
            let output = self.queue.borrow_mut().poll();
            let Some(output) = output else { break };
            self.act(output);
        }
        let deadline = self.queue.borrow().deadline();
        if deadline.is_some_and(|at| self.armed.get().is_none_or(|armed| at < armed)) {
            self.timer.notify_one();
        }
    }

    fn act(self: &Rc<Self>, output: QueueOutput) {
        match output {
            QueueOutput::Started => {
                self.started.send_replace(true);
            }
            QueueOutput::Commit(batch) => self.store.ask(StoreJob::Commit(batch)),
            QueueOutput::Load(token, load) => self.store.ask(StoreJob::Load(token, load)),
            QueueOutput::Accepted(ticket, id) => self.answer(ticket, Fate::Accepted(id)),
            QueueOutput::Refused { ticket, full } => self.answer(ticket, Fate::Refused { full }),
            QueueOutput::Open(id, hop, job) => {
                let (jobs, jobs_in) = mpsc::unbounded_channel();
                self.attempts.borrow_mut().insert(id, jobs);
                tokio::task::spawn_local(crate::attempt::run(Rc::clone(self), id, hop, job, jobs_in));
            }
            QueueOutput::Deliver(id, job) => self.to_attempt(id, ToAttempt::Job(job)),
            QueueOutput::Rest(id) => self.to_attempt(id, ToAttempt::Rest),
            QueueOutput::Close(id) => self.to_attempt(id, ToAttempt::Close),
            QueueOutput::Flow(flow) => self.report.flow(&flow),
            QueueOutput::AdminDone(token, result) => {
                if let Some(waiting) = self.admins.borrow_mut().remove(&token) {
                    let _ = waiting.send(result);
                }
            }
            QueueOutput::Stopped => self.stopped.notify_one(),
        }
    }

    fn answer(&self, ticket: Ticket, fate: Fate) {
        if let Some(waiting) = self.tickets.borrow_mut().remove(&ticket) {
            let _ = waiting.send(fate);
        }
    }

    fn to_attempt(&self, id: AttemptId, what: ToAttempt) {
        if let Some(attempt) = self.attempts.borrow().get(&id) {
            let _ = attempt.send(what);
        }
    }

    /// An attempt is over.
    pub(crate) fn ended(self: &Rc<Self>, id: AttemptId, end: postroad_engine::delivery::End) {
        self.attempts.borrow_mut().remove(&id);
        self.tell(QueueInput::Ended(id, end));
    }

    async fn hear_store(self: Rc<Self>, mut replies: mpsc::UnboundedReceiver<StoreReply>) {
        while let Some(reply) = replies.recv().await {
            match reply {
                StoreReply::Committed(committed) => self.tell(QueueInput::Committed(committed)),
                StoreReply::Loaded(token, loaded) => self.tell(QueueInput::Loaded(token, loaded)),
                StoreReply::Failed { batch, error } => {
                    self.recovers.set(None);
                    self.report.state(Fact::StoreFailed { cause: error.to_string() });
                    let full = matches!(error, StoreError::Full(_));
                    self.tell(QueueInput::StoreFailed { batch, full });
                }
                StoreReply::Up => {
                    self.recovers.set(Some(self.clock.now().mono + STORE_STEADY));
                    self.tell_damage();
                    self.tell(QueueInput::StoreUp);
                }
            }
        }
    }

    /// Tells of what opening the spool found missing, once in the life of a service.
    pub(crate) fn tell_damage(&self) {
        for copy in SqliteStore::damaged_copies(&self.spool) {
            let file = copy.display().to_string();
            if self.damaged.borrow_mut().insert(copy) {
                self.report.state(Fact::SpoolDamaged { file });
            }
        }
    }

    async fn hear_dns(self: Rc<Self>, mut news: mpsc::UnboundedReceiver<DnsNews>) {
        while let Some(news) = news.recv().await {
            match news {
                DnsNews::Fact(fact) => {
                    if let Some(fact) = event_of(fact, &self.dns) {
                        self.report.state(fact);
                    }
                }
                DnsNews::Released => self.tell(QueueInput::DnsReleased),
            }
        }
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.queue.borrow().deadline();
            self.armed.set(deadline);
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.clock.instant(at)) => self.tell(QueueInput::Tick),
                        () = self.timer.notified() => {}
                    }
                }
                None => self.timer.notified().await,
            }
        }
    }

    /// Hands events to their log, and tells repeats in time.
    async fn keep_events(self: Rc<Self>) {
        const EVERY: Duration = Duration::from_millis(200);
        loop {
            tokio::time::sleep(EVERY).await;
            let now = self.clock.now().mono;
            if self.report.deadline().is_some_and(|at| at <= now) {
                self.report.tick();
            }
            if self.recovers.get().is_some_and(|at| at <= now) {
                self.recovers.set(None);
                self.report.state(Fact::StoreRecovered);
            }
            self.keep_pending_events();
        }
    }

    pub(crate) fn keep_pending_events(&self) {
        let events = std::mem::take(&mut *self.report.events.borrow_mut());
        if !events.is_empty() {
            self.store.ask(StoreJob::Events(events));
        }
    }
}

/// The event that says what the resolver found.
fn event_of(fact: DnsFact, dns: &DnsShell) -> Option<Fact> {
    let transport_of = |transport| match transport {
        postroad_dns::exchange::Transport::Udp => Transport::Udp,
        postroad_dns::exchange::Transport::Tcp => Transport::Tcp,
    };
    Some(match fact {
        DnsFact::TransportDown { server, transport, cause, mail_waits } => {
            Fact::DnsServerDown { server, transport: transport_of(transport), cause, mail_waits }
        }
        DnsFact::TransportUp { server, transport } => {
            Fact::DnsServerUp { server, transport: transport_of(transport) }
        }
        DnsFact::NoServer { policy, cause } => {
            Fact::NoDnsServer { cause: format!("{cause} (policy {policy})") }
        }
        DnsFact::SomeServer => {
            // The first server none of whose transports is down answered.
            let up = |report: &postroad_dns::resolver::ServerReport| {
                report.transports.iter().any(|transport| transport.down.is_none())
            };
            let servers = dns.servers();
            let server = servers.iter().find(|report| up(report)).or(servers.first())?.server;
            Fact::DnsServerReached { server }
        }
        DnsFact::Partial { domain, server, records } => {
            Fact::PartialAnswerUsed { question: domain.to_string(), server, records: records as usize }
        }
        DnsFact::TruncatedUnusable { domain, server } => {
            Fact::TruncatedUseless { question: domain.to_string(), server }
        }
        DnsFact::StaleUsed { domain, expired } => {
            Fact::StaleAnswerUsed { question: domain.to_string(), expired }
        }
    })
}
