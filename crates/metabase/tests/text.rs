//! TOML in and out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_metabase::compile;
use postroad_metabase::ipsec;
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, Record, SECURE, VOLATILE};
use postroad_metabase::text::{Prune, export, pins, steps};
use postroad_metabase::tree::{Op, Tree};
use proptest::prelude::*;

fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

fn record(id: u32, attributes: u32, user_type: u32, data: Data) -> Record {
    Record { id, attributes, user_type, data }
}

fn fresh() -> Tree {
    Tree::new().apply(&compile::fresh()).unwrap()
}

/// The one record that a line under `/LM/x` sets.
fn one(line: &str) -> Record {
    let ops = steps(&format!("[\"/LM/x\"]\n{line}\n"), "f", &Tree::new(), Prune::Nothing).unwrap();
    match ops.as_slice() {
        [Op::Create(_), Op::Set(_, record)] => record.clone(),
        other => unreachable!("{other:?}"),
    }
}

#[track_caller]
fn refused(line: &str, expected: &str) {
    let errors = steps(&format!("[\"/LM/x\"]\n{line}\n"), "f", &Tree::new(), Prune::Nothing).unwrap_err();
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors, [format!("f:2:{expected}")]);
}

#[test]
fn values() {
    assert_eq!(one("HopCount = 5"), record(36886, 1, 1, Data::Dword(5)));
    assert_eq!(one("36886 = 5"), one("hopcount = 5"));
    assert_eq!(one("AlwaysUseSsl = true").data, Data::Dword(1));
    assert_eq!(one("SmtpUseTcpDns = \"udp-only\"").data, Data::Dword(2));
    let networks = ipsec::encode(&["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(one("RelayIpList = [\"192.0.2.0/24\"]"), record(36970, 9, 2, Data::Binary(networks)));
    assert_eq!(one("UnknownName_61540 = 7"), record(61540, 0, 1, Data::Dword(7)));
    assert_eq!(one("61540 = \"a\"").data, Data::String("a".into()));
    assert_eq!(one("61540 = [\"a\"]").data, Data::MultiSz(vec!["a".into()]));
    let table =
        "{ type = \"ExpandSz\", value = \"%a%\", user_type = 100, attributes = \"INHERIT | VOLATILE\" }";
    assert_eq!(
        one(&format!("0xF064 = {table}")),
        record(61540, 1 | VOLATILE, 100, Data::ExpandSz("%a%".into()))
    );
    assert_eq!(
        one(
            "61540 = { type = \"BINARY\", value = \"00 fF\", user_type = \"IIS_MD_UT_FILE\", attributes = 513 }"
        ),
        record(61540, 513, 2, Data::Binary(vec![0, 255]))
    );
    assert_eq!(
        one("HopCount = { value = 0 }"),
        record(36886, 1, 1, Data::Dword(0)),
        "a table says what it says"
    );
}

#[test]
fn errors() {
    refused("HopCont = 5", "1: \"HopCont\" is not a property. Did you mean HopCount?");
    refused("HopCount = 0", "12: HopCount: 0 is not within bounds. Give a number from 1 to 1000.");
    let form = "Give { type = \"DWORD\", value = 0, user_type = 1, attributes = \"NO_ATTRIBUTES\" }.";
    refused("7 = { valu = 1 }", &format!("5: UnknownName_7: \"valu\" is not a part of a value. {form}"));
    refused(
        "7 = { type = \"WORD\", value = 1 }",
        &format!("5: UnknownName_7: \"WORD\" is not a type. {form}"),
    );
    refused(
        "7 = { type = \"DWORD\", value = \"secret\", attributes = \"SECURE\" }",
        "5: UnknownName_7: the value is no DWORD. Give a number from 0 to 4294967295.",
    );
    refused(
        "7 = { value = 1, attributes = 32 }",
        &format!("5: UnknownName_7: ISINHERITED is shown and never stored. {form}"),
    );
    refused(
        "7 = { type = \"BINARY\", value = \"0\" }",
        "5: UnknownName_7: the value is no BINARY. Give hexadecimal digits in quotes, or a list of networks.",
    );
    let twice =
        steps("[\"/LM/x\"]\n7 = 1\n[\"/lm/X\"]\n7 = 2\n", "f", &Tree::new(), Prune::Nothing).unwrap_err();
    assert_eq!(
        twice[0].to_string(),
        "f:4:5: UnknownName_7: is set twice at /LM/X, first in line 2. Keep one of the two."
    );
    assert!(steps("[\"/LM//x\"]\n", "f", &Tree::new(), Prune::Nothing).is_err());
}

#[test]
fn pins_keep_to_keys_that_count() {
    let given = pins("[\"smtpsvc/1\"]\nHopCount = 7\n", "f").unwrap();
    assert_eq!((given[0].path.clone(), given[0].line), (path("/LM/SmtpSvc/1"), 2));
    assert_eq!(given[0].record, record(36886, 1, 1, Data::Dword(7)));
    for text in [
        "[\"/LM/W3Svc\"]",
        "[\"/LM/SmtpSvc/1/Domain/a.b\"]\nHopCount = 7",
        "[\"/LM/SmtpSvc\"]\nRelayIpList = [\"::/0\"]",
    ] {
        assert!(pins(text, "f").is_err(), "{text}");
    }
    assert!(steps("[\"/LM/SmtpSvc\"]\nRelayIpList = [\"::/0\"]", "f", &Tree::new(), Prune::Nothing).is_ok());
}

#[test]
fn a_text_is_applied_once() {
    let tree = fresh();
    let text = "[\"/LM/SmtpSvc/1\"]\nHopCount = 5\n[\"/LM/SmtpSvc/1/Domain/a.b\"]\nSmtpUseTcpDns = 2\n";
    let ops = steps(text, "f", &tree, Prune::Nothing).unwrap();
    let after = tree.apply(&ops).unwrap();
    assert_eq!(after.record(&path("/LM/SmtpSvc/1"), 36886).unwrap().data, Data::Dword(5));
    assert_eq!(steps(text, "f", &after, Prune::Nothing), Ok(Vec::new()));
    let secret = Op::Set(path("/LM/SmtpSvc/1"), record(36949, 1 | SECURE, 1, Data::String("s3cret".into())));
    let after = after.apply(&[secret]).unwrap();
    let pruned = after.apply(&steps(text, "f", &after, Prune::Properties).unwrap()).unwrap();
    let left: Vec<_> =
        pruned.node(&path("/LM/SmtpSvc/1")).unwrap().records().map(|record| record.id).collect();
    assert_eq!(left, [1002, 36886, 36949], "a secret stays, and what the key is");
    let service = path("/LM/SmtpSvc");
    let records = |tree: &Tree| tree.node(&service).unwrap().records().len();
    assert_eq!(records(&pruned), records(&tree), "a key that is not named is left alone");
}

/// A key that an export has lost goes with `Keys`, and what a key is stays where a hand does not write it.
#[test]
fn keys_are_pruned_where_that_is_asked() {
    let domain = |name: &str| {
        Op::Set(path(&format!("/LM/SmtpSvc/1/Domain/{name}")), record(36997, 1, 1, Data::Dword(2)))
    };
    let below = Op::Create(path("/LM/SmtpSvc/1/Domain/b.example/deep/er"));
    let tree = fresh().apply(&[domain("a.example"), domain("b.example"), below]).unwrap();
    let all = export(&tree, &KeyPath::root(), &[]);
    let (before, rest) = all.split_once("[\"/LM/SmtpSvc/1/Domain/b.example\"]").unwrap();
    assert!(rest.contains("deep/er"));
    assert_eq!(steps(before, "f", &tree, Prune::Properties), Ok(Vec::new()));
    let gone = Op::Delete(path("/LM/SmtpSvc/1/Domain/b.example"));
    assert_eq!(steps(before, "f", &tree, Prune::Keys), Ok(vec![gone]));
    // A key on the way to one that is named stays.
    let deep = "[\"/LM/SmtpSvc\"]\n[\"/LM/SmtpSvc/1/Domain/b.example/deep\"]\n";
    let left = tree.apply(&steps(deep, "f", &tree, Prune::Keys).unwrap()).unwrap();
    assert!(left.node(&path("/LM/SmtpSvc/1/Domain/a.example")).is_some());
    assert!(left.node(&path("/LM/SmtpSvc/1/Domain/b.example/deep")).is_some());
    assert!(left.node(&path("/LM/SmtpSvc/1/Domain/b.example/deep/er")).is_none());
    let by_hand = "[\"/LM/SmtpSvc/1\"]\nHopCount = 5\n";
    let left = tree.apply(&steps(by_hand, "f", &tree, Prune::Properties).unwrap()).unwrap();
    let left: Vec<_> = left.node(&path("/LM/SmtpSvc/1")).unwrap().records().map(|record| record.id).collect();
    assert_eq!(left, [1002, 36886]);
}

#[test]
fn an_export_tells_what_a_number_means_and_what_is_pinned() {
    let given = pins(
        "[\"/LM/SmtpSvc/1\"]\nHopCount = 7\nServerBindings = [\"127.0.0.1:2599:\"]\n\
                      [\"/LM/SmtpSvc/1/Domain/a.b\"]\nSmtpUseTcpDns = 2\n",
        "f",
    )
    .unwrap();
    let given: Vec<_> = given.iter().map(|pin| (pin, format!("f:{}", pin.line))).collect();
    let tree = fresh()
        .apply(&[
            Op::Set(path("/LM/SmtpSvc/1"), record(36886, 1, 1, Data::Dword(9))),
            Op::Set(path("/LM/SmtpSvc/1"), record(6000, 1, 2, Data::Dword(3))),
        ])
        .unwrap();
    let text = export(&tree, &KeyPath::root(), &given);
    for line in [
        "ConnectionTimeout = 600 # 10 minutes",
        "AuthFlags = 3 # AuthAnonymous | AuthBasic",
        "# pinned by f:2: HopCount = 7",
        "HopCount = 9",
        "# pinned by f:3: ServerBindings = [\"127.0.0.1:2599:\"]",
        "# pinned by f:5, at a key that is not stored, /LM/SmtpSvc/1/Domain/a.b: SmtpUseTcpDns = 2 # udp-only",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
    assert_eq!(steps(&text, "f", &tree, Prune::Keys), Ok(Vec::new()), "{text}");
    assert!(!export(&tree, &path("/LM/SmtpSvc/1/Domain"), &given).contains("HopCount"));
}

#[test]
fn an_export_can_be_read_by_people() {
    let ops = [
        Op::Set(path("/LM/a"), record(36886, 1, 1, Data::Dword(5))),
        Op::Set(path("/LM/b"), record(36886, 1, 1, Data::Dword(0))),
        Op::Set(path("/LM/b"), record(36997, 1, 1, Data::Dword(2))),
        Op::Set(path("/LM/b"), record(61540, SECURE, 1, Data::String("s3cret".into()))),
        Op::Set(path("/LM/b"), record(61541, VOLATILE, 1, Data::String("a\n\"b\"\u{7}".into()))),
    ];
    let tree = Tree::new().apply(&ops).unwrap();
    let text = export(&tree, &path("/LM"), &[]);
    let body: Vec<_> = text.lines().skip_while(|line| !line.is_empty()).collect();
    assert_eq!(
        body,
        [
            "",
            "[\"/LM\"]",
            "",
            "[\"/LM/a\"]",
            "# Received fields above which a message is taken to be in a loop and refused.",
            "HopCount = 5",
            "",
            "[\"/LM/b\"]",
            "HopCount = { type = \"DWORD\", value = 0, user_type = 1, attributes = \"INHERIT\" }",
            "# How DNS servers are asked: over UDP and, if the answer is truncated, TCP; over TCP only; over UDP only; or as each server proves to work. A domain may differ.",
            "SmtpUseTcpDns = 2 # udp-only",
            "# UnknownName_61540 is set; secrets are not exported",
            "UnknownName_61541 = { type = \"STRING\", value = \"a\\n\\\"b\\\"\\u0007\", user_type = 1, attributes = \"VOLATILE\" }",
        ]
    );
    assert!(!text.contains("s3cret"));
}

fn any_data() -> impl Strategy<Value = Data> {
    let networks = prop::collection::vec((any::<u32>(), 0..=32_u8), 0..4).prop_map(|list| {
        let networks: Vec<_> = list
            .iter()
            .map(|(ip, bits)| ipnet::IpNet::new(std::net::Ipv4Addr::from(*ip).into(), *bits).unwrap().trunc())
            .collect();
        Data::Binary(ipsec::encode(&networks))
    });
    prop_oneof![
        any::<u32>().prop_map(Data::Dword),
        (0..3_u32).prop_map(Data::Dword),
        any::<String>().prop_map(Data::String),
        "[a-z\n\r\t\"'\\\\#\u{0}\u{7f}\u{85}]{0,12}".prop_map(Data::String),
        any::<String>().prop_map(Data::ExpandSz),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Data::Binary),
        networks,
        prop::collection::vec("[^x]{0,6}", 0..4).prop_map(Data::MultiSz),
    ]
}

fn any_id() -> impl Strategy<Value = u32> {
    let known: Vec<u32> = postroad_metabase::catalogue().map(|property| property.id).collect();
    prop_oneof![any::<u32>(), prop::sample::select(known.clone()), prop::sample::select(known)]
}

fn any_path() -> impl Strategy<Value = KeyPath> {
    let name = prop_oneof![
        "[^/\u{0}-\u{1f}\u{7f}-\u{9f}]{1,6}",
        prop::sample::select(vec!["LM", "lm", "SmtpSvc", "1", "Domain", "a.b", "\"", "\\", "[#]", " "])
            .prop_map(String::from),
    ];
    prop::collection::vec(name, 0..5).prop_map(|names| format!("/{}", names.join("/")).parse().unwrap())
}

proptest! {
    #[test]
    fn an_export_is_what_there_is(records in prop::collection::vec(
        (any_path(), any_id(), any_data(), prop::sample::select(vec![0, 1, 4, 9, 0x10, 0x41, 0x280]), 0..4_u32), 0..12,
    )) {
        let ops: Vec<_> = records.into_iter().map(|(path, id, data, attributes, user_type)| {
            Op::Set(path, Record { id, attributes, user_type, data })
        }).collect();
        let tree = Tree::new().apply(&ops).unwrap();
        let text = export(&tree, &KeyPath::root(), &[]);
        prop_assert_eq!(steps(&text, "f", &tree, Prune::Keys), Ok(Vec::new()), "{}", text);
    }

    #[test]
    fn no_text_panics(text in "(\\[\"/[a-zA-Z/1]{0,12}\"\\]\n)?((HopCount|0x|UnknownName_|RelayIpList|61540) ?= ?[\\[\\]{}\"0-9a-z.,:=_/\u{e9} -]{0,24}\n?){0,6}") {
        let _ = steps(&text, "f", &fresh(), Prune::Properties);
        let _ = pins(&text, "f");
    }
}

#[test]
fn a_fresh_tree_comes_back() {
    let text = export(&fresh(), &KeyPath::root(), &[]);
    let made = Tree::new().apply(&steps(&text, "f", &Tree::new(), Prune::Properties).unwrap()).unwrap();
    assert_eq!(fresh().diff(&made), []);
}
