//! Backups of the metabase: made, verified, put back.

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use super::answer::Disk;
use super::judge::Judge;
use super::{Live, Purpose, Registry, aside, failed, steps_between, told};
use crate::backups::{self, Backups, Listed, SCHEDULED};
use crate::data;
use postroad_control::meta::{How, MetaRequest, Secret, VersionWanted};
use postroad_control::meta_answer::{BackupRow, MetaItem, RestoreReport};
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;
use postroad_metabase::backup::{self, Backup, BackupName, Keys, Manifest};
use postroad_metabase::catalogue;
use postroad_metabase::checks::{self, Finding};
use postroad_metabase::path::KeyPath;
use postroad_metabase::tree::{Op, Tree};
use std::collections::BTreeSet;
use std::time::Duration;

/// The name of backups that are made before a restore.
const SAFETY: &str = "safety";
/// Safety backups that are kept.
const SAFETY_KEPT: usize = 20;
/// How long a service may take to greet at every binding after a restore.
const HEALTH_WITHIN: Duration = Duration::from_secs(10);
/// How long a restore waits to be confirmed: `HEALTH_WITHIN`, the check, and a disk that is slow to take a change.
const GUARDED_FOR: Duration = Duration::from_secs(30);
/// Secrets that are told by name when they are not restored.
const SECRETS_TOLD_MAX: usize = 100;
/// A scheduled backup that could not be made is tried again after this: a full disk is often mended by then.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// Answers a question about backups.
pub(super) async fn answer(
    registry: &mut Registry,
    request: &MetaRequest,
    now: Wall,
    live: &impl Live,
    tell: &mut dyn FnMut(MetaItem),
) -> Result<(), Failed> {
    let mut row = |row: BackupRow| tell(MetaItem::Backup(Box::new(row)));
    match request {
        MetaRequest::Backup { name, version, overwrite, password } => {
            let wanted = Wanted { name: given(name)?, version: *version, password: password.clone() };
            row(registry.back_up(wanted, *overwrite, now).await?);
        }
        MetaRequest::Backups => {
            let backups = registry.backups();
            aside(move || backups.list()).await?.into_iter().map(listed_row).for_each(row);
        }
        MetaRequest::Verify { name, version, password } => {
            let wanted = Wanted { name: named(name)?, version: *version, password: password.clone() };
            row(registry.read_back(&wanted, false).await?.row);
        }
        MetaRequest::Restore { name, version, password, without_secrets, how } => {
            let wanted = Wanted { name: named(name)?, version: *version, password: password.clone() };
            let report = registry.restore(&wanted, *without_secrets, how, now, live).await?;
            tell(MetaItem::Restore(Box::new(report)));
        }
        MetaRequest::DeleteBackup { name, version } => row(registry.delete(named(name)?, *version).await?),
        _ => return Err(failed(FailedKind::Usage, String::from("not a question of this kind"))),
    }
    Ok(())
}

/// A backup as it is named, with what opens it.
struct Wanted {
    name: BackupName,
    version: VersionWanted,
    password: Option<Secret>,
}

/// A backup that was read back.
struct Read {
    tree: Tree,
    row: BackupRow,
    /// Secrets that were left out.
    left_out: BTreeSet<(KeyPath, u32)>,
}

fn named(name: &str) -> Result<BackupName, Failed> {
    name.parse().map_err(|error: backup::NameError| failed(FailedKind::Usage, error.to_string()))
}

/// The name of a backup that somebody makes.
fn given(name: &str) -> Result<BackupName, Failed> {
    if [SAFETY, SCHEDULED].contains(&name) {
        let what = format!(
            "backups called {name} are made by the service, which deletes the oldest of them. Give another name"
        );
        return Err(failed(FailedKind::Usage, what));
    }
    named(name)
}

/// A file is called as its own name says: that is what it is found by, whatever its manifest says.
fn row(name: &BackupName, version: u32, manifest: &Manifest, size: u64) -> BackupRow {
    let mut notes = Vec::new();
    if (&manifest.name, manifest.version) != (name, version) {
        notes.push(format!(
            "It was made as {} version {}; its file was renamed or copied.",
            manifest.name, manifest.version
        ));
    }
    BackupRow {
        name: name.to_string(),
        version,
        at: manifest.at,
        size,
        keys: manifest.keys,
        records: manifest.records,
        generation: manifest.generation,
        password: manifest.is_password(),
        verified: false,
        notes,
        fault: String::new(),
    }
}

