//! News of a statement or a load while it runs.

/// Something that happened, for whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskProgress {
    /// It printed a line.
    Output(String),
    /// Somebody else's change is under way; this one waits.
    Waiting(String),
}
