//! The control socket: answers faces on this machine, of this user alone.

use crate::answers::{self, Source};
use crate::ask;
use crate::hub::Hub;
use crate::listen::Listeners;
use crate::live::Running;
use crate::metabase::{self, Registry};
use postroad_control::answer::{DnsServer, Status, WaitingHop};
use postroad_control::{Failed, FailedKind, Item, LINE_MAX, Line, Request, SOCKET};
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ServerReport, TransportReport};
use postroad_engine::queue::{AdminRequest, Queue};
use postroad_mail::time::{Wall, brief};
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Load, Loaded};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

/// Faces answered at once; a further one waits in the system's backlog.
const FACES_MAX: usize = 16;
/// How long a face may take to ask, or to read.
const FACE_TIME_MAX: Duration = Duration::from_secs(30);
/// Next hops shown in the status.
const WAITING_SHOWN: usize = 20;
/// Next hops looked through for those.
const HOPS_SEARCHED: usize = 1000;

/// What faces may ask about.
pub(crate) struct Desk {
    pub(crate) hub: Rc<Hub>,
    pub(crate) listeners: Rc<Listeners>,
    pub(crate) running: Rc<Running>,
    /// One question about the metabase at a time.
    pub(crate) registry: Rc<Mutex<Registry>>,
    pub(crate) data: PathBuf,
    pub(crate) config: Option<PathBuf>,
    pub(crate) started: Wall,
}

impl Source for Desk {
    async fn load(&self, load: Load) -> Result<Loaded, Failed> {
        self.hub.store.read(load).await.ok_or_else(answers::store_down)
    }

    fn queue<T>(&self, look: impl FnOnce(&Queue) -> T) -> Option<T> {
        Some(self.hub.queue(look))
    }

    fn settings(&self) -> Arc<Settings> {
        self.hub.settings()
    }

    fn now(&self) -> Wall {
        self.hub.clock.now().wall
    }
}

/// Makes the socket, mode 0600. One that a dead service left is replaced: the folder's lock is ours.
pub(crate) fn bind(data: &std::path::Path) -> io::Result<UnixListener> {
    let folder = File::open(data)?;
    let path = ask::through(&folder);
    match std::fs::remove_file(data.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(data.join(SOCKET), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers faces until it is dropped.
pub(crate) async fn serve(desk: Rc<Desk>, listener: UnixListener) {
    let open = Rc::new(Cell::new(0_usize));
    loop {
        if open.get() >= FACES_MAX {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if !is_ours(&desk, &stream) {
            continue;
        }
        open.set(open.get() + 1);
        let (desk, open) = (Rc::clone(&desk), Rc::clone(&open));
        tokio::task::spawn_local(async move {
            let _ = converse(&desk, stream).await;
            open.set(open.get() - 1);
        });
    }
}

/// Whether the peer is the folder's owner or root.
fn is_ours(desk: &Desk, stream: &UnixStream) -> bool {
    let Ok(peer) = stream.peer_cred() else { return false };
    let owner = std::fs::metadata(&desk.data).map(|found| found.uid());
    peer.uid() == 0 || owner.is_ok_and(|owner| owner == peer.uid())
}

async fn converse(desk: &Rc<Desk>, stream: UnixStream) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reading.take(LINE_MAX as u64));
    match tokio::time::timeout(FACE_TIME_MAX, reader.read_line(&mut line)).await {
        Ok(read) => read?,
        Err(_) => return Ok(()),
    };
    let result = match serde_json::from_str(&line) {
        Ok(request) => answer(desk, &request, &mut writing).await,
        Err(error) => {
            let what =
                format!("the service does not understand the question: {error}. Is it of another version?");
            Err(Failed { kind: FailedKind::Usage, what })
        }
    };
    let last = match result {
        Ok(()) => Line::End,
        Err(failed) => Line::Failed(failed),
    };
    send(&mut writing, &[last]).await
}

async fn send(writing: &mut tokio::net::unix::OwnedWriteHalf, lines: &[Line]) -> io::Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    match tokio::time::timeout(FACE_TIME_MAX, writing.write_all(text.as_bytes())).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
    }
}

