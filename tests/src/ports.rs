//! Free loopback ports, for tests that run side by side in many threads and processes.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// A port that nothing uses on 127.0.0.0/8, over TCP or UDP, and that no other test gets while this value lives.
///
/// Ports lie below Linux's ephemeral range: otherwise an outgoing connection of anyone could take the port before the server that
/// it was chosen for.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Whoever holds this address holds the port.
    _claim: UdpSocket,
}

impl Port {
    /// A free port.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn free() -> Self {
        let width = u64::from(LAST - FIRST);
        let start = RandomState::new().hash_one(0) % width;
        (0..width)
            .find_map(|step| {
                let number = FIRST + u16::try_from((start + step) % width).ok()?;
                let claim = UdpSocket::bind((CLAIM, number)).ok()?;
                // The wildcard address is taken as soon as any address is.
                UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
                Some(Self { number, _claim: claim })
            })
            .expect("a free port on loopback")
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// 127.0.0.1 at this port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

/// A loopback address at which no test's server listens.
const CLAIM: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);
const FIRST: u16 = 10_000;
const LAST: u16 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once() {
        let mut numbers: Vec<u16> = Vec::new();
        let held: Vec<Port> = (0..200).map(|_| Port::free()).collect();
        numbers.extend(held.iter().map(Port::number));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());
    }
}
