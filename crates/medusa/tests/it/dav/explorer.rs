//! What the `WebClient` service of Windows sends, for Explorer and everybody else there.

use medusa_testkit::{Client, Response};

use super::{ask, credentials, find, multistatus, of_users, open, shared_names};
use crate::support::{start, web};

const AGENT: &str = "User-Agent: Microsoft-WebDAV-MiniRedir/10.0.19045";

const LOCK: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" ?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\ada</D:href></D:owner></D:lockinfo>";

/// As it sets times and attributes after each file that it has written.
const TIMES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" ?><D:propertyupdate xmlns:D=\"DAV:\" xmlns:Z=\"urn:schemas-microsoft-com:\">\
    <D:set><D:prop><Z:Win32CreationTime>Tue, 01 Dec 2026 10:00:00 GMT</Z:Win32CreationTime>\
    <Z:Win32LastAccessTime>Tue, 01 Dec 2026 10:00:00 GMT</Z:Win32LastAccessTime>\
    <Z:Win32LastModifiedTime>Tue, 01 Dec 2026 10:00:00 GMT</Z:Win32LastModifiedTime>\
    <Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>";

const WIN32: [&str; 4] =
    ["Win32CreationTime", "Win32LastAccessTime", "Win32LastModifiedTime", "Win32FileAttributes"];

#[track_caller]
fn windows(client: &mut Client, request: &str, fields: &[&str], body: &str) -> Response {
    let mut all = vec!["Connection: Keep-Alive", AGENT, "translate: f"];
    all.extend(fields);
    if body.is_empty()
        && request.starts_with(|c: char| !matches!(c, 'G' | 'H'))
        && !request.starts_with("PUT")
    {
        all.push("Content-Length: 0");
    }
    ask(client, request, &all, body)
}

