//! A client's connection: moves its octets, carries its drafts.

use crate::hub::{Fate, Hub};
use crate::stream::Stream;
use crate::tls;
use postroad_engine::inbound::{Inbound, InboundInput, InboundOutput};
use postroad_engine::queue::{Draft, QueueInput};
use postroad_mail::time::Mono;
use postroad_metabase::settings::Settings;
use postroad_spool::record::DraftId;
use postroad_spool::sqlite::draft_path;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

/// Numbers of draft files that a session may use.
const DRAFTS_PER_SESSION: u64 = 1 << 20;

/// Serves one client, who was counted when it was accepted, to the end.
pub(crate) async fn run(hub: Rc<Hub>, socket: TcpStream, client: SocketAddr) {
    let _ = socket.set_nodelay(true);
    let settings = hub.settings();
    let drafts = DraftId(hub.number().wrapping_mul(DRAFTS_PER_SESSION));
    let now = hub.clock.now();
    let inbound = Inbound::new(Arc::clone(&settings), client, true, hub.drafts.clone(), drafts, now);
    let mut session = Session { inbound, settings, files: HashMap::new(), hub: Rc::clone(&hub) };
    session.serve(Stream::Plain(socket)).await;
    for (draft, _) in session.files.drain() {
        let _ = std::fs::remove_file(draft_path(&hub.spool, draft));
    }
    hub.inbound.set(hub.inbound.get().saturating_sub(1));
}

struct Session {
    inbound: Inbound,
    settings: Arc<Settings>,
    files: HashMap<DraftId, File>,
    hub: Rc<Hub>,
}

/// What the drained outputs ask for.
#[derive(Default)]
struct Todo {
    send: Vec<u8>,
    draft: Option<Draft>,
    start_tls: bool,
    close: bool,
}

impl Session {
    async fn serve(&mut self, mut stream: Stream) {
        let hub = Rc::clone(&self.hub);
        let mut stop = pin!(hub.stop.notified());
        stop.as_mut().enable();
        let mut told = false;
        let mut timer = pin!(Timer::new());
        if hub.stopping.get() {
            self.handle(InboundInput::Shutdown);
            told = true;
        }
        loop {
            let todo = self.drain();
            if !todo.send.is_empty() && stream.write(&todo.send).await.is_err() {
                if todo.draft.is_some() {
                    // Its client will send it again, and no commit is to wait for it.
                    hub.tell(QueueInput::DataDropped);
                }
                self.handle(InboundInput::Eof);
                self.drain();
                return;
            }
            if let Some(draft) = todo.draft {
                self.submit(draft).await;
                continue;
            }
            if todo.close {
                return stream.close().await;
            }
            if todo.start_tls {
                match self.handshake(stream).await {
                    Some(secured) => stream = secured,
                    None => {
                        self.handle(InboundInput::Eof);
                        self.drain();
                        return;
                    }
                }
                continue;
            }
            let deadline = self.inbound.deadline();
            tokio::select! {
                biased;
                () = stop.as_mut(), if !told => {
                    told = true;
                    self.handle(InboundInput::Shutdown);
                }
                read = self.read(&mut stream), if self.inbound.wants_input() => {
                    if !matches!(read, Ok(true)) {
                        self.handle(InboundInput::Eof);
                    }
                }
                () = timer.as_mut().until(&hub, deadline) => self.handle(InboundInput::Tick),
            }
        }
    }

    /// Reads once and handles it; false at the end.
    async fn read(&mut self, stream: &mut Stream) -> io::Result<bool> {
        let hub = Rc::clone(&self.hub);
        stream
            .read(&hub.buffer, |bytes| {
                if !bytes.is_empty() {
                    // At what has come, not before it was waited for: a client may have been silent since the change.
                    let settings = hub.settings();
                    if !Arc::ptr_eq(&settings, &self.settings) {
                        self.settings = Arc::clone(&settings);
                        self.handle(InboundInput::Settings(settings));
                    }
                    self.inbound.handle(hub.clock.now(), InboundInput::Bytes(bytes));
                }
                !bytes.is_empty()
            })
            .await
    }

