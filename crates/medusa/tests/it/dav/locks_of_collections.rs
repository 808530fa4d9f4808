//! Locks of directories, and of what is in them (RFC 4918 §7.4 to §7.7, §9.6.1, §9.10.3).

use medusa_testkit::{Server, Site};

use super::{
    EXCLUSIVE, Element, active_locks, ask, by, condition, destination, lock, lock_token, multistatus, open,
    set, status,
};
use crate::support::start;

fn tree() -> (Site, Server) {
    let site =
        open("").file("shared/d/a.txt", "a").file("shared/d/e/b.txt", "b").file("shared/out.txt", "out");
    let server = start(&site);
    (site, server)
}

#[test]
fn a_deep_lock_holds_for_all_that_is_in_it() {
    let (site, server) = tree();
    let mut client = server.connect();
    // Infinite is what it is where nothing is said.
    let token = lock(&mut client, "/dav/d/", &[]);
    let tagged = format!("If: <http://test/dav/d/> ({token})");
    for path in ["/dav/d/", "/dav/d/a.txt", "/dav/d/e/", "/dav/d/e/b.txt"] {
        let locks = active_locks(&mut client, path);
        assert_eq!(locks.len(), 1, "{path}");
        assert_eq!(locks[0].child("DAV:depth").expect("its depth").text, "infinity");
        assert!(
            locks[0].at(&["DAV:lockroot", "DAV:href"]).expect("its root").text.ends_with("/dav/d/"),
            "{path}"
        );
    }
    for (request, body) in [
        ("PUT /dav/d/a.txt", "x"),
        ("PUT /dav/d/new.txt", "x"),
        ("PUT /dav/d/e/b.txt", "x"),
        ("MKCOL /dav/d/new/", ""),
        ("DELETE /dav/d/e/b.txt", ""),
        ("DELETE /dav/d/e/", ""),
        ("DELETE /dav/d/", ""),
        ("LOCK /dav/d/e/b.txt", EXCLUSIVE),
        ("LOCK /dav/d/new.txt", EXCLUSIVE),
    ] {
        let refused = ask(&mut client, request, &["Depth: infinity"], body);
        assert_eq!(refused.status, 423, "{request}");
        let expected = if body == EXCLUSIVE { "DAV:no-conflicting-lock" } else { "DAV:lock-token-submitted" };
        assert_eq!(condition(&refused), expected, "{request}");
    }
    for to in ["/dav/d/x", "/dav/d/a.txt", "/dav/d/e/x"] {
        for method in ["COPY", "MOVE"] {
            assert_eq!(
                status(&mut client, &format!("{method} /dav/out.txt"), &[&destination(to)], ""),
                423,
                "{to}"
            );
        }
    }
    assert_eq!(status(&mut client, "MOVE /dav/d/a.txt", &[&destination("/dav/x")], ""), 423);
    assert_eq!(set(&mut client, "/dav/d/e/b.txt", &[], "colour", "blue"), 423);
    // The token counts for each of them, said of it or of the directory.
    assert_eq!(status(&mut client, "PUT /dav/d/a.txt", &[&by(&token)], "aa"), 204);
    assert_eq!(status(&mut client, "PUT /dav/d/new.txt", &[&tagged], "new"), 201);
    assert_eq!(status(&mut client, "PUT /dav/d/e/new.txt", &[&by(&token)], "new"), 201);
    assert_eq!(active_locks(&mut client, "/dav/d/e/new.txt").len(), 1, "what comes is locked, too");
    assert_eq!(status(&mut client, "MOVE /dav/out.txt", &[&destination("/dav/d/in.txt"), &tagged], ""), 201);
    assert_eq!(active_locks(&mut client, "/dav/d/in.txt").len(), 1);
    assert_eq!(
        status(&mut client, "MOVE /dav/d/in.txt", &[&destination("/dav/out.txt"), &by(&token)], ""),
        201
    );
    assert_eq!(active_locks(&mut client, "/dav/out.txt"), []);
    assert_eq!(status(&mut client, "DELETE /dav/d/e/", &[&tagged], ""), 204);
    // It is renewed, and ended, by any of them.
    assert_eq!(status(&mut client, "LOCK /dav/d/a.txt", &[&by(&token)], ""), 200);
    assert_eq!(status(&mut client, "UNLOCK /dav/d/a.txt", &[&lock_token(&token)], ""), 204);
    assert_eq!(status(&mut client, "PUT /dav/d/a.txt", &[], "free"), 204);
    assert_eq!(site.read("shared/out.txt"), "out");
}