#[test]
fn it_maps_a_drive() {
    // It follows no redirect to the name with a slash.
    let site = web("dav = medusa.handler.dav('shared')
        web:mount('/dav', dav)
        web:mount('/dav/', dav)")
    .file("shared/page.txt", "the first page");
    let server = start(&site);
    let mut client = server.connect();
    let options = windows(&mut client, "OPTIONS /dav/", &[], "");
    assert_eq!(options.header("ms-author-via"), Some("DAV"));
    let allowed = options.header("allow").expect("it looks for PROPFIND there").to_owned();
    for method in [
        "OPTIONS",
        "GET",
        "HEAD",
        "PUT",
        "DELETE",
        "PROPFIND",
        "PROPPATCH",
        "MKCOL",
        "COPY",
        "MOVE",
        "LOCK",
        "UNLOCK",
    ] {
        assert!(allowed.split(',').any(|known| known.trim() == method), "{method} in {allowed}");
    }
    for (path, depth, count) in [
        ("/dav/", "0", 1),
        ("/dav/", "1", 2),
        ("/dav", "0", 1),
        ("/dav/page.txt", "0", 1),
        ("/dav/page.txt", "1", 1),
    ] {
        let request = format!("PROPFIND {path}");
        let told = multistatus(&windows(&mut client, &request, &[&format!("Depth: {depth}")], ""));
        assert_eq!(told.len(), count, "{path} {depth}");
        for told in &told {
            told.text("DAV:getlastmodified");
            told.text("DAV:creationdate");
            assert!(told.is_collection() || !told.text("DAV:getcontentlength").is_empty());
        }
    }
}

#[test]
fn a_file_is_saved() {
    let site = of_users();
    let server = start(&site);
    let mut client = server.connect();
    let alice = credentials("alice");
    let as_alice = |client: &mut Client, request: &str, fields: &[&str], body: &str| {
        let all: Vec<&str> = fields.iter().copied().chain([alice.as_str()]).collect();
        windows(client, request, &all, body)
    };
    let path = "/dav/New%20Text%20Document.txt";
    assert_eq!(as_alice(&mut client, &format!("PROPFIND {path}"), &["Depth: 0"], "").status, 404);
    assert_eq!(as_alice(&mut client, &format!("PUT {path}"), &[], "").status, 201);
    // No Depth, and a token that comes back with its brackets here and without them there.
    let locked = as_alice(&mut client, &format!("LOCK {path}"), &["Timeout: Second-3600"], LOCK);
    assert_eq!(locked.status, 200, "{}", locked.text());
    let token = locked.header("lock-token").expect("a token").to_owned();
    let read = super::Element::parse(&locked.text());
    let active = read.at(&["DAV:lockdiscovery", "DAV:activelock"]).expect("the lock");
    assert_eq!(active.child("DAV:depth").expect("its depth").text, "infinity");
    assert_eq!(active.child("DAV:timeout").expect("its time").text, "Second-3600");
    assert_eq!(active.at(&["DAV:owner", "DAV:href"]).expect("its owner").text, "DESKTOP\\ada");
    // It looks without having said who it is, and then says so.
    let stranger = windows(&mut client, &format!("HEAD {path}"), &[], "");
    assert_eq!(stranger.status, 401);
    assert!(stranger.header("www-authenticate").is_some());
    assert_eq!(as_alice(&mut client, &format!("HEAD {path}"), &[], "").header("content-length"), Some("0"));
    let by = format!("If: ({token})");
    assert_eq!(as_alice(&mut client, &format!("PUT {path}"), &[&by], "saved").status, 204);
    let patched = multistatus(&as_alice(&mut client, &format!("PROPPATCH {path}"), &[&by], TIMES)).remove(0);
    for name in WIN32 {
        assert_eq!(patched.status_of(&format!("urn:schemas-microsoft-com:{name}")), Some(200), "{name}");
    }
    assert_eq!(as_alice(&mut client, &format!("HEAD {path}"), &[], "").header("content-length"), Some("5"));
    let bare = token.trim_matches(['<', '>']);
    let unlocked = as_alice(&mut client, &format!("UNLOCK {path}"), &[&format!("Lock-Token: {bare}")], "");
    assert_eq!(unlocked.status, 204, "{}", unlocked.text());
    assert_eq!(as_alice(&mut client, &format!("PUT {path}"), &[], "unlocked").status, 204);
    // Who asks for nothing in particular is told these as well.
    let told = multistatus(&as_alice(&mut client, &format!("PROPFIND {path}"), &["Depth: 0"], "")).remove(0);
    assert_eq!(told.text("urn:schemas-microsoft-com:Win32FileAttributes"), "00000020", "{told:?}");
    // Without `Overwrite`, which means that it may.
    let to = format!("Destination: {}", server.url("/dav/page.txt"));
    assert_eq!(as_alice(&mut client, &format!("MOVE {path}"), &[&to], "").status, 204);
    assert_eq!(site.read("shared/page.txt"), "unlocked");
    assert_eq!(as_alice(&mut client, "DELETE /dav/page.txt", &[], "").status, 204);
    assert_eq!(shared_names(&site), [""; 0]);
}

#[test]
fn a_directory_takes_its_attributes() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(windows(&mut client, "MKCOL /dav/New%20folder", &[], "").status, 201);
    let patched = multistatus(&windows(&mut client, "PROPPATCH /dav/New%20folder", &[], TIMES)).remove(0);
    let statuses: Vec<_> = patched.props.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200; 4]);
    let to = format!("Destination: {}", server.url("/dav/Named"));
    assert_eq!(windows(&mut client, "MOVE /dav/New%20folder", &[&to, "Overwrite: F"], "").status, 201);
    assert!(find(&mut client, "/dav/Named", &["DAV:resourcetype"]).is_collection());
}

/// It would take a file for absent for a minute, whoever has made it since.
#[test]
fn what_is_not_there_is_not_to_be_remembered() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for request in [
        "PROPFIND /dav/desktop.ini",
        "HEAD /dav/desktop.ini",
        "GET /dav/desktop.ini",
        "DELETE /dav/desktop.ini",
    ] {
        let answer = windows(&mut client, request, &["Depth: 0"], "");
        assert_eq!(answer.status, 404, "{request}");
        let cached = answer.header("cache-control").unwrap_or_default();
        assert!(cached.contains("no-store"), "{request}: {cached:?}");
        assert_eq!(answer.header("vary"), Some("*"), "{request}");
    }
}

/// `translate: f` asks for the source of a page, which is what there is.
#[test]
fn a_source_is_what_is_served() {
    let site = open("").file("shared/page.html", "<p>hello");
    let server = start(&site);
    let mut client = server.connect();
    let page = windows(&mut client, "GET /dav/page.html", &[], "");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>hello"));
}
