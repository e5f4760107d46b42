//! Asking, for faces: over the socket when a service runs, else from the store itself, under its lock.

use crate::answers::{self, Source};
use crate::clock::Clock;
use crate::data::{self, DataDir, DataError};
use crate::live::reachable;
use crate::metabase::{self, AtRest, Registry, Used};
use crate::store;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use postroad_control::answer::{Done, EventRow};
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::MetaItem;
use postroad_control::{ANSWER_LINE_MAX, Failed, FailedKind, Item, LINE_MAX, Line, Request, SOCKET, Which};
use postroad_engine::queue::{
    AdminRequest, AdminResult, AdminToken, Queue, QueueInput, QueueOutput, Selection,
};
use postroad_events::log::{EventLog, Filter, LogError};
use postroad_mail::time::Wall;
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Load, Loaded};
use postroad_spool::sqlite::{Options, SqliteStore};
use postroad_spool::{Store, StoreError};
use std::cell::RefCell;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long the service may take for a part of an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

/// Asks, and hands each part of the answer to `each`.
///
/// # Errors
/// `Unavailable` where neither a service nor a store is there; else as the answer has it.
pub fn ask(data: &Path, request: &Request, each: &mut dyn FnMut(Item)) -> Result<(), Failed> {
    match connect(data) {
        Ok(stream) => ask_service(stream, request, each),
        Err(_) => ask_store(data, request, each),
    }
}

/// Questions about the metabase by somebody who asks many, one after the other. A store at rest stays open from one to the next,
/// under its lock, until it is let go.
pub struct Session {
    data: PathBuf,
    /// The process that answered last, where that was a service.
    service: Option<u32>,
    rest: Option<Rest>,
}

impl Session {
    /// A session that has asked nothing.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), service: None, rest: None }
    }

    /// Asks as `ask` does.
    ///
    /// # Errors
    /// As `ask`.
    pub fn ask(&mut self, request: &MetaRequest, each: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        let mut tell = |item| {
            if let Item::Meta(item) = item {
                each(item);
            }
        };
        // No service starts while the lock is held.
        if self.rest.is_none() {
            if let Ok(stream) = connect(&self.data) {
                self.service =
                    getsockopt(&stream, PeerCredentials).ok().map(|peer| peer.pid().unsigned_abs());
                return ask_service(stream, &Request::Meta(request.clone()), &mut tell);
            }
            let rest = Rest::open(open(&self.data, request.changes())?)?;
            (self.service, self.rest) = (None, Some(rest));
        }
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let answered = rest.ask(request, &mut tell);
        if answered.as_ref().is_err_and(|failed| failed.kind == FailedKind::Temporary) {
            // What is in doubt is read again from the disk.
            self.rest = None;
        }
        answered
    }

    /// The process id of the service that answered last; none: the store itself was asked.
    #[must_use]
    pub fn service(&self) -> Option<u32> {
        self.service
    }

    /// Lets a store at rest go, so that a service can start on it.
    pub fn let_go(&mut self) {
        self.rest = None;
    }
}

/// The metabase of a folder where no service runs.
struct Rest {
    // Dropped in this order: the lock comes last.
    registry: Registry,
    at_rest: AtRest,
    runtime: tokio::runtime::Runtime,
    _dir: DataDir,
}

impl Rest {
    fn open(dir: DataDir) -> Result<Self, Failed> {
        let registry = Registry::open(&dir.path, Used::AtRest, Clock::start().now().wall)?;
        let at_rest = AtRest(dir.path.clone());
        Ok(Self { registry, at_rest, runtime: runtime()?, _dir: dir })
    }

    fn ask(&mut self, request: &MetaRequest, each: &mut dyn FnMut(Item)) -> Result<(), Failed> {
        let now = Clock::start().now().wall;
        let answered = metabase::answer(&mut self.registry, request, now, &self.at_rest, each);
        tokio::task::LocalSet::new().block_on(&self.runtime, answered)
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| unavailable(error.to_string()))
}

