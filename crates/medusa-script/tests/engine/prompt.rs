//! What a prompt is told: what may stand somewhere, what the reference says, where things are from.

use medusa_script::SessionHandle;

use super::support::{Server, WEB, by};

/// The candidates at the end of a text, each with what is said about it, and the text with the first of them.
fn completed(server: &Server, text: &str) -> (Vec<(String, String)>, String) {
    let completion = server
        .block_on(server.engine.complete(SessionHandle::default(), text.to_owned(), text.len()))
        .unwrap();
    let candidates: Vec<_> =
        completion.candidates.into_iter().map(|candidate| (candidate.text, candidate.about)).collect();
    let first = candidates.first().map_or("", |(text, _)| text);
    let with_first = format!("{}{first}", &text[..completion.from]);
    (candidates, with_first)
}

fn names(server: &Server, text: &str) -> Vec<String> {
    completed(server, text).0.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn names_and_what_belongs_to_objects_are_completed_with_their_signatures() {
    let server = Server::start(
        &format!(
            "{WEB}
            greeting = 'hello'
            function greet(name, again) return greeting end
            mine = setmetatable({{ own = 1 }}, {{ __index = {{ inherited = function(self) end }} }})
            m = web:mount('/x', function() return 'x' end)"
        ),
        &[],
    );
    let about = |text: &str, name: &str| {
        let (candidates, _) = completed(&server, text);
        let found = candidates.iter().find(|(candidate, _)| candidate == name);
        found.unwrap_or_else(|| panic!("{text}: no {name} in {candidates:?}")).1.clone()
    };
    assert_eq!(names(&server, "gree"), ["greet", "greeting"]);
    assert_eq!(about("gree", "greet"), "function(name, again)  site.luau:4");
    assert_eq!(about("gree", "greeting"), "\"hello\"");
    assert!(about("generat", "generations").starts_with("() -> "));
    assert_eq!(about("we", "web"), "HttpServer");
    assert!(about("web:mo", ":mount").starts_with("(pattern: string, handler:"));
    // A dot in the place of a colon is put right.
    assert_eq!(completed(&server, "x = web.remo").1, "x = web:remove");
    assert_eq!(names(&server, "m."), [".origin", ".pattern", ":remove", ":replace"]);
    assert_eq!(names(&server, "site.servers[1].mounts[1].pat"), [".pattern"]);
    assert_eq!(names(&server, "web:mount('/y', f):rep"), [":replace"]);
    assert!(about("medusa.http.se", "server").starts_with("(options: HttpServerOptions)"));
    assert_eq!(about("medusa.http.server { lis", "listen"), "string | { string | ListenOptions }");
    assert_eq!(names(&server, "medusa.log.file('x', { rot"), ["rotate"]);
    assert_eq!(names(&server, "mine."), ["inherited", "own"]);
    assert_eq!(names(&server, "mine:"), ["inherited"]);
    assert_eq!(names(&server, "string.uppe"), ["upper"]);
    assert_eq!(names(&server, "greeting:uppe"), ["upper"]);
    assert_eq!(names(&server, "help('medusa.http.ser"), ["medusa.http.server"]);
    assert_eq!(names(&server, "web:find('"), ["/x"]);
    assert_eq!(names(&server, "site.servers[1]:find(\"/"), ["/x"]);
    assert_eq!(names(&server, "medusa.handler.script('"), ["site.luau"]);
    for nothing in [
        "'web:mo",
        "-- web:mo",
        "nothing.at_all",
        "web:mount('/y', f).x.",
        "local we",
        "web:find('/y",
        "web:mount('we",
        "medusa.handler.files('../",
        "greet('we",
        "12",
    ] {
        assert!(names(&server, nothing).is_empty(), "{nothing}");
    }
    assert!(names(&server, "").len() <= 200);
}

#[test]
fn what_is_completed_calls_nothing_and_is_bounded() {
    let server = Server::start(
        "called = {}
        trap = setmetatable({ a = 1 }, {
            __index = function(_, key) called[key] = true return trap end,
            __iter = function() called.iter = true return next, {} end,
            __tostring = function() called.tostring = true return 'x' end,
            __metatable = 'request',
        })
        hidden = setmetatable({}, { __metatable = false, __index = function() error('no') end })
        circle = {}
        setmetatable(circle, { __index = circle })
        many = {}
        for i = 1, 100000 do many['name' .. i] = i end
        odd = { [1] = 2, ['a b'] = 3, ['end\\n'] = 4, [string.rep('x', 1000)] = 5, ['é'] = 6, fine = 7 }",
        &[],
    );
    for text in [
        "trap.",
        "trap.b.c.",
        "trap:",
        "trap.a",
        "hidden.x.",
        "hidden.",
        "circle.x.y.",
        "circle.",
        "tra",
        "trap().x",
    ] {
        names(&server, text);
    }
    assert_eq!(server.value("called"), "{}");
    assert_eq!(names(&server, "many.").len(), 200);
    assert!(names(&server, "many.name9999").len() <= 12);
    assert_eq!(names(&server, "odd."), ["fine"]);
    // Between two bytes of a character, and beyond the end.
    for (text, at) in [("é", 1), ("web", 99), ("", 0)] {
        server.block_on(server.engine.complete(SessionHandle::default(), text.to_owned(), at)).unwrap();
    }
}

/// A session, and what its statements are worth.
struct Session<'a>(&'a Server, SessionHandle);

