//! Probes: the locals of a line of a running script, on all workers and in the main VM.

use medusa_testkit::{Server, Site, wait};

use super::support::{Watching, start, web};

const SITE: &str = "
    local answers = { hello = 'hello' }
    web:mount('/inline/{name}', function(req)
        local answer = answers[req.params.name]
        return answer or 'nobody'
    end)
    web:mount('/file/{name}', medusa.handler.script('handlers/api.luau'))
    web:mount('/busy', medusa.handler.script('handlers/busy.luau'))";
const API: &str = "local util = require('./util')
return function(req)
    local name = util.name(req)

    -- what follows
    return name
end";
const UTIL: &str = "return { name = function(req)
    local name = req.params.name
    return name:upper()
end }";
const BUSY: &str = "return function()
    local sum = 0
    for i = 1, 100000 do
        sum += i
    end
    return tostring(sum)
end";

fn site() -> Site {
    let site = web(SITE).file("handlers/api.luau", API).file("handlers/util.luau", UTIL);
    site.file("handlers/busy.luau", BUSY)
}

/// A probe that is on.
#[track_caller]
fn probing(server: &Server, statement: &str) -> Watching {
    let watching = Watching::begin(server, "probes", statement);
    // It counts from before it is set; a statement comes after that.
    server.eval("medusa.sleep(0.05)");
    watching
}

#[test]
fn locals_are_shown_wherever_the_line_runs() {
    let server = start(&site());
    let mut inline = probing(&server, "probe('site.luau:6', { max = 2 })");
    assert_eq!(server.get("/inline/hello").text(), "hello");
    let line = inline.line();
    assert!(line.starts_with("site.luau:6 {") && line.contains("answer = \"hello\""), "{line}");
    assert!(line.contains("answers = { hello = \"hello\" }") && line.contains("req = request {"), "{line}");
    assert!(
        line.contains("path = \"/inline/hello\"") && line.contains("params = { name = \"hello\" }"),
        "{line}"
    );
    assert_eq!(server.get("/inline/x").text(), "nobody");
    assert!(inline.line().contains("answer = nil"));
    assert_eq!(inline.end(), "2 times");

    // The line is empty: the next that has code is meant. Connections come to both workers.
    let mut file =
        probing(&server, "probe('handlers/api.luau:4', function(at) return at.name end, { max = 20 })");
    assert_eq!(file.line(), "handlers/api.luau:4 has no code: the probe is at line 6");
    for at in 0..20 {
        assert_eq!(server.get(&format!("/file/n{at}")).text(), format!("N{at}"));
        assert_eq!(file.line(), format!("N{at}"));
    }
    assert_eq!(file.end(), "20 times");

    // Tables as the prompt shows them; the line is met as often as that, whatever the function shows.
    let told = "probe('handlers/util.luau:3', function(at) if at.name ~= 'tea' then print(at, { 1 }) end end, { max = 2 })";
    let mut some = probing(&server, told);
    server.get("/file/tea");
    server.get("/file/milk");
    let line = some.line();
    assert!(line.starts_with("{\n    name = \"milk\"") && line.ends_with("}\t{ 1 }"), "{line}");
    assert_eq!(some.end(), "2 times");

    let mut module =
        probing(&server, "probe('handlers/util.luau:3', function(at) print(at.name) end, { max = 1 })");
    server.get("/file/tea");
    assert_eq!(module.line(), "tea");
    assert_eq!(module.end(), "once");
    assert_eq!(server.number("site", "probes"), 0);
}

#[test]
fn a_busy_line_is_met_as_often_as_is_wanted_and_no_request_suffers() {
    let server = start(&site());
    let probe = probing(&server, "probe('handlers/busy.luau:4', function() end, { max = 1000, ttl = 2 })");
    for _ in 0..4 {
        assert_eq!(server.get("/busy").text(), "5000050000");
    }
    let end = probe.end();
    assert!(end.contains(" times") && !end.starts_with("0 "), "{end}");
    // It is out again.
    let probe = probing(&server, "probe('handlers/busy.luau:2', function() end, { max = 1 })");
    assert_eq!(server.get("/busy").text(), "5000050000");
    assert_eq!(probe.end(), "once");
}

