//! A small metabase in memory that answers as the service does, and hands that press its keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test fails")]

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use postroad_control::attributes;
use postroad_control::meta::*;
use postroad_control::meta_answer::*;
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;
use postroad_tui::{Event, Metabase, Options, State, draw, settle};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub kind: String,
    pub user_type: u32,
    pub attributes: u32,
    pub value: Vec<String>,
}

pub type Tree = BTreeMap<String, BTreeMap<u32, Stored>>;

pub struct Fake {
    pub tree: Tree,
    pub past: Vec<(HistoryRow, Tree)>,
    pub backups: Vec<(BackupRow, Tree)>,
    pub asked: Vec<MetaRequest>,
    pub down: bool,
    /// The places in a file that pin properties.
    pub pins: BTreeMap<u32, String>,
    /// The process id of the service that answers; none: the store does.
    pub service: Option<u32>,
    /// What the check finds.
    pub findings: Vec<Finding>,
    /// Whether the editor let go of the store.
    pub let_go: bool,
    /// Names of properties that have another one here.
    pub names: BTreeMap<u32, String>,
    /// What the schema says of each property, if not the usual.
    pub doc: String,
    /// Keys that are found whatever is looked for.
    pub many: usize,
}

impl Metabase for Fake {
    fn ask(&mut self, request: &MetaRequest, each: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.answer(request, each)
    }

    fn service(&self) -> Option<u32> {
        self.service
    }

    fn let_go(&mut self) {
        self.let_go = true;
    }
}

pub fn stored(kind: &str, value: &[&str]) -> Stored {
    let value = value.iter().map(|text| (*text).to_owned()).collect();
    Stored { kind: kind.into(), user_type: 1, attributes: 1, value }
}

pub fn property(id: u32, name: &str, data_type: &str) -> PropertyRow {
    PropertyRow {
        name: name.into(),
        id,
        data_type: data_type.into(),
        user_type: 1,
        attributes: 1,
        unit: String::new(),
        doc: format!("What {name} is for."),
        expectation: String::new(),
        fresh: String::new(),
        absent: String::new(),
        bounds: None,
        names: Vec::new(),
        bits: Vec::new(),
        is_list: false,
        keys: Vec::new(),
        mark: Mark::InForce,
    }
}

pub fn schema() -> Vec<PropertyRow> {
    let names = vec![(0, "udp-then-tcp".into()), (1, "tcp-only".into()), (2, "udp-only".into())];
    let bits = vec![(0x40, "DSN".into()), (0x80, "ETRN".into()), (0x40_0000, "8BITMIME".into())];
    vec![
        property(36906, "SmartHost", "STRING"),
        PropertyRow { names, ..property(36997, "SmtpUseTcpDns", "DWORD") },
        PropertyRow { bits, ..property(36998, "SmtpInboundCommandSupportOptions", "DWORD") },
        PropertyRow { is_list: true, ..property(36990, "RelayIpList", "BINARY") },
        property(36880, "MaxMessageSize", "DWORD"),
        property(36932, "ShouldPipelineIn", "BOOL"),
        PropertyRow { attributes: 5, mark: Mark::Kept, ..property(36989, "RouteAccountPassword", "STRING") },
    ]
}

impl Fake {
    pub fn new() -> Self {
        let mut tree = Tree::new();
        for path in ["/", "/LM", "/LM/SmtpSvc", "/LM/SmtpSvc/1", "/LM/SmtpSvc/1/Domain", "/LM/W3Svc"] {
            tree.insert(path.into(), BTreeMap::new());
        }
        let service = tree.get_mut("/LM/SmtpSvc").unwrap();
        service.insert(36880, stored("DWORD", &["2097152"]));
        service.insert(36998, stored("DWORD", &["64"]));
        let server = tree.get_mut("/LM/SmtpSvc/1").unwrap();
        server.insert(36906, stored("STRING", &["relay.example.org"]));
        server.insert(36990, stored("BINARY", &["127.0.0.0/8"]));
        server.insert(61537, stored("STRING", &["bell\u{7} escape\u{1b}[2J end"]));
        server.insert(36932, stored("DWORD", &["TRUE"]));
        server.insert(36989, Stored { attributes: 5, ..stored("STRING", &["hunter2"]) });
        let mut fake = Self {
            tree,
            past: Vec::new(),
            backups: Vec::new(),
            asked: Vec::new(),
            down: false,
            pins: BTreeMap::new(),
            service: Some(4711),
            findings: Vec::new(),
            let_go: false,
            many: 0,
            names: BTreeMap::new(),
            doc: String::new(),
        };
        fake.remember("setup (fresh)", "fresh install", None, Vec::new());
        fake
    }

