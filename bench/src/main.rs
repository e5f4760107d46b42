//! Figures, beside the floor that the machine sets: what a message costs, how many go through, what memory is held.
//!
//! The bench process is the conductor: it starts every other part as a process of its own, so that the CPU of each can be
//! told apart, and answers DNS itself.
//!
//! ```text
//! load --SMTP--> Postroad --SMTP--> sink        postroad
//! load --SMTP--> relay ----SMTP--> sink         floor: the same runtime and sockets, no store, no lookup
//! load --SMTP--> sink                           direct: what generator and sink can do
//! ```
//!
//! The three take turns in each round, for on a shared machine only figures of the same minute can be compared. Nothing is
//! asserted of a time; a message that is lost or a process that fails is an error.

mod load;
mod machine;
mod meter;
mod names;
mod options;
mod process;
mod relay;
mod resident;
mod service;
mod sink;
mod smtp;
mod throughput;

use options::{Mode, Options, USAGE};
use process::Result;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let ended = match words.split_first() {
        Some((part, words)) if part == sink::PART => sink::run(words),
        Some((part, words)) if part == relay::PART => relay::run(words),
        Some((part, words)) if part == load::PART => load::run(words),
        _ => match Options::parse(&words) {
            Ok(options) => conduct(&options),
            Err(wrong) => {
                let _ = writeln!(std::io::stderr(), "{wrong}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "postroad-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn conduct(options: &Options) -> Result<()> {
    if options.mode == Mode::Help {
        return say(USAGE);
    }
    let began = std::time::Instant::now();
    say(&machine::line(&options.dir)?)?;
    if matches!(options.mode, Mode::All | Mode::Throughput) {
        throughput::run(options)?;
    }
    if matches!(options.mode, Mode::All | Mode::Idle) {
        resident::idle(options)?;
    }
    if matches!(options.mode, Mode::All | Mode::Backlog) {
        resident::backlog(options)?;
    }
    say(&format!("\nNo message was lost. It took {} s.", began.elapsed().as_secs()))
}

/// Prints a line at once: a run takes minutes, and one that is cut short still told something.
pub(crate) fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
