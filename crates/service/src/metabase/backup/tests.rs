//! What a restore leaves that ends before it is known to be well, and a scheduled backup that cannot be made.

use super::*;
use crate::listen::Prepared;
use crate::metabase::{AtRest, Used, answer};
use postroad_control::meta::MetaStep;
use postroad_metabase::settings::Settings;
use std::sync::Arc;

/// A service of which nobody can say whether it is well.
struct Silent;

impl Live for Silent {
    fn prepare(&self, _: &Settings) -> Result<Prepared, String> {
        Ok(Prepared::default())
    }

    fn publish(&self, _: Arc<Settings>, _: Prepared) {}

    fn rehearse(&self, _: &Settings) -> Result<(), String> {
        Ok(())
    }

    fn sessions(&self) -> u64 {
        0
    }

    fn messages(&self) -> u64 {
        0
    }

    async fn health(&self, _: Duration) -> Result<&'static str, String> {
        std::future::pending().await
    }
}

const NOW: Wall = Wall(1_795_590_028_000);

fn at(seconds: u64) -> Wall {
    NOW + Duration::from_secs(seconds)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn open(dir: &tempfile::TempDir, now: Wall) -> Registry {
    Registry::open(dir.path(), Used::AtRest, now).unwrap()
}

async fn done(registry: &mut Registry, request: MetaRequest) {
    let rest = AtRest(registry.dir.clone());
    answer(registry, &request, NOW, &rest, &mut |_| {}).await.unwrap();
}

async fn set(registry: &mut Registry, property: &str, value: &str) {
    let step = MetaStep::Set {
        path: "smtpsvc/1".into(),
        property: property.into(),
        value: vec![value.into()],
        data_type: None,
        user_type: None,
        attributes: None,
    };
    done(registry, MetaRequest::Change { steps: vec![step], how: How::default() }).await;
}

#[test]
fn a_restore_that_ends_before_it_is_known_to_be_well_undoes_itself() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = open(&dir, NOW);
        let (name, version) = (String::from("old"), VersionWanted::Next);
        done(&mut registry, MetaRequest::Backup { name, version, overwrite: false, password: None }).await;
        let restored = registry.stored().0;
        set(&mut registry, "HopCount", "33").await;
        let before = registry.stored().0;
        let wanted = Wanted { name: named("old").unwrap(), version: VersionWanted::Highest, password: None };
        let how = How::default();
        let restore = registry.restore(&wanted, false, &how, NOW, &Silent);
        let ended = tokio::time::timeout(Duration::from_secs(2), restore).await;
        assert!(ended.is_err(), "it waits for the service");
        drop(registry);
        // It is there for as long as somebody may still find it well.
        let registry = open(&dir, at(GUARDED_FOR.as_secs() - 1));
        assert_eq!(registry.stored().0.diff(&restored), []);
        drop(registry);
        let registry = open(&dir, at(GUARDED_FOR.as_secs()));
        assert_eq!(registry.stored().0.diff(&before), []);
        assert_eq!(registry.pending_until(), None);
    });
}

#[test]
fn a_scheduled_backup_that_failed_is_tried_again_soon() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let mut registry = open(&dir, NOW);
        set(&mut registry, "BackupEvery", "1d").await;
        // A file where the folder should be.
        let folder = dir.path().join("Backup");
        std::fs::write(&folder, "").unwrap();
        assert!(registry.scheduled_backup(at(0)).await.unwrap().is_err());
        assert!(registry.scheduled_backup(at(60)).await.is_none(), "not each second");
        assert!(registry.scheduled_backup(at(300)).await.unwrap().is_err());
        std::fs::remove_file(&folder).unwrap();
        assert!(registry.scheduled_backup(at(500)).await.is_none());
        assert!(registry.scheduled_backup(at(600)).await.unwrap().is_ok());
        assert!(registry.scheduled_backup(at(1200)).await.is_none(), "the next is a day later");
    });
}
