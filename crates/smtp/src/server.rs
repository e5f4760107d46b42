//! The server: one inbound session, from the greeting to the close.
//!
//! It judges syntax and sequence itself and asks the shell the rest, one question at a time: whether a recipient is taken,
//! whether content may come, what became of the message. While a question is open nothing more is parsed.
//!
//! | state | what may come | leaves to |
//! |---|---|---|
//! | command | a command line | all the others |
//! | recipient asked | `ServerInput::Recipient` | command |
//! | begin asked | `ServerInput::Begun` | content, or command |
//! | content | content up to CRLF . CRLF | end asked, or command if it was refused |
//! | end asked | `ServerInput::Sealed` | command |
//! | TLS awaited | `ServerInput::TlsUp` | command, everything learned before forgotten |
//! | closed | nothing | |

use crate::TlsFacts;
use crate::content::Unstuffer;
use postroad_mail::address::ForwardPath;
use postroad_mail::domain::Domain;
use postroad_mail::envelope::{Notify, Sender};
use postroad_mail::id::MessageId;
use postroad_mail::reply::Reply;
use postroad_mail::time::{Mono, Now};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a session is told once, when it begins.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Our name, in the greeting and the answer to EHLO.
    pub name: Domain,
    /// Octets of content accepted at most; 0: no limit.
    pub size_max: u64,
    /// Octets of content that one session may hand in, all messages together; 0: no limit. What is beyond it the client is
    /// told to send in a session of its own.
    pub session_size_max: u64,
    /// Recipients of one message at most; RFC 5321 §4.5.3.1.8 asks for 100 or more.
    pub recipients_max: usize,
    /// Commands in error since the last accepted message after which the session is closed; 0: no limit.
    pub errors_max: u32,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// How long we wait for a whole command line, or for the next block of content; RFC 5321 §4.5.3.2.7 asks for five minutes
    /// or more.
    pub idle: Duration,
}

impl ServerSettings {
    /// Octets of the largest message that any session can hand in; 0: no limit.
    fn message_max(&self) -> u64 {
        match (self.size_max, self.session_size_max) {
            (0, limit) | (limit, 0) => limit,
            (message, session) => message.min(session),
        }
    }

    /// Whether one session may not hand in so many octets; they may be few enough for two.
    fn is_too_much(&self, octets: u64) -> bool {
        self.session_size_max != 0 && octets > self.session_size_max
    }
}

/// What happens to a session.
#[derive(Clone, Debug)]
pub enum ServerInput<'a> {
    /// Octets from the client, decrypted where TLS is up. Read none while `Server::wants_input` is false.
    Bytes(&'a [u8]),
    /// The client sends no more, or the connection broke, or the TLS handshake failed.
    Eof,
    /// The TLS handshake that `ServerOutput::StartTls` asked for is done.
    TlsUp {
        /// As `TLSv1.3`.
        protocol: String,
        /// As `TLS13_AES_256_GCM_SHA384`.
        cipher: String,
    },
    /// Answers `ServerOutput::Recipient`.
    Recipient(RecipientAnswer),
    /// Answers `ServerOutput::Begin`: content may come, or the refusal that DATA gets.
    Begun(Result<(), Reply>),
    /// Answers `ServerOutput::End`: the message is ours under this id, or the refusal that the final dot gets.
    Sealed(Result<MessageId, Reply>),
    /// The settings changed: they hold from the next MAIL on.
    Settings(Arc<ServerSettings>),
    /// A deadline may have come.
    Tick,
    /// End the session with 421 at the next command; a message whose content is coming is finished first.
    Shutdown,
}

