//! One attempt at a next hop: resolves it, walks its hosts, delivers the jobs it is given over one connection, and says
//! what became of each.
//!
//! | state | waits for | leaves to |
//! |---|---|---|
//! | resolving | `Resolved` | connecting, verdict, over |
//! | connecting | `Connected`, `ConnectFailed`, its time | talking, connecting to the next host, over |
//! | talking | the client machine | talking, wanting, connecting to the next host, over |
//! | wanting | `Job`, `Rest`, `Close` | talking, resting, over |
//! | resting | `Job`, `Close`, its time | talking, over |
//! | folder | `Written` | wanting, over |
//! | verdict | `Job`, `Rest` | verdict, over |
//! | over | nothing | |

mod transfer;
mod walk;

use crate::delivery::{End, Failure, Job, Outcome, Report};
use crate::journal::{STEPS_MAX, Tried};
use crate::route;
use postroad_dns::answer::{Answer, Question};
use postroad_dns::policy::Policy;
use postroad_mail::domain::{Domain, Host};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now};
use postroad_metabase::settings::Settings;
use postroad_smtp::client::{Client, ClientInput, ClientOutput, ClientSettings, HostFailure, HostFault, Tls};
use postroad_spool::record::GateKind;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use walk::{Target, Walk};

/// What the shell tells an attempt.
#[derive(Debug)]
pub enum OutboundInput<'a> {
    /// The answer to `Resolve`.
    Resolved(Arc<Answer>),
    /// The connection is made.
    Connected,
    /// It is not, and why.
    ConnectFailed(String),
    /// Octets from the host, decrypted where TLS is up.
    Bytes(&'a [u8]),
    /// The TLS handshake is done.
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
    /// A further message, in answer to `Want` or while resting.
    Job(Arc<Job>),
    /// There is none now.
    Rest,
    /// There will be none.
    Close,
    /// The answer to `ReadContent`: one to each, in their order.
    Content(Result<Vec<u8>, String>),
    /// The answer to `WriteFile`: the file's name, or why it could not be written.
    Written(Result<String, String>),
    /// The deadline has come.
    Tick,
}

/// What an attempt asks of the shell.
#[derive(Debug, PartialEq)]
pub enum OutboundOutput {
    /// Resolve this.
    Resolve(Question, Policy),
    /// Connect to this.
    Connect(SocketAddr),
    /// Write these octets.
    Send(Vec<u8>),
    /// Do a TLS handshake as its client, with this server name.
    StartTls(String),
    /// Close the connection, once everything is written.
    Disconnect,
    /// Read a piece of a message's content, once everything is written.
    ReadContent {
        /// The message.
        id: MessageId,
        /// First octet.
        offset: u64,
        /// Octets at most.
        len: usize,
    },
    /// Write the job's message into the folder of the hop, durably.
    WriteFile(Arc<Job>),
    /// To the queue: the hop works. With the plan, if there is one.
    Reached(Option<Arc<Answer>>),
    /// To the queue: a further job, please.
    Want,
    /// To the queue: what became of the job.
    Report(Report),
    /// To the queue: it is over. The last output.
    Ended(End),
}

/// How long a connection may take to be made. (RFC 5321 names none; a host that answers at all does so in seconds.)
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a connection is kept open without a job.
pub const REST_TIME: Duration = Duration::from_secs(5);
/// Octets of a piece of content that is read from the store.
pub const PIECE: usize = 64 * 1024;

/// The machine.
pub struct Outbound {
    settings: Arc<Settings>,
    client_settings: Arc<ClientSettings>,
    hop: NextHop,
    job: Option<Arc<Job>>,
    answer: Option<Arc<Answer>>,
    walk: Walk,
    state: State,
    client: Option<Client>,
    /// The host we are at.
    at: Option<Target>,
    tls: Option<String>,
    reached: bool,
    /// Jobs done over this connection.
    done_here: u32,
    /// Octets of trace and content that went out of the job in hand.
    sent: u64,
    /// `ReadContent` is not answered.
    reading: bool,
    /// Answers to come that were asked for over connections that are gone.
    stale_reads: u32,
    outputs: VecDeque<OutboundOutput>,
}

enum State {
    Resolving,
    Connecting { until: Mono },
    Talking,
    Wanting,
    Resting { until: Mono },
    Folder,
    Verdict(Failure),
    Over,
}

