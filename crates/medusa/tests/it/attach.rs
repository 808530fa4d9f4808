//! `medusa attach`: at a terminal, which is tmux, and without one.

use std::fs;

use medusa_testkit::{Server, Site, Tmux, wait};

use super::support::{MEDUSA, is_drawn_anew, start, unnumbered, web};

/// A person at the prompt of a server, whose shell says afterwards how it ended.
struct Seat {
    home: Site,
    tmux: Tmux,
    server: Server,
    _site: Site,
}

impl Seat {
    fn take(term: &str) -> Self {
        let site = web("");
        let server = start(&site);
        let home = Site::new();
        let program = MEDUSA.command([""]).get_program().to_owned();
        let line = format!(
            "unset XDG_STATE_HOME NO_COLOR STATE_DIRECTORY; HOME='{}' TERM={term} '{}' attach --state '{}'; \
             echo ended: $?; stty -a | grep -o ' icanon'; sleep 100",
            home.path().display(),
            program.display(),
            server.state().display(),
        );
        let tmux = Tmux::run(&line);
        tmux.expect(&[">"]);
        Self { home, tmux, server, _site: site }
    }
}

#[test]
fn a_prompt_in_a_terminal() {
    let Seat { home, tmux, server: _server, _site } = Seat::take("tmux-256color");
    tmux.write("1 + 1");
    tmux.press(["Left", "BSpace", "2", "Enter"]);
    tmux.expect(&["> 1 +21", "22", ">"]);
    tmux.write("for i = 1, 2 do");
    tmux.press(["Enter"]);
    tmux.expect(&["> for i = 1, 2 do", "."]);
    tmux.write("print(i) end");
    tmux.press(["Enter"]);
    tmux.expect(&[". print(i) end", "1", "2", ">"]);
    tmux.write("print('\\27[2J')");
    tmux.press(["Enter"]);
    tmux.expect(&["> print('\\27[2J')", "\\u{1b}[2J", ">"]);
    // What is pasted waits for Enter.
    tmux.paste("print('a')\nprint('b')\n");
    tmux.expect(&["> print('a')", ". print('b')", "."]);
    tmux.press(["Enter"]);
    tmux.expect(&["a", "b", ">"]);
    // What runs is ended, and the session goes on.
    tmux.write("local kept = 1");
    tmux.press(["Enter"]);
    tmux.write("print('begun') while true do end");
    tmux.press(["Enter"]);
    tmux.expect(&["begun"]);
    tmux.press(["C-c"]);
    tmux.expect(&["begun", "interrupted", ">"]);
    tmux.write("kept");
    tmux.press(["Enter"]);
    tmux.expect(&["> kept", "1", ">"]);
    tmux.write("error('no')");
    tmux.press(["Enter"]);
    wait::until("the error", || {
        tmux.screen().iter().any(|line| line.contains("statement:1: no")).then_some(())
    });
    tmux.press(["C-l", "C-r"]);
    tmux.write("21");
    tmux.expect(&["(search) `21': 1 +21"]);
    tmux.press(["C-g"]);
    // In the middle of a long line with wide characters the screen becomes narrow, and wide again.
    let text = "世e\u{301}👍👨\u{200d}👩\u{200d}👧 word ".repeat(8);
    is_drawn_anew(&tmux);
    tmux.press(["C-c"]);
    tmux.write(&format!("-- {text}"));
    tmux.press(["Home"]);
    tmux.press(["Enter"]);
    tmux.expect(&[">"]);
    tmux.write(" secret = 'hunter2'");
    tmux.press(["Enter", "C-d"]);
    tmux.expect(&["ended: 0", " icanon"]);
    let history = fs::read_to_string(home.at(".local/state/medusa/history")).expect("it is kept");
    assert!(history.starts_with("1 +21\nfor i = 1, 2 do\\nprint(i) end\nprint('\\\\27[2J')\n"), "{history}");
    assert!(!history.contains("hunter2"));
}

