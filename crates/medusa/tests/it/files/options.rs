//! Options that make no sense: told with the line of the script.

use super::{MEDUSA, web};

#[test]
fn options_that_make_no_sense_are_refused_with_their_line() {
    for (options, expected) in [
        ("{ cache_control = 5 }", &["`cache_control` must be a string, or a list", "not with 5"][..]),
        ("{ cache_control = { '*.css' } }", &["`cache_control` must be", "*.css"]),
        ("{ cache_control = { { '*.css', 60 } } }", &["`cache_control` must be"]),
        ("{ cache_control = { { 'a//b', 'no-cache' } } }", &["`a//b` is not a pattern", "no empty segments"]),
        ("{ cache_control = { { '*.{css', 'no-cache' } } }", &["`*.{css`", "must come in pairs"]),
        ("{ cache_control = 'a\\nb' }", &["cannot be a value of Cache-Control"]),
        ("{ not_found = '404.html' }", &["there is no file `404.html`"]),
        ("{ not_found = '../site.luau' }", &["there is no file `../site.luau`"]),
        ("{ not_found = true }", &["`not_found` must be a string, not true"]),
        ("{ clean_urls = 'yes' }", &["`clean_urls` must be a boolean"]),
        ("{ precompressed = 1 }", &["`precompressed` must be a boolean"]),
        ("{ compressed = true }", &["there is no option", "compressed", "compress, cache_control"]),
    ] {
        let script = format!("web:mount('/', medusa.handler.files('public', {options}))");
        let site = web(&script).file("public/x", "");
        let message = MEDUSA.serve(site.path()).fail().failure(1);
        for part in expected.iter().chain(&["site.luau:2:", "medusa.handler.files"]) {
            assert!(message.contains(part), "{options}: {part}\n{message}");
        }
    }
    let site = web("web:mount('/', medusa.handler.compress('x'))");
    let message = MEDUSA.serve(site.path()).fail().failure(1);
    assert!(message.contains("site.luau:2:") && message.contains("must be a function(req)"), "{message}");
}
