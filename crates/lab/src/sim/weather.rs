//! What happens to the service and around it: it starts, dies, is stopped, is administered; faults come and go.

use super::host::Host;
use super::ledger::Ledger;
use super::net::{ConnNo, Segment, Side};
use super::process::{Process, Wake};
use super::world::{Event, World};
use super::{Plant, cast};
use postroad_dns::resolver::Resolver;
use postroad_dns::settings::{Settings as DnsSettings, Timeouts};
use postroad_engine::inbound::InboundInput;
use postroad_engine::queue::{AdminRequest, AdminToken, Queue, QueueInput, Selection};
use postroad_metabase::settings::Settings;
use postroad_spool::memory::MemoryStore;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Who stops the service waits so long, then kills it.
const STOP_PATIENCE: Duration = Duration::from_secs(1800);

impl World {
    pub(super) fn boot(&mut self) {
        if self.process.is_some() {
            return;
        }
        self.boots += 1;
        self.trace.note(self.now.mono, format_args!("boot {}", self.boots));
        self.disk.open();
        let settings = &self.settings;
        let dns = &settings.dns;
        let resolver = DnsSettings {
            servers: dns.servers.clone(),
            timeouts: Timeouts {
                udp_first: dns.udp_first,
                tcp_connect: dns.tcp_connect,
                tcp_reply: dns.tcp_reply,
                lookup: dns.lookup,
            },
            probe_min: dns.probe.0,
            probe_max: dns.probe.1,
            own: settings.bindings.clone(),
            own_name: Some(settings.fqdn.clone()),
            remote_port: settings.remote_port,
            refused: settings.next_hop_refused.clone(),
        };
        let mut process = Process {
            boot: self.boots,
            queue: Queue::new(Arc::clone(settings), self.dice.seed()),
            queue_wake: Wake::default(),
            resolver: Resolver::new(resolver, self.dice.seed()),
            resolver_wake: Wake::default(),
            sessions: BTreeMap::new(),
            attempts: BTreeMap::new(),
            lookups: BTreeMap::new(),
            streams: BTreeMap::new(),
            memory: Default::default(),
            next_lookup: 0,
            next_dial: 0,
            todo: Default::default(),
            disk_busy: false,
            started: false,
        };
        // A first tick brings out what a new machine has to say.
        process.tell_queue(QueueInput::Tick);
        self.process = Some(process);
    }

    /// The service dies, as of kill -9 or a power failure: all that is not on disk is gone.
    pub(super) fn crash(&mut self) {
        if self.process.is_some() {
            self.note(format_args!("crash"));
            self.crashes += 1;
            self.with_store(|ledger, store| ledger.crash(store));
            self.vanish();
        }
    }

    /// The service is no more, and will be started again some time.
    fn vanish(&mut self) {
        self.process = None;
        for (conn, side) in self.net.ours() {
            self.net.drop_end(conn, side);
            self.put_reset(conn, 1 - side);
        }
        self.disk.crash();
        self.ledger.nothing_is_tried();
        self.requests.clear();
        let pause = self.dice.micros(100_000, 600_000_000);
        self.agenda.put(self.now.mono + pause, Event::Boot);
    }

    fn with_store(&mut self, act: impl FnOnce(&mut Ledger, &mut MemoryStore)) {
        act(&mut self.ledger, &mut self.disk.store);
    }

    /// The service is told to stop: clients are let go, attempts end, everything is written. What was delivered is never
    /// delivered again for that.
    pub(super) fn stop(&mut self) {
        let Some(process) = &mut self.process else { return };
        process.started = false;
        process.tell_queue(QueueInput::Stop);
        let sessions: Vec<u64> = process.sessions.keys().copied().collect();
        for session in sessions {
            process.tell_session(session, InboundInput::Shutdown);
        }
        let boot = process.boot;
        self.note(format_args!("stop"));
        self.agenda.put(self.now.mono + STOP_PATIENCE, Event::StopNow { boot });
    }

