//! The textual forms of values: spans of time, addresses, networks, hosts.

use ipnet::IpNet;
use postroad_mail::domain::{Domain, Host};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A value that its property does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Which item of a list, if it is one.
    pub item: Option<usize>,
    /// What is wrong, to stand behind the property's name.
    pub what: String,
    /// What to do, as a sentence.
    pub remedy: String,
}

impl Bad {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { item: None, what: what.into(), remedy: remedy.into() }
    }
}

/// Items of one list. The longest in use are relay lists of some hundreds; beyond this it is a mistake.
pub(crate) const ITEMS_MAX: usize = 4096;
/// Steps of one retry list: the last repeats, so more says nothing.
const STEPS_MAX: usize = 32;
/// The longest span that can be written: no wait of a mail server is longer.
const SPAN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Each item by `parse`; the error names the item.
pub(crate) fn each<T>(list: &[String], parse: impl Fn(&str) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    if list.len() > ITEMS_MAX {
        return Err(Bad::new(
            format!("has {} items", list.len()),
            format!("Give at most {ITEMS_MAX}; networks can be joined into larger ones."),
        ));
    }
    list.iter()
        .enumerate()
        .map(|(index, item)| parse(item.trim()).map_err(|bad| Bad { item: Some(index), ..bad }))
        .collect()
}

/// The first item that equals an earlier one.
pub(crate) fn refuse_twice<T: PartialEq>(list: &[T], texts: &[String], remedy: &str) -> Result<(), Bad> {
    for (index, item) in list.iter().enumerate() {
        if list.iter().take(index).any(|earlier| earlier == item) {
            let text = texts.get(index).map(String::as_str).unwrap_or_default();
            return Err(Bad { item: Some(index), ..Bad::new(format!("{text:?} is listed twice"), remedy) });
        }
    }
    Ok(())
}

/// A span: a number and one of ms, s, m, h, d; `unit` where there is none. At least 1 ms, at most a year.
pub(crate) fn span(text: &str, unit: &str) -> Result<Duration, Bad> {
    let text = text.trim();
    let refused = || {
        Bad::new(
            format!("{text:?} is not a span of time"),
            "Give a whole number from 1 and a unit: ms, s, m, h or d, as 30s.",
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| refused())?;
    let suffix = text[digits..].trim();
    let millis: u64 = match if suffix.is_empty() { unit } else { suffix } {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refused()),
    };
    let span = Duration::from_millis(number.saturating_mul(millis));
    if span.is_zero() {
        return Err(refused());
    }
    if span > SPAN_MAX {
        return Err(Bad::new(format!("{text:?} is longer than a year"), "Give a shorter span."));
    }
    Ok(span)
}

/// Spans separated by commas.
pub(crate) fn steps(text: &str, unit: &str) -> Result<Vec<Duration>, Bad> {
    let steps = text.split(',').map(|step| span(step, unit)).collect::<Result<Vec<_>, _>>()?;
    if steps.len() > STEPS_MAX {
        return Err(Bad::new(
            format!("has {} steps", steps.len()),
            format!("Give at most {STEPS_MAX}; the last one repeats."),
        ));
    }
    Ok(steps)
}

/// `30s..15m`: a first and a longest span.
pub(crate) fn range(text: &str) -> Result<(Duration, Duration), Bad> {
    let example = "Give the first and the longest wait, as 30s..15m.";
    let (first, last) =
        text.split_once("..").ok_or_else(|| Bad::new(format!("{text:?} is not a range of time"), example))?;
    let (first, last) = (span(first, "s")?, span(last, "s")?);
    if first > last {
        return Err(Bad::new(format!("{text:?} begins above its end"), example));
    }
    Ok((first, last))
}

/// `name=span` pairs separated by commas, each name at most once and one of `names`.
pub(crate) fn named_spans<'a>(text: &'a str, names: &[&'a str]) -> Result<Vec<(&'a str, Duration)>, Bad> {
    let remedy = || format!("Give any of {} with a span each, as {}=3s.", names.join(", "), names[0]);
    let mut pairs: Vec<(&str, Duration)> = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Bad::new(format!("{pair:?} has no \"=\""), remedy()));
        };
        let name = name.trim();
        if !names.contains(&name) {
            return Err(Bad::new(format!("{name:?} is not a time known here"), remedy()));
        }
        if pairs.iter().any(|(earlier, _)| *earlier == name) {
            return Err(Bad::new(format!("{name:?} is given twice"), remedy()));
        }
        pairs.push((name, span(value, "s")?));
    }
    Ok(pairs)
}

/// A domain name.
pub(crate) fn domain(text: &str) -> Result<Domain, Bad> {
    text.parse().map_err(|_| {
        Bad::new(
            format!("{text:?} is not a domain name"),
            "Give letters, digits and hyphens with dots between, as mail.example.org; other letters as xn--... labels.",
        )
    })
}

