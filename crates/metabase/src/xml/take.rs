//! A MetaBase.xml in: the steps that bring its keys and records into the tree, and what is to be said of each.

use super::XmlError;
use super::class::{self, GLOBAL, NO_CLASS};
use super::judge::{Said, judge};
use super::read::{self, Element, Piece, Source, short, unescaped};
use super::value;
use crate::catalogue::{self, UNKNOWN_NAME, by_id, by_name, name_of, unknown_name};
use crate::checks::takes_effect;
use crate::key::{SERVER_DEPTH, is_other_server};
use crate::path::KeyPath;
use crate::record::{Record, SECURE, StoredType};
use crate::schema::{OWN_IDS, Property};
use crate::tree::{Op, Tree};
use crate::values::line;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Lines of one import, of those that only list what was taken or kept, and of those that ask for somebody's attention; what
/// is beyond is counted.
pub const LINES_MAX: usize = 10_000;
/// Keys and records that are taken: 100,000 domains with four records each. An import is held as steps, as a tree and as
/// differences at once, some 500 octets for each of these, in the process that also has the mail.
pub const STEPS_MAX: usize = 500_000;

/// What an import takes. What the file does not name stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// The steps.
    pub ops: Vec<Op>,
    /// What is to be said, in the file's order.
    pub lines: Vec<Line>,
    /// Records that take effect.
    pub taken: u64,
    /// Records that are kept, and nothing reads them.
    pub kept: u64,
    /// What is no concern of a mail server: a line each.
    pub left: u64,
    /// Records, and elements without one, that are not taken.
    pub refused: u64,
    /// Secrets that must be entered again.
    pub not_decryptable: u64,
}

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What became of it.
    pub kind: LineKind,
    /// The key.
    pub path: KeyPath,
    /// The property; empty for a key.
    pub name: String,
    /// In words.
    pub text: String,
}

/// What became of something imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    /// It takes effect.
    Taken,
    /// It is kept, and nothing reads it.
    Kept,
    /// It is kept, and mail will go another way than it did.
    Lost,
    /// It was put into other words, or has a meaning on which sources disagree.
    Translated,
    /// It is no concern of a mail server here: it is left out.
    Left,
    /// It is encrypted by a key that the file does not have: it must be entered again.
    NotDecryptable,
    /// It is not taken.
    Refused,
}

impl LineKind {
    /// Whether it only lists what was taken or kept, and asks for nobody's attention.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        matches!(self, Self::Taken | Self::Kept)
    }
}

/// Reads a MetaBase.xml against the tree as it is; `file` is its name, for messages.
///
/// # Errors
/// What is no XML, or no such file. What the schema would not have is a line instead.
pub fn take(octets: &[u8], file: &str, current: &Tree) -> Result<Taken, XmlError> {
    let text = read::text(octets, file)?;
    let mut source = Source::new(&text, file)?;
    let mut taking = Taking::new(current);
    let mut depth = 0_usize;
    while let Some(piece) = source.next()? {
        match piece {
            Piece::Open(element) => {
                depth += 1;
                if depth == 1 && element.name != "configuration" {
                    let what =
                        format!("has <{}> outermost, where MetaBase.xml has <configuration>", element.name);
                    return Err(source.error(element.at, what));
                }
                taking.open(depth, &element);
                if taking.taken.ops.len() > STEPS_MAX {
                    let what = format!("brings more than {STEPS_MAX} keys and records");
                    return Err(source.error(element.at, what));
                }
            }
            Piece::Close => {
                if depth == KEY {
                    taking.key = None;
                }
                depth = depth.saturating_sub(1);
            }
            Piece::Text => taking.stray("text between elements"),
        }
    }
    Ok(taking.end())
}

/// How deep the elements stand that a key, and a record of it, is.
const LIST: usize = 2;
const KEY: usize = 3;
const CUSTOM: usize = 4;

struct Taking<'c> {
    current: &'c Tree,
    taken: Taken,
    /// The key whose element is open, if it is taken.
    key: Option<KeyPath>,
    /// The key that was taken last.
    last: KeyPath,
    /// Its RouteActionString.
    hop: String,
    is_in_list: bool,
    /// Records of that key, and whether each takes effect.
    given: BTreeMap<u32, bool>,
    /// Keys that were taken.
    keys: HashSet<KeyPath>,
    /// Keys of other services that are passed over.
    others: BTreeMap<KeyPath, u64>,
    lines_quiet: usize,
    lines_loud: usize,
}

