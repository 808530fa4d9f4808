//! `medusa.handler.put`: pages are published through the server, and none is ever half a page.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use medusa_testkit::{Client, Response, Server, Signal, Site, wait};

use super::support::{MEDUSA, SmallDisk, names, start, web};

/// `secret` by bcrypt; a cost of 4 takes a millisecond.
const SECRET: &str = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

/// The example that comes with the server, with a user.
#[track_caller]
fn example() -> (Site, Server) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/publishing");
    let read = |name: &str| fs::read(directory.join(name)).expect("a file of the example");
    let site = Site::new()
        .file("site.luau", read("site.luau"))
        .file("public/index.html", read("public/index.html"))
        .file("users.htpasswd", format!("alice:{SECRET}\n"));
    let server = MEDUSA.serve(site.path()).listen("127.0.0.1:0").start();
    (site, server)
}

/// A site where everybody may publish.
fn open(options: &str) -> Site {
    web(&format!(
        "web:mount('/', medusa.handler.files('public'))
        web:mount('PUT,DELETE /', medusa.handler.put('public', {options}))"
    ))
    .file("public/index.html", "the first page")
    .file("secret", "secret")
}

fn alice() -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode("alice:secret"))
}

/// The head of a PUT, with fields that end in `\r\n` each.
fn head(path: &str, fields: &str, len: usize) -> String {
    format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len}\r\n\r\n")
}

#[track_caller]
fn put(client: &mut Client, path: &str, fields: &str, body: impl AsRef<[u8]>) -> Response {
    let body = body.as_ref();
    client.send([head(path, fields, body.len()).as_bytes(), body].concat());
    client.response()
}

#[test]
fn what_may_be_done_is_told_of_all_mounts() {
    let site = open("{}");
    site.write(
        "site.luau",
        site.read("site.luau")
            + "\nweb:mount('/page', function() return { status = 405, headers = { Allow = 'BREW, GET' } } end)",
    );
    let server = start(&site);
    let mut client = server.connect();
    for (method, path, status, allow) in [
        ("OPTIONS", "/index.html", 204, "GET, HEAD, OPTIONS, PUT, DELETE"),
        ("PATCH", "/index.html", 405, "GET, HEAD, PUT, DELETE"),
        ("GET", "/page", 405, "BREW, GET"),
    ] {
        let answer = client.request(method, path, &[]);
        assert_eq!((answer.status, answer.header("allow")), (status, Some(allow)), "{method} {path}");
    }
}

#[test]
fn the_example_publishes_pages_of_those_with_a_password() {
    let (site, server) = example();
    let mut client = server.connect();
    assert!(client.get("/").text().contains("The first page"));
    let refused = put(&mut client, "/news.html", "", "news");
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    let mut client = server.connect();
    let new = put(&mut client, "/news.html", &alice(), "<p>news");
    assert_eq!((new.status, new.header("location")), (201, Some("/news.html")));
    let page = client.get("/news.html");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>news"));
    assert_eq!(page.header("etag"), new.header("etag"));
    assert_eq!(put(&mut client, "/news.html", &alice(), "<p>more news").status, 204);
    assert_eq!(client.get("/news.html").text(), "<p>more news");
    let delete = |client: &mut Client| {
        client.send(format!("DELETE /news.html HTTP/1.1\r\nHost: x\r\n{}\r\n", alice()));
        client.response().status
    };
    assert_eq!((delete(&mut client), client.get("/news.html").status, delete(&mut client)), (204, 404, 404));
    assert_eq!(server.connect().request("DELETE", "/index.html", &[]).status, 401);
    let versions = "local all = medusa.versions.list('public', 'news.html')";
    assert_eq!(server.eval(&format!("{versions} return #all, all[1].size, all[2].size")), "2\t12\t7");
    server.eval(&format!("{versions} medusa.versions.restore('public', '/news.html', all[2].version)"));
    assert_eq!(client.get("/news.html").text(), "<p>news");
    server.reload();
    let status = server.documents("handler.put").remove(0);
    assert_eq!(
        (&status["published"], &status["removed"], &status["received"]),
        (&2.into(), &1.into(), &19.into())
    );
    assert_eq!(names(&site.at("public")), [".medusa-versions", "index.html", "news.html"]);
    assert_eq!(client.get("/.medusa-versions/pages/news.html/").status, 404);
}