#[test]
fn tab_tells_what_may_stand_there() {
    let seat = Seat::take("tmux-256color");
    let tmux = &seat.tmux;
    tmux.write("web.remo\tx");
    // Ctrl-C before the answer would end the asking, and keep the text.
    tmux.expect(&["> web:removex"]);
    tmux.press(["C-c"]);
    tmux.expect(&["> web:removex^C", ">"]);
    tmux.write("web:");
    tmux.press(["Tab"]);
    wait::until("the methods", || {
        let screen = tmux.screen();
        let method = |line: &String| line.starts_with(":mount    (pattern: string, handler:");
        (screen.iter().any(method) && screen.iter().any(|line| line == ".mounts   { Mount }")).then_some(())
    });
    tmux.press(["C-c"]);
    tmux.write("zzz\tprint('typed meanwhile')");
    tmux.press(["C-a", "C-k"]);
    // On a narrow screen all of the only one is told, in rows.
    tmux.resize(40);
    tmux.press(["C-l"]);
    tmux.write("medusa.shar");
    tmux.press(["Tab"]);
    wait::until("its signature", || {
        let screen = tmux.screen();
        (screen[0] == "> medusa.shared" && screen[1].starts_with("shared  (")).then_some(())
    });
    tmux.press(["C-c"]);
    tmux.expect(&["> medusa.shared^C", ">"]);
}

/// Waits until a line begins so, and the one below it so.
#[track_caller]
fn expect_above(tmux: &Tmux, above: &str, below: &str) {
    wait::until(above, || {
        let screen = tmux.screen();
        let pairs = screen.iter().zip(screen.iter().skip(1));
        pairs.into_iter().any(|(line, next)| line.starts_with(above) && next.starts_with(below)).then_some(())
    });
}

#[test]
fn what_is_on_trial_and_what_others_do_is_told_without_damage() {
    let Seat { tmux, server, _site, .. } = Seat::take("tmux-256color");
    let state = server.state().to_str().expect("a name").to_owned();
    let other = |arguments: &[&str]| {
        let done = MEDUSA.run([arguments, &["--state", &state]].concat());
        assert_eq!(done.status.code(), Some(0), "{done}");
    };
    tmux.write("local half");
    tmux.expect(&["> local half"]);
    other(&["eval", "web:mount('/trial', function() end) commit(90)"]);
    wait::until("the time that is left", || {
        let screen = tmux.screen();
        let line = screen.last().map_or("", String::as_str);
        (line.starts_with("gen 2 reverts in ") && line.ends_with(" s> local half")).then_some(())
    });
    tmux.write("-way");
    other(&["eval", "confirm()"]);
    expect_above(&tmux, "* confirm by uid", "> local half-way");
    assert!(tmux.screen().iter().any(|line| line.contains("generation 2 is confirmed")));
    tmux.press(["C-u"]);
    tmux.write("local mine = 1");
    tmux.press(["Enter"]);
    tmux.expect(&["> local mine = 1", ">"]);
    other(&["reload"]);
    wait::until("the reload", || {
        tmux.screen().iter().any(|line| line.starts_with("* reload by uid")).then_some(())
    });
    tmux.write("mine");
    tmux.press(["Enter"]);
    tmux.expect(&["> mine", "nil", ">"]);
    // What one does oneself is no news.
    tmux.press(["C-l"]);
    tmux.write("web:mount('/own', function() end) return commit(1)");
    tmux.press(["Enter"]);
    wait::until("the end of the trial", || {
        let screen = tmux.screen();
        let said = screen.iter().find(|line| line.starts_with("* "));
        (screen.last().is_some_and(|line| line == ">")
            && said.is_some_and(|line| line.contains("was not confirmed and is taken back")))
        .then_some(())
    });
    tmux.write("begin()");
    tmux.press(["Enter"]);
    tmux.expect(&["> begin()", "begun>"]);
    tmux.write("reload()");
    tmux.press(["Enter"]);
    tmux.expect(&[
        "begun> reload()",
        "reload: something is begun: `commit()` or `abort()` it first",
        "begun>",
    ]);
    tmux.write("sessions()");
    tmux.press(["Enter"]);
    wait::until("the prompt", || {
        let screen = tmux.screen();
        (screen.iter().any(|line| line == "begun> sessions()")
            && screen.last().is_some_and(|last| last == "begun>"))
        .then_some(())
    });
    tmux.write("abort()");
    tmux.press(["Enter"]);
    tmux.expect(&["begun> abort()", ">"]);
    tmux.write("after");
    other(&["stop"]);
    expect_above(&tmux, "* the session is over", "> after");
    assert!(tmux.screen().iter().any(|line| line.contains("the server is stopping")), "{:?}", tmux.screen());
}

