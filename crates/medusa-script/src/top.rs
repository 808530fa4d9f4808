//! The server in numbers, second by second, for who looks on.
//!
//! Nothing here is counted for them but how long requests take: what there is already is read once a second, and compared.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use medusa_http::{Latencies, LatencyWatch, Mount};
use medusa_net::limits;
use medusa_proto::progress::TaskProgress;
use medusa_proto::status::{Status, Value};
use medusa_proto::top::{MOST_BUSY, TopMount, TopSample, TopTrial};
use medusa_site::{HttpServer, Live};
use tokio::time::{Instant, MissedTickBehavior};

use crate::transaction::ProgressSender;
use crate::vm;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Tells of `n` seconds, each when it is over; or of all that come, until nobody listens any more. A second that comes while
/// the one before has not been taken is left out.
pub(crate) async fn watch(live: &Live, n: Option<u64>, events: &ProgressSender) {
    let looking = LatencyWatch::begin(None);
    let mut before = TopReading::take(live, &looking).await;
    let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = 0;
    while n.is_none_or(|n| told < n) {
        tokio::select! {
            biased;
            () = events.closed() => return,
            _ = ticks.tick() => {}
        }
        let now = TopReading::take(live, &looking).await;
        if events.capacity() == events.max_capacity() {
            let _left = events.try_send(TaskProgress::Top(Box::new(now.since(&before, live))));
            told += 1;
        }
        before = now;
    }
}

/// Requests, and of those the ones with a 5xx.
type Answered = (u64, u64);

/// The counts of a moment.
struct TopReading {
    at: Instant,
    all: Answered,
    /// By the address of a mount's counters, which it keeps across changes.
    mounts: HashMap<usize, Answered>,
    latencies: Latencies,
    vm_bytes: u64,
    vms: u64,
}

impl TopReading {
    async fn take(live: &Live, looking: &LatencyWatch) -> Self {
        let mut memory = vec![vm::memory_here()];
        if let Some(workers) = live.workers() {
            let there = workers.run_on_each(|_worker| std::future::ready(vm::memory_here())).await;
            memory.extend(there.into_iter().flatten());
        }
        let site = live.site();
        let servers = || site.parts.all::<HttpServer>().map(|server| &server.definition);
        let all = servers().map(|server| server.counters.requests.answered());
        let mounts = servers().flat_map(|server| server.mounts.values());
        Self {
            at: Instant::now(),
            all: all.fold((0, 0), |(all, errors), (some, failed)| (all + some, errors + failed)),
            mounts: mounts.map(|mount| (key(mount), mount.counters.answered())).collect(),
            latencies: looking.read(),
            vm_bytes: memory.iter().map(|(bytes, _)| bytes).sum(),
            vms: memory.iter().map(|(_, vms)| vms).sum(),
        }
    }

    fn since(&self, before: &Self, live: &Live) -> TopSample {
        let site = live.site();
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(0.001);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let latencies = self.latencies.since(&before.latencies);
        let millis = |part| latencies.quantile(part).map(|length| length.as_secs_f64() * 1000.0);
        let (waiting, lost) = site
            .sinks()
            .map(|sink| waiting(&sink.status()))
            .fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let mut busy: Vec<(Answered, &Arc<str>, &Arc<Mount>)> = Vec::new();
        for server in site.parts.all::<HttpServer>() {
            for mount in server.definition.mounts.values() {
                let (requests, errors) = self.mounts.get(&key(mount)).copied().unwrap_or_default();
                let (had, failed) = before.mounts.get(&key(mount)).copied().unwrap_or_default();
                let between = (requests.saturating_sub(had), errors.saturating_sub(failed));
                if between.0 > 0 {
                    busy.push((between, &server.definition.name, mount));
                }
            }
        }
        busy.sort_by_key(|(between, ..)| Reverse(*between));
        let mounts = busy.into_iter().take(MOST_BUSY).map(|((requests, errors), server, mount)| TopMount {
            server: server.to_string(),
            mount: mount.pattern.to_string(),
            requests: rate(requests, 0),
            errors: rate(errors, 0),
        });
        let trial = live.pending().map(|pending| {
            let seconds = pending.left().as_secs_f64();
            TopTrial { generation: pending.generation, seconds }
        });
        TopSample {
            requests: rate(self.all.0, before.all.0),
            errors: rate(self.all.1, before.all.1),
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            connections: limits::open() as u64,
            logs_waiting: waiting,
            logs_lost: lost,
            vm_bytes: self.vm_bytes,
            vms: self.vms,
            trial,
            mounts: mounts.collect(),
        }
    }
}

fn key(mount: &Mount) -> usize {
    Arc::as_ptr(&mount.counters).addr()
}

/// The records that wait in a log, and that it has lost.
fn waiting(log: &Status) -> (u64, u64) {
    let count = |name| match log.get(name) {
        Some(Value::Count(count)) => *count,
        _ => 0,
    };
    (count("queue") + count("waiting") + count("spilled"), count("lost"))
}
