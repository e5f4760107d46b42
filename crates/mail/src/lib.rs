//! The nouns of mail, which every other crate speaks.
//!
//! Values here are parsed once, at the edge, into types that cannot be wrong; nothing here does IO or knows a clock.

pub mod address;
pub mod domain;
pub mod dsn;
pub mod envelope;
pub mod header;
pub mod hop;
pub mod id;
mod mailbox_list;
pub mod reply;
pub mod time;
