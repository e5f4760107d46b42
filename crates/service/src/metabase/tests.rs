//! The metabase of a folder as its questions show it, at rest or with a service that is imagined.

use super::{AtRest, Live, Registry, answer};
use postroad_control::meta::{ChangeReport, How, MetaItem, MetaRequest, MetaStep, PendingRow, ValueRow};
use postroad_control::{Failed, FailedKind, Item};
use postroad_mail::time::Wall;
use std::path::PathBuf;
use std::time::Duration;

const NOW: Wall = Wall(1_795_590_028_000);

/// A folder, opened anew for each question as a face at rest does.
struct Folder {
    dir: tempfile::TempDir,
    config: Option<PathBuf>,
    now: Wall,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), config: None, now: NOW }
    }

    fn open(&self) -> Result<Registry, Failed> {
        Registry::open(self.dir.path(), self.config.as_ref(), self.now)
    }

    fn ask(&self, request: &MetaRequest) -> Result<Vec<MetaItem>, Failed> {
        self.ask_of(&AtRest, request)
    }

    fn ask_of(&self, live: &impl Live, request: &MetaRequest) -> Result<Vec<MetaItem>, Failed> {
        let mut registry = self.open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut items = Vec::new();
        let mut each = |item| match item {
            Item::Meta(item) => items.push(item),
            other => panic!("{other:?}"),
        };
        runtime.block_on(answer(&mut registry, request, self.now, live, &mut each))?;
        Ok(items)
    }

    fn change(&self, steps: Vec<MetaStep>, how: How) -> Result<ChangeReport, Failed> {
        self.ask(&MetaRequest::Change { steps, how }).map(reported)
    }

    fn set(&self, path: &str, property: &str, value: &str) -> Result<ChangeReport, Failed> {
        self.change(vec![set(path, property, value)], How::default())
    }

    fn value(&self, path: &str, property: &str) -> ValueRow {
        let (path, property) = (path.into(), property.into());
        match self.ask(&MetaRequest::Get { path, property, why: false }).unwrap().pop() {
            Some(MetaItem::Value(row)) => *row,
            other => panic!("{other:?}"),
        }
    }

    fn shown(&self, path: &str, property: &str) -> String {
        self.value(path, property).record.map_or_else(String::new, |record| record.value.join(", "))
    }

    fn log(&self, limit: usize) -> (Option<PendingRow>, Vec<u64>) {
        let (mut pending, mut generations) = (None, Vec::new());
        for item in self.ask(&MetaRequest::Log { limit, generation: None }).unwrap() {
            match item {
                MetaItem::Pending(row) => pending = Some(row),
                MetaItem::History(row) => generations.push(row.generation),
                other => panic!("{other:?}"),
            }
        }
        (pending, generations)
    }
}

fn set(path: &str, property: &str, value: &str) -> MetaStep {
    MetaStep::Set {
        path: path.into(),
        property: property.into(),
        value: vec![value.into()],
        data_type: None,
        user_type: None,
        attributes: None,
    }
}

fn reported(items: Vec<MetaItem>) -> ChangeReport {
    match items.into_iter().next() {
        Some(MetaItem::Change(report)) => *report,
        other => panic!("{other:?}"),
    }
}

fn waiting(secs: u64) -> How {
    How { confirm_secs: Some(secs), ..How::default() }
}

#[test]
fn the_change_that_waits_is_told_though_newer_ones_exist() {
    let folder = Folder::new();
    let report = folder.change(vec![set("smtpsvc/1", "HopCount", "33")], waiting(600)).unwrap();
    folder.set("smtpsvc/1", "MaxRecipients", "7").unwrap();
    let until = NOW + Duration::from_secs(600);
    let (pending, generations) = folder.log(1);
    assert_eq!(pending, Some(PendingRow { generation: report.generation, until }));
    assert_eq!(generations, [report.generation + 1]);
    folder.ask(&MetaRequest::Confirm).unwrap();
    assert_eq!(folder.log(1).0, None);
}
