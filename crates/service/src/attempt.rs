//! An attempt's connection: moves its octets, resolves, reads and writes for it.

use crate::folders::Filing;
use crate::hub::{Hub, ToAttempt};
use crate::session::Timer;
use crate::stream::Stream;
use crate::tls;
use postroad_engine::delivery::{AttemptId, End, Job};
use postroad_engine::outbound::{Outbound, OutboundInput, OutboundOutput, PIECE};
use postroad_engine::queue::QueueInput;
use postroad_events::fact::Fact;
use postroad_mail::hop::NextHop;
use postroad_spool::record::{Content, Load, Loaded};
use rustls::pki_types::ServerName;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

/// Carries one attempt to its end.
pub(crate) async fn run(
    hub: Rc<Hub>,
    id: AttemptId,
    hop: NextHop,
    job: Arc<Job>,
    jobs: mpsc::UnboundedReceiver<ToAttempt>,
) {
    let outbound = Outbound::new(hub.settings(), hop.clone(), job, hub.clock.now());
    Attempt { hub, id, hop, outbound, stream: None, send: Vec::new(), jobs }.carry().await;
}

struct Attempt {
    hub: Rc<Hub>,
    id: AttemptId,
    hop: NextHop,
    outbound: Outbound,
    stream: Option<Stream>,
    /// Octets to be written before anything else is done.
    send: Vec<u8>,
    jobs: mpsc::UnboundedReceiver<ToAttempt>,
}

/// What a wait came to.
enum Heard {
    Octets,
    Closed(Option<String>),
    Told(ToAttempt),
    Orphaned,
    Late,
}

impl Attempt {
    async fn carry(&mut self) {
        let mut timer = pin!(Timer::new());
        loop {
            while let Some(output) = self.outbound.poll() {
                if let Some(end) = self.act(output).await {
                    return self.hub.ended(self.id, end);
                }
            }
            if !self.send.is_empty() {
                self.flush().await;
                // Where that failed, the machine was told, and has something to say.
                continue;
            }
            let deadline = self.outbound.deadline();
            let hub = Rc::clone(&self.hub);
            let heard = {
                let timer = timer.as_mut().until(&hub, deadline);
                let (outbound, stream) = (&mut self.outbound, &mut self.stream);
                tokio::select! {
                    biased;
                    heard = hear(&hub, outbound, stream) => heard,
                    told = self.jobs.recv() => told.map_or(Heard::Orphaned, Heard::Told),
                    () = timer => Heard::Late,
                }
            };
            match heard {
                Heard::Octets => {}
                Heard::Closed(cause) => {
                    self.stream = None;
                    self.handle(OutboundInput::Closed(cause));
                }
                Heard::Told(ToAttempt::Job(job)) => self.handle(OutboundInput::Job(job)),
                Heard::Told(ToAttempt::Rest) => self.handle(OutboundInput::Rest),
                Heard::Told(ToAttempt::Close) | Heard::Orphaned => self.handle(OutboundInput::Close),
                Heard::Late => self.handle(OutboundInput::Tick),
            }
        }
    }

    fn handle(&mut self, input: OutboundInput<'_>) {
        self.outbound.handle(self.hub.clock.now(), input);
    }

    async fn act(&mut self, output: OutboundOutput) -> Option<End> {
        match output {
            OutboundOutput::Send(bytes) if self.send.is_empty() => self.send = bytes,
            OutboundOutput::Send(bytes) => self.send.extend_from_slice(&bytes),
            OutboundOutput::Resolve(question, policy) => {
                if let Some(answer) = Rc::clone(&self.hub).dns.find(question, policy).await {
                    self.handle(OutboundInput::Resolved(answer));
                }
            }
            OutboundOutput::Connect(address) => self.connect(address).await,
            OutboundOutput::StartTls(name) => self.start_tls(&name).await,
            OutboundOutput::Disconnect => {
                self.flush().await;
                if let Some(stream) = self.stream.take() {
                    tokio::task::spawn_local(stream.close());
                }
            }
            OutboundOutput::ReadContent { id, offset, len } => {
                self.flush().await;
                let loaded = self.hub.store.read(Load::Content { id, offset, len }).await;
                let content = match loaded {
                    Some(Loaded::Content(Some(bytes))) => Ok(bytes),
                    Some(_) => Err(String::from("the message is no longer in the spool")),
                    None => Err(String::from("the spool cannot be read")),
                };
                self.handle(OutboundInput::Content(content));
            }
            OutboundOutput::WriteFile(job) => {
                let written = self.file(&job).await;
                self.handle(OutboundInput::Written(written));
            }
            OutboundOutput::Reached(plan) => self.hub.tell(QueueInput::Reached(self.id, plan)),
            OutboundOutput::Want => self.hub.tell(QueueInput::Want(self.id)),
            OutboundOutput::Report(report) => self.hub.tell(QueueInput::Report(self.id, report)),
            OutboundOutput::Ended(end) => {
                self.flush().await;
                return Some(end);
            }
        }
        None
    }

