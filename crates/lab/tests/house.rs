//! The rules of the house that a reader of files can check (ARCHITECTURE.md, "Rules of the house").

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each may name in its manifest: the picture in ARCHITECTURE.md. Every edge points down.
const EDGES: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("smtp", &["mail"]),
    ("dns", &["mail"]),
    ("spool", &["mail"]),
    ("metabase", &["mail"]),
    ("events", &["mail"]),
    ("control", &["mail"]),
    ("engine", &["dns", "events", "mail", "metabase", "smtp", "spool"]),
    ("service", &["control", "dns", "engine", "events", "mail", "metabase", "smtp", "spool"]),
    ("lab", &["control", "dns", "engine", "events", "mail", "metabase", "service", "smtp", "spool"]),
    ("tui", &["control", "mail"]),
    (
        "cli",
        &["control", "dns", "engine", "events", "lab", "mail", "metabase", "service", "smtp", "spool", "tui"],
    ),
];

/// Ground, cores and engine: they know no runtime, socket, file or clock.
const BELOW_THE_SHELL: [&str; 8] =
    ["mail", "smtp", "dns", "spool", "metabase", "events", "control", "engine"];

/// The IO below the shell, behind its traits: SQLite's files.
const IO_BELOW_THE_SHELL: [&str; 3] =
    ["crates/spool/src/sqlite/", "crates/events/src/log.rs", "crates/metabase/src/store/"];

/// What only a shell may name.
const OF_THE_SHELL: [&str; 12] = [
    "tokio",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "thread",
    "Instant",
    "SystemTime",
];

/// A static of such a type can change.
const CHANGEABLE: [&str; 9] =
    ["Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "RefCell", "Cell", "Atomic"];

#[test]
fn below_the_shell_nothing_names_a_runtime_socket_file_or_clock() {
    let mut found = Vec::new();
    for krate in BELOW_THE_SHELL {
        for (file, text) in sources(&root().join("crates").join(krate).join("src")) {
            if IO_BELOW_THE_SHELL.iter().any(|io| file.starts_with(io)) {
                continue;
            }
            for (number, line) in code(&text) {
                found.extend(
                    OF_THE_SHELL.iter().filter(|name| names(line, name)).map(|name| at(&file, number, name)),
                );
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn edges_are_those_of_the_picture() {
    let mut found = Vec::new();
    for krate in folders() {
        let allowed = EDGES.iter().find(|(name, _)| *name == krate).map(|(_, to)| *to);
        let Some(allowed) = allowed else {
            found.push(format!("crates/{krate} is not in the table of this test"));
            continue;
        };
        let manifest = fs::read_to_string(root().join("crates").join(&krate).join("Cargo.toml")).unwrap();
        let edges = manifest.lines().filter_map(|line| line.strip_prefix("postroad-"));
        let names = edges.map(|line| line.split(['.', ' ', '=']).next().unwrap_or_default());
        found.extend(names.filter(|to| !allowed.contains(to)).map(|to| format!("{krate} -> {to}")));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_map_names_exactly_the_folders() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = map.split("| folder |").nth(1).expect("a table of folders").split("\n\n").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(named, folders());
}

#[test]
fn no_static_can_change() {
    let mut found = Vec::new();
    for (file, text) in sources(&root().join("crates")) {
        for (number, line) in code(&text) {
            let is_static = names(line, "static") && !line.contains("'static");
            let changes = CHANGEABLE.iter().any(|name| line.contains(name));
            if line.contains("static mut") || line.contains("thread_local!") || (is_static && changes) {
                found.push(at(&file, number, line.trim()));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn there_is_no_unsafe() {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "bench", "fuzz"] {
        for (file, text) in sources(&root().join(folder)) {
            let lines = code(&text).filter(|(_, line)| names(line, "unsafe"));
            found.extend(lines.map(|(number, line)| at(&file, number, line.trim())));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The checks find what they look for.
#[test]
fn the_reader_reads() {
    assert!(names("use tokio::net;", "tokio") && !names("fn tokiode()", "tokio"));
    assert!(names("let at = Instant::now();", "Instant") && !names("an instant", "Instant"));
    let text = "a // tokio\n// static mut X\n\"https://x\"; tokio\n";
    let lines: Vec<_> = code(text).collect();
    assert_eq!(lines, [(1, "a "), (2, ""), (3, "\"https://x\"; tokio")]);
    assert!(sources(&root().join("crates/lab/src")).iter().any(|(file, _)| file == "crates/lab/src/lib.rs"));
}

fn root() -> PathBuf {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR"));
    lab.ancestors().nth(2).expect("the workspace").to_owned()
}

fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// All Rust files below a folder but this one, which names what it forbids; each with its path from the root.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                if name != "crates/lab/tests/house.rs" {
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found
}

/// The lines of a text without their comments, numbered.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| {
        let mut from = 0;
        // `//` inside a URL is no comment.
        while let Some(found) = line[from..].find("//").map(|at| from + at) {
            if !line[..found].ends_with(':') {
                return (number + 1, &line[..found]);
            }
            from = found + 2;
        }
        (number + 1, line)
    })
}

/// Whether a line has `name` as a word of its own.
fn names(line: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    line.match_indices(name).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(is_part)
            && !line[at + name.len()..].chars().next().is_some_and(is_part)
    })
}

fn at(file: &str, number: usize, what: &str) -> String {
    format!("{file}:{number}: {what}")
}

/// What `deny.toml` bans is not built, whatever the lock file names for other features and platforms.
#[test]
fn no_banned_crate_is_built() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
    let tree = std::process::Command::new(cargo)
        .args(["tree", "--locked", "--workspace", "--edges", "normal,build", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    let built = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    assert!(built("rustls") && built("aws-lc-rs"), "the tree is read");
    for banned in ["ring", "openssl-sys", "native-tls"] {
        assert!(!built(banned), "{banned} is built");
    }
}
