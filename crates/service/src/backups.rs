//! The folder of backups, `DATA/Backup`, and the history pairs, `DATA/History`. Files only: what is in them is made and read
//! by `postroad_metabase::backup` and `xml`.
//!
//! A file is written under the name `unfinished`, made durable, and renamed: it is there whole under its own name or not at
//! all. What a crash leaves is replaced by the next file that is written. One owner of the data folder writes at a time, so
//! one such name a folder is enough.

use postroad_control::meta::{self, VersionWanted};
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;
use postroad_metabase::backup::{
    self, BackupError, BackupName, FILE_MAX, Manifest, VERSION_MAX, file_name, parse_file_name,
};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What scheduled backups are called.
pub(crate) const SCHEDULED: &str = "scheduled";
/// History pairs that are kept, as in the original (MaxHistoryFiles).
pub(crate) const HISTORY_KEEP: usize = 10;
/// Scheduled backups that can be kept. Far fewer than there are versions, so that the gap between the newest and the oldest
/// is the largest even after the versions began again at 0.
pub(crate) const KEEP_MAX: usize = 1000;

pub(crate) const BACKUPS: &str = "Backup";
pub(crate) const HISTORY: &str = "History";
const UNFINISHED: &str = "unfinished";
/// Backups there can be: one name in all its versions.
const FILES_MAX: usize = 10_000;
/// Names in a folder: beyond that nothing is done there, as what was not looked at could be the newest.
const NAMES_MAX: usize = 2 * FILES_MAX;

/// Faces ask for the versions that a file may have.
const _: () = assert!(meta::VERSION_MAX == VERSION_MAX);

/// The folders of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Backups {
    folder: PathBuf,
    history: PathBuf,
}

/// A file of the backup folder.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) name: BackupName,
    pub(crate) version: u32,
    /// Octets of the file.
    pub(crate) size: u64,
    /// What it says of itself, or what is wrong with it, as a sentence.
    pub(crate) manifest: Result<Manifest, String>,
}

impl Backups {
    pub(crate) fn new(data: &Path) -> Self {
        Self { folder: data.join(BACKUPS), history: data.join(HISTORY) }
    }