#[test]
fn nobody_ever_sees_a_mixed_page() {
    const LEN: usize = 1_000_000;
    let (_site, server) = example();
    let done = AtomicBool::new(false);
    let (server, done) = (&server, &done);
    let mut first = server.connect();
    assert_eq!(put(&mut first, "/page.txt", &alice(), vec![b'0'; LEN]).status, 201);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut client, mut seen) = (server.connect(), 0);
            while !done.load(Relaxed) || seen < 20 {
                let page = client.get("/page.txt");
                assert_eq!((page.status, page.body.len()), (200, LEN));
                assert!(page.body.iter().all(|byte| *byte == page.body[0]), "a mixed page");
                seen += 1;
            }
        });
        let writers: Vec<_> = (b'1'..=b'8')
            .map(|byte| {
                scope.spawn(move || {
                    let mut client = server.connect();
                    for _ in 0..6 {
                        assert_eq!(put(&mut client, "/page.txt", &alice(), vec![byte; LEN]).status, 204);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("a writer");
        }
        done.store(true, Relaxed);
        reader.join().expect("the reader");
    });
}

#[test]
fn who_reads_after_the_answer_reads_the_new_page() {
    let site = open("{ versions = 0 }");
    let server = start(&site);
    // Each connection may be at another worker, which has a cache of its own.
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for round in 0..100 {
        let content = format!("round {round}");
        assert_eq!(put(&mut clients[round % 8], "/index.html", "", &content).status, 204);
        for client in &mut clients {
            assert_eq!(client.get("/").text(), content);
        }
    }
}

#[test]
fn a_server_that_is_killed_in_mid_upload_leaves_the_old_page_and_nothing_else() {
    let site = open("{}");
    let mut server = start(&site);
    let mut clients: Vec<_> = ["/index.html", "/new.html"]
        .into_iter()
        .map(|path| {
            let mut client = server.connect();
            client.send(head(path, "", 1_000_000));
            client.send(vec![b'x'; 400_000]);
            client
        })
        .collect();
    // They are on their way to the disk: that is more than connections buffer.
    let open_files = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors");
        let paths = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
        paths.filter(|path| path.to_string_lossy().contains(".medusa-versions/unfinished")).count()
    };
    wait::until("both are being written", || (open_files() >= 2).then_some(()));
    server.signal(Signal::KILL);
    for client in &mut clients {
        drop(client.closed());
    }
    drop(server);
    // As it is where files cannot do without a name.
    site.write("public/.medusa-versions/unfinished/4711-0", "half");
    let server = start(&site);
    assert_eq!(names(&site.at("public")), [".medusa-versions", "index.html"]);
    assert_eq!(names(&site.at("public/.medusa-versions/unfinished")), [""; 0]);
    assert_eq!(server.get("/index.html").text(), "the first page");
    assert_eq!(server.get("/new.html").status, 404);
    assert_eq!(put(&mut server.connect(), "/index.html", "", "the second page").status, 204);
    assert_eq!(server.get("/").text(), "the second page");
}

#[test]
fn a_client_that_goes_away_in_mid_upload_changes_nothing() {
    let site = open("{ quota = '2MB' }");
    let server = start(&site);
    for _ in 0..5 {
        let mut client = server.connect();
        client.send(head("/index.html", "", 1_500_000));
        client.send(vec![b'x'; 100_000]);
        client.reset();
    }
    // What they had reserved of the quota is given back.
    wait::until("they are given up", || {
        let status = put(&mut server.connect(), "/large", "", vec![b'x'; 1_000_000]).status;
        (status == 201).then_some(())
    });
    assert_eq!(server.get("/").text(), "the first page");
    assert_eq!(names(&site.at("public/.medusa-versions/unfinished")), [""; 0]);
}

#[test]
fn on_a_full_disk_the_old_page_stays() {
    let disk = SmallDisk::new(1024);
    let root = disk.path().join("public");
    fs::create_dir(&root).expect("made");
    fs::write(root.join("index.html"), "the first page").expect("written");
    let site = web(&format!(
        "web:mount('/', medusa.handler.files('{0}'))
        web:mount('PUT,DELETE /', medusa.handler.put('{0}'))",
        root.display()
    ));
    let server = start(&site);
    let full = put(&mut server.connect(), "/index.html", "", vec![b'x'; 2_000_000]);
    assert_eq!(full.status, 507);
    assert!(full.text().contains("no room for it on the disk"), "{}", full.text());
    assert_eq!(server.get("/").text(), "the first page");
    server.stderr().wait_for("no room for it on the disk: No space left on device");
    assert_eq!(put(&mut server.connect(), "/index.html", "", vec![b'x'; 500_000]).status, 204);
    assert_eq!(server.get("/").body.len(), 500_000);
}

