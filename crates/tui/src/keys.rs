//! The keys of the main screen.

use crate::backups::Backups;
use crate::check::Check;
use crate::dialog::{Confirm, Form, FormFor, Layer, Menu, RecordDialog, Then};
use crate::field::Field;
use crate::history::History;
use crate::list;
use crate::pending::{self, Waits};
use crate::review::Subject;
use crate::state::{Pane, Purpose, State};
use crate::tree_pane::ROOT;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::{How, MetaRequest, MetaStep};

impl State {
    /// Takes a key of the main screen.
    pub(crate) fn main_key(&mut self, key: KeyEvent) {
        if self.is_filtering {
            return self.filter_key(key);
        }
        if self.pane_key(key) {
            return;
        }
        match key.code {
            KeyCode::Tab | KeyCode::BackTab => self.pane = other(self.pane),
            KeyCode::Char('q') => self.quit(),
            KeyCode::Char('?') => self.help(),
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Esc => *self.filter() = Field::default(),
            KeyCode::Char('f') => {
                let fields = vec![("Id, or part of a name or value", Field::default())];
                self.layers.push(Layer::Form(Form::new("Find", fields, FormFor::Find)));
            }
            KeyCode::Char('n') if self.may_change() => self.layers.push(Layer::Menu(Menu { at: 0 })),
            KeyCode::Char('d') | KeyCode::Delete if self.may_change() => self.delete(),
            KeyCode::Char('u') => self.undo(),
            KeyCode::Char('U') => self.undo_here(),
            KeyCode::Char('i') => self.explain(),
            KeyCode::Char('v') => {
                let check = Check::ask(false, self);
                self.layers.push(Layer::Check(check));
            }
            KeyCode::Char('c') if self.may_change() => {
                if self.pending.is_empty() {
                    self.message = "Nothing is pending.".into();
                } else {
                    self.review(Subject::Pending);
                }
            }
            KeyCode::Char('b') => {
                self.ask(Purpose::Backups, MetaRequest::Backups);
                self.layers.push(Layer::Backups(Backups::default()));
            }
            KeyCode::Char('g') => {
                History::ask(self);
                self.layers.push(Layer::History(History::default()));
            }
            KeyCode::Char('r') | KeyCode::F(5) => self.refresh(),
            KeyCode::Char('K') if self.unconfirmed.is_some() && self.may_change() => {
                let author = crate::review::author(&self.options);
                self.ask(Purpose::Confirmed, MetaRequest::Confirm { author });
            }
            KeyCode::Char('Z') if self.may_change() => {
                let Some((generation, _)) = self.unconfirmed else { return };
                let question = format!("Undo generation {generation}, which waits to be confirmed, at once?");
                let how = How { author: crate::review::author(&self.options), ..How::default() };
                let then = Then::Ask(Purpose::Commit, MetaRequest::Undo { how });
                self.layers.push(Layer::Confirm(Confirm { question, then }));
            }
            _ => {}
        }
    }

    fn filter(&mut self) -> &mut Field {
        match self.pane {
            Pane::Tree => &mut self.tree.filter,
            Pane::Records => &mut self.records.filter,
        }
    }

