//! Whether what is told is on disk, read from a trace of the child's calls.

use crate::child::{Role, SCRIPT_LEN};
use std::collections::BTreeSet;
use std::fs;

pub fn every_commit_is_on_disk_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let (commits, unsynced) = trace(&Role::script(dir.path()));
    assert_eq!(commits, SCRIPT_LEN);
    assert_eq!(unsynced, Vec::<String>::new());
    let dir = tempfile::tempdir().unwrap();
    let (_, unsynced) = trace(&Role::unsynced(dir.path()));
    for rule in ["the log when told", "the log when it is moved", "the database when its log"] {
        assert!(unsynced.iter().any(|line| line.starts_with(rule)), "without syncs {rule} was not missed");
    }
}

/// The commits told, and what was not on disk when it should have been.
fn trace(role: &Role) -> (usize, Vec<String>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let log_path = log.path().display().to_string();
    let calls = "trace=write,pwrite64,ftruncate,fdatasync,fsync,rename";
    let output = crate::child(role, &["-y", "-s", "16", "-e", calls, "-o", &log_path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut disk = Disk { dir: role.dir.display().to_string(), ..Disk::default() };
    for line in fs::read_to_string(log.path()).unwrap().lines() {
        disk.call(line);
    }
    (disk.commits, disk.unsynced)
}

#[derive(Default)]
struct Disk {
    dir: String,
    /// Files with content that is not on disk, relative to `dir`; empty: the folder, where a name is not.
    dirty: BTreeSet<String>,
    commits: usize,
    unsynced: Vec<String>,
}

impl Disk {
    /// One line: `123 fdatasync(5</dir/metabase.db-wal>) = 0`.
    fn call(&mut self, line: &str) {
        let Some((name, arguments)) =
            line.split_once(' ').and_then(|(_, call)| call.trim_start().split_once('('))
        else {
            return;
        };
        if name == "write" && arguments.contains("\"told") {
            self.commits += 1;
            self.must_be_clean("metabase.db-wal", "the log when told");
            self.must_be_clean("", "the folder when told");
        }
        let Some(path) = self.path(arguments) else { return };
        match name {
            "write" | "pwrite64" | "ftruncate" => {
                if path == "metabase.db-wal" && arguments.contains(", 32, 0) = 32") {
                    self.must_be_clean("metabase.db", "the database when its log is begun again");
                }
                if path == "metabase.db" {
                    self.must_be_clean("metabase.db-wal", "the log when it is moved into the database");
                }
                self.dirty.insert(path);
            }
            "fdatasync" | "fsync" => {
                self.dirty.remove(&path);
            }
            "rename" => {
                self.must_be_clean(&path, "the file when it gets its name");
                self.dirty.insert(String::new());
            }
            _ => {}
        }
    }

    /// The first path that the text names of the directory, or in it.
    fn path(&self, text: &str) -> Option<String> {
        let (_, rest) = text.split_once(&self.dir)?;
        Some(rest.split(['>', '"']).next()?.trim_start_matches('/').to_owned())
    }

    fn must_be_clean(&mut self, path: &str, rule: &str) {
        if self.dirty.contains(path) {
            self.unsynced.push(format!("{rule}: {path}"));
        }
    }
}
