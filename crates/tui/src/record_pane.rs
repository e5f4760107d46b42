//! The records of the chosen key, its own and those that it inherits.

use crate::field::Field;
use crate::pending::{self, Shown, Waits};
use crate::text;
use postroad_control::attributes;
use postroad_control::meta::MetaStep;
use postroad_control::meta_answer::{Mark, PropertyRow, RecordRow};

/// The records of one key.
pub(crate) struct RecordPane {
    /// The key they belong to.
    pub(crate) path: String,
    rows: Vec<RecordRow>,
    /// The id of the chosen one.
    pub(crate) chosen: Option<u32>,
    /// Only records that have this in their id, name or value are shown.
    pub(crate) filter: Field,
}

impl RecordPane {
    pub(crate) fn new() -> Self {
        Self { path: String::new(), rows: Vec::new(), chosen: None, filter: Field::default() }
    }

    pub(crate) fn take(&mut self, path: &str, rows: Vec<RecordRow>) {
        self.path = path.into();
        self.rows = rows;
    }

    /// The records in view of the filter, with the changes that wait.
    pub(crate) fn lines(&self, steps: &[MetaStep], schema: &[PropertyRow]) -> Vec<Shown> {
        let mut shown = pending::overlaid(&self.rows, steps, &self.path, schema);
        let wanted = self.filter.text().to_lowercase();
        if !wanted.is_empty() {
            shown.retain(|shown| {
                let row = &shown.row;
                let mut texts = row.value.iter().chain([&row.name, &row.meaning, &row.data_type]);
                row.id.to_string().contains(&wanted)
                    || texts.any(|text| text.to_lowercase().contains(&wanted))
            });
        }
        shown
    }

    /// Where the chosen record is among those in view.
    pub(crate) fn at(&self, lines: &[Shown]) -> usize {
        lines.iter().position(|shown| Some(shown.row.id) == self.chosen).unwrap_or(0)
    }
}

/// From so many columns on, where a record comes from has a column of its own; the explanation says it always.
const FROM_AT: usize = 54;
/// From so many columns on there is room for attributes, user type and data type: a name and a value say more than these.
const ALL_AT: usize = 44;
/// Columns of the data type where there is no room for the longest one, EXPANDSZ.
const TYPE_NARROW: usize = 6;

/// How wide the columns of a table are.
pub(crate) struct Widths {
    id: usize,
    name: usize,
    has_all: bool,
    user_type: usize,
    data_type: usize,
    data: usize,
    from: usize,
}

impl Widths {
    /// For these records in so many columns: ids and user types take what they need.
    pub(crate) fn of(lines: &[Shown], columns: usize) -> Self {
        let digits = |number: fn(&RecordRow) -> u32, least: usize| {
            lines.iter().map(|shown| number(&shown.row).to_string().len()).max().unwrap_or(0).max(least)
        };
        let (id, user_type) = (digits(|row| row.id, 2), digits(|row| row.user_type, 2));
        let data_type = if columns < FROM_AT * 3 / 2 { TYPE_NARROW } else { 8 };
        // Two signs, the attributes, and a blank before each column but the last.
        let has_all = columns >= ALL_AT;
        let middle = if has_all { 4 + 1 + user_type + 1 + data_type + 1 } else { 0 };
        let left = columns.saturating_sub(2 + 1 + id + 1 + 1 + middle);
        let from = if columns < FROM_AT { 0 } else { (left / 4).clamp(8, 24) };
        let left = left.saturating_sub(if from == 0 { 0 } else { from + 1 });
        // As wide as SmtpUseTcpDns, where there is room at all.
        let name = (left * 11 / 20).clamp(13, 32).min(left.saturating_sub(4));
        Self { id, name, has_all, user_type, data_type, data: left.saturating_sub(name), from }
    }

    /// The heads of the columns.
    pub(crate) fn heads(&self) -> String {
        let id = text::column("Id", self.id);
        let from =
            if self.from == 0 { String::new() } else { format!(" {}", text::column("From", self.from)) };
        let (name, data) = (text::column("Name", self.name), text::column("Data", self.data));
        let user_type = text::column("UT", self.user_type);
        let data_type = text::column("Type", self.data_type);
        let middle = if self.has_all { format!("Attr {user_type} {data_type} ") } else { String::new() };
        format!("   {id} {name} {middle}{data}{from}")
    }

    /// A record in one line.
    pub(crate) fn line(&self, shown: &Shown) -> String {
        let row = &shown.row;
        let from = match self.from {
            0 => String::new(),
            from if row.inherited || row.pinned.is_some() => {
                format!(" {}", text::column_left(&row.from, from))
            }
            from => format!(" {}", text::column("", from)),
        };
        let middle = match self.has_all {
            true => format!(
                "{} {} {} ",
                text::column(&attributes::letters(row.attributes), 4),
                text::column(&row.user_type.to_string(), self.user_type),
                text::column(&row.data_type, self.data_type),
            ),
            false => String::new(),
        };
        format!(
            "{}{} {} {} {middle}{}{from}",
            wait_sign(shown.waits, row),
            mark_sign(row.mark),
            text::column(&row.id.to_string(), self.id),
            text::column_middle(&row.name, self.name),
            text::column(&value(shown), self.data),
        )
    }
}

/// The value in one line, with its meaning.
pub(crate) fn value(shown: &Shown) -> String {
    let row = &shown.row;
    if shown.waits == Waits::Gone {
        return "(goes)".into();
    }
    if row.secret {
        return "(secret)".into();
    }
    let value = if row.is_list { format!("[{}]", row.value.join(", ")) } else { row.value.join(" ") };
    if row.meaning.is_empty() { value } else { format!("{value} ({})", row.meaning) }
}

/// `*` waits to be committed, `#` is pinned by the configuration file, `^` is inherited.
fn wait_sign(waits: Waits, row: &RecordRow) -> char {
    match waits {
        Waits::Set | Waits::Gone => '*',
        Waits::Not if row.pinned.is_some() => '#',
        Waits::Not if row.inherited => '^',
        Waits::Not => ' ',
    }
}

/// `=` is in force, `-` is kept without effect, `!` is refused, `?` is unknown.
fn mark_sign(mark: Mark) -> char {
    match mark {
        Mark::InForce => '=',
        Mark::Elsewhere | Mark::Kept => '-',
        Mark::Refused => '!',
        Mark::Unknown => '?',
    }
}

/// What a property does, in words.
pub(crate) fn mark_words(mark: Mark) -> &'static str {
    match mark {
        Mark::InForce => "In force.",
        Mark::Elsewhere => "Without effect at the key that has it; it takes effect at others.",
        Mark::Kept => "Kept without effect: no mail is taken or sent by it.",
        Mark::Refused => "Refused: the service does not do what it promises.",
        Mark::Unknown => "Unknown to the schema; kept as it is.",
    }
}
