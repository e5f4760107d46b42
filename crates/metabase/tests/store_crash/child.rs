//! The child: what is killed. Its script is fixed, and a state is what the script makes of a tree.

use crate::common::{path, record, text};
use postroad_mail::time::Wall;
use postroad_metabase::record::{Data, SECURE};
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Act, Change, Metabase, Seal, Store, StoreError};
use postroad_metabase::tree::{Op, Tree};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a child does, handed over in its environment.
pub struct Role {
    pub dir: PathBuf,
    name: &'static str,
}

const DIR: &str = "POSTROAD_METABASE_CRASH_DIR";
const NAME: &str = "POSTROAD_METABASE_CRASH_ROLE";

impl Role {
    /// The script up to the first failure, which is told, and opening anew after it.
    pub fn script(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "script" }
    }

    /// Writes to the database without a sync, as nobody should.
    pub fn unsynced(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), name: "unsynced" }
    }

    pub fn of_this_process() -> Option<Self> {
        let name = std::env::var(NAME).ok()?;
        let name = ["script", "unsynced"].into_iter().find(|one| *one == name)?;
        Some(Self { dir: std::env::var_os(DIR)?.into(), name })
    }

    pub fn put_into(&self, command: &mut Command) {
        command.env(DIR, &self.dir).env(NAME, self.name);
    }
}

pub fn open(dir: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(&dir.join("metabase.db"), Seal::new([9; 32]))
}

/// Changes of the script.
pub const SCRIPT_LEN: usize = 14;

/// The steps of a change: small ones, one that takes keys away, and one so large that its log is moved by the one after.
fn steps(at: usize) -> Vec<Op> {
    let domain = |number: usize| path(&format!("/LM/SmtpSvc/1/Domain/d{number}.example"));
    match at {
        3 => (0..5).map(|number| Op::Set(domain(number), text(1, &"x".repeat(2_000)))).collect(),
        6 => vec![Op::Delete(path("/LM/SmtpSvc/1"))],
        11 => vec![Op::Set(domain(9), text(1, &"y".repeat(2_200_000)))],
        _ => vec![
            Op::Set(path("/LM/SmtpSvc"), text(1, &at.to_string())),
            Op::Set(path("/LM/SmtpSvc"), record(2, SECURE, Data::String(format!("secret {at}")))),
            Op::Create(path(&format!("/LM/{at}"))),
        ],
    }
}

/// The tree after so many changes.
pub fn state(done: usize) -> Tree {
    (0..done).fold(Tree::new(), |tree, at| tree.apply(&steps(at)).unwrap())
}

pub fn commit<S: Store>(metabase: &mut Metabase<S>, at: usize) -> Result<(), StoreError> {
    let tree = metabase.tree().apply(&steps(at)).unwrap();
    let confirm_until = (at == 4).then_some(Wall(1));
    let change = Change { at: Wall(0), author: "script".into(), reason: String::new(), confirm_until };
    metabase.commit(&tree, &change, Act::Change).map(|_| ())
}

pub fn run(role: &Role) {
    if role.name == "unsynced" {
        drop(open(&role.dir).unwrap());
        let db = rusqlite::Connection::open(role.dir.join("metabase.db")).unwrap();
        db.pragma_update(None, "synchronous", "OFF").unwrap();
        for _ in 0..3 {
            db.execute("UPDATE state SET generation = generation + 1", []).unwrap();
            tell("told");
        }
        db.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        db.execute("UPDATE state SET generation = 0", []).unwrap();
        return;
    }
    let Err(error) = script(&role.dir) else { return };
    tell(match error {
        StoreError::Full(_) => "Full",
        StoreError::Failed(_) => "Failed",
        _ => "another error",
    });
    if open(&role.dir).and_then(Metabase::open).is_ok() {
        tell("opened anew");
    }
}

fn script(dir: &Path) -> Result<(), StoreError> {
    let mut metabase = Metabase::open(open(dir)?)?;
    for at in 0..SCRIPT_LEN {
        if at == SCRIPT_LEN / 2 {
            // Closed and opened, as a service is that is stopped.
            drop(metabase);
            metabase = Metabase::open(open(dir)?)?;
        }
        let before = metabase.tree().clone();
        let committed = commit(&mut metabase, at);
        if committed.is_err() {
            // It does nothing more, and the tree is as it was.
            assert_eq!(commit(&mut metabase, at), committed);
            assert_eq!((metabase.generation(), metabase.tree().diff(&before)), (at as u64, Vec::new()));
        }
        committed?;
        tell("told");
    }
    Ok(())
}

fn tell(line: &str) {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}
