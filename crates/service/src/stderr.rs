//! Stderr, written by a thread of its own: a reader that is slow, or stopped, holds up no mail. What it does not take in time is
//! left out.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Octets that wait to be written.
const WAITING_MAX: usize = 1 << 20;
/// How long the end waits for room, and until what is left is written.
const END_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a stderr that does not wait is given to be read.
const FULL_WAIT: Duration = Duration::from_millis(20);

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

    /// Waits, not for ever, until there is room for the last lines.
    pub(crate) fn make_room(&self) {
        let is_full = |state: &mut State| !state.waiting.is_empty();
        drop(self.shared.changed.wait_timeout_while(self.shared.lock(), END_TIME_MAX, is_full));
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
                self.changed.notify_all();
                put(&mut std::io::stderr(), &lines);
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

/// Writes all of it. A stderr that is closed is no reason to stop carrying mail.
fn put(out: &mut impl Write, mut lines: &[u8]) {
    while !lines.is_empty() {
        match out.write(lines) {
            Ok(0) => return,
            Ok(written) => lines = lines.get(written..).unwrap_or_default(),
            // Whoever else has it may have made it one that does not wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(FULL_WAIT),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::put;
    use std::io::{Error, ErrorKind, Result, Write};

    /// A pipe that somebody else, who has it too, has made one that does not wait.
    #[derive(Default)]
    struct Narrow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, octets: &[u8]) -> Result<usize> {
            self.calls += 1;
            match self.calls % 3 {
                0 => Err(Error::from(ErrorKind::WouldBlock)),
                1 => Err(Error::from(ErrorKind::Interrupted)),
                _ => {
                    self.taken.extend(octets.iter().take(2));
                    Ok(octets.len().min(2))
                }
            }
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_has_no_room_yet_is_written_later() {
        let mut narrow = Narrow::default();
        put(&mut narrow, b"one\ntwo\n");
        assert_eq!(narrow.taken, b"one\ntwo\n");
    }
}
