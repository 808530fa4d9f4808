//! COPY, MOVE, MKCOL and DELETE (RFC 4918 §9.3, §9.6, §9.8, §9.9, §10.3, §10.6).

use std::fs;
use std::os::unix::fs::symlink;

use medusa_testkit::run;

use super::{ask, destination, names, open, shared_names, status, versions};
use crate::support::{start, web};

#[test]
fn what_nothing_is_said_of_is_overwritten() {
    let site = open("").file("shared/b.txt", "b").file("shared/d/c.txt", "c");
    let server = start(&site);
    let mut client = server.connect();
    let onto = |path: &str| destination(path);
    for method in ["COPY", "MOVE"] {
        let refused = status(
            &mut client,
            &format!("{method} /dav/b.txt"),
            &[&onto("/dav/page.txt"), "Overwrite: F"],
            "",
        );
        assert_eq!((refused, site.read("shared/page.txt").as_str()), (412, "the first page"));
    }
    assert_eq!(status(&mut client, "COPY /dav/b.txt", &[&onto("/dav/page.txt")], ""), 204);
    assert_eq!(status(&mut client, "COPY /dav/page.txt", &[&onto("/dav/b.txt"), "Overwrite: T"], ""), 204);
    assert_eq!(status(&mut client, "COPY /dav/b.txt", &[&onto("/dav/new.txt"), "Overwrite: F"], ""), 201);
    assert_eq!(status(&mut client, "MOVE /dav/new.txt", &[&onto("/dav/page.txt")], ""), 204);
    assert_eq!(versions(&server, "page.txt"), [1, 14], "what was there is kept");
    // A file over a directory, and a directory over a file, of which nothing is left.
    assert_eq!(status(&mut client, "COPY /dav/page.txt", &[&onto("/dav/d")], ""), 204);
    assert_eq!(site.read("shared/d"), "b");
    assert_eq!(status(&mut client, "MKCOL /dav/e/", &[], ""), 201);
    assert_eq!(status(&mut client, "MOVE /dav/e/", &[&onto("/dav/d/")], ""), 204);
    assert_eq!(names(&site.at("shared/d")), [""; 0]);
    for odd in ["X", "true", ""] {
        assert_eq!(
            status(
                &mut server.connect(),
                "COPY /dav/b.txt",
                &[&onto("/dav/c.txt"), &format!("Overwrite: {odd}")],
                ""
            ),
            400,
            "{odd}"
        );
    }
    assert_eq!(shared_names(&site), ["b.txt", "d", "page.txt"]);
}

#[test]
fn a_destination_is_a_path_whoever_the_server_is_to_others() {
    let site = open("");
    let server = start(&site);
    let address = server.address();
    for (number, to) in [
        "http://test/dav/".to_owned(),
        // Behind a proxy that speaks TLS, with another name and another port.
        "https://test/dav/".to_owned(),
        "https://files.example.org/dav/".to_owned(),
        "https://files.example.org:8443/dav/".to_owned(),
        format!("http://{address}/dav/"),
        "HTTP://TEST:80/dav/".to_owned(),
        "/dav/".to_owned(),
        "http://ada:secret@test/dav/".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let copied = status(
            &mut server.connect(),
            "COPY /dav/page.txt",
            &[&format!("Destination: {to}to%20{number}")],
            "",
        );
        assert_eq!((copied, site.at(&format!("shared/to {number}")).exists()), (201, true), "{to}");
    }
    for (to, expected) in [
        ("", 400),
        ("http://", 400),
        ("relative", 400),
        ("http://test/dav/a%zz", 400),
        ("http://test/dav/a b", 400),
        ("*", 400),
        ("mailto:ada@example.org", 400),
    ] {
        for method in ["COPY", "MOVE"] {
            let got = status(
                &mut server.connect(),
                &format!("{method} /dav/page.txt"),
                &[&format!("Destination: {to}")],
                "",
            );
            assert!(got == expected || got == 502, "{method} {to}: {got}");
        }
    }
    assert_eq!(status(&mut server.connect(), "COPY /dav/page.txt", &[], ""), 400);
    for to in ["http://test/", "http://test/other/page.txt", "http://test/davother"] {
        let got = status(&mut server.connect(), "MOVE /dav/page.txt", &[&format!("Destination: {to}")], "");
        assert!(matches!(got, 403 | 409 | 502), "{to}: {got}");
    }
    assert_eq!(site.read("shared/page.txt"), "the first page");
    assert_eq!(shared_names(&site).len(), 9);
}

