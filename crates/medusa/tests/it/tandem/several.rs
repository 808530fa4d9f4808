//! Several upstreams: who is asked, who is down, and what changes while it runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use medusa_testkit::{Client, Numbered, Server, dial, wait};

use super::raw::Raw;
use super::{named, proxy};

fn counted(server: &Server, requests: usize) -> HashMap<String, usize> {
    let mut counted = HashMap::new();
    for _ in 0..requests {
        *counted.entry(server.get("/").text()).or_default() += 1;
    }
    counted
}

#[test]
fn each_has_its_turn() {
    let raw: Vec<_> = (0..3).map(|name| Raw::start(move |asked| asked.answer(&name.to_string()))).collect();
    let urls: Vec<_> = raw.iter().map(|raw| format!("'{}'", raw.url())).collect();
    let (_site, server) = proxy(&format!("{{ {} }}", urls.join(", ")), "");
    assert_eq!(counted(&server, 30), ["0", "1", "2"].map(|name| (name.to_owned(), 10)).into());
}

#[test]
fn a_client_stays_with_its_upstream() {
    let raw: Vec<_> = (0..4).map(|name| Raw::start(move |asked| asked.answer(&name.to_string()))).collect();
    let urls: Vec<_> = raw.iter().map(|raw| format!("'{}'", raw.url())).collect();
    let (_site, server) = proxy(&format!("{{ {} }}", urls.join(", ")), "balance = 'address'");
    let asked = |last: u8| {
        let stream = dial([127, 0, 0, last].into(), server.address(), medusa_testkit::PATIENCE, None);
        Client::over(stream.expect("a connection")).get("/").text()
    };
    let first: Vec<_> = (1..40).map(&asked).collect();
    assert_eq!(first, (1..40).map(&asked).collect::<Vec<_>>());
    assert!(["0", "1", "2", "3"].iter().all(|name| first.iter().any(|chosen| chosen == name)), "{first:?}");
    let (_site, server) = proxy(&format!("{{ {} }}", urls.join(", ")), "balance = 'path'");
    let asked = |path: usize| server.get(&format!("/{path}")).text();
    let first: Vec<_> = (1..40).map(asked).collect();
    assert_eq!(first, (1..40).map(asked).collect::<Vec<_>>());
}

#[test]
fn who_has_much_to_do_is_spared() {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let released = std::sync::Mutex::new(released);
    let slow = Raw::start(move |asked| {
        let _end = released.lock().expect("no panic").recv();
        asked.answer("slow")
    });
    let quick = Raw::start(|asked| asked.answer("quick"));
    let (_site, server) =
        proxy(&format!("{{ '{}', '{}' }}", slow.url(), quick.url()), "balance = 'least_connections'");
    let mut waiting = server.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until("it is asked", || (slow.heads().len() == 1).then_some(()));
    assert_eq!(counted(&server, 10), [("quick".to_owned(), 10)].into());
    release.send(()).expect("it waits");
    assert_eq!(waiting.response().text(), "slow");
}