/// A record as the file has it.
struct Given<'t> {
    id: u32,
    property: Option<&'static Property>,
    kind: StoredType,
    attributes: u32,
    user_type: u32,
    raw: &'t str,
}

impl Taken {
    /// Takes records back out, each with why; how many there were. What is said of them is said in the place of it.
    pub fn refuse(&mut self, why: &BTreeMap<(KeyPath, u32), String>) -> usize {
        let mut gone: BTreeMap<(KeyPath, String), (&str, bool)> = BTreeMap::new();
        self.ops.retain(|op| {
            let Op::Set(path, record) = op else { return true };
            let Some(why) = why.get(&(path.clone(), record.id)) else { return true };
            gone.insert((path.clone(), name_of(record.id).into_owned()), (why, takes_effect(path, record)));
            false
        });
        let count = gone.len();
        let mut told = BTreeSet::new();
        self.lines.retain_mut(|line| {
            let Some((why, in_force)) = gone.get_mut(&(line.path.clone(), line.name.clone())) else {
                return true;
            };
            *in_force &= line.kind != LineKind::Kept;
            (line.kind, line.text) = (LineKind::Refused, (*why).into());
            told.insert((line.path.clone(), line.name.clone()))
        });
        let mut loud = self.lines.iter().filter(|line| !line.kind.is_quiet()).count();
        for ((path, name), (why, in_force)) in gone {
            let counted = if in_force { &mut self.taken } else { &mut self.kept };
            *counted = counted.saturating_sub(1);
            self.refused += 1;
            if loud < LINES_MAX && !told.contains(&(path.clone(), name.clone())) {
                loud += 1;
                self.lines.push(Line { kind: LineKind::Refused, path, name, text: why.into() });
            }
        }
        count
    }
}

impl<'c> Taking<'c> {
    fn new(current: &'c Tree) -> Self {
        Self {
            current,
            taken: Taken::default(),
            key: None,
            last: KeyPath::root(),
            hop: String::new(),
            given: BTreeMap::new(),
            keys: HashSet::new(),
            is_in_list: false,
            others: BTreeMap::new(),
            lines_quiet: 0,
            lines_loud: 0,
        }
    }

    fn open(&mut self, depth: usize, element: &Element<'_>) {
        match depth {
            1 => {}
            LIST => {
                self.is_in_list = element.name == "MBProperty";
                if !self.is_in_list {
                    self.stray(element.name);
                }
            }
            _ if !self.is_in_list => {}
            KEY => self.open_key(element),
            CUSTOM if element.name == "Custom" => {
                if let Some(path) = self.key.clone() {
                    self.custom(&path, element);
                }
            }
            _ => self.stray(element.name),
        }
    }

    fn open_key(&mut self, element: &Element<'_>) {
        let Some(location) = element.value("Location") else {
            return self.stray(&format!("<{}> without a Location", element.name));
        };
        if location == "." || element.name == GLOBAL {
            let text = "the old installation's bookkeeping and its session key are of no use here";
            self.taken.left += 1;
            return self.say(LineKind::Left, &KeyPath::root(), element.name, text);
        }
        let path = match location.parse::<KeyPath>() {
            Ok(path) if location.starts_with('/') => path,
            Ok(_) => return self.stray(&format!("{:?}: a Location begins with a slash", short(&location))),
            Err(fault) => return self.stray(&fault.to_string()),
        };
        if let Some(service) = other_service(&path) {
            *self.others.entry(service).or_default() += 1;
            return;
        }
        // Most keys stand beside the one before.
        let path = self.current.spelled(&path).sharing(&self.last);
        if !path.names().eq(location.split('/').filter(|name| !name.is_empty())) {
            let text = format!("stands at {} in the file", short(&location));
            self.say(LineKind::Translated, &path, "", text);
        }
        if !self.keys.insert(path.clone()) {
            let text = "is in the file twice; of a property in both, the last one counts";
            self.say(LineKind::Translated, &path, "", text);
        }
        self.given.clear();
        self.taken.ops.push(Op::Create(path.clone()));
        if path.depth() == SERVER_DEPTH && is_other_server(&path) {
            let text =
                "is a virtual server beside the first, which alone runs: all below it is kept without effect";
            self.say(LineKind::Kept, &path, "", text);
        }
        if element.name != NO_CLASS && class::implied(&path) != Some(element.name) {
            self.taken.ops.push(Op::Set(path.clone(), Record::key_type(element.name)));
        }
        self.hop = element.value("RouteActionString").unwrap_or_default().into_owned();
        for (name, raw) in element.attributes.iter().filter(|(name, _)| *name != "Location") {
            self.attribute(&path, name, raw);
        }
        self.last.clone_from(&path);
        self.key = Some(path);
    }

