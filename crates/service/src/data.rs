//! The data folder: made at first start, mode 0700, one owner at a time.

use postroad_control::SOCKET;
use std::fs::{DirBuilder, DirEntry, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The spool's folder in the data folder.
pub(crate) const SPOOL: &str = "spool";
/// The event log's file in the data folder.
pub(crate) const EVENTS: &str = "events.db";
const LOCK: &str = "lock";
/// What may be in a folder of ours that was never used.
const OWN_NAMES: [&str; 9] = [
    LOCK,
    SPOOL,
    SOCKET,
    "tls",
    "Drop",
    "Badmail",
    crate::backups::BACKUPS,
    crate::backups::HISTORY,
    "lost+found",
];
/// Files of ours, and those that SQLite makes beside them.
const OWN_FILES: [&str; 2] = ["metabase.", EVENTS];

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
    #[error(
        "{0} holds files of something else and no data of a postroad: name a folder with --data that is a service's, or empty"
    )]
    Foreign(PathBuf),
    #[error("the data folder {0} cannot be used: {1}")]
    Io(PathBuf, io::Error),
}

impl DataDir {
    /// Makes the folder if it is not there, and takes its lock.
    pub(crate) fn create(path: &Path) -> Result<Self, DataError> {
        let failed = |error| DataError::Io(path.to_owned(), error);
        if path.is_dir() && !is_ours(path) {
            return Err(DataError::Foreign(path.to_owned()));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        Self::lock(path)
    }

    /// Takes the lock of a folder that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            return Err(DataError::Missing(path.to_owned()));
        }
        if !is_ours(path) {
            return Err(DataError::Foreign(path.to_owned()));
        }
        Self::lock(path)
    }

    fn lock(path: &Path) -> Result<Self, DataError> {
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

/// Whether a folder is one of ours, or holds nothing that was made by something else: of a mistyped name nothing is to be changed,
/// its mode least of all. Backups may be brought before there is anything, and a first start may have been cut short.
fn is_ours(path: &Path) -> bool {
    let is_known = |entry: &DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        OWN_NAMES.contains(&&*name)
            || OWN_FILES.iter().any(|file| name.starts_with(file))
            || name.ends_with(".toml")
    };
    path.join(crate::metabase::FILE).exists()
        || path.join(SPOOL).join("spool.db").exists()
        || std::fs::read_dir(path)
            .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|one| is_known(&one))))
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
