//! Clients that submit mail, and remember what they were told.
//!
//! What may break: a client vanishes at any point, before it has read the 250 too; sends in any pieces; pipelines; hears a
//! refusal and goes on; finds nobody at the port. Only what it read counts: a message is ours from the 250 that it saw.

use super::dice::Dice;
use std::time::Duration;

/// A message to be submitted once.
#[derive(Debug)]
pub(super) struct Submission {
    /// Empty for the null path.
    pub(super) sender: String,
    /// Each recipient's address is its own, in the whole run.
    pub(super) recipients: Vec<Wanted>,
    /// Lines ended by CRLF.
    pub(super) content: Vec<u8>,
    pub(super) eight_bit: bool,
    pub(super) told: Told,
}

/// A recipient.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) address: String,
    /// `NOTIFY=NEVER`.
    pub(super) silent: bool,
    /// Its RCPT got 250.
    pub(super) taken: bool,
}

/// What a client knows about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: not sent, or no answer came.
    Nothing,
    /// 250 to the final dot.
    Taken,
    /// 4yz or 5yz to the final dot.
    Refused,
}

/// Where a client stops without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vanishes {
    Never,
    AtMail,
    InContent,
    BehindDot,
}

pub(super) struct Client {
    /// Its submissions that are left, the last one next.
    pub(super) left: Vec<usize>,
    pub(super) dialog: Option<Dialog>,
    pipelines: bool,
    wants_tls: bool,
    esmtp: bool,
}

/// A connection of a client.
pub(super) struct Dialog {
    state: State,
    reply: Vec<u8>,
    pub(super) at: Option<usize>,
    vanishes: Vanishes,
    /// The extensions seen.
    starttls: bool,
    secret: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Hello,
    StartTls,
    Handshake,
    Mail,
    /// The reply to this RCPT is waited for.
    Recipient(usize),
    Data,
    Dot,
    Quit,
}

/// What a client does.
#[derive(Debug)]
pub(super) enum Act {
    Send(Vec<u8>),
    StartTls,
    /// Without a word.
    Vanish,
    Close,
}

/// A client waits so long for a reply; then it goes.
pub(super) const PATIENCE: Duration = Duration::from_secs(900);

impl Client {
    pub(super) fn new(left: Vec<usize>, dice: &mut Dice) -> Self {
        let (pipelines, wants_tls) = (dice.chance(500), dice.chance(300));
        Self { left, dialog: None, pipelines, wants_tls, esmtp: dice.chance(850) }
    }

    /// A connection is made.
    pub(super) fn connected(&mut self, dice: &mut Dice, healed: bool) {
        let vanishes = match dice.below(20) {
            0 if !healed => Vanishes::AtMail,
            1 if !healed => Vanishes::InContent,
            2 | 3 if !healed => Vanishes::BehindDot,
            _ => Vanishes::Never,
        };
        self.dialog = Some(Dialog {
            state: State::Greeting,
            reply: Vec::new(),
            at: None,
            vanishes,
            starttls: false,
            secret: false,
        });
    }

    /// Octets from the service.
    pub(super) fn bytes(&mut self, bytes: &[u8], submissions: &mut [Submission], acts: &mut Vec<Act>) {
        let Some(dialog) = &mut self.dialog else { return };
        dialog.reply.extend_from_slice(bytes);
        loop {
            let Some(dialog) = &mut self.dialog else { return };
            let Some(end) = dialog.reply.windows(2).position(|pair| pair == b"\r\n") else { return };
            let line = String::from_utf8_lossy(&dialog.reply[..end]).into_owned();
            dialog.reply.drain(..end + 2);
            if line.contains("STARTTLS") {
                dialog.starttls = true;
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                self.replied(&line, submissions, acts);
            }
        }
    }

    /// The handshake is over, or never will be.
    pub(super) fn tls(&mut self, up: bool, acts: &mut Vec<Act>) {
        let Some(dialog) = &mut self.dialog else { return };
        if !up {
            return self.give_up(acts);
        }
        dialog.secret = true;
        dialog.starttls = false;
        dialog.state = State::Hello;
        acts.push(Act::Send(b"EHLO client.example\r\n".to_vec()));
    }

    fn give_up(&mut self, acts: &mut Vec<Act>) {
        self.dialog = None;
        acts.push(Act::Vanish);
    }

