//! What is typed, as `control` takes it: the forms of adsutil, spans, attributes, versions.

use super::args::{Changing, Enum, Password, Place};
use super::files;
use crate::ending::Trouble;
use crate::person;
use clap::CommandFactory;
use postroad_control::meta::{How, MetaStep, Secret, VersionWanted};
use postroad_control::meta_answer::PropertyRow;
use postroad_metabase::backup::VERSION_MAX;
use postroad_metabase::record::{ATTRIBUTE_NAMES, StoredType};
use std::ffi::OsString;

/// The property that `create PATH KEYTYPE` sets.
const KEY_TYPE: &str = "KeyType";
/// What an administrator writes for no attribute.
const NO_ATTRIBUTES: &str = "NO_ATTRIBUTES";

/// The command line with the verb of `meta` as clap knows it: as with adsutil, its case is nothing, and `ENUM_ALL` lists what
/// is inherited too.
pub fn as_typed(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut line: Vec<OsString> = arguments.into_iter().collect();
    let Some(meta) = verb_at(&line, 1).filter(|at| line.get(*at).is_some_and(|verb| verb == "meta")) else {
        return line;
    };
    let Some(verb) = verb_at(&line, meta + 1).and_then(|at| line.get_mut(at)) else { return line };
    let lower = verb.to_ascii_lowercase();
    if lower == ENUM_ALL {
        *verb = "enum".into();
        let place = verb_at(&line, meta + 1).unwrap_or(meta) + 1;
        line.insert(place, "--inherited".into());
    } else if crate::args::Cli::command()
        .find_subcommand("meta")
        .is_some_and(|meta| meta.get_subcommands().any(|known| *known.get_name() == *lower))
    {
        *verb = lower;
    }
    line
}

/// adsutil's verb for all that a key sees.
const ENUM_ALL: &str = "enum_all";

/// Where the first argument from `start` on is that is no option and no option's value.
fn verb_at(line: &[OsString], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(argument) = line.get(at) {
        at += match argument.to_str() {
            Some("--data") => 2,
            Some(option) if option.starts_with('-') => 1,
            _ => return Some(at),
        };
    }
    None
}

/// A property at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The key.
    pub path: String,
    /// Name or id.
    pub property: String,
}

impl Place {
    /// The key and the property; a single argument ends in the property.
    pub fn at(self) -> Result<At, Trouble> {
        match self.property {
            Some(property) => Ok(At { path: self.path, property }),
            None => split(&self.path).ok_or_else(|| {
                let what = format!("{:?} names a key alone. Give PATH PROPERTY or PATH/PROPERTY.", self.path);
                Trouble::usage(what)
            }),
        }
    }
}

/// `smtpsvc/1/smarthost` as the key `smtpsvc/1` and the property `smarthost`.
pub fn split(text: &str) -> Option<At> {
    let (path, property) = text.trim_end_matches('/').rsplit_once('/')?;
    let path = if path.is_empty() { "/" } else { path };
    (!property.is_empty()).then(|| At { path: path.into(), property: property.into() })
}

/// What `set` sets, and to what; no value where it comes from elsewhere. Two arguments are PATH/PROPERTY VALUE. Three or more are
/// that only if the first ends in a known property and the second is none, else PATH PROPERTY VALUE... : for them alone the schema
/// is asked for.
pub fn what_is_set(
    arguments: &[String],
    has_value: bool,
    schema: impl FnOnce() -> Result<Vec<PropertyRow>, Trouble>,
) -> Result<(At, Vec<String>), Trouble> {
    let at_end = |path: &String| Place { path: path.clone(), property: None }.at();
    let apart = |path: &String, property: &String| At { path: path.clone(), property: property.clone() };
    match (has_value, arguments) {
        (true, [path]) => Ok((at_end(path)?, Vec::new())),
        (true, [path, property]) => Ok((apart(path, property), Vec::new())),
        (true, _) => {
            Err(Trouble::usage("with --value-file, name the property alone: PATH PROPERTY or PATH/PROPERTY."))
        }
        (false, [] | [_]) => Err(Trouble::usage(
            "a value is missing. Give PATH/PROPERTY VALUE, or PATH PROPERTY VALUE; \"\" is the empty value.",
        )),
        (false, [path, value]) => Ok((at_end(path)?, vec![value.clone()])),
        (false, [path, second, rest @ ..]) => {
            let schema = schema()?;
            match split(path) {
                Some(at) if is_known(&schema, &at.property) && !is_known(&schema, second) => {
                    Ok((at, std::iter::once(second).chain(rest).cloned().collect()))
                }
                _ => Ok((apart(path, second), rest.to_vec())),
            }
        }
    }
}

