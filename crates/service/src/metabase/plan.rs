//! A change: thought through, then made or refused.

use super::{Live, Registry, Used, failed, place, rows, steps, told, told_of};
use postroad_control::meta::How;
use postroad_control::meta_answer::{ChangeReport, Reach};
use postroad_control::{Failed, FailedKind, TOLD_MAX};
use postroad_mail::time::Wall;
use postroad_metabase::compile::{self, Problem};
use postroad_metabase::ids::SERVER_BINDINGS;
use postroad_metabase::key::Key;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{INHERIT, IS_INHERITED, VOLATILE};
use postroad_metabase::schema::Mark;
use postroad_metabase::settings::Settings;
use postroad_metabase::store::{Act, Change, Metabase};
use postroad_metabase::text::Pin;
use postroad_metabase::tree::{Delta, Op, OpError, Tree};
use postroad_metabase::{catalogue, checks};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Seconds that a change may wait to be confirmed: who did not come back in a month will not.
const CONFIRM_SECS_MAX: u64 = 30 * 86_400;

/// What a change is made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody sets something.
    Edit,
    /// A file says what is to be here.
    Declare,
    /// What was elsewhere, or before, comes here as it is.
    Bring,
    /// The change that waits to be confirmed is undone, or all is replaced.
    Undo,
}

/// A change that was thought through: nothing stands in its way.
pub(super) struct Plan {
    act: Act,
    after: Tree,
    pub(super) effective: Tree,
    settings: Settings,
    /// What was wrong before, and still is.
    problems: Vec<Problem>,
    report: ChangeReport,
}

impl Registry {
    /// Makes a change, unless something stands in its way: then nothing has changed.
    pub(super) async fn change(
        &mut self,
        ops: &[Op],
        how: &How,
        purpose: Purpose,
        now: Wall,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let mut plan = self.plan(ops, how, purpose, now, live)?;
        if how.dry_run || plan.report.differences.is_empty() {
            plan.report.confirm_until = None;
            // What cannot take effect is refused when it is only looked at, too.
            live.rehearse(&plan.settings).map_err(|what| failed(FailedKind::Refused, what))?;
            if !how.dry_run && purpose == Purpose::Undo {
                // Everything was put back by hand, so nothing is left to wait for.
                self.write(Metabase::drop_wait, |base| base.pending().is_none().then_some(())).await?;
            }
            return Ok(plan.report);
        }
        let change = Change {
            at: now,
            author: how.author.clone(),
            reason: how.reason.clone(),
            confirm_until: plan.report.confirm_until,
        };
        self.carry_out(plan, change, live).await
    }

