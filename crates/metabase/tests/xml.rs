//! MetaBase.xml in and out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, REFERENCE, Record, SECURE, VOLATILE};
use postroad_metabase::tree::{Op, Tree};
use postroad_metabase::xml::{self, Facts, LineKind, Taken, take, write};
use proptest::prelude::*;
use std::fmt::Write;

const SYNTHETIC: &str = include_str!("samples/synthetic-smtp.xml");
const EXCERPT: &str = include_str!("samples/service-node-excerpt.xml");

const SERVER: &str = "/LM/SmtpSvc/1";

fn path(text: &str) -> KeyPath {
    text.parse().unwrap()
}

fn taken(text: &str) -> Taken {
    take(text.as_bytes(), "MetaBase.xml", &Tree::new()).unwrap()
}

fn tree(text: &str) -> Tree {
    Tree::new().apply(&taken(text).ops).unwrap()
}

/// A file with one key.
fn file(location: &str, attributes: &str, inner: &str) -> String {
    format!(
        "<?xml version =\"1.0\"?>\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">\n<MBProperty>\n\
         <IIsConfigObject\tLocation =\"{location}\"\n{attributes}\n>{inner}</IIsConfigObject>\n\
         </MBProperty></configuration>"
    )
}

/// What a server's attributes become: the only line on a name, and the value.
fn one(attribute: &str, id: u32) -> (LineKind, String, Option<Data>) {
    let text = file(SERVER, attribute, "");
    let mut lines = taken(&text).lines;
    let line = lines.pop().unwrap();
    assert!(lines.is_empty(), "{lines:?}");
    let data = tree(&text).record(&path(SERVER), id).map(|record| record.data.clone());
    (line.kind, line.text, data)
}

fn said(text: &str) -> Vec<String> {
    let lines = taken(text).lines;
    lines.iter().map(|line| format!("{:?} {} {}: {}", line.kind, line.path, line.name, line.text)).collect()
}

fn fault(text: &[u8]) -> String {
    take(text, "m.xml", &Tree::new()).unwrap_err().to_string()
}

#[test]
fn the_sample_is_taken() {
    let tree = tree(SYNTHETIC);
    let value = |at: &str, id| tree.record(&path(at), id).map(|record| record.data.clone());
    assert_eq!(value("/LM/SmtpSvc", 36997), Some(Data::Dword(2)));
    assert_eq!(value(SERVER, 6000), Some(Data::Dword(3)));
    assert_eq!(value(SERVER, 4013), Some(Data::Dword(15)));
    assert_eq!(value(SERVER, 1017), Some(Data::Dword(1)));
    assert_eq!(value(SERVER, 1023), Some(Data::MultiSz(vec![":25:".into(), "127.0.0.1:2525:".into()])));
    assert_eq!(value(SERVER, 36882), Some(Data::String("Drop".into())));
    assert_eq!(value(SERVER, 36880), Some(Data::String("C:\\Inetpub\\mailroot\\Pickup".into())));
    assert_eq!(value(SERVER, 61537), Some(Data::Dword(0)));
    assert_eq!(value(SERVER, 1002), Some(Data::String("IIsSmtpServer".into())));
    assert_eq!(value("/lm/smtpsvc/1/domain/EXAMPLE.org", 36946), Some(Data::Dword(2)));
    let relay = tree.record(&path(SERVER), 36970).unwrap();
    assert_eq!((relay.attributes, relay.user_type), (INHERIT | REFERENCE, 2));
    assert!(matches!(&relay.data, Data::Binary(octets) if octets.len() == 84));
}

#[test]
fn the_sample_is_told() {
    let all = taken(SYNTHETIC);
    let lines = said(SYNTHETIC);
    for wanted in [
        "Translated /LM/SmtpSvc SmtpUseTcpDns: 2 is udp-only, as the article on this setting (KB330070) has it; another \
         page of the vendor (ms524979) lists 0 and 2 the other way round, so look whether 0 was meant",
        "Translated /LM/SmtpSvc/1 DropDirectory: \"C:\\\\Inetpub\\\\mailroot\\\\Drop\" became \"Drop\", a folder inside the \
         data folder",
        "Taken /LM/SmtpSvc/1 RelayIpList: one network may relay: 127.0.0.1/32",
        "Left / IIS_Global: the old installation's bookkeeping and its session key are of no use here",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted}\n{lines:#?}");
    }
    let bindings = all.lines.iter().find(|line| line.name == "ServerBindings").unwrap();
    assert!(bindings.text.contains("below 1024"), "{bindings:?}");
    let is_kept = |line: &&xml::Line| matches!(line.kind, LineKind::Kept | LineKind::Lost);
    let kept = all.lines.iter().filter(is_kept).count() as u64;
    assert_eq!((all.kept, all.refused, all.left, all.not_decryptable), (kept, 0, 1, 0));
    assert_eq!(all.taken + all.kept + 1, all.lines.len() as u64);
}

