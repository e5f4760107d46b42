//! The attributes of a record as an answer has them: bits, each with its name and the letter that stands for it in a table.

/// Keys below see the record.
pub const INHERIT: u32 = 0x1;
/// The record is a secret.
pub const SECURE: u32 = 0x4;
/// In an answer only: the record comes from a key above.
pub const IS_INHERITED: u32 = 0x20;
/// `<%INSERT_PATH%>` in a text is replaced when it is read.
pub const INSERT_PATH: u32 = 0x40;

/// Those that have a name, in the order of their bits: the bit, the name that the original gives it, its letter.
pub const ATTRIBUTES: [(u32, &str, char); 7] = [
    (INHERIT, "INHERIT", 'I'),
    (0x2, "PARTIAL_PATH", 'p'),
    (SECURE, "SECURE", 'S'),
    (0x8, "REFERENCE", 'R'),
    (0x10, "VOLATILE", 'V'),
    (IS_INHERITED, "ISINHERITED", 'i'),
    (INSERT_PATH, "INSERT_PATH", 'P'),
];

/// The letters of attributes.
#[must_use]
pub fn letters(attributes: u32) -> String {
    ATTRIBUTES.iter().filter(|(bit, _, _)| attributes & bit != 0).map(|(_, _, letter)| letter).collect()
}

/// The names of attributes as `RecordRow` has them. What has no name is told as a number.
#[must_use]
pub fn names(attributes: u32) -> String {
    let named = ATTRIBUTES.iter().filter(|(bit, _, _)| attributes & bit != 0);
    let mut names: Vec<String> = named.map(|(_, name, _)| String::from(*name)).collect();
    let other = ATTRIBUTES.iter().fold(attributes, |left, (bit, _, _)| left & !bit);
    if other != 0 {
        names.push(format!("{other:#x}"));
    }
    if names.is_empty() { "NO_ATTRIBUTES".into() } else { names.join(" | ") }
}
