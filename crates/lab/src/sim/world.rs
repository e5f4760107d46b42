//! The world: its clock, its events, its weather.

use super::agenda::Agenda;
use super::client::Client;
use super::dice::Dice;
use super::disk::{Disk, Done};
use super::host::{Fault, Host};
use super::ledger::{Ledger, Scene};
use super::names::NameServer;
use super::net::{ConnNo, DELAY_MAX, Net, Party, Quality, Road, Segment, Side};
use super::outward::HostEnd;
use super::process::{Process, Todo};
use super::trace::Trace;
use super::zones::Zones;
use super::{Broken, Options, Promise, Summary, Violation, cast};
use postroad_dns::resolver;
use postroad_engine::delivery::{AttemptId, Job};
use postroad_engine::inbound::InboundInput;
use postroad_engine::outbound::OutboundInput;
use postroad_engine::queue::{AdminToken, QueueInput};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Mono, Now, Wall};
use postroad_metabase::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What happens. `boot`: the life of the service for which it is meant.
#[derive(Debug)]
pub(super) enum Event {
    /// A machine's deadline.
    Tick {
        boot: u64,
        who: Who,
    },
    Arrives {
        conn: ConnNo,
        to: Side,
        segment: Segment,
    },
    ClientGoes(usize),
    ClientGivesUp(usize, ConnNo),
    /// A client's connection reaches the service.
    Incoming(ConnNo),
    /// An attempt's connection is made, or is not.
    Dialled {
        boot: u64,
        attempt: AttemptId,
        dial: u64,
        result: Result<(IpAddr, Option<Fault>), String>,
    },
    HostSays {
        conn: ConnNo,
        reply: String,
        receipt: Option<usize>,
    },
    HostCloses(ConnNo),
    QueryArrives {
        boot: u64,
        server: usize,
        slot: u16,
        bytes: Vec<u8>,
    },
    AnswerArrives {
        boot: u64,
        input: resolver::Input,
    },
    StreamDialled {
        boot: u64,
        conn: resolver::ConnId,
        server: usize,
    },
    DiskWorks {
        boot: u64,
    },
    DiskDone {
        boot: u64,
        done: Done,
    },
    StoreOpens {
        boot: u64,
    },
    FileWritten {
        boot: u64,
        attempt: AttemptId,
        job: Arc<Job>,
    },
    FileTold {
        boot: u64,
        attempt: AttemptId,
        arrival: usize,
    },
    Weather,
    Boot,
    /// Who stops it waits no longer.
    StopNow {
        boot: u64,
    },
    ClockStep(i64),
    Heal,
}

/// A machine of the service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who {
    Queue,
    Resolver,
    Session(u64),
    Attempt(AttemptId),
}

/// Virtual seconds within which a healed world must come to rest: the longest wait is a third of an hour, a few in a row.
const REST_SECS_MAX: u64 = 6 * 3600;
/// Attempts rest for some seconds before they go, and their hosts may think.
const QUIET: Duration = Duration::from_secs(60);
/// Events of one virtual second: more is a machine that spins.
const EVENTS_PER_SECOND_MAX: u64 = 20_000;
/// The wall clock when a world begins: Wed, 25 Nov 2026.
const BEGINNING: i64 = 1_795_590_000_000;

pub(super) struct World {
    pub(super) options: Options,
    seed: u64,
    pub(super) now: Now,
    pub(super) dice: Dice,
    pub(super) agenda: Agenda<Event>,
    pub(super) trace: Trace,
    pub(super) net: Net,
    pub(super) zones: Zones,
    pub(super) settings: Arc<Settings>,
    /// All settings that have been in force, those that are among them.
    pub(super) routes: Vec<Arc<Settings>>,
    pub(super) hosts: BTreeMap<IpAddr, Host>,
    pub(super) host_ends: BTreeMap<ConnNo, HostEnd>,
    pub(super) servers: Vec<(SocketAddr, NameServer)>,
    pub(super) server_buffers: BTreeMap<ConnNo, Vec<u8>>,
    pub(super) clients: Vec<Client>,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    pub(super) ledger: Ledger,
    /// What goes over a connection of an attempt, and on account of which hop.
    pub(super) on_wire: BTreeMap<ConnNo, (NextHop, Arc<Job>)>,
    pub(super) healed: bool,
    pub(super) count: u64,
    pub(super) boots: u64,
    pub(super) crashes: u64,
    pub(super) store_failures: u64,
    pub(super) rerouted: u64,
    clock_offset: i64,
    /// Whether the route is changed in this world.
    pub(super) route_changes: bool,
    /// Messages that an administrator may name.
    pub(super) known: Vec<MessageId>,
    /// His requests that are not answered, of this boot.
    pub(super) requests: BTreeSet<AdminToken>,
    events: u64,
    /// The virtual second, and events in it.
    second: (u64, u64),
    pub(super) healed_at: Mono,
    quiet_since: Option<Mono>,
}