/// Whether a recipient is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientAnswer {
    /// 250 2.1.5.
    Accept,
    /// This reply.
    Refuse(Reply),
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerOutput {
    /// Write these octets.
    Send(Vec<u8>),
    /// Do a TLS handshake as its server. Everything read so far has been dealt with or dropped.
    StartTls,
    /// Question: is this recipient taken?
    Recipient(ForwardPath),
    /// Question, at DATA: may its content come?
    Begin(Box<Transaction>),
    /// The next piece of content, dots unstuffed, all lines ended by CRLF.
    Content(Vec<u8>),
    /// Question, at the final dot: the content is whole and good; what became of the message?
    End(ContentFacts),
    /// No `End` will come for the content begun: drop the draft.
    Abort(Abandoned),
    /// Write what is to be sent, then close the connection.
    Close,
}

/// A message's envelope, complete when DATA comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL.
    pub sender: Sender,
    /// The RCPTs that were accepted, in order; never empty.
    pub recipients: Vec<AcceptedRecipient>,
    /// What the client called itself; at most 255 printable ASCII characters, safe in a comment of a header field.
    pub helo: String,
    /// Whether it said EHLO.
    pub esmtp: bool,
    /// TLS, if it is up.
    pub tls: Option<TlsFacts>,
    /// `SIZE=` (RFC 1870).
    pub declared_size: Option<u64>,
}

/// One RCPT that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRecipient {
    /// Its path, source route removed.
    pub path: ForwardPath,
    /// `NOTIFY`.
    pub notify: Notify,
    /// `ORCPT`, decoded, as `rfc822;a@b`.
    pub orcpt: Option<String>,
}

/// What was seen of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentFacts {
    /// Its octets, as they were handed out.
    pub size: u64,
    /// Whether an octet above 127 is among them.
    pub eight_bit: bool,
}

/// Why content was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// The client closed the connection, or it broke, before the final dot.
    PeerGone,
    /// It was silent for too long, or too slow.
    Timeout,
    /// More octets than `size_max`.
    TooLarge,
    /// More octets than `session_size_max` leaves.
    SessionFull,
    /// A CR without LF, an LF without CR, or a NUL (RFC 5321 §2.3.8).
    BadOctets,
    /// A line over 64 KiB.
    LineTooLong,
}

mod session;

/// Octets of a command line with its end. RFC 5321 §4.5.3.1.4 says 512 and lets each extension add to it; ours add under 700.
pub const COMMAND_LINE_MAX: usize = 2048;
/// Octets held while a question is open: four reads of 64 KiB.
pub const PENDING_MAX: usize = 256 * 1024;
/// NOOP, RSET, VRFY, HELP, EHLO and HELO since the last accepted message that are no errors. Honest clients need a few.
pub const IDLE_COMMANDS_MAX: u32 = 100;
/// Recipients over `recipients_max` that are no errors: a client may send a long list in one go and divide it afterwards.
pub const SURPLUS_RECIPIENTS_MAX: u32 = 1000;
/// Content beyond twice `size_max` and this ends the session. A client that was told 552 only at the dot has not yet
/// learned it; one that is far beyond does not mean to.
pub const OVERRUN_SLACK: u64 = 1024 * 1024;
/// How long a TLS handshake may take, however long a client may be silent otherwise.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// Octets of content a second, in the long run: a tenth of the slowest modem line. Slower is an attack, or broken.
pub const CONTENT_RATE_MIN: u64 = 100;

/// One inbound session.
#[derive(Debug)]
pub struct Server {
    settings: Arc<ServerSettings>,
    next_settings: Option<Arc<ServerSettings>>,
    client: SocketAddr,
    state: State,
    hello: Option<Hello>,
    tls: Option<TlsFacts>,
    envelope: Option<Envelope>,
    errors: u32,
    idle_commands: u32,
    /// Octets of content handed in so far.
    taken: u64,
    /// Octets not parsed yet: part of a line, or what came while a question is open.
    pending: Vec<u8>,
    /// The line under way is too long: the rest of it is passed over.
    passing_over: bool,
    /// DATA or BDAT was just refused: the next line may be content.
    content_may_follow: bool,
    eof: bool,
    shutdown: bool,
    /// When the last command was dealt with.
    since: Mono,
    replies: Vec<u8>,
    outputs: VecDeque<ServerOutput>,
}

