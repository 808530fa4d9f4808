//! What is full is said to be full, and is not kept full by those who left.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use medusa_fetch::{Body, Fault, FetchError, Fetcher, RUNNING, Request, Response, WAITING};
use medusa_proto::status::Value;

use super::origin::{OK, Origin};

type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Response, FetchError>> + 'a>>;

fn get(origin: &Origin) -> Request {
    Request::new("GET", &format!("http://{}/", origin.addr)).unwrap()
}

/// Starts a fetch, and lets it be under way.
async fn begin<'a>(fetcher: &'a Fetcher, request: Request) -> Fetching<'a> {
    let mut fetching: Fetching<'a> = Box::pin(fetcher.fetch(request));
    let ended = poll_fn(|cx| Poll::Ready(fetching.as_mut().poll(cx).is_ready())).await;
    assert!(!ended, "it ended at once");
    fetching
}

fn count(fetcher: &Fetcher, field: &str) -> u64 {
    match fetcher.status().get(field) {
        Some(Value::Count(count) | Value::Bytes(count)) => *count,
        other => panic!("{field} is {other:?}"),
    }
}

async fn wait_until(fetcher: &Fetcher, field: &str, value: u64) {
    let reached = async {
        while count(fetcher, field) != value {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(reached.is_ok(), "{field} is not {value}: {:?}", fetcher.status());
}

#[tokio::test]
async fn so_many_run_so_many_wait_and_one_more_is_refused() {
    let origin = Origin::start(None, None);
    let fetcher = Fetcher::start(None).unwrap();
    let mut fetches = Vec::new();
    for _ in 0..RUNNING + WAITING {
        let mut request = get(&origin);
        request.limits.timeout = Duration::from_mins(1);
        request.limits.connect_timeout = Duration::from_secs(20);
        fetches.push(begin(&fetcher, request).await);
    }
    let refused = fetcher.fetch(get(&origin)).await.unwrap_err();
    assert!(matches!(refused.fault(), Fault::Busy), "{refused:?}");
    wait_until(&fetcher, "running", RUNNING as u64).await;
    assert_eq!(count(&fetcher, "waiting"), WAITING as u64);
    assert!(origin.accepted() <= RUNNING, "{} connections", origin.accepted());
    fetches.clear();
    wait_until(&fetcher, "running", 0).await;
    wait_until(&fetcher, "waiting", 0).await;
    // All is as it was.
    let good = Origin::start(Some(OK), None);
    assert!(fetcher.fetch(get(&good)).await.is_ok());
}

#[tokio::test]
async fn one_that_waits_too_long_says_for_what() {
    let origin = Origin::start(None, None);
    let fetcher = Fetcher::start(None).unwrap();
    let mut running = Vec::new();
    for _ in 0..RUNNING {
        running.push(begin(&fetcher, get(&origin)).await);
    }
    wait_until(&fetcher, "running", RUNNING as u64).await;
    let mut request = get(&origin);
    request.limits.timeout = Duration::from_millis(50);
    let late = fetcher.fetch(request).await.unwrap_err();
    assert_eq!(
        late.fault().to_string(),
        "it took longer than 0.05 s waiting for its turn, as too many fetches are running"
    );
}

/// Bodies that are kept count until they are dropped; what does not fit beside them is refused.
#[tokio::test]
async fn bodies_share_one_bound() {
    let origin = Origin::start(Some(OK), None);
    let fetcher = Fetcher::start(None).unwrap();
    let kept = fetcher.fetch(get(&origin)).await.unwrap();
    assert_eq!(count(&fetcher, "memory"), 2);
    let mut request = get(&origin);
    request.body(vec![0; medusa_fetch::MEMORY]);
    let refused = fetcher.fetch(request).await.unwrap_err();
    assert!(matches!(refused.fault(), Fault::Memory), "{refused:?}");
    drop(kept);
    assert_eq!(count(&fetcher, "memory"), 0);
}

/// A server that answers each request with `answer`, over and over.
fn endless(answer: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let answers = answer.repeat(1 + 65_536 / answer.len());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answers) = (stream.unwrap(), answers.clone());
            thread::spawn(move || {
                let mut head = [0; 4096];
                let _head = stream.read(&mut head).unwrap();
                while stream.write_all(answers.as_bytes()).is_ok() {}
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_server_that_never_comes_to_its_answer_is_left_and_holds_up_nobody() {
    let fetcher = Fetcher::start(None).unwrap();
    let good = Origin::start(Some(OK), None);
    let long = format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(1000));
    for answer in ["HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n", &long] {
        let addr = endless(answer);
        let endless = || Request::new("POST", &format!("http://{addr}/")).unwrap();
        let fetching = async { tokio::join!(fetcher.fetch(endless()), fetcher.fetch(endless())) };
        let ((one, other), served) = tokio::join!(fetching, fetcher.fetch(get(&good)));
        for left in [one, other] {
            let left = left.unwrap_err();
            assert!(matches!(left.fault(), Fault::Interim), "{left:?}");
        }
        assert!(served.is_ok(), "{served:?}");
    }
    wait_until(&fetcher, "running", 0).await;
}

#[tokio::test]
async fn some_informational_answers_are_passed_over() {
    let some = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = Origin::start(Some(some), None);
    let fetcher = Fetcher::start(None).unwrap();
    // Each request has its own.
    for _ in 0..60 {
        assert_eq!(fetcher.fetch(get(&origin)).await.unwrap().status, 200);
    }
    assert_eq!(origin.accepted(), 1);
}

/// A client that has seen many origins lets go of their connections.
#[tokio::test]
async fn idle_connections_are_bounded_over_all_origins() {
    let fetcher = Fetcher::start(None).unwrap();
    let origins: Vec<Origin> = (0..17).map(|_| Origin::start(Some(OK), None)).collect();
    for origin in &origins {
        fetcher.fetch(get(origin)).await.unwrap();
    }
    for origin in &origins[..16] {
        origin.wait_for_close();
    }
    let last = &origins[16];
    fetcher.fetch(get(last)).await.unwrap();
    assert_eq!(last.accepted(), 1, "the last one's connection is kept");
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let origin = Origin::start(Some("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"), None);
    let fetcher = Fetcher::start(None).unwrap();
    let mut request = get(&origin);
    request.stream = true;
    let mut response = fetcher.fetch(request).await.unwrap();
    let Body::Stream(stream) = &mut response.body else { panic!("a stream was asked for") };
    assert_eq!(stream.next().await.unwrap().unwrap(), "begun");
    drop(response);
    origin.wait_for_close();
    wait_until(&fetcher, "running", 0).await;
}

/// The client can be used from any runtime, and outlives each.
#[test]
fn a_connection_outlives_the_runtime_that_asked_for_it() {
    let origin = Origin::start(Some(OK), None);
    let fetcher = Fetcher::start(None).unwrap();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fetcher.fetch(get(&origin))).unwrap();
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn the_thread_ends_with_the_client() {
    let fetcher = Fetcher::start(None).unwrap();
    let origin = Origin::start(Some(OK), None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fetcher.fetch(get(&origin))).unwrap();
    drop(fetcher);
    origin.wait_for_close();
}
