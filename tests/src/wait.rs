//! Waiting for what another process does: ask again until it is so, never sleep and hope.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. It costs time only when a test fails, so it is set for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks.
const GLANCE: Duration = Duration::from_millis(20);

/// Asks `look` until it has an answer.
///
/// # Panics
/// After `limit`, naming `what` was waited for.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain: {what}");
        std::thread::sleep(GLANCE);
    }
}

/// As `within`, for a condition, with `PATIENCE`.
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    within(PATIENCE, what, || look().then_some(()));
}
