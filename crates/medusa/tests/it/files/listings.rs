//! Listings of many names: on pages, kept, and in nobody's way.

use std::fs;

use medusa_testkit::{Server, Site, wait};

use super::{ask, start, web};

/// A directory `public/many` of so many empty files.
#[track_caller]
fn many(count: usize) -> Site {
    let site = web("web:mount('/', medusa.handler.files('public', { listing = true }))")
        .file("public/file.bin", vec![7; 200_000])
        .file("public/many/00000", "");
    for n in 1..count {
        fs::File::create(site.at(&format!("public/many/{n:05}"))).expect("a file");
    }
    site
}

/// The names on a page, as programs see it.
#[track_caller]
fn names(server: &Server, query: &str) -> Vec<String> {
    let page = ask(server, &format!("/many/{query}"), &[("Accept", "application/json")]);
    assert_eq!(page.status, 200);
    let entries: Vec<serde_json::Value> = serde_json::from_slice(&page.body).expect("JSON");
    entries.iter().map(|entry| entry["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_large_directory_is_read_page_by_page() {
    let site = many(2500);
    let server = start(&site);
    let mut all = Vec::new();
    let mut next = Some(String::new());
    while let Some(query) = next {
        all.extend(names(&server, &query));
        let page = ask(&server, &format!("/many/{query}"), &[("Accept", "application/json")]);
        // As programs find it, by its relation.
        next = page.header("link").and_then(|link| {
            let link = link.split(", ").find(|link| link.ends_with("rel=\"next\""))?;
            Some(link.trim_start_matches('<').split('>').next()?.to_owned())
        });
    }
    assert_eq!(all.len(), 2500);
    assert!(all.is_sorted(), "in one order over all pages");
    assert_eq!(names(&server, "?page=3&order=desc").last().map(String::as_str), Some("00000"));
    let page = server.get("/many/?page=2");
    assert!(page.text().contains("Page 2 of 3") && page.body.len() < 400_000, "{} bytes", page.body.len());
    let head = server.connect().request("HEAD", "/many/?page=2", &[]);
    assert_eq!(head.header("content-length"), Some(page.body.len().to_string().as_str()));
}

#[test]
fn what_changes_in_a_directory_shows() {
    let site = many(3);
    let server = start(&site);
    assert_eq!(names(&server, ""), ["00000", "00001", "00002"]);
    let shows = |expected: &[&str]| {
        wait::until("the change shows", || (names(&server, "") == expected).then_some(()));
    };
    site.write("public/many/new", "");
    shows(&["00000", "00001", "00002", "new"]);
    fs::rename(site.at("public/many/new"), site.at("public/many/newer")).expect("renamed");
    shows(&["00000", "00001", "00002", "newer"]);
    fs::remove_file(site.at("public/many/00001")).expect("removed");
    shows(&["00000", "00002", "newer"]);
    // Its directory's time tells nothing of this.
    fs::write(site.at("public/many/00000"), "longer").expect("written");
    wait::until("the size shows", || {
        let page = ask(&server, "/many/", &[("Accept", "application/json")]);
        page.text().contains("\"size\":6").then_some(())
    });
    site.write("public/many/index.html", "a page of its own");
    wait::until("an index stands for it", || {
        (server.get("/many/").text() == "a page of its own").then_some(())
    });
    fs::remove_dir_all(site.at("public/many")).expect("removed");
    wait::until("it is gone", || (server.get("/many/").status == 404).then_some(()));
}

#[test]
fn listings_are_read_once_for_all_under_load() {
    let site = many(20_000);
    let server = start(&site);
    assert_eq!(names(&server, "").len(), 1000);
    let loads = || server.number("handler.files", "listings_read");
    let before = loads();
    let clients: Vec<_> = (0..32)
        .map(|_| {
            let mut client = server.connect();
            std::thread::spawn(move || (0..20).all(|_| client.get("/many/?page=7").status == 200))
        })
        .collect();
    for _ in 0..50 {
        assert_eq!(server.get("/file.bin").body.len(), 200_000, "files are served meanwhile");
    }
    assert!(clients.into_iter().all(|client| client.join().expect("a client")), "all are answered");
    // 640 requests; it is read anew at most once in two seconds, however slow this machine is.
    let read = loads() - before;
    assert!(read < 100, "the directory was read {read} times for 640 requests");
}
