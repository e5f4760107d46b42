//! `xtext`, in which ENVID and ORCPT are written (RFC 3461 §4).

/// Decodes to printable ASCII. `None` where the coding is broken, or hides a control character or an octet above 126: such a
/// value would go into header fields and notifications.
pub fn decode(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'+' => upper_hex(bytes.next()?)? << 4 | upper_hex(bytes.next()?)?,
            b'!'..=b'~' if byte != b'=' => byte,
            _ => return None,
        };
        if !matches!(plain, b' '..=b'~') {
            return None;
        }
        decoded.push(char::from(plain));
    }
    Some(decoded)
}

/// Appends the coding of printable ASCII.
pub fn encode_into(plain: &str, wire: &mut String) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for byte in plain.bytes() {
        if matches!(byte, b'!'..=b'~') && byte != b'+' && byte != b'=' {
            wire.push(char::from(byte));
        } else {
            wire.push('+');
            wire.extend([byte >> 4, byte & 15].map(|digit| char::from(HEX[usize::from(digit)])));
        }
    }
}

fn upper_hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_and_coded() {
        let check = |coded: &str, plain: &str| {
            assert_eq!(decode(coded).as_deref(), Some(plain));
            let mut wire = String::new();
            encode_into(plain, &mut wire);
            assert_eq!(wire, coded);
        };
        check("a+2Bb+3D@c", "a+b=@c");
        check("two+20words", "two words");
        check("", "");
        for bad in ["+", "+2", "+2b", "+0D+0A", "+00", "+7F", "+FC", "a=b", "a b", "\u{fc}", "a\rb"] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
