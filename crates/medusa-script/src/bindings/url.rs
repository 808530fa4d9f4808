//! `medusa.url`: what stands in URLs, encoded and decoded.

use medusa_proto::query;
use mlua::{Lua, LuaString, Table, Value};

use crate::call_site::fail;
use crate::counted::shown_bytes;
use crate::docs::{Item, item};
use crate::fields::first_values;
use crate::print::{MAX_SHOWN, as_number, show};

pub(crate) const DOCS: &[Item] = &[
    item(
        "medusa.url.encode",
        "(text: string) -> string",
        "Percent-encodes everything but letters, digits and `-._~` (RFC 3986 §2.3): the result can stand anywhere in a \
         URL, and in a cookie. Texts given to this and the other functions here may have 1 MiB.",
    ),
    item(
        "medusa.url.decode",
        "(text: string) -> string",
        "Decodes what is percent-encoded; a `%` without two hexadecimal digits stands for itself, and so does `+`.",
    ),
    item(
        "medusa.url.query",
        "(values: { [string]: string | number | boolean | { string } }) -> string",
        "Makes a query, or the body of a form, of names and values: `medusa.url.query { q = \"a b\", page = 2 }` is \
         `page=2&q=a%20b`. A list gives a name several times. Names are in alphabetical order. At most 10,000 values, and 1 MiB.",
    ),
    item(
        "medusa.url.parse_query",
        "(text: string) -> { [string]: string }",
        "The first value of each name in a query, decoded as `req.args` is. More than 1000 values are an error.",
    ),
];

/// The longest text that is encoded or decoded, and the longest query that is made, in bytes: done in one go, in a few
/// milliseconds. Addresses have a few thousand, a long article in a form fits.
const MAX_TEXT: usize = 1024 * 1024;

/// The most values of a query that is made. As many as ten forms of the longest that are read.
const MAX_MADE: usize = 10 * query::MAX_PAIRS;

pub(super) fn install(lua: &Lua, medusa: &Table) -> mlua::Result<()> {
    let url = lua.create_table()?;
    let encode =
        |lua: &Lua, text: LuaString| Ok(query::encode(fits(lua, "medusa.url.encode", &text.as_bytes())?));
    url.set("encode", lua.create_function(encode)?)?;
    let decode = |lua: &Lua, text: LuaString| {
        lua.create_string(query::decode(fits(lua, "medusa.url.decode", &text.as_bytes())?))
    };
    url.set("decode", lua.create_function(decode)?)?;
    url.set("query", lua.create_function(make_query)?)?;
    let parse = |lua: &Lua, text: LuaString| {
        let text = text.as_bytes();
        let mut pairs = query::pairs(fits(lua, "medusa.url.parse_query", &text)?);
        let all: Vec<_> = pairs.by_ref().collect();
        if pairs.is_cut_off() {
            let most = query::MAX_PAIRS;
            return Err(fail(lua, format!("medusa.url.parse_query: there are more than {most} values")));
        }
        first_values(lua, all)
    };
    url.set("parse_query", lua.create_function(parse)?)?;
    medusa.set("url", url)
}

/// The text, if it is not too long.
fn fits<'t>(lua: &Lua, function: &str, text: &'t [u8]) -> mlua::Result<&'t [u8]> {
    if text.len() <= MAX_TEXT {
        return Ok(text);
    }
    Err(fail(lua, format!("{function}: the text is longer than {} MiB", MAX_TEXT >> 20)))
}

fn make_query(lua: &Lua, values: Table) -> mlua::Result<String> {
    let mut made = QueryBuilder { pairs: Vec::new(), length: 0 };
    for pair in values.pairs::<LuaString, Value>() {
        let (name, value) = pair?;
        match value {
            Value::Table(list) => {
                let mut values = 0;
                for value in list.sequence_values::<Value>() {
                    made.add(lua, &name.as_bytes(), &value?)?;
                    values += 1;
                }
                if list.pairs::<Value, Value>().take(values + 1).count() > values {
                    let name = shown_bytes(&name.as_bytes(), MAX_SHOWN);
                    let what =
                        format!("medusa.url.query: the values of {name} are no list, or one with holes");
                    return Err(fail(lua, what));
                }
            }
            value => made.add(lua, &name.as_bytes(), &value)?,
        }
    }
    // Stable: the values of one name stay in their order.
    made.pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut text = String::with_capacity(made.length);
    for (at, (name, value)) in made.pairs.iter().enumerate() {
        text.extend([if at > 0 { "&" } else { "" }, name, "=", value]);
    }
    Ok(text)
}

