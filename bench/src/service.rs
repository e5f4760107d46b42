//! Postroad, as an administrator runs it.

use crate::options::Options;
use crate::process::{Process, Result};
use std::fs::File;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start, an orderly end or an answer may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service with a data folder of its own. Its log goes to a file, in the usual form; mail is synced before its 250.
pub(crate) struct Service {
    // Before the folder: fields are dropped in order.
    process: Option<Process>,
    pub(crate) address: SocketAddr,
    program: PathBuf,
    dir: TempDir,
}

impl Service {
    /// Starts one that asks `names` and delivers at `port` of the hosts it finds; waits until it greets.
    pub(crate) fn start(options: &Options, names: SocketAddr, port: u16) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&options.dir)?;
        let address = free_address()?;
        let text = format!(
            "[\"/LM/SmtpSvc\"]\nDnsServers = [\"{names}\"]\nNextHopRefused = []\nRemoteSmtpPort = {port}\n\n\
             [\"/LM/SmtpSvc/1\"]\nServerBindings = [\"{address}:\"]\nFullyQualifiedDomainName = \"relay.bench.example\"\n"
        );
        std::fs::write(dir.path().join("bench.toml"), text)?;
        let mut service = Self { process: None, address, program: options.program.clone(), dir };
        service.restart()?;
        Ok(service)
    }

    /// Starts it on the data it has, and waits until it greets. How long that took.
    pub(crate) fn restart(&mut self) -> Result<Duration> {
        let log = File::options().create(true).append(true).open(self.dir.path().join("postroad.log"))?;
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let words = ["serve", "--quiet", "--data", &path("data"), "--config", &path("bench.toml")];
        let began = Instant::now();
        let mut process = Process::program("postroad", &self.program, &words.map(String::from), log)?;
        while !greets(self.address) {
            process.check().map_err(|error| format!("{error}; it said:\n{}", self.log()))?;
            if began.elapsed() > PATIENCE {
                return Err("postroad does not greet".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.process = Some(process);
        Ok(began.elapsed())
    }

    /// Ends it in order. How long that took.
    pub(crate) fn stop(&mut self) -> Result<Duration> {
        let began = Instant::now();
        if let Some(process) = self.process.take() {
            process.terminate(PATIENCE)?;
        }
        Ok(began.elapsed())
    }

    /// Its process.
    pub(crate) fn id(&self) -> Result<u32> {
        Ok(self.process.as_ref().ok_or("postroad does not run")?.id())
    }

    /// Messages in its queue, as `postroad status` tells them.
    pub(crate) fn queued(&self) -> Result<u64> {
        let data = self.dir.path().join("data");
        let output =
            Command::new(&self.program).arg("--data").arg(data).args(["status", "--json"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let digits = text.split("\"messages\":").nth(1).map(|rest| rest.trim_start().chars());
        let digits: String = digits.into_iter().flatten().take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().map_err(|_| format!("postroad status does not count the queue: {text:?}"))?)
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read(self.dir.path().join("postroad.log")).unwrap_or_default();
        let end = text.get(text.len().saturating_sub(2000)..).unwrap_or_default();
        String::from_utf8_lossy(end).into_owned()
    }

    /// Octets of its spool's database and log; messages of the bench are nowhere else.
    pub(crate) fn spool_octets(&self) -> u64 {
        let files = std::fs::read_dir(self.dir.path().join("data/spool")).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
    }
}

/// An address at which nothing listens: the system does not give it out again for a while.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn greets(address: SocketAddr) -> bool {
    let mut greeting = [0; 4];
    TcpStream::connect(address).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).is_ok()
            && stream.read_exact(&mut greeting).is_ok()
            && &greeting == b"220 "
    })
}
