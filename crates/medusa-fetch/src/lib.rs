//! The HTTP client of scripts.
