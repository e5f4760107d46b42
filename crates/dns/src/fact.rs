//! Facts for the administrator: the shell makes events of them.

use crate::exchange::Transport;
use crate::policy::Policy;
use postroad_mail::domain::Domain;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// A change of state, or a decision, that an administrator should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// A transport of a server was found down (event 2012). Told again, with `mail_waits`, when a lookup for mail first ends unresolved
    /// because of it.
    TransportDown {
        /// The server.
        server: SocketAddr,
        /// Its transport.
        transport: Transport,
        /// What was seen.
        cause: String,
        /// Mail waits for it; else there was another way.
        mail_waits: bool,
    },
    /// It works again (event 12012).
    TransportUp {
        /// The server.
        server: SocketAddr,
        /// Its transport.
        transport: Transport,
    },
    /// No server can be reached by any transport that the policy allows (event 2013).
    NoServer {
        /// The policy.
        policy: Policy,
        /// What was seen.
        cause: String,
    },
    /// Under every policy for which `NoServer` was told, some server can be reached again (event 12013).
    SomeServer,
    /// Part of a truncated answer was used (event 20001).
    Partial {
        /// The name asked for.
        domain: Domain,
        /// The server of the last part.
        server: SocketAddr,
        /// Records in the union.
        records: u32,
    },
    /// Under udp-only: truncated, and no record in what arrived can be used (event 20002).
    TruncatedUnusable {
        /// The name asked for.
        domain: Domain,
        /// The server.
        server: SocketAddr,
    },
    /// An expired answer was used because no fresh one could be had (event 20003).
    StaleUsed {
        /// The name asked for.
        domain: Domain,
        /// How long ago it expired.
        expired: Duration,
    },
}
