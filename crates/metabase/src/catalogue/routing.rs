//! Routes, domains, relaying and the directory: properties of the original's SMTP service that nothing here reads, or that
//! are refused.

use super::{ALL, DOMAIN, ROUTING_SOURCES, SERVICE, UNKNOWN, dword, flag, list, property, text};
use crate::schema::{DataType, Property, UserType};

pub(super) static ROWS: &[Property] = &[
    // Domains.
    dword("RouteAction", 36946, 0, "bits", "How mail for a domain is handled.")
        .at(ALL)
        .bits(ROUTE_BITS)
        .refused(
            "It can demand TLS or authentication for a domain, and the service does neither by \
             domain. AlwaysUseSsl demands TLS for all remote mail, SmartHost names a next hop for \
             it.",
        ),
    text(
        "RouteActionString",
        101_111,
        "",
        "a host, a folder or an address",
        "The next hop, folder or alias that RouteAction speaks of.",
    )
    .at(DOMAIN),
    text("RouteUserName", 36948, "", "an account", "The account with which the next hop is logged in to.")
        .at(ALL),
    text("RoutePassword", 36949, "", "a secret", "The password of RouteUserName.").at(ALL).secret(),
    list(
        "LocalDomains",
        36919,
        "domain names",
        "Local domains, in the form that came before keys for domains.",
    ),
    list(
        "DomainRouting",
        36920,
        "routes",
        "Routes of domains, in the form that came before keys for domains.",
    ),
    dword("EtrnDays", 36918, 0, "days", "How long mail is kept for clients that fetch it with ETRN."),
    property(
        "EtrnSubdomains",
        101_100,
        DataType::Bool,
        "true or false",
        UNKNOWN,
        "Whether ETRN for a domain releases the mail of those below it.",
    ),
    list("AuthTurnList", 36966, "accounts", "Who may fetch the mail of a domain with TURN.").at(DOMAIN),
    text("CSideEtrnDomains", 36968, "", "domain names", "The domains whose mail is asked for with ETRN.")
        .at(DOMAIN),
    // Relaying.
    dword(
        "RelayForAuth",
        36973,
        0,
        "flag",
        "Whether clients that have logged in may relay; any number but 0 says yes, and \
         0xFFFFFFFF is usual.",
    )
    .at(ALL),
    flag("SmtpDisableRelay", 36974, true, "The main switch of relaying, stored the other way round.")
        .granted(1)
        .refused(
        "The service has no such switch: RelayIpList alone says who may relay, an empty one that nobody may.",
    ),
    dword("SmtpIpRestrictionFlag", 37031, 1, "flag", "Whether lists of relay clients grant or refuse.")
        .absent_number(0)
        .granted(1)
        .refused("The service's list grants, always: RelayIpList lists who may relay, and nobody else may."),
    // Modules and the directory.
    text("RoutingDll", 101_108, "", "a file", "The module that chose routes.").fresh(UNKNOWN),
    text("SmtpAdvQueueDll", 36987, "inetsrv\\aqueue.dll", "a file", "The module that kept the queue.")
        .at(SERVICE),
    Property {
        user_type: UserType::Wam,
        ..list("RoutingSources", 36910, "sources", "Where routing tables came from.")
    },
    text("SmtpRoutingTableType", 36950, "ldap", "a name", "The kind of a routing table.").at(ROUTING_SOURCES),
    text("SmtpDsDataDirectory", 36951, "", "a folder", "The data folder of the directory.")
        .at(ROUTING_SOURCES),
    text(
        "SmtpDsDefaultMailRoot",
        36952,
        "",
        "a folder",
        "The folder of mailboxes for users of the directory.",
    )
    .at(ROUTING_SOURCES),
    property(
        "SmtpDsBindType",
        36953,
        DataType::String,
        "a name",
        UNKNOWN,
        "How the directory is logged in to.",
    )
    .at(ROUTING_SOURCES),
    text("SmtpDsHost", 36955, "", "a host", "The server of the directory.").at(ROUTING_SOURCES),
    text("SmtpDsNamingContext", 36956, "", "a distinguished name", "Where searches in the directory begin.")
        .at(ROUTING_SOURCES),
    text("SmtpDsAccount", 36957, "", "an account", "The account for the directory.").at(ROUTING_SOURCES),
    text("SmtpDsPassword", 101_112, "", "a secret", "The password of SmtpDsAccount.")
        .at(ROUTING_SOURCES)
        .secret(),
    text("SmtpDsDomain", 36993, "", "a domain name", "The Windows domain of SmtpDsAccount.")
        .at(ROUTING_SOURCES),
    dword("SmtpDsUseCat", 36994, 0, "flag", "Whether addresses are looked up in this source.")
        .at(ROUTING_SOURCES),
    dword("SmtpDsPort", 37023, 0, "port", "The directory's port; 0 is the usual one.")
        .within(0, 65_535)
        .at(ROUTING_SOURCES),
    dword("SmtpDsFlags", 37024, 0, "bits", "How the directory is used.").at(ROUTING_SOURCES),
];

const ROUTE_BITS: &[(u32, &str)] = &[
    (0x1, "Drop"),
    (0x2, "SmartHost"),
    (0x4, "Ssl"),
    (0x8, "Sasl"),
    (0x10, "Alias"),
    (0x20, "Deliver"),
    (0x40, "Default"),
    (0x80, "AuthNtlm"),
    (0x100, "AuthClearText"),
    (0x200, "EtrnCommand"),
    (0x400, "IpRelay"),
    (0x800, "AuthRelay"),
    (0x1000, "DomainRelay"),
    (0x2000, "ClientTurn"),
    (0x4000, "ClientEtrn"),
    (0x8000, "DisableEtrn"),
    (0x1_0000, "Chunking"),
    (0x2_0000, "DisableChunking"),
    (0x4_0000, "DisableBinaryMime"),
    (0x8_0000, "DisableDsn"),
    (0x10_0000, "DisablePipelining"),
    (0x20_0000, "AuthKerberos"),
    (0x40_0000, "UseHelo"),
];
