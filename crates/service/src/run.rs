//! The life of a service: from its data folder to its last flush.

use crate::clock::Clock;
use crate::control::{self, Desk};
use crate::data::{self, DataDir, DataError};
use crate::hub::{Hub, Parts};
use crate::listen::Listeners;
use crate::live::Running;
use crate::metabase::{Live, Registry, Used};
use crate::report::{LogForm, Report};
use crate::resolver::{DnsNews, DnsShell};
use crate::store::{self, StoreHandle, StoreReply};
use crate::{configuration, tls};
use postroad_control::{Failed, FailedKind, SOCKET};
use postroad_engine::queue::QueueInput;
use postroad_events::fact::Fact;
use postroad_events::log::EventLog;
use postroad_mail::time::Wall;
use postroad_metabase::settings::Settings;
use postroad_spool::sqlite::{Options, Synchronous};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, mpsc};

/// How long an orderly end may take: what is at its final dot is finished, what was settled is written.
const STOP_TIME_MAX: Duration = Duration::from_secs(9);
/// How often resolv.conf is looked at.
const RESOLV_CONF_EVERY: Duration = Duration::from_secs(5);
/// How often it is seen to what is due in the metabase: an undo, a backup, a pair of history files.
const METABASE_EVERY: Duration = Duration::from_secs(1);

/// How to serve.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The data folder.
    pub data: PathBuf,
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// How the log is written.
    pub log: LogForm,
    /// Nothing is synced. It exists so that the test of syncing can be seen to fail.
    pub unsafe_no_sync: bool,
    /// Without the words for newcomers.
    pub quiet: bool,
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration: file, line, what is wrong, what to do; one error a line.
    #[error("{0}")]
    Configuration(String),
    /// The data folder, the spool, a binding.
    #[error("{0}")]
    Unavailable(String),
    /// Another service has the data folder.
    #[error("{0}")]
    InUse(String),
}

impl ServeError {
    /// The exit status that says so.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Configuration(_) => 2,
            Self::Unavailable(_) => 69,
            Self::InUse(_) => 75,
        }
    }
}

/// Serves until a signal ends it in order.
///
/// # Errors
/// When it cannot start; nothing is left half-started.
pub fn run(options: ServeOptions) -> Result<(), ServeError> {
    run_until(options, std::future::pending(), |_| {})
}

/// Serves until `ends` says why it is to end, or a signal comes. `ready` is told where it listens.
///
/// # Errors
/// As `run`.
pub fn run_until(
    options: ServeOptions,
    ends: impl Future<Output = String>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    // The configuration is judged before anything is touched.
    configuration::pins(options.config.as_ref()).map_err(ServeError::from)?;
    let dir = DataDir::create(&options.data).map_err(|error| match error {
        DataError::InUse(_) => {
            ServeError::InUse(format!("{error}. End it, or name another folder with --data"))
        }
        error => ServeError::Unavailable(error.to_string()),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| ServeError::Unavailable(format!("the runtime does not start: {error}")))?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, serve(&options, &dir, ends, ready));
    // Tasks that still run are sessions and attempts beyond their time: they end with the runtime.
    drop(local);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

impl From<Failed> for ServeError {
    fn from(failed: Failed) -> Self {
        match failed.kind {
            FailedKind::Usage => Self::Configuration(failed.what),
            _ => Self::Unavailable(failed.what),
        }
    }
}

async fn serve(
    options: &ServeOptions,
    dir: &DataDir,
    ends: impl Future<Output = String>,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    // Before anything else, so that no signal finds the system's own answer, which is to end without order.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let [Ok(terminate), Ok(interrupt), Ok(hangup)] = kinds.map(signal) else {
        return Err(ServeError::Unavailable(String::from("the system delivers no signals")));
    };
    let mut signals = [terminate, interrupt, hangup];
    let mut service = Service::prepare(options, dir)?;
    let hub = Rc::clone(&service.hub);
    let report = Rc::clone(&service.report);
    let listeners = Rc::clone(&service.running.listeners);
    // Nothing is delivered before all bindings are ours: a service that cannot start has done nothing.
    let settings = hub.settings();
    match service.running.prepare(&settings) {
        Ok(prepared) => service.running.listeners.set(&hub, &settings.bindings, prepared),
        Err(what) => {
            finish(&hub, &report);
            return Err(ServeError::Unavailable(what));
        }
    }
    let control = match control::bind(&dir.path) {
        Ok(control) => control,
        Err(error) => {
            finish(&hub, &report);
            return Err(ServeError::Unavailable(format!("the control socket cannot be made: {error}")));
        }
    };
    // A port that the system chose is known from here on.
    service.running.tell_resolver();
    hub.tell_damage();
    service.carry();
    hub.until_started().await;
    let bindings = listeners.bound();
    report.state(Fact::Started { version: String::from(env!("CARGO_PKG_VERSION")), bindings });
    if !options.quiet {
        service.welcome();
    }
    let desk = Rc::new(Desk {
        hub: Rc::clone(&hub),
        listeners: Rc::clone(&listeners),
        running: Rc::clone(&service.running),
        registry: Rc::clone(&service.registry),
        data: dir.path.clone(),
        config: options.config.clone(),
        started: service.started,
    });
    let answering = tokio::task::spawn_local(control::serve(desk, control));
    ready(&listeners.bound());
    let cause = service.watch(&mut signals, ends).await;
    service.stop().await;
    // Nothing can be done about one that is not written, and it is no part of what was promised.
    let _ = service.registry.lock().await.write_history_if_changed(hub.clock.now().wall).await;
    answering.abort();
    report.state(Fact::Stopped { cause });
    let _ = std::fs::remove_file(dir.path.join(SOCKET));
    finish(&hub, &report);
    Ok(())
}

