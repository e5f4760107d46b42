//! The data of a record while it is edited: a text, a number, one of some numbers, bits, or a list.

use crate::field::Field;
use crate::list;
use crate::pending;
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::meta_answer::PropertyRow;
use ratatui::style::Modifier;
use ratatui::text::Line;

/// Items of a list that can be made here: more than the service takes, which says so.
const ITEMS_MAX: usize = 10_000;

/// How data is edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Number,
    /// One of these numbers.
    OneOf(Vec<(u32, String)>),
    /// Any of these bits.
    Bits(Vec<(u32, String)>),
    List,
}

impl Shape {
    /// The shape of a property's data as a data type. `is_list`: the record that is edited shows a list.
    pub(crate) fn of(property: Option<&PropertyRow>, data_type: &str, is_list: bool) -> Self {
        let property = property.filter(|property| stored(&property.data_type) == data_type);
        match (data_type, property) {
            ("MULTISZ", _) => Self::List,
            ("DWORD", Some(property)) if property.data_type == "BOOL" => {
                Self::OneOf(vec![(1, "TRUE".into()), (0, "FALSE".into())])
            }
            ("DWORD", Some(property)) if !property.names.is_empty() => Self::OneOf(property.names.clone()),
            ("DWORD", Some(property)) if !property.bits.is_empty() => Self::Bits(property.bits.clone()),
            ("DWORD", _) => Self::Number,
            (_, Some(property)) if property.is_list || is_list => Self::List,
            (_, Some(_) | None) => Self::Text,
        }
    }
}

/// The type that a property's data is stored as.
pub(crate) fn stored(data_type: &str) -> &str {
    if data_type == "BOOL" { "DWORD" } else { data_type }
}

/// Data while it is edited.
pub(crate) struct Value {
    pub(crate) field: Field,
    pub(crate) items: Vec<String>,
    at: usize,
    /// The item that is typed, and whether it is one more.
    typed: Option<(Field, bool)>,
}

impl Value {
    pub(crate) fn new(value: &[String]) -> Self {
        let field = Field::new(value.first().map_or("", String::as_str));
        Self { field, items: value.to_vec(), at: 0, typed: None }
    }

    /// The texts to store.
    pub(crate) fn texts(&self, shape: &Shape) -> Vec<String> {
        match shape {
            Shape::List => self.items.clone(),
            Shape::Text | Shape::Number | Shape::OneOf(_) | Shape::Bits(_) => vec![self.field.text()],
        }
    }

    /// Whether keys are typed as text.
    pub(crate) fn takes_text(&self, shape: &Shape) -> bool {
        *shape != Shape::List || self.typed.is_some()
    }

    /// Takes a key; whether it was one for the data.
    pub(crate) fn key(&mut self, key: KeyEvent, shape: &Shape) -> bool {
        if key.code == KeyCode::F(2) {
            return self.other_base(shape);
        }
        match shape {
            Shape::List => self.list_key(key),
            Shape::OneOf(numbers) => {
                let at = numbers.iter().position(|(number, name)| self.is(*number, name));
                let to = match (key.code, at) {
                    (KeyCode::Up | KeyCode::Down, None) => Some(0),
                    (KeyCode::Up | KeyCode::Down, Some(at)) => list::moved(key, at, numbers.len(), 1),
                    _ => return self.field.key(key),
                };
                if let Some((number, name)) = to.and_then(|to| numbers.get(to)) {
                    let is_bool = matches!(name.as_str(), "TRUE" | "FALSE");
                    self.field = Field::new(&if is_bool { name.clone() } else { number.to_string() });
                }
                true
            }
            Shape::Bits(bits) => match key.code {
                KeyCode::Up | KeyCode::Down => {
                    self.at = list::moved(key, self.at, bits.len(), 1).unwrap_or(self.at);
                    true
                }
                KeyCode::Char(' ') => {
                    let bit = bits.get(self.at).map_or(0, |(bit, _)| *bit);
                    let number = pending::number(&self.field.text()).unwrap_or(0) ^ bit;
                    self.set_number(number, self.is_hex());
                    true
                }
                _ => self.field.key(key),
            },
            Shape::Text | Shape::Number => self.field.key(key),
        }
    }

    fn is(&self, number: u32, name: &str) -> bool {
        let text = self.field.text();
        pending::number(&text) == Some(number) || text.trim().eq_ignore_ascii_case(name)
    }

    /// Whether the base in use is 16.
    fn is_hex(&self) -> bool {
        self.field.text().trim().to_lowercase().starts_with("0x")
    }

    fn set_number(&mut self, number: u32, is_hex: bool) {
        self.field = Field::new(&if is_hex { format!("{number:#x}") } else { number.to_string() });
    }

