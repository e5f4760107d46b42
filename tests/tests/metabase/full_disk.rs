//! A disk without room: a change is refused and leaves nothing, and when there is room the next is made by the same service.

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
