//! What an answer changes.

use crate::dialog::{Layer, Say};
use crate::explain;
use crate::find::Found;
use crate::pending;
use crate::state::{Purpose, State};
use crate::tree_pane::ROOT;
use postroad_control::meta::{BackupRow, ChangeReport, HistoryRow, MetaItem, MetaRequest, RestoreReport};
use postroad_control::{Failed, FailedKind};

impl State {
    /// Takes the answer to a question.
    pub(crate) fn take(&mut self, purpose: Purpose, answer: Result<Vec<MetaItem>, Failed>) {
        match answer {
            Ok(items) => self.take_items(purpose, items),
            Err(failed) => self.take_failed(&purpose, &failed),
        }
    }

    fn take_failed(&mut self, purpose: &Purpose, failed: &Failed) {
        match purpose {
            // A key went since it was shown.
            Purpose::Keys(path) if failed.kind == FailedKind::NotFound && path != ROOT => {
                self.tree.forget(path);
                self.message = format!("{path} is gone.");
            }
            // A key that waits to be made has no records but those that wait too.
            Purpose::Records(path)
                if failed.kind == FailedKind::NotFound && pending::is_to_be_made(&self.pending, path) =>
            {
                self.records.take(path, Vec::new());
            }
            Purpose::Records(path) if failed.kind == FailedKind::NotFound && path != ROOT => {
                self.tree.forget(path);
                self.message = format!("{path} is gone.");
                self.records.take(path, Vec::new());
                self.ask_records();
            }
            // A store without a history has no newest change.
            Purpose::Newest if failed.kind == FailedKind::NotFound => {}
            Purpose::DryRun | Purpose::Commit => {
                let review = self.layers.iter_mut().rev().find_map(Layer::as_review);
                match review {
                    Some(review) => review.failed(failed.clone()),
                    None => self.say_failed(failed),
                }
            }
            Purpose::Records(path) => {
                self.records.take(path, Vec::new());
                self.say_failed(failed);
            }
            Purpose::Schema
            | Purpose::Keys(_)
            | Purpose::Newest
            | Purpose::Found(_)
            | Purpose::Confirmed
            | Purpose::History
            | Purpose::OneChange
            | Purpose::Backups
            | Purpose::Backup(_) => {
                self.say_failed(failed);
            }
        }
    }

    fn take_items(&mut self, purpose: Purpose, items: Vec<MetaItem>) {
        match purpose {
            Purpose::Schema => {
                self.schema = all(items, |item| match item {
                    MetaItem::Property(row) => Some(*row),
                    _ => None,
                })
            }
            Purpose::Keys(path) => {
                let rows = all(items, |item| match item {
                    MetaItem::Key(row) => Some(row),
                    _ => None,
                });
                self.tree.take(&path, &rows);
            }
            Purpose::Records(path) => {
                let rows = all(items, |item| match item {
                    MetaItem::Record(row) => Some(*row),
                    _ => None,
                });
                self.records.take(&path, rows);
            }
            Purpose::Newest => {
                let newest = histories(items).into_iter().next();
                self.generation = newest.as_ref().map(|row| row.generation);
                self.confirm_until = newest.and_then(|row| row.confirm_until);
            }
            Purpose::Found(text) => self.layers.push(Layer::Found(Found::new(text, items))),
            Purpose::DryRun => self.take_review(items),
            Purpose::Commit => self.take_commit(items),
            Purpose::Confirmed => {
                self.confirm_until = None;
                self.message = "The change stays.".into();
                self.refresh();
            }
            Purpose::History => {
                let rows = histories(items);
                if let Some(history) = self.layers.iter_mut().rev().find_map(Layer::as_history) {
                    history.take(rows);
                }
            }
            Purpose::OneChange => {
                if let Some(row) = histories(items).into_iter().next() {
                    self.say(&format!("Change {}", row.generation), explain::history(&row));
                }
            }
            Purpose::Backups => {
                let rows = backups(items);
                if let Some(shown) = self.layers.iter_mut().rev().find_map(Layer::as_backups) {
                    shown.take(rows);
                }
            }
            Purpose::Backup(done) => {
                let lines = backups(items).iter().flat_map(|row| explain::backup(row, done)).collect();
                self.ask(Purpose::Backups, MetaRequest::Backups);
                self.say("Backup", lines);
            }
        }
    }

    fn take_review(&mut self, items: Vec<MetaItem>) {
        let Some((change, restore)) = change(items) else { return };
        if let Some(review) = self.layers.iter_mut().rev().find_map(Layer::as_review) {
            review.take(change, restore);
        }
    }

    fn take_commit(&mut self, items: Vec<MetaItem>) {
        let Some((change, restore)) = change(items) else { return };
        let place = self.layers.iter().rposition(|layer| matches!(layer, Layer::Review(_)));
        let was_pending = match place.map(|place| self.layers.remove(place)) {
            Some(Layer::Review(review)) => review.is_of_pending(),
            _ => false,
        };
        let is_rolled_back = restore.as_ref().is_some_and(|report| !report.rolled_back.is_empty());
        if was_pending && change.applied {
            self.pending.clear();
        }
        let title = match (is_rolled_back, change.applied) {
            (true, _) => "Rolled back",
            (false, true) => "Committed",
            (false, false) => "Nothing changed",
        };
        self.layers.push(Layer::Say(Say::new(title, explain::committed(&change, restore.as_deref()))));
        self.refresh();
        if self.layers.iter_mut().any(|layer| layer.as_backups().is_some()) {
            self.ask(Purpose::Backups, MetaRequest::Backups);
        }
        if self.layers.iter_mut().any(|layer| layer.as_history().is_some()) {
            self.ask(
                Purpose::History,
                MetaRequest::Log { limit: crate::keys::HISTORY_MAX, generation: None },
            );
        }
    }
}

fn all<T>(items: Vec<MetaItem>, of: impl FnMut(MetaItem) -> Option<T>) -> Vec<T> {
    items.into_iter().filter_map(of).collect()
}

fn histories(items: Vec<MetaItem>) -> Vec<HistoryRow> {
    all(items, |item| match item {
        MetaItem::History(row) => Some(*row),
        _ => None,
    })
}

fn backups(items: Vec<MetaItem>) -> Vec<BackupRow> {
    all(items, |item| match item {
        MetaItem::Backup(row) => Some(*row),
        _ => None,
    })
}

fn change(items: Vec<MetaItem>) -> Option<(ChangeReport, Option<Box<RestoreReport>>)> {
    items.into_iter().find_map(|item| match item {
        MetaItem::Change(report) => Some((*report, None)),
        MetaItem::Restore(report) => Some((report.change.clone(), Some(report))),
        _ => None,
    })
}
