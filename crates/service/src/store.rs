//! The store's thread: the only one beside the runtime's. It owns the spool and the event log, and answers in order.

use crate::clock::Clock;
use postroad_events::event::Event;
use postroad_events::log::EventLog;
use postroad_mail::time::Mono;
use postroad_spool::record::{Committed, Load, Loaded, Record};
use postroad_spool::sqlite::{Options, SqliteStore};
use postroad_spool::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::{mpsc as async_mpsc, oneshot};

/// How long the thread sleeps when there is nothing to write: then it looks after the store.
const TEND_IDLE: Duration = Duration::from_secs(1);
/// How long it waits before it opens a store that failed.
const REOPEN_WAIT: Duration = Duration::from_millis(500);

/// Events that wait for room on the disk; the oldest go beyond it. They were told on stderr.
const UNWRITTEN_MAX: usize = 1000;

/// What the thread is asked. Bounded by who asks: one commit is under way at most, and each hop, face and delivery waits
/// for its answer before it asks again.
pub(crate) enum StoreJob {
    Commit(Vec<Record>),
    /// For the queue.
    Load(postroad_engine::queue::LoadToken, Load),
    /// For whoever waits on the other end.
    Read(Load, oneshot::Sender<Option<Loaded>>),
    Events(Vec<Event>),
    Stop,
}

/// What the thread tells the queue.
pub(crate) enum StoreReply {
    Committed(Committed),
    Failed { batch: Vec<Record>, error: StoreError },
    Up,
    Loaded(postroad_engine::queue::LoadToken, Option<Loaded>),
}

/// The way to the thread.
pub(crate) struct StoreHandle {
    jobs: mpsc::Sender<StoreJob>,
    thread: std::cell::RefCell<Option<std::thread::JoinHandle<()>>>,
}

impl StoreHandle {
    /// Starts the thread over a store that is open.
    pub(crate) fn start(
        store: SqliteStore,
        options: Options,
        spool: PathBuf,
        events: Option<EventLog>,
        clock: Clock,
    ) -> std::io::Result<(Self, async_mpsc::UnboundedReceiver<StoreReply>)> {
        let (jobs, jobs_in) = mpsc::channel();
        let (replies, replies_in) = async_mpsc::unbounded_channel();
        let mut writer =
            Writer { store: Ok(store), options, spool, events, clock, replies, unwritten: Vec::new() };
        let thread =
            std::thread::Builder::new().name(String::from("store")).spawn(move || writer.run(&jobs_in))?;
        Ok((Self { jobs, thread: std::cell::RefCell::new(Some(thread)) }, replies_in))
    }

    /// Asks the thread; one that has ended answers nothing.
    pub(crate) fn ask(&self, job: StoreJob) {
        let _ = self.jobs.send(job);
    }

    /// Reads something; `None` when the store is down.
    pub(crate) async fn read(&self, load: Load) -> Option<Loaded> {
        let (answer, answer_in) = oneshot::channel();
        self.ask(StoreJob::Read(load, answer));
        answer_in.await.ok().flatten()
    }

    /// Ends the thread once everything that was asked is done.
    pub(crate) fn stop(&self) {
        self.ask(StoreJob::Stop);
        if let Some(thread) = self.thread.borrow_mut().take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    /// Or when it is opened again.
    store: Result<SqliteStore, Mono>,
    options: Options,
    spool: PathBuf,
    events: Option<EventLog>,
    clock: Clock,
    replies: async_mpsc::UnboundedSender<StoreReply>,
    unwritten: Vec<Event>,
}

impl Writer {
    fn run(&mut self, jobs: &mpsc::Receiver<StoreJob>) {
        loop {
            let wait = match &self.store {
                Ok(_) => TEND_IDLE,
                Err(reopens) => *reopens - self.clock.now().mono,
            };
            if wait.is_zero() {
                // Whatever is asked meanwhile: there may be no pause in it.
                self.idle();
                continue;
            }
            match jobs.recv_timeout(wait) {
                Ok(StoreJob::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.write_events();
                    // Nothing came since the last time: what the intake holds goes into the tables.
                    return self.tend();
                }
                Ok(job) => self.act(job),
                Err(mpsc::RecvTimeoutError::Timeout) => self.idle(),
            }
        }
    }

