//! What runs beside a stretch of load: a script that never ends, a native process that never ends, or nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use medusa_testkit::{Client, Process};

use crate::bench::side::Side;
use crate::threads::{self, together};

/// The number of clients that ask for an endless handler at once.
const CLIENTS: usize = 4;
/// The time that an endless handler may take to be stopped. Its budget is a second of CPU and 30 seconds of waiting;
/// the rest is for a machine whose cores are all in use.
const PATIENCE: Duration = Duration::from_mins(1);

/// Makes the timer. A run of it ends by force alone, unless `over` was set before it began.
const START_TIMER: &str = "\
runs, over, idle = 0, false, false
timer = medusa.every(0.1, function()
    if over then idle = true return end
    runs += 1
    while true do end
end)";
/// A statement of its own: what a statement assigns is seen by others when it has succeeded.
const END_TIMER: &str = "over = true";
/// Waits for the first run that does nothing: the endless ones before it were stopped, so many as there were.
const CANCEL_TIMER: &str = "\
while not idle do medusa.sleep(0.02) end
timer:cancel()
return runs";

/// Company of a stretch of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Nothing.
    Nobody,
    /// Clients that ask again and again for a handler that never ends.
    Handler {
        /// What the table calls it.
        name: &'static str,
        /// Where it is mounted.
        path: &'static str,
    },
    /// A timer whose runs never end.
    Timer,
    /// So many processes that have nothing to do with the server and never end.
    Native(usize),
}

impl Beside {
    /// All that is measured, in the order of the table. With one worker there is one native measure, not two.
    pub(super) fn all(workers: usize) -> Vec<Self> {
        let mut all = vec![
            Self::Nobody,
            Self::Handler { name: "inline handler", path: "/endless" },
            Self::Handler { name: "script handler", path: "/endless-file" },
            Self::Timer,
            Self::Native(1),
        ];
        // The clients' connections can keep no more workers busy than there are clients.
        let busy = workers.min(CLIENTS);
        if busy > 1 {
            all.push(Self::Native(busy));
        }
        all
    }

    /// As the table calls it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Handler { name, .. } => name.to_owned(),
            Self::Timer => "timer".to_owned(),
            Self::Native(1) => "1 native process".to_owned(),
            Self::Native(count) => format!("{count} native processes"),
        }
    }

    /// The most that p99 may be, divided by that beside nobody.
    pub(super) fn most(self) -> Option<f64> {
        matches!(self, Self::Timer).then_some(2.0)
    }

    /// Runs beside `measure`. Returns what that returned, and how often a script was stopped, where there was one.
    pub(super) fn during<T>(self, side: &Side, measure: impl FnOnce() -> T) -> (T, Option<u64>) {
        match self {
            Self::Nobody => (measure(), None),
            Self::Handler { path, .. } => {
                let (measured, stopped) = beside_clients(side.address, path, measure);
                (measured, Some(stopped))
            }
            Self::Timer => {
                let (measured, stopped) = beside_timer(side, measure);
                (measured, Some(stopped))
            }
            Self::Native(count) => {
                let _until_dropped: Vec<Process> = (0..count).map(|_| spin()).collect();
                (measure(), None)
            }
        }
    }
}

/// The clients need no signal that they have begun: they send at once, wrk has to be started first.
fn beside_clients<T>(address: SocketAddr, path: &str, measure: impl FnOnce() -> T) -> (T, u64) {
    let ask = |over: &AtomicBool| together(0..CLIENTS, |_| ask_until(over, address, path));
    let (stopped, measured) = threads::beside(ask, measure);
    (measured, stopped.into_iter().sum())
}

/// Asks for `path` again and again, at least once, until it is `over`; returns how often. Every answer must be 503.
fn ask_until(over: &AtomicBool, address: SocketAddr, path: &str) -> u64 {
    let mut stopped = 0;
    loop {
        let mut client = Client::connect(address);
        client.give_up_after(PATIENCE);
        let answer = client.get(path);
        assert_eq!(answer.status, 503, "{path} never ends, so it must be stopped: {}", answer.text());
        stopped += 1;
        if over.load(Relaxed) {
            return stopped;
        }
    }
}

fn beside_timer<T>(side: &Side, measure: impl FnOnce() -> T) -> (T, u64) {
    let server = side.ours();
    server.eval(START_TIMER);
    let measured = measure();
    server.eval(END_TIMER);
    let runs = server.eval(CANCEL_TIMER);
    match runs.parse() {
        Ok(stopped @ 1..) => (measured, stopped),
        _ => panic!("the timer must have run, but the number of its runs was `{runs}`"),
    }
}

/// A process that spins until it is dropped. Should even the drop not come, the kernel ends it after an hour of CPU.
fn spin() -> Process {
    Process::start(Command::new("sh").args(["-c", "ulimit -t 3700; while :; do :; done"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A server that answers every connection with `answer`, once it has read the request.
    fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("accept");
                let lines = BufReader::new(stream.try_clone().expect("clone")).lines();
                let head = lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
                assert!(head.count() > 0, "a request");
                stream.write_all(answer.as_bytes()).expect("write");
            }
        });
        address
    }

    #[test]
    fn clients_ask_at_least_once_and_count_what_was_stopped() {
        let address = answering("HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let (measured, stopped) = beside_clients(address, "/endless", || "measured");
        assert_eq!(measured, "measured");
        assert!(stopped >= CLIENTS as u64, "{stopped}");
    }

    #[test]
    #[should_panic(expected = "it must be stopped: done")]
    fn any_other_answer_fails_the_run() {
        let address = answering("HTTP/1.1 200 OK\r\n\r\ndone\n");
        beside_clients(address, "/endless", || ());
    }

    #[test]
    fn there_is_a_native_measure_for_one_core_and_for_all_the_clients_keep_busy() {
        let native = |workers| {
            let all = Beside::all(workers).into_iter();
            all.filter(|beside| matches!(beside, Beside::Native(_))).collect::<Vec<_>>()
        };
        assert_eq!(native(1), [Beside::Native(1)]);
        assert_eq!(native(2), [Beside::Native(1), Beside::Native(2)]);
        assert_eq!(native(64), [Beside::Native(1), Beside::Native(4)]);
    }
}
