//! The form in which the script API is described, beside what implements it: `DOCS`, `CLASS` and `OPTIONS` in its modules.
//!
//! [`crate::reference`] makes the reference and the type definitions of it.

/// The scripts in which a part of the API can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In the main script and statements only.
    Main,
    /// In statements only.
    Session,
    /// In handler files too.
    Everywhere,
}

/// A function, field or option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    /// `medusa.http.server`; within a class just the name.
    pub(crate) path: &'static str,
    /// Its type: `(name: string) -> Handler`.
    pub(crate) signature: &'static str,
    pub(crate) scope: Scope,
    pub(crate) doc: &'static str,
}

/// An [`Item`] that handler files have, too.
pub(crate) const fn item(path: &'static str, signature: &'static str, doc: &'static str) -> Item {
    Item { path, signature, scope: Scope::Everywhere, doc }
}

/// An [`Item`] that only the main script has.
pub(crate) const fn main_item(path: &'static str, signature: &'static str, doc: &'static str) -> Item {
    Item { path, signature, scope: Scope::Main, doc }
}

/// An [`Item`] that only statements have: a command of a session.
pub(crate) const fn session_item(path: &'static str, signature: &'static str, doc: &'static str) -> Item {
    Item { path, signature, scope: Scope::Session, doc }
}

/// A kind of object, or a table of options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Item],
    pub(crate) methods: &'static [Item],
}

impl Class {
    /// Whether scripts write such a table themselves, rather than get an object.
    pub(crate) fn is_options(&self) -> bool {
        self.name.ends_with("Options") || self.name == "Response"
    }
}
