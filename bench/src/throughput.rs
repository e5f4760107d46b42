//! How many messages go through and what each costs: Postroad, the floor and the bare generator in turns.

use crate::load::{Load, MESSAGE, Sent};
use crate::meter::{self, Cpu};
use crate::options::Options;
use crate::process::{Process, Result};
use crate::service::Service;
use crate::sink::{self, Tally};
use crate::{names, process, relay, say};
use std::net::SocketAddr;
use std::time::Duration;

/// How long one run may take, and each message of it more: beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_millis(20);
/// After the last message came to the sink: what Postroad writes of it belongs to its cost.
const SETTLED: Duration = Duration::from_millis(100);
/// Messages before the first round, not counted: connections are opened, names looked up, pages touched.
const WARM_UP: u64 = 200;
/// Of the messages of a run, a part as large goes over one connection: each waits for the one before.
const ALONE: u64 = 4;

/// The parts that serve all runs.
pub(crate) struct Stage {
    sink: Process,
    pub(crate) sink_address: SocketAddr,
    pub(crate) names: SocketAddr,
    next_number: u64,
}

/// What one run showed.
#[derive(Clone, Debug, Default)]
struct Run {
    through: f64,
    accepted: f64,
    cpu: f64,
    user: f64,
    store: f64,
    memory_peak: f64,
    memory_after: f64,
    p50: f64,
    p99: f64,
    trouble: String,
}

impl Stage {
    pub(crate) fn set() -> Result<Self> {
        let mut sink = Process::part("sink", &[sink::PART.to_owned()])?;
        let sink_address = sink.announced()?;
        Ok(Self { sink, sink_address, names: names::start()?, next_number: 1 })
    }

    /// Sends `load`, whose number of the first message is chosen here; `meanwhile` is called now and then.
    pub(crate) fn send(&mut self, mut load: Load, meanwhile: impl FnMut() -> Result<()>) -> Result<Sent> {
        load.first = self.next_number;
        self.next_number += load.messages;
        let patience = PATIENCE + PATIENCE_EACH * u32::try_from(load.messages).unwrap_or(u32::MAX);
        let sent: Sent = Process::part("generator", &load.words())?.finish(patience, meanwhile)?.parse()?;
        if sent.accepted == 0 {
            return Err(format!("not one message was accepted: {}", sent.trouble).into());
        }
        Ok(sent)
    }

    pub(crate) fn tally(&mut self, messages: u64) -> Result<Tally> {
        self.sink.check()?;
        process::wait_for(sink::ask(self.sink_address, messages, PATIENCE))
    }

