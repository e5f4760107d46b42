//! Bindings: each has a task that accepts. A changed list is bound anew first, and what is no more wanted is closed after.

use crate::hub::Hub;
use crate::session;
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
    tasks: RefCell<BTreeMap<SocketAddr, (SocketAddr, AbortHandle)>>,
}

impl Listeners {
    /// Where we listen; a port 0 is the one that the system chose.
    pub(crate) fn bound(&self) -> Vec<SocketAddr> {
        self.tasks.borrow().values().map(|(bound, _)| *bound).collect()
    }

    /// Binds what of `wanted` is not bound yet, and nothing else: a change that cannot take effect is found out before it is
    /// made.
    pub(crate) fn prepare(&self, wanted: &[SocketAddr]) -> Result<Prepared, (SocketAddr, io::Error)> {
        let known = |address: &SocketAddr| self.tasks.borrow().contains_key(address);
        let mut fresh = Vec::new();
        for address in wanted.iter().filter(|address| !known(address)) {
            let listener = bind(*address).map_err(|error| (*address, error))?;
            let bound = listener.local_addr().map_err(|error| (*address, error))?;
            fresh.push((*address, bound, listener));
        }
        Ok(Prepared(fresh))
    }

    /// Makes `wanted` the bindings, of which `prepared` are bound: these are listened at, others are closed.
    pub(crate) fn set(&self, hub: &Rc<Hub>, wanted: &[SocketAddr], prepared: Prepared) {
        let mut tasks = self.tasks.borrow_mut();
        for (address, bound, listener) in prepared.0 {
            let task = tokio::task::spawn_local(accept(Rc::clone(hub), listener));
            tasks.insert(address, (bound, task.abort_handle()));
            hub.report.state(Fact::Bound { address: bound });
        }
        tasks.retain(|address, (_, task)| {
            let keep = wanted.contains(address);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    /// Closes them all.
    pub(crate) fn close(&self) {
        for (_, task) in std::mem::take(&mut *self.tasks.borrow_mut()).into_values() {
            task.abort();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(hub: Rc<Hub>, listener: TcpListener) {
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
                tokio::task::spawn_local(session::run(Rc::clone(&hub), socket, client));
            }
            // A client that went away is no trouble of ours; no descriptors is, until some are closed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
