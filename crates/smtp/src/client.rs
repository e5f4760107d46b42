//! The client: one outbound connection, from the host's greeting to the close.
//!
//! Each `Deliver` is answered by exactly one `Done`. `HostFailed` comes only before the first `Ready`: the host could not be
//! talked to at all. A connection that breaks later shows in `Done` as `RecipientResult::Lost`, then `Close`.
//!
//! | state | waits for | leaves to |
//! |---|---|---|
//! | greeting, EHLO, HELO, STARTTLS | a reply | the next, or failed |
//! | handshake | `TlsUp`, `TlsFailed` | EHLO, or failed |
//! | ready | `Deliver`, `Quit` | envelope, quit |
//! | envelope | the replies to MAIL, RCPT, DATA | content, reset, ready |
//! | content | `Content` | dot |
//! | dot | the reply to the final dot | ready |
//! | reset | the reply to RSET | ready |
//! | quit | the reply to QUIT | closed |

use crate::TlsFacts;
use crate::reply::ReplyReader;
use delivery::Attempt;
use postroad_mail::domain::Domain;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::reply::Reply;
use postroad_mail::time::{Mono, Now};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a connection is told once, when it begins.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// Our name, in EHLO. A host whose greeting bears it is ourselves.
    pub helo: Domain,
    /// How long a host is waited for.
    pub timeouts: ClientTimeouts,
    /// Whether PIPELINING is used where it is offered.
    pub pipelining: bool,
}

/// How long each reply may take in all, its first octet to its last (RFC 5321 §4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// The greeting.
    pub greeting: Duration,
    /// EHLO, HELO, STARTTLS, RSET.
    pub hello: Duration,
    /// The TLS handshake.
    pub handshake: Duration,
    /// MAIL.
    pub mail: Duration,
    /// Each RCPT.
    pub recipient: Duration,
    /// DATA.
    pub data: Duration,
    /// Each piece of content that we send.
    pub block: Duration,
    /// The final dot.
    pub dot: Duration,
    /// QUIT; its reply changes nothing.
    pub quit: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            greeting: minutes(5),
            hello: minutes(5),
            // Not in the RFC: a handshake is two round trips, and one that hangs must not hold a connection for long.
            handshake: minutes(1),
            mail: minutes(5),
            recipient: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

/// What is demanded of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Used where it is offered. A refused STARTTLS goes on in clear; a failed handshake fails the host with
    /// `HostFault::TlsHandshake`, and the caller may try it once more with `Off`.
    Opportunistic,
    /// No mail in clear, whatever the host says.
    Required,
    /// Not used.
    Off,
}

/// What happens to a connection.
#[derive(Clone, Debug)]
pub enum ClientInput<'a> {
    /// Octets from the host, decrypted where TLS is up.
    Bytes(&'a [u8]),
    /// The TLS handshake that `ClientOutput::StartTls` asked for is done.
    TlsUp {
        /// As `TLSv1.3`.
        protocol: String,
        /// As `TLS13_AES_256_GCM_SHA384`.
        cipher: String,
    },
    /// It failed, and why.
    TlsFailed(String),
    /// The host closed the connection, or it broke, and why.
    Closed(Option<String>),
    /// Deliver this. Only after `Ready`.
    Deliver(Arc<Delivery>),
    /// Answers `NeedContent`: the next piece of content, unstuffed.
    Content {
        /// May be empty.
        bytes: &'a [u8],
        /// Whether it is the last piece.
        last: bool,
    },
    /// Content cannot be read: the connection is given up, so that the host never takes a torn message for whole.
    ContentFailed(String),
    /// End the connection. A delivery under way is given up.
    Quit,
    /// A deadline may have come.
    Tick,
}

/// A message for some recipients at one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// MAIL.
    pub sender: Sender,
    /// RCPT; not empty.
    pub recipients: Vec<Recipient>,
    /// Octets of content, trace fields included.
    pub size: u64,
    /// Whether an octet above 127 is among them.
    pub eight_bit: bool,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Write these octets.
    Send(Vec<u8>),
    /// Do a TLS handshake as its client.
    StartTls,
    /// A `Deliver` may come, or a `Quit`. Again after each delivery, while the connection lasts.
    Ready(Arc<Session>),
    /// Answer with one `Content` or `ContentFailed`, after what is to be sent was written.
    NeedContent,
    /// The outcome of the delivery, recipient by recipient, in its order.
    Done(Vec<RecipientResult>),
    /// The host cannot be used; nothing was sent to it.
    HostFailed(HostFailure),
    /// Write what is to be sent, then close the connection.
    Close,
}

/// A host that is ready for mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The text of its greeting, lines joined by blanks.
    pub greeting: String,
    /// What it called itself in answer to EHLO or HELO; may be empty.
    pub name: String,
    /// What it offers.
    pub extensions: Extensions,
    /// TLS, if it is up.
    pub tls: Option<TlsFacts>,
}

