//! What a seed draws: who is there, and what they want.

use super::client::{Client, Submission, Told, Wanted};
use super::dice::Dice;
use super::zones::{OURSELVES, SENDERS, SMART_HOST, SMART_HOST_NAME, Zones};
use postroad_mail::domain::Host;
use postroad_metabase::settings::{ADAPTIVE, Settings};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Our own name.
pub(super) const OUR_NAME: &str = "mail.postroad.example";
/// The domain that is ours.
pub(super) const LOCAL: &str = "local.example";
/// Where the name servers are.
pub(super) const NAME_SERVERS: [&str; 3] = ["10.0.0.53:53", "10.0.1.53:53", "10.0.2.53:53"];

/// Settings with short times, so that a run of hours meets what takes days.
pub(super) fn settings(dice: &mut Dice, servers: &[SocketAddr]) -> Settings {
    let secs = |spans: &[u64]| spans.iter().map(|span| Duration::from_secs(*span)).collect::<Vec<_>>();
    let mut settings = Settings::fresh(Path::new("/"), OUR_NAME);
    settings.bindings = vec![SocketAddr::new(OURSELVES.into(), 25)];
    // The name is well formed.
    settings.default_domain = LOCAL.parse().unwrap_or(settings.default_domain);
    settings.relay = "10.0.0.0/8".parse().into_iter().collect();
    settings.connection_timeout = Duration::from_secs(*dice.pick(&[60, 600]));
    settings.retry = secs(dice.pick::<&[u64]>(&[&[60, 300, 900], &[30], &[900, 1800]]));
    settings.expire = Duration::from_secs(*dice.pick(&[1200, 7200, 86_400, 432_000]));
    settings.tls_required = dice.chance(200);
    settings.remote_port = 25;
    settings.batch_max = *dice.pick(&[1, 3, 20, 0]);
    settings.out_connections_max = *dice.pick(&[1, 3, 1000]) as u32;
    settings.out_connections_per_domain_max = *dice.pick(&[1, 2, 100]) as u32;
    settings.dns.servers = servers.to_vec();
    settings.dns.policy = *dice.pick(&[ADAPTIVE, ADAPTIVE, ADAPTIVE, 0, 1, 2]);
    settings.dns.retry = secs(&[30, 60, 120, 300]);
    settings.smart_host = smart_host(dice.below(12));
    settings
}

/// The smart host by name, by address, or none.
pub(super) fn smart_host(which: u64) -> Option<(Host, u16)> {
    match which {
        0 => SMART_HOST_NAME.parse().ok().map(|name| (Host::Domain(name), 25)),
        1 => Some((Host::Literal(SMART_HOST.into()), 25)),
        _ => None,
    }
}

/// Messages, and the clients that hand them in.
pub(super) fn clients(dice: &mut Dice, zones: &Zones) -> (Vec<Client>, Vec<Submission>) {
    let mut submissions = Vec::new();
    // Some worlds have more mail than a page of the queue's, a few more than it keeps at hand.
    let (crowd, each) = match dice.below(200) {
        0 => (20, 60),
        1..8 => (10, 25),
        _ => (dice.between(1, 6), 8),
    };
    let clients = (0..crowd).map(|_| {
        let mine = (0..dice.between(if each > 8 { each } else { 1 }, each)).map(|_| {
            let number = submissions.len();
            submissions.push(submission(dice, zones, number));
            number
        });
        let mine: Vec<usize> = mine.collect();
        Client::new(mine, dice)
    });
    let clients = clients.collect();
    (clients, submissions)
}

fn submission(dice: &mut Dice, zones: &Zones, number: usize) -> Submission {
    let sender = match dice.below(10) {
        0 => String::new(),
        1 => format!("s{number}@gone.example"),
        2 | 3 => format!("s{number}@{LOCAL}"),
        _ => format!("s{number}@{SENDERS}"),
    };
    let recipients = (0..dice.micros(1, 6).as_micros()).map(|at| {
        let who = if dice.chance(80) { "nobody" } else { "r" };
        let domain = match dice.below(12) {
            0 => LOCAL.to_owned(),
            1 => literal(dice, zones),
            2 => String::from("gone.example"),
            _ => dice.pick(&zones.domains).name.to_string(),
        };
        Wanted { address: format!("{who}{number}.{at}@{domain}"), silent: dice.chance(50), taken: false }
    });
    let recipients = recipients.collect();
    let eight_bit = dice.chance(100);
    Submission {
        sender,
        recipients,
        content: content(dice, number, eight_bit),
        eight_bit,
        told: Told::Nothing,
    }
}

fn literal(dice: &mut Dice, zones: &Zones) -> String {
    let hosts: Vec<IpAddr> = zones.hosts.iter().copied().filter(IpAddr::is_ipv4).collect();
    format!("[{}]", dice.pick(&hosts))
}

/// Lines of any length, some that begin with dots, in a size that is mostly small.
fn content(dice: &mut Dice, number: usize, eight_bit: bool) -> Vec<u8> {
    let size = match dice.below(100) {
        0 => 0,
        1 | 2 => 300_000,
        3..10 => 20_000,
        _ => dice.between(1, 2000) as usize,
    };
    let mut content = Vec::with_capacity(size + 200);
    if size > 0 {
        content.extend_from_slice(format!("Subject: {number}\r\n\r\n").as_bytes());
    }
    while content.len() < size {
        let dots = dice.below(4);
        content.extend(std::iter::repeat_n(b'.', if dots == 3 { 2 } else { usize::from(dots == 2) }));
        let length = dice.below(900) as usize;
        let letter = if eight_bit { 0xe4 } else { b'a' + (length % 26) as u8 };
        content.extend(std::iter::repeat_n(letter, length));
        content.extend_from_slice(b"\r\n");
    }
    content
}
