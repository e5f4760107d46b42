//! What is held in memory: by a service that has nothing to do, and by one with a backlog; and what a backlog costs a
//! restart.

use crate::load::Load;
use crate::meter;
use crate::options::Options;
use crate::process::{self, Result};
use crate::service::Service;
use crate::sink;
use crate::throughput::Stage;
use crate::{names, say};
use std::time::{Duration, Instant};

/// After a start, until what it does at first is done.
const CALM: Duration = Duration::from_secs(2);
/// Connections over which the backlog comes.
const CONNECTIONS: u64 = 20;
/// How long a new message may take through a service with a backlog before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn idle(options: &Options) -> Result<()> {
    let stage = Stage::set()?;
    let mut service = Service::start(options, stage.names, stage.sink_address.port())?;
    std::thread::sleep(CALM);
    say(&format!(
        "\nIdle: RssAnon {:.1} MiB, {} s after its start (wanted: under 20)",
        memory(&service)?,
        CALM.as_secs()
    ))?;
    service.stop().map(|_| ())
}

pub(crate) fn backlog(options: &Options) -> Result<()> {
    let mut stage = Stage::set()?;
    let mut service = Service::start(options, stage.names, stage.sink_address.port())?;
    std::thread::sleep(CALM);
    let idle = memory(&service)?;
    say(&format!(
        "\nBacklog: {} messages for a domain whose mail host refuses connections",
        options.backlog
    ))?;

    let mut peak = idle;
    let load = to(&service, options.backlog, CONNECTIONS, names::DEAD);
    let sent = stage.send(load, || {
        peak = peak.max(memory(&service)?);
        Ok(())
    })?;
    std::thread::sleep(CALM);
    let held = memory(&service)?;
    let seconds = sent.ended.saturating_sub(sent.began) as f64 / 1e6;
    say(&format!(
        "  accepted       {} in {seconds:.1} s, {:.0}/s",
        sent.accepted,
        sent.accepted as f64 / seconds
    ))?;
    if !sent.trouble.is_empty() {
        say(&format!("  not accepted   {} messages: {}", options.backlog - sent.accepted, sent.trouble))?;
    }
    say(&format!(
        "  RssAnon, MiB   {idle:.1} idle, {peak:.1} at most, {held:.1} after: {:+.1} (wanted: under +30)",
        held.max(peak) - idle
    ))?;
    say(&format!("  spool on disk  {:.0} MiB", service.spool_octets() as f64 / 1024.0 / 1024.0))?;
    check_queue(&service, sent.accepted)?;

    let stopped = service.stop()?;
    let began = Instant::now();
    let greeted = service.restart()?;
    let before = stage.tally(0)?;
    let fresh = stage.send(to(&service, 1, 1, names::LIVE), || Ok(()))?;
    let accepted = began.elapsed();
    process::wait_for(sink::ask(stage.sink_address, before.messages + fresh.accepted, PATIENCE))?;
    let delivered = began.elapsed();
    std::thread::sleep(CALM);
    say(&format!("  orderly stop   {:.2} s", stopped.as_secs_f64()))?;
    say(&format!(
        "  restart, s     {:.3} to the greeting, {:.3} until a new message is accepted (wanted: under 1), {:.3} delivered",
        greeted.as_secs_f64(),
        accepted.as_secs_f64(),
        delivered.as_secs_f64()
    ))?;
    say(&format!("  RssAnon, MiB   {:.1} after the restart", memory(&service)?))?;
    check_queue(&service, sent.accepted)?;
    service.stop().map(|_| ())
}

fn to(service: &Service, messages: u64, connections: u64, domain: &str) -> Load {
    let (server, domain) = (service.address, domain.to_owned());
    Load { server, connections, messages, first: 0, kept: true, pipelining: false, domain }
}

fn check_queue(service: &Service, accepted: u64) -> Result<()> {
    let queued = service.queued()?;
    if queued == accepted {
        return Ok(());
    }
    Err(format!("{accepted} messages were accepted, {queued} are in the queue; its log:\n{}", service.log())
        .into())
}

/// Of the service, in MiB.
fn memory(service: &Service) -> Result<f64> {
    Ok(meter::memory(service.id()?)? as f64 / 1024.0)
}
