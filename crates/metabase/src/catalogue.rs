//! The catalogue: every property once, by theme.

mod delivery;
mod general;
mod in_force;
mod logging;
mod routing;
mod security;
mod smtp;

use crate::key::KeyKind;
use crate::record::{INHERIT, SECURE, VOLATILE};
use crate::schema::{DataType, Default, Mark, Property, UserType};
use std::borrow::Cow;

/// The tables, in the order in which people should meet them.
pub(crate) static THEMES: [&[Property]; 7] =
    [in_force::ROWS, delivery::ROWS, smtp::ROWS, routing::ROWS, general::ROWS, logging::ROWS, security::ROWS];

/// Every property.
pub(crate) fn rows() -> impl Iterator<Item = &'static Property> {
    THEMES.into_iter().flatten()
}

/// The property of an id.
#[must_use]
pub fn by_id(id: u32) -> Option<&'static Property> {
    let at = BY_ID.binary_search_by_key(&id, |(known, _)| *known).ok()?;
    BY_ID.get(at).map(|(_, property)| *property)
}

/// The property of a name in any case, or of an id, decimal or with `0x`.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Property> {
    match number(name) {
        Some(id) => by_id(id),
        None => rows().find(|property| property.name.eq_ignore_ascii_case(name)),
    }
}

/// The id that a name in any case, a number or `UnknownName_61538` stands for, with the property where the schema knows it.
#[must_use]
pub fn named(text: &str) -> Option<(u32, Option<&'static Property>)> {
    if let Some(property) = by_name(text) {
        return Some((property.id, Some(property)));
    }
    let id = match text.split_at_checked(UNKNOWN_NAME.len()) {
        Some((head, digits)) if head.eq_ignore_ascii_case(UNKNOWN_NAME) => number(digits)?,
        _ => number(text)?,
    };
    Some((id, by_id(id)))
}

/// The name of an id; `UnknownName_61538` where no property has it.
#[must_use]
pub fn name_of(id: u32) -> Cow<'static, str> {
    match by_id(id) {
        Some(property) => property.name.into(),
        None => unknown_name(id).into(),
    }
}

/// What the original calls an id that its schema does not know.
pub(crate) fn unknown_name(id: u32) -> String {
    format!("{UNKNOWN_NAME}{id}")
}

/// What the name of an unknown id begins with.
pub(crate) const UNKNOWN_NAME: &str = "UnknownName_";

/// The known name that is nearest to one that is not known, if one is near.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::check::nearest(name)
}

/// The number that a text writes, decimal or with `0x`.
pub(crate) fn number(text: &str) -> Option<u32> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    // The parser would take a sign.
    digits.bytes().all(|b| b.is_ascii_alphanumeric()).then(|| u32::from_str_radix(digits, radix).ok())?
}

const COUNT: usize = {
    let (mut count, mut theme) = (0, 0);
    while theme < THEMES.len() {
        count += THEMES[theme].len();
        theme += 1;
    }
    count
};

/// All properties, by id. Sorted when the program is built, which is also when an id that stands twice is found.
static BY_ID: [(u32, &Property); COUNT] = {
    let mut sorted = [(0, &THEMES[0][0]); COUNT];
    let (mut filled, mut theme) = (0, 0);
    while theme < THEMES.len() {
        let mut row = 0;
        while row < THEMES[theme].len() {
            let property = &THEMES[theme][row];
            let mut at = filled;
            while at > 0 && sorted[at - 1].0 > property.id {
                sorted[at] = sorted[at - 1];
                at -= 1;
            }
            assert!(at == 0 || sorted[at - 1].0 != property.id, "an id stands twice in the catalogue");
            sorted[at] = (property.id, property);
            filled += 1;
            row += 1;
        }
        theme += 1;
    }
    sorted
};

/// A property that takes effect names the test that shows it, and no theme but `in_force` has one.
const _: () = {
    let mut theme = 0;
    while theme < THEMES.len() {
        let mut row = 0;
        while row < THEMES[theme].len() {
            match THEMES[theme][row].mark {
                Mark::InForce { effect_test, .. } => {
                    assert!(theme == 0, "a property in force stands outside of in_force.rs");
                    assert!(!effect_test.is_empty(), "a property in force has no effect test");
                }
                Mark::Kept | Mark::Refused(_) => {
                    assert!(theme != 0, "a property of in_force.rs is not in force");
                }
            }
            row += 1;
        }
        theme += 1;
    }
};

