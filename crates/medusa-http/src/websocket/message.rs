//! Messages, and how a session ends.

use bytes::Bytes;

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// A message, either way. One of [`MessageKind::Text`] is UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    kind: MessageKind,
    data: Bytes,
}

impl Message {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: MessageKind::Text, data: Bytes::from(text.into()) }
    }

    /// Bytes.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self { kind: MessageKind::Binary, data: data.into() }
    }

    /// A text that was checked to be one.
    pub(super) fn checked_text(data: Bytes) -> Self {
        Self { kind: MessageKind::Text, data }
    }

    /// The kind of its content.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The same message, with its bytes made anew from what they were.
    pub(super) fn map(self, of: impl FnOnce(Bytes) -> Bytes) -> Self {
        Self { kind: self.kind, data: of(self.data) }
    }

    /// Its bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }
}

/// The reason why a session ended: a status code and a text ([RFC 6455
/// §7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    code: u16,
    reason: String,
}

/// A close that must not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClose {
    /// The code is reserved, or none at all.
    #[error(
        "{0} is not a close code that may be sent: there are 1000 to 1003, 1007 to 1014, and 3000 to 4999 of your own"
    )]
    Code(u16),
    /// The reason is longer than fits a control frame.
    #[error("the reason of a close may have 123 bytes of UTF-8, not {0}")]
    Reason(usize),
}

/// The length that fits a control frame beside the code ([RFC 6455
/// §5.5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5)).
const MAX_REASON: usize = 123;

impl Close {
    /// It has done what it was for.
    pub const NORMAL: u16 = 1000;
    /// The server goes, or the session's handler does.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the protocol.
    pub const PROTOCOL: u16 = 1002;
    /// The peer sent a close without a code. Never sent itself.
    pub const NO_CODE: u16 = 1005;
    /// The connection was lost without a close. Never sent itself.
    pub const LOST: u16 = 1006;
    /// The peer sent a text that is none, or something compressed that is not.
    pub const NOT_UTF8: u16 = 1007;
    /// The peer did what is not forbidden, and too much of it.
    pub const POLICY: u16 = 1008;
    /// The peer sent too long a message.
    pub const TOO_LONG: u16 = 1009;
    /// The handler failed.
    pub const FAILED: u16 = 1011;
    /// There is no room for it now.
    pub const TRY_AGAIN: u16 = 1013;

    /// A close to be sent.
    ///
    /// # Errors
    ///
    /// The code is one that must not be sent, or the reason is too long.
    pub fn new(code: u16, reason: impl Into<String>) -> Result<Self, InvalidClose> {
        let reason = reason.into();
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(InvalidClose::Code(code));
        }
        if reason.len() > MAX_REASON {
            return Err(InvalidClose::Reason(reason.len()));
        }
        Ok(Self { code, reason })
    }

    /// One of our own.
    pub(super) fn of(code: u16, reason: &str) -> Self {
        Self { code, reason: reason.to_owned() }
    }

    /// The connection was lost.
    pub(super) fn lost() -> Self {
        Self::of(Self::LOST, "")
    }

    /// The status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_that_may_be_sent_are_sent() {
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4000, 4999] {
            assert!(Close::new(code, "").is_ok(), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, u16::MAX] {
            assert_eq!(Close::new(code, ""), Err(InvalidClose::Code(code)));
        }
        assert!(Close::new(1000, "é".repeat(61)).is_ok());
        assert_eq!(Close::new(1000, "é".repeat(62)), Err(InvalidClose::Reason(124)));
    }
}
