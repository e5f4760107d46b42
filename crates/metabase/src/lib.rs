//! Settings: the catalogue of properties, the reader of TOML texts, the compiled typed settings.
//!
//! A text becomes records (a key's path, a property, a value, a place), each checked against the catalogue; the records are
//! applied over the fresh-install values from `/LM/SmtpSvc` downwards, which is how inheritance is resolved. Nothing here
//! reads a file or knows a clock.

mod catalogue;
mod check;
mod describe;
pub mod error;
mod forms;
pub mod key;
mod read;
pub mod schema;
pub mod settings;

pub use describe::{catalogue, markdown};
