//! Files that `meta` reads and writes. What may be secret is made readable for its owner alone.

use crate::ending::{TRY_LATER, Trouble, USAGE};
use postroad_control::LINE_MAX;
use postroad_control::meta::{Given, Secret};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Octets of a text that travels in a request, escaped as in JSON: the rest of the line is for the other fields. What is larger
/// is read by the side that answers.
const TEXT_MAX: usize = LINE_MAX - 64 * 1024;
/// Octets of a file with a value or a password. A password is a line, and a value has 1 MiB at most, which a request must carry.
const VALUE_MAX: usize = TEXT_MAX;
/// Who may read what is exported: SECURE values are left out, and the rest still shows how a site is built.
const OWNER_ALONE: u32 = 0o600;
/// Standard input.
const STANDARD_INPUT: &str = "-";
/// Where a backup's password is, if no file is named.
const PASSWORD_VARIABLE: &str = "POSTROAD_BACKUP_PASSWORD";

/// The file for a request: its text, or where it is too large for one or no UTF-8, its absolute path.
pub fn given(file: &Path) -> Result<Given, Trouble> {
    let octets = read(file, TEXT_MAX)?;
    let fits = |text: &String| {
        text.len() <= TEXT_MAX && serde_json::to_string(text).is_ok_and(|json| json.len() <= TEXT_MAX)
    };
    let name = shown_name(file);
    let text = String::from_utf8(octets);
    let is_text = text.is_ok();
    match text.ok().filter(fits) {
        Some(text) => Ok(Given { name, text: Some(text) }),
        // A pipe is read once, and it is another one to whoever answers.
        None if file == Path::new(STANDARD_INPUT) || !file.is_file() => {
            let what = if is_text {
                format!("has more than {TEXT_MAX} octets, which is too large to be handed on")
            } else {
                "is not UTF-8, and only a file may be UTF-16".into()
            };
            Err(Trouble::usage(format!("{name} {what}. Write it to a file and name that.")))
        }
        None => {
            let path = fs::canonicalize(file).map_err(|error| unreadable(file, &error))?;
            let name = path.into_os_string().into_string().map_err(|_| {
                Trouble::usage(format!("{name}: the path is no UTF-8. Copy the file to a path that is."))
            })?;
            Ok(Given { name, text: None })
        }
    }
}

/// A value from a file: the items of a list are its lines.
pub fn value(file: &Path) -> Result<Vec<String>, Trouble> {
    let text = text(file)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok(if lines.is_empty() { vec![String::new()] } else { lines })
}

/// A backup's password: the first line of a file, else that of the environment, if there is one.
pub fn password(file: Option<PathBuf>) -> Result<Option<Secret>, Trouble> {
    let Some(file) = file else {
        let named = std::env::var(PASSWORD_VARIABLE).ok();
        return Ok(named.filter(|password| !password.is_empty()).map(Secret));
    };
    let text = text(&file)?;
    match text.lines().next() {
        Some(first) if !first.is_empty() => Ok(Some(Secret(first.to_owned()))),
        _ => Err(Trouble::usage(format!("{}: there is no password in its first line.", shown_name(&file)))),
    }
}

fn text(file: &Path) -> Result<String, Trouble> {
    let octets = read(file, VALUE_MAX)?;
    let name = shown_name(file);
    if octets.len() > VALUE_MAX {
        return Err(Trouble::usage(format!("{name} has more than {VALUE_MAX} octets: it is no value.")));
    }
    String::from_utf8(octets).map_err(|_| Trouble::usage(format!("{name} is no UTF-8. Convert it.")))
}

/// A file's octets, one more than `most` at most.
fn read(file: &Path, most: usize) -> Result<Vec<u8>, Trouble> {
    let mut octets = Vec::new();
    let limit = most as u64 + 1;
    let done = if file == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(limit).read_to_end(&mut octets)
    } else {
        File::open(file).and_then(|open| open.take(limit).read_to_end(&mut octets))
    };
    done.map_err(|error| unreadable(file, &error))?;
    Ok(octets)
}

fn unreadable(file: &Path, error: &io::Error) -> Trouble {
    Trouble::Says(USAGE, format!("{} cannot be read: {error}. Name a file that can.", shown_name(file)))
}