impl World {
    pub(super) fn new(seed: u64, options: Options) -> Self {
        let mut dice = Dice::new(seed);
        let zones = Zones::new(&mut dice);
        let count = dice.between(1, 3) as usize;
        let addresses = cast::NAME_SERVERS.iter().take(count).filter_map(|server| server.parse().ok());
        let addresses: Vec<SocketAddr> = addresses.collect();
        let settings = Arc::new(cast::settings(&mut dice, &addresses));
        let (clients, submissions) = cast::clients(&mut dice, &zones);
        let hosts = zones.hosts.iter().map(|ip| (*ip, Host::new(&mut dice, settings.tls_required))).collect();
        let mut world = Self {
            options,
            seed,
            now: Now { mono: Mono(0), wall: Wall(BEGINNING) },
            agenda: Agenda::new(),
            trace: Trace::new(options.whole_trace),
            net: Net::default(),
            zones,
            routes: vec![Arc::clone(&settings)],
            settings,
            hosts,
            host_ends: BTreeMap::new(),
            servers: addresses.into_iter().map(|at| (at, NameServer::new(&mut dice))).collect(),
            server_buffers: BTreeMap::new(),
            clients,
            disk: Disk::new(),
            process: None,
            ledger: Ledger::new(submissions),
            on_wire: BTreeMap::new(),
            healed: false,
            count: 0,
            boots: 0,
            crashes: 0,
            store_failures: 0,
            rerouted: 0,
            clock_offset: 0,
            route_changes: dice.chance(400),
            known: Vec::new(),
            requests: BTreeSet::new(),
            events: 0,
            second: (0, 0),
            healed_at: Mono(u64::MAX),
            quiet_since: None,
            dice,
        };
        world.open();
        world
    }

