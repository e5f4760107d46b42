//! The road in: clients, and the sessions that they talk to.

use super::Broken;
use super::client::{self, PATIENCE};
use super::net::{ConnNo, Party, Segment};
use super::process::{Process, Session, SessionInput, Wake};
use super::world::{Event, Who, World};
use super::zones::OURSELVES;
use postroad_engine::inbound::{Inbound, InboundInput, InboundOutput};
use postroad_engine::queue::{QueueInput, Ticket};
use postroad_spool::record::DraftId;
use std::net::SocketAddr;
use std::sync::Arc;

/// Numbers that a session may give to its drafts.
const DRAFTS_A_SESSION: u64 = 1 << 20;

impl World {
    /// A client that has mail left calls.
    pub(super) fn client_goes(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else { return };
        if client.left.is_empty() || client.dialog.is_some() {
            return;
        }
        let listening = self.process.as_ref().is_some_and(|process| process.started);
        if !listening {
            let later = self.now.mono + self.dice.micros(1_000_000, 120_000_000);
            return self.agenda.put(later, Event::ClientGoes(number));
        }
        client.connected(&mut self.dice, self.healed);
        self.count += 1;
        let quality = self.quality();
        let conn = self.net.make(Party::Client(number), Party::Session(self.count), &quality);
        let at = self.now.mono + self.dice.micros(100, 50_000);
        self.agenda.put(at, Event::Incoming(conn));
        self.agenda.put(at + PATIENCE, Event::ClientGivesUp(number, conn));
    }

    pub(super) fn client_gives_up(&mut self, number: usize, conn: ConnNo) {
        if self.net.is_open(conn, 0) {
            self.note(format_args!("client {number} loses patience"));
            self.close(conn, 0);
            self.client_is_done(number);
        }
    }

    fn client_is_done(&mut self, number: usize) {
        if let Some(client) = self.clients.get_mut(number) {
            client.dialog = None;
            let later = self.now.mono + self.dice.micros(100_000, 300_000_000);
            self.agenda.put(later, Event::ClientGoes(number));
        }
    }

