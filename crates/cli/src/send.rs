//! `send`: submits a message as sendmail does.

mod message;
mod submit;

use crate::args::{Mailbox, Send};
use crate::ending::{DONE, NO, TRY_LATER, Trouble, UNAVAILABLE};
use crate::screen::{Line, Screen};
use crate::{glue, person};
use message::Fill;
use postroad_mail::address::{Address, ReversePath};
use postroad_mail::domain::{Domain, Host};
use postroad_mail::header;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Reply;
use postroad_mail::time::Wall;
use postroad_smtp::client::{HostFailure, HostFault, RecipientResult};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use submit::{Submission, Transaction};

/// Octets of a message that is read: it is held in memory, and servers that take more are rare.
const MESSAGE_MAX: u64 = 64 * 1024 * 1024;
/// For a TCP connection, to each address of the server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a message is submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: String,
    port: u16,
}

/// Where the service listens on a fresh install.
const USUAL: (&str, u16) = ("127.0.0.1", 2525);

impl FromStr for Server {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "it is no HOST:PORT, such as mail.example.org:25 or [2001:db8::25]:25".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(refused());
        }
        Ok(Self { host: host.to_owned(), port: port.parse().map_err(|_| refused())? })
    }
}

/// Runs the verb.
pub fn run(data: &Path, send: Send, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let host = person::host().ok_or_else(|| Trouble::usage("this machine has no name that mail can use."))?;
    let content = read(send.file.as_deref())?;
    let message = message::with_crlf(&content);
    if header::is_cut(&message) {
        // Recipients behind would get nothing, and a Bcc there would be told to all.
        return Err(Trouble::usage("the header has more than 256 KiB. Send it with a shorter one."));
    }
    let recipients = recipients(&send, &message, &host)?;
    let user = qualified(&Mailbox::from_str(&person::user()).unwrap_or(Mailbox::Null), &host);
    let user =
        user.or_else(|| local("nobody", &host)).ok_or_else(|| Trouble::usage("the user has no address."))?;
    let sender = match send.sender {
        None => ReversePath::Address(user.clone()),
        Some(mailbox) => qualified(&mailbox, &host).map_or(ReversePath::Null, ReversePath::Address),
    };
    let message = if send.from_header { header::without_bcc(&message) } else { message };
    let fill = Fill { from: sender.address().unwrap_or(&user), host: &host, now };
    let message = message::completed(&message, &fill);
    let server = send
        .server
        .or_else(|| glue::binding(data).map(|at| Server { host: at.ip().to_string(), port: at.port() }));
    let server = server.unwrap_or_else(|| Server { host: USUAL.0.to_owned(), port: USUAL.1 });
    let transactions = submit(&server, Submission { sender, recipients, content: &message })?;
    tell(&Report::of(transactions), screen)
}

fn read(file: Option<&Path>) -> Result<Vec<u8>, Trouble> {
    let mut content = Vec::new();
    let read_all =
        |from: &mut dyn Read, content: &mut Vec<u8>| from.take(MESSAGE_MAX + 1).read_to_end(content);
    let read = match file {
        Some(path) => File::open(path).and_then(|mut file| read_all(&mut file, &mut content)),
        None => read_all(&mut io::stdin().lock(), &mut content),
    };
    let name = file.map_or_else(|| "standard input".into(), |path| path.display().to_string());
    match read {
        Err(error) => {
            Err(Trouble::usage(format!("{name} cannot be read: {error}. Name a file that can be.")))
        }
        Ok(len) if len as u64 > MESSAGE_MAX => {
            Err(Trouble::usage(format!("{name} has more than 64 MiB. Send it by other means.")))
        }
        Ok(_) => Ok(content),
    }
}

/// Those of the command line, then those of the header, each once.
fn recipients(send: &Send, message: &[u8], host: &Domain) -> Result<Vec<Address>, Trouble> {
    let mut all = Vec::new();
    for mailbox in &send.recipients {
        let address = qualified(mailbox, host);
        all.push(address.ok_or_else(|| Trouble::usage("<> is no recipient. Name an address."))?);
    }
    if send.from_header {
        let named = header::recipients(message).map_err(|why| {
            Trouble::usage(format!("{why}. Correct the header, or name the recipients on the command line."))
        })?;
        all.extend(named);
    }
    let mut seen = BTreeSet::new();
    all.retain(|address| seen.insert(address.clone()));
    if all.is_empty() {
        let what = "no recipients are named in To, Cc or Bcc. Add one of them, or name the recipients on the command line.";
        return Err(Trouble::usage(what));
    }
    Ok(all)
}

