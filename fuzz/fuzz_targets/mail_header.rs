//! The header walker, the address lists and the notification that quotes a message, over any octets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_mail::address::ReversePath;
use postroad_mail::domain::Domain;
use postroad_mail::dsn::{self, Failed, Report};
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::header;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Status;
use postroad_mail::time::Wall;

fuzz_target!(|data: &[u8]| {
    let summary = header::summary(data);
    assert!(summary.end <= summary.body && summary.body <= data.len());
    let _ = header::recipients(data);
    let _ = header::without_bcc(data);
    let (Ok(name), Ok(address)) = ("a.example".parse::<Domain>(), "b@c.example".parse()) else { return };
    let sender = Sender::plain(ReversePath::Address(address));
    let Ok(to) = "d@e.example".parse() else { return };
    let recipient = Recipient::plain(to, NextHop::Drop);
    let failed = Failed {
        recipient: &recipient,
        status: Status::new(5, 1, 1),
        cause: String::from_utf8_lossy(data).into_owned(),
        remote: None,
        reply: None,
    };
    let report = Report {
        reporting: &name,
        arrived: Wall(0),
        now: Wall(0),
        id: MessageId(1),
        sender: &sender,
        failed: &[failed],
        original: data,
        original_complete: true,
    };
    for line in dsn::failure(&report).split(|byte| *byte == b'\n') {
        assert!(line.len() <= 999, "a line of {} octets", line.len());
    }
});
