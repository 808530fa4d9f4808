//! The text of an event, cut to a length: the one place where its values become text.

use std::error::Error;
use std::fmt;

use medusa_proto::shown::push_cut;
use medusa_proto::with_causes;
use tracing::Event;
use tracing::field::{Field, Visit};

/// The most of a message, in bytes: two tracebacks and then some.
const MAX_MESSAGE: usize = 4 * 1024;

/// The most of any other field, in bytes: a long path.
const MAX_FIELD: usize = 512;

/// The most of all of them: more than any event of ours has.
const MAX_FIELDS: usize = 4 * 1024;

/// Fields that say where in the site an event belongs. No client has a say in them, so there are only so many.
const PLACES: [&str; 7] = ["mount", "origin", "timer", "listener", "log", "file", "place"];

/// The words of one event.
#[derive(Debug, Default)]
pub(super) struct EventText {
    pub(super) message: String,
    fields: String,
    /// Those of the fields that are [`PLACES`].
    pub(super) place: String,
    /// The field `request`: the id of one.
    pub(super) request: Option<String>,
}

impl EventText {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut words = Self::default();
        event.record(&mut words);
        words
    }

    /// The message's first line, the fields, and then what more lines the message has.
    pub(super) fn whole(&self) -> String {
        let (first, rest) = self.message.split_at(self.message.find('\n').unwrap_or(self.message.len()));
        let gap = if first.is_empty() { self.fields.trim_start() } else { &self.fields };
        [first, gap, rest].concat()
    }

    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "message" => push_cut(&mut self.message, MAX_MESSAGE, value),
            _ if self.fields.len() >= MAX_FIELDS => {}
            name => {
                let start = self.fields.len();
                self.fields.extend([" ", name, "="]);
                push_cut(&mut self.fields, MAX_FIELD, value);
                if name == "request" {
                    self.request = Some(self.fields[start + " request=".len()..].to_owned());
                }
                if PLACES.contains(&name) {
                    self.place.push_str(&self.fields[start..]);
                }
            }
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.push(field, format_args!("{value}")),
            _ => self.push(field, format_args!("{value:?}")),
        }
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.push(field, format_args!("{}", with_causes(error)));
    }
}
