//! The metabase of a folder as its questions show it, at rest or with a service that is imagined.

mod place;
mod store;

use super::{AtRest, Live, Registry, Used, answer};
use crate::listen::Prepared;
use postroad_control::meta::{Given, How, MetaRequest, MetaStep, Prune};
use postroad_control::meta_answer::{ChangeReport, Finding, MetaItem, PendingRow, Reach, ValueRow};
use postroad_control::{Failed, FailedKind, Item};
use postroad_mail::time::Wall;
use postroad_metabase::settings::Settings;
use std::sync::Arc;
use std::time::Duration;

const NOW: Wall = Wall(1_795_590_028_000);

/// A folder, opened anew for each question as a face at rest does.
struct Folder {
    dir: tempfile::TempDir,
    now: Wall,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), now: NOW }
    }

    fn open(&self) -> Result<Registry, Failed> {
        Registry::open(self.dir.path(), Used::AtRest, self.now)
    }

    fn ask(&self, request: &MetaRequest) -> Result<Vec<MetaItem>, Failed> {
        self.ask_of(&AtRest(self.dir.path().into()), request)
    }

    fn ask_of(&self, live: &impl Live, request: &MetaRequest) -> Result<Vec<MetaItem>, Failed> {
        self.ask_open(&mut self.open()?, live, request)
    }

    fn ask_open(
        &self,
        registry: &mut Registry,
        live: &impl Live,
        request: &MetaRequest,
    ) -> Result<Vec<MetaItem>, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut items = Vec::new();
        let mut each = |item| match item {
            Item::Meta(item) => items.push(item),
            other => panic!("{other:?}"),
        };
        runtime.block_on(answer(registry, request, self.now, live, &mut each))?;
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

    /// Starts a service with a configuration file of that text, or without one, and ends it.
    fn serve(&self, config: Option<&str>) -> Result<(), Failed> {
        let file = self.dir.path().join("c.toml");
        let config = config.map(|text| std::fs::write(&file, text).map(|()| file.clone()).unwrap());
        Registry::open(self.dir.path(), Used::ToServe(config), self.now).map(drop)
    }

    fn findings(&self) -> Vec<Finding> {
        let items = self.ask(&MetaRequest::Check { path: "/".into(), online: false }).unwrap();
        let finding = |item| match item {
            MetaItem::Finding(finding) => *finding,
            other => panic!("{other:?}"),
        };
        items.into_iter().map(finding).collect()
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

fn dry() -> How {
    How { dry_run: true, ..How::default() }
}

fn unset(path: &str, property: &str) -> MetaStep {
    MetaStep::Unset { path: path.into(), property: property.into() }
}

fn delete(path: &str) -> MetaStep {
    MetaStep::Delete { path: path.into() }
}

/// Refused as wanted, with these words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Failed>, kind: FailedKind, words: &str) {
    let failed = result.unwrap_err();
    assert!(failed.kind == kind && failed.what.contains(words), "{failed:?}");
}

/// Notes with these words, one each.
#[track_caller]
fn noted(report: &ChangeReport, words: &[&str]) {
    assert_eq!(report.notes.len(), words.len(), "{report:?}");
    assert!(report.notes.iter().zip(words).all(|(note, words)| note.contains(words)), "{report:?}");
}

/// A service with two sessions and five messages, on a machine where one port is taken.
struct Imagined;

impl Live for Imagined {
    fn prepare(&self, after: &Settings) -> Result<Prepared, String> {
        match after.bindings.iter().find(|binding| binding.port() == 2599) {
            Some(binding) => Err(format!("{binding} cannot be bound")),
            None => Ok(Prepared::default()),
        }
    }

    fn rehearse(&self, after: &Settings) -> Result<(), String> {
        self.prepare(after).map(drop)
    }

    fn publish(&self, _: Arc<Settings>, _: Prepared) {}

    fn sessions(&self) -> u64 {
        2
    }

    fn messages(&self) -> u64 {
        5
    }

