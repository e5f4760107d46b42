//! What clients of the service meet.

use crate::host::greeting;
use crate::service::{configure, fresh, set};
use postroad_tests::load::Session;
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad};
use postroad_tests::wait;
use std::net::TcpListener;

/// The reply begins with `before`; as soon as the property is set, with `after`.
fn reply_before_and_after(
    postroad: &Postroad,
    (name, value): (&str, &str),
    ask: impl Fn() -> String,
    (before, after): (&str, &str),
) {
    let said = ask();
    assert!(said.starts_with(before), "{before:?} by default, not {said:?}");
    set(postroad, name, &[value]);
    let said = ask();
    assert!(said.starts_with(after), "{after:?} with {name} {value}, not {said:?}");
}

/// The reply to the last of the commands.
fn reply(postroad: &Postroad, commands: &[&str]) -> String {
    let mut session = Session::open(postroad.address()).unwrap();
    let mut said = String::new();
    for command in commands {
        said = session.command(command, "").unwrap();
    }
    said
}

pub(crate) fn server_bindings() {
    // Someone has the default's address: by name it is said that it cannot be had.
    let _holder = TcpListener::bind("127.0.0.1:2525");
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    configure(&postroad, &[]);
    let (status, said) = postroad.fail_to_start();
    assert!(status == Some(69) && said.contains("127.0.0.1:2525 cannot be bound"), "{said}");
    set(&postroad, "ServerBindings", &[&format!("{}:", postroad.address())]);
    postroad.restart();
    // And the service moves while it runs.
    let other = Port::free();
    set(&postroad, "ServerBindings", &[&format!("{}:", other.local())]);
    let (said, _) = greeting(other.local());
    assert!(said.starts_with("220 "), "{said}");
    wait::until("it listens there no longer", || Session::open(postroad.address()).is_err());
}

pub(crate) fn fully_qualified_domain_name() {
    let postroad = fresh();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    reply_before_and_after(
        &postroad,
        ("FullyQualifiedDomainName", "other.example"),
        || greeting(postroad.address()).0,
        (&format!("220 {} ", machine.trim()), "220 other.example "),
    );
    assert!(reply(&postroad, &["EHLO client.example"]).starts_with("250-other.example"));
}

pub(crate) fn default_domain() {
    let postroad = fresh();
    // Of others nothing but mail for the local domain is taken.
    set(&postroad, "RelayIpList", &["192.0.2.0/24"]);
    set(&postroad, "FullyQualifiedDomainName", &["mail.office.example"]);
    let rcpt = |to: &str| reply(&postroad, &["MAIL FROM:<>", &format!("RCPT TO:<{to}>")]);
    assert!(rcpt("a@mail.office.example").starts_with("250 "), "the default is the server's name");
    reply_before_and_after(
        &postroad,
        ("DefaultDomain", "office.example"),
        || rcpt("a@office.example"),
        ("550 5.7.1 ", "250 "),
    );
}

pub(crate) fn relay_ip_list() {
    let postroad = fresh();
    reply_before_and_after(
        &postroad,
        ("RelayIpList", "192.0.2.0/24"),
        || reply(&postroad, &["MAIL FROM:<>", "RCPT TO:<r@small.example>"]),
        ("250 ", "550 5.7.1 "),
    );
}

pub(crate) fn max_message_size() {
    let postroad = fresh();
    let size = || {
        let said = reply(&postroad, &["EHLO client.example"]);
        said.lines()
            .find_map(|line| line.get(4..).filter(|word| word.starts_with("SIZE")))
            .unwrap()
            .to_owned()
    };
    reply_before_and_after(&postroad, ("MaxMessageSize", "10000"), size, ("SIZE 36700160", "SIZE 10000"));
    let mail = "MAIL FROM:<> SIZE=10001";
    reply_before_and_after(
        &postroad,
        ("MaxMessageSize", "10001"),
        || reply(&postroad, &[mail]),
        ("552 5.3.4 ", "250 "),
    );
}

pub(crate) fn max_session_size() {
    let postroad = fresh();
    // Two messages of 600 octets: the second is one too many for the session, and goes in the next.
    set(&postroad, "MaxMessageSize", &["1000"]);
    let replies = || {
        let mut session = Session::open(postroad.address()).unwrap();
        let content = format!("{}\r\n", "x".repeat(58)).repeat(10);
        session.message("", "r@small.example", content.as_bytes()).unwrap();
        session.command("MAIL FROM:<> SIZE=600", "").unwrap()
    };
    let said = replies();
    assert!(said.starts_with("250 "), "no limit by default: {said}");
    set(&postroad, "MaxSessionSize", &["1000"]);
    for _ in 0..2 {
        let said = replies();
        assert!(said.starts_with("421 4.3.2 "), "{said}");
    }
}

pub(crate) fn max_recipients() {
    let postroad = fresh();
    let taken = || {
        let mut session = Session::open(postroad.address()).unwrap();
        session.command("MAIL FROM:<>", "250").unwrap();
        let rcpt = |number: usize| format!("RCPT TO:<r{number}@small.example>");
        let taken = (0..200).take_while(|&number| session.command(&rcpt(number), "250").is_ok()).count();
        session.command(&rcpt(taken), "452 4.5.3 ").unwrap();
        taken
    };
    assert_eq!(taken(), 100);
    set(&postroad, "MaxRecipients", &["2"]);
    assert_eq!(taken(), 2);
}

pub(crate) fn max_connections() {
    let postroad = fresh();
    let mut open: Vec<_> = (0..3).map(|_| Session::open(postroad.address()).unwrap()).collect();
    set(&postroad, "MaxConnections", &["3"]);
    let said = greeting(postroad.address()).0;
    assert!(said.starts_with("421 4.3.2 "), "{said}");
    // Who is there stays; who comes when one has gone is let in.
    open.pop().unwrap().command("QUIT", "221").unwrap();
    wait::until("there is room", || greeting(postroad.address()).0.starts_with("220 "));
    open[0].command("NOOP", "250").unwrap();
}

pub(crate) fn connection_timeout() {
    let (postroad, patient) = (fresh(), fresh());
    let mut stays = Session::open(patient.address()).unwrap();
    set(&postroad, "ConnectionTimeout", &["1"]);
    let mut goes = Session::open(postroad.address()).unwrap();
    let said = goes.reply("421 4.4.2 ");
    assert!(said.is_ok(), "{said:?}");
    stays.command("NOOP", "250").unwrap();
}

pub(crate) fn hop_count() {
    let postroad = fresh();
    let hops = |count: usize| {
        let mut session = Session::open(postroad.address()).unwrap();
        session.command("MAIL FROM:<>", "250").unwrap();
        session.command("RCPT TO:<r@small.example>", "250").unwrap();
        let content = "Received: from a.example by b.example\r\n".repeat(count) + "Subject: x\r\n\r\n";
        session.data(content.as_bytes(), "").unwrap()
    };
    assert!(hops(101).starts_with("554 5.4.6 "), "{}", hops(101));
    reply_before_and_after(&postroad, ("HopCount", "10"), || hops(11), ("250 ", "554 5.4.6 "));
}
