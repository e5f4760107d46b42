//! What was found; one of it can be gone to.

use crate::dialog::{Layer, View};
use crate::list;
use crate::pending::{Shown, Waits};
use crate::record_pane;
use crate::state::State;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta_answer::MetaItem;

/// A key, or a record of one.
struct Place {
    path: String,
    id: Option<u32>,
    shown: String,
}

/// What was found.
pub(crate) struct Found {
    text: String,
    places: Vec<Place>,
    /// What was found beyond these.
    cut: usize,
    at: usize,
}

impl Found {
    pub(crate) fn new(text: String, items: Vec<MetaItem>, cut: usize) -> Self {
        let places = items.into_iter().filter_map(|item| match item {
            MetaItem::Key(row) => {
                Some(Place { shown: format!("{} (key)", row.path), path: row.path, id: None })
            }
            MetaItem::Record(row) => {
                let (path, id) = (row.path.clone(), row.id);
                let head = format!("{path}  {id} {}", row.name);
                let value = record_pane::value(&Shown { row: *row, waits: Waits::Not });
                Some(Place { path, id: Some(id), shown: format!("{head} = {value}") })
            }
            _ => None,
        });
        Self { text, places: places.collect(), cut, at: 0 }
    }

    pub(crate) fn key(mut self, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        match key.code {
            KeyCode::Esc | KeyCode::Char('q') => return Vec::new(),
            KeyCode::Enter => {
                if let Some(place) = self.places.get(self.at) {
                    state.jump(&place.path, place.id);
                }
                return Vec::new();
            }
            _ => {
                let to = list::moved_by_letters(key, self.at, self.places.len(), state.page());
                self.at = to.unwrap_or(self.at);
            }
        }
        vec![Layer::Found(self)]
    }

    pub(crate) fn view(&self, columns: usize) -> View {
        let line = |(index, place): (usize, &Place)| {
            list::row(&format!(" {}", place.shown), index == self.at, columns)
        };
        let cut = if self.cut > 0 { format!(" and {} more, not shown,", self.cut) } else { String::new() };
        View {
            title: format!("Found {}{cut} for {}", self.places.len(), self.text),
            lines: self.places.iter().enumerate().map(line).collect(),
            focus: self.at,
            hints: "Enter goes there, Esc closes".into(),
            is_full: true,
        }
    }
}
