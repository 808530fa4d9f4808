//! The limits as an HTTP/2 client meets them, where that is another way.

use medusa_testkit::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, request,
};
use medusa_testkit::wait;

use super::{after_a_second, expect_faults, expect_service, limited};

const NO_ERROR: u32 = 0;

#[test]
fn first_byte_a_client_that_asks_for_nothing_is_sent_away() {
    let (_site, server) = limited("first_byte = 1", "");
    let mut client = Http2::connect(&server, &[]);
    assert_eq!(after_a_second(&server, || client.end()), Some(NO_ERROR));
    expect_faults(&server, &[]);
}

#[test]
fn first_byte_pings_are_no_request() {
    let (_site, server) = limited("first_byte = 1", "");
    let mut client = Http2::connect(&server, &[]);
    // It is told after a second, and left when it has had the time to hear that: before the limit's default, of half a minute.
    wait::until("it is left", || {
        let _cut_off = client.try_send(&medusa_testkit::http2::frame(PING, 0, 0, &[0; 8]));
        (server.number("http", "connections") == 0).then_some(())
    });
}

#[test]
fn head_half_a_preface_is_answered_408() {
    let (_site, server) = limited("head = 1", "");
    let mut client = server.connect();
    client.send(&PREFACE[..20]);
    assert_eq!(after_a_second(&server, || client.response().status), 408);
    expect_faults(&server, &[("head_timeout", 1)]);
}

#[test]
fn idle_a_connection_is_closed_with_a_word() {
    let (_site, server) = limited("idle = 1", "");
    let mut client = Http2::connect(&server, &[]);
    client.get(1, "/ok");
    assert_eq!(client.status(1), 200);
    assert_eq!(after_a_second(&server, || client.end()), Some(NO_ERROR));
    expect_faults(&server, &[]);
}

#[test]
fn idle_a_head_without_end_does_not_hold_a_connection() {
    let (_site, server) = limited("idle = 1, first_byte = 1", "");
    for before in [0, 1] {
        let mut client = Http2::connect(&server, &[]);
        if before == 1 {
            client.get(1, "/ok");
            assert_eq!(client.status(1), 200);
        }
        client.send(HEADERS, END_STREAM, 3, &request("GET", "/ok"));
        after_a_second(&server, || client.end());
    }
}

#[test]
fn handler_one_that_does_not_answer_is_answered_for() {
    let (_site, server) = limited("handler = 1", "");
    let mut client = Http2::connect(&server, &[]);
    client.get(1, "/sleep");
    assert_eq!(after_a_second(&server, || client.status(1)), 503);
    client.get(3, "/ok");
    assert_eq!(client.status(3), 200);
    expect_faults(&server, &[("handler_timeout", 1)]);
}

#[test]
fn handler_frames_do_not_give_it_more_time() {
    let (_site, server) = limited("handler = 1", "");
    let mut client = Http2::connect(&server, &[]);
    client.get(1, "/sleep");
    let status = after_a_second(&server, || {
        // Frames of other streams and of none: as much traffic as one likes.
        for stream in (3_u32..).step_by(2) {
            client.get(stream, "/ok");
            assert_eq!(client.status(stream), 200);
            client.send(PING, 0, 0, &[0; 8]);
            if server.documents("http.faults")[0]["handler_timeout"] == 1 {
                break;
            }
        }
        client.status(1)
    });
    assert_eq!(status, 503);
}

#[test]
fn body_idle_a_body_that_pauses_is_answered_408() {
    let (_site, server) = limited("body_idle = 1", "");
    let mut client = Http2::connect(&server, &[]);
    client.post(1, "/read");
    client.send(DATA, 0, 1, b"half");
    assert_eq!(after_a_second(&server, || client.status(1)), 408);
    // The others on the connection have nothing to do with it.
    client.get(3, "/ok");
    assert_eq!(client.status(3), 200);
    expect_faults(&server, &[("body_timeout", 1)]);
}

