//! What macOS sends, request for request.

use medusa_testkit::{Client, Response};

use super::{
    EXCLUSIVE, ask, by, lock_token, multistatus, no_debris, open, prop_body, shared_names, status, versions,
};
use crate::support::start;

const AGENT: &str = "User-Agent: WebDAVFS/3.0.0 (03008000) Darwin/23.6.0 (arm64)";

/// What it asks of each resource that it shows.
fn shown() -> String {
    prop_body(&[
        "DAV:getlastmodified",
        "DAV:getcontentlength",
        "DAV:creationdate",
        "DAV:resourcetype",
        "http://www.apple.com/webdav_fs/props/appledoubleheader",
    ])
}

#[track_caller]
fn finder(client: &mut Client, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Response {
    let all: Vec<&str> =
        [AGENT, "Accept: */*", "Accept-Language: en-us"].iter().chain(fields).copied().collect();
    ask(client, request, &all, body)
}

/// A body in chunks, whose length is told by a field of its own.
#[track_caller]
fn put_chunked(client: &mut Client, path: &str, told: usize, fields: &[&str], chunks: &[&str]) -> Response {
    let mut request = format!(
        "PUT {path} HTTP/1.1\r\nHost: test\r\n{AGENT}\r\nX-Expected-Entity-Length: {told}\r\nTransfer-Encoding: Chunked\r\n"
    );
    for field in fields {
        request = request + field + "\r\n";
    }
    request += "\r\n";
    for chunk in chunks {
        let length = format!("{:x}\r\n", chunk.len());
        request = request + &length + chunk + "\r\n";
    }
    client.send(request + "0\r\n\r\n");
    client.response()
}

/// As it looks whether something is there.
#[track_caller]
fn look(client: &mut Client, path: &str) -> u16 {
    finder(client, &format!("PROPFIND {path}"), &["Depth: 0", "Content-Type: text/xml"], shown()).status
}

#[track_caller]
fn lock(client: &mut Client, path: &str) -> (u16, String) {
    let fields = ["Depth: 0", "Timeout: Second-600", "Content-Type: text/xml; charset=\"utf-8\""];
    let answer = finder(client, &format!("LOCK {path}"), &fields, EXCLUSIVE);
    let token = answer.header("lock-token").unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    (answer.status, token)
}

#[test]
fn it_mounts() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let options = finder(&mut client, "OPTIONS /dav/", &[], "");
    let classes = options.header("dav").expect("it mounts nothing without").replace(' ', "");
    // Without class 2 it would mount for reading only.
    let classes: Vec<_> = classes.split(',').collect();
    assert!(["1", "2", "3"].iter().all(|class| classes.contains(class)), "{classes:?}");
    assert!(matches!(options.status, 200 | 204), "{}", options.status);
    let quota =
        prop_body(&["DAV:quota-available-bytes", "DAV:quota-used-bytes", "DAV:quota", "DAV:quotaused"]);
    let told =
        multistatus(&finder(&mut client, "PROPFIND /dav/", &["Depth: 0", "Content-Type: text/xml"], quota))
            .remove(0);
    // What is not told is shown as "0 available".
    assert!(told.text("DAV:quota-available-bytes").parse::<u64>().expect("a number") > 0);
    told.text("DAV:quota-used-bytes").parse::<u64>().expect("a number");
    assert_eq!((told.status_of("DAV:quota"), told.status_of("DAV:quotaused")), (Some(404), Some(404)));
    let listed = multistatus(&finder(&mut client, "PROPFIND /dav/", &["Depth: 1"], shown()));
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1].text("DAV:getcontentlength"), "14");
}

#[test]
fn its_probes_are_answered() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    // These say by being there that nothing is to be indexed or drawn.
    for name in [".metadata_never_index", ".ql_disablethumbnails"] {
        assert_eq!(look(&mut client, &format!("/dav/{name}")), 207, "{name}");
        let probe = client.get(&format!("/dav/{name}"));
        assert_eq!((probe.status, probe.body.len()), (200, 0), "{name}");
    }
    for name in [
        ".localized",
        "._.",
        "._page.txt",
        ".DS_Store",
        ".hidden",
        ".Spotlight-V100",
        "page.txt/..namedfork/rsrc",
    ] {
        assert_eq!(look(&mut client, &format!("/dav/{name}")), 404, "{name}");
    }
    assert_eq!(shared_names(&site), ["page.txt"]);
}

#[test]
fn a_file_is_copied_there_by_a_lock_that_makes_it() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for (path, content) in
        [("/dav/report.txt", "the report, by and by"), ("/dav/._report.txt", "its resource fork")]
    {
        assert_eq!(look(&mut client, path), 404);
        let (made, token) = lock(&mut client, path);
        // A file, and no resource of the old kind that is there for locks only.
        assert_eq!((made, site.read(&path.replace("/dav", "shared")).len()), (201, 0));
        assert_eq!(look(&mut client, path), 207);
        for _ in 0..3 {
            assert_eq!(finder(&mut client, &format!("PUT {path}"), &[&by(&token)], "").status, 204);
        }
        assert_eq!(look(&mut client, path), 207);
        let (first, second) = content.split_at(7);
        let put = put_chunked(&mut client, path, content.len(), &[&by(&token)], &[first, second]);
        assert_eq!(put.status, 204, "{}", put.text());
        let refresh = finder(&mut client, &format!("LOCK {path}"), &[&by(&token), "Timeout: Second-600"], "");
        assert_eq!((refresh.status, refresh.header("lock-token")), (200, None), "{}", refresh.text());
        assert_eq!(finder(&mut client, &format!("UNLOCK {path}"), &[&lock_token(&token)], "").status, 204);
        assert_eq!(client.get(path).text(), content);
    }
    for name in ["report.txt", "page.txt"] {
        assert_eq!(versions(&server, name), [0; 0], "an empty one is no version of {name}");
    }
    no_debris(&site);
}

