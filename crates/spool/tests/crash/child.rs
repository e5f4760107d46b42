//! The child: what is killed.

use crate::common::NOW;
use crate::kind_of;
use crate::script::Script;
use postroad_spool::sqlite::{Options, SqliteStore, Synchronous};
use postroad_spool::{Store, StoreError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Small bounds, so that all that happens rarely happens within the script.
pub const OPEN: Options = Options {
    synchronous: Synchronous::Full,
    segment_octets_max: 60_000,
    history_rows_max: 4,
    log_pages_due: 20,
};

/// Openings after a failure; a single failing call is behind it at the second.
const OPENINGS_MAX: usize = 3;

/// What a child does, handed over in its environment.
pub struct Role {
    dir: PathBuf,
    name: &'static str,
}

const DIR: &str = "POSTROAD_SPOOL_CRASH_DIR";
const NAME: &str = "POSTROAD_SPOOL_CRASH_ROLE";

impl Role {
    /// The script; after a failure it goes on.
    pub fn script(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "script" }
    }

    /// The script without a sync.
    pub fn unsynced(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "unsynced" }
    }

    /// The script up to the first failure.
    pub fn once(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "once" }
    }

    /// Opening, tending, closing.
    pub fn recovery(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "recovery" }
    }

    pub fn of_this_process() -> Option<Self> {
        let name = std::env::var(NAME).ok()?;
        let name = ["script", "unsynced", "once", "recovery"].into_iter().find(|one| *one == name)?;
        Some(Self { dir: std::env::var_os(DIR)?.into(), name })
    }

    pub fn put_into(&self, command: &mut Command) {
        command.env(DIR, &self.dir).env(NAME, self.name);
    }
}

pub fn run(role: &Role) {
    let mut child = Child { dir: &role.dir, script: Script::new(), done: 0, failed: false, options: OPEN };
    match role.name {
        "recovery" => {
            let mut store = SqliteStore::open(&role.dir, OPEN).unwrap();
            for _ in 0..10 {
                store.tend(NOW).unwrap();
            }
        }
        "once" => {
            if let Err(error) = child.go() {
                tell(kind_of(&error));
            }
        }
        "unsynced" => {
            child.options.synchronous = Synchronous::Off;
            child.go().unwrap();
        }
        _ => {
            for opening in 1.. {
                let Err(error) = child.go() else { break };
                assert!(opening < OPENINGS_MAX, "{error}");
                child.failed = true;
            }
        }
    }
}

struct Child<'a> {
    dir: &'a Path,
    script: Script,
    /// Batches committed, as far as we were told.
    done: usize,
    /// Whether one more may be there than we were told.
    failed: bool,
    options: Options,
}

impl Child<'_> {
    /// Opens the store, finds out where it is, and does the rest of the script.
    fn go(&mut self) -> Result<(), StoreError> {
        let mut store = SqliteStore::open(self.dir, self.options.clone())?;
        let done = if self.failed { self.script.done(&mut store, self.done, "opened anew") } else { 0 };
        while self.done < done {
            self.told();
        }
        while self.done < self.script.len() {
            let committed = self.script.commit(self.done, self.dir, &mut store);
            self.unless_failed(&mut store, committed)?;
            self.told();
            let tended = store.tend(NOW);
            self.unless_failed(&mut store, tended)?;
            if self.done == self.script.len() / 2 {
                // Closed and opened, as a service is that is stopped.
                drop(store);
                store = SqliteStore::open(self.dir, self.options.clone())?;
            }
        }
        Ok(())
    }

    fn told(&mut self) {
        self.done += 1;
        tell(&format!("told {}", self.done));
    }

    /// A store that failed does nothing more, whatever it is asked.
    fn unless_failed(
        &self,
        store: &mut SqliteStore,
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if result.is_err() {
            assert!(self.script.commit(self.script.len() - 1, self.dir, store).is_err());
            assert!(store.tend(NOW).is_err());
        }
        result
    }
}

fn tell(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}
