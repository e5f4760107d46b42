//! A change of the metabase, in a service that runs: listeners are bound before it is made and set after; the queue, the
//! resolver and the sessions hear of it.

use crate::hub::Hub;
use crate::listen::{Listeners, Prepared};
use crate::metabase::Live;
use crate::{configuration, report::Report};
use postroad_engine::queue::QueueInput;
use postroad_events::fact::Fact;
use postroad_metabase::settings::Settings;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Octets of a greeting that are looked at: a reply's line has no more.
const GREETING_MAX: usize = 512;

/// The part of the service that settings reach.
pub(crate) struct Running {
    pub(crate) hub: Rc<Hub>,
    pub(crate) report: Rc<Report>,
    pub(crate) listeners: Rc<Listeners>,
    /// What the queue and the resolver were told last.
    told: RefCell<Arc<Settings>>,
    /// The name servers in use.
    pub(crate) servers: RefCell<Vec<SocketAddr>>,
}

impl Running {
    pub(crate) fn new(
        hub: Rc<Hub>,
        report: Rc<Report>,
        listeners: Rc<Listeners>,
        servers: Vec<SocketAddr>,
    ) -> Self {
        let told = RefCell::new(hub.settings());
        Self { hub, report, listeners, told, servers: RefCell::new(servers) }
    }

    /// Tells the resolver what it is to know, with the ports that the system chose.
    pub(crate) fn tell_resolver(&self) {
        let settings = configuration::dns_settings(&self.hub.settings(), &self.listeners.bound());
        self.servers.borrow_mut().clone_from(&settings.servers);
        self.hub.dns.set(settings);
    }

    /// Whether the system's name servers have changed.
    pub(crate) fn look_at_resolv_conf(&self) {
        if !self.hub.settings().dns.servers.is_empty() {
            return;
        }
        let servers = configuration::system_servers();
        // A file that is being written anew may be empty for a moment.
        if servers.is_empty() || servers == *self.servers.borrow() {
            return;
        }
        let before = self.servers.take();
        self.tell_resolver();
        self.report.state(Fact::DnsServersChanged { before, after: self.servers.borrow().clone() });
    }
}

impl Live for Running {
    fn prepare(&self, after: &Settings) -> Result<Prepared, String> {
        self.listeners.prepare(&after.bindings).map_err(|(address, error)| {
            let cause = error.to_string();
            self.report.state(Fact::BindFailed { address, cause: cause.clone() });
            unbound(address, &cause)
        })
    }

    fn rehearse(&self, after: &Settings) -> Result<(), String> {
        let prepared = self.listeners.prepare(&after.bindings);
        prepared.map(drop).map_err(|(address, error)| unbound(address, &error.to_string()))
    }

    fn publish(&self, settings: Arc<Settings>, prepared: Prepared) {
        self.listeners.set(&self.hub, &settings.bindings, prepared);
        let before = self.told.replace(Arc::clone(&settings));
        self.hub.tell(QueueInput::Settings(Arc::clone(&settings)));
        let dns_changed = before.dns != settings.dns
            || before.next_hop_refused != settings.next_hop_refused
            || before.remote_port != settings.remote_port
            || before.bindings != settings.bindings
            || before.fqdn != settings.fqdn;
        if dns_changed {
            self.tell_resolver();
            self.hub.tell(QueueInput::DnsReleased);
        }
    }

    fn sessions(&self) -> u64 {
        self.hub.inbound.get()
    }

    fn messages(&self) -> u64 {
        self.hub.queue(postroad_engine::queue::Queue::messages)
    }

    async fn health(&self, within: Duration) -> Result<&'static str, String> {
        let all = async {
            for bound in self.listeners.bound() {
                greets(reachable(bound)).await?;
            }
            Ok("Every binding greets with 220")
        };
        match tokio::time::timeout(within, all).await {
            Ok(result) => result,
            Err(_) => Err(format!("not every binding said 220 within {} s", within.as_secs())),
        }
    }
}

fn unbound(address: SocketAddr, cause: &str) -> String {
    format!("{address} cannot be bound: {cause}. End the program that has it, or give another ServerBindings")
}

/// Where a binding is reached from this machine.
pub(crate) fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        ip if !ip.is_unspecified() => bound,
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::LOCALHOST, bound.port())),
    }
}

async fn greets(address: SocketAddr) -> Result<(), String> {
    let no = |why: &dyn std::fmt::Display| format!("{address} does not greet with 220: {why}");
    let mut stream = TcpStream::connect(address).await.map_err(|error| no(&error))?;
    let mut greeting = Vec::new();
    while !greeting.contains(&b'\n') && greeting.len() < GREETING_MAX {
        if stream.read_buf(&mut greeting).await.map_err(|error| no(&error))? == 0 {
            break;
        }
    }
    // A server that is full is well.
    if greeting.starts_with(b"220") || greeting.starts_with(b"421 4.3.2") {
        return Ok(());
    }
    Err(no(&format!("it says {:?}", String::from_utf8_lossy(&greeting).trim_end())))
}
