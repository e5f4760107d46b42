//! The metabase of a data folder: the stored tree, the properties that a configuration file pins over it, the settings that
//! both make, and the one way in which any of it changes. The same code serves a running service and a store at rest; what
//! differs is behind `Live`.

mod answer;
mod backup;
mod files;
mod judge;
mod plan;
mod rows;
mod steps;
#[cfg(test)]
mod tests;

pub(crate) use answer::answer;

use crate::{backups, configuration, data, listen, store};
use plan::Purpose;
use postroad_control::meta::How;
use postroad_control::meta_answer::ChangeReport;
use postroad_control::{Failed, FailedKind};
use postroad_mail::time::Wall;
use postroad_metabase::compile::{self, Place, Problem};
use postroad_metabase::record::VOLATILE;
use postroad_metabase::settings::Settings;
use postroad_metabase::snapshot::Published;
use postroad_metabase::store::sqlite::SqliteStore;
use postroad_metabase::store::{Act, Change, Metabase, Pinned, Seal, StoreError};
use postroad_metabase::text::Pin;
use postroad_metabase::tree::{Delta, Op, Tree, steps};
use postroad_metabase::{catalogue, xml};
use postroad_spool::Store;
use postroad_spool::record::{Load, Loaded};
use postroad_spool::sqlite::Options;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The tree's file in the data folder.
pub(crate) const FILE: &str = "metabase.db";
/// The key that its secrets are sealed with.
const KEY_FILE: &str = "metabase.key";
/// The original wrote its files a minute after the last change.
const HISTORY_AFTER: Duration = Duration::from_secs(60);
/// While changes go on, this long after the first.
const HISTORY_WITHIN: Duration = Duration::from_secs(300);
/// Problems told of one refused change.
const PROBLEMS_SHOWN: usize = 20;

/// What a change does to a service that runs.
pub(crate) trait Live {
    /// Binds what is not bound yet, so that a change that cannot take effect is not made.
    fn prepare(&self, after: &Settings) -> Result<listen::Prepared, String>;
    /// Whether it could be prepared, for a dry run: what was bound is closed again, and no event tells of it.
    fn rehearse(&self, after: &Settings) -> Result<(), String>;
    /// Takes the change, which is on disk.
    fn publish(&self, settings: Arc<Settings>, prepared: listen::Prepared);
    /// Sessions that are open.
    fn sessions(&self) -> u64;
    /// Messages in the queue.
    fn messages(&self) -> u64;
    /// What was seen of the bindings, as the beginning of a sentence, where every one answers within a time; else the first
    /// that does not, and why.
    async fn health(&self, within: Duration) -> Result<&'static str, String>;
}

/// No service runs on the data folder.
pub(crate) struct AtRest(pub(crate) PathBuf);

impl Live for AtRest {
    fn prepare(&self, _: &Settings) -> Result<listen::Prepared, String> {
        Ok(listen::Prepared::default())
    }

    fn rehearse(&self, _: &Settings) -> Result<(), String> {
        Ok(())
    }

    fn publish(&self, _: Arc<Settings>, _: listen::Prepared) {}

    fn sessions(&self) -> u64 {
        0
    }

    fn messages(&self) -> u64 {
        let spool = self.0.join(data::SPOOL);
        // One that cannot be read is told of when it is asked about.
        let store = spool.exists().then(|| store::open(&spool, &Options::default()).ok()).flatten();
        match store.map(|mut store| store.load(&Load::Totals)) {
            Some(Ok(Loaded::Totals(totals))) => totals.messages,
            _ => 0,
        }
    }

    async fn health(&self, _: Duration) -> Result<&'static str, String> {
        Ok("No service runs, so no binding was tried")
    }
}

/// The metabase of a data folder.
pub(crate) struct Registry {
    dir: PathBuf,
    key: [u8; 32],
    /// With a lock, as a commit runs on a thread where its sync holds up no mail. Never contended: one change at a time.
    base: Arc<Mutex<Metabase<SqliteStore>>>,
    used: Used,
    /// With the file that they stand in.
    pinned: Pinned,
    /// The stored tree with the pins over it: what holds.
    effective: Tree,
    /// What of it makes no settings; nothing where a service runs.
    problems: Vec<Problem>,
    published: Arc<Published>,
    /// When the last scheduled backup was made.
    last_scheduled: Option<Wall>,
    /// When a scheduled backup that was due could not be made.
    scheduled_failed: Option<Wall>,
    /// When the tree was changed first and last after the last pair of history files.
    changed: Option<(Wall, Wall)>,
}

/// What a metabase is opened for.
#[derive(Clone, Debug)]
pub(crate) enum Used {
    /// A service is to run by it, and by the configuration file that it is started with.
    ToServe(Option<PathBuf>),
    /// Somebody looks at it or changes it. What does not fit can be mended, so it keeps nobody out.
    AtRest,
}

