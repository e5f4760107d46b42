//! The command line of `meta`.

use super::forms;
use clap::{Args, Subcommand};
use postroad_control::meta::{Prune, VersionWanted};
use std::path::PathBuf;

/// Keys below one another, as many as a path can name.
const DEPTH_ALL: usize = 32;

/// Changes listed at once, as many as the service tells.
const LOG_MAX: u64 = 1000;

/// `meta`.
#[derive(Debug, Subcommand)]
pub enum Meta {
    /// List the keys below a key
    #[command(after_help = "\
Examples:
  postroad meta tree
  postroad meta tree smtpsvc/1 --depth 1")]
    Tree {
        /// The key
        #[arg(default_value = "/")]
        path: String,
        /// Levels below it
        #[arg(long, value_name = "N", default_value_t = DEPTH_ALL)]
        depth: usize,
    },
    /// Show what a property is at a key, and where that comes from
    Get(Get),
    /// Set a property
    Set(Set),
    /// Remove a property's value from a key, so that what it inherits or the default holds
    #[command(after_help = "\
Examples:
  postroad meta unset smtpsvc/1/smarthost
  postroad meta unset smtpsvc/1 SmartHost --dry-run")]
    Unset {
        /// The property
        #[command(flatten)]
        what: Place,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// Create a key and those above it
    #[command(after_help = "\
Examples:
  postroad meta create smtpsvc/1/domain/example.org
  postroad meta create smtpsvc/2 IIsSmtpServer")]
    Create {
        /// The key
        path: String,
        /// What KeyType (1002) is to be there
        key_type: Option<String>,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// Delete a key and all below it, or one property of a key
    #[command(after_help = "\
Examples:
  postroad meta delete smtpsvc/1/domain/example.org --dry-run
  postroad meta delete smtpsvc/1/smarthost
  postroad meta delete smtpsvc/1 SmartHost

With one argument it is the key of that path if there is one, else the property that the path
ends in.")]
    Delete {
        /// The key or the property
        #[command(flatten)]
        what: Place,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// List the properties that a key has
    Enum(Enum),
    /// Find keys and properties by id, name or value
    #[command(after_help = "\
Examples:
  postroad meta find dns
  postroad meta find 36997
  postroad meta find example.org --path smtpsvc/1
  postroad meta find smtpsvc/smtpusetcpdns

A path that ends in a known property finds that at the key and below it.")]
    Find {
        /// An id, or a part of a name or a value in any case
        text: String,
        /// Only at this key and below it
        #[arg(long, value_name = "PATH", default_value = "/")]
        path: String,
    },
    /// Show what would differ if a TOML file were applied
    #[command(after_help = "\
Example:
  postroad meta diff settings.toml

Exit status 0: nothing differs; 1: something does; 2: it cannot be compared.")]
    Diff {
        /// The file; - for standard input
        file: PathBuf,
        /// What goes
        #[command(flatten)]
        prune: Pruning,
    },
    /// Make what a TOML file names be as it says, in one change
    #[command(after_help = "\
Examples:
  postroad meta apply settings.toml --dry-run
  postroad meta apply settings.toml --confirm 5m --reason ticket-4711")]
    Apply {
        /// The file; - for standard input
        file: PathBuf,
        /// What goes
        #[command(flatten)]
        prune: Pruning,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// Write a key and all below it as TOML, or as MetaBase.xml
    #[command(after_help = "\
Examples:
  postroad meta export
  postroad meta export smtpsvc -o settings.toml
  postroad meta export --xml -o MetaBase.xml --force")]
    Export {
        /// The key
        #[arg(default_value = "/")]
        path: String,
        /// As the original's MetaBase.xml
        #[arg(long)]
        xml: bool,
        /// Where to; without it, standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace the file if it exists
        #[arg(long, requires = "output")]
        force: bool,
    },
    /// Show what a MetaBase.xml brings, and with --apply take it
    #[command(after_help = "\
Examples:
  postroad meta import MetaBase.xml
  postroad meta import MetaBase.xml --apply --confirm 10m")]
    Import {
        /// The file; - for standard input
        file: PathBuf,
        /// Take it
        #[arg(long)]
        apply: bool,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// Find what is wrong, and with --repair mend it
    Check(Check),
    /// List the changes that were made, newest first
    #[command(after_help = "\
Examples:
  postroad meta log --limit 5
  postroad meta log 12")]
    Log {
        /// Only this generation, with all that differed
        generation: Option<u64>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=LOG_MAX))]
        limit: usize,
    },
    /// Make everything be as it was at a generation, or undo what waits
    #[command(after_help = "\
Examples:
  postroad meta rollback 11 --dry-run
  postroad meta rollback 11 --reason mistaken
  postroad meta rollback

Without a generation it undoes the change that waits to be confirmed, and nothing that came after it.")]
    Rollback {
        /// The generation, as `log` shows it
        generation: Option<u64>,
        /// How
        #[command(flatten)]
        how: Changing,
    },
    /// Keep the change that would undo itself
    #[command(after_help = "Example:\n  postroad meta confirm")]
    Confirm,
    /// Make a backup of everything, and verify it
    Backup(Backup),
    /// List, verify or delete backups
    #[command(after_help = "Example:\n  postroad meta backups")]
    Backups {
        /// What to do; without it, list
        #[command(subcommand)]
        verb: Option<Backups>,
    },
    /// Put a backup in the place of everything
    Restore(Restore),
}

/// A property at a key, in one argument or two.
#[derive(Debug, Args)]
pub struct Place {
    /// The key; without PROPERTY, its last part is the property
    pub path: String,
    /// Its name, or its id
    pub property: Option<String>,
}

/// `get`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad meta get smtpsvc/1/smarthost
  postroad meta get smtpsvc 36997 --why
  postroad meta get smtpsvc/1 RelayIpList --raw

Exit status 1 with --raw: it is not set, or a secret.")]
pub struct Get {
    /// What
    #[command(flatten)]
    pub what: Place,
    /// The stored value alone, a line for each item of a list
    #[arg(long, conflicts_with_all = ["why", "json"])]
    pub raw: bool,
    /// Also what it is for, what may be given, and how it came to be
    #[arg(long)]
    pub why: bool,
}

/// `set`.
#[derive(Debug, Args)]
#[command(
    override_usage = "postroad meta set [OPTIONS] <PATH> <PROPERTY> <VALUE>...\n       \
                      postroad meta set [OPTIONS] <PATH/PROPERTY> <VALUE>...",
    after_help = "\
Examples:
  postroad meta set smtpsvc/smtpusetcpdns 2
  postroad meta set LM/SmtpSvc 36997 2 --confirm 5m
  postroad meta set smtpsvc/1 RelayIpList 127.0.0.0/8 192.0.2.0/24 --dry-run
  postroad meta set smtpsvc/1/routepassword --value-file password.txt

Two arguments are PATH/PROPERTY and a value. Of three or more the first is PATH/PROPERTY only
if its last part is a known property and the second argument is none. An empty list is the value \"\"."
)]
pub struct Set {
    /// The key, the property by name or id, and its value, or a list's values
    #[arg(required = true, value_name = "ARGUMENT", allow_negative_numbers = true)]
    pub arguments: Vec<String>,
    /// Take the value from a file, a line for each item of a list; - for standard input
    #[arg(long, value_name = "FILE")]
    pub value_file: Option<PathBuf>,
    /// DWORD, STRING, BINARY, EXPANDSZ or MULTISZ, where it is not to be as known or as before
    #[arg(long = "type", value_name = "TYPE", value_parser = forms::data_type)]
    pub data_type: Option<String>,
    /// The user type, where it is not to be as known or as before
    #[arg(long, value_name = "N")]
    pub user_type: Option<u32>,
    /// Attributes, as INHERIT|SECURE, NO_ATTRIBUTES or a number
    #[arg(long, value_name = "NAMES|N", value_parser = forms::attributes)]
    pub attributes: Option<u32>,
    /// How
    #[command(flatten)]
    pub how: Changing,
}

