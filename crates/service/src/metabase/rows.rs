//! What is in the tree, as faces show it.

use super::Registry;
use postroad_control::meta::MetaStep;
use postroad_control::meta_answer::{
    Difference, DifferenceKind, Finding, HistoryRow, KeyRow, Mark as Shown, PropertyRow, RecordRow, ValueRow,
};
use postroad_control::{TOLD_MAX, VALUE_TOLD_MAX, attributes};
use postroad_metabase::catalogue;
use postroad_metabase::checks;
use postroad_metabase::ids::KEY_TYPE;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{IS_INHERITED, Record, SECURE};
use postroad_metabase::schema::{Default, Mark, Property};
use postroad_metabase::store::Past;
use postroad_metabase::tree::{Delta, Node, Op, Resolved, expanded};
use postroad_metabase::values;
use std::borrow::Cow;

/// Differences of a change that are shown in a list of changes.
const DIFFERENCES_SHOWN: usize = 20;

pub(super) fn key(path: &KeyPath, above: usize, node: &Node) -> KeyRow {
    KeyRow {
        path: path.to_string(),
        depth: path.depth() - above,
        records: node.records().len(),
        children: node.children_count(),
    }
}

impl Registry {
    /// A record as `path` sees it.
    pub(super) fn record_row(&self, path: &KeyPath, resolved: &Resolved<'_>) -> RecordRow {
        let record = resolved.record;
        let inherited = resolved.depth < path.depth();
        let path = &self.effective.spelled(path);
        let from = path.above(resolved.depth);
        let pin = self.pinned.pins.iter().find(|pin| pin.path == from && pin.record.id == record.id);
        let pinned = pin.map(|pin| self.place_of(pin));
        let mut shown = values::show(record);
        // The value is shown as it can be set again, and beside it what it stands for here.
        if let Cow::Owned(data) = expanded(record, path) {
            let here = Record { data, ..record.clone() };
            shown.meaning = format!("here {}", values::show(&here).value.join(", "));
        }
        let attributes = record.attributes | if inherited { IS_INHERITED } else { 0 };
        RecordRow {
            path: path.to_string(),
            from: pinned.as_ref().map_or_else(|| from.to_string(), |place| format!("({place})")),
            inherited,
            id: record.id,
            name: catalogue::name_of(record.id).into_owned(),
            attributes,
            attribute_names: attributes::names(attributes),
            user_type: record.user_type,
            data_type: record.data.stored_type().name().into(),
            value: shown.value,
            is_list: shown.is_list,
            meaning: shown.meaning,
            secret: record.has(SECURE),
            mark: mark_at(&from, record),
            pinned,
        }
    }

    pub(super) fn value_row(&self, path: &KeyPath, id: u32, history: Vec<HistoryRow>) -> Option<ValueRow> {
        let record = self.effective.resolve(path, id).map(|resolved| self.record_row(path, &resolved));
        let property = catalogue::by_id(id).map(property);
        if record.is_none() && property.is_none() {
            return None;
        }
        let default = property.as_ref().map_or_else(String::new, |property| property.absent.clone());
        Some(ValueRow { record, property, default, history })
    }
}

/// What a record does at the key that has it.
fn mark_at(path: &KeyPath, record: &Record) -> Shown {
    match mark(catalogue::by_id(record.id)) {
        Shown::InForce if !checks::takes_effect(path, record) => Shown::Elsewhere,
        mark => mark,
    }
}

fn mark(property: Option<&Property>) -> Shown {
    match property.map(|property| &property.mark) {
        None => Shown::Unknown,
        Some(Mark::InForce { .. }) => Shown::InForce,
        // What a key is has its effect in every MetaBase.xml: it names the key's element.
        Some(Mark::Kept) if property.is_some_and(|property| property.id == KEY_TYPE) => Shown::InForce,
        Some(Mark::Kept) => Shown::Kept,
        Some(Mark::Refused(_)) => Shown::Refused,
    }
}

