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

/// Whether `hop` is the next hop of a mailbox. What is in the Badmail folder's way goes there whatever the route.
#[must_use]
pub fn leads(settings: &Settings, address: &Address, hop: &NextHop) -> bool {
    *hop == NextHop::Badmail || *hop == next_hop(settings, address)
}

/// Whether something that waits at `hop` may be led elsewhere, by the hop alone. `locals`: the mark under which everything
/// there was last found to be led there. Only a hop of many domains needs it.
#[must_use]
pub fn may_leave(settings: &Settings, hop: &NextHop, locals: u64) -> bool {
    let leaves = |host: Host| settings.smart_host.is_some() || is_local(settings, &host);
    match hop {
        NextHop::Mx(domain) => leaves(Host::Domain(domain.clone())),
        NextHop::Literal(ip) => leaves(Host::Literal(*ip)),
        NextHop::SmartHost(host, port) => {
            settings.smart_host.as_ref() != Some(&(host.clone(), *port)) || locals != mark_of_locals(settings)
        }
        NextHop::Drop => locals != mark_of_locals(settings),
        NextHop::Badmail => false,
    }
}

/// Whether two settings may lead the same mailbox to different hops.
#[must_use]
pub fn differs(one: &Settings, other: &Settings) -> bool {
    one.smart_host != other.smart_host || mark_of_locals(one) != mark_of_locals(other)
}

/// A number for which hosts are ours, never 0. It is kept in the store, so it is the same in every release: FNV-1a, 64 bits.
#[must_use]
pub fn mark_of_locals(settings: &Settings) -> u64 {
    let mut names: Vec<String> = settings.bindings.iter().map(|binding| binding.ip().to_string()).collect();
    names
        .extend([&settings.default_domain, &settings.fqdn].map(|name| name.to_string().to_ascii_lowercase()));
    names.sort_unstable();
    names.dedup();
    let octets = names.iter().flat_map(|name| name.bytes().chain([b' ']));
    let mark = octets.fold(0xcbf2_9ce4_8422_2325_u64, |mark, octet| {
        (mark ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    mark.max(1)
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
