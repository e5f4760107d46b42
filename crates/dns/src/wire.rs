//! Messages: a query is built, a reply is read. Nothing here decides what a reply is worth.

use crate::name::Name;
use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::MessageBuilder;
use domain::base::name::ParsedName;
use domain::base::wire::ParseError;
use domain::base::{Message, Name as WireName, ParsedRecord};
use domain::rdata::{A, Aaaa, Cname, Mx, Soa, ZoneRecordData};
use std::net::IpAddr;

/// Record types that are used by number.
pub(crate) const A_TYPE: u16 = 1;
pub(crate) const SOA_TYPE: u16 = 6;
const CNAME_TYPE: u16 = 5;
pub(crate) const MX_TYPE: u16 = 15;
pub(crate) const AAAA_TYPE: u16 = 28;

/// Aliases that are followed for one question (RFC 1034 §3.6.2 gives no number; BIND stops at 16, Unbound at 11).
pub(crate) const ALIASES_MAX: u8 = 8;

/// Records read of one answer section: BIND serves no more than 100 of a type (CVE-2024-1737), and what does not fit here is
/// no mail domain's set.
const RECORDS_MAX: usize = 1000;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Data {
    Address(IpAddr),
    Mx {
        preference: u16,
        host: Name,
    },
    /// Any other type, in presentation form.
    Text(String),
}

/// A query's form, apart from its question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) id: u16,
    /// The size of datagram offered by EDNS.
    pub(crate) edns: Option<u16>,
    /// A bit for each letter: set for upper case (0x20). Names of more letters use the bits again.
    pub(crate) case: u128,
}

/// The question with the letter case of the form.
pub(crate) fn cased(name: &Name, case: u128) -> Vec<u8> {
    let mut wire = name.wire().to_vec();
    let mut bits = case;
    // Length octets are at most 63, below any letter.
    for octet in wire.iter_mut().filter(|octet| octet.is_ascii_lowercase()) {
        if bits & 1 == 1 {
            *octet = octet.to_ascii_uppercase();
        }
        bits = bits.rotate_right(1);
    }
    wire
}

/// A query; `None` if it cannot be built, which a name of this crate never causes.
pub(crate) fn query(name: &Name, rtype: u16, form: Form) -> Option<Vec<u8>> {
    let wire = WireName::from_octets(cased(name, form.case)).ok()?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(form.id);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((wire, Rtype::from_int(rtype), Class::IN)).ok()?;
    let Some(size) = form.edns else {
        return Some(question.finish());
    };
    let mut additional = question.additional();
    additional
        .opt(|opt| {
            opt.set_udp_payload_size(size);
            Ok(())
        })
        .ok()?;
    Some(additional.finish())
}

/// The id of a message, if it is long enough to have one.
pub(crate) fn id(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id))
}

/// Whether a message is the reply to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It is, to the letter.
    Exact,
    /// In all but letter case.
    OtherCase,
    /// It has no question, as some servers' FORMERR; good for nothing but its response code.
    NoQuestion,
    /// It is not.
    Not,
}

/// A reply as read.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) question: Match,
    pub(crate) rcode: u16,
    pub(crate) truncated: bool,
    pub(crate) authoritative: bool,
    pub(crate) recursive: bool,
    /// As the header counts them.
    pub(crate) answers: u16,
    /// Where the aliases in the answer lead, from the name asked for: that name itself if there is none.
    pub(crate) target: Name,
    /// Aliases followed.
    pub(crate) aliases: u8,
    /// The records of the type asked for at `target`.
    pub(crate) records: Vec<Data>,
    /// The least TTL of those and of the aliases, in seconds.
    pub(crate) ttl: u32,
    /// The answer section has records, none of which is for the name asked.
    pub(crate) stray: bool,
    /// The TTL of a negative answer, by the SOA in the authority section (RFC 2308 §5).
    pub(crate) soa: Option<u32>,
    /// The authority section names servers.
    pub(crate) refers: bool,
    /// The message does not end where it says, or cannot be read to its end.
    pub(crate) malformed: bool,
}

/// Reads a reply to the question `name` (in lower case), which was sent as `sent`. `None`: not even a header, or a query.
pub(crate) fn read(bytes: &[u8], name: &Name, rtype: u16, sent: &[u8]) -> Option<Reply> {
    let message = Message::from_slice(bytes).ok()?;
    let header = message.header();
    if !header.qr() || header.opcode().to_int() != 0 {
        return None;
    }
    let mut reply = Reply {
        question: question_match(message, rtype, name, sent),
        rcode: header.rcode().to_int().into(),
        truncated: header.tc(),
        authoritative: header.aa(),
        recursive: header.ra(),
        answers: message.header_counts().ancount(),
        target: name.clone(),
        aliases: 0,
        records: Vec::new(),
        ttl: u32::MAX,
        stray: false,
        soa: None,
        refers: false,
        malformed: false,
    };
    if matches!(reply.question, Match::Exact | Match::OtherCase) {
        let answers = read_answer(message, rtype, &mut reply);
        reply.follow(answers, rtype);
        // A truncated message may stop anywhere: what was read before is what there is.
        if read_rest(message, &mut reply).is_err() {
            reply.malformed = true;
        }
    }
    Some(reply)
}

