//! Clients that say who they are.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medusa_net::tls::{ClientAuth, HandshakeError, Tls, TlsError, TlsOptions};
use rcgen::{DnType, SanType};
use tokio::io::AsyncReadExt;

use super::authority::{Authority, Issued, load, options};
use super::pair::{client, connected, handshake, in_time, info, with_identity};

/// An authority, and a listener that asks for its certificates.
fn asking(required: bool) -> (Authority, Arc<Tls>) {
    let authority = Authority::new();
    let server = authority.server(&["a.example"]);
    let tls = load(&TlsOptions { client: Some(authority.auth(required)), ..options(&[&server]) });
    (authority, tls)
}

/// The server's answer to a client with this certificate.
async fn verdict(tls: &Tls, authority: &Authority, identity: Option<&Issued>) -> Result<(), HandshakeError> {
    let config = Arc::new(with_identity(authority, identity));
    let (server, client) = handshake(tls, &config, "a.example").await;
    if server.is_err() {
        // In TLS 1.3 the client is done first, and learns with its first read that it was turned away.
        let message = match client {
            Err(error) => error,
            Ok(mut client) => in_time(client.read_u8()).await.expect_err("no one is there"),
        };
        assert!(message.to_string().contains("alert"), "{message}");
    }
    server.map(drop)
}

#[tokio::test]
async fn a_certificate_is_shown_to_handlers_in_full() {
    let (authority, tls) = asking(true);
    let not_after = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let alice = authority.issue(&["alice.example"], |params| {
        params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
        params.distinguished_name.push(DnType::CommonName, "Alice");
        params.subject_alt_names.push(SanType::Rfc822Name("a@example".try_into().expect("ASCII")));
        params.serial_number = Some(vec![0x01, 0xab].into());
        params.not_after = not_after.into();
    });
    let (server, _client) =
        connected(&tls, &Arc::new(with_identity(&authority, Some(&alice))), "a.example").await;
    let info = info(&server);
    let shown = info.client.as_ref().expect("a certificate");
    assert_eq!(shown.subject, "CN=Alice,O=Example\\, Inc.");
    assert_eq!(shown.common_name.as_deref(), Some("Alice"));
    assert_eq!(shown.issuer, "CN=Test Authority");
    assert_eq!(shown.serial, "01AB");
    assert_eq!(shown.sans, ["DNS:alice.example", "email:a@example"]);
    assert_eq!(shown.not_after, not_after);
}

#[tokio::test]
async fn without_one_a_client_is_served_or_not_as_configured() {
    let (authority, required) = asking(true);
    let outcome = verdict(&required, &authority, None).await;
    assert!(matches!(outcome, Err(HandshakeError::ClientCertificate(_))), "{outcome:?}");

    let (authority, optional) = asking(false);
    let (server, _client) = connected(&optional, &Arc::new(client(&authority)), "a.example").await;
    assert_eq!(info(&server).client, None);
}

#[tokio::test]
async fn one_that_is_not_valid_is_worse_than_none() {
    let (authority, tls) = asking(false);
    // The same name for the authority does not make it the same authority.
    let forged = Authority::new().client("mallory");
    let outcome = verdict(&tls, &authority, Some(&forged)).await;
    assert!(matches!(outcome, Err(HandshakeError::ClientCertificate(_))), "{outcome:?}");

    let expired = authority.issue(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, "late");
        params.not_after = (SystemTime::now() - Duration::from_mins(1)).into();
    });
    let outcome = verdict(&tls, &authority, Some(&expired)).await;
    assert!(matches!(outcome, Err(HandshakeError::ClientCertificate(_))), "{outcome:?}");

    let good = authority.client("alice");
    verdict(&tls, &authority, Some(&good)).await.expect("valid");
}

