//! What is in a folder.

use std::path::{Path, PathBuf};

/// The files of a folder whose names end in `.` and `end`, in order; none if it is not there.
#[must_use]
pub fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|it| it == end)).collect();
    files.sort();
    files
}
