//! `medusa.handler.login`: a page to log in on, before another handler.

use std::sync::Arc;
use std::time::Duration;

use medusa_auth::sessions::{LONGEST_SESSION, Lifetime};
use medusa_http::handlers::login::{Login, LoginOptions, LoginRules, PageMaker};
use mlua::{Lua, Value};

use super::errors::file_page;
use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::bindings::auth::{UsersValue, users_of};
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::engine_context::EngineContext;
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.login";
/// Its kind, in the status.
const KIND: &str = "handler.login";

/// The shortest time for which a session goes on, in seconds: less than it takes to fill in a form is none.
const SHORTEST: f64 = 60.0;

const DAY: Duration = Duration::from_hours(24);

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(users: Users, handler: Handler | (req: Request) -> Answer, options: LoginOptions?) -> Handler",
    "Wraps a handler: who has not logged in gets a page with a form for name and password, with 401 and at the address that was \
     asked for; a program, a script of a page, or a WebSocket gets a plain 401 (in JSON for who accepts that). Who has, keeps a signed \
     cookie (`HttpOnly`, `SameSite=Lax`; over TLS `Secure`, with `__Host-` before its name), and the handler sees who it is in \
     `req.user`, and not the cookie. Below the mount, whose path must end in a slash, `.login` has the form, `.logout` ends the \
     session, and `.logout-everywhere` all of that user's, and of who has the same name in other sets of users: by POST, and a GET of `.logout` shows the buttons. \
     After more than 16 logouts of one user, sessions that began before all of those end as well. All three take nothing \
     from pages of other sites. Sessions go on over reloads and restarts; a new password or the removal of the user ends them, and \
     `medusa.auth.log_out` does. Wrong passwords are counted as those of `medusa.handler.auth` are. What is answered is `private, \
     no-cache` unless the handler says something else.",
);

pub(super) const OPTIONS: Class = Class {
    name: "LoginOptions",
    doc: "What `medusa.handler.login` takes.",
    fields: &[
        main_item(
            "title",
            "string?",
            "What is behind the page, which has it as its title. Default `\"Log in\"`.",
        ),
        main_item(
            "lifetime",
            "number?",
            "The seconds for which a session goes on without a request, at least 60. It is renewed with requests, once a quarter of \
             that is over. Default a day.",
        ),
        main_item(
            "absolute",
            "number?",
            "The seconds after which it ends in any case, 400 days at the most. Default 30 days, or `lifetime` if that is more.",
        ),
        main_item(
            "cookie",
            "string?",
            "The cookie's name. Mounts of the same users with the same name share a login; those of other users on the same host need \
             another, or logging in at one would log out of the other. Browsers send it to every mount of the host, and only what is behind a \
             `login` with this name does not see it: have a proxy or script that is not trusted behind one, too, or on a host of its own. Default \
             `\"login\"`.",
        ),
        main_item(
            "page",
            "string | Handler | ((req: Request) -> Answer) | nil",
            "A page of your own: a file from the script's directory, or a handler or function, which is asked by a GET, finds the status in \
             `req.status`, and in `req.query` what to put into the form: `action`, `next` and `user`, and what went wrong: `error` is \
             `\"wrong\"`, `\"malformed\"`, `\"too_many\"` or `\"busy\"` (with `retry_after`, in seconds), `\"logged_out\"`, or is not \
             there. The form is sent by POST, with the fields `username`, `password` and `next`. Where it fails, there is the page of \
             the server.",
        ),
        main_item(
            "pass_cookie",
            "boolean?",
            "Whether the handler sees the cookie, by which it could do anything in the user's name; another `login` behind this one \
             needs it. Default false.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.login(users, handler, options)`
pub(super) fn login(lua: &Lua, (users, inner, options): (Value, Value, Value)) -> mlua::Result<HandlerValue> {
    let UsersValue { users, .. } = users_of(lua, FUNCTION, &users)?;
    if users.asked_secrets().is_some() || users.certificate_name().is_some() {
        let why = "a session ends with the password it began with, so it takes users with stored passwords: those of `medusa.auth.htpasswd`, \
                   `medusa.auth.htdigest` or a table; for others there is `medusa.handler.auth`";
        return Err(fail(lua, format!("{FUNCTION}: {why}")));
    }
    let mut handlers = vec![HandlerValue::of(lua, &inner)?];
    let mut given = Options::new(lua, FUNCTION, options)?;
    let longest = LONGEST_SESSION.as_secs_f64();
    let idle = given.seconds("lifetime", SHORTEST..=longest)?.unwrap_or(DAY);
    let whole = given.seconds("absolute", SHORTEST..=longest)?.unwrap_or_else(|| idle.max(30 * DAY));
    let page = match given.get::<Value>("page", "a page")? {
        None => PageMaker::Ours,
        Some(Value::String(file)) => {
            let (folder, name) = file_page(lua, FUNCTION, &file.to_string_lossy())?;
            handlers.push(HandlerValue::Made(folder));
            PageMaker::Handler(Some(name))
        }
        Some(page) => {
            handlers.push(HandlerValue::of(lua, &page)?);
            PageMaker::Handler(None)
        }
    };
    let options = LoginOptions {
        title: given.get("title", "a string")?.unwrap_or_else(|| "Log in".to_owned()),
        cookie: given.get("cookie", "a string")?.unwrap_or_else(|| "login".to_owned()),
        lifetime: Lifetime { idle, whole },
        pass_cookie: given.get("pass_cookie", "a boolean")?.unwrap_or(false),
        page,
    };
    given.finish()?;
    if !options.pass_cookie && handlers.first().is_some_and(|inner| inner.has(KIND)) {
        let why = "behind it is another, which would find no session; give this one `pass_cookie = true`";
        return Err(fail(lua, format!("{FUNCTION}: {why}")));
    }
    let failed = |why: String| fail(lua, format!("{FUNCTION}: {why}"));
    let rules = Arc::new(LoginRules::new(options).map_err(|error| failed(error.to_string()))?);
    let sessions = EngineContext::of(lua)?.logins.sessions().map_err(failed)?;
    // The addresses tell them from others: the wrapper keeps them, so nobody else comes to be there.
    let key = format!("{:p}\0{:p}\0{rules:?}", Arc::as_ptr(&users), Arc::as_ptr(&sessions));
    Wrapper::of_several(KIND, &key, move |inner| {
        Login::new(inner, Arc::clone(&users), Arc::clone(&sessions), Arc::clone(&rules))
    })
    .around_all(lua, handlers)
}