    /// Puts down what is to happen first.
    fn open(&mut self) {
        for domain in &self.zones.domains {
            let what = format_args!("zone {} {} {:?}", domain.name, domain.kind, domain.hosts);
            self.trace.note(self.now.mono, what);
        }
        let settings = Arc::clone(&self.settings);
        self.note(format_args!("settings {settings:?}"));
        self.agenda.put(Mono(0), Event::Boot);
        self.agenda.put(Mono(0), Event::Weather);
        let hours = self.dice.micros(300_000_000, 4 * 3_600_000_000);
        self.agenda.put(Mono(0) + hours, Event::Heal);
        for client in 0..self.clients.len() {
            let at = self.now.mono + self.dice.micros(1000, hours.as_micros() as u64);
            self.agenda.put(at, Event::ClientGoes(client));
        }
        if self.dice.chance(200) {
            let at = self.now.mono + self.dice.micros(1_000_000, hours.as_micros() as u64);
            let step = self.dice.between(0, 1_200_000) as i64 - 600_000;
            self.agenda.put(at, Event::ClockStep(step));
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Box<Violation>> {
        let broken = loop {
            match self.step() {
                Ok(false) => {}
                Ok(true) => break self.ledger.close().err(),
                Err(broken) => break Some(broken),
            }
        };
        let [delivered, returned, badmail] = self.ledger.counts();
        let taken = |one: &&super::client::Submission| one.told == super::client::Told::Taken;
        let accepted = self.ledger.submissions.iter().filter(taken).count();
        let trace_hash = self.trace.hash();
        let trace = self.trace.into_lines();
        match broken {
            Some(Broken(promise, what)) => Err(Box::new(Violation { seed: self.seed, promise, what, trace })),
            None => Ok(Summary {
                seed: self.seed,
                accepted,
                delivered,
                returned,
                badmail,
                copies_excused: self.ledger.copies_excused,
                rerouted: self.rerouted,
                crashes: self.crashes,
                store_failures: self.store_failures,
                events: self.events,
                seconds: self.now.mono.0 / 1_000_000,
                trace_hash,
                trace,
            }),
        }
    }

    /// One event, and what follows from it at once. True when all is over.
    fn step(&mut self) -> Result<bool, Broken> {
        let Some((at, event)) = self.agenda.next() else {
            return Err(Broken(Promise::Progress, String::from("nothing will ever happen again")));
        };
        self.set_clock(at);
        self.events += 1;
        self.second =
            (at.0 / 1_000_000, if self.second.0 == at.0 / 1_000_000 { self.second.1 + 1 } else { 1 });
        if self.second.1 > EVENTS_PER_SECOND_MAX {
            return Err(Broken(Promise::Bounds, format!("the world spins: {event:?}")));
        }
        self.happens(event)?;
        self.work()?;
        if self.events.is_multiple_of(512) {
            self.net.sweep(self.now.mono);
            let net = &mut self.net;
            self.on_wire.retain(|no, _| net.conn(*no).is_some());
        }
        self.is_over()
    }

    fn set_clock(&mut self, at: Mono) {
        let wall = Wall(BEGINNING + (at.0 / 1000) as i64 + self.clock_offset);
        self.now = Now { mono: at, wall };
    }

    fn happens(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Tick { boot, who } => self.tick(boot, who),
            Event::Arrives { conn, to, segment } => return self.arrives(conn, to, segment),
            Event::ClientGoes(client) => self.client_goes(client),
            Event::ClientGivesUp(client, conn) => self.client_gives_up(client, conn),
            Event::Incoming(conn) => self.incoming(conn),
            Event::Dialled { boot, attempt, dial, result } => self.dialled(boot, attempt, dial, result)?,
            Event::HostSays { conn, reply, receipt } => self.host_says(conn, &reply, receipt),
            Event::HostCloses(conn) => self.close(conn, 1),
            Event::QueryArrives { boot, server, slot, bytes } => {
                self.query_arrives(boot, server, slot, &bytes)
            }
            Event::AnswerArrives { boot, input } => {
                if let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) {
                    process.tell_resolver(input);
                }
            }
            Event::StreamDialled { boot, conn, server } => self.stream_dialled(boot, conn, server),
            Event::DiskWorks { boot } => self.disk_works(boot),
            Event::DiskDone { boot, done } => self.disk_done(boot, done),
            Event::StoreOpens { boot } => self.store_opens(boot),
            Event::FileWritten { boot, attempt, job } => return self.file_written(boot, attempt, &job),
            Event::FileTold { boot, attempt, arrival } => return self.file_told(boot, attempt, arrival),
            Event::Weather => self.weather(),
            Event::Boot => self.boot(),
            Event::StopNow { boot } => self.stop_now(boot),
            Event::ClockStep(step) => {
                self.note(format_args!("the clock steps by {step} ms"));
                self.clock_offset += step;
                self.set_clock(self.now.mono);
            }
            Event::Heal => self.heal(),
        }
        Ok(())
    }

    /// Gives the machines their inputs until there is none left.
    fn work(&mut self) -> Result<(), Broken> {
        while let Some(todo) = self.process.as_mut().and_then(|process| process.todo.pop_front()) {
            match todo {
                Todo::Queue(input) => self.queue_input(input)?,
                Todo::Resolver(input) => self.resolver_input(input),
                Todo::Session(id, input) => self.session_input(id, input),
                Todo::Attempt(id, input) => self.attempt_input(id, input)?,
            }
        }
        let Some(process) = &self.process else { return Ok(()) };
        let max = self.settings.out_connections_max as usize;
        if process.queue.connections() > max {
            let what = format!("{} connections, and the limit is {max}", process.queue.connections());
            return Err(Broken(Promise::Bounds, what));
        }
        Ok(())
    }

    /// Something has come to an end of a connection.
    fn arrives(&mut self, conn: ConnNo, to: Side, segment: Segment) -> Result<(), Broken> {
        let Self { net, dice, agenda, now, .. } = self;
        let road = Road { no: conn, from: 1 - to, now: now.mono, dice, agenda };
        let Some((party, segment)) = net.arrives(road, segment) else { return Ok(()) };
        match party {
            Party::Client(client) => self.client_hears(client, conn, segment),
            Party::Session(session) => self.session_hears(session, conn, segment),
            Party::Attempt(attempt) => return self.attempt_hears(attempt, conn, segment),
            Party::Lookups(stream) => self.stream_hears(stream, segment),
            Party::Host(_) => return self.host_hears(conn, segment),
            Party::NameServer(server) => self.name_server_hears(server, conn, segment),
        }
        Ok(())
    }

