//! Answers to an administrator's questions about the queue: from the store, and from the queue in memory where a service
//! runs.

use postroad_control::answer::{Explanation, QueueRow, RecipientState, Step};
use postroad_control::{Failed, FailedKind};
use postroad_engine::journal::{Entry, Tried};
use postroad_engine::queue::Queue;
use postroad_engine::route;
use postroad_mail::address::Address;
use postroad_mail::domain::{Domain, Host};
use postroad_mail::hop::NextHop;
use postroad_mail::id::MessageId;
use postroad_mail::time::{Wall, brief};
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Gate, GateKind, JournalEntry, Load, Loaded, Pending, Stored};
use std::collections::BTreeMap;

/// Messages of a page of a listing.
pub(crate) const PAGE: usize = 200;
/// Journal entries told of one subject.
const STEPS_MAX: usize = 200;
/// Messages of a hop that are looked through for an address.
const MESSAGES_SEARCHED: usize = 10_000;

/// Where answers come from.
pub(crate) trait Source {
    /// Reads from the store.
    async fn load(&self, load: Load) -> Result<Loaded, Failed>;
    /// Looks at the queue in memory, if there is one.
    fn queue<T>(&self, look: impl FnOnce(&Queue) -> T) -> Option<T>;
    /// The settings in force.
    fn settings(&self) -> std::sync::Arc<Settings>;
    /// The time.
    fn now(&self) -> Wall;
}

/// The store is down.
pub(crate) fn store_down() -> Failed {
    let what = String::from("the spool cannot be read at the moment; the event log says why (event 20020)");
    Failed { kind: FailedKind::Temporary, what }
}

fn not_found(what: String) -> Failed {
    Failed { kind: FailedKind::NotFound, what }
}

pub(crate) async fn messages(source: &impl Source, load: Load) -> Result<Vec<Stored>, Failed> {
    match source.load(load).await? {
        Loaded::Messages(messages) => Ok(messages),
        _ => Err(store_down()),
    }
}

async fn gate(source: &impl Source, hop: &NextHop) -> Result<Option<Gate>, Failed> {
    if let Some(Some(view)) = source.queue(|queue| queue.hop(hop)) {
        return Ok(view.gate);
    }
    match source.load(Load::Hop(hop.clone())).await? {
        Loaded::Hops(rows) => Ok(rows.into_iter().next().and_then(|row| row.state.gate)),
        _ => Err(store_down()),
    }
}

/// The rows of a message, one a recipient. `gates` is filled as hops are met.
pub(crate) async fn rows(
    source: &impl Source,
    stored: &Stored,
    gates: &mut BTreeMap<NextHop, Option<Gate>>,
) -> Result<Vec<QueueRow>, Failed> {
    let message = &stored.message;
    let fresh = || {
        message.recipients.iter().enumerate().map(|(index, recipient)| Pending {
            recipient: u32::try_from(index).unwrap_or(u32::MAX),
            hop: recipient.hop.clone(),
            due: Wall(0),
            attempts: 0,
            cause: String::new(),
        })
    };
    let pending: Vec<Pending> = stored.pending.clone().unwrap_or_else(|| fresh().collect());
    let now = source.now();
    let active = source.queue(|queue| queue.in_flight(message.id)).unwrap_or(false);
    let mut rows = Vec::new();
    for one in pending {
        let Some(recipient) = message.recipients.get(one.recipient as usize) else { continue };
        if !gates.contains_key(&one.hop) {
            let found = gate(source, &one.hop).await?;
            gates.insert(one.hop.clone(), found);
        }
        let gate = gates.get(&one.hop).and_then(Option::as_ref);
        let until = one.due.max(gate.map_or(Wall(0), |gate| gate.until));
        let waits = until > now;
        let state = match (waits, active) {
            (true, _) => RecipientState::Deferred,
            (false, true) => RecipientState::Active,
            (false, false) => RecipientState::Ready,
        };
        let cause = match gate {
            Some(gate) if gate.until >= one.due => gate.cause.clone(),
            _ => one.cause,
        };
        rows.push(QueueRow {
            id: message.id,
            accepted: message.id.given_at(),
            age_secs: (now - message.id.given_at()).as_secs(),
            sender: message.sender.path.clone(),
            recipient: recipient.address.clone(),
            size: message.size + message.trace.len() as u64,
            hop: one.hop,
            state,
            cause,
            attempts: one.attempts,
            next_try: waits.then_some(until),
        });
    }
    Ok(rows)
}

