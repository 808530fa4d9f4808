//! PROPFIND and PROPPATCH (RFC 4918 §9.1, §9.2, §15).

use medusa_testkit::{Client, Signal};

use super::{
    EXCLUSIVE, Element, OURS, Told, ask, condition, destination, find, lock, multistatus, open, prop_body,
    set, status,
};
use crate::support::{MEDUSA, start, web};

const LIVE: [&str; 9] = [
    "DAV:creationdate",
    "DAV:getcontentlength",
    "DAV:getcontenttype",
    "DAV:getetag",
    "DAV:getlastmodified",
    "DAV:resourcetype",
    "DAV:supportedlock",
    "DAV:lockdiscovery",
    "DAV:displayname",
];

#[track_caller]
fn all_of(client: &mut Client, path: &str, depth: &str, body: &str) -> Vec<Told> {
    multistatus(&ask(client, &format!("PROPFIND {path}"), &[&format!("Depth: {depth}")], body))
}

#[test]
fn live_properties_are_those_of_the_file() {
    let site = open("").file("shared/deep/a.html", "<p>");
    let server = start(&site);
    let mut client = server.connect();
    let told = find(&mut client, "/dav/page.txt", &LIVE);
    let page = client.get("/dav/page.txt");
    for (name, field) in [
        ("DAV:getcontentlength", "content-length"),
        ("DAV:getcontenttype", "content-type"),
        ("DAV:getetag", "etag"),
        ("DAV:getlastmodified", "last-modified"),
    ] {
        assert_eq!(Some(told.text(name)), page.header(field), "{name}");
    }
    let created = told.text("DAV:creationdate");
    assert!(created.starts_with("20") && created.contains('T') && created.ends_with('Z'), "{created}");
    assert!(told.prop("DAV:resourcetype").expect("known").children.is_empty());
    let scopes: Vec<_> = told
        .prop("DAV:supportedlock")
        .expect("known")
        .all("DAV:lockentry")
        .iter()
        .map(|entry| {
            let scope =
                entry.at(&["DAV:lockscope"]).and_then(|scope| scope.children.first()).expect("a scope");
            assert!(entry.at(&["DAV:locktype", "DAV:write"]).is_some());
            scope.name.clone()
        })
        .collect();
    assert!(
        scopes.contains(&"DAV:exclusive".to_owned()) && scopes.contains(&"DAV:shared".to_owned()),
        "{scopes:?}"
    );
    let collection = find(&mut client, "/dav/deep/", &LIVE);
    assert!(collection.is_collection());
    assert_eq!(collection.status_of("DAV:getcontentlength"), Some(404));
    // Of a name without its slash the collection is meant, and its href has one.
    assert_eq!(find(&mut client, "/dav/deep", &LIVE).href, "/dav/deep/");
}

#[test]
fn what_is_asked_for_is_what_is_told() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "colour", "blue"), 200);
    let colour = format!("{OURS}colour");
    let all =
        all_of(&mut client, "/dav/page.txt", "0", "<propfind xmlns='DAV:'><allprop/></propfind>").remove(0);
    let empty = all_of(&mut client, "/dav/page.txt", "0", "").remove(0);
    for told in [&all, &empty] {
        assert_eq!(told.text(&colour), "blue");
        for name in &LIVE[..6] {
            assert!(told.prop(name).is_some(), "{name}");
        }
        assert!(told.props.iter().all(|(status, _)| *status == 200), "{told:?}");
    }
    let named =
        all_of(&mut client, "/dav/page.txt", "0", "<propfind xmlns='DAV:'><propname/></propfind>").remove(0);
    assert!(
        named
            .props
            .iter()
            .all(|(status, prop)| *status == 200 && prop.text.is_empty() && prop.children.is_empty())
    );
    for name in LIVE[..6].iter().copied().chain([colour.as_str()]) {
        assert!(named.prop(name).is_some(), "{name}");
    }
    let some = find(&mut client, "/dav/page.txt", &["DAV:getetag", "DAV:none", &colour, "urn:x:none"]);
    let statuses = ["DAV:getetag", "DAV:none", &colour, "urn:x:none"].map(|name| some.status_of(name));
    assert_eq!(statuses, [Some(200), Some(404), Some(200), Some(404)]);
    assert_eq!(some.props.len(), 4);
    assert_eq!(status(&mut client, "PROPFIND /dav/none", &["Depth: 0"], ""), 404);
    let unseen = status(
        &mut client,
        "PROPFIND /dav/page.txt",
        &["Depth: 0", "Content-Type: text/plain"],
        prop_body(&["DAV:getetag"]),
    );
    assert!(matches!(unseen, 207 | 415), "{unseen}");
}

