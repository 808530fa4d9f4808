//! Clean URLs, the page for what is not there, `Cache-Control`, and what needs no other thread.

use super::*;

fn clean() -> FilesOptions {
    FilesOptions { clean_urls: true, ..FilesOptions::default() }
}

#[tokio::test(flavor = "current_thread")]
async fn pages_have_one_address_without_html() {
    let site = Fixture::new(clean());
    for (path, content) in [
        ("index.html", "home"),
        ("metadata.html", "metadata"),
        ("metadata/index.html", "metadata's directory"),
        ("docs/index.html", "docs"),
        ("docs/a b.html", "a b"),
        ("file", "a file"),
        ("file.html", "the page of the file"),
        ("dir/x.txt", "x"),
        ("style.css", "p {}"),
        ("sub/home.html", "home"),
    ] {
        site.write(path, content);
    }
    for (target, status, expected) in [
        ("/", 200, "home"),
        ("/metadata", 200, "metadata"),
        ("/metadata/", 200, "metadata's directory"),
        ("/docs/", 200, "docs"),
        ("/docs/a%20b", 200, "a b"),
        ("/file", 200, "a file"),
        ("/file.html", 200, "the page of the file"),
        ("/style.css", 200, "p {}"),
        ("/metadata.html", 301, "/metadata"),
        ("/metadata.html?x=1", 301, "/metadata?x=1"),
        ("/metadata%2ehtml", 301, "/metadata"),
        ("/docs/a%20b.html", 301, "/docs/a%20b"),
        ("/index.html", 301, "/"),
        ("/docs/index.html?x", 301, "/docs/?x"),
        ("/docs", 301, "/docs/"),
        ("/dir", 301, "/dir/"),
        ("/sub/home.html", 301, "/sub/home"),
        ("/nothing", 404, ""),
        ("/nothing.html", 404, ""),
        ("/metadata.html/", 404, ""),
    ] {
        let answer = site.get(target).await;
        assert_eq!(answer.status, status, "{target}");
        match status {
            200 => assert_eq!(answer.text(), expected, "{target}"),
            301 => assert_eq!(answer.field(header::LOCATION), expected, "{target}"),
            _ => {}
        }
    }
    let plain = Fixture::new(FilesOptions::default());
    plain.write("metadata.html", "metadata");
    assert_eq!(plain.get("/metadata").await.status, 404);
    assert_eq!(plain.get("/metadata.html").await.status, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn every_redirect_ends_at_a_page() {
    let site = Fixture::new(FilesOptions {
        index: vec!["index.html".to_owned(), "default.html".to_owned(), "home.html".to_owned()],
        dotfiles: true,
        ..clean()
    });
    for path in [
        "a/index.html",
        "a/default.html",
        "b/default.html",
        "b/default",
        "c.html",
        "c.html.html",
        "d/.html",
        "e/index",
        "e/index.html",
        "f/index/x",
        "f/index.html",
        "g.html/index.html",
    ] {
        site.write(path, path);
    }
    for path in [
        "/a/index.html",
        "/a/default.html",
        "/b/default.html",
        "/c.html",
        "/c.html.html",
        "/d/.html",
        "/e/index.html",
        "/f/index.html",
        "/f/index",
        "/g.html",
        "/a",
        "/e/index",
    ] {
        let mut target = path.to_owned();
        let mut hops = 0;
        while let answer = site.get(&target).await
            && answer.status != 200
        {
            assert_eq!(answer.status, 301, "{path}: {target}");
            target = answer.field(header::LOCATION).to_owned();
            hops += 1;
            assert!(hops < 3, "{path} goes around: {target}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_shorter_address_stays_on_this_host() {
    let site = Fixture::new(clean());
    site.write("\\evil.example/index.html", "x");
    site.write("\\evil.html", "x");
    assert_eq!(site.get("/\\evil.example/index.html").await.field(header::LOCATION), "/%5Cevil.example/");
    assert_eq!(site.get("/\\evil.html").await.field(header::LOCATION), "/%5Cevil");
}

#[tokio::test(flavor = "current_thread")]
async fn clean_addresses_hide_what_is_hidden() {
    let site = Fixture::new(clean());
    site.write(".secret.html", "secret");
    symlink(site.dir.path().join("outside/secret"), site.path("out.html")).unwrap();
    links_settle().await;
    for target in ["/.secret", "/.secret.html", "/out", "/out.html"].repeat(2) {
        let answer = site.get(target).await;
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.text().contains("secret"));
    }
}

/// A root with a page for 404.
fn with_page(options: FilesOptions) -> Fixture {
    let mut site = Fixture::new(FilesOptions::default());
    site.write("404.html", "<p>lost</p>".repeat(200));
    let options = FilesOptions { not_found: Some("404.html".to_owned()), ..options };
    site.files = Files::open(&site.dir.path().join("root"), options).unwrap();
    site
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_not_found_has_a_page() {
    for options in [FilesOptions::default(), uncached(), clean()] {
        let site = with_page(options);
        let etag = site.get_settled(if site.files.options().clean_urls { "/404" } else { "/404.html" }).await;
        let etag = etag.field(header::ETAG);
        for target in ["/nothing", "/..", "/.git/config", "/no/such/", "/%00"] {
            let fields = [(header::IF_NONE_MATCH, etag), (header::RANGE, "bytes=0-1")];
            let answer = site.send(Method::GET, target, &fields).await;
            assert_eq!((answer.status, answer.text()), (404, "<p>lost</p>".repeat(200).as_str()), "{target}");
            assert_eq!(answer.field(header::CONTENT_TYPE), "text/html; charset=utf-8");
            assert_eq!(answer.field(header::CONTENT_LENGTH), "2200");
            assert!(!answer.headers.contains_key(header::ETAG));
        }
        let head = site.send(Method::HEAD, "/nothing", &[]).await;
        assert_eq!((head.status, head.field(header::CONTENT_LENGTH)), (404, "2200"));
    }
    let site = with_page(FilesOptions::default());
    site.get_settled("/404.html").await;
    let zipped = site.get_with("/nothing", header::ACCEPT_ENCODING, "gzip").await;
    assert_eq!((zipped.status, zipped.field(header::CONTENT_ENCODING)), (404, "gzip"));
    fs::remove_file(site.path("404.html")).unwrap();
    let answer = site.get_until("/nothing", |answer| !answer.text().contains("lost")).await;
    assert_eq!(answer.status, 404, "the server's own page stands in");
}

#[tokio::test(flavor = "current_thread")]
async fn one_file_may_be_served_where_nothing_is() {
    for options in [FilesOptions::default(), uncached(), clean()] {
        let mut site = Fixture::new(FilesOptions::default());
        site.write("app.html", "<p>app</p>".repeat(200));
        site.write("a.txt", "a file");
        let options = FilesOptions { fallback: Some("app.html".to_owned()), ..options };
        site.files = Files::open(&site.dir.path().join("root"), options).unwrap();
        assert_eq!(site.get_settled("/a.txt").await.text(), "a file");
        for target in ["/nothing", "/users/7", "/.git/config", "/no/such/"].repeat(2) {
            let answer = site.get(target).await;
            assert_eq!((answer.status, answer.text()), (200, "<p>app</p>".repeat(200).as_str()), "{target}");
            assert_eq!(answer.field(header::CONTENT_TYPE), "text/html; charset=utf-8");
        }
        let etag = site.get("/nothing").await.field(header::ETAG).to_owned();
        let again = site.send(Method::GET, "/nothing", &[(header::IF_NONE_MATCH, &etag)]).await;
        assert_eq!(again.status, 304);
        let part = site.send(Method::GET, "/users/7", &[(header::RANGE, "bytes=0-2")]).await;
        assert_eq!((part.status, part.text()), (206, "<p>"));
        fs::remove_file(site.path("app.html")).unwrap();
        let gone = site.get_until("/nothing", |answer| answer.status == 404).await;
        assert!(!gone.text().contains("app"));
    }
    let missing = FilesOptions { fallback: Some("app.html".to_owned()), ..FilesOptions::default() };
    let error = Files::open(TempDir::new().unwrap().path(), missing).map(drop).unwrap_err();
    assert!(matches!(error, FilesError::Fallback(_)), "{error}");
}

#[test]
fn a_page_that_is_not_there_is_told() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for page in ["404.html", "sub", "../404.html", "/etc/passwd", ""] {
        let options = FilesOptions { not_found: Some(page.to_owned()), ..FilesOptions::default() };
        let error = Files::open(dir.path(), options).map(drop).unwrap_err();
        assert!(matches!(&error, FilesError::NotFoundPage(told) if told == page), "{error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn caching_is_told_by_pattern() {
    let rule = |pattern, value| CacheRule::new(pattern, value).unwrap();
    let site = Fixture::new(FilesOptions {
        cache_control: vec![
            rule("assets/**", "public, max-age=31536000, immutable"),
            rule("*.html", "no-cache"),
        ],
        listing: true,
        ..FilesOptions::default()
    });
    site.write("assets/a.html", "x");
    site.write("index.html", "x");
    site.write("a.txt", "x");
    let immutable = "public, max-age=31536000, immutable";
    for (target, expected) in
        [("/assets/a.html", immutable), ("/", "no-cache"), ("/index.html", "no-cache"), ("/a.txt", "")]
    {
        let answer = site.get_settled(target).await;
        assert_eq!(answer.field(header::CACHE_CONTROL), expected, "{target}");
        let known = site.get_with(target, header::IF_NONE_MATCH, answer.field(header::ETAG)).await;
        assert_eq!((known.status, known.field(header::CACHE_CONTROL)), (304, expected), "{target}");
    }
    assert_eq!(site.get("/nothing.html").await.field(header::CACHE_CONTROL), "");
    assert_eq!(site.get("/assets/").await.field(header::CACHE_CONTROL), "");
}

#[tokio::test(flavor = "current_thread")]
async fn what_the_kernel_has_in_its_caches_takes_no_other_thread() {
    let site = Fixture::new(FilesOptions { dotfiles: true, ..clean() });
    site.write("small.txt", "x");
    site.write("large.bin", vec![0; 100_000]);
    site.write("sub/index.html", "x");
    for (target, status) in
        [("/nothing", 404), ("/small.txt", 200), ("/large.bin", 200), ("/sub/", 200), ("/sub", 301)]
    {
        // By now the kernel knows these names, and those that are not there.
        assert_eq!(site.get(target).await.status, status);
        tokio::time::sleep(FRESH).await;
        let answer = site.files.at_once(&request(Method::GET, target, &[]).head);
        assert_eq!(answer.ok().map(|response| response.status.as_u16()), Some(status), "{target}");
    }
}
