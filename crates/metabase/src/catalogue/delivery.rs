//! Limits, waits and folders of the original's SMTP service that nothing here reads.

use super::{SERVICE, dword, flag, text};
use crate::schema::Property;

pub(super) static ROWS: &[Property] = &[
    // Limits.
    dword(
        "MaxSmtpErrors",
        36887,
        u32::MAX,
        "errors",
        "Protocol errors that a session may make before it is closed.",
    ),
    dword("MaxMailObjects", 36873, u32::MAX, "objects", "A limit on messages in memory, for finding faults."),
    dword(
        "SmtpMaxRemoteQThreads",
        36964,
        u32::MAX,
        "threads",
        "Threads that empty the remote queue, for finding faults.",
    ),
    dword(
        "SmtpAqueueWait",
        36990,
        u32::MAX,
        "unknown",
        "How long the end of the service waits for the queue.",
    ),
    // Delivery.
    dword(
        "SmtpRemoteDelayExpireMinutes",
        37019,
        720,
        "minutes",
        "Age at which the sender is told that a message still waits.",
    )
    .absent_number(60)
    .within(1, YEAR_MINUTES),
    dword(
        "SmtpLocalDelayExpireMinutes",
        37017,
        720,
        "minutes",
        "The same for mail that waits to be put into a local folder.",
    )
    .absent_number(60)
    .within(1, YEAR_MINUTES),
    dword(
        "SmtpLocalNDRExpireMinutes",
        37018,
        2880,
        "minutes",
        "Age at which mail for a local folder is returned.",
    )
    .within(1, YEAR_MINUTES),
    dword(
        "LocalRetryAttempts",
        36896,
        48,
        "attempts",
        "How often delivery to a local folder is tried again.",
    ),
    dword("LocalRetryInterval", 36897, 60, "minutes", "Wait between attempts to deliver to a local folder."),
    dword(
        "RemoteRetryAttempts",
        36898,
        48,
        "attempts",
        "How often remote delivery was tried again before expiry was a span of time.",
    ),
    dword(
        "RemoteRetryInterval",
        36899,
        60,
        "minutes",
        "Wait between remote attempts, which SmtpRemoteProgressiveRetry replaced.",
    ),
    dword(
        "SmtpRemoteRetryThreshold",
        36995,
        3,
        "attempts",
        "How many failed connections count as the early ones, with short waits.",
    ),
    dword(
        "RemoteTimeout",
        36921,
        600,
        "seconds",
        "How long an outbound session may be idle; 0 is the built-in time.",
    )
    .absent_number(0),
    dword(
        "RemoteSmtpSecurePort",
        36929,
        465,
        "port",
        "The port for delivery over TLS from the first octet, which was given up.",
    )
    .within(1, 65_535),
    dword("NameResolutionType", 36885, 1, "enumeration", "Which resolver finds remote servers.")
        .absent_number(u32::MAX)
        .names(&[(1, "dns"), (2, "gethostbyname"), (3, "dns-then-gethostbyname"), (u32::MAX, "not-set")]),
    flag(
        "ShouldPipelineOut",
        36901,
        true,
        "Whether commands are sent without waiting for each reply, where a server offers that.",
    ),
    flag("ShouldPipelineIn", 36902, true, "Whether PIPELINING is offered."),
    flag("ShouldDeliver", 36881, true, "Whether mail for local domains is put into the Drop folder."),
    // Folders.
    text(
        "QueueDirectory",
        36875,
        "mailroot\\Queue",
        "a folder",
        "The folder of messages that wait; here they are in the data folder.",
    ),
    text(
        "PickupDirectory",
        36880,
        "mailroot\\Pickup",
        "a folder",
        "The folder whose files are taken as mail to send.",
    ),
    flag("ShouldPickupMail", 101_097, true, "Whether the Pickup folder is looked through."),
    flag(
        "SmtpDotStuffPickupDirFiles",
        37030,
        true,
        "Whether a dot is put before lines of Pickup files that begin with one.",
    ),
    text(
        "SortTempDirectory",
        36930,
        "mailroot\\SortTemp",
        "a folder",
        "The folder in which routes were sorted on Windows NT 4.",
    )
    .at(SERVICE),
    dword(
        "MaxDirChangeIOSize",
        36878,
        u32::MAX,
        "bytes",
        "The buffer with which the Pickup folder is watched.",
    ),
    dword(
        "SmtpFlushMailFile",
        36866,
        0,
        "0 or 1",
        "Whether message files are flushed to disk; here every one is before it is acknowledged.",
    )
    .at(SERVICE),
];

const YEAR_MINUTES: u32 = 525_600;