    fn remember(&mut self, author: &str, reason: &str, confirm: Option<u64>, differences: Vec<Difference>) {
        let row = HistoryRow {
            generation: self.past.len() as u64 + 1,
            at: Wall(1_795_590_000_000),
            author: author.into(),
            reason: reason.into(),
            differences_count: differences.len() as u64,
            differences,
            confirm_until: confirm.map(|secs| Wall(1_795_590_000_000 + secs as i64 * 1000)),
            confirmed_at: None,
            confirmed_by: None,
        };
        self.past.push((row, self.tree.clone()));
    }

    pub fn commits(&self) -> Vec<(Vec<MetaStep>, How)> {
        let commit = |request: &MetaRequest| match request {
            MetaRequest::Change { steps, how } if !how.dry_run => Some((steps.clone(), how.clone())),
            _ => None,
        };
        self.asked.iter().filter_map(commit).collect()
    }

    fn row(&self, path: &str, from: &str, id: u32, stored: &Stored) -> RecordRow {
        let known = schema().into_iter().find(|known| known.id == id);
        let secret = stored.attributes & 4 != 0;
        let number: Option<u32> = stored.value.first().and_then(|text| text.parse().ok());
        let names = known.as_ref().map(|known| known.names.clone()).unwrap_or_default();
        let meaning = names.into_iter().find(|(value, _)| Some(*value) == number);
        let inherited = path != from;
        let bits = stored.attributes | if inherited { attributes::IS_INHERITED } else { 0 };
        RecordRow {
            path: path.into(),
            from: from.into(),
            inherited,
            id,
            name: self.names.get(&id).cloned().unwrap_or_else(|| {
                known.as_ref().map_or_else(|| format!("UnknownName_{id}"), |known| known.name.clone())
            }),
            attributes: bits,
            attribute_names: attributes::names(bits),
            user_type: stored.user_type,
            data_type: stored.kind.clone(),
            value: if secret { Vec::new() } else { stored.value.clone() },
            is_list: stored.kind == "MULTISZ" || known.as_ref().is_some_and(|known| known.is_list),
            meaning: meaning.map(|(_, name)| name).unwrap_or_default(),
            secret,
            mark: known.map_or(Mark::Unknown, |known| known.mark),
            pinned: self.pins.get(&id).cloned(),
        }
    }

    fn change(&mut self, after: Tree, how: &How, must_mean: bool) -> Result<ChangeReport, Failed> {
        let generation = self.past.len() as u64;
        if how.if_generation.is_some_and(|wanted| wanted != generation) {
            return Err(failed(FailedKind::Refused, "the metabase was changed in the meantime"));
        }
        let all = |tree: &Tree| {
            tree.values().any(|records| {
                records.get(&36990).is_some_and(|stored| stored.value.contains(&"0.0.0.0/0".to_owned()))
            })
        };
        if must_mean && all(&after) && !how.mean_it {
            return Err(failed(FailedKind::Refused, "this would be an open relay for 0.0.0.0/0"));
        }
        let differences = differences(&self.tree, &after);
        let applied = !how.dry_run && !differences.is_empty();
        if applied {
            self.tree = after;
            self.remember(&how.author, &how.reason, how.confirm_secs, differences.clone());
        }
        Ok(ChangeReport {
            applied,
            generation: self.past.len() as u64,
            differences_count: differences.len() as u64,
            differences,
            notes: vec!["A note of the service.".into()],
            reach: Reach { keys: 3, sessions: 2, messages: 1 },
            confirm_until: None,
        })
    }

