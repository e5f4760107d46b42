//! What a process that is killed, and a disk that fails, leave of a metabase.
//!
//! This program starts itself as a child under `strace`, which kills it at, or fails, the Nth call of a kind; every N is
//! tried. The child does a fixed script and prints a line for each commit that returned. Afterwards the metabase is opened
//! again and must be as the script left it after the commits that were told, or after one more: the one in flight.
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
mod syncs;

use child::{Role, SCRIPT_LEN, state};
use postroad_metabase::store::{Metabase, Past, Store};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use tempfile::TempDir;

fn main() {
    if let Some(role) = Role::of_this_process() {
        return child::run(&role);
    }
    let start = std::time::Instant::now();
    let told = |name: &str| eprintln!("{name}: ok after {:.1} s", start.elapsed().as_secs_f32());
    syncs::every_commit_is_on_disk_when_told();
    told("every_commit_is_on_disk_when_told");
    a_kill_anywhere_loses_nothing();
    told("a_kill_anywhere_loses_nothing");
    a_failing_call_loses_nothing();
    told("a_failing_call_loses_nothing");
    a_full_disk_is_told_as_such();
    told("a_full_disk_is_told_as_such");
}

/// A folder in memory, where there is such a place, since nothing here depends on the disk but the time.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs this program as a child in `dir`, under `strace` with these arguments.
fn child(role: &Role, strace: &[&str]) -> Output {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new("strace");
    // Not with `--seccomp-bpf`: strace 6.1 then injects nothing.
    command.args(["-f", "-qq"]).args(strace).arg(this);
    role.put_into(&mut command);
    command.output().expect("this test needs strace (apt-get install strace)")
}

/// Runs at calls of the kinds until one is not reached; how many were. The second number is the step among the first
/// calls, `LARGE` of which are those of small changes; those of the large one are alike.
fn sweep(kinds: &[(&str, usize)], run: impl Fn(&str, usize) -> bool + Sync) -> usize {
    let chain = |(kind, step): &(&str, usize)| {
        let calls = (1..LARGE).step_by(*step).chain((LARGE..).step_by(331));
        let reached = calls.take_while(|when| run(kind, *when)).count();
        assert!(reached > 0, "{kind} is never called");
        reached
    };
    // Two at a time: a child mostly waits for the disk and for strace.
    thread::scope(|scope| {
        let (first, second) = kinds.split_at(1);
        let first = scope.spawn(move || first.iter().map(chain).sum::<usize>());
        second.iter().map(chain).sum::<usize>() + first.join().unwrap()
    })
}

const LARGE: usize = 200;

fn a_kill_anywhere_loses_nothing() {
    let kinds = [("pwrite64", 5), ("fdatasync", 1), ("fsync", 1), ("rename", 1), ("unlink", 1), ("write", 1)];
    let kills = sweep(&kinds, |kind, when| {
        let dir = folder();
        let inject = format!("inject={kind}:signal=KILL:when={when}");
        let output = child(&Role::script(dir.path()), &["-e", &format!("trace={kind}"), "-e", &inject]);
        let killed = output.status.signal() == Some(9);
        assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        check(dir.path(), &output, &format!("killed at {kind} {when}"));
        killed
    });
    assert!(kills > 60, "only {kills} kills");
}

/// The metabase is as after the commits told, or one more; and the rest can be done.
fn check(dir: &Path, output: &Output, what: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().filter(|line| line.starts_with("told")).count();
    let mut metabase = Metabase::open(child::open(dir).unwrap()).unwrap();
    let done = usize::try_from(metabase.generation()).unwrap();
    assert!((told..=told + 1).contains(&done), "{what}: {told} were told, {done} are there");
    is_at(&mut metabase, done, what);
    for at in done..SCRIPT_LEN {
        child::commit(&mut metabase, at).unwrap();
    }
    // Not opened a second time: a child that the other thread starts holds our files for a moment, and with them the lock.
    is_at(&mut metabase, SCRIPT_LEN, what);
}

/// The tree, and history to its beginning.
fn is_at<S: Store>(metabase: &mut Metabase<S>, done: usize, what: &str) {
    assert_eq!(metabase.generation(), done as u64, "{what}");
    assert_eq!(metabase.tree().diff(&state(done)), [], "{what}");
    for generation in 0..=done {
        let tree = metabase.tree_at(generation as u64).unwrap();
        assert_eq!(tree.diff(&state(generation)), [], "{what}: {generation}");
    }
    let whole = |past: &Past| past.deltas_count > 0 && past.deltas.len() as u64 == past.deltas_count.min(20);
    let history = metabase.history(100, None).unwrap();
    assert!(history.len() == done && history.iter().all(whole), "{what}");
}

/// One call fails, which nobody may take for success; opening anew is the cure.
fn a_failing_call_loses_nothing() {
    let kinds = [("pwrite64", 17), ("fdatasync", 1), ("fsync", 1), ("rename", 1)];
    sweep(&kinds, |kind, when| {
        let dir = folder();
        let (trace, inject) = (format!("trace={kind}"), format!("inject={kind}:error=EIO:when={when}"));
        let output = child(&Role::script(dir.path()), &["-e", &trace, "-e", &inject]);
        let calls = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        let what = format!("EIO at {kind} {when}: {text}{calls}");
        assert!(output.status.success(), "{what}");
        assert_eq!(text.contains("Failed"), text.contains("opened anew"), "{what}");
        check(dir.path(), &output, &what);
        calls.contains("(INJECTED)")
    });
}

/// All calls from one on fail: nothing is told as done, the cause is told, and what was told before is there later.
fn a_full_disk_is_told_as_such() {
    for (kind, when, error, expected) in [
        ("pwrite64", 40, "ENOSPC", "Full"),
        ("pwrite64", 40, "EIO", "Failed"),
        ("fdatasync", 6, "EIO", "Failed"),
        ("rename", 1, "ENOSPC", "Full"),
    ] {
        let dir = folder();
        let (trace, inject) = (format!("trace={kind}"), format!("inject={kind}:error={error}:when={when}+"));
        let output = child(&Role::script(dir.path()), &["-e", &trace, "-e", &inject]);
        let text = String::from_utf8_lossy(&output.stdout);
        let what =
            format!("{error} from {kind} {when} on: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.lines().any(|line| line == expected), "{what}");
        check(dir.path(), &output, &what);
    }
}
