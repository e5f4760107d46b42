//! Backups: damaged ones, ones of another machine, and ones that do the service no good.

use crate::{Numbers, carry, changed, contains, done, file, octets_below, raw, refused};
use postroad_tests::load::Session;
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::wait;
use std::net::TcpListener;
use std::time::Duration;

/// A listener that moved is closed by then.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_damaged_backup_is_refused() {
    let postroad = Postroad::start_stored(&Config::default());
    assert_eq!(postroad.json(&["meta", "backup", "good"])[0]["version"], 0);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33"]);
    let folder = postroad.data().join("Backup");
    let good = std::fs::read(folder.join("good.pb0")).unwrap();
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 8, good.len() / 3, good.len() - 1] {
        damaged.push((format!("cut at {length}"), good[..length].to_vec()));
    }
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..24 {
        let (at, bit) = (numbers.below(good.len() as u64), numbers.below(8));
        let mut flipped = good.clone();
        flipped[usize::try_from(at).unwrap()] ^= 1 << bit;
        damaged.push((format!("bit {bit} of octet {at}"), flipped));
    }
    damaged.push(("with more at its end".to_owned(), [good.as_slice(), b"x"].concat()));
    damaged.push(("a database".to_owned(), std::fs::read(postroad.data().join("metabase.db")).unwrap()));
    damaged.push(("a text".to_owned(), b"[\"/LM/SmtpSvc/1\"]\nHopCount = 5\n".repeat(100)));
    damaged.push(("zeros".to_owned(), vec![0; 100_000]));
    for (what, octets) in damaged {
        std::fs::write(folder.join("bad.pb0"), octets).unwrap();
        println!("{what}");
        let verb = refused(&postroad, &["restore", "bad", "--yes"], &[1]);
        assert!(verb.stderr.contains("bad.pb0"), "{what}: {verb:?}");
        refused(&postroad, &["restore", "bad", "--dry-run"], &[1]);
        refused(&postroad, &["backups", "verify", "bad"], &[1]);
        // It is in the list, with what is wrong; the good one is beside it.
        let list = postroad.json(&["meta", "backups"]);
        let faults: Vec<bool> = list.iter().map(|row| row["fault"] != "").collect();
        assert_eq!(faults, [true, false], "{what}: {list:?}");
    }
    let verb = refused(&postroad, &["restore", "nosuch", "--yes"], &[1]);
    assert!(verb.stderr.contains("nosuch"), "{verb:?}");
    refused(&postroad, &["restore", "../../etc/passwd", "--yes"], &[1, 2]);
    done(&postroad, &["restore", "good", "--yes"]);
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "100");
}

const SECRET: &str = "correct-horse-battery-staple";

#[test]
fn a_secret_goes_to_another_machine_and_is_never_shown() {
    let postroad = Postroad::start_stored(&Config::default());
    let secret = file(&postroad, "secret", format!("{SECRET}\n"));
    let password = file(&postroad, "password", "open sesame\nnot this line\n");
    changed(&postroad, &["set", "smtpsvc/1/routepassword", "--value-file", &secret]);
    let backup = postroad.json(&["meta", "backup", "moving", "--password-file", &password]).remove(0);
    assert_eq!(backup["password"], true, "{backup}");
    done(&postroad, &["backup", "local"]);
    let mut other = Postroad::start_stored(&Config::default());
    for name in ["moving.pb0", "local.pb0"] {
        carry(&postroad, &other, name);
    }
    drop(postroad);
    let wrong = file(&other, "wrong", "open sesam\n");
    refused(&other, &["restore", "moving", "--yes"], &[1]);
    let verb = refused(&other, &["restore", "moving", "--yes", "--password-file", &wrong], &[1]);
    assert!(verb.stderr.contains("password"), "{verb:?}");
    let verb = refused(&other, &["restore", "local", "--yes"], &[1]);
    assert!(verb.stderr.contains("password") || verb.stderr.contains("machine"), "{verb:?}");
    let password = file(&other, "password", "open sesame\n");
    let restored = other.json(&["meta", "restore", "moving", "--yes", "--password-file", &password]);
    assert_eq!(restored.last().unwrap()["change"]["applied"], true, "{restored:?}");
    // It is there, and it is that one: nothing differs from the backup; then something does.
    let dry = |other: &Postroad| {
        let dry = ["meta", "restore", "moving", "--dry-run", "--password-file", &password];
        other.json(&dry).remove(0)["change"]["differences"].clone()
    };
    assert_eq!(dry(&other), serde_json::json!([]));
    let shown = shown(&other);
    assert!(shown.contains("(secret)"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    changed(&other, &["set", "smtpsvc/1/routepassword", "another one"]);
    let differences = dry(&other);
    assert_eq!(differences.as_array().unwrap().len(), 1, "{differences}");
    assert!(!differences.to_string().contains(SECRET), "{differences}");
    other.stop();
    assert!(!self::shown(&other).contains(SECRET));
    assert!(!contains(&octets_below(&other.data()), SECRET), "the data folder has it in the clear");
    assert!(!other.log().contains(SECRET));
}

/// All that any verb shows of the tree.
fn shown(postroad: &Postroad) -> String {
    let verbs: [&[&str]; 10] = [
        &["get", "smtpsvc/1", "RoutePassword"],
        &["get", "smtpsvc/1", "RoutePassword", "--why"],
        &["get", "smtpsvc/1", "RoutePassword", "--raw"],
        &["get", "smtpsvc/1", "RoutePassword", "--json"],
        &["enum", "smtpsvc/1", "--inherited"],
        &["enum", "smtpsvc/1", "--json"],
        &["export"],
        &["export", "--xml"],
        &["log", "--limit", "1000"],
        &["find", "RoutePassword"],
    ];
    let texts = verbs.map(|args| {
        let verb = postroad.verb(&[&["meta"], args].concat());
        verb.stdout + &verb.stderr
    });
    texts.concat() + &postroad.verb(&["meta", "find", SECRET]).stdout
}

/// The port of the backup was taken by somebody else: that restore cannot take effect, so it is not made.
#[test]
fn a_restore_that_cannot_take_effect_is_not_made() {
    let postroad = Postroad::start_stored(&Config::default());
    let (there, here) = (Port::free(), format!("{}:", postroad.address()));
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &format!("{}:", there.local())]);
    done(&postroad, &["backup", "there"]);
    changed(&postroad, &["set", "smtpsvc/1", "ServerBindings", &here]);
    let holder = wait::within(AT_ONCE, "the port is free again", || TcpListener::bind(there.local()).ok());
    let verb = refused(&postroad, &["restore", "there", "--yes"], &[1]);
    assert!(verb.stderr.contains(&there.local().to_string()), "{verb:?}");
    Session::open(postroad.address()).unwrap();
    drop(holder);
    done(&postroad, &["restore", "there", "--yes"]);
    Session::open(there.local()).unwrap();
}
