//! Processes: the parts that this program itself is, and the children that it starts.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What went wrong, in words: nothing here is handled, all of it ends the run.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Between two looks at a child.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a part on a runtime like Postroad's: one thread, local tasks. It ends with whoever started it, who holds the other end
/// of its standard input.
pub(crate) fn local<T>(part: impl Future<Output = Result<T>>) -> Result<T> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    wait_for(part)
}

/// Runs a future to its end.
pub(crate) fn wait_for<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// Says where a part listens.
pub(crate) fn announce(address: SocketAddr) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{address}")?;
    Ok(out.flush()?)
}

/// Microseconds since 1970: the one clock that all processes share.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A child, which is killed when this is dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts a part of this program; `name` is for errors.
    pub(crate) fn part(name: &'static str, words: &[String]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self { name, child: command.spawn()? })
    }

    /// Starts another program, its standard error in `log`.
    pub(crate) fn program(name: &'static str, program: &Path, words: &[String], log: File) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            command.spawn().map_err(|error| format!("{} does not start: {error}", program.display()))?;
        Ok(Self { name, child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where a part says that it listens.
    pub(crate) fn announced(&mut self) -> Result<SocketAddr> {
        let mut line = String::new();
        if let Some(out) = self.child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        Ok(line
            .trim()
            .parse()
            .map_err(|_| format!("the {} does not say where it listens: {line:?}", self.name))?)
    }

    /// Whether it has ended, which a server must not.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the {} ended by itself: {status}", self.name).into()),
        }
    }

    /// Waits for its end, and calls `meanwhile` now and then; gives what it printed.
    pub(crate) fn finish(
        mut self,
        patience: Duration,
        mut meanwhile: impl FnMut() -> Result<()>,
    ) -> Result<String> {
        let until = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= until {
                return Err(format!("the {} has not ended within {} s", self.name, patience.as_secs()).into());
            }
            meanwhile()?;
            std::thread::sleep(LOOK);
        };
        if !status.success() {
            return Err(format!("the {} failed: {status}", self.name).into());
        }
        let mut said = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut said)?;
        }
        Ok(said)
    }

    /// Ends it in order, with SIGTERM. The standard library sends SIGKILL alone, so a shell sends this.
    pub(crate) fn terminate(self, patience: Duration) -> Result<()> {
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.id())]).status()?;
        if !sent.success() {
            return Err(format!("the {} could not be sent SIGTERM", self.name).into());
        }
        self.finish(patience, || Ok(())).map(|_| ())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
