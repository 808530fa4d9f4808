//! Fields as clients send them, and such as no client does.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;
use crate::hash::Ha1;

/// The example of RFC 7616 §3.9.1.
fn example(algorithm: &str, response: &str) -> String {
    format!(
        "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={algorithm}, \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
         cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
         opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
    )
}

const MD5: &str = "8ca523f5e9506fed4657c9700eebdbec";
const SHA256: &str = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";

fn parsed(field: impl AsRef<[u8]>) -> Result<DigestCredentials, MalformedDigest> {
    parse(field.as_ref()).expect("it is of the scheme")
}

#[test]
fn the_examples_of_the_standard_are_answered() {
    let ha1 = Ha1::new("Mufasa", "http-auth@example.org", b"Circle of Life");
    for (name, algorithm, response) in
        [("MD5", DigestAlgorithm::Md5, MD5), ("SHA-256", DigestAlgorithm::Sha256, SHA256)]
    {
        let given = parsed(example(name, response)).expect("credentials");
        assert_eq!(given.algorithm, algorithm);
        assert_eq!(given.user, DigestUser::Name("Mufasa".into()));
        assert_eq!((given.realm.as_str(), given.count), ("http-auth@example.org", 1));
        assert_eq!(given.uri, b"/dir/index.html");
        let own = ha1.hash(algorithm).expect("both");
        assert!(given.is_answered(&own, "GET"));
        assert!(!given.is_answered(&own, "HEAD"));
        assert!(!given.is_answered(&own.replace('a', "b"), "GET"));
        let shown = format!("{given:?}");
        assert!(shown.contains("Mufasa") && !shown.contains(response), "{shown}");
        // Each part is in the answer.
        let parts = [("00000001", "00000002"), ("7ypf", "8ypf"), ("f2/w", "g2/w"), ("/dir/i", "/dir/j")];
        for (part, other) in parts {
            let changed = example(name, response).replacen(part, other, 1);
            assert!(!parsed(changed).expect("credentials").is_answered(&own, "GET"), "{other}");
        }
    }
}

#[test]
fn fields_are_read_as_they_may_be_written() {
    let field = example("MD5", MD5);
    let user = |field: String| parsed(field).expect("credentials").user;
    let ada = |name: &str| DigestUser::Name(name.into());
    let with = |part: &str| field.replacen("username=\"Mufasa\"", part, 1);
    assert_eq!(user(with("USERNAME = \"ada\" ")), ada("ada"));
    assert_eq!(user(with(", ,username=ada,")), ada("ada"));
    assert_eq!(user(with("username=\"a\\\"d\\\\a\"")), ada("a\"d\\a"));
    assert_eq!(user(with("username=\"\"")), ada(""));
    assert_eq!(user(with("username*=UTF-8''J%C3%A4s%c3%B8n")), ada("Jäsøn"));
    assert_eq!(user(with("username=\"zoë\"")), ada("zoë"));
    let hash = "AB".repeat(16);
    let hashed = with(&format!("username=\"{hash}\", userhash=true"));
    assert_eq!(user(hashed), DigestUser::Hash(hash.to_lowercase()));
    assert_eq!(user(with("username=\"ada\", userhash=\"false\", unknown=1")), ada("ada"));
    let mut latin_1 = with("username=\"zo@\"").into_bytes();
    let at = latin_1.iter().position(|byte| *byte == b'@').expect("it is there");
    latin_1[at] = 0xeb;
    assert_eq!(parsed(latin_1).expect("credentials").user, ada("zoë"));
    let quoted = field.replace("algorithm=MD5", "algorithm=\"md5\"").replace("qop=auth", "qop=\"auth\"");
    assert_eq!(user(quoted.replace("nc=00000001", "nc=\"0000000a\"")), ada("Mufasa"));
    let without = field.replace(" algorithm=MD5,", "");
    assert_eq!(parsed(without).expect("credentials").algorithm, DigestAlgorithm::Md5);
    assert!(parse(b"Basic YTpi").is_none() && parse(b"").is_none() && parse(b"DigestX a=b").is_none());
}

