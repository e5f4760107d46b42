//! What `meta` changes.

use super::args::{Changing, Check, Kept, Place, Restore, Set};
use super::forms::{self, At};
use super::{Asker, files, reports};
use crate::ending::{DONE, NO, Trouble};
use crate::screen::Line;
use postroad_control::meta::{How, MetaRequest, MetaStep, Prune, VersionWanted};
use postroad_control::meta_answer::{ChangeReport, MetaItem, RestoreReport};
use serde::Serialize;
use std::path::Path;

/// The answer to `confirm`, for programs.
#[derive(Serialize)]
struct Confirmed {
    confirmed: u64,
}

/// The question before something is changed, and what to do where nobody can be asked.
struct Question<'q> {
    text: &'q str,
    otherwise: &'q str,
}

impl Asker<'_, '_> {
    /// Makes a change and shows what it did.
    pub(super) fn changed(&mut self, request: MetaRequest) -> Result<u8, Trouble> {
        let report = self.report(request)?;
        self.show(&report, reports::change)?;
        Ok(DONE)
    }

    fn report(&mut self, request: MetaRequest) -> Result<ChangeReport, Trouble> {
        self.one(request, |item| match item {
            MetaItem::Change(report) => Some(*report),
            _ => None,
        })
    }

    pub(super) fn steps(&mut self, steps: Vec<MetaStep>, how: Changing) -> Result<u8, Trouble> {
        self.changed(MetaRequest::Change { steps, how: how.how() })
    }

    pub(super) fn set(&mut self, set: Set) -> Result<u8, Trouble> {
        let (at, mut value) = forms::what_is_set(&set.arguments, set.value_file.is_some(), || self.schema())?;
        if let Some(file) = &set.value_file {
            value = files::value(file)?;
        }
        let At { path, property } = at;
        let (data_type, user_type, attributes) = (set.data_type, set.user_type, set.attributes);
        self.steps(vec![MetaStep::Set { path, property, value, data_type, user_type, attributes }], set.how)
    }

    pub(super) fn unset(&mut self, at: At, how: Changing) -> Result<u8, Trouble> {
        self.steps(vec![MetaStep::Unset { path: at.path, property: at.property }], how)
    }

    /// Deletes the key of that path if there is one, else the property that the path ends in, if it is one.
    pub(super) fn delete(&mut self, what: Place, how: Changing) -> Result<u8, Trouble> {
        if what.property.is_some() {
            return self.unset(what.at()?, how);
        }
        let path = what.path;
        match (self.ask)(MetaRequest::Tree { path: path.clone(), depth: 0 }, &mut |_| Ok(())) {
            Ok(()) => self.steps(vec![MetaStep::Delete { path }], how),
            Err(Trouble::Says(NO, no_key)) => match forms::split(&path) {
                Some(at) if forms::is_known(&self.schema()?, &at.property) => self.unset(at, how),
                _ => Err(Trouble::Says(NO, no_key)),
            },
            Err(trouble) => Err(trouble),
        }
    }

    pub(super) fn diff(&mut self, file: &Path, prune: Prune) -> Result<u8, Trouble> {
        let report = self.report(MetaRequest::Diff { text: files::given(file)?, prune });
        let report = report.map_err(|trouble| match trouble {
            // 1 says that something differs.
            Trouble::Says(NO, what) => Trouble::usage(what),
            trouble => trouble,
        })?;
        self.show(&report, reports::change)?;
        Ok(if report.differences.is_empty() { DONE } else { NO })
    }

    pub(super) fn apply(&mut self, file: &Path, prune: Prune, how: Changing) -> Result<u8, Trouble> {
        self.changed(MetaRequest::Apply { text: files::given(file)?, prune, how: how.how() })
    }

    pub(super) fn import(&mut self, file: &Path, apply: bool, how: Changing) -> Result<u8, Trouble> {
        let apply = apply && !how.dry_run;
        let request = MetaRequest::Import { text: files::given(file)?, apply, how: how.how() };
        let report = self.one(request, |item| match item {
            MetaItem::Import(report) => Some(*report),
            _ => None,
        })?;
        self.show(&report, reports::import)?;
        match apply && !report.refusal.is_empty() {
            true => Err(Trouble::Says(NO, report.refusal)),
            false => Ok(DONE),
        }
    }

