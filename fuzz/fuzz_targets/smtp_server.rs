//! Any octets, cut anyhow, to a server whose questions are answered yes or no by the input itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_mail::id::MessageId;
use postroad_mail::reply::Reply;
use postroad_mail::time::Now;
use postroad_smtp::server::{
    COMMAND_LINE_MAX, RecipientAnswer, Server, ServerInput, ServerOutput, ServerSettings,
};
use std::sync::Arc;
use std::time::Duration;

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (answers, writes) = input;
    let settings = ServerSettings {
        name: "mx.example".parse().expect("a domain"),
        size_max: 1000,
        session_size_max: 3000,
        recipients_max: 3,
        errors_max: 20,
        starttls: true,
        idle: Duration::from_secs(600),
    };
    let now = Now::default();
    let mut server = Server::new(Arc::new(settings), "192.0.2.7:4025".parse().expect("an address"), now);
    // Whether content is due, and how much came: an end must match what was handed out.
    let mut content: Option<u64> = None;
    let mut closed = false;
    for write in writes {
        server.handle(now, ServerInput::Bytes(&write));
        while let Some(output) = server.poll() {
            assert!(!closed, "{output:?} after Close");
            let refusal = || Reply::new(451, None, "no");
            let answer = match output {
                ServerOutput::Recipient(_) if answers & 1 == 0 => {
                    ServerInput::Recipient(RecipientAnswer::Accept)
                }
                ServerOutput::Recipient(_) => ServerInput::Recipient(RecipientAnswer::Refuse(refusal())),
                ServerOutput::Begin(transaction) => {
                    assert!(!transaction.recipients.is_empty() && content.is_none());
                    let granted = answers & 2 == 0;
                    content = granted.then_some(0);
                    ServerInput::Begun(if granted { Ok(()) } else { Err(refusal()) })
                }
                ServerOutput::Content(bytes) => {
                    let size = content.as_mut().expect("content only after Begin was granted");
                    *size += bytes.len() as u64;
                    continue;
                }
                ServerOutput::End(facts) => {
                    assert_eq!(content.take(), Some(facts.size));
                    ServerInput::Sealed(if answers & 4 == 0 {
                        Ok(MessageId::default())
                    } else {
                        Err(refusal())
                    })
                }
                ServerOutput::Abort(_) => {
                    assert!(content.take().is_some(), "Abort only after Begin was granted");
                    continue;
                }
                ServerOutput::StartTls => {
                    ServerInput::TlsUp { protocol: "TLSv1.3".to_owned(), cipher: "AES".to_owned() }
                }
                ServerOutput::Close => {
                    closed = true;
                    continue;
                }
                ServerOutput::Send(bytes) => {
                    assert!(bytes.ends_with(b"\r\n"));
                    continue;
                }
            };
            server.handle(now, answer);
        }
        assert!(server.octets_held() <= COMMAND_LINE_MAX);
    }
});
