//! `medusa.handler.publish`: people publish with a browser, with and without its scripts, and nobody else does it for them.

use std::fs;

use medusa_testkit::browser::Browser;
use medusa_testkit::{Client, Response, Server, Site};
use serde_json::Value;

use super::support::{start, web};

/// `secret` by SHA-1.
const ADA: &str = "local users = medusa.auth.users { ada = '{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=' }\n";

/// A site with a page to publish by.
fn site(options: &str) -> Site {
    web(&format!(
        "{ADA}web:mount('/', medusa.handler.files('public'))
        web:mount('/publish/', medusa.handler.auth(users, medusa.handler.publish('public', {options})))"
    ))
    .file("public/index.html", "<p>the first page")
    .file("public/blog/a.txt", "one\ntwo\nthree\n")
}

/// Its address for a browser that is logged in.
fn url(server: &Server, path: &str) -> String {
    server.url(path).replace("http://", "http://ada:secret@")
}

const ADA_LOGIN: &str = "Authorization: Basic YWRhOnNlY3JldA==\r\n";

/// The body of a form of these fields; a name may have more parameters behind it.
fn form(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body.extend(["--b\r\nContent-Disposition: form-data; name=", name, "\r\n\r\n", value, "\r\n"]);
    }
    body + "--b--\r\n"
}

/// Sends a form as a page of this origin does, with more fields that end in `\r\n` each.
#[track_caller]
fn post(client: &mut Client, path: &str, more: &str, fields: &[(&str, &str)]) -> Response {
    let body = form(fields);
    client.send(format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{ADA_LOGIN}{more}Content-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.response()
}

#[track_caller]
fn get(client: &mut Client, path: &str) -> Response {
    client.request("GET", path, &[("Authorization", "Basic YWRhOnNlY3JldA==")])
}

/// What stands between two texts on a page.
fn between<'p>(page: &'p str, before: &str, behind: &str) -> &'p str {
    let rest = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}")).1;
    rest.split(behind).next().unwrap_or_default()
}