impl<'a> Session<'a> {
    fn new(server: &'a Server) -> Self {
        Self(server, SessionHandle::default())
    }

    fn eval(&self, source: &str) -> Result<String, String> {
        let eval = self.0.engine.eval(self.1.clone(), source.to_owned(), by("somebody"), None);
        let evaluated = self.0.block_on(eval).map_err(|error| error.to_string())?;
        Ok(evaluated.value.unwrap_or_default())
    }

    fn value(&self, source: &str) -> String {
        self.eval(source).unwrap_or_else(|error| panic!("{source}: {error}"))
    }
}

#[test]
fn a_session_has_its_last_value_and_names_of_its_own() {
    let server = Server::start(&format!("{WEB} x = 'global'"), &[]);
    let (ann, bob) = (Session::new(&server), Session::new(&server));
    assert_eq!(ann.value("_"), "nil");
    ann.value("20 + 1");
    ann.value("local unused = 5");
    assert_eq!(ann.value("_ * 2"), "42");
    assert_eq!((ann.value("_"), bob.value("_")), ("42".to_owned(), "nil".to_owned()));
    ann.value("local x, y = 'ann', 1 local function add(n) y += n return y end");
    assert_eq!((ann.value("x"), bob.value("x")), ("ann".to_owned(), "global".to_owned()));
    assert_eq!(ann.value("add(2)"), "3");
    assert_eq!(ann.value("y"), "3", "a function has the same");
    ann.value("y = 10");
    assert_eq!(ann.value("add(1)"), "11");
    assert_eq!(bob.value("y"), "nil");
    // A statement that fails leaves nothing, and takes nothing back.
    ann.eval("y = 99 local z = 1 error('no')").unwrap_err();
    assert_eq!(ann.value("tostring(y) .. tostring(z)"), "11nil");
    assert_eq!(ann.value("local q = 7 return q"), "7");
    assert_eq!(ann.value("q"), "7");
    // What is in a block is not the session's, and what came before a new one of the name goes on.
    ann.value("do local inner = 1 end for i = 1, 2 do local inner = i end");
    assert_eq!(ann.value("inner"), "nil");
    ann.value("function get() return x end");
    ann.value("local x = 'new'");
    assert_eq!(ann.value("get() .. x"), "annnew");
    assert_eq!(bob.value("get()"), "ann", "a global function is everybody's");
    assert_eq!(names(&server, "unu"), [""; 0]);
    let completion = server.engine.complete(ann.1.clone(), "unu".to_owned(), 3);
    let completion = server.block_on(completion).unwrap();
    assert_eq!(completion.candidates[0].text, "unused");
}

#[test]
fn names_of_a_session_are_bounded() {
    let server = Server::start(WEB, &[]);
    let ann = Session::new(&server);
    for from in (0..500).step_by(50) {
        let locals: Vec<_> = (from..from + 50).map(|n| format!("local n{n} = {n}")).collect();
        ann.value(&locals.join("\n"));
    }
    let error = ann.eval("local one_more = 1").unwrap_err();
    assert!(error.contains("500 names of its own already"), "{error}");
    assert_eq!(ann.value("n499 + n0"), "499");
    ann.value("local n499 = 'again'");
    // More than Luau takes are the statement's own.
    let locals: Vec<_> = (0..199).map(|n| format!("local m{n} = {n}")).collect();
    assert_eq!(Session::new(&server).value(&format!("{} return m198", locals.join(" "))), "198");
}

/// The number of main VMs that are there.
fn vms(server: &Server) -> usize {
    server.status().lines().filter(|line| line.contains(" vm")).count()
}

