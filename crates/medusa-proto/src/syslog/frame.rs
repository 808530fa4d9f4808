//! Messages on a stream, and in a datagram.

use std::str::FromStr;

use crate::format::decimal;

/// The framing by which a receiver finds the end of a message on a stream
/// ([RFC 6587 §3.4](https://www.rfc-editor.org/rfc/rfc6587#section-3.4)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SyslogFraming {
    /// Its length stands before it: `11 <30>1 - ...`. The default; the only one that
    /// [RFC 5425](https://www.rfc-editor.org/rfc/rfc5425#section-4.3) has for TLS.
    #[default]
    Octet,
    /// A line feed stands behind it. No message has one inside: control characters are escaped.
    Lf,
}

impl SyslogFraming {
    /// Its name in a script.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Octet => "octet",
            Self::Lf => "lf",
        }
    }

    /// Makes a frame of the message that stands in `out` from `start` on.
    pub fn frame(&self, start: usize, out: &mut Vec<u8>) {
        match self {
            Self::Lf => out.push(b'\n'),
            Self::Octet => {
                let length = out.len().saturating_sub(start);
                decimal(length, out);
                out.push(b' ');
                let message = out.get_mut(start..).unwrap_or_default();
                message.rotate_left(length);
            }
        }
    }
}

/// A framing's name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown syslog framing {0:?}: use \"octet\" or \"lf\"")]
pub struct UnknownFraming(pub String);

impl FromStr for SyslogFraming {
    type Err = UnknownFraming;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Octet, Self::Lf]
            .into_iter()
            .find(|framing| framing.name() == name)
            .ok_or_else(|| UnknownFraming(name.to_owned()))
    }
}

/// Cuts the message that stands in `out` from `start` on to at most `most` bytes, between two characters
/// ([RFC 5424 §6.1](https://www.rfc-editor.org/rfc/rfc5424#section-6.1)). True if something was cut.
///
/// This knows no structured data and may cut through it: see
/// [`SyslogEncoder::with_limit`](super::SyslogEncoder::with_limit).
pub fn truncate(out: &mut Vec<u8>, start: usize, most: usize) -> bool {
    let message = out.get(start..).unwrap_or_default();
    if message.len() <= most {
        return false;
    }
    // A character starts where no continuation byte stands.
    let starts = |at: &usize| message.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80);
    let end = (0..=most).rev().find(starts).unwrap_or(0);
    out.truncate(start + end);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_has_its_length_before_or_a_line_feed_behind() {
        let mut out = b"before".to_vec();
        out.extend_from_slice("<1>ü".as_bytes());
        SyslogFraming::Octet.frame(6, &mut out);
        assert_eq!(out, "before5 <1>ü".as_bytes());
        let start = out.len();
        out.extend_from_slice(b"<2>x");
        SyslogFraming::Lf.frame(start, &mut out);
        assert_eq!(out, "before5 <1>ü<2>x\n".as_bytes());
    }

    #[test]
    fn names_are_read_back_and_others_refused() {
        for framing in [SyslogFraming::Octet, SyslogFraming::Lf] {
            assert_eq!(framing.name().parse(), Ok(framing));
        }
        assert_eq!("nul".parse::<SyslogFraming>(), Err(UnknownFraming("nul".to_owned())));
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_longest_beginning_that_fits(before: String, text: String, most in 0..64_usize) {
            let mut out = [before.as_bytes(), text.as_bytes()].concat();
            let cut = truncate(&mut out, before.len(), most);
            let expected = &text[..text.floor_char_boundary(most)];
            prop_assert_eq!(&out[..before.len()], before.as_bytes());
            prop_assert_eq!(str::from_utf8(&out[before.len()..]), Ok(expected));
            prop_assert_eq!(cut, text.len() > most);
        }
    }
}
