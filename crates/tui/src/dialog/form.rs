//! A dialog of some lines that are typed.

use super::{Layer, View};
use crate::backups;
use crate::field::Field;
use crate::pending;
use crate::state::{Purpose, State};
use crate::text;
use crate::tree_pane::ROOT;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::{MetaRequest, MetaStep};
use postroad_control::meta_answer::BackupRow;
use ratatui::text::Line;

/// What the lines are for.
pub(crate) enum FormFor {
    /// A text to find.
    Find,
    /// The name of a key to make.
    Key {
        /// The key that it will be below.
        above: String,
    },
    /// Name and password of a backup to make.
    MakeBackup,
    /// The password of a backup that is to be verified.
    Verify(BackupRow),
    /// The password of a backup that is to be restored.
    Restore(BackupRow),
}

/// What Enter did.
enum Done {
    Closes,
    Waits,
}

/// Some lines that are typed.
pub(crate) struct Form {
    title: String,
    fields: Vec<(&'static str, Field)>,
    at: usize,
    what: FormFor,
    pub(super) trouble: String,
}

/// What is wrong with which field.
pub(crate) struct Trouble {
    pub(crate) field: usize,
    pub(crate) what: String,
}

impl From<&str> for Trouble {
    fn from(what: &str) -> Self {
        Self { field: 0, what: what.into() }
    }
}

/// What the labels of secret fields are: their text is shown as dots.
pub(crate) const PASSWORD: &str = "Password";
pub(crate) const PASSWORD_AGAIN: &str = "Password again";

impl Form {
    pub(crate) fn new(title: &str, fields: Vec<(&'static str, Field)>, what: FormFor) -> Self {
        Self { title: title.into(), fields, at: 0, what, trouble: String::new() }
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        let last = self.fields.len().saturating_sub(1);
        self.trouble.clear();
        match key.code {
            KeyCode::Esc => return Vec::new(),
            KeyCode::Tab | KeyCode::Down => self.at = if self.at >= last { 0 } else { self.at + 1 },
            KeyCode::BackTab | KeyCode::Up => self.at = if self.at == 0 { last } else { self.at - 1 },
            KeyCode::Enter => match self.done(state) {
                Ok(Done::Closes) => return Vec::new(),
                Ok(Done::Waits) => {}
                Err(trouble) => {
                    self.trouble = trouble.what;
                    self.at = trouble.field.min(last);
                }
            },
            _ => {
                if let Some((_, field)) = self.fields.get_mut(self.at) {
                    field.key(key);
                }
            }
        }
        vec![Layer::Form(self)]
    }

    fn text(&self, at: usize) -> String {
        self.fields.get(at).map(|(_, field)| field.text()).unwrap_or_default()
    }

    /// Whether it makes a key: it stays until the service has said whether it would take it.
    pub(crate) fn makes_key(&self) -> bool {
        matches!(self.what, FormFor::Key { .. })
    }

    fn done(&self, state: &mut State) -> Result<Done, Trouble> {
        match &self.what {
            FormFor::Find => {
                let text = self.text(0).trim().to_owned();
                if text.is_empty() {
                    return Err("Type what is to be found.".into());
                }
                let request = MetaRequest::Find { path: ROOT.into(), text: text.clone() };
                state.ask(Purpose::Found(text), request);
            }
            FormFor::Key { above } => {
                let name = self.text(0).trim().trim_matches('/').to_owned();
                if name.is_empty() {
                    return Err("Type a name.".into());
                }
                let path = pending::child(above, &name);
                if state.tree.is_known(&path) || pending::is_to_be_made(&state.pending, &path) {
                    return Err("There is such a key already.".into());
                }
                state.propose(vec![MetaStep::Create { path }]);
                return Ok(Done::Waits);
            }
            FormFor::MakeBackup => {
                let fields: Vec<String> = self.fields.iter().map(|(_, field)| field.text()).collect();
                backups::make(&fields, state)?;
            }
            FormFor::Verify(row) => backups::verify(row, &self.text(0), state),
            FormFor::Restore(row) => backups::restore(row, &self.text(0), state),
        }
        Ok(Done::Closes)
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let mut lines = Vec::new();
        for (index, (label, field)) in self.fields.iter().enumerate() {
            lines.push(Line::from(format!("{label}:")));
            let is_secret = matches!(*label, PASSWORD | PASSWORD_AGAIN);
            lines.push(field.line("", columns, index == self.at, is_secret));
        }
        lines.extend(text::wrap(&self.trouble, columns).into_iter().map(Line::from));
        let hints = if self.fields.len() > 1 {
            "Enter is OK, Tab next, Esc closes"
        } else {
            "Enter is OK, Esc closes"
        };
        let hints = hints.into();
        View { title: self.title.clone(), lines, focus: self.at * 2 + 1, hints, is_full: false }
    }
}