fn question_match(message: &Message<[u8]>, rtype: u16, name: &Name, sent: &[u8]) -> Match {
    if message.header_counts().qdcount() == 0 {
        return Match::NoQuestion;
    }
    let Ok(question) = message.sole_question() else {
        return Match::Not;
    };
    if question.qtype().to_int() != rtype || question.qclass() != Class::IN {
        return Match::Not;
    }
    let mut exact = Vec::with_capacity(sent.len());
    for label in question.qname().iter() {
        exact.push(label.len() as u8);
        exact.extend_from_slice(label.as_slice());
    }
    if exact == sent {
        Match::Exact
    } else if exact.eq_ignore_ascii_case(name.wire()) {
        Match::OtherCase
    } else {
        Match::Not
    }
}

/// One record of the answer section.
struct Answer {
    owner: Name,
    ttl: u32,
    says: Says,
}

enum Says {
    Alias(Name),
    Data(Data),
}

/// The records of the answer section that are aliases or of the type asked for.
fn read_answer(message: &Message<[u8]>, rtype: u16, reply: &mut Reply) -> Vec<Answer> {
    let mut answers = Vec::new();
    let Ok(section) = message.answer() else {
        reply.malformed = true;
        return answers;
    };
    for record in section.take(RECORDS_MAX) {
        match record.and_then(|record| read_record(&record, rtype)) {
            Ok(answer) => answers.extend(answer),
            Err(_) => {
                reply.malformed = true;
                break;
            }
        }
    }
    answers
}

fn read_record(record: &ParsedRecord<'_, [u8]>, rtype: u16) -> Result<Option<Answer>, ParseError> {
    let found = record.rtype().to_int();
    if record.class() != Class::IN || (found != rtype && found != CNAME_TYPE) {
        return Ok(None);
    }
    let says = match found {
        A_TYPE => record.to_record::<A>()?.map(|a| Says::Data(address(a.data().addr()))),
        AAAA_TYPE => record.to_record::<Aaaa>()?.map(|aaaa| Says::Data(address(aaaa.data().addr()))),
        MX_TYPE => record.to_record::<Mx<ParsedName<&[u8]>>>()?.map(|mx| {
            let host = Name::from_labels(mx.data().exchange());
            Says::Data(Data::Mx { preference: mx.data().preference(), host })
        }),
        // An alias that is itself asked for is data.
        CNAME_TYPE if rtype != CNAME_TYPE => record
            .to_record::<Cname<ParsedName<&[u8]>>>()?
            .map(|cname| Says::Alias(Name::from_labels(cname.data().cname()))),
        _ => record
            .to_record::<ZoneRecordData<&[u8], ParsedName<&[u8]>>>()?
            .map(|any| Says::Data(Data::Text(any.data().to_string()))),
    };
    // RFC 2181 §8: a TTL with its highest bit set is zero.
    let ttl = i32::try_from(record.ttl().as_secs()).map_or(0, i32::unsigned_abs);
    Ok(says.map(|says| Answer { owner: Name::from_labels(&record.owner()), ttl, says }))
}

fn address(ip: impl Into<IpAddr>) -> Data {
    Data::Address(ip.into())
}

impl Reply {
    /// Follows the aliases from the name asked for, and takes the records of the name where they end. Records of other names are
    /// not looked at (RFC 2181 §5.4.1).
    fn follow(&mut self, answers: Vec<Answer>, rtype: u16) {
        self.stray = !answers.is_empty() && !answers.iter().any(|answer| answer.owner == self.target);
        while self.aliases <= ALIASES_MAX {
            let here = |answer: &&Answer| answer.owner == self.target;
            let alias = answers.iter().filter(here).find_map(|answer| match &answer.says {
                Says::Alias(target) => Some((target.clone(), answer.ttl)),
                Says::Data(_) => None,
            });
            let Some((target, ttl)) = alias.filter(|_| rtype != CNAME_TYPE) else {
                break;
            };
            self.target = target;
            self.ttl = self.ttl.min(ttl);
            self.aliases += 1;
        }
        for answer in answers {
            if let Says::Data(data) = answer.says
                && answer.owner == self.target
            {
                self.ttl = self.ttl.min(answer.ttl);
                if !self.records.contains(&data) {
                    self.records.push(data);
                }
            }
        }
    }
}

/// Reads the authority section and, for the extended response code, the additional section.
fn read_rest(message: &Message<[u8]>, reply: &mut Reply) -> Result<(), ParseError> {
    for record in message.authority()? {
        let record = record?;
        match record.rtype() {
            Rtype::SOA => {
                if let Some(soa) = record.to_record::<Soa<ParsedName<&[u8]>>>()? {
                    reply.soa = Some(record.ttl().as_secs().min(soa.data().minimum().as_secs()));
                }
            }
            Rtype::NS => reply.refers = true,
            _ => {}
        }
    }
    for record in message.additional()? {
        record?;
    }
    reply.rcode = message.opt_rcode().to_int();
    Ok(())
}

/// The addresses of a record set.
pub(crate) fn addresses(records: &[Data]) -> impl Iterator<Item = IpAddr> {
    records.iter().filter_map(|data| match data {
        Data::Address(ip) => Some(*ip),
        Data::Mx { .. } | Data::Text(_) => None,
    })
}

/// A record's data in presentation form.
impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(ip) => ip.fmt(f),
            Self::Mx { preference, host } => write!(f, "{preference} {host}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}
