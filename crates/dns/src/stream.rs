//! Connections: framing (RFC 1035 §4.2.2), reuse and idle close (RFC 7766 §6.2). One query at a time each, so that a server that closes
//! after one loses nothing.

use crate::exchange::{ExchangeOutcome, Transport};
use crate::health::Strike;
use crate::resolver::{ConnId, IoFault, Output, Resolver};
use crate::timers::Timer;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections to one server at the same time; further queries wait their turn.
const CONNS_MAX: usize = 16;
/// How long a connection is kept for the next query (RFC 7766 §6.2.3: a few seconds).
const IDLE_FOR: Duration = Duration::from_secs(5);

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    server: SocketAddr,
    state: ConnState,
    /// Octets of a message that is not complete: less than 65,537, as whole messages are taken out at once.
    partial: Vec<u8>,
    /// Replies it has brought.
    served: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnState {
    /// For this flight.
    Connecting(u64),
    Busy(u64),
    Idle,
}

/// The connections of one server.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    conns: usize,
    idle: Vec<ConnId>,
    /// Flights that wait for a connection. Each is of a lookup, and lookups are bounded.
    waiting: VecDeque<u64>,
}

impl Resolver {
    /// Puts a flight on an idle connection, or a new one, or in the line.
    pub(crate) fn connect_or_send(&mut self, flight: u64) {
        let Some(server) = self.flights.get(&flight).map(|flight| flight.step.server) else {
            return;
        };
        let pool = self.pools.entry(server).or_default();
        if let Some(conn) = pool.idle.pop() {
            self.send_on(conn, flight);
        } else if pool.conns < CONNS_MAX {
            self.connect(server, flight);
        } else {
            pool.waiting.push_back(flight);
        }
    }

    fn connect(&mut self, server: SocketAddr, flight: u64) {
        let conn = ConnId(self.number());
        self.pools.entry(server).or_default().conns += 1;
        let state = ConnState::Connecting(flight);
        self.conns.insert(conn, Conn { server, state, partial: Vec::new(), served: 0 });
        if let Some(flight) = self.flights.get_mut(&flight) {
            flight.conn = Some(conn);
        }
        self.timers.set(Timer::Conn(conn), self.now.mono + self.settings.timeouts.tcp_connect);
        self.emit(Output::Connect { conn, server });
    }

    fn send_on(&mut self, conn: ConnId, number: u64) {
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        flight.conn = Some(conn);
        let mut bytes = (flight.bytes.len() as u16).to_be_bytes().to_vec();
        bytes.extend_from_slice(&flight.bytes);
        if let Some(held) = self.conns.get_mut(&conn) {
            held.state = ConnState::Busy(number);
        }
        self.timers.set(Timer::Conn(conn), self.now.mono + self.settings.timeouts.tcp_reply);
        self.emit(Output::Send { conn, bytes });
    }

    /// A connection is free: the next in line, or nobody for a while.
    fn free(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(&conn) else {
            return;
        };
        held.state = ConnState::Idle;
        let server = held.server;
        match self.next_in_line(server) {
            Some(flight) => self.send_on(conn, flight),
            None => {
                self.timers.set(Timer::Conn(conn), self.now.mono + IDLE_FOR);
                self.pools.entry(server).or_default().idle.push(conn);
            }
        }
    }

    fn next_in_line(&mut self, server: SocketAddr) -> Option<u64> {
        let line = &mut self.pools.get_mut(&server)?.waiting;
        while let Some(flight) = line.pop_front() {
            if self.flights.contains_key(&flight) {
                return Some(flight);
            }
        }
        None
    }

    /// A connection is made.
    pub(crate) fn connected(&mut self, conn: ConnId) {
        let Some(ConnState::Connecting(flight)) = self.conns.get(&conn).map(|held| held.state) else {
            return;
        };
        if self.flights.contains_key(&flight) { self.send_on(conn, flight) } else { self.free(conn) }
    }

    /// Octets came.
    pub(crate) fn received(&mut self, conn: ConnId, bytes: &[u8]) {
        match self.conns.get_mut(&conn) {
            Some(held) => held.partial.extend_from_slice(bytes),
            None => return,
        }
        while let Some(held) = self.conns.get_mut(&conn) {
            let ConnState::Busy(flight) = held.state else {
                // Nothing was asked: whoever speaks now cannot be trusted with the next question.
                if !held.partial.is_empty() {
                    let server = held.server;
                    self.ignored(server);
                    self.close(conn);
                }
                return;
            };
            let Some(message) = take_message(&mut held.partial) else {
                return;
            };
            let server = held.server;
            let Some((reply, worth)) = self.read_reply(flight, &message) else {
                self.ignored(server);
                continue;
            };
            // The connection is free before the reply is acted on, which may ask the next question.
            self.served(conn);
            self.act_on(flight, reply, worth, message.len());
        }
    }

