//! The one place that asks what time it is.

use postroad_mail::time::{Mono, Now, Wall};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks; the monotonic one starts with the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Now { mono: Mono(mono), wall: Wall(wall) }
    }

    /// The runtime's instant of a deadline.
    pub(crate) fn instant(self, at: Mono) -> tokio::time::Instant {
        // A deadline beyond a year is one that never comes; the runtime's timers end at about two.
        const FAR: u64 = 365 * 24 * 3600 * 1_000_000;
        let micros = at.0.min(FAR.saturating_add(self.now().mono.0));
        tokio::time::Instant::from_std(self.start + std::time::Duration::from_micros(micros))
    }
}