#[test]
fn it_ends_with_its_function_its_time_and_its_session() {
    let server = start(&site());
    let mut failing = probing(&server, "probe('handlers/api.luau:6', function(at) return at.none.x end)");
    assert_eq!(server.get("/file/x").text(), "X");
    let end = failing.reply();
    assert_eq!(end["reply"], "failed", "{end}");
    assert!(end["message"].as_str().is_some_and(|why| why.contains("statement:1")), "{end}");
    wait::until("it is off", || (server.number("site", "probes") == 0).then_some(()));
    let timed = server.eval("probe('handlers/api.luau:6', nil, { ttl = 0.2 })");
    assert_eq!(timed.trim(), "0 times");
    drop(probing(&server, "probe('handlers/api.luau:6')"));
    wait::until("it is off", || (server.number("site", "probes") == 0).then_some(()));
    assert_eq!(server.get("/file/x").text(), "X");
}

#[test]
fn what_is_loaded_anew_is_told() {
    let site = site();
    let server = start(&site);
    let mut file = probing(&server, "probe('handlers/api.luau:6')");
    let mut main = probing(&server, "probe('site.luau:5')");
    let mut other = probing(&server, "probe('handlers/busy.luau:4', { max = 1 })");
    site.write("handlers/api.luau", API.replace("return name", "return name .. '!'"));
    server.reload();
    assert!(file.line().starts_with("handlers/api.luau was loaded anew: this probe is in what ran before"));
    assert!(main.line().starts_with("site.luau was loaded anew"));
    assert_eq!(server.get("/file/x").text(), "X!");
    server.get("/busy");
    assert!(other.line().starts_with("handlers/busy.luau:4 {"), "what has not changed is still the same");
    assert_eq!(other.end(), "once");
    drop((file, main));
}

#[test]
fn what_cannot_be_probed_is_told() {
    let split =
        "local function items() return next, {} end\nfor k, v in\nitems() do end\nreturn function() end";
    let server = start(&site().file("handlers/busy.luau", split));
    for (statement, why) in [
        ("probe()", "the place must be a file and a line, like \"handlers/api.luau:12\", not nil"),
        (
            "probe('api.luau')",
            "the place must be a file and a line, like \"handlers/api.luau:12\", not \"api.luau\"",
        ),
        (
            "probe('api.luau:1')",
            "no file \"api.luau\" is loaded, by its path below the script's directory; there are: handlers/api.luau, \
             handlers/busy.luau, handlers/util.luau, site.luau",
        ),
        ("probe('handlers/api.luau:99')", "handlers/api.luau has no code in line 99 or below it"),
        ("probe('statement:1')", "save() it"),
        ("probe('handlers/busy.luau:2')", "begins a loop over what is written in another line"),
        ("probe('site.luau:5', 5)", "fn must be a function of the locals, not 5"),
        (
            "probe('site.luau:5', nil, { max = 1001 })",
            "`max` must be a whole number from 1 to 1000, not 1001",
        ),
        (
            "probe('site.luau:5', { ttl = 0 })",
            "`ttl` must be a number of seconds above 0, at most 3600, not 0",
        ),
        ("probe('site.luau:5', { n = 1 })", "there is no option \"n\"; there are: max, ttl"),
    ] {
        let failed = server.command(["eval", statement]).failure(1);
        assert!(failed.contains(why), "{statement}: {failed}");
    }
    let _on: Vec<_> = (0..4).map(|_| probing(&server, "probe('site.luau:5')")).collect();
    let failed = server.command(["eval", "probe('site.luau:5')"]).failure(1);
    assert!(failed.contains("4 probes are on already, which is the most"), "{failed}");
}
