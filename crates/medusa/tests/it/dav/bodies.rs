//! XML from clients that mean no good.

use medusa_testkit::{Server, memory};

use super::{EXCLUSIVE, OURS, ask, find, open, shared_names, status};
use crate::support::start;

const METHODS: [(&str, &str); 3] =
    [("PROPFIND", "propfind"), ("PROPPATCH", "propertyupdate"), ("LOCK", "lockinfo")];

/// It goes on as if nothing had been, and has grown by no more than this.
#[track_caller]
fn is_unharmed(server: &Server, before: u64, room: u64) {
    let now = memory::peak(server.pid());
    assert!(now < before + room, "{before} bytes, then {now}");
    assert_eq!(
        find(&mut server.connect(), "/dav/page.txt", &["DAV:getcontentlength"]).text("DAV:getcontentlength"),
        "14"
    );
}

#[test]
fn what_would_grow_is_refused() {
    let site = open("");
    let server = start(&site);
    assert_eq!(status(&mut server.connect(), "PROPFIND /dav/", &["Depth: 0"], ""), 207);
    memory::forget_peak(server.pid());
    let before = memory::resident(server.pid());
    let mut laughs = "<!DOCTYPE l [<!ENTITY a0 'lol'>".to_owned();
    for at in 1..10 {
        let entity = format!("<!ENTITY a{at} '{}'>", format!("&a{};", at - 1).repeat(10));
        laughs += &entity;
    }
    laughs += "]>";
    let external = "<!DOCTYPE l [<!ENTITY a9 SYSTEM 'file:///etc/passwd'>]>";
    let parameter = "<!DOCTYPE l [<!ENTITY % x SYSTEM 'http://127.0.0.1:9/'> %x; <!ENTITY a9 'x'>]>";
    for (method, root) in METHODS {
        for doctype in [laughs.as_str(), external, parameter, "<!DOCTYPE l>", "<!DOCTYPE l SYSTEM 'x'>"] {
            let body = format!(
                "<?xml version='1.0'?>{doctype}<{root} xmlns='DAV:'><prop><x xmlns='o:'>&a9;</x></prop></{root}>"
            );
            let answer = ask(&mut server.connect(), &format!("{method} /dav/page.txt"), &["Depth: 0"], body);
            assert!(matches!(answer.status, 400 | 413), "{method}: {}", answer.status);
            assert!(!answer.text().contains("root:"), "{}", answer.text());
        }
        let deep = format!("<{root} xmlns='DAV:'>{}{}</{root}>", "<a>".repeat(10_000), "</a>".repeat(10_000));
        let answer = status(&mut server.connect(), &format!("{method} /dav/page.txt"), &["Depth: 0"], deep);
        assert!(matches!(answer, 400 | 413), "{method}: {answer}");
        let attributes = (0..10_000).map(|at| format!(" a{at}='x'")).collect::<Vec<_>>().concat();
        let wide = format!("<{root} xmlns='DAV:'><prop><x xmlns='o:'{attributes}/></prop></{root}>");
        let answer = status(&mut server.connect(), &format!("{method} /dav/page.txt"), &["Depth: 0"], wide);
        assert!(matches!(answer, 400 | 413), "{method}: {answer}");
        let declared = (0..5000).map(|at| format!(" xmlns:a{at}='x'")).collect::<Vec<_>>().concat();
        let many = format!("<{root} xmlns='DAV:'{declared}>{}</{root}>", "<a0:b/>".repeat(5000));
        let answer = status(&mut server.connect(), &format!("{method} /dav/page.txt"), &["Depth: 0"], many);
        assert!(matches!(answer, 400 | 413), "{method}: {answer}");
    }
    is_unharmed(&server, before, 24 << 20);
    assert_eq!(shared_names(&site), ["page.txt"]);
}

