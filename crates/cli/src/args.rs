//! The command line: verbs, flags, and the examples that their help shows.

use crate::meta::args::Meta;
use crate::send::Server;
use clap::{Args, Parser, Subcommand, ValueEnum};
use postroad_dns::policy::Policy;
use postroad_mail::address::{Address, ReversePath};
use postroad_mail::domain::Domain;
use postroad_mail::id::MessageId;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// An SMTP service that gets mail through when DNS will not cooperate, and says what is wrong when it cannot.
#[derive(Debug, Parser)]
#[command(name = "postroad", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// The data folder: what the service keeps, and the way to the service
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "DIR", default_value = "./postroad-data")]
    pub data: PathBuf,
    /// Answer in JSON: an object for each line of a list, one object for anything else
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that may stand before or after any verb.
const EVERYWHERE: &str = "Everywhere";

const EXAMPLES: &str = "\
Examples:
  postroad serve --data /var/lib/postroad --config /etc/postroad.toml
  postroad status --data /var/lib/postroad
  postroad explain example.org
  postroad queue list --json
  postroad meta get smtpsvc/smtpusetcpdns

Exit status, of every verb:
  0   yes, done
  1   no: a permanent verdict, a refusal, nothing that matches, something that is wrong
  2   the command line or the configuration is wrong
  69  no service, no store
  75  try later, or it could not be found out";

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the service until SIGTERM or SIGINT ends it
    Serve(Serve),
    /// Submit a message as sendmail does: from a file or standard input
    Send(Send),
    /// Show how the service is: bindings, name servers, what waits
    #[command(after_help = "Example:\n  postroad status --data /var/lib/postroad")]
    Status,
    /// List, show, retry or delete queued mail
    #[command(subcommand)]
    Queue(Queue),
    /// Tell what was tried for a message, an address or a domain, and why it waits
    Explain(Explain),
    /// Show and change settings: the metabase, its history and its backups
    #[command(subcommand)]
    Meta(Meta),
    /// Look at the settings and edit them on the whole terminal
    Metaedit {
        /// Change nothing
        #[arg(long)]
        read_only: bool,
    },
    /// Ask DNS as the service does, and show each step
    #[command(subcommand)]
    Dns(Dns),
    /// Show the numbered facts that the service has for its administrator
    #[command(subcommand)]
    Events(Events),
    /// Play a scenario in a simulated network, and tell its story
    Lab(Lab),
}

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad serve
  postroad serve --data /var/lib/postroad --config /etc/postroad.toml --log json

Without a configuration it listens on 127.0.0.1:2525 and relays for this machine alone.
SIGHUP makes it read the configuration again; SIGTERM or SIGINT ends it in good order.")]
pub struct Serve {
    /// The configuration, in TOML; the properties in it are pinned
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to log on standard error; --json alone means json
    #[arg(long, value_name = "FORM")]
    pub log: Option<LogForm>,
    /// Leave out the words for newcomers
    #[arg(long, short)]
    pub quiet: bool,
    /// Say that mail is safe before it is: only so that a test can see that it would notice
    #[arg(long, hide = true)]
    pub unsafe_no_sync: bool,
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// For people
    Human,
    /// For programs: an object a line
    Json,
}

/// `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad send someone@example.org < message.eml
  postroad send -t -i --file message.eml
  postroad send -f alerts@example.com --server 192.0.2.25:25 ops@example.org < alert.txt

Lines may end with LF or CRLF. A Date, From and Message-ID are added where the message has none.
Prints the queue id of each message that was made of it: recipients beyond what the server takes
at once go into a further one. Exit status 0: accepted for all; 1: some recipient was refused;
75: for some recipient it is to be tried later; 69: no server.")]
pub struct Send {
    /// Send to the addresses in To, Cc and Bcc too, and drop Bcc
    #[arg(short = 't')]
    pub from_header: bool,
    /// Who is told of failures; <> for nobody. Without it: the user, at this machine's name
    #[arg(short = 'f', value_name = "SENDER", allow_hyphen_values = true)]
    pub sender: Option<Mailbox>,
    /// Ignored: a line with a single dot never ends a message
    #[arg(short = 'i')]
    pub ignore_dots: bool,
    /// Ignored: options of sendmail, as in -oi
    #[arg(short = 'o', value_name = "OPTION", hide = true)]
    pub option: Vec<String>,
    /// Where to submit it. Without it: to the service of --data, else 127.0.0.1:2525
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<Server>,
    /// The message; without it, standard input
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whom to send it to; one without a domain is at this machine's name
    #[arg(value_name = "RECIPIENT", required_unless_present = "from_header")]
    pub recipients: Vec<Mailbox>,
}

