//! Compiled settings: what a virtual server runs by, typed and complete.
//!
//! They are made of a tree (`compile`), and never change afterwards: a changed configuration is another `Settings`, handed
//! out in an `Arc`.

use crate::compile::{self, Place, Problem};
use crate::error::ConfigError;
use crate::ids;
use crate::read::{Reader, Scope};
use crate::record::Data;
use crate::text::Pin;
use imbl::OrdMap;
use ipnet::IpNet;
use postroad_mail::domain::{Domain, Host};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of one virtual server.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which state of the metabase they were made of; 0 where they were made of a text.
    pub generation: u64,
    /// Where to listen, in the order given; never empty. Port 0 lets the system choose.
    pub bindings: Vec<SocketAddr>,
    /// Our name in the greeting, EHLO and `Received`.
    pub fqdn: Domain,
    /// The domain of addresses without one, and the local domain.
    pub default_domain: Domain,
    /// Clients that may relay.
    pub relay: Vec<IpNet>,
    /// Octets of the largest message accepted.
    pub size_max: u64,
    /// Octets of all messages of one session; 0 is no limit.
    pub session_size_max: u64,
    /// Recipients of one message.
    pub recipients_max: u32,
    /// Inbound connections at once; `u32::MAX` where no limit is set.
    pub connections_max: u32,
    /// How long an inbound session may be idle.
    pub connection_timeout: Duration,
    /// `Received` fields above which a message is taken to loop.
    pub hop_count: u32,
    /// Waits between attempts; the last one repeats. Never empty.
    pub retry: Vec<Duration>,
    /// Age at which a message is returned.
    pub expire: Duration,
    /// The smart host and its port, if all remote mail goes there.
    pub smart_host: Option<(Host, u16)>,
    /// Port dialled on remote servers.
    pub remote_port: u16,
    /// Messages over one outbound connection; `u32::MAX` where no limit is set.
    pub batch_max: u32,
    /// Outbound connections at once; `u32::MAX` where no limit is set.
    pub out_connections_max: u32,
    /// Outbound connections to one domain at once; `u32::MAX` where no limit is set.
    pub out_connections_per_domain_max: u32,
    /// The Badmail folder.
    pub badmail_dir: PathBuf,
    /// The Drop folder.
    pub drop_dir: PathBuf,
    /// How often a backup of the metabase is made by itself.
    pub backup_every: Option<Duration>,
    /// How many of those are kept.
    pub backup_keep: u32,
    /// Whether remote mail goes out over TLS or not at all.
    pub tls_required: bool,
    /// How names are resolved.
    pub dns: DnsSettings,
    /// Addresses never dialled on account of an MX.
    pub next_hop_refused: Vec<IpNet>,
}

/// What a change of settings reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Inbound sessions.
    pub sessions: bool,
    /// Messages that are to be delivered.
    pub messages: bool,
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    /// DNS servers in order; empty: those of the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// `SmtpUseTcpDns`: 0, 1, 2, or `ADAPTIVE`.
    pub policy: u32,
    /// `SmtpUseTcpDns` of domains that differ.
    pub policies_by_domain: OrdMap<Domain, u32>,
    /// Waits between attempts of a next hop that DNS holds up; the last one repeats. Never empty.
    pub retry: Vec<Duration>,
    /// First and longest wait between probes of a transport that failed; the wait doubles.
    pub probe: (Duration, Duration),
    /// First wait for an answer over UDP; it doubles.
    pub udp_first: Duration,
    /// Wait for a TCP connection.
    pub tcp_connect: Duration,
    /// Wait for an answer over TCP.
    pub tcp_reply: Duration,
    /// Wait for all answers of one lookup.
    pub lookup: Duration,
}

/// `SmtpUseTcpDns`, not set: Postroad adapts (the original's schema default).
pub const ADAPTIVE: u32 = 0xFFFF_FFFF;

/// Settings in the making: what the catalogue's entries write into.
pub(crate) struct Draft {
    pub(crate) settings: Settings,
    pub(crate) data_dir: PathBuf,
    pub(crate) fqdn: Option<Domain>,
    pub(crate) default_domain: Option<Domain>,
    pub(crate) smart_host: Option<(Host, Option<u16>)>,
    pub(crate) smart_host_always: Option<bool>,
    /// Whether the limits on outbound connections hold.
    pub(crate) out_connections_limited: bool,
}

impl Settings {
    /// What a fresh install runs by: SMTP on 127.0.0.1:2525, relaying for this machine alone. `host_name` names the
    /// server where it is a domain name, else `localhost` does; relative folders are inside `data_dir`.
    #[must_use]
    pub fn fresh(data_dir: &Path, host_name: &str) -> Self {
        let place = Place { data_dir: data_dir.into(), host_name: host_name.into() };
        let (draft, problems) = compile::draft(&compile::fresh_tree(), &place);
        debug_assert!(problems.is_empty(), "{problems:?}");
        draft.finish(host_name)
    }

    /// What a configuration text sets, over the fresh-install values. `file` is what errors call the text.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in its order, at most `ERRORS_MAX` entries.
    pub fn read(text: &str, file: &str, data_dir: &Path, host_name: &str) -> Result<Self, Vec<ConfigError>> {
        let place = Place { data_dir: data_dir.into(), host_name: host_name.into() };
        let mut reader = Reader::new(text, file, Scope::Pins);
        let pins = reader.read().pins;
        let (tree, draft) = reader.judge(&pins, &place);
        let mut problems = Vec::new();
        compile::cross(&draft, &tree, &mut problems);
        for problem in problems {
            // A SmartHost that was refused has its own error.
            let is_told = [ids::SMART_HOST_TYPE, ids::SMART_HOST].map(Some).contains(&problem.id)
                && (reader.refused("SmartHost") || reader.refused("SmartHostType"));
            if !is_told {
                reader.refuse_problem(&pins, problem);
            }
        }
        let settings = draft.finish(host_name);
        if let Some(problem) = settings.unused(&pins).filter(|_| reader.is_well()) {
            reader.refuse_problem(&pins, problem);
        }
        match reader.finish() {
            Some(errors) => Err(errors),
            None => Ok(settings),
        }
    }
}