fn listed_row(listed: Listed) -> BackupRow {
    let fault = match &listed.manifest {
        Ok(manifest) => return row(&listed.name, listed.version, manifest, listed.size),
        Err(fault) => fault.clone(),
    };
    BackupRow {
        name: listed.name.to_string(),
        version: listed.version,
        at: Wall(0),
        size: listed.size,
        keys: 0,
        records: 0,
        generation: 0,
        password: false,
        verified: false,
        notes: Vec::new(),
        fault,
    }
}

/// Adds to a backup's row what a restore of its tree would say: here, and where no configuration file pins anything.
fn tell_fit(tree: &Tree, judge: &Judge, row: &mut BackupRow) {
    let unfit = |judge: &Judge| match judge.added(tree) {
        Ok(problems) if problems.is_empty() => None,
        Ok(problems) => Some(told(&problems)),
        Err(error) => Some(error.to_string()),
    };
    if let Some(why) = unfit(judge) {
        row.fault = format!("It is whole, and cannot be restored here: {why}");
    } else if let Some(why) = judge.unpinned().and_then(|judge| unfit(&judge)) {
        row.notes.push(format!("Where the configuration file does not pin it, it cannot be restored: {why}"));
    }
}

impl Registry {
    fn backups(&self) -> Backups {
        Backups::new(&self.dir)
    }

    /// Makes a backup: what is read back from the disk is compared with the tree, record by record, before it gets its name.
    async fn back_up(&self, wanted: Wanted, overwrite: bool, now: Wall) -> Result<BackupRow, Failed> {
        let backups = self.backups();
        let version = backups.version(&wanted.name, wanted.version)?;
        let Wanted { name, password, .. } = wanted;
        let (tree, generation) = self.stored();
        let (key, judge) = (self.key, self.judge());
        let salt = data::seed().map_err(|error| failed(FailedKind::Temporary, error.to_string()))?;
        let salt = salt.first_chunk::<16>().copied().unwrap_or_default();
        let made = aside(move || {
            let keys = Keys { password: password.as_ref().map(|secret| secret.0.as_str()), machine: &key };
            let made = Backup { name: name.clone(), version, at: now, generation, tree };
            let octets = backup::encode(&made, &keys, salt)
                .map_err(|error| failed(FailedKind::Refused, error.to_string()))?;
            let fault = |error| backups.fault(&name, version, &error);
            backups.write(&name, version, overwrite, &octets, |octets| {
                backup::verify(octets, &keys, Some(&made.tree)).map(|_| ()).map_err(fault)
            })?;
            let manifest = backup::manifest(&octets).map_err(fault)?;
            let mut row = BackupRow { verified: true, ..row(&name, version, &manifest, octets.len() as u64) };
            tell_fit(&made.tree, &judge, &mut row);
            Ok(row)
        });
        made.await
    }

    /// Reads a backup into a tree of its own, and looks whether that could be restored.
    async fn read_back(&self, wanted: &Wanted, without_secrets: bool) -> Result<Read, Failed> {
        let backups = self.backups();
        let version = backups.version(&wanted.name, wanted.version)?;
        let (key, password, name) = (self.key, wanted.password.clone(), wanted.name.clone());
        let judge = self.judge();
        let read = aside(move || {
            let fault = |error| backups.fault(&name, version, &error);
            let octets = backups.read(&name, version)?;
            let keys = Keys { password: password.as_ref().map(|secret| secret.0.as_str()), machine: &key };
            let (backup, left_out) = if without_secrets {
                backup::decode_without_secrets(&octets).map_err(fault)?
            } else {
                (backup::verify(&octets, &keys, None).map_err(fault)?, Vec::new())
            };
            let manifest = backup::manifest(&octets).map_err(fault)?;
            let mut row = BackupRow { verified: true, ..row(&name, version, &manifest, octets.len() as u64) };
            tell_fit(&backup.tree, &judge, &mut row);
            Ok(Read { tree: backup.tree, row, left_out: left_out.into_iter().collect() })
        });
        read.await
    }

