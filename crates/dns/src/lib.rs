//! The name resolution of mail: one lookup machine, four transport policies.
//!
//! `resolver::Resolver` is a sans-IO machine for all lookups. A question (`answer::Question`) becomes a task (`nexthop`), a task needs
//! record sets, each of which is one lookup (`lookup`) that climbs the policy's ladder (`ladder`) by flights: one query each, over
//! a pooled datagram socket or a connection (`stream`). What is known of the servers is in `health`, what they said in `cache`.

pub mod answer;
pub mod exchange;
pub mod fact;
pub mod policy;
pub mod resolver;
pub mod settings;

mod cache;
mod ending;
mod flight;
mod health;
mod ladder;
mod lookup;
mod name;
mod nexthop;
mod resolved;
mod stream;
mod task;
mod timers;
mod watch;
mod wire;
mod worth;
