//! The router as a whole: the cases of Go's documentation, what this router adds to them, and a comparison with an
//! oracle that knows nothing of trees.

mod oracle;

use http::Method;

use super::*;

fn router(patterns: &[&str]) -> Router<usize> {
    build(patterns).unwrap_or_else(|conflict| panic!("{conflict}"))
}

fn build(patterns: &[&str]) -> Result<Router<usize>, Conflict> {
    let parse = |text: &&str| text.parse::<Pattern>().unwrap_or_else(|error| panic!("{error}"));
    Router::build(patterns.iter().map(parse).zip(0..))
}

/// A request as `METHOD [host]/path`.
fn split(request: &str) -> (Method, Option<&str>, &str) {
    let (method, located) = request.split_once(' ').unwrap();
    let (host, path) = located.split_at(located.find('/').unwrap_or(located.len()));
    (method.parse().unwrap(), (!host.is_empty()).then_some(host), path)
}

/// The outcome of a route, short enough for tables.
fn outcome(router: &Router<usize>, request: &str) -> String {
    let (method, host, path) = split(request);
    match router.route(&method, host, path) {
        Route::Found { pattern, params, .. } => {
            let params: Vec<String> =
                params.iter().map(|(name, value)| format!(" {name}={}", value.escape_ascii())).collect();
            format!("{pattern}{}", params.concat())
        }
        Route::Redirect(to) => format!("-> {to}"),
        Route::MethodNotAllowed(methods) => format!("405 {methods}"),
        Route::NotFound => "404".into(),
        Route::BadPath => "400".into(),
    }
}

fn check(patterns: &[&str], table: &[(&str, &str)]) {
    let router = router(patterns);
    for (request, expected) in table {
        assert_eq!(outcome(&router, request), *expected, "{request}");
    }
}

#[test]
fn the_most_specific_path_wins() {
    let patterns = [
        "/a",
        "/a/b",
        "/a/{x}",
        "/g/h/i",
        "/g/{x}/j",
        "/a/b/{x...}",
        "/a/b/{y}",
        "/a/b/{$}",
        "/posts/latest",
    ];
    check(
        &patterns,
        &[
            ("GET /a", "/a"),
            ("GET /b", "404"),
            ("GET /", "404"),
            ("GET /a/", "404"),
            ("GET /a/b", "/a/b"),
            ("GET /a/c", "/a/{x} x=c"),
            ("GET /a/c/", "404"),
            ("GET /a/b/", "/a/b/{$}"),
            ("GET /a/b/c", "/a/b/{y} y=c"),
            ("GET /a/b/c/", "/a/b/{x...} x=c/"),
            ("GET /a/b/c/d", "/a/b/{x...} x=c/d"),
            ("GET /g/h/i", "/g/h/i"),
            ("GET /g/h/j", "/g/{x}/j x=h"),
            ("GET /g/h/k", "404"),
            ("GET /posts/234", "404"),
        ],
    );
}

#[test]
fn a_literal_that_leads_nowhere_is_left_again() {
    let patterns = ["/{a}/b", "/x/{c}/d", "/x/y/z", "/{a}/{b}/{c...}", "/~{u}/p"];
    check(
        &patterns,
        &[
            ("GET /x/b", "/{a}/b a=x"),
            ("GET /x/y/z", "/x/y/z"),
            ("GET /x/y/d", "/x/{c}/d c=y"),
            ("GET /x/y/e", "/{a}/{b}/{c...} a=x b=y c=e"),
            ("GET /~me/q/r", "/{a}/{b}/{c...} a=~me b=q c=r"),
        ],
    );
}

#[test]
fn a_rest_may_be_empty_and_a_segment_may_not() {
    check(
        &["/files/{path...}", "/u/{id}/x", "/e/{$}"],
        &[
            ("GET /files/", "/files/{path...} path="),
            ("GET /files/a/b", "/files/{path...} path=a/b"),
            ("GET /u/1/x", "/u/{id}/x id=1"),
            ("GET /e/", "/e/{$}"),
            ("GET /e/f", "404"),
        ],
    );
}

#[test]
fn literal_prefixes_from_long_to_short() {
    check(
        &["/~{user}/", "/~adm{x}/", "/~admin/", "/{any}/", "/v{n}", "/v1", "/"],
        &[
            ("GET /~ann/x", "/~{user}/ user=ann"),
            ("GET /%7Eann/x", "/~{user}/ user=ann"),
            ("GET /~%61nn/x", "/~{user}/ user=ann"),
            ("GET /~admiral/", "/~adm{x}/ x=iral"),
            ("GET /~admin/", "/~admin/"),
            ("GET /~adm/", "/~{user}/ user=adm"),
            ("GET /~/", "/{any}/ any=~"),
            ("GET /v1", "/v1"),
            ("GET /v2", "/v{n} n=2"),
            ("GET /v", "-> /v/"),
            ("GET /~ann", "-> /~ann/"),
        ],
    );
}