pub(super) fn property(property: &Property) -> PropertyRow {
    let pairs = |pairs: &[(u32, &str)]| pairs.iter().map(|(n, name)| (*n, (*name).to_owned())).collect();
    PropertyRow {
        name: property.name.into(),
        id: property.id,
        data_type: property.data_type.name().into(),
        user_type: property.user_type.number(),
        attributes: property.attributes,
        unit: property.unit.into(),
        doc: property.doc.into(),
        expectation: property.takes(),
        fresh: default(property, property.fresh),
        absent: default(property, property.absent()),
        bounds: property.bounds,
        names: pairs(property.names),
        bits: pairs(property.bits),
        is_list: property.is_list(),
        keys: property.keys.iter().map(|kind| kind.pattern().to_owned()).collect(),
        mark: mark(Some(property)),
    }
}

fn default(property: &Property, default: Default) -> String {
    let named = |number| property.names.iter().find(|(known, _)| *known == number);
    match default {
        Default::Number(number) => {
            named(number).map_or_else(|| default.to_string(), |(_, name)| format!("{number} ({name})"))
        }
        default => default.to_string(),
    }
}

pub(super) fn difference(delta: &Delta) -> Difference {
    let about = |path: &KeyPath, kind| Difference {
        path: path.to_string(),
        kind,
        id: None,
        name: String::new(),
        before: String::new(),
        after: String::new(),
    };
    match delta {
        Delta::KeyCreated(path) => about(path, DifferenceKind::KeyCreated),
        Delta::KeyDeleted(path) => about(path, DifferenceKind::KeyDeleted),
        Delta::Record { path, id, before, after } => {
            let kind = match (before, after) {
                (None, _) => DifferenceKind::Added,
                (Some(_), None) => DifferenceKind::Removed,
                (Some(_), Some(_)) => DifferenceKind::Changed,
            };
            let (mut was, mut is) = (line(before.as_ref()), line(after.as_ref()));
            if let (Some(before), Some(after)) = (before, after)
                && was == is
            {
                // It differs in what stands beside the value.
                let beside = |of: &Record| {
                    format!("  [{}, user type {}]", attributes::names(of.attributes), of.user_type)
                };
                (was, is) = (was + &beside(before), is + &beside(after));
            }
            Difference {
                id: Some(*id),
                name: catalogue::name_of(*id).into_owned(),
                before: was,
                after: is,
                ..about(path, kind)
            }
        }
    }
}

fn line(record: Option<&Record>) -> String {
    let Some(record) = record else { return String::new() };
    let line = values::line(record);
    match line.char_indices().nth(VALUE_TOLD_MAX) {
        Some((end, _)) => format!("{}... ({} octets)", &line[..end], record.data.size()),
        None => line,
    }
}

pub(super) fn history(
    past: &Past,
    all: bool,
    pending_until: Option<postroad_mail::time::Wall>,
) -> HistoryRow {
    let shown = if all { TOLD_MAX } else { DIFFERENCES_SHOWN };
    HistoryRow {
        generation: past.generation,
        at: past.at,
        author: past.author.clone(),
        reason: past.reason.clone(),
        differences: past.deltas.iter().take(shown).map(difference).collect(),
        differences_count: past.deltas_count,
        confirm_until: pending_until,
        confirmed_at: past.confirmed.as_ref().map(|(at, _)| *at),
        confirmed_by: past.confirmed.as_ref().map(|(_, by)| by.clone()),
    }
}

pub(super) fn finding(found: &checks::Finding) -> Finding {
    Finding {
        error: found.error,
        untested: found.untested,
        path: found.path.to_string(),
        id: found.id,
        name: found.name.clone(),
        description: found.description.clone(),
        repair: found.repair.iter().map(step).collect(),
        repair_text: found.repair_text.clone(),
    }
}

/// A step of the tree in an administrator's words.
fn step(op: &Op) -> MetaStep {
    match op {
        Op::Create(path) => MetaStep::Create { path: path.to_string() },
        Op::Delete(path) => MetaStep::Delete { path: path.to_string() },
        Op::Unset(path, id) => MetaStep::Unset { path: path.to_string(), property: id.to_string() },
        Op::Set(path, record) => MetaStep::Set {
            path: path.to_string(),
            property: record.id.to_string(),
            value: values::show(record).value,
            data_type: Some(record.data.stored_type().name().into()),
            user_type: Some(record.user_type),
            attributes: Some(record.attributes),
        },
    }
}
