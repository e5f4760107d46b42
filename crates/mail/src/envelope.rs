//! The envelope: who sent, who receives, and what the sender asked about notifications.

use crate::address::{Address, ReversePath};
use crate::hop::NextHop;
use serde::{Deserialize, Serialize};

/// The sender's part of an envelope (MAIL and its parameters).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Where failures are returned to.
    pub path: ReversePath,
    /// `ENVID`, decoded from xtext: the sender's name for this message (RFC 3461 §4.4).
    pub envid: Option<String>,
    /// `RET`: how much a notification returns (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// `BODY`: what the content may hold (RFC 6152).
    pub body: BodyKind,
}

impl Sender {
    /// A sender who gave no parameters.
    #[must_use]
    pub fn plain(path: ReversePath) -> Self {
        Self { path, envid: None, ret: None, body: BodyKind::SevenBit }
    }
}

/// How much of the message a notification returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    /// `RET=FULL`.
    Full,
    /// `RET=HDRS`.
    Headers,
}

/// What the content may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyKind {
    /// `BODY=7BIT`, or no parameter.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`, or content in which octets above 127 were seen.
    EightBit,
}

/// One RCPT of a message, with the next hop it was given when accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The mailbox.
    pub address: Address,
    /// `NOTIFY`.
    pub notify: Notify,
    /// `ORCPT` as it came, type and decoded address joined as `rfc822;a@b` (RFC 3461 §4.2).
    pub orcpt: Option<String>,
    /// Where it goes.
    pub hop: NextHop,
}

impl Recipient {
    /// A recipient without parameters.
    #[must_use]
    pub fn plain(address: Address, hop: NextHop) -> Self {
        Self { address, notify: Notify::default(), orcpt: None, hop }
    }
}

/// When the sender wants a notification about a recipient (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notify {
    /// No parameter: on failure, and on delay as the service decides.
    #[default]
    Unset,
    /// `NEVER`.
    Never,
    /// Any of the three.
    On {
        /// `SUCCESS`.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

impl Notify {
    /// Whether a failure is to be reported.
    #[must_use]
    pub fn on_failure(self) -> bool {
        match self {
            Self::Unset => true,
            Self::Never => false,
            Self::On { failure, .. } => failure,
        }
    }
}