impl Settings {
    /// The SmartHost that pins name where these settings, which are made with them, do not use it and the pins do not say so: mail
    /// would pass by a host that was named for it. The original's administrators met that often.
    #[must_use]
    pub fn unused(&self, pins: &[Pin]) -> Option<Problem> {
        let last = |id: u32| pins.iter().rev().find(|pin| pin.record.id == id);
        let pin = last(ids::SMART_HOST)
            .filter(|pin| matches!(&pin.record.data, Data::String(host) if !host.trim().is_empty()))?;
        if self.smart_host.is_some() || last(ids::SMART_HOST_TYPE).is_some() {
            return None;
        }
        Some(Problem {
            path: pin.path.clone(),
            id: Some(pin.record.id),
            name: "SmartHost".into(),
            what: "has no effect, because SmartHostType is not 2".into(),
            remedy: "Set SmartHostType = 2 beside it to send all remote mail through it, or 0 to keep it for later.".into(),
            item: None,
        })
    }
}

impl Settings {
    /// What the other settings reach, where these held before. Named one by one, so that whoever adds a setting has to say.
    #[must_use]
    pub fn touched_by(&self, after: &Self) -> Touched {
        let Self {
            generation: _,
            // Sessions that are open stay where they are, and backups concern no mail.
            bindings: _,
            backup_every: _,
            backup_keep: _,
            fqdn,
            default_domain,
            relay,
            size_max,
            session_size_max,
            recipients_max,
            connections_max,
            connection_timeout,
            hop_count,
            retry,
            expire,
            smart_host,
            remote_port,
            batch_max,
            out_connections_max,
            out_connections_per_domain_max,
            badmail_dir,
            drop_dir,
            tls_required,
            dns,
            next_hop_refused,
        } = after;
        let both = (fqdn, default_domain) != (&self.fqdn, &self.default_domain);
        let sessions = relay != &self.relay
            || (size_max, recipients_max) != (&self.size_max, &self.recipients_max)
            || (connections_max, connection_timeout) != (&self.connections_max, &self.connection_timeout)
            || (session_size_max, hop_count) != (&self.session_size_max, &self.hop_count);
        let messages = (retry, expire) != (&self.retry, &self.expire)
            || (smart_host, remote_port) != (&self.smart_host, &self.remote_port)
            || (batch_max, out_connections_max) != (&self.batch_max, &self.out_connections_max)
            || out_connections_per_domain_max != &self.out_connections_per_domain_max
            || (badmail_dir, drop_dir) != (&self.badmail_dir, &self.drop_dir)
            || (tls_required, dns) != (&self.tls_required, &self.dns)
            || next_hop_refused != &self.next_hop_refused;
        Touched { sessions: both || sessions, messages: both || messages }
    }
}

impl Draft {
    /// A form that has no values.
    pub(crate) fn blank(data_dir: &Path) -> Self {
        Self {
            settings: Settings::blank(),
            data_dir: data_dir.into(),
            fqdn: None,
            default_domain: None,
            smart_host: None,
            smart_host_always: None,
            out_connections_limited: true,
        }
    }

    pub(crate) fn finish(self, host_name: &str) -> Settings {
        let mut settings = self.settings;
        settings.fqdn = self.fqdn.or_else(|| host_name.parse().ok()).unwrap_or(settings.fqdn);
        settings.default_domain = self.default_domain.unwrap_or_else(|| settings.fqdn.clone());
        let remote_port = settings.remote_port;
        settings.smart_host = self
            .smart_host
            .filter(|_| self.smart_host_always == Some(true))
            .map(|(host, port)| (host, port.unwrap_or(remote_port)));
        if !self.out_connections_limited {
            settings.out_connections_max = u32::MAX;
            settings.out_connections_per_domain_max = u32::MAX;
        }
        settings
    }
}

impl Settings {
    /// No value anywhere: what the catalogue's fresh-install values are put into.
    fn blank() -> Self {
        let localhost = Domain::localhost();
        Self {
            generation: 0,
            bindings: Vec::new(),
            fqdn: localhost.clone(),
            default_domain: localhost,
            relay: Vec::new(),
            size_max: 0,
            session_size_max: 0,
            recipients_max: 0,
            connections_max: 0,
            connection_timeout: Duration::ZERO,
            hop_count: 0,
            retry: Vec::new(),
            expire: Duration::ZERO,
            smart_host: None,
            remote_port: 0,
            batch_max: 0,
            out_connections_max: 0,
            out_connections_per_domain_max: 0,
            badmail_dir: PathBuf::new(),
            drop_dir: PathBuf::new(),
            backup_every: None,
            backup_keep: 1,
            tls_required: false,
            dns: DnsSettings {
                servers: Vec::new(),
                policy: ADAPTIVE,
                policies_by_domain: OrdMap::new(),
                retry: Vec::new(),
                probe: (Duration::ZERO, Duration::ZERO),
                udp_first: Duration::ZERO,
                tcp_connect: Duration::ZERO,
                tcp_reply: Duration::ZERO,
                lookup: Duration::ZERO,
            },
            next_hop_refused: Vec::new(),
        }
    }
}
