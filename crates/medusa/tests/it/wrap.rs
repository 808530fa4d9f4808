//! `medusa.handler.wrap` and `medusa.handler.first`: handlers composed in a script, as a client sees them.

use std::process::Command;
use std::time::Duration;

use medusa_testkit::{Client, Process, Response, Site, WebSocket, wait};

use super::guide::guide_example;
use super::history::Session;
use super::support::{MEDUSA, Watching, start, web};

/// A function that lets all by and says that it did, and what is behind it: below `/f/` as a function of the script, below `/w/` as
/// a file of every worker.
const SITE: &str = r#"
    local function mark(req, next)
        local answer = next(req)
        answer.headers["X-Seen"] = `{req.method} {req.path} {answer.status}`
        return answer
    end
    local function inline(req)
        return { status = 201, headers = { ["x-inner"] = "function" }, body = req.tail }
    end
    for name, wrapper in { f = mark, w = "mark.luau" } do
        local function mount(path, handler)
            web:mount(`/{name}/{path}`, medusa.handler.wrap(wrapper, handler), { body = 1e7 })
        end
        mount("files/", medusa.handler.files("public"))
        mount("script/", medusa.handler.script("inner.luau"))
        mount("function/", inline)
        mount("packed/", medusa.handler.compress(function() return string.rep("a", 5000) end))
        mount("echo", medusa.handler.script("echo.luau"))
        mount("echo/function", require("echo"))
        mount("length", medusa.handler.script("length.luau"))
        mount("socket", medusa.handler.script("socket.luau"))
        mount("events", medusa.handler.script("events.luau"))
        mount("moved", medusa.handler.redirect("/elsewhere"))
        mount("wrapped/", medusa.handler.wrap(wrapper, medusa.handler.compress(medusa.handler.script("inner.luau"))))
    end
"#;

const MARK: &str = r#"return function(req, next)
    local answer = next(req)
    answer.headers["X-Seen"] = `{req.method} {req.path} {answer.status}`
    return answer
end"#;

/// Sends back what comes, piece by piece.
const ECHO: &str = "return function(req) return { body = function(write) for chunk in req:chunks() do write(chunk) end end } end";

const LENGTH: &str = "return function(req)
    local length = 0
    for chunk in req:chunks() do length += #chunk end
    return tostring(length)
end";

const SOCKET: &str = "return function(req) return req:websocket(function(ws) for message in ws do ws:send(message) end end) end";

const EVENTS: &str = "return function(req)
    return medusa.http.events(function(stream) stream:send('first') while true do medusa.sleep(60) end end)
end";

const FORMS: [&str; 2] = ["/f", "/w"];

fn site() -> Site {
    web(SITE)
        .file("mark.luau", MARK)
        .file(
            "inner.luau",
            "return function(req) return { headers = { ['x-inner'] = 'script' }, body = req.tail } end",
        )
        .file("echo.luau", ECHO)
        .file("length.luau", LENGTH)
        .file("socket.luau", SOCKET)
        .file("events.luau", EVENTS)
        .file("public/a.txt", "hello")
        .file("public/large.bin", vec![b'x'; 3 << 20])
}

#[track_caller]
fn assert_seen(answer: &Response, expected: &str) {
    assert_eq!(answer.header("x-seen"), Some(expected), "{answer:?}");
}

#[test]
fn what_is_behind_answers_and_the_function_has_the_last_word() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    for form in FORMS {
        let path = |rest: &str| format!("{form}{rest}");
        let found = client.get(&path("/files/a.txt"));
        assert_eq!((found.status, found.text().as_str()), (200, "hello"));
        assert_seen(&found, &format!("GET {form}/files/a.txt 200"));
        let tag = found.header("etag").expect("a tag").to_owned();
        let same = client.request("GET", &path("/files/a.txt"), &[("If-None-Match", &tag)]);
        assert_eq!(same.status, 304);
        assert_seen(&same, &format!("GET {form}/files/a.txt 304"));
        let part = client.request("GET", &path("/files/a.txt"), &[("Range", "bytes=1-2")]);
        assert_eq!((part.status, part.text().as_str()), (206, "el"));
        assert_eq!(part.header("content-range"), Some("bytes 1-2/5"));
        let head = client.request("HEAD", &path("/files/a.txt"), &[]);
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
        assert_seen(&head, &format!("HEAD {form}/files/a.txt 200"));
        let missing = client.get(&path("/files/none"));
        assert_eq!(missing.status, 404);
        assert_seen(&missing, &format!("GET {form}/files/none 404"));
        assert_eq!(client.get(&path("/files/large.bin")).body.len(), 3 << 20);
        let script = client.get(&path("/script/x/y"));
        assert_eq!((script.header("x-inner"), script.text().as_str()), (Some("script"), "x/y"));
        assert_seen(&script, &format!("GET {form}/script/x/y 200"));
        let function = client.get(&path("/function/z"));
        assert_eq!((function.status, function.header("x-inner")), (201, Some("function")));
        assert_eq!(function.text(), "z");
        assert_seen(&function, &format!("GET {form}/function/z 201"));
        let packed = client.request("GET", &path("/packed/"), &[("Accept-Encoding", "gzip")]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"));
        assert_seen(&packed, &format!("GET {form}/packed/ 200"));
        let moved = client.get(&path("/moved"));
        assert_eq!((moved.status, moved.header("location")), (302, Some("/elsewhere")));
        let wrapped = client.get(&path("/wrapped/deep"));
        assert_eq!((wrapped.header("x-inner"), wrapped.text().as_str()), (Some("script"), "deep"));
        assert_seen(&wrapped, &format!("GET {form}/wrapped/deep 200"));
    }
}

