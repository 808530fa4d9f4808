//! The caching DNS resolver, over a known name server.
