//! Whose certificates are taken.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use medusa_fetch::{Addresses, Body, Fault, FetchError, Fetcher, Request, Resolve, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;

use super::origin::{OK, Origin};

/// An authority of our own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, dir }
    }

    fn pem(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A server with a good certificate for `name`.
    fn origin(&self, name: &str, answer: &'static str) -> Origin {
        self.origin_with(name, answer, |_| {})
    }

    /// A server with a certificate that is not as it should be.
    fn origin_with(
        &self,
        name: &str,
        answer: &'static str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Origin {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        Origin::start(Some(answer), Some(Arc::new(config)))
    }
}

/// Finds every host but one on this machine.
struct Here;

impl Resolve for Here {
    fn resolve(&self, name: &str) -> Addresses {
        let known = name != "nowhere.test";
        Box::pin(async move {
            if known {
                Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            } else {
                Err(std::io::Error::other("no such host"))
            }
        })
    }
}

fn fetcher() -> Fetcher {
    Fetcher::start(Some(Arc::new(Here))).unwrap()
}

async fn fetch(
    fetcher: &Fetcher,
    url: &str,
    change: impl FnOnce(&mut Request),
) -> Result<Response, FetchError> {
    let mut request = Request::new("GET", url).unwrap();
    change(&mut request);
    fetcher.fetch(request).await
}

#[track_caller]
fn text(response: Result<Response, FetchError>) -> String {
    match response.unwrap().body {
        Body::Whole(body) => String::from_utf8(body.bytes().to_vec()).unwrap(),
        Body::Stream(_) => panic!("not asked for"),
    }
}

#[track_caller]
fn refused(response: Result<Response, FetchError>, why: &str) {
    match response.unwrap_err().fault() {
        Fault::Connect(cause) => assert!(cause.to_string().contains(why), "{cause}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_is_taken_only_from_whom_it_should_be() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let origin = ours.origin("good.test", OK);
    let fetcher = fetcher();
    let (good, other) = (
        format!("https://good.test:{}/", origin.addr.port()),
        format!("https://other.test:{}/", origin.addr.port()),
    );
    refused(fetch(&fetcher, &good, |_| {}).await, "UnknownIssuer");
    refused(fetch(&fetcher, &good, |request| request.ca = Some(theirs.pem())).await, "");
    assert_eq!(text(fetch(&fetcher, &good, |request| request.ca = Some(ours.pem())).await), "ok");
    refused(fetch(&fetcher, &other, |request| request.ca = Some(ours.pem())).await, "not valid for name");
    let expired = ours.origin_with("good.test", OK, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let expired = format!("https://good.test:{}/", expired.addr.port());
    refused(fetch(&fetcher, &expired, |request| request.ca = Some(ours.pem())).await, "expired");
    let is_ca =
        ours.origin_with("good.test", OK, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let is_ca = format!("https://good.test:{}/", is_ca.addr.port());
    refused(
        fetch(&fetcher, &is_ca, |request| request.ca = Some(ours.pem())).await,
        "of an authority (CA:TRUE)",
    );
    for url in [&good, &other, &expired, &is_ca] {
        assert_eq!(text(fetch(&fetcher, url, |request| request.insecure = true).await), "ok", "{url}");
    }
    // What was made for one that trusts anyone is not used by those that do not.
    refused(fetch(&fetcher, &other, |_| {}).await, "");
}

/// Two that trust the same share a connection; a file that was replaced is read.
#[tokio::test]
async fn connections_are_shared_by_those_who_trust_the_same() {
    let authority = Authority::new();
    let origin = authority.origin("good.test", OK);
    let url = format!("https://good.test:{}/", origin.addr.port());
    let fetcher = fetcher();
    for _ in 0..3 {
        assert_eq!(text(fetch(&fetcher, &url, |request| request.ca = Some(authority.pem())).await), "ok");
    }
    assert_eq!(origin.accepted(), 1);
    std::fs::write(authority.pem(), Authority::new().issuer.pem()).unwrap();
    refused(fetch(&fetcher, &url, |request| request.ca = Some(authority.pem())).await, "");
}

#[tokio::test]
async fn no_redirect_leads_from_https_to_http() {
    let authority = Authority::new();
    let down = "HTTP/1.1 302 Found\r\nLocation: http://plain.test/a?key=secret\r\nContent-Length: 0\r\n\r\n";
    let origin = authority.origin("good.test", down);
    let url = format!("https://good.test:{}/", origin.addr.port());
    let error = fetch(&fetcher(), &url, |request| request.ca = Some(authority.pem())).await.unwrap_err();
    let message = error.fault().to_string();
    assert!(
        message.starts_with("it redirects from https to http://plain.test/a, which is not followed"),
        "{message}"
    );
}

#[tokio::test]
async fn a_file_that_holds_no_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    for wrong in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, wrong).unwrap();
        let error = fetch(&fetcher(), "https://good.test/", |request| request.ca = Some(path.clone())).await;
        assert!(matches!(error.unwrap_err().fault(), Fault::Authority(_)), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_found_is_said_to_be() {
    let error = fetch(&fetcher(), "http://nowhere.test/", |_| {}).await.unwrap_err();
    match error.fault() {
        Fault::Lookup(cause) => assert_eq!(cause.to_string(), "no such host"),
        other => panic!("{other:?}"),
    }
}
