//! Where mail ends: SMTP servers of others that keep what comes.

use crate::client::python;
use crate::ports::Port;
use crate::proc::{Process, find};
use crate::{client, wait};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A message as a sink saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The address it came to: which host of an MX set.
    pub local: IpAddr,
    /// What the client called itself.
    pub hello: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// MAIL's path; empty for `<>`.
    pub from: String,
    /// MAIL's parameters.
    pub from_options: Vec<String>,
    /// Recipients, in the order of their RCPT.
    pub to: Vec<String>,
    /// The content, octet for octet.
    pub content: Vec<u8>,
}

impl Received {
    /// The value of a header field (the first of that name), unfolded and trimmed.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.content, name)
    }

    /// What follows the first empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        let end = self
            .content
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .map_or(self.content.len(), |at| at + 4);
        &self.content[end..]
    }
}

/// The value of the first header field of that name, unfolded and trimmed.
#[must_use]
pub fn header(content: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

/// aiosmtpd, at any number of loopback addresses and one port.
#[derive(Debug)]
pub struct Sink {
    port: Port,
    record: PathBuf,
    _process: Process,
    _dir: TempDir,
}

impl Sink {
    /// Listens at `addresses`; `options` are those of `python/sink.py`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(addresses: &[IpAddr], options: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), addresses, options)
    }

    /// As `start`, with STARTTLS under a certificate made for the purpose.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_tls(addresses: &[IpAddr]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let certificate = certificate(dir.path()).display().to_string();
        Self::start_in(dir, addresses, &["--certificate", &certificate])
    }

    fn start_in(dir: TempDir, addresses: &[IpAddr], options: &[&str]) -> Self {
        let port = Port::free();
        let record = dir.path().join("record");
        let mut args = vec![client::script("sink.py"), "--port".to_owned(), port.number().to_string()];
        args.extend(["--record".to_owned(), record.display().to_string()]);
        args.extend(options.iter().map(|&option| option.to_owned()));
        args.push("--".to_owned());
        args.extend(addresses.iter().map(IpAddr::to_string));
        let mut process = Process::start("sink", dir.path(), &python(), &args);
        let log = dir.path().join("sink.log");
        process.wait_ready("is ready", || {
            std::fs::read_to_string(&log).is_ok_and(|said| said.contains("ready"))
        });
        Self { port, record, _process: process, _dir: dir }
    }

    /// The port, the same at every address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// How many messages have come so far.
    #[must_use]
    pub fn count(&self) -> usize {
        std::fs::read(&self.record).map_or(0, |octets| octets.iter().filter(|&&octet| octet == b'\n').count())
    }

    /// What has come so far, oldest first.
    ///
    /// # Panics
    /// If the record is not what `python/sink.py` writes.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let text = std::fs::read_to_string(&self.record).unwrap_or_default();
        // The last line may be only partly written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| parse(line).expect("a line of the record")).collect()
    }

    /// Waits until at least `count` messages have come.
    ///
    /// # Panics
    /// After `wait::PATIENCE`.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait::until(&format!("{count} messages at the sink"), || self.count() >= count);
        self.received()
    }
}

fn parse(line: &str) -> Option<Received> {
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let list = |field: &str| -> Option<Vec<String>> {
        value[field].as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    Some(Received {
        local: text("local")?.parse().ok()?,
        hello: text("hello").unwrap_or_default(),
        tls: value["tls"].as_bool()?,
        from: text("from")?,
        from_options: list("from_options")?,
        to: list("to")?,
        content: base64(value["content"].as_str()?)?,
    })
}

/// Base 64 as Python writes it (RFC 4648 §4).
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let digits = four.split(|&octet| octet == b'=').next()?;
        let mut bits = 0u32;
        for &digit in digits {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - digits.len());
        octets.extend_from_slice(bits.to_be_bytes().get(1..digits.len())?);
    }
    Some(octets)
}

