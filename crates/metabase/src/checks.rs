//! What is wrong with a tree, and what would repair it: the original's consistency checker, which did not repair.

use crate::catalogue;
use crate::check;
use crate::compile::{self, Place, Problem};
use crate::forms;
use crate::ids;
use crate::ipsec;
use crate::key::{Key, KeyKind, SERVER_DEPTH, domain_named, is_number, is_other_server, server_is_within};
use crate::path::{KeyPath, fold};
use crate::record::{Data, INHERIT, Record, SECURE, StoredType};
use crate::schema::{DataType, Property};
use crate::tree::{Node, Op, Tree, expanded};
use postroad_mail::domain::Domain;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};

pub use crate::relay::open_relay;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is an error; a warning otherwise.
    pub error: bool,
    /// Whether it could not be found out if something is wrong.
    pub untested: bool,
    /// The key.
    pub path: KeyPath,
    /// The property.
    pub id: Option<u32>,
    /// Its name; empty where it is about the key.
    pub name: String,
    /// What is wrong, as a sentence.
    pub description: String,
    /// What would repair it; empty where that is for a person to decide.
    pub repair: Vec<Op>,
    /// The repair in words.
    pub repair_text: String,
}

/// What is at a place of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// A folder.
    Folder,
    /// Something else, or what the service may not look at.
    NoFolder,
    /// Nothing.
    Nothing,
}

/// What the checks ask of the machine.
pub trait World {
    /// What is where a folder should be. A relative one is inside the data folder.
    fn at(&self, folder: &Path) -> There;
}

/// The hosts that values in force name, each with its key and property: what only DNS can tell of.
#[must_use]
pub fn hosts(tree: &Tree) -> Vec<(KeyPath, u32, Domain)> {
    let place = Place { data_dir: PathBuf::new(), host_name: String::new() };
    let (draft, _) = compile::draft(tree, &place);
    let smart_host =
        draft.settings.smart_host.or(draft.smart_host.map(|(host, port)| (host, port.unwrap_or(0))));
    let domain = smart_host.and_then(|(host, _)| host.domain().cloned());
    domain
        .map(|domain| (compile::owner(tree, ids::SMART_HOST), ids::SMART_HOST, domain))
        .into_iter()
        .collect()
}

/// Everything that is wrong: some findings for each key, record and binding of the tree at most.
pub fn findings(tree: &Tree, world: &dyn World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, node) in tree.walk() {
        key(&path, node, &mut findings);
        for record in node.records() {
            if let Some(property) = catalogue::by_id(record.id) {
                value(&path, property, record, &mut findings);
                findings.extend(misplaced(&path, property, record));
                folder(&path, property, record, world, &mut findings);
                modules(&path, record, tree, &mut findings);
            }
        }
    }
    bindings(tree, &mut findings);
    listens_by_default(tree, &mut findings);
    let place = Place { data_dir: PathBuf::new(), host_name: String::new() };
    let (draft, problems) = compile::draft(tree, &place);
    let known: BTreeSet<_> = findings.iter().filter(|f| f.error).map(|f| (f.path.clone(), f.id)).collect();
    let others = problems.into_iter().filter(|problem| !known.contains(&(problem.path.clone(), problem.id)));
    findings.extend(others.map(|problem| of_problem(tree, problem)));
    if let Some(what) = crate::relay::open(&draft.settings) {
        let path = compile::owner(tree, ids::RELAY_IP_LIST);
        findings.push(
            warning(&path, ids::RELAY_IP_LIST, &what).advise("List the networks whose machines are yours."),
        );
    }
    if draft.smart_host.is_some() && tree.resolve(&Key::Server.path(), ids::SMART_HOST_TYPE).is_none() {
        let path = compile::owner(tree, ids::SMART_HOST);
        let what = "SmartHost has no effect, because SmartHostType is not set.";
        findings.push(
            warning(&path, ids::SMART_HOST, what).advise(
                "Set SmartHostType = 2 to send all remote mail through it, or 0 to keep it for later.",
            ),
        );
    }
    findings
}

fn warning(path: &KeyPath, id: u32, description: &str) -> Finding {
    Finding {
        error: false,
        untested: false,
        path: path.clone(),
        id: Some(id),
        name: catalogue::name_of(id).into(),
        description: description.into(),
        repair: Vec::new(),
        repair_text: String::new(),
    }
}

fn key_warning(path: &KeyPath, description: String, advice: &str) -> Finding {
    Finding { id: None, name: String::new(), ..warning(path, 0, &description).advise(advice) }
}