    /// All backups, by name and version, each with its checksum looked at.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, Failed> {
        Ok(self.files()?.into_iter().map(|(name, version)| self.look(name, version)).collect())
    }

    /// One backup, with its checksum looked at.
    pub(crate) fn look(&self, name: BackupName, version: u32) -> Listed {
        let (size, manifest) = match self.read(&name, version) {
            Ok(octets) => {
                let manifest = backup::manifest(&octets);
                (octets.len() as u64, manifest.map_err(|error| self.fault(&name, version, &error).what))
            }
            Err(failed) => (0, Err(failed.what)),
        };
        Listed { name, version, size, manifest }
    }

    /// The versions there are of a name, from the lowest.
    pub(crate) fn versions(&self, name: &BackupName) -> Result<Vec<u32>, Failed> {
        let all = self.files()?.into_iter();
        Ok(all.filter(|(known, _)| known == name).map(|(_, version)| version).collect())
    }

    /// Which version is meant. The first one of a name is 0.
    pub(crate) fn version(&self, name: &BackupName, wanted: VersionWanted) -> Result<u32, Failed> {
        let highest = match wanted {
            VersionWanted::This(version) if version <= VERSION_MAX => return Ok(version),
            VersionWanted::This(version) => {
                let what = format!(
                    "a backup's version is 0 to {VERSION_MAX}, and {version} is not. Give one of those."
                );
                return Err(Failed { kind: FailedKind::Usage, what });
            }
            VersionWanted::Next | VersionWanted::Highest => self.versions(name)?.last().copied(),
        };
        match (wanted, highest) {
            (VersionWanted::Next, None) => Ok(0),
            (VersionWanted::Next, Some(VERSION_MAX)) => Err(refused(format!(
                "the backup {name} has version {VERSION_MAX}, and there is none above it. Delete that one, or give a \
                 version or another name."
            ))),
            (VersionWanted::Next, Some(highest)) => Ok(highest + 1),
            (_, Some(highest)) => Ok(highest),
            (_, None) => Err(missing(format!(
                "there is no backup {name} in {}. See which there are with `postroad meta backups`.",
                self.folder.display()
            ))),
        }
    }

    /// The version for the scheduled backup that comes: one above the newest; 0 after 9999.
    pub(crate) fn next_in_turn(&self, name: &BackupName) -> Result<u32, Failed> {
        let versions = oldest_first(self.versions(name)?);
        Ok(versions.last().map_or(0, |newest| (newest + 1) % (VERSION_MAX + 1)))
    }

    /// Writes a backup, durably. It gets its name, and one of that name is replaced, only when `verify` has taken what is
    /// read back from the disk.
    pub(crate) fn write(
        &self,
        name: &BackupName,
        version: u32,
        is_overwrite: bool,
        octets: &[u8],
        verify: impl FnOnce(&[u8]) -> Result<(), Failed>,
    ) -> Result<PathBuf, Failed> {
        let path = self.path(name, version);
        let is_there = path.try_exists().map_err(|error| failed("look for", &path, &error))?;
        if is_there && !is_overwrite {
            return Err(refused(format!(
                "{} is there already. Take the next version, or replace it with --overwrite.",
                path.display()
            )));
        }
        if !is_there && self.files()?.len() >= FILES_MAX {
            let folder = self.folder.display();
            return Err(refused(format!("{folder} has {FILES_MAX} backups. Delete some first.")));
        }
        let unfinished = self.folder.join(UNFINISHED);
        durable(&self.folder, &path, octets, || verify(&read(&unfinished)?))?;
        Ok(path)
    }

    /// A backup's octets.
    pub(crate) fn read(&self, name: &BackupName, version: u32) -> Result<Vec<u8>, Failed> {
        read(&self.path(name, version))
    }

    /// Deletes a backup, durably.
    pub(crate) fn delete(&self, name: &BackupName, version: u32) -> Result<(), Failed> {
        let path = self.path(name, version);
        let gone = fs::remove_file(&path).and_then(|()| sync(&self.folder));
        gone.map_err(|error| failed("delete", &path, &error))
    }

    /// Deletes all but the newest `keep` versions of a name, which must have been made by `next_in_turn`. Returns those that
    /// are gone.
    pub(crate) fn prune(&self, name: &BackupName, keep: usize) -> Result<Vec<u32>, Failed> {
        let mut versions = oldest_first(self.versions(name)?);
        versions.truncate(versions.len().saturating_sub(keep.clamp(1, KEEP_MAX)));
        versions.iter().try_for_each(|version| self.delete(name, *version))?;
        Ok(versions)
    }

    /// Writes the pair of a generation, the schema first, and deletes all but the newest `keep` pairs (at least one).
    pub(crate) fn history_pair(
        &self,
        generation: u64,
        xml: &str,
        schema: &str,
        keep: usize,
    ) -> Result<(), Failed> {
        for (kind, text) in [(SCHEMA, schema), (METABASE, xml)] {
            let path = self.history.join(history_name(kind, generation));
            durable(&self.history, &path, text.as_bytes(), || Ok(()))?;
        }
        let names = names(&self.history)?;
        let generations: BTreeSet<u64> = names.iter().filter_map(|name| history_generation(name)).collect();
        for generation in generations.into_iter().rev().skip(keep.max(1)) {
            for kind in [METABASE, SCHEMA] {
                let path = self.history.join(history_name(kind, generation));
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("delete", &path, &error));
                    }
                    _ => {}
                }
            }
        }
        sync(&self.history).map_err(|error| failed("write", &self.history, &error))
    }

    /// What is wrong with a backup, for people.
    pub(crate) fn fault(&self, name: &BackupName, version: u32, error: &BackupError) -> Failed {
        refused(format!("{} {error}.", self.path(name, version).display()))
    }

    fn path(&self, name: &BackupName, version: u32) -> PathBuf {
        self.folder.join(file_name(name, version))
    }

    /// The backups of the folder, by name and version.
    fn files(&self) -> Result<Vec<(BackupName, u32)>, Failed> {
        let mut files: Vec<_> =
            names(&self.folder)?.iter().filter_map(|name| parse_file_name(name)).collect();
        files.sort();
        Ok(files)
    }
}

