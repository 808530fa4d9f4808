//! At the memory limit: whatever filled the VM, and wherever that was, the process lives and the VM serves again.

use std::rc::Rc;
use std::time::Duration;

use http::Method;
use medusa_http::{Head, Request, RequestBody};
use mlua::{Function, Value};

use crate::budget::{Budget, TaskError};
use crate::chunk::load;
use crate::request::Requests;
use crate::runs::RunNote;
use crate::vm::Vm;

/// Ways to fill a VM, each an endless loop; `keep` holds what they make.
const FILL: [&str; 20] = [
    "while true do keep = { keep } end",
    "while true do keep = { keep, table.create(46, 1) } end",
    "while true do keep = { keep, { 1, 2, 3, { x = 1, y = { keep } } } } end",
    "while true do keep = { keep, coroutine.create(print) } end",
    "while true do
        local co = coroutine.wrap(function() local function d(n) if n > 0 then return 1 + d(n - 1) end coroutine.yield() end d(60) end)
        co() keep = { keep, co }
     end",
    "local i = 0 while true do i += 1 keep = { keep, string.rep('x', 100) .. i } end",
    "local i = 0 while true do i += 1 keep = { keep, string.rep('x', 100000) .. i } end",
    "local t = {} keep = t for i = 1, 1e15 do t[i] = i end",
    "local t = {} keep = t for i = 1, 1e15 do t['k' .. i] = i end",
    "while true do local was = keep keep = function() return was end end",
    "while true do keep = { keep, buffer.create(48) } end",
    "while true do keep = { keep, buffer.create(90000) } end",
    "while true do keep = setmetatable({}, { __index = keep, __call = function() return keep end }) end",
    "local s = string.rep('a,', 20000) while true do keep = { keep, string.split(s, ',') } end",
    "local t = table.create(5000, 1) while true do keep = { keep, table.pack(table.unpack(t)) } end",
    "local t = table.create(300, 'abc') while true do keep = { keep, table.clone(t), table.concat(t, #t .. '') } end",
    "local s = 'x' while true do s = s .. s keep = s end",
    "local i = 0 while true do i += 1 keep = { keep, string.gsub(string.rep('ab', 300), 'a', function() i += 1 return i end) } end",
    "local function deep(n) return 1 + deep(n + 1) end
     while true do local co = coroutine.create(deep) coroutine.resume(co, 1) keep = { keep, co } end",
    "local function more(...) return more(1, ...) end while true do keep = { keep, pcall(more), pcall(error, { keep }) } end",
];

/// Where it is filled: `fill` is one of the above. `wait` never ends.
const SHAPES: [&str; 6] = [
    "fill()",
    "local function deep(n) if n > 0 then return 1 + deep(n - 1) end fill() end deep(50)",
    "pcall(fill) wait()",
    "local function deep(n) if n > 0 then return 1 + deep(n - 1) end pcall(fill) wait() end deep(50)",
    "coroutine.wrap(function() local function deep(n) if n > 0 then return 1 + deep(n - 1) end fill() end deep(50) end)()",
    "nested(function() local function deep(n) if n > 0 then return 1 + deep(n - 1) end fill() end deep(50) end)",
];

const LIMIT: usize = 3 * 1024 * 1024;

fn vm(limit: usize) -> Rc<Vm> {
    Vm::with_limit(limit, |lua, globals| {
        let wait = lua.create_async_function(async |_, ()| {
            std::future::pending::<()>().await;
            Ok(())
        });
        globals.set("wait", wait?)?;
        globals.set("nested", lua.create_async_function(async |_, f: Function| f.call_async::<()>(()).await)?)
    })
    .unwrap()
}

fn script(fill: &str, shape: &str) -> String {
    format!("local keep local function fill() {fill} end {shape}")
}

/// Fills the VM with all of `FILL` in all of `SHAPES`.
async fn fill_in_every_way(limit: usize) {
    let vm = vm(limit);
    let budget = Budget { cpu: Duration::from_secs(20), wall: Duration::from_millis(20) };
    for shape in SHAPES {
        for fill in FILL {
            let function = load(vm.lua(), &script(fill, shape), "@fill.luau", None).unwrap();
            let result = vm.run(RunNote::default, budget, function.call_async::<Value>(())).await;
            assert!(matches!(result, Err(TaskError::Memory(_) | TaskError::Wall(_))), "{fill}: {result:?}");
            drop((result, function));
            // The one under way may have begun while it was filled.
            for _ in 0..2 {
                vm.collect();
                vm.memory().collected().await;
            }
            let used = vm.lua().used_memory();
            assert!(used < limit / 2, "{used} bytes are left of {fill} in {shape}");
            let fine = load(vm.lua(), "return #string.rep('y', 100000)", "@fine.luau", None).unwrap();
            let fine = vm.run(RunNote::default, Budget::STATEMENT, fine.call_async::<usize>(())).await;
            assert_eq!(fine.unwrap(), 100_000, "after {fill} in {shape}");
        }
    }
}

/// The last allocation that fits differs with the limit, and with it the one that does not.
#[test]
fn a_vm_filled_in_any_way_ends_no_process() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        for limit in [LIMIT, LIMIT + 20_000] {
            fill_in_every_way(limit).await;
        }
    });
}

/// The host holds references for each request it is at; where they had no room at the limit, mlua would panic.
#[test]
fn at_the_limit_there_is_room_for_references() {
    const OPEN: usize = 4096;
    let request = || Request {
        head: Head::new(Method::GET, "/".parse().unwrap()).into(),
        body: RequestBody::from_bytes(bytes::Bytes::new()),
    };
    let vm = vm(64 * 1024 * 1024);
    let requests = Requests::new(vm.lua()).unwrap();
    let open: Vec<_> = (0..OPEN).map(|_| requests.open(vm.lua(), request(), None).unwrap()).collect();
    vm.heap().set_limit(vm.lua().used_memory());
    let held: Vec<_> = (0..OPEN * 6).map(|_| vm.lua().create_string("")).collect();
    assert!(held.iter().all(Result::is_ok), "{} of {}", held.iter().flatten().count(), held.len());
    drop(open);
}