/// Whether a text names a property of the schema.
pub fn is_known(schema: &[PropertyRow], text: &str) -> bool {
    let id = number(text);
    schema.iter().any(|row| row.name.eq_ignore_ascii_case(text) || id == Some(row.id))
}

/// The steps of `create`.
pub fn create(path: String, key_type: Option<String>) -> Vec<MetaStep> {
    let record = key_type.map(|key_type| MetaStep::Set {
        path: path.clone(),
        property: KEY_TYPE.into(),
        value: vec![key_type],
        data_type: None,
        user_type: None,
        attributes: None,
    });
    std::iter::once(MetaStep::Create { path }).chain(record).collect()
}

/// The key that `enum` lists, and whether its keys are wanted instead of its records.
pub fn listed(asked: &Enum) -> Result<(String, bool), Trouble> {
    let is_switch = |text: &String| text.eq_ignore_ascii_case("/p");
    match asked.arguments.as_slice() {
        [] => Ok(("/".into(), asked.children)),
        [switch] if is_switch(switch) => Ok(("/".into(), true)),
        [path] => Ok((path.clone(), asked.children)),
        [switch, path] | [path, switch] if is_switch(switch) => Ok((path.clone(), true)),
        _ => Err(Trouble::usage("one key at a time: postroad meta enum [/P] PATH.")),
    }
}

impl Password {
    /// That of a backup to make.
    pub fn of_new(self) -> Result<Option<Secret>, Trouble> {
        if !self.password {
            return files::password(self.password_file);
        }
        let typed = asked("Password: ")?;
        if asked("Password again: ")? != typed {
            return Err(Trouble::usage("the passwords differ: nothing was done."));
        }
        Ok(Some(typed))
    }

    /// That of a backup there is.
    pub fn of_kept(self) -> Result<Option<Secret>, Trouble> {
        if self.password { asked("Password: ").map(Some) } else { files::password(self.password_file) }
    }
}

/// A password from the terminal.
fn asked(prompt: &str) -> Result<Secret, Trouble> {
    match postroad_tui::password(prompt) {
        Ok(Some(password)) if !password.is_empty() => Ok(Secret(password)),
        Ok(_) => Err(Trouble::usage("no password was typed: nothing was done.")),
        Err(error) => {
            let what = format!("no password can be asked for: {error}. Give --password-file.");
            Err(Trouble::usage(what))
        }
    }
}

/// Who asks, and by what.
pub(super) fn author() -> String {
    format!("{} (cli)", person::user())
}

