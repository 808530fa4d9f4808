//! A prompt on a terminal, whatever is typed and whatever it is told: what it sends is bounded, and steers nothing but the
//! cursor.

#![no_main]

#[path = "../../crates/medusa-monitor/src/terminal/mod.rs"]
mod terminal;

use libfuzzer_sys::fuzz_target;
use terminal::{Action, Candidate, History, Size, Terminal, TerminalKind};

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    term: u8,
    colour: bool,
    size: (u8, u8),
    history: &'a str,
    steps: Vec<Step<'a>>,
}

#[derive(Debug, arbitrary::Arbitrary)]
enum Step<'a> {
    Bytes(&'a [u8]),
    Prompt(&'a str),
    More,
    Print(&'a str),
    Page(&'a str),
    Complete(u16, Vec<(&'a str, &'a str)>),
    Resize(u8, u8),
    End,
}

fuzz_target!(|input: Input<'_>| {
    let size = |(columns, rows): (u8, u8)| Size { columns: columns.into(), rows: rows.into() };
    let term = ["dumb", "xterm", "tmux"][usize::from(input.term % 3)];
    let kind = TerminalKind { term, colour: input.colour, size: size(input.size) };
    let history = History::from_text(input.history);
    assert_eq!(History::from_text(&history.to_text()).to_text(), history.to_text());
    let mut terminal = Terminal::new(kind, history);
    // What was ever given, as all of it may be on the screen; the size of the largest screen is a bound of its own.
    let mut given = 0;
    for step in &input.steps {
        let mut out = Vec::new();
        let mut keys = 1;
        match step {
            Step::Bytes(bytes) => {
                keys += bytes.len();
                terminal.feed(bytes);
            }
            Step::Prompt(prompt) => terminal.prompt(prompt, &mut out),
            Step::More => terminal.more(&mut out),
            Step::Print(text) => {
                given += text.len();
                terminal.print(text, &mut out);
            }
            Step::Page(text) => {
                given += text.len();
                terminal.page(text, &mut out);
            }
            Step::Complete(from, found) => {
                let about =
                    |&(text, about): &(&str, &str)| Candidate { text: text.into(), about: about.into() };
                let found: Vec<_> = found.iter().map(about).collect();
                terminal.complete((*from).into(), &found, &mut out);
            }
            Step::Resize(columns, rows) => terminal.resize(size((*columns, *rows)), &mut out),
            Step::End => terminal.end(&mut out),
        }
        while let Some(action) = terminal.step(&mut out) {
            if let Action::Complete { line, at } = action {
                assert!(line.is_char_boundary(at));
                terminal.complete(at, &[], &mut out);
            }
        }
        let screen = 256 * 256 * 100;
        assert!(out.len() < keys * (screen + given * 16), "{} bytes", out.len());
        harmless(&out, term);
    }
});

fn harmless(out: &[u8], term: &str) {
    let text = std::str::from_utf8(out).expect("it was made of text");
    let mut rest = text;
    while let Some(at) = rest.find(char::is_control) {
        rest = &rest[at..];
        let c = rest.chars().next().unwrap_or_default();
        rest = &rest[c.len_utf8()..];
        if c != '\x1b' {
            assert!("\r\n\t\x08".contains(c), "{text:?}");
            continue;
        }
        assert_ne!(term, "dumb");
        let sequence = rest.strip_prefix('[').expect("CSI");
        let end = sequence.find(|c: char| !(c.is_ascii_digit() || matches!(c, '?' | ';'))).expect("an end");
        assert!("ABCHJhlm".contains(&sequence[end..=end]), "{text:?}");
        rest = &sequence[end + 1..];
    }
}
