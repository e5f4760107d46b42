//! What is in the files, and what of them cannot be opened.

use crate::common::{path, record, text};
use crate::{KEY, change, file_in, folder, open};
use postroad_metabase::record::{Data, SECURE, VOLATILE};
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Act, Metabase, Seal, StoreError};
use postroad_metabase::tree::{Op, Tree};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn set(id: u32, attributes: u32, value: &str) -> Op {
    Op::Set(path("/LM"), record(id, attributes, Data::String(value.into())))
}

fn commit(metabase: &mut Metabase<SqliteStore>, ops: &[Op]) {
    let after = metabase.tree().apply(ops).unwrap();
    metabase.commit(&after, &change(""), Act::Change).unwrap();
}

/// All octets of all files; an empty log is as none.
fn octets(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files = files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap()));
    files.filter(|(path, octets)| !octets.is_empty() || !path.ends_with("metabase.db-wal")).collect()
}

fn has(dir: &Path, text: &str) -> bool {
    octets(dir).iter().any(|(_, octets)| octets.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[test]
fn secrets_and_volatile_records_are_not_in_the_files() {
    let dir = folder();
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    commit(
        &mut metabase,
        &[set(1, SECURE, "hush-one"), set(2, VOLATILE, "fleeting-one"), set(3, 0, "plain-one")],
    );
    commit(
        &mut metabase,
        &[set(1, SECURE, "hush-two"), set(2, VOLATILE, "fleeting-two"), set(3, 0, "plain-two")],
    );
    commit(&mut metabase, &[set(4, VOLATILE | SECURE, "hush-three"), Op::Unset(path("/LM"), 1)]);
    let check = || {
        assert!(has(dir.path(), "plain-one") && has(dir.path(), "plain-two"), "what is looked for is found");
        for text in ["hush-", "fleeting-"] {
            assert!(!has(dir.path(), text), "{text} is in a file");
        }
    };
    check();
    assert!(fs::metadata(dir.path().join("metabase.db-wal")).unwrap().len() > 0);
    drop(metabase);
    check();
    assert_eq!(octets(dir.path()).len(), 1, "closed, the store is one file");
    let mode = fs::metadata(file_in(&dir)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{:?}", Seal::new([0x41; 32])).contains("41"));
}

#[test]
fn no_nonce_seals_two_things() {
    let dir = folder();
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    let below = |name: &str| Op::Set(path(name), record(1, SECURE, Data::String("the same secret".into())));
    commit(&mut metabase, &[below("/LM/a"), below("/LM/b")]);
    commit(&mut metabase, &[below("/LM/c")]);
    commit(&mut metabase, &[Op::Delete(path("/LM/a"))]);
    drop(metabase);
    let db = rusqlite::Connection::open(file_in(&dir)).unwrap();
    let mut all = db
        .prepare(
            "SELECT value FROM record UNION ALL SELECT before FROM delta UNION ALL SELECT after FROM delta",
        )
        .unwrap();
    let rows = all.query_map([], |row| row.get::<_, Option<Vec<u8>>>(0)).unwrap();
    let rows: Vec<Vec<u8>> = rows.filter_map(|row| row.unwrap()).collect();
    let sealed: BTreeSet<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    // After the head: the nonce, twelve octets.
    let nonces: BTreeSet<&[u8]> = rows.iter().map(|row| &row[9..21]).collect();
    // Those of b and c stand in both tables as they were sealed once; that of a was sealed by each change that tells of it.
    assert_eq!((rows.len(), sealed.len(), nonces.len()), (6, 4, 4));
}

/// A store with something in it, spoilt; then opening says `expected` and changes nothing.
fn refuses(spoil: &dyn Fn(&TempDir), expected: &str) -> StoreError {
    refuses_with(KEY, spoil, expected)
}

fn refuses_with(key: [u8; 32], spoil: &dyn Fn(&TempDir), expected: &str) -> StoreError {
    let dir = folder();
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    let many: Vec<Op> = (0..500).map(|id| set(id, SECURE, &"x".repeat(100))).collect();
    commit(&mut metabase, &many);
    drop(metabase);
    spoil(&dir);
    let before = octets(dir.path());
    let opened = SqliteStore::open(&file_in(&dir), Seal::new(key)).and_then(Metabase::open);
    let Err(error) = opened else { panic!("opened, and was to say {expected:?}") };
    assert!(error.to_string().contains(expected), "{error} does not say {expected:?}");
    assert!(octets(dir.path()) == before, "{expected}: something was changed");
    error
}

fn sql(dir: &TempDir, sql: &str) {
    rusqlite::Connection::open(file_in(dir)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_cannot_be_opened_says_why_and_is_left_as_it_is() {
    let restore = "restore a backup";
    refuses(&|dir| fs::write(file_in(dir), "x".repeat(9_000)).unwrap(), restore);
    refuses(&|dir| fs::write(file_in(dir), "").unwrap(), restore);
    refuses(&|dir| sql(dir, "PRAGMA user_version = 0"), restore);
    refuses(&|dir| sql(dir, "PRAGMA user_version = 7"), "version 7");
    refuses(&|dir| sql(dir, "DELETE FROM state"), restore);
    refuses(&|dir| sql(dir, "DROP TABLE key"), "key");
    refuses(&|dir| sql(dir, "DELETE FROM key WHERE path = '/lm'"), "has no key");
    refuses(&|dir| sql(dir, "UPDATE key SET shown = '/a//b' WHERE path = '/lm'"), "empty name");
    refuses(&|dir| sql(dir, "UPDATE record SET value = x'00' WHERE id = 3"), "record 3");
    refuses(&|dir| sql(dir, "UPDATE record SET value = 7 WHERE id = 3"), restore);
    // A secret belongs to its property: it cannot be put where it would be read.
    let moved = "UPDATE record SET value = (SELECT value FROM record WHERE id = 1) WHERE id = 2";
    refuses(&|dir| sql(dir, moved), "record 2");
    let taken = |dir: &TempDir| std::mem::forget(open(&file_in(dir)));
    refuses(&taken, "open already");
    let orphan = |dir: &TempDir| {
        fs::rename(file_in(dir), dir.path().join("moved")).unwrap();
        fs::write(dir.path().join("metabase.db-wal"), "log").unwrap();
    };
    refuses(&orphan, "put that one back");
}

#[test]
fn a_store_of_the_first_version_is_brought_to_this_one() {
    let dir = folder();
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    commit(&mut metabase, &[set(1, SECURE, "kept")]);
    let tree = metabase.tree().clone();
    drop(metabase);
    sql(
        &dir,
        "DROP TABLE pin; ALTER TABLE change DROP COLUMN confirmed_at; ALTER TABLE change DROP COLUMN confirmed_by;
         PRAGMA user_version = 1;",
    );
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    assert!(metabase.tree().diff(&tree).is_empty() && metabase.pinned().pins.is_empty());
    commit(&mut metabase, &[set(2, SECURE, "new")]);
    assert_eq!(metabase.history(9, None).unwrap().len(), 2);
    drop(metabase);
    Metabase::open(open(&file_in(&dir))).unwrap();
}

#[test]
fn an_empty_log_is_no_reason_not_to_begin() {
    let dir = folder();
    fs::write(dir.path().join("metabase.db-wal"), "").unwrap();
    open(&file_in(&dir));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let cut = |pages: u64| {
        move |dir: &TempDir| {
            let file = fs::File::options().write(true).open(file_in(dir)).unwrap();
            let octets = file.metadata().unwrap().len();
            assert!(octets > 8 * 4096);
            file.set_len(pages * octets / 8).unwrap();
        }
    };
    for pages in 0..8 {
        refuses(&cut(pages), "restore a backup");
    }
}

#[test]
fn another_key_is_told_at_once() {
    let error = refuses_with([8; 32], &|_| {}, "put it back from a backup");
    assert!(matches!(error, StoreError::WrongKey(_)));
}

#[test]
fn what_a_crash_left_of_a_first_start_is_begun_anew() {
    let dir = folder();
    fs::write(dir.path().join("metabase.db.new"), "x".repeat(50_000)).unwrap();
    let metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    assert_eq!(metabase.tree().diff(&Tree::new()), []);
    assert!(!dir.path().join("metabase.db.new").exists());
}

#[test]
fn a_change_larger_than_the_log_and_those_after_it() {
    let dir = folder();
    let mut metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    let many: Vec<Op> =
        (0..4000).map(|key| Op::Set(path(&format!("/LM/{key}")), text(1, &"x".repeat(500)))).collect();
    commit(&mut metabase, &many);
    commit(&mut metabase, &[set(1, 0, "after")]);
    let before = metabase.tree().clone();
    drop(metabase);
    let metabase = Metabase::open(open(&file_in(&dir))).unwrap();
    assert_eq!(metabase.tree().diff(&before), []);
}
