//! Bodies that are more than they look: forms, JSON, keys that collide, uploads.

use super::{AttackKind, MOST_CONNECTIONS, after};

pub(super) const KINDS: &[AttackKind] = &[
    AttackKind::new("form bombs", |attack| {
        attack.repeat(|rng| {
            let body = match rng.usize(..4) {
                0 => b"a=1&".repeat(BODY / 4),
                1 => b"&".repeat(BODY),
                2 => [&b"a="[..], &b"%41".repeat(BODY / 3 - 1)].concat(),
                _ => (0..900)
                    .flat_map(|number| format!("field{number}={}&", "x".repeat(1_000)).into_bytes())
                    .collect(),
            };
            post("form", "application/x-www-form-urlencoded", &body)
        })
    }),
    AttackKind::new("multipart bombs", |attack| {
        const PART: &str = "--b\r\nContent-Disposition: form-data; name=\"f\"";
        attack.repeat(|rng| {
            let body = match rng.usize(..5) {
                0 => format!("{PART}\r\n\r\nx\r\n").repeat(BODY / 60),
                1 => format!("{PART}\r\n{}", "X-Field: x\r\n".repeat(BODY / 20)),
                2 => format!("{PART}; filename=\"f\"\r\n\r\nx\r\n").repeat(900) + "--b--",
                3 => format!("{PART}\r\n\r\n{}", "\r\n--".repeat(BODY / 5)),
                _ => "-".repeat(BODY),
            };
            post("form", "multipart/form-data; boundary=b", body.as_bytes())
        })
    }),
    AttackKind::new("JSON bombs", |attack| {
        attack.repeat(|rng| {
            let body = match rng.usize(..6) {
                0 => format!("[{}{{}}]", "{},".repeat(BODY / 3 - 2)),
                1 => "[".repeat(BODY),
                2 => "{\"a\":".repeat(BODY / 5),
                3 => format!("[{}1]", "1e308,".repeat(BODY / 6 - 1)),
                4 => format!("\"{}\"", "\\ud83d\\ude00".repeat(BODY / 12 - 1)),
                _ => json_object((0..60_000).map(|number| format!("k{number}"))),
            };
            post("json", "application/json", body.as_bytes())
        })
    }),
    // Keys whose hash is equal in its low bits, by Luau's function without a seed.
    AttackKind::new("colliding keys", |attack| {
        let body = post("json", "application/json", json_object(collisions(20_000)).as_bytes());
        attack.repeat(|_| body.clone())
    }),
    AttackKind::new("upload floods", |attack| {
        let body = post("body", "application/octet-stream", &vec![7; BODY]);
        attack.repeat(|_| body.clone())
    }),
    // All but the last byte.
    AttackKind::new("uploads held", |attack| {
        let body = post("body", "application/octet-stream", &vec![7; BODY]);
        attack.hold(MOST_CONNECTIONS, |attack| after(&body[..body.len() - 1], attack.dial()?))
    }),
];

/// The longest body that the server takes when it is not told otherwise, in bytes.
const BODY: usize = 1 << 20;

fn post(as_what: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /takes?as={as_what} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// An object of numbers with these keys.
fn json_object(keys: impl IntoIterator<Item = String>) -> String {
    let fields: Vec<String> = keys.into_iter().map(|key| format!("\"{key}\":1")).collect();
    format!("{{{}}}", fields.join(","))
}

/// Texts of eight characters that collide in a table of up to 2^12 places.
fn collisions(count: usize) -> Vec<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const MASK: u32 = (1 << 12) - 1;
    let step = |hash: u32, byte: u8| hash ^ (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(byte));
    let mut found = Vec::new();
    for number in 0_usize.. {
        let mut text = [b'A'; 8];
        let mut rest = number;
        for place in &mut text[1..] {
            *place = LETTERS[rest % LETTERS.len()];
            rest /= LETTERS.len();
        }
        let hash = text[1..].iter().rev().fold(8, |hash, &byte| step(hash, byte));
        for &letter in LETTERS.iter().filter(|&&letter| step(hash, letter) & MASK == 0) {
            text[0] = letter;
            found.push(text.iter().copied().map(char::from).collect());
            if found.len() == count {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_collide_are_as_many_as_were_asked_for_and_differ() {
        let mut keys = collisions(500);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 500);
    }
}
