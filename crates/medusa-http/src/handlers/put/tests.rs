//! The handler on real directories: what becomes of what is there, and what nothing is made of.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::Uri;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::super::files::{Files, FilesOptions};
use super::*;
use crate::handlers::files::tests::collect;
use crate::request::RequestBody;
use crate::store::tag::HASHED;

/// A directory beside one that must not be reached.
struct Fixture {
    dir: TempDir,
    put: Put,
    files: Files,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Fixture {
    fn new(options: StoreOptions) -> Self {
        Self::with(PutOptions { store: options, ..PutOptions::default() })
    }

    fn with(options: PutOptions) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("root/sub")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        let root = dir.path().join("root");
        let put = Put::new(Arc::new(Store::open(&root).unwrap()), options);
        let files = Files::open(&root, FilesOptions { dotfiles: true, ..FilesOptions::default() }).unwrap();
        Self { dir, put, files }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    async fn send(
        &self,
        handler: &dyn Handler,
        (method, target): (Method, &str),
        headers: &[(HeaderName, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = Head::new(method, target.parse::<Uri>().unwrap());
        head.tail = 1;
        for (name, value) in headers {
            head.headers.try_append(name, value.parse().unwrap()).unwrap();
        }
        let body = RequestBody::from_bytes(Bytes::copy_from_slice(body));
        match handler.handle(Request { head: head.into(), body }).await {
            Ok(response) => Answer {
                status: response.status.as_u16(),
                headers: response.headers,
                body: collect(response.body).await.unwrap(),
            },
            Err(error) => Answer {
                status: error.status().as_u16(),
                headers: HeaderMap::new(),
                body: error.to_string().into(),
            },
        }
    }

    async fn put(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.put_with(target, &[], body).await
    }

    async fn put_with(&self, target: &str, headers: &[(HeaderName, &str)], body: impl AsRef<[u8]>) -> Answer {
        self.send(&self.put, (Method::PUT, target), headers, body.as_ref()).await
    }

    async fn delete(&self, target: &str) -> Answer {
        self.send(&self.put, (Method::DELETE, target), &[], b"").await
    }

    async fn get(&self, target: &str) -> Answer {
        self.send(&self.files, (Method::GET, target), &[], b"").await
    }

    fn versions(&self, path: &str) -> Vec<crate::store::Version> {
        self.put.store.versions(&PagePath::plain(path).unwrap()).unwrap()
    }
}

/// All files below a directory, with what they hold.
fn all_below(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => left.push(entry.path()),
                kind if kind.is_file() => found.push((entry.path(), fs::read(entry.path()).unwrap())),
                _ => found.push((entry.path(), Vec::new())),
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_is_published_replaced_and_removed() {
    let site = Fixture::new(StoreOptions::default());
    let new = site.put("/sub/a%20b.html", "one").await;
    assert_eq!((new.status, new.field(header::LOCATION)), (201, "/sub/a%20b.html"));
    let got = site.get("/sub/a%20b.html").await;
    assert_eq!((got.text().as_str(), got.field(header::ETAG)), ("one", new.field(header::ETAG)));
    let replaced = site.put("/sub/a%20b.html", "two").await;
    assert_eq!((replaced.status, replaced.field(header::LOCATION)), (204, ""));
    let got = site.get("/sub/a%20b.html").await;
    assert_eq!((got.text().as_str(), got.field(header::ETAG)), ("two", replaced.field(header::ETAG)));
    assert_ne!(new.field(header::ETAG), replaced.field(header::ETAG));
    assert_eq!(site.delete("/sub/a%20b.html").await.status, 204);
    assert_eq!(site.get("/sub/a%20b.html").await.status, 404);
    assert_eq!(site.delete("/sub/a%20b.html").await.status, 404);
    assert_eq!(site.put("/empty", "").await.status, 201);
    assert_eq!(site.get("/empty").await.text(), "");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_published_is_served_at_once_with_the_tag_that_was_told() {
    let site = Fixture::new(StoreOptions { versions: 2, ..StoreOptions::default() });
    // In memory, hashed on disk, and too long to be hashed: a cached page is asked for all the time.
    for len in [10, LARGEST + 1, HASHED + 1] {
        for round in 0..3_u8 {
            let content = vec![b'a' + round; usize::try_from(len).unwrap()];
            let put = site.put("/page.bin", &content).await;
            let got = site.get("/page.bin").await;
            assert!(got.body == content, "{len} bytes, round {round}");
            assert_eq!(put.field(header::ETAG), got.field(header::ETAG), "{len} bytes, round {round}");
            assert!(put.field(header::ETAG).starts_with('"'), "it is strong");
        }
    }
    for round in 0..200 {
        let content = format!("round {round}");
        site.put("/page.html", &content).await;
        assert_eq!(site.get("/page.html").await.text(), content);
        assert_eq!(site.delete("/page.html").await.status, 204);
        assert_eq!(site.get("/page.html").await.status, 404);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn updates_are_not_lost() {
    let site = Fixture::new(StoreOptions::default());
    let any = [(header::IF_NONE_MATCH, "*")];
    assert_eq!(site.put_with("/a", &[(header::IF_MATCH, "*")], "zero").await.status, 412);
    assert!(!site.path("a").exists());
    let first = site.put_with("/a", &any, "one").await;
    assert_eq!(first.status, 201);
    assert_eq!(site.put_with("/a", &any, "two").await.status, 412);
    let tag = first.field(header::ETAG).to_owned();
    let second = site.put_with("/a", &[(header::IF_MATCH, &tag)], "two").await;
    assert_eq!(second.status, 204);
    assert_eq!(site.put_with("/a", &[(header::IF_MATCH, &tag)], "three").await.status, 412);
    let weak = format!("W/{}", second.field(header::ETAG));
    assert_eq!(site.put_with("/a", &[(header::IF_MATCH, &weak)], "three").await.status, 412);
    let served = site.get("/a").await.field(header::ETAG).to_owned();
    let either = format!("\"x\", {served}");
    assert_eq!(site.put_with("/a", &[(header::IF_MATCH, &either)], "three").await.status, 204);
    assert_eq!(site.put_with("/a", &[(header::IF_NONE_MATCH, "\"x\"")], "four").await.status, 204);
    let hour = std::time::Duration::from_hours(1);
    let before = httpdate::fmt_http_date(SystemTime::now() - hour);
    let after = httpdate::fmt_http_date(SystemTime::now() + hour);
    assert_eq!(site.put_with("/a", &[(header::IF_UNMODIFIED_SINCE, &before)], "five").await.status, 412);
    assert_eq!(site.put_with("/a", &[(header::IF_UNMODIFIED_SINCE, &after)], "five").await.status, 204);
    let delete =
        async |name, value| site.send(&site.put, (Method::DELETE, "/a"), &[(name, value)], b"").await.status;
    assert_eq!(delete(header::IF_MATCH, &tag).await, 412);
    assert_eq!(site.read("a"), "five");
    let tag = site.get("/a").await.field(header::ETAG).to_owned();
    assert_eq!(delete(header::IF_MATCH, &tag).await, 204);
    assert_eq!(delete(header::IF_MATCH, "*").await, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn of_those_who_come_at_once_with_one_tag_one_succeeds() {
    let site = Fixture::new(StoreOptions { versions: 0, ..StoreOptions::default() });
    for round in 0..20 {
        let put = site.put("/a", format!("round {round}")).await;
        let tag = put.field(header::ETAG).to_owned();
        let fields = [(header::IF_MATCH, tag.as_str())];
        let all = (0..8).map(|n| site.put_with("/a", &fields, format!("round {round} by {n}")));
        let all = futures_util::future::join_all(all).await;
        let succeeded: Vec<_> = all.iter().enumerate().filter(|(_, answer)| answer.status == 204).collect();
        assert_eq!(succeeded.len(), 1, "{all:?}");
        assert!(all.iter().all(|answer| matches!(answer.status, 204 | 412)), "{all:?}");
        assert_eq!(site.read("a"), format!("round {round} by {}", succeeded[0].0));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_in_the_way_stays() {
    let site = Fixture::new(StoreOptions::default());
    fs::write(site.path("file"), "file").unwrap();
    fs::write(site.path("sub/inside"), "inside").unwrap();
    for (target, put, delete) in [
        ("/sub", 409, 409),
        ("/sub/", 409, 409),
        ("/new/", 409, 404),
        ("/", 409, 409),
        ("/missing/a", 409, 404),
        ("/file/a", 409, 404),
        ("/file/", 409, 404),
        (&format!("/{}", "n".repeat(300)), 400, 400),
    ] {
        assert_eq!(site.put(target, "x").await.status, put, "PUT {target}");
        assert_eq!(site.delete(target).await.status, delete, "DELETE {target}");
    }
    assert_eq!((site.read("file"), site.read("sub/inside")), ("file".into(), "inside".into()));
    assert_eq!(site.delete("/sub/inside").await.status, 204);
    assert_eq!(site.delete("/sub").await.status, 409, "a directory has a slash at its end");
    assert_eq!(site.delete("/sub/").await.status, 204);
    assert!(!site.path("sub").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn directories_are_made_where_that_is_wanted() {
    let site = Fixture::new(StoreOptions { create_directories: true, ..StoreOptions::default() });
    let refused = site.put_with("/no/x", &[(header::IF_MATCH, "*")], "x").await;
    assert_eq!((refused.status, site.path("no").exists()), (412, false));
    assert_eq!(site.put("/new/er/a", "a").await.status, 201);
    assert_eq!(
        (site.get("/new/er/a").await.text().as_str(), site.put("/new/er/b", "b").await.status),
        ("a", 201)
    );
    fs::write(site.path("file"), "file").unwrap();
    assert_eq!(site.put("/file/a", "a").await.status, 409);
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_for_put_is_refused() {
    let site = Fixture::with(PutOptions { max_size: 1000, ..PutOptions::default() });
    let with = async |name: HeaderName, value| site.put_with("/a", &[(name, value)], "12345").await;
    assert_eq!(with(header::CONTENT_RANGE, "bytes 0-4/10").await.status, 400);
    let coded = with(header::CONTENT_ENCODING, "gzip").await;
    assert_eq!((coded.status, coded.field(header::ACCEPT_ENCODING)), (415, "identity"));
    assert_eq!(with(EXPECTED_LENGTH, "6").await.status, 400);
    assert_eq!(with(EXPECTED_LENGTH, "x").await.status, 400);
    assert_eq!(with(header::CONTENT_LENGTH, "1001").await.status, 413);
    assert_eq!(site.put("/a", vec![0; 1001]).await.status, 413);
    assert!(!site.path("a").exists());
    assert_eq!(with(EXPECTED_LENGTH, "5").await.status, 201);
    assert_eq!(site.put("/a", vec![b'x'; 1000]).await.status, 204);
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PATCH] {
        let answer = site.send(&site.put, (method, "/a"), &[], b"").await;
        assert_eq!((answer.status, answer.field(header::ALLOW)), (405, "PUT, DELETE"));
    }
    let options = site.send(&site.put, (Method::OPTIONS, "/a"), &[], b"").await;
    assert_eq!((options.status, options.field(header::ALLOW)), (204, "PUT, DELETE, OPTIONS"));
}

/// Paths that nothing may be published at: they climb, hide something, are reserved, or lead through what is in the way.
const NEVER: &[&str] = &[
    "/..",
    "/../outside/secret",
    "/../outside/new",
    "/../root2",
    "/deep/../../outside/secret",
    "/./a",
    "/deep/./a",
    "/deep/..",
    "//etc/passwd",
    "/deep//a",
    "/%2e%2e",
    "/%2e%2e/outside/secret",
    "/%2E%2E/outside/secret",
    "/.%2e/outside/secret",
    "/%2e./outside/secret",
    "/deep/%2e%2e/%2e%2e/outside/secret",
    "/%2e",
    "/deep/%2e/a",
    "/..%2foutside%2fsecret",
    "/..%2Foutside%2Fnew",
    "/deep/..%2f..%2foutside/secret",
    "/%2e%2e%2foutside%2fsecret",
    "/%2fetc%2fpasswd",
    "/%2Fetc/passwd",
    "/deep%2fa",
    "/%252e%252e/outside/secret",
    "/%252e%252e%252foutside%252fsecret",
    "/..%252foutside%252fsecret",
    "/%25252e%25252e/a",
    "/deep%252fa",
    "/%25%32%65%25%32%65/a",
    "/%00",
    "/a%00",
    "/a%00.html",
    "/%00/outside/secret",
    "/deep/..%00/..%00/outside",
    "/..%5coutside%5csecret",
    "/%5c..%5coutside",
    "/..%5Coutside/secret",
    "/a%5Cb",
    "/C:%5Cwindows",
    "/%c0%ae%c0%ae/outside/secret",
    "/%c0%ae%c0%ae%c0%afoutside",
    "/..%c0%afoutside",
    "/%e0%80%ae%e0%80%ae/outside",
    "/%f0%80%80%ae/outside",
    "/..%c1%9coutside",
    "/%ff%fe",
    "/%80",
    "/a%0ab",
    "/a%0d%0aX-Header:%20b",
    "/a%1b%5b2Jb",
    "/%7f",
    "/a%c2%9b",
    "/.env",
    "/.new",
    "/deep/.git/config",
    "/%2eenv",
    "/.well-known/.x",
    "/deep/.well-known/x",
    "/.medusa-versions/pages/kept/x",
    "/.medusa-versions/unfinished/x",
    "/%2emedusa-versions/x",
    "/site.luau",
    "/SITE.LUAU",
    "/site.luau.gz",
    "/new.luau~",
    "/absolute",
    "/absolute/secret",
    "/absolute/new",
    "/relative/secret",
    "/relative/new/er",
    "/link",
    "/link/",
    "/dangling",
    "/within",
    "/folder/er/a",
    "/folder",
    "/loop",
    "/loop/a",
    "/deep/er/nested/secret",
    "/deep/er/up",
    "/magic",
    "/cwd/a",
    "/fifo",
    "/socket",
    "/fifo/a",
];

#[tokio::test(flavor = "current_thread")]
async fn there_is_no_way_out_of_the_root() {
    let site = Fixture::new(StoreOptions { create_directories: true, ..StoreOptions::default() });
    let outside = site.dir.path().join("outside");
    fs::create_dir_all(site.path("deep/er")).unwrap();
    fs::write(site.path("real"), "real").unwrap();
    fs::write(site.path("site.luau"), "-- script").unwrap();
    fs::write(site.path(".env"), "SECRET=1").unwrap();
    symlink(&outside, site.path("absolute")).unwrap();
    symlink("../outside", site.path("relative")).unwrap();
    symlink(outside.join("secret"), site.path("link")).unwrap();
    symlink(outside.join("new"), site.path("dangling")).unwrap();
    symlink("real", site.path("within")).unwrap();
    symlink("deep", site.path("folder")).unwrap();
    symlink("loop", site.path("loop")).unwrap();
    symlink("../../relative", site.path("deep/er/nested")).unwrap();
    symlink("../../../outside/secret", site.path("deep/er/up")).unwrap();
    symlink("/proc/self/root/tmp/x", site.path("magic")).unwrap();
    symlink("/proc/self/cwd", site.path("cwd")).unwrap();
    mknodat(CWD, site.path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(site.path("socket")).unwrap();
    site.put("/kept", "one").await;
    site.put("/kept", "two").await;
    let before = all_below(site.dir.path());
    for &target in NEVER {
        for answer in [site.put(target, "evil").await, site.delete(target).await] {
            // What can be nothing but a directory is in the way of itself.
            let is_conflict = matches!(target, "/fifo/a" | "/link/") && answer.status == 409;
            assert!(is_conflict || matches!(answer.status, 400 | 403 | 404), "{target}: {answer:?}");
        }
    }
    assert_eq!(all_below(site.dir.path()), before);
}

#[tokio::test(flavor = "current_thread")]
async fn versions_are_kept_and_come_back() {
    let site =
        Fixture::new(StoreOptions { versions: 3, create_directories: true, ..StoreOptions::default() });
    for n in 0..6 {
        site.put("/sub/a", format!("content {n}")).await;
    }
    let versions = site.versions("sub/a");
    assert_eq!(versions.len(), 3);
    assert!(versions.is_sorted_by(|one, other| one.id > other.id && one.replaced > other.replaced));
    assert!(versions.iter().all(|version| version.size == 9 && version.modified <= version.replaced));
    let path = PagePath::plain("sub/a").unwrap();
    let store = &site.put.store;
    let options = &site.put.options.store;
    store.restore(&path, &versions[1].id, options).unwrap();
    assert_eq!(site.get("/sub/a").await.text(), "content 3");
    let after = site.versions("sub/a");
    assert_eq!(after.len(), 3, "what was there is a version now");
    assert!(matches!(store.restore(&path, &versions[2].id, options), Err(StoreError::NoVersion)));
    for id in ["", "../a", "1", "00000000000000000000", "0000000000000000000/"] {
        assert!(matches!(store.restore(&path, id, options), Err(StoreError::NoVersion)), "{id}");
    }
    // What was removed comes back, with the directory it was in.
    assert_eq!(site.delete("/sub/a").await.status, 204);
    assert_eq!(site.delete("/sub/").await.status, 204);
    let last = site.versions("sub/a").remove(0);
    store.restore(&path, &last.id, options).unwrap();
    assert_eq!(site.get("/sub/a").await.text(), "content 3");
    // A name that was a file's becomes a directory's.
    site.delete("/sub/a").await;
    assert_eq!(site.put("/sub/a/b", "b").await.status, 201);
    assert_eq!(site.put("/sub/a/b", "c").await.status, 204);
    assert_eq!((site.versions("sub/a").len(), site.versions("sub/a/b").len()), (3, 1));
    // They are nobody's to see.
    let kept = format!("/.medusa-versions/pages/sub/a/b/.{}", site.versions("sub/a/b")[0].id);
    assert!(site.path(&kept[1..]).is_file());
    assert_eq!(site.get(&kept).await.status, 404);
    assert_eq!(fs::metadata(site.path(".medusa-versions")).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "current_thread")]
async fn no_versions_are_kept_where_none_are_wanted() {
    let site = Fixture::new(StoreOptions { versions: 0, ..StoreOptions::default() });
    site.put("/a", "one").await;
    site.put("/a", "two").await;
    site.delete("/a").await;
    assert_eq!(site.versions("a"), []);
    assert_eq!(all_below(&site.path("")), []);
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_replaced_keeps_its_permissions() {
    let site = Fixture::new(StoreOptions::default());
    site.put("/a", "one").await;
    fs::set_permissions(site.path("a"), fs::Permissions::from_mode(0o4640)).unwrap();
    site.put("/a", "two").await;
    assert_eq!(
        fs::metadata(site.path("a")).unwrap().mode() & 0o7777,
        0o640,
        "but none that lends the owner's"
    );
    site.put("/b", "new").await;
    assert_eq!(fs::metadata(site.path("b")).unwrap().mode() & 0o133, 0, "nobody else may write it");
}

#[tokio::test(flavor = "current_thread")]
async fn the_quota_is_for_all_of_it_and_versions_give_way() {
    let kib = 1024;
    let site = Fixture::new(StoreOptions { quota: Some(64 * kib), ..StoreOptions::default() });
    let content = |len: u64| vec![b'x'; usize::try_from(len).unwrap()];
    assert_eq!(site.put("/large", content(65 * kib)).await.status, 507);
    assert_eq!(site.put("/a", content(20 * kib)).await.status, 201);
    assert_eq!(site.put("/a", content(20 * kib)).await.status, 204);
    assert_eq!(site.put("/a", content(20 * kib)).await.status, 204);
    assert_eq!(site.versions("a").len(), 2);
    // 60 KiB are there, 40 of them versions.
    let refused = site.put("/b", content(50 * kib)).await;
    assert_eq!((refused.status, site.versions("a").len()), (507, 2), "they would have gone for nothing");
    assert!(refused.text().contains("quota"), "{refused:?}");
    assert_eq!(site.put("/b", content(20 * kib)).await.status, 201);
    assert_eq!(site.versions("a").len(), 1, "the oldest went");
    let told = site.put_with("/c", &[(header::CONTENT_LENGTH, "60000")], "x").await;
    assert_eq!((told.status, site.path("c").exists()), (507, false), "nothing of it is taken");
    assert_eq!(site.put("/c", content(20 * kib)).await.status, 201);
    assert_eq!(site.versions("a").len(), 0);
    assert_eq!(site.put("/d", content(5 * kib)).await.status, 507);
    assert_eq!(site.put("/d", content(4 * kib)).await.status, 201);
    assert_eq!(site.put("/e", "").await.status, 507, "what is empty takes room, too");
    // What others do counts soon.
    fs::remove_file(site.path("b")).unwrap();
    while site.put("/e", content(20 * kib)).await.status != 201 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_upload_that_is_given_up_leaves_nothing() {
    let site = Fixture::new(StoreOptions { quota: Some(1 << 20), ..StoreOptions::default() });
    site.put("/a", "old").await;
    for round in 0..50 {
        let mut put = Box::pin(site.put("/a", vec![b'n'; 100_000]));
        for _ in 0..round % 5 {
            // It is dropped in whatever it is at.
            let _waits = tokio::time::timeout(Duration::from_micros(200), &mut put).await;
        }
        drop(put);
    }
    // Whoever was at its end has published it, and none of them holds room.
    let whole = vec![b'w'; 900_000];
    while site.put("/a", &whole).await.status != 204 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(site.put("/a", "new").await.status, 204);
    while !all_below(&site.path(".medusa-versions/unfinished")).is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(site.get("/a").await.text(), "new");
}
