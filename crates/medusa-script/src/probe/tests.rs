//! Probes see what there is, stop at their limits, and leave nothing behind.

use std::rc::Rc;

use mlua::{Function, MultiValue, Value};

use super::*;
use crate::budget::{Budget, TaskError};
use crate::chunk::load;
use crate::preempt::thread_cpu_time;
use crate::print::shown_value;
use crate::runs::RunNote;
use crate::vm::Vm;

/// A file that was loaded into a VM.
struct Loaded {
    vm: Rc<Vm>,
    chunks: ScriptFiles,
    chunk: Function,
}

fn loaded(source: &str) -> Loaded {
    let vm = Vm::new(|lua, globals| {
        let sleep = lua.create_async_function(|_, ms: u64| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(ms)
        })?;
        globals.set("sleep", sleep)
    });
    let (vm, chunks) = (vm.unwrap(), ScriptFiles::default());
    let chunk = load(vm.lua(), source, "@a.luau", None).unwrap();
    chunks.add("a.luau", &chunk, source.into());
    Loaded { vm, chunks, chunk }
}

impl Loaded {
    fn probe(&self, line: u32, max: u64) -> Probe {
        let (probe, found) = self.try_probe(line, max);
        assert_eq!(found.lines, [line].into());
        probe
    }

    fn try_probe(&self, line: u32, max: u64) -> (Probe, ProbedLines) {
        let line = Line { file: "a.luau".to_owned(), number: line };
        let probe = Probe::begin(line, max, Duration::from_mins(1)).unwrap();
        let found = set(self.vm.lua(), &self.chunks, None, probe.point()).unwrap();
        (probe, found)
    }

    /// Runs the file, and what it returns if that is a function.
    fn run(&self) -> Result<String, TaskError> {
        let budget = Budget { cpu: Duration::from_millis(300), wall: Duration::from_secs(20) };
        crate::engine::runtime().unwrap().block_on(async {
            let value = self.vm.run(RunNote::default, budget, self.chunk.call_async::<Value>(())).await?;
            let Value::Function(function) = value else { return Ok(value.to_string().unwrap()) };
            let values = self
                .vm
                .run(RunNote::default, budget, function.call_async::<MultiValue>((1, "two", true)))
                .await?;
            Ok(values.iter().map(|value| value.to_string().unwrap()).collect::<Vec<_>>().join(" "))
        })
    }

    fn shown(&self, hit: &Hit) -> String {
        shown_value(&Value::Table(hit.locals.to_table(self.vm.lua(), true).unwrap()))
    }

    /// All that is in the queue.
    fn hits(&self, probe: &mut Probe) -> Vec<String> {
        std::iter::from_fn(|| probe.hits.try_recv().ok()).map(|hit| self.shown(&hit)).collect()
    }
}

/// What is seen in the line of a file that has the mark `-- HERE`.
fn seen(source: &str) -> Vec<String> {
    let line = source.lines().position(|line| line.contains("-- HERE")).unwrap() + 1;
    let loaded = loaded(source);
    let mut probe = loaded.probe(line as u32, 10);
    loaded.run().unwrap();
    loaded.hits(&mut probe)
}

#[test]
fn locals_arguments_and_what_is_around_are_seen() {
    assert_eq!(seen("local a = 1\nlocal b = 'x'\nreturn a -- HERE"), ["{ a = 1, b = \"x\" }"]);
    let function = "local limit = 3
        local names = { 'a' }
        return function(n, text, ...)
            local none
            local sum = n + limit
            local same = names -- HERE
            local later = 1
            return sum + later
        end";
    assert_eq!(
        seen(function).concat().replace("\n   ", "").replace('\n', " "),
        "{ [\"...\"] = { true }, limit = 3, n = 1, names = { \"a\" }, none = nil, sum = 4, text = \"two\" }"
    );
    // Of two of the same name, both.
    assert_eq!(seen("local a = 1\ndo\nlocal a = 2\nreturn a -- HERE\nend"), ["{ a = 2, [\"a (2)\"] = 1 }"]);
}

