//! The queue as its sink and its writer see it.

mod model;
mod spilling;

use super::*;
use crate::batch::tests::{batch, first_target};
use medusa_proto::access::{Loss, Timestamp};

fn queue(records: usize, bytes: usize) -> Queue {
    Queue::with_limits(QueueOptions { records, bytes, ..QueueOptions::default() })
}

fn take(queue: &Queue) -> Arc<Batch> {
    match queue.next(None) {
        Work::Records(Ok(batch), _) => batch,
        other => panic!("a batch, not {other:?}"),
    }
}

/// Settles `batch`, of which so many records are written.
fn settle(queue: &Queue, batch: &Arc<Batch>, written: usize) -> bool {
    queue.settle(&Ok(Arc::clone(batch)), written)
}

#[test]
fn a_full_queue_drops_counts_and_marks_the_place() {
    let queue = queue(4, usize::MAX);
    queue.submit(&batch(["a", "b"]));
    queue.submit(&batch(["c", "d"]));
    queue.submit(&batch(["e"]));
    queue.submit(&batch(["f", "g"]));
    let first = take(&queue);
    settle(&queue, &first, 2);
    queue.submit(&batch(["h"]));

    assert_eq!(take(&queue).len(), 2);
    let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
    let Work::Records(Err(loss), _) = queue.next(None) else { panic!("the loss stands where it happened") };
    assert_eq!(loss, Loss { records: 3, from: at(0), to: at(1) });
    assert_eq!(first_target(&take(&queue)), "h");

    let accounts = queue.accounts();
    assert_eq!((accounts.pending, accounts.written, accounts.lost), (3, 2, 3));
}

#[test]
fn what_the_writer_holds_counts_against_the_limit() {
    let one = batch(["a"]);
    let queue = queue(usize::MAX, one.footprint());
    queue.submit(&one);
    let held = take(&queue);
    queue.submit(&one);
    assert_eq!(queue.accounts().lost, 1, "by bytes");
    settle(&queue, &held, 1);
    queue.submit(&one);
    assert_eq!(queue.accounts().pending, 1);
}

#[test]
fn a_batch_beyond_the_limit_is_taken_by_an_idle_queue() {
    let queue = queue(1, 1);
    queue.submit(&batch(["a", "b", "c"]));
    assert_eq!(queue.accounts().pending, 3);
    queue.submit(&batch(Vec::<&str>::new()));
    assert_eq!(queue.accounts().lost, 0, "an empty batch is nothing");
}

#[test]
fn flush_waits_for_what_is_in_hand_and_tells_what_is_left() {
    let queue = queue(10, usize::MAX);
    queue.submit(&batch(["a"]));
    queue.submit(&batch(["b", "c"]));
    assert_eq!(queue.flush(Instant::now()), Flushed { left: 3, spilled: 0 });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let held = loop {
                    if let Work::Records(Ok(batch), _) = queue.next(None) {
                        break batch;
                    }
                };
                settle(&queue, &held, held.len());
            }
        });
        let flushed = queue.flush(Instant::now() + Duration::from_mins(1));
        assert!(flushed.is_complete());
        assert_eq!(queue.accounts().written, 3);
    });
}

#[test]
fn what_may_not_have_arrived_comes_again_in_order() {
    let queue = queue(10, usize::MAX);
    for targets in [["a", "b"], ["c", "d"], ["e", "f"]] {
        queue.submit(&batch(targets));
    }
    let (first, second) = (take(&queue), take(&queue));
    settle(&queue, &first, 2);
    queue.put_back(vec![(Ok(first), 0)], Some((Ok(second), 0)));
    let again: Vec<_> = (0..3).map(|_| take(&queue)).collect();
    assert_eq!(again.iter().map(|batch| first_target(batch)).collect::<Vec<_>>(), ["a", "c", "e"]);
    assert!(!queue.flush(Instant::now()).is_complete());
    for batch in again {
        settle(&queue, &batch, 2);
    }
    assert!(queue.flush(Instant::now()).is_complete());
    let accounts = queue.accounts();
    assert_eq!((accounts.pending, accounts.written, accounts.resent), (0, 6, 2));
}

#[test]
fn a_closed_queue_is_emptied_first() {
    let queue = queue(10, usize::MAX);
    queue.submit(&batch(["a"]));
    queue.close();
    assert_eq!(take(&queue).len(), 1);
    assert!(matches!(queue.next(None), Work::End));
    queue.pause(Duration::from_hours(1)); // returns at once
}