    fn stepped(&self, steps: &[MetaStep]) -> Result<Tree, Failed> {
        let mut tree = self.tree.clone();
        for step in steps {
            match step {
                MetaStep::Create { path } => {
                    if path.contains("//") {
                        return Err(failed(FailedKind::Usage, "a key has no empty part"));
                    }
                    for key in std::iter::successors(Some(path.as_str()), |path| above(path)) {
                        tree.entry(key.into()).or_default();
                    }
                }
                MetaStep::Delete { path } => {
                    tree.retain(|key, _| key != path && !key.starts_with(&format!("{path}/")))
                }
                MetaStep::Set { path, property, value, data_type, user_type, attributes } => {
                    let kind = data_type.clone().unwrap();
                    if self.pins.contains_key(&property.parse().unwrap()) {
                        return Err(failed(FailedKind::Refused, "it is pinned"));
                    }
                    if kind == "DWORD"
                        && value[0].parse::<u32>().is_err()
                        && !value[0].starts_with("0x")
                        && value[0] != "TRUE"
                        && value[0] != "FALSE"
                    {
                        return Err(failed(FailedKind::Usage, "it is not a number of 32 bits"));
                    }
                    let record = Stored {
                        kind,
                        user_type: user_type.unwrap(),
                        attributes: attributes.unwrap(),
                        value: value.clone(),
                    };
                    tree.entry(path.clone()).or_default().insert(property.parse().unwrap(), record);
                }
                MetaStep::Unset { path, property } => {
                    tree.entry(path.clone()).or_default().remove(&property.parse().unwrap());
                }
            }
        }
        Ok(tree)
    }

    fn answer(&mut self, request: &MetaRequest, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.asked.push(request.clone());
        if self.down {
            return Err(failed(FailedKind::Unavailable, "there is no service at /var/lib/postroad"));
        }
        match request {
            MetaRequest::Schema => {
                for row in schema() {
                    let doc = if self.doc.is_empty() { row.doc.clone() } else { self.doc.clone() };
                    tell(MetaItem::Property(Box::new(PropertyRow { doc, ..row })));
                }
            }
            MetaRequest::Tree { path, .. } => {
                self.keys(path)?.into_iter().for_each(|row| tell(MetaItem::Key(row)))
            }
            MetaRequest::Enum { path, .. } => {
                self.records(path)?.into_iter().for_each(|row| tell(MetaItem::Record(Box::new(row))));
            }
            MetaRequest::Find { text, .. } => {
                let mut found = self.found(text);
                found.extend((0..self.many).map(|_| MetaItem::Key(self.keys("/").unwrap().remove(0))));
                if found.is_empty() {
                    return Err(failed(FailedKind::NotFound, "nothing matches"));
                }
                found.into_iter().for_each(tell);
            }
            MetaRequest::Change { steps, how } => {
                let after = self.stepped(steps)?;
                tell(MetaItem::Change(Box::new(self.change(after, how, true)?)));
            }
            MetaRequest::Rollback { generation, how } => {
                let after =
                    self.past.iter().find(|(row, _)| row.generation == *generation).unwrap().1.clone();
                tell(MetaItem::Change(Box::new(self.change(after, how, true)?)));
            }
            MetaRequest::Log { limit, generation } => {
                let waits = self.past.iter().find_map(|(row, _)| Some((row.generation, row.confirm_until?)));
                if let Some((generation, until)) = waits {
                    tell(MetaItem::Pending(PendingRow { generation, until }));
                }
                let wanted =
                    |row: &&(HistoryRow, Tree)| generation.is_none_or(|wanted| row.0.generation == wanted);
                for (row, _) in self.past.iter().rev().filter(wanted).take(*limit) {
                    tell(MetaItem::History(Box::new(row.clone())));
                }
            }
            MetaRequest::Confirm { author } => {
                let (row, _) = self.past.iter_mut().find(|(row, _)| row.confirm_until.is_some()).unwrap();
                row.confirm_until = None;
                (row.confirmed_at, row.confirmed_by) = (Some(row.at), Some(author.clone()));
                tell(MetaItem::Confirmed(row.generation));
            }
            MetaRequest::Undo { how } => {
                let at = self.past.iter().position(|(row, _)| row.confirm_until.is_some()).unwrap();
                self.past[at].0.confirm_until = None;
                let after = self.past[at - 1].1.clone();
                tell(MetaItem::Change(Box::new(self.change(after, how, false)?)));
            }
            MetaRequest::Check { .. } => {
                self.findings.iter().for_each(|found| tell(MetaItem::Finding(Box::new(found.clone()))));
            }
            request => self.backup(request, tell)?,
        }
        Ok(())
    }

