//! A MetaBase.xml from elsewhere: one bad value costs itself alone, and a large file costs no more memory than is told.

use crate::{changed, file, hex, raw, refused, state};
use postroad_tests::postroad::{Config, Postroad, program};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A file with a server that has some attributes.
fn server(attributes: &str) -> String {
    list(&format!("<IIsSmtpServer\tLocation =\"/LM/SmtpSvc/1\"\n\t\t{attributes}\n\t>\n</IIsSmtpServer>\n"))
}

fn list(keys: &str) -> String {
    format!(
        "<?xml version =\"1.0\"?>\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n\
         {keys}</MBProperty>\n</configuration>\n"
    )
}

/// What a report says of a property: the kind and the text of its line.
fn said<'r>(report: &'r Value, name: &str) -> Vec<(&'r str, &'r str)> {
    let lines = report["lines"].as_array().unwrap().iter().filter(|line| line["name"] == name);
    lines.map(|line| (line["kind"].as_str().unwrap(), line["text"].as_str().unwrap())).collect()
}

fn one_bad_value(postroad: &Postroad) {
    for (hops, (attribute, name, words)) in (10..).zip([
        ("SmartHostType=\"2\"", "SmartHostType", "there is no SmartHost"),
        ("SmartHost=\"10.0.0.5\"", "SmartHost", "10.0.0.5"),
        ("SmartHost=\"a; b\"", "SmartHost", "not a host"),
        ("ServerBindings=\"10.0.0.1:25:host\"", "ServerBindings", "host"),
        ("ServerBindings=\"127.0.0.1:2526:\n\t\t\t127.0.0.1:2526:\"", "ServerBindings", "127.0.0.1:2526"),
        ("DropDirectory=\"\"", "DropDirectory", ""),
        ("SmtpRemoteProgressiveRetry=\"15 30\"", "SmtpRemoteProgressiveRetry", "15 30"),
        ("MaxSessionSize=\"10485760\"", "MaxSessionSize", "below MaxMessageSize"),
    ]) {
        let before = state(postroad);
        let xml = file(postroad, "bad.xml", server(&format!("{attribute} HopCount=\"{hops}\"")));
        let report = postroad.json(&["meta", "import", &xml]).remove(0);
        assert_eq!(report["refusal"], "", "{attribute}: {report}");
        let lines = said(&report, name);
        assert!(matches!(lines[..], [("refused", text)] if text.contains(words)), "{attribute}: {lines:?}");
        assert_eq!(said(&report, "HopCount"), [("taken", hops.to_string().as_str())], "{report}");
        assert_eq!((&report["taken"], &report["refused"]), (&1.into(), &1.into()), "{report}");
        assert_eq!(state(postroad), before, "a report changes nothing");
        let report = postroad.json(&["meta", "import", &xml, "--apply"]).remove(0);
        assert_eq!(report["change"]["applied"], true, "{attribute}: {report}");
        let differences = report["change"]["differences"].as_array().unwrap();
        assert!(differences.iter().all(|one| one["name"] != name), "{attribute}: {report}");
        assert_eq!(raw(postroad, "smtpsvc/1", "HopCount"), hops.to_string());
    }
}

#[test]
fn one_bad_value_costs_itself_alone() {
    let mut postroad = Postroad::start_stored(&Config::default());
    one_bad_value(&postroad);
    postroad.stop();
    one_bad_value(&postroad);
}

/// The record that does not fit is the one that was here; what brought that up is left out.
#[test]
fn what_does_not_fit_beside_what_is_here() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1", "MaxSessionSize", "50000000"]);
    let xml = file(&postroad, "large.xml", server("MaxMessageSize=\"60000000\" HopCount=\"9\""));
    let report = postroad.json(&["meta", "import", &xml, "--apply"]).remove(0);
    assert_eq!(report["change"]["applied"], true, "{report}");
    let lines = said(&report, "MaxMessageSize");
    assert!(matches!(lines[..], [("refused", text)] if text.contains("MaxSessionSize")), "{report}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "9");
    assert_eq!(raw(&postroad, "smtpsvc/1", "MaxSessionSize"), "50000000");
}

