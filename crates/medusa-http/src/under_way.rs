//! What is under way on a handler as one mount has it: how many requests, streams and `WebSocket`s, and how those that may go
//! on for hours are ended before the handler is.
//!
//! A mount that gets another handler is another [`Mount`](crate::Mount), with an [`UnderWay`] of its own; what began before
//! still counts with the old one. Counts are kept as [`Counters`](crate::Counters) are, in a shard for each worker. What may go
//! on for long is known to the worker it is on, and to no other.
//!
//! **Invariant:** an exchange is counted once, from the moment it has its mount to its last byte, as what it is at that moment.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use medusa_net::worker;
use medusa_proto::status::Status;
use tokio::sync::Notify;

use crate::counters::SHARDS;
use crate::server::MountText;

/// What an exchange is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A request that is answered: its handler is at work, or its response goes out.
    Request,
    /// A response that is sent as it comes.
    Stream,
    /// A `WebSocket`, or whatever else goes on after a 101.
    WebSocket,
}

/// How much is under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UseCounts {
    /// Requests, but for those that have become one of the others.
    pub requests: u64,
    /// Responses that are sent as they come.
    pub streams: u64,
    /// `WebSocket`s.
    pub websockets: u64,
}

impl UseCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            streams: self.streams + other.streams,
            websockets: self.websockets + other.websockets,
        }
    }

    /// Whether anything is.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Adds them to a status.
    pub fn describe(self, status: Status) -> Status {
        status
            .gauge("requests_under_way", self.requests)
            .gauge("streams_under_way", self.streams)
            .gauge("websockets_under_way", self.websockets)
    }
}

/// To be added to a line: `  [under way: 2 requests, 0 streams, 1 WebSockets]`, and nothing for nothing.
impl fmt::Display for UseCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.any() {
            return Ok(());
        }
        let Self { requests, streams, websockets } = self;
        write!(f, "  [under way: {requests} requests, {streams} streams, {websockets} WebSockets]")
    }
}

/// What is under way on one handler of one mount.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// Made for the first request: most mounts of a large site never have one.
    shards: OnceLock<Box<[UseShard; SHARDS]>>,
    /// The generation it was published in; 0: in none yet.
    generation: AtomicU64,
    /// What its mount was, for when that is gone.
    text: OnceLock<Box<MountText>>,
}

/// By [`Stage`].
#[derive(Debug, Default)]
#[repr(align(64))]
struct UseShard([AtomicU32; 3]);

impl UnderWay {
    /// How much is under way now.
    pub fn counts(&self) -> UseCounts {
        let Some(shards) = self.shards.get() else { return UseCounts::default() };
        let sum = |stage: Stage| {
            shards.iter().map(|shard| u64::from(shard.0[stage as usize].load(Relaxed))).sum::<u64>()
        };
        let [requests, streams, websockets] = [Stage::Request, Stage::Stream, Stage::WebSocket].map(sum);
        UseCounts { requests, streams, websockets }
    }

    /// Says that it is published in this generation; false if it was in one before.
    pub fn publish(&self, generation: u64) -> bool {
        self.generation.compare_exchange(0, generation, Relaxed, Relaxed).is_ok()
    }

    /// The generation it was published in; 0: in none yet.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// What its mount was, if that was kept.
    pub fn text(&self) -> Option<&MountText> {
        self.text.get().map(|text| &**text)
    }

    /// Keeps what its mount is: somebody lets go of that who stays.
    pub(crate) fn keep_text(&self, text: impl FnOnce() -> MountText) {
        self.text.get_or_init(|| Box::new(text()));
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.of_worker(stage).fetch_add(1, Relaxed);
    }

    /// The same worker has entered it.
    pub(crate) fn leave(&self, stage: Stage) {
        self.of_worker(stage).fetch_sub(1, Relaxed);
    }

    fn of_worker(&self, stage: Stage) -> &AtomicU32 {
        let shards = self.shards.get_or_init(Box::default);
        &shards[worker::index() % SHARDS].0[stage as usize]
    }
}

/// How something that goes on is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndBy {
    /// As when its handler is replaced: a `WebSocket` by the close code 1001, a stream of events between two of them. Other
    /// streams have an end of their own, and go on to it.
    Word,
    /// At once, in the middle of whatever it is.
    Force,
}

