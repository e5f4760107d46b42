//! `dig`, of BIND: what a server answers, seen by a client that no one here wrote.

use std::net::SocketAddr;
use std::process::Command;

/// An answer, as `dig` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `NOERROR`, `NXDOMAIN`, ...
    pub status: String,
    /// Header flags in lower case: `qr`, `aa`, `tc`, `rd`, `ra`.
    pub flags: Vec<String>,
    /// The answer section, one record a line, blanks squeezed.
    pub records: Vec<String>,
    /// Whether the authority section holds an SOA record.
    pub soa: bool,
    /// Octets of the message.
    pub size: usize,
}

impl Answer {
    /// Whether a header flag is set.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|have| have == flag)
    }
}

/// Asks `server` with recursion desired; a truncated answer is not asked again over TCP. `options` are dig's own (`+tcp`, `+noedns`,
/// `+bufsize=1232`).
///
/// # Errors
/// What dig says when it got no answer.
///
/// # Panics
/// If dig is not there.
pub fn ask(server: SocketAddr, name: &str, kind: &str, options: &[&str]) -> Result<Answer, String> {
    let output = Command::new("dig")
        .arg(format!("@{}", server.ip()))
        .args(["-p", &server.port().to_string(), "+ignore", "+nocookie", "+tries=1", "+time=5"])
        .args(options)
        .args([name, kind])
        .output()
        .expect("dig, of bind9-dnsutils, starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(text);
    }
    parse(&text).ok_or(text)
}

fn parse(text: &str) -> Option<Answer> {
    let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let status = after("status: ")?.split(',').next()?.to_owned();
    let flags = after(";; flags: ")?.split(';').next()?.split_whitespace().map(str::to_owned).collect();
    let section = |title: &str| -> Vec<String> {
        after(title).map_or_else(Vec::new, |rest| {
            let lines = rest.lines().skip(1).take_while(|line| !line.is_empty());
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        })
    };
    let soa = section(";; AUTHORITY SECTION:").iter().any(|record| record.contains(" SOA "));
    let size = after(";; MSG SIZE  rcvd: ")?.split_whitespace().next()?.parse().ok()?;
    Some(Answer { status, flags, records: section(";; ANSWER SECTION:"), soa, size })
}
