//! Lines of the user's own: the `%` letters of Apache's
//! [`LogFormat`](https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats).
//!
//! A template is read once, when it is made: what it cannot mean is refused there, with the place, and a line is written
//! by walking over its pieces.
//!
//! **Invariant: a value ends where the template says.** Quotes, backslashes and control characters are escaped in every
//! value, and with them the very character that stands behind it in the template: a space in `%u `, a bar in `%u|`. So
//! whoever splits the lines by what the template has between its values finds as many as it has. Apache lets a space in a
//! user's name pass, and with it a column of the client's own. To keep it so, no literal has a backslash: it would undo the
//! first escape of the value behind it.

mod error;
mod parse;
mod strftime;
mod write;

use std::str::FromStr;

pub use error::TemplateError;
use strftime::TimeFormat;

/// A checked template of a line: `%h %u %t "%r" %>s %b`.
///
/// | letter | what it stands for |
/// |---|---|
/// | `%h` | the client's name if one was found, else its address; `%a` always the address |
/// | `%u` | the authenticated user; `%l` is always `-` |
/// | `%t` | when the request came, `[10/Oct/2000:13:55:36 -0700]` |
/// | `%{format}t` | the same by `strftime`, or `sec`, `msec`, `usec`, `msec_frac`, `usec_frac`; after `end:`, when the response had been sent |
/// | `%r` | the request line: `%m %U%q %H` |
/// | `%m`, `%U`, `%q`, `%H` | method, path, query with its `?`, protocol |
/// | `%s` | the status |
/// | `%b`, `%B` | bytes of the body; if there are none `-` and `0` |
/// | `%D`, `%T`, `%{ms}T` | how long it took, in µs, s, ms; `%{us}T` and `%{s}T` too |
/// | `%{Referer}i`, `%{User-Agent}i`, `%{Host}i` | fields of the request |
/// | `%v`, `%V` | the server as the script calls it; the host asked for, without port |
/// | `%L` | the request's id |
/// | `%%` | a percent sign |
///
/// What is absent is `-`. Between `%` and letter may stand `<` or `>`, which make no difference here (there are no internal
/// redirects), and statuses: `%400,501{User-Agent}i` is `-` with other statuses, `%!200{Referer}i` with that one.
///
/// In text, `\"` is a quote and `\t` a tab, as in Apache's configuration; there can be no other backslash and no other
/// control character. At most [`LONGEST`](Self::LONGEST) bytes and [`MOST_VALUES`](Self::MOST_VALUES) values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

impl Template {
    /// The most bytes of a template.
    pub const LONGEST: usize = 1024;

    /// The most values of a template. They bound how long a line can get: each may be a field of 16 KiB.
    pub const MOST_VALUES: usize = 64;

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(source: &str) -> Result<Self, Self::Err> {
        Ok(Self { source: source.to_owned(), pieces: parse::pieces(source)? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    /// Text without hidden characters other than tabs, and without backslashes.
    Literal(String),
    Directive(Directive),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Directive {
    field: Variable,
    only: Option<Only>,
    /// The character that ends it, if that is one.
    end: Option<char>,
}

/// The statuses with which a value is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Only {
    /// With all but these.
    not: bool,
    statuses: Vec<u16>,
}

impl Only {
    fn shows(&self, status: u16) -> bool {
        self.statuses.contains(&status) != self.not
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Variable {
    /// `%h`
    Client,
    /// `%a`
    Address,
    /// `%l`
    Absent,
    /// `%u`
    User,
    /// `%t`
    Time(TimeFormat),
    /// `%r`
    RequestLine,
    /// `%m`
    Method,
    /// `%U`
    Path,
    /// `%q`
    Query,
    /// `%H`
    Protocol,
    /// `%s`
    Status,
    /// `%b`
    BytesOrDash,
    /// `%B`
    Bytes,
    /// `%T` and `%D`
    Duration(Unit),
    /// `%{Referer}i`
    Referer,
    /// `%{User-Agent}i`
    UserAgent,
    /// `%{Host}i`
    Host,
    /// `%v`
    Server,
    /// `%V`
    HostName,
    /// `%L`
    Id,
}

/// The unit of durations, and of times since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Seconds,
    Millis,
    Micros,
}

impl Unit {
    /// The number of microseconds it has.
    const fn micros(self) -> u64 {
        match self {
            Self::Seconds => 1_000_000,
            Self::Millis => 1000,
            Self::Micros => 1,
        }
    }
}

#[cfg(test)]
mod tests;
