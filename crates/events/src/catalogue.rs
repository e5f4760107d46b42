//! The catalogue: every event once.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// Nothing is wrong.
    Information,
    /// Something is wrong, and mail still flows.
    Warning,
    /// Mail waits or is lost to its recipient until someone acts.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Information => "Information",
            Self::Warning => "Warning",
            Self::Error => "Error",
        })
    }
}

/// What becomes of an event that is stated again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reported each time: it is rare by nature.
    Notice,
    /// Reported at once, then hourly with a count while it goes on.
    Repeating,
    /// As `Repeating`, until its all-clear, whose number is 10000 higher.
    State,
    /// Ends the state whose number is 10000 lower; not reported where that was not.
    AllClear,
}

/// One event: an entry of the catalogue.
#[derive(Debug)]
pub struct Entry {
    /// Its number; the original's where that is public.
    pub number: u32,
    /// `SMTPSVC` for the original's numbers and their all-clears, `Postroad` for ours.
    pub source: &'static str,
    /// How bad it is; a fact may state another (event 2012 is an error once mail waits).
    pub severity: Severity,
    /// What it is about.
    pub category: &'static str,
    /// What becomes of repeats.
    pub kind: Kind,
    /// The names of its fields; the first `key` of them say which state or series it belongs to.
    pub fields: &'static [&'static str],
    /// How many of the fields are its key.
    pub key: usize,
    /// What happened, with `{field}` for each field it names.
    pub sentence: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// An all-clear's number is its state's plus this.
pub const ALL_CLEAR: u32 = 10_000;

const SMTPSVC: &str = "SMTPSVC";
const POSTROAD: &str = "Postroad";

