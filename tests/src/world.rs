//! Postroad between a name server and a sink: what most tests stand on.

use crate::client::Smtplib;
use crate::nameserver::{Kind, NOMX, NameServer, SENDER, SMALL};
use crate::postroad::{Config, Postroad};
use crate::sink::Sink;
use std::net::IpAddr;

/// The sender of tests' mail, whose host is the sink too.
pub const FROM: &str = "s@sender.example";

/// Where the sink listens: the hosts of small.example, sender.example and nomx.example.
pub const ADDRESSES: [IpAddr; 3] = [IpAddr::V4(SMALL), IpAddr::V4(SENDER), IpAddr::V4(NOMX)];

/// A name server, a sink, and Postroad, which is told of both.
#[derive(Debug)]
pub struct World {
    /// Before what it talks to: fields are dropped in order.
    pub postroad: Postroad,
    /// At `ADDRESSES`.
    pub sink: Sink,
    /// Unbound.
    pub dns: NameServer,
    /// What Postroad is configured with.
    pub config: Config,
}

impl World {
    /// With nothing special.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[], &Config::default())
    }

    /// With options of the sink, and settings.
    #[must_use]
    pub fn with(sink_options: &[&str], config: &Config) -> Self {
        Self::around(Sink::start(&ADDRESSES, sink_options), "", config)
    }

    /// Around a sink, with more records in the zone.
    #[must_use]
    pub fn around(sink: Sink, zone: &str, config: &Config) -> Self {
        let dns = NameServer::start_with(Kind::Unbound, zone);
        // A test may have its reasons to name another port.
        let remote_port = if config.remote_port == 0 { sink.port() } else { config.remote_port };
        let config = Config { dns: vec![dns.address()], remote_port, ..config.clone() };
        Self { postroad: Postroad::start(&config), sink, dns, config }
    }

    /// An SMTP client that sends from `FROM`.
    #[must_use]
    pub fn client(&self) -> Smtplib {
        Smtplib::new(self.postroad.address(), FROM)
    }

    /// Sends, and gives the queue id.
    ///
    /// # Panics
    /// Unless it is accepted.
    #[must_use]
    #[track_caller]
    pub fn accepted(&self, to: &[&str], content: &[u8]) -> String {
        self.client().accepted(to, content)
    }
}