    async fn health(&self, _: Duration) -> Result<&'static str, String> {
        Ok("Every binding greets with 220")
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
    folder.ask(&MetaRequest::Confirm { author: "amy".into() }).unwrap();
    assert_eq!(folder.log(1).0, None);
}

#[test]
fn the_change_that_waits_is_undone_before_its_time() {
    let folder = Folder::new();
    let before = folder.shown("smtpsvc/1", "HopCount");
    let first = folder.change(vec![set("smtpsvc/1", "HopCount", "33")], waiting(600)).unwrap();
    refused(folder.set("smtpsvc/1", "HopCount", "34"), FailedKind::Refused, "postroad meta rollback");
    // To the generation before it, as the log has it.
    let generation = first.generation - 1;
    let report = reported(folder.ask(&MetaRequest::Rollback { generation, how: How::default() }).unwrap());
    assert!(report.applied, "{report:?}");
    assert_eq!((folder.shown("smtpsvc/1", "HopCount"), folder.log(1).0), (before.clone(), None));
    // By itself, whatever came after it.
    folder.change(vec![set("smtpsvc/1", "HopCount", "33")], waiting(600)).unwrap();
    folder.set("smtpsvc/1", "MaxRecipients", "7").unwrap();
    let looked = reported(folder.ask(&MetaRequest::Undo { how: dry() }).unwrap());
    assert!(!looked.applied && folder.log(1).0.is_some(), "{looked:?}");
    folder.ask(&MetaRequest::Undo { how: How::default() }).unwrap();
    assert_eq!((folder.shown("smtpsvc/1", "HopCount"), folder.log(1).0), (before, None));
    assert_eq!(folder.shown("smtpsvc/1", "MaxRecipients"), "7");
    refused(folder.ask(&MetaRequest::Undo { how: How::default() }), FailedKind::NotFound, "no change waits");
    // A generation after it keeps it, and is refused where it has set the same.
    let second = folder.change(vec![set("smtpsvc/1", "HopCount", "35")], waiting(600)).unwrap();
    folder.set("smtpsvc/1", "MaxRecipients", "8").unwrap();
    let generation = second.generation;
    folder.ask(&MetaRequest::Rollback { generation, how: How::default() }).unwrap();
    assert_eq!(folder.log(1).0.map(|row| row.generation), Some(generation));
}

const HOST_PINNED: &str = "[\"/LM/SmtpSvc/1\"]\nSmartHost = \"[192.0.2.1]\"\nSmartHostType = 2\n";

#[test]
fn a_store_that_does_not_fit_is_looked_at_and_mended_at_rest() {
    let folder = Folder::new();
    folder.serve(Some(HOST_PINNED)).unwrap();
    // The pins make it whole, and without them it would not be: that is said.
    let report = folder.set("smtpsvc", "SmartHostType", "2").unwrap();
    noted(&report, &["no service would start"]);
    let findings = folder.findings();
    assert!(findings.iter().any(|found| !found.error && found.name == "SmartHostType"), "{findings:?}");
    assert!(folder.set("smtpsvc/1", "HopCount", "32").unwrap().notes.is_empty(), "it is said once");
    refused(folder.serve(None), FailedKind::Usage, "there is no SmartHost");
    // From here on nothing is pinned, and it opens all the same.
    assert!(folder.findings().iter().any(|found| found.error && found.name == "SmartHostType"));
    // What has nothing to do with it can be changed, what makes it worse cannot.
    noted(&folder.set("smtpsvc/1", "HopCount", "33").unwrap(), &["Still wrong, as before"]);
    refused(folder.set("smtpsvc", "MaxSessionSize", "5"), FailedKind::Refused, "below MaxMessageSize");
    assert!(folder.set("smtpsvc", "SmartHostType", "0").unwrap().notes.is_empty());
    folder.serve(None).unwrap();
}

