//! The road out: attempts, and the hosts that they talk to.

use super::host::{Act, Fault, Session};
use super::inward::head;
use super::ledger::Place;
use super::net::{ConnNo, Party, Segment};
use super::process::{Attempt, AttemptInput, Todo, Wake};
use super::world::{Event, Who, World};
use super::{Broken, Plant, Promise, cast};
use postroad_engine::delivery::{AttemptId, End, Job};
use postroad_engine::outbound::{Outbound, OutboundInput, OutboundOutput};
use postroad_engine::queue::QueueInput;
use postroad_engine::route;
use postroad_mail::hop::NextHop;
use postroad_mail::time::Mono;
use postroad_metabase::settings::Settings;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The host's end of a connection.
pub(super) struct HostEnd {
    ip: IpAddr,
    pub(super) session: Session,
    /// When what it has said so far is out.
    busy_until: Mono,
}

/// Added to the number of an attempt for the second one of `Plant::SecondAttempt`.
const SECOND: u64 = 1 << 40;
/// How long after the world is healed mail may still be tried by a route of before.
const ROUTE_FOLLOWED: Duration = Duration::from_secs(300);

impl World {
    /// The queue wants an attempt.
    pub(super) fn open_attempt(&mut self, id: AttemptId, hop: NextHop, job: Arc<Job>) -> Result<(), Broken> {
        self.begins(id, &hop, &job)?;
        self.note(format_args!("attempt {} at {hop}: {} {:?}", id.0, job.message.id, job.recipients));
        if self.options.plant == Plant::SecondAttempt && self.dice.chance(200) {
            self.start_attempt(AttemptId(id.0 + SECOND), hop.clone(), Arc::clone(&job), true)?;
        }
        self.start_attempt(id, hop, job, false)
    }

    fn start_attempt(
        &mut self,
        id: AttemptId,
        hop: NextHop,
        job: Arc<Job>,
        planted: bool,
    ) -> Result<(), Broken> {
        let mut settings = Arc::clone(&self.settings);
        if self.options.plant == Plant::TlsDropped {
            Arc::make_mut(&mut settings).tls_required = false;
        }
        let machine = Outbound::new(settings, hop.clone(), Arc::clone(&job), self.now);
        let attempt = Attempt {
            machine,
            hop,
            wake: Wake::default(),
            job: Some(job),
            conn: None,
            dial: 0,
            lookup: None,
            planted,
        };
        if let Some(process) = &mut self.process {
            process.attempts.insert(id, attempt);
        }
        self.attempt_outputs(id)
    }

