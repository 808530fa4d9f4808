//! LOCK and UNLOCK of files (RFC 4918 §6, §7, §9.10, §9.11, §10.4).

use std::fs;

use medusa_testkit::{Response, memory, wait};

use super::{
    EXCLUSIVE, Element, OURS, active_locks, ask, by, condition, credentials, destination, lock, lock_by,
    lock_token, of_users, open, set, shared, shared_names, status,
};
use crate::support::{start, web};

/// What an answer to LOCK says of its lock.
#[track_caller]
fn active(answer: &Response) -> Element {
    let prop = Element::parse(&answer.text());
    assert_eq!(prop.name, "DAV:prop");
    prop.at(&["DAV:lockdiscovery", "DAV:activelock"]).expect("the lock").clone()
}

#[test]
fn a_lock_is_told_as_it_is() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let owner = "<D:owner>ada <b xmlns='n:' c='d'>&amp;</b></D:owner>";
    let body = EXCLUSIVE.replace("<D:owner><D:href>mailto:ada@example.org</D:href></D:owner>", owner);
    let answer =
        ask(&mut client, "LOCK /dav/page.txt", &["Depth: 0", "Timeout: Infinite, Second-4100000000"], &body);
    assert_eq!(answer.status, 200);
    let token = answer.header("lock-token").expect("a token").to_owned();
    assert!(token.starts_with("<urn:uuid:") || token.starts_with("<opaquelocktoken:"), "{token}");
    for told in [active(&answer), active_locks(&mut client, "/dav/page.txt").remove(0)] {
        assert!(told.at(&["DAV:locktype", "DAV:write"]).is_some());
        assert!(told.at(&["DAV:lockscope", "DAV:exclusive"]).is_some());
        assert_eq!(told.child("DAV:depth").expect("its depth").text, "0");
        let own = Element::parse(&format!("<D:prop xmlns:D='DAV:'>{owner}</D:prop>"));
        assert_eq!(told.child("DAV:owner"), own.child("DAV:owner"), "as it was given");
        // None is for ever, whatever was asked.
        let seconds = told
            .child("DAV:timeout")
            .expect("its time")
            .text
            .strip_prefix("Second-")
            .and_then(|n| n.parse().ok());
        assert!(seconds.is_some_and(|seconds: u64| seconds > 0 && seconds <= 7 * 86_400), "{seconds:?}");
        assert_eq!(
            told.at(&["DAV:locktoken", "DAV:href"]).expect("its token").text,
            token.trim_matches(['<', '>'])
        );
        assert!(told.at(&["DAV:lockroot", "DAV:href"]).expect("its root").text.ends_with("/dav/page.txt"));
    }
}

#[test]
fn only_with_the_token_is_a_locked_file_changed() {
    let site = open("").file("shared/other.txt", "other");
    let server = start(&site);
    let (mut client, mut other) = (server.connect(), server.connect());
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    let (away, onto) = (destination("/dav/away"), destination("/dav/page.txt"));
    for (request, fields) in [
        ("PUT /dav/page.txt", vec![]),
        ("DELETE /dav/page.txt", vec![]),
        ("MOVE /dav/page.txt", vec![away.as_str()]),
        ("MOVE /dav/other.txt", vec![onto.as_str()]),
        ("COPY /dav/other.txt", vec![onto.as_str()]),
    ] {
        let refused = ask(&mut other, request, &fields, if request.starts_with("PUT") { "x" } else { "" });
        assert_eq!(
            (refused.status, condition(&refused).as_str()),
            (423, "DAV:lock-token-submitted"),
            "{request}"
        );
        let told = Element::parse(&refused.text());
        let href = told.at(&["DAV:lock-token-submitted", "DAV:href"]).expect("what is locked");
        assert!(href.text.ends_with("/dav/page.txt"), "{}", href.text);
    }
    assert_eq!(set(&mut other, "/dav/page.txt", &[], "colour", "blue"), 423);
    // A token that is not its own is none.
    let wrong = "<urn:uuid:00000000-0000-0000-0000-000000000000>";
    assert!(matches!(status(&mut other, "PUT /dav/page.txt", &[&by(wrong)], "x"), 412 | 423));
    assert_eq!(status(&mut other, "PUT /dav/page.txt", &["If: (Not <DAV:no-lock>)"], "x"), 423);
    // Reading needs none.
    assert_eq!(other.get("/dav/page.txt").text(), "the first page");
    assert_eq!(status(&mut other, "PROPFIND /dav/page.txt", &["Depth: 0"], ""), 207);
    assert_eq!(status(&mut other, "COPY /dav/page.txt", &[&destination("/dav/copy.txt")], ""), 201);
    assert_eq!(active_locks(&mut other, "/dav/copy.txt"), []);
    // With it all of that is done. It goes with the file that is removed, not with the one that is moved.
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[&by(&token)], "x"), 204);
    assert_eq!(set(&mut client, "/dav/page.txt", &[&by(&token)], "colour", "blue"), 200);
    assert_eq!(
        status(&mut client, "COPY /dav/other.txt", &[&onto, &by(&token)], ""),
        412,
        "it is not locked by that"
    );
    let tagged = format!("If: <http://test/dav/page.txt> ({token})");
    assert_eq!(status(&mut client, "COPY /dav/other.txt", &[&onto, &tagged], ""), 204);
    assert_eq!(active_locks(&mut client, "/dav/page.txt").len(), 1, "what is overwritten stays locked");
    assert_eq!(status(&mut client, "MOVE /dav/page.txt", &[&away, &by(&token)], ""), 201);
    assert_eq!(active_locks(&mut client, "/dav/away"), []);
    assert_eq!(status(&mut other, "PUT /dav/page.txt", &[], "free"), 201);
}