/// Writes what is left to write.
fn finish(hub: &Rc<Hub>, report: &Rc<Report>) {
    hub.keep_pending_events();
    hub.store.stop();
    report.end();
}

/// The event log; without one events are told on stderr alone.
fn open_events(dir: &DataDir, report: &Rc<Report>) -> Option<EventLog> {
    let path = dir.path.join(data::EVENTS);
    match EventLog::open(&path) {
        Ok(log) => Some(log),
        Err(error) => {
            report.note(&format!(
                "The event log {} cannot be used: {error}. Events are told here alone.",
                path.display()
            ));
            None
        }
    }
}

struct Service {
    options: ServeOptions,
    dir: PathBuf,
    hub: Rc<Hub>,
    report: Rc<Report>,
    running: Rc<Running>,
    registry: Rc<Mutex<Registry>>,
    started: Wall,
    /// What the hub is to hear, until it does.
    ears: Option<(mpsc::UnboundedReceiver<StoreReply>, mpsc::UnboundedReceiver<DnsNews>)>,
}

impl Service {
    /// Opens and reads everything; nothing moves yet.
    fn prepare(options: &ServeOptions, dir: &DataDir) -> Result<Self, ServeError> {
        let clock = Clock::start();
        let registry = Registry::open(&dir.path, Used::ToServe(options.config.clone()), clock.now().wall)?;
        let published = registry.published();
        let settings = published.load();
        let unavailable = |what: String| ServeError::Unavailable(what);
        let report = Report::new(clock.clone(), options.log);
        let report = Rc::new(report.map_err(|error| unavailable(format!("no thread starts: {error}")))?);
        let spool = dir.path.join(data::SPOOL);
        let synchronous = if options.unsafe_no_sync { Synchronous::Off } else { Synchronous::Full };
        if options.unsafe_no_sync {
            report.note("Nothing is synced to disk: mail that gets its 250 is lost with the power. This is for tests alone.");
        }
        let store_options = Options { synchronous, ..Options::default() };
        let store = store::open(&spool, &store_options).map_err(|error| unavailable(error.to_string()))?;
        let events = open_events(dir, &report);
        let (tls, made) = tls::load(&dir.path, settings.fqdn.as_str()).map_err(unavailable)?;
        if let Some(file) = made {
            let file = file.display().to_string();
            report.state(Fact::CertificateMade { name: settings.fqdn.clone(), file });
        }
        let [Ok(seed), Ok(dns_seed)] = [data::seed(), data::seed()] else {
            return Err(unavailable(String::from("the system has no randomness to give")));
        };
        let (store, replies) = StoreHandle::start(store, store_options, spool.clone(), events, clock.clone())
            .map_err(|error| unavailable(format!("the store's thread does not start: {error}")))?;
        let dns_settings = configuration::dns_settings(&settings, &settings.bindings);
        let servers = dns_settings.servers.clone();
        let (dns, news) = DnsShell::start(dns_settings, clock.clone(), dns_seed);
        let started = clock.now().wall;
        let parts = Parts { clock, published, report: Rc::clone(&report), store, dns, tls, spool, seed };
        let hub = Hub::new(parts);
        let listeners = Rc::new(Listeners::default());
        let running = Running::new(Rc::clone(&hub), Rc::clone(&report), listeners, servers);
        Ok(Self {
            options: options.clone(),
            dir: dir.path.clone(),
            hub,
            report,
            running: Rc::new(running),
            registry: Rc::new(Mutex::new(registry)),
            started,
            ears: Some((replies, news)),
        })
    }

