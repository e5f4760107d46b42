//! The metabase: one live tree of keys and records (`tree`), the catalogue of what the records mean (`catalogue`), and the
//! typed settings compiled of both (`settings`).
//!
//! Texts become steps of the tree: TOML (`text`), MetaBase.xml (`xml`), an administrator's values (`values`). `checks` says
//! what is wrong with a tree, `store` keeps it with its history, `backup` makes one file of it. Only `store`'s SQLite engine
//! touches a disk, and nothing here knows a clock.

pub mod backup;
pub mod catalogue;
mod check;
pub mod checks;
pub mod compile;
mod describe;
pub mod error;
mod export;
pub mod forms;
mod hex;
pub mod ids;
pub mod ipsec;
pub mod key;
pub mod path;
mod read;
pub mod record;
mod relay;
pub mod schema;
pub mod settings;
pub mod snapshot;
pub mod store;
pub mod text;
pub mod tree;
mod typed;
pub mod values;
pub mod xml;

pub use describe::{catalogue, markdown};
