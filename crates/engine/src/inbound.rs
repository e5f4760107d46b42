//! One inbound session: the protocol machine, admission by the settings, and the draft that gathers.
//!
//! A draft is in memory up to 256 KiB while the drafts of all sessions are within their common bound, then in a file that
//! the shell writes. At the final dot it is sealed and submitted; the session waits until it is ours or is not.

use crate::queue::Draft;
use crate::route;
use postroad_mail::address::ForwardPath;
use postroad_mail::envelope::{BodyKind, Recipient};
use postroad_mail::header::ReceivedCount;
use postroad_mail::id::MessageId;
use postroad_mail::reply::{Reply, Status};
use postroad_mail::time::{Mono, Now};
use postroad_metabase::settings::Settings;
use postroad_smtp::server::{
    ContentFacts, RecipientAnswer, Server, ServerInput, ServerOutput, ServerSettings, Transaction,
};
use postroad_spool::record::{Content, DraftId};
use std::cell::Cell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What the shell tells a session.
#[derive(Debug)]
pub enum InboundInput<'a> {
    /// Octets from the client, decrypted where TLS is up. None while `wants_input` is false.
    Bytes(&'a [u8]),
    /// The client is gone.
    Eof,
    /// The TLS handshake is done.
    TlsUp {
        /// As `TLSv1.3`.
        protocol: String,
        /// As `TLS13_AES_256_GCM_SHA384`.
        cipher: String,
    },
    /// Settings as of now; they are taken at the next transaction.
    Settings(Arc<Settings>),
    /// The draft is ours.
    Accepted(MessageId),
    /// The draft is not: for want of room, or because the store failed.
    Refused {
        /// For want of room.
        full: bool,
    },
    /// A piece of the draft's file could not be written.
    SpillFailed {
        /// For want of room.
        full: bool,
    },
    /// End the session; a message whose content is coming is finished first.
    Shutdown,
    /// The deadline has come.
    Tick,
}

/// What a session asks of the shell.
#[derive(Debug, PartialEq)]
pub enum InboundOutput {
    /// Write these octets.
    Send(Vec<u8>),
    /// Do a TLS handshake as its server.
    StartTls,
    /// To the queue: content is coming.
    DataOpened,
    /// To the queue: it will not be handed in.
    DataDropped,
    /// Append this to the draft's file, which is made by the first piece.
    Spill(DraftId, Vec<u8>),
    /// Remove the draft's file.
    DropDraft(DraftId),
    /// To the queue.
    Submit(Draft),
    /// Write what is to be sent, then close the connection.
    Close,
}

/// Octets of a draft that are held in memory.
pub const DRAFT_MEMORY_MAX: usize = 256 * 1024;
/// Octets of all drafts that are held in memory; beyond it they go to files from the first octet.
pub const DRAFTS_MEMORY_MAX: usize = 64 * 1024 * 1024;
/// Errors of a session after which it is closed.
pub const ERRORS_MAX: u32 = 20;

/// Octets that all sessions' drafts hold in memory.
#[derive(Clone, Debug, Default)]
pub struct DraftMemory(Rc<Cell<usize>>);

impl DraftMemory {
    /// Octets that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.get()
    }

    fn take(&self, octets: usize) -> bool {
        let held = self.0.get() + octets;
        let fits = held <= DRAFTS_MEMORY_MAX;
        if fits {
            self.0.set(held);
        }
        fits
    }

    fn give_back(&self, octets: usize) {
        self.0.set(self.0.get().saturating_sub(octets));
    }
}

/// The machine.
pub struct Inbound {
    settings: Arc<Settings>,
    /// Newer settings, with what the server was told of them: taken with the transaction that it takes them for.
    next_settings: Option<(Arc<ServerSettings>, Arc<Settings>)>,
    server: Server,
    client: SocketAddr,
    starttls: bool,
    memory: DraftMemory,
    next_draft: DraftId,
    draft: Option<Gathering>,
    introduction: Option<Introduction>,
    /// A draft was submitted, and its fate is not known.
    submitted: Option<Submitted>,
    outputs: VecDeque<InboundOutput>,
}

