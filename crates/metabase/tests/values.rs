//! Texts in, data out, and back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_metabase::catalogue::{by_id, by_name, name_of};
use postroad_metabase::ipsec;
use postroad_metabase::record::{Data, INHERIT, Record, SECURE, StoredType};
use postroad_metabase::schema::{DataType, Mark, Property};
use postroad_metabase::values::{self, Shown};
use proptest::prelude::*;

fn read(name: &str, texts: &[&str]) -> Result<Data, String> {
    let property = by_name(name).unwrap();
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    values::read(Some(property), property.stored_type(), &texts)
        .map_err(|bad| format!("{}. {}", bad.what, bad.remedy))
}

fn number(name: &str, text: &str) -> Option<u32> {
    match read(name, &[text]) {
        Ok(Data::Dword(number)) => Some(number),
        _ => None,
    }
}

fn record(name: &str, data: Data) -> Record {
    let property = by_name(name).unwrap();
    Record { id: property.id, attributes: property.attributes, user_type: property.user_type.number(), data }
}

fn show(name: &str, data: Data) -> Shown {
    values::show(&record(name, data))
}

fn meaning(name: &str, number: u32) -> String {
    show(name, Data::Dword(number)).meaning
}

#[test]
fn properties_are_found_by_id_and_by_name() {
    for property in postroad_metabase::catalogue() {
        assert!(std::ptr::eq(by_id(property.id).unwrap(), property), "{}", property.name);
        for name in [property.name.to_lowercase(), property.id.to_string(), format!("0x{:X}", property.id)] {
            assert!(std::ptr::eq(by_name(&name).unwrap(), property), "{name}");
        }
        assert_eq!(name_of(property.id), property.name);
    }
    assert!(by_id(1).is_none() && by_id(u32::MAX).is_none());
    for name in ["", "Nope", "+1014", "0x", "99999999999"] {
        assert!(by_name(name).is_none(), "{name}");
    }
    assert_eq!(name_of(61538), "UnknownName_61538");
}

#[test]
fn the_published_list_is_there() {
    let known = [("SmtpUseTcpDns", 36997), ("FullyQualifiedDomainName", 101_098), ("AlwaysUseSsl", 101_109)];
    for (name, id) in known.into_iter().chain([("SmtpDsPassword", 101_112), ("SessionKey", 9999)]) {
        assert_eq!(by_name(name).unwrap().id, id);
    }
    // The published ones, and seven of our own.
    assert_eq!(postroad_metabase::catalogue().count(), 192 + 7);
}

#[test]
fn marks_are_told() {
    let mark = |name| by_name(name).unwrap().mark;
    assert!(matches!(mark("SmartHost"), Mark::InForce { effect_test: "smart_host", .. }));
    // Notices of delay do not exist.
    assert!(matches!(mark("SmtpRemoteDelayExpireMinutes"), Mark::Kept));
    for name in ["AccessSSLFlags", "SecureBindings", "AuthFlags", "SmtpSSLRequireTrustedCA"] {
        assert!(matches!(mark(name), Mark::Refused(why) if why.ends_with('.')), "{name}");
    }
    // These are about relaying, of which RelayIpList alone decides.
    for name in ["SmtpDisableRelay", "SmtpIpRestrictionFlag"] {
        assert!(matches!(mark(name), Mark::Refused(why) if why.contains("RelayIpList")), "{name}");
    }
    let mut tests: Vec<_> = postroad_metabase::catalogue()
        .filter_map(|property| match property.mark {
            Mark::InForce { effect_test, .. } => Some(effect_test),
            Mark::Kept | Mark::Refused(_) => None,
        })
        .collect();
    tests.sort_unstable();
    let count = tests.len();
    tests.dedup();
    assert_eq!(tests.len(), count, "a test shows one property");
}

#[test]
fn what_the_schema_says_is_consistent() {
    for property in postroad_metabase::catalogue() {
        let name = property.name;
        let is_number = property.stored_type() == StoredType::Dword;
        assert!(property.bounds.is_none() || is_number, "{name}");
        assert!((property.names.is_empty() && property.bits.is_empty()) || is_number, "{name}");
        assert!(property.names.is_empty() || property.bits.is_empty(), "{name}");
        assert!(property.bits.iter().all(|(bit, _)| bit.count_ones() == 1), "{name}");
        assert!(!property.keys.is_empty(), "{name}");
        assert_eq!(
            property.unit == "a secret",
            property.attributes & SECURE != 0
                && name != "AdminACL"
                && !["SSLPublicKey", "SSLKeyRequest"].contains(&name),
            "{name}"
        );
        for default in [Some(property.fresh), property.absent].into_iter().flatten() {
            let texts = match default.value() {
                None => continue,
                Some(postroad_metabase::schema::Value::Number(number)) => vec![number.to_string()],
                Some(postroad_metabase::schema::Value::Text(text)) => vec![text],
                Some(postroad_metabase::schema::Value::List(list)) => list,
            };
            values::read(Some(property), property.stored_type(), &texts).expect(name);
        }
    }
}