/// A listener: `ip:port:` as the original writes it, `ip:port`, `[v6]:port`. A blank ip is every IPv4 address.
pub(crate) fn binding(text: &str) -> Result<SocketAddr, Bad> {
    let refused = |what: &str| {
        Bad::new(
            format!("{text:?} {what}"),
            "Give an address and a port, as 127.0.0.1:2525: or [::1]:2525: or :25: for every IPv4 address.",
        )
    };
    let (ip_text, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (v6, rest) = inner.split_once(']').ok_or_else(|| refused("has no \"]\""))?;
        let v6: Ipv6Addr = v6.parse().map_err(|_| refused("is not a binding"))?;
        (Some(IpAddr::V6(v6)), rest.strip_prefix(':').ok_or_else(|| refused("has no port"))?)
    } else {
        let (ip, rest) = text.split_once(':').ok_or_else(|| refused("has no port"))?;
        let ip: Option<Ipv4Addr> = match ip {
            "" => None,
            _ => Some(ip.parse().map_err(|_| refused("is not a binding"))?),
        };
        (ip.map(IpAddr::V4), rest)
    };
    let (port, host) = rest.split_once(':').unwrap_or((rest, ""));
    if !host.is_empty() {
        return Err(refused("names a host, which an SMTP binding cannot have"));
    }
    let port = port.parse().map_err(|_| refused("has no port from 0 to 65535"))?;
    Ok(SocketAddr::new(ip_text.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port))
}

/// A DNS server: `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:53`.
pub(crate) fn dns_server(text: &str) -> Result<SocketAddr, Bad> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("tls://") || lower.starts_with("https://") {
        return Err(Bad::new(
            format!("{text:?}: DNS over TLS or HTTPS is not supported yet"),
            "Give the address of a server that answers over UDP or TCP, as 192.0.2.1.",
        ));
    }
    let bracketed = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let ip: Option<IpAddr> = match bracketed {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    ip.map(|ip| SocketAddr::new(ip, 53))
        .or_else(|| text.parse().ok())
        .filter(|server| server.port() != 0 && !server.ip().is_unspecified())
        .ok_or_else(|| {
            Bad::new(
                format!("{text:?} is not the address of a DNS server"),
                "Give an address, with a port if it is not 53: 192.0.2.1, 192.0.2.1:5353, [2001:db8::1]:53.",
            )
        })
}

/// A network: an address, `address/bits`, or `address, mask` as the original shows it.
pub(crate) fn network(text: &str) -> Result<IpNet, Bad> {
    let refused = || {
        Bad::new(
            format!("{text:?} is not a network"),
            "Give an address or a network, as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32.",
        )
    };
    let net = if let Some((ip, mask)) = text.split_once(',') {
        let ip: IpAddr = ip.trim().parse().map_err(|_| refused())?;
        let mask: IpAddr = mask.trim().parse().map_err(|_| refused())?;
        IpNet::with_netmask(ip, mask).map_err(|_| refused())?
    } else if text.contains('/') {
        text.parse().map_err(|_| refused())?
    } else {
        IpNet::from(text.parse::<IpAddr>().map_err(|_| refused())?)
    };
    if net.trunc() != net {
        return Err(Bad::new(
            format!("{text:?} is an address inside a network"),
            format!("Write {} for the network, {} for the one address.", net.trunc(), net.addr()),
        ));
    }
    Ok(net)
}

/// A smart host: `name`, `[ip]`, either with `:port`. An IPv6 address may have the tag `IPv6:`.
pub(crate) fn host_port(text: &str) -> Result<(Host, Option<u16>), Bad> {
    let refused = || {
        Bad::new(
            format!("{text:?} is not a host"),
            "Give a name or a bracketed address, with a port if need be: relay.example.org, [192.0.2.1]:587.",
        )
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (ip, rest) = inner.split_once(']').ok_or_else(refused)?;
            let untagged =
                ip.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map_or(ip, |_| &ip[5..]);
            let ip: IpAddr = untagged.parse().map_err(|_| refused())?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or_else(refused)?),
            };
            (Host::Literal(ip), port)
        }
        None => match text.split_once(':') {
            Some((name, port)) => (Host::Domain(name.parse().map_err(|_| refused())?), Some(port)),
            None => (Host::Domain(text.parse().map_err(|_| refused())?), None),
        },
    };
    // An address without brackets would be looked up as a name.
    if host.domain().is_some_and(|name| name.as_str().parse::<IpAddr>().is_ok()) {
        return Err(Bad::new(
            format!("{text:?} is an address without brackets"),
            format!("Write [{}].", text.split(':').next().unwrap_or_default()),
        ));
    }
    let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(refused)).transpose()?;
    Ok((host, port))
}