fn qualified(mailbox: &Mailbox, host: &Domain) -> Option<Address> {
    match mailbox {
        Mailbox::Null => None,
        Mailbox::Whole(address) => Some(address.clone()),
        Mailbox::Local(name) => local(name, host),
    }
}

fn local(name: &str, host: &Domain) -> Option<Address> {
    Address::new(name, Host::Domain(host.clone())).ok()
}

/// Connects and submits. The first address of the server that takes a connection is used.
fn submit(server: &Server, submission: Submission<'_>) -> Result<Vec<Transaction>, Trouble> {
    let Server { host, port } = server;
    let nobody = |why: &io::Error| {
        let what = format!(
            "no server takes mail at {host} port {port}: {why}. Start one with `postroad serve`, or name another with --server."
        );
        Trouble::Says(UNAVAILABLE, what)
    };
    let addresses = (host.as_str(), *port).to_socket_addrs().map_err(|error| nobody(&error))?;
    let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                return submit::submit(stream, submission).map_err(|failure| unusable(server, &failure));
            }
            Err(error) => refused = error,
        }
    }
    Err(nobody(&refused))
}

/// A server that could not be talked to.
fn unusable(server: &Server, failure: &HostFailure) -> Trouble {
    let later =
        matches!(failure.kind, HostFault::GreetingDeferred | HostFault::Unavailable | HostFault::Timeout);
    let Server { host, port } = server;
    let (status, remedy) = match later {
        true => (TRY_LATER, "Send it again later."),
        false => (UNAVAILABLE, "Name another server with --server."),
    };
    Trouble::Says(
        status,
        format!("the server at {host} port {port} takes no mail: {}. {remedy}", failure.text),
    )
}

/// What became of a message, for programs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    accepted: Vec<Accepted>,
    refused: Vec<NotAccepted>,
    deferred: Vec<NotAccepted>,
}

/// A message that the server has taken.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Accepted {
    /// Its queue id, if the reply has one.
    id: Option<MessageId>,
    reply: String,
    recipients: Vec<Address>,
}

/// A recipient for whom the server has not taken it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct NotAccepted {
    recipient: Address,
    reply: String,
}

impl Report {
    fn of(transactions: Vec<Transaction>) -> Self {
        let mut report = Self::default();
        for transaction in transactions {
            let mut taken: Option<Accepted> = None;
            for (recipient, result) in transaction {
                let (list, reply) = match result {
                    RecipientResult::Delivered(reply) => {
                        taken.get_or_insert_with(|| Accepted::by(&reply)).recipients.push(recipient);
                        continue;
                    }
                    RecipientResult::Refused { reply, .. } => (&mut report.refused, reply.to_string()),
                    RecipientResult::Deferred { reply, .. } => (&mut report.deferred, reply.to_string()),
                    RecipientResult::Lost(failure) => (&mut report.deferred, failure.text),
                    RecipientResult::EightBitNotOffered => (
                        &mut report.refused,
                        "the server takes 7-bit text only, and the message has other octets".into(),
                    ),
                };
                list.push(NotAccepted { recipient, reply });
            }
            report.accepted.extend(taken);
        }
        report
    }

    fn status(&self) -> u8 {
        match (self.refused.is_empty(), self.deferred.is_empty()) {
            (false, _) => NO,
            (true, false) => TRY_LATER,
            (true, true) => DONE,
        }
    }

    /// What is wrong, a line for each recipient.
    fn complaints(&self) -> String {
        let refused = self.refused.iter().map(|NotAccepted { recipient, reply }| {
            format!("{recipient} was refused: {}. Nothing was queued for it.\n", reply.trim_end_matches('.'))
        });
        let deferred = self.deferred.iter().map(|NotAccepted { recipient, reply }| {
            format!(
                "{recipient} was not accepted yet: {}. Send it again later.\n",
                reply.trim_end_matches('.')
            )
        });
        refused.chain(deferred).collect()
    }
}

impl Accepted {
    /// The first word of the reply that is a queue id names the message.
    fn by(reply: &Reply) -> Self {
        let reply = reply.to_string();
        let id = reply.split([' ', ',', ';', '<', '>']).find_map(|word| word.parse().ok());
        Self { id, reply, recipients: Vec::new() }
    }
}

