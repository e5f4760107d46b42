//! A disk of its own for a test, which can be full.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory, mounted for as long as this value lives.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts one of `size` (as `16m`) at `folder`, which is made.
    ///
    /// # Panics
    /// If it cannot be mounted: only root can.
    #[must_use]
    pub fn mount(folder: &Path, size: &str) -> Self {
        std::fs::create_dir_all(folder).expect("the folder");
        let options = format!("size={size},mode=0700");
        mount(&[
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            options.as_ref(),
            "none".as_ref(),
            folder.as_ref(),
        ]);
        Self { folder: folder.to_owned() }
    }

    /// Takes all space that is left, but for `but` octets, with a file, whose path it gives: removing it frees the space.
    ///
    /// # Panics
    /// If the file cannot be written.
    #[must_use]
    pub fn fill(&self, but: u64) -> PathBuf {
        let filler = self.folder.join("filler");
        let free =
            Command::new("df").args(["--output=avail", "-B1"]).arg(&self.folder).output().expect("df starts");
        let free = String::from_utf8_lossy(&free.stdout).into_owned();
        let free: u64 =
            free.split_whitespace().last().and_then(|word| word.parse().ok()).expect("octets that are free");
        let mut zeros = std::io::Read::take(std::io::repeat(0), free.saturating_sub(but));
        let mut file = std::fs::File::create(&filler).expect("a file");
        std::io::copy(&mut zeros, &mut file).expect("room for the filler");
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a program that a failed test leaves for a moment may still have files there.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn mount(args: &[&OsStr]) {
    let output = Command::new("mount").args(args).output().expect("mount starts");
    assert!(output.status.success(), "mount {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
