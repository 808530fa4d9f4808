//! What is wrong with files is found when they are loaded, and the message says which file and what to do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use medusa_net::tls::{CertificateFiles, Tls, TlsError, TlsOptions, TlsWarning};

use super::authority::{Authority, Issued, load, options};

fn pair(cert: &Path, key: &Path) -> TlsOptions {
    let files = CertificateFiles { cert: cert.to_owned(), key: key.to_owned() };
    TlsOptions { certificates: vec![files], client: None }
}

/// The reason why the two files can not be loaded; the message names one of them.
fn refused(cert: &Path, key: &Path) -> TlsError {
    let error = Tls::load(&pair(cert, key)).expect_err("something is wrong");
    let message = error.to_string();
    let named = [cert, key].iter().any(|path| message.contains(&path.display().to_string()));
    assert!(named, "{message}");
    error
}

/// Has openssl convert a key or certificate.
fn openssl(args: &[&str], from: &Path, to: &Path) -> PathBuf {
    let output = Command::new("openssl")
        .args(args)
        .arg("-in")
        .arg(from)
        .arg("-out")
        .arg(to)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    to.to_owned()
}

fn issued() -> (Authority, Issued) {
    let authority = Authority::new();
    let issued = authority.server(&["a.example"]);
    (authority, issued)
}

#[test]
fn files_that_are_not_there_or_not_what_they_should_be() {
    let (authority, issued) = issued();
    let CertificateFiles { cert, key } = &issued.files;
    let missing = authority.path().join("missing.pem");
    assert!(matches!(refused(&missing, key), TlsError::Missing { .. }));
    assert!(matches!(refused(cert, &missing), TlsError::Missing { .. }));
    assert!(matches!(refused(authority.path(), key), TlsError::Read { .. }));
    assert!(matches!(refused(Path::new("/dev/zero"), key), TlsError::Read { .. }));
    let pipe = authority.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("coreutils").success());
    assert!(matches!(refused(&pipe, key), TlsError::Read { .. }), "and nobody waits for a writer");

    assert!(matches!(refused(key, key), TlsError::NoCertificate { .. }));
    assert!(matches!(refused(cert, cert), TlsError::NoKey { .. }));
    let text = authority.write("text", "hello");
    assert!(matches!(refused(&text, key), TlsError::NotPem { .. }));
    assert!(matches!(refused(cert, &text), TlsError::NotPem { .. }));
    let der = authority.write("cert.der", &issued.der);
    assert!(refused(&der, key).to_string().contains("openssl x509 -inform DER"));

    let large = authority.write("large", vec![b'\n'; 5 * 1024 * 1024]);
    assert!(matches!(refused(&large, key), TlsError::TooLarge { .. }));
    assert!(matches!(Tls::load(&TlsOptions::default()), Err(TlsError::NoCertificates)));
}

#[test]
fn damaged_files_are_not_quoted() {
    let (authority, issued) = issued();
    let CertificateFiles { cert, key } = &issued.files;
    let secret = issued.key_pem.lines().nth(1).expect("a line of base64").to_owned();
    for (name, damaged) in [
        ("cut", issued.key_pem.replace("-----END", "")),
        ("letters", issued.key_pem.replace(&secret[..8], "!!!!!!!!")),
        ("shorter", issued.key_pem.replace(&secret[..8], "")),
        ("joined", issued.key_pem.replace("-----\n", "")),
    ] {
        let path = authority.write(name, damaged);
        let error = refused(cert, &path);
        let text = format!("{error:?} {error}");
        assert!(!text.contains(&secret[10..20]), "{text}");
    }
    let line = issued.cert_pem.lines().nth(2).expect("base64").to_owned();
    let path = authority.write("cert", issued.cert_pem.replace(&line, ""));
    assert!(matches!(refused(&path, key), TlsError::BadCertificate { position: 1, .. }));
}

#[test]
fn a_key_must_belong_to_its_certificate() {
    let (authority, issued) = issued();
    let other = authority.server(&["a.example"]);
    let error = refused(&issued.files.cert, &other.files.key);
    assert!(matches!(error, TlsError::KeyMismatch { .. }), "{error}");

    let backwards = authority.write("backwards.pem", authority.pem.clone() + &issued.cert_pem);
    let error = refused(&backwards, &issued.files.key);
    assert!(matches!(error, TlsError::LeafNotFirst { position: 2, .. }), "{error}");
}

#[test]
fn a_key_with_a_passphrase_is_told_apart() {
    let (authority, issued) = issued();
    let CertificateFiles { cert, key } = &issued.files;
    let locked = authority.path().join("locked");
    let modern = openssl(&["pkey", "-aes256", "-passout", "pass:secret"], key, &locked);
    assert!(matches!(refused(cert, &modern), TlsError::EncryptedKey { .. }));
    let old = openssl(&["ec", "-aes128", "-passout", "pass:secret"], key, &locked);
    assert!(matches!(refused(cert, &old), TlsError::EncryptedKey { .. }));
}

