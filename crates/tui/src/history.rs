//! The past changes, newest first.

use crate::dialog::{Layer, View};
use crate::list;
use crate::review::Subject;
use crate::state::{Purpose, State};
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::HistoryRow;
use ratatui::text::Line;

/// The past changes.
#[derive(Default)]
pub(crate) struct History {
    rows: Vec<HistoryRow>,
    at: usize,
}

/// Past changes that are listed.
const HISTORY_MAX: usize = 500;

impl History {
    /// Asks for the past changes.
    pub(crate) fn ask(state: &mut State) {
        state.ask(Purpose::History, MetaRequest::Log { limit: HISTORY_MAX, generation: None });
    }

    pub(crate) fn take(&mut self, rows: Vec<HistoryRow>) {
        self.rows = rows;
        self.at = self.at.min(self.rows.len().saturating_sub(1));
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        let chosen = self.rows.get(self.at).map(|row| row.generation);
        match (key.code, chosen) {
            (KeyCode::Esc | KeyCode::Char('q'), _) => return Vec::new(),
            (KeyCode::F(5), _) => Self::ask(state),
            (KeyCode::Enter, Some(generation)) => {
                let request = MetaRequest::Log { limit: 1, generation: Some(generation) };
                state.ask(Purpose::OneChange, request);
            }
            (KeyCode::Char('b' | 'r'), Some(generation)) => {
                if !state.pending.is_empty() {
                    state.say(
                        "Changes are pending",
                        vec!["Commit or discard them first (c): a rollback would pull the ground from under them.".into()],
                    );
                } else if state.may_change() {
                    state.review(Subject::Rollback(generation));
                }
            }
            _ => {
                let to = list::moved_by_letters(key, self.at, self.rows.len(), state.page());
                self.at = to.unwrap_or(self.at);
            }
        }
        vec![Layer::History(self)]
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let line = |(index, row): (usize, &HistoryRow)| {
            let sign = if row.confirm_until.is_some() { '*' } else { ' ' };
            // Without a reason, what it changed says more than nothing.
            let first = row.differences.first().filter(|_| row.reason.is_empty());
            let why = first.map_or_else(|| row.reason.clone(), crate::explain::difference);
            let shown = format!(
                "{sign}{:>6} {} {} {:>3} diff.  {why}",
                row.generation,
                crate::explain::minute(row.at),
                text::column(&row.author, 15),
                row.differences_count,
            );
            list::row(&shown, index == self.at, columns)
        };
        let mut lines: Vec<Line<'static>> = self.rows.iter().enumerate().map(line).collect();
        if lines.is_empty() {
            lines.push(Line::from("There are no changes."));
        }
        View {
            title: "Changes, newest first".into(),
            lines,
            focus: self.at,
            hints: "Enter shows the differences, r rolls back to it, F5 refreshes, ? help, Esc".into(),
            is_full: true,
        }
    }
}
