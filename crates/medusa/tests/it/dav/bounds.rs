//! Disks that are full, quotas, sizes, and directories of many files.

use std::fs;

use medusa_testkit::{curl, memory};

use super::{
    EXCLUSIVE, OURS, ask, destination, lock_by, multistatus, no_debris, open, prop_body, set, shared_names,
    status,
};
use crate::support::{SmallDisk, start, web};

#[test]
fn on_a_full_disk_the_old_page_stays() {
    let disk = SmallDisk::new(1024);
    let root = disk.path().join("shared");
    fs::create_dir_all(root.join("tree")).expect("made");
    fs::write(root.join("page.txt"), "the first page").expect("written");
    fs::write(root.join("tree/half.bin"), vec![b'h'; 300_000]).expect("written");
    fs::write(root.join("tree/more.bin"), vec![b'h'; 300_000]).expect("written");
    let site = web(&format!("web:mount('/dav/', medusa.handler.dav('{}'))", root.display()));
    let server = start(&site);
    let mut client = server.connect();
    let full = ask(&mut client, "PUT /dav/page.txt", &[], vec![b'x'; 2_000_000]);
    assert_eq!(full.status, 507, "{}", full.text());
    let mut client = server.connect();
    assert_eq!(client.get("/dav/page.txt").text(), "the first page");
    let copied = ask(&mut client, "COPY /dav/tree/", &[&destination("/dav/copy/")], "");
    match copied.status {
        507 => {}
        207 => assert!(multistatus(&copied).iter().any(|told| told.status == Some(507)), "{}", copied.text()),
        other => panic!("{other}"),
    }
    assert_eq!(fs::read(root.join("tree/more.bin")).expect("still there").len(), 300_000);
    let _left = status(&mut client, "DELETE /dav/copy/", &[], "");
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "the second page"), 204);
    assert_eq!(client.get("/dav/page.txt").text(), "the second page");
    assert_eq!(super::names(&root.join(".medusa-versions/unfinished")), [""; 0]);
}

#[test]
fn no_more_is_kept_than_the_quota_allows() {
    let site = open("quota = 1000000, versions = 0").file("shared/tree/a.bin", vec![b'a'; 300_000]);
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(status(&mut client, "PUT /dav/b.bin", &[], vec![b'b'; 300_000]), 201);
    assert_eq!(status(&mut server.connect(), "PUT /dav/page.txt", &[], vec![b'c'; 600_000]), 507);
    assert_eq!(client.get("/dav/page.txt").text(), "the first page");
    // What is copied counts as well.
    assert_eq!(status(&mut client, "COPY /dav/tree/", &[&destination("/dav/one/")], ""), 201);
    let refused = ask(&mut client, "COPY /dav/tree/", &[&destination("/dav/two/")], "");
    match refused.status {
        507 => {}
        207 => {
            assert!(multistatus(&refused).iter().any(|told| told.status == Some(507)), "{}", refused.text());
        }
        other => panic!("{other}"),
    }
    assert!(!site.at("shared/two/a.bin").exists());
    // And what is removed counts no more.
    assert_eq!(status(&mut client, "DELETE /dav/one/", &[], ""), 204);
    let _left = status(&mut client, "DELETE /dav/two/", &[], "");
    assert_eq!(status(&mut client, "COPY /dav/b.bin", &[&destination("/dav/c.bin")], ""), 201);
    assert_eq!(shared_names(&site), ["b.bin", "c.bin", "page.txt", "tree"]);
    no_debris(&site);
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let site = open("max_size = 1000");
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(status(&mut client, "PUT /dav/a", &[], vec![b'x'; 1000]), 201);
    assert_eq!(status(&mut server.connect(), "PUT /dav/a", &[], vec![b'x'; 1001]), 413);
    assert_eq!(client.get("/dav/a").body.len(), 1000);
    let long = "x".repeat(300);
    for request in ["PUT", "MKCOL", "LOCK"] {
        let body = if request == "LOCK" { EXCLUSIVE } else { "" };
        let got = status(&mut server.connect(), &format!("{request} /dav/{long}"), &[], body);
        assert!(matches!(got, 400 | 403 | 409), "{request}: {got}");
    }
    assert_eq!(status(&mut server.connect(), &format!("GET /dav/{long}"), &[], ""), 404);
    let deep = "d/".repeat(1500);
    let got = status(&mut server.connect(), &format!("PROPFIND /dav/{deep}"), &["Depth: 0"], "");
    assert!(matches!(got, 400 | 404 | 414), "{got}");
}

