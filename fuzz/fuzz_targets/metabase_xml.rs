//! MetaBase.xml in and out: what is taken can be written, and what is written can be taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_metabase::tree::Tree;
use postroad_metabase::xml;

fuzz_target!(|data: &[u8]| {
    let Ok(taken) = xml::take(data, "fuzz.xml", &Tree::new()) else { return };
    let Ok(tree) = Tree::new().apply(&taken.ops) else { return };
    let text = xml::write(&tree, &xml::Facts::default());
    let again = xml::take(text.as_bytes(), "written.xml", &tree).unwrap();
    // Secrets and what is volatile are not written; what is written is what was taken.
    assert_eq!(tree.diff(&tree.apply(&again.ops).unwrap()), []);
});
