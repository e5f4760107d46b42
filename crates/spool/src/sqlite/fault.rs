//! What can go wrong below the trait, and what it is called above it.

use crate::StoreError;
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

const DAMAGED: &str = "the spool is damaged: stop the service, check the disk, copy the spool's directory away, then \
                       restore it from a backup or start with an empty one";

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Other(error)
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
                Some(ErrorCode::DiskFull) => Self::Full(format!("spool.db: {error}")),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Failed(format!("spool.db: {error}; {DAMAGED}"))
                }
                _ => Self::Failed(format!("spool.db: {error}")),
            },
        }
    }
}
