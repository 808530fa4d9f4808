//! The choice of an upstream: of those that answer, one by the rule; of those that do not, one all the same if there are no
//! others, for they may be well by now, and an error helps nobody.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use medusa_http::Head;
use medusa_net::clients::ClientPrefix;
use medusa_proto::access::Peer;

use crate::options::Balance;
use crate::upstream::Upstream;

/// Numbers of upstreams, below 64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UpstreamSet(u64);

impl UpstreamSet {
    pub(crate) fn add(&mut self, at: usize) {
        self.0 |= 1 << at;
    }

    pub(crate) fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }
}

/// Chooses among upstreams.
#[derive(Debug, Default)]
pub(crate) struct Chooser {
    next: AtomicUsize,
    /// It was said that none answers.
    has_told: AtomicBool,
}

impl Chooser {
    /// One of those that were not tried for this request; none when all were. `pause` is between two tries of one that is down,
    /// if requests are to find out whether it still is.
    pub(crate) fn choose(
        &self,
        upstreams: &[Arc<Upstream>],
        balance: Balance,
        head: &Head,
        tried: UpstreamSet,
        (now, pause): (u64, Option<u64>),
    ) -> Option<usize> {
        if let [_only] = upstreams {
            return (!tried.has(0)).then_some(0);
        }
        let is_up = |at: &usize| !upstreams[*at].state().health.is_down();
        let left = || (0..upstreams.len()).filter(|&at| !tried.has(at));
        // One that is to be tried again comes before the others: they would be chosen for ever.
        let due = || left().find(|at| !is_up(at) && upstreams[*at].state().health.may_try(now, pause));
        if let Some(at) = due().or_else(|| self.by_rule(upstreams, balance, head, left().filter(is_up))) {
            if self.has_told.load(Relaxed) && left().any(|at| is_up(&at)) {
                self.has_told.store(false, Relaxed);
            }
            return Some(at);
        }
        let at = self.by_rule(upstreams, balance, head, left())?;
        if tried == UpstreamSet::default() && !self.has_told.swap(true, Relaxed) {
            tracing::error!(
                "medusa.handler.proxy: all {} upstreams are down ({} and others): they are asked all the same",
                upstreams.len(),
                upstreams[at].name
            );
        }
        Some(at)
    }

    fn by_rule(
        &self,
        upstreams: &[Arc<Upstream>],
        balance: Balance,
        head: &Head,
        among: impl Iterator<Item = usize> + Clone,
    ) -> Option<usize> {
        let turn = || {
            // Of those there are now: one that is down takes nobody's turn along.
            let among = || among.clone();
            match among().count() {
                0 => None,
                count => among().nth(self.next.fetch_add(1, Relaxed) % count),
            }
        };
        match balance {
            Balance::RoundRobin => turn(),
            Balance::LeastConnections => {
                let first = turn()?;
                let active = |at: usize| upstreams[at].state().counts.active.load(Relaxed);
                // Of several with as few, the one whose turn it is.
                among.clone().min_by_key(|&at| (active(at), at != first))
            }
            Balance::Address => match head.client {
                Peer::Ip(address) => by_hash(upstreams, ClientPrefix::host(address), among),
                Peer::Unix => by_hash(upstreams, "unix", among),
            },
            Balance::Path => by_hash(upstreams, head.path(), among),
        }
    }
}

