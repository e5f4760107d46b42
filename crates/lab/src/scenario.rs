//! Scenarios: a case played in one process, on loopback with real sockets, told as a story while it happens.

mod kb330070;
mod nameserver;
mod peers;

use std::io::{self, Write};

/// A scenario's name and what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// As it is named on the command line.
    pub name: &'static str,
    /// In a sentence.
    pub about: &'static str,
}

/// Why a scenario did not end as told.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// There is none of that name.
    #[error("there is no scenario {0:?}. `postroad lab --list` shows those that there are")]
    Unknown(String),
    /// A step did not happen as it is told.
    #[error("the story did not go as told: {0}")]
    Broken(String),
    /// The machine did not let us play: no port, no folder.
    #[error("the scenario could not be played: {0}")]
    Stage(String),
    /// The story could not be written.
    #[error("the story could not be written: {0}")]
    Write(#[from] io::Error),
}

/// All scenarios.
#[must_use]
pub fn list() -> &'static [Scenario] {
    &[Scenario {
        name: "kb330070",
        about: "An MX set outgrows a UDP datagram, and the DNS server answers no TCP: the case of Microsoft KB 330070",
    }]
}

/// Plays a scenario and tells it on `out`.
///
/// # Errors
/// When a step does not happen as told; the story ends there.
pub fn run(name: &str, out: &mut dyn Write) -> Result<(), ScenarioError> {
    match name {
        "kb330070" => kb330070::play(out),
        unknown => Err(ScenarioError::Unknown(unknown.to_owned())),
    }
}