impl Finding {
    fn error_if(self, error: bool) -> Self {
        Self { error, ..self }
    }

    fn advise(self, text: &str) -> Self {
        Self { repair_text: text.into(), ..self }
    }

    fn repair(self, op: Op, text: &str) -> Self {
        Self { repair: vec![op], repair_text: text.into(), ..self }
    }
}

fn of_problem(tree: &Tree, problem: Problem) -> Finding {
    let Problem { path, id, name, what, remedy, .. } = problem;
    let to_zero = |text: &str| {
        let record = tree.record(&path, id?)?;
        let zero = Op::Set(path.clone(), Record { data: Data::Dword(0), ..record.clone() });
        Some((vec![zero], text.to_owned()))
    };
    let repair = match id {
        Some(ids::SMART_HOST_TYPE) => to_zero("Set SmartHostType = 0: remote mail is sent directly."),
        Some(ids::MAX_SESSION_SIZE) => {
            to_zero("Set MaxSessionSize = 0: the session has no limit of its own.")
        }
        _ => None,
    };
    let (repair, repair_text) = repair.unwrap_or((Vec::new(), remedy));
    let description = format!("{name} {what}.");
    Finding { error: true, untested: false, path, id, name, description, repair, repair_text }
}

/// What is wrong with a record by itself.
fn value(path: &KeyPath, property: &Property, record: &Record, findings: &mut Vec<Finding>) {
    let id = property.id;
    let in_force = property.apply().is_some();
    let mut find = |finding: Finding| findings.push(finding);
    if property.attributes & SECURE != 0 && !record.has(SECURE) {
        let secure = Record { attributes: record.attributes | SECURE, ..record.clone() };
        let what = format!("{} is a secret, and stored as if it were none.", property.name);
        let repair = Op::Set(path.clone(), secure);
        find(warning(path, id, &what).error_if(true).repair(repair, "Add the attribute SECURE."));
    }
    if let Some((is, wanted)) = other_type(property, record) {
        let what = format!("{} is stored as {is}, not as {wanted}.", property.name);
        find(warning(path, id, &what).error_if(in_force).advise("Set it anew, or unset it."));
        return;
    }
    match &record.data {
        Data::Dword(number) if property.data_type == DataType::Bool && *number > 1 => {
            let what = format!("{} is {number}, which is neither 0 nor 1.", property.name);
            let one = Record { data: Data::Dword(1), ..record.clone() };
            find(warning(path, id, &what).repair(Op::Set(path.clone(), one), "Set it to 1."));
        }
        Data::Dword(number) => {
            let Err(bad) = check::number(property, *number) else { return };
            let what = format!("{}: {}.", property.name, bad.what);
            let finding = warning(path, id, &what).error_if(in_force).advise(&bad.remedy);
            find(if id == ids::SMTP_USE_TCP_DNS {
                finding.repair(
                    Op::Unset(path.clone(), id),
                    "Unset it: DNS is asked as each server proves to work.",
                )
            } else {
                finding
            });
        }
        Data::Binary(octets) if property.is_list() => {
            let why = match ipsec::decode(octets) {
                Err(why) => why.to_string(),
                Ok(lists) if !lists.refused.is_empty() => {
                    "it lists who is refused, not who is granted".into()
                }
                Ok(_) => return,
            };
            let effect = if id == ids::RELAY_IP_LIST { ", so nobody may relay" } else { "" };
            let what = format!("{} cannot be used{effect}: {why}.", property.name);
            find(warning(path, id, &what).error_if(in_force).advise("Set it to a list of networks."));
        }
        Data::String(_) | Data::ExpandSz(_) | Data::MultiSz(_) | Data::Binary(_) => {}
    }
}

/// The type that a record has and the one that its property has, where they differ. A text is as good with variables as without.
fn other_type(property: &Property, record: &Record) -> Option<(&'static str, &'static str)> {
    let (is, wanted) = (record.data.stored_type(), property.stored_type());
    let is_text = |kind| matches!(kind, StoredType::String | StoredType::ExpandSz);
    (is != wanted && !(is_text(is) && is_text(wanted))).then(|| (is.name(), wanted.name()))
}