#[test]
fn a_file_is_copied_there_by_a_put_that_makes_it() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let path = "/dav/\u{e4} b.txt".replace('\u{e4}', "a%CC%88").replace(' ', "%20");
    assert_eq!(finder(&mut client, &format!("PUT {path}"), &[], "").status, 201);
    let (found, token) = lock(&mut client, &path);
    assert_eq!(found, 200);
    assert_eq!(put_chunked(&mut client, &path, 5, &[&by(&token)], &["first"]).status, 204);
    assert_eq!(finder(&mut client, &format!("UNLOCK {path}"), &[&lock_token(&token)], "").status, 204);
    // Written anew: emptied, and filled. What had something in it is kept, what had not is not.
    let (_, token) = lock(&mut client, &path);
    assert_eq!(finder(&mut client, &format!("PUT {path}"), &[&by(&token)], "").status, 204);
    assert_eq!(put_chunked(&mut client, &path, 6, &[&by(&token)], &["sec", "ond"]).status, 204);
    assert_eq!(finder(&mut client, &format!("UNLOCK {path}"), &[&lock_token(&token)], "").status, 204);
    assert_eq!(client.get(&path).text(), "second");
    assert_eq!(versions(&server, "a\u{308} b.txt"), [5]);
    // Names come back as they were given, in the form of Unicode that it uses.
    let listed = multistatus(&finder(&mut client, "PROPFIND /dav/", &["Depth: 1"], shown()));
    assert!(listed.iter().any(|told| told.href == path), "{listed:?}");
}

#[test]
fn a_body_that_breaks_off_leaves_the_old_file() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for (told, chunks) in [(10, vec!["short"]), (3, vec!["longer"]), (10, vec![])] {
        let put = put_chunked(&mut client, "/dav/page.txt", told, &[], &chunks);
        assert_eq!(put.status, 400, "{told} {chunks:?}");
        client = server.connect();
        assert_eq!(client.get("/dav/page.txt").text(), "the first page");
    }
    let mut leaving = server.connect();
    leaving.send(
        "PUT /dav/page.txt HTTP/1.1\r\nHost: test\r\nX-Expected-Entity-Length: 10\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n",
    );
    leaving.until_read();
    leaving.reset();
    assert_eq!(client.get("/dav/page.txt").text(), "the first page");
    // A new one is not there for half of it.
    assert_eq!(put_chunked(&mut client, "/dav/new.txt", 10, &[], &["short"]).status, 400);
    assert_eq!(shared_names(&site), ["page.txt"]);
    assert_eq!(
        status(&mut server.connect(), "PUT /dav/page.txt", &["Content-Range: bytes 0-1/9"], "ab"),
        400
    );
    assert_eq!(site.read("shared/page.txt"), "the first page");
}

#[test]
fn folders_are_made_renamed_and_thrown_away() {
    let site = open("")
        .file("shared/old/a.txt", "a")
        .file("shared/old/._a.txt", "fork")
        .file("shared/old/.DS_Store", "x");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(look(&mut client, "/dav/untitled%20folder"), 404);
    assert_eq!(finder(&mut client, "MKCOL /dav/untitled%20folder/", &[], "").status, 201);
    let to = format!("Destination: {}", server.url("/dav/mine/"));
    assert_eq!(finder(&mut client, "MOVE /dav/untitled%20folder/", &[&to, "Overwrite: F"], "").status, 201);
    let to = format!("Destination: {}", server.url("/dav/mine/old/"));
    assert_eq!(finder(&mut client, "MOVE /dav/old/", &[&to, "Overwrite: F"], "").status, 201);
    assert_eq!(super::names(&site.at("shared/mine/old")), [".DS_Store", "._a.txt", "a.txt"]);
    assert_eq!(finder(&mut client, "DELETE /dav/mine/", &[], "").status, 204);
    assert_eq!(shared_names(&site), ["page.txt"]);
}

#[test]
fn what_systems_leave_everywhere_may_be_refused() {
    let litter = ["._page.txt", ".DS_Store", "Thumbs.db", "desktop.ini", ".~lock.plan.odt%23"];
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for name in litter {
        assert_eq!(status(&mut client, &format!("PUT /dav/{name}"), &[], "x"), 201, "{name}");
        assert_eq!(status(&mut client, &format!("DELETE /dav/{name}"), &[], ""), 204, "{name}");
    }
    assert_eq!(status(&mut client, "PUT /dav/.git", &[], "x"), 403);
    let site = open("litter = false");
    let server = start(&site);
    let mut client = server.connect();
    for name in litter {
        assert_eq!(status(&mut client, &format!("PUT /dav/{name}"), &[], "x"), 403, "{name}");
        assert_eq!(status(&mut client, &format!("LOCK /dav/{name}"), &[], EXCLUSIVE), 403, "{name}");
        assert_eq!(look(&mut client, &format!("/dav/{name}")), 404, "{name}");
    }
    assert_eq!(shared_names(&site), ["page.txt"]);
    let site = open("dotfiles = true");
    let server = start(&site);
    assert_eq!(status(&mut server.connect(), "PUT /dav/.profile", &[], "x"), 201);
    assert_eq!(status(&mut server.connect(), "PUT /dav/.medusa-versions", &[], "x"), 403);
}
