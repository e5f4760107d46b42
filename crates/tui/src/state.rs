//! All that the editor knows, and how an event changes it. It never asks by itself: what it wants to know it gives back.

use crate::backups::Verified;
use crate::dialog::{Confirm, Layer, Say, Then};
use crate::explain;
use crate::pending::{self, PENDING_MAX};
use crate::record_pane::RecordPane;
use crate::review::Subject;
use crate::tree_pane::{ROOT, TreePane};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use postroad_control::meta::{How, MetaRequest, MetaStep};
use postroad_control::meta_answer::{MetaItem, PropertyRow};
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;

/// What the editor is told when it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who makes the changes.
    pub author: String,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// What it is connected to, for the title.
    pub connected: String,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has so many columns and lines.
    Resize(u16, u16),
    /// No key came for a while.
    Idle,
    /// A question was answered.
    Answer {
        /// What it was asked for.
        purpose: Purpose,
        /// The answer.
        answer: Result<Vec<MetaItem>, Failed>,
        /// Parts of it that were left out.
        cut: usize,
        /// The process id of the service that answered; none: the store itself was asked.
        service: Option<u32>,
    },
}

/// A question to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What for.
    pub purpose: Purpose,
    /// The question.
    pub request: MetaRequest,
}

/// What a question is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The known properties.
    Schema,
    /// The keys right below a key.
    Keys(String),
    /// The records of a key.
    Records(String),
    /// The newest change: its number is the generation.
    Newest,
    /// The same, to see whether somebody else changed something.
    Watch,
    /// What matches this text.
    Found(String),
    /// Whether these steps can wait to be committed, after those that wait.
    Try(Vec<MetaStep>),
    /// What a change would do.
    DryRun,
    /// Whether what is refused would be done if it was meant: then it can be.
    IfMeant,
    /// A change.
    Commit,
    /// A change that waited to be confirmed stays.
    Confirmed,
    /// The past changes.
    History,
    /// One past change in full.
    OneChange,
    /// The backups.
    Backups,
    /// A backup was made, verified or deleted: the word for it.
    Backup(&'static str),
    /// What is wrong.
    Checked,
}

/// Asks for the newest change.
const NEWEST: MetaRequest = MetaRequest::Log { limit: 1, generation: None };

/// Which pane has the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Tree,
    Records,
}

/// The editor.
pub struct State {
    pub(crate) options: Options,
    pub(crate) size: (u16, u16),
    pub(crate) generation: Option<u64>,
    /// The change that waits to be confirmed, and when it undoes itself.
    pub(crate) unconfirmed: Option<(u64, Wall)>,
    /// Who answered last, once somebody did: a service by its process id, or the store itself.
    pub(crate) service: Option<Option<u32>>,
    /// The backups that were read back in this session.
    pub(crate) verified: Verified,
    pub(crate) schema: Vec<PropertyRow>,
    pub(crate) tree: TreePane,
    pub(crate) records: RecordPane,
    pub(crate) pane: Pane,
    /// Whether what is typed goes to the pane's filter.
    pub(crate) is_filtering: bool,
    pub(crate) pending: Vec<MetaStep>,
    /// What is above the main screen, the one with the keys last.
    pub(crate) layers: Vec<Layer>,
    /// A sentence in the last line until the next key.
    pub(crate) message: String,
    /// What is waited for, where that may take long.
    pub(crate) asking: Option<&'static str>,
    effects: Vec<Effect>,
    failed: Option<FailedKind>,
    is_over: bool,
}

impl State {
    /// The editor at its start, and what it wants to know first.
    #[must_use]
    pub fn new(options: Options) -> (Self, Vec<Effect>) {
        let mut state = Self {
            options,
            size: (80, 24),
            generation: None,
            unconfirmed: None,
            service: None,
            verified: Verified::default(),
            schema: Vec::new(),
            tree: TreePane::new(),
            records: RecordPane::new(),
            pane: Pane::Tree,
            is_filtering: false,
            pending: Vec::new(),
            layers: Vec::new(),
            message: String::new(),
            asking: None,
            effects: Vec::new(),
            failed: None,
            is_over: false,
        };
        state.ask(Purpose::Schema, MetaRequest::Schema);
        state.refresh();
        let effects = std::mem::take(&mut state.effects);
        (state, effects)
    }

