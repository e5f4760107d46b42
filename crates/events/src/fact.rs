//! Facts: what a part of the service has to say to its administrator, typed.

use crate::catalogue::Severity;
use postroad_mail::domain::Domain;
use postroad_mail::id::MessageId;
use postroad_mail::time::brief;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How a DNS server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Plain datagrams.
    Udp,
    /// Plain streams.
    Tcp,
    /// DNS over TLS.
    Tls,
    /// DNS over HTTPS.
    Https,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "HTTPS",
        })
    }
}

/// One fact. Its number, sentence and remedy are in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// 115.
    BindFailed {
        /// The binding.
        address: SocketAddr,
        /// The system's words.
        cause: String,
    },
    /// 10115 ends 115.
    Bound {
        /// The binding.
        address: SocketAddr,
    },
    /// 2012: a warning, or an error once mail waits.
    DnsServerDown {
        /// The server.
        server: SocketAddr,
        /// The transport that failed.
        transport: Transport,
        /// What happened.
        cause: String,
        /// Whether mail waits for it.
        mail_waits: bool,
    },
    /// 12012 ends 2012.
    DnsServerUp {
        /// The server.
        server: SocketAddr,
        /// The transport that works again.
        transport: Transport,
    },
    /// 2013.
    NoDnsServer {
        /// What happened.
        cause: String,
    },
    /// 12013 ends 2013.
    DnsServerReached {
        /// The server that answered.
        server: SocketAddr,
    },
    /// 20001.
    PartialAnswerUsed {
        /// The question, as `example.org MX`.
        question: String,
        /// Who gave the answer.
        server: SocketAddr,
        /// How many usable records it had.
        records: usize,
    },
    /// 20002.
    TruncatedUseless {
        /// The question, as `example.org MX`.
        question: String,
        /// Who gave the answer.
        server: SocketAddr,
    },
    /// 20003.
    StaleAnswerUsed {
        /// The question, as `example.org MX`.
        question: String,
        /// How long ago the answer expired.
        expired: Duration,
    },
    /// 4000.
    DomainFailed {
        /// The domain.
        domain: Domain,
        /// What happened, and what becomes of the mail.
        cause: String,
    },
    /// 14000 ends 4000.
    DomainReached {
        /// The domain.
        domain: Domain,
    },
    /// 4006.
    HostFailed {
        /// The host, as `mx.example.org [192.0.2.1]:25`.
        host: String,
        /// What happened.
        cause: String,
    },
    /// 14006 ends 4006.
    HostReached {
        /// The host, written as in `HostFailed`.
        host: String,
    },
    /// 20010.
    Started {
        /// Our version.
        version: String,
        /// Where we listen.
        bindings: Vec<SocketAddr>,
    },
    /// 20011.
    Stopped {
        /// Why, as `terminated by signal 15`.
        cause: String,
    },
    /// 20012.
    ConfigurationRead {
        /// The file.
        file: String,
        /// What changed, as names of properties.
        changes: String,
    },
    /// 20013.
    ConfigurationRefused {
        /// The file.
        file: String,
        /// What is wrong with it.
        cause: String,
    },
    /// 30013 ends 20013.
    ConfigurationAccepted {
        /// The file.
        file: String,
    },
    /// 20014.
    MetabaseTroubled {
        /// What could not be done, and why.
        cause: String,
    },
    /// 20020.
    StoreFailed {
        /// What happened.
        cause: String,
    },
    /// 30020 ends 20020.
    StoreRecovered,
    /// 20021.
    SpoolDamaged {
        /// The copy of what was found.
        file: String,
    },
    /// 20030.
    BadmailWritten {
        /// The message.
        message: MessageId,
        /// The file it is in.
        file: String,
        /// Why it could neither be delivered nor returned.
        cause: String,
    },
    /// 20040.
    CertificateMade {
        /// The name in it.
        name: Domain,
        /// The file it is in.
        file: String,
    },
    /// 20041.
    DnsServersChanged {
        /// The servers before.
        before: Vec<SocketAddr>,
        /// The servers from here on.
        after: Vec<SocketAddr>,
    },
}

