//! Both ways of JSON, and what they refuse.

use std::time::Duration;

use mlua::Lua;

use super::*;
use crate::bindings::json::install;
use crate::budget::{Budget, TaskError};
use crate::preempt;
use crate::runs::RunNote;
use crate::vm::Vm;

/// A VM that has no more than `medusa.json`.
fn lua() -> Lua {
    let lua = Lua::new();
    let medusa = lua.create_table().unwrap();
    install(&lua, &medusa).unwrap();
    lua.globals().set("medusa", medusa).unwrap();
    lua
}

/// The outcome of a script: text, or the error.
fn told(lua: &Lua, source: &str) -> String {
    let ran = lua.load(source).set_name("@test.luau").eval::<Value>();
    ran.map_or_else(|error| error.to_string(), |value| value.to_string().unwrap())
}

fn encoded(value: &str) -> String {
    told(&lua(), &format!("return medusa.json.encode({value})"))
}

fn again(lua: &Lua, text: &str) -> String {
    lua.globals().set("text", text).unwrap();
    told(lua, "return medusa.json.encode(medusa.json.decode(text))")
}

#[test]
fn what_is_decoded_is_encoded_as_it_was() {
    let lua = lua();
    for text in [
        r#"{"a":[1,2.5,-3,"\u00e9\n",null,true,[],[[]]],"b":{"c":{}},"":false}"#,
        "[]",
        "{}",
        "null",
        "false",
        "9007199254740991",
        r#" [ 1 , { "a" : [ ] } ] "#,
        r#""\ud83d\ude00\u0001\b\f\r\t\\\" /""#,
        "[-0.0,1e300,1e-7]",
    ] {
        let text: serde_json::Value = serde_json::from_str(text).unwrap();
        let encoded = again(&lua, &text.to_string());
        let value: serde_json::Value =
            serde_json::from_str(&encoded).unwrap_or_else(|_| panic!("{text}: {encoded}"));
        assert_eq!(value, text);
    }
    assert_eq!(again(&lua, "\u{feff}[1]"), "[1]", "a byte order mark is no value");
    assert_eq!(again(&lua, r#"{"1":"a","2":"b"}"#), r#"{"1":"a","2":"b"}"#);
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let lua = lua();
    for (wrong, what) in [
        ("", "it ends before a value at line 1 column 1"),
        ("[1,]", "trailing comma at line 1 column 4"),
        ("{} x", "trailing characters at line 1 column 4"),
        ("{1:2}", "a name must be a string at line 1 column 2"),
        ("\"\u{1}\"", "control character"),
        ("[1", "it ends within an array at line 1 column 3"),
        ("[\n1 2]", "expected `,` or `]` at line 2 column 3"),
        ("{\"a\" 1}", "expected `:` at line 1 column 6"),
        ("{\"a\":1]", "expected `,` or `}` at line 1 column 7"),
        ("{\"a\":}", "expected value at line 1 column 6"),
        ("[\"a", "EOF while parsing a string"),
        ("]", "expected value at line 1 column 1"),
        ("[01]", "invalid number at line 1"),
        ("[1e999]", "number out of range"),
        ("nul", "EOF while parsing a value"),
        ("nuls", "expected ident at line 1 column 4"),
        ("[1}", "expected `,` or `]`"),
        (r#"["\ud800"]"#, "at line 1"),
        (r#"{"a":1,"b":{"a":2},"a":null}"#, "the name \"a\" comes twice at line 1 column 23"),
        (r#"{"a":null,"\u0061":1}"#, "the name \"a\" comes twice"),
        ("[\u{feff}1]", "expected value"),
        ("NaN", "expected value"),
        ("[-Infinity]", "at line 1"),
    ] {
        let error = again(&lua, wrong);
        assert!(
            error.contains("test.luau:1: medusa.json.decode: ") && error.contains(what),
            "{wrong:?}: {error}"
        );
    }
}

/// Whole numbers are what they were, or an error; the rest is the nearest number.
#[test]
fn a_whole_number_is_held_or_refused() {
    let lua = lua();
    for held in [
        "9007199254740991",
        "-9007199254740992",
        "9007199254740994",
        "1152921504606846976",
        "-9223372036854775808",
        "0",
    ] {
        assert_eq!(again(&lua, held), held);
    }
    assert_eq!(again(&lua, "18446744073709551616"), "1.8446744073709552e+19", "2^64, as it is");
    for refused in [
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        &"9".repeat(300),
    ] {
        let error = again(&lua, &format!("[1,{refused}]"));
        let begin = &refused[..refused.len().min(40)];
        assert!(error.contains(begin) && error.contains("cannot hold"), "{error}");
        assert!(error.contains("at line 1 column 4") && error.len() < 400, "{error}");
    }
    for rounded in ["0.1", "9007199254740993.0", "1e22"] {
        assert!(!again(&lua, rounded).contains("error"), "{rounded}");
    }
}

/// Of all numbers that a script can have, the nearest; what is encoded is decoded as it was.
#[test]
fn a_fraction_is_the_nearest_number() {
    let lua = lua();
    for held in [
        "944.2485072455235",
        "0.1",
        "2.2250738585072014e-308",
        "1.7976931348623157e+308",
        "123.45600000000002",
    ] {
        assert_eq!(again(&lua, held), held);
    }
    let mut state = 1_u64;
    for _ in 0..2000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (state >> 11) as f64 / (1_u64 << 43) as f64;
        let text = format!("{number:?}");
        let equal = told(&lua, &format!("medusa.json.decode('{text}') == {text}"));
        assert_eq!(equal, "true", "{text}");
    }
}

#[test]
fn an_array_can_be_cloned_and_frozen() {
    let lua = lua();
    for (source, expected) in [
        ("medusa.json.encode(table.clone(medusa.json.decode('[1,2]')))", "[1,2]"),
        ("medusa.json.encode(table.clone(medusa.json.decode('[]')))", "[]"),
        ("medusa.json.encode(table.freeze(medusa.json.decode('[1]')))", "[1]"),
        ("pcall(rawset, getmetatable(medusa.json.array()), 'a', 1)", "false"),
    ] {
        assert_eq!(told(&lua, source), expected, "{source}");
    }
}

#[test]
fn what_is_not_utf_8_is_no_json() {
    let lua = lua();
    for (text, what) in [
        ("'[\"\\255\"]'", "at line 1 column"),
        ("'{\"\\255\":1}'", "at line 1 column"),
        ("'\\255\\254[\\0]\\0'", "it is UTF-16"),
        ("'\\254\\255\\0[\\0]'", "it is UTF-16"),
    ] {
        let error = told(&lua, &format!("return medusa.json.decode({text})"));
        assert!(
            error.contains("test.luau:1: medusa.json.decode: ") && error.contains(what),
            "{text}: {error}"
        );
    }
}

#[test]
fn an_array_is_marked_where_that_can_be_seen() {
    let lua = lua();
    for (call, what) in [
        ("medusa.json.array(setmetatable({}, {}))", "a metatable of its own"),
        ("medusa.json.array(table.freeze({}))", "read-only"),
        ("medusa.json.array(5)", "table"),
    ] {
        assert!(told(&lua, &format!("return {call}")).contains(what), "{call}");
    }
    assert_eq!(told(&lua, "local t = {} return tostring(medusa.json.array(t) == t)"), "true");
}

#[test]
fn how_many_values_and_how_deep_is_bounded() {
    let lua = lua();
    let list = |item: &str, count: usize| format!("[{}]", vec![item; count].join(","));
    for item in ["1", "{}", "[]"] {
        assert!(again(&lua, &list(item, MAX_DECODED - 1)).starts_with('['), "{item}");
        let refused = again(&lua, &list(item, MAX_DECODED));
        assert!(refused.contains("there are more than 200000 values and names"), "{refused}");
    }
    let objects = again(&lua, &list(r#"{"a":1}"#, MAX_DECODED / 3 + 1));
    assert!(objects.contains("more than"), "names count: {objects}");
    let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(again(&lua, &deep(127)).starts_with('['));
    assert!(again(&lua, &deep(128)).contains("more than 127 levels at line 1 column 128"));
    let nested = "local t = {} for i = 1, 200 do t = { x = t } end return medusa.json.encode(t)";
    let refused = told(&lua, nested);
    assert!(refused.contains("more than 127 levels") && refused.contains(".x.x…"), "{refused}");
}

#[test]
fn values_are_written_as_they_are() {
    for (value, text) in [
        ("nil", "null"),
        ("{ 1, -2.5, 1e15, 1e300, -0, 2^53 }", "[1,-2.5,1000000000000000,1e+300,-0.0,9007199254740992]"),
        ("medusa.json.array()", "[]"),
        ("{ a = medusa.json.array {}, b = medusa.json.array { 1 } }", r#"{"a":[],"b":[1]}"#),
        ("medusa.json.array(medusa.json.decode('[]'))", "[]"),
        ("integer.fromstring('9007199254740993')", "9007199254740993"),
        ("{ integer.fromstring('-9223372036854775807') }", "[-9223372036854775807]"),
        ("2^60 + 2^10", "1152921504606848000"),
        ("{ b = 1, a = { true, medusa.json.null }, [''] = 'x' }", r#"{"":"x","a":[true,null],"b":1}"#),
        ("{ {}, { {} } }", "[{},[{}]]"),
        ("'\"\\\\\\n\\1\u{e9}/'", "\"\\\"\\\\\\n\\u0001\u{e9}/\""),
        ("string.rep('\\n', 200000)", &format!("\"{}\"", "\\n".repeat(200_000))),
        ("string.rep('\u{e9}', 200001)", &format!("\"{}\"", "\u{e9}".repeat(200_001))),
        ("vector.create(1, 2, 0.5)", "[1,2,0.5]"),
        // Filled backwards: its items are in the hash part.
        (
            "(function() local t = {} for i = 50, 1, -1 do t[i] = 7 end return t end)()",
            &format!("[{}7]", "7,".repeat(49)),
        ),
    ] {
        assert_eq!(encoded(value), text, "{value}");
    }
    let many = "local t = {} for i = 1, 50000 do t['k' .. i] = { i } end return medusa.json.encode(t)";
    let text = told(&lua(), many);
    let read: std::collections::BTreeMap<String, Vec<u64>> = serde_json::from_str(&text).unwrap();
    assert!(read.len() == 50_000 && read["k777"] == [777]);
    let names: Vec<&String> = read.keys().collect();
    assert!(text.find(names[100]).unwrap() < text.find(names[101]).unwrap());
}

#[test]
fn what_json_does_not_have_is_an_error_that_names_the_place() {
    for (value, what) in [
        ("{ 1, 2, a = 3 }", "value has items, as an array has, and the name \"a\""),
        ("{ x = { { 1, ['b c'] = 3 } } }", "value.x[1] has items"),
        ("{ [1] = 'a', [3] = 'c' }", "value has later items, but no item 2"),
        ("{ list = { [10] = 'x' } }", "value.list has later items, but no item 1"),
        ("{ [0] = 'z', 'a' }", "value has a number as a key"),
        ("{ [1.5] = 1 }", "value has a number as a key"),
        ("{ [true] = 1 }", "value has a boolean as a key"),
        ("{ ['1'] = 'x', 'b' }", "value has items"),
        ("0/0", "value is not a number (NaN)"),
        ("{ a = { 1, -1/0 } }", "value.a[2] is infinite"),
        ("vector.create(1, 0/0, 2)", "value is not a number"),
        ("(function() local t = medusa.json.array() t.a = 1 return t end)()", "value has items"),
        ("{ 1, { f = print } }", "value[2].f is a function"),
        ("coroutine.create(print)", "value is a thread"),
        ("{ ['a b'] = '\\255' }", "value[\"a b\"] is not UTF-8"),
        ("{ ['\\255'] = 1 }", "is not UTF-8"),
        ("(function() local t = { a = {} } t.a.b = t return t end)()", "value.a.b contains itself"),
    ] {
        let text = encoded(value);
        assert!(text.contains("test.luau:1: medusa.json.encode: ") && text.contains(what), "{value}: {text}");
    }
    assert_eq!(told(&lua(), "return type(select(2, pcall(medusa.json.encode, print)))"), "string");
}

/// Each level holds the next one twice: as text it doubles with each.
const PAIRS: &str = "local t = 1 for i = 1, N do t = { t, t } end return medusa.json.encode(t)";

#[test]
fn shared_tables_end_at_a_limit_that_is_named() {
    let lua = lua();
    assert_eq!(told(&lua, &PAIRS.replace('N', "3")), "[[[1,1],[1,1]],[[1,1],[1,1]]]");
    for levels in ["24", "30", "100"] {
        let before = preempt::thread_cpu_time();
        let error = told(&lua, &PAIRS.replace('N', levels));
        let used = preempt::thread_cpu_time().saturating_sub(before);
        assert!(
            error.contains("test.luau:1: medusa.json.encode: there are more than 1000000 values"),
            "{error}"
        );
        assert!(used < Duration::from_secs(10), "{used:?}");
        assert!(lua.used_memory() < 32 << 20, "{}", lua.used_memory());
    }
    for (many, what) in [
        ("local s = string.rep('x', 1e6) local t = table.create(1000, s)", "longer than 16 MiB"),
        ("local t = string.rep('\\n', 9e6)", "longer than 16 MiB"),
        ("local t = table.create(1000001, true)", "more than 1000000 values"),
        ("local t = {} for i = 1, 100001 do t['k' .. i] = 1 end", "more than 100000 names"),
    ] {
        let error = told(&lua, &format!("{many} return medusa.json.encode({{ deep = t }})"));
        assert!(error.contains(what), "{many}: {error}");
    }
}

#[test]
fn want_of_memory_is_the_vms_error() {
    let lua = lua();
    lua.globals().set("text", format!("[{}1]", "{},".repeat(50_000))).unwrap();
    lua.set_memory_limit(lua.used_memory() + 100_000).unwrap();
    assert!(told(&lua, "return medusa.json.decode(text)").contains("not enough memory"));
}

/// Others have their turns while it goes on, and it is stopped at its budget, where it can give way and where it cannot.
#[test]
fn it_gives_way_and_is_stopped() {
    let runtime = crate::engine::runtime().unwrap();
    let vm = Vm::new(|lua, globals| {
        let medusa = lua.create_table()?;
        install(lua, &medusa)?;
        globals.set("medusa", medusa)
    });
    let vm = vm.unwrap();
    let run = |source: &str, milliseconds| {
        let budget = Budget { cpu: Duration::from_millis(milliseconds), wall: Duration::from_mins(1) };
        let function = load(vm.lua(), source, "@test.luau", None).unwrap();
        let ticks = std::rc::Rc::new(std::cell::Cell::new(0));
        let result = runtime.block_on(async {
            let count = ticks.clone();
            let ticker = tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    count.set(count.get() + 1);
                }
            });
            let result = vm.run(RunNote::default, budget, function.call_async::<Value>(())).await;
            ticker.abort();
            result
        });
        (result, ticks.get())
    };
    let big = "local t = {} for i = 1, 200 do t['k' .. i] = table.create(1000, 'value') end";
    let text = "local text = '[' .. string.rep('[],', 150000) .. '1]'";
    for endless in [
        format!("{big} while true do medusa.json.encode(t) end"),
        format!("{text} while true do medusa.json.decode(text) end"),
    ] {
        let (result, ticks) = run(&endless, 100);
        assert!(matches!(result, Err(TaskError::Cpu(..))), "{result:?}");
        assert!(ticks >= 10, "only {ticks} turns for others");
    }
    // A metamethod cannot give way.
    let unable =
        "local m = setmetatable({}, { __index = function() return #medusa.json.encode(t) end }) return m.x";
    // A quarter of that is done well within its 50 ms, also on a machine that is busy.
    let small = big.replace("1, 200 do", "1, 50 do");
    let (result, _) = run(&format!("{small} {unable}"), 10_000);
    assert!(result.unwrap().as_integer().is_some_and(|length| length > 400_000));
    let endless =
        unable.replace("return #", "while true do local _ = #").replace("(t) end })", "(t) end end })");
    let (result, _) = run(&format!("{big} {endless}"), 100);
    assert!(format!("{result:?}").contains("where it cannot give way"), "{result:?}");
}

#[test]
fn long_names_and_texts_are_written_in_pieces() {
    let lua = lua();
    let steps = |value: &str| -> (usize, String) {
        let stores = Stores::new(&lua).unwrap();
        let value = lua.load(format!("return {value}")).eval().unwrap();
        let mut encoder = Encoder::new(&lua, &stores, value).unwrap();
        let (mut steps, mut all) = (0, Vec::new());
        loop {
            let (text, done) = encoder.step(&lua).unwrap();
            steps += 1;
            assert!(text.len() < 200 * 1024, "{} bytes at once", text.len());
            all.extend(text);
            if done {
                return (steps, String::from_utf8(all).unwrap());
            }
        }
    };
    let long = "ä".repeat(500_000);
    let (_, text) = steps("{ ['x' .. string.rep('ä', 500000)] = string.rep('ä', 500000) }");
    assert!(text == format!("{{\"x{long}\":\"{long}\"}}"));
    let many = "(function() local t, n = {}, string.rep('n', 1e5) for i = 1, 50 do t[n .. i] = i end return t end)()";
    let (count, text) = steps(many);
    assert!(count > 50 * 2 / 3 && text.len() > 5_000_000, "{count} steps");
    for cut in
        ["string.rep('ä', 100000) .. '\\xC3'", "string.rep('a', 65535) .. '\\xC3' .. string.rep('a', 9)"]
    {
        assert!(encoded(cut).contains("value is not UTF-8"));
        assert!(encoded(&format!("{{ [{cut}] = 1 }}")).contains("is not UTF-8"));
    }
}
