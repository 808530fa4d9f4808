//! Bytes as hexadecimal text.

/// Two digits for each byte, in lower case: `00ff`.
#[must_use]
pub fn lower(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_digits_for_each_byte() {
        assert_eq!(super::lower(&[0x00, 0x0a, 0xff, 0x5c]), "000aff5c");
        assert_eq!(super::lower(&[]), "");
    }
}
