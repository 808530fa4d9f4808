//! WebDAV, classes 1, 2 and 3 ([RFC 4918](https://www.rfc-editor.org/rfc/rfc4918)), over the files that
//! [`Store`](medusa_http::store::Store) publishes.
//!
//! GET and PUT are those of the handlers [`Files`](medusa_http::handlers::files::Files) and [`Put`](medusa_http::handlers::put::Put). What is
//! added: [`asking`] is a request with what it names of this place, [`if_header`] and [`locks`] say whether it may; [`propfind`],
//! [`proppatch`], [`tree`] and [`locking`] are the methods; [`properties`] keeps what clients say of files; [`xml`] reads what they send,
//! [`elements`] knows what that means, and [`answer`] writes.
//!
//! **Invariants:**
//!
//! - Nothing is opened but by the store, beneath its directory; a path from a client is a [`PagePath`](medusa_http::store::PagePath)
//!   before anything else is done with it.
//! - Files, locks and properties are looked at and changed on the blocking pool.
//! - What a client sends is bounded before it is read: bytes, depth, elements, names. What it is sent in return is made piece by piece.
//! - A lock of a user is nobody else's to use, whoever knows its token.

mod answer;
mod asking;
mod destination;
mod elements;
mod error;
mod handler;
mod if_header;
mod locking;
mod locks;
mod names;
mod place;
mod properties;
mod propfind;
mod proppatch;
mod tree;
mod xml;

pub use handler::{Dav, DavOptions};