    pub(super) fn client_hears(&mut self, number: usize, conn: ConnNo, segment: Segment) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let mut acts = Vec::new();
        match segment {
            Segment::Bytes { data, .. } => client.bytes(&data, &mut self.ledger.submissions, &mut acts),
            Segment::HelloBack(up) => {
                client.tls(up, &mut acts);
                if let Some(conn) = self.net.conn(conn) {
                    conn.secret[0] = up;
                }
            }
            Segment::End | Segment::Reset => {
                self.close(conn, 0);
                return self.client_is_done(number);
            }
            Segment::Hello => {}
        }
        for act in acts {
            match act {
                client::Act::Send(data) => self.send(conn, 0, &data, None),
                client::Act::StartTls => self.put(conn, 0, Segment::Hello),
                client::Act::Close => {
                    self.close(conn, 0);
                    self.client_is_done(number);
                }
                client::Act::Vanish => {
                    self.note(format_args!("client {number} vanishes"));
                    if self.dice.chance(500) {
                        self.close(conn, 0);
                    } else {
                        self.net.drop_end(conn, 0);
                        self.break_off(conn);
                    }
                    self.client_is_done(number);
                }
            }
        }
    }

    /// A connection breaks, by the caller's doing or to his surprise.
    pub(super) fn break_off(&mut self, conn: ConnNo) {
        let Self { net, dice, agenda, now, .. } = self;
        net.break_off(super::net::Road { no: conn, from: 0, now: now.mono, dice, agenda });
    }

    /// A client's connection reaches the service, if it still lives.
    pub(super) fn incoming(&mut self, no: ConnNo) {
        let Some(conn) = self.net.conn(no) else { return };
        let [Party::Client(client), Party::Session(id)] = conn.parties else { return };
        let address = SocketAddr::from(([10, 1, 0, client as u8], 40_000));
        let (settings, now) = (Arc::clone(&self.settings), self.now);
        let Some(process) = &mut self.process else {
            self.net.drop_end(no, 1);
            return self.agenda.put(now.mono, Event::Arrives { conn: no, to: 0, segment: Segment::Reset });
        };
        let drafts = DraftId(id * DRAFTS_A_SESSION);
        let machine = Inbound::new(settings, address, true, process.memory.clone(), drafts, now);
        let session =
            Session { machine, wake: Wake::default(), conn: no, unread: Default::default(), ended: false };
        process.sessions.insert(id, session);
        self.note(format_args!("session {id} from client {client} to {OURSELVES}"));
        self.session_outputs(id);
    }

    /// Something came over a session's connection.
    pub(super) fn session_hears(&mut self, id: u64, conn: ConnNo, segment: Segment) {
        let handshake = self.dice.chance(950) || self.healed;
        let Some(process) = &mut self.process else { return };
        let Some(session) = process.sessions.get_mut(&id) else { return };
        match segment {
            Segment::Bytes { data, .. } => session.unread.push_back(data),
            Segment::End | Segment::Reset => session.ended = true,
            Segment::Hello if handshake => {
                session.unread.clear();
                process.tell_session(id, tls_up());
                self.put(conn, 1, Segment::HelloBack(true));
                if let Some(conn) = self.net.conn(conn) {
                    conn.secret[1] = true;
                }
                return;
            }
            Segment::Hello => {
                process.tell_session(id, InboundInput::Eof);
                return self.put(conn, 1, Segment::HelloBack(false));
            }
            Segment::HelloBack(_) => return,
        }
        process.read(id);
    }

    pub(super) fn session_input(&mut self, id: u64, input: SessionInput) {
        let now = self.now;
        let Some(session) = self.process.as_mut().and_then(|process| process.sessions.get_mut(&id)) else {
            return;
        };
        match input {
            SessionInput::Bytes(bytes) => session.machine.handle(now, InboundInput::Bytes(&bytes)),
            SessionInput::Other(input) => session.machine.handle(now, input),
        }
        self.session_outputs(id);
    }

    fn session_outputs(&mut self, id: u64) {
        while let Some(session) = self.process.as_mut().and_then(|process| process.sessions.get_mut(&id)) {
            let conn = session.conn;
            // One at a time: a piece of a draft that cannot be written is told before the draft is handed in.
            let Some(output) = session.machine.poll() else { break };
            self.session_output(id, conn, output);
        }
        if let Some(process) = &mut self.process {
            process.read(id);
        }
        self.arm(Who::Session(id));
    }

    fn session_output(&mut self, id: u64, conn: ConnNo, output: InboundOutput) {
        let spill_fails = !self.healed && self.dice.chance(20);
        let now = self.now;
        let Some(process) = &mut self.process else { return };
        match output {
            InboundOutput::Send(bytes) => {
                self.note(format_args!("session {id} says {}", head(&bytes)));
                self.send(conn, 1, &bytes, None);
            }
            // The caller begins: until then nothing is to be done but to drop what came in clear.
            InboundOutput::StartTls => {
                if let Some(session) = process.sessions.get_mut(&id) {
                    session.unread.clear();
                }
            }
            InboundOutput::DataOpened => process.tell_queue(QueueInput::DataOpened),
            InboundOutput::DataDropped => process.tell_queue(QueueInput::DataDropped),
            InboundOutput::Spill(draft, octets) => {
                if spill_fails {
                    let failed = InboundInput::SpillFailed { full: self.disk.full };
                    if let Some(session) = process.sessions.get_mut(&id) {
                        session.machine.handle(now, failed);
                    }
                } else {
                    self.disk.spill(draft, &octets);
                }
            }
            InboundOutput::DropDraft(draft) => self.disk.drop_draft(draft),
            InboundOutput::Submit(draft) => {
                process.tell_queue(QueueInput::Submit { ticket: Ticket(id), draft })
            }
            InboundOutput::Close => {
                process.sessions.remove(&id);
                self.note(format_args!("session {id} closes"));
                self.close(conn, 1);
            }
        }
    }

    pub(super) fn with_ledger<R>(
        &mut self,
        act: impl FnOnce(&mut super::ledger::Ledger, &super::ledger::Scene<'_>) -> Result<R, Broken>,
    ) -> Result<R, Broken> {
        let mut ledger = std::mem::take(&mut self.ledger);
        let result = act(&mut ledger, &self.scene());
        self.ledger = ledger;
        result
    }
}

impl Process {
    /// Gives a session what is in its socket, if it wants any.
    fn read(&mut self, id: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.machine.wants_input() {
            return;
        }
        match session.unread.pop_front() {
            Some(bytes) => self.todo.push_back(super::process::Todo::Session(id, SessionInput::Bytes(bytes))),
            None if std::mem::take(&mut session.ended) => self.tell_session(id, InboundInput::Eof),
            None => {}
        }
    }
}

fn tls_up() -> InboundInput<'static> {
    InboundInput::TlsUp {
        protocol: String::from("TLSv1.3"),
        cipher: String::from("TLS13_AES_256_GCM_SHA384"),
    }
}

/// The first line of what is said, for the trace.
pub(super) fn head(bytes: &[u8]) -> String {
    let line = bytes.split(|octet| *octet == b'\r').next().unwrap_or_default();
    format!("{:?} ({} octets)", String::from_utf8_lossy(&line[..line.len().min(60)]), bytes.len())
}