    pub(super) fn stop_now(&mut self, boot: u64) {
        if self.process.as_ref().is_some_and(|process| process.boot == boot) {
            self.crash();
        }
    }

    /// The queue has written everything.
    pub(super) fn stopped(&mut self) {
        self.note(format_args!("stopped"));
        self.vanish();
    }

    /// An administrator makes mail due, or deletes a message.
    pub(super) fn administer(&mut self) {
        let some = match self.known.len() {
            0 => Vec::new(),
            _ => (0..self.dice.between(1, 3)).map(|_| *self.dice.pick(&self.known)).collect(),
        };
        let request = match self.dice.below(4) {
            0 => AdminRequest::Retry(Selection::All),
            1 | 2 => AdminRequest::Retry(Selection::Ids(some)),
            _ => AdminRequest::Delete(Selection::Ids(some)),
        };
        self.count += 1;
        let token = AdminToken(self.count);
        let Some(process) = &mut self.process else { return };
        self.requests.insert(token);
        process.tell_queue(QueueInput::Admin(token, request.clone()));
        self.note(format_args!("administrator: {request:?}"));
    }

    /// An administrator changes the route, while the service runs or at rest: to a smart host or none, with another domain of
    /// ours.
    fn change_route(&mut self) {
        let mut settings = Settings::clone(&self.settings);
        settings.generation += 1;
        settings.smart_host = cast::smart_host(self.dice.below(4));
        let domain = match self.dice.below(3) {
            0 => Some(self.dice.pick(&self.zones.domains).name.clone()),
            _ => cast::LOCAL.parse().ok(),
        };
        settings.default_domain = domain.unwrap_or(settings.default_domain);
        self.note(format_args!("route: {:?}, {} is ours", settings.smart_host, settings.default_domain));
        self.settings = Arc::new(settings);
        self.routes.push(Arc::clone(&self.settings));
        if let Some(process) = &mut self.process
            && self.options.plant != Plant::RouteKept
        {
            process.tell_queue(QueueInput::Settings(Arc::clone(&self.settings)));
        }
    }

    fn put_reset(&mut self, conn: ConnNo, to: Side) {
        let at = self.now.mono + self.dice.micros(100, 50_000);
        self.agenda.put(at, Event::Arrives { conn, to, segment: Segment::Reset });
    }

    /// Faults come and go.
    pub(super) fn weather(&mut self) {
        if self.healed {
            return;
        }
        let per_mille = *self.dice.pick(&[0, 300, 700]);
        for (_, server) in &mut self.servers {
            server.turn(&mut self.dice, per_mille);
        }
        for host in self.hosts.values_mut() {
            host.turn(&mut self.dice);
        }
        self.disk.faults_per_mille = *self.dice.pick(&[0, 0, 20, 200, 600]);
        self.disk.full = self.dice.chance(40);
        if self.options.plant == Plant::AckBeforeCommit {
            self.disk.full = false;
        }
        match self.dice.below(20) {
            0 | 1 => self.crash(),
            2 => self.stop(),
            _ => {}
        }
        if self.dice.chance(150) {
            self.administer();
        }
        if self.route_changes && self.dice.chance(300) {
            self.change_route();
        }
        let pause = self.dice.micros(5_000_000, 900_000_000);
        self.agenda.put(self.now.mono + pause, Event::Weather);
    }

    pub(super) fn heal(&mut self) {
        self.note(format_args!("the world is healed"));
        self.healed = true;
        self.healed_at = self.now.mono;
        self.servers.iter_mut().for_each(|(_, server)| server.heal());
        self.hosts.values_mut().for_each(Host::heal);
        self.host_ends.values_mut().for_each(|end| end.session.heal());
        self.net.heal();
        self.disk.heal();
        if self.process.is_none() {
            self.agenda.put(self.now.mono, Event::Boot);
        }
    }
}
