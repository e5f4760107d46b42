//! A change: thought through, then made or refused.

use super::{Live, Registry, aside, failed, place, rows, steps, store_failed, told};
use postroad_control::meta::{ChangeReport, How, Reach};
use postroad_control::{Failed, FailedKind, TOLD_MAX};
use postroad_mail::time::Wall;
use postroad_metabase::compile;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::INHERIT;
use postroad_metabase::schema::Mark;
use postroad_metabase::settings::Settings;
use postroad_metabase::store::{Act, Change};
use postroad_metabase::tree::{Delta, Op, OpError, Tree};
use postroad_metabase::{catalogue, checks};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

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
struct Plan {
    act: Act,
    after: Tree,
    effective: Tree,
    settings: Settings,
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
    fn plan(
        &self,
        ops: &[Op],
        how: &How,
        purpose: Purpose,
        now: Wall,
        live: &impl Live,
    ) -> Result<Plan, Failed> {
        let (before, generation) = self.stored();
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
        if how.confirm_secs.is_some() && pending.is_some() {
            let what = "another change waits to be confirmed: `postroad meta confirm` keeps it; without, it undoes itself in \
                        its time";
            return Err(failed(FailedKind::Refused, what.into()));
        }
        let mut notes = Vec::new();
        let unpinned: Vec<Op>;
        let ops = if matches!(purpose, Purpose::Edit | Purpose::Declare) {
            self.refuse_pinned(ops)?;
            ops
        } else {
            unpinned = self.unpinned(ops, &mut notes);
            &unpinned
        };
        let after = before.apply(ops).map_err(op_failed)?;
        let deltas = before.diff(&after);
        if purpose == Purpose::Edit {
            refuse_promises(&deltas)?;
        }
        let effective = compile::overlay(&after, &self.pins).map_err(op_failed)?;
        let settings = self.settings();
        let seen = self.effective.diff(&effective);
        let compiled = settings
            .recompile(&effective, &seen, &place(&self.dir), generation + 1)
            .map_err(|problems| failed(FailedKind::Refused, told(&problems)))?;
        notes.extend(steps::notes(&deltas));
        if let Some(why) = checks::open_relay(&settings, &compiled) {
            if !how.mean_it {
                let what = format!(
                    "{}. If that is what you want, say so with --i-mean-it",
                    why.trim_end_matches('.')
                );
                return Err(failed(FailedKind::Refused, what));
            }
            notes.push(format!("Meant so: {}.", why.trim_end_matches('.')));
        }
        if deltas.len() > TOLD_MAX {
            notes.push(format!("{} differences in all; the first {TOLD_MAX} are shown.", deltas.len()));
        }
        let (sessions, messages) = live.reach();
        let confirm_until = how.confirm_secs.map(|secs| now + Duration::from_secs(secs));
        let report = ChangeReport {
            applied: false,
            generation,
            differences: deltas.iter().take(TOLD_MAX).map(rows::difference).collect(),
            notes,
            reach: Reach { keys: reached(&after, &deltas), sessions, messages },
            confirm_until,
        };
        let act = if purpose == Purpose::Undo { Act::Undo } else { Act::Change };
        Ok(Plan { act, after, effective, settings: compiled, report })
    }

    async fn carry_out(
        &mut self,
        plan: Plan,
        change: Change,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let Plan { act, after, effective, mut settings, mut report } = plan;
        let prepared = live.prepare(&settings).map_err(|what| failed(FailedKind::Refused, what))?;
        let at = change.at;
        let base = Arc::clone(&self.base);
        let committed = aside(move || {
            let mut base = base.lock().unwrap_or_else(PoisonError::into_inner);
            base.commit(&after, &change, act).map_err(store_failed)
        });
        let generation = committed.await?;
        settings.generation = generation;
        self.publish(effective, settings, prepared, live);
        // A listener that is closed is gone when its task has run once more.
        tokio::task::yield_now().await;
        self.changed = Some((self.changed.map_or(at, |(first, _)| first), at));
        report.applied = true;
        report.generation = generation;
        Ok(report)
    }

