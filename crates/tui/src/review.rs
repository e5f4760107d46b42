//! The review of a change: what it would do, why it is refused, and the commit.

use crate::dialog::{Confirm, Layer, Then, View};
use crate::explain;
use crate::field::Field;
use crate::list;
use crate::state::{Options, Purpose, State};
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::Failed;
use postroad_control::meta::{How, MetaRequest, MetaStep, Secret, VersionWanted};
use postroad_control::meta_answer::{ChangeReport, RestoreReport};
use ratatui::text::Line;

/// Minutes that a change may wait to be confirmed: a day.
const MINUTES_MAX: u64 = 24 * 60;

/// Who makes a change, as the log has it.
pub(crate) fn author(options: &Options) -> String {
    format!("{} (metaedit)", options.author)
}

/// What is reviewed.
pub(crate) enum Subject {
    /// The changes that wait here.
    Pending,
    /// To make all be as it was after this change.
    Rollback(u64),
    /// A backup in the place of the tree.
    Restore { name: String, version: u32, password: Option<Secret> },
}

/// How far the review is.
enum Stage {
    /// It was asked what the change would do.
    Asked,
    /// It would do this.
    Shown(ChangeReport, Option<Box<RestoreReport>>),
    /// It is refused.
    Refused {
        failed: Failed,
        /// Whether it would be done if it was meant, as what makes an open relay.
        can_mean: bool,
    },
}

/// The part that has the keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Differences,
    Reason,
    Minutes,
}

/// A review.
pub(crate) struct Review {
    subject: Subject,
    stage: Stage,
    part: Part,
    at: usize,
    reason: Field,
    minutes: Field,
    mean_it: bool,
    /// Whether the commit was asked: it is asked once.
    is_committing: bool,
    trouble: String,
}

impl Review {
    pub(crate) fn new(subject: Subject) -> Self {
        Self {
            subject,
            stage: Stage::Asked,
            part: Part::Differences,
            at: 0,
            reason: Field::default(),
            minutes: Field::default(),
            mean_it: false,
            is_committing: false,
            trouble: String::new(),
        }
    }

    pub(crate) fn is_of_pending(&self) -> bool {
        matches!(self.subject, Subject::Pending)
    }

    pub(crate) fn takes_text(&self) -> bool {
        self.part != Part::Differences
    }

    /// The question of what the change would do, or the change itself: of what was reviewed and nothing else.
    pub(crate) fn request(&self, pending: &[MetaStep], options: &Options, dry_run: bool) -> MetaRequest {
        let reviewed = match &self.stage {
            Stage::Shown(report, _) => Some(report.generation),
            Stage::Asked | Stage::Refused { .. } => None,
        };
        let how = How {
            author: author(options),
            reason: self.reason.text().trim().to_owned(),
            dry_run,
            mean_it: self.mean_it,
            confirm_secs: self.minutes().ok().flatten().map(|minutes| minutes * 60),
            if_generation: if dry_run { None } else { reviewed },
        };
        match &self.subject {
            Subject::Pending => MetaRequest::Change { steps: pending.to_vec(), how },
            Subject::Rollback(generation) => MetaRequest::Rollback { generation: *generation, how },
            Subject::Restore { name, version, password } => MetaRequest::Restore {
                name: name.clone(),
                version: VersionWanted::This(*version),
                password: password.clone(),
                without_secrets: false,
                how,
            },
        }
    }

    fn minutes(&self) -> Result<Option<u64>, String> {
        let text = self.minutes.text();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let minutes = text.trim().parse::<u64>().ok().filter(|minutes| (1..=MINUTES_MAX).contains(minutes));
        minutes
            .map(Some)
            .ok_or_else(|| format!("Minutes to confirm in are a number from 1 to {MINUTES_MAX}."))
    }

    pub(crate) fn failed(&mut self, failed: Failed) {
        self.is_committing = false;
        self.stage = Stage::Refused { failed, can_mean: false };
        self.part = Part::Differences;
        self.at = 0;
    }

    /// The question whether what is refused would be done if it was meant; none where it was meant.
    pub(crate) fn if_meant(&self, pending: &[MetaStep], options: &Options) -> Option<MetaRequest> {
        let mut request = self.request(pending, options, true);
        match &mut request {
            MetaRequest::Change { how, .. }
            | MetaRequest::Rollback { how, .. }
            | MetaRequest::Restore { how, .. }
                if !how.mean_it =>
            {
                how.mean_it = true;
                Some(request)
            }
            _ => None,
        }
    }

    pub(crate) fn can_be_meant(&mut self) {
        if let Stage::Refused { can_mean, .. } = &mut self.stage {
            *can_mean = true;
        }
    }

    pub(crate) fn take(&mut self, report: ChangeReport, restore: Option<Box<RestoreReport>>) {
        self.stage = Stage::Shown(report, restore);
        self.at = 0;
    }

