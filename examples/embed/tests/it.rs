//! What the guide says of this program holds, and is what it says.

use std::fs;
use std::path::Path;

use medusa_testkit::{Client, Medusa, Server};

const EMBED: Medusa = Medusa::new(env!("CARGO_BIN_EXE_embed"));

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn start() -> Server {
    EMBED.serve(folder().join("site")).listen("127.0.0.1:0").start()
}

/// The status of a POST, its text, and whether it was timed.
fn post(client: &mut Client, path: &str, content: &str) -> (u16, String, bool) {
    let length = content.len();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{content}"));
    let answer = client.response();
    let timed = answer.header("server-timing").is_some_and(|time| time.starts_with("handler;dur="));
    (answer.status, answer.text(), timed)
}

#[test]
fn both_languages_do_the_same() {
    let server = start();
    let mut client = server.connect();
    for path in ["/count", "/luau/count"] {
        assert_eq!(post(&mut client, path, "a\nb\nc"), (200, "2 lines\n".to_owned(), true), "{path}");
        let long = "line\n".repeat(100_000);
        assert_eq!(post(&mut client, path, &long), (200, "100000 lines\n".to_owned(), true), "{path}");
        let (status, text, _) = post(&mut server.connect(), path, "");
        assert!(status == 400 && text.contains("send something to be counted"), "{path}: {text}");
    }
}

#[test]
fn what_is_counted_goes_on_over_a_reload() {
    let server = start();
    let mut client = server.connect();
    let answered =
        || server.documents("timed").iter().filter_map(|timed| timed["answered"].as_u64()).sum::<u64>();
    assert_eq!(post(&mut client, "/count", "a\n").0, 200);
    server.reload();
    assert_eq!(answered(), 1);
    // Behind a function it is another object after each reload.
    let mount =
        "web:find('POST /count'):replace(medusa.handler.rust('timed', function(req) return 'again' end))";
    server.eval(mount);
    assert_eq!(post(&mut client, "/count", "a\n").1, "again");
    assert_eq!(answered(), 2);
}

#[test]
fn a_service_answers_while_it_is_asked() {
    let server = start();
    let mut client = server.connect();
    client.send("POST /shout HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.read(11), b"6\r\nHELLO \r\n", "before there is more to be said");
    client.send("5\r\nworld\r\n0\r\n\r\n");
    assert_eq!(client.read(15), b"5\r\nWORLD\r\n0\r\n\r\n");
    let mut client = server.connect();
    assert_eq!(post(&mut client, "/shout", "and whole").1, "AND WHOLE");
    let empty = post(&mut client, "/shout", "");
    assert_eq!((empty.0, empty.1.as_str()), (200, ""));
}

#[test]
fn names_that_nobody_has_are_errors() {
    let server = start();
    for (handler, error) in [
        ("rust('cuont')", "there is no \"cuont\"; this program has \"count\", \"shout\", \"timed\""),
        ("rust('count', print)", "\"count\" is a handler, which stands before no other"),
        ("rust('timed')", "a handler must be a function(req)"),
        ("rust(1)", "the name must be a string, not 1"),
    ] {
        let told = server.command(["eval", &format!("medusa.handler.{handler}")]).failure(1);
        assert!(told.contains(error), "{handler}: {told}");
    }
    let checked = EMBED.run(["check".as_ref(), folder().join("site").as_os_str()]).success();
    assert!(checked.contains("handler.rust") || checked.contains("count"), "{checked}");
}

#[test]
fn the_guide_shows_this_program() {
    let read = |path: &str| {
        fs::read_to_string(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let guide = read("../../docs/embedding.md");
    let files = [
        "src/main.rs",
        "src/count.rs",
        "src/timed.rs",
        "src/shout.rs",
        "site/site.luau",
        "site/count.luau",
        "site/timed.luau",
    ];
    let sources: Vec<_> = files.map(read).into();
    let examples: Vec<_> =
        ["```rust\n", "```lua\n"].iter().flat_map(|fence| guide.split(fence).skip(1)).collect();
    assert!(examples.len() >= 8, "{}", examples.len());
    for example in examples {
        let example = example.split("```").next().unwrap_or_default();
        assert!(sources.iter().any(|source| source.contains(example)), "not in the program:\n{example}");
    }
}
