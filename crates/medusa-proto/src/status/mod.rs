//! The document by which a long-lived object describes itself.
//!
//! Servers, handlers, sinks, listeners: each makes a [`Status`] when asked, and the status page, `medusa status` and the
//! metrics all read that. It is a snapshot, made of plain values, that refers to nothing alive. A field says whether it is
//! a counter or a gauge ([`FieldKind`]): a reader that compares two snapshots must know.
//!
//! It leaves as JSON (through [`Serialize`]) or, for a terminal, as a tree (through [`Display`](std::fmt::Display)).

mod tree;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A document of one object, and of those it holds.
///
/// ```
/// use medusa_proto::status::{Status, Value};
///
/// let status = Status::new("http.server", "web")
///     .field("listen", "127.0.0.1:8080")
///     .counter("sent", Value::Bytes(1536))
///     .child(Status::new("mount", "/").counter("requests", 12_u64));
/// let text = "\
/// http.server web
/// │  listen  127.0.0.1:8080
/// │  sent    1.5 KiB
/// └─ mount /
///       requests  12
/// ";
/// assert_eq!(status.to_string(), text);
/// ```
///
/// As JSON the fields stand beside `kind`, `name` and `children` (left out when there are none), so a field must have
/// none of these three names:
///
/// ```json
/// {"kind":"http.server","name":"web","listen":"127.0.0.1:8080","sent":1536,"children":[{"kind":"mount","name":"/","requests":12}]}
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its kind, by the name of its constructor in a script: `http.server`, `log.file`, `mount`.
    pub kind: &'static str,
    /// Its name among those of the kind; empty if there is only one.
    pub name: String,
    /// Its fields, in the order in which a reader wants to know. Each name at most once.
    pub fields: Vec<Field>,
    /// The documents that it holds.
    pub children: Vec<Status>,
}

impl Status {
    /// An object that has said nothing yet.
    #[must_use]
    pub fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), fields: Vec::new(), children: Vec::new() }
    }

    fn with(mut self, name: &'static str, kind: FieldKind, value: Option<impl Into<Value>>) -> Self {
        self.fields.extend(value.map(|value| Field { name, kind, value: value.into() }));
        self
    }

    /// Adds a field that is no measure: a text, a setting, a number that names something.
    #[must_use]
    pub fn field(self, name: &'static str, value: impl Into<Value>) -> Self {
        self.with(name, FieldKind::Info, Some(value))
    }

    /// Adds such a field if there is something to say.
    #[must_use]
    pub fn maybe(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.with(name, FieldKind::Info, value)
    }

    /// Adds a count of what has happened, which only grows.
    #[must_use]
    pub fn counter(self, name: &'static str, value: impl Into<Value>) -> Self {
        self.with(name, FieldKind::Counter, Some(value))
    }

    /// Adds a counter if there is something to say.
    #[must_use]
    pub fn maybe_counter(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.with(name, FieldKind::Counter, value)
    }

    /// Adds a measure of what is now, which goes up and down.
    #[must_use]
    pub fn gauge(self, name: &'static str, value: impl Into<Value>) -> Self {
        self.with(name, FieldKind::Gauge, Some(value))
    }

    /// Adds a gauge if there is something to say.
    #[must_use]
    pub fn maybe_gauge(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.with(name, FieldKind::Gauge, value)
    }

    /// Adds an object it holds.
    #[must_use]
    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Adds several objects it holds.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// The value of the field `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}

/// One field of a [`Status`].
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Names it within its object.
    pub name: &'static str,
    /// Tells how two snapshots compare.
    pub kind: FieldKind,
    /// Its value.
    pub value: Value,
}

/// The kind of a field, for a reader of several snapshots. Shown in neither text nor JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// No measure: a text, a setting, a number that names something.
    Info,
    /// Only grows, until its object is gone.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The value of a [`Status`] field. Its variant tells a reader how to show it; JSON has the bare number or text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text. May come from outside: the tree escapes what could harm a terminal.
    Text(String),
    /// The number.
    Count(u64),
    /// An amount of data.
    Bytes(u64),
    /// A stretch of time, in seconds.
    Seconds(f64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<std::time::Duration> for Value {
    fn from(stretch: std::time::Duration) -> Self {
        Self::Seconds(stretch.as_secs_f64())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.kind)?;
        map.serialize_entry("name", &self.name)?;
        for field in &self.fields {
            map.serialize_entry(field.name, &field.value)?;
        }
        if !self.children.is_empty() {
            map.serialize_entry("children", &self.children)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Count(number) | Self::Bytes(number) => serializer.serialize_u64(*number),
            Self::Seconds(seconds) => serializer.serialize_f64(*seconds),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_fields_beside_the_name() {
        let status = Status::new("log.file", "access.log")
            .field("format", "combined")
            .counter("written", 7_u64)
            .counter("bytes", Value::Bytes(2048))
            .gauge("age", Value::Seconds(1.5))
            .gauge("failing", false)
            .maybe("last_error", None::<String>)
            .child(Status::new("part", ""));
        assert_eq!(
            serde_json::to_string(&status).expect("JSON"),
            concat!(
                r#"{"kind":"log.file","name":"access.log","format":"combined","written":7,"bytes":2048,"#,
                r#""age":1.5,"failing":false,"children":[{"kind":"part","name":""}]}"#
            )
        );
        assert_eq!(status.get("written"), Some(&Value::Count(7)));
        assert_eq!(status.get("last_error"), None);
        let kinds = status.fields.iter().map(|field| field.kind);
        let (info, counter, gauge) = (FieldKind::Info, FieldKind::Counter, FieldKind::Gauge);
        assert!(kinds.eq([info, counter, counter, gauge, gauge]));
    }
}
