//! A body written by a script as it goes, pulled by the client's speed.
//!
//! `write` returns at once while little is waiting to be sent and waits otherwise, so a producer never runs further
//! ahead than [`AHEAD`]. Its CPU budget starts anew with every chunk the client takes. One that writes events says
//! something of itself when it has been silent for long: a client that left is only noticed by writing.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use medusa_http::Head;
use medusa_proto::event_stream::HEARTBEAT;
use mlua::{Function, IntoLuaMulti, LuaString};
use tokio::time::{Instant, Sleep};

use crate::budget::{Budget, TaskError};
use crate::events::{EventSource, EventStream};
use crate::places::origin_of;
use crate::preempt::Meter;
use crate::runs::RunNote;
use crate::task::{finished, metered};
use crate::vm::Vm;

/// The size that may wait to be sent, in bytes.
const AHEAD: usize = 32 * 1024;

type Run = Pin<Box<dyn Future<Output = Result<(), TaskError>>>>;

/// The source of a body.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// `function(write)`
    Function(Function),
    /// `function(stream)`, with events.
    Events(EventSource),
}

impl Source {
    /// The time for which the body may go on when its handler is gone.
    pub(crate) fn keep(&self) -> Duration {
        match self {
            Self::Function(_) => Duration::ZERO,
            Self::Events(events) => events.keep,
        }
    }
}

/// The place that a producer writes to. It may be kept, and written to by other tasks of the VM, also when the stream is over.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChunkSink(Rc<RefCell<SinkState>>);

#[derive(Debug, Default)]
struct SinkState {
    waiting: BytesMut,
    /// The reader, while it waits for what others write.
    reader: Option<Waker>,
    /// Others who wait for room.
    writers: Vec<Waker>,
    /// The producer itself is running. What it writes is looked at once it waits, and it goes on only when the stream is
    /// polled again, once what was written has been taken: no waker needed.
    own: bool,
    over: bool,
}

impl ChunkSink {
    /// Adds a chunk, as soon as little is waiting to be sent; a long one piece by piece, so that never more than twice
    /// [`AHEAD`] lies here. False if the stream is over.
    pub(crate) async fn write(&self, chunk: &[u8]) -> bool {
        for piece in chunk.chunks(AHEAD) {
            if !self.write_whole(piece).await {
                return false;
            }
        }
        !self.0.borrow().over
    }

