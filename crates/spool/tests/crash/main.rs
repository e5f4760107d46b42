//! What a process that is killed, and a disk that fails, leave of a store.
//!
//! This program starts itself as a child under `strace`, which kills it at, or fails, the Nth call of a kind; every N that
//! matters is tried. The child does a fixed script and prints a line for each commit that returned. Afterwards the store
//! is opened again and must be as the script left it after the commits that were told, or after one more: the one in
//! flight. The engine in memory says what that is.
//!
//! A killed process loses nothing that the kernel has, so that cannot show whether commits reach the disk: `syncs` reads
//! the order of writes and syncs from a trace.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails"
)]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod script;
mod syncs;

use child::{OPEN, Role};
use postroad_spool::record::{Load, Loaded};
use postroad_spool::sqlite::SqliteStore;
use postroad_spool::{Store, StoreError};
use script::Script;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use tempfile::TempDir;

fn main() {
    if let Some(role) = Role::of_this_process() {
        return child::run(&role);
    }
    let script = Script::new();
    let start = std::time::Instant::now();
    let told = |name: &str| eprintln!("{name}: ok after {:.1} s", start.elapsed().as_secs_f32());
    syncs::every_commit_is_on_disk_when_told(&script);
    told("every_commit_is_on_disk_when_told");
    a_kill_anywhere_loses_nothing(&script);
    told("a_kill_anywhere_loses_nothing");
    a_kill_in_recovery_loses_nothing(&script);
    told("a_kill_in_recovery_loses_nothing");
    a_failing_call_loses_nothing(&script);
    told("a_failing_call_loses_nothing");
    a_full_disk_is_told_as_such(&script);
    told("a_full_disk_is_told_as_such");
}

/// A folder for a store: in memory, where there is such a place, since nothing here depends on the disk but the time.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs this program as a child in `dir`, under `strace` with these arguments.
fn child(role: Role, strace: &[&str]) -> Output {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("strace");
    // Not with `--seccomp-bpf`: strace 6.1 then injects nothing.
    command.args(["-f", "-qq"]).args(strace).arg(this);
    role.put_into(&mut command);
    command.output().expect("this test needs strace (apt-get install strace)")
}

/// Kills at every call of the kinds, in steps; the number of kills.
fn sweep(kinds: &[(&str, usize)], run: impl Fn(&str, usize) -> bool + Sync) -> usize {
    let chain = |(kind, step): &(&str, usize)| {
        let reached = (1..).step_by(*step).take_while(|when| run(kind, *when)).count();
        assert!(reached > 0, "{kind} is never called");
        reached
    };
    // Two at a time: a child mostly waits for the disk and for strace.
    thread::scope(|scope| {
        let (first, second) = kinds.split_at(kinds.len().div_ceil(2));
        let first = scope.spawn(move || first.iter().map(chain).sum::<usize>());
        second.iter().map(chain).sum::<usize>() + first.join().unwrap()
    })
}

fn a_kill_anywhere_loses_nothing(script: &Script) {
    let kinds = [
        ("pwrite64", 11),
        ("unlink", 1),
        ("ftruncate", 1),
        ("fdatasync", 1),
        ("fsync", 1),
        ("rename", 1),
        ("write", 2),
    ];
    let kills = sweep(&kinds, |kind, when| {
        let dir = folder();
        let output = kill(Role::script(dir.path()), kind, when);
        check(script, dir.path(), &output, &format!("killed at {kind} {when}"));
        output.status.signal().is_some()
    });
    assert!(kills > 100, "only {kills} kills");
}

