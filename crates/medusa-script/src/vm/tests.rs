//! Scripts that misbehave give way, are stopped, and leave nothing behind.

use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;

use super::*;
use crate::budget::{TaskError, Waited};
use crate::preempt::{TICK, thread_cpu_time};
use crate::runs::RunNote;

fn vm() -> Rc<Vm> {
    Vm::new(|lua, globals| {
        let sleep = lua.create_async_function(|_, ms: u64| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        })?;
        globals.set("sleep", sleep)?;
        // Takes its time before it waits, so that the script is preempted on the way.
        let think_and_sleep = lua.create_async_function(|_, (busy, ms): (u64, u64)| async move {
            let started = Instant::now();
            let sleep = tokio::time::sleep(Duration::from_millis(ms));
            let mut sleep = std::pin::pin!(sleep);
            let first = std::future::poll_fn(|cx| std::task::Poll::Ready(sleep.as_mut().poll(cx))).await;
            while started.elapsed() < Duration::from_millis(busy) {}
            if first.is_pending() {
                sleep.await;
            }
            Ok(ms)
        })?;
        globals.set("think_and_sleep", think_and_sleep)?;
        // Host code that works in pieces.
        let work = lua.create_async_function(|_, ms: u64| async move {
            let end = thread_cpu_time() + Duration::from_millis(ms);
            let mut pieces = 0;
            while thread_cpu_time() < end {
                crate::task::give_way().await?;
                pieces += 1;
            }
            Ok(pieces > 0)
        })?;
        globals.set("work", work)?;
        // Host code that does not.
        let hold = lua.create_function(|_, ms: u64| {
            let end = thread_cpu_time() + Duration::from_millis(ms);
            while thread_cpu_time() < end {}
            Ok(())
        })?;
        globals.set("hold", hold)
    })
    .unwrap()
}

const SHORT: Budget = Budget { cpu: Duration::from_millis(150), wall: Duration::from_secs(20) };

/// Runs `source` while a ticker on the same thread counts how often it gets a turn. Returns the CPU time it took, too.
fn race(source: &str) -> (Result<String, TaskError>, u32, Duration) {
    let runtime = crate::engine::runtime().unwrap();
    let vm = vm();
    let source = source.to_owned();
    runtime.block_on(async move {
        let ticks = Rc::new(std::cell::Cell::new(0));
        let ticker = tokio::task::spawn_local({
            let ticks = Rc::clone(&ticks);
            async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    ticks.set(ticks.get() + 1);
                }
            }
        });
        let function = load(vm.lua(), &source, "@test.luau", None).unwrap();
        let before = thread_cpu_time();
        let result = vm.run(RunNote::default, SHORT, function.call_async::<Value>(())).await;
        let used = thread_cpu_time().saturating_sub(before);
        ticker.abort();
        (result.map(|value| value.to_string().unwrap()), ticks.get(), used)
    })
}

/// Stopped at its budget; others had their turns meanwhile.
fn assert_stopped(source: &str, fair: bool) {
    let (result, ticks, used) = race(source);
    assert!(matches!(result, Err(TaskError::Cpu(..))), "{source}: {result:?}");
    let message = result.unwrap_err().to_string();
    assert!(message.contains("test.luau:"), "no place in: {message}");
    assert!(used < Duration::from_secs(5), "{source}: used {used:?}");
    if fair {
        assert!(ticks >= 20, "{source}: only {ticks} turns for others");
    }
}

#[test]
fn what_a_large_task_leaves_is_freed_though_nothing_else_happens() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        let source = "local t = {} for i = 1, 2000 do t[i] = buffer.create(32 * 1024) end return #t";
        let function = load(vm.lua(), source, "@large.luau", None).unwrap();
        vm.run(RunNote::default, Budget::STATEMENT, function.call_async::<Value>(())).await.unwrap();
        let left = vm.heap().used();
        assert!(left > 32 << 20, "{left} bytes are left of it");
        let deadline = Instant::now() + Duration::from_secs(20);
        while vm.heap().used() > 8 << 20 {
            assert!(Instant::now() < deadline, "{} bytes stay", vm.heap().used());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}

#[test]
fn a_busy_loop_gives_way_and_is_stopped() {
    assert_stopped("while true do end", true);
    assert_stopped("for i = 1, 1e15 do end", true);
    assert_stopped(
        "local function deep(n) if n > 0 then deep(n - 1) end end while true do deep(10000) end",
        true,
    );
    assert_stopped("while true do pcall(error, 'x') end", true);
    assert_stopped("local function endless() endless() end while true do pcall(endless) end", true);
}

