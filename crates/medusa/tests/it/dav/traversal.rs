//! Names that lead elsewhere, and files that are none: by every method, and by `Destination`.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use medusa_testkit::{Client, Response, Server, Site, run};
use rustix::process::geteuid;

use super::{EXCLUSIVE, ask, destination, multistatus, open, shared_names};
use crate::support::start;

/// What leads out, or seems to, behind `/dav/`.
const NAMES: [&str; 34] = [
    "..",
    "../",
    "../secret",
    "../../secret",
    "../../../../../../../../etc/passwd",
    "a/../../secret",
    "./../secret",
    ".%2e/secret",
    "%2e%2e/secret",
    "%2E%2E/secret",
    "%2e%2e%2fsecret",
    "..%2fsecret",
    "..%2Fsecret",
    "..%5csecret",
    "..%5Csecret",
    "..\\secret",
    "%252e%252e/secret",
    "%252e%252e%252fsecret",
    "..%252fsecret",
    "%25252e%25252e/secret",
    "%00",
    "secret%00",
    "page.txt%00.html",
    "%c0%ae%c0%ae/secret",
    "%c0%ae%c0%ae%c0%afsecret",
    "%e0%80%ae%e0%80%ae/secret",
    "..%c0%afsecret",
    "..%ef%bc%8fsecret/x",
    "%ff",
    "%80/secret",
    "a%0ab",
    "a%0d%0ab",
    "a%7fb",
    "%2f%2e%2e%2fsecret",
];

/// What is below the root and leads out of it, or is no file.
const FILES: [&str; 9] =
    ["out", "out/", "out/file", "out/new", "link.txt", "dangling", "fifo", "socket", "loop/x"];

const METHODS: [&str; 11] =
    ["GET", "HEAD", "PUT", "DELETE", "MKCOL", "PROPFIND", "PROPPATCH", "LOCK", "UNLOCK", "COPY", "MOVE"];

fn site() -> (Site, Server) {
    let site = open("").file("outside/file", "secret").file("site.txt", "secret").file("shared/a/x", "x");
    for (to, name) in [
        (site.at("outside"), "out"),
        (site.at("secret"), "link.txt"),
        (site.at("none"), "dangling"),
        (site.at("shared/loop"), "loop"),
    ] {
        symlink(to, site.at("shared").join(name)).expect("a link");
    }
    run("mkfifo", [site.at("shared/fifo")]).success();
    drop(UnixListener::bind(site.at("shared/socket")).expect("a socket"));
    let server = start(&site);
    (site, server)
}

#[track_caller]
fn by_method(client: &mut Client, method: &str, path: &str) -> Response {
    let away = destination("/dav/away");
    let (fields, body) = match method {
        "PUT" => (vec![], "evil"),
        "PROPFIND" => (vec!["Depth: 1"], ""),
        "PROPPATCH" => {
            (vec![], "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='o:'/></prop></set></propertyupdate>")
        }
        "LOCK" => (vec![], EXCLUSIVE),
        "UNLOCK" => (vec!["Lock-Token: <urn:x>"], ""),
        "COPY" | "MOVE" => (vec![away.as_str()], ""),
        _ => (vec![], ""),
    };
    ask(client, &format!("{method} {path}"), &fields, body)
}

/// Everything outside, and in it.
fn outside(site: &Site) -> Vec<String> {
    let mut all = super::names(site.path());
    all.extend(super::names(&site.at("outside")));
    all.extend(["secret", "site.txt", "outside/file"].map(|name| site.read(name)));
    all
}

#[track_caller]
fn nothing_happened(site: &Site, before: &(Vec<String>, Vec<String>), what: &str) {
    assert_eq!((outside(site), shared_names(site)), *before, "{what}");
}

#[test]
fn no_name_leads_out_by_any_method() {
    let (site, server) = site();
    let before = (outside(&site), shared_names(&site));
    let mut cases = 0;
    for name in NAMES {
        let path = format!("/dav/{name}");
        // What climbs is sent to where it would have led within the site, before any handler is asked.
        let climbs = path.to_lowercase().replace("%2e", ".").contains("/..");
        for method in METHODS {
            let mut client = server.connect();
            let answer = by_method(&mut client, method, &path);
            let is_led_back = climbs && matches!(answer.status, 301 | 308);
            let is_refused = matches!(answer.status, 400 | 403 | 404 | 405 | 409);
            assert!(is_led_back || is_refused, "{method} {path}: {}", answer.status);
            assert!(!answer.text().contains("secret") || is_led_back, "{method} {path}: {}", answer.text());
            cases += 1;
        }
        nothing_happened(&site, &before, name);
    }
    assert!(cases >= 60);
}

