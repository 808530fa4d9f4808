//! Those who make trouble: threads that ask for scripts that misbehave, and threads that attack.
//!
//! What is tried is drawn by chance from the seed, each once before any comes again. When the server dies, what was
//! under way is the first thing to know: [`Hostile::under_way`].

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use medusa_testkit::{Client, dial};
use parking_lot::Mutex;
use rustix::process::setpriority_process;

use super::clients::{self, AttackKind, Targets};
use super::rng::{Deck, Rng, stream};
use super::site;
use crate::threads;

/// Threads that ask for scripts.
const ASKING: u64 = 3;
/// Threads that attack.
const ATTACKING: u64 = 3;
/// The time that a script's answer is waited for: its budget of CPU and then some. It goes on without its client.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two requests of one thread.
const PAUSE: Duration = Duration::from_millis(20);
/// The priority of who goes last, of Linux's numbers.
const LAST: i32 = 19;
/// The most that is read of an answer.
const MOST: usize = 1 << 20;

/// Counts of how often one thing was tried, and what came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    pub(super) times: u64,
    /// Of a script, the answers by status, 0 for none; of a client, the connections it made, as 1.
    pub(super) came: BTreeMap<u16, u64>,
}

impl Tried {
    fn add(&mut self, what: u16, came: u64) {
        self.times += 1;
        *self.came.entry(what).or_default() += came;
    }
}

/// Attacks: what was tried, and what is being tried.
#[derive(Debug, Default)]
pub(super) struct Hostile {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    scripts: BTreeMap<&'static str, Tried>,
    clients: BTreeMap<&'static str, Tried>,
    under_way: Vec<String>,
}

impl Hostile {
    /// Makes trouble until `end`, or until the server is `dead`.
    pub(super) fn run(&self, targets: &Targets, seed: u64, end: Instant, dead: &AtomicBool) {
        let going = || !dead.load(Ordering::Relaxed) && Instant::now() < end;
        threads::together(0..ASKING + ATTACKING, |thread| {
            leave_the_cores();
            let rng = stream(seed, thread);
            if thread < ASKING {
                self.ask(targets, rng, &going);
            } else {
                self.attack(targets, rng, end, &going);
            }
        });
    }

    fn ask(&self, targets: &Targets, mut rng: Rng, going: &impl Fn() -> bool) {
        let ways = site::ways();
        Deck::new(rng.clone(), ways.len()).take_while(|_| going()).for_each(|drawn| {
            let way = ways[drawn];
            let place = if rng.usize(..2) == 0 { "bad" } else { "main" };
            let path = format!("/{place}/{way}");
            let status = self.while_under_way(&path, || request(targets, &path)).unwrap_or(0);
            self.state.lock().scripts.entry(way).or_default().add(status, 1);
            thread::park_timeout(PAUSE); // the pace of a client
        });
    }

    fn attack(&self, targets: &Targets, mut rng: Rng, end: Instant, going: &impl Fn() -> bool) {
        let kinds = clients::all();
        Deck::new(rng.clone(), kinds.len()).take_while(|_| going()).for_each(|drawn| {
            let AttackKind { name, .. } = kinds[drawn];
            let made = self.while_under_way(name, || kinds[drawn].attack(targets, &mut rng, end));
            self.state.lock().clients.entry(name).or_default().add(1, made);
            thread::park_timeout(PAUSE); // a server that refuses is not asked in a busy loop
        });
    }

    fn while_under_way<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        self.state.lock().under_way.push(what.to_owned());
        let result = run();
        let mut state = self.state.lock();
        if let Some(place) = state.under_way.iter().position(|known| known == what) {
            state.under_way.swap_remove(place);
        }
        result
    }

    /// The attacks of just now.
    pub(super) fn under_way(&self) -> Vec<String> {
        self.state.lock().under_way.clone()
    }

    /// The scripts that were tried, by name.
    pub(super) fn scripts(&self) -> BTreeMap<&'static str, Tried> {
        self.state.lock().scripts.clone()
    }

    /// The clients that were tried, by name.
    pub(super) fn clients(&self) -> BTreeMap<&'static str, Tried> {
        self.state.lock().clients.clone()
    }
}

/// Lets the server and the normal clients have the cores first, from now on: attackers have cores of their own. What the
/// server does for them still counts.
fn leave_the_cores() {
    // It can only fail for another's thread, and then the latency is worse.
    let _best_effort = setpriority_process(None, LAST);
}

/// The status of one request for a script.
fn request(targets: &Targets, path: &str) -> io::Result<u16> {
    let mut client = Client::over(dial(Ipv4Addr::new(127, 2, 0, 1), targets.plain, PATIENCE, None)?);
    client.read_at_most(MOST);
    client.try_send(format!("GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n"))?;
    Ok(client.try_response("GET")?.map_or(0, |answer| answer.status))
}