#[test]
fn segments_are_decoded_one_by_one() {
    check(
        &["/a%2Fb/{x}", "/caf%C3%A9", "/{one}", "/{one}/{two}"],
        &[
            ("GET /a%2fb/c", "/a%2Fb/{x} x=c"),
            ("GET /a/b", "/{one}/{two} one=a two=b"),
            ("GET /x%5Cy%20z", "/{one} one=x\\\\y z"),
            ("GET /%63af%c3%a9", "/caf%C3%A9"),
            ("GET /caf\u{e9}", "/caf%C3%A9"),
            ("GET /%FF", "/{one} one=\\xff"),
        ],
    );
}

/// A segment's value is one segment: whoever makes a path of it gets no other directory.
#[test]
fn no_wildcard_takes_an_escaped_slash() {
    check(
        &[
            "/a%2Fb/{x}",
            "/a%2Fb~{x}",
            "/{one}",
            "/~{user}/",
            "/f/{rest...}",
            "/g/{one}/",
            "/docs/",
            "POST /docs/{rest...}",
        ],
        &[
            ("GET /x%2Fy", "404"),
            ("GET /..%2fetc", "404"),
            ("GET /%2Fetc", "404"),
            ("GET /a%252Fb", "/{one} one=a%2Fb"),
            ("GET /~ann%2F../", "404"),
            ("GET /~ann%2F..%2f/", "404"),
            ("GET /a%2fb/c", "/a%2Fb/{x} x=c"),
            ("GET /a%2fb/c%2Fd", "404"),
            ("GET /a%2Fb~c", "/a%2Fb~{x} x=c"),
            ("GET /a%2Fb~c%2Fd", "404"),
            ("GET /f/a/b", "/f/{rest...} rest=a/b"),
            ("GET /f/a/..%2F..%2Fetc", "404"),
            ("GET /f/a%2Fb", "404"),
            ("GET /f/a/%2e%2e/b", "-> /f/b"),
            ("GET /g/a/..%2F..", "/g/{one}/ one=a"),
            ("GET /g/..%2F../a", "404"),
            // Nothing is decoded below a mount without a name.
            ("GET /docs/a%2Fb", "/docs/"),
            ("POST /docs/a%2Fb", "/docs/"),
            ("POST /docs/a/b", "POST /docs/{rest...} rest=a/b"),
        ],
    );
}

#[test]
fn paths_are_clean_or_redirected_or_bad() {
    check(
        &["/"],
        &[
            ("GET //x", "-> /x"),
            ("GET /a/../b", "-> /b"),
            ("GET /a/%2e%2E/b/", "-> /b/"),
            ("GET /a/%zz", "400"),
            ("GET /a%00", "400"),
            ("GET a:80", "400"),
            ("GET /.hidden", "/"),
        ],
    );
}

#[test]
fn a_subtree_redirects_its_bare_path() {
    check(
        &[
            "/",
            "/docs/",
            "/img/",
            "/img",
            "/one/{$}",
            "/r/{rest...}",
            "/x/{id}/",
            "PUT /put/",
            "h.example/h/",
        ],
        &[
            ("GET /docs", "-> /docs/"),
            ("GET /docs/", "/docs/"),
            ("GET /docs/a", "/docs/"),
            ("GET /img", "/img"),
            ("GET /one", "-> /one/"),
            ("GET /one/two", "/"),
            ("GET /r", "-> /r/"),
            ("GET /x/1", "-> /x/1/"),
            ("GET /x/a%20b", "-> /x/a%20b/"),
            ("GET /put", "/"),
            ("PUT /put", "-> /put/"),
            ("GET h.example/h", "-> /h/"),
            ("GET /h", "/"),
        ],
    );
}

#[test]
fn a_wildcard_that_takes_the_bare_path_prevents_the_redirect() {
    check(&["/docs/", "/{page}"], &[("GET /docs", "/{page} page=docs")]);
    check(&["/docs/", "h.example/{all...}"], &[("GET h.example/docs", "h.example/{all...} all=docs")]);
}

