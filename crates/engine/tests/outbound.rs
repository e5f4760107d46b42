//! Attempts against hosts that are written down: see `remote` for how.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod remote;

use postroad_metabase::settings::Settings;
use remote::{Line, TRACE, play, settings};

const ONE: &str = "- hosts mx1 10 192.0.2.1";
const TWO: &str = "- hosts mx1 10 192.0.2.1, mx2 20 192.0.2.2";

fn check(job: &str, script: &str) -> Line {
    check_at(settings(), "mx:example.org", job, &format!("resolve next hop of example.org\n{script}"))
}

fn check_at(settings: Settings, hop: &str, job: &str, script: &str) -> Line {
    let (line, told, expected) = play(settings, hop, job, script);
    assert!(told == expected, "\n{}\n\nwas expected to be\n\n{}\n", told.join("\n"), expected.join("\n"));
    line
}

#[test]
fn a_message_goes_to_the_first_host() {
    let line = check(
        "1 x2",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT RCPT DATA
             - S: 250 Ok|250 Ok|550 5.1.1 No|354 go on
             C: message.
             - takes
             report 1 at mx1.example: taken 250 2.0.0 Ok, failed 5.1.1
             want
             - rest
             - wait 5s
             C: QUIT
             - S: 221 Bye
             disconnect
             ended"
        ),
    );
    assert!(line.wire.contains(&format!("{TRACE}Subject: x\r\n\r\n..hello\r\n.\r\n")), "{}", line.wire);
}

#[test]
fn a_host_that_cannot_be_used_is_followed_by_the_next() {
    let by = |fault: &str| {
        let reached = if fault.contains("reached") { "" } else { "reached" };
        check(
            "1",
            &format!(
                "{TWO}
                 connect 192.0.2.1:25
                 {fault}
                 connect 192.0.2.2:25
                 - talks
                 {reached}
                 C: MAIL
                 - takes
                 C: RCPT
                 C: DATA
                 C: message.
                 report 1 at mx2.example: taken 250 2.0.0 Ok
                 want"
            ),
        );
    };
    by("- refused");
    by("- wait 30s\ndisconnect");
    by("- connected\n- S: 421 busy\nC: QUIT\ndisconnect");
    by("- connected\n- S: 450 busy\nC: QUIT\ndisconnect");
    by("- connected\n- S: 554 go away\nC: QUIT\ndisconnect");
    by("- connected\n- closed\ndisconnect");
    by("- connected\n- wait 300s\ndisconnect");
    by("- connected\n- S: 220 x\nC: EHLO\n- S: 500 what\nC: HELO\n- S: 500 what\nC: QUIT\ndisconnect");
    by("- talks\nreached\nC: MAIL\n- S: 421 going down\ndisconnect");
    by("- talks\nreached\nC: MAIL\n- closed\ndisconnect");
}

#[test]
fn a_hop_none_of_whose_hosts_can_be_used_has_failed() {
    check(
        "1",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - refused
             connect 192.0.2.2:25
             - connected
             - S: 554 go away
             C: QUIT
             disconnect
             ended Host: mx2.example [192.0.2.2]:25: the host's greeting: 554 go away"
        ),
    );
    check("1", "- nodns\nended Dns: as it was told");
    check("1", "- baddata\nended Host: as it was told");
    let smart = |script: &str| {
        let script = format!("resolve addresses of relay.example\n{script}");
        check_at(settings(), "smart:relay.example:2525", "1", &script);
    };
    smart(
        "- hosts relay 0 192.0.2.9\nconnect 192.0.2.9:2525\n- refused\nended Host: relay.example [192.0.2.9]:2525: connection refused",
    );
    // A smart host that does not exist is our own mistake: no recipient is returned on account of it.
    smart("- nxdomain\nended Host: addresses of relay.example: the domain does not exist");
}