    /// From here on mail moves.
    fn carry(&mut self) {
        if let Some((replies, news)) = self.ears.take() {
            self.hub.start(replies, news);
        }
    }

    /// What a newcomer needs.
    fn welcome(&self) {
        let join = |addresses: &[SocketAddr]| {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let servers = self.running.servers.borrow();
        let servers = if servers.is_empty() { String::from("none: set DnsServers") } else { join(&servers) };
        // As it was called: it need not be on the path.
        let program = std::env::args().next().unwrap_or_else(|| String::from("postroad"));
        let verbs = format!("{program} --data {}", self.options.data.display());
        let (version, smtp) = (env!("CARGO_PKG_VERSION"), join(&self.running.listeners.bound()));
        let settings = self.hub.settings();
        let (name, domain) = (&settings.fqdn, &settings.default_domain);
        self.report.say(&format!(
            "\nPostroad {version} is ready.\n  SMTP           {smtp}\n  name           {name}\n  data           {}\n  \
             name servers   {servers}\n\nTry, in another terminal:\n  \
             printf 'Subject: hello\\n\\nHello.\\n' | {verbs} send -f me@{domain} postmaster@{domain}\n  \
             {verbs} status\n  {verbs} queue list\n  {program} dns mx example.org\n  {program} lab kb330070\n\n\
             SIGTERM or Ctrl-C ends it in order; SIGHUP reads the configuration again.\n",
            self.dir.display(),
        ));
    }

    /// Waits for a signal that ends the service, and sees to the others. Returns why it ends.
    async fn watch(&self, signals: &mut [Signal; 3], ends: impl Future<Output = String>) -> String {
        let [terminate, interrupt, hangup] = signals;
        let mut look = tokio::time::interval(RESOLV_CONF_EVERY);
        let mut every_second = tokio::time::interval(METABASE_EVERY);
        every_second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ends = std::pin::pin!(ends);
        loop {
            tokio::select! {
                cause = &mut ends => return cause,
                _ = terminate.recv() => return String::from("signal SIGTERM"),
                _ = interrupt.recv() => return String::from("signal SIGINT"),
                _ = hangup.recv() => self.reread().await,
                _ = look.tick() => self.running.look_at_resolv_conf(),
                _ = every_second.tick() => self.tick().await,
            }
        }
    }

    /// Reads the configuration again; one that is refused changes nothing.
    async fn reread(&self) {
        let file = self.options.config.as_ref().map(|path| path.display().to_string());
        let file = file.unwrap_or_else(|| String::from("(no file)"));
        let before = self.hub.settings();
        let now = self.hub.clock.now().wall;
        let read = self.registry.lock().await.reread(now, self.running.as_ref()).await;
        match read {
            Ok(()) => {
                let changes = changes(&before, &self.hub.settings());
                self.report.state(Fact::ConfigurationAccepted { file: file.clone() });
                self.report.state(Fact::ConfigurationRead { file, changes });
            }
            Err(cause) => self.report.state(Fact::ConfigurationRefused { file, cause }),
        }
    }

    /// Sees to what is due in the metabase.
    async fn tick(&self) {
        let now = self.hub.clock.now().wall;
        let said = self.registry.lock().await.tick(now, self.running.as_ref()).await;
        for said in said {
            match said {
                Ok(what) => self.report.note(&what),
                Err(cause) => self.report.state(Fact::MetabaseTroubled { cause }),
            }
        }
    }

    /// Ends in order: no new client, what is at its final dot is finished, what was settled is written.
    async fn stop(&self) {
        self.running.listeners.close();
        self.hub.stopping.set(true);
        self.hub.stop.notify_waiters();
        let stopping = async {
            while self.hub.inbound.get() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.hub.tell(QueueInput::Stop);
            self.hub.stopped.notified().await;
        };
        if tokio::time::timeout(STOP_TIME_MAX, stopping).await.is_err() {
            // Sessions in the midst of their content and attempts that wait for a host are cut off: none of that was
            // promised. What was settled is written all the same.
            self.hub.tell(QueueInput::Stop);
            let _ = tokio::time::timeout(Duration::from_millis(500), self.hub.stopped.notified()).await;
        }
    }
}

/// The names of settings that differ, for the administrator.
fn changes(before: &Settings, after: &Settings) -> String {
    let mut names = Vec::new();
    let mut compare = |name: &'static str, differs: bool| {
        if differs {
            names.push(name);
        }
    };
    compare("ServerBindings", before.bindings != after.bindings);
    compare("FullyQualifiedDomainName", before.fqdn != after.fqdn);
    compare("DefaultDomain", before.default_domain != after.default_domain);
    compare("RelayIpList", before.relay != after.relay);
    compare("SmartHost", before.smart_host != after.smart_host);
    compare("the DNS properties", before.dns != after.dns);
    compare("NextHopRefused", before.next_hop_refused != after.next_hop_refused);
    compare("RemoteSmtpPort", before.remote_port != after.remote_port);
    compare("SmtpRemoteProgressiveRetry", before.retry != after.retry);
    compare("AlwaysUseSsl", before.tls_required != after.tls_required);
    let backups = |settings: &Settings| (settings.backup_every, settings.backup_keep);
    compare("BackupEvery or BackupKeep", backups(before) != backups(after));
    let same_number = Settings { generation: after.generation, ..before.clone() };
    if same_number != *after && names.is_empty() {
        names.push("limits or folders");
    }
    if names.is_empty() { String::from("nothing") } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::{ServeError, ServeOptions, changes, run_until};
    use crate::data;
    use crate::report::LogForm;
    use postroad_control::SOCKET;
    use postroad_events::log::{EventLog, Filter};
    use postroad_metabase::settings::Settings;
    use std::path::Path;
    use std::time::Duration;

