//! Templates: each letter, what is refused, and values that stay where the template has them.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::access::{Peer, Record, Timestamp, Version};
use crate::format::{Encoder, Format};

fn sample() -> Record<'static> {
    Record {
        time: Timestamp::from_micros(971_211_336_987_042),
        peer: Peer::Ip([192, 0, 2, 1].into()),
        name: Some("www.example.com"),
        user: Some("frank"),
        method: "GET",
        target: "/a/b?c=d?e",
        version: Version::Http11,
        host: Some("[2001:db8::1]:8080"),
        status: 200,
        bytes: 0,
        duration_us: 2_345_678,
        referer: Some(b""),
        user_agent: Some(b"curl/8 (x)"),
        server: "web",
        id: Some("0191"),
    }
}

fn line(template: &str, record: &Record<'_>) -> String {
    let format: Format = template.parse().expect("a template");
    let mut out = Vec::new();
    Encoder::new(format).encode(&(*record).into(), -7 * 3600, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn refused(template: &str) -> String {
    template.parse::<Template>().expect_err("no template").to_string()
}

#[test]
fn every_letter_stands_for_what_apache_has() {
    for (template, expected) in [
        ("%h %a %l %u", "www.example.com 192.0.2.1 - frank"),
        ("%t", "[10/Oct/2000:13:55:36 -0700]"),
        ("%m %U %q %H", "GET /a/b ?c=d?e HTTP/1.1"),
        ("%U%q", "/a/b?c=d?e"),
        ("%r", "GET /a/b?c=d?e HTTP/1.1"),
        ("%s %>s %<s", "200 200 200"),
        ("%b %B", "- 0"),
        ("%D %T %{s}T %{ms}T %{us}T", "2345678 2 2 2345 2345678"),
        ("%v %V %L", "web [2001:db8::1] 0191"),
        (r#"%{host}i "%{Referer}i" "%{User-agent}i""#, r#"[2001:db8::1]:8080 "" "curl/8 (x)""#),
        ("%{Referer}i %s", "- 200"),
        ("100%%%s%%", "100%200%"),
        ("%!200,304{User-Agent}i %200,500>s %404{User-Agent}i", "- 200 -"),
        ("%{sec}t %{msec}t %{usec}t", "971211336 971211336987 971211336987042"),
        ("%{msec_frac}t %{usec_frac}t", "987 987042"),
        ("%{end:%H:%M:%S}t %{begin:%T}t %{end:usec_frac}t", "13:55:39 13:55:36 332720"),
        ("%{end}t|%{begin}t", "[10/Oct/2000:13:55:39 -0700]|[10/Oct/2000:13:55:36 -0700]"),
        ("%{%Y-%m-%dT%H:%M:%S}t.%{msec_frac}t%{%z}t", "2000-10-10T13:55:36.987-0700"),
        (r#"\"%s\"\t%b"#, "\"200\"\t-"),
        ("%m→%s\t%b", "GET→200\t-"),
    ] {
        assert_eq!(line(template, &sample()), expected, "{template}");
    }
}

#[test]
fn what_is_absent_is_a_dash() {
    let bare = Record {
        peer: Peer::Unix,
        name: None,
        user: None,
        method: "",
        target: "",
        host: None,
        referer: None,
        user_agent: None,
        id: None,
        ..sample()
    };
    assert_eq!(line("%h %u %r %m %U %{Host}i %V %{Referer}i %L", &bare), "unix: - - - - - web - -");
}

#[test]
fn a_value_does_not_hold_what_ends_it() {
    let record = Record {
        user: Some("a b|c\"d\\"),
        target: "/x y|z",
        user_agent: Some("→|\n".as_bytes()),
        ..sample()
    };
    assert_eq!(line("%u %s", &record), r#"a\x20b|c\"d\\ 200"#);
    assert_eq!(line("%u|%s", &record), r#"a b\x7cc\"d\\|200"#);
    assert_eq!(line("%s|%u", &record), r#"200|a b\x7cc\"d\\"#);
    assert_eq!(line("%u%U|", &record), r#"a b\x7cc\"d\\/x y\x7cz|"#);
    assert_eq!(line("\"%r\" %s", &record), r#""GET /x y|z HTTP/1.1" 200"#);
    assert_eq!(line("|%r|%s", &record), r"|GET /x y\x7cz HTTP/1.1|200");
    assert_eq!(line("%{User-Agent}i→%s", &record), r"\xe2\x86\x92|\x0a→200");
    assert_eq!(line("%{User-Agent}ims", &record), r"→|\x0ams", "no one splits by a letter");
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    let there_are = "%h %a %l %u %t %{format}t %r %m %U %q %H %s %b %B %D %T %{ms}T %{us}T %v %V %L %{Referer}i \
                     %{User-Agent}i %{Host}i %%";
    for letter in ["%Z", "%>O", "%{Cookie}C", "%ü", "%p", "%X"] {
        assert_eq!(
            refused(&format!("ü %h {letter} %s")),
            format!("log format, character 6: there is no {letter:?}; there are {there_are}")
        );
    }
    for (template, expected) in [
        (
            "%{Cookie}i",
            r#"log format, character 1: there is no "%{Cookie}i"; there are %{Referer}i, %{User-Agent}i and %{Host}i"#,
        ),
        (
            "%i",
            r#"log format, character 1: there is no "%i"; there are %{Referer}i, %{User-Agent}i and %{Host}i"#,
        ),
        ("%{m}T", r#"log format, character 1: there is no "%{m}T"; there are %T, %{s}T, %{ms}T and %{us}T"#),
        ("%{c}h", r#"log format, character 1: there is no "%{c}h"; the letter takes nothing in braces"#),
        ("%s %", r#"log format, character 4: "%" is not finished; write %% for a percent sign"#),
        ("%{Host %s", r#"log format, character 1: "%{Host %s" is not finished; write %% for a percent sign"#),
        ("%20s", r#"log format, character 1: "20" is not a status between 100 and 999"#),
        ("%!s", r#"log format, character 1: "" is not a status between 100 and 999"#),
        (
            "%s\n",
            r"log format, character 3: '\n' has no place in a line; a tab is the only control character that has",
        ),
        ("%s\\n", r#"log format, character 3: a backslash can only stand before a quote or a "t" (tab)"#),
        ("\\\\%s", r#"log format, character 1: a backslash can only stand before a quote or a "t" (tab)"#),
    ] {
        assert_eq!(refused(template), expected);
    }
    for letter in ["%Q", "%Z", "%c", "%"] {
        let error = refused(&format!("%s %{{%Y {letter}}}t"));
        assert!(
            error.starts_with(&format!("log format, character 4: times have no {letter:?}; they have %Y ")),
            "{error}"
        );
    }
    assert!(refused("%{%Y\n}t").contains("'\\n' has no place"));
    assert!(refused("%{\\%Y}t").contains("backslash"));
}

#[test]
fn templates_are_bounded() {
    assert!("%s".repeat(Template::MOST_VALUES).parse::<Template>().is_ok());
    assert!(refused(&"%s".repeat(Template::MOST_VALUES + 1)).ends_with("it can have 64 values at most"));
    assert!("x".repeat(Template::LONGEST).parse::<Template>().is_ok());
    assert_eq!(
        refused(&"x".repeat(Template::LONGEST + 1)),
        "log format: 1025 bytes; it can have 1024 at most"
    );
}

/// Letters whose values a client or the user chooses, or has a part in.
const LETTERS: [&str; 12] =
    ["%h", "%u", "%r", "%m", "%U", "%s", "%v", "%V", "%L", "%{Referer}i", "%{User-Agent}i", "%{Host}i"];

proptest! {
    #[test]
    fn a_line_has_as_many_values_as_its_template(
        letters in proptest::collection::vec(0..LETTERS.len(), 2..10),
        separator in prop::sample::select(vec!['|', ';', '\t', ',', '\'', '→', ' ']),
        (user, host, name, id) in (option::of(".*"), option::of(".*"), option::of(".+"), option::of(".*")),
        (method, target, server) in (".*", ".*", ".*"),
        (referer, user_agent) in any::<(Option<Vec<u8>>, Option<Vec<u8>>)>(),
    ) {
        let record = Record {
            name: name.as_deref(),
            user: user.as_deref(),
            method: &method,
            target: &target,
            host: host.as_deref(),
            referer: referer.as_deref(),
            user_agent: user_agent.as_deref(),
            server: &server,
            id: id.as_deref(),
            ..sample()
        };
        let letters: Vec<&str> = letters.into_iter().map(|at| LETTERS[at]).filter(|letter| separator != ' ' || *letter != "%r").collect();
        prop_assume!(letters.len() > 1);
        let line = line(&letters.join(separator.encode_utf8(&mut [0; 4])), &record);
        prop_assert!(!line.chars().any(|c| c != '\t' && c.is_control()), "{line:?}");
        let values: Vec<&str> = line.split(separator).collect();
        prop_assert_eq!(values.len(), letters.len(), "{}", line);
        prop_assert!(separator != ' ' || values.iter().all(|value| !value.is_empty()), "{}", line);
    }

    #[test]
    fn no_text_makes_the_reader_panic(source: String, after in "%.{0,8}") {
        let _ = source.parse::<Template>();
        let _ = after.parse::<Template>();
    }

    #[test]
    fn times_agree_with_jiff(second in 86_400..253_402_200_000_i64, minutes in -14 * 60..=14 * 60_i32) {
        use jiff::tz::{Offset, TimeZone};
        let format = "%Y %y %m %d %e %j %b %B %a %A %H %I %M %S %p %z %F %T %R %D %h %%";
        let template: Format = format!("%{{{format}}}t").parse().expect("a template");
        let record = Record { time: Timestamp::from_micros(second * 1_000_000), ..sample() };
        let mut out = Vec::new();
        Encoder::new(template).encode(&record.into(), minutes * 60, &mut out);
        let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).expect("an offset"));
        let local = jiff::Timestamp::from_second(second).expect("in range").to_zoned(zone);
        prop_assert_eq!(String::from_utf8(out).expect("ASCII"), local.strftime(format).to_string());
    }
}