#[test]
fn what_is_malformed_is_refused() {
    let field = example("MD5", MD5);
    let replaced = |part: &str, by: &str| {
        assert!(field.contains(part), "{part}");
        field.replacen(part, by, 1)
    };
    let long = "a".repeat(MAX_NONCE + 1);
    let table = [
        ("Digest".to_owned(), "no `username`"),
        ("Digest ,,, ,".to_owned(), "no `username`"),
        ("Digest abc".to_owned(), "like `name=value`"),
        ("Digest =abc".to_owned(), "like `name=value`"),
        ("Digest username=\"ada".to_owned(), "not closed"),
        ("Digest username=\"ada\\".to_owned(), "not closed"),
        ("Digest username=\"a\\\"".to_owned(), "not closed"),
        ("Digest username=\"ada\"realm=x".to_owned(), "no comma"),
        ("Digest username=a b".to_owned(), "no comma"),
        ("Digest username=\"a\u{1}\"".to_owned(), "control"),
        (replaced("\"Mufasa\"", "\"a\u{85}\""), "control"),
        (replaced("\"Mufasa\"", &format!("\"{}\"", "a".repeat(256))), "name of the user is too long"),
        (replaced("uri=", "Realm=x, uri="), "twice"),
        (replaced("uri=", "username*=UTF-8''x, uri="), "two names"),
        (replaced("uri=", "userhash=true, uri="), "no hash"),
        (replaced("uri=", "userhash=maybe, uri="), "true or false"),
        (replaced("username=\"Mufasa\"", "userhash=true, username*=UTF-8''x"), "two names"),
        (replaced("username=\"Mufasa\"", "username*=x"), "like UTF-8''"),
        (replaced("username=\"Mufasa\"", "username*=latin1''x"), "like UTF-8''"),
        (replaced("username=\"Mufasa\"", "username*=UTF-8''%4"), "like UTF-8''"),
        (replaced("username=\"Mufasa\"", "username*=UTF-8''%+1"), "like UTF-8''"),
        (replaced("username=\"Mufasa\"", "username*=UTF-8''%ff"), "like UTF-8''"),
        (replaced("algorithm=MD5", "algorithm=MD5-sess"), "not offered"),
        (replaced("algorithm=MD5", "algorithm=SHA-512-256"), "not offered"),
        (replaced("algorithm=MD5", "algorithm="), "not offered"),
        (replaced("algorithm=MD5", "algorithm=SHA-256"), "no hash of this algorithm"),
        (replaced(MD5, &MD5[1..]), "no hash of this algorithm"),
        (replaced(MD5, &MD5.replace('8', "g")), "no hash of this algorithm"),
        (replaced(" qop=auth,", ""), "no `qop`"),
        (replaced("qop=auth", "qop=auth-int"), "`qop` is auth"),
        (replaced(" nc=00000001,", ""), "no `nc`"),
        (replaced("nc=00000001", "nc=1"), "eight"),
        (replaced("nc=00000001", "nc=00000000"), "eight"),
        (replaced("nc=00000001", "nc=+0000001"), "eight"),
        (replaced("nc=00000001", "nc=0000000g"), "eight"),
        (replaced("nc=00000001", "nc=000000001"), "eight"),
        (replaced("nonce=\"7", "nonc=\"7"), "no `nonce`"),
        (replaced("cnonce=", "cnonc="), "no `cnonce`"),
        (replaced("cnonce=\"f2", &format!("cnonce=\"{long}")), "too long"),
        (replaced("nonce=\"7y", &format!("nonce=\"{long}")), "too long"),
        (replaced("uri=\"/dir/index.html\"", "uri=\"\""), "no `uri`"),
        (replaced("realm=\"http-auth@example.org\",", ""), "no `realm`"),
        (replaced("response=", "respons="), "no `response`"),
        (
            format!("Digest {}", (0..40).map(|at| format!("p{at}=x,")).collect::<Vec<_>>().concat()),
            "too many",
        ),
    ];
    for (field, why) in table {
        let told = parsed(&field).expect_err(&field).to_string();
        assert!(told.contains(why), "{field}: {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_field_makes_it_panic(bytes in any::<Vec<u8>>(), at in 0_usize..400) {
        let _parsed = parse(&[b"Digest ", &*bytes].concat());
        let mut field = example("MD5", MD5).into_bytes();
        let at = at.min(field.len());
        field.splice(at..at, bytes);
        let _parsed = parse(&field);
    }
}
