//! The backups: listed, made, verified, restored, deleted.

use crate::dialog::{Confirm, Form, FormFor, Layer, PASSWORD, Then, View};
use crate::field::Field;
use crate::list;
use crate::review::Subject;
use crate::state::{Purpose, State};
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::{BackupRow, MetaRequest, Secret, VersionWanted};
use ratatui::style::Modifier;
use ratatui::text::Line;

/// The backups.
#[derive(Default)]
pub(crate) struct Backups {
    rows: Vec<BackupRow>,
    at: usize,
}

impl Backups {
    pub(crate) fn take(&mut self, rows: Vec<BackupRow>) {
        self.rows = rows;
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        let chosen = self.rows.get(self.at);
        match (key.code, chosen) {
            (KeyCode::Esc | KeyCode::Char('q'), _) => return Vec::new(),
            (KeyCode::F(5), _) => state.ask(Purpose::Backups, MetaRequest::Backups),
            (KeyCode::Char('m'), _) if state.may_change() => {
                let fields = vec![("Name", Field::default()), (PASSWORD, Field::default())];
                let form =
                    Form::new("New backup (a password makes it portable)", fields, FormFor::MakeBackup);
                return vec![Layer::Backups(self), Layer::Form(form)];
            }
            (KeyCode::Char('v'), Some(row)) if row.password => {
                let form = password_form(row, FormFor::Verify(row.clone()));
                return vec![Layer::Backups(self), form];
            }
            (KeyCode::Char('v'), Some(row)) => verify(row, "", state),
            (KeyCode::Char('r'), Some(row)) if state.may_change() => {
                if !state.pending.is_empty() {
                    let lines =
                        vec!["Commit or discard them first (c): a restore puts another tree here.".into()];
                    state.say("Changes are pending", lines);
                } else if row.password {
                    let form = password_form(row, FormFor::Restore(row.clone()));
                    return vec![Layer::Backups(self), form];
                } else {
                    restore(row, "", state);
                }
            }
            (KeyCode::Char('d') | KeyCode::Delete, Some(row)) if state.may_change() => {
                let question = format!("Delete the backup {} {}?", row.name, row.version);
                let version = VersionWanted::This(row.version);
                let request = MetaRequest::DeleteBackup { name: row.name.clone(), version };
                let then = Then::Ask(Purpose::Backup("deleted"), request);
                return vec![Layer::Backups(self), Layer::Confirm(Confirm { question, then })];
            }
            _ => {
                let to = list::moved_by_letters(key, self.at, self.rows.len(), state.page());
                self.at = to.unwrap_or(self.at);
            }
        }
        vec![Layer::Backups(self)]
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let line = |(index, row): (usize, &BackupRow)| {
            let sign = if index == self.at { '>' } else { ' ' };
            let shown = format!(
                "{sign} {} {:>4} {} {:>8} {}",
                text::column(&row.name, 18),
                row.version,
                crate::explain::minute(row.at),
                row.size,
                crate::explain::backup_state(row),
            );
            let line = Line::from(text::shorten(&shown, columns));
            if index == self.at { line.patch_style(Modifier::REVERSED) } else { line }
        };
        let mut lines = vec![Line::from("  Name                Ver Made                 Octets State")];
        lines.extend(self.rows.iter().enumerate().map(line));
        if self.rows.is_empty() {
            lines.push(Line::from("  There are no backups: m makes one."));
        }
        View {
            title: "Backups".into(),
            lines,
            focus: self.at + 1,
            hints: "m makes, v verifies, r restores, d deletes, ? help, Esc closes".into(),
            is_full: true,
        }
    }
}

fn password_form(row: &BackupRow, what: FormFor) -> Layer {
    let title = format!("Password of {} {}", row.name, row.version);
    Layer::Form(Form::new(&title, vec![(PASSWORD, Field::default())], what))
}

fn secret(password: &str) -> Option<Secret> {
    if password.is_empty() { None } else { Some(Secret(password.into())) }
}

/// Makes a backup, one version above the highest of its name.
pub(crate) fn make(name: String, password: String, state: &mut State) {
    let request = MetaRequest::Backup {
        name,
        version: VersionWanted::Next,
        overwrite: false,
        password: secret(&password),
    };
    state.ask(Purpose::Backup("made"), request);
}

/// Reads a backup back.
pub(crate) fn verify(row: &BackupRow, password: &str, state: &mut State) {
    let request = MetaRequest::Verify {
        name: row.name.clone(),
        version: VersionWanted::This(row.version),
        password: secret(password),
    };
    state.ask(Purpose::Backup("verified"), request);
}

/// Shows what a restore would do.
pub(crate) fn restore(row: &BackupRow, password: &str, state: &mut State) {
    let (name, version) = (row.name.clone(), row.version);
    state.review(Subject::Restore { name, version, password: secret(password) });
}