    /// Deletes a backup. What is wrong with it is no reason not to.
    async fn delete(&self, name: BackupName, version: VersionWanted) -> Result<BackupRow, Failed> {
        let backups = self.backups();
        let version = backups.version(&name, version)?;
        let gone = aside(move || {
            let mut row = listed_row(backups.look(name.clone(), version));
            backups.delete(&name, version)?;
            row.notes.extend(Some(std::mem::take(&mut row.fault)).filter(|fault| !fault.is_empty()));
            Ok(row)
        });
        gone.await
    }

    /// Verifies, shows the difference, makes a safety backup, puts the backup in the place of the tree in one transaction,
    /// looks whether the service is well, and puts the tree back if it is not. Until that is known the change waits to be
    /// confirmed, so that it undoes itself if this process ends in between.
    async fn restore(
        &mut self,
        wanted: &Wanted,
        without_secrets: bool,
        how: &How,
        now: Wall,
        live: &impl Live,
    ) -> Result<RestoreReport, Failed> {
        let Read { tree, row, left_out } = self.read_back(wanted, without_secrets).await?;
        let (before, _) = self.stored();
        let mut ops = steps_between(&before, &tree);
        // A secret of this machine in the place of one that cannot be opened stays.
        ops.retain(|op| !matches!(op, Op::Unset(path, id) if left_out.contains(&(path.clone(), *id))));
        let mut how = how.clone();
        if how.reason.is_empty() {
            how.reason = format!("restore of {} version {}", row.name, row.version);
        }
        let guarded = How { confirm_secs: how.confirm_secs.or(Some(GUARDED_FOR.as_secs())), ..how.clone() };
        let dry = How { dry_run: true, ..guarded.clone() };
        let mut change = self.change(&ops, &dry, Purpose::Undo, now, live).await?;
        let known = self.findings(false).await;
        let secrets = secrets_left_out(&before, &left_out);
        change.notes.extend(secrets.iter().cloned());
        let mut report = RestoreReport {
            change,
            backup: row,
            safety: None,
            steps: vec![String::from("Verified: its checksum is right and every record can be read.")],
            rolled_back: String::new(),
        };
        if report.change.differences.is_empty() {
            return Ok(report);
        }
        if how.dry_run {
            let plan = self.plan(&ops, &dry, Purpose::Undo, now, live)?;
            let error = new_error(&known, &checks::findings(&plan.effective, &Disk(&self.dir)));
            report.change.notes.extend(error.map(|error| would_be_rolled_back(&error, &how)));
            return Ok(report);
        }
        self.make_safety(&mut report, now).await?;
        report.change = self.change(&ops, &guarded, Purpose::Undo, now, live).await?;
        report.change.notes.extend(secrets);
        report.steps.push(format!("Restored in one transaction, generation {}.", report.change.generation));
        match self.seen_well(&known, &how, live).await {
            Ok(seen) => report.steps.push(seen),
            Err(why) => {
                self.roll_back(&before, why, &mut report, now, live).await?;
                return Ok(report);
            }
        }
        if how.confirm_secs.is_none() {
            self.keep("postroad", now).await?;
            report.change.confirm_until = None;
        }
        Ok(report)
    }

    /// What is there before a restore, as a backup.
    async fn make_safety(&self, report: &mut RestoreReport, now: Wall) -> Result<(), Failed> {
        let name = named(SAFETY)?;
        let version = VersionWanted::This(self.backups().next_in_turn(&name)?);
        let safety = Wanted { name: name.clone(), version, password: None };
        let safety = self.back_up(safety, true, now).await?;
        let _ = self.backups().prune(&name, SAFETY_KEPT);
        report.steps.push(format!("The tree before is backup {} version {}.", safety.name, safety.version));
        report.safety = Some(safety);
        Ok(())
    }

    async fn roll_back(
        &mut self,
        before: &Tree,
        why: String,
        report: &mut RestoreReport,
        now: Wall,
        live: &impl Live,
    ) -> Result<(), Failed> {
        let back = steps_between(&self.stored().0, before);
        let undo = How {
            author: String::from("postroad"),
            reason: format!("restore rolled back: {why}"),
            mean_it: true,
            ..How::default()
        };
        let undone = self.change(&back, &undo, Purpose::Undo, now, live).await?;
        report.steps.push(format!("Rolled back, generation {}: {why}", undone.generation));
        report.change.applied = false;
        report.change.generation = undone.generation;
        report.change.confirm_until = None;
        report.rolled_back = why;
        Ok(())
    }

