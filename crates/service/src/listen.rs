//! Bindings: each has a task that accepts. A changed list is bound anew first, and what is no more wanted is closed after.

use crate::hub::Hub;
use crate::session;
use nix::sys::socket::{setsockopt, sockopt};
use postroad_events::fact::Fact;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::AbortHandle;

/// Connections that the system holds for us until we accept them.
const BACKLOG: u32 = 1024;
/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Bindings that nothing is accepted from yet: as wanted, as bound.
#[derive(Default)]
pub(crate) struct Prepared(Vec<(SocketAddr, SocketAddr, TcpListener)>);

/// The bindings in force.
#[derive(Default)]
pub(crate) struct Listeners {
    tasks: RefCell<BTreeMap<SocketAddr, Listening>>,
}

/// A binding that connections are accepted from.
struct Listening {
    bound: SocketAddr,
    listener: Rc<TcpListener>,
    task: AbortHandle,
}

impl Listeners {
    /// Where we listen; a port 0 is the one that the system chose.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.tasks.borrow().values().map(|listening| listening.bound).collect()
    }

    /// Binds what of `wanted` is not bound yet, and nothing else: a change that cannot take effect is found out before it is
    /// made.
    pub(crate) fn prepare(&self, wanted: &[SocketAddr]) -> Result<Prepared, (SocketAddr, io::Error)> {
        let tasks = self.tasks.borrow();
        let mut fresh = Vec::new();
        for address in wanted.iter().filter(|address| !tasks.contains_key(address)) {
            let is_leaving = |known: &SocketAddr, listening: &Listening| {
                listening.bound.port() == address.port() && !wanted.contains(known)
            };
            let leaving: Vec<&TcpListener> = tasks
                .iter()
                .filter(|(known, listening)| is_leaving(known, listening))
                .map(|(_, listening)| &*listening.listener)
                .collect();
            let listener = bind(*address, &leaving).map_err(|error| (*address, error))?;
            let bound = listener.local_addr().map_err(|error| (*address, error))?;
            fresh.push((*address, bound, listener));
        }
        Ok(Prepared(fresh))
    }

    /// Makes `wanted` the bindings, of which `prepared` are bound: these are listened at, others are closed.
    pub(crate) fn set(&self, hub: &Rc<Hub>, wanted: &[SocketAddr], prepared: Prepared) {
        let mut tasks = self.tasks.borrow_mut();
        for (address, bound, listener) in prepared.0 {
            let listener = Rc::new(listener);
            let task = tokio::task::spawn_local(accept(Rc::clone(hub), Rc::clone(&listener)));
            tasks.insert(address, Listening { bound, listener, task: task.abort_handle() });
            hub.report.state(Fact::Bound { address: bound });
        }
        tasks.retain(|address, listening| {
            let keep = wanted.contains(address);
            if !keep {
                listening.task.abort();
            }
            keep
        });
    }

    /// Closes them all.
    pub(crate) fn close(&self) {
        for listening in std::mem::take(&mut *self.tasks.borrow_mut()).into_values() {
            listening.task.abort();
        }
    }
}

/// Binds an address beside those of our listeners that are to leave its port: the system would take an address and the wildcard
/// that holds it for one and refuse the second. Both are bound until the change is made, so that none needs to be bound again if it
/// is not. The port is shared for the length of this call only: another program's listener is in the way as ever.
fn bind(address: SocketAddr, leaving: &[&TcpListener]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if leaving.is_empty() {
        socket.bind(address)?;
        return socket.listen(BACKLOG);
    }
    let share = |listener: &TcpListener, is_shared: bool| {
        setsockopt(listener, sockopt::ReusePort, &is_shared).map_err(io::Error::from)
    };
    socket.set_reuseport(true)?;
    leaving.iter().try_for_each(|listener| share(listener, true))?;
    let bound = socket.bind(address).and_then(|()| socket.listen(BACKLOG));
    leaving.iter().try_for_each(|listener| share(listener, false))?;
    bound.and_then(|listener| share(&listener, false).map(|()| listener))
}

async fn accept(hub: Rc<Hub>, listener: Rc<TcpListener>) {
    hub.until_started().await;
    loop {
        match listener.accept().await {
            Ok((socket, client)) => {
                if hub.inbound.get() >= u64::from(hub.settings().connections_max) {
                    let line = format!(
                        "421 4.3.2 {} Too many connections, try again later\r\n",
                        hub.settings().fqdn
                    );
                    let _ = socket.try_write(line.as_bytes());
                    continue;
                }
                // Here, not by the task: a crowd is accepted before any of its tasks runs.
                hub.inbound.set(hub.inbound.get() + 1);
                // One who comes by IPv4 to a wildcard of IPv6 is known by his own address.
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                tokio::task::spawn_local(session::run(Rc::clone(&hub), socket, client));
            }
            // A client that went away is no trouble of ours; no descriptors is, until some are closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
