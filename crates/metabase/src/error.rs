//! What is wrong with a configuration, where, and what to do.

/// One error of a configuration text, as `postroad.toml:12:5: MaxRecipients: "many" is not a number. Give a number from
/// 1 to 10000.`
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}. {remedy}")]
pub struct ConfigError {
    /// The file's name, as the caller gave it.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do, as a sentence.
    pub remedy: String,
}
