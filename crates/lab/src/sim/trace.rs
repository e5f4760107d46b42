//! What happened, line by line: hashed whole, kept in part.

use postroad_mail::time::Mono;
use std::collections::VecDeque;
use std::fmt;

/// Lines kept for a violation's report.
const LINES_KEPT: usize = 120;

/// The record of a run.
pub(super) struct Trace {
    hash: u64,
    lines: VecDeque<String>,
    /// Everything is kept.
    whole: bool,
}

impl Trace {
    pub(super) fn new(whole: bool) -> Self {
        // FNV-1a's offset basis: the hash is compared with that of the same program alone, so any will do.
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: VecDeque::new(), whole }
    }

    pub(super) fn note(&mut self, at: Mono, what: fmt::Arguments<'_>) {
        let line = format!("{:>14.6} {what}", at.0 as f64 / 1e6);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if !self.whole && self.lines.len() >= LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
