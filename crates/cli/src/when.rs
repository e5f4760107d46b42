//! Times as people read them.

use postroad_mail::time::{Wall, brief};

/// `2026-11-25 07:00:28Z`.
pub fn to_second(at: Wall) -> String {
    let c = at.civil();
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02}Z", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// How long ago it was: `4m 30s`.
pub fn age(at: Wall, now: Wall) -> String {
    brief(now - at)
}

/// How long until then: `in 4m 30s`, or `now`. Whole seconds: a wait that is shown is over before its last milliseconds matter.
pub fn ahead(at: Wall, now: Wall) -> String {
    let wait = at - now;
    if wait.as_millis() < 1000 { "now".to_owned() } else { format!("in {}", brief(wait)) }
}

/// The time, which a verb reads once.
pub fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