/// Why a record is not what the schema says of its property, with what to do; nothing where it is.
#[must_use]
pub fn misfit(property: &Property, record: &Record) -> Option<String> {
    if let Some((is, wanted)) = other_type(property, record) {
        return Some(format!("is a {wanted}, not a {is}. Leave the type out"));
    }
    let Data::Dword(number) = record.data else { return None };
    if property.data_type == DataType::Bool && number > 1 {
        return Some(format!("{number} is neither true nor false. Give true or false"));
    }
    let bad = check::number(property, number).err()?;
    Some(format!("{}. {}", bad.what, bad.remedy.trim_end_matches('.')))
}

/// Why a record of a property that is in force has no effect at its key, if it has none.
#[must_use]
pub fn misplaced(path: &KeyPath, property: &Property, record: &Record) -> Option<Finding> {
    if property.apply().is_none() || is_read(path, property, record) {
        return None;
    }
    if server_is_within(path) {
        if !compile::is_of_server(property) {
            return None;
        }
        let what = format!("{} is not inherited, so no virtual server sees it.", property.name);
        let set = Record { attributes: record.attributes | INHERIT, ..record.clone() };
        let repair = Op::Set(path.clone(), set);
        return Some(warning(path, property.id, &what).repair(repair, "Add the attribute INHERIT."));
    }
    // Keys of other services have their own meaning for the ids that all share, and virtual servers that are not served for
    // theirs.
    let is_ours =
        path.is_within(&Key::Service.path()) || ids::SMTP.contains(&property.id) || property.is_own();
    if !is_ours || is_other_server(path) {
        return None;
    }
    let places: Vec<_> = property.keys.iter().map(|kind| kind.pattern()).collect();
    let advice = format!("Put it under {}.", places.join(" or ").replace("/n", "/1"));
    let what = format!("{} has no effect here.", property.name);
    Some(warning(path, property.id, &what).advise(&advice))
}

/// Whether the service runs by a record of a key.
#[must_use]
pub fn takes_effect(path: &KeyPath, record: &Record) -> bool {
    catalogue::by_id(record.id).is_some_and(|property| is_read(path, property, record))
}

fn is_read(path: &KeyPath, property: &Property, record: &Record) -> bool {
    if server_is_within(path) {
        return compile::is_of_server(property) && (path.depth() == SERVER_DEPTH || record.has(INHERIT));
    }
    property.apply().is_some() && Key::at(path).is_some_and(|key| property.keys.contains(&key.kind()))
}

/// What is wrong with the folder that a value names, whether or not something reads it.
fn folder(
    path: &KeyPath,
    property: &Property,
    record: &Record,
    world: &dyn World,
    findings: &mut Vec<Finding>,
) {
    if !property.is_folder() || is_other_server(path) {
        return;
    }
    let (Data::String(name) | Data::ExpandSz(name)) = &*expanded(record, path) else { return };
    if name.is_empty() {
        return;
    }
    let (folder, in_force) = (Path::new(name), property.apply().is_some());
    let leads_out = folder.is_relative() && folder.components().any(|part| part == Component::ParentDir);
    let what = match world.at(folder) {
        _ if leads_out => {
            format!("The folder {name} is outside the data folder, though its path begins there.")
        }
        There::NoFolder => format!("{name} is no folder, or one that may not be looked at."),
        // One inside the data folder is made when it is needed, by what needs it.
        There::Nothing if folder.is_absolute() || !in_force => format!("The folder {name} does not exist."),
        There::Nothing | There::Folder => return,
    };
    let advice = match in_force {
        true => "Make the folder, or name one that exists.",
        false => "Nothing here reads it: unset it, or leave it.",
    };
    findings.push(warning(path, property.id, &what).advise(advice));
}

/// The one value that names keys: the log modules of a service are keys below `/LM/Logging`.
fn modules(path: &KeyPath, record: &Record, tree: &Tree, findings: &mut Vec<Finding>) {
    let Data::String(list) = &record.data else { return };
    if record.id != ids::LOG_MODULE_LIST {
        return;
    }
    let is_missing = |name: &&str| {
        let key = LOGGING.parse().ok().and_then(|logging: KeyPath| logging.child(name).ok());
        key.is_none_or(|key| tree.node(&key).is_none())
    };
    if let Some(name) = list.split(',').map(str::trim).filter(|name| !name.is_empty()).find(is_missing) {
        let what = format!("It names the log module {name:?}, and there is no key {LOGGING}/{name}.");
        let advice = "Nothing here reads it: unset it, or leave it.";
        findings.push(warning(path, record.id, &what).advise(advice));
    }
}

const LOGGING: &str = "/LM/Logging";