#[test]
fn an_address_literal_is_its_own_host() {
    let talk = "connect 192.0.2.7:25\n- refused\nended Host: [192.0.2.7]:25: connection refused";
    check_at(settings(), "ip:192.0.2.7", "1", talk);
    let refused = "ended Host: 127.0.0.1 is in a network of NextHopRefused, to which no mail goes";
    let fresh = Settings::fresh(std::path::Path::new("/data"), "mail.example");
    check_at(fresh, "ip:127.0.0.1", "1", refused);
}

#[test]
fn a_permanent_verdict_is_for_every_job() {
    let by = |verdict: &str, status: &str| {
        check(
            "1 x2",
            &format!(
                "- {verdict}
                 reached
                 report 1 at : failed {status}, failed {status}
                 want
                 - job 2
                 report 2 at : failed {status}
                 want
                 - wait 61s
                 - job 3
                 ended"
            ),
        );
    };
    by("nxdomain", "5.1.2");
    by("nullmx", "5.1.10");
    by("nohost", "5.4.4");
    by("loops", "5.4.6");
    check("1", "- nxdomain\nreached\nreport 1 at : failed 5.1.2\nwant\n- rest\nended");
}

#[test]
fn a_handshake_that_fails_is_followed_by_one_try_in_clear() {
    check(
        "1",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks STARTTLS
             C: STARTTLS
             - S: 220 go on
             starttls mx1.example
             - tls failed
             disconnect
             connect 192.0.2.1:25
             - talks STARTTLS
             reached
             C: MAIL
             - takes
             C: RCPT
             C: DATA
             C: message.
             report 1 at mx1.example: taken 250 2.0.0 Ok
             want"
        ),
    );
    // Never where TLS is demanded; nor does a host without it do.
    let demanding = || Settings { tls_required: true, ..settings() };
    let script = format!(
        "resolve next hop of example.org
         {TWO}
         connect 192.0.2.1:25
         - talks STARTTLS
         C: STARTTLS
         - S: 220 go on
         starttls mx1.example
         - tls failed
         disconnect
         connect 192.0.2.2:25
         - talks
         disconnect
         ended Host: mx2.example [192.0.2.2]:25: TLS is demanded and the host does not offer STARTTLS"
    );
    check_at(demanding(), "mx:example.org", "1", &script);
    let line = check_at(
        demanding(),
        "mx:example.org",
        "1",
        &format!(
            "resolve next hop of example.org
             {ONE}
             connect 192.0.2.1:25
             - talks STARTTLS
             C: STARTTLS
             - S: 220 go on
             starttls mx1.example
             - tls
             C: EHLO
             - S: 250 host.example
             reached
             C: MAIL"
        ),
    );
    assert!(line.wire.contains("MAIL FROM:<s@x.example>"));
}

#[test]
fn eight_bits_need_a_host_that_takes_them() {
    check(
        "1 8bit",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks
             reached
             disconnect
             connect 192.0.2.2:25
             - talks 8BITMIME
             C: MAIL
             - takes
             C: RCPT
             C: DATA
             C: message.
             report 1 at mx2.example: taken 250 2.0.0 Ok
             want"
        ),
    );
    check(
        "1 8bit",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks
             reached
             disconnect
             report 1 at mx1.example: failed 5.6.3
             ended"
        ),
    );
    // A host that was not reached may take them: the message waits, and the hop, which works, does not.
    check(
        "1 8bit",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - refused
             connect 192.0.2.2:25
             - talks
             reached
             disconnect
             report 1 at mx2.example: deferred 4.4.1
             ended"
        ),
    );
}

#[test]
fn what_a_host_lacks_for_one_message_is_no_excuse_for_the_next() {
    check(
        "1 8bit",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks
             reached
             disconnect
             connect 192.0.2.2:25
             - talks 8BITMIME
             C: MAIL
             - takes
             C: RCPT
             C: DATA
             C: message.
             report 1 at mx2.example: taken 250 2.0.0 Ok
             want
             - job 2
             C: MAIL
             - closed
             disconnect
             connect 192.0.2.2:25
             - refused
             ended Host: mx2.example [192.0.2.2]:25: connection refused"
        ),
    );
}

