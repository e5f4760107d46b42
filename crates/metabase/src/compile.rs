//! From a tree to settings: which records hold for the virtual server and its domains, and whether they fit together.

use crate::catalogue;
use crate::forms::Bad;
use crate::ids;
use crate::key::{Key, KeyKind};
use crate::path::KeyPath;
use crate::record::{Data, Record, StoredType};
use crate::schema::{Property, Value};
use crate::settings::{Draft, Settings};
use crate::text::Pin;
use crate::tree::{Delta, Node, Op, OpError, Tree, expanded};
use crate::{check, ipsec, key, typed};
use postroad_mail::domain::Domain;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// What settings take from the machine.
#[derive(Clone, Debug)]
pub struct Place {
    /// What relative folders are inside of.
    pub data_dir: PathBuf,
    /// What names the server where no record does, if it is a domain name.
    pub host_name: String,
}

/// Why a tree makes no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {name}: {what}. {remedy}")]
pub struct Problem {
    /// The key that has the record.
    pub path: KeyPath,
    /// The property.
    pub id: Option<u32>,
    /// Its name.
    pub name: String,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do, as a sentence.
    pub remedy: String,
    /// Which item of a list.
    pub(crate) item: Option<usize>,
}

impl Settings {
    /// The settings that a tree makes: the catalogue's values for what is absent, under the records that the virtual server
    /// sees, and each domain's own. A property that is not in force is not looked at.
    ///
    /// A RelayIpList in a shape that is not known, or one that lists who is refused, lets nobody relay; `checks` tells. To
    /// refuse it would keep an imported tree from working at all.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn compile(tree: &Tree, place: &Place, generation: u64) -> Result<Self, Vec<Problem>> {
        let (settings, problems) = Self::of_what_fits(tree, place, generation);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// The same where no service is to run by them: a record that does not fit counts as absent, and is told of.
    #[must_use]
    pub fn of_what_fits(tree: &Tree, place: &Place, generation: u64) -> (Self, Vec<Problem>) {
        let (draft, problems) = draft(tree, place);
        (Self { generation, ..draft.finish(&place.host_name) }, problems)
    }

    /// The settings that `after` makes, where these were made of the tree before and `deltas` is all that differs. Domains
    /// that did not change are not looked at.
    ///
    /// # Errors
    /// Everything that does not fit.
    pub fn recompile(
        &self,
        after: &Tree,
        deltas: &[Delta],
        place: &Place,
        generation: u64,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut settings = self.clone();
        if deltas.iter().any(concerns_server) {
            let draft = server(after, place, &mut problems);
            settings = draft.finish(&place.host_name);
            settings.dns.policies_by_domain = self.dns.policies_by_domain.clone();
        }
        let changed: BTreeSet<Domain> = deltas.iter().filter_map(domain_of).collect();
        let mut draft = Draft { settings, ..Draft::blank(&place.data_dir) };
        for domain in changed {
            draft.settings.dns.policies_by_domain.remove(&domain);
            let key = Key::Domain(domain);
            if let Some(node) = after.node(&key.path()) {
                apply_all(&mut draft, &key, node, &mut problems);
            }
        }
        if problems.is_empty() { Ok(Self { generation, ..draft.settings }) } else { Err(problems) }
    }
}

/// Whether a difference may change what the virtual server sees.
fn concerns_server(delta: &Delta) -> bool {
    let Delta::Record { path, id, .. } = delta else { return false };
    let counts = catalogue::by_id(*id).is_some_and(|p| p.apply().is_some());
    counts && key::server_is_within(path)
}

fn domain_of(delta: &Delta) -> Option<Domain> {
    match Key::at(delta.path())? {
        Key::Domain(domain) => Some(domain),
        Key::Service | Key::Server => None,
    }
}

/// All that a tree says, and all that is wrong with it.
pub(crate) fn draft(tree: &Tree, place: &Place) -> (Draft, Vec<Problem>) {
    let (draft, mut problems) = values(tree, place);
    cross(&draft, tree, &mut problems);
    (draft, problems)
}

/// The same where each value is looked at by itself.
pub(crate) fn values(tree: &Tree, place: &Place) -> (Draft, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut draft = values_of_server(tree, place, &mut problems);
    let domains = Key::Server.path().child("Domain").unwrap_or_default();
    for node in tree.node(&domains).into_iter().flat_map(Node::children) {
        // Most keys below Domain have records that do not count here; only a path that is needed is made.
        let counts = node.records().any(|record| catalogue::by_id(record.id).is_some_and(is_of_domains));
        let name = crate::path::fold(node.name());
        if let Some(domain) = counts.then(|| key::domain_named(&name)).flatten() {
            apply_all(&mut draft, &Key::Domain(domain), node, &mut problems);
        }
    }
    (draft, problems)
}

