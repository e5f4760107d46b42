//! The backups: listed, made, verified, restored, deleted.

use crate::dialog::{Confirm, Form, FormFor, Layer, PASSWORD, PASSWORD_AGAIN, Then, Trouble, View};
use crate::field::Field;
use crate::list;
use crate::review::Subject;
use crate::state::{Purpose, State};
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::{MetaRequest, Secret, VERSION_MAX, VersionWanted};
use postroad_control::meta_answer::BackupRow;
use postroad_mail::time::Wall;
use ratatui::text::Line;

/// Backups that were read back in this session. The list of backups knows their checksums alone.
#[derive(Default)]
pub(crate) struct Verified(Vec<(String, u32, Wall, u64)>);

/// What is said of a backup that is gone.
pub(crate) const DELETED: &str = "deleted";
/// Columns of a backup's name in the list; it may have 100.
const NAME_WIDTH_MAX: usize = 24;
/// Backups whose reading back is remembered: as many as there can be files.
const VERIFIED_MAX: usize = 10_000;

impl Verified {
    pub(crate) fn add(&mut self, row: &BackupRow) {
        if !self.has(row) && self.0.len() < VERIFIED_MAX {
            self.0.push((row.name.clone(), row.version, row.at, row.size));
        }
    }

    /// Whether just this one was read back, and not another one that has its name.
    pub(crate) fn has(&self, row: &BackupRow) -> bool {
        self.0.iter().any(|(name, version, at, size)| {
            (name, version, at, size) == (&row.name, &row.version, &row.at, &row.size)
        })
    }
}

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
                let fields = vec![
                    ("Name", Field::default()),
                    (PASSWORD, Field::default()),
                    (PASSWORD_AGAIN, Field::default()),
                    ("Version: next, highest, or 0 to 9999", Field::new("next")),
                    ("Replace one that has this name and version: yes, no", Field::new("no")),
                ];
                let form =
                    Form::new("New backup (a password makes it portable)", fields, FormFor::MakeBackup);
                return vec![Layer::Backups(self), Layer::Form(form)];
            }
            (KeyCode::Enter, Some(row)) => {
                let title = format!("Backup {} {}", row.name, row.version);
                state.say(&title, crate::explain::backup(row, "", state.verified.has(row)));
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
                let then = Then::Ask(Purpose::Backup(DELETED), request);
                return vec![Layer::Backups(self), Layer::Confirm(Confirm { question, then })];
            }
            _ => {
                let to = list::moved_by_letters(key, self.at, self.rows.len(), state.page());
                self.at = to.unwrap_or(self.at);
            }
        }
        vec![Layer::Backups(self)]
    }

    pub(crate) fn view(&self, state: &State, columns: usize) -> View {
        let widest = self.rows.iter().map(|row| text::width(&row.name)).max().unwrap_or(0);
        let widest = widest.clamp(4, NAME_WIDTH_MAX);
        let line = |(index, row): (usize, &BackupRow)| {
            // What cannot be read does not say when it was made.
            let made = if row.at == Wall(0) { text::column("", 17) } else { crate::explain::minute(row.at) };
            let shown = format!(
                " {} {:>4} {} {:>7} {}",
                text::column_middle(&row.name, widest),
                row.version,
                made,
                row.size,
                crate::explain::backup_state(row, state.verified.has(row)),
            );
            list::row(&shown, index == self.at, columns)
        };
        let mut lines = vec![Line::from(format!(
            "  {}  Ver Made                Octets State",
            text::column("Name", widest)
        ))];
        lines.extend(self.rows.iter().enumerate().map(line));
        if self.rows.is_empty() {
            lines.push(Line::from("  There are no backups: m makes one."));
        }
        View {
            title: "Backups".into(),
            lines,
            focus: self.at + 1,
            hints: "m makes, v verifies, r restores, d deletes, Enter says more, ? help, Esc".into(),
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

/// Makes a backup as the form of `m` has it: name, password twice, version, whether to replace.
pub(crate) fn make(fields: &[String], state: &mut State) -> Result<(), Trouble> {
    let [name, password, again, version, replace] = fields else { return Ok(()) };
    let trouble = |field, what: String| Err(Trouble { field, what });
    if name.trim().is_empty() {
        return trouble(0, "Type a name: up to 100 letters and digits.".into());
    }
    if password != again {
        let what = if again.is_empty() { "Type the password again." } else { "The passwords differ." };
        return trouble(2, what.into());
    }
    let version = match version.trim().to_ascii_lowercase().as_str() {
        "next" | "" => VersionWanted::Next,
        "highest" => VersionWanted::Highest,
        number => match number.parse() {
            Ok(number) if number <= VERSION_MAX => VersionWanted::This(number),
            _ => {
                return trouble(
                    3,
                    format!("The version is next, highest, or a number from 0 to {VERSION_MAX}."),
                );
            }
        },
    };
    let overwrite = match replace.trim().to_ascii_lowercase().as_str() {
        "yes" | "y" => true,
        "no" | "n" | "" => false,
        _ => return trouble(4, "Type yes or no.".into()),
    };
    let request =
        MetaRequest::Backup { name: name.trim().into(), version, overwrite, password: secret(password) };
    state.ask(Purpose::Backup("made"), request);
    Ok(())
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
