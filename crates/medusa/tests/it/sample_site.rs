//! The sample site, as a newcomer meets it: written by `medusa init`, started, looked at.

use std::collections::BTreeSet;

use medusa_testkit::websocket::{BINARY, FIN};
use medusa_testkit::{Server, Site, WebSocket, browser};

use super::support::MEDUSA;

/// The sample site in a directory of its own, and a server for it.
#[track_caller]
fn sample() -> (Site, Server) {
    let site = Site::new();
    MEDUSA.run(["init".as_ref(), site.path()]).success();
    let server = MEDUSA.serve(site.path()).listen("127.0.0.1:0").start();
    (site, server)
}

#[test]
fn every_kind_of_handler_answers_and_is_logged() {
    let (site, server) = sample();
    let index = server.get("/");
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(index.text().contains("Medusa"));
    let about = server.get("/about/");
    assert_eq!(about.status, 200, "a file under a directory");
    assert_eq!(server.get("/hello/World").text(), "Hello, World!\n", "a function");
    let time = server.get("/api/time");
    assert_eq!(time.header("content-type"), Some("application/json"));
    let clock: serde_json::Value = serde_json::from_slice(&time.body).expect("JSON from a handler file");
    assert!(clock["unix"].as_f64().is_some_and(|now| now > 1.7e9), "{clock}");
    let missing = server.get("/nothing");
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert!(missing.text().contains("404"));

    // The lines come while the server idles, not only when it ends. Two workers may write them in another order.
    let mut lines = server.stdout().wait_for_count(5);
    assert_eq!(lines.len(), 5, "{lines:?}");
    lines.sort_by_key(|line| line.split('"').nth(1).map(str::to_owned));
    for (line, (request, status, size)) in lines.iter().zip([
        ("GET / HTTP/1.1", 200, index.body.len()),
        ("GET /about/ HTTP/1.1", 200, about.body.len()),
        ("GET /api/time HTTP/1.1", 200, time.body.len()),
        ("GET /hello/World HTTP/1.1", 200, "Hello, World!\n".len()),
        ("GET /nothing HTTP/1.1", 404, missing.body.len()),
    ]) {
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(line.ends_with(&format!("] \"{request}\" {status} {size}")), "{line}");
    }
    let common = server.terminate();
    let combined = site.read("logs/access.log");
    assert_eq!((common.lines().count(), combined.lines().count()), (5, 5));
    assert!(combined.lines().all(|line| line.ends_with(" \"-\" \"-\"")), "{combined}");
}

/// The targets of all links and resources of a page.
fn links(html: &str) -> impl Iterator<Item = &str> {
    let values = |attribute| html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
    values(" href=\"").chain(values(" src=\""))
}

#[test]
fn all_links_lead_somewhere() {
    let (_site, server) = sample();
    let mut to_visit = vec!["/".to_owned(), "/live".to_owned()];
    let mut seen: BTreeSet<String> = to_visit.iter().cloned().collect();
    while let Some(path) = to_visit.pop() {
        let mut client = server.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address()));
        let head = client.head();
        assert_eq!(head.status, 200, "{path}");
        let is_page = head.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        // A page of unknown length is a stream that takes its time: its beginning holds the links.
        let page = match head.header("content-length").and_then(|length| length.parse().ok()) {
            Some(length) if is_page => read_exactly(&mut client, length),
            None if is_page => client.read_some(64 * 1024),
            _ => continue,
        };
        let page = String::from_utf8_lossy(&page);
        for link in links(&page) {
            if link.contains(':') || link.starts_with('#') {
                continue; // elsewhere, or on this page
            }
            let link = link.split('#').next().unwrap_or(link);
            let target = if link.starts_with('/') {
                link.to_owned()
            } else {
                let directory = &path[..=path.rfind('/').unwrap_or(0)];
                let link = link.strip_prefix("./").unwrap_or(link);
                match link.strip_prefix("../") {
                    Some(link) => format!(
                        "{}/{link}",
                        directory.trim_end_matches('/').rsplit_once('/').map_or("", |(up, _)| up)
                    ),
                    None => format!("{directory}{link}"),
                }
            };
            if seen.insert(target.clone()) {
                to_visit.push(target);
            }
        }
    }
    assert!(seen.len() >= 8, "only these were found: {seen:?}");
}

fn read_exactly(client: &mut medusa_testkit::Client, length: usize) -> Vec<u8> {
    let mut page = Vec::new();
    while page.len() < length {
        let more = client.read_some(length - page.len());
        assert!(!more.is_empty(), "the page ends after {} of {length} bytes", page.len());
        page.extend(more);
    }
    page
}

#[test]
fn a_browser_shows_it() {
    let (_site, server) = sample();
    let document = browser::load(&server.url("/"));
    assert!(document.contains("<title>") && document.contains("</html>"), "{document}");
    let stylesheet = server.stdout().wait_for("/style.css HTTP/1.1");
    assert!(stylesheet.contains("\" 200 "), "the browser got no stylesheet: {stylesheet}");
}

/// A page that holds /echo/ and has not loaded before that shows an echo: a browser does not count a session as loading.
const UNTIL_IT_ECHOES: &str =
    "<!DOCTYPE html><title>waits</title><iframe src='/echo/'></iframe><img src='/held'>
<script>
  const frame = document.querySelector('iframe')
  const look = () => {
    if (frame.contentDocument.querySelector('#echoes > li') === null) return
    document.body.append(frame.contentDocument.querySelector('main').cloneNode(true))
    fetch('/echoed')
  }
  frame.onload = () => {
    new MutationObserver(look).observe(frame.contentDocument, { childList: true, subtree: true })
    look()
  }
</script>";

/// A session from a real browser: its handshake, its masking, its origin.
#[test]
fn a_browser_gets_its_echo() {
    let (site, server) = sample();
    site.write("public/wait.html", UNTIL_IT_ECHOES);
    server.eval(
        "web:mount('/held', function() while not hits:get('echoed') do medusa.sleep(0.01) end return '' end)
        web:mount('/echoed', function() hits:set('echoed', 1) return '' end)",
    );
    let document = browser::load(&server.url("/wait.html"));
    assert!(document.contains("<li>Hello, sea! <span>"), "{document}");
    assert!(document.contains("Connected."), "{document}");
    // It has left by now, and its session with it: the echo and the close went over the wire.
    let session = server.stdout().wait_for("GET /echo HTTP/1.1");
    assert!(session.contains("\" 101 "), "{session}");
    let mut raw = WebSocket::connect(server.address(), "/echo");
    raw.send_frame(FIN | BINARY, b"\x00\xff");
    assert_eq!(raw.message(), (BINARY, b"\x00\xff".to_vec()));
    raw.send(&"x".repeat(65537));
    raw.expect_close(1009);
}

#[test]
fn the_sample_statements_of_its_script_work() {
    let (_site, server) = sample();
    server.eval("greeting = 'Ahoy'");
    assert_eq!(server.get("/hello/World").text(), "Ahoy, World!\n");
    server.eval("web:mount('/hi', function() return 'hi' end)");
    assert_eq!(server.get("/hi").text(), "hi");
    let echo = server.send("POST /api/echo?a=b HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
    let echo: serde_json::Value = serde_json::from_slice(&echo.body).expect("JSON");
    assert_eq!((echo["body_bytes"].as_u64(), echo["query"].as_str()), (Some(5), Some("a=b")));
    assert_eq!(server.get("/api/nothing").status, 404);
}