fn is_of_domains(property: &'static Property) -> bool {
    property.apply().is_some() && property.keys.contains(&KeyKind::Domain)
}

pub(crate) fn is_of_server(property: &Property) -> bool {
    property.apply().is_some()
        && (property.keys.contains(&KeyKind::Server) || property.keys.contains(&KeyKind::Service))
}

/// What the virtual server sees, and what of it does not fit.
fn server(tree: &Tree, place: &Place, problems: &mut Vec<Problem>) -> Draft {
    let draft = values_of_server(tree, place, problems);
    cross(&draft, tree, problems);
    draft
}

fn values_of_server(tree: &Tree, place: &Place, problems: &mut Vec<Problem>) -> Draft {
    let mut draft = Draft::blank(&place.data_dir);
    for property in catalogue::rows().filter(|property| is_of_server(property)) {
        if let (Some(apply), Some(value)) = (property.apply(), property.absent().value()) {
            let applied = apply(&mut draft, &Key::Server, &value);
            debug_assert!(applied.is_ok(), "{}: {applied:?}", property.name);
        }
    }
    let path = Key::Server.path();
    // What stands at a key replaces what it inherits. What is replaced must fit all the same: it would hold if that went.
    for owner in (0..=path.depth()).map(|depth| path.above(depth)) {
        let Some(node) = tree.node(&owner) else { continue };
        for record in node.records() {
            if owner == path || record.has(crate::record::INHERIT) {
                apply_one(&mut draft, &Key::Server, Some(&owner), record, problems);
            }
        }
    }
    draft
}

fn apply_all(draft: &mut Draft, key: &Key, node: &Node, problems: &mut Vec<Problem>) {
    for record in node.records() {
        apply_one(draft, key, None, record, problems);
    }
}

/// What keeps the virtual server of a tree from being served, without a look at its domains.
#[must_use]
pub fn problems_of_server(tree: &Tree, place: &Place) -> Vec<Problem> {
    let mut problems = Vec::new();
    server(tree, place, &mut problems);
    problems
}

/// Puts a record into the settings of a key: its own, or what it sees of `owner`. Of 100,000 domains hardly one needs its path
/// made, so that is left to where it is needed.
fn apply_one(
    draft: &mut Draft,
    key: &Key,
    owner: Option<&KeyPath>,
    record: &Record,
    problems: &mut Vec<Problem>,
) {
    let Some(property) = catalogue::by_id(record.id) else { return };
    let counts = match key {
        Key::Domain(_) => is_of_domains(property),
        Key::Service | Key::Server => is_of_server(property),
    };
    let Some(apply) = property.apply().filter(|_| counts) else { return };
    if let Err(bad) = value(property, record, key).and_then(|value| apply(draft, key, &value)) {
        problems.push(Problem::new(owner.cloned().unwrap_or_else(|| key.path()), property, bad));
    }
}

/// A record as the catalogue's value, as a key sees it.
fn value(property: &Property, record: &Record, key: &Key) -> Result<Value, Bad> {
    let is_inserted = record.has(crate::record::INSERT_PATH);
    let data = if is_inserted { expanded(record, &key.path()) } else { Cow::Borrowed(&record.data) };
    match (property.stored_type(), &*data) {
        (StoredType::Dword, Data::Dword(number)) => check::number(property, *number),
        (StoredType::String | StoredType::ExpandSz, Data::String(text) | Data::ExpandSz(text)) => {
            Ok(Value::Text(text.clone()))
        }
        (StoredType::MultiSz, Data::MultiSz(list)) => Ok(Value::List(list.clone())),
        (StoredType::Binary, Data::Binary(octets)) => {
            let granted = ipsec::decode(octets).ok().filter(|lists| lists.refused.is_empty());
            let granted = granted.map(|lists| lists.granted).unwrap_or_default();
            Ok(Value::List(granted.iter().map(ToString::to_string).collect()))
        }
        (wanted, data) => Err(Bad::new(
            format!("is stored as {}, not as {}", data.stored_type().name(), wanted.name()),
            "Set it anew, or unset it.",
        )),
    }
}