#[test]
fn the_host_decides_before_the_path() {
    check(
        &["/a/b/c", "*.b.example/a/", "*.a.b.example/", "a.b.example/", "b.example/", "[::1]/six"],
        &[
            ("GET /a/b/c", "/a/b/c"),
            ("GET other.example/a/b/c", "/a/b/c"),
            ("GET a.b.example/a/b/c", "a.b.example/"),
            ("GET A.B.Example/x", "a.b.example/"),
            ("GET a.b.example./x", "a.b.example/"),
            ("GET b.example/a/b/c", "b.example/"),
            ("GET c.b.example/a/b/c", "*.b.example/a/"),
            ("GET d.c.b.example/a/b/c", "*.b.example/a/"),
            ("GET x.a.b.example/a/b/c", "*.a.b.example/"),
            ("GET c.b.example/x", "404"),
            ("GET xb.example/a/b/c", "/a/b/c"),
            ("GET [::1]/six", "[::1]/six"),
        ],
    );
}

#[test]
fn hosts_that_nobody_names_have_a_default_of_their_own() {
    check(
        &["*/", "*/a", "/a", "/alive", "h.example/x", "*.i.example/x"],
        &[
            ("GET other.example/", "*/"),
            ("GET other.example/a", "*/a"),
            ("GET other.example/alive", "*/"),
            ("GET /b", "*/"),
            ("GET [::1]/b", "*/"),
            ("GET h.example/x", "h.example/x"),
            ("GET h.example/y", "404"),
            ("GET h.example/a", "/a"),
            ("GET h.example/alive", "/alive"),
            ("GET www.i.example/y", "404"),
            ("GET i.example/y", "*/"),
        ],
    );
    check(&["*/a", "/"], &[("GET x.example/a", "*/a"), ("GET x.example/b", "/")]);
}

#[test]
fn a_host_longer_than_dns_has_is_no_host() {
    let router = router(&["*.example/", "/"]);
    let host = format!("{}example", "a.".repeat(200));
    let Route::Found { pattern, .. } = router.route(&Method::GET, Some(&host), "/") else {
        panic!("no route")
    };
    assert_eq!(pattern.as_str(), "/");
}

#[test]
fn a_mount_that_does_not_take_the_method_is_passed_over() {
    check(
        &["/", "PUT,DELETE /", "GET /a", "HEAD /b", "GET /b", "POST h.example/", "LOCK /a"],
        &[
            ("GET /x", "/"),
            ("PUT /x", "PUT,DELETE /"),
            ("GET /a", "GET /a"),
            ("HEAD /a", "GET /a"),
            ("HEAD /b", "HEAD /b"),
            ("POST /a", "/"),
            ("PUT /a", "PUT,DELETE /"),
            ("LOCK /a", "LOCK /a"),
            ("POST h.example/a", "POST h.example/"),
            ("GET h.example/a", "GET /a"),
        ],
    );
}

