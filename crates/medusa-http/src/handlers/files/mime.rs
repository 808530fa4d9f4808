//! The type of a file, by the extension of its name.

use http::HeaderValue;

/// The types that the table of `mime_guess` lacks, or has in a form that browsers offer to save instead of showing.
const OURS: &[(&str, &str)] = &[
    ("html", "text/html; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("lua", "text/plain; charset=utf-8"),
    ("luau", "text/plain; charset=utf-8"),
    ("log", "text/plain; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webmanifest", "application/manifest+json"),
];

/// For a name that tells nothing: the client saves it.
pub(super) const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The value of `Content-Type` for a file of this name. Text is taken to be UTF-8.
pub fn of(name: &[u8]) -> HeaderValue {
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let Some(dot) = memchr::memrchr(b'.', name) else { return UNKNOWN };
    let Ok(extension) = std::str::from_utf8(&name[dot + 1..]) else { return UNKNOWN };
    if let Some((_, ours)) = OURS.iter().find(|(ours, _)| ours.eq_ignore_ascii_case(extension)) {
        return HeaderValue::from_static(ours);
    }
    let Some(guess) = mime_guess::from_ext(extension).first_raw() else { return UNKNOWN };
    if guess.starts_with("text/") {
        HeaderValue::from_str(&format!("{guess}; charset=utf-8")).unwrap_or(UNKNOWN)
    } else {
        HeaderValue::from_static(guess)
    }
}

/// Types of images that are pixels and nothing else.
const PIXELS: [&str; 7] = ["avif", "bmp", "gif", "jpeg", "png", "webp", "x-icon"];

/// Whether content of this type can be shown by a browser, and cannot do anything there: neither run, nor load, nor be
/// taken for a script or a style.
pub(super) fn does_nothing(content_type: &HeaderValue) -> bool {
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default();
    match essence.split_once('/') {
        Some(("image", kind)) => PIXELS.contains(&kind),
        Some(("audio" | "video", _)) => true,
        _ => essence == "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::{does_nothing, of};

    #[test]
    fn what_strangers_may_show() {
        for name in ["a.png", "a.JPG", "a.webp", "a.mp4", "a.mp3", "a.txt", "a.log"] {
            assert!(does_nothing(&of(name.as_bytes())), "{name}");
        }
        for name in [
            "a.html", "a.svg", "a.xml", "a.xhtml", "a.js", "a.css", "a.pdf", "a.json", "a", "a.swf", "a.mht",
            "a.htc",
        ] {
            assert!(!does_nothing(&of(name.as_bytes())), "{name}");
        }
    }

    #[test]
    fn types_by_extension() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b/style.CSS", "text/css; charset=utf-8"),
            ("app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("notes.md", "text/markdown; charset=utf-8"),
            ("site.luau", "text/plain; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("a.json", "application/json"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.avif", "image/avif"),
            ("a.webp", "image/webp"),
            ("a.tar.gz", "application/gzip"),
            ("README", "application/octet-stream"),
            ("dir.d/README", "application/octet-stream"),
            ("x.nosuchtype", "application/octet-stream"),
            (".html", "text/html; charset=utf-8"),
        ] {
            assert_eq!(of(name.as_bytes()), expected, "{name}");
        }
        assert_eq!(of(b"a.\xff"), "application/octet-stream");
    }
}