#[test]
fn our_own_name_in_a_greeting_is_a_loop() {
    check(
        "1",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - connected
             - S: 220 mail.example ESMTP
             disconnect
             reached
             report 1 at mx1.example: failed 5.4.6
             ended"
        ),
    );
    // Better hosts exist and cannot be reached.
    check(
        "1",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - refused
             connect 192.0.2.2:25
             - connected
             - S: 220 mail.example ESMTP
             disconnect
             ended Host: mx2.example [192.0.2.2]:25: the host greets with our own name, mail.example"
        ),
    );
}

#[test]
fn hosts_that_are_known_in_part_give_no_verdict_that_is_final() {
    for doubt in ["partial", "stale", "some"] {
        check(
            "1 8bit",
            &format!(
                "- {doubt} hosts mx1 10 192.0.2.1
                 connect 192.0.2.1:25
                 - talks
                 reached
                 disconnect
                 report 1 at mx1.example: deferred 4.4.1
                 ended"
            ),
        );
        check(
            "1",
            &format!(
                "- {doubt} hosts mx1 10 192.0.2.1
                 connect 192.0.2.1:25
                 - connected
                 - S: 220 mail.example ESMTP
                 disconnect
                 ended Host: mx1.example [192.0.2.1]:25: the host greets with our own name, mail.example"
            ),
        );
    }
    // More addresses than are tried.
    let hosts: Vec<String> = (1..=33).map(|n| format!("mx{n} 10 192.0.2.{n}")).collect();
    let tried: String = (1..=32)
        .map(|n| {
            format!("connect 192.0.2.{n}:25\n- talks\n{}disconnect\n", if n == 1 { "reached\n" } else { "" })
        })
        .collect();
    check(
        "1 8bit",
        &format!("- hosts {}\n{tried}report 1 at mx32.example: deferred 4.4.1\nended", hosts.join(", ")),
    );
}

#[test]
fn a_smart_host_that_is_ourselves_returns_nothing() {
    let talk = |resolved: &str, host: &str| {
        format!(
            "{resolved}connect 192.0.2.9:2525
             - connected
             - S: 220 mail.example ESMTP
             disconnect
             ended Host: {host}[192.0.2.9]:2525: the host greets with our own name, mail.example"
        )
    };
    let resolved = "resolve addresses of relay.example\n- hosts relay 0 192.0.2.9\n";
    check_at(settings(), "smart:relay.example:2525", "1", &talk(resolved, "relay.example "));
    check_at(settings(), "smart:[192.0.2.9]:2525", "1", &talk("", ""));
}

#[test]
fn a_connection_that_was_used_may_be_closed() {
    let first = format!(
        "{ONE}
         connect 192.0.2.1:25
         - talks PIPELINING
         reached
         C: MAIL RCPT DATA
         - takes
         C: message.
         report 1 at mx1.example: taken 250 2.0.0 Ok
         want
         - job 2
         C: MAIL RCPT DATA
         - closed
         disconnect
         connect 192.0.2.1:25
         "
    );
    let again = |script: &str| check("1", &format!("{first}{script}"));
    again(
        "- talks PIPELINING
         C: MAIL RCPT DATA
         - takes
         C: message.
         report 2 at mx1.example: taken 250 2.0.0 Ok
         want",
    );
    // Once: a host that closes a new connection too has failed, maybe because of the message.
    let twice = again(
        "- talks PIPELINING
         C: MAIL RCPT DATA
         - closed
         disconnect
         ended Host: mx1.example [192.0.2.1]:25: the host closed the connection",
    );
    assert!(twice.lost_over_job);
    let gone = again("- refused\nended Host: mx1.example [192.0.2.1]:25: connection refused");
    assert!(!gone.lost_over_job);
    // While it rests.
    check(
        "1",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - takes
             C: message.
             report 1 at mx1.example: taken 250 2.0.0 Ok
             want
             - rest
             - closed
             disconnect
             ended"
        ),
    );
}

