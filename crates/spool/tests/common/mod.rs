//! Batches as a queue would write them, and a survey that asks a store everything.

use postroad_mail::address::ReversePath;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Wall;
use postroad_spool::Store;
use postroad_spool::record::{
    CONTENT_IN_MEMORY_MAX, Content, DraftId, Gate, GateKind, HopRow, HopState, JournalEntry, Load, Loaded,
    Message, Pending, Record, Stored, Totals,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;

/// The start of the time in which everything here happens.
pub const NOW: Wall = Wall(1_795_590_028_000);
const DAY_MILLIS: i64 = 86_400_000;

/// The hops of all tests; their order as text is not that of the type.
pub fn hops() -> Vec<NextHop> {
    let texts =
        ["mx:a.example", "mx:b.example", "ip:192.0.2.1", "smart:relay.example:25", "drop:", "badmail:"];
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What is done next, to messages named by their place among those that live.
#[derive(Clone, Debug)]
pub enum Act {
    Accept { hops: Vec<usize>, size: usize, draft: bool },
    Divide { pick: usize, pending: Vec<(usize, i64)> },
    Settle { pick: usize },
    Waiting { hop: usize, delta: i64 },
    Hop { hop: usize, due: i64, gate: Option<GateKind> },
    Journal { pick: Option<usize>, hop: usize, day: i64, len: usize },
}

/// Sizes around each boundary, the large ones rarely.
fn size() -> impl Strategy<Value = usize> {
    let memory_max = CONTENT_IN_MEMORY_MAX as usize;
    prop_oneof![
        20 => 0usize..6_000,
        10 => (16 * 1024 - 1)..=(16 * 1024 + 1usize),
        10 => 17_000usize..60_000,
        4 => (memory_max - 1)..=(memory_max + 1),
        1 => ((4 << 20) - 1)..=((4 << 20) + 1usize),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let hop = 0..hops().len();
    let gate = prop_oneof![Just(None), Just(Some(GateKind::Dns)), Just(Some(GateKind::Host))];
    prop_oneof![
        6 => (vec(hop.clone(), 1..4), size(), any::<bool>())
            .prop_map(|(hops, size, draft)| Act::Accept { hops, size, draft }),
        4 => (any::<usize>(), vec((hop.clone(), 0i64..5), 1..4))
            .prop_map(|(pick, pending)| Act::Divide { pick, pending }),
        4 => any::<usize>().prop_map(|pick| Act::Settle { pick }),
        4 => (hop.clone(), -3i64..6).prop_map(|(hop, delta)| Act::Waiting { hop, delta }),
        2 => (hop.clone(), 0i64..5, gate).prop_map(|(hop, due, gate)| Act::Hop { hop, due, gate }),
        4 => (proptest::option::of(any::<usize>()), hop, -1i64..2, 0usize..400)
            .prop_map(|(pick, hop, day, len)| Act::Journal { pick, hop, day, len }),
    ]
}

/// An act of a kind that a queue with nothing in its way writes.
fn small_act() -> impl Strategy<Value = Act> {
    let hop = 0..2usize;
    prop_oneof![
        4 => (vec(hop.clone(), 1..3), 0usize..6_000)
            .prop_map(|(hops, size)| Act::Accept { hops, size, draft: false }),
        4 => any::<usize>().prop_map(|pick| Act::Settle { pick }),
        3 => (hop.clone(), -3i64..6).prop_map(|(hop, delta)| Act::Waiting { hop, delta }),
        2 => (proptest::option::of(any::<usize>()), hop, -1i64..2, 0usize..400)
            .prop_map(|(pick, hop, day, len)| Act::Journal { pick, hop, day, len }),
    ]
}

/// Batches of acts.
pub fn batches(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<Act>>> {
    vec(prop_oneof![vec(act(), 1..8), vec(small_act(), 1..8)], count)
}

/// The queue's side: gives ids, knows what lives.
#[derive(Clone, Default)]
pub struct Writer {
    last: MessageId,
    live: Vec<(MessageId, usize)>,
    drafts: u64,
}

/// A batch and the drafts that it takes.
pub struct Batch {
    pub records: Vec<Record>,
    pub drafts: Vec<(DraftId, Vec<u8>)>,
}

impl Writer {
    /// The ids given so far, those of settled messages included, and one that was not given.
    pub fn ids(&self) -> Vec<MessageId> {
        (1..=self.last.0 + 1).map(MessageId).collect()
    }

    pub fn batch(&mut self, acts: &[Act]) -> Batch {
        let mut batch = Batch { records: Vec::new(), drafts: Vec::new() };
        for act in acts {
            self.act(act, &mut batch);
        }
        batch
    }

    fn act(&mut self, act: &Act, batch: &mut Batch) {
        let hop = |index: usize| hops()[index].clone();
        let record = match act {
            Act::Accept { hops, size, draft } => {
                self.last = MessageId(self.last.0 + 1);
                self.live.push((self.last, hops.len()));
                let octets = octets(self.last, *size);
                let content = if *draft {
                    self.drafts += 1;
                    batch.drafts.push((DraftId(self.drafts), octets));
                    Content::Draft(DraftId(self.drafts))
                } else {
                    Content::Memory(Arc::new(octets))
                };
                let recipients = hops.iter().map(|index| recipient(hop(*index))).collect();
                Record::Accept { message: Arc::new(message(self.last, recipients, *size)), content }
            }
            Act::Divide { pick, pending } => {
                let (id, recipients) = self.pick(*pick);
                let pending = pending.iter().zip((0..recipients.max(1)).rev());
                let one = |((at, due), recipient): (&(usize, i64), usize)| Pending {
                    recipient: recipient as u32,
                    hop: hop(*at),
                    due: Wall(*due),
                    attempts: *due as u32,
                    cause: format!("450 try {due} later"),
                };
                Record::Divide { id, pending: pending.map(one).collect() }
            }
            Act::Settle { pick } => {
                let (id, _) = self.pick(*pick);
                self.live.retain(|(live, _)| *live != id);
                Record::Settle { id }
            }
            Act::Waiting { hop: index, delta } => {
                let taken =
                    |record: &Record| matches!(record, Record::Waiting { hop: at, .. } if *at == hop(*index));
                if batch.records.iter().any(taken) {
                    return;
                }
                Record::Waiting { hop: hop(*index), delta: *delta }
            }
            Act::Hop { hop: index, due, gate } => {
                let gate = gate.map(|kind| Gate {
                    kind,
                    until: Wall(*due),
                    step: 1,
                    cause: "no answer".to_owned(),
                    since: Wall(0),
                });
                let state =
                    HopState { gate, dns_waits: vec![(Wall(1), Wall(*due))], host_failures: 0, locals: 0 };
                Record::Hop { hop: hop(*index), due: Wall(*due), state }
            }
            Act::Journal { pick, hop: index, day, len } => Record::Journal(JournalEntry {
                message: pick.map(|pick| self.pick(pick).0),
                hop: hop(*index),
                at: Wall(NOW.0 + day * DAY_MILLIS),
                body: format!("{{\"said\":\"{}\"}}", "x".repeat(*len)),
            }),
        };
        batch.records.push(record);
    }

    /// One that lives, or one that does not and is to be passed over.
    fn pick(&self, pick: usize) -> (MessageId, usize) {
        let unknown = (MessageId(self.last.0 + 1), 1);
        self.live.get(pick % (self.live.len() + 1)).copied().unwrap_or(unknown)
    }
}

fn recipient(hop: NextHop) -> Recipient {
    Recipient::plain("someone@example.org".parse().unwrap(), hop)
}

pub fn message(id: MessageId, recipients: Vec<Recipient>, size: usize) -> Message {
    let path: ReversePath = "sender@example.net".parse().unwrap();
    let trace = "Received: from client.example ([192.0.2.9]) by mail.example\r\n".to_owned();
    Message { id, sender: Sender::plain(path), recipients, trace, size: size as u64 }
}

/// The content of a message, unlike that of its neighbours.
pub fn octets(id: MessageId, size: usize) -> Vec<u8> {
    let piece: Vec<u8> = (0..251).map(|at: u64| (at * at * 31 + id.0 * 97) as u8).collect();
    let mut octets = piece.repeat(size / piece.len() + 1);
    octets.truncate(size);
    octets
}

/// All that a store tells.
#[derive(Debug, PartialEq)]
pub struct Survey {
    totals: Totals,
    messages: Vec<Stored>,
    hops: Vec<HopRow>,
    dns_hops: Vec<HopRow>,
    due_hops: Vec<HopRow>,
    at_hops: Vec<AtHop>,
    of_messages: Vec<(Vec<Stored>, Vec<JournalEntry>)>,
}

#[derive(Debug, PartialEq)]
struct AtHop {
    row: Vec<HopRow>,
    fresh: Vec<Stored>,
    pending: Vec<Stored>,
    earliest: Option<Wall>,
    old: Vec<Stored>,
    journal: Vec<JournalEntry>,
}

/// Asks everything, in pages of `limit`, and checks what must hold of any answers.
pub fn survey(store: &mut dyn Store, ids: &[MessageId], limit: usize, content_total_max: u64) -> Survey {
    let mut ask = Asker { store, limit, content_total_max };
    let Loaded::Totals(totals) = ask.load(&Load::Totals) else { panic!("totals") };
    let messages =
        ask.messages(|limit, last| Load::Messages { after: last.map(|last| last.message.id), limit });
    assert_eq!(totals.messages, messages.len() as u64);
    assert!(messages.iter().all(|stored| stored.message.id <= totals.last_id));
    assert!(messages.iter().all(|stored| stored.pending.as_ref().is_none_or(|pending| !pending.is_empty())));
    for stored in &messages {
        ask.check_content(&stored.message);
    }
    let hops =
        ask.hops(|limit, last| Load::Hops { dns_only: false, after: last.map(|row| row.hop.clone()), limit });
    let dns_hops =
        ask.hops(|limit, last| Load::Hops { dns_only: true, after: last.map(|row| row.hop.clone()), limit });
    assert!(hops.is_sorted_by_key(|row| row.hop.to_string()));
    assert!(dns_hops.iter().eq(hops.iter().filter(|row| row.state.waits_for_dns())));
    let due_hops = ask.hops(|limit, last| Load::DueHops {
        until: Wall(3),
        after: last.map(|row| (row.due, row.hop.clone())),
        limit,
    });
    let mut due: Vec<_> = hops.iter().filter(|row| row.due <= Wall(3)).cloned().collect();
    due.sort_by_key(|row| row.due);
    assert_eq!(due, due_hops);
    let at_hops = self::hops().into_iter().map(|hop| ask.at_hop(hop, &messages)).collect();
    let of_messages = ids.iter().map(|id| ask.of_message(*id)).collect();
    Survey { totals, messages, hops, dns_hops, due_hops, at_hops, of_messages }
}

struct Asker<'a> {
    store: &'a mut dyn Store,
    limit: usize,
    content_total_max: u64,
}

impl Asker<'_> {
    fn load(&mut self, load: &Load) -> Loaded {
        self.store.load(load).unwrap()
    }

    fn messages(&mut self, load: impl Fn(usize, Option<&Stored>) -> Load) -> Vec<Stored> {
        let mut all: Vec<Stored> = Vec::new();
        loop {
            let Loaded::Messages(page) = self.load(&load(self.limit, all.last())) else { panic!("messages") };
            assert!(page.len() <= self.limit);
            let is_last = page.len() < self.limit;
            all.extend(page);
            assert!(all.len() < 1_000, "the pages have no end");
            if is_last {
                return all;
            }
        }
    }

    fn hops(&mut self, load: impl Fn(usize, Option<&HopRow>) -> Load) -> Vec<HopRow> {
        let mut all: Vec<HopRow> = Vec::new();
        loop {
            let Loaded::Hops(page) = self.load(&load(self.limit, all.last())) else { panic!("hops") };
            assert!(page.len() <= self.limit);
            let is_last = page.len() < self.limit;
            all.extend(page);
            assert!(all.len() < 1_000, "the pages have no end");
            if is_last {
                return all;
            }
        }
    }

    fn journal(&mut self, load: &Load) -> Vec<JournalEntry> {
        let Loaded::Journal(entries) = self.load(load) else { panic!("journal") };
        entries
    }

    /// The content in pieces is what was accepted.
    fn check_content(&mut self, message: &Message) {
        let expected = octets(message.id, message.size as usize);
        let mut read = Vec::new();
        loop {
            let len = 1_000_003.min(expected.len() / 2 + 1);
            let load = Load::Content { id: message.id, offset: read.len() as u64, len };
            let Loaded::Content(Some(piece)) = self.load(&load) else {
                panic!("{} has no content", message.id)
            };
            read.extend_from_slice(&piece);
            if piece.len() < len {
                break;
            }
        }
        assert!(read == expected, "the content of {} is another", message.id);
    }

    fn at_hop(&mut self, hop: NextHop, messages: &[Stored]) -> AtHop {
        let content_total_max = self.content_total_max;
        let fresh = self.messages(|limit, last| Load::Fresh {
            hop: hop.clone(),
            after: last.map(|last| last.message.id),
            limit,
            content_total_max,
        });
        let is_fresh_here = |stored: &&Stored| {
            stored.pending.is_none() && stored.message.recipients.iter().any(|one| one.hop == hop)
        };
        assert_eq!(ids_of(&fresh), ids_of(messages.iter().filter(is_fresh_here)));

        let due = |stored: &Stored| {
            let here = stored.pending.iter().flatten().filter(|one| one.hop == hop);
            here.map(|one| one.due).min().unwrap_or(Wall(0))
        };
        let until = Wall(3);
        let pending = self.messages(|limit, last| Load::Pending {
            hop: hop.clone(),
            until,
            after: last.map(|last| (due(last), last.message.id)),
            limit,
            content_total_max,
        });
        let is_pending_here = |stored: &&Stored| stored.pending.iter().flatten().any(|one| one.hop == hop);
        let mut expected: Vec<_> = messages.iter().filter(is_pending_here).collect();
        expected.sort_by_key(|stored| (due(stored), stored.message.id));
        let earliest = expected.first().map(|stored| due(stored));
        expected.retain(|stored| due(stored) <= until);
        assert_eq!(ids_of(&pending), ids_of(expected));
        assert_eq!(self.load(&Load::EarliestPending(hop.clone())), Loaded::Due(earliest));

        let before = MessageId(messages.last().map_or(0, |stored| stored.message.id.0));
        let old = self.messages(|limit, last| Load::Old {
            hop: hop.clone(),
            before,
            after: last.map(|last| last.message.id),
            limit,
        });
        let is_old = |stored: &&Stored| {
            (is_fresh_here(stored) || is_pending_here(stored)) && stored.message.id < before
        };
        assert_eq!(ids_of(&old), ids_of(messages.iter().filter(is_old)));
        for stored in fresh.iter().chain(&pending) {
            if let Content::Memory(content) = &stored.content {
                assert!(**content == octets(stored.message.id, stored.message.size as usize));
            }
        }
        let Loaded::Hops(row) = self.load(&Load::Hop(hop.clone())) else { panic!("hop") };
        let journal = self.journal(&Load::JournalOfHop { hop, limit: 3 });
        AtHop { row, fresh, pending, earliest, old, journal }
    }

    fn of_message(&mut self, id: MessageId) -> (Vec<Stored>, Vec<JournalEntry>) {
        let Loaded::Messages(found) = self.load(&Load::Message(id)) else { panic!("message") };
        if found.is_empty() {
            assert_eq!(self.load(&Load::Content { id, offset: 0, len: 1 }), Loaded::Content(None));
        }
        (found, self.journal(&Load::JournalOfMessage { id, limit: 4 }))
    }
}

fn ids_of<'a>(messages: impl IntoIterator<Item = &'a Stored>) -> Vec<MessageId> {
    messages.into_iter().map(|stored| stored.message.id).collect()
}