#[test]
fn numbers_are_read_in_every_form() {
    for (text, wanted) in [
        ("2", Some(2)),
        ("0x2", Some(2)),
        (" UDP-only ", Some(2)),
        ("-1", Some(u32::MAX)),
        ("0xFFFFFFFF", Some(u32::MAX)),
        ("adaptive", Some(u32::MAX)),
        ("3", None),
        ("-2", None),
        ("+2", None),
        ("", None),
        ("udp", None),
    ] {
        assert_eq!(number("SmtpUseTcpDns", text), wanted, "{text:?}");
    }
    assert_eq!(number("MaxRecipients", "64000"), Some(64_000));
    assert_eq!(
        read("MaxRecipients", &["64001"]).unwrap_err(),
        "64001 is not within bounds. Give a number from 1 to 64000."
    );
    assert_eq!(number("MaxConnections", "-1"), Some(u32::MAX));
    assert_eq!(number("MaxConnections", "4294967296"), None);
}

#[test]
fn bits_have_names() {
    assert_eq!(number("AuthFlags", "AuthBasic | AuthAnonymous|authntlm"), Some(7));
    assert_eq!(number("AuthFlags", "AuthBasic | 0x400"), Some(0x402));
    assert_eq!(number("AuthFlags", "AuthBasic |"), None);
    assert_eq!(number("RouteAction", "514"), Some(0x202));
    assert_eq!(meaning("AuthFlags", 7), "AuthAnonymous | AuthBasic | AuthNTLM");
    assert_eq!(meaning("RouteAction", 0x202), "SmartHost | EtrnCommand");
    assert_eq!(meaning("AuthFlags", 0x402), "AuthBasic | 0x400");
    assert_eq!(meaning("AuthFlags", 0), "");
    for property in postroad_metabase::catalogue().filter(|property| !property.bits.is_empty()) {
        let all = property.bits.iter().fold(0x8000_0000, |all, (bit, _)| all | bit);
        assert_eq!(number(property.name, &meaning(property.name, all)), Some(all), "{}", property.name);
    }
}

#[test]
fn truth_is_read_and_shown() {
    for text in ["TRUE", "true", "True", "1"] {
        assert_eq!(number("AlwaysUseSsl", text), Some(1));
    }
    for text in ["FALSE", "false", "0"] {
        assert_eq!(number("AlwaysUseSsl", text), Some(0));
    }
    for text in ["yes", "2", "-1", ""] {
        assert_eq!(number("AlwaysUseSsl", text), None);
    }
    assert_eq!(show("AlwaysUseSsl", Data::Dword(1)).value, ["TRUE"]);
    assert_eq!(show("AlwaysUseSsl", Data::Dword(2)).value, ["2"]);
}

#[test]
fn numbers_mean_something() {
    for (name, number, wanted) in [
        ("SmtpUseTcpDns", 2, "udp-only"),
        ("SmtpUseTcpDns", u32::MAX, "adaptive"),
        ("SmtpUseTcpDns", 9, ""),
        ("MaxConnections", u32::MAX, "no limit, or not set"),
        ("MaxConnections", 1000, ""),
        ("SmtpRemoteNDRExpireMinutes", 7200, "5 days"),
        ("SmtpRemoteNDRExpireMinutes", 1440, "1 day"),
        ("SmtpRemoteNDRExpireMinutes", 61, "61 minutes"),
        ("ConnectionTimeout", 600, "10 minutes"),
        ("MaxMessageSize", 36_700_160, "35 MB"),
        ("MaxMessageSize", 1, "1 byte"),
        ("MaxMessageSize", 0, ""),
    ] {
        assert_eq!(meaning(name, number), wanted, "{name} {number}");
    }
}