fn text_of(browser: &mut Browser, selector: &str) -> String {
    let value = browser.eval(&format!("document.querySelector({}).textContent", Value::from(selector)));
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_person_uploads_edits_compares_restores_and_deletes() {
    let site =
        site("{ site = '/' }").file("new.txt", "from a disk\n").file("pic.png", [0x89, b'P', b'N', b'G']);
    let server = start(&site);
    let mut browser = Browser::start();
    browser.go(&url(&server, "/publish/blog/"));
    browser.choose("#files", &[&site.at("new.txt"), &site.at("pic.png")]);
    browser.wait_for("location.search === '?uploaded' && document.body.textContent.includes('pic.png')");
    assert_eq!(site.read("public/blog/new.txt"), "from a disk\n");
    assert_eq!(server.get("/blog/new.txt").text(), "from a disk\n");

    // Once more: it is there, and is replaced when that is said.
    site.write("new.txt", "from a disk, again\n");
    browser.choose("#files", &[&site.at("new.txt")]);
    browser.wait_for("document.querySelector('#uploads button')?.textContent === 'Replace'");
    assert_eq!(site.read("public/blog/new.txt"), "from a disk\n");
    browser.eval("uploads = document.querySelector('#uploads'); window.old = true");
    browser.click("#uploads button");
    browser.wait_for("!window.old && document.readyState === 'complete'");
    assert_eq!(site.read("public/blog/new.txt"), "from a disk, again\n");

    browser.click("a[href='./a.txt']");
    browser.wait_for("document.querySelector('#text')?.value === 'one\\ntwo\\nthree\\n'");
    browser.eval(
        "text = document.querySelector('#text'); text.value = 'one\\n2 <b>\\nthree\\n'; \
              text.dispatchEvent(new Event('input')); document.querySelector('#editor button').click()",
    );
    browser.wait_for("location.search === '?saved' && document.readyState === 'complete'");
    assert_eq!(site.read("public/blog/a.txt"), "one\n2 <b>\nthree\n");

    browser.click("a[href='?history']");
    browser.wait_for("document.querySelector('h1')?.textContent === 'History'");
    assert!(text_of(&mut browser, ".versions").contains("by ada"), "{}", text_of(&mut browser, ".versions"));
    browser.click("a[href^='?diff']");
    browser.wait_for("document.querySelector('.diff') !== null");
    assert_eq!(text_of(&mut browser, ".diff del"), "− two");
    assert_eq!(text_of(&mut browser, ".diff ins"), "+ 2 <b>");
    browser.click("main form button");
    browser.wait_for("location.search === '?restored'");
    assert_eq!(site.read("public/blog/a.txt"), "one\ntwo\nthree\n");

    browser.go(&url(&server, "/publish/blog/a.txt"));
    browser.click("button.danger");
    browser.wait_for("location.search === '?removed=a.txt' && document.readyState === 'complete'");
    assert!(!site.at("public/blog/a.txt").exists());
    browser.click(".notice button");
    browser.wait_for("location.search === '?restored'");
    assert_eq!(site.read("public/blog/a.txt"), "one\ntwo\nthree\n");
}

#[test]
fn it_works_without_scripts() {
    let site = site("{}").file("new.txt", "new\n");
    let server = start(&site);
    let mut browser = Browser::start();
    browser.scripts(false);
    browser.go(&url(&server, "/publish/"));
    browser.choose("#files", &[&site.at("new.txt")]);
    browser.click("#upload button");
    browser.wait_for("location.search === '?uploaded' && document.readyState === 'complete'");
    assert_eq!(site.read("public/new.txt"), "new\n");
    browser.eval("document.querySelector('[name=name]').value = 'über uns'");
    browser.click("form[action='?folder'] button");
    browser.wait_for("location.search === '?made' && document.readyState === 'complete'");
    browser.eval("document.querySelector('[name=new]').value = 'we & you.html'");
    browser.click("form[method=get] button");
    browser.wait_for("location.search === '?edit' && document.readyState === 'complete'");
    browser.eval("document.querySelector('#text').value = '\\n<p>we\\n'");
    browser.click("#editor button");
    browser.wait_for("location.search === '?saved' && document.readyState === 'complete'");
    assert_eq!(site.read("public/über uns/we & you.html"), "\n<p>we\n");
    browser.eval("document.querySelector('[name=to]').value = 'we.html'");
    browser.click("form[action='?rename'] button");
    browser.wait_for("location.pathname === '/publish/we.html' && document.readyState === 'complete'");
    assert_eq!(site.read("public/we.html"), "\n<p>we\n");
    browser.go(&url(&server, "/publish/%C3%BCber%20uns/"));
    browser.click("button.danger");
    browser.wait_for("location.pathname === '/publish/' && document.readyState === 'complete'");
    assert!(!site.at("public/über uns").exists());
}

#[test]
fn pages_fit_a_phone_and_a_preview_can_do_nothing() {
    let long = "a-name-of-a-file-that-is-much-longer-than-a-screen-is-wide-and-has-no-place-to-break.html";
    let evil = "<!doctype html><body><script>parent.document.title = 'evil'; top.location = '/'</script>\
                <form action='/publish/?upload' method=post id=f></form><p>shown</p><img src=x onerror='top.evil = 1'>";
    let site = site("{ site = '/' }").file(&format!("public/{long}"), evil).file("public/data.bin", [0; 100]);
    let server = start(&site);
    let mut browser = Browser::start();
    browser.phone(360);
    let file = format!("/publish/{long}");
    for path in
        ["/publish/", "/publish/blog/?deleted", &file, &format!("{file}?history"), "/publish/data.bin"]
    {
        browser.go(&url(&server, path));
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert_eq!(wide, 360, "{path}");
        let small = browser.eval(
            "[...document.querySelectorAll('button, summary, input:not([type=hidden]):not([type=checkbox])')]
                .filter(it => it.offsetParent && it.offsetHeight < 36).map(it => it.outerHTML).join()",
        );
        assert_eq!(small, "", "{path}");
    }
    browser.go(&url(&server, &file));
    browser.eval("document.querySelector('[formtarget]').click()");
    browser.wait_for("window.frames.length === 1");
    assert_eq!(browser.eval("document.title !== 'evil' && window.evil === undefined"), true);
    // It is of another origin than the page.
    assert_eq!(browser.eval("document.querySelector('iframe').contentDocument === null"), true);
    let mut client = server.connect();
    let preview = get(&mut client, &format!("{file}?preview"));
    let policy = preview.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("sandbox; default-src 'none';") && !policy.contains("script"), "{policy}");
    assert!(preview.text().starts_with(&format!("<!doctype html><base href=\"/{long}\">")));
}

