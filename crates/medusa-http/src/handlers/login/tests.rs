//! Who logs in is let through; everybody else gets the page, or is told in a line.

use std::time::Duration;

use bytes::Bytes;
use medusa_auth::signing::SigningKeys;

use super::*;
use crate::Body;
use crate::handlers::stand_in::{answers, request_from};
use crate::request::RequestBody;

/// `secret`
const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

const OPTIONS: fn() -> LoginOptions = || LoginOptions {
    title: "The club".to_owned(),
    cookie: "login".to_owned(),
    lifetime: Lifetime { idle: Duration::from_hours(1), whole: Duration::from_hours(24) },
    pass_cookie: false,
    page: PageMaker::Ours,
};

/// Says what it was asked, and by whom.
#[derive(Debug)]
struct Asked;

impl Handler for Asked {
    fn handle(&self, request: Request) -> HandlerFuture<'_> {
        let head = request.head;
        let cookies = head.headers.get_all(header::COOKIE).iter().map(|field| field.to_str().expect("text"));
        let user = head.user.get().map_or("nobody", |user| &**user);
        let text = format!("{user} {} [{}]", head.uri, cookies.collect::<Vec<_>>().join("|"));
        Box::pin(std::future::ready(Ok(Response::text(text))))
    }

    fn status(&self) -> Status {
        Status::new("test", "asked")
    }
}

fn login_before(inner: Vec<Arc<dyn Handler>>, options: LoginOptions) -> Login {
    let users = Users::of_table([("ada", SECRET), ("bob", SECRET)]).expect("users");
    let keys = SigningKeys::random().expect("a key");
    let sessions = LoginSessions::new(&keys, None, None).expect("nothing was ended");
    Login::new(inner, users, sessions, LoginRules::new(options).expect("rules").into())
}

fn login() -> Login {
    login_before(vec![Arc::new(Asked)], OPTIONS())
}

