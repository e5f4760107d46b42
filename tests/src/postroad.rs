//! Postroad itself, as an administrator runs it.

use crate::ports::Port;
use crate::proc::Process;
use crate::wait;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The program, built beside the tests.
///
/// # Panics
/// If it is not there: a test cannot build it, `make` does.
#[must_use]
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    // target/PROFILE/deps/TEST, and target/PROFILE/postroad.
    let program = test.parent().and_then(Path::parent).expect("target/PROFILE/deps").join("postroad");
    assert!(program.is_file(), "{} is missing: cargo build -p postroad", program.display());
    program
}

/// What a test sets in the configuration; the rest is as in a fresh install, but that times are short.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `SmtpUseTcpDns`; none: adaptive.
    pub policy: Option<u32>,
    /// `DnsServers`; none: the system's.
    pub dns: Vec<SocketAddr>,
    /// `RemoteSmtpPort`; 0: as in a fresh install.
    pub remote_port: u16,
    /// More lines under `/LM/SmtpSvc`. A line of a property that is set here anyway replaces it.
    pub service: String,
    /// More lines under `/LM/SmtpSvc/1`, of which the same holds; further tables may follow.
    pub server: String,
}

impl Config {
    /// As TOML, for a server at `binding`.
    fn text(&self, binding: SocketAddr) -> String {
        let quoted: Vec<String> = self.dns.iter().map(|server| format!("\"{server}\"")).collect();
        let mut usual = vec![
            ("DnsServers", format!("[{}]", quoted.join(", "))),
            ("NextHopRefused", "[]".to_owned()),
            ("DnsRetry", "\"500ms\"".to_owned()),
            ("DnsProbe", "\"200ms..1s\"".to_owned()),
            ("DnsTimeouts", "\"udp=400ms,connect=1500ms,reply=3s,lookup=10s\"".to_owned()),
            ("SmtpRemoteProgressiveRetry", "\"1s\"".to_owned()),
        ];
        usual.extend(self.policy.map(|policy| ("SmtpUseTcpDns", policy.to_string())));
        usual.extend((self.remote_port != 0).then(|| ("RemoteSmtpPort", self.remote_port.to_string())));
        let server = [
            ("ServerBindings", format!("[\"{binding}:\"]")),
            ("FullyQualifiedDomainName", format!("\"{NAME}\"")),
        ];
        format!(
            "[\"/LM/SmtpSvc\"]\n{}[\"/LM/SmtpSvc/1\"]\n{}",
            with_usual(&usual, &self.service),
            with_usual(&server, &self.server)
        )
    }
}

/// The usual lines but for those that a test sets, then the test's.
fn with_usual(usual: &[(&str, String)], of_test: &str) -> String {
    let set_by_test = |name: &str| of_test.lines().any(|line| line.split(' ').next() == Some(name));
    let kept = usual.iter().filter(|(name, _)| !set_by_test(name));
    kept.map(|(name, value)| format!("{name} = {value}\n")).collect::<String>() + of_test + "\n"
}

/// The service's own name, which is its local domain too.
pub const NAME: &str = "mail.test.example";

/// For `Config::service`: what waits is not tried again by itself while a test lasts.
pub const PATIENT: &str = "SmtpRemoteProgressiveRetry = \"1h\"\nDnsRetry = \"1h\"\nDnsProbe = \"1h..1h\"";

/// A running service with a data folder of its own.
#[derive(Debug)]
pub struct Postroad {
    port: Port,
    // Before the folder: fields are dropped in order.
    process: Option<Process>,
    dir: TempDir,
    flags: Vec<String>,
    /// Whether its configuration is pinned by `serve --config`; else it is in its metabase.
    is_pinned: bool,
}

impl Postroad {
    /// Starts it and waits for its greeting.
    ///
    /// # Panics
    /// If it does not greet.
    #[must_use]
    pub fn start(config: &Config) -> Self {
        Self::start_with(config, &[])
    }

    /// As `start`, with more flags of `serve`.
    ///
    /// # Panics
    /// If it does not greet.
    #[must_use]
    pub fn start_with(config: &Config, flags: &[&str]) -> Self {
        let mut service = Self::prepare(config, flags);
        service.restart();
        service
    }

