//! The dialog of a record: id, user type, data type, attributes, data.

use super::known::{Choice, Known};
use super::value::{Shape, Value, stored};
use super::{Layer, View};
use crate::field::Field;
use crate::list;
use crate::pending::{self, Waits};
use crate::state::State;
use crate::text;
use crossterm::event::{KeyCode, KeyEvent};
use postroad_control::attributes::{self, ATTRIBUTES, INHERIT, INSERT_PATH, IS_INHERITED, SECURE};
use postroad_control::meta::MetaStep;
use postroad_control::meta_answer::{PropertyRow, RecordRow};
use ratatui::style::Modifier;
use ratatui::text::Line;

/// The data types.
const TYPES: [&str; 5] = ["DWORD", "STRING", "BINARY", "EXPANDSZ", "MULTISZ"];
/// The user types that have names.
const USER_TYPES: [(u32, &str); 4] = [(1, "server"), (2, "file"), (100, "WAM"), (101, "ASP application")];

/// The part of the dialog that has the keys, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Id,
    UserType,
    DataType,
    Attributes,
    Data,
    Ok,
}

const PARTS: [Part; 6] = [Part::Id, Part::UserType, Part::DataType, Part::Attributes, Part::Data, Part::Ok];

/// A record that is made or edited.
pub(crate) struct RecordDialog {
    path: String,
    /// The record that is edited.
    edited: Option<RecordRow>,
    known: Known,
    id: Option<u32>,
    property: Option<PropertyRow>,
    user_type: Field,
    data_type: usize,
    attributes: u32,
    attribute: usize,
    value: Value,
    part: Part,
    pub(super) trouble: String,
}

impl RecordDialog {
    /// A record to make at a key.
    pub(crate) fn fresh(path: &str, data_type: &str) -> Self {
        Self {
            path: path.into(),
            edited: None,
            known: Known::default(),
            id: None,
            property: None,
            user_type: Field::new("1"),
            data_type: TYPES.iter().position(|name| *name == data_type).unwrap_or(0),
            attributes: INHERIT,
            attribute: 0,
            value: Value::new(&[]),
            part: Part::Id,
            trouble: String::new(),
        }
    }

    /// A record to edit; an inherited one becomes the key's own.
    pub(crate) fn edit(row: &RecordRow, path: &str, property: Option<&PropertyRow>) -> Self {
        Self {
            id: Some(row.id),
            property: property.cloned(),
            user_type: Field::new(&row.user_type.to_string()),
            attributes: row.attributes & !IS_INHERITED,
            value: Value::new(&row.value),
            part: Part::Data,
            edited: Some(row.clone()),
            ..Self::fresh(path, &row.data_type)
        }
    }