fn shown_name(file: &Path) -> String {
    if file == Path::new(STANDARD_INPUT) { "standard input".into() } else { file.display().to_string() }
}

/// A file that appears under its name when it is whole, or not at all.
pub struct Draft {
    target: PathBuf,
    beside: PathBuf,
    file: io::BufWriter<File>,
    is_done: bool,
}

impl Draft {
    /// Opens one. A file of that name is replaced only with `force`.
    pub fn new(target: &Path, force: bool) -> Result<Self, Trouble> {
        if !force && target.symlink_metadata().is_ok() {
            let what = format!("{} exists. Name another file, or replace it with --force.", target.display());
            return Err(Trouble::usage(what));
        }
        let name = target.file_name().map(OsStr::to_string_lossy);
        let Some(name) = name else {
            return Err(Trouble::usage(format!("{} names no file.", target.display())));
        };
        let beside = target.with_file_name(format!(".{name}.{}", std::process::id()));
        let opened = OpenOptions::new().write(true).create_new(true).mode(OWNER_ALONE).open(&beside);
        let file = opened.map_err(|error| unwritable(target, &error))?;
        Ok(Self { target: target.into(), beside, file: io::BufWriter::new(file), is_done: false })
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &str) -> Result<(), Trouble> {
        self.file.write_all(piece.as_bytes()).map_err(|error| unwritable(&self.target, &error))
    }

    /// Gives it its name.
    pub fn finish(mut self) -> Result<(), Trouble> {
        let done = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        let done = done.and_then(|()| fs::rename(&self.beside, &self.target));
        self.is_done = done.is_ok();
        done.map_err(|error| unwritable(&self.target, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_done {
            // Where it cannot be removed either, it lies there under a name that says what it is.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

fn unwritable(target: &Path, error: &io::Error) -> Trouble {
    let what = format!("{} cannot be written: {error}. Name a file in a folder that can.", target.display());
    Trouble::Says(TRY_LATER, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_draft_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.toml");
        let mut dropped = Draft::new(&target, false).unwrap();
        dropped.add("half").unwrap();
        drop(dropped);
        assert_eq!(names(folder.path()), Vec::<String>::new());

        let mut draft = Draft::new(&target, false).unwrap();
        draft.add("one\n").unwrap();
        draft.finish().unwrap();
        assert_eq!(names(folder.path()), ["out.toml"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, OWNER_ALONE);

        assert!(
            matches!(Draft::new(&target, false), Err(Trouble::Says(USAGE, what)) if what.contains("--force"))
        );
        let mut draft = Draft::new(&target, true).unwrap();
        draft.add("two\n").unwrap();
        draft.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "two\n");
    }

    #[test]
    fn small_texts_travel_and_large_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let check = |content: &[u8], travels: bool| {
            let file = folder.path().join("in.toml");
            fs::write(&file, content).unwrap();
            let given = given(&file).unwrap();
            assert_eq!(given.text.as_deref().map(str::as_bytes), travels.then_some(content));
            assert_eq!(given.name, file.to_str().unwrap());
        };
        check(b"a = 1\n", true);
        check(b"", true);
        check(&[b'a'; TEXT_MAX], false);
        check(&[b'a'; TEXT_MAX + 1], false);
        check(&[0; TEXT_MAX / 6 + 1], false);
        check(b"\xff\xfea\0", false);
        assert!(matches!(given(&folder.path().join("none")), Err(Trouble::Says(USAGE, _))));
    }

    #[test]
    fn values_and_passwords() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("value");
        let check = |content: &str, items: &[&str], secret: Option<&str>| {
            fs::write(&file, content).unwrap();
            assert_eq!(value(&file).unwrap(), items);
            let password = password(Some(file.clone())).ok().flatten().map(|Secret(text)| text);
            assert_eq!(password.as_deref(), secret);
        };
        check("one\n", &["one"], Some("one"));
        check("a b\r\nc", &["a b", "c"], Some("a b"));
        check("", &[""], None);
        check("\nlater\n", &["", "later"], None);
        fs::write(&file, b"\xff").unwrap();
        assert!(value(&file).is_err());
    }
}
