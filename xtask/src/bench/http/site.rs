//! What both servers serve: the documents, and our script.

use std::fs;
use std::path::Path;

use medusa_testkit::Site;

use super::cases::Listener;
use crate::workspace;

/// The files and their sizes in bytes. The large ones are in the page cache when the load begins: they were just
/// written, and are fetched once from each server.
const FILES: [(&str, usize); 4] =
    [("tiny.bin", 128), ("4k.bin", 4096), ("1m.bin", 1_000_000), ("100m.bin", 100_000_000)];
/// The size of the text, in bytes.
const TEXT_SIZE: usize = 100_000;
/// The script handler.
const HELLO: &str = "return function(req) return \"Hello, \" .. req.params.name .. \"!\\n\" end\n";

/// Writes the documents into the folder `public` of `site`.
pub(super) fn write_documents(site: &Site) {
    for (name, size) in FILES {
        site.write(&format!("public/{name}"), vec![b'm'; size]);
    }
    // nginx has one path for what we serve as a file and as an answer: it compresses both the same way.
    for name in ["text.txt", "text"] {
        site.write(&format!("public/{name}"), text());
    }
}

/// The script and its handlers, as a user would write them; no `log`, so no access log.
pub(super) fn scripts(public: &Path, listener: Listener, compress: bool) -> Site {
    let tls = match listener {
        Listener::Tls => r#", tls = { cert = "cert.pem", key = "key.pem" }"#,
        Listener::Plain | Listener::H2c => "",
    };
    let mut script = format!(
        r#"-- The site of `cargo xtask bench http`.
web = medusa.http.server {{ listen = "127.0.0.1:0"{tls} }}
web:mount("/", medusa.handler.files("{}"))
web:mount("/hello/{{name}}", medusa.handler.script("hello.luau"))
"#,
        public.display()
    );
    let site = Site::new().file("hello.luau", HELLO);
    if compress {
        script += "web:mount(\"/text\", medusa.handler.compress(medusa.handler.script(\"text.luau\")))\n";
        site.write(
            "text.luau",
            format!("local text = [==[{}]==]\nreturn function() return text end\n", text()),
        );
    }
    site.file("site.luau", script)
}

/// English words in the frequencies of a real text, in an order that repeats nothing: it compresses as prose does.
fn text() -> String {
    let path = workspace::root().join("LICENSE-APACHE");
    let licence = fs::read_to_string(&path).expect("the licence");
    let words: Vec<&str> = licence.split_whitespace().collect();
    let mut text = String::with_capacity(TEXT_SIZE + 32);
    let mut state = 1_u64;
    while text.len() < TEXT_SIZE {
        // The generator of Knuth's MMIX; its high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text += words.get((state >> 33) as usize % words.len().max(1)).copied().unwrap_or("medusa");
        text.push(if text.len() % 80 > 72 { '\n' } else { ' ' });
    }
    text.truncate(text.floor_char_boundary(TEXT_SIZE));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_each_time_and_fits_a_script() {
        let text = text();
        assert_eq!(text.len(), TEXT_SIZE);
        assert_eq!(text, super::text());
        assert!(!text.contains("]==]"));
    }

    #[test]
    fn the_script_asks_only_for_what_the_cases_need() {
        let site = |listener, compress| scripts(Path::new("/p"), listener, compress).read("site.luau");
        assert!(
            !site(Listener::Plain, false).contains("tls")
                && !site(Listener::Plain, false).contains("compress")
        );
        assert!(site(Listener::Tls, false).contains("cert.pem"));
        assert!(site(Listener::H2c, true).contains("handler.compress("));
    }
}
