//! `postroad metaedit`: MetaEdit in a terminal. The keys are on the left, the records of the chosen one on the right.
//!
//! It shows what `postroad_control` says and asks what it can ask, and knows nothing else of the service. Changes are kept
//! here as steps until they were reviewed and committed in one transaction: the tree itself is changed by nothing else.

mod answers;
mod backups;
mod check;
mod dialog;
mod draw;
mod explain;
mod field;
mod find;
mod help;
mod history;
mod keys;
mod list;
mod pending;
mod record_pane;
mod review;
mod state;
mod terminal;
mod text;
mod tree_pane;

pub use draw::draw;
pub use state::{Effect, Event, Options, Purpose, State};
pub use terminal::{Metabase, password, run, settle};
