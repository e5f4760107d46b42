//! Debian's own name servers, serving one small zone on loopback.

use crate::ports::Port;
use crate::proc::{Process, unconfined};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use tempfile::TempDir;

/// Which program answers. They differ in what a client gets over UDP when the answer is larger than fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unbound with local data: sends 4096 octets to whoever says EDNS 4096, else TC=1 and nothing.
    Unbound,
    /// BIND: at most 1232 octets; without EDNS TC=1 and as many records as fit, others each time.
    Bind9,
    /// NSD: at most 1232 octets, else TC=1 and nothing.
    Nsd,
}

/// All of them.
pub const KINDS: [Kind; 3] = [Kind::Unbound, Kind::Bind9, Kind::Nsd];

/// A name server at 127.0.0.1 and a port of its own, over UDP and TCP.
///
/// It serves `example` (SOA and NS included), in which are
/// - `big.example`: the MX hosts of `big_hosts()`, an answer of 1,300 to 1,400 octets;
/// - `small.example`, `sender.example`: one MX each, `SMALL` and `SENDER`;
/// - `nomx.example`: an A record alone, `NOMX`;
/// - `nullmx.example`: `MX 0 .`;
/// - nothing else: other names do not exist.
#[derive(Debug)]
pub struct NameServer {
    port: Port,
    // Before the folder: fields are dropped in order.
    _process: Process,
    _dir: TempDir,
}

impl NameServer {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        Self::start_with(kind, "")
    }

    /// As `start`, with more records in the zone: lines as `name type data`, names without the final dot.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(kind: Kind, more: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = Port::free();
        let records: Vec<String> = records().into_iter().chain(more.lines().map(str::to_owned)).collect();
        let mut process = match kind {
            Kind::Unbound => unbound(dir.path(), port.number(), &records),
            Kind::Bind9 => bind9(dir.path(), port.number(), &records),
            Kind::Nsd => nsd(dir.path(), port.number(), &records),
        };
        // Each opens its TCP socket before it serves; a query over TCP then waits until it does.
        process.wait_listening(port.local());
        Self { port, _process: process, _dir: dir }
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.local()
    }
}

/// The MX host of `small.example`.
pub const SMALL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The MX host of `sender.example`, from which tests send and to which failures are returned.
pub const SENDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);
/// The host `nomx.example`.
pub const NOMX: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 13);

/// An MX host of `big.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    /// 10 for the best, which is alone; 20 and up for the others.
    pub preference: u16,
    /// Its name.
    pub name: String,
    /// Its only address, on loopback.
    pub address: IpAddr,
}

/// The MX hosts of `big.example`, the best one first.
///
/// 36 records of 37 octets each (a pointer to the question's name, type, class, TTL, length: 12; preference: 2; a label of 20: 21;
/// a pointer: 2), after a header of 12 and a question of 17, are 1,361 octets, and 1,372 with an OPT record: what `dig` reports as
/// `MSG SIZE rcvd` over TCP, where nothing is cut (`nameservers.rs` asserts it of each server). 13 of them fit 512 octets.
#[must_use]
pub fn big_hosts() -> Vec<MxHost> {
    (0..36u8)
        .map(|index| MxHost {
            preference: 10 + 10 * u16::from(index),
            name: format!("mx{index:02}-inbound-gateway.big.example"),
            address: IpAddr::from([127, 0, 0, 100 + index]),
        })
        .collect()
}

/// The zone's records, one a line: `name type data`, all names absolute without the final dot (the root excepted).
fn records() -> Vec<String> {
    let mut zone = vec![
        "example SOA ns.example hostmaster.example 1 3600 600 86400 60".to_owned(),
        "example NS ns.example".to_owned(),
        "ns.example A 127.0.0.1".to_owned(),
        "small.example MX 10 mail.small.example".to_owned(),
        format!("mail.small.example A {SMALL}"),
        "sender.example MX 10 mail.sender.example".to_owned(),
        format!("mail.sender.example A {SENDER}"),
        format!("nomx.example A {NOMX}"),
        "nullmx.example MX 0 .".to_owned(),
    ];
    for MxHost { preference, name, address } in big_hosts() {
        zone.push(format!("big.example MX {preference} {name}"));
        zone.push(format!("{name} A {address}"));
    }
    zone
}

/// Seconds.
const TTL: u32 = 300;

/// As a line of a zone file (RFC 1035 §5.1): absolute names get their dot.
fn zone_line(record: &str) -> String {
    let mut words: Vec<String> = record.split_whitespace().map(str::to_owned).collect();
    for (at, word) in words.iter_mut().enumerate() {
        let a_name = at == 0 || (at > 1 && word.ends_with("example"));
        if a_name {
            word.push('.');
        }
    }
    let [name, kind, data @ ..] = words.as_slice() else { panic!("not a record: {record:?}") };
    format!("{name} {TTL} IN {kind} {}", data.join(" "))
}

fn zone_file(dir: &Path, records: &[String]) -> String {
    let text: String = records.iter().map(|record| zone_line(record) + "\n").collect();
    let file = dir.join("example.zone");
    std::fs::write(&file, text).expect("a zone file");
    file.display().to_string()
}

fn unbound(dir: &Path, port: u16, records: &[String]) -> Process {
    let mut config = format!(
        r#"server:
  interface: 127.0.0.1
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  use-syslog: no
  logfile: ""
  chroot: ""
  username: ""
  directory: "{dir}"
  pidfile: ""
  num-threads: 1
  module-config: "iterator"
  edns-buffer-size: 4096
  max-udp-size: 4096
  local-zone: "example." static
"#,
        dir = dir.display()
    );
    for record in records {
        writeln!(config, "  local-data: '{}'", zone_line(record)).expect("memory");
    }
    config.push_str("remote-control:\n  control-enable: no\n");
    let file = dir.join("unbound.conf");
    std::fs::write(&file, config).expect("a configuration");
    Process::start("unbound", dir, &unconfined("unbound", dir), &["-d", "-c", &file.display().to_string()])
}

fn bind9(dir: &Path, port: u16, records: &[String]) -> Process {
    let config = format!(
        r#"options {{
  directory "{dir}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion no;
  notify no;
  minimal-responses yes;
  edns-udp-size 1232;
  max-udp-size 1232;
  nocookie-udp-size 1232;
}};
controls {{ }};
zone "example" {{ type primary; file "{zone}"; }};
"#,
        dir = dir.display(),
        zone = zone_file(dir, records),
    );
    let file = dir.join("named.conf");
    std::fs::write(&file, config).expect("a configuration");
    Process::start(
        "named",
        dir,
        &unconfined("named", dir),
        &["-g", "-n", "1", "-c", &file.display().to_string()],
    )
}

fn nsd(dir: &Path, port: u16, records: &[String]) -> Process {
    let config = format!(
        r#"server:
  ip-address: 127.0.0.1
  port: {port}
  username: ""
  chroot: ""
  zonesdir: "{dir}"
  database: ""
  logfile: ""
  pidfile: ""
  zonelistfile: "{dir}/zone.list"
  xfrdfile: "{dir}/xfrd.state"
  xfrdir: "{dir}"
  server-count: 1
  minimal-responses: yes
  ipv4-edns-size: 1232
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: example
  zonefile: "{zone}"
"#,
        dir = dir.display(),
        zone = zone_file(dir, records),
    );
    let file = dir.join("nsd.conf");
    std::fs::write(&file, config).expect("a configuration");
    Process::start("nsd", dir, &unconfined("nsd", dir), &["-d", "-c", &file.display().to_string()])
}