/// Tells the story of a queue id, an address or a domain.
pub(crate) async fn explain(source: &impl Source, subject: &str) -> Result<Explanation, Failed> {
    let subject = subject.trim();
    if let Ok(id) = subject.parse::<MessageId>() {
        return explain_message(source, id).await;
    }
    if let Ok(address) = subject.parse::<Address>() {
        let hop = route::next_hop(&source.settings(), &address);
        return explain_hop(source, subject, hop, Some(&address)).await;
    }
    match subject.parse::<Domain>() {
        Ok(domain) => {
            let postmaster = Address::new("postmaster", Host::Domain(domain)).ok();
            let hop = postmaster.map(|address| route::next_hop(&source.settings(), &address));
            explain_hop(source, subject, hop.unwrap_or(NextHop::Drop), None).await
        }
        Err(_) => Err(Failed {
            kind: FailedKind::Usage,
            what: format!("{subject:?} is neither a queue id, nor an address, nor a domain"),
        }),
    }
}

async fn journal(source: &impl Source, load: Load) -> Result<Vec<JournalEntry>, Failed> {
    match source.load(load).await? {
        Loaded::Journal(entries) => Ok(entries),
        _ => Err(store_down()),
    }
}

async fn explain_message(source: &impl Source, id: MessageId) -> Result<Explanation, Failed> {
    let entries = journal(source, Load::JournalOfMessage { id, limit: STEPS_MAX }).await?;
    let stored = messages(source, Load::Message(id)).await?.pop();
    if entries.is_empty() && stored.is_none() {
        return Err(not_found(format!("nothing is known of message {id}: no such id, or its history has been dropped")));
    }
    let mut standing = Vec::new();
    let mut recipients = BTreeMap::new();
    if let Some(stored) = &stored {
        let message = &stored.message;
        for (index, recipient) in message.recipients.iter().enumerate() {
            recipients.insert(u32::try_from(index).unwrap_or(u32::MAX), recipient.address.to_string());
        }
        standing.push(format!(
            "Accepted {} from {}, {} octets, {} recipients.",
            id.given_at(),
            message.sender.path,
            message.size + message.trace.len() as u64,
            message.recipients.len()
        ));
        let mut gates = BTreeMap::new();
        let rows = rows(source, stored, &mut gates).await?;
        standing.extend(rows.iter().map(|row| standing_of(row, gates.get(&row.hop).and_then(Option::as_ref))));
    } else {
        standing.push(String::from("It is no longer in the queue: what became of each recipient stands above."));
    }
    let accepted = id.given_at();
    let about = |entry: &JournalEntry| entry.message == Some(id) || entry.at >= accepted || is_plan(entry);
    let steps = entries.into_iter().filter(about).map(|entry| step(entry, &recipients)).collect();
    Ok(Explanation { subject: id.to_string(), steps, standing })
}

/// A plan may have been made before the message came that follows it.
fn is_plan(entry: &JournalEntry) -> bool {
    matches!(serde_json::from_str(&entry.body), Ok(Entry::Plan { .. }))
}

fn standing_of(row: &QueueRow, gate: Option<&Gate>) -> String {
    let kind = match gate {
        Some(gate) if gate.kind == GateKind::Dns => {
            " It waits for DNS: this does not count towards its expiry, and it goes out as soon as DNS works."
        }
        _ => "",
    };
    match (row.state, row.next_try) {
        (RecipientState::Deferred, Some(until)) => {
            let wait = brief(until - (row.accepted + std::time::Duration::from_secs(row.age_secs)));
            format!("{} waits until {until} (in {wait}): {}{}{kind}", row.recipient, row.cause, full_stop(&row.cause))
        }
        (RecipientState::Active, _) => format!("{} is being delivered at this moment.", row.recipient),
        _ => format!("{} is due: it is tried as soon as a connection is free.", row.recipient),
    }
}

fn full_stop(text: &str) -> &'static str {
    if text.ends_with('.') { "" } else { "." }
}