/// Makes a query, encoded and counted.
struct QueryBuilder {
    pairs: Vec<(String, String)>,
    length: usize,
}

impl QueryBuilder {
    fn add(&mut self, lua: &Lua, name: &[u8], value: &Value) -> mlua::Result<()> {
        let wrong = |what: String| fail(lua, format!("medusa.url.query: {what}"));
        if self.pairs.len() == MAX_MADE {
            return Err(wrong(format!("there are more than {MAX_MADE} values")));
        }
        // Before it is encoded, it is no longer than after.
        let given = name.len() + value.as_string().map_or(0, |text| text.as_bytes().len());
        let too_long = || wrong(format!("the query is longer than {} MiB", MAX_TEXT >> 20));
        if self.length + given > MAX_TEXT {
            return Err(too_long());
        }
        let value = match value {
            Value::String(text) => query::encode(&text.as_bytes()),
            Value::Boolean(flag) => flag.to_string(),
            // All of its digits, also where it is an integer of 64 bits.
            Value::Integer(number) => number.to_string(),
            value => {
                let Some(number) = as_number(value) else {
                    let (name, value) = (shown_bytes(name, MAX_SHOWN), show(value));
                    return Err(wrong(format!(
                        "the value of {name} must be a string, number or boolean, not {value}"
                    )));
                };
                query::encode(number.to_string().as_bytes())
            }
        };
        let name = query::encode(name);
        self.length += name.len() + value.len() + 2;
        if self.length > MAX_TEXT {
            return Err(too_long());
        }
        self.pairs.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: &str) -> String {
        let lua = Lua::new();
        let medusa = lua.create_table().unwrap();
        install(&lua, &medusa).unwrap();
        lua.globals().set("url", medusa.get::<Table>("url").unwrap()).unwrap();
        let ran = lua.load(source).set_name("@test.luau").eval::<Value>();
        ran.map_or_else(|error| error.to_string(), |value| value.to_string().unwrap())
    }

    #[test]
    fn queries_are_made_of_names_and_values() {
        assert_eq!(told("return url.query { q = 'a b', page = 2, on = true }"), "on=true&page=2&q=a%20b");
        assert_eq!(told("return url.query { a = { 'y', 'x' }, ['&'] = '=' }"), "%26=%3D&a=y&a=x");
        assert_eq!(told("return url.query {}"), "");
        let big = "return url.query { a = integer.fromstring('9007199254740993'), b = 2^53 + 2, c = -5 }";
        assert_eq!(told(big), "a=9007199254740993&b=9007199254740994&c=-5");
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for list in ["{ 1, nil, 3 }", "{ [2] = 1 }", "{ b = 1 }", "{ 1, b = 2 }"] {
            let error = told(&format!("return url.query {{ a = {list} }}"));
            assert!(error.contains("medusa.url.query: the values of a are no list"), "{list}: {error}");
        }
        let parse =
            |count: usize| told(&format!("return url.parse_query(string.rep('a&', {count}) .. '&b=x').b"));
        assert_eq!(parse(999), "x");
        assert!(parse(1000).contains("medusa.url.parse_query: there are more than 1000 values"));
    }

    #[test]
    fn what_is_too_much_is_an_error_that_names_the_limit() {
        let long = "local s = string.rep('%', 1e6) ";
        for (source, part) in [
            (
                "return url.query(table.create(300000, 'x'))",
                "medusa.url.query: there are more than 10000 values",
            ),
            ("return url.query { a = table.create(300000, 'x') }", "there are more than 10000 values"),
            ("return url.query { a = s }", "the query is longer than 1 MiB"),
            ("return url.query { a = s .. s }", "the query is longer than 1 MiB"),
            ("return url.query { [s] = table.create(9999, '') }", "the query is longer than 1 MiB"),
            ("return url.query { [s] = {} }", ""),
            (
                "return url.query { [string.rep('x', 1e6)] = { print } }",
                "x… must be a string, number or boolean, not a function",
            ),
            ("return url.encode(s .. s)", "medusa.url.encode: the text is longer than 1 MiB"),
            ("return url.decode(s .. s)", "medusa.url.decode: the text is longer than 1 MiB"),
            ("return url.parse_query(s .. s)", "medusa.url.parse_query: the text is longer than 1 MiB"),
        ] {
            let error = told(&format!("{long}{source}"));
            assert!(error.contains(part) && error.len() < 4000, "{source}: {error}");
        }
    }
}