#[test]
fn networks_are_lists() {
    let octets = ipsec::encode(&["127.0.0.1/32".parse().unwrap(), "192.0.2.0/24".parse().unwrap()]);
    let data = Data::Binary(octets.clone());
    for texts in [["127.0.0.1", "192.0.2.0/24"], ["127.0.0.1/32", "192.0.2.0, 255.255.255.0"]] {
        assert_eq!(read("RelayIpList", &texts).unwrap(), data);
    }
    let shown = show("RelayIpList", data);
    assert_eq!(
        (shown.value.as_slice(), shown.is_list),
        (["127.0.0.1", "192.0.2.0/24"].map(String::from).as_slice(), true)
    );
    assert!(
        read("RelayIpList", &["192.0.2.1/24"])
            .unwrap_err()
            .starts_with("\"192.0.2.1/24\" is an address inside")
    );

    assert_eq!(read("RelayIpList", &[]).unwrap(), Data::Binary(ipsec::encode(&[])));
    assert_eq!(read("RelayIpList", &[""]).unwrap(), Data::Binary(Vec::new()));
    assert_eq!(ipsec::decode(&[]).unwrap(), ipsec::decode(&ipsec::encode(&[])).unwrap());
    assert_eq!(
        show("RelayIpList", Data::Binary(ipsec::encode(&[]))),
        Shown { is_list: true, ..Shown::default() }
    );

    assert_eq!(show("RelayIpList", Data::Binary(Vec::new())), Shown { is_list: true, ..Shown::default() });

    // The two lists the other way round: all but these may.
    let mut others = octets.clone();
    others[..8].rotate_left(4);
    let shown = show("IPSecurity", Data::Binary(others.clone()));
    assert_eq!(shown.meaning, "all except 127.0.0.1, 192.0.2.0/24");
    assert_eq!(read("IPSecurity", &[&shown.value[0]]).unwrap(), Data::Binary(others.clone()));
    assert_eq!(values::line(&record("IPSecurity", Data::Binary(others))), shown.meaning);
    assert!(
        matches!(by_name("IPSecurity").unwrap().mark, Mark::Kept),
        "it can be set, and says that nothing reads it"
    );

    // Flags that nobody has seen.
    let mut odd = octets;
    odd[16] = 2;
    let shown = show("RelayIpList", Data::Binary(odd.clone()));
    assert!(!shown.is_list && shown.value[0].starts_with("0x18000080"), "{shown:?}");
    assert_eq!(shown.meaning, "kept as it is: not a list of addresses of a known shape: its flags are not 1");
    assert_eq!(read("RelayIpList", &[&shown.value[0]]).unwrap(), Data::Binary(odd));
}

#[test]
fn octets_are_hex() {
    for text in ["7f00ff", "7F 00 FF", "0x7f00ff", " 0X7f 00ff\n"] {
        assert_eq!(read("SSLCertHash", &[text]).unwrap(), Data::Binary(vec![0x7f, 0, 0xff]), "{text:?}");
    }
    assert_eq!(read("SSLCertHash", &[""]).unwrap(), Data::Binary(Vec::new()));
    for text in ["7", "7g", "0x0x00", "\u{e9}"] {
        assert!(read("SSLCertHash", &[text]).unwrap_err().contains("is not hex"), "{text:?}");
    }
}

#[test]
fn texts_are_single_and_lists_are_lines() {
    assert_eq!(read("SmartHost", &["a b"]).unwrap(), Data::String("a b".into()));
    assert_eq!(read("LogFileDirectory", &["%windir%\\x"]).unwrap(), Data::ExpandSz("%windir%\\x".into()));
    assert!(read("SmartHost", &["a", "b"]).unwrap_err().starts_with("has 2 values"));
    assert!(read("SmartHost", &[]).is_err());
    assert!(read("SmartHost", &["a\0"]).is_err());
    assert_eq!(
        read("ServerBindings", &[":25:", ":26:"]).unwrap(),
        Data::MultiSz(vec![":25:".into(), ":26:".into()])
    );
    assert_eq!(read("ServerBindings", &[""]).unwrap(), Data::MultiSz(Vec::new()));
    for bad in [&["a", ""] as &[&str], &["a\nb"], &["x"; 4097]] {
        assert!(read("ServerBindings", bad).is_err());
    }
    let long = "x".repeat(1024 * 1024 + 1);
    assert!(read("SmartHost", &[&long]).unwrap_err().starts_with("has 1048577 octets"));
}

#[test]
fn a_record_may_be_unknown_or_of_another_type() {
    let texts = |text: &str| [text.to_owned()];
    assert_eq!(values::read(None, StoredType::Dword, &texts("0x10")).unwrap(), Data::Dword(16));
    assert!(values::read(None, StoredType::Dword, &texts("x")).is_err());
    assert_eq!(values::read(None, StoredType::Binary, &texts("00ff")).unwrap(), Data::Binary(vec![0, 255]));
    let property = by_name("SmtpUseTcpDns");
    assert_eq!(values::read(property, StoredType::String, &texts("9")).unwrap(), Data::String("9".into()));
    assert_eq!(
        show("SmtpUseTcpDns", Data::String("2".into())),
        Shown { value: vec!["2".into()], ..Shown::default() }
    );
    assert_eq!(show("RelayIpList", Data::MultiSz(Vec::new())), Shown { is_list: true, ..Shown::default() });
}

