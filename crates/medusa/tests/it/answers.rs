//! The answers in lines of JSON, as `docs/monitor.md` has them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use medusa_testkit::PATIENCE;
use serde_json::Value;

use super::support::{start, web};

/// The words of a text that are no numbers, nor names or units of such.
fn words(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    let is_word = |word: &&str| !word.is_empty() && !word.contains(|c: char| c.is_ascii_digit());
    words.filter(is_word).filter(|word| !["s", "ms", "µs"].contains(word)).collect()
}

/// Asserts that an answer is as it is written: the same fields of the same kinds, the same words in texts, and lists of the same.
#[track_caller]
fn is_alike(written: &Value, told: &Value, line: &str) {
    match (written, told) {
        (Value::Object(written), Value::Object(told)) if !written.is_empty() => {
            let names = |of: &serde_json::Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
            assert_eq!(names(written), names(told), "{line}");
            written.iter().for_each(|(name, value)| is_alike(value, &told[name], line));
        }
        (Value::Array(written), Value::Array(told)) => {
            if let Some(first) = written.first() {
                is_alike(first, told.first().unwrap_or(&Value::Null), line);
            }
        }
        (Value::String(written), Value::String(told)) if !written.is_empty() => {
            assert_eq!(words(written), words(told), "{line}");
        }
        (written, told) => {
            let kind = std::mem::discriminant;
            assert_eq!(kind(written), kind(told), "{written} and {told}: {line}");
        }
    }
}

/// Says that it is over when this is.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn the_answers_are_as_the_guide_has_them() {
    let guide = include_str!("../../../../docs/monitor.md");
    let section = guide.split_once("### What is answered").expect("the section").1;
    let example = section.split("```").nth(1).expect("an example");
    let site = web("web:mount('/', function() end)\nmedusa.every(60, print)");
    let server = start(&site);
    let (mut requests, is_over) = (
        UnixStream::connect(server.state().join("control")).expect("the control socket"),
        AtomicBool::new(false),
    );
    requests.set_read_timeout(Some(PATIENCE)).expect("our own socket");
    let mut replies = BufReader::new(requests.try_clone().expect("a descriptor")).lines();
    let mut last = String::new();
    thread::scope(|scope| {
        let over = Over(&is_over);
        let asks = || {
            while !is_over.load(Relaxed) {
                server.get("/hello");
            }
        };
        let mut asking = Some(asks);
        for line in example.lines().filter(|line| !line.is_empty()) {
            if let Some(request) = line.strip_prefix("→ ") {
                // What these tell of is under way meanwhile.
                if request.contains("\"trace\"") {
                    scope.spawn(asking.take().expect("once"));
                }
                writeln!(requests, "{request}").expect("it is read");
            } else if let Some(reply) = line.strip_prefix("← ") {
                let told = replies.next().expect("a reply").expect("a reply in time");
                let (written, told): (Value, Value) =
                    (serde_json::from_str(reply).expect(line), serde_json::from_str(&told).expect("JSON"));
                is_alike(&written, &told, &format!("{line}\n{told}"));
            } else if line != "text" {
                panic!("neither asked nor answered: {line}");
            }
            line.clone_into(&mut last);
        }
        drop(over);
    });
    assert!(last.contains("status"), "{last}");
}