#[test]
fn what_waits_to_be_confirmed_is_left_alone() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "8", "--confirm", "10m"]);
    let xml = file(&postroad, "late.xml", server("HopCount=\"9\" MaxRecipients=\"77\""));
    let report = postroad.json(&["meta", "import", &xml]).remove(0);
    let lines = said(&report, "HopCount");
    assert!(matches!(lines[..], [("refused", text)] if text.contains("postroad meta confirm")), "{report}");
    let report = postroad.json(&["meta", "import", &xml, "--apply"]).remove(0);
    assert_eq!(report["change"]["applied"], true, "{report}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "8");
    assert_eq!(raw(&postroad, "smtpsvc/1", "MaxRecipients"), "77");
}

/// The whole Internet, in the octets that the original has: it granted nobody and refused nobody else.
#[test]
fn an_open_relay_is_told_before_it_is_refused() {
    let postroad = Postroad::start_stored(&Config::default());
    let list = hex(&postroad_metabase::ipsec::encode(&["0.0.0.0/0".parse().unwrap()]));
    let xml = file(&postroad, "open.xml", server(&format!("RelayIpList=\"{list}\" HopCount=\"9\"")));
    let report = postroad.json(&["meta", "import", &xml]).remove(0);
    assert!(report["refusal"].as_str().unwrap().contains("--i-mean-it"), "{report}");
    assert_eq!(report["change"]["differences"].as_array().unwrap().len(), 2, "{report}");
    let shown = postroad.verb(&["meta", "import", &xml]).stdout;
    assert!(shown.contains("--apply refuses this") && !shown.contains("With --apply it is taken"), "{shown}");
    assert!(!shown.contains("Meant so"), "{shown}");
    let verb = refused(&postroad, &["import", &xml, "--apply"], &[1]);
    assert!(verb.stdout.contains("RelayIpList"), "the report is there all the same: {verb:?}");
    let report = postroad.json(&["meta", "import", &xml, "--apply", "--i-mean-it"]).remove(0);
    assert_eq!(report["change"]["applied"], true, "{report}");
}

/// What is no XML is a usage error, as a TOML text is, and its file is named once.
#[test]
fn a_file_that_is_no_xml_is_named_once() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let xml = file(&postroad, "torn.xml", "<configuration>\n<MBProperty>\n</configuration>\n");
    let verb = refused(&postroad, &["import", &xml], &[2]);
    assert_eq!(verb.stderr.matches("torn.xml").count(), 1, "{verb:?}");
    assert!(verb.stderr.contains("torn.xml:3:1:"), "{verb:?}");
}

/// Peak memory of a verb that must succeed, in KiB.
fn peak_kib(args: &[&str]) -> u64 {
    let mut child =
        Command::new(program()).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // It only grows, so that what was read last is what was most.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{args:?}: {ended}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A hundred thousand domains are as many keys and records as are taken. Measured: 240 MB for the report, 300 MB to take it.
#[test]
fn a_large_file_takes_memory_within_bounds() {
    const MOST_KIB: u64 = 450 * 1024;
    let postroad = Postroad::prepare_stored(&Config::default());
    let domain = |number: u32| {
        format!(
            "<IIsSmtpDomain\tLocation =\"/LM/SmtpSvc/1/Domain/d{number}.example.org\"\n\t\tRouteAction=\"2\"\n\
             \t\tRouteActionString=\"[192.0.2.20]\"\n\t\tSmtpUseTcpDns=\"2\"\n\t>\n</IIsSmtpDomain>\n"
        )
    };
    let xml = file(&postroad, "large.xml", list(&(1..100_000).map(domain).collect::<String>()));
    let data = postroad.data().display().to_string();
    let peak = peak_kib(&["--data", &data, "meta", "import", &xml, "--apply"]);
    assert!(peak < MOST_KIB, "{peak} KiB");
    assert_eq!(raw(&postroad, "smtpsvc/1/domain/d99999.example.org", "SmtpUseTcpDns"), "2");
}
