//! Credentials of requests, and files of users: whatever is in them, nothing panics, and what is taken is within bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_auth::{MAX_PASSWORD, MAX_USER, basic, htpasswd};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(credentials) = basic::parse(bytes) {
        let (user, password) = (&credentials.user, credentials.password.bytes());
        assert!(user.len() <= MAX_USER && !user.contains(':') && !user.chars().any(char::is_control));
        assert!(password.len() <= MAX_PASSWORD);
        let password = std::str::from_utf8(password).expect("it was decoded");
        assert!(!password.chars().any(char::is_control));
    }
    match htpasswd::check(bytes) {
        Ok(users) => assert!(users <= bytes.len()),
        Err(wrong) => assert!(!wrong.told("users").is_empty()),
    }
});
