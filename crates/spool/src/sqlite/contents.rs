//! Contents outside of the database: segments, files of their own, and the drafts they come from.
//!
//! | file | made | live while | removed |
//! |---|---|---|---|
//! | `drafts/N` | by the shell | never the only place of accepted mail | after the commit; at open |
//! | `segments/N` | at the first content after open or after the one before was sealed | a message is in it | `tend`; at open |
//! | `bodies/ID` | before the commit, renamed from the draft | its message is | `tend`, which also looks through the folder once |

use super::fault::{Fault, Result, at, damaged};
use super::rows::{id_of_row, id_to_row};
use crate::StoreError;
use crate::record::{Content, Message, Record};
use postroad_mail::id::MessageId;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::fs::{self, File, ReadDir};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `segment` of a message whose content is in its row.
pub(super) const IN_ROW: i64 = 0;

/// `segment` of a message whose content is a file of its own.
pub(super) const OWN_FILE: i64 = -1;

/// Octets of content kept in a message's row (measured: 100 KiB in rows cost 150-200 us a message, appended 60).
pub(super) const IN_ROW_MAX: u64 = 16 * 1024;

/// Octets of content appended to a segment: what is larger is not worth copying, and would make a segment last longer.
const IN_SEGMENT_MAX: u64 = 4 << 20;

/// Files removed, and files of `bodies/` looked at, in one `tend`: removing one of tens of MiB takes milliseconds.
const REMOVED_IN_ONE_TEND: usize = 8;
const LOOKED_AT_IN_ONE_TEND: usize = 64;

/// Files waiting to be removed before a commit removes them itself, because nobody tended.
const DEAD_MAX: usize = 10_000;

/// Where a content was put.
pub(super) struct Placed {
    pub(super) segment: i64,
    pub(super) offset: i64,
    /// The content, where it is to be in the row.
    pub(super) in_row: Option<Arc<Vec<u8>>>,
}

/// The files' owner.
pub(super) struct Contents {
    dir: PathBuf,
    syncs: bool,
    segment_octets_max: u64,
    /// The segment that is appended to. Each opening begins a new one: the tail of an old one may be anything.
    segment: Option<Segment>,
    next_segment: i64,
    unsynced: Unsynced,
    /// Change of the number of messages per segment, in the batch under way.
    live: BTreeMap<i64, i64>,
    /// Whether a segment may have died.
    segment_may_be_dead: bool,
    /// What the batch under way makes superfluous once it is committed.
    dying: Vec<PathBuf>,
    dead: Vec<PathBuf>,
    /// Files of `bodies/` that were not looked at yet since opening: a crash may have left some without a message.
    unseen: Option<ReadDir>,
}

struct Segment {
    number: i64,
    path: PathBuf,
    file: File,
    len: u64,
}

/// What must be synced before the batch's commit.
#[derive(Default)]
struct Unsynced {
    segment: bool,
    segments_folder: bool,
    bodies_folder: bool,
}

impl Contents {
    pub(super) fn open(dir: &Path, db: &Connection, options: &super::Options) -> Result<Self> {
        let segment_octets_max = options.segment_octets_max;
        let syncs = options.synchronous == super::Synchronous::Full;
        if !options.keep_drafts {
            for draft in list(&dir.join("drafts"))? {
                remove(&draft.map_err(at(dir))?.path())?;
            }
        }
        let folder = dir.join("segments");
        let mut known = db.prepare("SELECT 1 FROM segment WHERE id = ?")?;
        let mut last: i64 = db.query_row("SELECT coalesce(max(id), 0) FROM segment", [], |row| row.get(0))?;
        for file in list(&folder)? {
            let file = file.map_err(at(&folder))?;
            let number = file.file_name().to_str().and_then(|name| name.parse::<i64>().ok());
            if number.is_none_or(|number| !known.exists([number]).unwrap_or(true)) {
                remove(&file.path())?;
            }
            last = last.max(number.unwrap_or(0));
        }
        Ok(Self {
            unseen: Some(list(&dir.join("bodies"))?),
            dir: dir.to_owned(),
            syncs,
            segment_octets_max,
            segment: None,
            next_segment: last + 1,
            unsynced: Unsynced::default(),
            live: BTreeMap::new(),
            segment_may_be_dead: true,
            dying: Vec::new(),
            dead: Vec::new(),
        })
    }

