//! The choice of an id: typed, or one of the known names that the typed text leaves over.

use super::value::stored;
use crate::field::Field;
use crate::list;
use crate::pending;
use crate::text;
use crossterm::event::KeyEvent;
use postroad_control::meta_answer::PropertyRow;
use ratatui::style::Modifier;
use ratatui::text::Line;

/// Known names that are in view at once.
const IN_VIEW: usize = 5;

/// An id that is being chosen.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) field: Field,
    at: usize,
}

/// What is chosen.
pub(crate) enum Choice<'p> {
    /// A known property.
    Property(&'p PropertyRow),
    /// An id that the schema does not have.
    Other(u32),
}

impl Known {
    pub(crate) fn new(id: u32) -> Self {
        Self { field: Field::new(&id.to_string()), at: 0 }
    }

    /// What the typed text leaves over: the number itself first, where the schema does not have it.
    /// Properties of the data type that was asked for come before the others.
    fn choices<'p>(&self, schema: &'p [PropertyRow], data_type: &str) -> Vec<Choice<'p>> {
        let typed = self.field.text().trim().to_lowercase();
        let number = pending::number(&typed).filter(|number| *number != 0);
        let exact = schema.iter().find(|property| {
            number == Some(property.id) || (!typed.is_empty() && property.name.to_lowercase() == typed)
        });
        let first = match (exact, number) {
            (Some(property), _) => Some(Choice::Property(property)),
            (None, Some(number)) => Some(Choice::Other(number)),
            (None, None) => None,
        };
        let of_type = |property: &&PropertyRow| stored(&property.data_type) == data_type;
        let sorted = schema.iter().filter(of_type).chain(schema.iter().filter(|property| !of_type(property)));
        let others = sorted.filter(|property| {
            let is_exact = exact.is_some_and(|exact| exact.id == property.id);
            let by_name = property.name.to_lowercase().contains(&typed);
            !is_exact && (by_name || property.id.to_string().starts_with(&typed))
        });
        first.into_iter().chain(others.map(Choice::Property)).collect()
    }

    /// What is under the cursor.
    pub(crate) fn choice<'p>(&self, schema: &'p [PropertyRow], data_type: &str) -> Option<Choice<'p>> {
        self.choices(schema, data_type).into_iter().nth(self.at)
    }

    /// The known property under the cursor.
    pub(crate) fn property<'p>(&self, schema: &'p [PropertyRow], data_type: &str) -> Option<&'p PropertyRow> {
        match self.choice(schema, data_type)? {
            Choice::Property(property) => Some(property),
            Choice::Other(_) => None,
        }
    }

    pub(crate) fn key(&mut self, key: KeyEvent, schema: &[PropertyRow], data_type: &str) {
        let typing = !matches!(key.code, crossterm::event::KeyCode::Home | crossterm::event::KeyCode::End);
        if let (true, Some(at)) =
            (typing, list::moved(key, self.at, self.choices(schema, data_type).len(), IN_VIEW))
        {
            self.at = at;
        } else if self.field.key(key) {
            self.at = 0;
        }
    }

    /// The names that are left over, and the explanation of the one under the cursor.
    pub(crate) fn lines(
        &self,
        schema: &[PropertyRow],
        data_type: &str,
        columns: usize,
        explained: usize,
    ) -> Vec<Line<'static>> {
        let choices = self.choices(schema, data_type);
        let first = list::first(self.at, choices.len(), IN_VIEW);
        let mut lines: Vec<Line<'static>> = Vec::new();
        for (index, choice) in choices.iter().enumerate().skip(first).take(IN_VIEW) {
            let shown = match choice {
                Choice::Property(property) => {
                    format!("{:>6} {} {}", property.id, property.name, property.data_type)
                }
                Choice::Other(number) => format!("{number:>6} (other)"),
            };
            let sign = if index == self.at { '>' } else { ' ' };
            let line = Line::from(text::shorten(&format!("  {sign} {shown}"), columns));
            lines.push(if index == self.at { line.patch_style(Modifier::REVERSED) } else { line });
        }
        let said = match choices.get(self.at) {
            Some(Choice::Property(property)) => crate::explain::property(property),
            Some(Choice::Other(_)) => "An id that the schema does not know is kept as it is.".into(),
            None => "No known name has this. Type a number for another id.".into(),
        };
        let left = choices.len().saturating_sub(IN_VIEW);
        if left > 0 {
            lines.push(Line::from(format!("    ... {} names in all", choices.len())));
        }
        lines.extend(text::beginning(&said, columns, explained).into_iter().map(Line::from));
        lines
    }
}