async fn explain_hop(
    source: &impl Source,
    subject: &str,
    hop: NextHop,
    address: Option<&Address>,
) -> Result<Explanation, Failed> {
    let entries = journal(source, Load::JournalOfHop { hop: hop.clone(), limit: STEPS_MAX }).await?;
    let mut waiting = Vec::new();
    let mut names: BTreeMap<MessageId, BTreeMap<u32, String>> = BTreeMap::new();
    let mut after = None;
    let mut searched = 0;
    let mut gates = BTreeMap::new();
    // `Old` with an id above all gives what waits at the hop, page by page.
    while searched < MESSAGES_SEARCHED && waiting.len() < STEPS_MAX {
        let load = Load::Old { hop: hop.clone(), before: MessageId(u64::MAX >> 1), after, limit: PAGE };
        let page = messages(source, load).await?;
        searched += page.len();
        after = page.last().map(|stored| stored.message.id);
        let full = page.len() >= PAGE;
        for stored in &page {
            let found = rows(source, stored, &mut gates).await?;
            let found = found.into_iter().filter(|row| row.hop == hop);
            waiting.extend(found.filter(|row| address.is_none_or(|address| row.recipient == *address)));
            let named = stored.message.recipients.iter().enumerate();
            let named = named.map(|(index, one)| (u32::try_from(index).unwrap_or(0), one.address.to_string()));
            names.insert(stored.message.id, named.collect());
        }
        if !full {
            break;
        }
    }
    if entries.is_empty() && waiting.is_empty() {
        return Err(not_found(format!(
            "nothing is known of {subject}: no mail waits for {hop}, and none was tried in the days that are remembered"
        )));
    }
    let mut standing = vec![match waiting.len() {
        0 => format!("Nothing waits for {subject} ({hop})."),
        count if count >= STEPS_MAX => format!("At least {count} recipients wait for {subject} ({hop})."),
        count => format!("{count} recipients wait for {subject} ({hop})."),
    }];
    if let Some(gate) = gate(source, &hop).await? {
        let schedule = if gate.kind == GateKind::Dns { "for DNS" } else { "for its hosts" };
        standing.push(format!(
            "The next hop waits {schedule} since {}, next try {}: {}",
            gate.since, gate.until, gate.cause
        ));
    }
    let shown = waiting.iter().take(20);
    standing.extend(shown.map(|row| standing_of(row, gates.get(&row.hop).and_then(Option::as_ref))));
    let none = BTreeMap::new();
    let steps = entries.into_iter().map(|entry| {
        let names = entry.message.and_then(|id| names.get(&id)).unwrap_or(&none);
        step(entry, names)
    });
    Ok(Explanation { subject: subject.to_owned(), steps: steps.collect(), standing })
}

/// A journal entry in words.
fn step(entry: JournalEntry, recipients: &BTreeMap<u32, String>) -> Step {
    let names = |to: &[u32]| {
        let name = |index: &u32| recipients.get(index).cloned().unwrap_or_else(|| format!("recipient {}", index + 1));
        to.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let mut text = Vec::new();
    match serde_json::from_str::<Entry>(&entry.body) {
        Ok(Entry::Delivered { to, tried, reply }) => {
            text.push(format!("Delivered {} to {}: {reply}", names(&to), tried.host));
            how(&tried, &mut text);
        }
        Ok(Entry::Deferred { to, tried, cause }) => {
            text.push(format!("Deferred {}: {cause}", names(&to)));
            how(&tried, &mut text);
        }
        Ok(Entry::Failed { to, tried, cause, fate }) => {
            text.push(format!("Failed for good {} ({fate}): {cause}", names(&to)));
            how(&tried, &mut text);
        }
        Ok(Entry::Plan { plan, verdict, provenance, trail }) => {
            text.push(format!("Resolved (plan {plan}, {}): {verdict}", format!("{provenance:?}").to_lowercase()));
            text.extend(trail.iter().map(|exchange| exchange.tell()));
        }
        Ok(Entry::HopFailed { cause, tried, until }) => {
            text.push(format!("Could not be tried, waits until {}: {cause}", Wall(until)));
            how(&tried, &mut text);
        }
        Ok(Entry::HopRecovered) => text.push(String::from("The next hop works again.")),
        Ok(Entry::Retried) => text.push(String::from("Made due at once by an administrator.")),
        Ok(Entry::Deleted) => text.push(String::from("Deleted by an administrator.")),
        Err(error) => text.push(format!("(an entry that cannot be read: {error})")),
    }
    Step { at: entry.at, id: entry.message, hop: entry.hop, text }
}

fn how(tried: &Tried, text: &mut Vec<String>) {
    text.extend(tried.trail.iter().map(|exchange| exchange.tell()));
    text.extend(tried.steps.iter().map(|step| format!("tried {step}")));
    if let Some(tls) = &tried.tls {
        text.push(format!("TLS {tls}"));
    }
    if let Some(plan) = tried.plan {
        text.push(format!("plan {plan}"));
    }
}
