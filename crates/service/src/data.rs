//! The data folder: made at first start, mode 0700, one owner at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The spool's folder in the data folder.
pub(crate) const SPOOL: &str = "spool";
/// The event log's file in the data folder.
pub(crate) const EVENTS: &str = "events.db";
const LOCK: &str = "lock";

/// A data folder that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Why a data folder is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    #[error("{0} is in use by another postroad")]
    InUse(PathBuf),
    #[error("there is no data folder {0}")]
    Missing(PathBuf),
    #[error("the data folder {0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
}

impl DataDir {
    /// Makes the folder if it is not there, and takes its lock.
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::Io(path.to_owned(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        Self::open(path)
    }

    /// Takes the lock of a folder that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Err(DataError::Missing(path.to_owned()));
        }
        let path = path.canonicalize().map_err(|error| DataError::Io(path.to_owned(), error))?;
        let failed = |error| DataError::Io(path.clone(), error);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock, path }),
            Err(TryLockError::WouldBlock) => Err(DataError::InUse(path)),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl DataDir {
    /// Whether nothing in it was made by something else: a mistyped name is not to become a data folder. Backups may be
    /// brought before there is anything.
    pub(crate) fn is_ours(&self) -> bool {
        let is_known =
            |name: &std::ffi::OsStr| [LOCK, crate::backups::BACKUPS].iter().any(|known| name == *known);
        self.path.join(SPOOL).exists()
            || self.path.join(crate::metabase::FILE).exists()
            || std::fs::read_dir(&self.path).is_ok_and(|mut entries| {
                entries.all(|entry| entry.is_ok_and(|entry| is_known(&entry.file_name())))
            })
    }
}

/// The machine's name, as the system has it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_default()
}

/// 32 octets of the system's randomness.
pub(crate) fn seed() -> Result<[u8; 32], io::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(seed)
}
