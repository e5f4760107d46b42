//! Octets as hexadecimal digits.

/// Two small digits for each octet.
pub(crate) fn write(octets: &[u8]) -> String {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    octets.iter().flat_map(|octet| [digit(octet >> 4), digit(octet & 15)]).collect()
}

/// The octets of digits in either case; none where one is no digit, or one is left over.
pub(crate) fn read(digits: impl Iterator<Item = char>) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    let (pairs, odd) = digits.as_chunks::<2>();
    odd.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
