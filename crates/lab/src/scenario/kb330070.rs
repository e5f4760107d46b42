//! The founding case, step by step.

use super::ScenarioError;
use super::nameserver::{HOSTS, NameServer};
use super::peers::{self, Sink};
use postroad_control::answer::{EventRow, Explanation, QueueRow, RecipientState};
use postroad_control::{Item, Request};
use postroad_service::{LogForm, ServeOptions, ask};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a step may take to happen.
const STEP_TIME_MAX: Duration = Duration::from_secs(6);

type Told = Result<(), ScenarioError>;

pub(super) fn play(out: &mut dyn Write) -> Told {
    let mut nameserver = NameServer::start().map_err(stage)?;
    let sink = Sink::start().map_err(stage)?;
    let folder = tempfile::tempdir().map_err(stage)?;
    let service = Service::start(folder.path(), nameserver.address, sink.address)?;
    let mut story = Story { out, service: &service, began: Instant::now(), step: 0 };
    story.overture(nameserver.address)?;
    let waiting = story.under_policy_0(&sink)?;
    story.under_policy_2(&sink)?;
    story.under_adaptive(&sink, nameserver.address)?;
    story.restored(&mut nameserver, &sink, &waiting)?;
    story.end()
}

fn stage(error: impl std::fmt::Display) -> ScenarioError {
    ScenarioError::Stage(error.to_string())
}

