//! Ids of the properties that rules speak of by themselves.

/// `KeyType`: what a key is.
pub const KEY_TYPE: u32 = 1002;
/// `ServerBindings`.
pub const SERVER_BINDINGS: u32 = 1023;
pub(crate) const LOG_MODULE_LIST: u32 = 4012;
pub(crate) const MAX_SESSION_SIZE: u32 = 36892;
pub(crate) const SMART_HOST_TYPE: u32 = 36905;
pub(crate) const SMART_HOST: u32 = 36906;
pub(crate) const RELAY_IP_LIST: u32 = 36970;
pub(crate) const SMTP_USE_TCP_DNS: u32 = 36997;

/// Ids that the original gave to its SMTP service alone.
pub(crate) const SMTP: std::ops::RangeInclusive<u32> = 36_864..=40_959;