impl Registry {
    /// Opens the metabase of a data folder, or makes it with the values of a fresh install. What the configuration file pins
    /// is over it; at rest, what the file of the last start pinned. A change that was not confirmed in time is undone.
    ///
    /// # Errors
    /// A configuration file that is refused, or, to serve, values that do not fit together (`Usage`: where, what, remedy); a
    /// file that cannot be used.
    pub(crate) fn open(dir: &Path, used: Used, now: Wall) -> Result<Self, Failed> {
        let place = place(dir);
        let given = match &used {
            Used::ToServe(config) => Some(pinned(config.as_ref())?),
            Used::AtRest => None,
        };
        let unavailable = |error: &dyn std::fmt::Display| failed(FailedKind::Unavailable, error.to_string());
        let key = key(&dir.join(KEY_FILE)).map_err(|error| {
            unavailable(&format!("{} cannot be used: {error}", dir.join(KEY_FILE).display()))
        })?;
        let store =
            SqliteStore::open(&dir.join(FILE), Seal::new(key)).map_err(|error| unavailable(&error))?;
        let mut base = Metabase::open(store).map_err(|error| unavailable(&error))?;
        if base.generation() == 0 {
            let fresh = base.tree().apply(&compile::fresh()).map_err(|error| unavailable(&error))?;
            base.commit(&fresh, &change("postroad", "values of a fresh install", now), Act::Change)
                .map_err(|error| unavailable(&error))?;
        }
        if base.pending().is_some_and(|pending| pending.until <= now)
            && let Some(undone) = base.undone()
        {
            let undo = change("postroad", "not confirmed in time", now);
            base.commit(&undone, &undo, Act::Undo).map_err(|error| unavailable(&error))?;
        }
        let pinned = given.unwrap_or_else(|| base.pinned().clone());
        let effective = compile::overlay(base.tree(), &pinned.pins).map_err(|error| unavailable(&error))?;
        let (mut settings, mut problems) = Settings::of_what_fits(&effective, &place, base.generation());
        problems.extend(settings.unused(&pinned.pins));
        if let Used::ToServe(config) = &used {
            let refused = (!problems.is_empty()).then(|| {
                let remedy = "Mend it with `postroad meta set`, or look at what `postroad meta check --repair` would do";
                failed(FailedKind::Usage, format!("{}\n{remedy}", told_of(&problems, &pinned)))
            });
            // A start without a file forgets what another one pinned even where it is refused: else the pins would keep
            // the values out that it needs.
            if config.is_none() || refused.is_none() {
                base.pin(pinned.clone(), &configured(&pinned, "read", now))
                    .map_err(|error| unavailable(&error))?;
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
        }
        settings.generation = base.generation();
        Ok(Self {
            dir: dir.to_owned(),
            key,
            base: Arc::new(Mutex::new(base)),
            used,
            pinned,
            effective,
            problems,
            published: Arc::new(Published::new(settings)),
            last_scheduled: None,
            scheduled_failed: None,
            changed: None,
        })
    }

    /// What holds.
    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published)
    }

    /// The properties that the configuration file pins, as `/LM/SmtpSvc SmtpUseTcpDns (FILE:LINE)`.
    pub(crate) fn pins(&self) -> Vec<String> {
        let pin = |pin: &Pin| {
            let name = catalogue::name_of(pin.record.id);
            format!("{} {name} ({})", pin.path, self.place_of(pin))
        };
        self.pinned.pins.iter().map(pin).collect()
    }

    /// When the change that waits to be confirmed is undone.
    pub(crate) fn pending_until(&self) -> Option<Wall> {
        self.base().pending().map(|pending| pending.until)
    }

    fn place_of(&self, pin: &Pin) -> String {
        format!("{}:{}", self.pinned.file, pin.line)
    }

    fn base(&self) -> MutexGuard<'_, Metabase<SqliteStore>> {
        // A panic in a commit is a bug of ours that has ended the program; there is no half-changed value behind it.
        self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stored tree and its generation. Two calls of `base` in one statement would wait for each other.
    fn stored(&self) -> (Tree, u64) {
        let base = self.base();
        (base.tree().clone(), base.generation())
    }

    fn settings(&self) -> Arc<Settings> {
        self.published.load()
    }

    /// Reads the configuration file again. One that is refused changes nothing; one that pins other values is a generation.
    pub(crate) async fn reread(&mut self, now: Wall, live: &impl Live) -> Result<(), String> {
        self.settle(live).await.map_err(|failed| failed.what)?;
        let place = place(&self.dir);
        let Used::ToServe(config) = &self.used else { return Ok(()) };
        let pinned = pinned(config.as_ref()).map_err(|failed| failed.what)?;
        let (stored, generation) = self.stored();
        let effective = compile::overlay(&stored, &pinned.pins).map_err(|error| error.to_string())?;
        let mut settings = Settings::compile(&effective, &place, generation)
            .map_err(|problems| told_of(&problems, &pinned))?;
        if let Some(problem) = settings.unused(&pinned.pins) {
            return Err(told_of(&[problem], &pinned));
        }
        let prepared = live.prepare(&settings)?;
        let change = configured(&pinned, "read again", now);
        let (wanted, kept) = (pinned.clone(), pinned.clone());
        let written = self.write(
            move |base| base.pin(wanted, &change),
            move |base| base.pinned().says_the_same(&kept).then(|| base.generation()),
        );
        settings.generation = written.await.map_err(|failed| failed.what)?;
        self.pinned = pinned;
        self.publish(effective, settings, prepared, live);
        Ok(())
    }

    /// Writes. A store that fails is opened again at once, and what the disk has `kept` is done.
    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Metabase<SqliteStore>) -> Result<T, StoreError> + Send + 'static,
        kept: impl FnOnce(&Metabase<SqliteStore>) -> Option<T> + Send + 'static,
    ) -> Result<T, Failed> {
        let base = Arc::clone(&self.base);
        let written = aside(move || {
            let mut base = base.lock().unwrap_or_else(PoisonError::into_inner);
            let error = match write(&mut base) {
                Ok(written) => return Ok(written),
                Err(error) => error,
            };
            match if base.has_failed() { base.reopen() } else { Ok(()) } {
                Ok(()) => kept(&base).ok_or_else(|| store_failed(error)),
                Err(again) => {
                    let what = format!(
                        "{error}. Nor can it be opened again ({again}), which is tried until it can: then `postroad meta \
                         log` shows whether the disk has kept the change"
                    );
                    Err(failed(FailedKind::Temporary, what))
                }
            }
        });
        written.await
    }

    /// Opens a store again that failed and could not be opened at once, and takes what the disk has kept of a change that was
    /// answered as failed.
    pub(super) async fn settle(&mut self, live: &impl Live) -> Result<(), Failed> {
        if self.base().has_failed() {
            self.write(Metabase::reopen, |_| Some(())).await?;
        }
        let (stored, generation) = self.stored();
        if generation == self.settings().generation {
            return Ok(());
        }
        let pinned = self.base().pinned().clone();
        let invalid = |what: String| failed(FailedKind::Temporary, what);
        let effective =
            compile::overlay(&stored, &pinned.pins).map_err(|error| invalid(error.to_string()))?;
        let (settings, problems) = Settings::of_what_fits(&effective, &place(&self.dir), generation);
        let prepared = live.prepare(&settings).map_err(invalid)?;
        (self.pinned, self.problems) = (pinned, problems);
        self.publish(effective, settings, prepared, live);
        Ok(())
    }

    /// Makes a tree, and the settings that were compiled of it, what holds.
    fn publish(&mut self, effective: Tree, settings: Settings, prepared: listen::Prepared, live: &impl Live) {
        self.effective = effective;
        let settings = Arc::new(settings);
        self.published.store(Arc::clone(&settings));
        live.publish(settings, prepared);
    }

    /// Does what is due: undoes a change that was not confirmed, makes the scheduled backup, writes the history pair. Returns
    /// what should be known of it.
    pub(crate) async fn tick(&mut self, now: Wall, live: &impl Live) -> Vec<Result<String, String>> {
        if let Err(failed) = self.settle(live).await {
            return vec![Err(failed.what)];
        }
        let mut said = Vec::new();
        said.extend(self.undo_overdue(now, live).await.map(|undone| undone.map_err(|failed| failed.what)));
        let is_due = |(first, last)| now - last >= HISTORY_AFTER || now - first >= HISTORY_WITHIN;
        if self.changed.is_some_and(is_due)
            && let Err(what) = self.write_history_if_changed(now).await
        {
            said.push(Err(what));
        }
        said.extend(self.scheduled_backup(now).await);
        said
    }

    /// Undoes the change that was not confirmed in time, if there is one.
    async fn undo_overdue(&mut self, now: Wall, live: &impl Live) -> Option<Result<String, Failed>> {
        let generation = self.base().pending().filter(|pending| pending.until <= now)?.generation;
        let how = How {
            author: String::from("postroad"),
            reason: format!("generation {generation} was not confirmed in time"),
            ..How::default()
        };
        let undone = self.take_back(&how, now, live).await;
        Some(undone.map(|_| format!("generation {generation} was not confirmed in time and is undone")))
    }

    /// Undoes the change that waits, and it alone.
    async fn take_back(&mut self, how: &How, now: Wall, live: &impl Live) -> Result<ChangeReport, Failed> {
        let pending = self.base().pending();
        let undone = self.base().undone().ok_or_else(nothing_waits)?;
        let ops = self.stored().0.steps_to(&undone);
        // What was there before is what was meant before.
        let mut how = How { mean_it: true, ..how.clone() };
        if let Some(pending) = pending.filter(|_| how.reason.is_empty()) {
            how.reason = format!("undoes generation {}", pending.generation);
        }
        self.change(&ops, &how, Purpose::Undo, now, live).await
    }

    /// The pair of files that the original keeps of each state. One that cannot be written is due again a while later.
    pub(crate) async fn write_history_if_changed(&mut self, now: Wall) -> Result<(), String> {
        if self.changed.take().is_none() {
            return Ok(());
        }
        let (tree, generation) = self.stored();
        let dir = self.dir.clone();
        let written = aside(move || {
            let (tree, schema) = (as_xml(&tree, generation), xml::schema());
            backups::Backups::new(&dir).history_pair(generation, &tree, &schema, backups::HISTORY_KEEP)
        });
        written.await.map_err(|failed| {
            self.changed = Some((now, now));
            format!("the history pair could not be written: {}", failed.what)
        })
    }
}

