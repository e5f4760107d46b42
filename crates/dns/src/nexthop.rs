//! The verdict: from record sets to where mail goes (RFC 5321 §5.1, RFC 7505). A pure decision over what was found so far: either a
//! verdict, or what must be known first.

use crate::answer::{Cause, CauseKind, MailHost, Provenance, Question, Verdict};
use crate::cache::Absent;
use crate::name::Name;
use crate::resolved::{Resolved, Said};
use crate::settings::Settings;
use crate::wire::{A_TYPE, AAAA_TYPE, Data, MX_TYPE, addresses};
use postroad_mail::domain::Domain;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// MX hosts looked at, best first. A hostile set (hundreds of names, each of which costs queries) must not make us a tool; no honest
/// domain has forty hosts of which all fail.
pub(crate) const EXCHANGERS_MAX: usize = 40;
/// Hosts resolved at a time, best first; the next are if none of these is usable.
const HOSTS_AT_ONCE: usize = 20;
/// Addresses of one kind used of one host.
const ADDRESSES_MAX: usize = 8;

/// A record set that must be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) name: Name,
    pub(crate) rtype: u16,
    /// By a second witness: its absence would be final.
    pub(crate) confirm: bool,
}

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exchanger {
    pub(crate) preference: u16,
    pub(crate) name: Name,
    /// `None`: what it names is no host name, so no mail can go there.
    pub(crate) domain: Option<Domain>,
}

/// What was found so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) got: BTreeMap<Need, Resolved>,
    /// The MX records in the order to try them, once the set is known.
    pub(crate) order: Option<Vec<Exchanger>>,
}

/// Where the decision stands.
#[derive(Debug)]
pub(crate) enum Decision {
    Needs(Vec<Need>),
    Is(Conclusion),
}

/// A verdict with what belongs to it.
#[derive(Debug)]
pub(crate) struct Conclusion {
    pub(crate) verdict: Verdict,
    pub(crate) in_part: bool,
    pub(crate) implicit: bool,
    pub(crate) records: Vec<String>,
}

/// What is known of a host.
enum HostState {
    Unknown(Vec<Need>),
    Usable(Vec<IpAddr>),
    Ourselves,
    /// All its addresses are in refused networks.
    Refused,
    /// Believed to have no address; these absences want a second witness before that is final.
    Gone(Vec<Need>),
    Failed(Cause),
}

/// The addresses of a host, whoever's they are.
enum Addresses {
    Unknown(Vec<Need>),
    Known { all: Vec<IpAddr>, failed: Option<Cause>, unconfirmed: Vec<Need> },
}

