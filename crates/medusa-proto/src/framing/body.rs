//! The bytes between two heads. Of chunks, the lines between them
//! ([RFC 9112 §7.1](https://www.rfc-editor.org/rfc/rfc9112#section-7.1)).

/// The progress of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes of it are to come.
    Content(u64),
    Chunk(Chunk),
}

/// The progress of a chunked body. What has a size is in the line before the chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Size {
        size: u64,
        digits: u8,
    },
    /// White space before a semicolon.
    Gap {
        size: u64,
    },
    /// The semicolon was there; white space may be.
    NameBegins {
        size: u64,
    },
    Name {
        size: u64,
    },
    /// White space behind a name.
    NameEnds {
        size: u64,
    },
    /// The equals sign was there; white space may be.
    ValueBegins {
        size: u64,
    },
    Value {
        size: u64,
    },
    Quoted {
        size: u64,
    },
    /// Behind a backslash.
    Escaped {
        size: u64,
    },
    QuoteEnds {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// A trailer field, or the end.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
}

/// The result of a step.
pub(super) enum Step {
    On(Body),
    End,
    Refused,
}

/// The digits of a size, leading zeros among them: as many as a size of 64 bits has.
const MOST_DIGITS: u8 = 16;

impl Body {
    pub(super) fn chunked() -> Self {
        Self::Chunk(Chunk::FIRST)
    }

    /// The length of the chunk that begins with `next`, if one does.
    pub(super) fn announces(self, next: Self) -> u64 {
        match (self, next) {
            (Self::Chunk(Chunk::SizeLf { .. }), Self::Chunk(Chunk::Data { left })) => left,
            _ => 0,
        }
    }

    /// Goes on with `bytes`, of which there is one at least. Returns what is left of them.
    pub(super) fn step(self, bytes: &[u8]) -> (Step, &[u8]) {
        match self {
            Self::Content(left) => match skip(left, bytes) {
                (0, behind) => (Step::End, behind),
                (left, behind) => (Step::On(Self::Content(left)), behind),
            },
            Self::Chunk(Chunk::Data { left }) => {
                let (left, behind) = skip(left, bytes);
                let next = if left == 0 { Chunk::DataCr } else { Chunk::Data { left } };
                (Step::On(Self::Chunk(next)), behind)
            }
            Self::Chunk(Chunk::EndLf) if bytes.first() == Some(&b'\n') => {
                (Step::End, bytes.get(1..).unwrap_or_default())
            }
            Self::Chunk(chunk) => {
                let next = bytes.split_first().and_then(|(&byte, behind)| Some((chunk.byte(byte)?, behind)));
                match next {
                    Some((next, behind)) => (Step::On(Self::Chunk(next)), behind),
                    None => (Step::Refused, bytes),
                }
            }
        }
    }
}

/// Leaves out `count` bytes. Returns how many of them are still to come, and what is behind them.
fn skip(count: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let here = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
    (count - here as u64, bytes.get(here..).unwrap_or_default())
}

impl Chunk {
    const FIRST: Self = Self::Size { size: 0, digits: 0 };

    /// Takes one byte of a line; none if it does not belong there.
    fn byte(self, byte: u8) -> Option<Self> {
        let is_space = matches!(byte, b' ' | b'\t');
        Some(match self {
            Self::Size { size, digits } => match char::from(byte).to_digit(16) {
                Some(digit) if digits < MOST_DIGITS => {
                    Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
                }
                None if digits > 0 => Self::behind_value(size, byte)?,
                _ => return None,
            },
            Self::Gap { .. } | Self::NameBegins { .. } | Self::NameEnds { .. } | Self::ValueBegins { .. }
                if is_space =>
            {
                self
            }
            Self::NameBegins { size } | Self::Name { size } if is_tchar(byte) => Self::Name { size },
            Self::Name { size } if is_space => Self::NameEnds { size },
            Self::Name { size } | Self::NameEnds { size } if byte == b'=' => Self::ValueBegins { size },
            Self::Gap { size } | Self::NameEnds { size } if byte == b';' => Self::NameBegins { size },
            Self::ValueBegins { size } if byte == b'"' => Self::Quoted { size },
            Self::ValueBegins { size } | Self::Value { size } if is_tchar(byte) => Self::Value { size },
            Self::Quoted { size } if byte == b'"' => Self::QuoteEnds { size },
            Self::Quoted { size } if byte == b'\\' => Self::Escaped { size },
            Self::Quoted { size } | Self::Escaped { size } if is_text(byte) => Self::Quoted { size },
            Self::Name { size } | Self::Value { size } | Self::QuoteEnds { size } => {
                Self::behind_value(size, byte)?
            }
            Self::SizeLf { size: 0 } | Self::TrailerLf if byte == b'\n' => Self::Trailer,
            Self::SizeLf { size } if byte == b'\n' => Self::Data { left: size },
            Self::DataCr if byte == b'\r' => Self::DataLf,
            Self::DataLf if byte == b'\n' => Self::FIRST,
            Self::Trailer if byte == b'\r' => Self::EndLf,
            Self::Trailer | Self::TrailerName if is_tchar(byte) => Self::TrailerName,
            Self::TrailerName if byte == b':' => Self::TrailerValue,
            Self::TrailerValue if byte == b'\r' => Self::TrailerLf,
            Self::TrailerValue if is_text(byte) => Self::TrailerValue,
            _ => return None,
        })
    }

    /// The state behind a size, an extension's name or its value.
    fn behind_value(size: u64, byte: u8) -> Option<Self> {
        match byte {
            b'\r' => Some(Self::SizeLf { size }),
            b';' => Some(Self::NameBegins { size }),
            b' ' | b'\t' => Some(Self::Gap { size }),
            _ => None,
        }
    }
}

/// Whether it may be in a token ([RFC 9110 §5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether it may be in a field's value, or between quotes where it means nothing else
/// ([RFC 9110 §5.5](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
