//! The other shell: virtual clock, network and disk; scenarios.

pub mod scenario;
pub mod sim;
