//! From steps in an administrator's words to steps of the tree.

use super::{Registry, failed};
use postroad_control::meta::MetaStep;
use postroad_control::{Failed, FailedKind};
use postroad_metabase::ids::KEY_TYPE;
use postroad_metabase::key::KeyKind;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{INHERIT, Record, SECURE, StoredType};
use postroad_metabase::schema::{Mark, Property};
use postroad_metabase::tree::{Delta, Op, Tree};
use postroad_metabase::values;
use postroad_metabase::{catalogue, checks};
use std::collections::BTreeSet;

/// `IIS_MD_UT_SERVER`: whom a record is filed under where nothing says otherwise.
const SERVER: u32 = 1;
/// Steps of one change.
const STEPS_MAX: usize = 100_000;
/// Notes on properties that are kept without effect: beyond these their number is told.
const NOTES_MAX: usize = 10;

/// A property as it was named: the schema's, or an id alone.
pub(super) struct Named {
    pub(super) id: u32,
    pub(super) property: Option<&'static Property>,
}

pub(super) fn path(text: &str) -> Result<KeyPath, Failed> {
    KeyPath::read(text).map_err(|error| {
        failed(FailedKind::Usage, format!("{error}. Give a path such as /LM/SmtpSvc/1 or smtpsvc/1"))
    })
}

/// The property of a name in any case, an id, or `UnknownName_61537`.
pub(super) fn named(text: &str) -> Result<Named, Failed> {
    let text = text.trim();
    if let Some((id, property)) = catalogue::named(text).filter(|(id, _)| *id != 0) {
        return Ok(Named { id, property });
    }
    let hint = catalogue::nearest(text).map_or_else(
        || String::from("docs/settings.md lists those that are; any other one is named by its id"),
        |known| format!("Did you mean {known}?"),
    );
    Err(failed(FailedKind::Usage, format!("{text:?} is not a property. {hint}")))
}

impl Registry {
    /// The steps of the tree. `tree` is the one they are made for, so that what is there keeps its type and attributes.
    pub(super) fn ops(&self, tree: &Tree, given: &[MetaStep]) -> Result<Vec<Op>, Failed> {
        if given.len() > STEPS_MAX {
            return Err(failed(
                FailedKind::Usage,
                format!("{} steps; {STEPS_MAX} at most in one change", given.len()),
            ));
        }
        let mut ops: Vec<Op> = Vec::with_capacity(given.len());
        for step in given {
            let op = op(tree, step)?;
            if let Op::Set(key, record) = &op {
                refuse_mistyped(tree, &ops, key, record)?;
            }
            ops.push(op);
        }
        Ok(ops)
    }
}

/// A property that the schema knows does not make a key of a kind that it does not know: nothing would read it there.
fn refuse_mistyped(tree: &Tree, before: &[Op], key: &KeyPath, record: &Record) -> Result<(), Failed> {
    let is_known =
        tree.node(key).is_some() || KeyKind::of(key).is_some() || catalogue::by_id(record.id).is_none();
    if is_known || before.iter().any(|op| matches!(op, Op::Create(made) if made.is_within(key))) {
        return Ok(());
    }
    let name = catalogue::name_of(record.id);
    let hint = match tree.nearest(key) {
        Some(near) => format!("Did you mean {near}? If not, create {key} first"),
        None => format!("Create {key} first, if that is what you want"),
    };
    Err(failed(
        FailedKind::NotFound,
        format!("{key} does not exist, and {name} would do nothing there. {hint}"),
    ))
}

