//! Files that say what is to be in the tree: a TOML text that is compared or applied, a MetaBase.xml that is brought.

use super::judge::Judge;
use super::{Live, Purpose, Registry, aside, failed, rows};
use postroad_control::meta::{Given, How, Prune};
use postroad_control::meta_answer::{ChangeReport, ImportKind, ImportLine, ImportReport, Reach};
use postroad_control::{Failed, FailedKind, TOLD_MAX};
use postroad_mail::time::Wall;
use postroad_metabase::catalogue;
use postroad_metabase::compile::Problem;
use postroad_metabase::key::Key;
use postroad_metabase::path::KeyPath;
use postroad_metabase::text;
use postroad_metabase::tree::{Delta, Op, Tree};
use postroad_metabase::xml::{self, Taken};
use std::collections::BTreeMap;

/// Octets of a file that is read for an administrator; a TOML text may have as many.
const FILE_MAX: u64 = xml::OCTETS_MAX as u64;
/// Times that an import is compiled to find what does not fit. Each finds all that can be seen at once, and what was taken out
/// may show something else, such as a type of smart host whose host is gone; five is one more than any rule looks back on another.
const FIT_MAX: usize = 5;

impl Registry {
    /// Makes what a text names be as it says.
    pub(super) async fn apply(
        &mut self,
        given: &Given,
        prune: Prune,
        how: &How,
        now: Wall,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let mut ops = self.read_steps(given, prune).await?;
        // A text need not repeat what another file says.
        ops.retain(|op| !matches!(op, Op::Unset(..)) || self.pin_of(op).is_none());
        self.change(&ops, how, Purpose::Declare, now, live).await
    }

    /// What applying a text would change. What stands in its way is a note.
    pub(super) async fn compare(
        &mut self,
        given: &Given,
        prune: Prune,
        now: Wall,
        live: &impl Live,
    ) -> Result<ChangeReport, Failed> {
        let ops = self.read_steps(given, prune).await?;
        // What a pin holds off differs as well, from what the pin says.
        let held_off = |op: &Op| match (op, self.pin_of(op)) {
            (Op::Set(path, record), Some(pin)) => Some(rows::difference(&Delta::Record {
                path: path.clone(),
                id: record.id,
                before: Some(pin.record.clone()),
                after: Some(record.clone()),
            })),
            _ => None,
        };
        let held_off: Vec<_> = ops.iter().filter_map(held_off).collect();
        let how = How { dry_run: true, mean_it: true, ..How::default() };
        let mut report = self.change(&ops, &how, Purpose::Bring, now, live).await?;
        report.differences_count += held_off.len() as u64;
        report.differences.extend(held_off);
        report.differences.truncate(TOLD_MAX);
        Ok(report)
    }

    async fn read_steps(&self, given: &Given, prune: Prune) -> Result<Vec<Op>, Failed> {
        let (given, (tree, _)) = (given.clone(), self.stored());
        let prune = match prune {
            Prune::Nothing => text::Prune::Nothing,
            Prune::Properties => text::Prune::Properties,
            Prune::Keys => text::Prune::Keys,
        };
        let ops = aside(move || {
            let (name, octets) = read(&given)?;
            let toml = String::from_utf8(octets)
                .map_err(|error| failed(FailedKind::Usage, format!("{name} is not UTF-8: {error}")))?;
            text::steps(&toml, &name, &tree, prune).map_err(|errors| {
                let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
                failed(FailedKind::Usage, lines.join("\n"))
            })
        });
        ops.await
    }

    /// Tells what an import takes, and takes it with `apply`. What does not fit is left out and told; what then still stands
    /// in the way of all of it is told too.
    pub(super) async fn import(
        &mut self,
        given: &Given,
        apply: bool,
        how: &How,
        now: Wall,
        live: &impl Live,
    ) -> Result<ImportReport, Failed> {
        let (given, here, unconfirmed) = (given.clone(), self.here(), self.unconfirmed());
        let taken = aside(move || {
            let (name, octets) = read(&given)?;
            let taken = xml::take(&octets, &name, &here.stored);
            let mut taken = taken.map_err(|error| failed(FailedKind::Usage, error.to_string()))?;
            taken.refuse(&unconfirmed);
            Ok((name, taken))
        });
        let (name, mut taken) = taken.await?;
        let how = How { dry_run: how.dry_run || !apply, ..how.clone() };
        let mut made = self.change(&taken.ops, &how, Purpose::Bring, now, live).await;
        if is_refused(&made) {
            let here = self.here();
            let fitted = aside(move || {
                here.fit(&mut taken);
                Ok(taken)
            });
            taken = fitted.await?;
            made = self.change(&taken.ops, &how, Purpose::Bring, now, live).await;
        }
        let (change, refusal) = match made {
            Err(Failed { kind: FailedKind::Refused, what }) => {
                let meant = How { dry_run: true, mean_it: true, ..how };
                let change = self.change(&taken.ops, &meant, Purpose::Bring, now, live).await;
                (change.unwrap_or_else(|_| self.no_change()), what)
            }
            made => (made?, String::new()),
        };
        Ok(ImportReport {
            file: name,
            taken: taken.taken,
            kept: taken.kept,
            left: taken.left,
            refused: taken.refused,
            not_decryptable: taken.not_decryptable,
            lines: told(&taken),
            change,
            refusal,
        })
    }

