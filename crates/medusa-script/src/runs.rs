//! What of scripts is running, and how one of that is ended.
//!
//! A run is known from when it first gives way: one that ends within its first slice is never entered anywhere. Each thread
//! knows its own, and is asked for them; nothing here is shared, and no run waits for who looks.
//!
//! **Invariant:** a run is among those of its thread exactly as long as its [`Entered`] is held.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use medusa_http::Head;
use medusa_monitor::runs::MOST_RUNS;
use medusa_monitor::{RunId, RunInfo, RunList, shown_line};
use medusa_net::Workers;
use medusa_proto::author::Author;
use medusa_site::{Live, OutOfScope, Site, check_run};

use crate::preempt::{self, Meter};

thread_local! {
    /// Those of this thread.
    static RUNS: RefCell<HashMap<u64, KnownRun>> = RefCell::default();
}

/// What a run is. Made when the run first gives way, and put into words only for somebody who asks.
#[derive(Debug, Default)]
pub(crate) struct RunNote {
    kind: &'static str,
    what: RunSubject,
    place: Option<Arc<str>>,
    who: Option<Arc<str>>,
    session: Option<u64>,
}

#[derive(Debug, Default)]
enum RunSubject {
    #[default]
    Nothing,
    Text(String),
    Request(Arc<Head>),
}

impl RunNote {
    /// That of a function which runs by itself.
    pub(crate) fn of_hook(kind: &'static str, place: Arc<str>) -> Self {
        Self { kind, place: Some(place), ..Self::default() }
    }

    /// That of what somebody has asked for.
    pub(crate) fn of_author(kind: &'static str, text: &str, author: &Author) -> Self {
        let what = RunSubject::Text(shown_line(text));
        let who = author.who.clone().or_else(|| Some(Arc::clone(&author.what)));
        Self { kind, what, place: None, who, session: author.session }
    }

    /// That of what is run for a request.
    pub(crate) fn of_request(kind: &'static str, head: Option<Arc<Head>>, place: Option<Arc<str>>) -> Self {
        Self { kind, what: head.map_or(RunSubject::Nothing, RunSubject::Request), place, ..Self::default() }
    }

    /// That of a file which is loaded.
    pub(crate) fn of_file(file: &str) -> Self {
        Self { kind: "load", what: RunSubject::Text(shown_line(file)), ..Self::default() }
    }

    fn what(&self) -> Option<String> {
        match &self.what {
            RunSubject::Nothing => None,
            RunSubject::Text(text) => Some(text.clone()),
            RunSubject::Request(head) => Some(shown_line(&format!("{} {}", head.method, head.path()))),
        }
    }

    /// The request that it is run for.
    fn request(&self) -> Option<&Head> {
        match &self.what {
            RunSubject::Request(head) => Some(head),
            RunSubject::Nothing | RunSubject::Text(_) => None,
        }
    }

    fn who(&self) -> Option<String> {
        match &self.what {
            RunSubject::Request(head) => Some(head.client.to_string()),
            _ => self.who.as_ref().map(ToString::to_string),
        }
    }
}

/// A run that has given way.
#[derive(Debug)]
struct KnownRun {
    note: RunNote,
    since: Instant,
    meter: Rc<Meter>,
}

impl KnownRun {
    fn info(&self, id: u64) -> RunInfo {
        let note = &self.note;
        RunInfo {
            id: RunId(id),
            kind: note.kind.to_owned(),
            what: note.what(),
            place: note.place.as_ref().map(ToString::to_string),
            who: note.who(),
            session: note.session,
            at: self.meter.in_lane().then(|| self.meter.place()).filter(|place| !place.is_empty()),
            wall_ms: whole_ms(self.since.elapsed()),
            cpu_ms: whole_ms(self.meter.total()),
        }
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A run is among those of this thread, until this is dropped.
pub(crate) struct Entered(u64);

/// Enters a run.
pub(crate) fn enter(meter: &Rc<Meter>, note: RunNote) -> Entered {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let id = LAST.fetch_add(1, Relaxed) + 1;
    let run = KnownRun { note, since: Instant::now(), meter: Rc::clone(meter) };
    RUNS.with_borrow_mut(|runs| runs.insert(id, run));
    Entered(id)
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Not at the end of the thread, when there is no list. It is dropped when that is not borrowed any more.
        let _ended = RUNS.try_with(|runs| runs.borrow_mut().remove(&self.0));
    }
}

/// Those of this thread, but for the one that asks.
fn list_here() -> RunList {
    RUNS.with_borrow(|runs| {
        let others = runs.iter().filter(|(_, run)| !preempt::is_running(&run.meter));
        let mut others: Vec<(u64, &KnownRun)> = others.map(|(id, run)| (*id, run)).collect();
        others.sort_by_key(|(_, run)| (Reverse(run.meter.total()), run.since));
        let more = others.len().saturating_sub(MOST_RUNS);
        let runs = others.into_iter().take(MOST_RUNS).map(|(id, run)| run.info(id)).collect();
        RunList { runs, more }
    })
}

/// Ends a run of this thread, if it is one and the author's to end: at its next chance to give way, or where it waits.
fn end_here(id: RunId, author: &Author, site: &Site) -> Result<bool, OutOfScope> {
    let run = RUNS.with_borrow(|runs| {
        let run = runs.get(&id.0)?;
        let may = check_run(author, site, run.note.request(), &id.to_string());
        Some(may.map(|()| (Rc::clone(&run.meter), run.info(id.0))))
    });
    let Some((meter, info)) = run.transpose()? else { return Ok(false) };
    tracing::info!(run = %info, by = %author, "a run is ended");
    meter.end(author.who.clone().unwrap_or_else(|| Arc::clone(&author.what)));
    Ok(true)
}

/// Those of this thread and of all workers.
pub(crate) async fn list(workers: Option<&Workers>) -> RunList {
    let mut list = list_here();
    if let Some(workers) = workers {
        let there = workers.run_on_each(async |_worker| list_here()).await;
        there.into_iter().flatten().for_each(|there| list.add(there));
    }
    list
}

/// Ends a run, on whatever thread it is. Whether there is one of this number.
///
/// # Errors
///
/// It is not the author's to end.
pub(crate) async fn end(live: &Live, id: RunId, author: Author) -> Result<bool, OutOfScope> {
    let site = live.site();
    if end_here(id, &author, &site)? {
        return Ok(true);
    }
    let Some(workers) = live.workers() else { return Ok(false) };
    let there = workers.run_on_each(move |_worker| std::future::ready(end_here(id, &author, &site))).await;
    let ended: Result<Vec<bool>, OutOfScope> = there.into_iter().flatten().collect();
    Ok(ended?.contains(&true))
}

#[cfg(test)]
mod tests {
    use medusa_proto::author::Via;
    use mlua::Value;
    use tokio::task::spawn_local;

