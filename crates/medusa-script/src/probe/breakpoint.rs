//! Breakpoints of Luau's: they are set in a function and all within it, and call back when a script comes to one.
//!
//! Luau puts an instruction of its own in the place of the first of a line, in each function that has code there, and
//! keeps what was there. Removed, the code is as it was; a byte for each instruction of the function stays with it.
//!
//! One instruction must not be replaced: what a loop over values goes on with. If a function that gives the values
//! waits, Luau looks at it again when that goes on. It is the first of a line only in a loop whose values begin in
//! another line ([`is_split_loop`](super::bytecode::is_split_loop)), and there no probe is set.
#![expect(
    unsafe_code,
    reason = "breakpoints, which mlua does not wrap, and a look at the frame that comes to one"
)]

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use mlua::{Function, Lua, WeakLua, ffi};

use super::frame::Frame;
use super::{Hit, Point};
use crate::request::Requests;

/// A breakpoint that is set.
struct Breakpoint {
    point: Arc<Point>,
    lua: WeakLua,
    /// The VM's main thread, by which it is known.
    vm: *mut ffi::lua_State,
    /// The whole file.
    chunk: Function,
    /// Where that is: it stays there while it is held.
    address: *const c_void,
    line: u32,
    requests: Option<Requests>,
}

impl Breakpoint {
    fn is_in(&self, address: *const c_void, line: u32) -> bool {
        self.address == address && self.line == line
    }

    fn is_at(&self, vm: *mut ffi::lua_State, file: &[u8], line: u32) -> bool {
        self.vm == vm && self.line == line && self.point.line.file.as_bytes() == file
    }
}

thread_local! {
    /// Those in the VMs of this thread.
    static BREAKPOINTS: RefCell<Vec<Breakpoint>> = const { RefCell::new(Vec::new()) };
    /// The thread of a VM that has come to one just now.
    static MET: Cell<*mut ffi::lua_State> = const { Cell::new(ptr::null_mut()) };
    /// Whether one went on for that the last time it was asked.
    static WENT_ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether `state`, which is to give way, goes on for once: it has come to a breakpoint just now and is still to run the instruction
/// in its place, so that it would come to the breakpoint once more. Never twice in a row: a loop may do nothing else.
pub(crate) fn goes_on(state: *mut ffi::lua_State) -> bool {
    let met = MET.replace(ptr::null_mut());
    let goes_on = met == state && !WENT_ON.get();
    WENT_ON.set(goes_on);
    goes_on
}

/// The line at or below `line` in which the file has code, if it has any.
pub(super) fn line(lua: &Lua, chunk: &Function, line: u32) -> mlua::Result<Option<u32>> {
    let mut at = -1;
    // SAFETY: the argument is a function of Luau code, and errors of Luau's are caught by mlua. This removes a
    // breakpoint that there may not be, for what that has Luau allocate: the copies of the code in which it is
    // replaced. Neither setting nor removing one in this line allocates from then on.
    unsafe {
        lua.exec_raw::<()>(chunk, |state| {
            at = ffi::lua_breakpoint(state, -1, line as c_int, 0);
            ffi::lua_settop(state, 0);
        })?;
    }
    let at = u32::try_from(at).ok();
    if let Some(at) = at {
        let address = chunk.to_pointer();
        if BREAKPOINTS.with_borrow(|all| all.iter().any(|one| one.is_in(address, at))) {
            patch(lua, chunk, at, true)?;
        }
    }
    Ok(at)
}

/// Sets or removes a breakpoint in all functions of a file that have code in the line.
fn patch(lua: &Lua, chunk: &Function, line: u32, set: bool) -> mlua::Result<()> {
    // SAFETY: as in `line`. A script that is within such a function reads each instruction anew.
    unsafe {
        lua.exec_raw::<()>(chunk, |state| {
            (*ffi::lua_callbacks(state)).debugbreak = Some(met);
            ffi::lua_breakpoint(state, -1, line as c_int, c_int::from(set));
            ffi::lua_settop(state, 0);
        })
    }
}

/// Sets a probe in a file. The line must be one that has code.
pub(super) fn set(
    lua: &Lua,
    chunk: &Function,
    line: u32,
    requests: Option<&Requests>,
    point: &Arc<Point>,
) -> mlua::Result<()> {
    sweep();
    let mut vm = ptr::null_mut();
    // SAFETY: a look at the VM that runs.
    unsafe { lua.exec_raw::<()>((), |state| vm = ffi::lua_mainthread(state))? };
    let set = patch(lua, chunk, line, true);
    let breakpoint = Breakpoint {
        point: Arc::clone(point),
        lua: lua.weak(),
        vm,
        chunk: chunk.clone(),
        address: chunk.to_pointer(),
        line,
        requests: requests.cloned(),
    };
    BREAKPOINTS.with_borrow_mut(|all| all.push(breakpoint));
    set
}

/// Whether a probe is in a file.
pub(super) fn is_set(chunk: &Function, point: &Arc<Point>) -> bool {
    let address = chunk.to_pointer();
    BREAKPOINTS
        .with_borrow(|all| all.iter().any(|one| one.address == address && Arc::ptr_eq(&one.point, point)))
}

/// Takes a probe out of all VMs of this thread.
pub(crate) fn remove(point: &Arc<Point>) {
    point.over.store(true, std::sync::atomic::Ordering::Relaxed);
    sweep();
}

/// Takes out what is over.
fn sweep() {
    let over: Vec<_> =
        BREAKPOINTS.with_borrow_mut(|all| all.extract_if(.., |one| one.point.is_over()).collect());
    for Breakpoint { lua, chunk, address, line, .. } in &over {
        let Some(lua) = lua.try_upgrade() else { continue };
        let stays = BREAKPOINTS.with_borrow(|all| all.iter().any(|one| one.is_in(*address, *line)));
        if !stays {
            // At the VM's memory limit that fails, and a script that comes to it removes it.
            let _ = patch(&lua, chunk, *line, false);
        }
    }
}

/// Called by Luau where a script comes to a breakpoint, with room for 20 values on the stack.
unsafe extern "C-unwind" fn met(state: *mut ffi::lua_State, frame: *mut ffi::lua_Debug) {
    // A panic would go on through Luau.
    let _panicked = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: Luau's own frame of what runs; nothing that is called raises an error.
        unsafe { look(state, (*frame).currentline) }
    }));
    MET.set(state);
}