#[test]
fn pages_of_other_sites_publish_nothing() {
    let site = site("{}");
    let server = start(&site);
    let mut client = server.connect();
    let file: &[(&str, &str)] = &[("file; filename=evil.html", "evil")];
    for fields in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
    ] {
        assert_eq!(post(&mut client, "/publish/?upload", fields, file).status, 403, "{fields}");
        assert_eq!(post(&mut client, "/publish/index.html?delete", fields, &[]).status, 403, "{fields}");
    }
    assert!(!site.at("public/evil.html").exists() && site.at("public/index.html").exists());
    assert_eq!(server.number("handler.publish", "refused"), 8);
    // A GET changes nothing.
    for query in ["delete", "upload", "folder", "rename", "restore", "save", "new=a"] {
        get(&mut client, &format!("/publish/index.html?{query}"));
        get(&mut client, &format!("/publish/?{query}"));
    }
    assert_eq!(site.read("public/index.html"), "<p>the first page");
    let own = post(&mut client, "/publish/?upload", "Sec-Fetch-Site: same-origin\r\n", file);
    assert_eq!((own.status, own.header("location")), (303, Some("./?uploaded")));
    for path in ["/publish/", "/publish/index.html", "/publish/index.html?history"] {
        let page = get(&mut client, path);
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{path}");
        assert!(!page.text().contains("<script>") && !page.text().contains(" style="), "{path}");
    }
    assert_eq!(client.get("/publish/").status, 401);
}

#[test]
fn a_lost_update_is_told_and_both_are_shown() {
    let site = site("{}");
    let server = start(&site);
    let mut client = server.connect();
    let page = get(&mut client, "/publish/blog/a.txt").text();
    let tag = between(&page, "name=\"match\" value=\"", "\"").replace("&quot;", "\"");
    fs::write(site.at("public/blog/a.txt"), "one\ntheirs\nthree\n").expect("a file");
    let save = |client: &mut Client, tag: &str, text: &str| {
        post(client, "/publish/blog/a.txt?save", "", &[("match", tag), ("newlines", "lf"), ("text", text)])
    };
    let conflict = save(&mut client, &tag, "one\r\nmine</textarea><script>\r\nthree\r\n");
    assert_eq!(conflict.status, 412);
    assert_eq!(site.read("public/blog/a.txt"), "one\ntheirs\nthree\n");
    let page = conflict.text();
    assert!(page.contains("<del>− theirs</del><ins>+ mine&lt;/textarea&gt;&lt;script&gt;</ins>"), "{page}");
    assert_eq!(
        between(&page, "autocomplete=\"off\">\n", "</textarea>"),
        "one\nmine&lt;/textarea&gt;&lt;script&gt;\nthree\n"
    );
    let tag = between(&page, "name=\"match\" value=\"", "\"").replace("&quot;", "\"");
    let saved = save(&mut client, &tag, "both\r\n");
    assert_eq!((saved.status, saved.header("location")), (303, Some("?saved")));
    assert_eq!(site.read("public/blog/a.txt"), "both\n");
    // Of two new files of one name the second is told, too.
    assert_eq!(save(&mut client, "new", "x").status, 412);
    fs::remove_file(site.at("public/blog/a.txt")).expect("a file");
    assert!(save(&mut client, &tag, "x").text().contains("has been deleted since"));
    assert_eq!(save(&mut client, "new", "x").status, 303);
}

