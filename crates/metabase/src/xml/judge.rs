//! What becomes of a record of the file here: whether it is taken, in which words, and what is to be said of it.

use super::read::short;
use super::take::LineKind;
use crate::check;
use crate::checks::takes_effect;
use crate::ids::{RELAY_IP_LIST, SERVER_BINDINGS, SMART_HOST_TYPE, SMTP_USE_TCP_DNS};
use crate::ipsec;
use crate::key::Key;
use crate::path::KeyPath;
use crate::record::{Data, Record};
use crate::schema::Mark;
use crate::schema::Property;
use crate::settings::ADAPTIVE;
use crate::values::line;

const ROUTE_ACTION: u32 = 36946;
/// Bits of RouteAction.
const ROUTE_DROP: u32 = 0x1;
const ROUTE_SMART_HOST: u32 = 0x2;
const ROUTE_TLS: u32 = 0x4;
const ROUTE_ALIAS: u32 = 0x10;
const ROUTE_DELIVER: u32 = 0x20;
const ROUTE_RELAY: u32 = 0x400 | 0x800 | 0x1000;
/// By SASL, NTLM, in clear text, or with Kerberos.
const ROUTE_LOGIN: u32 = 0x8 | 0x80 | 0x100 | 0x20_0000;
/// Ports below need a right of their own.
const FREE_PORTS: u16 = 1024;
/// Networks that one line names.
const NETWORKS_SHOWN: usize = 8;

/// What to say of a record that is taken.
pub(super) struct Said {
    pub(super) kind: LineKind,
    pub(super) text: String,
    /// Whether the record takes effect.
    pub(super) in_force: bool,
}

/// Judges a record of a known property, and puts it into other words where this service needs them. `hop` is the
/// RouteActionString of its key.
///
/// # Errors
/// Why it is not taken.
pub(super) fn judge(
    path: &KeyPath,
    property: &Property,
    record: &mut Record,
    hop: &str,
) -> Result<Said, String> {
    let is_here = takes_effect(path, record);
    within_bounds(property, record)?;
    if let (ROUTE_ACTION, Data::Dword(bits)) = (property.id, &record.data) {
        let plain = Said { kind: LineKind::Kept, text: short(&line(record)), in_force: false };
        let lost = lost_route(path, *bits, hop);
        return Ok(lost.map_or(plain, |text| Said { kind: LineKind::Lost, text, in_force: false }));
    }
    if let Mark::Refused(why) = property.mark {
        // What the old service enforced is kept to be seen, and said not to be enforced here.
        let text = format!("{}, without effect: {why}", short(&line(record)));
        return Ok(Said { kind: LineKind::Kept, text, in_force: false });
    }
    let plain = |record: &Record| {
        let kind = if is_here { LineKind::Taken } else { LineKind::Kept };
        Said { kind, text: short(&line(record)), in_force: is_here }
    };
    match (property.id, &record.data) {
        (SMTP_USE_TCP_DNS, Data::Dword(number @ (0 | 2))) => {
            Ok(Said { kind: LineKind::Translated, text: transport(*number), in_force: is_here })
        }
        (SMART_HOST_TYPE, Data::Dword(1)) => Err(
            "1 (directly first, through the smart host if that fails) is not supported; give 2 to send everything \
             through SmartHost, or 0 to send everything directly"
                .into(),
        ),
        (RELAY_IP_LIST, Data::Binary(octets)) => match relay(octets)? {
            Relay::Unknown(text) => Ok(Said { kind: LineKind::Kept, text, in_force: false }),
            Relay::Networks(text) => Ok(Said { text, ..plain(record) }),
        },
        (SERVER_BINDINGS, Data::MultiSz(list)) if list.iter().filter_map(|item| port(item)).any(is_reserved) => {
            let said = plain(record);
            let note = "a port below 1024 needs the right to bind it (CAP_NET_BIND_SERVICE), or a forwarding";
            Ok(Said { text: format!("{}; {note}", said.text), ..said })
        }
        (_, Data::String(text) | Data::ExpandSz(text)) if is_here && property.is_folder() => {
            let Some(folder) = from_windows(text)? else { return Ok(plain(record)) };
            let text = format!("{text:?} became {folder:?}, a folder inside the data folder");
            record.data = match record.data {
                Data::ExpandSz(_) => Data::ExpandSz(folder),
                _ => Data::String(folder),
            };
            Ok(Said { kind: LineKind::Translated, text, in_force: true })
        }
        _ => Ok(plain(record)),
    }
}

