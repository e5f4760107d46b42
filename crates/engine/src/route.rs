//! Where a recipient goes, and whether a client may send there.

use postroad_mail::address::Address;
use postroad_mail::domain::Host;
use postroad_mail::hop::NextHop;
use postroad_metabase::settings::Settings;
use std::net::IpAddr;

/// The next hop of a mailbox: the Drop folder for our own domains, else the smart host if there is one, else the domain's
/// MX set or the literal's address.
#[must_use]
pub fn next_hop(settings: &Settings, address: &Address) -> NextHop {
    if is_local(settings, address.host()) {
        return NextHop::Drop;
    }
    if let Some((host, port)) = &settings.smart_host {
        return NextHop::SmartHost(host.clone(), *port);
    }
    match address.host() {
        Host::Domain(domain) => NextHop::Mx(domain.clone()),
        Host::Literal(ip) => NextHop::Literal(*ip),
    }
}

/// Whether mail of this host is ours: DefaultDomain, our own name, or the address of one of our bindings.
#[must_use]
pub fn is_local(settings: &Settings, host: &Host) -> bool {
    match host {
        Host::Domain(domain) => *domain == settings.default_domain || *domain == settings.fqdn,
        Host::Literal(ip) => settings.bindings.iter().any(|binding| binding.ip() == *ip),
    }
}

/// Whether `client` may send to addresses that are not ours (RelayIpList).
#[must_use]
pub fn may_relay(settings: &Settings, client: IpAddr) -> bool {
    let client = client.to_canonical();
    settings.relay.iter().any(|network| network.contains(&client))
}

/// Whether a next hop's address is one we never connect to (NextHopRefused).
#[must_use]
pub fn is_refused(settings: &Settings, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    settings.next_hop_refused.iter().any(|network| network.contains(&ip))
}
