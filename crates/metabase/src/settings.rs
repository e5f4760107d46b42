//! Compiled settings: what a virtual server runs by, typed and complete.
//!
//! They are made from the catalogue's fresh-install values and from what a configuration text sets, and never change
//! afterwards: a changed configuration is another `Settings`, handed out in an `Arc`.

use crate::catalogue::CATALOGUE;
use crate::error::ConfigError;
use crate::forms::Bad;
use crate::key::Key;
use crate::read::{Reader, Record};
use crate::schema::Value;
use ipnet::IpNet;
use postroad_mail::domain::{Domain, Host};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The settings of one virtual server.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
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
    /// Age at which its sender is told that it waits.
    pub delay: Duration,
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
    /// Whether remote mail goes out over TLS or not at all.
    pub tls_required: bool,
    /// How names are resolved.
    pub dns: DnsSettings,
    /// Addresses never dialled on account of an MX.
    pub next_hop_refused: Vec<IpNet>,
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsSettings {
    /// DNS servers in order; empty: those of the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// `SmtpUseTcpDns`: 0, 1, 2, or `ADAPTIVE`.
    pub policy: u32,
    /// `SmtpUseTcpDns` of domains that differ.
    pub policies_by_domain: BTreeMap<Domain, u32>,
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
}

impl Settings {
    /// What a fresh install runs by: SMTP on 127.0.0.1:2525, relaying for this machine alone. `host_name` names the
    /// server where it is a domain name, else `localhost` does; relative folders are inside `data_dir`.
    #[must_use]
    pub fn fresh(data_dir: &Path, host_name: &str) -> Self {
        Draft::fresh(data_dir).finish(host_name)
    }

    /// What a configuration text sets, over the fresh-install values. `file` is what errors call the text.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in its order, at most `ERRORS_MAX` entries.
    pub fn read(text: &str, file: &str, data_dir: &Path, host_name: &str) -> Result<Self, Vec<ConfigError>> {
        let mut reader = Reader::new(text, file);
        let records = reader.records();
        let mut draft = Draft::fresh(data_dir);
        // Records come in order of inheritance, so what stands at a key replaces what it inherits.
        for record in &records {
            if let Err(bad) = (record.property.apply)(&mut draft, &record.key, &record.value) {
                reader.refuse_value(record, bad);
            }
        }
        cross_check(&draft, &records, &mut reader);
        match reader.finish() {
            Some(errors) => Err(errors),
            None => Ok(draft.finish(host_name)),
        }
    }
}

impl Draft {
    /// The catalogue's fresh-install values, over a form that has none.
    fn fresh(data_dir: &Path) -> Self {
        let mut draft = Self {
            settings: Settings::blank(),
            data_dir: data_dir.into(),
            fqdn: None,
            default_domain: None,
            smart_host: None,
            smart_host_always: None,
        };
        for property in CATALOGUE {
            if let Some(value) = property.fresh.value() {
                let applied = (property.apply)(&mut draft, &Key::Server, &value);
                debug_assert!(applied.is_ok(), "{}: {applied:?}", property.name);
            }
        }
        draft
    }

    fn finish(self, host_name: &str) -> Settings {
        let mut settings = self.settings;
        settings.fqdn = self.fqdn.or_else(|| host_name.parse().ok()).unwrap_or(settings.fqdn);
        settings.default_domain = self.default_domain.unwrap_or_else(|| settings.fqdn.clone());
        let remote_port = settings.remote_port;
        settings.smart_host = self
            .smart_host
            .filter(|_| self.smart_host_always == Some(true))
            .map(|(host, port)| (host, port.unwrap_or(remote_port)));
        settings
    }
}

/// What no value shows by itself.
fn cross_check(draft: &Draft, records: &[Record], reader: &mut Reader<'_>) {
    let last = |name: &str| records.iter().rev().find(|record| record.property.name == name);
    match (last("SmartHostType"), last("SmartHost")) {
        (Some(kind), host) if draft.smart_host_always == Some(true) && draft.smart_host.is_none() => {
            // A SmartHost that was refused has its own error.
            let empty = host.is_none_or(|host| host.value == Value::Text(String::new()));
            if empty && !reader.refused("SmartHost") {
                let remedy =
                    "Set SmartHost, as \"relay.example.org\" or \"[192.0.2.1]:587\", or SmartHostType = 0.";
                reader.refuse_value(kind, Bad::new("is 2, but there is no SmartHost", remedy));
            }
        }
        // Mail would pass by a host that was named for it; the original's administrators met that often.
        (None, Some(host)) if draft.smart_host.is_some() && !reader.refused("SmartHostType") => {
            let remedy =
                "Set SmartHostType = 2 to send all remote mail through it, or 0 to keep it for later.";
            reader.refuse_value(host, Bad::new("has no effect, because SmartHostType is not set", remedy));
        }
        _ => {}
    }
}

impl Settings {
    /// No value anywhere: what the catalogue's fresh-install values are put into.
    fn blank() -> Self {
        let localhost = Domain::localhost();
        Self {
            bindings: Vec::new(),
            fqdn: localhost.clone(),
            default_domain: localhost,
            relay: Vec::new(),
            size_max: 0,
            recipients_max: 0,
            connections_max: 0,
            connection_timeout: Duration::ZERO,
            hop_count: 0,
            retry: Vec::new(),
            expire: Duration::ZERO,
            delay: Duration::ZERO,
            smart_host: None,
            remote_port: 0,
            batch_max: 0,
            out_connections_max: 0,
            out_connections_per_domain_max: 0,
            badmail_dir: PathBuf::new(),
            drop_dir: PathBuf::new(),
            tls_required: false,
            dns: DnsSettings {
                servers: Vec::new(),
                policy: ADAPTIVE,
                policies_by_domain: BTreeMap::new(),
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
