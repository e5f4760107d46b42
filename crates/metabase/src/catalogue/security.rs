//! Properties of access, authentication and TLS. Those that demand what the service does not do are refused.

use super::{SERVER, UNKNOWN, binary, dword, flag, list, property, text};
use crate::record::{INHERIT, REFERENCE, SECURE};
use crate::schema::{DataType, Default, NETWORKS, Property};

pub(super) static ROWS: &[Property] = &[
    // Who may connect.
    binary("IPSecurity", 6019, NETWORKS, "Clients that may connect, or may not; the service turns none away by its address, which ServerBindings or a firewall can do.")
        .fresh(Default::List(&[]))
        .file()
        .attributes(INHERIT | REFERENCE),
    binary("AdminACL", 6027, "a security descriptor", "Who may change the key.")
        .fresh(Default::Unset("administrators"))
        .attributes(INHERIT | SECURE | REFERENCE)
        .refused(
            "The service does not check it: whoever may use the data folder's control socket may \
             change every key.",
        ),
    dword("AccessFlags", 6016, 0, "bits", "What may be done in a folder of a web site.")
        .fresh(Default::Unset("none"))
        .file()
        .bits(&[
            (0x1, "AccessRead"),
            (0x2, "AccessWrite"),
            (0x4, "AccessExecute"),
            (0x10, "AccessSource"),
            (0x200, "AccessScript"),
        ]),
    flag("DoReverseDns", 6029, false, "Whether web and FTP services look up the names of clients.").file(),
    // TLS.
    list("SecureBindings", 2021, "bindings", "Where the server listens for TLS from the first octet.")
        .at(SERVER)
        .refused(
            "The service listens for TLS nowhere from the first octet: clients would reach clear \
             text or nothing. It offers STARTTLS at ServerBindings.",
        ),
    dword("AccessSSLFlags", 6030, 0, "bits", "What TLS a client has to use.")
        .file()
        .bits(&[
            (0x8, "AccessSSL"),
            (0x20, "AccessSSLNegotiateCert"),
            (0x40, "AccessSSLRequireCert"),
            (0x80, "AccessSSLMapCert"),
            (0x100, "AccessSSL128"),
        ])
        .refused(
            "The service offers STARTTLS to clients and does not demand it, so mail would still \
             come in clear text.",
        ),
    flag(
        "SmtpSSLRequireTrustedCA",
        101_104,
        true,
        "Whether a remote server's certificate has to come from an authority that is trusted.",
    )
    .refused(
        "The service does not check the certificates of remote servers, which may be \
         anyone's.",
    ),
    flag(
        "SmtpSSLCertHostnameValidation",
        101_105,
        true,
        "Whether a remote server's certificate has to be for the name that was dialled.",
    )
    .refused(
        "The service does not check the certificates of remote servers, which may be \
         anyone's.",
    ),
    binary("SSLPublicKey", 5500, "a key", "The public key, in the form that came before certificate stores.")
        .secret(),
    binary(
        "SSLPrivateKey",
        5501,
        "a secret",
        "The private key, in the form that came before certificate stores.",
    )
    .attributes(SECURE),
    property(
        "SSLKeyPassword",
        5502,
        DataType::String,
        "a secret",
        Default::Unset("none"),
        "The password of SSLPrivateKey.",
    )
    .attributes(SECURE),
    binary("SSLKeyRequest", 5503, "a request", "A certificate that was asked for.").attributes(SECURE),
    binary("SSLCertHash", 5506, "a SHA-1", "Which certificate of the store is used.").at(SERVER),
    text("SSLStoreName", 5511, "MY", "a store", "The store of the certificate.").at(SERVER),
    // Authentication.
    dword("AuthFlags", 6000, 7, "bits", "How clients may log in; without AuthAnonymous they have to.")
        .file()
        .bits(&[
            (0x1, "AuthAnonymous"),
            (0x2, "AuthBasic"),
            (0x4, "AuthNTLM"),
            (0x10, "AuthMD5"),
            (0x40, "AuthPassport"),
        ])
        .granted(1)
        .refused("The service lets no client log in, and asks none to. RelayIpList says who may relay."),
    text("Realm", 6001, "", "a text", "What is shown to clients that log in with a password.").file(),
    text(
        "DefaultLogonDomain",
        6012,
        "",
        "a domain name",
        "The Windows domain of accounts that are given without one.",
    )
    .file(),
    dword(
        "LogonMethod",
        6013,
        0,
        "enumeration",
        "How Windows logs an account in; sources have 0 and 3 as the default.",
    )
    .names(&[(0, "interactive"), (1, "batch"), (2, "network"), (3, "network-clear-text")])
    .file(),
    property(
        "AnonymousUserName",
        6020,
        DataType::String,
        "an account",
        Default::Unset("IUSR_ and the machine's name"),
        "The account of clients that have not logged in.",
    )
    .file(),
    property(
        "AnonymousUserPass",
        6021,
        DataType::String,
        "a secret",
        Default::Unset("none"),
        "The password of AnonymousUserName.",
    )
    .file()
    .secret(),
    flag(
        "AnonymousPasswordSync",
        6022,
        true,
        "Whether Windows keeps AnonymousUserPass as the account has it.",
    )
    .file(),
    property("AuthPersistence", 6031, DataType::Dword, "bits", UNKNOWN, "How long a login lasts.")
        .file()
        .bits(&[
            (0x40, "AuthSingleRequest"),
            (0x80, "AuthSingleRequestIfProxy"),
            (0x100, "AuthSingleRequestAlwaysIfProxy"),
        ]),
    text(
        "NTAuthenticationProviders",
        6032,
        "Negotiate,NTLM",
        "names",
        "The packages of integrated authentication.",
    )
    .file(),
    flag("AzEnable", 6048, false, "Whether access to web addresses is decided by a store of rules.").file(),
    text("AzStoreName", 6049, "", "a store", "The store of rules.").file(),
    text("AzScopeName", 6050, "", "a scope", "The part of the store.").file(),
];