impl Outbound {
    /// An attempt at `hop` with its first job in hand.
    #[must_use]
    pub fn new(settings: Arc<Settings>, hop: NextHop, job: Arc<Job>, now: Now) -> Self {
        let client_settings = Arc::new(ClientSettings {
            helo: settings.fqdn.clone(),
            timeouts: postroad_smtp::client::ClientTimeouts::default(),
            pipelining: true,
        });
        let tls = if settings.tls_required { Tls::Required } else { Tls::Opportunistic };
        let mut outbound = Self {
            walk: Walk::new(tls),
            settings,
            client_settings,
            hop,
            job: Some(job),
            answer: None,
            state: State::Resolving,
            client: None,
            at: None,
            tls: None,
            reached: false,
            done_here: 0,
            sent: 0,
            reading: false,
            stale_reads: 0,
            outputs: VecDeque::new(),
        };
        outbound.begin(now);
        outbound
    }

    /// Takes one input. Drain `poll` before the next.
    pub fn handle(&mut self, now: Now, input: OutboundInput<'_>) {
        match input {
            OutboundInput::Resolved(answer) => self.resolved(now, answer),
            OutboundInput::Connected => self.connected(now),
            OutboundInput::ConnectFailed(cause) => self.connect_failed(now, &cause),
            OutboundInput::Bytes(bytes) => self.talk(now, ClientInput::Bytes(bytes)),
            OutboundInput::TlsUp { protocol, cipher } => {
                self.tls = Some(format!("{protocol} {cipher}"));
                self.talk(now, ClientInput::TlsUp { protocol, cipher });
            }
            OutboundInput::TlsFailed(cause) => self.talk(now, ClientInput::TlsFailed(cause)),
            OutboundInput::Closed(cause) => self.talk(now, ClientInput::Closed(cause)),
            OutboundInput::Job(job) => self.take(now, job),
            OutboundInput::Rest => self.rest(now),
            OutboundInput::Close => self.close(now),
            OutboundInput::Content(_) if self.stale_reads > 0 => self.stale_reads -= 1,
            OutboundInput::Content(result) => {
                self.reading = false;
                match result {
                    Ok(bytes) => self.stored_content(now, &bytes),
                    Err(cause) => self.talk(now, ClientInput::ContentFailed(cause)),
                }
            }
            OutboundInput::Written(result) => self.written(result),
            OutboundInput::Tick => self.tick(now),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<OutboundOutput> {
        self.outputs.pop_front()
    }

    /// When `Tick` is to be said at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::Connecting { until } => Some(*until),
            State::Resting { until } => {
                let client = self.client.as_ref().and_then(Client::deadline);
                Some(client.map_or(*until, |client| client.min(*until)))
            }
            State::Talking | State::Wanting => self.client.as_ref().and_then(Client::deadline),
            State::Resolving | State::Folder | State::Verdict(_) | State::Over => None,
        }
    }

    fn begin(&mut self, now: Now) {
        match self.hop.clone() {
            NextHop::Mx(domain) => {
                let policy = self.policy(Some(&domain));
                self.outputs.push_back(OutboundOutput::Resolve(Question::NextHop(domain), policy));
            }
            NextHop::SmartHost(Host::Domain(domain), port) => {
                self.walk.port = port;
                let policy = self.policy(None);
                self.outputs.push_back(OutboundOutput::Resolve(Question::Host(domain), policy));
            }
            NextHop::SmartHost(Host::Literal(ip), port) => {
                self.walk.port = port;
                self.walk.literal(ip);
                self.next_host(now);
            }
            NextHop::Literal(ip) if route::is_refused(&self.settings, ip) => {
                let cause = format!("{ip} is in a network of NextHopRefused, to which no mail goes");
                self.hop_failed(GateKind::Host, cause, Vec::new());
            }
            NextHop::Literal(ip) => {
                self.walk.port = self.settings.remote_port;
                self.walk.literal(ip);
                self.next_host(now);
            }
            NextHop::Drop | NextHop::Badmail => self.write_file(),
        }
    }

    fn policy(&self, domain: Option<&Domain>) -> Policy {
        let dns = &self.settings.dns;
        let value = domain.and_then(|domain| dns.policies_by_domain.get(domain)).unwrap_or(&dns.policy);
        Policy::from_property(*value).unwrap_or_default()
    }