/// The folders are put back: they are the one thing that is taken in other words.
#[test]
fn the_sample_is_written_byte_for_byte() {
    let folders = [(36909, "Badmail"), (36882, "Drop")].map(|(id, name)| {
        let data = Data::String(format!("C:\\Inetpub\\mailroot\\{name}"));
        Op::Set(path(SERVER), Record { id, attributes: INHERIT, user_type: 1, data })
    });
    let tree = tree(SYNTHETIC).apply(&folders).unwrap();
    let (before, rest) = SYNTHETIC.split_once("<!--").unwrap();
    let (_, after) = rest.split_once("-->\n").unwrap();
    let facts = Facts { generation: 7, history: 3, ..Facts::default() };
    assert_eq!(write(&tree, &facts), format!("{before}{after}"));
}

#[test]
fn the_excerpt_is_taken() {
    let tree = tree(EXCERPT);
    let service = path("/LM/SmtpSvc");
    let auth = tree.record(&service, 6000).unwrap();
    assert_eq!((auth.data.clone(), auth.user_type, auth.attributes), (Data::Dword(7), 1, INHERIT));
    assert_eq!(tree.record(&service, 36920).unwrap().data, Data::MultiSz(vec![]));
    assert_eq!(tree.record(&service, 61537).unwrap().attributes, 0);
    let lines = said(EXCERPT);
    let user_type = "; it keeps the user type IIS_MD_UT_SERVER, which is IIS_MD_UT_FILE in the schema";
    assert!(lines.iter().any(|line| line.contains("AuthFlags") && line.ends_with(user_type)), "{lines:#?}");
}

/// The documentation has the flags in another order, and two times of the schema where ours has one.
#[test]
fn the_excerpt_is_written_byte_for_byte() {
    let (before, rest) = EXCERPT.split_once("<!--").unwrap();
    let (_, after) = rest.split_once("-->\n").unwrap();
    let expected = format!("{before}{after}")
        .replace("AuthBasic | AuthAnonymous | AuthNTLM", "AuthAnonymous | AuthBasic | AuthNTLM")
        .replace("444e436defb8c201", "9676376defb8c201");
    // The tree has the keys above as well, which the excerpt leaves out.
    let facts = Facts { generation: 1023, history: 154, schema_time: 0x01c2_b8ef_6d37_7696 };
    let written = write(&tree(EXCERPT), &facts);
    let (head, rest) = written.split_once("<IIS_ROOT").unwrap();
    let (_, service) = rest.split_once("</IIsComputer>\n").unwrap();
    assert_eq!(format!("{head}{service}"), expected);
}

/// The original's schema has neither what is ours nor what goes by its number.
#[test]
fn what_the_original_does_not_know_is_written_as_custom() {
    let own = "<IIsSmtpService Location='/LM/SmtpSvc' DnsServers='192.0.2.53:53' BackupKeep='3' UnknownName_61537='1' HopCount='9'/>";
    let text = format!("<configuration><MBProperty>{own}</MBProperty></configuration>");
    let written = write(&tree(&text), &Facts::default());
    for name in ["DnsServers", "BackupKeep", "UnknownName_61537"] {
        assert!(written.contains(&format!("Name=\"{name}\"")), "{name}: {written}");
        assert!(!written.contains(&format!("\t\t{name}=")), "{name}: {written}");
    }
    assert!(written.contains("\t\tHopCount=\"9\""), "{written}");
    let again = taken(&written);
    assert_eq!(Tree::new().apply(&again.ops).unwrap().diff(&tree(&text)), []);
}

#[test]
fn a_route_that_is_lost_is_told_by_its_bits() {
    let route = |attributes: &str| {
        let text = file("/LM/SmtpSvc/1/Domain/example.org", attributes, "");
        let line = taken(&text).lines.into_iter().find(|line| line.name == "RouteAction").unwrap();
        (line.kind, line.text)
    };
    let check = |attributes: &str, words: &[&str]| {
        let (kind, text) = route(attributes);
        assert_eq!(kind, LineKind::Lost, "{attributes}");
        assert!(words.iter().all(|word| text.contains(word)), "{attributes}: {text}");
    };
    check(
        "RouteAction='2' RouteActionString='[192.0.2.20]'",
        &["example.org", "SmartHost", "not to [192.0.2.20]"],
    );
    check("RouteAction='0x12'", &["RouteActionString", "not be delivered"]);
    check("RouteAction='32'", &["not be delivered"]);
    check("RouteAction='4'", &["TLS is not demanded"]);
    check("RouteAction='256'", &["logs in"]);
    assert!(!route("RouteAction='2'").1.contains("TLS"));
    assert_eq!(route("RouteAction='0'").0, LineKind::Kept);
}

