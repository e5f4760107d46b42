//! The SMTP protocol (RFC 5321): a server machine and a client machine, with a grammar of their own.
//!
//! Both are sans-IO: `new`, `handle(now, input)`, `poll`, `deadline`. They own no socket, clock or file; the shell moves the
//! bytes, does the TLS handshake, and answers the server's questions. Nothing a peer sends makes them panic, grow without
//! bound, or take content for a command.
//!
//! | bound | where | at it |
//! |---|---|---|
//! | a command line, 2,048 octets | `server::COMMAND_LINE_MAX` | 500 once, the rest of the line is passed over |
//! | input held while a question is open, 256 KiB | `server::PENDING_MAX` | 421, close; a shell that obeys `wants_input` never meets it |
//! | recipients of a message | `ServerSettings::recipients_max` | 452 for each further one |
//! | errors, idle commands, surplus recipients of a session | `ServerSettings::errors_max`, `server::IDLE_COMMANDS_MAX`, `server::SURPLUS_RECIPIENTS_MAX` | 421, close |
//! | octets of content | `ServerSettings::size_max` | 552 at the dot; 421 at twice as much and `server::OVERRUN_SLACK` |
//! | octets of content of a session | `ServerSettings::session_size_max` | 421, announced at MAIL, else at the dot |
//! | a line of content, 64 KiB | `content::LINE_MAX` | 554 at the dot |
//! | the rate of content, 100 octets a second | `server::CONTENT_RATE_MIN` | 421, close |
//! | commands of a pipelined group, 128 | `client::delivery` | the next group when these are answered |
//! | a reply: 100 lines, 4,096 octets a line, 64 KiB in all | `reply` | a protocol fault: temporary |
//! | text kept of a reply's line, 512 octets; of a reply, 4 KiB | `reply` | cut |
//! | each wait for a peer | `ServerSettings::idle`, `server::HANDSHAKE_TIME_MAX`, `ClientTimeouts` | 421, or a fault: temporary |

pub mod client;
mod command;
mod content;
mod parameter;
pub mod reply;
pub mod server;
mod xtext;

/// What the shell tells of a TLS session that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// As `TLSv1.3`.
    pub protocol: String,
    /// As `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
}
