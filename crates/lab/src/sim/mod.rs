//! The simulator: the machines of the service on a virtual clock, network and disk that lose, delay, tear and lie by seed.
//!
//! A seed draws a world: zones, name servers, mail hosts, clients with messages, settings. For some hours everything fails
//! now and then; the service dies and is started again. Then the world is healed, and runs on until every message is
//! settled. What was promised is checked all along, and at the end. The world is a *shell*: it moves what the machines say,
//! and decides nothing. The same seed runs the same way, to the last line of its trace.

mod agenda;
mod cast;
mod client;
mod dice;
mod disk;
mod host;
mod inward;
mod ledger;
mod lookups;
mod names;
mod net;
mod outward;
mod process;
mod storage;
mod trace;
mod weather;
mod world;
mod zones;

use std::fmt;

/// How a seed is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A fault of the shell that the promises must find.
    pub plant: Plant,
    /// Keep every line of the trace, not the last ones alone.
    pub whole_trace: bool,
}

/// A fault planted in the shell, to prove that the checks can find one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plant {
    /// None: what is found is real.
    #[default]
    None,
    /// The queue hears `Committed` before the store has applied the batch.
    AckBeforeCommit,
    /// An attempt hears 250 when the final dot is sent, whatever the host says.
    SettleBeforeReply,
    /// An unresolved next hop passes for a domain that does not exist.
    ReturnOnServfail,
    /// Attempts are opened twice.
    SecondAttempt,
    /// Attempts do not learn that TLS is demanded.
    TlsDropped,
    /// The queue of a service that runs does not learn that the route was changed.
    RouteKept,
}

impl Plant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::AckBeforeCommit,
        Self::SettleBeforeReply,
        Self::ReturnOnServfail,
        Self::SecondAttempt,
        Self::TlsDropped,
        Self::RouteKept,
    ];
}

/// What must hold, whatever fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// A message whose client saw 250 is delivered, returned, in Badmail, or kept.
    NothingLost,
    /// Content arrives octet for octet, behind one trace field.
    SameContent,
    /// Mail goes to a host of its domain, and to the recipients it is for.
    RightPlace,
    /// A client that was refused finds nothing delivered, unless the store kept what it said it had not.
    Refused,
    /// A copy more only after a crash, or a reply that was lost.
    Once,
    /// Nothing is given up without a permanent verdict.
    PermanentOnly,
    /// With TLS demanded no content goes out in clear.
    TlsDemand,
    /// No recipient is in two attempts.
    OneAttempt,
    /// Connections and events stay within their bounds.
    Bounds,
    /// When the world is healed, everything is settled in time, and nothing is left over.
    Progress,
}

/// A promise that was broken, and how.
#[derive(Debug)]
struct Broken(Promise, String);

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Messages whose clients saw 250.
    pub accepted: usize,
    /// Recipients delivered.
    pub delivered: usize,
    /// Recipients of which the sender was told.
    pub returned: usize,
    /// Recipients in the Badmail folder.
    pub badmail: usize,
    /// Copies beyond the first of a recipient, each with its excuse.
    pub copies_excused: u64,
    /// Recipients' moves to another hop that were written, as often as they were.
    pub rerouted: u64,
    /// Times that the service died.
    pub crashes: u64,
    /// Times that the store failed.
    pub store_failures: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, seconds.
    pub seconds: u64,
    /// Of the whole trace.
    pub trace_hash: u64,
    /// The whole trace, or its last lines.
    pub trace: Vec<String>,
}

/// A promise that a seed breaks.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// What was promised.
    pub promise: Promise,
    /// How it was broken.
    pub what: String,
    /// The whole trace, or its last lines.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "seed {} breaks {:?}: {}", self.seed, self.promise, self.what)
    }
}

/// Runs one seed to its end.
///
/// # Errors
/// The first promise that is broken.
pub fn run_seed(seed: u64, options: &Options) -> Result<Summary, Box<Violation>> {
    world::World::new(seed, *options).run()
}
