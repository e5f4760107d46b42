//! The grammar of commands (RFC 5321 §4.1.1).

use crate::parameter;
use postroad_mail::address::{ForwardPath, ReversePath};
use postroad_mail::domain::Host;
use postroad_mail::envelope::{Notify, Sender};

/// A reply line, without its end, to a command that is refused.
pub type Refusal = &'static str;

const UNKNOWN: Refusal = "500 5.5.2 Command not recognized";
const CONTROL: Refusal = "500 5.5.2 A command is one line of printable text, ended by CR LF";
const NOT_IMPLEMENTED: Refusal = "502 5.5.1 Command not implemented";
const NO_ARGUMENT: Refusal = "501 5.5.4 This command takes no argument";
const HELLO_SYNTAX: Refusal = "501 5.5.4 Syntax: EHLO hostname";
const VRFY_SYNTAX: Refusal = "501 5.5.4 Syntax: VRFY address";
const MAIL_SYNTAX: Refusal = "501 5.5.4 Syntax: MAIL FROM:<address> [parameters]";
const RCPT_SYNTAX: Refusal = "501 5.5.4 Syntax: RCPT TO:<address> [parameters]";
const BAD_SENDER: Refusal = "501 5.1.7 Bad sender address syntax";
const BAD_RECIPIENT: Refusal = "501 5.1.3 Bad recipient address syntax";
const NOT_ASCII: Refusal = "553 5.6.7 Non-ASCII addresses are not supported";

/// Octets kept of what a client calls itself: as long as a domain can be.
const HELO_MAX: usize = 255;

/// One command, its argument parsed.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// What the client calls itself.
    Ehlo(String),
    Helo(String),
    Mail(Box<Mail>),
    Rcpt(Box<Rcpt>),
    Data,
    Rset,
    Noop,
    Vrfy,
    Help,
    Quit,
    StartTls,
    /// DATA with an argument, or BDAT: refused, but content may follow it.
    BadData(Refusal),
    /// The first words of another protocol: a browser was steered to our port.
    Foreign,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Mail {
    pub sender: Sender,
    pub declared_size: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Rcpt {
    pub path: ForwardPath,
    pub notify: Notify,
    pub orcpt: Option<String>,
}

/// Parses a line, its CR LF removed.
pub fn parse(line: &[u8]) -> Result<Command, Refusal> {
    if line.iter().any(u8::is_ascii_control) {
        return Err(CONTROL);
    }
    // White space at the end is to be tolerated (RFC 5321 §4.1.1).
    let text = std::str::from_utf8(line).map_err(|_| CONTROL)?.trim_end_matches(' ');
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    let bare = |command: Command| if argument.is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    // In the order of how often they come.
    if is("RCPT") {
        return rcpt(argument);
    } else if is("MAIL") {
        return mail(argument);
    } else if is("DATA") {
        return Ok(if argument.is_empty() { Command::Data } else { Command::BadData(NO_ARGUMENT) });
    } else if is("EHLO") {
        return hello(argument).map(Command::Ehlo);
    } else if is("QUIT") {
        return bare(Command::Quit);
    } else if is("RSET") {
        return bare(Command::Rset);
    } else if is("HELO") {
        return hello(argument).map(Command::Helo);
    } else if is("STARTTLS") {
        return bare(Command::StartTls);
    } else if is("NOOP") {
        return Ok(Command::Noop);
    } else if is("HELP") {
        return Ok(Command::Help);
    } else if is("VRFY") {
        return if argument.is_empty() { Err(VRFY_SYNTAX) } else { Ok(Command::Vrfy) };
    } else if is("BDAT") {
        return Ok(Command::BadData(NOT_IMPLEMENTED));
    }
    if ["EXPN", "AUTH", "ETRN", "ATRN", "TURN", "SEND", "SOML", "SAML", "XCLIENT", "XFORWARD", "BURL"]
        .iter()
        .any(|v| is(v))
    {
        return Err(NOT_IMPLEMENTED);
    }
    let methods = ["GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "PROXY", "HOST:", "USER-AGENT:"];
    if methods.iter().any(|word| is(word)) { Ok(Command::Foreign) } else { Err(UNKNOWN) }
}

/// What a client calls itself is never believed, so nearly anything is taken: devices send worse than the grammar allows.
/// It goes into a header field, so what could end a comment or an address there becomes `?`.
fn hello(argument: &str) -> Result<String, Refusal> {
    let word = argument.split(' ').find(|word| !word.is_empty()).ok_or(HELLO_SYNTAX)?;
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:/+=".contains(&byte);
    Ok(word.bytes().take(HELO_MAX).map(|byte| if safe(byte) { char::from(byte) } else { '?' }).collect())
}

fn mail(argument: &str) -> Result<Command, Refusal> {
    let (inside, behind) = path_of(argument, "FROM:").ok_or(MAIL_SYNTAX)?;
    let path = if inside.is_empty() {
        ReversePath::Null
    } else {
        let mailbox = without_route(inside).ok_or(BAD_SENDER)?;
        ReversePath::Address(mailbox.parse().map_err(|_| address_fault(inside, BAD_SENDER))?)
    };
    let mut mail = Mail { sender: Sender::plain(path), declared_size: None };
    parameter::of_mail(behind, &mut mail)?;
    Ok(Command::Mail(Box::new(mail)))
}

fn rcpt(argument: &str) -> Result<Command, Refusal> {
    let (inside, behind) = path_of(argument, "TO:").ok_or(RCPT_SYNTAX)?;
    let path = if inside.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        let mailbox = without_route(inside).ok_or(BAD_RECIPIENT)?;
        ForwardPath::Mailbox(mailbox.parse().map_err(|_| address_fault(inside, BAD_RECIPIENT))?)
    };
    let mut rcpt = Rcpt { path, notify: Notify::Unset, orcpt: None };
    parameter::of_rcpt(behind, &mut rcpt)?;
    Ok(Command::Rcpt(Box::new(rcpt)))
}

fn address_fault(inside: &str, otherwise: Refusal) -> Refusal {
    if inside.is_ascii() { otherwise } else { NOT_ASCII }
}

/// What stands between the angle brackets, quoted strings respected, and what stands behind them. Blanks before the bracket
/// are wrong but common, and mean nothing else.
fn path_of<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, rest) = argument.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let path = rest.trim_start_matches(' ').strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = path.bytes().position(|byte| {
        let ends = byte == b'>' && !quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        ends
    })?;
    let (inside, behind) = path.split_at_checked(end)?;
    let behind = behind.strip_prefix('>')?;
    (behind.is_empty() || behind.starts_with(' ')).then_some((inside, behind))
}

