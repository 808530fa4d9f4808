//! Compressed forms: files beside files, and what is compressed on demand.

use std::time::SystemTime;

use super::*;
use crate::handlers::compress::encode::tests::decode;

const ALL: &str = "gzip, deflate, br, zstd";

fn text() -> String {
    "all work and no play makes jack a dull boy\n".repeat(200)
}

impl Fixture {
    async fn get_as(&self, target: &str, accept: &str) -> Answer {
        self.get_with(target, header::ACCEPT_ENCODING, accept).await
    }

    /// Writes a file and makes it so old that its stamp is sure at once.
    fn write_old(&self, path: &str, content: impl AsRef<[u8]>, seconds: u64) {
        self.write(path, content);
        let file = File::options().write(true).open(self.path(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_beside_it_is_sent_to_those_who_take_it() {
    for cache in [0, FilesOptions::default().cache] {
        let site = Fixture::new(FilesOptions { cache, ..FilesOptions::default() });
        site.write("app.js", text());
        site.write("app.js.br", "brotli");
        site.write("app.js.gz", "gzip");
        let plain = site.get_settled("/app.js").await;
        for (accept, coding, body) in [
            (ALL, "br", "brotli"),
            ("gzip", "gzip", "gzip"),
            ("gzip, br;q=0.5", "gzip", "gzip"),
            ("br;q=0, *", "zstd", ""),
            ("identity, gzip;q=0.5", "", ""),
            ("deflate", "", ""),
        ] {
            // Twice: from the disk, then perhaps from memory.
            for _ in 0..2 {
                let answer = site.get_as("/app.js", accept).await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.field(header::VARY), "accept-encoding", "{accept}");
                assert_eq!(answer.field(header::CONTENT_TYPE), "text/javascript; charset=utf-8");
                if coding == "zstd" {
                    // There is none; with a cache one is made.
                    assert_eq!(answer.field(header::CONTENT_ENCODING) == "zstd", cache > 0);
                    continue;
                }
                assert_eq!(answer.field(header::CONTENT_ENCODING), coding, "{accept}");
                if coding.is_empty() {
                    assert_eq!(answer.field(header::ETAG), plain.field(header::ETAG));
                } else {
                    assert_eq!(answer.text(), body);
                    assert_ne!(answer.field(header::ETAG), plain.field(header::ETAG));
                }
            }
        }
        assert_eq!(plain.field(header::VARY), "accept-encoding", "also where nothing was asked for");
        let direct = site.get_as("/app.js.gz", ALL).await;
        assert_eq!((direct.field(header::CONTENT_ENCODING), direct.text()), ("", "gzip"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_encoded_file_has_preconditions_and_ranges_of_its_own() {
    let site = Fixture::new(FilesOptions::default());
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n >> 2) as u8).collect();
    for (name, encoded) in [("small.css", &b"0123456789"[..]), ("large.css", &large)] {
        site.write(name, text());
        site.write(&format!("{name}.gz"), encoded);
        let target = format!("/{name}");
        let gzip = (header::ACCEPT_ENCODING, "gzip");
        let whole = loop {
            let answer = site.get_as(&target, "gzip").await;
            if answer.field(header::ETAG).starts_with('"') {
                break answer;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let etag = whole.field(header::ETAG);
        let known = site.send(Method::GET, &target, &[gzip.clone(), (header::IF_NONE_MATCH, etag)]).await;
        assert_eq!((known.status, known.field(header::VARY)), (304, "accept-encoding"));
        let other = site.send(Method::GET, &target, &[(header::IF_NONE_MATCH, etag)]).await;
        assert_eq!(other.status, 200, "the plain file is another one");
        let fields = [gzip.clone(), (header::RANGE, "bytes=2-4"), (header::IF_RANGE, etag)];
        let part = site.send(Method::GET, &target, &fields).await;
        assert_eq!((part.status, part.field(header::CONTENT_ENCODING)), (206, "gzip"));
        assert_eq!(part.field(header::CONTENT_RANGE), format!("bytes 2-4/{}", encoded.len()));
        assert_eq!(part.body.unwrap(), encoded[2..5]);
        let parts = site.send(Method::GET, &target, &[gzip.clone(), (header::RANGE, "bytes=0-0,2-2")]).await;
        assert_eq!((parts.status, parts.body.unwrap()), (200, encoded.to_vec()));
        let head = site.send(Method::HEAD, &target, &[gzip]).await;
        assert_eq!(head.headers, whole.headers);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_form_older_than_its_file_is_not_sent() {
    let site = Fixture::new(FilesOptions { compress: false, ..uncached() });
    site.write_old("a.css", "new", 100);
    site.write_old("a.css.gz", "old", 200);
    let answer = site.get_as("/a.css", "gzip").await;
    assert_eq!((answer.text(), answer.field(header::CONTENT_ENCODING)), ("new", ""));
    site.write_old("a.css.gz", "same", 100);
    site.write_old("a.css", "new", 101);
    assert_eq!(site.get_as("/a.css", "gzip").await.text(), "same");
}

#[tokio::test(flavor = "current_thread")]
async fn a_form_that_comes_changes_and_goes_is_noticed() {
    let site = Fixture::new(FilesOptions { compress: false, ..FilesOptions::default() });
    site.write_old("a.css", "plain", 100);
    let until = async |wanted: &str| {
        for _ in 0..20_000 {
            if site.get_as("/a.css", "gzip").await.text() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never {wanted}");
    };
    until("plain").await;
    site.write("a.css.gz", "one");
    until("one").await;
    site.write("a.css.gz", "two");
    until("two").await;
    fs::remove_file(site.path("a.css.gz")).unwrap();
    until("plain").await;
}

#[tokio::test(flavor = "current_thread")]
async fn forms_are_protected_as_files_are() {
    let site = Fixture::new(FilesOptions { compress: false, ..uncached() });
    for name in ["out.css", "dir.css", "fifo.css", "magic.css", ".hidden.css"] {
        site.write_old(name, "plain", 100);
    }
    symlink(site.dir.path().join("outside/secret"), site.path("out.css.gz")).unwrap();
    fs::create_dir(site.path("dir.css.gz")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.path("fifo.css.gz"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    symlink("/proc/self/root/etc/passwd", site.path("magic.css.gz")).unwrap();
    site.write(".hidden.css.gz", "secret");
    links_settle().await;
    for name in ["out.css", "dir.css", "fifo.css", "magic.css"].repeat(2) {
        let answer = site.get_as(&format!("/{name}"), "gzip").await;
        assert_eq!((answer.text(), answer.field(header::CONTENT_ENCODING)), ("plain", ""), "{name}");
    }
    assert_eq!(site.get_as("/.hidden.css", "gzip").await.status, 404);
    let open = Fixture::new(FilesOptions { precompressed: false, compress: false, ..uncached() });
    open.write_old("a.css", "plain", 100);
    open.write("a.css.gz", "gzip");
    let answer = open.get_as("/a.css", "gzip").await;
    assert_eq!((answer.text(), answer.field(header::VARY)), ("plain", ""));
}

#[tokio::test(flavor = "current_thread")]
async fn text_is_compressed_on_demand_and_once() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a.txt", text());
    site.write("large.json", text().repeat(40));
    for (target, content) in [("/a.txt", text()), ("/large.json", text().repeat(40))] {
        let plain = site.get_settled(target).await;
        for (accept, coding) in [(ALL, Coding::Zstd), ("gzip", Coding::Gzip), ("gzip, br", Coding::Gzip)] {
            let answer = site.get_as(target, accept).await;
            assert_eq!(answer.field(header::CONTENT_ENCODING), coding.name(), "{target} {accept}");
            assert_eq!(answer.field(header::VARY), "accept-encoding");
            assert!(!answer.headers.contains_key(header::ACCEPT_RANGES));
            let encoded = answer.body.as_ref().unwrap();
            assert_eq!(answer.field(header::CONTENT_LENGTH), encoded.len().to_string());
            assert_eq!(decode(coding, encoded), content.as_bytes());
            let tag = plain.field(header::ETAG).trim_end_matches('"');
            assert_eq!(answer.field(header::ETAG), format!("W/{tag}-{}\"", coding.name()));
            assert_eq!(answer.field(header::LAST_MODIFIED), plain.field(header::LAST_MODIFIED));
            let fields =
                [(header::ACCEPT_ENCODING, accept), (header::IF_NONE_MATCH, answer.field(header::ETAG))];
            assert_eq!(site.send(Method::GET, target, &fields).await.status, 304);
            let head = site.send(Method::HEAD, target, &fields[..1]).await;
            assert_eq!((head.status, &head.headers), (200, &answer.headers));
            let again = site.files.at_once(&request(Method::GET, target, &fields[..1]).head);
            assert!(again.is_ok(), "it is kept");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_gains_nothing_or_must_not_be_is_not_compressed() {
    let site = Fixture::new(FilesOptions {
        cache_control: vec![CacheRule::new("as-is/**", "no-transform").unwrap()],
        ..FilesOptions::default()
    });
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(2000)
    .collect();
    site.write("a.png", text());
    site.write("short.txt", "x".repeat(1023));
    site.write("huge.txt", text().repeat(130));
    site.write("as-is/a.txt", text());
    site.write("a.txt", text());
    for target in ["/a.png", "/short.txt", "/huge.txt", "/as-is/a.txt"] {
        site.get_settled(target).await;
        let answer = site.get_as(target, ALL).await;
        assert_eq!(
            (answer.field(header::CONTENT_ENCODING), answer.field(header::VARY)),
            ("", ""),
            "{target}"
        );
    }
    site.get_settled("/a.txt").await;
    let fields = [(header::ACCEPT_ENCODING, ALL), (header::CACHE_CONTROL, "no-transform")];
    let answer = site.send(Method::GET, "/a.txt", &fields).await;
    assert_eq!((answer.field(header::CONTENT_ENCODING), answer.field(header::VARY)), ("", "accept-encoding"));
    let fields = [(header::ACCEPT_ENCODING, ALL), (header::RANGE, "bytes=0-2")];
    let answer = site.send(Method::GET, "/a.txt", &fields).await;
    assert_eq!((answer.status, answer.field(header::CONTENT_ENCODING), answer.text()), (206, "", "all"));
    let off = Fixture::new(FilesOptions { compress: false, ..FilesOptions::default() });
    off.write("a.txt", text());
    off.get_settled("/a.txt").await;
    assert_eq!(off.get_as("/a.txt", ALL).await.field(header::CONTENT_ENCODING), "");
    // What has the type of text, but is none.
    site.write("noise.txt", noise);
    site.get_settled("/noise.txt").await;
    for _ in 0..2 {
        let answer = site.get_as("/noise.txt", "gzip").await;
        assert_eq!(answer.body.unwrap().len(), 2000);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn one_compresses_while_the_others_get_it_plain() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a.txt", text());
    site.get_settled("/a.txt").await;
    let fields = [(header::ACCEPT_ENCODING, "gzip")];
    let first = site.files.handle(request(Method::GET, "/a.txt", &fields));
    let second = site.get_as("/a.txt", "gzip").await;
    assert_eq!((second.field(header::CONTENT_ENCODING), second.text()), ("", text().as_str()));
    let first = first.await.unwrap();
    assert_eq!(first.headers.get(header::CONTENT_ENCODING).unwrap(), "gzip");
    assert_eq!(site.get_as("/a.txt", "gzip").await.field(header::CONTENT_ENCODING), "gzip");
    // Who leaves in the middle does not keep others from it.
    site.write("b.txt", text());
    site.get_settled("/b.txt").await;
    drop(site.files.handle(request(Method::GET, "/b.txt", &fields)));
    assert_eq!(site.get_as("/b.txt", "gzip").await.field(header::CONTENT_ENCODING), "gzip");
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_is_seen_in_every_form() {
    let site = Fixture::new(FilesOptions::default());
    site.write("a.txt", text());
    site.get_settled("/a.txt").await;
    assert_eq!(site.get_as("/a.txt", "gzip").await.field(header::CONTENT_ENCODING), "gzip");
    let later = text().replace("jack", "jill");
    site.write("a.txt", &later);
    let seen = async {
        loop {
            let answer = site.get_as("/a.txt", "gzip").await;
            if answer.field(header::CONTENT_ENCODING) == "gzip"
                && decode(Coding::Gzip, answer.body.as_ref().unwrap()) == later.as_bytes()
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen).await.expect("the change never came");
}

#[tokio::test(flavor = "current_thread")]
async fn a_long_listing_is_compressed() {
    let site = Fixture::new(FilesOptions { listing: true, ..FilesOptions::default() });
    for n in 0..50 {
        site.write(&format!("d/file-{n}.txt"), "");
    }
    let plain = site.get("/d/").await;
    let zipped = site.get_as("/d/", "gzip").await;
    assert_eq!(zipped.field(header::CONTENT_ENCODING), "gzip");
    assert_eq!(decode(Coding::Gzip, zipped.body.as_ref().unwrap()), plain.body.unwrap());
    let off = Fixture::new(FilesOptions { listing: true, compress: false, ..FilesOptions::default() });
    assert_eq!(off.get_as("/", "gzip").await.field(header::CONTENT_ENCODING), "");
}
