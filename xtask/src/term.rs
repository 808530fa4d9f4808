//! Writing to the terminal: progress to stderr, answers to stdout, colour only where a person looks.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::environment;

/// Writes one line of progress to stderr. A closed stderr is nobody listening, not an error.
pub(crate) fn note(line: &str) {
    let _closed = writeln!(io::stderr().lock(), "{line}");
}

/// Writes one line of the answer to stdout. A closed stdout (`| head`) is nobody listening, not an error.
pub(crate) fn answer(line: &str) {
    let _closed = writeln!(io::stdout().lock(), "{line}");
}

/// Bold, for headlines.
pub(crate) fn bold(text: &str) -> String {
    paint("1", text)
}

/// Green, for what is well.
pub(crate) fn green(text: &str) -> String {
    paint("32", text)
}

/// Red, for what is not.
pub(crate) fn red(text: &str) -> String {
    paint("31", text)
}

/// Faint, for what may be passed over.
pub(crate) fn faint(text: &str) -> String {
    paint("2", text)
}

/// A duration as a person says it: `850 ms`, `3.2 s`, `2 min 05 s`.
pub(crate) fn spoken(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0 => format!("{} ms", duration.as_millis()),
        1..=59 => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// Colour needs both streams on a terminal, because either may carry the text.
fn paint(code: &str, text: &str) -> String {
    let colour = io::stderr().is_terminal() && io::stdout().is_terminal() && !environment::no_colour();
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spoken_in_the_unit_that_fits() {
        assert_eq!(spoken(Duration::from_millis(850)), "850 ms");
        assert_eq!(spoken(Duration::from_millis(3_249)), "3.2 s");
        assert_eq!(spoken(Duration::from_secs(125)), "2 min 05 s");
    }
}
