//! Jobs on workers.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;

use medusa_net::{WorkerGone, worker};
use tokio::task::{spawn_local, yield_now};

use crate::support::workers;

#[tokio::test]
async fn a_job_runs_on_its_worker_and_need_not_be_send() {
    let workers = workers(2);
    for number in 0..2 {
        let job = || async {
            let shared = Rc::new(Cell::new(None));
            let task = spawn_local({
                let shared = shared.clone();
                async move { shared.set(worker::current()) }
            });
            task.await.expect("no panic");
            (shared.get(), std::thread::current().name().map(ToOwned::to_owned))
        };
        let (current, thread) = workers.run(number, job).await.expect("runs");
        assert_eq!(current, Some(number));
        assert_eq!(thread, Some(format!("medusa-worker-{number}")));
    }
    assert_eq!((worker::current(), worker::index()), (None, 0), "this thread is no worker");
    workers.stop();
}

#[tokio::test]
async fn a_job_on_each_worker_runs_on_all_at_once() {
    let workers = workers(3);
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(3));
    let job = move |number| {
        let barrier = barrier.clone();
        async move {
            barrier.wait().await;
            (number, worker::index())
        }
    };
    let results: Vec<_> =
        workers.run_on_each(job).await.into_iter().collect::<Result<_, _>>().expect("all run");
    assert_eq!(results, [(0, 0), (1, 1), (2, 2)]);
}

#[tokio::test]
async fn a_panic_ends_the_job_and_not_the_worker() {
    let workers = workers(1);
    let at_once = workers.run(0, || -> std::future::Ready<()> { panic!("at once") }).await;
    assert_eq!(at_once, Err(WorkerGone::Panicked { worker: 0 }));
    let later = workers
        .run(0, || async {
            yield_now().await;
            panic!("later");
        })
        .await;
    assert_eq!(later, Err::<(), _>(WorkerGone::Panicked { worker: 0 }));
    assert_eq!(workers.run(0, || async { 7 }).await, Ok(7));
}

#[tokio::test]
async fn there_is_no_worker_past_the_last() {
    let gone = workers(2).run(2, || async {}).await;
    assert_eq!(gone, Err(WorkerGone::NoSuchWorker { worker: 2, count: 2 }));
    let message = gone.map_err(|gone| gone.to_string());
    assert_eq!(message, Err("there is no worker 2: this server has 2, numbered from 0".to_owned()));
}

#[tokio::test]
async fn stopping_drops_what_still_runs_and_waits_for_the_threads() {
    struct Dropped(mpsc::SyncSender<usize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(worker::index());
        }
    }

    let workers = workers(2);
    let (sender, dropped) = mpsc::sync_channel(2);
    let job = move |_| {
        let dropped = Dropped(sender.clone());
        async move {
            spawn_local(async move {
                std::future::pending::<()>().await;
                drop(dropped);
            });
        }
    };
    assert!(workers.run_on_each(job).await.iter().all(Result::is_ok));

    workers.stop();
    let mut numbers: Vec<_> = dropped.try_iter().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1]);
    assert_eq!(workers.run(1, || async {}).await, Err(WorkerGone::Stopped { worker: 1 }));
    workers.stop();
}
