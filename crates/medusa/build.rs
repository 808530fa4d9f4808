//! Embeds the sample site: writes the list of its files, which `init` includes, so that none can be forgotten.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder that running the sample site in place leaves behind.
const LEFT_BEHIND: &str = "logs";

fn main() -> io::Result<()> {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../site").canonicalize()?;
    let mut files = Vec::new();
    for path in entries(&site)? {
        // Not the site's own directory: it changes with every line of its log.
        println!("cargo::rerun-if-changed={}", path.display());
        collect(&path, &mut files)?;
    }
    let mut list = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&site).map_err(io::Error::other)?;
        let (name, file) = (text(name)?, text(file)?);
        writeln!(list, "    ({name:?}, include_bytes!({file:?})),").map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    fs::write(Path::new(&output_directory()?).join("site.rs"), list)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in entries(path)? {
            collect(&entry, files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

/// The entries that belong to the site, in a lasting order.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != LEFT_BEHIND && !name.as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script where to write by the environment alone"
)]
fn output_directory() -> io::Result<std::ffi::OsString> {
    std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR for a build script"))
}