#[test]
fn who_holds_a_thread_is_counted() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        for (source, overruns) in
            [("for i = 1, 1e6 do end", 0), ("hold(60)", 1), ("hold(60) for i = 1, 1e6 do end hold(60)", 3)]
        {
            let function = load(vm.lua(), source, "@hold.luau", None).unwrap();
            vm.run(RunNote::default, Budget::STATEMENT, function.call_async::<()>(())).await.unwrap();
            assert_eq!(vm.overruns(), overruns, "{source}");
        }
    });
}

/// It is a C function, in which nothing can give way: it ends long before the budget does.
#[test]
fn a_pattern_that_goes_on_and_on_is_stopped() {
    let source =
        "local ok, error = pcall(string.find, ('a'):rep(50000), '.-.-.-b') assert(not ok) return error";
    let (result, _, _) = race(source);
    let text = result.unwrap();
    assert!(text.contains("this pattern takes more than 10 ms"), "{text}");
    let (result, ticks, _) =
        race("for i = 1, 12000 do local s = ('a'):rep(200):gsub('a', 'b') end return 'done'");
    assert_eq!(result.unwrap(), "done");
    assert!(ticks >= 3, "many that are short: only {ticks} turns for others");
}

#[test]
fn work_of_the_host_gives_way_and_is_stopped() {
    assert_stopped("work(5000)", true);
    assert_stopped("pcall(work, 5000) while true do end", true);
    assert_stopped("coroutine.wrap(function() work(5000) end)()", true);
    // Each level may be preempted on its way to say that the one inside waits.
    assert_stopped(
        "local function nest(n) if n == 0 then work(5000) end coroutine.wrap(nest)(n - 1) end nest(30)",
        true,
    );
    let (result, ticks, _) = race("return work(60)");
    assert_eq!(result.unwrap(), "true");
    assert!(ticks >= 10, "only {ticks} turns for others");
}

/// The budget is CPU time as the kernel counts it, not so many slices.
#[test]
fn a_budget_is_what_it_says() {
    let before = thread_cpu_time();
    assert!(race("while true do end").0.is_err());
    let used = thread_cpu_time().saturating_sub(before);
    assert!(used > SHORT.cpu.mul_f64(0.8), "{used:?}");
    assert!(used < SHORT.cpu.mul_f64(1.5), "{used:?}");
}

#[test]
fn a_loop_in_pcall_is_stopped() {
    assert_stopped("while true do pcall(function() while true do end end) end", true);
    assert_stopped("pcall(pcall, pcall, function() while true do end end) while true do end", true);
}

#[test]
fn a_loop_in_a_coroutine_gives_way_and_is_stopped() {
    assert_stopped("coroutine.wrap(function() while true do end end)()", true);
    assert_stopped(
        "local co = coroutine.create(function() while true do end end) while true do coroutine.resume(co) end",
        true,
    );
    assert_stopped(
        "local function nest(n) if n == 0 then while true do end end coroutine.wrap(nest)(n - 1) end nest(5)",
        true,
    );
}

/// A preemption may fall anywhere, also between the levels of nested coroutines.
#[test]
fn preemption_between_coroutines_is_passed_on_too() {
    for _ in 0..20 {
        let (result, _, _) = race(
            "local function count(n) return coroutine.wrap(function() for i = 1, n do coroutine.yield(i) end end) end
             local function through(f) return coroutine.wrap(function() for i in f do coroutine.yield(i) end end) end
             local sum = 0
             for i in through(through(through(count(20000)))) do sum += i end
             return sum",
        );
        assert_eq!(result.unwrap(), "200010000");
    }
}

#[test]
fn where_it_cannot_give_way_it_is_still_stopped() {
    assert_stopped("table.sort({ 3, 1, 2 }, function(a, b) while true do end end)", false);
    assert_stopped("string.gsub('aaaa', 'a', function() while true do end end)", false);
    assert_stopped(
        "local s = coroutine.wrap(function() table.sort({ 3, 1, 2 }, function() while true do end end) end) s()",
        false,
    );
}

#[test]
fn what_cannot_give_way_is_stopped_long_before_its_budget() {
    let ran = |body: &str| {
        race(&format!(
            "local function busy(ms) local from = os.clock() while os.clock() - from < ms / 1000 do end return ms end
             local t = setmetatable({{}}, {{ __index = function(_, ms) return busy(ms) end }})
             {body}"
        ))
    };
    let (result, ..) = ran("return t[800]");
    assert!(matches!(result, Err(TaskError::Cpu(..))), "{result:?}");
    let error = result.unwrap_err().to_string();
    assert!(error.contains("where it cannot give way"), "{error}");
    let (result, ..) = ran("local sum = 0 for _ = 1, 8 do sum += t[10] end return sum");
    assert_eq!(result.unwrap(), "80", "each by itself is short");
    let (result, ..) = ran("pcall(function() return t[800] end) return busy(40)");
    assert_eq!(result.unwrap(), "40", "it can give way again");
}

