//! The sockets of the resolver machine.

use crate::clock::Clock;
use postroad_dns::answer::{Answer, Question};
use postroad_dns::fact::Fact;
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ConnId, Input, IoFault, LookupId, Output, Resolver, SLOTS, ServerReport};
use postroad_dns::settings::Settings;
use postroad_mail::time::Mono;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

/// Octets of the largest datagram.
const DATAGRAM_MAX: usize = 65_535;

/// What the resolver has to say beside answers.
pub(crate) enum DnsNews {
    Fact(Fact),
    Released,
}

/// The resolver and its sockets, on the current thread's runtime.
pub(crate) struct DnsShell {
    clock: Clock,
    resolver: RefCell<Resolver>,
    pools: RefCell<HashMap<SocketAddr, Pool>>,
    connections: RefCell<HashMap<ConnId, Connection>>,
    waiting: RefCell<HashMap<LookupId, oneshot::Sender<Arc<Answer>>>>,
    /// Where datagrams are read, of whatever socket: each is copied out before anything else is read.
    datagram: RefCell<Box<[u8]>>,
    next: Cell<u64>,
    news: mpsc::UnboundedSender<DnsNews>,
    timer: Notify,
    armed: Cell<Option<Mono>>,
}

/// The datagram sockets connected to one server, made when they are first used.
struct Pool {
    sockets: Vec<Option<(Rc<UdpSocket>, AbortHandle)>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (_, reader) in self.sockets.iter().flatten() {
            reader.abort();
        }
    }
}

struct Connection {
    sends: mpsc::UnboundedSender<Vec<u8>>,
    task: AbortHandle,
}

impl DnsShell {
    /// Starts the resolver; must be called on a `LocalSet`.
    pub(crate) fn start(
        settings: Settings,
        clock: Clock,
        seed: [u8; 32],
    ) -> (Rc<Self>, mpsc::UnboundedReceiver<DnsNews>) {
        let (news, news_in) = mpsc::unbounded_channel();
        let shell = Rc::new(Self {
            clock,
            resolver: RefCell::new(Resolver::new(settings, seed)),
            pools: RefCell::default(),
            connections: RefCell::default(),
            waiting: RefCell::default(),
            datagram: RefCell::new(vec![0; DATAGRAM_MAX].into()),
            next: Cell::new(0),
            news,
            timer: Notify::new(),
            armed: Cell::new(None),
        });
        tokio::task::spawn_local(Rc::clone(&shell).keep_time());
        (shell, news_in)
    }

