//! What an answer changes.

use crate::dialog::{Confirm, Layer, Say, Then};
use crate::explain;
use crate::find::Found;
use crate::history::History;
use crate::pending;
use crate::state::{Purpose, State};
use crate::tree_pane::ROOT;
use postroad_control::meta::{MetaRequest, MetaStep};
use postroad_control::meta_answer::{
    BackupRow, ChangeReport, Difference, DifferenceKind, Finding, HistoryRow, KeyRow, MetaItem, PropertyRow,
    RecordRow, RestoreReport,
};
use postroad_control::{Failed, FailedKind, TOLD_MAX};
use postroad_mail::time::Wall;

impl State {
    /// Takes the answer to a question, of which `cut` parts are not here.
    pub(crate) fn take(&mut self, purpose: Purpose, answer: Result<Vec<MetaItem>, Failed>, cut: usize) {
        if cut > 0 {
            self.message = format!("{cut} more are there and not shown: they are too many for a screen.");
        }
        match answer {
            Ok(items) => self.take_items(purpose, items, cut),
            Err(failed) => self.take_failed(&purpose, &failed),
        }
    }

    fn take_failed(&mut self, purpose: &Purpose, failed: &Failed) {
        match purpose {
            // A key that waits to be made has no records but those that wait too.
            Purpose::Records(path)
                if failed.kind == FailedKind::NotFound && pending::is_to_be_made(&self.pending, path) =>
            {
                self.records.take(path, Vec::new());
            }
            Purpose::Keys(path) | Purpose::Records(path)
                if failed.kind == FailedKind::NotFound && path != ROOT =>
            {
                self.gone(path);
            }
            Purpose::Watch => {}
            // A store without a history has no newest change.
            Purpose::Newest if failed.kind == FailedKind::NotFound => {}
            Purpose::Try(steps) => self.take_untaken(steps, failed),
            Purpose::DryRun | Purpose::Commit => {
                let review = self.layers.iter_mut().rev().find_map(Layer::as_review);
                let Some(review) = review else { return self.say_failed(failed) };
                review.failed(failed.clone());
                if *purpose == Purpose::DryRun && failed.kind == FailedKind::Refused {
                    let request = review.if_meant(&self.pending, &self.options);
                    if let Some(request) = request {
                        self.ask(Purpose::IfMeant, request);
                    }
                }
            }
            // It is over: confirmed elsewhere, or undone in its time.
            Purpose::Confirmed if failed.kind == FailedKind::NotFound => {
                self.say_failed(failed);
                self.refresh();
            }
            Purpose::IfMeant => {}
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
            | Purpose::Checked
            | Purpose::Backup(_) => {
                self.say_failed(failed);
            }
        }
    }

    /// A key went since it was shown. Where it was chosen the one above it is, with its own records.
    fn gone(&mut self, path: &str) {
        self.tree.forget(path);
        self.message = format!("{path} is gone.");
        if !pending::is_same(&self.records.path, &self.tree.chosen) {
            self.records.take(&self.tree.chosen, Vec::new());
            self.ask_records();
        }
    }

    /// Steps that the service would not take as they are. What is malformed cannot wait; for the rest the time may come.
    fn take_untaken(&mut self, steps: &[MetaStep], failed: &Failed) {
        if failed.kind == FailedKind::Refused {
            let what = failed.what.trim_end_matches('.');
            let question =
                format!("{what}.\nKeep it pending all the same, as when a later change makes it possible?");
            self.layers.push(Layer::Confirm(Confirm { question, then: Then::Wait(steps.to_vec()) }));
            return;
        }
        match self.layers.last_mut() {
            Some(layer) if layer.makes_steps() => layer.untaken(&failed.what),
            _ => self.say_failed(failed),
        }
    }

