//! The parameters of MAIL and RCPT: SIZE, BODY, RET, ENVID, NOTIFY, ORCPT.

use crate::command::{Mail, Rcpt, Refusal};
use crate::xtext;
use postroad_mail::envelope::{BodyKind, Notify, Ret};

const SYNTAX: Refusal = "501 5.5.4 Syntax error in a parameter";
const REPEATED: Refusal = "501 5.5.4 A parameter is repeated";
const UNKNOWN: Refusal = "555 5.5.4 Unsupported parameter";
const SIZE_TOO_LARGE: Refusal = "552 5.3.4 Message too large";
const BODY_NOT_OFFERED: Refusal = "555 5.5.4 Unsupported BODY type";

/// Decimal digits of `SIZE` (RFC 1870 §3).
const SIZE_DIGITS_MAX: usize = 20;
/// Characters of `ENVID` (RFC 3461 §4.4), and of `ORCPT` (§4.2).
const ENVID_MAX: usize = 100;
const ORCPT_MAX: usize = 500;

/// Takes the parameters of a MAIL into it.
pub fn of_mail(text: &str, mail: &mut Mail) -> Result<(), Refusal> {
    let mut body = None;
    for (key, value) in split(text) {
        let is = |name: &str| key.eq_ignore_ascii_case(name);
        if is("SIZE") {
            once(&mut mail.declared_size, size(value?)?)?;
        } else if is("BODY") {
            once(&mut body, body_kind(value?)?)?;
        } else if is("RET") {
            once(&mut mail.sender.ret, ret(value?)?)?;
        } else if is("ENVID") {
            once(&mut mail.sender.envid, envid(value?)?)?;
        } else {
            return Err(UNKNOWN);
        }
    }
    mail.sender.body = body.unwrap_or_default();
    Ok(())
}

/// Takes the parameters of a RCPT into it.
pub fn of_rcpt(text: &str, rcpt: &mut Rcpt) -> Result<(), Refusal> {
    let mut notified = None;
    for (key, value) in split(text) {
        if key.eq_ignore_ascii_case("NOTIFY") {
            once(&mut notified, notify(value?)?)?;
        } else if key.eq_ignore_ascii_case("ORCPT") {
            once(&mut rcpt.orcpt, orcpt(value?)?)?;
        } else {
            return Err(UNKNOWN);
        }
    }
    rcpt.notify = notified.unwrap_or_default();
    Ok(())
}

/// The keys, and their values: an error where a value is missing or empty, or has what no value may have.
fn split(text: &str) -> impl Iterator<Item = (&str, Result<&str, Refusal>)> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((key, value))
            if !value.is_empty() && value.bytes().all(|b| matches!(b, b'!'..=b'~' if b != b'=')) =>
        {
            (key, Ok(value))
        }
        Some((key, _)) => (key, Err(SYNTAX)),
        None => (word, Err(SYNTAX)),
    })
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    if slot.replace(value).is_some() { Err(REPEATED) } else { Ok(()) }
}

fn size(value: &str) -> Result<u64, Refusal> {
    if value.len() > SIZE_DIGITS_MAX || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SYNTAX);
    }
    value.parse().map_err(|_| SIZE_TOO_LARGE)
}

fn body_kind(value: &str) -> Result<BodyKind, Refusal> {
    if value.eq_ignore_ascii_case("7BIT") {
        Ok(BodyKind::SevenBit)
    } else if value.eq_ignore_ascii_case("8BITMIME") {
        Ok(BodyKind::EightBit)
    } else {
        Err(BODY_NOT_OFFERED)
    }
}

fn ret(value: &str) -> Result<Ret, Refusal> {
    if value.eq_ignore_ascii_case("FULL") {
        Ok(Ret::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Ok(Ret::Headers)
    } else {
        Err(SYNTAX)
    }
}

fn envid(value: &str) -> Result<String, Refusal> {
    if value.len() > ENVID_MAX {
        return Err(SYNTAX);
    }
    xtext::decode(value).ok_or(SYNTAX)
}

/// `NEVER`, which stands alone, or a list of the others, none twice.
fn notify(value: &str) -> Result<Notify, Refusal> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let flag = if word.eq_ignore_ascii_case("SUCCESS") {
            &mut success
        } else if word.eq_ignore_ascii_case("FAILURE") {
            &mut failure
        } else if word.eq_ignore_ascii_case("DELAY") {
            &mut delay
        } else {
            return Err(SYNTAX);
        };
        if std::mem::replace(flag, true) {
            return Err(SYNTAX);
        }
    }
    Ok(Notify::On { success, failure, delay })
}

/// `type;xtext`, decoded. The type is an atom; we judge no further, whoever wrote it is told it again.
fn orcpt(value: &str) -> Result<String, Refusal> {
    let (kind, address) = value.split_once(';').ok_or(SYNTAX)?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if value.len() > ORCPT_MAX || !is_kind || address.is_empty() {
        return Err(SYNTAX);
    }
    Ok(format!("{kind};{}", xtext::decode(address).ok_or(SYNTAX)?))
}
