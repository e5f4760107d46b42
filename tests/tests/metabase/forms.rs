//! The tree as a text: TOML out and in, MetaBase.xml in and out.

use crate::{changed, file, hex, raw, state};
use postroad_tests::postroad::{Config, Postroad};
use serde_json::Value;
use std::path::Path;

#[test]
fn what_is_exported_can_be_applied() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1/domain/example.org", "SmtpUseTcpDns", "2"]);
    changed(&postroad, &["set", "smtpsvc/1/domain/example.org", "RouteActionString", "[192.0.2.20]"]);
    changed(&postroad, &["set", "smtpsvc/1", "61537", "7", "--type", "DWORD"]);
    changed(&postroad, &["set", "smtpsvc/1", "ServerComment", "a \"quoted\" # ü\\"]);
    let before = state(&postroad);
    let text = before.export.clone();
    let same = file(&postroad, "same.toml", &text);
    for prune in [&[][..], &["--prune"]] {
        let diff = postroad.verb(&[&["meta", "diff", &same], prune].concat());
        assert_eq!(diff.status, 0, "{diff:?}");
        let report = postroad.json(&[&["meta", "apply", &same], prune].concat()).remove(0);
        assert_eq!((&report["applied"], &report["differences"]), (&false.into(), &serde_json::json!([])));
    }
    assert_eq!(state(&postroad), before);

    let line = text.lines().find(|line| line.starts_with("HopCount = ")).unwrap();
    let edited = file(&postroad, "edited.toml", text.replace(line, "HopCount = 42"));
    let diff = postroad.verb(&["meta", "diff", &edited]);
    assert_eq!(diff.status, 1, "{diff:?}");
    assert_eq!(state(&postroad), before, "diff changes nothing");
    let report = changed(&postroad, &["apply", &edited]);
    assert_eq!(report["differences"].as_array().unwrap().len(), 1, "{report}");
    assert_eq!(report["differences"][0]["name"], "HopCount", "{report}");
    let after = state(&postroad);
    assert_eq!(after.export, before.export.replace(line, "HopCount = 42"));
    assert_eq!(after.generation, before.generation + 1);
}

