//! The id of a message in the queue.

use crate::time::Wall;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A queue id: 63 bits, rising with time of acceptance, never used twice.
///
/// The upper 43 bits are milliseconds since the Unix epoch, the lower 20 count within it; so a store keeps the order of
/// acceptance by id alone, and an id says when. Written as 13 digits of Crockford's base 32, as `0CZ8N2V4F0G00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u64);

const COUNT_BITS: u32 = 20;
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const WIDTH: usize = 13;

impl MessageId {
    /// The first id of an instant; negative instants count as the epoch.
    #[must_use]
    pub fn first_at(wall: Wall) -> Self {
        Self((u64::try_from(wall.0).unwrap_or(0) << COUNT_BITS) & (u64::MAX >> 1))
    }

    /// The id to give after `self` at `wall`: the instant's first, or the next one up where that is not above `self`
    /// (many in one millisecond, or a clock that was set back).
    #[must_use]
    pub fn next(self, wall: Wall) -> Self {
        Self(Self::first_at(wall).0.max(self.0 + 1))
    }

    /// When it was given, to the millisecond.
    #[must_use]
    pub fn given_at(self) -> Wall {
        Wall((self.0 >> COUNT_BITS) as i64)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; WIDTH];
        let mut rest = self.0;
        for digit in text.iter_mut().rev() {
            *digit = DIGITS[(rest & 31) as usize];
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// The text is not a queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a queue id: 13 digits and letters are expected, as the 250 reply and `queue list` show them")]
pub struct NotAnId;

impl FromStr for MessageId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != WIDTH {
            return Err(NotAnId);
        }
        let mut value: u128 = 0;
        for byte in text.bytes() {
            let digit = match byte.to_ascii_uppercase() {
                b'O' => 0,
                b'I' | b'L' => 1,
                upper => DIGITS.iter().position(|d| *d == upper).ok_or(NotAnId)? as u128,
            };
            value = value << 5 | digit;
        }
        u64::try_from(value).ok().filter(|v| v >> 63 == 0).map(Self).ok_or(NotAnId)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_rise() {
        let first = MessageId::default().next(Wall(1_795_590_028_123));
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(first.given_at(), Wall(1_795_590_028_123));
        assert!(first.next(Wall(1_795_590_028_123)) > first);
        assert!(first.next(Wall(5)) > first, "a clock set back must not repeat an id");
        assert_eq!("ZZZZZZZZZZZZZ".parse::<MessageId>(), Err(NotAnId));
        assert_eq!("".parse::<MessageId>(), Err(NotAnId));
    }
}
