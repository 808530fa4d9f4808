//! Several ranges in one answer.

use medusa_testkit::{Client, memory};

use super::{ask, pattern, site, start};

/// The content of the parts that were asked for, out of a `multipart/byteranges`.
#[track_caller]
fn parts<'b>(boundary: &str, body: &'b [u8], expected: &[(&str, usize)]) -> Vec<&'b [u8]> {
    let mut rest = body;
    let mut parts = Vec::new();
    for (at, (range, length)) in expected.iter().enumerate() {
        let line_end = if at == 0 { "" } else { "\r\n" };
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}\r\n\r\n"
        );
        rest = rest.strip_prefix(head.as_bytes()).expect("the head of the part");
        let (part, after) = rest.split_at(*length);
        parts.push(part);
        rest = after;
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
    parts
}

fn boundary(content_type: Option<&str>) -> String {
    let boundary = content_type.and_then(|value| value.strip_prefix("multipart/byteranges; boundary="));
    boundary.expect("a multipart").to_owned()
}

#[test]
fn several_parts_can_be_asked_for() {
    let site = site();
    let server = start(&site);
    let answer = ask(&server, "/four.bin", &[("Range", "bytes=4000-,0-9,100-199")]);
    assert_eq!((answer.status, answer.header("content-range")), (206, None));
    assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()));
    let expected = [("4000-4095/4096", 96), ("0-9/4096", 10), ("100-199/4096", 100)];
    let found = parts(&boundary(answer.header("content-type")), &answer.body, &expected);
    let whole = pattern(4096);
    assert!(found == [&whole[4000..], &whole[..10], &whole[100..200]]);
    let head = server.connect().request("HEAD", "/four.bin", &[("Range", "bytes=0-1,4-5")]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("4096")));
}

/// Reads a body of `length` bytes, slowly.
fn read(client: &mut Client, length: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(length);
    while body.len() < length {
        let some = client.read_some(65_536);
        assert!(!some.is_empty(), "it broke off after {} bytes", body.len());
        body.extend(some);
    }
    body
}

#[test]
fn large_parts_to_a_slow_reader_cost_no_memory() {
    const LARGE: usize = 48 << 20;
    const HALF: usize = LARGE / 2;
    let site = site().file("public/large.bin", pattern(LARGE));
    let server = start(&site);
    server.get("/four.bin");
    let before = memory::resident(server.pid());
    let mut slow = server.connect();
    let range = format!("bytes={HALF}-,0-{}", HALF - 1);
    slow.send(format!("GET /large.bin HTTP/1.1\r\nHost: t\r\nRange: {range}\r\n\r\n"));
    let head = slow.head();
    assert_eq!(head.status, 206);
    for _ in 0..100 {
        assert_eq!(server.get("/four.bin").body.len(), 4096);
    }
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more for one slow reader");

    let length = head.header("content-length").and_then(|length| length.parse().ok()).expect("a length");
    let body = read(&mut slow, length);
    let (first, second) = (format!("{HALF}-{}/{LARGE}", LARGE - 1), format!("0-{}/{LARGE}", HALF - 1));
    let expected = [(first.as_str(), HALF), (second.as_str(), HALF)];
    let found = parts(&boundary(head.header("content-type")), &body, &expected);
    let whole = pattern(LARGE);
    assert!(found == [&whole[HALF..], &whole[..HALF]]);
    assert_eq!(slow.get("/letters.txt").text(), "abcdefghij", "the connection goes on");
}