    /// Sends `load` through a server to the sink, and sees that what was accepted came, each message once.
    fn run(&mut self, load: Load, server: Option<u32>) -> Result<Run> {
        let before = self.tally(0)?;
        let cpu_before = server.map(Cpu::of).transpose()?.unwrap_or_default();
        let mut memory_peak = 0;
        let sent = self.send(load, || {
            memory_peak = memory_peak.max(server.map(meter::memory).transpose()?.unwrap_or(0));
            Ok(())
        })?;
        self.tally(before.messages + sent.accepted)?;
        std::thread::sleep(SETTLED);
        let after = self.tally(0)?;
        let came = (after.messages - before.messages, after.sum.wrapping_sub(before.sum));
        if came != (sent.accepted, sent.sum) {
            return Err(format!(
                "{} messages were accepted, {} came (or not the same)",
                sent.accepted, came.0
            )
            .into());
        }
        let cpu = server.map(Cpu::of).transpose()?.unwrap_or_default().since(cpu_before);
        let memory_after = server.map(meter::memory).transpose()?.unwrap_or(0);
        let each = |nanos: u64| nanos as f64 / 1000.0 / sent.accepted as f64;
        let rate = |until: u64| sent.accepted as f64 * 1e6 / until.saturating_sub(sent.began).max(1) as f64;
        Ok(Run {
            through: rate(after.last),
            accepted: rate(sent.ended),
            cpu: each(cpu.total),
            user: each(cpu.user()),
            store: each(cpu.store),
            memory_peak: memory_peak.max(memory_after) as f64 / 1024.0,
            memory_after: memory_after as f64 / 1024.0,
            p50: sent.p50 as f64 / 1000.0,
            p99: sent.p99 as f64 / 1000.0,
            trouble: sent.trouble,
        })
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut stage = Stage::set()?;
    let pieces = if options.pipelining { "pipelined" } else { "a command at a time" };
    say(&format!(
        "\nThroughput: messages of {MESSAGE} octets, {pieces}, to a domain found by MX, synced before their 250; medians of {} rounds",
        options.rounds
    ))?;
    let words = [relay::PART.to_owned(), stage.sink_address.to_string()];
    let mut relay = Process::part("relay", &words)?;
    let relay_address = relay.announced()?;
    say(HEAD)?;
    for kept in [false, true] {
        for &connections in &options.connections {
            let mut service = Service::start(options, stage.names, stage.sink_address.port())?;
            let messages = if connections == 1 { options.messages / ALONE } else { options.messages };
            let load = |server, messages| Load {
                server,
                connections,
                messages,
                first: 0,
                kept,
                pipelining: options.pipelining,
                domain: names::LIVE.to_owned(),
            };
            let servers = [
                (service.address, Some(service.id()?)),
                (relay_address, Some(relay.id())),
                (stage.sink_address, None),
            ];
            let mut runs: [Vec<Run>; 3] = Default::default();
            for round in 0..=options.rounds {
                for ((address, process), runs) in servers.iter().zip(&mut runs) {
                    let messages = if round == 0 { WARM_UP.min(messages) } else { messages };
                    let run = stage.run(load(*address, messages), *process);
                    let run = run
                        .map_err(|error| format!("{error}\nThe end of postroad's log:\n{}", service.log()))?;
                    relay.check()?;
                    if round > 0 {
                        runs.push(run);
                    }
                }
            }
            service.stop()?;
            tell(connections, kept, &runs)?;
        }
    }
    Ok(())
}

const HEAD: &str = "
                              messages/s         CPU, us a message             RssAnon, MiB   dot to 250, ms
load                          through accepted   total   user kernel  (store)   peak  after     p50    p99";

fn tell(connections: u64, kept: bool, runs: &[Vec<Run>; 3]) -> Result<()> {
    let load = format!("{connections} {}", if kept { "kept alive" } else { "new each" });
    for (name, runs) in ["postroad", "floor", "direct"].into_iter().zip(runs) {
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let mut line =
            format!("{load:<16}{name:<13}{:>8.0} {:>8.0}", of(|run| run.through), of(|run| run.accepted));
        let cpu = format!(
            "{:>8.1} {:>6.1} {:>6.1} {:>8.1}{:>7.1}{:>7.1}",
            of(|run| run.cpu),
            of(|run| run.user),
            of(|run| run.cpu - run.user),
            of(|run| run.store),
            of(|run| run.memory_peak),
            of(|run| run.memory_after),
        );
        line += if name == "direct" { NO_SERVER } else { &cpu };
        line += &format!("{:>8.2}{:>7.2}", of(|run| run.p50), of(|run| run.p99));
        say(&line)?;
        if let Some(run) = runs.iter().find(|run| !run.trouble.is_empty()) {
            say(&format!("{:<16}not all were accepted: {}", "", run.trouble))?;
        }
    }
    let [postroad, floor, _] = runs;
    let ratios = postroad.iter().zip(floor).map(|(postroad, floor)| postroad.cpu / floor.cpu).collect();
    let slower =
        postroad.iter().zip(floor).map(|(postroad, floor)| postroad.through / floor.through).collect();
    say(&format!("{:<16}postroad/floor{:>7.2} {:>17.2}", "", median(slower), median(ratios)))
}

/// The sink is the server here, and its CPU is nobody's.
const NO_SERVER: &str = "       -      -      -        -      -      -";

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures.get(middle).copied().unwrap_or(0.0),
        _ => figures.get(middle - 1..=middle).map_or(0.0, |two| two.iter().sum::<f64>() / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let check =
            |figures: &[f64], expected: f64| assert_eq!(median(figures.to_vec()), expected, "{figures:?}");
        check(&[3.0], 3.0);
        check(&[9.0, 1.0, 2.0], 2.0);
        check(&[9.0, 1.0, 2.0, 4.0], 3.0);
    }
}
