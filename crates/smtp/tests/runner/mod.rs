//! Reads dialogs and plays them to a machine.

pub mod client;
pub mod script;
pub mod server;
