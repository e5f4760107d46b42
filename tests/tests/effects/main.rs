//! What each property in force does: seen from outside, at its default and at another value, in the program itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod dns;
mod folders;
mod host;
mod inbound;
mod outbound;
mod routes;
mod service;

use postroad_metabase::schema::Mark;
use std::collections::BTreeSet;

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

#[test]
fn every_property_in_force_has_its_effect_test() {
    let named: Vec<&str> = postroad_metabase::catalogue()
        .filter_map(|property| match property.mark {
            Mark::InForce { effect_test, .. } => Some(effect_test),
            Mark::Kept | Mark::Refused(_) => None,
        })
        .collect();
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(set(&named), set(TESTS));
    assert_eq!(set(&named).len(), named.len(), "two properties name the same test");
}
