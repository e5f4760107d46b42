//! Runs every `dialogs/*.smtp` against a machine: `dialogs/README.md` says how to read and write them.
//!
//! Each is run with its writes whole, cut in two at every place, and octet by octet: how the network cuts a stream must
//! never change what comes of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod runner;

use runner::script::{Role, Script};
use std::path::Path;

/// Cuts beyond this place of a write are left to the octet-by-octet run.
const CUT_MAX: usize = 400;

#[test]
fn every_dialog_goes_as_written_however_it_is_cut() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "smtp"));
    paths.sort();
    assert!(paths.len() >= 40, "only {} dialogs were found", paths.len());
    let mut failures = String::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let script = Script::parse(&name, &std::fs::read_to_string(&path).unwrap());
        failures.extend(run(&name, &script));
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What went otherwise than written, at the first way of cutting that shows it.
fn run(name: &str, script: &Script) -> Option<String> {
    let whole = |bytes: &[u8]| vec![bytes.to_vec()];
    let by_octet = |bytes: &[u8]| bytes.iter().map(|byte| vec![*byte]).collect();
    let check = |cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>, how: &str| {
        let found = match script.role {
            Role::Server => runner::server::run(script, cut),
            Role::Client => runner::client::run(script, cut),
        };
        found.map(|difference| format!("\n{name}, {how}: {difference}"))
    };
    let failed = check(&whole, "whole");
    if failed.is_some() || script.whole {
        return failed;
    }
    let longest = script.longest_write().min(CUT_MAX);
    (1..longest)
        .find_map(|at| {
            let in_two = |bytes: &[u8]| {
                let (head, tail) = bytes.split_at(at.min(bytes.len()));
                vec![head.to_vec(), tail.to_vec()]
            };
            check(&in_two, &format!("cut at {at}"))
        })
        .or_else(|| check(&by_octet, "octet by octet"))
}
