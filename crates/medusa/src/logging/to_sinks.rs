//! The same events to the sinks that a script asked for (`medusa.log.events`).
//!
//! An event goes to a sink with what standard error has: its part and its message, fields behind it, no more. Nothing is
//! escaped here: each sink does that in its own way. Of libraries, nothing finer than `info` goes there, whatever the
//! level: their steps are nothing an operator asks for, and there are thousands in each request.

use std::sync::{Arc, Weak};

use medusa_log::events::EventSinks;
use medusa_proto::event;
use parking_lot::RwLock;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_subscriber::layer::{Context, Filter};

use super::events::{Output, level};

/// The sinks that events go to. The subscriber is there before the site, and one for the whole process.
static SINKS: RwLock<Weak<EventSinks>> = RwLock::new(Weak::new());

/// From now on events go to these sinks, too, in place of those before.
pub(crate) fn hand_to(sinks: &Arc<EventSinks>) {
    *SINKS.write() = Arc::downgrade(sinks);
    tracing::callsite::rebuild_interest_cache();
}

fn sinks() -> Option<Arc<EventSinks>> {
    SINKS.read().upgrade()
}

/// The sinks, whichever they are by then.
#[derive(Debug)]
pub(super) struct ToSinks;

impl Output for ToSinks {
    fn put(&self, event: &event::Event<'_>) {
        if let Some(sinks) = sinks() {
            sinks.put(event);
        }
    }
}

/// A filter for what some sink is to have, as of now. The answer is kept by each place an event can come from, until
/// the sinks' levels change: what nobody wants costs nothing.
pub(super) struct SinkLevel;

impl SinkLevel {
    fn wants(metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("medusa") || metadata.target() == "script";
        let level = level(*metadata.level());
        (ours || level <= event::Level::Info)
            && sinks().and_then(|sinks| sinks.level()).is_some_and(|wanted| level <= wanted)
    }
}

impl<S> Filter<S> for SinkLevel {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Self::wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match sinks().and_then(|sinks| sinks.level()) {
            None => LevelFilter::OFF,
            Some(event::Level::Error) => LevelFilter::ERROR,
            Some(event::Level::Warn) => LevelFilter::WARN,
            Some(event::Level::Info) => LevelFilter::INFO,
            Some(event::Level::Debug) => LevelFilter::DEBUG,
            Some(event::Level::Trace) => LevelFilter::TRACE,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::time::{Duration, Instant};

    use medusa_log::Tail;
    use medusa_log::events::Route;
    use medusa_proto::entry::Entry;
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::logging::events::{Events, Reporter};

    struct Talks;

    impl fmt::Display for Talks {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::warn!(target: "medusa_http", "within");
            f.write_str("talk")
        }
    }

    /// One test, for the sinks are those of the process.
    #[test]
    fn sinks_get_what_standard_error_has_as_far_as_they_want_it() {
        let (tail, sinks) = (Arc::new(Tail::new(100)), Arc::new(EventSinks::default()));
        sinks.start().expect("a thread");
        let route = |level| vec![Route { sink: Arc::clone(&tail) as _, level }];
        let layer = Events::new(ToSinks, Reporter::new().0).with_filter(SinkLevel);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(target: "medusa_http", "nobody is there yet");
            hand_to(&sinks);
            for level in [event::Level::Warn, event::Level::Debug] {
                sinks.route(route(level));
                tracing::warn!(target: "medusa_http::driver", worker = 1, "hello {level}");
                tracing::debug!(target: "medusa_http::driver", "a detail");
                tracing::debug!(target: "h2::proto", "a detail of a library");
                tracing::info!(target: "script", "{}", Talks);
            }
            sinks.route(Vec::new());
            tracing::error!(target: "medusa_http", "nobody is there any more");
        });
        assert_eq!(sinks.flush(Instant::now() + Duration::from_secs(20)).left, 0);
        let lines: Vec<String> = (tail.last(100).iter())
            .map(|entry| match entry {
                Entry::Event(event) => format!("{} {}: {}", event.level, event.part, event.message),
                Entry::Access(record) => panic!("an event, not {record:?}"),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "warn http: hello warn worker=1",
                "warn http: hello debug worker=1",
                "debug http: a detail",
                "info script: talk",
            ]
        );
    }
}
