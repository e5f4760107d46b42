//! Submits a message over one connection: the client machine, and a blocking socket that it drives.

use postroad_mail::address::{Address, ReversePath};
use postroad_mail::domain::Host;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_smtp::client::{
    Client, ClientInput, ClientOutput, ClientSettings, ClientTimeouts, Delivery, HostFailure, HostFault,
    RecipientResult, Stage, Tls,
};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A message and its envelope.
pub struct Submission<'a> {
    /// MAIL.
    pub sender: ReversePath,
    /// RCPT, each once; not empty.
    pub recipients: Vec<Address>,
    /// In lines ended by CR LF.
    pub content: &'a [u8],
}

/// What became of the recipients of one MAIL.
pub type Transaction = Vec<(Address, RecipientResult)>;

/// Recipients of one transaction: what every server must take (RFC 5321 §4.5.3.1.8).
const RECIPIENTS_MAX: usize = 100;
/// Content that is written at once.
const PIECE: usize = 64 * 1024;
/// Our name in EHLO. It must not be the service's own, by which the machine would know a loop; and the service may have this
/// machine's name or `localhost`.
const HELLO: &str = "send.localhost";

/// Submits a message for all its recipients, in as many transactions as the server wants.
///
/// # Errors
/// The server could not be talked to: nothing was sent.
pub fn submit(stream: TcpStream, submission: Submission<'_>) -> Result<Vec<Transaction>, HostFailure> {
    let mut connection = Connection::new(stream, submission.content)?;
    let sender = Sender::plain(submission.sender);
    let mut waiting = submission.recipients;
    let mut transactions = Vec::new();
    loop {
        match connection.next() {
            Turn::Ready if waiting.is_empty() => connection.tell(ClientInput::Quit),
            Turn::Ready => connection.deliver(&sender, waiting.iter().take(RECIPIENTS_MAX)),
            Turn::Done(results) => {
                let asked: Vec<Address> = waiting.drain(..results.len().min(waiting.len())).collect();
                let mut transaction: Transaction = asked.into_iter().zip(results).collect();
                if transaction.iter().any(|(_, result)| matches!(result, RecipientResult::Delivered(_))) {
                    // The server takes fewer recipients at once. It took one at least, so this comes to an end.
                    let (surplus, decided) =
                        transaction.into_iter().partition(|(_, result)| is_surplus(result));
                    transaction = decided;
                    waiting.splice(0..0, Transaction::into_iter(surplus).map(|(recipient, _)| recipient));
                }
                transactions.push(transaction);
            }
            Turn::Failed(failure) => return Err(failure),
            Turn::Closed => break,
        }
    }
    if !waiting.is_empty() {
        let lost = || {
            let text = "the server closed the connection before it was asked".to_owned();
            RecipientResult::Lost(HostFailure {
                stage: Stage::Ready,
                kind: HostFault::Closed,
                text,
                reply: None,
            })
        };
        transactions.push(waiting.into_iter().map(|recipient| (recipient, lost())).collect());
    }
    Ok(transactions)
}

/// Too many recipients (RFC 5321 §4.5.3.1.10; 552 is the old way to say it).
fn is_surplus(result: &RecipientResult) -> bool {
    matches!(result, RecipientResult::Deferred { stage: Stage::Recipient, reply } if matches!(reply.code, 452 | 552))
}

/// What the machine says that is not for the socket.
enum Turn {
    Ready,
    Done(Vec<RecipientResult>),
    Failed(HostFailure),
    Closed,
}

struct Connection<'a> {
    stream: TcpStream,
    client: Client,
    start: Instant,
    content: &'a [u8],
    /// Octets of content that this transaction has sent.
    sent: usize,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, content: &'a [u8]) -> Result<Self, HostFailure> {
        let failed =
            |text: String| HostFailure { stage: Stage::Connect, kind: HostFault::Connect, text, reply: None };
        let timeouts = ClientTimeouts::default();
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        stream.set_write_timeout(Some(timeouts.block)).map_err(|error| failed(error.to_string()))?;
        let helo = HELLO.parse().map_err(|_| failed(format!("{HELLO} is no name")))?;
        let settings = Arc::new(ClientSettings { helo, timeouts, pipelining: true });
        // The service is on this machine, or on a network that its administrator trusts to submit mail.
        let client = Client::new(settings, Tls::Off, Now::default());
        Ok(Self { stream, client, start: Instant::now(), content, sent: 0 })
    }

    fn deliver<'r>(&mut self, sender: &Sender, recipients: impl Iterator<Item = &'r Address>) {
        self.sent = 0;
        let delivery = Delivery {
            sender: sender.clone(),
            recipients: recipients.map(recipient).collect(),
            size: self.content.len() as u64,
            eight_bit: !self.content.is_ascii(),
        };
        self.tell(ClientInput::Deliver(Arc::new(delivery)));
    }

    /// Does what the machine wants until it has something to say.
    fn next(&mut self) -> Turn {
        loop {
            match self.client.poll() {
                Some(ClientOutput::Send(bytes)) => {
                    if let Err(error) = self.stream.write_all(&bytes) {
                        self.tell(ClientInput::Closed(Some(error.to_string())));
                    }
                }
                Some(ClientOutput::NeedContent) => {
                    let content = self.content;
                    let rest = content.get(self.sent..).unwrap_or_default();
                    let bytes = rest.get(..PIECE).unwrap_or(rest);
                    self.sent += bytes.len();
                    self.tell(ClientInput::Content { bytes, last: bytes.len() == rest.len() });
                }
                Some(ClientOutput::StartTls) => {
                    self.tell(ClientInput::TlsFailed("TLS is not used here".into()))
                }
                Some(ClientOutput::Ready(_)) => return Turn::Ready,
                Some(ClientOutput::Done(results)) => return Turn::Done(results),
                Some(ClientOutput::HostFailed(failure)) => return Turn::Failed(failure),
                Some(ClientOutput::Close) => return Turn::Closed,
                // A machine that waits for nobody has ended.
                None if self.client.deadline().is_none() => return Turn::Closed,
                None => self.listen(),
            }
        }
    }

    /// Waits for the server, or for the deadline.
    fn listen(&mut self) {
        // A socket's timeout of nothing would be none at all.
        let wait =
            self.client.deadline().map(|deadline| (deadline - self.now().mono).max(Duration::from_millis(1)));
        let mut bytes = [0; 4096];
        match self.stream.set_read_timeout(wait).and_then(|()| self.stream.read(&mut bytes)) {
            Ok(0) => self.tell(ClientInput::Closed(None)),
            Ok(len) => self.tell(ClientInput::Bytes(bytes.get(..len).unwrap_or_default())),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.tell(ClientInput::Tick),
                io::ErrorKind::Interrupted => {}
                _ => self.tell(ClientInput::Closed(Some(error.to_string()))),
            },
        }
    }

    fn tell(&mut self, input: ClientInput<'_>) {
        let now = self.now();
        self.client.handle(now, input);
    }

    /// Deadlines need no wall clock.
    fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: Wall::default() }
    }
}

/// A recipient as the machine wants it; where it goes from the server is not ours to say.
fn recipient(address: &Address) -> Recipient {
    let hop = match address.host() {
        Host::Domain(domain) => NextHop::Mx(domain.clone()),
        Host::Literal(ip) => NextHop::Literal(*ip),
    };
    Recipient::plain(address.clone(), hop)
}
