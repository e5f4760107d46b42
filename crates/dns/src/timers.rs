//! What is to happen when: one instant for each timer, and the earliest at hand.

use crate::exchange::Transport;
use crate::resolver::ConnId;
use postroad_mail::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A timer. Those of one instant fire in this order: a lookup that runs out of time hands over what it has before its task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A datagram's reply has been waited for long enough to ask again.
    Flight(u64),
    /// A connection's progress: being made, replying, or idle.
    Conn(ConnId),
    /// A reply over TCP is slow: another way is tried beside it.
    Hedge(u64),
    /// A lookup's time is over.
    Lookup(u64),
    /// A task's time is over.
    Task(u64),
    /// A transport that is down is to be probed.
    Probe(SocketAddr, Transport),
    /// What was put off is to be released.
    Release,
}

/// The timers that run.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Mono, Timer)>,
    at: BTreeMap<Timer, Mono>,
}

impl Timers {
    /// Starts a timer, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at: Mono) {
        self.clear(timer);
        self.due.insert((at, timer));
        self.at.insert(timer, at);
    }

    /// Stops a timer, if it runs.
    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    /// Takes out a timer whose instant has come.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<Timer> {
        let (_, timer) = *self.due.first().filter(|(at, _)| *at <= now)?;
        self.clear(timer);
        Some(timer)
    }

    /// The earliest instant.
    pub(crate) fn first(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }

    /// When a timer will fire, if it runs.
    pub(crate) fn at(&self, timer: Timer) -> Option<Mono> {
        self.at.get(&timer).copied()
    }
}
