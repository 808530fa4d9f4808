//! The server's own key, by which clients know it again: Ed25519, made at the first start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};

use crate::login_files::{self, LoginFileError};

/// The key in the file `path`; if there is none, a new one that is written there, for its owner alone.
pub(super) fn read_or_make(path: &Path) -> Result<PrivateKey, LoginFileError> {
    match fs::metadata(path) {
        Ok(_) => read(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        Err(source) => Err(LoginFileError::Read { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<PrivateKey, LoginFileError> {
    let refused = |why: String| LoginFileError::HostKey { path: path.to_owned(), why };
    let text = login_files::secret(path)?;
    // The text is not told.
    let key = PrivateKey::from_openssh(&text).map_err(|error| refused(error.to_string()))?;
    match key.algorithm() {
        _ if key.is_encrypted() => Err(refused("it is encrypted".to_owned())),
        Algorithm::Ed25519 => Ok(key),
        other => Err(refused(format!("it is {other}, and not Ed25519"))),
    }
}

fn make(path: &Path) -> Result<PrivateKey, LoginFileError> {
    let failed = |source| LoginFileError::MakeHostKey { path: path.to_owned(), source };
    // Or it could not be read afterwards. That there is none is told by the attempt to write there.
    match login_files::trust_directory(path) {
        Ok(()) | Err(LoginFileError::Read { .. }) => {}
        Err(error) => return Err(error),
    }
    let seed = seed().map_err(failed)?;
    let pair = russh::keys::ssh_key::private::Ed25519Keypair::from_seed(&seed);
    let key = PrivateKey::from(pair);
    let text = key.to_openssh(LineEnding::LF).map_err(|error| failed(io::Error::other(error)))?;
    // Under another name first, so that there is never half a key, and never another server's is overwritten.
    let unfinished = path.with_extension(format!("new-{}", std::process::id()));
    let written = write(&unfinished, text.as_bytes()).and_then(|()| fs::hard_link(&unfinished, path));
    let _gone = fs::remove_file(&unfinished);
    match written {
        Ok(()) => Ok(key),
        // Somebody else was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.exists() => read_or_make(path),
        Err(error) => Err(failed(error)),
    }
}

fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    let mut filled = 0;
    while filled < seed.len() {
        filled += rustix::rand::getrandom(&mut seed[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(seed)
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let _old = fs::remove_file(path);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("host_key");
        let made = read_or_make(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let read = read_or_make(&path).expect("read");
        assert_eq!(made.public_key(), read.public_key());

        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("changed");
        let told = read_or_make(&path).expect_err("others may read it").to_string();
        assert!(told.contains("chmod 600"), "{told}");
        fs::remove_file(&path).expect("there");
        fs::write(&path, "secret").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
        let told = read_or_make(&path).expect_err("no key").to_string();
        assert!(told.contains("not a private key") && !told.contains("secret"), "{told}");
        fs::remove_file(&path).expect("there");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).expect("changed");
        let told = read_or_make(&path).expect_err("others may write there").to_string();
        assert!(told.contains("chmod go-w") && !path.exists(), "{told}");
    }
}