    /// As `start_with`, under `strace`: `options` are strace's. Its own process is then strace's.
    ///
    /// # Panics
    /// If it does not greet.
    #[must_use]
    pub fn start_traced(config: &Config, flags: &[&str], options: &[&str]) -> Self {
        let mut service = Self::prepare(config, flags);
        let mut args: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Whatever ends strace ends what it runs.
        args.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned));
        args.push(program().display().to_string());
        args.extend(service.serve_args());
        service.run_process(&crate::proc::find("strace"), &args);
        service
    }

    /// Its configuration and a port, but nothing that runs: `restart` starts it.
    ///
    /// # Panics
    /// If the configuration cannot be written.
    #[must_use]
    pub fn prepare(config: &Config, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let service = Self { port: Port::free(), process: None, dir, flags, is_pinned: true };
        service.configure(config);
        service
    }

    /// As `prepare`, but that the configuration is in its metabase, at `/LM/SmtpSvc/1`, where every property can be changed.
    ///
    /// # Panics
    /// If the configuration is not taken.
    #[must_use]
    pub fn prepare_stored(config: &Config) -> Self {
        let mut service = Self::prepare(config, &[]);
        service.is_pinned = false;
        // All at the server: what a fresh install has there hides what is above it.
        let text = config.text(service.address());
        let text =
            text.replacen("[\"/LM/SmtpSvc/1\"]\n", "", 1).replacen("/LM/SmtpSvc\"", "/LM/SmtpSvc/1\"", 1);
        let file = service.dir.path().join("stored.toml").display().to_string();
        std::fs::write(&file, text).expect("a file");
        let taken = service.verb(&["meta", "apply", &file]);
        assert_eq!(taken.status, 0, "{taken:?}");
        service
    }

    /// As `start`, of `prepare_stored`.
    ///
    /// # Panics
    /// If it does not greet.
    #[must_use]
    pub fn start_stored(config: &Config) -> Self {
        let mut service = Self::prepare_stored(config);
        service.restart();
        service
    }

    /// Writes another configuration, which it reads when it is started again, or told to by `reload`.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn configure(&self, config: &Config) {
        let text = config.text(self.address());
        std::fs::write(self.dir.path().join("postroad.toml"), text).expect("a configuration");
    }

    /// SIGHUP.
    pub fn reload(&mut self) {
        self.process().signal("HUP");
    }

    /// SIGTERM, and waits until it has ended in good order.
    ///
    /// # Panics
    /// If it does not end within `STOP_WITHIN`, or with another exit status than 0.
    pub fn stop(&mut self) {
        self.process().signal("TERM");
        let status = self.process().wait_end(STOP_WITHIN);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Starts it where it cannot start; gives its exit status and what it said.
    ///
    /// # Panics
    /// If it does not end.
    pub fn fail_to_start(&mut self) -> (Option<i32>, String) {
        drop(self.process.take());
        let before = self.log().len();
        let mut process = Process::start("postroad", self.dir.path(), &program(), &self.serve_args());
        let status = process.wait_end(wait::PATIENCE);
        (status.code(), process.said().split_off(before))
    }

    /// Starts it (again, after `kill`) on the same data and waits for its greeting.
    ///
    /// # Panics
    /// If it does not greet.
    pub fn restart(&mut self) {
        let args = self.serve_args();
        self.run_process(&program(), &args);
    }

    fn serve_args(&self) -> Vec<String> {
        let config = self.dir.path().join("postroad.toml").display().to_string();
        let mut args = vec!["--data".to_owned(), self.data().display().to_string()];
        args.push("serve".to_owned());
        if self.is_pinned {
            args.extend(["--config".to_owned(), config]);
        }
        if !self.flags.iter().any(|flag| flag == "--log") {
            args.extend(["--log", "json"].map(str::to_owned));
        }
        args.extend(self.flags.iter().cloned());
        args
    }

    fn run_process(&mut self, program: &Path, args: &[String]) {
        drop(self.process.take());
        let address = self.address();
        let mut process = Process::start("postroad", self.dir.path(), program, args);
        process.wait_ready("greets", || greets(address));
        self.process = Some(process);
    }

    /// Where it listens for SMTP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.local()
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The folder of this test's files: configuration, log, data.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process, while it runs.
    ///
    /// # Panics
    /// After `kill`.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("it runs")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process().kill();
    }

    /// What it has written to standard error, over all its runs: JSON, a line each, unless its flags say `--log human`.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("postroad.log")).unwrap_or_default()
    }

    /// Anonymous memory in KiB: `RssAnon`, which leaves out the program's own pages and files.
    ///
    /// # Panics
    /// If it does not run.
    #[must_use]
    pub fn memory_kib(&mut self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process().id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Runs `postroad --data DIR ARGS...`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn verb(&self, args: &[&str]) -> Verb {
        self.verb_reading(args, b"")
    }

    /// As `verb`, with something to read from standard input.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn verb_reading(&self, args: &[&str], input: &[u8]) -> Verb {
        let data = self.data().display().to_string();
        run(&[&["--data", &data], args].concat(), input)
    }

    /// Runs a verb with `--json` that must succeed, and gives what it printed: lists are an object a line.
    ///
    /// # Panics
    /// If it fails or prints anything else.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        let verb = self.verb(&args);
        assert_eq!(verb.status, 0, "{args:?}: {verb:?}");
        verb.json()
    }

    /// `queue list`: a row a recipient.
    #[must_use]
    pub fn queue(&self) -> Vec<Value> {
        self.json(&["queue", "list"])
    }

    /// Waits until nothing is in the queue.
    ///
    /// # Panics
    /// If `limit` is over before.
    pub fn wait_drained(&self, limit: Duration) {
        wait::within(limit, "an empty queue", || self.queue().is_empty().then_some(()));
    }

    /// Waits until a row of `queue list` for `recipient` says `deferred`, and gives it.
    ///
    /// # Panics
    /// After `wait::PATIENCE`.
    pub fn wait_deferred(&self, recipient: &str) -> Value {
        wait::within(wait::PATIENCE, &format!("{recipient} is deferred"), || {
            let row = self.queue().into_iter().find(|row| row["recipient"] == recipient)?;
            (row["state"] == "deferred").then_some(row)
        })
    }

    /// `events list`, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        self.json(&["events", "list"])
    }

    /// Waits until an event of that number is listed, and gives the newest of them.
    ///
    /// # Panics
    /// After `wait::PATIENCE`.
    pub fn wait_event(&self, number: u64) -> Value {
        wait::within(wait::PATIENCE, &format!("event {number}"), || {
            self.events().into_iter().rev().find(|event| event["number"] == number)
        })
    }
}

