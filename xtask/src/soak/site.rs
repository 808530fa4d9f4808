//! The site under soak: the files below `site/`, and content to serve.

use medusa_testkit::Site;

const BAD: &str = include_str!("site/bad.luau");
const SCRIPTS: [(&str, &str); 6] = [
    ("site.luau", include_str!("site/site.luau")),
    ("bad.luau", BAD),
    ("worker.luau", include_str!("site/worker.luau")),
    ("takes.luau", include_str!("site/takes.luau")),
    ("socket.luau", include_str!("site/socket.luau")),
    ("ok.luau", include_str!("site/ok.luau")),
];

/// The file that hostile clients hold, in bytes: more than any buffer on its way.
const LARGE: usize = 8 << 20;
/// The number of files that are in the folder that is listed.
const LISTED: usize = 5_000;

/// The site.
pub(super) fn make() -> Site {
    let site = Site::new();
    for (name, text) in SCRIPTS {
        site.write(name, text);
    }
    site.write("public/index.html", "<!doctype html><title>soak</title><p>page</p>");
    site.write("public/large.bin", vec![7; LARGE]);
    (0..LISTED).for_each(|number| site.write(&format!("listed/file {number}"), ""));
    site
}

/// The names of the ways to misbehave, in the order of the file.
pub(super) fn ways() -> Vec<&'static str> {
    let name = |line: &'static str| line.strip_prefix("function bad.")?.strip_suffix("(req)");
    BAD.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_many_ways_and_each_has_its_name() {
        let mut ways = ways();
        let count = ways.len();
        assert!(count >= 60, "{count}");
        assert_eq!(BAD.matches("\nfunction bad.").count(), count);
        ways.sort_unstable();
        ways.dedup();
        assert_eq!(ways.len(), count, "two have one name");
    }
}
