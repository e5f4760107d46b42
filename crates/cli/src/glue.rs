//! The edge to the shells: what the verbs ask of `service` and `lab`.

use crate::args::{LogForm, Serve};
use crate::ending::{TRY_LATER, Trouble, USAGE};
use postroad_control::answer::{Done, Explanation, Status};
use postroad_control::meta::MetaRequest;
use postroad_control::meta_answer::MetaItem;
use postroad_control::{Failed, Item, Request};
use postroad_dns::answer::{Answer, Question};
use postroad_dns::policy::Policy;
use postroad_dns::settings::Timeouts;
use postroad_mail::domain::Domain;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Runs the service until it is ended.
pub fn serve(data: &Path, json: bool, serve: Serve) -> Result<(), Trouble> {
    let log = match serve.log.unwrap_or(if json { LogForm::Json } else { LogForm::Human }) {
        LogForm::Human => postroad_service::LogForm::Human,
        LogForm::Json => postroad_service::LogForm::Json,
    };
    let options = postroad_service::ServeOptions {
        data: data.to_owned(),
        config: serve.config,
        log,
        unsafe_no_sync: serve.unsafe_no_sync,
        quiet: serve.quiet,
    };
    postroad_service::run(options).map_err(|error| Trouble::Says(error.exit_status(), error.to_string()))
}

/// Edits the metabase on the whole terminal; gives the exit status.
pub fn edit(data: &Path, read_only: bool) -> Result<u8, Trouble> {
    let no_terminal = |what: &str| {
        Trouble::Says(USAGE, format!("metaedit needs a terminal: {what}. Elsewhere use `postroad meta`."))
    };
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(no_terminal("this is none"));
    }
    let options = postroad_tui::Options {
        author: crate::person::user(),
        read_only,
        connected: data.display().to_string(),
    };
    let mut session = Session(postroad_service::ask::Session::new(data));
    // What is not there is said on a line, not on a screen.
    session.0.ask(&MetaRequest::Tree { path: String::from("/"), depth: 0 }, &mut |_| {})?;
    postroad_tui::run(&mut session, &options).map_err(|error| no_terminal(&error.to_string()))
}

/// Whom the editor asks.
struct Session(postroad_service::ask::Session);

impl postroad_tui::Metabase for Session {
    fn ask(&mut self, request: &MetaRequest, each: &mut dyn FnMut(MetaItem)) -> Result<(), Failed> {
        self.0.ask(request, each)
    }

    fn service(&self) -> Option<u32> {
        self.0.service()
    }

    fn let_go(&mut self) {
        self.0.let_go();
    }
}

/// Asks the service, or the store where none runs, and hands each part of the answer to `each`.
pub fn ask(
    data: &Path,
    request: &Request,
    each: &mut dyn FnMut(Item) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut trouble = None;
    postroad_service::ask::ask(data, request, &mut |item| {
        if trouble.is_none() {
            trouble = each(item).err();
        }
    })?;
    trouble.map_or(Ok(()), Err)
}

/// Asks what has one answer, which `pick` knows.
pub fn ask_one<T>(data: &Path, request: &Request, pick: fn(Item) -> Option<T>) -> Result<T, Trouble> {
    let mut found = None;
    ask(data, request, &mut |item| {
        found = Some(pick(item).ok_or_else(stranger)?);
        Ok(())
    })?;
    found.ok_or_else(stranger)
}

/// For `ask_one`: a status.
pub fn status(item: Item) -> Option<Status> {
    match item {
        Item::Status(status) => Some(*status),
        Item::Recipient(_) | Item::Done(_) | Item::Explanation(_) | Item::Event(_) | Item::Meta(_) => None,
    }
}

/// For `ask_one`: what was done.
pub fn done(item: Item) -> Option<Done> {
    match item {
        Item::Done(done) => Some(done),
        Item::Status(_) | Item::Recipient(_) | Item::Explanation(_) | Item::Event(_) | Item::Meta(_) => None,
    }
}

/// For `ask_one`: a story.
pub fn explanation(item: Item) -> Option<Explanation> {
    match item {
        Item::Explanation(explanation) => Some(explanation),
        Item::Status(_) | Item::Recipient(_) | Item::Done(_) | Item::Event(_) | Item::Meta(_) => None,
    }
}

/// The service answered with something that was not asked for.
pub fn stranger() -> Trouble {
    let what =
        "the service answered something else than was asked. Use the postroad program that the service runs.";
    Trouble::Says(TRY_LATER, what.into())
}

/// Where the service of a data folder takes mail.
pub fn binding(data: &Path) -> Option<SocketAddr> {
    postroad_service::ask::binding(data)
}

/// How the running service, if there is one, asks a question: under which policy, and which name servers.
pub fn dns_of_service(data: &Path, question: &Question) -> Option<(Policy, Vec<SocketAddr>)> {
    let status = ask_one(data, &Request::Status, status).ok()?;
    let servers = status.dns_servers.iter().filter_map(|server| server.server.parse().ok()).collect();
    let own = match question {
        Question::NextHop(domain) => policy_of_domain(data, domain),
        Question::Host(_) | Question::Records(..) => None,
    };
    Some((own.or_else(|| status.dns_policy.parse().ok()).unwrap_or_default(), servers))
}

/// The policy that a domain has of its own; none where it has no key, or nothing says.
fn policy_of_domain(data: &Path, domain: &Domain) -> Option<Policy> {
    let path = format!("/LM/SmtpSvc/1/Domain/{domain}");
    let request = MetaRequest::Get { path, property: String::from("SmtpUseTcpDns"), why: false };
    let mut policy = None;
    let mut each = |item| {
        if let Item::Meta(MetaItem::Value(row)) = item {
            policy = row.record.and_then(|record| record.value.first()?.parse().ok());
        }
        Ok(())
    };
    ask(data, &Request::Meta(request), &mut each).ok()?;
    policy
}

/// One DNS lookup. Nothing is refused: what is shown is what DNS says.
pub fn lookup(question: Question, policy: Policy, servers: Vec<SocketAddr>) -> Result<Arc<Answer>, Trouble> {
    let options = postroad_service::lookup::LookupOptions {
        question,
        policy,
        servers,
        refused: Vec::new(),
        timeouts: Timeouts::default(),
    };
    postroad_service::lookup::lookup(options).map_err(|what| Trouble::Says(TRY_LATER, what))
}
