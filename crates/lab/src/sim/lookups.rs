//! Names: the resolver, and the servers it asks.

use super::Plant;
use super::names::{Tcp, Udp};
use super::net::{ConnNo, Party, Segment};
use super::world::{Event, Who, World};
use postroad_dns::answer::{Answer, Question, Verdict};
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ConnId, Input, IoFault, LookupId, Output};
use postroad_engine::delivery::AttemptId;
use postroad_engine::outbound::OutboundInput;
use postroad_engine::queue::QueueInput;
use std::net::SocketAddr;
use std::sync::Arc;

impl World {
    /// An attempt asks for a name.
    pub(super) fn resolve(&mut self, attempt: AttemptId, question: Question, policy: Policy) {
        let Some(process) = &mut self.process else { return };
        process.next_lookup += 1;
        let id = LookupId(process.next_lookup);
        process.lookups.insert(id, attempt);
        if let Some(attempt) = process.attempts.get_mut(&attempt) {
            attempt.lookup = Some(id);
        }
        process.tell_resolver(Input::Find { id, question, policy });
    }

    pub(super) fn resolver_input(&mut self, input: Input) {
        let now = self.now;
        let Some(process) = &mut self.process else { return };
        process.resolver.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = process.resolver.poll() {
            outputs.push(output);
        }
        for output in outputs {
            self.resolver_output(output);
        }
        self.arm(Who::Resolver);
    }

    fn resolver_output(&mut self, output: Output) {
        let Some(process) = &mut self.process else { return };
        match output {
            Output::SendDatagram { server, slot, bytes } => self.query_leaves(server, slot, bytes),
            Output::Connect { conn, server } => self.stream_dials(conn, server),
            Output::Send { conn, bytes } => {
                if let Some(Some(no)) = process.streams.get(&conn).copied() {
                    self.send(no, 0, &bytes, None);
                }
            }
            Output::Close { conn } => {
                if let Some(Some(no)) = process.streams.remove(&conn) {
                    self.close(no, 0);
                }
            }
            Output::Found { id, answer } => self.found(id, &answer),
            Output::Fact(fact) => self.note(format_args!("dns: {fact:?}")),
            Output::Released => {
                process.tell_queue(QueueInput::DnsReleased);
                self.note(format_args!("dns: what waits for it is released"));
            }
        }
    }

    fn found(&mut self, id: LookupId, answer: &Arc<Answer>) {
        let Some(process) = &mut self.process else { return };
        let Some(attempt) = process.lookups.remove(&id) else { return };
        if let Some(attempt) = process.attempts.get_mut(&attempt) {
            attempt.lookup = None;
        }
        let mut answer = Arc::clone(answer);
        if self.options.plant == Plant::ReturnOnServfail && matches!(answer.verdict, Verdict::Unresolved(_)) {
            Arc::make_mut(&mut answer).verdict = Verdict::NoSuchDomain;
        }
        process.tell_attempt(attempt, OutboundInput::Resolved(Arc::clone(&answer)));
        self.note(format_args!("attempt {}: {} is {:?}", attempt.0, answer.question, answer.verdict));
    }

    fn server_at(&self, address: SocketAddr) -> Option<usize> {
        self.servers.iter().position(|(at, _)| *at == address)
    }

    fn query_leaves(&mut self, address: SocketAddr, slot: u16, bytes: Vec<u8>) {
        let Some(boot) = self.process.as_ref().map(|process| process.boot) else { return };
        let Some(server) = self.server_at(address) else { return };
        let udp = self.servers[server].1.udp;
        let at = self.now.mono + self.dice.micros(100, 20_000);
        if udp == Udp::PortClosed {
            let input = Input::DatagramFailed { server: address, slot, fault: IoFault::Refused };
            return self.agenda.put(at, Event::AnswerArrives { boot, input });
        }
        let copies = if udp == Udp::Lossy { self.dice.below(3) } else { 1 };
        for _ in 0..copies {
            let at = self.now.mono + self.dice.micros(100, 20_000);
            self.agenda.put(at, Event::QueryArrives { boot, server, slot, bytes: bytes.clone() });
        }
    }

