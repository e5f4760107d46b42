//! The small dialogs: something said, a question, the menu of what can be made.

use super::{Form, FormFor, Layer, RecordDialog, View};
use crate::field::Field;
use crate::list;
use crate::state::{Purpose, State};
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta::{MetaRequest, MetaStep};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

/// Something said, until it was read.
pub(crate) struct Say {
    title: String,
    lines: Vec<String>,
    at: usize,
    pub(crate) is_help: bool,
}

impl Say {
    pub(crate) fn new(title: &str, lines: Vec<String>) -> Self {
        Self { title: title.into(), lines, at: 0, is_help: false }
    }

    pub(crate) fn help(lines: Vec<String>) -> Self {
        Self { is_help: true, ..Self::new("Help", lines) }
    }

    pub(crate) fn says(&self, line: &str) -> bool {
        self.lines.iter().any(|said| said == line)
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &State) -> Vec<Layer> {
        match key.code {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => return Vec::new(),
            _ => {}
        }
        let unseen = text::wrapped(&self.lines, state.columns()).len().saturating_sub(state.height());
        self.at = list::moved_by_letters(key, self.at, unseen + 1, state.page()).unwrap_or(self.at);
        vec![Layer::Say(self)]
    }

    pub(crate) fn view(&self, columns: usize, height: usize) -> View {
        let lines = text::wrapped(&self.lines, columns);
        let lines: Vec<Line<'static>> = lines.into_iter().map(Line::from).collect();
        // The first line in view is the one that was scrolled to.
        let focus = (self.at + height / 2).min(lines.len().saturating_sub(1));
        let hints = "Enter or Esc closes, arrows scroll".into();
        View { title: self.title.clone(), lines, focus, hints, is_full: false }
    }
}

/// A question that is answered by yes or no.
pub(crate) struct Confirm {
    pub(crate) question: String,
    pub(crate) then: Then,
}

/// What a yes does.
pub(crate) enum Then {
    /// Leaves the editor.
    Quit,
    /// Asks whether a change would be taken, and keeps it.
    Propose(MetaStep),
    /// Keeps steps until they are committed.
    Wait(Vec<MetaStep>),
    /// Drops all changes that wait.
    Discard,
    /// Asks something.
    Ask(Purpose, MetaRequest),
}

impl Confirm {
    pub(crate) fn key(self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        match key.code {
            KeyCode::Char('y' | 'Y') => match self.then {
                Then::Quit => state.leave(),
                Then::Propose(step) => state.propose(vec![step]),
                Then::Wait(steps) => state.wait(steps),
                Then::Discard => {
                    state.pending.clear();
                    state.message = "The pending changes are dropped.".into();
                    state.refresh();
                }
                Then::Ask(purpose, request) => state.ask(purpose, request),
            },
            KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc => {}
            _ => return vec![Layer::Confirm(self)],
        }
        Vec::new()
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let lines = text::wrap(&self.question, columns).into_iter().map(Line::from).collect();
        let hints = "y yes, n no".into();
        View { title: "Sure?".into(), lines, focus: 0, hints, is_full: false }
    }
}

/// What can be made: a key, and a record of each data type.
const MADE: [(char, &str, &str); 6] = [
    ('k', "Key", ""),
    ('d', "DWORD", "DWORD"),
    ('s', "String", "STRING"),
    ('b', "Binary", "BINARY"),
    ('m', "MultiSz", "MULTISZ"),
    ('e', "ExpandSz", "EXPANDSZ"),
];

/// The menu of what can be made.
pub(crate) struct Menu {
    pub(crate) at: usize,
}

impl Menu {
    pub(crate) fn key(self, key: KeyEvent, state: &State) -> Vec<Layer> {
        let at = match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return Vec::new(),
            KeyCode::Enter => Some(self.at),
            KeyCode::Char(c) => MADE.iter().position(|(letter, _, _)| c.eq_ignore_ascii_case(letter)),
            _ => None,
        };
        let Some((_, _, data_type)) = at.and_then(|at| MADE.get(at)) else {
            let at = list::moved_by_letters(key, self.at, MADE.len(), MADE.len());
            return vec![Layer::Menu(Menu { at: at.unwrap_or(self.at) })];
        };
        let above = state.tree.chosen.clone();
        if data_type.is_empty() {
            let fields = vec![("Name", Field::default())];
            return vec![Layer::Form(Form::new("New key", fields, FormFor::Key { above }))];
        }
        vec![Layer::Record(Box::new(RecordDialog::fresh(&above, data_type)))]
    }

    pub(crate) fn view(&self) -> View {
        let line = |(index, (letter, name, _)): (usize, &(char, &str, &str))| {
            let sign = if index == self.at { '>' } else { ' ' };
            let line = Span::raw(format!("{sign} {letter}  {name}"));
            Line::from(if index == self.at { line.patch_style(Modifier::REVERSED) } else { line })
        };
        let lines = MADE.iter().enumerate().map(line).collect();
        let hints = "Enter or the letter makes it, Esc closes".into();
        View { title: "New".into(), lines, focus: self.at, hints, is_full: false }
    }
}
