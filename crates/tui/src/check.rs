//! What is wrong with the tree, and what would repair it.

use crate::dialog::{Layer, View};
use crate::explain;
use crate::list;
use crate::state::{Purpose, State};
use crate::tree_pane::ROOT;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::Finding;
use ratatui::text::Line;

/// The findings.
pub(crate) struct Check {
    /// Nothing until the answer is there.
    found: Option<Vec<Finding>>,
    at: usize,
    /// Whether the hosts that values name are looked up too.
    is_online: bool,
}

impl Check {
    /// Asks what is wrong.
    pub(crate) fn ask(is_online: bool, state: &mut State) -> Self {
        let request = MetaRequest::Check { path: ROOT.into(), online: is_online };
        state.ask(Purpose::Checked, request);
        Self { found: None, at: 0, is_online }
    }

    pub(crate) fn take(&mut self, found: Vec<Finding>) {
        self.found = Some(found);
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        let found = self.found.as_deref().unwrap_or_default();
        match (key.code, found.get(self.at)) {
            (KeyCode::Esc | KeyCode::Char('q'), _) => return Vec::new(),
            (KeyCode::F(5), _) => return vec![Layer::Check(Self::ask(self.is_online, state))],
            (KeyCode::Char('o'), _) => return vec![Layer::Check(Self::ask(true, state))],
            (KeyCode::Enter, Some(finding)) => state.say("Finding", explain::finding(finding)),
            (KeyCode::Char('g'), Some(finding)) => {
                state.jump(&finding.path, finding.id);
                return Vec::new();
            }
            (KeyCode::Char('r'), Some(finding)) if state.may_change() => {
                if finding.repair.is_empty() {
                    state.message = "There is no repair that fits all: Enter says what is wrong.".into();
                } else {
                    state.propose(finding.repair.clone());
                }
            }
            _ => {
                let to = list::moved_by_letters(key, self.at, found.len(), state.page());
                self.at = to.unwrap_or(self.at);
            }
        }
        vec![Layer::Check(self)]
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let found = self.found.as_deref().unwrap_or_default();
        let line = |(index, finding): (usize, &Finding)| {
            let kind = if finding.error { "error  " } else { "warning" };
            let repair = if finding.repair.is_empty() { ' ' } else { 'r' };
            let Finding { path, name, description, .. } = finding;
            let shown = format!(" {kind} {repair} {path} {name}: {description}");
            list::row(&shown, index == self.at, columns)
        };
        let mut lines: Vec<Line<'static>> = found.iter().enumerate().map(line).collect();
        if lines.is_empty() {
            let said =
                if self.found.is_some() { "Nothing is wrong." } else { "No answer yet: F5 asks again." };
            lines.push(Line::from(said));
        }
        let errors = found.iter().filter(|finding| finding.error).count();
        let asked = if self.is_online { ", with hosts looked up" } else { "" };
        let title = format!("Check: {errors} error(s), {} warning(s){asked}", found.len() - errors);
        let hints = "Enter says more, g goes there, r repairs, o looks up hosts, ? help, Esc".into();
        View { title, lines, focus: self.at, hints, is_full: true }
    }
}