fn op(tree: &Tree, step: &MetaStep) -> Result<Op, Failed> {
    Ok(match step {
        MetaStep::Create { path: key } => Op::Create(path(key)?),
        MetaStep::Delete { path: key } => Op::Delete(path(key)?),
        MetaStep::Unset { path: key, property } => Op::Unset(path(key)?, named(property)?.id),
        MetaStep::Set { path: key, property, value, data_type, user_type, attributes } => {
            let (key, named) = (path(key)?, named(property)?);
            let old = tree.record(&key, named.id);
            let kind = match data_type {
                Some(name) => StoredType::named(name).ok_or_else(|| {
                    let what = format!(
                        "{name:?} is not a data type: give DWORD, STRING, BINARY, EXPANDSZ or MULTISZ"
                    );
                    failed(FailedKind::Usage, what)
                })?,
                None => match (named.property, old) {
                    (Some(property), _) => property.stored_type(),
                    (None, Some(old)) => old.data.stored_type(),
                    (None, None) => guessed(value),
                },
            };
            // A property is read by its own rules only as the type that it has.
            let known = named.property.filter(|property| property.stored_type() == kind);
            // A secret does not become public by an attribute that was left out.
            let is_secret = old.is_some_and(|old| old.has(SECURE))
                || named.property.is_some_and(|property| property.attributes & SECURE != 0);
            // Nor is it shown, so a repair of what stands beside it comes without it.
            let kept = old.filter(|old| is_secret && value.is_empty() && old.data.stored_type() == kind);
            let data = match kept {
                Some(old) => old.data.clone(),
                None => values::read(known, kind, value).map_err(|bad| {
                    let name = catalogue::name_of(named.id);
                    failed(FailedKind::Usage, format!("{key} {name}: {}. {}", bad.what, bad.remedy))
                })?,
            };
            let own = |of_record: fn(&Record) -> u32, of_schema: fn(&Property) -> u32, other: u32| {
                old.map(of_record).or_else(|| named.property.map(of_schema)).unwrap_or(other)
            };
            let user_type = user_type
                .unwrap_or_else(|| own(|old| old.user_type, |property| property.user_type.number(), SERVER));
            let mut attributes = attributes
                .unwrap_or_else(|| own(|old| old.attributes, |property| property.attributes, INHERIT));
            if is_secret {
                attributes |= SECURE;
            }
            Op::Set(key, Record { id: named.id, attributes, user_type, data })
        }
    })
}

/// The type of a value of which nothing is known but its text.
fn guessed(value: &[String]) -> StoredType {
    match value {
        [one] if one.parse::<u32>().is_ok() || one.starts_with("0x") => StoredType::Dword,
        [_] => StoredType::String,
        _ => StoredType::MultiSz,
    }
}

/// What should be known of a change: properties that nothing reads, or that have no effect at their key.
pub(super) fn notes(deltas: &[Delta]) -> Vec<String> {
    let (mut kept, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    let (mut misplaced, mut more) = (Vec::new(), 0_usize);
    for delta in deltas {
        let Delta::Record { path, id, after: Some(after), .. } = delta else { continue };
        let finding = catalogue::by_id(*id).and_then(|property| checks::misplaced(path, property, after));
        let is_misplaced = finding.is_some();
        match finding {
            Some(found) if misplaced.len() < NOTES_MAX => {
                misplaced.push(format!("{path}: {} {}", found.description, found.repair_text));
            }
            found => more += usize::from(found.is_some()),
        }
        match catalogue::by_id(*id).map(|property| &property.mark) {
            // Where it is none of the service's business, as in the key of another one, checks say nothing.
            Some(Mark::InForce { .. }) if !is_misplaced && !checks::takes_effect(path, after) => {
                elsewhere.insert(format!(
                    "{path}: {} has no effect here: no key that the service runs by is below it or is it.",
                    catalogue::name_of(*id)
                ));
            }
            Some(Mark::InForce { .. }) => {}
            Some(Mark::Kept | Mark::Refused(_)) | None => {
                kept.insert(*id);
            }
        }
    }
    // What every key has to say what it is needs no words.
    kept.remove(&KEY_TYPE);
    let names: Vec<_> = kept.iter().take(NOTES_MAX).map(|id| catalogue::name_of(*id)).collect();
    let mut notes = Vec::new();
    if !names.is_empty() {
        let more = kept.len().saturating_sub(NOTES_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (verb, it) = if kept.len() == 1 { ("is", "it") } else { ("are", "them") };
        notes.push(format!(
            "{}{more} {verb} kept without effect: no mail is taken or sent by {it}.",
            names.join(", ")
        ));
    }
    notes.extend(misplaced);
    more += elsewhere.len().saturating_sub(NOTES_MAX);
    notes.extend(elsewhere.into_iter().take(NOTES_MAX));
    if more > 0 {
        notes.push(format!(
            "{more} more have no effect where they stand; `postroad meta check` tells of each."
        ));
    }
    notes
}
