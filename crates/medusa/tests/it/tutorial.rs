//! The tutorial, run as it stands there: what is typed, and what is seen; and the recording of that.

use std::{fs, thread};

use medusa_monitor::{Client, Op};
use medusa_proto::progress::TaskProgress;
use medusa_testkit::{Server, Site, wait};
use serde_json::json;

use super::support::{start, unnumbered};

const TUTORIAL: &str = include_str!("../../../../docs/tutorial.md");

/// The blocks of code that are marked like this.
fn blocks(kind: &str) -> impl Iterator<Item = &'static str> {
    let mark = format!("```{kind}\n");
    let parts: Vec<_> = TUTORIAL.split(mark.as_str()).skip(1).collect();
    parts.into_iter().map(|rest| rest.split("\n```").next().expect("it ends"))
}

/// What is typed, each with what is seen then.
fn steps() -> Vec<(&'static str, String)> {
    let mut steps: Vec<(&str, String)> = Vec::new();
    for line in blocks("text").flat_map(str::lines) {
        if line.starts_with("> ") || line.starts_with("$ ") {
            steps.push((line, String::new()));
        } else {
            let seen = &mut steps.last_mut().expect("something is typed first").1;
            seen.push_str(line);
            seen.push('\n');
        }
    }
    steps
}

/// A text without its times, and without the numbers of statements.
fn timeless(text: &str) -> String {
    let text = unnumbered(text);
    let mut words: Vec<_> = text.split_inclusive([' ', '\n']).map(str::to_owned).collect();
    for at in 1..words.len() {
        let is_unit = ["µs", "ms"].iter().any(|unit| words[at].starts_with(unit));
        if is_unit && words[at - 1].trim_start_matches('(').starts_with(|char: char| char.is_ascii_digit()) {
            "N ".clone_into(&mut words[at - 1]);
        }
    }
    words.concat()
}

/// Runs a statement as the prompt does: what it prints, what it changed, its value.
fn statement(server: &Server, source: &str) -> String {
    let mut client = Client::connect(server.state()).expect("the control socket");
    let mut seen = String::new();
    let done = client.call(&Op::Eval { source: source.to_owned() }, |event| {
        if let TaskProgress::Output(line) = event {
            seen.push_str(&line);
            seen.push('\n');
        }
    });
    let done = done.unwrap_or_else(|error| panic!("{source}: {error}"));
    for line in done.report.into_iter().chain(done.value) {
        seen.push_str(&line);
        seen.push('\n');
    }
    seen
}

fn command(server: &Server, words: &str) -> String {
    match words.split_once(' ') {
        Some(("curl", rest)) => {
            let path = rest.rsplit_once(":8080").expect("the address of the tutorial").1;
            let answer = server.get(path);
            if rest.contains("%{http_code}") { format!("{}\n", answer.status) } else { answer.text() }
        }
        Some(("medusa", rest)) => server.command(rest.split(' ')).success(),
        _ => panic!("{words}: not a command of the tutorial"),
    }
}

#[test]
fn all_of_it_is_as_it_says() {
    let script = blocks("lua").next().expect("the site").replace(":8080", ":0");
    let site = Site::script(&script);
    let server = start(&site);
    let mut differs = Vec::new();
    for (typed, expected) in steps() {
        let (kind, what) = typed.split_at(2);
        let seen = if what.starts_with("trace(") {
            watched(&server, "traces", what)
        } else if what.starts_with("probe(") {
            watched(&server, "probes", what)
        } else if kind == "> " {
            statement(&server, what)
        } else {
            command(&server, what)
        };
        if timeless(&seen) != timeless(&expected) {
            differs.push(format!("{typed}\nexpected:\n{expected}seen:\n{seen}"));
        }
    }
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

/// All that was typed and seen, as an asciicast (version 2): <https://docs.asciinema.org/manual/asciicast/v2/>. It is typed at
/// the pace of somebody who knows what to type.
fn recording() -> String {
    let header =
        json!({ "version": 2, "width": 100, "height": 30, "title": "Ten minutes at the prompt of Medusa" });
    let (mut cast, mut at) = (vec![header.to_string()], 0);
    let mut show = |after: u32, text: &str| {
        at += after;
        let event = json!([f64::from(at) / 1000.0, "o", text.replace('\n', "\r\n")]);
        cast.push(event.to_string());
    };
    for (typed, seen) in steps() {
        let (prompt, what) = typed.split_at(2);
        show(0, prompt);
        for (at, word) in what.split_inclusive(' ').enumerate() {
            show(if at == 0 { 1200 } else { 180 }, word);
        }
        show(300, "\n");
        show(200, &seen);
    }
    cast.join("\n") + "\n"
}

#[test]
fn its_recording_shows_what_it_says() {
    let (file, made) = ("../../docs/tutorial.cast", recording());
    if fs::read_to_string(file).is_ok_and(|known| known == made) {
        return;
    }
    let there = std::env::temp_dir().join("tutorial.cast");
    fs::write(&there, made).expect("written");
    panic!("docs/tutorial.cast is not of this tutorial: {} is", there.display());
}

/// A trace or a probe, and the request of the customer that it shows.
fn watched(server: &Server, what: &str, source: &str) -> String {
    thread::scope(|scope| {
        let seen = scope.spawn(move || statement(server, source));
        wait::until("it is on", || (server.number("site", what) == 1).then_some(()));
        assert_eq!(server.get("/price/milk").status, 500);
        seen.join().expect("it ends")
    })
}
