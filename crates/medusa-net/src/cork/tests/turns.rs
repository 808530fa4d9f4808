//! The ends of turns, on an event loop with one task for each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Wake;

use tokio::task::{LocalSet, yield_now};

use super::*;

/// A task that is woken so often.
#[derive(Default)]
struct Task(AtomicU32);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl Rig {
    fn end_turn(&self, task: &Arc<Task>) -> Poll<io::Result<()>> {
        let waker = Waker::from(Arc::clone(task));
        self.handle.poll_end_turn(&mut Context::from_waker(&waker))
    }
}

/// Runs `work` on a thread whose turns have an end, after each `yield_now`.
fn with_turns(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let tasks = LocalSet::new();
    tasks.spawn_local(turn::write_at_ends());
    runtime.block_on(tasks.run_until(async {
        yield_now().await;
        work.await;
    }));
}

fn small(rig: &mut Rig, task: &Arc<Task>) {
    assert_eq!(taken(rig.write(b"small")), 5);
    assert!(matches!(rig.end_turn(task), Poll::Ready(Ok(()))));
}

#[test]
fn small_answers_wait_for_the_others_of_their_turn() {
    with_turns(async {
        let (mut one, mut other, task) = (Rig::with_room(100), Rig::with_room(100), Arc::default());
        small(&mut one, &task);
        small(&mut other, &task);
        small(&mut one, &task);
        assert_eq!((one.sizes(), other.sizes()), (vec![], vec![]));
        assert_eq!((one.handle.untaken(), one.handle.is_empty()), (0, false), "no peer keeps it waiting");
        yield_now().await;
        assert_eq!((one.output(), other.output()), (b"smallsmall".to_vec(), b"small".to_vec()));
        assert_eq!((one.sizes(), one.handle.is_empty(), task.0.load(Relaxed)), (vec![10], true, 0));
        small(&mut one, &task);
        turn::write_out();
        assert_eq!(one.sizes(), [10, 5], "somebody is going to work long");
    });
}

#[test]
fn what_is_not_small_goes_at_once_and_so_does_all_on_a_thread_without_turns() {
    let (mut rig, task) = (Rig::with_room(usize::MAX), Arc::default());
    small(&mut rig, &task);
    assert_eq!(rig.sizes(), [5]);
    with_turns(async {
        let mut rig = Rig::with_room(usize::MAX);
        small(&mut rig, &task);
        assert_eq!(taken(rig.write(&[b'x'; SMALL])), SMALL);
        assert!(rig.end_turn(&task).is_ready());
        assert_eq!(rig.sizes(), [5 + SMALL]);
        yield_now().await;
        assert_eq!(rig.sizes(), [5 + SMALL]);
    });
    small(&mut rig, &task);
    assert_eq!(rig.sizes(), [5, 5], "the event loop has ended");
}

#[test]
fn what_waits_is_bounded_in_number_and_bytes() {
    with_turns(async {
        let task = Arc::default();
        for (bytes, most) in [(1, turn::MOST), (SMALL - 1, 64 * 1024 / (SMALL - 1) + 1)] {
            let mut rigs: Vec<Rig> = (0..most).map(|_| Rig::with_room(usize::MAX)).collect();
            for rig in &mut rigs {
                assert_eq!(rig.sizes(), []);
                assert_eq!(taken(rig.write(&vec![b'x'; bytes])), bytes);
                assert!(rig.end_turn(&task).is_ready());
            }
            assert!(rigs.iter().all(|rig| rig.sizes() == [bytes]), "{bytes}");
        }
    });
}

#[test]
fn a_peer_that_does_not_take_it_is_the_business_of_its_task() {
    with_turns(async {
        let (mut rig, task) = (Rig::with_room(2), Arc::default());
        small(&mut rig, &task);
        yield_now().await;
        assert_eq!((rig.output(), task.0.load(Relaxed), rig.handle.untaken()), (b"sm".to_vec(), 1, 3));
        assert!(rig.end_turn(&task).is_pending(), "its next write is its own");
        yield_now().await;
        assert_eq!(task.0.load(Relaxed), 1, "and only the peer wakes it");
        rig.make_room(100);
        assert!(rig.end_turn(&task).is_ready());
        small(&mut rig, &task);
        assert_eq!(rig.output(), b"small");
        yield_now().await;
        assert_eq!(rig.output(), b"smallsmall", "then it waits as before");
    });
}

