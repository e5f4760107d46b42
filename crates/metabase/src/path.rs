//! Paths of keys in the tree, `/LM/SmtpSvc/1`: case does not matter when they are compared, and is kept when they are shown.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// Characters of a key's name, as in the original.
pub const NAME_MAX: usize = 256;
/// Keys above one another. The original's deepest, event bindings, are 9.
pub const DEPTH_MAX: usize = 32;

/// Names that the original spells in one way, and how deep each stands.
const KNOWN: [(usize, &str); 6] =
    [(0, "LM"), (1, "SmtpSvc"), (2, "Info"), (3, "Domain"), (3, "RoutingSources"), (3, "EventManager")];

/// The path of a key; the root is the empty list of names, shown as `/`. A copy shares the names, and so does the path of a key
/// below: a change has the path of each of its records, often hundreds of thousands.
#[derive(Clone, Debug, Default)]
pub struct KeyPath {
    names: Arc<[Arc<Name>]>,
}

/// One key's name, and its form for comparing.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    shown: Box<str>,
    /// None where it is the same.
    folded: Option<Box<str>>,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A name is empty: two slashes in a row.
    #[error("{0:?} has an empty name between two slashes")]
    Empty(String),
    /// A name is too long.
    #[error("a key's name has {0} characters, {NAME_MAX} at most")]
    TooLong(usize),
    /// Too many names.
    #[error("a path has {0} names, {DEPTH_MAX} at most")]
    TooDeep(usize),
    /// A name has a slash, which would make it two in a text.
    #[error("a key's name has a slash")]
    Slash,
    /// A name has a control character.
    #[error("a key's name has a control character")]
    Control,
}

impl KeyPath {
    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Reads the forms administrators use: `/LM/SmtpSvc/1`, `LM/SmtpSvc/1`, and, as adsutil has it, `smtpsvc/1` without the
    /// machine. Only a path with a leading slash can name a key outside of `/LM`.
    ///
    /// # Errors
    /// `PathError`.
    pub fn read(text: &str) -> Result<Self, PathError> {
        let path: Self = text.parse()?;
        let first = path.folded().next();
        let is_short = !text.starts_with('/') && first.is_some_and(|first| first != "lm");
        let mut names = path.names.to_vec();
        if is_short || first == Some("smtpsvc") {
            names.insert(0, Arc::new(Name::new("LM")?));
        }
        for (depth, name) in names.iter_mut().enumerate() {
            let known = KNOWN.iter().find(|(at, known)| *at == depth && fold(known) == name.folded());
            if let Some((_, known)) = known {
                *name = Arc::new(Name::new(known)?);
            }
        }
        Self::checked(names)
    }

    /// The key `name` below this one.
    ///
    /// # Errors
    /// `PathError`.
    pub fn child(&self, name: &str) -> Result<Self, PathError> {
        let mut names = self.names.to_vec();
        names.push(Arc::new(Name::new(name)?));
        Self::checked(names)
    }

    /// The key above; none above the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.names.split_last()?;
        Some(Self { names: above.into() })
    }

    /// The key `depth` names below the root on the way to this one; itself where it stands no deeper.
    #[must_use]
    pub fn above(&self, depth: usize) -> Self {
        Self { names: self.names.get(..depth).unwrap_or(&self.names).into() }
    }

    /// The last name; none at the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.names.last().map(|name| &*name.shown)
    }

    /// The names from the root down, as they are shown.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.names.iter().map(|name| &*name.shown)
    }

    /// The names in the form that is compared.
    pub(crate) fn folded(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.names.iter().map(|name| name.folded())
    }

    /// How many keys it is below the root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names.len()
    }

    /// Whether it is `above`, or somewhere below it.
    #[must_use]
    pub fn is_within(&self, above: &Self) -> bool {
        self.names.len() >= above.names.len() && self.folded().zip(above.folded()).all(|(a, b)| a == b)
    }

    /// The same path, which shares with another one the names that both begin with.
    pub(crate) fn sharing(mut self, other: &Self) -> Self {
        let same = self.names().zip(other.names()).take_while(|(a, b)| a == b).count();
        let shared = other.names.iter().take(same).chain(self.names.iter().skip(same));
        self.names = shared.cloned().collect();
        self
    }

    fn checked(names: Vec<Arc<Name>>) -> Result<Self, PathError> {
        if names.len() > DEPTH_MAX {
            return Err(PathError::TooDeep(names.len()));
        }
        Ok(Self { names: names.into() })
    }
}

/// The form of a name that is compared.
pub(crate) fn fold(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_lowercase() }
}

impl Name {
    fn new(name: &str) -> Result<Self, PathError> {
        let characters = name.chars().count();
        if name.is_empty() {
            return Err(PathError::Empty(name.into()));
        }
        if characters > NAME_MAX {
            return Err(PathError::TooLong(characters));
        }
        if name.contains('/') {
            return Err(PathError::Slash);
        }
        if name.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        let folded = fold(name);
        Ok(Self { shown: name.into(), folded: (folded != name).then(|| folded.into()) })
    }

    fn folded(&self) -> &str {
        self.folded.as_deref().unwrap_or(&self.shown)
    }
}

impl FromStr for KeyPath {
    type Err = PathError;

    /// The exact form: names between slashes; a slash at either end does not matter.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Self::root());
        }
        let count = inner.split('/').count();
        if count > DEPTH_MAX {
            return Err(PathError::TooDeep(count));
        }
        let name = |part: &str| match Name::new(part) {
            Err(PathError::Empty(_)) => Err(PathError::Empty(text.chars().take(80).collect())),
            name => name,
        };
        Self::checked(inner.split('/').map(|part| name(part).map(Arc::new)).collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            return f.write_str("/");
        }
        self.names().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl PartialEq for KeyPath {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for KeyPath {}

impl PartialOrd for KeyPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyPath {
    /// A key comes before those below it.
    fn cmp(&self, other: &Self) -> Ordering {
        for (own, other) in self.names.iter().zip(other.names.iter()) {
            // Paths of one change share most names.
            if !Arc::ptr_eq(own, other) && own.folded() != other.folded() {
                return own.folded().cmp(other.folded());
            }
        }
        self.depth().cmp(&other.depth())
    }
}

impl Hash for KeyPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|name| name.hash(state));
    }
}

impl Serialize for KeyPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
