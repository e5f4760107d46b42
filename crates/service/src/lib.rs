//! The shell: sockets, disk and tasks around the machines. It moves bytes, keeps time, talks to disk, and decides nothing.
//!
//! One thread runs everything on a current-thread runtime with local tasks; the store and stderr each have a thread of their own.

mod answers;
pub mod ask;
mod attempt;
mod backups;
mod clock;
mod configuration;
mod control;
mod data;
mod folders;
mod hub;
mod listen;
mod live;
pub mod lookup;
mod metabase;
mod report;
mod resolver;
mod run;
mod session;
mod stderr;
mod store;
mod stream;
mod tls;

pub use report::LogForm;
pub use run::{ServeError, ServeOptions, run, run_until};
