//! A disk without room: a change is refused and leaves nothing, and when there is room the next is made by the same service. What
//! comes after a change does not take it back.

use crate::{changed, generation};
use postroad_tests::disk::Disk;
use postroad_tests::postroad::{Config, Postroad};

/// Octets left beside the filler: less than the long value takes.
const ROOM: u64 = 64 << 10;

#[test]
fn a_change_without_room_fails_alone() {
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    let disk = Disk::mount(&postroad.data(), "64m");
    postroad.restart();
    let before = generation(&postroad);
    let filler = disk.fill(ROOM);
    let long = "x".repeat(100_000);
    let set = ["meta", "set", "LM/SmtpSvc/1", "ServerComment", &long];
    for _ in 0..2 {
        let refused = postroad.verb(&set);
        assert!(refused.status != 0 && refused.stderr.contains("disk is full"), "{refused:?}");
    }
    assert_eq!(generation(&postroad), before);
    std::fs::remove_file(filler).expect("the filler goes");
    let report = changed(&postroad, &set[1..]);
    assert_eq!(report["generation"], before + 1);
    postroad.stop();
}

/// The history pair comes after the change, which holds without it: with no service it is told beside it.
#[test]
fn a_change_at_rest_is_made_though_its_history_pair_is_not() {
    let postroad = Postroad::prepare_stored(&Config::default());
    let history = postroad.data().join("History");
    std::fs::remove_dir_all(&history).expect("the folder goes");
    std::fs::write(&history, "no folder").expect("a file in its place");
    let report = changed(&postroad, &["set", "smtpsvc/1", "HopCount", "33"]);
    assert!(report["notes"][0].as_str().is_some_and(|note| note.contains("history pair")), "{report}");
    assert_eq!(generation(&postroad), report["generation"]);
    let shown = postroad.verb(&["meta", "set", "smtpsvc/1", "HopCount", "34"]);
    assert!(
        shown.status == 0 && shown.stdout.contains("The change is made, but the history pair"),
        "{shown:?}"
    );
    std::fs::remove_file(&history).expect("the file goes");
    changed(&postroad, &["set", "smtpsvc/1", "HopCount", "35"]);
    assert!(history.is_dir());
}
