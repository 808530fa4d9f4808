//! A body written by a script as it goes, pulled by the client's speed.
//!
//! `write` returns at once while little is waiting to be sent and waits otherwise, so a producer never runs further
//! ahead than [`AHEAD`]. Its CPU budget starts anew with every chunk the client takes.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use mlua::{Function, LuaString};

use crate::preempt::Meter;
use crate::task::{Budget, TaskError, finished, metered};
use crate::vm::Vm;

/// How much may wait to be sent, in bytes.
const AHEAD: usize = 32 * 1024;

type Run = Pin<Box<dyn Future<Output = Result<(), TaskError>>>>;

/// The stream of what a producer writes.
pub(crate) struct Producer {
    run: Option<Run>,
    written: Rc<RefCell<BytesMut>>,
    meter: Rc<Meter>,
}

impl Producer {
    /// `keep` is held as long as the producer runs: the request it answers.
    pub(crate) fn new(vm: &Rc<Vm>, function: Function, keep: impl Sized + 'static) -> mlua::Result<Self> {
        let written = Rc::new(RefCell::new(BytesMut::new()));
        let meter = Rc::new(Meter::new(Budget::REQUEST.cpu));
        let sink = Rc::clone(&written);
        let write = vm.lua().create_async_function(move |_, chunk: LuaString| {
            let sink = Rc::clone(&sink);
            async move {
                poll_fn(|_| if sink.borrow().len() < AHEAD { Poll::Ready(()) } else { Poll::Pending }).await;
                sink.borrow_mut().extend_from_slice(&chunk.as_bytes());
                Ok(())
            }
        })?;
        let run = {
            let (vm, meter) = (Rc::clone(vm), Rc::clone(&meter));
            Box::pin(async move {
                let _keep = keep;
                let result = metered(vm.preemption(), &meter, function.call_async::<()>(write)).await;
                vm.after_task(finished(result, &meter, Budget::REQUEST))
            })
        };
        Ok(Self { run: Some(run), written, meter })
    }
}

impl Stream for Producer {
    type Item = Result<Bytes, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // Everything that waits on `write` goes on only here, once what was written has been taken: no waker needed.
        // But one in the slow lane is driven on before anything is handed out: a client that stops reading would keep the
        // lane from everyone else.
        if !this.meter.in_lane()
            && let Some(chunk) = this.take()
        {
            return Poll::Ready(Some(Ok(chunk)));
        }
        let polled = match &mut this.run {
            None => return Poll::Ready(None),
            Some(run) => run.as_mut().poll(cx),
        };
        if let Poll::Ready(result) = polled {
            this.run = None;
            if let Err(error) = result {
                return Poll::Ready(Some(Err(error)));
            }
        } else if this.meter.in_lane() {
            return Poll::Pending;
        }
        match this.take() {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if this.run.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Producer {
    fn take(&mut self) -> Option<Bytes> {
        let mut written = self.written.borrow_mut();
        if written.is_empty() {
            return None;
        }
        self.meter.restart();
        Some(written.split().freeze())
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("waiting", &self.written.borrow().len()).finish_non_exhaustive()
    }
}