    pub(super) fn confirm(&mut self) -> Result<u8, Trouble> {
        let confirmed = self.one(MetaRequest::Confirm { author: forms::author() }, |item| match item {
            MetaItem::Confirmed(generation) => Some(generation),
            _ => None,
        })?;
        self.show(&Confirmed { confirmed }, |_, _| {
            vec![Line::plain(format!("Generation {confirmed} stays."))]
        })?;
        Ok(DONE)
    }

    /// Shows what is wrong and what would repair it, and repairs it in one change. What is left decides the exit status.
    pub(super) fn repair(&mut self, check: Check) -> Result<u8, Trouble> {
        let found = self.findings(&check)?;
        let steps: Vec<MetaStep> = found.iter().flat_map(|finding| finding.repair.iter().cloned()).collect();
        if steps.is_empty() {
            return self.verdict(&found);
        }
        let mut how = check.how.clone().how();
        if how.reason.is_empty() {
            how.reason = "check --repair".into();
        }
        let shown = self.report(MetaRequest::Change { steps: steps.clone(), how: dry(&how) })?;
        self.show(&shown, reports::change)?;
        if how.dry_run {
            return self.verdict(&found);
        }
        let question = Question {
            text: "Repair it so?",
            otherwise: "nothing was repaired: nobody can be asked here. Repair with --yes, or look with --dry-run.",
        };
        if !check.yes && !self.asked(&question)? {
            self.say(Line::plain("Nothing was repaired."))?;
            return self.verdict(&found);
        }
        // What is repaired is what was shown.
        how.if_generation = how.if_generation.or(Some(shown.generation));
        self.changed(MetaRequest::Change { steps, how })?;
        self.check(&check)
    }

    pub(super) fn restore(&mut self, restore: Restore) -> Result<u8, Trouble> {
        let password = restore.password.of_kept()?;
        let mut how = restore.how.how();
        let request = |how: How| {
            let (name, version) = (restore.which.name.clone(), restore.which.version);
            let without_secrets = restore.without_secrets;
            MetaRequest::Restore { name, version, password: password.clone(), without_secrets, how }
        };
        if !restore.yes || how.dry_run {
            let shown = self.restored(request(dry(&how)))?;
            if how.dry_run || shown.change.differences.is_empty() {
                return Ok(DONE);
            }
            let question = Question {
                text: "Put it in the place of everything?",
                otherwise: "nothing was restored: nobody can be asked here. Restore with --yes, or look with --dry-run.",
            };
            if !self.asked(&question)? {
                self.say(Line::plain("Nothing was restored."))?;
                return Ok(NO);
            }
            // What is restored differs from what is there as was shown.
            how.if_generation = how.if_generation.or(Some(shown.change.generation));
        }
        let done = self.restored(request(how))?;
        Ok(if done.rolled_back.is_empty() { DONE } else { NO })
    }

    /// Deletes a backup that is named with its version; the highest one, which may be the only good one, after a yes.
    pub(super) fn delete_backup(&mut self, which: Kept, yes: bool) -> Result<u8, Trouble> {
        let Kept { name, version } = which;
        let question = Question {
            text: &format!("Delete the highest version of {name}?"),
            otherwise: "nothing was deleted: nobody can be asked here. Name the version with --version, or say --yes.",
        };
        let is_named = matches!(version, VersionWanted::This(_));
        if !is_named && !yes && !self.asked(&question)? {
            self.say(Line::plain("Nothing was deleted."))?;
            return Ok(NO);
        }
        self.backup(MetaRequest::DeleteBackup { name, version }, " is deleted")
    }

    fn restored(&mut self, request: MetaRequest) -> Result<RestoreReport, Trouble> {
        let report = self.one(request, |item| match item {
            MetaItem::Restore(report) => Some(*report),
            _ => None,
        })?;
        self.show(&report, reports::restore)?;
        Ok(report)
    }

    fn asked(&mut self, question: &Question<'_>) -> Result<bool, Trouble> {
        self.screen.flush()?;
        (self.person)(question.text)?.ok_or_else(|| Trouble::usage(question.otherwise))
    }
}

fn dry(how: &How) -> How {
    How { dry_run: true, ..how.clone() }
}
