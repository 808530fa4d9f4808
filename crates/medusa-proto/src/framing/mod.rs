//! The framing of the requests of an HTTP/1 connection: read beside the parser that answers them, and to the letter.
//!
//! Whoever reads a connection in another way than those before it can be made to take a part of one request for another.
//! A parser that is kind to what is nearly right is such a one. This reader keeps nothing and hands nothing out: it goes
//! through the bytes on their way to the parser, and says where they stop being right:
//!
//! - a target with a fragment ([RFC 9112 §3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2));
//! - a `Content-Length` beside a `Transfer-Encoding`, or a second of either, or one that is no number
//!   ([§6.1](https://www.rfc-editor.org/rfc/rfc9112#section-6.1), [§6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3));
//! - in a chunked body, lines that are not what the grammar says, their ends above all
//!   ([§7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1), [§2.2](https://www.rfc-editor.org/rfc/rfc9112#section-2.2)).
//!
//! Of a head only those lines are looked at; the content of a body is skipped.
//!
//! Invariant: it finds the ends of all requests that the parser takes, whatever pieces the bytes come in. What the parser
//! refuses ends the connection, and what comes after it is nobody's.

mod body;

use memchr::{memchr, memchr2, memchr3};

use body::{Body, Step};

/// Bytes that are not to be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The number of the bytes before it that may be.
    pub allowed: usize,
    /// Whether it is in a body: then its request has been read already.
    pub in_body: bool,
}

/// Follows the requests of one connection, from the beginning of a head on.
#[derive(Debug, Default)]
pub struct Framing {
    at: State,
    /// What the head has said so far of the body behind it.
    said: BodyFields,
    /// Heads that were read to their end.
    heads: u64,
    announced: u64,
}

/// The state of the parser: what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// A request, and maybe empty lines before it ([RFC 9112 §2.2](https://www.rfc-editor.org/rfc/rfc9112#section-2.2)).
    #[default]
    Request,
    /// The end of an empty line, behind its CR.
    Empty,
    Method,
    Target,
    /// The `#` of one.
    Fragment,
    /// The rest of a line that nobody looks at.
    Line,
    /// A field, or the end of the head.
    Field,
    /// The end of the head, behind its CR.
    End,
    /// The rest of a name that may be one of those that are looked for.
    Name(Name, usize),
    Length(Progress),
    Coding(Progress),
    Body(Body),
    /// A body that only the parser knows the end of: it refuses it.
    Unknown,
    Refused,
}

/// The fields that say how long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Length,
    Coding,
}

impl Name {
    /// In lower case, with the colon.
    fn text(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length:",
            Self::Coding => b"transfer-encoding:",
        }
    }
}

/// The one coding there is.
const CHUNKED: &[u8] = b"chunked";

/// The progress of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Before,
    /// So many bytes of it are what was expected.
    Within(usize),
    After,
    /// It is something else.
    Other,
}

#[derive(Debug, Default)]
struct BodyFields {
    length: Option<u64>,
    coding: Option<TransferCoding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TransferCoding {
    Chunked,
    Other,
}

/// Not to be read any further.
struct Refused;

impl Framing {
    /// Goes on with what came next.
    ///
    /// # Errors
    ///
    /// It is not to be read whole; nor is anything that comes after it.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut rest = bytes;
        while let Some((&first, behind)) = rest.split_first() {
            let in_body = matches!(self.at, State::Body(_));
            let read = match self.at {
                State::Unknown => return Ok(()),
                State::Fragment | State::Refused => Err(Refused),
                State::Method => Ok(self.skip(rest, memchr2(b' ', b'\n', rest), State::Target)),
                State::Target => Ok(self.skip(rest, memchr3(b'#', b' ', b'\n', rest), State::Line)),
                State::Line => Ok(self.skip(rest, memchr(b'\n', rest), State::Line)),
                State::Body(body) => self.body(body, rest),
                at => self.byte(at, first).map(|()| behind),
            };
            let Ok(left) = read else {
                self.at = State::Refused;
                return Err(Violation { allowed: bytes.len() - rest.len(), in_body });
            };
            rest = left;
        }
        Ok(())
    }

    /// The number of heads that were read to their end.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// The least length of the chunked body behind the last of them: its chunks as far as their sizes are known, the
    /// one that is to come included.
    pub fn announced(&self) -> u64 {
        self.announced
    }