    fn backup(&mut self, request: &MetaRequest, tell: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        let which = |name: &str, version: &VersionWanted| {
            self.backups
                .iter()
                .position(|(row, _)| row.name == name && VersionWanted::This(row.version) == *version)
        };
        match request {
            MetaRequest::Backups => {
                // A list reads no records.
                let row = |row: &BackupRow| BackupRow { verified: false, ..row.clone() };
                self.backups.iter().for_each(|(one, _)| tell(MetaItem::Backup(Box::new(row(one)))));
            }
            MetaRequest::Backup { name, version, overwrite, password } => {
                let of_name = self.backups.iter().filter(|(row, _)| row.name == *name);
                let next = of_name.map(|(row, _)| row.version + 1).max().unwrap_or(0);
                let version = match version {
                    VersionWanted::Next => next,
                    VersionWanted::Highest => next.saturating_sub(1),
                    VersionWanted::This(version) => *version,
                };
                let is_it = |row: &BackupRow| row.name == *name && row.version == version;
                if self.backups.iter().any(|(row, _)| is_it(row)) && !overwrite {
                    return Err(failed(FailedKind::Refused, "it is there already"));
                }
                self.backups.retain(|(row, _)| !is_it(row));
                let row = BackupRow {
                    name: name.clone(),
                    version,
                    at: Wall(1_795_590_000_000),
                    size: 4096,
                    keys: self.tree.len() as u64,
                    records: 7,
                    generation: self.past.len() as u64,
                    password: password.is_some(),
                    verified: true,
                    notes: Vec::new(),
                    fault: String::new(),
                };
                self.backups.push((row.clone(), self.tree.clone()));
                tell(MetaItem::Backup(Box::new(row)));
            }
            MetaRequest::Verify { name, version, password } => {
                let row = &self.backups[which(name, version).unwrap()].0;
                if row.password && password != &Some(Secret("geheim".into())) {
                    return Err(failed(FailedKind::Refused, "the password is another one"));
                }
                tell(MetaItem::Backup(Box::new(row.clone())));
            }
            MetaRequest::DeleteBackup { name, version } => {
                let (row, _) = self.backups.remove(which(name, version).unwrap());
                tell(MetaItem::Backup(Box::new(row)));
            }
            MetaRequest::Restore { name, version, how, .. } => {
                let (backup, after) = self.backups[which(name, version).unwrap()].clone();
                let change = self.change(after, how, false)?;
                let steps = vec!["The backup was verified.".into()];
                let report = RestoreReport {
                    backup: backup.clone(),
                    safety: Some(backup),
                    change,
                    steps,
                    rolled_back: String::new(),
                };
                tell(MetaItem::Restore(Box::new(report)));
            }
            request => panic!("not asked for: {request:?}"),
        }
        Ok(())
    }

    fn keys(&self, path: &str) -> Result<Vec<KeyRow>, Failed> {
        let row = |path: &str, depth| KeyRow {
            path: path.into(),
            depth,
            records: self.tree[path].len(),
            children: self.tree.keys().filter(|key| above(key) == Some(path)).count(),
        };
        if !self.tree.contains_key(path) {
            return Err(failed(FailedKind::NotFound, "there is no such key"));
        }
        let below = self.tree.keys().filter(|key| above(key) == Some(path)).map(|key| row(key, 1));
        Ok(std::iter::once(row(path, 0)).chain(below).collect())
    }

    fn records(&self, path: &str) -> Result<Vec<RecordRow>, Failed> {
        let own = self.tree.get(path).ok_or_else(|| failed(FailedKind::NotFound, "there is no such key"))?;
        let mut rows: BTreeMap<u32, RecordRow> = BTreeMap::new();
        let mut at = Some(path);
        while let Some(key) = at {
            let records = if key == path { own } else { &self.tree[key] };
            for (id, stored) in records.iter().filter(|(_, stored)| key == path || stored.attributes & 1 != 0)
            {
                rows.entry(*id).or_insert_with(|| self.row(path, key, *id, stored));
            }
            at = above(key);
        }
        Ok(rows.into_values().collect())
    }

    fn found(&self, text: &str) -> Vec<MetaItem> {
        let mut found = Vec::new();
        for (path, records) in &self.tree {
            if path.rsplit('/').next().is_some_and(|name| name.contains(text)) {
                found.push(MetaItem::Key(self.keys(path).unwrap().remove(0)));
            }
            let rows = records.iter().map(|(id, stored)| self.row(path, path, *id, stored));
            let wanted = |row: &RecordRow| {
                row.id.to_string() == text
                    || row.name.contains(text)
                    || row.value.iter().any(|value| value.contains(text))
            };
            found.extend(rows.filter(wanted).map(|row| MetaItem::Record(Box::new(row))));
        }
        found
    }
}

