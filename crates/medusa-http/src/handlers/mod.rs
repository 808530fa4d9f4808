//! The handlers that come with the server, a module each.

pub mod allow;
pub mod compress;
pub mod concurrency;
pub mod files;
pub mod headers;
pub mod limit;
pub mod redirect;
#[cfg(test)]
mod stand_in;
pub mod timeout;
