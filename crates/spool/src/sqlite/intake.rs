//! The intake: a file of batches that are on disk and not in the database yet.
//!
//! Most mail is delivered within a second of being accepted. In tables it costs an insertion, a deletion and the pages of both; here a batch
//! is one write and one sync, and what is settled soon never comes to the tables. What remains goes there in one
//! transaction when it is much, when nothing comes any more, or when a question is asked; then the file is written from its start.
//!
//! The file is a row of frames (`frame`). Those that count are numbered without a gap from the one after
//! `counter.taken`, which the transaction writes that takes them into the tables. Behind them may be anything: frames that
//! were taken, or half of one. Each bears the store's salt, which nobody outside knows, or the content of a message could pass for
//! a frame after a crash. Where the numbers have a gap the disk has lost what was synced: the other frames count all the same, the counts of
//! the hops are made anew, and a copy of the file stays.

use super::contents::IN_ROW_MAX;
use super::fault::{Result, at, damaged};
use super::frame;
use super::rows::Counters;
use super::{Options, Synchronous};
use crate::record::{Committed, Content, HopRow, JournalEntry, Message, Record};
use crate::rules;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Octets of one batch, about: a larger one gains nothing here.
const BATCH_OCTETS_MAX: usize = 1 << 20;
/// Octets that a recipient and the count of a hop are taken for.
const RECIPIENT_OCTETS: usize = 512;
const COUNT_OCTETS: usize = 256;
/// What is held before it is due for the tables.
const CONTENT_OCTETS_DUE: u64 = 2 << 20;
const FILE_OCTETS_DUE: u64 = 8 << 20;
/// Octets of the file that are looked at: what is due, as often as `OVERDUE` lets it grow, and a batch, all with room to spare.
const FILE_OCTETS_MAX: u64 = 64 << 20;
/// So many times what is due, and a commit moves it itself, because nobody tended.
const OVERDUE: usize = 4;
/// Octets of the buffer for frames that are kept between batches.
const BUFFER_KEPT: usize = 256 << 10;

/// The file and what it holds.
pub(super) struct Intake {
    path: PathBuf,
    file: File,
    syncs: bool,
    entries_due: usize,
    salt: i64,
    /// Of the last frame.
    number: i64,
    end: u64,
    buffer: Vec<u8>,
    held: Held,
}

/// What opening finds.
#[derive(Default)]
pub(super) struct Found {
    /// Of the frames that count, in order.
    pub(super) batches: Vec<Vec<Record>>,
    /// Whether a frame is not there though one behind it is: it was synced before that one was written, and the disk has not
    /// kept it.
    pub(super) misses_some: bool,
}

/// What the frames come to: what is to be written to the tables.
#[derive(Default)]
struct Held {
    batches: usize,
    accepted: BTreeMap<MessageId, (Arc<Message>, Content)>,
    content_octets: u64,
    settled: Vec<MessageId>,
    entries: Vec<JournalEntry>,
    hops: BTreeMap<NextHop, Hop>,
}

/// A hop's row as the frames leave it.
struct Hop {
    /// The count in the table; 0 where it has no row.
    in_table: u64,
    row: Option<HopRow>,
    /// Whether this row was made since: the one in the table, if there is one, is another's.
    made: bool,
}

