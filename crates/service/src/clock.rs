//! The one place that asks what time it is.

use postroad_mail::time::{Mono, Now, Wall};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks; the monotonic one starts with the service.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// A reading of both: in between the wall clock is moved on with the other.
    read: Cell<Now>,
}

/// How long a reading of the wall clock is good for: a clock that is set is noticed this late.
const READ_EVERY: Duration = Duration::from_millis(20);

impl Clock {
    pub(crate) fn start() -> Self {
        let clock = Self { start: Instant::now(), read: Cell::new(Now::default()) };
        clock.read.set(Self::read_both(Mono(0)));
        clock
    }

    pub(crate) fn now(&self) -> Now {
        let mono = Mono(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
        let read = self.read.get();
        let since = mono - read.mono;
        if since < READ_EVERY {
            return Now { mono, wall: read.wall + since };
        }
        let read = Self::read_both(mono);
        self.read.set(read);
        read
    }

    fn read_both(mono: Mono) -> Now {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Now { mono, wall: Wall(wall) }
    }

    /// The runtime's instant of a deadline.
    pub(crate) fn instant(&self, at: Mono) -> tokio::time::Instant {
        // A deadline beyond a year is one that never comes; the runtime's timers end at about two.
        const FAR: u64 = 365 * 24 * 3600 * 1_000_000;
        let micros = at.0.min(FAR.saturating_add(self.now().mono.0));
        tokio::time::Instant::from_std(self.start + Duration::from_micros(micros))
    }
}
