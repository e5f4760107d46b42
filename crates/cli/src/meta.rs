//! `meta`: the settings, their history and their backups.
//!
//! Here is what looks; `change` has what changes. Both only ask `control` and show its answers.

pub mod args;
mod change;
mod files;
pub mod forms;
mod reports;
mod rows;
#[cfg(test)]
mod tests;

use crate::ending::{DONE, NO, TRY_LATER, Trouble};
use crate::glue;
use crate::screen::{Line, Screen};
use args::{Backups, Check, Enum, Get, Kept, Meta};
use files::Draft;
use forms::At;
use postroad_control::meta::{Form, MetaRequest};
use postroad_control::meta_answer::{Finding, KeyRow, MetaItem, PropertyRow, RecordRow};
use postroad_control::{Item, Request};
use postroad_mail::time::Wall;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Asks, and hands each part of the answer on.
type Ask<'a> =
    dyn FnMut(MetaRequest, &mut dyn FnMut(MetaItem) -> Result<(), Trouble>) -> Result<(), Trouble> + 'a;
/// Asks the person at the terminal a question; none: nobody is there.
type Person<'a> = dyn FnMut(&str) -> io::Result<Option<bool>> + 'a;

/// Runs the verb.
pub fn run(data: &Path, verb: Meta, now: Wall, screen: &mut Screen<'_>) -> Result<u8, Trouble> {
    let mut ask = |request, each: &mut dyn FnMut(MetaItem) -> Result<(), Trouble>| {
        glue::ask(data, &Request::Meta(request), &mut |item| match item {
            Item::Meta(item) => each(item),
            Item::Status(_) | Item::Recipient(_) | Item::Done(_) | Item::Explanation(_) | Item::Event(_) => {
                Err(glue::stranger())
            }
        })
    };
    // A program that reads JSON is not asked, even if it has a terminal.
    let mut person = if screen.json { nobody } else { person };
    Asker { ask: &mut ask, person: &mut person, now, screen }.run(verb)
}

fn nobody(_: &str) -> io::Result<Option<bool>> {
    Ok(None)
}

fn person(question: &str) -> io::Result<Option<bool>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// One run of the verb: whom it asks, and where it answers.
struct Asker<'a, 's> {
    ask: &'a mut Ask<'a>,
    person: &'a mut Person<'a>,
    now: Wall,
    screen: &'a mut Screen<'s>,
}

