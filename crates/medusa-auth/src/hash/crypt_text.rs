//! The digits that `crypt` writes hashes in: six bits each, the lowest first.

const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of the bytes of a `digest`, taken in threes in that order, the highest first; of what follows them, `rest`: its bytes,
/// and the number of digits.
pub(super) fn encode(digest: &[u8], threes: &[[usize; 3]], rest: (&[usize], usize)) -> Vec<u8> {
    let byte = |at: &usize| u32::from(digest.get(*at).copied().unwrap_or_default());
    let mut text = Vec::with_capacity(threes.len() * 4 + rest.1);
    let mut push = |bytes: &[usize], digits| {
        let mut bits = bytes.iter().fold(0, |bits, at| (bits << 8) | byte(at));
        for _ in 0..digits {
            text.extend(DIGITS.get((bits & 63) as usize));
            bits >>= 6;
        }
    };
    for three in threes {
        push(three, 4);
    }
    push(rest.0, rest.1);
    text
}
