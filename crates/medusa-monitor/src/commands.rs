//! Requests that are typed as statements: `status()`, `kill(3)`, `trace({ path = "/api/" }, 5)`.
//!
//! No code runs for one, so that roles have it that may run none. What is more than that, is code.

use std::fmt::Write as _;

use medusa_proto::shown::ShortNumber;

use crate::identity::Role;
use crate::protocol::{Killed, Op, TracedBy};

/// The commands that are typed as statements of their own, and the least role that has them.
pub(crate) const COMMANDS: [(&str, Role); 24] = [
    ("approve", Role::Program),
    ("cancel", Role::Operate),
    ("confirm", Role::Operate),
    ("diff", Role::View),
    ("drain", Role::Operate),
    ("drift", Role::View),
    ("explain", Role::View),
    ("generations", Role::View),
    ("handlers", Role::View),
    ("help", Role::View),
    ("kill", Role::Operate),
    ("ping", Role::View),
    ("preview", Role::View),
    ("ps", Role::View),
    ("reload", Role::Operate),
    ("reopen", Role::Operate),
    ("rollback", Role::Operate),
    ("save", Role::Operate),
    ("sessions", Role::View),
    ("status", Role::View),
    ("stop", Role::Operate),
    ("timers", Role::View),
    ("top", Role::View),
    ("trace", Role::View),
];

/// The commands that only look and are no requests: code runs for them.
const LOOKING_CODE: [&str; 2] = ["probe", "source"];

/// The command that a text begins with, be it a statement or a request as it is recorded, if that only looks: `trace` of
/// `return trace(f, 5)`.
pub fn looks_first(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let text =
        text.strip_prefix("return").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(text);
    let text = text.trim_start();
    let end = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let looks = COMMANDS.iter().any(|(name, role)| *name == word && *role == Role::View);
    let is_called = rest.is_empty() || rest.starts_with(['(', ' ', '{', '"', '\'']);
    ((looks || LOOKING_CODE.contains(&word)) && is_called).then_some(word)
}

/// The statement that publishes what the session has begun, if it is the change that is named so.
pub(crate) fn commit(change: Option<&str>, confirm: Option<f64>, reason: Option<&str>) -> String {
    let nil = || "nil".to_owned();
    let seconds = confirm.map_or_else(nil, |seconds| ShortNumber(seconds).to_string());
    let change = change.map_or_else(nil, |change| format!("{{ change = {} }}", in_quotes(change)));
    let reason = reason.map_or_else(nil, in_quotes);
    format!("commit({seconds}, {change}, {reason})")
}

/// A text as code has it, whatever is in it.
fn in_quotes(text: &str) -> String {
    let mut quoted = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if !b"\"\\".contains(&byte) => quoted.push(byte.into()),
            _ => drop(write!(quoted, "\\{byte:03}")),
        }
    }
    quoted.push('"');
    quoted
}

