//! As little SMTP as will do: a connection that reads lines, and the server's side of a session. Neither the generator nor
//! Postroad nor the relay sends anything behind a final dot before it has the reply, and no content here has lines that
//! begin with a dot: so content ends where what has come ends in CR LF `.` CR LF, and is passed on as it came.

use std::io::{self, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Octets read at once: a message of the bench and its commands fit.
const READ: usize = 8 * 1024;
/// Octets of what is held at most; what is longer is none of the bench's.
const HELD_MAX: usize = 1024 * 1024;

/// The end of content.
pub(crate) const DOT: &[u8] = b"\r\n.\r\n";

/// A connection, and what was read of it.
pub(crate) struct Connection {
    stream: TcpStream,
    held: Vec<u8>,
    /// Octets of `held` that are done with.
    done: usize,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, held: Vec::new(), done: 0 })
    }

    pub(crate) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await
    }

    /// Reads more; false at the end.
    async fn read(&mut self) -> io::Result<bool> {
        if self.done == self.held.len() {
            self.held.clear();
            self.done = 0;
        }
        if self.held.len() > HELD_MAX {
            return Err(io::Error::other("more came than was asked for"));
        }
        self.held.reserve(READ);
        Ok(self.stream.read_buf(&mut self.held).await? > 0)
    }

    /// The next line that is whole, its end left out.
    fn line(&mut self) -> Option<(usize, usize)> {
        let rest = self.held.get(self.done..)?;
        let end = rest.iter().position(|&octet| octet == b'\n')?;
        let from = self.done;
        self.done += end + 1;
        Some((from, from + end - usize::from(end > 0 && rest.get(end - 1) == Some(&b'\r'))))
    }

    /// The last line of the next reply, which must begin with `code`; `ConnectionAborted` if it does not.
    pub(crate) async fn reply(&mut self, code: &str) -> io::Result<&str> {
        let (from, to) = loop {
            match self.line() {
                // `250-` is followed by more (RFC 5321 §4.2.1).
                Some((from, _)) if self.held.get(from + 3) == Some(&b'-') => {}
                Some(found) => break found,
                None if self.read().await? => {}
                None => return Err(ErrorKind::UnexpectedEof.into()),
            }
        };
        let line = std::str::from_utf8(self.held.get(from..to).unwrap_or_default()).unwrap_or_default();
        if line.starts_with(code) {
            Ok(line)
        } else {
            Err(io::Error::new(ErrorKind::ConnectionAborted, line.to_owned()))
        }
    }

    /// Says EHLO to a server that has just been connected.
    pub(crate) async fn hello(&mut self) -> io::Result<()> {
        self.reply("220").await?;
        self.write(b"EHLO client.bench.example\r\n").await?;
        self.reply("250").await.map(|_| ())
    }
}

/// What a session came to.
pub(crate) enum Step {
    /// A message is whole; `ServerSide::envelope` and `content` have it. It wants a reply.
    Message,
    /// `XCOUNT n`, the bench's own: to be answered once so many messages have come.
    Count(u64),
}

/// The server's side of a session.
pub(crate) struct ServerSide {
    connection: Connection,
    replies: Vec<u8>,
    /// MAIL and RCPT of the message under way, as they came.
    pub(crate) envelope: Vec<u8>,
    in_content: bool,
}

impl ServerSide {
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        let replies = b"220 bench ESMTP\r\n".to_vec();
        Ok(Self { connection: Connection::new(stream)?, replies, envelope: Vec::new(), in_content: false })
    }

    /// A reply, sent before anything more is read.
    pub(crate) fn say(&mut self, line: &str) {
        self.replies.extend_from_slice(line.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    /// The content of the message that has just come, with its end.
    pub(crate) fn content(&self) -> &[u8] {
        &self.connection.held
    }

    /// Goes on to the next thing that its owner must see to; nothing at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Step>> {
        if std::mem::take(&mut self.in_content) {
            self.connection.done = self.connection.held.len();
            self.envelope.clear();
        }
        loop {
            while let Some((from, to)) = self.connection.line() {
                let line = self.connection.held.get(from..to).unwrap_or_default();
                let (verb, rest) = line.split_at(line.len().min(4));
                match verb {
                    b"EHLO" => self.say("250-bench\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 36700160"),
                    b"MAIL" | b"RCPT" => {
                        self.envelope.extend_from_slice(line);
                        self.envelope.extend_from_slice(b"\r\n");
                        self.say("250 2.1.0 Ok");
                    }
                    b"DATA" => {
                        self.say("354 Go on");
                        return self.receive().await;
                    }
                    b"QUIT" => {
                        self.say("221 2.0.0 Bye");
                        self.flush().await?;
                        return Ok(None);
                    }
                    b"XCOU" => {
                        let count =
                            std::str::from_utf8(rest).ok().and_then(|rest| rest.get(3..)?.parse().ok());
                        return Ok(Some(Step::Count(count.unwrap_or(0))));
                    }
                    _ => self.say("250 2.0.0 Ok"),
                }
            }
            self.flush().await?;
            if !self.connection.read().await? {
                return Ok(None);
            }
        }
    }

    async fn receive(&mut self) -> io::Result<Option<Step>> {
        self.in_content = true;
        self.connection.held.drain(..self.connection.done);
        self.connection.done = 0;
        self.flush().await?;
        while !self.connection.held.ends_with(DOT) {
            // `read` takes nothing for done here: only lines are.
            if !self.connection.read().await? {
                return Ok(None);
            }
        }
        Ok(Some(Step::Message))
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.replies.is_empty() {
            self.connection.write(&self.replies).await?;
            self.replies.clear();
        }
        Ok(())
    }
}