#[derive(Debug)]
enum State {
    Command,
    RecipientAsked(Box<AcceptedRecipient>),
    BeginAsked,
    Content(Box<Receiving>),
    EndAsked,
    TlsAwaited,
    Closed,
}

#[derive(Debug)]
struct Hello {
    name: String,
    esmtp: bool,
}

/// An envelope that DATA has not completed yet.
#[derive(Debug)]
struct Envelope {
    sender: Sender,
    declared_size: Option<u64>,
    recipients: Vec<AcceptedRecipient>,
    /// Whether a recipient was refused.
    refused: bool,
    surplus: u32,
}

/// Content on its way in.
#[derive(Debug)]
struct Receiving {
    unstuffer: Unstuffer,
    began: Mono,
    last_block: Mono,
    /// Octets on the wire.
    received: u64,
    /// Whether `Abort` went out.
    abandoned: bool,
}

impl Server {
    /// A session that has just been accepted. It greets at once.
    #[must_use]
    pub fn new(settings: Arc<ServerSettings>, client: SocketAddr, now: Now) -> Self {
        let mut server = Self {
            state: State::Command,
            client,
            hello: None,
            tls: None,
            envelope: None,
            errors: 0,
            idle_commands: 0,
            taken: 0,
            pending: Vec::new(),
            passing_over: false,
            content_may_follow: false,
            eof: false,
            shutdown: false,
            since: now.mono,
            replies: Vec::new(),
            outputs: VecDeque::new(),
            settings,
            next_settings: None,
        };
        let greeting = format!("220 {} ESMTP Postroad", server.settings.name);
        server.say(&greeting);
        server.flush();
        server
    }

    /// Takes what happened. Drain `poll` afterwards.
    pub fn handle(&mut self, now: Now, input: ServerInput<'_>) {
        match input {
            ServerInput::Bytes(bytes) => self.receive(now, bytes),
            ServerInput::Eof => {
                self.eof = true;
                self.receive(now, &[]);
            }
            ServerInput::TlsUp { protocol, cipher } => self.tls_up(now, TlsFacts { protocol, cipher }),
            ServerInput::Recipient(answer) => self.recipient_answered(now, answer),
            ServerInput::Begun(answer) => self.begin_answered(now, answer),
            ServerInput::Sealed(answer) => self.end_answered(now, answer),
            ServerInput::Settings(settings) => self.next_settings = Some(settings),
            ServerInput::Tick => self.tick(now),
            ServerInput::Shutdown => {
                self.shutdown = true;
                self.receive(now, &[]);
            }
        }
        // A question about a recipient or a beginning is answered at once, and more replies will follow: they are sent in one.
        if !matches!(self.state, State::RecipientAsked(_) | State::BeginAsked) {
            self.flush();
        }
    }

    /// What the shell must do next.
    pub fn poll(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// The settings in force: those of the last MAIL, or of the beginning.
    #[must_use]
    pub fn settings(&self) -> &Arc<ServerSettings> {
        &self.settings
    }

    /// When a `Tick` is due, unless something else happens first. None while a question is open: the shell bounds those.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let idle = self.settings.idle;
        match &self.state {
            State::Command => Some(self.since + idle),
            State::TlsAwaited => Some(self.since + idle.min(HANDSHAKE_TIME_MAX)),
            State::Content(receiving) => {
                let earned = Duration::from_secs(receiving.received / CONTENT_RATE_MIN);
                Some((receiving.last_block + idle).min(receiving.began + (idle + earned)))
            }
            State::RecipientAsked(_) | State::BeginAsked | State::EndAsked | State::Closed => None,
        }
    }

    /// Octets held that are not parsed yet: at most `COMMAND_LINE_MAX` between inputs, `PENDING_MAX` while a question is open.
    #[must_use]
    pub fn octets_held(&self) -> usize {
        self.pending.len()
    }

    /// Whether the shell should read from the client. It should not while a question is open: that is the back-pressure.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        !self.eof && matches!(self.state, State::Command | State::Content(_))
    }
}
