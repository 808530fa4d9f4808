//! Forms as handlers read them, in both kinds of VM.

use std::fs;

use super::support::{Answer, Server, in_both};

fn submit(server: &Server, path: &str, kind: &str, body: &str) -> Answer {
    let length = body.len();
    server.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=XX";

/// A part and its fields, as browsers write them.
fn part(disposition: &str, rest: &str, content: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n{rest}\r\n{content}\r\n")
}

#[test]
fn both_formats_give_the_same_table() {
    let server = in_both(
        "",
        "local form = req:form()
        return medusa.json.encode { form = form, again = req:form().name, all = req:form_all('tag'),
            none = #req:form_all('x'), extra = form.nothing == nil }",
    );
    let expected = r#"{"again":"Jürgen & Söhne","all":["a","b",""],"extra":true,"form":{"name":"Jürgen & Söhne","tag":"a"},"none":0}"#;
    let parts = ["name=\"name\"", "name=\"tag\"", "name=\"tag\"", "name=tag"];
    let values = ["Jürgen & Söhne", "a", "b", ""];
    let multipart: String = parts.iter().zip(values).map(|(name, value)| part(name, "", value)).collect();
    let multipart = format!("a preamble\r\n{multipart}--XX--\r\nan epilogue");
    for path in ["/inline", "/file"] {
        let urlencoded = "name=J%C3%BCrgen+%26+S%C3%B6hne&tag=a&tag=b&tag";
        assert_eq!(submit(&server, path, URLENCODED, urlencoded).body, expected, "{path}");
        assert_eq!(submit(&server, path, MULTIPART, &multipart).body, expected, "{path}");
    }
}

/// The field `_charset_` is for browsers that send no UTF-8 ([RFC 7578 §4.6](https://www.rfc-editor.org/rfc/rfc7578#section-4.6)),
/// of which there are none any more.
#[test]
fn a_field_that_names_a_charset_is_one_like_any_other() {
    let server =
        in_both("", "local form = req:form() return form._charset_ .. ' ' .. form.name .. ' ' .. #form.name");
    for charset in ["iso-8859-1", "UTF-8", "none"] {
        let multipart = part("name=\"_charset_\"", "", charset)
            + &part("name=\"name\"", "", "J\u{fc}rgen")
            + "--XX--\r\n";
        let urlencoded = format!("_charset_={charset}&name=J%C3%BCrgen");
        for path in ["/inline", "/file"] {
            let expected = format!("{charset} J\u{fc}rgen 7");
            assert_eq!(submit(&server, path, MULTIPART, &multipart).body, expected, "{path}");
            assert_eq!(submit(&server, path, URLENCODED, &urlencoded).body, expected, "{path}");
        }
    }
}

#[test]
fn files_are_read_small_and_large() {
    let server = in_both(
        ", limits = { body = 1e8 }",
        "local form = req:form()
        local file, sum, length = form.file, 0, 0
        for chunk in file:chunks() do sum += string.byte(chunk, -1) length += #chunk end
        return medusa.json.encode { filename = file.filename, type = file.content_type, size = file.size,
            same = #file:read() == length and file:read() == file:read(), length = length, sum = sum > 0,
            text = form.text, empty = form.empty == nil, count = #req:form_all('file'), shown = tostring(file) }",
    );
    for path in ["/inline", "/file"] {
        for size in [10, 65_536, 65_537, 3_000_000] {
            let content = "x\r\n--X-\r".repeat(size / 8 + 1)[..size].to_owned();
            let body = part("name=\"text\"", "", "hello")
                + &part("name=\"empty\"; filename=\"\"", "Content-Type: application/octet-stream\r\n", "")
                + &part("name=\"file\"; filename=\"../a b.txt\"", "Content-Type: text/plain\r\n", &content)
                + &part("name=\"file\"; filename=\"second\"", "", "2")
                + "--XX--\r\n";
            let answer = submit(&server, path, MULTIPART, &body);
            let expected = format!(
                r#"{{"count":2,"empty":true,"filename":"a b.txt","length":{size},"same":true,"shown":"UploadedFile \"a b.txt\" ({size} bytes)","size":{size},"sum":true,"text":"hello","type":"text/plain"}}"#
            );
            assert_eq!(answer.body, expected, "{path} {size}");
        }
    }
}

#[test]
fn files_are_saved_below_the_scripts_directory() {
    let server = in_both(
        ", limits = { body = 1e8 }",
        "local ok, e = pcall(function() req:form().file:save(req:arg('to')) end) return ok and 'saved' or tostring(e)",
    );
    fs::create_dir(server.dir.path().join("uploads")).unwrap();
    for (path, size) in [("/inline", 100), ("/file", 1_000_000)] {
        let content = "0123456789".repeat(size / 10);
        let body = part("name=\"file\"; filename=\"f\"", "", &content) + "--XX--\r\n";
        let save = |to: &str| submit(&server, &format!("{path}?to={to}"), MULTIPART, &body).body;
        assert_eq!(save("uploads/f.txt"), "saved", "{path}");
        assert_eq!(fs::read_to_string(server.dir.path().join("uploads/f.txt")).unwrap(), content);
        for (to, why) in [
            ("../f", "climbs"),
            ("/tmp/f", "leads out"),
            ("site.luau", "would be a script"),
            ("uploads", "cannot write"),
            ("missing/f", "cannot write"),
            ("", "not the name"),
        ] {
            let refused = save(to);
            assert!(refused.contains(why), "{path} {to:?}: {refused}");
        }
    }
    assert!(server.reload().is_ok(), "the script is what it was");
}

/// What a request uploaded goes with it, also when the script keeps the value.
#[test]
fn a_file_does_not_outlive_its_request() {
    let server = in_both(
        ", limits = { body = 1e8 }",
        "if req.method == 'POST' then kept = req:form().file return 'kept' end
        local ok, e = pcall(function() return kept:read() end)
        return `{kept.filename} {kept.size} {e}`",
    );
    let body = part("name=\"file\"; filename=\"f\"", "", &"x".repeat(200_000)) + "--XX--\r\n";
    assert_eq!(submit(&server, "/inline", MULTIPART, &body).body, "kept");
    let later = server.get("/inline").body;
    assert!(later.starts_with("f 200000") && later.contains("this file is gone"), "{later}");
    // Other tests may run in this process, and have their own.
    let gone = (0..100).any(|_| {
        let none = unnamed_files() == 0;
        if !none {
            server.value("medusa.sleep(0.1)");
        }
        none
    });
    assert!(gone, "files without a name are still open: {}", unnamed_files());
}

/// The number of files without a name that this process, in which the server runs, has open.
fn unnamed_files() -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("/#")).count()
}

/// However many files there are: a process has only so many descriptors, and all requests together hold them.
#[test]
fn the_large_files_of_a_form_take_one_descriptor() {
    let handler = "local form = req:form()
        local told = {}
        for _, file in req:form_all('file') do table.insert(told, `{file.size}{string.sub(file:read(), -1)}`) end
        medusa.shared('read'):set(req.path, true)
        while not medusa.shared('read'):get('go') do medusa.sleep(0.02) end
        return table.concat(told, ' ')";
    let server = in_both(", limits = { body = 1e8 }", handler);
    let file = |last: u8| {
        let content = "x".repeat(100_000 + usize::from(last)) + char::from(last).encode_utf8(&mut [0; 4]);
        part("name=file; filename=f", "", &content)
    };
    let body: String = (b'a'..=b'z').map(file).chain(["--XX--\r\n".to_owned()]).collect();
    let expected: Vec<String> =
        (b'a'..=b'z').map(|last| format!("{}{}", 100_001 + u32::from(last), char::from(last))).collect();
    for path in ["/inline", "/file"] {
        server.value("medusa.shared('read'):set('go', false)");
        let before = unnamed_files();
        let answer = std::thread::scope(|scope| {
            let answer = scope.spawn(|| submit(&server, path, MULTIPART, &body));
            server.value(&format!("while not medusa.shared('read'):get('{path}') do medusa.sleep(0.02) end"));
            assert_eq!(unnamed_files() - before, 1, "{path}");
            server.value("medusa.shared('read'):set('go', true)");
            answer.join().unwrap()
        });
        assert_eq!(answer.body, expected.join(" "), "{path}");
    }
}

#[test]
fn what_is_no_form_is_refused_with_its_status() {
    let server = in_both(", limits = { body = 1e8 }", "req:form() return 'read'");
    let many = "a=1&".repeat(1001);
    let many_parts = part("name=\"a\"", "", "1").repeat(1001) + "--XX--\r\n";
    let long = format!("a={}", "x".repeat(1024 * 1024 + 1));
    let long_part = part("name=\"a\"", "", &"x".repeat(1024 * 1024 + 1)) + "--XX--\r\n";
    let long_head = part("name=\"a\"", &format!("X-Long: {}\r\n", "x".repeat(40_000)), "1") + "--XX--\r\n";
    let long_sum = part("name=\"a\"", "", &"x".repeat(1_000_000)).repeat(9) + "--XX--\r\n";
    let names = part(&format!("name=\"{}\"", "x".repeat(15_000)), "", "").repeat(600) + "--XX--\r\n";
    let filenames =
        part(&format!("name=a; filename=\"{}\"", "x".repeat(15_000)), "", "1").repeat(600) + "--XX--\r\n";
    let types = part("name=a; filename=b", &format!("Content-Type: text/{}\r\n", "x".repeat(15_000)), "1")
        .repeat(600)
        + "--XX--\r\n";
    let long_preamble = "x".repeat(100_000) + "\r\n--XX--\r\n";
    let wide = part("name=\"a\"", "Content-Type: text/plain; charset=utf-16\r\n", "x") + "--XX--\r\n";
    let nameless = part("filename=\"a\"", "", "x") + "--XX--\r\n";
    let cut = part("name=\"a\"", "", "x");
    for (kind, body, status) in [
        (URLENCODED, "a=1", 200),
        ("text/plain", "a=1", 415),
        ("multipart/form-data", "", 400),
        (URLENCODED, many.as_str(), 413),
        (URLENCODED, &long, 413),
        ("application/x-www-form-urlencoded; charset=utf-16", "", 415),
        (MULTIPART, "--XX--\r\n", 200),
        (MULTIPART, &many_parts, 413),
        (MULTIPART, &long_part, 413),
        (MULTIPART, &long_sum, 413),
        (MULTIPART, &names, 413),
        (MULTIPART, &filenames, 413),
        (MULTIPART, &types, 413),
        (MULTIPART, &long_head, 400),
        (MULTIPART, &long_preamble, 400),
        (MULTIPART, &wide, 415),
        (MULTIPART, &nameless, 400),
        (MULTIPART, &cut, 400),
        (MULTIPART, "", 400),
        (MULTIPART, "--XX\r\n\r\n\r\n--XX--", 400),
        (MULTIPART, "--XX\r\nno field\r\n\r\nx\r\n--XX--", 400),
        (MULTIPART, "--XXY\r\n", 400),
    ] {
        for path in ["/inline", "/file"] {
            let answer = submit(&server, path, kind, body);
            let shown: String = body.chars().take(60).collect();
            assert_eq!(answer.status, status, "{path} {kind}: {shown:?}");
        }
    }
}

/// Sends a form of one part, of which any byte may be written as `<ef>`.
fn submit_part(server: &Server, path: &str, disposition: &str, rest: &str, content: &str) -> Answer {
    let mut body = Vec::new();
    let text = part(disposition, rest, content) + "--XX--\r\n";
    let mut pieces = text.split('<');
    body.extend_from_slice(pieces.next().unwrap().as_bytes());
    for piece in pieces {
        body.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        body.extend_from_slice(&piece.as_bytes()[3..]);
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {MULTIPART}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    server.send_bytes(&[head.as_bytes(), &body].concat())
}

/// Bytes that are not ASCII are shown as numbers.
const TELL: &str = "local told = {}
    local function shown(text) return (string.gsub(text, '[^ -~]', function(byte) return `<{string.byte(byte)}>` end)) end
    for name, value in req:form() do
        if type(value) == 'string' then table.insert(told, `text {shown(name)}={shown(value)}`)
        else table.insert(told, `file {shown(name)}={shown(value.filename)}:{value:read()}`) end
    end
    return table.concat(told, ' ')";

#[test]
fn what_has_a_file_name_in_any_form_is_a_file() {
    let server = in_both("", TELL);
    for (disposition, expected) in [
        ("name=\"f\"; filename=\"a%22b%0D%0A.txt\"", "file f=a\"b<13><10>.txt:data"),
        ("name=\"f\"; filename*=utf-8''na%C3%AFve.txt", "file f=na<195><175>ve.txt:data"),
        (
            "name=f; filename=\"=?utf-8?B?bmHDr3ZlLnR4dA==?=\"; filename*=utf-8''na%C3%AFve.txt",
            "file f=na<195><175>ve.txt:data",
        ),
        ("name=\"f\"; filename=\"na<ef>ve.txt\"", "file f=na<239>ve.txt:data"),
        ("name=\"f\"; filename=\"ends with \\\"", "file f=:data"),
        ("name=\"f\"; filename=\"not closed", "file f=not closed:data"),
        ("NAME=\"f\"; FILENAME=\"x.txt\"", "file f=x.txt:data"),
        ("filename=x.txt; name=f", "file f=x.txt:data"),
        ("name=\"f\"; filename=\"\"", "file f=:data"),
        ("name=\"say %22hi%22\"", "text say \"hi\"=data"),
        ("name=\"a%20b%\"", "text a%20b%=data"),
        ("name=\"n<ef>\"", "text n<239>=data"),
    ] {
        for path in ["/inline", "/file"] {
            assert_eq!(
                submit_part(&server, path, disposition, "", "data").body,
                expected,
                "{path} {disposition}"
            );
        }
    }
}

#[test]
fn text_in_latin_1_is_read() {
    let server = in_both("", TELL);
    let latin = "Content-Type: text/plain; CharSet=ISO-8859-1\r\n";
    let utf8 = "Content-Type: text/plain; charset=\"utf-8\"\r\n";
    for path in ["/inline", "/file"] {
        let read = |kind, content| submit_part(&server, path, "name=a", kind, content).body;
        assert_eq!(read(latin, "na<ef>ve"), "text a=na<195><175>ve");
        assert_eq!(read(utf8, "na<c3><af>ve"), "text a=na<195><175>ve");
        assert_eq!(read("", "na<ef>ve"), "text a=na<239>ve", "as it was sent");
        let kind = "application/x-www-form-urlencoded; charset=ISO-8859-1";
        assert_eq!(submit(&server, path, kind, "a%EF=b%80+c").body, "text a<195><175>=b<226><130><172> c");
    }
}

/// The client learns why, and the script, if it asks.
#[test]
fn what_is_refused_is_refused_with_a_reason() {
    let server = in_both("", "if req:arg('json') then return req:json() end return tostring(req:form())");
    let coded = "Content-Encoding: gzip\r\nContent-Type";
    for (query, kind, body, status, reason) in [
        ("", "Content-Type: text/plain", "a=1", 415, "a form was expected, but the body is text/plain"),
        ("", "Content-Type: multipart/form-data", "", 400, "its type names no boundary"),
        (
            "",
            "Content-Type: multipart/form-data; boundary=XX",
            "--XX\r\n\r\n\r\n--XX--",
            400,
            "a part has no name",
        ),
        (
            "",
            "Content-Type: application/x-www-form-urlencoded; charset=<b>",
            "",
            415,
            "&quot;&lt;b&gt;&quot;",
        ),
        (
            "",
            &format!("{coded}: application/x-www-form-urlencoded"),
            "a",
            415,
            "the body is compressed (gzip)",
        ),
        ("?json=1", "Content-Type: application/json", "{", 400, "the body cannot be read as JSON: "),
        ("?json=1", &format!("{coded}: application/json"), "{}", 415, "the body is compressed (gzip)"),
    ] {
        for path in ["/inline", "/file"] {
            let answer = server.send(&format!(
                "POST {path}{query} HTTP/1.1\r\nHost: t\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(answer.status, status, "{path} {kind}");
            assert!(answer.body.contains(reason), "{path} {kind}: {}", answer.body);
        }
    }
}
