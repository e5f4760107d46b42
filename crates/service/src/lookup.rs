//! One lookup with real sockets, for the command line; no service is needed.

use crate::clock::Clock;
use crate::resolver::DnsShell;
use crate::{configuration, data};
use ipnet::IpNet;
use postroad_dns::answer::{Answer, Question, Verdict};
use postroad_dns::policy::Policy;
use postroad_dns::settings::{Settings, Timeouts};
use postroad_mail::domain::Domain;
use postroad_metabase::settings::Settings as BaseSettings;
use std::net::SocketAddr;
use std::sync::Arc;

/// What to ask, and whom.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// The question.
    pub question: Question,
    /// Under which policy.
    pub policy: Policy,
    /// The name servers; empty: those of the system's resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Networks to which no mail goes.
    pub refused: Vec<IpNet>,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// Looks something up.
///
/// # Errors
/// In words, when it could not even be tried: no runtime, no randomness.
pub fn lookup(options: LookupOptions) -> Result<Arc<Answer>, String> {
    let seed = data::seed().map_err(|error| format!("the system has no randomness: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime does not start: {error}"))?;
    let servers = if options.servers.is_empty() { configuration::system_servers() } else { options.servers };
    let settings =
        Settings { servers, timeouts: options.timeouts, refused: options.refused, ..Settings::default() };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let (shell, _news) = DnsShell::start(settings, Clock::start(), seed);
        let answer = shell.find(options.question, options.policy).await;
        answer.ok_or_else(|| String::from("the resolver ended without an answer"))
    })
}

/// What DNS says of a host that settings name.
pub(crate) enum Presence {
    /// It has an address.
    There,
    /// It has none, as far as DNS says for sure.
    Missing(&'static str),
    /// Nobody could say.
    Unknown(String),
}

/// Looks a host up that settings name, as they say.
pub(crate) async fn look_for(settings: &BaseSettings, host: &Domain) -> Presence {
    let seed = match data::seed() {
        Ok(seed) => seed,
        Err(error) => return Presence::Unknown(format!("the system has no randomness: {error}")),
    };
    let policy = Policy::from_property(settings.dns.policy).unwrap_or_default();
    let (shell, _news) = DnsShell::start(configuration::dns_settings(settings, &[]), Clock::start(), seed);
    let Some(answer) = shell.find(Question::Host(host.clone()), policy).await else {
        return Presence::Unknown("the resolver ended without an answer".into());
    };
    match &answer.verdict {
        Verdict::NoSuchDomain => Presence::Missing("no such domain"),
        Verdict::NoHost | Verdict::NoRecords => Presence::Missing("it has no address"),
        Verdict::Unresolved(cause) => Presence::Unknown(cause.text.trim_end_matches('.').to_owned()),
        // A host that is ourselves is there, and what is asked is no MX.
        Verdict::Hosts(_) | Verdict::Records | Verdict::LoopsBack | Verdict::NoMailService => Presence::There,
    }
}