#[test]
fn wherever_it_cannot_give_way_it_is_stopped_soon() {
    let meta = |event: &str, body: &str| {
        format!("local t = setmetatable({{}}, {{ {event} = function() while true do end end }}) {body}")
    };
    for source in [
        meta("__index", "local _ = t.x"),
        meta("__newindex", "t.x = 1"),
        meta("__eq", "local _ = t == setmetatable({}, getmetatable(t))"),
        meta("__lt", "local _ = t < t"),
        meta("__le", "local _ = t <= t"),
        meta("__add", "local _ = t + 1"),
        meta("__unm", "local _ = -t"),
        meta("__concat", "local _ = t .. 'x'"),
        meta("__len", "local _ = #t"),
        meta("__iter", "for _ in t do end"),
        meta("__tostring", "tostring(t)"),
        meta("__tostring", "print(t)"),
        meta("__tostring", "error(t)"),
    ] {
        let (result, ..) = race(&source);
        let Err(TaskError::Cpu(limit, error)) = result else { panic!("{source}: {result:?}") };
        assert!(
            limit < SHORT.cpu && error.to_string().contains("where it cannot give way"),
            "{source}: {error}"
        );
    }
    for handler in
        ["while true do end", "return setmetatable({}, { __index = function() while true do end end }).x"]
    {
        let (result, ..) = race(&format!("return (xpcall(error, function() {handler} end))"));
        assert_eq!(result.unwrap(), "false", "the script goes on without what its handler would have said");
    }
    // These can.
    assert_stopped("table.foreach({ 1 }, function() while true do end end)", true);
    assert_stopped("setmetatable({}, { __call = function() while true do end end })()", true);
}

#[test]
fn preemption_does_not_disturb_generators() {
    let (result, _, _) = race(
        "local function numbers(n) return coroutine.wrap(function()
            for i = 1, n do for _ = 1, 60000 do end coroutine.yield(i) end
         end) end
         local sum, count = 0, 0
         for i in numbers(100) do sum += i count += 1 end
         return `{sum} {count}`",
    );
    assert_eq!(result.unwrap(), "5050 100");
}

#[test]
fn an_empty_yield_is_not_mistaken_for_a_preemption() {
    let (result, _, _) = race(
        "local steps = 0
         local co = coroutine.create(function() for i = 1, 50 do for _ = 1, 60000 do end coroutine.yield() end end)
         while coroutine.status(co) ~= 'dead' do coroutine.resume(co) steps += 1 end
         return steps",
    );
    assert_eq!(result.unwrap(), "51");
}

#[test]
fn waiting_works_inside_script_made_coroutines() {
    let (result, ticks, _) = race(
        "local inner = coroutine.wrap(function() local a = sleep(20) coroutine.yield(a) return sleep(10) end)
         return inner() + inner()",
    );
    assert_eq!(result.unwrap(), "30");
    assert!(ticks > 5);
}

/// Between the look at what it waits for and its saying that it waits, a script may be preempted, and what it waits for
/// may come before its next turn.
#[test]
fn what_a_preempted_script_waits_for_is_not_missed() {
    let started = Instant::now();
    let (result, _, _) =
        race("local n = 0 for _ = 1, 10 do n += think_and_sleep(4, 1) + think_and_sleep(4, 10) end return n");
    assert_eq!(result.unwrap(), "110");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn a_wait_that_is_excused_costs_no_time() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        let budget = Budget { cpu: SHORT.cpu, wall: Duration::from_millis(50) };
        let run = async |source: &str, waited: &dyn Fn() -> Waited| {
            let function = load(vm.lua(), source, "@wait.luau", None).unwrap();
            vm.run_excusing(RunNote::default, budget, waited, function.call_async::<Value>(())).await
        };
        let result = run("sleep(5000)", &Waited::default).await;
        assert!(matches!(result, Err(TaskError::Wall(_))), "{result:?}");
        let started = Instant::now();
        let all = || Waited { total: started.elapsed(), now: false };
        assert!(run("sleep(200)", &all).await.is_ok());
        // Half of it was excused: that does not keep it alive for ever.
        let started = Instant::now();
        let half = || Waited { total: started.elapsed() / 2, now: false };
        assert!(run("sleep(5000)", &half).await.is_err());
    });
}