#[test]
fn one_line_is_one_line() {
    let line = |name: &str, data| values::line(&record(name, data));
    assert_eq!(line("SmtpUseTcpDns", Data::Dword(2)), "2 (udp-only)");
    assert_eq!(line("MaxRecipients", Data::Dword(5)), "5");
    assert_eq!(line("AlwaysUseSsl", Data::Dword(1)), "TRUE");
    assert_eq!(line("ConnectResponse", Data::String("a\n\"b\"\u{1b}".into())), r#""a\n\"b\"\u{1b}""#);
    assert_eq!(line("SmartHost", Data::String(String::new())), "\"\"");
    assert_eq!(
        line("ServerBindings", Data::MultiSz(vec![":25:".into(), ":26:".into()])),
        r#"[":25:", ":26:"]"#
    );
    assert_eq!(line("RelayIpList", read("RelayIpList", &["127.0.0.1", "::1"]).unwrap()), "[127.0.0.1, ::1]");
    assert_eq!(line("RelayIpList", Data::Binary(Vec::new())), "[]");
    assert_eq!(line("RelayIpList", Data::Binary(ipsec::encode(&[]))), "[]");
    let long = line("SmartHost", Data::String("\u{e9}".repeat(1000)));
    assert_eq!(long, format!("\"{}\"...", "\u{e9}".repeat(160)));
    let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert!(line("ServerBindings", Data::MultiSz(many)).len() < 400);
}

#[test]
fn a_secret_is_not_shown() {
    let secret =
        Record { attributes: INHERIT | SECURE, ..record("RoutePassword", Data::String("hunter2".into())) };
    assert_eq!(values::show(&secret).value, Vec::<String>::new());
    assert!(!format!("{:?} {}", values::show(&secret), values::line(&secret)).contains("hunter2"));
    assert_eq!(values::line(&secret), "(secret)");
}

/// Data that a property takes.
fn data(property: &'static Property) -> BoxedStrategy<Data> {
    let line = "[ -~\u{e9}]{1,20}";
    match property.data_type {
        DataType::Bool => (0u32..2).prop_map(Data::Dword).boxed(),
        DataType::Dword if !property.names.is_empty() => {
            proptest::sample::select(property.names).prop_map(|(number, _)| Data::Dword(number)).boxed()
        }
        DataType::Dword => {
            let (least, most) = property.bounds.unwrap_or((0, u32::MAX));
            prop_oneof![Just(least), Just(most), least..=most].prop_map(Data::Dword).boxed()
        }
        DataType::String => "[ -~\n\u{e9}]{0,20}".prop_map(Data::String).boxed(),
        DataType::ExpandSz => "[ -~\n\u{e9}]{0,20}".prop_map(Data::ExpandSz).boxed(),
        DataType::MultiSz => proptest::collection::vec(line, 0..5).prop_map(Data::MultiSz).boxed(),
        DataType::Binary => {
            let octets = proptest::collection::vec(any::<u8>(), 0..40);
            let networks =
                proptest::collection::vec((any::<std::net::IpAddr>(), 0u8..=32), 0..6).prop_map(|list| {
                    let networks: Vec<ipnet::IpNet> = list
                        .into_iter()
                        .map(|(ip, bits)| ipnet::IpNet::new(ip, bits).unwrap().trunc())
                        .collect();
                    ipsec::encode(&networks)
                });
            let broken = (networks.clone(), any::<proptest::sample::Index>(), any::<u8>()).prop_map(
                |(mut octets, at, to)| {
                    let at = at.index(octets.len());
                    octets[at] = to;
                    octets
                },
            );
            prop_oneof![octets, networks, broken].prop_map(Data::Binary).boxed()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_shown_can_be_given_again(
        (property, data) in (0..postroad_metabase::catalogue().count())
            .prop_map(|row| postroad_metabase::catalogue().nth(row).unwrap())
            .prop_flat_map(|property| (Just(property), data(property)))
    ) {
        let known = Record { id: property.id, attributes: 0, user_type: 1, data };
        let unknown = Record { id: 7, ..known.clone() };
        for (property, record) in [(Some(property), known), (None, unknown)] {
            let shown = values::show(&record);
            prop_assert!(shown.is_list || shown.value.len() == 1);
            let again = values::read(property, record.data.stored_type(), &shown.value).unwrap();
            // An empty list has two forms, which say the same.
            if !(shown.is_list && shown.value.is_empty()) {
                prop_assert_eq!(again, record.data.clone());
            }
            prop_assert!(!values::line(&record).contains('\n'));
        }
    }

    #[test]
    fn no_text_panics(row in 0..postroad_metabase::catalogue().count(), texts in proptest::collection::vec(any::<String>(), 0..3)) {
        let property = postroad_metabase::catalogue().nth(row);
        for kind in StoredType::ALL {
            let _ = values::read(property, kind, &texts);
            let _ = values::read(None, kind, &texts);
        }
    }
}