#[test]
fn depth_is_minded() {
    let site = open("").file("shared/d/a.txt", "a");
    let server = start(&site);
    let to = destination("/dav/to/");
    for (method, depth, expected) in [
        ("COPY", "1", 400),
        ("MOVE", "0", 400),
        ("MOVE", "1", 400),
        ("DELETE", "0", 400),
        ("DELETE", "1", 400),
        ("COPY", "x", 400),
    ] {
        let got = status(
            &mut server.connect(),
            &format!("{method} /dav/d/"),
            &[&to, &format!("Depth: {depth}")],
            "",
        );
        assert_eq!(got, expected, "{method} {depth}");
    }
    assert_eq!(status(&mut server.connect(), "COPY /dav/d/", &[&to, "Depth: infinity"], ""), 201);
    assert_eq!(status(&mut server.connect(), "MOVE /dav/d/", &[&to, "Depth: infinity"], ""), 204);
    assert_eq!(status(&mut server.connect(), "DELETE /dav/to/", &["Depth: infinity"], ""), 204);
    assert_eq!(shared_names(&site), ["page.txt"]);
}

#[test]
fn nothing_is_put_into_itself() {
    let site = open("").file("shared/d/e/a.txt", "a");
    let server = start(&site);
    let mut client = server.connect();
    for method in ["COPY", "MOVE"] {
        for (from, to) in [
            ("/dav/d/", "/dav/d/"),
            ("/dav/d/", "/dav/d"),
            ("/dav/d/", "/dav/d/e/"),
            ("/dav/d/", "/dav/d/e/f/"),
            ("/dav/d/", "/dav/d/x"),
            ("/dav/d/e/", "/dav/d/"),
            ("/dav/d/e/a.txt", "/dav/d/e/"),
            ("/dav/d/e/a.txt", "/dav/d"),
            ("/dav/page.txt", "/dav/page.txt"),
            ("/dav/d/", "/dav/"),
            ("/dav/", "/dav/d/x/"),
            ("/dav/", "/dav/"),
        ] {
            let got = status(&mut client, &format!("{method} {from}"), &[&destination(to)], "");
            assert!(matches!(got, 403 | 405 | 409), "{method} {from} {to}: {got}");
            assert_eq!(site.read("shared/d/e/a.txt"), "a", "{method} {from} {to}");
        }
    }
    for request in
        ["DELETE /dav/", "MKCOL /dav/", "PUT /dav/", "MKCOL /dav/page.txt", "PUT /dav/d/", "PUT /dav/d"]
    {
        let got = status(&mut client, request, &[], "");
        assert!(matches!(got, 403 | 405 | 409), "{request}: {got}");
    }
    assert_eq!(
        (names(&site.at("shared/d")), names(&site.at("shared/d/e"))),
        (vec!["e".into()], vec!["a.txt".into()])
    );
}

#[test]
fn a_tree_is_copied_and_moved_whole() {
    let mut site = open("");
    for at in 0..30 {
        site = site.file(&format!("shared/t/{}/{at}/f {at}", at % 3), at.to_string());
    }
    let server = start(&site);
    let mut client = server.connect();
    let listed = |name: &str| {
        run("sh", ["-c", &format!("cd '{}' && find . | sort", site.at(name).display())]).success()
    };
    let before = listed("shared/t");
    assert_eq!(status(&mut client, "COPY /dav/t/", &[&destination("/dav/copy/")], ""), 201);
    assert_eq!(listed("shared/copy"), before);
    assert_eq!(status(&mut client, "MOVE /dav/t/", &[&destination("/dav/moved/")], ""), 201);
    assert_eq!((listed("shared/moved"), site.at("shared/t").exists()), (before, false));
    assert_eq!(site.read("shared/moved/2/29/f 29"), "29");
    // Over one that is there: nothing of that is left.
    site.write("shared/copy/only here.txt", "x");
    assert_eq!(status(&mut client, "COPY /dav/moved/", &[&destination("/dav/copy/")], ""), 204);
    assert!(!site.at("shared/copy/only here.txt").exists());
    assert_eq!(status(&mut client, "DELETE /dav/copy", &[], ""), 204);
    assert_eq!(shared_names(&site), ["moved", "page.txt"]);
}