fn above(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

pub fn failed(kind: FailedKind, what: &str) -> Failed {
    Failed { kind, what: what.into() }
}

fn differences(before: &Tree, after: &Tree) -> Vec<Difference> {
    let mut all = Vec::new();
    let name = |id: u32| {
        schema().into_iter().find(|known| known.id == id).map_or_else(String::new, |known| known.name)
    };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in keys {
        let key = |kind| Difference {
            path: path.clone(),
            kind,
            id: None,
            name: String::new(),
            before: String::new(),
            after: String::new(),
        };
        match (before.contains_key(path), after.contains_key(path)) {
            (false, true) => all.push(key(DifferenceKind::KeyCreated)),
            (true, false) => all.push(key(DifferenceKind::KeyDeleted)),
            _ => {}
        }
        let empty = BTreeMap::new();
        let (old, young) = (before.get(path).unwrap_or(&empty), after.get(path).unwrap_or(&empty));
        let ids: std::collections::BTreeSet<&u32> = old.keys().chain(young.keys()).collect();
        for id in ids {
            let shown =
                |stored: Option<&Stored>| stored.map(|stored| stored.value.join(", ")).unwrap_or_default();
            let kind = match (old.get(id), young.get(id)) {
                (None, Some(_)) => DifferenceKind::Added,
                (Some(_), None) => DifferenceKind::Removed,
                (one, other) if one == other => continue,
                _ => DifferenceKind::Changed,
            };
            let record = Difference {
                id: Some(*id),
                name: name(*id),
                before: shown(old.get(id)),
                after: shown(young.get(id)),
                ..key(kind)
            };
            all.push(record);
        }
    }
    all
}

/// The editor at a terminal, and the metabase that it is connected to.
pub struct Desk {
    pub fake: Fake,
    pub state: State,
    pub terminal: Terminal<TestBackend>,
    /// Whether it is written down what the screen said while something was asked that may take long, and that.
    pub listens: bool,
    pub said: Vec<String>,
}

impl Desk {
    pub fn sized(fake: Fake, options: Options, width: u16, height: u16) -> Self {
        let (state, effects) = State::new(options);
        let terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut desk = Self { fake, state, terminal, listens: false, said: Vec::new() };
        desk.state.handle(Event::Resize(width, height));
        settle(&mut desk.state, effects, &mut desk.fake, &mut |_| Ok(())).unwrap();
        desk
    }

    pub fn new() -> Self {
        Self::sized(Fake::new(), options(), 80, 24)
    }

    pub fn event(&mut self, event: Event) {
        let effects = self.state.handle(event);
        let (fake, terminal, said) = (&mut self.fake, &mut self.terminal, &mut self.said);
        let listens = self.listens;
        let mut show = |state: &State| {
            if !listens {
                return Ok(());
            }
            terminal.draw(|frame| draw(state, frame)).unwrap();
            let screen = terminal.backend().to_string();
            said.push(screen.lines().rev().find(|line| line.contains("...")).unwrap_or_default().to_owned());
            Ok(())
        };
        settle(&mut self.state, effects, fake, &mut show).unwrap();
    }

    pub fn press(&mut self, code: KeyCode) -> &mut Self {
        self.event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        self
    }

    pub fn presses(&mut self, codes: &[KeyCode]) -> &mut Self {
        for code in codes {
            self.press(*code);
        }
        self
    }

    pub fn type_in(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            self.press(KeyCode::Char(c));
        }
        self
    }

    pub fn empty_line(&mut self) -> &mut Self {
        self.event(Event::Key(KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL)));
        self
    }

    pub fn screen(&mut self) -> String {
        let state = &self.state;
        self.terminal.draw(|frame| draw(state, frame)).unwrap();
        self.terminal.backend().to_string()
    }

    /// The screen has all of these.
    pub fn shows(&mut self, texts: &[&str]) -> &mut Self {
        let screen = self.screen();
        for text in texts {
            assert!(screen.contains(text), "{text:?} is not on the screen:\n{screen}");
        }
        self
    }

    pub fn lacks(&mut self, text: &str) -> &mut Self {
        let screen = self.screen();
        assert!(!screen.contains(text), "{text:?} is on the screen:\n{screen}");
        self
    }

    /// Finds a record and goes to it.
    pub fn go_to(&mut self, id: &str) -> &mut Self {
        self.type_in("f").type_in(id).presses(&[KeyCode::Enter, KeyCode::Enter])
    }
}

pub fn options() -> Options {
    Options { author: "ada".into(), read_only: false, connected: "postroad at /var/lib/postroad".into() }
}
