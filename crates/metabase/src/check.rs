//! Checks that need nothing but the catalogue.

use crate::forms::Bad;
use crate::schema::{Property, Value};

/// The number as a value, if it is within the property's bounds and one of its choices.
pub(crate) fn number(property: &Property, number: u32) -> Result<Value, Bad> {
    let in_bounds = property.bounds.is_none_or(|(least, most)| (least..=most).contains(&number));
    let known = property.names.is_empty() || property.names.iter().any(|(n, _)| *n == number);
    if in_bounds && known {
        return Ok(Value::Number(number));
    }
    let what = if in_bounds { "known" } else { "within bounds" };
    Err(Bad::new(format!("{number} is not {what}"), format!("Give {}.", property.expectation())))
}

/// The number that is called so, in any case.
pub(crate) fn named(names: &[(u32, &str)], name: &str) -> Option<u32> {
    names.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(number, _)| *number)
}

/// The property whose name is nearest to `name`, if one is near.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    near(name, crate::catalogue::rows().map(|property| property.name))
}

/// The name that is nearest to `name`, if one is near: a third of its letters may differ.
pub(crate) fn near<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    const NAME_MAX: usize = 64;
    if name.len() > NAME_MAX {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let short = known.filter(|known| known.len() <= NAME_MAX);
    let measured =
        short.map(|known| (distance(lower.as_bytes(), known.to_ascii_lowercase().as_bytes()), known));
    let (distance, best) = measured.min_by_key(|(distance, _)| *distance)?;
    (distance <= best.len() / 3).then_some(best)
}

/// Levenshtein's distance: octets inserted, removed or replaced.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let next = (diagonal + usize::from(x != y)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = next;
            left = next;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
