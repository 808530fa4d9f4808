//! What is little is the builtin's, what is much gives way, what is too much says so.

use std::cell::Cell;
use std::time::Duration;

use mlua::VmState;
use mlua::thread::ThreadStatus;

use super::*;
use crate::preempt::thread_cpu_time;

/// With the closures in place, and scripts that give way wherever they can.
fn lua() -> Lua {
    let lua = Lua::new();
    install(&lua, &lua.globals()).unwrap();
    // Where it gave way, it is asked again when it goes on.
    let gave_way = Cell::new(false);
    lua.set_interrupt(move |_| {
        Ok(if gave_way.replace(!gave_way.get()) { VmState::Continue } else { VmState::Yield })
    });
    lua
}

/// Runs `source`; tells how often it gave way.
fn times_given_way(lua: &Lua, source: &str) -> mlua::Result<usize> {
    let thread = lua.create_thread(lua.load(source).set_name("@test.luau").into_function()?)?;
    let mut times = 0;
    loop {
        thread.resume::<()>(())?;
        if thread.status() != ThreadStatus::Resumable {
            return Ok(times);
        }
        times += 1;
    }
}

#[test]
fn what_is_long_gives_way() {
    for (source, least) in [
        ("local parts = text:split(',') assert(#parts == 200001)", 200_000),
        ("local parts = text:split('') assert(#parts == 200000)", 200_000),
        ("text:split(text .. 'b')", 1),
        ("assert(text:gsub(',', ';') == (';'):rep(2e5))", 200_000),
        ("assert(text:gsub('x*', '') == text)", 200_000),
        ("assert(#text:upper() == 2e5)", 3),
        ("assert(#text:reverse() == 2e5)", 3),
        ("assert(#table.concat(list, ',') == 108893)", 15),
        ("table.sort(list) assert(list[1] == 1)", 20_000),
        ("table.sort(list, function(a, b) return a > b end) assert(list[1] == 20000)", 200_000),
        ("assert(table.move(list, 1, 20000, 2, {})[20001] == list[20000])", 15),
        ("local last = list[20000] table.move(list, 1, 20000, 3) assert(list[20002] == last)", 15),
        ("table.move(list, 1, 2147483645, 2)", 20_000),
        ("table.sort({ text .. 'c', text .. 'b', text:rep(20) .. 'a' })", 3),
        ("table.sort({ lazy(1), lazy(2), lazy(3), lazy(4) })", 6),
        ("assert(#table.concat({ text, text, text }, ',') == 600002)", 3),
        ("table.foreach(list, function() end)", 20_000),
        ("assert(table.foreachi(list, function(at) return if at == 9 then at else nil end) == 9)", 9),
        ("assert(utf8.len(text) == 200000)", 3),
        ("assert(utf8.offset(text, 200000) == 200000)", 3),
    ] {
        let lua = lua();
        let setup = "text = (','):rep(2e5)
            local class = { __lt = function(a, b) return a.n > b.n end }
            function lazy(n) return setmetatable({ n = n }, class) end
            list = {} for i = 1, 20000 do list[i] = i * 7 % 20001 end";
        times_given_way(&lua, setup).unwrap();
        let times = times_given_way(&lua, source).unwrap();
        assert!(times >= least, "{source}: gave way {times} times");
    }
}

