//! The script API's documentation: the reference as Markdown, and the type definitions for editors.
//!
//! Both are made of what stands beside the bindings ([`crate::docs`]); a test compares that with a live VM.

mod definitions;
mod markdown;
mod pages;
#[cfg(test)]
mod tests;

pub use definitions::types;
pub use markdown::pages;