fn within_bounds(property: &Property, record: &Record) -> Result<(), String> {
    let Data::Dword(number) = record.data else { return Ok(()) };
    if property.id == SMTP_USE_TCP_DNS && number != ADAPTIVE && number > 2 {
        return Err(format!(
            "{number} has no documented meaning and is left out, so that the transport is chosen as each DNS server \
             proves to work; set udp-then-tcp, tcp-only or udp-only if one of them was meant"
        ));
    }
    let known = check::number(property, number);
    known.map(|_| ()).map_err(|_| format!("{number} is not {}", property.expectation()))
}

/// What becomes of a domain's mail that RouteAction sent another way than all mail goes here; none where it does no such thing.
fn lost_route(path: &KeyPath, bits: u32, hop: &str) -> Option<String> {
    let Some(Key::Domain(domain)) = Key::at(path) else { return None };
    let all = "like that for any other domain, through SmartHost or to the hosts that DNS names";
    let (mut losses, set) = (Vec::new(), |bit| bits & bit != 0);
    if set(ROUTE_SMART_HOST) {
        let hop = if hop.is_empty() { "the host in RouteActionString".into() } else { short(hop) };
        losses.push(format!("mail for {domain} will go {all}, not to {hop}"));
    }
    if set(ROUTE_ALIAS | ROUTE_DELIVER) {
        losses.push(format!("mail for {domain} will be sent on, {all}, and not be delivered into a folder"));
    }
    if set(ROUTE_DROP) {
        losses.push(format!("mail for {domain} will not go into a folder of its own"));
    }
    if set(ROUTE_TLS) {
        losses.push(format!("TLS is not demanded for {domain} alone: AlwaysUseSsl demands it for all mail"));
    }
    if set(ROUTE_LOGIN) {
        losses.push(format!("nobody logs in to the next hop of {domain}"));
    }
    if set(ROUTE_RELAY) {
        losses.push(format!("clients may not relay to {domain} for that: RelayIpList says who may"));
    }
    (!losses.is_empty()).then(|| format!("kept without effect: {}", losses.join("; ")))
}

/// 36997: the words, and that sources disagree on two of its numbers.
fn transport(number: u32) -> String {
    let (mode, other) = if number == 0 { ("udp-then-tcp", 2) } else { ("udp-only", 0) };
    format!(
        "{number} is {mode}, as the article on this setting (KB330070) has it; another page of the vendor (ms524979) lists \
         0 and 2 the other way round, so look whether {other} was meant"
    )
}

/// What a RelayIpList says, in words.
enum Relay {
    Networks(String),
    Unknown(String),
}

/// RelayIpList: kept octet by octet; what it says is told.
fn relay(octets: &[u8]) -> Result<Relay, String> {
    let lists = match ipsec::decode(octets) {
        Ok(lists) => lists,
        Err(unknown) => {
            return Ok(Relay::Unknown(format!(
                "{unknown}; its {} octets are kept as they are, and nobody may relay by it: list the networks again",
                octets.len()
            )));
        }
    };
    if !lists.refused.is_empty() {
        return Err(format!(
            "it lets everyone relay except {} networks, which is an open relay; list the networks that may relay instead",
            lists.refused.len()
        ));
    }
    let shown: Vec<_> = lists.granted.iter().take(NETWORKS_SHOWN).map(ToString::to_string).collect();
    let text = match (lists.granted.len(), shown.join(", ")) {
        (0, _) => "no network: nobody may relay by his address".into(),
        (1, shown) => format!("one network may relay: {shown}"),
        (count @ ..=NETWORKS_SHOWN, shown) => format!("{count} networks may relay: {shown}"),
        (count, shown) => format!("{count} networks may relay: {shown} and {} more", count - NETWORKS_SHOWN),
    };
    Ok(Relay::Networks(text))
}

/// The port of `ip:port:`.
fn port(binding: &str) -> Option<u16> {
    binding.strip_suffix(':')?.rsplit(':').next()?.trim().parse().ok()
}

fn is_reserved(port: u16) -> bool {
    (1..FREE_PORTS).contains(&port)
}

/// The folder's name where a path is one of Windows; none where it is one of this system already.
fn from_windows(path: &str) -> Result<Option<String>, String> {
    let has_drive =
        path.as_bytes().get(1) == Some(&b':') && path.starts_with(|c: char| c.is_ascii_alphabetic());
    if path.starts_with('/') || !has_drive && !path.contains('\\') {
        return Ok(None);
    }
    let name = path.trim_end_matches(['\\', '/']).rsplit(['\\', '/', ':']).next().unwrap_or_default().trim();
    // A name with a percent sign is a variable of Windows, which has no value here.
    let is_name = !matches!(name, "" | "." | "..") && !name.contains(['%', '\0']);
    if is_name {
        return Ok(Some(name.into()));
    }
    Err(format!("{:?} does not end in a folder's name; set the folder to be used here", short(path)))
}
