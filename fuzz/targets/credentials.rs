//! Credentials of requests, and files of users: whatever is in them, nothing panics, and what is taken is within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_auth::digest::{self, DigestUser};
use medusa_auth::{MAX_PASSWORD, MAX_USER, basic, htdigest, htpasswd};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(credentials) = basic::parse(bytes) {
        let (user, password) = (&credentials.user, credentials.password.bytes());
        assert!(user.len() <= MAX_USER && !user.contains(':') && !user.chars().any(char::is_control));
        assert!(password.len() <= MAX_PASSWORD);
        let password = std::str::from_utf8(password).expect("it was decoded");
        assert!(!password.chars().any(char::is_control));
    }
    let field = [b"Digest ", bytes].concat();
    if let Some(Ok(credentials)) = digest::parse(&field) {
        match &credentials.user {
            DigestUser::Name(name) => assert!(name.len() <= MAX_USER && !name.chars().any(char::is_control)),
            DigestUser::Hash(hash) => assert!(matches!(hash.len(), 32 | 64)),
        }
        assert!(
            !credentials.uri.is_empty()
                && !credentials.realm.is_empty()
                && credentials.uri.len() <= bytes.len()
        );
    }
    match htdigest::check(bytes, "club") {
        Ok(users) => assert!(users <= bytes.len()),
        Err(wrong) => assert!(!wrong.told("users").is_empty()),
    }
    match htpasswd::check(bytes) {
        Ok(users) => assert!(users <= bytes.len()),
        Err(wrong) => assert!(!wrong.told("users").is_empty()),
    }
});
