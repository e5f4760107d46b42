//! Changes that are made here and not yet committed, and how a key looks with them.

use postroad_control::attributes;
use postroad_control::meta::MetaStep;
use postroad_control::meta_answer::{Mark, PropertyRow, RecordRow};

/// Changes that can wait at once: a person makes some dozen.
pub(crate) const PENDING_MAX: usize = 10_000;

/// What waits to become of something that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Nothing.
    Not,
    /// It is to be stored.
    Set,
    /// It is to go.
    Gone,
}

/// Whether two paths name the same key.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a key is below another one, or that one.
pub(crate) fn is_within(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    let (path, above) = (path.to_ascii_lowercase(), above.to_ascii_lowercase());
    path.strip_prefix(&above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path of a key below another one.
pub(crate) fn child(path: &str, name: &str) -> String {
    format!("{}/{}", path.trim_end_matches('/'), name)
}

/// The key above a key.
pub(crate) fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        at => path.get(..at),
    }
}

/// The keys above a key, the nearest first.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(path), |path| parent(path))
}

/// What waits to become of a key.
pub(crate) fn of_key(steps: &[MetaStep], path: &str) -> Waits {
    steps.iter().fold(Waits::Not, |waits, step| match step {
        MetaStep::Create { path: created } if is_within(created, path) && waits == Waits::Gone => Waits::Set,
        MetaStep::Create { path: created } if is_same(created, path) => Waits::Set,
        MetaStep::Delete { path: deleted } if is_within(path, deleted) => Waits::Gone,
        MetaStep::Create { .. } | MetaStep::Delete { .. } | MetaStep::Set { .. } | MetaStep::Unset { .. } => {
            waits
        }
    })
}

/// Whether a change that waits makes the key.
pub(crate) fn is_to_be_made(steps: &[MetaStep], path: &str) -> bool {
    steps.iter().any(|step| matches!(step, MetaStep::Create { path: made } if is_within(made, path)))
}

/// Whether a value of the key itself waits to change.
pub(crate) fn has_records(steps: &[MetaStep], path: &str) -> bool {
    steps.iter().any(|step| match step {
        MetaStep::Set { path: at, .. } | MetaStep::Unset { path: at, .. } => is_same(at, path),
        MetaStep::Create { .. } | MetaStep::Delete { .. } => false,
    })
}

/// A record as it would be.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) row: RecordRow,
    pub(crate) waits: Waits,
}

/// The records of a key with the changes that wait, by id.
pub(crate) fn overlaid(
    rows: &[RecordRow],
    steps: &[MetaStep],
    path: &str,
    schema: &[PropertyRow],
) -> Vec<Shown> {
    let mut shown: Vec<Shown> =
        rows.iter().map(|row| Shown { row: row.clone(), waits: Waits::Not }).collect();
    for step in steps {
        match step {
            MetaStep::Delete { path: deleted } if is_within(path, deleted) => {
                shown.iter_mut().for_each(|shown| shown.waits = Waits::Gone);
            }
            MetaStep::Set { path: at, .. } if is_same(at, path) => {
                let Some(row) = row_of(step, schema) else { continue };
                shown.retain(|shown| shown.row.id != row.id);
                shown.push(Shown { row, waits: Waits::Set });
            }
            MetaStep::Unset { path: at, property } if is_same(at, path) => {
                let gone = shown.iter_mut().filter(|shown| shown.row.id.to_string() == *property);
                gone.for_each(|shown| shown.waits = Waits::Gone);
            }
            MetaStep::Create { .. }
            | MetaStep::Delete { .. }
            | MetaStep::Set { .. }
            | MetaStep::Unset { .. } => {}
        }
    }
    shown.sort_by_key(|shown| shown.row.id);
    shown
}

/// The record that a step stores; none where it stores none, or not by its id.
fn row_of(step: &MetaStep, schema: &[PropertyRow]) -> Option<RecordRow> {
    let MetaStep::Set { path, property, value, data_type, user_type, attributes } = step else { return None };
    let id = property.parse().ok()?;
    let property = schema.iter().find(|known| known.id == id);
    let bits = attributes.unwrap_or(attributes::INHERIT);
    let secret = bits & attributes::SECURE != 0;
    let number = value.first().and_then(|text| number(text));
    let meaning = number.and_then(|number| {
        property.and_then(|property| property.names.iter().find(|(known, _)| *known == number))
    });
    Some(RecordRow {
        path: path.clone(),
        from: path.clone(),
        inherited: false,
        id,
        name: property.map_or_else(|| format!("UnknownName_{id}"), |property| property.name.clone()),
        attributes: bits,
        attribute_names: attributes::names(bits),
        user_type: user_type.unwrap_or(1),
        data_type: data_type.clone().unwrap_or_default(),
        is_list: data_type.as_deref() == Some("MULTISZ")
            || value.len() != 1
            || property.is_some_and(|property| property.is_list),
        value: if secret { Vec::new() } else { value.clone() },
        meaning: meaning.map(|(_, name)| name.clone()).unwrap_or_default(),
        secret,
        mark: property.map_or(Mark::Unknown, |property| property.mark),
        pinned: None,
    })
}

/// A number as it is typed: decimal, `0x` hex, or -1.
pub(crate) fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text == "-1" => Some(u32::MAX),
        None => text.parse().ok(),
    }
}