#[test]
fn a_lock_ends_by_unlock() {
    let site = open("");
    let server = start(&site);
    let token = lock(&mut server.connect(), "/dav/page.txt", &["Depth: 0"]);
    assert_eq!(status(&mut server.connect(), "UNLOCK /dav/page.txt", &[], ""), 400);
    for other in ["<urn:uuid:00000000-0000-0000-0000-000000000000>", "<opaquelocktoken:x>"] {
        let refused = ask(&mut server.connect(), "UNLOCK /dav/page.txt", &[&lock_token(other)], "");
        assert_eq!(
            (refused.status, condition(&refused).as_str()),
            (409, "DAV:lock-token-matches-request-uri")
        );
    }
    assert_eq!(status(&mut server.connect(), "PUT /dav/other.txt", &[], ""), 201);
    assert_eq!(status(&mut server.connect(), "UNLOCK /dav/other.txt", &[&lock_token(&token)], ""), 409);
    assert_eq!(status(&mut server.connect(), "UNLOCK /dav/page.txt", &[&lock_token(&token)], ""), 204);
    assert_eq!(status(&mut server.connect(), "UNLOCK /dav/page.txt", &[&lock_token(&token)], ""), 409);
    assert_eq!(status(&mut server.connect(), "PUT /dav/page.txt", &[], "free"), 204);
    assert_eq!(
        status(&mut server.connect(), "PUT /dav/page.txt", &[&by(&token)], "x"),
        412,
        "it locks nothing any more"
    );
}

#[test]
fn a_lock_is_renewed_or_ends_by_itself() {
    let site = open("");
    let server = start(&site);
    let token = lock(&mut server.connect(), "/dav/page.txt", &["Timeout: Second-600"]);
    let renewed = ask(&mut server.connect(), "LOCK /dav/page.txt", &[&by(&token), "Timeout: Second-1"], "");
    assert_eq!((renewed.status, renewed.header("lock-token")), (200, None));
    assert_eq!(active(&renewed).child("DAV:timeout").expect("its time").text, "Second-1");
    wait::until("its time is over", || {
        (status(&mut server.connect(), "PUT /dav/page.txt", &[], "free") == 204).then_some(())
    });
    assert_eq!(active_locks(&mut server.connect(), "/dav/page.txt"), []);
    // Too late.
    assert_eq!(status(&mut server.connect(), "LOCK /dav/page.txt", &[&by(&token)], ""), 412);
    assert_eq!(
        status(&mut server.connect(), "LOCK /dav/page.txt", &[], ""),
        400,
        "neither a new one nor an old one"
    );
    for odd in ["Second-", "Second-x", "Second--1", "Hour-1", "Second-99999999999999999999999", ""] {
        let answer =
            ask(&mut server.connect(), "LOCK /dav/page.txt", &[&format!("Timeout: {odd}")], EXCLUSIVE);
        assert!(matches!(answer.status, 200 | 400), "{odd}: {}", answer.status);
        if let Some(token) = answer.header("lock-token") {
            assert_eq!(status(&mut server.connect(), "UNLOCK /dav/page.txt", &[&lock_token(token)], ""), 204);
        }
    }
}