/// The test of each property in force. A constant, so that a test which is missing is found when the tests are built.
pub const EFFECT_TESTS: [&str; in_force::ROWS.len()] = {
    let (mut named, mut row) = ([""; in_force::ROWS.len()], 0);
    while row < named.len() {
        if let Mark::InForce { effect_test, .. } = in_force::ROWS[row].mark {
            named[row] = effect_test;
        }
        row += 1;
    }
    named
};

const SERVICE: &[KeyKind] = &[KeyKind::Service];
const SERVER: &[KeyKind] = &[KeyKind::Server];
const DOMAIN: &[KeyKind] = &[KeyKind::Domain];
const SERVICE_AND_SERVER: &[KeyKind] = &[KeyKind::Service, KeyKind::Server];
const ALL: &[KeyKind] = &[KeyKind::Service, KeyKind::Server, KeyKind::Domain];
const ROUTING_SOURCES: &[KeyKind] = &[KeyKind::RoutingSources];
const INFO: &[KeyKind] = &[KeyKind::Info];
const LOGGING: &[KeyKind] = &[KeyKind::Logging];
const COMPUTER: &[KeyKind] = &[KeyKind::Computer];
const GLOBAL: &[KeyKind] = &[KeyKind::Global];
const COMPUTER_AND_GLOBAL: &[KeyKind] = &[KeyKind::Computer, KeyKind::Global];
const SCHEMA: &[KeyKind] = &[KeyKind::Schema];
const ANY: &[KeyKind] = &[KeyKind::Any];

/// Nobody has published it.
const UNKNOWN: Default = Default::Unset("not known");
/// The original's text of no octets.
const EMPTY: Default = Default::Text("");

/// What most entries have: kept, inherited, filed under the server, at the service and its servers.
const fn property(
    name: &'static str,
    id: u32,
    data_type: DataType,
    unit: &'static str,
    fresh: Default,
    doc: &'static str,
) -> Property {
    Property {
        name,
        id,
        data_type,
        user_type: UserType::Server,
        attributes: INHERIT,
        unit,
        bounds: None,
        names: &[],
        bits: &[],
        fresh,
        absent: None,
        keys: SERVICE_AND_SERVER,
        doc,
        mark: Mark::Kept,
        granted: None,
    }
}

const fn dword(name: &'static str, id: u32, fresh: u32, unit: &'static str, doc: &'static str) -> Property {
    property(name, id, DataType::Dword, unit, Default::Number(fresh), doc)
}

const fn flag(name: &'static str, id: u32, fresh: bool, doc: &'static str) -> Property {
    property(name, id, DataType::Bool, "true or false", Default::Number(fresh as u32), doc)
}

const fn text(
    name: &'static str,
    id: u32,
    fresh: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> Property {
    property(name, id, DataType::String, unit, Default::Text(fresh), doc)
}

const fn list(name: &'static str, id: u32, unit: &'static str, doc: &'static str) -> Property {
    property(name, id, DataType::MultiSz, unit, Default::List(&[]), doc)
}

const fn binary(name: &'static str, id: u32, unit: &'static str, doc: &'static str) -> Property {
    property(name, id, DataType::Binary, unit, Default::Unset("none"), doc)
}

/// What an entry has otherwise.
impl Property {
    const fn at(self, keys: &'static [KeyKind]) -> Self {
        Self { keys, ..self }
    }

    const fn file(self) -> Self {
        Self { user_type: UserType::File, ..self }
    }

    const fn attributes(self, attributes: u32) -> Self {
        Self { attributes, ..self }
    }

    /// Not inherited.
    const fn alone(self) -> Self {
        self.attributes(0)
    }

    const fn volatile(self) -> Self {
        self.attributes(VOLATILE)
    }

    const fn secret(self) -> Self {
        self.attributes(INHERIT | SECURE)
    }

    const fn fresh(self, fresh: Default) -> Self {
        Self { fresh, ..self }
    }

    const fn absent_number(self, absent: u32) -> Self {
        Self { absent: Some(Default::Number(absent)), ..self }
    }

    const fn within(self, least: u32, most: u32) -> Self {
        Self { bounds: Some((least, most)), ..self }
    }

    const fn names(self, names: &'static [(u32, &'static str)]) -> Self {
        Self { names, ..self }
    }

    const fn bits(self, bits: &'static [(u32, &'static str)]) -> Self {
        Self { bits, ..self }
    }

    /// The number that asks for what the service does.
    const fn granted(self, number: u32) -> Self {
        Self { granted: Some(number), ..self }
    }

    const fn refused(self, why: &'static str) -> Self {
        Self { mark: Mark::Refused(why), ..self }
    }
}