impl Changing {
    /// As `control` takes it, by the user of this process.
    pub fn how(self) -> How {
        How {
            author: author(),
            reason: self.reason.unwrap_or_default(),
            dry_run: self.dry_run,
            mean_it: self.i_mean_it,
            confirm_secs: self.confirm,
            if_generation: self.if_generation,
        }
    }
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A data type, in any case.
pub fn data_type(text: &str) -> Result<String, String> {
    let kind = StoredType::named(text).map(StoredType::name);
    kind.map(str::to_owned)
        .ok_or_else(|| format!("it is none of {}", StoredType::ALL.map(StoredType::name).join(", ")))
}

/// Attributes: names joined by `|` or commas, or a number.
pub fn attributes(text: &str) -> Result<u32, String> {
    if let Some(bits) = number(text) {
        return Ok(bits);
    }
    let bit = |name: &str| {
        let named = ATTRIBUTE_NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        match named {
            Some((bit, _)) => Ok(*bit),
            None if name.eq_ignore_ascii_case(NO_ATTRIBUTES) => Ok(0),
            None => {
                let known: Vec<&str> = ATTRIBUTE_NAMES.iter().map(|(_, name)| *name).collect();
                Err(format!("{name:?} is none of {}, {NO_ATTRIBUTES}", known.join(", ")))
            }
        }
    };
    text.split(['|', ',']).map(str::trim).try_fold(0, |bits, name| Ok(bits | bit(name)?))
}

/// A span such as `5m`, in seconds; a part of a second counts as one.
pub fn span_secs(text: &str) -> Result<u64, String> {
    let wrong = || "it is no span: 90s, 5m, 2h and 1d are".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let secs = match unit {
        "ms" => Some(count.div_ceil(1000)),
        "s" => Some(count),
        "m" => count.checked_mul(60),
        "h" => count.checked_mul(60 * 60),
        "d" => count.checked_mul(24 * 60 * 60),
        _ => None,
    };
    secs.filter(|secs| *secs > 0).ok_or_else(wrong)
}

fn is_one_of(text: &str, names: &[&str]) -> bool {
    names.iter().any(|name| text.eq_ignore_ascii_case(name))
}

/// A backup's version.
pub fn version(text: &str) -> Result<VersionWanted, String> {
    if is_one_of(text, &["next", "next_version"]) {
        return Ok(VersionWanted::Next);
    }
    version_kept(text).map_err(|_| format!("it is none of 0 to {VERSION_MAX}, next, highest"))
}

/// The version of a backup that exists.
pub fn version_kept(text: &str) -> Result<VersionWanted, String> {
    if is_one_of(text, &["highest", "highest_version"]) {
        return Ok(VersionWanted::Highest);
    }
    let number = text.parse().ok().filter(|number| *number <= VERSION_MAX);
    number.map(VersionWanted::This).ok_or_else(|| format!("it is none of 0 to {VERSION_MAX}, highest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str, property: &str) -> At {
        At { path: path.into(), property: property.into() }
    }

    #[test]
    fn the_last_part_is_the_property() {
        let check = |text: &str, expected: Option<At>| assert_eq!(split(text), expected, "{text}");
        check("smtpsvc/1/smarthost", Some(at("smtpsvc/1", "smarthost")));
        check("/LM/SmtpSvc/36997", Some(at("/LM/SmtpSvc", "36997")));
        check("/KeyType", Some(at("/", "KeyType")));
        check("smtpsvc/smarthost/", Some(at("smtpsvc", "smarthost")));
        check("smarthost", None);
        check("/", None);
    }

    #[test]
    fn verbs_in_any_case() {
        let check = |typed: &str, expected: &str| {
            let line = as_typed(typed.split(' ').map(OsString::from));
            assert_eq!(line, expected.split(' ').map(OsString::from).collect::<Vec<_>>());
        };
        check("postroad meta GET smtpsvc/1/SmartHost", "postroad meta get smtpsvc/1/SmartHost");
        check("postroad --data meta meta --json Set A B", "postroad --data meta meta --json set A B");
        check(
            "postroad meta --data GET ENUM_ALL smtpsvc",
            "postroad meta --data GET enum --inherited smtpsvc",
        );
        check("postroad meta enum_all --json /LM", "postroad meta enum --inherited --json /LM");
        check("postroad meta Frob", "postroad meta Frob");
        check("postroad dns MX GET", "postroad dns MX GET");
        check("postroad meta", "postroad meta");
        check("postroad", "postroad");
    }

    #[test]
    fn enum_as_adsutil_has_it() {
        let check = |arguments: &[&str], children: bool, expected: Option<(&str, bool)>| {
            let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
            let found = listed(&Enum { arguments, children, inherited: false }).ok();
            assert_eq!(found.as_ref().map(|(path, keys)| (path.as_str(), *keys)), expected);
        };
        check(&[], false, Some(("/", false)));
        check(&["smtpsvc"], false, Some(("smtpsvc", false)));
        check(&["smtpsvc"], true, Some(("smtpsvc", true)));
        check(&["/p", "smtpsvc"], false, Some(("smtpsvc", true)));
        check(&["smtpsvc", "/P"], false, Some(("smtpsvc", true)));
        check(&["/P"], false, Some(("/", true)));
        check(&["smtpsvc", "w3svc"], false, None);
    }

    #[test]
    fn spans() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(span_secs(text).ok(), expected, "{text}");
        check("5m", Some(300));
        check("90s", Some(90));
        check("1500ms", Some(2));
        check("2h", Some(7200));
        check("1d", Some(86_400));
        ["0s", "5", "m", "", "5 m", "5M", "18446744073709551615d", "-1s", "1\u{fc}"]
            .into_iter()
            .for_each(|text| check(text, None));
    }

    #[test]
    fn attribute_names() {
        let check = |text: &str, expected: Option<u32>| assert_eq!(attributes(text).ok(), expected, "{text}");
        check("INHERIT", Some(1));
        check("inherit | secure", Some(5));
        check("INHERIT,INSERT_PATH", Some(0x41));
        check("NO_ATTRIBUTES", Some(0));
        check("0x11", Some(0x11));
        check("33", Some(33));
        check("INHERITED", None);
        check("", None);
    }

    #[test]
    fn types_and_versions() {
        assert_eq!(data_type("dword").as_deref(), Ok("DWORD"));
        assert!(data_type("QWORD").unwrap_err().contains("MULTISZ"));
        assert_eq!(version("Next"), Ok(VersionWanted::Next));
        assert_eq!(version("NEXT_VERSION"), Ok(VersionWanted::Next));
        assert_eq!(version_kept("HIGHEST_VERSION"), Ok(VersionWanted::Highest));
        assert_eq!(version("9999"), Ok(VersionWanted::This(9999)));
        assert!(version("10000").unwrap_err().contains("next"));
        assert!(version_kept("next").is_err());
        assert_eq!(version_kept("highest"), Ok(VersionWanted::Highest));
    }
}
