//! What the original's SMTP service says, offers and uses, and nothing here reads.

use super::{EMPTY, SERVER, SERVICE, UNKNOWN, dword, flag, property, text};
use crate::schema::{DataType, Property};

pub(super) static ROWS: &[Property] = &[
    // Names and addresses.
    text("ConnectResponse", 101_101, "", "a text", "The text of the greeting behind the host name.")
        .at(SERVER),
    flag("UpdatedFQDN", 101_102, true, "Marks that an administrator has chosen the host name."),
    flag("UpdatedDefaultDomain", 101_103, true, "Marks that an administrator has chosen the default domain."),
    text(
        "MasqueradeDomain",
        36912,
        "",
        "a domain name",
        "The domain put in place of local ones in the reverse path of outbound mail.",
    ),
    flag("DoMasquerade", 36913, false, "Whether MasqueradeDomain is used."),
    text("PostmasterName", 36916, "", "a text", "The postmaster's name, which Exchange used.").at(SERVER),
    text("PostmasterEmail", 36917, "", "an address", "The postmaster's address, which Exchange used.")
        .at(SERVER),
    text(
        "SendBadTo",
        36923,
        "",
        "an address",
        "Who gets a copy of bad mail; sources differ on whether it is inherited.",
    ),
    text("SendNdrTo", 101_096, "", "an address", "Who gets a copy of every non-delivery report."),
    flag(
        "AddNoHeaders",
        37000,
        true,
        "Whether fields that a message lacks, Message-ID and Date, are left missing.",
    ),
    dword("SmtpDSNLanguageID", 37022, 0, "language id", "The language of reports; 0 is the server's."),
    dword("SmtpDSNOptions", 101_107, 0, "bits", "How delivery status notifications are made."),
    // What is offered and used.
    dword(
        "SmtpInboundCommandSupportOptions",
        36998,
        COMMANDS,
        "bits",
        "The commands and extensions that are offered.",
    )
    .bits(COMMAND_BITS),
    dword(
        "SmtpOutboundCommandSupportOptions",
        36999,
        7,
        "bits",
        "The extensions that are used when sending; installations have 7, which leaves out all that \
         are known.",
    )
    .absent_number(COMMANDS)
    .bits(COMMAND_BITS),
    property(
        "SmtpAdvertise8BitMime",
        36865,
        DataType::Dword,
        "0 or 1",
        UNKNOWN,
        "Whether 8BITMIME was offered on Windows NT 4.",
    ),
    flag("AllowVerify", 101_110, true, "Whether VRFY is answered."),
    flag("SmtpHeloNoDomain", 36981, true, "Whether HELO and EHLO are taken without a name."),
    flag("SmtpMailNoHelo", 36982, true, "Whether MAIL is taken before HELO or EHLO."),
    dword(
        "SmtpDomainValidationFlags",
        36992,
        u32::MAX,
        "flags",
        "Whether the name in EHLO has to be well-formed; any number but 0 says yes.",
    ),
    flag(
        "EnableReverseDnsLookup",
        101_099,
        false,
        "Whether the client's name is looked up and noted in the trace field.",
    ),
    // Times.
    dword(
        "SmtpConnectTimeout",
        37001,
        0,
        TIMEOUT,
        "How long a connection may take to be made; 0 is the built-in time.",
    ),
    dword(
        "SmtpMailFromTimeout",
        37002,
        0,
        TIMEOUT,
        "How long the reply to MAIL is waited for; 0 is the built-in time.",
    ),
    dword(
        "SmtpRcptToTimeout",
        37003,
        0,
        TIMEOUT,
        "How long the reply to RCPT is waited for; 0 is the built-in time.",
    ),
    dword("SmtpDataTimeout", 37004, 0, TIMEOUT, "How long DATA may be idle; 0 is the built-in time."),
    dword("SmtpBdatTimeout", 37005, 0, TIMEOUT, "How long BDAT may be idle; 0 is the built-in time."),
    dword(
        "SmtpAuthTimeout",
        37006,
        0,
        TIMEOUT,
        "How long the reply to AUTH is waited for; 0 is the built-in time.",
    ),
    dword(
        "SmtpSaslTimeout",
        37007,
        0,
        TIMEOUT,
        "How long a step of a SASL exchange may take; 0 is the built-in time.",
    ),
    dword(
        "SmtpTurnTimeout",
        37009,
        0,
        TIMEOUT,
        "How long the reply to TURN is waited for; 0 is the built-in time.",
    ),
    dword(
        "SmtpRsetTimeout",
        37010,
        0,
        TIMEOUT,
        "How long the reply to RSET is waited for; 0 is the built-in time.",
    ),
    dword(
        "SmtpHeloTimeout",
        37012,
        0,
        TIMEOUT,
        "How long the reply to HELO or EHLO is waited for; 0 is the built-in time.",
    ),
    // The service itself.
    dword("SmtpCommandLogMask", 36864, 0, "bits", "Which commands are logged.").at(SERVICE),
    dword("SmtpEventlogLevel", 37027, u32::MAX, "level", "How much is told to the event log.").names(&[
        (0, "none"),
        (1, "minimum"),
        (3, "medium"),
        (5, "maximum"),
        (7, "field-engineering"),
        (u32::MAX, "not-set"),
    ]),
    dword(
        "SmtpServiceVersion",
        36931,
        0,
        "level",
        "The features of the service; 2 turned on ETRN and several servers on Windows NT 4.",
    ),
    text(
        "SaslLogonDomain",
        36940,
        "",
        "a domain name",
        "The Windows domain of accounts that are given without one.",
    ),
    property(
        "SmtpClearTextProvider",
        101_106,
        DataType::String,
        "a name",
        EMPTY,
        "Who checks passwords that come in clear text.",
    ),
    text(
        "SmtpServer",
        45059,
        "",
        "a host",
        "The mail server for moderated newsgroups, which belongs to NNTP.",
    ),
    dword(
        "UnknownName_61537",
        61537,
        0,
        "unknown",
        "Found where Exchange wrote the service's key; nobody has told what it is.",
    )
    .alone()
    .at(SERVICE),
];

/// Sources say no more than that it is a time of inactivity.
const TIMEOUT: &str = "seconds, presumably";
/// What the schema has for both directions.
const COMMANDS: u32 = 7_697_601;

/// 8BITMIME is certain; the others are remembered. The bits 0x1, 0x4000, 0x10000 and 0x40000 of the default have no name.
const COMMAND_BITS: &[(u32, &str)] = &[
    (0x40, "DSN"),
    (0x80, "ETRN"),
    (0x400, "TURN"),
    (0x1000, "ENHANCEDSTATUSCODES"),
    (0x10_0000, "CHUNKING"),
    (0x20_0000, "BINARYMIME"),
    (0x40_0000, "8BITMIME"),
];
