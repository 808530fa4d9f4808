//! Modules: where `require` looks, whom its errors name, and what names mean in them.

use super::support::{Server, WEB};

#[test]
fn modules_are_required_from_below_the_script_only() {
    let server = Server::start(
        &format!("util = require('lib/util') {WEB} web:mount('/', medusa.handler.script('handlers/h.luau'))"),
        &[
            ("lib/util.luau", "local count = 0 return { next = function() count += 1 return count end }"),
            (
                "handlers/h.luau",
                "local a, b = require('lib/util'), require('../lib/util.luau')
                return function() return `{a == b} {a.next() == b.next() - 1} {(pcall(require, '../../x'))}` end",
            ),
        ],
    );
    assert_eq!(server.get("/").body, "true true false");
    assert_eq!(server.value("util.next()"), "1");
}

/// Also later, by a function of the module, and by the script and a statement, whose place is the script's.
#[test]
fn a_module_requires_from_where_it_stands() {
    let server = Server::start(
        &format!(
            "a = require('lib/a') {WEB}
            web:mount('/', function() return `{{require('./a')}} {{a.near}} {{a.far}} {{a.later()}}` end)
            web:mount('/file', medusa.handler.script('lib/h.luau'))"
        ),
        &[
            ("a.luau", "return 'a of the root'"),
            ("b.luau", "return 'b of the root'"),
            ("c.luau", "return 'c of the root'"),
            ("lib/b.luau", "return 'b of lib'"),
            ("lib/c.luau", "return 'c of lib'"),
            (
                "lib/a.luau",
                "return { near = require('./b'), far = require('../b'), later = function() return require('./c') end }",
            ),
            (
                "lib/h.luau",
                "local a = require('./a') return function() return `{a.near} {a.far} {a.later()}` end",
            ),
        ],
    );
    assert_eq!(server.get("/").body, "a of the root b of lib b of the root c of lib");
    assert_eq!(server.get("/file").body, "b of lib b of the root c of lib");
    assert_eq!(server.value("require('./b')"), "b of the root");
    assert_eq!(server.value("a.later()"), "c of lib");
}

/// Whatever fails in a module, the module and its line are named, and the line is shown.
#[test]
fn an_error_in_a_module_names_the_module() {
    for (place, line) in [
        ("lib/a.luau:3:", "local x = require('./none')"),
        ("lib/a.luau:3:", "local x = require('../../out')"),
        ("lib/a.luau:3:", "local x = require('./nothing')"),
        ("lib/a.luau:3:", "local x = require('./a')"),
        ("lib/a.luau:3:", "local x = = 1"),
        ("lib/a.luau:3:", "local x = nil + 1"),
        ("lib/a.luau:3:", "medusa.json.decode('[')"),
        ("lib/bad.luau:2:", "local x = require('./bad')"),
        ("lib/wrong.luau:2:", "local x = require('./wrong')"),
    ] {
        let module = format!("-- one\n-- two\n{line}\nreturn 1");
        let files = [
            ("lib/a.luau", module.as_str()),
            ("lib/nothing.luau", "local x"),
            ("lib/bad.luau", "\nerror('bad')"),
            ("lib/wrong.luau", "\nlocal = 1"),
            ("h.luau", "\n\n\n\nlocal a = require('./lib/a') return function() end"),
        ];
        for script in
            ["\n\n\n\n\nlocal a = require('lib/a')", "web:mount('/', medusa.handler.script('h.luau'))"]
        {
            let (_server, loaded) = Server::try_start(&format!("{WEB} {script}"), &files);
            let error = loaded.expect_err(line).render();
            assert!(error.contains(place), "{line}: {error}");
            let first = error.lines().find(|text| text.contains("luau:")).unwrap();
            assert!(first.contains(place), "{line}: {error}");
        }
    }
}

/// What a name holds is looked up when it is used, and not when the file that uses it was loaded.
#[test]
fn names_hold_what_they_hold_now() {
    let server = Server::start(
        &format!(
            "{WEB} count = 1
            m = require('m')
            count = 2
            function of_script() return site.generation, #site.servers, #site.logs end
            web:mount('/', function() return tostring(site.generation) end)"
        ),
        &[(
            "m.luau",
            "return { count = function() return count end, generation = function() return site.generation end }",
        )],
    );
    assert_eq!(server.value("m.count()"), "2");
    server.eval("count = 3").unwrap();
    assert_eq!(server.value("m.count()"), "3");
    for generation in ["1", "2", "3"] {
        assert_eq!(server.get("/").body, generation);
        assert_eq!(server.value("m.generation()"), generation);
        assert_eq!(server.value("(of_script())"), generation);
        server.eval(&format!("web:mount('/{generation}', function() end)")).unwrap();
    }
    assert_eq!(server.value("of_script()"), "4\t1\t0");
    server.eval("web:set_log(medusa.log.tail(1))").unwrap();
    assert_eq!(server.value("of_script()"), "5\t1\t1");
}

