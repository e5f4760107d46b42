//! `status`: how the service is.

use crate::ending::{DONE, Trouble};
use crate::glue;
use crate::queue::counted;
use crate::screen::{Line, Screen};
use crate::when::{age, ahead, to_second};
use postroad_control::Request;
use postroad_control::answer::Status;
use postroad_mail::time::Wall;
use std::path::Path;

/// Runs the verb.
pub fn run(data: &Path, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let status = glue::ask_one(data, &Request::Status, glue::status)?;
    if screen.json {
        screen.object(&status)?;
    } else {
        screen.lines(&lines(&status, now))?;
    }
    Ok(DONE)
}

fn lines(status: &Status, now: Wall) -> Vec<Line> {
    let since = format!("{}, for {}", to_second(status.started), age(status.started, now));
    let mut lines = vec![
        Line::strong(format!("Postroad {} runs as process {}", status.version, status.pid)),
        Line::plain(format!("  since        {since}")),
        Line::plain(format!("  name         {}", status.name)),
        Line::plain(format!("  listens on   {}", status.bindings.join(", "))),
        Line::plain(format!("  data         {}", status.data)),
    ];
    if let Some(config) = &status.config {
        lines.push(Line::plain(format!("  config       {config}; its properties are pinned")));
    }
    lines.extend(status.pins.iter().map(|pin| Line::plain(format!("    {pin}"))));
    lines.push(Line::plain(format!("  settings     generation {}", status.generation)));
    if let Some(until) = status.confirm_until {
        lines.push(Line::bad(format!(
            "    the last change undoes itself {}, unless `postroad meta confirm` keeps it",
            ahead(until, now)
        )));
    }
    lines.push(match status.store_up {
        true => Line::plain("  store        takes writes"),
        false => {
            Line::bad("  store        failed: mail is refused with a temporary error until it works again")
        }
    });
    lines.push(Line::plain(format!("  queue        {}", counted(status.messages, "message"))));
    lines.push(Line::plain(format!("  connections  {} in, {} out", status.inbound, status.outbound)));
    lines.push(Line::strong(format!("DNS, {}", status.dns_policy)));
    if status.dns_servers.is_empty() {
        lines.push(Line::bad("  no name server is known"));
    }
    for server in &status.dns_servers {
        lines.push(Line::plain(format!("  {}", server.server)));
        let line: fn(String) -> Line = if server.healthy { Line::plain } else { Line::bad };
        lines.extend(server.transports.iter().map(|transport| line(format!("    {transport}"))));
    }
    if !status.waiting.is_empty() {
        lines.push(Line::strong("Waiting"));
    }
    for hop in &status.waiting {
        let recipients = counted(hop.recipients, "recipient");
        lines.push(Line::plain(format!("  {}  {recipients}, next try {}", hop.hop, ahead(hop.until, now))));
        lines.push(Line::bad(format!("    {}", hop.cause)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::texts;
    use postroad_control::answer::{DnsServer, WaitingHop};

    #[test]
    fn a_status() {
        let mut status = Status {
            version: "0.1.0".into(),
            pid: 4711,
            started: Wall(1_795_590_028_123),
            name: "mail.office.example".into(),
            bindings: vec!["127.0.0.1:2525".into(), "[::1]:2525".into()],
            data: "/var/lib/postroad".into(),
            config: Some("/etc/postroad.toml".into()),
            generation: 7,
            pins: vec!["/LM/SmtpSvc SmtpUseTcpDns (/etc/postroad.toml:2)".into()],
            confirm_until: Some(Wall(1_795_590_058_000)),
            dns_policy: "udp-then-tcp".into(),
            dns_servers: vec![DnsServer {
                server: "192.0.2.53:53".into(),
                transports: vec!["udp: works, 0.4 ms".into(), "tcp: down: connection refused".into()],
                healthy: false,
            }],
            messages: 1,
            inbound: 2,
            outbound: 0,
            store_up: true,
            waiting: vec![WaitingHop {
                hop: "mx:big.example".parse().unwrap(),
                recipients: 3,
                cause: "DNS: truncated".into(),
                until: Wall(1_795_590_058_000),
            }],
        };
        let now = Wall(1_795_590_040_000);
        let expected = [
            "Postroad 0.1.0 runs as process 4711",
            "  since        2026-11-25 07:00:28Z, for 11s",
            "  name         mail.office.example",
            "  listens on   127.0.0.1:2525, [::1]:2525",
            "  data         /var/lib/postroad",
            "  config       /etc/postroad.toml; its properties are pinned",
            "    /LM/SmtpSvc SmtpUseTcpDns (/etc/postroad.toml:2)",
            "  settings     generation 7",
            "    the last change undoes itself in 18s, unless `postroad meta confirm` keeps it",
            "  store        takes writes",
            "  queue        1 message",
            "  connections  2 in, 0 out",
            "DNS, udp-then-tcp",
            "  192.0.2.53:53",
            "    udp: works, 0.4 ms",
            "    tcp: down: connection refused",
            "Waiting",
            "  mx:big.example  3 recipients, next try in 18s",
            "    DNS: truncated",
        ];
        assert_eq!(texts(&lines(&status, now)), expected);
        status.store_up = false;
        status.dns_servers.clear();
        let lines = lines(&status, now);
        assert!(texts(&lines).iter().any(|text| text.starts_with("  store        failed")));
        assert!(texts(&lines).contains(&"  no name server is known"));
    }
}