/// Whether a scheduled backup is to be made. Without a span none ever is; after the clock was set back one is.
pub(crate) fn is_due(now: Wall, last: Option<Wall>, every: Duration) -> bool {
    !every.is_zero() && last.is_none_or(|last| last > now || now - last >= every)
}

/// Versions that were given in turn, 0 after 9999: the oldest is the one after the largest gap in that circle.
fn oldest_first(mut versions: Vec<u32>) -> Vec<u32> {
    versions.sort_unstable();
    let gap = |at: usize| {
        let before = if at == 0 { versions.last() } else { versions.get(at - 1) };
        let (before, this) = (before.copied().unwrap_or(0), versions.get(at).copied().unwrap_or(0));
        (this + VERSION_MAX - before) % (VERSION_MAX + 1)
    };
    // The first of equal gaps, so that versions that never came round are taken as they are.
    let oldest = (0..versions.len()).rev().max_by_key(|at| gap(*at)).unwrap_or(0);
    versions.rotate_left(oldest);
    versions
}

const METABASE: &str = "MetaBase";
const SCHEMA: &str = "MBSchema";

/// As the original calls it: ten digits of the major version, ten of the minor, which is 0 here.
fn history_name(kind: &str, generation: u64) -> String {
    format!("{kind}_{generation:010}_{:010}.xml", 0)
}

fn history_generation(name: &str) -> Option<u64> {
    let (kind, rest) = name.split_once('_')?;
    let generation = rest.split_once('_')?.0.parse().ok()?;
    let is_ours = [METABASE, SCHEMA].contains(&kind) && history_name(kind, generation) == name;
    is_ours.then_some(generation)
}

/// The names in a folder; none where it is not there.
fn names(folder: &Path) -> Result<Vec<String>, Failed> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed("read", folder, &error))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if names.len() == NAMES_MAX {
            let folder = folder.display();
            return Err(refused(format!(
                "{folder} has more than {NAMES_MAX} files. Remove what does not belong there."
            )));
        }
        let entry = entry.map_err(|error| failed("read", folder, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    let file = File::open(path).map_err(|error| failed("open", path, &error))?;
    let mut octets = Vec::new();
    // One octet more than is allowed shows that there are too many.
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut octets).map_err(|error| failed("read", path, &error))?;
    Ok(octets)
}

/// Writes a file that gets its name when it is durable and `verify` has taken it.
fn durable(
    folder: &Path,
    path: &Path,
    octets: &[u8],
    verify: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let cannot = |error: io::Error| failed("write", path, &error);
    let unfinished = folder.join(UNFINISHED);
    let write = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(octets)?;
        file.sync_all()
    };
    let written = write().map_err(cannot).and_then(|()| verify());
    let named = written.and_then(|()| fs::rename(&unfinished, path).map_err(cannot));
    if named.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    named.and_then(|()| sync(folder).map_err(cannot))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(verb: &str, path: &Path, error: &io::Error) -> Failed {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            missing(format!("there is no {path}. See which backups there are with `postroad meta backups`."))
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            refused(format!("cannot {verb} {path}: {error}. Make room on its disk, and try again."))
        }
        _ => refused(format!(
            "cannot {verb} {path}: {error}. See that the service's user may read and write it, and try again."
        )),
    }
}

fn refused(what: String) -> Failed {
    Failed { kind: FailedKind::Refused, what }
}