impl Intake {
    /// Opens the file, made if it is not there. With it what is not in the tables, by `counters`.
    pub(super) fn open(dir: &Path, options: &Options, counters: &Counters) -> Result<(Self, Found)> {
        let path = dir.join(NAME);
        let file = open_file(&path)?;
        let len = file.metadata().map_err(at(&path))?.len().min(FILE_OCTETS_MAX);
        let mut octets = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut octets, 0).map_err(at(&path))?;
        if frame::read(&octets, counters.salt).is_some_and(|(first, ..)| first > counters.taken + 1) {
            // As when spool.db is put back from a copy, and this is not.
            return Err(damaged("spool.intake goes on from a later time than that of spool.db"));
        }
        let mut found = Found::default();
        let (mut number, mut rest) = (counters.taken, octets.as_slice());
        while let Some((of_frame, payload, behind)) = frame::find(rest, counters.salt) {
            rest = behind;
            if of_frame > number {
                found.misses_some |= of_frame > number + 1;
                number = of_frame;
                let records = frame::records(payload);
                found.batches.push(records.ok_or_else(|| damaged("a batch in spool.intake cannot be read"))?);
            }
        }
        let intake = Self {
            path,
            file,
            syncs: options.synchronous == Synchronous::Full,
            entries_due: options.intake_entries_due,
            salt: counters.salt,
            number,
            end: 0,
            buffer: Vec::new(),
            held: Held::default(),
        };
        Ok((intake, found))
    }

    /// Copies the file, in which frames are missing, before it is written again. The counts of the hops are then to be made
    /// anew, also by a later opening (`is_copied`), until the copy is `put_aside`.
    pub(super) fn copy(&self) -> Result<()> {
        let copy = self.path.with_added_extension(DAMAGED);
        std::fs::copy(&self.path, &copy).map_err(at(&copy))?;
        File::open(&copy).and_then(|copy| copy.sync_all()).map_err(at(&copy))
    }

    pub(super) fn is_copied(&self) -> bool {
        self.path.with_added_extension(DAMAGED).exists()
    }

    /// Gives the copy the name under which it stays.
    pub(super) fn put_aside(&self) -> Result<()> {
        let name = self.path.with_added_extension(format!("{DAMAGED}-{}", self.number));
        std::fs::rename(self.path.with_added_extension(DAMAGED), &name).map_err(at(&name))
    }

    /// The last frame.
    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// Whether a batch is one for the intake: all of it small, and nothing in it that asks what is in the tables. `last_id`:
    /// the highest id accepted, beyond which none is there.
    pub(super) fn takes(batch: &[Record], last_id: MessageId) -> bool {
        let (mut last, mut octets) = (last_id, 0);
        let small = |record: &Record| match record {
            Record::Accept { message, content: Content::Memory(content) } => {
                octets += content.len() + RECIPIENT_OCTETS * message.recipients.len();
                let is_next = message.id > last;
                last = message.id;
                is_next && content.len() as u64 == message.size && message.size <= IN_ROW_MAX
            }
            Record::Journal(entry) => {
                octets += entry.body.len();
                true
            }
            Record::Waiting { .. } => {
                octets += COUNT_OCTETS;
                true
            }
            Record::Settle { .. } => true,
            Record::Accept { .. } | Record::Divide { .. } | Record::Hop { .. } => false,
        };
        batch.iter().all(small) && octets <= BATCH_OCTETS_MAX
    }

    /// Writes a batch and syncs it. **Then the batch is ours**; `hold` it.
    pub(super) fn write(&mut self, batch: &[Record]) -> Result<()> {
        self.buffer.clear();
        let number = self.number + 1;
        frame::write(&mut self.buffer, self.salt, number, batch)
            .map_err(|error| damaged(&format!("a batch for spool.intake: {error}")))?;
        self.file.write_all_at(&self.buffer, self.end).map_err(at(&self.path))?;
        if self.syncs {
            self.file.sync_data().map_err(at(&self.path))?;
        }
        self.end += self.buffer.len() as u64;
        self.number = number;
        self.buffer.shrink_to(BUFFER_KEPT);
        Ok(())
    }

    /// Adds a batch of a frame to what is held. `row_of`: a hop's row in the table.
    pub(super) fn hold(
        &mut self,
        batch: &[Record],
        mut row_of: impl FnMut(&NextHop) -> Result<Option<HopRow>>,
    ) -> Result<Committed> {
        let held = &mut self.held;
        held.batches += 1;
        let mut hops = Vec::new();
        for record in batch {
            match record {
                Record::Accept { message, content } => {
                    held.content_octets += content.octets_in_memory();
                    held.accepted.insert(message.id, (Arc::clone(message), content.clone()));
                }
                Record::Settle { id } => match held.accepted.remove(id) {
                    Some((_, content)) => held.content_octets -= content.octets_in_memory(),
                    None => held.settled.push(*id),
                },
                Record::Waiting { hop, delta } => {
                    if !held.hops.contains_key(hop) {
                        let row = row_of(hop)?;
                        let in_table = row.as_ref().map_or(0, |row| row.waiting);
                        held.hops.insert(hop.clone(), Hop { in_table, row, made: false });
                    }
                    hops.extend(held.hops.get_mut(hop).and_then(|known| known.wait(hop, *delta)));
                }
                Record::Journal(entry) => held.entries.push(entry.clone()),
                Record::Divide { .. } | Record::Hop { .. } => {
                    return Err(damaged("a batch in spool.intake is not one for it"));
                }
            }
        }
        Ok(Committed { hops })
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.batches == 0
    }

    /// Whether so much is held that it is to be moved into the tables.
    pub(super) fn is_due(&self) -> bool {
        self.is_beyond(1)
    }

    /// Whether nobody has moved what is due.
    pub(super) fn is_overdue(&self) -> bool {
        self.is_beyond(OVERDUE)
    }

    fn is_beyond(&self, times: usize) -> bool {
        let Held { accepted, entries, settled, content_octets, .. } = &self.held;
        accepted.len() + entries.len() + settled.len() >= times * self.entries_due
            || *content_octets >= times as u64 * CONTENT_OCTETS_DUE
            || self.end >= times as u64 * FILE_OCTETS_DUE
    }

    /// Whether the tables alone do not tell what there is of this message.
    pub(super) fn has(&self, id: MessageId) -> bool {
        self.held.accepted.contains_key(&id) || self.held.settled.contains(&id)
    }

    /// What is to be written to the tables. Once it is there, say so by `taken`.
    pub(super) fn take(&mut self) -> Vec<Record> {
        let Held { accepted, settled, entries, hops, .. } = std::mem::take(&mut self.held);
        let accepted = accepted.into_values().map(|(message, content)| Record::Accept { message, content });
        let settled = settled.into_iter().map(|id| Record::Settle { id });
        let waiting = hops.into_iter().flat_map(|(hop, known)| known.changes(hop));
        // A settle that found nothing here comes first: it is about what is in the tables, and not about what was accepted after it.
        settled.chain(accepted).chain(waiting).chain(entries.into_iter().map(Record::Journal)).collect()
    }

    /// All frames are in the tables: the next is written over them.
    pub(super) fn taken(&mut self) {
        self.end = 0;
    }
}