#[test]
fn what_goes_wrong_is_told_with_what_to_do() {
    let site = site("{ max_size = 100, quota = '64KiB', versions = 2 }").file("public/page/x", "");
    let server = start(&site);
    let mut client = server.connect();
    let large = "x".repeat(101);
    let upload = |client: &mut Client, name: &str, content: &str| {
        let answer = post(
            client,
            "/publish/?upload",
            "Accept: text/plain\r\n",
            &[("path", name), ("file; filename=f", content)],
        );
        if answer.says_close() {
            *client = server.connect();
        }
        (answer.status, answer.text())
    };
    assert_eq!(upload(&mut client, "a", "a").0, 200);
    for (name, content, status, told) in [
        ("a", "b", 412, "There is already a, which was not replaced"),
        ("page", "b", 409, "a directory is in the way. Choose another name"),
        ("large", &*large, 413, "it is longer than the 100 B that a file may have here. Make it smaller"),
        (".env", "b", 403, "nothing can be published under this name"),
        ("../a", "b", 403, "nothing can be published under this name"),
    ] {
        let (given, text) = upload(&mut client, name, content);
        assert!(given == status && text.contains(told), "{name}: {given} {text}");
    }
    for name in 0..16 {
        upload(&mut client, &format!("n{name}"), "n");
    }
    let (status, text) = upload(&mut client, "last", "n");
    assert!(status == 507 && text.contains("Delete what is not needed"), "{status} {text}");
    // Without a script it is a page.
    let page = post(&mut client, "/publish/?upload", "", &[("file; filename=\"<b>.html\"", "b")]);
    assert_eq!(page.status, 507);
    assert!(page.text().contains("role=\"alert\">The upload of &lt;b&gt;.html failed: "), "{}", page.text());
    // A text that cannot be saved is not lost.
    let unsaved = &[("match", "new"), ("newlines", "lf"), ("text", "what I wrote")];
    let page = post(&mut client, "/publish/new.txt?save", "", unsaved);
    assert!(page.status == 507 && page.text().contains(">\nwhat I wrote</textarea>"), "{}", page.text());
    assert_eq!(post(&mut client, "/publish/page/?delete", "", &[]).status, 409);
    assert_eq!(post(&mut client, "/publish/a?rename", "", &[("to", "n1")]).status, 409);
    assert_eq!(post(&mut client, "/publish/page/?rename", "", &[("to", "page/sub")]).status, 409);
    assert_eq!(post(&mut client, "/publish/nothing?delete", "", &[]).status, 404);
    assert_eq!(post(&mut client, "/publish/?nonsense", "", &[]).status, 404);
    let bare = client.request("POST", "/publish/?upload", &[("Authorization", "Basic YWRhOnNlY3JldA==")]);
    assert_eq!(bare.status, 400);
}

