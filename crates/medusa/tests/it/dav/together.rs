//! Many at once, a change of the site in their midst, and an end in their midst.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

use medusa_testkit::{Client, Server, Signal, wait};

use super::{
    EXCLUSIVE, OURS, active_locks, ask, by, destination, find, lock, lock_token, names, no_debris, open, set,
    shared_names, status,
};
use crate::support::{MEDUSA, start};

/// One of several who want the same names; every answer must be one that such a client understands.
fn press(server: &Server, number: usize, rounds: usize, conflicts: &AtomicUsize) {
    let mut client = server.connect();
    let own = format!("/dav/own-{number}");
    for round in 0..rounds {
        let path = format!("/dav/{}", ["a", "b", "c"][(round + number) % 3]);
        let other = format!("/dav/{}", ["a", "b", "c"][(round + 2 * number + 1) % 3]);
        let answer = match (round + number) % 8 {
            0 => ask(&mut client, &format!("PUT {path}"), &[], format!("{number} {round}")),
            1 => ask(&mut client, &format!("MOVE {path}"), &[&destination(&other)], ""),
            2 => ask(&mut client, &format!("COPY {path}"), &[&destination(&other)], ""),
            3 => ask(&mut client, &format!("DELETE {path}"), &[], ""),
            4 => ask(&mut client, "PROPFIND /dav/", &["Depth: 1"], ""),
            5 => ask(
                &mut client,
                &format!("PROPPATCH {path}"),
                &[],
                format!(
                    "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='{OURS}'>{round}</x></prop></set></propertyupdate>"
                ),
            ),
            6 => client.get(&path),
            _ => {
                let locked = ask(&mut client, &format!("LOCK {path}"), &["Timeout: Second-60"], EXCLUSIVE);
                if let Some(token) = locked.header("lock-token").map(str::to_owned) {
                    let put = ask(&mut client, &format!("PUT {path}"), &[&by(&token)], "locked");
                    assert!(matches!(put.status, 201 | 204), "{}", put.text());
                    let unlocked = ask(&mut client, &format!("UNLOCK {path}"), &[&lock_token(&token)], "");
                    assert_eq!(unlocked.status, 204, "{}", unlocked.text());
                }
                locked
            }
        };
        let is_expected = matches!(answer.status, 200 | 201 | 204 | 207 | 403 | 404 | 409 | 412 | 423);
        assert!(is_expected, "{} {}", answer.status, answer.text());
        conflicts.fetch_add((answer.status == 423).into(), Relaxed);
        // What is one's own is as one has left it.
        let put = status(&mut client, &format!("PUT {own}"), &[], round.to_string());
        assert_eq!((put, client.get(&own).text()), (if round == 0 { 201 } else { 204 }, round.to_string()));
    }
}

#[test]
fn many_write_lock_and_move_at_once() {
    let site = open("versions = 3");
    let server = start(&site);
    let mut client = server.connect();
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    let conflicts = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let (server, conflicts) = (&server, &conflicts);
                scope.spawn(move || press(server, number, 60, conflicts))
            })
            .collect();
        let mut reloads = 0;
        while reloads < 3 {
            server.reload();
            reloads += 1;
            assert_eq!(status(&mut client, "PUT /dav/page.txt", &[], "x"), 423, "a reload keeps locks");
        }
        for client in clients {
            client.join().expect("a client");
        }
        done.store(true, Relaxed);
    });
    assert_eq!(status(&mut client, "PUT /dav/page.txt", &[&by(&token)], "mine"), 204);
    assert_eq!(status(&mut client, "UNLOCK /dav/page.txt", &[&lock_token(&token)], ""), 204);
    for name in ["a", "b", "c"] {
        if site.at(&format!("shared/{name}")).exists() {
            assert_eq!(active_locks(&mut client, &format!("/dav/{name}")), []);
        }
    }
    let odd: Vec<_> = shared_names(&site)
        .into_iter()
        .filter(|name| !name.starts_with("own-") && !["a", "b", "c", "page.txt"].contains(&name.as_str()))
        .collect();
    assert_eq!(odd, [""; 0]);
    no_debris(&site);
}

/// Of eight who want the same lock one has it, and of eight who make the same name one has made it.
#[test]
fn one_alone_has_a_lock() {
    let site = open("");
    let server = start(&site);
    for round in 0..10 {
        let path = format!("/dav/new-{round}");
        let count = |request: &'static str, wanted: u16, body: &'static str| {
            let (server, path) = (&server, &path);
            thread::scope(|scope| {
                let all: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(move || {
                            status(&mut server.connect(), &format!("{request} {path}"), &[], body)
                        })
                    })
                    .collect();
                let statuses: Vec<_> = all.into_iter().map(|one| one.join().expect("a client")).collect();
                (statuses.iter().filter(|status| **status == wanted).count(), statuses)
            })
        };
        let (made, statuses) = count("MKCOL", 201, "");
        assert_eq!(made, 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 201 | 405)), "{statuses:?}");
        let (locked, statuses) = count("LOCK", 200, EXCLUSIVE);
        assert_eq!(locked, 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 423)), "{statuses:?}");
        assert_eq!(active_locks(&mut server.connect(), &path).len(), 1);
    }
}

