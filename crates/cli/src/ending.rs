//! How a verb ends: its exit status, and what it says on stderr.

use postroad_control::Failed;
use std::io;

/// Yes, done.
pub const DONE: u8 = 0;
/// No: a permanent verdict, a finding, a refusal, nothing that matches.
pub const NO: u8 = 1;
/// The command line, a file named on it, or the configuration is wrong.
pub const USAGE: u8 = 2;
/// No service, no store.
pub const UNAVAILABLE: u8 = 69;
/// Try later; it could not be found out.
pub const TRY_LATER: u8 = 75;

/// Why a verb ended before its answer was whole.
#[derive(Debug)]
pub enum Trouble {
    /// Something to say on stderr, and the exit status.
    Says(u8, String),
    /// The answer could not be written.
    Output(io::Error),
}

impl Trouble {
    /// Something wrong with what was typed.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Says(USAGE, what.into())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Says(failed.kind.exit_status(), failed.what)
    }
}
