//! Who sends, where nobody says: the user of this process, at this machine.

use postroad_mail::domain::Domain;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The machine's name where that is a domain name, as the service takes it for its own; else `localhost`.
pub fn host() -> Option<Domain> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().parse().or_else(|_| "localhost".parse()).ok()
}

/// The user's name, as the system's table of users has it, else as LOGNAME does, else `nobody`.
pub fn user() -> String {
    // The process's own folder is its user's.
    let uid = fs::metadata("/proc/self").map(|process| process.uid()).ok();
    let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let listed = uid.and_then(|uid| name_of(uid, &table));
    listed.or_else(|| std::env::var("LOGNAME").ok()).unwrap_or_else(|| "nobody".into())
}

fn name_of(uid: u32, table: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let table = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nprinter:x:107:7::/:/bin/false\n";
        let check = |uid: u32, expected: Option<&str>| assert_eq!(name_of(uid, table).as_deref(), expected);
        check(0, Some("root"));
        check(107, Some("printer"));
        check(7, None);
    }
}
