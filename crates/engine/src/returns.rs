//! Notifications of failure, as drafts of our own.

use crate::delivery::{Failure, NO_8BITMIME};
use crate::queue::Draft;
use crate::route;
use postroad_mail::address::ReversePath;
use postroad_mail::dsn;
use postroad_mail::envelope::{BodyKind, Recipient, Ret, Sender};
use postroad_mail::time::Now;
use postroad_metabase::settings::Settings;
use postroad_spool::record::{Content, Message};
use std::sync::Arc;

/// Octets of a message's content that are read for its notification: the most that one returns, and a header section of
/// any size that we accept as one.
pub(crate) const HEAD_MAX: usize = 256 * 1024;

/// The notification about recipients that failed, to the sender; `None` when there is no one to tell. `head` is the
/// content or its first `HEAD_MAX` octets.
pub(crate) fn notification(
    settings: &Settings,
    now: Now,
    message: &Message,
    head: &[u8],
    failed: &[(u32, Failure)],
) -> Option<Draft> {
    let to = message.sender.path.address()?;
    let about = |(recipient, failure): &(u32, Failure)| {
        message.recipients.get(*recipient as usize).map(|recipient| dsn::Failed {
            recipient,
            status: failure.status,
            cause: failure.cause.clone(),
            remote: failure.remote.as_deref().map(name_of),
            reply: failure.reply.clone(),
        })
    };
    let failed: Vec<dsn::Failed<'_>> = failed.iter().filter_map(about).collect();
    if failed.is_empty() {
        return None;
    }
    // A path without 8BITMIME would stop the notification as it did the message: it returns the header section alone.
    let seven_bit = failed.iter().any(|failed| failed.status == NO_8BITMIME);
    let mut sender = message.sender.clone();
    if seven_bit {
        sender.ret = Some(Ret::Headers);
    }
    let original = [message.trace.as_bytes(), head].concat();
    let bytes = dsn::failure(&dsn::Report {
        reporting: &settings.fqdn,
        arrived: message.id.given_at(),
        now: now.wall,
        id: message.id,
        sender: &sender,
        failed: &failed,
        original: &original,
        original_complete: head.len() as u64 == message.size,
    });
    let body = if bytes.is_ascii() { BodyKind::SevenBit } else { BodyKind::EightBit };
    Some(Draft {
        sender: Sender { body, ..Sender::plain(ReversePath::Null) },
        recipients: vec![Recipient::plain(to.clone(), route::next_hop(settings, to))],
        trace_head: format!("Received: by {} (Postroad)", settings.fqdn),
        size: bytes.len() as u64,
        content: Content::Memory(Arc::new(bytes)),
        client: String::from("postroad"),
        generation: settings.generation,
    })
}

/// A host's name for programs (RFC 3464 §2.3.5, §9.3), of a host as it is told to people: `mx.example [192.0.2.1]:25`.
fn name_of(host: &str) -> String {
    let name = host.split(' ').next().unwrap_or_default();
    name.split_inclusive(']').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postroad_mail::id::MessageId;
    use postroad_mail::reply::Status;
    use postroad_mail::time::{Mono, Wall};

    #[test]
    fn programs_are_told_the_name_of_the_host() {
        let check = |host: &str, expected: &str| {
            let settings = Settings::fresh(std::path::Path::new("/data"), "mail.example");
            let to: postroad_mail::address::Address = "u@b.example".parse().unwrap();
            let hop = route::next_hop(&settings, &to);
            let message = Message {
                id: MessageId(1),
                sender: Sender::plain(ReversePath::Address("s@a.example".parse().unwrap())),
                recipients: vec![Recipient::plain(to, hop)],
                trace: String::new(),
                size: 0,
            };
            let failure = Failure {
                status: Status::new(5, 1, 1),
                cause: format!("{host} refused the recipient: 550 No"),
                remote: Some(host.to_owned()),
                reply: None,
            };
            let now = Now { mono: Mono(0), wall: Wall(1_795_590_028_000) };
            let draft = notification(&settings, now, &message, b"", &[(0, failure)]).unwrap();
            let Content::Memory(octets) = draft.content else { panic!("not in memory") };
            let text = String::from_utf8_lossy(&octets).into_owned();
            let told = text.lines().find_map(|line| line.strip_prefix("Remote-MTA: dns; "));
            assert_eq!(told, Some(expected));
        };
        check("mx.b.example [192.0.2.1]:25", "mx.b.example");
        check("[192.0.2.1]:25", "[192.0.2.1]");
        check("[2001:db8::1]:25", "[2001:db8::1]");
    }
}