#[test]
fn depth_says_how_far() {
    let site = open("").file("shared/deep/er/a.txt", "");
    let server = start(&site);
    let hrefs = |told: Vec<Told>| {
        let mut hrefs: Vec<_> = told.into_iter().map(|told| told.href).collect();
        hrefs.sort();
        hrefs
    };
    assert_eq!(hrefs(all_of(&mut server.connect(), "/dav/", "0", "")), ["/dav/"]);
    assert_eq!(
        hrefs(all_of(&mut server.connect(), "/dav/", "1", "")),
        ["/dav/", "/dav/deep/", "/dav/page.txt"]
    );
    assert_eq!(hrefs(all_of(&mut server.connect(), "/dav/deep/", "1", "")), ["/dav/deep/", "/dav/deep/er/"]);
    // What says nothing means all of it.
    for fields in [&["Depth: infinity"][..], &["Depth: Infinity"], &[]] {
        let refused = ask(&mut server.connect(), "PROPFIND /dav/", fields, "");
        assert_eq!(
            (refused.status, condition(&refused).as_str()),
            (403, "DAV:propfind-finite-depth"),
            "{fields:?}"
        );
    }
    for depth in ["2", "-1", "1, 0", "one", ""] {
        assert_eq!(
            status(&mut server.connect(), "PROPFIND /dav/", &[&format!("Depth: {depth}")], ""),
            400,
            "{depth}"
        );
    }
}

#[test]
fn hrefs_lead_to_what_they_name() {
    let names = [
        "a b",
        "a&b<c>",
        "100%",
        "#1",
        "?q",
        "\u{e4}\u{20ac}\u{1d11e}",
        "'\"",
        "a+b",
        "a;b=c",
        "~$x",
        "[1]",
        "c:d",
        ".",
    ];
    let site = names[..12].iter().fold(open(""), |site, name| site.file(&format!("shared/sub/{name}"), name));
    let server = start(&site);
    let mut client = server.connect();
    let told = all_of(&mut client, "/dav/sub/", "1", "");
    assert_eq!(told.len(), 13);
    let mut found: Vec<_> = told[1..].iter().map(|told| client.get(&told.href).text()).collect();
    found.sort();
    let mut expected = names[..12].to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn dead_properties_are_kept_as_they_were_given() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for (name, value, text) in [
        ("plain", "blue", "blue"),
        ("empty", "", ""),
        ("escaped", "&lt;b&gt; &amp;amp; &quot;", "<b> &amp; \""),
        ("high", "&#x1d11e;\u{1d11f}", "\u{1d11e}\u{1d11f}"),
        ("cdata", "<![CDATA[<x>&]]>", "<x>&"),
        ("spaced", "  a\n b ", "  a\n b "),
        ("long", &"x".repeat(5000), &"x".repeat(5000)),
    ] {
        assert_eq!(set(&mut client, "/dav/page.txt", &[], name, value), 200, "{name}");
        assert_eq!(
            find(&mut client, "/dav/page.txt", &[&format!("{OURS}{name}")]).text(&format!("{OURS}{name}")),
            text
        );
    }
    let markup = "a<b xmlns='n:' c='&lt;'>d<e/></b><o:f o:g='h'/>";
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "markup", markup), 200);
    let told = find(&mut client, "/dav/page.txt", &[&format!("{OURS}markup")]);
    let value = told.prop(&format!("{OURS}markup")).expect("set");
    let written = Element::parse(&format!("<o:markup xmlns:o='{OURS}'>{markup}</o:markup>"));
    assert_eq!((&value.children, &value.text), (&written.children, &written.text));
    // The language in scope is a part of the value (§4.3).
    let body = format!(
        "<propertyupdate xmlns='DAV:' xml:lang='de'><set><prop><o:colour xmlns:o='{OURS}'>blau</o:colour></prop></set></propertyupdate>"
    );
    assert_eq!(status(&mut client, "PROPPATCH /dav/page.txt", &[], body), 207);
    let told = find(&mut client, "/dav/page.txt", &[&format!("{OURS}colour")]);
    let colour = told.prop(&format!("{OURS}colour")).expect("set");
    assert_eq!(colour.attributes, [("http://www.w3.org/XML/1998/namespacelang".to_owned(), "de".to_owned())]);
}

