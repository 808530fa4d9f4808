//! Windows: the most of request bodies that may be on its way before a handler reads it, in bytes.

/// Of one body on an HTTP/1 connection: hyper's buffer.
pub(crate) const READ_AHEAD: u32 = 64 * 1024;
/// Of one body on an HTTP/2 connection: the stream's window
/// ([RFC 9113 §6.9](https://www.rfc-editor.org/rfc/rfc9113#section-6.9)).
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Of all bodies on an HTTP/2 connection together.
pub(crate) const CONNECTION_WINDOW: u32 = 1024 * 1024;
