//! The sink, with a stand-in for the name server that answers when the test says so.

use std::collections::HashMap;

use medusa_proto::access::{Peer, Record};
use medusa_proto::entry::Entry;
use medusa_proto::event::{Event, Level};
use parking_lot::MutexGuard;

use super::window::START;
use super::*;
use crate::batch::tests::record;
use crate::sink::tests::Memory;

const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to be never, in a test.
const NEVER: Duration = Duration::from_hours(1);

/// Knows what it was told, and answers other questions when told to.
#[derive(Debug, Default)]
struct Server {
    known: Mutex<HashMap<IpAddr, Known>>,
    questions: Mutex<Vec<(IpAddr, Answer)>>,
    broken: bool,
}

impl Server {
    fn knows(&self, address: &str, name: Known) {
        self.known.lock().insert(ip(address), name);
    }

    fn questions(&self) -> MutexGuard<'_, Vec<(IpAddr, Answer)>> {
        self.questions.lock()
    }

    /// Waits for so many questions, and takes them.
    fn take_questions(&self, count: usize) -> HashMap<IpAddr, Answer> {
        until(|| (self.questions().len() >= count).then_some(()));
        self.questions().drain(..).collect()
    }
}

impl Names for Server {
    fn check(&self) -> Result<(), NamesError> {
        if self.broken { Err("no name server".into()) } else { Ok(()) }
    }

    fn prepare(&self) -> Result<(), NamesError> {
        self.check()
    }

    fn known(&self, address: IpAddr) -> Known {
        self.known.lock().get(&address).cloned().unwrap_or(Known::NotYet)
    }

