//! Where settings come from, and what of the system they need: the configuration file, resolv.conf, our own addresses.

use postroad_control::{Failed, FailedKind};
use postroad_dns::settings::{Settings as DnsSettings, Timeouts};
use postroad_metabase::error::ConfigError;
use postroad_metabase::settings::Settings;
use postroad_metabase::text::{self, Pin};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Octets of a configuration file at most.
const FILE_MAX: u64 = 4 * 1024 * 1024;
const DNS_PORT: u16 = 53;

/// The properties that a configuration file pins; none without a file. Errors are whole sentences, one a line.
///
/// # Errors
/// `Usage`: file, line, what is wrong, what to do.
pub(crate) fn pins(file: Option<&PathBuf>) -> Result<Vec<Pin>, Failed> {
    let Some(path) = file else { return Ok(Vec::new()) };
    let refused = |what: String| Failed { kind: FailedKind::Usage, what };
    let shown = path.display();
    let found = std::fs::metadata(path);
    if found.as_ref().is_ok_and(|found| found.file_type().is_fifo()) {
        let why = "it is read at the start, and again at SIGHUP";
        return Err(refused(format!("{shown} is no file but a pipe: {why}. Name a TOML file")));
    }
    if found.is_ok_and(|found| found.len() > FILE_MAX) {
        return Err(refused(format!("{shown} is over {FILE_MAX} octets: it is not a configuration file")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        refused(format!(
            "the configuration file {shown} cannot be read: {error}. Name a TOML file that this user may read"
        ))
    })?;
    let name = shown.to_string();
    let lines = |errors: Vec<ConfigError>| {
        refused(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    text::pins(&text, &name).map_err(lines)
}

/// What the resolver is to know.
pub(crate) fn dns_settings(settings: &Settings, bindings: &[SocketAddr]) -> DnsSettings {
    let dns = &settings.dns;
    let servers = if dns.servers.is_empty() { system_servers() } else { dns.servers.clone() };
    DnsSettings {
        servers,
        timeouts: Timeouts {
            udp_first: dns.udp_first,
            tcp_connect: dns.tcp_connect,
            tcp_reply: dns.tcp_reply,
            lookup: dns.lookup,
        },
        probe_min: dns.probe.0,
        probe_max: dns.probe.1,
        own: own_addresses(bindings),
        own_name: Some(settings.fqdn.clone()),
        remote_port: settings.remote_port,
        refused: settings.next_hop_refused.clone(),
    }
}

/// The name servers of the system's resolv.conf, in its order. Only `nameserver` lines count: names are absolute here.
pub(crate) fn system_servers() -> Vec<SocketAddr> {
    std::fs::read_to_string(RESOLV_CONF).map(|text| servers_of(&text)).unwrap_or_default()
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        let address: IpAddr = address.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    };
    text.lines().filter_map(server).collect()
}

/// The addresses at which mail reaches us: a wildcard binding stands for every address of every interface.
fn own_addresses(bindings: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut own = Vec::new();
    for binding in bindings {
        if !binding.ip().is_unspecified() {
            own.push(*binding);
            continue;
        }
        let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
        for address in interfaces.filter_map(|interface| interface.address) {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip()));
            // A binding of :: takes IPv4 as well, where the system does so by default.
            let wanted = if binding.is_ipv4() { v4 } else { v4.or(v6) };
            own.extend(wanted.map(|ip| SocketAddr::new(ip, binding.port())));
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn resolv_conf() {
        let text = "# c\nsearch a.b\nnameserver 192.0.2.1\nnameserver\t2001:db8::1\nnameserver fe80::1%eth0\nnameservers 1.2.3.4\n";
        let expected = ["192.0.2.1:53", "[2001:db8::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(servers_of(text), expected);
    }

    /// It is read again at the start and at each SIGHUP: from a pipe nothing would come then, and nothing be pinned.
    #[test]
    fn a_pipe_is_no_configuration_file() {
        let (reads, mut writes) = std::io::pipe().unwrap();
        writes.write_all(b"[\"/LM/SmtpSvc/1\"]\nHopCount = 7\n").unwrap();
        drop(writes);
        let failed = pins(Some(&PathBuf::from(format!("/proc/self/fd/{}", reads.as_raw_fd())))).unwrap_err();
        assert_eq!(failed.kind, FailedKind::Usage);
        assert!(failed.what.contains("is no file"), "{failed}");
    }

    /// A list that the catalogue takes is asked as it stands.
    #[test]
    fn all_servers_that_are_taken_are_used() {
        let taken = |count: usize| {
            let list: Vec<_> = (1..=count).map(|n| format!("\"192.0.2.{n}\"")).collect();
            text::pins(&format!("[\"/LM/SmtpSvc\"]\nDnsServers = [{}]\n", list.join(",")), "f.toml").is_ok()
        };
        let used = postroad_dns::settings::SERVERS_MAX;
        assert!(taken(used) && !taken(used + 1));
    }

    #[test]
    fn a_wildcard_is_every_interface() {
        let own = own_addresses(&["0.0.0.0:2525".parse().unwrap()]);
        assert!(own.contains(&"127.0.0.1:2525".parse().unwrap()), "{own:?}");
    }
}
