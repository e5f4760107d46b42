//! Name servers that fail as name servers and the networks before them do.
//!
//! - UDP is lost, repeated, late, out of order: it always was.
//! - Answers are cut (TC=1) with nothing or a part in them, and TCP is closed, silent, hangs up or answers too late: a
//!   firewall on port 53, a server without TCP. It is the case that founded the program: mail waits, and is never returned.
//! - A server says SERVFAIL or REFUSED, knows no EDNS, folds letter case, sends no SOA with a negative answer.
//!
//! They do not lie: a whole NXDOMAIN is always true, for no resolver could tell.

use super::dice::Dice;
use super::zones::{CNAME, Data, Zones};
use domain::base::iana::{Class, Rcode};
use domain::base::message_builder::{AnswerBuilder, PushError};
use domain::base::{Message, MessageBuilder, Name, Serial, Ttl};
use domain::rdata;

/// What a server's UDP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Udp {
    Good,
    /// Every other datagram is lost, and some come twice.
    Lossy,
    Silent,
    /// ICMP port unreachable.
    PortClosed,
    ServFail,
    Refused,
    /// TC=1 and no record, to everything.
    CutEmpty,
    /// TC=1 and the first record, to everything.
    CutPart,
    /// FORMERR to a query with EDNS.
    NoEdns,
    /// Octets that are no message.
    Garbage,
}

/// What its TCP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tcp {
    Good,
    Refused,
    /// SYNs are dropped.
    Filtered,
    /// It accepts, and says nothing.
    Mute,
    /// It accepts, and hangs up when asked.
    HangsUp,
    ServFail,
}

const UDP: [Udp; 9] = [
    Udp::Lossy,
    Udp::Silent,
    Udp::PortClosed,
    Udp::ServFail,
    Udp::Refused,
    Udp::CutEmpty,
    Udp::CutPart,
    Udp::NoEdns,
    Udp::Garbage,
];
const TCP: [Tcp; 5] = [Tcp::Refused, Tcp::Filtered, Tcp::Mute, Tcp::HangsUp, Tcp::ServFail];

/// A name server.
pub(super) struct NameServer {
    pub(super) udp: Udp,
    pub(super) tcp: Tcp,
    /// A habit of its own, not a fault: it goes on when the world is healed.
    no_soa: bool,
    folds_case: bool,
}

impl NameServer {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let (no_soa, folds_case) = (dice.chance(100), dice.chance(100));
        Self { udp: Udp::Good, tcp: Tcp::Good, no_soa, folds_case }
    }

    /// Draws its faults anew.
    pub(super) fn turn(&mut self, dice: &mut Dice, faults_per_mille: u64) {
        self.udp = if dice.chance(faults_per_mille) { *dice.pick(&UDP) } else { Udp::Good };
        self.tcp = if dice.chance(faults_per_mille) { *dice.pick(&TCP) } else { Tcp::Good };
    }

    pub(super) fn heal(&mut self) {
        (self.udp, self.tcp) = (Udp::Good, Tcp::Good);
    }

    /// The answer to a datagram, if there is one.
    pub(super) fn datagram(&self, zones: &Zones, query: &[u8]) -> Option<Vec<u8>> {
        match self.udp {
            Udp::Silent | Udp::PortClosed => None,
            Udp::Garbage => Some(query.iter().map(|octet| octet ^ 0x5a).take(20).collect()),
            Udp::ServFail => self.reply(zones, query, Form::failing(Rcode::SERVFAIL)),
            Udp::Refused => self.reply(zones, query, Form::failing(Rcode::REFUSED)),
            Udp::CutEmpty => self.reply(zones, query, Form { cut: Some(0), ..Form::default() }),
            Udp::CutPart => self.reply(zones, query, Form { cut: Some(1), ..Form::default() }),
            Udp::NoEdns if has_edns(query) => self.reply(zones, query, Form::failing(Rcode::FORMERR)),
            Udp::Good | Udp::Lossy | Udp::NoEdns => {
                let room = edns_size(query).unwrap_or(512).clamp(512, 4096);
                let whole = self.reply(zones, query, Form::default())?;
                if whole.len() <= usize::from(room) {
                    return Some(whole);
                }
                let cut = if usize::from(room) < 1000 { 3 } else { 0 };
                self.reply(zones, query, Form { cut: Some(cut), ..Form::default() })
            }
        }
    }

    /// The answer to a message over TCP, if there is one.
    pub(super) fn message(&self, zones: &Zones, query: &[u8]) -> Option<Vec<u8>> {
        match self.tcp {
            Tcp::Good => self.reply(zones, query, Form::default()),
            Tcp::ServFail => self.reply(zones, query, Form::failing(Rcode::SERVFAIL)),
            Tcp::Refused | Tcp::Filtered | Tcp::Mute | Tcp::HangsUp => None,
        }
    }

    fn reply(&self, zones: &Zones, query: &[u8], form: Form) -> Option<Vec<u8>> {
        let mut query = query.to_vec();
        if self.folds_case {
            // Only letters of the question are above 64 and below 91 there; ids and counts before it are left alone.
            query.iter_mut().skip(12).for_each(|octet| octet.make_ascii_lowercase());
        }
        let query = Message::from_octets(query).ok()?;
        build(zones, &query, form, self.no_soa)
    }
}