    /// Asks a question. Dropping the future withdraws it.
    pub(crate) async fn find(self: &Rc<Self>, question: Question, policy: Policy) -> Option<Arc<Answer>> {
        let id = LookupId(self.next.get());
        self.next.set(id.0 + 1);
        let (answer, answer_in) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, answer);
        let withdraw = Withdraw { shell: self, id };
        self.tell(Input::Find { id, question, policy });
        let answer = answer_in.await.ok();
        drop(withdraw);
        answer
    }

    /// Takes new settings; sockets of servers that are no more are closed.
    pub(crate) fn set(self: &Rc<Self>, settings: Settings) {
        let servers = settings.servers.clone();
        self.tell(Input::Settings(settings));
        self.pools.borrow_mut().retain(|server, _| servers.contains(server));
    }

    pub(crate) fn servers(&self) -> Vec<ServerReport> {
        self.resolver.borrow().servers(self.clock.now())
    }

    async fn keep_time(self: Rc<Self>) {
        loop {
            let deadline = self.resolver.borrow().deadline();
            self.armed.set(deadline);
            match deadline {
                Some(at) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.clock.instant(at)) => self.tell(Input::Tick),
                        () = self.timer.notified() => {}
                    }
                }
                None => self.timer.notified().await,
            }
        }
    }

    fn tell(self: &Rc<Self>, input: Input) {
        self.resolver.borrow_mut().handle(self.clock.now(), input);
        loop {
            let output = self.resolver.borrow_mut().poll();
            let Some(output) = output else { break };
            self.act(output);
        }
        let deadline = self.resolver.borrow().deadline();
        if deadline.is_some_and(|at| self.armed.get().is_none_or(|armed| at < armed)) {
            self.timer.notify_one();
        }
    }

    fn act(self: &Rc<Self>, output: Output) {
        match output {
            Output::SendDatagram { server, slot, bytes } => self.send_datagram(server, slot, &bytes),
            Output::Connect { conn, server } => self.connect(conn, server),
            Output::Send { conn, bytes } => {
                if let Some(connection) = self.connections.borrow().get(&conn) {
                    let _ = connection.sends.send(bytes);
                }
            }
            Output::Close { conn } => {
                if let Some(connection) = self.connections.borrow_mut().remove(&conn) {
                    connection.task.abort();
                }
            }
            Output::Found { id, answer } => {
                if let Some(waiting) = self.waiting.borrow_mut().remove(&id) {
                    let _ = waiting.send(answer);
                }
            }
            Output::Fact(fact) => {
                let _ = self.news.send(DnsNews::Fact(fact));
            }
            Output::Released => {
                let _ = self.news.send(DnsNews::Released);
            }
        }
    }

    fn send_datagram(self: &Rc<Self>, server: SocketAddr, slot: u16, bytes: &[u8]) {
        let sent = self.socket(server, slot).and_then(|socket| match socket.try_send(bytes) {
            // A socket is not known to be writable before the runtime has looked at it once.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let bytes = bytes.to_vec();
                tokio::task::spawn_local(async move { socket.send(&bytes).await });
                Ok(0)
            }
            sent => sent,
        });
        if let Err(error) = sent {
            self.tell_later(Input::DatagramFailed { server, slot, fault: fault_of(&error) });
        }
    }

    /// Tells the machine once the current outputs are drained.
    fn tell_later(self: &Rc<Self>, input: Input) {
        let shell = Rc::clone(self);
        tokio::task::spawn_local(async move { shell.tell(input) });
    }

    fn socket(self: &Rc<Self>, server: SocketAddr, slot: u16) -> io::Result<Rc<UdpSocket>> {
        let mut pools = self.pools.borrow_mut();
        let pool = pools.entry(server).or_insert_with(|| Pool {
            sockets: std::iter::repeat_with(|| None).take(usize::from(SLOTS)).collect(),
        });
        let Some(place) = pool.sockets.get_mut(usize::from(slot)) else {
            return Err(io::Error::other("no such slot"));
        };
        if let Some((socket, _)) = place {
            return Ok(Rc::clone(socket));
        }
        // Port 0: the system draws a random one of its ephemeral range.
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let socket = Rc::new(UdpSocket::from_std(socket)?);
        let reader =
            tokio::task::spawn_local(Rc::clone(self).read_datagrams(server, slot, Rc::clone(&socket)));
        *place = Some((Rc::clone(&socket), reader.abort_handle()));
        Ok(socket)
    }

    async fn read_datagrams(self: Rc<Self>, server: SocketAddr, slot: u16, socket: Rc<UdpSocket>) {
        loop {
            // A port that is closed shows as an error on the socket, which is not readable then.
            let Ok(ready) = socket.ready(Interest::READABLE | Interest::ERROR).await else { return };
            if ready.is_error() {
                // Tells the runtime that it was seen to.
                let _ = socket.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
                if let Ok(Some(error)) = socket.take_error() {
                    self.tell(Input::DatagramFailed { server, slot, fault: fault_of(&error) });
                }
            }
            match self.receive(&socket) {
                Ok(bytes) => self.tell(Input::Datagram { server, slot, bytes }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.tell(Input::DatagramFailed { server, slot, fault: fault_of(&error) }),
            }
            // What was tried without waiting counts for nothing with the runtime: a flood of datagrams would hold the thread.
            tokio::task::coop::consume_budget().await;
        }
    }

    fn receive(&self, socket: &UdpSocket) -> io::Result<Vec<u8>> {
        let mut buffer = self.datagram.borrow_mut();
        let octets = socket.try_recv(&mut buffer)?;
        Ok(buffer[..octets].to_vec())
    }

    fn connect(self: &Rc<Self>, conn: ConnId, server: SocketAddr) {
        let (sends, sends_in) = mpsc::unbounded_channel();
        let task = tokio::task::spawn_local(Rc::clone(self).converse(conn, server, sends_in));
        self.connections.borrow_mut().insert(conn, Connection { sends, task: task.abort_handle() });
    }

    /// Carries one connection; how long it may take is the machine's to say.
    async fn converse(
        self: Rc<Self>,
        conn: ConnId,
        server: SocketAddr,
        mut sends: mpsc::UnboundedReceiver<Vec<u8>>,
    ) {
        let mut stream = match TcpStream::connect(server).await {
            Ok(stream) => stream,
            Err(error) => {
                self.connections.borrow_mut().remove(&conn);
                return self.tell(Input::ConnectFailed { conn, fault: fault_of(&error) });
            }
        };
        let _ = stream.set_nodelay(true);
        self.tell(Input::Connected { conn });
        let mut buffer = vec![0; 8 * 1024];
        let fault = loop {
            let read = tokio::select! {
                send = sends.recv() => {
                    let Some(bytes) = send else { return };
                    match stream.write_all(&bytes).await {
                        Ok(()) => continue,
                        Err(error) => break Some(fault_of(&error)),
                    }
                }
                read = stream.read(&mut buffer) => read,
            };
            match read {
                Ok(0) => break None,
                Ok(octets) => self.tell(Input::Received { conn, bytes: buffer[..octets].to_vec() }),
                Err(error) => break Some(fault_of(&error)),
            }
        };
        self.connections.borrow_mut().remove(&conn);
        self.tell(Input::Closed { conn, fault });
    }
}

struct Withdraw<'a> {
    shell: &'a Rc<DnsShell>,
    id: LookupId,
}

impl Drop for Withdraw<'_> {
    fn drop(&mut self) {
        if self.shell.waiting.borrow_mut().remove(&self.id).is_some() {
            self.shell.tell_later(Input::Cancel { id: self.id });
        }
    }
}

fn fault_of(error: &io::Error) -> IoFault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => IoFault::Refused,
        io::ErrorKind::TimedOut => IoFault::TimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted => {
            IoFault::Reset
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => IoFault::Unreachable,
        _ => IoFault::Other,
    }
}
