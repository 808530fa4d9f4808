//! The text of a value, as far as it is written.

use super::error::EncodeError;
use super::limits::MAX_TEXT;

/// The text that a step has written.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// How long the text of earlier steps is.
    earlier: usize,
    text: Vec<u8>,
}

impl Output {
    /// The length that this step has written.
    pub(super) fn length(&self) -> usize {
        self.text.len()
    }

    /// Takes out what this step has written, at its end.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.earlier += self.text.len();
        std::mem::take(&mut self.text)
    }

    /// Whether there is room for so many bytes.
    pub(super) fn check(&self, length: usize) -> Result<(), EncodeError> {
        let long = self.earlier + self.text.len() + length > MAX_TEXT;
        if long { Err(EncodeError::TooLong) } else { Ok(()) }
    }

    pub(super) fn put(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        self.check(text.len())?;
        self.text.extend_from_slice(text);
        Ok(())
    }

    /// Writes a finite number. A whole one is written as such, and all of its digits are what it is.
    pub(super) fn number(&mut self, number: f64) -> Result<(), EncodeError> {
        /// 2^63: from here on they do not fit.
        const END: f64 = 9_223_372_036_854_775_808.0;
        let whole = number as i64;
        if number.abs() < END && (whole as f64).to_bits() == number.to_bits() {
            return self.put(whole.to_string().as_bytes());
        }
        self.put(serde_json::Value::from(number).to_string().as_bytes())
    }

    /// Writes what stands between the quotes.
    pub(super) fn escape(&mut self, text: &[u8]) -> Result<(), EncodeError> {
        let mut copied = 0;
        for (at, byte) in text.iter().enumerate() {
            if !matches!(byte, b'"' | b'\\' | 0..0x20) {
                continue;
            }
            self.put(text.get(copied..at).unwrap_or_default())?;
            copied = at + 1;
            match byte {
                b'\n' => self.put(b"\\n")?,
                b'\r' => self.put(b"\\r")?,
                b'\t' => self.put(b"\\t")?,
                b'\x08' => self.put(b"\\b")?,
                b'\x0c' => self.put(b"\\f")?,
                b'"' | b'\\' => self.put(&[b'\\', *byte])?,
                byte => self.put(format!("\\u{byte:04x}").as_bytes())?,
            }
        }
        self.put(text.get(copied..).unwrap_or_default())
    }
}
