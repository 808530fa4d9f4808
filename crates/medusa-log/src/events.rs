//! The server's own events on their way to the sinks that are to have them.
//!
//! An event may happen on any thread, with any lock held, within a sink itself. So whoever it happens to only puts it down
//! here; a thread of its own passes what was put down on, at once if it is the first in a while, else every
//! [`EVERY`].
//!
//! **Invariants:** putting an event down takes a short lock that nobody holds while calling anything else, so it never
//! blocks and never deadlocks. What waits is bounded; more is lost, counted, and told as an event. What passing events on
//! causes is not passed on itself ([`MutedEvents`]), so there is no circle.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use medusa_proto::access::Loss;
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};
use parking_lot::Mutex;

use crate::mailbox::{Load, Mail, Mailbox};
use crate::sink::spawn;
use crate::{Batch, Extent, Flushed, Sink, SinkError};

/// Rest between two rounds of passing on: as long as access records may wait on their worker.
const EVERY: Duration = Duration::from_millis(100);

/// Events that may wait meanwhile: 10,000 in a second, more than anybody reads.
const LIMIT: Load = Load { records: 1024, bytes: 1024 * 1024 };

/// A sink that is to have events.
#[derive(Clone, Debug)]
pub struct Route {
    /// Where they go.
    pub sink: Arc<dyn Sink>,
    /// Those that matter at least as much as this.
    pub level: Level,
}

/// Passes events on to the sinks that are to have them: to none before [`route`](Self::route).
///
/// Dropping it does not wait: what is waiting is passed on, and the thread ends.
#[derive(Debug)]
pub struct EventSinks(Arc<EventQueue>);

/// An event, and the routes there were when it happened.
type Waiting = (Arc<[Route]>, Batch);

#[derive(Debug)]
struct EventQueue {
    /// How many of [`Level::ALL`] somebody wants.
    levels: AtomicU8,
    routes: Mutex<Arc<[Route]>>,
    mailbox: Mailbox<Waiting>,
    started: Mutex<bool>,
}

thread_local! {
    static MUTED: Cell<u32> = const { Cell::new(0) };
}

/// Guard that keeps the events of this thread from being passed on: it passes events on itself.
#[derive(Debug)]
#[must_use]
pub struct MutedEvents(PhantomData<*const ()>);

