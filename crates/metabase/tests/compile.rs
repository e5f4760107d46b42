//! Trees in, settings or problems out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use postroad_mail::domain::Domain;
use postroad_metabase::compile::{self, Place};
use postroad_metabase::path::KeyPath;
use postroad_metabase::record::{Data, INHERIT, INSERT_PATH, Record};
use postroad_metabase::settings::{ADAPTIVE, Settings};
use postroad_metabase::tree::{Op, Tree};
use postroad_metabase::{ipsec, text};
use std::path::Path;
use std::time::Instant;

const SERVICE: &str = "/LM/SmtpSvc";
const SERVER: &str = "/LM/SmtpSvc/1";

fn place() -> Place {
    Place { data_dir: "/data".into(), host_name: "mx.example".into() }
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

fn fresh() -> Tree {
    Tree::new().apply(&compile::fresh()).unwrap()
}

fn compiled(ops: &[Op]) -> Settings {
    Settings::compile(&Tree::new().apply(ops).unwrap(), &place(), 7).unwrap()
}

#[track_caller]
fn refused(ops: &[Op], expected: &str) {
    let problems = Settings::compile(&fresh().apply(ops).unwrap(), &place(), 7).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, [expected]);
}

#[test]
fn a_fresh_tree_is_a_fresh_install() {
    let settings = Settings::compile(&fresh(), &place(), 3).unwrap();
    assert_eq!(settings.generation, 3);
    assert_eq!(Settings { generation: 0, ..settings }, Settings::fresh(Path::new("/data"), "mx.example"));
    let key_type = |at: &str| fresh().record(&path(at), 1002).unwrap().clone();
    assert_eq!(key_type(SERVER).data, Data::String("IIsSmtpServer".into()));
    assert_eq!((key_type(SERVICE).attributes, key_type(SERVICE).user_type), (0, 1));
    assert!(fresh().record(&path(SERVER), 36997).is_none());
    assert_eq!(fresh().record(&path(SERVICE), 36970).unwrap().attributes, 9, "what the service sets, holds");
}

#[test]
fn what_is_absent_has_its_own_value() {
    let absent = compiled(&[]);
    assert_eq!((absent.hop_count, absent.size_max, absent.relay.len()), (10, 33_554_432, 0));
    assert_eq!(absent.bindings, ["0.0.0.0:25".parse().unwrap()]);
    assert_eq!((absent.out_connections_max, absent.dns.policy), (u32::MAX, ADAPTIVE));
}

#[test]
fn inheritance() {
    let hops = |ops: &[Op]| compiled(ops).hop_count;
    assert_eq!(hops(&[set("/", 36886, Data::Dword(20))]), 20);
    assert_eq!(hops(&[set("/", 36886, Data::Dword(20)), set("/LM", 36886, Data::Dword(21))]), 21);
    assert_eq!(hops(&[set_with(SERVICE, 36886, Data::Dword(20), 0)]), 10, "not inherited");
    assert_eq!(hops(&[set_with(SERVER, 36886, Data::Dword(20), 0)]), 20, "its own");
    assert_eq!(hops(&[set(SERVER, 36886, Data::Dword(20)), set(SERVICE, 36886, Data::Dword(30))]), 20);
    assert_eq!(hops(&[set("/LM/SmtpSvc/2", 36886, Data::Dword(20))]), 10, "another server");
}

#[test]
fn records_become_values() {
    let drop = |data: Data, attributes: u32| compiled(&[set_with(SERVICE, 36882, data, attributes)]).drop_dir;
    assert_eq!(drop(Data::ExpandSz("in".into()), INHERIT), Path::new("/data/in"));
    let inserted = drop(Data::String("/d<%INSERT_PATH%>".into()), INHERIT | INSERT_PATH);
    assert_eq!(inserted, Path::new("/d/LM/SmtpSvc/1"), "the path of the key that asks");
    let relay = |octets: Vec<u8>| compiled(&[set(SERVER, 36970, Data::Binary(octets))]).relay;
    let network = "192.0.2.0/24".parse().unwrap();
    assert_eq!(relay(ipsec::encode(&[network])), [network]);
    assert!(relay(vec![1, 2, 3]).is_empty(), "what cannot be read lets nobody relay");
    assert_eq!(relay(ipsec::encode(&["0.0.0.0/0".parse().unwrap()])).len(), 1);
}

#[test]
fn problems() {
    let wrong = "/LM/SmtpSvc/1: HopCount: is stored as STRING, not as DWORD. Set it anew, or unset it.";
    refused(&[set(SERVER, 36886, Data::String("5".into()))], wrong);
    refused(
        &[set(SERVER, 36886, Data::Dword(0))],
        "/LM/SmtpSvc/1: HopCount: 0 is not within bounds. Give a number from 1 to 1000.",
    );
    refused(
        &[set(SERVER, 36905, Data::Dword(2))],
        "/LM/SmtpSvc/1: SmartHostType: is 2, but there is no SmartHost. Set SmartHost, as \"relay.example.org\" or \"[192.0.2.1]:587\", or SmartHostType = 0.",
    );
    let session = |size: u32| set(SERVICE, 36892, Data::Dword(size));
    let problems = Settings::compile(&fresh().apply(&[session(1000)]).unwrap(), &place(), 1).unwrap_err();
    assert_eq!((problems[0].path.clone(), problems[0].id), (path(SERVICE), Some(36892)));
    for fitting in [0, 36_700_160] {
        Settings::compile(&fresh().apply(&[session(fitting)]).unwrap(), &place(), 1).unwrap();
    }
    let bindings = |list: &[&str]| {
        let list = Data::MultiSz(list.iter().map(|item| (*item).into()).collect());
        Settings::compile(&fresh().apply(&[set(SERVER, 1023, list)]).unwrap(), &place(), 1).is_ok()
    };
    assert!(bindings(&["127.0.0.1:25:", "127.0.0.2:25:", "[::1]:25:", ":587:", "127.0.0.1:0:", ":0:"]));
    assert!(!bindings(&["127.0.0.1:25:", ":25:"]));
    assert!(!bindings(&[":25:", "[::]:25:"]));
    assert!(!bindings(&["[::1]:25:", "[::]:25:"]));
}