/// What is known of a record set.
enum Seen<'a> {
    Unknown(Need),
    Set(&'a [Data], Provenance),
    Absent(&'a Absent),
    Failed(&'a Cause),
}

impl Need {
    pub(crate) fn new(name: &Name, rtype: u16) -> Self {
        Self { name: name.clone(), rtype, confirm: false }
    }

    fn confirmed(self) -> Self {
        Self { confirm: true, ..self }
    }
}

/// Decides a question by what was found.
pub(crate) fn decide(question: &Question, found: &Found, settings: &Settings) -> Decision {
    let judge = Judge { found, settings };
    match question {
        Question::NextHop(domain) => judge.next_hop(domain),
        Question::Host(domain) => judge.named(domain),
        Question::Records(name, rtype) => judge.records(name, *rtype),
    }
}

/// The MX records of a set in the order to try them: null MX left out (RFC 7505 §3), best first, equal ones as `shuffle` puts them.
pub(crate) fn exchangers(set: &[Data], mut shuffle: impl FnMut() -> u32) -> Vec<Exchanger> {
    let mut keyed: Vec<(u16, u32, Exchanger)> = set
        .iter()
        .filter_map(|data| match data {
            Data::Mx { preference, host } if !host.is_root() => {
                let exchanger =
                    Exchanger { preference: *preference, name: host.clone(), domain: host.domain() };
                Some((*preference, shuffle(), exchanger))
            }
            Data::Mx { .. } | Data::Address(_) | Data::Text(_) => None,
        })
        .collect();
    keyed.sort_by_key(|(preference, draw, _)| (*preference, *draw));
    keyed.into_iter().map(|(_, _, exchanger)| exchanger).collect()
}

struct Judge<'a> {
    found: &'a Found,
    settings: &'a Settings,
}

impl Judge<'_> {
    fn seen(&self, name: &Name, rtype: u16) -> Seen<'_> {
        let need = Need::new(name, rtype);
        let confirmed = self.found.got.get(&need.clone().confirmed());
        match confirmed.or_else(|| self.found.got.get(&need)) {
            None => Seen::Unknown(need),
            Some(Resolved { said: Said::Set(set), provenance, .. }) => Seen::Set(set, *provenance),
            Some(Resolved { said: Said::Absent(absent), .. }) => Seen::Absent(absent),
            Some(Resolved { said: Said::Failed(cause), .. }) => Seen::Failed(cause),
        }
    }

    fn next_hop(&self, domain: &Domain) -> Decision {
        let name = Name::from_domain(domain);
        match self.seen(&name, MX_TYPE) {
            Seen::Unknown(need) => Decision::Needs(vec![need]),
            Seen::Failed(cause) => unresolved(cause.clone()),
            Seen::Absent(absent) if absent.no_name && absent.confirmed => is(Verdict::NoSuchDomain),
            Seen::Absent(absent) if absent.no_name || !believed(absent) => {
                Decision::Needs(vec![Need::new(&name, MX_TYPE).confirmed()])
            }
            Seen::Absent(_) => self.implicit(domain),
            Seen::Set(set, provenance) => self.by_exchangers(domain, set, provenance),
        }
    }

    /// A domain by its own addresses, as its own MX (RFC 5321 §5.1).
    fn implicit(&self, domain: &Domain) -> Decision {
        let name = Name::from_domain(domain);
        match self.host(&name) {
            HostState::Unknown(needs) => Decision::Needs(needs),
            HostState::Usable(addresses) => one_host(domain, addresses, true),
            HostState::Ourselves => self.permanent(domain, Verdict::LoopsBack),
            HostState::Refused => unresolved(self.refused(&name)),
            HostState::Failed(cause) => unresolved(cause),
            HostState::Gone(mut needs) => {
                if let Seen::Absent(Absent { confirmed: false, .. }) = self.seen(&name, MX_TYPE) {
                    needs.push(Need::new(&name, MX_TYPE).confirmed());
                }
                self.permanent_once_confirmed(domain, needs, Verdict::NoHost)
            }
        }
    }

    /// A host that the administrator named: he may well mean this machine or the loopback network, at another port.
    fn named(&self, domain: &Domain) -> Decision {
        match self.addresses(&Name::from_domain(domain)) {
            Addresses::Unknown(needs) => Decision::Needs(needs),
            Addresses::Known { all, failed: Some(cause), .. } if all.is_empty() => unresolved(cause),
            Addresses::Known { all, unconfirmed, .. } if all.is_empty() => {
                self.permanent_once_confirmed(domain, unconfirmed, Verdict::NoHost)
            }
            Addresses::Known { all, .. } => one_host(domain, few(all), false),
        }
    }

    fn by_exchangers(&self, domain: &Domain, set: &[Data], provenance: Provenance) -> Decision {
        let order = self.found.order.as_deref().unwrap_or_default();
        if order.is_empty() {
            // A single null MX says that the domain takes no mail; several say nothing that the standard knows.
            let verdict = if set.len() == 1 { Verdict::NoMailService } else { Verdict::NoHost };
            return self.permanent(domain, verdict);
        }
        // By name we are known at once, wherever in the set we stand.
        let by_name =
            |exchanger: &&Exchanger| exchanger.domain.is_some() && exchanger.domain == self.settings.own_name;
        let ours = order.iter().find(by_name).map(|exchanger| exchanger.preference);
        let mut reading = Reading { ours, ..Reading::default() };
        for (at, exchanger) in order.iter().enumerate().take(EXCHANGERS_MAX) {
            if !reading.is_better(exchanger.preference) {
                break;
            }
            // The next hosts are looked at only if none of those before them can be used.
            if at % HOSTS_AT_ONCE == 0 && (!reading.usable.is_empty() || !reading.needs.is_empty()) {
                break;
            }
            self.read(exchanger, &mut reading);
        }
        if !reading.needs.is_empty() {
            return Decision::Needs(reading.needs);
        }
        // The loop rule needs the whole set: a part in which we stand does not say who is better.
        if reading.ours.is_some() && provenance != Provenance::Complete {
            return unresolved(doubtful(domain));
        }
        let unseen = order.iter().skip(reading.preferences.len());
        reading.in_part = unseen.into_iter().any(|exchanger| reading.is_better(exchanger.preference));
        self.conclude(domain, reading, order.len() <= EXCHANGERS_MAX)
    }

    fn read(&self, exchanger: &Exchanger, reading: &mut Reading) {
        let preference = exchanger.preference;
        reading.preferences.push(preference);
        // A name that no host can have is read as a host that does not exist.
        let Some(name) = &exchanger.domain else {
            return;
        };
        match self.host(&exchanger.name) {
            HostState::Ourselves => {
                // RFC 5321 §5.1: we and all of equal or worse preference are no way.
                reading.ours = Some(preference);
                reading.usable.retain(|host| host.preference < preference);
            }
            HostState::Unknown(needs) => reading.needs.extend(needs),
            HostState::Usable(addresses) => {
                reading.usable.push(MailHost { name: name.clone(), preference, addresses });
            }
            HostState::Refused => {
                reading.refused.get_or_insert_with(|| self.refused(&exchanger.name));
            }
            HostState::Gone(needs) => reading.unconfirmed.extend(needs),
            HostState::Failed(cause) => {
                reading.failed.get_or_insert(cause);
            }
        }
    }

    /// All hosts that may be looked at are read. `whole`: there are no others.
    fn conclude(&self, domain: &Domain, reading: Reading, whole: bool) -> Decision {
        if !reading.usable.is_empty() {
            return Decision::Is(Conclusion {
                verdict: Verdict::Hosts(reading.usable),
                in_part: reading.in_part || reading.failed.is_some() || reading.refused.is_some(),
                implicit: false,
                records: Vec::new(),
            });
        }
        let better = reading.preferences.iter().any(|preference| reading.is_better(*preference));
        if reading.ours.is_some() && !better {
            return self.permanent(domain, Verdict::LoopsBack);
        }
        if let Some(cause) = reading.failed {
            return unresolved(cause);
        }
        if reading.ours.is_some() {
            let text =
                format!("no MX host of {domain} that is better than ourselves has an address to deliver to");
            return unresolved(Cause { text, dns_fault: false, kind: CauseKind::BetterHostsUnreachable });
        }
        if let Some(cause) = reading.refused {
            return unresolved(cause);
        }
        if !whole {
            let text =
                format!("{domain} has very many MX hosts, and the best {EXCHANGERS_MAX} have no address");
            return unresolved(Cause { text, dns_fault: false, kind: CauseKind::TooManyHosts });
        }
        self.permanent_once_confirmed(domain, reading.unconfirmed, Verdict::NoHost)
    }

    fn addresses(&self, name: &Name) -> Addresses {
        let (mut needs, mut failed, mut unconfirmed) = (Vec::new(), None, Vec::new());
        let mut all: Vec<IpAddr> = Vec::new();
        for rtype in [A_TYPE, AAAA_TYPE] {
            match self.seen(name, rtype) {
                Seen::Unknown(need) => needs.push(need),
                // `::ffff:127.0.0.1` is 127.0.0.1, and is judged as that.
                Seen::Set(set, _) => all.extend(addresses(set).map(|ip| ip.to_canonical())),
                Seen::Failed(cause) => failed = failed.or(Some(cause.clone())),
                Seen::Absent(absent) if absent.confirmed => {}
                Seen::Absent(_) => unconfirmed.push(Need::new(name, rtype).confirmed()),
            }
        }
        if needs.is_empty() {
            Addresses::Known { all, failed, unconfirmed }
        } else {
            Addresses::Unknown(needs)
        }
    }

    fn host(&self, name: &Name) -> HostState {
        let (all, failed, unconfirmed) = match self.addresses(name) {
            Addresses::Unknown(needs) => return HostState::Unknown(needs),
            Addresses::Known { all, failed, unconfirmed } => (all, failed, unconfirmed),
        };
        let port = self.settings.remote_port;
        let is_own = |ip: &IpAddr| {
            self.settings.own.iter().any(|own| own.ip().to_canonical() == *ip && own.port() == port)
        };
        if all.iter().any(is_own) {
            return HostState::Ourselves;
        }
        let allowed = |ip: &IpAddr| !self.settings.refused.iter().any(|network| network.contains(ip));
        let usable: Vec<IpAddr> = all.iter().copied().filter(allowed).collect();
        match failed {
            _ if !usable.is_empty() => HostState::Usable(few(usable)),
            Some(cause) => HostState::Failed(cause),
            None if !all.is_empty() => HostState::Refused,
            None => HostState::Gone(unconfirmed),
        }
    }

    /// A verdict that ends the mail: never by stale or partial data.
    fn permanent(&self, domain: &Domain, verdict: Verdict) -> Decision {
        let complete = |resolved: &Resolved| resolved.provenance == Provenance::Complete;
        if self.found.got.values().all(complete) { is(verdict) } else { unresolved(doubtful(domain)) }
    }

    /// A verdict that ends the mail on account of absences: only when each has been asked of a second server.
    fn permanent_once_confirmed(&self, domain: &Domain, needs: Vec<Need>, verdict: Verdict) -> Decision {
        if needs.is_empty() { self.permanent(domain, verdict) } else { Decision::Needs(needs) }
    }

    fn refused(&self, name: &Name) -> Cause {
        Cause {
            text: format!("all addresses of {name} are in networks to which no mail goes (NextHopRefused)"),
            dns_fault: false,
            kind: CauseKind::NextHopRefused,
        }
    }

    fn records(&self, text: &str, rtype: u16) -> Decision {
        let Some(name) = (if text == "." { Some(Name::root()) } else { Name::from_text(text) }) else {
            // What cannot be a name cannot exist.
            return is(Verdict::NoSuchDomain);
        };
        match self.seen(&name, rtype) {
            Seen::Unknown(need) => Decision::Needs(vec![need]),
            Seen::Failed(cause) => unresolved(cause.clone()),
            Seen::Absent(absent) if !believed(absent) => {
                Decision::Needs(vec![Need::new(&name, rtype).confirmed()])
            }
            Seen::Absent(absent) if absent.no_name => is(Verdict::NoSuchDomain),
            Seen::Absent(_) => is(Verdict::NoRecords),
            Seen::Set(set, _) => {
                let records = set.iter().map(ToString::to_string).collect();
                Decision::Is(Conclusion {
                    verdict: Verdict::Records,
                    in_part: false,
                    implicit: false,
                    records,
                })
            }
        }
    }
}