/// What no value shows by itself.
pub(crate) fn cross(draft: &Draft, tree: &Tree, problems: &mut Vec<Problem>) {
    let is_bad = |problems: &[Problem], id: u32| problems.iter().any(|problem| problem.id == Some(id));
    if draft.smart_host_always == Some(true)
        && draft.smart_host.is_none()
        && !is_bad(problems, ids::SMART_HOST)
    {
        let remedy = "Set SmartHost, as \"relay.example.org\" or \"[192.0.2.1]:587\", or SmartHostType = 0.";
        let bad = Bad::new("is 2, but there is no SmartHost", remedy);
        problems.push(Problem::seen(tree, ids::SMART_HOST_TYPE, bad));
    }
    // 0 is no limit of its own: such a message is bounded by the session.
    let session = draft.settings.session_size_max;
    let is_unlimited = draft.settings.size_max == u64::from(u32::MAX);
    if session != 0 && draft.settings.size_max > session && !is_unlimited {
        let what = format!("is {session}, below MaxMessageSize, {}", draft.settings.size_max);
        let remedy = "Set MaxSessionSize = 0 for no limit, or MaxMessageSize lower.";
        problems.push(Problem::seen(tree, ids::MAX_SESSION_SIZE, Bad::new(what, remedy)));
    }
    let bindings = &draft.settings.bindings;
    let second = bindings.iter().enumerate().find_map(|(index, second)| {
        let first = bindings.iter().take(index).find(|first| collide(first, second))?;
        Some((index, first, second))
    });
    if let Some((index, first, second)) = second {
        let what = format!("{second} collides with {first}: both take connections for one port");
        let bad = Bad { item: Some(index), ..Bad::new(what, "Remove one of them.") };
        problems.push(Problem::seen(tree, ids::SERVER_BINDINGS, bad));
    }
}

/// Whether two listeners cannot be at once. One on `::` takes IPv4 as well, as the system has it by default.
pub(crate) fn collide(a: &SocketAddr, b: &SocketAddr) -> bool {
    let takes = |a: &SocketAddr, b: &SocketAddr| a.ip().is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || takes(a, b) || takes(b, a))
}

/// The key that has the record which the virtual server sees; itself where there is none.
pub(crate) fn owner(tree: &Tree, id: u32) -> KeyPath {
    let path = Key::Server.path();
    tree.resolve(&path, id).map_or_else(|| path.clone(), |resolved| path.above(resolved.depth))
}

impl Problem {
    /// The pin that has the value.
    #[must_use]
    pub fn pin<'p>(&self, pins: &'p [Pin]) -> Option<&'p Pin> {
        pins.iter().find(|pin| pin.path == self.path && Some(pin.record.id) == self.id)
    }

    fn new(path: KeyPath, property: &Property, bad: Bad) -> Self {
        let Bad { item, what, remedy } = bad;
        Self { path, id: Some(property.id), name: property.name.into(), what, remedy, item }
    }

    fn seen(tree: &Tree, id: u32, bad: Bad) -> Self {
        let Bad { item, what, remedy } = bad;
        Self { path: owner(tree, id), id: Some(id), name: catalogue::name_of(id).into(), what, remedy, item }
    }
}

/// The keys and records of a fresh install. SmtpUseTcpDns is left out: that it is not set is what lets Postroad adapt.
#[must_use]
pub fn fresh() -> Vec<Op> {
    let (service, server) = (Key::Service.path(), Key::Server.path());
    let mut ops = vec![
        Op::Set(service.clone(), Record::key_type("IIsSmtpService")),
        Op::Set(server.clone(), Record::key_type("IIsSmtpServer")),
    ];
    let read_here = |property: &&Property| property.apply().is_some() && property.id != ids::SMTP_USE_TCP_DNS;
    for property in catalogue::rows().filter(read_here) {
        // As high as it may stand: what is set at the service later must not be hidden by what nobody has set.
        let at = match property.keys {
            keys if keys.contains(&KeyKind::Service) => &service,
            keys if keys.contains(&KeyKind::Server) => &server,
            _ => continue,
        };
        let data = property.fresh.value().and_then(|value| typed::stored(property, value).ok());
        if let Some(data) = data {
            ops.push(Op::Set(at.clone(), typed::record_of(property, data)));
        }
    }
    ops
}

/// The tree of a fresh install.
pub(crate) fn fresh_tree() -> Tree {
    // Far below a tree's bounds, and no step of it can do nothing.
    Tree::new().apply(&fresh()).unwrap_or_default()
}

/// The tree with what a configuration file pins. A pin above the virtual server holds for it: a record that the server has
/// itself, as a fresh install leaves it, would keep the file from having any effect.
///
/// # Errors
/// The tree is full.
pub fn overlay(tree: &Tree, pins: &[Pin]) -> Result<Tree, OpError> {
    let server = Key::Server.path();
    let is_above = |pin: &&Pin| pin.path != server && server.is_within(&pin.path);
    let hiding: BTreeSet<u32> = pins.iter().filter(is_above).map(|pin| pin.record.id).collect();
    let hiding = hiding.into_iter().filter(|id| tree.record(&server, *id).is_some());
    let mut ops: Vec<Op> = hiding.map(|id| Op::Unset(server.clone(), id)).collect();
    ops.extend(pins.iter().map(|pin| Op::Set(pin.path.clone(), pin.record.clone())));
    tree.apply(&ops)
}
