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
            remote: failure.remote.clone(),
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