/// Where the running service of a data folder accepts SMTP, if there is one.
#[must_use]
pub fn binding(data: &Path) -> Option<SocketAddr> {
    let mut binding = None;
    let stream = connect(data).ok()?;
    let mut each = |item| {
        if let Item::Status(status) = item {
            binding = status.bindings.first().and_then(|text| text.parse().ok());
        }
    };
    ask_service(stream, &Request::Status, &mut each).ok()?;
    binding.map(reachable)
}

/// Reaches the socket through its open folder, so that the length of the folder's path does not matter.
fn connect(data: &Path) -> std::io::Result<UnixStream> {
    let folder = File::open(data)?;
    UnixStream::connect(through(&folder))
}

/// The socket's path by way of a folder that is open.
pub(crate) fn through(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

fn unavailable(what: String) -> Failed {
    Failed { kind: FailedKind::Unavailable, what }
}

fn ask_service(mut stream: UnixStream, request: &Request, each: &mut dyn FnMut(Item)) -> Result<(), Failed> {
    let broken =
        |error: &dyn std::fmt::Display| unavailable(format!("the service broke off its answer: {error}"));
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).map_err(|error| broken(&error))?;
    let mut line = serde_json::to_string(request).map_err(|error| broken(&error))?;
    line.push('\n');
    if line.len() > LINE_MAX {
        let what = format!(
            "the question has {} octets, and a service takes {LINE_MAX}: name fewer messages at a time",
            line.len()
        );
        return Err(Failed { kind: FailedKind::Usage, what });
    }
    stream.write_all(line.as_bytes()).map_err(|error| broken(&error))?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        let octets = reader
            .by_ref()
            .take(ANSWER_LINE_MAX as u64)
            .read_line(&mut line)
            .map_err(|error| broken(&error))?;
        if octets == 0 {
            return Err(broken(&"the connection was closed"));
        }
        match serde_json::from_str(&line).map_err(|error| broken(&error))? {
            Line::Item(item) => each(item),
            Line::End => return Ok(()),
            Line::Failed(failed) => return Err(failed),
        }
    }
}

/// A store without a service.
struct Offline {
    store: RefCell<SqliteStore>,
    settings: Arc<Settings>,
    clock: Clock,
}

impl Source for Offline {
    async fn load(&self, load: Load) -> Result<Loaded, Failed> {
        self.store.borrow_mut().load(&load).map_err(|error| store_failed(&error))
    }

