//! Every wrapper around every other, and both around whatever answers: requests and sessions come through, over reloads and
//! replacements, and nothing is left of them in the end.
//!
//! A new wrapper is a line of [`WRAPPERS`], a handler that is none one of [`INSIDE`] or of [`OTHERS`]; a test compares them with the
//! reference.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use medusa_site::MAX_WHOLE;
use medusa_testkit::{Client, Server, Site, WebSocket, wait};

use super::super::support::{start, web};
use super::SOCKET;

/// Those that stand before others, around `H`, so that they let everything pass. Of one function there may be several forms, told
/// apart by what is behind a blank.
const WRAPPERS: &[(&str, &str)] = &[
    ("auth", "medusa.handler.auth(users, H, { pass_authorization = true })"),
    ("auth file", "medusa.handler.auth(medusa.auth.users('knows.luau'), H, { pass_authorization = true })"),
    ("login", "medusa.handler.login(users, H, { pass_cookie = true })"),
    ("allow", "medusa.handler.allow({ 'private' }, H)"),
    ("deny", "medusa.handler.deny({ '192.0.2.0/24', '2001:db8::/32' }, H)"),
    ("limit", "medusa.handler.limit({ rate = 100000 }, H)"),
    ("limit key", "medusa.handler.limit({ rate = 100000, key = medusa.handler.script('key.luau') }, H)"),
    ("concurrency", "medusa.handler.concurrency({ most = 10000 }, H)"),
    ("timeout", "medusa.handler.timeout(30, H)"),
    ("cors", "medusa.handler.cors({ origins = { 'https://app.example' }, credentials = true }, H)"),
    ("csrf", "medusa.handler.csrf({ trusted = { 'https://app.example' } }, H)"),
    (
        "errors",
        "medusa.handler.errors({ [404] = 'lost.html', ['5xx'] = medusa.handler.script('key.luau') }, H)",
    ),
    ("log", "medusa.handler.log(medusa.log.tail(10), H)"),
    ("rewrite", "medusa.handler.rewrite({ add_prefix = '/v1' }, H)"),
    ("headers", "medusa.handler.headers({ set = { a = '1' } }, H)"),
    ("compress", "medusa.handler.compress(H)"),
    ("first", "medusa.handler.first { medusa.handler.files('empty'), H }"),
    ("wrap", "medusa.handler.wrap(function(req, next) return next(req) end, H)"),
    ("wrap file", "medusa.handler.wrap('wrap.luau', H)"),
];

/// What they stand before. Each answers with its name.
const INSIDE: &[(&str, &str)] = &[
    ("function", "function(req) return 'function' end"),
    ("script", "medusa.handler.script('script.luau')"),
    ("files", "medusa.handler.files('public')"),
    ("proxy", "medusa.handler.proxy('unix:FOLDER/behind.sock')"),
    // With a session.
    ("socket", "medusa.handler.script('socket.luau')"),
];

/// The handlers that are neither: they send clients elsewhere, are another program's, or serve what is not the site's.
const OTHERS: &[&str] = &["dav", "https", "publish", "put", "redirect", "rust", "user_dirs"];

const ADA: (&str, &str) = ("Authorization", "Basic YWRhOnNlY3JldA==");

