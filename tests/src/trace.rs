//! What `strace` saw: whether each message was on disk before it was acknowledged.

use std::collections::BTreeMap;

/// System calls to trace, and how (strace's own options; the output file is to be added).
pub const OPTIONS: [&str; 7] = [
    "-f",
    // A signal ends it, though it writes to a file.
    "-I2",
    "-yy",
    "-s",
    "2000",
    "-e",
    "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync",
];

/// How a message's acknowledgement came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// A sync of a store's file began after the final dot was read and had returned success before the 250 was written.
    AfterSync,
    /// None had.
    WithoutSync,
}

/// One for each message of the trace, in order: every read of a socket that ends with a line of a dot alone, and the first `250`
/// written to that socket afterwards. `store` is part of the path of the store's files.
#[must_use]
pub fn acknowledgements(trace: &str, store: &str) -> Vec<Acknowledged> {
    let mut unfinished: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    // By socket: the line at which the final dot had been read.
    let mut waiting: BTreeMap<String, (usize, Acknowledged)> = BTreeMap::new();
    let mut all = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(' ').map(|(thread, text)| (thread, text.trim_start()))
        else {
            continue;
        };
        // A call that another thread's overlaps is shown in two parts; what is written is in the first, what is read in the second.
        let (began, call, ended) = if let Some(start) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (at, start.to_owned()));
            (at, start.to_owned(), false)
        } else if text.starts_with("<... ") {
            let Some((began, start)) = unfinished.remove(thread) else { continue };
            let rest = text.split_once("resumed>").map_or("", |(_, rest)| rest);
            (began, start + rest, true)
        } else {
            (at, text.to_owned(), true)
        };
        let Some((name, arguments)) = call.split_once('(') else { continue };
        let descriptor = arguments.split([',', ')']).next().unwrap_or_default().trim_end();
        match name {
            "fsync" | "fdatasync"
                if ended && descriptor.contains(store) && call.trim_end().ends_with("= 0") =>
            {
                for (dot_at, state) in waiting.values_mut() {
                    if began > *dot_at {
                        *state = Acknowledged::AfterSync;
                    }
                }
            }
            "read" | "readv" | "recvfrom" | "recvmsg" if ended && arguments.contains(r#"\r\n.\r\n""#) => {
                waiting.insert(descriptor.to_owned(), (at, Acknowledged::WithoutSync));
            }
            "write" | "writev" | "sendto" | "sendmsg" if began == at && arguments.contains(r#""250 "#) => {
                all.extend(waiting.remove(descriptor).map(|(_, state)| state));
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use Acknowledged::{AfterSync, WithoutSync};

    const READ: &str = r#"7 recvfrom(9<TCP:[1]>, "x\r\n.\r\n", 99, 0, NULL, NULL) = 6"#;
    const SYNC: &str = r"8 fdatasync(5</d/spool.db-wal>) = 0";
    const WRITE: &str = r#"7 sendto(9<TCP:[1]>, "250 2.0.0 OK\r\n", 14, 0, NULL, 0) = 14"#;

    fn check(lines: &[&str], expected: &[Acknowledged]) {
        assert_eq!(acknowledgements(&lines.join("\n"), "/d/spool"), expected, "{lines:#?}");
    }

    #[test]
    fn only_a_whole_sync_in_between_counts() {
        check(&[READ, SYNC, WRITE], &[AfterSync]);
        check(&[READ, WRITE, SYNC], &[WithoutSync]);
        check(&[SYNC, READ, WRITE], &[WithoutSync]);
        check(&[READ, WRITE, READ, SYNC, WRITE], &[WithoutSync, AfterSync]);
        check(&[READ, &SYNC.replace("spool", "events"), WRITE], &[WithoutSync]);
        check(&[READ, &SYNC.replace("= 0", "= -1 EIO (Input/output error)"), WRITE], &[WithoutSync]);
        check(&[SYNC, WRITE], &[]);
    }

    #[test]
    fn calls_in_two_parts_are_joined() {
        let (start, end) =
            (r"8 fdatasync(5</d/spool.db-wal> <unfinished ...>", "8 <... fdatasync resumed>) = 0");
        check(&[READ, start, end, WRITE], &[AfterSync]);
        check(&[READ, start, WRITE, end], &[WithoutSync]);
        check(&[start, READ, end, WRITE], &[WithoutSync]);
        let half = r"7 recvfrom(9<TCP:[1]>,  <unfinished ...>";
        let rest = r#"7 <... recvfrom resumed>"x\r\n.\r\n", 99, 0, NULL, NULL) = 6"#;
        check(&[half, rest, SYNC, WRITE], &[AfterSync]);
        check(&[half, SYNC, rest, WRITE], &[WithoutSync]);
        let half = r#"7 sendto(9<TCP:[1]>, "250 2.0.0 OK\r\n", 14, 0, NULL, 0 <unfinished ...>"#;
        check(&[READ, half, SYNC, "7 <... sendto resumed>) = 14"], &[WithoutSync]);
    }
}