#[test]
fn keys_of_every_form_are_read() {
    let (authority, issued) = issued();
    let sec1 = openssl(&["ec"], &issued.files.key, &authority.path().join("sec1"));
    assert!(std::fs::read_to_string(&sec1).expect("text").contains("BEGIN EC PRIVATE KEY"));
    Tls::load(&pair(&issued.files.cert, &sec1)).expect("SEC1");

    let both = authority.write("both.pem", issued.key_pem.clone() + &issued.cert_pem);
    Tls::load(&pair(&both, &both)).expect("one file");

    for (name, new) in [
        ("pkcs1", &["rsa:2048", "-traditional"][..]),
        ("pkcs8", &["rsa:2048"]),
        ("ed25519", &["ed25519"]),
        ("p384", &["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    ] {
        let (cert, key) = (authority.path().join("cert"), authority.path().join(name));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:a.example"])
            .args(["-newkey", new[0]])
            .args(new.iter().skip(1).filter(|option| **option != "-traditional"))
            .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), cert.as_os_str()])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        if new.contains(&"-traditional") {
            let to = authority.path().join("traditional");
            openssl(&["rsa", "-traditional"], &key, &to);
            assert!(std::fs::read_to_string(&to).expect("text").contains("BEGIN RSA PRIVATE KEY"));
            Tls::load(&pair(&cert, &to)).expect(name);
        }
        Tls::load(&pair(&cert, &key)).expect(name);
    }
}

#[test]
fn what_works_and_should_be_looked_at_is_a_warning() {
    let authority = Authority::new();
    let good = authority.server(&["a.example"]);
    assert_eq!(load(&options(&[&good])).warnings(), []);

    let mut odd = authority.issue(&[], |params| {
        params.not_after = (SystemTime::now() - Duration::from_hours(50)).into();
    });
    std::fs::set_permissions(&odd.files.key, std::fs::Permissions::from_mode(0o644)).expect("permitted");
    odd.files.cert = authority.write("odd.pem", odd.cert_pem.clone() + &good.cert_pem);
    let early = authority.issue(&["early.example"], |params| {
        params.not_before = (SystemTime::now() + Duration::from_hours(1)).into();
    });
    let tls = load(&options(&[&odd, &early]));
    let [expired, nameless, broken, readable, not_yet] = tls.warnings() else {
        panic!("{:?}", tls.warnings());
    };
    assert!(expired.to_string().contains("odd.pem has expired (2 days ago)"), "{expired}");
    assert!(matches!(nameless, TlsWarning::NoNames { .. }));
    assert!(matches!(broken, TlsWarning::ChainBroken { position: 2, .. }));
    assert!(matches!(readable, TlsWarning::KeyReadableByAll { path } if *path == odd.files.key));
    assert!(matches!(not_yet, TlsWarning::NotYetValid { path, .. } if *path == early.files.cert));
}

#[test]
fn the_same_files_are_the_same_and_others_are_not() {
    let authority = Authority::new();
    let (one, two) = (authority.server(&["a.example"]), authority.server(&["b.example"]));
    let digest = |options: &TlsOptions| load(options).digest();
    let base = options(&[&one]);
    let asking = |required| TlsOptions { client: Some(authority.auth(required)), ..base.clone() };
    let mut digests = vec![
        digest(&base),
        digest(&options(&[&two])),
        digest(&options(&[&one, &two])),
        digest(&options(&[&two, &one])),
    ];
    digests.extend([digest(&asking(true)), digest(&asking(false))]);
    assert_eq!(digests[0], digest(&base.clone()));

    let renewed = authority.server(&["a.example"]);
    authority.write(&file_name(&one.files.cert), &renewed.cert_pem);
    authority.write(&file_name(&one.files.key), &renewed.key_pem);
    digests.push(digest(&base));
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "{index}");
    }

    let self_signed = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Tls::self_signed(&names).expect("made").digest()
    };
    assert_eq!(self_signed(&["a"]), self_signed(&["a"]));
    assert_ne!(self_signed(&["a"]), self_signed(&["b"]));
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

#[test]
fn what_is_loaded_can_be_described_and_never_shows_a_key() {
    let (_authority, issued) = issued();
    let tls = load(&options(&[&issued]));
    let [summary] = tls.describe() else { panic!("one certificate") };
    assert_eq!(summary.names, ["a.example"]);
    assert_eq!(summary.path.as_ref(), Some(&issued.files.cert));
    assert!(summary.not_after > SystemTime::now());

    let shown = Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-fingerprint", "-sha256", "-in"])
        .arg(&issued.files.cert)
        .output()
        .expect("openssl is installed");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("serial={}\n", summary.serial)), "{shown} {summary:?}");
    assert!(shown.contains(&format!("Fingerprint={}\n", tls.fingerprint())), "{shown} {summary:?}");

    let debug = format!("{tls:?}");
    assert!(debug.contains("a.example") && debug.len() < 600, "{debug}");
}