#[test]
fn pins_are_known_at_rest() {
    let folder = Folder::new();
    folder.serve(Some(HOST_PINNED)).unwrap();
    let row = folder.value("smtpsvc/1", "SmartHost").record.unwrap();
    assert_eq!(row.value, ["[192.0.2.1]"]);
    assert!(row.pinned.is_some_and(|place| place.ends_with("c.toml:2")));
    let words = "c.toml:2: the service was last started with that file";
    refused(folder.set("smtpsvc/1", "SmartHost", "[192.0.2.2]"), FailedKind::Refused, words);
    // The file can be taken into the store, and then be left out.
    let text = Given { name: "c.toml".into(), text: Some(HOST_PINNED.into()) };
    let apply = MetaRequest::Apply { text, prune: Prune::Nothing, how: How::default() };
    assert!(reported(folder.ask(&apply).unwrap()).applied);
    folder.serve(None).unwrap();
    assert_eq!(folder.shown("smtpsvc/1", "SmartHost"), "[192.0.2.1]");
    folder.set("smtpsvc/1", "SmartHost", "[192.0.2.2]").unwrap();
}

#[test]
fn a_pin_above_the_server_refuses_what_it_would_hide() {
    let folder = Folder::new();
    folder.serve(Some("[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = 0\n")).unwrap();
    refused(folder.set("smtpsvc/1", "SmtpUseTcpDns", "2"), FailedKind::Refused, "is pinned by");
    let domain = folder.set("smtpsvc/1/domain/example.org", "SmtpUseTcpDns", "2").unwrap();
    assert_eq!(domain.reach.keys, 1);
}

#[test]
fn the_keys_that_make_the_server_do_not_go() {
    let folder = Folder::new();
    for path in ["lm", "smtpsvc", "smtpsvc/1"] {
        refused(folder.change(vec![delete(path)], How::default()), FailedKind::Refused, "port 25");
    }
    let rollback = MetaRequest::Rollback { generation: 0, how: How::default() };
    refused(folder.ask(&rollback), FailedKind::Refused, "port 25");
    let report = folder.change(vec![unset("smtpsvc/1", "ServerBindings")], How::default()).unwrap();
    noted(&report, &["It listens on 0.0.0.0:25 then, in place of 127.0.0.1:2525."]);
    assert!(folder.findings().iter().any(|found| found.name == "ServerBindings"), "{:?}", folder.findings());
}

#[test]
fn a_mistyped_key_is_not_made() {
    let folder = Folder::new();
    refused(folder.set("LM/SmtpSvcc", "36997", "2"), FailedKind::NotFound, "Did you mean /LM/SmtpSvc?");
    refused(folder.set("smtpsvc/1/domian/a.b", "SmtpUseTcpDns", "2"), FailedKind::NotFound, "Create");
    // Keys of a known kind are made, and any that is asked for by itself.
    folder.set("smtpsvc/1/domain/a.b", "SmtpUseTcpDns", "2").unwrap();
    let create = MetaStep::Create { path: "LM/SmtpSvcc".into() };
    folder.change(vec![create, set("LM/SmtpSvcc", "36997", "2")], How::default()).unwrap();
    let findings = folder.findings();
    assert!(findings.iter().any(|found| found.path == "/LM/SmtpSvcc"), "{findings:?}");
    folder.set("/LM/Other", "65600", "2").unwrap();
}

#[test]
fn a_change_that_has_no_effect_where_it_is_says_so() {
    let folder = Folder::new();
    let report = folder.set("smtpsvc/1/domain/example.org", "MaxMessageSize", "1000").unwrap();
    noted(&report, &["MaxMessageSize has no effect here. Put it under /LM/SmtpSvc or /LM/SmtpSvc/1."]);
}

#[test]
fn the_reach_is_of_what_a_property_is_for() {
    let folder = Folder::new();
    let reach = |steps: Vec<MetaStep>| {
        let request = MetaRequest::Change { steps, how: How::default() };
        reported(folder.ask_of(&Imagined, &request).unwrap()).reach
    };
    assert_eq!(
        reach(vec![set("smtpsvc/1", "MaxRecipients", "7")]),
        Reach { keys: 1, sessions: 2, messages: 0 }
    );
    assert_eq!(
        reach(vec![set("smtpsvc", "SmtpUseTcpDns", "2")]),
        Reach { keys: 2, sessions: 0, messages: 5 }
    );
    assert_eq!(
        reach(vec![set("smtpsvc/1", "BackupEvery", "1d")]),
        Reach { keys: 1, sessions: 0, messages: 0 }
    );
    let create = MetaStep::Create { path: "smtpsvc/1/domain/a.b".into() };
    assert_eq!(reach(vec![create]), Reach::default());
    assert_eq!(reach(vec![delete("smtpsvc/1/domain")]), Reach::default());
}