/// A draft that was handed in: its file, if it has one, and the octets it holds in memory.
struct Submitted {
    file: Option<DraftId>,
    octets: usize,
}

/// How a client is told of.
struct Introduction {
    by: By,
    trace_head: String,
    client: String,
}

/// What that hangs on.
struct By {
    helo: String,
    esmtp: bool,
    tls: Option<postroad_smtp::TlsFacts>,
}

/// A draft whose content is coming.
struct Gathering {
    transaction: Transaction,
    content: Vec<u8>,
    /// Octets in the file, and its number, once there is one.
    spilled: Option<DraftId>,
    /// `Received` fields so far.
    hops: ReceivedCount,
    failed: Option<bool>,
}

impl Inbound {
    /// A session with `client`. `drafts` is the first of the numbers for its draft files, of which it may use 2^20;
    /// `starttls`: whether the shell has a certificate.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        client: SocketAddr,
        starttls: bool,
        memory: DraftMemory,
        drafts: DraftId,
        now: Now,
    ) -> Self {
        let protocol = server_settings(&settings, starttls);
        let mut inbound = Self {
            settings,
            next_settings: None,
            server: Server::new(protocol, client, now),
            starttls,
            client,
            memory,
            next_draft: drafts,
            draft: None,
            introduction: None,
            submitted: None,
            outputs: VecDeque::new(),
        };
        inbound.drain(now);
        inbound
    }

    /// Takes one input. Drain `poll` before the next.
    pub fn handle(&mut self, now: Now, input: InboundInput<'_>) {
        match input {
            InboundInput::Bytes(bytes) => self.server.handle(now, ServerInput::Bytes(bytes)),
            InboundInput::Eof => self.server.handle(now, ServerInput::Eof),
            InboundInput::TlsUp { protocol, cipher } => {
                self.server.handle(now, ServerInput::TlsUp { protocol, cipher });
            }
            InboundInput::Settings(settings) => {
                // Those of before may have been taken with the MAIL that is open.
                self.take_settings();
                let protocol = server_settings(&settings, self.starttls);
                self.next_settings = Some((Arc::clone(&protocol), settings));
                self.server.handle(now, ServerInput::Settings(protocol));
            }
            InboundInput::Accepted(id) => {
                if let Some(submitted) = self.submitted.take() {
                    self.memory.give_back(submitted.octets);
                    self.server.handle(now, ServerInput::Sealed(Ok(id)));
                }
            }
            InboundInput::Refused { full } => self.refused(now, full),
            InboundInput::SpillFailed { full } => match &mut self.draft {
                Some(draft) => draft.failed = Some(full),
                None => self.unsubmit(now, full),
            },
            InboundInput::Shutdown => self.server.handle(now, ServerInput::Shutdown),
            InboundInput::Tick => self.server.handle(now, ServerInput::Tick),
        }
        self.drain(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<InboundOutput> {
        self.outputs.pop_front()
    }

    /// When `Tick` is to be said at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.server.deadline()
    }

    /// Whether octets may be given to it: while a question is open they are left in the socket.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.server.wants_input()
    }

    fn drain(&mut self, now: Now) {
        while let Some(output) = self.server.poll() {
            match output {
                ServerOutput::Send(bytes) => self.outputs.push_back(InboundOutput::Send(bytes)),
                ServerOutput::StartTls => self.outputs.push_back(InboundOutput::StartTls),
                ServerOutput::Recipient(path) => {
                    self.take_settings();
                    let answer = self.admit(path);
                    self.server.handle(now, ServerInput::Recipient(answer));
                }
                ServerOutput::Begin(transaction) => {
                    self.draft = Some(Gathering {
                        transaction: *transaction,
                        content: Vec::new(),
                        spilled: None,
                        hops: ReceivedCount::default(),
                        failed: None,
                    });
                    self.outputs.push_back(InboundOutput::DataOpened);
                    self.server.handle(now, ServerInput::Begun(Ok(())));
                }
                ServerOutput::Content(bytes) => self.gather(bytes),
                ServerOutput::End(facts) => {
                    if let Err(reply) = self.seal(facts) {
                        self.server.handle(now, ServerInput::Sealed(Err(reply)));
                    }
                }
                ServerOutput::Abort(_) => {
                    self.drop_draft();
                }
                ServerOutput::Close => {
                    self.drop_draft();
                    self.outputs.push_back(InboundOutput::Close);
                }
            }
        }
    }

    /// Takes the settings that the server has taken at MAIL: a transaction is judged by one generation.
    fn take_settings(&mut self) {
        let server = &self.server;
        let taken = |next: &mut (Arc<ServerSettings>, _)| Arc::ptr_eq(&next.0, server.settings());
        if let Some((_, settings)) = self.next_settings.take_if(taken) {
            self.settings = settings;
            self.introduction = None;
        }
    }

    /// The draft that was handed in is not ours.
    fn refused(&mut self, now: Now, full: bool) {
        if let Some(submitted) = self.submitted.take() {
            self.memory.give_back(submitted.octets);
            self.outputs.extend(submitted.file.map(InboundOutput::DropDraft));
            self.server.handle(now, ServerInput::Sealed(Err(store_failure(full))));
        }
    }

    /// The last piece of a draft could not be written, and the dot came with it: the draft must not be handed in.
    fn unsubmit(&mut self, now: Now, full: bool) {
        let submit = |output: &InboundOutput| matches!(output, InboundOutput::Submit(_));
        if let Some(at) = self.outputs.iter().position(submit) {
            self.outputs.remove(at);
            self.outputs.push_back(InboundOutput::DataDropped);
            self.refused(now, full);
        }
    }

    /// Whether a recipient is taken: one of ours always, another from clients that may relay.
    fn admit(&self, path: ForwardPath) -> RecipientAnswer {
        let ForwardPath::Mailbox(address) = path else { return RecipientAnswer::Accept };
        let settings = &self.settings;
        if route::is_local(settings, address.host()) {
            return RecipientAnswer::Accept;
        }
        if !route::may_relay(settings, self.client.ip()) {
            let text = format!("Unable to relay for {address}");
            return RecipientAnswer::Refuse(Reply::new(550, Some(Status::new(5, 7, 1)), text));
        }
        // An address literal names its own next hop: it must not steer us where no MX may.
        if let postroad_mail::domain::Host::Literal(ip) = address.host()
            && settings.smart_host.is_none()
            && route::is_refused(settings, *ip)
        {
            let text = format!("No mail goes to {}", address.host());
            return RecipientAnswer::Refuse(Reply::new(550, Some(Status::new(5, 7, 1)), text));
        }
        RecipientAnswer::Accept
    }

    fn gather(&mut self, bytes: Vec<u8>) {
        let Some(draft) = &mut self.draft else { return };
        if draft.failed.is_some() {
            return;
        }
        draft.hops.feed(&bytes);
        if let Some(file) = draft.spilled {
            self.outputs.push_back(InboundOutput::Spill(file, bytes));
            return;
        }
        let octets = bytes.len();
        let fits = draft.content.len() + octets <= DRAFT_MEMORY_MAX && self.memory.take(octets);
        if fits && draft.content.is_empty() {
            draft.content = bytes;
            return;
        }
        draft.content.extend_from_slice(&bytes);
        if fits {
            return;
        }
        self.memory.give_back(draft.content.len() - octets);
        let file = self.next_draft;
        self.next_draft = DraftId(file.0 + 1);
        draft.spilled = Some(file);
        self.outputs.push_back(InboundOutput::Spill(file, std::mem::take(&mut draft.content)));
    }

    /// The content is whole: submits the draft, or says why it is refused.
    fn seal(&mut self, facts: ContentFacts) -> Result<(), Reply> {
        let Some(mut draft) = self.draft.take() else { return Err(store_failure(false)) };
        let octets = draft.content.len();
        let hops = draft.hops.found();
        let refusal = if let Some(full) = draft.failed {
            Some(store_failure(full))
        } else if hops > self.settings.hop_count as usize {
            let text = format!("{hops} Received fields: the message loops");
            Some(Reply::new(554, Some(Status::new(5, 4, 6)), text))
        } else {
            None
        };
        if let Some(reply) = refusal {
            self.memory.give_back(octets);
            self.outputs.extend(draft.spilled.map(InboundOutput::DropDraft));
            self.outputs.push_back(InboundOutput::DataDropped);
            return Err(reply);
        }
        let (trace_head, client) = self.introduction(&draft.transaction);
        let transaction = draft.transaction;
        let settings = &self.settings;
        let recipients = transaction.recipients.into_iter().map(|accepted| {
            let address = accepted.path.qualified(&settings.default_domain);
            let hop = route::next_hop(settings, &address);
            Recipient { address, notify: accepted.notify, orcpt: accepted.orcpt, hop }
        });
        let recipients = recipients.collect();
        let mut sender = transaction.sender;
        if facts.eight_bit {
            sender.body = BodyKind::EightBit;
        } else if sender.body == BodyKind::EightBit {
            // Declared, and not so: any host may have it.
            sender.body = BodyKind::SevenBit;
        }
        draft.content.shrink_to_fit();
        let content = match draft.spilled {
            Some(file) => Content::Draft(file),
            None => Content::Memory(Arc::new(draft.content)),
        };
        self.submitted = Some(Submitted { file: draft.spilled, octets });
        let generation = self.settings.generation;
        let draft = Draft { sender, recipients, trace_head, content, size: facts.size, client, generation };
        self.outputs.push_back(InboundOutput::Submit(draft));
        Ok(())
    }

    /// How the client is told of, in the trace field and in the log: the same for all messages of a session, as a rule.
    fn introduction(&mut self, transaction: &Transaction) -> (String, String) {
        let same = |known: &&Introduction| {
            let by = &known.by;
            by.helo == transaction.helo && by.esmtp == transaction.esmtp && by.tls == transaction.tls
        };
        if let Some(known) = self.introduction.as_ref().filter(same) {
            return (known.trace_head.clone(), known.client.clone());
        }
        let trace_head = self.trace_head(transaction);
        let client = format!("{} ({})", self.client.ip(), transaction.helo);
        let by =
            By { helo: transaction.helo.clone(), esmtp: transaction.esmtp, tls: transaction.tls.clone() };
        self.introduction = Some(Introduction { by, trace_head: trace_head.clone(), client: client.clone() });
        (trace_head, client)
    }

    /// The trace field up to its id (RFC 5321 §4.4), with the protocol's name of RFC 3848.
    fn trace_head(&self, transaction: &Transaction) -> String {
        let with = match (transaction.esmtp, &transaction.tls) {
            (_, Some(_)) => "ESMTPS",
            (true, None) => "ESMTP",
            (false, None) => "SMTP",
        };
        let ip = postroad_mail::domain::Host::Literal(self.client.ip().to_canonical());
        let tls = transaction.tls.as_ref();
        let tls = tls.map(|tls| format!("\r\n\t(using {} with cipher {})", tls.protocol, tls.cipher));
        format!(
            "Received: from {} ({ip}){}\r\n\tby {} (Postroad) with {with}",
            transaction.helo,
            tls.unwrap_or_default(),
            self.settings.fqdn
        )
    }

    fn drop_draft(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.memory.give_back(draft.content.len());
            self.outputs.extend(draft.spilled.map(InboundOutput::DropDraft));
            self.outputs.push_back(InboundOutput::DataDropped);
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let gathered = self.draft.as_ref().map_or(0, |draft| draft.content.len());
        let submitted = self.submitted.as_ref().map_or(0, |submitted| submitted.octets);
        self.memory.give_back(gathered + submitted);
    }
}

/// What the protocol machine is told of the settings.
fn server_settings(settings: &Settings, starttls: bool) -> Arc<ServerSettings> {
    Arc::new(ServerSettings {
        name: settings.fqdn.clone(),
        size_max: settings.size_max,
        session_size_max: settings.session_size_max,
        recipients_max: settings.recipients_max as usize,
        errors_max: ERRORS_MAX,
        starttls,
        idle: settings.connection_timeout,
    })
}

fn store_failure(full: bool) -> Reply {
    if full {
        Reply::new(452, Some(Status::new(4, 3, 1)), "Insufficient system storage")
    } else {
        Reply::new(451, Some(Status::new(4, 3, 0)), "The message could not be stored, try again later")
    }
}
