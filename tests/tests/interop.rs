//! Mail in from clients and out to servers that no one here wrote, octet for octet; and what is refused or returned.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use postroad_tests::client::{Smtplib, read_report, smtp_source, swaks};
use postroad_tests::folder::files;
use postroad_tests::nameserver::{Kind, NOMX, NameServer, SENDER, SMALL};
use postroad_tests::postroad::{Config, NAME, Postroad};
use postroad_tests::sink::{Received, Sink, SmtpSink};
use postroad_tests::wait;
use postroad_tests::world::{ADDRESSES, FROM, World};
use std::net::IpAddr;

/// Sends, expects 250, and gives what arrives first.
fn relayed(world: &World, to: &[&str], content: &[u8]) -> Received {
    let _ = world.accepted(to, content);
    world.sink.wait_for(1).swap_remove(0)
}

/// What was sent is what arrives, behind exactly one trace field of ours (RFC 5321 §4.4).
fn check_content(arrived: &Received, sent: &[u8]) {
    let trace = arrived.content.strip_suffix(sent).unwrap_or_else(|| {
        panic!(
            "sent {:?}, arrived {:?}",
            String::from_utf8_lossy(sent),
            String::from_utf8_lossy(&arrived.content)
        )
    });
    let trace = String::from_utf8(trace.to_vec()).unwrap();
    assert!(trace.starts_with("Received: from client.example") && trace.ends_with("\r\n"), "{trace}");
    assert!(trace.contains(&format!("by {NAME}")) && trace.contains("127.0.0.1"), "{trace}");
    let fields = trace.lines().filter(|line| !line.starts_with([' ', '\t'])).count();
    assert_eq!(fields, 1, "{trace}");
}

#[test]
fn content_passes_octet_for_octet() {
    let mut long = b"Subject: long\r\n\r\n".to_vec();
    long.extend(std::iter::repeat_n(b'x', 998));
    long.extend(b"\r\n");
    let mut large = b"Subject: large\r\n\r\n".to_vec();
    for number in 0..100_000 {
        large.extend(format!(".{number} of a message that does not fit in memory's share\r\n").bytes());
    }
    let cases: [&[u8]; 9] = [
        b"Subject: plain\r\n\r\nBody.\r\n",
        b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n\r\n.\r\n",
        b"Subject: no body\r\n\r\n",
        b"Subject: folded\r\n\tand\r\n more\r\nX-Odd:\r\n\r\n",
        b"no header at all\r\n",
        b"\r\nan empty header\r\n",
        b"Subject: trailing blanks \r\n\r\nx \t\r\n \r\n\r\n\r\n",
        &long,
        &large,
    ];
    let world = World::start();
    for (number, content) in cases.into_iter().enumerate() {
        let _ = world.accepted(&["r@small.example"], content);
        let arrived = &world.sink.wait_for(number + 1)[number];
        check_content(arrived, content);
        assert_eq!((arrived.local, arrived.from.as_str()), (SMALL.into(), FROM));
        assert_eq!(arrived.hello, NAME);
    }
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), cases.len());
}

#[test]
fn eight_bit_content_passes_where_it_is_offered() {
    let content =
        "Subject: eight\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße, \u{1f4ee}\r\n".as_bytes();
    let raw = b"Subject: raw\r\n\r\n\x80\xff\xfe\xa0\r\n";
    let world = World::start();
    for (number, content) in [content, raw].into_iter().enumerate() {
        let _ = world.client().option("BODY=8BITMIME").accepted(&["r@small.example"], content);
        let arrived = &world.sink.wait_for(number + 1)[number];
        check_content(arrived, content);
        assert!(arrived.from_options.iter().any(|option| option == "BODY=8BITMIME"), "{arrived:?}");
    }
}

/// With 8BITMIME `hidden` at some hosts or at all, content with 8-bit octets comes back to its sender.
fn check_eight_bit_returned(hidden: &str) {
    let content = "Subject: eight\r\n\r\nGr\u{fc}\u{df}e\r\n".as_bytes();
    let world = World::with(&["--hide", hidden], &Config::default());
    let _ = world.client().option("BODY=8BITMIME").accepted(&["r@small.example"], content);
    check_returned(&world.sink.wait_for(1)[0], "r@small.example", "5.6.3");
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
}

/// A host that does not offer 8BITMIME gets nothing with 8-bit octets (RFC 6152 §3), and the sender hears.
#[test]
fn eight_bit_content_is_returned_where_it_is_not_offered() {
    check_eight_bit_returned(&format!("8BITMIME@{SMALL}"));
}

/// The notification of that returns the header section alone, in 7 bits: the sender's own host may be as old as the other.
#[test]
fn a_notification_of_eight_bit_content_reaches_a_seven_bit_host() {
    check_eight_bit_returned("8BITMIME");
}

