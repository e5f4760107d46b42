//! Backups of the metabase: made, verified, put back.

use super::{Live, Purpose, Registry, aside, failed, steps_between};
use crate::backups::{self, Backups, Listed, SCHEDULED};
use crate::data;
use postroad_control::meta::{BackupRow, How, MetaItem, MetaRequest, RestoreReport, Secret, VersionWanted};
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;
use postroad_metabase::backup::{self, Backup, BackupName, Keys, Manifest};
use postroad_metabase::checks::Finding;
use postroad_metabase::tree::Tree;
use std::time::Duration;

/// The name of backups that are made before a restore.
const SAFETY: &str = "safety";
/// Safety backups that are kept.
const SAFETY_KEPT: usize = 20;
/// How long a service may take to greet at every binding after a restore.
const HEALTH_WITHIN: Duration = Duration::from_secs(10);

/// Answers a question about backups.
pub(super) async fn answer(
    registry: &mut Registry,
    request: &MetaRequest,
    now: Wall,
    live: &impl Live,
    tell: &mut dyn FnMut(MetaItem),
) -> Result<(), Failed> {
    match request {
        MetaRequest::Backup { name, version, overwrite, password } => {
            let wanted = Wanted { name: named(name)?, version: *version, password: password.clone() };
            let row = registry.back_up(wanted, *overwrite, now).await?;
            tell(MetaItem::Backup(Box::new(row)));
        }
        MetaRequest::Backups => {
            let backups = registry.backups();
            for listed in aside(move || backups.list()).await? {
                tell(MetaItem::Backup(Box::new(listed_row(listed))));
            }
        }
        MetaRequest::Verify { name, version, password } => {
            let wanted = Wanted { name: named(name)?, version: *version, password: password.clone() };
            let (_, row) = registry.read_back(&wanted, None).await?;
            tell(MetaItem::Backup(Box::new(row)));
        }
        MetaRequest::Restore { name, version, password, how } => {
            let wanted = Wanted { name: named(name)?, version: *version, password: password.clone() };
            let report = registry.restore(&wanted, how, now, live).await?;
            tell(MetaItem::Restore(Box::new(report)));
        }
        MetaRequest::DeleteBackup { name, version } => {
            let name = named(name)?;
            let backups = registry.backups();
            let version = backups.version(&name, *version)?;
            let found = backups.list()?.into_iter().find(|one| one.name == name && one.version == version);
            let found = found.ok_or_else(|| {
                failed(FailedKind::NotFound, format!("there is no backup {name} of version {version}"))
            })?;
            backups.delete(&name, version)?;
            tell(MetaItem::Backup(Box::new(listed_row(found))));
        }
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

fn named(name: &str) -> Result<BackupName, Failed> {
    name.parse().map_err(|error: backup::NameError| failed(FailedKind::Usage, error.to_string()))
}

fn row(manifest: &Manifest, size: u64, verified: bool) -> BackupRow {
    BackupRow {
        name: manifest.name.to_string(),
        version: manifest.version,
        at: manifest.at,
        size,
        keys: manifest.keys,
        records: manifest.records,
        generation: manifest.generation,
        password: manifest.is_password(),
        verified,
        fault: String::new(),
    }
}

fn listed_row(listed: Listed) -> BackupRow {
    let fault = match &listed.manifest {
        Ok(manifest) => return row(manifest, listed.size, false),
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
        fault,
    }
}

impl Registry {
    fn backups(&self) -> Backups {
        Backups::new(&self.dir)
    }

    /// Makes a backup, reads it back and compares it with the tree, record by record.
    async fn back_up(&self, wanted: Wanted, overwrite: bool, now: Wall) -> Result<BackupRow, Failed> {
        let backups = self.backups();
        let version = backups.version(&wanted.name, wanted.version)?;
        let (tree, generation) = self.stored();
        let made = Backup { name: wanted.name.clone(), version, at: now, generation, tree: tree.clone() };
        let (key, password) = (self.key, wanted.password.clone());
        let salt = data::seed().map_err(|error| failed(FailedKind::Temporary, error.to_string()))?;
        let salt = salt.first_chunk::<16>().copied().unwrap_or_default();
        let (folder, name) = (self.backups(), wanted.name.clone());
        let written = aside(move || {
            let keys = Keys { password: password.as_ref().map(|secret| secret.0.as_str()), machine: &key };
            let octets = backup::encode(&made, &keys, salt)
                .map_err(|error| failed(FailedKind::Refused, error.to_string()))?;
            folder.write(&name, version, overwrite, &octets)
        });
        written.await?;
        let wanted = Wanted { version: VersionWanted::This(version), ..wanted };
        match self.read_back(&wanted, Some(tree)).await {
            Ok((_, row)) => Ok(row),
            Err(failed) => {
                // A backup that cannot be restored is worse than none.
                let _ = backups.delete(&wanted.name, version);
                Err(failed)
            }
        }
    }

    /// Reads a backup into a tree of its own; with `expected`, it must hold just that.
    async fn read_back(
        &self,
        wanted: &Wanted,
        expected: Option<Tree>,
    ) -> Result<(Backup, BackupRow), Failed> {
        let backups = self.backups();
        let version = backups.version(&wanted.name, wanted.version)?;
        let (key, password, name) = (self.key, wanted.password.clone(), wanted.name.clone());
        let read = aside(move || {
            let octets = backups.read(&name, version)?;
            let keys = Keys { password: password.as_ref().map(|secret| secret.0.as_str()), machine: &key };
            let backup = backup::verify(&octets, &keys, expected.as_ref())
                .map_err(|error| backups.fault(&name, version, &error))?;
            let manifest =
                backup::manifest(&octets).map_err(|error| backups.fault(&name, version, &error))?;
            let row = row(&manifest, octets.len() as u64, true);
            Ok((backup, row))
        });
        read.await
    }

    /// Verifies, shows the difference, makes a safety backup, puts the backup in the place of the tree in one transaction,
    /// looks whether the service is well, and puts the tree back if it is not.
    async fn restore(
        &mut self,
        wanted: &Wanted,
        how: &How,
        now: Wall,
        live: &impl Live,
    ) -> Result<RestoreReport, Failed> {
        let (backup, row) = self.read_back(wanted, None).await?;
        let (before, _) = self.stored();
        let ops = steps_between(&before, &backup.tree);
        let mut how = how.clone();
        if how.reason.is_empty() {
            how.reason = format!("restore of {} version {}", backup.name, backup.version);
        }
        let dry = How { dry_run: true, ..how.clone() };
        let mut report = RestoreReport {
            change: self.change(&ops, &dry, Purpose::Undo, now, live).await?,
            backup: row,
            safety: None,
            steps: vec![String::from("Verified: its checksum is right and every record can be read.")],
            rolled_back: String::new(),
        };
        if how.dry_run || report.change.differences.is_empty() {
            return Ok(report);
        }
        let known = self.findings(false).await;
        let safety = Wanted {
            name: named(SAFETY)?,
            version: VersionWanted::This(self.backups().next_in_turn(&named(SAFETY)?)?),
            password: None,
        };
        let safety = self.back_up(safety, true, now).await?;
        let _ = self.backups().prune(&named(SAFETY)?, SAFETY_KEPT);
        report.steps.push(format!("The tree before is backup {} version {}.", safety.name, safety.version));
        report.safety = Some(safety);
        report.change = self.change(&ops, &how, Purpose::Undo, now, live).await?;
        report.steps.push(format!("Restored in one transaction, generation {}.", report.change.generation));
        let Some(why) = self.unwell(&known, live).await else {
            report
                .steps
                .push(String::from("Every binding greets with 220, and the check finds no new error."));
            return Ok(report);
        };
        let back = steps_between(&self.stored().0, &before);
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
        report.rolled_back = why;
        Ok(report)
    }

    /// Why the service is not well, if it is not. What was wrong before is `known`.
    async fn unwell(&self, known: &[Finding], live: &impl Live) -> Option<String> {
        if let Err(why) = live.health(HEALTH_WITHIN).await {
            return Some(why);
        }
        let findings = self.findings(false).await;
        let is_new = |found: &&Finding| {
            let same = |one: &Finding| (&one.path, one.id) == (&found.path, found.id);
            found.error && !known.iter().any(same)
        };
        let first = findings.iter().find(is_new)?;
        Some(format!("{} {}: {}", first.path, first.name, first.description))
    }

    /// Makes the scheduled backup if it is due, and says what came of it.
    pub(super) async fn scheduled_backup(&mut self, now: Wall) -> Option<Result<String, String>> {
        let settings = self.settings();
        let every = settings.backup_every?;
        let last = match self.last_scheduled {
            Some(last) => Some(last),
            None => self.newest_scheduled().await,
        };
        if !backups::is_due(now, last, every) {
            self.last_scheduled = last;
            return None;
        }
        // One that fails is tried again when the next is due.
        self.last_scheduled = Some(now);
        let made = self.make_scheduled(settings.backup_keep as usize, now).await;
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
        Ok(format!("Backup {} version {} was made and verified.", row.name, row.version))
    }
}
