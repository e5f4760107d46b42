//! The verbs of `meta`, from the command line to what they ask and write.

use super::reports::tests::{a_change, a_finding};
use super::rows::tests::{a_backup, a_record};
use super::*;
use crate::args::{Cli, Verb};
use crate::ending::USAGE;
use clap::Parser;
use postroad_control::meta::{Given, How, MetaStep, Prune, Secret, VersionWanted};
use postroad_control::meta_answer::{Finding, KeyRow, Mark, RestoreReport, ValueRow};

fn verb(arguments: &[&str]) -> Meta {
    let line = ["postroad", "meta"].iter().chain(arguments);
    match Cli::try_parse_from(line).unwrap().verb {
        Verb::Meta(verb) => verb,
        other => panic!("{other:?}"),
    }
}

fn property(name: &str, id: u32) -> PropertyRow {
    PropertyRow {
        name: name.into(),
        id,
        data_type: "STRING".into(),
        user_type: 1,
        attributes: 1,
        unit: String::new(),
        doc: String::new(),
        expectation: String::new(),
        fresh: String::new(),
        absent: String::new(),
        bounds: None,
        names: Vec::new(),
        bits: Vec::new(),
        is_list: false,
        keys: Vec::new(),
        mark: Mark::InForce,
    }
}

/// A service that has the keys `smtpsvc` and `smtpsvc/1`.
fn answer(request: &MetaRequest) -> Result<Vec<MetaItem>, Trouble> {
    let change = |how: &How| MetaItem::Change(Box::new(a_change(!how.dry_run, 1)));
    Ok(match request {
        MetaRequest::Tree { path, .. } if path == "smtpsvc" || path == "smtpsvc/1" => {
            vec![MetaItem::Key(KeyRow { path: path.clone(), depth: 0, records: 0, children: 0 })]
        }
        MetaRequest::Tree { .. } => return Err(Trouble::Says(NO, "there is no such key.".into())),
        MetaRequest::Schema => ["SmartHost", "RelayIpList", "SmtpUseTcpDns"]
            .into_iter()
            .zip([36_906, 36_907, 36_997])
            .map(|(name, id)| MetaItem::Property(Box::new(property(name, id))))
            .collect(),
        MetaRequest::Change { how, .. }
        | MetaRequest::Apply { how, .. }
        | MetaRequest::Rollback { how, .. } => vec![change(how)],
        MetaRequest::Diff { .. } => vec![change(&How { dry_run: true, ..How::default() })],
        MetaRequest::Check { path, .. } if path == "fine" => Vec::new(),
        MetaRequest::Check { path, .. } if path == "unknown" => {
            let unknown = Finding { untested: true, ..a_finding(false, false) };
            vec![MetaItem::Finding(Box::new(unknown))]
        }
        MetaRequest::Check { path, .. } => {
            vec![MetaItem::Finding(Box::new(a_finding(path != "warned", true)))]
        }
        MetaRequest::Restore { name, how, .. } => vec![MetaItem::Restore(Box::new(RestoreReport {
            backup: a_backup(""),
            safety: None,
            change: a_change(!how.dry_run, usize::from(name != "same")),
            steps: Vec::new(),
            rolled_back: String::new(),
        }))],
        MetaRequest::Get { property, .. } => {
            let record =
                (property == "smarthost").then(|| a_record(36_906, "SmartHost", "STRING", &["a.example"]));
            let default = "nothing".to_owned();
            vec![MetaItem::Value(Box::new(ValueRow { record, property: None, default, history: Vec::new() }))]
        }
        MetaRequest::Export { .. } => vec![MetaItem::Text("a\n".into()), MetaItem::Text("b\n".into())],
        MetaRequest::Enum { path, .. } => {
            let mut below = a_record(36_907, "RelayIpList", "BINARY", &[]);
            below.path = format!("{path}/1");
            let own = a_record(36_906, "SmartHost", "STRING", &["a.example"]);
            [own, below].map(|row| MetaItem::Record(Box::new(row))).into()
        }
        MetaRequest::Find { text, .. } if text == "smart" => {
            let key = KeyRow { path: "smtpsvc".into(), depth: 0, records: 0, children: 0 };
            let record = a_record(36_906, "SmartHost", "STRING", &["a.example"]);
            vec![MetaItem::Key(key), MetaItem::Record(Box::new(record))]
        }
        MetaRequest::Confirm { .. } => vec![MetaItem::Confirmed(12)],
        MetaRequest::DeleteBackup { .. } => vec![MetaItem::Backup(Box::new(a_backup("")))],
        MetaRequest::Backup { .. } => vec![MetaItem::Backup(Box::new(a_backup("it differs.")))],
        _ => Vec::new(),
    })
}

