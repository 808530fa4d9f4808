//! `medusa.handler.headers`: the fields of what another handler answers, as a client sees them.

use medusa_testkit::{Response, Site, WebSocket, curl};

use super::support::{start, web};

const SITE: &str = r#"
web = medusa.http.server { listen = "127.0.0.1:0" }
local changes = {
    set = { ["Cache-Control"] = "no-store" },
    add = { Link = { "</a>; rel=preload", "</b>; rel=preload" }, ["X-Frame"] = "1" },
    remove = { "X-Powered-By", "link" },
}
local function answer(req)
    return {
        status = tonumber(req.params.status),
        headers = { link = "</own>", ["x-powered-by"] = "x", ["cache-control"] = "max-age=1" },
        body = string.rep("text ", 500),
    }
end
web:mount("/{status}", medusa.handler.headers(changes, answer))
web:mount("/fails", medusa.handler.headers(changes, function() error("no") end))
web:mount("/stopped", medusa.handler.headers(changes, medusa.handler.timeout(0.01, function() medusa.sleep(60) return "late" end)))
web:mount("/reads", medusa.handler.headers(changes, function(req) return req:body() end), { body = 3 })
web:mount("/files/", medusa.handler.headers(changes, medusa.handler.files("public")))
web:mount("/outside", medusa.handler.headers(changes, medusa.handler.compress(function() return string.rep("a", 5000) end)))
web:mount("/inside", medusa.handler.compress(medusa.handler.headers(changes, function() return string.rep("a", 5000) end)))
web:mount("/socket", medusa.handler.headers({ set = { ["X-Session"] = "1" } }, medusa.handler.script("socket.luau")))
"#;

const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(message) end end) end";

fn site() -> Site {
    Site::script(SITE).file("public/a", "hello").file("socket.luau", SOCKET)
}

/// A function that stands before files says that there is nothing: HTTP/1.1 had a length then, and HTTP/2 a broken stream.
#[test]
fn an_answer_that_is_made_one_of_no_content_has_none() {
    let script = r#"
        web:mount("/{status}/", medusa.handler.wrap(function(req, next)
            req.tail = "a"
            local answer = next(req)
            answer.status = tonumber(req.params.status)
            return answer
        end, medusa.handler.files("public")))
    "#;
    let site = web(script).file("public/a", "hello");
    let server = start(&site);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (status, length, content) in
            [(204, None, ""), (205, Some("0"), ""), (304, Some("5"), ""), (201, Some("5"), "hello")]
        {
            let answer = curl(["-i", version, &server.url(&format!("/{status}/"))]).said();
            let answer = answer.replace('\r', "").to_ascii_lowercase();
            let told = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
            let body = answer.split_once("\n\n").map_or("", |(_, body)| body);
            assert_eq!((told, body), (length, content), "{answer}");
            assert!(answer.lines().next().is_some_and(|line| line.contains(&status.to_string())), "{answer}");
        }
    }
}

/// The values of a field, in their order.
fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let fields = response.headers.iter().filter(|(known, _)| known == name);
    fields.map(|(_, value)| value.as_str()).collect()
}

#[track_caller]
fn assert_changed(response: &Response) {
    assert_eq!(values(response, "cache-control"), ["no-store"]);
    assert_eq!(values(response, "link"), ["</a>; rel=preload", "</b>; rel=preload"]);
    assert_eq!((values(response, "x-powered-by"), values(response, "x-frame")), (vec![], vec!["1"]));
}

#[test]
fn fields_are_changed_whatever_the_status() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    for status in [200, 201, 404, 500] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!(answer.status, status);
        assert_changed(&answer);
    }
    let found = client.get("/files/a");
    assert_eq!((found.status, found.text().as_str()), (200, "hello"));
    assert_changed(&found);
    let tag = found.header("etag").expect("a tag").to_owned();
    let unchanged = client.request("GET", "/files/a", &[("If-None-Match", &tag)]);
    assert_eq!(unchanged.status, 304);
    assert_changed(&unchanged);
    assert_changed(&client.get("/files/none"));
    for (path, status) in [("/fails", 500), ("/stopped", 503)] {
        let answer = client.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_changed(&answer);
    }
    let too_long = server.send("POST /reads HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(too_long.status, 413);
    assert_changed(&too_long);
}

#[test]
fn wrappers_of_a_function_may_stand_one_behind_the_other() {
    let site = site();
    let server = start(&site);
    for path in ["/outside", "/inside"] {
        let answer = server.connect().request("GET", path, &[("Accept-Encoding", "gzip")]);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")), "{path}");
        assert_changed(&answer);
    }
}

#[test]
fn what_goes_on_in_a_wrapped_handler_outlives_a_reload() {
    let site = site();
    let server = start(&site);
    let mut session = WebSocket::connect(server.address(), "/socket");
    session.send("before");
    assert_eq!(session.text(), "before");
    server.reload();
    session.send("after");
    assert_eq!(session.text(), "after");
}

#[test]
fn what_cannot_be_said_is_an_error_of_the_script() {
    let site = site();
    let server = start(&site);
    let refused = [
        ("{ set = { ['Content-Length'] = '1' } }", "`set`: `content-length` is the server's to write"),
        ("{ add = { connection = 'close' } }", "`add`: `connection` is the server's to write"),
        ("{ remove = { 'Date' } }", "`remove`: `date` is the server's to write"),
        ("{ set = { ['a b'] = '1' } }", "\"a b\" is not the name of a field"),
        ("{ set = { a = 'b\\r\\nc: d' } }", "the value of `a` cannot be sent"),
        ("{ set = { ['X-a'] = '1', ['x-A'] = '2' } }", "`x-a` is set twice"),
        ("{ set = { a = 1 } }", "names and values are strings"),
        ("{ remove = { ['X-A'] = true } }", "`remove`: must be a list"),
        ("{ set = { a = '1' }, add = { Link = {} } }", "`add`: the list is empty"),
        ("{ sets = {} }", "there is no option \"sets\"; there are: set, add, remove"),
        ("{}", "nothing is changed"),
    ];
    for (options, expected) in refused {
        let statement = format!("medusa.handler.headers({options}, function() end)");
        let error = server.command(["eval", &statement]).failure(1);
        assert!(error.contains(expected) && error.contains("statement:1"), "{options}: {error}");
    }
    let deep =
        "local h = function() end for _ = 1, 17 do h = medusa.handler.headers({ set = { a = '1' } }, h) end";
    let error = server.command(["eval", deep]).failure(1);
    assert!(error.contains("16 wrappers stand before this handler already"), "{error}");
}
