//! Sessions: RFC 6455 by hand-written frames, and what scripts make of them. What is asserted of handlers is asserted
//! of both kinds: functions, whose VM is on another thread, and files.

use std::thread;
use std::time::Duration;

use medusa_testkit::http2::{DATA, END_HEADERS, Http2, RST_STREAM, SETTINGS, field};
use medusa_testkit::websocket::{
    BINARY, CLOSE, COMPRESSED, CONTINUE, FIN, PING, PONG, TEXT, close, deflated, frame, header,
};
use medusa_testkit::{Client, Server, Signal, Site, WebSocket, wait};

use super::support::{WEB, start, unnumbered, web};

/// Mounts the same function twice: at `/main` in the main VM, and at `/file` in the workers'.
fn both(function: &str) -> Site {
    web(&format!(
        "web:mount('/main', {function})
        web:mount('/file', medusa.handler.script('handler.luau'))"
    ))
    .file("handler.luau", format!("return {function}"))
}

const KINDS: [&str; 2] = ["/main", "/file"];

const ECHO: &str = "function(req)
    return req:websocket(function(ws)
        ws.socket, ws.handle = 1, 2 -- a script's own fields, whatever their names
        for message, kind in ws do
            if kind == 'text' then ws:send(message) else ws:send_binary(message) end
        end
    end)
end";

/// A handler that writes down how its sessions end, to be asked for by another mount.
const TELLS_END: &str = "function(req)
    return req:websocket(function(ws)
        local ends = medusa.shared('ends')
        local message, code, reason
        repeat
            message, code, reason = ws:recv()
        until message == nil
        ends:set('last', `{code} {reason}`)
    end)
end";

#[track_caller]
fn echo() -> (Site, Server) {
    let site = both(ECHO);
    let server = start(&site);
    (site, server)
}

#[test]
fn messages_come_back_as_they_were_sent() {
    let (_site, server) = echo();
    for path in KINDS {
        let mut ws = WebSocket::connect(server.address(), path);
        for length in [0, 1, 125, 126, 127, 65535, 65536, 65537, 200_000, 1 << 20] {
            let text = "é~".repeat(length / 3) + &"x".repeat(length % 3);
            ws.send(&text);
            assert_eq!(ws.text(), text, "{length}");
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            ws.send_frame(FIN | BINARY, &bytes);
            assert_eq!(ws.message(), (BINARY, bytes));
        }
        ws.close(1000, "thanks");
    }
}

#[test]
fn fragments_are_one_message_and_control_frames_come_between() {
    let (_site, server) = echo();
    for path in KINDS {
        let mut ws = WebSocket::connect(server.address(), path);
        ws.send_frame(TEXT, b"one ");
        ws.send_frame(CONTINUE, b"");
        ws.send_frame(FIN | PING, b"still there?");
        let pong = ws.frame();
        assert_eq!((pong.code, pong.payload.as_slice()), (PONG, &b"still there?"[..]));
        // A character may be cut in two.
        ws.send_frame(CONTINUE, b"tw\xc3");
        ws.send_frame(FIN | PONG, b"nobody asked");
        ws.send_frame(FIN | CONTINUE, b"\xa9");
        assert_eq!(ws.text(), "one tw\u{e9}");
        // And a frame, byte by byte.
        for byte in frame(FIN | TEXT, b"slow") {
            ws.client().send([byte]);
        }
        assert_eq!(ws.text(), "slow");
        ws.close(1000, "");
    }
}

