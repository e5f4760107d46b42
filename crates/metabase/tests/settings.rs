//! Configuration texts in, settings or errors out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use ipnet::IpNet;
use postroad_metabase::settings::{ADAPTIVE, Settings};
use std::path::Path;
use std::time::Duration;

const NO_NAME: &str = "not a name";

fn fresh() -> Settings {
    Settings::fresh(Path::new("/data"), NO_NAME)
}

fn read(text: &str) -> Result<Settings, Vec<String>> {
    Settings::read(text, "postroad.toml", Path::new("/data"), NO_NAME)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// Settings of a text of `/LM/SmtpSvc/1`.
fn server(lines: &str) -> Settings {
    read(&format!("[\"/LM/SmtpSvc/1\"]\n{lines}\n")).unwrap()
}

fn networks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_fresh_install_is_safe() {
    let fresh = fresh();
    assert_eq!(fresh.bindings, ["127.0.0.1:2525".parse().unwrap()]);
    assert_eq!(fresh.relay, networks(&["127.0.0.0/8", "::1/128"]));
    assert_eq!((fresh.fqdn.as_str(), fresh.default_domain.as_str()), ("localhost", "localhost"));
    assert_eq!((fresh.size_max, fresh.recipients_max, fresh.connections_max), (36_700_160, 100, 1000));
    assert_eq!((fresh.hop_count, fresh.remote_port, fresh.batch_max), (100, 25, 100));
    assert_eq!((fresh.out_connections_max, fresh.out_connections_per_domain_max), (1000, 100));
    assert_eq!(
        (fresh.connection_timeout, fresh.expire),
        (Duration::from_secs(600), Duration::from_secs(432_000))
    );
    assert_eq!(fresh.retry, [900, 1800, 3600, 14_400].map(Duration::from_secs));
    assert_eq!(
        (fresh.badmail_dir.as_path(), fresh.drop_dir.as_path()),
        (Path::new("/data/Badmail"), Path::new("/data/Drop"))
    );
    assert_eq!((fresh.smart_host, fresh.tls_required), (None, false));
    assert!(fresh.dns.servers.is_empty() && fresh.dns.policies_by_domain.is_empty());
    assert_eq!(fresh.dns.policy, ADAPTIVE);
    assert_eq!(fresh.dns.retry, [30, 60, 120, 300, 900].map(Duration::from_secs));
    assert_eq!(fresh.dns.probe, (Duration::from_secs(30), Duration::from_secs(900)));
    let times = [fresh.dns.udp_first, fresh.dns.tcp_connect, fresh.dns.tcp_reply, fresh.dns.lookup];
    assert_eq!(times, [400, 1500, 3000, 10_000].map(Duration::from_millis));
    for refused in [
        "127.9.9.9",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.1.1",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "::ffff:127.0.0.1",
    ] {
        let ip: std::net::IpAddr = refused.parse().unwrap();
        assert!(fresh.next_hop_refused.iter().any(|net| net.contains(&ip)), "{refused}");
    }
}

#[test]
fn an_empty_text_is_a_fresh_install() {
    assert_eq!(read(""), Ok(fresh()));
    assert_eq!(read("# nothing\r\n"), Ok(fresh()));
}

#[test]
fn names() {
    let named = Settings::fresh(Path::new("/"), "Mail.Example.ORG.");
    assert_eq!(
        (named.fqdn.as_str(), named.default_domain.as_str()),
        ("mail.example.org", "mail.example.org")
    );
    let given = server("FullyQualifiedDomainName = \"mx.example\"");
    assert_eq!((given.fqdn.as_str(), given.default_domain.as_str()), ("mx.example", "mx.example"));
    assert_eq!(server("DefaultDomain = \"b.example\"").default_domain.as_str(), "b.example");
}

#[test]
fn bindings() {
    let check = |text: &str, expected: &str| {
        assert_eq!(
            server(&format!("ServerBindings = [{text:?}]")).bindings,
            [expected.parse().unwrap()],
            "{text}"
        );
    };
    check("127.0.0.1:2525:", "127.0.0.1:2525");
    check("127.0.0.1:2525", "127.0.0.1:2525");
    check(":25:", "0.0.0.0:25");
    check("[::1]:25", "[::1]:25");
    check("[::]:25:", "[::]:25");
    check("127.0.0.1:0:", "127.0.0.1:0");
    assert_eq!(server("ServerBindings = [\"127.0.0.1:0\", \"127.0.0.1:0\"]").bindings.len(), 2);
}

#[test]
fn policies_are_inherited() {
    let text = "[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = 2\n[\"/lm/smtpsvc/1/DOMAIN/Example.org\"]\nsmtpusetcpdns = \"tcp-only\"\n";
    let settings = read(text).unwrap();
    assert_eq!(settings.dns.policy, 2);
    let domains: Vec<_> = settings.dns.policies_by_domain.iter().map(|(d, p)| (d.as_str(), *p)).collect();
    assert_eq!(domains, [("example.org", 1)]);
    // The order of tables in the text does not matter; the nearer key does.
    let text = "[\"/LM/SmtpSvc/1\"]\nSmtpUseTcpDns = 0\n[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = 2\n";
    assert_eq!(read(text).unwrap().dns.policy, 0);
    let check = |value: &str, expected: u32| {
        assert_eq!(server(&format!("SmtpUseTcpDns = {value}")).dns.policy, expected)
    };
    check("\"udp-then-tcp\"", 0);
    check("0x1", 1);
    check("\"UDP-only\"", 2);
    check("\"adaptive\"", ADAPTIVE);
    check("0xFFFFFFFF", ADAPTIVE);
    assert_eq!(server("36997 = 2").dns.policy, 2, "an id does instead of a name");
}

#[test]
fn smart_hosts() {
    let check = |host: &str, expected: (&str, u16)| {
        let settings = server(&format!("SmartHostType = 2\nRemoteSmtpPort = 26\nSmartHost = {host:?}"));
        let (host, port) = settings.smart_host.unwrap();
        assert_eq!((host.to_string().as_str(), port), expected);
    };
    check("relay.example", ("relay.example", 26));
    check("relay.example:587", ("relay.example", 587));
    check("[192.0.2.1]", ("[192.0.2.1]", 26));
    check("[2001:db8::1]:25", ("[IPv6:2001:db8::1]", 25));
    check("[IPv6:2001:db8::1]", ("[IPv6:2001:db8::1]", 26));
    assert_eq!(server("SmartHostType = 0\nSmartHost = \"a.example\"").smart_host, None);
}

#[test]
fn a_value_is_inherited_whole() {
    let text = "[\"/LM/SmtpSvc\"]\nDnsTimeouts = \"udp=1s,reply=1s\"\n[\"/LM/SmtpSvc/1\"]\nDnsTimeouts = \"reply=2s\"\n";
    let dns = read(text).unwrap().dns;
    assert_eq!((dns.udp_first, dns.tcp_reply), (Duration::from_millis(400), Duration::from_secs(2)));
}

#[test]
fn values() {
    let settings = server(
        "RelayIpList = [\"192.0.2.7\", \"10.0.0.0/8\", \"192.0.2.0, 255.255.255.0\"]
         MaxMessageSize = 0\nMaxConnections = 4294967295\nMaxBatchedMessages = 0\nMaxOutConnections = 1_000
         SmtpRemoteProgressiveRetry = \"1s, 2m,3,1h\"\nBadMailDirectory = \"/bad\"\nDropDirectory = \"in/drop\"
         AlwaysUseSsl = true\nDnsServers = [\"192.0.2.1\", \"[2001:db8::1]:5353\", \"2001:db8::2\"]
         DnsRetry = \"200ms\"\nDnsProbe = \"1s..1m\"\nDnsTimeouts = \"reply=1s\"\nNextHopRefused = []",
    );
    assert_eq!(settings.relay, networks(&["192.0.2.7/32", "10.0.0.0/8", "192.0.2.0/24"]));
    assert_eq!(
        (settings.size_max, settings.connections_max, settings.batch_max),
        (u64::from(u32::MAX), u32::MAX, u32::MAX)
    );
    assert_eq!(settings.out_connections_max, 1000);
    assert_eq!(settings.retry, [1, 120, 180, 3600].map(Duration::from_secs));
    assert_eq!(
        (settings.badmail_dir.as_path(), settings.drop_dir.as_path()),
        (Path::new("/bad"), Path::new("/data/in/drop"))
    );
    assert!(settings.tls_required && settings.next_hop_refused.is_empty());
    let servers: Vec<_> = settings.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:5353", "[2001:db8::2]:53"]);
    assert_eq!(settings.dns.retry, [Duration::from_millis(200)]);
    assert_eq!(settings.dns.probe, (Duration::from_secs(1), Duration::from_secs(60)));
    assert_eq!(
        (settings.dns.tcp_reply, settings.dns.udp_first),
        (Duration::from_secs(1), Duration::from_millis(400))
    );
}

/// Each error of a text, without the file's name.
fn errors(text: &str) -> Vec<String> {
    let errors = read(text).expect_err("the text must be refused");
    errors.iter().map(|error| error.strip_prefix("postroad.toml:").unwrap().to_owned()).collect()
}

/// The error of one line of `/LM/SmtpSvc/1`, without its place's line.
#[track_caller]
fn refused(line: &str, expected: &str) {
    let errors = errors(&format!("[\"/LM/SmtpSvc/1\"]\n{line}\n"));
    assert_eq!(errors, [format!("2:{expected}")], "{line}");
}

#[test]
fn wrong_types_and_bounds() {
    let number = "Give a number from 1 to 64000.";
    refused("MaxRecipients = \"many\"", &format!("17: MaxRecipients: \"many\" is not a number. {number}"));
    refused("MaxRecipients = 0", &format!("17: MaxRecipients: 0 is not within bounds. {number}"));
    refused("MaxRecipients = -1", &format!("17: MaxRecipients: -1 is not a number of 32 bits. {number}"));
    refused("MaxRecipients = 1.5", &format!("17: MaxRecipients: 1.5 is not a number. {number}"));
    refused("AlwaysUseSsl = \"yes\"", "16: AlwaysUseSsl: \"yes\" is not true or false. Give true or false.");
    refused("DefaultDomain = 3", "17: DefaultDomain: 3 is not a text. Give a text in quotes, a domain name.");
    refused(
        "RelayIpList = \"10.0.0.0/8\"",
        "15: RelayIpList: \"10.0.0.0/8\" is not a list. Give a list of texts, [\"...\", \"...\"], networks.",
    );
    refused(
        "RelayIpList = [\"::1\", 7]",
        "23: RelayIpList: 7 is not a text. Give a list of texts, [\"...\", \"...\"], networks.",
    );
    let policies =
        "Give one of 0 (\"udp-then-tcp\"), 1 (\"tcp-only\"), 2 (\"udp-only\"), 4294967295 (\"adaptive\").";
    refused("SmtpUseTcpDns = 3", &format!("17: SmtpUseTcpDns: 3 is not known. {policies}"));
    refused("SmtpUseTcpDns = \"tcp\"", &format!("17: SmtpUseTcpDns: \"tcp\" is not known. {policies}"));
}

#[test]
fn bad_values() {
    refused(
        "RelayIpList = [\"::1\", \"192.0.2.5/24\"]",
        "23: RelayIpList: \"192.0.2.5/24\" is an address inside a network. Write 192.0.2.0/24 for the network, 192.0.2.5 for the one address.",
    );
    refused(
        "RelayIpList = [\"0.0.0.0/0\"]",
        "16: RelayIpList: lets all of 0.0.0.0/0 relay: an open relay is soon used by spammers and refused by everyone else. List the networks whose machines are yours.",
    );
    refused(
        "ServerBindings = []",
        "18: ServerBindings: has 0 bindings. Give 1 to 64, as [\"127.0.0.1:2525:\"].",
    );
    refused(
        "ServerBindings = [\":25:\", \"0.0.0.0:25\"]",
        "27: ServerBindings: \"0.0.0.0:25\" is listed twice. Remove one of them.",
    );
    refused(
        "ServerBindings = [\":25:a.example\"]",
        "19: ServerBindings: \":25:a.example\" names a host, which an SMTP binding cannot have. Give an address and a port, as 127.0.0.1:2525: or [::1]:2525: or :25: for every IPv4 address.",
    );
    for scheme in ["tls://192.0.2.1#a", "https://a.example/dns-query"] {
        refused(
            &format!("DnsServers = [{scheme:?}]"),
            &format!(
                "15: DnsServers: {scheme:?}: DNS over TLS or HTTPS is not supported yet. Give the address of a server that answers over UDP or TCP, as 192.0.2.1."
            ),
        );
    }
    let span = "Give a whole number from 1 and a unit: ms, s, m, h or d, as 30s.";
    refused("DnsRetry = \"30s,\"", &format!("12: DnsRetry: \"\" is not a span of time. {span}"));
    refused("DnsRetry = \"0\"", &format!("12: DnsRetry: \"0\" is not a span of time. {span}"));
    refused("DnsRetry = \"1w\"", &format!("12: DnsRetry: \"1w\" is not a span of time. {span}"));
    refused(
        "DnsProbe = \"2m..1m\"",
        "12: DnsProbe: \"2m..1m\" begins above its end. Give the first and the longest wait, as 30s..15m.",
    );
    refused(
        "DnsTimeouts = \"udp=1s,tcp=1s\"",
        "15: DnsTimeouts: \"tcp\" is not a time known here. Give any of udp, connect, reply, lookup with a span each, as udp=3s.",
    );
}

/// The resolver uses 8: more would be taken and not asked.
#[test]
fn dns_servers_are_as_many_as_are_used() {
    let servers = |count: u32| {
        let list: Vec<_> = (1..=count).map(|n| format!("\"192.0.2.{n}\"")).collect();
        format!("DnsServers = [{}]", list.join(", "))
    };
    assert_eq!(server(&servers(8)).dns.servers.len(), 8);
    refused(&servers(9), "14: DnsServers: has 9 servers. Give at most 8.");
}

/// Nobody is asked whether a file means it, however it says it.
#[test]
fn no_file_opens_the_relay() {
    let halves = "RelayIpList = [\"127.0.0.0/8\", \"0.0.0.0/1\", \"128.0.0.0/1\"]";
    let end = "relay: an open relay is soon used by spammers and refused by everyone else. List the networks whose machines are yours.";
    refused(halves, &format!("31: RelayIpList: lets all of 0.0.0.0/1 {end}"));
    // No one of these is wide.
    let eights: Vec<_> = (0..29).map(|n| format!("\"{}.0.0.0/8\"", 31 + n * 3)).collect();
    let together = errors(&format!("[\"/LM/SmtpSvc\"]\nRelayIpList = [{}]\n", eights.join(", ")));
    assert!(together[0].starts_with("2:15: RelayIpList: lets 13 % of the Internet relay"), "{together:?}");
    let (wide, narrow) =
        ("[\"/LM/SmtpSvc\"]\nRelayIpList = [\"::/0\"]\n", "[\"/LM/SmtpSvc/1\"]\nRelayIpList = []\n");
    assert!(read(&format!("{wide}{narrow}")).unwrap().relay.is_empty(), "the server's own holds");
    assert_eq!(errors(wide).len(), 1);
}

/// Values that fit, and may fit what is stored as well.
#[test]
fn pins_are_judged_one_by_one() {
    let pins =
        |line: &str| postroad_metabase::text::pins(&format!("[\"/LM/SmtpSvc/1\"]\n{line}\n"), "f.toml");
    for line in ["SmartHostType = 2", "SmartHost = \"a.example\"", "MaxSessionSize = 1000"] {
        assert_eq!(pins(line).unwrap().len(), 1, "{line}");
    }
    for line in ["SmartHostType = 1", "SmartHost = \"192.0.2.1\"", "RelayIpList = [\"0.0.0.0/2\"]"] {
        assert_eq!(pins(line).unwrap_err().len(), 1, "{line}");
    }
}

#[test]
fn limits_of_outbound_connections() {
    let limits = |lines: &str| {
        let settings = server(&format!("MaxOutConnections = 5\nMaxOutConnectionsPerDomain = 2\n{lines}"));
        (settings.out_connections_max, settings.out_connections_per_domain_max)
    };
    assert_eq!(limits(""), (5, 2));
    assert_eq!(limits("LimitRemoteConnections = false"), (u32::MAX, u32::MAX));
}

#[test]
fn smart_host_checks() {
    refused(
        "SmartHostType = 2",
        "17: SmartHostType: is 2, but there is no SmartHost. Set SmartHost, as \"relay.example.org\" or \"[192.0.2.1]:587\", or SmartHostType = 0.",
    );
    refused(
        "SmartHostType = 1",
        "17: SmartHostType: 1 (directly first, the smart host after that) is not supported yet. Give 2 to send everything through SmartHost, or 0 to send everything directly.",
    );
    refused(
        "SmartHost = \"a.example\"",
        "13: SmartHost: has no effect, because SmartHostType is not 2. Set SmartHostType = 2 beside it to send all remote mail through it, or 0 to keep it for later.",
    );
    let both = errors("[\"/LM/SmtpSvc/1\"]\nSmartHostType = 2\nSmartHost = \"192.0.2.1\"\n");
    assert_eq!(both, ["3:13: SmartHost: \"192.0.2.1\" is an address without brackets. Write [192.0.2.1]."]);
}

#[test]
fn keys_and_names() {
    refused("MaxRecipents = 3", "1: \"MaxRecipents\" is not a property. Did you mean MaxRecipients?");
    refused("Zzz = 3", "1: \"Zzz\" is not a property. docs/settings.md lists all properties.");
    let check = |text: &str, expected: &str| assert_eq!(errors(text), [expected]);
    check(
        "[\"/LM/SmtpSvc/1\"]\nMaxRecipients = 3\n36895 = 4",
        "3:9: MaxRecipients: is set twice at /LM/SmtpSvc/1, first in line 2. Keep one of the two.",
    );
    check(
        "[\"/LM/SmtpSvc\"]\nServerBindings = [\":25:\"]",
        "2:1: ServerBindings: has no effect at /LM/SmtpSvc. Put it under /LM/SmtpSvc/1.",
    );
    check(
        "[\"/LM/SmtpSvc/1/Domain/a_.b \"]",
        "1:2: \"/LM/SmtpSvc/1/Domain/a_.b \" does not end in a domain name. Give a name such as /LM/SmtpSvc/1/Domain/example.org.",
    );
    check(
        "[\"/LM/W3Svc\"]",
        "1:2: \"/LM/W3Svc\" is not a key. Keys are /LM/SmtpSvc, /LM/SmtpSvc/1 and /LM/SmtpSvc/1/Domain/example.org.",
    );
    check("Loose = 1", "1:1: \"Loose\" stands outside of a key. Put it under [\"/LM/SmtpSvc/1\"].");
}

#[test]
fn all_errors_are_reported() {
    let text = "Loose = 1\n[\"/LM/W3Svc\"]\nA = 1\n[\"/LM/SmtpSvc\"]\nServerBindings = [\":25:\"]\n[\"/LM/SmtpSvc/2\"]\n[\"/LM/SmtpSvc/1\"]\n\
                HopCount = 0\nMaxRecipients = = 3\nDnsProbe = \"x\"\n";
    let places: Vec<_> =
        errors(text).iter().map(|e| e.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "1:1: \"Loose\"",
            "2:2: \"/LM/W3Svc\"",
            "5:1: ServerBindings:",
            "6:2: \"/LM/SmtpSvc/2\":",
            "8:12: HopCount:",
            "9:17: syntax:",
            "10:12: DnsProbe:",
        ]
    );
    let many =
        format!("[\"/LM/SmtpSvc/1\"]\n{}", (0..50).map(|n| format!("Nope{n} = 1\n")).collect::<String>());
    assert_eq!(errors(&many).len(), 20);
}

#[test]
fn what_is_refused_is_not_passed_over_in_silence() {
    let text = "[\"/LM/SmtpSvc/1\"]\nSecureBindings = [\":465:\"]\n";
    let errors = errors(text);
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("2:1: SecureBindings: is not taken. The service listens for TLS nowhere"),
        "{errors:?}"
    );
    // Nor is what is taken: it asks for what is done.
    assert_eq!(server("LogFileDirectory = \"x\"\nAuthFlags = 1\nAccessSSLFlags = 0"), fresh());
}