#[test]
fn body_a_longer_one_is_answered_413_whatever_still_comes() {
    let (_site, server) = limited("body = 1000", "");
    let mut client = Http2::connect(&server, &[]);
    let head = [request("POST", "/read"), field("content-length", "1001")].concat();
    client.send(HEADERS, END_HEADERS, 1, &head);
    assert_eq!(client.status(1), 413);
    client.post(3, "/read");
    client.send(DATA, 0, 3, &[0; 1001]);
    assert_eq!(client.status(3), 413);
    // What was on its way when the answer came.
    for _ in 0..10 {
        client.send(DATA, 0, 3, &[0; 1001]);
    }
    client.get(5, "/ok");
    assert_eq!(client.status(5), 200);
    expect_faults(&server, &[("body_too_large", 2)]);
}

#[test]
fn head_bytes_and_uri_longer_ones_are_refused_alone() {
    let (_site, server) = limited("head_bytes = 2000, uri = 100", "");
    let mut client = Http2::connect(&server, &[]);
    client.get(1, &format!("/ok?{}", "x".repeat(96)));
    assert_eq!(client.status(1), 200);
    client.get(3, &format!("/ok?{}", "x".repeat(97)));
    assert_eq!(client.status(3), 414);
    let long = [request("GET", "/ok"), field("name", &"x".repeat(3000))].concat();
    client.send(HEADERS, END_HEADERS | END_STREAM, 5, &long);
    assert_eq!(client.status(5), 431);
    client.get(7, "/ok");
    assert_eq!(client.status(7), 200);
    expect_service(&server);
}

#[test]
fn streams_one_too_many_is_refused() {
    let (_site, server) = limited("streams = 2", "");
    let mut client = Http2::connect(&server, &[]);
    let settings = client.expect(SETTINGS).payload;
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3.
    assert!(settings.chunks(6).any(|setting| setting == [0, 3, 0, 0, 0, 2]), "{settings:02x?}");
    client.get(1, "/sleep");
    client.get(3, "/sleep");
    client.get(5, "/ok");
    let refused = client.expect(RST_STREAM);
    // REFUSED_STREAM: it may be sent again.
    assert_eq!((refused.stream, refused.payload.as_slice()), (5, &[0, 0, 0, 7][..]));
    expect_service(&server);
    client.send(RST_STREAM, 0, 3, &[0, 0, 0, 8]);
    client.get(7, "/ok");
    assert_eq!(client.status(7), 200, "there is room again");
}

#[test]
fn requests_the_last_one_is_followed_by_a_word() {
    let (_site, server) = limited("requests = 2", "");
    let mut client = Http2::connect(&server, &[]);
    for stream in [1, 3] {
        client.get(stream, "/ok");
        assert_eq!(client.status(stream), 200);
    }
    assert_eq!(client.end(), Some(NO_ERROR));
    expect_faults(&server, &[]);
}

#[test]
fn connection_a_life_ends_after_the_request_it_is_at() {
    let (_site, server) =
        limited("connection = 1", "web:mount('/slow', function() medusa.sleep(4) return 'whole' end)");
    let mut client = Http2::connect(&server, &[]);
    client.get(1, "/slow");
    let goaway = after_a_second(&server, || client.expect(GOAWAY));
    assert_eq!(goaway.payload[4..8], [0; 4], "no error");
    assert_eq!(client.status(1), 200, "what has begun is finished");
    assert_eq!(client.expect(DATA).payload, b"whole");
    client.end();
    expect_faults(&server, &[]);
}

/// A window that is never opened stops the answers without a byte waiting at the socket; one that is large enough for all
/// of them leaves it to the socket.
#[test]
fn write_a_reader_that_makes_no_room_is_left() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited(
        "write = 1",
        "web:mount('/once', function() return string.rep('x', 1024 * 1024) end)
        web:mount('/stream', function()
            return { body = function(write) while true do write(string.rep('x', 65536)) end end }
        end)",
    );
    let cases = [("/once", 0), ("/once", 1000), ("/stream", 0), ("/stream", 100_000), ("/stream", 1 << 30)];
    for (path, window) in cases {
        let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, window)]);
        client.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
        client.get(1, path);
        assert_eq!(client.status(1), 200, "{path}");
        after_a_second(&server, || {
            wait::until("it is left", || {
                // Says that it is there, to no avail.
                let _cut_off = client.try_send(&medusa_testkit::http2::frame(PING, 0, 0, &[0; 8]));
                (server.number("http", "connections") == 0).then_some(())
            });
        });
        expect_service(&server);
    }
    wait::until("the producers are gone", || (server.number("vm", "requests") == 0).then_some(()));
    expect_faults(&server, &[("write_stall", cases.len() as u64)]);
}

