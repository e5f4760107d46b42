//! The other ends of a scenario's mail: a host that takes every message, and a client that hands one in.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A mail host that takes every message and remembers for whom.
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    recipients: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let recipients = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (taken, stopped) = (Arc::clone(&recipients), Arc::clone(&stop));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || take_mail(&stream, &taken));
            }
        });
        Ok(Self { address, recipients, stop })
    }

    /// Whether a message for this recipient has come.
    pub(super) fn has(&self, recipient: &str) -> bool {
        let recipients = self.recipients.lock().unwrap_or_else(PoisonError::into_inner);
        recipients.iter().any(|taken| taken == recipient)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn take_mail(stream: &TcpStream, taken: &Mutex<Vec<String>>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let mut writer = stream;
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes()).ok();
    say("220 mail.lab.example ESMTP")?;
    let mut recipients = Vec::new();
    while let Some(Ok(line)) = lines.next() {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "RCPT" => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                recipients.push(address.to_owned());
                say("250 2.1.5 Ok")?;
            }
            "DATA" => {
                say("354 Go on")?;
                while lines.next()?.ok()? != "." {}
                taken.lock().unwrap_or_else(PoisonError::into_inner).append(&mut recipients);
                say("250 2.0.0 Taken")?;
            }
            "QUIT" => return say("221 2.0.0 Bye"),
            _ => say("250 2.0.0 Ok")?,
        }
    }
    None
}

/// Hands a message in; returns its queue id.
pub(super) fn send(service: SocketAddr, recipient: &str) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&service, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut writer = &stream;
    let mut ask = |text: &str, code: &str| -> io::Result<String> {
        if !text.is_empty() {
            writer.write_all(format!("{text}\r\n").as_bytes())?;
        }
        let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        if line.starts_with(code) {
            Ok(line)
        } else {
            Err(io::Error::other(format!("{text:?} was answered {line:?}")))
        }
    };
    ask("", "220")?;
    ask("HELO client.lab.example", "250")?;
    ask("MAIL FROM:<anna@sender.example>", "250")?;
    ask(&format!("RCPT TO:<{recipient}>"), "250")?;
    ask("DATA", "354")?;
    let reply = ask(
        &format!("From: anna@sender.example\r\nTo: {recipient}\r\nSubject: lab\r\n\r\nHello.\r\n."),
        "250",
    )?;
    ask("QUIT", "221")?;
    let id = reply.rsplit(' ').next().unwrap_or_default();
    Ok(id.to_owned())
}