    fn check(change: impl FnOnce(&mut Settings), expected: &str) {
        let before = Settings::fresh(Path::new("/d"), "mail.example");
        // Each state of the metabase has a number of its own, whatever differs.
        let mut after = Settings { generation: before.generation + 1, ..before.clone() };
        change(&mut after);
        assert_eq!(changes(&before, &after), expected);
    }

    #[test]
    fn what_differs_is_named() {
        check(|_| {}, "nothing");
        check(|after| after.tls_required = true, "AlwaysUseSsl");
        check(|after| after.backup_every = Some(Duration::from_secs(7200)), "BackupEvery or BackupKeep");
        check(|after| after.backup_keep += 1, "BackupEvery or BackupKeep");
        check(|after| after.hop_count += 1, "limits or folders");
        check(|after| (after.tls_required, after.remote_port) = (true, 26), "RemoteSmtpPort, AlwaysUseSsl");
    }

    /// What stands in the way of the socket ends the start, and the events before it are in the log all the same.
    #[test]
    fn no_control_socket() {
        let dir = tempfile::tempdir().unwrap();
        let (config, path) = (dir.path().join("c.toml"), dir.path().to_owned());
        std::fs::write(&config, "[\"/LM/SmtpSvc/1\"]\nServerBindings = [\"127.0.0.1:0:\"]\n").unwrap();
        std::fs::create_dir(path.join(SOCKET)).unwrap();
        let options = ServeOptions {
            data: path.clone(),
            config: Some(config),
            log: LogForm::Silent,
            unsafe_no_sync: true,
            quiet: true,
        };
        let result = run_until(options, std::future::pending(), |_| panic!("it started"));
        let Err(ServeError::Unavailable(what)) = result else { panic!("{result:?}") };
        assert!(what.starts_with("the control socket cannot be made: "), "{what}");
        let log = EventLog::open_to_read(&path.join(data::EVENTS)).unwrap();
        let events = log.list(&Filter { after: None, limit: 10, number: None }).unwrap();
        let numbers: Vec<u32> = events.iter().map(|(_, event)| event.number).collect();
        assert_eq!(numbers, [20_040], "the certificate was made");
    }
}
