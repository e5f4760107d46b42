//! What the resolver is told by its administrator.

use ipnet::IpNet;
use postroad_mail::domain::Domain;
use std::net::SocketAddr;
use std::time::Duration;

/// The resolver's settings. They can be replaced while it runs (`Input::Settings`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name servers, in the order of preference. At most `SERVERS_MAX` are used.
    pub servers: Vec<SocketAddr>,
    /// How long is waited for what.
    pub timeouts: Timeouts,
    /// The first wait before a transport that is down is probed.
    pub probe_min: Duration,
    /// The longest wait between probes: each failed probe doubles it up to this.
    pub probe_max: Duration,
    /// The addresses at which we listen, wildcards expanded by the interfaces' addresses. An MX host at one of them is ourselves.
    pub own: Vec<SocketAddr>,
    /// Our own host name: an MX host of this name is ourselves.
    pub own_name: Option<Domain>,
    /// The port that mail is delivered to (RemoteSmtpPort): it is what `own` is compared with.
    pub remote_port: u16,
    /// Networks to which no mail goes, whatever DNS says (NextHopRefused).
    pub refused: Vec<IpNet>,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The wait after the first datagram to a server; it doubles with each repetition.
    pub udp_first: Duration,
    /// For a TCP connection to be made.
    pub tcp_connect: Duration,
    /// For a reply over TCP, from when the query was sent.
    pub tcp_reply: Duration,
    /// For a whole lookup, everything included.
    pub lookup: Duration,
}

/// Name servers that are used of those listed. resolv.conf knows three; each costs a pool of sockets.
pub const SERVERS_MAX: usize = 8;

impl Default for Timeouts {
    /// The defaults of property DnsTimeouts.
    fn default() -> Self {
        Self {
            udp_first: Duration::from_millis(400),
            tcp_connect: Duration::from_millis(1500),
            tcp_reply: Duration::from_secs(3),
            lookup: Duration::from_secs(10),
        }
    }
}

impl Default for Settings {
    /// No server; the default times of DnsTimeouts and DnsProbe; nothing is ourselves, nothing refused.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeouts: Timeouts::default(),
            probe_min: Duration::from_secs(30),
            probe_max: Duration::from_secs(15 * 60),
            own: Vec::new(),
            own_name: None,
            remote_port: 25,
            refused: Vec::new(),
        }
    }
}