#[test]
fn the_documentation_is_the_catalogue() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    if std::env::var_os("POSTROAD_WRITE_DOCS").is_some() {
        std::fs::write(path, postroad_metabase::markdown()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == postroad_metabase::markdown(),
        "docs/settings.md: run this test with POSTROAD_WRITE_DOCS=1"
    );
}

#[test]
fn the_catalogue_is_sound() {
    let all: Vec<_> = postroad_metabase::catalogue().collect();
    for (index, property) in all.iter().enumerate() {
        let same = |p: &&&postroad_metabase::schema::Property| {
            p.id == property.id || p.name.eq_ignore_ascii_case(property.name)
        };
        assert_eq!(all.iter().filter(same).count(), 1, "{}", property.name);
        assert!(
            !property.doc.is_empty() && property.doc.ends_with('.') && !property.unit.is_empty(),
            "{index}"
        );
        assert!(property.is_own() || property.id < 65_536, "{}", property.name);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(\\[\"/LM/SmtpSvc(/1)?\"\\]\n)?(([A-Z][a-z]{2,8}|SmtpUseTcpDns|DnsProbe|SmartHost|ServerBindings|RelayIpList) ?= ?[\\[\\]\"0-9a-z.,:=/\u{e9}\r -]{0,24}\n?){0,6}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_panics(name in 0..postroad_metabase::catalogue().count(), value in proptest::prelude::any::<String>()) {
        let property = postroad_metabase::catalogue().nth(name).unwrap();
        let _ = read(&format!("[\"/LM/SmtpSvc/1\"]\n{} = {value:?}\n", property.name));
        let _ = read(&format!("[\"/LM/SmtpSvc/1\"]\n{} = [{value:?}]\n", property.name));
        let _ = read(&value);
    }
}
