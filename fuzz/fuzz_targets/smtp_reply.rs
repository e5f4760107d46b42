//! Any octets, cut anyhow, to a client that always has one more message to deliver.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postroad_mail::envelope::{Recipient, Sender};
use postroad_mail::hop::NextHop;
use postroad_mail::time::Now;
use postroad_smtp::client::{
    Client, ClientInput, ClientOutput, ClientSettings, ClientTimeouts, Delivery, RecipientResult, Tls,
};
use std::sync::Arc;

fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (choices, writes) = input;
    let settings = ClientSettings {
        helo: "mail.example".parse().expect("a domain"),
        timeouts: ClientTimeouts::default(),
        pipelining: choices & 1 == 0,
    };
    let tls = if choices & 2 == 0 { Tls::Opportunistic } else { Tls::Required };
    let recipient = |text: &str| Recipient::plain(text.parse().expect("an address"), NextHop::Drop);
    let delivery = Arc::new(Delivery {
        sender: Sender::plain("a@b.example".parse().expect("an address")),
        recipients: vec![recipient("d@e.example"), recipient("f@e.example")],
        size: 1,
        eight_bit: choices & 4 == 0,
    });
    let now = Now::default();
    let mut client = Client::new(Arc::new(settings), tls, now);
    let (mut delivering, mut secure, mut closed) = (false, false, false);
    for write in writes {
        client.handle(now, ClientInput::Bytes(&write));
        while let Some(output) = client.poll() {
            assert!(!closed, "{output:?} after Close");
            match output {
                ClientOutput::Ready(session) => {
                    assert!(!delivering && (secure || tls != Tls::Required));
                    // What the host cannot take is given back without a word sent, and Ready comes again at once: once is enough.
                    if session.extensions.eight_bit || !delivery.eight_bit {
                        delivering = true;
                        client.handle(now, ClientInput::Deliver(Arc::clone(&delivery)));
                    }
                }
                ClientOutput::NeedContent => {
                    client.handle(now, ClientInput::Content { bytes: b"x", last: choices & 8 == 0 });
                    if choices & 8 != 0 {
                        client.handle(now, ClientInput::Content { bytes: b".", last: true });
                    }
                }
                ClientOutput::Done(results) => {
                    assert!(delivering && results.len() == delivery.recipients.len());
                    assert!(results.iter().all(|result| match result {
                        RecipientResult::Delivered(reply) => reply.code / 100 == 2,
                        RecipientResult::Refused { reply, .. } => reply.code / 100 == 5,
                        _ => true,
                    }));
                    delivering = false;
                }
                ClientOutput::StartTls => {
                    secure = true;
                    client.handle(
                        now,
                        ClientInput::TlsUp { protocol: "TLSv1.3".to_owned(), cipher: "AES".to_owned() },
                    );
                }
                ClientOutput::HostFailed(_) => assert!(!delivering),
                ClientOutput::Close => {
                    assert!(!delivering, "each Deliver has one Done");
                    closed = true;
                }
                ClientOutput::Send(_) => {}
            }
        }
        assert!(client.octets_held() <= 64 * 1024);
    }
});