/// The extensions that matter to us, from the answer to EHLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Whether it answered EHLO at all.
    pub esmtp: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: whether `SIZE` is offered, and the limit; 0: none was named.
    pub size: Option<u64>,
    /// RFC 6152.
    pub eight_bit: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 2034.
    pub enhanced_status: bool,
    /// RFC 6531; not used.
    pub smtputf8: bool,
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientResult {
    /// The host has taken it: its reply to the final dot.
    Delivered(Reply),
    /// A permanent refusal.
    Refused {
        /// The command that was refused.
        stage: Stage,
        /// The host's words; for a message over the host's `SIZE`, ours.
        reply: Reply,
    },
    /// A temporary refusal.
    Deferred {
        /// The command that was refused.
        stage: Stage,
        /// The host's words.
        reply: Reply,
    },
    /// The connection failed before the host had answered for it: temporary. At `Stage::Dot` the host may have taken it
    /// all the same, and a further attempt may deliver it twice.
    Lost(HostFailure),
    /// The content has octets above 127 and the host has no 8BITMIME (RFC 6152 §3).
    EightBitNotOffered,
}

/// Why a host cannot be used, or was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFailure {
    /// What we waited for.
    pub stage: Stage,
    /// What went wrong.
    pub kind: HostFault,
    /// The same in words.
    pub text: String,
    /// The host's words, where it was a reply.
    pub reply: Option<Reply>,
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// TCP; never named by this machine, for its callers.
    Connect,
    /// The greeting.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// STARTTLS and the handshake.
    StartTls,
    /// Ready, and nothing asked.
    Ready,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA.
    Data,
    /// Content that is being sent: no final dot went out.
    Content,
    /// The final dot.
    Dot,
}

/// What went wrong with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// No TCP connection; never named by this machine, for its callers.
    Connect,
    /// A 4yz greeting.
    GreetingDeferred,
    /// A 5yz greeting.
    GreetingRefused,
    /// EHLO got 4yz, or both EHLO and HELO were refused.
    HelloRefused,
    /// The handshake failed under `Tls::Opportunistic`: try once more in clear.
    TlsHandshake,
    /// `Tls::Required`, and STARTTLS was not offered, was refused, or its handshake failed.
    TlsUnavailable,
    /// 421: the host is closing down the connection.
    Unavailable,
    /// No whole reply in time, or content could not be sent in time.
    Timeout,
    /// What came is not a reply, or not one to what was asked.
    Protocol,
    /// The connection was closed or broke.
    Closed,
    /// The greeting bears our own name: we talk to ourselves.
    Loop,
    /// We gave up ourselves: content could not be read, or `Quit` came.
    GivenUp,
}

mod delivery;
mod dialog;

/// One outbound connection. `deadline` bounds every wait but the one in `Ready`, which is the caller's.
#[derive(Debug)]
pub struct Client {
    settings: Arc<ClientSettings>,
    tls: Tls,
    state: State,
    reader: ReplyReader,
    /// What is known of the host so far; shared with the caller once it is ready.
    session: Arc<Session>,
    deadline: Option<Mono>,
    outputs: VecDeque<ClientOutput>,
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Ready,
    Envelope(Box<Attempt>),
    Content(Box<Attempt>),
    Dot(Box<Attempt>),
    Reset,
    Quit,
    Closed,
}

impl Client {
    /// A connection that TCP has just made. It waits for the greeting.
    #[must_use]
    pub fn new(settings: Arc<ClientSettings>, tls: Tls, now: Now) -> Self {
        let session = Session {
            greeting: String::new(),
            name: String::new(),
            extensions: Extensions::default(),
            tls: None,
        };
        Self {
            deadline: Some(now.mono + settings.timeouts.greeting),
            settings,
            tls,
            state: State::Greeting,
            reader: ReplyReader::default(),
            session: Arc::new(session),
            outputs: VecDeque::new(),
        }
    }

    /// Takes what happened. Drain `poll` afterwards.
    pub fn handle(&mut self, now: Now, input: ClientInput<'_>) {
        match input {
            ClientInput::Bytes(bytes) => self.receive(now, bytes),
            ClientInput::TlsUp { protocol, cipher } => self.tls_up(now, TlsFacts { protocol, cipher }),
            ClientInput::TlsFailed(why) => self.tls_failed(&why),
            ClientInput::Closed(why) => self.closed(why),
            ClientInput::Deliver(delivery) => self.deliver(now, delivery),
            ClientInput::Content { bytes, last } => self.content(now, bytes, last),
            ClientInput::ContentFailed(why) => {
                if matches!(self.state, State::Content(_)) {
                    self.fail(HostFault::GivenUp, format!("the message could not be read: {why}"), None);
                }
            }
            ClientInput::Quit => self.quit(now),
            ClientInput::Tick => {
                if self.deadline.is_some_and(|deadline| now.mono >= deadline) {
                    self.timed_out();
                }
            }
        }
    }

    /// What the shell must do next.
    pub fn poll(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// When a `Tick` is due, unless something else happens first.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Octets held of a reply that is not whole yet: at most 64 KiB.
    #[must_use]
    pub fn octets_held(&self) -> usize {
        self.reader.len()
    }
}
