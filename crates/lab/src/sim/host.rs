//! Mail hosts of others, written apart from our own server so that one error is not made on both sides.
//!
//! What may break: a host is down, or its network drops what we send; it greets with 4yz or 5yz, or with our own name (it
//! is us, behind an address that we did not know); knows no EHLO; offers no TLS, refuses STARTTLS, fails the handshake or
//! hangs in it (old devices); defers or refuses at MAIL, RCPT, DATA, or the final dot; closes at any of these; takes a message
//! and goes before it has said so; says nothing for minutes; talks nonsense. All of it is seen every day, and none but a
//! 5yz at MAIL, RCPT, DATA, or the final dot is a reason to return mail.

use super::dice::Dice;
use std::time::Duration;

/// What goes wrong with one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ConnectionRefused,
    /// SYNs are dropped.
    Filtered,
    Greeting(&'static str),
    GreetingNever,
    GreetsAsUs,
    /// EHLO and HELO are refused.
    HelloRefused,
    EhloUnknown,
    TlsRefused,
    TlsBroken,
    TlsHangs,
    Mail(&'static str),
    /// Of this recipient, counted from 0, or of all behind it.
    Recipient(&'static str, usize),
    Data(&'static str),
    Dot(&'static str),
    /// The message is taken, and the connection closed without a reply.
    TakenThenGone,
    /// The message is taken, and no reply comes.
    TakenThenMute,
    /// The message is not taken, and the connection closed without a reply.
    GoneAtDot,
    GoneAtMail,
    /// The connection is closed inside the content.
    GoneInContent,
    Nonsense,
}

const FAULTS: [Fault; 33] = [
    Fault::ConnectionRefused,
    Fault::ConnectionRefused,
    Fault::Filtered,
    Fault::Greeting("421 4.3.2 Not now"),
    Fault::Greeting("554 5.7.1 No mail from you"),
    Fault::GreetingNever,
    Fault::GreetsAsUs,
    Fault::HelloRefused,
    Fault::EhloUnknown,
    Fault::TlsRefused,
    Fault::TlsBroken,
    Fault::TlsHangs,
    Fault::Mail("451 4.3.0 Later"),
    Fault::Mail("550 5.7.1 Not from you"),
    Fault::Mail("421 4.3.2 Not now"),
    Fault::Recipient("450 4.2.1 Greylisted", 0),
    Fault::Recipient("450 4.2.1 Busy", 1),
    Fault::Recipient("550 5.1.1 No such user", 0),
    Fault::Recipient("550 5.1.1 No such user", 1),
    Fault::Recipient("552 5.5.3 Too many recipients", 1),
    Fault::Recipient("421 4.3.2 Not now", 1),
    Fault::Data("451 4.3.0 Later"),
    Fault::Data("554 5.5.1 No"),
    Fault::Dot("451 4.3.0 Later"),
    Fault::Dot("452 4.3.1 Full"),
    Fault::Dot("554 5.6.0 Not this"),
    Fault::Dot("421 4.3.2 Not now"),
    Fault::TakenThenGone,
    Fault::TakenThenMute,
    Fault::GoneAtDot,
    Fault::GoneAtMail,
    Fault::GoneInContent,
    Fault::Nonsense,
];

/// A host's habits and its present mood.
pub(super) struct Host {
    pub(super) tls: bool,
    pipelining: bool,
    eight_bit: bool,
    /// Of its connections, in a thousand, go wrong.
    pub(super) faults_per_mille: u64,
    /// The longest that it thinks before a reply, microseconds.
    think_max: u64,
}

impl Host {
    /// `tls`: it offers TLS, whatever is drawn.
    pub(super) fn new(dice: &mut Dice, tls: bool) -> Self {
        let tls = tls || dice.chance(500);
        let (pipelining, eight_bit) = (dice.chance(800), dice.chance(950));
        Self { tls, pipelining, eight_bit, faults_per_mille: 0, think_max: 100_000 }
    }

    /// Draws its mood anew: one of three is down or worse, one stumbles.
    pub(super) fn turn(&mut self, dice: &mut Dice) {
        self.faults_per_mille = *dice.pick(&[0, 300, 900]);
        // Six minutes are beyond every timeout but that of the final dot, thirteen beyond that too.
        self.think_max = *dice.pick(&[100_000, 100_000, 5_000_000, 360_000_000, 800_000_000]);
    }

    pub(super) fn heal(&mut self) {
        self.faults_per_mille = 0;
        self.think_max = 100_000;
    }

    pub(super) fn fault(&self, dice: &mut Dice) -> Option<Fault> {
        dice.chance(self.faults_per_mille).then(|| *dice.pick(&FAULTS))
    }

    pub(super) fn think(&self, dice: &mut Dice) -> Duration {
        if dice.chance(100) { dice.micros(1000, self.think_max) } else { dice.micros(100, 10_000) }
    }
}

/// What a session does.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    Say(String),
    /// As `Say`; it is the reply to the final dot of the message taken last.
    SayTaken(String),
    /// A whole message is taken, for these recipients.
    Take {
        sender: String,
        recipients: Vec<String>,
        content: Vec<u8>,
    },
    /// A 5yz that ends recipients: these, or all of the message when there is none.
    Refused(Option<String>),
    /// EHLO was answered without 8BITMIME, or HELO was.
    SevenBitOnly,
    Close,
}

/// One connection.
pub(super) struct Session {
    fault: Option<Fault>,
    tls_offered: bool,
    pipelining: bool,
    eight_bit: bool,
    secret: bool,
    /// After STARTTLS, until the handshake: nothing in clear is read.
    handshaking: bool,
    buffer: Vec<u8>,
    sender: Option<String>,
    recipients: Vec<String>,
    asked: usize,
    content: Option<Vec<u8>>,
    over: bool,
}

impl Session {
    /// `ours`: the name of the service under test.
    pub(super) fn new(host: &Host, fault: Option<Fault>, ours: &str, acts: &mut Vec<Act>) -> Self {
        let session = Self {
            fault,
            tls_offered: host.tls,
            pipelining: host.pipelining,
            eight_bit: host.eight_bit,
            secret: false,
            handshaking: false,
            buffer: Vec::new(),
            sender: None,
            recipients: Vec::new(),
            asked: 0,
            content: None,
            over: false,
        };
        match fault {
            Some(Fault::Greeting(reply)) => acts.push(Act::Say(reply.to_owned())),
            Some(Fault::GreetingNever) => {}
            Some(Fault::GreetsAsUs) => acts.push(Act::Say(format!("220 {ours} ESMTP"))),
            Some(Fault::Nonsense) => acts.push(Act::Say(String::from("<html>hello</html>"))),
            _ => acts.push(Act::Say(String::from("220-welcome\r\n220 host ESMTP"))),
        }
        session
    }

    /// Nothing more goes wrong, but what cannot be undone.
    pub(super) fn heal(&mut self) {
        self.fault = None;
    }

    /// The caller begins a handshake: whether it succeeds; none: it hangs.
    pub(super) fn hello(&mut self) -> Option<bool> {
        if !std::mem::take(&mut self.handshaking) {
            return Some(false);
        }
        match self.fault {
            Some(Fault::TlsHangs) => None,
            Some(Fault::TlsBroken) => {
                self.over = true;
                Some(false)
            }
            _ => {
                self.secret = true;
                Some(true)
            }
        }
    }

    /// Octets from the caller.
    pub(super) fn bytes(&mut self, bytes: &[u8], acts: &mut Vec<Act>) {
        if self.handshaking {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        let mut held = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while !self.over && !self.handshaking {
            let Some(end) = held[at..].windows(2).position(|pair| pair == b"\r\n") else { break };
            let line = &held[at..at + end + 2];
            at += end + 2;
            if self.content.is_some() {
                self.content_line(line, acts);
            } else {
                self.command(String::from_utf8_lossy(&line[..end]).as_ref(), acts);
            }
        }
        // What came in clear behind STARTTLS is dropped.
        if !self.handshaking {
            self.buffer = held.split_off(at);
        }
    }

    fn say(&mut self, reply: &str, acts: &mut Vec<Act>) {
        acts.push(Act::Say(reply.to_owned()));
        if reply.starts_with("421") {
            self.close(acts);
        }
    }

    fn close(&mut self, acts: &mut Vec<Act>) {
        self.over = true;
        acts.push(Act::Close);
    }

    fn command(&mut self, line: &str, acts: &mut Vec<Act>) {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => self.ehlo(acts),
            "HELO" if self.fault == Some(Fault::HelloRefused) => self.say("550 5.7.1 Go away", acts),
            "HELO" => {
                acts.push(Act::SevenBitOnly);
                self.say("250 host", acts);
            }
            "STARTTLS" if self.fault == Some(Fault::TlsRefused) => self.say("454 4.7.0 No TLS now", acts),
            "STARTTLS" => {
                self.say("220 2.0.0 Go ahead", acts);
                self.handshaking = true;
            }
            "MAIL" => self.mail(line, acts),
            "RCPT" => self.recipient(line, acts),
            "DATA" => self.data(acts),
            "RSET" => {
                self.sender = None;
                self.say("250 2.0.0 Ok", acts);
            }
            "QUIT" => {
                self.say("221 2.0.0 Bye", acts);
                self.close(acts);
            }
            _ => self.say("500 5.5.2 What", acts),
        }
    }

    fn ehlo(&mut self, acts: &mut Vec<Act>) {
        match self.fault {
            Some(Fault::EhloUnknown) => return self.say("502 5.5.1 Unknown", acts),
            Some(Fault::HelloRefused) => return self.say("550 5.7.1 Go away", acts),
            _ => {}
        }
        let mut reply = String::from("250-host\r\n250-SIZE 0\r\n");
        if self.pipelining {
            reply.push_str("250-PIPELINING\r\n");
        }
        if self.eight_bit {
            reply.push_str("250-8BITMIME\r\n");
        } else {
            acts.push(Act::SevenBitOnly);
        }
        if self.tls_offered && !self.secret {
            reply.push_str("250-STARTTLS\r\n");
        }
        reply.push_str("250 DSN");
        self.say(&reply, acts);
    }

    fn mail(&mut self, line: &str, acts: &mut Vec<Act>) {
        self.recipients.clear();
        self.asked = 0;
        match self.fault {
            Some(Fault::Mail(reply)) => {
                if reply.starts_with('5') {
                    acts.push(Act::Refused(None));
                }
                self.say(reply, acts);
            }
            Some(Fault::GoneAtMail) => self.close(acts),
            _ => {
                self.sender = Some(path(line));
                self.say("250 2.1.0 Ok", acts);
            }
        }
    }

    fn recipient(&mut self, line: &str, acts: &mut Vec<Act>) {
        if self.sender.is_none() {
            return self.say("503 5.5.1 MAIL first", acts);
        }
        let recipient = path(line);
        let number = self.asked;
        self.asked += 1;
        // Such users exist nowhere, at any time.
        let nobody = recipient.starts_with("nobody").then_some("550 5.1.1 Nobody");
        let fault = match self.fault {
            Some(Fault::Recipient(reply, from)) if number >= from => Some(reply),
            _ => None,
        };
        match nobody.or(fault) {
            Some(reply) => {
                if reply.starts_with('5') && !reply.starts_with("552") {
                    acts.push(Act::Refused(Some(recipient)));
                }
                self.say(reply, acts);
            }
            None => {
                self.recipients.push(recipient);
                self.say("250 2.1.5 Ok", acts);
            }
        }
    }

    fn data(&mut self, acts: &mut Vec<Act>) {
        match self.fault {
            Some(Fault::Data(reply)) => {
                if reply.starts_with('5') {
                    acts.push(Act::Refused(None));
                }
                self.say(reply, acts);
            }
            _ if self.recipients.is_empty() || self.sender.is_none() => {
                self.say("503 5.5.1 RCPT first", acts)
            }
            _ => {
                self.content = Some(Vec::new());
                self.say("354 Go on", acts);
            }
        }
    }

    fn content_line(&mut self, line: &[u8], acts: &mut Vec<Act>) {
        let Some(content) = &mut self.content else { return };
        if line != b".\r\n" {
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            if self.fault == Some(Fault::GoneInContent) && content.len() > 200 {
                self.close(acts);
            }
            return;
        }
        let content = self.content.take().unwrap_or_default();
        let sender = self.sender.take().unwrap_or_default();
        let take = Act::Take { sender, recipients: std::mem::take(&mut self.recipients), content };
        match self.fault {
            Some(Fault::Dot(reply)) => {
                if reply.starts_with('5') {
                    acts.push(Act::Refused(None));
                }
                self.say(reply, acts);
            }
            Some(Fault::GoneAtDot) => self.close(acts),
            Some(Fault::TakenThenGone) => {
                acts.push(take);
                self.close(acts);
            }
            Some(Fault::TakenThenMute) => acts.push(take),
            _ => {
                acts.push(take);
                acts.push(Act::SayTaken(String::from("250 2.0.0 Taken")));
            }
        }
    }
}

/// What is between `<` and `>`.
fn path(line: &str) -> String {
    let from = line.split_once('<').map_or("", |(_, rest)| rest);
    from.split_once('>').map_or("", |(path, _)| path).to_owned()
}
