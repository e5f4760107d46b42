//! The load generator: so many connections at a time, each of which sends message after message.

use crate::process::{self, Result};
use crate::smtp::{Connection, DOT};
use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::str::FromStr;
use tokio::net::TcpStream;

pub(crate) const PART: &str = "part-load";

/// Octets of a message, its header included.
pub(crate) const MESSAGE: usize = 4096;

/// What is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) connections: u64,
    pub(crate) messages: u64,
    /// The number of the first message; each has the next.
    pub(crate) first: u64,
    /// Whether a connection is used for message after message.
    pub(crate) kept: bool,
    pub(crate) pipelining: bool,
    pub(crate) domain: String,
}

impl Load {
    /// As words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        vec![
            PART.to_owned(),
            self.server.to_string(),
            self.connections.to_string(),
            self.messages.to_string(),
            self.first.to_string(),
            self.kept.to_string(),
            self.pipelining.to_string(),
            self.domain.clone(),
        ]
    }

    fn of_words(words: &[String]) -> Result<Self> {
        let [server, connections, messages, first, kept, pipelining, domain] = words else {
            return Err("seven words are wanted".into());
        };
        Ok(Self {
            server: server.parse()?,
            connections: connections.parse()?,
            messages: messages.parse()?,
            first: first.parse()?,
            kept: kept.parse()?,
            pipelining: pipelining.parse()?,
            domain: domain.clone(),
        })
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) accepted: u64,
    /// The sum of the accepted messages' numbers.
    pub(crate) sum: u64,
    /// When the first connection was begun, and when the last 250 came: microseconds since 1970.
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// From the final dot to its 250, in microseconds.
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    /// The first reply or error that was not as it should be, if any.
    pub(crate) trouble: String,
}

impl Sent {
    fn line(&self) -> String {
        let Self { accepted, sum, began, ended, p50, p99, trouble } = self;
        format!("{accepted} {sum} {began} {ended} {p50} {p99} {}", trouble.replace(['\r', '\n'], " "))
    }
}

impl FromStr for Sent {
    type Err = process::Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.trim_end().splitn(7, ' ');
        let mut number = || words.next().unwrap_or_default().parse::<u64>();
        let (accepted, sum, began, ended) = (number()?, number()?, number()?, number()?);
        let (p50, p99) = (number()?, number()?);
        let trouble = words.next().unwrap_or_default().to_owned();
        Ok(Self { accepted, sum, began, ended, p50, p99, trouble })
    }
}

/// The process: sends everything, prints what came of it.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let load = Load::of_words(words)?;
    let sent = process::local(send(load))?;
    Ok(writeln!(io::stdout(), "{}", sent.line())?)
}