/// A domain's key with a policy.
fn domain(name: &str, policy: u32) -> Op {
    set(&format!("/LM/SmtpSvc/1/Domain/{name}"), 36997, Data::Dword(policy))
}

#[test]
fn domains() {
    let settings = compiled(&[domain("B.example", 2), domain("*.c.example", 1), domain("d.example.", 1)]);
    let all: Vec<_> = settings.dns.policies_by_domain.iter().map(|(d, p)| (d.as_str(), *p)).collect();
    assert_eq!(all, [("b.example", 2)]);
    let below = set("/LM/SmtpSvc/1/Domain/b.example/x", 36997, Data::Dword(1));
    assert!(compiled(&[below]).dns.policies_by_domain.is_empty());
    refused(
        &[domain("b.example", 3)],
        "/LM/SmtpSvc/1/Domain/b.example: SmtpUseTcpDns: 3 is not known. Give one of 0 (\"udp-then-tcp\"), 1 (\"tcp-only\"), 2 (\"udp-only\"), 4294967295 (\"adaptive\").",
    );
}

/// What a change gives by `recompile` is what a compile gives, errors too.
fn recompiled(before: &Tree, ops: &[Op]) -> Result<Settings, usize> {
    let after = before.apply(ops).unwrap();
    let settings = Settings::compile(before, &place(), 1).unwrap();
    let quick = settings.recompile(&after, &before.diff(&after), &place(), 2);
    assert_eq!(quick, Settings::compile(&after, &place(), 2), "{ops:?}");
    quick.map_err(|problems| problems.len())
}

#[test]
fn recompiling() {
    let before = fresh().apply(&[domain("a.example", 1), domain("b.example", 2)]).unwrap();
    let policies = |ops: &[Op]| recompiled(&before, ops).unwrap().dns.policies_by_domain.len();
    assert_eq!(policies(&[domain("a.example", 0)]), 2);
    assert_eq!(policies(&[domain("c.example", 0)]), 3);
    assert_eq!(policies(&[Op::Delete(path("/LM/SmtpSvc/1/Domain/a.example"))]), 1);
    assert_eq!(policies(&[Op::Delete(path("/LM/SmtpSvc/1/Domain"))]), 0);
    assert_eq!(policies(&[Op::Unset(path("/LM/SmtpSvc/1/Domain/a.example"), 36997)]), 1);
    assert_eq!(policies(&[set(SERVER, 36886, Data::Dword(5))]), 2);
    assert_eq!(policies(&[set(SERVICE, 36886, Data::Dword(5)), domain("c.example", 1)]), 3);
    assert_eq!(policies(&[Op::Delete(path(SERVER))]), 0);
    assert_eq!(policies(&[Op::Create(path("/LM/SmtpSvc/1/EventManager/x"))]), 2);
    assert_eq!(recompiled(&before, &[domain("a.example", 9)]), Err(1));
    assert_eq!(recompiled(&before, &[set(SERVICE, 36892, Data::Dword(5))]), Err(1));
}

#[test]
fn many_domains() {
    const COUNT: usize = 100_000;
    let domains: Vec<Op> = (0..COUNT).map(|n| domain(&format!("d{n}.example"), (n % 3) as u32)).collect();
    let before = fresh().apply(&domains).unwrap();
    let began = Instant::now();
    let settings = Settings::compile(&before, &place(), 1).unwrap();
    let whole = began.elapsed();
    assert_eq!(settings.dns.policies_by_domain.len(), COUNT);
    let change = [domain("d500.example", 0)];
    let after = before.apply(&change).unwrap();
    let deltas = before.diff(&after);
    let began = Instant::now();
    let one = settings.recompile(&after, &deltas, &place(), 2).unwrap();
    let single = began.elapsed();
    let domain: Domain = "d500.example".parse().unwrap();
    assert_eq!(one.dns.policies_by_domain.get(&domain), Some(&0));
    // By a ratio, so that no machine is too slow: looking at each domain again would take as long as the first time.
    assert!(single * 20 < whole, "{single:?} of {whole:?}");
}

#[test]
fn a_pin_above_holds() {
    let pins = text::pins("[\"/LM/SmtpSvc\"]\nHopCount = 30\n", "f.toml").unwrap();
    let tree = compile::overlay(&fresh(), &pins).unwrap();
    assert_eq!(Settings::compile(&tree, &place(), 1).unwrap().hop_count, 30);
}