    fn queue<T>(&self, _: impl FnOnce(&Queue) -> T) -> Option<T> {
        None
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    fn now(&self) -> Wall {
        self.clock.now().wall
    }
}

fn store_failed(error: &StoreError) -> Failed {
    Failed { kind: FailedKind::Temporary, what: error.to_string() }
}

/// Takes the lock of a data folder where no service runs; `makes`: the folder is made if it is not there.
fn open(data: &Path, makes: bool) -> Result<DataDir, Failed> {
    let dir = if makes && !data.exists() { DataDir::create(data) } else { DataDir::open(data) };
    dir.map_err(|error| match error {
        DataError::InUse(path) => Failed {
            kind: FailedKind::Temporary,
            what: format!("a service is starting or ending on {}: try again in a moment", path.display()),
        },
        DataError::Foreign(_) => unavailable(error.to_string()),
        error => unavailable(format!(
            "{error}. Start a service with `postroad serve`, or name its folder with --data"
        )),
    })
}

fn ask_store(data: &Path, request: &Request, each: &mut dyn FnMut(Item)) -> Result<(), Failed> {
    // The first change makes the folder, as a first start does. A look at one that is not there is a mistyped name.
    let dir = open(data, matches!(request, Request::Meta(request) if request.changes()))?;
    if let Request::Events { limit, number } = request {
        return events(&dir.path, *limit, *number, each);
    }
    if *request == Request::Status {
        return Err(unavailable(format!("no service runs on {}", dir.path.display())));
    }
    if let Request::Meta(request) = request {
        return Rest::open(dir)?.ask(request, each);
    }
    let spool = dir.path.join(data::SPOOL);
    if !spool.exists() {
        return Err(unavailable(format!("{} holds no spool", dir.path.display())));
    }
    let settings = Registry::open(&dir.path, Used::AtRest, Clock::start().now().wall)?.published().load();
    let store = store::open(&spool, &Options::default()).map_err(|error| match error {
        StoreError::Full(_) => store_failed(&error),
        // Nothing that is tried later opens it.
        StoreError::Failed(what) => unavailable(what),
    })?;
    let offline = Offline { store: RefCell::new(store), settings, clock: Clock::start() };
    match request {
        Request::QueueRetry { which } => {
            each(Item::Done(offline.admin(AdminRequest::Retry(selection(which)))?));
            Ok(())
        }
        Request::QueueDelete { which } => {
            each(Item::Done(offline.admin(AdminRequest::Delete(selection(which)))?));
            Ok(())
        }
        request => runtime()?.block_on(answer(&offline, request, each)),
    }
}

/// Answers a question that changes nothing.
pub(crate) async fn answer(
    source: &impl Source,
    request: &Request,
    each: &mut dyn FnMut(Item),
) -> Result<(), Failed> {
    let mut gates = std::collections::BTreeMap::new();
    match request {
        Request::QueueList { after, limit } => {
            let (mut after, mut left) = (*after, *limit);
            while left > 0 {
                let page =
                    answers::messages(source, Load::Messages { after, limit: left.min(answers::PAGE) })
                        .await?;
                let full = page.len() >= left.min(answers::PAGE);
                left -= page.len().min(left);
                after = page.last().map(|stored| stored.message.id);
                for stored in &page {
                    for row in answers::rows(source, stored, &mut gates).await? {
                        each(Item::Recipient(Box::new(row)));
                    }
                }
                if !full {
                    break;
                }
            }
            Ok(())
        }
        Request::QueueShow { id } => {
            let stored = answers::messages(source, Load::Message(*id)).await?.pop();
            let Some(stored) = stored else {
                let what = format!(
                    "message {id} is not in the queue; `postroad explain {id}` may know what became of it"
                );
                return Err(Failed { kind: FailedKind::NotFound, what });
            };
            for row in answers::rows(source, &stored, &mut gates).await? {
                each(Item::Recipient(Box::new(row)));
            }
            Ok(())
        }
        Request::Explain { subject } => {
            each(Item::Explanation(answers::explain(source, subject).await?));
            Ok(())
        }
        Request::Status
        | Request::QueueRetry { .. }
        | Request::QueueDelete { .. }
        | Request::Events { .. }
        | Request::Meta(_) => {
            Err(Failed { kind: FailedKind::Usage, what: String::from("not a question of this kind") })
        }
    }
}

impl Offline {
    /// Does what a running service's queue would do, with the same machine.
    fn admin(&self, request: AdminRequest) -> Result<Done, Failed> {
        let mut queue = Queue::new(Arc::clone(&self.settings), [0; 32]);
        let mut asked = Some(request);
        let mut result = None;
        let mut store = self.store.borrow_mut();
        // To its end: what opens a gate may be written after the answer.
        loop {
            let Some(output) = queue.poll() else {
                let what = String::from("the queue gave no answer");
                return done(result.ok_or(Failed { kind: FailedKind::Temporary, what })?);
            };
            let input = match output {
                QueueOutput::Started => {
                    queue.handle(self.clock.now(), QueueInput::Stop);
                    asked.take().map(|request| QueueInput::Admin(AdminToken(0), request))
                }
                QueueOutput::Commit(batch) => {
                    let committed = store.commit(&batch).map_err(|error| store_failed(&error))?;
                    Some(QueueInput::Committed(committed))
                }
                QueueOutput::Load(token, load) => {
                    let loaded = store.load(&load).map_err(|error| store_failed(&error))?;
                    Some(QueueInput::Loaded(token, Some(loaded)))
                }
                QueueOutput::AdminDone(_, told) => {
                    result = Some(told);
                    None
                }
                _ => None,
            };
            if let Some(input) = input {
                queue.handle(self.clock.now(), input);
            }
        }
    }
}

pub(crate) fn selection(which: &Which) -> Selection {
    match which {
        Which::All => Selection::All,
        Which::Ids(ids) => Selection::Ids(ids.clone()),
    }
}

pub(crate) fn done(result: AdminResult) -> Result<Done, Failed> {
    if result.store_failed {
        return Err(answers::store_down());
    }
    Ok(Done { done: result.done, missing: result.missing, busy: result.busy })
}

/// The events of a data folder. Readers do not disturb the writer.
pub(crate) fn events(
    data: &Path,
    limit: usize,
    number: Option<u32>,
    each: &mut dyn FnMut(Item),
) -> Result<(), Failed> {
    let log = match EventLog::open_to_read(&data.join(data::EVENTS)) {
        Ok(log) => log,
        Err(LogError::Missing) => return Ok(()),
        Err(error) => return Err(unavailable(error.to_string())),
    };
    let events =
        log.list(&Filter { after: None, limit, number }).map_err(|error| unavailable(error.to_string()))?;
    for (_, event) in events {
        each(Item::Event(EventRow {
            number: event.number,
            severity: format!("{:?}", event.severity),
            category: event.category,
            at: event.at,
            text: event.text,
            remedy: event.remedy,
            fields: event.fields,
            count: event.count,
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_control::answer::RecipientState;
    use postroad_control::meta::{How, MetaStep};
    use postroad_mail::address::ReversePath;
    use postroad_mail::envelope::{Recipient, Sender};
    use postroad_mail::hop::NextHop;
    use postroad_mail::id::MessageId;
    use postroad_spool::record::{Content, Gate, GateKind, HopState, JournalEntry, Message, Record};

    /// Whether somebody else could have the folder.
    fn is_free(data: &Path) -> bool {
        DataDir::open(data).is_ok()
    }

    /// What the service would not take to its end is not sent: it would break off the writing of it.
    #[test]
    fn a_question_that_is_too_large_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let service = std::thread::spawn(move || drop(listener.accept()));
        let which = Which::Ids(vec![MessageId(1); 100_000]);
        let failed = ask(folder.path(), &Request::QueueRetry { which }, &mut |_| {}).unwrap_err();
        assert_eq!(failed.kind, FailedKind::Usage, "{failed}");
        service.join().unwrap();
    }

    /// A message that waits for its host, and the folder it is in.
    fn folder_with_a_message_that_waits() -> (tempfile::TempDir, MessageId) {
        let folder = tempfile::tempdir().unwrap();
        Registry::open(folder.path(), Used::AtRest, Wall(0)).unwrap();
        let now = Clock::start().now().wall;
        let hop: NextHop = "mx:b.example".parse().unwrap();
        let until = now + Duration::from_secs(3600);
        let gate =
            Gate { kind: GateKind::Host, until, step: 0, cause: String::from("no answer"), since: now };
        let state = HopState { gate: Some(gate), host_failures: 1, ..HopState::default() };
        let message = Message {
            id: MessageId::first_at(now),
            sender: Sender::plain(ReversePath::Null),
            recipients: vec![Recipient::plain("r@b.example".parse().unwrap(), hop.clone())],
            trace: String::new(),
            size: 0,
        };
        let id = message.id;
        let content = Content::Memory(Arc::default());
        let batch = [
            Record::Accept { message: Arc::new(message), content },
            Record::Waiting { hop: hop.clone(), delta: 1 },
            Record::Hop { hop, due: until, state },
        ];
        let mut store = store::open(&folder.path().join(data::SPOOL), &Options::default()).unwrap();
        store.commit(&batch).unwrap();
        (folder, id)
    }

    #[test]
    fn what_is_retried_at_rest_is_due() {
        for all in [true, false] {
            let (folder, id) = folder_with_a_message_that_waits();
            let state = || {
                let mut state = None;
                let mut each = |item| {
                    if let Item::Recipient(row) = item {
                        state = Some(row.state);
                    }
                };
                ask(folder.path(), &Request::QueueShow { id }, &mut each).unwrap();
                state
            };
            assert_eq!(state(), Some(RecipientState::Deferred));
            let which = if all { Which::All } else { Which::Ids(vec![id]) };
            let mut done = 0;
            let mut each = |item| {
                if let Item::Done(told) = item {
                    done = told.done;
                }
            };
            ask(folder.path(), &Request::QueueRetry { which }, &mut each).unwrap();
            assert_eq!((done, state()), (1, Some(RecipientState::Ready)), "all: {all}");
        }
    }

    /// What is delivered at once is so within the millisecond.
    #[test]
    fn a_story_begins_with_the_acceptance() {
        let (folder, id) = folder_with_a_message_that_waits();
        let body = postroad_engine::journal::Entry::HopRecovered.body();
        let hop = "mx:b.example".parse().unwrap();
        let entry = JournalEntry { message: Some(id), hop, at: id.given_at(), body };
        let mut store = store::open(&folder.path().join(data::SPOOL), &Options::default()).unwrap();
        store.commit(&[Record::Journal(entry)]).unwrap();
        drop(store);
        let mut steps = Vec::new();
        let mut each = |item| {
            if let Item::Explanation(told) = item {
                steps = told.steps;
            }
        };
        ask(folder.path(), &Request::Explain { subject: id.to_string() }, &mut each).unwrap();
        assert_eq!(steps.len(), 2);
        assert!(steps[0].text[0].starts_with("Accepted"), "{steps:?}");
    }

    #[test]
    fn a_spool_that_cannot_be_opened_is_no_store() {
        let (folder, _) = folder_with_a_message_that_waits();
        let spool = folder.path().join(data::SPOOL);
        std::fs::write(spool.join("spool.db"), "no database, whoever waits".repeat(1000)).unwrap();
        let list = Request::QueueList { after: None, limit: 1 };
        let failed = ask(folder.path(), &list, &mut |_| {}).unwrap_err();
        assert_eq!(failed.kind, FailedKind::Unavailable, "{failed}");
    }

    #[test]
    fn a_session_keeps_a_store_at_rest_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut session = Session::new(&data);
        let tree = MetaRequest::Tree { path: "/LM".into(), depth: 1 };
        assert!(session.ask(&tree, &mut |_| {}).is_err(), "a look makes no folder");
        let create = MetaRequest::Change {
            steps: vec![MetaStep::Create { path: "/LM/X".into() }],
            how: How::default(),
        };
        session.ask(&create, &mut |_| {}).unwrap();
        assert!(!is_free(&data), "it is kept from one question to the next");
        let keys = |session: &mut Session| {
            let mut keys = Vec::new();
            let answered = session.ask(&tree, &mut |item| {
                if let MetaItem::Key(row) = item {
                    keys.push(row.path);
                }
            });
            answered.map(|()| keys)
        };
        assert!(keys(&mut session).unwrap().contains(&"/LM/X".to_owned()));
        assert_eq!(session.service(), None, "the store itself was asked");
        session.let_go();
        assert!(is_free(&data));
        // Somebody else changes it meanwhile.
        let delete = MetaRequest::Change {
            steps: vec![MetaStep::Delete { path: "/LM/X".into() }],
            how: How::default(),
        };
        ask(&data, &Request::Meta(delete), &mut |_| {}).unwrap();
        assert!(!keys(&mut session).unwrap().contains(&"/LM/X".to_owned()));
    }
}