#[test]
fn a_path_is_told_as_it_is_stored() {
    let stored = Tree::new().apply(&[Op::Create(path(SERVER))]).unwrap();
    let text = file("/lm/SMTPSVC/1", "MaxRecipients='7'", "");
    let lines = take(text.as_bytes(), "MetaBase.xml", &stored).unwrap().lines;
    let lines: Vec<_> =
        lines.iter().map(|line| (line.kind, line.path.to_string(), line.text.as_str())).collect();
    let at = "stands at /lm/SMTPSVC/1 in the file";
    assert_eq!(lines[0], (LineKind::Translated, SERVER.into(), at));
    assert_eq!(lines[1].1, SERVER);
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn what_is_given_twice_counts_once() {
    let custom = "<Custom ID='36884' Value='8' Type='DWORD'/>";
    let once = file(SERVER, "MaxRecipients='7'", "");
    let key =
        |recipients: u32| format!("<X Location='{SERVER}' MaxRecipients='{recipients}' ServerComment='c'/>");
    let key_twice = format!("<configuration><MBProperty>{}{}</MBProperty></configuration>", key(7), key(8));
    let id = postroad_metabase::catalogue::by_name("MaxRecipients").unwrap().id;
    let twice = file(SERVER, "MaxRecipients='7'", &custom.replace("36884", &id.to_string()));
    assert_eq!((taken(&once).taken, taken(&once).refused), (1, 0));
    let all = taken(&twice);
    assert_eq!((all.taken, all.kept, all.refused), (1, 0, 1), "{:#?}", all.lines);
    assert!(all.lines.iter().any(|line| line.kind == LineKind::Refused && line.text.contains("once more")));
    assert!(said(&key_twice).iter().any(|line| line.contains("in the file twice")));
    for text in [twice, key_twice] {
        assert_eq!(tree(&text).record(&path(SERVER), id).unwrap().data, Data::Dword(8));
    }
}

/// What a service finds unfit afterwards is told in the place of what was said of it.
#[test]
fn what_is_refused_afterwards_is_told_in_its_place() {
    let text = file(SERVER, "MaxRecipients='7' ServerComment='c' HopCount='9'", "");
    let mut all = taken(&text);
    let (lines, ops) = (all.lines.len(), all.ops.len());
    let of = |name: &str| postroad_metabase::catalogue::by_name(name).unwrap().id;
    let why =
        ["HopCount", "ServerComment", "SmartHost"].map(|name| ((path(SERVER), of(name)), format!("{name}!")));
    assert_eq!(all.refuse(&why.into()), 2);
    assert_eq!((all.taken, all.kept, all.refused, all.lines.len()), (1, 0, 2, lines));
    assert_eq!(all.ops.len(), ops - 2);
    let refused = all.lines.iter().filter(|line| line.kind == LineKind::Refused);
    let mut refused: Vec<_> = refused.map(|line| line.text.as_str()).collect();
    refused.sort_unstable();
    assert_eq!(refused, ["HopCount!", "ServerComment!"]);
}

#[test]
fn the_time_of_the_schema_is_little_endian() {
    let facts = Facts { schema_time: 0x01c2_b8ef_6d37_7696, ..Facts::default() };
    assert!(write(&Tree::new(), &facts).contains("BINSchemaTimeStamp=\"9676376defb8c201\""));
}

#[test]
fn numbers_in_every_form() {
    let number = |text: &str| one(&format!("RouteAction=\"{text}\""), 36946);
    assert_eq!(number("514").2, Some(Data::Dword(514)));
    assert_eq!(number("0x202").2, Some(Data::Dword(514)));
    assert_eq!(number("-1").2, Some(Data::Dword(u32::MAX)));
    for wrong in ["", "-2", "+1", "4294967296", "many", "1 | 2"] {
        let (kind, text, data) = number(wrong);
        assert_eq!((kind, data), (LineKind::Refused, None), "{text}");
    }
    let truth = |text: &str| one(&format!("ServerAutoStart=\"{text}\""), 1017).2;
    assert_eq!([truth("TRUE"), truth("false"), truth("1")], [1, 0, 1].map(|n| Some(Data::Dword(n))));
    assert_eq!(truth("yes"), None);
}

#[test]
fn a_flag_that_is_unknown_refuses_its_record_alone() {
    let (kind, text, data) = one("AuthFlags=\"AuthBasic | AuthSmoke\"", 6000);
    assert_eq!((kind, text.as_str(), data), (LineKind::Refused, "\"AuthSmoke\" is not a known flag", None));
    assert_eq!(one("AuthFlags=\"AuthNTLM | AuthAnonymous\"", 6000).2, Some(Data::Dword(5)));
    assert_eq!(one("AuthFlags=\"0\"", 6000).2, Some(Data::Dword(0)));
}

#[test]
fn values_that_are_not_taken() {
    let refused = |attribute: &str, id, words: &str| {
        let (kind, text, data) = one(attribute, id);
        assert_eq!((kind, data), (LineKind::Refused, None), "{attribute}: {text}");
        assert!(text.contains(words), "{text}");
    };
    refused("SmtpUseTcpDns=\"3\"", 36997, "no documented meaning");
    refused("SmartHostType=\"1\"", 36905, "give 2");
    refused("SmartHostType=\"9\"", 36905, "one of");
    refused("HopCount=\"0\"", 36886, "a number from 1 to 1000");
    refused("RelayIpList=\"180\"", 36970, "pairs of hexadecimal digits");
    refused("RelayIpList=\"zz\"", 36970, "pairs of hexadecimal digits");
    refused("DropDirectory=\"C:\\\"", 36882, "folder's name");
    refused("DropDirectory=\"%windir%\\%mail%\"", 36882, "folder's name");
    let unknown = taken(&file(SERVER, "NoSuchThing=\"1\"", ""));
    assert_eq!((unknown.refused, unknown.lines[0].name.as_str()), (1, "NoSuchThing"));
}

#[test]
fn transports_that_are_taken() {
    assert_eq!(one("SmtpUseTcpDns=\"1\"", 36997).0, LineKind::Taken);
    assert_eq!(one("SmtpUseTcpDns=\"4294967295\"", 36997).0, LineKind::Taken);
    let (kind, text, _) = one("SmtpUseTcpDns=\"0\"", 36997);
    assert_eq!(kind, LineKind::Translated);
    assert!(text.starts_with("0 is udp-then-tcp"), "{text}");
}

#[test]
fn folders_of_this_system_stay() {
    let (kind, _, data) = one("DropDirectory=\"/srv/dr\\op\"", 36882);
    assert_eq!((kind, data), (LineKind::Taken, Some(Data::String("/srv/dr\\op".into()))));
    let (_, _, data) = one("DropDirectory=\"\\\\files\\mail\\Drop\\\"", 36882);
    assert_eq!(data, Some(Data::String("Drop".into())));
}

#[test]
fn relay_lists_of_every_kind() {
    let (kind, text, data) = one("RelayIpList=\"\"", 36970);
    assert_eq!((kind, data), (LineKind::Taken, Some(Data::Binary(vec![]))));
    assert!(text.contains("nobody may relay"), "{text}");
    let (kind, text, data) = one("RelayIpList=\"0badCAFE\"", 36970);
    assert_eq!((kind, data), (LineKind::Kept, Some(Data::Binary(vec![0x0b, 0xad, 0xca, 0xfe]))));
    assert!(text.contains("4 octets are kept as they are, and nobody may relay by it"), "{text}");
    // The list of refused addresses is the one with an address.
    let all_except = "20000080180000803c00008044000080010000004c00000000000000000000000100000001000000020000000200000004\
                      000000000000004c00008000000000000000000000000000000000ffffffff7f000001";
    let (kind, text, data) = one(&format!("RelayIpList=\"{all_except}\""), 36970);
    assert_eq!((kind, data), (LineKind::Refused, None));
    assert!(text.contains("open relay"), "{text}");
}

#[test]
fn lists_are_split_before_they_are_unescaped() {
    let text = "DomainRouting=\"a b\r\n\t\t\tc&#xA;d\r\n\r\n  &#x20;e &amp; f&#x20;\"";
    let items = ["a b", "c\nd", " e & f "].map(String::from).to_vec();
    assert_eq!(one(text, 36920).2, Some(Data::MultiSz(items)));
}

#[test]
fn names_in_another_case_are_known() {
    let lines = said(&file(SERVER, "SMARTHOST='[192.0.2.1]'", ""));
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], "Translated /LM/SmtpSvc/1 SmartHost: is written \"SMARTHOST\" in the file");
}