#[test]
fn every_function_that_has_the_line_is_met_wherever_it_runs() {
    let nested = "return function() local f = function(x) return function() return x end end -- HERE
        return f(5)() end";
    assert_eq!(seen(nested), ["{}", "{}", "{ x = 5 }", "{ x = 5 }"]);
    let coroutine = "local co = coroutine.wrap(function(a)
            local b = coroutine.yield(a)
            return a + b -- HERE
        end)
        co(1)
        return co(2)";
    assert_eq!(seen(coroutine), ["{ a = 1, b = 2 }"]);
    let waits = "return function(n)
            local ms = sleep(n)
            return ms -- HERE
        end";
    assert_eq!(seen(waits), ["{ ms = 1, n = 1 }"]);
    let caught = "local ok = pcall(function() local x = 1
            error('no') -- HERE
        end)
        return ok";
    assert_eq!(seen(caught), ["{ x = 1 }"]);
}

#[test]
fn a_loop_is_met_until_the_probe_is_over() {
    let loaded = loaded("local sum = 0\nfor i = 1, 1000 do\nsum += i\nend\nreturn sum");
    let mut probe = loaded.probe(3, 3);
    assert_eq!(loaded.run().unwrap(), "500500");
    assert_eq!(loaded.hits(&mut probe), ["{ i = 1, sum = 0 }", "{ i = 2, sum = 1 }", "{ i = 3, sum = 3 }"]);
    assert_eq!(probe.missed(), 0, "it was removed, and not only full");
    drop(probe);
    let mut probe = loaded.probe(3, 1000);
    loaded.run().unwrap();
    assert_eq!((loaded.hits(&mut probe).len(), probe.missed()), (QUEUED, 1000 - QUEUED as u64));
    remove(probe.point());
    loaded.run().unwrap();
    assert_eq!(probe.missed(), 1000 - QUEUED as u64);
}

#[test]
fn a_probe_that_is_gone_or_too_old_is_removed_where_it_is_met() {
    let loaded = loaded("local x = 1\nreturn x");
    drop(loaded.probe(2, 10));
    assert_eq!(probes(), 0);
    let line = Line { file: "a.luau".to_owned(), number: 2 };
    let mut late = Probe::begin(line, 10, Duration::ZERO).unwrap();
    set(loaded.vm.lua(), &loaded.chunks, None, late.point()).unwrap();
    loaded.run().unwrap();
    assert_eq!(loaded.hits(&mut late).len(), 0);
}

#[test]
fn two_may_be_at_a_line_and_one_stays() {
    let loaded = loaded("local x = 1\nreturn x");
    let (mut one, mut other) = (loaded.probe(2, 10), loaded.probe(2, 10));
    loaded.run().unwrap();
    assert_eq!((loaded.hits(&mut one).len(), loaded.hits(&mut other).len()), (1, 1));
    remove(one.point());
    loaded.run().unwrap();
    assert_eq!((loaded.hits(&mut one).len(), loaded.hits(&mut other).len()), (0, 1));
    let line = || Line { file: "a.luau".to_owned(), number: 1 };
    let more: Vec<_> = (0..5).map_while(|_| Probe::begin(line(), 1, Duration::from_secs(1))).collect();
    assert_eq!(more.len(), MOST_PROBES - 2);
}

#[test]
fn removed_it_costs_nothing() {
    let loaded = loaded("local x = 0\nfor i = 1, 1e6 do\nx += i\nend\nreturn x");
    let fastest = || {
        let times = (0..10).map(|_| {
            let before = thread_cpu_time();
            loaded.run().unwrap();
            thread_cpu_time().saturating_sub(before)
        });
        times.min().unwrap()
    };
    let before = fastest();
    let probe = loaded.probe(3, 1);
    fastest();
    let met = fastest();
    remove(probe.point());
    let after = fastest();
    assert!(met < before * 2 && after < before * 2, "{before:?}, then {met:?}, then {after:?}");
}

#[test]
fn budgets_hold_in_a_probed_line() {
    let loaded = loaded("local x = 0\nwhile true do\nx += 1\nend");
    let mut probe = loaded.probe(3, 1000);
    let stopped = loaded.run();
    assert!(matches!(&stopped, Err(TaskError::Cpu(..))), "{stopped:?}");
    assert_eq!(loaded.hits(&mut probe).len(), QUEUED);
    assert!(probe.missed() > 1000);
}