    /// Whether the editor was left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The exit status: not 0 where there was nothing to edit.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self.failed {
            Some(kind) if self.tree.is_empty() => kind.exit_status(),
            _ => 0,
        }
    }

    /// The changes that wait to be committed.
    #[must_use]
    pub fn pending(&self) -> &[MetaStep] {
        &self.pending
    }

    /// Takes an event, and gives what the editor wants to know after it.
    pub fn handle(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Resize(width, height) => self.size = (width, height),
            Event::Key(key) => self.key(key),
            // A store at rest is changed by somebody else only now and then, and is left to whoever wants its lock.
            Event::Idle if self.layers.is_empty() && self.service.flatten().is_some() => {
                self.ask(Purpose::Watch, NEWEST);
            }
            Event::Idle => {}
            Event::Answer { purpose, answer, cut, service } => {
                self.asking = None;
                self.take(purpose, answer, cut);
                self.answered_by(service);
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Whether a question may take so long that something is to be said meanwhile.
    pub(crate) fn waits_for(&mut self, request: &MetaRequest) -> bool {
        self.asking = explain::waiting(request);
        self.asking.is_some()
    }

    /// Says so where another one answers than before: what a change does depends on it.
    fn answered_by(&mut self, service: Option<u32>) {
        let before = self.service.replace(service);
        let said = match (before, service) {
            (Some(Some(before)), None) => format!(
                "The service {before} has ended. The store itself is shown and changed: a change takes effect when a service starts."
            ),
            (Some(None), Some(pid)) => {
                format!("The service {pid} runs here since: a change takes effect at once.")
            }
            (Some(Some(before)), Some(pid)) if before != pid => {
                format!("The service {before} has ended, and {pid} runs in its place.")
            }
            _ => return,
        };
        self.say("Another one answers", vec![said]);
        self.refresh();
    }

    fn key(&mut self, key: KeyEvent) {
        self.message.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return self.quit();
        }
        if key.code == KeyCode::F(1) {
            return self.help();
        }
        let is_help_asked = key.code == KeyCode::Char('?');
        if is_help_asked && self.layers.last().is_some_and(|layer| !layer.takes_text()) {
            return self.help();
        }
        match self.layers.pop() {
            Some(layer) => {
                // What the layer opens is above what stays of it; it may also have closed the one below it.
                let place = self.layers.len();
                let stays = layer.key(key, self);
                let place = place.min(self.layers.len());
                self.layers.splice(place..place, stays);
            }
            None => self.main_key(key),
        }
    }

    /// Leaves, after a question where something would be lost; a second time in any case.
    pub(crate) fn quit(&mut self) {
        let was_asked = matches!(self.layers.last(), Some(Layer::Confirm(Confirm { then: Then::Quit, .. })));
        if self.pending.is_empty() || was_asked {
            return self.leave();
        }
        let waiting = self.pending.len();
        let question = format!("{waiting} pending change(s) are not committed and would be lost. Leave?");
        self.layers.push(Layer::Confirm(Confirm { question, then: Then::Quit }));
    }

    pub(crate) fn leave(&mut self) {
        self.is_over = true;
    }

    pub(crate) fn help(&mut self) {
        let is_open = matches!(self.layers.last(), Some(Layer::Say(say)) if say.is_help);
        if !is_open {
            let help = crate::help::of(self.layers.last());
            self.layers.push(Layer::Say(help));
        }
    }

    pub(crate) fn ask(&mut self, purpose: Purpose, request: MetaRequest) {
        self.effects.push(Effect { purpose, request });
    }

    /// Says something in a dialog.
    pub(crate) fn say(&mut self, title: &str, lines: Vec<String>) {
        self.layers.push(Layer::Say(Say::new(title, lines)));
    }

    /// Says why something was not done.
    pub(crate) fn say_failed(&mut self, failed: &Failed) {
        let title = match failed.kind {
            FailedKind::NotFound => "Not found",
            FailedKind::Refused => "Refused",
            FailedKind::Usage => "Not understood",
            FailedKind::Unavailable => "Not reachable",
            FailedKind::Temporary => "Not at this moment",
        };
        if self.failed.is_none() {
            self.failed = Some(failed.kind);
        }
        // One dialog is enough to say that nothing can be reached.
        let says = |layer: &Layer| matches!(layer, Layer::Say(say) if say.says(&failed.what));
        if !self.layers.last().is_some_and(says) {
            self.say(title, vec![failed.what.clone()]);
        }
    }

    /// Whether changes are allowed; says so where they are not.
    pub(crate) fn may_change(&mut self) -> bool {
        if self.options.read_only {
            self.message =
                "This session only reads: start it without --read-only to change something.".into();
        }
        !self.options.read_only
    }

    /// Asks whether the service would take steps, so that they can wait to be committed.
    pub(crate) fn propose(&mut self, steps: Vec<MetaStep>) {
        if self.pending.len() + steps.len() > PENDING_MAX {
            self.message = format!("{PENDING_MAX} changes wait: commit them first with c.");
            return;
        }
        let all = self.pending.iter().chain(&steps).cloned().collect();
        // What is dangerous is asked at the review.
        let how = How { dry_run: true, mean_it: true, ..How::default() };
        self.ask(Purpose::Try(steps), MetaRequest::Change { steps: all, how });
    }

    /// Keeps steps until they are committed, and closes the dialog that they were made in.
    pub(crate) fn wait(&mut self, steps: Vec<MetaStep>) {
        if self.layers.last().is_some_and(Layer::makes_steps) {
            self.layers.pop();
        }
        for step in &steps {
            match step {
                MetaStep::Set { path, property, .. } if pending::is_same(path, &self.tree.chosen) => {
                    self.records.chosen = property.parse().ok();
                }
                MetaStep::Create { path } if !self.tree.is_known(path) => {
                    self.choose_key(path);
                }
                _ => {}
            }
        }
        self.pending.extend(steps);
        self.message = format!("{} change(s) pending: c reviews and commits, u undoes.", self.pending.len());
    }

    /// Asks again for all that is shown.
    pub(crate) fn refresh(&mut self) {
        self.ask(Purpose::Newest, NEWEST);
        let mut open = self.tree.open_paths();
        if open.is_empty() {
            open.push(ROOT.into());
        }
        // A key that was made since is below keys that are not open.
        let mut above: Vec<String> = pending::above(&self.tree.chosen).map(str::to_owned).collect();
        above.retain(|path| {
            !open.iter().any(|open| pending::is_same(open, path))
                && !pending::is_to_be_made(&self.pending, path)
        });
        open.extend(above.into_iter().rev());
        for path in open {
            self.ask_keys(&path);
        }
        self.ask_records();
    }

    pub(crate) fn ask_keys(&mut self, path: &str) {
        self.ask(Purpose::Keys(path.into()), MetaRequest::Tree { path: path.into(), depth: 1 });
    }

    pub(crate) fn ask_records(&mut self) {
        let path = self.tree.chosen.clone();
        self.ask(Purpose::Records(path.clone()), MetaRequest::Enum { path, inherited: true });
    }

    /// Chooses a key, and shows its records.
    pub(crate) fn choose_key(&mut self, path: &str) {
        if !pending::is_same(&self.tree.chosen, path) || !pending::is_same(&self.records.path, path) {
            self.tree.chosen = path.into();
            self.ask_records();
        }
    }

    /// Opens the keys above a key and chooses it, and a record of it.
    pub(crate) fn jump(&mut self, path: &str, id: Option<u32>) {
        let above: Vec<&str> = pending::above(path).collect();
        for path in above.into_iter().rev() {
            self.ask_keys(path);
        }
        self.tree.filter = crate::field::Field::default();
        self.records.filter = crate::field::Field::default();
        self.pane = if id.is_some() { Pane::Records } else { Pane::Tree };
        self.records.chosen = id;
        self.tree.chosen = path.into();
        self.ask_records();
    }

    pub(crate) fn property(&self, id: u32) -> Option<&PropertyRow> {
        self.schema.iter().find(|property| property.id == id)
    }

    /// Columns that a dialog has for its lines.
    pub(crate) fn columns(&self) -> usize {
        usize::from(self.size.0.saturating_sub(6))
    }

    /// Lines that a dialog has at most.
    pub(crate) fn height(&self) -> usize {
        usize::from(self.size.1.saturating_sub(3))
    }

    /// Lines that a page key moves by.
    pub(crate) fn page(&self) -> usize {
        usize::from(self.size.1).saturating_sub(10).max(2)
    }

    /// Opens the review of a change, and asks what it would do.
    pub(crate) fn review(&mut self, subject: Subject) {
        let review = crate::review::Review::new(subject);
        let request = review.request(&self.pending, &self.options, true);
        self.ask(Purpose::DryRun, request);
        self.layers.push(Layer::Review(Box::new(review)));
    }
}
