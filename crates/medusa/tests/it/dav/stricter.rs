//! What later litmus (0.14 to 0.18) asks for and Debian's does not.

use std::thread;

use medusa_testkit::{memory, wait};

use super::{
    EXCLUSIVE, OURS, ask, by, destination, find, lock, lock_token, multistatus, open, prop_body, set,
    shared_names, status,
};
use crate::support::start;

#[test]
fn what_has_no_parent_is_a_conflict() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let to = destination("/dav/none/x");
    assert_eq!(status(&mut client, "PUT /dav/none/x", &[], "x"), 409);
    assert_eq!(status(&mut client, "MKCOL /dav/none/x/", &[], ""), 409);
    assert_eq!(status(&mut client, "LOCK /dav/none/x", &[], EXCLUSIVE), 409);
    for method in ["COPY", "MOVE"] {
        assert_eq!(status(&mut client, &format!("{method} /dav/page.txt"), &[&to], ""), 409);
    }
    assert_eq!(status(&mut client, "PUT /dav/page.txt/x", &[], "x"), 409);
    assert_eq!(shared_names(&site), ["page.txt"]);
}

#[test]
fn a_shallow_copy_has_no_members() {
    let site = open("").file("shared/from/a.txt", "a").file("shared/from/deep/b.txt", "b");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(set(&mut client, "/dav/from/", &[], "colour", "blue"), 200);
    let copied = status(&mut client, "COPY /dav/from/", &["Depth: 0", &destination("/dav/to/")], "");
    assert_eq!((copied, super::names(&site.at("shared/to"))), (201, Vec::new()));
    assert_eq!(
        find(&mut client, "/dav/to/", &[&format!("{OURS}colour")]).text(&format!("{OURS}colour")),
        "blue"
    );
    assert_eq!(status(&mut client, "DELETE /dav/to/a.txt", &[], ""), 404);
    // Over one that is there: what was in that is gone.
    site.write("shared/to/old.txt", "old");
    let again = status(&mut client, "COPY /dav/from/", &["Depth: 0", &destination("/dav/to/")], "");
    assert_eq!((again, super::names(&site.at("shared/to"))), (204, Vec::new()));
}

#[test]
fn a_new_file_is_where_its_location_says() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/dav/put%23test", "/dav/a%20b.txt", "/dav/%e2%82%ac", "/dav/a&b;c=d"] {
        let new = ask(&mut client, &format!("PUT {path}"), &[], "hello");
        assert_eq!((new.status, new.header("location")), (201, Some(path)));
        assert_eq!(client.get(new.header("location").expect("just seen")).text(), "hello");
        let known = ask(&mut client, &format!("PUT {path}"), &[], "again");
        assert_eq!((known.status, known.header("location")), (204, None));
    }
}

#[test]
fn a_time_of_change_is_that_of_the_file() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "new"), 204);
    let told =
        find(&mut client, "/dav/page.txt", &["DAV:getlastmodified", "DAV:getetag", "DAV:getcontentlength"]);
    let page = client.get("/dav/page.txt");
    assert_eq!(Some(told.text("DAV:getlastmodified")), page.header("last-modified"));
    assert_eq!(Some(told.text("DAV:getetag")), page.header("etag"));
    assert_eq!(told.text("DAV:getcontentlength"), "3");
    let collection = find(&mut client, "/dav/", &["DAV:getlastmodified", "DAV:resourcetype"]);
    assert!(
        collection.text("DAV:getlastmodified").ends_with(" GMT") && collection.is_collection(),
        "{collection:?}"
    );
}

#[test]
fn a_property_may_be_removed_twice() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "colour", "blue"), 200);
    let name = format!("{OURS}colour");
    let remove = format!(
        "<propertyupdate xmlns='DAV:'><remove><prop><colour xmlns='{OURS}'/></prop></remove></propertyupdate>"
    );
    for _ in 0..2 {
        let answer = ask(&mut client, "PROPPATCH /dav/page.txt", &[], &remove);
        assert_eq!(multistatus(&answer)[0].status_of(&name), Some(200));
        assert_eq!(find(&mut client, "/dav/page.txt", &[&name]).status_of(&name), Some(404));
    }
}

