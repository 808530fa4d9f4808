//! The handler on real directories: what is served, and above all what is not.

use std::fs::{self, File};
use std::future::poll_fn;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tempfile::TempDir;

mod addresses;
mod forms;
mod parts;

use super::*;
use crate::body::{Body, BodyError};
use crate::budget::LEAST;
use crate::request::RequestBody;
use crate::store::{FRESH, RootError, tag};

/// A root with a neighbour that must not be reached.
struct Fixture {
    dir: TempDir,
    files: Files,
}

/// Without a cache, so that every request looks at the disk.
fn uncached() -> FilesOptions {
    FilesOptions { cache: 0, ..FilesOptions::default() }
}

impl Fixture {
    fn new(options: FilesOptions) -> Self {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        let files = Files::open(&dir.path().join("root"), options).unwrap();
        Self { dir, files }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Sends a request below a mount on `/`.
    async fn send(&self, method: Method, target: &str, headers: &[(HeaderName, &str)]) -> Answer {
        let request = request(method, target, headers);
        let response = self.files.handle(request).await.unwrap();
        Answer {
            status: response.status.as_u16(),
            headers: response.headers,
            body: collect(response.body).await,
        }
    }

    async fn get(&self, target: &str) -> Answer {
        self.send(Method::GET, target, &[]).await
    }

    async fn get_with(&self, target: &str, name: HeaderName, value: &str) -> Answer {
        self.send(Method::GET, target, &[(name, value)]).await
    }

    /// Asks until the answer is as wanted; what changes on the disk is seen soon, not at once.
    async fn get_until(&self, target: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let asking = async {
            loop {
                let answer = self.get(target).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asking).await.expect("the answer never came")
    }

    /// Asks once all files are old enough for a change to show, and what is known of them was read since.
    async fn get_settled(&self, target: &str) -> Answer {
        let newest = || newest_change(&self.dir.path().join("root"));
        while newest().elapsed().is_ok_and(|age| age < SETTLED) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.get_until(target, |answer| !answer.field(header::ETAG).starts_with("W/")).await
    }
}

/// A tick of the kernel's clock, and as long as what was read in it is used.
const SETTLED: Duration = Duration::from_millis(20 + 50 + 5);

fn newest_change(directory: &Path) -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let changed = Duration::new(metadata.ctime() as u64, metadata.ctime_nsec() as u32);
        newest = newest.max(SystemTime::UNIX_EPOCH + changed);
        if metadata.is_dir() && !path.is_symlink() {
            newest = newest.max(newest_change(&path));
        }
    }
    newest
}

pub(crate) fn request(method: Method, target: &str, headers: &[(HeaderName, &str)]) -> Request {
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        fields.try_append(name, HeaderValue::from_str(value).unwrap()).unwrap();
    }
    let head = Head { headers: fields, tail: 1, ..Head::new(method, target.parse::<Uri>().unwrap()) };
    Request { head: head.into(), body: RequestBody::from_bytes(bytes::Bytes::new()) }
}

pub(crate) async fn collect(mut body: crate::body::Body) -> Result<Vec<u8>, BodyError> {
    let mut all = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|cx| body.poll_chunk(cx)).await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Result<Vec<u8>, BodyError>,
}

impl Answer {
    /// The value of a field, empty if it is not there.
    fn field(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.body.as_ref().unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_is_served_with_its_fields() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a/hello world.txt", "hello");
    let answer = site.get_settled("/a/hello%20world.txt").await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.field(header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert_eq!(answer.field(header::CONTENT_LENGTH), "5");
    assert_eq!(answer.field(header::ACCEPT_RANGES), "bytes");
    let modified = fs::metadata(site.path("a/hello world.txt")).unwrap().modified().unwrap();
    assert_eq!(answer.field(header::LAST_MODIFIED), httpdate::fmt_http_date(modified));
}

#[tokio::test(flavor = "current_thread")]
async fn only_get_and_head_are_answered() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "hello");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = site.send(method, "/a", &[]).await;
        assert_eq!((answer.status, answer.field(header::ALLOW)), (405, "GET, HEAD"));
    }
    let options = site.send(Method::OPTIONS, "/a", &[]).await;
    assert_eq!((options.status, options.field(header::ALLOW)), (204, "GET, HEAD, OPTIONS"));
    let (get, head) = (site.get_settled("/a").await, site.send(Method::HEAD, "/a", &[]).await);
    assert_eq!((head.status, &head.headers), (200, &get.headers));
}

