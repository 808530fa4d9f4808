//! The handler by its methods, in sequences as clients send them.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use medusa_dav::{Dav, DavOptions};
use medusa_files::{OwnKind, OwnPath};
use medusa_http::handlers::put::PutOptions;
use medusa_http::store::{PagePath, Store, StoreOptions};
use medusa_http::{Body, Handler as _, Head, Request, RequestBody, Response};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

const EXCLUSIVE: &str = "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:exclusive/></D:lockscope>\
    <D:locktype><D:write/></D:locktype><D:owner><D:href>me</D:href></D:owner></D:lockinfo>";
const SHARED: &str = "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:shared/></D:lockscope>\
    <D:locktype><D:write/></D:locktype></D:lockinfo>";

/// A directory that is mounted at `/dav/`.
struct Mounted {
    root: TempDir,
    dav: Dav,
}

#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    text: String,
    /// The pieces that the body came in.
    pieces: Vec<usize>,
}

impl Mounted {
    fn new() -> Self {
        Self::with(DavOptions::default())
    }

    fn with(options: DavOptions) -> Self {
        let root = TempDir::new().expect("made");
        let dav = Dav::new(Store::open(root.path()).expect("made"), options).expect("made");
        Self { root, dav }
    }

    async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answered {
        self.ask_as("", method, path, fields, body).await
    }