/// Nothing gathers on the way: half of a body is back before the other half is sent.
#[track_caller]
fn echoed_as_it_comes(client: &mut Client, path: &str) {
    client.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nfirst"));
    assert_eq!(client.head().status, 200);
    assert_eq!(client.read(10), b"5\r\nfirst\r\n");
    client.send("after");
    assert_eq!(client.read(15), b"5\r\nafter\r\n0\r\n\r\n");
}

#[test]
fn bodies_go_by_in_both_directions() {
    let site = site();
    let server = start(&site);
    let upload = vec![b'x'; 5 << 20];
    for form in FORMS {
        let mut client = server.connect();
        echoed_as_it_comes(&mut client, &format!("{form}/echo"));
        echoed_as_it_comes(&mut client, &format!("{form}/echo/function"));
        for framing in ["Content-Length: 5242880\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n500000\r\n"] {
            client.send(format!("POST {form}/length HTTP/1.1\r\nHost: t\r\n{framing}"));
            client.send(&upload);
            if framing.contains("chunked") {
                client.send("\r\n0\r\n\r\n");
            }
            let answer = client.response();
            assert_eq!((answer.status, answer.text().as_str()), (200, "5242880"));
            assert_seen(&answer, &format!("POST {form}/length 200"));
        }
    }
}

#[test]
fn a_body_that_was_read_as_a_whole_is_passed_on() {
    let script = r#"
        local function behind(req) return `behind {req:body()}` end
        web:mount("/text", medusa.handler.wrap(function(req, next)
            local text = req:body()
            local answer = next(req)
            answer.headers["X-Read"] = text
            return answer
        end, behind))
        web:mount("/json", medusa.handler.wrap("json.luau", behind))
    "#;
    let json = "return function(req, next)
        local value = req:json()
        local answer = next(req)
        answer.headers['X-Read'] = value.a
        return answer
    end";
    let site = web(script).file("json.luau", json);
    let server = start(&site);
    for (path, body, read) in [("/text", "hello", "hello"), ("/text", "", ""), ("/json", "{\"a\":5}", "5")] {
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = server.send(request);
        assert_eq!((answer.text(), answer.header("x-read")), (format!("behind {body}"), Some(read)));
    }
}

#[test]
fn sessions_and_events_go_by_and_outlive_a_reload() {
    let site = site();
    let server = start(&site);
    let mut sockets = FORMS.map(|form| WebSocket::connect(server.address(), &format!("{form}/socket")));
    let mut streams = FORMS.map(|form| {
        let mut client = server.connect();
        client.send(format!("GET {form}/events HTTP/1.1\r\nHost: t\r\n\r\n"));
        assert_seen(&client.head(), &format!("GET {form}/events 200"));
        let mut seen = Vec::new();
        while !seen.ends_with(b"data: first\n\n\r\n") {
            seen.extend(client.read(1));
        }
        client
    });
    for round in ["before", "after"] {
        for socket in &mut sockets {
            socket.send(round);
            assert_eq!(socket.text(), round);
        }
        server.reload();
    }
    // What is behind is the same, so all are still there, until that is not.
    for client in &mut streams {
        assert!(!client.is_readable_within(Duration::from_millis(50)), "nothing ends");
    }
    server.eval("for _, mount in web.mounts do mount:remove() end");
    for socket in &mut sockets {
        socket.expect_close(1001);
    }
    for client in &mut streams {
        let mut rest = Vec::new();
        while !rest.ends_with(b"0\r\n\r\n") {
            rest.extend(client.read(1));
        }
        assert!(String::from_utf8_lossy(&rest).contains("retry: "), "a last word");
    }
}

