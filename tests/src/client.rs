//! Clients that no one here wrote: swaks, Python's smtplib, Postfix's smtp-source.

use crate::postroad::queue_id;
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A Python that has aiosmtpd: Debian's, for which there is a package, or that of the PATH.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn python() -> PathBuf {
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| {
            let tried =
                Command::new(python).args(["-c", "import aiosmtpd.smtp"]).stderr(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        })
        .map(PathBuf::from)
        .expect("a python3 with aiosmtpd: run ci/install-debian.sh")
}

/// The path of a script in `tests/python`.
#[must_use]
pub fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name).display().to_string()
}

/// One message by smtplib.
#[derive(Clone, Debug)]
pub struct Smtplib {
    server: SocketAddr,
    sender: String,
    options: Vec<String>,
}

impl Smtplib {
    /// To `server`, from `sender` (empty: `<>`).
    #[must_use]
    pub fn new(server: SocketAddr, sender: &str) -> Self {
        Self { server, sender: sender.to_owned(), options: Vec::new() }
    }

    /// With a parameter of MAIL, as `BODY=8BITMIME`.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.extend(["--option".to_owned(), option.to_owned()]);
        self
    }

    /// After STARTTLS.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.options.push("--starttls".to_owned());
        self
    }

    /// Sends `content`, whose lines end with CRLF, and gives all replies: `ehlo`, `starttls`, `mail`, `data`, each with `code` and
    /// `text`, and an array `rcpt` of them.
    ///
    /// # Panics
    /// If smtplib does not get to the end of the conversation.
    #[must_use]
    pub fn send(&self, to: &[&str], content: &[u8]) -> Value {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("the content");
        let output = Command::new(python())
            .args([script("send.py"), "--server".to_owned(), self.server.to_string()])
            .args(["--sender", &self.sender])
            .args(to.iter().flat_map(|to| ["--to", to]))
            .args(&self.options)
            .arg("--content")
            .arg(file.path())
            .output()
            .expect("python starts");
        serde_json::from_slice(&done("smtplib", output)).expect("JSON of send.py")
    }

    /// Sends, and gives the queue id.
    ///
    /// # Panics
    /// Unless it is accepted.
    #[must_use]
    #[track_caller]
    pub fn accepted(&self, to: &[&str], content: &[u8]) -> String {
        let sent = self.send(to, content);
        assert_eq!(sent["data"]["code"], 250, "{sent}");
        queue_id(sent["data"]["text"].as_str().unwrap_or_default())
    }
}

/// One message by swaks, which gives the transcript. `args` are swaks' own: `--to`, `--tls`, `--body`.
///
/// # Errors
/// The transcript, if swaks ended in anything but success.
///
/// # Panics
/// If swaks is not there.
pub fn swaks(server: SocketAddr, args: &[&str]) -> Result<String, String> {
    let output = Command::new("swaks")
        .args([
            "--server",
            &server.ip().to_string(),
            "--port",
            &server.port().to_string(),
            "--helo",
            "client.example",
        ])
        .args(args)
        .output()
        .expect("swaks starts");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// Messages by Postfix's smtp-source; `args` are its own: `-m` messages, `-s` sessions, `-l` octets, `-d` for many messages a session.
///
/// # Panics
/// If it is not there, or any message was refused.
pub fn smtp_source(server: SocketAddr, sender: &str, to: &str, args: &[&str]) {
    let output = Command::new(crate::proc::find("smtp-source"))
        .args(args)
        .args(["-M", "client.example", "-f", sender, "-t", to])
        .arg(format!("inet:{}:{}", server.ip(), server.port()))
        .output()
        .expect("smtp-source starts");
    done("smtp-source", output);
}

/// What a delivery status notification says, read by Python's email package: `text`, `message` (the fields about the message),
/// `recipients` (the fields about each, names in lower case), `returned` (the type of the third part), `returned_text`.
///
/// # Panics
/// If it is not a well-formed one.
#[must_use]
pub fn read_report(content: &[u8]) -> Value {
    let mut python = Command::new(python())
        .arg(script("report.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python starts");
    python.stdin.take().expect("a pipe").write_all(content).expect("python reads all of it");
    let output = python.wait_with_output().expect("python ends");
    serde_json::from_slice(&done("report.py", output)).expect("JSON of report.py")
}

/// The standard output of a program that ended well.
fn done(name: &str, output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{name} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
