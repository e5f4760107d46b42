//! When what failed is tried again.

use postroad_mail::time::Wall;
use std::time::Duration;

/// The wait before try number `step + 1` of a schedule: its last entry goes on for ever. An empty schedule is an hour.
#[must_use]
pub fn wait(schedule: &[Duration], step: u32) -> Duration {
    const HOUR: Duration = Duration::from_secs(3600);
    let last = schedule.len().saturating_sub(1);
    let at = usize::try_from(step).unwrap_or(usize::MAX).min(last);
    schedule.get(at).copied().unwrap_or(HOUR)
}

/// `span` spread by up to a tenth either way, so that what failed together does not come back together. `roll` is random.
#[must_use]
pub fn jittered(span: Duration, roll: u32) -> Duration {
    let tenth = span / 10;
    span - tenth + (tenth * 2).mul_f64(f64::from(roll) / f64::from(u32::MAX))
}

/// How long of the time from `from` to `to` lies in `spans`, which are in order and apart from each other.
#[must_use]
pub fn overlap(spans: &[(Wall, Wall)], from: Wall, to: Wall) -> Duration {
    spans.iter().map(|(start, end)| (*end).min(to) - (*start).max(from)).sum()
}

/// Adds a span at the end of `spans`; one that touches the last is joined to it, and at `max` the oldest two are.
pub fn add_span(spans: &mut Vec<(Wall, Wall)>, start: Wall, end: Wall, max: usize) {
    if end <= start {
        return;
    }
    match spans.last_mut() {
        Some(last) if start <= last.1 => last.1 = last.1.max(end),
        _ => spans.push((start, end)),
    }
    if spans.len() > max && spans.len() >= 2 {
        let oldest = spans.remove(0);
        spans[0].0 = oldest.0;
    }
}

/// Adds `others` to `spans`, which stay in order and at most `max`.
pub fn join_spans(spans: &mut Vec<(Wall, Wall)>, others: &[(Wall, Wall)], max: usize) {
    let mut all = [spans.as_slice(), others].concat();
    all.sort_unstable();
    spans.clear();
    for (start, end) in all {
        add_span(spans, start, end, max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_end_in_their_last_entry() {
        let minutes = |m: u64| Duration::from_secs(m * 60);
        let schedule = [minutes(15), minutes(30), minutes(60), minutes(240)];
        let check = |step, expected| assert_eq!(wait(&schedule, step), expected);
        check(0, minutes(15));
        check(3, minutes(240));
        check(400, minutes(240));
        assert_eq!(wait(&[], 7), minutes(60));
        assert_eq!(jittered(minutes(10), 0), minutes(9));
        assert_eq!(jittered(minutes(10), u32::MAX), minutes(11));
    }

    #[test]
    fn spans_join_and_stay_bounded() {
        let mut spans = Vec::new();
        add_span(&mut spans, Wall(0), Wall(10), 2);
        add_span(&mut spans, Wall(5), Wall(20), 2);
        assert_eq!(spans, [(Wall(0), Wall(20))]);
        add_span(&mut spans, Wall(30), Wall(40), 2);
        add_span(&mut spans, Wall(50), Wall(60), 2);
        assert_eq!(spans, [(Wall(0), Wall(40)), (Wall(50), Wall(60))]);
        assert_eq!(overlap(&spans, Wall(35), Wall(55)), Duration::from_millis(10));
        assert_eq!(overlap(&spans, Wall(41), Wall(49)), Duration::ZERO);
        join_spans(&mut spans, &[(Wall(35), Wall(45)), (Wall(48), Wall(50))], 2);
        assert_eq!(spans, [(Wall(0), Wall(45)), (Wall(48), Wall(60))]);
    }
}