/// A function that asks for a word, in two forms, before what may be asked for.
const GUARD: &str = r#"function(req, next)
    if req.headers.authorization ~= "Bearer open" then
        return { status = 401, headers = { ["www-authenticate"] = "Bearer" }, body = "who are you?" }
    end
    req.user = "ann"
    return next(req)
end"#;

fn guarded(behind: &str) -> Site {
    let script = format!(
        "begun = 0
        lines = medusa.log.tail(20)
        web:set_log(lines)
        for name, guard in {{ f = {GUARD}, w = 'guard.luau' }} do
            {behind}
        end"
    );
    web(&script).file("guard.luau", format!("return {GUARD}"))
}

#[test]
fn who_is_refused_never_comes_to_what_is_behind() {
    let site = guarded(
        "web:mount(`/{name}/`, medusa.handler.wrap(guard, function(req)
            begun += 1
            if req.tail == 'socket' then return req:websocket(function(ws) ws:send(req.user) ws:recv() end) end
            return `{req.user} {req:body()}`
        end))",
    );
    let server = start(&site);
    for form in FORMS {
        let mut client = server.connect();
        let refused = client.get(&format!("{form}/"));
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
        // The body that nobody wanted is out of the way of the next request.
        client.send(format!("POST {form}/ HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!(client.response().status, 401);
        client.send(format!(
            "GET {form}/socket HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert_eq!(client.response().status, 401, "no session begins");
        assert_eq!(server.eval("return begun"), "0");
        let welcome = server.send(format!(
            "POST {form}/ HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer open\r\nContent-Length: 5\r\n\r\nhello"
        ));
        assert_eq!(welcome.text(), "ann hello");
        let mut socket =
            WebSocket::open(server.connect(), &format!("{form}/socket"), &[("Authorization", "Bearer open")]);
        assert_eq!(socket.text(), "ann");
        socket.close(1000, "");
        server.eval("begun = 0");
    }
    let users = || {
        let users = "local n = 0 for _, line in lines:lines() do if line:find(' ann %[') then n += 1 end end return n";
        server.eval(users)
    };
    wait::until("the log has who asked", || (users() == "4").then_some(()));
}

#[test]
fn who_asks_is_logged_wherever_that_is_found_out() {
    let script = r#"
        lines = medusa.log.tail(20)
        web:set_log(lines)
        local function named(name, answer)
            return function(req, next) req.user = name return answer or next(req) end
        end
        local function changes(req, next) req.headers["x-changed"] = "1" return next(req) end
        local fine = function() return "fine" end
        local function slow() medusa.sleep(60) return "late" end
        web:mount("/own", medusa.handler.wrap(named("ann", "no"), fine))
        web:mount("/status", medusa.handler.wrap(named("bob", { status = 403 }), fine))
        web:mount("/file", medusa.handler.wrap("named.luau", fine))
        web:mount("/copy", medusa.handler.wrap(changes, medusa.handler.rewrite({ add_prefix = "/v1" },
            medusa.handler.wrap(named("dan"), fine))))
        web:mount("/slow", medusa.handler.wrap(changes, medusa.handler.wrap(named("eve"), slow)))
        web:mount("/long", medusa.handler.wrap(named(string.rep("u", 257), "no"), fine))
    "#;
    let server =
        start(&web(script).file("named.luau", "return function(req) req.user = 'cid' return 'no' end"));
    let mut curl = Command::new("curl");
    let leaves = Process::start(curl.args(["-sS", "--http2-prior-knowledge", &server.url("/slow")]));
    wait::until("it is under way", || {
        server.documents("mount").iter().any(|mount| mount["requests_under_way"] == 1).then_some(())
    });
    drop(leaves);
    for (path, status) in [("/own", 200), ("/status", 403), ("/file", 200), ("/copy", 200), ("/long", 500)] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    let expected = [
        "ann \"GET /own 200",
        "bob \"GET /status 403",
        "cid \"GET /file 200",
        "dan \"GET /copy 200",
        "eve \"GET /slow 499",
    ];
    let logged = "local all = {} for _, line in lines:lines() do
            local user, request, status = line:match('^%S+ %S+ (%S+) %b[] (\"GET %S+)[^\"]*\" (%d+)')
            if user ~= '-' then table.insert(all, `{user} {request} {status}`) end
        end table.sort(all) return table.concat(all, '\\n')";
    let expected = expected.join("\n");
    wait::until("the log has them all", || (server.eval(logged) == expected).then_some(()));
}

#[test]
fn a_request_is_changed_on_its_way() {
    let script = r#"
        local function echo(req)
            local names = {}
            for name, value in req.headers do if name:find("^x%-") or name == "accept" then table.insert(names, `{name}={value}`) end end
            table.sort(names)
            return `{req.method} {req.path} {req.tail} {req.query} {table.concat(names, ",")} {req.user}`
        end
        local changes = {
            none = function(req) local _ = req.headers, req.path, req.query, req.method, req.tail end,
            method = function(req) req.method = "PUT" end,
            tail = function(req) req.tail = "other/b" end,
            path = function(req) req.path = "/elsewhere/c%20d" end,
            query = function(req) req.query = "y=2" end,
            no_query = function(req) req.query = "" end,
            fields = function(req)
                req.headers["X-New"] = "new"
                req.headers["x-list"] = { "1", "2" }
                req.headers["X-Old"] = nil
            end,
            cases = function(req)
                req.headers["X-Old"] = req.headers["ACCEPT"]
                req.headers["Accept"] = "a/b"
            end,
            replaced = function(req) req.headers = { ["x-only"] = 1 } end,
            user = function(req) req.user = "bob" end,
            all = function(req) req.tail, req.query, req.headers.accept, req.user = "z", "q", "text/*", "eve" end,
        }
        web:mount("/{case}/", medusa.handler.wrap(function(req, next)
            changes[req.params.case](req)
            local answer = next(req)
            answer.headers.host = nil
            return answer
        end, echo))
        web:mount("/file/", medusa.handler.wrap(function(req, next)
            req.tail = "a.txt"
            return next(req)
        end, medusa.handler.files("public")))
        local function kim(req, next) req.user = "kim" return next(req) end
        web:mount("/seen/", medusa.handler.wrap(function(req, next)
            req.tail = "x"
            local answer = next(req)
            answer.headers["X-User"] = req.user
            return answer
        end, medusa.handler.wrap(kim, echo)))
    "#;
    let site = web(script).file("public/a.txt", "hello");
    let server = start(&site);
    let mut client = server.connect();
    for (case, expected) in [
        ("none", "GET /none/a a x=1 accept=*/*,x-old=1, 2 nil"),
        ("method", "PUT /method/a a x=1 accept=*/*,x-old=1, 2 nil"),
        ("tail", "GET /tail/other/b other/b x=1 accept=*/*,x-old=1, 2 nil"),
        ("path", "GET /elsewhere/c%20d elsewhere/c%20d x=1 accept=*/*,x-old=1, 2 nil"),
        ("query", "GET /query/a a y=2 accept=*/*,x-old=1, 2 nil"),
        ("no_query", "GET /no_query/a a nil accept=*/*,x-old=1, 2 nil"),
        ("fields", "GET /fields/a a x=1 accept=*/*,x-list=1, 2,x-new=new nil"),
        ("cases", "GET /cases/a a x=1 accept=a/b,x-old=*/* nil"),
        ("replaced", "GET /replaced/a a x=1 x-only=1 nil"),
        ("user", "GET /user/a a x=1 accept=*/*,x-old=1, 2 bob"),
        ("all", "GET /all/z z q accept=text/*,x-old=1, 2 eve"),
    ] {
        let fields = [("Accept", "*/*"), ("X-Old", "1"), ("X-Old", "2")];
        let answer = client.request("GET", &format!("/{case}/a?x=1"), &fields);
        assert_eq!((answer.status, answer.text().as_str()), (200, expected));
    }
    assert_eq!(client.get("/file/whatever").text(), "hello");
    let seen = client.get("/seen/a");
    assert_eq!((seen.header("x-user"), seen.text().as_str()), (Some("kim"), "GET /seen/x x nil  kim"));
}

#[test]
fn what_cannot_be_passed_on_is_told() {
    let script = r#"
        local cases = {
            nothing = function(req, next) next() end,
            text = function(req, next) next("req") end,
            twice = function(req, next) next(req) next(req) end,
            body = function(req, next) req:body() next(req) req:body() end,
            part = function(req, next) req:read(1) next(req) end,
            method = function(req, next) req.method = "CONNECT" next(req) end,
            words = function(req, next) req.method = "A B" next(req) end,
            path = function(req, next) req.path = "/a/../b" next(req) end,
            relative = function(req, next) req.path = "a" next(req) end,
            number = function(req, next) req.path = 5 next(req) end,
            both = function(req, next) req.path, req.tail = "/a/b", "b" next(req) end,
            query = function(req, next) req.query = "a b" next(req) end,
            host = function(req, next) req.headers.host = "other" next(req) end,
            length = function(req, next) req.headers["content-length"] = "1" next(req) end,
            name = function(req, next) req.headers["a b"] = "1" next(req) end,
            line = function(req, next) req.headers.a = "1\r\nb: 2" next(req) end,
            case = function(req, next) req.headers = { a = "1", A = "2" } next(req) end,
            many = function(req, next) for n = 1, 500 do req.headers[`x-{n}`] = "1" end next(req) end,
            table = function(req, next) req.headers = "none" next(req) end,
            user = function(req, next) req.user = string.rep("u", 257) next(req) end,
            site = function(req, next) web:mount("/new", function() end) next(req) end,
            status = function(req, next) next(req).status = 99 end,
            session = function(req, next) next(req).headers["content-length"] = 1 end,
            value = function(req, next) next(req).headers.a = function() end end,
            bag = function(req, next) next(req).headers = {} end,
            unknown = function(req, next) return next(req).body end,
        }
        web:mount("/{case}", medusa.handler.wrap(function(req, next)
            local ok, why = pcall(cases[req.params.case], req, next)
            req.user = nil
            return { status = if ok then 200 else 400, body = tostring(why) }
        end, function() return "inner" end))
        web:mount("/{$}", function(req) return tostring(select(2, pcall(kept_next, req))) end)
        web:mount("/keep", medusa.handler.wrap(function(req, next) kept_next = next return next(req) end, function() return "" end))
    "#;
    let site = web(script);
    let server = start(&site);
    for (case, expected) in [
        ("nothing", "next(req): give the request"),
        ("text", "next(req): give the request"),
        ("twice", "it has been called already"),
        ("body", "the request's body has been read already"),
        ("part", "the request's body has been read in part already"),
        ("method", "\"CONNECT\" is no method that is passed on"),
        ("words", "\"A B\" is no method"),
        ("path", "\"/a/../b\": a path begins with a slash"),
        ("relative", "\"a\": a path begins with a slash"),
        ("number", "`path` must be a string, not 5"),
        ("both", "change one"),
        ("query", "a query is what stands behind"),
        ("host", "the field `host` cannot be changed"),
        ("length", "the field `content-length` cannot be changed"),
        ("name", "\"a b\" is no field name"),
        ("line", "the value of the field `a` must be a string without line breaks"),
        ("case", "are the same field"),
        ("many", "there are more than 400 fields"),
        ("table", "`headers` must be a table"),
        ("user", "`user` has from 1 to 256 bytes"),
        ("site", "this function has changed the site"),
        ("status", "`status` must be a whole number from 200 to 599, not 99"),
        ("session", "`content-length` is the server's to write"),
        ("value", "the value of `a` must be a string"),
        ("bag", "change single fields"),
        ("unknown", "unknown field 'body'"),
    ] {
        let answer =
            server.send(format!("POST /{case} HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"));
        assert_eq!(answer.status, 400, "{case}: {}", answer.text());
        assert!(answer.text().contains(expected), "{case}: {}", answer.text());
    }
    server.get("/keep");
    assert!(server.get("/").text().contains("behind this function is no other handler"));
}

#[test]
fn an_answer_is_of_its_request_alone() {
    let script = r#"
        web:mount("/", medusa.handler.wrap(function(req, next)
            if req.tail == "read" then
                local _, status = pcall(function() return kept.status end)
                local _, field = pcall(function() return fields["x-a"] end)
                local _, set = pcall(function() kept.status = 500 end)
                return `{status}\n{field}\n{set}`
            elseif req.tail == "return" then
                return kept
            end
            kept = next(req)
            fields = kept.headers
            return if req.tail == "lost" then "other" else kept
        end, function() return { headers = { ["x-a"] = "1" }, body = "inner" } end))
    "#;
    let site = web(script);
    let server = start(&site);
    for path in ["/keep", "/lost"] {
        let kept = server.get(path);
        assert_eq!(kept.text(), if path == "/keep" { "inner" } else { "other" });
        let read = server.get("/read").text();
        assert_eq!(read.matches("this request has been answered already").count(), 3, "{read}");
        assert_eq!(server.get("/return").status, 500);
        server.stderr().wait_for("this is the answer to another request");
    }
}

#[test]
fn fields_of_an_answer_are_read_set_and_removed() {
    let script = r#"
        web:mount("/", medusa.handler.wrap(function(req, next)
            local answer = next(req)
            local fields = answer.headers
            local all = {}
            for name, value in fields do
                table.insert(all, `{name}={if type(value) == "table" then table.concat(value, "|") else value}`)
            end
            table.sort(all)
            fields["X-All"] = table.concat(all, " ")
            fields["x-two"] = { "a", "b" }
            fields["x-number"] = 7
            fields["X-GONE"] = nil
            fields["x-none"] = nil
            assert(fields["no such"] == nil and fields[5] == nil and fields["X-number"] == "7")
            assert(#fields["set-cookie"] == 2 and fields["X-Two"] == "a, b")
            answer.status = 202
            return answer
        end, function()
            return { headers = { ["set-cookie"] = { "a=1", "b=2" }, vary = { "a", "b" }, ["x-gone"] = "1" }, body = "inner" }
        end))
    "#;
    let site = web(script);
    let server = start(&site);
    let answer = server.get("/");
    assert_eq!((answer.status, answer.text().as_str()), (202, "inner"), "{answer:?}");
    let values = |name: &str| {
        let fields = answer.headers.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(values("set-cookie"), ["a=1", "b=2"]);
    assert_eq!((values("x-two"), values("x-number"), values("x-gone")), (vec!["a", "b"], vec!["7"], vec![]));
    let all = values("x-all").join("");
    assert!(
        all.contains("set-cookie=a=1|b=2") && all.contains("vary=a, b") && all.contains("x-gone=1"),
        "{all}"
    );
}

#[test]
fn what_fails_behind_fails_as_without_the_function() {
    let script = r#"
        local function inner(req)
            if req.tail == "json" then return tostring(req:json()) end
            if req.tail == "body" then return req:body() end
            error("oh no")
        end
        web:mount("/plain/", inner, { body = 10 })
        web:mount("/f/", medusa.handler.wrap(function(req, next) return next(req) end, inner), { body = 10 })
        web:mount("/w/", medusa.handler.wrap("through.luau", inner), { body = 10 })
        web:mount("/file/", medusa.handler.wrap("through.luau", medusa.handler.script("inner.luau")))
        web:mount("/caught/", medusa.handler.wrap(function(req, next)
            local ok, why = pcall(next, req)
            return { status = 503, body = why }
        end, inner))
        web:mount("/own", medusa.handler.wrap(function(req, next) next(req) error("my own") end, function() return "" end))
    "#;
    let site = web(script)
        .file("through.luau", "return function(req, next) return next(req) end")
        .file("inner.luau", "return function() error('in the file') end");
    let server = start(&site);
    let ask = |path: &str, body: &str| {
        let length = body.len();
        let request = format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = server.send(request);
        (answer.status, answer.text())
    };
    for (path, body, status) in
        [("json", "{", 400), ("body", "longer than ten bytes", 413), ("fails", "", 500)]
    {
        let plain = ask(&format!("/plain/{path}"), body);
        assert_eq!(plain.0, status, "{path}");
        for form in FORMS {
            assert_eq!(ask(&format!("{form}/{path}"), body), plain, "{form}/{path}");
            if status == 500 {
                let line = server.stderr().wait_for(&format!("path={form}/fails"));
                assert!(line.contains("status=500") && line.contains("oh no"), "{line}");
            }
        }
    }
    assert_eq!(server.get("/file/").status, 500);
    let line = server.stderr().wait_for("path=/file/");
    assert!(line.contains("inner.luau:1: in the file"), "{line}");
    let (status, why) = ask("/caught/fails", "");
    assert_eq!(status, 503);
    assert!(why.contains("the handler behind failed (500): ") && why.contains("oh no"), "{why}");
    let (status, why) = ask("/caught/json", "{");
    assert!(status == 503 && why.contains("failed (400)"), "{why}");
    assert_eq!(server.get("/own").status, 500);
    server.stderr().wait_for("my own");
}

#[test]
fn who_leaves_takes_all_of_it_along_and_so_does_the_end_of_the_time() {
    let script = r#"
        local function slow() medusa.sleep(1000) return "late" end
        short = medusa.http.server { name = "short", listen = "127.0.0.1:0", limits = { handler = 1 } }
        for _, server in { web, short } do
            server:mount("/f", medusa.handler.wrap(function(req, next) return next(req) end, slow))
            server:mount("/w", medusa.handler.wrap("through.luau", slow))
            server:mount("/first", medusa.handler.first { function() return { status = 404 } end, slow })
        end
    "#;
    let site = web(script).file("through.luau", "return function(req, next) return next(req) end");
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    let requests = |expected: [u64; 2]| {
        wait::until("so many are under way", || {
            let now = [server.number("vm", "requests"), server.number("vm.worker", "requests")];
            (now == expected).then_some(())
        });
    };
    for (path, under_way) in [("/f", [2, 0]), ("/w", [1, 1]), ("/first", [1, 0])] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--http2-prior-knowledge", &server.url(path)]);
        let curl = Process::start(&mut curl);
        requests(under_way);
        drop(curl);
        requests([0, 0]);
        assert_eq!(Client::connect(server.address_of(1)).get(path).status, 503);
        requests([0, 0]);
    }
}

#[test]
fn the_first_that_knows_it_answers() {
    let script = r#"
        local function not_here(req) return { status = 404, body = "not here" } end
        local function read(req) req:body() return { status = 404, body = "read" } end
        local function body(req) return `last {req:body()}` end
        local files = medusa.handler.files
        web:mount("/files/", medusa.handler.first { files("mine"), files("theirs") })
        web:mount("/api/", medusa.handler.first { files("mine"), medusa.handler.script("api.luau") })
        web:mount("/upload/", medusa.handler.first { not_here, medusa.handler.script("not_here.luau"), body })
        web:mount("/read/", medusa.handler.first { read, body })
        web:mount("/nested/", medusa.handler.wrap(function(req, next)
            local answer = next(req)
            answer.headers["x-seen"] = "yes"
            return answer
        end, medusa.handler.first { medusa.handler.wrap(function(req, next) return next(req) end, not_here), body }))
        web:mount("/app/", files("mine", { fallback = "app.html" }))
    "#;
    let site = web(script)
        .file("mine/a.txt", "mine")
        .file("mine/app.html", "<p>app</p>")
        .file("theirs/a.txt", "theirs")
        .file("theirs/b.txt", "theirs")
        .file("api.luau", "return function(req) return { status = if req.tail == 'no' then 404 else 200, body = 'api' } end")
        .file("not_here.luau", "return function() return { status = 404 } end");
    let server = start(&site);
    let ask = |path: &str| {
        let answer = server.get(path);
        (answer.status, answer.text())
    };
    for _ in ["before", "after a reload"] {
        assert_eq!(ask("/files/a.txt"), (200, "mine".into()));
        assert_eq!(ask("/files/b.txt"), (200, "theirs".into()));
        assert_eq!(ask("/files/c.txt").0, 404);
        assert_eq!(ask("/api/a.txt"), (200, "mine".into()));
        assert_eq!(ask("/api/x"), (200, "api".into()));
        assert_eq!(ask("/api/no"), (404, "api".into()));
        let post = |path: &str| {
            let answer =
                server.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"));
            (answer.status, answer.text())
        };
        assert_eq!(post("/upload/"), (200, "last hello".into()));
        assert_eq!(post("/nested/"), (200, "last hello".into()));
        assert_eq!(post("/read/"), (404, "read".into()), "what was read is gone");
        assert_eq!(ask("/read/"), (200, "last ".into()), "there was nothing to read");
        assert_eq!(ask("/app/a.txt"), (200, "mine".into()));
        assert_eq!(ask("/app/users/7"), (200, "<p>app</p>".into()));
        server.reload();
    }
}

#[test]
fn what_makes_no_sense_is_an_error_of_the_script() {
    let site = web("h = function() end").file("number.luau", "return 5");
    let server = start(&site);
    for (statement, expected) in [
        (
            "medusa.handler.wrap(5, h)",
            "medusa.handler.wrap: the first is a function(req, next), or the name of a file",
        ),
        ("medusa.handler.wrap(h)", "a handler must be a function(req) or come from medusa.handler, not nil"),
        ("medusa.handler.wrap('none.luau', h)", "medusa.handler.wrap: "),
        ("medusa.handler.wrap('../x.luau', h)", "is not a path below the script's directory"),
        (
            "web:mount('/', medusa.handler.wrap('number.luau', h))",
            "a handler file must return a function(req)",
        ),
        ("medusa.handler.first(h)", "medusa.handler.first: give a list of handlers, not a function"),
        ("medusa.handler.first {}", "medusa.handler.first: the list is empty"),
        ("medusa.handler.first { a = h }", "must be a list"),
        ("medusa.handler.first { 'x' }", "a handler must be a function(req) or come from medusa.handler"),
        ("medusa.handler.first(table.create(17, h))", "at most 16 are allowed"),
        ("medusa.handler.files('.', { fallback = 'none.html' })", "there is no file `none.html`"),
        (
            "for _ = 1, 17 do h = medusa.handler.wrap(function() end, h) end",
            "16 wrappers stand before this handler already",
        ),
        (
            "for _ = 1, 7 do h = medusa.handler.first { h, h } end",
            "handlers in this one; at most 64 are allowed",
        ),
    ] {
        let error = server.command(["eval", statement]).failure(1);
        assert!(error.contains(expected), "{statement}: {error}");
    }
}

#[test]
fn the_chain_is_shown_and_its_files_are_loaded_anew() {
    let script = "
        m = web:mount('/', medusa.handler.wrap('mark.luau', medusa.handler.script('inner.luau')))
        web:mount('/f/', medusa.handler.wrap(function(req, next) return next(req) end, medusa.handler.script('inner.luau')))
        web:mount('/first/', medusa.handler.first { medusa.handler.files('public'), medusa.handler.script('inner.luau') })";
    let file = |name: &str, version: u32| {
        if name == "mark" {
            format!(
                "return function(req, next) local a = next(req) a.headers['x-mark'] = {version} return a end"
            )
        } else {
            format!("return function() return 'inner {version}' end")
        }
    };
    let site = web(script)
        .file("mark.luau", file("mark", 1))
        .file("inner.luau", file("inner", 1))
        .file("public/a", "a");
    let server = start(&site);
    let mut session = Session::with(&server);
    let chain = "handler.wrap → script mark.luau → script inner.luau";
    assert!(session.value("explain('GET', '/')").contains(chain), "{}", session.value("explain('GET', '/')"));
    let chain = "handler.wrap → function site.luau:4 → script inner.luau";
    assert!(
        session.value("explain('GET', '/f/')").contains(chain),
        "{}",
        session.value("explain('GET', '/f/')")
    );
    assert!(session.value("source(m)").contains("a.headers['x-mark'] = 1"), "{}", session.value("source(m)"));
    let mut trace = Watching::begin(&server, "traces", "trace(nil, 2)");
    server.get("/f/");
    let line = trace.line();
    for step in ["handler.wrap ", "→ function site.luau:4 ", "→ script inner.luau "] {
        assert!(line.contains(step), "{step}: {line}");
    }
    server.get("/first/x");
    let line = trace.line();
    assert!(line.contains("handler.first ") && line.contains("→ script inner.luau "), "{line}");
    let ask = |path: &str| {
        let answer = server.get(path);
        (answer.header("x-mark").map(str::to_owned), answer.text())
    };
    assert_eq!(ask("/"), (Some("1".into()), "inner 1".into()));
    for (name, seen) in
        [("mark", (Some("2".to_owned()), "inner 1")), ("inner", (Some("2".to_owned()), "inner 2"))]
    {
        site.write(&format!("{name}.luau"), file(name, 2));
        session.report(&format!("medusa.upgrade('{name}.luau')"));
        assert_eq!(ask("/"), (seen.0, seen.1.to_owned()));
    }
    assert_eq!((ask("/f/").1, ask("/first/x").1), ("inner 2".into(), "inner 2".into()));
    // A reload finds the same again, and what has changed is loaded anew.
    server.reload();
    assert_eq!(ask("/"), (Some("2".into()), "inner 2".into()));
    site.write("mark.luau", file("mark", 3));
    server.reload();
    assert_eq!(ask("/"), (Some("3".into()), "inner 2".into()));
    session.report("m:replace(function() return 'plain' end)");
    assert_eq!(ask("/"), (None, "plain".into()));
}

#[test]
fn the_login_of_the_guide_lets_in_who_has_one() {
    let example = guide_example("**A function before a handler**");
    let script = format!("logins = {{ ticket = 'ann' }}\n{example}");
    let site = web(&script).file("members/index.html", "members only");
    let server = start(&site);
    let refused = server.get("/members/");
    assert_eq!((refused.status, refused.header("location")), (303, Some("/login")));
    let inside = server.connect().request("GET", "/members/", &[("Cookie", "login=ticket")]);
    assert_eq!((inside.status, inside.text().as_str()), (200, "members only"));
    assert_eq!(inside.header("cache-control"), Some("no-store"));
}