#[test]
fn an_error_is_told_to_the_task() {
    with_turns(async {
        let (mut rig, task) = (Rig::with_room(100), Arc::default());
        small(&mut rig, &task);
        rig.handle.core.borrow_mut().stream.broken = true;
        yield_now().await;
        assert_eq!(task.0.load(Relaxed), 1);
        let wakes = rig.end_turn(&task);
        assert!(
            matches!(&wakes, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{wakes:?}"
        );
        assert!(rig.handle.is_empty());
    });
}

#[test]
fn a_connection_that_ends_in_its_turn_has_its_answer_written() {
    with_turns(async {
        let (mut rig, task) = (Rig::with_room(100), Arc::default());
        small(&mut rig, &task);
        let core = Rc::clone(&rig.handle.core);
        drop(rig);
        yield_now().await;
        assert_eq!(core.borrow().stream.writes.concat(), b"small");
        assert_eq!(Rc::strong_count(&core), 1, "the turn lets go of it");
    });
}

/// A stream to many, and what was written to it.
fn shared(room: usize) -> (TurnStream<Recorder>, impl Fn(&TurnStream<Recorder>) -> Vec<usize>) {
    let stream = TurnStream::new(Recorder { room, ..Recorder::default() });
    (stream, |stream| stream.look(|recorder| recorder.writes.iter().map(Vec::len).collect()))
}

fn send(stream: &mut TurnStream<Recorder>, bytes: &[u8], task: &Arc<Task>) -> Poll<io::Result<()>> {
    let waker = Waker::from(Arc::clone(task));
    let cx = &mut Context::from_waker(&waker);
    assert_eq!(taken(Pin::new(&mut *stream).poll_write(cx, bytes)), bytes.len());
    Pin::new(stream).poll_flush(cx)
}

#[test]
fn what_is_flushed_waits_for_the_end_of_the_turn_if_it_is_small() {
    with_turns(async {
        let ((mut stream, sizes), task) = (shared(usize::MAX), Arc::default());
        for _ in 0..2 {
            assert!(matches!(send(&mut stream, b"small", &task), Poll::Ready(Ok(()))));
        }
        assert_eq!(sizes(&stream), []);
        yield_now().await;
        assert_eq!(sizes(&stream), [10]);
        assert!(matches!(send(&mut stream, b"small", &task), Poll::Ready(Ok(()))));
        assert!(matches!(send(&mut stream, &[b'x'; SMALL], &task), Poll::Ready(Ok(()))));
        assert_eq!(sizes(&stream), [10, 5, SMALL], "in order, and what is not small at once");
        yield_now().await;
        assert_eq!((sizes(&stream).len(), task.0.load(Relaxed)), (3, 0));
    });
    let ((mut stream, sizes), task) = (shared(usize::MAX), Arc::default());
    assert!(send(&mut stream, b"small", &task).is_ready());
    assert_eq!(sizes(&stream), [5], "this thread has no turns");
}

#[test]
fn what_the_end_of_a_turn_could_not_write_is_told_to_the_task() {
    with_turns(async {
        let ((mut stream, sizes), task) = (shared(2), Arc::default());
        assert!(send(&mut stream, b"small", &task).is_ready());
        yield_now().await;
        assert_eq!((sizes(&stream), task.0.load(Relaxed)), (vec![2], 1));
        assert!(Pin::new(&mut stream).poll_flush(&mut cx()).is_pending(), "the rest is its own");
    });
}

#[test]
fn an_error_at_the_end_of_a_turn_is_that_of_the_next_flush() {
    with_turns(async {
        let mut stream = TurnStream::new(Recorder { broken: true, ..Recorder::default() });
        let task = Arc::default();
        assert!(send(&mut stream, b"small", &task).is_ready());
        yield_now().await;
        assert_eq!(task.0.load(Relaxed), 1);
        let flushed = Pin::new(&mut stream).poll_flush(&mut cx());
        assert!(
            matches!(&flushed, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{flushed:?}"
        );
    });
}
