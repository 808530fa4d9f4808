//! What a person sees, key by key.

mod fake;
mod random;

use super::*;
use fake::FakeScreen;

/// A person at a terminal.
struct Seat {
    terminal: Terminal,
    screen: FakeScreen,
    actions: Vec<Action>,
}

const WIDE: Size = Size { columns: 40, rows: 10 };

impl Seat {
    fn of(term: &str, size: Size, history: &str) -> Self {
        let kind = TerminalKind { term, colour: false, size };
        let terminal = Terminal::new(kind, History::from_text(history));
        let mut screen = FakeScreen::new(size);
        screen.reflows = kind.reflows();
        Self { terminal, screen, actions: Vec::new() }
    }

    fn new(size: Size) -> Self {
        let mut seat = Self::of("xterm-256color", size, "");
        seat.prompt();
        seat
    }

    fn with_history(history: &str) -> Self {
        let mut seat = Self::of("xterm-256color", WIDE, history);
        seat.prompt();
        seat
    }

    fn then(&mut self, act: impl FnOnce(&mut Terminal, &mut Vec<u8>)) {
        let mut out = Vec::new();
        act(&mut self.terminal, &mut out);
        while let Some(action) = self.terminal.step(&mut out) {
            if action != Action::Pause {
                self.actions.push(action);
            }
        }
        self.screen.write(&out);
    }

    fn prompt(&mut self) {
        self.then(|terminal, out| terminal.prompt("> ", out));
    }

    fn print(&mut self, text: &str) {
        self.then(|terminal, out| terminal.print(text, out));
    }

    fn page(&mut self, text: &str) {
        self.then(|terminal, out| terminal.page(text, out));
    }