fn full(records: usize, when_full: WhenFull) -> Queue {
    Queue::with_limits(QueueOptions { records, bytes: usize::MAX, when_full })
}

#[test]
fn the_oldest_go_and_are_told_where_they_stood() {
    let queue = full(4, WhenFull::DropOld);
    queue.submit(&batch(["a", "b"]));
    let held = take(&queue);
    queue.submit(&batch(["c"]));
    queue.submit(&batch(["d"]));
    queue.submit(&batch(["e"]));
    queue.submit(&batch(["f"]));
    let Work::Records(Err(loss), _) = queue.next(None) else { panic!("a loss ahead of what is left") };
    assert_eq!(loss.records, 2, "c and d, not what the writer holds");
    queue.settle(&Err(loss), 0);
    queue.submit(&batch(["g", "h"]));
    let Work::Records(Err(loss), _) = queue.next(None) else { panic!("a second loss") };
    assert_eq!(loss.records, 2, "e and f");
    queue.settle(&Err(loss), 0);
    settle(&queue, &held, 2);
    let last = take(&queue);
    assert_eq!(first_target(&last), "g");
    settle(&queue, &last, 2);
    assert!(queue.flush(Instant::now()).is_complete());
    let accounts = queue.accounts();
    assert_eq!((accounts.pending, accounts.written, accounts.lost), (0, 4, 4));
}

#[test]
fn a_flush_knows_items_that_became_a_loss() {
    let queue = full(2, WhenFull::DropOld);
    for target in ["a", "b", "c", "d", "e"] {
        queue.submit(&batch([target]));
    }
    let Work::Records(Err(loss), _) = queue.next(None) else { panic!("a loss") };
    assert_eq!(loss.records, 3);
    queue.settle(&Err(loss), 0);
    for _ in 0..2 {
        assert!(!queue.flush(Instant::now()).is_complete());
        assert!(matches!(queue.next(None), Work::Nudge));
        let next = take(&queue);
        settle(&queue, &next, 1);
    }
    assert!(queue.flush(Instant::now()).is_complete());
}

#[test]
fn a_worker_waits_for_room() {
    let queue = full(1, WhenFull::Block(WhenFull::MAX_BLOCK));
    queue.submit(&batch(["a"]));
    let held = take(&queue);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.submit(&batch(["b"])));
        // There is no room before the worker is seen to wait for it, or has given up on a machine that stood still.
        while queue.state.lock().waits == 0 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        settle(&queue, &held, 1);
        waiting.join().expect("no panic");
    });
    let accounts = queue.accounts();
    assert_eq!(accounts.pending + accounts.lost, 1);
    assert_eq!(accounts.lost == 1, queue.state.lock().in_vain, "what was lost was waited for in vain");
}

#[test]
fn a_dead_target_makes_nobody_wait_twice() {
    let queue = full(1, WhenFull::Block(WhenFull::MAX_BLOCK));
    queue.submit(&batch(["a"]));
    let begin = Instant::now();
    queue.submit(&batch(["b"]));
    assert!(begin.elapsed() >= WhenFull::MAX_BLOCK && queue.state.lock().waits == 1, "the first waits");
    for _ in 0..1000 {
        queue.submit(&batch(["c"]));
    }
    assert_eq!(queue.state.lock().waits, 1, "the others do not");
    assert_eq!(queue.accounts().lost, 1001);

    let held = take(&queue);
    settle(&queue, &held, 1);
    queue.submit(&batch(["d"]));
    assert!(!queue.state.lock().in_vain, "there has been room: waiting may help again");
    queue.close();
    queue.submit(&batch(["e"]));
    assert_eq!(queue.state.lock().waits, 1, "nobody waits for a sink that is gone");
}

#[test]
fn the_status_says_what_happens_when_full() {
    for (when_full, text) in [
        (WhenFull::Block(Duration::from_millis(5)), "block <= 5ms"),
        (WhenFull::DropNew, "drop_new"),
        (WhenFull::DropOld, "drop_old"),
    ] {
        let status = full(1, when_full).describe(Status::new("log.test", ""));
        assert_eq!(status.get("when_full"), Some(&Value::Text(text.into())));
        assert_eq!(status.get("resent"), None);
    }
}