#[test]
fn who_waits_to_be_asked_for_a_body_keeps_it_if_it_is_for_nothing() {
    let site = open("{ max_size = 2000000 }");
    let server = start(&site);
    for (path, fields, len, status) in [
        ("/index.html", "If-None-Match: *\r\n", 10, 412),
        ("/index.html", "If-Match: \"other\"\r\n", 10, 412),
        ("/index.html", "Content-Range: bytes 0-9/20\r\n", 10, 400),
        ("/none/a", "", 10, 409),
        ("/.env", "", 10, 403),
        ("/a", "", 2_000_001, 413),
    ] {
        let mut client = server.connect();
        client.send(head(path, &format!("Expect: 100-continue\r\n{fields}"), len));
        assert_eq!(client.response().status, status, "{path} {fields}");
    }
    let mut client = server.connect();
    client.send(head("/a", "Expect: 100-continue\r\n", 1_500_000));
    assert_eq!(client.head().status, 100);
    client.send(vec![b'a'; 1_500_000]);
    assert_eq!(client.response().status, 201, "`max_size` counts, and not `limits.body`");
    // In chunks, as Finder does.
    client.send(
        "PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Expected-Entity-Length: 6\r\n\r\n",
    );
    client.send("3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 201);
    assert_eq!(client.get("/b").text(), "abcdef");
    client.send(
        "PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nX-Expected-Entity-Length: 6\r\n\r\n",
    );
    client.send("3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.response().status, 400);
    assert_eq!(server.get("/b").text(), "abcdef");
}

#[test]
fn nothing_outside_of_the_root_is_written() {
    let site = open("{ create_directories = true }").file("outside/file", "secret");
    symlink("../outside", site.at("public/out")).expect("a link");
    let server = start(&site);
    for path in [
        "/../secret",
        "/../../../../../../tmp/medusa-put",
        "/..",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/%2E%2E%2Fsecret",
        "/..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/%252e%252e/secret",
        "/%00",
        "/secret%00.html",
        "/%c0%ae%c0%ae/secret",
        "/%ff",
        "/out/file",
        "/out/new",
        "/out",
        "/.hidden",
        "/site.luau",
        "/.medusa-versions/pages/x",
    ] {
        for method in ["PUT", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nevil");
            let answer = server.send(request);
            // What climbs is sent to where it would have led within the site, before any handler is asked.
            let climbs = path.to_lowercase().replace("%2e", ".").contains("/..");
            let is_led_back = climbs && answer.status == 308;
            let is_refused = is_led_back || matches!(answer.status, 400 | 403 | 404);
            assert!(is_refused, "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!((site.read("secret"), site.read("outside/file")), ("secret".into(), "secret".into()));
    assert_eq!(names(&site.at("outside")), ["file"]);
    assert_eq!(names(&site.at("public")), ["index.html", "out"]);
}

#[test]
fn mistakes_of_the_script_are_told() {
    let site = open("{}").file("file", "").file("public/inner/.keep", "");
    let server = start(&site);
    for (arguments, told) in [
        ("", "the directory must be a string"),
        ("'gone'", "there is no directory"),
        ("'file'", "is not a directory"),
        ("'.'", "the script is in"),
        ("'public', { max_size = '1 potato' }", "`max_size` must be a size such as \"64MiB\""),
        ("'public', { quota = 0 }", "`quota` must be a size"),
        ("'public', { versions = -1 }", "`versions` must be a whole number from 0 to 1000"),
        ("'public', { versions = 1001 }", "`versions` must be a whole number from 0 to 1000"),
        ("'public', { create_directories = 1 }", "`create_directories` must be a boolean"),
        ("'public', { version = 1 }", "there is no option \"version\"; there are: max_size, quota, versions"),
    ] {
        let error = server.command(["eval", &format!("medusa.handler.put({arguments})")]).failure(1);
        assert!(error.contains("medusa.handler.put") && error.contains(told), "{arguments}: {error}");
    }
    for (call, told) in [
        ("list('public')", "the path must be a string"),
        ("list('gone', 'a')", "there is no directory"),
        ("list('public', '../a')", "nothing is published at \"../a\""),
        ("restore('public', 'index.html', '1')", "there is no such version"),
        ("restore('public', 'index.html')", "the version must be a string"),
    ] {
        let error = server.command(["eval", &format!("medusa.versions.{call}")]).failure(1);
        assert!(error.contains("medusa.versions.") && error.contains(told), "{call}: {error}");
    }
    assert_eq!(server.eval("return #medusa.versions.list('public', 'index.html')"), "0");
}