#[derive(Clone, Copy, Default)]
struct Form {
    rcode: Option<Rcode>,
    /// TC=1, and so many records.
    cut: Option<usize>,
}

impl Form {
    fn failing(rcode: Rcode) -> Self {
        Self { rcode: Some(rcode), cut: None }
    }
}

fn has_edns(query: &[u8]) -> bool {
    edns_size(query).is_some()
}

fn edns_size(query: &[u8]) -> Option<u16> {
    Message::from_octets(query).ok()?.opt().map(|opt| opt.udp_payload_size())
}

type Owner = Name<Vec<u8>>;

fn owner(name: &str) -> Option<Owner> {
    Name::vec_from_str(if name.is_empty() { "." } else { name }).ok()
}

fn build(zones: &Zones, query: &Message<Vec<u8>>, form: Form, no_soa: bool) -> Option<Vec<u8>> {
    let question = query.sole_question().ok()?;
    let asked = question.qname().to_string().trim_end_matches('.').to_ascii_lowercase();
    let rtype = question.qtype().to_int();
    let mut records = Vec::new();
    let mut name = asked.clone();
    if rtype != CNAME
        && let Some([Data::Cname(target)]) = zones.records.get(&(name.clone(), CNAME)).map(Vec::as_slice)
    {
        records.push((name, Data::Cname(target.clone())));
        name = target.clone();
    }
    let found = zones.records.get(&(name.clone(), rtype)).cloned().unwrap_or_default();
    let negative = found.is_empty();
    records.extend(found.into_iter().map(|data| (name.clone(), data)));
    let rcode = match form.rcode {
        Some(rcode) => rcode,
        None if negative && !zones.exists(&name) => Rcode::NXDOMAIN,
        None => Rcode::NOERROR,
    };
    let mut answer = MessageBuilder::new_vec().start_answer(query, rcode).ok()?;
    answer.header_mut().set_ra(true);
    let mut with_soa = negative && !no_soa && form.rcode.is_none();
    if form.rcode.is_some() {
        records.clear();
    }
    if let Some(kept) = form.cut {
        answer.header_mut().set_tc(true);
        records.truncate(kept);
        with_soa = false;
    }
    for (name, data) in &records {
        push(&mut answer, name, data)?.ok()?;
    }
    let mut authority = answer.authority();
    if with_soa {
        let soa = rdata::Soa::new(
            owner("ns.example")?,
            owner("hostmaster.example")?,
            Serial(1),
            Ttl::from_secs(3600),
            Ttl::from_secs(600),
            Ttl::from_secs(86_400),
            Ttl::from_secs(60),
        );
        authority.push((owner("example")?, Class::IN, Ttl::from_secs(60), soa)).ok()?;
    }
    let mut additional = authority.additional();
    if query.opt().is_some() {
        additional
            .opt(|opt| {
                opt.set_udp_payload_size(1232);
                Ok(())
            })
            .ok()?;
    }
    Some(additional.finish())
}

fn push(answer: &mut AnswerBuilder<Vec<u8>>, name: &str, data: &Data) -> Option<Result<(), PushError>> {
    let (name, class, ttl) = (owner(name)?, Class::IN, Ttl::from_secs(300));
    Some(match data {
        Data::A(ip) => answer.push((name, class, ttl, rdata::A::new(*ip))),
        Data::Aaaa(ip) => answer.push((name, class, ttl, rdata::Aaaa::new(*ip))),
        Data::Mx(preference, host) => {
            answer.push((name, class, ttl, rdata::Mx::new(*preference, owner(host)?)))
        }
        Data::Cname(target) => answer.push((name, class, ttl, rdata::Cname::new(owner(target)?))),
    })
}
