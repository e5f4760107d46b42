//! The child: what is killed.

use crate::common::NOW;
use crate::kind_of;
use crate::script::Script;
use postroad_mail::id::MessageId;
use postroad_spool::record::{Load, Record};
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
    intake_entries_due: 4,
    direct_after_load: 0,
    keep_drafts: false,
};

/// What a child does, handed over in its environment.
pub struct Role {
    dir: PathBuf,
    name: &'static str,
}

const DIR: &str = "POSTROAD_SPOOL_CRASH_DIR";
const NAME: &str = "POSTROAD_SPOOL_CRASH_ROLE";

impl Role {
    /// The script up to the first failure, which is told, and opening anew after it.
    pub fn script(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "script" }
    }

    /// The script without a sync.
    pub fn unsynced(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "unsynced" }
    }

    /// Opening, tending, closing.
    pub fn recovery(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "recovery" }
    }

    pub fn of_this_process() -> Option<Self> {
        let name = std::env::var(NAME).ok()?;
        let name = ["script", "unsynced", "recovery"].into_iter().find(|one| *one == name)?;
        Some(Self { dir: std::env::var_os(DIR)?.into(), name })
    }

    pub fn put_into(&self, command: &mut Command) {
        command.env(DIR, &self.dir).env(NAME, self.name);
    }
}

pub fn run(role: &Role) {
    match role.name {
        "recovery" => {
            let mut store = SqliteStore::open(&role.dir, OPEN).unwrap();
            for _ in 0..10 {
                store.tend(NOW).unwrap();
            }
        }
        "unsynced" => script(&role.dir, &Options { synchronous: Synchronous::Off, ..OPEN }).unwrap(),
        _ => {
            let Err(error) = script(&role.dir, &OPEN) else { return };
            tell(kind_of(&error));
            if SqliteStore::open(&role.dir, OPEN).is_ok() {
                tell("opened anew");
            }
        }
    }
}

fn script(dir: &Path, options: &Options) -> Result<(), StoreError> {
    let script = Script::new();
    let mut store = SqliteStore::open(dir, options.clone())?;
    for at in 0..script.len() {
        if at == script.len() / 2 {
            // Closed and opened, as a service is that is stopped.
            drop(store);
            store = SqliteStore::open(dir, options.clone())?;
        }
        let committed = script.commit(at, dir, &mut store);
        fails_for_good(&mut store, &committed);
        committed?;
        tell("told");
        let tended = store.tend(NOW);
        fails_for_good(&mut store, &tended);
        tended?;
    }
    Ok(())
}

/// A store that failed does nothing more, whatever it is asked.
fn fails_for_good(store: &mut SqliteStore, result: &Result<(), StoreError>) {
    if result.is_err() {
        assert_eq!(store.commit(&[Record::Settle { id: MessageId(1) }]).map(|_| ()), *result);
        assert_eq!(store.load(&Load::Totals).map(|_| ()), *result);
        assert_eq!(store.tend(NOW), *result);
    }
}

fn tell(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}
