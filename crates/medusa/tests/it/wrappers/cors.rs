//! `medusa.handler.cors`: which pages of other origins may see what is answered.

use medusa_testkit::{Response, Site};

use super::super::support::start;
use super::{counted, expect_errors};

const SITE: &str = "
    web = medusa.http.server { listen = '127.0.0.1:0' }
    local function says(text) return function(req) return `{req.method} {text}` end end
    local function cors(handler)
        return medusa.handler.cors({ origins = { 'https://app.example' }, methods = { 'PUT' }, headers = { 'X-Token' },
            expose = { 'ETag' }, credentials = true, max_age = 600 }, handler)
    end
    web:mount('/any', cors(says('any')))
    web:mount('GET /get', cors(says('get')))
    web:mount('GET /both', says('both'))
    web:mount('PUT /both', medusa.handler.compress(cors(says('both'))))
    web:mount('/none', says('none'))
    web:mount('/fails', cors(function() error('no') end))
    web:mount('/stopped', cors(medusa.handler.timeout(0.01, function() medusa.sleep(60) return 'late' end)))
    web:mount('/public/', medusa.handler.cors({ origins = '*' }, medusa.handler.files('public')))";

const ORIGIN: (&str, &str) = ("Origin", "https://app.example");

fn site() -> Site {
    Site::script(SITE).file("public/a", "hello")
}

fn asks_about(method: &str) -> [(&str, &str); 2] {
    [ORIGIN, ("Access-Control-Request-Method", method)]
}

fn allowed(answer: &Response) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[test]
fn a_preflight_gets_to_the_mount_that_would_get_the_request() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    for (path, method, allow) in [
        ("/any", "PUT", true),
        ("/any", "DELETE", true),
        ("/get", "GET", true),
        ("/get", "PUT", false),
        ("/both", "PUT", true),
        ("/both", "GET", false),
        ("/nowhere", "GET", false),
    ] {
        let answer = client.request("OPTIONS", path, &asks_about(method));
        assert_eq!(allowed(&answer), allow.then_some("https://app.example"), "{method} {path}");
        assert_eq!(answer.status, if path == "/nowhere" { 404 } else { 204 }, "{method} {path}");
        if allow {
            let field = |name: &str| answer.header(&format!("access-control-{name}"));
            assert_eq!(field("allow-methods"), Some("PUT"));
            assert_eq!((field("allow-headers"), field("max-age")), (Some("x-token"), Some("600")));
            assert_eq!(field("allow-credentials"), Some("true"));
            assert_eq!(answer.header("vary"), Some("Origin"));
            assert_eq!(answer.text(), "");
        }
    }
    let by_router = client.request("OPTIONS", "/get", &[]);
    assert_eq!((by_router.status, by_router.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert_eq!(client.request("OPTIONS", "/none", &asks_about("GET")).text(), "OPTIONS none");
    assert_eq!(client.request("OPTIONS", "/any", &[ORIGIN]).text(), "OPTIONS any", "not a preflight");
    assert_eq!(counted(&server, "handler.cors", "preflights"), 4);
}

#[test]
fn a_preflight_runs_nothing_that_was_mounted_for_other_methods() {
    let server = start(&Site::script(
        "
        web = medusa.http.server { listen = '127.0.0.1:0' }
        local ran = {}
        local function runs(name, answer) return function(req) table.insert(ran, name) return answer end end
        local inside = medusa.handler.cors({ origins = '*', methods = { 'PUT' } }, runs('inside', 'done'))
        local function wrapper(req, next) table.insert(ran, 'wrapper') return next(req) end
        local missing = runs('first', { status = 404 })
        local around = medusa.handler.wrap(wrapper, medusa.handler.first { missing, medusa.handler.wrap(wrapper, inside) })
        web:mount('PUT /x', medusa.handler.csrf({}, medusa.handler.limit({ rate = 100, key = runs('key', 'k') }, around)))
        web:mount('/any', medusa.handler.wrap(wrapper, inside))
        web:mount('GET /ran', function() local all = table.concat(ran, ' ') table.clear(ran) return all end)",
    ));
    let mut client = server.connect();
    let cross_site = [&asks_about("PUT")[..], &[("Sec-Fetch-Site", "cross-site")]].concat();
    let answer = client.request("OPTIONS", "/x", &cross_site);
    assert_eq!((answer.status, allowed(&answer)), (204, Some("*")));
    assert_eq!(client.get("/ran").text(), "");
    assert_eq!(client.request("PUT", "/x", &[ORIGIN, ("Sec-Fetch-Site", "same-origin")]).text(), "done");
    assert_eq!(client.get("/ran").text(), "key wrapper first wrapper inside");
    assert_eq!(client.request("OPTIONS", "/any", &cross_site).status, 204);
    assert_eq!(client.get("/ran").text(), "wrapper", "its mount takes all methods");
}

#[test]
fn answers_say_who_may_see_them() {
    let site = site();
    let server = start(&site);
    let mut client = server.connect();
    for reloads in 0..2 {
        let seen = client.request("GET", "/any", &[ORIGIN]);
        assert_eq!((seen.text().as_str(), allowed(&seen)), ("GET any", Some("https://app.example")));
        assert_eq!(seen.header("access-control-expose-headers"), Some("etag"));
        assert_eq!(seen.header("vary"), Some("Origin"));
        for other in ["https://evil.example", "https://app.example:8443", "http://app.example", "null"] {
            let hidden = client.request("GET", "/any", &[("Origin", other)]);
            assert_eq!((hidden.status, allowed(&hidden)), (200, None), "{other}");
            assert_eq!(hidden.header("vary"), Some("Origin"), "{other}");
        }
        for fields in [&[ORIGIN][..], &[]] {
            let public = client.request("GET", "/public/a", fields);
            assert_eq!((public.text().as_str(), allowed(&public)), ("hello", Some("*")));
        }
        assert_eq!(allowed(&client.get("/public/none")), Some("*"), "an error is an answer");
        for (path, status) in [("/fails", 500), ("/stopped", 503)] {
            let failed = client.request("GET", path, &[ORIGIN]);
            assert_eq!((failed.status, allowed(&failed)), (status, Some("https://app.example")), "{path}");
        }
        if reloads == 0 {
            server.reload();
        }
    }
}

#[test]
fn rules_that_browsers_would_not_take_are_errors() {
    let server = start(&Site::script("web = medusa.http.server { listen = '127.0.0.1:0' }"));
    expect_errors(
        &server,
        &[
            (
                "cors({ origins = '*', credentials = true }, print)",
                "`origins` is \"*\", which browsers do not take",
            ),
            ("cors({}, print)", "`origins` must be a list of origins, or \"*\", not nil"),
            ("cors({ origins = {} }, print)", "`origins` is empty"),
            (
                "cors({ origins = { 'https://a.example/' } }, print)",
                "more than an origin; write \"https://a.example\"",
            ),
            ("cors({ origins = { 'https://*.a.example' } }, print)", "list every origin"),
            ("cors({ origins = '*', methods = { 'a b' } }, print)", "`methods`: \"a b\" is not a method"),
            ("cors({ origins = '*', headers = { 1 } }, print)", "`headers`: every entry must be a string"),
            (
                "cors({ origins = '*', max_age = 1e6 }, print)",
                "`max_age` must be a whole number from 0 to 86400",
            ),
            ("cors({ origins = '*', header = {} }, print)", "there is no option \"header\""),
        ],
    );
}