fn tell(report: &Report, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    if screen.json {
        screen.object(report)?;
        return Ok(report.status());
    }
    for accepted in &report.accepted {
        let named = accepted.id.map(|id| id.to_string());
        screen.line(&Line::plain(named.unwrap_or_else(|| accepted.reply.clone())))?;
    }
    match report.status() {
        DONE => Ok(DONE),
        status => Err(Trouble::Says(status, report.complaints())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Verb};
    use clap::Parser;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    const NOW: Wall = Wall(1_795_590_028_123);
    const ID: &str = "1M88R2YTV0000";

    /// A server for one connection. It answers `script`'s replies in turn to RCPT; takes what it is told after DATA; gives all
    /// that it heard, content included.
    fn server(
        greeting: &'static str,
        to_rcpt: &'static [&'static str],
        to_dot: &'static str,
    ) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut out, _) = listener.accept().unwrap();
            let lines = BufReader::new(out.try_clone().unwrap()).lines();
            let (mut heard, mut content, mut rcpt) = (String::new(), false, to_rcpt.iter().cycle());
            write!(out, "{greeting}\r\n").unwrap();
            for line in lines {
                let line = line.unwrap();
                heard.push_str(&line);
                heard.push('\n');
                let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
                let reply = match verb.as_str() {
                    _ if content && line != "." => continue,
                    "." => to_dot,
                    "EHLO" => "250-fake\r\n250-PIPELINING\r\n250 8BITMIME",
                    "RCPT" => rcpt.next().unwrap(),
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    _ => "250 ok",
                };
                content = verb == "DATA";
                // A client that has heard enough does not wait for the rest.
                if write!(out, "{reply}\r\n").is_err() || verb == "QUIT" {
                    break;
                }
            }
            heard
        });
        (address, thread)
    }

    /// Runs a command line; gives what it printed, its exit status, and what it complained of.
    fn sent(line: &str, message: &str) -> (String, u8, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("message");
        std::fs::write(&file, message).unwrap();
        let line = line.replace("FILE", file.to_str().unwrap());
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Verb::Send(send) = cli.verb else { panic!("{line}") };
        let mut out = Vec::new();
        let ended = run(dir.path(), send, NOW, &mut Screen::to(&mut out, cli.json));
        let (status, complaint) = match ended {
            Ok(status) => (status, String::new()),
            Err(Trouble::Says(status, what)) => (status, what),
            Err(Trouble::Output(error)) => panic!("{error}"),
        };
        (String::from_utf8(out).unwrap(), status, complaint)
    }

    fn ok() -> (String, u8, String) {
        (format!("{ID}\n"), DONE, String::new())
    }

    #[test]
    fn a_message_is_submitted() {
        let (address, heard) = server("220 fake", &["250 ok"], "250 2.0.0 Ok queued as 1M88R2YTV0000");
        let line = format!("postroad send -f a@b.example --server {address} --file FILE -oi c@d.example");
        assert_eq!(sent(&line, "Date: d\nMessage-ID: <m@n>\nSubject: s\n\n.\n.x\nu\u{fc}\n"), ok());
        let expected = "EHLO send.localhost\nMAIL FROM:<a@b.example> BODY=8BITMIME\nRCPT TO:<c@d.example>\nDATA\n\
            From: a@b.example\nDate: d\nMessage-ID: <m@n>\nSubject: s\n\n..\n..x\nu\u{fc}\n.\nQUIT\n";
        assert_eq!(heard.join().unwrap(), expected);
    }

    #[test]
    fn recipients_come_from_the_header() {
        let (address, heard) = server("220 fake", &["250 ok"], "250 2.0.0 Ok queued as 1M88R2YTV0000");
        let line = format!("postroad send -t -f <> --server {address} --file FILE e@f.example a@b.example");
        let message = "To: a@b.example\nBcc: c@d.example\nCc: C <c@d.example>\nFrom: g@h.example\n\nx\n";
        assert_eq!(sent(&line, message), ok());
        let heard = heard.join().unwrap();
        let envelope: Vec<&str> = heard.lines().skip(1).take(4).collect();
        let expected =
            ["MAIL FROM:<>", "RCPT TO:<e@f.example>", "RCPT TO:<a@b.example>", "RCPT TO:<c@d.example>"];
        assert_eq!(envelope, expected);
        assert!(!heard.contains("Bcc") && heard.contains("Cc: C"), "{heard}");
    }

    #[test]
    fn too_many_recipients_make_two_messages() {
        let (address, heard) = server(
            "220 fake",
            &["250 ok", "250 ok", "452 4.5.3 too many"],
            "250 2.0.0 Ok queued as 1M88R2YTV0000",
        );
        let line =
            format!("postroad send --server {address} --file FILE a@b.example c@b.example d@b.example");
        assert_eq!(sent(&line, "x"), (format!("{ID}\n{ID}\n"), DONE, String::new()));
        assert_eq!(heard.join().unwrap().matches("RCPT TO:<d@b.example>").count(), 2);
    }

    #[test]
    fn refusals_are_told() {
        let check = |greeting, to_rcpt, to_dot, out: &str, status: u8, complaint: &str| {
            let (address, heard) = server(greeting, to_rcpt, to_dot);
            let line = format!("postroad send --server {address} --file FILE a@b.example c@b.example");
            let (host, port) = address.split_once(':').unwrap();
            let complaint = complaint.replace("HERE", &format!("{host} port {port}"));
            assert_eq!(sent(&line, "x"), (out.into(), status, complaint));
            heard.join().unwrap();
        };
        let queued = "250 2.0.0 Ok queued as 1M88R2YTV0000";
        check(
            "220 fake",
            &["250 ok", "550 5.7.1 Unable to relay."],
            queued,
            "1M88R2YTV0000\n",
            1,
            "c@b.example was refused: 550 5.7.1 Unable to relay. Nothing was queued for it.\n",
        );
        check(
            "220 fake",
            &["250 ok"],
            "452 4.3.1 full",
            "",
            75,
            "a@b.example was not accepted yet: 452 4.3.1 full. Send it again later.\n\
             c@b.example was not accepted yet: 452 4.3.1 full. Send it again later.\n",
        );
        check("220 fake", &["250 ok"], "250 fine", "250 fine\n", 0, "");
        check(
            "421 busy",
            &[],
            "",
            "",
            75,
            "the server at HERE takes no mail: the host's greeting: 421 busy. Send it again later.",
        );
    }

    #[test]
    fn programs_get_json() {
        let (address, heard) = server("220 fake", &["250 ok", "550 no"], "250 Ok queued as 1M88R2YTV0000");
        let line = format!("postroad send --json --server {address} --file FILE a@b.example c@b.example");
        let expected = concat!(
            r#"{"accepted":[{"id":"1M88R2YTV0000","reply":"250 Ok queued as 1M88R2YTV0000","recipients":["a@b.example"]}],"#,
            r#""refused":[{"recipient":"c@b.example","reply":"550 no"}],"deferred":[]}"#,
            "\n"
        );
        assert_eq!(sent(&line, "x"), (expected.into(), NO, String::new()));
        heard.join().unwrap();
    }

    #[test]
    fn what_cannot_be_sent() {
        let check = |line: &str, message: &str, status: u8, why: &str| {
            let (out, found, complaint) = sent(line, message);
            assert_eq!((out.as_str(), found), ("", status), "{line}: {complaint}");
            assert!(complaint.contains(why), "{line}: {complaint}");
        };
        check("postroad send -t --file FILE", "Subject: s\n\nx", 2, "no recipients are named");
        check("postroad send -t --file FILE", "To: a@\n\nx", 2, "is not an address");
        let long = format!("To: a@b.example\n{}Bcc: c@d.example\n\nx", "X: y\n".repeat(60_000));
        check("postroad send -t --file FILE", &long, 2, "the header has more than 256 KiB");
        check("postroad send --file /nowhere/at/all a@b.example", "", 2, "/nowhere/at/all cannot be read");
        check("postroad send --file FILE <>", "", 2, "<> is no recipient");
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let line = format!("postroad send --file FILE --server {closed} a@b.example");
        check(&line, "x", 69, "no server takes mail at 127.0.0.1 port");
    }

    #[test]
    fn servers() {
        let good = |text: &str, host: &str, port: u16| {
            assert_eq!(text.parse(), Ok(Server { host: host.into(), port }), "{text}");
        };
        good("mail.example.org:25", "mail.example.org", 25);
        good("[2001:db8::25]:2525", "2001:db8::25", 2525);
        for text in ["", "mail.example.org", ":25", "2001:db8::25", "a:b", "a:99999"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }
}