/// Copies the locals for those who wait for them; where nobody does, removes the breakpoint.
///
/// # Safety
///
/// Level 0 of `state` is a function of Luau code that stands before an instruction of `line`.
unsafe fn look(state: *mut ffi::lua_State, line: c_int) {
    // SAFETY: the caller's promise; what is asked for of level 0 is there, and "f" pushes one value. What is asked for
    // allocates nothing.
    unsafe {
        let mut info: ffi::lua_Debug = std::mem::zeroed();
        if ffi::lua_getinfo(state, 0, c"sfa".as_ptr(), &raw mut info) == 0 {
            return;
        }
        let function = ffi::lua_gettop(state);
        let vm = ffi::lua_mainthread(state);
        let source = if info.source.is_null() { c"" } else { CStr::from_ptr(info.source) };
        let (file, at) = (source.to_bytes(), u32::try_from(line).unwrap_or_default());
        let file = file.strip_prefix(b"@").unwrap_or(file);
        let wanted = BREAKPOINTS.with(|all| {
            let Ok(all) = all.try_borrow() else { return true };
            let mut locals = None;
            let here = || all.iter().filter(|one| one.is_at(vm, file, at));
            // The file may have been loaded more than once.
            let mut seen: Vec<*const Point> = Vec::new();
            for one in here().filter(|one| !one.point.is_over()) {
                if seen.contains(&Arc::as_ptr(&one.point)) {
                    continue;
                }
                seen.push(Arc::as_ptr(&one.point));
                one.point.take(|| {
                    let varargs = (info.isvararg != 0).then_some(c_int::from(info.nparams) + 1);
                    let frame = Frame { state, function, varargs, requests: one.requests.as_ref() };
                    let locals = locals.get_or_insert_with(|| Arc::new(frame.copy()));
                    Hit { line: at, locals: Arc::clone(locals) }
                });
            }
            here().any(|one| !one.point.is_over())
        });
        if !wanted {
            // It allocates nothing, and so raises nothing: see `line`.
            ffi::lua_breakpoint(state, function, line, 0);
        }
        ffi::lua_settop(state, function - 1);
    }
}