#[tokio::test(flavor = "current_thread")]
async fn a_directory_is_its_index_file() {
    let index = vec!["index.html".to_owned(), "README.md".to_owned()];
    let site = Fixture::new(FilesOptions { index, ..FilesOptions::default() });
    site.write("index.html", "home");
    site.write("docs/README.md", "readme");
    fs::create_dir_all(site.path("docs/index.html")).unwrap();
    fs::create_dir(site.path("empty")).unwrap();
    assert_eq!(site.get("/").await.text(), "home");
    let docs = site.get("/docs/").await;
    assert_eq!((docs.text(), docs.field(header::CONTENT_TYPE)), ("readme", "text/markdown; charset=utf-8"));
    assert_eq!(site.get("/empty/").await.status, 404);
    site.write("docs/README.md", "newer");
    site.get_until("/docs/", |answer| answer.text() == "newer").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_directory_without_its_slash_is_redirected() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a dir/index.html", "x");
    let answer = site.get("/a%20dir?q=1").await;
    assert_eq!((answer.status, answer.field(header::LOCATION)), (301, "/a%20dir/?q=1"));
    site.write("file", "x");
    assert_eq!(site.get("/file/").await.status, 404);
    assert_eq!(site.get("/file/x").await.status, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn a_redirect_stays_on_this_host() {
    let site = Fixture::new(FilesOptions::default());
    site.write("\\evil.example/index.html", "x");
    assert_eq!(site.get("/\\evil.example").await.field(header::LOCATION), "/%5Cevil.example/");
}

#[tokio::test(flavor = "current_thread")]
async fn a_listing_shows_what_can_be_opened() {
    let site = Fixture::new(FilesOptions { listing: true, ..FilesOptions::default() });
    site.write("d/b.txt", "12345");
    site.write("d/sub/x", "");
    site.write("d/.hidden", "");
    symlink("b.txt", site.path("d/inside")).unwrap();
    symlink(site.dir.path().join("outside/secret"), site.path("d/outside")).unwrap();
    symlink("nowhere", site.path("d/dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("d/socket")).unwrap();
    let page = site.get("/d/").await;
    assert_eq!(page.field(header::CONTENT_TYPE), "text/html; charset=utf-8");
    let links: Vec<&str> =
        page.text().split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let columns = ["?sort=name&amp;order=desc", "?sort=size&amp;order=desc", "?sort=modified&amp;order=desc"];
    assert_eq!(links, [&["../"][..], &columns, &["./sub/", "./b.txt", "./inside"]].concat());
    assert!(page.text().contains("5 B"));
    assert!(!site.get("/").await.text().contains("../"), "nothing is above the root");
    let sorted = site.get("/d/?sort=modified&order=asc").await;
    assert!(sorted.text().contains("aria-sort=\"ascending\"><a href=\"?sort=modified&amp;order=desc\">"));
}

#[tokio::test(flavor = "current_thread")]
async fn dotfiles_are_not_there_unless_wanted() {
    for (dotfiles, status) in [(false, 404), (true, 200)] {
        let site = Fixture::new(FilesOptions { dotfiles, listing: true, ..FilesOptions::default() });
        site.write(".git/config", "secret");
        site.write("a/.htpasswd", "secret");
        site.write(".well-known/x", "public");
        assert_eq!(site.get("/.git/config").await.status, status);
        assert_eq!(site.get("/%2egit/config").await.status, status);
        assert_eq!(site.get("/a/.htpasswd").await.status, status);
        assert_eq!(site.get("/.well-known/x").await.text(), "public");
        assert_eq!(site.get("/").await.text().contains(".git"), dotfiles);
        assert!(site.get("/").await.text().contains(".well-known"));
    }
}

/// Waits until links are older than the kernel's clock ticks. Following one whose time of access is to be noted takes the
/// blocking pool; of younger ones it is noted every time, and the worker's own way would never be tried.
async fn links_settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test(flavor = "current_thread")]
async fn there_is_no_way_out_of_the_root() {
    // Looking for siblings would ask the disk for names it does not know yet, and so leave the worker's own way untried.
    let site = Fixture::new(FilesOptions {
        dotfiles: true,
        listing: true,
        precompressed: false,
        ..FilesOptions::default()
    });
    let outside = site.dir.path().join("outside");
    fs::create_dir_all(site.path("deep/er")).unwrap();
    symlink(&outside, site.path("absolute")).unwrap();
    symlink("../outside", site.path("relative")).unwrap();
    symlink(outside.join("secret"), site.path("file")).unwrap();
    symlink("../../relative", site.path("deep/er/nested")).unwrap();
    symlink("../../../outside/secret", site.path("deep/er/up")).unwrap();
    symlink("/proc/self/root/etc/passwd", site.path("magic")).unwrap();
    symlink("/proc/self/cwd", site.path("cwd")).unwrap();
    links_settle().await;
    for target in [
        "/../outside/secret",
        "/%2e%2e/outside/secret",
        "/deep/%2e%2e/%2e%2e/outside/secret",
        "/..%2foutside%2fsecret",
        "/deep/..%2f..%2foutside/secret",
        "/absolute/secret",
        "/absolute/",
        "/relative/secret",
        "/file",
        "/deep/er/nested/secret",
        "/deep/er/up",
        "/magic",
        "/cwd/",
        "/%00",
        "/file%00.txt",
        "//etc/passwd",
        "/%2Fetc/passwd",
    ] {
        // Twice: on the blocking pool, then on the worker.
        for _ in 0..2 {
            let answer = site.get(target).await;
            assert_eq!(answer.status, 404, "{target}");
            assert!(!answer.text().contains("secret"), "{target}");
        }
    }
    assert_eq!(site.get("/absolute").await.status, 404, "not even a redirect tells that it is a directory");
}

#[tokio::test(flavor = "current_thread")]
async fn links_within_the_root_are_followed() {
    let site = Fixture::new(FilesOptions::default());
    site.write("releases/2/index.html", "two");
    symlink("releases/2", site.path("current")).unwrap();
    symlink("../releases/2/index.html", site.path("releases/link.html")).unwrap();
    assert_eq!(site.get("/current/").await.text(), "two");
    assert_eq!(site.get("/releases/link.html").await.text(), "two");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_file_is_not_there() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let site = Fixture::new(FilesOptions::default());
    mknodat(CWD, site.path("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    for target in ["/fifo", "/socket", "/nothing", &format!("/{}", "n".repeat(300)), &"/n".repeat(3000)] {
        assert_eq!(site.get(target).await.status, 404, "{target}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_may_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = Fixture::new(FilesOptions::default());
    site.write("closed", "x");
    fs::set_permissions(site.path("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // Nothing is closed to root.
    let expected = if rustix::process::geteuid().is_root() { 200 } else { 403 };
    assert_eq!(site.get("/closed").await.status, expected);
}

#[tokio::test(flavor = "current_thread")]
async fn preconditions_are_honoured() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "hello");
    let whole = site.get_settled("/a").await;
    let (etag, date) = (whole.field(header::ETAG), whole.field(header::LAST_MODIFIED));
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, value, status) in [
        (header::IF_NONE_MATCH, etag, 304),
        (header::IF_NONE_MATCH, "*", 304),
        (header::IF_NONE_MATCH, "\"other\"", 200),
        (header::IF_MODIFIED_SINCE, date, 304),
        (header::IF_MODIFIED_SINCE, old, 200),
        (header::IF_MODIFIED_SINCE, "nonsense", 200),
        (header::IF_MATCH, etag, 200),
        (header::IF_MATCH, "\"other\"", 412),
        (header::IF_UNMODIFIED_SINCE, date, 200),
        (header::IF_UNMODIFIED_SINCE, old, 412),
    ] {
        let answer = site.get_with("/a", name.clone(), value).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        if status == 304 {
            assert_eq!((answer.field(header::ETAG), answer.text()), (etag, ""));
            assert!(!answer.headers.contains_key(header::CONTENT_LENGTH));
        }
    }
    let two_lines = [(header::IF_NONE_MATCH, "\"other\""), (header::IF_NONE_MATCH, etag)];
    assert_eq!(site.send(Method::GET, "/a", &two_lines).await.status, 304);
}

#[tokio::test(flavor = "current_thread")]
async fn one_range_is_sent_as_a_part() {
    let site = Fixture::new(FilesOptions::default());
    let large: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    site.write("small", "0123456789");
    site.write("large", &large);
    site.write("empty", "");
    let part = site.get_with("/small", header::RANGE, "bytes=2-4").await;
    assert_eq!((part.status, part.text()), (206, "234"));
    assert_eq!(part.field(header::CONTENT_RANGE), "bytes 2-4/10");
    assert!(!part.field(header::ETAG).is_empty());
    let end = site.get_with("/large", header::RANGE, "bytes=-1000").await;
    assert_eq!((end.status, end.body.unwrap().as_slice()), (206, &large[199_000..]));
    for (target, range, status, content_range) in [
        ("/small", "bytes=9-", 206, "bytes 9-9/10"),
        ("/small", "bytes=5-1000", 206, "bytes 5-9/10"),
        ("/small", "bytes=10-", 416, "bytes */10"),
        ("/empty", "bytes=0-", 416, "bytes */0"),
        ("/small", "bytes=0-1,4-5", 206, ""),
        ("/small", "lines=1-2", 200, ""),
        ("/small", "bytes=x", 200, ""),
    ] {
        let answer = site.get_with(target, header::RANGE, range).await;
        assert_eq!((answer.status, answer.field(header::CONTENT_RANGE)), (status, content_range), "{range}");
    }
    let head = site.send(Method::HEAD, "/small", &[(header::RANGE, "bytes=2-4")]).await;
    assert_eq!((head.status, head.field(header::CONTENT_LENGTH)), (200, "10"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_listing_is_json_for_programs() {
    let site = Fixture::new(FilesOptions { listing: true, ..FilesOptions::default() });
    site.write("d/b.txt", "12345");
    for (target, accept, content_type) in [
        ("/d/", "application/json", "application/json"),
        ("/d/?format=json", "*/*", "application/json"),
        ("/d/?format=html", "application/json", "text/html; charset=utf-8"),
        ("/d/", "text/html", "text/html; charset=utf-8"),
    ] {
        let answer = site.get_with(target, header::ACCEPT, accept).await;
        assert_eq!(answer.field(header::CONTENT_TYPE), content_type, "{target} {accept}");
        assert_eq!(answer.field(header::VARY), "accept, accept-encoding");
        let is_json = answer
            .text()
            .starts_with("[\n{\"name\":\"b.txt\",\"type\":\"file\",\"size\":5,\"modified\":\"20");
        assert_eq!(is_json, content_type == "application/json", "{}", answer.text());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_sent_of_a_large_listing_is_the_clients() {
    let site = Fixture::new(FilesOptions { listing: true, ..FilesOptions::default() });
    for n in 0..100 {
        site.write(&format!("{n}.txt"), "");
    }
    // Made, then from the cache.
    for _ in 0..2 {
        let response = site.files.handle(request(Method::GET, "/", &[])).await.unwrap();
        let Body::Bytes(bytes) = response.body else { panic!("a listing is in memory") };
        assert!(bytes.len() as u64 >= LEAST, "{} bytes are not counted anyway", bytes.len());
        assert!(bytes.is_unique(), "what the cache has, too, is not counted");
    }
}

#[test]
fn a_directory_counts_as_being_read_when_its_client_has_left() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let site = Fixture::new(FilesOptions { listing: true, ..FilesOptions::default() });
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(0);
        let busy = tokio::task::spawn_blocking(move || gate.recv());
        let head = request(Method::GET, "/", &[]).head;
        let view = Box::new(View::of(&head, site.files.options()));
        let waits = Waits::List { target: Target::parse("", false, &[]).unwrap(), view };
        let mut leaves = Box::pin(site.files.wait(head, waits));
        let waits = poll_fn(|cx| Poll::Ready(leaves.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "the only thread is busy");
        drop(leaves);
        let all = u32::try_from(listing::at_once()).unwrap();
        assert!(AT_ONCE.try_acquire_many(all).is_err(), "it is still to be read");
        drop(go);
        busy.await.unwrap().unwrap_err();
        let _all = AT_ONCE.acquire_many(all).await.unwrap();
        assert_eq!(site.files.place.listings.read(), 1);
    });
}

#[tokio::test(flavor = "current_thread")]
async fn a_range_of_another_state_is_the_whole() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "0123456789");
    let whole = site.get_settled("/a").await;
    for (condition, status) in [
        (whole.field(header::ETAG), 206),
        (whole.field(header::LAST_MODIFIED), 206),
        ("\"other\"", 200),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 200),
    ] {
        let fields = [(header::RANGE, "bytes=0-3"), (header::IF_RANGE, condition)];
        assert_eq!(site.send(Method::GET, "/a", &fields).await.status, status, "{condition}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_is_seen_with_a_new_tag() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "first");
    let first = site.get_settled("/a").await;
    site.write("a", "later");
    let later = site.get_until("/a", |answer| answer.text() == "later").await;
    assert_ne!(later.field(header::ETAG), first.field(header::ETAG));
    site.write("a", "no");
    let shorter = site.get_until("/a", |answer| answer.text() == "no").await;
    assert_eq!(shorter.field(header::CONTENT_LENGTH), "2");
    fs::remove_file(site.path("a")).unwrap();
    site.get_until("/a", |answer| answer.status == 404).await;
    site.write("a", "again");
    site.get_until("/a", |answer| answer.text() == "again").await;
}

/// In memory, hashed on disk, and too long to be hashed.
const LENGTHS: [u64; 3] = [10, 1_000_000, tag::HASHED + 1];

/// A file of that length, most of it a hole, which begins with `text`; last modified long ago, as copies are.
fn write_dated(path: &Path, text: &str, len: u64) {
    let mut file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len(len).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
}

/// With the same length and date, in the same inode: for another content there is another tag, and neither a 304 nor a part.
#[tokio::test(flavor = "current_thread")]
async fn a_tag_is_of_the_content_whatever_the_date_says() {
    for len in LENGTHS {
        let site = Fixture::new(FilesOptions::default());
        write_dated(&site.path("a"), "version 1", len);
        let first = site.get_settled("/a").await;
        let tag = first.field(header::ETAG).to_owned();
        let known = [(header::IF_NONE_MATCH, tag.as_str())];
        let part = [(header::RANGE, "bytes=5-8"), (header::IF_RANGE, tag.as_str())];
        assert_eq!(site.send(Method::GET, "/a", &known).await.status, 304, "{len}");
        assert_eq!(site.send(Method::GET, "/a", &part).await.status, 206, "{len}");
        write_dated(&site.path("a"), "version 2", len);
        let second =
            site.get_until("/a", |answer| answer.body.as_ref().unwrap().starts_with(b"version 2")).await;
        assert_ne!(second.field(header::ETAG), tag, "{len}");
        assert_eq!(second.field(header::LAST_MODIFIED), first.field(header::LAST_MODIFIED), "{len}");
        let settled = site.get_settled("/a").await;
        assert_ne!(settled.field(header::ETAG), tag, "{len}");
        assert_eq!(site.send(Method::GET, "/a", &known).await.status, 200, "{len}");
        assert_eq!(site.send(Method::GET, "/a", &part).await.status, 200, "{len}");
    }
}

/// Two machines: other inodes, and other times at which the copies were made.
#[tokio::test(flavor = "current_thread")]
async fn the_same_file_has_the_same_tag_elsewhere() {
    for len in LENGTHS {
        let (here, there) = (Fixture::new(FilesOptions::default()), Fixture::new(FilesOptions::default()));
        write_dated(&here.path("a"), "the same", len);
        let tag = here.get_settled("/a").await.field(header::ETAG).to_owned();
        here.write("a.gz", "a sibling is another content");
        write_dated(&there.path("a"), "the same", len);
        let other = there.get_settled("/a").await;
        // What is too long to be hashed has a tag of its machine: safe, and not shared.
        assert_eq!(other.field(header::ETAG) == tag, len <= tag::HASHED, "{len}");
        // Touched, renamed: it is what it was.
        fs::rename(there.path("a"), there.path("b")).unwrap();
        File::open(there.path("b")).unwrap().set_modified(SystemTime::now()).unwrap();
        let moved = there.get_settled("/b").await;
        assert_eq!(moved.field(header::ETAG) == tag, len <= tag::HASHED, "{len}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_that_leaves_size_and_time_is_seen() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "first");
    site.get_settled("/a").await;
    let modified = fs::metadata(site.path("a")).unwrap().modified().unwrap();
    site.write("a", "later");
    File::options().write(true).open(site.path("a")).unwrap().set_modified(modified).unwrap();
    site.get_until("/a", |answer| answer.text() == "later").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_cached_file_that_becomes_a_link_out_is_gone() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "inside");
    site.get_settled("/a").await;
    let link = site.path("link");
    symlink(site.dir.path().join("outside/secret"), &link).unwrap();
    fs::rename(link, site.path("a")).unwrap();
    let answer = site.get_until("/a", |answer| answer.text() != "inside").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn a_cached_file_that_is_moved_out_and_linked_to_is_gone() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "inside");
    site.get_settled("/a").await;
    // The very same file, but now outside.
    let moved = site.dir.path().join("outside/moved");
    fs::rename(site.path("a"), &moved).unwrap();
    symlink(moved, site.path("a")).unwrap();
    site.get_until("/a", |answer| answer.status == 404).await;
}

#[tokio::test(flavor = "current_thread")]
async fn renaming_meanwhile_opens_no_way_out() {
    let site = Fixture::new(uncached());
    site.write("real/secret", "public");
    symlink("real", site.path("door")).unwrap();
    let (out, door, spare) = (site.dir.path().join("outside"), site.path("door"), site.path("spare"));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let swapping = tokio::task::spawn_blocking(move || {
        for target in [out.as_path(), Path::new("real")].into_iter().cycle() {
            if stopped.load(Relaxed) {
                break;
            }
            symlink(target, &spare).unwrap();
            fs::rename(&spare, &door).unwrap();
        }
    });
    // Until both sides of the race were met, often.
    let mut seen = [0; 2];
    while seen[0].min(seen[1]) < 200 {
        let answer = site.get("/door/secret").await;
        match answer.status {
            200 => assert_eq!(answer.text(), "public"),
            status => assert_eq!(status, 404),
        }
        seen[usize::from(answer.status == 200)] += 1;
    }
    stop.store(true, Relaxed);
    swapping.await.unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn the_root_can_be_replaced_as_a_whole() {
    let site = Fixture::new(uncached());
    site.write("a", "old");
    assert_eq!(site.get("/a").await.text(), "old");
    let (root, old) = (site.dir.path().join("root"), site.dir.path().join("old"));
    fs::rename(&root, old).unwrap();
    assert_eq!(site.get("/a").await.status, 404);
    fs::create_dir(&root).unwrap();
    site.write("a", "new");
    assert_eq!(site.get("/a").await.text(), "new");
}

#[tokio::test(flavor = "current_thread")]
async fn small_files_are_answered_from_memory() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", "hello");
    site.write("large", vec![0; 100_000]);
    let field = |name| site.files.status().get(name).cloned();
    site.get_settled("/a").await;
    let before = field("cache_hits");
    site.get_until("/a", |_| field("cache_hits") != before).await;
    assert_eq!(site.get("/large").await.body.unwrap().len(), 100_000);
    assert_eq!(field("cached_files"), Some(Value::Count(1)));
}

#[tokio::test(flavor = "current_thread")]
async fn a_large_file_that_shrinks_breaks_off() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a", vec![1; 500_000]);
    let response = site.files.handle(request(Method::GET, "/a", &[])).await.unwrap();
    File::options().write(true).open(site.path("a")).unwrap().set_len(1000).unwrap();
    assert!(matches!(collect(response.body).await, Err(BodyError::Shrank { missing: 499_000 })));
}

#[tokio::test(flavor = "current_thread")]
async fn one_cached_state_is_never_mixed_with_another() {
    let site = Fixture::new(FilesOptions::default());
    let write = |n: u8| {
        fs::write(site.path("next"), vec![n; 1000 + usize::from(n)]).unwrap();
        fs::rename(site.path("next"), site.path("a")).unwrap();
    };
    for n in 0..60 {
        write(n);
        let answer = site.get("/a").await;
        let body = answer.body.as_ref().unwrap();
        assert_eq!(answer.field(header::CONTENT_LENGTH), body.len().to_string());
        assert_eq!(body.len(), 1000 + usize::from(body[0]));
        assert!(body.iter().all(|byte| *byte == body[0]));
    }
}

#[test]
fn roots_that_cannot_be_served_are_told() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let open = |path: &str, options| Files::open(&dir.path().join(path), options).map(drop).unwrap_err();
    assert!(matches!(open("nothing", FilesOptions::default()), FilesError::Root(RootError::Missing(_))));
    assert!(matches!(open("file", FilesOptions::default()), FilesError::Root(RootError::NotDirectory(_))));
    let index = |name: &str| FilesOptions { index: vec![name.to_owned()], ..FilesOptions::default() };
    for name in ["", "..", "a/b", "a\0"] {
        assert!(matches!(open("", index(name)), FilesError::Index(_)), "{name:?}");
    }
    let message = open("nothing", FilesOptions::default()).to_string();
    assert!(message.contains(&dir.path().join("nothing").display().to_string()), "{message}");
}
