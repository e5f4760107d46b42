//! What the service writes, and where.

use crate::service::{fresh, send, set, world};
use postroad_tests::client::Smtplib;
use postroad_tests::folder::files;
use postroad_tests::postroad::Postroad;
use postroad_tests::wait;

/// A message comes to the default folder; once another is set, the next one comes there.
fn folder_before_and_after(postroad: &Postroad, (name, default): (&str, &str), end: &str, send: impl Fn()) {
    let (default, other) = (postroad.data().join(default), postroad.dir().join("other"));
    send();
    wait::until("a file in the default folder", || files(&default, end).len() == 1);
    postroad.wait_drained(wait::PATIENCE);
    set(postroad, name, &[&other.display().to_string()]);
    send();
    wait::until("a file in the other folder", || files(&other, end).len() == 1);
    postroad.wait_drained(wait::PATIENCE);
    assert_eq!(files(&default, end).len(), 1);
    // A relative path begins at the data folder.
    set(postroad, name, &["third"]);
    send();
    wait::until("a file in the third folder", || files(&postroad.data().join("third"), end).len() == 1);
}

pub(crate) fn bad_mail_directory() {
    let world = world(&[]);
    folder_before_and_after(&world.postroad, ("BadMailDirectory", "Badmail"), "bad", || {
        let lost = Smtplib::new(world.postroad.address(), "nobody@missing.example");
        let _ = lost.accepted(&["r@nullmx.example"], b"Subject: lost\r\n\r\n");
    });
}

pub(crate) fn drop_directory() {
    let postroad = fresh();
    set(&postroad, "DefaultDomain", &["office.example"]);
    folder_before_and_after(&postroad, ("DropDirectory", "Drop"), "eml", || {
        send(&postroad, "r@office.example");
    });
}

/// Versions of backups that are there.
fn backups(postroad: &Postroad) -> Vec<u64> {
    let rows = postroad.json(&["meta", "backups"]);
    rows.iter().map(|row| row["version"].as_u64().unwrap()).collect()
}

pub(crate) fn backup_every() {
    let postroad = fresh();
    assert_eq!(backups(&postroad), [0; 0]);
    set(&postroad, "BackupEvery", &["1s"]);
    wait::until("two backups", || backups(&postroad).len() >= 2);
    set(&postroad, "BackupEvery", &[""]);
}

/// It takes as many seconds as there are backups.
pub(crate) fn backup_keep() {
    const MADE: u64 = 16;
    let postroad = fresh();
    set(&postroad, "BackupEvery", &["1s"]);
    wait::until("14 of more backups", || {
        let versions = backups(&postroad);
        versions.len() == 14 && versions.iter().any(|version| *version >= MADE)
    });
    set(&postroad, "BackupKeep", &["2"]);
    wait::until("two backups", || backups(&postroad).len() == 2);
}
