//! Backups: what comes back, and all that is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use aws_lc_rs::digest::{SHA256, digest};
use postroad_mail::time::Wall;
use postroad_metabase::backup::{
    Backup, BackupError, BackupName, Keys, decode, decode_without_secrets, encode, file_name, manifest,
    parse_file_name, verify,
};
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{DATA_MAX, Data, INHERIT, Record, SECURE, VOLATILE};
use postroad_metabase::tree::{Op, Tree};
use proptest::prelude::*;

const HERE: Keys<'static> = Keys { password: None, machine: &[7; 32] };
const ELSEWHERE: Keys<'static> = Keys { password: None, machine: &[8; 32] };
const SECRET: &str = "correct horse battery staple";
const SALT: [u8; 16] = [3; 16];

fn with(password: &'static str) -> Keys<'static> {
    Keys { password: Some(password), ..ELSEWHERE }
}

fn record(id: u32, attributes: u32, data: Data) -> Record {
    Record { id, attributes, user_type: 1, data }
}

fn set(path: &str, id: u32, attributes: u32, data: Data) -> Op {
    Op::Set(path.parse().unwrap(), record(id, attributes, data))
}

/// Every data type, odd names, an empty key; no secret.
fn plain() -> Tree {
    let text = "tab\t, line\n, \"quotes\", \u{0}, \u{1f4ee}";
    let steps = [
        set("/", 1, 0, Data::Dword(u32::MAX)),
        set("/LM/SmtpSvc/1", 36907, INHERIT, Data::String(text.into())),
        set("/LM/SmtpSvc/1", 36908, 0, Data::ExpandSz("%windir%".into())),
        set(
            "/lm/smtpsvc/1/Domain/B\u{fc}cher.example",
            5,
            0,
            Data::MultiSz(vec![String::new(), text.into()]),
        ),
        set("/LM/SmtpSvc/1/Domain/empty", 6, 0, Data::MultiSz(vec![])),
        set("/LM/SmtpSvc/1", 7, 0, Data::Binary((0..=255).collect())),
        Op::Create("/LM/SmtpSvc/2".parse().unwrap()),
    ];
    Tree::new().apply(&steps).unwrap()
}

fn secret() -> Tree {
    let steps = [
        set("/LM/SmtpSvc/1", 36949, SECURE, Data::String(SECRET.into())),
        set("/LM/SmtpSvc/2", 36949, SECURE, Data::String(SECRET.into())),
    ];
    plain().apply(&steps).unwrap()
}

fn backup(tree: Tree) -> Backup {
    Backup { name: "nightly".parse().unwrap(), version: 3, at: Wall(1_700_000_000_000), generation: 41, tree }
}

fn made(tree: Tree, keys: &Keys<'_>) -> Vec<u8> {
    encode(&backup(tree), keys, SALT).unwrap()
}

/// Names in their own case and every record, which is more than `Tree::diff` compares.
fn listing(tree: &Tree) -> Vec<(String, Vec<Record>)> {
    tree.walk().map(|(path, node)| (path.to_string(), node.records().cloned().collect())).collect()
}

fn contains(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The file with some text in the place of another, and with both its checksums and its length made right again.
fn forged(octets: &[u8], from: &str, to: &str) -> Vec<u8> {
    let hex = |octets: &[u8]| -> String {
        digest(&SHA256, octets).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
    };
    let text = std::str::from_utf8(octets).unwrap();
    let body = |text: &str| text.splitn(3, '\n').nth(2).unwrap().to_owned();
    let cut = |text: &str| text[..text.len() - 72].to_owned();
    let before = cut(text);
    assert!(before.contains(from), "{from} is not in the file");
    let after = before.replacen(from, to, 1);
    let (old, new) = (body(&before), body(&after));
    let after = after.replacen(&hex(old.as_bytes()), &hex(new.as_bytes()), 1);
    let after = after.replacen(&format!("\"length\":{}", old.len()), &format!("\"length\":{}", new.len()), 1);
    format!("{after}sha256 {}\n", hex(after.as_bytes())).into_bytes()
}

fn words(octets: &[u8], keys: &Keys<'_>) -> String {
    decode(octets, keys).unwrap_err().to_string()
}

#[test]
fn what_is_put_in_comes_out() {
    for (tree, keys, kind) in [
        (plain(), HERE, "none"),
        (Tree::new(), HERE, "none"),
        (secret(), HERE, "machine"),
        (secret(), with("pass"), "password"),
        (plain(), with("pass"), "password"),
    ] {
        let octets = made(tree.clone(), &keys);
        let back = verify(&octets, &keys, Some(&tree)).unwrap();
        assert_eq!(listing(&back.tree), listing(&tree));
        assert_eq!(
            (back.name.as_str(), back.version, back.at, back.generation),
            ("nightly", 3, Wall(1_700_000_000_000), 41)
        );
        let manifest = manifest(&octets).unwrap();
        assert!(contains(&octets, &format!("\"kind\":\"{kind}\"")));
        assert_eq!(manifest.keys, tree.keys() as u64);
        assert_eq!(manifest.is_password(), kind == "password");
    }
}

#[test]
fn a_password_opens_it_anywhere_and_nothing_else_does() {
    let octets = made(secret(), &with("pass"));
    assert!(decode(&octets, &Keys { machine: &[99; 32], ..with("pass") }).is_ok());
    assert_eq!(decode(&octets, &with("Pass")).unwrap_err(), BackupError::WrongPassword);
    assert_eq!(decode(&octets, &HERE).unwrap_err(), BackupError::PasswordNeeded);
    assert_eq!(encode(&backup(secret()), &with(""), SALT).unwrap_err(), BackupError::EmptyPassword);
}

#[test]
fn without_its_secrets_it_is_read_by_whoever_has_it() {
    for keys in [HERE, with("pass")] {
        let (read, left_out) = decode_without_secrets(&made(secret(), &keys)).unwrap();
        assert_eq!(
            listing(&read.tree),
            listing(&plain().apply(&[Op::Create("/LM/SmtpSvc/2".parse().unwrap())]).unwrap())
        );
        let places: Vec<String> = left_out.iter().map(|(path, id)| format!("{path} {id}")).collect();
        assert_eq!(places, ["/LM/SmtpSvc/1 36949", "/LM/SmtpSvc/2 36949"]);
    }
    let (read, left_out) = decode_without_secrets(&made(plain(), &HERE)).unwrap();
    assert_eq!((listing(&read.tree), left_out), (listing(&plain()), Vec::new()));
    let octets = made(secret(), &HERE);
    assert_eq!(decode_without_secrets(&octets[..octets.len() - 9]).unwrap_err(), BackupError::Cut);
}

#[test]
fn without_a_password_it_is_restored_here_only() {
    let octets = made(secret(), &HERE);
    assert_eq!(decode(&octets, &ELSEWHERE).unwrap_err(), BackupError::OtherMachine);
    assert!(decode(&made(plain(), &HERE), &ELSEWHERE).is_ok(), "nothing in it is sealed");
}

#[test]
fn no_secret_is_in_the_octets() {
    for keys in [HERE, with("pass")] {
        let octets = made(secret(), &keys);
        for text in [SECRET, "battery", "pass\""] {
            assert!(!contains(&octets, text));
        }
        let hex: String = SECRET.bytes().map(|octet| format!("{octet:02x}")).collect();
        assert!(!contains(&octets, &hex));
        assert!(contains(&octets, "%windir%"), "what is no secret stays readable");
    }
    let text = String::from_utf8(made(secret(), &HERE)).unwrap();
    let sealed: Vec<&str> = text.lines().filter(|line| line.contains("sealed")).collect();
    let value = |line: &str| line.split("sealed").nth(1).unwrap().to_owned();
    assert_ne!(value(sealed[0]), value(sealed[1]), "equal secrets do not look equal");
}

#[test]
fn what_is_volatile_is_left_out() {
    let tree = plain().apply(&[set("/LM/SmtpSvc/1", 1016, VOLATILE | SECURE, Data::Dword(2))]).unwrap();
    let octets = made(tree.clone(), &HERE);
    let back = verify(&octets, &ELSEWHERE, Some(&tree)).unwrap();
    assert_eq!(listing(&back.tree), listing(&plain()));
}

#[test]
fn another_tree_is_told_by_its_first_difference() {
    let octets = made(secret(), &HERE);
    let check = |step: Op, expected: &str| {
        let error = verify(&octets, &HERE, Some(&secret().apply(&[step]).unwrap())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("battery"));
    };
    check(
        set("/LM/SmtpSvc/1", 36949, SECURE, Data::Dword(1)),
        "record 36949 of /LM/SmtpSvc/1 is another one",
    );
    check(
        Op::Unset("/LM/SmtpSvc/1".parse().unwrap(), 7),
        "record 7 of /LM/SmtpSvc/1 is in it and should not be",
    );
    check(set("/LM", 7, 0, Data::Dword(1)), "record 7 of /LM is missing");
    check(Op::Create("/LM/SmtpSvc/3".parse().unwrap()), "the key /LM/SmtpSvc/3 is missing");
    check(Op::Delete("/LM/SmtpSvc/2".parse().unwrap()), "the key /LM/SmtpSvc/2 is in it and should not be");
}

fn small() -> Tree {
    Tree::new().apply(&[set("/LM", 1, SECURE, Data::Dword(25)), set("/LM", 2, 0, Data::Dword(25))]).unwrap()
}

#[test]
fn every_flipped_bit_is_found() {
    for keys in [HERE, with("pass")] {
        let mut octets = made(small(), &keys);
        for bit in 0..octets.len() * 8 {
            octets[bit / 8] ^= 1 << (bit % 8);
            let error = decode(&octets, &keys).expect_err("a flipped bit");
            assert!(
                !matches!(error, BackupError::WrongPassword | BackupError::OtherMachine),
                "damage at bit {bit} is not taken for a wrong key"
            );
            assert!(manifest(&octets).is_err());
            octets[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(decode(&octets, &keys).is_ok());
    }
}

#[test]
fn every_truncation_and_addition_is_found() {
    let octets = made(small(), &HERE);
    assert!(words(&[], &HERE).contains("it is empty"));
    for length in 1..octets.len() {
        assert_eq!(decode(&octets[..length], &HERE).unwrap_err(), BackupError::Cut, "at {length}");
    }
    for more in ["\n", "x", "sha256 "] {
        assert!(matches!(decode(&[&octets, more.as_bytes()].concat(), &HERE), Err(BackupError::Damaged(_))));
    }
}

#[test]
fn a_newer_format_is_told_as_such() {
    let octets = made(small(), &HERE);
    let newer = [b"postroad-backup 2", &octets[17..]].concat();
    assert_eq!(decode(&newer, &HERE).unwrap_err(), BackupError::Newer(2));
    assert!(words(&newer, &HERE).contains("has format 2"));
}

#[test]
fn foreign_files_are_told_apart() {
    let check = |octets: &[u8], expected: &str| {
        let error = words(octets, &HERE);
        assert!(error.starts_with("is not a backup of this program"), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    let xml =
        "<?xml version =\"1.0\"?>\r\n<configuration xmlns=\"urn:microsoft-catalog:XML_Metabase_V64_0\">";
    check(xml.as_bytes(), "postroad meta import");
    check(format!("\u{feff}{xml}").as_bytes(), "postroad meta import");
    check(b"<html>", "XML of another kind");
    check(b"SQLite format 3\0....", "SQLite");
    check(b"\x02\0\0\0MDATA\0", "IIS 4 or 5");
    check(b"[\"/LM/SmtpSvc/1\"]\n", "its first line is another one");
}

#[test]
fn a_hostile_file_takes_no_memory_and_no_time() {
    let octets = made(small(), &with("pass"));
    for (from, to) in [
        ("\"memory_kib\":65536", "\"memory_kib\":4194304"),
        ("\"memory_kib\":65536", "\"memory_kib\":1"),
        ("\"passes\":3", "\"passes\":4000000000"),
        ("\"passes\":3", "\"passes\":0"),
        ("\"lanes\":1", "\"lanes\":16777215"),
        ("\"lanes\":1", "\"lanes\":0"),
    ] {
        let error = words(&forged(&octets, from, to), &with("pass"));
        assert!(error.contains("it asks for Argon2id"), "{to}: {error}");
    }
    let keys = "\"keys\":2";
    assert!(words(&forged(&octets, keys, "\"keys\":1000001"), &with("pass")).contains("1000000 at most"));
    assert!(words(&forged(&octets, keys, "\"keys\":3"), &with("pass")).contains("and says 3"));
}

#[test]
fn a_forged_payload_is_refused_with_its_line() {
    let octets = made(small(), &HERE);
    let check = |from: &str, to: &str, expected: &str| {
        let error = words(&forged(&octets, from, to), &HERE);
        assert!(error.contains(expected), "{error}");
    };
    check("\"attributes\":4", "\"attributes\":0", "line 5: it is sealed and not marked as a secret");
    check("\"attributes\":0", "\"attributes\":4", "line 6: it is a secret that is not sealed");
    check("\"attributes\":0", "\"attributes\":16", "line 6: it is of a kind that is not stored");
    check("{\"key\":\"/LM\"}", "{\"key\":\"/LX\"}", "line 5: its secret was not sealed for this place");
    check("{\"key\":\"/LM\"}", "{\"key\":\"/LM//\"}", "line 4: it is neither");
    check("{\"key\":\"/\"}\n{\"key\":\"/LM\"}\n", "", "line 3: it is a record, and no key stands before it");
    check("\"dword\":25", "\"dword\":25,\"dword\":26", "line 6: it is neither");
    check("\"id\":2", "\"id\":1", "2 keys and 1 records");
    assert!(
        decode(&forged(&octets, "\"dword\":25", "\"dword\":26"), &HERE).is_ok(),
        "a checksum is no signature"
    );
}

#[test]
fn the_largest_value_fits_and_a_larger_one_is_refused_when_it_is_made() {
    let of = |length: usize, attributes| {
        Tree::new().apply(&[set("/LM", 1, attributes, Data::String("\u{1}".repeat(length)))]).unwrap()
    };
    for attributes in [0, SECURE] {
        let tree = of(DATA_MAX, attributes);
        assert!(verify(&made(tree.clone(), &HERE), &HERE, Some(&tree)).is_ok());
    }
    let error = encode(&backup(of(DATA_MAX + 1, 0)), &HERE, SALT).unwrap_err().to_string();
    assert!(error.contains("record 1 of /LM"), "{error}");
}

#[test]
fn many_keys_come_back() {
    let steps: Vec<Op> =
        (0..5000).map(|n| set(&format!("/LM/SmtpSvc/1/Domain/d{n}"), n, 0, Data::Dword(n))).collect();
    let tree = Tree::new().apply(&steps).unwrap();
    assert!(verify(&made(tree.clone(), &HERE), &HERE, Some(&tree)).is_ok());
}

#[test]
fn names_are_letters_and_digits() {
    let longest = "a".repeat(100);
    for name in ["a", "Nightly2", longest.as_str()] {
        let name: BackupName = name.parse().unwrap();
        for version in [0, 9999] {
            assert_eq!(parse_file_name(&file_name(&name, version)), Some((name.clone(), version)));
        }
    }
    for name in ["", "a b", "../x", "a.b", "n\u{e4}chtlich", &"a".repeat(101)] {
        assert!(name.parse::<BackupName>().is_err(), "{name}");
    }
    assert_eq!(file_name(&"nightly".parse().unwrap(), 3), "nightly.pb3");
    for file in [
        "nightly.pb",
        "nightly.pb03",
        "nightly.pb10000",
        "nightly.pb-1",
        "nightly.pb+1",
        ".pb1",
        "x.pb1.tmp",
        "x.md1",
    ] {
        assert_eq!(parse_file_name(file), None, "{file}");
    }
}

#[test]
fn a_key_with_a_slash_in_its_name_would_come_back_as_two() {
    assert!(KeyPath::root().child("a/b").is_err());
}

fn any_data() -> impl Strategy<Value = Data> {
    prop_oneof![
        any::<u32>().prop_map(Data::Dword),
        any::<String>().prop_map(Data::String),
        any::<String>().prop_map(Data::ExpandSz),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Data::Binary),
        proptest::collection::vec(any::<String>(), 0..4).prop_map(Data::MultiSz),
    ]
}

fn any_step() -> impl Strategy<Value = Op> {
    let path = proptest::collection::vec("[a-cA-C\u{e4}\u{c4} .]{1,2}", 0..4)
        .prop_map(|names| names.iter().fold(KeyPath::root(), |path, name| path.child(name).unwrap()));
    let attributes = prop_oneof![Just(0), Just(INHERIT), Just(SECURE), Just(SECURE | 0x8000_0000)];
    (path, any::<u32>(), attributes, any::<u32>(), any_data()).prop_map(
        |(path, id, attributes, user_type, data)| Op::Set(path, Record { id, attributes, user_type, data }),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(steps in proptest::collection::vec(any_step(), 0..30), salt: [u8; 16]) {
        let tree = Tree::new().apply(&steps).unwrap();
        let octets = encode(&backup(tree.clone()), &HERE, salt).unwrap();
        let back = verify(&octets, &HERE, Some(&tree)).unwrap();
        prop_assert_eq!(listing(&back.tree), listing(&tree));
    }

    #[test]
    fn no_octets_make_it_panic(octets: Vec<u8>, is_headed: bool) {
        let head: &[u8] = if is_headed { b"postroad-backup 1\n{\"format\":1," } else { b"" };
        prop_assert!(decode(&[head, &octets].concat(), &HERE).is_err());
    }
}
