//! The metabase, as an administrator changes it: by the verbs of the program, with a service that runs and without.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a panic is how a test fails")]

mod article;
mod backups;
mod changes;
mod crashes;
mod deeds;
mod forms;
mod full_disk;
mod imports;
mod refusals;
mod rerouting;
mod restores;

use postroad_tests::postroad::{Postroad, Verb};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a refusal may not touch.
#[derive(Debug, PartialEq, Eq)]
struct State {
    export: String,
    generation: u64,
}

fn state(postroad: &Postroad) -> State {
    let export = postroad.verb(&["meta", "export"]);
    assert_eq!(export.status, 0, "{export:?}");
    State { export: export.stdout, generation: generation(postroad) }
}

/// The number of the newest change.
fn generation(postroad: &Postroad) -> u64 {
    postroad.json(&["meta", "log", "--limit", "1"])[0]["generation"].as_u64().unwrap()
}

/// Runs a change that must be made, and gives its report.
fn changed(postroad: &Postroad, args: &[&str]) -> Value {
    let args = [&["meta"], args].concat();
    let report = postroad.json(&args).remove(0);
    assert_eq!(report["applied"], true, "{args:?}: {report}");
    report
}

/// Runs a verb that must succeed.
fn done(postroad: &Postroad, args: &[&str]) {
    let verb = postroad.verb(&[&["meta"], args].concat());
    assert_eq!(verb.status, 0, "{args:?}: {verb:?}");
}

/// Runs a verb that must be refused with words, and changes nothing.
fn refused(postroad: &Postroad, args: &[&str], statuses: &[i32]) -> Verb {
    let before = state(postroad);
    let verb = postroad.verb(&[&["meta"], args].concat());
    assert!(statuses.contains(&verb.status), "{args:?}: {verb:?}");
    assert!(verb.stderr.starts_with("postroad: ") && verb.stderr.len() > 40, "{args:?}: {verb:?}");
    assert_eq!(state(postroad), before, "{args:?}");
    verb
}

/// The stored value as it is shown to programs.
fn raw(postroad: &Postroad, path: &str, property: &str) -> String {
    let verb = postroad.verb(&["meta", "get", path, property, "--raw"]);
    assert_eq!(verb.status, 0, "{path} {property}: {verb:?}");
    verb.stdout.trim_end().to_owned()
}

/// A file of the test.
fn file(postroad: &Postroad, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = postroad.dir().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// Where a backup is, by the name of its file.
fn backup_file(postroad: &Postroad, name: &str) -> PathBuf {
    postroad.data().join("Backup").join(name)
}

/// Carries a backup to another machine.
fn carry(source: &Postroad, target: &Postroad, name: &str) {
    std::fs::create_dir_all(target.data().join("Backup")).unwrap();
    std::fs::copy(backup_file(source, name), backup_file(target, name)).unwrap();
}

/// Every octet of the files in a folder and below it.
fn octets_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(octets_below(&path));
        } else if path.is_file() {
            all.extend(std::fs::read(&path).unwrap());
        }
    }
    all
}

/// As binary values are written.
fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Numbers that are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
