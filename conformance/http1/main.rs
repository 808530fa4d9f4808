//! HTTP/1.1: one module per section of RFC 9112 and RFC 9110.
