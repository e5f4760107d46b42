//! The answers to questions about the metabase.

use super::rows;
use super::steps::{named, path};
use super::{Live, Purpose, Registry, as_xml, failed, steps_between, store_failed};
use crate::lookup::Presence;
use postroad_control::meta::{Form, How, MetaRequest};
use postroad_control::meta_answer::{ChangeReport, MetaItem, PendingRow};
use postroad_control::{Failed, FailedKind, Item};
use postroad_mail::time::Wall;
use postroad_metabase::catalogue as known_properties;
use postroad_metabase::checks::There;
use postroad_metabase::path::KeyPath;
use postroad_metabase::store::Pending;
use postroad_metabase::text::Pin;
use postroad_metabase::{catalogue, checks, text, values, xml};
use std::io::ErrorKind;
use std::path::Path;

/// Characters of a piece of an exported text.
const PIECE: usize = 64 * 1024;
/// Changes looked through for the history of one value.
const HISTORY_OF_VALUE: usize = 50;

/// Answers one question.
pub(crate) async fn answer(
    registry: &mut Registry,
    request: &MetaRequest,
    now: Wall,
    live: &impl Live,
    each: &mut dyn FnMut(Item),
) -> Result<(), Failed> {
    let mut tell = |item: MetaItem| each(Item::Meta(item));
    // Where it fails, changes say so, and what is in memory can be looked at.
    let _ = registry.settle(live).await;
    // Nobody ticks while a face keeps a store at rest open. What stands in the way of it is told by whoever changes next.
    let _ = registry.undo_overdue(now, live).await;
    let changed = |report: ChangeReport| MetaItem::Change(Box::new(report));
    // What is an answer of many parts tells them itself.
    let item = match request {
        MetaRequest::Tree { path: key, depth } => return registry.tree(&path(key)?, *depth, &mut tell),
        MetaRequest::Enum { path: key, inherited } => {
            return registry.list(&path(key)?, *inherited, &mut tell);
        }
        MetaRequest::Get { path: key, property, why } => {
            MetaItem::Value(Box::new(registry.get(&path(key)?, property, *why)?))
        }
        MetaRequest::Find { path: key, text } => return registry.find(&path(key)?, text, &mut tell),
        MetaRequest::Schema => {
            known_properties().for_each(|known| tell(MetaItem::Property(Box::new(rows::property(known)))));
            return Ok(());
        }
        MetaRequest::Change { steps, how } => {
            let ops = registry.ops(&registry.stored().0, steps)?;
            changed(registry.change(&ops, how, Purpose::Edit, now, live).await?)
        }
        MetaRequest::Apply { text, prune, how } => {
            changed(registry.apply(text, *prune, how, now, live).await?)
        }
        MetaRequest::Diff { text, prune } => changed(registry.compare(text, *prune, now, live).await?),
        MetaRequest::Export { form, path: key } => return registry.export(*form, &path(key)?, &mut tell),
        MetaRequest::Import { text, apply, how } => {
            MetaItem::Import(Box::new(registry.import(text, *apply, how, now, live).await?))
        }
        MetaRequest::Check { path: key, online } => {
            return registry.check(&path(key)?, *online, &mut tell).await;
        }
        MetaRequest::Log { limit, generation } => return registry.log(*limit, *generation, &mut tell),
        MetaRequest::Rollback { generation, how } => {
            changed(registry.rollback(*generation, how, now, live).await?)
        }
        MetaRequest::Undo { how } => changed(registry.take_back(how, now, live).await?),
        MetaRequest::Confirm { author } => MetaItem::Confirmed(registry.keep(author, now).await?),
        request => return super::backup::answer(registry, request, now, live, &mut tell).await,
    };
    tell(item);
    Ok(())
}

impl Registry {
    fn must_be(&self, key: &KeyPath) -> Result<(), Failed> {
        if self.effective.node(key).is_some() {
            return Ok(());
        }
        let what = format!("{key} does not exist. `postroad meta tree` shows the keys that do");
        Err(failed(FailedKind::NotFound, what))
    }

    fn tree(&self, key: &KeyPath, depth: usize, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.must_be(key)?;
        let mut waiting = vec![self.effective.spelled(key)];
        while let Some(path) = waiting.pop() {
            let Some(node) = self.effective.node(&path) else { continue };
            let row = rows::key(&path, key.depth(), node);
            if row.depth < depth {
                let below = node.children().filter_map(|child| path.child(child.name()).ok());
                let mut below: Vec<_> = below.collect();
                below.reverse();
                waiting.extend(below);
            }
            tell(MetaItem::Key(row));
        }
        Ok(())
    }

