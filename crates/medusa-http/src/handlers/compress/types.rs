//! Types that are worth compressing.

use http::HeaderValue;

/// Types of text, and of binaries that are not compressed in themselves. All of `text/` is, too, but for event streams.
const COMPRESSIBLE: &[&str] = &[
    "application/atom+xml",
    "application/geo+json",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/ndjson",
    "application/rss+xml",
    "application/rtf",
    "application/toml",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/xhtml+xml",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
    "image/vnd.microsoft.icon",
    "model/gltf+json",
];

/// Whether content of this `Content-Type` gets much smaller, and may be held back for it. An event stream may not: what
/// is in it is to be seen at once, and an encoder collects.
pub(crate) fn is_compressible(content_type: &HeaderValue) -> bool {
    let Some(essence) = essence(content_type) else { return false };
    if essence.eq_ignore_ascii_case("text/event-stream") {
        return false;
    }
    let is_text = essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    is_text
        || COMPRESSIBLE.iter().any(|known| known.eq_ignore_ascii_case(essence))
        || ends_with(essence, "+json")
        || ends_with(essence, "+xml")
}

/// Whether content of this `Content-Type` is compressed in itself, so that nobody keeps another form of it.
pub(crate) fn is_packed(content_type: &HeaderValue) -> bool {
    const KINDS: [&str; 3] = ["image/", "audio/", "video/"];
    const PACKED: [&str; 9] = [
        "application/gzip",
        "application/zip",
        "application/zstd",
        "application/x-7z-compressed",
        "application/x-bzip2",
        "application/x-xz",
        "application/java-archive",
        "font/woff",
        "font/woff2",
    ];
    let Some(essence) = essence(content_type) else { return false };
    let of_kind =
        |kind: &&str| essence.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    PACKED.iter().any(|packed| packed.eq_ignore_ascii_case(essence))
        || (KINDS.iter().any(of_kind) && !is_compressible(content_type))
}

/// The type without its parameters.
fn essence(content_type: &HeaderValue) -> Option<&str> {
    let text = content_type.to_str().ok()?;
    Some(text.split_once(';').map_or(text, |(essence, _)| essence).trim())
}

fn ends_with(text: &str, end: &str) -> bool {
    let start = text.len().checked_sub(end.len());
    start.and_then(|start| text.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for (content_type, compressible, packed) in [
            ("text/html; charset=utf-8", true, false),
            ("TEXT/CSS", true, false),
            ("application/json", true, false),
            ("application/problem+json; charset=utf-8", true, false),
            ("image/svg+xml", true, false),
            ("application/wasm", true, false),
            ("text/event-stream", false, false),
            ("text/event-stream; charset=utf-8", false, false),
            ("image/png", false, true),
            ("video/mp4", false, true),
            ("application/zip", false, true),
            ("font/woff2", false, true),
            ("application/octet-stream", false, false),
            ("application/pdf", false, false),
            ("", false, false),
            ("+json", true, false),
            ("\u{e9}", false, false),
        ] {
            let value = HeaderValue::from_str(content_type).unwrap();
            assert_eq!(
                (is_compressible(&value), is_packed(&value)),
                (compressible, packed),
                "{content_type}"
            );
        }
    }
}
