//! An SMTP client of our own, for what no other client does: keep a ledger of what was acknowledged while the server dies.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// One connection that has said EHLO.
#[derive(Debug)]
pub struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Connects, reads the greeting, says EHLO.
    ///
    /// # Errors
    /// What the connection says; `ConnectionAborted` with the reply where one is not positive.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        // A server that says nothing for so long has failed the test.
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut session = Self { stream: BufReader::new(stream) };
        session.reply("220")?;
        session.command("EHLO client.example", "250")?;
        Ok(session)
    }

    /// Sends a command, and gives the reply if it begins with `expected`.
    ///
    /// # Errors
    /// As `open`.
    pub fn command(&mut self, line: &str, expected: &str) -> io::Result<String> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply(expected)
    }

    /// Sends a message, its content with dots doubled and the final dot in one write; gives the reply to it.
    ///
    /// # Errors
    /// As `open`. Unless this is `Ok`, the message may or may not have been accepted.
    pub fn message(&mut self, sender: &str, recipient: &str, content: &[u8]) -> io::Result<String> {
        self.command(&format!("MAIL FROM:<{sender}>"), "250")?;
        self.command(&format!("RCPT TO:<{recipient}>"), "250")?;
        self.data(content, "250")
    }

    /// DATA, the content with dots doubled, and the final dot; gives the reply to it if it begins with `expected`.
    ///
    /// # Errors
    /// As `open`.
    pub fn data(&mut self, content: &[u8], expected: &str) -> io::Result<String> {
        self.command("DATA", "354")?;
        self.content(content)?;
        self.reply(expected)
    }

    /// The content with dots doubled and the final dot, in one write; no reply is read.
    ///
    /// # Errors
    /// What the connection says.
    pub fn content(&mut self, content: &[u8]) -> io::Result<()> {
        let mut octets = Vec::with_capacity(content.len() + 100);
        for line in content.split_inclusive(|&octet| octet == b'\n') {
            if line.starts_with(b".") {
                octets.push(b'.');
            }
            octets.extend_from_slice(line);
        }
        octets.extend_from_slice(b".\r\n");
        self.write(&octets)
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    /// What the connection says.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(octets)
    }

    /// Reads a reply, and gives it if it begins with `expected`.
    ///
    /// # Errors
    /// As `open`.
    pub fn reply(&mut self, expected: &str) -> io::Result<String> {
        let mut whole = String::new();
        loop {
            let from = whole.len();
            if self.stream.read_line(&mut whole)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // `250-` is followed by more, `250 ` is the last line (RFC 5321 §4.2.1).
            if whole.as_bytes().get(from + 3) != Some(&b'-') {
                break;
            }
        }
        if whole.starts_with(expected) {
            Ok(whole)
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, whole))
        }
    }
}

/// Messages over several connections, all the time, through every restart of the server.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    ledger: Mutex<Vec<String>>,
    refusals: Mutex<Vec<String>>,
    unanswered: AtomicUsize,
}

impl Load {
    /// Starts `connections` clients that send to `recipient` for as long as this value lives.
    #[must_use]
    pub fn start(server: SocketAddr, sender: &str, recipient: &str, connections: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = (0..connections)
            .map(|client| {
                let (shared, sender, recipient) =
                    (Arc::clone(&shared), sender.to_owned(), recipient.to_owned());
                std::thread::spawn(move || {
                    let mut number = 0;
                    while !shared.over.load(Ordering::Relaxed) {
                        let ended = send(&shared, server, &sender, &recipient, (client, &mut number));
                        // A server that dies shows as a broken connection; a reply that is not positive is another matter.
                        if let Err(fault) = ended
                            && fault.kind() == io::ErrorKind::ConnectionAborted
                            && fault.get_ref().is_some()
                        {
                            lock(&shared.refusals).push(fault.to_string());
                        }
                        std::thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        Self { shared, threads }
    }

    /// How many messages have been acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        lock(&self.shared.ledger).len()
    }

    /// How many messages were sent to the final dot, whole, and got no reply of any kind.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.shared.unanswered.load(Ordering::Relaxed)
    }

    /// Replies so far that were not positive.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        lock(&self.shared.refusals).clone()
    }

    /// Ends it; gives the ids (see `content`) of all messages that were acknowledged, and replies that were not positive.
    #[must_use]
    pub fn finish(mut self) -> (Vec<String>, Vec<String>) {
        self.end();
        (std::mem::take(&mut lock(&self.shared.ledger)), std::mem::take(&mut lock(&self.shared.refusals)))
    }

    fn end(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// Before a client connects again.
const PAUSE: Duration = Duration::from_millis(5);

/// Octets of successive messages: in a row of the store, in a segment, in a draft file.
const SIZES: [usize; 8] = [300, 1_000, 4_000, 12_000, 300, 40_000, 2_000, 300_000];

fn send(
    shared: &Shared,
    server: SocketAddr,
    sender: &str,
    recipient: &str,
    place: (usize, &mut usize),
) -> io::Result<()> {
    let (client, number) = place;
    let mut session = Session::open(server)?;
    while !shared.over.load(Ordering::Relaxed) {
        let id = format!("{client}-{number}");
        let size = SIZES[*number % SIZES.len()];
        // A number is used once, whatever becomes of the message: what arrives twice was delivered twice.
        *number += 1;
        session.command(&format!("MAIL FROM:<{sender}>"), "250")?;
        session.command(&format!("RCPT TO:<{recipient}>"), "250")?;
        session.command("DATA", "354")?;
        session.content(&content(&id, size))?;
        if let Err(fault) = session.reply("250") {
            shared.unanswered.fetch_add(usize::from(fault.get_ref().is_none()), Ordering::Relaxed);
            return Err(fault);
        }
        lock(&shared.ledger).push(id);
    }
    session.command("QUIT", "221")?;
    Ok(())
}

/// The message with that id, of about `size` octets; the same each time it is made.
#[must_use]
pub fn content(id: &str, size: usize) -> Vec<u8> {
    let mut octets = format!("Message-ID: <{id}@load.example>\r\nSubject: {size}\r\n\r\n").into_bytes();
    let mut line = 0;
    while octets.len() < size {
        octets.extend_from_slice(
            format!("{id} line {line} ...............................................\r\n").as_bytes(),
        );
        line += 1;
    }
    octets
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no client panics")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::wait;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    #[test]
    fn the_ledger_is_what_the_server_acknowledged() {
        let address: IpAddr = "127.0.0.25".parse().unwrap();
        let sink = Sink::start(&[address], &["--rcpt-reply", "no@x.example=550 5.1.1 No"]);
        let server = SocketAddr::new(address, sink.port());
        let load = Load::start(server, "s@x.example", "r@x.example", 2);
        wait::until("twenty messages", || load.acknowledged() >= 20);
        let (ledger, refusals) = load.finish();
        assert_eq!(refusals, Vec::<String>::new());
        let received: BTreeMap<_, _> =
            sink.received().into_iter().map(|one| (one.header("message-id").unwrap(), one.content)).collect();
        assert_eq!(received.len(), ledger.len());
        for id in ledger {
            let arrived = &received[&format!("<{id}@load.example>")];
            assert!(SIZES.iter().any(|&size| *arrived == content(&id, size)), "{id}");
        }
        let load = Load::start(server, "s@x.example", "no@x.example", 1);
        wait::until("a refusal", || !load.refusals().is_empty());
        assert!(load.finish().1[0].contains("550 5.1.1 No"));
    }
}
