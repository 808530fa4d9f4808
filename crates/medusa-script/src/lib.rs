//! The Luau engine.

mod preempt;
mod task;
mod vm;
pub use task::{Budget, TaskError};