    fn other_base(&mut self, shape: &Shape) -> bool {
        let is_number = matches!(shape, Shape::Number | Shape::OneOf(_) | Shape::Bits(_));
        let Some(number) = pending::number(&self.field.text()).filter(|_| is_number) else { return false };
        self.set_number(number, !self.is_hex());
        true
    }

    fn list_key(&mut self, key: KeyEvent) -> bool {
        if let Some((mut field, is_more)) = self.typed.take() {
            match key.code {
                KeyCode::Esc => {}
                KeyCode::Enter => self.keep(field.text(), is_more),
                _ => {
                    field.key(key);
                    self.typed = Some((field, is_more));
                }
            }
            return true;
        }
        match key.code {
            KeyCode::Char('a') | KeyCode::Insert if self.items.len() < ITEMS_MAX => {
                self.typed = Some((Field::default(), true));
            }
            KeyCode::Enter => {
                let Some(item) = self.items.get(self.at) else {
                    self.typed = Some((Field::default(), true));
                    return true;
                };
                self.typed = Some((Field::new(item), false));
            }
            KeyCode::Char('d') | KeyCode::Delete => {
                if self.at < self.items.len() {
                    self.items.remove(self.at);
                }
                self.at = self.at.min(self.items.len().saturating_sub(1));
            }
            _ => match list::moved_by_letters(key, self.at, self.items.len(), 5) {
                Some(at) => self.at = at,
                None => return false,
            },
        }
        true
    }

    fn keep(&mut self, item: String, is_more: bool) {
        match (item.is_empty(), is_more) {
            // An item of a list is not empty.
            (true, _) => {}
            (false, true) => {
                let place = (self.at + 1).min(self.items.len());
                self.items.insert(place, item);
                self.at = place;
            }
            (false, false) => {
                if let Some(old) = self.items.get_mut(self.at) {
                    *old = item;
                }
            }
        }
    }

    /// The data in lines, and which of them has the cursor.
    pub(crate) fn lines(
        &self,
        shape: &Shape,
        columns: usize,
        has_focus: bool,
        is_secret: bool,
    ) -> (Vec<Line<'static>>, usize) {
        if *shape == Shape::List {
            return self.list_lines(columns, has_focus, is_secret);
        }
        let mut lines = vec![self.field.line("Data: ", columns, has_focus, is_secret)];
        let number = pending::number(&self.field.text());
        let mut focus = 0;
        match shape {
            Shape::OneOf(numbers) => {
                for (known, name) in numbers {
                    let is_it = self.is(*known, name);
                    let sign = if is_it { "(x)" } else { "( )" };
                    if is_it {
                        focus = lines.len();
                    }
                    lines.push(Line::from(text::shorten(&format!("  {sign} {known} {name}"), columns)));
                }
            }
            Shape::Bits(bits) => {
                for (index, (bit, name)) in bits.iter().enumerate() {
                    let is_set = number.is_some_and(|number| number & bit == *bit);
                    let sign = if is_set { "[x]" } else { "[ ]" };
                    let line = Line::from(text::shorten(&format!("  {sign} {bit:#x} {name}"), columns));
                    if index == self.at && has_focus {
                        focus = lines.len();
                        lines.push(line.patch_style(Modifier::REVERSED));
                    } else {
                        lines.push(line);
                    }
                }
            }
            Shape::Number | Shape::Text | Shape::List => {}
        }
        (lines, focus)
    }

    fn list_lines(&self, columns: usize, has_focus: bool, is_secret: bool) -> (Vec<Line<'static>>, usize) {
        let mut lines = vec![Line::from(format!("Data: {} item(s), one a line", self.items.len()))];
        let mut focus = 0;
        for (index, item) in self.items.iter().enumerate() {
            let is_at = index == self.at && has_focus;
            if is_at {
                focus = lines.len();
            }
            let shown = if is_secret { "•".repeat(item.chars().count()) } else { item.clone() };
            let sign = if is_at { '>' } else { ' ' };
            let line = Line::from(text::shorten(&format!("  {sign} {shown}"), columns));
            match &self.typed {
                Some((field, false)) if is_at => lines.push(field.line("  > ", columns, true, is_secret)),
                _ if is_at => lines.push(line.patch_style(Modifier::REVERSED)),
                _ => lines.push(line),
            }
            if let (true, Some((field, true))) = (is_at, &self.typed) {
                focus = lines.len();
                lines.push(field.line("  + ", columns, true, is_secret));
            }
        }
        if let (true, Some((field, _))) = (self.items.is_empty(), &self.typed) {
            lines.push(field.line("  + ", columns, true, is_secret));
        }
        if has_focus && self.typed.is_none() {
            lines.push(Line::from("  a adds, Enter edits, d deletes a line; Tab leaves the list"));
        }
        (lines, focus)
    }
}