/// Every event, by number.
pub static CATALOGUE: &[Entry] = &[
    Entry {
        number: 115,
        source: SMTPSVC,
        severity: Severity::Error,
        category: "Service",
        kind: Kind::State,
        fields: &["address", "cause"],
        key: 1,
        sentence: "Cannot listen on {address}: {cause}.",
        remedy: "Stop what uses the address and port, or change ServerBindings; ports below 1024 need the right to bind them.",
    },
    Entry {
        number: 2012,
        source: SMTPSVC,
        severity: Severity::Warning,
        category: "DNS",
        kind: Kind::State,
        fields: &["server", "transport", "cause", "mail"],
        key: 2,
        sentence: "DNS server {server} cannot be reached over {transport}: {cause}. {mail}.",
        remedy: "Let the server answer over that transport, and let firewalls pass port 53 over both UDP and TCP; or name other \
                 servers in DnsServers. If TCP cannot be had, SmtpUseTcpDns = 2 asks over UDP only. `postroad dns mx \
                 DOMAIN --policy NAME` shows what works.",
    },
    Entry {
        number: 2013,
        source: SMTPSVC,
        severity: Severity::Error,
        category: "DNS",
        kind: Kind::State,
        fields: &["cause"],
        key: 0,
        sentence: "No DNS server can be reached: {cause}. Mail that needs DNS waits; none is returned for this.",
        remedy: "Check the network and the servers in DnsServers, or in the system's resolv.conf where DnsServers is empty.",
    },
    Entry {
        number: 4000,
        source: SMTPSVC,
        severity: Severity::Warning,
        category: "Delivery",
        kind: Kind::State,
        fields: &["domain", "cause"],
        key: 1,
        sentence: "Mail to {domain} is not delivered: {cause}.",
        remedy: "`postroad explain` with the domain shows each step that was tried.",
    },
    Entry {
        number: 4006,
        source: SMTPSVC,
        severity: Severity::Warning,
        category: "Delivery",
        kind: Kind::State,
        fields: &["host", "cause"],
        key: 1,
        sentence: "Delivery to host {host} failed: {cause}.",
        remedy: "If other hosts can reach it, look at firewalls between this machine and the host.",
    },
    Entry {
        number: 10_115,
        source: SMTPSVC,
        severity: Severity::Information,
        category: "Service",
        kind: Kind::AllClear,
        fields: &["address"],
        key: 1,
        sentence: "Listening on {address}.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 12_012,
        source: SMTPSVC,
        severity: Severity::Information,
        category: "DNS",
        kind: Kind::AllClear,
        fields: &["server", "transport"],
        key: 2,
        sentence: "DNS server {server} answers over {transport} again.",
        remedy: "Nothing to do: mail that waited for DNS is due at once.",
    },
    Entry {
        number: 12_013,
        source: SMTPSVC,
        severity: Severity::Information,
        category: "DNS",
        kind: Kind::AllClear,
        fields: &["server"],
        key: 0,
        sentence: "DNS server {server} answers.",
        remedy: "Nothing to do: mail that waited for DNS is due at once.",
    },
    Entry {
        number: 14_000,
        source: SMTPSVC,
        severity: Severity::Information,
        category: "Delivery",
        kind: Kind::AllClear,
        fields: &["domain"],
        key: 1,
        sentence: "Mail to {domain} is delivered again, or none waits for its hosts.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 14_006,
        source: SMTPSVC,
        severity: Severity::Information,
        category: "Delivery",
        kind: Kind::AllClear,
        fields: &["host"],
        key: 1,
        sentence: "Host {host} takes mail again, or none waits for it.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 20_001,
        source: POSTROAD,
        severity: Severity::Warning,
        category: "DNS",
        kind: Kind::Repeating,
        fields: &["question", "server", "records"],
        key: 2,
        sentence: "The answer to {question} from DNS server {server} was truncated; its {records} usable records were used.",
        remedy: "Let the DNS server answer over TCP and let firewalls pass port 53 over TCP: mail may miss hosts until then.",
    },
    Entry {
        number: 20_002,
        source: POSTROAD,
        severity: Severity::Error,
        category: "DNS",
        kind: Kind::Repeating,
        fields: &["question", "server"],
        key: 2,
        sentence: "The answer to {question} from DNS server {server} was truncated and held no usable record; SmtpUseTcpDns \
                   allows UDP only.",
        remedy: "Allow TCP: leave SmtpUseTcpDns unset or set it to 0, for the domain at /LM/SmtpSvc/1/Domain/name; or name \
                 other servers in DnsServers.",
    },
    Entry {
        number: 20_003,
        source: POSTROAD,
        severity: Severity::Warning,
        category: "DNS",
        kind: Kind::Repeating,
        fields: &["question", "expired"],
        key: 1,
        sentence: "No DNS server answered {question}; an answer that expired {expired} ago was used.",
        remedy: "Make a DNS server reachable: expired answers serve for a day.",
    },
    Entry {
        number: 20_010,
        source: POSTROAD,
        severity: Severity::Information,
        category: "Service",
        kind: Kind::Notice,
        fields: &["version", "bindings"],
        key: 0,
        sentence: "Postroad {version} started; it listens on {bindings}.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 20_011,
        source: POSTROAD,
        severity: Severity::Information,
        category: "Service",
        kind: Kind::Notice,
        fields: &["cause"],
        key: 0,
        sentence: "Postroad stopped: {cause}.",
        remedy: "Nothing to do if that was meant; queued mail is kept and tried after the next start.",
    },
    Entry {
        number: 20_012,
        source: POSTROAD,
        severity: Severity::Information,
        category: "Configuration",
        kind: Kind::Notice,
        fields: &["file", "changes"],
        key: 1,
        sentence: "The configuration {file} was read again; changed: {changes}.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 20_013,
        source: POSTROAD,
        severity: Severity::Error,
        category: "Configuration",
        kind: Kind::State,
        fields: &["file", "cause"],
        key: 1,
        sentence: "The configuration {file} was refused and the one before stays in force: {cause}",
        remedy: "Correct the file and have it read again.",
    },
    Entry {
        number: 20_014,
        source: POSTROAD,
        severity: Severity::Warning,
        category: "Configuration",
        kind: Kind::Notice,
        fields: &["cause"],
        key: 0,
        sentence: "Something due in the metabase was not done: {cause}",
        remedy: "See to what is named; it is tried again when it is due next.",
    },
    Entry {
        number: 20_020,
        source: POSTROAD,
        severity: Severity::Error,
        category: "Store",
        kind: Kind::State,
        fields: &["cause"],
        key: 0,
        sentence: "The mail store failed: {cause}. New mail is refused with a temporary error; accepted mail is safe.",
        remedy: "Free space on the disk of the data folder, or repair it; the store is opened again by itself.",
    },
    Entry {
        number: 20_021,
        source: POSTROAD,
        severity: Severity::Error,
        category: "Store",
        kind: Kind::Notice,
        fields: &["file"],
        key: 1,
        sentence: "The disk has not kept all that was synced to spool.intake. Messages that had their 250 may be lost, others may \
                   be delivered twice; everything else in it was recovered. {file} is a copy of it as it was found.",
        remedy: "Check the disk, and whether it or the machine above it acknowledges writes that it has not made (a write cache \
                 without a battery, a virtual disk with caching). Remove the copy when it is of no more use: it is told of at \
                 each start.",
    },
    Entry {
        number: 20_030,
        source: POSTROAD,
        severity: Severity::Warning,
        category: "Delivery",
        kind: Kind::Repeating,
        fields: &["message", "file", "cause"],
        key: 0,
        sentence: "Message {message} can neither be delivered nor returned and was put into {file}: {cause}.",
        remedy: "Look at the message there and delete it, or send it on by hand.",
    },
    Entry {
        number: 20_040,
        source: POSTROAD,
        severity: Severity::Information,
        category: "TLS",
        kind: Kind::Notice,
        fields: &["name", "file"],
        key: 1,
        sentence: "A self-signed TLS certificate for {name} was made in {file}.",
        remedy: "Nothing to do; replace it by one of a certificate authority if clients check it.",
    },
    Entry {
        number: 20_041,
        source: POSTROAD,
        severity: Severity::Information,
        category: "DNS",
        kind: Kind::Notice,
        fields: &["before", "after"],
        key: 0,
        sentence: "The DNS servers changed from {before} to {after}; mail that waited for DNS is due at once.",
        remedy: "Nothing to do if that was meant.",
    },
    Entry {
        number: 30_013,
        source: POSTROAD,
        severity: Severity::Information,
        category: "Configuration",
        kind: Kind::AllClear,
        fields: &["file"],
        key: 1,
        sentence: "The configuration {file} is in force.",
        remedy: "Nothing to do.",
    },
    Entry {
        number: 30_020,
        source: POSTROAD,
        severity: Severity::Information,
        category: "Store",
        kind: Kind::AllClear,
        fields: &[],
        key: 0,
        sentence: "The mail store works again.",
        remedy: "Nothing to do.",
    },
];

/// The entry of a number.
#[must_use]
pub fn entry(number: u32) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.number == number)
}
