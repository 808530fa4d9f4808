//! `medusa.handler.limit`: how often each client may ask.

use medusa_http::handlers::limit::{LimitKey, LimitOptions, RateLimit};
use mlua::{Lua, Value};

use super::value::HandlerValue;
use super::wrap::Wrapper;
use crate::call_site::fail;
use crate::docs::{Class, Item, main_item};
use crate::options::Options;

const FUNCTION: &str = "medusa.handler.limit";

/// The least and the most requests a second: one a day, and more than a server answers.
const RATES: std::ops::RangeInclusive<f64> = 1.0 / 86_400.0..=1_000_000.0;
const MOST_BURST: u64 = 1_000_000;

pub(super) const DOC: Item = main_item(
    FUNCTION,
    "(options: RateOptions, handler: Handler | (req: Request) -> Answer) -> Handler",
    "Wraps a handler: a client that asks too often is answered 429 with `Retry-After`, in whole seconds; what is \
     refused does not count. All workers count together. Each limit has a table of 65,536 clients, which takes 1 \
     MiB from its first request on; where there is no place for one more (`forgotten` in the status, and a line of \
     the log), those who have asked least are forgotten, who is at the limit last, and an IPv6 site (/48) has 16 \
     places at most. The log has a line for each client and minute with the number of its requests that were \
     refused. Counts go on over a reload where the options stay.",
);

pub(super) const OPTIONS: Class = Class {
    name: "RateOptions",
    doc: "What `medusa.handler.limit` takes.",
    fields: &[
        main_item(
            "rate",
            "number",
            "Requests a second, in the long run: `5`, or `1/60` for one a minute. At least one a day.",
        ),
        main_item(
            "burst",
            "number?",
            "Requests at once, before the rate counts. By default as many as `rate` allows in a second, and at least \
             1.",
        ),
        main_item(
            "key",
            "string | ((req: Request) -> string?) | Handler | nil",
            "What is counted together: `\"address\"` (the default), an IPv4 address or the /64 of an IPv6 one; \
             `\"user\"`, where a wrapper around this one has found out who asks; or what a function says of a request, before whose \
             body it is asked: `function(req) return req.headers[\"x-api-key\"] end`. Where there is no user, or the function returns \
             nil or an empty string, it is the address; whoever comes by a unix socket is one. If the function fails, so does the request. It \
             is asked at every request, also at those that are refused: for many, give a file, `medusa.handler.script(\"key.luau\")`, which \
             runs on the request's own core. The log shows at most 8 bytes of a key.",
        ),
    ],
    methods: &[],
};

/// `medusa.handler.limit(options, handler)`
pub(super) fn limit(lua: &Lua, (options, inner): (Value, Value)) -> mlua::Result<HandlerValue> {
    let mut given = Options::new(lua, FUNCTION, options)?;
    let rate = given.get::<f64>("rate", "a number")?;
    let Some(rate) = rate.filter(|rate| RATES.contains(rate)) else {
        return Err(fail(
            lua,
            format!(
                "{FUNCTION}: `rate` must be a number of requests a second, from one a day (1/86400) to {}",
                RATES.end()
            ),
        ));
    };
    let burst = given.whole::<u32>("burst", 1..=MOST_BURST)?;
    let mut handlers = vec![HandlerValue::of(lua, &inner)?];
    let key = match given.get::<Value>("key", "a string or a function")? {
        None => LimitKey::Address,
        Some(Value::String(name)) => match &*name.to_string_lossy() {
            "address" => LimitKey::Address,
            "user" => LimitKey::User,
            other => {
                let must = format_args!("\"address\", \"user\" or a function, not {other:?}");
                return Err(given.wrong("key", must));
            }
        },
        Some(giver) => {
            handlers.push(HandlerValue::of(lua, &giver)?);
            LimitKey::Given
        }
    };
    given.finish()?;
    let options = LimitOptions { rate, burst: burst.unwrap_or(rate.ceil() as u32), key };
    Wrapper::of_several("handler.limit", &format!("{options:?}"), move |inner| RateLimit::new(inner, options))
        .around_all(lua, handlers)
}