#[test]
fn other_methods_are_told() {
    check(
        &["GET /a", "PUT,DELETE /a", "POST /{x}", "PATCH h.example/a", "PUT /dir/", "GET /only"],
        &[
            ("OPTIONS /a", "405 GET, HEAD, POST, PUT, DELETE"),
            ("OPTIONS h.example/a", "405 GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("GET /b", "405 POST"),
            ("GET /dir", "405 POST, PUT"),
            ("GET /dir/x", "405 PUT"),
            ("POST /only/x", "404"),
            ("GET /none/x", "404"),
        ],
    );
}

#[test]
fn the_tail_is_what_the_mount_covers() {
    let router = router(&["/", "/docs/", "/~{user}/pub/", "/exact", "/r/{x...}", "/e/{$}"]);
    let table = [
        ("/", ""),
        ("/a/b", "a/b"),
        ("/docs/", ""),
        ("/docs/a%20b/", "a%20b/"),
        ("/~me/pub/x", "x"),
        ("/exact", ""),
        ("/r/a/b", "a/b"),
        ("/e/", ""),
    ];
    for (path, expected) in table {
        let Route::Found { tail, .. } = router.route(&Method::GET, None, path) else { panic!("{path}") };
        assert_eq!(&path[tail..], expected, "{path}");
    }
}

#[test]
fn explain_lists_all_in_order() {
    let router =
        router(&["/", "PUT /", "/a/", "/a/{x}", "GET /a/b", "/a/b", "h.example/{$}", "h.example/a/"]);
    let explain = |request| {
        let (method, host, path) = split(request);
        let all = router.explain(&method, host, path);
        all.into_iter().map(|(pattern, _)| pattern.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(explain("GET h.example/a/b"), ["h.example/a/", "GET /a/b", "/a/b", "/a/{x}", "/a/", "/"]);
    assert_eq!(explain("PUT /a/b"), ["/a/b", "/a/{x}", "/a/", "PUT /", "/"]);
    assert_eq!(explain("GET /a"), ["/"]);
    assert!(explain("GET //a").is_empty());
}

#[test]
fn clashes_are_found_and_told() {
    let table = [
        ("/a", "/a", "GET /a"),
        ("GET /a", "HEAD,GET /a", "GET /a"),
        ("/a/{x}", "/a/{y}", "GET /a/x"),
        ("/a/", "/a/{rest...}", "GET /a/"),
        ("PUT,GET /a", "PUT,POST /a", "PUT /a"),
        ("/{resource}/latest", "/posts/{id}", "GET /posts/latest"),
        ("/posts/", "/{x}/new", "GET /posts/new"),
        ("/posts/", "/{x}/new/", "GET /posts/new/"),
        ("/posts/{x...}", "/{y}/{$}", "GET /posts/"),
        ("/~{u}/a", "/~me/{x}", "GET /~me/a"),
        ("/ab{u}/{y}", "/a{u}/y", "GET /abx/y"),
        ("PUT h.example/{a}/b", "h.example/a/{b}", "PUT h.example/a/b"),
        ("*.h.example/{a}/b", "*.h.example/a/{b}", "GET www.h.example/a/b"),
        ("HEAD /{a}/b", "GET /a/{b}", "HEAD /a/b"),
        ("/a/{x}/{$}", "/{y}/b/", "GET /a/b/"),
        ("/a/{x}/{$}", "/{y}/b/{$}", "GET /a/b/"),
        ("/a/{x}/", "/{y}/b/", "GET /a/b/"),
        ("/a/{x}/c", "/{y}/b/", "GET /a/b/c"),
        ("/a%2Fb/{x}", "/a%2fb/{y}", "GET /a%2Fb/x"),
    ];
    for (one, other, sample) in table {
        let conflict = build(&["apart.example/", one, "GET apart.example/b", other]).expect_err(one);
        assert_eq!(conflict.sample, sample);
        assert_eq!((conflict.first.0, conflict.second.0), (1, 3));
        let shown = conflict.to_string();
        assert!(shown.contains(&format!("`{one}` and `{other}`")), "{shown}");
    }
}

#[test]
fn what_is_ordered_or_apart_does_not_clash() {
    for (one, other) in [
        ("/posts/latest", "/posts/{id}"),
        ("/posts/latest", "/posts/"),
        ("/", "/{$}"),
        ("/a", "/a/"),
        ("GET /a", "/a"),
        ("GET /a", "HEAD /a"),
        ("GET /a", "PUT /a"),
        ("GET /{x}/b", "PUT /a/{y}"),
        ("GET,PUT /a", "PUT /a"),
        ("/{x}/b", "h.example/a/{y}"),
        ("*.example/{x}/b", "h.example/a/{y}"),
        ("/a{x}/c", "/b{x}/{y}"),
        ("/{x}/b/c", "/a/{y}"),
        ("/~{u}/", "/{x}/"),
        ("/a%2Fb/{x}", "/{x}/c"),
    ] {
        assert!(build(&[one, other]).is_ok(), "`{one}` and `{other}`");
        assert!(build(&[other, one]).is_ok(), "`{other}` and `{one}`");
    }
}

#[test]
fn the_kinds_of_clashes_get_different_advice() {
    let advice = |patterns: &[&str]| build(patterns).map(drop).unwrap_err().to_string();
    assert!(advice(&["/a", "/a"]).ends_with("alike; remove one, or give them different methods"));
    assert!(advice(&["GET,PUT /a", "PUT,POST /a"]).contains("neither list holds the other"));
    assert!(advice(&["/{a}/b", "/a/{b}"]).contains("neither path is within the other"));
}

#[test]
fn a_thousand_mounts_are_a_router_and_all_found() {
    let patterns: Vec<String> = (0..1000).map(|n| format!("/m{n}/{{x}}/{n}")).collect();
    let mut entries: Vec<(Pattern, usize)> =
        patterns.iter().enumerate().map(|(n, text)| (text.parse().unwrap(), n)).collect();
    entries.push(("/{x}/".parse().unwrap(), 1000));
    let router = Router::build(entries).unwrap();
    for n in 0..1000 {
        assert_eq!(outcome(&router, &format!("GET /m{n}/v/{n}")), format!("/m{n}/{{x}}/{n} x=v"));
        assert_eq!(outcome(&router, &format!("GET /m{n}/v")), format!("/{{x}}/ x=m{n}"));
    }
}

#[test]
fn the_deepest_pattern_is_walked() {
    let text = "/a".repeat(512);
    let router = router(&[&text, "/{x}/"]);
    assert_eq!(outcome(&router, &format!("GET {text}")), text);
    assert_eq!(outcome(&router, &format!("GET {text}/a")), "/{x}/ x=a");
}

#[test]
fn an_empty_router_finds_nothing() {
    assert_eq!(Router::<()>::default().route(&Method::GET, None, "/"), Route::NotFound);
}