    fn ask(&self, address: IpAddr, answer: Answer) {
        self.questions().push((address, answer));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> Known {
    Known::Name(text.into())
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

struct Setup {
    server: Arc<Server>,
    memory: Arc<Memory>,
    sink: ResolvingSink,
}

/// A prepared sink before a sink that keeps what it gets.
fn setup(deadline: Duration) -> Setup {
    let (server, memory) = (Arc::new(Server::default()), Arc::new(Memory::default()));
    let names = Arc::clone(&server) as Arc<dyn Names>;
    let sink = ResolvingSink::new(names, Arc::clone(&memory) as _, ResolvingOptions { deadline });
    sink.prepare().unwrap();
    Setup { server, memory, sink }
}

/// A batch of records of these targets, by clients with these addresses.
fn batch(records: &[(&str, &str)]) -> Arc<Batch> {
    let mut batch = Batch::new();
    for (at, (target, address)) in (0..).zip(records) {
        batch.push(&Record { peer: ip(address).into(), ..record(target, at) });
    }
    batch.seal()
}

/// What has come out: targets, or messages, with their names.
fn out(memory: &Memory) -> Vec<String> {
    let batches = memory.batches();
    let show = |entry: Entry<'_>| match entry {
        Entry::Access(record) => format!("{} {}", record.target, record.name.unwrap_or("-")),
        Entry::Event(event) => event.message.to_owned(),
    };
    batches.iter().flat_map(|batch| batch.iter().map(show).collect::<Vec<_>>()).collect()
}

/// Waits until so much has come out.
fn outcome(memory: &Memory, count: usize) -> Vec<String> {
    until(|| Some(out(memory)).filter(|out| out.len() >= count))
}

#[test]
fn what_is_known_goes_on_at_once() {
    let Setup { server, memory, sink } = setup(NEVER);
    server.knows("192.0.2.1", name("one.example."));
    server.knows("192.0.2.2", Known::NoName);
    sink.submit(&batch(&[("/a", "192.0.2.1"), ("/b", "192.0.2.2"), ("/c", "192.0.2.1")]));
    assert_eq!(outcome(&memory, 3), ["/a one.example", "/b -", "/c one.example"]);
    assert!(server.questions().is_empty());
}

#[test]
fn what_needs_no_name_is_passed_on_untouched() {
    let Setup { server, memory, sink } = setup(NEVER);
    let mut entries = Batch::new();
    entries.push(&Record { peer: Peer::Unix, ..record("/unix", 0) });
    entries.push(&Record { name: Some("named.example"), ..record("/named", 0) });
    let event =
        Event { time: record("", 0).time, level: Level::Info, part: "test", message: "event", request: None };
    entries.push_event(&event);
    let entries = entries.seal();
    sink.submit(&entries);
    assert_eq!(outcome(&memory, 3), ["/unix -", "/named named.example", "event"]);
    assert!(Arc::ptr_eq(&memory.batches()[0], &entries));
    assert!(server.questions().is_empty());
}

#[test]
fn a_batch_waits_for_all_its_names_and_in_its_turn() {
    let Setup { server, memory, sink } = setup(NEVER);
    sink.submit(&batch(&[("/a1", "192.0.2.1"), ("/b1", "2001:db8::2")]));
    sink.submit(&batch(&[("/b2", "2001:db8::2")]));
    let mut questions = server.take_questions(2);
    server.knows("192.0.2.9", Known::NoName);
    sink.submit(&batch(&[("/c", "192.0.2.9"), ("/a2", "192.0.2.1")]));
    questions.remove(&ip("2001:db8::2")).unwrap().give(Some("b.example".into()));
    until(|| (sink.shared.tally.lock().asked == 1).then_some(()));
    assert!(out(&memory).is_empty(), "the first still waits");
    questions.remove(&ip("192.0.2.1")).unwrap().give(Some("a.example".into()));
    let all = ["/a1 a.example", "/b1 b.example", "/b2 b.example", "/c -", "/a2 a.example"];
    assert_eq!(outcome(&memory, 5), all);
    assert!(server.questions().is_empty(), "each address is asked for once");
    until(|| (sink.shared.mailbox.pending().records == 0).then_some(()));
    let tally = *sink.shared.tally.lock();
    assert_eq!((tally.named, tally.nameless, tally.late), (4, 1, 0));
}

#[test]
fn a_name_that_is_no_hosts_is_not_written() {
    let Setup { server, memory, sink } = setup(NEVER);
    server.knows("192.0.2.1", name("127.0.0.1"));
    sink.submit(&batch(&[("/known", "192.0.2.1"), ("/asked", "192.0.2.2"), ("/none", "192.0.2.3")]));
    let mut questions = server.take_questions(2);
    questions.remove(&ip("192.0.2.2")).unwrap().give(Some("x\" 200 5\n".into()));
    drop(questions.remove(&ip("192.0.2.3")));
    let mut lines = outcome(&memory, 3);
    lines.sort();
    assert_eq!(lines, ["/asked -", "/known -", "/none -"]);
    until(|| (sink.shared.tally.lock().nameless == 3).then_some(()));
}

#[test]
fn at_the_deadline_a_record_goes_on_with_its_address() {
    let deadline = Duration::from_millis(50);
    let Setup { server, memory, sink } = setup(deadline);
    let begun = Instant::now();
    sink.submit(&batch(&[("/a", "192.0.2.1"), ("/b", "192.0.2.2"), ("/c", "192.0.2.1")]));
    let mut questions = server.take_questions(2);
    assert_eq!(outcome(&memory, 3), ["/a -", "/b -", "/c -"]);
    assert!(begun.elapsed() >= deadline, "{:?}", begun.elapsed());
    until(|| (sink.shared.tally.lock().late == 3).then_some(()));

    // The question is still open: it is not asked again, and its answer finds those who came later.
    sink.submit(&batch(&[("/d", "192.0.2.1")]));
    until(|| (sink.shared.mailbox.pending().records == 1).then_some(()));
    questions.remove(&ip("192.0.2.1")).unwrap().give(Some("late.example".into()));
    let last = outcome(&memory, 4).remove(3);
    assert!(last == "/d late.example" || last == "/d -", "{last}");
    assert!(server.questions().is_empty());
    // What came too late is not written a second time.
    questions.clear();
    server.knows("192.0.2.3", Known::NoName);
    sink.submit(&batch(&[("/e", "192.0.2.3")]));
    assert_eq!(outcome(&memory, 5).len(), 5);
}

#[test]
fn without_room_records_go_on_unresolved() {
    let (server, memory) = (Arc::new(Server::default()), Arc::new(Memory::default()));
    let names = Arc::clone(&server) as Arc<dyn Names>;
    let mut sink = ResolvingSink::new(names, Arc::clone(&memory) as _, ResolvingOptions { deadline: NEVER });
    let one = batch(&[("/a", "192.0.2.1")]);
    Arc::get_mut(&mut sink.shared).expect("not started").mailbox =
        Arc::new(Mailbox::new(Load { bytes: 2 * one.footprint(), ..MAX_HELD }));
    sink.prepare().unwrap();
    for _ in 0..5 {
        sink.submit(&one);
    }
    assert_eq!(outcome(&memory, 3), ["/a -"; 3]);
    assert_eq!((sink.shared.mailbox.pending().records, sink.shared.tally.lock().not_asked), (2, 3));
}

#[test]
fn so_many_addresses_are_asked_for_and_no_more() {
    let Setup { server, memory, sink } = setup(NEVER);
    let more = 1_000;
    let addresses: Vec<String> =
        (0..START + more).map(|n| format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255)).collect();
    sink.submit(&batch(&addresses.iter().map(|address| ("/", address.as_str())).collect::<Vec<_>>()));
    until(|| (sink.shared.tally.lock().asked == START).then_some(()));
    let questions = server.take_questions(START);
    assert_eq!(questions.len(), START);
    drop(questions);
    assert_eq!(outcome(&memory, addresses.len()).len(), addresses.len());
    until(|| (sink.shared.tally.lock().asked == 0).then_some(()));
    let tally = *sink.shared.tally.lock();
    assert_eq!((tally.nameless, tally.not_asked), (START as u64, more as u64));
    assert_eq!(sink.shared.mailbox.pending(), Load::default());
}

#[test]
fn flush_waits_for_names_up_to_its_deadline() {
    let Setup { server, memory, sink } = setup(NEVER);
    sink.submit(&batch(&[("/a", "192.0.2.1"), ("/b", "192.0.2.2")]));
    let questions = server.take_questions(2);
    assert_eq!(sink.flush(Instant::now()).left, 2);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(questions));
        // The sink behind it says that the two it has now are left.
        assert_eq!(sink.flush(Instant::now() + PATIENCE).left, 2);
        assert_eq!(out(&memory).len(), 2);
    });
    assert_eq!(sink.shared.mailbox.pending().records, 0);
}

