//! Compressed forms, decoded by curl.

use std::process::Command;

use medusa_testkit::{Server, wait};

use super::{MEDUSA, ask, start, web};

/// `body { color: black }` and a line end, by `brotli -q 11`.
const BROTLI: &[u8] = &[
    0x8f, 0x0a, 0x80, 0x62, 0x6f, 0x64, 0x79, 0x20, 0x7b, 0x20, 0x63, 0x6f, 0x6c, 0x6f, 0x72, 0x3a, 0x20,
    0x62, 0x6c, 0x61, 0x63, 0x6b, 0x20, 0x7d, 0x0a, 0x03,
];
const CSS: &str = "body { color: black }\n";

fn text() -> String {
    "all work and no play makes jack a dull boy\n".repeat(500)
}

/// The answer as curl reads it: the coding, and the decoded content.
#[track_caller]
fn curl(server: &Server, path: &str, accept: &str) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "20",
        "--compressed",
        "--dump-header",
        "-",
    ]);
    curl.args(["--header", &format!("Accept-Encoding: {accept}"), &server.url(path)]);
    let done = curl.output().expect("curl runs");
    assert!(done.status.success(), "{done:?}");
    let answer = String::from_utf8(done.stdout).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let coding = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-encoding: ").map(str::to_owned));
    (coding.unwrap_or_default(), body.to_owned())
}

#[test]
fn a_file_comes_in_the_form_the_client_likes() {
    let site = web("web:mount('/', medusa.handler.files('public'))")
        .file("public/a.txt", text())
        .file("public/style.css", CSS)
        .file("public/style.css.br", BROTLI);
    let server = MEDUSA.serve(site.path()).arg("--workers").arg("1").start();
    assert_eq!(curl(&server, "/style.css", "gzip, deflate, br, zstd"), ("br".to_owned(), CSS.to_owned()));
    assert_eq!(
        curl(&server, "/style.css", "gzip"),
        (String::new(), CSS.to_owned()),
        "too short to gain by it"
    );
    // What has changed a moment ago is not compressed yet, and who comes while it is being done gets it plain.
    for coding in ["zstd", "gzip"] {
        wait::until("it is compressed", || {
            let (found, content) = curl(&server, "/a.txt", coding);
            assert!(content == text());
            (found == coding).then_some(())
        });
    }
    let answer = ask(&server, "/a.txt", &[("Accept-Encoding", "gzip")]);
    assert_eq!(
        (answer.header("content-encoding"), answer.header("vary")),
        (Some("gzip"), Some("accept-encoding"))
    );
    assert!(answer.body.len() < text().len() / 20);
    let head = server.connect().request("HEAD", "/a.txt", &[("Accept-Encoding", "gzip")]);
    assert_eq!(without_date(&head.headers), without_date(&answer.headers));
    let known = [("Accept-Encoding", "gzip"), ("If-None-Match", answer.header("etag").expect("a tag"))];
    assert_eq!(ask(&server, "/a.txt", &known).status, 304);

    site.write("public/a.txt", "short");
    wait::until("the change is seen", || (curl(&server, "/a.txt", "gzip").1 == "short").then_some(()));
}

fn without_date(fields: &[(String, String)]) -> Vec<&(String, String)> {
    fields.iter().filter(|(name, _)| name != "date").collect()
}

#[test]
fn what_a_handler_answers_is_compressed_on_request() {
    let site = web("local text = string.rep('all work and no play\\n', 500)
        local page = function(req)
            if req:arg('short') then return 'short' end
            if req:arg('events') then
                return { headers = { ['content-type'] = 'text/event-stream' }, body = text }
            end
            if req:arg('stream') then
                return { body = function(write) for i = 1, 50 do write('line ' .. i .. '\\n') end end }
            end
            return { headers = { etag = '\"1\"' }, body = text }
        end
        web:mount('/plain', page)
        web:mount('/', medusa.handler.compress(page))");
    let server = start(&site);
    let text = "all work and no play\n".repeat(500);
    for coding in ["zstd", "gzip"] {
        assert_eq!(curl(&server, "/", coding), (coding.to_owned(), text.clone()));
        let lines: String =
            (1..=50).flat_map(|line| ["line ".to_owned(), line.to_string(), "\n".to_owned()]).collect();
        assert_eq!(curl(&server, "/?stream=1", coding), (coding.to_owned(), lines));
        assert_eq!(curl(&server, "/?short=1", coding), (String::new(), "short".to_owned()));
        assert_eq!(curl(&server, "/?events=1", coding), (String::new(), text.clone()));
        assert_eq!(curl(&server, "/plain", coding), (String::new(), text.clone()));
    }
    let get = ask(&server, "/", &[("Accept-Encoding", "gzip")]);
    assert_eq!((get.header("etag"), get.header("vary")), (Some("W/\"1\""), Some("accept-encoding")));
    assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()));
    let head = server.connect().request("HEAD", "/", &[("Accept-Encoding", "gzip")]);
    assert_eq!(without_date(&head.headers), without_date(&get.headers));
    server.reload();
    assert_eq!(curl(&server, "/", "gzip").1, text);
}
