//! OpenSSL as a client: what everyone else's programs will make of us.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use medusa_net::tls::{HandshakeError, Tls, TlsInfo, TlsOptions};
use medusa_net::{Stream, tls::Alpn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::authority::{Authority, load, options};
use super::pair::{in_time, info};

/// Runs `openssl s_client` with `args` against a server that says `hello` and hangs up. Returns what both saw.
async fn s_client(tls: &Tls, args: &[&str]) -> (Result<TlsInfo, HandshakeError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound").to_string();
    let mut command = Command::new("openssl");
    // It stays until the server hangs up, and so hears all that it is told.
    command.args(["s_client", "-ign_eof", "-connect", &addr]).args(args).stdin(Stdio::null());
    let client = tokio::task::spawn_blocking(move || command.output().expect("openssl is installed"));
    let server = async {
        let (stream, _) = listener.accept().await.expect("accepts");
        let mut stream = tls.accept(Stream::Tcp(stream)).await?;
        let info = info(&stream).as_ref().clone();
        // The client may have hung up by now.
        let _ = stream.write_all(b"hello").await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
        Ok(info)
    };
    let (server, output) = in_time(async { tokio::join!(server, client) }).await;
    let Output { stdout, stderr, .. } = output.expect("it ran");
    (server, String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn it_verifies_and_agrees_in_both_versions() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"]), &authority.server(&["b.example"])]));
    let ca = authority.write("root.pem", &authority.pem);
    for (version, name) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let args = [
            version,
            "-CAfile",
            text(&ca),
            "-verify_return_error",
            "-servername",
            "b.example",
            "-verify_hostname",
            "b.example",
            "-alpn",
            "http/1.1,h2",
        ];
        let (server, output) = s_client(&tls, &args).await;
        let info = server.expect("it agrees");
        assert_eq!((info.version, info.alpn), (name, Alpn::H2));
        assert_eq!(info.sni.as_deref(), Some("b.example"));
        assert!(output.contains("Verification: OK"), "{output}");
        assert!(output.contains("ALPN protocol: h2"), "{output}");
    }
}

#[tokio::test]
async fn what_is_not_safe_is_refused() {
    let authority = Authority::new();
    let tls = load(&options(&[&authority.server(&["a.example"])]));
    for args in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
        // Authenticated, and without forward secrecy; then the other way round.
        &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
        &["-tls1_3", "-groups", "ffdhe2048"],
    ] {
        let (server, output) = s_client(&tls, args).await;
        assert!(matches!(server, Err(HandshakeError::Incompatible(_))), "{args:?}: {server:?}");
        assert!(output.contains("alert"), "{args:?}: it is told why: {output}");
    }
}

#[tokio::test]
async fn a_client_certificate_reaches_us() {
    let authority = Authority::new();
    let server = authority.server(&["a.example"]);
    let tls = load(&TlsOptions { client: Some(authority.auth(true)), ..options(&[&server]) });
    let alice = authority.client("alice");
    for version in ["-tls1_3", "-tls1_2"] {
        let args = [version, "-cert", text(&alice.files.cert), "-key", text(&alice.files.key)];
        let (server, output) = s_client(&tls, &args).await;
        let client = server.expect("it agrees").client.expect("a certificate");
        assert_eq!(client.subject, "CN=alice");
        assert!(output.contains("Acceptable client certificate CA names\nCN = Test Authority"), "{output}");

        let (server, output) = s_client(&tls, &[version]).await;
        assert!(matches!(server, Err(HandshakeError::ClientCertificate(_))), "{server:?}");
        assert!(output.contains("alert"), "{output}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_the_one_the_log_shows() {
    let tls = Tls::self_signed(&["dev.example".to_owned()]).expect("made");
    let (_, output) = s_client(&tls, &["-servername", "dev.example"]).await;
    let begin = output.find("-----BEGIN").expect("it is shown");
    let end =
        output.find("-----END CERTIFICATE-----\n").expect("all of it") + "-----END CERTIFICATE-----\n".len();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("shown.pem");
    std::fs::write(&file, &output[begin..end]).expect("written");

    let fingerprint = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in", text(&file)])
        .output();
    let fingerprint = String::from_utf8(fingerprint.expect("openssl is installed").stdout).expect("text");
    assert_eq!(fingerprint.trim_end().split_once('=').map(|(_, hex)| hex), Some(tls.fingerprint().as_str()));

    // Whoever is told to trust it can.
    for name in ["dev.example", "localhost"] {
        let trust = ["-CAfile", text(&file), "-verify_return_error", "-verify_hostname", name];
        let (server, output) = s_client(&tls, &trust).await;
        server.expect("it agrees");
        assert!(output.contains("Verification: OK"), "{output}");
    }
    let (_, output) = s_client(&tls, &["-CAfile", text(&file), "-verify_ip", "::1"]).await;
    assert!(output.contains("Verification: OK"), "{output}");
}
