//! From a TOML text to records: which key, which property, which value, and where it stands.

use crate::catalogue;
use crate::compile::{self, Place, Problem};
use crate::error::ConfigError;
use crate::forms::{self, Bad};
use crate::ids;
use crate::key::{Key, KeyKind, NotAKey};
use crate::path::KeyPath;
use crate::relay;
use crate::schema::{Mark, Property};
use crate::settings::Draft;
use crate::text::Pin;
use crate::tree::Tree;
use crate::typed::{self, quoted};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

/// Errors reported of one text; more would not be read.
pub const ERRORS_MAX: usize = 20;
/// Octets of a configuration file: some thousand domains with a policy each.
const FILE_MAX: usize = 1024 * 1024;
/// Octets of a text that changes a tree: an export with 200,000 domains.
const CHANGE_MAX: usize = 32 * 1024 * 1024;

/// What a text is for.
#[derive(Clone, Copy)]
pub(crate) enum Scope<'t> {
    /// A configuration file: keys that settings are made of, properties where they have effect.
    Pins,
    /// A change of a tree: any key, any property.
    Change(&'t Tree),
}

/// What a text says.
#[derive(Default)]
pub(crate) struct Given {
    /// The keys it names.
    pub(crate) keys: Vec<KeyPath>,
    /// What it sets, those that are inherited first.
    pub(crate) pins: Vec<Pin>,
}