    fn type_name(&self) -> &'static str {
        TYPES.get(self.data_type).copied().unwrap_or("DWORD")
    }

    fn shape(&self) -> Shape {
        let shows_list = self.edited.as_ref().is_some_and(|row| row.is_list);
        // A list that could not be read is shown as hex, and edited as that.
        let is_hex =
            self.edited.as_ref().is_some_and(|row| !row.is_list && row.data_type == "BINARY" && !row.secret);
        match Shape::of(self.property.as_ref(), self.type_name(), shows_list) {
            Shape::List if is_hex && self.type_name() == "BINARY" && !self.value.field.is_empty() => {
                Shape::Text
            }
            shape => shape,
        }
    }

    fn is_secret(&self) -> bool {
        self.attributes & SECURE != 0
    }

    pub(crate) fn takes_text(&self) -> bool {
        match self.part {
            Part::Id | Part::UserType => true,
            Part::Data => self.value.takes_text(&self.shape()),
            Part::DataType | Part::Attributes | Part::Ok => false,
        }
    }

    pub(crate) fn key(mut this: Box<Self>, key: KeyEvent, state: &mut State) -> Vec<Layer> {
        this.trouble.clear();
        let shape = this.shape();
        // The data has the first say while an item of a list is typed, and for Enter on an item.
        let is_for_list = shape == Shape::List && this.part == Part::Data;
        let is_typing = is_for_list && this.value.takes_text(&shape);
        if is_typing || (is_for_list && key.code == KeyCode::Enter) {
            this.value.key(key, &shape);
            return vec![Layer::Record(this)];
        }
        match key.code {
            KeyCode::Esc => return Vec::new(),
            KeyCode::F(3) => this.explain(state),
            KeyCode::Tab => this.go(true, state),
            KeyCode::BackTab => this.go(false, state),
            KeyCode::Enter if this.part == Part::Id => {
                if this.adopt(state) && this.part == Part::Id {
                    this.part = Part::Data;
                }
            }
            KeyCode::Enter => match this.step() {
                // It closes when the service would take the step.
                Ok(step) => state.propose(vec![step]),
                Err(trouble) => this.trouble = trouble,
            },
            _ => this.part_key(key, state),
        }
        vec![Layer::Record(this)]
    }

    /// Goes to the next part, or the one before. The id of a record that is edited stays.
    fn go(&mut self, is_forward: bool, state: &State) {
        if self.part == Part::Id && (!self.adopt(state) || self.part != Part::Id) {
            return;
        }
        let first = usize::from(self.edited.is_some());
        let at = PARTS.iter().position(|part| *part == self.part).unwrap_or(0);
        let to = match is_forward {
            true if at + 1 >= PARTS.len() => first,
            true => at + 1,
            false if at <= first => PARTS.len() - 1,
            false => at - 1,
        };
        self.part = PARTS.get(to).copied().unwrap_or(Part::Data);
    }

    /// Says all that the schema says of the property.
    fn explain(&self, state: &mut State) {
        let property = match self.part {
            Part::Id => self.known.property(&state.schema, self.type_name()),
            _ => self.property.as_ref(),
        };
        let Some(property) = property else { return };
        let (title, said) =
            (format!("{} {}", property.id, property.name), crate::explain::property(property));
        state.say(&title, vec![said]);
    }

    /// Takes the id that is under the cursor, and what the schema says of it. The key's own record of that id is edited.
    fn adopt(&mut self, state: &State) -> bool {
        match self.known.choice(&state.schema, self.type_name()) {
            None => {
                self.trouble = "Type a number, or a part of a known name.".into();
                return false;
            }
            Some(Choice::Other(number)) => {
                self.id = Some(number);
                self.property = None;
            }
            Some(Choice::Property(property)) if self.id != Some(property.id) => {
                let stored = stored(&property.data_type);
                self.data_type = TYPES.iter().position(|name| *name == stored).unwrap_or(self.data_type);
                self.user_type = Field::new(&property.user_type.to_string());
                self.attributes = property.attributes & !IS_INHERITED;
                self.id = Some(property.id);
                self.property = Some(property.clone());
            }
            Some(Choice::Property(_)) => {}
        }
        let Some(id) = self.id else { return false };
        self.known = Known::new(id);
        let there = state.records.lines(&state.pending, &state.schema);
        let there = there.into_iter().find(|shown| shown.row.id == id && shown.waits != Waits::Gone);
        match there.map(|shown| shown.row) {
            Some(row) if row.pinned.is_some() => {
                let place = row.pinned.unwrap_or_default();
                self.trouble = format!("It is pinned by {place}: change it there.");
                return false;
            }
            Some(row) if !row.inherited => {
                *self = Self::edit(&row, &self.path, self.property.as_ref());
                self.trouble = "It is here already: its value is edited.".into();
            }
            Some(_) | None => {}
        }
        true
    }

    fn part_key(&mut self, key: KeyEvent, state: &State) {
        match self.part {
            Part::Id => self.known.key(key, &state.schema, self.type_name()),
            Part::UserType => {
                let at =
                    USER_TYPES.iter().position(|(number, _)| number.to_string() == self.user_type.text());
                let to = match (key.code, at) {
                    (KeyCode::Up | KeyCode::Down, None) => Some(0),
                    (KeyCode::Up | KeyCode::Down, Some(at)) => list::moved(key, at, USER_TYPES.len(), 1),
                    _ => None,
                };
                match to.and_then(|to| USER_TYPES.get(to)) {
                    Some((number, _)) => self.user_type = Field::new(&number.to_string()),
                    None => {
                        self.user_type.key(key);
                    }
                }
            }
            Part::DataType => {
                let code = match key.code {
                    KeyCode::Left => KeyCode::Up,
                    KeyCode::Right | KeyCode::Char(' ') => KeyCode::Down,
                    code => code,
                };
                let to = list::moved_by_letters(KeyEvent { code, ..key }, self.data_type, TYPES.len(), 1);
                self.data_type = to.unwrap_or(self.data_type);
            }
            Part::Attributes => {
                let bits: Vec<u32> = settable().map(|(bit, _)| bit).collect();
                if key.code == KeyCode::Char(' ') {
                    self.attributes ^= bits.get(self.attribute).copied().unwrap_or(0);
                } else if let Some(at) = list::moved_by_letters(key, self.attribute, bits.len(), 1) {
                    self.attribute = at;
                }
            }
            Part::Data => {
                let shape = self.shape();
                if !self.value.key(key, &shape) && key.code == KeyCode::F(2) {
                    self.trouble = "There is no number to show in another base.".into();
                }
            }
            Part::Ok => {}
        }
    }

    fn step(&self) -> Result<MetaStep, String> {
        let id = self.id.ok_or("The record has no id: choose one.")?;
        let user_type = pending::number(&self.user_type.text()).ok_or("The user type is a number.")?;
        let shape = self.shape();
        let value = self.value.texts(&shape);
        let is_empty = value.iter().all(String::is_empty);
        if self.is_secret() && self.edited.as_ref().is_some_and(|row| row.secret) && is_empty {
            return Err("The secret is not shown: type it again, or leave with Esc.".into());
        }
        Ok(MetaStep::Set {
            path: self.path.clone(),
            property: id.to_string(),
            value,
            data_type: Some(self.type_name().into()),
            user_type: Some(user_type),
            attributes: Some(self.attributes),
        })
    }

    pub(crate) fn view(&self, state: &State, columns: usize, height: usize) -> View {
        // What the other parts leave over is for the explanation.
        let bare = self.lines(state, columns, 0).0.len();
        let (mut lines, mut focus) = self.lines(state, columns, height.saturating_sub(bare).max(1));
        if !self.trouble.is_empty() {
            focus = lines.len();
            lines.extend(text::wrap(&self.trouble, columns).into_iter().map(Line::from));
        }
        View { title: self.title(), lines, focus, hints: self.hints().into(), is_full: false }
    }

    /// The lines of all parts with so many of the explanation, and which one has the cursor.
    fn lines(&self, state: &State, columns: usize, explained: usize) -> (Vec<Line<'static>>, usize) {
        let mut lines: Vec<Line<'static>> = Vec::new();
        let mut focus = 0;
        for part in PARTS {
            let has_focus = part == self.part;
            let start = lines.len();
            let mut at = 0;
            match part {
                Part::Id => lines.extend(self.id_lines(state, columns, explained)),
                Part::UserType => lines.push(self.user_type_line(columns)),
                Part::DataType => {
                    let line = Line::from(format!("Data type: < {} >", self.type_name()));
                    lines.push(reversed_if(has_focus, line));
                }
                Part::Attributes => {
                    let (more, with_cursor) = self.attribute_lines();
                    at = with_cursor;
                    lines.extend(more);
                }
                Part::Data => {
                    let (more, with_cursor) =
                        self.value.lines(&self.shape(), columns, has_focus, self.is_secret());
                    at = with_cursor;
                    lines.extend(more);
                }
                Part::Ok => lines.push(reversed_if(has_focus, Line::from("[ OK ]"))),
            }
            if has_focus {
                focus = start + at;
            }
        }
        (lines, focus)
    }

    fn title(&self) -> String {
        let what = match &self.edited {
            None => "New record at",
            Some(row) if row.inherited => "Override at",
            Some(_) => "Edit at",
        };
        format!("{what} {}", self.path)
    }

    fn hints(&self) -> &'static str {
        match self.part {
            Part::Id => "Type a number or a name, Up/Down choose, F3 says more, Enter takes it, Esc",
            Part::Data if matches!(self.shape(), Shape::Bits(_)) => {
                "Up/Down, Space sets a bit, F2 hex, F3 says more, Enter is OK, Tab next, Esc"
            }
            Part::Data if self.shape() == Shape::List => {
                "a adds, Enter edits, d deletes, F3 says more, Tab next (OK), Esc closes"
            }
            Part::Data => "F2 decimal/hex, Up/Down choose, F3 says more, Enter is OK, Tab next, Esc",
            Part::Attributes => "Up/Down, Space sets, Enter is OK, Tab next, Esc closes",
            Part::UserType | Part::DataType => "Up/Down choose, Enter is OK, Tab next, Esc closes",
            Part::Ok => "Enter is OK, Tab next, Esc closes",
        }
    }

    fn id_lines(&self, state: &State, columns: usize, explained: usize) -> Vec<Line<'static>> {
        if self.part == Part::Id {
            let mut lines = vec![self.known.field.line("Id: ", columns, true, false)];
            lines.extend(self.known.lines(&state.schema, self.type_name(), columns, explained));
            return lines;
        }
        let id = self.id.map(|id| id.to_string()).unwrap_or_default();
        let name = self.property.as_ref().map_or("(other)", |property| property.name.as_str());
        let mut lines = vec![Line::from(text::shorten(&format!("Id: {id} {name}"), columns))];
        if let Some(property) = &self.property {
            let said = text::beginning(&crate::explain::property(property), columns, explained);
            lines.extend(said.into_iter().map(Line::from));
        }
        lines
    }

    fn user_type_line(&self, columns: usize) -> Line<'static> {
        let has_focus = self.part == Part::UserType;
        let number = pending::number(&self.user_type.text());
        let name = USER_TYPES.iter().find(|(known, _)| Some(*known) == number).map_or("", |(_, name)| name);
        self.user_type.line(&format!("User type ({name}): "), columns.min(48), has_focus, false)
    }

    /// The check boxes while they have the keys, the names of those set otherwise.
    fn attribute_lines(&self) -> (Vec<Line<'static>>, usize) {
        if self.part != Part::Attributes {
            let names = attributes::names(self.attributes);
            let mut lines = vec![Line::from(format!("Attributes: {names}"))];
            // The value is shown as the key sees it; stored as it is shown, it would not follow the path.
            if self.attributes & INSERT_PATH != 0 {
                lines.push(Line::from("Shown with the path put in; <%INSERT_PATH%> stands for it."));
            }
            return (lines, 0);
        }
        let boxes = settable().enumerate().map(|(index, (bit, name))| {
            let sign = if self.attributes & bit != 0 { "[x]" } else { "[ ]" };
            reversed_if(index == self.attribute, Line::from(format!("  {sign} {name} ({bit:#x})")))
        });
        let lines = std::iter::once(Line::from("Attributes:")).chain(boxes).collect();
        (lines, self.attribute + 1)
    }
}

/// The attributes that can be stored.
fn settable() -> impl Iterator<Item = (u32, &'static str)> {
    ATTRIBUTES.iter().filter(|(bit, _, _)| *bit != IS_INHERITED).map(|(bit, name, _)| (*bit, *name))
}

fn reversed_if(has_focus: bool, line: Line<'static>) -> Line<'static> {
    if has_focus { line.patch_style(Modifier::REVERSED) } else { line }
}