async fn answer(
    desk: &Rc<Desk>,
    request: &Request,
    writing: &mut tokio::net::unix::OwnedWriteHalf,
) -> Result<(), Failed> {
    let gone =
        |_| Failed { kind: FailedKind::Unavailable, what: String::from("the face does not read its answer") };
    let mut items = Vec::new();
    match request {
        Request::Status => items.push(Item::Status(Box::new(desk.status().await?))),
        Request::QueueRetry { which } => {
            items.push(Item::Done(desk.admin(AdminRequest::Retry(ask::selection(which))).await?));
        }
        Request::QueueDelete { which } => {
            items.push(Item::Done(desk.admin(AdminRequest::Delete(ask::selection(which))).await?));
        }
        Request::Events { limit, number } => {
            desk.hub.keep_pending_events();
            // The store's thread answers in order: once it has answered this the events are in their log.
            let _ = desk.hub.store.read(Load::Totals).await;
            ask::events(&desk.data, *limit, *number, &mut |item| items.push(item))?;
        }
        Request::QueueList { after, limit } => {
            // A page at a time, each written before the next is read: no listing is held whole.
            let (mut after, mut left) = (*after, *limit);
            while left > 0 {
                let limit = left.min(answers::PAGE);
                ask::answer(desk.as_ref(), &Request::QueueList { after, limit }, &mut |item| {
                    items.push(item)
                })
                .await?;
                let ids = items.iter().filter_map(|item| match item {
                    Item::Recipient(row) => Some(row.id),
                    _ => None,
                });
                let ids: std::collections::BTreeSet<_> = ids.collect();
                let lines: Vec<Line> = items.drain(..).map(Line::Item).collect();
                send(writing, &lines).await.map_err(gone)?;
                after = ids.last().copied();
                left -= limit;
                if ids.len() < limit {
                    break;
                }
            }
        }
        Request::Meta(request) => {
            let mut registry = desk.registry.lock().await;
            let (now, running) = (desk.now(), desk.running.as_ref());
            metabase::answer(&mut registry, request, now, running, &mut |item| items.push(item)).await?;
        }
        request => ask::answer(desk.as_ref(), request, &mut |item| items.push(item)).await?,
    }
    let lines: Vec<Line> = items.into_iter().map(Line::Item).collect();
    send(writing, &lines).await.map_err(gone)
}

impl Desk {
    async fn admin(&self, request: AdminRequest) -> Result<postroad_control::answer::Done, Failed> {
        let ending = || Failed { kind: FailedKind::Unavailable, what: String::from("the service is ending") };
        ask::done(self.hub.admin(request).await.ok_or_else(ending)?)
    }

    async fn status(&self) -> Result<Status, Failed> {
        let hub = &self.hub;
        let settings = hub.settings();
        let registry = self.registry.lock().await;
        let (pins, confirm_until) = (registry.pins(), registry.pending_until());
        drop(registry);
        let policy = Policy::from_property(settings.dns.policy).unwrap_or_default();
        let (messages, outbound, store_up) =
            hub.queue(|queue| (queue.messages(), queue.connections() as u64, queue.store_is_up()));
        Ok(Status {
            version: String::from(env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            started: self.started,
            name: settings.fqdn.to_string(),
            bindings: self.listeners.bound().iter().map(ToString::to_string).collect(),
            data: self.data.display().to_string(),
            config: self.config.as_ref().map(|path| path.display().to_string()),
            generation: settings.generation,
            pins,
            confirm_until,
            dns_policy: policy.to_string(),
            dns_servers: hub.dns.servers().iter().map(dns_server).collect(),
            messages,
            inbound: hub.inbound.get(),
            outbound,
            store_up,
            waiting: if store_up { self.waiting().await? } else { Vec::new() },
        })
    }

    /// Next hops that wait, those that most recipients wait for first.
    async fn waiting(&self) -> Result<Vec<WaitingHop>, Failed> {
        let mut waiting = Vec::new();
        let mut after = None;
        let mut searched = 0;
        while searched < HOPS_SEARCHED {
            let load = Load::Hops { dns_only: false, after: after.take(), limit: answers::PAGE };
            let Loaded::Hops(rows) = self.load(load).await? else { return Err(answers::store_down()) };
            let full = rows.len() >= answers::PAGE;
            searched += rows.len();
            after = rows.last().map(|row| row.hop.clone());
            for row in rows {
                let view = self.hub.queue(|queue| queue.hop(&row.hop));
                let gate = view.as_ref().map_or(row.state.gate, |view| view.gate.clone());
                if let Some(gate) = gate {
                    let recipients = view.map_or(row.waiting, |view| view.waiting);
                    waiting.push(WaitingHop {
                        hop: row.hop,
                        recipients,
                        cause: gate.cause,
                        until: gate.until,
                    });
                }
            }
            if !full {
                break;
            }
        }
        waiting.sort_by_key(|hop| std::cmp::Reverse(hop.recipients));
        waiting.truncate(WAITING_SHOWN);
        Ok(waiting)
    }
}

fn dns_server(report: &ServerReport) -> DnsServer {
    let transport = |transport: &TransportReport| {
        let name = transport.transport;
        match (&transport.down, transport.round_trip) {
            (Some(cause), _) => {
                let probe = transport
                    .next_probe
                    .map_or(String::new(), |next| format!(", next probe in {}", brief(next)));
                format!("{name}: down ({cause}){probe}")
            }
            (None, Some(round_trip)) => format!("{name}: works, {:.1} ms", round_trip.as_secs_f64() * 1000.0),
            (None, None) => format!("{name}: not used yet"),
        }
    };
    DnsServer {
        server: report.server.to_string(),
        transports: report.transports.iter().map(transport).collect(),
        healthy: report.transports.iter().all(|transport| transport.down.is_none()),
    }
}