    fn replied(&mut self, line: &str, submissions: &mut [Submission], acts: &mut Vec<Act>) {
        let (esmtp, wants_tls) = (self.esmtp, self.wants_tls);
        let Some(dialog) = &mut self.dialog else { return };
        let good = line.starts_with(['2', '3']);
        if line.starts_with("421") || (!good && matches!(dialog.state, State::Greeting | State::Hello)) {
            self.dialog = None;
            return acts.push(Act::Close);
        }
        match dialog.state {
            State::Greeting => {
                dialog.state = State::Hello;
                let verb = if esmtp { "EHLO" } else { "HELO" };
                acts.push(Act::Send(format!("{verb} client.example\r\n").into_bytes()));
            }
            State::Hello if wants_tls && dialog.starttls && !dialog.secret => {
                dialog.state = State::StartTls;
                acts.push(Act::Send(b"STARTTLS\r\n".to_vec()));
            }
            State::StartTls if good => {
                dialog.state = State::Handshake;
                acts.push(Act::StartTls);
            }
            State::Hello | State::StartTls => self.next_message(submissions, acts),
            State::Mail => self.asked_next(0, submissions, acts),
            State::Recipient(at) => {
                if let Some(submission) = dialog.at.and_then(|index| submissions.get_mut(index)) {
                    submission.recipients[at].taken = good;
                }
                self.asked_next(at + 1, submissions, acts);
            }
            State::Data if good => self.send_content(submissions, acts),
            State::Data => self.next_message(submissions, acts),
            State::Dot => {
                if let Some(submission) = dialog.at.and_then(|index| submissions.get_mut(index)) {
                    submission.told = if good { Told::Taken } else { Told::Refused };
                }
                self.next_message(submissions, acts);
            }
            State::Quit => {
                self.dialog = None;
                acts.push(Act::Close);
            }
            State::Handshake => {}
        }
    }

    fn next_message(&mut self, submissions: &mut [Submission], acts: &mut Vec<Act>) {
        let (esmtp, pipelines) = (self.esmtp, self.pipelines);
        let Some(dialog) = &mut self.dialog else { return };
        dialog.at = self.left.pop();
        let Some(submission) = dialog.at.and_then(|at| submissions.get(at)) else {
            dialog.state = State::Quit;
            return acts.push(Act::Send(b"QUIT\r\n".to_vec()));
        };
        dialog.state = State::Mail;
        let body = if esmtp && submission.eight_bit { " BODY=8BITMIME" } else { "" };
        let mut wire = format!("MAIL FROM:<{}>{body}\r\n", submission.sender);
        if esmtp && pipelines {
            for at in 0..submission.recipients.len() {
                wire.push_str(&rcpt(submission, at, esmtp));
            }
            wire.push_str("DATA\r\n");
        }
        acts.push(Act::Send(wire.into_bytes()));
        if dialog.vanishes == Vanishes::AtMail {
            self.give_up(acts);
        }
    }

    /// The next command, or, where all are sent, the next reply to wait for.
    fn asked_next(&mut self, at: usize, submissions: &[Submission], acts: &mut Vec<Act>) {
        let sent = self.esmtp && self.pipelines;
        let esmtp = self.esmtp;
        let Some(dialog) = &mut self.dialog else { return };
        let Some(submission) = dialog.at.and_then(|at| submissions.get(at)) else { return };
        let more = at < submission.recipients.len();
        dialog.state = if more { State::Recipient(at) } else { State::Data };
        if !sent {
            let wire = if more { rcpt(submission, at, esmtp) } else { String::from("DATA\r\n") };
            acts.push(Act::Send(wire.into_bytes()));
        }
    }

    fn send_content(&mut self, submissions: &[Submission], acts: &mut Vec<Act>) {
        let Some(dialog) = &mut self.dialog else { return };
        let Some(submission) = dialog.at.and_then(|at| submissions.get(at)) else { return };
        let mut wire = Vec::with_capacity(submission.content.len() + 64);
        for line in submission.content.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        if dialog.vanishes == Vanishes::InContent {
            wire.truncate(wire.len() / 2);
            acts.push(Act::Send(wire));
            return self.give_up(acts);
        }
        wire.extend_from_slice(b".\r\n");
        acts.push(Act::Send(wire));
        dialog.state = State::Dot;
        if dialog.vanishes == Vanishes::BehindDot {
            self.give_up(acts);
        }
    }
}

fn rcpt(submission: &Submission, at: usize, esmtp: bool) -> String {
    let wanted = &submission.recipients[at];
    let notify = if wanted.silent && esmtp { " NOTIFY=NEVER" } else { "" };
    format!("RCPT TO:<{}>{notify}\r\n", wanted.address)
}
