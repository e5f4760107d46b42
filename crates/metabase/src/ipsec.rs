//! The octets in which RelayIpList and IPSecurity are stored: lists of addresses, found by offsets.
//!
//! No page describes them; this follows values that public scripts write, and keeps to what those show. All integers are
//! little-endian DWORDs; one with the top bit set is an offset from the beginning.
//!
//! | at | what |
//! |---|---|
//! | 0, 4 | where the lists of refused and of granted addresses are |
//! | 8, 12 | where two lists of names are |
//! | 16 | flags, 1 in every value seen |
//! | 20 | octets of all this, before the addresses |
//!
//! A list has its groups' and its addresses' numbers, then its groups. A group has the family (2, or 23 for IPv6), the items
//! at its data, the octets of an item, 0, and where its data is: a mask, then addresses under that mask. Several groups, and
//! IPv6, are never seen; they are written here by the same rule.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Octets of one value: some 100,000 addresses.
pub const OCTETS_MAX: usize = 1024 * 1024;

const OFFSET: u32 = 0x8000_0000;
const FLAGS: u32 = 1;
const INET: u32 = 2;
const INET6: u32 = 23;
const HEAD: usize = 24;
const GROUP: usize = 20;
/// Groups of a list: a mask each.
const GROUPS_MAX: u32 = 256;

/// What a value lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lists {
    /// Networks that are granted.
    pub granted: Vec<IpNet>,
    /// Networks that are refused: then all others are granted.
    pub refused: Vec<IpNet>,
}

/// Why a value cannot be read. It is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of addresses of a known shape: {0}")]
pub struct Unknown(pub &'static str);

/// Reads a value. No octets at all are an empty list: some installations leave that.
///
/// # Errors
/// What does not fit.
pub fn decode(octets: &[u8]) -> Result<Lists, Unknown> {
    if octets.is_empty() {
        return Ok(Lists::default());
    }
    if octets.len() > OCTETS_MAX {
        return Err(Unknown("it is too long"));
    }
    let reader = Reader { octets };
    if reader.dword(16)? != FLAGS {
        return Err(Unknown("its flags are not 1"));
    }
    for list in [8, 12] {
        let at = reader.offset(list)?;
        if reader.dword(at)? != 0 || reader.dword(at + 4)? != 0 {
            return Err(Unknown("it lists names"));
        }
    }
    let refused = reader.list(reader.offset(0)?)?;
    let granted = reader.list(reader.offset(4)?)?;
    Ok(Lists { granted, refused })
}

/// Whether what is read from a value is all there is in it: writing it again gives the same octets.
#[must_use]
pub fn is_plain(octets: &[u8]) -> bool {
    decode(octets).is_ok_and(|lists| {
        lists.refused.is_empty() && (octets.is_empty() || encode(&lists.granted) == octets)
    })
}

/// Writes a list of granted networks, in the order given; those under one mask stand together.
#[must_use]
pub fn encode(granted: &[IpNet]) -> Vec<u8> {
    let mut groups: Vec<(IpAddr, Vec<IpAddr>)> = Vec::new();
    for network in granted {
        let mask = network.netmask();
        match groups.iter_mut().find(|(known, _)| *known == mask) {
            Some((_, addresses)) => addresses.push(network.network()),
            None => groups.push((mask, vec![network.network()])),
        }
    }
    if groups.is_empty() {
        groups.push((IpAddr::V4(Ipv4Addr::BROADCAST), Vec::new()));
    }
    let names = HEAD + 8 + 8 + GROUP * groups.len();
    let fixed = names + 16;
    let mut words: Vec<usize> = vec![HEAD, HEAD + 8, names, names + 8].into_iter().map(offset).collect();
    words.extend([FLAGS as usize, fixed, 0, 0, groups.len(), granted.len()]);
    let mut data = Vec::new();
    for (mask, addresses) in &groups {
        let (family, size) = if mask.is_ipv4() { (INET, 4) } else { (INET6, 16) };
        words.extend([family as usize, addresses.len() + 1, size, 0, offset(fixed + data.len())]);
        for address in std::iter::once(mask).chain(addresses) {
            match address {
                IpAddr::V4(v4) => data.extend(v4.octets()),
                IpAddr::V6(v6) => data.extend(v6.octets()),
            }
        }
    }
    words.extend([0; 4]);
    // Every number is below OCTETS_MAX, as lists of networks are bounded.
    let mut octets: Vec<u8> = words.into_iter().flat_map(|word| (word as u32).to_le_bytes()).collect();
    octets.extend(data);
    octets
}

fn offset(at: usize) -> usize {
    at | OFFSET as usize
}

struct Reader<'o> {
    octets: &'o [u8],
}

impl Reader<'_> {
    fn dword(&self, at: usize) -> Result<u32, Unknown> {
        let octets = self.octets.get(at..).and_then(|rest| rest.first_chunk::<4>());
        octets.map(|octets| u32::from_le_bytes(*octets)).ok_or(Unknown("it ends too soon"))
    }

    fn offset(&self, at: usize) -> Result<usize, Unknown> {
        let word = self.dword(at)?;
        if word & OFFSET == 0 {
            return Err(Unknown("an offset is missing"));
        }
        Ok((word & !OFFSET) as usize)
    }

    fn list(&self, at: usize) -> Result<Vec<IpNet>, Unknown> {
        let (groups, count) = (self.dword(at)?, self.dword(at + 4)?);
        if groups > GROUPS_MAX {
            return Err(Unknown("it has too many groups"));
        }
        let mut networks = Vec::new();
        for group in 0..groups as usize {
            self.group(at + 8 + group * GROUP, &mut networks)?;
            // Groups that share their data would make hundreds of megabytes of one.
            if networks.len() > self.octets.len() / 4 {
                return Err(Unknown("it has more addresses than there is room for"));
            }
        }
        if networks.len() != count as usize {
            return Err(Unknown("its number of addresses is another one than it says"));
        }
        Ok(networks)
    }

    fn group(&self, at: usize, networks: &mut Vec<IpNet>) -> Result<(), Unknown> {
        let (family, items, size) =
            (self.dword(at)?, self.dword(at + 4)? as usize, self.dword(at + 8)? as usize);
        let data = self.offset(at + 16)?;
        if !matches!((family, size), (INET, 4) | (INET6, 16)) {
            return Err(Unknown("an address family is unknown"));
        }
        let octets = items.checked_mul(size).and_then(|length| data.checked_add(length));
        let octets = octets.and_then(|end| self.octets.get(data..end)).ok_or(Unknown("it ends too soon"))?;
        let mut addresses = octets.chunks_exact(size).map(|octets| match <[u8; 4]>::try_from(octets) {
            Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap_or_default())),
        });
        let mask = addresses.next().ok_or(Unknown("a group has no mask"))?;
        for address in addresses {
            let network = IpNet::with_netmask(address, mask).map_err(|_| Unknown("a mask has holes"))?;
            networks.push(network.trunc());
        }
        Ok(())
    }
}