    /// What was seen of a service that is well, as a sentence; else why it is not. What was wrong before is `known`.
    async fn seen_well(&self, known: &[Finding], how: &How, live: &impl Live) -> Result<String, String> {
        let greeted = live.health(HEALTH_WITHIN).await?;
        match new_error(known, &self.findings(false).await) {
            None => Ok(format!("{greeted}, and the check finds no new error.")),
            Some(error) if how.mean_it => Ok(format!("{greeted}. Meant so: {error}")),
            Some(error) => Err(error),
        }
    }

    /// Makes the scheduled backup if it is due, and says what came of it.
    pub(super) async fn scheduled_backup(&mut self, now: Wall) -> Option<Result<String, String>> {
        let settings = self.settings();
        let every = settings.backup_every?;
        // Looked at first: while the first one fails, the folder is not to be read at each tick.
        if !backups::is_due(now, self.scheduled_failed, RETRY_AFTER) {
            return None;
        }
        if self.last_scheduled.is_none() {
            self.last_scheduled = self.newest_scheduled().await;
        }
        if !backups::is_due(now, self.last_scheduled, every) {
            return None;
        }
        let made = self.make_scheduled(settings.backup_keep as usize, now).await;
        match made {
            Ok(_) => (self.last_scheduled, self.scheduled_failed) = (Some(now), None),
            Err(_) => self.scheduled_failed = Some(now),
        }
        Some(made.map_err(|failed| format!("the scheduled backup could not be made: {}", failed.what)))
    }

    async fn newest_scheduled(&self) -> Option<Wall> {
        let backups = self.backups();
        let listed = aside(move || backups.list()).await.ok()?;
        let of_name = listed.iter().filter(|one| one.name.as_str() == SCHEDULED);
        of_name.filter_map(|one| one.manifest.as_ref().ok()).map(|manifest| manifest.at).max()
    }

    async fn make_scheduled(&self, keep: usize, now: Wall) -> Result<String, Failed> {
        let name = named(SCHEDULED)?;
        let version = self.backups().next_in_turn(&name)?;
        let wanted = Wanted { name: name.clone(), version: VersionWanted::This(version), password: None };
        let row = self.back_up(wanted, true, now).await?;
        self.backups().prune(&name, keep)?;
        Ok(format!("Backup {} version {} was made and verified. {}", row.name, row.version, row.fault)
            .trim_end()
            .into())
    }
}

/// The first error that was not there before, in words.
fn new_error(known: &[Finding], found: &[Finding]) -> Option<String> {
    let is_new = |finding: &&Finding| {
        let same = |one: &Finding| (&one.path, one.id) == (&finding.path, finding.id);
        finding.error && !known.iter().any(same)
    };
    let first = found.iter().find(is_new)?;
    Some(format!("{} {}: {}", first.path, first.name, first.description))
}

fn would_be_rolled_back(error: &str, how: &How) -> String {
    if how.mean_it {
        return format!("The check will find what it does not find here, meant so: {error}");
    }
    format!(
        "The check will find what it does not find here, and it will be rolled back, unless --i-mean-it says that it is meant: {error}"
    )
}

/// A sentence for each secret that a restore leaves out.
fn secrets_left_out(before: &Tree, left_out: &BTreeSet<(KeyPath, u32)>) -> Vec<String> {
    let sentence = |(path, id): &(KeyPath, u32)| {
        let name = catalogue::name_of(*id);
        match before.record(path, *id) {
            Some(_) => format!("The secret {name} of {path} is not restored: the one that is here stays."),
            None => format!(
                "The secret {name} of {path} is not restored: enter it again with `postroad meta set {path} {name} --value-file FILE`."
            ),
        }
    };
    let mut sentences: Vec<String> = left_out.iter().take(SECRETS_TOLD_MAX).map(sentence).collect();
    if left_out.len() > SECRETS_TOLD_MAX {
        sentences.push(format!("{} secrets in all are not restored.", left_out.len()));
    }
    sentences
}