/// Runs a verb: how it ended, what it asked, and what it wrote.
fn run(
    arguments: &[&str],
    says: Option<bool>,
    json: bool,
) -> (Result<u8, Trouble>, Vec<MetaRequest>, String) {
    let (mut asked, mut out) = (Vec::new(), Vec::new());
    let mut screen = Screen::to(&mut out, json);
    let ended = Asker {
        ask: &mut |request, each| {
            let items = answer(&request);
            asked.push(request);
            items?.into_iter().try_for_each(each)
        },
        person: &mut |_| Ok(says),
        now: Wall(0),
        screen: &mut screen,
    }
    .run(verb(arguments));
    drop(screen);
    (ended, asked, String::from_utf8(out).unwrap())
}

/// The steps of the only change that a verb asks for.
fn steps(arguments: &[&str]) -> Vec<MetaStep> {
    let (_, asked, _) = run(arguments, None, false);
    let mut changes = asked.into_iter().filter_map(|request| match request {
        MetaRequest::Change { steps, .. } => Some(steps),
        _ => None,
    });
    let steps = changes.next().unwrap_or_default();
    assert_eq!(changes.next(), None);
    steps
}

fn a_set(path: &str, property: &str, value: &[&str]) -> Vec<MetaStep> {
    let value = value.iter().map(|item| (*item).to_owned()).collect();
    let (path, property) = (path.into(), property.into());
    vec![MetaStep::Set { path, property, value, data_type: None, user_type: None, attributes: None }]
}

#[test]
fn what_is_set() {
    let check = |arguments: &[&str], expected: Vec<MetaStep>| assert_eq!(steps(arguments), expected);
    check(&["set", "smtpsvc/smtpusetcpdns", "2"], a_set("smtpsvc", "smtpusetcpdns", &["2"]));
    check(&["set", "LM/SmtpSvc", "36997", "2"], a_set("LM/SmtpSvc", "36997", &["2"]));
    check(&["set", "smtpsvc/1", "RelayIpList", "a", "b"], a_set("smtpsvc/1", "RelayIpList", &["a", "b"]));
    check(&["set", "smtpsvc/1/relayiplist", "a", "b"], a_set("smtpsvc/1", "relayiplist", &["a", "b"]));
    check(&["set", "smtpsvc/0x902b", "a", "b"], a_set("smtpsvc", "0x902b", &["a", "b"]));
    check(&["set", "smtpsvc/smarthost", "SmartHost", "b"], a_set("smtpsvc/smarthost", "SmartHost", &["b"]));
    check(&["set", "smtpsvc/1", "61537", "a"], a_set("smtpsvc/1", "61537", &["a"]));
    check(&["set", "smtpsvc/1/smarthost", ""], a_set("smtpsvc/1", "smarthost", &[""]));
    check(&["set", "smtpsvc/1"], Vec::new());
    check(&["set", "smarthost", "a"], Vec::new());
}

/// As adsutil has it: a property below a key, and -1 for the largest number.
#[test]
fn what_adsutil_writes_is_taken() {
    let find = |path: &str, text: &str| MetaRequest::Find { path: path.into(), text: text.into() };
    let asks = |arguments: &[&str], expected: MetaRequest| {
        assert_eq!(run(arguments, None, false).1.pop(), Some(expected));
    };
    asks(&["find", "smtpsvc/smtpusetcpdns"], find("smtpsvc", "smtpusetcpdns"));
    asks(&["find", "192.0.2.0/25"], find("/", "192.0.2.0/25"));
    asks(&["find", "a/SmartHost", "--path", "smtpsvc"], find("smtpsvc", "a/SmartHost"));
    assert_eq!(steps(&["set", "smtpsvc", "36997", "-1"]), a_set("smtpsvc", "36997", &["-1"]));
    assert_eq!(steps(&["set", "smtpsvc/36997", "-1"]), a_set("smtpsvc", "36997", &["-1"]));
}