/// As in any file: a name the module assigns is its own, one it only reads is the script's.
#[test]
fn what_a_module_assigns_is_its_own() {
    let server = Server::start(
        &format!("{WEB} name = 'script' m = require('m') seen = name function shared() return 'shared' end"),
        &[(
            "m.luau",
            "local before = name name = 'module' return { name = function() return before .. ' ' .. name end, shared = function() return shared() end }",
        )],
    );
    assert_eq!(server.value("m.name()"), "script module");
    assert_eq!(server.value("seen .. name"), "scriptscript");
    assert_eq!(server.value("m.shared()"), "shared");
}

/// Whoever requires a module that another task loads waits for that, and for no circle.
#[test]
fn a_module_that_waits_while_it_loads_is_waited_for() {
    let files = [
        (
            "lib/slow.luau",
            "medusa.sleep(0.2) local shared = medusa.shared('loads') shared:incr('n') return { v = 1 }",
        ),
        (
            "lib/once.luau",
            "local s = medusa.shared('once') if s:incr('n') == 1 then medusa.sleep(0.2) error('not yet') end return 2",
        ),
        ("lib/a.luau", "medusa.sleep(0.1) return require('./b')"),
        ("lib/b.luau", "medusa.sleep(0.1) return require('./a')"),
    ];
    let server = Server::start(WEB, &files);
    let both = |one: &str, other: &str| {
        let made = server.eval(&format!(
            "local told = {{}}
            local function run(name) local _, what = pcall(require, name) table.insert(told, tostring(what)) end
            local tasks = 2
            for _, name in {{ '{one}', '{other}' }} do
                local timer
                timer = medusa.every(0.01, function() timer:cancel() run(name) tasks -= 1 end)
            end
            waiting = function() while tasks > 0 do medusa.sleep(0.01) end return table.concat(told, ' | ') end"
        ));
        made.expect("two timers");
        server.value("waiting()")
    };
    let slow = both("lib/slow", "lib/slow");
    assert!(!slow.contains("circle"), "{slow}");
    assert_eq!(server.value("medusa.shared('loads'):get('n')"), "1", "it was loaded once");
    let once = both("lib/once", "lib/once");
    assert!(once.contains("not yet") && once.ends_with("| 2"), "who waited loads it: {once}");
    let circle = both("lib/a", "lib/b");
    assert_eq!(circle.matches("in a circle").count(), 2, "{circle}");
}

/// A load that is given up leaves nothing behind.
#[test]
fn a_module_whose_load_was_given_up_is_loaded_by_the_next() {
    let server = Server::start(
        "web = medusa.http.server { listen = '127.0.0.1:0', limits = { handler = 1 } }
        web:mount('/', medusa.handler.script('h.luau'))",
        &[
            ("h.luau", "return function() return tostring(require('lib/slow')) end"),
            (
                "lib/slow.luau",
                "if medusa.shared('s'):incr('n') == 1 then medusa.sleep(100) end return 'loaded'",
            ),
        ],
    );
    assert_eq!(server.get("/").status, 503);
    assert_eq!(server.get("/").body, "loaded");
}

/// Of a handler that is gone nothing stays in the workers, though the functions of its modules can require what they are in.
#[test]
fn a_module_goes_with_its_handler() {
    let module = "local held = buffer.create(4 * 1024 * 1024) return { length = function() return buffer.len(held) end }";
    let handler = |n: u32| {
        format!("local held = require('./held') return function() return `{n} {{held.length()}}` end")
    };
    let site = format!("{WEB} web:mount('/', medusa.handler.script('lib/h.luau'))");
    let server = Server::start(&site, &[("lib/held.luau", module), ("lib/h.luau", &handler(0))]);
    for n in 1..=16 {
        server.write("lib/h.luau", &handler(n));
        server.reload().unwrap();
        assert_eq!(server.get("/").body, format!("{n} 4194304"));
    }
    let status = server.status();
    let worker = status.split("vm.worker").nth(1).unwrap_or_else(|| panic!("no worker: {status}"));
    let memory = worker.lines().find(|line| line.contains("memory ")).unwrap();
    let mib: f64 = memory.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    // The history keeps four of them.
    assert!(memory.contains("MiB") && mib < 32.0, "{memory}");
}