    /// Thinks a change through.
    pub(super) fn plan(
        &self,
        ops: &[Op],
        how: &How,
        purpose: Purpose,
        now: Wall,
        live: &impl Live,
    ) -> Result<Plan, Failed> {
        let (before, generation) = self.stored();
        self.refuse_out_of_turn(ops, how, purpose, generation)?;
        let mut notes = Vec::new();
        let ops = if matches!(purpose, Purpose::Edit | Purpose::Declare) {
            self.refuse_pinned(ops)?;
            Cow::Borrowed(ops)
        } else {
            self.unpinned(ops, &mut notes)
        };
        let after = before.apply(&ops).map_err(|error| self.op_failed(error))?;
        refuse_headless(&before, &after)?;
        let deltas = before.diff(&after);
        if matches!(purpose, Purpose::Edit | Purpose::Declare) {
            refuse_promises(&deltas)?;
            refuse_misfits(&deltas)?;
        }
        notes.extend(self.volatile(&deltas, purpose)?);
        let effective = compile::overlay(&after, &self.pinned.pins).map_err(|error| self.op_failed(error))?;
        let settings = self.settings();
        // An import has hundreds of thousands of differences: they are held once where nothing is pinned over them.
        let seen = match self.pinned.pins.as_slice() {
            [] => Cow::Borrowed(&deltas),
            _ => Cow::Owned(self.effective.diff(&effective)),
        };
        let (compiled, problems) = self.compiled(&effective, &seen, generation + 1)?;
        if purpose != Purpose::Undo {
            let unused =
                compiled.unused(&self.pinned.pins).filter(|_| settings.unused(&self.pinned.pins).is_none());
            if let Some(problem) = unused {
                return Err(failed(FailedKind::Refused, told_of(&[problem], &self.pinned)));
            }
            self.refuse_to_bar_the_undo(&after)?;
        }
        notes.extend(steps::notes(&deltas));
        notes.extend(moved(&settings, &compiled, &deltas));
        notes.extend(self.unfit_without_pins(&before, &after));
        notes.extend(problems.iter().map(|problem| format!("Still wrong, as before: {problem}")));
        notes.extend(opened(&settings, &compiled, how)?);
        if deltas.len() > TOLD_MAX {
            notes.push(format!("The first {TOLD_MAX} differences are shown."));
        }
        let touched = settings.touched_by(&compiled);
        let reach = Reach {
            keys: reached(&effective, &seen),
            sessions: if touched.sessions { live.sessions() } else { 0 },
            messages: if touched.messages { live.messages() } else { 0 },
        };
        let report = ChangeReport {
            applied: false,
            generation,
            differences: deltas.iter().take(TOLD_MAX).map(rows::difference).collect(),
            differences_count: deltas.len() as u64,
            notes,
            reach,
            confirm_until: how.confirm_secs.map(|secs| now + Duration::from_secs(secs)),
        };
        let act = if purpose == Purpose::Undo { Act::Undo } else { Act::Change };
        Ok(Plan { act, after, effective, settings: compiled, problems, report })
    }

    /// Something else is to come first, or the change comes too late.
    fn refuse_out_of_turn(
        &self,
        ops: &[Op],
        how: &How,
        purpose: Purpose,
        generation: u64,
    ) -> Result<(), Failed> {
        let pending = self.base().pending();
        if purpose != Purpose::Undo {
            self.refuse_unconfirmed(ops)?;
        }
        if how.if_generation.is_some_and(|wanted| wanted != generation) {
            let what = format!(
                "the metabase was changed in the meantime: it is at generation {generation}. Look at what is there, and \
                 make the change again"
            );
            return Err(failed(FailedKind::Refused, what));
        }
        if how.confirm_secs.is_some_and(|secs| secs > CONFIRM_SECS_MAX) {
            let what = format!("a change waits {} days at most to be confirmed", CONFIRM_SECS_MAX / 86_400);
            return Err(failed(FailedKind::Usage, what));
        }
        if how.confirm_secs.is_some() && pending.is_some() {
            let what = "another change waits to be confirmed: `postroad meta confirm` keeps it, `postroad meta rollback` undoes it, \
                        and in its time it undoes itself";
            return Err(failed(FailedKind::Refused, what.into()));
        }
        Ok(())
    }

    /// What is VOLATILE is in memory alone: set at rest, it would be gone when the verb ends.
    fn volatile(&self, deltas: &[Delta], purpose: Purpose) -> Result<Option<String>, Failed> {
        let set = deltas.iter().find_map(|delta| match delta {
            Delta::Record { path, id, after: Some(after), .. } if after.has(VOLATILE) => Some((path, *id)),
            _ => None,
        });
        let Some((path, id)) = set else { return Ok(None) };
        let name = catalogue::name_of(id);
        match (&self.used, purpose) {
            (Used::AtRest, Purpose::Edit | Purpose::Declare) => {
                let what = format!(
                    "{name} of {path} is VOLATILE, which no disk keeps: set it while a service runs, or without that attribute"
                );
                Err(failed(FailedKind::Refused, what))
            }
            (Used::AtRest, _) => {
                Ok(Some(format!("{name} of {path} is VOLATILE and left: no disk keeps it.")))
            }
            (Used::ToServe(_), _) => {
                Ok(Some(format!("{name} of {path} is VOLATILE: it is gone when the service ends.")))
            }
        }
    }