/// A certificate for `sink.example` with its key, in one PEM file.
fn certificate(dir: &Path) -> PathBuf {
    let file = dir.join("certificate.pem");
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=sink.example", "-addext", "subjectAltName=DNS:sink.example"])
        .arg("-keyout")
        .arg(&file)
        .arg("-out")
        .arg(dir.join("only.pem"))
        .output()
        .expect("openssl starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut both = std::fs::read(&file).expect("the key");
    both.extend(std::fs::read(dir.join("only.pem")).expect("the certificate"));
    std::fs::write(&file, both).expect("both");
    file
}

/// Postfix's smtp-sink, which writes each message to a file.
#[derive(Debug)]
pub struct SmtpSink {
    port: Port,
    // Before the folder: fields are dropped in order.
    _process: Process,
    dir: TempDir,
}

impl SmtpSink {
    /// Listens at `address`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(address: IpAddr) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // As root it insists on becoming someone else, who must still be able to write here.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("permissions");
        let port = Port::free();
        let listen = format!("{address}:{}", port.number());
        let template = dir.path().join("message.").display().to_string();
        let user: &[&str] = if root() { &["-u", "nobody"] } else { &[] };
        let args: Vec<&str> = user.iter().copied().chain(["-d", &template, &listen, "100"]).collect();
        let mut process = Process::start("smtp-sink", dir.path(), &find("smtp-sink"), &args);
        process.wait_listening(SocketAddr::new(address, port.number()));
        Self { port, _process: process, dir }
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The messages that have come, as smtp-sink writes them: `X-Mail-Args` and other fields of its own, then the content with
    /// lines ended by LF.
    #[must_use]
    pub fn received(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten();
        let mut messages: Vec<String> = files
            .filter(|file| file.file_name().to_string_lossy().starts_with("message."))
            .filter_map(|file| std::fs::read(file.path()).ok())
            .map(|octets| String::from_utf8_lossy(&octets).into_owned())
            .collect();
        messages.sort();
        messages
    }
}

/// Whether we are root: the owner of our own entry in /proc.
fn root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Smtplib, smtp_source};

    #[test]
    fn base64_is_read() {
        for (text, octets) in
            [("", &b""[..]), ("AA==", b"\0"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("/+8=", b"\xff\xef")]
        {
            assert_eq!(base64(text).as_deref(), Some(octets));
        }
        assert_eq!(base64("A!=="), None);
    }

    #[test]
    fn a_sink_keeps_the_octets_and_says_which_address() {
        let addresses: Vec<IpAddr> = vec!["127.0.0.21".parse().unwrap(), "127.0.0.22".parse().unwrap()];
        let sink =
            Sink::start(&addresses, &["--hide", "SMTPUTF8", "--rcpt-reply", "no@x.example=550 5.1.1 No"]);
        let content = b"Subject: x\r\n\r\n.dot\r\n..\r\n\xff\xfe\r\nend\r\n";
        let server = SocketAddr::new(addresses[1], sink.port());
        let sent = Smtplib::new(server, "a@x.example")
            .send(&["b@x.example", "no@x.example", "c@x.example"], content);
        assert!(!sent["ehlo"]["text"].as_str().unwrap().contains("SMTPUTF8"), "{sent}");
        assert_eq!(sent["rcpt"][1]["code"], 550);
        assert_eq!(sent["data"]["code"], 250);
        let received = sink.wait_for(1);
        assert_eq!(received[0].local, addresses[1]);
        assert_eq!(received[0].to, ["b@x.example", "c@x.example"]);
        assert_eq!(received[0].content, content);
        assert_eq!(received[0].header("subject").as_deref(), Some("x"));
        assert_eq!(received[0].body(), &content[14..]);
    }

    #[test]
    fn a_sink_speaks_tls() {
        let address: IpAddr = "127.0.0.23".parse().unwrap();
        let sink = Sink::start_tls(&[address]);
        let server = SocketAddr::new(address, sink.port());
        let sent = Smtplib::new(server, "a@x.example").tls().send(&["b@x.example"], b"Subject: x\r\n\r\n");
        assert_eq!((&sent["starttls"]["code"], &sent["data"]["code"]), (&220.into(), &250.into()));
        assert!(sink.wait_for(1)[0].tls);
    }

    #[test]
    fn smtp_sink_writes_what_smtp_source_sends() {
        let address: IpAddr = "127.0.0.24".parse().unwrap();
        let sink = SmtpSink::start(address);
        smtp_source(
            SocketAddr::new(address, sink.port()),
            "a@x.example",
            "b@x.example",
            &["-m", "5", "-s", "2"],
        );
        wait::until("five messages", || sink.received().len() == 5);
        assert!(sink.received().iter().all(|message| message.contains("X-Rcpt-Args: <b@x.example>")));
    }
}