impl Hop {
    /// Adds to the count; the row, if there was one and still is.
    fn wait(&mut self, hop: &NextHop, delta: i64) -> Option<HopRow> {
        let known = self.row.is_some();
        self.row = rules::wait(self.row.take(), hop, delta);
        self.made |= !known && self.row.is_some();
        self.row.clone().filter(|_| known)
    }

    /// What makes the table's row this one.
    fn changes(self, hop: NextHop) -> impl Iterator<Item = Record> {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (before, after) = (signed(self.in_table), signed(self.row.map_or(0, |row| row.waiting)));
        let steps = if self.made { [-before, after] } else { [after - before, 0] };
        let change = move |delta| Record::Waiting { hop: hop.clone(), delta };
        steps.into_iter().filter(|delta| *delta != 0).map(change)
    }
}

/// The file's name.
const NAME: &str = "spool.intake";
/// The extension of a copy that was made because frames are missing.
const DAMAGED: &str = "damaged";

/// The copies that are there.
pub(super) fn damaged_copies(dir: &Path) -> Vec<PathBuf> {
    let prefix = format!("{NAME}.{DAMAGED}-");
    let is_copy = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_copy).collect()
}

fn open_file(path: &Path) -> Result<File> {
    let mut options = File::options();
    // What is there is mail.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(at(path))
}

/// Makes the file, so that its name is synced with the folder's others.
pub(super) fn make(dir: &Path) -> Result<()> {
    let path = dir.join(NAME);
    let file = open_file(&path)?;
    let (own, folder) = (file.metadata().map_err(at(&path))?, dir.metadata().map_err(at(dir))?);
    if own.uid() != folder.uid() {
        // Made by root, who asked while no service ran: it is the folder's owner's, as SQLite's log is. Refused, it is not root's doing.
        let _ = fchown(&file, Some(folder.uid()), Some(folder.gid()));
    }
    Ok(())
}
