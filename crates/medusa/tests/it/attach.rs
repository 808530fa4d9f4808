//! `medusa attach`: at a terminal, which is tmux, and without one.

use std::fs;

use medusa_testkit::{Server, Site, Tmux, wait};

use super::support::{MEDUSA, start, web};

/// A person at the prompt of a server, whose shell says afterwards how it ended.
struct Seat {
    home: Site,
    tmux: Tmux,
    _server: Server,
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
        Self { home, tmux, _server: server }
    }
}

#[test]
fn a_prompt_in_a_terminal() {
    let Seat { home, tmux, _server } = Seat::take("tmux-256color");
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
    tmux.write("print('begun') while true do end");
    tmux.press(["Enter"]);
    tmux.expect(&["begun"]);
    tmux.press(["C-c"]);
    tmux.expect(&["begun", "interrupted", ">"]);
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
    tmux.write(&format!("-- {}", "long ".repeat(14)));
    tmux.press(["M-b", "M-b"]);
    tmux.expect(&[format!("> -- {}", "long ".repeat(14)).trim_end()]);
    for columns in [30, 29, 80] {
        tmux.resize(columns);
        wait::until("the line is drawn once", || {
            let screen = tmux.screen();
            (screen.len() == 75_usize.div_ceil(columns.into()) && screen[0].starts_with("> -- long"))
                .then_some(())
        });
    }
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
    let done = MEDUSA.run_reading(["attach", "--state", state], "print(a)\nif a then");
    assert_eq!((done.status.code(), &*done.stdout), (Some(1), "1\n"), "{done}");
}
