//! What the store has kept, and what a generation is.

use super::super::change;
use super::{Folder, Imagined, NOW, Registry, Used, set};
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::MetaItem;
use postroad_metabase::store::Act;

#[test]
fn what_the_disk_kept_of_a_failed_change_holds() {
    let folder = Folder::new();
    let mut registry = folder.open().unwrap();
    let (tree, _) = registry.stored();
    let ops = registry.ops(&tree, &[set("LM/SmtpSvc", "SmtpUseTcpDns", "2")]).unwrap();
    let change = change("amy", "answered as failed", NOW);
    let generation = registry.base().commit(&tree.apply(&ops).unwrap(), &change, Act::Change).unwrap();
    let log = MetaRequest::Log { limit: 1, generation: None };
    folder.ask_open(&mut registry, &Imagined, &log).unwrap();
    let settings = registry.settings();
    assert_eq!((settings.generation, settings.dns.policy), (generation, 2));
}

#[test]
fn other_pins_are_a_generation() {
    let folder = Folder::new();
    let config = |value: u32| format!("[\"/LM/SmtpSvc\"]\nSmtpUseTcpDns = {value}\n");
    folder.serve(Some(&config(1))).unwrap();
    let newest = || {
        let items = folder.ask(&MetaRequest::Log { limit: 1, generation: None }).unwrap();
        match items.last() {
            Some(MetaItem::History(row)) => (row.generation, row.author.clone(), row.reason.clone()),
            other => panic!("{other:?}"),
        }
    };
    let (first, author, reason) = newest();
    assert_eq!(author, "postroad");
    assert!(reason.ends_with("c.toml read"), "{reason}");
    folder.serve(Some(&format!("# moved\n{}", config(1)))).unwrap();
    assert_eq!(newest().0, first, "the same is pinned");

    let file = folder.dir.path().join("c.toml");
    let mut registry = Registry::open(folder.dir.path(), Used::ToServe(Some(file.clone())), NOW).unwrap();
    std::fs::write(&file, config(2)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(registry.reread(NOW, &Imagined)).unwrap();
    assert_eq!(registry.settings().generation, first + 1);
    runtime.block_on(registry.reread(NOW, &Imagined)).unwrap();
    drop(registry);
    let (second, _, reason) = newest();
    assert_eq!(second, first + 1);
    assert!(reason.ends_with("c.toml read again"), "{reason}");
    folder.serve(None).unwrap();
    assert_eq!((newest().0, newest().2.as_str()), (first + 2, "no configuration file"));
}

#[test]
fn a_volatile_record_of_the_change_that_waits_is_not_set_over() {
    let folder = Folder::new();
    let mut registry = Registry::open(folder.dir.path(), Used::ToServe(None), NOW).unwrap();
    let volatile = |value: &str| super::MetaStep::Set {
        path: "smtpsvc/1".into(),
        property: "65600".into(),
        value: vec![value.into()],
        data_type: None,
        user_type: None,
        attributes: Some(postroad_metabase::record::VOLATILE),
    };
    let mut change = |value: &str, how| {
        let request = MetaRequest::Change { steps: vec![volatile(value)], how };
        folder.ask_open(&mut registry, &Imagined, &request)
    };
    change("7", super::waiting(600)).unwrap();
    super::refused(change("8", super::How::default()), super::FailedKind::Refused, "waits to be confirmed");
}

#[test]
fn all_that_pins_hold_off_is_counted_though_not_all_is_told() {
    let folder = Folder::new();
    let told = postroad_control::TOLD_MAX;
    let text = |value: u32| {
        let key = |n| format!("[\"/LM/SmtpSvc/1/Domain/d{n}.example\"]\nSmtpUseTcpDns = {value}\n");
        (0..=told).map(key).collect::<String>()
    };
    folder.serve(Some(&text(1))).unwrap();
    let text = super::Given { name: "x.toml".into(), text: Some(text(2)) };
    let diff = MetaRequest::Diff { text, prune: super::Prune::Nothing };
    let report = super::reported(folder.ask(&diff).unwrap());
    assert!(report.differences_count > told as u64, "{}", report.differences_count);
    assert_eq!(report.differences.len(), told);
}
