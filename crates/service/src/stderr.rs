//! Stderr, written by a thread of its own: a reader that is slow, or stopped, holds up no mail. What it does not take in time is
//! left out.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Octets that wait to be written.
const WAITING_MAX: usize = 1 << 20;
/// How long the end waits until what is left is written.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// The way to the thread.
pub(crate) struct Stderr {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Nothing more comes.
    ends: bool,
    /// All that came is written, and the thread with it.
    ended: bool,
}

impl Stderr {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name(String::from("stderr")).spawn(move || of_thread.write())?;
        Ok(Self { shared })
    }

    /// Takes whole lines, and leaves the buffer empty; `false`, and the buffer as it was, where too much waits already.
    pub(crate) fn take(&self, lines: &mut Vec<u8>) -> bool {
        let mut state = self.shared.lock();
        if state.waiting.is_empty() {
            std::mem::swap(&mut state.waiting, lines);
        } else if state.waiting.len() + lines.len() <= WAITING_MAX {
            state.waiting.append(lines);
        } else {
            return false;
        }
        self.shared.changed.notify_all();
        true
    }

    /// Waits, not for ever, until all is written. Nothing is taken after it.
    pub(crate) fn end(&self) {
        let mut state = self.shared.lock();
        state.ends = true;
        self.shared.changed.notify_all();
        let until_ended = self.shared.changed.wait_timeout_while(state, END_TIME_MAX, |state| !state.ended);
        drop(until_ended);
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn write(&self) {
        let mut lines = Vec::new();
        let mut state = self.lock();
        loop {
            if !state.waiting.is_empty() {
                std::mem::swap(&mut state.waiting, &mut lines);
                drop(state);
                // A stderr that is closed is no reason to stop carrying mail.
                let _ = std::io::stderr().write_all(&lines);
                lines.clear();
                state = self.lock();
            } else if state.ends {
                state.ended = true;
                self.changed.notify_all();
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