impl Op {
    /// The command that a statement is, if it is one: `status()`, `kill(3)`, with nothing before or behind. No code runs for
    /// it, so that roles have it that may run none.
    pub fn from_text(text: &str) -> Option<Self> {
        let (name, rest) = text.trim().split_once('(')?;
        let arguments = arguments(rest.trim_end().strip_suffix(')')?)?;
        let number = |text: &str| text.parse::<u64>().ok().filter(|_| begins_with_digit(text));
        let seconds_of = |text: &str| text.parse::<f64>().ok().filter(|_| begins_with_digit(text));
        Some(match (name.trim_end(), &*arguments) {
            ("reload", []) => Self::Reload { confirm: None },
            ("reload", [seconds]) => Self::Reload { confirm: Some(seconds_of(seconds)?) },
            ("status", []) => Self::Status,
            ("reopen", []) => Self::Reopen,
            ("stop", []) => Self::Stop,
            ("ping", []) => Self::Ping,
            ("sessions", []) => Self::Sessions,
            ("ps", []) => Self::Ps,
            ("top", []) => Self::Top { n: None },
            ("top", [n]) => Self::Top { n: Some(number(n).filter(|n| *n > 0)?) },
            ("kill", [killed]) => Self::Kill(match number(killed) {
                Some(session) => Killed::Session { session },
                None => Killed::Run { run: quoted(killed)?.parse().ok()? },
            }),
            ("generations", []) => Self::Generations,
            ("diff", [from]) => Self::Diff { from: number(from)?, to: None },
            ("diff", [from, to]) => Self::Diff { from: number(from)?, to: Some(number(to)?) },
            ("help", []) => Self::Help { about: None },
            ("help", [about]) => Self::Help { about: Some(quoted(about)?) },
            ("explain", [method, url]) => Self::Explain { method: quoted(method)?, url: quoted(url)? },
            ("rollback", [to]) => Self::Rollback { generation: number(to)?, reason: None },
            ("rollback", [to, why]) => Self::Rollback { generation: number(to)?, reason: Some(quoted(why)?) },
            ("preview", []) => Self::Preview { change: None },
            ("preview", [change]) => Self::Preview { change: Some(quoted(change)?) },
            ("approve", [change]) => Self::Approve { change: quoted(change)? },
            ("save", [why]) => Self::Save { reason: quoted(why)? },
            ("drift", []) => Self::Drift,
            ("trace", rest) if rest.len() <= 3 => {
                let (mut of, mut n, mut seconds) = Default::default();
                if let Some(table) = rest.first().filter(|of| **of != "nil") {
                    of = TracedBy::from_text(table.strip_prefix('{')?.strip_suffix('}')?)?;
                }
                if let Some(given) = rest.get(1) {
                    n = Some(number(given)?);
                }
                if let Some(given) = rest.get(2) {
                    seconds = Some(seconds_of(given)?);
                }
                Self::Trace { of, n, seconds }
            }
            ("handlers", []) => Self::Handlers,
            ("timers", []) => Self::Timers,
            ("drain", [generation]) => Self::Drain { generation: number(generation)?, seconds: None },
            ("drain", [generation, seconds]) => {
                Self::Drain { generation: number(generation)?, seconds: Some(seconds_of(seconds)?) }
            }
            ("confirm", []) => Self::Confirm { generation: None },
            ("confirm", [generation]) => Self::Confirm { generation: Some(number(generation)?) },
            ("cancel", []) => Self::Cancel { generation: None },
            ("cancel", [generation]) => Self::Cancel { generation: Some(number(generation)?) },
            _ => return None,
        })
    }
}

impl TracedBy {
    /// From what stands between braces: `path = "/api/", status = 500`.
    fn from_text(text: &str) -> Option<Self> {
        let mut by = Self::default();
        for option in arguments(text)? {
            let (name, value) = option.split_once('=')?;
            let value = value.trim();
            let (place, is_status) = match name.trim() {
                "path" => (&mut by.path, false),
                "method" => (&mut by.method, false),
                "status" => (&mut by.status, true),
                "ip" => (&mut by.ip, false),
                "server" => (&mut by.server, false),
                _ => return None,
            };
            let number = || value.parse::<u16>().ok().filter(|_| is_status).map(|_| value.to_owned());
            *place = Some(quoted(value).or_else(number)?);
        }
        Some(by)
    }
}

/// Whether that may be a number, as code has them: not `+1`, not `inf`.
fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_digit())
}