    async fn connect(&mut self, address: std::net::SocketAddr) {
        let deadline = self.outbound.deadline();
        let hub = Rc::clone(&self.hub);
        let mut timer = pin!(Timer::new());
        let connected = tokio::select! {
            connected = TcpStream::connect(address) => connected,
            () = timer.as_mut().until(&hub, deadline) => return self.handle(OutboundInput::Tick),
        };
        match connected {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                self.stream = Some(Stream::Plain(stream));
                self.handle(OutboundInput::Connected);
            }
            Err(error) => self.handle(OutboundInput::ConnectFailed(words(&error))),
        }
    }

    async fn start_tls(&mut self, name: &str) {
        self.flush().await;
        let Some(plain) = self.stream.take().and_then(Stream::into_plain) else {
            return self.handle(OutboundInput::TlsFailed(String::from("the connection is gone")));
        };
        let name = match ServerName::try_from(name.to_owned()) {
            Ok(name) => name,
            Err(error) => return self.handle(OutboundInput::TlsFailed(error.to_string())),
        };
        let connecting = TlsConnector::from(Arc::clone(&self.hub.tls.client)).connect(name, plain);
        match tokio::time::timeout(tls::HANDSHAKE_TIME_MAX, connecting).await {
            Ok(Ok(stream)) => {
                let (protocol, cipher) = tls::facts(stream.get_ref().1);
                self.stream = Some(Stream::Client(Box::new(stream)));
                self.handle(OutboundInput::TlsUp { protocol, cipher });
            }
            Ok(Err(error)) => self.handle(OutboundInput::TlsFailed(words(&error))),
            Err(_) => self.handle(OutboundInput::TlsFailed(String::from("it took too long"))),
        }
    }

    /// Writes what is to be written. A connection that does not take it is closed, and the machine told.
    async fn flush(&mut self) {
        if self.send.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.send);
        let Some(stream) = &mut self.stream else { return };
        if let Err(error) = stream.write(&bytes).await {
            // What the host said before it closed may explain it: it is read first.
            let hub = Rc::clone(&self.hub);
            let mut said = false;
            let reading = stream.read(&hub.buffer, |octets| {
                if !octets.is_empty() {
                    said = true;
                    self.outbound.handle(hub.clock.now(), OutboundInput::Bytes(octets));
                }
            });
            let _ = tokio::time::timeout(std::time::Duration::from_millis(100), reading).await;
            self.stream = None;
            self.handle(OutboundInput::Closed(Some(words(&error))));
        }
    }

    /// Writes a message into the hop's folder, off this thread: a sync takes milliseconds.
    async fn file(&mut self, job: &Job) -> Result<String, String> {
        let settings = self.hub.settings();
        let folder = if self.hop == NextHop::Badmail { &settings.badmail_dir } else { &settings.drop_dir };
        let filing = Filing {
            folder: folder.clone(),
            hop: self.hop.clone(),
            message: Arc::clone(&job.message),
            recipients: job.recipients.clone(),
            cause: job.cause.clone(),
        };
        let (pieces, pieces_in) = std::sync::mpsc::sync_channel::<Vec<u8>>(4);
        let writing = tokio::task::spawn_blocking(move || {
            filing.write(|| {
                let ended = || io::Error::other("the message's content could not be read");
                pieces_in.recv().map_err(|_| ended())
            })
        });
        self.hand_over(job, pieces).await;
        let written = match writing.await {
            Ok(written) => written,
            Err(error) => Err(io::Error::other(error.to_string())),
        };
        match written {
            Ok(path) => {
                let file = path.display().to_string();
                if self.hop == NextHop::Badmail {
                    let (message, cause) = (job.message.id, job.cause.clone());
                    self.hub.report.state(Fact::BadmailWritten { message, file: file.clone(), cause });
                }
                Ok(file)
            }
            Err(error) => Err(format!("{} cannot be written: {error}", folder.display())),
        }
    }

    /// Hands a message's content to a writer, ended by an empty piece; a content that cannot be read ends without one.
    async fn hand_over(&self, job: &Job, pieces: std::sync::mpsc::SyncSender<Vec<u8>>) {
        if let Content::Memory(bytes) = &job.content {
            if !bytes.is_empty() {
                let _ = pieces.send(bytes.to_vec());
            }
            let _ = pieces.send(Vec::new());
            return;
        }
        let mut offset = 0;
        loop {
            let load = Load::Content { id: job.message.id, offset, len: PIECE };
            let Some(Loaded::Content(Some(mut piece))) = self.hub.store.read(load).await else { return };
            let last = piece.is_empty();
            offset += piece.len() as u64;
            // The writer may be busy syncing: this thread does not wait for it.
            loop {
                match pieces.try_send(piece) {
                    Ok(()) => break,
                    Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return,
                    Err(std::sync::mpsc::TrySendError::Full(back)) => {
                        piece = back;
                        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                }
            }
            if last {
                return;
            }
        }
    }
}

/// Reads from the host once, if there is one.
async fn hear(hub: &Rc<Hub>, outbound: &mut Outbound, stream: &mut Option<Stream>) -> Heard {
    let Some(stream) = stream else { return std::future::pending().await };
    let read = stream.read(&hub.buffer, |bytes| {
        if bytes.is_empty() {
            return Heard::Closed(None);
        }
        outbound.handle(hub.clock.now(), OutboundInput::Bytes(bytes));
        Heard::Octets
    });
    read.await.unwrap_or_else(|error| Heard::Closed(Some(words(&error))))
}

/// An error as the administrator reads it, without the system's number.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => String::from("connection refused"),
        io::ErrorKind::ConnectionReset => String::from("connection reset"),
        // The second: it ended TLS without saying so, as many do.
        io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            String::from("the host closed the connection")
        }
        io::ErrorKind::TimedOut => String::from("timed out"),
        io::ErrorKind::HostUnreachable => String::from("host unreachable"),
        io::ErrorKind::NetworkUnreachable => String::from("network unreachable"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use std::io;

    #[test]
    fn errors_in_words() {
        let check = |kind: io::ErrorKind, expected: &str| {
            assert_eq!(words(&io::Error::new(kind, "in a library's words")), expected);
        };
        check(io::ErrorKind::ConnectionRefused, "connection refused");
        // Here rustls points to its manual.
        check(io::ErrorKind::UnexpectedEof, "the host closed the connection");
        check(io::ErrorKind::Other, "in a library's words");
    }
}