    use super::*;
    use crate::budget::{Budget, TaskError};
    use crate::chunk::load;
    use crate::vm::Vm;

    fn vm() -> Rc<Vm> {
        Vm::new(|lua, globals| {
            let wait =
                lua.create_async_function(async |_, ()| std::future::pending::<mlua::Result<()>>().await)?;
            globals.raw_set("wait", wait)
        })
        .unwrap()
    }

    /// Runs a script beside the test, and returns when it has been entered.
    async fn begin(vm: &Rc<Vm>, source: &'static str) -> tokio::task::JoinHandle<Result<(), TaskError>> {
        let before = list_here().runs.len();
        let vm = Rc::clone(vm);
        let task = spawn_local(async move {
            let function = load(vm.lua(), source, "@test.luau", None).unwrap();
            let author = Author::new(Via::Control, "eval").by("me").in_session(3);
            let note = || RunNote::of_author("statement", source, &author);
            vm.run(note, Budget::STATEMENT, function.call_async::<Value>(())).await.map(drop)
        });
        while list_here().runs.len() == before {
            tokio::task::yield_now().await;
        }
        task
    }

    #[test]
    fn what_waits_and_what_never_waits_is_seen_and_ended() {
        crate::engine::runtime().unwrap().block_on(async {
            let vm = vm();
            let waiting = begin(&vm, "pcall(wait) return 1").await;
            // It would catch an error, and go on.
            let endless = begin(&vm, "while true do\npcall(function() while true do end end)\nend").await;
            while list_here().runs[0].cpu_ms == 0 {
                tokio::task::yield_now().await;
            }
            let [spins, waits] = &list_here().runs[..] else { panic!("two runs") };
            assert_eq!((spins.kind.as_str(), spins.what.as_deref()), ("statement", Some("while true do")));
            assert_eq!((spins.who.as_deref(), spins.session), (Some("me"), Some(3)));
            assert_eq!(spins.at.as_deref(), Some("test.luau:2"));
            assert_eq!((&waits.at, waits.cpu_ms), (&None, 0));

            let live = Live::rehearsal();
            let limited = Author { scope: Some(Arc::default()), ..Author::new(Via::Control, "kill") };
            assert!(end(&live, waits.id, limited).await.is_err(), "a statement is nobody's who is limited");
            let alice = || Author::new(Via::Control, "kill").by("alice");
            for (run, task) in [(spins.id, endless), (waits.id, waiting)] {
                assert_eq!(end(&live, run, alice()).await, Ok(true));
                let error = task.await.unwrap().unwrap_err();
                assert!(matches!(error, TaskError::Ended(_)), "{error}");
                assert!(error.to_string().contains("was ended by alice"), "{error}");
                assert_eq!(end(&live, run, alice()).await, Ok(false), "it is gone");
            }
            assert_eq!(list_here(), RunList::default());
        });
    }

    #[test]
    fn what_ends_within_its_first_slice_is_never_entered() {
        crate::engine::runtime().unwrap().block_on(async {
            let vm = vm();
            let function = load(vm.lua(), "return 1", "@test.luau", None).unwrap();
            let note = || unreachable!("nobody asks what it is");
            vm.run(note, Budget::STATEMENT, function.call_async::<Value>(())).await.unwrap();
        });
    }

    #[test]
    fn many_runs_are_counted_and_not_listed() {
        crate::engine::runtime().unwrap().block_on(async {
            let vm = vm();
            let mut tasks = Vec::new();
            for _ in 0..MOST_RUNS + 5 {
                let note = RunNote::of_hook("timer", "site.luau:1".into());
                tasks.push(enter(&vm.meter(Budget::TIMER), note));
            }
            let list = list_here();
            assert_eq!((list.runs.len(), list.more), (MOST_RUNS, 5));
            drop(tasks);
            assert_eq!(list_here(), RunList::default());
        });
    }
}