/// What is moved to and fro is always at one of two places, whole.
#[test]
fn who_reads_while_a_tree_is_moved_sees_one_or_the_other() {
    let site =
        open("versions = 0").file("shared/here/a.txt", "a".repeat(50_000)).file("shared/here/b.txt", "b");
    let server = start(&site);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut client = server.connect();
            while !done.load(Relaxed) {
                for place in ["here", "there"] {
                    let page = client.get(&format!("/dav/{place}/a.txt"));
                    assert!(
                        matches!((page.status, page.body.len()), (200, 50_000) | (404, _)),
                        "{}",
                        page.status
                    );
                }
            }
        });
        let mut client = server.connect();
        for round in 0..60 {
            let (from, to) = if round % 2 == 0 { ("here", "there") } else { ("there", "here") };
            let moved = status(
                &mut client,
                &format!("MOVE /dav/{from}/"),
                &[&destination(&format!("/dav/{to}/")), "Overwrite: F"],
                "",
            );
            assert_eq!(moved, 201, "{round}");
        }
        done.store(true, Relaxed);
        reader.join().expect("a reader");
    });
    assert_eq!(names(&site.at("shared/here")), ["a.txt", "b.txt"]);
}

#[test]
fn a_server_that_is_killed_leaves_no_debris() {
    let mut site = open("");
    for number in 0..200 {
        site = site.file(&format!("shared/tree/{number}"), vec![b't'; 20_000]);
    }
    let state = tempfile::tempdir().expect("a directory");
    let mut server = MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut client = server.connect();
    assert_eq!(set(&mut client, "/dav/page.txt", &[], "colour", "blue"), 200);
    assert_eq!(set(&mut client, "/dav/tree/", &[], "colour", "red"), 200);
    let token = lock(&mut client, "/dav/page.txt", &["Depth: 0"]);
    let mut writing: Vec<Client> = ["page.txt", "new.txt"]
        .iter()
        .map(|name| {
            let mut client = server.connect();
            client.send(format!(
                "PUT /dav/{name} HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\nIf: </dav/page.txt> ({token})\r\n\r\n"
            ));
            client.send(vec![b'x'; 400_000]);
            client
        })
        .collect();
    let mut copying = server.connect();
    copying.send(format!("COPY /dav/tree/ HTTP/1.1\r\nHost: test\r\n{}\r\n\r\n", destination("/dav/copy/")));
    let open_files = || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("its descriptors");
        let paths = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
        paths.filter(|path| path.to_string_lossy().contains(".medusa-versions/unfinished")).count()
    };
    wait::until("both are being written", || (open_files() >= 2).then_some(()));
    server.signal(Signal::KILL);
    for client in writing.iter_mut().chain([&mut copying]) {
        while matches!(client.try_read_some(1000), Ok(some) if !some.is_empty()) {}
    }
    drop(server);
    let server = MEDUSA.serve_with_state(site.path(), state.path()).start();
    let mut client = server.connect();
    no_debris(&site);
    assert_eq!(client.get("/dav/page.txt").text(), "the first page");
    assert_eq!(client.get("/dav/new.txt").status, 404);
    // A copy is there or not; a file in it is whole.
    let names_now = shared_names(&site);
    assert!(names_now == ["page.txt", "tree"] || names_now == ["copy", "page.txt", "tree"], "{names_now:?}");
    for name in names(&site.at("shared/copy")) {
        assert_eq!(fs::metadata(site.at("shared/copy").join(&name)).expect("there").len(), 20_000, "{name}");
    }
    assert_eq!(names(&site.at("shared/tree")).len(), 200);
    let name = format!("{OURS}colour");
    assert_eq!(find(&mut client, "/dav/page.txt", &[&name]).text(&name), "blue");
    assert_eq!(find(&mut client, "/dav/tree/", &[&name]).text(&name), "red");
    // Of locks nothing is said to outlive a server; who had one is told when he uses it, and nobody is shut out for ever.
    let again = status(&mut client, "PUT /dav/page.txt", &[&by(&token)], "the second page");
    assert!(matches!(again, 204 | 412), "{again}");
    assert!(matches!(status(&mut client, "PUT /dav/page.txt", &[], "the third page"), 204 | 423));
}