/// What stands between commas, but for those between quotes and in braces.
fn arguments(text: &str) -> Option<Vec<&str>> {
    let (mut all, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, char) in text.char_indices() {
        match (quote, char) {
            (Some(open), _) => quote = (open != char).then_some(open),
            (None, '"' | '\'') => quote = Some(char),
            (None, '{') => depth += 1,
            (None, '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                all.push(text.get(from..at)?.trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    let last = text.get(from..)?.trim();
    if !(last.is_empty() && all.is_empty()) {
        all.push(last);
    }
    (depth == 0 && quote.is_none()).then_some(all)
}

/// What stands between quotes, if nothing in it needs a language to be understood.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
    let text = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!text.contains([quote, '\\'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decode;
    use crate::runs::RunId;

    #[test]
    fn every_command_has_the_role_that_it_needs() {
        for (name, role) in COMMANDS {
            let calls = ["", "1", "'GET', '/'", "'why'"]
                .map(|arguments| Op::from_text(&format!("{name}({arguments})")));
            let op = calls.into_iter().flatten().next().expect(name);
            assert_eq!((op.name(), op.needs()), (name, role));
        }
    }

    #[test]
    fn a_command_is_told_from_code() {
        assert_eq!(Op::from_text(" status() \n"), Some(Op::Status));
        assert_eq!(Op::from_text("kill( 3 )"), Some(Op::Kill(Killed::Session { session: 3 })));
        assert_eq!(Op::from_text("kill('r3')"), Some(Op::Kill(Killed::Run { run: RunId(3) })));
        assert_eq!(
            decode(b"{\"version\":1,\"op\":\"kill\",\"session\":3}").expect("as before"),
            Op::Kill(Killed::Session { session: 3 })
        );
        for code in [
            "status",
            "status().x",
            "kill(-1)",
            "kill()",
            "kill('3')",
            "kill(r3)",
            "print(status())",
            "status() status()",
            "f()",
            "",
        ] {
            assert_eq!(Op::from_text(code), None, "{code}");
        }
    }

    #[test]
    fn what_is_committed_by_request_is_no_code() {
        assert_eq!(commit(None, None, None), "commit(nil, nil, nil)");
        let statement = commit(Some("a\") stop()--"), Some(1.5), Some("größer\n\\"));
        let expected = r#"commit(1.5, { change = "a\034) stop()--" }, "gr\195\182\195\159er\010\092")"#;
        assert_eq!(statement, expected);
    }

    #[test]
    fn what_only_looks_is_known_by_its_first_word() {
        for text in
            ["trace(f, 5)", " return trace(nil)", "trace of={\"path\":\"/\"}", "trace", "trace{ path = '/' }"]
        {
            assert_eq!(looks_first(text), Some("trace"), "{text}");
        }
        assert_eq!(looks_first("help(web)"), Some("help"));
        for text in ["", "tracer()", "x = trace()", "trace.x()", "returntrace()", "rollback(1)", "commit()"] {
            assert_eq!(looks_first(text), None, "{text}");
        }
    }

    #[test]
    fn arguments_are_told_apart() {
        let save = |reason: &str| Op::Save { reason: reason.into() };
        assert_eq!(Op::from_text("save(\"a, b)\")"), Some(save("a, b)")));
        assert_eq!(Op::from_text("save('it is {')"), Some(save("it is {")));
        let status =
            TracedBy { status: Some("500".into()), path: Some("/a,b/".into()), ..TracedBy::default() };
        for (text, of, n, seconds) in [
            ("trace()", TracedBy::default(), None, None),
            ("trace(nil, 3)", TracedBy::default(), Some(3), None),
            ("trace({ path = \"/a,b/\", status = 500 }, 3, 0.5)", status, Some(3), Some(0.5)),
            ("trace({})", TracedBy::default(), None, None),
        ] {
            assert_eq!(Op::from_text(text), Some(Op::Trace { of, n, seconds }), "{text}");
        }
        for code in [
            "trace(f)",
            "trace({ path = f })",
            "trace({ path = '/' }",
            "trace({ method = 500 })",
            "trace({ size = 1 })",
            "trace({} })",
            "trace(nil, 1.5)",
            "trace(nil, 1, 2, 3)",
            "save('a)",
            "rollback(+1)",
            "reload(inf)",
            "drain(1, -0)",
            "save('a' .. 'b')",
            "help(web)",
        ] {
            assert_eq!(Op::from_text(code), None, "{code}");
        }
    }
}
