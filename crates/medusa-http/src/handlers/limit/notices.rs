//! What is told of refusals: for each client one line at once, and one for each minute in which there are more, with
//! their number. A line for each refusal would be the attack.
//!
//! There is no timer: what is due is told with the next request that comes, or when the handler is retired.
//!
//! **Invariant:** while the server runs, every refusal is in a line, or in a count that will be told. Of more clients
//! than [`MOST`] at a time there is one count for all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// The clients that have a line of their own at a time.
const MOST: usize = 64;
/// The time from one line of a client to its next, in nanoseconds.
const EVERY: u64 = 60_000_000_000;

/// What there is to tell, and when.
#[derive(Debug)]
pub(super) struct Notices {
    /// The time from which on something is to be told.
    due: AtomicU64,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    clients: Vec<NotedClient>,
    others: PendingCount,
    forgotten: PendingCount,
}

#[derive(Debug)]
struct NotedClient {
    client: u64,
    name: String,
    refusals: PendingCount,
}

/// Something that is told again only when a time is over.
#[derive(Debug, Default)]
struct PendingCount {
    count: u64,
    /// Nothing is told before.
    quiet_until: u64,
}

impl PendingCount {
    /// What is to be told now, and in how many seconds it came together.
    fn take(&mut self, now: u64, is_last: bool) -> Option<(u64, u64)> {
        if self.count == 0 || (now < self.quiet_until && !is_last) {
            return None;
        }
        let since = now.saturating_sub(self.quiet_until.saturating_sub(EVERY));
        self.quiet_until = now.saturating_add(EVERY);
        Some((std::mem::take(&mut self.count), since.div_ceil(1_000_000_000)))
    }
}

impl Notices {
    pub(super) fn new() -> Self {
        Self { due: AtomicU64::new(u64::MAX), pending: Mutex::default() }
    }

    /// A client was refused. Returns whether that is to be told at once.
    pub(super) fn refused(&self, client: u64, name: impl FnOnce() -> String, now: u64) -> bool {
        let mut pending = self.pending.lock();
        if let Some(known) = pending.clients.iter_mut().find(|known| known.client == client) {
            known.refusals.count += 1;
            return false;
        }
        if pending.clients.len() >= MOST {
            pending.others.count += 1;
            self.due.fetch_min(pending.others.quiet_until, Relaxed);
            return false;
        }
        let quiet_until = now.saturating_add(EVERY);
        let refusals = PendingCount { count: 0, quiet_until };
        pending.clients.push(NotedClient { client, name: name(), refusals });
        self.due.fetch_min(quiet_until, Relaxed);
        true
    }

    /// There was no place for a client but another's.
    pub(super) fn forgotten(&self) {
        let mut pending = self.pending.lock();
        pending.forgotten.count += 1;
        self.due.fetch_min(pending.forgotten.quiet_until, Relaxed);
    }

    /// Whether something is to be told. Costs a look at a number.
    pub(super) fn is_due(&self, now: u64) -> bool {
        self.due.load(Relaxed) <= now
    }

    /// What is to be told now; all there is, if it is the last time.
    pub(super) fn tell(&self, now: u64, is_last: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut pending = self.pending.lock();
        pending.clients.retain_mut(|known| {
            if let Some((count, seconds)) = known.refusals.take(now, is_last) {
                lines.push(format!(
                    "{count} more requests of {} were answered 429 in {seconds} s",
                    known.name
                ));
            }
            known.refusals.quiet_until > now
        });
        if let Some((count, _)) = pending.others.take(now, is_last) {
            lines.push(format!(
                "{count} requests of clients beside the {MOST} that are told apart were answered 429"
            ));
        }
        if let Some((count, _)) = pending.forgotten.take(now, is_last) {
            lines.push(format!(
                "there was no place for more clients, and those who had asked least were forgotten: {count} times"
            ));
        }
        let next = |count: &PendingCount| if count.count == 0 { u64::MAX } else { count.quiet_until };
        let clients = pending.clients.iter().map(|known| known.refusals.quiet_until);
        let due = clients.chain([next(&pending.others), next(&pending.forgotten)]).min();
        self.due.store(due.unwrap_or(u64::MAX), Relaxed);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_at_once_and_then_once_a_minute() {
        let notices = Notices::new();
        let refused = |now| notices.refused(1, || "192.0.2.1".to_owned(), now);
        assert!(refused(0));
        assert!((0..1000).all(|n| !refused(n)) && !notices.is_due(EVERY - 1));
        assert!(notices.is_due(EVERY));
        assert_eq!(notices.tell(EVERY, false), ["1000 more requests of 192.0.2.1 were answered 429 in 60 s"]);
        assert!(!notices.is_due(EVERY) && !refused(EVERY + 1), "still the same attack");
        assert_eq!(
            notices.tell(2 * EVERY, false),
            ["1 more requests of 192.0.2.1 were answered 429 in 60 s"]
        );
        assert_eq!(notices.tell(3 * EVERY, false), [""; 0], "a minute without one");
        assert!(refused(3 * EVERY), "a new one");
    }

    #[test]
    fn clients_beyond_those_are_counted_together() {
        let notices = Notices::new();
        let told = (0..1000).filter(|&client| notices.refused(client, || client.to_string(), 5)).count();
        assert_eq!(told, MOST);
        assert!(notices.is_due(5));
        let others = "936 requests of clients beside the 64 that are told apart were answered 429";
        assert_eq!(notices.tell(5, false), [others]);
        assert!(!notices.refused(2000, String::new, 6) && !notices.is_due(6), "told within a minute");
        assert_eq!(notices.tell(5 + EVERY, false).len(), 1);
    }

    #[test]
    fn what_is_left_is_told_at_the_end() {
        let notices = Notices::new();
        notices.refused(1, || "192.0.2.1".to_owned(), 0);
        notices.refused(1, || "192.0.2.1".to_owned(), 1);
        notices.forgotten();
        let lines = notices.tell(2_000_000_000, true);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0], "1 more requests of 192.0.2.1 were answered 429 in 2 s");
        assert!(lines[1].ends_with("forgotten: 1 times"), "{lines:?}");
    }
}
