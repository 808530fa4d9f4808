//! No section, all of them: requests in every possible pieces, and pipelines in which one is malformed.

use medusa_testkit::Client;

use crate::support::{Origin, chunked, expect_all, get, message, post};

/// Requests of every framing, and what each is answered with.
fn requests() -> Vec<(String, u16, &'static str)> {
    vec![
        (get("/n?n=1", "Accept: */*\r\nX: y"), 200, "1"),
        (post("/echo", "Content-Length: 5", "hello"), 200, "hello"),
        (
            chunked("5;a=\"b\"\r\nhello\r\n2\r\n, \r\n000005\r\nworld\r\n0\r\nName: value\r\n\r\n"),
            200,
            "hello, world",
        ),
        (get("/files/ten.txt", "Range: bytes=2-4"), 206, "234"),
        (message("DELETE", "/some", ""), 405, ""),
        (format!("\r\n{}", get("/n?n=2", "")), 200, "2"),
        (get("/stream", ""), 200, "part 1\npart 2\npart 3\n"),
    ]
}

#[track_caller]
fn expect(client: &mut Client, (status, text): (u16, &str), what: &str) {
    let answer = client.response();
    assert_eq!(answer.status, status, "{what}");
    assert!(status >= 400 || answer.text() == text, "{what}: {answer:?}");
}

/// A request may come in two pieces, cut anywhere.
#[test]
fn a_request_may_be_cut_anywhere() {
    let origin = Origin::start();
    let mut client = origin.connect();
    for (request, status, text) in requests() {
        for cut in 1..request.len() {
            client.send(&request[..cut]);
            client.until_read();
            client.send(&request[cut..]);
            expect(&mut client, (status, text), &format!("{request:?} cut at {cut}"));
        }
    }
}

/// A request may come byte by byte.
#[test]
fn a_request_may_come_byte_by_byte() {
    let origin = Origin::start();
    let mut client = origin.connect();
    for (request, status, text) in requests() {
        for byte in request.as_bytes() {
            client.send([*byte]);
            client.until_read();
        }
        expect(&mut client, (status, text), &format!("{request:?} byte by byte"));
    }
}

/// A pipeline may be cut anywhere, also where two requests meet.
#[test]
fn a_pipeline_may_be_cut_anywhere() {
    let origin = Origin::start();
    let requests = requests();
    let pipeline: String = requests.iter().map(|(request, ..)| request.as_str()).collect();
    let mut client = origin.connect();
    for cut in (1..pipeline.len()).step_by(3) {
        client.send(&pipeline[..cut]);
        client.until_read();
        client.send(&pipeline[cut..]);
        for (request, status, text) in &requests {
            expect(&mut client, (*status, text), &format!("{request:?} in a pipeline cut at {cut}"));
        }
    }
}

/// A malformed request in a pipeline: all before it are answered in their order, it gets its 4xx, nothing after it is
/// answered.
#[test]
fn a_malformed_request_ends_its_pipeline() {
    let origin = Origin::start();
    let malformed = [
        "nonsense\r\n\r\n".to_owned(),
        "GET /n\r\n\r\n".to_owned(),
        "GET /n HTTP/1.1\r\n\r\n".to_owned(),
        get("/n", "Name : value"),
        get("/n", "Name: a\r\n b"),
        get("/n", "Name: a\0b"),
        get("/n", "Host: again"),
        get("n", ""),
        post("/n", "Content-Length: x", ""),
        post("/n", "Transfer-Encoding: gzip", ""),
        get("/n", &"Name: value\r\n".repeat(200)),
    ];
    let good = requests();
    let cases: Vec<(usize, &String)> =
        (0..good.len()).flat_map(|k| malformed.iter().map(move |bad| (k, bad))).collect();
    expect_all(cases, |(k, bad)| {
        let before: String = good[..k].iter().map(|(request, ..)| request.as_str()).collect();
        let mut client = origin.connect();
        client.send(format!("{before}{bad}{}", get("/n", "").repeat(3)));
        for (request, status, text) in &good[..k] {
            expect(&mut client, (*status, text), &format!("{request:?} before {bad:?}"));
        }
        match client.try_response("GET") {
            Ok(Some(answer)) if (400..500).contains(&answer.status) => client.closed(),
            other => Err(format!("{bad:?} behind {k} requests: {other:?}")),
        }
    });
}

/// As above, cut within the malformed one: that the rest comes later changes nothing.
#[test]
fn a_malformed_request_in_two_pieces_is_refused() {
    let origin = Origin::start();
    let good = get("/n?n=1", "");
    let bad = get("/n", "Name : value");
    for cut in (1..good.len() + bad.len()).step_by(2) {
        let mut client = origin.connect();
        let all = format!("{good}{bad}");
        client.send(&all[..cut]);
        client.until_read();
        // The space before the colon may have been refused by now.
        let _cut_off = client.try_send(&all[cut..]);
        assert_eq!(client.response().text(), "1", "cut at {cut}");
        assert_eq!(client.response().status, 400, "cut at {cut}");
        client.expect_close();
    }
}

/// A request with some bytes changed is answered with something else, or not; what is answered is HTTP, and the server
/// goes on.
#[test]
fn a_damaged_request_gets_nothing_but_http() {
    let origin = Origin::start();
    let requests = requests();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    expect_all(0..3_000, |round: usize| {
        let mut damaged = requests[round % requests.len()].0.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            match random.below(4) {
                0 => drop(damaged.remove(at)),
                1 => damaged.insert(at, b"\r\n \t:;,\"0"[random.below(9)]),
                2 => damaged[at] = b"\r\n \t:;,\"0"[random.below(9)],
                _ => damaged[at] = random.below(256) as u8,
            }
        }
        let mut client = origin.connect();
        let _cut_off = client.try_send([&damaged, get("/n?n=1", "").as_bytes()].concat());
        client.finish_sending();
        loop {
            match client.try_response("GET") {
                Ok(Some(answer)) if matches!(answer.status, 100 | 200..=599) => {}
                Ok(None) => return Ok(()),
                other => return Err(format!("\"{}\": {other:?}", damaged.escape_ascii())),
            }
        }
    });
    origin.answers(get("/n", ""), 200);
    let said = origin.server.stderr().text();
    assert!(!said.contains("panic"), "{said}");
}

/// The same numbers every time, so that a failure repeats itself: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
