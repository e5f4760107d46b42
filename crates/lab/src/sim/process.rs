//! The service under test: its machines, and what a shell keeps beside them. All of it is lost when it dies.

use super::net::ConnNo;
use super::world::Who;
use postroad_dns::resolver::{self, LookupId, Resolver};
use postroad_engine::delivery::{AttemptId, Job};
use postroad_engine::inbound::{DraftMemory, Inbound, InboundInput};
use postroad_engine::outbound::{Outbound, OutboundInput};
use postroad_engine::queue::{Queue, QueueInput};
use postroad_mail::hop::NextHop;
use postroad_mail::time::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The service while it lives.
pub(super) struct Process {
    pub(super) boot: u64,
    pub(super) queue: Queue,
    pub(super) queue_wake: Wake,
    pub(super) resolver: Resolver,
    pub(super) resolver_wake: Wake,
    pub(super) sessions: BTreeMap<u64, Session>,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) lookups: BTreeMap<LookupId, AttemptId>,
    pub(super) streams: BTreeMap<resolver::ConnId, Option<ConnNo>>,
    pub(super) memory: DraftMemory,
    pub(super) next_lookup: u64,
    pub(super) next_dial: u64,
    pub(super) todo: VecDeque<Todo>,
    pub(super) disk_busy: bool,
    /// The totals are known: clients may come in.
    pub(super) started: bool,
}

/// When a machine's next tick is on the agenda.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wake(Option<Mono>);

impl Wake {
    /// Whether a tick must be put down for `deadline`.
    pub(super) fn needs(&mut self, now: Mono, deadline: Option<Mono>) -> Option<Mono> {
        let deadline = deadline.map(|at| at.max(now)).filter(|at| self.0.is_none_or(|set| *at < set))?;
        self.0 = Some(deadline);
        Some(deadline)
    }

    /// A tick has come: whether it is the one that was put down last.
    pub(super) fn came(&mut self, at: Mono) -> bool {
        let is_last = self.0 == Some(at);
        if is_last {
            self.0 = None;
        }
        is_last
    }
}

/// An inbound session.
pub(super) struct Session {
    pub(super) machine: Inbound,
    pub(super) wake: Wake,
    pub(super) conn: ConnNo,
    /// What is left in the socket while the machine wants no input.
    pub(super) unread: VecDeque<Vec<u8>>,
    /// The client closed, behind what is unread.
    pub(super) ended: bool,
}

/// An attempt.
pub(super) struct Attempt {
    pub(super) machine: Outbound,
    pub(super) hop: NextHop,
    pub(super) wake: Wake,
    pub(super) job: Option<Arc<Job>>,
    pub(super) conn: Option<ConnNo>,
    /// The connection that is being made.
    pub(super) dial: u64,
    pub(super) lookup: Option<LookupId>,
    /// Under `Plant::SecondAttempt`: the queue does not know of it.
    pub(super) planted: bool,
}

/// An input for a machine, in the order in which they are taken.
pub(super) enum Todo {
    Queue(QueueInput),
    Resolver(resolver::Input),
    Session(u64, SessionInput),
    Attempt(AttemptId, AttemptInput),
}

pub(super) enum SessionInput {
    Bytes(Vec<u8>),
    Other(InboundInput<'static>),
}

pub(super) enum AttemptInput {
    Bytes(Vec<u8>),
    Other(OutboundInput<'static>),
}

impl Process {
    /// When a machine's tick is put down, and when it wants one.
    pub(super) fn clock_of(&mut self, who: Who) -> Option<(&mut Wake, Option<Mono>)> {
        Some(match who {
            Who::Queue => (&mut self.queue_wake, self.queue.deadline()),
            Who::Resolver => (&mut self.resolver_wake, self.resolver.deadline()),
            Who::Session(id) => {
                let session = self.sessions.get_mut(&id)?;
                (&mut session.wake, session.machine.deadline())
            }
            Who::Attempt(id) => {
                let attempt = self.attempts.get_mut(&id)?;
                (&mut attempt.wake, attempt.machine.deadline())
            }
        })
    }

    pub(super) fn tell_queue(&mut self, input: QueueInput) {
        self.todo.push_back(Todo::Queue(input));
    }

    pub(super) fn tell_session(&mut self, id: u64, input: InboundInput<'static>) {
        self.todo.push_back(Todo::Session(id, SessionInput::Other(input)));
    }

    pub(super) fn tell_attempt(&mut self, id: AttemptId, input: OutboundInput<'static>) {
        self.todo.push_back(Todo::Attempt(id, AttemptInput::Other(input)));
    }

    pub(super) fn tell_resolver(&mut self, input: resolver::Input) {
        self.todo.push_back(Todo::Resolver(input));
    }
}
