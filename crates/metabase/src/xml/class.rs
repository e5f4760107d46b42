//! Classes of keys: an element's name is the key's KeyType.

use super::read::is_name;
use crate::catalogue::UNKNOWN_NAME;
use crate::ids::KEY_TYPE;
use crate::key::KeyKind;
use crate::path::KeyPath;
use crate::record::{Data, Record};
use crate::schema::Property;
use crate::tree::Node;

/// The class of a key that has none.
pub(super) const NO_CLASS: &str = "IIsConfigObject";
/// The element with the old installation's bookkeeping.
pub(super) const GLOBAL: &str = "IIS_Global";

/// The classes whose properties the schema has, for the schema's file.
pub(super) const CLASSES: [&str; 5] =
    ["IIsComputer", "IIsSmtpDomain", "IIsSmtpRoutingSource", "IIsSmtpServer", "IIsSmtpService"];

/// EnableHistory, EnableEditWhileRunning and their like, which belong to the machine.
const MACHINE_IDS: std::ops::RangeInclusive<u32> = 9988..=9999;
/// Properties of the routing source's key, and SmtpDsPassword, whose id is not known in public.
const ROUTING_SOURCE_IDS: [u32; 12] =
    [36950, 36951, 36952, 36953, 36955, 36956, 36957, 36993, 36994, 37023, 37024, 101_112];

/// The class that a key has without a record: the two that every file begins with.
pub(super) fn implied(path: &KeyPath) -> Option<&'static str> {
    match path.depth() {
        0 => Some("IIS_ROOT"),
        1 if path.name().is_some_and(|name| name.eq_ignore_ascii_case("LM")) => Some("IIsComputer"),
        _ => None,
    }
}

/// The name of a key's element, and whether it tells the key's KeyType.
pub(super) fn element<'n>(path: &KeyPath, node: &'n Node) -> (&'n str, bool) {
    let implied = implied(path);
    match node.record(KEY_TYPE) {
        Some(Record { attributes: 0, user_type: 1, data: Data::String(class), .. })
            if is_name(class)
                && !class.contains(':')
                && ![NO_CLASS, GLOBAL].contains(&class.as_str())
                && implied != Some(class) =>
        {
            (class, true)
        }
        _ => (implied.unwrap_or(NO_CLASS), false),
    }
}

/// Properties that are Postroad's alone: the original's schema has none of them, so an attribute would be nothing to it.
const INVENTED_IDS: std::ops::RangeInclusive<u32> = 100_000..=100_999;

/// Whether the original's schema knows the property for the class. One that goes by its number is unknown to it as well.
pub(super) fn has(class: &str, property: &Property) -> bool {
    if INVENTED_IDS.contains(&property.id) || property.name.starts_with(UNKNOWN_NAME) {
        return false;
    }
    match class {
        "IIsSmtpService" => property.keys.contains(&KeyKind::Service),
        "IIsSmtpServer" => property.keys.contains(&KeyKind::Server),
        "IIsSmtpDomain" => property.keys.contains(&KeyKind::Domain),
        "IIsSmtpRoutingSource" => ROUTING_SOURCE_IDS.contains(&property.id),
        "IIsComputer" => MACHINE_IDS.contains(&property.id),
        _ => false,
    }
}