    fn list(&self, key: &KeyPath, inherited: bool, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.must_be(key)?;
        for resolved in self.effective.resolve_all(key) {
            if inherited || resolved.depth == key.depth() {
                tell(MetaItem::Record(Box::new(self.record_row(key, &resolved))));
            }
        }
        Ok(())
    }

    fn get(
        &self,
        key: &KeyPath,
        property: &str,
        why: bool,
    ) -> Result<postroad_control::meta_answer::ValueRow, Failed> {
        let id = named(property)?.id;
        self.must_be(key)?;
        let history = if why { self.history_of(key, id)? } else { Vec::new() };
        self.value_row(key, id, history).ok_or_else(|| {
            let what =
                format!("{key} has no record {id} and inherits none, and the schema does not know the id");
            failed(FailedKind::NotFound, what)
        })
    }

    /// What became of a value at the key, and at those it inherits from.
    fn history_of(
        &self,
        key: &KeyPath,
        id: u32,
    ) -> Result<Vec<postroad_control::meta_answer::HistoryRow>, Failed> {
        let mut past = Vec::new();
        for depth in 0..=key.depth() {
            let found = self.base().history_of(&key.above(depth), id, HISTORY_OF_VALUE);
            past.extend(found.map_err(store_failed)?);
        }
        past.sort_by_key(|past| std::cmp::Reverse(past.generation));
        past.truncate(HISTORY_OF_VALUE);
        Ok(past.iter().map(|past| rows::history(past, false, None)).collect())
    }

    fn find(&self, key: &KeyPath, wanted: &str, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.must_be(key)?;
        let id: Option<u32> = named(wanted).ok().map(|named| named.id);
        let wanted = wanted.to_lowercase();
        let mut found = false;
        for (path, node) in self.effective.walk_from(&self.effective.spelled(key)) {
            if path.name().is_some_and(|name| name.to_lowercase().contains(&wanted)) {
                found = true;
                tell(MetaItem::Key(rows::key(&path, key.depth(), node)));
            }
            for record in node.records() {
                let name = catalogue::name_of(record.id).to_lowercase();
                let matches = id == Some(record.id) || name.contains(&wanted) || {
                    let shown = values::show(record);
                    let mut texts = shown.value.iter().chain([&shown.meaning]);
                    texts.any(|text| text.to_lowercase().contains(&wanted))
                };
                if matches {
                    found = true;
                    let resolved = postroad_metabase::tree::Resolved { record, depth: path.depth() };
                    tell(MetaItem::Record(Box::new(self.record_row(&path, &resolved))));
                }
            }
        }
        if found {
            return Ok(());
        }
        Err(failed(FailedKind::NotFound, format!("nothing at {key} or below it matches {wanted:?}")))
    }

    fn export(&self, form: Form, key: &KeyPath, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.must_be(key)?;
        let (tree, generation) = self.stored();
        let pins: Vec<_> = self.pinned.pins.iter().map(|pin| (pin, self.place_of(pin))).collect();
        let whole = match form {
            Form::Toml => text::export(&tree, &self.effective.spelled(key), &pins),
            Form::Xml if key.depth() == 0 => {
                let remark = |(pin, place): &(&Pin, String)| {
                    let name = catalogue::name_of(pin.record.id);
                    format!("{name} of {} is pinned by {place}: {}", pin.path, values::line(&pin.record))
                };
                let remarks: Vec<String> = pins.iter().map(remark).collect();
                xml::remarked(as_xml(&tree, generation), &remarks)
            }
            Form::Xml => {
                let what = "a MetaBase.xml holds the whole tree: export / as XML, or a part of it as TOML";
                return Err(failed(FailedKind::Usage, what.into()));
            }
        };
        let mut rest = whole.as_str();
        while !rest.is_empty() {
            let mut end = rest.len().min(PIECE);
            while !rest.is_char_boundary(end) {
                end -= 1;
            }
            let (piece, after) = rest.split_at(end);
            tell(MetaItem::Text(piece.to_owned()));
            rest = after;
        }
        Ok(())
    }

