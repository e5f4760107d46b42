//! Streams between the machines of the world.
//!
//! What may break: octets come in any pieces and at any time after they were sent, though in order; a connection breaks
//! at any point, and what was under way is lost; each end learns it at a time of its own. A peer that closed does not hear
//! what comes later. We must survive it because TCP promises no more.
//!
//! TLS is a token that each side sends: no real one, since what matters here is the order of things. What a side sends after
//! its own token is *secret*.

use super::agenda::Agenda;
use super::dice::Dice;
use super::world::Event;
use postroad_dns::resolver;
use postroad_engine::delivery::AttemptId;
use postroad_mail::time::Mono;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnNo(pub(super) u64);

/// An end of a connection: 0 called, 1 was called.
pub(super) type Side = usize;

/// Who holds an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Client(usize),
    Session(u64),
    Attempt(AttemptId),
    Lookups(resolver::ConnId),
    Host(IpAddr),
    NameServer(usize),
}

impl Party {
    /// Whether it is a part of the service under test, and dies with it.
    pub(super) fn is_ours(self) -> bool {
        matches!(self, Self::Session(_) | Self::Attempt(_) | Self::Lookups(_))
    }
}

/// A piece of a stream.
#[derive(Clone, Debug)]
pub(super) enum Segment {
    Bytes {
        data: Vec<u8>,
        secret: bool,
        /// The last of these octets tell of this arrival.
        receipt: Option<usize>,
    },
    /// The caller begins a handshake.
    Hello,
    /// The called ends it.
    HelloBack(bool),
    /// The sender closed.
    End,
    /// The connection broke.
    Reset,
}

pub(super) struct Conn {
    pub(super) parties: [Party; 2],
    open: [bool; 2],
    /// When the last segment to each end arrives.
    arrival: [Mono; 2],
    pub(super) secret: [bool; 2],
    broken: bool,
    /// Segments that still go through before it breaks.
    breaks_after: Option<u64>,
    /// The longest that a piece is on its way, microseconds.
    delay_max: u64,
}

#[derive(Default)]
pub(super) struct Net {
    conns: BTreeMap<ConnNo, Conn>,
    count: u64,
}

/// The longest that a piece is on its way over a good connection, microseconds.
pub(super) const DELAY_MAX: u64 = 50_000;

/// What a connection is drawn to be like.
pub(super) struct Quality {
    pub(super) breaks_after: Option<u64>,
    pub(super) delay_max: u64,
}

impl Net {
    pub(super) fn make(&mut self, caller: Party, called: Party, quality: &Quality) -> ConnNo {
        self.count += 1;
        let conn = Conn {
            parties: [caller, called],
            open: [true; 2],
            arrival: [Mono(0); 2],
            secret: [false; 2],
            broken: false,
            breaks_after: quality.breaks_after,
            delay_max: quality.delay_max,
        };
        self.conns.insert(ConnNo(self.count), conn);
        ConnNo(self.count)
    }

    pub(super) fn conn(&mut self, no: ConnNo) -> Option<&mut Conn> {
        self.conns.get_mut(&no)
    }

    /// Sends octets in pieces.
    pub(super) fn send(&mut self, road: Road<'_>, data: &[u8], receipt: Option<usize>) {
        let Some(conn) = self.conns.get(&road.no) else { return };
        let secret = conn.secret[road.from];
        let pieces = road.dice.between(1, 3) as usize;
        let length = data.len().div_ceil(pieces).max(1);
        let Road { no, from, now, dice, agenda } = road;
        let mut chunks = data.chunks(length).peekable();
        while let Some(chunk) = chunks.next() {
            let receipt = if chunks.peek().is_none() { receipt } else { None };
            let segment = Segment::Bytes { data: chunk.to_vec(), secret, receipt };
            self.put(Road { no, from, now, dice: &mut *dice, agenda: &mut *agenda }, segment);
        }
    }

    /// Sends one segment.
    pub(super) fn put(&mut self, road: Road<'_>, segment: Segment) {
        let Some(conn) = self.conns.get_mut(&road.no) else { return };
        let to = 1 - road.from;
        if conn.broken || !conn.open[road.from] {
            return;
        }
        if matches!(segment, Segment::End) {
            conn.open[road.from] = false;
        }
        let arrival = (road.now + road.dice.micros(100, conn.delay_max)).max(conn.arrival[to]);
        conn.arrival[to] = arrival;
        road.agenda.put(arrival, Event::Arrives { conn: road.no, to, segment });
    }

    /// A segment has come to an end of a connection: what its holder notices, if anything.
    pub(super) fn arrives(&mut self, road: Road<'_>, segment: Segment) -> Option<(Party, Segment)> {
        let to = 1 - road.from;
        let conn = self.conns.get_mut(&road.no)?;
        if let Segment::Reset = segment {
            let party = std::mem::replace(&mut conn.open[to], false).then_some(conn.parties[to]);
            return party.map(|party| (party, Segment::Reset));
        }
        if conn.broken || !conn.open[to] {
            return None;
        }
        if conn.breaks_after == Some(0) {
            self.break_off(road);
            return None;
        }
        conn.breaks_after = conn.breaks_after.map(|left| left - 1);
        Some((conn.parties[to], segment))
    }

    /// Breaks a connection: each end that is open hears of it some time.
    pub(super) fn break_off(&mut self, road: Road<'_>) {
        let Some(conn) = self.conns.get_mut(&road.no) else { return };
        conn.broken = true;
        for to in 0..2 {
            let at = road.now + road.dice.micros(100, conn.delay_max);
            road.agenda.put(at, Event::Arrives { conn: road.no, to, segment: Segment::Reset });
        }
    }

    /// The ends that the service holds, to be broken off when it dies.
    pub(super) fn ours(&self) -> Vec<(ConnNo, Side)> {
        let mut ends = Vec::new();
        for (no, conn) in &self.conns {
            let held = (0..2).filter(|side| conn.open[*side] && conn.parties[*side].is_ours());
            ends.extend(held.map(|side| (*no, side)));
        }
        ends
    }

    /// An end goes without a word.
    pub(super) fn drop_end(&mut self, no: ConnNo, side: Side) {
        if let Some(conn) = self.conns.get_mut(&no) {
            conn.open[side] = false;
        }
    }

    pub(super) fn is_open(&self, no: ConnNo, side: Side) -> bool {
        self.conns.get(&no).is_some_and(|conn| conn.open[side] && !conn.broken)
    }

    /// Nothing more breaks or is slow.
    pub(super) fn heal(&mut self) {
        for conn in self.conns.values_mut() {
            conn.breaks_after = None;
            conn.delay_max = DELAY_MAX;
        }
    }

    /// Forgets connections of which both ends are gone.
    pub(super) fn sweep(&mut self, now: Mono) {
        self.conns.retain(|_, conn| conn.open != [false; 2] || conn.arrival.iter().any(|at| *at >= now));
    }
}

/// Which way something goes, and what it takes to go there.
pub(super) struct Road<'a> {
    pub(super) no: ConnNo,
    pub(super) from: Side,
    pub(super) now: Mono,
    pub(super) dice: &'a mut Dice,
    pub(super) agenda: &'a mut Agenda<Event>,
}
