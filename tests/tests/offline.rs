//! Verbs where no service runs: they read the data folder themselves, under its lock.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::postroad::{Config, NAME, run};
use postroad_tests::wait;
use postroad_tests::world::World;
use serde_json::Value;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;

const ONCE: [&str; 6] = [
    "--rcpt-once",
    "a@small.example=451 4.2.1 Later",
    "--rcpt-once",
    "b@small.example=451 4.2.1 Later",
    "--rcpt-once",
    "c@small.example=451 4.2.1 Later",
];

/// Three messages wait for an hour each; then the service is stopped.
fn stopped() -> (World, [String; 3]) {
    let config = Config { service: "SmtpRemoteProgressiveRetry = \"1h\"".to_owned(), ..Config::default() };
    let mut world = World::with(&ONCE, &config);
    let ids = ["a", "b", "c"].map(|name| {
        let to = format!("{name}@small.example");
        let id = world.accepted(&[&to], b"Subject: x\r\n\r\n");
        world.postroad.wait_deferred(&to);
        id
    });
    world.postroad.stop();
    (world, ids)
}

#[test]
fn the_queue_is_read_and_changed() {
    let (mut world, [deleted, retried, left]) = stopped();
    let postroad = &world.postroad;
    let status = postroad.verb(&["status"]);
    assert_eq!((status.status, status.stdout.as_str()), (69, ""), "{status:?}");

    let rows = postroad.queue();
    assert_eq!(
        rows.iter().map(|row| row["id"].clone()).collect::<Vec<Value>>(),
        [&deleted, &retried, &left].map(|id| Value::from(id.as_str()))
    );
    assert!(rows.iter().all(|row| row["state"] == "deferred" && row["attempts"] == 1), "{rows:?}");
    assert!(postroad.verb(&["queue", "list"]).stdout.contains("3 messages for 3 recipients."));
    assert_eq!(postroad.json(&["queue", "show", &left]), rows[2..]);
    for subject in [left.as_str(), "c@small.example", "small.example"] {
        let told = postroad.json(&["explain", subject])[0].to_string();
        assert!(told.contains("451 4.2.1 Later"), "{told}");
    }
    assert!(postroad.events().iter().any(|event| event["number"] == 20010));
    assert!(postroad.events().iter().any(|event| event["number"] == 20011));

    assert_eq!(postroad.json(&["queue", "delete", &deleted])[0]["done"], 1);
    assert_eq!(postroad.json(&["queue", "retry", &retried])[0]["done"], 1);
    assert_eq!(postroad.verb(&["queue", "delete", &deleted]).status, 1);
    assert_eq!(postroad.queue().len(), 2);
    assert!(postroad.json(&["explain", &deleted])[0].to_string().contains("Deleted by an administrator"));

    // And the service finds it so.
    world.postroad.restart();
    assert_eq!(world.sink.wait_for(1)[0].to, ["b@small.example"]);
    wait::until("one is left", || world.postroad.queue().len() == 1);
    let row = world.postroad.wait_deferred("c@small.example");
    assert_eq!((&row["id"], &row["next_try"]), (&left.as_str().into(), &rows[2]["next_try"]));
    assert_eq!(world.sink.count(), 1);
}

#[test]
fn all_are_deleted_or_retried() {
    let (mut world, _) = stopped();
    assert_eq!(world.postroad.json(&["queue", "retry", "--all"])[0]["done"], 3);
    world.postroad.restart();
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 3);
    let (mut world, _) = stopped();
    assert_eq!(world.postroad.json(&["queue", "delete", "--all"])[0]["done"], 3);
    assert_eq!(world.postroad.queue(), Vec::<Value>::new());
    world.postroad.restart();
    assert_eq!(world.postroad.queue(), Vec::<Value>::new());
}

/// Where there is no data folder, none is made.
#[test]
fn no_data_folder() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("none");
    for verb in [
        &["status"][..],
        &["queue", "list"],
        &["queue", "retry", "--all"],
        &["explain", NAME],
        &["events", "list"],
    ] {
        let verb = run(&[&["--data", &data.display().to_string()], verb].concat(), b"");
        assert_eq!((verb.status, verb.stdout.as_str()), (69, ""), "{verb:?}");
        assert!(verb.stderr.starts_with("postroad: there is no data folder"), "{verb:?}");
    }
    assert!(!data.exists());
}

/// Someone has the folder's lock and does not answer: try later.
#[test]
fn a_locked_data_folder() {
    let (mut world, _) = stopped();
    let lock = File::options().write(true).open(world.postroad.data().join("lock")).unwrap();
    lock.lock().unwrap();
    for verb in [&["queue", "list"][..], &["queue", "delete", "--all"], &["explain", "small.example"]] {
        let verb = world.postroad.verb(verb);
        assert_eq!((verb.status, verb.stdout.as_str()), (75, ""), "{verb:?}");
    }
    let (status, said) = world.postroad.fail_to_start();
    assert_eq!(status, Some(75), "{said}");
    drop(lock);
    assert_eq!(world.postroad.queue().len(), 3);
}

/// A name that was mistyped, or that of a folder above: nothing in it is made, and whoever may read it still may.
#[test]
fn a_folder_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    // As `/var` has it.
    std::fs::create_dir(dir.path().join("spool")).unwrap();
    std::fs::write(dir.path().join("letter"), "Dear").unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let data = dir.path().display().to_string();
    let verbs: [&[&str]; 4] =
        [&["serve"], &["meta", "set", "smtpsvc/1", "HopCount", "9"], &["queue", "list"], &["events", "list"]];
    for verb in verbs {
        let ended = run(&[&["--data", &data], verb].concat(), b"");
        assert_eq!(ended.status, 69, "{verb:?}: {ended:?}");
        assert!(
            ended.stderr.contains("files of something else") && ended.stderr.contains("--data"),
            "{ended:?}"
        );
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["letter", "spool"], "{verb:?}");
        assert_eq!(std::fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o755, "{verb:?}");
    }
}
