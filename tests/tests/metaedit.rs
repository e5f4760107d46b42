//! `postroad metaedit` in a real terminal: tmux holds it, types into it, and shows what is on its screen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a panic is how a test fails; the screens are worth looking at"
)]

use postroad_tests::client::Smtplib;
use postroad_tests::nameserver::{Kind, NameServer, big_hosts};
use postroad_tests::postroad::{Config, PATIENT, Postroad, program};
use postroad_tests::sink::Sink;
use postroad_tests::udp_relay::UdpRelay;
use postroad_tests::wait;
use postroad_tests::world::FROM;
use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A terminal of its own, on a tmux server of its own.
struct Terminal {
    /// With the server's socket: one that is about to exit must not be asked for the next terminal.
    dir: TempDir,
}

impl Terminal {
    fn open((columns, lines): (u16, u16), command: &[&str]) -> Self {
        let terminal = Self { dir: tempfile::tempdir().unwrap() };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let mut args = vec!["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines, "--"];
        args.extend(command);
        let made = terminal.tmux(&args);
        assert!(made.status.success(), "{made:?}");
        terminal
    }

    fn tmux(&self, args: &[&str]) -> Output {
        let socket = self.dir.path().join("socket");
        Command::new("tmux").arg("-S").arg(socket).args(args).env("TERM", "xterm").output().unwrap()
    }

    /// Types keys by tmux's names.
    fn press(&self, keys: &[&str]) {
        for key in keys {
            assert!(self.tmux(&["send-keys", key]).status.success(), "{key}");
        }
    }

    fn text(&self, text: &str) {
        assert!(self.tmux(&["send-keys", "-l", text]).status.success());
    }

    fn resize(&self, (columns, lines): (usize, usize)) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let resized = self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
        assert!(resized.status.success(), "{resized:?}");
    }

    /// Waits until the screen does not show this.
    fn lacks(&self, text: &str) {
        wait::until(&format!("no {text:?} on the screen"), || !self.screen().contains(text));
    }