    /// Puts the contents of the batch's accepted messages where they belong and syncs what is not in rows.
    pub(super) fn place(&mut self, batch: &[Record]) -> Result<Vec<Placed>> {
        let mut placed = Vec::new();
        for record in batch {
            if let Record::Accept { message, content } = record {
                placed.push(self.place_one(message, content)?);
            }
        }
        self.sync()?;
        Ok(placed)
    }

    fn place_one(&mut self, message: &Message, content: &Content) -> Result<Placed> {
        let draft = match content {
            Content::Memory(octets) => {
                check_size(message, octets.len() as u64)?;
                if message.size > IN_SEGMENT_MAX {
                    let path = self.body_path(message.id);
                    fs::write(&path, octets.as_slice()).map_err(at(&path))?;
                    return self.own_file(&path, &path);
                }
                return self.place_octets(octets);
            }
            Content::Draft(draft) => *draft,
            Content::Stored => return Err(refused(message, "was to be accepted without its content")),
        };
        let path = super::draft_path(&self.dir, draft);
        let len = fs::metadata(&path).map_err(at(&path))?.len();
        check_size(message, len)?;
        if len > IN_SEGMENT_MAX {
            return self.own_file(&path, &self.body_path(message.id));
        }
        let octets = fs::read(&path).map_err(at(&path))?;
        self.dying.push(path);
        self.place_octets(&Arc::new(octets))
    }

    fn place_octets(&mut self, octets: &Arc<Vec<u8>>) -> Result<Placed> {
        if octets.len() as u64 <= IN_ROW_MAX {
            return Ok(Placed { segment: IN_ROW, offset: 0, in_row: Some(Arc::clone(octets)) });
        }
        let segment = match &mut self.segment {
            Some(segment) if segment.len < self.segment_octets_max => segment,
            _ => self.begin_segment()?,
        };
        segment.file.write_all_at(octets, segment.len).map_err(at(&segment.path))?;
        let (number, offset) = (segment.number, segment.len);
        segment.len += octets.len() as u64;
        *self.live.entry(number).or_default() += 1;
        self.unsynced.segment = true;
        Ok(Placed { segment: number, offset: i64::try_from(offset).unwrap_or(i64::MAX), in_row: None })
    }

    /// Seals the segment and begins the next.
    fn begin_segment(&mut self) -> Result<&mut Segment> {
        if self.unsynced.segment {
            self.sync_segment()?;
        }
        let number = self.next_segment;
        self.next_segment += 1;
        let path = self.segment_path(number);
        let file = File::options().write(true).create_new(true).open(&path).map_err(at(&path))?;
        self.unsynced.segments_folder = true;
        self.segment_may_be_dead = true;
        Ok(self.segment.insert(Segment { number, path, file, len: 0 }))
    }

    fn own_file(&mut self, from: &Path, to: &Path) -> Result<Placed> {
        if self.syncs {
            File::open(from).and_then(|file| file.sync_data()).map_err(at(from))?;
        }
        if from != to {
            fs::rename(from, to).map_err(at(from))?;
        }
        self.unsynced.bodies_folder = true;
        Ok(Placed { segment: OWN_FILE, offset: 0, in_row: None })
    }

    fn sync(&mut self) -> Result<()> {
        if self.unsynced.segment {
            self.sync_segment()?;
        }
        let Unsynced { segments_folder, bodies_folder, .. } = std::mem::take(&mut self.unsynced);
        for (unsynced, name) in [(segments_folder, "segments"), (bodies_folder, "bodies")] {
            let path = self.dir.join(name);
            if unsynced && self.syncs {
                File::open(&path).and_then(|folder| folder.sync_all()).map_err(at(&path))?;
            }
        }
        Ok(())
    }

    fn sync_segment(&mut self) -> Result<()> {
        self.unsynced.segment = false;
        match &self.segment {
            Some(segment) if self.syncs => segment.file.sync_data().map_err(at(&segment.path)),
            _ => Ok(()),
        }
    }

    /// Notes that a message with content outside of its row is settled in the batch under way.
    pub(super) fn settle(&mut self, message: MessageId, segment: i64) {
        if segment == OWN_FILE {
            self.dying.push(self.body_path(message));
        } else {
            *self.live.entry(segment).or_default() -= 1;
        }
    }

    /// Writes the segments' counts, as part of the batch.
    pub(super) fn count(&mut self, db: &Connection) -> Result<()> {
        for (segment, change) in std::mem::take(&mut self.live) {
            db.prepare_cached(
                "INSERT INTO segment(id, live) VALUES(?, ?) ON CONFLICT DO UPDATE SET live = live + excluded.live",
            )?
            .execute(params![segment, change])?;
            self.segment_may_be_dead |= change < 0;
        }
        Ok(())
    }

