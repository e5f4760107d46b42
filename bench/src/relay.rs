//! The floor: takes a message in, passes it on at once over a connection that it keeps open, and says 250 after the sink
//! did. The same runtime and the same sockets as Postroad's, no store, no lookup, no thought.

use crate::process::{self, Result};
use crate::smtp::{Connection, ServerSide, Step};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};

pub(crate) const PART: &str = "part-relay";

/// The process, for the sink that is named.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let sink: SocketAddr = words.first().ok_or("no sink")?.parse()?;
    process::local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        process::announce(listener.local_addr()?)?;
        accept(listener, sink).await
    })
}

pub(crate) async fn accept(listener: TcpListener, sink: SocketAddr) -> Result<()> {
    let onward = Rc::new(Onward { sink, idle: RefCell::default() });
    loop {
        let (stream, _) = listener.accept().await?;
        let onward = Rc::clone(&onward);
        tokio::task::spawn_local(async move {
            // A message that could not be passed on is missed in the sink's count.
            let _ = serve(stream, &onward).await;
        });
    }
}

/// The connections to the sink that nobody uses at the moment.
struct Onward {
    sink: SocketAddr,
    idle: RefCell<Vec<Connection>>,
}

async fn serve(stream: TcpStream, onward: &Onward) -> io::Result<()> {
    let mut session = ServerSide::new(stream)?;
    while let Some(step) = session.next().await? {
        match step {
            Step::Message => {
                onward.pass(&session.envelope, session.content()).await?;
                session.say("250 2.0.0 Ok");
            }
            Step::Count(_) => session.say("502 5.5.1 Ask the sink"),
        }
    }
    Ok(())
}

impl Onward {
    async fn pass(&self, envelope: &[u8], content: &[u8]) -> io::Result<()> {
        let idle = self.idle.borrow_mut().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => {
                let mut connection = Connection::new(TcpStream::connect(self.sink).await?)?;
                connection.hello().await?;
                connection
            }
        };
        connection.write(&[envelope, b"DATA\r\n"].concat()).await?;
        connection.reply("250").await?;
        connection.reply("250").await?;
        connection.reply("354").await?;
        connection.write(content).await?;
        connection.reply("250").await?;
        self.idle.borrow_mut().push(connection);
        Ok(())
    }
}
