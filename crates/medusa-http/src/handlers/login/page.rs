//! The login page, and the page to log out: for people, on a phone or a wide screen, in light or dark, without a script.

use std::fmt::Display;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{self, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::escaped::Escaped;
use crate::response::{HTML, Response};

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">";

/// Like the pages of errors and listings. Fields are as tall as a thumb, and their text is not so small that a phone zooms in.
const STYLE: &str = ":root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 40%,transparent);\
    --accent:light-dark(#0b57d0,#a8c7fa)}\
    *{box-sizing:border-box}\
    body{font:1.1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:min(18vh,9rem) auto 2rem;padding:0 1.5rem;\
    overflow-wrap:anywhere}\
    h1{font-size:1.6rem;line-height:1.25;margin:0 0 1.25rem}form{margin:0}\
    label{display:block;font-size:.95rem;margin:0 0 1rem}\
    input{display:block;width:100%;margin-top:.25rem;padding:.6rem .75rem;font:inherit;font-size:1.1rem;color:inherit;\
    background:transparent;border:1px solid var(--line);border-radius:.4rem}\
    button{display:block;width:100%;margin:1.5rem 0 0;padding:.65rem .75rem;font:inherit;font-weight:600;cursor:pointer;\
    color:light-dark(#fff,#062e6f);background:var(--accent);border:1px solid var(--accent);border-radius:.4rem}\
    form+form button{margin-top:.75rem;color:var(--accent);background:transparent}\
    :focus-visible{outline:2px solid var(--accent);outline-offset:2px}\
    .said{margin:0 0 1.25rem;padding:.6rem .75rem;border-left:4px solid var(--accent);\
    background:color-mix(in srgb,var(--accent) 10%,transparent);border-radius:.2rem}\
    .said[role=alert]{border-color:light-dark(#b3261e,#f2b8b5);\
    background:color-mix(in srgb,light-dark(#b3261e,#f2b8b5) 10%,transparent)}\
    a{color:var(--accent)}";

/// Nothing is loaded or run, this very style is taken, and what is filled in goes to this host.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("it is ASCII")
});

/// What the login page says beside its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: somebody has just come.
    Nothing,
    /// The session was ended.
    LoggedOut,
    /// Name and password do not belong together.
    Wrong,
    /// Some of it is missing, or cannot be.
    Malformed,
    /// There were too many wrong ones: not before so many seconds.
    TooMany(u64),
    /// Too many others are being checked: not before so many seconds.
    Busy(u64),
}

impl Said {
    /// The name that a page of the site's own is told.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::LoggedOut => Some("logged_out"),
            Self::Wrong => Some("wrong"),
            Self::Malformed => Some("malformed"),
            Self::TooMany(_) => Some("too_many"),
            Self::Busy(_) => Some("busy"),
        }
    }

    /// The number of seconds to wait.
    pub(super) fn wait(self) -> Option<u64> {
        match self {
            Self::TooMany(seconds) | Self::Busy(seconds) => Some(seconds),
            _ => None,
        }
    }

    /// The status that it is said with; of somebody who has just come it depends on what for.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Nothing | Self::LoggedOut => StatusCode::OK,
            Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(self) -> Option<String> {
        Some(match self {
            Self::Nothing => return None,
            Self::LoggedOut => "You are logged out.".to_owned(),
            Self::Wrong => "That name and password do not belong together. Try again.".to_owned(),
            Self::Malformed => "Fill in your name and your password.".to_owned(),
            Self::TooMany(seconds) => {
                format!("Too many wrong passwords came from your network. Try again in {}.", Seconds(seconds))
            }
            Self::Busy(seconds) => {
                format!("Too many others are logging in right now. Try again in {}.", Seconds(seconds))
            }
        })
    }
}

/// A wait, for people.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            1 => f.write_str("a second"),
            seconds => write!(f, "{seconds} seconds"),
        }
    }
}

/// What is on the login page.
#[derive(Debug)]
pub(super) struct LoginPage<'a> {
    /// What is behind it.
    pub(super) title: &'a str,
    pub(super) said: Said,
    /// Where the form goes.
    pub(super) action: &'a str,
    /// The name that was filled in before.
    pub(super) user: &'a str,
    pub(super) next: &'a str,
}

impl LoginPage<'_> {
    /// The page.
    pub(super) fn answer(&self) -> Response {
        let Self { title, said, action, user, next } = self;
        let (title, action, user, next) = (Escaped(title), Escaped(action), Escaped(user), Escaped(next));
        let role = if *said == Said::LoggedOut { "status" } else { "alert" };
        let told = said.text().map(|text| format!("<p class=\"said\" role=\"{role}\">{text}</p>\n"));
        let told = told.unwrap_or_default();
        // The cursor is in the first field that is empty.
        let (first, second) = if self.user.is_empty() { (" autofocus", "") } else { ("", " autofocus") };
        let form = format!(
            "{told}<form method=\"post\" action=\"{action}\">\n\
             <input type=\"hidden\" name=\"next\" value=\"{next}\">\n\
             <label>Name <input name=\"username\" value=\"{user}\" autocomplete=\"username\" autocapitalize=\"none\" \
             autocorrect=\"off\" spellcheck=\"false\" maxlength=\"255\" required{first}></label>\n\
             <label>Password <input type=\"password\" name=\"password\" autocomplete=\"current-password\" \
             maxlength=\"255\" required{second}></label>\n\
             <button>Log in</button>\n</form>\n"
        );
        page(&title, &title, &form)
    }
}

/// The page to log out.
pub(super) fn logout(title: &str, user: &str) -> Response {
    let said = format!(
        "<p>You are logged in as <bdi>{}</bdi>. <a href=\"./\">Go back</a></p>\n\
         <form method=\"post\" action=\".logout\"><button>Log out</button></form>\n\
         <form method=\"post\" action=\".logout-everywhere\"><button>Log out everywhere</button></form>\n",
        Escaped(user)
    );
    page("Log out", Escaped(title), &said)
}

fn page(name: impl Display, title: impl Display, body: &str) -> Response {
    let text =
        format!("{HEAD}<title>{name}</title>\n<style>{STYLE}</style>\n<h1>{title}</h1>\n{body}</html>\n");
    Response::new(HTML, text).with(header::CONTENT_SECURITY_POLICY, POLICY.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    fn text(response: Response) -> String {
        match response.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_others_have_said_is_text() {
        let evil = "\"><script>'&";
        let page = LoginPage { title: evil, said: Said::Wrong, action: "../.login", user: evil, next: evil };
        let page = text(page.answer());
        assert!(
            !page.contains("<script") && page.matches("&quot;&gt;&lt;script&gt;&#39;&amp;").count() == 4,
            "{page}"
        );
        assert!(!text(logout(evil, evil)).contains("<script"));
    }

    #[test]
    fn the_cursor_is_where_something_is_missing() {
        let page = |user| {
            let page = LoginPage { title: "Club", said: Said::TooMany(6), action: ".login", user, next: "" };
            text(page.answer())
        };
        assert!(page("").contains("name=\"username\" value=\"\" autocomplete=\"username\""));
        assert!(page("").find("autofocus") < page("").find("type=\"password\""));
        assert!(page("ada").find("autofocus") > page("ada").find("type=\"password\""));
        assert!(page("").contains("Try again in 6 seconds."));
    }
}
