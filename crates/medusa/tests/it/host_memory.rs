//! What the server builds for a script, or of a script's values, is outside the VM's memory limit: it is counted while it
//! is built, and a script that asks for more gets an error that names the limit.

use medusa_testkit::{Client, Server, memory, wait};

use super::support::{start, web};

/// What may be held beyond what the process had before, the VM's own part (32 MiB for a text of 16 MiB and its pieces)
/// included.
const MOST: u64 = 128 << 20;

/// Thirty levels of pairs, each twice the next: 2^30 values.
const PAIRS: &str = "local t = 1 for i = 1, 30 do t = { t, t } end ";
/// A million bytes, and a list that has them a thousand times.
const LONG: &str = "local s = string.rep('x', 1000000) local list = table.create(1000, s) ";

#[track_caller]
fn expect_bounded(server: &Server, before: u64, what: &str) {
    let held = memory::peak(server.pid()).saturating_sub(before);
    assert!(held < MOST, "{what}: {} MiB", held >> 20);
}

#[test]
fn a_statement_asks_for_more_than_there_is() {
    let server = start(&web(""));
    let before = memory::peak(server.pid());
    for (begin, statement, expected) in [
        (PAIRS.replace("30", "24"), "return medusa.json.encode(t)", "more than 1000000 values and names"),
        (PAIRS.into(), "return medusa.json.encode(t)", "more than 1000000 values and names"),
        (
            PAIRS.into(),
            "return medusa.fetch('http://127.0.0.1:1/', { json = t })",
            "medusa.fetch: json: there are more",
        ),
        (LONG.into(), "return medusa.json.encode(list)", "longer than 16 MiB"),
        (LONG.into(), "return medusa.url.query { q = list }", "the query is longer than 1 MiB"),
        (LONG.into(), "return medusa.url.query(table.create(300000, 'x'))", "more than 10000 values"),
        (
            LONG.into(),
            "return medusa.fetch('http://127.0.0.1:1/', { headers = { x = list } })",
            "longer than 64 KiB together",
        ),
        (LONG.into(), "return medusa.fetch('http://127.0.0.1:1/', { [s] = 1 })", "there is no option \"x"),
        (
            LONG.into(),
            "return medusa.http.server { listen = '127.0.0.1:0', trusted_proxies = list }",
            "`trusted_proxies`: the list is longer than 64 KiB",
        ),
        (LONG.into(), "return medusa.shared(s)", "may have 256 bytes"),
        (LONG.into(), "return medusa.log.filter({ path = list }, medusa.log.tail(1))", "at most 1024 bytes"),
        (LONG.into(), "return medusa.http.cookie(s, s)", "browsers keep 4096"),
    ] {
        let error = server.command(["eval", &format!("{begin}{statement}")]).failure(1);
        assert!(error.contains(expected) && error.len() < 16_000, "{statement}: {error:.4000}");
        expect_bounded(&server, before, statement);
    }
    assert_eq!(server.eval("1 + 1"), "2");
}

#[test]
fn what_a_statement_shows_and_prints_is_cut() {
    let server = start(&web(""));
    let before = memory::peak(server.pid());
    for (begin, statement) in [
        (LONG, "return table.create(100, list)"),
        (LONG, "return table.unpack(list)"),
        (LONG, "return table.unpack(table.create(250000, s))"),
        (LONG, "return { [s] = s }, list"),
        (PAIRS, "return t"),
        (LONG, "print(table.unpack(list))"),
        (LONG, "print(table.unpack(table.create(250000, s)))"),
        (LONG, "for _ = 1, 1000 do print(s) end"),
        (LONG, "print(setmetatable({}, { __tostring = function() return s .. s end }))"),
    ] {
        let shown = server.command(["eval", &format!("{begin}{statement}")]).success();
        let cut = shown.contains('…') || shown.contains("is cut off") || shown.len() >= 60_000;
        assert!(cut, "{statement}: {shown:.200}");
        assert!(shown.len() < 3 << 20, "{statement}: {} bytes", shown.len());
        expect_bounded(&server, before, statement);
    }
    assert_eq!(server.eval("print('a', nil, 1.5) return 'b'"), "a\tnil\t1.5\nb");
}

#[test]
fn an_answer_has_as_many_fields_as_are_read() {
    let server = start(&web(&format!(
        "{LONG}
        web:mount('/cookies', function() return {{ headers = {{ ['set-cookie'] = table.create(40000, 'a=b') }} }} end)
        web:mount('/long', function() return {{ headers = {{ x = list }} }} end)
        web:mount('/many', function()
            local headers = {{}}
            for i = 1, 256 do headers['x-' .. i] = i end
            return {{ headers = headers, body = 'all' }}
        end)
        web:mount('/events', function() return medusa.http.events(function(stream)
            stream:send(string.rep('\\n', 10000000))
        end) end)"
    )));
    let before = memory::peak(server.pid());
    for (path, expected) in [
        ("/cookies", "there are more than 256 fields"),
        ("/long", "the fields are longer than 64 KiB together"),
    ] {
        let mark = server.stderr().count();
        assert_eq!(server.get(path).status, 500, "{path}");
        server.stderr().wait_for_from(mark, expected);
    }
    let many = server.get("/many");
    assert_eq!((many.status, many.text().as_str(), many.header("x-200")), (200, "all", Some("200")));
    let mark = server.stderr().count();
    let mut client = server.connect();
    client.send("GET /events HTTP/1.1\r\nHost: test\r\n\r\n");
    server.stderr().wait_for_from(mark, "more than 1 MiB at once");
    expect_bounded(&server, before, "answers");
}

/// Nobody reads what is written: what waits is not as long as what was to be written.
#[test]
fn a_long_chunk_waits_in_pieces() {
    let server = start(&web("local long = string.rep('x', 16000000)
        begun = 0
        local function produce()
            return { body = function(write) begun += 1 write(long) write('end') end }
        end
        web:mount('/', produce)"));
    let before = memory::peak(server.pid());
    let request = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(request);
    }
    wait::until("all have begun", || (server.eval("begun") == "40").then_some(()));
    for client in &mut clients {
        assert_eq!(client.head().status, 200);
    }
    expect_bounded(&server, before, "40 chunks of 16 MB");
    drop(clients);
    let whole = server.send(request);
    assert_eq!(whole.text().len(), 16_000_003);
    assert!(whole.text().ends_with("xend"));
}