    /// A connection brought its reply: it is free for the next query, unless more octets came than were asked for.
    fn served(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(&conn) else {
            return;
        };
        held.served = held.served.saturating_add(1);
        held.state = ConnState::Idle;
        if held.partial.is_empty() {
            self.free(conn);
        }
    }

    /// A connection could not be made.
    pub(crate) fn connect_failed(&mut self, conn: ConnId, fault: IoFault) {
        let Some(held) = self.forget(conn) else {
            return;
        };
        let outcome = ExchangeOutcome::from(fault);
        self.strike(held.server, Transport::Tcp, Strike::NoConnection, outcome);
        let mut lost: Vec<u64> = match held.state {
            ConnState::Connecting(flight) | ConnState::Busy(flight) => vec![flight],
            ConnState::Idle => Vec::new(),
        };
        if let Some(pool) = self.pools.get_mut(&held.server).filter(|pool| pool.conns == 0) {
            lost.extend(pool.waiting.drain(..));
        }
        for number in lost {
            if let Some(flight) = self.drop_flight(number) {
                self.flight_failed(number, flight, outcome);
            }
        }
    }

    /// A connection was closed by the server, or lost.
    pub(crate) fn closed(&mut self, conn: ConnId, fault: Option<IoFault>) {
        let outcome = fault.map_or(ExchangeOutcome::Reset, ExchangeOutcome::from);
        self.lost(conn, outcome);
    }

    /// A connection's time is over.
    pub(crate) fn conn_expired(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn).map(|held| held.state) else {
            return;
        };
        self.emit(Output::Close { conn });
        match state {
            ConnState::Connecting(_) => self.connect_failed(conn, IoFault::TimedOut),
            ConnState::Busy(_) | ConnState::Idle => self.lost(conn, ExchangeOutcome::TimedOut),
        }
    }

    fn lost(&mut self, conn: ConnId, outcome: ExchangeOutcome) {
        let Some(held) = self.forget(conn) else {
            return;
        };
        if let ConnState::Busy(number) | ConnState::Connecting(number) = held.state {
            let again = held.served > 0 && outcome != ExchangeOutcome::TimedOut;
            match self.flights.get_mut(&number) {
                // The server closed an old connection as our query was on its way (RFC 7766 §6.2.4): a new one.
                Some(flight) if again && !flight.repeated => {
                    flight.repeated = true;
                    self.connect(held.server, number);
                }
                Some(_) => {
                    self.strike(held.server, Transport::Tcp, Strike::Lost, outcome);
                    if let Some(flight) = self.drop_flight(number) {
                        self.flight_failed(number, flight, outcome);
                    }
                }
                None => {}
            }
        }
        if let Some(flight) = self.next_in_line(held.server) {
            self.connect_or_send(flight);
        }
    }

    /// Closes a connection of ours.
    pub(crate) fn close(&mut self, conn: ConnId) {
        if self.conns.contains_key(&conn) {
            self.emit(Output::Close { conn });
            self.lost(conn, ExchangeOutcome::Reset);
        }
    }

    /// Closes all connections to servers that are no longer listed.
    pub(crate) fn close_unlisted(&mut self) {
        let gone = |(conn, held): (&ConnId, &Conn)| self.servers.get(held.server).is_none().then_some(*conn);
        for conn in self.conns.iter().filter_map(gone).collect::<Vec<_>>() {
            self.close(conn);
        }
        self.pools.retain(|_, pool| pool.conns > 0);
    }

    fn forget(&mut self, conn: ConnId) -> Option<Conn> {
        let held = self.conns.remove(&conn)?;
        self.timers.clear(Timer::Conn(conn));
        if let Some(pool) = self.pools.get_mut(&held.server) {
            pool.conns = pool.conns.saturating_sub(1);
            pool.idle.retain(|idle| *idle != conn);
        }
        Some(held)
    }
}

/// Takes a whole message out of what has come.
fn take_message(partial: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*partial.first_chunk::<2>()?));
    let message = partial.get(2..2 + length)?.to_vec();
    partial.drain(..2 + length);
    Some(message)
}