#[test]
fn what_is_too_long_is_refused() {
    let site = open("");
    let server = start(&site);
    assert_eq!(status(&mut server.connect(), "PROPFIND /dav/", &["Depth: 0"], ""), 207);
    memory::forget_peak(server.pid());
    let before = memory::resident(server.pid());
    for (method, root) in METHODS {
        let mut client = server.connect();
        let length = 1_u64 << 40;
        client.send(format!(
            "{method} /dav/page.txt HTTP/1.1\r\nHost: test\r\nDepth: 0\r\nContent-Length: {length}\r\n\r\n<"
        ));
        assert_eq!(client.response().status, 413, "{method}: by the length it tells");
        let mut client = server.connect();
        client.send(format!(
            "{method} /dav/page.txt HTTP/1.1\r\nHost: test\r\nDepth: 0\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n<{root} xmlns='DAV:'>\r\n",
            root.len() + 15
        ));
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
        for _ in 0..1600 {
            // It need not be read to its end: that is 100 MB.
            if client.try_send(&chunk).is_err() || client.is_readable_within(std::time::Duration::ZERO) {
                break;
            }
        }
        let answer = client.try_response(method);
        assert!(
            matches!(&answer, Ok(Some(answer)) if answer.status == 413),
            "{method}: by what comes, {answer:?}"
        );
    }
    is_unharmed(&server, before, 24 << 20);
}

#[test]
fn what_is_no_xml_is_refused() {
    let site = open("");
    let server = start(&site);
    let mut client = server.connect();
    for (method, root) in METHODS {
        let request = format!("{method} /dav/page.txt");
        for body in [
            "x".to_owned(),
            "{}".to_owned(),
            "\0".to_owned(),
            format!("<{root}"),
            format!("<{root}>"),
            format!("<{root} xmlns='DAV:'>"),
            format!("<{root} xmlns='DAV:'></x>"),
            format!("<{root} xmlns='DAV:'/><{root} xmlns='DAV:'/>"),
            format!("<{root} xmlns='DAV:'>&none;</{root}>"),
            format!("<{root} xmlns='DAV:'><prop><x:y/></prop></{root}>"),
            format!("<D:{root} xmlns:D='DAV:'><D:prop><b:c xmlns:b=''/></D:prop></D:{root}>"),
            format!("<{root} xmlns='DAV:'><a b='1' b='2'/></{root}>"),
            format!("<{root} xmlns='DAV:'>\u{1}</{root}>"),
            format!("<{root} xmlns='DAV:'>&#0;</{root}>"),
            format!("<{root} xmlns='DAV:'>&#xD800;</{root}>"),
            format!("<{root} xmlns='DAV:'><![CDATA[x</{root}>"),
            format!("<{root} xmlns='DAV:'><!-- x</{root}>"),
            format!("<{root} xmlns='other:'/>"),
            format!("<{root}/>"),
            "<other xmlns='DAV:'/>".to_owned(),
        ] {
            let answer = ask(&mut server.connect(), &request, &["Depth: 0"], &body);
            assert_eq!(answer.status, 400, "{method} {body}");
        }
        let latin = [
            format!("<{root} xmlns='DAV:'><x>").as_bytes(),
            b"\xe4\xff",
            format!("</x></{root}>").as_bytes(),
        ]
        .concat();
        assert_eq!(status(&mut server.connect(), &request, &["Depth: 0"], latin), 400, "{method}: not UTF-8");
    }
    for body in ["<propfind xmlns='DAV:'><prop/><allprop/></propfind>", "<propfind xmlns='DAV:'/>"] {
        let got = status(&mut server.connect(), "PROPFIND /dav/page.txt", &["Depth: 0"], body);
        assert!(matches!(got, 207 | 400), "{body}: {got}");
    }
    assert_eq!(status(&mut server.connect(), "PROPPATCH /dav/page.txt", &[], ""), 400);
    assert_eq!(super::active_locks(&mut client, "/dav/page.txt"), []);
    // What is allowed to be there, is.
    let odd = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\" standalone='yes'?><!-- a --><?pi x?>\n<D:propfind xmlns:D=\"DAV:\" a='b'>\
         <!-- c --><x:y xmlns:x='{OURS}'/><D:prop >\n<D:getetag></D:getetag\n></D:prop></D:propfind>\n<!-- d -->"
    );
    assert_eq!(
        status(&mut client, "PROPFIND /dav/page.txt", &["Depth: 0", "Content-Type: text/xml"], odd),
        207
    );
    assert_eq!(status(&mut client, "LOCK /dav/page.txt", &["Depth: 0"], EXCLUSIVE), 200);
}