    fn resolved(&mut self, now: Now, answer: Arc<Answer>) {
        if !matches!(self.state, State::Resolving) {
            return;
        }
        if matches!(self.hop, NextHop::Mx(_)) {
            self.walk.port = self.settings.remote_port;
        }
        match walk::read(&answer) {
            walk::Reading::Hosts => {
                self.walk.hosts_of(&answer);
                self.answer = Some(answer);
                self.next_host(now);
            }
            // A smart host that does not exist is a mistake of ours, on account of which nothing is returned.
            walk::Reading::Permanent(failure) if !matches!(self.hop, NextHop::Mx(_)) => {
                let cause = format!("{}: {}", answer.question, failure.cause);
                self.hop_failed(GateKind::Host, cause, answer.trail.clone());
            }
            walk::Reading::Permanent(failure) => {
                self.answer = Some(Arc::clone(&answer));
                self.reached(Some(answer));
                self.state = State::Verdict(failure);
                self.fail_job();
            }
            walk::Reading::Unresolved { kind, cause } => self.hop_failed(kind, cause, answer.trail.clone()),
        }
    }

    fn reached(&mut self, answer: Option<Arc<Answer>>) {
        if !std::mem::replace(&mut self.reached, true) {
            self.outputs.push_back(OutboundOutput::Reached(answer));
        }
    }

    /// Under a permanent verdict of the hop each job fails with it.
    fn fail_job(&mut self) {
        let State::Verdict(failure) = &self.state else { return };
        let outcome = Outcome::Failed(failure.clone());
        self.report_all(outcome, self.tried());
        self.outputs.push_back(OutboundOutput::Want);
    }

    /// The job comes to the same for all its recipients.
    fn report_all(&mut self, outcome: Outcome, tried: Tried) {
        let recipients = self.job.as_ref().map_or(0, |job| job.recipients.len());
        self.report_each(vec![outcome; recipients], tried);
    }

    fn report_each(&mut self, outcomes: Vec<Outcome>, tried: Tried) {
        if let Some(job) = self.job.take() {
            self.outputs.push_back(OutboundOutput::Report(Report { id: job.message.id, outcomes, tried }));
        }
    }

    fn hang_up(&mut self) {
        self.outputs.push_back(OutboundOutput::Disconnect);
        self.client = None;
    }

    fn next_host(&mut self, now: Now) {
        self.client = None;
        self.tls = None;
        self.done_here = 0;
        self.sent = 0;
        // The answer would be taken for one that the next connection asks for.
        self.stale_reads += u32::from(std::mem::take(&mut self.reading));
        match self.walk.next() {
            Some(target) => {
                self.outputs.push_back(OutboundOutput::Connect(target.address));
                self.at = Some(target);
                self.state = State::Connecting { until: now.mono + CONNECT_TIME_MAX };
            }
            None => self.exhausted(),
        }
    }

    /// No host is left.
    fn exhausted(&mut self) {
        if let Some(outcomes) = self.walk.decided.take() {
            self.report_each(outcomes, self.tried());
            return self.finish();
        }
        match self.walk.conclusion() {
            walk::Conclusion::Message(outcome) => {
                self.reached(self.answer.clone());
                self.report_all(outcome, self.tried());
                self.finish();
            }
            walk::Conclusion::Hop(cause) => self.hop_failed(GateKind::Host, cause, Vec::new()),
        }
    }

    fn connected(&mut self, now: Now) {
        if !matches!(self.state, State::Connecting { .. }) {
            return;
        }
        self.state = State::Talking;
        self.client = Some(Client::new(Arc::clone(&self.client_settings), self.walk.tls(), now));
        self.drain_client(now);
    }

    fn connect_failed(&mut self, now: Now, cause: &str) {
        if matches!(self.state, State::Connecting { .. }) {
            self.walk.failed(cause);
            self.next_host(now);
        }
    }

    fn talk(&mut self, now: Now, input: ClientInput<'_>) {
        if let Some(client) = &mut self.client {
            client.handle(now, input);
            self.drain_client(now);
        }
    }

    fn drain_client(&mut self, now: Now) {
        while let Some(output) = self.client.as_mut().and_then(Client::poll) {
            match output {
                ClientOutput::Send(bytes) => self.outputs.push_back(OutboundOutput::Send(bytes)),
                ClientOutput::StartTls => {
                    let name = self.at.as_ref().map(Target::server_name).unwrap_or_default();
                    self.outputs.push_back(OutboundOutput::StartTls(name));
                }
                ClientOutput::Ready(_) => {
                    self.reached(self.answer.clone());
                    self.ready(now);
                }
                ClientOutput::NeedContent => self.need_content(now),
                ClientOutput::Done(results) => self.done(now, results),
                ClientOutput::HostFailed(failure) => self.host_failed(now, &failure),
                ClientOutput::Close => {
                    self.hang_up();
                    self.finish();
                }
            }
        }
    }