#[test]
fn who_is_unwell_is_not_asked_until_it_is_well_again() {
    let status = Arc::new(AtomicUsize::new(200));
    let known = Arc::clone(&status);
    let a = Raw::start(move |asked| {
        if asked.head.starts_with("GET /health?all ") {
            let status = known.load(SeqCst);
            asked.say(format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n"));
            return super::raw::Then::Close;
        }
        asked.answer("a")
    });
    let b = Raw::start(|asked| asked.answer("b"));
    let (_site, server) = proxy(
        &format!("{{ '{}', '{}' }}", a.url(), b.url()),
        "fall = 2, health = { path = '/health?all', interval = 0.1, rise = 2 }",
    );
    wait::until("it is asked", || a.heads().iter().any(|head| head.contains("/health?all")).then_some(()));
    let states = || -> Vec<String> {
        server
            .documents("upstream")
            .iter()
            .map(|one| one["state"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(states(), ["up", "up"]);
    assert_eq!(counted(&server, 10).len(), 2);
    status.store(503, SeqCst);
    wait::until("it is down", || (states() == ["down", "up"]).then_some(()));
    server
        .stderr()
        .wait_for("is taken for down after 2 failures in a row: the status of its health check is 503");
    assert_eq!(counted(&server, 10), [("b".to_owned(), 10)].into());
    // Another proxy in its place knows what this one knew.
    server.eval(&format!(
        "m:replace(medusa.handler.proxy({{ '{}', '{}' }}, {{ retry_after = 80000 }}))",
        a.url(),
        b.url()
    ));
    assert_eq!(states(), ["down", "up"]);
    assert_eq!(counted(&server, 10), [("b".to_owned(), 10)].into());
    server.eval(&format!(
        "m:replace(medusa.handler.proxy({{ '{}', '{}' }}, {{ health = {{ path = '/health?all', interval = 0.1 }} }}))",
        a.url(),
        b.url()
    ));
    status.store(302, SeqCst);
    wait::until("it is up", || (states() == ["up", "up"]).then_some(()));
    server.stderr().wait_for("is well again");
    assert_eq!(counted(&server, 10).len(), 2);
    // Nobody asks for a handler that is gone.
    server.eval("m:remove()");
    let checks = || a.heads().iter().filter(|head| head.contains("/health?all")).count();
    let settled = wait::until("nobody asks any more", {
        let mut last = usize::MAX;
        let mut still = 0;
        move || {
            let now = checks();
            still = if now == last { still + 1 } else { 0 };
            last = now;
            (still == 60).then_some(now)
        }
    });
    assert!(settled > 0);
}

#[test]
fn when_all_are_down_they_are_asked_all_the_same_and_that_is_said_once() {
    let (_site, server) =
        proxy("{ 'http://127.0.0.1:1', 'http://127.0.0.1:2' }", "fall = 1, retry_after = 80000");
    for _ in 0..5 {
        assert_eq!(server.get("/").status, 502);
    }
    server.stderr().wait_for("all 2 upstreams are down");
    let told = server.stderr().text();
    assert_eq!(told.matches("all 2 upstreams are down").count(), 1, "{told}");
    assert_eq!(told.matches("is taken for down").count(), 2, "{told}");
    let failures: u64 = server.documents("upstream").iter().filter_map(|one| one["failures"].as_u64()).sum();
    assert_eq!(failures, 10, "each request asks both");
}

#[test]
fn upstreams_change_while_it_runs_and_no_request_is_lost() {
    let ((_site_a, a), (_site_b, b)) = (named("a"), named("b"));
    let (_site, server) = proxy(&format!("'{}'", a.url("")), "");
    let load = Numbered::start(server.address(), 8);
    for round in 0..20 {
        let upstreams = match round % 3 {
            0 => format!("{{ '{}', '{}' }}", a.url(""), b.url("")),
            1 => format!("'{}'", b.url("")),
            _ => format!("'{}'", a.url("")),
        };
        let answered = load.answered();
        server.eval(&format!("m:replace(medusa.handler.proxy({upstreams}, {{ timeout = {} }}))", 10 + round));
        wait::until("the load goes on", || (load.answered() > answered + 50).then_some(()));
    }
    load.stop().expect_clean();
    // One that is let go of drains: its requests have ended, its connections are closed.
    server.eval(&format!("m:replace(medusa.handler.proxy('{}'))", a.url("")));
    wait::until("the connections are closed", || (b.number("listener", "open") == 0).then_some(()));
}

/// What is counted of an upstream goes on in the proxy that takes the place of another, requests under way included, and is
/// forgotten with the last one.
#[test]
fn counts_go_on_in_another_proxy_and_end_with_the_last() {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let released = std::sync::Mutex::new(released);
    let raw = Raw::start(move |asked| {
        if asked.head.starts_with("GET /slow ") {
            let _end = released.lock().expect("no panic").recv();
        }
        asked.answer("ok")
    });
    let (_site, server) = proxy(&format!("'{}'", raw.url()), "");
    let counted = |counter: &str| super::upstream(&server, counter);
    for _ in 0..5 {
        assert_eq!(server.get("/").status, 200);
    }
    let mut waiting = server.connect();
    waiting.send("GET /slow HTTP/1.1\r\nHost: t\r\n\r\n");
    wait::until("it is under way", || (counted("active") == 1).then_some(()));
    let statement = format!(
        "m:replace(medusa.handler.proxy({{ '{}', 'http://127.0.0.1:1' }}, {{ fall = 1 }}))",
        raw.url()
    );
    server.eval(&statement);
    let known = |field: &str| server.documents("upstream")[0][field].clone();
    assert_eq!((known("requests"), known("active")), (6.into(), 1.into()));
    release.send(()).expect("it waits");
    assert_eq!(waiting.response().text(), "ok");
    wait::until("it has ended", || (known("active") == 0).then_some(()));
    for _ in 0..4 {
        assert_eq!(server.get("/").status, 200);
    }
    assert_eq!(known("requests"), 10);
    let state = || server.documents("upstream").iter().map(|one| one["state"].clone()).collect::<Vec<_>>();
    assert_eq!(state(), ["up", "down"]);
    // Removed, and mounted again as it was.
    server.eval("m:remove()");
    server.eval(&statement.replace("m:replace(", "m = web:mount('/', "));
    assert_eq!(state(), ["up", "up"]);
    assert_eq!(known("requests"), 0);
}
