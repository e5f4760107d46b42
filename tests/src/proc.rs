//! Child processes that do not outlive the test that started them.

use crate::wait;
use std::ffi::OsStr;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running program, leader of a process group of its own. Dropped, the whole group is killed; a test that fails prints the end of
/// what it said.
///
/// The thread that starts it must outlive it: the kernel kills the program when that thread ends (`PR_SET_PDEATHSIG`), so that
/// nothing is left over even when a test runner kills the test.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its standard output and error go to a file `NAME.log` in `dir`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start<A: AsRef<OsStr>>(name: &str, dir: &Path, program: &Path, args: &[A]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("a log file");
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("setpriv, of util-linux, starts");
        Self { name: name.to_owned(), child, log }
    }

    /// Its process id, and that of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read(&self.log)
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .unwrap_or_default()
    }

    /// Waits until it accepts TCP connections at `address`.
    ///
    /// # Panics
    /// If it ends instead, or does not within `wait::PATIENCE`.
    pub fn wait_listening(&mut self, address: SocketAddr) {
        self.wait_ready(&format!("listens at {address}"), || TcpStream::connect(address).is_ok());
    }

    /// Waits until `ready`.
    ///
    /// # Panics
    /// If it ends instead, or is not ready within `wait::PATIENCE`.
    pub fn wait_ready(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        wait::within(wait::PATIENCE, &format!("{} {what}", self.name), || {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("{} ended with {status} before it {what}:\n{}", self.name, self.said());
            }
            ready().then_some(())
        });
    }

    /// Sends a signal, as `TERM`, to the program (not to its group).
    pub fn signal(&self, signal: &str) {
        send(signal, &self.id().to_string());
    }

    /// Kills the whole group and waits until the program is gone.
    pub fn kill(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            send("KILL", &format!("-{}", self.id()));
            self.wait_end(wait::PATIENCE);
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not within `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait::within(limit, &format!("{} ends", self.name), || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        // The leader may have ended and left others of its group behind; nothing else has its number while they live.
        send("KILL", &format!("-{}", self.id()));
        if std::thread::panicking() {
            let said = self.said();
            let from = said.len().saturating_sub(LAST_WORDS);
            let from = (from..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(said.len());
            eprintln!("---- {} said at last:\n{}", self.name, &said[from..]);
        }
    }
}

/// The first of `names` that is an executable, in the folders of `PATH` and in those of the system's daemons.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed: run ci/install-debian.sh"))
}

/// A copy of a daemon in `dir`. Debian's AppArmor profiles confine some daemons, by the path of the program, to files in /etc and
/// /var; the copy reads the test's folder.
///
/// # Panics
/// If it cannot be copied.
#[must_use]
pub fn unconfined(name: &str, dir: &Path) -> PathBuf {
    let copy = dir.join(name);
    // By another process: one that a thread of ours starts at the same moment would inherit the file while it is written, and as
    // long as it is open for writing it cannot be run ("text file busy").
    let copied = Command::new("cp").arg(find(name)).arg(&copy).status().expect("cp starts");
    assert!(copied.success(), "{name} cannot be copied: {copied}");
    copy
}

/// Octets of a process's output that a failed test prints.
const LAST_WORDS: usize = 4000;

/// By the program `kill`, because the standard library knows no signals; a target that is gone already is no fault.
fn send(signal: &str, target: &str) {
    let kill =
        Command::new("kill").arg(format!("-{signal}")).args(["--", target]).stderr(Stdio::null()).status();
    kill.expect("kill, of procps, starts");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    fn alive(id: &str) -> bool {
        Path::new("/proc").join(id).join("cmdline").exists_and_not_empty()
    }

    trait NotEmpty {
        fn exists_and_not_empty(&self) -> bool;
    }
    impl NotEmpty for PathBuf {
        fn exists_and_not_empty(&self) -> bool {
            std::fs::read(self).is_ok_and(|line| !line.is_empty())
        }
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let script = "sleep 1000 & echo $! $$; wait";
        let panicked = catch_unwind(|| {
            let mut shell = Process::start("shell", dir.path(), &find("sh"), &["-c", script]);
            let log = dir.path().join("shell.log");
            shell.wait_ready("says its ids", || {
                std::fs::read_to_string(&log).is_ok_and(|said| said.ends_with('\n'))
            });
            assert!(shell.said().split_whitespace().all(alive));
            panic!("as a failing test does");
        });
        assert!(panicked.is_err());
        let said = std::fs::read_to_string(dir.path().join("shell.log")).unwrap();
        let ids: Vec<&str> = said.split_whitespace().collect();
        assert_eq!(ids.len(), 2);
        wait::until("both are gone", || !ids.iter().any(|id| alive(id)));
    }
}
