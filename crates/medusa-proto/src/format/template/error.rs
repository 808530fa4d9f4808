//! Mistakes in templates.

use super::Template;

/// The letters, for who has used another.
const THERE_ARE: &str = "%h %a %l %u %t %{format}t %r %m %U %q %H %s %b %B %D %T %{ms}T %{us}T %v %V %L %{Referer}i \
                         %{User-Agent}i %{Host}i %%";

/// The reason why a template was refused. Places are counted in characters, from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A letter that stands for nothing we have.
    #[error("log format, character {at}: there is no {directive:?}; there are {THERE_ARE}")]
    UnknownLetter {
        /// All from the percent sign on.
        directive: String,
        /// Where that is.
        at: usize,
    },
    /// What is in braces before the letter is nothing that the letter has.
    #[error("log format, character {at}: there is no {directive:?}; {instead}")]
    UnknownArgument {
        /// All from the percent sign on.
        directive: String,
        /// Where that is.
        at: usize,
        /// What there is.
        instead: &'static str,
    },
    /// A percent sign without a letter, or with a brace that is not closed.
    #[error("log format, character {at}: {directive:?} is not finished; write %% for a percent sign")]
    Unfinished {
        /// All from the percent sign on.
        directive: String,
        /// Where that is.
        at: usize,
    },
    /// A letter of `strftime` that we do not have.
    #[error(
        "log format, character {at}: times have no {letter:?}; they have %Y %y %m %d %e %j %b %B %a %A %H %I %M %S %p %z %F \
         %T %R %D %%, and sec, msec, usec, msec_frac, usec_frac by themselves"
    )]
    UnknownTime {
        /// The percent sign and the letter.
        letter: String,
        /// Where the directive is that the letter is in.
        at: usize,
    },
    /// A status that is none, before the letter.
    #[error("log format, character {at}: {status:?} is not a status between 100 and 999")]
    BadStatus {
        /// What is there.
        status: String,
        /// Where the directive is.
        at: usize,
    },
    /// A line break or another control character, which would make one record several lines, or steer a terminal.
    #[error(
        "log format, character {at}: {found:?} has no place in a line; a tab is the only control character that has"
    )]
    Control {
        /// The character.
        found: char,
        /// Its place.
        at: usize,
    },
    /// A backslash that is not part of `\"` or `\t`.
    #[error("log format, character {at}: a backslash can only stand before a quote or a \"t\" (tab)")]
    Backslash {
        /// Its place.
        at: usize,
    },
    /// It is longer than templates may be.
    #[error("log format: {bytes} bytes; it can have {most} at most", most = Template::LONGEST)]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It has more values than templates may have.
    #[error("log format, character {at}: it can have {most} values at most", most = Template::MOST_VALUES)]
    TooMany {
        /// Where the first is that is too many.
        at: usize,
    },
}
