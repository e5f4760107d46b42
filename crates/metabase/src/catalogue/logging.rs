//! Properties of protocol logs.

use super::{INFO, LOGGING, UNKNOWN, dword, flag, list, property, text};
use crate::schema::{DataType, Default, Property};

pub(super) static ROWS: &[Property] = &[
    dword("LogType", 4000, 0, "enumeration", "Whether sessions are logged.").names(&[(0, "off"), (1, "on")]),
    property(
        "LogFileDirectory",
        4001,
        DataType::ExpandSz,
        "a folder",
        Default::Text("%windir%\\system32\\LogFiles"),
        "The folder of the logs.",
    ),
    dword("LogFilePeriod", 4003, 1, "enumeration", "When a log file ends.").names(&[
        (0, "by-size"),
        (1, "daily"),
        (2, "weekly"),
        (3, "monthly"),
        (4, "hourly"),
    ]),
    dword(
        "LogFileTruncateSize",
        4004,
        20_971_520,
        "bytes",
        "The size at which a log file ends, where the period says so.",
    ),
    property(
        "LogPluginClsid",
        4005,
        DataType::String,
        "a class id",
        Default::Unset("W3C extended"),
        "The module that writes the logs.",
    ),
    property(
        "LogPluginUIClsid",
        4006,
        DataType::String,
        "a class id",
        Default::Unset("none"),
        "The console's page for a log module.",
    )
    .at(LOGGING),
    text("LogOdbcDataSource", 4007, "HTTPLOG", "a data source", "The database that logs are written to."),
    text("LogOdbcTableName", 4008, "InternetLog", "a table", "The database's table."),
    text("LogOdbcUserName", 4009, "InternetAdmin", "an account", "The database's account."),
    property(
        "LogOdbcPassword",
        4010,
        DataType::String,
        "a secret",
        Default::Unset("none"),
        "The password of LogOdbcUserName.",
    )
    .secret(),
    property(
        "LogPluginOrder",
        4011,
        DataType::String,
        "names",
        Default::Unset("none"),
        "The order of the log modules.",
    ),
    property(
        "LogModuleList",
        4012,
        DataType::String,
        "names",
        Default::Unset("none"),
        "The log modules that the service has.",
    )
    .at(INFO),
    dword("LogExtFileFlags", 4013, 4_194_303, "bits", "The fields of a log.").bits(&[
        (0x1, "LogExtFileDate"),
        (0x2, "LogExtFileTime"),
        (0x4, "LogExtFileClientIp"),
        (0x8, "LogExtFileUserName"),
        (0x10, "LogExtFileSiteName"),
        (0x20, "LogExtFileComputerName"),
        (0x40, "LogExtFileServerIp"),
        (0x80, "LogExtFileMethod"),
        (0x100, "LogExtFileUriStem"),
        (0x200, "LogExtFileUriQuery"),
        (0x400, "LogExtFileHttpStatus"),
        (0x800, "LogExtFileWin32Status"),
        (0x1000, "LogExtFileBytesSent"),
        (0x2000, "LogExtFileBytesRecv"),
        (0x4000, "LogExtFileTimeTaken"),
        (0x8000, "LogExtFileServerPort"),
        (0x1_0000, "LogExtFileUserAgent"),
        (0x2_0000, "LogExtFileCookie"),
        (0x4_0000, "LogExtFileReferer"),
        (0x8_0000, "LogExtFileProtocolVersion"),
        (0x10_0000, "LogExtFileHost"),
        (0x20_0000, "LogExtFileHttpSubStatus"),
    ]),
    dword("LogExtFileFlags2", 4014, 0, "bits", "Further fields of a log."),
    flag("LogFileLocaltimeRollover", 4015, false, "Whether log files end and are named by local time."),
    flag("DontLog", 6023, false, "Whether what happens at the key is left out of the logs.").file(),
    property(
        "LogCustomPropertyName",
        4501,
        DataType::String,
        "a name",
        UNKNOWN,
        "What a field of one's own is called.",
    )
    .at(LOGGING),
    property(
        "LogCustomPropertyHeader",
        4502,
        DataType::String,
        "a name",
        UNKNOWN,
        "Its name in the head of a log.",
    )
    .at(LOGGING),
    property("LogCustomPropertyID", 4503, DataType::Dword, "an id", UNKNOWN, "Its number.").at(LOGGING),
    property(
        "LogCustomPropertyMask",
        4504,
        DataType::Dword,
        "bits",
        UNKNOWN,
        "Its bit in the mask of fields.",
    )
    .at(LOGGING),
    property(
        "LogCustomPropertyDataType",
        4505,
        DataType::Dword,
        "a type",
        UNKNOWN,
        "The type of its values.",
    )
    .at(LOGGING),
    list("LogCustomPropertyServicesString", 4506, "services", "The services that have it.")
        .fresh(UNKNOWN)
        .at(LOGGING),
    property(
        "LogCpuMask",
        4507,
        DataType::Dword,
        "bits",
        UNKNOWN,
        "Which figures of processor time are logged; the name is ours.",
    )
    .at(LOGGING),
    property(
        "LogCustomPropertyNodeID",
        4508,
        DataType::Dword,
        "an id",
        UNKNOWN,
        "The number of its place in the console's tree.",
    )
    .at(LOGGING),
];