    /// The settings that a tree makes, and what was wrong before and still is: a store with two faults can be mended one by
    /// one, and no change adds a third.
    fn compiled(
        &self,
        effective: &Tree,
        seen: &[Delta],
        generation: u64,
    ) -> Result<(Settings, Vec<Problem>), Failed> {
        let place = place(&self.dir);
        let (settings, problems) = if self.problems.is_empty() {
            match self.settings().recompile(effective, seen, &place, generation) {
                Ok(settings) => return Ok((settings, Vec::new())),
                Err(problems) => (None, problems),
            }
        } else {
            let (settings, problems) = Settings::of_what_fits(effective, &place, generation);
            (Some(settings), problems)
        };
        let (old, added): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| self.is_known(problem));
        match settings {
            Some(settings) if added.is_empty() => Ok((settings, old)),
            _ => Err(failed(FailedKind::Refused, told(&added))),
        }
    }

    /// What a change makes wrong that shows when the service is started without the configuration file.
    fn unfit_without_pins(&self, before: &Tree, after: &Tree) -> Option<String> {
        let known = self.hidden_problems(before);
        let added = self.hidden_problems(after).into_iter().find(|problem| !known.contains(problem))?;
        Some(format!("Without {} no service would start by what is stored: {added}", self.pinned.file))
    }

    /// What is wrong with what is stored, and does not show because the configuration file pins something over it.
    pub(super) fn hidden_problems(&self, stored: &Tree) -> Vec<Problem> {
        if self.pinned.pins.is_empty() {
            return Vec::new();
        }
        let is_hidden = |problem: &Problem| !self.problems.contains(problem);
        compile::problems_of_server(stored, &place(&self.dir)).into_iter().filter(is_hidden).collect()
    }

    fn op_failed(&self, error: OpError) -> Failed {
        let what = match &error {
            OpError::NoRecord(path, id) => {
                let name = catalogue::name_of(*id);
                let inherits = match self.effective.resolve(path, *id) {
                    Some(seen) => format!("what it sees is that of {}", path.above(seen.depth)),
                    None => String::from("nor does a key above it; the default holds"),
                };
                format!("{path} has no {name} of its own: {inherits}")
            }
            error => error.to_string(),
        };
        let kind = match error {
            OpError::NoKey(_) | OpError::NoRecord(..) => FailedKind::NotFound,
            OpError::Root | OpError::Full(_) => FailedKind::Refused,
        };
        failed(kind, what)
    }

    async fn carry_out(
        &mut self,
        plan: Plan,
        change: Change,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let Plan { act, after, effective, mut settings, problems, mut report } = plan;
        let prepared = live.prepare(&settings).map_err(|what| failed(FailedKind::Refused, what))?;
        let at = change.at;
        let next = report.generation + 1;
        let committed = self.write(
            move |base| base.commit(&after, &change, act),
            move |base| (base.generation() == next).then_some(next),
        );
        let generation = committed.await?;
        settings.generation = generation;
        self.publish(effective, settings, prepared, live);
        self.problems = problems;
        // A listener that is closed is gone when its task has run once more.
        tokio::task::yield_now().await;
        self.changed = Some((self.changed.map_or(at, |(first, _)| first), at));
        report.applied = true;
        report.generation = generation;
        // A service waits for what comes after; at rest nothing may.
        if matches!(self.used, Used::AtRest)
            && let Err(what) = self.write_history_if_changed(at).await
        {
            report.notes.push(format!("The change is made, but {what}"));
        }
        Ok(report)
    }

    /// What the change that waits to be confirmed has set would be put back over whatever came after it.
    fn refuse_unconfirmed(&self, ops: &[Op]) -> Result<(), Failed> {
        let base = self.base();
        let Some(pending) = base.pending() else { return Ok(()) };
        // Both may be imports of hundreds of thousands of records.
        let set: BTreeSet<(&KeyPath, u32)> = base.pending_records().collect();
        let has_set = |op: &Op| match op {
            Op::Set(path, record) => set.contains(&(path, record.id)),
            Op::Unset(path, id) => set.contains(&(path, *id)),
            Op::Delete(above) => set.iter().any(|(path, _)| path.is_within(above)),
            Op::Create(_) => false,
        };
        if !ops.iter().any(has_set) {
            return Ok(());
        }
        let what = format!(
            "generation {} has set this and waits to be confirmed: keep it with `postroad meta confirm`, or undo it with \
             `postroad meta rollback`",
            pending.generation
        );
        Err(failed(FailedKind::Refused, what))
    }

    /// What waits to be confirmed undoes itself when nobody may be there to help, so a change must not stand in its way.
    fn refuse_to_bar_the_undo(&self, after: &Tree) -> Result<(), Failed> {
        let base = self.base();
        let (Some(pending), Some(undone)) = (base.pending(), base.undone_in(after)) else { return Ok(()) };
        let generation = pending.generation;
        let barred = |why: &dyn std::fmt::Display| {
            let what = format!(
                "generation {generation} waits to be confirmed, and after this it could not be undone ({why}). Keep it with \
                 `postroad meta confirm`, or undo it with `postroad meta rollback`, before"
            );
            failed(FailedKind::Refused, what)
        };
        let added = self.judge().added(&undone).map_err(|error| barred(&error))?;
        added.first().map_or(Ok(()), |problem| Err(barred(problem)))
    }

    /// The pin that would hide what a step does: one above the virtual server holds for it, whatever it has itself. Nothing is
    /// hidden where both say the same, so a configuration file can be taken into the store, to be started without.
    pub(super) fn pin_of(&self, op: &Op) -> Option<&Pin> {
        let server = Key::Server.path();
        self.pinned.pins.iter().find(|pin| {
            let id = pin.record.id;
            let says_the_same = matches!(op, Op::Set(_, record) if record.data == pin.record.data);
            let is_at =
                touches(op, &pin.path, id) || (server.is_within(&pin.path) && touches(op, &server, id));
            is_at && !says_the_same
        })
    }

    /// A pinned property is changed in its file.
    fn refuse_pinned(&self, ops: &[Op]) -> Result<(), Failed> {
        let Some(pin) = ops.iter().find_map(|op| self.pin_of(op)) else { return Ok(()) };
        let name = catalogue::name_of(pin.record.id);
        let remedy = match self.used {
            Used::ToServe(_) => "change it there and send the service SIGHUP, or take the line out",
            Used::AtRest => {
                "the service was last started with that file. Change it there, or start the service without --config, \
                 which forgets it; `postroad meta apply` takes what the file says into the metabase before that"
            }
        };
        let what = format!("{name} of {} is pinned by {}: {remedy}", pin.path, self.place_of(pin));
        Err(failed(FailedKind::Refused, what))
    }

    /// What is brought from elsewhere without what is pinned here, which stays as its file says.
    fn unpinned<'o>(&self, ops: &'o [Op], notes: &mut Vec<String>) -> Cow<'o, [Op]> {
        let pins: BTreeSet<String> = ops
            .iter()
            .filter_map(|op| self.pin_of(op))
            .map(|pin| {
                let name = catalogue::name_of(pin.record.id);
                format!("{name} of {} is pinned by {} and left.", pin.path, self.place_of(pin))
            })
            .collect();
        if pins.is_empty() {
            return Cow::Borrowed(ops);
        }
        notes.extend(pins);
        ops.iter().filter(|op| self.pin_of(op).is_none()).cloned().collect()
    }
}

