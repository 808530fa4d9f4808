//! What browsers are told of files and listings, and what strangers' files cannot become.

use medusa_testkit::{Response, Server, Site, browser};

use super::{ask, start, web};

/// The value of a field, or nothing.
#[track_caller]
fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.header(name)
}

#[test]
fn files_are_what_they_are_said_to_be() {
    let site =
        web("web:mount('/', medusa.handler.files('public', { listing = true, not_found = '404.txt' }))")
            .file("public/a.txt", "<script>alert(1)</script>")
            .file("public/large.bin", vec![0; 100_000])
            .file("public/404.txt", "lost");
    let server = start(&site);
    for path in ["/a.txt", "/large.bin", "/nothing", "/"] {
        assert_eq!(field(&server.get(path), "x-content-type-options"), Some("nosniff"), "{path}");
    }
    let part = ask(&server, "/large.bin", &[("Range", "bytes=0-1,5-6")]);
    assert_eq!((part.status, field(&part, "x-content-type-options")), (206, Some("nosniff")));
    assert_eq!(
        field(&server.get("/a.txt"), "content-security-policy"),
        None,
        "the site's own files may do all"
    );
}

#[test]
fn what_strangers_upload_is_no_part_of_the_site() {
    let script = "<script>document.body.textContent = 'it ran'</script>";
    let site = web("web:mount('/up/', medusa.handler.files('uploads', { untrusted = true, listing = true }))
        web:mount('/ours/', medusa.handler.files('uploads'))")
    .file("uploads/page.html", format!("<body>still{script}"))
    .file("uploads/index.html", format!("<body>still{script}"))
    .file("uploads/picture.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    .file("uploads/code.js", "document.body.textContent = 'it ran'")
    .file("uploads/photo.png", "pixels")
    .file("uploads/photo.png.gz", "somebody else's")
    .file("uploads/note.txt", format!("<body>still{script}"));
    let server = start(&site);
    for name in ["page.html", "index.html", "picture.svg", "code.js"] {
        let file = server.get(&format!("/up/{name}"));
        assert_eq!(field(&file, "content-type"), Some("application/octet-stream"), "{name}");
        assert_eq!(field(&file, "content-disposition"), Some("attachment"), "{name}");
        assert_eq!(field(&file, "x-content-type-options"), Some("nosniff"), "{name}");
        assert!(
            field(&file, "content-security-policy").is_some_and(|csp| csp.ends_with("sandbox")),
            "{name}"
        );
    }
    let photo = ask(&server, "/up/photo.png", &[("Accept-Encoding", "gzip")]);
    assert_eq!((photo.text().as_str(), field(&photo, "content-type")), ("pixels", Some("image/png")));
    assert_eq!(field(&photo, "content-disposition"), None, "it is shown");
    assert!(
        server.get("/up/").text().contains("<bdi>page.html</bdi>"),
        "no stranger's page stands for the directory"
    );
    // As a browser has it.
    assert!(browser::load(&server.url("/ours/page.html")).contains("it ran"), "this is what is kept out");
    let note = browser::load(&server.url("/up/note.txt"));
    assert!(note.contains("still") && !note.contains("<body>it ran"), "{note}");
}

#[test]
fn no_name_becomes_more_than_text_in_a_listing() {
    let names = [
        "javascript:alert(1)",
        "<img src=x onerror=document.title='ran'>",
        "\"onmouseover=\"alert(1)",
        "' onfocus='alert(1)",
        "a&lt;b",
        "data:text,x",
        "exe.\u{202e}gpj",
        "line\nbreak",
        "?sort=size#x",
        "%2e%2e%2f",
    ];
    let site = web("web:mount('/l/', medusa.handler.files('public', { listing = true }))");
    for name in names {
        site.write(&format!("public/{name}"), name);
    }
    let server = start(&site);
    let page = server.get("/l/");
    let csp = field(&page, "content-security-policy").expect("one");
    assert!(csp.starts_with("default-src 'none'") && !csp.contains("script"), "{csp}");
    let text = page.text();
    assert!(!text.contains('\u{202e}') && !text.contains("<img"), "{text}");
    let links: Vec<&str> =
        text.split("href=\"./").skip(1).filter_map(|link| link.split('"').next()).collect();
    assert_eq!(links.len(), names.len(), "each is a link below this directory: {text}");
    for link in links {
        let path = link.replace("&amp;", "&").replace("&#39;", "'").replace("&quot;", "\"");
        let file = server.get(&format!("/l/{path}"));
        assert_eq!(file.status, 200, "{path}");
        assert!(names.contains(&file.text().as_str()), "{path} leads to {}", file.text());
    }
    let shown = browser::load(&server.url("/l/"));
    assert!(shown.contains("<title>/l/</title>"), "{shown}");
}

#[test]
fn the_usual_fields_are_one_option() {
    let script = |option: &str| {
        format!(
            "web = medusa.http.server {{ listen = '127.0.0.1:0', security_headers = {option} }}
            web:mount('/', medusa.handler.files('public'))
            web:mount('/own', function() return {{ body = 'x', headers = {{ ['X-Frame-Options'] = 'DENY' }} }} end)"
        )
    };
    let site = Site::script(&script("true")).file("public/a.txt", "a");
    let server = start(&site);
    let all = |server: &Server, path: &str| {
        let answer = server.get(path);
        [
            "content-security-policy",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "permissions-policy",
            "referrer-policy",
            "x-content-type-options",
            "x-frame-options",
        ]
        .map(|name| answer.header(name).map(str::to_owned))
    };
    for path in ["/a.txt", "/own", "/nothing"] {
        assert!(all(&server, path).iter().all(Option::is_some), "{path}: {:?}", all(&server, path));
    }
    assert_eq!(all(&server, "/own")[6].as_deref(), Some("DENY"), "what a handler says counts");
    site.write(
        "site.luau",
        script("{ ['Content-Security-Policy'] = \"default-src 'none'\", ['x-frame-options'] = false, ['x-own'] = 'y' }"),
    );
    server.reload();
    let changed = all(&server, "/a.txt");
    assert_eq!((changed[0].as_deref(), changed[6].as_deref()), (Some("default-src 'none'"), None));
    assert_eq!(server.get("/a.txt").header("x-own"), Some("y"));
    site.write("site.luau", script("nil"));
    server.reload();
    assert_eq!(all(&server, "/own")[..5], [const { None::<String> }; 5], "none unless asked for");
    for (wrong, expected) in [
        ("'strict'", "must be true or a table"),
        ("{ ['a b'] = 'x' }", "is not the name of a field"),
        ("{ ['x-a'] = 'b\\r\\nc' }", "cannot be sent"),
        ("{ ['content-length'] = '1' }", "the server's to write"),
        ("{ ['x-a'] = true }", "must be a string, or false"),
    ] {
        site.write("site.luau", script(wrong));
        let failed = server.command(["reload"]).failure(1);
        assert!(failed.contains(expected), "{wrong}: {failed}");
    }
}
