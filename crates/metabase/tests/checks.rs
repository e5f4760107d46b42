//! Trees that are wrong, and what is said of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_metabase::checks::{Finding, There, World, findings, open_relay};
use postroad_metabase::compile;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, Record};
use postroad_metabase::settings::Settings;
use postroad_metabase::tree::{Op, Tree};
use std::path::Path;

const SERVICE: &str = "/LM/SmtpSvc";
const SERVER: &str = "/LM/SmtpSvc/1";

/// A machine on which every folder but `/gone` and what is named so exists, and `/file` is none.
struct Machine;

impl World for Machine {
    fn at(&self, folder: &Path) -> There {
        match folder.file_name().and_then(|name| name.to_str()) {
            Some("gone") => There::Nothing,
            Some("file") => There::NoFolder,
            _ => There::Folder,
        }
    }
}

fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

fn set_with(at: &str, id: u32, data: Data, attributes: u32) -> Op {
    Op::Set(path(at), Record { id, attributes, user_type: 1, data })
}

fn set(at: &str, id: u32, data: Data) -> Op {
    set_with(at, id, data, INHERIT)
}

fn text(text: &str) -> Data {
    Data::String(text.into())
}

fn list(items: &[&str]) -> Data {
    Data::MultiSz(items.iter().map(|item| (*item).into()).collect())
}

/// What is found in a fresh tree after some steps; its repairs must leave nothing of it.
#[track_caller]
fn found(ops: &[Op]) -> Vec<Finding> {
    let tree = Tree::new().apply(&compile::fresh()).unwrap().apply(ops).unwrap();
    let all = findings(&tree, &Machine);
    for finding in all.iter().filter(|finding| !finding.repair.is_empty()) {
        let after = findings(&tree.apply(&finding.repair).unwrap(), &Machine);
        assert!(!after.contains(finding), "{finding:?}");
    }
    assert!(all.iter().all(|finding| !finding.repair_text.is_empty() && finding.description.ends_with('.')));
    all
}

/// The one finding: `error` or `warning`, the key, what is wrong, and whether it can be repaired.
#[track_caller]
fn check(ops: &[Op], expected: &str, is_repaired: bool) {
    let shown: Vec<_> = found(ops)
        .iter()
        .map(|f| {
            let kind = if f.error { "error" } else { "warning" };
            (format!("{kind} {}: {}", f.path, f.description), !f.repair.is_empty())
        })
        .collect();
    assert_eq!(shown, [(expected.to_owned(), is_repaired)]);
}

#[test]
fn a_fresh_tree_is_sound() {
    assert_eq!(found(&[]), []);
    let foreign = [
        set("/LM/W3Svc/1", 1023, list(&[":80:"])),
        set("/LM/W3Svc/1", 1013, Data::Dword(120)),
        Op::Create(path("/LM/SmtpSvc/1/EventManager/x")),
        set("/LM/SmtpSvc/1/RoutingSources", 61537, Data::Dword(1)),
    ];
    assert_eq!(found(&foreign), []);
}

#[test]
fn values() {
    let wrong = "error /LM/SmtpSvc/1: HopCount is stored as STRING, not as DWORD.";
    check(&[set(SERVER, 36886, text("5"))], wrong, false);
    check(
        &[set(SERVER, 36886, Data::Dword(0))],
        "error /LM/SmtpSvc/1: HopCount: 0 is not within bounds.",
        false,
    );
    check(&[set(SERVICE, 36997, Data::Dword(3))], "error /LM/SmtpSvc: SmtpUseTcpDns: 3 is not known.", true);
    assert_eq!(found(&[set(SERVICE, 36997, Data::Dword(u32::MAX))]), []);
    check(
        &[set(SERVER, 36970, Data::Binary(vec![1]))],
        "error /LM/SmtpSvc/1: RelayIpList cannot be used, so nobody may relay: not a list of addresses of a known shape: it ends too soon.",
        false,
    );
    check(
        &[set(SERVER, 36908, text("a b"))],
        "error /LM/SmtpSvc/1: DefaultDomain \"a b\" is not a domain name.",
        false,
    );
    check(
        &[set(SERVER, 36909, text("/gone"))],
        "warning /LM/SmtpSvc/1: The folder /gone does not exist.",
        false,
    );
}

#[test]
fn places() {
    check(
        &[set("/LM/SmtpSvc/1/Domain/a.b", 36886, Data::Dword(5))],
        "warning /LM/SmtpSvc/1/Domain/a.b: HopCount has no effect here.",
        false,
    );
    check(
        &[set_with(SERVICE, 36997, Data::Dword(2), 0)],
        "warning /LM/SmtpSvc: SmtpUseTcpDns is not inherited, so no virtual server sees it.",
        true,
    );
    check(
        &[set("/LM/SmtpSvc/2", 36886, Data::Dword(5))],
        "warning /LM/SmtpSvc/2: Only the virtual server 1 is served.",
        false,
    );
    check(
        &[Op::Create(path("/LM/SmtpSvc/1/Domain/*.a.b"))],
        "warning /LM/SmtpSvc/1/Domain/*.a.b: \"*.a.b\" is no domain name, so the key has no effect.",
        false,
    );
    let key_type = |at: &str, class: &str| set_with(at, 1002, text(class), 0);
    let misfit = "The key's type \"IIsSmtpServer\" does not fit its place.";
    check(&[key_type(SERVICE, "IIsSmtpServer")], &format!("warning /LM/SmtpSvc: {misfit}"), true);
    check(&[key_type("/LM/x", "IIsSmtpServer")], &format!("warning /LM/x: {misfit}"), true);
    assert_eq!(found(&[key_type("/LM/SmtpSvc/1/Domain/a.b", "IIsSmtpDomain")]), []);
}

