//! Name servers' octets: a resolver with a question outstanding is fed datagrams and pieces of a TCP stream.
//!
//! The input is a list of pieces: one octet says what becomes of the piece, one its length, then the piece. Half of the replies get
//! the right id, socket and question, or the fuzzer would seldom come past the first check.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_dns::answer::{Question, Verdict};
use postroad_dns::policy::Policy;
use postroad_dns::resolver::{ConnId, Input, LookupId, Output, Resolver};
use postroad_dns::settings::Settings;
use postroad_mail::time::{Mono, Now, Wall};
use std::net::SocketAddr;
use std::time::Duration;

/// What the machine has asked for, as a shell would know it.
#[derive(Default)]
struct Shell {
    slot: u16,
    /// The last query, without the length before it.
    query: Vec<u8>,
    conn: Option<ConnId>,
    answered: bool,
}

impl Shell {
    fn drain(&mut self, resolver: &mut Resolver) {
        while let Some(output) = resolver.poll() {
            match output {
                Output::SendDatagram { slot, bytes, .. } => (self.slot, self.query) = (slot, bytes),
                Output::Connect { conn, .. } => self.conn = Some(conn),
                Output::Send { bytes, .. } => self.query = bytes.get(2..).unwrap_or_default().to_vec(),
                Output::Close { .. } | Output::Fact(_) | Output::Released => {}
                Output::Found { answer, .. } => {
                    assert!(!self.answered, "answered twice");
                    self.answered = true;
                    if let Verdict::Hosts(hosts) = &answer.verdict {
                        assert!(hosts.iter().all(|host| !host.addresses.is_empty()));
                    }
                    for exchange in &answer.trail {
                        assert!(
                            !exchange.tell().contains(['\r', '\n', '\0']),
                            "what is shown must be harmless"
                        );
                    }
                }
            }
        }
    }

    /// The header and question of a reply to the last query, then `rest`.
    fn reply(&self, how: u8, rest: &[u8]) -> Vec<u8> {
        let end = self
            .query
            .iter()
            .skip(12)
            .position(|octet| *octet == 0)
            .map_or(self.query.len(), |at| at + 12 + 5);
        let mut reply = self.query.get(..end).unwrap_or_default().to_vec();
        for (at, octet) in
            [(2, 0x81 | how >> 2 & 2), (3, 0x80 | how >> 4 & 3), (7, how >> 6), (9, 1), (11, 0)]
        {
            if let Some(place) = reply.get_mut(at) {
                *place = octet;
            }
        }
        reply.extend_from_slice(rest);
        reply
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, mut rest)) = data.split_first() else { return };
    let server: SocketAddr = ([192, 0, 2, 53], 53).into();
    let settings = Settings { servers: vec![server], ..Settings::default() };
    let mut resolver = Resolver::new(settings, [7; 32]);
    let mut now = Now { mono: Mono(1_000_000), wall: Wall(1_795_590_028_000) };
    let policy = Policy::ALL[usize::from(first) % Policy::ALL.len()];
    let question = match first >> 2 & 3 {
        0 => Question::Records("a.example".to_owned(), 16),
        1 => Question::Records("a.example".to_owned(), u16::from(first)),
        _ => Question::NextHop("a.example".parse().expect("a domain")),
    };
    let mut shell = Shell::default();
    resolver.handle(now, Input::Find { id: LookupId(1), question, policy });
    shell.drain(&mut resolver);
    while let [how, length, tail @ ..] = rest {
        let (piece, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        now = now.later(Duration::from_millis(1));
        let reply = shell.reply(*how, piece);
        let framed = [&(reply.len() as u16).to_be_bytes()[..], &reply].concat();
        let input = match (how & 7, shell.conn) {
            (0, _) => Input::Datagram { server, slot: shell.slot, bytes: piece.to_vec() },
            (1..=3, _) => Input::Datagram { server, slot: shell.slot, bytes: reply },
            (4, Some(conn)) => Input::Connected { conn },
            (5, Some(conn)) => Input::Received { conn, bytes: framed },
            (6, Some(conn)) => Input::Received { conn, bytes: piece.to_vec() },
            (7, Some(conn)) => Input::Closed { conn, fault: None },
            _ => {
                now = resolver.deadline().map_or(now, |at| now.later(at - now.mono));
                Input::Tick
            }
        };
        resolver.handle(now, input);
        shell.drain(&mut resolver);
    }
    // Whatever came, the question is answered within its time.
    let end = now.later(Duration::from_secs(11));
    while let Some(at) = resolver.deadline().filter(|at| *at <= end.mono) {
        now = now.later(at - now.mono);
        resolver.handle(now, Input::Tick);
        shell.drain(&mut resolver);
    }
    assert!(shell.answered, "no answer");
});
