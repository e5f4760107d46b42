//! What the store's answers are for.

use super::outcomes::Case;
use super::{AdminToken, LoadToken, Queue, QueueOutput, Selection, admin};
use crate::delivery::Failure;
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::Now;
use postroad_spool::record::{GateKind, HopRow, Load, Loaded, Stored};

/// Why something was asked of the store.
pub(super) enum Pursuit {
    /// The totals, before anything else.
    Start,
    /// Hops that come due.
    DueHops { limit: usize },
    /// Fresh messages of a hop.
    Fresh { hop: NextHop, limit: usize },
    /// Pending recipients of a hop.
    Pending { hop: NextHop, limit: usize },
    /// When a hop's next pending recipient is due.
    Earliest(NextHop),
    /// Messages of a hop that may have expired.
    Old { hop: NextHop, limit: usize },
    /// The first part of a message's content, for its notification.
    Head { id: MessageId, hop: NextHop, failed: Vec<(u32, Failure)> },
    /// Hops whose gates are to open.
    Release { dns_only: bool, admin: Option<AdminToken>, limit: usize },
    /// Messages that an administrator asked about.
    Admin { token: AdminToken, limit: Option<usize> },
    /// Hops, for the walk of this number.
    Routes(u64),
    /// What waits at its first hop.
    Rerouted(u64),
    /// Whether the store kept a batch under which it failed.
    Doubt,
}

/// Content that the answer to a question may bring into memory, octets. (One message may be larger than what is left of it.)
pub(super) fn content_of(load: &Load) -> u64 {
    match load {
        Load::Fresh { content_total_max, .. } | Load::Pending { content_total_max, .. } => *content_total_max,
        _ => 0,
    }
}

impl Queue {
    pub(super) fn loaded(&mut self, now: Now, token: LoadToken, loaded: Option<Loaded>) {
        let Some((load, pursuit)) = self.loads.remove(&token) else { return };
        self.content_total = self.content_total.saturating_sub(content_of(&load));
        let Some(loaded) = loaded else {
            // The next `StoreUp` asks this again.
            if matches!(pursuit, Pursuit::Doubt) {
                return;
            }
            if let Pursuit::Admin { token, .. } | Pursuit::Release { admin: Some(token), .. } = pursuit {
                self.admin_failed(token);
            } else {
                self.failed_loads.push((load, pursuit));
            }
            return;
        };
        match (pursuit, loaded) {
            (Pursuit::Start, Loaded::Totals(totals)) => {
                self.last_id = totals.last_id;
                self.messages = totals.messages;
                self.started = true;
                self.outputs.push_back(QueueOutput::Started);
                self.look_ahead(now);
                self.reroute_all();
            }
            (Pursuit::DueHops { limit }, Loaded::Hops(rows)) => self.due_hops(now, rows, limit),
            (Pursuit::Fresh { hop, limit }, Loaded::Messages(page)) => {
                self.fresh_page(now, &hop, &page, limit)
            }
            (Pursuit::Pending { hop, limit }, Loaded::Messages(page)) => {
                self.pending_page(now, &hop, &page, limit)
            }
            (Pursuit::Earliest(key), Loaded::Due(due)) => {
                if let Some(hop) = self.hops.get_mut(&key) {
                    hop.loading = false;
                    hop.stale = false;
                    hop.ask_earliest = false;
                    hop.pending_due = [hop.pending_due, due].into_iter().flatten().min();
                    self.batch.mark_dirty(now, key.clone());
                    self.pump(now, &key);
                }
            }
            (Pursuit::Old { hop, limit }, Loaded::Messages(page)) => {
                // Of a hop that was let go nothing is known: the next failure there looks again.
                let Some(held) = self.hops.get_mut(&hop) else { return };
                held.expiring = false;
                for stored in &page {
                    self.expire_one(now, &hop, stored);
                }
                if page.len() >= limit {
                    self.expire(now, &hop, page.last().map(|stored| stored.message.id));
                }
            }
            (Pursuit::Head { id, hop, failed }, Loaded::Content(head)) => {
                let case = Case { now, id, key: &hop };
                self.conclude(case, failed, &head.unwrap_or_default(), (Vec::new(), 0));
                self.written(id);
            }
            (Pursuit::Release { dns_only, admin, limit }, Loaded::Hops(rows)) => {
                let last = rows.last().map(|row| row.hop.clone());
                let more = rows.len() >= limit;
                for row in rows {
                    self.release_row(now, row, dns_only.then_some(GateKind::Dns));
                }
                if more {
                    self.release_page(last, dns_only, admin);
                } else if let Some(token) = admin {
                    self.admin_released(token);
                }
            }
            (Pursuit::Routes(walk), Loaded::Hops(rows)) => self.reroute_hops(now, walk, rows),
            (Pursuit::Rerouted(walk), Loaded::Messages(page)) => self.reroute_page(now, walk, &page),
            (Pursuit::Doubt, Loaded::Messages(page)) => self.witnessed(now, &page),
            (Pursuit::Admin { token, limit }, Loaded::Messages(page)) => {
                self.admin_page(now, token, &page, limit);
            }
            // A store that answers another question than it was asked is broken; nothing of its answer is used.
            _ => self.failed_loads.push((load, Pursuit::Start)),
        }
    }

    fn due_hops(&mut self, now: Now, rows: Vec<HopRow>, limit: usize) {
        let after = rows.last().map(|row| (row.due, row.hop.clone()));
        let full = rows.len() >= limit;
        for row in rows {
            let key = row.hop.clone();
            self.learn(now, row);
            self.pump(now, &key);
        }
        if full {
            self.load_due(now, after);
        }
    }

    fn fresh_page(&mut self, now: Now, key: &NextHop, page: &[Stored], limit: usize) {
        let Some(hop) = self.hops.get_mut(key) else { return };
        hop.loading = false;
        if std::mem::take(&mut hop.stale) || hop.gate_closed(now) {
            return self.pump(now, key);
        }
        hop.fresh = if page.len() >= limit {
            Some(page.last().map(|stored| stored.message.id))
        } else {
            hop.overflow.take().map(|first| Some(MessageId(first.0.saturating_sub(1))))
        };
        for stored in page {
            self.take_loaded(now, key, stored);
        }
        self.pump(now, key);
    }

    fn pending_page(&mut self, now: Now, key: &NextHop, page: &[Stored], limit: usize) {
        let Some(hop) = self.hops.get_mut(key) else { return };
        hop.loading = false;
        if std::mem::take(&mut hop.stale) || hop.gate_closed(now) {
            return self.pump(now, key);
        }
        let last = page.last().and_then(|stored| {
            let due = stored.pending.iter().flatten().filter(|one| one.hop == *key).map(|one| one.due).min();
            due.map(|due| (due, stored.message.id))
        });
        hop.pending = if page.len() >= limit { Some(last) } else { None };
        hop.ask_earliest = true;
        for stored in page {
            self.take_loaded(now, key, stored);
        }
        self.pump(now, key);
    }

    /// Asks for the messages of an administrator's request, a page or an id at a time.
    pub(super) fn ask_admin(
        &mut self,
        token: AdminToken,
        selection: &Selection,
        after: Option<MessageId>,
        next: usize,
    ) {
        match selection {
            Selection::All => {
                let limit = admin::PAGE;
                self.ask(Load::Messages { after, limit }, Pursuit::Admin { token, limit: Some(limit) });
            }
            Selection::Ids(ids) => {
                if let Some(id) = ids.get(next) {
                    self.ask(Load::Message(*id), Pursuit::Admin { token, limit: None });
                }
            }
        }
    }
}