#[test]
fn a_line_without_code_is_the_next_that_has_some() {
    let loaded = loaded("local x = 1\n\n-- nothing\n\nreturn x\n\n");
    assert_eq!(loaded.try_probe(2, 1).1.lines, [5].into());
    let (_, beyond) = loaded.try_probe(6, 1);
    assert_eq!((beyond.lines.len(), beyond.files), (0, 1));
    let line = Line { file: "b.luau".to_owned(), number: 1 };
    let other = Probe::begin(line, 1, Duration::from_secs(1)).unwrap();
    let none = set(loaded.vm.lua(), &loaded.chunks, None, other.point()).unwrap();
    assert_eq!((none.files, none.loaded), (0, ["a.luau".to_owned()].into()));
}

/// Luau looks at the instruction again with which a loop goes on whose values are waited for.
#[test]
fn a_loop_whose_values_are_waited_for_goes_on() {
    let source = "local function values()
            local n = 0
            return function() n += 1 return if n < 4 then sleep(1) and n else nil end
        end
        local sum = 0
        for n in values() do
            sum += n
        end
        return sum";
    for line in 5..=9 {
        let loaded = loaded(source);
        let (mut probe, _) = loaded.try_probe(line, 100);
        assert_eq!(loaded.run().unwrap(), "6", "line {line}");
        assert!(!loaded.hits(&mut probe).is_empty(), "line {line}");
    }
    let split = source.replace("for n in values", "for n in\nvalues");
    let after = |text: &str| format!("{text}\n{split}");
    for split in [
        split.clone(),
        after("local text = 'one \\z\n two'"),
        after("local brace = `{(\"{\")}x`"),
        source.replace("for n in values", "for n: typeof({ a = 1 }) in\nvalues"),
        source.replace("for n in values()", "for n in -- do\n(function() return values() end)()"),
    ] {
        let mut refused = 0;
        for line in 1..=split.lines().count() {
            let loaded = loaded(&split);
            let (_probe, found) = loaded.try_probe(line as u32, 100);
            refused += usize::from(found.is_split_loop);
            assert_eq!(loaded.run().unwrap(), "6", "line {line} of {split}");
        }
        assert!(refused > 0, "{split}");
    }
}

#[test]
fn whatever_there_is_the_copy_ends() {
    let large = "local long = string.rep('x', 1e6)
        local big = {} for i = 1, 1e5 do big[i] = { i } end
        local own = {} own.own = own
        local deep = { { { { { 1 } } } } }
        local texts = table.create(100, string.rep('y', 1000))
        local after = { 'seen' }
        return 1 -- HERE";
    let shown = seen(large).concat();
    assert!(shown.len() < 40_000, "{}", shown.len());
    let parts =
        ["after = { \"seen\" }", "x…", "[\"…\"] = more", "deep = { { { {…} } } }", "a string of 1000 bytes"];
    for part in parts {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let empty = "local t = {} for i = 1, 1e6 do t[i] = i end for i = 1, 1e6 do t[i] = nil end
        return 1 -- HERE";
    assert_eq!(seen(empty), ["{ t = {} }"]);
    let many: Vec<_> = (0..80).map(|n| format!("local n{n:02} = {n}")).collect();
    let shown = seen(&format!("{}\nreturn n00 -- HERE", many.join("\n"))).concat();
    assert!(
        shown.contains("n49 = 49") && !shown.contains("n50") && shown.contains("[\"…\"] = more"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_copied_says_what_it_is() {
    let source = "local function f() end
        local meta = setmetatable({ a = 1 }, { __metatable = 'thing', __index = error, __tostring = error })
        local co = coroutine.create(f)
        local data = buffer.create(1)
        local place = { [f] = print, [meta] = 1, [false] = 2 }
        return 1 -- HERE";
    let shown = seen(source).concat();
    for part in
        ["f = function a.luau:1", "meta = thing { a = 1 }", "co = thread", "data = buffer", "[false] = 2"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// With their names, constants count among the 200 locals of a function: a file with more of them goes without.
#[test]
fn a_file_of_many_constants_is_loaded_without_names() {
    let many: Vec<_> = (0..250).map(|n| format!("local N{n} = {n}")).collect();
    let loaded = loaded(&format!("{}\nreturn N249", many.join("\n")));
    let mut probe = loaded.probe(251, 1);
    assert_eq!(loaded.run().unwrap(), "249");
    assert_eq!(loaded.hits(&mut probe), ["{}"]);
}