#[test]
fn no_destination_leads_out() {
    let (site, server) = site();
    let before = (outside(&site), shared_names(&site));
    for name in NAMES.into_iter().chain(FILES).chain(["page.txt/x", "none/x"]) {
        for to in [
            format!("http://test/dav/{name}"),
            format!("/dav/{name}"),
            format!("https://other.example/dav/{name}"),
        ] {
            for (method, from) in [
                ("COPY", "/dav/page.txt"),
                ("MOVE", "/dav/page.txt"),
                ("COPY", "/dav/a/"),
                ("MOVE", "/dav/a/"),
            ] {
                let mut client = server.connect();
                let answer =
                    ask(&mut client, &format!("{method} {from}"), &[&format!("Destination: {to}")], "");
                assert!(
                    matches!(answer.status, 400 | 403 | 404 | 409 | 502),
                    "{method} {to}: {}",
                    answer.status
                );
            }
        }
        nothing_happened(&site, &before, name);
    }
    for to in [
        "file:///etc/passwd",
        "http://test/../secret",
        "http://test//secret",
        "//test/secret",
        "/secret",
        "/dav",
        "http://test/dav/../secret",
    ] {
        let mut client = server.connect();
        let answer = ask(&mut client, "MOVE /dav/page.txt", &[&format!("Destination: {to}")], "");
        assert!(matches!(answer.status, 400 | 403 | 404 | 405 | 409 | 502), "{to}: {}", answer.status);
        nothing_happened(&site, &before, to);
    }
}

/// A name in `If` is compared with others, and opens nothing.
#[test]
fn no_condition_leads_out() {
    let (site, server) = site();
    let before = (outside(&site), shared_names(&site));
    for name in NAMES.into_iter().chain(FILES) {
        let mut client = server.connect();
        let answer = ask(&mut client, "PUT /dav/none/x", &[&format!("If: </dav/{name}> ([\"x\"])")], "x");
        assert!(matches!(answer.status, 400 | 409 | 412), "{name}: {}", answer.status);
    }
    nothing_happened(&site, &before, "conditions");
}

#[test]
fn what_is_no_file_is_neither_read_nor_written() {
    let (site, server) = site();
    let before = (outside(&site), shared_names(&site));
    for name in FILES {
        for method in METHODS {
            let mut client = server.connect();
            let answer = by_method(&mut client, method, &format!("/dav/{name}"));
            assert!(!answer.text().contains("secret"), "{method} {name}: {}", answer.text());
            let is_refused = matches!(answer.status, 301 | 308 | 400 | 403..=405 | 409);
            assert!(is_refused, "{method} {name}: {}", answer.status);
        }
        nothing_happened(&site, &before, name);
    }
    // They are no part of what is shared, and do not stop anybody from seeing what is.
    let listed = multistatus(&ask(&mut server.connect(), "PROPFIND /dav/", &["Depth: 1"], ""));
    let mut hrefs: Vec<_> = listed.iter().map(|told| told.href.as_str()).collect();
    hrefs.sort_unstable();
    assert_eq!(hrefs, ["/dav/", "/dav/a/", "/dav/page.txt"]);
}

#[test]
fn a_device_is_neither_read_nor_written() {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root makes devices");
    }
    let (site, server) = site();
    for (name, minor) in [("zero", "5"), ("full", "7")] {
        run("mknod", [site.at("shared").join(name).to_str().expect("text"), "c", "1", minor]).success();
    }
    let before = (outside(&site), shared_names(&site));
    for name in ["zero", "full"] {
        for method in METHODS {
            let mut client = server.connect();
            let answer = by_method(&mut client, method, &format!("/dav/{name}"));
            assert!(matches!(answer.status, 403..=405 | 409), "{method} {name}: {}", answer.status);
        }
    }
    nothing_happened(&site, &before, "devices");
}

/// While one is changed to the other and back, nothing is read or written where the link leads.
#[test]
fn a_directory_that_becomes_a_link_leads_nowhere() {
    let (site, server) = site();
    fs::create_dir(site.at("shared/swap")).expect("a directory");
    let (swap, other) = (site.at("shared/swap"), site.at("shared/.swap"));
    symlink(site.at("outside"), &other).expect("a link");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _raced = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &swap,
                    rustix::fs::CWD,
                    &other,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        });
        let mut client = server.connect();
        for round in 0..300 {
            let method = ["GET", "PUT", "DELETE", "LOCK", "MKCOL", "PROPFIND"][round % 6];
            let name = if round % 2 == 0 { "file" } else { "new" };
            let answer = by_method(&mut client, method, &format!("/dav/swap/{name}"));
            let is_bad = answer.text().contains("secret") || answer.status >= 500;
            if is_bad {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(!is_bad, "{method}: {} {}", answer.status, answer.text());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(
        (super::names(&site.at("outside")), site.read("outside/file")),
        (vec!["file".into()], "secret".into())
    );
}