#[test]
fn a_session_keeps_no_vm_and_finds_again_what_it_has_in_one_that_goes_on() {
    let server = Server::start(WEB, &[]);
    let ann = Session::new(&server);
    ann.value("local x = 'first'");
    ann.value("web");
    server.reload().unwrap();
    assert_eq!(ann.value("tostring(x) .. tostring(_)"), "nilnil", "they are of the old script");
    ann.value("local x = 'second'");
    // The VM of the first load is paused, and goes on.
    ann.value("rollback(1)");
    assert_eq!(ann.value("x"), "first");
    // One that nothing leads back to is freed, whatever sessions have had in it.
    for _ in 0..8 {
        server.reload().unwrap();
        ann.value("local x = table.create(1000, 'x')");
        ann.value("x");
    }
    assert!(vms(&server) <= 4, "{}", server.status());
}

#[test]
fn what_a_session_had_is_freed_when_it_ends() {
    let server = Server::start("gone = setmetatable({}, { __mode = 'v' })", &[]);
    let ann = Session::new(&server);
    ann.value("local big = { 'big' } gone.big = big return { 'last' }");
    ann.value("gone.last = _");
    let Session(_, handle) = ann;
    drop(handle);
    let freed = (0..1000).any(|_| {
        // Garbage, for the collector to have something to do.
        server.value("for i = 1, 10000 do local t = { i } end");
        server.value("tostring(gone.big) .. tostring(gone.last)") == "nilnil"
    });
    assert!(freed);
}

#[test]
fn a_generation_is_made_again_with_what_its_statements_had_of_their_sessions() {
    let server = Server::start(WEB, &[]);
    let (ann, bob) = (Session::new(&server), Session::new(&server));
    ann.value("local who = 'ann'");
    bob.value("local who = 'bob'");
    ann.value("'/' .. who");
    ann.value("web:mount(_, function() return who end)");
    bob.value("web:mount('/bob', function() return who end)");
    // So many scripts since then that its own VM is gone.
    for n in 0..5 {
        server.write("site.luau", &format!("{WEB} n = {n}"));
        server.reload().unwrap();
    }
    assert_eq!(server.get("/ann").status, 404);
    server.value("rollback(3)");
    assert_eq!((server.get("/ann").body, server.get("/bob").body), ("ann".to_owned(), "bob".to_owned()));
}

#[test]
fn help_and_source_tell_of_what_there_is() {
    let script = format!(
        "{WEB}-- Greets whoever asks.
-- Politely.
function greet(req)
    if req then
        return 'hi'
    end
end
m = web:mount('/greet', medusa.handler.compress(greet))
f = web:mount('/files', medusa.handler.script('handlers/api.luau'))"
    );
    let server = Server::start(&script, &[("handlers/api.luau", "return function(req) return 'api' end\n")]);
    let ann = Session::new(&server);
    for (asked, part) in [
        ("help()", "medusa.http.server"),
        ("help(web)", ":mount(pattern: string"),
        ("help(medusa.http.server)", "HttpServerOptions"),
        ("help('medusa.log')", "medusa.log.file("),
        ("help(medusa.log)", "medusa.log.file("),
        ("help('Mount:replace')", "Requests under way finish with the old one"),
        ("help('kill')", "Ends one thing that is running"),
        ("help(rollback)", "rollback(generation: number"),
        ("help(greet)", "function(req)  site.luau:4\n\nGreets whoever asks.\nPolitely."),
        ("help(5)", "5 is a number"),
        ("source(greet)", "site.luau:4\n4 | function greet(req)\n5 |     if req then\n"),
        ("source(m)", "8 | end"),
        ("source(medusa.handler.compress(greet))", "4 | function greet(req)"),
        ("source(f)", "handlers/api.luau\nreturn function(req) return 'api' end"),
        ("source(medusa.handler.files('.'))", "the server's own"),
    ] {
        let text = ann.value(asked);
        assert!(text.contains(part), "{asked}: {text}");
    }
    assert!(!ann.value("source(greet)").contains("m = web"));
    ann.value("t = web:mount('/typed', function()\n  return 'typed'\nend)");
    let typed = ann.value("source(t)");
    let (place, lines) = typed.split_once(":1\n").unwrap();
    assert!(place.starts_with("statement-"), "{typed}");
    assert_eq!(lines, "1 | t = web:mount('/typed', function()\n2 |   return 'typed'\n3 | end)");
    for (asked, part) in [
        ("help('nonsense')", "the reference has nothing of the name \"nonsense\""),
        ("help(nothing)", "this is nil"),
        ("source(5)", "give a function, a handler or a mount, not 5"),
        ("source(print)", "the server's own"),
        ("print(status())", "status: this is a command, and a statement of its own"),
        ("kill(-1)", "kill: the id must be that of a run, like \"r17\", or the number of a session, not -1"),
    ] {
        let error = ann.eval(asked).unwrap_err();
        assert!(error.starts_with("statement:1: ") && error.contains(part), "{asked}: {error}");
    }
}