#[test]
fn dead_properties_go_where_their_file_goes() {
    let site = open("").file("shared/deep/er/a.txt", "a");
    let state = tempfile::tempdir().expect("a directory");
    let serve = || MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut server = serve();
    let mut client = server.connect();
    let name = format!("{OURS}colour");
    let colour = |client: &mut Client, path: &str| {
        find(client, path, &[&name]).prop(&name).map(|prop| prop.text.clone()).unwrap_or_default()
    };
    for (path, value) in [("/dav/page.txt", "blue"), ("/dav/deep/", "red"), ("/dav/deep/er/a.txt", "green")] {
        assert_eq!(set(&mut client, path, &[], "colour", value), 200);
    }
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "another page"), 204);
    assert_eq!(colour(&mut client, "/dav/page.txt"), "blue");
    assert_eq!(status(&mut client, "COPY /dav/deep/", &[&destination("/dav/copy/")], ""), 201);
    assert_eq!(status(&mut client, "MOVE /dav/deep/", &[&destination("/dav/moved/")], ""), 201);
    server.reload();
    server.signal(Signal::KILL);
    server.wait();
    drop(server);
    let server = serve();
    let mut client = server.connect();
    for tree in ["copy", "moved"] {
        assert_eq!(colour(&mut client, &format!("/dav/{tree}/")), "red");
        assert_eq!(colour(&mut client, &format!("/dav/{tree}/er/a.txt")), "green");
    }
    // What comes to an old name has nothing of what was there.
    assert_eq!(status(&mut client, "MKCOL /dav/deep/", &[], ""), 201);
    assert_eq!(colour(&mut client, "/dav/deep/"), "");
    assert_eq!(status(&mut client, "DELETE /dav/page.txt", &[], ""), 204);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "new"), 201);
    assert_eq!(colour(&mut client, "/dav/page.txt"), "");
    // What is copied over another brings its own and leaves none.
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "other", "x"), 200);
    assert_eq!(status(&mut client, "COPY /dav/copy/er/a.txt", &[&destination("/dav/page.txt")], ""), 204);
    assert_eq!(colour(&mut client, "/dav/page.txt"), "green");
    let other = format!("{OURS}other");
    assert_eq!(find(&mut client, "/dav/page.txt", &[&other]).status_of(&other), Some(404));
    assert_eq!(status(&mut client, "DELETE /dav/copy/", &[], ""), 204);
    assert_eq!(status(&mut client, "COPY /dav/page.txt", &[&destination("/dav/copy")], ""), 201);
    assert_eq!(colour(&mut client, "/dav/copy"), "green");
}

#[test]
fn an_update_is_done_whole_or_not_at_all() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let (colour, size) = (format!("{OURS}colour"), format!("{OURS}size"));
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "size", "old"), 200);
    for protected in [
        "getetag",
        "getcontentlength",
        "getlastmodified",
        "creationdate",
        "resourcetype",
        "supportedlock",
        "lockdiscovery",
        "quota-available-bytes",
        "quota-used-bytes",
    ] {
        let body = format!(
            "<propertyupdate xmlns='DAV:' xmlns:o='{OURS}'><set><prop><o:colour>blue</o:colour></prop></set>
            <remove><prop><o:size/></prop></remove><set><prop><{protected}>1</{protected}></prop></set></propertyupdate>"
        );
        let answer = ask(&mut client, "PROPPATCH /dav/page.txt", &[], body);
        let told = multistatus(&answer).remove(0);
        let statuses = [&colour, &size, &format!("DAV:{protected}")].map(|name| told.status_of(name));
        assert_eq!(statuses, [Some(424), Some(424), Some(403)], "{protected}");
        assert!(answer.text().contains("cannot-modify-protected-property"), "{}", answer.text());
        let found = find(&mut client, "/dav/page.txt", &[&colour, &size]);
        assert_eq!((found.status_of(&colour), found.text(&size)), (Some(404), "old"));
    }
    // In the order in which it is written.
    let body = format!(
        "<propertyupdate xmlns='DAV:' xmlns:o='{OURS}'><set><prop><o:colour>a</o:colour></prop></set>
        <remove><prop><o:colour/></prop></remove><set><prop><o:colour>b</o:colour></prop></set></propertyupdate>"
    );
    assert_eq!(status(&mut client, "PROPPATCH /dav/page.txt", &[], body), 207);
    assert_eq!(find(&mut client, "/dav/page.txt", &[&colour]).text(&colour), "b");
    assert_eq!(set(&mut client, "/dav/none.txt", &[], "colour", "blue"), 404);
}

/// Whoever is let in cannot fill the disk, or the memory of those who ask.
#[test]
fn there_are_only_so_many_properties() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    let value = "x".repeat(30_000);
    let refused = (0..2000).find_map(|number| {
        let status = set(&mut client, "/dav/page.txt", &[], &format!("p{number}"), &value);
        (status != 200).then_some(status)
    });
    assert!(matches!(refused, Some(403 | 413 | 507)), "{refused:?} after 60 MB");
    let mut other = server.connect();
    assert_eq!(status(&mut other, "PUT /dav/other.txt", &[], "other"), 201);
    assert_eq!(
        set(&mut other, "/dav/other.txt", &[], "colour", "blue"),
        200,
        "one file's are not all there may be"
    );
    assert_eq!(all_of(&mut other, "/dav/", "1", "").len(), 3);
    assert_eq!(status(&mut client, "DELETE /dav/page.txt", &[], ""), 204);
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "new"), 201);
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "colour", "blue"), 200);
}

