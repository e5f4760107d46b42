//! Where mail ends: counts it, and keeps none.

use crate::process::{self, Result};
use crate::smtp::{Connection, ServerSide, Step};
use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PART: &str = "part-sink";

/// The sink's address, which the MX host of the bench's domain has: not Postroad's own, which would be a loop.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// What has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// The sum of the messages' numbers, so that one that came twice does not make up for one that did not come.
    pub(crate) sum: u64,
    /// When the last one came, microseconds since 1970.
    pub(crate) last: u64,
}

/// The process: listens, says where, and serves until it is no more wanted.
pub(crate) fn run(_: &[String]) -> Result<()> {
    process::local(async {
        let listener = TcpListener::bind((ADDRESS, 0)).await?;
        process::announce(listener.local_addr()?)?;
        accept(listener).await
    })
}

pub(crate) async fn accept(listener: TcpListener) -> Result<()> {
    let tally = Rc::new(Cell::new(Tally::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        let tally = Rc::clone(&tally);
        tokio::task::spawn_local(async move {
            // A client that breaks off is missed in the count.
            let _ = serve(stream, &tally).await;
        });
    }
}

async fn serve(stream: TcpStream, tally: &Cell<Tally>) -> io::Result<()> {
    let mut session = ServerSide::new(stream)?;
    while let Some(step) = session.next().await? {
        match step {
            Step::Message => {
                let Tally { messages, sum, .. } = tally.get();
                let sum = sum.wrapping_add(number(&session.envelope));
                tally.set(Tally { messages: messages + 1, sum, last: process::micros() });
                session.say("250 2.0.0 Ok");
            }
            Step::Count(wanted) => {
                while tally.get().messages < wanted {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                let Tally { messages, sum, last } = tally.get();
                session.say(&format!("250 {messages} {sum} {last}"));
            }
        }
    }
    Ok(())
}

/// A message's number, which its recipient's local part has: `RCPT TO:<n17@...>`.
fn number(envelope: &[u8]) -> u64 {
    let Some(at) = envelope.windows(5).position(|five| five == b"TO:<n") else { return 0 };
    let digits = envelope.iter().skip(at + 5).take_while(|octet| octet.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// Asks a sink for its tally, once `messages` have come.
pub(crate) async fn ask(sink: SocketAddr, messages: u64, patience: Duration) -> Result<Tally> {
    let asking = async {
        let mut connection = Connection::new(TcpStream::connect(sink).await?)?;
        connection.hello().await?;
        connection.write(format!("XCOUNT {messages}\r\n").as_bytes()).await?;
        let line = connection.reply("250").await?;
        let mut numbers = line.split(' ').skip(1).map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(messages)), Some(Ok(sum)), Some(Ok(last))) => Ok(Tally { messages, sum, last }),
            _ => Err(io::Error::other("the sink does not tell its tally")),
        }
    };
    match tokio::time::timeout(patience, asking).await {
        Ok(tally) => Ok(tally?),
        Err(_) => {
            Err(format!("{messages} messages have not come to the sink within {} s", patience.as_secs())
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<n17@c.example>\r\n"), 17);
        assert_eq!(number(b"MAIL FROM:<>\r\n"), 0);
    }
}