    fn press(&mut self, keys: &str) {
        self.bytes(keys.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.then(|terminal, _| terminal.feed(bytes));
    }

    fn resize(&mut self, columns: u16, rows: u16) {
        let size = Size { columns, rows };
        self.screen.resize(size);
        self.then(|terminal, out| terminal.resize(size, out));
    }

    fn submitted(&mut self) -> Vec<String> {
        let text = |action| if let Action::Submit(text) = action { text } else { panic!("{action:?}") };
        self.actions.drain(..).map(text).collect()
    }

    #[track_caller]
    fn shows(&self, lines: &[&str], cursor: (usize, usize)) {
        assert_eq!(self.screen.text(), lines);
        assert_eq!(self.screen.cursor(), cursor);
    }
}

#[test]
fn a_line_is_edited_and_submitted() {
    let mut seat = Seat::new(WIDE);
    assert!(seat.screen.pasting);
    seat.press("1 + 3\x7f2\x1b[D\x1bOD\x08-");
    seat.shows(&["> 1 - 2"], (0, 5));
    seat.press("\r");
    assert_eq!(seat.submitted(), ["1 - 2"]);
    assert!(!seat.screen.pasting);
    seat.print("-1");
    seat.prompt();
    seat.shows(&["> 1 - 2", "-1", ">"], (2, 2));
    seat.press("  \r");
    seat.shows(&["> 1 - 2", "-1", ">", ">"], (3, 2));
    assert!(seat.actions.is_empty());
}

#[test]
fn what_is_typed_ahead_waits() {
    let mut seat = Seat::new(WIDE);
    seat.press("one()\r\ntwo()\rthr");
    assert_eq!(seat.submitted(), ["one()"]);
    seat.press("ee()");
    seat.prompt();
    assert_eq!(seat.submitted(), ["two()"]);
    seat.prompt();
    seat.shows(&["> one()", "> two()", "> three()"], (2, 9));
}

#[test]
fn ctrl_c_interrupts_what_runs_and_abandons_what_is_edited() {
    let mut seat = Seat::new(WIDE);
    seat.press("while true do end\rnext()\r\x03");
    assert_eq!(seat.actions, [Action::Submit("while true do end".into()), Action::Interrupt]);
    seat.prompt();
    seat.press("abc\x03");
    seat.shows(&["> while true do end", "> abc^C", ">"], (2, 2));
    assert_eq!(seat.actions.len(), 2);
}

#[test]
fn ctrl_d_leaves_only_an_empty_line() {
    let mut seat = Seat::new(WIDE);
    seat.press("ab\x1b[D\x04\x01\x04\x04");
    assert_eq!(seat.actions, [Action::Leave]);
    seat.shows(&[">"], (1, 0));
    assert!(!seat.screen.pasting);
}

#[test]
fn an_incomplete_statement_is_edited_as_a_whole() {
    let mut seat = Seat::new(WIDE);
    seat.press("for i = 1, 3 do\r");
    seat.then(Terminal::more);
    seat.press("\tprint(i)\rend");
    seat.then(Terminal::more);
    seat.shows(&["> for i = 1, 3 do", ".     print(i)", ". end"], (2, 5));
    seat.press("\x1b[A\x1b[A\x1b[F -- three\r");
    assert_eq!(
        seat.submitted(),
        ["for i = 1, 3 do", "for i = 1, 3 do\n    print(i)", "for i = 1, 3 do -- three\n    print(i)\nend"]
    );
    seat.prompt();
    seat.press("\x10");
    seat.shows(
        &[
            "> for i = 1, 3 do -- three",
            ".     print(i)",
            ". end",
            "> for i = 1, 3 do -- three",
            ".     print(i)",
            ". end",
        ],
        (5, 5),
    );
}

#[test]
fn output_goes_above_what_is_edited() {
    let mut seat = Seat::new(WIDE);
    seat.press("web:mo\x1b[D");
    seat.print("generation 9: + /hello\nreverts in 60 s\x1b[2J\r");
    seat.shows(&["generation 9: + /hello", r"reverts in 60 s\u{1b}[2J\r", "> web:mo"], (2, 7));
    seat.then(|terminal, out| terminal.prompt("(60 s) > ", out));
    seat.shows(&["generation 9: + /hello", r"reverts in 60 s\u{1b}[2J\r", "(60 s) > web:mo"], (2, 14));
}

#[test]
fn a_paste_runs_nothing() {
    let mut seat = Seat::new(WIDE);
    seat.press("\x1b[200~local a = 1\r\nprint(a)\r\n\x03\x1b[201~");
    assert!(seat.actions.is_empty());
    seat.shows(&["> local a = 1", ". print(a)", r". \u{3}"], (2, 7));
    seat.press("\x7f\r");
    assert_eq!(seat.submitted(), ["local a = 1\nprint(a)\n"]);
}

#[test]
fn history_is_browsed_and_what_was_typed_is_not_lost() {
    let mut seat = Seat::with_history("one\ntwo\\nlines\n");
    seat.press("typ\x1b[A");
    seat.shows(&["> two", ". lines"], (1, 7));
    seat.press("\x1bOA\x1b[A\x1b[A\x1b[A");
    seat.shows(&["> one"], (0, 5));
    seat.press("\x0e\x0e\x0e");
    seat.shows(&["> typ"], (0, 5));
}

#[test]
fn history_is_searched() {
    let mut seat = Seat::with_history("web:mount('/a')\nprint(1)\nweb:mounts()\n");
    seat.press("x\x12mount");
    seat.shows(&["(search) `mount': web:mounts()"], (0, 22));
    seat.press("\x12");
    seat.shows(&["(search) `mount': web:mount('/a')"], (0, 22));
    seat.press("\x12");
    seat.shows(&["(no more) `mount': web:mount('/a')"], (0, 23));
    seat.press("\x07");
    seat.shows(&["> x"], (0, 3));
    seat.press("\x12mount\x12\x05,\r");
    assert_eq!(seat.submitted(), ["web:mount('/a'),"]);
    seat.prompt();
    seat.press("\x12prin\x7f\x7f\r");
    assert_eq!(seat.submitted(), ["print(1)"]);
}

#[test]
fn secrets_are_not_kept() {
    let mut seat = Seat::new(WIDE);
    for line in [" set('hunter2')", "a()", "a()"] {
        seat.press(&format!("{line}\r"));
        seat.prompt();
    }
    assert_eq!(seat.terminal.history().take_unsaved(), "a()\n");
    assert!(!format!("{:?}", seat.terminal).contains("a()"));
}

#[test]
fn words_are_completed() {
    let candidates = |words: &[(&str, &str)]| -> Vec<Candidate> {
        words.iter().map(|&(text, about)| Candidate { text: text.into(), about: about.into() }).collect()
    };
    let mut seat = Seat::new(WIDE);
    seat.press("web:m\tun");
    assert_eq!(seat.actions, [Action::Complete { line: "web:m".into(), at: 5 }]);
    let found = candidates(&[("mount", "(pattern, handler)"), ("mounts", "()")]);
    seat.then(|terminal, out| terminal.complete(4, &found, out));
    seat.shows(&["> web:mountun"], (0, 13));
    seat.press("\x7f\x7f\t");
    seat.then(|terminal, out| terminal.complete(4, &found, out));
    seat.shows(&["> web:mount", "mount   (pattern, handler)", "mounts  ()"], (0, 11));
    seat.print("told");
    seat.shows(&["told", "> web:mount", "mount   (pattern, handler)", "mounts  ()"], (1, 11));
    seat.press("s");
    seat.shows(&["told", "> web:mounts"], (1, 12));
    seat.press("(\t");
    seat.then(|terminal, out| terminal.complete(0, &[], out));
    seat.press("x\t\x03y");
    seat.shows(&["told", "> web:mounts(xy"], (1, 15));
    let many = candidates(&vec![("name", "\x1b[2J"); 50]);
    seat.press("\t");
    seat.then(|terminal, out| terminal.complete(14, &many, out));
    assert_eq!(seat.screen.text().len(), 11, "the first line has left the screen");
    assert!(seat.screen.text()[2].starts_with(r"name  \u{1b}[2J"));
    assert_eq!(seat.screen.text()[10], "(42 more)");
}

#[test]
fn long_lines_take_rows_and_give_them_back() {
    let mut seat = Seat::new(Size { columns: 10, rows: 4 });
    seat.print("before");
    seat.press("abcdefgh");
    seat.shows(&["before", "> abcdefgh"], (2, 0));
    seat.press("i\x7f\x7f");
    seat.shows(&["before", "> abcdefg"], (1, 9));
    seat.press("\x15abc世世世e\u{301}❤\u{fe0f}世👨\u{200d}👩\u{200d}👧世x");
    seat.shows(&["before", "> abc世世", "世e\u{301}❤\u{fe0f}世👨\u{200d}👩\u{200d}👧", "世x"], (3, 3));
    seat.press("\x01");
    assert_eq!(seat.screen.cursor(), (1, 2));
    seat.press("\x05\x15");
    seat.shows(&["before", ">"], (1, 2));
}

#[test]
fn more_rows_than_the_screen_has_are_shown_around_the_cursor() {
    let mut seat = Seat::new(Size { columns: 10, rows: 4 });
    let text: Vec<_> = (0..20).map(|n| format!("{n:08}")).collect();
    seat.press(&format!("\x1b[200~{}\x1b[201~", text.join("\n")));
    seat.shows(&[". 00000018", "", ". 00000019"], (3, 0));
}

#[test]
fn a_narrower_screen_and_back() {
    for term in ["xterm-256color", "xterm"] {
        for keys in ["", "\x01", "\x1bb\x1bb\x1bb"] {
            let mut seat = Seat::of(term, Size { columns: 200, rows: 24 }, "");
            seat.prompt();
            seat.print("before");
            let text = (0..25).map(|n| format!("word{n} ")).collect::<Vec<_>>().concat();
            seat.press(&format!("{text}{keys}"));
            let (first, cursor) = (seat.screen.text(), seat.screen.cursor());
            for columns in [40, 37, 36, 35, 60, 200] {
                seat.resize(columns, 24);
                if term == "xterm-256color" {
                    let shown = seat.screen.text();
                    assert_eq!(
                        (&shown[0], shown.concat().matches("word1 ").count()),
                        (&"before".into(), 1),
                        "{shown:#?}"
                    );
                }
            }
            if term == "xterm" && !keys.starts_with('\x01') {
                // It does not reflow: what was cut off is drawn again.
                assert_eq!(seat.screen.text().last(), first.last());
            } else {
                assert_eq!((seat.screen.text(), seat.screen.cursor()), (first, cursor), "{term} {keys:?}");
            }
        }
    }
}

#[test]
fn a_screen_that_loses_rows() {
    let mut seat = Seat::new(Size { columns: 10, rows: 8 });
    seat.press("0123456789012345678901234567890");
    seat.resize(10, 2);
    assert_eq!(seat.screen.text().last().map(String::as_str), Some("890"));
    seat.then(|terminal, out| terminal.resize(Size { columns: 0, rows: 0 }, out));
}

#[test]
fn long_output_is_paged() {
    let mut seat = Seat::new(Size { columns: 30, rows: 4 });
    let lines = |count: usize| (0..count).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
    seat.press("x\r");
    seat.page(&lines(4));
    seat.prompt();
    assert_eq!(seat.screen.text()[1..], ["line 0", "line 1", "line 2", "line 3", ">"]);
    seat.press("y\r");
    seat.page(&lines(7));
    seat.prompt();
    assert_eq!(seat.screen.text()[6..], ["line 0", "line 1", "line 2", pager::STATUS]);
    seat.print("told");
    seat.press("\r");
    assert_eq!(seat.screen.text()[6..], ["line 0", "line 1", "line 2", "told", "line 3", pager::STATUS]);
    seat.press("? ");
    assert_eq!(seat.screen.text()[10..], ["line 3", "line 4", "line 5", "line 6", ">"]);
    seat.press("z\r");
    seat.page(&lines(100_000));
    seat.prompt();
    seat.press("qabc");
    assert_eq!(seat.screen.text()[15..], ["line 0", "line 1", "line 2", "> abc"]);
    assert_eq!(seat.terminal.history().take_unsaved(), "x\ny\nz\n");
}

#[test]
fn a_dumb_terminal_gets_what_it_can_take() {
    let mut seat = Seat::of("dumb", WIDE, "old()\n");
    seat.screen.pasting = true;
    seat.prompt();
    seat.press("ab世\x7f\x1b[Dc");
    seat.press("d\x7f\x7fe");
    seat.shows(&["> abe"], (0, 5));
    seat.press(&"f".repeat(20));
    seat.press("\x15\x10");
    seat.shows(&["> abeffffffffffffffffffff", "> old()"], (1, 7));
    seat.press("\r");
    seat.print("told");
    seat.page(&"line\n".repeat(20));
    seat.prompt();
    seat.press("do\r");
    seat.then(Terminal::more);
    seat.press("end\r");
    assert_eq!(seat.submitted(), ["old()", "do", "do\nend"]);
    assert_eq!(seat.screen.text()[22..], ["line", "> do", ". end"]);
    assert!(seat.screen.pasting && !seat.screen.coloured, "nothing but text was sent");
}

#[test]
fn colour_is_where_it_is_wanted() {
    for colour in [false, true] {
        let kind = TerminalKind { term: "xterm", colour, size: WIDE };
        let mut seat = Seat::new(WIDE);
        seat.terminal = Terminal::new(kind, History::default());
        seat.prompt();
        seat.press("local x = 'y' -- \u{2028}");
        seat.shows(&[r"> local x = 'y' -- \u{2028}"], (0, 27));
        assert_eq!(seat.screen.coloured, colour);
    }
}

#[test]
fn too_much_is_told_and_not_run() {
    let mut seat = Seat::new(Size { columns: 200, rows: 10 });
    seat.bytes(&[b"\x1b[200~", &vec![b'x'; MAX_LINE / 2][..]].concat());
    seat.bytes(&[&vec![b'x'; MAX_LINE / 2 + 1][..], b"\x1b[201~\r"].concat());
    assert!(seat.actions.is_empty());
    assert!(seat.screen.text().iter().any(|line| line.starts_with("a statement may have 65536 bytes")));
    seat.press("\x03ok()\r");
    assert_eq!(seat.submitted(), ["ok()"]);
    for _ in 0..3 {
        seat.bytes(&vec![b'y'; MAX_KEYS / 2]);
    }
    seat.bytes(b"\r");
    seat.prompt();
    assert!(seat.actions.is_empty());
    assert!(seat.screen.text().iter().any(|line| line.contains("what was typed meanwhile")));
    seat.press("a()\r");
    assert_eq!(seat.submitted(), ["a()"]);
    seat.bytes(&vec![b'y'; MAX_KEYS + 5]);
    seat.bytes(&vec![3; MAX_KEYS + 5]);
    assert!(seat.actions.iter().all(|action| *action == Action::Interrupt));
}

#[test]
fn a_step_is_short_whatever_was_typed() {
    let mut seat = Seat::new(WIDE);
    let row = "a".repeat(MAX_LINE / 2 - 1);
    seat.press(&format!("{row}\x1b\r{row}"));
    let keys = b"\x10\x0e".repeat(2000);
    seat.terminal.feed(&keys);
    let mut out = Vec::new();
    for step in 1..=5 {
        assert_eq!(seat.terminal.step(&mut out), Some(Action::Pause));
        assert!(seat.terminal.keys.len() >= keys.len() - 2 * step, "step {step}");
    }
    assert_eq!(out, b"", "nothing is drawn before the last");
    // Nobody has to wait for all of that to get out of it.
    seat.press("\x03");
    assert!(seat.terminal.keys.is_empty() && seat.terminal.line.text().is_empty());
    seat.press("ok()\r");
    assert_eq!(seat.submitted(), ["ok()"]);
}

#[test]
fn many_keys_are_obeyed_in_their_order() {
    let mut seat = Seat::new(WIDE);
    seat.press(&"ab\x7f\x1b[D".repeat(3 * STEP / KEY));
    seat.press("\x15\x0bok()\r");
    assert_eq!(seat.submitted(), ["ok()"]);
}
