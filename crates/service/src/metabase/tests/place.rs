//! What takes effect where it stands, what is taken, and what stays secret.

use super::super::change;
use super::{Folder, How, NOW, noted, refused, set};
use postroad_control::FailedKind;
use postroad_control::meta::{Given, MetaRequest, MetaStep, Prune};
use postroad_control::meta_answer::{ChangeReport, Mark};
use postroad_metabase::record::{Data, Record};
use postroad_metabase::store::Act;
use postroad_metabase::tree::Op;

fn create(path: &str) -> MetaStep {
    MetaStep::Create { path: path.into() }
}

fn mark(folder: &Folder, path: &str, property: &str) -> Mark {
    folder.value(path, property).record.unwrap().mark
}

fn apply(folder: &Folder, toml: &str) -> Result<ChangeReport, postroad_control::Failed> {
    let text = Given { name: "x.toml".into(), text: Some(toml.into()) };
    let request = MetaRequest::Apply { text, prune: Prune::Nothing, how: How::default() };
    folder.ask(&request).map(super::reported)
}

#[test]
fn what_has_no_effect_where_it_is_is_not_in_force() {
    let folder = Folder::new();
    folder.change(vec![create("LM/SmtpSvc/1/Domain/example.org")], How::default()).unwrap();
    folder.set("smtpsvc/1/Domain/example.org", "MaxMessageSize", "1000").unwrap();
    assert_eq!(mark(&folder, "smtpsvc/1/Domain/example.org", "MaxMessageSize"), Mark::Elsewhere);
    folder.set("smtpsvc/1", "MaxMessageSize", "1000000").unwrap();
    assert_eq!(mark(&folder, "smtpsvc/1", "MaxMessageSize"), Mark::InForce);
    folder.change(vec![create("LM/SmtpSvc/2")], How::default()).unwrap();
    let report = folder.set("smtpsvc/2", "MaxMessageSize", "1000").unwrap();
    noted(&report, &["/LM/SmtpSvc/2: MaxMessageSize has no effect here"]);
    assert_eq!(mark(&folder, "smtpsvc/2", "MaxMessageSize"), Mark::Elsewhere);

    let report = folder.set("smtpsvc/1/Domain", "SmtpUseTcpDns", "2").unwrap();
    noted(&report, &["SmtpUseTcpDns has no effect here"]);
    assert_eq!(mark(&folder, "smtpsvc/1/Domain/example.org", "SmtpUseTcpDns"), Mark::Elsewhere);
    folder.set("smtpsvc/1/Domain/example.org", "SmtpUseTcpDns", "2").unwrap();
    assert_eq!(mark(&folder, "smtpsvc/1/Domain/example.org", "SmtpUseTcpDns"), Mark::InForce);
}

#[test]
fn a_file_sets_no_promise() {
    let folder = Folder::new();
    let toml = "[\"/LM/SmtpSvc/1\"]\nAccessSSLFlags = 8\n";
    refused(apply(&folder, toml), FailedKind::Refused, "is not taken");
}

#[test]
fn a_secret_of_a_file_is_sealed_whatever_it_says() {
    let folder = Folder::new();
    let toml = "[\"/LM/SmtpSvc/1\"]\nRoutePassword = { value = \"hush\", attributes = \"INHERIT\" }\n";
    apply(&folder, toml).unwrap();
    assert!(folder.value("smtpsvc/1", "RoutePassword").record.unwrap().secret);
}

#[test]
fn a_secret_that_is_not_sealed_is_repaired_without_being_shown() {
    let folder = Folder::new();
    let registry = folder.open().unwrap();
    let (tree, _) = registry.stored();
    let mut ops = registry.ops(&tree, &[set("LM/SmtpSvc/1", "RoutePassword", "hush")]).unwrap();
    for op in &mut ops {
        if let Op::Set(_, record) = op {
            record.attributes = 1;
        }
    }
    let tree = tree.apply(&ops).unwrap();
    registry.base().commit(&tree, &change("amy", "of old", NOW), Act::Change).unwrap();
    drop(registry);
    let steps: Vec<_> = folder.findings().into_iter().flat_map(|found| found.repair).collect();
    assert!(!steps.is_empty() && !format!("{steps:?}").contains("hush"), "{steps:?}");
    folder.change(steps, How::default()).unwrap();
    assert!(folder.value("smtpsvc/1", "RoutePassword").record.unwrap().secret);
    let (tree, _) = folder.open().unwrap().stored();
    let kept = |record: &Record| Some(&record.data) == ops.iter().find_map(data);
    assert!(tree.walk().any(|(_, node)| node.records().any(kept)), "the value is what it was");
}

fn data(op: &Op) -> Option<&Data> {
    match op {
        Op::Set(_, record) => Some(&record.data),
        _ => None,
    }
}
