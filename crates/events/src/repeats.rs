//! Which facts are reported: the first at once, repeats counted and reported hourly, an all-clear once.
//!
//! | fact stated | not known | known, same or lower severity | known, higher severity |
//! |---|---|---|---|
//! | `Notice` | reported | reported | reported |
//! | `Repeating` | reported, known for an hour | counted; reported when the hour is over | reported, hour begins anew |
//! | `State` | reported, known until its all-clear | as above | as above |
//! | `AllClear` | nothing | reported; its state is not known any more | |

use crate::catalogue::{ALL_CLEAR, Kind, Severity};
use crate::event::{Event, entry_of};
use crate::fact::Fact;
use postroad_mail::time::{Mono, Now, Wall};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How often a repeated event is reported, with its count.
pub const REPORT_EVERY: Duration = Duration::from_secs(3600);

/// Events known at once: one for each failing destination of a busy server; about a kilobyte each. At the bound the one
/// stated longest ago is forgotten, so that its next occurrence counts as the first.
pub const KNOWN_MAX: usize = 4096;

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// A fact.
    Stated(Fact),
    /// The deadline has come.
    Time,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Repeats {
    known: BTreeMap<Key, Known>,
    /// The known ones in the order in which they were stated last.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    /// When those that are counted, or only known for an hour, are looked at.
    by_time: BTreeMap<(Mono, Key), ()>,
    out: VecDeque<Event>,
}

/// Number and key fields.
type Key = (u32, Vec<String>);

#[derive(Debug)]
struct Known {
    last: Event,
    /// Occurrences not reported yet.
    unreported: u64,
    severity: Severity,
    began: Wall,
    reported: Wall,
    look_at: Mono,
    last_use: u64,
}

impl Repeats {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fact, or the coming of the deadline.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Stated(fact) => self.stated(now, &fact),
            Input::Time => self.time(now),
        }
    }

    /// The next event to be reported.
    pub fn poll(&mut self) -> Option<Event> {
        self.out.pop_front()
    }

    /// When `Input::Time` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        self.by_time.keys().next().map(|(at, _)| *at)
    }

    fn stated(&mut self, now: Now, fact: &Fact) {
        let entry = entry_of(fact);
        let event = Event::new(fact, now.wall);
        let fields = entry.fields.iter().take(entry.key);
        let fields = fields.filter_map(|name| event.fields.get(*name).cloned()).collect();
        match entry.kind {
            Kind::Notice => self.out.push_back(event),
            Kind::AllClear => {
                if let Some(known) = self.forget(&(entry.number - ALL_CLEAR, fields)) {
                    self.out.push_back(Event { since: Some(known.began), ..event });
                }
            }
            Kind::Repeating | Kind::State => self.repeated(now, (entry.number, fields), event),
        }
    }

    fn repeated(&mut self, now: Now, key: Key, event: Event) {
        let Some(mut known) = self.forget(&key) else {
            if self.known.len() >= KNOWN_MAX
                && let Some(oldest) = self.by_use.values().next().cloned()
            {
                self.forget(&oldest);
            }
            let known = Known {
                unreported: 0,
                severity: event.severity,
                began: now.wall,
                reported: now.wall,
                look_at: now.mono + REPORT_EVERY,
                last: event.clone(),
                last_use: 0,
            };
            self.remember(key, known);
            self.out.push_back(event);
            return;
        };
        known.unreported += 1;
        let worse = event.severity > known.severity;
        known.last = event;
        if worse || now.mono >= known.look_at {
            known.severity = known.last.severity;
            self.report(now, &mut known);
        }
        self.remember(key, known);
    }

    /// Reports what was counted; an hour begins.
    fn report(&mut self, now: Now, known: &mut Known) {
        self.out.push_back(Event {
            count: known.unreported,
            since: Some(known.reported),
            ..known.last.clone()
        });
        known.unreported = 0;
        known.reported = now.wall;
        known.look_at = now.mono + REPORT_EVERY;
    }

    fn time(&mut self, now: Now) {
        while let Some(((at, key), ())) = self.by_time.first_key_value() {
            if *at > now.mono {
                return;
            }
            let key = key.clone();
            let Some(mut known) = self.forget(&key) else {
                return;
            };
            let is_state = crate::catalogue::entry(key.0).is_some_and(|entry| entry.kind == Kind::State);
            if known.unreported > 0 {
                self.report(now, &mut known);
                self.remember(key, known);
            } else if is_state {
                // Quiet, but not over: it waits for its all-clear without a deadline.
                self.remember(key, known);
            }
        }
    }

    fn remember(&mut self, key: Key, mut known: Known) {
        self.uses += 1;
        known.last_use = self.uses;
        self.by_use.insert(self.uses, key.clone());
        let is_state = crate::catalogue::entry(key.0).is_some_and(|entry| entry.kind == Kind::State);
        if known.unreported > 0 || !is_state {
            self.by_time.insert((known.look_at, key.clone()), ());
        }
        self.known.insert(key, known);
    }

    fn forget(&mut self, key: &Key) -> Option<Known> {
        let known = self.known.remove(key)?;
        self.by_use.remove(&known.last_use);
        self.by_time.remove(&(known.look_at, key.clone()));
        Some(known)
    }
}