/// The one that `key` falls to. Where one comes or goes, only what falls to that one moves ("rendezvous hashing").
fn by_hash(upstreams: &[Arc<Upstream>], key: impl Hash, among: impl Iterator<Item = usize>) -> Option<usize> {
    among.max_by_key(|&at| {
        let mut hasher = DefaultHasher::new();
        (&key, &*upstreams[at].name).hash(&mut hasher);
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::Method;

    use super::*;
    use crate::error::Fault;
    use crate::options::ProxyOptions;

    fn upstreams(count: usize) -> Vec<Arc<Upstream>> {
        let options = ProxyOptions::default();
        let url = |at: usize| format!("http://127.0.0.1:{}", 9000 + at).parse().unwrap();
        (0..count).map(|at| Arc::new(Upstream::new(&url(at), &options).unwrap())).collect()
    }

    fn take_down(upstream: &Upstream) {
        let options = ProxyOptions::default();
        for _ in 0..options.fall {
            upstream.failed(&options, 0, &Fault::Surplus);
        }
    }

    fn head(client: &str, path: &str) -> Head {
        let mut head = Head::new(Method::GET, path.parse().unwrap());
        head.client = Peer::Ip(client.parse().unwrap());
        head
    }

    fn chosen(chooser: &Chooser, upstreams: &[Arc<Upstream>], balance: Balance, head: &Head) -> usize {
        chooser.choose(upstreams, balance, head, UpstreamSet::default(), (0, Some(1000))).unwrap()
    }

    #[test]
    fn each_has_its_turn_and_who_is_down_has_none() {
        let (chooser, upstreams, head) = (Chooser::default(), upstreams(3), head("192.0.2.1", "/"));
        let turns = |count| -> HashMap<usize, usize> {
            let mut turns = HashMap::new();
            for _ in 0..count {
                *turns.entry(chosen(&chooser, &upstreams, Balance::RoundRobin, &head)).or_default() += 1;
            }
            turns
        };
        assert_eq!(turns(30), HashMap::from([(0, 10), (1, 10), (2, 10)]));
        take_down(&upstreams[1]);
        assert_eq!(turns(30), HashMap::from([(0, 15), (2, 15)]));
    }

    #[test]
    fn who_has_least_to_do_gets_more() {
        let (chooser, upstreams, head) = (Chooser::default(), upstreams(3), head("192.0.2.1", "/"));
        upstreams[0].state().counts.active.store(2, Relaxed);
        upstreams[2].state().counts.active.store(1, Relaxed);
        assert_eq!(chosen(&chooser, &upstreams, Balance::LeastConnections, &head), 1);
        upstreams[1].state().counts.active.store(2, Relaxed);
        assert_eq!(chosen(&chooser, &upstreams, Balance::LeastConnections, &head), 2);
    }

    #[test]
    fn a_client_stays_where_it_is_as_long_as_that_is_up() {
        let (chooser, upstreams) = (Chooser::default(), upstreams(4));
        let at = |client: usize, balance| {
            let head = head(&format!("192.0.2.{client}"), &format!("/{client}"));
            chosen(&chooser, &upstreams, balance, &head)
        };
        for balance in [Balance::Address, Balance::Path] {
            let before: Vec<_> = (0..200).map(|client| at(client, balance)).collect();
            assert!(
                (0..4).all(|at| before.iter().filter(|&&chosen| chosen == at).count() > 20),
                "{before:?}"
            );
            take_down(&upstreams[3]);
            for (client, before) in before.into_iter().enumerate() {
                let now = at(client, balance);
                assert!(if before == 3 { now != 3 } else { now == before }, "{client}: {before} {now}");
            }
            upstreams[3].state().health.answered(1);
        }
        let neighbours = ["2001:db8::1", "2001:db8::2"]
            .map(|client| chosen(&chooser, &upstreams, Balance::Address, &head(client, "/")));
        assert_eq!(neighbours[0], neighbours[1], "a /64 is one client");
    }

    #[test]
    fn when_all_are_down_all_are_asked_once_each() {
        let (chooser, upstreams, head) = (Chooser::default(), upstreams(3), head("192.0.2.1", "/"));
        for upstream in &upstreams {
            take_down(upstream);
        }
        let mut tried = UpstreamSet::default();
        for _ in 0..3 {
            let at = chooser.choose(&upstreams, Balance::RoundRobin, &head, tried, (0, Some(1000))).unwrap();
            assert!(!tried.has(at));
            tried.add(at);
        }
        assert_eq!(chooser.choose(&upstreams, Balance::RoundRobin, &head, tried, (0, Some(1000))), None);
    }

    #[test]
    fn who_is_down_is_tried_again_by_one_request() {
        let (chooser, upstreams, head) = (Chooser::default(), upstreams(2), head("192.0.2.1", "/"));
        take_down(&upstreams[1]);
        let later = 1_000_000;
        let at = || {
            let none = UpstreamSet::default();
            chooser.choose(&upstreams, Balance::RoundRobin, &head, none, (later, Some(1000))).unwrap()
        };
        assert_eq!([at(), at(), at()], [1, 0, 0]);
    }
}
