//! The configuration reader over any text, and what a change makes of it, exported and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_metabase::path::KeyPath;
use postroad_metabase::settings::Settings;
use postroad_metabase::text::{self, Prune};
use postroad_metabase::tree::Tree;
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let Ok(given) = std::str::from_utf8(data) else { return };
    let _ = Settings::read(given, "fuzz.toml", Path::new("/nowhere"), "host.example");
    let Ok(ops) = text::steps(given, "fuzz.toml", &Tree::new(), Prune::Keys) else { return };
    if let Ok(tree) = Tree::new().apply(&ops) {
        let exported = text::export(&tree, &KeyPath::root(), &[]);
        assert_eq!(text::steps(&exported, "export.toml", &tree, Prune::Keys), Ok(Vec::new()));
    }
});