/// One that makes room for some of its answers loses the others, and those alone.
#[test]
fn write_an_answer_that_is_left_alone_is_ended_alone() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited(
        "write = 3",
        "web:mount('/stream', function()
            return { body = function(write) while true do write(string.rep('x', 65536)) end end }
        end)",
    );
    let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
    client.get(1, "/stream");
    client.get(3, "/stream");
    let ended = loop {
        client.send(WINDOW_UPDATE, 0, 3, &40_000_u32.to_be_bytes());
        let mut frames = std::iter::from_fn(|| {
            client
                .is_readable_within(std::time::Duration::from_millis(100))
                .then(|| client.next_frame())
                .flatten()
        });
        if let Some(frame) = frames.find(|frame| frame.kind == RST_STREAM || frame.kind == GOAWAY) {
            break frame;
        }
    };
    assert_eq!((ended.kind, ended.stream), (RST_STREAM, 1));
    client.get(5, "/ok");
    assert_eq!(client.status(5), 200);
    expect_faults(&server, &[("write_stall", 1)]);
}

/// A slow reader is none that has stopped, and a slow producer is not the reader's fault.
#[test]
fn write_who_takes_something_may_stay() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited(
        "write = 1",
        "web:mount('/once', function() return string.rep('x', 2000) end)
        web:mount('/slow', function()
            return { body = function(write) write('a') medusa.sleep(4) write('b') end }
        end)",
    );
    let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 0)]);
    client.get(1, "/once");
    assert_eq!(client.status(1), 200);
    let mut read = 0;
    while read < 2000 {
        client.send(WINDOW_UPDATE, 0, 1, &200_u32.to_be_bytes());
        read += client.expect(DATA).payload.len();
        assert!(
            !client.is_readable_within(std::time::Duration::from_millis(400)),
            "it is sent more than it takes"
        );
    }
    let mut client = Http2::connect(&server, &[]);
    client.get(1, "/slow");
    assert_eq!(client.status(1), 200);
    let mut text = Vec::new();
    while text != b"ab" {
        text.extend(client.expect(DATA).payload);
    }
    expect_faults(&server, &[]);
}

/// A long answer goes out in pieces, and comes whole.
#[test]
fn write_a_long_answer_loses_nothing_on_its_way() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let (_site, server) = limited(
        "write = 1",
        "local text = {}
        for n = 1, 150000 do text[n] = string.format('%06d.', n) end
        text = table.concat(text)
        web:mount('/once', function() return text end)
        web:mount('/twice', function() return { body = function(write) write(text) write(text) end } end)",
    );
    let text = (1..=150_000).fold(String::new(), |text, n| text + &format!("{n:06}."));
    for (path, times) in [("/once", 1), ("/twice", 2)] {
        let mut client = Http2::connect(&server, &[(INITIAL_WINDOW_SIZE, 1 << 30)]);
        client.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes());
        client.get(1, path);
        assert_eq!(client.status(1), 200);
        let mut came = Vec::new();
        while came.len() < text.len() * times {
            came.extend(client.expect(DATA).payload);
        }
        assert!(came == text.repeat(times).into_bytes(), "{path}: not what was sent");
    }
    expect_faults(&server, &[]);
}

/// Of a head in many pieces, as of a head in one, no more is kept than the limit.
#[test]
fn head_bytes_hold_for_a_head_in_pieces() {
    let (_site, server) = limited("head_bytes = 2000", "");
    let mut client = Http2::connect(&server, &[]);
    client.send(HEADERS, END_STREAM, 1, &request("GET", "/ok"));
    for _ in 0..3 {
        client.send(CONTINUATION, 0, 1, &field("name", &"x".repeat(1000)));
    }
    client.send(CONTINUATION, END_HEADERS, 1, &[]);
    assert_eq!(client.status(1), 431);
    expect_service(&server);
}
