//! Whether what is told is on disk, read from a trace of the child's calls.

use crate::child;
use crate::child::Role;
use crate::script::Script;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

pub fn every_commit_is_on_disk_when_told(script: &Script) {
    let dir = tempfile::tempdir().unwrap();
    let (commits, unsynced) = trace(Role::script(dir.path()), dir.path());
    assert_eq!(commits, script.len());
    assert_eq!(unsynced, Vec::<String>::new());
    let dir = tempfile::tempdir().unwrap();
    let (_, unsynced) = trace(Role::unsynced(dir.path()), dir.path());
    for rule in [
        "the log when told",
        "the intake when told",
        "the tables when the intake is begun again",
        "a segment when told",
        "a folder when told",
        "a draft when renamed",
    ] {
        assert!(unsynced.iter().any(|line| line.starts_with(rule)), "without syncs {rule} was not missed");
    }
}

/// The commits told, and what was not on disk when it should have been.
fn trace(role: Role, dir: &Path) -> (usize, Vec<String>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let log_path = log.path().display().to_string();
    let calls = "trace=openat,write,pwrite64,ftruncate,fdatasync,fsync,rename";
    let output = child(role, &["-y", "-s", "16", "-e", calls, "-o", &log_path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut disk = Disk { dir: dir.display().to_string(), ..Disk::default() };
    for line in fs::read_to_string(log.path()).unwrap().lines() {
        disk.call(line);
    }
    (disk.commits, disk.unsynced)
}

#[derive(Default)]
struct Disk {
    dir: String,
    /// Files with content, and folders with names, that are not on disk; relative to `dir`.
    dirty: BTreeSet<String>,
    commits: usize,
    unsynced: Vec<String>,
}

impl Disk {
    /// One line: `123 fdatasync(5</dir/spool.db-wal>) = 0`.
    fn call(&mut self, line: &str) {
        let Some((name, arguments)) =
            line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
        else {
            return;
        };
        if name == "write" && arguments.contains("\"told") {
            self.commits += 1;
            self.must_be_clean("spool.db-wal", "the log when told");
            self.must_be_clean("spool.intake", "the intake when told");
            self.must_be_clean("segments/", "a segment when told");
            self.must_be_clean("bodies/", "a body when told");
            self.must_be_clean("folder ", "a folder when told");
        }
        let Some(path) = self.path(arguments) else { return };
        match name {
            "openat" if arguments.contains("O_CREAT") => self.names(&path),
            "write" | "pwrite64" | "ftruncate" => {
                if path == "spool.db-wal" && arguments.contains(", 32, 0) = 32") {
                    self.must_be_clean("spool.db", "the database when its log is begun again");
                }
                if path == "spool.intake" && arguments.contains(", 0) = ") {
                    self.must_be_clean("spool.db-wal", "the tables when the intake is begun again");
                }
                if path == "spool.db" {
                    self.must_be_clean("spool.db-wal", "the log when it is moved into the database");
                }
                self.dirty.insert(path);
            }
            "fdatasync" | "fsync" => {
                self.dirty.remove(&path);
                self.dirty.remove(&format!("folder {path}"));
            }
            "rename" => {
                self.must_be_clean(&path, "a draft when renamed");
                if let Some(target) = arguments.split_once(", ").and_then(|(_, target)| self.path(target)) {
                    self.names(&target);
                }
            }
            _ => {}
        }
    }

    /// A name appeared in a folder whose names matter.
    fn names(&mut self, path: &str) {
        if let Some((folder @ ("segments" | "bodies"), _)) = path.split_once('/') {
            self.dirty.insert(format!("folder {folder}"));
        }
    }

    /// The first path below the directory that the text names.
    fn path(&self, text: &str) -> Option<String> {
        let (_, rest) = text.split_once(&format!("{}/", self.dir))?;
        Some(rest.split(['>', '"']).next()?.to_owned())
    }

    fn must_be_clean(&mut self, start: &str, rule: &str) {
        let exactly = !start.ends_with(['/', ' ']);
        let dirty = |path: &&String| if exactly { *path == start } else { path.starts_with(start) };
        let found: Vec<String> =
            self.dirty.iter().filter(dirty).map(|path| format!("{rule}: {path}")).collect();
        self.unsynced.extend(found);
    }
}
