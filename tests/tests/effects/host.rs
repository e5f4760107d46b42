//! An SMTP server that counts connections and can keep clients waiting, which no other does.

use postroad_tests::ports::Port;
use postroad_tests::wait;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Listens at all addresses and a port of its own.
#[derive(Debug)]
pub(crate) struct Host {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    released: Condvar,
}

/// What it has seen, since it was last asked to hold.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Messages that were sent whole, answered or not.
    pub(crate) messages: usize,
    /// The most of them that came over one connection.
    pub(crate) batch: usize,
    /// The most transactions that went on at once, each over a connection of its own.
    pub(crate) peak: usize,
    /// Connections, also those that said nothing.
    pub(crate) connections: usize,
    transactions: usize,
    connected: usize,
    holds: bool,
}

impl Host {
    pub(crate) fn start() -> Self {
        let port = Port::free();
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number())).unwrap();
        let shared = Arc::new(Shared::default());
        let inside = Arc::clone(&shared);
        // They end with the test's process: all that they wait for are its clients.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inside = Arc::clone(&inside);
                std::thread::spawn(move || inside.serve(client));
            }
        });
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// From here on no message is answered, and counts begin anew; clients that stay connected are waited for.
    pub(crate) fn hold(&self) {
        wait::until("nobody is connected", || self.seen().connected == 0);
        *self.shared.lock() = Seen { holds: true, ..Seen::default() };
    }

    /// All messages are answered.
    pub(crate) fn release(&self) {
        self.shared.lock().holds = false;
        self.shared.released.notify_all();
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.shared.lock()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    fn serve(&self, client: TcpStream) {
        {
            let mut seen = self.lock();
            seen.connections += 1;
            seen.connected += 1;
        }
        // A client that goes away has ended the conversation too.
        let _ = self.converse(&client);
        self.lock().connected -= 1;
    }

    fn converse(&self, mut client: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(client);
        let mut batch = 0;
        let mut within = false;
        client.write_all(b"220 host.example\r\n")?;
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            let reply: &[u8] = match (within, verb.as_slice()) {
                (true, _) if line == b".\r\n" => {
                    within = false;
                    batch += 1;
                    self.end_transaction(batch);
                    b"250 2.0.0 Kept\r\n"
                }
                (true, _) => b"",
                (false, b"MAIL") => {
                    self.begin_transaction();
                    b"250 2.1.0 OK\r\n"
                }
                (false, b"DATA") => {
                    within = true;
                    b"354 Go on\r\n"
                }
                (false, b"QUIT") => return client.write_all(b"221 2.0.0 Bye\r\n"),
                (false, _) => b"250 host.example\r\n",
            };
            client.write_all(reply)?;
            line.clear();
        }
        Ok(())
    }

    fn begin_transaction(&self) {
        let mut seen = self.lock();
        seen.transactions += 1;
        seen.peak = seen.peak.max(seen.transactions);
    }

    /// Before the reply is sent: only after it can the client begin another.
    fn end_transaction(&self, batch: usize) {
        let mut seen = self.lock();
        seen.messages += 1;
        seen.batch = seen.batch.max(batch);
        let mut seen = self.released.wait_while(seen, |seen| seen.holds).unwrap();
        seen.transactions -= 1;
    }
}

/// A greeting, and the connection.
pub(crate) fn greeting(server: SocketAddr) -> (String, BufReader<TcpStream>) {
    let mut stream = BufReader::new(TcpStream::connect(server).unwrap());
    stream.get_ref().set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    (line, stream)
}