/// What reading the MX records in order has shown.
#[derive(Default)]
struct Reading {
    needs: Vec<Need>,
    usable: Vec<MailHost>,
    /// Our own preference, if we are among them.
    ours: Option<u16>,
    /// Preferences of the hosts read.
    preferences: Vec<u16>,
    failed: Option<Cause>,
    refused: Option<Cause>,
    unconfirmed: Vec<Need>,
    /// Hosts that could be used were not looked at, as there are others.
    in_part: bool,
}

impl Reading {
    /// Better than we, where we are among the hosts.
    fn is_better(&self, preference: u16) -> bool {
        self.ours.is_none_or(|ours| preference < ours)
    }
}

/// Good enough to go on by: a proof, or two witnesses.
fn believed(absent: &Absent) -> bool {
    absent.proof || absent.confirmed
}

/// At most so many of each kind as are of use.
fn few(all: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = all.into_iter().partition(IpAddr::is_ipv4);
    v4.into_iter().take(ADDRESSES_MAX).chain(v6.into_iter().take(ADDRESSES_MAX)).collect()
}

fn one_host(domain: &Domain, addresses: Vec<IpAddr>, implicit: bool) -> Decision {
    let host = MailHost { name: domain.clone(), preference: 0, addresses };
    Decision::Is(Conclusion {
        verdict: Verdict::Hosts(vec![host]),
        in_part: false,
        implicit,
        records: Vec::new(),
    })
}

fn is(verdict: Verdict) -> Decision {
    Decision::Is(Conclusion { verdict, in_part: false, implicit: false, records: Vec::new() })
}

fn unresolved(cause: Cause) -> Decision {
    is(Verdict::Unresolved(cause))
}

fn doubtful(domain: &Domain) -> Cause {
    Cause {
        text: format!(
            "only a part or a stale copy of the records of {domain} could be had, by which nothing final is decided"
        ),
        dns_fault: true,
        kind: CauseKind::Doubtful,
    }
}