/// Ten thousand files are told of as they are found, and not held.
#[test]
fn a_long_list_is_sent_piece_by_piece() {
    const COUNT: usize = 10_000;
    let site = web("h = medusa.handler.dav('shared')
        web:mount('/dav/', h)
        web:mount('/packed/', medusa.handler.compress(h))");
    fs::create_dir_all(site.at("shared/many")).expect("made");
    for number in 0..COUNT {
        fs::write(site.at(&format!("shared/many/a file with a longer name {number:05}.txt")), "")
            .expect("written");
    }
    let server = start(&site);
    let mut client = server.connect();
    assert_eq!(
        set(&mut client, "/dav/many/a%20file%20with%20a%20longer%20name%2000007.txt", &[], "colour", "blue"),
        200
    );
    let told = multistatus(&ask(&mut client, "PROPFIND /dav/many/", &["Depth: 1"], ""));
    assert_eq!(told.len(), COUNT + 1);
    let coloured = told.iter().filter(|told| told.prop(&format!("{OURS}colour")).is_some()).count();
    assert_eq!(coloured, 1);
    memory::forget_peak(server.pid());
    let before = memory::resident(server.pid());
    let mut slow: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            client.send("PROPFIND /dav/many/ HTTP/1.1\r\nHost: test\r\nDepth: 1\r\n\r\n");
            assert_eq!(client.head().status, 207);
            client
        })
        .collect();
    // Others are served meanwhile.
    assert_eq!(status(&mut client, "PUT /dav/many/new.txt", &[], "new"), 201);
    for client in &mut slow {
        let mut length = 0;
        while length < 1_000_000 {
            length += client.read_some(64 * 1024).len();
        }
    }
    let peak = memory::peak(server.pid());
    assert!(peak < before + (40 << 20), "{before} bytes, then {peak}: eight lists of some 8 MB");
    drop(slow);
    let packed = curl([
        "-X",
        "PROPFIND",
        "-H",
        "Depth: 1",
        "--compressed",
        "-D",
        "-",
        "-o",
        "/dev/null",
        &server.url("/packed/many/"),
    ]);
    let head = packed.success().to_lowercase();
    assert!(head.contains("207") && head.contains("content-encoding: "), "{head}");
}

/// Neither by naming a long property many times nor by locks with long owners is an answer made that has to be held.
#[test]
fn a_list_that_repeats_itself_is_bounded() {
    let site = open("");
    for number in 0..64 {
        site.write(&format!("shared/many/{number}"), "");
    }
    let server = start(&site);
    let mut client = server.connect();
    let value = "x".repeat(50_000);
    for number in 0..64 {
        assert_eq!(set(&mut client, &format!("/dav/many/{number}"), &[], "long", &value), 200);
    }
    let owner = shared_with(&"y".repeat(1000));
    for _ in 0..200 {
        lock_by(&mut client, "/dav/many/", &["Depth: infinity"], &owner);
    }
    memory::forget_peak(server.pid());
    let before = memory::resident(server.pid());
    let long = format!("{OURS}long");
    let repeated: Vec<&str> = ["DAV:lockdiscovery", &long].into_iter().cycle().take(200).collect();
    client.read_at_most(1 << 30);
    for body in [prop_body(&repeated), String::new()] {
        let answer = ask(&mut client, "PROPFIND /dav/many/", &["Depth: 1"], body);
        assert!(matches!(answer.status, 207 | 400), "{}", answer.status);
    }
    let peak = memory::peak(server.pid());
    assert!(peak < before + (48 << 20), "{before} bytes, then {peak}");
}

fn shared_with(owner: &str) -> String {
    super::shared().replace("mailto:ada@example.org", owner)
}