fn missing(what: String) -> Failed {
    Failed { kind: FailedKind::NotFound, what }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use postroad_metabase::backup::{Backup, Keys};
    use postroad_metabase::tree::Tree;

    fn folder() -> (tempfile::TempDir, Backups) {
        let data = tempfile::tempdir().unwrap();
        let backups = Backups::new(data.path());
        (data, backups)
    }

    fn name(name: &str) -> BackupName {
        name.parse().unwrap()
    }

    /// As it is read back, it is right.
    fn right(_: &[u8]) -> Result<(), Failed> {
        Ok(())
    }

    fn octets(label: &str, version: u32) -> Vec<u8> {
        let tree = Tree::new();
        let backup = Backup { name: name(label), version, at: Wall(5), generation: 9, tree };
        backup::encode(&backup, &Keys { password: None, machine: &[0; 32] }, [0; 16]).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_backup_is_written_read_and_deleted() {
        let (_data, backups) = folder();
        let nightly = name("nightly");
        assert!(backups.list().unwrap().is_empty(), "no folder is no backups");
        let path = backups.write(&nightly, 3, false, &octets("nightly", 3), right).unwrap();
        assert!(path.ends_with("Backup/nightly.pb3"));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(backups.read(&nightly, 3).unwrap(), octets("nightly", 3));
        backups.delete(&nightly, 3).unwrap();
        assert_eq!(backups.read(&nightly, 3).unwrap_err().kind, FailedKind::NotFound);
        assert_eq!(backups.delete(&nightly, 3).unwrap_err().kind, FailedKind::NotFound);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_is_there_is_replaced_only_when_asked() {
        let (_data, backups) = folder();
        let nightly = name("nightly");
        backups.write(&nightly, 0, false, b"old", right).unwrap();
        let failed = backups.write(&nightly, 0, false, b"new", right).unwrap_err();
        assert!(failed.what.contains("nightly.pb0 is there already"), "{}", failed.what);
        assert_eq!(backups.read(&nightly, 0).unwrap(), b"old");
        let mut seen = Vec::new();
        let failed = backups.write(&nightly, 0, true, b"new", |octets| {
            seen = octets.to_vec();
            Err(refused("it does not hold what it should".into()))
        });
        assert!(failed.is_err() && seen == b"new");
        assert_eq!(backups.read(&nightly, 0).unwrap(), b"old", "one that is wrong replaces nothing");
        assert!(!backups.folder.join(UNFINISHED).exists());
        backups.write(&nightly, 0, true, b"new", right).unwrap();
        assert_eq!(backups.read(&nightly, 0).unwrap(), b"new");
    }

    #[test]
    fn the_list_is_by_name_and_version_and_says_what_is_wrong() {
        let (_data, backups) = folder();
        for (label, version) in [("b", 0), ("a", 10), ("a", 9)] {
            backups.write(&name(label), version, false, &octets(label, version), right).unwrap();
        }
        backups.write(&name("c"), 1, false, &octets("c", 1)[..40], right).unwrap();
        fs::write(backups.folder.join(UNFINISHED), "left by a crash").unwrap();
        fs::write(backups.folder.join("readme.txt"), "not ours").unwrap();
        fs::create_dir(backups.folder.join("d.pb1")).unwrap();
        let list = backups.list().unwrap();
        let names: Vec<String> = list.iter().map(|listed| file_name(&listed.name, listed.version)).collect();
        assert_eq!(names, ["a.pb9", "a.pb10", "b.pb0", "c.pb1", "d.pb1"]);
        let good = list[0].manifest.as_ref().unwrap();
        assert_eq!((good.generation, good.version, good.at), (9, 9, Wall(5)));
        let fault = list[3].manifest.as_ref().unwrap_err();
        assert!(fault.contains("c.pb1 is cut off"), "{fault}");
        assert!(list[4].manifest.as_ref().unwrap_err().contains("cannot read"));
    }

    #[test]
    fn versions_are_chosen() {
        let (_data, backups) = folder();
        let nightly = name("nightly");
        let version = |wanted| backups.version(&nightly, wanted).map_err(|failed| failed.kind);
        assert_eq!(version(VersionWanted::Next), Ok(0));
        assert_eq!(version(VersionWanted::Highest), Err(FailedKind::NotFound));
        assert_eq!(version(VersionWanted::This(10_000)), Err(FailedKind::Usage));
        for there in [2, 10] {
            backups.write(&nightly, there, false, b"", right).unwrap();
        }
        assert_eq!(version(VersionWanted::Next), Ok(11));
        assert_eq!(version(VersionWanted::Highest), Ok(10));
        assert_eq!(version(VersionWanted::This(4)), Ok(4));
        backups.write(&nightly, 9999, false, b"", right).unwrap();
        assert_eq!(version(VersionWanted::Next), Err(FailedKind::Refused));
    }

    #[test]
    fn scheduled_backups_go_round_and_the_oldest_go() {
        let (_data, backups) = folder();
        let scheduled = name(SCHEDULED);
        backups.write(&name("other"), 0, false, b"", right).unwrap();
        assert_eq!(backups.next_in_turn(&scheduled).unwrap(), 0);
        for version in [9996, 9997] {
            backups.write(&scheduled, version, false, b"", right).unwrap();
        }
        let mut gone = Vec::new();
        for _ in 0..5 {
            let version = backups.next_in_turn(&scheduled).unwrap();
            backups.write(&scheduled, version, false, b"", right).unwrap();
            gone.extend(backups.prune(&scheduled, 3).unwrap());
        }
        assert_eq!(gone, [9996, 9997, 9998, 9999]);
        assert_eq!(backups.versions(&scheduled).unwrap(), [0, 1, 2]);
        assert_eq!(backups.versions(&name("other")).unwrap(), [0]);
    }

    #[test]
    fn the_order_of_versions_is_that_of_the_circle() {
        assert!(oldest_first(vec![]).is_empty());
        assert_eq!(oldest_first(vec![9999]), [9999]);
        assert_eq!(oldest_first(vec![3, 1, 2]), [1, 2, 3]);
        assert_eq!(oldest_first(vec![0, 1, 9998, 9999]), [9998, 9999, 0, 1]);
        assert_eq!(oldest_first(vec![0, 5000]), [0, 5000]);
    }

    #[test]
    fn a_backup_is_due_after_its_span() {
        let every = Duration::from_secs(10);
        let check = |now, last: Option<i64>, expected| {
            assert_eq!(is_due(Wall(now), last.map(Wall), every), expected, "{now} {last:?}");
        };
        check(0, None, true);
        check(9_999, Some(0), false);
        check(10_000, Some(0), true);
        check(5_000, Some(6_000), true);
        assert!(!is_due(Wall(0), None, Duration::ZERO), "switched off");
    }

    #[test]
    fn the_newest_history_pairs_stay() {
        let (_data, backups) = folder();
        for generation in 8..12 {
            backups.history_pair(generation, "<m/>", "<s/>", 2).unwrap();
        }
        fs::write(backups.history.join("MBSchema_0000000001_0000000000.xml"), "half a pair, after a crash")
            .unwrap();
        fs::write(backups.history.join("notes.xml"), "not ours").unwrap();
        backups.history_pair(12_345_678_901, "<m/>", "<s/>", 2).unwrap();
        let mut there = names(&backups.history).unwrap();
        there.sort();
        assert_eq!(
            there,
            [
                "MBSchema_0000000011_0000000000.xml",
                "MBSchema_12345678901_0000000000.xml",
                "MetaBase_0000000011_0000000000.xml",
                "MetaBase_12345678901_0000000000.xml",
                "notes.xml",
            ]
        );
        let newest = backups.history.join("MetaBase_12345678901_0000000000.xml");
        assert_eq!((fs::read_to_string(&newest).unwrap().as_str(), mode(&newest)), ("<m/>", 0o600));
    }
}