#[test]
fn several_share_a_lock_and_one_excludes_the_others() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let first = lock_by(&mut client, "/dav/page.txt", &["Depth: 0"], &shared());
    let second = lock_by(&mut client, "/dav/page.txt", &["Depth: 0"], &shared());
    assert_ne!(first, second);
    let refused = ask(&mut client, "LOCK /dav/page.txt", &[], EXCLUSIVE);
    assert_eq!((refused.status, condition(&refused).as_str()), (423, "DAV:no-conflicting-lock"));
    assert_eq!(active_locks(&mut client, "/dav/page.txt").len(), 2);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "x"), 423);
    for token in [&first, &second] {
        assert_eq!(status(&mut client, "PUT /dav/page.txt", &[&by(token)], "x"), 204);
        assert_eq!(status(&mut client, "UNLOCK /dav/page.txt", &[&lock_token(token)], ""), 204);
    }
    let alone = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    for body in [EXCLUSIVE, &shared()] {
        assert_eq!(status(&mut client, "LOCK /dav/page.txt", &[], body), 423);
        assert_eq!(
            status(&mut client, "LOCK /dav/page.txt", &[&by(&alone)], body),
            423,
            "nor by its own token"
        );
    }
}

#[test]
fn a_lock_is_its_owners() {
    let site = of_users();
    let server = start(&site);
    let (mut alice, mut bob) = (server.connect(), server.connect());
    let (as_alice, as_bob) = (credentials("alice"), credentials("bob"));
    let token = lock(&mut alice, "/dav/page.txt", &[&as_alice]);
    // Everybody sees the token (RFC 4918 §6.8).
    assert_eq!(status(&mut bob, "PROPFIND /dav/page.txt", &[&as_bob, "Depth: 0"], ""), 207);
    assert!(matches!(status(&mut bob, "PUT /dav/page.txt", &[&as_bob, &by(&token)], "x"), 403 | 412 | 423));
    assert!(matches!(
        status(&mut bob, "UNLOCK /dav/page.txt", &[&as_bob, &lock_token(&token)], ""),
        403 | 409
    ));
    assert!(matches!(status(&mut bob, "LOCK /dav/page.txt", &[&as_bob, &by(&token)], ""), 403 | 412 | 423));
    assert!(matches!(status(&mut bob, "DELETE /dav/page.txt", &[&as_bob, &by(&token)], ""), 403 | 412 | 423));
    assert_eq!(site.read("shared/page.txt"), "the first page");
    assert_eq!(status(&mut alice, "PUT /dav/page.txt", &[&as_alice, &by(&token)], "mine"), 204);
    assert_eq!(status(&mut alice, "UNLOCK /dav/page.txt", &[&as_alice, &lock_token(&token)], ""), 204);
    assert_eq!(status(&mut bob, "PUT /dav/page.txt", &[&as_bob], "ours"), 204);
}

#[test]
fn an_unmapped_name_becomes_an_empty_file() {
    let site = open("");
    let server = start(&site);
    let answer = ask(&mut server.connect(), "LOCK /dav/new.txt", &["Depth: 0"], EXCLUSIVE);
    assert_eq!(answer.status, 201);
    let token = answer.header("lock-token").expect("a token").to_owned();
    let made = server.get("/dav/new.txt");
    assert_eq!((made.status, made.body.len(), site.read("shared/new.txt").as_str()), (200, 0, ""));
    assert_eq!(status(&mut server.connect(), "PUT /dav/new.txt", &[], "x"), 423);
    assert_eq!(status(&mut server.connect(), "MKCOL /dav/new.txt", &[&by(&token)], ""), 405);
    assert_eq!(status(&mut server.connect(), "UNLOCK /dav/new.txt", &[&lock_token(&token)], ""), 204);
    assert_eq!(shared_names(&site), ["new.txt", "page.txt"], "it stays (§7.3)");
    assert!(matches!(status(&mut server.connect(), "LOCK /dav/none/", &[], EXCLUSIVE), 201 | 404 | 409));
    for (body, expected) in [
        ("<lockinfo xmlns='DAV:'/>", 400),
        ("<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:exclusive/></D:lockscope></D:lockinfo>", 400),
        (&EXCLUSIVE.replace("D:exclusive", "D:private"), 400),
        (&EXCLUSIVE.replace("D:write", "D:read"), 400),
        ("<propfind xmlns='DAV:'/>", 400),
    ] {
        let got = status(&mut server.connect(), "LOCK /dav/other.txt", &[], body);
        assert!(got == expected || got == 422, "{got}: {body}");
    }
    assert_eq!(status(&mut server.connect(), "LOCK /dav/other.txt", &["Depth: 1"], EXCLUSIVE), 400);
    assert!(!site.at("shared/other.txt").exists());
}

