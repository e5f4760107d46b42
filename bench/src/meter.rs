//! What a process uses, as the kernel counts it.

use crate::process::Result;
use std::fs;

/// Clock ticks a second in `/proc/PID/stat`: what the kernel shows programs, whatever its own is.
const TICKS: u64 = 100;

/// CPU time since a process began, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// Of all threads.
    pub(crate) total: u64,
    /// Of those of `total` that are called `store`.
    pub(crate) store: u64,
    /// Told in ticks of 10 ms: good for the proportion of the two.
    user: u64,
    system: u64,
}

impl Cpu {
    /// Of a process as it is now. Threads that have ended are not counted; the ones that carry mail do not end.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let mut cpu = Self::default();
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let path = task?.path();
            // A thread may end between the two looks.
            let (Ok(used), Ok(name)) =
                (fs::read_to_string(path.join("schedstat")), fs::read_to_string(path.join("comm")))
            else {
                continue;
            };
            let used: u64 = used.split(' ').next().unwrap_or_default().parse()?;
            cpu.total += used;
            if name.trim() == "store" {
                cpu.store += used;
            }
        }
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        // Behind the name, which may have spaces and parentheses: utime and stime are fields 14 and 15 of all.
        let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/PID/stat has no name")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<u64>);
        let (Some(Ok(user)), Some(Ok(system))) = (ticks.next(), ticks.next()) else {
            return Err("/proc/PID/stat has no times".into());
        };
        cpu.user = user * (1_000_000_000 / TICKS);
        cpu.system = system * (1_000_000_000 / TICKS);
        Ok(cpu)
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            total: self.total.saturating_sub(earlier.total),
            store: self.store.saturating_sub(earlier.store),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
        }
    }

    /// The part of `total` that was spent in the program itself and not in the kernel, as ticks tell it.
    pub(crate) fn user(self) -> u64 {
        let ticks = self.user + self.system;
        if ticks == 0 {
            0
        } else {
            (u128::from(self.total) * u128::from(self.user) / u128::from(ticks)) as u64
        }
    }
}

/// Memory of its own that a process holds, in KiB: `RssAnon`, which leaves out files and the program itself.
pub(crate) fn memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .ok_or("/proc/PID/status has no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
