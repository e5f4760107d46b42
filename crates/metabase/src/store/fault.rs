//! What can go wrong below the trait, and what it is called above it.

use super::StoreError;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// A failure with its cause.
#[derive(Debug)]
pub(super) enum Fault {
    Sql(rusqlite::Error),
    Disk(PathBuf, io::Error),
    Other(StoreError),
}

/// The fault of an operation on the file at `path`.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Fault {
    move |error| Fault::Disk(path.to_owned(), error)
}

/// The fault of something that is not as we wrote it.
pub(super) fn damaged(what: &str) -> Fault {
    Fault::Other(StoreError::Failed(format!("{what}; {DAMAGED}")))
}

pub(super) fn failed(what: String) -> Fault {
    Fault::Other(StoreError::Failed(what))
}

const DAMAGED: &str = "the metabase is damaged: stop the service, check the disk, move metabase.db and metabase.db-wal \
                       away, start again and restore a backup of the metabase";

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Other(error) => error,
            Fault::Disk(path, error) => {
                let text = format!("{}: {error}", path.display());
                match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(text),
                    _ => Self::Failed(text),
                }
            }
            Fault::Sql(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::Full(format!("metabase.db: {error}")),
                // Without a code: a row is not as we wrote it.
                None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Failed(format!("metabase.db: {error}; {DAMAGED}"))
                }
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Failed(format!(
                    "metabase.db is in use by another program ({error}): end that one, then start again"
                )),
                _ => Self::Failed(format!("metabase.db: {error}")),
            },
        }
    }
}
