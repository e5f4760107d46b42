//! Plays a dialog to a client.

use super::script::{Deeds, Input, Script, span, unescape};
use postroad_mail::envelope::{BodyKind, Notify, Recipient, Ret, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::time::Now;
use postroad_smtp::client::{
    Client, ClientInput, ClientOutput, ClientSettings, ClientTimeouts, Delivery, RecipientResult, Session,
    Tls,
};
use std::sync::Arc;

const QUESTION: &str = "? content";

/// The first step that went otherwise than written.
pub fn run(script: &Script, cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) -> Option<String> {
    let (settings, tls) = settings(script);
    let mut now = Now::default();
    let mut client = Client::new(Arc::new(settings), tls, now);
    for step in &script.steps {
        let mut deeds = Deeds::default();
        match &step.input {
            Input::Start => drain(&mut client, &mut deeds),
            Input::Write(bytes) => {
                for piece in cut(bytes) {
                    client.handle(now, ClientInput::Bytes(&piece));
                    drain(&mut client, &mut deeds);
                }
            }
            Input::Told(told) => {
                let (verb, rest) = told.split_once(' ').unwrap_or((told, ""));
                if verb == "wait" {
                    now = now.later(span(rest));
                }
                tell(&mut client, now, verb, rest, cut, &mut deeds);
                drain(&mut client, &mut deeds);
            }
        }
        if let Some(difference) = deeds.difference(step) {
            return Some(difference);
        }
    }
    None
}

fn settings(script: &Script) -> (ClientSettings, Tls) {
    let helo = "mail.example".parse().unwrap();
    let mut settings = ClientSettings { helo, timeouts: ClientTimeouts::default(), pipelining: true };
    let mut tls = Tls::Opportunistic;
    for (name, value) in &script.settings {
        match (name.as_str(), value.as_str()) {
            ("pipelining", value) => settings.pipelining = value.parse().unwrap(),
            ("tls", "required") => tls = Tls::Required,
            ("tls", "off") => tls = Tls::Off,
            other => panic!("unknown setting {other:?}"),
        }
    }
    (settings, tls)
}

/// One `>` line. Content is given in pieces too, each when the last was taken.
fn tell(
    client: &mut Client,
    now: Now,
    verb: &str,
    rest: &str,
    cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>,
    deeds: &mut Deeds,
) {
    match verb {
        "tls" => {
            let (protocol, cipher) = ("TLSv1.3".to_owned(), "AES".to_owned());
            client.handle(now, ClientInput::TlsUp { protocol, cipher });
        }
        "tls-failed" => client.handle(now, ClientInput::TlsFailed(rest.to_owned())),
        "closed" => client.handle(now, ClientInput::Closed(None)),
        "broken" => client.handle(now, ClientInput::Closed(Some(rest.to_owned()))),
        "deliver" => client.handle(now, ClientInput::Deliver(Arc::new(delivery(rest)))),
        "quit" => client.handle(now, ClientInput::Quit),
        "unreadable" => client.handle(now, ClientInput::ContentFailed(rest.to_owned())),
        "content" | "last" => {
            let pieces = cut(&unescape(rest));
            for (at, bytes) in pieces.iter().enumerate() {
                let is_last = at + 1 == pieces.len();
                client.handle(now, ClientInput::Content { bytes, last: is_last && verb == "last" });
                if !is_last {
                    // The question for the next piece is not written in the dialog.
                    drain(client, deeds);
                    deeds.events.pop_if(|last| last == QUESTION);
                }
            }
            if pieces.is_empty() {
                client.handle(now, ClientInput::Content { bytes: &[], last: verb == "last" });
            }
        }
        "wait" => {
            if client.deadline().is_some_and(|deadline| deadline <= now.mono) {
                client.handle(now, ClientInput::Tick);
            }
        }
        other => panic!("unknown input {other}"),
    }
}

/// `from=a@b.c to=d@e.f;notify=NEVER size=5 8bit ret=FULL envid=x`
fn delivery(text: &str) -> Delivery {
    let mut sender = Sender::plain("a@b.example".parse().unwrap());
    let (mut recipients, mut size, mut eight_bit) = (Vec::new(), 100, false);
    for word in text.split(' ') {
        match word.split_once('=').unwrap_or((word, "")) {
            ("from", path) => sender.path = path.parse().unwrap(),
            ("to", recipient) => recipients.push(recipient_of(recipient)),
            ("size", octets) => size = octets.parse().unwrap(),
            ("8bit", _) => {
                eight_bit = true;
                sender.body = BodyKind::EightBit;
            }
            ("ret", kind) => sender.ret = Some(if kind == "FULL" { Ret::Full } else { Ret::Headers }),
            ("envid", envid) => sender.envid = Some(envid.to_owned()),
            other => panic!("{other:?}"),
        }
    }
    Delivery { sender, recipients, size, eight_bit }
}

fn recipient_of(text: &str) -> Recipient {
    let mut words = text.split('|');
    let mut recipient = Recipient::plain(words.next().unwrap().parse().unwrap(), NextHop::Drop);
    for word in words {
        match word.split_once('=').unwrap() {
            ("notify", "NEVER") => recipient.notify = Notify::Never,
            ("notify", list) => {
                let has = |word: &str| list.split(',').any(|item| item == word);
                recipient.notify =
                    Notify::On { success: has("SUCCESS"), failure: has("FAILURE"), delay: has("DELAY") };
            }
            ("orcpt", orcpt) => recipient.orcpt = Some(orcpt.to_owned()),
            other => panic!("{other:?}"),
        }
    }
    recipient
}

fn drain(client: &mut Client, deeds: &mut Deeds) {
    while let Some(output) = client.poll() {
        match output {
            ClientOutput::Send(bytes) => deeds.write(&bytes),
            ClientOutput::StartTls => deeds.tell("! starttls".to_owned()),
            ClientOutput::Ready(session) => deeds.tell(format!("! ready {}", session_text(&session))),
            ClientOutput::NeedContent => deeds.tell(QUESTION.to_owned()),
            ClientOutput::Done(results) => {
                for result in results {
                    deeds.tell(format!("! {}", result_text(&result)));
                }
            }
            ClientOutput::HostFailed(failure) => {
                deeds.tell(format!("! failed {:?}: {}", failure.kind, failure.text))
            }
            ClientOutput::Close => deeds.tell("! close".to_owned()),
        }
    }
}

fn session_text(session: &Session) -> String {
    let offered = &session.extensions;
    let mut words = vec![session.name.clone()];
    let flags = [
        (offered.pipelining, "pipelining"),
        (offered.eight_bit, "8bit"),
        (offered.dsn, "dsn"),
        (offered.starttls, "starttls"),
        (!offered.esmtp, "smtp"),
    ];
    words.extend(flags.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()));
    words.extend(offered.size.map(|size| format!("size={size}")));
    words.extend(session.tls.as_ref().map(|tls| format!("tls={}", tls.protocol)));
    words.join(" ")
}

fn result_text(result: &RecipientResult) -> String {
    match result {
        RecipientResult::Delivered(reply) => format!("delivered: {reply}"),
        RecipientResult::Refused { stage, reply } => format!("refused at {stage:?}: {reply}"),
        RecipientResult::Deferred { stage, reply } => format!("deferred at {stage:?}: {reply}"),
        RecipientResult::Lost(failure) => {
            format!("lost at {:?}, {:?}: {}", failure.stage, failure.kind, failure.text)
        }
        RecipientResult::EightBitNotOffered => "8bit not offered".to_owned(),
    }
}