/// What an administrator has put there is no client's to follow.
#[test]
fn what_is_no_file_is_not_copied() {
    let site = open("").file("shared/d/a.txt", "a").file("outside/b.txt", "secret");
    symlink(site.at("outside"), site.at("shared/d/out")).expect("a link");
    symlink("../../secret", site.at("shared/d/link.txt")).expect("a link");
    run("mkfifo", [site.at("shared/d/fifo")]).success();
    let server = start(&site);
    let mut client = server.connect();
    let copied = ask(&mut client, "COPY /dav/d/", &[&destination("/dav/copy/")], "");
    assert!(matches!(copied.status, 201 | 207 | 403), "{}", copied.status);
    let text = run("sh", ["-c", &format!("cat $(find '{}' -type f)", site.at("shared").display())]).stdout;
    assert!(!text.contains("secret"), "{text}");
    assert!(!fs::symlink_metadata(site.at("shared/copy/out")).is_ok_and(|found| found.is_dir()));
    let removed = status(&mut client, "DELETE /dav/d/", &[], "");
    assert!(matches!(removed, 204 | 207 | 403 | 409), "{removed}");
    assert_eq!((site.read("outside/b.txt"), site.read("secret")), ("secret".into(), "secret".into()));
}

#[test]
fn preconditions_hold_for_all_methods() {
    let site = open("").file("shared/b.txt", "b");
    let server = start(&site);
    let mut client = server.connect();
    let etag = client.get("/dav/page.txt").header("etag").expect("a tag").to_owned();
    let to = destination("/dav/to.txt");
    for request in [
        "PUT /dav/page.txt",
        "DELETE /dav/page.txt",
        "MOVE /dav/page.txt",
        "COPY /dav/page.txt",
        "PROPPATCH /dav/page.txt",
    ] {
        let got = status(&mut client, request, &[&to, "If-Match: \"other\""], "");
        assert_eq!(got, 412, "{request}");
        let got = status(&mut client, request, &[&to, &format!("If: ([{etag}] [\"other\"])")], "");
        assert_eq!(got, 412, "{request}");
    }
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &["If-None-Match: *"], "x"), 412);
    assert_eq!(status(&mut client, "MOVE /dav/page.txt", &[&to, &format!("If-Match: {etag}")], ""), 201);
    assert_eq!(shared_names(&site), ["b.txt", "to.txt"]);
}

#[test]
fn what_is_sent_with_mkcol_means_nothing_here() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(status(&mut client, "MKCOL /dav/a", &["Content-Type: xzy-foo/bar-512"], "afafaf"), 415);
    assert!(!site.at("shared/a").exists());
    assert_eq!(status(&mut client, "MKCOL /dav/a", &[], ""), 201);
    assert_eq!(status(&mut client, "MKCOL /dav/a", &[], ""), 405);
}

#[test]
fn methods_that_are_none_of_its_own_are_refused_with_those_that_are() {
    let site = web("web:mount('/dav/', medusa.handler.dav('shared'))").file("shared/page.txt", "");
    let server = start(&site);
    let mut client = server.connect();
    for method in ["POST", "PATCH", "REPORT", "ACL", "SEARCH"] {
        let answer = ask(&mut client, &format!("{method} /dav/page.txt"), &[], "");
        assert!(matches!(answer.status, 405 | 501), "{method}: {}", answer.status);
        if answer.status == 405 {
            assert!(answer.header("allow").expect("those").contains("PROPFIND"));
        }
    }
}
