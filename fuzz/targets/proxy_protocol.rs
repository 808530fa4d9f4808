//! The PROXY protocol's header, of either version, whole and byte by byte.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_proto::proxy_protocol::{Error, MAX_LEN, Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let whole = parse(bytes);
    match &whole {
        Ok(Parsed::Complete { len, .. }) => {
            assert!(*len <= bytes.len() && *len <= MAX_LEN, "a byte that is not the header's");
            assert_eq!(parse(&bytes[..*len]), whole, "what follows a header is not looked at");
            for cut in 0..*len {
                assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete), "cut after {cut}");
            }
        }
        Ok(Parsed::Incomplete) => assert!(bytes.len() < MAX_LEN, "it asks for more than there may be"),
        Err(Error::BadLine(line)) => assert!(line.len() <= MAX_LEN * 4, "a message without an end"),
        Err(_) => {}
    }
});