#[test]
fn what_is_found_says_what_it_is() {
    let (_, _, text) = run(&["find", "smart", "--json"], None, true);
    let found: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = found.iter().map(|found| (&found["kind"], &found["path"])).collect();
    let (key, record) = (serde_json::json!("key"), serde_json::json!("record"));
    assert_eq!(kinds, [(&key, &"smtpsvc".into()), (&record, &"/LM/SmtpSvc/1".into())], "{text}");
    let (_, _, text) = run(&["enum", "smtpsvc"], None, true);
    assert!(!text.contains("kind"), "all of one kind: {text}");
}

#[test]
fn a_set_with_everything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("value");
    std::fs::write(&file, "a\nb\n").unwrap();
    let file = file.to_str().unwrap();
    let line = [
        "set",
        "smtpsvc/1",
        "61537",
        "--value-file",
        file,
        "--type",
        "multisz",
        "--user-type",
        "2",
        "--attributes",
        "INHERIT|SECURE",
        "--dry-run",
        "--confirm",
        "5m",
        "--i-mean-it",
        "--reason",
        "why",
        "--if-generation",
        "7",
    ];
    let (ended, asked, _) = run(&line, None, false);
    assert!(matches!(ended, Ok(DONE)));
    let [MetaRequest::Change { steps, how }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    let expected = MetaStep::Set {
        path: "smtpsvc/1".into(),
        property: "61537".into(),
        value: vec!["a".into(), "b".into()],
        data_type: Some("MULTISZ".into()),
        user_type: Some(2),
        attributes: Some(5),
    };
    assert_eq!(*steps, [expected]);
    let expected = How {
        author: how.author.clone(),
        reason: "why".into(),
        dry_run: true,
        mean_it: true,
        confirm_secs: Some(300),
        if_generation: Some(7),
    };
    assert_eq!(*how, expected);
    assert!(how.author.ends_with(" (cli)"), "{}", how.author);
    let too_many = run(&["set", "smtpsvc/1", "smarthost", "a", "--value-file", file], None, false);
    assert!(matches!(too_many.0, Err(Trouble::Says(USAGE, _))));
}

#[test]
fn what_is_removed() {
    let unset = |path: &str, property: &str| MetaStep::Unset { path: path.into(), property: property.into() };
    let check = |arguments: &[&str], expected: &[MetaStep]| assert_eq!(steps(arguments), expected);
    check(&["unset", "smtpsvc/1/smarthost"], &[unset("smtpsvc/1", "smarthost")]);
    check(&["unset", "smtpsvc/1", "36906"], &[unset("smtpsvc/1", "36906")]);
    check(&["delete", "smtpsvc/1"], &[MetaStep::Delete { path: "smtpsvc/1".into() }]);
    check(&["delete", "smtpsvc/1/smarthost"], &[unset("smtpsvc/1", "smarthost")]);
    check(&["delete", "smtpsvc/1", "smarthost"], &[unset("smtpsvc/1", "smarthost")]);
    check(&["delete", "smtpsvc/2"], &[]);
    let (ended, _, _) = run(&["delete", "smtpsvc/2"], None, false);
    assert!(matches!(ended, Err(Trouble::Says(NO, what)) if what == "there is no such key."));
}

#[test]
fn what_is_created() {
    let create = MetaStep::Create { path: "smtpsvc/2".into() };
    assert_eq!(steps(&["create", "smtpsvc/2"]), vec![create.clone()]);
    let typed = [vec![create], a_set("smtpsvc/2", "KeyType", &["IIsSmtpServer"])].concat();
    assert_eq!(steps(&["create", "smtpsvc/2", "IIsSmtpServer"]), typed);
}