#[test]
fn a_dry_run_refuses_what_cannot_be_bound() {
    let folder = Folder::new();
    for how in [dry(), How::default()] {
        let request =
            MetaRequest::Change { steps: vec![set("smtpsvc/1", "ServerBindings", "127.0.0.1:2599:")], how };
        refused(folder.ask_of(&Imagined, &request), FailedKind::Refused, "cannot be bound");
    }
}

#[test]
fn what_is_refused_says_what_there_is() {
    let folder = Folder::new();
    let unset = |path: &str, name: &str| folder.change(vec![unset(path, name)], How::default());
    refused(
        unset("smtpsvc/1", "36906"),
        FailedKind::NotFound,
        "/LM/SmtpSvc/1 has no SmartHost of its own: nor does a key above it",
    );
    folder.set("smtpsvc", "SmartHost", "[192.0.2.1]").unwrap();
    refused(unset("smtpsvc/1", "SmartHost"), FailedKind::NotFound, "what it sees is that of /LM/SmtpSvc");
    refused(
        folder.set("smtpsvc/1", "61537", "hello"),
        FailedKind::Usage,
        "is not a number, and it is a DWORD",
    );
    let how = How { confirm_secs: Some(200_000_000_000), ..How::default() };
    refused(folder.change(vec![set("smtpsvc/1", "HopCount", "33")], how), FailedKind::Usage, "30 days");
    let takes = |property| folder.value("smtpsvc/1", property).property.unwrap().expectation;
    assert_eq!(
        (takes("SmartHost").as_str(), takes("RelayIpList").as_str()),
        ("a text: a host", "a list: networks")
    );
}

#[test]
fn what_no_disk_keeps_is_not_set_at_rest() {
    let folder = Folder::new();
    let step = MetaStep::Set {
        path: "smtpsvc/1".into(),
        property: "65600".into(),
        value: vec!["7".into()],
        data_type: None,
        user_type: None,
        attributes: Some(postroad_metabase::record::VOLATILE),
    };
    refused(folder.change(vec![step], How::default()), FailedKind::Refused, "no disk keeps");
}

#[test]
fn all_differences_are_counted_though_not_all_are_told() {
    let folder = Folder::new();
    let key = |number: u32| MetaStep::Create { path: format!("smtpsvc/1/domain/d{number}.example") };
    let report = folder.change((0..3000).map(key).collect(), How::default()).unwrap();
    assert_eq!((report.differences.len(), report.differences_count), (postroad_control::TOLD_MAX, 3001));
}

#[test]
fn no_change_bars_the_undo_of_the_one_that_waits() {
    let folder = Folder::new();
    folder.change(vec![set("smtpsvc/1", "SmartHost", "[192.0.2.1]")], waiting(600)).unwrap();
    // Without the host it would make no settings.
    let barred = folder.set("smtpsvc/1", "SmartHostType", "2");
    refused(barred, FailedKind::Refused, "after this it could not be undone");
    folder.ask(&MetaRequest::Confirm { author: "amy".into() }).unwrap();
    folder.set("smtpsvc/1", "SmartHostType", "2").unwrap();
}

#[test]
fn it_undoes_itself_while_a_face_keeps_the_store_open() {
    let mut folder = Folder::new();
    let before = folder.shown("smtpsvc/1", "HopCount");
    let mut kept = folder.open().unwrap();
    let request = MetaRequest::Change { steps: vec![set("smtpsvc/1", "HopCount", "33")], how: waiting(60) };
    folder.ask_open(&mut kept, &Imagined, &request).unwrap();
    folder.now = NOW + Duration::from_secs(61);
    refused(
        folder.ask_open(&mut kept, &Imagined, &MetaRequest::Confirm { author: "amy".into() }),
        FailedKind::NotFound,
        "is undone",
    );
    drop(kept);
    assert_eq!(folder.shown("smtpsvc/1", "HopCount"), before);
}