    pub(super) fn query_arrives(&mut self, boot: u64, server: usize, slot: u16, bytes: &[u8]) {
        let (address, name_server) = &self.servers[server];
        let Some(answer) = name_server.datagram(&self.zones, bytes) else { return };
        let copies = if name_server.udp == Udp::Lossy { self.dice.below(3) } else { 1 };
        let slow = if self.healed { 50_000 } else { 1_000_000 };
        for _ in 0..copies {
            let at = self.now.mono + self.dice.micros(100, slow);
            let input = Input::Datagram { server: *address, slot, bytes: answer.clone() };
            self.agenda.put(at, Event::AnswerArrives { boot, input });
        }
    }

    fn stream_dials(&mut self, conn: ConnId, address: SocketAddr) {
        let Some(process) = &mut self.process else { return };
        let boot = process.boot;
        process.streams.insert(conn, None);
        let Some(server) = self.server_at(address) else { return };
        let at = self.now.mono + self.dice.micros(100, 50_000);
        match self.servers[server].1.tcp {
            Tcp::Filtered => {}
            Tcp::Refused => {
                let input = Input::ConnectFailed { conn, fault: IoFault::Refused };
                self.agenda.put(at, Event::AnswerArrives { boot, input });
            }
            Tcp::Good | Tcp::Mute | Tcp::HangsUp | Tcp::ServFail => {
                self.agenda.put(at, Event::StreamDialled { boot, conn, server });
            }
        }
    }

    pub(super) fn stream_dialled(&mut self, boot: u64, conn: ConnId, server: usize) {
        let quality = self.quality();
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else { return };
        let Some(slot) = process.streams.get_mut(&conn) else { return };
        let no = self.net.make(Party::Lookups(conn), Party::NameServer(server), &quality);
        *slot = Some(no);
        process.tell_resolver(Input::Connected { conn });
    }

    pub(super) fn stream_hears(&mut self, conn: ConnId, segment: Segment) {
        let Some(process) = &mut self.process else { return };
        if !process.streams.contains_key(&conn) {
            return;
        }
        let input = match segment {
            Segment::Bytes { data, .. } => Input::Received { conn, bytes: data },
            Segment::End => Input::Closed { conn, fault: None },
            Segment::Reset => Input::Closed { conn, fault: Some(IoFault::Reset) },
            Segment::Hello | Segment::HelloBack(_) => return,
        };
        if matches!(input, Input::Closed { .. })
            && let Some(Some(no)) = process.streams.remove(&conn)
        {
            self.net.drop_end(no, 0);
        }
        if let Some(process) = &mut self.process {
            process.tell_resolver(input);
        }
    }

    pub(super) fn name_server_hears(&mut self, server: usize, conn: ConnNo, segment: Segment) {
        let Segment::Bytes { data, .. } = segment else {
            self.server_buffers.remove(&conn);
            return self.close(conn, 1);
        };
        let name_server = &self.servers[server].1;
        if name_server.tcp == Tcp::HangsUp {
            return self.close(conn, 1);
        }
        let buffer = self.server_buffers.entry(conn).or_default();
        buffer.extend_from_slice(&data);
        let mut answers = Vec::new();
        while let Some(length) =
            buffer.first_chunk::<2>().map(|length| usize::from(u16::from_be_bytes(*length)))
        {
            if buffer.len() < length + 2 {
                break;
            }
            let query: Vec<u8> = buffer.drain(..length + 2).skip(2).collect();
            answers.extend(name_server.message(&self.zones, &query));
        }
        for answer in answers {
            let framed = [&(answer.len() as u16).to_be_bytes(), answer.as_slice()].concat();
            self.send(conn, 1, &framed, None);
        }
    }
}
