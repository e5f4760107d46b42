//! Runs seeds of the simulator: `sim [--seeds N] [--from SEED] [--plant NAME] [--trace]`.
//!
//! Progress goes to standard error, the summary to standard output. Exit status 1: a seed breaks a promise.

#![allow(clippy::print_stdout, clippy::print_stderr)] // It is a face.

use postroad_lab::sim::{Options, Plant, Summary, run_seed};
use std::process::ExitCode;

/// What the command line says.
struct Asked {
    from: u64,
    seeds: u64,
    options: Options,
}

/// Seeds between two lines of progress.
const PROGRESS: u64 = 500;

fn main() -> ExitCode {
    let asked = match read(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(what) => {
            eprintln!("sim: {what}\nusage: sim [--seeds N] [--from SEED] [--plant NAME] [--trace]");
            return ExitCode::from(2);
        }
    };
    let mut total = Total::default();
    for seed in asked.from..asked.from.saturating_add(asked.seeds) {
        match run_seed(seed, &asked.options) {
            Ok(summary) => total.add(&summary, asked.options.whole_trace),
            Err(violation) => {
                println!("{violation}");
                println!("again, with the whole trace: sim --from {seed} --seeds 1 --trace");
                return ExitCode::FAILURE;
            }
        }
        if (seed - asked.from + 1).is_multiple_of(PROGRESS) {
            eprintln!("{} seeds", seed - asked.from + 1);
        }
    }
    total.print();
    ExitCode::SUCCESS
}

#[derive(Default)]
struct Total {
    seeds: u64,
    accepted: usize,
    delivered: usize,
    returned: usize,
    badmail: usize,
    copies: u64,
    crashes: u64,
    failures: u64,
    events: u64,
    hours: u64,
}

impl Total {
    fn add(&mut self, one: &Summary, show: bool) {
        if show {
            one.trace.iter().for_each(|line| println!("{line}"));
            println!("trace hash {:016x}", one.trace_hash);
        }
        self.seeds += 1;
        self.accepted += one.accepted;
        self.delivered += one.delivered;
        self.returned += one.returned;
        self.badmail += one.badmail;
        self.copies += one.copies_excused;
        self.crashes += one.crashes;
        self.failures += one.store_failures;
        self.events += one.events;
        self.hours += one.seconds / 3600;
    }

    fn print(&self) {
        println!(
            "{} seeds, {} virtual hours, {} events: every promise kept",
            self.seeds, self.hours, self.events
        );
        println!(
            "{} messages accepted; recipients: {} delivered, {} returned, {} in Badmail, {} copies more with an excuse",
            self.accepted, self.delivered, self.returned, self.badmail, self.copies
        );
        println!("{} crashes, {} failures of the store", self.crashes, self.failures);
    }
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut asked = Asked { from: 0, seeds: 1000, options: Options::default() };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text:?} is not a number"));
        match word.as_str() {
            "--seeds" => asked.seeds = number(value()?)?,
            "--from" => asked.from = number(value()?)?,
            "--plant" => {
                let name = value()?;
                let named = |plant: &&Plant| format!("{plant:?}").eq_ignore_ascii_case(&name);
                let plant = Plant::ALL
                    .iter()
                    .find(named)
                    .ok_or(format!("{name:?} is no plant of {:?}", Plant::ALL))?;
                asked.options.plant = *plant;
            }
            "--trace" => asked.options.whole_trace = true,
            _ => return Err(format!("{word:?} is not understood")),
        }
    }
    Ok(asked)
}