    fn screen(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// Waits until the screen shows all of these.
    fn shows(&self, texts: &[&str]) -> String {
        let end = Instant::now() + wait::PATIENCE;
        loop {
            let screen = self.screen();
            if texts.iter().all(|text| screen.contains(text)) {
                return screen;
            }
            assert!(Instant::now() < end, "{texts:?} not all on:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// The article's procedure, as an administrator with MetaEdit followed it: a backup that is verified, LM, SmtpSvc, a new
/// DWORD with id 36997 and data 2. The mail that waited goes out at once.
#[test]
fn the_articles_procedure() {
    const WITHIN: Duration = Duration::from_secs(2);
    let server = NameServer::start(Kind::Bind9);
    let relay = UdpRelay::start(server.address());
    let addresses: Vec<IpAddr> = big_hosts().iter().map(|host| host.address).collect();
    let sink = Sink::start(&addresses, &[]);
    let config = Config {
        dns: vec![relay.address()],
        remote_port: sink.port(),
        service: PATIENT.to_owned(),
        ..Config::default()
    };
    let postroad = Postroad::start(&config);
    // The article's service has no such record. What its key inherits makes DNS be asked as it was then.
    let set = postroad.verb(&["meta", "set", "LM", "36997", "0"]);
    assert_eq!(set.status, 0, "{set:?}");
    let _ = Smtplib::new(postroad.address(), FROM).accepted(&["r@big.example"], b"Subject: large\r\n\r\n");
    postroad.wait_deferred("r@big.example");
    postroad.wait_event(2012);

    let data = postroad.data();
    let (program, data) = (program().display().to_string(), data.display().to_string());
    let terminal = Terminal::open((80, 24), &[&program, "--data", &data, "metaedit"]);
    terminal.shows(&["MetaEdit", "LM", "help"]);
    // The backup, verified.
    terminal.press(&["b"]);
    terminal.shows(&["Backups", "There are no backups"]);
    terminal.press(&["m"]);
    terminal.shows(&["New backup", "Name"]);
    terminal.text("before");
    terminal.press(&["Enter"]);
    terminal.shows(&["The backup before 0 is made."]);
    terminal.press(&["Escape"]);
    terminal.lacks("is made");
    terminal.press(&["v"]);
    println!("{}", terminal.shows(&["The backup before 0 is verified."]));
    terminal.press(&["Escape"]);
    terminal.lacks("is verified");
    terminal.shows(&["Backups", "> before", "verified"]);
    terminal.press(&["Escape"]);
    // LM, SmtpSvc, New, DWORD, 36997, 2.
    terminal.shows(&["Records of /"]);
    terminal.press(&["Down", "Right"]);
    terminal.shows(&["SmtpSvc"]);
    terminal.press(&["Down"]);
    terminal.shows(&["Records of /LM/SmtpSvc", "KeyType"]);
    let why = postroad.json(&["meta", "get", "LM/SmtpSvc", "36997"]).remove(0);
    assert_eq!((&why["record"]["from"], &why["record"]["value"][0]), (&"/LM".into(), &"0".into()), "{why}");
    terminal.press(&["n"]);
    terminal.shows(&["DWORD", "ExpandSz"]);
    terminal.press(&["d"]);
    terminal.shows(&["New record at /LM/SmtpSvc"]);
    terminal.text("36997");
    terminal.shows(&["SmtpUseTcpDns", "udp-only"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["( ) 2 udp-only"]);
    terminal.text("2");
    terminal.shows(&["(x) 2 udp-only"]);
    terminal.press(&["Enter"]);
    terminal.shows(&["*1 pending", "2 (udp-onl"]);
    assert_eq!(sink.count(), 0, "nothing is changed before it is committed");
    terminal.press(&["c"]);
    println!(
        "{}",
        terminal
            .shows(&["Review of the pending changes", "+ /LM/SmtpSvc 36997 SmtpUseTcpDns = 2 (udp-only)"])
    );
    let began = Instant::now();
    terminal.press(&["Enter"]);
    wait::within(WITHIN, "the message at a host", || (sink.count() == 1).then_some(()));
    println!("delivered {:?} after the key", began.elapsed());
    println!("{}", terminal.shows(&["Committed", "generation"]));
    terminal.press(&["Escape"]);
    let set = "= 36997  SmtpUseTcpDns";
    terminal.shows(&[set]);
    let raw = postroad.verb(&["meta", "get", "LM/SmtpSvc", "36997", "--raw"]);
    assert_eq!((raw.status, raw.stdout.as_str()), (0, "2\n"));
    let log = postroad.verb(&["meta", "log", "--limit", "1"]);
    assert!(log.stdout.contains("(metaedit)"), "{log:?}");
    // Larger, smaller, and back: what is there is drawn anew.
    for size @ (columns, lines) in [(120, 40), (60, 16), (80, 24)] {
        terminal.resize(size);
        let is_drawn = || {
            let screen = terminal.screen();
            let title = screen.lines().nth(1).map(|line| line.trim_end().chars().count());
            title == Some(columns)
                && screen.lines().nth(lines - 1).is_some_and(|line| line.contains("? help"))
        };
        wait::until(&format!("a screen of {size:?}"), is_drawn);
        terminal.shows(&["MetaEdit", "Records", "SmtpUseTcpDns"]);
    }
    // The backup back: what that would do first, then done.
    terminal.press(&["b"]);
    terminal.shows(&["Backups", "> before"]);
    terminal.press(&["r"]);
    let dry = ["Restore of before 0", "- /LM/SmtpSvc 36997 SmtpUseTcpDns = 2 (udp-only)"];
    println!("{}", terminal.shows(&dry));
    let raw = postroad.verb(&["meta", "get", "LM/SmtpSvc", "36997", "--raw"]);
    assert_eq!((raw.status, raw.stdout.as_str()), (0, "2\n"), "a review restores nothing");
    terminal.press(&["Enter"]);
    println!("{}", terminal.shows(&["Committed", "What was there before is in the backup safety 0"]));
    terminal.press(&["Escape"]);
    terminal.lacks("Committed");
    terminal.press(&["Escape"]);
    terminal.shows(&["^= 36997  SmtpUseTcpDns"]);
    let raw = postroad.verb(&["meta", "get", "LM/SmtpSvc", "36997", "--raw"]);
    assert_eq!((raw.status, raw.stdout.as_str()), (0, "0\n"));
    terminal.press(&["q"]);
    wait::until("the editor is left", || !terminal.tmux(&["has-session"]).status.success());
}

/// A service can start on a store that an editor looks at, and who answers is always said.
#[test]
fn who_answers_is_said_when_that_changes() {
    let mut postroad = Postroad::start(&Config::default());
    let data = postroad.data();
    let (program, data) = (program().display().to_string(), data.display().to_string());
    let terminal = Terminal::open((80, 24), &[&program, "--data", &data, "metaedit"]);
    terminal.shows(&[&format!("MetaEdit  service {}", postroad.process().id())]);
    let set = postroad.verb(&["meta", "set", "smtpsvc", "HopCount", "17"]);
    assert_eq!(set.status, 0, "{set:?}");
    terminal.shows(&["changed elsewhere"]);
    postroad.stop();
    terminal.press(&["F5"]);
    println!("{}", terminal.shows(&["has ended", "The store itself is shown"]));
    terminal.press(&["Enter", "Down"]);
    terminal.shows(&["MetaEdit  at rest", "Records of /LM"]);
    // While keys are pressed the store is kept; a moment later a service can have it.
    wait::until("the store is let go", || postroad.verb(&["meta", "tree"]).status == 0);
    postroad.restart();
    terminal.press(&["F5"]);
    terminal.shows(&["runs here", &format!("MetaEdit  service {}", postroad.process().id())]);
}

/// It opens the store where no service runs, on a terminal of any size, and is left without a trace.
#[test]
fn on_a_store_at_rest() {
    let mut postroad = Postroad::start(&Config::default());
    postroad.stop();
    let data = postroad.data();
    let (program, data) = (program().display().to_string(), data.display().to_string());
    for size in [(80, 24), (120, 40), (40, 12)] {
        let terminal = Terminal::open(size, &[&program, "--data", &data, "metaedit"]);
        terminal.shows(&["MetaEdit", "LM"]);
        let screen = terminal.screen();
        assert!(screen.lines().all(|line| line.chars().count() <= usize::from(size.0)), "{screen}");
        terminal.press(&["?"]);
        terminal.shows(&["Help"]);
        terminal.press(&["Escape", "q"]);
        wait::until("the editor is left", || !terminal.tmux(&["has-session"]).status.success());
    }
    let elsewhere = postroad.verb(&["metaedit"]);
    assert_eq!(elsewhere.status, 2, "{elsewhere:?}");
    assert!(elsewhere.stderr.contains("needs a terminal"), "{elsewhere:?}");
}

/// A backup's password is asked for without being shown, twice where a typo would make the backup useless.
#[test]
fn a_password_is_asked_for_at_the_terminal() {
    let postroad = Postroad::start(&Config::default());
    let data = postroad.data();
    let (program, data) = (program().display().to_string(), data.display().to_string());
    let meta = |verb: &str| format!("{program} --data {data} meta {verb} --password; echo \"=$?\"");
    let line = format!(
        "{}; {}; {}; cat",
        meta("BACKUP moving"),
        meta("backup moving"),
        meta("backups verify moving")
    );
    let terminal = Terminal::open((80, 24), &["sh", "-c", &line]);
    let answer = |prompts: usize, password: &str| {
        wait::until("a prompt", || terminal.screen().matches("Password").count() == prompts);
        terminal.text(password);
        terminal.press(&["Enter"]);
    };
    answer(1, "geheim");
    answer(2, "gehein");
    terminal.shows(&["the passwords differ", "=2"]);
    answer(3, "geheim");
    answer(4, "geheim");
    terminal.shows(&["Backup moving version 0", "under a password", "=0"]);
    answer(5, "geheim");
    let screen = terminal.shows(&["is whole"]);
    assert!(!screen.contains("gehei"), "{screen}");
    let without = postroad.verb(&["meta", "backup", "moving", "--password"]);
    assert_eq!(without.status, 2, "{without:?}");
    assert!(without.stderr.contains("no password can be asked for"), "{without:?}");
}
