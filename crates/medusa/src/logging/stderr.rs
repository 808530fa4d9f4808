//! Standard error, which nobody may ever read.
//!
//! **Invariants:** no thread waits for standard error but the one that writes to it. What waits is bounded in bytes; what
//! finds no room is lost, counted, and told as soon as there is room. Lines are whole.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{self, Duration, Instant};

use medusa_proto::event::{Event, Level};
use medusa_proto::shown::Escaped;
use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use super::events::Output;

/// Bytes that may wait, and as many may be on their way: more than anybody reads at once, and thousands of events.
const MAX_BYTES: usize = 1024 * 1024;

/// The beginning of a line that goes on with the event of the line before. No event's line begins so.
const CONTINUED: &str = "  | ";

/// Lines on their way to standard error.
#[derive(Clone, Debug)]
pub(super) struct Stderr {
    queue: Arc<Queue>,
    has_colour: bool,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Signalled when there is something to write, or nothing any more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: String,
    /// Events that found no room.
    lost: u64,
    is_writing: bool,
    is_closed: bool,
}

impl Stderr {
    /// Starts the thread that writes.
    ///
    /// # Errors
    ///
    /// The system refused the thread.
    pub(super) fn start(has_colour: bool) -> io::Result<Self> {
        let stderr = Self { queue: Arc::default(), has_colour };
        let queue = Arc::clone(&stderr.queue);
        thread::Builder::new().name("medusa-log".to_owned()).spawn(move || queue.write_all(io::stderr()))?;
        Ok(stderr)
    }

    /// Waits until everything is written, or for `patience`; nothing is taken any more. Returns how many events were
    /// lost without a word about it.
    pub(super) fn close(&self, patience: Duration) -> u64 {
        let deadline = Instant::now() + patience;
        let mut state = self.queue.state.lock();
        state.is_closed = true;
        self.queue.changed.notify_all();
        while state.is_writing || !state.waiting.is_empty() {
            let time = deadline.saturating_duration_since(Instant::now());
            if time.is_zero() {
                return state.lost
                    + state.waiting.lines().filter(|line| !line.starts_with(CONTINUED)).count() as u64;
            }
            self.queue.changed.wait_for(&mut state, time);
        }
        state.lost
    }
}

impl Output for Stderr {
    fn put(&self, event: &Event<'_>) {
        self.queue.put(&line(event, self.has_colour));
    }
}

impl Queue {
    fn put(&self, line: &str) {
        let mut state = self.state.lock();
        if state.waiting.len() + line.len() > MAX_BYTES || state.is_closed {
            state.lost += 1;
            return;
        }
        state.waiting.push_str(line);
        drop(state);
        self.changed.notify_all();
    }

    /// The thread.
    fn write_all(&self, mut to: impl io::Write) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && !state.is_closed;
            let mut state = self.state.lock();
            self.changed.wait_while(&mut state, idle);
            if state.waiting.is_empty() {
                return;
            }
            let lost = std::mem::take(&mut state.lost);
            let mut text = std::mem::take(&mut state.waiting);
            state.is_writing = true;
            drop(state);
            if lost > 0 {
                text.push_str(&self::lost(lost));
            }
            // There is nobody to be told: this is where one would be.
            let _closed = to.write_all(text.as_bytes()).and_then(|()| to.flush());
            self.state.lock().is_writing = false;
            self.changed.notify_all();
        }
    }
}

/// The line about events that found no room.
fn lost(events: u64) -> String {
    let message = format!("{events} events of this log were lost: they came faster than they were read");
    line(
        &Event {
            time: time::SystemTime::now().into(),
            level: Level::Error,
            part: "log",
            message: &message,
            request: None,
        },
        false,
    )
}

/// Time, level, the part of the program, and what happened; where that has more lines, they follow, marked.
fn line(event: &Event<'_>, has_colour: bool) -> String {
    let [faint, colour, plain] =
        if has_colour { ["\x1b[2m", level_colour(event.level), "\x1b[0m"] } else { [""; 3] };
    let (level, part) = (event.level.name().to_uppercase(), Escaped::line(event.part));
    let message = Escaped::lines(event.message.trim_end_matches('\n'), CONTINUED);
    let mut line = faint.to_owned();
    // Memory cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    let _ = writeln!(line, "{plain} {colour}{level:>5}{plain} {faint}{part}:{plain} {message}");
    line
}

const fn level_colour(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug | Level::Trace => "\x1b[2m",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn event(message: &str) -> Event<'_> {
        Event {
            time: time::SystemTime::UNIX_EPOCH.into(),
            level: Level::Warn,
            part: "http",
            message,
            request: None,
        }
    }

    #[test]
    fn a_line_has_time_level_part_and_message_and_the_next_is_marked() {
        let text = line(&event("hello you worker=1\n    a frame\n"), false);
        let (time, rest) = text.split_at(text.find('Z').expect("the time is UTC"));
        assert!(time.starts_with("20"), "{text}");
        assert_eq!(rest, "Z  WARN http: hello you worker=1\n  |     a frame\n");
    }

    /// Takes what is written when it is asked to.
    struct Slow(mpsc::SyncSender<Vec<u8>>);

    impl io::Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_is_bounded_in_bytes_and_the_loss_is_told() {
        let (to, written) = mpsc::sync_channel(0);
        let stderr = Stderr { queue: Arc::default(), has_colour: false };
        let queue = Arc::clone(&stderr.queue);
        let writer = thread::spawn(move || queue.write_all(Slow(to)));
        let long = "x".repeat(8 * 1024);
        let put = 2 * MAX_BYTES / long.len() + 100;
        for _ in 0..put {
            stderr.put(&event(&long));
            assert!(stderr.queue.state.lock().waiting.len() <= MAX_BYTES);
        }
        // If the writer is fast, there is more than one loss.
        let (mut text, mut reported, mut lost) = (String::new(), 0, 0);
        while reported + lost < put {
            text.push_str(str::from_utf8(&written.recv().expect("it goes on")).expect("text"));
            reported = text.lines().filter(|line| line.contains("WARN http: xxx")).count();
            let losses = text.lines().filter_map(|line| {
                line.strip_suffix(" events of this log were lost: they came faster than they were read")
            });
            let numbers = losses.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok()));
            lost = numbers.map(|n| n.expect("a number")).sum();
        }
        assert!(lost > 0, "{reported} of {put} were told");
        assert_eq!(reported + lost, put);
        assert_eq!(stderr.close(Duration::from_secs(20)), 0);
        writer.join().expect("it ends");
    }

    #[test]
    fn nobody_waits_for_ever_at_the_end() {
        let stderr = Stderr { queue: Arc::default(), has_colour: false };
        stderr.put(&event("one\ntwo"));
        stderr.put(&event("three"));
        assert_eq!(stderr.close(Duration::ZERO), 2, "nobody writes");
    }
}