/// An address as it is typed; one without a domain is completed later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mailbox {
    /// `<>`.
    Null,
    /// With its domain.
    Whole(Address),
    /// A local part alone.
    Local(String),
}

impl std::str::FromStr for Mailbox {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
        match bare.parse() {
            Ok(ReversePath::Null) => Ok(Self::Null),
            Ok(ReversePath::Address(address)) => Ok(Self::Whole(address)),
            Err(why) if bare.contains('@') => Err(why.to_string()),
            Err(_) => match format!("{bare}@localhost").parse::<Address>() {
                Ok(_) => Ok(Self::Local(bare.to_owned())),
                Err(why) => Err(why.to_string()),
            },
        }
    }
}

/// `queue`.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// List what waits, a line for each recipient
    #[command(after_help = "\
Examples:
  postroad queue list
  postroad queue list --limit 20
  postroad queue list --json | jq -r .recipient")]
    List {
        /// Messages at most; without it, all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Show a message's recipients, each with what is with it
    #[command(after_help = "Example:\n  postroad queue show 1M88R2YTV0000")]
    Show {
        /// Its queue id
        id: MessageId,
    },
    /// Try messages at once
    #[command(after_help = "\
Examples:
  postroad queue retry 1M88R2YTV0000
  postroad queue retry --all")]
    Retry(Which),
    /// Delete messages, without notice to anyone
    #[command(after_help = "\
Examples:
  postroad queue delete 1M88R2YTV0000
  postroad queue delete --all")]
    Delete(Which),
}

/// Which messages.
#[derive(Debug, Args)]
pub struct Which {
    /// Queue ids
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<MessageId>,
    /// All that are queued
    #[arg(long)]
    pub all: bool,
}

/// `explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad explain 1M88R2YTV0000
  postroad explain someone@example.org
  postroad explain example.org")]
pub struct Explain {
    /// A queue id, an address, or a domain
    #[arg(value_name = "ID|ADDRESS|DOMAIN")]
    pub subject: String,
}

/// `dns`.
#[derive(Debug, Subcommand)]
pub enum Dns {
    /// Find where a domain's mail goes, and show each exchange that led there
    #[command(after_help = "\
Examples:
  postroad dns mx example.org
  postroad dns mx example.org --policy udp-only
  postroad dns mx example.org --policy 0 --server 192.0.2.53 --server [2001:db8::53]:53

No service is needed. Exit status 0: hosts; 1: a verdict for which mail is returned; 75: unresolved.")]
    Mx {
        /// The domain
        domain: Domain,
        /// How to ask
        #[command(flatten)]
        how: How,
    },
    /// Look up the records of a name
    #[command(after_help = "\
Examples:
  postroad dns resolve mx1.example.org AAAA
  postroad dns resolve example.org TXT --policy tcp-only

No service is needed. Exit status 0: records; 1: there are none; 75: unresolved.")]
    Resolve {
        /// The name, which is taken to be absolute
        name: String,
        /// The record type, such as MX, or TYPE99
        #[arg(value_name = "TYPE", value_parser = record_type)]
        rtype: u16,
        /// How to ask
        #[command(flatten)]
        how: How,
    },
}

/// How DNS is asked.
#[derive(Debug, Args)]
pub struct How {
    /// 0 udp-then-tcp, 1 tcp-only, 2 udp-only, by number or name, or adaptive; without it, the running service's
    #[arg(long, value_name = "POLICY")]
    pub policy: Option<Policy>,
    /// A name server to ask, as often as there are; without it, the running service's, or those of resolv.conf
    #[arg(long = "server", value_name = "ADDRESS[:PORT]", value_parser = name_server)]
    pub servers: Vec<SocketAddr>,
}

/// `events`.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events, oldest first
    #[command(after_help = "\
Examples:
  postroad events list
  postroad events list --number 2012 --limit 5
  postroad events list --json")]
    List {
        /// The newest this many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Those of this number only, such as 2012
        #[arg(long, value_name = "N")]
        number: Option<u32>,
    },
}

/// `lab`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postroad lab --list
  postroad lab kb330070")]
pub struct Lab {
    /// The scenario
    #[arg(value_name = "NAME", required_unless_present = "list", conflicts_with = "list")]
    pub name: Option<String>,
    /// List the scenarios there are
    #[arg(long)]
    pub list: bool,
}