#[test]
fn what_was_lost_behind_the_dot_waits() {
    check(
        "1 x2",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT RCPT DATA
             - S: 250 Ok|250 Ok|550 5.1.1 No|354 go on
             C: message.
             - closed
             report 1 at mx1.example: deferred 4.4.2, failed 5.1.1
             disconnect
             ended"
        ),
    );
}

#[test]
fn a_message_that_breaks_connections_waits_alone() {
    // A path that swallows large packets, a filter that hangs up: the hop works, and other mail must not wait for this.
    check(
        "1",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - S: 250 Ok|250 Ok
             - wait 121s
             disconnect
             connect 192.0.2.2:25
             - refused
             ended Host: mx2.example [192.0.2.2]:25: connection refused"
        ),
    );
    check(
        "1 stored 100",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - S: 250 Ok|250 Ok|354 go on
             C: message
             read 65536 from 0
             - closed
             disconnect
             connect 192.0.2.2:25
             - refused
             report 1 at mx2.example: deferred 4.4.2
             ended"
        ),
    );
    check(
        "1 stored 100",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - S: 250 Ok|250 Ok|354 go on
             C: message
             read 65536 from 0
             - no content
             disconnect
             report 1 at mx1.example: deferred 4.4.2
             ended"
        ),
    );
}

#[test]
fn what_a_host_decided_before_it_was_lost_holds() {
    // A host that hangs up after so many unknown recipients would never let the message be done.
    check(
        "1 x3",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks
             reached
             C: MAIL
             - S: 250 Ok
             C: RCPT
             - S: 550 5.1.1 No such user
             C: RCPT
             - S: 421 4.7.0 Too many errors
             disconnect
             report 1 at mx1.example: failed 5.1.1, deferred 4.4.2, deferred 4.4.2
             ended"
        ),
    );
    // The next host is asked first.
    check(
        "1 x2",
        &format!(
            "{TWO}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT RCPT DATA
             - S: 250 Ok|450 4.2.1 Later
             - closed
             disconnect
             connect 192.0.2.2:25
             - talks PIPELINING
             C: MAIL RCPT RCPT DATA
             - takes
             C: message.
             report 1 at mx2.example: taken 250 2.0.0 Ok, taken 250 2.0.0 Ok
             want
             - job 2
             C: MAIL RCPT DATA
             - closed
             disconnect
             connect 192.0.2.2:25
             - refused
             ended Host: mx2.example [192.0.2.2]:25: connection refused"
        ),
    );
}

#[test]
fn stored_content_is_read_piece_by_piece() {
    let line = check(
        "1 stored 70000",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - S: 250 Ok|250 Ok|354 go on
             C: message
             read 65536 from 0
             - content 65536
             C: message
             read 65536 from 65536
             - content 4464
             C: message.
             - S: 250 taken
             report 1 at mx1.example: taken 250 taken
             want"
        ),
    );
    assert!(line.wire.ends_with(&format!("{}\r\n.\r\n", "y".repeat(70_000))));
    assert!(line.wire.contains(&format!("DATA\r\n{TRACE}yyy")));
    check(
        "1 stored 0",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks
             reached
             C: MAIL
             - takes
             C: RCPT
             C: DATA
             C: message.
             report 1 at mx1.example: taken 250 2.0.0 Ok
             want"
        ),
    );
    check(
        "1 empty",
        &format!(
            "{ONE}\nconnect 192.0.2.1:25\n- talks\nreached\nC: MAIL\n- takes\nC: RCPT\nC: DATA\nC: message.\nreport 1 at mx1.example: taken 250 2.0.0 Ok\nwant"
        ),
    );
    // It ends early: no dot.
    let line = check(
        "1 stored 70000",
        &format!(
            "{ONE}
             connect 192.0.2.1:25
             - talks PIPELINING
             reached
             C: MAIL RCPT DATA
             - S: 250 Ok|250 Ok|354 go on
             C: message
             read 65536 from 0
             - content 60000
             C: message
             read 65536 from 60000
             - content 0
             disconnect
             report 1 at mx1.example: deferred 4.4.2
             ended"
        ),
    );
    assert!(!line.wire.contains("\r\n.\r\n"));
}