#[test]
fn whatever_is_asked_for_the_answer_is_xml() {
    let site = open("").file("shared/a<&>\"'.txt", "").file("shared/\u{1d11e}/\u{7}x", "");
    let server = start(&site);
    let mut client = server.connect();
    let extended = "<propfind xmlns='DAV:'><foobar/><allprop/></propfind>";
    let included =
        "<propfind xmlns='DAV:'><allprop/><include><supportedlock/><o:x xmlns:o='o:'/></include></propfind>";
    let odd = prop_body(&["DAV:getetag", "urn:none:x", &format!("{OURS}x")]);
    let no_namespace = "<D:propfind xmlns:D='DAV:'><D:prop><x xmlns=''/></D:prop></D:propfind>";
    for body in ["", extended, included, &odd, no_namespace, "<propfind xmlns='DAV:'><propname/></propfind>"]
    {
        let told = multistatus(&ask(&mut client, "PROPFIND /dav/", &["Depth: 1"], body));
        let hrefs: Vec<_> = told.iter().map(|told| told.href.as_str()).collect();
        assert!(hrefs.contains(&"/dav/") && hrefs.contains(&"/dav/page.txt"), "{hrefs:?}");
        for href in hrefs.iter().filter(|href| !href.ends_with('/')) {
            assert_eq!(client.request("HEAD", href, &[]).status, 200, "{href}");
        }
    }
}

/// Twenty clients lock and unlock, as its `lockbomb` does.
#[test]
fn locks_that_come_and_go_leave_nothing() {
    let site = open("");
    let server = start(&site);
    let mut first = server.connect();
    let round = |number: usize| {
        let mut client = server.connect();
        let path = format!("/dav/file-{number}");
        assert_eq!(status(&mut client, &format!("PUT {path}"), &[], "zero"), 201);
        for _ in 0..40 {
            let token = lock(&mut client, &path, &[]);
            assert_eq!(status(&mut client, &format!("PUT {path}"), &[&by(&token)], "zero"), 204);
            let unlocked = ask(&mut client, &format!("UNLOCK {path}"), &[&lock_token(&token)], "");
            assert_eq!(unlocked.status, 204, "{}", unlocked.text());
        }
    };
    let before = memory::resident(server.pid());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..20).map(|number| scope.spawn(move || round(number))).collect();
        for client in clients {
            client.join().expect("a client");
        }
    });
    wait::until("memory is given back", || {
        (memory::resident(server.pid()) < before + (24 << 20)).then_some(())
    });
    assert_eq!(super::active_locks(&mut first, "/dav/file-3").len(), 0);
}

/// What the server keeps for itself is nobody's, by no method, however it is written.
#[test]
fn what_the_server_keeps_there_is_out_of_reach() {
    let site = open("").file("shared/.medusa-versions/pages/page.txt/x", "kept");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "colour", "blue"), 200);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "new"), 204);
    let inside: Vec<_> =
        super::names(&site.at("shared")).into_iter().filter(|name| name.starts_with(".medusa")).collect();
    assert!(inside.contains(&".medusa-versions".to_owned()), "{inside:?}");
    let away = destination("/dav/away");
    for name in &inside {
        for path in [format!("/dav/{name}"), format!("/dav/{name}/"), format!("/dav/%2e{}", &name[1..])] {
            let to = destination(&path);
            for (request, fields, body) in [
                (format!("GET {path}"), vec![], ""),
                (format!("PUT {path}"), vec![], "x"),
                (format!("MKCOL {path}"), vec![], ""),
                (format!("DELETE {path}"), vec![], ""),
                (format!("PROPFIND {path}"), vec!["Depth: 1"], ""),
                (
                    format!("PROPPATCH {path}"),
                    vec![],
                    "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='o:'/></prop></set></propertyupdate>",
                ),
                (format!("LOCK {path}"), vec![], EXCLUSIVE),
                (format!("MOVE {path}"), vec![away.as_str()], ""),
                (format!("COPY {path}"), vec![away.as_str()], ""),
                ("MOVE /dav/page.txt".to_owned(), vec![to.as_str()], ""),
                ("COPY /dav/page.txt".to_owned(), vec![to.as_str(), "Overwrite: T"], ""),
            ] {
                let answer = ask(&mut client, &request, &fields, body);
                assert!(matches!(answer.status, 403..=405 | 409), "{request} {fields:?}: {}", answer.status);
            }
        }
    }
    let listed = multistatus(&ask(&mut client, "PROPFIND /dav/", &["Depth: 1"], ""));
    assert_eq!(listed.iter().map(|told| told.href.as_str()).collect::<Vec<_>>(), ["/dav/", "/dav/page.txt"]);
    // Nor does it go along with the directory that it is in.
    let copied = status(&mut client, "MKCOL /dav/sub/", &[], "");
    assert_eq!((copied, site.read("shared/.medusa-versions/pages/page.txt/x")), (201, "kept".to_owned()));
    assert_eq!(client.get("/dav/page.txt").text(), "new");
}
