//! Properties that take effect, with what each does to the settings.

use super::{ALL, SERVER};
use crate::forms::{self, Bad};
use crate::key::Key;
use crate::record::{INHERIT, REFERENCE};
use crate::schema::{Apply, DataType, Default, Effect, Mark, NETWORKS, Property, UserType, Value};
use crate::settings::{ADAPTIVE, Draft};
use std::path::PathBuf;
use std::time::Duration;

/// What most entries have; each says what it has otherwise. `effect_test` is the test that shows what it does.
const fn property(
    (name, id): (&'static str, u32),
    effect_test: &'static str,
    data_type: DataType,
    apply: Apply,
) -> Property {
    let mark = Mark::InForce { effect_test, apply: Effect(apply) };
    Property { mark, ..super::property(name, id, data_type, "", Default::Unset(""), "") }
}

const fn number(
    named: (&'static str, u32),
    effect_test: &'static str,
    bounds: (u32, u32),
    apply: Apply,
) -> Property {
    Property { bounds: Some(bounds), ..property(named, effect_test, DataType::Dword, apply) }
}

pub(super) static ROWS: &[Property] = &[
    Property {
        unit: "bindings",
        fresh: Default::List(&["127.0.0.1:2525:"]),
        absent: Some(Default::List(&[":25:"])),
        keys: SERVER,
        doc: "Where the server listens: `ip:port:`, `[v6]:port:`; a blank ip is every IPv4 address, port 0 one that the \
              system chooses.",
        ..property(("ServerBindings", 1023), "server_bindings", DataType::MultiSz, server_bindings)
    },
    Property {
        unit: "a domain name",
        fresh: Default::Unset("the machine's name, else localhost"),
        doc: "The server's name in its greeting, in EHLO and in the trace field it adds. Mail for it is local.",
        ..property(
            ("FullyQualifiedDomainName", 101_098),
            "fully_qualified_domain_name",
            DataType::String,
            |draft, _, value| {
                draft.fqdn = Some(forms::domain(text(value)?)?);
                Ok(())
            },
        )
    },
    Property {
        unit: "a domain name",
        fresh: Default::Unset("FullyQualifiedDomainName"),
        doc: "The local domain, and the one put to addresses that have none. Mail that waits follows a change.",
        ..property(("DefaultDomain", 36908), "default_domain", DataType::String, |draft, _, value| {
            draft.default_domain = Some(forms::domain(text(value)?)?);
            Ok(())
        })
    },
    Property {
        user_type: UserType::File,
        attributes: INHERIT | REFERENCE,
        unit: NETWORKS,
        fresh: Default::List(&["127.0.0.0/8", "::1/128"]),
        absent: Some(Default::List(&[])),
        doc: "Clients that may send mail to other domains through this server; all others may send to its own only. \
              The original had one for a remote domain too, at Domain; here it has no effect.",
        ..property(("RelayIpList", 36970), "relay_ip_list", DataType::Binary, relay_ip_list)
    },
    Property {
        unit: "bytes",
        fresh: Default::Number(36_700_160),
        absent: Some(Default::Number(33_554_432)),
        doc: "The largest message accepted; 0 is the largest number there is.",
        ..number(("MaxMessageSize", 36891), "max_message_size", (0, u32::MAX), |draft, _, value| {
            draft.settings.size_max = u64::from(or_max(dword(value)?, 0));
            Ok(())
        })
    },
    Property {
        unit: "bytes",
        fresh: Default::Number(0),
        doc: "Octets of all messages of one inbound session; over it the client hears 421, and sends the rest in another \
              session. 0 is no limit.",
        ..number(("MaxSessionSize", 36892), "max_session_size", (0, u32::MAX), |draft, _, value| {
            draft.settings.session_size_max = u64::from(dword(value)?);
            Ok(())
        })
    },
    Property {
        unit: "recipients",
        fresh: Default::Number(100),
        doc: "Recipients of one message; a client is told to send to the others in a further transaction.",
        ..number(("MaxRecipients", 36895), "max_recipients", RECIPIENTS, |draft, _, value| {
            draft.settings.recipients_max = dword(value)?;
            Ok(())
        })
    },
    Property {
        unit: "connections",
        fresh: Default::Number(1000),
        absent: Some(Default::Number(u32::MAX)),
        doc: "Inbound connections at once; 4294967295 is no limit.",
        ..number(("MaxConnections", 1014), "max_connections", (1, u32::MAX), |draft, _, value| {
            draft.settings.connections_max = dword(value)?;
            Ok(())
        })
    },
    Property {
        unit: "seconds",
        fresh: Default::Number(600),
        doc: "How long an inbound session may be idle, between commands or in the midst of a message, before it is closed.",
        ..number(("ConnectionTimeout", 1013), "connection_timeout", (1, 86_400), |draft, _, value| {
            draft.settings.connection_timeout = Duration::from_secs(u64::from(dword(value)?));
            Ok(())
        })
    },
    Property {
        unit: "hops",
        fresh: Default::Number(100),
        absent: Some(Default::Number(10)),
        doc: "Received fields above which a message is taken to be in a loop and refused.",
        ..number(("HopCount", 36886), "hop_count", (1, 1000), |draft, _, value| {
            draft.settings.hop_count = dword(value)?;
            Ok(())
        })
    },
    Property {
        names: &[(0, "udp-then-tcp"), (1, "tcp-only"), (2, "udp-only"), (ADAPTIVE, "adaptive")],
        unit: "policy",
        fresh: Default::Number(ADAPTIVE),
        keys: ALL,
        doc: "How DNS servers are asked: over UDP and, if the answer is truncated, TCP; over TCP only; over UDP only; or as \
              each server proves to work. A domain may differ.",
        ..property(("SmtpUseTcpDns", 36997), "smtp_use_tcp_dns", DataType::Dword, |draft, key, value| {
            let policy = dword(value)?;
            match key {
                Key::Domain(domain) => {
                    draft.settings.dns.policies_by_domain.insert(domain.clone(), policy);
                }
                Key::Service | Key::Server => draft.settings.dns.policy = policy,
            }
            Ok(())
        })
    },
    Property {
        unit: "minutes, or with s, m, h, d",
        fresh: Default::Text("15,30,60,240"),
        doc: "Waits between attempts to deliver; the last one repeats.",
        ..property(
            ("SmtpRemoteProgressiveRetry", 36996),
            "smtp_remote_progressive_retry",
            DataType::String,
            |draft, _, value| {
                draft.settings.retry = forms::steps(text(value)?, "m")?;
                Ok(())
            },
        )
    },
    Property {
        unit: "minutes",
        fresh: Default::Number(7200),
        absent: Some(Default::Number(2880)),
        doc: "Age at which a message that could not be delivered is returned; time spent waiting for DNS does not count.",
        ..number(
            ("SmtpRemoteNDRExpireMinutes", 37020),
            "smtp_remote_ndr_expire_minutes",
            MINUTES,
            |draft, _, value| {
                draft.settings.expire = minutes(dword(value)?);
                Ok(())
            },
        )
    },
    Property {
        unit: "a host",
        fresh: Default::Unset("none"),
        doc: "Where all remote mail goes when SmartHostType asks for it: a name, or an address in brackets that needs no DNS; \
              `:port` may follow, else it is RemoteSmtpPort. Mail that waits follows a change.",
        ..property(("SmartHost", 36906), "smart_host", DataType::String, |draft, _, value| {
            let given = text(value)?;
            draft.smart_host = if given.is_empty() { None } else { Some(forms::host_port(given)?) };
            Ok(())
        })
    },
    Property {
        names: &[(0, "none"), (1, "after-direct"), (2, "always")],
        unit: "enumeration",
        fresh: Default::Number(0),
        doc: "Whether SmartHost is used, by mail that waits too. The original's 1, try directly first, is not supported yet.",
        ..property(("SmartHostType", 36905), "smart_host_type", DataType::Dword, |draft, _, value| {
            let kind = dword(value)?;
            if kind == 1 {
                return Err(Bad::new(
                    "1 (directly first, the smart host after that) is not supported yet",
                    "Give 2 to send everything through SmartHost, or 0 to send everything directly.",
                ));
            }
            draft.smart_host_always = Some(kind == 2);
            Ok(())
        })
    },
    Property {
        unit: "port",
        fresh: Default::Number(25),
        doc: "The port dialled on remote servers.",
        ..number(("RemoteSmtpPort", 36914), "remote_smtp_port", (1, 65_535), |draft, _, value| {
            draft.settings.remote_port = u16::try_from(dword(value)?).map_err(|_| wrong_type())?;
            Ok(())
        })
    },
    Property {
        user_type: UserType::File,
        unit: "messages",
        // The console's number was 20, when a connection was cheap to make: it had no TLS.
        fresh: Default::Number(100),
        absent: Some(Default::Number(0)),
        doc: "Messages sent over one outbound connection; 0 is no limit.",
        ..number(("MaxBatchedMessages", 36871), "max_batched_messages", (0, u32::MAX), |draft, _, value| {
            draft.settings.batch_max = or_max(dword(value)?, 0);
            Ok(())
        })
    },
    Property {
        unit: "connections",
        fresh: Default::Number(1000),
        absent: Some(Default::Number(0)),
        doc: "Outbound connections at once; 0 is no limit.",
        ..number(("MaxOutConnections", 36894), "max_out_connections", (0, u32::MAX), |draft, _, value| {
            draft.settings.out_connections_max = or_max(dword(value)?, 0);
            Ok(())
        })
    },
    Property {
        unit: "connections",
        fresh: Default::Number(100),
        absent: Some(Default::Number(0)),
        doc: "Outbound connections to one domain at once; 0 is no limit.",
        ..number(
            ("MaxOutConnectionsPerDomain", 36925),
            "max_out_connections_per_domain",
            (0, u32::MAX),
            |draft, _, value| {
                draft.settings.out_connections_per_domain_max = or_max(dword(value)?, 0);
                Ok(())
            },
        )
    },
    Property {
        unit: "true or false",
        fresh: Default::Number(1),
        absent: Some(Default::Number(0)),
        doc: "Whether MaxOutConnections and MaxOutConnectionsPerDomain hold; otherwise there is no limit, whatever they say.",
        ..property(
            ("LimitRemoteConnections", 36926),
            "limit_remote_connections",
            DataType::Bool,
            |draft, _, value| {
                draft.out_connections_limited = dword(value)? != 0;
                Ok(())
            },
        )
    },
    Property {
        unit: "a folder",
        fresh: Default::Text("Badmail"),
        doc: "The folder for mail that can neither be delivered nor returned; inside the data folder unless absolute.",
        ..property(("BadMailDirectory", 36909), "bad_mail_directory", DataType::String, |draft, _, value| {
            draft.settings.badmail_dir = folder(draft, value)?;
            Ok(())
        })
    },
    Property {
        unit: "a folder",
        fresh: Default::Text("Drop"),
        doc: "The folder that receives mail for the local domain; inside the data folder unless absolute.",
        ..property(("DropDirectory", 36882), "drop_directory", DataType::String, |draft, _, value| {
            draft.settings.drop_dir = folder(draft, value)?;
            Ok(())
        })
    },
    Property {
        unit: "true or false",
        fresh: Default::Number(0),
        doc: "Whether remote mail goes out over TLS or not at all; otherwise TLS is used where a server offers it.",
        ..property(("AlwaysUseSsl", 101_109), "always_use_ssl", DataType::Bool, |draft, _, value| {
            draft.settings.tls_required = dword(value)? != 0;
            Ok(())
        })
    },
    Property {
        unit: "addresses",
        fresh: Default::List(&[]),
        doc: "DNS servers in the order they are asked, `192.0.2.1` or `[2001:db8::1]:53`; none: those of the system.",
        ..property(("DnsServers", 100_001), "dns_servers", DataType::MultiSz, dns_servers)
    },
    Property {
        unit: "seconds, or with ms, s, m, h, d",
        fresh: Default::Text("30s,1m,2m,5m,15m"),
        doc: "Waits between attempts when DNS keeps mail from being delivered; the last one repeats.",
        ..property(("DnsRetry", 100_002), "dns_retry", DataType::String, |draft, _, value| {
            draft.settings.dns.retry = forms::steps(text(value)?, "s")?;
            Ok(())
        })
    },
    Property {
        unit: "first..longest span",
        fresh: Default::Text("30s..15m"),
        doc: "Waits between probes of a DNS server's transport that failed; the wait doubles.",
        ..property(("DnsProbe", 100_003), "dns_probe", DataType::String, |draft, _, value| {
            draft.settings.dns.probe = forms::range(text(value)?)?;
            Ok(())
        })
    },
    Property {
        unit: "name=span",
        fresh: Default::Text(DNS_TIMEOUTS),
        doc: "How long DNS is waited for: a first answer over UDP (the wait doubles), a TCP connection, an answer over TCP, \
              a whole lookup. What is not named has its default.",
        ..property(("DnsTimeouts", 100_004), "dns_timeouts", DataType::String, dns_timeouts)
    },
    Property {
        unit: NETWORKS,
        fresh: Default::List(&[
            "127.0.0.0/8",
            "::1/128",
            "0.0.0.0/8",
            "::/128",
            "169.254.0.0/16",
            "fe80::/10",
            "224.0.0.0/4",
            "ff00::/8",
            // A v4 address in v6 clothing would pass by the lines above.
            "::ffff:0:0/96",
        ]),
        doc: "Addresses that are never dialled because an MX names them: those that lead back to this machine or to many.",
        ..property(("NextHopRefused", 100_005), "next_hop_refused", DataType::MultiSz, |draft, _, value| {
            draft.settings.next_hop_refused = forms::each(list(value)?, forms::network)?;
            Ok(())
        })
    },
    Property {
        unit: "a span, or nothing",
        fresh: Default::Text(""),
        doc: "How often a backup of the settings is made by itself, as 1d; empty is never.",
        ..property(("BackupEvery", 100_006), "backup_every", DataType::String, |draft, _, value| {
            let given = text(value)?;
            draft.settings.backup_every =
                if given.is_empty() { None } else { Some(forms::span(given, "h")?) };
            Ok(())
        })
    },
    Property {
        unit: "backups",
        fresh: Default::Number(14),
        doc: "How many of the backups that are made by themselves are kept; the oldest goes first.",
        ..number(("BackupKeep", 100_007), "backup_keep", (1, 1000), |draft, _, value| {
            draft.settings.backup_keep = dword(value)?;
            Ok(())
        })
    },
];

/// Every time that DnsTimeouts can name. UDP's is above the round trip to any server that answers at once.
const DNS_TIMEOUTS: &str = "udp=400ms,connect=1500ms,reply=3s,lookup=10s";

/// Recipients of a message: the most that the original's successors were set to, 64,000. With names of ordinary length these are
/// some tens of MiB of a session's memory while the message comes in.
const RECIPIENTS: (u32, u32) = (1, 64_000);

/// A minute to a year.
const MINUTES: (u32, u32) = (1, 525_600);

/// Bindings of one server: a listener each.
const BINDINGS_MAX: usize = 64;
/// DNS servers: as many as the resolver uses. Beyond a few, asking the next one takes longer than a lookup may.
const DNS_SERVERS_MAX: usize = 8;
/// Octets of a folder's name: what Linux takes as a path (PATH_MAX).
const PATH_MAX: usize = 4096;

fn server_bindings(draft: &mut Draft, _: &Key, value: &Value) -> Result<(), Bad> {
    let texts = list(value)?;
    if texts.is_empty() || texts.len() > BINDINGS_MAX {
        return Err(Bad::new(
            format!("has {} bindings", texts.len()),
            format!("Give 1 to {BINDINGS_MAX}, as [\"127.0.0.1:2525:\"]."),
        ));
    }
    let bindings = forms::each(texts, forms::binding)?;
    let fixed: Vec<_> =
        bindings.iter().enumerate().map(|(i, b)| (b, if b.port() == 0 { i } else { 0 })).collect();
    forms::refuse_twice(&fixed, texts, "Remove one of them.")?;
    draft.settings.bindings = bindings;
    Ok(())
}

fn relay_ip_list(draft: &mut Draft, _: &Key, value: &Value) -> Result<(), Bad> {
    draft.settings.relay = forms::each(list(value)?, forms::network)?;
    Ok(())
}

fn dns_servers(draft: &mut Draft, _: &Key, value: &Value) -> Result<(), Bad> {
    let texts = list(value)?;
    if texts.len() > DNS_SERVERS_MAX {
        return Err(Bad::new(
            format!("has {} servers", texts.len()),
            format!("Give at most {DNS_SERVERS_MAX}."),
        ));
    }
    let servers = forms::each(texts, forms::dns_server)?;
    forms::refuse_twice(&servers, texts, "Remove one of them.")?;
    draft.settings.dns.servers = servers;
    Ok(())
}

fn dns_timeouts(draft: &mut Draft, _: &Key, value: &Value) -> Result<(), Bad> {
    let dns = &mut draft.settings.dns;
    let names = ["udp", "connect", "reply", "lookup"];
    // What is not named has its default, not what a key above has: a value is inherited whole or not at all.
    let mut spans = forms::named_spans(DNS_TIMEOUTS, &names)?;
    spans.extend(forms::named_spans(text(value)?, &names)?);
    for (name, span) in spans {
        match name {
            "udp" => dns.udp_first = span,
            "connect" => dns.tcp_connect = span,
            "reply" => dns.tcp_reply = span,
            _ => dns.lookup = span,
        }
    }
    Ok(())
}

fn folder(draft: &Draft, value: &Value) -> Result<PathBuf, Bad> {
    let path = text(value)?;
    if path.is_empty() || path.len() > PATH_MAX || path.contains('\0') {
        return Err(Bad::new(
            "the path is empty, too long or has a NUL",
            "Give the path of a folder, as Badmail or /var/spool/badmail.",
        ));
    }
    Ok(draft.data_dir.join(path))
}

fn minutes(number: u32) -> Duration {
    Duration::from_secs(u64::from(number) * 60)
}

/// The largest number where the original's number for "no limit" stands.
fn or_max(number: u32, unlimited: u32) -> u32 {
    if number == unlimited { u32::MAX } else { number }
}

// The reader has seen to the type before a value is applied; a record from elsewhere may have another.
fn wrong_type() -> Bad {
    Bad::new("has a value of another type", "See docs/settings.md for the type of each property.")
}

fn dword(value: &Value) -> Result<u32, Bad> {
    if let Value::Number(number) = value { Ok(*number) } else { Err(wrong_type()) }
}

fn text(value: &Value) -> Result<&str, Bad> {
    if let Value::Text(text) = value { Ok(text.trim()) } else { Err(wrong_type()) }
}

fn list(value: &Value) -> Result<&[String], Bad> {
    if let Value::List(list) = value { Ok(list) } else { Err(wrong_type()) }
}