#[test]
fn recipients_of_one_host_share_a_transaction() {
    let world = World::start();
    let arrived = relayed(
        &world,
        &["a@small.example", "b@small.example", "c@small.example"],
        b"Subject: three\r\n\r\n",
    );
    let mut to = arrived.to;
    to.sort();
    assert_eq!(to, ["a@small.example", "b@small.example", "c@small.example"]);
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 1);
}

#[test]
fn recipients_of_several_domains_each_get_it_once() {
    let world = World::start();
    let _ = world.accepted(&["a@small.example", "b@nomx.example", "c@sender.example"], b"Subject: x\r\n\r\n");
    world.postroad.wait_drained(wait::PATIENCE);
    let mut arrived: Vec<_> = world.sink.received().iter().map(|one| (one.local, one.to.join(" "))).collect();
    arrived.sort();
    let expected = [(SMALL, "a@small.example"), (SENDER, "c@sender.example"), (NOMX, "b@nomx.example")];
    assert_eq!(arrived, expected.map(|(local, to)| (IpAddr::from(local), to.to_owned())));
}

#[test]
fn swaks_sends_in_clear_and_over_tls() {
    let world = World::start();
    let common = ["--from", FROM, "--to", "r@small.example", "--body", "from swaks"];
    for (number, tls) in [&[][..], &["--tls"]].into_iter().enumerate() {
        let said = swaks(world.postroad.address(), &[&common[..], tls].concat()).unwrap();
        assert_eq!(said.contains("TLS started"), number == 1, "{said}");
        let arrived = &world.sink.wait_for(number + 1)[number];
        assert_eq!(arrived.body(), b"from swaks\r\n\r\n\r\n", "{arrived:?}");
        let with = if number == 1 { "ESMTPS" } else { "ESMTP" };
        let trace = arrived.header("Received").unwrap();
        assert!(trace.contains(&format!("with {with} ")), "{trace}");
    }
}

#[test]
fn smtplib_sends_over_tls() {
    let world = World::start();
    let content = b"Subject: tls\r\n\r\n.\r\nx\r\n";
    let sent = world.client().tls().send(&["r@small.example"], content);
    assert_eq!((&sent["starttls"]["code"], &sent["data"]["code"]), (&220.into(), &250.into()), "{sent}");
    check_content(&world.sink.wait_for(1)[0], content);
}

#[test]
fn mail_goes_out_over_tls_where_it_is_offered() {
    let world = World::around(Sink::start_tls(&ADDRESSES), "", &Config::default());
    assert!(relayed(&world, &["r@small.example"], b"Subject: tls\r\n\r\n").tls);
}

#[test]
fn smtp_source_to_smtp_sink() {
    let dns = NameServer::start(Kind::Unbound);
    let sink = SmtpSink::start(SMALL.into());
    let config = Config { dns: vec![dns.address()], remote_port: sink.port(), ..Config::default() };
    let postroad = Postroad::start(&config);
    // Ten sessions, twenty messages each on one connection, 4 KiB, two recipients.
    smtp_source(
        postroad.address(),
        FROM,
        "r@small.example",
        &["-d", "-s", "10", "-m", "200", "-l", "4096", "-r", "2"],
    );
    postroad.wait_drained(wait::PATIENCE);
    let received = sink.received();
    assert_eq!(received.len(), 200);
    for message in received {
        assert!(message.contains("X-Mail-Args: <s@sender.example>"), "{message}");
        assert_eq!(message.matches("X-Rcpt-Args:").count(), 2, "{message}");
    }
}

/// A notification of failure from `<>` to the sender, well-formed, with that status for that recipient.
fn check_returned(notice: &Received, recipient: &str, status: &str) {
    assert_eq!(
        (notice.local, notice.from.as_str(), notice.to.as_slice()),
        (SENDER.into(), "", &[FROM.to_owned()][..])
    );
    let report = read_report(&notice.content);
    assert!(report["message"]["reporting-mta"].as_str().unwrap().contains(NAME), "{report}");
    let about = &report["recipients"][0];
    assert!(about["final-recipient"].as_str().unwrap().contains(recipient), "{report}");
    assert_eq!((&about["action"], &about["status"]), (&"failed".into(), &status.into()), "{report}");
    assert!(report["text"].as_str().unwrap().contains(recipient), "{report}");
    assert!(report["to"].as_str().unwrap().contains(FROM), "{report}");
}