#[test]
fn a_reload_keeps_locks() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    server.reload();
    server.eval("web:mount('/x', function() return 'x' end)");
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "x"), 423);
    assert_eq!(status(&mut server.connect(), "PUT /dav/page.txt", &[&by(&token)], "x"), 204);
    assert_eq!(status(&mut client, "UNLOCK /dav/page.txt", &[&lock_token(&token)], ""), 204);
}

/// What is changed is what is read: the directory that has the name now, and its locks.
#[test]
fn a_directory_is_the_one_that_has_the_name() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "the second page"), 204);
    fs::rename(site.at("shared"), site.at("renamed")).expect("renamed");
    site.write("shared/page.txt", "the page of others");
    site.write("shared/others.txt", "kept");
    site.write("site.luau", site.read("site.luau").replace("'shared'", "'renamed'"));
    server.reload();
    let seen = ask(&mut client, "PROPFIND /dav/", &["Depth: 1"], "").text();
    assert!(!seen.contains("others.txt"), "{seen}");
    assert_eq!(status(&mut client, "DELETE /dav/page.txt", &[], ""), 204);
    assert_eq!(status(&mut client, "DELETE /dav/others.txt", &[], ""), 404);
    assert_eq!(
        (site.read("shared/page.txt"), site.read("shared/others.txt")),
        ("the page of others".into(), "kept".into())
    );
    assert!(!site.at("renamed/page.txt").exists());
    // One that is put in its place is another, and a lock of it is one by whatever mount.
    fs::rename(site.at("renamed"), site.at("old")).expect("renamed");
    site.write("renamed/page.txt", "new");
    server.eval("web:mount('/too/', medusa.handler.dav('renamed', { litter = false }))");
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    assert_eq!(status(&mut client, "PUT /too/page.txt", &[], "x"), 423);
    assert_eq!(status(&mut client, "PUT /too/page.txt", &[&by(&token)], "x"), 204);
}

/// A name that leads elsewhere by and by leads there for who publishes, too.
#[test]
fn a_link_to_a_directory_leads_where_it_leads_now() {
    for handler in ["dav", "put"] {
        let site = web(&format!(
            "for _, name in {{ 'cur', 'v1' }} do web:mount(`/{{name}}/`, medusa.handler.{handler}(name)) end"
        ))
        .file("v1/page.txt", "1")
        .file("v2/page.txt", "2");
        std::os::unix::fs::symlink("v1", site.at("cur")).expect("a link");
        let server = start(&site);
        fs::remove_file(site.at("cur")).expect("removed");
        std::os::unix::fs::symlink("v2", site.at("cur")).expect("a link");
        let mut client = server.connect();
        assert_eq!(status(&mut client, "PUT /v1/page.txt", &[], "one"), 204, "{handler}");
        assert_eq!(status(&mut client, "PUT /cur/page.txt", &[], "two"), 204, "{handler}");
        assert_eq!((site.read("v1/page.txt"), site.read("v2/page.txt")), ("one".into(), "two".into()));
        assert_eq!(status(&mut client, "DELETE /v1/page.txt", &[], ""), 204, "{handler}");
        assert!(site.at("v2/page.txt").exists() && !site.at("v1/page.txt").exists(), "{handler}");
    }
}

