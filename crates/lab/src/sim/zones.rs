//! What DNS would say if nothing went wrong, and so which verdict about a domain is the true one.

use super::dice::Dice;
use postroad_mail::domain::Domain;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The data of a record.
#[derive(Clone, Debug)]
pub(super) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    Cname(String),
}

/// A domain that mail is sent to.
#[derive(Debug)]
pub(super) struct MailDomain {
    pub(super) name: Domain,
    /// In words, for the trace.
    pub(super) kind: &'static str,
    /// The addresses at which its mail is right.
    pub(super) hosts: BTreeSet<IpAddr>,
    /// Its verdict is permanent: no host takes its mail, whatever is tried.
    pub(super) permanent: bool,
}

/// All names there are.
#[derive(Default)]
pub(super) struct Zones {
    /// By name in lower case and type.
    pub(super) records: BTreeMap<(String, u16), Vec<Data>>,
    pub(super) domains: Vec<MailDomain>,
    /// All hosts.
    pub(super) hosts: BTreeSet<IpAddr>,
}

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const MX: u16 = 15;
pub(super) const AAAA: u16 = 28;

/// Our own address.
pub(super) const OURSELVES: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The smart host's address.
pub(super) const SMART_HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);
/// The smart host's name.
pub(super) const SMART_HOST_NAME: &str = "smart.example";
/// The domain from which most mail comes, so that notifications go there. It always has one good host.
pub(super) const SENDERS: &str = "sender.example";
/// MX hosts of the domain whose set is large: about 1,500 octets of answer, more than fits 1232.
const MANY: u8 = 40;

impl Zones {
    /// Zones with some domains of each kind, more or less.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut zones = Self::default();
        zones.add_address(SMART_HOST_NAME, SMART_HOST);
        zones.add_domain(SENDERS, "plain", dice);
        const KINDS: [&str; 12] = [
            "plain",
            "plain",
            "implicit",
            "null MX",
            "missing",
            "empty",
            "dead MX",
            "half dead",
            "ourselves",
            "backup",
            "many",
            "alias",
        ];
        for number in 0..dice.between(2, 6) {
            let kind = *dice.pick(&KINDS);
            zones.add_domain(&format!("d{number}.example"), kind, dice);
        }
        zones
    }

    pub(super) fn domain(&self, name: &Domain) -> Option<&MailDomain> {
        self.domains.iter().find(|domain| domain.name == *name)
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        self.records.keys().any(|(owner, _)| owner == name || owner.ends_with(&below))
    }

    fn add(&mut self, name: &str, rtype: u16, data: Data) {
        self.records.entry((name.to_owned(), rtype)).or_default().push(data);
    }

    fn add_address(&mut self, name: &str, address: Ipv4Addr) {
        self.add(name, A, Data::A(address));
        self.hosts.insert(address.into());
    }

    /// A new host with an address, some with two.
    fn add_host(&mut self, name: &str, dice: &mut Dice) -> BTreeSet<IpAddr> {
        let number = self.hosts.len() as u8;
        let mut addresses = BTreeSet::from([IpAddr::from([203, 0, 113, number])]);
        self.add_address(name, Ipv4Addr::new(203, 0, 113, number));
        if dice.chance(200) {
            let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number));
            self.add(name, AAAA, Data::Aaaa(v6));
            self.hosts.insert(v6.into());
            addresses.insert(v6.into());
        }
        addresses
    }

    fn add_mx(&mut self, name: &str, preference: u16, host: &str, dice: &mut Dice) -> BTreeSet<IpAddr> {
        self.add(name, MX, Data::Mx(preference, host.to_owned()));
        self.add_host(host, dice)
    }

    fn add_domain(&mut self, name: &str, kind: &'static str, dice: &mut Dice) {
        let mut hosts = BTreeSet::new();
        let dead = |zones: &mut Self, preference| {
            zones.add(name, MX, Data::Mx(preference, format!("gone.{name}.invalid")));
        };
        match kind {
            "implicit" => hosts = self.add_host(name, dice),
            "null MX" => self.add(name, MX, Data::Mx(0, String::new())),
            "missing" => {}
            // It exists, for a name below it does.
            "empty" => self.add(&format!("www.{name}"), A, Data::A(Ipv4Addr::new(203, 0, 113, 251))),
            "dead MX" => dead(self, 10),
            "half dead" => {
                dead(self, 10);
                hosts = self.add_mx(name, 20, &format!("mx.{name}"), dice);
            }
            "ourselves" => self.add_ourselves(name, 10),
            "backup" => {
                hosts = self.add_mx(name, 10, &format!("mx.{name}"), dice);
                self.add_ourselves(name, 20);
            }
            "many" => {
                for number in 0..MANY {
                    let host = format!("mx{number:02}-inbound-gateway.{name}");
                    hosts.extend(self.add_mx(name, 10 * u16::from(number % 4), &host, dice));
                }
            }
            "alias" => {
                let target = format!("mail.{name}");
                self.add(name, CNAME, Data::Cname(target.clone()));
                hosts = self.add_mx(&target, 10, &format!("mx.{target}"), dice);
            }
            _ => {
                for number in 0..dice.between(1, 3) {
                    let host = format!("mx{number}.{name}");
                    let preference = 10 * dice.between(1, 2) as u16;
                    hosts.extend(self.add_mx(name, preference, &host, dice));
                }
            }
        }
        // The names are well formed by their making.
        if let Ok(domain) = name.parse() {
            let permanent = hosts.is_empty();
            self.domains.push(MailDomain { name: domain, kind, hosts, permanent });
        }
    }

    fn add_ourselves(&mut self, name: &str, preference: u16) {
        let host = format!("relay.{name}");
        self.add(name, MX, Data::Mx(preference, host.clone()));
        self.add(&host, A, Data::A(OURSELVES));
    }
}