/// The time that an orderly end may take.
pub const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Runs `postroad ARGS...` with something to read from standard input.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn run(args: &[&str], input: &[u8]) -> Verb {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postroad starts");
    // A verb that does not read its input closes it.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    Verb::from(child.wait_with_output().expect("postroad ends"))
}

/// A verb that has ended.
#[derive(Clone, Debug)]
pub struct Verb {
    /// Its exit status; -1 if a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Verb {
    /// Standard output as JSON values, one a line.
    ///
    /// # Panics
    /// If a line is none.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {self:?}")))
            .collect()
    }
}

impl From<Output> for Verb {
    fn from(output: Output) -> Self {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

/// The queue id in the reply to a message: 13 digits of Crockford's base 32.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn queue_id(reply: &str) -> String {
    let words = reply.split(|c: char| !c.is_ascii_alphanumeric());
    let id = words
        .into_iter()
        .find(|word| word.len() == 13 && !word.bytes().any(|octet| octet.is_ascii_lowercase()));
    id.unwrap_or_else(|| panic!("no queue id in {reply:?}")).to_owned()
}

/// Whether an SMTP server greets at `address`.
fn greets(address: SocketAddr) -> bool {
    let mut greeting = [0; 4];
    TcpStream::connect(address).is_ok_and(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
            && stream.read_exact(&mut greeting).is_ok()
            && &greeting == b"220 "
    })
}