/// Collects records and errors of one text.
pub(crate) struct Reader<'t> {
    text: &'t str,
    file: &'t str,
    scope: Scope<'t>,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Offsets, and what is wrong there.
    errors: Vec<(usize, Bad)>,
    /// Lines with a syntax error.
    broken: BTreeSet<usize>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str, file: &'t str, scope: Scope<'t>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, file, scope, lines, errors: Vec::new(), broken: BTreeSet::new() }
    }

    /// What the text says. What is wrong is kept for `finish`.
    pub(crate) fn read(&mut self) -> Given {
        let most = match self.scope {
            Scope::Pins => FILE_MAX,
            Scope::Change(_) => CHANGE_MAX,
        };
        if self.text.len() > most {
            let what = format!("the text has {} octets", self.text.len());
            self.refuse(0, Bad::new(what, format!("Keep it to {most}.")));
            return Given::default();
        }
        let (root, syntax) = DeTable::parse_recoverable(self.text);
        for error in &syntax {
            let at = error.span().map_or(0, |span| span.start);
            // One mistake may upset the parser several times over the rest of its line.
            if self.broken.insert(self.line(at)) {
                let message = error.message().lines().next().unwrap_or_default();
                let remedy = "Tables are [\"/LM/SmtpSvc/1\"], values Name = value.";
                self.refuse(at, Bad::new(format!("syntax: {message}"), remedy));
            }
        }
        let mut given = Given::default();
        for (name, value) in root.get_ref() {
            match value.get_ref() {
                _ if self.is_broken(&name.span(), &name.span()) => {}
                DeValue::Table(properties) => self.table(name, properties, &mut given),
                _ => self.refuse(
                    name.span().start,
                    Bad::new(
                        format!("{} stands outside of a key", quoted(name.get_ref())),
                        "Put it under [\"/LM/SmtpSvc/1\"].",
                    ),
                ),
            }
        }
        given.pins.sort_by_key(|pin| pin.place.start);
        given.pins = self.refuse_twice(given.pins);
        given.pins.sort_by(|a, b| a.path.cmp(&b.path));
        given
    }

    /// Everything that was found wrong, in the text's order; `None` where nothing was.
    pub(crate) fn finish(mut self) -> Option<Vec<ConfigError>> {
        let mut errors = std::mem::take(&mut self.errors);
        errors.sort_by_key(|(at, _)| *at);
        errors.truncate(ERRORS_MAX);
        let located = errors.into_iter().map(|(at, bad)| {
            let (line, column) = self.position(at);
            ConfigError { file: self.file.into(), line, column, what: bad.what, remedy: bad.remedy }
        });
        Some(located.collect()).filter(|errors: &Vec<_>| !errors.is_empty())
    }

    /// Keeps what is wrong with a value.
    pub(crate) fn refuse_value(&mut self, pin: &Pin, bad: Bad) {
        let place = bad.item.and_then(|index| pin.items.get(index)).unwrap_or(&pin.place);
        let what = format!("{}: {}", catalogue::name_of(pin.record.id), bad.what);
        self.refuse(place.start, Bad { what, ..bad });
    }

    /// Keeps a problem of what was made of the text, at the pin that has it.
    pub(crate) fn refuse_problem(&mut self, pins: &[Pin], problem: Problem) {
        let pin = problem.pin(pins);
        let Problem { path, name, what, remedy, item, .. } = problem;
        match pin {
            Some(pin) => self.refuse_value(pin, Bad { item, what, remedy }),
            None => self.refuse(0, Bad::new(format!("{path}: {name}: {what}"), remedy)),
        }
    }

    /// Whether a syntax error in these lines may have left half a name or value behind.
    fn is_broken(&self, name: &Range<usize>, value: &Range<usize>) -> bool {
        let lines = self.line(name.start)..=self.line(value.end.max(name.end));
        self.broken.range(lines).next().is_some()
    }

    /// Whether nothing was found wrong.
    pub(crate) fn is_well(&self) -> bool {
        self.errors.is_empty()
    }

    /// Whether a value of the property was refused.
    pub(crate) fn refused(&self, name: &str) -> bool {
        self.errors
            .iter()
            .any(|(_, error)| error.what.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
    }

    fn refuse(&mut self, at: usize, bad: Bad) {
        self.errors.push((at, bad));
    }

    /// The line of an offset, from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at)
    }

    /// Line and character of an offset, both from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line(at);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }

    fn table(&mut self, name: &Spanned<DeString<'_>>, table: &DeTable<'_>, given: &mut Given) {
        let at = name.span().start;
        let (key, path) = match self.key(name.get_ref()) {
            Ok(found) => found,
            Err(bad) => return self.refuse(at, bad),
        };
        given.keys.push(path.clone());
        for (name, value) in table {
            if self.is_broken(&name.span(), &value.span()) {
                continue;
            }
            let Some((id, property)) = catalogue::named(name.get_ref()) else {
                self.refuse(name.span().start, unknown_property(name.get_ref()));
                continue;
            };
            let is_misplaced = |property: &&Property, key: &Key| {
                property.apply().is_some() && !property.stands_at(key.kind())
            };
            if let (Some(key), Some(property)) = (&key, property)
                && is_misplaced(&property, key)
            {
                self.refuse(name.span().start, misplaced(property, key));
                continue;
            }
            let items = match value.get_ref() {
                DeValue::Array(array) => array.iter().map(Spanned::span).collect(),
                _ => Vec::new(),
            };
            let place = value.span();
            match typed::record(id, property, value.get_ref()) {
                Ok(record) => {
                    // A change is judged by what it changes: what was imported may stay.
                    if let (Scope::Pins, Some(known)) = (self.scope, property)
                        && let Mark::Refused(why) = known.mark
                        && !known.asks_nothing(&record.data)
                    {
                        let what = format!("{}: is not taken", known.name);
                        self.refuse(name.span().start, Bad::new(what, why));
                        continue;
                    }
                    let line = self.line(place.start);
                    given.pins.push(Pin { path: path.clone(), record, line, place, items });
                }
                Err(bad) => {
                    let at = bad.item.and_then(|index| items.get(index)).unwrap_or(&place).start;
                    let what = format!("{}: {}", catalogue::name_of(id), bad.what);
                    self.refuse(at, Bad { what, ..bad });
                }
            }
        }
    }

    /// The key that a table is named for. In a change an exact path is taken first: it may be a key outside of ours.
    fn key(&self, name: &str) -> Result<(Option<Key>, KeyPath), Bad> {
        let Scope::Change(tree) = self.scope else {
            let key = Key::parse(name).map_err(|why| bad_key(name, &why))?;
            let path = key.path();
            return Ok((Some(key), path));
        };
        let exact = name.parse().ok().filter(|path| name.starts_with('/') && tree.node(path).is_some());
        let path = match exact {
            Some(path) => path,
            None => KeyPath::read(name).map_err(|why| {
                Bad::new(format!("{}: {why}", quoted(name)), "Give a path such as /LM/SmtpSvc/1.")
            })?,
        };
        Ok((None, path))
    }

    /// Names may differ in case, so the TOML reader cannot see all that is set twice. Takes pins in the text's order and
    /// leaves the first of each.
    fn refuse_twice(&mut self, pins: Vec<Pin>) -> Vec<Pin> {
        let mut first_lines: BTreeMap<(KeyPath, u32), usize> = BTreeMap::new();
        let mut kept = Vec::with_capacity(pins.len());
        for pin in pins {
            let place = (pin.path.clone(), pin.record.id);
            if let Some(line) = first_lines.get(&place) {
                let what = format!("is set twice at {}, first in line {line}", pin.path);
                self.refuse_value(&pin, Bad::new(what, "Keep one of the two."));
                continue;
            }
            first_lines.insert(place, pin.line);
            kept.push(pin);
        }
        kept
    }

    /// Judges each value that is pinned by itself, and gives the tree that the pins make of a fresh one, and what it says. What
    /// must fit together is for whoever knows what is stored beside them.
    pub(crate) fn judge(&mut self, pins: &[Pin], place: &Place) -> (Tree, Draft) {
        // Its bounds are far above what a text can hold; a tree that is full would be a fresh one.
        let tree = compile::overlay(&compile::fresh_tree(), pins).unwrap_or_default();
        let (draft, problems) = compile::values(&tree, place);
        for problem in problems {
            self.refuse_problem(pins, problem);
        }
        // The server's own stands in place of the service's.
        if let Some(pin) = pins.iter().rev().find(|pin| pin.record.id == ids::RELAY_IP_LIST)
            && let Some(bad) = self.open_to_most(pin, &draft.settings.relay)
        {
            self.refuse_value(pin, bad);
        }
        (tree, draft)
    }

    /// Whoever writes a file has nobody to ask whether it is meant, as a change by command has.
    fn open_to_most(&self, pin: &Pin, listed: &[IpNet]) -> Option<Bad> {
        let what = relay::openness(listed)?;
        // What is stored is in the order of masks, so the item is looked for in the text.
        let is_open = |place: &Range<usize>| {
            let item = self.text.get(place.clone()).unwrap_or_default().trim_matches(['"', '\'']);
            forms::network(item.trim()).is_ok_and(|network| relay::openness(&[network]).is_some())
        };
        let what =
            format!("lets {what} relay: an open relay is soon used by spammers and refused by everyone else");
        let bad = Bad::new(what, "List the networks whose machines are yours.");
        Some(Bad { item: pin.items.iter().position(is_open), ..bad })
    }
}

