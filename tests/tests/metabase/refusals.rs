//! What is refused leaves the tree as it was, byte for byte.

use crate::{changed, refused};
use postroad_tests::postroad::{Config, Postroad};

/// The command line, what the words must name, and the exit status.
type Refusal<'a> = (&'a [&'a str], &'a str, i32);

fn check(postroad: &Postroad) {
    let binding = format!("{}:", postroad.address());
    let anywhere = format!(":{}:", postroad.address().port());
    let refusals: &[Refusal] = &[
        (&["set", "smtpsvc/1", "RelayIpList", "0.0.0.0/0"], "--i-mean-it", 1),
        (&["set", "smtpsvc/1", "RelayIpList", "0.0.0.0/1", "128.0.0.0/1"], "--i-mean-it", 1),
        (&["set", "smtpsvc/1", "RelayIpList", "::/0"], "--i-mean-it", 1),
        (&["set", "smtpsvc/1", "SmartHots", "x"], "SmartHost", 2),
        (&["set", "smtpsvc", "SmtpUseTcpDns", "3"], "udp-only", 2),
        (&["set", "smtpsvc/1", "HopCount", "0"], "HopCount", 2),
        (&["set", "smtpsvc/1", "ConnectionTimeout", "86401"], "86400", 2),
        (&["set", "smtpsvc/1", "MaxRecipients", "many"], "MaxRecipients", 2),
        (&["set", "smtpsvc/1", "MaxRecipients", "4294967296"], "MaxRecipients", 2),
        (&["set", "smtpsvc/1", "SmartHostType", "2"], "SmartHost", 1),
        (&["set", "smtpsvc/1", "MaxSessionSize", "1000"], "MaxMessageSize", 1),
        (&["set", "smtpsvc/1", "ServerBindings", &binding, &binding], "ServerBindings", 1),
        (&["set", "smtpsvc/1", "ServerBindings", &binding, &anywhere], "ServerBindings", 1),
        (&["set", "smtpsvc/1", "HopCount", "5", "--if-generation", "1"], "generation", 1),
        (&["delete", "smtpsvc/1/domain/none.example"], "none.example", 1),
    ];
    let mut wrong = Vec::new();
    for (args, names, status) in refusals {
        let verb = refused(postroad, args, &[1, 2]);
        if verb.status != *status || !verb.stderr.contains(names) {
            wrong.push(format!("{args:?}: not {status} with {names:?} but {}: {}", verb.status, verb.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn by_a_running_service() {
    let postroad = Postroad::start_stored(&Config::default());
    check(&postroad);
    // Meant so, it is taken, and says so.
    let report = changed(&postroad, &["set", "smtpsvc/1", "RelayIpList", "0.0.0.0/0", "--i-mean-it"]);
    assert!(report["notes"].to_string().contains("Meant so"), "{report}");
}

#[test]
fn where_nothing_runs() {
    check(&Postroad::prepare_stored(&Config::default()));
}

/// A file with one line that is wrong does nothing at all.
#[test]
fn a_file_is_taken_whole_or_not() {
    let postroad = Postroad::start_stored(&Config::default());
    for (line, words) in [
        ("HopCounts = 5", "HopCount"),
        ("HopCount = 0", "HopCount"),
        ("SmartHostType = 2", "SmartHost"),
        ("RelayIpList = [\"0.0.0.0/0\"]", "--i-mean-it"),
        ("HopCount = ", "wrong.toml"),
    ] {
        let text = format!("[\"/LM/SmtpSvc/1\"]\nMaxRecipients = 7\n{line}\n");
        let file = crate::file(&postroad, "wrong.toml", text);
        let verb = refused(&postroad, &["apply", &file], &[1, 2]);
        assert!(verb.stderr.contains(words), "{verb:?}");
    }
}

#[test]
fn a_pinned_property_names_its_line() {
    let config = Config { server: "HopCount = 20\n".to_owned(), ..Config::default() };
    let mut postroad = Postroad::start(&config);
    let text = std::fs::read_to_string(postroad.dir().join("postroad.toml")).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("HopCount")).unwrap();
    let place = format!("{}:{line}", postroad.dir().join("postroad.toml").display());
    for args in [
        &["set", "smtpsvc/1", "HopCount", "30"][..],
        &["unset", "smtpsvc/1", "HopCount"],
        &["delete", "smtpsvc/1"],
    ] {
        let verb = refused(&postroad, args, &[1]);
        assert!(verb.stderr.contains("postroad.toml:"), "{verb:?}");
    }
    let verb = refused(&postroad, &["set", "smtpsvc/1", "HopCount", "30"], &[1]);
    assert!(verb.stderr.contains(&place), "{place}: {verb:?}");
    let record = postroad.json(&["meta", "get", "smtpsvc/1", "HopCount"]).remove(0);
    assert_eq!(record["record"]["pinned"], place, "{record}");
    assert_eq!(record["record"]["value"][0], "20", "{record}");
    // Others can be set; with the line taken out, this one too.
    changed(&postroad, &["set", "smtpsvc/1", "MaxRecipients", "30"]);
    postroad.configure(&Config::default());
    postroad.reload();
    postroad.wait_event(20012);
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "30"]);
}
