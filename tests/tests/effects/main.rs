//! What each property in force does: seen from outside, at its default and at another value, in the program itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod dns;
mod folders;
mod host;
mod inbound;
mod outbound;
mod routes;
mod service;

use postroad_metabase::catalogue::EFFECT_TESTS;

/// A test for each of the functions, and their names: what is not named here is dead code, which the lints refuse.
macro_rules! effects {
    ($($module:ident: $($name:ident),+;)+) => {
        const TESTS: &[&str] = &[$($(stringify!($name)),+),+];
        $($(
            #[test]
            fn $name() {
                $module::$name();
            }
        )+)+
    };
}

effects! {
    inbound:
        server_bindings, fully_qualified_domain_name, default_domain, relay_ip_list, max_message_size, max_session_size,
        max_recipients, max_connections, connection_timeout, hop_count;
    outbound:
        smtp_remote_progressive_retry, smtp_remote_ndr_expire_minutes, max_batched_messages, max_out_connections,
        max_out_connections_per_domain, limit_remote_connections, always_use_ssl;
    routes:
        smart_host, smart_host_type, remote_smtp_port, next_hop_refused;
    dns:
        smtp_use_tcp_dns, dns_servers, dns_retry, dns_probe, dns_timeouts;
    folders:
        bad_mail_directory, drop_directory, backup_every, backup_keep;
}

/// Each property in force has its test and each test its property: else this does not build.
const _: () = {
    assert!(TESTS.len() == EFFECT_TESTS.len(), "as many tests as properties in force");
    let mut test = 0;
    while test < TESTS.len() {
        let mut property = 0;
        while !same(TESTS[test], EFFECT_TESTS[property]) {
            property += 1;
            assert!(property < EFFECT_TESTS.len(), "a test that no property names");
        }
        test += 1;
    }
};

/// `==`, which is not for constants.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}
