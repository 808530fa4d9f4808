//! The slow lane of a thread: scripts that were preempted wait here for their next slice.
//!
//! Of all scripts that had to give way, one runs per turn of the event loop, so that a hundred runaway scripts cost everyone
//! else no more than one does; and while there are others, the lane rests after each slice as long as a slice may be, so
//! that one costs them half a core at most. After a slice that was longer, for it could not give way, it rests as long as
//! that was, whoever else there is.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Duration;

use medusa_net::cork::turn;
use medusa_net::worker;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::preempt::{MAX_HOLD, TICK};

thread_local! {
    static SLOW_LANE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    /// The requests begun at the lane's last slice.
    static SEEN: Cell<u64> = const { Cell::new(0) };
    /// The length of the lane's last slice.
    static HELD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The state of a task that had to give way at least once.
pub(crate) struct SlowTask {
    turn: Turn,
    waker: Arc<QuietWaker>,
    /// The number of slices that may still only go as far as to say that it waits, though what it waits for has come:
    /// one for each preemption on its way there. Of nested coroutines each may be preempted, while it passes on that
    /// the one inside was, or waits.
    looks: u32,
}

enum Turn {
    /// Waits for the lane.
    Waiting(Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>>>>),
    /// Has the lane, and lets others go first.
    Next {
        /// Dropping it gives the lane to the next.
        _lane: OwnedSemaphorePermit,
        /// For so long; none: until the event loop has looked at its sockets.
        rest: Option<Pin<Box<Sleep>>>,
    },
    /// Waits for something else than CPU time, out of the lane.
    Out,
}

impl SlowTask {
    /// Takes in a task that was preempted so often in a slice that held its thread for `held`.
    pub(crate) fn enter(preempted: u32, held: Duration, cx: &mut Context<'_>) -> Self {
        HELD.set(held);
        let mut slow = Self { turn: Turn::Out, waker: QuietWaker::new(cx), looks: preempted };
        slow.queue(cx);
        slow
    }

    /// Gives up the lane, if it had it, and queues for it: others go first.
    fn queue(&mut self, cx: &mut Context<'_>) {
        self.turn = Turn::Out;
        self.turn = Turn::Waiting(Box::pin(SLOW_LANE.with(Arc::clone).acquire_owned()));
        // The first look registers the waker, or wins the lane at once.
        let _registered = self.poll_lane(cx);
    }

    fn poll_lane(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lane = match &mut self.turn {
            Turn::Waiting(lane) => ready!(lane.as_mut().poll(cx)),
            Turn::Next { rest: Some(rest), .. } => return rest.as_mut().poll(cx),
            Turn::Next { rest: None, .. } | Turn::Out => return Poll::Ready(()),
        };
        // Never closed; if it were, going on without the lane would still be right.
        let Ok(lane) = lane else {
            self.turn = Turn::Out;
            return Poll::Ready(());
        };
        let held = HELD.replace(TICK);
        let rests = had_company() || held > MAX_HOLD;
        let mut rest = rests.then(|| Box::pin(tokio::time::sleep(held.max(TICK))));
        match &mut rest {
            Some(rest) => drop(rest.as_mut().poll(cx)),
            None => defer(cx),
        }
        self.turn = Turn::Next { _lane: lane, rest };
        Poll::Pending
    }

    /// The waker of the task while it runs.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.waker))
    }

    /// Whether the task may run its next slice.
    pub(crate) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waker.task.will_wake(cx.waker()) {
            self.waker = QuietWaker::new(cx);
        }
        ready!(self.poll_lane(cx));
        turn::write_out();
        self.waker.hush();
        Poll::Ready(())
    }

    /// Ends a slice that held the thread for `held`: back into the lane if it was preempted, out of it if it waits for something else.
    pub(crate) fn after(&mut self, preempted: u32, held: Duration, cx: &mut Context<'_>) {
        let left = self.looks.saturating_sub(1);
        if preempted > 0 {
            HELD.set(held);
            self.looks = left.saturating_add(preempted).min(MOST_NESTED);
            self.queue(cx);
            return;
        }
        self.turn = Turn::Out;
        self.waker.speak();
        if self.looks > 0 {
            cx.waker().wake_by_ref();
        }
        self.looks = left;
    }
}

/// The depth that coroutines nest to: Luau's own limit for calls of C.
const MOST_NESTED: u32 = 200;

/// Whether requests have begun since the lane's last slice: on this worker, or for the main VM, whose thread takes the core of
/// any, on all.
fn had_company() -> bool {
    let requests = worker::requests();
    SEEN.replace(requests) != requests
}

/// Wakes the task at the event loop's next turn, after it has looked at its sockets.
pub(crate) fn defer(cx: &mut Context<'_>) {
    let mut turn = Box::pin(tokio::task::yield_now());
    let _deferred = turn.as_mut().poll(cx);
}

/// Stands in for the task's waker while a slice runs: the VM wakes its task whenever a coroutine yields, which for a
/// preempted one would be at once, before anyone else had a turn. A wake during the slice is kept, not lost.
struct QuietWaker {
    task: Waker,
    state: AtomicU8,
}

const PASSES_ON: u8 = 0;
const QUIET: u8 = 1;
const QUIET_AND_WOKEN: u8 = 2;

impl QuietWaker {
    fn new(cx: &Context<'_>) -> Arc<Self> {
        Arc::new(Self { task: cx.waker().clone(), state: AtomicU8::new(QUIET) })
    }

    fn hush(&self) {
        self.state.store(QUIET, SeqCst);
    }

    fn speak(&self) {
        if self.state.swap(PASSES_ON, SeqCst) == QUIET_AND_WOKEN {
            self.task.wake_by_ref();
        }
    }
}

impl Wake for QuietWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(QUIET, QUIET_AND_WOKEN, SeqCst, SeqCst) == Err(PASSES_ON) {
            self.task.wake_by_ref();
        }
    }
}