async fn send(load: Load) -> Result<Sent> {
    let (load, state) = (Rc::new(load), Rc::new(State::new()));
    let began = process::micros();
    let clients = (0..load.connections).map(|_| {
        let (load, state) = (Rc::clone(&load), Rc::clone(&state));
        tokio::task::spawn_local(async move {
            // What failed is told and not sent again: the next message has a connection of its own.
            while let Err(error) = client(&load, &state).await {
                let mut sent = state.sent.borrow_mut();
                if sent.trouble.is_empty() {
                    sent.trouble = error.to_string();
                }
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await?;
    }
    let mut waits = state.waits.take();
    waits.sort_unstable();
    let at = |permille: usize| waits.get(waits.len() * permille / 1000).copied().unwrap_or(0);
    Ok(Sent { began, p50: at(500), p99: at(990), ..state.sent.take() })
}

struct State {
    content: Vec<u8>,
    /// Messages that were begun.
    next: Cell<u64>,
    sent: RefCell<Sent>,
    waits: RefCell<Vec<u64>>,
}

/// One client: connects, and again, until all messages were begun.
async fn client(load: &Load, state: &State) -> io::Result<()> {
    while state.next.get() < load.messages {
        // Taken before the connection is made: a server that cannot be reached is not asked for ever.
        let mut number = state.take(load);
        let mut connection = Connection::new(TcpStream::connect(load.server).await?)?;
        connection.hello().await?;
        while let Some(one) = number {
            message(&mut connection, load, state, one).await?;
            number = if load.kept { state.take(load) } else { None };
        }
        connection.write(b"QUIT\r\n").await?;
        connection.reply("221").await?;
    }
    Ok(())
}

async fn message(connection: &mut Connection, load: &Load, state: &State, number: u64) -> io::Result<()> {
    let mail = "MAIL FROM:<sender@client.bench.example>\r\n";
    let mut commands = String::with_capacity(128);
    if load.pipelining {
        let _ = write!(commands, "{mail}RCPT TO:<n{number}@{}>\r\nDATA\r\n", load.domain);
        connection.write(commands.as_bytes()).await?;
        connection.reply("250").await?;
    } else {
        connection.write(mail.as_bytes()).await?;
        connection.reply("250").await?;
        let _ = write!(commands, "RCPT TO:<n{number}@{}>\r\n", load.domain);
        connection.write(commands.as_bytes()).await?;
    }
    connection.reply("250").await?;
    if !load.pipelining {
        connection.write(b"DATA\r\n").await?;
    }
    connection.reply("354").await?;
    let dot = process::micros();
    connection.write(&state.content).await?;
    connection.reply("250").await?;
    let now = process::micros();
    state.waits.borrow_mut().push(now.saturating_sub(dot));
    let mut sent = state.sent.borrow_mut();
    sent.accepted += 1;
    sent.sum = sent.sum.wrapping_add(number);
    sent.ended = now;
    Ok(())
}

impl State {
    fn new() -> Self {
        let (sent, waits) = (RefCell::default(), RefCell::default());
        Self { content: content(), next: Cell::new(0), sent, waits }
    }

    fn take(&self, load: &Load) -> Option<u64> {
        let next = self.next.get();
        (next < load.messages).then(|| {
            self.next.set(next + 1);
            load.first + next
        })
    }
}

/// A message with the end of content.
fn content() -> Vec<u8> {
    let mut octets =
        b"From: <sender@client.bench.example>\r\nTo: <recipient@bench.example>\r\nSubject: a figure\r\n\
        Date: Wed, 25 Nov 2026 07:00:28 +0000\r\nMessage-ID: <figure@client.bench.example>\r\n\r\n"
            .to_vec();
    let line = b"A line of seventy-two octets, its end included, as mail of people has it.\r\n";
    while octets.len() + line.len() <= MESSAGE {
        octets.extend_from_slice(line);
    }
    octets.resize(MESSAGE - 2, b'x');
    octets.extend_from_slice(b"\r\n");
    // The last line's end is the first half of the end of content.
    octets.extend_from_slice(&DOT[2..]);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_told() {
        let trouble = String::from("451 4.3.0 No store");
        let sent = Sent { accepted: 1, sum: 2, began: 3, ended: 4, p50: 5, p99: 6, trouble };
        assert_eq!(sent.line().parse::<Sent>().unwrap(), sent);
        assert_eq!(Sent::default().line().parse::<Sent>().unwrap(), Sent::default());
    }

    /// Sends through the relay to the sink, all in this thread, and expects each message there once.
    fn check(kept: bool, pipelining: bool) {
        use crate::{relay, sink};
        use tokio::net::TcpListener;
        let tallies = process::wait_for(async {
            let (at_sink, at_relay) =
                (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
            let (sink, server) = (at_sink.local_addr()?, at_relay.local_addr()?);
            tokio::task::spawn_local(sink::accept(at_sink));
            tokio::task::spawn_local(relay::accept(at_relay, sink));
            let domain = String::from("live.bench.example");
            let load = Load { server, connections: 3, messages: 20, first: 5, kept, pipelining, domain };
            let sent = send(load).await?;
            Ok((sent, sink::ask(sink, 20, std::time::Duration::from_secs(30)).await?))
        });
        let (sent, tally) = tallies.unwrap();
        assert_eq!((sent.accepted, sent.sum, sent.trouble.as_str()), (20, (5..25).sum(), ""));
        assert_eq!((tally.messages, tally.sum), (sent.accepted, sent.sum));
        assert!(sent.began <= sent.ended && sent.p50 <= sent.p99);
    }

    #[test]
    fn each_message_comes_once() {
        check(false, false);
        check(false, true);
        check(true, false);
        check(true, true);
    }

    #[test]
    fn a_message() {
        let content = content();
        assert_eq!(content.len(), MESSAGE + 3);
        assert!(content.ends_with(DOT));
        assert_eq!(content.windows(2).filter(|two| two == b"\n.").count(), 1);
    }
}
