//! The name server: a thread of the bench process that answers for one zone over UDP.

use crate::process::Result;
use crate::sink;
use domain::base::iana::{Class, Rcode, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::{Message, Name, Serial, ToName as _, Ttl};
use domain::rdata::{A, Mx, Soa};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// The domain whose mail the sink takes.
pub(crate) const LIVE: &str = "live.bench.example";
/// The domain whose mail host refuses every connection.
pub(crate) const DEAD: &str = "dead.bench.example";
/// The address of that host, at which nothing listens.
const DEAD_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const TTL: Ttl = Ttl::from_secs(3600);

/// Starts it; says where it is asked. It lives as long as the process.
pub(crate) fn start() -> Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let zone = Zone::new()?;
    std::thread::Builder::new().name(String::from("names")).spawn(move || {
        let mut query = [0; 4096];
        while let Ok((octets, client)) = socket.recv_from(&mut query) {
            let answer = query.get(..octets).and_then(|query| zone.answer(query).ok());
            if let Some(answer) = answer {
                // A client that is gone asks no more.
                let _ = socket.send_to(&answer, client);
            }
        }
    })?;
    Ok(address)
}

type WireName = Name<Vec<u8>>;

struct Zone {
    apex: WireName,
    /// Domain, mail host, the host's address.
    domains: Vec<(WireName, WireName, Ipv4Addr)>,
}

impl Zone {
    fn new() -> Result<Self> {
        let domain = |name: &str, address| -> Result<_> {
            Ok((WireName::vec_from_str(name)?, WireName::vec_from_str(&format!("mx.{name}"))?, address))
        };
        let domains = vec![domain(LIVE, sink::ADDRESS)?, domain(DEAD, DEAD_ADDRESS)?];
        Ok(Self { apex: WireName::vec_from_str("bench.example")?, domains })
    }

    fn answer(&self, query: &[u8]) -> Result<Vec<u8>> {
        let query = Message::from_octets(query).map_err(|_| "too short for a header")?;
        let question = query.first_question().ok_or("no question")?;
        let name = question.qname();
        let known = self.domains.iter().find(|(domain, host, _)| name.name_eq(domain) || name.name_eq(host));
        let rcode = if known.is_some() { Rcode::NOERROR } else { Rcode::NXDOMAIN };
        let mut answer = MessageBuilder::new_vec().start_answer(&query, rcode)?;
        answer.header_mut().set_aa(true);
        match known {
            Some((domain, host, _)) if name.name_eq(domain) && question.qtype() == Rtype::MX => {
                answer.push((domain, Class::IN, TTL, Mx::new(10, host)))?;
                return Ok(answer.finish());
            }
            Some((_, host, address)) if name.name_eq(host) && question.qtype() == Rtype::A => {
                answer.push((host, Class::IN, TTL, A::new(*address)))?;
                return Ok(answer.finish());
            }
            _ => {}
        }
        // A negative is cached by its SOA (RFC 2308).
        let mut authority = answer.authority();
        let soa = Soa::new(&self.apex, &self.apex, Serial(1), TTL, TTL, TTL, TTL);
        authority.push((&self.apex, Class::IN, TTL, soa))?;
        Ok(authority.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a name and a type; the response code, and how many records the answer and the authority have.
    fn check(name: &str, rtype: Rtype, expected: (Rcode, u16, u16)) {
        let mut query = MessageBuilder::new_vec().question();
        query.push((WireName::vec_from_str(name).unwrap(), rtype, Class::IN)).unwrap();
        let answer = Zone::new().unwrap().answer(&query.finish()).unwrap();
        let answer = Message::from_octets(answer).unwrap();
        let counts = answer.header_counts();
        let found = (answer.header().rcode(), counts.ancount(), counts.nscount());
        assert_eq!(found, expected, "{name} {rtype}");
    }

    #[test]
    fn the_zone() {
        check(LIVE, Rtype::MX, (Rcode::NOERROR, 1, 0));
        check("MX.Live.Bench.Example", Rtype::A, (Rcode::NOERROR, 1, 0));
        check("mx.dead.bench.example", Rtype::AAAA, (Rcode::NOERROR, 0, 1));
        check("other.bench.example", Rtype::MX, (Rcode::NXDOMAIN, 0, 1));
    }
}
