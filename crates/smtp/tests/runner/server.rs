//! Plays a dialog to a server. What nobody answers in the text is answered with yes.

use super::script::{CONTENT, Deeds, Input, Script, Step, reply, span};
use postroad_mail::address::ForwardPath;
use postroad_mail::envelope::{BodyKind, Notify};
use postroad_mail::id::MessageId;
use postroad_mail::reply::Reply;
use postroad_mail::time::Now;
use postroad_smtp::server::{
    RecipientAnswer, Server, ServerInput, ServerOutput, ServerSettings, Transaction,
};
use std::sync::Arc;

/// The first step that went otherwise than written.
pub fn run(script: &Script, cut: &dyn Fn(&[u8]) -> Vec<Vec<u8>>) -> Option<String> {
    let mut now = Now::default();
    let mut server = Server::new(Arc::new(settings(script)), "192.0.2.7:4025".parse().unwrap(), now);
    for step in &script.steps {
        let mut deeds = Deeds::default();
        match &step.input {
            Input::Start => settle(&mut server, now, step, &mut deeds),
            Input::Write(bytes) => {
                for piece in cut(bytes) {
                    server.handle(now, ServerInput::Bytes(&piece));
                    settle(&mut server, now, step, &mut deeds);
                }
            }
            Input::Told(told) => {
                match told.split_once(' ').unwrap_or((told, "")) {
                    ("eof", _) => server.handle(now, ServerInput::Eof),
                    ("shutdown", _) => server.handle(now, ServerInput::Shutdown),
                    ("tls", _) => {
                        let (protocol, cipher) = ("TLSv1.3".to_owned(), "AES".to_owned());
                        server.handle(now, ServerInput::TlsUp { protocol, cipher });
                    }
                    ("wait", time) => {
                        now = now.later(span(time));
                        if server.deadline().is_some_and(|deadline| deadline <= now.mono) {
                            server.handle(now, ServerInput::Tick);
                        }
                    }
                    other => panic!("line {}: {other:?}", step.line),
                }
                settle(&mut server, now, step, &mut deeds);
            }
        }
        if let Some(difference) = deeds.difference(step) {
            return Some(difference);
        }
    }
    None
}

fn settings(script: &Script) -> ServerSettings {
    let mut settings = ServerSettings {
        name: "mail.example".parse().unwrap(),
        size_max: 1000,
        session_size_max: 0,
        recipients_max: 100,
        errors_max: 20,
        starttls: true,
        idle: span("10m"),
    };
    for (name, value) in &script.settings {
        match name.as_str() {
            "size_max" => settings.size_max = value.parse().unwrap(),
            "session_size_max" => settings.session_size_max = value.parse().unwrap(),
            "recipients_max" => settings.recipients_max = value.parse().unwrap(),
            "errors_max" => settings.errors_max = value.parse().unwrap(),
            "starttls" => settings.starttls = value.parse().unwrap(),
            "idle" => settings.idle = span(value),
            other => panic!("unknown setting {other}"),
        }
    }
    settings
}

/// Drains the outputs, and answers each question.
fn settle(server: &mut Server, now: Now, step: &Step, deeds: &mut Deeds) {
    while let Some(output) = server.poll() {
        let event = match &output {
            ServerOutput::Send(bytes) => {
                deeds.write(bytes);
                continue;
            }
            ServerOutput::StartTls => "! starttls".to_owned(),
            ServerOutput::Recipient(path) => format!("? recipient {}", path_text(path)),
            ServerOutput::Begin(transaction) => format!("? begin {}", transaction_text(transaction)),
            ServerOutput::Content(bytes) => format!("{CONTENT}{}", bytes.escape_ascii()),
            ServerOutput::End(facts) => {
                format!("? end {}{}", facts.size, if facts.eight_bit { " 8bit" } else { "" })
            }
            ServerOutput::Abort(cause) => {
                // How much of it was handed out before depends on how it was cut.
                deeds.events.pop_if(|last| last.starts_with(CONTENT));
                format!("! abort {cause:?}")
            }
            ServerOutput::Close => "! close".to_owned(),
        };
        let answer = step.answers.get(deeds.events.len()).cloned().flatten();
        deeds.tell(event);
        let refusal: Option<Reply> = answer.map(|answer| reply(&answer));
        match output {
            ServerOutput::Recipient(_) => {
                let answer = refusal.map_or(RecipientAnswer::Accept, RecipientAnswer::Refuse);
                server.handle(now, ServerInput::Recipient(answer));
            }
            ServerOutput::Begin(_) => server.handle(now, ServerInput::Begun(refusal.map_or(Ok(()), Err))),
            ServerOutput::End(_) => {
                let id = MessageId::default();
                server.handle(now, ServerInput::Sealed(refusal.map_or(Ok(id), Err)));
            }
            _ => {}
        }
    }
}

fn path_text(path: &ForwardPath) -> String {
    match path {
        ForwardPath::Postmaster => "postmaster".to_owned(),
        ForwardPath::Mailbox(address) => address.to_string(),
    }
}

/// Sender and recipients, then what was said about them.
fn transaction_text(transaction: &Transaction) -> String {
    let sender = &transaction.sender;
    let mut words = vec![sender.path.to_string()];
    for recipient in &transaction.recipients {
        let mut word = path_text(&recipient.path);
        if recipient.notify != Notify::Unset {
            word += &format!(" notify={:?}", recipient.notify);
        }
        if let Some(orcpt) = &recipient.orcpt {
            word += &format!(" orcpt={orcpt}");
        }
        words.push(word);
    }
    words.push(format!("helo={}", transaction.helo));
    if !transaction.esmtp {
        words.push("smtp".to_owned());
    }
    if let Some(tls) = &transaction.tls {
        words.push(format!("tls={}", tls.protocol));
    }
    if let Some(size) = transaction.declared_size {
        words.push(format!("size={size}"));
    }
    if sender.body == BodyKind::EightBit {
        words.push("8bit".to_owned());
    }
    if let Some(ret) = sender.ret {
        words.push(format!("ret={ret:?}"));
    }
    if let Some(envid) = &sender.envid {
        words.push(format!("envid={envid}"));
    }
    words.join(" ")
}