fn failed(kind: FailedKind, what: String) -> Failed {
    Failed { kind, what }
}

fn store_failed(error: StoreError) -> Failed {
    failed(FailedKind::Temporary, error.to_string())
}

/// Work that takes long goes to a thread where it holds up no mail.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(failed(FailedKind::Temporary, error.to_string())),
    }
}

/// The tree as a MetaBase.xml.
fn as_xml(tree: &Tree, generation: u64) -> String {
    xml::write(tree, &xml::Facts { generation, history: generation, schema_time: 0 })
}

/// Other pins, as a change.
fn configured(pinned: &Pinned, how: &str, at: Wall) -> Change {
    let reason = if pinned.file.is_empty() {
        String::from("no configuration file")
    } else {
        format!("configuration {} {how}", pinned.file)
    };
    change("postroad", &reason, at)
}

fn nothing_waits() -> Failed {
    let what = "no change waits to be confirmed: it was confirmed, or is undone";
    failed(FailedKind::NotFound, what.into())
}

fn change(author: &str, reason: &str, at: Wall) -> Change {
    Change { at, author: author.into(), reason: reason.into(), confirm_until: None }
}

/// What a configuration file pins. Who reads its name at rest stands in another folder than who started the service.
fn pinned(config: Option<&PathBuf>) -> Result<Pinned, Failed> {
    let pins = configuration::pins(config)?;
    let whole = config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    Ok(Pinned { file: whole.map(|path| path.display().to_string()).unwrap_or_default(), pins })
}