    fn act(&mut self, job: StoreJob) {
        match job {
            StoreJob::Commit(batch) => {
                let result = match &mut self.store {
                    Ok(store) => store.commit(&batch),
                    Err(_) => Err(StoreError::Failed(String::from("the store is closed"))),
                };
                match result {
                    Ok(committed) => {
                        self.reply(StoreReply::Committed(committed));
                        // After the acknowledgement: a checkpoint takes tens of milliseconds, once in some hundred
                        // commits, and nothing when it is not due.
                        self.tend();
                    }
                    Err(error) => self.fail(batch, error),
                }
            }
            StoreJob::Load(token, load) => {
                let loaded = self.load(&load);
                self.reply(StoreReply::Loaded(token, loaded));
            }
            StoreJob::Read(load, answer) => {
                let _ = answer.send(self.load(&load));
            }
            StoreJob::Events(events) => {
                self.unwritten.extend(events);
                self.write_events();
            }
            StoreJob::Stop => {}
        }
    }

    /// Writes events to their log. On a disk that is full they wait until there is room: those that say so most of all.
    fn write_events(&mut self) {
        let surplus = self.unwritten.len().saturating_sub(UNWRITTEN_MAX);
        self.unwritten.drain(..surplus);
        if let Some(log) = &mut self.events
            && !self.unwritten.is_empty()
            && log.append(&self.unwritten).is_ok()
        {
            self.unwritten.clear();
        }
    }

    fn load(&mut self, load: &Load) -> Option<Loaded> {
        let store = self.store.as_mut().ok()?;
        let result = store.load(load);
        let failed = store.has_failed();
        match result {
            Ok(loaded) => Some(loaded),
            // Damage of one message's content is that message's alone.
            Err(_) if !failed && matches!(load, Load::Content { .. }) => Some(Loaded::Content(None)),
            Err(error) => {
                self.fail(Vec::new(), error);
                None
            }
        }
    }

    /// The store failed, under a batch or under nothing.
    fn fail(&mut self, batch: Vec<Record>, error: StoreError) {
        self.store = Err(self.clock.now().mono + REOPEN_WAIT);
        self.reply(StoreReply::Failed { batch, error });
    }

    fn tend(&mut self) {
        let now = self.clock.now().wall;
        if let Ok(Err(error)) = self.store.as_mut().map(|store| store.tend(now)) {
            self.fail(Vec::new(), error);
        }
    }

    fn idle(&mut self) {
        self.write_events();
        if self.store.is_ok() {
            return self.tend();
        }
        let options = Options { keep_drafts: true, ..self.options.clone() };
        match open(&self.spool, &options) {
            Ok(store) => {
                self.store = Ok(store);
                self.reply(StoreReply::Up);
            }
            // It may be for another cause than the one that was told.
            Err(error) => self.fail(Vec::new(), error),
        }
    }

    fn reply(&self, reply: StoreReply) {
        let _ = self.replies.send(reply);
    }
}

/// Opens the spool of a data folder.
pub(crate) fn open(spool: &Path, options: &Options) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(spool, options.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_mail::id::MessageId;
    use std::time::Instant;

    fn start(spool: &Path) -> (StoreHandle, async_mpsc::UnboundedReceiver<StoreReply>) {
        let options = Options::default();
        let store = open(spool, &options).unwrap();
        StoreHandle::start(store, options, spool.to_owned(), None, Clock::start()).unwrap()
    }

    /// A batch that no queue writes; a store that is given it fails.
    fn fail(handle: &StoreHandle) {
        handle.ask(StoreJob::Commit(vec![Record::Divide { id: MessageId(1), pending: Vec::new() }]));
    }

    /// The next reply, while events are handed in all the time, as by a service that has much to tell.
    fn reply(
        handle: &StoreHandle,
        replies: &mut async_mpsc::UnboundedReceiver<StoreReply>,
    ) -> Option<StoreReply> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if let Ok(reply) = replies.try_recv() {
                return Some(reply);
            }
            handle.ask(StoreJob::Events(Vec::new()));
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }

    #[test]
    fn why_a_store_stays_closed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (handle, mut replies) = start(dir.path());
        fail(&handle);
        assert!(matches!(reply(&handle, &mut replies), Some(StoreReply::Failed { .. })));
        let other = open(dir.path(), &Options::default()).unwrap();
        let Some(StoreReply::Failed { error, .. }) = reply(&handle, &mut replies) else { panic!("nothing") };
        assert!(error.to_string().contains("is open already"), "{error}");
        drop(other);
        assert!(matches!(reply(&handle, &mut replies), Some(StoreReply::Up | StoreReply::Failed { .. })));
        handle.stop();
    }

    #[test]
    fn a_store_that_failed_is_opened_again_whatever_else_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (handle, mut replies) = start(dir.path());
        fail(&handle);
        assert!(matches!(reply(&handle, &mut replies), Some(StoreReply::Failed { .. })));
        assert!(matches!(reply(&handle, &mut replies), Some(StoreReply::Up)));
        handle.stop();
    }
}