    fn no_change(&self) -> ChangeReport {
        ChangeReport {
            applied: false,
            generation: self.stored().1,
            differences: Vec::new(),
            differences_count: 0,
            notes: Vec::new(),
            reach: Reach::default(),
            confirm_until: None,
        }
    }

    /// Records that the change which waits to be confirmed has set.
    fn unconfirmed(&self) -> BTreeMap<(KeyPath, u32), String> {
        let base = self.base();
        let Some(pending) = base.pending() else { return BTreeMap::new() };
        let why = format!(
            "generation {} has set it and waits to be confirmed: keep that with `postroad meta confirm`, or undo it with \
             `postroad meta rollback`, and import again",
            pending.generation
        );
        base.pending_records().map(|(path, id)| ((path.clone(), id), why.clone())).collect()
    }

    fn here(&self) -> Here {
        Here { stored: self.stored().0, judge: self.judge() }
    }
}

/// What an import comes into, for a thread aside.
struct Here {
    stored: Tree,
    judge: Judge,
}

impl Here {
    /// Takes out of an import what keeps the rest from being taken.
    fn fit(&self, taken: &mut Taken) {
        for _ in 0..FIT_MAX {
            let problems = match self.stored.apply(&taken.ops).and_then(|after| self.judge.added(&after)) {
                Ok(problems) if !problems.is_empty() => problems,
                // Nothing is wrong, or the tree is full: that is told of the whole.
                Ok(_) | Err(_) => return,
            };
            let why = |problem: Problem| {
                let text = format!("{}. {}", problem.what, problem.remedy);
                problem.id.map(|id| ((problem.path, id), text))
            };
            let own: BTreeMap<_, _> = problems.iter().cloned().filter_map(why).collect();
            if taken.refuse(&own) == 0 {
                taken.refuse(&self.culprits(&taken.ops, &problems));
            }
        }
    }

    /// The steps that brought problems up in records that are not of the import: one such as a MaxMessageSize above the
    /// MaxSessionSize that is there. Where none is to blame alone, all are that the server sees.
    fn culprits(&self, ops: &[Op], problems: &[Problem]) -> BTreeMap<(KeyPath, u32), String> {
        let server = Key::Server.path();
        let seen = |op: &&Op| matches!(op, Op::Set(path, record) if server.is_within(path) && catalogue::by_id(record.id).is_some());
        let seen: Vec<Op> = ops.iter().filter(seen).cloned().collect();
        let mut why = BTreeMap::new();
        for problem in problems {
            let text =
                format!("with it, {} of {} {}. {}", problem.name, problem.path, problem.what, problem.remedy);
            let is_to_blame = |at: &usize| {
                let others =
                    seen.iter().enumerate().filter(|(other, _)| other != at).map(|(_, op)| op.clone());
                let after = self.stored.apply(&others.collect::<Vec<_>>());
                after.and_then(|after| self.judge.has(&after, problem)) == Ok(false)
            };
            let blamed = (0..seen.len()).find(is_to_blame);
            let blamed = blamed.map_or(&seen[..], |at| seen.get(at..=at).unwrap_or_default());
            why.extend(blamed.iter().filter_map(|op| match op {
                Op::Set(path, record) => Some(((path.clone(), record.id), text.clone())),
                Op::Create(_) | Op::Delete(_) | Op::Unset(..) => None,
            }));
        }
        why
    }
}

fn is_refused(made: &Result<ChangeReport, Failed>) -> bool {
    matches!(made, Err(Failed { kind: FailedKind::Refused, .. }))
}

/// What is told of an import; of a very long report first what needs a person.
fn told(taken: &Taken) -> Vec<ImportLine> {
    let mut told: Vec<&xml::Line> = taken.lines.iter().collect();
    if told.len() > TOLD_MAX {
        told.sort_by_key(|line| line.kind.is_quiet());
        told.truncate(TOLD_MAX);
    }
    told.into_iter().map(line).collect()
}

fn line(line: &xml::Line) -> ImportLine {
    let kind = match line.kind {
        xml::LineKind::Taken => ImportKind::Taken,
        xml::LineKind::Kept => ImportKind::Kept,
        xml::LineKind::Lost => ImportKind::Lost,
        xml::LineKind::Translated => ImportKind::Translated,
        xml::LineKind::Left => ImportKind::Left,
        xml::LineKind::NotDecryptable => ImportKind::NotDecryptable,
        xml::LineKind::Refused => ImportKind::Refused,
    };
    ImportLine { kind, path: line.path.to_string(), name: line.name.clone(), text: line.text.clone() }
}

/// The text that was brought along, or the file of its name.
fn read(given: &Given) -> Result<(String, Vec<u8>), Failed> {
    if let Some(text) = &given.text {
        return Ok((given.name.clone(), text.clone().into_bytes()));
    }
    let name = given.name.clone();
    let cannot = |error: std::io::Error| {
        let what = format!("{} cannot be read: {error}. The service reads it as its own user", given.name);
        failed(FailedKind::Usage, what)
    };
    let size = std::fs::metadata(&name).map_err(cannot)?;
    if !size.is_file() || size.len() > FILE_MAX {
        let what = format!("{name} is no file of at most {} MiB", FILE_MAX >> 20);
        return Err(failed(FailedKind::Usage, what));
    }
    Ok((name.clone(), std::fs::read(&name).map_err(cannot)?))
}