#[test]
fn secrets_are_asked_for_again() {
    let secret = file(SERVER, "RoutePassword=\"4c00aabb\"", "");
    let all = taken(&secret);
    assert_eq!((all.not_decryptable, all.taken, all.kept, all.lines.len()), (1, 0, 0, 1));
    assert_eq!((all.lines[0].kind, all.lines[0].name.as_str()), (LineKind::NotDecryptable, "RoutePassword"));
    assert!(!all.lines[0].text.contains("4c00aabb"));
    assert!(!all.ops.iter().any(|op| matches!(op, Op::Set(..))));
    let custom = "<Custom Name='X' ID='70000' Type='STRING' Value='abc' Attributes='INHERIT | SECURE'/>";
    assert_eq!(taken(&file(SERVER, "", custom)).not_decryptable, 1);
    let empty = tree(&file(SERVER, "RoutePassword=\"\"", ""));
    let record = empty.record(&path(SERVER), 36949).unwrap();
    assert_eq!((record.attributes, record.data.size()), (INHERIT | SECURE, 0));
    let global = SYNTHETIC.replace("SessionKey=\"00\"", "SessionKey=\"0badcafe\"");
    assert!(!said(&global).iter().any(|line| line.contains("0badcafe")));
}

/// What is a secret here stays one, whatever the file says.
#[test]
fn a_secret_is_never_made_public_again() {
    let data = Data::String("hidden".into());
    let current = Record { id: 70000, attributes: SECURE, user_type: 1, data };
    let current = Tree::new().apply(&[Op::Set(path(SERVER), current)]).unwrap();
    let text = file(SERVER, "", "<Custom ID='70000' Type='STRING' Value='plain'/>");
    let ops = take(text.as_bytes(), "m.xml", &current).unwrap().ops;
    assert!(current.apply(&ops).unwrap().record(&path(SERVER), 70000).unwrap().has(SECURE));
}

