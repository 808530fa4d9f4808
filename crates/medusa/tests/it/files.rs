//! The `files` handler over the wire.

mod forms;
mod listings;
mod options;
mod own;
mod pages;
mod parts;
mod security;

use std::os::unix::fs::symlink;

use medusa_testkit::{Response, Server, Site, memory, wait};

use super::support::{MEDUSA, start, web};

/// A site that serves `public`, beside which there is a secret.
#[track_caller]
fn site() -> Site {
    web("web:mount('/', medusa.handler.files('public'))
        web:mount('/listed/', medusa.handler.files('public', { listing = true }))
        web:mount('/all/', medusa.handler.files('public', { dotfiles = true }))")
    .file("secret.txt", "secret")
    .file("public/four.bin", pattern(4096))
    .file("public/letters.txt", "abcdefghij")
    .file("public/sub/index.html", "<p>index</p>")
    .file("public/sub/page & more.html", "<p>page</p>")
    .file("public/bare/file.css", "p {}")
    .file("public/.hidden", "hidden")
    .file("public/.well-known/it", "known")
}

/// Bytes in which any two places differ soon.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    server.connect().request("GET", path, headers)
}

/// A server with one worker: each has a cache of its own, and so its own idea of when a file has last changed.
#[track_caller]
fn start_one(site: &Site) -> Server {
    MEDUSA.serve(site.path()).arg("--workers").arg("1").start()
}

/// The file with its strong tag. What has changed a moment ago may do so again within the same moment, and has a weak tag
/// for that time.
#[track_caller]
fn settled(server: &Server, path: &str) -> (String, Response) {
    wait::until("the tag is strong", || {
        let file = server.get(path);
        let etag = file.header("etag").expect("an ETag").to_owned();
        etag.starts_with('"').then_some((etag, file))
    })
}