/// Without its key, or the service's, the server would run by what holds without a record: open to all at port 25.
fn refuse_headless(before: &Tree, after: &Tree) -> Result<(), Failed> {
    for key in [Key::Service.path(), Key::Server.path()] {
        if before.node(&key).is_some() && after.node(&key).is_none() {
            let what = format!(
                "{key} cannot go: without it the service would listen at port 25 of every address, as the original does \
                 without a record. Unset single properties, or delete keys below it"
            );
            return Err(failed(FailedKind::Refused, what));
        }
    }
    Ok(())
}

/// That a change lets nearly everybody relay, where that is meant; else it is refused.
fn opened(before: &Settings, after: &Settings, how: &How) -> Result<Option<String>, Failed> {
    let Some(why) = checks::open_relay(before, after) else { return Ok(None) };
    let why = why.trim_end_matches('.');
    if how.mean_it {
        let word = if how.dry_run { "It has to be meant so (--i-mean-it)" } else { "Meant so" };
        return Ok(Some(format!("{word}: {why}.")));
    }
    let what = format!("{why}. If that is what you want, say so with --i-mean-it");
    Err(failed(FailedKind::Refused, what))
}

/// Where it listens then, if that changes and no binding is set.
fn moved(before: &Settings, after: &Settings, deltas: &[Delta]) -> Option<String> {
    let sets_bindings =
        |delta: &Delta| matches!(delta, Delta::Record { id: SERVER_BINDINGS, after: Some(_), .. });
    if before.bindings == after.bindings || deltas.iter().any(sets_bindings) {
        return None;
    }
    let list =
        |bindings: &[SocketAddr]| bindings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(format!("It listens on {} then, in place of {}.", list(&after.bindings), list(&before.bindings)))
}