#[test]
fn custom_records() {
    let custom = |text: &str| {
        let text = file(SERVER, "", &format!("<Custom {text}/>"));
        let tree = tree(&text);
        let mut records = tree.node(&path(SERVER)).unwrap().records().cloned();
        records.next().ok_or_else(|| taken(&text).lines[0].text.clone())
    };
    let record = |id, attributes, user_type, data| Ok(Record { id, attributes, user_type, data });
    assert_eq!(custom("Name='HopCount' Value='9'"), record(36886, INHERIT, 1, Data::Dword(9)));
    assert_eq!(
        custom("Name='UnknownName_70001' Type='STRING' Value='x' UserType='101' Attributes='9'"),
        record(70001, 9, 101, Data::String("x".into()))
    );
    assert_eq!(
        custom(
            "ID='70001' Type='EXPANDSZ' Value='%windir%' UserType='ASP_MD_UT_APP' Attributes='INHERIT | VOLATILE'"
        ),
        record(70001, INHERIT | VOLATILE, 101, Data::ExpandSz("%windir%".into()))
    );
    let why = |text| custom(text).unwrap_err();
    assert_eq!(why("Name='Strange' Type='DWORD' Value='1'"), "is no known property, and has no id");
    assert_eq!(why("Name='Strange' ID='70001' Value='1'"), "is no known property, and has no Type");
    assert_eq!(why("Name='Strange' ID='x' Value='1'"), "\"x\" is no id");
    assert_eq!(why("ID='70001' Type='FLOAT' Value='1'"), "\"FLOAT\" is no known type");
    assert_eq!(
        why("Name='HopCount' Type='STRING' Value='1'"),
        "is a STRING in the file and a DWORD in the schema"
    );
    assert_eq!(
        why("ID='70001' Type='DWORD' Value='1' Attributes='INHERIT | SHINY'"),
        "\"SHINY\" is not a known attribute"
    );
    assert!(why("Name='Strange' ID='100001' Type='STRING' Value='1'").contains("another property's"));
}

/// An import tells what the settings that are compiled of it will be.
#[test]
fn what_takes_effect_is_what_the_server_sees() {
    let check = |location: &str, attributes: &str, inner: &str, wanted: LineKind| {
        let all = taken(&file(location, attributes, inner));
        let kinds: Vec<_> = all.lines.iter().map(|line| line.kind).collect();
        assert_eq!(kinds, [wanted], "{location}: {:#?}", all.lines);
        let in_force = u64::from(wanted != LineKind::Kept);
        assert_eq!((all.taken, all.kept), (in_force, 1 - in_force), "{location}");
    };
    let service = "/LM/SmtpSvc";
    check(service, "HopCount='9'", "", LineKind::Taken);
    let own = "<Custom Name='HopCount' Value='9' Attributes='NO_ATTRIBUTES'/>";
    check(service, "", own, LineKind::Kept);
    check(SERVER, "", own, LineKind::Taken);
    check(service, "ServerBindings='127.0.0.1:2525:'", "", LineKind::Taken);
    check("/LM", "HopCount='9'", "", LineKind::Taken);
    check("/", "DropDirectory='C:\\Drop'", "", LineKind::Translated);
    let policy = "SmtpUseTcpDns='1'";
    check("/LM/SmtpSvc/1/Domain/a.b", policy, "", LineKind::Taken);
    check("/LM/SmtpSvc/1/Domain/a.b.", policy, "", LineKind::Kept);
}