/// What a builtin calls cannot give way, and what is called in pieces can: either comes to the same.
#[test]
fn what_calls_the_script_is_not_disturbed() {
    let lua = lua();
    times_given_way(
        &lua,
        "local function busy(value) for _ = 1, 50 do end return value end
        assert(('abc'):gsub('.', function(c) return busy(c .. c) end) == 'aabbcc')
        local lazy = setmetatable({}, { __index = function(_, key) return busy(key .. key) end })
        assert(('abc'):gsub('.', lazy) == 'aabbcc')
        assert(string.gsub(123, '.', function(c) return busy(c .. c) end) == '112233')
        assert(string.gsub(123, '.', lazy) == '112233')
        assert(string.gsub(123, '2', '') == '13')
        assert(tonumber((' '):rep(1e5) .. '1') == nil and tonumber((' '):rep(1e4) .. '1') == 1)
        assert(#{ unpack(table.create(262144, 1)) } == 262144)
        local long = setmetatable({ 3, 1, 2 }, { __len = function() return 1e9 end })
        assert(table.concat(long, ',', '2') == '1,2')
        table.sort(long, function(a, b) return a < b end)
        assert(table.concat(long, ',', 1, '3') == '1,2,3')
        local list = { 3, 1, 2 }
        table.sort(list, function(a, b) return busy(a > b) end)
        assert(table.concat(list) == '321')
        local class = { __lt = function(a, b) return busy(a.n < b.n) end }
        local objects = {}
        for n = 1, 20 do objects[n] = setmetatable({ n = n * 7 % 20 }, class) end
        table.sort(objects)
        for n = 2, 20 do assert(objects[n - 1].n <= objects[n].n) end
        local shown = setmetatable({}, { __tostring = function() return busy('shown') end })
        assert(string.format('<%* %d>', shown, 7) == '<shown 7>')
        local told = select(2, pcall(table.sort, { 1, 'x' }))
        assert(string.find(told, 'attempt to compare'), told)",
    )
    .unwrap();
}

/// The same calls, done by the builtins and in pieces of three values and five bytes.
#[test]
fn in_pieces_it_comes_to_the_same() {
    let lua = Lua::new();
    lua.globals().set("pieces", in_pieces(&lua, 3, 5).unwrap()).unwrap();
    lua.load(include_str!("natives_test.luau")).set_name("@natives_test.luau").exec().unwrap();
}

#[test]
fn a_plain_search_is_the_builtins() {
    let lua = lua();
    times_given_way(
        &lua,
        "local long, wanted = ('ab'):rep(100000), ('ab'):rep(5000) .. 'b'
        local text = long .. wanted .. long
        for _, start in { 1, 2, 0, -1, -200001, 1.5, 200000, 1e6, -1e9 } do
            assert(text:find('abb', start, true) == text:find('ab[b]', start), start)
            local from, to = text:find(wanted, start, true)
            local expected = text:find('ab[b]', start)
            assert(if expected then to == expected + 2 and to - from == 10000 else from == nil, start)
        end
        assert(text:find(wanted) == text:find(wanted, 1, true))
        assert(text:find(text .. 'x', nil, true) == nil)
        local far = ('a'):rep(1048574) .. 'bcde' .. ('a'):rep(1048576)
        assert(far:find('bcd', 1, true) == 1048575 and far:find('bcf', 1, true) == nil)
        assert(far:find('bcde' .. ('a'):rep(1048000), 1, true) == 1048575)
        assert(#text:split(wanted) == 2)
        assert(text:find(wanted, '2', true) == text:find(wanted, 2, true))
        local needle = ('a'):rep(100000) .. 'b'
        assert((('a'):rep(200000) .. 'b'):find(needle) == 100001)
        assert(string.find(12, needle) == nil)
        assert((('a'):rep(200000)):gsub(('a'):rep(3000) .. 'b', '') == ('a'):rep(200000))",
    )
    .unwrap();
}

#[test]
fn what_is_too_much_says_so() {
    let lua = lua();
    for (source, expected) in [
        ("('x'):rep(1e8)", "test.luau:1: rep: the text would be longer than 16 MiB"),
        ("string.format(('%%'):rep(1e4))", "test.luau:1: format: the format is longer than 4096 bytes"),
        ("string.format('%q', ('x'):rep(2e6))", "test.luau:1: format: more than 512 KiB to quote with %q"),
        ("string.pack(('x'):rep(1e4))", "test.luau:1: pack: the format"),
        ("string.unpack(('x'):rep(1e4), 'x')", "test.luau:1: unpack: the format"),
        ("('x'):rep(5e6):match('y')", "test.luau:1: match: more than 4 MiB to search"),
        (
            "('a'):rep(4194304):match('^[' .. ('b'):rep(1000000) .. 'a]*$')",
            "test.luau:1: match: the pattern is longer than 4096 bytes",
        ),
        ("string.find(1, '^[' .. ('b'):rep(1000000) .. ']*')", "test.luau:1: find: the pattern is longer"),
        ("('a'):rep(1e5):gsub('[' .. ('b'):rep(4000) .. ']', '')", "test.luau:1: gsub: a class"),
        ("('a'):rep(1e5):gmatch('%b[][]' .. ('b'):rep(4000) .. ']*')", "test.luau:1: gmatch: a class"),
        ("string.pack('c250000000', '')", "test.luau:1: pack: the text would be longer than 16 MiB"),
        ("string.format('%1q', ('x'):rep(2e6))", "test.luau:1: format: more than 512 KiB to quote"),
        ("string.rep(1111111111, 2e7)", "test.luau:1: rep: the text would be longer than 16 MiB"),
        (
            "local s = ('x'):rep(9e6) string.format('%s%s', s, s)",
            "test.luau:1: format: the text would be longer than 16 MiB",
        ),
        ("os.date(('%c'):rep(1e4))", "test.luau:1: date: the format"),
        ("unpack(table.create(300000, 1))", "test.luau:1: unpack: more than 262,144 values at once"),
        ("table.unpack({}, -1, 300000)", "test.luau:1: unpack: more than 262,144 values at once"),
        ("('x'):rep(1e6):byte(2, -2)", "test.luau:1: byte: more than 262,144 values at once"),
        ("utf8.codepoint(('x'):rep(1e6), '1', 3e5)", "test.luau:1: codepoint: more than 262,144 values"),
        ("local s = ('x'):rep(5e6) s:find(s)", "test.luau:1: find: more than 1 MiB to search for"),
        (
            "table.concat(table.create(3, ('x'):rep(6e6)))",
            "test.luau:1: the text would be longer than 16 MiB",
        ),
        (
            "table.concat(table.create(1000, 1), ('x'):rep(1e5))",
            "test.luau:1: the text would be longer than 16 MiB",
        ),
        ("local t = table.create(5000, 1) t[3000] = {} table.sort(t)", "test.luau:1: attempt to compare"),
        ("table.sort({ {}, {} })", "test.luau:1: attempt to compare table < table"),
        ("('x'):gsub('%', function() end)", "test.luau:1: malformed pattern (ends with '%')"),
        ("('x'):rep(1e5):gsub('x', print, {})", "test.luau:1: invalid argument #4 to 'gsub'"),
        ("utf8.offset(('ä'):rep(1e5), 7e4, 2)", "test.luau:1: initial position is a continuation byte"),
        ("table.create(1e7, 1)", "test.luau:1: create: more than 1,048,576 values at once"),
        ("buffer.create(1e8)", "test.luau:1: create: more than 16 MiB"),
        (
            "table.concat(table.create(5000, {}))",
            "test.luau:1: invalid value (table) at index 1 in table for 'concat'",
        ),
        (
            "table.sort(table.freeze(table.create(5000, 1)))",
            "test.luau:1: attempt to modify a readonly table",
        ),
        (
            "('x'):rep(1e6):split({})",
            "test.luau:1: invalid argument #2 to 'split' (string expected, got table)",
        ),
        ("('x'):rep(1e6):gsub('x', '%')", "invalid use of '%' in replacement string"),
        ("('x'):rep(1e6):gsub('x', true)", "test.luau:1: invalid argument #3 to 'gsub'"),
    ] {
        let error = times_given_way(&lua, source).unwrap_err().to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
}

/// Prints what `docs/natives.md` tells: the longest that each call holds its thread, and how long it takes in all.
/// `cargo test --release -p medusa-script natives::tests::measure -- --ignored --nocapture`
#[test]
#[ignore = "prints a measurement"]
fn measure() {
    for line in include_str!("natives_cases.txt").lines() {
        let (setup, call) = line.split_once("|||").unwrap_or(("", line));
        let lua = lua();
        times_given_way(&lua, setup).unwrap();
        lua.gc_collect().unwrap();
        let thread = lua.create_thread(lua.load(call).into_function().unwrap()).unwrap();
        let (mut longest, mut all, mut failed) = (Duration::ZERO, Duration::ZERO, None);
        while matches!(thread.status(), ThreadStatus::Resumable) && all < Duration::from_secs(5) {
            let begun = thread_cpu_time();
            failed = thread.resume::<()>(()).err().map(|error| error.to_string());
            let took = thread_cpu_time().saturating_sub(begun);
            (longest, all) = (took.max(longest), all + took);
        }
        let failed = failed.unwrap_or_default();
        let failed = failed.lines().next().unwrap_or_default();
        eprintln!("{longest:>10.1?} {all:>10.1?}  {call}  {failed}");
    }
}