    /// The batch is committed: what it made superfluous may go.
    pub(super) fn committed(&mut self) {
        self.dead.append(&mut self.dying);
        if self.dead.len() > DEAD_MAX {
            self.bury(DEAD_MAX);
        }
    }

    fn bury(&mut self, limit: usize) {
        for path in self.dead.drain(..limit.min(self.dead.len())) {
            // A file that stays is no harm but its room: no row names it, and the next opening finds it.
            let _ = fs::remove_file(path);
        }
    }

    pub(super) fn tend(&mut self, db: &Connection) -> Result<()> {
        self.bury(REMOVED_IN_ONE_TEND);
        self.drop_segments(db)?;
        self.look_through_bodies(db)
    }

    fn drop_segments(&mut self, db: &Connection) -> Result<()> {
        if !self.segment_may_be_dead {
            return Ok(());
        }
        let current = self.segment.as_ref().map_or(0, |segment| segment.number);
        let mut select = db.prepare_cached("SELECT id FROM segment WHERE live <= 0 AND id <> ? LIMIT ?")?;
        let limit = i64::try_from(REMOVED_IN_ONE_TEND).unwrap_or(i64::MAX);
        let dead =
            select.query_map([current, limit], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()?;
        if dead.is_empty() {
            self.segment_may_be_dead = false;
            return Ok(());
        }
        db.prepare_cached("BEGIN")?.execute([])?;
        for number in &dead {
            db.prepare_cached("DELETE FROM segment WHERE id = ?")?.execute([number])?;
        }
        db.prepare_cached("COMMIT")?.execute([])?;
        let paths: Vec<PathBuf> = dead.into_iter().map(|number| self.segment_path(number)).collect();
        self.dead.extend(paths);
        Ok(())
    }

    /// Removes files of `bodies/` that no message owns, some at a time.
    fn look_through_bodies(&mut self, db: &Connection) -> Result<()> {
        let Some(unseen) = &mut self.unseen else { return Ok(()) };
        for _ in 0..LOOKED_AT_IN_ONE_TEND {
            let Some(file) = unseen.next() else {
                self.unseen = None;
                return Ok(());
            };
            let file = file.map_err(at(&self.dir))?;
            let owner = file.file_name().to_str().and_then(|name| name.parse::<MessageId>().ok());
            let owned = match owner {
                Some(id) => db
                    .prepare_cached("SELECT 1 FROM message WHERE id = ? AND segment = ?")?
                    .exists([id_to_row(id), OWN_FILE])?,
                None => false,
            };
            if !owned {
                remove(&file.path())?;
            }
        }
        Ok(())
    }

    /// A piece of a content that is not in its row, of `size` octets.
    pub(super) fn read(
        &self,
        id: i64,
        place: (i64, i64),
        size: u64,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>> {
        let (segment, start) = place;
        let path =
            if segment == OWN_FILE { self.body_path(id_of_row(id)) } else { self.segment_path(segment) };
        let len = size.saturating_sub(offset).min(len as u64);
        let mut octets = vec![0; usize::try_from(len).unwrap_or(0)];
        let start = u64::try_from(start).unwrap_or(0).saturating_add(offset);
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut octets, start));
        match read {
            Ok(()) => Ok(octets),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof) => Err(
                damaged(&format!("the content of message {} is not in {}", id_of_row(id), path.display())),
            ),
            Err(error) => Err(at(&path)(error)),
        }
    }

    fn segment_path(&self, number: i64) -> PathBuf {
        self.dir.join("segments").join(number.to_string())
    }

    fn body_path(&self, id: MessageId) -> PathBuf {
        self.dir.join("bodies").join(id.to_string())
    }
}

fn list(folder: &Path) -> Result<ReadDir> {
    fs::read_dir(folder).map_err(at(folder))
}

fn remove(path: &Path) -> Result<()> {
    let gone =
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match gone {
        // One that is dead may be buried between being listed and being looked at.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        gone => gone.map_err(at(path)),
    }
}

fn check_size(message: &Message, len: u64) -> Result<()> {
    if len == message.size { Ok(()) } else { Err(refused(message, "is not of the size that it tells")) }
}

fn refused(message: &Message, why: &str) -> Fault {
    Fault::Other(StoreError::Failed(format!("message {} {why}", message.id)))
}