    /// The queue has a further job for an attempt.
    pub(super) fn deliver(&mut self, id: AttemptId, job: Arc<Job>) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        // It may have ended, with the news of that on its way to the queue.
        let Some(attempt) = process.attempts.get_mut(&id) else { return Ok(()) };
        attempt.job = Some(Arc::clone(&job));
        let hop = attempt.hop.clone();
        process.tell_attempt(id, OutboundInput::Job(Arc::clone(&job)));
        self.note(format_args!("attempt {}: {} {:?}", id.0, job.message.id, job.recipients));
        self.begins(id, &hop, &job)
    }

    /// An attempt is given a job. In a healed world it is one of the hop that the settings lead to, before that of one that
    /// they have led to.
    fn begins(&mut self, id: AttemptId, hop: &NextHop, job: &Job) -> Result<(), Broken> {
        let followed = self.healed && self.now.mono >= self.healed_at + ROUTE_FOLLOWED;
        let leads = |recipient: &u32| {
            let Some(one) = job.message.recipients.get(*recipient as usize) else { return false };
            let lead = |settings: &Arc<Settings>| route::leads(settings, &one.address, hop);
            if followed { lead(&self.settings) } else { self.routes.iter().any(lead) }
        };
        if !job.recipients.iter().all(leads) {
            let what = format!("{} {:?} is tried at {hop}", job.message.id, job.recipients);
            return Err(Broken(Promise::RightPlace, what));
        }
        self.ledger.begins(self.crashes, id, job)
    }

    pub(super) fn attempt_input(&mut self, id: AttemptId, input: AttemptInput) -> Result<(), Broken> {
        let now = self.now;
        let Some(attempt) = self.process.as_mut().and_then(|process| process.attempts.get_mut(&id)) else {
            return Ok(());
        };
        match input {
            AttemptInput::Bytes(bytes) => attempt.machine.handle(now, OutboundInput::Bytes(&bytes)),
            AttemptInput::Other(input) => attempt.machine.handle(now, input),
        }
        self.attempt_outputs(id)
    }

    fn attempt_outputs(&mut self, id: AttemptId) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(attempt) = process.attempts.get_mut(&id) else { return Ok(()) };
        let mut outputs = Vec::new();
        while let Some(output) = attempt.machine.poll() {
            outputs.push(output);
        }
        for output in outputs {
            self.attempt_output(id, output)?;
        }
        self.arm(Who::Attempt(id));
        Ok(())
    }

    fn attempt_output(&mut self, id: AttemptId, output: OutboundOutput) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let boot = process.boot;
        let Some(attempt) = process.attempts.get_mut(&id) else { return Ok(()) };
        let planted = attempt.planted;
        match output {
            OutboundOutput::Resolve(question, policy) => self.resolve(id, question, policy),
            OutboundOutput::Connect(address) => self.dial(id, address),
            OutboundOutput::Send(bytes) => self.attempt_sends(id, &bytes),
            OutboundOutput::StartTls(_) => {
                if let Some(conn) = attempt.conn {
                    self.put(conn, 0, Segment::Hello);
                }
            }
            OutboundOutput::Disconnect => {
                attempt.dial = 0;
                if let Some(conn) = attempt.conn.take() {
                    self.close(conn, 0);
                }
            }
            OutboundOutput::ReadContent { id: message, offset, len } => {
                self.read_content(id, message, offset, len)
            }
            OutboundOutput::WriteFile(job) => {
                let at = self.now.mono + self.dice.micros(500, 2_000_000);
                self.agenda.put(at, Event::FileWritten { boot, attempt: id, job });
            }
            // The queue knows nothing of a second attempt, and has no more jobs for it.
            OutboundOutput::Want if planted => process.tell_attempt(id, OutboundInput::Close),
            OutboundOutput::Ended(_) if planted => self.end_attempt(id),
            OutboundOutput::Reached(_) | OutboundOutput::Report(_) if planted => {}
            OutboundOutput::Reached(plan) => process.tell_queue(QueueInput::Reached(id, plan)),
            OutboundOutput::Want => process.tell_queue(QueueInput::Want(id)),
            OutboundOutput::Report(report) => {
                attempt.job = None;
                process.tell_queue(QueueInput::Report(id, report.clone()));
                self.ledger.ends(id);
                self.note(format_args!("attempt {} reports {} {:?}", id.0, report.id, report.outcomes));
            }
            OutboundOutput::Ended(end) => {
                process.tell_queue(QueueInput::Ended(id, end.clone()));
                self.ledger.ends(id);
                self.end_attempt(id);
                match end {
                    End::Finished => self.note(format_args!("attempt {} ends", id.0)),
                    End::HopFailed { kind, cause, .. } => {
                        self.note(format_args!("attempt {} fails {kind:?}: {cause}", id.0));
                    }
                }
            }
        }
        Ok(())
    }

    fn attempt_sends(&mut self, id: AttemptId, bytes: &[u8]) {
        let Some(process) = &mut self.process else { return };
        let Some(attempt) = process.attempts.get(&id) else { return };
        let Some(conn) = attempt.conn else { return };
        if let Some(job) = &attempt.job {
            self.on_wire.insert(conn, (attempt.hop.clone(), Arc::clone(job)));
        }
        self.note(format_args!("attempt {} says {}", id.0, head(bytes)));
        self.send(conn, 0, bytes, None);
        if self.options.plant == Plant::SettleBeforeReply
            && bytes.ends_with(b"\r\n.\r\n")
            && self.dice.chance(300)
        {
            let forged = b"250 2.0.0 Surely\r\n".to_vec();
            if let Some(process) = &mut self.process {
                process.todo.push_back(Todo::Attempt(id, AttemptInput::Bytes(forged)));
            }
            self.break_off(conn);
        }
    }

    fn end_attempt(&mut self, id: AttemptId) {
        let Some(process) = &mut self.process else { return };
        let Some(attempt) = process.attempts.remove(&id) else { return };
        if let Some(lookup) = attempt.lookup {
            process.lookups.remove(&lookup);
            process.tell_resolver(postroad_dns::resolver::Input::Cancel { id: lookup });
        }
        if let Some(conn) = attempt.conn {
            self.close(conn, 0);
        }
    }

    fn dial(&mut self, id: AttemptId, address: SocketAddr) {
        let Some(process) = &mut self.process else { return };
        process.next_dial += 1;
        let (boot, dial) = (process.boot, process.next_dial);
        let Some(attempt) = process.attempts.get_mut(&id) else { return };
        attempt.dial = dial;
        self.note(format_args!("attempt {} connects to {address}", id.0));
        let host = self.hosts.get(&address.ip()).filter(|_| address.port() == 25);
        let fault = host.and_then(|host| host.fault(&mut self.dice));
        let result = match (host, fault) {
            (_, Some(Fault::Filtered)) => return,
            (None, _) | (_, Some(Fault::ConnectionRefused)) => Err(String::from("connection refused")),
            (Some(_), fault) => Ok((address.ip(), fault)),
        };
        let at = self.now.mono + self.dice.micros(100, 50_000);
        self.agenda.put(at, Event::Dialled { boot, attempt: id, dial, result });
    }

    /// A connection is made, or is not; the attempt may want it no more.
    pub(super) fn dialled(
        &mut self,
        boot: u64,
        id: AttemptId,
        dial: u64,
        result: Result<(IpAddr, Option<Fault>), String>,
    ) -> Result<(), Broken> {
        let quality = self.quality();
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else {
            return Ok(());
        };
        let Some(attempt) = process.attempts.get_mut(&id).filter(|attempt| attempt.dial == dial) else {
            return Ok(());
        };
        attempt.dial = 0;
        let (ip, fault) = match result {
            Ok(found) => found,
            Err(cause) => {
                process.tell_attempt(id, OutboundInput::ConnectFailed(cause));
                return Ok(());
            }
        };
        let conn = self.net.make(Party::Attempt(id), Party::Host(ip), &quality);
        attempt.conn = Some(conn);
        process.tell_attempt(id, OutboundInput::Connected);
        let Some(host) = self.hosts.get(&ip) else { return Ok(()) };
        let mut acts = Vec::new();
        let session = Session::new(host, fault, cast::OUR_NAME, &mut acts);
        self.host_ends.insert(conn, HostEnd { ip, session, busy_until: self.now.mono });
        if fault == Some(Fault::GreetsAsUs)
            && let Some(hop) = self.hop_of(id)
        {
            self.ledger.greets_as_us(&hop);
        }
        self.note(format_args!("host {ip} has fault {fault:?}"));
        self.host_acts(conn, acts)
    }

    fn hop_of(&self, id: AttemptId) -> Option<NextHop> {
        Some(self.process.as_ref()?.attempts.get(&id)?.hop.clone())
    }

    /// Something came over an attempt's connection.
    pub(super) fn attempt_hears(
        &mut self,
        id: AttemptId,
        no: ConnNo,
        segment: Segment,
    ) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.attempts.get(&id).is_none_or(|attempt| attempt.conn != Some(no)) {
            return Ok(());
        }
        match segment {
            Segment::Bytes { data, receipt, .. } => {
                process.todo.push_back(Todo::Attempt(id, AttemptInput::Bytes(data)));
                if let Some(arrival) = receipt {
                    self.ledger.told(arrival)?;
                }
            }
            Segment::HelloBack(true) => {
                process.tell_attempt(id, tls_up());
                if let Some(conn) = self.net.conn(no) {
                    conn.secret[0] = true;
                }
            }
            Segment::HelloBack(false) => {
                process.tell_attempt(id, OutboundInput::TlsFailed(String::from("handshake failure")));
            }
            Segment::End => process.tell_attempt(id, OutboundInput::Closed(None)),
            Segment::Reset => process.tell_attempt(id, OutboundInput::Closed(Some(String::from("reset")))),
            Segment::Hello => {}
        }
        Ok(())
    }

    /// Something came to a host.
    pub(super) fn host_hears(&mut self, conn: ConnNo, segment: Segment) -> Result<(), Broken> {
        let Some(end) = self.host_ends.get_mut(&conn) else { return Ok(()) };
        let mut acts = Vec::new();
        match segment {
            Segment::Bytes { data, secret, .. } => {
                end.session.bytes(&data, &mut acts);
                if !secret
                    && self.settings.tls_required
                    && acts.iter().any(|act| matches!(act, Act::Take { .. }))
                {
                    let what = format!("{} got content in clear, and TLS is demanded", end.ip);
                    return Err(Broken(Promise::TlsDemand, what));
                }
            }
            Segment::Hello => {
                if let Some(up) = end.session.hello() {
                    self.put(conn, 1, Segment::HelloBack(up));
                    if let Some(conn) = self.net.conn(conn) {
                        conn.secret[1] = up;
                    }
                    if !up {
                        self.close(conn, 1);
                    }
                }
            }
            Segment::End | Segment::Reset => {
                self.host_ends.remove(&conn);
                self.close(conn, 1);
            }
            Segment::HelloBack(_) => {}
        }
        self.host_acts(conn, acts)
    }

    fn host_acts(&mut self, conn: ConnNo, acts: Vec<Act>) -> Result<(), Broken> {
        let mut taken = None;
        for act in acts {
            let on_wire = self.on_wire.get(&conn).cloned();
            match act {
                Act::Say(reply) => self.host_will_say(conn, reply, None),
                Act::SayTaken(reply) => self.host_will_say(conn, reply, taken),
                Act::Close => {
                    let Some(end) = self.host_ends.get(&conn) else { continue };
                    self.agenda.put(end.busy_until.max(self.now.mono), Event::HostCloses(conn));
                }
                Act::Refused(address) => {
                    if let Some((_, job)) = on_wire {
                        self.ledger.refuses(&job, address.as_deref());
                    }
                }
                Act::SevenBitOnly => self.seven_bit_only(conn),
                Act::Take { sender, recipients, content } => {
                    let Some(end) = self.host_ends.get(&conn) else { continue };
                    let ip = end.ip;
                    self.note(format_args!(
                        "host takes {recipients:?} from <{sender}>: {} octets",
                        content.len()
                    ));
                    let Some((hop, job)) = on_wire else { continue };
                    let place = Place::Host(ip, hop);
                    let arrival = self.with_ledger(|ledger, scene| {
                        ledger.arrives(scene, &job, &place, &recipients, &content)
                    })?;
                    taken = Some(arrival);
                }
            }
        }
        Ok(())
    }

    fn seven_bit_only(&mut self, conn: ConnNo) {
        if let Some((hop, _)) = self.on_wire.get(&conn) {
            self.ledger.has_no_8bitmime(hop);
        }
    }

    fn host_will_say(&mut self, conn: ConnNo, reply: String, receipt: Option<usize>) {
        let Some(end) = self.host_ends.get_mut(&conn) else { return };
        let Some(host) = self.hosts.get(&end.ip) else { return };
        end.busy_until = end.busy_until.max(self.now.mono) + host.think(&mut self.dice);
        self.agenda.put(end.busy_until, Event::HostSays { conn, reply, receipt });
    }

    pub(super) fn host_says(&mut self, conn: ConnNo, reply: &str, receipt: Option<usize>) {
        self.note(format_args!("host says {reply:?}"));
        self.send(conn, 1, format!("{reply}\r\n").as_bytes(), receipt);
    }
}

fn tls_up() -> OutboundInput<'static> {
    OutboundInput::TlsUp {
        protocol: String::from("TLSv1.3"),
        cipher: String::from("TLS13_AES_256_GCM_SHA384"),
    }
}
