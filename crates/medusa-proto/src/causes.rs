//! An error with its causes, in one line: as logs and replies tell it.

use std::error::Error;

/// The message of `error` and those of its causes, each behind a colon. Errors of ours say their own level only; those of
/// some libraries repeat their cause (hickory's do), which is not told twice.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Outer {
        message: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_follow_and_are_not_repeated() {
        let outer = |message| Outer { message, source: io::Error::other("disk full") };
        assert_eq!(with_causes(&outer("cannot write")), "cannot write: disk full");
        assert_eq!(with_causes(&outer("cannot write (disk full)")), "cannot write (disk full)");
    }
}
