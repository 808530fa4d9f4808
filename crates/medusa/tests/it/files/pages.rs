//! Addresses, pages for what is not there, and listings.

use medusa_testkit::browser;

use super::{ask, start, web};

#[test]
fn pages_have_one_address_and_a_404_has_a_page() {
    let site = web("web:mount('/docs/', medusa.handler.files('public', {
            clean_urls = true,
            not_found = '404.html',
            cache_control = { { 'assets/**', 'public, max-age=31536000, immutable' }, { '*.html', 'no-cache' } },
        }))")
    .file("public/index.html", "home")
    .file("public/about.html", "about")
    .file("public/404.html", "lost")
    .file("public/assets/a.css", "p {}");
    let server = start(&site);
    for (path, status, expected) in [
        ("/docs/", 200, "home"),
        ("/docs/about", 200, "about"),
        ("/docs/nothing", 404, "lost"),
        ("/docs/.git/config", 404, "lost"),
        ("/docs/about.html?x=1", 301, "/docs/about?x=1"),
        ("/docs/index.html", 301, "/docs/"),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        match status {
            301 => assert_eq!(answer.header("location"), Some(expected), "{path}"),
            _ => assert_eq!(answer.text(), expected, "{path}"),
        }
        let head = server.connect().request("HEAD", path, &[]);
        assert_eq!((head.status, head.header("content-length")), (status, answer.header("content-length")));
    }
    assert_eq!(server.get("/docs/about").header("cache-control"), Some("no-cache"));
    let immutable = Some("public, max-age=31536000, immutable");
    assert_eq!(server.get("/docs/assets/a.css").header("cache-control"), immutable);
    assert_eq!(server.get("/docs/nothing").header("cache-control"), None);
}

#[test]
fn a_listing_is_for_people_and_programs() {
    let site = web("web:mount('/files/', medusa.handler.files('public', { listing = true }))")
        .file("public/d/large.bin", vec![0; 3000])
        .file("public/d/small & fine.txt", "12345")
        .file("public/d/sub/x", "");
    let server = start(&site);
    let json = ask(&server, "/files/d/", &[("Accept", "application/json")]);
    assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")));
    let names: Vec<&str> = json
        .body
        .split(|&byte| byte == b'"')
        .filter_map(|part| std::str::from_utf8(part).ok())
        .filter(|part| ["sub", "large.bin", "small & fine.txt"].contains(part))
        .collect();
    assert_eq!(names, ["sub", "large.bin", "small & fine.txt"]);
    assert!(json.text().contains("\"size\":3000"));

    // As a browser has it: without running any script, there are none.
    let page = browser::load(&server.url("/files/d/?sort=size&order=asc"));
    let places =
        ["sub", "small &amp; fine.txt", "large.bin"].map(|name| page.find(&format!("<bdi>{name}</bdi>")));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{page}");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("aria-sort=\"ascending\""), "{page}");
}
