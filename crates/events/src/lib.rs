//! Events: numbered facts for the administrator.
//!
//! A part of the service states a `Fact`; `Repeats` turns it into an `Event` at once, or counts it where it is already
//! known; `EventLog` keeps events in a file apart from the mail's. Nothing here is ever read back for a decision.

pub mod catalogue;
mod describe;
pub mod event;
pub mod fact;
pub mod log;
pub mod repeats;

pub use describe::markdown;