    /// What the change that waits to be confirmed has set would be put back over whatever came after it.
    fn refuse_unconfirmed(&self, ops: &[Op]) -> Result<(), Failed> {
        let mut base = self.base();
        let Some(pending) = base.pending() else { return Ok(()) };
        let waiting = base.past(pending.generation).map_err(store_failed)?;
        let deltas = waiting.map_or_else(Vec::new, |past| past.deltas);
        let has_set = |op: &Op| {
            let same =
                |delta: &Delta| matches!(delta, Delta::Record { path, id, .. } if touches(op, path, *id));
            deltas.iter().any(same)
        };
        if !ops.iter().any(has_set) {
            return Ok(());
        }
        let what = format!(
            "change {} has set this and waits to be confirmed: confirm it with `postroad meta confirm`, or wait until it \
             is undone",
            pending.generation
        );
        Err(failed(FailedKind::Refused, what))
    }

    /// A pinned property is changed in its file.
    fn refuse_pinned(&self, ops: &[Op]) -> Result<(), Failed> {
        let pinned = self.pins.iter().find(|pin| ops.iter().any(|op| touches(op, &pin.path, pin.record.id)));
        let Some(pin) = pinned else { return Ok(()) };
        let name = catalogue::name_of(pin.record.id);
        let what = format!(
            "{name} of {} is pinned by {}: change it there and send the service SIGHUP, or take the line out",
            pin.path,
            self.place_of(pin)
        );
        Err(failed(FailedKind::Refused, what))
    }

    /// What is brought from elsewhere without what is pinned here, which stays as its file says.
    fn unpinned(&self, ops: &[Op], notes: &mut Vec<String>) -> Vec<Op> {
        let mut kept = ops.to_vec();
        for pin in &self.pins {
            let before = kept.len();
            kept.retain(|op| !touches(op, &pin.path, pin.record.id));
            if kept.len() < before {
                let name = catalogue::name_of(pin.record.id);
                notes.push(format!("{name} of {} is pinned by {} and left.", pin.path, self.place_of(pin)));
            }
        }
        kept
    }
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

/// A property that would promise what the service does not do is not set; blank, it promises nothing.
fn refuse_promises(deltas: &[Delta]) -> Result<(), Failed> {
    for delta in deltas {
        let Delta::Record { path, id, after: Some(after), .. } = delta else { continue };
        if let Some(Mark::Refused(why)) = catalogue::by_id(*id).map(|property| &property.mark)
            && !steps::is_blank(&after.data)
        {
            let what = format!("{path} {} is not taken: {why}", catalogue::name_of(*id));
            return Err(failed(FailedKind::Refused, what));
        }
    }
    Ok(())
}

fn op_failed(error: OpError) -> Failed {
    let kind = match error {
        OpError::NoKey(_) | OpError::NoRecord(..) => FailedKind::NotFound,
        OpError::Root | OpError::Full(_) => FailedKind::Refused,
    };
    failed(kind, error.to_string())
}

/// Keys that see another value: where an inherited record changed, all below that have none of their own. A key that sees
/// several changes counts for each, up to the number of keys there are.
fn reached(after: &Tree, deltas: &[Delta]) -> u64 {
    let mut keys: usize = 0;
    for delta in deltas {
        keys += match delta {
            Delta::KeyCreated(_) | Delta::KeyDeleted(_) => 1,
            Delta::Record { path, id, before, after: is } => {
                let inherited = [before, is].into_iter().flatten().any(|record| record.has(INHERIT));
                if inherited { after.seeing(path, *id).max(1) } else { 1 }
            }
        };
        if keys >= after.keys() {
            return after.keys() as u64;
        }
    }
    keys as u64
}
