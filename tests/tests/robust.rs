//! What must not hurt: garbage from the network, a wrong configuration, nothing to do.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a test fails; the figures are worth reading"
)]

use postroad_tests::load::{Session, content};
use postroad_tests::ports::Port;
use postroad_tests::postroad::{Config, Postroad, program};
use postroad_tests::proc::Process;
use postroad_tests::wait;
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

const GARBAGE: usize = 100_000_000;
const CONNECTIONS: usize = 200;

fn quiet() -> Postroad {
    Postroad::start(&Config::default())
}

#[test]
fn idle_memory_is_small() {
    let mut postroad = quiet();
    let kib = postroad.memory_kib();
    println!("idle: RssAnon {kib} KiB");
    assert!(kib < 20 * 1024, "{kib} KiB");
}

#[test]
fn garbage_leaves_nothing_in_memory() {
    let mut postroad = quiet();
    let address = postroad.address();
    accept_one(&postroad, 1);
    let before = postroad.memory_kib();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|seed| std::thread::spawn(move || throw(address, seed as u64 + 1, GARBAGE / CONNECTIONS)))
        .collect();
    let mut highest = before;
    while !clients.iter().all(|client| client.is_finished()) {
        highest = highest.max(postroad.memory_kib());
        std::thread::sleep(Duration::from_millis(50));
    }
    let connections: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    println!(
        "{GARBAGE} octets over {connections} connections; RssAnon before {before} KiB, highest {highest} KiB"
    );
    wait::until(&format!("RssAnon back at {before} KiB and 2 MiB at most"), || {
        postroad.memory_kib() <= before + 2048
    });
    println!("after: {} KiB", postroad.memory_kib());
    // And it still works.
    accept_one(&postroad, 2);
}

