//! Backups put back: elsewhere, in part, and where they do the service no good; and which one a name means.

use crate::{backup_file, carry, changed, done, file, raw, refused, state};
use postroad_tests::load::Session;
use postroad_tests::postroad::{Config, Postroad};
use serde_json::Value;
use std::net::SocketAddr;

/// A list of networks that cannot be read: what the check calls an error, though the service can run with it.
const UNREADABLE: [&str; 4] = ["set", "smtpsvc/1", "RelayIpList", "0x0102030405"];

#[test]
fn a_restore_that_does_no_good_is_rolled_back_unless_it_is_meant() {
    let mut postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &UNREADABLE);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33"]);
    done(&postroad, &["backup", "open"]);
    changed(&postroad, &["unset", "smtpsvc/1", "RelayIpList"]);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "44"]);
    let before = state(&postroad);
    let dry = postroad.verb(&["meta", "restore", "open", "--dry-run"]);
    assert!(dry.status == 0 && dry.stdout.contains("it will be rolled back"), "{dry:?}");
    let verb = postroad.verb(&["meta", "restore", "open", "--yes"]);
    assert!(verb.status == 1 && verb.stdout.contains("so nobody may relay"), "{verb:?}");
    let after = state(&postroad);
    assert_eq!(after.export, before.export);
    let log = postroad.json(&["meta", "log", "--limit", "2"]);
    assert!(log[0]["reason"].as_str().unwrap().contains("rolled back"), "{log:?}");
    assert_eq!(after.generation, before.generation + 2, "{log:?}");
    assert_eq!(log[0]["confirm_until"], Value::Null, "nothing waits");
    Session::open(postroad.address()).unwrap();
    let json = postroad.verb(&["meta", "restore", "open", "--yes", "--json"]);
    let report = json.json().pop().unwrap();
    assert_eq!(json.status, 1, "{report}");
    assert_ne!(report["rolled_back"], "", "{report}");
    assert_eq!(report["change"]["applied"], false, "{report}");
    // The tree before is a backup as well.
    assert!(postroad.json(&["meta", "backups"]).iter().any(|row| row["name"] == "safety"));
    let verb = postroad.verb(&["meta", "restore", "open", "--yes", "--i-mean-it"]);
    assert!(verb.status == 0 && verb.stdout.contains("Every binding greets with 220"), "{verb:?}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "33");
    // Where nothing listens, nothing is said of bindings.
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "44"]);
    postroad.stop();
    let verb = postroad.verb(&["meta", "restore", "open", "--yes"]);
    assert!(verb.status == 0 && verb.stdout.contains("no binding was tried"), "{verb:?}");
    assert!(!verb.stdout.contains("greets"), "{verb:?}");
    let log = postroad.json(&["meta", "log", "--limit", "1"]);
    assert_eq!(log[0]["confirm_until"], Value::Null, "nothing waits: {log:?}");
}

/// An error that was there before does not keep a backup from being restored.
#[test]
fn a_restore_is_not_blamed_for_what_was_wrong_before() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &UNREADABLE);
    done(&postroad, &["backup", "before"]);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "44"]);
    let verb = postroad.verb(&["meta", "restore", "before", "--yes"]);
    assert_eq!(verb.status, 0, "{verb:?}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "100");
}

/// The other servers of an old installation are kept, and are not served: what they bind is nobody's trouble.
#[test]
fn two_servers_with_one_binding_go_to_another_machine() {
    let postroad = Postroad::start_stored(&Config::default());
    let other = Postroad::prepare_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &format!("{}:", other.address())]);
    changed(&postroad, &["set", "smtpsvc/2", "ServerBindings", &format!("{}:", other.address())]);
    done(&postroad, &["check"]);
    done(&postroad, &["backup", "two"]);
    carry(&postroad, &other, "two.pb0");
    done(&other, &["restore", "two", "--yes"]);
    assert_eq!(raw(&other, "smtpsvc/2", "ServerBindings"), format!("{}:", other.address()));
}

#[test]
fn without_its_secrets_a_backup_goes_anywhere() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1", "RoutePassword", "hush"]);
    changed(&postroad, &["set", "smtpsvc/2", "RoutePassword", "hush too"]);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "44"]);
    done(&postroad, &["backup", "local"]);
    let other = Postroad::start_stored(&Config::default());
    changed(&other, &["set", "smtpsvc/1", "RoutePassword", "its own"]);
    carry(&postroad, &other, "local.pb0");
    drop(postroad);
    let verb = refused(&other, &["restore", "local", "--yes"], &[1]);
    assert!(verb.stderr.contains("--without-secrets"), "{verb:?}");
    let verb = other.verb(&["meta", "restore", "local", "--yes", "--without-secrets"]);
    assert_eq!(verb.status, 0, "{verb:?}");
    let told = "The secret RoutePassword of /LM/SmtpSvc/2 is not restored: enter it again with";
    assert!(verb.stdout.contains(told), "{verb:?}");
    assert!(verb.stdout.contains("/LM/SmtpSvc/1 is not restored: the one that is here stays"), "{verb:?}");
    assert_eq!(raw(&other, "smtpsvc/1", "HopCount"), "44");
    let stays = other.verb(&["meta", "get", "smtpsvc/1", "RoutePassword"]);
    assert!(stays.stdout.contains("(secret)"), "{stays:?}");
}

