//! A [`Status`] as a tree for a terminal.
//!
//! Names and texts may come from outside: what is hidden in them is shown escaped.

use std::fmt::{self, Display, Formatter, Write};

use super::{Field, Status, Value};
use crate::shown::Escaped;

impl Display for Status {
    /// Ends with a newline.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_node(self, &mut String::new(), f)
    }
}

/// Writes the rest of `node`'s own line, then all below it; `margin` is what stands left of that.
fn write_node(node: &Status, margin: &mut String, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(node.kind)?;
    if !node.name.is_empty() {
        write!(f, " {}", Escaped::line(&node.name))?;
    }
    f.write_char('\n')?;

    let bar = if node.children.is_empty() { "   " } else { "│  " };
    let width = node.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
    for Field { name, value, .. } in &node.fields {
        writeln!(f, "{margin}{bar}{name:width$}  {value}")?;
    }

    let length = margin.len();
    let last = node.children.len().saturating_sub(1);
    for (i, child) in node.children.iter().enumerate() {
        let (branch, below) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        write!(f, "{margin}{branch}")?;
        margin.push_str(below);
        write_node(child, margin, f)?;
        margin.truncate(length);
    }
    Ok(())
}

impl Display for Value {
    /// For people: `1.5 KiB`, `2 h 05 min`, `yes`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Escaped::line(text).fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Bytes(bytes) => write_bytes(*bytes, f),
            Self::Seconds(seconds) => write_seconds(*seconds, f),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
        }
    }
}

fn write_bytes(bytes: u64, f: &mut Formatter<'_>) -> fmt::Result {
    if bytes < 1024 {
        return write!(f, "{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // From 1023.95 on, one decimal would be rounded up to "1024.0".
    while amount >= 1023.95 {
        let Some(next) = units.next() else { break };
        amount /= 1024.0;
        unit = next;
    }
    write!(f, "{amount:.1} {unit}")
}

/// The two largest units that say something; below a minute, three digits or so.
fn write_seconds(seconds: f64, f: &mut Formatter<'_>) -> fmt::Result {
    if !seconds.is_finite() || seconds < 0.0 {
        return write!(f, "{seconds} s");
    }
    if seconds < 0.001 {
        return write!(f, "{:.0} µs", seconds * 1e6);
    }
    if seconds < 1.0 {
        return write!(f, "{:.1} ms", seconds * 1e3);
    }
    if seconds < 60.0 {
        return write!(f, "{seconds:.1} s");
    }
    let whole = seconds as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    match (days, hours) {
        (0, 0) => write!(f, "{minutes} min {:02} s", whole % 60),
        (0, _) => write!(f, "{hours} h {:02} min", minutes % 60),
        _ => write!(f, "{days} d {:02} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_follow_the_children() {
        let status = Status::new("site", "")
            .field("generation", 3_u64)
            .child(
                Status::new("http.server", "web")
                    .field("listen", "127.0.0.1:8080")
                    .field("open", true)
                    .child(Status::new("mount", "/").field("handler", "files"))
                    .child(Status::new("mount", "/hello")),
            )
            .child(Status::new("log.file", "bad\nname").field("bytes", Value::Bytes(0)));
        let expected = "\
site
│  generation  3
├─ http.server web
│  │  listen  127.0.0.1:8080
│  │  open    yes
│  ├─ mount /
│  │     handler  files
│  └─ mount /hello
└─ log.file bad\\nname
      bytes  0 B
";
        assert_eq!(status.to_string(), expected);
    }

    #[test]
    fn values_are_shown_for_people() {
        let shown = |value: Value| value.to_string();
        for (bytes, text) in [
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(shown(Value::Bytes(bytes)), text);
        }
        for (seconds, text) in [
            (0.0, "0 µs"),
            (0.000_25, "250 µs"),
            (0.0125, "12.5 ms"),
            (1.25, "1.2 s"),
            (90.0, "1 min 30 s"),
            (7_500.0, "2 h 05 min"),
            (200_000.0, "2 d 07 h"),
            (f64::NAN, "NaN s"),
        ] {
            assert_eq!(shown(Value::Seconds(seconds)), text);
        }
    }
}