#[test]
fn what_no_value_shows_by_itself() {
    check(
        &[set(SERVER, 36905, Data::Dword(2))],
        "error /LM/SmtpSvc/1: SmartHostType is 2, but there is no SmartHost.",
        true,
    );
    check(
        &[Op::Unset(path(SERVICE), 36905), set(SERVER, 36906, text("a.example"))],
        "warning /LM/SmtpSvc/1: SmartHost has no effect, because SmartHostType is not set.",
        false,
    );
    assert_eq!(found(&[set(SERVER, 36906, text("a.example"))]), [], "a type of 0 says so itself");
    check(
        &[set(SERVICE, 36892, Data::Dword(1000))],
        "error /LM/SmtpSvc: MaxSessionSize is 1000, below MaxMessageSize, 36700160."
            .replace("MaxSessionSize", &session_name())
            .as_str(),
        true,
    );
    check(
        &[set(SERVER, 1023, list(&["127.0.0.1:25:", ":25:"]))],
        "error /LM/SmtpSvc/1: The binding 0.0.0.0:25 collides with 127.0.0.1:25 of /LM/SmtpSvc/1.",
        false,
    );
    let two = found(&[set("/LM/SmtpSvc/2", 1023, list(&["127.0.0.1:2525:"]))]);
    let shown: Vec<_> = two.iter().map(|f| (f.error, f.description.as_str())).collect();
    let collision = "The binding 127.0.0.1:2525 collides with 127.0.0.1:2525 of /LM/SmtpSvc/1.";
    assert_eq!(shown, [(false, "Only the virtual server 1 is served."), (false, collision)]);
}

/// Its name, where the catalogue knows it.
fn session_name() -> String {
    let known = postroad_metabase::catalogue().find(|property| property.id == 36892);
    known.map_or_else(|| "UnknownName_36892".into(), |property| property.name.into())
}

#[test]
fn folders_and_keys_that_values_name() {
    let server = |id: u32, value: &str| found(&[set(SERVER, id, text(value))]);
    let shown = |found: Vec<Finding>| found.into_iter().map(|f| f.description).collect::<Vec<_>>().join(" ");
    let none: Vec<Finding> = Vec::new();
    assert_eq!(server(36909, "gone"), none, "what is read is made where it is needed");
    assert_eq!(shown(server(36909, "/gone")), "The folder /gone does not exist.");
    assert_eq!(
        shown(server(36882, "/srv/file")),
        "/srv/file is no folder, or one that may not be looked at."
    );
    let outside = "The folder ../rel is outside the data folder, though its path begins there.";
    assert_eq!(shown(server(36882, "../rel")), outside);
    // PickupDirectory, which nothing reads.
    assert_eq!(shown(server(36880, "gone")), "The folder gone does not exist.");
    assert_eq!(server(36880, "/there"), none);
    assert_eq!(found(&[set("/LM/SmtpSvc/1/Domain/a.example", 36880, text("/gone"))]).len(), 1);
    let modules = set("/LM/SmtpSvc/Info", 4012, text("ODBC Logging,Other Logging"));
    let wrong = "It names the log module \"ODBC Logging\", and there is no key /LM/Logging/ODBC Logging.";
    assert_eq!(shown(found(std::slice::from_ref(&modules))), wrong);
    let keys = ["ODBC Logging", "Other Logging"].map(|name| Op::Create(path(&format!("/LM/Logging/{name}"))));
    assert_eq!(found(&[&keys[..], &[modules]].concat()), none);
}

fn relaying(networks: &[&str]) -> Settings {
    let relay = networks.iter().map(|network| network.parse().unwrap()).collect();
    Settings { relay, ..Settings::fresh(Path::new("/"), "") }
}

#[test]
fn open_relays() {
    let is_open = |networks: &[&str]| open_relay(&relaying(&[]), &relaying(networks)).is_some();
    for open in [
        &["0.0.0.0/0"][..],
        &["64.0.0.0/7"],
        &["::/0"],
        &["2000::/3"],
        &["::ffff:0:0/96"],
        &["2000::/16", "2001::/16"],
    ] {
        assert!(is_open(open), "{open:?}");
    }
    let eights: Vec<String> = (0..29).map(|n| format!("{}.0.0.0/8", 31 + n * 3)).collect();
    let eights: Vec<&str> = eights.iter().map(String::as_str).collect();
    assert!(is_open(&eights), "more than an eighth");
    assert!(!is_open(&eights[..25]));
    for closed in [&[][..], &["10.0.0.0/8", "11.0.0.0/8"], &["127.0.0.0/8", "::1/128"], &["2001:db8::/32"]] {
        assert!(!is_open(closed), "{closed:?}");
    }
    let told = open_relay(&relaying(&[]), &relaying(&["0.0.0.0/0"])).unwrap();
    assert_eq!(
        told,
        "RelayIpList lets all of 0.0.0.0/0 relay: an open relay is soon used by spammers and refused by everyone else."
    );
    // Who has opened it has not meant to open it further.
    let wider = |before: &[&str], after: &[&str]| open_relay(&relaying(before), &relaying(after)).is_some();
    assert!(wider(&["64.0.0.0/7"], &["0.0.0.0/0"]) && wider(&["0.0.0.0/0"], &["::/0"]));
    assert!(wider(&["0.0.0.0/1"], &["0.0.0.0/1", "128.0.0.0/1"]));
    assert!(!wider(&["0.0.0.0/0"], &["64.0.0.0/7"]) && !wider(&["64.0.0.0/7"], &["64.0.0.0/7"]));
}
