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

/// Why a host that settings name has no address, as far as DNS says for sure; asked by those settings.
pub(crate) async fn is_missing(settings: &BaseSettings, host: &Domain) -> Option<&'static str> {
    let seed = data::seed().ok()?;
    let policy = Policy::from_property(settings.dns.policy).unwrap_or_default();
    let (shell, _news) = DnsShell::start(configuration::dns_settings(settings, &[]), Clock::start(), seed);
    let question = Question::Host(host.clone());
    let answer = shell.find(question, policy).await?;
    match &answer.verdict {
        Verdict::NoSuchDomain => Some("no such domain"),
        Verdict::NoHost => Some("it has no address"),
        _ => None,
    }
}
