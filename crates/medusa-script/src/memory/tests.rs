//! Who is stopped when a VM fills up, and what everyone else notices of it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::Value;
use tokio::task::{JoinHandle, spawn_local, yield_now};

use crate::budget::{Budget, TaskError};
use crate::chunk::load;
use crate::runs::RunNote;
use crate::vm::Vm;

const MIB: usize = 1024 * 1024;

const BUDGET: Budget = Budget { cpu: Duration::from_secs(20), wall: Duration::from_mins(1) };

/// A VM in which `wait` never ends, and `sleep` does.
fn vm(limit: usize) -> Rc<Vm> {
    Vm::with_limit(limit, |lua, globals| {
        let wait = lua.create_async_function(async |_, ()| {
            std::future::pending::<()>().await;
            Ok(())
        });
        globals.set("wait", wait?)?;
        let sleep = lua.create_async_function(async |_, ()| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        });
        globals.set("sleep", sleep?)
    })
    .unwrap()
}

/// Holds `kib` in small tables, then waits.
fn holding(kib: usize) -> String {
    // 48 bytes of a table, 16 of its place in the array.
    format!(
        "local held = table.create({0}) for i = 1, {0} do held[i] = {{}} end wait() return held",
        kib * 16
    )
}

async fn run(vm: &Rc<Vm>, source: &str) -> Result<(), TaskError> {
    let function = load(vm.lua(), source, "@task.luau", None).unwrap();
    vm.run(RunNote::default, BUDGET, function.call_async::<Value>(())).await.map(|_value| ())
}

fn start(vm: &Rc<Vm>, source: String) -> JoinHandle<Result<(), TaskError>> {
    let vm = Rc::clone(vm);
    spawn_local(async move { run(&vm, &source).await })
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    crate::engine::runtime().unwrap().block_on(test);
}

/// Whether a task was stopped for what it held.
async fn was_stopped(task: JoinHandle<Result<(), TaskError>>) -> bool {
    if !task.is_finished() {
        task.abort();
        return false;
    }
    let error = task.await.unwrap().unwrap_err();
    assert!(matches!(&error, TaskError::Memory(_)), "{error}");
    assert!(error.to_string().contains("it held the most"), "{error}");
    true
}

/// Adds to the VM until `full`, a little at a time, each a task of its own. None of them fails.
async fn fill_until(vm: &Rc<Vm>, full: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if full() {
            return;
        }
        let add = "local t = table.create(600) for i = 1, 600 do t[i] = {} end keep = { keep, t }";
        run(vm, add).await.unwrap();
        yield_now().await;
    }
    panic!("the VM is never full: {} bytes", vm.lua().used_memory());
}

#[test]
fn the_largest_is_stopped_and_not_who_allocates_next() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        // So that the coroutines in the pool have been others' before.
        for _ in 0..300 {
            run(&vm, "local t = {} for i = 1, 100 do t[i] = {} end").await.unwrap();
        }
        let small: Vec<_> = (0..20).map(|_| start(&vm, holding(64))).collect();
        let large = start(&vm, holding(10 * 1024));
        let medium = start(&vm, holding(4 * 1024));
        fill_until(&vm, || large.is_finished()).await;
        assert!(was_stopped(large).await);
        assert!(!was_stopped(medium).await, "the second largest went, too");
        for small in small {
            assert!(!was_stopped(small).await);
        }
    });
}

#[test]
fn whom_a_script_resumes_is_charged_to_it() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        let inner = holding(8 * 1024);
        let large = start(&vm, format!("coroutine.wrap(function() {inner} end)()"));
        let other = start(&vm, holding(5 * 1024));
        fill_until(&vm, || large.is_finished() || other.is_finished()).await;
        assert!(was_stopped(large).await);
        assert!(!was_stopped(other).await);
    });
}

/// What a task held that is over is garbage, and nobody else's fault.
#[test]
fn the_end_of_a_hog_stops_nobody() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        let waiting: Vec<_> = (0..10).map(|_| start(&vm, holding(256))).collect();
        yield_now().await;
        for _ in 0..5 {
            let hog = run(&vm, "local all while true do all = { all, buffer.create(100000) } end").await;
            assert!(matches!(hog, Err(TaskError::Memory(_))), "{hog:?}");
            match run(&vm, "return { 'ok' }").await {
                Ok(()) | Err(TaskError::Crowded(_)) => vm.memory().collected().await,
                Err(error) => panic!("{error}"),
            }
            run(&vm, "return { 'ok' }").await.unwrap();
        }
        for task in waiting {
            assert!(!was_stopped(task).await);
        }
    });
}