#[test]
fn pruned_keys_have_what_the_file_names() {
    let postroad = Postroad::start_stored(&Config::default());
    changed(&postroad, &["set", "smtpsvc/1/domain/example.org", "SmtpUseTcpDns", "2"]);
    changed(&postroad, &["set", "smtpsvc/1/domain/example.org", "RouteActionString", "[192.0.2.20]"]);
    let before = state(&postroad).export;
    let text = "[\"/LM/SmtpSvc/1/Domain/example.org\"]\nRouteActionString = \"[192.0.2.21]\"\n";
    let file = file(&postroad, "part.toml", text);
    assert_eq!(postroad.verb(&["meta", "diff", &file, "--prune"]).status, 1);
    // Without it, the other property stays.
    let report = changed(&postroad, &["apply", &file]);
    assert_eq!(report["differences"].as_array().unwrap().len(), 1, "{report}");
    let report = changed(&postroad, &["apply", &file, "--prune"]);
    assert_eq!(report["differences"][0]["kind"], "removed", "{report}");
    assert_eq!(postroad.verb(&["meta", "diff", &file, "--prune"]).status, 0);
    let rows = postroad.json(&["meta", "enum", "smtpsvc/1/domain/example.org"]);
    assert_eq!(
        rows.iter().map(|row| row["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["RouteActionString"]
    );
    // Other keys are as they were.
    let head = |text: &str| text.split("[\"/LM/SmtpSvc/1/Domain").next().unwrap().to_owned();
    assert_ne!(head(&before), before);
    assert_eq!(head(&state(&postroad).export), head(&before));
}

#[test]
fn files_beside_a_configuration_file() {
    let config = Config { server: "HopCount = 20\n".to_owned(), ..Config::default() };
    let postroad = Postroad::start(&config);
    let text = |hops: u32, recipients: u32| {
        format!("[\"/LM/SmtpSvc/1\"]\nHopCount = {hops}\nMaxRecipients = {recipients}\n")
    };
    let same = file(&postroad, "same.toml", text(20, 50));
    let other = file(&postroad, "other.toml", text(30, 50));
    // What is pinned as the file says it does not stand in the way.
    changed(&postroad, &["apply", &same]);
    assert_eq!(postroad.verb(&["meta", "diff", &same]).status, 0);
    // What is pinned otherwise is shown to differ, with a note; 2 says that nothing could be compared.
    let diff = postroad.verb(&["meta", "diff", &other]);
    assert_eq!(diff.status, 1, "{diff:?}");
    for words in ["HopCount: 20", "HopCount: 30", "HopCount of /LM/SmtpSvc/1 is pinned by", "postroad.toml:"]
    {
        assert!(diff.stdout.contains(words), "{words}: {diff:?}");
    }
    crate::refused(&postroad, &["apply", &other], &[1]);
    let wrong = file(&postroad, "wrong.toml", "[\"/LM/SmtpSvc/1\"]\nSmartHostType = 2\n");
    let diff = postroad.verb(&["meta", "diff", &wrong]);
    assert_eq!(diff.status, 2, "{diff:?}");
    assert!(diff.stderr.contains("SmartHost"), "{diff:?}");

    let export = postroad.verb(&["meta", "export"]).stdout;
    let pinned = |line: &&str| line.starts_with("# pinned by ") && line.ends_with(": HopCount = 20");
    assert!(export.lines().any(|line| pinned(&line)), "{export}");
    let xml = postroad.verb(&["meta", "export", "--xml"]).stdout;
    assert!(xml.contains("<!-- HopCount of /LM/SmtpSvc/1 is pinned by "), "{xml}");
    // An export of a server with pins says the same when it is applied, whatever goes.
    let exported = file(&postroad, "exported.toml", &export);
    for prune in ["--prune", "--prune-keys"] {
        let diff = postroad.verb(&["meta", "diff", &exported, prune]);
        assert_eq!(diff.status, 0, "{prune}: {diff:?}");
    }
    let report = postroad.json(&["meta", "import", &file(&postroad, "out.xml", &xml)]).remove(0);
    assert_eq!(report["change"]["differences"], serde_json::json!([]), "{report}");
}

#[test]
fn a_key_that_a_file_has_lost_goes_where_that_is_asked() {
    let postroad = Postroad::start_stored(&Config::default());
    let before = file(&postroad, "before.toml", postroad.verb(&["meta", "export"]).stdout);
    changed(&postroad, &["set", "smtpsvc/1/domain/example.org", "SmtpUseTcpDns", "2"]);
    assert_eq!(postroad.verb(&["meta", "diff", &before, "--prune"]).status, 0);
    assert_eq!(postroad.verb(&["meta", "diff", &before, "--prune-keys"]).status, 1);
    changed(&postroad, &["apply", &before, "--prune-keys"]);
    assert_eq!(postroad.verb(&["meta", "export"]).stdout, std::fs::read_to_string(&before).unwrap());
}

#[test]
fn lists_of_networks() {
    let postroad = Postroad::start_stored(&Config::default());
    let report = changed(&postroad, &["set", "smtpsvc/1", "IPSecurity", "10.0.0.0/8", "192.0.2.7"]);
    assert!(report["notes"].to_string().contains("IPSecurity is kept without effect"), "{report}");
    assert_eq!(raw(&postroad, "smtpsvc/1", "IPSecurity"), "10.0.0.0/8\n192.0.2.7");
    // The two lists the other way round: all but these.
    let mut others = postroad_metabase::ipsec::encode(&["10.0.0.0/8".parse().unwrap()]);
    others[..8].rotate_left(4);
    changed(&postroad, &["set", "smtpsvc/1", "IPSecurity", &format!("0x{}", hex(&others))]);
    let shown = postroad.verb(&["meta", "get", "smtpsvc/1", "IPSecurity"]).stdout;
    assert!(shown.contains("all except 10.0.0.0/8"), "{shown}");

    changed(&postroad, &["set", "smtpsvc/1", "RelayIpList", ""]);
    let verb = postroad.verb(&["meta", "get", "smtpsvc/1", "RelayIpList", "--raw"]);
    assert_eq!((verb.status, verb.stdout.as_str()), (0, ""), "a script sees no item");
    let row = &postroad.json(&["meta", "get", "smtpsvc/1", "RelayIpList"])[0]["record"];
    assert_eq!((&row["value"], &row["is_list"]), (&serde_json::json!([]), &true.into()), "{row}");
}

/// What a pipe brings is text, or it is said which it is not.
#[test]
fn a_pipe_that_cannot_be_taken() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let xml = sample(&postroad);
    let wide: Vec<u8> = [0xfeff].into_iter().chain(xml.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let verb = postroad.verb_reading(&["meta", "import", "-"], &wide);
    assert_eq!(verb.status, 2, "{verb:?}");
    assert!(verb.stderr.contains("not UTF-8"), "{verb:?}");
    let verb = postroad.verb_reading(&["meta", "import", "-"], &vec![b' '; 1024 * 1024]);
    assert_eq!(verb.status, 2, "{verb:?}");
    assert!(verb.stderr.contains("too large"), "{verb:?}");
    assert_eq!(postroad.verb_reading(&["meta", "import", "-"], xml.as_bytes()).status, 0);
    let file = file(&postroad, "wide.xml", wide);
    assert_eq!(postroad.verb(&["meta", "import", &file]).status, 0);
}

/// The sample, but with a binding that is free.
fn sample(postroad: &Postroad) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/metabase/tests/samples/synthetic-smtp.xml");
    let xml = std::fs::read_to_string(path).unwrap();
    let changed = xml.replace(":25:\n\t\t\t127.0.0.1:2525:", &format!("{}:", postroad.address()));
    assert_ne!(changed, xml);
    changed
}

#[test]
fn a_metabase_xml_is_reported_then_taken() {
    let mut postroad = Postroad::start_stored(&Config::default());
    let xml = file(&postroad, "MetaBase.xml", sample(&postroad));
    let before = state(&postroad);
    let report = postroad.json(&["meta", "import", &xml]).remove(0);
    assert_eq!(report["change"]["applied"], false, "{report}");
    assert!(report["change"]["differences"].as_array().unwrap().len() > 10, "{report}");
    assert!(
        report["lines"].as_array().unwrap().iter().all(|line| !line["text"].as_str().unwrap().is_empty())
    );
    assert!(postroad.verb(&["meta", "import", &xml]).stdout.contains("SmartHost"));
    assert_eq!(state(&postroad), before, "a report changes nothing");

    let report = postroad.json(&["meta", "import", &xml, "--apply"]).remove(0);
    assert_eq!(report["change"]["applied"], true, "{report}");
    let taken = state(&postroad);
    assert_eq!(taken.generation, before.generation + 1, "one transaction");
    let expect = [
        ("smtpsvc", "SmtpUseTcpDns", "2"),
        ("smtpsvc/1", "SmtpUseTcpDns", "2"),
        ("smtpsvc/1", "SmartHost", "[192.0.2.10]"),
        ("smtpsvc/1", "SmartHostType", "2"),
        ("smtpsvc/1", "MaxMessageSize", "2097152"),
        ("smtpsvc/1", "FullyQualifiedDomainName", "relay.example.net"),
        ("smtpsvc/1", "61537", "0"),
        ("smtpsvc/1/domain/example.org", "RouteActionString", "[192.0.2.20]"),
    ];
    let check = |postroad: &Postroad| {
        for (path, property, value) in expect {
            assert_eq!(raw(postroad, path, property), value, "{path} {property}");
        }
    };
    check(&postroad);
    assert_eq!(postroad.json(&["status"])[0]["dns_policy"], "udp-only");
    postroad.stop();
    assert_eq!(state(&postroad), taken);
    postroad.restart();
    check(&postroad);
    assert_eq!(state(&postroad), taken);

    // Out again, and read again: there is nothing to change.
    let out = postroad.dir().join("out.xml").display().to_string();
    let export = postroad.verb(&["meta", "export", "--xml", "-o", &out]);
    assert_eq!(export.status, 0, "{export:?}");
    let report = postroad.json(&["meta", "import", &out]).remove(0);
    assert_eq!(report["change"]["differences"], serde_json::json!([]), "{report}");
    assert_eq!(report["refused"], 0, "{report}");
    // Nor is there where it was made.
    let report = postroad.json(&["meta", "import", &xml]).remove(0);
    assert_eq!(report["change"]["differences"], serde_json::json!([]), "{report}");
    // An existing file is not lost by accident.
    assert_ne!(postroad.verb(&["meta", "export", "--xml", "-o", &out]).status, 0);
    // Into another data folder it brings the whole tree but what that one has of its own.
    let other = Postroad::prepare_stored(&Config::default());
    let report = other.json(&["meta", "import", &out, "--apply"]).remove(0);
    assert_eq!(report["change"]["applied"], true, "{report}");
    check(&other);
}

/// What the file has at the service holds for its server, as it did where it comes from: values of a fresh install do not hide it.
#[test]
fn what_was_taken_holds() {
    let postroad = Postroad::start_stored(&Config::default());
    let xml = file(&postroad, "MetaBase.xml", sample(&postroad));
    let report = postroad.json(&["meta", "import", &xml, "--apply"]).remove(0);
    let is_taken = |line: &Value| line["name"] == "HopCount" && line["kind"] == "taken";
    assert!(report["lines"].as_array().unwrap().iter().any(is_taken), "{report}");
    assert_eq!(raw(&postroad, "smtpsvc", "HopCount"), "15");
    assert_eq!(raw(&postroad, "smtpsvc/1", "HopCount"), "15");
}

#[test]
fn what_is_no_metabase_xml_is_refused() {
    let postroad = Postroad::start_stored(&Config::default());
    let xml = sample(&postroad);
    let cut = &xml[..xml.len() / 2];
    let bomb = "<!DOCTYPE a [<!ENTITY a \"aaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><configuration>&b;</configuration>";
    for text in [cut, bomb, "", "Subject: not XML\n", "<a/>"] {
        let file = file(&postroad, "wrong.xml", text);
        crate::refused(&postroad, &["import", &file, "--apply"], &[1, 2]);
    }
}