    async fn ask_as(
        &self,
        user: &str,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Answered {
        let method = Method::from_bytes(method.as_bytes()).expect("made");
        let mut head = Head::new(method, path.parse().expect("made"));
        head.tail = "/dav/".len();
        for (name, value) in fields {
            let (name, value) =
                (name.parse::<HeaderName>().expect("made"), HeaderValue::from_bytes(value.as_bytes()));
            assert!(head.headers.try_append(name, value.expect("made")).is_ok());
        }
        if !user.is_empty() {
            head.user.set(user.into()).expect("made");
        }
        let body = RequestBody::from_bytes(body.to_owned().into());
        let answered = self.dav.handle(Request { head: Arc::new(head), body }).await;
        let Response { status, headers, body, .. } = answered.unwrap_or_else(Response::failed);
        let mut all = Vec::new();
        let mut pieces = Vec::new();
        match body {
            Body::Empty | Body::File(_) => {}
            Body::Bytes(bytes) => all.extend_from_slice(&bytes),
            Body::Stream(mut stream) => {
                while let Some(piece) = stream.next().await {
                    let piece = piece.expect("made");
                    pieces.push(piece.len());
                    all.extend_from_slice(&piece);
                }
            }
        }
        Answered { status: status.as_u16(), headers, text: String::from_utf8(all).expect("made"), pieces }
    }

    async fn status(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> u16 {
        self.ask(method, path, fields, body).await.status
    }

    async fn put(&self, path: &str, content: &str) -> u16 {
        self.status("PUT", path, &[], content).await
    }

    async fn list(&self, path: &str) -> Vec<String> {
        let found = self.ask("PROPFIND", path, &[("depth", "1")], "").await;
        assert_eq!(found.status, 207, "{found:?}");
        let mut hrefs: Vec<_> = found
            .text
            .split("<D:response><D:href>")
            .skip(1)
            .filter_map(|rest| rest.split_once('<'))
            .collect();
        hrefs.sort_unstable();
        hrefs.into_iter().map(|(href, _)| href.to_owned()).collect()
    }

    async fn property(&self, path: &str, property: &str) -> String {
        let body = format!("<D:propfind xmlns:D='DAV:'><D:prop>{property}</D:prop></D:propfind>");
        self.ask("PROPFIND", path, &[("depth", "0")], &body).await.text
    }

    /// Takes a lock, and returns its token.
    async fn lock(&self, path: &str, fields: &[(&str, &str)], body: &str) -> String {
        let locked = self.ask("LOCK", path, fields, body).await;
        assert!(matches!(locked.status, 200 | 201), "{locked:?}");
        let token = locked.headers["lock-token"].to_str().expect("made");
        assert!(locked.text.contains(token.trim_matches(['<', '>'])), "{locked:?}");
        token.to_owned()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.path().join(path)).expect("made")
    }

    fn versions(&self, path: &str) -> usize {
        let store = Store::open(self.root.path()).expect("made");
        store.versions(&PagePath::parse(path).expect("made")).expect("made").len()
    }
}

#[tokio::test]
async fn files_go_round() {
    let site = Mounted::new();
    let options = site.ask("OPTIONS", "/dav/", &[], "").await;
    assert_eq!(
        (options.status, &options.headers["dav"], &options.headers["ms-author-via"]),
        (200, &HeaderValue::from_static("1, 2, 3"), &HeaderValue::from_static("DAV"))
    );
    assert_eq!(site.status("MKCOL", "/dav/a/", &[], "").await, 201);
    assert_eq!(site.status("MKCOL", "/dav/a", &[], "").await, 405);
    assert_eq!(site.status("MKCOL", "/dav/x/y/", &[], "").await, 409);
    assert_eq!(site.status("MKCOL", "/dav/b/", &[], "<x/>").await, 415);
    assert_eq!(site.put("/dav/a/b%20c.txt", "one").await, 201);
    assert_eq!(site.put("/dav/a/b%20c.txt", "two").await, 204);
    assert_eq!(site.put("/dav/x/y", "").await, 409);
    assert_eq!(site.list("/dav/").await, ["/dav/", "/dav/a/"]);
    assert_eq!(site.list("/dav/a").await, ["/dav/a/", "/dav/a/b%20c.txt"]);
    let to = |path: &'static str| [("destination", path)];
    assert_eq!(site.status("COPY", "/dav/a/", &to("https://elsewhere.example/dav/c/"), "").await, 201);
    assert_eq!(site.status("MOVE", "/dav/c/b%20c.txt", &to("/dav/%64"), "").await, 201);
    assert_eq!((site.read("d"), site.read("a/b c.txt")), ("two".to_owned(), "two".to_owned()));
    assert_eq!(site.list("/dav/c/").await, ["/dav/c/"]);
    assert_eq!(site.status("DELETE", "/dav/a/", &[("depth", "0")], "").await, 400);
    assert_eq!(site.status("DELETE", "/dav/a/", &[], "").await, 204);
    assert_eq!(site.status("DELETE", "/dav/a/", &[], "").await, 404);
    assert_eq!(site.status("GET", "/dav/d", &[], "").await, 200);
    assert_eq!(site.versions("a/b c.txt"), 2, "the first, and the one that was removed");
}

#[tokio::test]
async fn what_is_in_the_way_is_replaced_only_if_it_may_be() {
    let site = Mounted::new();
    for path in ["/dav/a", "/dav/b"] {
        assert_eq!(site.put(path, path).await, 201);
    }
    assert_eq!(site.status("MKCOL", "/dav/c/", &[], "").await, 201);
    assert_eq!(site.put("/dav/c/d", "d").await, 201);
    let fields = |overwrite: &'static str, to: &'static str| [("overwrite", overwrite), ("destination", to)];
    for method in ["COPY", "MOVE"] {
        assert_eq!(site.status(method, "/dav/a", &fields("F", "/dav/b"), "").await, 412);
        assert_eq!(site.status(method, "/dav/a", &fields("x", "/dav/b"), "").await, 400);
        assert_eq!(site.status(method, "/dav/a", &fields("T", "/dav/a"), "").await, 403);
        assert_eq!(site.status(method, "/dav/c/", &fields("T", "/dav/c/d/e"), "").await, 403);
        assert_eq!(site.status(method, "/dav/c/d", &fields("T", "/dav/c"), "").await, 403);
        assert_eq!(site.status(method, "/dav/a", &fields("T", "/dav/x/y"), "").await, 409);
        assert_eq!(site.status(method, "/dav/x", &fields("T", "/dav/y"), "").await, 404);
        assert_eq!(site.status(method, "/dav/a", &fields("T", "/other/y"), "").await, 502);
        assert_eq!(site.status(method, "/dav/a", &fields("T", "/dav/../y"), "").await, 403);
        assert_eq!(site.status(method, "/dav/a", &fields("T", "y"), "").await, 400);
        assert_eq!(site.status(method, "/dav/a", &[], "").await, 400);
    }
    assert_eq!(site.status("COPY", "/dav/a", &[("destination", "/dav/b")], "").await, 204);
    assert_eq!((site.read("b"), site.versions("b")), ("/dav/a".to_owned(), 1));
    assert_eq!(site.status("COPY", "/dav/c/", &[("destination", "/dav/e/"), ("depth", "0")], "").await, 201);
    assert_eq!(site.list("/dav/e/").await, ["/dav/e/"], "a shallow copy");
    assert_eq!(site.status("MOVE", "/dav/a", &[("destination", "/dav/c")], "").await, 204);
    assert_eq!(site.read("c"), "/dav/a");
    assert_eq!(site.status("MOVE", "/dav/e/", &[("destination", "/dav/b")], "").await, 204);
    assert_eq!(site.list("/dav/").await, ["/dav/", "/dav/b/", "/dav/c"]);
}

#[tokio::test]
async fn a_lock_keeps_others_out() {
    let site = Mounted::new();
    site.put("/dav/a", "one").await;
    let token = site.lock("/dav/a", &[("depth", "0"), ("timeout", "Second-60")], EXCLUSIVE).await;
    let refused = site.ask("PUT", "/dav/a", &[], "two").await;
    assert_eq!(refused.status, 423);
    assert!(refused.text.contains("<D:lock-token-submitted><D:href>/dav/a</D:href>"), "{refused:?}");
    for (method, fields) in
        [("DELETE", &[][..]), ("MOVE", &[("destination", "/dav/b")]), ("PROPPATCH", &[]), ("LOCK", &[])]
    {
        let body = match method {
            "PROPPATCH" => {
                "<D:propertyupdate xmlns:D='DAV:'><D:remove><D:prop><x/></D:prop></D:remove></D:propertyupdate>"
            }
            "LOCK" => SHARED,
            _ => "",
        };
        assert_eq!(site.status(method, "/dav/a", fields, body).await, 423, "{method}");
    }
    site.put("/dav/b", "b").await;
    assert_eq!(site.status("COPY", "/dav/b", &[("destination", "/dav/a")], "").await, 423);
    assert_eq!(site.status("COPY", "/dav/a", &[("destination", "/dav/c")], "").await, 201);
    assert_eq!(site.status("GET", "/dav/a", &[], "").await, 200);
    assert!(
        site.property("/dav/a", "<D:lockdiscovery/>")
            .await
            .contains("<D:owner><href xmlns=\"DAV:\">me</href></D:owner>")
    );
    let with = |value: &str| format!("({value})");
    assert_eq!(site.status("PUT", "/dav/a", &[("if", &with(&token))], "two").await, 204);
    assert_eq!(site.status("PUT", "/dav/a", &[("if", &with("<urn:uuid:x>"))], "3").await, 412);
    assert_eq!(site.status("PUT", "/dav/a", &[("if", "(<urn:x>) (Not <DAV:no-lock>)")], "3").await, 423);
    assert_eq!(site.status("UNLOCK", "/dav/a", &[], "").await, 400);
    assert_eq!(site.status("UNLOCK", "/dav/a", &[("lock-token", "<urn:uuid:x>")], "").await, 409);
    assert_eq!(site.status("UNLOCK", "/dav/b", &[("lock-token", &token)], "").await, 409);
    let refreshed = site.ask("LOCK", "/dav/a", &[("if", &with(&token)), ("timeout", "Infinite")], "").await;
    assert!(refreshed.status == 200 && refreshed.text.contains("Second-3600"), "{refreshed:?}");
    assert_eq!(site.status("LOCK", "/dav/b", &[("if", &with(&token))], "").await, 412);
    assert_eq!(
        site.status("UNLOCK", "/dav/a", &[("lock-token", token.trim_matches(['<', '>']))], "").await,
        204
    );
    assert_eq!(site.put("/dav/a", "three").await, 204);
}

#[tokio::test]
async fn a_lock_of_a_directory_is_on_what_comes_into_it() {
    let site = Mounted::new();
    site.status("MKCOL", "/dav/a/", &[], "").await;
    site.put("/dav/a/b", "b").await;
    let token = site.lock("/dav/a/", &[], EXCLUSIVE).await;
    assert_eq!(site.put("/dav/a/b", "c").await, 423);
    assert_eq!(site.put("/dav/a/new", "c").await, 423);
    assert_eq!(site.status("MKCOL", "/dav/a/d/", &[], "").await, 423);
    assert_eq!(site.status("LOCK", "/dav/a/b", &[], EXCLUSIVE).await, 423);
    let tagged = format!("<http://example.com/dav/a/> ({token})");
    assert_eq!(site.status("PUT", "/dav/a/new", &[("if", &tagged)], "c").await, 201);
    assert_eq!(site.status("DELETE", "/dav/a/new", &[("if", &tagged)], "").await, 204);
    assert_eq!(site.status("UNLOCK", "/dav/a/b", &[("lock-token", &token)], "").await, 204);
    // Of one that is not deep only the names are locked.
    let token = site.lock("/dav/a/", &[("depth", "0")], EXCLUSIVE).await;
    assert_eq!(site.put("/dav/a/b", "c").await, 204);
    assert_eq!(site.put("/dav/a/new", "c").await, 423);
    assert_eq!(site.status("DELETE", "/dav/a/b", &[], "").await, 423);
    site.lock("/dav/a/b", &[], SHARED).await;
    let conflict = site.ask("LOCK", "/dav/", &[], EXCLUSIVE).await;
    assert_eq!(conflict.status, 207);
    assert!(conflict.text.contains("HTTP/1.1 423 Locked") && conflict.text.contains("424"), "{conflict:?}");
    let own = format!("({token})");
    assert_eq!(site.status("DELETE", "/dav/a/", &[("if", &own)], "").await, 423, "there is another in it");
}

#[tokio::test]
async fn a_users_lock_is_of_no_use_to_another() {
    let site = Mounted::new();
    let locked = site.ask_as("ada", "LOCK", "/dav/a", &[], EXCLUSIVE).await;
    assert_eq!(locked.status, 201);
    let token = locked.headers["lock-token"].to_str().expect("made");
    let has = format!("({token})");
    for user in ["eve", ""] {
        assert_eq!(site.ask_as(user, "PUT", "/dav/a", &[("if", &has)], "x").await.status, 423, "{user}");
        assert_eq!(site.ask_as(user, "LOCK", "/dav/a", &[("if", &has)], "").await.status, 412, "{user}");
        assert_eq!(
            site.ask_as(user, "UNLOCK", "/dav/a", &[("lock-token", token)], "").await.status,
            403,
            "{user}"
        );
    }
    assert_eq!(site.ask_as("ada", "PUT", "/dav/a", &[("if", &has)], "x").await.status, 204);
}

#[tokio::test]
async fn properties_are_kept_and_go_along() {
    let site = Mounted::new();
    site.put("/dav/a", "a").await;
    let set = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='n'><D:set><D:prop><p:x><y xmlns='m'>1</y></p:x></D:prop></D:set>\
               <D:remove><D:prop><p:z/></D:prop></D:remove></D:propertyupdate>";
    let changed = site.ask("PROPPATCH", "/dav/a", &[], set).await;
    assert!(changed.status == 207 && changed.text.contains("200 OK"), "{changed:?}");
    let value = "<x xmlns=\"n\"><y xmlns=\"m\">1</y></x>";
    let has = async |path: &str| site.property(path, "<x xmlns='n'/>").await.contains(value);
    assert!(has("/dav/a").await);
    let protected = set.replace("<p:z/>", "<D:getetag/>").replace('1', "2");
    let refused = site.ask("PROPPATCH", "/dav/a", &[], &protected).await;
    let of_one =
        "403 Forbidden</D:status><D:error><D:cannot-modify-protected-property/></D:error></D:propstat>";
    for part in [of_one, "424 Failed Dependency"] {
        assert!(refused.status == 207 && refused.text.contains(part), "{part}: {refused:?}");
    }
    assert!(has("/dav/a").await, "nothing is changed");
    assert_eq!(site.status("COPY", "/dav/a", &[("destination", "/dav/b")], "").await, 201);
    assert_eq!(site.status("MOVE", "/dav/a", &[("destination", "/dav/c")], "").await, 201);
    assert!(has("/dav/b").await && has("/dav/c").await);
    assert_eq!(site.status("DELETE", "/dav/b", &[], "").await, 204);
    assert_eq!((site.put("/dav/b", "").await, has("/dav/b").await), (201, false));
    let windows = "<D:propertyupdate xmlns:D='DAV:' xmlns:Z='urn:schemas-microsoft-com:'><D:set><D:prop>\
                   <Z:Win32LastModifiedTime>Tue, 01 Dec 2026 12:00:00 GMT</Z:Win32LastModifiedTime></D:prop></D:set></D:propertyupdate>";
    assert!(site.ask("PROPPATCH", "/dav/c", &[], windows).await.text.contains("200 OK"));
    let all = site.ask("PROPFIND", "/dav/c", &[("depth", "0")], "").await.text;
    assert!(all.contains("Win32LastModifiedTime") && all.contains("<D:getcontentlength>1<"), "{all}");
}

#[tokio::test]
async fn finder_copies_a_file() {
    let site = Mounted::new();
    for probe in ["/dav/.metadata_never_index", "/dav/.ql_disablethumbnails"] {
        assert_eq!(site.status("HEAD", probe, &[], "").await, 200);
        assert_eq!(site.status("PROPFIND", probe, &[("depth", "0")], "").await, 207);
    }
    assert_eq!(site.status("PROPFIND", "/dav/.localized", &[("depth", "0")], "").await, 404);
    assert_eq!(site.status("PROPFIND", "/dav/._a.txt", &[("depth", "0")], "").await, 404);
    let token = site.lock("/dav/a.txt", &[("timeout", "Second-600")], EXCLUSIVE).await;
    let has = format!("({token})");
    assert_eq!((site.read("a.txt"), site.status("GET", "/dav/a.txt", &[], "").await), (String::new(), 200));
    let with = |len: &'static str| [("if", has.as_str()), ("x-expected-entity-length", len)];
    for _ in 0..2 {
        assert_eq!(site.status("PUT", "/dav/a.txt", &with("0"), "").await, 204);
    }
    assert_eq!(site.status("PUT", "/dav/a.txt", &with("9"), "the whole").await, 204);
    assert_eq!(site.status("PUT", "/dav/a.txt", &with("9"), "the").await, 400, "it broke off");
    assert_eq!((site.read("a.txt"), site.versions("a.txt")), ("the whole".to_owned(), 0));
    assert_eq!(site.put("/dav/._a.txt", "attributes").await, 201);
    assert_eq!(site.put("/dav/._a.txt", "others").await, 204);
    assert_eq!(site.status("UNLOCK", "/dav/a.txt", &[("lock-token", &token)], "").await, 204);
    assert_eq!(site.status("PUT", "/dav/a.txt", &[("content-range", "bytes 0-1/9")], "x").await, 400);
    let kept = std::fs::read_dir(site.root.path().join(".medusa-versions"))
        .map_or(0, |names| names.flatten().filter(|name| name.file_name() == "pages").count());
    assert_eq!(kept, 0, "of none of these is there a version");
}

#[tokio::test]
async fn explorer_is_told_not_to_remember_what_is_not_there() {
    let site = Mounted::new();
    let agent = [("user-agent", "Microsoft-WebDAV-MiniRedir/10.0.22621"), ("depth", "0")];
    let missing = site.ask("PROPFIND", "/dav/a", &agent, "").await;
    assert_eq!(
        (missing.status, &missing.headers["cache-control"]),
        (404, &HeaderValue::from_static("no-store"))
    );
    assert_eq!(missing.headers["vary"], "*");
    let missing = site.ask("PROPFIND", "/dav/a", &agent[1..], "").await;
    assert!(missing.status == 404 && !missing.headers.contains_key("cache-control"));
}

#[tokio::test]
async fn a_directory_of_ten_thousand_is_told_piece_by_piece() {
    let site = Mounted::new();
    for n in 0..10_000 {
        std::fs::write(site.root.path().join(format!("file-{n}")), n.to_string()).expect("made");
    }
    let listed = site.ask("PROPFIND", "/dav/", &[("depth", "1")], "").await;
    assert_eq!(listed.text.matches("<D:response>").count(), 10_001);
    assert_eq!(listed.text.matches("<D:getetag>").count(), 10_000);
    assert!(listed.text.ends_with("</D:multistatus>\n"));
    let longest = listed.pieces.iter().max().copied().unwrap_or_default();
    assert!(listed.pieces.len() > 10 && longest < 256 * 1024, "{:?}", listed.pieces);
    let deep = site.ask("PROPFIND", "/dav/", &[], "").await;
    assert!(deep.status == 403 && deep.text.contains("propfind-finite-depth"), "{deep:?}");
}

#[tokio::test]
async fn tags_are_those_of_get_and_room_is_told() {
    let options = StoreOptions { quota: Some(1024 * 1024), ..StoreOptions::default() };
    let put = PutOptions { store: options, ..PutOptions::default() };
    let site = Mounted::with(DavOptions { put, ..DavOptions::default() });
    site.put("/dav/a", "a").await;
    let tag = site.ask("GET", "/dav/a", &[], "").await.headers["etag"].to_str().expect("made").to_owned();
    let told = site.property("/dav/a", "<D:getetag/>").await;
    assert!(told.contains(&tag.replace('"', "&quot;")), "{tag}: {told}");
    let condition = format!("([{tag}])");
    assert_eq!(site.status("DELETE", "/dav/a", &[("if", "([\"other\"])")], "").await, 412);
    assert_eq!(site.status("DELETE", "/dav/a", &[("if-match", "\"other\"")], "").await, 412);
    assert_eq!(site.status("PUT", "/dav/a", &[("if", &condition)], "b").await, 204);
    let room = site.property("/dav/", "<D:quota-available-bytes/><D:quota-used-bytes/>").await;
    assert!(room.contains("<D:quota-used-bytes>") && room.contains("<D:quota-available-bytes>10"), "{room}");
    assert!(site.property("/dav/a", "<D:quota-used-bytes/>").await.contains("404 Not Found"));
    assert_eq!(site.put("/dav/big", &"x".repeat(2 * 1024 * 1024)).await, 507);
}

#[tokio::test]
async fn what_cannot_be_removed_is_told_and_stays() {
    let site = Mounted::new();
    let root = site.root.path();
    std::fs::create_dir_all(root.join("a/b")).expect("made");
    std::fs::create_dir_all(root.join("c/.git")).expect("made");
    for file in ["a/one", "a/b/two", "secret"] {
        std::fs::write(root.join(file), file).expect("made");
    }
    std::os::unix::fs::symlink(root.join("secret"), root.join("a/b/link")).expect("made");
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("made");
    let token = site.lock("/dav/a/one", &[], EXCLUSIVE).await;
    let told = site.ask("DELETE", "/dav/a/", &[("if", &format!("</dav/a/one> ({token})"))], "").await;
    assert_eq!(told.status, 207);
    assert_eq!(site.put("/dav/a/one", "").await, 201, "what is gone is not locked");
    assert_eq!(site.status("DELETE", "/dav/a/one", &[], "").await, 204);
    assert!(told.text.contains("<D:href>/dav/a/b/link</D:href><D:status>HTTP/1.1 403"), "{told:?}");
    assert!(!root.join("a/one").exists() && root.join("a/b/link").is_symlink());
    assert_eq!(site.status("DELETE", "/dav/c/", &[], "").await, 409, "what has a hidden name stays");
    assert!(root.join("c/.git").exists());
    std::fs::write(root.join("c/one"), "one").expect("made");
    let told = site.ask("DELETE", "/dav/c/", &[], "").await;
    assert_eq!(told.status, 207, "something is gone");
    assert!(told.text.contains("<D:href>/dav/c/</D:href><D:status>HTTP/1.1 409"), "{told:?}");
    assert!(!root.join("c/one").exists() && root.join("c/.git").exists());
    assert_eq!(site.status("MOVE", "/dav/a/b/link", &[("destination", "/dav/secret")], "").await, 404);
    for (method, path) in [("DELETE", "/dav/fifo"), ("GET", "/dav/fifo"), ("PROPFIND", "/dav/fifo")] {
        assert_eq!(site.status(method, path, &[("depth", "0")], "").await, 404, "{method}");
    }
    assert_eq!(site.put("/dav/fifo", "x").await, 403);
    assert_eq!(site.put("/dav/a/b/link", "x").await, 403);
    assert_eq!(site.read("secret"), "secret");
}

#[tokio::test]
async fn nothing_is_removed_for_what_is_refused() {
    let options = StoreOptions { quota: Some(40 * 1024), ..StoreOptions::default() };
    let put = PutOptions { store: options, ..PutOptions::default() };
    let site = Mounted::with(DavOptions { put, ..DavOptions::default() });
    let root = site.root.path();
    for directory in ["auth", "from", "to", "hidden/below"] {
        std::fs::create_dir_all(root.join(directory)).expect("made");
    }
    for file in ["auth/users", "to/old", "hidden/old", "hidden/below/x.luau", "hidden/below/.env", "file"] {
        std::fs::write(root.join(file), file).expect("made");
    }
    let _own = OwnPath::new(&root.join("auth/users"), OwnKind::Users);
    for to in ["/dav/to/", "/dav/file"] {
        assert_eq!(site.status("MOVE", "/dav/auth/", &[("destination", to)], "").await, 403, "{to}");
    }
    assert_eq!((site.read("to/old"), site.read("file")), ("to/old".to_owned(), "file".to_owned()));
    for method in ["COPY", "MOVE"] {
        for from in ["/dav/from/", "/dav/file"] {
            let refused = site.ask(method, from, &[("destination", "/dav/hidden/")], "").await;
            assert_eq!(refused.status, 207, "{method} {from}");
            let why = "<D:href>/dav/hidden/below/</D:href><D:status>HTTP/1.1 409";
            assert!(refused.text.matches(why).count() == 1, "{refused:?}");
        }
    }
    assert_eq!(site.read("hidden/old"), "hidden/old");
    assert!(root.join("from").exists() && root.join("file").exists());
    let copy = async || site.status("COPY", "/dav/from/", &[("destination", "/dav/to/")], "").await;
    for file in 0..6 {
        std::fs::write(root.join(format!("from/{file}")), "new").expect("made");
    }
    assert_eq!(copy().await, 507, "there is no room for it");
    assert_eq!((site.read("to/old"), site.versions("to/old")), ("to/old".to_owned(), 0));
    for file in ["auth/users", "hidden/old", "hidden/below/x.luau", "hidden/below/.env", "file"] {
        std::fs::remove_file(root.join(file)).expect("made");
    }
    std::fs::remove_file(root.join("from/5")).expect("made");
    assert_eq!(copy().await, 204, "what goes makes room");
    assert!(!root.join("to/old").exists() && root.join("to/4").exists());
}

#[tokio::test]
async fn of_two_names_of_one_file_a_move_leaves_one() {
    let site = Mounted::new();
    let root = site.root.path();
    std::fs::write(root.join("a"), "content").expect("made");
    std::fs::hard_link(root.join("a"), root.join("b")).expect("made");
    assert_eq!(site.status("MOVE", "/dav/a", &[("destination", "/dav/b")], "").await, 204);
    assert!(!root.join("a").exists());
    assert_eq!((site.read("b"), site.versions("b")), ("content".to_owned(), 0), "nothing was replaced");
}

#[tokio::test]
async fn names_that_are_not_taken_lead_nowhere() {
    let outside = TempDir::new().expect("made");
    std::fs::write(outside.path().join("secret"), "secret").expect("made");
    let site = Mounted::new();
    std::os::unix::fs::symlink(outside.path(), site.root.path().join("out")).expect("made");
    for tail in [
        "..%2f",
        "%2e%2e/x",
        ".git/config",
        "a/.htpasswd",
        ".medusa-versions/",
        ".medusa-versions/properties.db",
        "a%00b",
        "a%5cb",
        "..%5cx",
        "%252e%252e/x",
        "x.luau",
        "%c0%ae%c0%ae/x",
        "a%0d%0ab",
        "out/secret",
    ] {
        let path = format!("/dav/{tail}");
        for method in ["GET", "PROPFIND"] {
            assert_eq!(site.status(method, &path, &[("depth", "0")], "").await, 404, "{method} {tail}");
        }
        for method in ["PUT", "MKCOL", "LOCK"] {
            let body = if method == "LOCK" { EXCLUSIVE } else { "" };
            assert_eq!(site.status(method, &path, &[], body).await, 403, "{method} {tail}");
        }
        for method in ["COPY", "MOVE"] {
            let refused = site.status(method, "/dav/b", &[("destination", &path)], "").await;
            assert!(matches!(refused, 403 | 404), "{method} {tail}: {refused}");
        }
    }
    assert_eq!(names(outside.path()), ["secret"]);
    let open = DavOptions { dotfiles: true, litter: false, ..DavOptions::default() };
    let site = Mounted::with(open);
    assert_eq!(site.put("/dav/.hidden", "x").await, 201);
    assert_eq!(site.put("/dav/.DS_Store", "x").await, 403);
    assert_eq!(site.list("/dav/").await, ["/dav/", "/dav/.hidden"]);
}

fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).expect("made").flatten();
    names.map(|name| name.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn bad_documents_are_refused() {
    let site = Mounted::new();
    site.put("/dav/a", "a").await;
    for body in [
        "<x/>",
        "<D:propfind xmlns:D='DAV:'><D:prop></D:propfind>",
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>",
        "<D:propfind xmlns:D='DAV:'><D:prop><b:x xmlns:b=''/></D:prop></D:propfind>",
    ] {
        assert_eq!(site.status("PROPFIND", "/dav/a", &[("depth", "0")], body).await, 400, "{body}");
    }
    assert_eq!(site.status("PROPFIND", "/dav/a", &[("depth", "2")], "").await, 400);
    assert_eq!(site.status("PROPPATCH", "/dav/a", &[], "").await, 400);
    assert_eq!(site.status("LOCK", "/dav/a", &[], "").await, 400);
    assert_eq!(site.status("LOCK", "/dav/a", &[("depth", "1")], EXCLUSIVE).await, 400);
    assert_eq!(site.status("PUT", "/dav/a", &[("if", "(<x>")], "").await, 400);
    assert_eq!(site.status("PATCH", "/dav/a", &[], "").await, 405);
}