    /// Keeps the change that waits to be confirmed.
    pub(super) async fn keep(&self, by: &str, now: Wall) -> Result<u64, Failed> {
        let waiting = self.base().pending().ok_or_else(super::nothing_waits)?.generation;
        let by = by.to_owned();
        let written = self.write(
            move |base| base.confirm(&by, now),
            move |base| base.pending().is_none().then_some(Some(waiting)),
        );
        written.await.map(|_| waiting)
    }

    async fn rollback(
        &mut self,
        generation: u64,
        how: &How,
        now: Wall,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let wanted = self
            .base()
            .tree_at(generation)
            .map_err(|error| failed(FailedKind::NotFound, error.to_string()))?;
        let ops = steps_between(&self.stored().0, &wanted);
        // What waits to be confirmed is not in what was before it.
        let undoes = self.base().pending().is_some_and(|pending| generation < pending.generation);
        let mut how = how.clone();
        if how.reason.is_empty() {
            how.reason = format!("back to generation {generation}");
        }
        let purpose = if undoes { Purpose::Undo } else { Purpose::Bring };
        self.change(&ops, &how, purpose, now, live).await
    }

    fn log(
        &self,
        limit: usize,
        generation: Option<u64>,
        tell: &mut dyn FnMut(MetaItem),
    ) -> Result<(), Failed> {
        let mut base = self.base();
        let pending = base.pending();
        if let Some(Pending { generation, until }) = pending {
            tell(MetaItem::Pending(PendingRow { generation, until }));
        }
        let until = |of: u64| {
            pending.as_ref().filter(|pending| pending.generation == of).map(|pending| pending.until)
        };
        if let Some(generation) = generation {
            let past = base.past(generation).map_err(store_failed)?;
            let Some(past) = past else {
                let what =
                    format!("no generation {generation} is known: `postroad meta log` lists those that are");
                return Err(failed(FailedKind::NotFound, what));
            };
            tell(MetaItem::History(Box::new(rows::history(&past, true, until(generation)))));
            return Ok(());
        }
        for past in base.history(limit, None).map_err(store_failed)? {
            tell(MetaItem::History(Box::new(rows::history(&past, false, until(past.generation)))));
        }
        Ok(())
    }

    async fn check(&self, key: &KeyPath, online: bool, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.must_be(key)?;
        let findings = self.findings(online).await;
        for found in findings.iter().filter(|found| found.path.is_within(key)) {
            tell(MetaItem::Finding(Box::new(rows::finding(found))));
        }
        Ok(())
    }

    /// What is wrong with what holds.
    pub(super) async fn findings(&self, online: bool) -> Vec<checks::Finding> {
        let mut findings = checks::findings(&self.effective, &Disk(&self.dir));
        findings.extend(self.hidden_problems(&self.stored().0).into_iter().map(|problem| checks::Finding {
            error: false,
            untested: false,
            description: format!("Without {} no service would start: it {}.", self.pinned.file, problem.what),
            path: problem.path,
            id: problem.id,
            name: problem.name,
            repair: Vec::new(),
            repair_text: problem.remedy,
        }));
        if online {
            findings.extend(self.hosts_missing().await);
        }
        findings
    }

    /// Hosts that values name and that DNS says are not there.
    async fn hosts_missing(&self) -> Vec<checks::Finding> {
        let settings = self.settings();
        let mut findings = Vec::new();
        for (path, id, host) in checks::hosts(&self.effective) {
            let (untested, description) = match crate::lookup::look_for(&settings, &host).await {
                Presence::There => continue,
                Presence::Missing(why) => (false, format!("The host {host} is not found in DNS: {why}.")),
                Presence::Unknown(why) => (true, format!("The host {host} could not be looked up: {why}.")),
            };
            findings.push(checks::Finding {
                error: false,
                untested,
                path,
                id: Some(id),
                name: catalogue::name_of(id).into_owned(),
                description,
                repair: Vec::new(),
                repair_text: String::new(),
            });
        }
        findings
    }
}

/// What the checks may know of the disk: the data folder.
pub(super) struct Disk<'d>(pub(super) &'d Path);

impl checks::World for Disk<'_> {
    fn at(&self, folder: &Path) -> There {
        match std::fs::metadata(self.0.join(folder)) {
            Ok(found) if found.is_dir() => There::Folder,
            Err(error) if error.kind() == ErrorKind::NotFound => There::Nothing,
            Ok(_) | Err(_) => There::NoFolder,
        }
    }
}
