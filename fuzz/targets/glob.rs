//! Patterns for paths, against a matcher that follows the definition and takes its time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::glob::Glob;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, path) = input;
    let Ok(glob) = Glob::parse(text) else { return };
    assert_eq!(glob.to_string(), text);
    let found = glob.matches(path);
    // Without groups the definition is short, and slow where there are many stars.
    if text.contains(['{', '}']) || text.len() > 24 || path.len() > 48 {
        return;
    }
    let pattern = text.strip_prefix('/').unwrap_or(text);
    let pattern = if text.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
    let pattern: Vec<&[u8]> = pattern.as_bytes().split(|&byte| byte == b'/').collect();
    let path: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    assert_eq!(found, segments(&pattern, &path), "{text:?} of {path:?}");
});

fn segments(pattern: &[&[u8]], path: &[&[u8]]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([b"**", rest @ ..], _) => {
            segments(rest, path) || path.split_first().is_some_and(|(_, path)| segments(pattern, path))
        }
        ([first, pattern @ ..], [segment, path @ ..]) => name(first, segment) && segments(pattern, path),
        _ => false,
    }
}

fn name(pattern: &[u8], segment: &[u8]) -> bool {
    match (pattern, segment) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            name(rest, segment) || segment.split_first().is_some_and(|(_, segment)| name(pattern, segment))
        }
        ([first, pattern @ ..], [byte, segment @ ..]) => first == byte && name(pattern, segment),
        _ => false,
    }
}