impl Fact {
    /// Its number in the catalogue.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::BindFailed { .. } => 115,
            Self::Bound { .. } => 10_115,
            Self::DnsServerDown { .. } => 2012,
            Self::DnsServerUp { .. } => 12_012,
            Self::NoDnsServer { .. } => 2013,
            Self::DnsServerReached { .. } => 12_013,
            Self::PartialAnswerUsed { .. } => 20_001,
            Self::TruncatedUseless { .. } => 20_002,
            Self::StaleAnswerUsed { .. } => 20_003,
            Self::DomainFailed { .. } => 4000,
            Self::DomainReached { .. } => 14_000,
            Self::HostFailed { .. } => 4006,
            Self::HostReached { .. } => 14_006,
            Self::Started { .. } => 20_010,
            Self::Stopped { .. } => 20_011,
            Self::ConfigurationRead { .. } => 20_012,
            Self::ConfigurationRefused { .. } => 20_013,
            Self::ConfigurationAccepted { .. } => 30_013,
            Self::MetabaseTroubled { .. } => 20_014,
            Self::StoreFailed { .. } => 20_020,
            Self::StoreRecovered => 30_020,
            Self::SpoolDamaged { .. } => 20_021,
            Self::BadmailWritten { .. } => 20_030,
            Self::CertificateMade { .. } => 20_040,
            Self::DnsServersChanged { .. } => 20_041,
        }
    }

    /// The severity, where it is not the catalogue's.
    pub(crate) fn severity(&self) -> Option<Severity> {
        match self {
            Self::DnsServerDown { mail_waits: true, .. } => Some(Severity::Error),
            _ => None,
        }
    }

    /// The values of the catalogue's fields, in its order.
    pub(crate) fn values(&self) -> Vec<String> {
        let texts = |values: &[&dyn fmt::Display]| values.iter().map(ToString::to_string).collect();
        match self {
            Self::BindFailed { address, cause } => texts(&[address, cause]),
            Self::Bound { address } => texts(&[address]),
            Self::DnsServerDown { server, transport, cause, mail_waits } => {
                let mail = if *mail_waits { "Mail waits for it" } else { "No mail waits for it so far" };
                texts(&[&name(*server), transport, cause, &mail])
            }
            Self::DnsServerUp { server, transport } => texts(&[&name(*server), transport]),
            Self::NoDnsServer { cause } | Self::Stopped { cause } | Self::StoreFailed { cause } => {
                texts(&[cause])
            }
            Self::DnsServerReached { server } => texts(&[&name(*server)]),
            Self::PartialAnswerUsed { question, server, records } => {
                texts(&[question, &name(*server), records])
            }
            Self::TruncatedUseless { question, server } => texts(&[question, &name(*server)]),
            Self::StaleAnswerUsed { question, expired } => texts(&[question, &brief(*expired)]),
            Self::DomainFailed { domain, cause } => texts(&[domain, cause]),
            Self::DomainReached { domain } => texts(&[domain]),
            Self::HostFailed { host, cause } => texts(&[host, cause]),
            Self::HostReached { host } => texts(&[host]),
            Self::Started { version, bindings } => {
                texts(&[version, &listed(bindings.iter().map(ToString::to_string), "no address")])
            }
            Self::ConfigurationRead { file, changes } => texts(&[file, changes]),
            Self::ConfigurationRefused { file, cause } => texts(&[file, cause]),
            Self::ConfigurationAccepted { file } | Self::SpoolDamaged { file } => texts(&[file]),
            Self::MetabaseTroubled { cause } => texts(&[cause]),
            Self::StoreRecovered => Vec::new(),
            Self::BadmailWritten { message, file, cause } => texts(&[message, file, cause]),
            Self::CertificateMade { name, file } => texts(&[name, file]),
            Self::DnsServersChanged { before, after } => {
                let names =
                    |servers: &[SocketAddr]| listed(servers.iter().map(|server| name(*server)), "none");
                texts(&[&names(before), &names(after)])
            }
        }
    }
}

/// A DNS server as DnsServers has it: the port only where it is not 53.
fn name(server: SocketAddr) -> String {
    if server.port() == 53 { server.ip().to_string() } else { server.to_string() }
}

fn listed(items: impl Iterator<Item = String>, none: &str) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() { none.into() } else { items.join(", ") }
}