/// Something that was found, for programs: an object that says what it is.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found<'f> {
    Key(&'f KeyRow),
    Record(&'f RecordRow),
}

/// The answer to an export, for programs.
#[derive(Serialize)]
struct Exported {
    form: Form,
    text: String,
}

/// The answer to one that went into a file.
#[derive(Serialize)]
struct Written {
    form: Form,
    file: String,
    octets: usize,
}

impl Asker<'_, '_> {
    fn run(&mut self, verb: Meta) -> Result<u8, Trouble> {
        match verb {
            Meta::Tree { path, depth } => self.tree(path, depth),
            Meta::Get(get) => self.get(get),
            Meta::Enum(asked) => self.enumerate(&asked),
            Meta::Find { text, path } => self.find(path, text),
            Meta::Export { path, xml, output, force } => {
                self.export(path, if xml { Form::Xml } else { Form::Toml }, output, force)
            }
            Meta::Log { generation, limit } => self.log(generation, limit),
            Meta::Backups { verb: None | Some(Backups::List) } => self.backups(),
            Meta::Backups { verb: Some(Backups::Verify { which, password }) } => {
                let Kept { name, version } = which;
                let password = password.of_kept()?;
                self.backup(MetaRequest::Verify { name, version, password }, " is whole")
            }
            Meta::Backups { verb: Some(Backups::Delete { which, yes }) } => self.delete_backup(which, yes),
            Meta::Check(check) if check.repair => self.repair(check),
            Meta::Check(check) => self.check(&check),
            Meta::Set(set) => self.set(set),
            Meta::Unset { what, how } => self.unset(what.at()?, how),
            Meta::Create { path, key_type, how } => self.steps(forms::create(path, key_type), how),
            Meta::Delete { what, how } => self.delete(what, how),
            Meta::Diff { file, prune } => self.diff(&file, prune.wanted()),
            Meta::Apply { file, prune, how } => self.apply(&file, prune.wanted(), how),
            Meta::Import { file, apply, how } => self.import(&file, apply, how),
            Meta::Rollback { generation: Some(generation), how } => {
                self.changed(MetaRequest::Rollback { generation, how: how.how() })
            }
            Meta::Rollback { generation: None, how } => self.changed(MetaRequest::Undo { how: how.how() }),
            Meta::Confirm => self.confirm(),
            Meta::Backup(backup) => {
                let password = backup.password.of_new()?;
                let (name, version, overwrite) = (backup.name, backup.version, backup.overwrite);
                self.backup(
                    MetaRequest::Backup { name, version, overwrite, password },
                    " is made and verified",
                )
            }
            Meta::Restore(restore) => self.restore(restore),
        }
    }

    /// Asks, and gathers the parts of the answer, all of which `pick` knows.
    fn all<T>(&mut self, request: MetaRequest, pick: fn(MetaItem) -> Option<T>) -> Result<Vec<T>, Trouble> {
        let mut found = Vec::new();
        (self.ask)(request, &mut |item| {
            found.push(pick(item).ok_or_else(glue::stranger)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Asks what has one answer.
    fn one<T>(&mut self, request: MetaRequest, pick: fn(MetaItem) -> Option<T>) -> Result<T, Trouble> {
        self.all(request, pick)?.pop().ok_or_else(glue::stranger)
    }

    /// Shows an answer: for programs as it is, for people as lines.
    fn show<T: Serialize>(
        &mut self,
        answer: &T,
        lines: impl FnOnce(&T, Wall) -> Vec<Line>,
    ) -> Result<(), Trouble> {
        if self.screen.json {
            self.screen.object(answer)?;
        } else {
            self.screen.lines(&lines(answer, self.now))?;
        }
        Ok(())
    }

    /// Says something to people alone.
    fn say(&mut self, line: Line) -> Result<(), Trouble> {
        if !self.screen.json {
            self.screen.line(&line)?;
        }
        Ok(())
    }

    fn tree(&mut self, path: String, depth: usize) -> Result<u8, Trouble> {
        let screen = &mut *self.screen;
        (self.ask)(MetaRequest::Tree { path, depth }, &mut |item| match item {
            MetaItem::Key(row) if screen.json => Ok(screen.object(&row)?),
            MetaItem::Key(row) => Ok(screen.line(&rows::key(&row))?),
            _ => Err(glue::stranger()),
        })?;
        Ok(DONE)
    }

    fn get(&mut self, get: Get) -> Result<u8, Trouble> {
        let at = get.what.at()?;
        let asked = at.property.clone();
        let request = MetaRequest::Get { path: at.path, property: at.property, why: get.why };
        let row = self.one(request, |item| match item {
            MetaItem::Value(row) => Some(*row),
            _ => None,
        })?;
        if !get.raw {
            self.show(&row, |row, _| rows::value(row, &asked, get.why))?;
            return Ok(DONE);
        }
        match row.record {
            Some(record) if record.secret => {
                let what = format!("{} is a secret, which is not shown.", record.name);
                Err(Trouble::Says(NO, what))
            }
            Some(record) => {
                for item in record.value {
                    self.screen.text(&format!("{item}\n"))?;
                }
                Ok(DONE)
            }
            None => {
                Err(Trouble::Says(NO, format!("{asked} is not set; the default holds: {}.", row.default)))
            }
        }
    }

    fn enumerate(&mut self, asked: &Enum) -> Result<u8, Trouble> {
        let (path, keys) = forms::listed(asked)?;
        if keys {
            return self.children(path);
        }
        let count = self.records(MetaRequest::Enum { path, inherited: asked.inherited })?;
        if count == 0 {
            self.say(Line::plain(
                "The key has no properties of its own; --inherited shows what it inherits.",
            ))?;
        }
        Ok(DONE)
    }

    fn children(&mut self, path: String) -> Result<u8, Trouble> {
        let screen = &mut *self.screen;
        (self.ask)(MetaRequest::Tree { path, depth: 1 }, &mut |item| match item {
            MetaItem::Key(row) if row.depth == 0 => Ok(()),
            MetaItem::Key(row) if screen.json => Ok(screen.object(&row)?),
            MetaItem::Key(row) => Ok(screen.line(&Line::plain(format!("[{}]", row.path)))?),
            _ => Err(glue::stranger()),
        })?;
        Ok(DONE)
    }

    /// As adsutil has it, a text such as `smtpsvc/SmtpUseTcpDns` finds the property below the key.
    fn find(&mut self, path: String, text: String) -> Result<u8, Trouble> {
        let (path, text) = match forms::split(&text) {
            Some(At { path: below, property })
                if path == "/" && forms::is_known(&self.schema()?, &property) =>
            {
                (below, property)
            }
            _ => (path, text),
        };
        match self.records(MetaRequest::Find { path, text })? {
            0 => {
                self.say(Line::plain("Nothing matches."))?;
                Ok(NO)
            }
            _ => Ok(DONE),
        }
    }

    /// Shows records and keys as they come, a table for each key, of which one is held at a time; says how many there were.
    fn records(&mut self, request: MetaRequest) -> Result<u64, Trouble> {
        let mut held: Vec<RecordRow> = Vec::new();
        let mut count = 0;
        let screen = &mut *self.screen;
        // Only what is found is of two kinds.
        let is_mixed = matches!(request, MetaRequest::Find { .. });
        (self.ask)(request, &mut |item| {
            count += 1;
            match item {
                MetaItem::Record(row) if screen.json && is_mixed => screen.object(&Found::Record(&row))?,
                MetaItem::Key(row) if screen.json => screen.object(&Found::Key(&row))?,
                MetaItem::Record(row) if screen.json => screen.object(&row)?,
                MetaItem::Record(row) => {
                    if held.first().is_some_and(|first| first.path != row.path) {
                        flush(&mut held, screen)?;
                    }
                    held.push(*row);
                }
                MetaItem::Key(row) => {
                    flush(&mut held, screen)?;
                    screen.line(&Line::strong(format!("[{}]", row.path)))?;
                }
                _ => return Err(glue::stranger()),
            }
            Ok(())
        })?;
        flush(&mut held, screen)?;
        Ok(count)
    }

    fn export(
        &mut self,
        path: String,
        form: Form,
        file: Option<PathBuf>,
        force: bool,
    ) -> Result<u8, Trouble> {
        let request = MetaRequest::Export { form, path };
        let screen = &mut *self.screen;
        let Some(file) = file else {
            let mut text = String::new();
            let is_json = screen.json;
            (self.ask)(request, &mut |item| match item {
                MetaItem::Text(piece) if is_json => {
                    text.push_str(&piece);
                    Ok(())
                }
                MetaItem::Text(piece) => Ok(screen.text(&piece)?),
                _ => Err(glue::stranger()),
            })?;
            if is_json {
                self.screen.object(&Exported { form, text })?;
            }
            return Ok(DONE);
        };
        let (mut draft, mut octets) = (Draft::new(&file, force)?, 0);
        (self.ask)(request, &mut |item| match item {
            MetaItem::Text(piece) => {
                octets += piece.len();
                draft.add(&piece)
            }
            _ => Err(glue::stranger()),
        })?;
        draft.finish()?;
        if self.screen.json {
            self.screen.object(&Written { form, file: file.display().to_string(), octets })?;
        }
        Ok(DONE)
    }

    fn log(&mut self, generation: Option<u64>, limit: usize) -> Result<u8, Trouble> {
        let mut none = true;
        let screen = &mut *self.screen;
        (self.ask)(MetaRequest::Log { limit, generation }, &mut |item| match item {
            // For programs it is at its change, and `status` has it.
            MetaItem::Pending(_) if screen.json => Ok(()),
            MetaItem::Pending(row) => Ok(screen.line(&reports::pending(row))?),
            MetaItem::History(row) => {
                none = false;
                let shown =
                    if screen.json { screen.object(&row) } else { screen.lines(&reports::history(&row)) };
                Ok(shown?)
            }
            _ => Err(glue::stranger()),
        })?;
        match (none, generation) {
            (false, _) => return Ok(DONE),
            (true, None) => self.say(Line::plain("Nothing was changed."))?,
            (true, Some(generation)) => {
                self.say(Line::plain(format!("No generation {generation} is remembered.")))?
            }
        }
        Ok(if generation.is_some() { NO } else { DONE })
    }

    fn backups(&mut self) -> Result<u8, Trouble> {
        let rows = self.all(MetaRequest::Backups, |item| match item {
            MetaItem::Backup(row) => Some(*row),
            _ => None,
        })?;
        if self.screen.json {
            rows.iter().try_for_each(|row| self.screen.object(row))?;
        } else if rows.is_empty() {
            self.say(Line::plain("There are no backups."))?;
        } else {
            self.screen.lines(&rows::backups(&rows, self.screen.columns))?;
        }
        Ok(DONE)
    }

    /// Does something to one backup; `what` became of it if nothing is wrong with it.
    fn backup(&mut self, request: MetaRequest, what: &str) -> Result<u8, Trouble> {
        let row = self.one(request, |item| match item {
            MetaItem::Backup(row) => Some(*row),
            _ => None,
        })?;
        let is_whole = row.fault.is_empty();
        self.show(&row, |row, _| reports::backup(row, if is_whole { what } else { "" }))?;
        Ok(if is_whole { DONE } else { NO })
    }

    fn check(&mut self, check: &Check) -> Result<u8, Trouble> {
        let found = self.findings(check)?;
        self.verdict(&found)
    }

    /// Shows what a check finds, and gives it.
    fn findings(&mut self, check: &Check) -> Result<Vec<Finding>, Trouble> {
        let request = MetaRequest::Check { path: check.path.clone(), online: check.online };
        let found = self.all(request, |item| match item {
            MetaItem::Finding(finding) => Some(*finding),
            _ => None,
        })?;
        for finding in &found {
            self.show(finding, |finding, _| reports::finding(finding))?;
        }
        Ok(found)
    }

    fn verdict(&mut self, found: &[Finding]) -> Result<u8, Trouble> {
        self.say(reports::findings(found))?;
        let is_any = |is: fn(&Finding) -> bool| found.iter().any(is);
        Ok(match (is_any(|one| one.error), is_any(|one| one.untested)) {
            (true, _) => NO,
            (false, true) => TRY_LATER,
            (false, false) => DONE,
        })
    }

    /// The known properties: asked for only where a command line can be read in two ways.
    fn schema(&mut self) -> Result<Vec<PropertyRow>, Trouble> {
        self.all(MetaRequest::Schema, |item| match item {
            MetaItem::Property(row) => Some(*row),
            _ => None,
        })
    }
}

fn flush(held: &mut Vec<RecordRow>, screen: &mut Screen<'_>) -> io::Result<()> {
    let Some(first) = held.first() else {
        return Ok(());
    };
    let lines = rows::records(&first.path, held, screen.columns);
    held.clear();
    screen.lines(&lines)
}