#[tokio::test]
async fn a_resumed_session_remembers_who_and_ends_with_the_certificate() {
    let (authority, tls) = asking(true);
    let brief = authority.issue(&[], |params| {
        params.distinguished_name.push(DnType::CommonName, "brief");
        params.not_after = (SystemTime::now() + Duration::from_secs(5)).into();
    });
    let config = Arc::new(with_identity(&authority, Some(&brief)));
    let (server, mut client) = connected(&tls, &config, "a.example").await;
    let first = info(&server).client.clone().expect("a certificate");
    assert_eq!(first.subject, "CN=brief");
    // The tickets come with the first read, which ends with the connection.
    drop(server);
    let _ = in_time(client.read_u8()).await;

    let (server, _client) = connected(&tls, &config, "a.example").await;
    assert!(info(&server).resumed);
    assert_eq!(info(&server).client.as_ref(), Some(&first));

    // No clock can be handed to the TLS library: the certificate's last seconds pass for real.
    let left = first.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_millis(10)).await;
    let (server, _client) = handshake(&tls, &config, "a.example").await;
    assert!(matches!(server, Err(HandshakeError::ClientCertificate(_))), "{server:?}");
}

#[tokio::test]
async fn one_that_was_taken_back_is_turned_away() {
    let authority = Authority::new();
    let server = authority.server(&["a.example"]);
    let [lost, good] = [7, 8].map(|serial| {
        authority.issue(&[], |params| {
            params.distinguished_name.push(DnType::CommonName, "alice");
            params.serial_number = Some(vec![serial].into());
        })
    });
    let revoked = authority.write("revoked.pem", authority.revoked(&[&[7]]));
    let auth = ClientAuth { revoked: Some(revoked), ..authority.auth(true) };
    let tls = load(&TlsOptions { client: Some(auth.clone()), ..options(&[&server]) });
    let outcome = verdict(&tls, &authority, Some(&lost)).await;
    assert!(matches!(outcome, Err(HandshakeError::ClientCertificate(_))), "{outcome:?}");
    verdict(&tls, &authority, Some(&good)).await.expect("not on the list");

    // A new list makes another TLS, with tickets of its own: no session that began before is resumed.
    let config = Arc::new(with_identity(&authority, Some(&good)));
    let (server_end, mut client) = connected(&tls, &config, "a.example").await;
    drop(server_end);
    let _ = in_time(client.read_u8()).await;
    authority.write("revoked.pem", authority.revoked(&[&[7], &[8]]));
    let anew = load(&TlsOptions { client: Some(auth.clone()), ..options(&[&server]) });
    assert_ne!(tls.digest(), anew.digest());
    let (server_end, _client) = handshake(&anew, &config, "a.example").await;
    assert!(matches!(server_end, Err(HandshakeError::ClientCertificate(_))), "{server_end:?}");

    // Without a list of its own, nobody knows what an authority has taken back.
    authority.write("revoked.pem", Authority::named("Another").revoked(&[]));
    let other = load(&TlsOptions { client: Some(auth.clone()), ..options(&[&server]) });
    let outcome = verdict(&other, &authority, Some(&good)).await;
    assert!(matches!(outcome, Err(HandshakeError::ClientCertificate(_))), "{outcome:?}");

    let damaged = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    for (text, why) in
        [(authority.pem.as_str(), "holds no list"), (damaged, "can not be used"), ("", "it is empty")]
    {
        authority.write("revoked.pem", text);
        let error =
            Tls::load(&TlsOptions { client: Some(auth.clone()), ..options(&[&server]) }).expect_err(why);
        assert!(error.to_string().contains(why) && error.to_string().contains("revoked.pem"), "{error}");
    }
}

#[test]
fn an_authority_that_is_none_is_refused() {
    let authority = Authority::new();
    let server = authority.server(&["a.example"]);
    let mut options = options(&[&server]);
    let mut auth = authority.auth(true);
    auth.ca = authority.write("empty.pem", "");
    options.client = Some(auth);
    let error = Tls::load(&options).expect_err("no authority");
    assert!(
        error.to_string().contains("it is empty")
            && error.to_string().contains("client CA file")
            && error.to_string().contains("empty.pem"),
        "{error}"
    );

    let damaged = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    let ca = authority.write("half.pem", authority.pem.clone() + damaged);
    options.client = Some(ClientAuth { ca, revoked: None, required: false });
    let error = Tls::load(&options).expect_err("half of it is no authority");
    assert!(matches!(error, TlsError::BadCertificate { position: 2, .. }), "{error}");
}