    pub(crate) fn key(mut this: Box<Self>, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        this.trouble.clear();
        match key.code {
            KeyCode::Esc => return Vec::new(),
            KeyCode::Tab | KeyCode::BackTab => {
                let is_forward = key.code == KeyCode::Tab;
                this.part = match (this.part, is_forward) {
                    (Part::Differences, true) | (Part::Minutes, false) => Part::Reason,
                    (Part::Reason, true) | (Part::Differences, false) => Part::Minutes,
                    (Part::Minutes, true) | (Part::Reason, false) => Part::Differences,
                };
            }
            KeyCode::Enter => this.commit(state),
            _ => match this.part {
                Part::Reason => {
                    this.reason.key(key);
                }
                Part::Minutes => {
                    this.minutes.key(key);
                }
                Part::Differences => return Self::list_key(this, key, state),
            },
        }
        vec![Layer::Review(this)]
    }

    fn list_key(mut this: Box<Self>, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        let can_mean = matches!(this.stage, Stage::Refused { can_mean: true, .. });
        match key.code {
            KeyCode::Char('q') => return Vec::new(),
            KeyCode::Char('x') if this.is_of_pending() => {
                let question = format!("Drop all {} pending change(s)?", state.pending.len());
                return vec![Layer::Confirm(Confirm { question, then: Then::Discard })];
            }
            KeyCode::Char('m') if can_mean => {
                this.mean_it = true;
                this.stage = Stage::Asked;
                let request = this.request(&state.pending, &state.options, true);
                state.ask(Purpose::DryRun, request);
            }
            _ => {
                let len = text::wrapped(&this.body(), state.columns()).len();
                this.at = list::moved_by_letters(key, this.at, len, state.page()).unwrap_or(this.at);
            }
        }
        vec![Layer::Review(this)]
    }

    fn commit(&mut self, state: &mut State) {
        let Stage::Shown(report, _) = &self.stage else { return };
        if self.is_committing {
            return;
        }
        if report.differences.is_empty() {
            self.trouble = "Nothing would change, so there is nothing to commit.".into();
        } else if let Err(trouble) = self.minutes() {
            self.trouble = trouble;
        } else {
            self.is_committing = true;
            let request = self.request(&state.pending, &state.options, false);
            state.ask(Purpose::Commit, request);
        }
    }

    fn body(&self) -> Vec<String> {
        match &self.stage {
            Stage::Asked => vec!["Asking what it would do...".into()],
            Stage::Refused { failed, can_mean } => {
                let mut lines = vec![String::from("It is refused:"), failed.what.clone(), String::new()];
                if *can_mean {
                    lines.push("m means it: it is dangerous, but possible.".into());
                }
                if self.is_of_pending() {
                    lines.push("Esc goes back; the pending changes are kept.".into());
                }
                lines
            }
            Stage::Shown(report, restore) => {
                let mut lines = restore.iter().flat_map(|report| report.steps.clone()).collect::<Vec<_>>();
                lines.extend(explain::change(report));
                lines
            }
        }
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let title = match &self.subject {
            Subject::Pending => "Review of the pending changes".to_owned(),
            Subject::Rollback(generation) => format!("Rollback: as it was at generation {generation}"),
            Subject::Restore { name, version, .. } => format!("Restore of {name} {version}"),
        };
        let mut lines = vec![
            self.reason.line("Reason: ", columns, self.part == Part::Reason, false),
            self.minutes.line(
                "Undo itself unless confirmed in minutes: ",
                columns.min(60),
                self.part == Part::Minutes,
                false,
            ),
        ];
        if !self.trouble.is_empty() {
            lines.extend(text::wrap(&self.trouble, columns).into_iter().map(Line::from));
        }
        lines.push(Line::from("─".repeat(columns)));
        let mut focus = match self.part {
            Part::Reason => 0,
            Part::Minutes => 1,
            Part::Differences => lines.len(),
        };
        if self.part == Part::Differences {
            focus += self.at;
        }
        lines.extend(text::wrapped(&self.body(), columns).into_iter().map(Line::from));
        let hints = match (&self.stage, self.is_of_pending()) {
            (Stage::Refused { can_mean: true, .. }, true) => "m I mean it, x discards all, Esc back",
            (Stage::Refused { can_mean: true, .. }, false) => "m I mean it, Esc back",
            (Stage::Refused { .. }, true) => "x discards all, Esc back",
            (Stage::Refused { .. }, false) => "Esc back",
            (Stage::Asked | Stage::Shown(..), true) => "Enter commits, Tab reason, x discards all, Esc back",
            (Stage::Asked | Stage::Shown(..), false) => "Enter does it, Tab reason, Esc back",
        };
        View { title, lines, focus, hints: hints.into(), is_full: true }
    }
}