#[test]
fn a_file_is_the_backup_that_its_name_says() {
    let postroad = Postroad::prepare_stored(&Config::default());
    done(&postroad, &["backup", "nightly"]);
    std::fs::copy(backup_file(&postroad, "nightly.pb0"), backup_file(&postroad, "site.pb7")).unwrap();
    let names = || {
        let list = postroad.json(&["meta", "backups"]);
        list.iter().map(|row| format!("{} {}", row["name"], row["version"])).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["\"nightly\" 0", "\"site\" 7"]);
    let verb = postroad.verb(&["meta", "backups", "verify", "site"]);
    assert!(verb.status == 0 && verb.stdout.contains("Backup site version 7 is whole"), "{verb:?}");
    assert!(verb.stdout.contains("made as nightly version 0"), "{verb:?}");
    // Nobody can be asked here whether the highest is meant.
    refused(&postroad, &["backups", "delete", "site"], &[2]);
    let verb = postroad.verb(&["meta", "backups", "delete", "site", "--version", "7"]);
    assert!(verb.status == 0 && verb.stdout.contains("Backup site version 7 is deleted"), "{verb:?}");
    assert_eq!(names(), ["\"nightly\" 0"]);
    // A damaged one is deleted as any other.
    let octets = std::fs::read(backup_file(&postroad, "nightly.pb0")).unwrap();
    std::fs::write(backup_file(&postroad, "cut.pb0"), &octets[..octets.len() / 2]).unwrap();
    let list = postroad.verb(&["meta", "backups"]);
    assert!(!list.stdout.contains("1970") && list.stdout.contains("is cut off"), "{list:?}");
    let verb = postroad.verb(&["meta", "backups", "delete", "cut", "--yes"]);
    assert!(verb.status == 0 && verb.stdout.contains("Backup cut version 0 is deleted"), "{verb:?}");
    assert!(!backup_file(&postroad, "cut.pb0").exists());
}

#[test]
fn names_flags_and_a_restore_of_what_is_there() {
    let postroad = Postroad::prepare_stored(&Config::default());
    for name in ["safety", "scheduled"] {
        let verb = refused(&postroad, &["backup", name], &[2]);
        assert!(verb.stderr.contains("another name"), "{verb:?}");
    }
    done(&postroad, &["backup", "nightly", "--version", "NEXT_VERSION", "--save-first", "--force"]);
    let verb = refused(&postroad, &["backup", "nightly", "--version", "HIGHEST_VERSION"], &[1]);
    assert!(verb.stderr.contains("--overwrite"), "{verb:?}");
    done(&postroad, &["backup", "nightly", "--version", "highest", "--overwrite"]);
    // Nothing differs: there is nothing to ask.
    let verb = postroad.verb(&["meta", "restore", "nightly"]);
    assert!(verb.status == 0 && verb.stdout.contains("Nothing differs"), "{verb:?}");
}

/// What is pinned is in no backup: without it the tree may be one that no service takes.
#[test]
fn what_could_not_be_restored_is_told_when_it_is_verified() {
    let pinned =
        Config { server: "SmartHost = \"relay.example\"\nSmartHostType = 2".into(), ..Config::default() };
    let postroad = Postroad::start(&pinned);
    changed(&postroad, &["set", "smtpsvc", "SmartHostType", "2"]);
    let verb = postroad.verb(&["meta", "backup", "leaning"]);
    assert!(
        verb.status == 0 && verb.stdout.contains("Where the configuration file does not pin it"),
        "{verb:?}"
    );
    let other = Postroad::start_stored(&Config::default());
    carry(&postroad, &other, "leaning.pb0");
    let verb = other.verb(&["meta", "backups", "verify", "leaning"]);
    assert!(verb.status == 1 && verb.stdout.contains("cannot be restored here"), "{verb:?}");
    assert!(verb.stdout.contains("SmartHostType"), "{verb:?}");
    refused(&other, &["restore", "leaning", "--dry-run"], &[1]);
}

#[test]
fn a_check_that_could_not_be_made_says_so() {
    let nobody: SocketAddr = ([127, 0, 0, 1], 9).into();
    let config = Config { dns: vec![nobody], ..Config::default() };
    let postroad = Postroad::prepare_stored(&config);
    let toml = file(
        &postroad,
        "host.toml",
        "[\"/LM/SmtpSvc/1\"]\nSmartHost = \"relay.example\"\nSmartHostType = 2\n",
    );
    changed(&postroad, &["apply", &toml]);
    // A folder that is a file, and one that is not where its path begins.
    changed(&postroad, &["set", "smtpsvc/1", "DropDirectory", &toml]);
    changed(&postroad, &["set", "smtpsvc/1", "BadMailDirectory", "../beside"]);
    let verb = postroad.verb(&["meta", "check"]);
    assert!(verb.status == 0 && verb.stdout.contains("host.toml is no folder"), "{verb:?}");
    assert!(verb.stdout.contains("../beside is outside the data folder"), "{verb:?}");
    let verb = postroad.verb(&["meta", "check", "--online"]);
    assert!(verb.status == 75 && verb.stdout.contains("relay.example could not be looked up"), "{verb:?}");
    for nowhere in ["nosuch", "smtpsvc/99"] {
        let verb = postroad.verb(&["meta", "check", nowhere]);
        assert!(verb.status == 1 && verb.stderr.contains("does not exist"), "{verb:?}");
    }
}
