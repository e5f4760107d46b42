//! The command line.

use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
postroad-bench [MODE] [OPTIONS]

Modes:
  all          everything below, in two to five minutes (the default)
  throughput   1, 20 and 100 connections, a new one for each message and kept alive: rate, CPU and latency, with the floor
  idle         memory of a service that has nothing to do
  backlog      memory after many messages for a host that is down, and how long a restart takes then

Options:
  --messages N    messages of each run of `throughput`; a quarter of it over one connection (default 8000)
  --connections N only so many connections in `throughput`, in place of 1, 20 and 100: for a profiler
  --rounds N      rounds of `throughput`, of which the median is told (default 5)
  --backlog N     messages of `backlog` (default 100000)
  --pipelining    the generator sends MAIL, RCPT and DATA in one piece; without it, as smtp-source and small devices do,
                  it waits for each reply
  --dir DIR       where the spool is, on the disk to be measured (default: beside this program)
  --program FILE  the postroad to be measured (default: the one beside this program)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    All,
    Throughput,
    Idle,
    Backlog,
    Help,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) messages: u64,
    pub(crate) connections: Vec<u64>,
    pub(crate) rounds: usize,
    pub(crate) backlog: u64,
    pub(crate) pipelining: bool,
    pub(crate) dir: PathBuf,
    pub(crate) program: PathBuf,
}

impl Options {
    /// Reads the words of the command line; an error says what is wrong with them.
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| format!("this program's own path: {error}"))?;
        let beside = own.parent().map(PathBuf::from).unwrap_or_default();
        let mut options = Self {
            mode: Mode::All,
            messages: 8000,
            connections: vec![1, 20, 100],
            rounds: 5,
            backlog: 100_000,
            pipelining: false,
            program: beside.join("postroad"),
            dir: beside,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
            match word.as_str() {
                "all" => options.mode = Mode::All,
                "throughput" => options.mode = Mode::Throughput,
                "idle" => options.mode = Mode::Idle,
                "backlog" => options.mode = Mode::Backlog,
                "help" | "--help" | "-h" => options.mode = Mode::Help,
                "--messages" => options.messages = number(value()?, 400)?,
                "--connections" => options.connections = vec![number(value()?, 1)?],
                "--rounds" => options.rounds = usize::try_from(number(value()?, 1)?).unwrap_or(1),
                "--backlog" => options.backlog = number(value()?, 1)?,
                "--pipelining" => options.pipelining = true,
                "--dir" => options.dir = PathBuf::from(value()?),
                "--program" => options.program = PathBuf::from(value()?),
                _ => return Err(format!("{word} is neither a mode nor an option")),
            }
        }
        Ok(options)
    }
}

/// A number of at least `least`.
fn number(word: &str, least: u64) -> Result<u64, String> {
    match word.parse() {
        Ok(number) if number >= least => Ok(number),
        Ok(_) => Err(format!("{word} is too few: at least {least}")),
        Err(_) => Err(format!("{word} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(Mode, u64, usize), &str>) {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        let found = Options::parse(&words).map(|options| (options.mode, options.messages, options.rounds));
        assert_eq!(found, expected.map_err(String::from), "{line}");
    }

    #[test]
    fn command_lines() {
        check("", Ok((Mode::All, 8000, 5)));
        check("idle", Ok((Mode::Idle, 8000, 5)));
        check("throughput --messages 400 --rounds 1", Ok((Mode::Throughput, 400, 1)));
        check("--rounds", Err("--rounds wants a value"));
        check("--rounds x", Err("x is not a number"));
        check("--messages 399", Err("399 is too few: at least 400"));
        check("fast", Err("fast is neither a mode nor an option"));
    }
}