#[test]
fn a_shallow_lock_holds_for_the_names_in_it() {
    let (_site, server) = tree();
    let mut client = server.connect();
    let token = lock(&mut client, "/dav/d/", &["Depth: 0"]);
    let tagged = format!("If: <http://test/dav/d/> ({token})");
    assert_eq!(active_locks(&mut client, "/dav/d/a.txt"), []);
    // What a file holds is no matter of the directory (§7.4).
    assert_eq!(status(&mut client, "PUT /dav/d/a.txt", &[], "changed"), 204);
    assert_eq!(set(&mut client, "/dav/d/a.txt", &[], "colour", "blue"), 200);
    assert_eq!(status(&mut client, "PUT /dav/d/e/new.txt", &[], "x"), 201);
    for (request, body) in [
        ("PUT /dav/d/new.txt", "x"),
        ("MKCOL /dav/d/new/", ""),
        ("DELETE /dav/d/a.txt", ""),
        ("DELETE /dav/d/e/", ""),
        ("DELETE /dav/d/", ""),
        ("LOCK /dav/d/new.txt", EXCLUSIVE),
    ] {
        assert_eq!(status(&mut client, request, &[], body), 423, "{request}");
    }
    assert_eq!(status(&mut client, "MOVE /dav/d/a.txt", &[&destination("/dav/x")], ""), 423);
    assert_eq!(status(&mut client, "COPY /dav/out.txt", &[&destination("/dav/d/x")], ""), 423);
    assert_eq!(set(&mut client, "/dav/d/", &[], "colour", "blue"), 423);
    assert_eq!(status(&mut client, "PUT /dav/d/new.txt", &[&tagged], "x"), 201);
    assert_eq!(status(&mut client, "DELETE /dav/d/a.txt", &[&tagged], ""), 204);
    let own = lock(&mut client, "/dav/d/new.txt", &["Depth: 0"]);
    assert_eq!(status(&mut client, "PUT /dav/d/new.txt", &[&tagged], "x"), 423, "that is another lock");
    assert_eq!(status(&mut client, "DELETE /dav/d/new.txt", &[&by(&own)], ""), 423, "that is one of two");
    let both = format!("If: <http://test/dav/d/> ({token}) <http://test/dav/d/new.txt> ({own})");
    assert_eq!(status(&mut client, "DELETE /dav/d/new.txt", &[&both], ""), 204);
}

#[test]
fn what_is_locked_within_is_in_the_way() {
    let (site, server) = tree();
    let mut client = server.connect();
    let token = lock(&mut client, "/dav/d/e/b.txt", &["Depth: 0"]);
    // Who wants all of it is told of what he cannot have (§9.10.3).
    let refused = ask(&mut client, "LOCK /dav/d/", &["Depth: infinity"], EXCLUSIVE);
    let told = multistatus(&refused);
    assert!(
        told.iter().any(|told| told.href.ends_with("/dav/d/e/b.txt") && told.status == Some(423)),
        "{told:?}"
    );
    assert_eq!(active_locks(&mut client, "/dav/d/"), []);
    assert_eq!(status(&mut client, "LOCK /dav/d/", &["Depth: 0"], EXCLUSIVE), 200, "that is no conflict");
    let shallow = active_locks(&mut client, "/dav/d/").remove(0);
    let shallow = shallow.at(&["DAV:locktoken", "DAV:href"]).expect("its token").text.clone();
    assert_eq!(status(&mut client, "UNLOCK /dav/d/", &[&lock_token(&format!("<{shallow}>"))], ""), 204);
    for (request, to) in
        [("DELETE /dav/d/", None), ("MOVE /dav/d/", Some("/dav/x/")), ("DELETE /dav/d/e/", None)]
    {
        let to = to.map(destination);
        let refused = ask(&mut client, request, &to.iter().map(String::as_str).collect::<Vec<_>>(), "");
        match refused.status {
            423 => {
                let error = Element::parse(&refused.text());
                let href = error.at(&["DAV:lock-token-submitted", "DAV:href"]).expect("which it is");
                assert!(href.text.ends_with("/dav/d/e/b.txt"), "{request}: {}", href.text);
            }
            207 => {
                let told = multistatus(&refused);
                assert!(
                    told.iter().any(|told| told.href.ends_with("/b.txt") && told.status == Some(423)),
                    "{told:?}"
                );
            }
            other => panic!("{request}: {other}"),
        }
        assert_eq!(site.read("shared/d/e/b.txt"), "b", "{request}");
        assert_eq!(active_locks(&mut client, "/dav/d/e/b.txt").len(), 1, "{request}");
    }
    // A directory is copied with what is locked, which is locked no more there; and not over what is.
    assert_eq!(status(&mut client, "COPY /dav/d/", &[&destination("/dav/x/")], ""), 201);
    assert_eq!(active_locks(&mut client, "/dav/x/e/b.txt"), []);
    let over = ask(&mut client, "COPY /dav/x/", &[&destination("/dav/d/")], "");
    assert!(matches!(over.status, 207 | 423), "{}", over.status);
    assert_eq!(active_locks(&mut client, "/dav/d/e/b.txt").len(), 1);
    let tagged = format!("If: <http://test/dav/d/e/b.txt> ({token})");
    assert_eq!(status(&mut client, "DELETE /dav/d/", &[&tagged], ""), 204);
    assert_eq!(status(&mut client, "MKCOL /dav/d/", &[], ""), 201);
    assert_eq!(status(&mut client, "MKCOL /dav/d/e/", &[], ""), 201);
    assert_eq!(status(&mut client, "PUT /dav/d/e/b.txt", &[], "free"), 201);
}