    /// Goes on behind `found`, if there is one: with the fields if it is a line's end, else with `next`.
    fn skip<'a>(&mut self, bytes: &'a [u8], found: Option<usize>, next: State) -> &'a [u8] {
        let rest = found.and_then(|at| bytes.get(at..)).unwrap_or_default();
        let Some((&found, behind)) = rest.split_first() else { return rest };
        self.at = match found {
            b'#' => State::Fragment,
            b'\n' => State::Field,
            _ => next,
        };
        if found == b'#' { rest } else { behind }
    }

    /// One byte of a head where each counts.
    fn byte(&mut self, at: State, byte: u8) -> Result<(), Refused> {
        self.at = match (at, byte) {
            (State::Request, b'\r') => State::Empty,
            (State::Request | State::Empty, b'\n') => State::Request,
            (State::Request, _) => State::Method,
            (State::Field, b'\r') => State::End,
            (State::Field | State::End, b'\n') => self.end_head(),
            (State::Empty | State::End, _) => return Err(Refused),
            (State::Field, b'c' | b'C') => State::Name(Name::Length, 1),
            (State::Field, b't' | b'T') => State::Name(Name::Coding, 1),
            (State::Field, _) => State::Line,
            (State::Name(name, so_far), _) => match name.text().get(so_far..) {
                Some([expected, rest @ ..]) if byte.to_ascii_lowercase() == *expected => match (rest, name) {
                    ([], Name::Length) => self.begin_length()?,
                    ([], Name::Coding) => self.begin_coding()?,
                    _ => State::Name(name, so_far + 1),
                },
                _ if byte == b'\n' => State::Field,
                _ => State::Line,
            },
            (State::Length(part), _) => self.length(part, byte)?,
            (State::Coding(part), _) => self.coding(part, byte),
            (other, _) => other,
        };
        Ok(())
    }

    fn begin_length(&mut self) -> Result<State, Refused> {
        if self.said.length.is_some() || self.said.coding.is_some() {
            return Err(Refused);
        }
        Ok(State::Length(Progress::Before))
    }

    fn begin_coding(&mut self) -> Result<State, Refused> {
        if self.said.length.is_some() || self.said.coding.is_some() {
            return Err(Refused);
        }
        Ok(State::Coding(Progress::Before))
    }

    fn length(&mut self, part: Progress, byte: u8) -> Result<State, Refused> {
        Ok(match (part, byte) {
            (Progress::Before, b' ' | b'\t') => State::Length(part),
            (Progress::Before | Progress::Within(_), b'0'..=b'9') => {
                let digit = u64::from(byte - b'0');
                let so_far = self.said.length.unwrap_or(0);
                let length = so_far.checked_mul(10).and_then(|tens| tens.checked_add(digit));
                self.said.length = Some(length.ok_or(Refused)?);
                State::Length(Progress::Within(1))
            }
            (Progress::Within(_) | Progress::After, b' ' | b'\t' | b'\r') => State::Length(Progress::After),
            (Progress::Within(_) | Progress::After, b'\n') => State::Field,
            _ => return Err(Refused),
        })
    }

    fn coding(&mut self, part: Progress, byte: u8) -> State {
        let is_space = matches!(byte, b' ' | b'\t' | b'\r');
        State::Coding(match part {
            _ if byte == b'\n' => {
                let is_chunked = matches!(part, Progress::After | Progress::Within(7));
                self.said.coding =
                    Some(if is_chunked { TransferCoding::Chunked } else { TransferCoding::Other });
                return State::Field;
            }
            Progress::Before if is_space => Progress::Before,
            Progress::Before => expect(0, byte),
            Progress::Within(so_far) if is_space && so_far == CHUNKED.len() => Progress::After,
            Progress::Within(so_far) => expect(so_far, byte),
            Progress::After if is_space => Progress::After,
            Progress::After | Progress::Other => Progress::Other,
        })
    }

    fn end_head(&mut self) -> State {
        self.heads += 1;
        self.announced = 0;
        let BodyFields { length, coding } = std::mem::take(&mut self.said);
        match (coding, length) {
            (Some(TransferCoding::Chunked), _) => State::Body(Body::chunked()),
            (Some(TransferCoding::Other), _) => State::Unknown,
            (None, Some(1..)) => State::Body(Body::Content(length.unwrap_or(0))),
            (None, _) => State::Request,
        }
    }

    fn body<'a>(&mut self, body: Body, bytes: &'a [u8]) -> Result<&'a [u8], Refused> {
        let (step, left) = body.step(bytes);
        self.at = match step {
            Step::On(next) => {
                self.announced = self.announced.saturating_add(body.announces(next));
                State::Body(next)
            }
            Step::End => State::Request,
            Step::Refused => return Err(Refused),
        };
        Ok(left)
    }
}

/// The next byte of the coding's name.
fn expect(so_far: usize, byte: u8) -> Progress {
    match CHUNKED.get(so_far) {
        Some(expected) if byte.to_ascii_lowercase() == *expected => Progress::Within(so_far + 1),
        _ => Progress::Other,
    }
}

#[cfg(test)]
mod tests;