#[test]
fn how_much_room_there_is_is_told() {
    let site = open("quota = 1000000");
    let server = start(&site);
    let mut client = server.connect();
    let room = |client: &mut Client, name: &str| -> u64 {
        find(client, "/dav/", &[name]).text(name).parse().expect("a number")
    };
    let before = room(&mut client, "DAV:quota-available-bytes");
    assert!(before < 1_000_000 && before > 900_000, "{before}");
    assert_eq!(status(&mut client, "PUT /dav/a", &[], vec![b'x'; 300_000]), 201);
    let (used, available) =
        (room(&mut client, "DAV:quota-used-bytes"), room(&mut client, "DAV:quota-available-bytes"));
    assert!(used >= 300_000 && available <= before - 300_000, "{used} {available}");
    // None is told among all: it costs, and nobody has asked (RFC 4331 §2).
    let all = all_of(&mut client, "/dav/", "0", "<propfind xmlns='DAV:'><allprop/></propfind>").remove(0);
    assert_eq!(all.status_of("DAV:quota-available-bytes"), None);
}

/// What has a mount of its own beside this one sees what is changed here at once.
#[test]
fn others_that_serve_the_directory_see_it_change() {
    let site = web("web:mount('/dav/', medusa.handler.dav('shared'))
        web:mount('/', medusa.handler.files('shared'))")
    .file("shared/page.txt", "0");
    let server = start(&site);
    let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for round in 0..40 {
        let content = round.to_string();
        assert_eq!(status(&mut clients[round % 4], "PUT /dav/new.txt", &[], &content), 201);
        let moved =
            status(&mut clients[round % 3], "MOVE /dav/new.txt", &[&destination("/dav/page.txt")], "");
        assert_eq!(moved, 204);
        for client in &mut clients {
            assert_eq!(
                (client.get("/page.txt").text(), client.get("/new.txt").status),
                (content.clone(), 404)
            );
        }
    }
    let token = lock(&mut clients[0], "/dav/locked.txt", &[]);
    assert_eq!(status(&mut clients[1], "LOCK /dav/locked.txt", &[], EXCLUSIVE), 423, "{token}");
    assert_eq!(clients[2].get("/locked.txt").status, 200);
}

/// What one client says of a file is read by all others, some of which take a document for broken where a name in it is.
#[test]
fn nobody_makes_a_list_unreadable() {
    let site = open("");
    let server = start(&site);
    for (property, may_be) in [
        ("<x xmlns='n:' xmlns:a='m:' xmlns:b='m:' a:c='1' b:c='2'/>", false),
        ("<x xmlns='n:'><y xmlns:a='m:' xmlns:b='m:' a:c='1' b:c='2'/></x>", false),
        ("<xml:x/>", false),
        ("<x xmlns='http://www.w3.org/XML/1998/namespace'/>", false),
        ("<x xmlns='http://www.w3.org/2000/xmlns/'/>", false),
        ("<xmlns:x/>", false),
        ("<\u{2190} xmlns='n:'/>", false),
        ("<\u{d7} xmlns='n:'/>", false),
        ("<a\u{2028} xmlns='n:'/>", false),
        ("<x xmlns='n:' \u{2190}='1'/>", false),
        ("<x:y:z xmlns:x='n:'/>", false),
        ("<x xmlns='n:'>]]&gt;&#13;</x>", true),
        ("<x xmlns='n:' a='&#10;&lt;&quot;'/>", true),
        ("<x xmlns='&lt;&quot;&amp;'/>", true),
        ("<\u{e4}\u{b7}1 xmlns='n:'/>", true),
        ("<x xmlns='n:' xml:space='preserve'>  </x>", true),
        ("<o:x xmlns:o='n:' o:a='1' a='2'/>", true),
        ("<x xmlns=''/>", true),
    ] {
        let body = format!(
            "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{property}</D:prop></D:set></D:propertyupdate>"
        );
        let got = status(&mut server.connect(), "PROPPATCH /dav/page.txt", &[], body);
        assert!(got == 400 || (got == 207 && may_be), "{property}: {got}");
        // Read strictly, that panics where it cannot be read.
        for body in ["", "<propfind xmlns='DAV:'><propname/></propfind>"] {
            all_of(&mut server.connect(), "/dav/", "1", body);
        }
    }
}
