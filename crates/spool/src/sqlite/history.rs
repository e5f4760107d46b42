//! The history: tables of journal entries that are dropped whole.
//!
//! A day has one table or, when much is sent, several, each with a row in `history`. A table is in the order of writing, so that
//! an entry costs the end of a page (clustered by hop, measured: a tenth more CPU a message at one hop, three quarters at 1,000).
//! One index is by hop, the other by what an entry is about: the number of a message, or that of the hop for all that waited there.

use super::fault::Result;
use super::rows::{hop_of_row, id_of_row, id_to_row, limit_to_row};
use crate::record::JournalEntry;
use crate::rules;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use rusqlite::{CachedStatement, Connection, Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// Tables of history kept; the oldest goes beyond it. With 100,000 entries each, 25 million: 3.5 million a day.
const PARTS_MAX: usize = 256;

/// The tables of history.
pub(super) struct History {
    /// By day, then by their first entry: so is the order of all entries.
    parts: Vec<Part>,
    rows_max: i64,
}

struct Part {
    day: i64,
    first_entry: i64,
    number: i64,
    /// The statement that appends to it.
    insert: String,
}

impl Part {
    fn new(day: i64, first_entry: i64, number: i64) -> Self {
        let insert = format!(
            "INSERT INTO history_{number}(hop, entry, about, at, name, body) VALUES(?, ?, ?, ?, ?, ?)"
        );
        Self { day, first_entry, number, insert }
    }
}

impl History {
    pub(super) fn read(db: &Connection, rows_max: i64) -> Result<Self> {
        let mut select =
            db.prepare("SELECT day, first_entry, part FROM history ORDER BY day, first_entry")?;
        let part = |row: &Row<'_>| Ok(Part::new(row.get(0)?, row.get(1)?, row.get(2)?));
        let parts = select.query_map([], part)?.collect::<rusqlite::Result<_>>()?;
        Ok(Self { parts, rows_max })
    }

    /// Appends entries in their order.
    pub(super) fn append<'a>(
        &mut self,
        db: &Connection,
        next_entry: &mut i64,
        entries: impl Iterator<Item = &'a JournalEntry>,
    ) -> Result<()> {
        // Most are of one table and one hop; to look a statement up costs about as much as to run it.
        let mut insert: Option<(i64, CachedStatement<'_>)> = None;
        let mut hop: Option<(&NextHop, String, i64)> = None;
        for entry in entries {
            let day = entry.at.day();
            let usable = |part: &Part| part.day == day && *next_entry - part.first_entry < self.rows_max;
            let place = match self.parts.iter().rposition(|part| part.day == day) {
                Some(place) if self.parts.get(place).is_some_and(usable) => place,
                _ => self.begin_part(db, day, *next_entry)?,
            };
            let Some(part) = self.parts.get(place) else { continue };
            let (_, insert) = match insert.take_if(|(number, _)| *number == part.number) {
                Some(same) => insert.insert(same),
                None => insert.insert((part.number, db.prepare_cached(&part.insert)?)),
            };
            let (_, name, number) = match hop.take_if(|(hop, ..)| **hop == entry.hop) {
                Some(same) => hop.insert(same),
                None => {
                    let name = entry.hop.to_string();
                    let number = hop_number(&name);
                    hop.insert((&entry.hop, name, number))
                }
            };
            let about = entry.message.map_or(*number, id_to_row);
            insert.execute(params![*number, *next_entry, about, entry.at.0, *name, entry.body])?;
            *next_entry += 1;
        }
        Ok(())
    }

    /// Makes a table; where it stands among the parts.
    fn begin_part(&mut self, db: &Connection, day: i64, first_entry: i64) -> Result<usize> {
        let number = self.parts.iter().map(|part| part.number).max().unwrap_or(0) + 1;
        db.execute_batch(&format!(
            "CREATE TABLE history_{number}(
                entry INTEGER PRIMARY KEY, hop INTEGER NOT NULL, about INTEGER NOT NULL, at INTEGER NOT NULL,
                name TEXT NOT NULL, body TEXT NOT NULL);
            CREATE INDEX history_{number}_hop ON history_{number}(hop);
            CREATE INDEX history_{number}_about ON history_{number}(about);"
        ))?;
        db.execute(
            "INSERT INTO history(part, day, first_entry) VALUES(?, ?, ?)",
            [number, day, first_entry],
        )?;
        let place = self.parts.partition_point(|part| (part.day, part.first_entry) < (day, first_entry));
        self.parts.insert(place, Part::new(day, first_entry, number));
        Ok(place)
    }

    /// Drops one table that is old, or the oldest where there are too many.
    pub(super) fn tend(&mut self, db: &Connection, now: Wall) -> Result<()> {
        let old = self.parts.iter().position(|part| rules::history_is_old(part.day, now));
        let Some(place) = old.or((self.parts.len() > PARTS_MAX).then_some(0)) else { return Ok(()) };
        let Part { number, .. } = self.parts.remove(place);
        db.execute_batch(&format!(
            "BEGIN; DROP TABLE history_{number}; DELETE FROM history WHERE part = {number}; COMMIT"
        ))?;
        Ok(())
    }

    pub(super) fn of_hop(&self, db: &Connection, hop: &NextHop, limit: usize) -> Result<Vec<JournalEntry>> {
        let mut found = BTreeMap::new();
        self.find(db, &Sought::at_hop("hop", hop.to_string(), LAST), limit, &mut found)?;
        Ok(newest(found, limit))
    }

    /// Entries about the message, and about its hops: those of `waits_at`, when it is stored, and those it was tried at.
    pub(super) fn of_message(
        &self,
        db: &Connection,
        id: MessageId,
        waits_at: Option<BTreeSet<String>>,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let mut found = BTreeMap::new();
        let own = Sought { column: "about", number: id_to_row(id), hop: None, last: LAST };
        self.find(db, &own, limit, &mut found)?;
        let last = match (&waits_at, found.last_key_value()) {
            (Some(_), _) => LAST,
            (None, Some((last, _))) => *last,
            (None, None) => return Ok(Vec::new()),
        };
        let mut hops = waits_at.unwrap_or_default();
        hops.extend(found.values().map(|entry| entry.hop.to_string()));
        for hop in hops {
            self.find(db, &Sought::at_hop("about", hop, last), limit, &mut found)?;
        }
        Ok(newest(found, limit))
    }

    /// Adds the newest `limit` of the entries sought.
    fn find(
        &self,
        db: &Connection,
        sought: &Sought,
        limit: usize,
        found: &mut BTreeMap<Place, JournalEntry>,
    ) -> Result<()> {
        let mut left = limit;
        for Part { day, number, .. } in self.parts.iter().rev().filter(|part| part.day <= sought.last.0) {
            let last = if *day == sought.last.0 { sought.last.1 } else { i64::MAX };
            let mut select = db.prepare_cached(&format!(
                "SELECT entry, about, at, name, body FROM history_{number}
                 WHERE {column} = ?1 AND entry <= ?2 AND (?3 IS NULL OR name = ?3) ORDER BY entry DESC LIMIT ?4",
                column = sought.column
            ))?;
            let mut rows = select.query(params![sought.number, last, sought.hop, limit_to_row(left)])?;
            while let Some(row) = rows.next()? {
                found.insert((*day, row.get(0)?), entry_of_row(row)?);
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Where an entry is in the order of all: its day, and its number.
type Place = (i64, i64);

const LAST: Place = (i64::MAX, i64::MAX);

/// Which entries are sought: those with `number` in `column`, up to `last`.
struct Sought {
    column: &'static str,
    number: i64,
    /// The hop's text where `number` is that of a hop, which another may have too.
    hop: Option<String>,
    last: Place,
}

impl Sought {
    fn at_hop(column: &'static str, hop: String, last: Place) -> Self {
        Self { column, number: hop_number(&hop), hop: Some(hop), last }
    }
}

fn newest(found: BTreeMap<Place, JournalEntry>, limit: usize) -> Vec<JournalEntry> {
    let surplus = found.len().saturating_sub(limit);
    found.into_values().skip(surplus).collect()
}

fn entry_of_row(row: &Row<'_>) -> Result<JournalEntry> {
    let about: i64 = row.get(1)?;
    Ok(JournalEntry {
        message: (about >= 0).then(|| id_of_row(about)),
        hop: hop_of_row(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
        at: Wall(row.get(2)?),
        body: row.get(4)?,
    })
}

/// A number below zero for a hop's text (64-bit FNV-1a, halved), so that the text stands once in a row and in no index.
fn hop_number(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    -1 - (hash >> 1).cast_signed()
}