impl MutedEvents {
    /// Begins now.
    pub fn begin() -> Self {
        MUTED.set(MUTED.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for MutedEvents {
    fn drop(&mut self) {
        MUTED.set(MUTED.get() - 1);
    }
}

impl EventSinks {
    /// Starts the thread, which there must be before the first [`route`](Self::route). Doing it again does nothing.
    ///
    /// # Errors
    ///
    /// The system refused the thread.
    pub fn start(&self) -> Result<(), SinkError> {
        let mut started = self.0.started.lock();
        if !*started {
            let shared = Arc::clone(&self.0);
            spawn("log-events", "of events", move || shared.pass_on())?;
            *started = true;
        }
        Ok(())
    }

    /// Sends events to `routes` from now on. What happened before goes where it would have gone.
    pub fn route(&self, routes: Vec<Route>) {
        let levels = routes.iter().map(|route| route.level as u8 + 1).max().unwrap_or(0);
        let before = std::mem::replace(&mut *self.0.routes.lock(), routes.into());
        drop(before); // without the lock: the end of a sink may be an event
        if self.0.levels.swap(levels, Relaxed) != levels {
            // Who decided that nobody wants its events, or that somebody does, must decide anew.
            tracing::callsite::rebuild_interest_cache();
        }
    }

    /// The least important level that a sink is to have; `None` if there is no sink.
    pub fn level(&self) -> Option<Level> {
        let levels = usize::from(self.0.levels.load(Relaxed));
        levels.checked_sub(1).and_then(|at| Level::ALL.get(at)).copied()
    }

    /// Puts an event down, if a sink is to have it. Never blocks beyond a short lock.
    pub fn put(&self, event: &Event<'_>) {
        if self.level().is_none_or(|level| event.level > level) || MUTED.get() > 0 {
            return;
        }
        let mut batch = Batch::with_capacity(Extent { records: 1, ..Extent::default() });
        batch.push_event(event);
        let (load, loss) = (Load::of(&batch), Loss { records: 1, from: event.time, to: event.time });
        let routes = Arc::clone(&self.0.routes.lock());
        if !self.0.mailbox.offer((routes, batch), load) {
            self.0.mailbox.lose(loss);
        }
    }

    /// Waits until what was put down before is with its sinks (which may then have to be flushed), or until `deadline`.
    pub fn flush(&self, deadline: Instant) -> Flushed {
        Flushed { left: self.0.mailbox.flush(deadline), spilled: 0 }
    }
}

/// An instance without a sink.
impl Default for EventSinks {
    fn default() -> Self {
        let (routes, started) = (Mutex::default(), Mutex::default());
        let mailbox = Mailbox::new(LIMIT);
        Self(Arc::new(EventQueue { levels: AtomicU8::new(0), routes, mailbox, started }))
    }
}

impl Drop for EventSinks {
    fn drop(&mut self) {
        self.0.mailbox.close();
    }
}

impl EventQueue {
    /// The thread.
    fn pass_on(&self) {
        let _muted = MutedEvents::begin();
        while let Some(Mail { mut items, lost, .. }) = self.mailbox.take(None) {
            let taken = items.iter().map(|(_, event)| Load::of(event)).fold(Load::default(), Load::and);
            let of_same_routes = |(one, _): &Waiting, (next, _): &Waiting| Arc::ptr_eq(one, next);
            let mut runs = items.make_contiguous().chunk_by(of_same_routes).peekable();
            while let Some(run) = runs.next() {
                let mut batch = Batch::new();
                run.iter().flat_map(|(_, event)| event.iter()).for_each(|event| batch.push_entry(&event));
                if let Some(lost) = lost.filter(|_| runs.peek().is_none()) {
                    // An error, so that every sink is told.
                    let message = format!(
                        "{} events were lost: they came faster than they can be logged",
                        lost.records
                    );
                    let (time, level, part) = (lost.to, Level::Error, "log");
                    batch.push_event(&Event { time, level, part, message: &message, request: None });
                }
                submit(&run[0].0, batch);
            }
            self.mailbox.settle(taken);
            self.mailbox.rest(EVERY);
        }
    }
}

fn submit(routes: &[Route], batch: Batch) {
    let batch = batch.seal();
    for Route { sink, level } in routes {
        if let Some(part) = Batch::select(&batch, |entry: &Entry<'_>| entry.level() <= *level) {
            sink.submit(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use medusa_proto::access::Timestamp;

    use super::*;
    use crate::sink::tests::Memory;

    fn event(level: Level, message: &str) -> Event<'_> {
        Event { time: Timestamp::from_micros(1), level, part: "test", message, request: None }
    }

    fn messages(memory: &Memory) -> Vec<String> {
        let batches = memory.batches();
        let entries = batches.iter().flat_map(|batch| batch.iter());
        entries
            .map(|entry| match entry {
                Entry::Event(event) => event.message.to_owned(),
                Entry::Access(record) => panic!("an event, not {record:?}"),
            })
            .collect()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn started() -> EventSinks {
        let events = EventSinks::default();
        events.start().expect("a thread");
        events
    }

    fn route(sink: &Arc<Memory>, level: Level) -> Route {
        Route { sink: Arc::clone(sink) as _, level }
    }

    #[test]
    fn each_sink_gets_its_level_and_nobody_what_happened_before() {
        let (all, grave) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
        let events = started();
        assert_eq!(events.level(), None);
        events.put(&event(Level::Error, "before"));
        events.route(vec![route(&all, Level::Info), route(&grave, Level::Error)]);
        assert_eq!(events.level(), Some(Level::Info));
        events.put(&event(Level::Info, "one"));
        events.put(&event(Level::Debug, "too fine"));
        events.put(&event(Level::Error, "two"));
        events.route(vec![route(&grave, Level::Info)]);
        events.put(&event(Level::Info, "three"));
        assert_eq!(events.flush(soon()), Flushed::default());
        assert_eq!(
            messages(&all),
            ["one", "two"],
            "what happened before the change goes where it would have"
        );
        assert_eq!(messages(&grave), ["two", "three"]);
    }

    #[test]
    fn too_many_are_lost_and_told() {
        let memory = Arc::new(Memory::default());
        let events = EventSinks::default();
        events.route(vec![route(&memory, Level::Error)]);
        for _ in 0..LIMIT.records + 7 {
            events.put(&event(Level::Error, "again"));
        }
        assert_eq!(
            events.flush(Instant::now()),
            Flushed { left: LIMIT.records, ..Flushed::default() },
            "nobody passes them on"
        );
        events.start().expect("a thread");
        assert_eq!(events.flush(soon()), Flushed::default());
        let messages = messages(&memory);
        assert_eq!(messages.len() as u64, LIMIT.records + 1);
        assert_eq!(
            messages[LIMIT.records as usize],
            "7 events were lost: they came faster than they can be logged"
        );
    }

    /// A sink that complains whenever it is given something.
    #[derive(Debug, Default)]
    struct Complains(Memory, Mutex<Option<Arc<EventSinks>>>);

    impl Sink for Complains {
        fn check(&self) -> Result<(), SinkError> {
            self.0.check()
        }

        fn prepare(&self) -> Result<(), SinkError> {
            self.0.prepare()
        }

        fn submit(&self, batch: &Arc<Batch>) {
            if let Some(events) = &*self.1.lock() {
                events.put(&event(Level::Error, "complaint"));
            }
            self.0.submit(batch);
        }

        fn flush(&self, deadline: Instant) -> Flushed {
            self.0.flush(deadline)
        }

        fn status(&self) -> medusa_proto::status::Status {
            self.0.status()
        }
    }

    #[test]
    fn an_event_of_passing_on_is_not_passed_on() {
        let (sink, events) = (Arc::new(Complains::default()), Arc::new(started()));
        *sink.1.lock() = Some(Arc::clone(&events));
        events.route(vec![Route { sink: Arc::clone(&sink) as _, level: Level::Info }]);
        events.put(&event(Level::Info, "one"));
        let _ = events.flush(soon());
        {
            let _muted = MutedEvents::begin();
            events.put(&event(Level::Info, "from aside"));
        }
        events.put(&event(Level::Info, "two"));
        let _ = events.flush(soon());
        assert_eq!(messages(&sink.0), ["one", "two"]);
        *sink.1.lock() = None;
    }
}
