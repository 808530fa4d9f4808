//! News of a statement or a load while it runs.

use std::fmt;

use crate::top::TopSample;

/// Something that happened, for whoever asked for it.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskProgress {
    /// It printed a line.
    Output(String),
    /// Somebody else's change is under way; this one waits.
    Waiting(String),
    /// It told of the server in numbers.
    Top(Box<TopSample>),
}

impl fmt::Display for TaskProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(text) | Self::Waiting(text) => f.write_str(text),
            Self::Top(sample) => sample.fmt(f),
        }
    }
}
