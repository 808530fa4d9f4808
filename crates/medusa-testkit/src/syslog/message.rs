//! One message as a log server understood it.

use serde_json::Value;

/// One message, field by field. What it does not have is empty: RFC 5424's `-`, and whatever RFC 3164 knows nothing of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// As it came, without its framing.
    pub raw: String,
    /// `local0`.
    pub facility: String,
    /// `info`, `warning`, `err`.
    pub severity: String,
    /// When, as RFC 3339 has it.
    pub time: String,
    /// The machine.
    pub hostname: String,
    /// The program; RFC 3164's tag without its brackets.
    pub app_name: String,
    /// The process.
    pub procid: String,
    /// The kind of message.
    pub msgid: String,
    /// `[id name="value"]...`, as it came.
    pub structured_data: String,
    /// The message itself.
    pub text: String,
}

impl Message {
    /// Reads a line that one of our configurations had written.
    ///
    /// # Panics
    ///
    /// It is none.
    #[track_caller]
    pub(super) fn parse(line: &str) -> Self {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in what was logged: {line}"));
        let field = |name: &str| match value[name].as_str() {
            Some("-") => String::new(),
            Some(text) => text.to_owned(),
            None => panic!("no {name} in what was logged: {line}"),
        };
        let raw = field("raw");
        let text = field("text");
        Self {
            // In RFC 3164 rsyslog counts the space behind the tag as part of the message, and syslog-ng does not.
            text: if is_rfc5424(&raw) { text } else { text.strip_prefix(' ').unwrap_or(&text).to_owned() },
            facility: field("facility"),
            severity: field("severity"),
            time: field("time"),
            hostname: field("hostname"),
            app_name: field("app_name"),
            procid: field("procid"),
            msgid: field("msgid"),
            structured_data: without_sequence(&field("structured_data")).to_owned(),
            raw,
        }
    }

    /// It without what two messages of the same text need not share: when, by which process, and how it came.
    #[must_use]
    pub fn content(&self) -> Self {
        let nothing = String::new;
        Self { raw: nothing(), time: nothing(), procid: nothing(), ..self.clone() }
    }
}

/// Whether there is a version behind the priority.
fn is_rfc5424(raw: &str) -> bool {
    raw.split_once('>').is_some_and(|(_, rest)| rest.starts_with("1 "))
}

/// Structured data without the number that syslog-ng gives to each message of a unix socket.
fn without_sequence(data: &str) -> &str {
    match data.rfind("[meta sequenceId=\"") {
        Some(at) if data[at..].find(']') == Some(data.len() - at - 1) => &data[..at],
        _ => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with these fields, and nothing in the others.
    fn line(raw: &str, text: &str, data: &str) -> String {
        let mut value = serde_json::json!({"raw": raw, "text": text, "structured_data": data});
        for name in ["facility", "severity", "time", "hostname", "app_name", "procid", "msgid"] {
            value[name] = "-".into();
        }
        value.to_string()
    }

    #[test]
    fn the_space_behind_a_tag_is_no_text() {
        let text = |raw, text| Message::parse(&line(raw, text, "-")).text;
        assert_eq!(text("<134>Nov 23 03:41:03 vm medusa[77]:  two", "  two"), " two");
        assert_eq!(text("<134>1 - - - - - -  one", " one"), " one");
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let message = Message::parse(&line("<134>1 - - - - - -", "", "-"));
        assert_eq!(message.content(), Message::default());
    }

    #[test]
    fn only_the_number_of_syslog_ng_is_taken_off() {
        assert_eq!(without_sequence("[a b=\"c\"][meta sequenceId=\"12\"]"), "[a b=\"c\"]");
        let ours = "[a b=\"[meta sequenceId=\\\"\"]";
        assert_eq!(without_sequence(ours), ours);
        assert_eq!(without_sequence("[meta sequenceId=\"1\"][a]"), "[meta sequenceId=\"1\"][a]");
    }
}