#[test]
fn a_terminal_that_can_only_print() {
    let seat = Seat::take("dumb");
    let tmux = &seat.tmux;
    tmux.write("1 + 3");
    tmux.press(["BSpace", "2", "Enter"]);
    tmux.expect(&["> 1 + 2", "3", ">"]);
    tmux.press(["C-d"]);
    tmux.expect(&["ended: 0", " icanon"]);
}

#[test]
fn without_a_terminal_statements_are_run_until_one_fails() {
    let site = web("");
    let server = start(&site);
    let state = server.state().to_str().expect("a name");
    let done = MEDUSA.run_reading(
        ["attach", "--state", state],
        "a = 1\n\nfor i = 1, 2 do\n  print(i)\nend\na + 1\nerror('no')\nprint('never')\n",
    );
    assert_eq!((done.status.code(), &*done.stdout), (Some(1), "1\n2\n2\n"), "{done}");
    assert!(done.stderr.contains("statement:1: no"), "{done}");
    // What was published is told as `medusa eval` tells it, also of what fails then.
    let statements = "web:mount('/x', print)\nbegin()\nweb:mount('/y', print) commit() error('no')\n";
    let done = MEDUSA.run_reading(["attach", "--state", state], statements);
    assert!(done.stdout.starts_with("Mount \"/x\"") && !done.stdout.contains("generation"), "{done}");
    let told: Vec<_> = done.stderr.lines().filter_map(|line| line.split_once("  (")).collect();
    assert_eq!(
        told.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
        ["medusa: generation 2: + /x", "medusa: generation 3: + /y"],
        "{done}"
    );
    let one = MEDUSA.run(["eval", "--state", state, "begin() web:mount('/z', print)"]);
    let same = MEDUSA.run_reading(["attach", "--state", state], "begin() web:mount('/z', print)\n");
    assert_eq!((unnumbered(&one.stdout), &one.stderr), (unnumbered(&same.stdout), &same.stderr));
    assert!(one.stderr.contains("begin() without commit()"), "{one}");
    let done = MEDUSA.run_reading(["attach", "--state", state], "print(a)\nif a then");
    assert_eq!((done.status.code(), &*done.stdout), (Some(1), "1\n"), "{done}");
}

#[test]
fn what_is_given_up_can_be_run_again_without_typing_it() {
    let seat = Seat::take("tmux-256color");
    let tmux = &seat.tmux;
    let enter = |statement: &str, prompt: &str| {
        tmux.write(statement);
        tmux.press(["Enter"]);
        wait::until(statement, || {
            let screen = tmux.screen();
            let typed = screen.iter().any(|line| line.ends_with(statement));
            (typed && screen.last().is_some_and(|last| last == prompt)).then_some(())
        });
    };
    enter("begin()", "begun>");
    enter("local text = 'again'", "begun>");
    enter("web.mounts", "begun>");
    enter("web:mount('/x', function() return text end)", "begun>");
    seat.server.eval("web:mount('/theirs', print)");
    enter("commit()", ">");
    let said =
        |part: &str| assert!(tmux.screen().iter().any(|line| line.contains(part)), "{:?}", tmux.screen());
    said("commit: this change was begun on generation 1,");
    said("* what was begun is given up: its statements are the last entry");
    tmux.press(["C-l", "Up"]);
    tmux.expect(&["> begin()", ". local text = 'again'", ". web:mount('/x', function() return text end)"]);
    tmux.press(["Enter"]);
    wait::until("it is begun", || tmux.screen().last().is_some_and(|last| last == "begun>").then_some(()));
    enter("commit()", ">");
    assert_eq!(seat.server.get("/x").text(), "again");
}
