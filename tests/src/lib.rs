//! The harness: real servers and clients on loopback, on free ports, ended by the test that started them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "only tests use this: a panic is how a test fails, and stderr is where it says why"
)]

pub mod client;
pub mod dig;
pub mod disk;
pub mod folder;
pub mod load;
pub mod nameserver;
pub mod ports;
pub mod postroad;
pub mod proc;
pub mod sink;
pub mod trace;
pub mod udp_relay;
pub mod wait;
pub mod world;