/// What must end a session with 1002, 1007 or 1009 ([RFC 6455 §5, §7.4, §8.1]).
#[test]
fn who_breaks_the_protocol_is_told_and_closed() {
    let (_site, server) = echo();
    let unmasked = [header(FIN | TEXT, 2), b"hi".to_vec()].concat();
    let mut too_long = frame(FIN | BINARY, &[]);
    too_long.splice(1..2, [0x80 | 127, 0, 0, 0, 0, 0, 0x10, 0, 1]);
    let half = vec![0; 600_000];
    let long_ping = frame(FIN | PING, &[0; 126]);
    for (what, bytes, code) in [
        ("an unmasked frame", unmasked, 1002),
        ("the first reserved bit", frame(FIN | 0x40 | TEXT, b"x"), 1002),
        ("the second reserved bit", frame(FIN | 0x20 | TEXT, b"x"), 1002),
        ("an unknown message", frame(FIN | 3, b""), 1002),
        ("an unknown control frame", frame(FIN | 0xb, b""), 1002),
        ("a ping in fragments", frame(PING, b""), 1002),
        ("a long ping", long_ping, 1002),
        ("a continuation of nothing", frame(FIN | CONTINUE, b"x"), 1002),
        ("a message within another", [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), 1002),
        ("a close of one byte", frame(FIN | CLOSE, b"x"), 1002),
        ("a close with a code that is none", frame(FIN | CLOSE, &close(999, "")), 1002),
        ("a close with 1005", frame(FIN | CLOSE, &close(1005, "")), 1002),
        ("a close with 1006", frame(FIN | CLOSE, &close(1006, "")), 1002),
        ("a close with 1015", frame(FIN | CLOSE, &close(1015, "")), 1002),
        ("a close with 5000", frame(FIN | CLOSE, &close(5000, "")), 1002),
        ("text that is none", frame(FIN | TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), 1007),
        ("half a character", [frame(TEXT, b"\xe2"), frame(FIN | CONTINUE, b"\x82")].concat(), 1007),
        ("a reason that is no text", frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
        ("too long a frame", too_long, 1009),
        ("too long a message", [frame(BINARY, &half), frame(FIN | CONTINUE, &half)].concat(), 1009),
    ] {
        for path in KINDS {
            let mut ws = WebSocket::connect(server.address(), path);
            // It need not be read to its end.
            let _closed = ws.client().try_send(&bytes);
            eprintln!("{path}: {what}");
            ws.expect_close(code);
        }
    }
}

#[test]
fn a_session_can_be_closed_in_every_way_that_is_allowed() {
    let (_site, server) = echo();
    for code in
        [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
    {
        WebSocket::connect(server.address(), "/file").close(code, "because");
    }
    let mut ws = WebSocket::connect(server.address(), "/file");
    ws.send_frame(FIN | CLOSE, b"");
    let answer = ws.frame();
    assert_eq!((answer.code, answer.payload.as_slice()), (CLOSE, &b""[..]));
    ws.client().expect_close();
}

#[test]
fn the_function_is_told_how_the_session_ended() {
    let site = both(TELLS_END);
    let server = start(&site);
    let ended = |how: &str| {
        wait::until("the end is known", || {
            (server.eval("return medusa.shared('ends'):get('last')").contains(how)).then_some(())
        });
    };
    for path in KINDS {
        let mut ws = WebSocket::connect(server.address(), path);
        ws.close(4001, &format!("done with {path}"));
        ended(&format!("4001 done with {path}"));
        let mut ws = WebSocket::connect(server.address(), path);
        ws.send_frame(FIN | CLOSE, b"");
        ended("1005");
        WebSocket::connect(server.address(), path).client().finish_sending();
        ended("1006");
        server.eval("medusa.shared('ends'):set('last', '')");
        let mut ws = WebSocket::connect(server.address(), path);
        ws.send_frame(FIN | TEXT, b"\xff");
        ended("1007");
    }
}

#[test]
fn the_function_ends_the_session() {
    let site = both(
        "function(req)
            return req:websocket(function(ws)
                local how = ws:recv()
                if how == 'return' then return end
                if how == 'fail' then error('on purpose') end
                if how == 'spin' then while true do end end
                local ok, wrong = pcall(ws.close, ws, tonumber(how), 'as you say')
                if not ok then
                    ws:send(tostring(wrong))
                    ws:close(4000)
                end
                ws:try_send('not sent any more')
            end)
        end",
    );
    let server = start(&site);
    for path in KINDS {
        let end = |how: &str, code| {
            let mut ws = WebSocket::connect(server.address(), path);
            ws.send(how);
            ws.expect_close(code)
        };
        end("return", 1000);
        assert_eq!(end("fail", 1011), "");
        let line = server.stderr().wait_for("on purpose");
        assert!(line.contains("a websocket's function failed"), "{line}");
        end("spin", 1011);
        assert_eq!(end("1001", 1001), "as you say");
        assert_eq!(end("4999", 4999), "as you say");
        for wrong in ["1005", "1006", "1015", "5000", "0", "1000.5", "-1"] {
            let mut ws = WebSocket::connect(server.address(), path);
            ws.send(wrong);
            let line = ws.text();
            assert!(line.contains(&format!("{wrong} is not a close code")), "{line}");
            ws.expect_close(4000);
        }
    }
}

#[test]
fn a_function_of_a_statement_is_told_as_such() {
    let site = web("");
    let server = start(&site);
    let mount =
        "web:mount('/made', function(req) return req:websocket(function() error('on purpose') end) end)";
    server.command(["eval", mount]).success();
    WebSocket::connect(server.address(), "/made").expect_close(1011);
    let line = server.stderr().wait_for("a websocket's function failed");
    assert!(unnumbered(&line).contains("origin=statement:1"), "{line}");
}

#[test]
fn what_is_no_handshake_is_answered_without_the_function() {
    let site = both("function(req) return req:websocket(function(ws) error('called') end) end");
    let server = start(&site);
    for path in KINDS {
        let plain = server.get(path);
        assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
        let usual = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let with = |name: &str, value: &'static str| {
            let mut fields: Vec<_> = usual.into_iter().filter(|(known, _)| *known != name).collect();
            fields.push((name, value));
            server.connect().request("GET", path, &fields)
        };
        let old = with("Sec-WebSocket-Version", "8");
        assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
        assert_eq!(with("Sec-WebSocket-Key", "short").status, 400);
        assert_eq!(with("Origin", "http://elsewhere.example").status, 403);
        assert_eq!(server.connect().request("POST", path, &usual).status, 405);
    }
    assert!(!server.stderr().text().contains("called"));
}

#[test]
fn pages_of_the_same_host_and_those_that_are_named_may_open_one() {
    let site = both(
        "function(req)
            local options = if req.query == 'any' then { origins = '*' }
                elseif req.query == 'one' then { origins = { 'https://app.example' } } else nil
            return req:websocket(function(ws) ws:send('in') end, options)
        end",
    );
    let server = start(&site);
    for path in KINDS {
        for (query, origin) in [
            ("", "http://test"),
            ("?any", "null"),
            ("?any", "http://x.example"),
            ("?one", "https://app.example"),
        ] {
            let target = format!("{path}{query}");
            let mut ws = WebSocket::open(server.connect(), &target, &[("Origin", origin)]);
            assert_eq!(ws.text(), "in");
        }
    }
}

#[test]
fn the_request_stays_readable_and_the_protocol_is_agreed_on() {
    let site = web("local function talk(req)
            return req:websocket(function(ws)
                ws:recv()
                local r = ws.request
                ws:send(`{r.params.room} {r.headers['x-name']} {r.query} {ws.protocol} {rawequal(r, req)}`)
            end, { protocols = { 'b', 'a' } })
        end
        web:mount('/{room}', talk)");
    let server = start(&site);
    let fields = [("X-Name", "Ada"), ("Sec-WebSocket-Protocol", "a, b")];
    let mut ws = WebSocket::open(server.connect(), "/den?q=1", &fields);
    // Another request takes its place in the meantime, should it be free.
    assert_eq!(server.get("/other").status, 426);
    ws.send("");
    assert_eq!(ws.text(), "den Ada q=1 b true");
    ws.expect_close(1000);
}

#[test]
fn options_that_make_no_sense_are_named() {
    for (options, part) in [
        ("{ origin = '*' }", "there is no option"),
        ("{ origins = 'http://x' }", "`origins` must be"),
        ("{ protocols = { 'a b' } }", "no name of a protocol"),
        ("{ protocols = table.create(100, string.rep('x', 1000)) }", "longer than 64 KiB"),
        ("{ origins = table.create(100, string.rep('x', 1000)) }", "longer than 64 KiB"),
        ("{ max_message = 0 }", "`max_message` must be"),
        ("{ ping = -1 }", "`ping` must be"),
        ("{ idle = 1e9 }", "`idle` must be"),
    ] {
        let site = web(&format!(
            "web:mount('/', function(req) return req:websocket(function() end, {options}) end)"
        ));
        let server = start(&site);
        assert_eq!(server.get("/").status, 500);
        let line = server.stderr().wait_for("req:websocket");
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn many_are_told_the_same_and_a_slow_one_holds_up_nobody() {
    let site = web("local open = {}
        web:mount('/room', function(req)
            return req:websocket(function(ws)
                open[ws] = true
                ws:send('welcome')
                for message in ws do
                    for other in open do
                        other:try_send(message)
                    end
                end
                open[ws] = nil
            end)
        end)
        web:mount('/say/{what}', function(req)
            local reached = 0
            for ws in open do
                if ws:try_send(req.params.what) then reached += 1 end
            end
            return tostring(reached)
        end)
        web:mount('/flood', function(req)
            local big, missed = string.rep('x', 65536), 0
            for _ = 1, 200 do
                for ws in open do
                    if not ws:try_send(big) then missed += 1 end
                end
                medusa.sleep(0.001)
            end
            return tostring(missed)
        end)");
    let server = start(&site);
    let mut clients: Vec<_> = (0..20).map(|_| WebSocket::connect(server.address(), "/room")).collect();
    for ws in &mut clients {
        assert_eq!(ws.text(), "welcome");
    }
    assert_eq!(server.get("/say/hello").text(), "20");
    clients[7].send("from one");
    for ws in &mut clients {
        assert_eq!(ws.text(), "hello");
        assert_eq!(ws.text(), "from one");
    }
    for ws in clients.drain(2..) {
        drop(ws);
    }
    wait::until("those who left are forgotten", || (server.get("/say/x").text() == "2").then_some(()));
    // Nobody reads now: what does not fit is not sent, and the request ends.
    let missed: u32 = server.get("/flood").text().parse().expect("a number");
    assert!(missed > 0);
}

#[test]
fn waiting_for_a_message_has_a_limit_if_asked_for() {
    let site = both(
        "function(req)
            return req:websocket(function(ws)
                local message, kind = ws:recv(0.05)
                ws:send(`{message} {kind}`)
                message, kind = ws:recv(20)
                ws:send(`{message} {kind}`)
            end)
        end",
    );
    let server = start(&site);
    for path in KINDS {
        let mut ws = WebSocket::connect(server.address(), path);
        assert_eq!(ws.text(), "nil nil");
        ws.send("there");
        assert_eq!(ws.text(), "there text");
        ws.expect_close(1000);
    }
}

#[test]
fn a_silent_client_is_pinged_and_one_that_does_not_answer_is_gone() {
    let site = both(
        "function(req)
            return req:websocket(function(ws)
                local _, code = ws:recv()
                medusa.shared('ends'):set(req.path, code)
            end, { ping = 1 })
        end",
    );
    let server = start(&site);
    for path in KINDS {
        let mut ws = WebSocket::connect(server.address(), path);
        for _ in 0..2 {
            let ping = ws.frame();
            assert_eq!(ping.code, PING);
            ws.send_frame(FIN | PONG, &ping.payload);
        }
        assert_eq!(ws.frame().code, PING);
        ws.client().expect_close();
        assert_eq!(server.eval(&format!("return medusa.shared('ends'):get('{path}')")), "1006");
    }
}

/// In the middle of a frame nobody can answer a ping.
#[test]
fn a_client_on_a_slow_line_is_not_gone() {
    let site = both(
        "function(req)
            return req:websocket(function(ws) ws:send(ws:recv()) end, { ping = 1 })
        end",
    );
    let server = start(&site);
    let mut ws = WebSocket::connect(server.address(), "/file");
    // Two and a half seconds: without a sign of life it would be gone after two.
    for byte in frame(FIN | TEXT, b"sloooowly") {
        ws.client().send([byte]);
        thread::park_timeout(Duration::from_millis(170));
    }
    assert_eq!(ws.text(), "sloooowly");
}

#[test]
fn a_session_that_is_not_used_is_closed_if_asked_for() {
    let site = both("function(req) return req:websocket(function(ws) ws:recv() end, { idle = 1 }) end");
    let server = start(&site);
    for path in KINDS {
        assert!(WebSocket::connect(server.address(), path).expect_close(1001).contains("idle"));
    }
}

#[test]
fn open_sessions_are_counted_and_recorded_when_they_end() {
    let site = Site::script(&format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', log = medusa.log.file('access.log') }}
        web:mount('/main', {ECHO})"
    ));
    let server = start(&site);
    let mut ws = WebSocket::connect(server.address(), "/main");
    let open = |count| {
        wait::until("the count", || {
            let counts = (server.number("function", "websockets"), server.number("vm", "websockets"));
            (counts == (count, count)).then_some(())
        });
    };
    open(1);
    ws.send("hello");
    assert_eq!(ws.text(), "hello");
    ws.close(1000, "");
    drop(ws);
    open(0);
    server.terminate();
    let log = site.read("access.log");
    assert_eq!(log.lines().count(), 1, "{log}");
    // A frame of five bytes, and a close of two.
    assert!(log.contains("\"GET /main HTTP/1.1\" 101 11 "), "{log}");
}

#[test]
fn a_reload_ends_the_sessions_of_what_has_changed_and_keeps_the_others() {
    let site = web(&format!(
        "web:mount('/main', {ECHO})
        web:mount('/file', medusa.handler.script('kept.luau'))
        web:mount('/changed', medusa.handler.script('changed.luau'))"
    ))
    .file("kept.luau", format!("return {ECHO}"))
    .file("changed.luau", format!("return {ECHO}"));
    let server = start(&site);
    let [mut main, mut kept, mut changed] =
        ["/main", "/file", "/changed"].map(|path| WebSocket::connect(server.address(), path));
    for ws in [&mut main, &mut kept, &mut changed] {
        ws.send("before");
        assert_eq!(ws.text(), "before");
    }
    site.write("changed.luau", format!("return {ECHO} -- changed"));
    server.reload();
    assert_eq!(main.expect_close(1001), "reloading");
    assert_eq!(changed.expect_close(1001), "reloading");
    kept.send("after");
    assert_eq!(kept.text(), "after");
    // An open session keeps nothing of the old site.
    wait::until("the old site is gone", || {
        (server.number("site", "retired_servers_in_use") == 0).then_some(())
    });
    let mut new = WebSocket::connect(server.address(), "/main");
    new.send("new");
    assert_eq!(new.text(), "new");
    // A statement that has nothing to do with it ends nothing.
    server.eval("web:mount('/more', function() return 'more' end)");
    new.send("still");
    assert_eq!(new.text(), "still");
    server.eval("web.mounts[1]:remove()");
    assert_eq!(new.expect_close(1001), "reloading");
}

#[test]
fn a_server_that_stops_says_so() {
    let (_site, mut server) = echo();
    let mut sessions = KINDS.map(|path| WebSocket::connect(server.address(), path));
    server.signal(Signal::TERM);
    for ws in &mut sessions {
        assert_eq!(ws.expect_close(1001), "the server is going away");
    }
    assert_eq!(server.wait().code(), Some(0));
    server.stderr().wait_for("0 cut off");
}

#[test]
fn a_client_that_does_not_answer_a_close_does_not_hold_up_the_end() {
    let (_site, mut server) = echo();
    let mut ws = WebSocket::connect(server.address(), "/file");
    server.signal(Signal::TERM);
    assert_eq!(ws.frame().code, CLOSE);
    assert_eq!(server.wait().code(), Some(0));
    drop(ws);
}

#[test]
fn bytes_behind_the_handshake_are_the_first_frames() {
    let (_site, server) = echo();
    let mut client = Client::connect(server.address());
    let handshake = "GET /file HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send([handshake.as_bytes(), &frame(FIN | TEXT, b"early")].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read(7), b"\x81\x05early");
}

/// Nothing that was in a handler's hands is another client's.
#[test]
fn a_ws_that_is_kept_is_of_no_use_after_its_end() {
    let site = Site::script(&format!(
        "{WEB}
        web:mount('/', function(req)
            return req:websocket(function(ws) kept = kept or ws end)
        end)
        web:mount('/kept', function()
            local sent, wrong = pcall(kept.send, kept, 'x')
            local why = tostring(wrong):match('this websocket is closed')
            local message, code = kept:recv()
            return `{{kept:is_open()}} {{kept:try_send('x')}} {{sent}} {{why}} {{message}} {{code}}`
        end)"
    ));
    let server = start(&site);
    WebSocket::connect(server.address(), "/").expect_close(1000);
    let _other = WebSocket::connect(server.address(), "/");
    assert_eq!(server.get("/kept").text(), "false false false this websocket is closed nil 1000");
}

/// A session whose client offers to compress.
#[track_caller]
fn compressing(server: &Server, path: &str, offer: &str) -> WebSocket {
    WebSocket::open(server.connect(), path, &[("Sec-WebSocket-Extensions", offer)])
}

/// What is agreed on but for the windows.
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn messages_are_compressed_where_that_was_agreed_on() {
    let (_site, server) = echo();
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(131_072)
    .collect();
    let text: Vec<u8> = (0..131_072).map(|at: u32| b"a word, and another"[(at % 19) as usize]).collect();
    let offers = [
        "permessage-deflate".to_owned(),
        "permessage-deflate; client_max_window_bits; client_no_context_takeover".to_owned(),
    ];
    let windows = (9..=15).map(|bits| {
        format!("permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}")
    });
    for offer in offers.into_iter().chain(windows) {
        let mut ws = compressing(&server, "/file", &offer);
        assert!(ws.extensions().is_some_and(|agreed| agreed.starts_with(AGREED)), "{:?}", ws.extensions());
        for length in [0, 16, 64, 256, 1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072] {
            for data in [&noise[..length], &text[..length], &vec![0; length]] {
                ws.send_frame(FIN | COMPRESSED | BINARY, &deflated(data));
                assert!(ws.message() == (BINARY, data.to_vec()), "{length} bytes, {offer}");
                // Uncompressed ones may come between them.
                ws.send_frame(FIN | BINARY, data);
                assert!(ws.message() == (BINARY, data.to_vec()), "{length} bytes, {offer}");
            }
        }
        ws.close(1000, "");
    }
    let mut ws = compressing(&server, "/main", "permessage-deflate");
    ws.send_frame(FIN | COMPRESSED | TEXT, &deflated(&text));
    let first = ws.frame();
    assert!(first.compressed && first.payload.len() < text.len() / 50, "{}", first.payload.len());
}

#[test]
fn a_compressed_message_may_come_in_fragments() {
    let (_site, server) = echo();
    let mut ws = compressing(&server, "/file", "permessage-deflate");
    let text = "over and over; ".repeat(10_000);
    for length in [1, 7, 64] {
        let whole = deflated(text.as_bytes());
        let pieces: Vec<&[u8]> = whole.chunks(length).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let begins = if at == 0 { COMPRESSED | TEXT } else { CONTINUE };
            let ends = if at + 1 == pieces.len() { FIN } else { 0 };
            ws.send_frame(begins | ends, piece);
            if at == 1 {
                ws.send_frame(FIN | PING, b"between");
                assert_eq!(ws.frame().code, PONG);
            }
        }
        assert_eq!(ws.text(), text);
    }
    // The last frame may be empty, and so may all of them.
    ws.send_frame(COMPRESSED | TEXT, &deflated(b"whole"));
    ws.send_frame(FIN | CONTINUE, b"");
    assert_eq!(ws.text(), "whole");
    ws.send_frame(FIN | COMPRESSED | TEXT, &deflated(b""));
    assert_eq!(ws.text(), "");
    ws.close(1000, "");
}

#[test]
fn who_compresses_wrongly_is_told_and_closed() {
    let (_site, server) = echo();
    let bomb = deflated(&vec![0; 8 << 20]);
    assert!(bomb.len() < 16_384);
    let wrong: [(&str, Vec<u8>, u16); 9] = [
        ("a compressed ping", frame(FIN | COMPRESSED | PING, b""), 1002),
        ("a compressed close", frame(FIN | COMPRESSED | CLOSE, b""), 1002),
        (
            "a compressed continuation",
            [frame(TEXT, b"a"), frame(FIN | COMPRESSED | CONTINUE, b"")].concat(),
            1002,
        ),
        ("a reserved bit beside it", frame(FIN | COMPRESSED | 0x20 | TEXT, &deflated(b"x")), 1002),
        ("nothing that is compressed", frame(FIN | COMPRESSED | TEXT, &[0xff; 20]), 1007),
        ("text that is none", frame(FIN | COMPRESSED | TEXT, &deflated(b"\xff")), 1007),
        ("a bomb", frame(FIN | COMPRESSED | BINARY, &bomb), 1009),
        ("a byte too many", frame(FIN | COMPRESSED | BINARY, &deflated(&vec![7; (1 << 20) + 1])), 1009),
        ("too long a frame", header(FIN | COMPRESSED | BINARY, 2 << 20), 1009),
    ];
    for (what, mut bytes, code) in wrong {
        if what == "too long a frame" {
            bytes[1] |= 0x80;
            bytes.extend([0; 4]);
        }
        for path in KINDS {
            let mut ws = compressing(&server, path, "permessage-deflate");
            ws.client().send(&bytes);
            println!("{what}");
            ws.expect_close(code);
        }
    }
    assert_eq!(server.get("/").status, 404);
}

#[test]
fn an_offer_that_cannot_be_met_is_declined() {
    let site = both(ECHO);
    let server = start(&site);
    for offer in [
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=07",
        "permessage-deflate; unknown=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "x-other",
    ] {
        let mut ws = compressing(&server, "/file", offer);
        assert_eq!(ws.extensions(), None, "{offer}");
        ws.send("plain");
        assert_eq!(ws.text(), "plain");
        let ws = compressing(&server, "/main", &format!("{offer}, permessage-deflate"));
        assert_eq!(ws.extensions(), Some(AGREED), "the second of {offer}");
    }
}

#[test]
fn a_script_may_have_nothing_compressed() {
    let site = both(
        "function(req) return req:websocket(function(ws) ws:send(('x'):rep(1000)) end, { compress = false }) end",
    );
    let server = start(&site);
    for path in KINDS {
        let mut ws = compressing(&server, path, "permessage-deflate");
        assert_eq!(ws.extensions(), None);
        assert_eq!(ws.text(), "x".repeat(1000));
    }
}

/// The head of a session on a stream of HTTP/2 ([RFC 8441 §5.1](https://www.rfc-editor.org/rfc/rfc8441#section-5.1)).
pub(crate) fn extended(protocol: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
    ];
    pseudo.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// The next bytes on a stream.
#[track_caller]
fn data(http: &mut Http2) -> Vec<u8> {
    http.expect(DATA).payload
}

#[test]
fn a_session_may_take_a_stream_of_http2() {
    let (_site, server) = echo();
    let mut http = Http2::connect(&server, &[]);
    let settings = http.expect(SETTINGS).payload;
    assert!(settings.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:x?}");
    for (stream, path) in [(1, "/main"), (3, "/file")] {
        let version = ("sec-websocket-version", "13");
        let offer = ("sec-websocket-extensions", "permessage-deflate");
        http.send(1, END_HEADERS, stream, &extended("websocket", path, &[version, offer]));
        assert_eq!(http.status(stream), 200, "{path}");
        http.send(DATA, 0, stream, &frame(FIN | TEXT, b"over HTTP/2"));
        assert_eq!(data(&mut http), [&[0x81, 11], &b"over HTTP/2"[..]].concat());
        http.send(DATA, 0, stream, &frame(FIN | COMPRESSED | TEXT, &deflated(&[b'x'; 1000])));
        assert_eq!(data(&mut http)[0], FIN | COMPRESSED | TEXT, "agreed on");
        // Longer than the windows of a stream and of a connection, in both directions.
        http.send(DATA, 0, stream, &frame(FIN | CLOSE, &close(1000, "done")));
        assert_eq!(data(&mut http), [&[0x88, 6, 3, 0xe8], &b"done"[..]].concat());
    }
    // Others are served beside it.
    http.get(5, "/none");
    assert_eq!(http.status(5), 404);
}

#[test]
fn what_is_no_handshake_on_a_stream_opens_no_session() {
    let (_site, server) = echo();
    server.eval("web:mount('/page', function() return 'a page' end)");
    let version = ("sec-websocket-version", "13");
    let mut http = Http2::connect(&server, &[]);
    for (stream, (head, status)) in (1..).step_by(2).zip([
        (extended("websocket", "/file", &[]), 426),
        (extended("websocket", "/file", &[("sec-websocket-version", "8")]), 426),
        (extended("websocket", "/file", &[version, ("origin", "http://elsewhere.example")]), 403),
        (extended("websocket", "/page", &[version]), 400),
        (extended("websocket", "/none", &[version]), 404),
        (extended("other", "/file", &[version]), 501),
        (extended("connect-udp", "/none", &[("host", "t t")]), 400),
    ]) {
        http.send(1, END_HEADERS, stream, &head);
        assert_eq!(http.status(stream), status, "stream {stream}");
    }
    // A protocol is for CONNECT alone.
    let odd = [field(":method", "GET"), field(":protocol", "websocket"), field(":scheme", "http")].concat();
    http.send(1, END_HEADERS, 21, &[odd, field(":path", "/file"), field(":authority", "test")].concat());
    // The others were reset behind their answers: nothing was to come of them.
    while http.expect(RST_STREAM).stream != 21 {}
}

#[test]
fn a_server_that_stops_tells_the_sessions_on_streams() {
    let (_site, mut server) = echo();
    let mut http = Http2::connect(&server, &[]);
    http.send(1, END_HEADERS, 1, &extended("websocket", "/file", &[("sec-websocket-version", "13")]));
    assert_eq!(http.status(1), 200);
    server.signal(Signal::TERM);
    let frames = data(&mut http);
    assert_eq!(frames[..1], [FIN | CLOSE]);
    assert_eq!(frames[2..4], 1001_u16.to_be_bytes());
}