/// Whether a step changes a record.
fn touches(op: &Op, path: &KeyPath, id: u32) -> bool {
    match op {
        Op::Set(at, record) => at == path && record.id == id,
        Op::Unset(at, of) => at == path && *of == id,
        Op::Delete(at) => path.is_within(at),
        Op::Create(_) => false,
    }
}

/// What is set is as the schema has it, whoever reads it: a value that was imported otherwise may stay.
fn refuse_misfits(deltas: &[Delta]) -> Result<(), Failed> {
    for delta in deltas {
        let Delta::Record { path, id, before, after: Some(after) } = delta else { continue };
        let is_set = before.as_ref().is_none_or(|before| before.data != after.data);
        let misfit = if after.has(IS_INHERITED) {
            Some(String::from(
                "has the attribute ISINHERITED, 0x20, which is shown and never stored. Leave it out",
            ))
        } else {
            catalogue::by_id(*id).filter(|_| is_set).and_then(|property| checks::misfit(property, after))
        };
        if let Some(what) = misfit {
            let what = format!("{path} {}: {what}", catalogue::name_of(*id));
            return Err(failed(FailedKind::Refused, what));
        }
    }
    Ok(())
}

/// A property that would promise what the service does not do is not set, but to what the service does or to nothing.
fn refuse_promises(deltas: &[Delta]) -> Result<(), Failed> {
    for delta in deltas {
        let Delta::Record { path, id, before, after: Some(after) } = delta else { continue };
        // What was imported may get other attributes.
        let is_set = before.as_ref().is_none_or(|before| before.data != after.data);
        if let Some(property) = catalogue::by_id(*id).filter(|_| is_set)
            && let Mark::Refused(why) = property.mark
            && !property.asks_nothing(&after.data)
        {
            let what = format!("{path} {} is not taken: {why}", catalogue::name_of(*id));
            return Err(failed(FailedKind::Refused, what));
        }
    }
    Ok(())
}

/// Keys that see another value: where an inherited record changed, all below that have none of their own. A key that sees
/// several changes counts for each, up to the number of keys there are; one that is gone sees nothing.
fn reached(after: &Tree, seen: &[Delta]) -> u64 {
    let mut keys: usize = 0;
    for delta in seen {
        let Delta::Record { path, id, before, after: is } = delta else { continue };
        if after.node(path).is_some() {
            let inherited = [before, is].into_iter().flatten().any(|record| record.has(INHERIT));
            keys += if inherited { after.seeing(path, *id).max(1) } else { 1 };
        }
        if keys >= after.keys() {
            return after.keys() as u64;
        }
    }
    keys as u64
}