thread_local! {
    /// What goes on for long on this worker.
    static LONG_LIVED: RefCell<HashMap<u64, Weak<LongLived>>> = RefCell::default();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// A stream or `WebSocket` that goes on.
#[derive(Debug)]
pub(crate) struct LongLived {
    number: u64,
    under_way: Arc<UnderWay>,
    stage: Stage,
    /// What tells it to end; none: it cannot be told, or not yet.
    finish: RefCell<Option<Rc<Notify>>>,
    told: Cell<bool>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl LongLived {
    /// It begins, on this worker.
    pub(crate) fn begin(under_way: Arc<UnderWay>, stage: Stage) -> Rc<Self> {
        let number = NEXT.replace(NEXT.get() + 1);
        let (finish, waker) = Default::default();
        let (told, cut) = Default::default();
        let this = Rc::new(Self { number, under_way, stage, finish, told, cut, waker });
        LONG_LIVED.with_borrow_mut(|all| all.insert(number, Rc::downgrade(&this)));
        this
    }

    /// Has `finish` tell it to end.
    pub(crate) fn finish_by(&self, finish: &Rc<Notify>) {
        if self.told.get() {
            finish.notify_one();
        }
        self.finish.replace(Some(Rc::clone(finish)));
    }

    /// Ready once it is to end at once.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> Poll<()> {
        if self.cut.get() {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// False if that does nothing: it was told already, or cannot be told.
    fn end(&self, ending: EndBy) -> bool {
        match ending {
            EndBy::Word => {
                let finish = self.finish.borrow();
                // A session whose 101 is on its way has none yet.
                let can_be_told = finish.is_some() || self.stage == Stage::WebSocket;
                if !can_be_told || self.told.replace(true) {
                    return false;
                }
                finish.iter().for_each(|finish| finish.notify_one());
            }
            EndBy::Force => {
                if self.cut.replace(true) {
                    return false;
                }
                let waker = self.waker.take();
                waker.into_iter().for_each(Waker::wake);
            }
        }
        true
    }
}

impl Drop for LongLived {
    fn drop(&mut self) {
        // Not at the end of the thread, when there is no list.
        let _ended = LONG_LIVED.try_with(|all| all.borrow_mut().remove(&self.number));
    }
}

/// Ends what goes on of these on this worker. Returns how much that is.
pub fn end_long_lived(of: &[Arc<UnderWay>], ending: EndBy) -> UseCounts {
    let all: Vec<_> = LONG_LIVED.with_borrow(|all| all.values().filter_map(Weak::upgrade).collect());
    let mut counts = UseCounts::default();
    for one in all.iter().filter(|one| of.iter().any(|other| Arc::ptr_eq(other, &one.under_way))) {
        if one.end(ending) {
            match one.stage {
                Stage::WebSocket => counts.websockets += 1,
                Stage::Request | Stage::Stream => counts.streams += 1,
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_counted_by_what_it_is() {
        let under_way = UnderWay::default();
        assert!(!under_way.counts().any());
        under_way.enter(Stage::Request);
        under_way.enter(Stage::Request);
        under_way.leave(Stage::Request);
        under_way.enter(Stage::WebSocket);
        assert_eq!(under_way.counts(), UseCounts { requests: 1, streams: 0, websockets: 1 });
        assert!(under_way.publish(7) && !under_way.publish(8));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_those_of_a_handler_end_and_only_those_that_can_be_told_are() {
        let [one, other] = [(); 2].map(|()| Arc::new(UnderWay::default()));
        let (session, stream) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        let websocket = LongLived::begin(Arc::clone(&one), Stage::WebSocket);
        let events = LongLived::begin(Arc::clone(&one), Stage::Stream);
        events.finish_by(&stream);
        let plain = LongLived::begin(Arc::clone(&one), Stage::Stream);
        let others = LongLived::begin(Arc::clone(&other), Stage::WebSocket);
        let of = [Arc::clone(&one)];
        let told = end_long_lived(&of, EndBy::Word);
        assert_eq!(told, UseCounts { requests: 0, streams: 1, websockets: 1 });
        assert!(!end_long_lived(&of, EndBy::Word).any(), "once");
        stream.notified().await;
        websocket.finish_by(&session);
        session.notified().await;
        let cx = &Context::from_waker(Waker::noop());
        assert!(plain.poll_cut(cx).is_pending());
        drop(websocket);
        assert_eq!(end_long_lived(&of, EndBy::Force), UseCounts { streams: 2, ..UseCounts::default() });
        assert!(plain.poll_cut(cx).is_ready() && others.poll_cut(cx).is_pending());
    }
}
