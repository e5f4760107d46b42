//! Answers to an administrator's questions about the queue: from the store, and from the queue in memory where a service
//! runs.

use crate::report::second;
use postroad_control::answer::{Explanation, QueueRow, RecipientState, Step};
use postroad_control::{Failed, FailedKind};
use postroad_dns::exchange::{Exchange, ExchangeOutcome};
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
use std::collections::{BTreeMap, BTreeSet};

/// Messages of a page of a listing.
pub(crate) const PAGE: usize = 200;
/// Journal entries told of one subject.
const STEPS_MAX: usize = 200;
/// Recipients named in a sentence.
const RECIPIENTS_SHOWN: usize = 5;
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
    // In this order: a message that is settled in between is found in the journal.
    let stored = messages(source, Load::Message(id)).await?.pop();
    let entries = journal(source, Load::JournalOfMessage { id, limit: STEPS_MAX }).await?;
    if entries.is_empty() && stored.is_none() {
        return Err(not_found(format!(
            "nothing is known of message {id}: no such id, or its history has been dropped"
        )));
    }
    let mut standing = Vec::new();
    let mut accepted_text = String::from("Accepted.");
    if let Some(stored) = &stored {
        let message = &stored.message;
        let to = message.recipients.iter().map(|recipient| recipient.address.to_string());
        let to: Vec<String> = to.take(RECIPIENTS_SHOWN).collect();
        let more = message.recipients.len().saturating_sub(RECIPIENTS_SHOWN);
        accepted_text = format!(
            "Accepted from {} for {}{}, {} octets.",
            message.sender.path,
            to.join(", "),
            if more > 0 { format!(" and {more} more") } else { String::new() },
            message.size + message.trace.len() as u64,
        );
        let mut gates = BTreeMap::new();
        let rows = rows(source, stored, &mut gates).await?;
        standing
            .extend(rows.iter().map(|row| standing_of(row, gates.get(&row.hop).and_then(Option::as_ref))));
    } else {
        standing
            .push(String::from("It is no longer in the queue: what became of each recipient stands above."));
    }
    let accepted = id.given_at();
    let about = |entry: &JournalEntry| entry.message == Some(id) || entry.at >= accepted || is_plan(entry);
    let hop =
        stored.as_ref().and_then(|stored| stored.message.recipients.first()).map(|first| first.hop.clone());
    let hop = hop.or_else(|| entries.first().map(|entry| entry.hop.clone())).unwrap_or(NextHop::Drop);
    let mut steps = vec![Step { at: accepted, id: Some(id), hop, text: vec![accepted_text] }];
    steps.extend(entries.into_iter().filter(about).map(step));
    // Plans made before it came stand before it, and what was done at once behind it.
    steps.sort_by_key(|step| step.at);
    Ok(Explanation { subject: id.to_string(), steps, standing })
}

/// A plan may have been made before the message came that follows it.
fn is_plan(entry: &JournalEntry) -> bool {
    matches!(serde_json::from_str(&entry.body), Ok(Entry::Plan { .. }))
}

/// Whether an entry about a message is about this recipient.
fn is_about(entry: &JournalEntry, address: &str) -> bool {
    match serde_json::from_str(&entry.body) {
        Ok(Entry::Delivered { to, .. } | Entry::Deferred { to, .. } | Entry::Failed { to, .. }) => {
            to.iter().any(|one| one == address)
        }
        _ => false,
    }
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
            let until = second(until);
            format!(
                "{} waits until {until} (in {wait}): {}{}{kind}",
                row.recipient,
                row.cause,
                full_stop(&row.cause)
            )
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
    let mut entries = journal(source, Load::JournalOfHop { hop: hop.clone(), limit: STEPS_MAX }).await?;
    if let Some(address) = address {
        entries.retain(|entry| entry.message.is_none() || is_about(entry, &address.to_string()));
    }
    let mut waiting = Vec::new();
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
        1 => format!("1 recipient waits for {subject} ({hop})."),
        count if count >= STEPS_MAX => format!("At least {count} recipients wait for {subject} ({hop})."),
        count => format!("{count} recipients wait for {subject} ({hop})."),
    }];
    if let Some(gate) = gate(source, &hop).await? {
        let schedule = if gate.kind == GateKind::Dns { "for DNS" } else { "for its hosts" };
        standing.push(format!(
            "The next hop waits {schedule} since {}, next try {}: {}",
            second(gate.since),
            second(gate.until),
            gate.cause
        ));
    }
    let shown = waiting.iter().take(20);
    standing.extend(shown.map(|row| standing_of(row, gates.get(&row.hop).and_then(Option::as_ref))));
    Ok(Explanation { subject: subject.to_owned(), steps: entries.into_iter().map(step).collect(), standing })
}

/// A journal entry in words.
fn step(entry: JournalEntry) -> Step {
    let names = |to: &[String]| to.join(", ");
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
        Ok(Entry::Plan { plan, verdict, provenance, cached, trail }) => {
            let how = if cached { "known, " } else { "" };
            let provenance = format!("{provenance:?}").to_lowercase();
            text.push(format!("Resolved (plan {plan}, {how}{provenance}): {verdict}"));
            exchanges(&trail, &mut text);
        }
        Ok(Entry::HopFailed { cause, tried, until }) => {
            let what = if tried.trail.is_empty() { "No host could be used" } else { "Unresolved" };
            text.push(format!("{what}, waits until {}: {cause}", second(Wall(until))));
            how(&tried, &mut text);
        }
        Ok(Entry::HopRecovered) => text.push(String::from("The next hop works again.")),
        Ok(Entry::Retried) => text.push(String::from("Made due at once by an administrator.")),
        Ok(Entry::Rerouted { to, from }) => {
            text.push(format!(
                "Routed anew to {} after a change of the route, from {from}: {}",
                entry.hop,
                names(&to)
            ));
        }
        Ok(Entry::Deleted) => text.push(String::from("Deleted by an administrator.")),
        Err(error) => text.push(format!("(an entry that cannot be read: {error})")),
    }
    Step { at: entry.at, id: entry.message, hop: entry.hop, text }
}

/// Exchanges, a line each; those that only looked up a host's address, and did, share one when they are many.
fn exchanges(trail: &[Exchange], text: &mut Vec<String>) {
    const FEW: usize = 4;
    let routine = |exchange: &&Exchange| {
        exchange.is_for_address()
            && matches!(exchange.outcome, ExchangeOutcome::Answered | ExchangeOutcome::NoData)
    };
    let addresses: Vec<&Exchange> = trail.iter().filter(routine).collect();
    let fold = addresses.len() > FEW;
    text.extend(trail.iter().filter(|exchange| !fold || !routine(exchange)).map(Exchange::tell));
    if fold {
        let servers: BTreeSet<String> =
            addresses.iter().map(|exchange| format!("{} {}", exchange.transport, exchange.server)).collect();
        let servers = servers.into_iter().collect::<Vec<_>>().join(", ");
        text.push(format!("{servers} A and AAAA of the hosts: {} exchanges, all answered", addresses.len()));
    }
}

fn how(tried: &Tried, text: &mut Vec<String>) {
    exchanges(&tried.trail, text);
    text.extend(tried.steps.iter().map(|step| format!("tried {step}")));
    if let Some(tls) = &tried.tls {
        text.push(format!("TLS {tls}"));
    }
    if let Some(plan) = tried.plan {
        text.push(format!("hosts by plan {plan}"));
    }
    if tried.generation > 0 {
        text.push(format!("settings of generation {}", tried.generation));
    }
}