/// Logs her in, and returns her cookie.
#[track_caller]
fn log_in(server: &Server) -> String {
    let form = "username=ada&password=secret";
    let login = server.send(format!(
        "POST /.door/.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    let cookie = login.header("set-cookie").and_then(|cookie| cookie.split(';').next());
    cookie.unwrap_or_else(|| panic!("{login:?}")).to_owned()
}

/// A table of functions that put wrappers before a handler, and what all of them need.
fn wrappers() -> String {
    let mut script = "local users = medusa.auth.users { ada = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' }
        web:mount('/.door/', medusa.handler.login(users, function() return 'in' end))
        local wrappers = {}\n"
        .to_owned();
    for (name, wrapper) in WRAPPERS {
        let path = name.replace(' ', "-");
        writeln!(script, "wrappers['{path}'] = function(H) return {wrapper} end").expect("memory");
    }
    script
}

fn site(mounts: &str) -> Site {
    let site = web(&format!("{}{mounts}", wrappers()))
        .file("knows.luau", "return function(name, password) return password == 'secret' end")
        .file("key.luau", "return function(req) return 'key' end")
        .file("wrap.luau", "return function(req, next) return next(req) end")
        .file("script.luau", "return function(req) return 'script' end")
        .file("socket.luau", SOCKET)
        .file("lost.html", "lost")
        .file("empty/.keep", "")
        .file("public/a", "files");
    let script = site.read("site.luau").replace("FOLDER", site.path().to_str().expect("UTF-8"));
    site.write("site.luau", script);
    site
}

/// All of them.
fn matrix() -> Site {
    let mut mounts = "local behind = medusa.http.server { listen = 'unix:behind.sock' }
        behind:mount('/', function() return 'proxy' end)
        local inside = {}\n"
        .to_owned();
    for (name, handler) in INSIDE {
        writeln!(mounts, "inside['{name}'] = {handler}").expect("memory");
    }
    mounts +=
        "for outer, outside in wrappers do for inner, within in wrappers do for name, handler in inside do
            web:mount(`/{outer}/{inner}/{name}/`, outside(within(handler)))
        end end end";
    site(&mounts)
}

/// The paths of all pairs, without what is behind them.
fn pairs() -> impl Iterator<Item = String> {
    let names = || WRAPPERS.iter().map(|(name, _)| name.replace(' ', "-"));
    names().flat_map(move |outer| names().map(move |inner| format!("/{outer}/{inner}")))
}

/// Asks each, but for sessions; `answer` says what the one of this name answers.
#[track_caller]
fn ask_all(client: &mut Client, cookie: &str, answer: impl Fn(&str) -> String) {
    for pair in pairs() {
        for (name, _) in INSIDE.iter().filter(|(name, _)| *name != "socket") {
            let path = format!("{pair}/{name}/a");
            let given = client.request("GET", &path, &[ADA, ("Cookie", cookie)]);
            assert_eq!((given.status, given.text()), (200, answer(name)), "{path}");
        }
    }
}

#[test]
fn the_table_has_all_handlers_of_the_reference() {
    let reference = include_str!("../../../../../docs/reference/handler.md");
    let all: BTreeSet<_> =
        reference.lines().filter_map(|line| line.strip_prefix("## `medusa.handler.")).collect();
    let all: BTreeSet<_> = all.iter().map(|name| name.trim_end_matches('`')).collect();
    let wrappers = WRAPPERS.iter().map(|(name, _)| name.split(' ').next().unwrap_or_default());
    let inside = INSIDE.iter().map(|(name, _)| *name).filter(|name| !["function", "socket"].contains(name));
    let known: BTreeSet<_> = wrappers.chain(inside).chain(OTHERS.iter().copied()).collect();
    assert_eq!(known, all, "left: the tables of this test, right: the reference");
}

#[test]
fn requests_come_through_and_nothing_is_left_in_the_end() {
    let site = matrix();
    let server = start(&site);
    let (mut client, cookie) = (server.connect(), log_in(&server));
    let same = |name: &str| name.to_owned();
    ask_all(&mut client, &cookie, same);
    server.reload();
    ask_all(&mut client, &cookie, same);
    site.write("script.luau", "return function(req) return 'another' end");
    site.write("public/b", "");
    server.reload();
    ask_all(
        &mut client,
        &cookie,
        |name| if name == "script" { "another".to_owned() } else { name.to_owned() },
    );
    server.eval("for _, mount in web.mounts do mount:replace(function() return 'replaced' end) end");
    ask_all(&mut client, &cookie, |_| "replaced".to_owned());
    server.eval("rollback(3)");
    ask_all(
        &mut client,
        &cookie,
        |name| if name == "script" { "another".to_owned() } else { name.to_owned() },
    );
    drop(client);
    site.write("site.luau", "");
    server.reload();
    // Until nobody can go back to them.
    (0..MAX_WHOLE).for_each(|_| drop(server.eval("medusa.every(60, function() end):cancel()")));
    wait::until("there is nothing left", || {
        let none = |kind: &str, field: &str| server.documents(kind).iter().all(|one| one[field] == 0);
        let is_empty = server.documents("vm.replaced").is_empty()
            && none("vm", "handler_functions")
            && none("vm.worker", "handler_files")
            && none("site", "handlers")
            && none("site", "logs");
        is_empty.then_some(())
    });
}

#[test]
fn sessions_outlive_reloads_and_end_once_with_their_mounts() {
    let site = matrix();
    let server = start(&site);
    let cookie = log_in(&server);
    let mut sessions: Vec<_> = pairs()
        .map(|pair| {
            let session =
                WebSocket::open(server.connect(), &format!("{pair}/socket/"), &[ADA, ("Cookie", &cookie)]);
            (pair, session)
        })
        .collect();
    let mut expect_echo = |message: &str| {
        for (pair, session) in &mut sessions {
            session.send(message);
            assert_eq!(session.text(), message, "{pair}");
        }
    };
    expect_echo("before");
    server.reload();
    expect_echo("after");
    // Other wrappers stand before the same handler.
    let script = site.read("site.luau");
    site.write(
        "site.luau",
        script.replace("rate = 100000", "rate = 100001").replace("most = 10000", "most = 10001"),
    );
    server.reload();
    expect_echo("behind another limit");
    server.eval(
        "for at, mount in web.mounts do
            if at % 2 == 0 then mount:replace(function() return 'replaced' end) else mount:remove() end
        end",
    );
    for (_, mut session) in sessions {
        session.expect_close(1001);
    }
    wait::until("none is under way", || {
        let under_way = |one: &serde_json::Value| one["websockets_under_way"].as_u64().unwrap_or_default();
        (server.documents("mount").iter().map(under_way).sum::<u64>() == 0).then_some(())
    });
}

#[test]
fn what_is_counted_goes_on_over_reloads_and_replacements() {
    // Of one handler behind all of them there would be one limit: each has a rate of its own.
    let limit = "medusa.handler.limit({ rate = (100 + rates[path]) / 1e6, burst = 2 }, H)";
    let site = site(&format!(
        "local rates, names = {{}}, {{}}
        for name in wrappers do table.insert(names, name) end
        table.sort(names)
        for at, name in names do for side in {{ inside = 1, outside = 1 }} do for behind in {{ ['function'] = 1, script = 1 }} do
            rates[`/{{side}}/{{name}}/{{behind}}`] = 4 * at + (if side == 'inside' then 2 else 0) + (if behind == 'script' then 1 else 0)
        end end end
        local function limit(H, path) return {limit} end
        local inside = {{ ['function'] = function(req) return 'function' end, script = medusa.handler.script('script.luau') }}
        for name, wrapper in wrappers do for behind, handler in inside do
            local inner, outer = `/inside/{{name}}/{{behind}}`, `/outside/{{name}}/{{behind}}`
            web:mount(inner, wrapper(limit(handler, inner)))
            web:mount(outer, limit(wrapper(handler), outer))
        end end
        function again()
            for _, mount in web.mounts do
                local side, name = mount.pattern:match('^/(%w+)/([%w-]+)/')
                local handler = function() return 'again' end
                local path = mount.pattern
                if side then
                    mount:replace(if side == 'inside' then wrappers[name](limit(handler, path)) else limit(wrappers[name](handler), path))
                end
            end
        end"
    ));
    let server = start(&site);
    let (mut client, cookie) = (server.connect(), log_in(&server));
    let paths = || {
        let names = WRAPPERS.iter().map(|(name, _)| name.replace(' ', "-"));
        let both = names.flat_map(|name| ["inside", "outside"].map(|side| format!("/{side}/{name}")));
        both.flat_map(|path| ["function", "script"].map(|behind| format!("{path}/{behind}")))
    };
    let mut ask = |path: &str| client.request("GET", path, &[ADA, ("Cookie", &cookie)]).status;
    for path in paths() {
        assert_eq!([ask(&path), ask(&path), ask(&path)], [200, 200, 429], "{path}");
    }
    server.reload();
    for path in paths() {
        assert_eq!(ask(&path), 429, "{path} after a reload");
    }
    server.eval("again()");
    for path in paths() {
        assert_eq!(ask(&path), 429, "{path} with another handler behind");
    }
}