fn record_type(text: &str) -> Result<u16, String> {
    postroad_dns::exchange::rtype_from_str(text)
        .ok_or_else(|| "it is no record type: MX, A, AAAA, TXT and others are, or TYPE and a number".into())
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    const DNS_PORT: u16 = 53;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(server), _) => Ok(server),
        (_, Ok(ip)) => Ok(SocketAddr::new(ip, DNS_PORT)),
        _ => Err("it is no address: 192.0.2.53, 192.0.2.53:5300 and [2001:db8::53]:53 are".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    /// The command lines in a text: what stands behind `postroad` up to a pipe, a redirection or a comment.
    fn examples(text: &str) -> Vec<String> {
        let lines = text.lines().map(|line| line.trim().trim_start_matches("$ "));
        let commands = lines.filter(|line| line.starts_with("postroad "));
        commands
            .map(|line| line.split(['|', '<', '#', '&']).next().unwrap_or_default().trim().to_owned())
            .collect()
    }

    fn helps(command: &clap::Command, found: &mut Vec<String>) {
        found.extend(command.get_after_help().map(ToString::to_string));
        command.get_subcommands().for_each(|sub| helps(sub, found));
    }

    #[test]
    fn every_documented_example_parses() {
        let mut texts = vec![include_str!("../../../docs/cli.md").to_owned()];
        helps(&Cli::command(), &mut texts);
        let examples: Vec<String> = texts.iter().flat_map(|text| examples(text)).collect();
        assert!(examples.len() > 40, "only {} examples were found", examples.len());
        for example in examples {
            if let Err(error) = parse(&example) {
                let fine = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
                assert!(fine, "{example}: {error}");
            }
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_refused() {
        let check = |line: &str, why: &str| {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(why), "{line}: {error}");
        };
        check("postroad", "Usage: postroad");
        check("postroad fly", "unrecognized subcommand");
        check("postroad queue retry", "<ID>...");
        check("postroad queue retry --all 1M88R2YTV0000", "cannot be used with");
        check("postroad queue show abc", "not a queue id");
        check("postroad dns mx a..b", "is not a domain name");
        check("postroad dns mx a.example --policy 3", "udp-then-tcp");
        check("postroad dns mx a.example --server dns.example", "it is no address");
        check("postroad dns resolve a.example NONE", "it is no record type");
        check("postroad queue list --limit 0", "1..");
        check("postroad send", "<RECIPIENT>...");
        check("postroad send a@b@c", "the domain is malformed");
        check("postroad send --server host a@b.example", "HOST:PORT");
        check("postroad lab", "<NAME>");
        check("postroad meta set", "<ARGUMENT>...");
        check("postroad meta set a/b 1 --confirm 5", "it is no span");
        check("postroad meta set a/b 1 --attributes INHERITED", "NO_ATTRIBUTES");
        check("postroad meta set a/b 1 --type QWORD", "EXPANDSZ");
        check("postroad meta get a/b --raw --json", "cannot be used with");
        check("postroad meta export --force", "--output");
        check("postroad meta check --yes", "--repair");
        check("postroad meta restore a --version next", "highest");
    }

    #[test]
    fn the_data_folder_may_stand_anywhere() {
        let check = |line: &str, data: &str, json: bool| {
            let cli = parse(line).unwrap();
            assert_eq!((cli.data.to_str(), cli.json), (Some(data), json), "{line}");
        };
        check("postroad status", "./postroad-data", false);
        check("postroad --data d --json queue list", "d", true);
        check("postroad queue --json list --data d", "d", true);
        check("postroad queue list --data=d --json", "d", true);
    }

    #[test]
    fn name_servers() {
        let check = |text: &str, expected: &str| assert_eq!(name_server(text).unwrap().to_string(), expected);
        check("192.0.2.53", "192.0.2.53:53");
        check("192.0.2.53:5300", "192.0.2.53:5300");
        check("2001:db8::53", "[2001:db8::53]:53");
        check("[2001:db8::53]", "[2001:db8::53]:53");
        check("[2001:db8::53]:5300", "[2001:db8::53]:5300");
    }

    #[test]
    fn sendmail_lines() {
        let send = |line: &str| match parse(line).unwrap().verb {
            Verb::Send(send) => send,
            other => panic!("{other:?}"),
        };
        let usual = send("postroad send -oi -t -f <>");
        assert_eq!((usual.from_header, usual.sender), (true, Some(Mailbox::Null)));
        let cron = send("postroad send -i -fcron root a@b.example");
        assert_eq!(cron.sender, Some(Mailbox::Local("cron".into())));
        assert_eq!(
            cron.recipients,
            [Mailbox::Local("root".into()), Mailbox::Whole("a@b.example".parse().unwrap())]
        );
    }
}