    fn handle(&mut self, input: InboundInput<'_>) {
        self.inbound.handle(self.hub.clock.now(), input);
    }

    fn drain(&mut self) -> Todo {
        let mut todo = Todo::default();
        while let Some(output) = self.inbound.poll() {
            match output {
                InboundOutput::Send(bytes) if todo.send.is_empty() => todo.send = bytes,
                InboundOutput::Send(bytes) => todo.send.extend_from_slice(&bytes),
                InboundOutput::StartTls => todo.start_tls = true,
                InboundOutput::DataOpened => self.hub.tell(QueueInput::DataOpened),
                InboundOutput::DataDropped => self.hub.tell(QueueInput::DataDropped),
                InboundOutput::Spill(draft, bytes) => {
                    if let Err(error) = self.spill(draft, &bytes) {
                        let full = error.kind() == io::ErrorKind::StorageFull;
                        self.handle(InboundInput::SpillFailed { full });
                    }
                }
                InboundOutput::DropDraft(draft) => {
                    self.files.remove(&draft);
                    let _ = std::fs::remove_file(draft_path(&self.hub.spool, draft));
                }
                InboundOutput::Submit(draft) => todo.draft = Some(draft),
                InboundOutput::Close => todo.close = true,
            }
        }
        todo
    }

    fn spill(&mut self, draft: DraftId, bytes: &[u8]) -> io::Result<()> {
        use std::collections::hash_map::Entry;
        let file = match self.files.entry(draft) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let path = draft_path(&self.hub.spool, draft);
                entry.insert(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?)
            }
        };
        file.write_all(bytes)
    }

    async fn submit(&mut self, draft: Draft) {
        let file = match draft.content {
            postroad_spool::record::Content::Draft(file) => Some(file),
            _ => None,
        };
        let fate = self.hub.submit(draft).await;
        match fate {
            Ok(Fate::Accepted(id)) => {
                if let Some(file) = file {
                    self.files.remove(&file);
                }
                self.handle(InboundInput::Accepted(id));
            }
            Ok(Fate::Refused { full }) => self.handle(InboundInput::Refused { full }),
            Err(_) => self.handle(InboundInput::Refused { full: false }),
        }
    }

    async fn handshake(&mut self, stream: Stream) -> Option<Stream> {
        let plain = stream.into_plain()?;
        let accepting = TlsAcceptor::from(Arc::clone(&self.hub.tls.server)).accept(plain);
        let stream = tokio::time::timeout(tls::HANDSHAKE_TIME_MAX, accepting).await.ok()?.ok()?;
        let (protocol, cipher) = tls::facts(stream.get_ref().1);
        self.handle(InboundInput::TlsUp { protocol, cipher });
        Some(Stream::Server(Box::new(stream)))
    }
}

/// A timer that is set anew only when it must ring earlier: most deadlines are moved on before they come.
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Mono,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self { sleep: None, at: Mono(u64::MAX) }
    }

    /// Rings at the deadline, or never without one.
    pub(crate) fn until<'a>(
        self: Pin<&'a mut Self>,
        hub: &'a Hub,
        deadline: Option<Mono>,
    ) -> impl Future<Output = ()> + 'a {
        let timer = self.get_mut();
        async move {
            let Some(deadline) = deadline else { return std::future::pending().await };
            loop {
                if timer.sleep.is_none() || deadline < timer.at {
                    let instant = hub.clock.instant(deadline);
                    match &mut timer.sleep {
                        Some(sleep) => sleep.as_mut().reset(instant),
                        None => timer.sleep = Some(Box::pin(tokio::time::sleep_until(instant))),
                    }
                    timer.at = deadline;
                }
                if let Some(sleep) = &mut timer.sleep {
                    sleep.as_mut().await;
                }
                timer.sleep = None;
                timer.at = Mono(u64::MAX);
                if hub.clock.now().mono >= deadline {
                    return;
                }
            }
        }
    }
}