#[test]
fn nothing_outside_is_read_or_written_and_names_are_text() {
    let name = "<script>alert(1)<!--\u{202e}gpj.exe";
    let site = site("{}").file("secret", "secret").file(&format!("public/{name}"), "x");
    std::os::unix::fs::symlink(site.at("secret"), site.at("public/link")).expect("a link");
    let server = start(&site);
    for path in [
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "..%5csecret",
        "%252e%252e/secret",
        "%00",
        "a%00",
        "%C0%AE%C0%AE/secret",
        "link",
        ".medusa-versions/pages/a",
        "blog/../../secret",
        "a%0Ab",
        "site.luau",
        ".env",
    ] {
        for query in
            ["", "?raw", "?history", "?edit", "?preview", "?diff=00000000000000000001", "?raw=../../secret"]
        {
            let answer = get(&mut server.connect(), &format!("/publish/{path}{query}"));
            assert!(
                matches!(answer.status, 400 | 403 | 404 | 307 | 308 | 301),
                "{path}{query}: {}",
                answer.status
            );
            assert!(!answer.text().contains("secret\n") && answer.text() != "secret", "{path}{query}");
        }
        for (query, fields) in [
            ("?save", &[("match", "new"), ("newlines", "lf"), ("text", "evil")][..]),
            ("?restore", &[("version", "../../../../secret")]),
            ("?delete", &[]),
            ("?rename", &[("to", "b")]),
        ] {
            let status = post(&mut server.connect(), &format!("/publish/{path}{query}"), "", fields).status;
            assert!(matches!(status, 400 | 403 | 404 | 308), "{path}{query}: {status}");
        }
        let decoded = path.replace("%2e", ".").replace("%2f", "/").replace("%5c", "\\").replace("%00", "\0");
        for (query, field) in [("?upload", "path"), ("blog/?rename", "to"), ("?folder", "name")] {
            let file = ("file; filename=f", "evil");
            let status =
                post(&mut server.connect(), &format!("/publish/{query}"), "", &[(field, &decoded), file])
                    .status;
            assert!(
                matches!(status, 400 | 403 | 409 | 412) || decoded.contains('%'),
                "{query} {decoded}: {status}"
            );
        }
    }
    let mut client = server.connect();
    assert_eq!((site.read("secret").as_str(), site.at("evil").exists()), ("secret", false));
    let list = get(&mut client, "/publish/").text();
    assert!(!list.contains("<script>alert") && list.contains("&lt;script&gt;alert"), "{list}");
    assert!(!list.contains('\u{202e}'));
    let page = get(&mut client, "/publish/%3Cscript%3Ealert(1)%3C!--%E2%80%AEgpj.exe").text();
    assert!(page.contains("<title>&lt;script&gt;alert(1)&lt;!--\u{fffd}gpj.exe</title>"), "{page}");
    assert!(!page.contains("<script>alert") && !page.contains('\u{202e}'), "{page}");
    let removed = get(&mut client, "/publish/?removed=%3Cscript%3Ealert(1)");
    assert!(!removed.text().contains("<script>alert"), "{}", removed.text());
}

#[test]
fn assets_are_kept_by_browsers_and_a_reload_goes_on() {
    let site = site("{}");
    let server = start(&site);
    let mut client = server.connect();
    let list = get(&mut client, "/publish/blog/").text();
    let style = between(&list, "<link rel=\"stylesheet\" href=\"", "\"").replace("&amp;", "&");
    assert!(style.starts_with("./../?asset=publish.css&v="), "{style}");
    let path = style.replace("./../", "/publish/");
    let asset = get(&mut client, &path);
    assert_eq!(asset.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(asset.header("cache-control"), Some("private, max-age=31536000, immutable"));
    let tag = asset.header("etag").expect("a tag").to_owned();
    let again = [("Authorization", "Basic YWRhOnNlY3JldA=="), ("If-None-Match", tag.as_str())];
    assert_eq!(client.request("GET", &path, &again).status, 304);
    assert_eq!(get(&mut client, "/publish/?asset=../mod.rs").status, 404);
    post(&mut client, "/publish/?upload", "", &[("file; filename=f", "x")]);
    server.reload();
    assert_eq!(server.number("handler.publish", "published"), 1);
    let user = "return medusa.versions.list('public', 'f')[1].user";
    post(&mut client, "/publish/?upload", "", &[("replace", "yes"), ("file; filename=f", "y")]);
    assert!(server.eval(user).contains("ada"));
}