/// A supervisor that has stopped, or a pager that waits at its first page, holds a pipe and does not read it.
#[test]
fn a_stderr_that_nobody_reads_holds_up_no_mail() {
    const MESSAGES: usize = 60;
    let mut postroad = Postroad::prepare(&Config::default(), &[]);
    let pipe = postroad.dir().join("postroad.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // For reading and writing, so that it is open from the start and stays so.
    let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
    postroad.restart();
    // A test that fails reads the log, and would wait for the pipe's end.
    std::fs::remove_file(&pipe).unwrap();
    let mut session = Session::open(postroad.address()).unwrap();
    for number in 0..MESSAGES {
        session.command("MAIL FROM:<s@sender.example>", "250").unwrap();
        for recipient in 0..100 {
            let recipient = format!("recipient-{recipient}-of-{number}@mail.test.example");
            session.command(&format!("RCPT TO:<{recipient}>"), "250").unwrap();
        }
        session.data(&content(&number.to_string(), 1000), "250").unwrap();
    }
    postroad.wait_drained(wait::PATIENCE);
    let copies = std::fs::read_dir(postroad.data().join("Drop")).unwrap().count();
    assert_eq!(copies, MESSAGES);
    // Read again, it tells what is missing, and goes on.
    let lines = std::thread::spawn(move || {
        let mut lines = Vec::new();
        let mut octets = [0; 65536];
        while !(lines.ends_with(b"\n") && String::from_utf8_lossy(&lines).contains("Postroad stopped")) {
            let count = reader.read(&mut octets).unwrap();
            lines.extend_from_slice(&octets[..count]);
        }
        String::from_utf8(lines).unwrap()
    });
    accept_one(&postroad, MESSAGES + 1);
    postroad.stop();
    let lines = lines.join().unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told =
        lines.iter().filter(|line| line["log"] == "accepted" || line["log"] == "delivered").count() as u64;
    let missing: Vec<u64> = lines.iter().filter_map(|line| line["lines"].as_u64()).collect();
    println!("{told} lines about recipients, missing: {missing:?}");
    let all = 2 * (MESSAGES as u64 * 100 + 1);
    assert!(told < all, "the pipe took all");
    assert!(told + missing.iter().sum::<u64>() >= all, "{told} are told, and {missing:?} counted");
}

fn accept_one(postroad: &Postroad, number: usize) {
    let recipient = "postmaster@mail.test.example";
    let mut session = Session::open(postroad.address()).unwrap();
    session.message("s@sender.example", recipient, &content(&number.to_string(), 1000)).unwrap();
    let drop = postroad.data().join("Drop");
    wait::until("it is in the Drop folder", || {
        std::fs::read_dir(&drop).is_ok_and(|files| files.count() >= number)
    });
}

/// Sends `octets` of garbage, over a new connection whenever the server has had enough; gives how many it took. Every other client
/// first gets as far as DATA, where a server must take what comes.
fn throw(address: SocketAddr, seed: u64, octets: usize) -> usize {
    let mut garbage = Garbage { state: seed };
    let mut left = octets;
    let mut connections = 0;
    let end = Instant::now() + THROW_WITHIN;
    while left > 0 {
        assert!(Instant::now() < end, "{left} octets of garbage {seed} are left");
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        connections += 1;
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        if seed.is_multiple_of(2) && stream.write_all(TO_DATA).is_err() {
            continue;
        }
        let mut replies = [0; 4096];
        while left > 0 {
            let chunk = garbage.chunk();
            if stream.write_all(&chunk).is_err() {
                break;
            }
            left = left.saturating_sub(chunk.len());
            match stream.read(&mut replies) {
                Ok(0) => break,
                Ok(_) => {}
                Err(fault) if matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
    }
    connections
}

/// For all of one client's garbage, on a loaded machine.
const THROW_WITHIN: Duration = Duration::from_secs(240);

/// A stream that is the same for the same seed (xorshift64): octets of any kind, lines, and pieces of SMTP in any order.
struct Garbage {
    state: u64,
}

impl Garbage {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn chunk(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        match self.next() % 4 {
            0 => (0..1024).for_each(|_| octets.extend(self.next().to_le_bytes())),
            1 => {
                for _ in 0..64 {
                    let length = self.next() % 200;
                    octets.extend((0..length).map(|_| b' ' + (self.next() % 95) as u8));
                    octets.extend(b"\r\n");
                }
            }
            2 => {
                for _ in 0..64 {
                    octets.extend(PIECES[(self.next() % PIECES.len() as u64) as usize]);
                }
            }
            _ => octets.resize(8192, self.next() as u8),
        }
        octets
    }
}

/// Sent at once (RFC 2920): a server that offers PIPELINING answers each in turn.
const TO_DATA: &[u8] =
    b"EHLO x.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<postmaster@mail.test.example>\r\nDATA\r\n";

const PIECES: [&[u8]; 18] = [
    b"EHLO x.example\r\n",
    b"HELO ",
    b"MAIL FROM:<a@x.example>\r\n",
    b"MAIL FROM:<>\r\n",
    b"MAIL FROM:<\xff@\xfe> SIZE=99999999999999999999\r\n",
    b"RCPT TO:<postmaster>\r\n",
    b"RCPT TO:<@a,@b:c@d.example>\r\n",
    b"RCPT TO:<r@small.example> NOTIFY=NEVER,SUCCESS\r\n",
    b"DATA\r\n",
    b"BDAT 18446744073709551615 LAST\r\n",
    b"RSET\r\n",
    b"VRFY \0\r\n",
    b"NOOP\n",
    b"AUTH PLAIN =\r\n",
    b"\r\n..\r\n",
    b"\n.\n",
    b"\r",
    b"Subject: x\r\n",
];

/// The store makes such a copy where it finds that the disk has lost what was synced (`spool/tests/damage.rs`).
#[test]
fn what_the_disk_has_lost_is_told_at_each_start() {
    let mut postroad = quiet();
    let told = |postroad: &Postroad| {
        let events = postroad.json(&["events", "list"]);
        events.into_iter().filter(|event| event["number"] == 20021).collect::<Vec<_>>()
    };
    assert!(told(&postroad).is_empty());
    let copy = postroad.data().join("spool/spool.intake.damaged-7");
    std::fs::write(&copy, "what was found").unwrap();
    for starts in 1..3 {
        postroad.stop();
        postroad.restart();
        let told = told(&postroad);
        assert_eq!(told.len(), starts, "{told:?}");
        assert_eq!(told[0]["fields"]["file"], copy.display().to_string(), "{told:?}");
    }
    std::fs::remove_file(copy).unwrap();
    postroad.stop();
    postroad.restart();
    assert_eq!(told(&postroad).len(), 2);
}

/// Mail does not depend on the log of events, but that there is none is told, to programs as well.
#[test]
fn an_event_log_that_cannot_be_used_is_told() {
    let mut postroad = quiet();
    postroad.stop();
    let events = postroad.data().join("events.db");
    std::fs::write(&events, "no database".repeat(1000)).unwrap();
    postroad.restart();
    accept_one(&postroad, 1);
    let told = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["log"] == "note" && line["text"].as_str()?.contains("events.db")).then_some(())
    };
    wait::until("it is told", || postroad.log().lines().any(|line| told(line).is_some()));
}

/// A configuration that cannot be: exit status 2, the place in the file, nothing listens and nothing is made.
#[test]
fn a_wrong_configuration_is_refused_by_line() {
    let port = Port::free();
    let good = format!("ServerBindings = [\"{}:\"]", port.local());
    let check = |name: &str, text: &str, line: usize| {
        let dir = tempfile::tempdir().unwrap();
        let (data, config) = (dir.path().join("data"), dir.path().join("wrong.toml"));
        std::fs::write(&config, text).unwrap();
        let (data_arg, config_arg) = (data.display().to_string(), config.display().to_string());
        let args = ["--data", &data_arg, "serve", "--config", &config_arg];
        let mut process = Process::start("postroad", dir.path(), &program(), &args);
        let status = process.wait_end(wait::PATIENCE);
        let said = process.said();
        assert_eq!(status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(&format!("wrong.toml:{line}")), "{name}: {said}");
        assert!(!data.exists(), "{name}: the data folder was made");
        assert!(TcpStream::connect(port.local()).is_err(), "{name}: something listens");
    };
    let server = format!("[\"/LM/SmtpSvc/1\"]\n{good}\n");
    check("not TOML", &format!("{server}RelayIpList = [\n"), 3);
    check("an unknown property", &format!("{server}SmartHots = \"x.example\"\n"), 3);
    check("another type", &format!("{server}MaxRecipients = \"many\"\n"), 3);
    check("out of bounds", &format!("{server}\n\nMaxRecipients = 0\n"), 5);
    check("an unknown key", &format!("{server}[\"/LM/W3Svc\"]\nMaxRecipients = 1\n"), 3);
    check("no address", "[\"/LM/SmtpSvc/1\"]\nServerBindings = [\"127.0.0.300:25:\"]\n", 2);
    check("a policy that is none", &format!("[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = 3\n{server}"), 2);
    check("a network that is none", &format!("{server}RelayIpList = [\"127.0.0.0/33\"]\n"), 3);
}