/// One virtual server runs; what others have is kept, and told as that.
#[test]
fn other_servers_are_kept_without_effect() {
    let text = file("/LM/SmtpSvc/2", "DropDirectory='C:\\Drop' RelayIpList='' SmtpUseTcpDns='2'", "");
    let all = taken(&text);
    assert_eq!((all.taken, all.kept, all.lines.len()), (0, 3, 4), "{:#?}", all.lines);
    assert!(all.lines[0].text.contains("beside the first"));
    let drop = tree(&text).record(&path("/LM/SmtpSvc/2"), 36882).unwrap().data.clone();
    assert_eq!(drop, Data::String("C:\\Drop".into()));
}

#[test]
fn other_services_are_passed_over_in_one_line_each() {
    let keys = ["/LM/W3SVC", "/LM/W3SVC/1", "/LM/w3svc/1/ROOT", "/LM/MSFTPSVC", "/Schema/Classes/x"];
    let keys = keys.map(|key| format!("<IIsWebServer Location='{key}' Unknown='1'><Custom/></IIsWebServer>"));
    let text = format!("<configuration><MBProperty>{}</MBProperty></configuration>", keys.concat());
    assert!(taken(&text).ops.is_empty());
    let wanted = [("/LM/MSFTPSVC", 1), ("/LM/W3SVC", 3), ("/Schema/Classes", 1)];
    let wanted = wanted.map(|(path, keys)| {
        let counted = if keys == 1 { "a key is".to_owned() } else { format!("{keys} keys are") };
        format!("Left {path} : belongs to another service: {counted} left out")
    });
    assert_eq!(said(&text), wanted);
    assert_eq!((taken(&text).left, taken(&text).refused), (3, 0));
}

#[test]
fn what_the_schema_would_not_have_is_told_and_passed_over() {
    let text = format!(
        "<configuration><Extra><Deep Location='/LM/SmtpSvc'/></Extra><MBProperty>stray<X/><X Location='SmtpSvc'/>\
         <X Location='/LM//1'/><X Location='/LM/SmtpSvc/{}'/><X Location='/LM/SmtpSvc'><Other/></X></MBProperty>\
         </configuration>",
        "n".repeat(257)
    );
    let all = taken(&text);
    assert_eq!(all.lines.iter().filter(|line| line.kind == LineKind::Refused).count(), 7, "{:#?}", all.lines);
    assert_eq!(all.refused, 7);
    assert_eq!(all.ops[0], Op::Create(path("/LM/SmtpSvc")));
}

#[test]
fn what_is_no_xml_is_an_error_with_its_place() {
    let fault = |text: &str| fault(text.as_bytes());
    assert!(
        fault("<configuration>\n <MBProperty>\n</configuration>")
            .starts_with("m.xml:3:1: is not well-formed")
    );
    assert!(fault("").starts_with("m.xml:1:1: has no element"));
    assert!(fault("<configuration>").contains("ends within an element"));
    assert!(fault("<configuration/><configuration/>").contains("second outermost"));
    assert!(fault("<web/>").contains("<web> outermost"));
    assert!(fault("<configuration/>x").contains("outside of all elements"));
    assert!(fault("<configuration a=\"1\" a=\"2\"/>").contains("\"a\" twice"));
    assert!(fault("<configuration a=1/>").contains("not in quotation marks"));
    assert!(fault("<configuration a=\"<\"/>").contains("quotation mark is missing"));
    assert!(fault("<configuration a=\"&nbsp;\"/>").contains("&amp;"));
    assert!(fault("<configuration a=\"&#0;\"/>").starts_with("m.xml:1:1"));
    assert!(fault("<configuration a=\"&#1;\"/>").contains("control character"));
    assert!(fault("<configuration>\u{1}</configuration>").starts_with("m.xml:1:16: has a control character"));
    assert!(fault("<configuration>&x;</configuration>").contains("&amp;"));
    assert!(fault("<?xml version='1.0' encoding='windows-1252'?><configuration/>").contains("windows-1252"));
}

#[test]
fn bombs_are_refused() {
    let laughs = "<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol1 '&lol;&lol;&lol;'>]>\
                  <configuration>&lol1;</configuration>";
    assert!(fault(laughs.as_bytes()).contains("DOCTYPE"));
    let outside = "<!DOCTYPE c [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><configuration a='&x;'/>";
    assert!(fault(outside.as_bytes()).contains("DOCTYPE"));
    let deep = format!("<configuration>{}", "<a>".repeat(100_000));
    assert!(fault(deep.as_bytes()).contains("within one another"));
    let long = format!("<configuration><{} /></configuration>", "n".repeat(10_000));
    assert!(fault(long.as_bytes()).contains("a name of 10000 characters, 256 at most"));
    let long = format!("<configuration {}='' />", "n".repeat(10_000));
    assert!(fault(long.as_bytes()).contains("a name of 10000 characters, 256 at most"));
}

