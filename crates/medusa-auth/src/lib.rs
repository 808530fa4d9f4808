//! Users and their passwords: files of them, checks that cost everybody else nothing, and the tool that keeps such files.
//!
//! - [`Users`]: those of a table or of a file that is looked at anew as it changes, and the check of one's password;
//! - [`PasswordHash`]: what is stored of a password, in the forms that htpasswd files have;
//! - [`htpasswd`]: the lines of such a file, [`htdigest`]: those of one for Digest; [`passwd`]: a line of it changed, the file written
//!   whole or not at all;
//! - [`basic`], [`digest`]: the credentials of a request ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617),
//!   [RFC 7616](https://www.rfc-editor.org/rfc/rfc7616)); [`new_nonce`]: what a client answers to;
//! - [`Failures`]: how often each client was wrong;
//! - [`sessions`]: those of users who have logged in, as texts that clients keep, and [`signing`], the keys of such texts.
//!
//! **Invariants:** no text here, for a log or for a person, has a password or a hash in it. A password is hashed on one thread
//! of its own, which has the lowest turn of all, in a queue with an end; so guesses take neither a worker nor all memory.

#[cfg(test)]
mod examples;
mod failures;
mod file;
mod hash;
mod hashing;
mod nonces;
mod remembered;
mod secret;
mod table;
mod users;

pub mod basic;
pub mod digest;
pub mod htdigest;
pub mod htpasswd;
pub mod passwd;
pub mod sessions;
pub mod signing;

pub use failures::Failures;
pub use file::FileError;
pub use hash::{HashError, PasswordHash, Scheme};
pub use hashing::Scope;
pub use nonces::new_nonce;
pub use secret::Secret;
pub use users::{CertificateName, CertificateUsers, Secrets, Users, UsersError, Verdict};

/// The longest name of a user, in bytes.
pub const MAX_USER: usize = 255;

/// The longest realm, in bytes.
pub const MAX_REALM: usize = 200;

/// The longest password, in bytes: of a longer one `htpasswd` makes no hash.
pub const MAX_PASSWORD: usize = 255;