/// Without bindings, or without its key, the server listens where nobody has said it should.
fn listens_by_default(tree: &Tree, findings: &mut Vec<Finding>) {
    let server = Key::Server.path();
    if tree.node(&server).is_none() {
        let what = format!(
            "{server} does not exist, so what holds without a record does: it listens at port 25 of every IPv4 address."
        );
        let finding = key_warning(&server, what, "Set its ServerBindings, or roll back to where it was.");
        findings.push(finding.error_if(true));
    } else if tree.resolve(&server, ids::SERVER_BINDINGS).is_none() {
        let what = "ServerBindings is not set, so the server listens at port 25 of every IPv4 address.";
        findings
            .push(warning(&server, ids::SERVER_BINDINGS, what).advise("Set it, as to \"127.0.0.1:2525:\"."));
    }
}

/// What is wrong with a key by itself.
fn key(path: &KeyPath, node: &Node, findings: &mut Vec<Finding>) {
    let names: Vec<&str> = path.folded().collect();
    let class = match KeyKind::of(path) {
        Some(KeyKind::Service) => Some("IIsSmtpService"),
        Some(KeyKind::Server) => Some("IIsSmtpServer"),
        Some(KeyKind::Domain) => Some("IIsSmtpDomain"),
        _ => None,
    };
    if let Some(record) = node.record(ids::KEY_TYPE)
        && let Data::String(found) = &record.data
    {
        let is_misplaced =
            ["IIsSmtpService", "IIsSmtpServer"].iter().any(|class| class.eq_ignore_ascii_case(found));
        let is_other = class.map_or(is_misplaced, |class| !class.eq_ignore_ascii_case(found));
        if is_other {
            let finding =
                warning(path, ids::KEY_TYPE, &format!("The key's type {found:?} does not fit its place."));
            findings.push(match class {
                Some(class) => {
                    let fitting = Record { data: Data::String(class.into()), ..record.clone() };
                    finding.repair(Op::Set(path.clone(), fitting), &format!("Set KeyType to {class}."))
                }
                None => finding.repair(Op::Unset(path.clone(), ids::KEY_TYPE), "Unset KeyType."),
            });
        }
    }
    match names.as_slice() {
        ["lm", "smtpsvc", _] if is_other_server(path) => findings.push(key_warning(
            path,
            "Only the virtual server 1 is served.".into(),
            "Start a second postroad with another --data folder for it.",
        )),
        ["lm", "smtpsvc", "1", "domain", name] if domain_named(name).is_none() => findings.push(key_warning(
            path,
            format!("{:?} is no domain name, so the key has no effect.", node.name()),
            "Give the key a name such as example.org.",
        )),
        _ => {}
    }
}

/// Listeners that cannot be at once, of all virtual servers.
fn bindings(tree: &Tree, findings: &mut Vec<Finding>) {
    let service = Key::Service.path();
    // By port: the first of each address, so that each binding is compared with three at most.
    let mut seen: BTreeMap<u16, BTreeMap<IpAddr, KeyPath>> = BTreeMap::new();
    let mut told: BTreeSet<KeyPath> = BTreeSet::new();
    let servers = tree.node(&service).into_iter().flat_map(Node::children);
    for node in servers.filter(|node| is_number(&fold(node.name()))) {
        let Ok(path) = service.child(node.name()) else { continue };
        let Some(resolved) = tree.resolve(&path, ids::SERVER_BINDINGS) else { continue };
        let Data::MultiSz(texts) = &resolved.record.data else { continue };
        let mut own: BTreeSet<SocketAddr> = BTreeSet::new();
        for address in texts.iter().filter_map(|text| forms::binding(text.trim()).ok()) {
            let port = seen.entry(address.port()).or_default();
            let first = port
                .iter()
                .find(|(ip, _)| compile::collide(&address, &SocketAddr::new(**ip, address.port())));
            if let Some((ip, other)) = first
                && told.insert(path.clone())
            {
                let with = SocketAddr::new(*ip, address.port());
                let what = format!("The binding {address} collides with {with} of {other}.");
                // One that is not served listens nowhere.
                let is_error = !is_other_server(&path) && !is_other_server(other);
                findings.push(
                    warning(&path, ids::SERVER_BINDINGS, &what)
                        .error_if(is_error)
                        .advise("Remove one of the two."),
                );
            }
            if own.insert(address) {
                port.entry(address.ip()).or_insert_with(|| path.clone());
            }
        }
    }
}