    fn attribute(&mut self, path: &KeyPath, name: &str, raw: &str) {
        let Some(property) = by_name(name) else {
            let text = "is no known property, and an attribute does not tell its id and type; a Custom element would";
            return self.refuse(path, name, text);
        };
        self.note_case(path, property, name);
        self.record(
            path,
            &Given {
                id: property.id,
                property: Some(property),
                kind: property.stored_type(),
                attributes: property.attributes,
                user_type: property.user_type.number(),
                raw,
            },
        );
    }

    fn custom(&mut self, path: &KeyPath, element: &Element<'_>) {
        let name = element.value("Name").unwrap_or_default();
        match given(element, &name) {
            Ok(given) => {
                match given.property {
                    Some(property) if property.name.eq_ignore_ascii_case(&name) => {
                        self.note_case(path, property, &name);
                    }
                    _ if name.is_empty() || name.eq_ignore_ascii_case(&unknown_name(given.id)) => {}
                    _ => {
                        let text =
                            format!("{:?} in the file; the number {} is what counts", short(&name), given.id);
                        self.say(LineKind::Translated, path, &name_of(given.id), text);
                    }
                }
                self.record(path, &given);
            }
            Err(why) => self.refuse(path, &name, why),
        }
    }

    fn note_case(&mut self, path: &KeyPath, property: &Property, name: &str) {
        if property.name != name {
            self.say(LineKind::Translated, path, property.name, format!("is written {name:?} in the file"));
        }
    }

    fn record(&mut self, path: &KeyPath, given: &Given<'_>) {
        let name = name_of(given.id);
        let known = self.current.record(path, given.id);
        let by_schema = given.property.map_or(0, |property| property.attributes) & SECURE;
        let was_secret = known.is_some_and(|record| record.has(SECURE));
        let is_secret = (given.attributes | by_schema) & SECURE != 0;
        if is_secret && !given.raw.is_empty() {
            let stays = if known.is_some() { "; until then the one that is stored here holds" } else { "" };
            let text = format!("is encrypted with a key of the old machine; enter it again{stays}");
            self.taken.not_decryptable += 1;
            return self.say(LineKind::NotDecryptable, path, &name, text);
        }
        let data = match value::read(given.property, given.kind, given.raw) {
            Ok(data) => data,
            Err(why) => return self.refuse(path, &name, why),
        };
        let attributes = given.attributes | by_schema | if was_secret { SECURE } else { 0 };
        let mut record = Record { id: given.id, attributes, user_type: given.user_type, data };
        let said = match given.property {
            Some(property) => judge(path, property, &mut record, &self.hop),
            None => Ok(Said { kind: LineKind::Kept, text: short(&line(&record)), in_force: false }),
        };
        let Said { kind, text, in_force } = match said {
            Ok(said) => said,
            Err(why) => return self.refuse(path, &name, why),
        };
        let expected = given.property.map(|property| property.user_type.number());
        let beside = expected.filter(|expected| *expected != given.user_type).map(|expected| {
            let [here, there] = [given.user_type, expected].map(value::user_type_text);
            format!("; it keeps the user type {here}, which is {there} in the schema")
        });
        self.refuse_earlier(path, given.id, &name);
        *(if in_force { &mut self.taken.taken } else { &mut self.taken.kept }) += 1;
        self.say(kind, path, &name, text + &beside.unwrap_or_default());
        self.given.insert(given.id, in_force);
        self.taken.ops.push(Op::Set(path.clone(), record));
    }