#[test]
fn replies_are_outcomes() {
    let by = |replies: &str, outcome: &str| {
        check(
            "1",
            &format!(
                "{ONE}
                 connect 192.0.2.1:25
                 - talks PIPELINING
                 reached
                 C: MAIL RCPT DATA
                 - S: {replies}
                 report 1 at mx1.example: {outcome}
                 C: RSET
                 - takes
                 want"
            ),
        );
    };
    by("250 Ok|450 4.2.0 Greylisted|503 no", "deferred 4.2.0");
    by("250 Ok|550 no|503 no", "failed 5.0.0");
    by("250 Ok|552 too many|503 no", "deferred 4.0.0");
    by("550 5.7.1 no|503 no|503 no", "failed 5.7.1");
    by("250 Ok|250 Ok|451 4.3.2 later", "deferred 4.3.2");
}

#[test]
fn of_what_hosts_say_at_length_a_part_is_told() {
    let told = |code: u16, script: &str| {
        let lines: String = (0..98).map(|_| format!("{code}-{}|", "x".repeat(500))).collect();
        let said = format!("{lines}{code} {}", "x".repeat(500));
        let script = format!("- hosts mx1 10 192.0.2.1\n{}", script.replace("LONG", &said));
        play(settings(), "mx:example.org", "1", &script).0.longest
    };
    let talks = "- talks\n- S: 250 Ok\n";
    for (code, script) in [
        (554, String::from("- connected\n- S: LONG")),
        (550, format!("{talks}- S: LONG")),
        (450, format!("{talks}- S: LONG")),
        (421, format!("{talks}- S: LONG")),
        (250, format!("{talks}- S: 250 Ok\n- S: 354 go on\n- S: LONG")),
    ] {
        let longest = told(code, &script);
        assert!((900..1100).contains(&longest), "{longest} characters behind {code}");
    }
}

#[test]
fn folders_are_written() {
    let by = |hop: &str| {
        check_at(
            settings(),
            hop,
            "1 x2",
            &format!(
                "write 1
                 - written f1
                 reached
                 report 1 at {hop}: taken f1, taken f1
                 want
                 - job 2
                 write 2
                 - written f2
                 report 2 at {hop}: taken f2
                 want
                 - rest
                 ended"
            ),
        );
        let failed = check_at(settings(), hop, "1", "write 1\n- not written\nended Host: the disk is full");
        assert!(
            failed.lost_over_job,
            "it may be the message, if its content is damaged: another one looks next"
        );
    };
    by("drop:");
    by("badmail:");
}

#[test]
fn an_attempt_ends_when_it_is_told() {
    let done = format!(
        "{ONE}
         connect 192.0.2.1:25
         - talks PIPELINING
         reached
         C: MAIL RCPT DATA
         - takes
         C: message.
         report 1 at mx1.example: taken 250 2.0.0 Ok
         want
         "
    );
    check("1", &format!("{done}- close\nC: QUIT\n- S: 221 Bye\ndisconnect\nended"));
    check("1", &format!("{done}- rest\n- close\nC: QUIT\n- wait 5s\ndisconnect\nended"));
    // A job that comes too late is not tried, and not reported.
    check("1", &format!("{done}- rest\n- wait 5s\nC: QUIT\n- job 2\n- closed\ndisconnect\nended"));
    check("1", &format!("{done}- rest\n- job 2\nC: MAIL RCPT DATA\n- wait 4s"));
}
