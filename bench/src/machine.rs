//! On what all this was measured.

use crate::process::Result;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long syncs are tried.
const SYNCS: Duration = Duration::from_millis(500);

/// Kernel, processors, and how often the disk of `dir` syncs in a second when one thread asks.
pub(crate) fn line(dir: &Path) -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processors = fs::read_to_string("/proc/cpuinfo")?;
    let model = processors
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1));
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "Linux {}, {} x {}; load {} before; {} syncs/s of 4 KiB appended, one at a time",
        kernel.trim(),
        std::thread::available_parallelism()?,
        model.unwrap_or("unknown processor"),
        load.split(' ').next().unwrap_or_default(),
        syncs(dir)?,
    ))
}

fn syncs(dir: &Path) -> Result<u64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < SYNCS {
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        count += 1;
    }
    Ok((f64::from(count) / began.elapsed().as_secs_f64()) as u64)
}
