//! The router: patterns of any text, and requests compared with a walk through all patterns that knows nothing of trees.
//!
//! An input is lines: patterns, then an empty line, then requests as `METHOD [host]/path`.

#![no_main]

#[expect(dead_code, unused_imports, reason = "the module as it is, without the crate around it")]
#[path = "../../crates/medusa-http/src/router/mod.rs"]
mod router;

use http::Method;
use libfuzzer_sys::fuzz_target;
use router::{Pattern, Route, Router};

/// More would be tried no faster, and find no more.
const MOST: usize = 24;

fuzz_target!(|text: &str| {
    let (patterns, requests) = text.split_once("\n\n").unwrap_or((text, ""));
    let patterns: Vec<Pattern> =
        patterns.lines().take(MOST).filter_map(|pattern| pattern.parse().ok()).collect();
    for pattern in &patterns {
        let again: Pattern = pattern.as_str().parse().expect("a pattern is read back as it was written");
        assert_eq!(again, *pattern);
    }
    let mut kept: Vec<(Pattern, usize)> = Vec::new();
    for pattern in patterns {
        kept.push((pattern, kept.len()));
        if Router::build(kept.iter().cloned()).is_err() {
            kept.pop();
        }
    }
    let router = Router::build(kept.iter().cloned()).expect("no clash was kept");
    let reversed = Router::build(kept.iter().rev().cloned()).expect("the order decides nothing");
    for request in requests.lines().take(MOST) {
        let Some((method, located)) = request.split_once(' ') else { continue };
        let Ok(method) = method.parse::<Method>() else { continue };
        let (host, path) = located.split_at(located.find('/').unwrap_or(located.len()));
        check(&router, &reversed, &method, (!host.is_empty()).then_some(host), path);
    }
});

fn check(router: &Router<usize>, reversed: &Router<usize>, method: &Method, host: Option<&str>, path: &str) {
    let route = router.route(method, host, path);
    assert_eq!(route, reversed.route(method, host, path), "the order of patterns decides");
    let explained = router.explain(method, host, path);
    match route {
        Route::Found { value, pattern, params, tail } => {
            assert_eq!(explained.first(), Some(&(pattern, value)), "route and explain disagree");
            assert!(path.is_char_boundary(tail), "the tail begins within a character");
            assert_eq!(params.iter().count(), pattern.names().count());
            // Alone, the pattern takes the request with the same values.
            let alone = Router::build([(pattern.clone(), *value)]).expect("one pattern");
            match alone.route(method, host, path) {
                Route::Found { params: same, .. } => assert_eq!(same, params),
                other => panic!("{pattern} alone makes {other:?} of {path:?}"),
            }
        }
        Route::Redirect(to) => {
            assert!(to.starts_with('/') && !to.starts_with("//"), "off this host: {to:?}");
            let further = router.route(method, host, &to);
            assert!(
                !matches!(further, Route::Redirect(ref twice) if *twice == to),
                "round in a circle: {to:?}"
            );
            assert_ne!(further, Route::BadPath, "{to:?}");
        }
        Route::MethodNotAllowed(_) | Route::NotFound | Route::BadPath => {
            assert!(explained.is_empty(), "explained, but not routed: {explained:?}");
        }
    }
}