#[test]
fn a_flush_gives_up_names_in_time_to_pass_on_what_waits_for_them() {
    let Setup { server, memory, sink } = setup(NEVER);
    sink.submit(&batch(&[("/a", "192.0.2.1"), ("/b", "192.0.2.2")]));
    let _questions = server.take_questions(2);
    let begun = Instant::now();
    assert_eq!(sink.flush(begun + PATIENCE / 40).left, 2, "those that the sink behind it has");
    assert_eq!(out(&memory), ["/a -", "/b -"]);
    assert_eq!(sink.shared.mailbox.pending().records, 0);
    // What comes later waits again.
    sink.submit(&batch(&[("/c", "192.0.2.3")]));
    drop(server.take_questions(1));
    assert_eq!(outcome(&memory, 3)[2], "/c -");
    until(|| (sink.shared.tally.lock().nameless == 1).then_some(()));
}

#[test]
fn a_flush_waits_for_what_was_there_before() {
    let Setup { server, memory, sink } = setup(NEVER);
    server.knows("192.0.2.9", Known::NoName);
    let known = || sink.submit(&batch(&[("/known", "192.0.2.9")]));
    sink.submit(&batch(&[("/slow", "192.0.2.1")]));
    known();
    let questions = server.take_questions(1);
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| {
            let flushed = sink.flush(Instant::now() + PATIENCE);
            assert!(flushed.left >= 2, "the sink behind it has all that was there");
            assert_eq!(out(&memory)[..2], ["/slow -", "/known -"]);
        });
        until(|| sink.shared.mailbox.is_flushing().then_some(()));
        known();
        std::thread::park_timeout(Duration::from_millis(50)); // in which it would end too early
        assert!(!flush.is_finished());
        drop(questions);
    });
}

#[test]
fn one_that_is_dropped_passes_on_what_it_holds() {
    let Setup { server, memory, sink } = setup(Duration::from_millis(30));
    sink.submit(&batch(&[("/a", "192.0.2.1")]));
    let _questions = server.take_questions(1);
    drop(sink);
    assert_eq!(outcome(&memory, 1), ["/a -"]);
    // The worker has ended: nobody else holds the sink behind it.
    until(|| (Arc::strong_count(&memory) == 1).then_some(()));
}

#[test]
fn what_cannot_be_prepared_says_why() {
    let server = Arc::new(Server { broken: true, ..Server::default() });
    let sink = ResolvingSink::new(server, Arc::new(Memory::default()), ResolvingOptions::default());
    for refused in [sink.check(), sink.prepare()] {
        assert_eq!(refused.expect_err("broken").to_string(), "the log with names cannot look them up");
    }
}
