//! The queue, its store, and the folders.

use super::disk::{self, Done, Op};
use super::ledger::Place;
use super::world::{Event, Who, World};
use super::{Broken, Plant};
use postroad_engine::delivery::{AttemptId, Fate, Flow, Job};
use postroad_engine::inbound::InboundInput;
use postroad_engine::journal::Entry;
use postroad_engine::outbound::OutboundInput;
use postroad_engine::queue::{QueueInput, QueueOutput};
use postroad_mail::id::MessageId;
use postroad_spool::record::{Committed, Content, GateKind, Load, Loaded, Record};
use std::sync::Arc;

impl World {
    pub(super) fn queue_input(&mut self, input: QueueInput) -> Result<(), Broken> {
        let now = self.now;
        let Some(process) = &mut self.process else { return Ok(()) };
        let written = matches!(input, QueueInput::Committed(_));
        process.queue.handle(now, input);
        if written {
            self.silent_recoveries();
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let mut outputs = Vec::new();
        while let Some(output) = process.queue.poll() {
            outputs.push(output);
        }
        for output in outputs {
            self.queue_output(output)?;
        }
        self.arm(Who::Queue);
        Ok(())
    }

    /// A wait for DNS ends without a word when nothing waits any more: its row is gone.
    fn silent_recoveries(&mut self) {
        for hop in self.ledger.waiting_for_dns() {
            let load = Load::Hop(hop.clone());
            if let Some(Loaded::Hops(rows)) = self.disk.answer(&load)
                && rows.is_empty()
            {
                self.ledger.waits_no_more(self.now, &hop);
            }
        }
    }

    fn queue_output(&mut self, output: QueueOutput) -> Result<(), Broken> {
        let Some(process) = &mut self.process else { return Ok(()) };
        match output {
            QueueOutput::Started => process.started = true,
            QueueOutput::Commit(batch) => {
                self.note(format_args!("commit of {} records", batch.len()));
                self.rerouted += batch.iter().filter(|record| is_move(record)).count() as u64;
                if self.options.plant == Plant::AckBeforeCommit
                    && let Some(process) = &mut self.process
                {
                    process.tell_queue(QueueInput::Committed(Committed::default()));
                }
                self.ask_disk(Op::Commit(batch));
            }
            QueueOutput::Load(token, load) => self.ask_disk(Op::Load(token, load)),
            QueueOutput::Accepted(ticket, id) => process.tell_session(ticket.0, InboundInput::Accepted(id)),
            QueueOutput::Refused { ticket, full } => {
                process.tell_session(ticket.0, InboundInput::Refused { full });
                self.note(format_args!("session {} is refused by the queue", ticket.0));
            }
            QueueOutput::Open(id, hop, job) => return self.open_attempt(id, hop, job),
            QueueOutput::Deliver(id, job) => return self.deliver(id, job),
            QueueOutput::Rest(id) => process.tell_attempt(id, OutboundInput::Rest),
            QueueOutput::Close(id) => process.tell_attempt(id, OutboundInput::Close),
            QueueOutput::Flow(flow) => return self.flow(flow),
            QueueOutput::AdminDone(token, result) => {
                self.requests.remove(&token);
                self.note(format_args!("administrator hears {result:?}"));
            }
            QueueOutput::Stopped => self.stopped(),
        }
        Ok(())
    }

    fn flow(&mut self, flow: Flow) -> Result<(), Broken> {
        match flow {
            Flow::Accepted { message, .. } => {
                let to: Vec<String> = message.recipients.iter().map(|one| one.address.to_string()).collect();
                self.note(format_args!("{} is ours, from {} to {to:?}", message.id, message.sender.path));
                self.known.push(message.id);
            }
            Flow::Failed { message, recipient, cause, status, fate, .. } => {
                self.note(format_args!("{} {recipient} fails {status}, {fate:?}: {cause}", message.id));
                if fate == Fate::Deleted {
                    let content = self.disk.content(message.id, 0, usize::MAX).unwrap_or_default();
                    self.ledger.notice_is_deleted(&message, &content);
                }
                return self
                    .with_ledger(|ledger, scene| ledger.fails(scene, &message, recipient, status, fate));
            }
            Flow::HopWaits { hop, kind, cause, until, waiting } => {
                self.note(format_args!("{hop} waits {kind:?} until {until} with {waiting}: {cause}"));
                self.ledger.waits(self.now, &hop, kind == GateKind::Dns);
            }
            Flow::Deferred { message, recipient, until, .. } => {
                self.note(format_args!("{} {recipient} waits until {until}", message.id));
            }
            Flow::HopRecovered { hop } => {
                self.note(format_args!("{hop} has recovered"));
                self.ledger.waits_no_more(self.now, &hop);
            }
            Flow::Delivered { .. } => {}
        }
        Ok(())
    }

    fn ask_disk(&mut self, op: Op) {
        let Some(process) = &mut self.process else { return };
        let boot = process.boot;
        if !self.disk.up {
            self.disk.ops.push_back(op);
            return self.disk_answers_failure(boot, None);
        }
        self.disk.ops.push_back(op);
        self.wake_disk();
    }

    fn wake_disk(&mut self) {
        let Some(process) = &mut self.process else { return };
        if process.disk_busy || self.disk.ops.is_empty() {
            return;
        }
        process.disk_busy = true;
        let slow = if self.healed { 20_000 } else { *self.dice.pick(&[20_000, 20_000, 20_000, 5_000_000]) };
        let at = self.now.mono + self.dice.micros(100, slow);
        self.agenda.put(at, Event::DiskWorks { boot: process.boot });
    }

    /// What waits for a store that is down fails. `full`: it has just gone down, for want of room or not.
    fn disk_answers_failure(&mut self, boot: u64, full: Option<bool>) {
        for done in self.disk.fail(full.unwrap_or(false)) {
            if full.is_none()
                && let Done::Failed { batch, .. } = &done
                && batch.is_empty()
            {
                continue;
            }
            self.agenda.put(self.now.mono, Event::DiskDone { boot, done });
        }
        if let Some(process) = &mut self.process {
            process.disk_busy = false;
        }
    }

    /// The store's thread does what is next.
    pub(super) fn disk_works(&mut self, boot: u64) {
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else { return };
        if !process.disk_busy {
            return;
        }
        process.disk_busy = false;
        let Some(op) = self.disk.ops.pop_front() else { return };
        let done = match op {
            Op::Load(token, load) => Done::Loaded(token, self.disk.answer(&load)),
            Op::Read(attempt, id, offset, len) => Done::Read(attempt, self.disk.content(id, offset, len)),
            Op::Commit(batch) => {
                let mut fate = self.disk.fate(&mut self.dice);
                if self.options.plant == Plant::AckBeforeCommit && fate != disk::Fate::Done {
                    fate = disk::Fate::DiesBefore;
                }
                match fate {
                    disk::Fate::DiesBefore => {
                        self.note(format_args!("dies before a commit"));
                        return self.crash();
                    }
                    disk::Fate::Done | disk::Fate::DiesAfter | disk::Fate::FailedWritten => {
                        match self.disk.apply(&batch) {
                            Ok(_) if fate == disk::Fate::DiesAfter => {
                                self.note(format_args!("dies after a commit"));
                                return self.crash();
                            }
                            Ok(committed) if fate == disk::Fate::Done => Done::Committed(committed),
                            Ok(_) => {
                                self.disk.kept_a_failed_batch = true;
                                return self.store_fails(boot, batch, false);
                            }
                            Err(error) => {
                                self.note(format_args!("the store refuses: {error}"));
                                return self.store_fails(boot, batch, false);
                            }
                        }
                    }
                    disk::Fate::Full | disk::Fate::FailedUnwritten => {
                        return self.store_fails(boot, batch, fate == disk::Fate::Full);
                    }
                }
            }
        };
        self.agenda.put(self.now.mono, Event::DiskDone { boot, done });
        self.wake_disk();
    }

    fn store_fails(&mut self, boot: u64, batch: Vec<Record>, full: bool) {
        self.note(format_args!("the store fails"));
        self.store_failures += 1;
        self.disk.ops.push_front(Op::Commit(batch));
        self.disk_answers_failure(boot, Some(full));
        let at = self.now.mono + self.dice.micros(100_000, 30_000_000);
        self.agenda.put(at, Event::StoreOpens { boot });
    }

    pub(super) fn store_opens(&mut self, boot: u64) {
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else { return };
        self.disk.up = true;
        process.tell_queue(QueueInput::StoreUp);
        self.note(format_args!("the store is open again"));
    }

    pub(super) fn disk_done(&mut self, boot: u64, done: Done) {
        let plant = self.options.plant;
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else { return };
        match done {
            Done::Committed(_) if plant == Plant::AckBeforeCommit => {}
            Done::Committed(committed) => process.tell_queue(QueueInput::Committed(committed)),
            Done::Loaded(token, loaded) => process.tell_queue(QueueInput::Loaded(token, loaded)),
            Done::Read(attempt, result) => process.tell_attempt(attempt, OutboundInput::Content(result)),
            Done::Failed { batch, full } => process.tell_queue(QueueInput::StoreFailed { batch, full }),
        }
    }

    pub(super) fn read_content(&mut self, attempt: AttemptId, id: MessageId, offset: u64, len: usize) {
        self.ask_disk(Op::Read(attempt, id, offset, len));
    }

    /// A message is in its folder, or could not be put there. (A folder's disk is full, or its rights are wrong; or the machine
    /// dies when the file is there and nobody has heard of it.)
    pub(super) fn file_written(
        &mut self,
        boot: u64,
        attempt: AttemptId,
        job: &Arc<Job>,
    ) -> Result<(), Broken> {
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else {
            return Ok(());
        };
        if !process.attempts.contains_key(&attempt) {
            return Ok(());
        }
        if !self.healed && self.dice.chance(150) {
            let cause = String::from("the folder cannot be written");
            if let Some(process) = &mut self.process {
                process.tell_attempt(attempt, OutboundInput::Written(Err(cause)));
            }
            return Ok(());
        }
        let content = match &job.content {
            Content::Memory(octets) => Ok(octets.to_vec()),
            Content::Draft(_) | Content::Stored => self.disk.content(job.message.id, 0, usize::MAX),
        };
        let Ok(content) = content else { return Ok(()) };
        let whole = [job.message.trace.as_bytes(), &content].concat();
        let named = job.recipients.iter().filter_map(|one| job.message.recipients.get(*one as usize));
        let addresses: Vec<String> = named.map(|one| one.address.to_string()).collect();
        let place = if job.cause.is_empty() { Place::Drop } else { Place::Badmail };
        self.note(format_args!("file of {} for {addresses:?}", job.message.id));
        let arrival =
            self.with_ledger(|ledger, scene| ledger.arrives(scene, job, &place, &addresses, &whole))?;
        let at = self.now.mono + self.dice.micros(100, 100_000);
        self.agenda.put(at, Event::FileTold { boot, attempt, arrival });
        Ok(())
    }

    pub(super) fn file_told(&mut self, boot: u64, attempt: AttemptId, arrival: usize) -> Result<(), Broken> {
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else {
            return Ok(());
        };
        process.tell_attempt(attempt, OutboundInput::Written(Ok(format!("file-{arrival}"))));
        self.ledger.told(arrival)
    }

    /// Messages in the store.
    pub(super) fn messages_left(&mut self) -> u64 {
        match self.disk.answer(&Load::Totals) {
            Some(Loaded::Totals(totals)) => totals.messages,
            _ => 0,
        }
    }

    /// What is in the store, in words; empty if nothing is.
    pub(super) fn left_over(&mut self) -> String {
        let messages = self.messages_left();
        let load = Load::Hops { dns_only: false, after: None, limit: 10 };
        match self.disk.answer(&load) {
            Some(Loaded::Hops(rows)) if !rows.is_empty() || messages > 0 => {
                let held = self
                    .process
                    .as_ref()
                    .map(|process| rows.iter().map(|row| process.queue.hop(&row.hop)).collect::<Vec<_>>());
                format!("{messages} messages are left, at {rows:?}, held as {held:?}")
            }
            _ => String::new(),
        }
    }
}

fn is_move(record: &Record) -> bool {
    let Record::Journal(entry) = record else { return false };
    matches!(serde_json::from_str(&entry.body), Ok(Entry::Rerouted { .. }))
}