#[test]
fn what_is_looked_at() {
    let check = |arguments: &[&str], expected: MetaRequest| {
        let (_, asked, _) = run(arguments, None, false);
        assert_eq!(asked, [expected]);
    };
    let path = || "smtpsvc".to_owned();
    check(&["tree"], MetaRequest::Tree { path: "/".into(), depth: 32 });
    check(&["enum", "/P", "smtpsvc"], MetaRequest::Tree { path: path(), depth: 1 });
    check(&["enum", "smtpsvc", "--inherited"], MetaRequest::Enum { path: path(), inherited: true });
    check(
        &["get", "smtpsvc/36997", "--why"],
        MetaRequest::Get { path: path(), property: "36997".into(), why: true },
    );
    check(&["find", "dns", "--path", "smtpsvc"], MetaRequest::Find { path: path(), text: "dns".into() });
    check(&["export", "--xml", "smtpsvc"], MetaRequest::Export { form: Form::Xml, path: path() });
    check(&["log", "12"], MetaRequest::Log { limit: 20, generation: Some(12) });
    check(&["backups"], MetaRequest::Backups);
    check(&["backups", "--data", "d", "list"], MetaRequest::Backups);
    check(
        &["backups", "delete", "nightly", "--version", "3"],
        MetaRequest::DeleteBackup { name: "nightly".into(), version: VersionWanted::This(3) },
    );
}

#[test]
fn files_are_compared_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    std::fs::write(&file, "x").unwrap();
    let name = file.to_str().unwrap();
    let given = Given { name: name.into(), text: Some("x".into()) };
    let (ended, asked, _) = run(&["diff", name], None, false);
    assert!(matches!(ended, Ok(NO)), "something differs");
    assert_eq!(asked, [MetaRequest::Diff { text: given, prune: Prune::Nothing }]);
    let (ended, asked, _) = run(&["apply", name, "--prune"], None, false);
    assert!(matches!(ended, Ok(DONE)));
    assert!(matches!(&asked[..], [MetaRequest::Apply { prune: Prune::Properties, how, .. }] if !how.dry_run));
    let (_, asked, _) = run(&["apply", name, "--prune-keys"], None, false);
    assert!(matches!(&asked[..], [MetaRequest::Apply { prune: Prune::Keys, .. }]));
    let (_, asked, _) = run(&["import", name, "--apply", "--dry-run"], None, false);
    assert!(matches!(&asked[..], [MetaRequest::Import { apply: false, .. }]));
}

