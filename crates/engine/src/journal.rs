//! What was tried, step by step: the bodies of journal entries, which `explain` tells.

use postroad_dns::answer::{Answer, Provenance, Verdict};
use postroad_dns::exchange::Exchange;
use postroad_spool::record::JOURNAL_BODY_MAX;
use serde::{Deserialize, Serialize};

/// A journal entry's body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// The recipients were delivered.
    Delivered {
        /// The recipients.
        to: Vec<String>,
        /// How.
        tried: Tried,
        /// What the host said.
        reply: String,
    },
    /// The recipients wait.
    Deferred {
        /// The recipients.
        to: Vec<String>,
        /// How.
        tried: Tried,
        /// In words.
        cause: String,
    },
    /// The recipients failed for good.
    Failed {
        /// The recipients.
        to: Vec<String>,
        /// How.
        tried: Tried,
        /// In words, the enhanced status first.
        cause: String,
        /// What was done about it.
        fate: String,
    },
    /// A name was resolved into this plan, to which later entries refer by its serial.
    Plan {
        /// Its serial.
        plan: u64,
        /// The verdict, in words.
        verdict: String,
        /// Complete, partial, stale.
        provenance: Provenance,
        /// No query was needed: it was known.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cached: bool,
        /// The exchanges; of a plan that was known, the first few.
        trail: Vec<Exchange>,
    },
    /// The hop could not be used.
    HopFailed {
        /// In words.
        cause: String,
        /// How.
        tried: Tried,
        /// When it is tried again, milliseconds since the epoch.
        until: i64,
    },
    /// The hop can be used again.
    HopRecovered,
    /// An administrator made it due at once.
    Retried,
    /// The recipients wait at another hop, because the route was changed; the entry is that hop's.
    Rerouted {
        /// The recipients.
        to: Vec<String>,
        /// The hop at which they waited.
        from: String,
    },
    /// An administrator deleted it.
    Deleted,
}

/// A verdict in words.
#[must_use]
pub fn verdict_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Hosts(hosts) => {
            let names: Vec<String> =
                hosts.iter().map(|host| format!("{} {}", host.preference, host.name)).collect();
            let shown = names.iter().take(HOSTS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
            match names.len().saturating_sub(HOSTS_SHOWN) {
                0 => format!("hosts {shown}"),
                more => format!("hosts {shown} and {more} more"),
            }
        }
        Verdict::NoSuchDomain => String::from("no such domain"),
        Verdict::NoMailService => String::from("no mail service (null MX)"),
        Verdict::NoHost => String::from("no host"),
        Verdict::LoopsBack => String::from("loops back to ourselves"),
        Verdict::Records => String::from("records"),
        Verdict::NoRecords => String::from("no records of that type"),
        Verdict::Unresolved(cause) => format!("unresolved: {}", cause.text),
    }
}

/// Hosts of a verdict that are named.
const HOSTS_SHOWN: usize = 10;

/// How something was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The host that answered last, as `mx1.example.org [192.0.2.1]:25`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Protocol and cipher, if TLS was up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// The plan's serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    /// Hosts that were tried before without success, each with what happened. At most `STEPS_MAX`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// DNS exchanges of a plan that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Exchange>,
    /// The metabase's generation that the attempt was under. Its name is short: an entry is written for each message.
    #[serde(default, rename = "gen", skip_serializing_if = "is_zero")]
    pub generation: u64,
}

fn is_zero(generation: &u64) -> bool {
    *generation == 0
}

/// Steps kept of one attempt; hosts behind them are tried but not told.
pub const STEPS_MAX: usize = 24;

impl Entry {
    /// The plan that an answer is.
    #[must_use]
    pub fn plan(answer: &Answer) -> Self {
        // What was asked for a plan from the cache is in the entry of the plan that put it there; only the question itself is
        // told again, so that a domain that gets a message now and then does not fill the journal.
        const TOLD_AGAIN: usize = 3;
        let mut trail = answer.trail.clone();
        if answer.from_cache {
            trail.retain(|exchange| !exchange.is_for_address());
            trail.truncate(TOLD_AGAIN);
        }
        Self::Plan {
            plan: answer.serial,
            verdict: verdict_words(&answer.verdict),
            provenance: answer.provenance,
            cached: answer.from_cache,
            trail,
        }
    }

    /// As the store keeps it. A body over the store's bound loses its trail first, then its steps.
    #[must_use]
    pub fn body(mut self) -> String {
        loop {
            let text =
                serde_json::to_string(&self).unwrap_or_else(|_| String::from("{\"what\":\"retried\"}"));
            if text.len() <= JOURNAL_BODY_MAX || !self.shorten() {
                return text;
            }
        }
    }

    /// Halves what is longest; false when there is nothing left to give.
    fn shorten(&mut self) -> bool {
        if let Self::Delivered { to, .. }
        | Self::Deferred { to, .. }
        | Self::Failed { to, .. }
        | Self::Rerouted { to, .. } = self
            && to.len() > STEPS_MAX
        {
            let named = to.len();
            to.truncate(named / 2);
            return true;
        }
        let trail = match self {
            Self::Plan { trail, .. } => trail,
            Self::Delivered { tried, .. }
            | Self::Deferred { tried, .. }
            | Self::Failed { tried, .. }
            | Self::HopFailed { tried, .. } => {
                if tried.trail.is_empty() {
                    let steps = tried.steps.len();
                    tried.steps.truncate(steps / 2);
                    return steps > 0;
                }
                &mut tried.trail
            }
            Self::HopRecovered | Self::Retried | Self::Rerouted { .. } | Self::Deleted => return false,
        };
        let exchanges = trail.len();
        trail.truncate(exchanges / 2);
        exchanges > 0
    }
}