#[test]
fn large_files_are_refused_at_their_bounds() {
    let mut many = String::from("<configuration");
    for number in 0.. {
        let _ = write!(many, " a{number}=''");
        if many.len() > xml::OCTETS_MAX - 100 {
            break;
        }
    }
    many.push_str("/>");
    assert!(fault(many.as_bytes()).contains("more than 2000 attributes"));
    let huge = format!("<configuration a='{}'/>", "x".repeat(xml::ATTRIBUTE_OCTETS_MAX + 1));
    assert!(fault(huge.as_bytes()).contains("octets in a"));
    assert!(fault(&vec![b' '; xml::OCTETS_MAX + 1]).contains("33554433 octets"));
    let key = |number: usize| format!("<k Location='/LM/SmtpSvc/{number}'/>");
    let keys: String = (0..=xml::STEPS_MAX / 2).map(key).collect();
    let keys = format!("<configuration><MBProperty>{keys}</MBProperty></configuration>");
    assert!(fault(keys.as_bytes()).contains("brings more than 500000 keys and records"));
    let elements = format!("<configuration>{}", "<a/>".repeat(xml::ELEMENTS_MAX));
    assert!(fault(elements.as_bytes()).contains("more than 1000000 elements"));
}

#[test]
fn lines_are_bounded() {
    let text = file(SERVER, "", &"<Other/>".repeat(xml::LINES_MAX + 7));
    let lines = taken(&text).lines;
    assert_eq!(lines.len(), xml::LINES_MAX + 1);
    assert_eq!(lines.last().unwrap().text, "7 more lines like those above are not shown");
}

/// However many lines only list what was taken, a refusal is told.
#[test]
fn a_refusal_found_late_is_told_beyond_many_quiet_lines() {
    let key =
        |number: usize| format!("<k Location='/LM/SmtpSvc/1/Domain/d{number}.example' ServerComment='c'/>");
    let keys: String = (0..=xml::LINES_MAX).map(key).collect();
    let text = format!("<configuration><MBProperty>{keys}</MBProperty></configuration>");
    let mut all = taken(&text);
    let id = postroad_metabase::catalogue::by_name("ServerComment").unwrap().id;
    let last = path(&format!("/LM/SmtpSvc/1/Domain/d{}.example", xml::LINES_MAX));
    assert!(!all.lines.iter().any(|line| line.path == last), "it is beyond what is listed");
    assert_eq!(all.refuse(&[((last.clone(), id), "unfit".into())].into()), 1);
    let told = all.lines.iter().find(|line| line.path == last).unwrap();
    assert_eq!((told.kind, told.text.as_str()), (LineKind::Refused, "unfit"));
}

#[test]
fn encodings_of_windows() {
    let plain = tree(SYNTHETIC);
    let units: Vec<u16> = SYNTHETIC.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let forms = [
        [b"\xef\xbb\xbf", SYNTHETIC.as_bytes()].concat(),
        [b"\xff\xfe", &little[..]].concat(),
        [b"\xfe\xff", &big[..]].concat(),
        little.clone(),
        big,
    ];
    for form in forms {
        let ops = take(&form, "m.xml", &Tree::new()).unwrap().ops;
        assert!(plain.diff(&Tree::new().apply(&ops).unwrap()).is_empty());
    }
    assert!(fault(&little[..little.len() - 1]).contains("within a character"));
    assert_eq!(fault(b"<a>\nab\xff</a>"), "m.xml:2:3: is not UTF-8. Save the file as UTF-8.");
    assert_eq!(fault(b"\xff\xfe<\0\n\0\0\xd8>\0"), "m.xml:2:1: is not UTF-16. Save the file as UTF-8.");
}

#[test]
fn what_is_not_written() {
    let set = |id, attributes, data| Op::Set(path(SERVER), Record { id, attributes, user_type: 1, data });
    let tree = Tree::new();
    let ops = [
        set(36949, SECURE | INHERIT, Data::String("geheim".into())),
        set(70000, VOLATILE, Data::Dword(1)),
        set(70001, 0, Data::String("a\0b".into())),
        Op::Create(path("/LM/SmtpSvc/1/Domain/\u{ffff}")),
    ];
    let text = write(&tree.apply(&ops).unwrap(), &Facts::default());
    assert!(!text.contains("geheim") && !text.contains("70000"), "{text}");
    assert!(text.contains("<!-- RoutePassword is a secret and left out"), "{text}");
    assert!(text.contains("<!-- UnknownName_70001 is left out"), "{text}");
    assert!(text.contains("<!-- a key is left out"), "{text}");
    assert!(taken(&text).lines.iter().all(|line| line.name == "IIS_Global"), "{text}");
}

