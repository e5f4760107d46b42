//! A path that lets UDP through and TCP not, as a firewall does in front of a name server.

use crate::ports::Port;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Forwards UDP datagrams between a port of its own and a server. TCP to its port is refused, because nothing listens, until
/// `open_tcp`.
#[derive(Debug)]
pub struct UdpRelay {
    port: Port,
    server: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    queries: AtomicUsize,
}

impl UdpRelay {
    /// A relay in front of `server`.
    ///
    /// # Panics
    /// If its port cannot be bound.
    #[must_use]
    pub fn start(server: SocketAddr) -> Self {
        let port = Port::free();
        let state = Arc::new(State::default());
        let socket = UdpSocket::bind(port.local()).expect("the relay's port");
        socket.set_read_timeout(Some(GLANCE)).expect("a timeout");
        let socket = Arc::new(socket);
        let inside = Arc::clone(&state);
        let forward = std::thread::spawn(move || forward_udp(&socket, server, &inside));
        Self { port, server, state, threads: vec![forward] }
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.local()
    }

    /// Datagrams it has forwarded to the server.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.state.queries.load(Ordering::Relaxed)
    }

    /// From here on TCP connections to its port are forwarded too.
    ///
    /// # Panics
    /// If the port cannot be listened at.
    pub fn open_tcp(&mut self) {
        let listener = TcpListener::bind(self.port.local()).expect("the relay's port over TCP");
        let (server, inside) = (self.server, Arc::clone(&self.state));
        self.threads.push(std::thread::spawn(move || forward_tcp(&listener, server, &inside)));
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, if there is one.
        let _ = TcpStream::connect(self.port.local());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How long a thread may take to see that the relay is over.
const GLANCE: Duration = Duration::from_millis(50);
/// A server on loopback that has not answered by then will not.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

fn forward_udp(socket: &Arc<UdpSocket>, server: SocketAddr, state: &State) {
    let mut query = vec![0; usize::from(u16::MAX)];
    while !state.over.load(Ordering::Relaxed) {
        let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
        state.queries.fetch_add(1, Ordering::Relaxed);
        let (query, socket) = (query[..length].to_vec(), Arc::clone(socket));
        // A thread and a socket a query: answers cannot be mixed up, and tests ask little.
        std::thread::spawn(move || {
            if let Ok(answer) = ask(&query, server) {
                let _ = socket.send_to(&answer, client);
            }
        });
    }
}

fn ask(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.send(query)?;
    let mut answer = vec![0; usize::from(u16::MAX)];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn forward_tcp(listener: &TcpListener, server: SocketAddr, state: &State) {
    for client in listener.incoming() {
        if state.over.load(Ordering::Relaxed) {
            return;
        }
        let (Ok(client), Ok(upstream)) = (client, TcpStream::connect(server)) else { continue };
        let (Ok(mut client_in), Ok(mut upstream_in)) = (client.try_clone(), upstream.try_clone()) else {
            continue;
        };
        let (mut client_out, mut upstream_out) = (client, upstream);
        std::thread::spawn(move || {
            let _ = io::copy(&mut client_in, &mut upstream_out);
            let _ = upstream_out.shutdown(Shutdown::Write);
        });
        std::thread::spawn(move || {
            let _ = io::copy(&mut upstream_in, &mut client_out);
            let _ = client_out.shutdown(Shutdown::Both);
        });
    }
}
