//! The handlers that come with the server, a module each.

pub mod allow;
pub mod auth;
pub mod compress;
pub mod concurrency;
pub mod cors;
pub mod csrf;
pub mod errors;
pub mod files;
pub mod first;
pub mod headers;
pub mod limit;
pub mod log;
pub mod login;
mod origin_list;
pub mod publish;
pub mod put;
pub mod redirect;
pub mod rewrite;
#[cfg(test)]
mod stand_in;
pub mod timeout;
pub mod tower;
pub mod user_dirs;

pub use origin_list::{OriginError, OriginList};
