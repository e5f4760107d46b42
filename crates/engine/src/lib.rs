//! What decides: `Inbound` (a session), `Queue` (what waits, and when it is tried), `Outbound` (one connection's worth of
//! delivery). No clock, socket, file or runtime: a shell moves bytes, keeps time, talks to disk, and decides nothing.

pub mod delivery;
pub mod inbound;
pub mod journal;
pub mod outbound;
pub mod queue;
pub mod route;
pub mod schedule;

mod returns;
