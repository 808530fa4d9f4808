//! What Microsoft Office sends when a document is opened from a URL and saved.

use medusa_testkit::{Client, Response};

use super::{Element, ask, by, find, lock_token, multistatus, open, prop_body, status, versions};
use crate::support::{start, web};

const LOCK: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" ?><D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype><D:owner><D:href>Ada Lovelace</D:href></D:owner></D:lockinfo>";

#[track_caller]
fn word(client: &mut Client, request: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Response {
    let all = [
        "User-Agent: Microsoft Office Word 2014",
        "X-Office-Major-Version: 16",
        "X-MS-CookieUri-Requested: t",
    ];
    let all: Vec<&str> = all.iter().chain(fields).copied().collect();
    ask(client, request, &all, body)
}

#[test]
fn a_document_is_opened_and_saved() {
    let site = open("").file("shared/plan.docx", "the plan");
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/dav/", "/dav/plan.docx"] {
        let options = word(&mut client, &format!("OPTIONS {path}"), &["X-MSGETWEBURL: t"], "");
        assert_eq!(options.header("ms-author-via"), Some("DAV"), "it would be opened for reading only");
        assert!(options.header("dav").expect("classes").contains('2'));
    }
    let head = word(&mut client, "HEAD /dav/plan.docx", &[], "");
    assert_eq!((head.status, head.header("content-length")), (200, Some("8")));
    let locked = word(&mut client, "LOCK /dav/plan.docx", &["Depth: 0", "Timeout: Second-3600"], LOCK);
    assert_eq!(locked.status, 200);
    let token = locked.header("lock-token").expect("a token").to_owned();
    let active = Element::parse(&locked.text());
    let active = active.at(&["DAV:lockdiscovery", "DAV:activelock"]).expect("the lock");
    assert_eq!(active.at(&["DAV:owner", "DAV:href"]).expect("whom others are told of").text, "Ada Lovelace");
    // Of a locked one everybody may know, and read.
    let page = word(&mut client, "GET /dav/plan.docx", &[], "");
    assert_eq!((page.status, page.text().as_str()), (200, "the plan"));
    let etag = page.header("etag").expect("a tag").to_owned();
    let told = multistatus(&word(
        &mut client,
        "PROPFIND /dav/plan.docx",
        &["Depth: 0"],
        prop_body(&["DAV:lockdiscovery"]),
    ));
    assert_eq!(told[0].prop("DAV:lockdiscovery").expect("known").children.len(), 1);
    // Another who opens it is told that it is locked, and by whom.
    let mut other = server.connect();
    let refused = word(&mut other, "LOCK /dav/plan.docx", &["Depth: 0"], LOCK.replace("Ada Lovelace", "Bob"));
    assert_eq!(refused.status, 423);
    let put = word(&mut client, "PUT /dav/plan.docx", &[&by(&token)], "the better plan");
    assert_eq!(put.status, 204, "{}", put.text());
    let saved =
        format!("If: (<{}> [{}])", token.trim_matches(['<', '>']), put.header("etag").expect("the new tag"));
    let renewed = word(&mut client, "LOCK /dav/plan.docx", &[&by(&token), "Timeout: Second-3600"], "");
    assert_eq!(renewed.status, 200);
    assert_eq!(word(&mut client, "PUT /dav/plan.docx", &[&saved], "the best plan").status, 204);
    // Who has read an older one than is there overwrites nothing.
    let stale = format!("If: ({token} [{etag}])");
    assert_eq!(word(&mut client, "PUT /dav/plan.docx", &[&stale], "the first plan").status, 412);
    assert_eq!(word(&mut client, "UNLOCK /dav/plan.docx", &[&lock_token(&token)], "").status, 204);
    assert_eq!(client.get("/dav/plan.docx").text(), "the best plan");
    assert_eq!(versions(&server, "plan.docx"), [15, 8]);
}

#[test]
fn its_temporary_files_come_and_go() {
    let site = open("").file("shared/plan.docx", "the plan");
    let server = start(&site);
    let mut client = server.connect();
    for (path, to) in [
        ("/dav/~$plan.docx", None),
        ("/dav/~WRD0000.tmp", Some("/dav/plan.docx")),
        ("/dav/.~lock.plan.odt%23", None),
    ] {
        assert_eq!(word(&mut client, &format!("PUT {path}"), &[], "something").status, 201, "{path}");
        match to {
            None => assert_eq!(word(&mut client, &format!("DELETE {path}"), &[], "").status, 204),
            Some(to) => {
                let to = format!("Destination: {}", server.url(to));
                assert_eq!(word(&mut client, &format!("MOVE {path}"), &[&to], "").status, 204);
            }
        }
    }
    assert_eq!(client.get("/dav/plan.docx").text(), "something");
    assert_eq!(super::shared_names(&site), ["page.txt", "plan.docx"]);
}

/// Office up to 2010 asks at the root of the site and at every directory on the way, and gives up where one says no.
#[test]
fn the_directories_above_the_mount_are_asked() {
    let site =
        web("web:mount('/', medusa.handler.dav('shared'))").file("shared/team/docs/plan.docx", "the plan");
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/", "/team/", "/team", "/team/docs/"] {
        let options = word(&mut client, &format!("OPTIONS {path}"), &[], "");
        assert!(matches!(options.status, 200 | 204), "{path}: {}", options.status);
        assert_eq!(
            (options.header("ms-author-via"), options.header("dav").is_some()),
            (Some("DAV"), true),
            "{path}"
        );
        assert!(find(&mut client, path, &["DAV:resourcetype"]).is_collection(), "{path}");
    }
    // Where another handler is mounted there, an empty directory answers for what it does not.
    let site = web("web:mount('/', medusa.handler.files('public'))
        web:mount('/a/dav/', medusa.handler.dav('shared'))
        local above = medusa.handler.dav('nothing', { quota = 1 })
        web:mount('OPTIONS,PROPFIND /{$}', above)
        web:mount('OPTIONS,PROPFIND /a/{$}', above)")
    .file("public/index.html", "home")
    .file("nothing/.keep", "")
    .file("shared/plan.docx", "the plan");
    let server = start(&site);
    let mut client = server.connect();
    for path in ["/", "/a/"] {
        let options = word(&mut client, &format!("OPTIONS {path}"), &[], "");
        assert_eq!(
            (options.header("ms-author-via"), options.header("dav").is_some()),
            (Some("DAV"), true),
            "{path}"
        );
        let told = find(&mut client, path, &["DAV:resourcetype"]);
        assert_eq!((told.is_collection(), told.href.as_str()), (true, path));
        assert_eq!(status(&mut client, &format!("PUT {path}x"), &[], "x"), 405);
    }
    assert_eq!(client.get("/").text(), "home");
    assert_eq!(client.get("/a/dav/plan.docx").text(), "the plan");
}