    fn filter_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Enter | KeyCode::Tab => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                *self.filter() = Field::default();
            }
            KeyCode::Up | KeyCode::Down => {
                self.pane_key(key);
            }
            _ => {
                self.filter().key(key);
            }
        }
        self.choose_visible();
    }

    /// Chooses something in view where the filter hides what was chosen.
    fn choose_visible(&mut self) {
        let lines = self.tree.lines(&self.pending);
        let is_visible = lines.iter().any(|line| pending::is_same(&line.path, &self.tree.chosen));
        if let (false, Some(first)) = (is_visible, lines.first()) {
            self.choose_key(&first.path);
        }
    }

    fn pane_key(&mut self, key: KeyEvent) -> bool {
        match self.pane {
            Pane::Tree => self.tree_key(key),
            Pane::Records => self.record_key(key),
        }
    }

    fn tree_key(&mut self, key: KeyEvent) -> bool {
        let lines = self.tree.lines(&self.pending);
        let at = lines.iter().position(|line| pending::is_same(&line.path, &self.tree.chosen)).unwrap_or(0);
        if let Some(to) = list::moved_by_letters(key, at, lines.len(), self.page()) {
            if let Some(line) = lines.get(to) {
                self.choose_key(&line.path);
            }
            return true;
        }
        let Some(line) = lines.get(at) else { return false };
        match (key.code, line.sign) {
            (KeyCode::Right | KeyCode::Char('l' | '+') | KeyCode::Enter, '+') => {
                let path = line.path.clone();
                self.ask_keys(&path);
            }
            (KeyCode::Left | KeyCode::Char('h' | '-') | KeyCode::Enter, '-') => self.tree.close(&line.path),
            (KeyCode::Left | KeyCode::Char('h'), _) => {
                let above = pending::parent(&line.path).unwrap_or(ROOT).to_owned();
                self.choose_key(&above);
            }
            (KeyCode::Right | KeyCode::Char('l') | KeyCode::Enter, _) => self.pane = Pane::Records,
            _ => return false,
        }
        true
    }

    fn record_key(&mut self, key: KeyEvent) -> bool {
        let lines = self.records.lines(&self.pending, &self.schema);
        let at = self.records.at(&lines);
        if let Some(to) = list::moved_by_letters(key, at, lines.len(), self.page()) {
            self.records.chosen = lines.get(to).map(|shown| shown.row.id);
            return true;
        }
        match key.code {
            KeyCode::Left | KeyCode::Char('h') => self.pane = Pane::Tree,
            KeyCode::Enter | KeyCode::Char('l') => {
                let Some(shown) = lines.get(at) else { return true };
                if shown.waits == Waits::Gone {
                    self.message = "It is to be deleted: U undoes that.".into();
                } else if shown.row.pinned.is_some() {
                    self.explain();
                } else if self.may_change() {
                    let dialog =
                        RecordDialog::edit(&shown.row, &self.tree.chosen, self.property(shown.row.id));
                    self.layers.push(Layer::Record(Box::new(dialog)));
                }
            }
            _ => return false,
        }
        true
    }

    fn delete(&mut self) {
        let path = self.tree.chosen.clone();
        let (question, step) = match self.pane {
            Pane::Tree if path == ROOT => {
                self.message = "The root stays.".into();
                return;
            }
            Pane::Tree => {
                (format!("Delete the key {path} and all that is below it?"), MetaStep::Delete { path })
            }
            Pane::Records => {
                let lines = self.records.lines(&self.pending, &self.schema);
                let Some(shown) = lines.get(self.records.at(&lines)) else { return };
                let row = &shown.row;
                if row.inherited {
                    self.message = format!("It is inherited: delete it at {}.", row.from);
                    return;
                }
                let question = format!("Delete {} {} of {path}?", row.id, row.name);
                (question, MetaStep::Unset { path, property: row.id.to_string() })
            }
        };
        self.layers.push(Layer::Confirm(Confirm { question, then: Then::Propose(step) }));
    }

    /// Says all that is known of the chosen record.
    fn explain(&mut self) {
        let lines = self.records.lines(&self.pending, &self.schema);
        if let Some(shown) = lines.get(self.records.at(&lines)) {
            let title = format!("{} {} at {}", shown.row.id, shown.row.name, self.records.path);
            let said = crate::explain::record(shown, self);
            self.say(&title, said);
        }
    }

    /// Undoes the last change that waits.
    fn undo(&mut self) {
        match self.pending.len().checked_sub(1) {
            Some(last) => self.undo_at(last),
            None => self.message = "Nothing is pending.".into(),
        }
    }

    /// Undoes the last change that waits of the chosen record, or of the chosen key itself.
    fn undo_here(&mut self) {
        let path = self.tree.chosen.clone();
        let lines = self.records.lines(&self.pending, &self.schema);
        let record = lines.get(self.records.at(&lines)).map(|shown| shown.row.id.to_string());
        let is_here = |step: &MetaStep| match (step, self.pane) {
            (MetaStep::Create { path: of } | MetaStep::Delete { path: of }, Pane::Tree) => {
                pending::is_same(of, &path)
            }
            (
                MetaStep::Set { path: of, property, .. } | MetaStep::Unset { path: of, property },
                Pane::Records,
            ) => pending::is_same(of, &path) && Some(property) == record.as_ref(),
            _ => false,
        };
        match self.pending.iter().rposition(is_here) {
            Some(at) => self.undo_at(at),
            None => self.message = "Nothing of what is chosen is pending: u undoes the last change.".into(),
        }
    }

    fn undo_at(&mut self, at: usize) {
        let step = self.pending.remove(at);
        self.message = format!("Undone: {}.", crate::explain::step(&step));
        let chosen = &self.tree.chosen;
        let is_gone = !self.tree.is_known(chosen) && !pending::is_to_be_made(&self.pending, chosen);
        if is_gone && matches!(step, MetaStep::Create { .. }) {
            let above = pending::parent(chosen).unwrap_or(ROOT).to_owned();
            self.choose_key(&above);
        }
    }
}

fn other(pane: Pane) -> Pane {
    match pane {
        Pane::Tree => Pane::Records,
        Pane::Records => Pane::Tree,
    }
}
