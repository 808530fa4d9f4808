//! The script API's documentation: the reference as Markdown, and the type definitions for editors.
//!
//! All is made of what stands beside the bindings ([`crate::docs`]), and so is what a prompt asks ([`lookup`]); a test
//! compares that with a live VM.

mod definitions;
pub(crate) mod lookup;
mod markdown;
mod pages;
#[cfg(test)]
mod tests;

pub use definitions::types;
pub use markdown::pages;