#[test]
fn a_file_comes_whole_and_with_its_type() {
    let site = site();
    let server = start(&site);
    // Twice: from the disk, then perhaps from memory.
    for _ in 0..2 {
        let file = server.get("/four.bin");
        assert_eq!((file.status, file.header("content-length")), (200, Some("4096")));
        assert!(file.body == pattern(4096));
    }
    assert_eq!(server.get("/letters.txt").header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(server.get("/bare/file.css").header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(server.get("/sub/page%20&%20more.html").text(), "<p>page</p>");
    assert_eq!(server.connect().request("POST", "/letters.txt", &[]).status, 405);
}

#[test]
fn a_change_of_a_file_is_seen() {
    let site = site();
    let server = start(&site);
    assert_eq!(server.get("/letters.txt").text(), "abcdefghij");
    site.write("public/letters.txt", "other");
    wait::until("the new text is served", || (server.get("/letters.txt").text() == "other").then_some(()));
    std::fs::remove_file(site.at("public/letters.txt")).expect("removed");
    wait::until("the file is gone", || (server.get("/letters.txt").status == 404).then_some(()));
}

#[test]
fn a_large_file_to_a_slow_reader_holds_up_nobody_and_costs_no_memory() {
    const LARGE: usize = 64 << 20;
    let site = site().file("public/large.bin", pattern(LARGE)).file("public/mega.bin", pattern(1 << 20));
    let server = start(&site);
    assert!(server.get("/mega.bin").body == pattern(1 << 20));
    let before = memory::resident(server.pid());

    let mut slow = server.connect();
    slow.send("GET /large.bin HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(slow.head().header("content-length"), Some(LARGE.to_string().as_str()));
    // The slow one has stopped reading; the buffers between the two hold a few MiB at most.
    for _ in 0..200 {
        assert_eq!(server.get("/four.bin").body.len(), 4096);
    }
    let grown = memory::resident(server.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more for one slow reader");

    let expected = pattern(LARGE);
    let mut at = 0;
    while at < LARGE {
        let some = slow.read_some(10_000);
        assert!(!some.is_empty() && some == expected[at..at + some.len()], "wrong bytes at {at}");
        at += some.len();
    }
    assert_eq!(slow.get("/letters.txt").text(), "abcdefghij", "the connection goes on");
}

#[test]
fn a_client_that_leaves_in_the_middle_is_forgotten() {
    let site = site().file("public/large.bin", pattern(32 << 20));
    let server = start(&site);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("GET /large.bin HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(client.head().status, 200);
    }
    wait::until("they are gone", || (server.number("listener", "open") == 0).then_some(()));
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let site = site();
    let server = start_one(&site);
    let (etag, file) = settled(&server, "/letters.txt");
    let etag = etag.as_str();
    let modified = file.header("last-modified").expect("a date");
    for header in [("If-None-Match", etag), ("If-Modified-Since", modified)] {
        let known = ask(&server, "/letters.txt", &[header]);
        assert_eq!((known.status, known.header("etag")), (304, Some(etag)), "{header:?}");
    }
    assert_eq!(ask(&server, "/letters.txt", &[("If-None-Match", &format!("\"x\", {etag}"))]).status, 304);
    assert_eq!(ask(&server, "/letters.txt", &[("If-None-Match", "*")]).status, 304);
    let other = [("If-None-Match", "\"other\""), ("If-Modified-Since", modified)];
    assert_eq!(ask(&server, "/letters.txt", &other).status, 200, "the tag counts more than the date");
    assert_eq!(ask(&server, "/letters.txt", &[("If-Match", "\"other\"")]).status, 412);
    assert_eq!(
        ask(&server, "/letters.txt", &[("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")]).status,
        200
    );
    assert_eq!(ask(&server, "/letters.txt", &[("If-Modified-Since", "yesterday")]).status, 200);
}

#[test]
fn a_part_can_be_asked_for() {
    let site = site();
    let server = start_one(&site);
    let (etag, _) = settled(&server, "/letters.txt");
    for (range, part, expected) in [
        ("bytes=0-0", "a", "bytes 0-0/10"),
        ("bytes=2-4", "cde", "bytes 2-4/10"),
        ("bytes=7-", "hij", "bytes 7-9/10"),
        ("bytes=-3", "hij", "bytes 7-9/10"),
        ("bytes=5-1000", "fghij", "bytes 5-9/10"),
    ] {
        let answer = ask(&server, "/letters.txt", &[("Range", range)]);
        assert_eq!((answer.status, answer.header("content-range")), (206, Some(expected)), "{range}");
        assert_eq!(answer.text(), part);
    }
    let beyond = ask(&server, "/letters.txt", &[("Range", "bytes=10-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10")));
    for ignored in ["bytes=5-2", "lines=1-2", "bytes=x", "bytes=0-8,1-9"] {
        let answer = ask(&server, "/letters.txt", &[("Range", ignored)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "abcdefghij"), "{ignored}");
    }
    let same = ask(&server, "/letters.txt", &[("Range", "bytes=0-1"), ("If-Range", &etag)]);
    assert_eq!(same.status, 206);
    let changed = ask(&server, "/letters.txt", &[("Range", "bytes=0-1"), ("If-Range", "\"other\"")]);
    assert_eq!(changed.status, 200);
}

#[test]
fn a_directory_is_its_index_or_a_list_or_nothing() {
    let site = site();
    let server = start(&site);
    assert_eq!(server.get("/sub/").text(), "<p>index</p>");
    let bare = server.get("/sub?x=1");
    assert!((301..=308).contains(&bare.status), "{bare:?}");
    assert_eq!(bare.header("location"), Some("/sub/?x=1"));
    assert_eq!(server.get("/bare/").status, 404);
    let list = server.get("/listed/");
    assert_eq!((list.status, list.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let list = list.text();
    assert!(list.contains("letters.txt") && list.contains("sub/") && !list.contains(".hidden"), "{list}");
}

#[test]
fn names_with_a_dot_are_secret_unless_they_are_meant() {
    let site = site().file("public/.git/config", "secret");
    let server = start(&site);
    for path in ["/.hidden", "/.git/config", "/.git/", "/%2ehidden", "/listed/.hidden"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/.well-known/it").text(), "known");
    assert_eq!(server.get("/all/.hidden").text(), "hidden");
}

#[test]
fn there_is_no_way_out() {
    let site = site();
    symlink(site.at("secret.txt"), site.at("public/absolute")).expect("linked");
    symlink("../secret.txt", site.at("public/relative")).expect("linked");
    symlink("..", site.at("public/up")).expect("linked");
    symlink("/", site.at("public/root")).expect("linked");
    symlink("letters.txt", site.at("public/within")).expect("linked");
    symlink("loop", site.at("public/loop")).expect("linked");
    let server = start(&site);
    let up = "/..".repeat(12);
    for path in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/..\\secret.txt",
        "/sub/%2e%2e/%2e%2e/secret.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/.%2e/secret.txt",
        "/%252e%252e/secret.txt",
        "/..%c0%afsecret.txt",
        "/..%00/secret.txt",
        "/secret.txt%00",
        "/absolute",
        "/relative",
        "/up/secret.txt",
        "/root/etc/passwd",
        "/loop",
        "/listed/../secret.txt",
        "/all/../../secret.txt",
        &format!("{up}/etc/passwd"),
        &format!("{}/etc/passwd", up.replace("..", "%2e%2e")),
        "//etc/passwd",
        "/sub//../..//secret.txt",
    ] {
        let answer = server.get(path);
        assert!((300..500).contains(&answer.status), "{path} answers {}", answer.status);
        let body = answer.text();
        assert!(body != "secret" && !body.contains("root:"), "{path} answers {body}");
    }
    assert_eq!(
        server.get("/within").text(),
        "abcdefghij",
        "a link that stays inside is a file like any other"
    );
}

#[test]
fn a_path_that_cannot_be_is_refused_and_nothing_else() {
    let site = site();
    let server = start(&site);
    let long_name = format!("/{}", "n".repeat(300));
    let deep = "/d".repeat(5_000);
    for path in ["/%", "/%zz", "/%ff%fe", "/%00", "/letters.txt/", "/letters.txt/more", &long_name, &deep] {
        let answer = server.get(path);
        assert!((400..500).contains(&answer.status), "{path} answers {}", answer.status);
    }
    assert_eq!(server.get("/letters.txt").status, 200);
}