#[test]
fn the_schema_is_xml_with_every_class() {
    let text = xml::schema();
    assert!(text.contains("xmlns=\"x-urn:microsoft-catalog:MetaData_V7\""));
    assert!(text.contains("<Flag\tInternalName =\"AuthNTLM\"\tValue=\"4\"/>"));
    let classes = text.matches("<Collection\t").count();
    assert_eq!((classes, text.matches("</Collection>").count()), (5, 5));
    // The reader sees that it is well-formed, and that it is another file.
    assert!(fault(text.as_bytes()).contains("<MetaData> outermost"));
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~\t\n\r\u{e4}\u{20ac}\u{1f4e7}]{0,12}",
        Just("]]>--<&amp;\"'".to_owned()),
        Just("  ".to_owned())
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<u32>().prop_map(Data::Dword),
        words().prop_map(Data::String),
        words().prop_map(Data::ExpandSz),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Data::Binary),
        prop::collection::vec(words().prop_filter("not empty", |item| !item.is_empty()), 0..5)
            .prop_map(Data::MultiSz),
    ]
}

/// Records that the schema does not know, and some that it does, as it has them and otherwise.
fn record() -> impl Strategy<Value = Record> {
    let attributes = (0..512_u32).prop_map(|bits| bits & !(SECURE | VOLATILE | 0x20));
    let user_type = prop_oneof![Just(1), Just(2), Just(100), Just(101), any::<u32>()];
    let unknown = (50_000..60_000_u32, attributes.clone(), user_type.clone(), data())
        .prop_map(|(id, attributes, user_type, data)| Record { id, attributes, user_type, data });
    let attributes = prop_oneof![Just(INHERIT), attributes];
    let known = prop_oneof![
        any::<u32>().prop_map(|number| (6000, Data::Dword(number))),
        (0..0x40_0000_u32).prop_map(|number| (4013, Data::Dword(number))),
        (0..3_u32).prop_map(|number| (1017, Data::Dword(number))),
        words().prop_map(|text| (1015, Data::String(text))),
        "[A-Za-z._ ]{0,9}".prop_map(|text| (1002, Data::String(text))),
        prop::sample::select(vec![
            "IIS_ROOT",
            "IIsComputer",
            "IIsConfigObject",
            "IIS_Global",
            "IIsSmtpServer"
        ])
        .prop_map(|class| (1002, Data::String(class.into()))),
        (0..2_u32).prop_map(|number| (9996, Data::Dword(number))),
    ];
    let known = (known, attributes, user_type).prop_map(|((id, data), attributes, user_type)| {
        let is_class = id == 1002 && user_type % 2 == 1;
        let (attributes, user_type) = if is_class { (0, 1) } else { (attributes, user_type) };
        Record { id, attributes, user_type, data }
    });
    prop_oneof![unknown, known]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        Just("/LM".to_owned()),
        "/LM/SmtpSvc(/[ -.0-~\u{e4}]{1,6}){0,4}",
        "/LM/SmtpSvc/1/Domain/[a-c]",
    ]
}

proptest! {
    #[test]
    fn every_tree_there_and_back(keys in prop::collection::vec((key(), prop::collection::vec(record(), 0..5)), 0..8)) {
        let mut ops = Vec::new();
        for (key, records) in keys {
            ops.push(Op::Create(path(&key)));
            ops.extend(records.into_iter().map(|record| Op::Set(path(&key), record)));
        }
        let before = Tree::new().apply(&ops).unwrap();
        let text = write(&before, &Facts::default());
        let all = taken(&text);
        prop_assert_eq!(all.refused, 0, "{:#?}\n{}", all.lines, text);
        let after = Tree::new().apply(&all.ops).unwrap();
        prop_assert!(before.diff(&after).is_empty(), "{:#?}\n{}", before.diff(&after), text);
        prop_assert_eq!(write(&after, &Facts::default()), text);
    }

    #[test]
    fn any_octets_are_taken_or_refused(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = take(&octets, "m.xml", &Tree::new());
    }

    /// A sample with something else in one place gets further than any octets do.
    #[test]
    fn a_sample_with_a_wrong_place_is_taken_or_refused(
        at in any::<prop::sample::Index>(), length in 0..9_usize, with in "[<>&;\"'= \n/!a-c0-3|-]{0,4}",
    ) {
        let at = at.index(SYNTHETIC.len());
        let end = SYNTHETIC.len().min(at + length);
        let text = [&SYNTHETIC.as_bytes()[..at], with.as_bytes(), &SYNTHETIC.as_bytes()[end..]].concat();
        if let Ok(all) = take(&text, "m.xml", &Tree::new()) {
            let tree = Tree::new().apply(&all.ops).unwrap();
            prop_assert!(take(write(&tree, &Facts::default()).as_bytes(), "w.xml", &tree).is_ok());
        }
    }
}