/// The mailbox behind a source route, which is to be accepted and passed over (RFC 5321 appendix C).
fn without_route(inside: &str) -> Option<&str> {
    if !inside.starts_with('@') {
        return Some(inside);
    }
    // A colon may stand in an IPv6 literal too: the route ends at the first colon outside brackets.
    let mut in_literal = false;
    let end = inside.bytes().position(|byte| {
        in_literal = (in_literal || byte == b'[') && byte != b']';
        byte == b':' && !in_literal
    })?;
    let (route, mailbox) = inside.split_at_checked(end)?;
    let is_hop = |hop: &str| hop.strip_prefix('@').is_some_and(|host| host.parse::<Host>().is_ok());
    route.split(',').all(is_hop).then(|| mailbox.strip_prefix(':')).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_mail(argument: &str, expected: Result<&str, &str>) {
        let found = match parse(format!("MAIL {argument}").as_bytes()) {
            Ok(Command::Mail(mail)) => {
                let sender = mail.sender;
                Ok(format!(
                    "{} {:?} {:?} {:?} {:?}",
                    sender.path, mail.declared_size, sender.body, sender.ret, sender.envid
                ))
            }
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(&refusal[..9]),
        };
        assert_eq!(found, expected.map(str::to_owned), "{argument:?}");
    }

    fn check_rcpt(argument: &str, expected: Result<&str, &str>) {
        let found = match parse(format!("RCPT {argument}").as_bytes()) {
            Ok(Command::Rcpt(rcpt)) => Ok(match rcpt.path {
                ForwardPath::Postmaster => format!("postmaster {:?} {:?}", rcpt.notify, rcpt.orcpt),
                ForwardPath::Mailbox(address) => format!("{address} {:?} {:?}", rcpt.notify, rcpt.orcpt),
            }),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(&refusal[..9]),
        };
        assert_eq!(found, expected.map(str::to_owned), "{argument:?}");
    }

    #[test]
    fn mail_is_parsed() {
        check_mail("FROM:<a@b.c>", Ok("a@b.c None SevenBit None None"));
        check_mail("from: <> SIZE=0", Ok("<> Some(0) SevenBit None None"));
        check_mail(
            "FROM:<a@b.c>  size=18446744073709551615 ",
            Ok("a@b.c Some(18446744073709551615) SevenBit None None"),
        );
        check_mail(
            "FROM:<a@b.c> BODY=8bitmime RET=HDRS ENVID=x+2By",
            Ok("a@b.c None EightBit Some(Headers) Some(\"x+y\")"),
        );
        check_mail("FROM:<\"a>b\\\"c\"@[192.0.2.1]>", Ok("\"a>b\\\"c\"@[192.0.2.1] None SevenBit None None"));
        check_mail("FROM:<@x.example,@[IPv6:::1]:a@b.c>", Ok("a@b.c None SevenBit None None"));
        for bad in [
            "",
            "TO:<a@b.c>",
            "FROM:a@b.c",
            "FROM:<a@b.c",
            "FROM:<a@b.c>SIZE=1",
            "FROM <a@b.c>",
            "FROM:<\"a>@b.c",
        ] {
            check_mail(bad, Err("501 5.5.4"));
        }
        for bad in [
            "<a>",
            "<a@>",
            "<a@b@c>",
            "<@x:>",
            "<x,@y:a@b.c>",
            "<@x y:a@b.c>",
            "<a b@c>",
            "< >",
            "<a@b.c,d@e.f>",
        ] {
            check_mail(&format!("FROM:{bad}"), Err("501 5.1.7"));
        }
        check_mail("FROM:<\u{fc}@b.c>", Err("553 5.6.7"));
    }

    #[test]
    fn mail_parameters_are_judged() {
        let check =
            |parameters: &str, code: &str| check_mail(&format!("FROM:<a@b.c> {parameters}"), Err(code));
        for size in
            ["SIZE", "SIZE=", "SIZE=-1", "SIZE=+5", "SIZE=0x10", "SIZE=1=1", "SIZE=000000000000000000001"]
        {
            check(size, "501 5.5.4");
        }
        check("SIZE=18446744073709551616", "552 5.3.4");
        check("SIZE=99999999999999999999", "552 5.3.4");
        check("SIZE=1 SIZE=1", "501 5.5.4");
        check("BODY=7BIT BODY=8BITMIME", "501 5.5.4");
        check("BODY=BINARYMIME", "555 5.5.4");
        check("RET=SOME", "501 5.5.4");
        check("ENVID=+0D+0A", "501 5.5.4");
        check(&format!("ENVID={}", "x".repeat(101)), "501 5.5.4");
        for unknown in ["SMTPUTF8", "AUTH=<>", "NOTIFY=NEVER", "X=1", "=", "\u{fc}=1"] {
            check(unknown, "555 5.5.4");
        }
    }

    #[test]
    fn rcpt_is_parsed() {
        check_rcpt("TO:<a@b.c>", Ok("a@b.c Unset None"));
        check_rcpt("to:<PostMaster>", Ok("postmaster Unset None"));
        check_rcpt("TO:<@x.example:a@b.c> NOTIFY=never", Ok("a@b.c Never None"));
        check_rcpt(
            "TO:<a@b.c> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+20y@z",
            Ok("a@b.c On { success: true, failure: false, delay: true } Some(\"rfc822;x y@z\")"),
        );
        check_rcpt("TO:<>", Err("501 5.1.3"));
        check_rcpt("TO:<a>", Err("501 5.1.3"));
        check_rcpt("TO:<a%c@>", Err("501 5.1.3"));
        check_rcpt("TO:a@b.c", Err("501 5.5.4"));
        for bad in [
            "NOTIFY=NEVER,SUCCESS",
            "NOTIFY=SUCCESS,SUCCESS",
            "NOTIFY=",
            "NOTIFY=NEVER NOTIFY=NEVER",
            "NOTIFY=,",
            "ORCPT=rfc822",
            "ORCPT=rfc822;",
            "ORCPT=;a",
            "ORCPT=rfc822;+0D+0A",
            "ORCPT=rfc822;a ORCPT=rfc822;a",
        ] {
            check_rcpt(&format!("TO:<a@b.c> {bad}"), Err("501 5.5.4"));
        }
        check_rcpt("TO:<a@b.c> SIZE=1", Err("555 5.5.4"));
    }

    #[test]
    fn other_commands_are_parsed() {
        let check = |line: &str, expected: Result<Command, &str>| {
            assert_eq!(parse(line.as_bytes()).map_err(|refusal| &refusal[..9]), expected, "{line:?}");
        };
        check("ehlo a.example ", Ok(Command::Ehlo("a.example".into())));
        check("HELO My (evil)\u{fc}", Ok(Command::Helo("My".into())));
        check("EHLO <s>(x)", Ok(Command::Ehlo("?s??x?".into())));
        check("EHLO", Err("501 5.5.4"));
        check("DATA", Ok(Command::Data));
        check("STARTTLS x", Err("501 5.5.4"));
        check("QUIT x", Err("501 5.5.4"));
        check("NOOP x", Ok(Command::Noop));
        check("VRFY", Err("501 5.5.4"));
        check("EXPN x", Err("502 5.5.1"));
        check("XCLIENT ADDR=1.2.3.4", Err("502 5.5.1"));
        check("GET / HTTP/1.1", Ok(Command::Foreign));
        check("", Err("500 5.5.2"));
        check(" NOOP", Err("500 5.5.2"));
        check("NOOP\tx", Err("500 5.5.2"));
        check("NOOP\nMAIL FROM:<a@b.c>", Err("500 5.5.2"));
        check("NOOP\0", Err("500 5.5.2"));
        check("QUIT\r", Err("500 5.5.2"));
        assert_eq!(parse(b"NOOP \xff"), Err(CONTROL));
    }
}