#[test]
fn waiting_where_it_cannot_is_an_error_that_says_so() {
    let (result, _, _) = race(
        "local t = setmetatable({}, { __index = function() return coroutine.wrap(function() return sleep(1) end)() end })
         return t.x",
    );
    let message = result.unwrap_err().to_string();
    assert!(message.contains("cannot wait here"), "{message}");
}

#[test]
fn a_memory_hog_meets_the_limit_and_the_vm_lives_on() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        let budget = Budget { cpu: Duration::from_secs(20), wall: Duration::from_mins(1) };
        let hog = "local t = {} for i = 1, 1e9 do t[i] = string.rep('x', 1e6) .. i end";
        let hog = load(vm.lua(), hog, "@hog.luau", None).unwrap();
        let result = vm.run(RunNote::default, budget, hog.call_async::<Value>(())).await;
        assert!(matches!(result, Err(TaskError::Memory(_))), "{result:?}");
        drop(result);
        vm.memory.collected().await;
        let fine = load(vm.lua(), "return #string.rep('y', 1e6)", "@fine.luau", None).unwrap();
        assert_eq!(vm.run(RunNote::default, budget, fine.call_async::<usize>(())).await.unwrap(), 1_000_000);
        assert!(vm.lua().used_memory() < 16 * 1024 * 1024);
    });
}

#[test]
fn a_large_live_heap_is_not_collected_after_every_task() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        let run = async |source: &str| {
            let function = load(vm.lua(), source, "@heap.luau", None).unwrap();
            vm.run(RunNote::default, Budget::STATEMENT, function.call_async::<Value>(())).await.unwrap();
        };
        run("keep = {} for i = 1, 150 do keep[i] = string.rep('x', 1e6) .. i end").await;
        vm.memory.collected().await;
        assert!(vm.lua().used_memory() > 150_000_000);
        assert!(!vm.memory.wants_collection(vm.heap), "it would be collected once more");
        run("keep.more = 1").await;
        assert!(vm.memory.begin_collecting(), "it is collected once more");
        vm.memory.end_collecting();
        run("keep = nil for i = 1, 80 do local s = string.rep('y', 1e6) .. i end").await;
        assert!(vm.lua().used_memory() < MEMORY_LIMIT, "garbage is collected before the limit");
    });
}

/// It is preempted after it has asked what it waits for and before it says that it waits; the wake comes meanwhile.
#[test]
fn a_wake_that_comes_in_the_slow_lane_is_not_lost() {
    let runtime = crate::engine::runtime().unwrap();
    runtime.block_on(async {
        let vm = vm();
        let wait = vm.lua().create_async_function(|_, (): ()| {
            let mut asked = false;
            std::future::poll_fn(move |cx| {
                if std::mem::replace(&mut asked, true) {
                    return std::task::Poll::Ready(Ok("woken"));
                }
                let slice = Instant::now();
                while slice.elapsed() < TICK * 10 {}
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            })
        });
        let source = "local wait = ... local function inner() return wait() end
            assert(inner() == 'woken') return coroutine.wrap(inner)()";
        let function = load(vm.lua(), source, "@wait.luau", None).unwrap();
        // Nothing but the wake ends it within the time of this test.
        let patient = Budget { wall: Duration::from_hours(1), ..SHORT };
        let running = vm.run(RunNote::default, patient, function.call_async::<String>(wait.unwrap()));
        let result = tokio::time::timeout(Duration::from_secs(20), running).await;
        assert_eq!(result.expect("woken").unwrap(), "woken");
    });
}

#[test]
fn the_sandbox_has_no_way_out() {
    let (result, _, _) = race(
        "local found = {}
         for _, name in { 'io', 'loadstring', 'load', 'dofile', 'getfenv', 'setfenv', 'require', 'package', 'newproxy' } do
             if (_G :: any)[name] ~= nil then table.insert(found, name) end
         end
         for _, name in { 'execute', 'exit', 'getenv', 'remove', 'rename', 'tmpname' } do
             if (os :: any)[name] ~= nil then table.insert(found, 'os.' .. name) end
         end
         table.insert(found, tostring(pcall(function() string.rep = nil end)))
         table.insert(found, tostring(pcall(function() collectgarbage('stop') end)))
         return table.concat(found, ' ')",
    );
    assert_eq!(result.unwrap(), "require false false");
}

#[test]
fn bytecode_is_refused() {
    let lua = Lua::new();
    let bytecode = mlua::chunk::Compiler::new().compile("return 1").unwrap();
    let loaded = lua.load(bytecode).set_mode(ChunkMode::Text).into_function();
    assert!(loaded.is_err());
}