/// What nothing reads is as the schema has it all the same: an export of it has to be taken elsewhere.
#[test]
fn a_value_is_set_as_the_schema_has_it() {
    let folder = Folder::new();
    let with = |property: &str, value: &str, data_type: Option<&str>, attributes: Option<u32>| {
        let step = MetaStep::Set {
            path: "smtpsvc/1".into(),
            property: property.into(),
            value: vec![value.into()],
            data_type: data_type.map(str::to_owned),
            user_type: None,
            attributes,
        };
        folder.change(vec![step], How::default())
    };
    refused(
        with("RemoteTimeout", "long", Some("STRING"), None),
        FailedKind::Refused,
        "is a DWORD, not a STRING",
    );
    refused(with("RemoteTimeout", "60", None, Some(0x21)), FailedKind::Refused, "ISINHERITED");
    with("RemoteTimeout", "60", Some("DWORD"), Some(0x1)).unwrap();
    // What the schema does not know is of any type.
    with("77777", "long", Some("STRING"), None).unwrap();
    let apply = |line: &str| {
        let text = Some(format!("[\"/LM/SmtpSvc/1\"]\n{line}\n"));
        let text = Given { name: "a.toml".into(), text };
        folder.ask(&MetaRequest::Apply { text, prune: Prune::Nothing, how: How::default() }).map(reported)
    };
    let text = "RemoteTimeout = { type = \"STRING\", value = \"long\" }";
    refused(apply(text), FailedKind::Refused, "is a DWORD, not a STRING");
    let number = "RemoteSmtpSecurePort = { type = \"DWORD\", value = 70000 }";
    refused(apply(number), FailedKind::Refused, "70000 is not within bounds");
    refused(
        apply("ShouldDeliver = { type = \"DWORD\", value = 7 }"),
        FailedKind::Refused,
        "neither true nor false",
    );
}

/// Of what is refused, that is taken which asks for what the service does.
#[test]
fn what_is_refused_may_say_what_is_done() {
    let folder = Folder::new();
    let value = |property: &str, value: &str| folder.set("smtpsvc/1", property, value);
    for (property, taken, refused_value) in [
        ("AuthFlags", "1", "0"),
        ("AuthFlags", "AuthAnonymous", "7"),
        ("SmtpDisableRelay", "true", "false"),
        ("SmtpIpRestrictionFlag", "1", "0"),
        ("AccessSSLFlags", "0", "8"),
    ] {
        value(property, taken).unwrap();
        refused(value(property, refused_value), FailedKind::Refused, "is not taken");
    }
}

/// A file is judged with what is stored, by its lines.
#[test]
fn a_configuration_file_fits_what_is_stored() {
    let file = |line: &str| format!("[\"/LM/SmtpSvc/1\"]\n{line}\n");
    let folder = Folder::new();
    // By itself, the one lacks the other.
    refused(folder.serve(Some(&file("SmartHostType = 2"))), FailedKind::Usage, "c.toml:2: ");
    refused(folder.serve(Some(&file("SmartHost = \"a.example\""))), FailedKind::Usage, "c.toml:2: ");
    refused(folder.serve(Some(&file("MaxSessionSize = 20000000"))), FailedKind::Usage, "c.toml:2: ");
    folder.set("smtpsvc/1", "SmartHost", "relay.example").unwrap();
    folder.set("smtpsvc/1", "MaxMessageSize", "1000").unwrap();
    folder.serve(Some(&file("SmartHostType = 2\nMaxSessionSize = 20000000"))).unwrap();
    folder.serve(None).unwrap();
    folder.set("smtpsvc/1", "SmartHostType", "2").unwrap();
    folder.serve(Some(&file("SmartHost = \"a.example\""))).unwrap();
    // What a start would refuse is refused before it.
    refused(folder.set("smtpsvc/1", "SmartHostType", "0"), FailedKind::Refused, "c.toml:2: ");
}
