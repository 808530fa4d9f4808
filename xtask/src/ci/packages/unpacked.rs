//! Packages that cannot be installed beside another that is needed: downloaded, and unpacked below `target/debian/`,
//! which takes no rights. What they depend on is installed as usual.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::term;
use crate::workspace::Workspace;

/// A package that is unpacked, not installed.
#[derive(Debug)]
struct Unpacked {
    /// The Debian package, which is also the name of its directory below `target/debian/`.
    package: &'static str,
    /// A file that it brings, from its root.
    brings: &'static str,
    /// What it is for.
    why: &'static str,
}

/// All of them.
const NEEDS: &[Unpacked] = &[Unpacked {
    package: "syslog-ng-core",
    brings: "usr/sbin/syslog-ng",
    why: "another log server, for tests; it cannot be installed beside rsyslog",
}];

/// Unpacks what is missing; returns how many that were.
pub(super) fn run() -> Result<usize> {
    let directory = Workspace::read()?.target_directory.join("debian");
    let mut unpacked = 0;
    for need in NEEDS.iter().filter(|need| !directory.join(need.package).join(need.brings).exists()) {
        term::note(&format!("missing: {:<24} {}", need.package, need.why));
        need.unpack(&directory)?;
        unpacked += 1;
    }
    Ok(unpacked)
}

impl Unpacked {
    /// Downloads it and unpacks it. Its directory appears whole or not at all.
    fn unpack(&self, directory: &Path) -> Result {
        let (whole, part) = (directory.join(self.package), directory.join(format!("{}.part", self.package)));
        for leftover in [&whole, &part] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(Error::io("remove", leftover))?;
            }
        }
        fs::create_dir_all(&part).map_err(Error::io("make", &part))?;
        self.download(&part)?;
        let archive = archive_in(&part)?;
        Cmd::new("dpkg-deb").args(["--extract".into(), archive, part.clone()]).run()?;
        if !part.join(self.brings).exists() {
            let Self { package, brings, .. } = self;
            return Err(Error::Found(format!(
                "the package {package} does not bring {brings}; correct NEEDS in xtask/src/ci/packages/unpacked.rs"
            )));
        }
        fs::rename(&part, &whole).map_err(Error::io("make", &whole))
    }

    /// Downloads it into a directory. The lists of packages may be older than what the archive still has, or not be
    /// there: then they are fetched, if that is ours to do.
    fn download(&self, to: &Path) -> Result {
        let download = Cmd::new("env").args(["-C".into(), to.as_os_str().to_owned()]).args([
            "apt-get",
            "-q",
            "download",
            self.package,
        ]);
        match download.run() {
            Err(_) if rustix::process::geteuid().is_root() => {
                Cmd::new("apt-get").args(["update", "-q"]).run()?;
                download.run()
            }
            other => other,
        }
    }
}

/// The one package in a directory.
fn archive_in(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory).map_err(Error::io("read", directory))?;
    let mut archives = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "deb"));
    archives
        .next()
        .ok_or_else(|| Error::Found(format!("apt-get has put no package into {}", directory.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_package_in_a_directory_is_found() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let error = archive_in(directory.path()).expect_err("none yet").to_string();
        assert!(error.contains("has put no package into"), "{error}");
        fs::write(directory.path().join("x_1.0_amd64.deb"), "").expect("written");
        fs::write(directory.path().join("other"), "").expect("written");
        assert!(archive_in(directory.path()).expect("one").ends_with("x_1.0_amd64.deb"));
    }
}