/// A directory in two mounts has one set of locks.
#[test]
fn a_lock_holds_by_whatever_way() {
    let site = open("");
    site.write(
        "site.luau",
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/dav/', medusa.handler.dav('shared'))
        web:mount('/again/', medusa.handler.dav('shared', { versions = 3 }))",
    );
    let server = start(&site);
    let mut client = server.connect();
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    assert_eq!(status(&mut client, "PUT /again/page.txt", &[], "x"), 423);
    assert_eq!(set(&mut client, "/dav/page.txt", &[&by(&token)], "colour", "blue"), 200);
    let name = format!("{OURS}colour");
    assert_eq!(super::find(&mut client, "/again/page.txt", &[&name]).text(&name), "blue");
    assert_eq!(status(&mut client, "PUT /again/page.txt", &[&by(&token)], "x"), 204);
}

#[test]
fn conditions_of_all_shapes_are_understood_or_refused() {
    let site = open("");
    let server = start(&site);
    let etag = server.get("/dav/page.txt").header("etag").expect("a tag").to_owned();
    let put = |value: &str| status(&mut server.connect(), "PUT /dav/none/x", &[&format!("If: {value}")], "x");
    for malformed in [
        "",
        "(",
        "()",
        "(<urn:x)",
        "<urn:x>",
        "(Not)",
        "(Not Not <urn:x>)",
        "x",
        "([\"x)",
        "(<urn:x>) x",
        "<http://test/dav/a>",
        "<http://test/dav/a> (<urn:x>) <",
        "[\"x\"]",
        "((<urn:x>))",
    ] {
        assert_eq!(put(malformed), 400, "{malformed}");
    }
    let many = "(<urn:x>) ".repeat(1000);
    assert!(matches!(put(&many), 400 | 412 | 431));
    for (condition, holds) in [
        (format!("([{etag}])"), true),
        (format!("([{etag}] Not <DAV:no-lock>)"), true),
        ("([\"other\"])".to_owned(), false),
        ("([\"other\"]) (Not <DAV:no-lock>)".to_owned(), true),
        (format!("(Not [{etag}])"), false),
        (format!("<http://test/dav/page.txt> ([{etag}])"), true),
        (format!("</dav/page.txt> ([{etag}])"), true),
        ("</dav/page.txt> ([\"other\"])".to_owned(), false),
        (format!("</dav/none> ([{etag}])"), false),
        ("<http://elsewhere.example/> (<urn:x>) <http://test/dav/page.txt> (Not <urn:x>)".to_owned(), true),
        ("(<DAV:no-lock>)".to_owned(), false),
    ] {
        // What is read is judged by them as well (§10.4.1).
        let got = status(
            &mut server.connect(),
            "PROPPATCH /dav/page.txt",
            &[&format!("If: {condition}")],
            format!(
                "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='{OURS}'/></prop></set></propertyupdate>"
            ),
        );
        assert_eq!(got, if holds { 207 } else { 412 }, "{condition}");
    }
}

/// One who locks and locks is refused at some point, and nobody else notices.
#[test]
fn there_are_only_so_many_locks() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let before = memory::resident(server.pid());
    let body = shared().replace("mailto:ada@example.org", &"x".repeat(3000));
    let mut tokens = Vec::new();
    let refused = (0..20_000).find_map(|_| {
        let answer = ask(&mut client, "LOCK /dav/page.txt", &["Depth: 0"], &body);
        match answer.header("lock-token") {
            Some(token) => tokens.push(token.to_owned()),
            None => return Some(answer),
        }
        None
    });
    let refused = refused.expect("no more than 20,000");
    assert!(matches!(refused.status, 403 | 413 | 429 | 503 | 507), "{}", refused.status);
    assert!(memory::resident(server.pid()) < before + (32 << 20));
    // Each renewal says all of them, or not; either way it is bounded.
    assert!(refused.body.len() < 10_000);
    let mut other = server.connect();
    assert_eq!(status(&mut other, "PUT /dav/other.txt", &[], "x"), 201);
    assert_eq!(status(&mut client, "UNLOCK /dav/page.txt", &[&lock_token(&tokens[0])], ""), 204);
    assert!(ask(&mut client, "LOCK /dav/page.txt", &["Depth: 0"], &body).header("lock-token").is_some());
    assert_eq!(status(&mut client, "DELETE /dav/page.txt", &[&by(&tokens[1])], ""), 204);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "x"), 201, "they went with the file");
}
