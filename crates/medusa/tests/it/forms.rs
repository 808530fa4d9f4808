//! Forms, uploads and event streams, with the clients people have: `curl` and a browser.

use std::fs;
use std::process::Command;

use medusa_testkit::{Site, browser, memory};

use super::support::start;

/// A site with one handler twice: at `/inline` as a function, at `/file` as a file.
fn site(handler: &str) -> Site {
    let script = format!(
        "web = medusa.http.server {{ listen = '127.0.0.1:0', limits = {{ body = 1e9 }} }}
        web:mount('/inline', function(req) {handler} end)
        web:mount('/file', medusa.handler.script('handler.luau'))"
    );
    Site::script(&script).file("handler.luau", format!("return function(req) {handler} end"))
}

/// The answer as curl reads it, which must be there.
#[track_caller]
fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    let command =
        command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]).args(arguments);
    let output = command.output().expect("curl, from the Debian package of that name");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stderr}{stdout}");
    stdout.into_owned()
}

#[test]
fn curl_submits_both_formats() {
    let site = site(
        "local form = req:form()
        local file = form.file and `{form.file.filename}: {form.file:read()}` or 'none'
        return `{form.note} {file} {table.concat(req:form_all('tag'), '+')}`",
    );
    let site = site.file("hello.txt", "hello");
    let server = start(&site);
    let upload = format!("file=@{}", site.at("hello.txt").display());
    for path in ["/inline", "/file"] {
        let url = server.url(path);
        let note = "note=a & b é";
        let urlencoded = curl(&["--data-urlencode", note, "-d", "tag=1", "-d", "tag=2", &url]);
        assert_eq!(urlencoded, "a & b é none 1+2", "{path}");
        let multipart = curl(&["-F", note, "-F", "tag=1", "-F", "tag=2", "-F", &upload, &url]);
        assert_eq!(multipart, "a & b é hello.txt: hello 1+2", "{path}");
    }
}

/// A file larger than what may be in memory goes through the disk, and is gone from there afterwards.
#[test]
fn a_large_upload_takes_little_memory() {
    const SIZE: usize = 200 << 20;
    let handler = "local file = req:form().file
        file:save('uploads/' .. file.filename)
        return tostring(file.size)";
    let site = site(handler).file("uploads/.keep", "");
    let outside = Site::new().file("large.bin", "0123456789abcdef".repeat(SIZE / 16));
    let server = start(&site);
    let upload = format!("file=@{}", outside.at("large.bin").display());
    for path in ["/inline", "/file"] {
        let before = memory::resident(server.pid());
        assert_eq!(curl(&["-F", &upload, &server.url(path)]), SIZE.to_string(), "{path}");
        let grown = memory::resident(server.pid()).saturating_sub(before);
        assert!(grown < 32 << 20, "{path}: {grown} bytes more for an upload of {SIZE}");
        let (sent, kept) = (outside.at("large.bin"), site.at("uploads/large.bin"));
        assert!(fs::read(sent).unwrap() == fs::read(&kept).unwrap(), "{path}: another file was kept");
        fs::remove_file(kept).unwrap();
    }
    let entries = fs::read_dir(site.at("uploads")).unwrap();
    let left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".keep"], "nothing half-written is left");
}

/// The page's `load` waits for an image that the server holds back until the page has told what it saw.
#[test]
fn a_browser_submits_a_form_and_reads_events() {
    let page = r#"<!doctype html><meta charset="utf-8"><title>t</title><pre id="seen"></pre>
        <form id="form"><input name="note" value="größer &amp; &quot;so&quot;"><input type="checkbox" name="box" checked>
        <input type="file" name="none"></form><img src="/hold">
        <script>
        const show = text => { document.getElementById("seen").textContent += text + "\n" }
        const form = new FormData(document.getElementById("form"))
        form.append("file", new File(["line 1\r\nline 2"], "näme \"x\".txt", { type: "text/plain" }))
        const events = new EventSource("/events")
        events.addEventListener("add", event => show(`${event.lastEventId}: ${event.data}`))
        events.addEventListener("end", async () => {
            events.close()
            const answer = await fetch("/form", { method: "POST", body: form })
            show(await answer.text())
            fetch("/done", { method: "POST" })
        })
        </script>"#;
    let site = Site::script(
        "web = medusa.http.server { listen = '127.0.0.1:0' }
        web:mount('/', medusa.handler.files('public'))
        web:mount('/form', function(req)
            local form = req:form()
            local file = form.file
            return `{form.note} {form.box} {tostring(form.none)} {file.filename} {file.content_type} {#file:read()}`
        end)
        web:mount('/events', function(req)
            -- The first connection ends early: the browser comes again and says what it saw.
            local first = tonumber(req.last_event_id or 0) + 1
            return medusa.http.events(function(stream)
                stream:send { event = 'add', id = first, data = `one\\ntwo {first}`, retry = 10 }
                if first == 3 then stream:send { event = 'end', data = '' } end
            end)
        end)
        done = false
        web:mount('/done', function() done = true return '' end)
        web:mount('/hold', function() while not done do medusa.sleep(0.02) end return { status = 404 } end)",
    )
    .file("public/index.html", page);
    let server = start(&site);
    let document = browser::load(&server.url("/"));
    let expected = "1: one\ntwo 1\n2: one\ntwo 2\n3: one\ntwo 3\n\
        größer &amp; \"so\" on nil näme \"x\".txt text/plain 14\n";
    assert!(document.contains(expected), "{document}");
}

/// Each reason once: what repeats within a second is counted.
#[test]
fn why_a_body_was_refused_is_in_the_log() {
    let server = start(&site("return tostring(req:form())"));
    for path in ["/inline", "/file"] {
        let url = server.url(path);
        let refused = Command::new("curl").args(["--silent", "--json", "{}", &url]).output().expect("curl");
        let page = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(page.contains("a form was expected, but the body is application/json"), "{page}");
        let line = server.stderr().wait_for(&format!("path={path}"));
        assert!(line.contains("refused: a form was expected"), "{line}");
        assert!(line.contains("status=415") && line.contains("INFO"), "{line}");
    }
}
