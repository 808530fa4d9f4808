//! Reasons why one server has no answer.

use std::sync::Arc;

use crate::Rcode;

/// The reason why one server has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It says so.
    Code(Rcode),
    /// Its answer is none.
    Malformed(&'static str),
    /// It said nothing.
    Timeout,
    /// It could not be asked.
    Unreachable(Arc<str>),
}