fn bad_key(path: &str, why: &NotAKey) -> Bad {
    let path = quoted(path);
    match why {
        NotAKey::OtherServer => Bad::new(
            format!("{path}: there is one virtual server, 1"),
            "Use /LM/SmtpSvc/1; for a second server start a second postroad with another --data folder.",
        ),
        NotAKey::NotADomain => Bad::new(
            format!("{path} does not end in a domain name"),
            "Give a name such as /LM/SmtpSvc/1/Domain/example.org.",
        ),
        NotAKey::Unknown => Bad::new(
            format!("{path} is not a key"),
            "Keys are /LM/SmtpSvc, /LM/SmtpSvc/1 and /LM/SmtpSvc/1/Domain/example.org.",
        ),
    }
}

fn unknown_property(name: &str) -> Bad {
    let remedy = crate::check::nearest(name).map_or_else(
        || "docs/settings.md lists all properties.".to_owned(),
        |known| format!("Did you mean {known}?"),
    );
    Bad::new(format!("{} is not a property", quoted(name)), remedy)
}

fn misplaced(property: &Property, key: &Key) -> Bad {
    let places: Vec<_> = property.keys.iter().copied().map(KeyKind::pattern).collect();
    Bad::new(
        format!("{}: has no effect at {key}", property.name),
        format!("Put it under {}.", places.join(" or ").replace("/n", "/1")),
    )
}