    pub(super) fn send(&mut self, conn: ConnNo, from: Side, data: &[u8], receipt: Option<usize>) {
        let Self { net, dice, agenda, now, .. } = self;
        net.send(Road { no: conn, from, now: now.mono, dice, agenda }, data, receipt);
    }

    pub(super) fn put(&mut self, conn: ConnNo, from: Side, segment: Segment) {
        let Self { net, dice, agenda, now, .. } = self;
        net.put(Road { no: conn, from, now: now.mono, dice, agenda }, segment);
    }

    pub(super) fn close(&mut self, conn: ConnNo, from: Side) {
        self.put(conn, from, Segment::End);
    }

    /// What a new connection is like.
    pub(super) fn quality(&mut self) -> Quality {
        let breaks = !self.healed && self.dice.chance(60);
        let breaks_after = breaks.then(|| self.dice.between(1, 30));
        let slow = !self.healed && self.dice.chance(50);
        Quality { breaks_after, delay_max: if slow { 20_000_000 } else { DELAY_MAX } }
    }

    /// Whether the healed world has come to rest, with nothing left over.
    fn is_over(&mut self) -> Result<bool, Broken> {
        if !self.healed {
            return Ok(false);
        }
        let waited = (self.now.mono - self.healed_at).as_secs();
        let settled = self.messages_left() == 0;
        if waited > REST_SECS_MAX {
            let left = self.left_over();
            return Err(Broken(Promise::Progress, format!("after {waited} s in a healed world: {left}")));
        }
        let idle = self.clients.iter().all(|client| client.left.is_empty() && client.dialog.is_none());
        if !settled || !idle {
            self.quiet_since = None;
            return Ok(false);
        }
        let since = *self.quiet_since.get_or_insert(self.now.mono);
        let quiet = self.now.mono - since;
        if quiet < QUIET {
            return Ok(false);
        }
        let left = self.left_over();
        let Some(process) = &self.process else { return Ok(false) };
        if !self.requests.is_empty() {
            let what = format!("the administrator's requests {:?} are not answered", self.requests);
            return Err(Broken(Promise::Progress, what));
        }
        let (drafts, content) = (process.memory.held(), process.queue.content_held());
        let held = drafts != 0 || content != 0 || process.queue.connections() != 0;
        if held && quiet < QUIET * 10 {
            // A page of a hop at which nothing waits may be on its way.
            return Ok(false);
        }
        if held {
            let connections = process.queue.connections();
            let what = format!(
                "at rest {drafts} octets of drafts, {content} of messages, {connections} connections"
            );
            return Err(Broken(Promise::Bounds, what));
        }
        if process.queue.messages() != 0 || !left.is_empty() {
            let what =
                format!("the store is empty, and the queue counts {}; {left}", process.queue.messages());
            return Err(Broken(Promise::Progress, what));
        }
        Ok(true)
    }

    pub(super) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now.mono, what);
    }

    pub(super) fn scene(&self) -> Scene<'_> {
        Scene {
            now: self.now,
            life: self.crashes,
            zones: &self.zones,
            settings: &self.settings,
            routes: &self.routes,
            kept_and_died: self.disk.kept_and_died,
        }
    }

    /// Puts a machine's next tick on the agenda.
    pub(super) fn arm(&mut self, who: Who) {
        let now = self.now.mono;
        let Some(process) = &mut self.process else { return };
        let boot = process.boot;
        if let Some(at) = process.clock_of(who).and_then(|(wake, deadline)| wake.needs(now, deadline)) {
            self.agenda.put(at, Event::Tick { boot, who });
        }
    }

    fn tick(&mut self, boot: u64, who: Who) {
        let now = self.now.mono;
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else { return };
        let Some((wake, deadline)) = process.clock_of(who) else { return };
        if !wake.came(now) {
            return;
        }
        if deadline.is_none_or(|at| at > now) {
            return self.arm(who);
        }
        match who {
            Who::Queue => process.tell_queue(QueueInput::Tick),
            Who::Resolver => process.tell_resolver(resolver::Input::Tick),
            Who::Session(id) => process.tell_session(id, InboundInput::Tick),
            Who::Attempt(id) => process.tell_attempt(id, OutboundInput::Tick),
        }
    }
}