    fn ready(&mut self, now: Now) {
        match self.job.clone() {
            Some(job) => self.deliver(now, &job),
            None => {
                self.state = State::Wanting;
                self.outputs.push_back(OutboundOutput::Want);
            }
        }
    }

    fn take(&mut self, now: Now, job: Arc<Job>) {
        self.job = Some(Arc::clone(&job));
        match self.state {
            State::Wanting | State::Resting { .. } if self.client.is_some() => {
                self.deliver(now, &job);
                self.drain_client(now);
            }
            State::Wanting | State::Resting { .. } => self.write_file(),
            State::Verdict(_) if self.answer_is_stale(now) => self.finish(),
            State::Verdict(_) => self.fail_job(),
            // Ended meanwhile: the queue gives the job to another attempt.
            _ => {}
        }
    }

    fn answer_is_stale(&self, now: Now) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.expires <= now.mono)
    }

    fn rest(&mut self, now: Now) {
        match self.state {
            State::Wanting if self.client.is_some() => {
                self.state = State::Resting { until: now.mono + REST_TIME };
            }
            State::Wanting | State::Verdict(_) => self.finish(),
            _ => {}
        }
    }

    fn close(&mut self, now: Now) {
        match self.state {
            State::Wanting | State::Resting { .. } if self.client.is_some() => {
                self.state = State::Talking;
                self.talk(now, ClientInput::Quit);
            }
            State::Wanting | State::Resting { .. } | State::Verdict(_) => self.finish(),
            _ => {}
        }
    }

    fn tick(&mut self, now: Now) {
        match self.state {
            State::Connecting { until } if until <= now.mono => {
                self.outputs.push_back(OutboundOutput::Disconnect);
                let waited = postroad_mail::time::brief(CONNECT_TIME_MAX);
                self.connect_failed(now, &format!("no connection within {waited}"));
            }
            State::Resting { until } if until <= now.mono => self.close(now),
            State::Talking | State::Wanting | State::Resting { .. } => self.talk(now, ClientInput::Tick),
            _ => {}
        }
    }

    fn host_failed(&mut self, now: Now, failure: &HostFailure) {
        self.hang_up();
        match failure.kind {
            HostFault::TlsHandshake => {
                self.walk.note(&format!("{}; once more in clear", failure.text));
                self.walk.again_in_clear(self.at.take());
            }
            // A smart host that is ourselves is a mistake of ours, on account of which nothing is returned.
            HostFault::Loop if matches!(self.hop, NextHop::SmartHost(..)) => self.walk.failed(&failure.text),
            HostFault::Loop => self.walk.is_ourselves(self.at.as_ref(), &failure.text),
            _ => self.walk.failed(&failure.text),
        }
        self.next_host(now);
    }

    fn tried(&self) -> Tried {
        let mut steps = self.walk.steps().to_vec();
        steps.truncate(STEPS_MAX);
        Tried {
            host: self.at.as_ref().map(|_| self.walk.current().to_owned()).unwrap_or_default(),
            tls: self.tls.clone(),
            plan: self.answer.as_ref().map(|answer| answer.serial),
            steps,
            trail: Vec::new(),
            generation: self.settings.generation,
        }
    }

    fn hop_failed(&mut self, kind: GateKind, cause: String, trail: Vec<postroad_dns::exchange::Exchange>) {
        self.state = State::Over;
        let tried = Tried { trail, ..self.tried() };
        let lost_over_job = self.walk.lost_over_job;
        self.outputs.push_back(OutboundOutput::Ended(End::HopFailed { kind, cause, tried, lost_over_job }));
    }

    fn finish(&mut self) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.outputs.push_back(OutboundOutput::Ended(End::Finished));
        }
    }

    fn write_file(&mut self) {
        if let Some(job) = self.job.clone() {
            self.state = State::Folder;
            self.outputs.push_back(OutboundOutput::WriteFile(job));
        }
    }

    fn written(&mut self, result: Result<String, String>) {
        if !matches!(self.state, State::Folder) {
            return;
        }
        match result {
            Ok(file) => {
                self.reached(None);
                let tried = Tried { host: self.hop.to_string(), ..self.tried() };
                self.report_all(Outcome::Delivered { reply: file }, tried);
                self.state = State::Wanting;
                self.outputs.push_back(OutboundOutput::Want);
            }
            Err(cause) => {
                // Where it is not the folder it is the message, whose content cannot be read.
                self.walk.lost_over_job = true;
                self.hop_failed(GateKind::Host, cause, Vec::new());
            }
        }
    }
}
