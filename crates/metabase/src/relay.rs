//! Whether a server has become an open relay.

use crate::settings::Settings;
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 network with fewer bits is more than any one organisation's.
const V4_BITS_MIN: u8 = 8;
/// The same for IPv6: registries hand out no more than a /19 or so to the largest.
const V6_BITS_MIN: u8 = 16;
/// The part of the public IPv4 addresses, as one of so many, above which "nearly everybody" may relay.
const PUBLIC_PART: u64 = 8;

/// Networks that nobody on the Internet has: address and prefix. They do not overlap.
const NOT_PUBLIC: [([u8; 4], u8); 8] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    ([224, 0, 0, 0], 3),
];

/// What is to be said where `after` lets nearly everybody relay, and somebody whom `before` did not: an open relay may be opened
/// further.
#[must_use]
pub fn open_relay(before: &Settings, after: &Settings) -> Option<String> {
    let listed = |relay: &[IpNet]| IpNet::aggregate(&relay.iter().map(unmapped).collect());
    let known = listed(&before.relay);
    let is_wider = listed(&after.relay).iter().any(|net| !known.iter().any(|known| known.contains(net)));
    open(after).filter(|_| is_wider)
}

/// What is to be said where settings let nearly everybody relay.
pub(crate) fn open(settings: &Settings) -> Option<String> {
    let what = openness(&settings.relay)?;
    Some(format!(
        "RelayIpList lets {what} relay: an open relay is soon used by spammers and refused by everyone else."
    ))
}

/// Who may relay, where that is nearly everybody.
pub(crate) fn openness(relay: &[IpNet]) -> Option<String> {
    let relay: Vec<IpNet> = relay.iter().map(unmapped).collect();
    let is_wide = |network: &&IpNet| match network {
        IpNet::V4(v4) => v4.prefix_len() < V4_BITS_MIN,
        IpNet::V6(v6) => v6.prefix_len() < V6_BITS_MIN,
    };
    // Halves of a network are as wide as the whole.
    let joined = IpNet::aggregate(&relay);
    let wide = relay.iter().find(is_wide).or_else(|| joined.iter().filter(|net| !is_v4(net)).find(is_wide));
    if let Some(wide) = wide {
        return Some(format!("all of {wide}"));
    }
    let reserved: Vec<Ipv4Net> =
        NOT_PUBLIC.iter().filter_map(|(ip, bits)| Ipv4Net::new(Ipv4Addr::from(*ip), *bits).ok()).collect();
    let public = (1_u64 << 32) - reserved.iter().map(size).sum::<u64>();
    let listed: u64 = joined
        .iter()
        .filter_map(|network| if let IpNet::V4(v4) = network { Some(v4) } else { None })
        .map(|network| {
            // Of two networks one holds the other, or they have nothing in common.
            let private =
                reserved.iter().map(|other| match (network.contains(other), other.contains(network)) {
                    (true, _) => size(other),
                    (_, true) => size(network),
                    _ => 0,
                });
            size(network).saturating_sub(private.sum())
        })
        .sum();
    (listed > public / PUBLIC_PART).then(|| format!("{} % of the Internet", listed * 100 / public))
}

fn is_v4(network: &IpNet) -> bool {
    matches!(network, IpNet::V4(_))
}

fn size(network: &Ipv4Net) -> u64 {
    1 << (32 - u32::from(network.prefix_len()))
}

/// An IPv4 network in IPv6 clothing, as the IPv4 network.
fn unmapped(network: &IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else { return *network };
    let bits = v6.prefix_len().checked_sub(MAPPED_BITS);
    let v4 = bits.zip(v6.network().to_ipv4_mapped());
    v4.and_then(|(bits, ip)| IpNet::new(IpAddr::V4(ip), bits).ok()).unwrap_or(*network)
}