    /// Adds a chunk in one piece: between two of them others might write.
    pub(crate) async fn write_whole(&self, chunk: &[u8]) -> bool {
        poll_fn(|cx| {
            let mut written = self.0.borrow_mut();
            if written.over {
                return Poll::Ready(false);
            }
            if written.waiting.len() < AHEAD {
                written.waiting.extend_from_slice(chunk);
                let reader = if written.own { None } else { written.reader.take() };
                drop(written);
                reader.into_iter().for_each(Waker::wake);
                return Poll::Ready(true);
            }
            if !written.own && !written.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                written.writers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Takes what is waiting.
    fn take(&self) -> Bytes {
        let mut written = self.0.borrow_mut();
        // All of it, and not a part of what more is written to: only what is nobody else's is counted for the client.
        let taken = std::mem::take(&mut written.waiting).freeze();
        let writers = std::mem::take(&mut written.writers);
        drop(written);
        writers.into_iter().for_each(Waker::wake);
        taken
    }

    /// Says that nothing more is taken in.
    fn end(&self) {
        let mut written = self.0.borrow_mut();
        written.over = true;
        let writers = std::mem::take(&mut written.writers);
        drop(written);
        writers.into_iter().for_each(Waker::wake);
    }

    /// Has others who write wake whoever waits for that.
    fn wake_for_others(&self, cx: &Context<'_>) {
        let reader = &mut self.0.borrow_mut().reader;
        match reader {
            Some(reader) => reader.clone_from(cx.waker()),
            None => *reader = Some(cx.waker().clone()),
        }
    }

    fn is_own(&self, own: bool) {
        self.0.borrow_mut().own = own;
    }
}

/// The stream of what a producer writes.
pub(crate) struct Producer {
    run: Option<Run>,
    written: ChunkSink,
    meter: Rc<Meter>,
    heartbeat: Option<Heartbeat>,
    /// What it has written while it [began](Self::begin).
    first: Option<Bytes>,
}

/// Goes off when nothing has been sent for so long.
struct Heartbeat {
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Heartbeat {
    fn new(every: Duration) -> Self {
        Self { every, next: Box::pin(tokio::time::sleep(every)) }
    }

    fn restart(&mut self) {
        self.next.as_mut().reset(Instant::now() + self.every);
    }
}

/// The function of a producer, and what that is for.
struct ProducerOf {
    kind: &'static str,
    function: Function,
    head: Option<Arc<Head>>,
}

impl Producer {
    /// `head` is the request's that it answers, and `keep` is held as long as the producer runs: that request.
    pub(crate) fn new(
        vm: &Rc<Vm>,
        source: Source,
        head: Option<Arc<Head>>,
        keep: impl Sized + 'static,
    ) -> mlua::Result<Self> {
        let written = ChunkSink::default();
        match source {
            Source::Function(function) => {
                let sink = written.clone();
                let write = vm.lua().create_async_function(move |_, chunk: LuaString| {
                    let sink = sink.clone();
                    async move { Ok(sink.write(&chunk.as_bytes()).await) }
                })?;
                let of = ProducerOf { kind: "stream", function, head };
                Ok(Self::start(vm, of, write, written, None, keep))
            }
            Source::Events(events) => {
                let stream = vm.lua().create_userdata(EventStream(written.clone()))?;
                let heartbeat = Heartbeat::new(events.heartbeat);
                let of = ProducerOf { kind: "event stream", function: events.run, head };
                Ok(Self::start(vm, of, stream, written, Some(heartbeat), keep))
            }
        }
    }

    fn start(
        vm: &Rc<Vm>,
        of: ProducerOf,
        argument: impl IntoLuaMulti + 'static,
        written: ChunkSink,
        heartbeat: Option<Heartbeat>,
        keep: impl Sized + 'static,
    ) -> Self {
        let meter = vm.meter(Budget::REQUEST);
        let run = {
            let (vm, meter) = (Rc::clone(vm), Rc::clone(&meter));
            Box::pin(async move {
                let _keep = keep;
                let ProducerOf { kind, function, head } = of;
                let note = || RunNote::of_request(kind, head, origin_of(&function));
                let result = metered(&vm, &meter, note, function.call_async::<()>(argument)).await;
                finished(&vm, result, &meter)
            })
        };
        Self { run: Some(run), written, meter, heartbeat, first: None }
    }
}

impl Stream for Producer {
    type Item = Result<Bytes, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        // One in the slow lane is driven on before anything is handed out: a client that stops reading would keep the
        // lane from everyone else.
        if !this.meter.in_lane()
            && let Some(chunk) = this.take()
        {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let polled = match &mut this.run {
            None => return Poll::Ready(None),
            Some(run) => {
                this.written.is_own(true);
                let polled = run.as_mut().poll(cx);
                this.written.is_own(false);
                polled
            }
        };
        if let Poll::Ready(result) = polled {
            this.run = None;
            this.written.end();
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
        } else if this.meter.in_lane() {
            return Poll::Pending;
        }
        match this.take() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if this.run.is_none() => Poll::Ready(None),
            None => {
                this.written.wake_for_others(cx);
                this.poll_heartbeat(cx)
            }
        }
    }
}

impl Producer {
    /// Runs it until it waits, ends or has had its slice, before anything is sent: what fails by then is answered as any handler
    /// that fails, whatever it has written.
    pub(crate) async fn begin(mut self) -> Result<Self, TaskError> {
        let begun = poll_fn(|cx| Poll::Ready(Pin::new(&mut self).poll_next(cx))).await;
        if let Poll::Ready(Some(chunk)) = begun {
            self.first = Some(chunk?);
        }
        Ok(self)
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.written.0.borrow().waiting.is_empty() {
            return None;
        }
        self.meter.restart();
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.restart();
        }
        Some(self.written.take())
    }

    /// The comment sent in place of silence. It is not the producer's doing, and gives it no new budget.
    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TaskError>>> {
        let Some(heartbeat) = &mut self.heartbeat else { return Poll::Pending };
        ready!(heartbeat.next.as_mut().poll(cx));
        heartbeat.restart();
        Poll::Ready(Some(Ok(Bytes::from_static(HEARTBEAT))))
    }
}

/// The client has left, or has all there is.
impl Drop for Producer {
    fn drop(&mut self) {
        self.written.end();
        drop(self.written.take());
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("waiting", &self.written.0.borrow().waiting.len())
            .finish_non_exhaustive()
    }
}