fn kill(role: Role, kind: &str, when: usize) -> Output {
    let output = child(
        role,
        &["-e", &format!("trace={kind}"), "-e", &format!("inject={kind}:signal=KILL:when={when}")],
    );
    let killed = output.status.signal() == Some(9);
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The store is as after the commits told, or one more; nothing else is in its folders; and the rest can be done.
fn check(script: &Script, dir: &Path, output: &Output, what: &str) {
    let told =
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("told")).count();
    let mut store = SqliteStore::open(dir, OPEN).unwrap();
    let done = script.done(&mut store, told, what);
    for _ in 0..20 {
        store.tend(common::NOW).unwrap();
    }
    check_files(&mut store, dir, what);
    for at in done..script.len() {
        script.commit(at, dir, &mut store).unwrap();
    }
    assert!(script.is_at(&mut store, script.len()), "{what}: the rest of the script was not done");
}

/// A file for each content that is to have one, and no other.
fn check_files(store: &mut SqliteStore, dir: &Path, what: &str) {
    let Loaded::Messages(messages) = store.load(&Load::Messages { after: None, limit: 1_000 }).unwrap()
    else {
        panic!("messages")
    };
    let files = |folder: &str| fs::read_dir(dir.join(folder)).unwrap().count();
    let of_size =
        |from: u64, to: u64| messages.iter().filter(|one| (from..to).contains(&one.message.size)).count();
    assert_eq!(files("drafts"), 0, "{what}");
    assert_eq!(files("bodies"), of_size((4 << 20) + 1, u64::MAX), "{what}");
    assert!(files("segments") <= of_size(16 * 1024 + 1, (4 << 20) + 1), "{what}");
}

fn a_kill_in_recovery_loses_nothing(script: &Script) {
    let left = folder();
    let output = kill(Role::script(left.path()), "rename", 2);
    let told =
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.starts_with("told")).count();
    assert!(output.status.signal().is_some() && told >= 3);
    let kinds = [("pwrite64", 3), ("unlink", 1), ("fdatasync", 1), ("fsync", 1)];
    sweep(&kinds, |kind, when| {
        let dir = folder();
        copy(left.path(), dir.path());
        let again = kill(Role::recovery(dir.path()), kind, when);
        check(script, dir.path(), &output, &format!("killed at {kind} {when} of recovery"));
        again.status.signal().is_some()
    });
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// One call fails, which nobody may take for success; opening anew is the cure.
fn a_failing_call_loses_nothing(script: &Script) {
    let kinds = [("pwrite64", 29), ("fdatasync", 1), ("fsync", 1), ("rename", 1), ("ftruncate", 2)];
    sweep(&kinds, |kind, when| {
        let dir = folder();
        let (trace, inject) = (format!("trace={kind}"), format!("inject={kind}:error=EIO:when={when}"));
        let output = child(Role::script(dir.path()), &["-e", &trace, "-e", &inject]);
        let calls = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        let what = format!("EIO at {kind} {when}: {text}{calls}");
        assert!(output.status.success(), "{what}");
        assert_eq!(text.contains("Failed"), text.contains("opened anew"), "{what}");
        check(script, dir.path(), &output, &what);
        calls.contains("(INJECTED)")
    });
}

/// All calls from one on fail: nothing is told as done, the cause is told, and what was told before is there later.
fn a_full_disk_is_told_as_such(script: &Script) {
    for (kind, when, error, expected) in [
        ("pwrite64", 150, "ENOSPC", "Full"),
        ("pwrite64", 150, "EIO", "Failed"),
        ("fdatasync", 12, "EIO", "Failed"),
        ("rename", 2, "ENOSPC", "Full"),
    ] {
        let dir = folder();
        let (trace, inject) = (format!("trace={kind}"), format!("inject={kind}:error={error}:when={when}+"));
        let output = child(Role::script(dir.path()), &["-e", &trace, "-e", &inject]);
        let text = String::from_utf8_lossy(&output.stdout);
        let what =
            format!("{error} from {kind} {when} on: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(&format!("\n{expected}\n")), "{what}");
        check(script, dir.path(), &output, &what);
    }
}

/// The name of an error as the child tells it.
fn kind_of(error: &StoreError) -> &'static str {
    match error {
        StoreError::Full(_) => "Full",
        StoreError::Failed(_) => "Failed",
    }
}