    /// What a key has twice counts once: the last one, which comes over the earlier one.
    fn refuse_earlier(&mut self, path: &KeyPath, id: u32, name: &str) {
        let Some(was_in_force) = self.given.remove(&id) else { return };
        *(if was_in_force { &mut self.taken.taken } else { &mut self.taken.kept }) -= 1;
        self.taken.refused += 1;
        let text = "is in the file once more, and the last one counts";
        let mut same_key = self.taken.lines.iter_mut().rev().take_while(|line| line.path == *path);
        if let Some(line) = same_key.find(|line| line.name == name) {
            (line.kind, line.text) = (LineKind::Refused, text.into());
        }
    }

    fn refuse(&mut self, path: &KeyPath, name: &str, why: impl Into<String>) {
        self.taken.refused += 1;
        self.say(LineKind::Refused, path, name, why);
    }

    fn stray(&mut self, what: &str) {
        let path = self.key.clone().unwrap_or_default();
        self.refuse(&path, "", format!("passed over: {}", short(what)));
    }

    fn say(&mut self, kind: LineKind, path: &KeyPath, name: &str, text: impl Into<String>) {
        let lines = if kind.is_quiet() { &mut self.lines_quiet } else { &mut self.lines_loud };
        *lines += 1;
        if *lines <= LINES_MAX {
            self.taken.lines.push(Line { kind, path: path.clone(), name: short(name), text: text.into() });
        }
    }

    fn end(mut self) -> Taken {
        for (service, keys) in std::mem::take(&mut self.others) {
            let counted = if keys == 1 { "a key is".into() } else { format!("{keys} keys are") };
            self.taken.left += 1;
            self.say(LineKind::Left, &service, "", format!("belongs to another service: {counted} left out"));
        }
        for (kind, lines) in [(LineKind::Kept, self.lines_quiet), (LineKind::Refused, self.lines_loud)] {
            if lines > LINES_MAX {
                let text = format!("{} more lines like those above are not shown", lines - LINES_MAX);
                self.taken.lines.push(Line { kind, path: KeyPath::root(), name: String::new(), text });
            }
        }
        self.taken
    }
}

/// The service that a key belongs to, where it is not the one for mail and none of the keys above it.
fn other_service(path: &KeyPath) -> Option<KeyPath> {
    let is_ours = path.folded().zip(["lm", "smtpsvc"]).all(|(name, own)| name == own);
    (!is_ours).then(|| path.above(2))
}

/// The record of a Custom element; what it leaves out is as in the schema.
fn given<'t>(element: &Element<'t>, name: &str) -> Result<Given<'t>, String> {
    let id = match element.value("ID") {
        Some(id) => {
            Some(catalogue::number(id.trim_ascii()).ok_or_else(|| format!("{:?} is no id", short(&id)))?)
        }
        None => name.strip_prefix(UNKNOWN_NAME).and_then(catalogue::number),
    };
    let named = by_name(name);
    let id = id.or(named.map(|property| property.id)).ok_or("is no known property, and has no id")?;
    let property = by_id(id);
    if OWN_IDS.contains(&id) && !name.is_empty() && named.is_none_or(|named| named.id != id) {
        return Err(format!("has the number {id}, which here is another property's: it cannot be kept"));
    }
    let expected = property.map(Property::stored_type);
    let kind = match element.value("Type") {
        None => expected.ok_or("is no known property, and has no Type")?,
        Some(kind) if kind.eq_ignore_ascii_case("BOOL") => StoredType::Dword,
        Some(kind) => {
            StoredType::named(&kind).ok_or_else(|| format!("{:?} is no known type", short(&kind)))?
        }
    };
    if let Some(expected) = expected.filter(|expected| *expected != kind) {
        return Err(format!("is a {} in the file and a {} in the schema", kind.name(), expected.name()));
    }
    let attributes = match element.raw("Attributes") {
        Some(raw) => value::attributes(&unescaped(raw))?,
        None => property.map_or(0, |property| property.attributes),
    };
    let user_type = match element.raw("UserType") {
        Some(raw) => value::user_type(&unescaped(raw))?,
        None => property.map_or(1, |property| property.user_type.number()),
    };
    let raw = element.raw("Value").unwrap_or_default();
    Ok(Given { id, property, kind, attributes, user_type, raw })
}
