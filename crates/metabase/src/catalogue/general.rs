//! Properties of keys, servers and the store itself, and our own that nothing reads yet.

use super::{
    ANY, COMPUTER, COMPUTER_AND_GLOBAL, GLOBAL, SCHEMA, SERVER, SERVICE, UNKNOWN, binary, dword, flag, list,
    property, text,
};
use crate::schema::{DataType, Default, Property};

pub(super) static ROWS: &[Property] = &[
    // A key's own.
    property(
        "KeyType",
        1002,
        DataType::String,
        "a class",
        Default::Unset("none"),
        "The class of the key, as IIsSmtpServer; MetaBase.xml calls the key's element by it, and `meta check` judges the key by it.",
    )
    .alone()
    .at(ANY),
    property(
        "Location",
        9989,
        DataType::String,
        "a path",
        Default::Unset("the key's path"),
        "The key's path, which MetaBase.xml has as an attribute.",
    )
    .alone()
    .at(ANY),
    property(
        "Comments",
        9990,
        DataType::String,
        "a text",
        Default::Unset("none"),
        "A remark, for whoever reads MetaBase.xml.",
    )
    .alone()
    .at(ANY),
    property(
        "MetaId",
        1004,
        DataType::Dword,
        "an id",
        UNKNOWN,
        "The id of a property, in the schema's own keys.",
    )
    .alone()
    .at(SCHEMA),
    list("AdminExtensions", 1028, "modules", "Modules that were told of changes to the settings.")
        .at(COMPUTER),
    // A server.
    text(
        "ServerComment",
        1015,
        "Default SMTP Virtual Server",
        "a text",
        "What the console calls the server.",
    )
    .at(SERVER),
    flag("ServerAutoStart", 1017, true, "Whether the server starts with the service."),
    property(
        "ServerCommand",
        1012,
        DataType::Dword,
        "enumeration",
        Default::Unset("none"),
        "Written to make the server do something.",
    )
    .names(&[(1, "start"), (2, "stop"), (3, "pause"), (4, "continue")])
    .volatile()
    .at(SERVER),
    property(
        "ServerState",
        1016,
        DataType::Dword,
        "enumeration",
        Default::Unset("none"),
        "Read to learn what the server does.",
    )
    .names(&[
        (1, "starting"),
        (2, "started"),
        (3, "stopping"),
        (4, "stopped"),
        (5, "pausing"),
        (6, "paused"),
        (7, "continuing"),
    ])
    .volatile()
    .at(SERVER),
    dword("Win32Error", 1099, 0, "an error number", "Why the server's last change of state failed.")
        .volatile()
        .at(SERVER),
    dword("ServerSize", 1018, 1, "enumeration", "How many clients are expected.").names(&[
        (0, "small"),
        (1, "medium"),
        (2, "large"),
    ]),
    dword(
        "MaxBandwidth",
        1000,
        u32::MAX,
        "bytes a second",
        "A limit on what is sent; 4294967295 is no limit.",
    ),
    property(
        "ServerListenBacklog",
        1019,
        DataType::Dword,
        "connections",
        UNKNOWN,
        "Connections that the system holds until they are taken.",
    ),
    dword(
        "ServerListenTimeout",
        1020,
        120,
        "seconds",
        "Time from a connection to its first octet; the number is remembered, not published.",
    ),
    property(
        "MaxEndpointConnections",
        1024,
        DataType::Dword,
        "connections",
        UNKNOWN,
        "Connections that wait at one address.",
    ),
    flag(
        "DisableSocketPooling",
        1029,
        false,
        "Whether each server binds its own addresses instead of sharing them.",
    ),
    dword(
        "DownlevelAdminInstance",
        1021,
        1,
        "a server's number",
        "The server that tools see which know of one only.",
    )
    .at(SERVICE),
    property("LevelsToScan", 1022, DataType::Dword, "levels", UNKNOWN, "How deep tools look for keys.")
        .at(SERVICE),
    property(
        "ServerConfigFlags",
        1027,
        DataType::Dword,
        "bits",
        Default::Unset("none"),
        "What the installation can do.",
    )
    .bits(&[(1, "Ssl40"), (2, "Ssl128"), (4, "EncryptionAllowed"), (8, "AutoPasswordSync")])
    .at(SERVICE),
    // The store.
    dword("MaxErrorFiles", 9988, 10, "files", "How many refused edits of MetaBase.xml are kept.")
        .alone()
        .at(COMPUTER_AND_GLOBAL),
    dword("MaxHistoryFiles", 9995, 10, "pairs", "How many pairs of history files are kept.")
        .alone()
        .at(COMPUTER_AND_GLOBAL),
    flag(
        "EnableHistory",
        9996,
        true,
        "Whether a pair of history files is written when the settings are; here every change is in \
         the history.",
    )
    .alone()
    .at(COMPUTER_AND_GLOBAL),
    flag(
        "EnableEditWhileRunning",
        9998,
        false,
        "Whether edits of MetaBase.xml take effect while the service runs.",
    )
    .alone()
    .at(COMPUTER_AND_GLOBAL),
    binary("BINSchemaTimeStamp", 9991, "a time", "When the compiled schema was made.").alone().at(GLOBAL),
    binary("XMLSchemaTimeStamp", 9992, "a time", "When the schema's XML was made.").alone().at(GLOBAL),
    dword("EditWhileRunningMinorVersionNumber", 9993, 0, "a counter", "The small number of the history.")
        .alone()
        .at(GLOBAL),
    property(
        "HistoryMajorVersionNumber",
        9994,
        DataType::Dword,
        "a counter",
        Default::Unset("none"),
        "The great number of the history, one more at each write.",
    )
    .alone()
    .at(GLOBAL),
    property(
        "ChangeNumber",
        9997,
        DataType::Dword,
        "a counter",
        Default::Unset("none"),
        "How many changes there were.",
    )
    .alone()
    .at(GLOBAL),
    binary(
        "SessionKey",
        9999,
        "a key",
        "The original's wrapped key for its secrets, which is bound to its machine.",
    )
    .alone()
    .at(GLOBAL),
];