/// A request for what is below a mount on `/club/`.
fn request(method: Method, target: &str, fields: &[(&'static str, &str)], body: &str) -> Request {
    let mut request = request_from("::1", method, target, fields);
    let head = Arc::make_mut(&mut request.head);
    head.tail = "/club/".len();
    head.headers.insert(header::HOST, HeaderValue::from_static("example.com"));
    Request { body: RequestBody::from_bytes(Bytes::from(body.to_owned())), ..request }
}

/// A status, the text, and the response without it.
async fn ask(login: &Login, request: Request) -> (u16, String, Response) {
    let mut answer = login.handle(request).await.unwrap_or_else(Response::failed);
    let text = match std::mem::take(&mut answer.body) {
        Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
        Body::Empty => String::new(),
        other => panic!("{other:?}"),
    };
    (answer.status.as_u16(), text, answer)
}

fn field<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers.get(name).map(|value| value.to_str().expect("text"))
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// Logs in, and returns the cookie.
async fn log_in(login: &Login, user: &str) -> String {
    let form = format!("username={user}&password=secret&next=a");
    let (status, text, answer) = ask(login, request(Method::POST, "/club/.login", &[FORM], &form)).await;
    assert_eq!((status, field(&answer, "location")), (303, Some("./a")), "{text}");
    let cookie = field(&answer, "set-cookie").expect("a cookie");
    assert!(cookie.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"), "{cookie}");
    cookie.split(';').next().expect("a cookie").to_owned()
}

#[tokio::test(flavor = "current_thread")]
async fn who_has_logged_in_is_let_through() {
    let login = login();
    let cookie = log_in(&login, "ada").await;
    let both = format!("theme=dark; {cookie}");
    let (status, text, answer) =
        ask(&login, request(Method::GET, "/club/x?y", &[("cookie", &both)], "")).await;
    assert_eq!((status, text.as_str()), (200, "ada /club/x?y [theme=dark]"));
    assert_eq!(field(&answer, "cache-control"), Some("private, no-cache"));
    assert_eq!(field(&answer, "set-cookie"), None, "it is new");
    let passes = login_before(vec![Arc::new(Asked)], LoginOptions { pass_cookie: true, ..OPTIONS() });
    let cookie = log_in(&passes, "bob").await;
    let (_, text, _) = ask(&passes, request(Method::POST, "/club/", &[("cookie", &cookie)], "")).await;
    assert_eq!(text, format!("bob /club/ [{cookie}]"));
    let (status, _, answer) =
        ask(&passes, request(Method::GET, "/club/.login?next=/x", &[("cookie", &cookie)], "")).await;
    assert_eq!((status, field(&answer, "location")), (303, Some("/x")), "there is nothing to be asked");
}

#[tokio::test(flavor = "current_thread")]
async fn a_browser_gets_the_page_and_a_program_a_line() {
    let login = login();
    let json = ("accept", "application/json, */*");
    for (method, fields, starts) in [
        (Method::GET, &[BROWSER][..], "<!doctype html>"),
        (Method::HEAD, &[BROWSER, ("sec-fetch-mode", "navigate")], "<!doctype html>"),
        (Method::POST, &[BROWSER], "<!doctype html>"),
        (Method::GET, &[BROWSER, ("sec-fetch-mode", "cors")], "You have to log in."),
        (Method::GET, &[BROWSER, ("hx-request", "true")], "You have to log in."),
        (Method::GET, &[("accept", "*/*")], "You have to log in."),
        (Method::GET, &[], "You have to log in."),
        (Method::DELETE, &[json], "{\"title\":\"Unauthorized\""),
        (Method::GET, &[BROWSER, ("cookie", "login=forged")], "<!doctype html>"),
        (Method::GET, &[("cookie", "login=a; login=b")], "You have to log in."),
    ] {
        let (status, text, answer) = ask(&login, request(method, "/club/a/b?x=1", fields, "")).await;
        assert_eq!((status, text.starts_with(starts)), (401, true), "{fields:?} {text}");
        let told = ["www-authenticate", "cache-control"].map(|name| field(&answer, name));
        assert_eq!(told, [Some("Cookie"), Some("no-store")]);
        assert_eq!(field(&answer, "set-cookie"), None);
    }
    let mut upgrade = request(Method::GET, "/club/socket", &[BROWSER], "");
    Arc::make_mut(&mut upgrade.head).websocket = true;
    assert_eq!(ask(&login, upgrade).await.1, "You have to log in.\n");
}

#[tokio::test(flavor = "current_thread")]
async fn the_page_leads_back() {
    let login = login();
    let page = async |method, target: &str| ask(&login, request(method, target, &[BROWSER], "")).await.1;
    let text = page(Method::GET, "/club/a/b?x=1&y").await;
    assert!(text.contains("action=\"../.login\"") && text.contains("value=\"a/b?x=1&amp;y\""), "{text}");
    let text = page(Method::GET, "/club/").await;
    assert!(text.contains("action=\".login\"") && text.contains("name=\"next\" value=\"\""), "{text}");
    let text = page(Method::POST, "/club/a").await;
    assert!(text.contains("name=\"next\" value=\"\""), "what was sent is gone: {text}");
    let (status, text, answer) =
        ask(&login, request(Method::GET, "/club/.login?next=/shop/&x", &[BROWSER], "")).await;
    assert_eq!((status, field(&answer, "www-authenticate")), (200, None));
    assert!(text.contains("value=\"/shop/\""), "{text}");
    let csp = field(&answer, "content-security-policy").expect("a policy");
    assert!(
        csp.starts_with("default-src 'none'; style-src 'sha256-") && csp.contains("form-action 'self'"),
        "{csp}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_no_login_says_why() {
    let login = login();
    let post = async |fields: &[(&'static str, &str)], body: &str| {
        ask(&login, request(Method::POST, "/club/.login", fields, body)).await
    };
    let (status, text, answer) = post(&[FORM], "username=ada&password=guess&next=a%22b").await;
    assert!(status == 401 && text.contains("do not belong together"), "{status} {text}");
    assert!(
        text.contains("value=\"ada\"") && text.contains("value=\"a&quot;b\"") && !text.contains("guess"),
        "{text}"
    );
    assert_eq!(field(&answer, "set-cookie"), None);
    let (status, text, _) = post(&[FORM], "username=eve&password=secret").await;
    assert!(status == 401 && text.contains("do not belong together"), "{status}");
    let (status, text, _) = post(&[FORM], "username=ada").await;
    assert!(status == 400 && text.contains("Fill in your name"), "{status} {text}");
    let right = "username=ada&password=secret";
    for (fields, expected) in [
        (&[][..], 415),
        (&[("content-type", "application/json")], 415),
        (&[("content-type", "multipart/form-data; boundary=x")], 415),
        (&[FORM, ("sec-fetch-site", "cross-site")], 403),
        (&[FORM, ("sec-fetch-site", "same-site")], 403),
        (&[FORM, ("origin", "https://evil.example")], 403),
        (&[FORM, ("origin", "null")], 403),
        (&[FORM, ("origin", "http://example.com")], 303),
        (&[FORM, ("sec-fetch-site", "same-origin")], 303),
    ] {
        assert_eq!(post(fields, right).await.0, expected, "{fields:?}");
    }
    assert_eq!(post(&[FORM], &"x".repeat(16 * 1024 + 1)).await.0, 413);
    let (status, _, answer) = ask(&login, request(Method::PUT, "/club/.login", &[FORM], right)).await;
    assert_eq!((status, field(&answer, "allow")), (405, Some("GET, HEAD, POST")));
}

#[tokio::test(flavor = "current_thread")]
async fn a_logout_ends_the_session_wherever_its_cookie_is() {
    let login = login();
    let [first, second, third] =
        [log_in(&login, "ada").await, log_in(&login, "ada").await, log_in(&login, "ada").await];
    let bobs = log_in(&login, "bob").await;
    let ask = async |method, path: &str, cookie: &str, site: &str| {
        let fields = [("cookie", cookie), ("sec-fetch-site", site), BROWSER];
        ask(&login, request(method, &format!("/club/{path}"), &fields, "")).await
    };
    let is_in = async |cookie: &str| ask(Method::GET, "x", cookie, "none").await.0 == 200;
    let (status, text, _) = ask(Method::GET, ".logout", &first, "cross-site").await;
    assert!(status == 200 && text.contains("logged in as <bdi>ada</bdi>") && is_in(&first).await, "{text}");
    assert_eq!(ask(Method::POST, ".logout", &first, "cross-site").await.0, 403);
    assert!(is_in(&first).await, "pages of others log nobody out");
    let (status, _, answer) = ask(Method::POST, ".logout", &first, "same-origin").await;
    assert_eq!((status, field(&answer, "location")), (303, Some("./.login?logged-out")));
    assert_eq!(field(&answer, "set-cookie"), Some("login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"));
    assert!(!is_in(&first).await && is_in(&second).await);
    assert!(ask(Method::GET, ".login?logged-out", "", "none").await.1.contains("You are logged out."));
    assert_eq!(ask(Method::POST, ".logout", &first, "same-origin").await.0, 303, "once more does no harm");
    assert_eq!(ask(Method::POST, ".logout-everywhere", &second, "same-origin").await.0, 303);
    assert!(!is_in(&second).await && !is_in(&third).await && is_in(&bobs).await);
    assert!(is_in(&log_in(&login, "ada").await).await, "she may log in again");
}

#[tokio::test(flavor = "current_thread")]
async fn a_session_is_renewed_where_nobody_else_keeps_it() {
    let said = |cache: Option<&'static str>| {
        answers(move || {
            let answer = Response::text("fine");
            match cache {
                Some(cache) => answer.with(header::CACHE_CONTROL, HeaderValue::from_static(cache)),
                None => answer,
            }
        })
    };
    for (cache, young, old) in [
        (None, "private, no-cache", "private, no-cache"),
        (Some("no-store"), "no-store", "no-store"),
        (Some("max-age=9, private=\"x\""), "max-age=9, private=\"x\"", "max-age=9, private=\"x\""),
        (Some("public, max-age=60"), "public, max-age=60", "private, no-cache"),
    ] {
        let login = login_before(vec![said(cache)], OPTIONS());
        for (minutes, expected, renewed) in [(1, young, false), (20, old, true)] {
            let begun = now() - minutes * 60_000_000;
            let session = login.sessions.begin(&login.users, "ada", begun).await.expect("a user");
            let cookie = format!("login={}", login.sessions.text(&session));
            let (status, _, answer) =
                ask(&login, request(Method::GET, "/club/x", &[("cookie", &cookie)], "")).await;
            assert_eq!((status, field(&answer, "cache-control")), (200, Some(expected)), "{cache:?}");
            let set = field(&answer, "set-cookie")
                .map(|set| set.contains("; Max-Age=3600;") && !set.contains(&cookie));
            assert_eq!(set, renewed.then_some(true), "{cache:?}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_page_of_the_sites_own_is_told_what_went_wrong() {
    let options = LoginOptions { page: PageMaker::Handler(None), ..OPTIONS() };
    let own = login_before(vec![answers(|| Response::text("in")), Arc::new(Asked)], options.clone());
    let fields = [BROWSER, ("cookie", "login=x; theme=dark")];
    let (status, text, answer) = ask(&own, request(Method::GET, "/club/a/b?x=1", &fields, "")).await;
    assert_eq!(status, 401);
    assert_eq!(text, "nobody /club/a/b?action=..%2F.login&next=a%2Fb%3Fx%3D1 [theme=dark]");
    assert_eq!(field(&answer, "www-authenticate"), Some("Cookie"));
    assert_eq!(field(&answer, "content-security-policy"), None, "it has its own style");
    let form = "username=a%26b&password=guess";
    let (status, text, answer) = ask(&own, request(Method::POST, "/club/.login", &[FORM], form)).await;
    assert_eq!((status, field(&answer, "cache-control")), (401, Some("no-store")));
    assert_eq!(text, "nobody /club/.login?action=.login&user=a%26b&error=wrong []");
    // One that fails leaves ours.
    let fails = answers(|| Response::page(StatusCode::NOT_FOUND));
    let own = login_before(vec![answers(|| Response::text("in")), fails], options);
    let (status, text, _) = ask(&own, request(Method::GET, "/club/", &[BROWSER], "")).await;
    assert!(status == 401 && text.contains("The club"), "{text}");
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let refused = |change: fn(&mut LoginOptions)| {
        let mut options = OPTIONS();
        change(&mut options);
        LoginRules::new(options).expect_err("it cannot be").to_string()
    };
    assert!(refused(|options| options.title = "a\nb".to_owned()).contains("`title`"));
    assert!(refused(|options| options.cookie = "a;b".to_owned()).contains("`cookie`"));
    assert!(refused(|options| options.lifetime.whole = Duration::from_secs(1)).contains("`absolute`"));
}