/// `enum`.
#[derive(Debug, Args)]
#[command(
    override_usage = "postroad meta enum [OPTIONS] [/P] [PATH]",
    after_help = "\
Examples:
  postroad meta enum smtpsvc/1
  postroad meta enum smtpsvc/1 --inherited
  postroad meta enum /P smtpsvc

ENUM_ALL, as adsutil has it, is enum --inherited."
)]
pub struct Enum {
    /// The key; /P before it does as -p
    #[arg(value_name = "PATH", num_args = 0..=2)]
    pub arguments: Vec<String>,
    /// List the keys right below it instead
    #[arg(short = 'p', conflicts_with = "inherited")]
    pub children: bool,
    /// Also what it inherits
    #[arg(long)]
    pub inherited: bool,
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad meta check
  postroad meta check smtpsvc/1 --online
  postroad meta check --repair --yes

Exit status 0: no errors, though perhaps warnings; 1: errors; 75: something could not be tested.")]
pub struct Check {
    /// Only this key and those below it
    #[arg(default_value = "/")]
    pub path: String,
    /// Also look up the hosts that values name
    #[arg(long)]
    pub online: bool,
    /// Show what would repair it, ask, and repair it in one change
    #[arg(long)]
    pub repair: bool,
    /// Repair without asking
    #[arg(long, requires = "repair")]
    pub yes: bool,
    /// How
    #[command(flatten)]
    pub how: Changing,
}

/// What goes where a file does not name it.
#[derive(Args, Clone, Copy, Debug)]
pub struct Pruning {
    /// Remove properties that the file does not name, at the keys that it names; secrets and KeyType stay
    #[arg(long)]
    prune: bool,
    /// As --prune, and delete keys below those that it names
    #[arg(long)]
    prune_keys: bool,
}

impl Pruning {
    /// What was asked for.
    pub fn wanted(self) -> Prune {
        match self {
            Self { prune_keys: true, .. } => Prune::Keys,
            Self { prune: true, .. } => Prune::Properties,
            Self { .. } => Prune::Nothing,
        }
    }
}

/// How a change is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "How it is changed")]
pub struct Changing {
    /// Only say what it would do
    #[arg(long)]
    pub dry_run: bool,
    /// Undo it after so long, as 5m, unless `postroad meta confirm` keeps it
    #[arg(long, value_name = "SPAN", value_parser = forms::span_secs)]
    pub confirm: Option<u64>,
    /// Even if anybody could then relay mail through this service
    #[arg(long)]
    pub i_mean_it: bool,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only if this is still the newest generation
    #[arg(long, value_name = "N")]
    pub if_generation: Option<u64>,
}

/// Where a backup's password comes from.
#[derive(Debug, Default, Args)]
pub struct Password {
    /// A file with the password in its first line; without it, POSTROAD_BACKUP_PASSWORD in the environment
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Ask for it at the terminal, twice for a backup to make
    #[arg(long, conflicts_with = "password_file")]
    pub password: bool,
}

/// `backup`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad meta backup nightly
  postroad meta backup moving --version 1 --overwrite --password-file password.txt

With a password its secrets can be restored on another machine. Versions are also taken as
NEXT_VERSION and HIGHEST_VERSION; --save-first and --force are taken and change nothing: every
change is saved when it is made.")]
pub struct Backup {
    /// Up to 100 letters and digits
    pub name: String,
    /// Its version: 0 to 9999, next or highest
    #[arg(long, value_name = "N|next|highest", value_parser = forms::version, default_value = "next")]
    pub version: VersionWanted,
    /// Replace the one of that version
    #[arg(long)]
    pub overwrite: bool,
    /// As the original's flag: every change is saved already
    #[arg(long, hide = true)]
    pub save_first: bool,
    /// As the original's flag: even if saving first fails, which there is none of
    #[arg(long, hide = true)]
    pub force: bool,
    /// Its password
    #[command(flatten)]
    pub password: Password,
}

/// `backups`.
#[derive(Debug, Subcommand)]
pub enum Backups {
    /// List them
    List,
    /// Read one back, and see that it could be restored here
    #[command(after_help = "Example:\n  postroad meta backups verify nightly")]
    Verify {
        /// Which
        #[command(flatten)]
        which: Kept,
        /// Its password, if it has one
        #[command(flatten)]
        password: Password,
    },
    /// Delete one
    #[command(after_help = "Example:\n  postroad meta backups delete nightly --version 3")]
    Delete {
        /// Which
        #[command(flatten)]
        which: Kept,
        /// Without asking, where no version is named
        #[arg(long)]
        yes: bool,
    },
}

/// A backup that exists.
#[derive(Debug, Args)]
pub struct Kept {
    /// Its name
    pub name: String,
    /// Its version: 0 to 9999 or highest
    #[arg(long, value_name = "N|highest", value_parser = forms::version_kept, default_value = "highest")]
    pub version: VersionWanted,
}

/// `restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad meta restore nightly --dry-run
  postroad meta restore nightly --version 3 --yes
  postroad meta restore nightly --without-secrets --dry-run

Without --yes it shows the difference and asks. What was changed since the backup is undone; a
backup of what was there before is made. If the service is not well after it, it is rolled back:
a binding does not greet, or the check finds an error that was not there (not with --i-mean-it).")]
pub struct Restore {
    /// Which
    #[command(flatten)]
    pub which: Kept,
    /// Without asking
    #[arg(long)]
    pub yes: bool,
    /// Without its secrets, where what opens them is lost; they are listed, to be entered again
    #[arg(long)]
    pub without_secrets: bool,
    /// Its password, if it has one
    #[command(flatten)]
    pub password: Password,
    /// How
    #[command(flatten)]
    pub how: Changing,
}