#[test]
fn permanent_verdicts_are_returned_to_the_sender() {
    for (recipient, status) in
        [("r@missing.example", "5.1.2"), ("r@nullmx.example", "5.1.10"), ("no@small.example", "5.1.1")]
    {
        let world =
            World::with(&["--rcpt-reply", "no@small.example=550 5.1.1 No such user"], &Config::default());
        let notice = relayed(&world, &[recipient], b"Subject: gone\r\nX-Mark: 17\r\n\r\nx\r\n");
        check_returned(&notice, recipient, status);
        let report = read_report(&notice.content);
        assert!(report["returned_text"].as_str().unwrap().contains("X-Mark: 17"), "{report}");
        world.postroad.wait_drained(wait::PATIENCE);
        assert_eq!(world.sink.count(), 1);
        if recipient.starts_with("no@") {
            let diagnostic = report["recipients"][0]["diagnostic-code"].as_str().unwrap();
            assert!(diagnostic.contains("550 5.1.1 No such user"), "{diagnostic}");
        }
    }
}

#[test]
fn a_refused_recipient_does_not_take_the_others_with_it() {
    let world = World::with(&["--rcpt-reply", "no@small.example=550 5.1.1 No such user"], &Config::default());
    let _ =
        world.accepted(&["a@small.example", "no@small.example", "b@small.example"], b"Subject: x\r\n\r\n");
    world.postroad.wait_drained(wait::PATIENCE);
    let received = world.sink.received();
    let (notices, mail): (Vec<_>, Vec<_>) = received.iter().partition(|one| one.from.is_empty());
    assert_eq!(mail.len(), 1, "{received:?}");
    assert_eq!(mail[0].to, ["a@small.example", "b@small.example"]);
    assert_eq!(notices.len(), 1, "{received:?}");
    check_returned(notices[0], "no@small.example", "5.1.1");
}

#[test]
fn a_temporary_refusal_waits() {
    let world = World::with(&["--rcpt-reply", "later@small.example=451 4.2.1 Later"], &Config::default());
    let _ = world.accepted(&["later@small.example", "a@small.example"], b"Subject: x\r\n\r\n");
    let row = world.postroad.wait_deferred("later@small.example");
    assert!(row["cause"].as_str().unwrap().contains("451 4.2.1 Later"), "{row}");
    wait::until("three tries", || {
        world.postroad.wait_deferred("later@small.example")["attempts"].as_u64() >= Some(3)
    });
    assert_eq!(
        world.sink.received().iter().map(|one| one.to.join(" ")).collect::<Vec<_>>(),
        ["a@small.example"]
    );
}

#[test]
fn a_notification_that_cannot_be_delivered_is_not_returned() {
    let world = World::start();
    let lost = Smtplib::new(world.postroad.address(), "");
    let _ = lost.accepted(&["r@missing.example"], b"Subject: from nobody\r\n\r\n");
    world.postroad.wait_drained(wait::PATIENCE);
    assert_eq!(world.sink.count(), 0);
    let kept = std::fs::read_dir(world.postroad.data().join("Badmail")).unwrap().count();
    assert!(kept > 0, "nothing is lost silently: Badmail has it");
}

#[test]
fn mail_to_the_local_domain_goes_to_the_drop_folder() {
    let world = World::start();
    let content = b"Subject: local\r\n\r\n.\r\nx\r\n";
    let drop = world.postroad.data().join("Drop");
    let local = format!("someone@{NAME}");
    for (number, to) in ["postmaster", &format!("postmaster@{NAME}"), &local].into_iter().enumerate() {
        let sent = world.client().send(&[to], content);
        assert_eq!(sent["data"]["code"], 250, "{to}: {sent}");
        wait::until("a file", || files(&drop, "eml").len() == number + 1);
    }
    world.postroad.wait_drained(wait::PATIENCE);
    for file in files(&drop, "eml") {
        let text = std::fs::read(file).unwrap();
        let head = String::from_utf8_lossy(&text).into_owned();
        assert!(head.to_lowercase().starts_with("x-sender: s@sender.example\r\nx-receiver: "), "{head}");
        assert!(text.ends_with(content), "{head}");
    }
    assert_eq!(world.sink.count(), 0);
}

#[test]
fn relaying_is_for_those_who_may() {
    let config = Config { server: "RelayIpList = [\"192.0.2.0/24\"]".to_owned(), ..Config::default() };
    let world = World::with(&[], &config);
    let sent =
        world.client().send(&["r@small.example", &format!("postmaster@{NAME}")], b"Subject: x\r\n\r\n");
    assert_eq!(sent["rcpt"][0]["code"], 550, "{sent}");
    assert!(sent["rcpt"][0]["text"].as_str().unwrap().starts_with("5.7.1 "), "{sent}");
    assert_eq!((&sent["rcpt"][1]["code"], &sent["data"]["code"]), (&250.into(), &250.into()), "{sent}");
    let refused = swaks(world.postroad.address(), &["--from", FROM, "--to", "r@small.example"]).unwrap_err();
    assert!(refused.contains("550 5.7.1"), "{refused}");
    wait::until("the postmaster's file", || files(&world.postroad.data().join("Drop"), "eml").len() == 1);
    assert_eq!(world.sink.count(), 0);
}