/// More of them than fit come at once: those that fit stay, and whoever is small never notices.
#[test]
fn others_are_served_while_a_crowd_fills_the_vm() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        let crowd: Vec<_> = (0..40).map(|_| start(&vm, holding(2 * 1024))).collect();
        for _ in 0..2_000 {
            match run(&vm, "return { 'ok' }").await {
                Ok(()) => {}
                // As a request, it would be tried again then.
                Err(TaskError::Crowded(_)) => vm.memory().collected().await,
                Err(error) => panic!("{error}"),
            }
            yield_now().await;
        }
        let mut left = 0;
        for task in crowd {
            left += usize::from(!task.is_finished());
            task.abort();
        }
        assert!((5..=11).contains(&left), "{left} of 40 are left");
        assert!(vm.lua().used_memory() < 24 * MIB);
    });
}

/// The task before it in the same category has left garbage, which is collected meanwhile.
#[test]
fn what_was_there_before_a_task_is_not_taken_off_once_it_is_collected() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        let before = start(&vm, holding(9 * 1024));
        while vm.lua().used_memory() < 9 * MIB {
            yield_now().await;
        }
        before.abort();
        let _ = before.await;
        let large = start(&vm, format!("sleep() {}", holding(9 * 1024)));
        yield_now().await;
        vm.collect();
        vm.memory().collected().await;
        assert!(vm.lua().used_memory() < 4 * MIB, "{}", vm.lua().used_memory());
        while vm.lua().used_memory() < 9 * MIB {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let other = start(&vm, holding(5 * 1024));
        fill_until(&vm, || large.is_finished() || other.is_finished()).await;
        assert!(was_stopped(large).await);
        assert!(!was_stopped(other).await);
    });
}

/// Little of each, and nobody allocates any more.
#[test]
fn what_many_have_left_is_collected_in_a_while() {
    on_a_runtime(async {
        let vm = vm(64 * MIB);
        let many: Vec<_> = (0..40).map(|_| start(&vm, holding(512))).collect();
        while vm.lua().used_memory() < 20 * MIB {
            yield_now().await;
        }
        for one in many {
            one.abort();
        }
        let begun = Instant::now();
        while vm.lua().used_memory() > 4 * MIB {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", vm.lua().used_memory());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// With more tasks than categories of Luau's.
#[test]
fn a_crowd_of_many_small_ones_makes_room_too() {
    on_a_runtime(async {
        let vm = vm(24 * MIB);
        let crowd: Vec<_> = (0..600).map(|_| start(&vm, holding(24))).collect();
        let large = start(&vm, holding(3 * 1024));
        fill_until(&vm, || large.is_finished() || crowd.iter().any(JoinHandle::is_finished)).await;
        for _ in 0..2_000 {
            vm.memory().collected().await;
            yield_now().await;
        }
        assert!(vm.lua().used_memory() < 23 * MIB, "{}", vm.lua().used_memory());
        run(&vm, "return #string.rep('x', 300000)").await.unwrap();
    });
}

#[test]
fn what_belongs_to_no_task_stops_none() {
    on_a_runtime(async {
        let vm = vm(8 * MIB);
        let small = start(&vm, "wait()".to_owned());
        yield_now().await;
        fill_until(&vm, || vm.lua().used_memory() > 7 * MIB + MIB / 4).await;
        vm.collect();
        vm.memory().collected().await;
        assert!(!small.is_finished());
        assert!(vm.memory().refuses(vm.heap()), "{}", vm.lua().used_memory());
        run(&vm, "keep = nil").await.unwrap();
        vm.collect();
        vm.memory().collected().await;
        assert!(!vm.memory().refuses(vm.heap()), "{}", vm.lua().used_memory());
        small.abort();
    });
}

#[test]
fn a_collection_gives_way_to_others() {
    on_a_runtime(async {
        let vm = vm(256 * MIB);
        let held = start(&vm, holding(32 * 1024));
        while vm.lua().used_memory() < 32 * MIB {
            yield_now().await;
        }
        let turns = Rc::new(Cell::new(0));
        let ticker = spawn_local({
            let turns = Rc::clone(&turns);
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    yield_now().await;
                }
            }
        });
        let before = turns.get();
        vm.collect();
        vm.memory().collected().await;
        assert!(turns.get() - before >= 16, "{} turns", turns.get() - before);
        ticker.abort();
        held.abort();
    });
}

/// Handing a request over, and an answer back, goes on where scripts must not.
#[test]
fn the_host_has_a_reserve_at_the_limit() {
    on_a_runtime(async {
        let vm = vm(4 * MIB);
        let full = run(&vm, "while true do keep = { keep } end").await;
        assert!(matches!(full, Err(TaskError::Memory(_) | TaskError::Crowded(_))), "{full:?}");
        let made: Vec<_> = (0..2_000).map(|_| vm.lua().create_table_with_capacity(10, 0).unwrap()).collect();
        assert!(vm.lua().used_memory() > 4 * MIB);
        let refused = run(&vm, "return { string.rep('x', 5000) }").await;
        assert!(matches!(refused, Err(TaskError::Crowded(_))), "{refused:?}");
        // Far more handles than there are slots yet.
        let handles: Vec<_> = (0..60_000).map(|at| made[at % made.len()].clone()).collect();
        assert_eq!(handles.len(), 60_000);
    });
}