    fn take_items(&mut self, purpose: Purpose, items: Vec<MetaItem>, cut: usize) {
        match purpose {
            Purpose::Schema => self.schema = properties(items),
            Purpose::Keys(path) => self.tree.take(&path, &keys(items)),
            Purpose::Records(path) => self.records.take(&path, records(items)),
            Purpose::Newest => (self.generation, self.unconfirmed) = newest(items),
            Purpose::Watch => {
                let (generation, unconfirmed) = newest(items);
                if (generation, unconfirmed) != (self.generation, self.unconfirmed) {
                    self.message = "The metabase was changed elsewhere: this is how it is.".into();
                    self.refresh();
                }
            }
            Purpose::Try(steps) => {
                let is_there = change(items).is_some_and(|(report, _)| makes_nothing(&steps, &report));
                match self.layers.last_mut() {
                    Some(layer) if is_there => layer.untaken("There is such a key already."),
                    _ => self.wait(steps),
                }
            }
            Purpose::Checked => {
                let found = findings(items);
                if let Some(shown) = self.layers.iter_mut().rev().find_map(Layer::as_check) {
                    shown.take(found);
                }
            }
            Purpose::Found(text) => self.layers.push(Layer::Found(Found::new(text, items, cut))),
            Purpose::DryRun => self.take_review(items),
            Purpose::IfMeant => {
                if let Some(review) = self.layers.iter_mut().rev().find_map(Layer::as_review) {
                    review.can_be_meant();
                }
            }
            Purpose::Commit => self.take_commit(items),
            Purpose::Confirmed => {
                self.unconfirmed = None;
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
                    self.say(&format!("Generation {}", row.generation), explain::history(&row));
                }
            }
            Purpose::Backups => {
                let rows = backups(items);
                if let Some(shown) = self.layers.iter_mut().rev().find_map(Layer::as_backups) {
                    shown.take(rows);
                }
            }
            Purpose::Backup(done) => self.take_backup(done, &backups(items)),
        }
    }

    fn take_backup(&mut self, done: &str, rows: &[BackupRow]) {
        let mut lines = Vec::new();
        for row in rows {
            let is_verified = row.verified && row.fault.is_empty();
            if is_verified {
                self.verified.add(row);
            }
            lines.extend(explain::backup(row, done, is_verified));
        }
        self.ask(Purpose::Backups, MetaRequest::Backups);
        self.say("Backup", lines);
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
        if self.layers.iter().any(|layer| matches!(layer, Layer::Backups(_))) {
            self.ask(Purpose::Backups, MetaRequest::Backups);
        }
        if self.layers.iter().any(|layer| matches!(layer, Layer::History(_))) {
            History::ask(self);
        }
    }
}

/// Whether the steps were to make a key, and the key is there.
fn makes_nothing(steps: &[MetaStep], report: &ChangeReport) -> bool {
    let [MetaStep::Create { path }] = steps else { return false };
    let makes = |difference: &Difference| {
        difference.kind == DifferenceKind::KeyCreated && pending::is_same(&difference.path, path)
    };
    report.differences.len() < TOLD_MAX && !report.differences.iter().any(makes)
}

/// The newest change, and the one that waits to be confirmed.
fn newest(items: Vec<MetaItem>) -> (Option<u64>, Option<(u64, Wall)>) {
    let unconfirmed = items.iter().find_map(|item| match item {
        MetaItem::Pending(row) => Some((row.generation, row.until)),
        _ => None,
    });
    (histories(items).first().map(|row| row.generation), unconfirmed)
}

fn all<T>(items: Vec<MetaItem>, of: impl FnMut(MetaItem) -> Option<T>) -> Vec<T> {
    items.into_iter().filter_map(of).collect()
}

fn properties(items: Vec<MetaItem>) -> Vec<PropertyRow> {
    all(items, |item| match item {
        MetaItem::Property(row) => Some(*row),
        _ => None,
    })
}

fn keys(items: Vec<MetaItem>) -> Vec<KeyRow> {
    all(items, |item| match item {
        MetaItem::Key(row) => Some(row),
        _ => None,
    })
}

fn records(items: Vec<MetaItem>) -> Vec<RecordRow> {
    all(items, |item| match item {
        MetaItem::Record(row) => Some(*row),
        _ => None,
    })
}

fn findings(items: Vec<MetaItem>) -> Vec<Finding> {
    all(items, |item| match item {
        MetaItem::Finding(finding) => Some(*finding),
        _ => None,
    })
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