/// A service in this process, on data of its own.
struct Service {
    data: PathBuf,
    smtp: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Service {
    fn start(folder: &Path, nameserver: SocketAddr, sink: SocketAddr) -> Result<Self, ScenarioError> {
        let config = folder.join("lab.toml");
        // Retries are far off: what goes out in this story does so because DNS was found to work again.
        let text = format!(
            "[\"/LM/SmtpSvc\"]\nDnsServers = [\"{nameserver}\"]\nNextHopRefused = []\nRemoteSmtpPort = {port}\n\
             DnsRetry = \"10m\"\nDnsProbe = \"1s..2s\"\n\
             DnsTimeouts = \"udp=300ms,connect=500ms,reply=1s,lookup=5s\"\n\
             [\"/LM/SmtpSvc/1\"]\nServerBindings = [\"127.0.0.1:0:\"]\n\
             FullyQualifiedDomainName = \"postroad.lab.example\"\nDefaultDomain = \"lab.example\"\n\
             [\"/LM/SmtpSvc/1/Domain/zero.example\"]\nSmtpUseTcpDns = 0\n\
             [\"/LM/SmtpSvc/1/Domain/two.example\"]\nSmtpUseTcpDns = 2\n",
            port = sink.port()
        );
        std::fs::write(&config, text).map_err(stage)?;
        let data = folder.join("data");
        let options = ServeOptions {
            data: data.clone(),
            config: Some(config),
            log: LogForm::Silent,
            unsafe_no_sync: false,
            quiet: true,
        };
        let (stop, stop_in) = oneshot::channel();
        let (ready, ready_in) = mpsc::channel();
        let failed = ready.clone();
        let thread = std::thread::spawn(move || {
            let ends = async {
                let _ = stop_in.await;
                String::from("the story is over")
            };
            let told = |bound: &[SocketAddr]| {
                let _ = ready.send(bound.first().copied().ok_or_else(|| String::from("it listens nowhere")));
            };
            if let Err(error) = postroad_service::run_until(options, ends, told) {
                let _ = failed.send(Err(error.to_string()));
            }
        });
        let smtp = ready_in.recv_timeout(STEP_TIME_MAX).map_err(stage)?.map_err(stage)?;
        Ok(Self { data, smtp, stop: Some(stop), thread: Some(thread) })
    }

    fn ask(&self, request: &Request) -> Result<Vec<Item>, ScenarioError> {
        let mut items = Vec::new();
        ask::ask(&self.data, request, &mut |item| items.push(item)).map_err(stage)?;
        Ok(items)
    }

    fn event(&self, number: u32) -> Result<Option<EventRow>, ScenarioError> {
        let items = self.ask(&Request::Events { limit: 10, number: Some(number) })?;
        let events = items
            .into_iter()
            .filter_map(|item| if let Item::Event(event) = item { Some(event) } else { None });
        // The newest: a warning may have become an error.
        Ok(events.max_by_key(|event| event.at))
    }

    fn row(&self, recipient: &str) -> Result<Option<QueueRow>, ScenarioError> {
        let items = self.ask(&Request::QueueList { after: None, limit: 100 })?;
        let rows = items
            .into_iter()
            .filter_map(|item| if let Item::Recipient(row) = item { Some(*row) } else { None });
        Ok(rows.into_iter().find(|row| row.recipient.to_string() == recipient))
    }

    fn explanation(&self, id: &str) -> Result<Explanation, ScenarioError> {
        let items = self.ask(&Request::Explain { subject: id.to_owned() })?;
        let mut items = items.into_iter();
        let explanation =
            items.find_map(|item| if let Item::Explanation(told) = item { Some(told) } else { None });
        explanation.ok_or_else(|| stage("the service explains nothing"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Story<'a> {
    out: &'a mut dyn Write,
    service: &'a Service,
    began: Instant,
    step: u32,
}

impl Story<'_> {
    fn say(&mut self, text: &str) -> Told {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    fn headline(&mut self, text: &str) -> Told {
        self.step += 1;
        let at = self.began.elapsed().as_secs_f64();
        let step = self.step;
        self.say(&format!("\n{step}. {text}  [{at:.1} s]"))
    }

    /// Waits for something to be so.
    fn until<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Service) -> Result<Option<T>, ScenarioError>,
    ) -> Result<T, ScenarioError> {
        let began = Instant::now();
        loop {
            if let Some(found) = look(self.service)? {
                return Ok(found);
            }
            if began.elapsed() > STEP_TIME_MAX {
                let waited = STEP_TIME_MAX.as_secs();
                return Err(ScenarioError::Broken(format!(
                    "within {waited} s it did not happen that {what}"
                )));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn event(&mut self, number: u32) -> Result<EventRow, ScenarioError> {
        let event = self.until(&format!("event {number} was raised"), |service| service.event(number))?;
        self.say(&format!("   event {number} ({}): {}", event.severity, event.text))?;
        if !event.remedy.is_empty() {
            self.say(&format!("   what to do: {}", event.remedy))?;
        }
        Ok(event)
    }

    /// Shows what `explain` tells of a message, and returns it as one text.
    fn explain(&mut self, id: &str) -> Result<String, ScenarioError> {
        let told = self.service.explanation(id)?;
        self.say(&format!("   postroad explain {id}"))?;
        let mut whole = String::new();
        for line in told.steps.iter().flat_map(|step| &step.text).chain(&told.standing) {
            self.say(&format!("   | {line}"))?;
            whole.push_str(line);
            whole.push('\n');
        }
        Ok(whole)
    }

    fn send(&mut self, recipient: &str) -> Result<String, ScenarioError> {
        let id = peers::send(self.service.smtp, recipient).map_err(stage)?;
        self.say(&format!("   a message for {recipient} is handed in: 250, queue id {id}"))?;
        Ok(id)
    }

    fn delivered(&mut self, sink: &Sink, recipient: &str) -> Told {
        self.until(&format!("{recipient} was delivered"), |_| Ok(sink.has(recipient).then_some(())))?;
        // The host has it a moment before our record of that is on disk.
        self.until("the delivery was recorded", |service| {
            Ok(service.row(recipient)?.is_none().then_some(()))
        })?;
        self.say(&format!("   delivered: the mail host has the message for {recipient}"))
    }

    fn overture(&mut self, nameserver: SocketAddr) -> Told {
        self.say("Microsoft KB 330070: an answer of DNS no longer fits into a UDP datagram, the server cuts it and says so;")?;
        self.say("the question must be asked again over TCP, and the server answers no TCP. Mail for that domain stands still.")?;
        self.headline("The stage")?;
        self.say(&format!("   name server {nameserver}: each domain has {HOSTS} mail hosts, an answer of about 1,350 octets;"))?;
        self.say(
            "   over UDP it is cut, TCP is refused. Postroad listens on its own port, on data of its own.",
        )
    }

    fn under_policy_0(&mut self, sink: &Sink) -> Result<String, ScenarioError> {
        self.headline("SmtpUseTcpDns 0 (UDP, then TCP upon truncation): the article's symptom")?;
        let recipient = "amy@zero.example";
        let id = self.send(recipient)?;
        let row = self.until("the message was deferred", |service| {
            let row = service.row(recipient)?;
            Ok(row.filter(|row| row.state == RecipientState::Deferred))
        })?;
        self.say(&format!("   deferred, not lost and not returned: {}", row.cause))?;
        self.event(2012)?;
        // What was tried is on disk a moment after it is known.
        self.until("the attempt was recorded", |service| {
            let told = service.explanation(&id)?;
            Ok(told
                .steps
                .iter()
                .any(|step| step.text.iter().any(|line| line.starts_with("TCP ")))
                .then_some(()))
        })?;
        let told = self.explain(&id)?;
        require(told.contains("TCP"), "explain names the transport that failed")?;
        require(!sink.has(recipient), "nothing was delivered under policy 0")?;
        Ok(recipient.to_owned())
    }

    fn under_policy_2(&mut self, sink: &Sink) -> Told {
        self.headline("SmtpUseTcpDns 2 (UDP only): the article's workaround")?;
        let recipient = "bob@two.example";
        let id = self.send(recipient)?;
        self.delivered(sink, recipient)?;
        self.event(20001)?;
        let told = self.explain(&id)?;
        require(told.contains("partial"), "explain says that the answer was partial")
    }

    fn under_adaptive(&mut self, sink: &Sink, nameserver: SocketAddr) -> Told {
        self.headline("SmtpUseTcpDns not set (adaptive): what works is found out, and remembered")?;
        let first = "cyd@one.example";
        self.send(first)?;
        self.delivered(sink, first)?;
        let second = "dan@other.example";
        let id = self.send(second)?;
        self.delivered(sink, second)?;
        let told = self.explain(&id)?;
        require(!told.contains("TCP 127"), "the second domain was resolved without trying TCP again")?;
        let items = self.service.ask(&Request::Status)?;
        let Some(Item::Status(status)) = items.into_iter().next() else {
            return Err(stage("the service tells no status"));
        };
        self.say("   postroad status")?;
        for server in &status.dns_servers {
            self.say(&format!("   | {}: {}", server.server, server.transports.join("; ")))?;
        }
        let known = status
            .dns_servers
            .iter()
            .any(|server| server.server == nameserver.to_string() && !server.healthy);
        require(known, "the status shows that TCP of the name server is down")
    }

    fn restored(&mut self, nameserver: &mut NameServer, sink: &Sink, waiting: &str) -> Told {
        self.headline("Somebody opens TCP port 53")?;
        require(!sink.has(waiting), "the message under policy 0 still waits")?;
        nameserver.open_tcp().map_err(stage)?;
        self.event(12012)?;
        self.delivered(sink, waiting)?;
        self.say("   its next try was minutes away: a probe found that TCP works, and all that waited for DNS went out at once")?;
        self.until("the queue was empty", |service| {
            let items = service.ask(&Request::QueueList { after: None, limit: 10 })?;
            Ok(items.is_empty().then_some(()))
        })
    }

    fn end(&mut self) -> Told {
        let took = self.began.elapsed().as_secs_f64();
        self.say(&format!("\nThe queue is empty; four messages, four deliveries, nothing returned, nothing restarted. {took:.1} s."))
    }
}

/// A part of the story that must be so.
fn require(so: bool, what: &str) -> Told {
    if so { Ok(()) } else { Err(ScenarioError::Broken(format!("it is not so that {what}"))) }
}