/// Where settings are compiled for.
pub(crate) fn place(dir: &Path) -> Place {
    Place { data_dir: dir.to_owned(), host_name: data::host_name() }
}

/// Problems, a line each.
fn told(problems: &[Problem]) -> String {
    told_of(problems, &Pinned::default())
}

/// The same; what is pinned is told by its line.
fn told_of(problems: &[Problem], pinned: &Pinned) -> String {
    let line = |problem: &Problem| {
        let pin = problem.pin(&pinned.pins);
        let place = pin.map_or_else(String::new, |pin| format!("{}:{}: ", pinned.file, pin.line));
        format!("{place}{} {}: {}. {}", problem.path, problem.name, problem.what, problem.remedy)
    };
    let mut lines: Vec<String> = problems.iter().take(PROBLEMS_SHOWN).map(line).collect();
    if problems.len() > PROBLEMS_SHOWN {
        lines.push(format!("and {} more", problems.len() - PROBLEMS_SHOWN));
    }
    lines.join("\n")
}

/// The key that secrets are sealed with, made at first use.
fn key(file: &Path) -> io::Result<[u8; 32]> {
    let mut octets = Vec::new();
    match OpenOptions::new().read(true).open(file) {
        Ok(opened) => {
            opened.take(64).read_to_end(&mut octets)?;
            <[u8; 32]>::try_from(octets)
                .map_err(|_| io::Error::other("it does not have 32 octets: put the file back from a copy"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = data::seed()?;
            // By another name first: half a key would be taken for a damaged one.
            let unfinished = file.with_extension("key.new");
            let mut made =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            made.write_all(&key)?;
            made.sync_all()?;
            std::fs::rename(&unfinished, file)?;
            if let Some(folder) = file.parent() {
                std::fs::File::open(folder)?.sync_all()?;
            }
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// The steps that put one tree in the place of another. What is volatile is not in a backup and stays.
fn steps_between(before: &Tree, after: &Tree) -> Vec<Op> {
    let lasting = |delta: &Delta| match delta {
        Delta::Record { before: Some(record), after: None, .. } => !record.has(VOLATILE),
        _ => true,
    };
    steps(before.diff(after).into_iter().filter(lasting).collect())
}