#[test]
fn an_export_goes_where_it_is_told() {
    assert_eq!(run(&["export"], None, false).2, "a\nb\n");
    assert_eq!(run(&["export"], None, true).2, "{\"form\":\"toml\",\"text\":\"a\\nb\\n\"}\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    let line = ["export", "-o", file.to_str().unwrap()];
    assert!(matches!(run(&line, None, false).0, Ok(DONE)));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nb\n");
    assert!(matches!(run(&line, None, false).0, Err(Trouble::Says(USAGE, _))));
    let line = [&line[..], &["--force"]].concat();
    assert_eq!(run(&line, None, false).2, "");
    let written = format!("{{\"form\":\"toml\",\"file\":{:?},\"octets\":4}}\n", file.to_str().unwrap());
    assert_eq!(run(&line, None, true).2, written);
}

#[test]
fn raw_values() {
    let (ended, _, out) = run(&["get", "smtpsvc/1/smarthost", "--raw"], None, false);
    assert!(matches!(ended, Ok(DONE)));
    assert_eq!(out, "a.example\n");
    let (ended, _, out) = run(&["get", "smtpsvc/1/other", "--raw"], None, false);
    assert!(matches!(ended, Err(Trouble::Says(NO, _))));
    assert_eq!(out, "");
}

#[test]
fn a_table_for_each_key() {
    let expected = "[/LM/SmtpSvc/1]\nID     NAME       ATTR  UT  TYPE    DATA\n36906  SmartHost  I     1   STRING  a.example\n\
                    [x/1]\nID     NAME         ATTR  UT  TYPE\n36907  RelayIpList  I     1   BINARY\n";
    assert_eq!(run(&["enum", "x"], None, false).2, expected);
    assert_eq!(run(&["enum", "x"], None, true).2.lines().count(), 2, "an object each");
}

/// Checks a verb that shows, asks, and does: the exit status and whether each change that it asked for was only to be shown.
fn check_asking(arguments: &[&str], says: Option<bool>, status: u8, dry_runs: &[bool]) {
    let (ended, asked, _) = run(arguments, says, false);
    let ended = match ended {
        Ok(status) | Err(Trouble::Says(status, _)) => status,
        Err(Trouble::Output(error)) => panic!("{error}"),
    };
    let hows = asked.iter().filter_map(|request| match request {
        MetaRequest::Change { how, .. } | MetaRequest::Restore { how, .. } => Some(how),
        _ => None,
    });
    let found: Vec<(bool, Option<u64>)> = hows.map(|how| (how.dry_run, how.if_generation)).collect();
    assert_eq!(ended, status, "{arguments:?} {says:?}");
    assert_eq!(found.iter().map(|(dry, _)| *dry).collect::<Vec<_>>(), dry_runs, "{arguments:?} {says:?}");
    if let [(true, _), (false, generation)] = found.as_slice() {
        assert_eq!(*generation, Some(12), "what is done is what was shown");
    }
}

#[test]
fn repairs_are_shown_before_they_are_made() {
    check_asking(&["check", "fine"], None, DONE, &[]);
    check_asking(&["check", "warned"], None, DONE, &[]);
    check_asking(&["check"], None, NO, &[]);
    check_asking(&["check", "unknown"], None, TRY_LATER, &[]);
    check_asking(&["check", "fine", "--repair"], None, DONE, &[]);
    check_asking(&["check", "warned", "--repair"], Some(true), DONE, &[true, false]);
    check_asking(&["check", "--repair"], Some(false), NO, &[true]);
    check_asking(&["check", "--repair"], None, USAGE, &[true]);
    check_asking(&["check", "warned", "--repair", "--yes"], None, DONE, &[true, false]);
    check_asking(&["check", "--repair", "--dry-run"], None, NO, &[true]);
}

#[test]
fn a_restore_is_shown_before_it_is_made() {
    check_asking(&["restore", "nightly"], Some(true), DONE, &[true, false]);
    check_asking(&["restore", "nightly"], Some(false), NO, &[true]);
    check_asking(&["restore", "nightly"], None, USAGE, &[true]);
    check_asking(&["restore", "same"], None, DONE, &[true]);
    check_asking(&["restore", "nightly", "--yes"], None, DONE, &[false]);
    check_asking(&["restore", "nightly", "--dry-run"], None, DONE, &[true]);
    check_asking(&["restore", "nightly", "--dry-run", "--yes"], None, DONE, &[true]);
}

#[test]
fn the_highest_backup_is_deleted_after_a_yes() {
    let check = |arguments: &[&str], says: Option<bool>, status: u8| {
        let (ended, asked, _) = run(&[&["backups", "delete", "nightly"], arguments].concat(), says, false);
        let (Ok(ended) | Err(Trouble::Says(ended, _))) = ended else { panic!("{ended:?}") };
        assert_eq!((ended, asked.len()), (status, usize::from(status == DONE)), "{arguments:?} {says:?}");
    };
    check(&[], Some(true), DONE);
    check(&[], Some(false), NO);
    check(&[], None, USAGE);
    check(&["--yes"], None, DONE);
    check(&["--version", "3"], None, DONE);
}

#[test]
fn backups_and_their_passwords() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let line = ["backup", "nightly", "--overwrite", "--password-file", file.to_str().unwrap()];
    let (ended, asked, out) = run(&line, None, false);
    assert!(matches!(ended, Ok(NO)), "a backup with a fault");
    assert!(out.ends_with("it differs.\n"), "{out}");
    let expected = MetaRequest::Backup {
        name: "nightly".into(),
        version: VersionWanted::Next,
        overwrite: true,
        password: Some(Secret("open sesame".into())),
    };
    assert_eq!(asked, [expected]);
    assert_eq!(run(&["confirm"], None, false).2, "Generation 12 stays.\n");
    assert_eq!(run(&["confirm"], None, true).2, "{\"confirmed\":12}\n");
}
