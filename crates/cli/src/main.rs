//! The postroad program: verbs and flags.
//!
//! A verb asks a question of `control`, or starts one of the shells; what comes back is written for people or, with `--json`,
//! for programs. Nothing here decides anything about mail.

mod args;
mod dns;
mod ending;
mod events;
mod explain;
mod glue;
mod lab;
mod meta;
mod person;
mod queue;
mod screen;
mod send;
mod status;
mod when;

use args::{Cli, Verb};
use clap::Parser;
use ending::{DONE, TRY_LATER, Trouble};
use screen::Screen;
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse_from(meta::forms::as_typed(std::env::args_os()));
    let mut screen = Screen::standard(cli.json);
    let ended = run(cli, &mut screen);
    // What was answered comes before what is said of it.
    let flushed = screen.flush().map_err(Trouble::Output);
    ExitCode::from(match flushed.and(ended) {
        Ok(status) => status,
        Err(Trouble::Says(status, what)) => complain(&what, status),
        // Whoever read has read enough, as `head` does.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => DONE,
        Err(Trouble::Output(error)) => {
            complain(&format!("the answer cannot be written: {error}. Free space where it goes."), TRY_LATER)
        }
    })
}

fn run(cli: Cli, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let now = when::now();
    match cli.verb {
        Verb::Serve(serve) => glue::serve(&cli.data, cli.json, serve).map(|()| DONE),
        Verb::Send(send) => send::run(&cli.data, send, now, screen),
        Verb::Status => status::run(&cli.data, now, screen),
        Verb::Queue(verb) => queue::run(&cli.data, verb, now, screen),
        Verb::Explain(explain) => explain::run(&cli.data, explain.subject, screen),
        Verb::Meta(verb) => meta::run(&cli.data, verb, now, screen),
        Verb::Metaedit { read_only } => glue::edit(&cli.data, read_only),
        Verb::Dns(verb) => dns::run(verb, &cli.data, screen),
        Verb::Events(verb) => events::run(&cli.data, verb, screen),
        Verb::Lab(lab) => lab::run(lab, screen),
    }
}

/// Says what is wrong on stderr, a line for each thing.
fn complain(what: &str, status: u8) -> u8 {
    let mut stderr = io::stderr().lock();
    for line in what.lines() {
        let stop = if line.ends_with(['.', '?']) { "" } else { "." };
        // Where stderr is closed too, the exit status remains.
        let _ = writeln!(stderr, "postroad: {}{stop}", screen::shown(line));
    }
    status
}
